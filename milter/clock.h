/* SPDX-License-Identifier: MIT */
/*
 * clock: the time that only goes forward, in milliseconds, for deadlines and
 * for how long something took. Thread-safe.
 */
#ifndef TXM_MILTER_CLOCK_H
#define TXM_MILTER_CLOCK_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static inline int64_t
clock_ms(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
		abort();
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

#endif
