/* SPDX-License-Identifier: MIT */
/*
 * Each row is the raw value of a header field as some client sends it, and
 * the text it means; NULL where it holds a control character.
 */
#include "policy/header_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <gmime/gmime.h>

#define E_ACUTE "\xc3\xa9"
#define QUOTE "\xe2\x80\x99" /* U+2019, 0x92 of windows-1252 */
#define NIHON "\xe6\x97\xa5\xe6\x9c\xac"
#define JSON                                                                \
	"{\"campaign_id\":\"my_campaign\",\"metadata\":{\"has_pets\":true," \
	"\"pet_name\":\"Spot\",\"order\":\"A-12345678901234567890\"},"      \
	"\"tags\":[\"cat\",\"dog\"],\"options\":{\"open_tracking\":false,"  \
	"\"click_tracking\":true,\"transactional\":true}}"

struct row {
	const char *name;
	const char *raw;
	const char *want;
};

/* --- unfolding ------------------------------------------------------------ */

static const struct row folds[] = {
	{ "nothing", "", "" },
	{ "plain", "abc", "abc" },
	{ "blanks around", " \t abc \t ", "abc" },
	{ "blanks only", " \t ", "" },
	{ "blanks inside stay", "a  b\tc", "a  b\tc" },
	{ "LF fold", "a\n b", "a b" },
	{ "CRLF fold", "a\r\n b", "a b" },
	{ "TAB fold", "a\n\tb", "a b" },
	{ "a fold's blanks are one", "a\n \t   b", "a b" },
	{ "a blank before the fold stays", "a \n b", "a  b" },
	{ "empty first line", "\n {\"a\":1}", "{\"a\":1}" },
	{ "blank first line", " \r\n {\"a\":1}", "{\"a\":1}" },
	{ "fold of nothing at the end", "a\n ", "a" },
	{ "two folds", "a\n b\n c", "a b c" },
	{ "lines of blanks", "a\n \n \n b", "a   b" },
	{ "LF that is no fold stays", "a\nb", "a\nb" },
	{ "LF at the end stays", "a\n", "a\n" },
	{ "bare CR stays", "a\rb", "a\rb" },
	{ "CR CR LF", "a\r\r\n b", "a\r b" },
};

static void
test_unfold(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(folds) / sizeof(folds[0]); i++) {
		size_t len = strlen(folds[i].raw);
		char *raw = malloc(len != 0 ? len : 1);
		size_t n = 77;
		char *got;

		assert_non_null(raw);
		memcpy(raw, folds[i].raw, len);
		got = header_unfold(raw, len, &n);
		if (strcmp(got, folds[i].want) != 0 || n != strlen(got))
			fail_msg("%s: \"%s\" (%zu)", folds[i].name, got, n);
		free(got);
		free(raw);
	}
}

static void
test_unfold_nul(void **state)
{
	size_t n;
	char *got = header_unfold(" a\0\n b", 6, &n);

	(void)state;
	assert_int_equal(n, 4);
	assert_memory_equal(got, "a\0 b", 5);
	free(got);
}

/* --- decoding ------------------------------------------------------------- */

static const struct row rows[] = {
	{ "nothing", "", "" },
	{ "plain", "Hello, world", "Hello, world" },
	{ "blanks around", "\t Hello ", "Hello" },
	{ "TAB inside is a blank", "a\tb", "a b" },
	{ "UTF-8", "caf" E_ACUTE, "caf" E_ACUTE },
	{ "8-bit text that is not UTF-8", "caf\xe9", "caf" E_ACUTE },
	{ "8-bit text of a Windows client", "It\x92s", "It" QUOTE "s" },
	{ "8-bit text in a fold", "caf" E_ACUTE "\n x", "caf" E_ACUTE " x" },

	{ "PHPMailer: Q words with raw JSON in them",
	  "=?us-ascii?Q?{\"options\":{\"open=5Ftracking\":false,\"click=5Ftr?="
	  "\n =?us-ascii?Q?acking\":false,\"transactional\":true,\"sandbox\":"
	  "fa?=\n =?us-ascii?Q?lse}}?=",
	  "{\"options\":{\"open_tracking\":false,\"click_tracking\":false,"
	  "\"transactional\":true,\"sandbox\":false}}" },
	{ "Python: B words and a Q word",
	  "=?utf-8?b?eyJjYW1wYWlnbl9pZCI6Im15X2NhbXBhaWduIiwibWV0YWRhdGEi?=\n"
	  " =?utf-8?b?OnsiaGFzX3BldHMiOnRydWUsInBldF9uYW1lIjoiU3BvdCIsIm9yZGV"
	  "yIjoiQS0x?=\n"
	  " =?utf-8?b?MjM0NTY3ODkwMTIzNDU2Nzg5MCJ9LCJ0YWdzIjpbImNhdCIsImRvZyJ"
	  "dLCJvcHRp?=\n"
	  " =?utf-8?b?b25zIjp7Im9wZW5fdHJhY2tpbmciOmZhbHNlLCJjbGlja190cmFja2l"
	  "uZyI6dHJ1?=\n"
	  " =?utf-8?q?e=2C=22transactional=22=3Atrue=7D=7D?=",
	  JSON },
	{ "Python: a part is encoded",
	  "{\"campaign_id\": =?utf-8?b?IsOpdMOpIiwgInRhZ3MiOiBbIm5hw692ZSJd?="
	  "\n =?utf-8?q?=7D?=",
	  "{\"campaign_id\": \"" E_ACUTE "t" E_ACUTE "\", \"tags\": [\"na"
	  "\xc3\xafve\"]}" },
	{ "Python: folded at blanks",
	  "{\"campaign_id\": \"my_campaign\", \"metadata\": {\"has_pets\": "
	  "true,\n \"pet_name\": \"Spot\"}}",
	  "{\"campaign_id\": \"my_campaign\", \"metadata\": {\"has_pets\": "
	  "true, \"pet_name\": \"Spot\"}}" },
	{ "Python MIMEText: empty first line", " \n " JSON, JSON },
	{ "nodemailer: two words on one line",
	  "=?UTF-8?Q?=7B=22metadata=22=3A=7B=22k=22=3A=22xxxx?=\n"
	  " =?UTF-8?Q?xxxx?=\n"
	  " =?UTF-8?Q?xxxx=22?= =?UTF-8?Q?=7D=7D?=",
	  "{\"metadata\":{\"k\":\"xxxxxxxxxxxx\"}}" },
	{ "Ruby: raw braces in a Q word",
	  "=?UTF-8?Q?{=22campaign=5Fid=22:=22=C3=A9t=C3=A9=22}?=",
	  "{\"campaign_id\":\"" E_ACUTE "t" E_ACUTE "\"}" },
	{ "SparkPost: a fold inside a string is not repaired",
	  "{\"a\":\"my_awes\n ome_campaign\"}",
	  "{\"a\":\"my_awes ome_campaign\"}" },
	{ "Symfony: only the first word is encoded",
	  "=?utf-8?Q?R=C3=A9initialisation?= du mot de passe",
	  "R" E_ACUTE "initialisation du mot de passe" },

	{ "words joined without a blank", "=?utf-8?q?a?= =?utf-8?q?b?=", "ab" },
	{ "words joined over a fold",
	  "=?utf-8?q?a?=\r\n\t=?utf-8?q?b?=", "ab" },
	{ "a blank before plain text stays", "=?utf-8?q?a?= b", "a b" },
	{ "a blank after plain text stays", "a =?utf-8?q?b?=", "a b" },
	{ "underscore is a blank", "=?utf-8?q?a_b?= =?utf-8?q?_c?=", "a b c" },
	{ "a word inside text", "a=?utf-8?q?b?=c", "abc" },
	{ "a blank in a Q word", "=?utf-8?Q?a b?=", "a b" },
	{ "a question mark in a Q word",
	  "=?UTF-8?Q?a?b=C3=A9?=", "a?b" E_ACUTE },
	{ "a question mark in a word of another charset",
	  "=?iso-8859-1?Q?It=92s?yes?=", "It" QUOTE "s?yes" },
	{ "an empty word", "=?utf-8?q?\?=", "" },
	{ "lower and upper case",
	  "=?UtF-8?q?=c3=A9?= =?utf-8?B?w6k=?=", E_ACUTE E_ACUTE },
	{ "a language tag", "=?utf-8*en?Q?hello?=", "hello" },
	{ "longer than 75 characters",
	  "=?utf-8?q?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?=",
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" },
	{ "a TAB in a word", "=?utf-8?q?a=09b?=", "a b" },
	{ "blanks around in a word", "=?utf-8?q?=20a=20?=", "a" },
	{ "not a word: no end", "=?utf-8?q?abc", "=?utf-8?q?abc" },
	{ "not a word: another encoding",
	  "=?utf-8?x?abc?=", "=?utf-8?x?abc?=" },
	{ "not a word: an equals sign", "a=b?c", "a=b?c" },

	{ "B words with padding, one byte each",
	  "=?utf-8?B?YQ==?= =?utf-8?B?Yg==?=", "ab" },
	{ "B words with padding, folded",
	  "=?utf-8?B?YWI=?=\n =?utf-8?B?Y2Q=?=\n =?utf-8?B?ZWY=?=", "abcdef" },
	{ "B words, the first without padding",
	  "=?utf-8?B?YWJj?= =?utf-8?B?ZA==?= =?utf-8?B?ZQ==?=", "abcde" },
	{ "B word whose padding is missing",
	  "=?utf-8?B?Y2Fmw6k?=", "caf" E_ACUTE },
	{ "B word whose padding is missing, one byte", "=?utf-8?B?YQ?=", "a" },
	{ "a character split over two Q words",
	  "=?utf-8?Q?=C3?= =?utf-8?Q?=A9?=", E_ACUTE },
	{ "a character split over two B words",
	  "=?utf-8?B?YcM=?= =?utf-8?B?qWI=?=", "a" E_ACUTE "b" },

	{ "iso-8859-1", "=?iso-8859-1?q?caf=E9?=", "caf" E_ACUTE },
	{ "windows-1252", "=?windows-1252?q?It=92s?=", "It" QUOTE "s" },
	{ "windows-1252 labelled iso-8859-1",
	  "=?iso-8859-1?q?It=92s?=", "It" QUOTE "s" },
	{ "iso-8859-15", "=?iso-8859-15?q?=A4?=", "\xe2\x82\xac" },
	{ "koi8-r", "=?koi8-r?B?8NLJ18XU?=",
	  "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82" },
	{ "iso-2022-jp", "=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", NIHON },
	{ "iso-2022-jp in two words, as RFC 1468 wants",
	  "=?iso-2022-jp?B?GyRCRnwbKEI=?=\n =?iso-2022-jp?B?GyRCS1wbKEI=?=",
	  NIHON },
	{ "gb18030", "=?gb18030?B?xOO6ww==?=", "\xe4\xbd\xa0\xe5\xa5\xbd" },
	{ "gb2312", "=?gb2312?B?xOO6ww==?=", "\xe4\xbd\xa0\xe5\xa5\xbd" },
	{ "utf-16", "=?utf-16?B?/v8ASADp?=", "H" E_ACUTE },
	{ "utf-7", "=?utf-7?q?+AOk-?=", "+AOk-" },
	{ "windows-1258, which composes", "=?windows-1258?q?ab?=", "ab" },
	{ "an unknown charset, ASCII", "=?x-none?q?abc?=", "abc" },
	{ "two charsets",
	  "=?iso-8859-1?q?=E9?= =?utf-8?q?=C3=A9?=", E_ACUTE E_ACUTE },

	{ "LF", "a\nb", NULL },
	{ "LF at the end", "a\n", NULL },
	{ "CR", "a\rb", NULL },
	{ "ESC", "a\x1b[0m", NULL },
	{ "BEL", "a\x07", NULL },
	{ "DEL", "a\x7f", NULL },
	{ "C1 in UTF-8",
	  "a\xc2\x9b"
	  "0m",
	  NULL },
	{ "iso-2022-jp as it is", "\x1b$BF|K\\\x1b(B", NULL },
	{ "LF in a word", "=?utf-8?q?a=0Ab?=", NULL },
	{ "CR in a word", "=?utf-8?q?a=0Db?=", NULL },
	{ "CR LF in a word", "=?utf-8?q?a=0D=0Ab?=", NULL },
	{ "CR LF and a blank in a word", "=?utf-8?q?a=0D=0A_b?=", NULL },
	{ "LF and a blank in a B word", "=?utf-8?b?YQogYg==?=", NULL },
	{ "LF at the end of a word", "=?utf-8?q?a=0A?=", NULL },
	{ "NUL in a word", "=?utf-8?q?a=00b?=", NULL },
	{ "NUL in a word of another charset", "=?iso-8859-1?q?a=00b?=", NULL },
	{ "a B word of NUL alone", "=?utf-8?b?AA==?=", NULL },
	{ "NUL in a B word", "=?utf-8?b?YQBi?=", NULL },
	{ "NUL in a word of two-byte letters",
	  "=?utf-16be?b?AGEAAABi?=", NULL },
	{ "UTF-7 is not read, so neither is its NUL",
	  "=?utf-7?q?a+AAA-b?=", "a+AAA-b" },
	{ "ESC in a word", "=?utf-8?q?=1B[0m?=", NULL },
	{ "C1 in a word", "=?utf-8?q?=C2=9B?=", NULL },
};

static void
test_rows(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].raw);
		char *raw = malloc(len != 0 ? len : 1);
		char *got;
		enum header_text_result r;

		assert_non_null(raw);
		memcpy(raw, rows[i].raw, len);
		r = header_text(raw, len, &got);
		free(raw);
		if ((r == HEADER_TEXT_OK) != (got != NULL) ||
		    (got == NULL) != (rows[i].want == NULL) ||
		    (got != NULL && strcmp(got, rows[i].want) != 0)) {
			printf("%s: \"%s\"\n", rows[i].name,
			       got ? got : "(control character)");
			bad++;
		}
		free(got);
	}
	assert_int_equal(bad, 0);
}

static void
test_nul(void **state)
{
	char *text = NULL;

	(void)state;
	assert_int_equal(header_text("a\0b", 3, &text), HEADER_TEXT_CONTROL);
	assert_null(text);
	assert_int_equal(header_text("ab\0", 3, &text), HEADER_TEXT_CONTROL);
	assert_null(text);
}

/* --- writing -------------------------------------------------------------- */

#define LONG_NAME "A name of fifty letters, all of them written by us "
#define FIVE "\xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5"

static const struct {
	const char *name;
	const char *want; /* NULL: words */
} phrases[] = {
	{ "Jane Smith", "Jane Smith" },
	{ "O'Hara-Smith", "O'Hara-Smith" },
	{ "", "\"\"" },
	{ "Smith, Jane", "\"Smith, Jane\"" },
	{ "J. Smith", "\"J. Smith\"" },
	{ "Jane (sales)", "\"Jane (sales)\"" },
	{ "a \"b\" c\\d", "\"a \\\"b\\\" c\\\\d\"" },
	{ "a  b", "\"a  b\"" },
	{ "<x@y>", "\"<x@y>\"" },
	{ "Ren\xc3\xa9", "=?utf-8?B?UmVuw6k=?=" },
	{ "=?utf-8?q?x?=", NULL },
	{ FIVE FIVE FIVE, NULL },
	{ "a" FIVE FIVE FIVE FIVE, NULL },
	{ "\xf0\x9f\x98\x80" FIVE FIVE FIVE FIVE FIVE FIVE FIVE, NULL },
	{ LONG_NAME LONG_NAME LONG_NAME LONG_NAME LONG_NAME, NULL },
};

/* Each word is a text of its own, on a line of its own. */
static void
check_words(const char *phrase)
{
	while (*phrase != '\0') {
		size_t len = strcspn(phrase, "\n");
		char *text;

		assert_true(len <= 75);
		assert_memory_equal(phrase, "=?utf-8?B?", 10);
		assert_int_equal(header_text(phrase, len, &text),
				 HEADER_TEXT_OK);
		assert_null(strstr(text, "\xef\xbf\xbd"));
		free(text);
		phrase += len;
		if (*phrase == '\n') {
			assert_int_equal(phrase[1], ' ');
			phrase += 2;
		}
	}
}

static void
test_phrases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++) {
		char *got = header_phrase(phrases[i].name);
		char *back;

		if (phrases[i].want != NULL) {
			assert_string_equal(got, phrases[i].want);
		} else {
			size_t len = strlen(phrases[i].name);

			check_words(got);
			assert_int_equal(header_text(got, strlen(got), &back),
					 HEADER_TEXT_OK);
			while (len > 0 && phrases[i].name[len - 1] == ' ')
				len--;
			assert_int_equal(strlen(back), len);
			assert_memory_equal(back, phrases[i].name, len);
			free(back);
		}
		free(got);
	}
}

static int
setup(void **state)
{
	(void)state;
	g_mime_init();
	return 0;
}

static void
test_name_matches(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool want;
	} names[] = {
		{ "X-Tag", "x-tag", true },    { "X-Tag", "X-Tags", false },
		{ "X-Tag", "X-Ta", false },    { "X-*", "x-a", true },
		{ "X-*", "X-", true },	       { "X-*", "X", false },
		{ "X-*", "Y-a", false },       { "*", "any", true },
		{ "", "", true },	       { "", "a", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(
		    header_name_matches(names[i].pattern, names[i].name),
		    names[i].want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unfold),
		cmocka_unit_test(test_unfold_nul),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_phrases),
		cmocka_unit_test(test_name_matches),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
