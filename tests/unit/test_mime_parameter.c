/* SPDX-License-Identifier: MIT */
/*
 * Each row is a field and the name in it, as clients write it. Each is read
 * without a byte behind it.
 */
#include "policy/mime_parameter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/header_text.h"
#include "policy/mime.h"

#define A "attachment; "
#define E_ACUTE "\xc3\xa9"
#define I_DIAERESIS "\xc3\xaf"

static const struct {
	const char *what;
	const char *field;
	const char *want; /* NULL: none */
} rows[] = {
	/* where it stands */
	{ "none", "attachment", NULL },
	{ "nothing behind the semicolon", A, NULL },
	{ "another", A "size=3; filenames=x", NULL },
	{ "a token", A "filename=a.pdf", "a.pdf" },
	{ "quoted", A "filename=\"a b.pdf\"", "a b.pdf" },
	{ "in another case", A "FileName=\"a.pdf\"", "a.pdf" },
	{ "blanks around it", A " filename = \"a.pdf\" ; x=y", "a.pdf" },
	{ "behind others", A "size=3;  filename=a.pdf;x=y", "a.pdf" },
	{ "empty", A "filename=\"\"", NULL },
	{ "no value", A "filename=; x=y", NULL },
	{ "no equals sign", A "filename", NULL },
	{ "twice: the first", A "filename=a; filename=b", "a" },
	{ "in the value of another", A "x=\"; filename=b\"; filename=a", "a" },
	{ "no semicolon behind the type", "attachment filename=a", NULL },

	/* quotes */
	{ "a semicolon in quotes", A "filename=\"a;b.pdf\"", "a;b.pdf" },
	{ "an escaped quote", A "filename=\"a\\\"b.pdf\"", "a\"b.pdf" },
	{ "an escaped backslash", A "filename=\"a\\\\b.pdf\"", "a\\b.pdf" },
	{ "a path, not escaped", A "filename=\"C:\\dir\\x.pdf\"",
	  "C:\\dir\\x.pdf" },
	{ "not closed", A "filename=\"a b.pdf", "a b.pdf" },
	{ "a lone quote", A "filename=\"", NULL },
	{ "a comment behind the quotes", A "filename=\"a.pdf\" (x)", "a.pdf" },
	{ "blanks without quotes", A "filename=my long name (1).pdf; x=y",
	  "my long name (1).pdf" },
	{ "single quotes are none", A "filename='a.pdf'", "'a.pdf'" },
	{ "an equals sign", A "filename=a=b.pdf", "a=b.pdf" },

	/* 8 bit */
	{ "UTF-8", A "filename=\"na" I_DIAERESIS "ve.pdf\"",
	  "na" I_DIAERESIS "ve.pdf" },
	{ "windows-1252", A "filename=\"na\xefve \x80.pdf\"",
	  "na" I_DIAERESIS "ve \xe2\x82\xac.pdf" },

	/* RFC 2047, where it must not be */
	{ "Q word in quotes (PHPMailer, Outlook)",
	  A "filename=\"=?UTF-8?Q?na=C3=AFve_1.pdf?=\"",
	  "na" I_DIAERESIS "ve 1.pdf" },
	{ "Q word without quotes",
	  A "filename==?utf-8?Q?=C3=A9.pdf?=", E_ACUTE ".pdf" },
	{ "Q word of iso-8859-1", A "filename=\"=?iso-8859-1?Q?=80=E9.pdf?=\"",
	  "\xe2\x82\xac" E_ACUTE ".pdf" },
	{ "two B words",
	  A "filename=\"=?utf-8?B?bmHDr3Zl?= =?utf-8?B?LnBkZg==?=\"",
	  "na" I_DIAERESIS "ve.pdf" },
	{ "a character cut by words",
	  A "filename=\"=?utf-8?B?YcM=?= =?utf-8?B?qWIucGRm?=\"",
	  "a" E_ACUTE "b.pdf" },
	{ "a word cut by sections (Outlook)",
	  A "filename*0=\"=?UTF-8?B?bmHDr3Z\"; filename*1=\"lLnBkZg==?=\"",
	  "na" I_DIAERESIS "ve.pdf" },
	{ "a word and text", A "filename=\"=?utf-8?Q?=C3=A9?= b.pdf\"",
	  E_ACUTE " b.pdf" },
	{ "a word with NUL stays as it is",
	  A "filename=\"=?utf-8?Q?a=00b?=.pdf\"", "=?utf-8?Q?a=00b?=.pdf" },
	{ "an extended value is no word",
	  A "filename*=utf-8''%3D?utf-8?Q?a?%3D", "=?utf-8?Q?a?=" },

	/* RFC 2231 */
	{ "charset", A "filename*=UTF-8''na%C3%AFve.pdf",
	  "na" I_DIAERESIS "ve.pdf" },
	{ "charset and language", A "filename*=utf-8'en'%c3%a9.pdf",
	  E_ACUTE ".pdf" },
	{ "no charset", A "filename*=''x%41.pdf", "xA.pdf" },
	{ "no quotes of a charset", A "filename*=x%41.pdf", "xA.pdf" },
	{ "one quote", A "filename*=utf-8'x%41.pdf", "utf-8'xA.pdf" },
	{ "quotes behind those of the charset",
	  A "filename*=utf-8''it's%20'x'.pdf", "it's 'x'.pdf" },
	{ "in quotes, too", A "filename*=\"utf-8''x%41 b.pdf\"", "xA b.pdf" },
	{ "iso-8859-1 as windows-1252", A "filename*=iso-8859-1'en'%80%E9.pdf",
	  "\xe2\x82\xac" E_ACUTE ".pdf" },
	{ "shift_jis", A "filename*=shift_jis''%83%65.txt",
	  "\xe3\x83\x86.txt" },
	{ "unknown charset, UTF-8", A "filename*=x-none''%C3%A9.pdf",
	  E_ACUTE ".pdf" },
	{ "unknown charset, not UTF-8", A "filename*=x-none''%E9.pdf",
	  E_ACUTE ".pdf" },
	{ "not UTF-8", A "filename*=utf-8''a%FFb",
	  "a\xef\xbf\xbd"
	  "b" },
	{ "NUL", A "filename*=utf-8''a.txt%00.exe", "a.txt.exe" },
	{ "NUL alone", A "filename*=utf-8''%00", NULL },
	{ "no escapes", A "filename*=utf-8''a%zz%4%.pdf", "a%zz%4%.pdf" },
	{ "goes before plain", A "filename=plain.pdf; filename*=utf-8''%41.pdf",
	  "A.pdf" },

	/* sections */
	{ "plain sections", A "filename*0=\"aaaa\"; filename*1=\"bbb.pdf\"",
	  "aaaabbb.pdf" },
	{ "a character cut by sections",
	  A "filename*0*=utf-8''a%C3; filename*1*=%A9b.pdf",
	  "a" E_ACUTE "b.pdf" },
	{ "out of order", A "filename*1*=%A9b.pdf; filename*0*=utf-8''a%C3",
	  "a" E_ACUTE "b.pdf" },
	{ "more than ten",
	  A "filename*10=k; filename*0=a; filename*2=c; filename*1=b; "
	    "filename*3=d; filename*4=e; filename*5=f; filename*6=g; "
	    "filename*7=h; filename*8=i; filename*9=j",
	  "abcdefghijk" },
	{ "one is missing", A "filename*0*=utf-8''a; filename*2*=%41", "aA" },
	{ "one is there twice: the first", A "filename*0=a; filename*0=b",
	  "a" },
	{ "the second is not extended: no escapes in it",
	  A "filename*0*=utf-8''x%41; filename*1=\"%41y.pdf\"", "xA%41y.pdf" },
	{ "a charset only in the first",
	  A "filename*0*=utf-8''a; filename*1*=b'c'd", "ab'c'd" },
	{ "sections go before plain",
	  A "filename=plain; filename*0=a; filename*1=b", "ab" },
	{ "the ending is in a section of its own",
	  A "filename*0=\"invoice.pdf.\"; filename*1=exe", "invoice.pdf.exe" },
	{ "no number", A "filename*x=a", NULL },
	{ "a number and more", A "filename*1x=a", NULL },
	{ "two stars", A "filename**=a", NULL },
	{ "a number that is too long", A "filename*12345678=a", NULL },
};

static char *
exact(const char *s, size_t len)
{
	char *c = malloc(len + 1);

	assert_non_null(c);
	memcpy(c, s, len);
	c[len] = '\0';
	return c;
}

static void
test_rows(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *field = exact(rows[i].field, strlen(rows[i].field));
		char *got = mime_parameter(field, "filename");

		if ((got == NULL) != (rows[i].want == NULL) ||
		    (got != NULL && strcmp(got, rows[i].want) != 0)) {
			printf("%s: got %s\n", rows[i].what,
			       got ? got : "none");
			bad++;
		}
		free(got);
		free(field);
	}
	assert_int_equal(bad, 0);
	assert_null(mime_parameter(NULL, "filename"));
}

/* As many sections as a field of the longest kind can have, the worst way
 * round. */
static void
test_many_sections(void **state)
{
	char *field = malloc(MIME_FIELD_MAX + 16);
	size_t at = 0;
	unsigned n = 300;
	char *got;

	(void)state;
	assert_non_null(field);
	for (unsigned i = n; i-- > 0 && at < MIME_FIELD_MAX - 12;)
		at += (size_t)sprintf(field + at, ";name*%u=%u", i, i % 10);
	got = mime_parameter(field, "name");
	assert_non_null(got);
	assert_int_equal(strlen(got), n);
	assert_memory_equal(got, "0123456789012", 13);
	free(got);
	free(field);
}

static int
setup(void **state)
{
	(void)state;
	header_text_init();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_many_sections),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
