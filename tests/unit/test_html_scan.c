/* SPDX-License-Identifier: MIT */
#include "policy/html_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "policy/dynbuf.h"
#include "tests/unit/html_scene.h"

#define S(s) s, sizeof(s) - 1

/* Tokens as text: T(text) R(raw text) S(tag) E(tag) C(comment) N(nothing), each
 * as it is in the input but for the tags, which are their names; "/" behind
 * a self-closing one, "!" behind what is unclosed. */
static const struct {
	const char *name;
	const char *html;
	size_t len;
	const char *want;
} rows[] = {
	{ "nothing", S(""), "" },
	{ "text", S("a b"), "T(a b)" },
	{ "a tag", S("<p>x</p>"), "S(p)T(x)E(p)" },
	{ "upper case", S("<P>x</P >"), "S(P)T(x)E(P)" },
	{ "self-closing", S("<br/><br />"), "S(br/)S(br/)" },
	{ "a slash that closes nothing", S("<br/ ><a/b>"), "S(br)S(a)" },
	{ "a slash in a value", S("<a href=x/>y"), "S(a)T(y)" },
	{ "digits in a name", S("<h1>x</h1>"), "S(h1)T(x)E(h1)" },
	{ "odd letters in a name", S("<o:p\">x"), "S(o:p\")T(x)" },
	{ "> in a value", S("<a t=\"x>y\" u='>'>z"), "S(a)T(z)" },
	{ "a quote in an unquoted value", S("<a t=it's>z"), "S(a)T(z)" },
	{ "a quote in a name", S("<a \"b>c\">z"), "S(a)T(c\">z)" },
	{ "lines in a tag", S("<a\n t\n=\n\"x\"\n>z"), "S(a)T(z)" },
	{ "no value behind =", S("<a t=>z"), "S(a)T(z)" },

	{ "< and a blank", S("1 < 2 <3"), "T(1 < 2 <3)" },
	{ "< at the end", S("a<"), "T(a<)" },
	{ "</ at the end", S("a</"), "T(a</)" },
	{ "</ and a blank", S("a</ b>c"), "T(a)N(</ b>)T(c)" },
	{ "</>", S("a</>c"), "T(a)N(</>)T(c)" },
	{ "<<", S("<<p>"), "T(<)S(p)" },
	{ "a tag cut in its name", S("a<div"), "T(a)N(<div!)" },
	{ "a tag cut at a quote", S("a<p t=\"x>y"), "T(a)N(<p t=\"x>y!)" },
	{ "an end tag with attributes", S("</p a='>'>x"), "E(p)T(x)" },
	{ "NUL", S("a\0b<p\0>c"), "T(a.b)S(p.)T(c)" },
	{ "bytes that are no UTF-8", S("\xff<p>\xfe"), "T(?)S(p)T(?)" },

	{ "comment", S("a<!-- <p> -->b"), "T(a)C(<!-- <p> -->)T(b)" },
	{ "empty comment", S("<!---->b"), "C(<!---->)T(b)" },
	{ "<!-->", S("<!-->b-->"), "C(<!-->)T(b-->)" },
	{ "<!--->", S("<!--->b"), "C(<!--->)T(b)" },
	{ "--!>", S("<!-- a --!>b"), "C(<!-- a --!>)T(b)" },
	{ "-- > does not end it", S("<!-- a -- >b-->c"),
	  "C(<!-- a -- >b-->)T(c)" },
	{ "many dashes", S("<!-----a----->b"), "C(<!-----a----->)T(b)" },
	{ "unclosed comment", S("<!-- a <p>"), "C(<!-- a <p>!)" },
	{ "nearly closed", S("<!-- a --"), "C(<!-- a --!)" },
	{ "nearly closed, too", S("<!-- a --!"), "C(<!-- a --!!)" },
	{ "a cut beginning", S("<!-"), "N(<!-!)" },
	{ "<!--", S("<!--"), "C(<!--!)" },
	{ "hidden from Outlook", S("<!--[if !mso]><!-->x<!--<![endif]-->"),
	  "C(<!--[if !mso]><!-->)T(x)C(<!--<![endif]-->)" },
	{ "for Outlook", S("<!--[if mso]><p>x</p><![endif]-->y"),
	  "C(<!--[if mso]><p>x</p><![endif]-->)T(y)" },
	{ "for others", S("<![if !mso]>x<![endif]>"),
	  "N(<![if !mso]>)T(x)N(<![endif]>)" },
	{ "doctype", S("<!DOCTYPE html>x"), "N(<!DOCTYPE html>)T(x)" },
	{ "processing", S("<?xml a=\">?>x"), "N(<?xml a=\">)T(?>x)" },
	{ "CDATA", S("<![CDATA[a>b]]>"), "N(<![CDATA[a>)T(b]]>)" },
	{ "unclosed doctype", S("<!doctype"), "N(<!doctype!)" },

	{ "style", S("<style>a>b{} <p></style>x"),
	  "S(style)R(a>b{} <p>)E(style)T(x)" },
	{ "script", S("<SCRIPT>'</p>'</script\n>x"),
	  "S(SCRIPT)R('</p>')E(script)T(x)" },
	{ "a name that only begins so", S("<style></styles></style>"),
	  "S(style)R(</styles>)E(style)" },
	{ "title", S("<title><b>&amp;</title>"),
	  "S(title)T(<b>&amp;)E(title)" },
	{ "textarea", S("<textarea><p></textarea>"),
	  "S(textarea)T(<p>)E(textarea)" },
	{ "xmp", S("<xmp><p></xmp>"), "S(xmp)R(<p>)E(xmp)" },
	{ "iframe", S("<iframe><p></iframe>"), "S(iframe)R(<p>)E(iframe)" },
	{ "noembed", S("<noembed><p></noembed>"),
	  "S(noembed)R(<p>)E(noembed)" },
	{ "noframes", S("<noframes><p></noframes>"),
	  "S(noframes)R(<p>)E(noframes)" },
	{ "noscript: scripts are off", S("<noscript><p></noscript>"),
	  "S(noscript)S(p)E(noscript)" },
	{ "empty raw text", S("<style></style>x"), "S(style)E(style)T(x)" },
	{ "raw text cut", S("<style>a</sty"), "S(style)R(a</sty!)" },
	{ "raw text cut behind the name", S("<style>a</style"),
	  "S(style)R(a</style!)" },
	{ "nothing behind <style>", S("<style>"), "S(style)" },
	{ "self-closing is nothing to it", S("<style/>a</style>"),
	  "S(style/)R(a)E(style)" },
	{ "plaintext", S("<plaintext>a</plaintext>"),
	  "S(plaintext)R(a</plaintext>!)" },
	{ "the end of another", S("<title></style></title>"),
	  "S(title)T(</style>)E(title)" },
	{ "its end tag without it", S("</style>a"), "E(style)T(a)" },
};

static void
describe(struct dynbuf *out, const struct html_token *t)
{
	static const char letters[] = {
		[HTML_TEXT] = 'T',	[HTML_RAW_TEXT] = 'R',
		[HTML_START_TAG] = 'S', [HTML_END_TAG] = 'E',
		[HTML_COMMENT] = 'C',	[HTML_NOTHING] = 'N',
	};
	bool tag = t->kind == HTML_START_TAG || t->kind == HTML_END_TAG;
	const char *s = tag ? t->name : t->s;
	size_t len = tag ? t->name_len : t->len;

	dynbuf_addf(out, "%c(", letters[t->kind]);
	for (size_t i = 0; i < len; i++)
		dynbuf_addf(out, "%c",
			    s[i] == '\0'		 ? '.'
			    : (unsigned char)s[i] > 0x7f ? '?'
							 : s[i]);
	dynbuf_addf(out, "%s%s)", t->self_closing ? "/" : "",
		    t->unclosed ? "!" : "");
}

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *html = scene_exact(rows[i].html, rows[i].len);
		const char *at = html;
		struct html_scan scan;
		struct html_token t;
		DYNBUF_AUTO out;

		dynbuf_init(&out, 1000);
		html_scan_init(&scan, html, rows[i].len);
		while (html_scan_next(&scan, &t)) {
			assert_ptr_equal(t.s, at);
			assert_true(t.len > 0);
			at += t.len;
			describe(&out, &t);
		}
		assert_ptr_equal(at, html + rows[i].len);
		if (strcmp(dynbuf_str(&out), rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, dynbuf_str(&out));
		free(html);
	}
}

/* The attributes a, b and c of the first tag: name=value, with its quote;
 * "-" for one that is not there. */
static const struct {
	const char *html;
	const char *want;
} attrs[] = {
	{ "<x>", "- - -" },
	{ "<x a=1>", "a=1 - -" },
	{ "<x a='1' b=\"2\" c=3>", "a='1' b=\"2\" c=3" },
	{ "<x a b= c>", "a b=c -" },
	{ "<x a b=>", "a b -" },
	{ "<x a=''>", "a='' - -" },
	{ "<x A=Q>", "a=Q - -" },
	{ "<x a=1 a=2>", "a=1 - -" },
	{ "<x a a=2>", "a - -" },
	{ "<x aa=1 a=2>", "a=2 - -" },
	{ "<x d=1 b=2>", "- b=2 -" },
	{ "<x\ta\n=\r'1'b=2/c>", "a='1' b=2/c -" },
	{ "<x/a/b/c>", "a b c" },
	{ "<x a/=1>", "a - -" },
	{ "<x =a=1 b=2>", "- b=2 -" },
	{ "<x a='b=1' c=\"'\">", "a='b=1' - c=\"'\"" },
	{ "<x a=b=c>", "a=b=c - -" },
	{ "<x a=\"1\"b>", "a=\"1\" b -" },
	{ "<x a=&amp;>", "a=&amp; - -" },
	{ "<x a=1/>", "a=1/ - -" },
	{ "<x a=1 />", "a=1 - -" },
	{ "<x a=>b=1>", "a - -" },
	{ "<x a==1>", "a==1 - -" },
};

static void
test_attributes(void **state)
{
	static const char *const names[] = { "a", "b", "c" };

	(void)state;
	for (size_t i = 0; i < sizeof(attrs) / sizeof(attrs[0]); i++) {
		size_t len = strlen(attrs[i].html);
		char *html = scene_exact(attrs[i].html, len);
		struct html_scan scan;
		struct html_token t;
		struct html_attr found[3];
		DYNBUF_AUTO out;

		dynbuf_init(&out, 1000);
		html_scan_init(&scan, html, len);
		assert_true(html_scan_next(&scan, &t));
		assert_int_equal(t.kind, HTML_START_TAG);
		html_token_attrs(&t, names, 3, found);
		for (size_t k = 0; k < 3; k++) {
			const struct html_attr *a = &found[k];
			char quote[2] = { a->quote, 0 };

			dynbuf_addf(&out, "%s%s", k > 0 ? " " : "",
				    a->name != NULL ? names[k] : "-");
			if (a->has_value)
				dynbuf_addf(&out, "=%s%.*s%s", quote,
					    (int)a->value_len, a->value, quote);
		}
		if (strcmp(dynbuf_str(&out), attrs[i].want) != 0)
			fail_msg("%s: %s", attrs[i].html, dynbuf_str(&out));
		free(html);
	}
}

static void
test_is(void **state)
{
	(void)state;
	assert_true(html_is("DiV", 3, "div"));
	assert_false(html_is("div", 2, "div"));
	assert_false(html_is("divs", 4, "div"));
	assert_false(html_is("div\0x", 5, "div"));
	assert_false(html_is("", 0, "div"));
}

static size_t
scan_all(const char *html, size_t len)
{
	static const char *const names[] = { "href", "style" };
	struct html_scan scan;
	struct html_token t;
	struct html_attr found[2];
	size_t n = 0;

	html_scan_init(&scan, html, len);
	while (html_scan_next(&scan, &t)) {
		if (t.kind == HTML_START_TAG)
			html_token_attrs(&t, names, 2, found);
		n++;
	}
	return n;
}

static void
test_linear(void **state)
{
	(void)state;
	scene_check_linear(scan_all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_is),
		cmocka_unit_test(test_linear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
