/* SPDX-License-Identifier: MIT */
/*
 * limits: what the rates of an account leave a message (account_rate): one
 * token of the key's bucket and one of each recipient's. Thread-safe.
 */
#ifndef TXM_MILTER_LIMITS_H
#define TXM_MILTER_LIMITS_H

#include <stdbool.h>

struct identity;
struct outgoing;
struct rate_limit;
struct smtp_reply;

/* Takes all tokens or none. False: the reply is 450 4.7.1 and names the limit
 * and the seconds to wait. */
bool limits_take(struct rate_limit *r, const struct identity *id,
		 const struct outgoing *o, struct smtp_reply *reply);

/* Gives them back: nobody got the message. */
void limits_return(struct rate_limit *r, const struct identity *id,
		   const struct outgoing *o);

#endif
