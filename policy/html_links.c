/* SPDX-License-Identifier: MIT */
#include "html_links.h"

#include <string.h>
#include <strings.h>

#include "dynbuf.h"
#include "html.h"
#include "html_entity.h"
#include "html_scan.h"

/* What a new URL may have; its first 16 kB become 22 as base64. */
#define NEW_URL_MAX (4 * HTML_LINK_MAX)

static bool
begins_with(const char *s, size_t len, const char *prefix)
{
	return len >= strlen(prefix) &&
	       strncasecmp(s, prefix, strlen(prefix)) == 0;
}

static bool
attr_is(const struct html_attr *a, const char *value)
{
	return a->has_value && html_is(a->value, a->value_len, value);
}

/* The "href" of a link that may be changed. */
static bool
find_href(const struct html_token *t, struct html_attr *href)
{
	static const char *const names[] = { "href", "data-msys-clicktrack",
					     "clicktracking" };
	struct html_attr attrs[3];

	if (t->kind != HTML_START_TAG ||
	    (!html_is(t->name, t->name_len, "a") &&
	     !html_is(t->name, t->name_len, "area")))
		return false;
	html_token_attrs(t, names, 3, attrs);
	*href = attrs[0];
	return href->has_value && !attr_is(&attrs[1], "0") &&
	       !attr_is(&attrs[2], "off");
}

static bool
find_url(struct dynbuf *url, const struct html_attr *href)
{
	return html_decode_url(url, href->value, href->value_len) &&
	       (begins_with(dynbuf_str(url), url->len, "http://") ||
		begins_with(dynbuf_str(url), url->len, "https://"));
}

/* For the quotes it will stand in: html_escape() is for double ones. */
static bool
add_escaped(struct dynbuf *out, const char *s, size_t len, char quote)
{
	while (len > 0) {
		const char *q = quote == '\'' ? memchr(s, '\'', len) : NULL;
		size_t n = q != NULL ? (size_t)(q - s) : len;

		if (!html_escape(out, s, n) ||
		    (q != NULL && !dynbuf_adds(out, "&#39;")))
			return false;
		n += q != NULL;
		s += n;
		len -= n;
	}
	return true;
}

static bool
add_value(struct dynbuf *out, const struct dynbuf *url, char quote)
{
	const char *quotes = quote == 0 ? "\"" : "";

	return dynbuf_adds(out, quotes) &&
	       add_escaped(out, dynbuf_str(url), url->len, quote) &&
	       dynbuf_adds(out, quotes);
}

bool
html_links(struct dynbuf *out, const char *html, size_t len, html_link_fn *fn,
	   void *arg)
{
	const char *from = html; /* not copied yet */
	struct html_scan scan;
	struct html_token t;
	struct html_attr href;
	DYNBUF_AUTO url, new_url;

	dynbuf_init(&url, HTML_LINK_MAX);
	dynbuf_init(&new_url, NEW_URL_MAX);
	html_scan_init(&scan, html, len);
	while (html_scan_next(&scan, &t)) {
		if (!find_href(&t, &href))
			continue;
		dynbuf_truncate(&url, 0);
		dynbuf_truncate(&new_url, 0);
		if (!find_url(&url, &href) ||
		    !fn(arg, url.data, url.len, &new_url))
			continue;
		if (!dynbuf_add(out, from, (size_t)(href.value - from)) ||
		    !add_value(out, &new_url, href.quote))
			return false;
		from = href.value + href.value_len;
	}
	return dynbuf_add(out, from, (size_t)(html + len - from));
}

/* Where an element at the end of the body would be seen. */
static const char *
end_of_body(const char *html, size_t len)
{
	const char *body = NULL, *document = NULL, *end = html + len;
	const char *tag = html; /* the last but text */
	struct html_scan scan;
	struct html_token t;

	html_scan_init(&scan, html, len);
	while (html_scan_next(&scan, &t)) {
		if (t.kind == HTML_END_TAG &&
		    html_is(t.name, t.name_len, "body"))
			body = t.s;
		else if (t.kind == HTML_END_TAG &&
			 html_is(t.name, t.name_len, "html"))
			document = t.s;
		if (t.kind != HTML_TEXT && t.kind != HTML_RAW_TEXT)
			tag = t.s;
		if (t.unclosed)
			end = tag;
	}
	if (body != NULL)
		return body;
	return document != NULL ? document : end;
}

bool
html_add_pixel(struct dynbuf *out, const char *html, size_t len,
	       const char *url)
{
	const char *at = end_of_body(html, len);

	return dynbuf_add(out, html, (size_t)(at - html)) &&
	       dynbuf_adds(out, "<img src=\"") &&
	       html_escape(out, url, strlen(url)) &&
	       dynbuf_adds(out, "\" width=\"1\" height=\"1\" alt=\"\" "
				"style=\"display:block;border:0;width:1px;"
				"height:1px\">") &&
	       dynbuf_add(out, at, (size_t)(html + len - at));
}

static bool
has_letters(const struct html_token *t)
{
	for (size_t i = 0; i < t->len; i++) {
		if (!html_is_space(t->s[i]))
			return true;
	}
	return false;
}

bool
html_has_style(const char *html, size_t len)
{
	struct html_scan scan;
	struct html_token t;
	bool in_style = false;

	html_scan_init(&scan, html, len);
	while (html_scan_next(&scan, &t)) {
		if (in_style && t.kind == HTML_RAW_TEXT && has_letters(&t))
			return true;
		in_style = t.kind == HTML_START_TAG &&
			   html_is(t.name, t.name_len, "style");
	}
	return false;
}
