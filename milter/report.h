/* SPDX-License-Identifier: MIT */
/*
 * report: a command's output, written once and read by people or by programs.
 *
 * Fields and tables in the order they are added: as "name: value" lines and
 * aligned columns, or as one JSON object with a member for each field and an
 * array of objects for each table. Text from elsewhere is made printable for
 * people and is a JSON string for programs. Not thread-safe.
 */
#ifndef TXM_MILTER_REPORT_H
#define TXM_MILTER_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/dynbuf.h"

#define REPORT_COLUMNS_MAX 12

struct report {
	struct dynbuf *out;
	bool json;
	bool has_members;
	/* The open table. */
	const char *const *columns;
	size_t n_columns;
	char **cells; /* row by row */
	size_t n_cells, max_cells;
};

/* `out` is the caller's. */
void report_begin(struct report *r, bool json, struct dynbuf *out);

void report_text(struct report *r, const char *name, const char *value);
void report_number(struct report *r, const char *name, uint64_t value);
void report_switch(struct report *r, const char *name, bool value);
/* Seconds since 1970; 0 is "never", and null. */
void report_time(struct report *r, const char *name, int64_t value);
/* JSON as it is, or for people the same text. */
void report_json(struct report *r, const char *name, const char *json,
		 size_t len);

/* A table: column names, then rows of as many cells (copied). */
void report_table(struct report *r, const char *name,
		  const char *const *columns, size_t n_columns);
void report_row(struct report *r, const char *const *cells);
void report_table_end(struct report *r);

/* A line for people only. */
void report_note(struct report *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

void report_end(struct report *r);

/* "2026-11-20T12:00:00Z"; dst has REPORT_TIME_SIZE bytes. */
#define REPORT_TIME_SIZE 24
const char *report_format_time(int64_t t, char *dst);

#endif
