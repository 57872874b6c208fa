/* SPDX-License-Identifier: MIT */
/*
 * body_decoder: undoes the Content-Transfer-Encoding of a part as it comes.
 * Private to body*.c. Owner of GMime's base64 decoder. Not thread-safe; one per
 * message, for one part at a time.
 */
#ifndef TXM_POLICY_BODY_DECODER_H
#define TXM_POLICY_BODY_DECODER_H

#include <stdbool.h>
#include <stddef.h>

#include "mime.h"

struct dynbuf;

/* A buffer that is decoded into may have this many bytes more than what it is
 * to hold at most: a step of decoding asks for its room first. */
#define BODY_DECODER_ROOM 32768

struct body_decoder;

struct body_decoder *body_decoder_new(void);
void body_decoder_free(struct body_decoder **d);

/* A part begins. */
void body_decoder_begin(struct body_decoder *d, enum mime_encoding encoding);

/* Adds what the bytes mean. False when `out` holds more than it may. */
bool body_decoder_add(struct body_decoder *d, const char *data, size_t len,
		      struct dynbuf *out);

/* The part is over: the same for what was held back. */
bool body_decoder_end(struct body_decoder *d, struct dynbuf *out);

#endif
