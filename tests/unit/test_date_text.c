/* SPDX-License-Identifier: MIT */
/* The C library is the oracle. */
#include "policy/date_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void
check(int64_t seconds)
{
	char want[64], got[DATE_TEXT_SIZE];
	time_t t = (time_t)seconds;
	struct tm tm;

	assert_non_null(gmtime_r(&t, &tm));
	assert_true(strftime(want, sizeof(want), "%a, %-d %b %Y %H:%M:%S +0000",
			     &tm) > 0);
	date_text(got, seconds);
	assert_string_equal(got, want);
}

static void
test_every_day(void **state)
{
	(void)state;
	/* Over four centuries, at another time of each day. */
	for (int64_t day = 0; day < 150000; day++)
		check(day * 86400 + day * 7919 % 86400);
	for (int64_t s = 1764547200 - 90000; s < 1764547200 + 90000; s++)
		check(s);
}

static void
test_bounds(void **state)
{
	static const struct {
		int64_t seconds;
		const char *want;
	} v[] = {
		{ 0, "Thu, 1 Jan 1970 00:00:00 +0000" },
		{ -1, "Thu, 1 Jan 1970 00:00:00 +0000" },
		{ INT64_MIN, "Thu, 1 Jan 1970 00:00:00 +0000" },
		{ 951782400, "Tue, 29 Feb 2000 00:00:00 +0000" },
		{ 4107542400, "Mon, 1 Mar 2100 00:00:00 +0000" },
		{ 253402300799, "Fri, 31 Dec 9999 23:59:59 +0000" },
		{ 253402300800, "Fri, 31 Dec 9999 23:59:59 +0000" },
		{ INT64_MAX, "Fri, 31 Dec 9999 23:59:59 +0000" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		char got[DATE_TEXT_SIZE];

		date_text(got, v[i].seconds);
		assert_string_equal(got, v[i].want);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_day),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
