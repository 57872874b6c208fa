/* SPDX-License-Identifier: MIT */
#include "quoted_printable.h"

#include <string.h>

#include "dynbuf.h"
#include "hex_digit.h"

/* RFC 2045, section 6.7, rule 5: the "=" of a soft break counted. */
#define COLUMNS 76

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

/* Bytes of the line end at s; 0: there is none. */
static size_t
line_end(const char *s, size_t len)
{
	if (*s == '\n')
		return 1;
	return *s == '\r' && len > 1 && s[1] == '\n' ? 2 : 0;
}

/* A blank at a line's end may be lost on the way. */
static bool
is_plain(char c, bool at_end)
{
	unsigned char byte = (unsigned char)c;

	return (byte > ' ' && byte < 0x7f && byte != '=') ||
	       ((byte == ' ' || byte == '\t') && !at_end);
}

/* Written to dst; how many bytes. */
static size_t
encode_byte(char c, bool plain, char *dst)
{
	static const char digits[] = "0123456789ABCDEF";
	unsigned char byte = (unsigned char)c;

	if (plain) {
		dst[0] = c;
		return 1;
	}
	dst[0] = '=';
	dst[1] = digits[byte >> 4];
	dst[2] = digits[byte & 15];
	return 3;
}

/* 25 escapes and a soft break are 78 bytes. A little less than the header says
 * for all of a text, so that what is promised there is kept. */
#define LINE_ROOM(len) ((len)*3 / 25 * 26 + 28)

/* It may go into a message of somebody else's boundaries. */
static bool
is_delimiter(const char *s, size_t len)
{
	return len > 1 && s[0] == '-' && s[1] == '-';
}

/* One line, in LINE_ROOM(len) bytes; where it ends. */
static char *
encode_line(const char *text, size_t len, char *dst)
{
	size_t column = 0;

	for (size_t i = 0; i < len; i++) {
		bool plain = is_plain(text[i], i + 1 == len);
		size_t n = plain ? 1 : 3;

		if (column + n + (i + 1 < len) > COLUMNS) {
			memcpy(dst, "=\r\n", 3);
			dst += 3;
			column = 0;
		}
		if (column == 0 && is_delimiter(text + i, len - i))
			plain = false;
		n = encode_byte(text[i], plain, dst);
		dst += n;
		column += n;
	}
	memcpy(dst, "\r\n", 2);
	return dst + 2;
}

/* A CR alone is a byte of the line. */
static size_t
line_len(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && line_end(text + n, len - n) == 0)
		n++;
	return n;
}

bool
quoted_printable_encode(struct dynbuf *out, const char *text, size_t len)
{
	while (len > 0) {
		size_t n = line_len(text, len);
		char *room = dynbuf_room(out, LINE_ROOM(n));

		if (room == NULL)
			return false;
		dynbuf_grown(out, (size_t)(encode_line(text, n, room) - room));
		n += n < len ? line_end(text + n, len - n) : 0;
		text += n;
		len -= n;
	}
	return true;
}
