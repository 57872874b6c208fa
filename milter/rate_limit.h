/* SPDX-License-Identifier: MIT */
/*
 * rate_limit: token buckets by name, in memory.
 *
 * A bucket of `count` per `seconds` holds at most `count` tokens and gets them
 * back evenly. Names are kept as hashes. Memory is bounded: buckets that are
 * full again are forgotten, and when there are too many the fullest of a few
 * that are looked at goes, so that a flood of new names frees nobody else's.
 * `now_ms` is of the monotonic clock, passed in. Thread-safe.
 */
#ifndef TXM_MILTER_RATE_LIMIT_H
#define TXM_MILTER_RATE_LIMIT_H

#include <stddef.h>
#include <stdint.h>

struct rate_limit;

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

size_t rate_limit_count(struct rate_limit *r);

#endif
