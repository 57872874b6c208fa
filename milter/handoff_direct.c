/* SPDX-License-Identifier: MIT */
/*
 * To the API while the client waits, for direct_timeout at most. What can be
 * said of the whole message is said to the client: the API has it for
 * everybody, or for nobody and why. Everything else goes on in the queue.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "api_batch.h"
#include "clock.h"
#include "config.h"
#include "handoff.h"
#include "key_check.h"
#include "log.h"
#include "policy/account.h"
#include "policy/api.h"
#include "policy/outgoing.h"
#include "policy/route.h"
#include "pool_wake.h"
#include "services.h"

struct waiting {
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t ended;
	bool over;
};

static void
on_done(void *arg)
{
	struct waiting *w = arg;

	if (pthread_mutex_lock(&w->lock) != 0)
		abort();
	w->over = true;
	if (pthread_cond_signal(&w->ended) != 0 ||
	    pthread_mutex_unlock(&w->lock) != 0)
		abort();
}

/* Until a time of the monotonic clock at most, or with NULL for ever. */
static bool
wait_until(struct waiting *w, const struct timespec *until)
{
	bool over;
	int r = 0;

	if (pthread_mutex_lock(&w->lock) != 0)
		abort();
	while (!w->over && r == 0)
		r = until == NULL
			? pthread_cond_wait(&w->ended, &w->lock)
			: pthread_cond_clockwait(&w->ended, &w->lock,
						 CLOCK_MONOTONIC, until);
	over = w->over;
	if (pthread_mutex_unlock(&w->lock) != 0 || (r != 0 && r != ETIMEDOUT))
		abort();
	return over;
}

static struct timespec
from_now(unsigned ms)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += (long)ms * 1000000L;
	t.tv_sec += t.tv_nsec / 1000000000L;
	t.tv_nsec %= 1000000000L;
	return t;
}

/* The HTTP pool ends every call by its deadline. */
static void
wait_for_all(struct pool_wake *pool, struct waiting *w)
{
	struct timespec soon = from_now(pool_wake_patience(pool));
	int64_t start = clock_ms();

	if (!wait_until(w, &soon)) {
		pool_wake_send(pool);
		(void)wait_until(w, NULL);
	}
	pool_wake_waited(pool, (unsigned)(clock_ms() - start));
}

static void
reply_refused(struct handoff *h, const struct api_batch *b,
	      const struct api_batch_counts *c)
{
	const struct smtp_reply *why = api_batch_reply(b, c->why);
	const char *who = h->outgoing->recipients[c->why].email;

	if (h->outgoing->n_recipients == 1 || c->key_wrong || c->too_large)
		h->reply = *why;
	else
		smtp_reply_set(&h->reply, why->code, why->enhanced, "%s: %s",
			       who, why->text);
}

static void
conclude(struct handoff *h, const struct api_batch *b)
{
	struct api_batch_counts c;
	struct api_tally tally;

	api_batch_counts(b, &c);
	h->accepted = c.accepted;
	if (c.key_wrong)
		key_check_refused(h->services->keys, h->identity->account->id,
				  h->identity->key, h->identity->local);
	tally = (struct api_tally){
		.recipients = h->outgoing->n_recipients,
		.accepted = c.accepted,
		.refused = c.refused,
		.open = c.open,
		.key_wrong = c.key_wrong,
		.misfit = c.misfit,
	};
	switch (api_conclude(&tally)) {
	case API_ALL_SENT:
		h->kind = HANDOFF_SENT;
		break;
	case API_ALL_REFUSED:
		reply_refused(h, b, &c);
		break;
	case API_NOT_OURS:
		h->reply = *api_batch_reply(b, 0);
		break;
	case API_REST_QUEUED:
		handoff_queue_rest(h, b);
		break;
	}
}

static void
call_api(struct handoff *h)
{
	const struct config *c = h->config;
	int64_t start = clock_ms();
	struct waiting w = {
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.ended = PTHREAD_COND_INITIALIZER,
	};
	const struct api_batch_settings settings = {
		.services = h->services,
		.api = config_api(c, h->outgoing->route->api),
		.queue_id = h->queue_id,
		.key_id = h->identity->key_id,
		.key = h->identity->key,
		.outgoing = h->outgoing,
		.submission = h->submission,
		.first_alone = true,
		.call_ms = c->direct_timeout_ms,
		.begin_by_ms = start + c->direct_timeout_ms / 2,
		.deadline_ms = start + c->direct_timeout_ms,
		.done = on_done,
		.arg = &w,
	};
	struct api_batch *b = api_batch_new(&settings);

	api_batch_start(b);
	wait_for_all(h->services->pool, &w);
	(void)pthread_cond_destroy(&w.ended);
	(void)pthread_mutex_destroy(&w.lock);
	h->waited_ms = (unsigned)(clock_ms() - start);
	conclude(h, b);
	api_batch_free(&b);
}

void
handoff_direct(struct handoff *h)
{
	atomic_uint *waiting = &h->services->handoffs;

	if (atomic_fetch_add(waiting, 1) < h->config->direct_limit) {
		call_api(h);
	} else {
		log_warning(h->queue_id, "direct_limit reached: to the queue");
		handoff_queue_rest(h, NULL);
	}
	atomic_fetch_sub(waiting, 1);
}
