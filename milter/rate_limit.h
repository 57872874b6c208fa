/* SPDX-License-Identifier: MIT */
/*
 * rate_limit: token buckets by name, in memory.
 *
 * A bucket of `count` per `seconds` holds at most `count` tokens and gets them
 * back evenly; a name that was never seen has a full one. Names are kept as
 * hashes, keyed, so that no stranger can choose where his is kept. Memory is
 * bounded and taken at the start: a bucket that is full again is forgotten,
 * and where there is no room the fullest of the RATE_LIMIT_WAYS that a name
 * can take the place of goes, so that a flood of new names frees nobody else's.
 *
 * A rule's `count` and `seconds` may change: its buckets keep their tokens, at
 * most the new count. 0 for either is no limit; more than the bounds below is
 * taken as these. `now_ms` is of the monotonic clock, passed in; one that went
 * back is a clock that stands still. Thread-safe; a call costs one hash.
 */
#ifndef TXM_MILTER_RATE_LIMIT_H
#define TXM_MILTER_RATE_LIMIT_H

#include <stddef.h>
#include <stdint.h>

#define RATE_LIMIT_COUNT_MAX 1000000000u
#define RATE_LIMIT_SECONDS_MAX (366u * 24 * 3600)
#define RATE_LIMIT_WAYS 8

struct rate_limit;

/* At most max_buckets (at least 1), some 50 bytes each. */
struct rate_limit *rate_limit_new(size_t max_buckets);
void rate_limit_free(struct rate_limit **r);

/* Takes n tokens, or none. Returns 0 when they were there, else the whole
 * seconds (at least 1) until they will be. n over `count` is taken as `count`.
 * kind keeps the names of different rules apart. */
unsigned rate_limit_take(struct rate_limit *r, const char *kind,
			 const char *name, unsigned n, unsigned count,
			 unsigned seconds, int64_t now_ms);

/* As rate_limit_take(), but takes nothing. */
unsigned rate_limit_ask(struct rate_limit *r, const char *kind,
			const char *name, unsigned n, unsigned count,
			unsigned seconds, int64_t now_ms);

/* Gives back what was taken for something that did not happen. */
void rate_limit_return(struct rate_limit *r, const char *kind, const char *name,
		       unsigned n, unsigned count, unsigned seconds,
		       int64_t now_ms);

/* How many buckets lack tokens now. Looks at each: for a page of figures, not
 * for every message. */
size_t rate_limit_count(struct rate_limit *r, int64_t now_ms);

#endif
