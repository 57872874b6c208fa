/* SPDX-License-Identifier: MIT */
/*
 * services: what all sessions share, made by main before the first one and
 * unchanged until the last one is gone. Each thing in it is thread-safe.
 */
#ifndef TXM_MILTER_SERVICES_H
#define TXM_MILTER_SERVICES_H

#include <stdatomic.h>
#include <stdbool.h>

struct config;
struct http_pool;
struct key_cache;
struct key_check;
struct pool_wake;
struct retry_memory;

struct services {
	const struct config *config;
	struct http_pool *http;
	struct key_cache *key_cache;
	struct key_check *keys;
	struct retry_memory *retries;
	struct pool_wake *pool;
	atomic_uint handoffs; /* waiting for an API now */

	/* The gate for stopping: a callback that uses what is above counts
	 * itself busy first, then looks at `stopping`; main sets `stopping`,
	 * waits until nobody is busy, and frees. */
	atomic_uint busy;
	atomic_bool stopping;
};

#endif
