/* SPDX-License-Identifier: MIT */
#include "header_text.h"

#include <gmime/gmime.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "charset.h"
#include "dynbuf.h"
#include "utf8.h"

void
header_text_init(void)
{
	g_mime_init();
}

bool
header_name_matches(const char *pattern, const char *name)
{
	size_t n = strlen(pattern);

	return n > 0 && pattern[n - 1] == '*'
		   ? strncasecmp(pattern, name, n - 1) == 0
		   : strcasecmp(pattern, name) == 0;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Bytes of line ends at s. */
static size_t
line_ends(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && (s[n] == '\n' ||
			   (s[n] == '\r' && n + 1 < len && s[n + 1] == '\n')))
		n++;
	return n;
}

static size_t
blanks(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && is_blank(s[n]))
		n++;
	return n;
}

char *
header_unfold(const char *raw, size_t len, size_t *len_r)
{
	char *out = malloc(len + 1);
	size_t n = 0;
	size_t start;

	if (out == NULL)
		abort();
	for (size_t i = 0; i < len;) {
		size_t ends = line_ends(raw + i, len - i);
		size_t fold = 0;

		if (ends > 0)
			fold = blanks(raw + i + ends, len - i - ends);
		if (fold > 0) {
			out[n++] = ' ';
			i += ends + fold;
		} else {
			ends = ends > 0 ? ends : 1;
			memcpy(out + n, raw + i, ends);
			n += ends;
			i += ends;
		}
	}
	while (n > 0 && is_blank(out[n - 1]))
		n--;
	start = blanks(out, n);
	memmove(out, out + start, n - start);
	out[n - start] = '\0';
	*len_r = n - start;
	return out;
}

/* An encoded word, "=?charset?B?payload?=" (RFC 2047, section 2), in a text.
 * The payload of a Q word may hold blanks and '?', though it must not. */
struct word {
	const char *charset;
	size_t charset_len;
	bool base64;
	const char *payload;
	size_t payload_len;
	const char *end;
};

static bool
find_word(const char *s, struct word *w)
{
	const char *letter;

	if (strncmp(s, "=?", 2) != 0)
		return false;
	w->charset = s + 2;
	w->charset_len = strcspn(w->charset, "? \t");
	letter = w->charset + w->charset_len;
	w->base64 = strncasecmp(letter, "?B?", 3) == 0;
	if (w->charset_len == 0 ||
	    (!w->base64 && strncasecmp(letter, "?Q?", 3) != 0))
		return false;
	w->payload = letter + 3;
	w->end = strstr(w->payload, "?=");
	if (w->end == NULL)
		return false;
	w->payload_len = (size_t)(w->end - w->payload);
	w->end += 2;
	return !w->base64 || strcspn(w->payload, "? \t") == w->payload_len;
}

static bool
is_charset(const struct word *w, const char *name)
{
	return strlen(name) == w->charset_len &&
	       g_ascii_strncasecmp(name, w->charset, w->charset_len) == 0;
}

/* Charsets in which ASCII is not ASCII, so that NUL is not where it seems. */
static bool
is_wide(const struct word *w)
{
	return g_ascii_strncasecmp(w->charset, "utf-16", 6) == 0 ||
	       g_ascii_strncasecmp(w->charset, "utf-32", 6) == 0 ||
	       g_ascii_strncasecmp(w->charset, "utf-7", 5) == 0 ||
	       g_ascii_strncasecmp(w->charset, "ucs", 3) == 0;
}

/* RFC 2231, section 5: a language may stand behind the charset. */
static void
add_charset(GString *out, const struct word *w)
{
	size_t len = 0;

	while (len < w->charset_len && w->charset[len] != '*')
		len++;
	g_string_append(out, "=?");
	if (is_charset(w, "iso-8859-1") || is_charset(w, "us-ascii"))
		g_string_append(out, "windows-1252");
	else if (is_charset(w, "utf-8") || is_wide(w) ||
		 !charset_is_known(w->charset, len))
		g_string_append(out, "utf-8");
	else
		g_string_append_len(out, w->charset, (gssize)len);
}

/* The base64 word that joins on: only blanks between, of the same charset. */
static bool
find_next(const struct word *w, struct word *next)
{
	const char *s = w->end + strspn(w->end, " \t");

	return find_word(s, next) && next->base64 &&
	       next->charset_len == w->charset_len &&
	       g_ascii_strncasecmp(next->charset, w->charset, w->charset_len) ==
		   0;
}

struct base64 {
	GByteArray *bytes;
	gint state;
	guint save;
	size_t digits; /* since the last padding */
};

static void
decode_base64(struct base64 *b, const char *s, size_t len)
{
	guint at = b->bytes->len;
	gsize n;

	g_byte_array_set_size(b->bytes, at + (guint)len + 3);
	n = g_base64_decode_step(s, len, b->bytes->data + at, &b->state,
				 &b->save);
	g_byte_array_set_size(b->bytes, at + (guint)n);
}

/* A word without padding may end within a group of four that the next one
 * completes: broken, but seen. */
static void
add_payload(struct base64 *b, const struct word *w)
{
	decode_base64(b, w->payload, w->payload_len);
	b->digits += w->payload_len;
	if (memchr(w->payload, '=', w->payload_len) != NULL) {
		b->state = 0;
		b->save = 0;
		b->digits = 0;
	}
}

/* What a wide charset's bytes mean, in UTF-8. */
static void
narrow(const struct word *w, GByteArray *bytes)
{
	char *label = g_strndup(w->charset, w->charset_len);
	struct dynbuf b;
	bool replaced;

	dynbuf_init(&b, 4 * (size_t)bytes->len + 1);
	(void)dynbuf_add(&b, bytes->data, bytes->len);
	(void)charset_to_utf8(&b, label, &replaced);
	g_byte_array_set_size(bytes, 0);
	g_byte_array_append(bytes, (const guint8 *)dynbuf_str(&b),
			    (guint)b.len);
	dynbuf_clear(&b);
	g_free(label);
}

/* Writes the run of base64 words that begins with `w` as one. Where it ended;
 * NULL when it holds NUL. */
static const char *
add_run(GString *out, struct word w)
{
	struct base64 b = { .bytes = g_byte_array_new() };
	const struct word first = w;
	struct word next;
	char *payload;
	bool nul;

	add_payload(&b, &w);
	while (find_next(&w, &next)) {
		add_payload(&b, &next);
		w = next;
	}
	if (b.digits % 4 >= 2)
		decode_base64(&b, "==", 4 - b.digits % 4);
	if (is_wide(&first))
		narrow(&first, b.bytes);
	nul = b.bytes->len > 0 &&
	      memchr(b.bytes->data, '\0', b.bytes->len) != NULL;
	payload = g_base64_encode(b.bytes->data, b.bytes->len);
	add_charset(out, &first);
	g_string_append_printf(out, "?B?%s?=", payload);
	g_free(payload);
	g_byte_array_unref(b.bytes);
	return nul ? NULL : w.end;
}

/* The same for one Q word: only its charset changes. */
static const char *
add_q_word(GString *out, const struct word *w)
{
	if (memmem(w->payload, w->payload_len, "=00", 3) != NULL)
		return NULL;
	add_charset(out, w);
	g_string_append_len(out, w->charset + w->charset_len,
			    w->end - (w->charset + w->charset_len));
	return w->end;
}

/* As UTF-8; free(). */
static char *
as_utf8(const char *text)
{
	struct dynbuf b;
	bool replaced;
	size_t len = strlen(text);

	/* Each byte may become U+FFFD. */
	dynbuf_init(&b, 3 * len);
	(void)dynbuf_add(&b, text, len);
	(void)charset_to_utf8(&b, NULL, &replaced);
	return dynbuf_steal(&b, &len);
}

char *
header_for_gmime(const char *raw)
{
	char *utf8 = as_utf8(raw);
	const char *text = utf8;
	GString *out = g_string_sized_new(strlen(text) + 1);
	struct word w;

	while (text != NULL && *text != '\0') {
		const char *eq = strstr(text, "=?");

		if (eq == NULL)
			break;
		g_string_append_len(out, text, eq - text);
		text = eq;
		if (!find_word(text, &w))
			g_string_append_c(out, *text++);
		else
			text = w.base64 ? add_run(out, w) : add_q_word(out, &w);
	}
	if (text != NULL)
		g_string_append(out, text);
	free(utf8);
	return g_string_free(out, text == NULL);
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

char *
header_words(const char *s)
{
	char *prepared = header_for_gmime(s);
	char *decoded, *valid;

	if (prepared == NULL)
		return NULL;
	decoded = g_mime_utils_header_decode_text(NULL, prepared);
	valid = g_utf8_make_valid(decoded, -1);
	g_free(prepared);
	g_free(decoded);
	return valid;
}

static void
trim(char *s)
{
	size_t n;

	tabs_to_blanks(s);
	n = strlen(s);
	while (n > 0 && s[n - 1] == ' ')
		s[--n] = '\0';
	memmove(s, s + strspn(s, " "), n - strspn(s, " ") + 1);
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
		char *decoded = header_words(text);

		free(text);
		text = decoded;
	}
	if (text != NULL)
		trim(text);
	if (text == NULL || !utf8_is_printable(text, strlen(text))) {
		free(text);
		return HEADER_TEXT_CONTROL;
	}
	*text_r = text;
	return HEADER_TEXT_OK;
}

/* --- writing -------------------------------------------------------------- */

/* A line may have 998 bytes (RFC 5322, section 2.1.1) and should have 78. */
#define PLAIN_PHRASE_MAX 200
/* RFC 2047, section 2: 75 bytes a word, "=?utf-8?B??=" taken off, as base64. */
#define WORD_TEXT_MAX 45

/* Text that looks like a word would be read as one. */
static bool
is_plain_phrase(const char *name, size_t len)
{
	return len <= PLAIN_PHRASE_MAX && utf8_is_ascii(name, len) &&
	       strstr(name, "=?") == NULL;
}

/* atext and blanks (RFC 5322, section 3.2.3): needs no quotes. */
static bool
is_atoms(const char *name)
{
	static const char atext[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789!#$%&'*+-/=?^_`{|}~ ";

	return name[strspn(name, atext)] == '\0' && strstr(name, "  ") == NULL;
}

static void
add_quoted(GString *out, const char *name)
{
	g_string_append_len(out, "\"", 1);
	for (; *name != '\0'; name++) {
		if (*name == '"' || *name == '\\')
			g_string_append_len(out, "\\", 1);
		g_string_append_len(out, name, 1);
	}
	g_string_append_len(out, "\"", 1);
}

static void
add_words(GString *out, const char *name, size_t len)
{
	while (len > 0) {
		size_t n = 0, next = utf8_char_len(name, len);
		char *payload;

		while (next > 0 && n + next <= WORD_TEXT_MAX) {
			n += next;
			next = utf8_char_len(name + n, len - n);
		}
		if (n == 0)
			break; /* not UTF-8 */
		payload = g_base64_encode((const guchar *)name, n);
		g_string_append_printf(out, "%s=?utf-8?B?%s?=",
				       out->len > 0 ? "\n " : "", payload);
		g_free(payload);
		name += n;
		len -= n;
	}
}

/* For free(). */
static char *
steal(GString *out)
{
	char *text = strdup(out->str);

	if (text == NULL)
		abort();
	g_string_free(out, TRUE);
	return text;
}

char *
header_phrase(const char *name)
{
	size_t len = strlen(name);
	GString *out = g_string_sized_new(len + 16);

	if (!is_plain_phrase(name, len))
		add_words(out, name, len);
	else if (len > 0 && is_atoms(name))
		g_string_append(out, name);
	else
		add_quoted(out, name);
	return steal(out);
}

char *
header_value(const char *text)
{
	size_t len = strlen(text);
	GString *out = g_string_sized_new(len + 16);

	if (is_plain_phrase(text, len))
		g_string_append(out, text);
	else
		add_words(out, text, len);
	return steal(out);
}
