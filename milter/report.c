/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "need.h"
#include "policy/json_text.h"
#include "policy/utf8.h"

/* Names of fields for people stand in a column of this width. */
#define NAME_WIDTH 20
/* No column is made wider for one long cell. */
#define CELL_WIDTH_MAX 60

void
report_begin(struct report *r, bool json, struct dynbuf *out)
{
	*r = (struct report){ .out = out, .json = json };
	if (json)
		(void)dynbuf_adds(out, "{");
}

/* Bytes that are no UTF-8, and control characters, become '?'. */
static void
add_printable(struct dynbuf *out, const char *s)
{
	size_t len = strlen(s);
	size_t at = 0;

	while (at < len) {
		size_t n = utf8_valid_prefix(s + at, len - at);

		for (size_t i = 0; i < n; i++) {
			unsigned char c = (unsigned char)s[at + i];

			(void)dynbuf_add(
			    out, c < ' ' || c == 0x7f ? "?" : s + at + i, 1);
		}
		at += n;
		if (at < len) {
			(void)dynbuf_adds(out, "?");
			at++;
		}
	}
}

static void
add_json_string(struct dynbuf *out, const char *s)
{
	size_t len = strlen(s);
	struct dynbuf safe;

	if (utf8_valid_prefix(s, len) == len) {
		(void)json_add_string(out, s, len);
		return;
	}
	dynbuf_init(&safe, len + 1);
	add_printable(&safe, s);
	(void)json_add_string(out, dynbuf_str(&safe), safe.len);
	dynbuf_clear(&safe);
}

/* `"name":` or `name:    `. */
static void
begin_member(struct report *r, const char *name)
{
	if (r->json) {
		(void)dynbuf_addf(r->out,
				  "%s\"%s\":", r->has_members ? "," : "", name);
	} else {
		(void)dynbuf_addf(r->out, "%s:%*s", name,
				  strlen(name) < NAME_WIDTH
				      ? (int)(NAME_WIDTH - strlen(name))
				      : 1,
				  "");
	}
	r->has_members = true;
}

static void
end_member(struct report *r)
{
	if (!r->json)
		(void)dynbuf_adds(r->out, "\n");
}

void
report_text(struct report *r, const char *name, const char *value)
{
	begin_member(r, name);
	if (r->json)
		add_json_string(r->out, value);
	else
		add_printable(r->out, value);
	end_member(r);
}

void
report_number(struct report *r, const char *name, uint64_t value)
{
	begin_member(r, name);
	(void)dynbuf_addf(r->out, "%" PRIu64, value);
	end_member(r);
}

void
report_switch(struct report *r, const char *name, bool value)
{
	begin_member(r, name);
	if (r->json)
		(void)dynbuf_adds(r->out, value ? "true" : "false");
	else
		(void)dynbuf_adds(r->out, value ? "yes" : "no");
	end_member(r);
}

const char *
report_format_time(int64_t t, char *dst)
{
	time_t seconds = (time_t)t;
	struct tm tm;

	if (t == 0 || gmtime_r(&seconds, &tm) == NULL ||
	    strftime(dst, REPORT_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		(void)snprintf(dst, REPORT_TIME_SIZE, "never");
	return dst;
}

void
report_time(struct report *r, const char *name, int64_t value)
{
	char text[REPORT_TIME_SIZE];

	begin_member(r, name);
	if (r->json && value == 0)
		(void)dynbuf_adds(r->out, "null");
	else if (r->json)
		(void)dynbuf_addf(r->out, "\"%s\"",
				  report_format_time(value, text));
	else
		(void)dynbuf_adds(r->out, report_format_time(value, text));
	end_member(r);
}

void
report_json(struct report *r, const char *name, const char *json, size_t len)
{
	begin_member(r, name);
	(void)dynbuf_add(r->out, json, len);
	end_member(r);
}

void
report_table(struct report *r, const char *name, const char *const *columns,
	     size_t n_columns)
{
	r->columns = columns;
	r->n_columns = n_columns;
	if (r->json)
		begin_member(r, name);
	if (r->json)
		(void)dynbuf_adds(r->out, "[");
}

void
report_row(struct report *r, const char *const *cells)
{
	if (r->n_cells + r->n_columns > r->max_cells) {
		size_t more = 2 * r->max_cells + 16 * r->n_columns;

		r->cells = need(realloc(r->cells, more * sizeof(*r->cells)));
		r->max_cells = more;
	}
	for (size_t i = 0; i < r->n_columns; i++)
		r->cells[r->n_cells++] = need(strdup(cells[i]));
}

/* Letters, not bytes; nearly what a terminal shows. */
static size_t
width_of(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static size_t
column_width(const struct report *r, size_t column)
{
	size_t width = width_of(r->columns[column]);

	for (size_t i = column; i < r->n_cells; i += r->n_columns) {
		size_t w = width_of(r->cells[i]);

		if (w > width)
			width = w;
	}
	return width < CELL_WIDTH_MAX ? width : CELL_WIDTH_MAX;
}

/* The last cell of a line has no blanks behind it. */
static void
write_cell(struct report *r, const char *cell, size_t column,
	   const size_t *widths)
{
	size_t w = width_of(cell);

	add_printable(r->out, cell);
	if (column + 1 == r->n_columns)
		(void)dynbuf_adds(r->out, "\n");
	else
		(void)dynbuf_addf(
		    r->out, "%*s",
		    w < widths[column] ? (int)(widths[column] - w) + 2 : 2, "");
}

static void
write_table(struct report *r)
{
	size_t widths[REPORT_COLUMNS_MAX];

	for (size_t i = 0; i < r->n_columns; i++)
		widths[i] = column_width(r, i);
	for (size_t i = 0; i < r->n_columns; i++)
		write_cell(r, r->columns[i], i, widths);
	for (size_t i = 0; i < r->n_cells; i++)
		write_cell(r, r->cells[i], i % r->n_columns, widths);
}

static void
write_objects(struct report *r)
{
	for (size_t i = 0; i < r->n_cells; i++) {
		size_t column = i % r->n_columns;

		(void)dynbuf_addf(r->out, "%s\"%s\":",
				  column > 0 ? ","
				  : i > 0    ? ",{"
					     : "{",
				  r->columns[column]);
		add_json_string(r->out, r->cells[i]);
		if (column + 1 == r->n_columns)
			(void)dynbuf_adds(r->out, "}");
	}
	(void)dynbuf_adds(r->out, "]");
}

void
report_table_end(struct report *r)
{
	if (r->json)
		write_objects(r);
	else
		write_table(r);
	for (size_t i = 0; i < r->n_cells; i++)
		free(r->cells[i]);
	free(r->cells);
	r->cells = NULL;
	r->n_cells = r->max_cells = 0;
}

void
report_note(struct report *r, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (r->json)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	add_printable(r->out, text);
	(void)dynbuf_adds(r->out, "\n");
}

void
report_end(struct report *r)
{
	if (r->json)
		(void)dynbuf_adds(r->out, "}\n");
}
