/* SPDX-License-Identifier: MIT */
/*
 * services: what all sessions share, made by main before the first one and,
 * but for the configuration, unchanged until the last one is gone. Each thing
 * in it is thread-safe.
 */
#ifndef TXM_MILTER_SERVICES_H
#define TXM_MILTER_SERVICES_H

#include <stdatomic.h>
#include <stdbool.h>

#include <stddef.h>
#include <stdint.h>

#include "api_service.h"
#include "control.h"
#include "crypto.h"

struct config;
struct copy_ledger;
struct dynbuf;
struct key_cache;
struct key_check;
struct keystore;
struct metrics;
struct pool_wake;
struct rate_limit;
struct resubmit;
struct sent_memory;
struct crypto_seal;
struct lmtp_agent;

struct services {
	/* The snapshot of now: read it once for each message. Older ones stay
	 * valid until the stop. */
	const struct config *_Atomic config;
	const char *config_file;
	char admin_secret[CONTROL_SECRET_MAX + 1];
	size_t admin_secret_len; /* 0: nobody manages */
	int64_t started;	 /* seconds of the real-time clock */

	struct keystore *keystore;
	struct metrics *metrics;
	struct rate_limit *limits;
	struct api_services apis;
	const struct crypto_seal *seal; /* of plans and copies */
	/* Of links; 0 bytes: nothing is tracked. */
	unsigned char tracking_key[CRYPTO_SECRET_MAX + 1];
	size_t tracking_key_len;
	struct resubmit *resubmit;
	struct copy_ledger *copy_ledger; /* of what that sends */
	struct lmtp_agent *lmtp;
	struct key_cache *key_cache;
	struct key_check *keys;
	struct sent_memory *sent;
	struct pool_wake *pool;
	atomic_uint handoffs;	/* waiting for an API now */
	atomic_uint deliveries; /* out of the queue, not answered yet */
	atomic_uint sessions;	/* connections of Postfix */
	atomic_bool draining;	/* new mail is answered 451 */

	/* The gate for stopping: a callback that uses what is above counts
	 * itself busy first, then looks at `stopping`; main sets `stopping`,
	 * waits until nobody is busy, and frees. */
	atomic_uint busy;
	atomic_bool stopping;
};

/* All metrics as text (metrics.h); arg is a struct services. */
bool services_write_metrics(void *arg, struct dynbuf *out);

#endif
