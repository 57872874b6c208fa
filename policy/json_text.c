/* SPDX-License-Identifier: MIT */
#include "json_text.h"

#include <jansson.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dynbuf.h"
#include "smtp_reply.h"

/* Numbers are only checked, never used: an integer too big for jansson's is
 * fine as a real. */
#define READ_FLAGS JSON_DECODE_INT_AS_REAL

/* Before each block: how much there is to wipe. */
union block_head {
	size_t len;
	max_align_t align;
};

static void *
take_block(size_t len)
{
	union block_head *head;

	if (len > SIZE_MAX - sizeof(*head))
		return NULL;
	head = malloc(sizeof(*head) + len);
	if (head == NULL)
		return NULL;
	head->len = len;
	return head + 1;
}

static void
wipe_block(void *block)
{
	union block_head *head = block;

	if (block == NULL)
		return;
	head--;
	explicit_bzero(block, head->len);
	free(head);
}

void
json_text_init(void)
{
	json_set_alloc_funcs(take_block, wipe_block);
	json_object_seed(0);
}

/* RFC 8259, section 7: what must be escaped, and how. */
static bool
add_escape(struct dynbuf *out, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";
	char code[] = "\\u0000";

	switch (c) {
	case '"':
		return dynbuf_add(out, "\\\"", 2);
	case '\\':
		return dynbuf_add(out, "\\\\", 2);
	case '\n':
		return dynbuf_add(out, "\\n", 2);
	case '\r':
		return dynbuf_add(out, "\\r", 2);
	case '\t':
		return dynbuf_add(out, "\\t", 2);
	default:
		code[4] = digits[c >> 4];
		code[5] = digits[c & 0xf];
		return dynbuf_add(out, code, 6);
	}
}

static bool
needs_escape(unsigned char c)
{
	return c < 0x20 || c == '"' || c == '\\';
}

#define EVERY_BYTE(c) (0x0101010101010101ull * (c))

/* High bits where a byte of w is less than n; n is at most 0x80. May also flag
 * a byte above one that is, which only means a closer look. */
static uint64_t
bytes_below(uint64_t w, unsigned n)
{
	return (w - EVERY_BYTE(n)) & ~w & EVERY_BYTE(0x80);
}

/* Bytes from the start that need no escape, found eight at a time. */
static size_t
plain_len(const char *s, size_t len)
{
	size_t i = 0;
	uint64_t w;

	for (; i + sizeof(w) <= len; i += sizeof(w)) {
		memcpy(&w, s + i, sizeof(w));
		if (bytes_below(w, 0x20) | bytes_below(w ^ EVERY_BYTE('"'), 1) |
		    bytes_below(w ^ EVERY_BYTE('\\'), 1))
			break;
	}
	while (i < len && !needs_escape((unsigned char)s[i]))
		i++;
	return i;
}

bool
json_add_string(struct dynbuf *out, const char *s, size_t len)
{
	if (!dynbuf_add(out, "\"", 1))
		return false;
	while (len > 0) {
		size_t n = plain_len(s, len);

		if (!dynbuf_add(out, s, n) ||
		    (n < len && !add_escape(out, (unsigned char)s[n])))
			return false;
		n += n < len;
		s += n;
		len -= n;
	}
	return dynbuf_add(out, "\"", 1);
}

bool
json_add_member(struct dynbuf *out, const char *name, const char *value)
{
	const char *sep = "";

	if (out->len > 0 && strchr("{[,:", out->data[out->len - 1]) == NULL)
		sep = ",";
	return dynbuf_addf(out, "%s\"%s\":", sep, name) &&
	       json_add_string(out, value, strlen(value));
}

/*
 * jansson calls itself for each of up to 2048 levels, which is neither for our
 * small stacks nor for who reads the variables: brackets outside of strings
 * are counted before it sees the text. On text that is not JSON the count may
 * be off, which only changes the words of the refusal.
 */
static bool
too_deep(const char *text, size_t len)
{
	unsigned depth = 0;
	bool string = false;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (string && c == '\\')
			i++;
		else if (c == '"')
			string = !string;
		else if (!string && (c == '{' || c == '['))
			depth++;
		else if (!string && (c == '}' || c == ']') && depth > 0)
			depth--;
		if (depth > JSON_DEPTH_MAX)
			return true;
	}
	return false;
}

static json_t *
load(const char *text, size_t len, size_t flags)
{
	if (too_deep(text, len))
		return NULL;
	return json_loadb(text, len, READ_FLAGS | flags, NULL);
}

static bool
walk_array(const json_t *array, const char *a, const char *b, json_pair_fn *fn,
	   void *arg)
{
	size_t i;
	json_t *item;

	if (!json_is_array(array))
		return false;
	json_array_foreach(array, i, item)
	{
		if (!json_is_object(item) ||
		    !fn(arg, json_string_value(json_object_get(item, a)),
			b ? json_string_value(json_object_get(item, b)) : NULL))
			return false;
	}
	return true;
}

bool
json_each(const char *text, size_t len, const char *member, const char *a,
	  const char *b, json_pair_fn *fn, void *arg)
{
	json_auto_t *root = load(text, len, 0);

	if (member == NULL)
		return walk_array(root, a, b, fn, arg);
	return walk_array(json_object_get(root, member), a, b, fn, arg);
}

bool
json_get_string(const char *text, size_t len, const char *name, char *dst,
		size_t size)
{
	json_auto_t *root = load(text, len, 0);
	const json_t *value = json_object_get(root, name);
	size_t n = json_string_length(value);

	if (!json_is_string(value) || n >= size)
		return false;
	memcpy(dst, json_string_value(value), n + 1);
	return true;
}

/* Never made: a json_t under a name that headers can know. */
static struct json_object *
wrap(json_t *json)
{
	return (struct json_object *)(void *)json;
}

static json_t *
member(const struct json_object *o, const char *name)
{
	return json_object_get((const json_t *)(const void *)o, name);
}

bool
json_object_is_null(const struct json_object *o, const char *name)
{
	return json_is_null(member(o, name));
}

struct json_object *
json_object_read(const char *text, size_t len)
{
	json_t *root;

	if (too_deep(text, len))
		return NULL;
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(root))
		return wrap(root);
	json_decref(root);
	return NULL;
}

void
json_object_free(struct json_object **o)
{
	json_decref((json_t *)(void *)*o);
	*o = NULL;
}

enum json_found
json_object_string(const struct json_object *o, const char *name,
		   const char **value_r)
{
	const json_t *value = member(o, name);

	if (value == NULL)
		return JSON_ABSENT;
	if (!json_is_string(value))
		return JSON_OTHER_TYPE;
	*value_r = json_string_value(value);
	return JSON_FOUND;
}

enum json_found
json_object_bool(const struct json_object *o, const char *name, bool *value_r)
{
	const json_t *value = member(o, name);

	if (value == NULL)
		return JSON_ABSENT;
	if (!json_is_boolean(value))
		return JSON_OTHER_TYPE;
	*value_r = json_is_true(value);
	return JSON_FOUND;
}

static bool
is_number(const json_t *value, double number)
{
	return json_is_number(value) && !(json_number_value(value) < number) &&
	       !(json_number_value(value) > number);
}

static bool
is_word(const json_t *value, const char *word)
{
	return json_is_string(value) &&
	       strcmp(json_string_value(value), word) == 0;
}

enum json_found
json_object_truth(const struct json_object *o, const char *name, bool *value_r)
{
	const json_t *value = member(o, name);

	if (value == NULL)
		return JSON_ABSENT;
	*value_r = json_is_true(value) || is_number(value, 1) ||
		   is_word(value, "true") || is_word(value, "1");
	if (*value_r || json_is_false(value) || is_number(value, 0) ||
	    is_word(value, "false") || is_word(value, "0"))
		return JSON_FOUND;
	return JSON_OTHER_TYPE;
}

enum json_found
json_object_int(const struct json_object *o, const char *name, int64_t *value_r)
{
	const json_t *value = member(o, name);

	if (value == NULL)
		return JSON_ABSENT;
	if (!json_is_integer(value))
		return JSON_OTHER_TYPE;
	*value_r = json_integer_value(value);
	return JSON_FOUND;
}

enum json_found
json_object_object(const struct json_object *o, const char *name,
		   const struct json_object **value_r)
{
	json_t *value = member(o, name);

	if (value == NULL)
		return JSON_ABSENT;
	if (!json_is_object(value))
		return JSON_OTHER_TYPE;
	*value_r = wrap(value);
	return JSON_FOUND;
}

enum json_found
json_object_items(const struct json_object *o, const char *name,
		  json_item_fn *fn, void *arg)
{
	const json_t *array = member(o, name);
	size_t i;
	json_t *item;

	if (array == NULL)
		return JSON_ABSENT;
	if (!json_is_array(array))
		return JSON_OTHER_TYPE;
	json_array_foreach(array, i, item)
	{
		if (!json_is_object(item) || !fn(arg, wrap(item)))
			return JSON_OTHER_TYPE;
	}
	return JSON_FOUND;
}

enum json_found
json_object_strings(const struct json_object *o, const char *name,
		    json_string_fn *fn, void *arg)
{
	const json_t *array = member(o, name);
	size_t i;
	json_t *item;

	if (array == NULL)
		return JSON_ABSENT;
	if (!json_is_array(array))
		return JSON_OTHER_TYPE;
	json_array_foreach(array, i, item)
	{
		if (!json_is_string(item) || !fn(arg, json_string_value(item)))
			return JSON_OTHER_TYPE;
	}
	return JSON_FOUND;
}

enum json_found
json_object_array(const struct json_object *o, const char *name,
		  json_any_fn *fn, void *arg)
{
	const json_t *array = member(o, name);
	size_t i;
	json_t *item;

	if (array == NULL)
		return JSON_ABSENT;
	if (!json_is_array(array))
		return JSON_OTHER_TYPE;
	json_array_foreach(array, i, item)
	{
		if (!fn(arg, json_string_value(item),
			json_is_object(item) ? wrap(item) : NULL))
			return JSON_OTHER_TYPE;
	}
	return JSON_FOUND;
}

/* From i on, which is in no string: the first of `ends` on this level. */
static size_t
skip_to(const char *text, size_t len, size_t i, const char *ends)
{
	unsigned depth = 0;
	bool string = false;

	for (; i < len; i++) {
		char c = text[i];

		if (string && c == '\\')
			i++;
		else if (c == '"')
			string = !string;
		else if (string)
			continue;
		else if (depth == 0 && strchr(ends, c) != NULL)
			return i;
		else if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
	}
	return len;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The value of the member whose name begins at *at or behind, without blanks
 * around it; *at is behind it then. */
static void
next_value(const char *text, size_t len, size_t *at, const char **value_r,
	   size_t *value_len_r)
{
	size_t begin = skip_to(text, len, *at, ":") + 1;
	size_t end = skip_to(text, len, begin, ",}");

	*at = end + 1;
	while (is_blank(text[begin]))
		begin++;
	while (is_blank(text[end - 1]))
		end--;
	*value_r = text + begin;
	*value_len_r = end - begin;
}

/* jansson keeps members in their order, and no name is there twice: which one
 * it is says where it is, however its name was escaped. */
bool
json_object_member_text(const struct json_object *o, const char *name,
			const char *text, size_t len, const char **value_r,
			size_t *value_len_r)
{
	json_t *object = (json_t *)(uintptr_t)o;
	size_t at = skip_to(text, len, 0, "{") + 1;
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		next_value(text, len, &at, value_r, value_len_r);
		if (strcmp(key, name) == 0)
			return true;
	}
	return false;
}

bool
json_object_each(const struct json_object *o, const char *text, size_t len,
		 json_value_fn *fn, void *arg)
{
	json_t *object = (json_t *)(uintptr_t)o;
	size_t at = skip_to(text, len, 0, "{") + 1;
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		const char *written;
		size_t n;

		next_value(text, len, &at, &written, &n);
		if (json_is_string(value)) {
			written = json_string_value(value);
			n = json_string_length(value);
		} else if (!json_is_number(value) && !json_is_boolean(value)) {
			written = NULL;
		}
		if (!fn(arg, key, written, n))
			return false;
	}
	return true;
}

enum json_found
json_object_pairs(const struct json_object *o, const char *name, const char *a,
		  const char *b, json_pair_fn *fn, void *arg)
{
	const json_t *array = member(o, name);

	if (array == NULL)
		return JSON_ABSENT;
	return walk_array(array, a, b, fn, arg) ? JSON_FOUND : JSON_OTHER_TYPE;
}

bool
json_object_has_only(const struct json_object *o, const char *const *names,
		     size_t n)
{
	size_t known = 0;

	for (size_t i = 0; i < n; i++)
		known += member(o, names[i]) != NULL;
	return json_object_size((const json_t *)(const void *)o) == known;
}

bool
json_get_words(const char *text, size_t len, const char *name, char *dst,
	       size_t size)
{
	json_auto_t *root = load(text, len, JSON_ALLOW_NUL);
	const json_t *value = json_object_get(root, name);

	if (!json_is_string(value) || json_string_length(value) == 0)
		return false;
	smtp_reply_safe_text(dst, size, json_string_value(value),
			     json_string_length(value));
	return true;
}

/* jansson's own messages quote the text near the fault, which is the
 * customer's data: only its kind and place are passed on. */
static const char *
error_words(const json_error_t *e)
{
	switch (json_error_code(e)) {
	case json_error_premature_end_of_input:
		return "it ends too early";
	case json_error_invalid_utf8:
		return "invalid UTF-8";
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return "a NUL character";
	case json_error_end_of_input_expected:
		return "something follows the JSON text";
	case json_error_duplicate_key:
		return "a name that is there twice";
	case json_error_numeric_overflow:
		return "a number out of range";
	default:
		return "syntax error";
	}
}

/* What is wrong, to error; NULL. */
static json_t *fail(char *error, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static json_t *
fail(char *error, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(error, size, fmt, ap) < 0 && size > 0)
		error[0] = '\0';
	va_end(ap);
	return NULL;
}

static json_t *
load_object(const char *text, size_t len, size_t flags, const char *prefix,
	    char *error, size_t size)
{
	json_error_t e;
	json_t *root;

	if (too_deep(text, len))
		return fail(error, size, "nested deeper than %d levels",
			    JSON_DEPTH_MAX);
	root = json_loadb(text, len, READ_FLAGS | JSON_DECODE_ANY | flags, &e);
	if (root == NULL)
		return fail(error, size, "%s%s at column %d", prefix,
			    error_words(&e), e.column);
	if (json_is_object(root))
		return root;
	json_decref(root);
	return fail(error, size, "not a JSON object");
}

struct json_object *
json_object_parse(const char *text, size_t len, char *error, size_t size)
{
	return wrap(
	    load_object(text, len, JSON_REJECT_DUPLICATES, "", error, size));
}

const char *
json_check_object(const char *text, size_t len, char *error, size_t size)
{
	json_auto_t *root =
	    load_object(text, len, 0, "not valid JSON: ", error, size);

	return root != NULL ? NULL : error;
}
