/* SPDX-License-Identifier: MIT */
#include "quoted_printable.h"

#include <string.h>

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What "=ab" stands for, written to dst; how many bytes. */
static size_t
decode_escape(char a, char b, char *dst)
{
	int high = hex_digit(a);
	int low = hex_digit(b);

	if (high >= 0 && low >= 0) {
		dst[0] = (char)(high << 4 | low);
		return 1;
	}
	if (a == '\r' && b == '\n')
		return 0; /* a soft line break */
	dst[0] = '=';
	dst[1] = a;
	dst[2] = b;
	return 3;
}

/* The next byte of an escape that is held. */
static size_t
continue_escape(struct quoted_printable *q, char c, char *dst)
{
	if (q->n_held == 1 && c != '\n') {
		q->held[q->n_held++] = c;
		return 0;
	}
	if (q->n_held == 1) {
		q->n_held = 0;
		return 0; /* a soft line break, UNIX style */
	}
	q->n_held = 0;
	return decode_escape(q->held[1], c, dst);
}

size_t
quoted_printable_decode(struct quoted_printable *q, const char *data,
			size_t len, char *dst)
{
	const char *end = data + len;
	char *out = dst;

	while (data < end && q->n_held > 0)
		out += continue_escape(q, *data++, out);
	while (data < end) {
		const char *escape = memchr(data, '=', (size_t)(end - data));
		size_t n = (size_t)((escape ? escape : end) - data);

		memcpy(out, data, n);
		out += n;
		data += n;
		while (end - data > 2 && data[0] == '=' && data[1] != '\n') {
			out += decode_escape(data[1], data[2], out);
			data += 3;
		}
		if (data < end && data[0] == '=') {
			q->held[q->n_held++] = *data++;
			while (data < end && q->n_held > 0)
				out += continue_escape(q, *data++, out);
		}
	}
	return (size_t)(out - dst);
}
