/* SPDX-License-Identifier: MIT */
#include "policy/html_links.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "policy/dynbuf.h"
#include "tests/unit/html_scene.h"

/* "[" and the URL and "]": what fn was given is seen. */
static bool
bracket(void *arg, const char *url, size_t len, struct dynbuf *new_url)
{
	(void)arg;
	assert_int_equal(new_url->len, 0);
	return dynbuf_adds(new_url, "[") && dynbuf_add(new_url, url, len) &&
	       dynbuf_adds(new_url, "]");
}

static bool
leave(void *arg, const char *url, size_t len, struct dynbuf *new_url)
{
	(void)arg;
	(void)url;
	(void)len;
	dynbuf_adds(new_url, "not this");
	return false;
}

#define SAME NULL

static const struct {
	const char *name;
	const char *html;
	const char *want;
} rows[] = {
	{ "nothing", "", "" },
	{ "no links", "<p>a &amp; b", SAME },
	{ "a link", "<a href=\"http://x/\">y</a>",
	  "<a href=\"[http://x/]\">y</a>" },
	{ "https, single quotes", "<a href='https://x/'>",
	  "<a href='[https://x/]'>" },
	{ "no quotes", "<a href=http://x/ b=c>",
	  "<a href=\"[http://x/]\" b=c>" },
	{ "no quotes, the last", "<a href=http://x/>",
	  "<a href=\"[http://x/]\">" },
	{ "the tag's other bytes stay",
	  "<A  CLASS=a&b\nHREF =\n\"http://x\" Id='1'/>",
	  "<A  CLASS=a&b\nHREF =\n\"[http://x]\" Id='1'/>" },
	{ "area", "<area href='http://x'>", "<area href='[http://x]'>" },
	{ "two", "<a href='http://x'><a href='http://y'>z",
	  "<a href='[http://x]'><a href='[http://y]'>z" },
	{ "decoded, and escaped again", "<a href='http://x?a=1&amp;b&copy=2'>",
	  "<a href='[http://x?a=1&amp;b&amp;copy=2]'>" },
	{ "quotes of the other kind", "<a href='http://x?\"'>",
	  "<a href='[http://x?&quot;]'>" },
	{ "a quote of its own kind", "<a href='http://x?&#39;&apos;a'>",
	  "<a href='[http://x?&#39;&#39;a]'>" },
	{ "a single quote in double ones", "<a href=\"http://x?'\">",
	  "<a href=\"[http://x?']\">" },
	{ "< and > are escaped", "<a href=\"http://x?<>\">",
	  "<a href=\"[http://x?&lt;&gt;]\">" },
	{ "white space around it and lines in it",
	  "<a href=\"\n http://x/\n\ta \">", "<a href=\"[http://x/a]\">" },
	{ "any case", "<a href='HTTPS://X'>", "<a href='[HTTPS://X]'>" },
	{ "a reference in its scheme", "<a href='&#104;ttp://x'>",
	  "<a href='[http://x]'>" },
	{ "UTF-8", "<a href='http://x/\xc3\xa9'>",
	  "<a href='[http://x/\xc3\xa9]'>" },
	{ "the first href counts", "<a href='http://x' href='http://y'>",
	  "<a href='[http://x]' href='http://y'>" },
	{ "a first one that is none", "<a href='#' href='http://y'>", SAME },

	{ "mailto", "<a href='mailto:a@x?subject=http://y'>", SAME },
	{ "tel", "<a href='tel:1'>", SAME },
	{ "anchor", "<a href='#http://x'>", SAME },
	{ "relative", "<a href='/a'><a href='a.html'><a href='//x/'>", SAME },
	{ "javascript", "<a href='javascript:x'>", SAME },
	{ "empty", "<a href=''><a href><a href=><a>", SAME },
	{ "http without slashes", "<a href='http:x'>", SAME },
	{ "cid", "<a href='cid:http://x'>", SAME },
	{ "only a beginning", "<a href='http:/'>", SAME },
	{ "another attribute", "<a title='http://x' xhref='http://x'>", SAME },
	{ "another element",
	  "<link href='http://x'><base href='http://x'>"
	  "<abbr href='http://x'><img src='http://x'>",
	  SAME },
	{ "an end tag", "</a href='http://x'>", SAME },
	{ "text", "http://x href='http://x' < a href='http://x'>", SAME },
	{ "a comment", "<!-- <a href='http://x'> -->", SAME },
	{ "a comment for Outlook",
	  "<!--[if mso]><a href='http://x'><![endif]-->", SAME },
	{ "not a comment for the others",
	  "<!--[if !mso]><!--><a href='http://x'><!--<![endif]-->",
	  "<!--[if !mso]><!--><a href='[http://x]'><!--<![endif]-->" },
	{ "a script", "<script>'<a href=\"http://x\">'</script>", SAME },
	{ "a style", "<style><a href='http://x'></style>", SAME },
	{ "a title", "<title><a href='http://x'></title>", SAME },
	{ "an unclosed tag", "a<a href='http://x'", SAME },
	{ "an unclosed quote", "a<a href='http://x>y</a>", SAME },
	{ "within another value", "<p t=\"<a href='http://x'>\">", SAME },

	{ "SparkPost's opt-out",
	  "<a data-msys-clicktrack=\"0\" href='http://x'>"
	  "<a href='http://x' DATA-MSYS-CLICKTRACK=0>",
	  SAME },
	{ "SparkPost's, not out", "<a data-msys-clicktrack=1 href='http://x'>",
	  "<a data-msys-clicktrack=1 href='[http://x]'>" },
	{ "SendGrid's opt-out", "<a clicktracking=OFF href='http://x'>", SAME },
	{ "SendGrid's, not out", "<a clicktracking=on href='http://x'>",
	  "<a clicktracking=on href='[http://x]'>" },
	{ "the opt-out of another link",
	  "<a clicktracking=off href='http://x'><a href='http://y'>",
	  "<a clicktracking=off href='http://x'><a href='[http://y]'>" },
};

static void
check(const char *name, const char *html, html_link_fn *fn, const char *want)
{
	size_t len = strlen(html);
	char *exact = scene_exact(html, len);
	DYNBUF_AUTO out;

	dynbuf_init(&out, 1000);
	dynbuf_adds(&out, "^");
	assert_true(html_links(&out, exact, len, fn, NULL));
	if (strcmp(dynbuf_str(&out) + 1, want) != 0)
		fail_msg("%s: %s", name, dynbuf_str(&out));
	free(exact);
}

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *html = rows[i].html, *want = rows[i].want;

		check(rows[i].name, html, bracket, want ? want : html);
		check(rows[i].name, html, leave, html);
	}
}

static void
check_long(size_t url_len, bool rewritten)
{
	size_t len = url_len + strlen("<a href=''>");
	char *html = malloc(len);
	DYNBUF_AUTO out;

	assert_non_null(html);
	memcpy(html, "<a href='", 9);
	memset(html + 9, 'x', url_len);
	memcpy(html + 9, "http://", 7);
	memcpy(html + 9 + url_len, "'>", 2);
	dynbuf_init(&out, 100000);
	assert_true(html_links(&out, html, len, bracket, NULL));
	assert_int_equal(out.len, len + (rewritten ? 2 : 0));
	free(html);
}

static void
test_long_url(void **state)
{
	(void)state;
	check_long(HTML_LINK_MAX, true);
	check_long(HTML_LINK_MAX + 1, false);
}

static void
test_full(void **state)
{
	static const char html[] = "a<a href=http://x?'&>b";
	static const char want[] = "a<a href=\"[http://x?'&amp;]\">b";

	(void)state;
	for (size_t max = 0; max <= strlen(want); max++) {
		DYNBUF_AUTO out;
		bool ok;

		dynbuf_init(&out, max);
		ok = html_links(&out, html, strlen(html), bracket, NULL);
		assert_int_equal(ok, max == strlen(want));
		assert_int_equal(out.overflow, !ok);
	}
}

#define PIXEL                                                              \
	"<img src=\"http://p?a&amp;b\" width=\"1\" height=\"1\" alt=\"\" " \
	"style=\"display:block;border:0;width:1px;height:1px\">"

static const struct {
	const char *html;
	const char *want;
} pixels[] = {
	{ "", PIXEL },
	{ "a", "a" PIXEL },
	{ "<body>a</body></html>\n", "<body>a" PIXEL "</body></html>\n" },
	{ "<BODY>a</BODY >", "<BODY>a" PIXEL "</BODY >" },
	{ "a</html>\n", "a" PIXEL "</html>\n" },
	{ "a</html></body>", "a</html>" PIXEL "</body>" },
	{ "a</body>b</body>c", "a</body>b" PIXEL "</body>c" },
	{ "a</html>b</html>c", "a</html>b" PIXEL "</html>c" },
	{ "a<!-- </body> -->b", "a<!-- </body> -->b" PIXEL },
	{ "a</body><!-- </body> -->", "a" PIXEL "</body><!-- </body> -->" },
	{ "a<script>'</body>'</script>", "a<script>'</body>'</script>" PIXEL },
	{ "a<p t='</body>'>", "a<p t='</body>'>" PIXEL },
	{ "<body>a", "<body>a" PIXEL },
	{ "a<!-- b", "a" PIXEL "<!-- b" },
	{ "<p>a<p title=\"b", "<p>a" PIXEL "<p title=\"b" },
	{ "a<style>b", "a" PIXEL "<style>b" },
	{ "a</body><!-- b", "a" PIXEL "</body><!-- b" },
};

static void
test_pixel(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(pixels) / sizeof(pixels[0]); i++) {
		size_t len = strlen(pixels[i].html);
		char *html = scene_exact(pixels[i].html, len);

		for (size_t max = 0; max <= strlen(pixels[i].want); max++) {
			DYNBUF_AUTO out;
			bool ok;

			dynbuf_init(&out, max);
			ok = html_add_pixel(&out, html, len, "http://p?a&b");
			assert_int_equal(ok, max == strlen(pixels[i].want));
			if (ok)
				assert_string_equal(dynbuf_str(&out),
						    pixels[i].want);
		}
		free(html);
	}
}

static void
test_style(void **state)
{
	static const struct {
		const char *html;
		bool want;
	} v[] = {
		{ "", false },
		{ "<p style='a:b'>", false },
		{ "<style></style>", false },
		{ "<style> \n\t</style>", false },
		{ "<style>a{}</style>", true },
		{ "<STYLE type=x>\na{}</STYLE>", true },
		{ "<style></style><style>a{}</style>", true },
		{ "<style>a{}", true },
		{ "<script>a{}</script>", false },
		{ "<style></style>a{}", false },
		{ "<!-- <style>a{}</style> -->", false },
		{ "<title><style>a{}</style></title>", false },
		{ "<styles>a{}", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		if (html_has_style(v[i].html, strlen(v[i].html)) != v[i].want)
			fail_msg("%s", v[i].html);
	}
}

static size_t
all(const char *html, size_t len)
{
	DYNBUF_AUTO out;

	dynbuf_init(&out, 8 * len + 1000);
	assert_true(html_links(&out, html, len, bracket, NULL));
	dynbuf_truncate(&out, 0);
	assert_true(html_add_pixel(&out, html, len, "x"));
	return out.len + html_has_style(html, len);
}

static void
test_linear(void **state)
{
	(void)state;
	scene_check_linear(all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),  cmocka_unit_test(test_long_url),
		cmocka_unit_test(test_full),  cmocka_unit_test(test_pixel),
		cmocka_unit_test(test_style), cmocka_unit_test(test_linear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
