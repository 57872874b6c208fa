/* SPDX-License-Identifier: MIT */
/*
 * trace: what became of each header and part of a message, and why, for a
 * person who tries a message out. Without one nothing is noted and nothing
 * costs anything.
 *
 * Rows are in the message's order, at most as many as a message may have.
 * Texts about fates are static; what the message says is copied and cut. Not
 * thread-safe.
 */
#ifndef TXM_POLICY_TRACE_H
#define TXM_POLICY_TRACE_H

#include <stdbool.h>
#include <stddef.h>

/* What is kept of a header's value and a part's type. */
#define TRACE_TEXT_MAX 200

struct dialect;

struct trace_header {
	char *name;
	char *value; /* its beginning, on one line */
	size_t len;  /* of the whole value */
	const char *fate;
	const char *why;
};

struct trace_part {
	unsigned depth;
	char *type; /* "text/html" */
	const char *fate;
	const char *why;
};

struct trace {
	struct trace_header *headers;
	size_t n_headers;
	struct trace_part *parts;
	size_t n_parts;
};

struct trace *trace_new(void);
void trace_free(struct trace **t);

/* Of a header that has an API key no value is kept. */
void trace_header(struct trace *t, const char *name, const char *value,
		  size_t len);

/* A part begins; the last one is what trace_fate() is about. t may be NULL in
 * both, then nothing is done. */
void trace_part(struct trace *t, unsigned depth, const char *type,
		const char *subtype);
void trace_fate(struct trace *t, const char *fate, const char *why);

/* As trace_fate(), for the last part whose fate is `fate` until now. */
void trace_change_fate(struct trace *t, const char *from, const char *fate,
		       const char *why);

/* What the dialect does with the headers. */
void trace_judge_headers(struct trace *t, const struct dialect *d);

#endif
