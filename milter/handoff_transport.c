/* SPDX-License-Identifier: MIT */
/*
 * As mail, by a transport of Postfix: as one message, at once; or, when each
 * recipient gets a copy of his own, by way of the queue and our LMTP agent,
 * which makes them (copies.h).
 */
#include <strings.h>
#include <time.h>

#include "copy_terms.h"
#include "handoff.h"
#include "key_check.h"
#include "policy/account.h"
#include "policy/edits.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/requeue.h"
#include "policy/smtp_reply.h"

/* The edits for that recipient, or for all. False: the reply is set. */
static bool
edit(struct handoff *h, const struct outgoing_recipient *recipient)
{
	const struct copy_message m = {
		.services = h->services,
		.config = h->config,
		.account = h->identity->account->id,
		.outgoing = h->outgoing,
		.submission = h->submission,
		.accepted = (int64_t)time(NULL),
	};
	struct copy_terms terms;

	copy_terms(&terms, &m, recipient);
	h->edits = edits_new();
	if (requeue_to_transport(h->message, h->dialect, h->outgoing, &terms.as,
				 h->edits, &h->reply))
		return true;
	edits_free(&h->edits);
	return false;
}

/* Postfix's Received, which it adds before the agent reads the headers: names,
 * addresses, the login (RFC 5321 has 512 bytes for a command line). */
#define RECEIVED_MAX 4096
/* Postfix refuses a message of so many hops (hopcount_limit); it is one itself
 * when it takes the message, and again when it takes a copy. */
#define HOPS_MAX 50
#define HOPS_ADDED 2

static size_t
count_hops(const struct message *m)
{
	size_t n = 0;

	for (size_t i = 0; i < message_n_headers(m); i++)
		n += strcasecmp(message_header_at(m, i)->name, "Received") == 0;
	return n;
}

static bool
has_room(struct handoff *h)
{
	size_t hops = count_hops(h->message);

	if (hops + HOPS_ADDED >= HOPS_MAX)
		smtp_reply_set(&h->reply, 554, "5.4.6",
			       "Too many hops: %zu Received headers", hops);
	else if (message_n_headers(h->message) >= MESSAGE_HEADERS_MAX)
		smtp_reply_set(&h->reply, 550, "5.6.0", "Too many headers");
	else if (message_header_bytes(h->message) + RECEIVED_MAX >
		 MESSAGE_HEADERS_KEPT_MAX)
		smtp_reply_set(&h->reply, 550, "5.6.0",
			       "The headers are too long to be copied");
	else
		return true;
	return false;
}

/* What would go wrong with a copy is said now: nobody hears it later but by a
 * bounce. */
static void
queue_copies(struct handoff *h)
{
	if (!has_room(h) || !edit(h, &h->outgoing->recipients[0]))
		return;
	edits_free(&h->edits);
	handoff_queue_rest(h, NULL);
	if (h->kind == HANDOFF_QUEUED)
		h->way = "transport,copies";
}

void
handoff_transport(struct handoff *h)
{
	if (requeue_needs_copies(h->outgoing))
		queue_copies(h);
	else if (edit(h, NULL))
		h->kind = HANDOFF_QUEUED;
}
