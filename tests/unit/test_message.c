/* SPDX-License-Identifier: MIT */
/*
 * The bounds of a message, and messages made to hurt: each of those is judged
 * in a process of its own, for its time and its memory to be measured. Time
 * is processor time, so that a busy machine changes nothing.
 */
#include "policy/message.h"

#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <gmime/gmime.h>

#include "policy/account.h"
#include "policy/api.h"
#include "policy/dialect.h"
#include "policy/dynbuf.h"
#include "policy/json_text.h"
#include "policy/judge.h"
#include "policy/mime.h"
#include "policy/outgoing.h"
#include "policy/route.h"
#include "policy/utf8.h"

static const struct route_list no_routes = { 0 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOWER 15
#define MEMORY_IS_MEASURED 0
#define STACK_SIZE (8 * 1024 * 1024)
#else
#define SLOWER 1
#define MEMORY_IS_MEASURED 1
/* As the daemon's threads have (milter/main.c). */
#define STACK_SIZE (512 * 1024)
#endif

#define CHUNK 65535 /* as the milter protocol brings it */
#define RATHER_LARGE 10000000

static bool
refused_with(const struct message *m, int code, const char *enhanced,
	     const char *text)
{
	const struct smtp_reply *r = message_refusal(m);

	if (r == NULL)
		return code == 0;
	if (r->code == code && strcmp(r->enhanced, enhanced) == 0 &&
	    strcmp(r->text, text) == 0)
		return true;
	printf("%d %s %s\n", r->code, r->enhanced, r->text);
	return false;
}

/* --- the envelope --------------------------------------------------------- */

#define BAD_SENDER "The sender address cannot be handed on"
#define BAD_RECIPIENT "A recipient address cannot be handed on"

static const struct {
	const char *name;
	const char *addr;
	bool sender_ok;
	bool recipient_ok;
} addresses[] = {
	{ "an address", "joe@example.com", true, true },
	{ "the null sender", "", true, false },
	{ "a quoted local part", "\"a b\"@example.com", true, true },
	{ "UTF-8", "jos\xc3\xa9@example.com", true, true },
	{ "invalid UTF-8", "jos\xe9@example.com", false, false },
	{ "no domain", "joe", false, false },
	{ "a source route", "@a.com:joe@example.com", false, false },
	{ "a line end", "joe@example.com\r\nX: y", false, false },
	{ "a control character", "joe\x01@example.com", false, false },
};

static void
test_addresses(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		struct message *m = message_new(addresses[i].addr);

		if (!refused_with(m, addresses[i].sender_ok ? 0 : 550, "5.1.7",
				  BAD_SENDER))
			fail_msg("sender: %s", addresses[i].name);
		assert_string_equal(message_sender(m), addresses[i].addr);
		message_free(&m);
		assert_null(m);

		m = message_new("s@example.com");
		message_recipient(m, addresses[i].addr);
		if (!refused_with(m, addresses[i].recipient_ok ? 0 : 550,
				  "5.1.3", BAD_RECIPIENT))
			fail_msg("recipient: %s", addresses[i].name);
		assert_int_equal(message_n_recipients(m),
				 addresses[i].recipient_ok);
		message_free(&m);
	}
	message_free(&(struct message *){ NULL });
}

static void
test_duplicates(void **state)
{
	static const struct {
		const char *name;
		const char *addrs[5];
		size_t want;
	} v[] = {
		{ "the same", { "a@x.com", "a@x.com" }, 1 },
		{ "the domain in another case", { "a@x.com", "a@X.COM" }, 1 },
		{ "the local part in another case",
		  { "a@x.com", "A@x.com" },
		  1 },
		{ "two", { "a@x.com", "b@x.com" }, 2 },
		{ "not next to each other",
		  { "a@x.com", "b@x.com", "a@x.com", "b@X.com", "c@x.com" },
		  3 },
		{ "the last one",
		  { "a@x.com", "b@x.com", "c@x.com", "c@x.com" },
		  3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct message *m = message_new("");

		for (size_t k = 0; k < 5 && v[i].addrs[k] != NULL; k++)
			message_recipient(m, v[i].addrs[k]);
		if (message_n_recipients(m) != v[i].want)
			fail_msg("%s: %zu", v[i].name, message_n_recipients(m));
		/* As the first of them was written, in their order. */
		assert_string_equal(message_recipient_at(m, 0), v[i].addrs[0]);
		assert_null(message_refusal(m));
		message_free(&m);
	}
}

static void
add_recipients(struct message *m, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char addr[64];

		assert_true(snprintf(addr, sizeof(addr), "r%u@x.com", i) > 0);
		message_recipient(m, addr);
	}
}

static void
test_recipient_count(void **state)
{
	struct message *m = message_new("");

	(void)state;
	add_recipients(m, MESSAGE_RECIPIENTS_MAX);
	/* One that is there already is not one more. */
	message_recipient(m, "r999@X.com");
	assert_null(message_refusal(m));
	assert_int_equal(message_n_recipients(m), MESSAGE_RECIPIENTS_MAX);
	message_recipient(m, "one-more@x.com");
	assert_true(refused_with(m, 550, "5.5.3", "More than 1000 recipients"));
	message_free(&m);
}

/* --- headers -------------------------------------------------------------- */

static void
give(struct message *m, const char *name, const char *value)
{
	message_header(m, name, value, strlen(value));
}

static void
test_headers(void **state)
{
	struct message *m = message_new("");
	const struct message_header *h;

	(void)state;
	give(m, "sUBJECT", "first");
	give(m, "Subject", "second");
	give(m, "X-Other", "x");
	give(m, "X-Transactional-Tag", "");
	message_header(m, "From", "a\0b", 3);
	h = message_find(m, "Subject");
	assert_non_null(h);
	assert_string_equal(h->name, "sUBJECT");
	assert_string_equal(h->value, "first");
	assert_int_equal(h->value_len, 5);
	assert_ptr_equal(message_find(m, "subject"), h);
	assert_string_equal(message_find(m, "X-OTHER")->value, "x");
	assert_null(message_find(m, "To"));
	h = message_find(m, "x-transactional-TAG");
	assert_non_null(h);
	assert_int_equal(h->value_len, 0);
	h = message_find(m, "From");
	assert_int_equal(h->value_len, 3);
	assert_memory_equal(h->value, "a\0b", 4);
	message_free(&m);
}

/* All of them in their order, known to a dialect or not. */
static void
test_header_names(void **state)
{
	struct message *m = message_new("");

	(void)state;
	assert_int_equal(message_n_headers(m), 0);
	give(m, "Received", "x");
	give(m, "X-Other", "x");
	give(m, "sUBJECT", "x");
	give(m, "X-OTHER", "x");
	for (int i = 4; i < MESSAGE_HEADERS_MAX; i++)
		give(m, i % 2 == 0 ? "Even" : "Odd", "");
	assert_null(message_refusal(m));
	assert_int_equal(message_n_headers(m), MESSAGE_HEADERS_MAX);
	assert_string_equal(message_header_at(m, 0)->name, "Received");
	assert_string_equal(message_header_at(m, 1)->name, "X-Other");
	assert_string_equal(message_header_at(m, 2)->name, "sUBJECT");
	assert_string_equal(message_header_at(m, 3)->name, "X-OTHER");
	assert_string_equal(message_header_at(m, 998)->name, "Even");
	assert_string_equal(message_header_at(m, 999)->name, "Odd");
	give(m, "One-More", "");
	assert_int_equal(message_n_headers(m), MESSAGE_HEADERS_MAX);
	message_free(&m);
}

/* Names of headers that are not kept count too, for they are. */
static void
test_header_bytes(void **state)
{
	static char name[20001];
	struct message *m = message_new("");

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	for (size_t i = 0; i < MESSAGE_HEADERS_KEPT_MAX / sizeof(name); i++)
		give(m, name, "x");
	assert_null(message_refusal(m));
	give(m, name, "x");
	assert_true(refused_with(m, 550, "5.6.0",
				 "The headers are longer than 1048576 bytes"));
	message_free(&m);
}

static void
test_header_count(void **state)
{
	struct message *m = message_new("");

	(void)state;
	for (int i = 0; i < MESSAGE_HEADERS_MAX; i++)
		give(m, "X-Filler", "x");
	assert_null(message_refusal(m));
	give(m, "X-Filler", "x");
	assert_true(refused_with(m, 550, "5.6.0", "More than 1000 headers"));
	message_free(&m);
}

/* Name and value together. */
static void
test_header_length(void **state)
{
	static const char *const names[] = { "Subject", "X", "X-Not-Kept",
					     "Content-Type" };
	char *value = malloc(MESSAGE_HEADER_MAX);
	char words[64];

	(void)state;
	assert_non_null(value);
	assert_true(snprintf(words, sizeof(words),
			     ": header longer than %d bytes",
			     MESSAGE_HEADER_MAX) > 0);
	memset(value, 'v', MESSAGE_HEADER_MAX);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t fits = MESSAGE_HEADER_MAX - 1 - strlen(names[i]);
		struct message *m = message_new("");

		message_header(m, names[i], value, fits);
		assert_null(message_refusal(m));
		message_header(m, names[i], value, fits + 1);
		assert_non_null(message_refusal(m));
		if (strstr(message_refusal(m)->text, words) == NULL)
			fail_msg("%s", message_refusal(m)->text);
		assert_memory_equal(message_refusal(m)->text, names[i],
				    strlen(names[i]));
		assert_int_equal(message_refusal(m)->code, 550);
		assert_string_equal(message_refusal(m)->enhanced, "5.6.0");
		message_free(&m);
	}
	free(value);
}

/* The name of such a header goes into the reply: cut, and made safe. */
static void
test_long_header_name(void **state)
{
	char *name = malloc(MESSAGE_HEADER_MAX + 1);
	struct message *m = message_new("");

	(void)state;
	assert_non_null(name);
	memset(name, 'n', MESSAGE_HEADER_MAX);
	memcpy(name, "X\x1b\xff", 3);
	name[MESSAGE_HEADER_MAX] = '\0';
	give(m, name, "");
	assert_non_null(message_refusal(m));
	assert_memory_equal(message_refusal(m)->text, "X??nnn", 6);
	assert_non_null(
	    strstr(message_refusal(m)->text, "n...: header longer than"));
	free(name);
	message_free(&m);
}

/* The first thing found counts, and all that follows is ignored. */
static void
test_first_refusal(void **state)
{
	struct message *m = message_new("nobody");
	char *text;
	size_t len;

	(void)state;
	message_recipient(m, "@");
	give(m, "Subject", "x");
	assert_true(refused_with(m, 550, "5.1.7", BAD_SENDER));
	assert_int_equal(message_n_recipients(m), 0);
	assert_null(message_find(m, "Subject"));
	assert_true(message_body(m, "hello", 5));
	assert_int_equal(message_take_body(m, &text, &len), BODY_NONE);
	assert_int_equal(message_bytes(m), 5);
	message_free(&m);
}

static void
test_body(void **state)
{
	struct message *m = message_new("");
	char *text;
	size_t len;

	(void)state;
	give(m, "Content-Type", "multipart/mixed; boundary=b");
	assert_false(message_body(m, "--b\r\nContent-Type: text/html\r\n", 30));
	assert_false(message_body(m, "\r\n<p>\r\n", 7));
	assert_true(message_body(m, "--b\r\n", 5));
	assert_true(message_body(m, "more", 4));
	assert_int_equal(message_bytes(m), 46);
	assert_ptr_not_equal(message_body_state(m), NULL);
	assert_int_equal(message_take_body(m, &text, &len), BODY_HTML);
	assert_string_equal(text, "<p>");
	free(text);
	message_free(&m);
}

/* --- messages made to hurt ------------------------------------------------ */

struct hostile {
	const char *name;
	/* One header: a prefix, a unit as often as fits into `header_len`
	 * bytes, a suffix. And so many of them. */
	const char *header;
	const char *prefix, *unit, *suffix;
	size_t header_len;
	unsigned n_headers;
	/* The body: likewise. */
	const char *type;
	const char *body_prefix, *body_unit;
	size_t body_len;
	unsigned n_recipients;
	int code;	  /* 0: handed over; -1: either */
	const char *text; /* of the refusal, a part of it */
	bool large;	  /* the text that is kept is as large as it may be */
};

#define LONGEST (MESSAGE_HEADER_MAX - 900) /* name and value */
#define QP "\r\nContent-Transfer-Encoding: quoted-printable"
#define B64 "\r\nContent-Transfer-Encoding: base64"
#define PART "--b\r\nContent-Type: "

static const struct hostile hostiles[] = {
	{ "300,000 headers", .header = "X-A", .unit = "b", .header_len = 1,
	  .n_headers = 300000, .code = 550, .text = "More than 1000 headers" },
	{ "1,000 long headers", .header = "X-A", .unit = "b ",
	  .header_len = LONGEST, .n_headers = 990, .code = 550,
	  .text = "The headers are longer than 1048576 bytes" },
	{ "19 long headers", .header = "X-A", .unit = "b ",
	  .header_len = LONGEST, .n_headers = 19, .code = 0 },
	{ "a header of 70,000 bytes", .header = "Subject", .unit = "s",
	  .header_len = 70000, .code = 550,
	  .text = "Subject: header longer than " },
	{ "From: commas", .header = "From", .unit = ",", .header_len = 30000,
	  .code = 550, .text = "From: " },
	{ "From: 1,999 commas", .header = "From", .prefix = "a@x", .unit = " ,",
	  .header_len = 4000, .code = -1 },
	{ "From: colons", .header = "From", .unit = "a:", .header_len = 4000,
	  .code = 550, .text = "From: " },
	{ "From: semicolons", .header = "From", .unit = ";",
	  .header_len = LONGEST, .code = 550, .text = "From: " },
	{ "From: letters", .header = "From", .unit = "a", .header_len = LONGEST,
	  .code = 550, .text = "From: " },
	{ "From: words", .header = "From", .unit = "a ", .header_len = LONGEST,
	  .code = 550, .text = "From: " },
	{ "From: blanks", .header = "From", .unit = " ", .header_len = LONGEST,
	  .code = 550, .text = "From: " },
	{ "From: dots", .header = "From", .unit = "a.", .header_len = LONGEST,
	  .code = 550, .text = "From: " },
	{ "From: at signs", .header = "From", .unit = "@",
	  .header_len = LONGEST, .code = 550, .text = "From: " },
	{ "From: addresses without a comma", .header = "From", .unit = "a@b ",
	  .header_len = LONGEST, .code = 550, .text = "From: " },
	{ "From: brackets", .header = "From", .unit = "<",
	  .header_len = LONGEST, .code = 550, .text = "From: " },
	{ "From: closing brackets", .header = "From", .unit = ">",
	  .header_len = LONGEST, .code = 550, .text = "From: " },
	{ "From: pairs of brackets", .header = "From", .unit = "<>",
	  .header_len = LONGEST, .code = 550, .text = "From: " },
	{ "From: comments in comments", .header = "From", .unit = "(",
	  .header_len = LONGEST, .code = 550, .text = "From: " },
	{ "From: comments", .header = "From", .unit = "()",
	  .header_len = LONGEST, .code = 550, .text = "From: " },
	{ "From: quotes", .header = "From", .unit = "\"", .header_len = LONGEST,
	  .code = 550, .text = "From: " },
	{ "From: quoted words", .header = "From", .unit = "\"a\" ",
	  .header_len = LONGEST, .code = 550, .text = "From: " },
	{ "From: backslashes", .header = "From", .prefix = "\"", .unit = "\\",
	  .header_len = LONGEST, .code = 550, .text = "From: " },
	{ "From: square brackets", .header = "From", .prefix = "a@",
	  .unit = "[", .header_len = LONGEST, .code = 550, .text = "From: " },
	{ "From: 8-bit", .header = "From", .unit = "\xe9",
	  .header_len = LONGEST, .code = 550, .text = "From: " },
	{ "From: a long name", .header = "From", .unit = "a",
	  .suffix = " <a@x.com>", .header_len = LONGEST, .code = 0 },
	{ "From: encoded words", .header = "From", .unit = "=?utf-8?q?a?= ",
	  .suffix = " <a@x.com>", .header_len = LONGEST, .code = 0 },
	{ "From: B words", .header = "From", .unit = "=?utf-8?b?YQ==?= ",
	  .suffix = " <a@x.com>", .header_len = LONGEST, .code = 0 },
	{ "From: begun words", .header = "From", .unit = "=?",
	  .header_len = LONGEST, .code = 550, .text = "From: " },
	{ "From: a route", .header = "From", .prefix = "<", .unit = "@a,",
	  .suffix = ":a@x>", .header_len = 5000, .code = -1 },
	{ "To: commas", .header = "To", .unit = ",", .header_len = 30000,
	  .code = 550, .text = "To: " },
	{ "To: 1,900 addresses, 1,000 recipients", .header = "To",
	  .unit = "aaaaaaaaaaaa <aaaaaa@x>,", .header_len = 24 * 1900,
	  .n_recipients = 1000, .code = 0 },
	{ "To: a long bare name", .header = "To", .unit = "a ",
	  .header_len = LONGEST, .code = 0 },
	{ "To: quotes", .header = "To", .unit = "\"\\", .header_len = LONGEST,
	  .code = 0 },
	{ "Subject: words", .header = "Subject",
	  .unit = "=?utf-8?q?a?= ", .header_len = LONGEST, .code = 0 },
	{ "Subject: B words", .header = "Subject",
	  .unit = "=?utf-8?b?YQ==?= ", .header_len = LONGEST, .code = 0 },
	{ "Subject: words of many charsets", .header = "Subject",
	  .unit = "=?utf-16?q?aa?= =?koi8-r?q?a?= =?x-none?q?a?= ",
	  .header_len = LONGEST, .code = 0 },
	{ "Subject: begun words", .header = "Subject", .unit = "=?",
	  .header_len = LONGEST, .code = 0 },
	{ "Subject: begun words with a charset", .header = "Subject",
	  .unit = "=?a?q?", .header_len = LONGEST, .code = 0 },
	{ "Subject: begun B words", .header = "Subject", .unit = "=?a?b?a",
	  .header_len = LONGEST, .code = 0 },
	{ "Subject: more begun words", .header = "Subject",
	  .prefix = "\xc3\xa9>%", .unit = "=?\?q?)", .header_len = LONGEST,
	  .code = 0 },
	{ "To: begun words", .header = "To", .prefix = "}", .unit = "?q?q=?",
	  .header_len = LONGEST, .code = 0 },
	{ "Content-Type: begun words", .header = "Content-Type",
	  .prefix = "text/plain;=?@", .unit = "?b?:=?\xe9",
	  .header_len = LONGEST, .code = 550, .text = "longer than" },
	{ "Content-Disposition: begun words", .header = "Content-Disposition",
	  .prefix = "inline;", .unit = "\t=?a?b?@", .header_len = LONGEST,
	  .code = 550, .text = "longer than" },
	{ "Subject: one long word", .header = "Subject", .prefix = "=?utf-8?q?",
	  .unit = "=C3=A9", .suffix = "?=", .header_len = LONGEST, .code = 0 },
	{ "Subject: a long charset", .header = "Subject", .prefix = "=?",
	  .unit = "c", .suffix = "?q?\xe9?=", .header_len = LONGEST,
	  .code = 0 },
	{ "Subject: folds", .header = "Subject", .prefix = "x", .unit = "\n ",
	  .header_len = LONGEST, .code = 0 },
	{ "Subject: line ends", .header = "Subject", .prefix = "x",
	  .unit = "\n", .header_len = LONGEST, .code = 550,
	  .text = "Subject: " },
	{ "Subject: 8-bit", .header = "Subject", .unit = "\xe9",
	  .header_len = LONGEST, .code = 0 },
	{ "Subject: bytes that are no letters", .header = "Subject",
	  .unit = "\x81", .header_len = LONGEST, .code = -1 },
	{ "Subject: such bytes in a word", .header = "Subject",
	  .prefix = "=?gb18030?q?", .unit = "=FF",
	  .suffix = "?=", .header_len = LONGEST, .code = 0 },
	{ "From: bytes that are no letters", .header = "From", .prefix = "\"",
	  .unit = "\x81", .suffix = "\" <a@x.com>", .header_len = LONGEST,
	  .code = -1 },
	{ "Subject: equals signs", .header = "Subject", .unit = "=",
	  .header_len = LONGEST, .code = 0 },
	{ "Variables: brackets", .header = "X-Transactional-Variables",
	  .unit = "[", .header_len = LONGEST, .code = 550,
	  .text = "X-Transactional-Variables: nested deeper than 32" },
	{ "Variables: objects", .header = "X-Transactional-Variables",
	  .unit = "{\"a\":", .header_len = LONGEST, .code = 550,
	  .text = "X-Transactional-Variables: nested deeper than 32" },
	{ "Variables: one key again and again",
	  .header = "X-Transactional-Variables", .prefix = "{\"b\":1",
	  .unit = ",\"a\":1", .suffix = "}", .header_len = LONGEST, .code = 0 },
	{ "Variables: a long number", .header = "X-Transactional-Variables",
	  .prefix = "{\"a\":0.", .unit = "1", .suffix = "}",
	  .header_len = LONGEST, .code = 0 },
	{ "Variables: a list", .header = "X-Transactional-Variables",
	  .prefix = "{\"a\":[1", .unit = ",1", .suffix = "]}",
	  .header_len = LONGEST, .code = 0 },
	{ "Variables: escapes", .header = "X-Transactional-Variables",
	  .prefix = "{\"a\":\"", .unit = "\\ud83d\\ude00", .suffix = "\"}",
	  .header_len = LONGEST, .code = 0 },
	{ "Content-Type: parameters", .header = "Content-Type",
	  .prefix = "text/html", .unit = ";a=b", .header_len = LONGEST,
	  .code = 550, .text = "longer than" },
	{ "Content-Type: continuations", .header = "Content-Type",
	  .prefix = "text/html", .unit = ";a*1*=b", .header_len = LONGEST,
	  .code = 550, .text = "longer than" },
	{ "Content-Type: encoded parameters", .header = "Content-Type",
	  .prefix = "text/html", .unit = ";a*=utf-8''%c3",
	  .header_len = LONGEST, .code = 550, .text = "longer than" },
	{ "Content-Type: words in parameters", .header = "Content-Type",
	  .prefix = "text/html", .unit = ";a=\"=?utf-8?q?b?=\"",
	  .header_len = LONGEST, .code = 550, .text = "longer than" },
	{ "Content-Type: charsets", .header = "Content-Type",
	  .prefix = "text/html", .unit = ";charset=b", .header_len = LONGEST,
	  .code = 550, .text = "longer than" },
	{ "Content-Type: a long charset", .header = "Content-Type",
	  .prefix = "text/html; charset=", .unit = "b", .header_len = LONGEST,
	  .code = 550, .text = "longer than" },
	{ "Content-Type: boundaries", .header = "Content-Type",
	  .prefix = "multipart/mixed", .unit = ";boundary=b",
	  .header_len = LONGEST, .code = 550, .text = "longer than" },
	{ "Content-Type: semicolons", .header = "Content-Type",
	  .prefix = "text/html", .unit = ";", .header_len = LONGEST,
	  .code = 550, .text = "longer than" },
	{ "Content-Type: comments", .header = "Content-Type",
	  .prefix = "text/html", .unit = "(", .header_len = LONGEST,
	  .code = 550, .text = "longer than" },
	{ "Content-Type: quotes", .header = "Content-Type",
	  .prefix = "text/html; a=", .unit = "\"", .header_len = LONGEST,
	  .code = 550, .text = "longer than" },
	{ "Content-Type: GMime's killer", .header = "Content-Type",
	  .prefix = "text/html", .header_len = LONGEST, .code = 550,
	  .text = "longer than",
	  .unit = ";aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaaaaaaaaaaaa=\xe9" },
	{ "Content-Disposition: parameters", .header = "Content-Disposition",
	  .prefix = "inline", .unit = ";a*0=b", .header_len = LONGEST,
	  .code = 550, .text = "longer than" },

	{ "200,000 empty parts", .type = "multipart/mixed; boundary=b",
	  .body_unit = "--b\r\n\r\n", .body_len = 7 * 200000, .code = 550,
	  .text = "more than 1000 MIME parts" },
	{ "delimiters only", .type = "multipart/mixed; boundary=b",
	  .body_unit = "--b\r\n", .body_len = RATHER_LARGE, .code = 550 },
	{ "delimiters that are none", .type = "multipart/mixed; boundary=b",
	  .body_prefix = PART "text/html\r\n\r\n<p>\r\n", .body_unit = "--\n",
	  .body_len = RATHER_LARGE, .code = 0, .large = true },
	{ "a part's header without end", .type = "multipart/mixed; boundary=b",
	  .body_prefix = "--b\r\n", .body_unit = "X-A: b\r\n",
	  .body_len = RATHER_LARGE, .code = 550,
	  .text = "header is longer than 65536" },
	{ "a part's header line without end",
	  .type = "multipart/mixed; boundary=b",
	  .body_prefix = "--b\r\nContent-Type: ", .body_unit = ";",
	  .body_len = RATHER_LARGE, .code = 550,
	  .text = "header is longer than 65536" },
	{ "parts with large headers", .type = "multipart/mixed; boundary=b",
	  .body_unit = NULL, .body_len = RATHER_LARGE, .code = 550 },
	{ "parts with large headers of begun words",
	  .type = "multipart/mixed; boundary=b", .body_unit = NULL,
	  .body_len = RATHER_LARGE, .code = 550 },
	{ "many parts with headers of begun words",
	  .type = "multipart/mixed; boundary=b", .body_unit = NULL,
	  .body_len = (size_t)(MIME_PARTS_MAX - 10) * 2 * MIME_FIELD_MAX,
	  .code = 550, .text = "no HTML or text" },
	{ "lines of 1 MB", .type = "text/html", .body_unit = NULL,
	  .body_len = RATHER_LARGE, .code = 0, .large = true },
	{ "base64 garbage", .type = "text/html" B64,
	  .body_unit = "!#$%&*()-_[]{}~", .body_len = RATHER_LARGE,
	  .code = 550 },
	{ "base64 of padding", .type = "text/html" B64, .body_unit = "=",
	  .body_len = RATHER_LARGE, .code = -1 },
	{ "quoted-printable garbage", .type = "text/html" QP, .body_unit = "=",
	  .body_len = RATHER_LARGE, .code = 0, .large = true },
	{ "an attachment of garbage", .type = "multipart/mixed; boundary=b",
	  .body_prefix = PART "text/html\r\nContent-Disposition: attachment"
			      "\r\n\r\n",
	  .body_unit = "\xff-\r\n-", .body_len = RATHER_LARGE, .code = 550 },
	{ "NULs", .type = "text/html", .body_prefix = "<p>", .body_unit = NULL,
	  .body_len = RATHER_LARGE, .code = 0, .large = true },
	{ "an unknown charset", .type = "text/html; charset=x-none",
	  .body_unit = "\xff", .body_len = RATHER_LARGE, .code = 550,
	  .text = "unknown charset" },
	{ "html: bytes that are no UTF-8", .type = "text/html; charset=utf-8",
	  .body_unit = "\xff", .body_len = RATHER_LARGE, .code = 552,
	  .text = "larger than 10240000 bytes" },
	{ "html: a third of that", .type = "text/html; charset=utf-8",
	  .body_unit = "\xff", .body_len = RATHER_LARGE / 3, .code = 0,
	  .large = true },
	{ "html: wrong bytes to convert", .type = "text/html; charset=gb18030",
	  .body_unit = "\xff", .body_len = RATHER_LARGE, .code = 550,
	  .text = "not in the charset it names" },
	{ "html: wrong bytes among right ones",
	  .type = "text/html; charset=iso-2022-jp", .body_unit = "\xff\x1b$B",
	  .body_len = RATHER_LARGE, .code = 550,
	  .text = "not in the charset it names" },
	{ "html: escape sequences", .type = "text/html; charset=iso-2022-jp",
	  .body_prefix = "<p>", .body_unit = "\x1b$B\x1b(B",
	  .body_len = RATHER_LARGE, .code = 0 },
	{ "html: control characters", .type = "text/html", .body_prefix = "<p>",
	  .body_unit = "\x01", .body_len = RATHER_LARGE, .code = 0,
	  .large = true },
	{ "html: quotes", .type = "text/html", .body_unit = "\"",
	  .body_len = RATHER_LARGE, .code = 0, .large = true },
	{ "text: blanks and a letter", .type = "text/plain", .body_prefix = "x",
	  .body_unit = " ", .body_len = RATHER_LARGE, .code = 0,
	  .large = true },
	{ "text: TABs", .type = "text/plain", .body_prefix = "x",
	  .body_unit = "\t", .body_len = RATHER_LARGE, .code = 552,
	  .text = "too large", .large = true },
	{ "text: line ends", .type = "text/plain", .body_prefix = "x",
	  .body_unit = "\n", .body_len = RATHER_LARGE, .code = 0,
	  .large = true },
	{ "text: markup", .type = "text/plain", .body_unit = "<",
	  .body_len = RATHER_LARGE, .code = 0, .large = true },
	{ "text: flowed", .type = "text/plain; format=flowed",
	  .body_unit = "a \n", .body_len = RATHER_LARGE, .code = 0,
	  .large = true },
	{ "far too large", .type = "text/html", .body_unit = "<p>\r\n",
	  .body_len = 5 * RATHER_LARGE, .code = 552,
	  .text = "larger than 10240000 bytes" },
};

/* A field of a part, nearly `len` bytes of it. */
static void
add_field(struct dynbuf *out, const char *begin, const char *unit, size_t len)
{
	size_t from = out->len;

	dynbuf_adds(out, begin);
	while (out->len + strlen(unit) + 2 < from + len)
		dynbuf_adds(out, unit);
	dynbuf_adds(out, "\r\n");
}

/* What no unit can say: the body of rows without one, and its n-th piece. */
static void
add_special(struct dynbuf *out, const struct hostile *h, size_t n)
{
	static const char nuls[CHUNK];
	static const char words[] = "Content-Type: text/plain;=?@";

	if (strcmp(h->name, "NULs") == 0) {
		dynbuf_add(out, nuls, CHUNK - out->len);
		return;
	}
	if (strcmp(h->name, "lines of 1 MB") == 0) {
		dynbuf_adds(out, n % 16 == 15 ? "\r\n" : "");
		add_field(out, "", "<p>long ", CHUNK - 8);
		dynbuf_truncate(out, out->len - 2);
		return;
	}
	dynbuf_adds(out, "--b\r\n");
	if (strcmp(h->name, "parts with large headers") == 0) {
		add_field(out, words, ";a*1*=b", MIME_PART_HEADER_MAX - 8);
	} else if (strstr(h->name, "many parts") == NULL) {
		add_field(out, words, "?b?:=?\xe9", MIME_PART_HEADER_MAX - 8);
	} else {
		add_field(out, words, "?b?:=?\xe9", MIME_FIELD_MAX);
		add_field(out, "Content-Disposition: inline;", "\t=?a?b?@",
			  MIME_FIELD_MAX);
	}
	dynbuf_adds(out, "\r\n");
}

static void
feed_body(struct message *m, const struct hostile *h)
{
	size_t done = 0;
	DYNBUF_AUTO piece;

	dynbuf_init(&piece, 4 * CHUNK);
	if (h->body_prefix != NULL)
		dynbuf_adds(&piece, h->body_prefix);
	for (size_t n = 0; done < h->body_len; n++) {
		while (h->body_unit != NULL && piece.len < CHUNK &&
		       done + piece.len < h->body_len)
			dynbuf_adds(&piece, h->body_unit);
		if (h->body_unit == NULL)
			add_special(&piece, h, n);
		/* The milter protocol has no larger chunks. */
		for (size_t at = 0; at < piece.len; at += CHUNK)
			(void)message_body(
			    m, piece.data + at,
			    piece.len - at < CHUNK ? piece.len - at : CHUNK);
		done += piece.len;
		dynbuf_truncate(&piece, 0);
	}
}

static void
give_hostile_headers(struct message *m, const struct hostile *h)
{
	unsigned n = h->n_headers != 0 ? h->n_headers : 1;
	DYNBUF_AUTO value;

	dynbuf_init(&value, 1 << 20);
	if (h->header == NULL)
		return;
	dynbuf_adds(&value, h->prefix ? h->prefix : "");
	while (value.len + strlen(h->unit) <= h->header_len)
		dynbuf_adds(&value, h->unit);
	dynbuf_adds(&value, h->suffix ? h->suffix : "");
	for (unsigned i = 0; i < n; i++)
		message_header(m, h->header, value.data, value.len);
}

static void
give_other_headers(struct message *m, const struct hostile *h)
{
	const char *encoding = h->type ? strstr(h->type, "\r\n") : NULL;

	give(m, "From", "Shop <shop@example.com>");
	give(m, "Subject", "S");
	if (h->type != NULL)
		message_header(m, "Content-Type", h->type,
			       encoding ? (size_t)(encoding - h->type)
					: strlen(h->type));
	if (encoding != NULL)
		give(m, "Content-Transfer-Encoding", strchr(encoding, ':') + 2);
}

/* All that the daemon does for the message. */
static bool
run_hostile(const struct hostile *h, struct verdict *v)
{
	struct account *a = account_new("acme");
	struct message *m = message_new("s@example.com");
	DYNBUF_AUTO out;
	bool valid;

	(void)account_add_route(a, "r1", "");
	add_recipients(m, h->n_recipients ? h->n_recipients : 1);
	give_hostile_headers(m, h);
	give_other_headers(m, h);
	if (h->body_len == 0)
		(void)message_body(m, "<p>hello", 8);
	feed_body(m, h);
	judge(m, a, &dialect_emaildelivery, &no_routes, v);
	dynbuf_init(&out, API_REQUEST_MAX);
	if (v->outgoing != NULL) {
		(void)api_emaildelivery.recipient_piece(
		    NULL, v->outgoing, &v->outgoing->recipients[0], &out);
		(void)api_emaildelivery.shared_piece(NULL, v->outgoing, &out);
	}
	valid = utf8_valid_prefix(dynbuf_str(&out), out.len) == out.len;
	message_free(&m);
	account_free(&a);
	return valid;
}

/* In the child, in a thread: NULL when all is well. */
static void *
judge_hostile(void *arg)
{
	const struct hostile *h = arg;
	struct verdict v;
	bool ok;

	ok = run_hostile(h, &v);
	if (!ok)
		printf("%s: the request is not UTF-8\n", h->name);
	ok = ok && (h->code == -1 || (v.outgoing != NULL) == (h->code == 0));
	if (h->code > 0)
		ok = ok && v.reply.code == h->code &&
		     (h->text == NULL || strstr(v.reply.text, h->text));
	if (!ok)
		printf("%s: %d %s\n", h->name, v.reply.code,
		       v.outgoing ? "handed over" : v.reply.text);
	verdict_clear(&v);
	(void)fflush(stdout);
	return ok ? NULL : arg;
}

static void
in_child(const struct hostile *h)
{
	struct hostile copy = *h;
	pthread_attr_t attr;
	pthread_t thread;
	void *bad = &copy;

	/* cmocka's handler would go on with the next test. */
	(void)signal(SIGSEGV, SIG_DFL);
	if (pthread_attr_init(&attr) == 0 &&
	    pthread_attr_setstacksize(&attr, STACK_SIZE) == 0 &&
	    pthread_create(&thread, &attr, judge_hostile, &copy) == 0)
		(void)pthread_join(thread, &bad);
	_exit(bad == NULL ? 0 : 1);
}

static double
seconds_of(const struct rusage *u)
{
	return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
	       (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
}

/* What is kept is up to 10 MB, and up to six times that as HTML and as JSON;
 * all else that comes is 64 MB at the most. */
static bool
check_hostile(const struct hostile *h)
{
	long megabytes = h->large ? 256 : 64;
	struct rusage u;
	bool ok = true;
	int status;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		in_child(h);
	assert_int_equal(wait4(pid, &status, 0, &u), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		printf("%s: wait status %d\n", h->name, status);
		ok = false;
	}
	if (seconds_of(&u) > 1.0 * SLOWER) {
		printf("%s: %.2f s\n", h->name, seconds_of(&u));
		ok = false;
	}
	if (MEMORY_IS_MEASURED && u.ru_maxrss > megabytes * 1024) {
		printf("%s: %ld kB\n", h->name, u.ru_maxrss);
		ok = false;
	}
	if (getenv("HOSTILE_FIGURES") != NULL)
		printf("%-45s %6.3f s %7ld kB\n", h->name, seconds_of(&u),
		       u.ru_maxrss);
	return ok;
}

static void
test_hostile(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(hostiles) / sizeof(hostiles[0]); i++)
		bad += !check_hostile(&hostiles[i]);
	assert_int_equal(bad, 0);
}

/* Parts nested as deeply as is allowed, and lines that look like delimiters
 * of any of them. */
static void
test_deep_delimiters(void **state)
{
	struct message *m = message_new("");
	clock_t start = clock();
	char line[32];

	(void)state;
	give(m, "Content-Type", "multipart/mixed; boundary=b00");
	for (int i = 0; i < 63; i++) {
		DYNBUF_AUTO part;

		dynbuf_init(&part, 200);
		dynbuf_addf(&part,
			    "--b%02d\r\nContent-Type: multipart/mixed; "
			    "boundary=b%02d\r\n\r\n",
			    i, i + 1);
		(void)message_body(m, part.data, part.len);
	}
	assert_int_equal(snprintf(line, sizeof(line), "--bxx\n"), 6);
	for (int i = 0; i < 20000; i++) {
		DYNBUF_AUTO lines;

		dynbuf_init(&lines, 1000);
		for (int k = 0; k < 80; k++)
			dynbuf_adds(&lines, line);
		assert_false(message_body(m, lines.data, lines.len));
	}
	message_free(&m);
	assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 1.0 * SLOWER);
}

/* --- names of charsets ---------------------------------------------------- */

/* They are the sender's to choose: a daemon must not remember them all. Each
 * of these writes a header with `names` that no other has. */
static const struct {
	const char *name;
	const char *header;
	const char *prefix;
	const char *unit; /* %u: a number */
	const char *suffix;
	unsigned names;
} charsets[] = {
	{ "of the body", "Content-Type", "text/html; charset=",
	  "x-"
	  "00000000000000000000000000000000000000000000000000000%u",
	  "", 1 },
	{ "of words", "Subject", "", "=?x-%u?q?a\xe9?= ", "", 2000 },
	{ "of B words", "Subject", "", "=?x-%u?b?6Q==?= ", "", 2000 },
	{ "of words in a name", "From", "", "=?x-%u?q?a=E9?= ", "<a@x.com>",
	  2000 },
	{ "of parameters", "Content-Type", "text/html", ";a%1$u*=x-%1$u''%%e9",
	  "", 120 },
	{ "of words in parameters", "Content-Type", "text/html",
	  ";a%1$u=\"=?x-%1$u?q?=E9?=\"", "", 120 },
	{ "of parameters of a disposition", "Content-Disposition", "inline",
	  ";a%1$u*=x-%1$u''%%e9", "", 120 },
};

static void
judge_with_charsets(size_t row, unsigned n)
{
	struct message *m = message_new("");
	struct account *a = account_new("acme");
	DYNBUF_AUTO value;
	struct verdict v;

	dynbuf_init(&value, MESSAGE_HEADER_MAX);
	dynbuf_adds(&value, charsets[row].prefix);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	for (unsigned k = 0; k < charsets[row].names; k++)
		dynbuf_addf(&value, charsets[row].unit,
			    (unsigned)(row + 1) * 10000000 +
				n * charsets[row].names + k);
#pragma GCC diagnostic pop
	dynbuf_adds(&value, charsets[row].suffix);
	(void)account_add_route(a, "r1", "");
	message_recipient(m, "r@example.com");
	message_header(m, charsets[row].header, value.data, value.len);
	give(m, "From", "shop@example.com");
	give(m, "Subject", "S");
	(void)message_body(m, "<p>\xe9", 4);
	judge(m, a, &dialect_emaildelivery, &no_routes, &v);
	verdict_clear(&v);
	account_free(&a);
	message_free(&m);
}

static void
test_charsets_are_not_kept(void **state)
{
	unsigned bad = 0;

	(void)state;
	if (!MEMORY_IS_MEASURED)
		skip();
	for (size_t i = 0; i < sizeof(charsets) / sizeof(charsets[0]); i++) {
		unsigned messages =
		    charsets[i].names > 1 ? 80000 / charsets[i].names : 8000;
		struct mallinfo2 before;
		size_t more;

		for (unsigned n = 0; n < messages / 10; n++)
			judge_with_charsets(i, n);
		before = mallinfo2();
		for (unsigned n = messages / 10; n < messages; n++)
			judge_with_charsets(i, n);
		more = mallinfo2().uordblks;
		more = more > before.uordblks ? more - before.uordblks : 0;
		if (more > 512 * 1024) {
			printf("%s: %zu bytes more after %u messages\n",
			       charsets[i].name, more, messages);
			bad++;
		}
	}
	assert_int_equal(bad, 0);
}

static int
setup(void **state)
{
	(void)state;
	g_mime_init();
	json_text_init();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_duplicates),
		cmocka_unit_test(test_recipient_count),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_header_names),
		cmocka_unit_test(test_header_bytes),
		cmocka_unit_test(test_header_count),
		cmocka_unit_test(test_header_length),
		cmocka_unit_test(test_long_header_name),
		cmocka_unit_test(test_first_refusal),
		cmocka_unit_test(test_body),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_deep_delimiters),
		cmocka_unit_test(test_charsets_are_not_kept),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
