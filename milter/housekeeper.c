/* SPDX-License-Identifier: MIT */
#include "housekeeper.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "config.h"
#include "key_cache.h"
#include "keystore.h"
#include "need.h"
#include "pool_wake.h"
#include "reload.h"
#include "sent_memory.h"
#include "services.h"

#define SWEEP_EVERY_S 60

struct housekeeper {
	struct services *services;
	pthread_t thread;
	pthread_mutex_t lock; /* guards stop */
	pthread_cond_t wake;
	bool stop;
};

/* False: time to end. */
static bool
sleep_a_second(struct housekeeper *h)
{
	struct timespec t;
	bool stop;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec++;
	pthread_mutex_lock(&h->lock);
	if (!h->stop)
		(void)pthread_cond_timedwait(&h->wake, &h->lock, &t);
	stop = h->stop;
	pthread_mutex_unlock(&h->lock);
	return !stop;
}

/* SIGUSR1, which no thread takes: libmilter has none for it. Within a second
 * is soon enough for a person. */
static void
reload_when_told(struct services *s)
{
	const struct timespec now = { 0 };
	sigset_t set;
	char *error;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	if (sigtimedwait(&set, NULL, &now) == SIGUSR1 && reload(s, &error) != 0)
		free(error);
}

static void
sweep(struct services *s)
{
	const struct config *c = s->config;
	int64_t now = (int64_t)time(NULL);
	unsigned keep = c->stale > c->ttl ? c->stale : c->ttl;

	keystore_flush(s->keystore);
	key_cache_sweep(s->key_cache, now - keep);
}

static void *
run(void *arg)
{
	struct housekeeper *h = arg;
	unsigned seconds = 0;

	while (sleep_a_second(h)) {
		reload_when_told(h->services);
		(void)key_cache_flush(h->services->key_cache);
		(void)sent_memory_flush(h->services->sent, (int64_t)time(NULL));
		pool_wake_connect(h->services->pool);
		if (++seconds % SWEEP_EVERY_S == 0)
			sweep(h->services);
	}
	(void)key_cache_flush(h->services->key_cache);
	keystore_flush(h->services->keystore);
	return NULL;
}

struct housekeeper *
housekeeper_start(struct services *services)
{
	struct housekeeper *h = need(calloc(1, sizeof(*h)));
	pthread_condattr_t attr;

	h->services = services;
	pthread_mutex_init(&h->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&h->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&h->thread, NULL, run, h) != 0) {
		free(h);
		return NULL;
	}
	(void)pthread_setname_np(h->thread, "housekeeper");
	return h;
}

void
housekeeper_stop(struct housekeeper **hp)
{
	struct housekeeper *h = *hp;

	if (h == NULL)
		return;
	pthread_mutex_lock(&h->lock);
	h->stop = true;
	pthread_cond_signal(&h->wake);
	pthread_mutex_unlock(&h->lock);
	(void)pthread_join(h->thread, NULL);
	pthread_cond_destroy(&h->wake);
	pthread_mutex_destroy(&h->lock);
	free(h);
	*hp = NULL;
}
