/* SPDX-License-Identifier: MIT */
#include "control_message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "need.h"
#include "policy/address.h"

/* A line of a text, without its end. */
struct line {
	const char *at;
	size_t len;
};

/* False at the end. A CR that no LF follows is a part of the line. */
static bool
next_line(const char **at, const char *end, struct line *line_r)
{
	const char *from = *at, *lf;

	if (from == end)
		return false;
	lf = memchr(from, '\n', (size_t)(end - from));
	*at = lf != NULL ? lf + 1 : end;
	line_r->at = from;
	line_r->len = (size_t)((lf != NULL ? lf : end) - from);
	if (lf != NULL && line_r->len > 0 && lf[-1] == '\r')
		line_r->len--;
	return true;
}

/* The length of the name that a header line begins with; 0: it is none. */
static size_t
name_length(const struct line *line, size_t *colon_r)
{
	size_t n = 0;

	while (n < line->len && line->at[n] > ' ' && line->at[n] < 0x7f &&
	       line->at[n] != ':')
		n++;
	*colon_r = n;
	while (*colon_r < line->len &&
	       (line->at[*colon_r] == ' ' || line->at[*colon_r] == '\t'))
		(*colon_r)++;
	return *colon_r < line->len && line->at[*colon_r] == ':' ? n : 0;
}

static const char *
header_trouble(const struct control_message *m, const struct dynbuf *value,
	       size_t name_len)
{
	if (m->n == CONTROL_HEADERS_MAX)
		return "has more than 10000 headers";
	if (value->overflow || name_len > CONTROL_HEADER_MAX - value->len)
		return "has a header of more than 65000 bytes";
	if (strlen(dynbuf_str(value)) != value->len)
		return "has a NUL in a header";
	return NULL;
}

/* The header that begins with `line` and goes on at *at. */
static const char *
add_header(struct control_message *m, const struct line *line, size_t name_len,
	   size_t colon, const char **at, const char *end)
{
	struct dynbuf value;
	const char *error;
	struct line more;
	size_t len;

	dynbuf_init(&value, CONTROL_HEADER_MAX - 1);
	(void)dynbuf_add(&value, line->at + colon + 1, line->len - colon - 1);
	while (*at < end && (**at == ' ' || **at == '\t') &&
	       next_line(at, end, &more)) {
		(void)dynbuf_adds(&value, "\n");
		(void)dynbuf_add(&value, more.at, more.len);
	}
	error = header_trouble(m, &value, name_len);
	if (error != NULL) {
		dynbuf_clear(&value);
		return error;
	}
	if (m->n % 64 == 0)
		m->headers = need(
		    reallocarray(m->headers, m->n + 64, sizeof(*m->headers)));
	m->headers[m->n].name = need(strndup(line->at, name_len));
	m->headers[m->n++].value = dynbuf_steal(&value, &len);
	return NULL;
}

static const char *
parse_headers(struct control_message *m, const char **at, const char *end)
{
	const char *error = NULL;

	if (end - *at >= 5 && memcmp(*at, "From ", 5) == 0) {
		struct line mailbox;

		(void)next_line(at, end, &mailbox);
	}
	while (error == NULL && *at < end) {
		const char *before = *at;
		struct line line;
		size_t name_len, colon;

		(void)next_line(at, end, &line);
		if (line.len == 0)
			break;
		name_len = name_length(&line, &colon);
		if (name_len == 0) {
			*at = before;
			break;
		}
		error = add_header(m, &line, name_len, colon, at, end);
	}
	return error;
}

static const char *
parse_body(struct control_message *m, const char *at, const char *end)
{
	struct line line;

	while (next_line(&at, end, &line)) {
		(void)dynbuf_add(&m->body, line.at, line.len);
		(void)dynbuf_adds(&m->body, "\r\n");
	}
	return m->body.overflow ? "is longer than 128 MB" : NULL;
}

bool
control_message_parse(const char *text, size_t len, struct control_message *m_r,
		      const char **error_r)
{
	const char *at = text, *end = text + len;

	*m_r = (struct control_message){ 0 };
	/* Each line end may have become one byte longer. */
	dynbuf_init(&m_r->body, 2 * (size_t)CONTROL_MESSAGE_MAX);
	*error_r = parse_headers(m_r, &at, end);
	if (*error_r == NULL)
		*error_r = parse_body(m_r, at, end);
	if (*error_r == NULL)
		return true;
	control_message_clear(m_r);
	return false;
}

void
control_message_clear(struct control_message *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->headers[i].name);
		free(m->headers[i].value);
	}
	free(m->headers);
	dynbuf_clear(&m->body);
	*m = (struct control_message){ 0 };
}

static bool
has(const struct control_recipients *r, const char *address)
{
	for (size_t i = 0; i < r->n; i++) {
		if (strcmp(r->v[i], address) == 0)
			return true;
	}
	return false;
}

static void
add_recipient(struct control_recipients *r, const char *addr)
{
	char *address;

	if (!address_is_plain(addr))
		return;
	if (asprintf(&address, "<%s>", addr) < 0)
		abort();
	if (has(r, address))
		free(address);
	else
		r->v[r->n++] = address;
}

/* seen: addresses so far, those left out too. */
static bool
add_list(struct control_recipients *r, const char *value, size_t *seen)
{
	struct mailbox_list list;

	if (mailbox_list_parse(value, strlen(value), &list) == ADDRESS_TOO_MANY)
		return false;
	*seen += list.n;
	for (size_t i = 0; *seen <= CONTROL_RECIPIENTS_MAX && i < list.n; i++)
		add_recipient(r, list.v[i].addr);
	mailbox_list_clear(&list);
	return *seen <= CONTROL_RECIPIENTS_MAX;
}

bool
control_message_recipients(const struct control_message *m,
			   struct control_recipients *r_r)
{
	size_t seen = 0;

	r_r->n = 0;
	r_r->v = need(calloc(CONTROL_RECIPIENTS_MAX, sizeof(*r_r->v)));
	for (size_t i = 0; i < m->n; i++) {
		const struct control_header *h = &m->headers[i];

		if (strcasecmp(h->name, "To") != 0 &&
		    strcasecmp(h->name, "Cc") != 0)
			continue;
		if (!add_list(r_r, h->value, &seen)) {
			control_recipients_clear(r_r);
			return false;
		}
	}
	return true;
}

void
control_recipients_clear(struct control_recipients *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->v[i]);
	free(r->v);
	*r = (struct control_recipients){ 0 };
}
