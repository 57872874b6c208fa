/* SPDX-License-Identifier: MIT */
#include "date_text.h"

#include <stdbool.h>
#include <stdio.h>

#define DAY 86400
#define LAST_SECOND INT64_C(253402300799)
#define THURSDAY 4 /* 1970-01-01 */

static bool
is_leap(unsigned year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned
days_of_year(unsigned year)
{
	return is_leap(year) ? 366 : 365;
}

static unsigned
days_of_month(unsigned month, unsigned year)
{
	static const unsigned char days[] = { 31, 28, 31, 30, 31, 30,
					      31, 31, 30, 31, 30, 31 };

	return days[month] + (month == 1 && is_leap(year));
}

void
date_text(char dst[DATE_TEXT_SIZE], int64_t seconds)
{
	static const char weekdays[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	int64_t now = seconds < 0	      ? 0
		      : seconds > LAST_SECOND ? LAST_SECOND
					      : seconds;
	unsigned day = (unsigned)(now / DAY);
	unsigned second = (unsigned)(now % DAY);
	unsigned weekday = (day + THURSDAY) % 7;
	unsigned year = 1970, month = 0;

	for (; day >= days_of_year(year); year++)
		day -= days_of_year(year);
	for (; day >= days_of_month(month, year); month++)
		day -= days_of_month(month, year);
	(void)snprintf(
	    dst, DATE_TEXT_SIZE, "%.3s, %u %.3s %u %02u:%02u:%02u +0000",
	    weekdays + (size_t)3 * weekday, day + 1, months + (size_t)3 * month,
	    year, second / 3600, second / 60 % 60, second % 60);
}
