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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_random),
	};

	g_mime_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
