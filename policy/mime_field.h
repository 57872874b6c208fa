/* SPDX-License-Identifier: MIT */
/*
 * mime_field: the values of Content-Type, Content-Disposition and
 * Content-Transfer-Encoding. Private to mime.c; read by GMime, which knows
 * RFC 2231 and what broken clients write. GMime is only read from: its
 * setters can loop for ever on Debian 12 (GMime issue 165).
 * Thread-safe; no state.
 */
#ifndef TXM_POLICY_MIME_FIELD_H
#define TXM_POLICY_MIME_FIELD_H

#include <stdbool.h>

#include "mime.h"

struct mime_type {
	char *type;		/* lower case */
	char *subtype;		/* lower case */
	char *charset;		/* NULL when none */
	char *boundary;		/* NULL when none or empty */
	bool boundaries_differ; /* given more than once, not the same */
	bool flowed;
};

/* Reads an unfolded value. A value that is no media type gives
 * application/octet-stream, as GMime does. */
void mime_type_parse(const char *value, struct mime_type *type_r);
void mime_type_clear(struct mime_type *type);

/* Any disposition but "inline" is an attachment (RFC 2183, section 2.8). */
bool mime_disposition_is_attachment(const char *value);
bool mime_disposition_is_inline(const char *value);

enum mime_encoding mime_encoding_parse(const char *value);

#endif
