/* SPDX-License-Identifier: MIT */
/* The fields of a header at the beginning of an input. */
#ifndef TXM_TESTS_FUZZ_FIELD_H
#define TXM_TESTS_FUZZ_FIELD_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct field {
	const char *name;
	size_t name_len;
	const char *value;
	size_t value_len;
};

static inline size_t
line_len(const char *data, size_t len)
{
	const char *lf = memchr(data, '\n', len);

	return lf != NULL ? (size_t)(lf - data) + 1 : len;
}

/* Reads one field with its folds; its length, or 0 when the header is over. */
static inline size_t
next_field(const char *data, size_t len, struct field *f)
{
	size_t end = line_len(data, len);
	const char *colon;

	while (end < len && (data[end] == ' ' || data[end] == '\t'))
		end += line_len(data + end, len - end);
	colon = memchr(data, ':', end);
	if (colon == NULL || colon == data ||
	    memchr(data, '\0', (size_t)(colon - data)) != NULL)
		return 0;
	*f = (struct field){
		.name = data,
		.name_len = (size_t)(colon - data),
		.value = colon + 1,
		.value_len = end - (size_t)(colon - data) - 1,
	};
	while (f->value_len > 0 && (f->value[f->value_len - 1] == '\n' ||
				    f->value[f->value_len - 1] == '\r'))
		f->value_len--;
	/* Postfix gives a milter the value without its first blank. */
	if (f->value_len > 0 && f->value[0] == ' ') {
		f->value++;
		f->value_len--;
	}
	return end;
}

/* An exact copy: a byte read behind it is seen. */
static inline char *
exact(const char *data, size_t len)
{
	char *c = malloc(len != 0 ? len : 1);

	assert(c != NULL);
	memcpy(c, data, len);
	return c;
}

static inline bool
is_named(const struct field *f, const char *name)
{
	return f->name_len == strlen(name) &&
	       strncasecmp(f->name, name, f->name_len) == 0;
}

#endif
