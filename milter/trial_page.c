/* SPDX-License-Identifier: MIT */
#include "trial_page.h"

#include <stddef.h>
#include <string.h>

#include "policy/dynbuf.h"
#include "policy/outgoing.h"

/* Nothing is loaded, whatever the body says. */
static const char head[] =
    "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
    "'none'; style-src 'unsafe-inline'\">\n"
    "<title>txmilterctl try</title>\n"
    "<style>body{font-family:sans-serif;margin:2em}"
    "pre{background:#f4f4f4;padding:1em;white-space:pre-wrap;"
    "overflow-wrap:anywhere}"
    "iframe{width:100%;height:40em;border:1px solid #888}</style></head>\n"
    "<body><h1>txmilterctl try</h1>\n<pre>";

static const char *
escape_of(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	default:
		return NULL;
	}
}

static void
add_escaped(struct dynbuf *out, const char *s, size_t len)
{
	size_t from = 0;

	for (size_t i = 0; i < len; i++) {
		const char *escape = escape_of(s[i]);

		if (escape == NULL)
			continue;
		(void)dynbuf_add(out, s + from, i - from);
		(void)dynbuf_adds(out, escape);
		from = i + 1;
	}
	(void)dynbuf_add(out, s + from, len - from);
}

void
trial_page(struct dynbuf *out, const struct dynbuf *report,
	   const struct outgoing *o)
{
	(void)dynbuf_adds(out, head);
	add_escaped(out, dynbuf_str(report), report->len);
	(void)dynbuf_adds(out, "</pre>\n");
	if (o != NULL && o->html != NULL) {
		(void)dynbuf_adds(out, "<h2>The body</h2>\n"
				       "<iframe sandbox=\"\" srcdoc=\"");
		add_escaped(out, o->html, o->html_len);
		(void)dynbuf_adds(out, "\"></iframe>\n");
	}
	(void)dynbuf_adds(out, "</body></html>\n");
}
