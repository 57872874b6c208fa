/* SPDX-License-Identifier: MIT */
/*
 * As mail, by a transport of Postfix.
 */
#include <time.h>

#include "crypto.h"
#include "handoff.h"
#include "policy/edits.h"
#include "policy/outgoing.h"
#include "policy/requeue.h"

void
handoff_transport(struct handoff *h)
{
	char token[2 * SUBMISSION_ID_LEN + 1];

	crypto_hex(token, h->submission, sizeof(h->submission));
	h->edits = edits_new();
	if (requeue_to_transport(h->message, h->dialect, h->outgoing, token,
				 (int64_t)time(NULL), h->edits, &h->reply))
		h->kind = HANDOFF_QUEUED;
	else
		edits_free(&h->edits);
}
