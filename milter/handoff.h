/* SPDX-License-Identifier: MIT */
/*
 * handoff: gets a judged message to where its route says.
 *
 * There are three ways, one file each: to an API while the client waits
 * (handoff_direct.c), to an API out of Postfix's queue (handoff_queue.c), and
 * as mail by a transport of Postfix (handoff_transport.c). Direct goes on in
 * the queue when the API cannot take all of it now. Blocks; thread-safe.
 */
#ifndef TXM_MILTER_HANDOFF_H
#define TXM_MILTER_HANDOFF_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/smtp_reply.h"
#include "submission.h"

struct api_batch;
struct config;
struct dialect;
struct edits;
struct identity;
struct message;
struct outgoing;
struct services;

enum handoff_kind {
	HANDOFF_SENT,	/* it is at the API: Postfix shall forget it */
	HANDOFF_QUEUED, /* Postfix shall keep it, with the edits */
	HANDOFF_NOT,	/* the client hears the reply */
};

/* One message on its way. */
struct handoff {
	/* in */
	struct services *services;
	const struct config *config;
	const char *queue_id;
	const struct identity *identity;
	const struct dialect *dialect;
	const struct message *message;
	struct outgoing *outgoing;

	/* out */
	enum handoff_kind kind;
	struct smtp_reply reply;
	struct edits *edits; /* QUEUED; the caller's to free */
	const char *way;     /* for the log: "direct", "direct,queued", ... */
	size_t accepted;     /* recipients the API has */
	unsigned waited_ms;  /* for the API */
	uint8_t submission[SUBMISSION_ID_LEN];
};

void handoff(struct handoff *h);

/* The ways. Each sets what is out. */
void handoff_direct(struct handoff *h);
void handoff_queue(struct handoff *h);
void handoff_transport(struct handoff *h);

/* Goes on in the queue: whom the batch has done with is done. NULL: nobody. */
void handoff_queue_rest(struct handoff *h, const struct api_batch *b);

/* "direct", "queued" or "transport": how a route hands over. */
struct route;
const char *handoff_name(const struct route *r);

#endif
