/* SPDX-License-Identifier: MIT */
/*
 * html_element: what an element means for a reader of text.
 *
 * Thread-safe; no state.
 */
#ifndef TXM_POLICY_HTML_ELEMENT_H
#define TXM_POLICY_HTML_ELEMENT_H

#include <stddef.h>

/* Kinds, as bits: a set of them says what ends what. */
enum element_kind {
	ELEMENT_INLINE = 1 << 0,
	ELEMENT_BLOCK = 1 << 1, /* on lines of its own */
	ELEMENT_PARAGRAPH = 1 << 2,
	ELEMENT_HEADING = 1 << 3,
	ELEMENT_LIST = 1 << 4,
	ELEMENT_ITEM = 1 << 5,
	ELEMENT_TERM = 1 << 6,	 /* <dt> */
	ELEMENT_DETAIL = 1 << 7, /* <dd> */
	ELEMENT_QUOTE = 1 << 8,
	ELEMENT_PRE = 1 << 9,
	ELEMENT_TABLE = 1 << 10,
	ELEMENT_ROWS = 1 << 11, /* <tbody> and its like */
	ELEMENT_ROW = 1 << 12,
	ELEMENT_CELL = 1 << 13,
	ELEMENT_CAPTION = 1 << 14,
	ELEMENT_LINK = 1 << 15,
	ELEMENT_HIDDEN = 1 << 16, /* never shown */
	ELEMENT_LINE_BREAK = 1 << 17,
	ELEMENT_RULE = 1 << 18,
	ELEMENT_IMAGE = 1 << 19,
	ELEMENT_SINGLE = 1 << 20,
	ELEMENT_DOCUMENT = 1
			   << 21, /* <html>, <head>, <body>: as if not there */
};

/* Never closed, so never open. */
#define ELEMENT_NEVER_OPEN                                                    \
	(ELEMENT_LINE_BREAK | ELEMENT_RULE | ELEMENT_IMAGE | ELEMENT_SINGLE | \
	 ELEMENT_DOCUMENT)

struct html_element {
	const char *name;
	unsigned kind;
	unsigned lines; /* line ends around it: 2 is an empty line */
};

/* The element of that name, in any case. One that is not known is
 * html_element_other, which is inline. */
const struct html_element *html_element_find(const char *name, size_t len);

extern const struct html_element html_element_other;

#endif
