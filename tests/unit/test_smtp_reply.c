/* SPDX-License-Identifier: MIT */
#include "policy/smtp_reply.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/utf8.h"

#define E_ACUTE "\xc3\xa9"
#define EURO "\xe2\x82\xac"

static const struct {
	const char *name;
	size_t size;
	const char *text;
	size_t len;
	const char *want;
} rows[] = {
	{ "nothing", 20, "", 0, "" },
	{ "as it is", 20, "hello world", 11, "hello world" },
	{ "as much as fits", 6, "hello", 5, "hello" },
	{ "one too many", 6, "hello!", 6, "he..." },
	{ "the smallest buffer", 5, "abcde", 5, "a..." },
	{ "length counts, not NUL", 20, "hello world", 5, "hello" },
	{ "NUL", 20, "a\0b", 3, "a?b" },
	{ "CR LF is one blank", 20, "a\r\nb", 4, "a b" },
	{ "runs of white space", 20, "a \t\r\n  b", 8, "a b" },
	{ "white space around", 20, " \n a b \t ", 9, "a b" },
	{ "only white space", 20, " \r\n\t", 4, "" },
	{ "control characters", 20, "a\x01\x1b[0m\x7f", 7, "a??[0m?" },
	{ "C1 control characters", 20,
	  "a\xc2\x9b"
	  "0m\xc2\x85"
	  "b",
	  8, "a?0m?b" },
	{ "no-break space is no control", 20,
	  "a\xc2\xa0"
	  "b",
	  4,
	  "a\xc2\xa0"
	  "b" },
	{ "UTF-8", 20, "caf" E_ACUTE " " EURO, 9, "caf" E_ACUTE " " EURO },
	{ "invalid UTF-8", 20,
	  "a\xff\xc3"
	  "b\xe2\x82",
	  6, "a??b??" },
	{ "a surrogate", 20, "\xed\xa0\x80", 3, "???" },
	{ "percent is left alone", 20, "100% %s", 7, "100% %s" },
	{ "cut before a character", 9, "abc" E_ACUTE E_ACUTE E_ACUTE, 9,
	  "abc" E_ACUTE "..." },
	{ "cut, a character does not fit", 8, "abc" E_ACUTE E_ACUTE E_ACUTE, 9,
	  "abc..." },
	{ "blanks at the end need no room", 6, "hello \r\n", 8, "hello" },
	{ "the first character has no room beside the dots", 5,
	  "\xf0\x9f\x98\x80x", 5, "..." },
	{ "a wrong byte at the very end", 6, "abcd\xff", 5, "abcd?" },
	{ "cut after blanks that are one", 9, "ab      cdefghijk", 17,
	  "ab cd..." },
};

static void
test_safe_text(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = malloc(rows[i].len + 1);
		char *dst = malloc(rows[i].size);

		assert_non_null(text);
		assert_non_null(dst);
		memcpy(text, rows[i].text, rows[i].len);
		text[rows[i].len] = 'X'; /* never read */
		smtp_reply_safe_text(dst, rows[i].size, text, rows[i].len);
		if (strcmp(dst, rows[i].want) != 0) {
			printf("%s: \"%s\"\n", rows[i].name, dst);
			bad++;
		}
		free(text);
		free(dst);
	}
	assert_int_equal(bad, 0);
}

/* Whatever the size: it fits, and no character is cut in two. */
static void
test_every_size(void **state)
{
	static const char text[] = "a" E_ACUTE EURO "\xf0\x9f\x98\x80 "
				   "b" EURO "\r\n" E_ACUTE "c";

	(void)state;
	for (size_t size = 5; size < sizeof(text) + 5; size++) {
		char *dst = malloc(size);
		size_t n;

		assert_non_null(dst);
		smtp_reply_safe_text(dst, size, text, strlen(text));
		n = strlen(dst);
		assert_true(n < size);
		assert_int_equal(utf8_valid_prefix(dst, n), n);
		if (size < sizeof(text) - 1)
			assert_string_equal(dst + n - 3, "...");
		free(dst);
	}
}

static const struct {
	const char *name;
	int code;
	const char *enhanced;
	const char *text;
	const char *want;
} replies[] = {
	{ "refusal", 550, "5.6.0", "Subject: header missing",
	  "Subject: header missing" },
	{ "later", 451, "4.4.1", "The API did not answer",
	  "The API did not answer" },
	{ "accepted", 250, "2.0.0", "Accepted", "Accepted" },
	{ "lowest 4xx", 400, "4.0.0", "x", "x" },
	{ "highest 5xx", 599, "5.7.999", "x", "x" },
	{ "line ends", 550, "5.6.0", "a\r\n250 ok\r\n", "a 250 ok" },
	{ "percent", 550, "5.6.0", "100%n", "100%n" },
	{ "no text", 550, "5.6.0", "", "Message not accepted" },
	{ "no text but blanks", 451, "4.3.0", " \r\n", "Message not accepted" },
	{ "accepted without text", 250, "2.0.0", "", "Ok" },
};

static void
test_set(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		struct smtp_reply r = { 0 };

		assert_false(smtp_reply_is_set(&r));
		smtp_reply_set(&r, replies[i].code, replies[i].enhanced, "%s",
			       replies[i].text);
		if (strcmp(r.text, replies[i].want) != 0)
			fail_msg("%s: \"%s\"", replies[i].name, r.text);
		assert_true(smtp_reply_is_set(&r));
		assert_int_equal(r.code, replies[i].code);
		assert_string_equal(r.enhanced, replies[i].enhanced);
	}
}

static void
test_set_formats(void **state)
{
	struct smtp_reply r = { .code = 451, .text = "old" };

	(void)state;
	smtp_reply_set(&r, 550, "5.1.3", "%s has %d\n", "it", 3);
	assert_int_equal(r.code, 550);
	assert_string_equal(r.text, "it has 3");
}

/* A text of `len` bytes: z, fill, z. */
static void
set_long(struct smtp_reply *r, char fill, size_t len)
{
	char *text = malloc(len + 1);

	assert_non_null(text);
	memset(text, fill, len);
	text[0] = text[len - 1] = 'z';
	text[len] = '\0';
	smtp_reply_set(r, 550, "5.6.0", "%s", text);
	free(text);
}

/* Text that is too long ends with "...", however long it was. */
static void
test_set_long(void **state)
{
	static const size_t lens[] = { SMTP_REPLY_TEXT_MAX + 1, 4095, 4096,
				       100000 };
	struct smtp_reply r;

	(void)state;
	set_long(&r, 'x', SMTP_REPLY_TEXT_MAX);
	assert_int_equal(strlen(r.text), SMTP_REPLY_TEXT_MAX);
	assert_int_equal(r.text[SMTP_REPLY_TEXT_MAX - 1], 'z');
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		set_long(&r, 'x', lens[i]);
		assert_int_equal(strlen(r.text), SMTP_REPLY_TEXT_MAX);
		assert_string_equal(r.text + SMTP_REPLY_TEXT_MAX - 4, "x...");
	}
}

/* What is cut before it is made safe is cut all the same. */
static void
test_set_long_blanks(void **state)
{
	struct smtp_reply r;

	(void)state;
	set_long(&r, ' ', 1000);
	assert_string_equal(r.text, "z z");
	set_long(&r, ' ', 10000);
	if (strcmp(r.text, "z z") != 0 && strstr(r.text, "...") == NULL)
		fail_msg("cut without a word: \"%s\"", r.text);
}

/* --- a programmer's errors ------------------------------------------------ */

static const struct {
	const char *name;
	int code;
	const char *enhanced;
} wrong[] = {
	{ "classes differ", 550, "4.6.0" },
	{ "classes differ, accepted", 250, "5.0.0" },
	{ "no code", 0, "0.0.0" },
	{ "3xx", 354, "3.0.0" },
	{ "2xx other than 250", 251, "2.0.0" },
	{ "6xx", 600, "6.0.0" },
	{ "no dot", 550, "550" },
	{ "too long", 550, "5.666.666666" },
};

static int
signal_of_set(int code, const char *enhanced)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		struct smtp_reply r;

		/* The message of assert() is expected. */
		(void)close(STDERR_FILENO);
		(void)signal(SIGABRT, SIG_DFL);
		smtp_reply_set(&r, code, enhanced, "x");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void
test_wrong_class(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (signal_of_set(wrong[i].code, wrong[i].enhanced) != SIGABRT)
			fail_msg("%s: not stopped", wrong[i].name);
	}
	assert_int_equal(signal_of_set(550, "5.6.0"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_safe_text),
		cmocka_unit_test(test_every_size),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_set_formats),
		cmocka_unit_test(test_set_long),
		cmocka_unit_test(test_set_long_blanks),
		cmocka_unit_test(test_wrong_class),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
