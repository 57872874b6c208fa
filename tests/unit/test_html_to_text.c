/* SPDX-License-Identifier: MIT */
#include "policy/html_to_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "policy/dynbuf.h"
#include "policy/utf8.h"
#include "tests/unit/html_scene.h"

#define RULE "----------------------------------------"
#define NB "\xc2\xa0"
#define X60 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct {
	const char *name;
	const char *html;
	const char *want;
} rows[] = {
	{ "nothing", "", "" },
	{ "nothing shown", "<p> </p><br><hr><img src=x><!-- x -->", "" },
	{ "text", "a", "a\n" },
	{ "white space", " a\n\t b  c\f\r\n", "a b c\n" },
	{ "no-break spaces", "a&nbsp;&nbsp; b" NB "c", "a b c\n" },
	{ "spaces of Unicode",
	  "a\xe2\x80\x83"
	  "b\xe3\x80\x80"
	  "c",
	  "a b c\n" },
	{ "references", "&lt;&amp;&#8364;&copy", "<&\xe2\x82\xac\xc2\xa9\n" },
	{ "not decoded twice", "&amp;lt;", "&lt;\n" },
	{ "inline elements", "a<b>b</b>c <i>d</i>\n<span>e</span>",
	  "abc d e\n" },
	{ "unknown elements", "a<o:p>b</o:p><verylongelementname>c", "abc\n" },
	{ "controls",
	  "a\x01"
	  "b\x7f"
	  "c\xc2\x81"
	  "d",
	  "abcd\n" },
	{ "no UTF-8",
	  "a\xff"
	  "b\xc3",
	  "a\xef\xbf\xbd"
	  "b\xef\xbf\xbd\n" },
	{ "< in text", "1 < 2 <3", "1 < 2 <3\n" },

	/* without a width */
	{ "zero width",
	  "a&#8203;b\xef\xbb\xbf"
	  "c&shy;d&#847;e&#8206;f&#8288;g",
	  "abcdefg\n" },
	{ "what fills a preview",
	  "a&zwnj;&nbsp;&zwnj;&nbsp;&#847;&zwnj;&#8199;b", "a b\n" },
	{ "joiners between letters of ASCII", "a&zwnj;b&zwj;c", "abc\n" },
	{ "a joiner in an emoji", "\xf0\x9f\x91\xa9&zwj;\xf0\x9f\x92\xbb",
	  "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb\n" },
	{ "a non-joiner in Persian",
	  "\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae\xd9\x88",
	  "\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae\xd9\x88\n" },
	{ "a joiner at a blank", "\xd9\x85&zwnj; \xd9\x85",
	  "\xd9\x85 \xd9\x85\n" },

	/* never shown */
	{ "head",
	  "<html><head><title>t &amp;</title><meta a><style>s</style>"
	  "<script>c</script></head><body>b</body></html>",
	  "b\n" },
	{ "a head that is not closed", "<head><title>t</title><body>b", "b\n" },
	{ "no head", "<title>t</title><p>b", "b\n" },
	{ "comments", "a<!-- <p>x</p> --><!--[if mso]>y<![endif]-->b", "ab\n" },
	{ "for all but Outlook", "<!--[if !mso]><!-->a<!--<![endif]-->",
	  "a\n" },
	{ "template, svg, iframe, audio",
	  "a<template><p>x</template><svg><text>x</text></svg>"
	  "<iframe>x</iframe><audio>x</audio>b",
	  "ab\n" },
	{ "noscript is shown", "<noscript>a</noscript>", "a\n" },
	{ "textarea, xmp", "<textarea> a\n<b></textarea><xmp>&lt;<b></xmp>",
	  " a\n<b>\n\n&lt;<b>\n" },

	/* hidden */
	{ "hidden", "a<div hidden>x</div>b", "ab\n" },
	{ "display:none", "a<p style='display:none'>x<b>x</b>x</p>b", "ab\n" },
	{ "a preheader",
	  "<div style='display:none;font-size:1px;max-height:0;overflow:hidden;"
	  "mso-hide:all'>x &zwnj;&nbsp;</div>a",
	  "a\n" },
	{ "hidden within hidden", "<div hidden>x<div hidden>x</div>x</div>a",
	  "a\n" },
	{ "of the same name in it", "<div hidden>x<div>x</div>x</div>a",
	  "a\n" },
	{ "a hidden link, list and heading",
	  "a<div hidden><a href=http://x>x</a><ul><li>x</ul><h1>x</h1><br><hr>"
	  "<img alt=x><pre>x</pre><table><tr><td>x</table></div>b",
	  "ab\n" },
	{ "a hidden image", "a<img alt=x style='display:none'>b", "ab\n" },
	{ "a hidden rule", "a<hr hidden>b", "ab\n" },
	{ "a button that only Outlook does not show",
	  "<a style='mso-hide:all' href=http://x>a</a>", "a (http://x)\n" },
	{ "hidden paragraphs that are not closed", "<p hidden>x<p>a", "a\n" },
	{ "a hidden paragraph, closed by a block", "<p hidden>x<div>a</div>",
	  "a\n" },
	{ "hidden items that are not closed", "<ul><li hidden>x<li>a</ul>",
	  "* a\n" },
	{ "hidden cells that are not closed",
	  "<table><tr><td hidden>x<td>a<tr hidden><td>x<tr><td>b</table>",
	  "a\nb\n" },
	{ "hidden, closed by its parent",
	  "<table><tr><td><div hidden>x</td><td>a</table>b", "a\n\nb\n" },
	{ "hidden to the end", "a<div hidden>x", "a\n" },
	{ "unclosed in hidden", "<span hidden><font>x</span>a", "a\n" },

	{ "a font without size", "<div style='font-size:0'>x</div>a", "a\n" },
	{ "the way out of it",
	  "<td style='font-size:0px'> x <div style='font-size:13px'>a <b>b</b>"
	  "</div>x</td>",
	  "a b\n" },
	{ "a shorthand out of it",
	  "<td style='font-size:0'><p style='font:14px/1 A'>a</p></td>",
	  "a\n" },
	{ "a relative size is no way out",
	  "<td style='font-size:0'>a<p style='font-size:2em'>b</p></td>c",
	  "c\n" },
	{ "a class or <font size> may be one",
	  "<td style='font-size:0'>x<p class=c>a</p><font size=2>b</font></td>",
	  "a\n\nb\n" },
	{ "a picture and its link in it",
	  "<td style='font-size:0'><a href=http://x><img alt=a></a></td>",
	  "a (http://x)\n" },
	{ "a link in it",
	  "<td style='font-size:0'><a href=http://x>"
	  "<b style='font-size:9px'>a</b></a></td>",
	  "a (http://x)\n" },

	/* blocks */
	{ "paragraphs", "<p>a</p><p>b</p>", "a\n\nb\n" },
	{ "paragraphs that are not closed", "<p>a<p>b<div>c", "a\n\nb\n\nc\n" },
	{ "an end without a begin", "a</p>b", "a\n\nb\n" },
	{ "other ends without a begin", "a</div></b></td></ul></h1>b", "ab\n" },
	{ "divs", "<div>a</div><div><div>b</div></div>c", "a\nb\nc\n" },
	{ "an empty paragraph", "<p>a</p><p>&nbsp;</p><p></p><p>b</p>",
	  "a\n\nb\n" },
	{ "br", "a<br>b<br/>c</br>d<BR>", "a\nb\nc\nd\n" },
	{ "br twice and more", "a<br><br>b<br> <br><br><br>c",
	  "a\n\nb\n\nc\n" },
	{ "an empty line of an editor", "<div>a</div><div><br></div><div>b",
	  "a\n\nb\n" },
	{ "br at the end of a paragraph", "<p>a<br></p><p>b</p>", "a\n\nb\n" },
	{ "hr", "a<hr>b", "a\n\n" RULE "\n\nb\n" },
	{ "hr at the ends and twice", "<hr>a<hr><hr>b<hr>",
	  "a\n\n" RULE "\n\nb\n" },
	{ "h1", "a<h1>b <i>c</i></h1>d", "a\n\nb c\n===\n\nd\n" },
	{ "h2", "<h2>a&euro;</h2>d", "a\xe2\x82\xac\n--\n\nd\n" },
	{ "h3", "a<h3>b</h3>c", "a\n\nb\n\nc\n" },
	{ "headings in a row", "<h1>a<h2>b</h1>c", "a\n=\n\nb\n-\n\nc\n" },
	{ "an empty heading", "a<h1> <img></h1>b", "a\n\nb\n" },
	{ "a paragraph in a heading", "<h1><p>ab</p></h1>c", "ab\n==\n\nc\n" },
	{ "a heading of lines", "<h2>a<br>bcd<br>e</h2>", "a\nbcd\ne\n---\n" },
	{ "quotation", "a<blockquote>b<p>c</p></blockquote>d",
	  "a\n\n> b\n>\n> c\n\nd\n" },
	{ "nested quotations",
	  "<blockquote>a<blockquote>b</blockquote>c</blockquote>",
	  "> a\n>\n> > b\n>\n> c\n" },
	{ "pre", "a<pre>\n b  c\n\td\n\n\n&lt;e  \n</pre>f  g",
	  "a\n\n b  c\n\td\n\n\n<e\n\nf g\n" },
	{ "pre with markup", "<pre>a <b>b</b>\r\n<br>c" NB "d</pre>",
	  "a b\n\nc d\n" },
	{ "pre in a quotation", "<blockquote><pre>a\n b</pre></blockquote>",
	  "> a\n>  b\n" },

	/* lists */
	{ "ul", "a<ul><li>b</li><li>c</li></ul>d", "a\n\n* b\n* c\n\nd\n" },
	{ "items that are not closed", "<ul>\n<li>a\n<li>b\n</ul>",
	  "* a\n* b\n" },
	{ "ol", "<ol><li>a<li>b</ol>", "1. a\n2. b\n" },
	{ "ol with a start", "<ol start='9'><li>a<li>b<br>c</ol>",
	  "9. a\n10. b\n    c\n" },
	{ "ol with a start that is none",
	  "<ol start=x><li>a</ol>"
	  "<ol start=-2><li>a</ol><ol start=99999999><li>a</ol>",
	  "1. a\n\n1. a\n\n999999. a\n" },
	{ "two lists", "<ol><li>a</ol><ol><li>b</ol>", "1. a\n\n1. b\n" },
	{ "nested lists",
	  "<ul><li>a<ol><li>b<li>c<ul><li>d</ul></ol><li>e</ul>",
	  "* a\n  1. b\n  2. c\n     * d\n* e\n" },
	{ "a list outside of an item", "<ul><li>a</li><ul><li>b</ul></ul>",
	  "* a\n  * b\n" },
	{ "paragraphs in items",
	  "<ul><li><p>a</p><p>b</p></li><li><p>c</p></ul>",
	  "* a\n\n  b\n\n* c\n" },
	{ "items without a list", "<li>a<li>b", "* a\n* b\n" },
	{ "an empty item", "<ul><li></li><li>a</ul>", "* a\n" },
	{ "a list in a table in an item",
	  "<ul><li>a<table><tr><td><ul><li>b</ul></table><li>c</ul>",
	  "* a\n\n  * b\n\n* c\n" },
	{ "dl", "<dl><dt>a<dd>b<dt>c</dt><dd>d<br>e</dd></dl>f",
	  "a\n  b\nc\n  d\n  e\n\nf\n" },

	/* tables */
	{ "a table",
	  "a<table><tr><td>b</td><td>c</td></tr>"
	  "<tr><td>d</td><td>e</td></tr></table>f",
	  "a\n\nb  c\nd  e\n\nf\n" },
	{ "nothing closed", "<table><tr><td>a<td>b<tr><td>c<td>d</table>",
	  "a  b\nc  d\n" },
	{ "head, body, foot",
	  "<table><caption>t</"
	  "caption><thead><tr><th>a<th>b<tbody><tr><td>c<td>d"
	  "<tfoot><tr><td>e<td>f</table>",
	  "t\na  b\nc  d\ne  f\n" },
	{ "white space between cells",
	  "<table>\n <tr>\n <td> a </td>\n <td>\n b</td>\n </tr>\n</table>",
	  "a  b\n" },
	{ "a long cell",
	  "<table><tr><td>" X60 "<td>b<tr><td>c<td>" X60 "</table>",
	  X60 "\nb\nc  " X60 "\n" },
	{ "empty cells",
	  "<table><tr><td>a<td><td>b<tr><td><td>c<tr><td>&nbsp;<td>d</table>",
	  "a  b\nc\nd\n" },
	{ "paragraphs in cells, as Outlook writes them",
	  "<table><tr><td><p>a</p></td><td><p>b</p></td></tr>"
	  "<tr><td><p>c</p></td><td><div>d</div></td></tr></table>",
	  "a  b\nc  d\n" },
	{ "a row of one cell is a paragraph",
	  "<table><tr><td><p>a</p></td></tr><tr><td><p>b</p></td></tr></table>",
	  "a\n\nb\n" },
	{ "rows of one cell", "<table><tr><td>a<tr><td>b</table>", "a\nb\n" },
	{ "a cell of several lines",
	  "<table><tr><td>a<br>b<td>c<tr><td>d<td>e</table>",
	  "a\nb\nc\nd  e\n" },
	{ "columns of paragraphs",
	  "<table><tr><td><p>a</p><p>b</p></td><td><p>c</p></td></tr></table>",
	  "a\n\nb\n\nc\n" },
	{ "a long cell and another",
	  "<table><tr><td><p>" X60 "</p><td><p>b</p></table>", X60 "\n\nb\n" },
	{ "a layout",
	  "<table><tr><td><table><tr><td>a</td></tr></table></td>"
	  "<td><table><tr><td>b</td></tr></table></td></tr></table>",
	  "a\n\nb\n" },
	{ "a heading or a list in a cell stands alone",
	  "<table><tr><td><h3>a</h3><td>b<td><ul><li>c</ul><td>d</table>",
	  "a\n\nb\n\n* c\n\nd\n" },
	{ "cells without a table", "<td>a<td>b", "a  b\n" },
	{ "what is in a cell cannot close what is around it",
	  "<div>a<table><tr><td>b</div></span></p>c</table>", "a\n\nb\n\nc\n" },

	/* links */
	{ "a link", "<a href=\"http://x/?a=1&amp;b=2\">a b</a> c",
	  "a b (http://x/?a=1&b=2) c\n" },
	{ "and punctuation", "<a href=http://x>a</a>, b", "a (http://x), b\n" },
	{ "with blanks in it", "a <a href=http://x> b </a> c",
	  "a b (http://x) c\n" },
	{ "with a block in it", "<a href=http://x><div>a</div></a>b",
	  "a (http://x)\nb\n" },
	{ "around blocks in a paragraph",
	  "<p><a href=http://x><div>a</div></a></p>b", "a (http://x)\n\nb\n" },
	{ "the text is the URL", "<a href=http://x/y>http://x/y</a>",
	  "http://x/y\n" },
	{ "but for its scheme, its slash and its case",
	  "<a href=https://www.X.example/>www.x.example</a>",
	  "www.x.example\n" },
	{ "nearly", "<a href=http://x/y>x/yz</a>", "x/yz (http://x/y)\n" },
	{ "mailto, the same", "<a href='mailto:a@x?subject=y'>a@x</a>",
	  "a@x\n" },
	{ "mailto, another", "<a href='mailto:a@x?subject=y'>us</a>",
	  "us (a@x)\n" },
	{ "tel", "<a href='tel:+123'>call</a>", "call (+123)\n" },
	{ "anchor, relative, javascript, empty, none",
	  "<a href='#a'>a</a><a href='/b'>b</a><a href='javascript:x'>c</a>"
	  "<a href=''>d</a><a name=x>e</a><a href='mailto:'>f</a>"
	  "<a href='http://'>g</a><a href='mailto:?subject=x'>h</a>",
	  "abcdefgh\n" },
	{ "no text", "a<a href=http://x></a><a href=http://y> </a>b", "a b\n" },
	{ "a picture", "<a href=http://x><img src=y alt='a &amp; b'></a>c",
	  "a & b (http://x) c\n" },
	{ "a picture without text", "<a href=http://x><img src=y></a>c",
	  "(http://x)c\n" },
	{ "a pixel", "<a href=http://x><img width=0 height=0></a>c", "c\n" },
	{ "a link that is not closed", "<a href=http://x>a<a href=http://y>b",
	  "a (http://x)b (http://y)\n" },
	{ "closed by its cell",
	  "<table><tr><td><a href=http://x>a<td>b</table>",
	  "a (http://x)  b\n" },
	{ "blanks and lines in a URL", "<a href=' http://x/a b\n&nbsp;c'>a</a>",
	  "a (http://x/a%20b%20c)\n" },
	{ "what turns the writing round", "a&#x202e;b&#x202c;c&#xfffa;",
	  "abc\n" },
	{ "invisible ones in a URL", "<a href='http://x/&zwnj;&shy;a'>a</a>",
	  "a (http://x/\xe2\x80\x8c"
	  "a)\n" },
	{ "the first href", "<a href=http://x href=http://y>a</a>",
	  "a (http://x)\n" },
	{ "a URL is not broken", "a <a href=http://" X60 "/" X60 ">b</a> c",
	  "a b\n(http://" X60 "/" X60 ")\nc\n" },
	{ "in a heading", "<h2><a href=http://x>a</a></h2>",
	  "a (http://x)\n------------\n" },

	/* images */
	{ "alt", "a<img alt='b&lt;'>c<img alt=d><img alt=e>", "a b< c d e\n" },
	{ "no alt", "a<img src=x><img alt>b", "ab\n" },
	{ "no size", "a<img width=0 alt=x><img style='height:0' alt=x>b",
	  "ab\n" },

	/* lines */
	{ "a long line", "<p>" X60 " aaaa bbbb cccc dddd eeee",
	  X60 " aaaa bbbb cccc\ndddd eeee\n" },
	{ "a no-break space is a blank", X60 " aaaa bbbb cccc&nbsp;dddd",
	  X60 " aaaa bbbb cccc\ndddd\n" },
	{ "columns are letters, not bytes",
	  X60 " &eacute;&eacute;&eacute;&eacute;&eacute;&eacute;&eacute;"
	      "&eacute;&eacute;&eacute;&eacute;&eacute;&eacute;&eacute;&eacute;"
	      "&eacute;&eacute; b",
	  X60 " \xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
	      "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
	      "\xc3\xa9\xc3\xa9\nb\n" },
	{ "Chinese, without blanks",
	  "<p>" X60 "xxxxxxxxxxxxxxx"
	  "\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2",
	  X60 "xxxxxxxxxxxxxxx"
	      "\xe6\xbc\xa2\n\xe5\xad\x97\xe6\xbc\xa2\n" },
	{ "not before its full stop",
	  "<p>" X60 "xxxxxxxxxxxxxxx"
	  "\xe6\xbc\xa2\xe3\x80\x82\xe6\xbc\xa2",
	  X60 "xxxxxxxxxxxxxxx\n"
	      "\xe6\xbc\xa2\xe3\x80\x82\xe6\xbc\xa2\n" },

	/* cut */
	{ "a cut tag", "a<p", "a\n" },
	{ "an unclosed comment", "a<!-- b", "a\n" },
	{ "an unclosed quote", "a<p title='b>c", "a\n" },
	{ "an unclosed style", "a<style>b", "a\n" },
};

static void
check(const char *name, const char *html, size_t len, const char *want)
{
	char *exact = scene_exact(html, len);
	DYNBUF_AUTO out;

	dynbuf_init(&out, HTML_TO_TEXT_MAX(len));
	assert_true(html_to_text(&out, exact, len));
	if (strcmp(dynbuf_str(&out), want) != 0)
		fail_msg("%s:\n%s", name, dynbuf_str(&out));
	free(exact);
}

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check(rows[i].name, rows[i].html, strlen(rows[i].html),
		      rows[i].want);
}

static void
test_nul(void **state)
{
	static const char html[] = "a\0b<p\0>c<\0p>d&\0e<a\0b";

	(void)state;
	check("NULs", html, sizeof(html) - 1, "abc<p>d&e\n");
}

static void
test_full(void **state)
{
	static const char html[] = "<h1>a</h1><p>b <a href=http://x>c</a>"
				   "<ul><li>d</ul>";
	static const char want[] = "a\n=\n\nb c (http://x)\n\n* d\n";

	(void)state;
	for (size_t max = 0; max <= strlen(want); max++) {
		DYNBUF_AUTO out;
		bool ok;

		dynbuf_init(&out, max);
		ok = html_to_text(&out, html, strlen(html));
		assert_int_equal(ok, max == strlen(want));
		assert_int_equal(out.overflow, !ok);
	}
}

/* Elements up to the bound have their form, those beyond have none, and what
 * follows has its form again. */
static void
test_depth(void **state)
{
	static const struct {
		size_t around;
		const char *want;
	} v[] = {
		{ HTML_DEPTH_MAX - 2, "* a\n\nb\n\n* c\n" },
		{ HTML_DEPTH_MAX - 1, "a\n\nb\n\n* c\n" },
		{ HTML_DEPTH_MAX, "a\n\nb\n\n* c\n" },
		{ 10 * HTML_DEPTH_MAX, "a\n\nb\n\n* c\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		DYNBUF_AUTO html;

		dynbuf_init(&html, 100000);
		for (size_t k = 0; k < v[i].around; k++)
			dynbuf_adds(&html, "<b>");
		dynbuf_adds(&html, "<ul><li>a</li></ul><style>x</style>");
		for (size_t k = 0; k < v[i].around; k++)
			dynbuf_adds(&html, "</b>");
		dynbuf_adds(&html, "<p>b</p><ul><li>c</ul>");
		check("depth", html.data, html.len, v[i].want);
	}
}

static void
test_long_url(void **state)
{
	DYNBUF_AUTO html;

	(void)state;
	dynbuf_init(&html, 100000);
	dynbuf_adds(&html, "<a href=http://");
	for (int i = 0; i < 50; i++)
		dynbuf_adds(&html, X60);
	dynbuf_adds(&html, ">a</a>");
	check("long URL", html.data, html.len, "a\n");
}

/* In less than was promised, and valid. */
static size_t
convert(const char *html, size_t len)
{
	DYNBUF_AUTO out;

	dynbuf_init(&out, HTML_TO_TEXT_MAX(len));
	assert_true(html_to_text(&out, html, len));
	assert_int_equal(utf8_valid_prefix(dynbuf_str(&out), out.len), out.len);
	return out.len;
}

static void
test_linear(void **state)
{
	(void)state;
	scene_check_linear(convert);
}

static void
test_bound(void **state)
{
	(void)state;
	for (size_t i = 0; i < scene_n_hostile; i++) {
		for (size_t len = 1; len < 10000; len = len * 3 + 1) {
			size_t n;
			char *html =
			    scene_make_hostile(&scene_hostile[i], len, &n);

			(void)convert(html, n);
			free(html);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),	 cmocka_unit_test(test_nul),
		cmocka_unit_test(test_full),	 cmocka_unit_test(test_depth),
		cmocka_unit_test(test_long_url), cmocka_unit_test(test_linear),
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
