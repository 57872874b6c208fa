/* SPDX-License-Identifier: MIT */
/*
 * date_text: a time as a Date header says it (RFC 5322, section 3.3), in UTC.
 * Asks neither the clock nor the time zone. Thread-safe; no state.
 */
#ifndef TXM_POLICY_DATE_TEXT_H
#define TXM_POLICY_DATE_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* "Fri, 31 Dec 9999 23:59:59 +0000" */
#define DATE_TEXT_SIZE 32

/* seconds: of the real-time clock, from 1970 to 9999; what is outside becomes
 * the nearest that is in it. */
void date_text(char dst[DATE_TEXT_SIZE], int64_t seconds);

#endif
