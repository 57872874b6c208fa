/* SPDX-License-Identifier: MIT */
/*
 * judge: the verdict on a message, when all of it is there.
 *
 * The one door between the daemon and the policy: everything that decides
 * what happens to a message is behind it, and it does nothing but decide.
 */
#ifndef TXM_POLICY_JUDGE_H
#define TXM_POLICY_JUDGE_H

#include "smtp_reply.h"

struct account;
struct dialect;
struct message;
struct outgoing;
struct route_list;

enum verdict_kind { VERDICT_REFUSE, VERDICT_HAND_OVER };

struct verdict {
	enum verdict_kind kind;
	struct smtp_reply reply;   /* REFUSE: what the client hears */
	struct outgoing *outgoing; /* HAND_OVER: owned by the verdict */
	/* By which it was read; NULL when it came to none. */
	const struct dialect *dialect;
};

/* Ends the message's body and judges it. account: who sends it; NULL is
 * nobody, and refused. Only an address that the account may send as is handed
 * over, by what `routes` says of its route (outgoing->route; NULL when they say
 * nothing), and only when that can do what the message asks for. */
void judge(struct message *m, const struct account *account,
	   const struct dialect *dialect, const struct route_list *routes,
	   struct verdict *verdict_r);

void verdict_clear(struct verdict *v);

#endif
