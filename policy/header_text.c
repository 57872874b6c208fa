/* SPDX-License-Identifier: MIT */
#include "header_text.h"

#include <gmime/gmime.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

/* A base64 word, "=?charset?B?payload?=" (RFC 2047, section 2), in a text. */
struct word {
	const char *charset;
	size_t charset_len;
	const char *payload;
	size_t payload_len;
	const char *end;
};

static bool
find_b_word(const char *s, struct word *w)
{
	if (strncmp(s, "=?", 2) != 0)
		return false;
	w->charset = s + 2;
	w->charset_len = strcspn(w->charset, "? \t");
	s = w->charset + w->charset_len;
	if (strncasecmp(s, "?B?", 3) != 0)
		return false;
	w->payload = s + 3;
	w->payload_len = strcspn(w->payload, "? \t");
	w->end = w->payload + w->payload_len;
	if (w->charset_len == 0 || strncmp(w->end, "?=", 2) != 0)
		return false;
	w->end += 2;
	return true;
}

/* The word that joins on: only blanks between, of the same charset. */
static bool
find_next_b_word(const struct word *w, struct word *next)
{
	const char *s = w->end + strspn(w->end, " \t");

	return find_b_word(s, next) && next->charset_len == w->charset_len &&
	       g_ascii_strncasecmp(next->charset, w->charset,
				   w->charset_len) == 0;
}

struct base64 {
	GByteArray *bytes;
	gint state;
	guint save;
};

/* A word without padding may end within a group of four that the next one
 * completes: broken, but seen. */
static void
add_payload(struct base64 *b, const struct word *w)
{
	guint at = b->bytes->len;
	gsize n;

	g_byte_array_set_size(b->bytes, at + (guint)w->payload_len + 3);
	n = g_base64_decode_step(w->payload, w->payload_len,
				 b->bytes->data + at, &b->state, &b->save);
	g_byte_array_set_size(b->bytes, at + (guint)n);
	if (memchr(w->payload, '=', w->payload_len) != NULL) {
		b->state = 0;
		b->save = 0;
	}
}

/* Writes the run of words that begins with `w` as one; where it ended. */
static const char *
add_run(GString *out, struct word *w)
{
	struct base64 b = { .bytes = g_byte_array_new() };
	const struct word first = *w;
	const char *end = w->end;
	struct word next;
	char *payload;

	add_payload(&b, w);
	while (find_next_b_word(w, &next)) {
		add_payload(&b, &next);
		*w = next;
		end = next.end;
	}
	payload = g_base64_encode(b.bytes->data, b.bytes->len);
	g_string_append_printf(out, "=?%.*s?B?%s?=", (int)first.charset_len,
			       first.charset, payload);
	g_free(payload);
	g_byte_array_unref(b.bytes);
	return end;
}

char *
header_join_words(const char *text)
{
	GString *out = g_string_sized_new(strlen(text) + 1);
	struct word word, next;

	while (*text != '\0') {
		const char *eq = strstr(text, "=?");

		if (eq == NULL)
			break;
		g_string_append_len(out, text, eq - text);
		text = eq;
		if (find_b_word(text, &word) && find_next_b_word(&word, &next))
			text = add_run(out, &word);
		else
			g_string_append_c(out, *text++);
	}
	g_string_append(out, text);
	return g_string_free(out, FALSE);
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
	char *joined = header_join_words(s);
	char *decoded = g_mime_utils_header_decode_text(NULL, joined);
	char *valid = g_utf8_make_valid(decoded, -1);

	g_free(joined);
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
