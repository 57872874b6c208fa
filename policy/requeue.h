/* SPDX-License-Identifier: MIT */
/*
 * requeue: what a message becomes that goes into Postfix's queue.
 *
 * To an API (ROUTE_QUEUED, and a direct hand-off that the API could not take):
 * as the client sent it, so that a bounce returns what he knows, without the
 * headers that hold a key and without a client's copies of our own headers.
 * The plan is added by who seals it.
 *
 * To a transport: as the dialect documents that mail leaves. Control headers
 * of every dialect go, the dialect's other rules apply, what the route strips
 * goes and what it adds comes. Received stays always: Postfix
 * ends loops by counting it. Bcc and Return-Path never do, and of headers that
 * may be there once only the first does. A missing Date or Message-ID is added.
 */
#ifndef TXM_POLICY_REQUEUE_H
#define TXM_POLICY_REQUEUE_H

#include <stdbool.h>
#include <stdint.h>

/* Headers of ours begin with this; a client's copy has no effect. */
#define REQUEUE_OWN_PREFIX "X-Txmilter-"
#define REQUEUE_ROUTE_HEADER "X-Txmilter-Route"
#define REQUEUE_PLAN_HEADER "X-Txmilter-Plan"

struct dialect;
struct edits;
struct message;
struct outgoing;
struct smtp_reply;

/* For the LMTP agent. Appends to e. */
void requeue_to_api(const struct message *m, struct edits *e);

/* For the transport of o->route, which is set; m was judged, o is what came of
 * it. token: stands for ROUTE_TOKEN and in the
 * Message-ID when the message has none; letters and digits. now: seconds of
 * the real-time clock, for a Date when it has none. False: refusal set. */
bool requeue_to_transport(const struct message *m, const struct dialect *d,
			  const struct outgoing *o, const char *token,
			  int64_t now, struct edits *e,
			  struct smtp_reply *refusal);

/* How many headers the client sent that look like ours. */
unsigned requeue_forged(const struct message *m);

#endif
