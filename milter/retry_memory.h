/* SPDX-License-Identifier: MIT */
/*
 * retry_memory: what became of a message that the client was told to send
 * again.
 *
 * When an API takes a message for some recipients and not for others, or its
 * answer is lost, the client hears 451 and sends the whole message once more.
 * For RETRY_MEMORY_SECONDS this remembers which recipients are done and which
 * submission id their idempotency keys were made of, so that the retry calls
 * the API for the rest only, with the same keys. On disk before the 451.
 * Thread-safe.
 */
#ifndef TXM_MILTER_RETRY_MEMORY_H
#define TXM_MILTER_RETRY_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto.h"

#define RETRY_MEMORY_SECONDS (24 * 3600)
#define SUBMISSION_ID_LEN 16

struct outgoing;
struct store;
struct retry_memory;

/* What is known about one message. */
struct retry_entry {
	uint8_t message[CRYPTO_HASH_LEN]; /* which message */
	uint8_t submission[SUBMISSION_ID_LEN];
	bool known;  /* it was here before */
	bool *done;  /* per recipient of the outgoing message; owned */
	size_t n;
};

struct retry_memory *retry_memory_new(struct store *store);
void retry_memory_free(struct retry_memory **m);

/* Which message it is (account, Message-ID if it has one, content), and what
 * is known of it; a new submission id when nothing is. */
void retry_memory_recall(struct retry_memory *m, const char *account,
			 const struct outgoing *o, int64_t now,
			 struct retry_entry *entry_r);
void retry_entry_clear(struct retry_entry *e);

/* Remembers the entry as it stands (submission id, done). 0 when it is on
 * disk, -1 when that failed (logged). */
int retry_memory_keep(struct retry_memory *m, const struct outgoing *o,
		      const struct retry_entry *e, int64_t now);

/* Forgets what is too old, a bounded number at a time. */
void retry_memory_sweep(struct retry_memory *m, int64_t now);

#endif
