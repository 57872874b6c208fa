/* SPDX-License-Identifier: MIT */
#include "header_text.h"

#include <gmime/gmime.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Bytes of a fold (line end and the blanks after it) at s; 0 when none. */
static size_t
fold_len(const char *s, size_t len)
{
	size_t n = 0;

	if (n < len && s[n] == '\r')
		n++;
	if (n >= len || s[n] != '\n')
		return 0;
	n++;
	if (n >= len || !is_blank(s[n]))
		return 0;
	while (n < len && is_blank(s[n]))
		n++;
	return n;
}

char *
header_unfold(const char *raw, size_t len, size_t *len_r)
{
	char *out = malloc(len + 1);
	size_t n = 0;
	size_t start = 0;

	if (out == NULL)
		abort();
	for (size_t i = 0; i < len;) {
		size_t fold = fold_len(raw + i, len - i);

		out[n++] = fold > 0 ? ' ' : raw[i];
		i += fold > 0 ? fold : 1;
	}
	while (start < n && is_blank(out[start]))
		start++;
	while (n > start && is_blank(out[n - 1]))
		n--;
	memmove(out, out + start, n - start);
	out[n - start] = '\0';
	*len_r = n - start;
	return out;
}

/* TABs are white space of the header; anything else below a blank is not. */
static void
tabs_to_blanks(char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '\t')
			*s = ' ';
	}
}

static char *
decode(const char *s)
{
	char *decoded = g_mime_utils_header_decode_text(NULL, s);
	char *valid = g_utf8_make_valid(decoded, -1);

	g_free(decoded);
	return valid;
}

enum header_text_result
header_text(const char *raw, size_t len, char **text_r)
{
	size_t n;
	char *text = header_unfold(raw, len, &n);

	*text_r = NULL;
	if (memchr(text, '\0', n) != NULL) {
		free(text);
		return HEADER_TEXT_CONTROL;
	}
	if (strstr(text, "=?") != NULL || !utf8_is_ascii(text, n)) {
		char *decoded = decode(text);

		free(text);
		text = header_unfold(decoded, strlen(decoded), &n);
		g_free(decoded);
	}
	tabs_to_blanks(text);
	if (!utf8_is_printable(text, n)) {
		free(text);
		return HEADER_TEXT_CONTROL;
	}
	*text_r = text;
	return HEADER_TEXT_OK;
}
