/* SPDX-License-Identifier: MIT */
#include "policy/text_fill.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "policy/dynbuf.h"

/*
 * A script: letters are themselves, and
 *   ' ' gap of 1   '_' gap of 2   '/' break   '|' block of 1   '#' block of 2
 *   '~' rule   '>' push "> "   '*' push "* ", blanks   '<' pop   '=' underline
 *   '!' widest   '{' '}' verbatim   '@' attach "(url)"   ':' a split
 *   '^' mark: "[" and what is from there to the end and "]" is added at the end
 *   '9' ten columns of "x"
 */
static void
step(struct text_fill *f, char c)
{
	switch (c) {
	case ' ':
		if (f->verbatim)
			text_fill_put(f, " ", 1, 1);
		else
			text_fill_gap(f, 1);
		break;
	case '_':
		text_fill_gap(f, 2);
		break;
	case ':':
		text_fill_gap(f, 0);
		break;
	case '/':
		text_fill_break(f);
		break;
	case '|':
		text_fill_block(f, 1);
		break;
	case '#':
		text_fill_block(f, 2);
		break;
	case '~':
		text_fill_rule(f);
		break;
	case '>':
		assert_true(text_fill_push(f, "> ", "> "));
		break;
	case '*':
		assert_true(text_fill_push(f, "* ", "  "));
		break;
	case '<':
		text_fill_pop(f);
		break;
	case '!':
		text_fill_widest(f);
		break;
	case '=':
		text_fill_underline(f, '=');
		break;
	case '{':
	case '}':
		text_fill_verbatim(f, c == '{');
		break;
	case '@':
		text_fill_attach(f, "(url)", 5, 5);
		break;
	case '^':
		text_fill_mark(f);
		break;
	case '9':
		text_fill_put(f, "xxxxxxxxxx", 10, 10);
		break;
	default:
		text_fill_put(f, &c, 1, 1);
	}
}

#define X7                                                                     \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
	"xx"
#define D4 "----------------------------------------"
#define E7                                                                     \
	"====================================================================" \
	"=="

static const struct {
	const char *name;
	const char *script;
	const char *want;
} rows[] = {
	{ "nothing", "", "" },
	{ "a word", "ab", "ab\n" },
	{ "blanks", "  a   b  ", "a b\n" },
	{ "the widest gap", "a _ b_ _c", "a  b  c\n" },
	{ "breaks at the ends", "//#a#//", "a\n" },
	{ "breaks", "a/b|c#d", "a\nb\nc\n\nd\n" },
	{ "no more than an empty line", "a//b///c|#|d", "a\n\nb\n\nc\n\nd\n" },
	{ "a gap at a break", "a / b |_c", "a\nb\nc\n" },
	{ "a rule", "a~b", "a\n\n" D4 "\n\nb\n" },
	{ "one rule", "a~~#~b", "a\n\n" D4 "\n\nb\n" },
	{ "rules at the ends", "~a~", "a\n" },

	/* 78 columns */
	{ "78 columns fit", "9999999 abcdefg", X7 " abcdefg\n" },
	{ "79 do not", "9999999 abcdefgh", X7 "\nabcdefgh\n" },
	{ "79 with a wide gap", "9999999_abcdefg", X7 "\nabcdefg\n" },
	{ "a word of any length", "a 9999999999 b",
	  "a\n" X7 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\nb\n" },
	{ "blanks before the word that is moved", "{9999999  }abcdefg",
	  X7 "\nabcdefg\n" },
	{ "at a split", "9999999abcdefg:hi:j", X7 "abcdefg\nhij\n" },
	{ "a split is nothing else", "ab:c", "abc\n" },
	{ "twice", "9999999 9999999 9999999", X7 "\n" X7 "\n" X7 "\n" },
	{ "with an indent", ">9999999 abcdefg", "> " X7 "\n> abcdefg\n" },
	{ "with an indent, fits", ">9999999 abcde", "> " X7 " abcde\n" },
	{ "with a mark", "*9999999 abcdefg", "* " X7 "\n  abcdefg\n" },

	{ "a quotation", "a#>b#c<#d", "a\n\n> b\n>\n> c\n\nd\n" },
	{ "two quotations", ">a<#>b", "> a\n\n> b\n" },
	{ "nested", ">a#>b#c<#d", "> a\n>\n> > b\n> >\n> > c\n>\n> d\n" },
	{ "items", "*a<|*b/c<|d", "* a\n* b\n  c\nd\n" },
	{ "items with paragraphs", "*a#b<|*c", "* a\n\n  b\n* c\n" },
	{ "an item without words", "*<|*b", "* b\n" },
	{ "items that begin together", "*|*a<|*b", "* * a\n  * b\n" },
	{ "a rule in a quotation", ">a~b", "> a\n>\n> " D4 "\n>\n> b\n" },

	{ "underlined", "a#!bcd=#e", "a\n\nbcd\n===\n\ne\n" },
	{ "the widest line", "!ab/cdef/g=|h", "ab\ncdef\ng\n====\nh\n" },
	{ "not what is around it", "abcdef|!gh=", "abcdef\ngh\n==\n" },
	{ "nothing to underline", "a#!=#b", "a\n\nb\n" },
	{ "a broken line", "!9999999 abcdefgh=", X7 "\nabcdefgh\n" E7 "\n" },
	{ "no wider than a line", "!9999999999=",
	  X7 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n" E7 "========\n" },
	{ "in a quotation", ">!ab=#c", "> ab\n> ==\n>\n> c\n" },

	{ "verbatim", "{a  b/  c///d}", "a  b\n  c\n\n\nd\n" },
	{ "verbatim, blanks at an end", "{a  / /b  }|c", "a\n\nb\nc\n" },
	{ "verbatim, long", "{a 99999999", "a " X7 "xxxxxxxxxx\n" },
	{ "verbatim blanks only", "{  / }", "" },
	{ "verbatim, an empty line first", "{  /a}", "a\n" },
	{ "verbatim in a quotation", ">{a//  b}", "> a\n>\n>   b\n" },

	{ "attached", "a@b", "a (url)b\n" },
	{ "attached before a gap", "a @b", "a (url) b\n" },
	{ "attached before a break", "a#@b", "a (url)\n\nb\n" },
	{ "attached before a rule", "a~@b", "a (url)\n\n" D4 "\n\nb\n" },
	{ "attached on a line of its own", "9999999abcd@e",
	  X7 "abcd\n(url)e\n" },

	{ "marked", "a ^bc", "a bc\n[bc\n]" },
	{ "marked within a word", "a^b", "ab\n[b\n]" },
	{ "marked and moved", "9999999 ^abcdefgh",
	  X7 "\nabcdefgh\n[abcdefgh\n]" },
	{ "marked within a word that moves", "9999999 abcd^efgh",
	  X7 "\nabcdefgh\n[efgh\n]" },
	{ "marked behind an indent", ">9999999 ^abcdefg",
	  "> " X7 "\n> abcdefg\n[abcdefg\n]" },
	{ "marked, no word", "a^", "a\n" },
};

static void
run(struct dynbuf *out, const char *script)
{
	struct text_fill f;

	text_fill_init(&f, out);
	text_fill_allow(&f, 10000);
	for (; *script != '\0'; script++)
		step(&f, *script);
	text_fill_end(&f);
	if (text_fill_marked(&f) && !out->overflow) {
		char *tail = strdup(out->data + f.mark);

		assert_non_null(tail);
		dynbuf_addf(out, "[%s]", tail);
		free(tail);
	}
}

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		DYNBUF_AUTO out;

		dynbuf_init(&out, 10000);
		run(&out, rows[i].script);
		if (strcmp(dynbuf_str(&out), rows[i].want) != 0)
			fail_msg("%s:\n%s", rows[i].name, dynbuf_str(&out));
	}
}

/* Behind what is there already, which is no line of the text. */
static void
test_appends(void **state)
{
	DYNBUF_AUTO out;

	(void)state;
	dynbuf_init(&out, 1000);
	dynbuf_adds(&out, "x  ");
	run(&out, "##");
	assert_string_equal(dynbuf_str(&out), "x  ");
	run(&out, "#a");
	assert_string_equal(dynbuf_str(&out), "x  a\n");
}

/* In less room than it needs: it overflows, and nothing else happens. */
static void
test_full(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t need = strlen(rows[i].want);

		for (size_t max = 0; max < need; max++) {
			DYNBUF_AUTO out;

			dynbuf_init(&out, max);
			run(&out, rows[i].script);
			assert_true(out.overflow);
			assert_true(out.len <= max);
		}
	}
}

static void
test_levels(void **state)
{
	struct text_fill f;
	DYNBUF_AUTO out;

	(void)state;
	dynbuf_init(&out, 1000);
	text_fill_init(&f, &out);
	for (int i = 0; i < TEXT_FILL_LEVELS; i++)
		assert_true(text_fill_push(&f, "> ", "> "));
	assert_false(text_fill_push(&f, "> ", "> "));
	text_fill_pop(&f);
	assert_true(text_fill_push(&f, "> ", "> "));

	text_fill_init(&f, &out);
	assert_false(
	    text_fill_push(&f, "1234567890123456", "1234567890123456"));
	assert_true(text_fill_push(&f, "123456789012345", "123456789012345"));
	assert_true(text_fill_push(&f, "123456789012345", "123456789012345"));
	assert_false(text_fill_push(&f, "123", "123"));
	assert_true(text_fill_push(&f, "12", "12"));
	assert_false(text_fill_push(&f, "1", "1"));
}

/* Longer than allowed: words and breaks only. */
static void
test_allow(void **state)
{
	static const char script[] = ">a|*b#!c=~d|9999999 abcdefgh";
	struct text_fill f;
	DYNBUF_AUTO out;

	(void)state;
	dynbuf_init(&out, 1000);
	text_fill_init(&f, &out);
	for (const char *s = script; *s != '\0'; s++)
		step(&f, *s);
	text_fill_end(&f);
	assert_string_equal(dynbuf_str(&out),
			    "a\nb\n\nc\n\nd\n" X7 "\nabcdefgh\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),  cmocka_unit_test(test_appends),
		cmocka_unit_test(test_full),  cmocka_unit_test(test_levels),
		cmocka_unit_test(test_allow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
