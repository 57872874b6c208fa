/* SPDX-License-Identifier: MIT */
/*
 * quoted_printable: decodes RFC 2045, section 6.7, as it arrives in pieces.
 *
 * GMime's decoder gives the same result (it is the oracle of the unit test)
 * but looks at every byte in turn, which was a sixth of the daemon's CPU for
 * a usual HTML message. What is no escape stays as it is; blanks at a line's
 * end are not removed. Not thread-safe; one per part.
 */
#ifndef TXM_POLICY_QUOTED_PRINTABLE_H
#define TXM_POLICY_QUOTED_PRINTABLE_H

#include <stddef.h>

struct quoted_printable {
	char held[2]; /* the beginning of an escape: "=", "=X" */
	unsigned n_held;
};

/* Decodes len bytes into dst, which has len + 2 bytes; how many were written.
 * Start with a zeroed struct. A beginning of an escape at the end of all is
 * lost. */
size_t quoted_printable_decode(struct quoted_printable *q, const char *data,
			       size_t len, char *dst);

#endif
