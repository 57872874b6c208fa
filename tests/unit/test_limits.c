/* SPDX-License-Identifier: MIT */
/*
 * The buckets' arithmetic is test_rate_limit.c's; here is who shares one, what
 * is given back, and what the client hears.
 */
#include "milter/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "milter/key_check.h"
#include "milter/rate_limit.h"
#include "policy/account.h"
#include "policy/outgoing.h"
#include "policy/smtp_reply.h"

struct message_row {
	const char *account, *key_id;
	const char *to[3];
	bool returned;	   /* it did not go: its tokens come back */
	const char *reply; /* how it begins; NULL: it may go */
};

#define KEY_FULL "The limit of this key, 2 messages in 3600 seconds, is reached"
#define TO_FULL(who)                                             \
	who ": the limit for one recipient, 1 messages in 3600 " \
	    "seconds, is reached"

static const struct scene {
	const char *rate, *recipient_rate;
	struct message_row messages[6];
} scenes[] = {
	{ NULL,
	  NULL,
	  { { "a", "k", { "x@y" }, false, NULL },
	    { "a", "k", { "x@y" }, false, NULL },
	    { "a", "k", { "x@y" }, false, NULL } } },
	{ "2/1h",
	  NULL,
	  { { "a", "k", { "x@y" }, false, NULL },
	    { "a", "k", { "z@y" }, false, NULL },
	    { "a", "k", { "x@y" }, false, KEY_FULL },
	    { "a", "other", { "x@y" }, false, NULL } } },
	{ "2/1h",
	  NULL,
	  { { "a", "k", { "x@y" }, true, NULL },
	    { "a", "k", { "x@y" }, true, NULL },
	    { "a", "k", { "x@y" }, false, NULL },
	    { "a", "k", { "x@y" }, false, NULL },
	    { "a", "k", { "x@y" }, false, KEY_FULL } } },
	{ NULL,
	  "1/1h",
	  { { "a", "k", { "x@y.example" }, false, NULL },
	    { "a", "k2", { "x@Y.Example" }, false, TO_FULL("x@Y.Example") },
	    { "a", "k", { "X@y.example" }, false, NULL },
	    { "b", "k", { "x@y.example" }, false, NULL } } },
	/* All or none: z is still free after the second. */
	{ NULL,
	  "1/1h",
	  { { "a", "k", { "x@y" }, false, NULL },
	    { "a", "k", { "z@y", "x@y" }, false, TO_FULL("x@y") },
	    { "a", "k", { "z@y" }, true, NULL },
	    { "a", "k", { "z@y" }, false, NULL },
	    { "a", "k", { "z@y" }, false, TO_FULL("z@y") } } },
	/* A full recipient costs the key nothing. */
	{ "2/1h",
	  "1/1h",
	  { { "a", "k", { "x@y" }, false, NULL },
	    { "a", "k", { "x@y" }, false, TO_FULL("x@y") },
	    { "a", "k", { "x@y" }, false, TO_FULL("x@y") },
	    { "a", "k", { "z@y" }, false, NULL },
	    { "a", "k", { "w@y" }, false, KEY_FULL } } },
};

static struct outgoing *
make_outgoing(const struct message_row *m)
{
	struct outgoing *o = outgoing_new();

	o->recipients = calloc(3, sizeof(*o->recipients));
	assert_non_null(o->recipients);
	for (size_t i = 0; i < 3 && m->to[i] != NULL; i++) {
		o->recipients[i].email = strdup(m->to[i]);
		o->recipients[i].name = strdup("");
		o->n_recipients++;
	}
	return o;
}

static void
send(struct rate_limit *r, const struct scene *s, const struct message_row *m)
{
	struct account *account = account_new(m->account);
	struct identity id = { .account = account };
	struct outgoing *o = make_outgoing(m);
	struct smtp_reply reply = { 0 };
	const bool nobody[3] = { false }, all[3] = { true, true, true };
	struct limits_taken taken;
	bool may;

	(void)snprintf(id.key_id, sizeof(id.key_id), "%s", m->key_id);
	if (s->rate != NULL)
		assert_true(account_parse_rate(s->rate, &account->rate));
	if (s->recipient_rate != NULL)
		assert_true(account_parse_rate(s->recipient_rate,
					       &account->recipient_rate));
	may = limits_take(r, &id, o, nobody, false, &taken, &reply);
	if (may != (m->reply == NULL))
		fail_msg("%s to %s: %s", m->key_id, m->to[0], reply.text);
	if (!may) {
		assert_int_equal(reply.code, 450);
		assert_string_equal(reply.enhanced, "4.7.1");
		assert_memory_equal(reply.text, m->reply, strlen(m->reply));
		assert_non_null(strstr(reply.text, ": try again in "));
	}
	if (may)
		limits_settle(r, &id, o, m->returned ? nobody : all, &taken);
	outgoing_free(&o);
	account_free(&account);
}

static void
test_scenes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
		struct rate_limit *r = rate_limit_new(1000);

		for (size_t k = 0; k < 6 && scenes[i].messages[k].account; k++)
			send(r, &scenes[i], &scenes[i].messages[k]);
		rate_limit_free(&r);
	}
}

/* A message to two, of whom one gets it; then its retries. */
static void
test_retry(void **state)
{
	static const struct message_row row = {
		"a", "k", { "x@y", "z@y" }, false, NULL
	};
	const bool nobody[2] = { false }, x[2] = { true, false },
		   both[2] = { true, true };
	struct account *account = account_new("a");
	struct identity id = { .account = account, .key_id = "k" };
	struct rate_limit *r = rate_limit_new(1000);
	struct outgoing *o = make_outgoing(&row);
	struct limits_taken taken;
	struct smtp_reply reply;

	(void)state;
	assert_true(account_parse_rate("1/1d", &account->rate));
	assert_true(account_parse_rate("1/1d", &account->recipient_rate));
	assert_true(limits_take(r, &id, o, nobody, false, &taken, &reply));
	limits_settle(r, &id, o, x, &taken);
	/* Neither x, who has it, nor the key's token, which is paid, stand in
	 * its way; and what fails again costs nothing. */
	for (int i = 0; i < 3; i++) {
		assert_true(limits_take(r, &id, o, x, true, &taken, &reply));
		limits_settle(r, &id, o, x, &taken);
	}
	assert_true(limits_take(r, &id, o, x, true, &taken, &reply));
	limits_settle(r, &id, o, both, &taken);
	assert_false(limits_take(r, &id, o, x, true, &taken, &reply));
	assert_non_null(strstr(reply.text, "z@y: the limit"));
	assert_false(limits_take(r, &id, o, nobody, false, &taken, &reply));
	assert_non_null(strstr(reply.text, "limit of this key"));
	outgoing_free(&o);
	account_free(&account);
	rate_limit_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scenes),
		cmocka_unit_test(test_retry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
