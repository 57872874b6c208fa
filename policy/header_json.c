/* SPDX-License-Identifier: MIT */
#include "header_json.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dynbuf.h"
#include "message.h"
#include "utf8.h"

/* Of a line that has room for its token. */
#define COLUMNS 76

/* The value as it grows, and where its last line begins. */
struct value {
	struct dynbuf out;
	size_t column;
};

static uint32_t
code_point(const unsigned char *s, size_t n)
{
	uint32_t c = n == 1 ? s[0] : s[0] & (0xffU >> (n + 1));

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (s[i] & 0x3f);
	return c;
}

static void
add_escaped(struct dynbuf *token, const char *s, size_t n)
{
	uint32_t c = code_point((const unsigned char *)s, n);

	if (c < 0x10000)
		dynbuf_addf(token, "\\u%04x", (unsigned)c);
	else
		dynbuf_addf(token, "\\u%04x\\u%04x",
			    (unsigned)(0xd800 + ((c - 0x10000) >> 10)),
			    (unsigned)(0xdc00 + ((c - 0x10000) & 0x3ff)));
}

/* A string with its quotes, as ASCII; what it takes of json. DEL is valid in
 * JSON, and has no business in a header. */
static size_t
read_string(struct dynbuf *token, const char *json)
{
	size_t len = strlen(json);
	size_t i = 1;

	dynbuf_adds(token, "\"");
	while (i < len && json[i] != '"') {
		size_t n = utf8_char_len(json + i, len - i);

		if (json[i] == '\\' && i + 1 < len)
			dynbuf_add(token, json + i, n = 2);
		else if (n > 1 || json[i] == 0x7f)
			add_escaped(token, json + i, n);
		else
			dynbuf_add(token, json + i, n = 1);
		i += n;
	}
	dynbuf_adds(token, "\"");
	return i < len ? i + 1 : len;
}

/* A string, a number or a word, or one of the six signs. */
static size_t
read_token(struct dynbuf *token, const char *json)
{
	size_t n;

	if (*json == '"')
		return read_string(token, json);
	n = strcspn(json, "{}[]:,\" \t\r\n");
	if (n == 0)
		n = 1;
	dynbuf_add(token, json, n);
	return n;
}

/* What a line break may not come before. */
static bool
clings(const struct dynbuf *token)
{
	return token->len == 1 && strchr("}],:", token->data[0]) != NULL;
}

static void
add_token(struct value *v, const struct dynbuf *token, bool spaced)
{
	if (spaced && v->column + 1 + token->len > COLUMNS) {
		dynbuf_adds(&v->out, "\n ");
		v->column = 1;
	} else if (spaced) {
		dynbuf_adds(&v->out, " ");
		v->column++;
	}
	dynbuf_add(&v->out, token->data, token->len);
	v->column += token->len;
}

char *
header_json(const char *name, const char *json)
{
	struct value v = { .column = strlen(name) + 2 };
	bool spaced = false;
	bool too_long = false;
	DYNBUF_AUTO token;
	size_t len;

	dynbuf_init(&token, HEADER_JSON_TOKEN_MAX);
	dynbuf_init(&v.out, MESSAGE_HEADER_MAX - strlen(name));
	json += strspn(json, " \t\r\n");
	while (*json != '\0' && !too_long) {
		dynbuf_truncate(&token, 0);
		json += read_token(&token, json);
		json += strspn(json, " \t\r\n");
		too_long = token.overflow || v.out.overflow;
		if (!too_long)
			add_token(&v, &token, spaced && !clings(&token));
		spaced = token.len == 1 && strchr(",:", token.data[0]) != NULL;
	}
	too_long = too_long || v.out.overflow;
	if (!too_long)
		return dynbuf_steal(&v.out, &len);
	dynbuf_clear(&v.out);
	return NULL;
}
