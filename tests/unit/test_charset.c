/* SPDX-License-Identifier: MIT */
#include "policy/charset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <gmime/gmime.h>

#include "policy/dynbuf.h"
#include "policy/utf8.h"

#define E_ACUTE "\xc3\xa9"
#define QUOTE "\xe2\x80\x99" /* U+2019 */
#define EURO "\xe2\x82\xac"
#define FFFD "\xef\xbf\xbd"
#define BOM "\xef\xbb\xbf"
#define NIHON "\xe6\x97\xa5\xe6\x9c\xac"

static const struct {
	const char *name;
	const char *label;
	const char *bytes;
	size_t len;	  /* 0: strlen */
	const char *want; /* NULL: unknown */
	bool replaced;
} rows[] = {
	{ "nothing", "utf-8", "", 0, "", false },
	{ "nothing of an unknown charset", "x-none", "", 0, "", false },
	{ "ASCII", "us-ascii", "abc", 0, "abc", false },
	{ "UTF-8", "utf-8", "caf" E_ACUTE, 0, "caf" E_ACUTE, false },
	{ "UTF-8, upper case", "UTF-8", E_ACUTE, 0, E_ACUTE, false },
	{ "UTF-8, another spelling", "utf8", E_ACUTE, 0, E_ACUTE, false },
	{ "UTF-8 with BOM", "utf-8", BOM "abc", 0, "abc", false },
	{ "only a BOM", "utf-8", BOM, 0, "", false },
	{ "one BOM is removed", "utf-8", BOM BOM "a", 0, BOM "a", false },
	{ "a BOM inside stays", "utf-8", "a" BOM, 0, "a" BOM, false },
	{ "UTF-8 with a wrong byte", "utf-8",
	  "a\xff"
	  "b",
	  0, "a" FFFD "b", true },
	{ "UTF-8 cut off", "utf-8", "a\xe2\x82", 0, "a" FFFD FFFD, true },
	{ "UTF-8 with a surrogate", "utf-8", "\xed\xa0\x80", 0, FFFD FFFD FFFD,
	  true },
	{ "BOM and a wrong byte", "utf-8", BOM "\xff", 0, FFFD, true },

	{ "no label, ASCII", NULL, "abc", 0, "abc", false },
	{ "no label, UTF-8", NULL, "caf" E_ACUTE, 0, "caf" E_ACUTE, false },
	{ "no label, UTF-8 with BOM", NULL, BOM E_ACUTE, 0, E_ACUTE, false },
	{ "no label, not UTF-8", NULL, "caf\xe9 \x92", 0,
	  "caf" E_ACUTE " " QUOTE, false },
	{ "empty label, UTF-8", "", "caf" E_ACUTE, 0, "caf" E_ACUTE, false },
	{ "empty label, not UTF-8", "", "caf\xe9", 0, "caf" E_ACUTE, false },

	{ "us-ascii holds windows-1252", "us-ascii", "It\x92s", 0,
	  "It" QUOTE "s", false },
	{ "us-ascii holds UTF-8", "us-ascii", "caf" E_ACUTE, 0, "caf" E_ACUTE,
	  false },
	{ "iso-8859-1", "iso-8859-1", "caf\xe9", 0, "caf" E_ACUTE, false },
	{ "iso-8859-1 holds windows-1252", "ISO-8859-1", "\x80 \x92", 0,
	  EURO " " QUOTE, false },
	{ "ascii", "ascii", "It\x92s", 0, "It" QUOTE "s", false },
	{ "iso8859-1", "iso8859-1", "\x92", 0, QUOTE, false },
	{ "l1", "L1", "\x92", 0, QUOTE, false },
	{ "unicode-1-1-utf-8", "unicode-1-1-utf-8", E_ACUTE, 0, E_ACUTE,
	  false },
	{ "latin1", "latin1", "caf\xe9\x92", 0, "caf" E_ACUTE QUOTE, false },
	{ "windows-1252", "windows-1252", "\x80", 0, EURO, false },
	{ "cp1252", "cp1252", "\x80", 0, EURO, false },
	{ "windows-1252, no character", "windows-1252",
	  "a\x81"
	  "b",
	  0, "a" FFFD "b", true },

	{ "iso-8859-15", "iso-8859-15", "\xa4", 0, EURO, false },
	{ "windows-1251", "windows-1251", "\xcf\xf0", 0, "\xd0\x9f\xd1\x80",
	  false },
	{ "koi8-r", "koi8-r", "\xf0\xd2", 0, "\xd0\x9f\xd1\x80", false },
	{ "iso-2022-jp", "iso-2022-jp", "\x1b$BF|K\\\x1b(B", 0, NIHON, false },
	{ "iso-2022-jp that does not switch back", "iso-2022-jp", "\x1b$BF|K\\",
	  0, NIHON, false },
	{ "shift_jis", "shift_jis", "\x93\xfa\x96\x7b", 0, NIHON, false },
	{ "euc-jp", "euc-jp", "\xc6\xfc\xcb\xdc", 0, NIHON, false },
	{ "gb2312", "gb2312", "\xc4\xe3", 0, "\xe4\xbd\xa0", false },
	{ "gb18030", "gb18030", "\xc4\xe3\x81\x30\x84\x36", 0,
	  "\xe4\xbd\xa0\xc2\xa5", false },
	{ "gb18030, cut off", "gb18030", "\xc4\xe3\x81", 0, "\xe4\xbd\xa0" FFFD,
	  true },
	{ "big5", "big5", "\xa4\xa4", 0, "\xe4\xb8\xad", false },
	{ "a name that only mail uses", "ks_c_5601-1987", "\xb0\xa1", 0,
	  "\xea\xb0\x80", false },
	{ "utf-16 with a mark", "utf-16",
	  "\xff\xfe"
	  "a\0\xe9\0",
	  6, "a" E_ACUTE, false },
	{ "utf-16le with a mark", "utf-16le",
	  "\xff\xfe"
	  "a\0",
	  4, "a", false },
	{ "utf-16be", "utf-16be", "\0a\0\xe9", 4, "a" E_ACUTE, false },
	{ "utf-16le, odd", "utf-16le", "a\0b", 3, "a" FFFD, true },
	{ "utf-16le, half a pair", "utf-16le",
	  "\x3d\xd8"
	  "a\0",
	  4, NULL, true },
	{ "utf-7", "utf-7", "+AOk-", 0, E_ACUTE, false },
	{ "the wrong label: multi-byte text", "shift_jis", "caf\xff", 0,
	  "caf" FFFD, true },
	/* These wait for a mark that may follow a letter. */
	{ "windows-1258, last letter", "windows-1258",
	  "xin ch\xe0"
	  "o",
	  0, "xin ch\xc3\xa0o", false },
	{ "windows-1258, composed", "windows-1258", "a\xec", 0, "\xc3\xa1",
	  false },
	{ "windows-1255, last letter", "windows-1255", "\xf9\xec\xe5\xed", 0,
	  "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d", false },
	{ "tcvn, last letter", "tcvn", "abc", 0, "abc", false },
	{ "big5-hkscs, last letter", "big5-hkscs", "\xa4\xa4\x88\x66", 0,
	  "\xe4\xb8\xad\xc3\x8a", false },
	{ "NUL is data", "iso-8859-1", "a\0\xe9", 3, "a\0" E_ACUTE, false },

	{ "unknown, ASCII", "x-none", "abc", 0, "abc", false },
	{ "unknown, not ASCII", "x-none", "caf\xe9", 0, NULL, false },
	{ "unknown, UTF-8 all the same", "x-none", E_ACUTE, 0, NULL, false },
	{ "a label that is no name", "/../x", "\xe9", 0, NULL, false },
};

/* What is unknown leaves the text as it was. */
static bool
is_as_wanted(size_t i, enum charset_result result, bool replaced,
	     const struct dynbuf *text)
{
	const char *want = rows[i].want;
	size_t len;

	if (want == NULL && rows[i].replaced) /* only that it is valid */
		return result == CHARSET_OK && replaced &&
		       utf8_valid_prefix(text->data, text->len) == text->len;
	if (want == NULL)
		return result == CHARSET_UNKNOWN &&
		       text->len == strlen(rows[i].bytes);
	/* One row has a NUL in it. */
	len = strlen(want) + (strcmp(rows[i].name, "NUL is data") ? 0 : 3);
	return result == CHARSET_OK && replaced == rows[i].replaced &&
	       text->len == len && memcmp(dynbuf_str(text), want, len + 1) == 0;
}

static void
test_rows(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		DYNBUF_AUTO text;
		bool replaced = true;
		enum charset_result r;

		dynbuf_init(&text, 100);
		dynbuf_add(&text, rows[i].bytes,
			   rows[i].len ? rows[i].len : strlen(rows[i].bytes));
		r = charset_to_utf8(&text, rows[i].label, &replaced);
		if (!is_as_wanted(i, r, replaced, &text)) {
			printf("%s: %d, replaced %d, \"%s\"\n", rows[i].name,
			       (int)r, replaced, dynbuf_str(&text));
			bad++;
		}
	}
	assert_int_equal(bad, 0);
}

/* Text may grow up to the buffer's bound, by conversion and by repair. */
static void
test_bound(void **state)
{
	static const struct {
		const char *label;
		char byte;
		size_t each; /* bytes that one becomes */
	} v[] = { { "iso-8859-1", '\xe9', 2 },
		  { "iso-8859-1", '\x92', 3 },
		  { "utf-8", '\xff', 3 },
		  { "koi8-r", '\xf0', 2 } };

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		for (size_t less = 0; less < 2; less++) {
			size_t n = 10000;
			DYNBUF_AUTO text;
			bool replaced;
			enum charset_result r;

			dynbuf_init(&text, n * v[i].each - less);
			for (size_t k = 0; k < n; k++)
				dynbuf_add(&text, &v[i].byte, 1);
			r = charset_to_utf8(&text, v[i].label, &replaced);
			if (r != (less ? CHARSET_TOO_LARGE : CHARSET_OK))
				fail_msg("%s %02x, %zu less: %d", v[i].label,
					 (unsigned char)v[i].byte, less,
					 (int)r);
			if (!less)
				assert_int_equal(text.len, n * v[i].each);
			assert_int_equal(text.max, n * v[i].each - less);
			/* The buffer goes on as before. */
			assert_int_equal(dynbuf_add(&text, "x", 1), less);
		}
	}
}

/* What is behind a repaired byte may be what does not fit. */
static void
test_bound_of_repair(void **state)
{
	(void)state;
	for (size_t less = 0; less < 2; less++) {
		DYNBUF_AUTO text;
		bool replaced;

		dynbuf_init(&text, 1002 - less);
		dynbuf_adds(&text, "\xff");
		for (size_t i = 1; i < 1000; i++)
			dynbuf_adds(&text, "a");
		assert_int_equal(charset_to_utf8(&text, "utf-8", &replaced),
				 less ? CHARSET_TOO_LARGE : CHARSET_OK);
	}
}

/* iconv stops at each wrong character; UTF-8 is checked here. */
static void
test_wrong_charset(void **state)
{
	static const struct {
		const char *label;
		size_t n;
		enum charset_result want;
	} v[] = {
		{ "gb18030", CHARSET_REPLACED_MAX, CHARSET_OK },
		{ "gb18030", CHARSET_REPLACED_MAX + 1, CHARSET_WRONG },
		{ "utf-8", 5 * CHARSET_REPLACED_MAX, CHARSET_OK },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		DYNBUF_AUTO text;
		bool replaced;
		enum charset_result r;

		dynbuf_init(&text, 1 << 20);
		for (size_t k = 0; k < v[i].n; k++)
			dynbuf_adds(&text, "a\xff");
		r = charset_to_utf8(&text, v[i].label, &replaced);
		if (r != v[i].want)
			fail_msg("%zu of %s: %d", v[i].n, v[i].label, (int)r);
		assert_true(r != CHARSET_OK ||
			    (replaced && text.len == 4 * v[i].n));
	}
}

/* A character may lie across the pieces that conversion works in. */
static void
test_long_text(void **state)
{
	(void)state;
	for (size_t shift = 0; shift < 4; shift++) {
		DYNBUF_AUTO text;
		bool replaced;

		dynbuf_init(&text, 1 << 20);
		for (size_t i = 0; i < shift; i++)
			dynbuf_adds(&text, "x");
		for (size_t i = 0; i < 20000; i++)
			dynbuf_adds(&text, "\x93\xfa\x96\x7b");
		assert_int_equal(charset_to_utf8(&text, "shift_jis", &replaced),
				 CHARSET_OK);
		assert_false(replaced);
		assert_int_equal(text.len, shift + 20000 * 6);
		assert_string_equal(text.data + text.len - 6, NIHON);
	}
}

static int
setup(void **state)
{
	(void)state;
	g_mime_init();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_bound_of_repair),
		cmocka_unit_test(test_wrong_charset),
		cmocka_unit_test(test_long_text),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
