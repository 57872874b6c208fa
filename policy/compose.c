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
	       QUOTED_PRINTABLE_MAX(p->text_len) + 1024;
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

bool
compose_body(struct dynbuf *out, const char *raw, size_t len,
	     const struct body_place *place, const struct compose_parts *p)
{
	return dynbuf_add(out, raw, place->begin) &&
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
