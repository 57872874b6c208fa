/* SPDX-License-Identifier: MIT */
#include "mime_parameter.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "charset.h"
#include "dynbuf.h"
#include "header_text.h"
#include "hex_digit.h"
#include "mime.h"

/* ";name*0=" is the shortest that a section takes. */
#define SECTIONS_MAX (MIME_FIELD_MAX / 8)
#define SECTION_DIGITS_MAX 6

/* "name=value", "name*=value", "name*1=value" or "name*1*=value". */
struct section {
	unsigned number;
	bool extended; /* a charset in the first one, and percent escapes */
	const char *value;
	size_t len;
};

struct sections {
	struct section v[SECTIONS_MAX]; /* by number */
	size_t n;
	struct section plain;
	bool has_plain;
};

const char *
mime_parameter_end(const char *s)
{
	bool quoted = false;

	for (; *s != '\0' && (quoted || *s != ';'); s++) {
		if (*s == '\\' && s[1] != '\0')
			s++;
		else if (*s == '"')
			quoted = !quoted;
	}
	return s;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void
trim(const char **s, size_t *len)
{
	while (*len > 0 && is_blank(**s)) {
		(*s)++;
		(*len)--;
	}
	while (*len > 0 && is_blank((*s)[*len - 1]))
		(*len)--;
}

/* --- finding it ------------------------------------------------------------
 */

/* What stands behind the name: "", "*", "*1" or "*1*". */
static bool
read_suffix(const char *s, size_t len, struct section *section, bool *plain_r)
{
	size_t digits = 0;

	*plain_r = len == 0;
	if (*plain_r)
		return true;
	if (*s != '*')
		return false;
	s++;
	len--;
	while (digits < len && s[digits] >= '0' && s[digits] <= '9' &&
	       digits < SECTION_DIGITS_MAX) {
		section->number =
		    section->number * 10 + (unsigned)(s[digits] - '0');
		digits++;
	}
	section->extended =
	    digits == 0 ? len == 0 : len == digits + 1 && s[digits] == '*';
	return section->extended || (digits > 0 && len == digits);
}

/* Of two with one number the first counts. */
static void
insert(struct sections *all, const struct section *section)
{
	size_t at = all->n;

	while (at > 0 && all->v[at - 1].number > section->number)
		at--;
	if (all->n == SECTIONS_MAX ||
	    (at > 0 && all->v[at - 1].number == section->number))
		return;
	memmove(&all->v[at + 1], &all->v[at],
		(all->n - at) * sizeof(all->v[0]));
	all->v[at] = *section;
	all->n++;
}

static void
read_parameter(struct sections *all, const char *s, size_t len,
	       const char *name)
{
	const char *equals = memchr(s, '=', len);
	struct section section = { 0 };
	size_t name_len = strlen(name);
	size_t n;
	bool plain;

	if (equals == NULL)
		return;
	section.value = equals + 1;
	section.len = len - (size_t)(section.value - s);
	trim(&section.value, &section.len);
	n = (size_t)(equals - s);
	trim(&s, &n);
	if (n < name_len || strncasecmp(s, name, name_len) != 0 ||
	    !read_suffix(s + name_len, n - name_len, &section, &plain))
		return;
	if (!plain) {
		insert(all, &section);
	} else if (!all->has_plain) {
		all->plain = section;
		all->has_plain = true;
	}
}

static void
find_sections(struct sections *all, const char *field, const char *name)
{
	const char *end = mime_parameter_end(field);

	all->n = 0;
	all->has_plain = false;
	while (*end == ';') {
		const char *s = end + 1;

		end = mime_parameter_end(s);
		read_parameter(all, s, (size_t)(end - s), name);
	}
}

/* --- what it means ---------------------------------------------------------
 */

static void
must(bool ok)
{
	if (!ok)
		abort(); /* the buffer holds what a field may have */
}

static void
add_quoted(struct dynbuf *out, const char *s, size_t len)
{
	for (size_t i = 0; i < len && s[i] != '"'; i++) {
		if (s[i] == '\\' && i + 1 < len &&
		    (s[i + 1] == '"' || s[i + 1] == '\\'))
			i++;
		must(dynbuf_add(out, s + i, 1));
	}
}

static void
add_escaped(struct dynbuf *out, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		int high =
		    s[i] == '%' && len - i > 2 ? hex_digit(s[i + 1]) : -1;
		int low = high >= 0 ? hex_digit(s[i + 2]) : -1;
		char c = s[i];

		if (low >= 0) {
			c = (char)(high << 4 | low);
			i += 2;
		}
		must(dynbuf_add(out, &c, 1));
	}
}

/* Takes "charset'language'" off the first section; free(). NULL: it is not
 * there. */
static char *
take_charset(const char **s, size_t *len)
{
	const char *first = memchr(*s, '\'', *len);
	const char *second =
	    first != NULL
		? memchr(first + 1, '\'', *len - (size_t)(first + 1 - *s))
		: NULL;
	char *charset;

	if (second == NULL)
		return NULL;
	charset = strndup(*s, (size_t)(first - *s));
	if (charset == NULL)
		abort();
	*len -= (size_t)(second + 1 - *s);
	*s = second + 1;
	return charset;
}

/* Adds the bytes of a section. Of the first one the charset; free(). */
static char *
add_section(struct dynbuf *out, const struct section *section, bool first)
{
	char *charset = NULL;
	DYNBUF_AUTO text;
	const char *s;
	size_t len;

	dynbuf_init(&text, section->len);
	if (section->len > 0 && section->value[0] == '"')
		add_quoted(&text, section->value + 1, section->len - 1);
	else
		must(dynbuf_add(&text, section->value, section->len));
	s = dynbuf_str(&text);
	len = text.len;
	if (first && section->extended)
		charset = take_charset(&s, &len);
	if (section->extended)
		add_escaped(out, s, len);
	else
		must(dynbuf_add(out, s, len));
	return charset;
}

static void
drop_nul(struct dynbuf *text)
{
	size_t n = 0;

	for (size_t i = 0; i < text->len; i++) {
		if (text->data[i] != '\0')
			text->data[n++] = text->data[i];
	}
	dynbuf_truncate(text, n);
}

static char *
in_charset(struct dynbuf *bytes, const char *charset)
{
	bool replaced;
	size_t len;

	if (charset_to_utf8(bytes, charset, &replaced) != CHARSET_OK)
		(void)charset_to_utf8(bytes, NULL, &replaced);
	drop_nul(bytes);
	return dynbuf_steal(bytes, &len);
}

/* Words that hold NUL stay as they are. */
static char *
in_words(struct dynbuf *bytes)
{
	char *text = header_words(dynbuf_str(bytes));

	return text != NULL ? text : in_charset(bytes, NULL);
}

char *
mime_parameter(const char *field, const char *name)
{
	struct sections all;
	const struct section *v = all.v;
	DYNBUF_AUTO bytes;
	bool extended = false;
	char *charset = NULL;
	char *text;

	/* Each byte may become a character of four. */
	dynbuf_init(&bytes, field != NULL ? 4 * strlen(field) : 0);
	if (field == NULL)
		return NULL;
	find_sections(&all, field, name);
	if (all.n == 0 && !all.has_plain)
		return NULL;
	if (all.n == 0) {
		v = &all.plain;
		all.n = 1;
	}
	for (size_t i = 0; i < all.n; i++) {
		char *label = add_section(&bytes, &v[i], i == 0);

		charset = label != NULL ? label : charset;
		extended = extended || v[i].extended;
	}
	text = extended ? in_charset(&bytes, charset) : in_words(&bytes);
	free(charset);
	if (*text != '\0')
		return text;
	free(text);
	return NULL;
}
