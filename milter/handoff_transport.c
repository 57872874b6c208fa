/* SPDX-License-Identifier: MIT */
/*
 * As mail, by a transport of Postfix: as one message, at once; or, when each
 * recipient gets a copy of his own, by way of the queue and our LMTP agent,
 * which makes them (copies.h).
 */
#include <time.h>

#include "copy_terms.h"
#include "handoff.h"
#include "key_check.h"
#include "policy/account.h"
#include "policy/edits.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/requeue.h"

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

/* What would go wrong with a copy is said now: nobody hears it later but by a
 * bounce. Postfix adds a header of its own before the agent counts them. */
static void
queue_copies(struct handoff *h)
{
	if (message_n_headers(h->message) >= MESSAGE_HEADERS_MAX) {
		smtp_reply_set(&h->reply, 550, "5.6.0", "Too many headers");
		return;
	}
	if (!edit(h, &h->outgoing->recipients[0]))
		return;
	edits_free(&h->edits);
	handoff_queue_rest(h, NULL);
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
