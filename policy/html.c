/* SPDX-License-Identifier: MIT */
#include "html.h"

#include <string.h>

#include "dynbuf.h"

static const char *
entity(char c)
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

bool
html_escape(struct dynbuf *out, const char *s, size_t len)
{
	size_t from = 0;

	for (size_t i = 0; i < len; i++) {
		const char *e = entity(s[i]);

		if (e == NULL)
			continue;
		if (!dynbuf_add(out, s + from, i - from) ||
		    !dynbuf_adds(out, e))
			return false;
		from = i + 1;
	}
	return dynbuf_add(out, s + from, len - from);
}

/* One line without its end. The first of a run of blanks stays a blank, so
 * that a browser may break there; at the start of a line none does. */
static bool
add_line(struct dynbuf *out, const char *s, size_t len)
{
	bool blank = true;

	for (size_t i = 0; i < len; i++) {
		const char *e = entity(s[i]);
		bool ok;

		if (s[i] == '\t')
			ok = dynbuf_adds(out, "&nbsp;&nbsp;&nbsp; ");
		else if (s[i] == ' ' && blank)
			ok = dynbuf_adds(out, "&nbsp;");
		else if (e != NULL)
			ok = dynbuf_adds(out, e);
		else if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			ok = true; /* no character of HTML */
		else
			ok = dynbuf_add(out, s + i, 1);
		if (!ok)
			return false;
		blank = s[i] == ' ' || s[i] == '\t';
	}
	return true;
}

/* RFC 3676, section 4.2: a line that ends with a blank flows into the next,
 * but for the signature separator. */
static bool
is_soft(const char *line, size_t len)
{
	if (len == 0 || line[len - 1] != ' ')
		return false;
	return !(len == 3 && memcmp(line, "-- ", 3) == 0);
}

bool
html_from_text(struct dynbuf *out, const char *text, size_t len, bool flowed)
{
	while (len > 0) {
		const char *lf = memchr(text, '\n', len);
		size_t whole = lf ? (size_t)(lf - text) + 1 : len;
		size_t n = lf ? whole - 1 : len;
		bool soft, stuffed;

		if (n > 0 && text[n - 1] == '\r')
			n--;
		/* RFC 3676, section 4.4: a blank at the start was stuffed. */
		stuffed = flowed && n > 0 && text[0] == ' ';
		soft = flowed && is_soft(text + stuffed, n - stuffed);
		if (!add_line(out, text + stuffed, n - stuffed))
			return false;
		if (lf != NULL && !soft && !dynbuf_adds(out, "<br>\n"))
			return false;
		text += whole;
		len -= whole;
	}
	return true;
}

char *
html_of_text(const char *text, size_t len, bool flowed, size_t *len_r)
{
	struct dynbuf html;

	dynbuf_init(&html, HTML_OF_TEXT_MAX);
	if (html_from_text(&html, text, len, flowed))
		return dynbuf_steal(&html, len_r);
	dynbuf_clear(&html);
	return NULL;
}
