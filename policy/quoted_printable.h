/* SPDX-License-Identifier: MIT */
/*
 * quoted_printable: RFC 2045, section 6.7: decodes it as it arrives in pieces,
 * and encodes a text.
 *
 * GMime's decoder gives the same result (it is the oracle of the unit test)
 * but looks at every byte in turn, which was a sixth of the daemon's CPU for
 * a usual HTML message. What is no escape stays as it is; blanks at a line's
 * end are not removed. Not thread-safe; one per part.
 */
#ifndef TXM_POLICY_QUOTED_PRINTABLE_H
#define TXM_POLICY_QUOTED_PRINTABLE_H

#include <stdbool.h>
#include <stddef.h>

struct dynbuf;

struct quoted_printable {
	char held[2]; /* the beginning of an escape: "=", "=X" */
	unsigned n_held;
};

/* Decodes len bytes into dst, which has len + 2 bytes; how many were written.
 * Start with a zeroed struct. A beginning of an escape at the end of all is
 * lost. */
size_t quoted_printable_decode(struct quoted_printable *q, const char *data,
			       size_t len, char *dst);

/* The most that a text of len bytes becomes: each byte an escape, soft breaks,
 * and a line end where there is none. */
#define QUOTED_PRINTABLE_MAX(len) ((len)*3 / 25 * 26 + 80)

/* Appends text, encoded: line ends (LF or CRLF) become CRLF, and one is added
 * where the last is missing; no line is longer than 76, none ends with a blank,
 * and none begins with "--": whatever the boundaries around it are, it is none.
 * False when out is full. */
bool quoted_printable_encode(struct dynbuf *out, const char *text, size_t len);

#endif
