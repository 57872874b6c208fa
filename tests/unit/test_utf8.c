/* SPDX-License-Identifier: MIT */
#include "policy/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A copy without a NUL behind it, so that ASan sees an overread. */
static char *
exact(const char *s, size_t len)
{
	char *c = malloc(len != 0 ? len : 1);

	assert_non_null(c);
	memcpy(c, s, len);
	return c;
}

/* The bounds of RFC 3629, section 4, from both sides. */
static const struct {
	const char *name;
	const char *bytes;
	size_t want; /* 0: not a character */
} chars[] = {
	{ "ASCII", "a", 1 },
	{ "DEL", "\x7f", 1 },
	{ "continuation alone", "\x80", 0 },
	{ "last continuation alone", "\xbf", 0 },
	{ "overlong two bytes, c0", "\xc0\x80", 0 },
	{ "overlong two bytes, c1", "\xc1\xbf", 0 },
	{ "first of two bytes", "\xc2\x80", 2 },
	{ "last of two bytes", "\xdf\xbf", 2 },
	{ "two bytes, second too small", "\xc2\x7f", 0 },
	{ "two bytes, second too large", "\xc2\xc0", 0 },
	{ "two bytes, one there", "\xc2", 0 },
	{ "overlong three bytes", "\xe0\x9f\xbf", 0 },
	{ "first of three bytes", "\xe0\xa0\x80", 3 },
	{ "e0, second too large", "\xe0\xc0\x80", 0 },
	{ "three bytes", "\xe1\x80\x80", 3 },
	{ "e1, second too small", "\xe1\x7f\x80", 0 },
	{ "three bytes, third too small", "\xe2\x82\x7f", 0 },
	{ "three bytes, third too large", "\xe2\x82\xc0", 0 },
	{ "ec", "\xec\xbf\xbf", 3 },
	{ "before the surrogates", "\xed\x9f\xbf", 3 },
	{ "first surrogate", "\xed\xa0\x80", 0 },
	{ "last surrogate", "\xed\xbf\xbf", 0 },
	{ "behind the surrogates", "\xee\x80\x80", 3 },
	{ "last of three bytes", "\xef\xbf\xbf", 3 },
	{ "three bytes, two there", "\xe2\x82", 0 },
	{ "overlong four bytes", "\xf0\x8f\xbf\xbf", 0 },
	{ "first of four bytes", "\xf0\x90\x80\x80", 4 },
	{ "f1", "\xf1\x80\x80\x80", 4 },
	{ "f3", "\xf3\xbf\xbf\xbf", 4 },
	{ "last character", "\xf4\x8f\xbf\xbf", 4 },
	{ "above U+10FFFF", "\xf4\x90\x80\x80", 0 },
	{ "f5", "\xf5\x80\x80\x80", 0 },
	{ "four bytes, third wrong", "\xf0\x9f\x41\x80", 0 },
	{ "four bytes, fourth wrong", "\xf0\x9f\x98\xc0", 0 },
	{ "four bytes, three there", "\xf0\x9f\x98", 0 },
	{ "five bytes", "\xf8\x88\x80\x80\x80", 0 },
	{ "fe", "\xfe", 0 },
	{ "ff", "\xff", 0 },
};

static void
test_char_len(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(chars) / sizeof(chars[0]); i++) {
		size_t len = strlen(chars[i].bytes);
		char *s = exact(chars[i].bytes, len);
		size_t got = utf8_char_len(s, len);

		free(s);
		if (got != chars[i].want)
			fail_msg("%s: %zu, not %zu", chars[i].name, got,
				 chars[i].want);
	}
	assert_int_equal(utf8_char_len("", 0), 0);
	assert_int_equal(utf8_char_len("\0", 1), 1);
}

static const struct {
	const char *name;
	const char *bytes;
	size_t len;
	size_t want;
} prefixes[] = {
	{ "empty", "", 0, 0 },
	{ "ASCII, shorter than a word", "abcdefg", 7, 7 },
	{ "ASCII, a word", "abcdefgh", 8, 8 },
	{ "ASCII, a word and one", "abcdefghi", 9, 9 },
	{ "NUL is a character", "a\0b", 3, 3 },
	{ "all kinds", "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z", 11, 11 },
	{ "wrong at once", "\xffxyz", 4, 0 },
	{ "wrong in the first word", "abc\xff", 4, 3 },
	{ "wrong in the second word", "abcdefghij\x80k", 12, 10 },
	{ "wrong after a character", "\xc3\xa9\xc3", 3, 2 },
	{ "cut off at the end", "abcdefgh\xe2\x82", 10, 8 },
	{ "surrogate", "ab\xed\xa0\x80", 5, 2 },
	{ "the first of several", "a\xff\xff", 3, 1 },
};

static void
test_valid_prefix(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		char *s = exact(prefixes[i].bytes, prefixes[i].len);
		size_t got = utf8_valid_prefix(s, prefixes[i].len);

		free(s);
		if (got != prefixes[i].want)
			fail_msg("%s: %zu, not %zu", prefixes[i].name, got,
				 prefixes[i].want);
	}
}

static void
test_count(void **state)
{
	(void)state;
	assert_int_equal(utf8_count("", 0), 0);
	assert_int_equal(utf8_count("abc", 3), 3);
	assert_int_equal(utf8_count("abc", 2), 2);
	assert_int_equal(
	    utf8_count("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z", 11), 5);
}

/* Eight bytes are looked at together: the high one may be any of them. */
static void
test_is_ascii(void **state)
{
	char *s;

	(void)state;
	assert_true(utf8_is_ascii("", 0));
	for (size_t len = 1; len < 20; len++) {
		s = malloc(len);
		assert_non_null(s);
		memset(s, 0x7f, len);
		assert_true(utf8_is_ascii(s, len));
		for (size_t i = 0; i < len; i++) {
			s[i] = (char)0x80;
			if (utf8_is_ascii(s, len))
				fail_msg("high byte %zu of %zu", i, len);
			s[i] = 'a';
		}
		free(s);
	}
}

static const struct {
	const char *name;
	const char *bytes;
	size_t len;
	bool want;
} printables[] = {
	{ "empty", "", 0, true },
	{ "ASCII", " azAZ~", 6, true },
	{ "NUL", "a\0", 2, false },
	{ "TAB", "\t", 1, false },
	{ "LF", "a\nb", 3, false },
	{ "CR", "\r", 1, false },
	{ "ESC", "\x1b[0m", 4, false },
	{ "last of C0", "\x1f", 1, false },
	{ "DEL", "\x7f", 1, false },
	{ "first of C1", "\xc2\x80", 2, false },
	{ "CSI", "a\xc2\x9b", 3, false },
	{ "last of C1", "\xc2\x9f", 2, false },
	{ "no-break space", "\xc2\xa0", 2, true },
	{ "other letters", "\xc3\x80\xc3\xa9\xe2\x82\xac", 7, true },
	{ "C1 bytes within a character", "\xe2\x82\x9b", 3, true },
	{ "a lead byte at the end", "a\xc2", 2, true },
};

static void
test_is_printable(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(printables) / sizeof(printables[0]);
	     i++) {
		char *s = exact(printables[i].bytes, printables[i].len);
		bool got = utf8_is_printable(s, printables[i].len);

		free(s);
		if (got != printables[i].want)
			fail_msg("%s: %d", printables[i].name, got);
	}
}

/* The bounds of each length, there and back. */
static void
test_codes(void **state)
{
	static const struct {
		uint32_t code;
		const char *bytes;
	} v[] = {
		{ 0x01, "\x01" },
		{ 0x7f, "\x7f" },
		{ 0x80, "\xc2\x80" },
		{ 0x7ff, "\xdf\xbf" },
		{ 0x800, "\xe0\xa0\x80" },
		{ 0x20ac, "\xe2\x82\xac" },
		{ 0xffff, "\xef\xbf\xbf" },
		{ 0x10000, "\xf0\x90\x80\x80" },
		{ 0x1f600, "\xf0\x9f\x98\x80" },
		{ 0x10ffff, "\xf4\x8f\xbf\xbf" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		size_t len = strlen(v[i].bytes);
		char *bytes = exact(v[i].bytes, len), dst[4];

		assert_int_equal(utf8_code(bytes, len), v[i].code);
		assert_int_equal(utf8_put(v[i].code, dst), len);
		assert_memory_equal(dst, bytes, len);
		free(bytes);
	}
	assert_int_equal(utf8_code("", 1), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_char_len),
		cmocka_unit_test(test_valid_prefix),
		cmocka_unit_test(test_count),
		cmocka_unit_test(test_is_ascii),
		cmocka_unit_test(test_is_printable),
		cmocka_unit_test(test_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
