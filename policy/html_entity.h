/* SPDX-License-Identifier: MIT */
/*
 * html_entity: character references, as the HTML standard has them.
 *
 * Known by name: the 252 of HTML 4, the punctuation of ASCII, and some of
 * HTML 5 that mail has; any other stays as it is written. Those that the
 * standard lets end without a semicolon may, but not in an attribute where a
 * letter, a digit or "=" follows: "?a=1&copy=2" is no copyright sign. A number
 * may always. Numbers 128 to 159 are what they are in windows-1252; what is no
 * character is U+FFFD. Thread-safe; no state.
 */
#ifndef TXM_POLICY_HTML_ENTITY_H
#define TXM_POLICY_HTML_ENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dynbuf;

/* The reference at s, whose first byte is '&': sets *code_r; how many bytes it
 * has, or 0 when it is none. */
size_t html_reference(const char *s, size_t len, bool in_attribute,
		      uint32_t *code_r);

/* Appends s with its references replaced by UTF-8. False when out is full. */
bool html_decode(struct dynbuf *out, const char *s, size_t len,
		 bool in_attribute);

/* Appends the value of an attribute as the URL that a browser takes from it:
 * decoded, without white space and controls at its ends, and without TAB, CR
 * and LF in it. False when out is full. */
bool html_decode_url(struct dynbuf *out, const char *value, size_t len);

#endif
