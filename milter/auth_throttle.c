/* SPDX-License-Identifier: MIT */
#include "auth_throttle.h"

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"
#include "rate_limit.h"

#define KIND "auth"
#define MINUTE 60

unsigned
auth_throttle_wait(struct rate_limit *r, const char *address, unsigned a_minute)
{
	if (r == NULL)
		return 0;
	return rate_limit_ask(r, KIND, address, 1, a_minute, MINUTE,
			      clock_ms());
}

void
auth_throttle_wrong(struct rate_limit *r, const char *address,
		    unsigned a_minute, enum key_reason reason)
{
	if (r == NULL || reason == KEY_REASON_DISABLED ||
	    reason == KEY_REASON_ADDRESS)
		return;
	(void)rate_limit_take(r, KIND, address, 1, a_minute, MINUTE,
			      clock_ms());
}
