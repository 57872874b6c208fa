/* SPDX-License-Identifier: MIT */
#include "handoff.h"

#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "key_check.h"
#include "limits.h"
#include "log.h"
#include "need.h"
#include "policy/account.h"
#include "policy/outgoing.h"
#include "policy/route.h"
#include "sent_memory.h"
#include "services.h"

static const struct {
	const char *name;
	void (*run)(struct handoff *h);
	bool to_api;
} ways[] = {
	[ROUTE_DIRECT] = { "direct", handoff_direct, true },
	[ROUTE_QUEUED] = { "queued", handoff_queue, true },
	[ROUTE_TRANSPORT] = { "transport", handoff_transport, false },
};

const char *
handoff_name(const struct route *r)
{
	return ways[r->handoff].name;
}

/* An account that was made here without a key for the API. */
static bool
has_api_key(struct handoff *h)
{
	const char *account = h->identity->account->id;

	if (h->identity->key[0] != '\0')
		return true;
	log_error(h->queue_id,
		  "account %s has no API key: see txmilterctl key "
		  "add --api-key-file",
		  account);
	smtp_reply_set(&h->reply, 451, "4.3.5",
		       "The relay has no API key for this account");
	return false;
}

static bool
has_route(struct handoff *h)
{
	if (h->outgoing->route != NULL)
		return true;
	log_error(h->queue_id, "there is no [route %s] and no [route *]",
		  h->outgoing->route_id);
	smtp_reply_set(&h->reply, 451, "4.3.5",
		       "The relay does not know where the route leads");
	return false;
}

/* Whom a repetition needs no token for: they have the message. True when there
 * is one. */
static bool
find_sent(const struct handoff *h, bool *done)
{
	const struct account *a = h->identity->account;
	bool any = false;

	if (a->rate.count == 0 && a->recipient_rate.count == 0)
		return false;
	for (size_t i = 0; i < h->outgoing->n_recipients; i++) {
		uint8_t key[SUBMISSION_KEY_LEN];

		submission_key(h->submission, h->outgoing->recipients[i].email,
			       key);
		done[i] = sent_memory_has(h->services->sent, key);
		any = any || done[i];
	}
	return any;
}

static void
run(struct handoff *h)
{
	const struct outgoing *o = h->outgoing;
	bool *done = need(calloc(o->n_recipients + 1, sizeof(bool)));
	struct rate_limit *limits = h->services->limits;
	struct limits_taken taken;
	bool again;

	again = find_sent(h, done);
	if (limits_take(limits, h->identity, o, done, again, &taken,
			&h->reply)) {
		ways[o->route->handoff].run(h);
		for (size_t i = 0; i < o->n_recipients; i++)
			done[i] = h->kind != HANDOFF_NOT;
		limits_settle(limits, h->identity, o, done, &taken);
	}
	free(done);
}

void
handoff(struct handoff *h)
{
	h->kind = HANDOFF_NOT;
	h->way = "none";
	if (!has_route(h))
		return;
	h->way = handoff_name(h->outgoing->route);
	if (ways[h->outgoing->route->handoff].to_api && !has_api_key(h))
		return;
	submission_id(h->identity->account->id, h->outgoing, h->submission);
	run(h);
}
