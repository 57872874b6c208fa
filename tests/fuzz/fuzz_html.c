/* SPDX-License-Identifier: MIT */
/*
 * HTML as its text, with its links changed, and with an image: the text is
 * valid and not longer than promised; links that are left alone leave the HTML
 * as it was, and links that become what they are make the same tokens, and the
 * second time the same bytes.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/dynbuf.h"
#include "policy/html_links.h"
#include "policy/html_scan.h"
#include "policy/html_to_text.h"
#include "policy/tracking.h"
#include "policy/utf8.h"

#define OUT_MAX ((size_t)64 * 1024 * 1024)
#define PIXEL_URL "http://x/"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_text(const char *html, size_t len)
{
	DYNBUF_AUTO out;
	size_t column = 0;

	dynbuf_init(&out, HTML_TO_TEXT_MAX(len));
	assert(html_to_text(&out, html, len));
	assert(utf8_valid_prefix(dynbuf_str(&out), out.len) == out.len);
	assert(out.len == 0 || (out.len > 1 && out.data[0] != '\n' &&
				out.data[out.len - 1] == '\n'));
	for (size_t i = 0; i < out.len; i++) {
		char c = out.data[i];

		assert(c == '\n' || c == '\t' || (unsigned char)c >= ' ');
		if (c == '\n' && column > 0)
			assert(out.data[i - 1] != ' ');
		column = c == '\n' ? 0 : column + 1;
	}
}

/* The kinds of the tokens, as a string; together they are the input. */
static void
kinds(struct dynbuf *out, const char *html, size_t len)
{
	static const char *const names[] = { "href", "style" };
	const char *at = html;
	struct html_scan scan;
	struct html_token t;
	struct html_attr found[2];

	html_scan_init(&scan, html, len);
	while (html_scan_next(&scan, &t)) {
		assert(t.s == at && t.len > 0);
		at += t.len;
		assert(!t.unclosed || at == html + len);
		assert(dynbuf_addf(out, "%d", (int)t.kind));
		if (t.kind != HTML_START_TAG)
			continue;
		html_token_attrs(&t, names, 2, found);
		for (size_t i = 0; i < 2; i++)
			assert(found[i].name == NULL ||
			       (found[i].value >= t.s &&
				found[i].value + found[i].value_len < at));
	}
	assert(at == html + len);
}

static bool
leave(void *arg, const char *url, size_t len, struct dynbuf *new_url)
{
	(void)arg;
	(void)dynbuf_add(new_url, url, len);
	return false;
}

static bool
same(void *arg, const char *url, size_t len, struct dynbuf *new_url)
{
	(void)arg;
	assert(len >= 7 && (unsigned char)url[len - 1] > ' ');
	return dynbuf_add(new_url, url, len);
}

static void
check_equal(const struct dynbuf *b, const char *s, size_t len)
{
	assert(b->len == len && memcmp(dynbuf_str(b), s, len) == 0);
}

static void
check_links(const char *html, size_t len)
{
	DYNBUF_AUTO out, again, before, after;

	dynbuf_init(&out, OUT_MAX);
	dynbuf_init(&again, OUT_MAX);
	dynbuf_init(&before, OUT_MAX);
	dynbuf_init(&after, OUT_MAX);
	assert(html_links(&out, html, len, leave, NULL));
	check_equal(&out, html, len);

	dynbuf_truncate(&out, 0);
	assert(html_links(&out, html, len, same, NULL));
	kinds(&before, html, len);
	kinds(&after, dynbuf_str(&out), out.len);
	check_equal(&after, dynbuf_str(&before), before.len);
	assert(html_links(&again, dynbuf_str(&out), out.len, same, NULL));
	check_equal(&again, dynbuf_str(&out), out.len);
}

/* The image stands somewhere, and nothing else has changed. */
static void
check_pixel(const char *html, size_t len)
{
	DYNBUF_AUTO out, pixel;
	size_t begin = 0;

	dynbuf_init(&out, OUT_MAX);
	dynbuf_init(&pixel, OUT_MAX);
	assert(html_add_pixel(&pixel, "", 0, PIXEL_URL));
	assert(html_add_pixel(&out, html, len, PIXEL_URL));
	assert(out.len == len + pixel.len);
	while (begin < len && out.data[begin] == html[begin])
		begin++;
	/* What follows may begin as the image does. */
	while (memcmp(out.data + begin, pixel.data, pixel.len) != 0)
		assert(begin-- > 0);
	assert(memcmp(out.data, html, begin) == 0);
	assert(memcmp(out.data + begin + pixel.len, html + begin,
		      len - begin) == 0);
}

static void
check_tracking(const char *html, size_t len)
{
	static const struct tracking t = {
		.url = "https://t.example",
		.key = (const unsigned char *)"key",
		.key_len = 3,
		.account = "acme",
		.id = "00ff",
	};
	DYNBUF_AUTO out;

	dynbuf_init(&out, OUT_MAX);
	assert(tracking_rewrite(&out, &t, html, len, true, true));
	assert(out.len > len / 2);
	(void)html_has_style(html, len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Exact, so that a byte read behind it is seen. */
	char *html = malloc(size != 0 ? size : 1);

	assert(html != NULL);
	memcpy(html, data, size);
	check_text(html, size);
	check_links(html, size);
	check_pixel(html, size);
	check_tracking(html, size);
	free(html);
	return 0;
}
