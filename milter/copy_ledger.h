/* SPDX-License-Identifier: MIT */
/*
 * copy_ledger: which copies are on their way from our LMTP agent to our milter.
 *
 * Both are in this process, with Postfix between them. An attempt is open from
 * before a copy is sent until Postfix has said what became of it. Its id is in
 * the copy's ticket (copy_seal.h): so a ticket is good once, and only while
 * somebody waits for it; and what Postfix says counts only of a copy that
 * arrived, for else it was another service that spoke. As many are open as
 * resubmit has connections. Thread-safe.
 */
#ifndef TXM_MILTER_COPY_LEDGER_H
#define TXM_MILTER_COPY_LEDGER_H

#include <stdbool.h>

#include "policy/plan.h"

/* 128 random bits, in hex. */
#define COPY_ID_LEN 32

struct copy_ledger;

/* The caller's, in place from open to close. */
struct copy_attempt {
	char id[COPY_ID_LEN + 1];
	bool arrived;
	char queue_id[PLAN_QUEUE_ID_MAX + 1]; /* Postfix's, when it arrived */
	struct copy_attempt *next;	      /* the ledger's */
};

struct copy_ledger *copy_ledger_new(void);
void copy_ledger_free(struct copy_ledger **l);

/* Gives it its id. */
void copy_ledger_open(struct copy_ledger *l, struct copy_attempt *a);
/* From now on nobody else touches a. */
void copy_ledger_close(struct copy_ledger *l, struct copy_attempt *a);

/* It was taken in by our milter. False: nobody waits for it, or it was taken
 * before. */
bool copy_ledger_arrive(struct copy_ledger *l, const char *id,
			const char *queue_id);

/* A copy was taken by who knows whom. As long as this process lives no other
 * follows it: where they go is read at its start. */
void copy_ledger_lose(struct copy_ledger *l);
bool copy_ledger_has_lost(struct copy_ledger *l);

#endif
