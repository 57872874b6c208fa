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
 * What is a provider's part otherwise is done here: links and opens are
 * tracked, HTML gets its text part, tag, labels and metadata are headers for
 * the next hop. Of the body only the HTML part changes, and only then; a
 * DKIM-Signature goes with that. Nothing below a multipart/signed does.
 *
 * One message for all recipients, or a copy for each (requeue_needs_copies):
 * whoever is not in the client's envelope gets one of his own, and so does
 * everybody when links or the return path are to tell them apart. All copies
 * show To as the client wrote it, and the Cc that goes with them; that of a
 * BCC recipient has a Bcc header with him alone; an ARCHIVE copy is that of the
 * first recipient, links and all.
 */
#ifndef TXM_POLICY_REQUEUE_H
#define TXM_POLICY_REQUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "body.h"

/* Headers of ours begin with this; a client's copy has no effect. */
#define REQUEUE_OWN_PREFIX "X-Txmilter-"
#define REQUEUE_ROUTE_HEADER "X-Txmilter-Route"
#define REQUEUE_PLAN_HEADER "X-Txmilter-Plan"

#define REQUEUE_COPY_HEADER "X-Txmilter-Copy"
/* HTML whose links are replaced: twice what a body may be. */
#define REQUEUE_HTML_MAX (2 * BODY_KEPT_MAX)

struct dialect;
struct edits;
struct message;
struct outgoing;
struct outgoing_recipient;
struct smtp_reply;
struct tracking;

/* For the LMTP agent. Appends to e. */
void requeue_to_api(const struct message *m, struct edits *e);

/* What a message becomes for all, or for one. */
struct requeue_as {
	/* Whose copy it is; NULL: everybody's. */
	const struct outgoing_recipient *recipient;
	/* Letters and digits: in the Message-ID when the message has none, the
	 * same in all copies; and for ROUTE_TOKEN and in boundaries. */
	const char *message_token;
	const char *token;
	/* Seconds of the real-time clock, for a Date when it has none. */
	int64_t now;
	/* What requeue_cc() says; NULL: it is asked for this one. */
	const char *cc;
	/* When requeue_is_tracked(): whose opens and clicks they are. */
	const struct tracking *tracking;
};

/* For the transport of o->route, which is set; m was judged, o is what came of
 * it. Of the body m must have kept its bytes (BODY_WANT_RAW) unless the dialect
 * sends HTML only. Appends to e. False: refusal set. */
bool requeue_to_transport(const struct message *m, const struct dialect *d,
			  const struct outgoing *o, const struct requeue_as *as,
			  struct edits *e, struct smtp_reply *refusal);

/* Of a message for o->route, which is a transport. */
bool requeue_needs_copies(const struct outgoing *o);
bool requeue_is_tracked(const struct outgoing *o);

/* The Cc header that every copy shows, for who makes many: it is made of all
 * names. free(). NULL: there are no CC recipients, or it is too long. */
char *requeue_cc(const struct outgoing *o);

/* By whose id the links of a recipient's copy are signed: his own, or for an
 * ARCHIVE copy that of the first recipient of the envelope. */
const struct outgoing_recipient *
requeue_tracked_as(const struct outgoing *o,
		   const struct outgoing_recipient *recipient);

/* How many headers the client sent that look like ours. */
unsigned requeue_forged(const struct message *m);

#endif
