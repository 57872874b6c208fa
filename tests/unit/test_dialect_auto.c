/* SPDX-License-Identifier: MIT */
#include "policy/dialect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy/account.h"
#include "policy/group_header.h"
#include "policy/header_text.h"
#include "policy/judge.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/route.h"

#define NAMES_MAX 4
/* For "sparkpost", and a group header. */
#define GROUPED "grouped"
#define TWO(a, b)                                                          \
	a " and " b ": these headers are of two providers, and a message " \
	  "can have those of one only"

static const struct {
	const char *names[NAMES_MAX]; /* headers, beside From and Subject */
	const char *dialect;	      /* NULL: refused */
	const char *refusal;
} rows[] = {
	{ { "X-Transactional-Tag" }, "emaildelivery", NULL },
	{ { "x-transactional-variables" }, "emaildelivery", NULL },
	{ { "X-Transactional-Route", "X-Transactional-Tag" },
	  "emaildelivery",
	  NULL },
	{ { "X-Flexmail-Tag" }, "flexmail", NULL },
	{ { "X-Flexmail-Metadata-Order" }, "flexmail", NULL },
	{ { "X-Cmail-GroupName" }, "campaignmonitor", NULL },
	{ { "X-CMail-TrackOpens" }, "campaignmonitor", NULL },
	{ { "X-MSYS-API" }, "sparkpost", NULL },
	{ { "x-msys-api" }, "sparkpost", NULL },
	{ { NULL }, "sparkpost", NULL },
	{ { "X-Mailer", "X-MSYS-APIS" }, "sparkpost", NULL },
	/* A key may come with any provider's headers. */
	{ { "X-Auth-APIKey" }, "emaildelivery", NULL },
	{ { "X-Auth-APIKey", "X-MSYS-API" }, "sparkpost", NULL },
	{ { "X-Auth-APIKey", "X-Flexmail-Tag" }, "flexmail", NULL },
	{ { "X-Auth-APIKey", "X-PM-Tag" }, "emaildelivery", NULL },
	/* Group headers count when there is nothing else. */
	{ { "X-Mailgun-Tag" }, GROUPED, NULL },
	{ { "X-Mailgun-Campaign-Id" }, GROUPED, NULL },
	{ { "X-Mailjet-Campaign" }, GROUPED, NULL },
	{ { "X-MC-Tags" }, GROUPED, NULL },
	{ { "X-PM-Tag" }, GROUPED, NULL },
	{ { "X-SMTPAPI" }, GROUPED, NULL },
	{ { "X-SMTPAPI", "X-Mailgun-Tag" }, GROUPED, NULL },
	{ { "X-SMTPAPI", "X-MSYS-API", "X-Mailgun-Tag" }, "sparkpost", NULL },
	{ { "X-MC-Tags", "X-Transactional-Tag" }, "emaildelivery", NULL },
	{ { "X-MC-Tags", "X-Flexmail-Tag" }, "flexmail", NULL },
	{ { "X-MC-Tags", "X-Cmail-GroupName" }, "campaignmonitor", NULL },
	{ { "X-MSYS-API", "X-Transactional-Tag" },
	  NULL,
	  TWO("X-MSYS-API", "X-Transactional-Tag") },
	{ { "X-Transactional-Tag", "X-PM-Tag", "X-msys-Api" },
	  NULL,
	  TWO("X-Transactional-Tag", "X-msys-Api") },
	{ { "X-Flexmail-Tag", "X-MSYS-API" },
	  NULL,
	  TWO("X-Flexmail-Tag", "X-MSYS-API") },
	{ { "X-Cmail-GroupName", "X-Flexmail-Open-Tracking" },
	  NULL,
	  TWO("X-Cmail-GroupName", "X-Flexmail-Open-Tracking") },
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static struct message *
message_with(const char *const names[NAMES_MAX])
{
	struct message *m = message_new("bounce@example.com");

	message_recipient(m, "r@example.com");
	message_header(m, "From", "a@example.com", 13);
	message_header(m, "Subject", "s", 1);
	for (size_t i = 0; i < NAMES_MAX && names[i] != NULL; i++)
		message_header(m, names[i], "{}", 2);
	return m;
}

static bool
is_named(const struct dialect *d, const char *name)
{
	return strcmp(name, GROUPED) == 0 ? d == &dialect_sparkpost_grouped
					  : d == dialect_find(name);
}

static bool
check_row(size_t i)
{
	struct message *m = message_with(rows[i].names);
	struct smtp_reply refusal = { 0 };
	const struct dialect *d = dialect_of(&dialect_auto, m, &refusal);
	bool ok;

	if (rows[i].dialect != NULL)
		ok = d != NULL && is_named(d, rows[i].dialect) &&
		     !smtp_reply_is_set(&refusal);
	else
		ok = d == NULL && refusal.code == 550 &&
		     strcmp(refusal.enhanced, "5.6.0") == 0 &&
		     strcmp(refusal.text, rows[i].refusal) == 0;
	if (!ok)
		printf("%s...: %s\n",
		       rows[i].names[0] ? rows[i].names[0] : "none",
		       d ? d->name : refusal.text);
	message_free(&m);
	return ok;
}

static void
test_choose(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < N_ROWS; i++)
		bad += !check_row(i);
	assert_int_equal(bad, 0);
}

/* Each control header of a dialect is a sign of that dialect, but for those
 * that it has from others. */
static void
test_every_control_header(void **state)
{
	(void)state;
	for (size_t i = 0; dialects[i] != NULL; i++) {
		const struct header_rule *r = dialects[i]->rules;

		for (; r != NULL && r->name != NULL; r++) {
			const char *const names[NAMES_MAX] = { r->name };
			struct message *m = message_with(names);
			struct smtp_reply refusal = { 0 };

			if (r->control)
				assert_ptr_equal(
				    dialect_of(&dialect_auto, m, &refusal),
				    group_header_is(r->name)
					? &dialect_sparkpost_grouped
					: dialects[i]);
			message_free(&m);
		}
	}
}

static const struct route_list no_routes = { 0 };

static void
judge_with(const char *const names[NAMES_MAX], struct verdict *v)
{
	struct account *a = account_new("acme");
	struct message *m = message_with(names);

	assert_true(account_add_route(a, "r1", ""));
	(void)message_body(m, "x", 1);
	judge(m, a, &dialect_auto, &no_routes, v);
	message_free(&m);
	account_free(&a);
}

static void
test_judge(void **state)
{
	static const char *const none[NAMES_MAX] = { NULL };
	static const char *const group[NAMES_MAX] = { "X-PM-Tag" };
	static const char *const two[NAMES_MAX] = { "X-MSYS-API",
						    "X-Transactional-Tag" };
	struct verdict v;

	(void)state;
	judge_with(none, &v);
	assert_int_equal(v.kind, VERDICT_HAND_OVER);
	assert_ptr_equal(v.dialect, &dialect_sparkpost);
	verdict_clear(&v);
	/* A tag, and nothing that nobody asked for. */
	judge_with(group, &v);
	assert_int_equal(v.kind, VERDICT_HAND_OVER);
	assert_string_equal(v.dialect->name, "sparkpost");
	assert_string_equal(v.outgoing->tag, "{}");
	assert_true(v.outgoing->wished[FEATURE_TAG]);
	assert_int_equal(v.outgoing->open_tracking, SWITCH_OFF);
	assert_int_equal(v.outgoing->click_tracking, SWITCH_OFF);
	assert_int_equal(v.outgoing->inline_css, SWITCH_OFF);
	assert_int_equal(v.outgoing->n_headers, 0);
	verdict_clear(&v);
	/* Its own customers get none. */
	judge_with(none, &v);
	assert_null(v.outgoing->tag);
	verdict_clear(&v);
	judge_with(two, &v);
	assert_int_equal(v.kind, VERDICT_REFUSE);
	assert_null(v.dialect);
	assert_string_equal(v.reply.text,
			    TWO("X-MSYS-API", "X-Transactional-Tag"));
	verdict_clear(&v);
}

static void
test_dialect(void **state)
{
	(void)state;
	assert_ptr_equal(dialect_find("auto"), &dialect_auto);
	assert_string_equal(dialect_auto.key_header, "X-Auth-APIKey");
	assert_null(dialect_rule(&dialect_auto, "From"));
	assert_int_equal(dialect_auto.recipients_max, 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choose),
		cmocka_unit_test(test_every_control_header),
		cmocka_unit_test(test_judge),
		cmocka_unit_test(test_dialect),
	};

	header_text_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
