/* SPDX-License-Identifier: MIT */
/*
 * copy_arrival: a message that comes in by the service for copies
 * (packaging/postfix: txresubmit), as the milter sees it. One with the seal of
 * our LMTP agent (copy_seal.h), which waits for it (copy_ledger.h), goes to the
 * transport that the seal says, unchanged but for that; anything else is
 * nobody's, whoever sends it, and refused. Not thread-safe; one for a message.
 */
#ifndef TXM_MILTER_COPY_ARRIVAL_H
#define TXM_MILTER_COPY_ARRIVAL_H

#include <stddef.h>

/* What Postfix calls that service ({daemon_name}). */
#define COPY_SERVICE "txresubmit"

struct copy_arrival;
struct copy_ledger;
struct crypto_seal;
struct edits;
struct message;
struct smtp_reply;

struct copy_arrival *copy_arrival_new(void);
void copy_arrival_free(struct copy_arrival **a);

void copy_arrival_header(struct copy_arrival *a, const char *name,
			 const char *value);

/* The message is complete; of m only the envelope counts. What is to be done
 * with it, edits_free(); or NULL and the reply. Logs. */
struct edits *copy_arrival_end(struct copy_arrival *a,
			       const struct crypto_seal *seal,
			       struct copy_ledger *ledger,
			       const struct message *m, const char *queue_id,
			       struct smtp_reply *reply_r);

#endif
