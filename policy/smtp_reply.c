/* SPDX-License-Identifier: MIT */
#include "smtp_reply.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

static const char ellipsis[] = "...";

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Bytes of the character at s if it may be shown; else 0. C1 control
 * characters are U+0080 to U+009F. */
static size_t
shown_len(const char *s, size_t len)
{
	size_t n = utf8_char_len(s, len);

	return n > 0 && utf8_is_printable(s, n) ? n : 0;
}

/* Bytes to go on by where nothing is shown: a whole control character, or one
 * byte that is no character. */
static size_t
hidden_len(const char *s, size_t len)
{
	size_t n = utf8_char_len(s, len);

	return n > 0 ? n : 1;
}

void
smtp_reply_safe_text(char *dst, size_t size, const char *text, size_t len)
{
	size_t out = 0;
	size_t fits = 0; /* where "..." still has room */
	bool gap = false;

	assert(size > sizeof(ellipsis));
	for (size_t i = 0; i < len;) {
		size_t n = shown_len(text + i, len - i);
		size_t room = (n > 0 ? n : 1) + gap;

		if (is_blank(text[i])) {
			gap = out > 0;
			i++;
			continue;
		}
		if (out + room > size - 1) {
			memcpy(dst + fits, ellipsis, sizeof(ellipsis));
			return;
		}
		if (gap)
			dst[out++] = ' ';
		gap = false;
		if (n > 0)
			memcpy(dst + out, text + i, n);
		else
			dst[out] = '?';
		out += n > 0 ? n : 1;
		i += n > 0 ? n : hidden_len(text + i, len - i);
		if (out <= size - sizeof(ellipsis))
			fits = out;
	}
	dst[out] = '\0';
}

void
smtp_reply_set(struct smtp_reply *r, int code, const char *enhanced,
	       const char *fmt, ...)
{
	char *text;
	va_list ap;

	assert(code == 250 || (code >= 400 && code <= 599));
	assert(enhanced[0] == '0' + code / 100 && enhanced[1] == '.');
	assert(strlen(enhanced) < sizeof(r->enhanced));

	r->code = code;
	(void)snprintf(r->enhanced, sizeof(r->enhanced), "%s", enhanced);
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	smtp_reply_safe_text(r->text, sizeof(r->text), text, strlen(text));
	free(text);
	/* Postfix before 3.7.12 reads past the end of a reply without text
	 * (CVE-2026-43964). */
	if (r->text[0] == '\0')
		(void)snprintf(r->text, sizeof(r->text), "%s",
			       code == 250 ? "Ok" : "Message not accepted");
}

bool
smtp_reply_is_set(const struct smtp_reply *r)
{
	return r->code != 0;
}
