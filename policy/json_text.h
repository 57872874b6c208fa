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
#include <stdint.h>

struct dynbuf;

/* Nesting of JSON that others send us. */
#define JSON_DEPTH_MAX 32

/* Once, before any other thread and any JSON: jansson's hash table needs a
 * seed, and what it read is wiped when it is freed, since keys come as JSON.
 */
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

/*
 * An object that is read once and asked for several members. Integers are
 * those of 64 bits; a member that is there twice makes it no object. NULL when
 * the text is not one. Owned by the caller; strings live as long as it does.
 */
struct json_object;
struct json_object *json_object_read(const char *text, size_t len);
/* The same for what a client wrote: numbers of any length, none of which is an
 * integer then. NULL, and in `error` what is wrong (size bytes, without any of
 * the text): "syntax error at column 12". */
struct json_object *json_object_parse(const char *text, size_t len, char *error,
				      size_t size);
void json_object_free(struct json_object **o);

/* A member: set in *value_r when found; else *value_r is left alone. */
enum json_found { JSON_ABSENT, JSON_FOUND, JSON_OTHER_TYPE };
enum json_found json_object_string(const struct json_object *o,
				   const char *name, const char **value_r);
enum json_found json_object_bool(const struct json_object *o, const char *name,
				 bool *value_r);
/* As clients write it: true, "true", "1" or 1, and false, "false", "0" or 0. */
enum json_found json_object_truth(const struct json_object *o, const char *name,
				  bool *value_r);
enum json_found json_object_int(const struct json_object *o, const char *name,
				int64_t *value_r);

/* True when the member is there and null: of another type to all of these. */
bool json_object_is_null(const struct json_object *o, const char *name);

/* A member that is an object; it lives as long as o does. */
enum json_found json_object_object(const struct json_object *o,
				   const char *name,
				   const struct json_object **value_r);

/* An array of objects: calls fn for each. JSON_OTHER_TYPE also when fn said
 * false. */
typedef bool json_item_fn(void *arg, const struct json_object *item);
enum json_found json_object_items(const struct json_object *o, const char *name,
				  json_item_fn *fn, void *arg);

/* An array of strings: calls fn for each. JSON_OTHER_TYPE also when fn said
 * false. */
typedef bool json_string_fn(void *arg, const char *s);
enum json_found json_object_strings(const struct json_object *o,
				    const char *name, json_string_fn *fn,
				    void *arg);

/* An array of strings and objects: calls fn for each, with what it is; with
 * neither, when it is something else. JSON_OTHER_TYPE also when fn said false.
 */
typedef bool json_any_fn(void *arg, const char *s,
			 const struct json_object *item);
enum json_found json_object_array(const struct json_object *o, const char *name,
				  json_any_fn *fn, void *arg);

/* A member as it was written, blanks around it left out: where in `text`, from
 * which o was read. False when there is none. */
bool json_object_member_text(const struct json_object *o, const char *name,
			     const char *text, size_t len, const char **value_r,
			     size_t *value_len_r);

/* Calls fn for each member: a string as what it says, numbers and booleans as
 * they were written in `text`, from which o was read; NULL for all others.
 * False when fn said so. */
typedef bool json_value_fn(void *arg, const char *name, const char *value,
			   size_t len);
bool json_object_each(const struct json_object *o, const char *text, size_t len,
		      json_value_fn *fn, void *arg);

/* An array of objects, as json_each(). */
enum json_found json_object_pairs(const struct json_object *o, const char *name,
				  const char *a, const char *b,
				  json_pair_fn *fn, void *arg);

/* True when each member's name is one of the n. */
bool json_object_has_only(const struct json_object *o, const char *const *names,
			  size_t n);

/* The string member `name` of the object `text`, copied. False when there is
 * none or it does not fit. */
bool json_get_string(const char *text, size_t len, const char *name, char *dst,
		     size_t size);

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
