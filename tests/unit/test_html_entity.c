/* SPDX-License-Identifier: MIT */
#include "policy/html_entity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "policy/dynbuf.h"
#include "tests/unit/html_scene.h"

static const struct {
	const char *in;
	const char *text;
	const char *attribute; /* NULL: the same */
} rows[] = {
	{ "", "", NULL },
	{ "a", "a", NULL },
	{ "&", "&", NULL },
	{ "&&amp;&", "&&&", NULL },
	{ "& amp;", "& amp;", NULL },
	{ "a&amp;b", "a&b", NULL },
	{ "&lt;&gt;&quot;&apos;", "<>\"'", NULL },
	{ "&nbsp;", "\xc2\xa0", NULL },
	{ "&euro;&hellip;&rarr;", "\xe2\x82\xac\xe2\x80\xa6\xe2\x86\x92",
	  NULL },
	{ "&Auml;&auml;", "\xc3\x84\xc3\xa4", NULL },
	{ "&AElig;&zwnj;", "\xc3\x86\xe2\x80\x8c", NULL }, /* first, last */
	{ "&yuml;&Alpha;", "\xc3\xbf\xce\x91", NULL },
	{ "&thetasym;", "\xcf\x91", NULL },
	{ "&NonBreakingSpace;", "\xc2\xa0", NULL }, /* the longest */
	{ "&ZeroWidthSpaces;", "&ZeroWidthSpaces;", NULL },
	{ "https&colon;&sol;&sol;x&quest;", "https://x?", NULL },
	{ "&unknown;", "&unknown;", NULL },
	{ "&AUML;", "&AUML;", NULL },
	{ "&am", "&am", NULL },
	{ "&;", "&;", NULL },

	/* without a semicolon */
	{ "&amp", "&", NULL },
	{ "&amp ", "& ", NULL },
	{ "&euro", "&euro", NULL },
	{ "?a=1&copy=2", "?a=1\xc2\xa9=2", "?a=1&copy=2" },
	{ "&copyright", "\xc2\xa9right", "&copyright" },
	{ "&notit;", "\xc2\xacit;", "&notit;" },
	{ "&notin;", "\xe2\x88\x89", NULL },
	{ "&lt1", "<1", "&lt1" },
	{ "&lt-", "<-", NULL },
	{ "&ampamp;", "&amp;", "&ampamp;" },
	{ "&ltabcdefghijklmnopqrst;", "<abcdefghijklmnopqrst;",
	  "&ltabcdefghijklmnopqrst;" },

	{ "&#65;&#x41;&#X4a;", "AAJ", NULL },
	{ "&#65", "A", NULL },
	{ "&#65B", "AB", NULL },
	{ "&#x20AC;", "\xe2\x82\xac", NULL },
	{ "&#x1F600;", "\xf0\x9f\x98\x80", NULL },
	{ "&#x10FFFF;", "\xf4\x8f\xbf\xbf", NULL },
	{ "&#x110000;", "\xef\xbf\xbd", NULL },
	{ "&#99999999999999999999999;x", "\xef\xbf\xbdx", NULL },
	{ "&#0;", "\xef\xbf\xbd", NULL },
	{ "&#xD800;&#xDFFF;", "\xef\xbf\xbd\xef\xbf\xbd", NULL },
	{ "&#xD7FF;", "\xed\x9f\xbf", NULL },
	{ "&#000000000000000065;", "A", NULL },
	{ "&#", "&#", NULL },
	{ "&#;", "&#;", NULL },
	{ "&#x;", "&#x;", NULL },
	{ "&#xg", "&#xg", NULL },
	/* windows-1252 */
	{ "&#128;&#x80;", "\xe2\x82\xac\xe2\x82\xac", NULL },
	{ "&#146;&#150;&#159;", "\xe2\x80\x99\xe2\x80\x93\xc5\xb8", NULL },
	{ "&#129;", "\xc2\x81", NULL },
	{ "&#127;", "\x7f", NULL },
	{ "&#160;", "\xc2\xa0", NULL },

	{ "\xff&amp;\x80", "\xff&\x80", NULL },
};

static void
check(const char *in, const char *want, bool in_attribute)
{
	size_t len = strlen(in);
	char *exact = scene_exact(in, len);
	DYNBUF_AUTO out;

	dynbuf_init(&out, 1000);
	assert_true(html_decode(&out, exact, len, in_attribute));
	if (strcmp(dynbuf_str(&out), want) != 0)
		fail_msg("%s%s: %s", in, in_attribute ? " in an attribute" : "",
			 dynbuf_str(&out));
	free(exact);
}

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *a = rows[i].attribute;

		check(rows[i].in, rows[i].text, false);
		check(rows[i].in, a != NULL ? a : rows[i].text, true);
	}
}

/* What a reference has been cut to is text; the whole has its length. */
static void
test_cut(void **state)
{
	static const char in[] = "&notin;";
	uint32_t code = 0;

	(void)state;
	assert_int_equal(html_reference(in, 1, false, &code), 0);
	assert_int_equal(html_reference(in, 3, false, &code), 0);
	assert_int_equal(html_reference(in, 4, false, &code), 4);
	assert_int_equal(code, 0xac);
	assert_int_equal(html_reference(in, 7, false, &code), 7);
	assert_int_equal(code, 0x2209);
}

static void
test_url(void **state)
{
	static const struct {
		const char *in, *want;
	} v[] = {
		{ "http://x", "http://x" },
		{ " \n\thttp://x \r\n", "http://x" },
		{ "http://x/\n\t a\r", "http://x/ a" },
		{ "&#9;&#32;http://x?a&amp;b&#10;", "http://x?a&b" },
		{ "\x01\x1f http://x\x02", "http://x" },
		{ "   ", "" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		DYNBUF_AUTO out;

		dynbuf_init(&out, 100);
		dynbuf_adds(&out, " ");
		assert_true(html_decode_url(&out, v[i].in, strlen(v[i].in)));
		assert_string_equal(dynbuf_str(&out) + 1, v[i].want);
		assert_int_equal(out.data[0], ' ');
	}
}

static void
test_full(void **state)
{
	static const char *const v[] = { "abc", "&amp;", "&", "a&euro;" };
	static const size_t needs[] = { 3, 1, 1, 4 };

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		for (size_t max = 0; max <= needs[i]; max++) {
			DYNBUF_AUTO out;
			bool ok;

			dynbuf_init(&out, max);
			ok = html_decode(&out, v[i], strlen(v[i]), false);
			assert_int_equal(ok, max == needs[i]);
			dynbuf_truncate(&out, 0);
			ok = html_decode_url(&out, v[i], strlen(v[i]));
			assert_int_equal(ok, max == needs[i]);
		}
	}
}

static size_t
decode_all(const char *html, size_t len)
{
	DYNBUF_AUTO out;

	dynbuf_init(&out, 4 * len);
	assert_true(html_decode(&out, html, len, false));
	assert_true(html_decode_url(&out, html, len));
	return out.len;
}

static void
test_linear(void **state)
{
	(void)state;
	scene_check_linear(decode_all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),   cmocka_unit_test(test_cut),
		cmocka_unit_test(test_url),    cmocka_unit_test(test_full),
		cmocka_unit_test(test_linear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
