/* SPDX-License-Identifier: MIT */
#include "key_wait.h"
#include "need.h"
#include "pool_wake.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

/* Freed by whoever is last: the asker, or the one who answers. */
/* key_check ends by its own deadline; this is for its failing to. */
#define SLACK_MS 1000

struct key_wait {
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t answered;
	bool has_answer;
	bool abandoned;
	enum key_status status;
	enum key_reason reason;
	struct identity *identity;
};

static void
destroy(struct key_wait *w)
{
	identity_free(&w->identity);
	pthread_cond_destroy(&w->answered);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static void
on_answer(void *arg, enum key_status status, enum key_reason reason,
	  struct identity *id)
{
	struct key_wait *w = arg;
	bool last;

	pthread_mutex_lock(&w->lock);
	w->has_answer = true;
	w->status = status;
	w->reason = reason;
	w->identity = id;
	last = w->abandoned;
	pthread_cond_signal(&w->answered);
	pthread_mutex_unlock(&w->lock);
	if (last)
		destroy(w);
}

static struct key_wait *
key_wait_new(void)
{
	struct key_wait *w = need(calloc(1, sizeof(*w)));
	pthread_condattr_t attr;

	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->answered, &attr);
	pthread_condattr_destroy(&attr);
	return w;
}

struct key_wait *
key_wait_key(struct key_check *kc, const char *key, size_t len,
	     const char *address)
{
	struct key_wait *w = key_wait_new();

	key_check_ask(kc, key, len, address, on_answer, w);
	return w;
}

struct key_wait *
key_wait_user(struct key_check *kc, const char *user, const char *address)
{
	struct key_wait *w = key_wait_new();

	key_check_ask_user(kc, user, address, on_answer, w);
	return w;
}

static void
wait_until(struct key_wait *w, unsigned timeout_ms)
{
	struct timespec t;
	int r = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += timeout_ms / 1000;
	t.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	while (!w->has_answer && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&w->answered, &w->lock, &t);
}

/* Takes the answer, if it comes in time. Frees the question, now
 * or when it is answered. */
static void
take(struct key_wait *w, unsigned timeout_ms, enum key_status *status_r,
     enum key_reason *reason_r, struct identity **identity_r)
{
	bool last;

	*status_r = KEY_UNKNOWN;
	*reason_r = KEY_REASON_NONE;
	*identity_r = NULL;
	pthread_mutex_lock(&w->lock);
	wait_until(w, timeout_ms);
	last = w->has_answer;
	if (last) {
		*status_r = w->status;
		*reason_r = w->reason;
		*identity_r = w->identity;
		w->identity = NULL;
	}
	w->abandoned = true;
	pthread_mutex_unlock(&w->lock);
	if (last)
		destroy(w);
}

static bool
is_ready(struct key_wait *w, unsigned timeout_ms)
{
	bool ready;

	pthread_mutex_lock(&w->lock);
	wait_until(w, timeout_ms);
	ready = w->has_answer;
	pthread_mutex_unlock(&w->lock);
	return ready;
}

enum key_status
key_wait_take(struct key_wait **wp, struct pool_wake *pool,
	      unsigned check_timeout_ms, enum key_reason *reason_r,
	      struct identity **identity_r)
{
	struct key_wait *w = *wp;
	enum key_status status;

	*wp = NULL;
	if (!is_ready(w, POOL_WAKE_SLOW_MS))
		pool_wake_send(pool);
	take(w, check_timeout_ms + SLACK_MS, &status, reason_r, identity_r);
	return status;
}

const struct identity *
key_wait_peek(struct key_wait *w)
{
	const struct identity *id;

	pthread_mutex_lock(&w->lock);
	id = w->has_answer && w->status == KEY_GOOD ? w->identity : NULL;
	pthread_mutex_unlock(&w->lock);
	return id;
}

void
key_wait_free(struct key_wait **wp)
{
	struct key_wait *w = *wp;
	struct identity *identity;
	enum key_status status;
	enum key_reason reason;

	if (w == NULL)
		return;
	*wp = NULL;
	take(w, 0, &status, &reason, &identity);
	identity_free(&identity);
}
