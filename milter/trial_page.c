/* SPDX-License-Identifier: MIT */
#include "trial_page.h"

#include <stddef.h>

#include "policy/dynbuf.h"
#include "policy/html.h"
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

void
trial_page(struct dynbuf *out, const struct dynbuf *report,
	   const struct outgoing *o)
{
	(void)dynbuf_adds(out, head);
	(void)html_escape(out, dynbuf_str(report), report->len);
	(void)dynbuf_adds(out, "</pre>\n");
	if (o != NULL && o->html != NULL) {
		(void)dynbuf_adds(out, "<h2>The body</h2>\n"
				       "<iframe sandbox=\"\" srcdoc=\"");
		(void)html_escape(out, o->html, o->html_len);
		(void)dynbuf_adds(out, "\"></iframe>\n");
	}
	(void)dynbuf_adds(out, "</body></html>\n");
}
