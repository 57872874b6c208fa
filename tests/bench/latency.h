/* SPDX-License-Identifier: MIT */
/*
 * latency: a histogram of microseconds, to ask percentiles of.
 *
 * Buckets are log-linear, 128 to a power of two, so a percentile is right
 * within 1 % however many values there were. Not thread-safe.
 */
#ifndef TXM_BENCH_LATENCY_H
#define TXM_BENCH_LATENCY_H

#include <stdint.h>

#define LATENCY_BUCKETS (32 * 128)

struct latency {
	uint64_t count[LATENCY_BUCKETS];
	uint64_t n;
	uint64_t max;
};

void latency_add(struct latency *l, uint64_t us);

/* The q-th quantile (0..1) in milliseconds; 0 when nothing was added. */
double latency_ms(const struct latency *l, double q);

#endif
