/* SPDX-License-Identifier: MIT */
#include "milter/key_hide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEY "s3cret-k3y"

static const struct {
	const char *key, *basic; /* NULL: KEY, none */
	const char *text, *hidden;
} rows[] = {
	{ NULL, NULL, "", "" },
	{ NULL, NULL, "nothing", "nothing" },
	{ NULL, NULL, KEY, "**********" },
	{ NULL, NULL, "[" KEY "]", "[**********]" },
	{ NULL, NULL, KEY KEY, "********************" },
	{ NULL, NULL, "s3cret-k3 s3cret-k3y", "s3cret-k3 **********" },
	{ "", NULL, "anything", "anything" },

	/* "account:token" as some APIs want it */
	{ "1234:token", NULL, "1234:token", "**********" },
	{ "1234:token", NULL, "1234 has no token", "1234 has no *****" },
	{ "1234:tok", NULL, "1234:tok tok", "******** tok" },
	{ "1234:", NULL, "1234: 1234", "***** 1234" },
	{ ":token", NULL, "token :token", "***** ******" },
	{ "a:b:cd", NULL, "b:cd a:b:cd", "**** ******" },

	/* as JSON may write them */
	{ NULL, NULL, "s3\\u0063ret-k3y", "***************" },
	{ NULL, NULL, "\"\\u0073\\u0033cret\\u002Dk3\\u0079\"",
	  "\"******************************\"" },
	{ NULL, NULL, "s3\\u0063ret-k3y " KEY, "*************** **********" },
	{ "a/b\"c\\d", NULL, "[a\\/b\\\"c\\\\d]", "[**********]" },
	{ "a/b\"c\\d", NULL, "[a/b\\\"c\\u005cd]", "[*************]" },
	{ "1234:to/ken", NULL, "no to\\/ken", "no *******" },
	{ "u0061b", NULL, "\\u0061bu0061b", "*************" },

	/* escapes are not cut, nor read twice */
	{ "/key", NULL, "\\\\/key", "\\\\****" },
	{ "\\key", NULL, "\\\\\\key \\\\key", "\\\\**** *****" },
	{ "key", NULL, "\\\\u006bey", "\\\\u006bey" },
	{ "key", NULL, "\\u016bey \\ud83dkey \\u106b",
	  "\\u016bey \\ud83d*** "
	  "\\u106b" },
	{ "key", NULL, "\\u006", "\\u006" },
	{ "key", NULL, "\\u006b", "\\u006b" },
	{ "key", NULL, "\\u00gbey", "\\u00gbey" },
	{ "key", NULL, "ke\\", "ke\\" },
	{ "key", NULL, "\\", "\\" },
	{ "nkey", NULL, "C:\\nkey", "C:*****" }, /* no JSON */
	{ "new", NULL, "\\new \\nnew", "**** \\n***" },

	/* what Basic makes of it */
	{ "a:b", "ab/c+d==", "<ab/c+d==>", "<******==>" },
	{ "a:b", "ab/c+d==", "<ab/c+d>", "<******>" },
	{ "a:b", "ab/c+d==", "Basic ab\\/c+d==", "Basic *******==" },
	{ "a:b", "ab/c+d==", "ab\\u002Fc\\u002bd\\u003d",
	  "****************"
	  "\\u003d" },
	{ "a:b", "", "ab/c", "ab/c" },
	{ "a:b", "==", "==", "==" },
};

static void
test_key_hide(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].text);
		char *text = malloc(len); /* for the sanitizer: no NUL */

		assert_true(text != NULL || len == 0);
		memcpy(text, rows[i].text, len);
		key_hide(text, len, rows[i].key != NULL ? rows[i].key : KEY,
			 rows[i].basic);
		if (len != strlen(rows[i].hidden) ||
		    memcmp(text, rows[i].hidden, len) != 0)
			fail_msg("%s: %.*s, not %s", rows[i].text, (int)len,
				 text, rows[i].hidden);
		free(text);
	}
	key_hide(NULL, 0, KEY, "abc");
}

/* An answer may hold NUL. */
static void
test_nul(void **state)
{
	char text[] = "\\\0 \0" KEY "\0\\";

	(void)state;
	key_hide(text, sizeof(text) - 1, KEY, NULL);
	assert_memory_equal(text, "\\\0 \0**********\0\\", sizeof(text) - 1);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key_hide),
		cmocka_unit_test(test_nul),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
