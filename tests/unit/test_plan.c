/* SPDX-License-Identifier: MIT */
#include "policy/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/dynbuf.h"
#include "policy/json_text.h"
#include "policy/message.h"
#include "policy/outgoing.h"

#define E_ACUTE "\xc3\xa9"
#define KEY "the-key-of-acme"

static char *
copy(const char *s)
{
	char *c = strdup(s);

	assert_non_null(c);
	return c;
}

/* --- a plan ----------------------------------------------------------------
 */

static struct outgoing *
outgoing_to(size_t n)
{
	struct outgoing *o = outgoing_new();

	o->recipients = calloc(n > 0 ? n : 1, sizeof(*o->recipients));
	assert_non_null(o->recipients);
	o->n_recipients = n;
	for (size_t i = 0; i < n; i++) {
		char text[64];

		assert_true(snprintf(text, sizeof(text), "r%zu@x.com", i) > 0);
		o->recipients[i].email = copy(text);
		assert_true(
		    snprintf(text, sizeof(text), "Ren" E_ACUTE " %zu", i) > 0);
		o->recipients[i].name = copy(text);
	}
	return o;
}

static struct plan *
full_plan(size_t n)
{
	struct outgoing *o = outgoing_to(n);
	struct plan *p;

	for (size_t i = 0; i < outgoing_n_strings; i++) {
		char text[64];

		assert_true(snprintf(text, sizeof(text),
				     "{\"%zu\": \"\\u00e9" E_ACUTE "\"}",
				     i) > 0);
		*outgoing_string_at(o, i) = copy(text);
	}
	for (size_t i = 0; i < outgoing_n_switches; i++)
		*outgoing_switch_at(o, i) = (enum outgoing_switch)(i % 3);
	for (size_t i = 0; i < n; i++)
		o->recipients[i].kind =
		    (enum outgoing_kind)(i % OUTGOING_KINDS);
	outgoing_add_header(o, "X-One", "1");
	outgoing_add_header(o, "List-Unsubscribe", "<https://x/" E_ACUTE ">");
	p = plan_new(o);
	for (size_t i = 0; i < PLAN_SUBMISSION_LEN; i++)
		p->submission[i] = (unsigned char)(i * 17);
	strcpy(p->queue_id, "4Tx1qR0Zzz");
	strcpy(p->account, "acme");
	strcpy(p->key_id, "k1");
	strcpy(p->key, KEY "\"\\" E_ACUTE);
	strcpy(p->api, "main");
	strcpy(p->dialect, "emaildelivery");
	p->local = true;
	p->tracked = true;
	p->accepted = INT64_C(9007199254740993);
	for (size_t i = 0; i < n; i++)
		p->recipients[i].state = (enum plan_state)(i % 3);
	for (size_t i = 2; i < n; i += 3)
		smtp_reply_set(&p->recipients[i].reply, 550, "5.1.1",
			       "No \"%zu\"" E_ACUTE, i);
	return p;
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
same_outgoing(struct outgoing *a, struct outgoing *b)
{
	for (size_t i = 0; i < outgoing_n_strings; i++) {
		if (!same_text(*outgoing_string_at(a, i),
			       *outgoing_string_at(b, i)))
			return false;
	}
	for (size_t i = 0; i < outgoing_n_switches; i++) {
		if (outgoing_switch_is(a, i) != outgoing_switch_is(b, i))
			return false;
	}
	if (a->n_recipients != b->n_recipients || a->n_headers != b->n_headers)
		return false;
	for (size_t i = 0; i < a->n_headers; i++) {
		if (strcmp(a->headers[i].name, b->headers[i].name) != 0 ||
		    strcmp(a->headers[i].value, b->headers[i].value) != 0)
			return false;
	}
	for (size_t i = 0; i < a->n_recipients; i++) {
		if (a->recipients[i].kind != b->recipients[i].kind ||
		    strcmp(a->recipients[i].email, b->recipients[i].email) ||
		    strcmp(a->recipients[i].name, b->recipients[i].name))
			return false;
	}
	return b->html == NULL && b->html_len == 0 && b->route == NULL;
}

static bool
same_plan(const struct plan *a, const struct plan *b)
{
	for (size_t i = 0; i < a->outgoing->n_recipients; i++) {
		const struct plan_recipient *x = &a->recipients[i];
		const struct plan_recipient *y = &b->recipients[i];

		if (x->state != y->state || x->reply.code != y->reply.code ||
		    strcmp(x->reply.enhanced, y->reply.enhanced) != 0 ||
		    strcmp(x->reply.text, y->reply.text) != 0)
			return false;
	}
	return memcmp(a->submission, b->submission, PLAN_SUBMISSION_LEN) == 0 &&
	       strcmp(a->queue_id, b->queue_id) == 0 &&
	       strcmp(a->account, b->account) == 0 &&
	       strcmp(a->key_id, b->key_id) == 0 &&
	       strcmp(a->key, b->key) == 0 && strcmp(a->api, b->api) == 0 &&
	       strcmp(a->dialect, b->dialect) == 0 && a->local == b->local &&
	       a->tracked == b->tracked && a->accepted == b->accepted;
}

static struct plan *
there_and_back(const struct plan *p)
{
	DYNBUF_AUTO text;
	struct plan *back;

	dynbuf_init(&text, PLAN_MAX);
	assert_true(plan_write(p, &text));
	back = plan_read(text.data, text.len);
	assert_non_null(back);
	return back;
}

static void
check_round_trip(struct plan *p)
{
	struct plan *back = there_and_back(p);

	assert_true(same_outgoing(p->outgoing, back->outgoing));
	assert_true(same_plan(p, back));
	plan_free(&back);
	plan_free(&p);
	assert_null(p);
}

static void
test_round_trip(void **state)
{
	static const size_t counts[] = { 0, 1, 2, 3, 5, 1000 };

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		check_round_trip(full_plan(counts[i]));
	check_round_trip(plan_new(outgoing_to(1)));
	plan_free(&(struct plan *){ NULL });
}

/* Absent is not the same as empty. */
static void
test_absent(void **state)
{
	(void)state;
	for (size_t i = 0; i < outgoing_n_strings; i++) {
		struct plan *p = full_plan(1);
		char **member = outgoing_string_at(p->outgoing, i);

		free(*member);
		*member = NULL;
		check_round_trip(p);
		p = full_plan(1);
		member = outgoing_string_at(p->outgoing, i);
		(*member)[0] = '\0';
		check_round_trip(p);
	}
}

/* The body is in the message. */
static void
test_without_body(void **state)
{
	struct plan *p = full_plan(1);
	DYNBUF_AUTO text;

	(void)state;
	p->outgoing->html = copy("<p>of the body");
	p->outgoing->html_len = strlen(p->outgoing->html);
	dynbuf_init(&text, PLAN_MAX);
	assert_true(plan_write(p, &text));
	assert_null(strstr(text.data, "of the body"));
	check_round_trip(p);
}

static void
test_longest_ids(void **state)
{
	struct plan *p = full_plan(1);

	(void)state;
	memset(p->queue_id, 'q', PLAN_QUEUE_ID_MAX);
	memset(p->account, 'a', ACCOUNT_ID_MAX);
	memset(p->key_id, 'i', PLAN_NAME_MAX);
	memset(p->api, 'p', PLAN_NAME_MAX);
	memset(p->dialect, 'd', PLAN_NAME_MAX);
	memset(p->key, '\x01', PLAN_KEY_MAX);
	check_round_trip(p);
}

static void
test_bounds(void **state)
{
	struct plan *p = full_plan(3);
	DYNBUF_AUTO text, small;
	size_t len;

	(void)state;
	dynbuf_init(&text, PLAN_MAX);
	assert_true(plan_write(p, &text));
	len = text.len;
	for (size_t max = 0; max < len; max += 7) {
		dynbuf_init(&small, max);
		assert_false(plan_write(p, &small));
		dynbuf_clear(&small);
	}
	strcpy(p->api, "\xff");
	dynbuf_truncate(&text, 0);
	assert_false(plan_write(p, &text));
	plan_free(&p);
}

static size_t
room_taken(const struct plan *p)
{
	DYNBUF_AUTO text;

	dynbuf_init(&text, PLAN_MAX);
	assert_true(plan_write(p, &text));
	return text.cap;
}

/* The buffer does not grow for the key, whatever is before it. */
static void
test_room_for_key(void **state)
{
	struct plan *p = full_plan(1);

	(void)state;
	for (size_t extra = 0; extra < 5000; extra += 50) {
		size_t without;

		free(p->outgoing->tag);
		p->outgoing->tag = calloc(extra + 1, 1);
		assert_non_null(p->outgoing->tag);
		memset(p->outgoing->tag, 't', extra);
		memset(p->key, 0, sizeof(p->key));
		without = room_taken(p);
		memset(p->key, '\x01', PLAN_KEY_MAX);
		assert_int_equal(room_taken(p), without);
	}
	plan_free(&p);
}

/* --- what is no plan -------------------------------------------------------
 */

static char *
replaced(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	DYNBUF_AUTO out;
	size_t len;

	if (at == NULL)
		fail_msg("no %s in %s", from, text);
	dynbuf_init(&out, PLAN_MAX);
	dynbuf_add(&out, text, (size_t)(at - text));
	dynbuf_adds(&out, to);
	dynbuf_adds(&out, at + strlen(from));
	return dynbuf_steal(&out, &len);
}

#define CHARS_64 \
	"0123456789012345678901234567890123456789012345678901234567890123"

static const struct {
	const char *name;
	const char *from;
	const char *to;
	bool ok;
} changes[] = {
	{ "nothing", "acme", "acme", true },
	{ "a member nobody knows", "\"accepted\"", "\"x\":1,\"accepted\"",
	  true },
	{ "a later version", "\"version\":2", "\"version\":3", false },
	{ "version 0", "\"version\":2", "\"version\":0", false },
	{ "the version before", "\"version\":2", "\"version\":1", true },
	{ "no headers", "\"headers\"", "\"xheaders\"", false },
	{ "a header without a name", "{\"name\":\"X-One\",", "{", false },
	{ "a header without a value", ",\"value\":\"1\"", "", false },
	{ "a kind nobody knows", "\"kind\":\"cc\"", "\"kind\":\"dd\"", false },
	{ "a kind that is a number", "\"kind\":\"cc\"", "\"kind\":1", false },
	{ "a switch nobody knows", "\"on\"", "\"no\"", false },
	{ "a switch that is none", "\"on\"", "true", false },
	{ "a version as text", "\"version\":2", "\"version\":\"1\"", false },
	{ "no version", "\"version\"", "\"xversion\"", false },
	{ "a member twice", "\"api\"", "\"api\":\"x\",\"api\"", false },
	{ "no time", "\"accepted\"", "\"xaccepted\"", false },
	{ "a time as a fraction", "9007199254740993", "1.5", false },
	{ "tracked as a number", "\"tracked\":true", "\"tracked\":1", false },
	{ "not tracked", "\"tracked\":true,", "", true },
	{ "local as a number", "\"local\":true", "\"local\":1", false },
	{ "no submission", "\"submission\"", "\"xsubmission\"", false },
	{ "a short submission", "\"submission\":\"00", "\"submission\":\"",
	  false },
	{ "a long submission", "\"submission\":\"00", "\"submission\":\"0000",
	  false },
	{ "no hexadecimal", "\"submission\":\"00", "\"submission\":\"0G",
	  false },
	{ "upper case", "ff\"", "FF\"", false },
	{ "no outgoing", "\"outgoing\"", "\"xoutgoing\"", false },
	{ "outgoing as an array", "\"outgoing\":{", "\"outgoing\":[{", false },
	{ "a subject that is a number", "\"subject\":\"",
	  "\"subject\":1,\"x\":\"", false },
	{ "no recipients", "\"recipients\"", "\"xrecipients\"", false },
	{ "a recipient that is a text", "[{", "[\"x\",{", false },
	{ "a recipient without an address", "\"email\"", "\"xemail\"", false },
	{ "a recipient without a name", "\"name\"", "\"xname\"", false },
	{ "a recipient without a state", "\"state\"", "\"xstate\"", false },
	{ "a state nobody knows", "\"open\"", "\"Open\"", false },
	{ "refused without a reply", "\"open\"", "\"refused\"", false },
	{ "no code", "\"code\"", "\"xcode\"", false },
	{ "a code that is a text", "\"code\":550", "\"code\":\"550\"", false },
	{ "code 251", "\"code\":550", "\"code\":251", false },
	{ "code 399", "\"code\":550", "\"code\":399", false },
	{ "code 600", "\"code\":550", "\"code\":600", false },
	{ "a code of another class", "\"code\":550", "\"code\":450", false },
	{ "a code over 32 bits", "\"code\":550", "\"code\":4294967846", false },
	{ "an enhanced code without a dot", "5.1.1", "511", false },
	{ "an empty enhanced code", "\"5.1.1\"", "\"\"", false },
	{ "a long enhanced code", "5.1.1", "5.1.11111111", false },
	{ "the longest enhanced code", "5.1.1", "5.1.1111111", true },
	{ "no enhanced code", "\"enhanced\"", "\"xenhanced\"", false },
	{ "no text", "\"text\"", "\"xtext\"", false },
	{ "an id of 65", "\"acme\"", "\"x" CHARS_64 "\"", false },
	{ "an id of 64", "\"acme\"", "\"" CHARS_64 "\"", true },
	{ "a queue id of 65", "4Tx1qR0Zzz", "x" CHARS_64, false },
	{ "a key id of 65", "\"k1\"", "\"x" CHARS_64 "\"", false },
	{ "an API of 65", "\"main\"", "\"x" CHARS_64 "\"", false },
	{ "a dialect of 65", "emaildelivery", "x" CHARS_64, false },
	{ "a key of 256", KEY, CHARS_64 CHARS_64 CHARS_64 CHARS_64, false },
	{ "no key", "\"key\"", "\"xkey\"", false },
	{ "NUL", "acme", "ac\\u0000me", false },
	{ "no UTF-8", "acme", "ac\xffme", false },
	{ "text behind it", E_ACUTE "\"}", E_ACUTE "\"} x", false },
	{ "blanks behind it", "k1\"", "k1\" ", true },
};

static void
test_changes(void **state)
{
	struct plan *p = full_plan(3);
	DYNBUF_AUTO text;
	unsigned bad = 0;

	(void)state;
	dynbuf_init(&text, PLAN_MAX);
	assert_true(plan_write(p, &text));
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		char *changed =
		    replaced(text.data, changes[i].from, changes[i].to);
		struct plan *got = plan_read(changed, strlen(changed));

		if ((got != NULL) != changes[i].ok) {
			printf("%s\n", changes[i].name);
			bad++;
		}
		plan_free(&got);
		free(changed);
	}
	plan_free(&p);
	assert_int_equal(bad, 0);
}

static void
test_cut_short(void **state)
{
	struct plan *p = full_plan(3);
	DYNBUF_AUTO text;

	(void)state;
	dynbuf_init(&text, PLAN_MAX);
	assert_true(plan_write(p, &text));
	for (size_t n = 0; n < text.len; n++)
		assert_null(plan_read(text.data, n));
	plan_free(&p);
}

static void
test_garbage(void **state)
{
	static const char *const v[] = {
		"", " ", "null", "[]", "{}", "{\"version\":1}", "\"x\"", "x",
	};
	struct dynbuf deep;

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		assert_null(plan_read(v[i], strlen(v[i])));
	dynbuf_init(&deep, 200000);
	for (int i = 0; i < 100000; i++)
		dynbuf_adds(&deep, "[");
	assert_null(plan_read(deep.data, deep.len));
	dynbuf_clear(&deep);
}

/* Over PLAN_MAX, and what would else be one. */
static void
test_too_long(void **state)
{
	struct plan *p = full_plan(1);
	DYNBUF_AUTO text;
	struct plan *back;

	(void)state;
	dynbuf_init(&text, PLAN_MAX + 1);
	assert_true(plan_write(p, &text));
	plan_free(&p);
	while (text.len < PLAN_MAX)
		dynbuf_adds(&text, " ");
	back = plan_read(text.data, text.len);
	assert_non_null(back);
	plan_free(&back);
	dynbuf_adds(&text, " ");
	assert_null(plan_read(text.data, text.len));
}

static void
test_too_many(void **state)
{
	struct plan *p = full_plan(OUTGOING_RECIPIENTS_MAX + 1);
	DYNBUF_AUTO text;

	(void)state;
	dynbuf_init(&text, PLAN_MAX);
	assert_true(plan_write(p, &text));
	assert_null(plan_read(text.data, text.len));
	plan_free(&p);
}

/* --- finding ---------------------------------------------------------------
 */

static void
test_find(void **state)
{
	static const char *const to[] = {
		"joe@x.com",	    "\"ann\"@x.com",	   "\"a b\"@x.com",
		"jos" E_ACUTE "@x", "\"q\\\"\\\\\"@x.com", "\"joe\"@x.com",
		"\"a@b\"@x.com",    "JOE@x.com",
	};
	static const struct {
		const char *address;
		size_t want;
	} v[] = {
		{ "joe@x.com", 0 },
		{ "joe@X.COM", 0 },
		{ "\"joe\"@x.com", 5 },
		{ "JOE@x.com", 7 },
		{ "\"JOE\"@X.com", 7 },
		{ "Joe@x.com", SIZE_MAX },
		{ "joe@y.com", SIZE_MAX },
		{ "jo@x.com", SIZE_MAX },
		{ "joee@x.com", SIZE_MAX },
		{ "joe", SIZE_MAX },
		{ "", SIZE_MAX },
		{ "@x.com", SIZE_MAX },
		{ "\"\"@x.com", SIZE_MAX },
		{ "\"@x.com", SIZE_MAX },
		{ "ann@x.com", 1 },
		{ "\"an\\n\"@x.com", 1 },
		{ "\"ann\"@X.com", 1 },
		{ "\"ann@x.com", SIZE_MAX },
		{ "ann\"@x.com", SIZE_MAX },
		{ "a b@x.com", 2 },
		{ "\"a\\ b\"@x.com", 2 },
		{ "\"jos" E_ACUTE "\"@x", 3 },
		{ "q\"\\@x.com", 4 },
		{ "a@b@x.com", 6 },
	};
	struct outgoing *o = outgoing_to(sizeof(to) / sizeof(to[0]));
	struct plan *p;

	(void)state;
	for (size_t i = 0; i < o->n_recipients; i++) {
		free(o->recipients[i].email);
		o->recipients[i].email = copy(to[i]);
	}
	p = plan_new(o);
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		size_t got = plan_find(p, v[i].address);

		if (got != v[i].want)
			fail_msg("%s: %zd", v[i].address, (ssize_t)got);
	}
	plan_free(&p);
}

static int
setup(void **state)
{
	(void)state;
	json_text_init();
	return 0;
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_without_body),
		cmocka_unit_test(test_longest_ids),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_room_for_key),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
