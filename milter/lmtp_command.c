/* SPDX-License-Identifier: MIT */
#include "lmtp_command.h"

#include <string.h>
#include <strings.h>

#include "policy/dynbuf.h"
#include "policy/hex_digit.h"
#include "policy/utf8.h"

#define BAD_SYNTAX "501 5.5.4 Syntax error in the arguments"
#define BAD_SENDER "501 5.1.7 Bad sender address syntax"
#define BAD_RECIPIENT "501 5.1.3 Bad recipient address syntax"
#define BAD_SIZE "501 5.5.4 SIZE must be a number"
#define BAD_BODY "501 5.5.4 BODY must be 7BIT or 8BITMIME"
#define BAD_ORCPT "501 5.5.4 ORCPT must be a type, \";\" and an encoded address"
#define UNKNOWN_PARAMETER "555 5.5.4 Unknown parameter"

/* A piece of the line; p is NULL where there is none. */
struct span {
	const char *p;
	size_t len;
};

static struct span
skip(struct span s, size_t n)
{
	return (struct span){ s.p + n, s.len - n };
}

static bool
is_word(struct span s, const char *word)
{
	return s.p != NULL && s.len == strlen(word) &&
	       strncasecmp(s.p, word, s.len) == 0;
}

static bool
cut_prefix(struct span *s, const char *prefix)
{
	size_t len = strlen(prefix);

	if (s->len < len || strncasecmp(s->p, prefix, len) != 0)
		return false;
	*s = skip(*s, len);
	return true;
}

static void
skip_blanks(struct span *s)
{
	while (s->len > 0 && *s->p == ' ')
		*s = skip(*s, 1);
}

/* --- paths ---------------------------------------------------------------- */

/* Bytes of a quoted string, its quotes too; 0: it has no end. */
static size_t
quoted_len(struct span s)
{
	for (size_t i = 1; i < s.len; i++) {
		if (s.p[i] == '"')
			return i + 1;
		if (s.p[i] == '\\')
			i++;
	}
	return 0;
}

/* Bytes up to one of these or the end. */
static size_t
plain_len(struct span s, const char *ends)
{
	size_t n = 0;

	while (n < s.len && strchr(ends, s.p[n]) == NULL)
		n++;
	return n;
}

/* "@one,@two:" before the address. False: it begins and does not end. */
static bool
cut_source_route(struct span *s)
{
	bool literal = false;

	if (s->len == 0 || *s->p != '@')
		return true;
	for (size_t i = 0; i < s->len; i++) {
		char c = s->p[i];

		if (c == ':' && !literal) {
			*s = skip(*s, i + 1);
			return true;
		}
		if (c == '[' || c == ']')
			literal = c == '[';
		else if (strchr(" <>\"\\", c) != NULL)
			return false;
	}
	return false;
}

static size_t
local_part_len(struct span s)
{
	if (s.len > 0 && *s.p == '"')
		return quoted_len(s);
	return plain_len(s, " <>\"\\@");
}

/* "local@domain" or "local", up to where it ends; 0: it is none. */
static size_t
mailbox_len(struct span s)
{
	size_t local = local_part_len(s);
	size_t domain;

	if (local == 0 || local == s.len || s.p[local] != '@')
		return local;
	domain = plain_len(skip(s, local + 1), " <>\"\\@");
	return domain > 0 ? local + 1 + domain : 0;
}

/* "<...>" at the front; takes it off and appends what is in it. A null path
 * appends nothing. */
static bool
cut_path(struct span *s, struct dynbuf *address)
{
	size_t len;

	if (!cut_prefix(s, "<"))
		return false;
	if (cut_prefix(s, ">"))
		return true;
	if (!cut_source_route(s))
		return false;
	len = mailbox_len(*s);
	if (len == 0 || len == s->len || s->p[len] != '>' ||
	    utf8_valid_prefix(s->p, len) != len ||
	    !utf8_is_printable(s->p, len) || !dynbuf_add(address, s->p, len))
		return false;
	*s = skip(*s, len + 1);
	return true;
}

/* --- parameters ----------------------------------------------------------- */

/* Takes "KEYWORD" or "KEYWORD=value" off. False: there is no more. */
static bool
cut_parameter(struct span *s, struct span *keyword_r, struct span *value_r)
{
	const char *equals;
	size_t len;

	skip_blanks(s);
	if (s->len == 0)
		return false;
	len = plain_len(*s, " ");
	*keyword_r = (struct span){ s->p, len };
	*value_r = (struct span){ NULL, 0 };
	equals = memchr(s->p, '=', len);
	if (equals != NULL) {
		keyword_r->len = (size_t)(equals - s->p);
		*value_r = skip((struct span){ s->p, len }, keyword_r->len + 1);
	}
	*s = skip(*s, len);
	return true;
}

static const char *
take_size(struct span value, uint64_t *size_r)
{
	uint64_t n = 0;

	if (value.len == 0)
		return BAD_SIZE;
	for (size_t i = 0; i < value.len; i++) {
		uint64_t digit = (uint64_t)(value.p[i] - '0');

		if (value.p[i] < '0' || value.p[i] > '9')
			return BAD_SIZE;
		n = n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : n * 10 + digit;
	}
	*size_r = n;
	return NULL;
}

static const char *
take_mail_parameter(struct span keyword, struct span value,
		    struct lmtp_mail *mail)
{
	if (is_word(keyword, "SIZE"))
		return take_size(value, &mail->size);
	if (is_word(keyword, "BODY")) {
		mail->eight_bit = is_word(value, "8BITMIME");
		return mail->eight_bit || is_word(value, "7BIT") ? NULL
								 : BAD_BODY;
	}
	if (is_word(keyword, "SMTPUTF8")) {
		mail->utf8 = true;
		return value.p == NULL ? NULL : BAD_SYNTAX;
	}
	if (is_word(keyword, "RET") || is_word(keyword, "ENVID"))
		return NULL;
	return UNKNOWN_PARAMETER;
}

/* "+HH" (RFC 3461 section 4). A bare "=" cannot be mistaken here. */
static bool
decode_xtext(struct span s, struct dynbuf *text)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c == '+') {
			int high = i + 2 < s.len ? hex_digit(s.p[i + 1]) : -1;
			int low = i + 2 < s.len ? hex_digit(s.p[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (!dynbuf_add(text, &c, 1))
			return false;
	}
	return true;
}

/* "\x{HEX}" (RFC 6533 section 3); the bytes it takes, 0: it is none. */
static size_t
escape_len(struct span s, uint32_t *point_r)
{
	uint32_t point = 0;
	size_t i = 3;

	if (s.len < 5 || memcmp(s.p, "\\x{", 3) != 0)
		return 0;
	for (; i < s.len && i < 9 && hex_digit(s.p[i]) >= 0; i++)
		point = point << 4 | (uint32_t)hex_digit(s.p[i]);
	if (i == 3 || i == s.len || s.p[i] != '}')
		return 0;
	*point_r = point;
	return i + 1;
}

/* What is no character (a surrogate) becomes what is no UTF-8. */
static bool
add_character(struct dynbuf *text, uint32_t c)
{
	char s[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char first[] = { 0, 0x00, 0xc0, 0xe0, 0xf0 };

	for (size_t i = n - 1; i > 0; i--) {
		s[i] = (char)(0x80 | (c & 0x3f));
		c >>= 6;
	}
	s[0] = (char)(first[n] | c);
	return dynbuf_add(text, s, n);
}

static bool
decode_unitext(struct span s, struct dynbuf *text)
{
	while (s.len > 0) {
		uint32_t point;
		size_t n = plain_len(s, "\\");

		if (!dynbuf_add(text, s.p, n))
			return false;
		s = skip(s, n);
		if (s.len == 0)
			break;
		n = escape_len(s, &point);
		if (n == 0 || point > 0x10ffff || !add_character(text, point))
			return false;
		s = skip(s, n);
	}
	return true;
}

static const char *
take_orcpt(struct span value, struct dynbuf *typed)
{
	const char *semicolon =
	    value.p != NULL ? memchr(value.p, ';', value.len) : NULL;
	struct span type, text;
	bool good = true;

	dynbuf_truncate(typed, 0);
	if (semicolon == NULL || semicolon == value.p)
		return BAD_ORCPT;
	type = (struct span){ value.p, (size_t)(semicolon - value.p) };
	text = skip(value, type.len + 1);
	if (is_word(type, "rfc822"))
		good = decode_xtext(text, typed);
	else if (is_word(type, "utf-8"))
		good = decode_unitext(text, typed);
	if (!good)
		return BAD_ORCPT;
	if (typed->len > 0 &&
	    (utf8_valid_prefix(typed->data, typed->len) != typed->len ||
	     !utf8_is_printable(typed->data, typed->len)))
		dynbuf_truncate(typed, 0);
	return NULL;
}

static const char *
take_rcpt_parameter(struct span keyword, struct span value,
		    struct dynbuf *typed)
{
	if (is_word(keyword, "ORCPT"))
		return take_orcpt(value, typed);
	return is_word(keyword, "NOTIFY") ? NULL : UNKNOWN_PARAMETER;
}

/* Some put a blank behind the colon. */
static bool
cut_word_and_path(struct span *s, const char *word, struct dynbuf *address)
{
	if (!cut_prefix(s, word))
		return false;
	skip_blanks(s);
	return cut_path(s, address) && (s->len == 0 || *s->p == ' ');
}

const char *
lmtp_command_mail(const char *args, size_t len, struct dynbuf *sender,
		  struct lmtp_mail *mail_r)
{
	struct span s = { args, len }, keyword, value;
	const char *error = NULL;

	*mail_r = (struct lmtp_mail){ 0 };
	if (!cut_word_and_path(&s, "FROM:", sender))
		return BAD_SENDER;
	while (error == NULL && cut_parameter(&s, &keyword, &value))
		error = take_mail_parameter(keyword, value, mail_r);
	return error;
}

const char *
lmtp_command_rcpt(const char *args, size_t len, struct dynbuf *address,
		  struct dynbuf *typed)
{
	struct span s = { args, len }, keyword, value;
	const char *error = NULL;

	if (!cut_word_and_path(&s, "TO:", address) || address->len == 0)
		return BAD_RECIPIENT;
	while (error == NULL && cut_parameter(&s, &keyword, &value))
		error = take_rcpt_parameter(keyword, value, typed);
	return error;
}
