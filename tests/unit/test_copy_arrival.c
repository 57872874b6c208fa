/* SPDX-License-Identifier: MIT */
/*
 * What comes in by the service for copies: a copy as the agent seals it, with
 * one thing that is not as it should be in each row.
 */
#include "milter/copy_arrival.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <gmime/gmime.h>

#include "milter/copy_ledger.h"
#include "milter/copy_seal.h"
#include "milter/crypto.h"
#include "milter/log.h"
#include "policy/dynbuf.h"
#include "policy/edits.h"
#include "policy/json_text.h"
#include "policy/message.h"
#include "policy/requeue.h"
#include "policy/smtp_reply.h"

static struct crypto_seal *seal, *other_seal;
static struct copy_ledger *ledger;

static char smtp[] = "smtp:[mx]:25", sender[] = "s@x.com", null_sender[] = "",
	    rcpt[] = "r@x.com", quoted[] = "\"r\"@x.com",
	    utf8[] = "\xc3\xa9\"\\@x.com";

enum damage {
	WHOLE,
	WHITE_SPACE,
	ANOTHER_SECRET,
	ALTERED,
	CUT,
	MISSING,
	TWICE,
	GARBAGE,
	HUGE,
	CLOSED,
	OTHER_ID,
};

static const struct {
	const char *name;
	char *sender, *recipient; /* of the seal */
	const char *mail_from, *rcpt_to[2];
	int age; /* seconds */
	enum damage damage;
	const char *why; /* NULL: it passes */
} rows[] = {
	{ "good", sender, rcpt, "s@x.com", { "r@x.com" }, 0, WHOLE, NULL },
	{ "white space",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com" },
	  0,
	  WHITE_SPACE,
	  NULL },
	{ "the null sender",
	  null_sender,
	  rcpt,
	  "",
	  { "r@x.com" },
	  0,
	  WHOLE,
	  NULL },
	{ "quoted on the way",
	  sender,
	  quoted,
	  "\"s\"@X.com",
	  { "r@X.COM" },
	  0,
	  WHOLE,
	  NULL },
	{ "odd letters",
	  sender,
	  utf8,
	  "s@x.com",
	  { "\xc3\xa9\"\\@x.com" },
	  0,
	  WHOLE,
	  NULL },
	{ "nearly an hour",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com" },
	  COPY_SEAL_VALID - 10,
	  WHOLE,
	  NULL },
	{ "the clock went back",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com" },
	  -100,
	  WHOLE,
	  NULL },
	{ "over an hour",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com" },
	  COPY_SEAL_VALID + 10,
	  WHOLE,
	  "it is too old" },
	{ "of the future",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com" },
	  -COPY_SEAL_VALID - 10,
	  WHOLE,
	  "it is too old" },
	{ "another recipient",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "t@x.com" },
	  0,
	  WHOLE,
	  "it is for another recipient" },
	{ "another case",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "R@x.com" },
	  0,
	  WHOLE,
	  "it is for another recipient" },
	{ "one more recipient",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com", "t@x.com" },
	  0,
	  WHOLE,
	  "it is for another recipient" },
	{ "no recipient",
	  sender,
	  rcpt,
	  "s@x.com",
	  { NULL },
	  0,
	  WHOLE,
	  "it is for another recipient" },
	{ "another sender",
	  sender,
	  rcpt,
	  "t@x.com",
	  { "r@x.com" },
	  0,
	  WHOLE,
	  "it is from another sender" },
	{ "the null sender instead",
	  sender,
	  rcpt,
	  "",
	  { "r@x.com" },
	  0,
	  WHOLE,
	  "it is from another sender" },
	{ "instead of the null sender",
	  null_sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com" },
	  0,
	  WHOLE,
	  "it is from another sender" },
	{ "another secret",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com" },
	  0,
	  ANOTHER_SECRET,
	  "its seal is not ours" },
	{ "altered",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com" },
	  0,
	  ALTERED,
	  "its seal is not ours" },
	{ "cut",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com" },
	  0,
	  CUT,
	  "its seal is not ours" },
	{ "none",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com" },
	  0,
	  MISSING,
	  "it has no seal" },
	{ "two",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com" },
	  0,
	  TWICE,
	  "it has several seals" },
	{ "garbage",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com" },
	  0,
	  GARBAGE,
	  "its seal is not ours" },
	{ "too long",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com" },
	  0,
	  HUGE,
	  "its seal is not ours" },
	{ "nobody waits any more",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com" },
	  0,
	  CLOSED,
	  "nobody waits for it" },
	{ "of another attempt",
	  sender,
	  rcpt,
	  "s@x.com",
	  { "r@x.com" },
	  0,
	  OTHER_ID,
	  "nobody waits for it" },
};

static char *
make_value(size_t row, const char *id)
{
	struct copy_ticket t = {
		.transport = smtp,
		.sender = rows[row].sender,
		.recipient = rows[row].recipient,
		.made = (int64_t)time(NULL) - rows[row].age,
		.key = "0123456789abcdef0123456789abcdef",
	};
	enum damage damage = rows[row].damage;
	char *value, *spaced;

	(void)snprintf(t.id, sizeof(t.id), "%s", id);
	if (damage == OTHER_ID)
		t.id[0] = t.id[0] == '0' ? '1' : '0';
	value = copy_seal(damage == ANOTHER_SECRET ? other_seal : seal, &t);
	if (damage == ALTERED)
		value[10] = value[10] == 'A' ? 'B' : 'A';
	if (damage == CUT)
		value[strlen(value) - 8] = '\0';
	if (damage != WHITE_SPACE)
		return value;
	if (asprintf(&spaced, "\t %s \n\t ", value) < 0)
		abort();
	free(value);
	return spaced;
}

static void
give(struct copy_arrival *a, size_t row, const char *id)
{
	static char huge[COPY_SEAL_MAX + 100];
	char *value = make_value(row, id);

	copy_arrival_header(a, "Subject", "x");
	memset(huge, 'A', sizeof(huge) - 1);
	switch (rows[row].damage) {
	case MISSING:
		break;
	case GARBAGE:
		copy_arrival_header(a, REQUEUE_COPY_HEADER, "{}%s%n");
		break;
	case HUGE:
		copy_arrival_header(a, REQUEUE_COPY_HEADER, huge);
		break;
	case TWICE:
		copy_arrival_header(a, REQUEUE_COPY_HEADER, value);
		/* fall through */
	default:
		copy_arrival_header(a, "x-txmilter-copy", value);
		break;
	}
	free(value);
}

static struct edits *
arrive(size_t row, const char *id, struct smtp_reply *reply_r)
{
	struct copy_arrival *a = copy_arrival_new();
	struct message *m = message_new(rows[row].mail_from);
	struct edits *e;

	for (size_t i = 0; i < 2 && rows[row].rcpt_to[i] != NULL; i++)
		message_recipient(m, rows[row].rcpt_to[i]);
	give(a, row, id);
	e = copy_arrival_end(a, seal, ledger, m, "Q1", reply_r);
	message_free(&m);
	copy_arrival_free(&a);
	assert_null(a);
	copy_arrival_free(&a);
	return e;
}

static void
check_row(size_t row)
{
	struct smtp_reply reply = { 0 };
	struct copy_attempt before, attempt, after;
	struct edits *e;

	copy_ledger_open(ledger, &before);
	copy_ledger_open(ledger, &attempt);
	copy_ledger_open(ledger, &after);
	if (rows[row].damage == CLOSED)
		copy_ledger_close(ledger, &attempt);
	e = arrive(row, attempt.id, &reply);
	if ((e != NULL) != (rows[row].why == NULL))
		fail_msg("%s: %s", rows[row].name, reply.text);
	if (e != NULL) {
		assert_int_equal(reply.code, 250);
		assert_string_equal(e->route, smtp);
		assert_int_equal(e->n_headers, 1);
		assert_int_equal(e->headers[0].kind, EDIT_DELETE);
		assert_string_equal(e->headers[0].name, REQUEUE_COPY_HEADER);
		assert_false(e->new_body);
		assert_null(e->sender);
		assert_string_equal(attempt.queue_id, "Q1");
		/* Once is enough. */
		assert_null(arrive(row, attempt.id, &reply));
		assert_int_equal(reply.code, 550);
		assert_non_null(strstr(reply.text, "nobody waits for it"));
	} else {
		assert_int_equal(reply.code, 550);
		assert_string_equal(reply.enhanced, "5.7.1");
		assert_non_null(strstr(reply.text, rows[row].why));
	}
	assert_int_equal(attempt.arrived, rows[row].why == NULL);
	assert_false(before.arrived || after.arrived);
	copy_ledger_close(ledger, &attempt);
	copy_ledger_close(ledger, &before);
	copy_ledger_close(ledger, &after);
	edits_free(&e);
}

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(i);
}

/* A plan of the same secret, which may be seen in a bounce, is none. */
static void
test_a_plan_is_no_seal(void **state)
{
	static const char text[] =
	    "{\"transport\":\"smtp:\",\"sender\":\"\",\"recipient\":\"r@x\","
	    "\"key\":\"\",\"made\":4000000000}";
	uint8_t sealed[sizeof(text) + CRYPTO_SEAL_OVERHEAD];
	char value[CRYPTO_BASE64_LEN(sizeof(sealed)) + 1];
	struct copy_ticket t;

	(void)state;
	crypto_seal(seal, "plan", text, sizeof(text) - 1, sealed);
	crypto_base64(value, sealed, sizeof(sealed) - 1);
	assert_string_equal(
	    copy_unseal(seal, value, strlen(value), 4000000000, &t),
	    "its seal is not ours");
}

/* What is sealed and is no ticket. */
static void
test_no_ticket(void **state)
{
	static const char *const texts[] = {
		"",
		"{}",
		"[]",
		"{\"transport\":1}",
		"{\"transport\":\"smtp:\",\"sender\":\"\",\"recipient\":\"r\"}",
		"{\"transport\":\"smtp:\",\"sender\":\"\",\"recipient\":\"r\","
		"\"key\":\"\",\"made\":\"1\"}",
		"{\"transport\":\"smtp:\",\"sender\":\"\",\"recipient\":\"r\","
		"\"key\":\"\",\"made\":1}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		size_t len = strlen(texts[i]) + CRYPTO_SEAL_OVERHEAD;
		uint8_t sealed[200];
		char value[CRYPTO_BASE64_LEN(200) + 1];
		struct copy_ticket t;

		crypto_seal(seal, "copy", texts[i], strlen(texts[i]), sealed);
		crypto_base64(value, sealed, len);
		assert_non_null(copy_unseal(seal, value, strlen(value), 1, &t));
		assert_null(t.transport);
		assert_null(t.recipient);
	}
}

static void
test_folds(void **state)
{
	const struct copy_ticket t = { smtp, sender, rcpt, 1, "k", "i" };
	char *value = copy_seal(seal, &t);

	(void)state;
	for (const char *line = value; line != NULL;) {
		const char *next = strchr(line, '\n');

		assert_true(strcspn(line, "\n") <= 78);
		line = next != NULL ? next + 1 : NULL;
	}
	free(value);
}

static struct crypto_seal *
open_seal(char letter)
{
	char path[] = "/tmp/test_copy_arrival.XXXXXX";
	char secret[CRYPTO_SECRET_MIN];
	struct crypto_seal *s;
	const char *error;
	int fd = mkstemp(path);

	memset(secret, letter, sizeof(secret));
	assert_true(fd >= 0);
	assert_int_equal(write(fd, secret, sizeof(secret)), sizeof(secret));
	(void)close(fd);
	s = crypto_seal_open(path, &error);
	assert_non_null(s);
	(void)unlink(path);
	return s;
}

static int
setup(void **state)
{
	(void)state;
	g_mime_init();
	json_text_init();
	seal = open_seal('s');
	other_seal = open_seal('o');
	ledger = copy_ledger_new();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	crypto_seal_free(&seal);
	crypto_seal_free(&other_seal);
	copy_ledger_free(&ledger);
	copy_ledger_free(&ledger);
	return 0;
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_a_plan_is_no_seal),
		cmocka_unit_test(test_no_ticket),
		cmocka_unit_test(test_folds),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
