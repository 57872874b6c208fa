/* SPDX-License-Identifier: MIT */
#include "smtp_reply.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "utf8.h"

/* What one formatted text may be before it is made safe and cut. */
#define FORMAT_MAX 4096

static const char ellipsis[] = "...";

void
smtp_reply_safe_text(char *dst, size_t size, const char *text, size_t len)
{
	size_t out = 0;
	size_t fits = 0; /* where "..." still has room */
	size_t i = 0;

	assert(size > sizeof(ellipsis));
	while (i < len) {
		unsigned char c = (unsigned char)text[i];
		size_t n = utf8_char_len(text + i, len - i);
		bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';

		if (blank && (out == 0 || dst[out - 1] == ' ')) {
			i++;
			continue;
		}
		if (out + (n ? n : 1) > size - 1) {
			memcpy(dst + fits, ellipsis, sizeof(ellipsis));
			return;
		}
		if (blank || n == 0 || c < 0x20 || c == 0x7f) {
			dst[out++] = blank ? ' ' : '?';
			i++;
		} else {
			memcpy(dst + out, text + i, n);
			out += n;
			i += n;
		}
		if (out <= size - sizeof(ellipsis))
			fits = out;
	}
	if (out > 0 && dst[out - 1] == ' ')
		out--;
	dst[out] = '\0';
}

void
smtp_reply_set(struct smtp_reply *r, int code, const char *enhanced,
	       const char *fmt, ...)
{
	char text[FORMAT_MAX];
	va_list ap;
	int n;

	assert(code == 250 || (code >= 400 && code <= 599));
	assert(enhanced[0] == '0' + code / 100 && enhanced[1] == '.');
	assert(strlen(enhanced) < sizeof(r->enhanced));

	r->code = code;
	(void)snprintf(r->enhanced, sizeof(r->enhanced), "%s", enhanced);
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert(n >= 0);
	smtp_reply_safe_text(r->text, sizeof(r->text), text, strlen(text));
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
