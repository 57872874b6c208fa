/* SPDX-License-Identifier: MIT */
/*
 * auth_throttle: wrong keys from one client address, by login or in a header:
 * so many a minute, then its keys are not looked at for a while. Addresses are
 * compared as text. Thread-safe.
 */
#ifndef TXM_MILTER_AUTH_THROTTLE_H
#define TXM_MILTER_AUTH_THROTTLE_H

#include "key_reason.h"

struct rate_limit;

/* Seconds until a key from there is looked at again; 0: now. r NULL or
 * a_minute 0: there is no limit. */
unsigned auth_throttle_wait(struct rate_limit *r, const char *address,
			    unsigned a_minute);

/* A key from there was wrong, or the user name that goes with it. Counts
 * guesses only: a key that is disabled, or used from the wrong place, was not
 * guessed. */
void auth_throttle_wrong(struct rate_limit *r, const char *address,
			 unsigned a_minute, enum key_reason reason);

#endif
