/* SPDX-License-Identifier: MIT */
#include "compose.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "body.h"
#include "dynbuf.h"
#include "edits.h"
#include "message.h"
#include "mime.h"
#include "quoted_printable.h"

#define TYPE_OF(subtype) "text/" subtype "; charset=utf-8"
#define ENCODING "quoted-printable"

/* --- parts ---------------------------------------------------------------- */

/* Without the line end that the encoder adds: the one before the boundary is
 * there already. */
static bool
add_content(struct dynbuf *out, const char *text, size_t len)
{
	if (!quoted_printable_encode(out, text, len))
		return false;
	if (len > 0 && text[len - 1] != '\n')
		dynbuf_truncate(out, out->len - 2);
	return true;
}

static bool
add_part(struct dynbuf *out, const char *type, const char *text, size_t len)
{
	return dynbuf_addf(out,
			   "Content-Type: %s\r\n"
			   "Content-Transfer-Encoding: " ENCODING "\r\n\r\n",
			   type) &&
	       add_content(out, text, len);
}

static bool
add_alternative(struct dynbuf *out, const struct compose_parts *p)
{
	return dynbuf_addf(out, "--" COMPOSE_BOUNDARY "%s\r\n", p->token) &&
	       add_part(out, TYPE_OF("plain"), p->text, p->text_len) &&
	       dynbuf_addf(out, "\r\n--" COMPOSE_BOUNDARY "%s\r\n", p->token) &&
	       add_part(out, TYPE_OF("html"), p->html, p->html_len) &&
	       dynbuf_addf(out, "\r\n--" COMPOSE_BOUNDARY "%s--", p->token);
}

char *
compose_type(const struct compose_parts *p)
{
	struct dynbuf type;
	size_t len;

	dynbuf_init(&type, 256);
	if (p->text == NULL)
		(void)dynbuf_adds(&type, TYPE_OF("html"));
	else
		(void)dynbuf_addf(&type,
				  "multipart/alternative;\n boundary="
				  "\"" COMPOSE_BOUNDARY "%s\"",
				  p->token);
	return dynbuf_steal(&type, &len);
}

const char *
compose_encoding(const struct compose_parts *p)
{
	return p->text == NULL ? ENCODING : "7bit";
}

bool
compose_leaf(struct dynbuf *out, const struct compose_parts *p)
{
	if (p->text == NULL)
		return quoted_printable_encode(out, p->html, p->html_len);
	return add_alternative(out, p) && dynbuf_adds(out, "\r\n");
}

size_t
compose_room(const struct compose_parts *p)
{
	return QUOTED_PRINTABLE_MAX(p->html_len) +
	       QUOTED_PRINTABLE_MAX(p->text_len) + MIME_PART_HEADER_MAX;
}

/* --- a part in its place -------------------------------------------------- */

static bool
is_of_content(const char *line, size_t len)
{
	static const char *const names[] = {
		"Content-Type",
		"Content-Transfer-Encoding",
		"Content-MD5",
		"Content-Length",
	};
	const char *colon = memchr(line, ':', len);
	size_t n = colon != NULL ? (size_t)(colon - line) : 0;

	while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
		n--;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strlen(names[i]) == n &&
		    strncasecmp(line, names[i], n) == 0)
			return true;
	}
	return false;
}

static size_t
line_len(const char *s, size_t len)
{
	const char *lf = memchr(s, '\n', len);

	return lf != NULL ? (size_t)(lf - s) + 1 : len;
}

static bool
is_empty_line(const char *s, size_t len)
{
	return (len == 1 && s[0] == '\n') ||
	       (len == 2 && s[0] == '\r' && s[1] == '\n');
}

/* The fields of a header block that a new content leaves as they are. */
static bool
add_other_fields(struct dynbuf *out, const char *block, size_t len)
{
	bool stays = true;

	while (len > 0) {
		size_t n = line_len(block, len);

		if (is_empty_line(block, n))
			break;
		if (*block != ' ' && *block != '\t')
			stays = !is_of_content(block, n);
		if (stays && !dynbuf_add(out, block, n))
			return false;
		block += n;
		len -= n;
	}
	return true;
}

/* The delimiter line before a part; its length, 0 when there is none. */
static size_t
delimiter(const char *raw, size_t begin, const char **line_r)
{
	size_t at = begin > 0 ? begin - 1 : 0;

	while (at > 0 && raw[at - 1] != '\n')
		at--;
	*line_r = raw + at;
	return begin - at > 2 && memcmp(raw + at, "--", 2) == 0 ? begin - at
								: 0;
}

static bool
add_new_part(struct dynbuf *out, const char *raw,
	     const struct body_place *place, const struct compose_parts *p)
{
	const char *block = raw + place->begin;
	size_t block_len = place->content - place->begin;
	bool alone = p->text == NULL;
	const char *line;
	size_t n;

	if (!alone && place->in_alternative &&
	    (n = delimiter(raw, place->begin, &line)) > 0) {
		if (!add_part(out, TYPE_OF("plain"), p->text, p->text_len) ||
		    !dynbuf_adds(out, "\r\n") || !dynbuf_add(out, line, n))
			return false;
		alone = true;
	}
	if (!add_other_fields(out, block, block_len))
		return false;
	if (alone)
		return add_part(out, TYPE_OF("html"), p->html, p->html_len);
	return dynbuf_addf(out,
			   "Content-Type: multipart/alternative;\r\n boundary="
			   "\"" COMPOSE_BOUNDARY "%s\"\r\n\r\n",
			   p->token) &&
	       add_alternative(out, p);
}

/* --- the multipart/related above it ----------------------------------------
 */

#define ROOT "multipart/alternative"

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t
blanks(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && is_blank(s[n]))
		n++;
	return n;
}

/* Up to the next ';' that is in no quotes. */
static size_t
parameter_len(const char *s, size_t len)
{
	bool quoted = false;
	size_t n = 0;

	for (; n < len && (quoted || s[n] != ';'); n++) {
		if (s[n] == '"')
			quoted = !quoted;
		else if (s[n] == '\\' && quoted)
			n++;
	}
	return n < len ? n : len;
}

/* type=text/html, quoted or not, with blanks around: where the value is; 0: it
 * is another parameter. */
static size_t
root_type(const char *s, size_t len, size_t *n_r)
{
	static const char html[] = "text/html";
	size_t at = blanks(s, len);
	bool quoted;
	size_t n;

	if (len - at < 4 || strncasecmp(s + at, "type", 4) != 0)
		return 0;
	at += 4;
	at += blanks(s + at, len - at);
	if (at == len || s[at] != '=')
		return 0;
	at++;
	at += blanks(s + at, len - at);
	for (n = len - at; n > 0 && is_blank(s[at + n - 1]); n--)
		;
	quoted = n == sizeof(html) + 1 && s[at] == '"' && s[at + n - 1] == '"';
	if ((!quoted && n != sizeof(html) - 1) ||
	    strncasecmp(s + at + quoted, html, sizeof(html) - 1) != 0)
		return 0;
	*n_r = n;
	return at;
}

/* Where a Content-Type has that; 0: nowhere. */
static size_t
find_root_type(const char *type, size_t len, size_t *n_r)
{
	size_t at = parameter_len(type, len);

	while (at < len) {
		size_t n = parameter_len(type + at + 1, len - at - 1);
		size_t value = root_type(type + at + 1, n, n_r);

		if (value > 0)
			return at + 1 + value;
		at += 1 + n;
	}
	return 0;
}

/* A value with the other one in the place of that. */
static bool
add_with_root(struct dynbuf *out, const char *type, size_t len)
{
	size_t n;
	size_t at = find_root_type(type, len, &n);

	if (at == 0)
		return dynbuf_add(out, type, len);
	return dynbuf_add(out, type, at) && dynbuf_adds(out, "\"" ROOT "\"") &&
	       dynbuf_add(out, type + at + n, len - at - n);
}

/* The HTML part right below it becomes a multipart/alternative. */
static bool
changes_root(const struct body_place *place, const struct compose_parts *p)
{
	return place->in_related && p->text != NULL;
}

char *
compose_related_type(const char *type, size_t len,
		     const struct body_place *place,
		     const struct compose_parts *p)
{
	struct dynbuf out;
	size_t n;

	if (!changes_root(place, p) || !place->related_is_message ||
	    find_root_type(type, len, &n) == 0)
		return NULL;
	dynbuf_init(&out, len + sizeof(ROOT) + 2);
	(void)add_with_root(&out, type, len);
	return dynbuf_steal(&out, &n);
}

/* Its header block. */
static bool
add_related_header(struct dynbuf *out, const char *block, size_t len)
{
	static const char name[] = "Content-Type";

	while (len > 0) {
		size_t n = line_len(block, len);
		bool ok;

		while (n < len && (block[n] == ' ' || block[n] == '\t'))
			n += line_len(block + n, len - n);
		ok = n >= sizeof(name) &&
			     strncasecmp(block, name, sizeof(name) - 1) == 0
			 ? add_with_root(out, block, n)
			 : dynbuf_add(out, block, n);
		if (!ok)
			return false;
		block += n;
		len -= n;
	}
	return true;
}

/* What stands before the part. */
static bool
add_before(struct dynbuf *out, const char *raw, const struct body_place *place,
	   const struct compose_parts *p)
{
	size_t begin = place->related_begin;
	size_t content = place->related_content;

	if (!changes_root(place, p) || place->related_is_message)
		return dynbuf_add(out, raw, place->begin);
	return dynbuf_add(out, raw, begin) &&
	       add_related_header(out, raw + begin, content - begin) &&
	       dynbuf_add(out, raw + content, place->begin - content);
}

/* --- a body with another part ----------------------------------------------
 */

bool
compose_body(struct dynbuf *out, const char *raw, size_t len,
	     const struct body_place *place, const struct compose_parts *p)
{
	return add_before(out, raw, place, p) &&
	       add_new_part(out, raw, place, p) &&
	       dynbuf_add(out, raw + place->end, len - place->end);
}

/* --- a message ------------------------------------------------------------ */

/* One of the message's headers, and what becomes of it. */
struct field {
	const char *name;
	const char *value;
	size_t len;
};

/* Which header is the nth of its name: "name:nth", lower case, to its place. */
static char *
key_of(const char *name, unsigned nth)
{
	g_autofree char *lower = g_ascii_strdown(name, -1);

	return g_strdup_printf("%s:%u", lower, nth);
}

static void
index_fields(const struct message *m, GHashTable *places)
{
	g_autoptr(GHashTable) seen =
	    g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	for (size_t i = 0; i < message_n_headers(m); i++) {
		const char *name = message_header_at(m, i)->name;
		char *lower = g_ascii_strdown(name, -1);
		unsigned nth =
		    GPOINTER_TO_UINT(g_hash_table_lookup(seen, lower)) + 1;

		g_hash_table_insert(seen, lower, GUINT_TO_POINTER(nth));
		g_hash_table_insert(places, key_of(name, nth),
				    GSIZE_TO_POINTER(i + 1));
	}
}

/* Each name's deletions come from its highest index down, and only its first
 * is changed: so an index is that of the message as it came. */
static void
edit_fields(const struct message *m, const struct edits *e, struct field *v)
{
	g_autoptr(GHashTable) places =
	    g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	index_fields(m, places);
	for (size_t i = 0; i < e->n_headers; i++) {
		const struct header_edit *h = &e->headers[i];
		g_autofree char *key = key_of(h->name, h->index);
		size_t place =
		    h->kind == EDIT_ADD
			? 0
			: GPOINTER_TO_SIZE(g_hash_table_lookup(places, key));

		if (place == 0)
			continue;
		v[place - 1].value = h->value;
		v[place - 1].len = h->value != NULL ? strlen(h->value) : 0;
	}
}

/* Folds are LF and white space; a bare CR is none. */
static bool
add_field(struct dynbuf *out, const char *name, const char *value, size_t len)
{
	bool ok = dynbuf_addf(out, "%s: ", name);

	while (ok && len > 0) {
		const char *lf = memchr(value, '\n', len);
		size_t n = lf != NULL ? (size_t)(lf - value) : len;

		ok = dynbuf_add(out, value,
				n > 0 && value[n - 1] == '\r' ? n - 1 : n) &&
		     (lf == NULL || dynbuf_adds(out, "\r\n"));
		value += lf != NULL ? n + 1 : n;
		len -= lf != NULL ? n + 1 : n;
	}
	return ok && dynbuf_adds(out, "\r\n");
}

static bool
add_headers(struct dynbuf *out, const struct message *m, const struct edits *e)
{
	size_t n = message_n_headers(m);
	g_autofree struct field *v = g_new(struct field, n + 1);
	bool ok = true;

	for (size_t i = 0; i < n; i++) {
		const struct message_header *h = message_header_at(m, i);

		v[i] = (struct field){ h->name, h->value, h->value_len };
	}
	edit_fields(m, e, v);
	for (size_t i = 0; i < n && ok; i++)
		ok = v[i].value == NULL ||
		     add_field(out, v[i].name, v[i].value, v[i].len);
	for (size_t i = 0; i < e->n_headers && ok; i++) {
		const struct header_edit *h = &e->headers[i];

		ok = h->kind != EDIT_ADD ||
		     add_field(out, h->name, h->value, strlen(h->value));
	}
	return ok;
}

bool
compose_message(struct dynbuf *out, const struct message *m,
		const struct edits *e, const char *body, size_t len)
{
	return add_headers(out, m, e) && dynbuf_adds(out, "\r\n") &&
	       (e->new_body ? dynbuf_add(out, e->body, e->body_len)
			    : dynbuf_add(out, body, len));
}
