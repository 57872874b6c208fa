/* SPDX-License-Identifier: MIT */
#include "tests/unit/html_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Large enough that a clock sees it, and that what is quadratic takes minutes
 * where it should take milliseconds. */
#define SMALL ((size_t)128 * 1024)
#define TIMES 4
/* A machine that does other things, too: ten times the share is too much.
 * Quadratic is four times the share at TIMES 4, so the best of some. */
#define TRIES 5
#define FACTOR (2 * TIMES)

const struct scene_hostile scene_hostile[] = {
	{ "open elements", "", "<div>" },
	{ "open and closed elements", "<p>", "<div></div>" },
	{ "end tags without elements", "<div><td>", "</span>" },
	{ "end tags that are far", "<b>", "<i></u>" },
	{ "paragraphs in spans", "<p>", "<span><p>" },
	{ "tables", "", "<table><tr><td>x" },
	{ "cells", "<table><tr>", "<td>x" },
	{ "lists", "", "<ul><li>x" },
	{ "items", "<ol>", "<li>x" },
	{ "quotations", "", "<blockquote>x<br>" },
	{ "hidden elements", "", "<div hidden>x" },
	{ "links", "", "<a href=http://x/>x" },
	{ "links with pictures", "", "<a href=http://x/><img></a>" },
	{ "headings", "", "<h1>x" },
	{ "lines", "<pre><blockquote>", "\n" },
	{ "rules", "", "<hr>x" },
	{ "one long word", "", "x" },
	{ "words", "", "x " },
	{ "words that must be moved", "", "xxxxxxxxxxxxxxxxxxxx&shy; " },
	{ "wide letters", "", "\xe6\xbc\xa2" },
	{ "bytes that are no letters", "", "\xff" },
	{ "NULs", "<p", " \x01" },
	{ "<", "", "<" },
	{ "</", "", "</" },
	{ "<!", "", "<!" },
	{ "<!--", "", "<!--" },
	{ "unclosed comment", "<!--", "--!" },
	{ "a comment of dashes", "<!-- ", "-" },
	{ "comments", "", "<!---->" },
	{ "<script", "", "<script>" },
	{ "end tags of a script, nearly", "<script>", "</scrip" },
	{ "styles", "", "<style></style>" },
	{ "an unclosed quote", "<a href=\"", "x" },
	{ "quotes", "", "<a href=\"" },
	{ "attributes", "<a ", "href=x " },
	{ "slashes in a tag", "<a ", "/" },
	{ "a style", "<p style=\"", "font:" },
	{ "declarations", "<p style=\"", "font:0;" },
	{ "a font of words", "<p style=\"font:", "1 " },
	{ "an address", "<a href=\"http://", "x" },
	{ "an address of references", "<a href=\"http://", "&amp;" },
	{ "alternative texts", "", "<img alt=x>" },
	{ "&", "", "&" },
	{ "references without an end", "", "&copyabcdefghijklmn" },
	{ "one long name", "&", "a" },
	{ "a number", "&#", "1" },
	{ "joiners", "\xc3\xa9", "&zwj;" },
};

const size_t scene_n_hostile = sizeof(scene_hostile) / sizeof(scene_hostile[0]);

char *
scene_exact(const char *s, size_t len)
{
	char *c = malloc(len != 0 ? len : 1);

	assert_non_null(c);
	memcpy(c, s, len);
	return c;
}

char *
scene_make_hostile(const struct scene_hostile *h, size_t len, size_t *len_r)
{
	size_t head = strlen(h->head), unit = strlen(h->unit);
	size_t n = len / unit;
	char *html = malloc(head + n * unit);

	assert_non_null(html);
	memcpy(html, h->head, head);
	for (size_t i = 0; i < n; i++)
		memcpy(html + head + i * unit, h->unit, unit);
	*len_r = head + n * unit;
	return html;
}

static double
now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The best of some: others only make it slower. */
static double
seconds(size_t (*fn)(const char *html, size_t len), const char *html,
	size_t len)
{
	double best = 1e9;

	for (int i = 0; i < TRIES && best > 1e-5; i++) {
		double begin = now_s(), took;

		(void)fn(html, len);
		took = now_s() - begin;
		best = took < best ? took : best;
	}
	return best;
}

void
scene_check_linear(size_t (*fn)(const char *html, size_t len))
{
	for (size_t i = 0; i < scene_n_hostile; i++) {
		const struct scene_hostile *h = &scene_hostile[i];
		size_t small_len, large_len;
		char *small = scene_make_hostile(h, SMALL, &small_len);
		char *large = scene_make_hostile(h, TIMES * SMALL, &large_len);
		double a = seconds(fn, small, small_len);
		double b = seconds(fn, large, large_len);

		/* Below a millisecond, a page fault is a factor. */
		if (b > FACTOR * a && b > 1e-3)
			fail_msg("%s: %.2f ms, %d times as large %.2f ms",
				 h->name, a * 1e3, TIMES, b * 1e3);
		free(small);
		free(large);
	}
}
