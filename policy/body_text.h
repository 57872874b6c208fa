/* SPDX-License-Identifier: MIT */
/*
 * body_text: a part whose text is kept: what it holds, its charset, and where
 * it was. Private to body*.c. Not thread-safe.
 */
#ifndef TXM_POLICY_BODY_TEXT_H
#define TXM_POLICY_BODY_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "body.h"
#include "dynbuf.h"

struct mime_part;

struct body_text {
	struct dynbuf data; /* decoded, not yet UTF-8 */
	char *charset;
	bool flowed;
	bool full;	      /* a part went into it whole */
	bool changed;	      /* by body_text_take() */
	unsigned alternative; /* see struct mime_part */
	size_t file;	      /* which of the files it is, too */
	struct body_place place;
};

/* Of at most so many bytes, decoded. */
void body_text_init(struct body_text *t, size_t max);
void body_text_clear(struct body_text *t);

/* A part begins that is to go into it; what was in it is gone. */
void body_text_begin(struct body_text *t, const struct mime_part *part);

/* Nothing to read: blanks and control characters, a byte order mark. */
bool body_text_is_blank(const struct dynbuf *data);

enum body_text_result {
	BODY_TEXT_OK,
	BODY_TEXT_UNKNOWN_CHARSET,
	BODY_TEXT_WRONG_CHARSET,
	BODY_TEXT_TOO_LARGE, /* over BODY_KEPT_MAX */
};

/* Makes it UTF-8, in place. *replaced_r says whether bytes were replaced. */
enum body_text_result body_text_to_utf8(struct body_text *t, bool *replaced_r);

/* The text without NUL (U+FFFD stands for it, as for a browser), free(). */
char *body_text_take(struct body_text *t, size_t *len_r);

#endif
