/* SPDX-License-Identifier: MIT */
#include "policy/header_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/dynbuf.h"
#include "policy/json_text.h"
#include "policy/message.h"

#define NAME "X-Meta"
/* 68 columns, as the first line has beside its name. */
#define X32 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct {
	const char *name, *json, *want;
} rows[] = {
	{ "empty", "{}", "{}" },
	{ "a member", "{\"a\":\"b\"}", "{\"a\": \"b\"}" },
	{ "white space goes", " {\t\"a\"\n :\r [ 1 , 2 ] } ",
	  "{\"a\": [1, 2]}" },
	{ "blanks in a string stay", "[\"a  b\", \"c,d:e\"]",
	  "[\"a  b\", \"c,d:e\"]" },
	{ "numbers as they came", "[12345678901234567890,1.0,-0,1e5,true,null]",
	  "[12345678901234567890, 1.0, -0, 1e5, true, null]" },
	{ "two bytes", "[\"\xc3\xa9\"]", "[\"\\u00e9\"]" },
	{ "three bytes", "[\"\xe2\x82\xac\"]", "[\"\\u20ac\"]" },
	{ "the last of three bytes", "[\"\xef\xbf\xbf\"]", "[\"\\uffff\"]" },
	{ "the first of four bytes", "[\"\xf0\x90\x80\x80\"]",
	  "[\"\\ud800\\udc00\"]" },
	{ "four bytes", "[\"\xf0\x9f\x98\x80\"]", "[\"\\ud83d\\ude00\"]" },
	{ "DEL", "[\"\x7f\"]", "[\"\\u007f\"]" },
	{ "escapes stay", "[\"\\\"\\\\\\n\\u00e9\",1]",
	  "[\"\\\"\\\\\\n\\u00e9\", 1]" },
	{ "a quote behind a backslash is inside", "[\"a\\\\\",\"b\"]",
	  "[\"a\\\\\", \"b\"]" },
	{ "nested", "{\"a\":{\"b\":[[],{}]},\"c\":0}",
	  "{\"a\": {\"b\": [[], {}]}, \"c\": 0}" },
	{ "folded between tokens",
	  "{\"" X32 "\":\"" X32 "\",\"b\":\"" X32 "\",\"c\":1}",
	  "{\"" X32 "\":\n \"" X32 "\", \"b\": \"" X32 "\",\n \"c\": 1}" },
};

/* As an RFC 5322 reader has it, or one that drops the fold: the same JSON. */
static void
check_unfolded(const char *value)
{
	char error[80];
	DYNBUF_AUTO text;

	dynbuf_init(&text, 100000);
	for (const char *p = value; *p != '\0'; p++) {
		assert_true((unsigned char)*p < 0x7f);
		if (*p != '\n')
			dynbuf_add(&text, p, 1);
	}
	if (*value == '{' &&
	    json_check_object(text.data, text.len, error, sizeof(error)))
		fail_msg("%s: %s", value, error);
}

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *got = header_json(NAME, rows[i].json);

		if (got == NULL || strcmp(got, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, got);
		check_unfolded(got);
		free(got);
	}
}

/* ["xxx", ...]: n strings of len. */
static char *
strings(size_t n, size_t len)
{
	struct dynbuf json;
	size_t unused;

	dynbuf_init(&json, 1 << 20);
	dynbuf_adds(&json, "[");
	for (size_t i = 0; i < n; i++) {
		dynbuf_adds(&json, i > 0 ? ",\"" : "\"");
		memset(dynbuf_room(&json, len), 'x', len);
		dynbuf_grown(&json, len);
		dynbuf_adds(&json, "\"");
	}
	dynbuf_adds(&json, "]");
	return dynbuf_steal(&json, &unused);
}

static void
check_bound(size_t n, size_t len, bool fits)
{
	char *json = strings(n, len);
	char *got = header_json(NAME, json);

	assert_int_equal(got != NULL, fits);
	for (const char *line = got; line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		assert_true(strcspn(line, "\n") + strlen(NAME) + 2 <= 998);
	}
	free(got);
	free(json);
}

static void
test_bounds(void **state)
{
	(void)state;
	check_bound(1, HEADER_JSON_TOKEN_MAX - 2, true);
	check_bound(1, HEADER_JSON_TOKEN_MAX - 1, false);
	check_bound(58, HEADER_JSON_TOKEN_MAX - 2, true);
	check_bound(61, HEADER_JSON_TOKEN_MAX - 2, false);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_bounds),
	};

	json_text_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
