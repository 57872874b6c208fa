/* SPDX-License-Identifier: MIT */
#include "policy/api_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glib.h>

#include "policy/dynbuf.h"

/* --- members -------------------------------------------------------------- */

static void
test_commas(void **state)
{
	DYNBUF_AUTO out;

	(void)state;
	dynbuf_init(&out, 1000);
	api_write_item(&out, "{");
	api_write_string(&out, "a", NULL);
	api_write_filled(&out, "b", "");
	api_write_text(&out, "c", NULL, 3);
	api_write_json(&out, "d", NULL);
	api_write_switch(&out, "e", SWITCH_UNSET);
	api_write_string(&out, "f", "");
	api_write_filled(&out, "g", "{");
	api_write_bool(&out, "h", true);
	api_write_switch(&out, "i", SWITCH_OFF);
	api_write_json(&out, "j", "[ ] ");
	api_write_open(&out, "k", "[");
	api_write_item(&out, "{");
	dynbuf_adds(&out, "}");
	api_write_item(&out, "{");
	api_write_text(&out, "l", "a,\n", 2);
	dynbuf_adds(&out, "}]}");
	assert_string_equal(dynbuf_str(&out),
			    "{\"f\":\"\",\"g\":\"{\",\"h\":true,\"i\":false,"
			    "\"j\":[ ] ,\"k\":[{},{\"l\":\"a,\"}]}");
	assert_false(out.overflow);
}

/* --- base64 --------------------------------------------------------------- */

static void
check_base64(const char *data, size_t len)
{
	g_autofree char *base64 = g_base64_encode((const guchar *)data, len);
	g_autofree char *want = g_strdup_printf("\"d\":\"%s\"", base64);
	DYNBUF_AUTO out;

	dynbuf_init(&out, 4 * len + 100);
	api_write_base64(&out, "d", data, len);
	assert_string_equal(dynbuf_str(&out), want);
}

static void
test_base64(void **state)
{
	char data[300];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 7);
	for (size_t n = 0; n <= sizeof(data); n++)
		check_base64(data, n);
}

/* A large file is written once, into the request itself. */
static void
test_large_base64(void **state)
{
	size_t len = 3 * 1024 * 1024 + 1;
	char *data = calloc(1, len);
	DYNBUF_AUTO out;

	(void)state;
	assert_non_null(data);
	dynbuf_init(&out, 8 * 1024 * 1024);
	api_write_base64(&out, "d", data, len);
	assert_false(out.overflow);
	assert_int_equal(out.len, 4 * (len + 2) / 3 + 6);
	assert_string_equal(out.data + out.len - 4, "A==\"");
	dynbuf_clear(&out);
	dynbuf_init(&out, 4 * 1024 * 1024);
	api_write_base64(&out, "d", data, len);
	assert_true(out.overflow);
	free(data);
}

/* --- mailboxes and tags --------------------------------------------------- */

static void
test_mailboxes(void **state)
{
	static const struct {
		const char *name, *addr, *want;
	} rows[] = {
		{ "", "a@x", "\"a@x\"" },
		{ "Jane Doe", "a@x", "\"Jane Doe <a@x>\"" },
		{ "Doe, Jane", "a@x", "\"\\\"Doe, Jane\\\" <a@x>\"" },
		{ "a \"b\" \\", "a@x",
		  "\"\\\"a \\\\\\\"b\\\\\\\" \\\\\\\\\\\" <a@x>\"" },
		{ "J\xc3\xa9", "a@x", "\"J\xc3\xa9 <a@x>\"" },
		{ "a@b", "c@x", "\"\\\"a@b\\\" <c@x>\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		DYNBUF_AUTO out;

		dynbuf_init(&out, 1000);
		api_write_mailbox(&out, rows[i].name, rows[i].addr);
		assert_string_equal(dynbuf_str(&out), rows[i].want);
	}
}

static void
test_tags(void **state)
{
	static const struct {
		const char *tag, *want; /* NULL: too long */
	} rows[] = {
		{ "", "" },
		{ "abc", "abc" },
		{ "Foo.Bar_1-x", "foo.bar_1-x" },
		{ "a b", "a-b" },
		{ "a  \t b", "a-b" },
		{ "R\xc3\xa9initial", "r-initial" },
		{ "!a!", "a" },
		{ "-a--b-", "-a--b-" },
		{ "a -b- c", "a-b-c" },
		{ "- -", "--" },
		{ "123456789012345678", "123456789012345678" },
		{ "1234567890123456789", NULL },
		{ "12345678901234567 !?", "12345678901234567" },
		{ "123456789012345678 ", "123456789012345678" },
		{ "12345678901234567 8", NULL },
		{ "\x7f\x80\xff", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char tag[18 + 1];
		bool ok = api_tag(tag, 18, rows[i].tag, "._-", '-');

		if (ok != (rows[i].want != NULL) ||
		    (ok && strcmp(tag, rows[i].want) != 0))
			fail_msg("%s: %s", rows[i].tag, ok ? tag : "too long");
	}
}

/* Where the joint is no letter of its own. */
static void
test_snake_case(void **state)
{
	static const struct {
		const char *tag, *want;
	} rows[] = {
		{ "order__x", "order_x" },  { "_a_b_", "a_b" },
		{ "\xc3\x9cnique offer!", "nique_offer" },
		{ "\xe6\xb3\xa8", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char tag[18 + 1];

		assert_true(api_tag(tag, 18, rows[i].tag, "", '_'));
		assert_string_equal(tag, rows[i].want);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commas),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_large_base64),
		cmocka_unit_test(test_mailboxes),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_snake_case),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
