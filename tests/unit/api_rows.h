/* SPDX-License-Identifier: MIT */
/*
 * api_rows: tables of requests and answers, checked for one API format.
 */
#ifndef TXM_TESTS_API_ROWS_H
#define TXM_TESTS_API_ROWS_H

#include <stddef.h>

#include "policy/api.h"
#include "policy/outgoing.h"

#define N_ELEMENTS(v) (sizeof(v) / sizeof((v)[0]))
#define S(text) ((char[]){ text })
/* What every message has. */
#define LEAST                                                         \
	.from_name = (char[]){ "" }, .from_email = (char[]){ "s@x" }, \
	.return_path = (char[])                                       \
	{                                                             \
		""                                                    \
	}
#define HTML(text_) .html = (char[]){ text_ }, .html_len = sizeof(text_) - 1
#define TEXT(text_) .text = (char[]){ text_ }, .text_len = sizeof(text_) - 1

struct request_row {
	const char *name;
	struct outgoing o;
	struct outgoing_recipient r; /* email NULL: r@x */
	const char *want;
};

/* Both pieces joined are `want` to the letter, and one JSON object without a
 * member that is there twice. Returns how many rows are wrong, and prints
 * them. */
unsigned requests_wrong(const struct api_format *f,
			const struct api_settings *s,
			const struct request_row *rows, size_t n);

/* With any bound below its length a piece says that it does not fit. */
void check_full(const struct api_format *f, const struct outgoing *o);

struct answer_row {
	const char *name;
	unsigned status;
	const char *body;
	enum api_outcome_kind kind;
	int code;
	const char *text; /* all of it, or up to '*' */
	const char *id;
};

unsigned answers_wrong(const struct api_format *f,
		       const struct answer_row *rows, size_t n);

/* Whatever somebody may send instead of an answer, whole and cut anywhere: it
 * ends, and what a client hears of it is fit for that. */
void check_hostile_answers(const struct api_format *f);

struct fit_row {
	const char *name;
	struct outgoing o;
	const char *refusal; /* NULL: it fits */
};

unsigned fits_wrong(const struct api_format *f, const struct fit_row *rows,
		    size_t n);

struct head_row {
	const char *key;
	const char *subaccount;
	const char *path;    /* NULL: the key is refused */
	const char *headers; /* each with a line end */
	const char *basic;
};

unsigned heads_wrong(const struct api_format *f, const struct head_row *rows,
		     size_t n);

#endif
