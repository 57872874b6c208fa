/* SPDX-License-Identifier: MIT */
/*
 * Into Postfix's queue, for the transport that delivers to our LMTP agent. The
 * message stays as the client sent it; what the agent needs to know goes with
 * it, sealed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api_batch.h"
#include "config.h"
#include "crypto.h"
#include "handoff.h"
#include "key_check.h"
#include "listener.h"
#include "log.h"
#include "plan_seal.h"
#include "policy/account.h"
#include "policy/dialect.h"
#include "policy/dynbuf.h"
#include "policy/edits.h"
#include "policy/outgoing.h"
#include "policy/plan.h"
#include "policy/requeue.h"
#include "policy/route.h"
#include "services.h"

#define AGENT_TRANSPORT ROUTE_AGENT

/* How Postfix finds the agent, free(). config.c sees to it that the table of
 * packaging/postfix lets it through. */
static char *
agent_route(const char *lmtp_socket)
{
	const char *path = listener_path(lmtp_socket);
	const char *port = strchr(lmtp_socket, ':') + 1;
	const char *at = strchr(lmtp_socket, '@');
	bool bare = at != NULL && at[1] != '[';
	char *route;
	int n;

	if (path != NULL)
		n = asprintf(&route, AGENT_TRANSPORT ":unix:%s", path);
	else
		n = asprintf(&route, AGENT_TRANSPORT ":inet:%s%s%s:%.*s",
			     bare ? "[" : "", at + 1, bare ? "]" : "",
			     (int)(at - port), port);
	if (n < 0)
		abort();
	return route;
}

/* False: it does not fit, which no bound of ours lets happen. */
static bool
copy(char *dst, size_t size, const char *src)
{
	size_t n = strlen(src);

	if (n >= size)
		return false;
	memcpy(dst, src, n + 1);
	return true;
}

static bool
fill(struct plan *p, const struct handoff *h)
{
	const struct identity *id = h->identity;
	const char *api = h->outgoing->route->api;
	/* A transport needs no key, and one that is not there is safe. */
	bool no_key = id->local || api == NULL;

	memcpy(p->submission, h->submission, sizeof(p->submission));
	submission_content(h->outgoing, p->content);
	p->body_version = PLAN_BODY_VERSION;
	p->local = id->local;
	p->tracked = api == NULL && requeue_is_tracked(h->outgoing);
	p->accepted = (int64_t)time(NULL);
	return copy(p->queue_id, sizeof(p->queue_id), h->queue_id) &&
	       copy(p->account, sizeof(p->account), id->account->id) &&
	       copy(p->key_id, sizeof(p->key_id), id->key_id) &&
	       copy(p->key, sizeof(p->key), no_key ? "" : id->key) &&
	       copy(p->api, sizeof(p->api), api != NULL ? api : "") &&
	       copy(p->dialect, sizeof(p->dialect), h->dialect->name);
}

static void
take_over(struct plan *p, const struct api_batch *b)
{
	for (size_t i = 0; i < p->outgoing->n_recipients; i++) {
		struct plan_recipient *r = &p->recipients[i];

		switch (api_batch_state(b, i)) {
		case BATCH_ACCEPTED:
			r->state = PLAN_DONE;
			break;
		case BATCH_REFUSED:
			r->state = PLAN_REFUSED;
			r->reply = *api_batch_reply(b, i);
			break;
		case BATCH_OPEN:
		case BATCH_SKIPPED:
			r->state = PLAN_OPEN;
			break;
		}
	}
}

/* Those that are not in the client's envelope, and that something is left to be
 * done for, or said of. */
static void
add_recipients(struct edits *e, const struct plan *p)
{
	const struct outgoing *o = p->outgoing;

	for (size_t i = 0; i < o->n_recipients; i++) {
		if (o->recipients[i].kind != OUTGOING_TO &&
		    p->recipients[i].state != PLAN_DONE)
			edits_add_recipient(e, o->recipients[i].email);
	}
}

static void
add_header(void *arg, const char *value)
{
	edits_add(arg, REQUEUE_PLAN_HEADER, value);
}

static bool
seal(struct handoff *h, const struct plan *p)
{
	struct dynbuf text;
	bool ok;

	dynbuf_init(&text, PLAN_MAX);
	/* What it grew out of is not wiped: room for most at once. */
	(void)dynbuf_room(&text, 16384);
	ok = plan_write(p, &text);
	if (ok)
		plan_seal(h->services->seal, text.data, text.len, add_header,
			  h->edits);
	if (text.data != NULL)
		crypto_wipe(text.data, text.cap);
	dynbuf_clear(&text);
	return ok;
}

void
handoff_queue_rest(struct handoff *h, const struct api_batch *b)
{
	struct plan *p = plan_new(h->outgoing);

	if (b != NULL)
		take_over(p, b);
	h->edits = edits_new();
	h->edits->route = agent_route(h->config->lmtp_socket);
	requeue_to_api(h->message, h->edits);
	add_recipients(h->edits, p);
	if (fill(p, h) && seal(h, p)) {
		h->kind = HANDOFF_QUEUED;
		h->way = h->outgoing->route->handoff == ROUTE_DIRECT
			     ? "direct,queued"
			     : "queued";
	} else {
		log_error(h->queue_id, "the plan does not fit");
		edits_free(&h->edits);
		smtp_reply_set(&h->reply, 451, "4.3.0",
			       "The relay cannot queue the message");
	}
	/* It is the caller's. */
	p->outgoing = NULL;
	plan_free(&p);
}

void
handoff_queue(struct handoff *h)
{
	handoff_queue_rest(h, NULL);
}
