/* SPDX-License-Identifier: MIT */
/*
 * The parser works line by line, for a delimiter is a whole line. In a body
 * only lines that begin with "--" are looked at; everything between two such
 * lines goes to the sink in one piece. The line end before a delimiter belongs
 * to the delimiter (RFC 2046, section 5.1.1), so the last line end is held
 * back until it is known what follows.
 */
#include "mime.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dynbuf.h"
#include "header_text.h"
#include "mime_field.h"
#include "mime_levels.h"
#include "mime_parameter.h"

enum state {
	STATE_START,   /* the message's own header fields */
	STATE_HEADER,  /* a part's header */
	STATE_LEAF,    /* a part's body */
	STATE_BETWEEN, /* preamble, epilogue, or what nobody wants */
	STATE_OVER,
};

enum field { FIELD_TYPE, FIELD_ENCODING, FIELD_DISPOSITION, FIELD_ID, FIELDS };

static const char *const field_names[FIELDS] = {
	[FIELD_TYPE] = "Content-Type",
	[FIELD_ENCODING] = "Content-Transfer-Encoding",
	[FIELD_DISPOSITION] = "Content-Disposition",
	[FIELD_ID] = "Content-ID",
};

struct mime {
	const struct mime_sink *sink;
	void *arg;
	enum state state;
	enum mime_status status;
	struct mime_levels levels;
	int entities; /* leaves and multiparts */
	unsigned leaves;
	size_t at;    /* bytes of the body taken, with the line at hand */
	size_t begin; /* where the header being read begins */
	bool broken;  /* it ended at a line that is none */

	char *fields[FIELDS]; /* of the header being read, unfolded */
	struct dynbuf header; /* the block, raw */
	size_t header_line;   /* where its unfinished line begins */

	struct dynbuf line; /* a body line that may be a delimiter */
	bool mid_line;	    /* the body continues a line */
	char held[2];	    /* a line end that may belong to a delimiter */
	unsigned n_held;

	struct mime_type type; /* of the open leaf */
	struct mime_part part;
	bool wanted;

	const char *problem;
	const char *lost; /* see mime_lost() */
	char error[160];
};

struct mime *
mime_new(const struct mime_sink *sink, void *arg)
{
	struct mime *m = calloc(1, sizeof(*m));

	if (m == NULL)
		abort();
	m->sink = sink;
	m->arg = arg;
	m->status = MIME_MORE;
	dynbuf_init(&m->header, MIME_PART_HEADER_MAX);
	dynbuf_init(&m->line, MIME_DELIMITER_MAX);
	return m;
}

static void
clear_fields(struct mime *m)
{
	for (int i = 0; i < FIELDS; i++) {
		free(m->fields[i]);
		m->fields[i] = NULL;
	}
}

void
mime_free(struct mime **mp)
{
	struct mime *m = *mp;

	if (m == NULL)
		return;
	mime_levels_pop(&m->levels, 0);
	clear_fields(m);
	dynbuf_clear(&m->header);
	dynbuf_clear(&m->line);
	mime_type_clear(&m->type);
	free(m);
	*mp = NULL;
}

static void fail(struct mime *m, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
fail(struct mime *m, const char *fmt, ...)
{
	va_list ap;

	if (m->status == MIME_ERROR)
		return;
	m->status = MIME_ERROR;
	m->state = STATE_OVER;
	va_start(ap, fmt);
	(void)vsnprintf(m->error, sizeof(m->error), fmt, ap);
	va_end(ap);
}

static void
note(struct mime *m, const char *problem)
{
	if (m->problem == NULL)
		m->problem = problem;
}

/* --- header fields -------------------------------------------------------- */

/* Two fields of one name that say different things: which one counts depends
 * on the reader, and so would what is an attachment. */
static void
set_field(struct mime *m, enum field f, char *value)
{
	if (m->fields[f] == NULL) {
		m->fields[f] = value;
		return;
	}
	if (strcmp(m->fields[f], value) != 0)
		fail(m, "%s: given twice, not the same", field_names[f]);
	free(value);
}

/* What a part is does not depend on it: the first one counts. */
static void
set_id(struct mime *m, char *value)
{
	if (m->fields[FIELD_ID] == NULL)
		m->fields[FIELD_ID] = value;
	else
		free(value);
}

static void
read_field(struct mime *m, const char *name, size_t name_len, const char *value,
	   size_t len)
{
	size_t n;

	for (int f = 0; f < FIELDS; f++) {
		if (strlen(field_names[f]) != name_len ||
		    strncasecmp(field_names[f], name, name_len) != 0)
			continue;
		if (f == FIELD_ID)
			set_id(m, header_unfold(value, len, &n));
		else if (len > MIME_FIELD_MAX)
			fail(m, "%s: longer than %d bytes", field_names[f],
			     MIME_FIELD_MAX);
		else
			set_field(m, (enum field)f,
				  header_unfold(value, len, &n));
	}
}

void
mime_header(struct mime *m, const char *name, const char *value, size_t len)
{
	read_field(m, name, strlen(name), value, len);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Length of a field name at the start of a line, or 0. Blanks before the
 * colon are obsolete but seen (RFC 5322, section 4.5). */
static size_t
field_name_len(const char *line, size_t len)
{
	size_t n = 0;

	while (n < len && line[n] > ' ' && line[n] < 0x7f && line[n] != ':')
		n++;
	for (size_t i = n; n > 0 && i < len; i++) {
		if (line[i] == ':')
			return n;
		if (!is_blank(line[i]))
			break;
	}
	return 0;
}

/* Where the logical line at `from` ends: before a line that is no fold. */
static size_t
field_end(const struct dynbuf *h, size_t from)
{
	size_t i = from;

	while (i < h->len) {
		const char *lf = memchr(h->data + i, '\n', h->len - i);

		i = lf ? (size_t)(lf - h->data) + 1 : h->len;
		if (i >= h->len || !is_blank(h->data[i]))
			break;
	}
	return i;
}

static void
read_header_block(struct mime *m)
{
	const struct dynbuf *h = &m->header;
	size_t at = 0;

	while (at < h->len && m->status == MIME_MORE) {
		size_t end = field_end(h, at);
		size_t name = field_name_len(h->data + at, end - at);
		size_t stop = end;

		while (stop > at &&
		       (h->data[stop - 1] == '\n' || h->data[stop - 1] == '\r'))
			stop--;
		if (name > 0) {
			const char *colon = memchr(h->data + at, ':', end - at);
			size_t value = (size_t)(colon - h->data) + 1;

			read_field(m, h->data + at, name, h->data + value,
				   stop > value ? stop - value : 0);
		}
		at = end;
	}
}

/* --- parts ---------------------------------------------------------------- */

static void
end_leaf(struct mime *m)
{
	if (m->state != STATE_LEAF)
		return;
	m->state = STATE_BETWEEN;
	if (m->sink->end(m->arg, &m->part) && m->status == MIME_MORE) {
		m->status = MIME_DONE;
		m->state = STATE_OVER;
	}
	mime_type_clear(&m->type);
}

/* What follows is not looked at when this returns without a new level: bytes
 * up to the next delimiter of a level that is open. */
static void
begin_multipart(struct mime *m, struct mime_type *t, bool attachment,
		size_t content)
{
	m->state = STATE_BETWEEN;
	if (t->boundary == NULL) {
		note(m, "Content-Type: multipart without a boundary");
		m->lost = "Content-Type: multipart without a boundary";
		return;
	}
	if (t->boundaries_differ) {
		fail(m, "Content-Type: two boundary parameters");
		return;
	}
	if (strlen(t->boundary) > MIME_BOUNDARY_MAX) {
		fail(m, "Content-Type: boundary longer than %d bytes",
		     MIME_BOUNDARY_MAX);
		return;
	}
	if (m->levels.depth >= MIME_DEPTH_MAX) {
		fail(m, "MIME parts nested deeper than %d", MIME_DEPTH_MAX);
		return;
	}
	mime_levels_push(&m->levels, t, attachment, (unsigned)m->entities,
			 m->begin, content);
}

static void
begin_leaf(struct mime *m, bool attachment, size_t content)
{
	const char *encoding = m->fields[FIELD_ENCODING];
	const struct mime_level *above = mime_levels_top(&m->levels);

	m->leaves++;
	m->part = (struct mime_part){
		.type = m->type.type,
		.subtype = m->type.subtype,
		.charset = m->type.charset,
		.attachment = attachment,
		.flowed = m->type.flowed,
		.encoding = mime_encoding_parse(encoding ? encoding : ""),
		.depth = m->levels.depth,
		.broken = m->broken,
		.in_alternative = above->alternative,
		.alternative = above->alternative_above,
		.related = above->related,
		.in_related = above->is_related,
		.related_above = above->place,
		.is_signed = above->is_signed,
		.begin = m->begin,
		.content = content,
		.type_field = m->fields[FIELD_TYPE],
		.disposition_field = m->fields[FIELD_DISPOSITION],
		.id_field = m->fields[FIELD_ID],
	};
	m->wanted = m->sink->begin(m->arg, &m->part) == MIME_WANT_BODY;
	m->part.type_field = NULL;
	m->part.disposition_field = NULL;
	m->part.id_field = NULL;
	m->state = STATE_LEAF;
}

static void
read_type(struct mime *m)
{
	const char *by_default = mime_levels_top(&m->levels)->digest
				     ? "message/rfc822"
				     : "text/plain";

	if (m->fields[FIELD_TYPE] != NULL)
		mime_type_parse(m->fields[FIELD_TYPE], &m->type);
	else
		mime_type_parse(by_default, &m->type);
}

/* The header of an entity is complete; what it holds begins at `content`. */
static void
begin_entity(struct mime *m, size_t content)
{
	const char *disposition = m->fields[FIELD_DISPOSITION];
	bool attachment;

	m->mid_line = false;
	m->n_held = 0;
	if (m->status != MIME_MORE)
		return;
	if (++m->entities > MIME_PARTS_MAX) {
		fail(m, "more than %d MIME parts", MIME_PARTS_MAX);
		return;
	}
	read_type(m);
	attachment = mime_levels_top(&m->levels)->attachment ||
		     (disposition != NULL &&
		      mime_disposition_is_attachment(disposition));
	if (strcmp(m->type.type, "multipart") == 0) {
		begin_multipart(m, &m->type, attachment, content);
		mime_type_clear(&m->type);
	} else {
		begin_leaf(m, attachment, content);
	}
	clear_fields(m);
}

/* --- delimiters ----------------------------------------------------------- */

/* A part of level `depth` is over, and with it all that is open inside. */
static void
at_delimiter(struct mime *m, unsigned depth, bool close)
{
	m->n_held = 0;
	end_leaf(m);
	if (m->state == STATE_OVER)
		return;
	mime_levels_at(&m->levels, depth, close);
	m->mid_line = false;
	if (!close) {
		dynbuf_truncate(&m->header, 0);
		m->header_line = 0;
		m->begin = m->at;
		m->broken = false;
		m->state = STATE_HEADER;
		return;
	}
	m->state = STATE_BETWEEN;
	if (m->levels.depth == 0) {
		m->status = MIME_DONE;
		m->state = STATE_OVER;
	}
}

/* --- bodies --------------------------------------------------------------- */

static void
emit(struct mime *m, const char *data, size_t len)
{
	if (len > 0)
		m->sink->data(m->arg, data, len);
}

/* Gives body bytes to the sink, but for a line end at their end. */
static void
body_bytes(struct mime *m, const char *data, size_t len)
{
	unsigned hold = 0;

	if (len == 0)
		return;
	m->mid_line = data[len - 1] != '\n';
	if (m->state == STATE_BETWEEN)
		mime_levels_between(&m->levels, data, len);
	if (m->state != STATE_LEAF || !m->wanted)
		return;
	if (len == 1 && data[0] == '\n' && m->n_held == 1 &&
	    m->held[0] == '\r') {
		m->held[m->n_held++] = '\n';
		return;
	}
	if (data[len - 1] == '\n')
		hold = len > 1 && data[len - 2] == '\r' ? 2 : 1;
	else if (data[len - 1] == '\r')
		hold = 1;
	emit(m, m->held, m->n_held);
	emit(m, data, len - hold);
	memcpy(m->held, data + len - hold, hold);
	m->n_held = hold;
}

/* How many bytes from a line's start on are lines that no delimiter can be. */
static size_t
plain_lines(const char *data, size_t len)
{
	size_t i = 0;

	while (i < len && data[i] != '-') {
		const char *lf = memchr(data + i, '\n', len - i);

		if (lf == NULL)
			return len;
		i = (size_t)(lf - data) + 1;
	}
	return i;
}

static size_t
line_len(const char *data, size_t len)
{
	const char *lf = memchr(data, '\n', len);

	return lf ? (size_t)(lf - data) + 1 : len;
}

/* A whole line that begins with '-'. */
static void
dash_line(struct mime *m, const char *line, size_t len)
{
	bool close;
	unsigned depth = mime_levels_match(&m->levels, line, len, &close);

	if (depth > 0)
		at_delimiter(m, depth, close);
	else
		body_bytes(m, line, len);
}

/* Takes the next bytes of a line kept because it may be a delimiter. */
static size_t
feed_kept_line(struct mime *m, const char *data, size_t len)
{
	size_t n = line_len(data, len);
	bool whole = data[n - 1] == '\n';

	if (!dynbuf_add(&m->line, data, n)) {
		/* Too long for a delimiter: it is content. */
		body_bytes(m, m->line.data, m->line.len);
		dynbuf_truncate(&m->line, 0);
		m->line.overflow = false;
		return 0;
	}
	m->at += n;
	if (whole) {
		dash_line(m, m->line.data, m->line.len);
		dynbuf_truncate(&m->line, 0);
	}
	return n;
}

/* Takes some bytes of a body; says how many. */
static size_t
feed_body(struct mime *m, const char *data, size_t len)
{
	size_t n;

	if (m->line.len > 0)
		return feed_kept_line(m, data, len);
	if (m->mid_line || m->levels.depth == 0) {
		n = m->levels.depth == 0 ? len : line_len(data, len);
		m->at += n;
		body_bytes(m, data, n);
		return n;
	}
	n = plain_lines(data, len);
	if (n > 0) {
		m->at += n;
		body_bytes(m, data, n);
		return n;
	}
	n = line_len(data, len);
	m->at += n;
	if (data[n - 1] == '\n' || n > MIME_DELIMITER_MAX)
		dash_line(m, data, n);
	else
		(void)dynbuf_add(&m->line, data, n);
	return n;
}

/* --- part headers --------------------------------------------------------- */

static void
after_header(struct mime *m, size_t content)
{
	read_header_block(m);
	begin_entity(m, content);
}

/* A whole line of a part's header, the last of m->header. Ends the header at
 * an empty line, at a delimiter, and at a line that is no field: clients that
 * forget the empty line are seen. */
static void
header_line(struct mime *m)
{
	size_t at = m->header_line;
	const char *line = m->header.data + at;
	size_t len = m->header.len - at;
	bool close;
	unsigned depth = mime_levels_match(&m->levels, line, len, &close);
	char *rest;

	if (depth == 0 &&
	    ((is_blank(*line) && at > 0) || field_name_len(line, len) > 0)) {
		m->header_line = m->header.len;
		return;
	}
	if (depth == 0 && (line[0] == '\n' || strncmp(line, "\r\n", 2) == 0)) {
		dynbuf_truncate(&m->header, at);
		after_header(m, m->at);
		return;
	}
	rest = malloc(len);
	if (rest == NULL)
		abort();
	memcpy(rest, line, len);
	dynbuf_truncate(&m->header, at);
	m->broken = depth == 0;
	after_header(m, m->at - len);
	if (m->state != STATE_OVER && depth > 0) {
		at_delimiter(m, depth, close);
	} else if (m->state != STATE_OVER) {
		note(m, "a part's header has a line that is no header");
		body_bytes(m, rest, len);
	}
	free(rest);
}

static size_t
feed_header(struct mime *m, const char *data, size_t len)
{
	size_t n = line_len(data, len);

	if (!dynbuf_add(&m->header, data, n)) {
		fail(m, "a MIME part's header is longer than %d bytes",
		     MIME_PART_HEADER_MAX);
		return len;
	}
	m->at += n;
	if (data[n - 1] == '\n')
		header_line(m);
	return n;
}

/* --- the outside ---------------------------------------------------------- */

enum mime_status
mime_feed(struct mime *m, const char *data, size_t len)
{
	if (m->state == STATE_START)
		begin_entity(m, 0);
	while (len > 0 && m->state != STATE_OVER) {
		size_t n = m->state == STATE_HEADER ? feed_header(m, data, len)
						    : feed_body(m, data, len);

		data += n;
		len -= n;
	}
	return m->status;
}

enum mime_status
mime_end(struct mime *m)
{
	if (m->state == STATE_START)
		begin_entity(m, 0);
	/* A last line without a line end may be a delimiter all the same. */
	if (m->state == STATE_HEADER && m->header.len > m->header_line)
		header_line(m);
	if (m->state == STATE_HEADER)
		after_header(m, m->at);
	if (m->state != STATE_OVER && m->line.len > 0) {
		dash_line(m, m->line.data, m->line.len);
		dynbuf_truncate(&m->line, 0);
	}
	if (m->state == STATE_HEADER)
		after_header(m, m->at);
	if (m->state == STATE_LEAF && m->wanted)
		emit(m, m->held, m->n_held);
	end_leaf(m);
	mime_levels_pop(&m->levels, 0);
	if (m->status == MIME_MORE)
		m->status = MIME_DONE;
	m->state = STATE_OVER;
	return m->status;
}

const char *
mime_error(const struct mime *m)
{
	return m->status == MIME_ERROR ? m->error : NULL;
}

const char *
mime_problem(const struct mime *m)
{
	return m->problem;
}

const char *
mime_lost(const struct mime *m)
{
	return m->lost != NULL ? m->lost : m->levels.lost;
}

unsigned
mime_parts(const struct mime *m)
{
	return m->leaves;
}

/* --- what only files need ------------------------------------------------- */

char *
mime_file_name(const struct mime_part *part)
{
	char *name = mime_parameter(part->disposition_field, "filename");

	return name != NULL ? name : mime_parameter(part->type_field, "name");
}

char *
mime_method(const struct mime_part *part)
{
	return mime_parameter(part->type_field, "method");
}

bool
mime_is_inline(const struct mime_part *part)
{
	return part->disposition_field != NULL &&
	       mime_disposition_is_inline(part->disposition_field);
}
