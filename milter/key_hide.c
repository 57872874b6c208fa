/* SPDX-License-Identifier: MIT */
#include "key_hide.h"

#include <stdbool.h>
#include <string.h>

#include "policy/hex_digit.h"

/* Of "account:token" the token is the secret. One that is so short would be
 * found everywhere. */
#define SECRET_PART_MIN 4

/* What is looked for: not always all of a string. */
struct secret {
	const char *text;
	size_t len;
};

/* After the escaped ones: a backslash before it is another escape's, or the
 * text is no JSON. It goes, too: with an asterisk it would be no escape. */
static void
hide_plain(char *data, size_t data_len, const struct secret *s)
{
	char *begin = data, *end = data + data_len;

	while ((data = memmem(data, (size_t)(end - data), s->text, s->len)) !=
	       NULL) {
		if (data > begin && data[-1] == '\\')
			data[-1] = '*';
		memset(data, '*', s->len);
		data += s->len;
	}
}

/* --- escapes of JSON (RFC 8259, section 7) -------------------------------- */

/* No character of a key. */
#define OTHER (-1)

/* "u0061": the character. False: it is none. */
static bool
read_code(const char *s, size_t len, int *c_r)
{
	int code = 0;

	if (len < 5 || *s != 'u')
		return false;
	for (size_t i = 1; i < 5; i++) {
		int digit = hex_digit(s[i]);

		if (digit < 0)
			return false;
		code = code * 16 + digit;
	}
	*c_r = code < 0x80 ? code : OTHER;
	return true;
}

/* One character, escaped or not: how many bytes it takes. */
static size_t
read_char(const char *s, size_t len, int *c_r)
{
	*c_r = (unsigned char)*s;
	if (*s != '\\' || len < 2)
		return 1;
	if (read_code(s + 1, len - 1, c_r))
		return 6;
	if (strchr("\"\\/", s[1]) != NULL && s[1] != '\0')
		*c_r = (unsigned char)s[1];
	else if (strchr("bfnrt", s[1]) != NULL && s[1] != '\0')
		*c_r = OTHER;
	else
		return 1;
	return 2;
}

/* How many bytes the secret takes that begins here; 0: it does not. */
static size_t
match(const char *data, size_t len, const struct secret *s)
{
	size_t used = 0;
	int c;

	for (size_t i = 0; i < s->len; i++) {
		if (used == len)
			return 0;
		used += read_char(data + used, len - used, &c);
		if (c != (unsigned char)s->text[i])
			return 0;
	}
	return used;
}

/* By whole characters: half an escape that is overwritten is no JSON. */
static void
hide_escaped(char *data, size_t len, const struct secret *s)
{
	size_t n;
	int c;

	for (size_t i = 0; i < len; i += n) {
		n = match(data + i, len - i, s);
		if (n > 0)
			memset(data + i, '*', n);
		else
			n = read_char(data + i, len - i, &c);
	}
}

static void
hide(char *data, size_t len, const char *text, size_t text_len)
{
	struct secret s = { text, text_len };

	if (len == 0 || text_len == 0)
		return;
	if (memchr(data, '\\', len) != NULL)
		hide_escaped(data, len, &s);
	hide_plain(data, len, &s);
}

void
key_hide(char *data, size_t len, const char *key, const char *basic)
{
	const char *colon = strchr(key, ':');
	size_t n = basic != NULL ? strlen(basic) : 0;

	hide(data, len, key, strlen(key));
	if (colon != NULL && strlen(colon + 1) >= SECRET_PART_MIN)
		hide(data, len, colon + 1, strlen(colon + 1));
	while (n > 0 && basic[n - 1] == '=')
		n--;
	hide(data, len, basic, n);
}
