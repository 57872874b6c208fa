/* SPDX-License-Identifier: MIT */
#include "utf8.h"

#include <string.h>

#define HIGH_BITS 0x8080808080808080ull

/* Lead bytes, and the bounds of the byte that follows (RFC 3629, section 4). */
static const struct {
	unsigned char first, last, min, max, len;
} lead[] = {
	{ 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
	{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 },
	{ 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
	{ 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
};

size_t
utf8_char_len(const char *s, size_t len)
{
	const unsigned char *u = (const unsigned char *)s;

	if (len == 0)
		return 0;
	if (u[0] < 0x80)
		return 1;
	for (size_t i = 0; i < sizeof(lead) / sizeof(lead[0]); i++) {
		if (u[0] < lead[i].first || u[0] > lead[i].last)
			continue;
		if (len < lead[i].len || u[1] < lead[i].min ||
		    u[1] > lead[i].max)
			return 0;
		for (size_t k = 2; k < lead[i].len; k++) {
			if ((u[k] & 0xc0) != 0x80)
				return 0;
		}
		return lead[i].len;
	}
	return 0;
}

uint32_t
utf8_code(const char *s, size_t n)
{
	static const unsigned char bits[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	uint32_t code = (unsigned char)s[0] & bits[n];

	for (size_t i = 1; i < n; i++)
		code = code << 6 | ((unsigned char)s[i] & 0x3f);
	return code;
}

size_t
utf8_put(uint32_t code, char dst[4])
{
	static const unsigned char first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

	for (size_t i = n - 1; i > 0; i--) {
		dst[i] = (char)(0x80 | (code & 0x3f));
		code >>= 6;
	}
	dst[0] = (char)(first[n] | code);
	return n;
}

/* Bytes of ASCII at the start, eight at a time. */
static size_t
ascii_prefix(const char *s, size_t len)
{
	size_t i = 0;
	uint64_t w;

	for (; i + sizeof(w) <= len; i += sizeof(w)) {
		memcpy(&w, s + i, sizeof(w));
		if (w & HIGH_BITS)
			break;
	}
	while (i < len && (unsigned char)s[i] < 0x80)
		i++;
	return i;
}

bool
utf8_is_ascii(const char *s, size_t len)
{
	return ascii_prefix(s, len) == len;
}

size_t
utf8_valid_prefix(const char *s, size_t len)
{
	size_t i = 0;

	while (i < len) {
		size_t n;

		i += ascii_prefix(s + i, len - i);
		n = utf8_char_len(s + i, len - i);
		if (n == 0)
			break;
		i += n;
	}
	return i;
}

size_t
utf8_count(const char *s, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)s[i] & 0xc0) != 0x80;
	return n;
}

bool
utf8_is_printable(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < 0x20 || c == 0x7f)
			return false;
		if (c == 0xc2 && i + 1 < len && (unsigned char)s[i + 1] < 0xa0)
			return false;
	}
	return true;
}
