/* SPDX-License-Identifier: MIT */
#include "dynbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DYNBUF_FIRST 256

void
dynbuf_init(struct dynbuf *b, size_t max)
{
	*b = (struct dynbuf){ .max = max };
}

/* Makes room for n more bytes and a NUL. */
static bool
grow(struct dynbuf *b, size_t n)
{
	size_t cap = b->cap ? b->cap : DYNBUF_FIRST;
	char *data;

	if (n > b->max || b->len > b->max - n) {
		b->overflow = true;
		return false;
	}
	if (b->len + n < b->cap)
		return true;
	while (cap <= b->len + n)
		cap *= 2;
	data = realloc(b->data, cap);
	if (data == NULL)
		abort();
	b->data = data;
	b->cap = cap;
	return true;
}

bool
dynbuf_add(struct dynbuf *b, const void *data, size_t n)
{
	if (!grow(b, n))
		return false;
	if (n > 0)
		memcpy(b->data + b->len, data, n);
	b->len += n;
	b->data[b->len] = '\0';
	return true;
}

bool
dynbuf_adds(struct dynbuf *b, const char *s)
{
	return dynbuf_add(b, s, strlen(s));
}

bool
dynbuf_addf(struct dynbuf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	if (!grow(b, (size_t)n))
		return false;
	va_start(ap, fmt);
	(void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return true;
}

char *
dynbuf_room(struct dynbuf *b, size_t n)
{
	return grow(b, n) ? b->data + b->len : NULL;
}

void
dynbuf_grown(struct dynbuf *b, size_t n)
{
	b->len += n;
	b->data[b->len] = '\0';
}

void
dynbuf_truncate(struct dynbuf *b, size_t len)
{
	if (len >= b->len)
		return;
	b->len = len;
	b->data[len] = '\0';
}

const char *
dynbuf_str(const struct dynbuf *b)
{
	return b->data != NULL ? b->data : "";
}

char *
dynbuf_steal(struct dynbuf *b, size_t *len_r)
{
	char *data;

	if (b->data == NULL && !grow(b, 0))
		abort();
	data = b->data;
	data[b->len] = '\0';
	*len_r = b->len;
	dynbuf_init(b, b->max);
	return data;
}

void
dynbuf_clear(struct dynbuf *b)
{
	free(b->data);
	dynbuf_init(b, b->max);
}
