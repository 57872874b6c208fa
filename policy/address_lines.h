/* SPDX-License-Identifier: MIT */
/*
 * address_lines: mailboxes as the value of a header, one behind the other, in
 * lines of 76 columns; names as header_phrase() has them. Not thread-safe.
 */
#ifndef TXM_POLICY_ADDRESS_LINES_H
#define TXM_POLICY_ADDRESS_LINES_H

#include <stddef.h>

#include "dynbuf.h"

struct address_lines {
	struct dynbuf text; /* overflow: too long for a header */
	size_t column;
};

/* For the header of that name. dynbuf_clear() its text. */
void address_lines_begin(struct address_lines *a, const char *header);

/* Name <address>; without a name the address alone. UTF-8. */
void address_lines_add(struct address_lines *a, const char *name,
		       const char *address);

#endif
