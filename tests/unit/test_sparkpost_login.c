/* SPDX-License-Identifier: MIT */
#include "policy/sparkpost_login.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SUB ":X-MSYS-SUBACCOUNT="
#define USER "SMTP_Injection"
#define D16 "1234567890123456"
#define BAD_USER \
	"the user name must be SMTP_Injection or SMTP_Injection" SUB "number"
#define BAD_NUMBER "the subaccount in the user name must be a number"

struct row {
	const char *user;
	const char *subaccount; /* NULL: refused */
	const char *why;
	const char *issued;
};

static const struct row sparkpost[] = {
	{ USER, "", NULL, NULL },
	{ "smtp_INJECTION", "", NULL, NULL },
	{ USER SUB "123", "123", NULL, NULL },
	{ "smtp_injection:x-msys-subaccount=0", "0", NULL, NULL },
	{ USER SUB D16 D16, D16 D16, NULL, NULL },
	{ USER SUB D16 D16 "7", NULL, BAD_NUMBER, NULL },
	{ USER SUB, NULL, BAD_NUMBER, NULL },
	{ USER SUB "12a", NULL, BAD_NUMBER, NULL },
	{ USER SUB "-1", NULL, BAD_NUMBER, NULL },
	{ USER SUB "1 ", NULL, BAD_NUMBER, NULL },
	{ USER SUB "1" SUB "2", NULL, BAD_NUMBER, NULL },
	{ USER SUB "1/", NULL, BAD_NUMBER, NULL },
	{ USER SUB ":", NULL, BAD_NUMBER, NULL },
	{ "", NULL, BAD_USER, NULL },
	{ "SMTP_Injectio", NULL, BAD_USER, NULL },
	{ "SMTP_Injection ", NULL, BAD_USER, NULL },
	{ "SMTP_Injections", NULL, BAD_USER, NULL },
	{ "SMTP_Injection:1", NULL, BAD_USER, NULL },
	{ "SMTP_Injection:X-MSYS-SUBACCOUNT", NULL, BAD_USER, NULL },
	{ "joe", NULL, BAD_USER, NULL },
	{ SUB "1", NULL, BAD_USER, NULL },
	{ "shop", "", NULL, "shop" },
	{ "shop" SUB "5", "5", NULL, "shop" },
	{ "shop" SUB "x", NULL, BAD_NUMBER, "shop" },
	{ "Shop", NULL, DIALECT_LOGIN_NOT_ISSUED, "shop" },
	{ "shops", NULL, DIALECT_LOGIN_NOT_ISSUED, "shop" },
	{ "", NULL, DIALECT_LOGIN_NOT_ISSUED, "shop" },
	{ USER, NULL, DIALECT_LOGIN_NOT_ISSUED, "shop" },
};

static const struct row any[] = {
	{ "", "", NULL, NULL },
	{ "joe", "", NULL, NULL },
	{ "joe" SUB "1", "", NULL, NULL },
	{ USER, "", NULL, NULL },
	{ USER SUB "7", "7", NULL, NULL },
	{ USER SUB "x", NULL, BAD_NUMBER, NULL },
	{ "shop", "", NULL, "shop" },
	{ "joe", NULL, DIALECT_LOGIN_NOT_ISSUED, "shop" },
};

static bool
is_same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void
check(dialect_login_fn *login, const struct row *rows, size_t n)
{
	unsigned bad = 0;

	for (size_t i = 0; i < n; i++) {
		const struct row *r = &rows[i];
		char sub[SUBACCOUNT_MAX + 1] = "unset";
		const char *why =
		    login(r->user, strlen(r->user), r->issued, sub);

		if (!is_same(why, r->why) ||
		    strcmp(sub, r->subaccount ? r->subaccount : "") != 0) {
			printf("%s: %s, \"%s\"\n", r->user, why ? why : "good",
			       sub);
			bad++;
		}
	}
	assert_int_equal(bad, 0);
}

static void
test_sparkpost(void **state)
{
	(void)state;
	check(sparkpost_login, sparkpost,
	      sizeof(sparkpost) / sizeof(sparkpost[0]));
}

static void
test_any(void **state)
{
	(void)state;
	check(sparkpost_login_or_any, any, sizeof(any) / sizeof(any[0]));
}

/* The name may hold anything; its length says where it ends. */
static void
test_length(void **state)
{
	char sub[SUBACCOUNT_MAX + 1];

	(void)state;
	assert_non_null(sparkpost_login("SMTP_Injection\0x", 16, NULL, sub));
	assert_null(sparkpost_login("SMTP_Injectionxx", 14, NULL, sub));
	assert_null(sparkpost_login(USER SUB "12", 14 + 19 + 1, NULL, sub));
	assert_string_equal(sub, "1");
}

/* Through dialect_login(): each dialect asks for the name that was issued. */
static void
test_issued(void **state)
{
	char sub[SUBACCOUNT_MAX + 1];

	(void)state;
	for (size_t i = 0; dialects[i] != NULL; i++) {
		const struct dialect *d = dialects[i];

		assert_null(dialect_login(d, "shop", 4, "shop", sub));
		assert_string_equal(sub, "");
		assert_string_equal(dialect_login(d, "joe", 3, "shop", sub),
				    DIALECT_LOGIN_NOT_ISSUED);
	}
	assert_null(dialect_login(&dialect_emaildelivery, "joe", 3, NULL, sub));
	assert_null(dialect_login(&dialect_emaildelivery, "", 0, NULL, sub));
	assert_non_null(dialect_login(&dialect_sparkpost, "joe", 3, NULL, sub));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sparkpost),
		cmocka_unit_test(test_any),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_issued),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
