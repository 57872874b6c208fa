/* SPDX-License-Identifier: MIT */
/*
 * copy_seal: by what a copy that comes back from our LMTP agent is known.
 *
 * The agent gives a message for one recipient to Postfix again, with one header
 * X-Txmilter-Copy: a ticket that says for whom it is, from whom, by which
 * transport, when it was made, and of which attempt it is (copy_ledger.h),
 * sealed (crypto_seal, context "copy"). So nobody but this daemon can write
 * one, and who has seen one can do nothing with it. Thread-safe; no state.
 */
#ifndef TXM_MILTER_COPY_SEAL_H
#define TXM_MILTER_COPY_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "copy_ledger.h"
#include "submission.h"

/* Seconds; more than an attempt takes. */
#define COPY_SEAL_VALID 3600
/* The header's value: two addresses and a transport. */
#define COPY_SEAL_MAX 16384

struct crypto_seal;

struct copy_ticket {
	char *transport; /* "name:nexthop" */
	char *sender;
	char *recipient;
	int64_t made; /* seconds of the real-time clock */
	char key[2 * SUBMISSION_KEY_LEN + 1]; /* which copy: for the log */
	char id[COPY_ID_LEN + 1];	      /* which attempt */
};

/* The header's value, with folds. free(). */
char *copy_seal(const struct crypto_seal *seal, const struct copy_ticket *t);

/* The ticket of such a value (white space does not matter); its strings are
 * the caller's: copy_ticket_clear(). NULL, or why it is none; static. */
const char *copy_unseal(const struct crypto_seal *seal, const char *value,
			size_t len, int64_t now, struct copy_ticket *t_r);
void copy_ticket_clear(struct copy_ticket *t);

#endif
