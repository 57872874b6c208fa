/* SPDX-License-Identifier: MIT */
/*
 * limits: what the rates of an account leave a message (account_rate): one
 * token of the key's bucket and one of each recipient's. Thread-safe.
 */
#ifndef TXM_MILTER_LIMITS_H
#define TXM_MILTER_LIMITS_H

#include <stdbool.h>
#include <stddef.h>

struct identity;
struct outgoing;
struct rate_limit;
struct smtp_reply;

/* What is taken for one attempt at a message. */
struct limits_taken {
	bool key;
	bool *recipients; /* by their place in the message; owned */
	size_t n;
};

/* Takes all tokens or none: of the recipients that are not `done`, and of the
 * key unless it is a retry of a message that has paid. False: nothing is
 * taken, the reply is 450 4.7.1 and names the limit and the seconds to wait. */
bool limits_take(struct rate_limit *r, const struct identity *id,
		 const struct outgoing *o, const bool *done, bool is_retry,
		 struct limits_taken *taken_r, struct smtp_reply *reply);

/* After the attempt: gives back what was taken for those still not `done`, and
 * the key's token when nobody is. Clears `taken`. */
void limits_settle(struct rate_limit *r, const struct identity *id,
		   const struct outgoing *o, const bool *done,
		   struct limits_taken *taken);

#endif
