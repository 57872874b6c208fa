/* SPDX-License-Identifier: MIT */
/*
 * dynbuf: a byte buffer that grows up to a named maximum.
 *
 * Every buffer fed from outside is one of these. Going over the maximum is
 * an error that sticks (overflow), never a silent cut. Running out of memory
 * ends the process, as it does in GLib: Postfix then retries the message.
 * Not thread-safe; owned by whoever initialised it.
 */
#ifndef TXM_POLICY_DYNBUF_H
#define TXM_POLICY_DYNBUF_H

#include <stdbool.h>
#include <stddef.h>

struct dynbuf {
	char *data; /* NUL after the last byte; NULL while nothing was added */
	size_t len;
	size_t cap;
	size_t max;
	bool overflow;
};

/* An empty buffer of at most `max` bytes; allocates nothing. */
void dynbuf_init(struct dynbuf *b, size_t max);

/* Appends n bytes (NULs are data). False, and the buffer unchanged but for
 * `overflow`, when that would exceed the maximum. */
bool dynbuf_add(struct dynbuf *b, const void *data, size_t n);

/* Appends a string, without its NUL. */
bool dynbuf_adds(struct dynbuf *b, const char *s);

/* Appends printf-style. */
bool dynbuf_addf(struct dynbuf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Room for n more bytes at the end, to be filled by the caller, who then
 * calls dynbuf_grown() with what was really written. NULL when over max. */
char *dynbuf_room(struct dynbuf *b, size_t n);
void dynbuf_grown(struct dynbuf *b, size_t n);

/* Cuts to len bytes (no-op when it is shorter). Keeps the memory. */
void dynbuf_truncate(struct dynbuf *b, size_t len);

/* The contents as a string; "" when empty. Valid until the next change. */
const char *dynbuf_str(const struct dynbuf *b);

/* Hands the memory (free()) to the caller and leaves the buffer empty. Never
 * NULL. */
char *dynbuf_steal(struct dynbuf *b, size_t *len_r);

/* Frees the memory; the buffer is empty and usable again. */
void dynbuf_clear(struct dynbuf *b);

#define DYNBUF_AUTO __attribute__((cleanup(dynbuf_clear))) struct dynbuf

#endif
