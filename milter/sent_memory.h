/* SPDX-License-Identifier: MIT */
/*
 * sent_memory: which messages an API has taken, for which recipient, for a
 * while; and which it is being given just now.
 *
 * A client whose 250 was lost sends the message again, and so does Postfix
 * after a crash between the API's answer and ours. What is remembered here is
 * answered without calling the API once more. A client that lost its patience
 * sends it again while the API is still called: the second one has to wait for
 * what comes of the first. The name of a message to one recipient is its
 * idempotency key (submission.h).
 *
 * What is added counts at once and is on disk by the next sent_memory_flush():
 * a crash forgets the last second, and an API that knows idempotency keys does
 * not mind. Two tables on disk take turns, so that forgetting is emptying the
 * older one: a record is kept for `seconds` at least and twice that at most;
 * less when there are too many or the map is full, since memory is what is
 * lost then, not mail. Thread-safe.
 */
#ifndef TXM_MILTER_SENT_MEMORY_H
#define TXM_MILTER_SENT_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#define SENT_KEY_LEN 16
/* Not on disk yet; over this what is added is forgotten (logged). */
#define SENT_PENDING_MAX 100000
/* Of one table, before its turn ends early: some 40 MB on disk. */
#define SENT_RECORDS_MAX 1000000

struct sent_memory;
struct store;

/* store must outlive it. */
struct sent_memory *sent_memory_new(struct store *store);
/* After a last flush of the caller's. */
void sent_memory_free(struct sent_memory **m);

/* For how long from now on; 0: nothing is remembered and nothing found, and
 * what is on disk goes with the next flush. To be told before the first one:
 * until then it is 0. */
void sent_memory_keep_for(struct sent_memory *m, unsigned seconds);

/* A call for that key; the caller's, in place until it is released. */
struct sent_claim {
	uint8_t key[SENT_KEY_LEN];
	struct sent_claim *next; /* the memory's */
};

enum sent_state {
	SENT_NOT,	/* claimed now: call, and release */
	SENT_ALREADY,	/* not claimed: do not call */
	SENT_UNDER_WAY, /* not claimed: somebody else is calling */
};

/* Also when nothing is remembered. */
enum sent_state sent_memory_claim(struct sent_memory *m, struct sent_claim *c);

/* What came of it: the API has taken it, or has not as far as we know. */
void sent_memory_release(struct sent_memory *m, struct sent_claim *c,
			 bool taken);

/* Only to know. */
bool sent_memory_has(struct sent_memory *m, const uint8_t key[SENT_KEY_LEN]);

/* Writes what is pending; changes tables when it is time. now: seconds of the
 * real-time clock. 0, or -1 (logged): what was pending stays. */
int sent_memory_flush(struct sent_memory *m, int64_t now);

#endif
