/* SPDX-License-Identifier: MIT */
/*
 * mime_parameter: one parameter of Content-Type or Content-Disposition as the
 * text it means. Private to mime*.c.
 *
 * For file names, which clients write in every way there is. What decides about
 * structure (boundary, charset) is read by GMime (mime_field.c); for names its
 * reader loses too much:
 *   sections out of order (RFC 2231, section 3)   sorted; GMime loses the
 *                                                 charset
 *   iso-8859-1, us-ascii                          read as windows-1252
 *   unknown charset                               UTF-8 or windows-1252
 *   %00                                           the name goes on behind it
 *   "C:\dir\x"                                    a backslash stays, but
 *                                                 before a quote or another
 *   no closing quote                              without its opening quote
 * Encoded words in quotes (RFC 2047 forbids them there, half of the clients
 * write them) are decoded, also when sections cut them.
 * Thread-safe; no state.
 */
#ifndef TXM_POLICY_MIME_PARAMETER_H
#define TXM_POLICY_MIME_PARAMETER_H

/* The value of the parameter `name` in an unfolded field of at most
 * MIME_FIELD_MAX bytes (or NULL), as UTF-8 without NUL; free(). NULL: there is
 * none, or it is empty. In sections or with a charset (name*0, name*) it goes
 * before plain (name); then the first counts. */
char *mime_parameter(const char *field, const char *name);

/* Where the parameter at s ends: at a semicolon outside of quotes, or at the
 * end. */
const char *mime_parameter_end(const char *s);

#endif
