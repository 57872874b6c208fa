/* SPDX-License-Identifier: MIT */
/*
 * html: plain text as HTML.
 *
 * &, <, > and quotes are escaped, line ends become <br>, and runs of blanks
 * and leading blanks are kept as &nbsp;, so that a table of an invoice looks
 * as it was typed. With `flowed`, soft line breaks (RFC 3676) are joined.
 */
#ifndef TXM_POLICY_HTML_H
#define TXM_POLICY_HTML_H

#include <stdbool.h>
#include <stddef.h>

#include "body.h"

struct dynbuf;

/* Appends s with &, <, > and quotes as entities: for text and for attributes
 * in double quotes. False when out is full. */
bool html_escape(struct dynbuf *out, const char *s, size_t len);

/* Appends the HTML of text (valid UTF-8) to out. False when out is full. */
bool html_from_text(struct dynbuf *out, const char *text, size_t len,
		    bool flowed);

/* The HTML of a text as a string, free(); NULL when it is over
 * HTML_OF_TEXT_MAX: escaped text may be six times the text. */
#define HTML_OF_TEXT_MAX (6 * BODY_KEPT_MAX)
char *html_of_text(const char *text, size_t len, bool flowed, size_t *len_r);

#endif
