/* SPDX-License-Identifier: MIT */
/* GMime's decoder is the oracle: rows, and random text rich in escapes, whole
 * and in pieces. */
#include "policy/quoted_printable.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <gmime/gmime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/dynbuf.h"

static const struct {
	const char *name;
	const char *in;
	const char *want;
} rows[] = {
	{ "empty", "", "" },
	{ "plain", "hello", "hello" },
	{ "escape", "=C3=A9", "\xc3\xa9" },
	{ "lower case", "=c3=a9x", "\xc3\xa9x" },
	{ "equals sign", "a=3Db", "a=b" },
	{ "soft break", "a=\r\nb", "ab" },
	{ "soft break, UNIX", "a=\nb", "ab" },
	{ "two soft breaks", "a=\n=\nb", "ab" },
	{ "line ends stay", "a\r\nb\n", "a\r\nb\n" },
	{ "no escape", "a=ZZb", "a=ZZb" },
	{ "half an escape", "a=4Zb", "a=4Zb" },
	{ "blank behind =", "a= \r\nb", "a= \r\nb" },
	{ "== stays", "a==41", "a==41" },
	{ "=CR without LF", "a=\rbc", "a=\rbc" },
	{ "cut at =", "a=", "a" },
	{ "cut at =X", "a=4", "a" },
	{ "blanks at a line's end stay", "a  \r\nb", "a  \r\nb" },
};

static size_t
decode(const char *in, size_t len, size_t step, char *out)
{
	struct quoted_printable q = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < len; i += step) {
		size_t k = len - i < step ? len - i : step;
		/* Exactly as large as the contract says. */
		char *piece = malloc(k + 2);
		size_t got = quoted_printable_decode(&q, in + i, k, piece);

		memcpy(out + n, piece, got);
		n += got;
		free(piece);
	}
	return n;
}

static size_t
oracle(const char *in, size_t len, char *out)
{
	GMimeEncoding e;

	g_mime_encoding_init_decode(&e, GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE);
	return g_mime_encoding_step(&e, in, len, out);
}

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].in);

		for (size_t step = 1; step < 5; step++) {
			char out[64], want[64];
			size_t n = decode(rows[i].in, len, step, out);
			size_t m = oracle(rows[i].in, len, want);

			out[n] = '\0';
			if (strcmp(out, rows[i].want) != 0)
				fail_msg("%s: got \"%s\"", rows[i].name, out);
			if (n != m || memcmp(out, want, n) != 0)
				fail_msg("%s: GMime differs", rows[i].name);
		}
	}
}

static void
test_random(void **state)
{
	static const char alphabet[] = "====0123ABCDEFabcdef \r\n\r\nxyz";

	(void)state;
	srandom(42);
	for (int round = 0; round < 20000; round++) {
		char in[64], out[128], want[256];
		size_t len = (size_t)random() % sizeof(in);
		size_t n, m;

		for (size_t i = 0; i < len; i++)
			in[i] =
			    alphabet[(size_t)random() % (sizeof(alphabet) - 1)];
		n = decode(in, len, 1 + (size_t)random() % 70, out);
		m = oracle(in, len, want);
		if (n != m || memcmp(out, want, n) != 0)
			fail_msg("GMime differs: %.*s", (int)len, in);
	}
}

#define TEN "0123456789"
#define SEVENTY TEN TEN TEN TEN TEN TEN TEN
#define E_ACUTE "\xc3\xa9"

static const struct {
	const char *name;
	const char *in;
	const char *want;
} written[] = {
	{ "empty", "", "" },
	{ "plain", "hello\r\n", "hello\r\n" },
	{ "no line end", "hello", "hello\r\n" },
	{ "LF", "a\n\nb\n", "a\r\n\r\nb\r\n" },
	{ "CR alone", "a\rb\r\n", "a=0Db\r\n" },
	{ "CR at the end", "a\r", "a=0D\r\n" },
	{ "CR CR LF", "a\r\r\n", "a=0D\r\n" },
	{ "equals sign", "a=b", "a=3Db\r\n" },
	{ "UTF-8", E_ACUTE, "=C3=A9\r\n" },
	{ "controls", "\x01\x7f\v", "=01=7F=0B\r\n" },
	{ "blanks", " a\tb c\r\n", " a\tb c\r\n" },
	{ "blank at a line's end", "a \nb\t\r\n", "a=20\r\nb=09\r\n" },
	{ "two blanks", "a  ", "a =20\r\n" },
	{ "only a blank", " ", "=20\r\n" },
	{ "what may be a boundary", "--b--\na--\n", "=2D-b--\r\na--\r\n" },
	{ "behind a soft break, too", SEVENTY "12345--b",
	  SEVENTY "12345=\r\n=2D-b\r\n" },
	{ "a signature's line", "-- \n", "=2D-=20\r\n" },
	{ "one hyphen", "-\n- a", "-\r\n- a\r\n" },
	{ "76 wide", SEVENTY "123456\n", SEVENTY "123456\r\n" },
	{ "77 wide", SEVENTY "1234567\n", SEVENTY "12345=\r\n67\r\n" },
	{ "an escape at the end of 76", SEVENTY "123=\n",
	  SEVENTY "123=3D\r\n" },
	{ "an escape at the end of 77", SEVENTY "1234=\n",
	  SEVENTY "1234=\r\n=3D\r\n" },
	{ "an escape that ends at 76", SEVENTY "123=x\n",
	  SEVENTY "123=\r\n=3Dx\r\n" },
	{ "an escape that ends at 75", SEVENTY "12=x\n", SEVENTY "12=3Dx\r\n" },
	{ "an escape that ends at 75, and more", SEVENTY "12=xy\n",
	  SEVENTY "12=3D=\r\nxy\r\n" },
	{ "a blank at 76", SEVENTY "12345 \n", SEVENTY "12345=\r\n=20\r\n" },
	{ "a blank before a soft break", SEVENTY "1234 67\n",
	  SEVENTY "1234 =\r\n67\r\n" },
	{ "a dot", ".\r\n", ".\r\n" },
};

static void
test_written(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++) {
		DYNBUF_AUTO out;
		size_t len = strlen(written[i].in);

		dynbuf_init(&out, QUOTED_PRINTABLE_MAX(len));
		assert_true(quoted_printable_encode(&out, written[i].in, len));
		if (strcmp(dynbuf_str(&out), written[i].want) != 0)
			fail_msg("%s: %s", written[i].name, dynbuf_str(&out));
	}
}

static void
check_lines(const char *text)
{
	while (*text != '\0') {
		size_t len = strcspn(text, "\r\n");

		assert_true(len <= 76);
		assert_true(len == 0 ||
			    (text[len - 1] != ' ' && text[len - 1] != '\t'));
		assert_true(strncmp(text, "--", 2) != 0);
		assert_memory_equal(text + len, "\r\n", 2);
		text += len + 2;
	}
}

/* What is written is what was meant, in the room that was promised. */
static void
test_there_and_back(void **state)
{
	static const char *const alphabets[] = {
		"ab =\n\t.", "\xff",  "\xff\n", "a\xff", "a",
		"\n",	     "\r\n ", "-",	"-\n",
	};

	(void)state;
	srandom(1);
	for (unsigned run = 0; run < 9000; run++) {
		const char *alphabet = alphabets[run % 9];
		size_t len = 1 + (size_t)random() % 400, n = 0, k = 0;
		char in[401], want[1200], back[1500];
		DYNBUF_AUTO out;

		for (size_t i = 0; i < len; i++)
			in[i] = alphabet[(size_t)random() % strlen(alphabet)];
		for (size_t i = 0; i < len; i++) {
			if (in[i] == '\n' && (i == 0 || in[i - 1] != '\r'))
				want[n++] = '\r';
			want[n++] = in[i];
		}
		if (in[len - 1] != '\n') {
			want[n++] = '\r';
			want[n++] = '\n';
		}
		dynbuf_init(&out, QUOTED_PRINTABLE_MAX(len));
		assert_true(quoted_printable_encode(&out, in, len));
		check_lines(dynbuf_str(&out));
		k = decode(out.data, out.len, 1000, back);
		assert_int_equal(k, n);
		assert_memory_equal(back, want, n);
	}
}

static void
test_full(void **state)
{
	DYNBUF_AUTO out;

	(void)state;
	dynbuf_init(&out, 20);
	assert_false(quoted_printable_encode(&out, "hello", 5));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_written),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_full),
	};

	g_mime_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
