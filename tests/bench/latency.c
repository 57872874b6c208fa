/* SPDX-License-Identifier: MIT */
#include "latency.h"

#include <stddef.h>

/* Values below 256 have a bucket each; above, the 7 bits that follow the
 * leading one choose one of 128 buckets of that power of two. */
static size_t
bucket_of(uint64_t us)
{
	size_t power, i;

	if (us < 256)
		return (size_t)us;
	power = 63 - (size_t)__builtin_clzll(us);
	i = (power - 7) * 128 + 128 + (us >> (power - 7)) - 128;
	return i < LATENCY_BUCKETS ? i : LATENCY_BUCKETS - 1;
}

/* The middle of a bucket. */
static double
bucket_value(size_t i)
{
	size_t shift;

	if (i < 256)
		return (double)i;
	shift = (i - 128) / 128;
	return ((double)(i - shift * 128) + 0.5) * (double)(1ull << shift);
}

void
latency_add(struct latency *l, uint64_t us)
{
	l->count[bucket_of(us)]++;
	l->n++;
	if (us > l->max)
		l->max = us;
}

double
latency_ms(const struct latency *l, double q)
{
	uint64_t need = (uint64_t)(q * (double)l->n + 0.5), seen = 0;

	if (l->n == 0)
		return 0;
	if (need == 0)
		need = 1;
	for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
		seen += l->count[i];
		if (seen >= need)
			return bucket_value(i) / 1000;
	}
	return (double)l->max / 1000;
}
