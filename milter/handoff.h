/* SPDX-License-Identifier: MIT */
/*
 * handoff: gives a judged message to the HTTP API while the client waits.
 *
 * One call per recipient. The first goes alone: what an API refuses for the
 * message it refuses for everybody, and then nobody got it. The rest follow
 * HANDOFF_PARALLEL at a time. All end within direct_timeout. If some were
 * accepted and some not, the client hears 451 and the retry memory knows the
 * rest. Blocks; thread-safe.
 */
#ifndef TXM_MILTER_HANDOFF_H
#define TXM_MILTER_HANDOFF_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/smtp_reply.h"

#define HANDOFF_PARALLEL 16

struct config;
struct identity;
struct outgoing;
struct services;

struct handoff_result {
	struct smtp_reply reply; /* 250: all of it is at the API */
	size_t accepted;	 /* recipients, earlier attempts included */
	unsigned waited_ms;	 /* for the API */
};

void handoff_direct(struct services *s, const struct config *config,
		    const char *queue_id, const struct identity *id,
		    const struct outgoing *o, struct handoff_result *result_r);

#endif
