/* SPDX-License-Identifier: MIT */
#include "sparkpost_login.h"

#include <string.h>
#include <strings.h>

#define USER "SMTP_Injection"
#define SUBACCOUNT ":X-MSYS-SUBACCOUNT="
#define SUBACCOUNT_LEN (sizeof(SUBACCOUNT) - 1)

static const char bad_user[] =
    "the user name must be " USER " or " USER SUBACCOUNT "number";
static const char bad_number[] =
    "the subaccount in the user name must be a number";

static bool
is_number(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
	}
	return len > 0 && len <= SUBACCOUNT_MAX;
}

/* The length of what stands before the subaccount; len: it names none. */
static size_t
name_len(const char *user, size_t len)
{
	for (size_t i = 0; i + SUBACCOUNT_LEN <= len; i++) {
		if (strncasecmp(user + i, SUBACCOUNT, SUBACCOUNT_LEN) == 0)
			return i;
	}
	return len;
}

static bool
is_user(const char *user, size_t len)
{
	return len == strlen(USER) && strncasecmp(user, USER, len) == 0;
}

static const char *
take_subaccount(const char *user, size_t len, size_t name,
		char subaccount_r[SUBACCOUNT_MAX + 1])
{
	const char *number = user + name + SUBACCOUNT_LEN;

	if (name == len)
		return NULL;
	len -= name + SUBACCOUNT_LEN;
	if (!is_number(number, len))
		return bad_number;
	memcpy(subaccount_r, number, len);
	subaccount_r[len] = '\0';
	return NULL;
}

const char *
sparkpost_login(const char *user, size_t len, const char *expected,
		char subaccount_r[SUBACCOUNT_MAX + 1])
{
	size_t name = name_len(user, len);

	subaccount_r[0] = '\0';
	if (expected != NULL && !dialect_login_is(user, name, expected))
		return DIALECT_LOGIN_NOT_ISSUED;
	if (expected == NULL && !is_user(user, name))
		return bad_user;
	return take_subaccount(user, len, name, subaccount_r);
}

const char *
sparkpost_login_or_any(const char *user, size_t len, const char *expected,
		       char subaccount_r[SUBACCOUNT_MAX + 1])
{
	if (expected != NULL || is_user(user, name_len(user, len)))
		return sparkpost_login(user, len, expected, subaccount_r);
	subaccount_r[0] = '\0';
	return NULL;
}
