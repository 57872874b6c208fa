/* SPDX-License-Identifier: MIT */
/*
 * json_text: JSON that is written, and JSON that passes through unchanged.
 *
 * jansson reads JSON everywhere in this project. What we write is composed as
 * text: numbers of a customer's variables must arrive as they were typed
 * (12345678901234567890, 1.0), which no number type keeps, and escaping 40 kB
 * of HTML this way costs a fifth (tests/bench). The only file that knows
 * jansson. Thread-safe; no state.
 */
#ifndef TXM_POLICY_JSON_TEXT_H
#define TXM_POLICY_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct dynbuf;

/* Nesting of JSON that others send us. */
#define JSON_DEPTH_MAX 32

/* Once, before any other thread: jansson's hash table needs a seed. */
void json_text_init(void);

/* Appends s (valid UTF-8) as a JSON string, quotes included. */
bool json_add_string(struct dynbuf *out, const char *s, size_t len);

/* Appends `"name":"value"` with a comma before it unless it is the first
 * member of the object. */
bool json_add_member(struct dynbuf *out, const char *name, const char *value);

/* What json_each() hands out: the two members as strings; NULL when a member
 * is missing or not a string. False ends the walk. */
typedef bool json_pair_fn(void *arg, const char *a, const char *b);

/*
 * Reads `text`, an array of objects (or, with `member`, an object whose member
 * of that name is one), and calls fn for each object with its members `a` and
 * `b` (b may be NULL). False when the text is not that, or fn said so.
 */
bool json_each(const char *text, size_t len, const char *member, const char *a,
	       const char *b, json_pair_fn *fn, void *arg);

/* The string member `name` of the object `text`, copied. False when there is
 * none or it does not fit. */
bool json_get_string(const char *text, size_t len, const char *name, char *dst,
		     size_t size);

/* True when the object `text` has a member of that name. */
bool json_has(const char *text, size_t len, const char *name);

/* A string member for a person to read: made safe, and cut when too long
 * (smtp_reply_safe_text). */
bool json_get_words(const char *text, size_t len, const char *name, char *dst,
		    size_t size);

/* Checks that text is one JSON object (RFC 8259, UTF-8, at most
 * JSON_DEPTH_MAX deep) and nothing else. NULL when it is; else what is wrong,
 * in `error` (size bytes), without any of the text. */
const char *json_check_object(const char *text, size_t len, char *error,
			      size_t size);

#endif
