/* SPDX-License-Identifier: MIT */
/*
 * mime_levels: the multiparts that are open, one in the other, and the lines
 * that are their delimiters. Private to mime.c. Not thread-safe.
 */
#ifndef TXM_POLICY_MIME_LEVELS_H
#define TXM_POLICY_MIME_LEVELS_H

#include <stdbool.h>
#include <stddef.h>

#include "mime.h"

struct mime_type;

/* "--" boundary "--" and blanks that some mailers add. */
#define MIME_DELIMITER_MAX (MIME_BOUNDARY_MAX + 64)

struct mime_level {
	char *boundary;
	size_t len;
	bool digest;
	bool attachment;
	bool related;		    /* it is one, or it is below one */
	bool is_related;	    /* it is one */
	struct mime_related place;  /* of any */
	bool alternative;	    /* it is one */
	bool is_signed;		    /* it is one, or it is below one */
	unsigned alternative_above; /* see struct mime_part */
	bool begun;		    /* a delimiter of it was seen */
	bool text;		    /* there is text before the first one */
};

/* Starts zeroed. */
struct mime_levels {
	struct mime_level v[MIME_DEPTH_MAX];
	unsigned depth;
	const char *lost; /* see mime_lost() */
};

/* A multipart begins, there; takes its boundary. There is room for it. `number`
 * is its own among all multiparts of the message, and not 0. */
void mime_levels_push(struct mime_levels *l, struct mime_type *t,
		      bool attachment, unsigned number, size_t begin,
		      size_t content);

/* Ends all that are deeper. */
void mime_levels_pop(struct mime_levels *l, unsigned depth);

/* The innermost; one that is nothing when none is open. */
const struct mime_level *mime_levels_top(const struct mime_levels *l);

/* The level whose delimiter the line is, counted from 1; 0 when it is none. */
unsigned mime_levels_match(const struct mime_levels *l, const char *line,
			   size_t len, bool *close_r);

/* That delimiter has come: ends all that are deeper, and at its last one the
 * level itself. */
void mime_levels_at(struct mime_levels *l, unsigned depth, bool close);

/* Bytes that belong to no part. */
void mime_levels_between(struct mime_levels *l, const char *data, size_t len);

#endif
