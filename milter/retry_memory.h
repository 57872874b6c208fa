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

/* Recipients of one message. What a client sends in several transactions is
 * one message here (recipients are no part of which message it is), so that a
 * record may come to hold more. */
#define RETRY_RECIPIENTS_MAX 1000
#define RETRY_RECORD_MAX (10 * RETRY_RECIPIENTS_MAX)

struct outgoing;
struct store;
struct retry_memory;

/* What is known about one message. */
struct retry_entry {
	uint8_t submission[SUBMISSION_ID_LEN];
	bool known; /* it was here before */
	bool *done; /* per recipient of the outgoing message; owned */
	size_t n;
	char *account; /* owned */
	/* Hashing a message costs more than all else here and is not needed
	 * while nothing is remembered of any: done by recall only when there
	 * may be something to find, else by keep. */
	bool hashed;
	uint8_t message[CRYPTO_HASH_LEN]; /* which message; when hashed */
};

struct retry_memory *retry_memory_new(struct store *store);
void retry_memory_free(struct retry_memory **m);

/* Which message it is (account, Message-ID if it has one, content), and what
 * is known of it; a new submission id when nothing is. */
void retry_memory_recall(struct retry_memory *m, const char *account,
			 const struct outgoing *o, int64_t now,
			 struct retry_entry *entry_r);
void retry_entry_clear(struct retry_entry *e);

/* Remembers the entry as it stands (done, submission id), together with what
 * is remembered of it already: recipients done are never undone, and the
 * submission id that is on disk stays. `o` is the message given to recall. 0
 * when it is on disk, -1 when that failed (logged). */
int retry_memory_keep(struct retry_memory *m, const struct outgoing *o,
		      const struct retry_entry *e, int64_t now);

/* The client was told that all of it is done: what it sends from now on is
 * another message, even if it looks the same. Writes only when there is
 * something to forget. 0, or -1 (logged). */
int retry_memory_forget(struct retry_memory *m, const struct outgoing *o,
			const struct retry_entry *e);

/* Forgets what is too old, a bounded number at a time. */
void retry_memory_sweep(struct retry_memory *m, int64_t now);

#endif
