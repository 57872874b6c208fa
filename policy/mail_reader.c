/* SPDX-License-Identifier: MIT */
/*
 * What is a header field is what Postfix takes for one (is_header.c): a name
 * of printable ASCII, blanks, a colon. Nothing is given away before it is
 * known what the next line begins with, for that may be a fold.
 */
#include "mail_reader.h"

#include <stdlib.h>
#include <string.h>

#include "dynbuf.h"

enum state {
	STATE_LINE,  /* a line begins; `field` may hold the field before it */
	STATE_CR,    /* a line began with CR: the empty line, or none */
	STATE_NAME,  /* in a name */
	STATE_BLANK, /* between a name and its colon */
	STATE_VALUE,
	STATE_BODY,
	STATE_FAILED,
};

struct mail_reader {
	const struct mail_sink *sink;
	void *arg;
	enum state state;
	/* The line as it came while it is only a name; from the colon on the
	 * name, NUL, and the value. */
	struct dynbuf field;
	size_t name_len;
	size_t value; /* where it begins in `field`; 0: no colon yet */
};

struct mail_reader *
mail_reader_new(const struct mail_sink *sink, void *arg)
{
	struct mail_reader *r = calloc(1, sizeof(*r));

	if (r == NULL)
		abort();
	r->sink = sink;
	r->arg = arg;
	/* The CR of a line end is in it for a moment. */
	dynbuf_init(&r->field, MAIL_READER_FIELD_MAX + 1);
	return r;
}

void
mail_reader_free(struct mail_reader **rp)
{
	struct mail_reader *r = *rp;

	if (r == NULL)
		return;
	*rp = NULL;
	dynbuf_clear(&r->field);
	free(r);
}

/* All that fails leaves nothing that anybody would still want. */
static void
fail(struct mail_reader *r)
{
	r->state = STATE_FAILED;
	dynbuf_clear(&r->field);
}

static void
add(struct mail_reader *r, const char *data, size_t len)
{
	if (!dynbuf_add(&r->field, data, len))
		fail(r);
}

/* Gives the field that is held away, if there is one. */
static void
give_field(struct mail_reader *r)
{
	const char *value;
	size_t len;

	if (r->value == 0)
		return;
	value = r->field.data + r->value;
	len = r->field.len - r->value;
	if (len > 0 && *value == ' ') {
		value++;
		len--;
	}
	r->sink->header(r->arg, r->field.data, value, len);
	dynbuf_truncate(&r->field, 0);
	r->value = 0;
}

/* The header is over; what of the last line was held is of the body. */
static void
begin_body(struct mail_reader *r)
{
	r->state = STATE_BODY;
	r->sink->headers_done(r->arg);
	if (r->field.len > 0)
		r->sink->body(r->arg, r->field.data, r->field.len);
	dynbuf_clear(&r->field);
}

/* What stood behind the name is white space or nothing. */
static void
begin_value(struct mail_reader *r)
{
	dynbuf_truncate(&r->field, r->name_len);
	r->state = STATE_VALUE;
	r->value = r->name_len + 1;
	add(r, "", 1);
}

static bool
is_name_char(char c)
{
	return c > ' ' && c < 0x7f && c != ':';
}

/* The first byte of a line; false: it was not taken. */
static bool
take_first(struct mail_reader *r, char c)
{
	if (r->value != 0 && (c == ' ' || c == '\t')) {
		r->state = STATE_VALUE;
		add(r, (const char[]){ '\n', c }, 2);
		return true;
	}
	give_field(r);
	if (c == '\n') {
		begin_body(r);
		return true;
	}
	if (c == '\r') {
		r->state = STATE_CR;
		return true;
	}
	if (is_name_char(c)) {
		r->state = STATE_NAME;
		return false;
	}
	begin_body(r);
	return false;
}

/* The byte after a CR that began a line. */
static bool
take_after_cr(struct mail_reader *r, char c)
{
	if (c != '\n')
		add(r, "\r", 1);
	begin_body(r);
	return c == '\n';
}

/* As many bytes of a name as there are. */
static size_t
take_name(struct mail_reader *r, const char *data, size_t len)
{
	size_t n = 0;

	while (n < len && is_name_char(data[n]))
		n++;
	add(r, data, n);
	if (n < len && r->state == STATE_NAME) {
		r->name_len = r->field.len;
		r->state = STATE_BLANK;
	}
	return n;
}

static bool
take_blank(struct mail_reader *r, char c)
{
	if (c == ' ' || c == '\t') {
		add(r, &c, 1);
		return true;
	}
	if (c == ':') {
		begin_value(r);
		return true;
	}
	begin_body(r);
	return false;
}

static bool
is_too_long(const struct mail_reader *r)
{
	return r->field.len > MAIL_READER_FIELD_MAX;
}

/* A line's end, or the message's. */
static void
end_value(struct mail_reader *r, bool newline)
{
	size_t len = r->field.len;

	if (newline && len > r->value && r->field.data[len - 1] == '\r')
		dynbuf_truncate(&r->field, len - 1);
	r->state = STATE_LINE;
	if (is_too_long(r))
		fail(r);
}

static size_t
take_value(struct mail_reader *r, const char *data, size_t len)
{
	const char *lf = memchr(data, '\n', len);
	size_t n = lf != NULL ? (size_t)(lf - data) : len;

	add(r, data, n);
	if (lf == NULL || r->state == STATE_FAILED)
		return n;
	end_value(r, true);
	return n + 1;
}

/* How many bytes were taken: none, when only the state has changed. */
static size_t
take(struct mail_reader *r, const char *data, size_t len)
{
	switch (r->state) {
	case STATE_LINE:
		return take_first(r, *data);
	case STATE_CR:
		return take_after_cr(r, *data);
	case STATE_NAME:
		return take_name(r, data, len);
	case STATE_BLANK:
		return take_blank(r, *data);
	case STATE_VALUE:
		return take_value(r, data, len);
	case STATE_BODY:
		r->sink->body(r->arg, data, len);
		return len;
	case STATE_FAILED:
		break;
	}
	return len;
}

bool
mail_reader_feed(struct mail_reader *r, const char *data, size_t len)
{
	while (len > 0) {
		size_t n = take(r, data, len);

		data += n;
		len -= n;
	}
	return r->state != STATE_FAILED;
}

bool
mail_reader_end(struct mail_reader *r)
{
	if (r->state == STATE_VALUE)
		end_value(r, false);
	if (r->state == STATE_CR)
		add(r, "\r", 1);
	if (r->state == STATE_FAILED)
		return false;
	if (r->state == STATE_LINE)
		give_field(r);
	if (r->state != STATE_BODY && is_too_long(r))
		fail(r);
	else if (r->state != STATE_BODY)
		begin_body(r);
	return r->state != STATE_FAILED;
}
