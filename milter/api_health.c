/* SPDX-License-Identifier: MIT */
#include "api_health.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "log.h"
#include "need.h"

#define BUCKETS 4096

/* A key that pauses. */
struct pause {
	SLIST_ENTRY(pause) next;
	int64_t until;
	char key_id[];
};

SLIST_HEAD(bucket, pause);

struct api_health {
	char *name;
	pthread_mutex_t lock; /* guards all below */
	bool open;
	bool probing;
	unsigned failures;
	unsigned long opened;
	int64_t wait;  /* between the last probe and the next */
	int64_t tried; /* when the last probe ended, or the circuit opened */
	struct bucket *buckets;
	unsigned paused; /* in buckets, some of them no longer */
};

struct api_health *
api_health_new(const char *name)
{
	struct api_health *h = need(calloc(1, sizeof(*h)));

	h->name = need(strdup(name));
	h->buckets = need(calloc(BUCKETS, sizeof(*h->buckets)));
	if (pthread_mutex_init(&h->lock, NULL) != 0)
		abort();
	return h;
}

/* --- keys that pause ------------------------------------------------------ */

/* Key ids are ours: nobody can choose where they go. */
static struct bucket *
bucket_of(const struct api_health *h, const char *key_id)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *key_id != '\0'; key_id++)
		hash = (hash ^ (unsigned char)*key_id) * 16777619u;
	return &h->buckets[(hash ^ hash >> 16) % BUCKETS];
}

/* Forgets those of a bucket that are over. */
static void
end_pauses(struct api_health *h, struct bucket *b, int64_t now)
{
	struct pause *p, *next;

	for (p = SLIST_FIRST(b); p != NULL; p = next) {
		next = SLIST_NEXT(p, next);
		if (now < p->until)
			continue;
		SLIST_REMOVE(b, p, pause, next);
		free(p);
		h->paused--;
	}
}

static void
end_all_pauses(struct api_health *h, int64_t now)
{
	for (size_t i = 0; i < BUCKETS && h->paused > 0; i++)
		end_pauses(h, &h->buckets[i], now);
}

static struct pause *
find_pause(struct api_health *h, const char *key_id, int64_t now)
{
	struct bucket *b;
	struct pause *p;

	if (h->paused == 0)
		return NULL;
	b = bucket_of(h, key_id);
	end_pauses(h, b, now);
	SLIST_FOREACH(p, b, next)
	{
		if (strcmp(p->key_id, key_id) == 0)
			return p;
	}
	return NULL;
}

static struct pause *
new_pause(struct api_health *h, const char *key_id)
{
	size_t len = strlen(key_id) + 1;
	struct pause *p = need(malloc(sizeof(*p) + len));

	memcpy(p->key_id, key_id, len);
	SLIST_INSERT_HEAD(bucket_of(h, key_id), p, next);
	h->paused++;
	return p;
}

/* True when the key did not pause before. Calls that were under way together
 * may be told different times: the latest counts. */
static bool
pause_key(struct api_health *h, const char *key_id, unsigned seconds,
	  int64_t now)
{
	struct pause *p = find_pause(h, key_id, now);
	bool is_new = p == NULL;
	int64_t until;

	if (seconds > HEALTH_PAUSE_MAX_S)
		seconds = HEALTH_PAUSE_MAX_S;
	until = now + (int64_t)seconds * 1000;
	if (is_new && h->paused >= HEALTH_PAUSES_MAX)
		end_all_pauses(h, now);
	if (is_new && h->paused >= HEALTH_PAUSES_MAX)
		return false;
	if (is_new)
		p = new_pause(h, key_id);
	if (is_new || until > p->until)
		p->until = until;
	return is_new;
}

void
api_health_free(struct api_health **hp)
{
	struct api_health *h = *hp;

	if (h == NULL)
		return;
	end_all_pauses(h, INT64_MAX);
	pthread_mutex_destroy(&h->lock);
	free(h->buckets);
	free(h->name);
	free(h);
	*hp = NULL;
}

/* --- the circuit ---------------------------------------------------------- */

static enum health_advice
ask_circuit(struct api_health *h, bool may_wait, int64_t now)
{
	if (!h->open)
		return HEALTH_GO;
	if (h->probing ||
	    now - h->tried < (may_wait ? h->wait : HEALTH_LONELY_MS))
		return HEALTH_DOWN;
	h->probing = true;
	return HEALTH_PROBE;
}

enum health_advice
api_health_ask(struct api_health *h, const char *key_id, bool may_wait,
	       int64_t now)
{
	enum health_advice advice = HEALTH_PAUSE;

	pthread_mutex_lock(&h->lock);
	/* First, so that a key that pauses does not take the probe. */
	if (find_pause(h, key_id, now) == NULL)
		advice = ask_circuit(h, may_wait, now);
	pthread_mutex_unlock(&h->lock);
	return advice;
}

/* What is to be logged, when nobody waits for it. */
struct news {
	bool opened, closed, paused;
	unsigned failures;
};

static void
note_answer(struct api_health *h, struct news *news)
{
	news->closed = h->open;
	news->failures = h->failures;
	h->open = false;
	h->failures = 0;
}

static void
note_failure(struct api_health *h, bool was_probe, int64_t now,
	     struct news *news)
{
	if (h->failures < UINT_MAX)
		h->failures++;
	if (h->open && was_probe) {
		h->tried = now;
		h->wait = h->wait < HEALTH_RETRY_MAX_MS / 2
			      ? 2 * h->wait
			      : HEALTH_RETRY_MAX_MS;
	} else if (!h->open && h->failures >= HEALTH_FAILURES) {
		h->open = true;
		h->opened++;
		h->tried = now;
		h->wait = HEALTH_RETRY_MIN_MS;
		news->opened = true;
		news->failures = h->failures;
	}
}

static void
log_news(const struct api_health *h, const char *key_id,
	 const struct news *news, unsigned status, unsigned retry_after)
{
	if (news->opened)
		log_error("api",
			  "down api=%s failures=%u status=%u: mail for it "
			  "waits in the queue",
			  h->name, news->failures, status);
	if (news->closed)
		log_warning("api", "up again api=%s failures=%u status=%u",
			    h->name, news->failures, status);
	if (news->paused)
		log_warning("api", "pause api=%s key=%s status=%u seconds=%u",
			    h->name, key_id, status, retry_after);
}

void
api_health_told(struct api_health *h, const char *key_id,
		enum health_advice advice, unsigned status,
		unsigned retry_after, int64_t now)
{
	struct news news = { 0 };

	pthread_mutex_lock(&h->lock);
	if (advice == HEALTH_PROBE)
		h->probing = false;
	if (status == 0 || status >= 500)
		note_failure(h, advice == HEALTH_PROBE, now, &news);
	else
		note_answer(h, &news);
	if ((status == 429 || status == 420) && retry_after > 0)
		news.paused = pause_key(h, key_id, retry_after, now);
	pthread_mutex_unlock(&h->lock);
	log_news(h, key_id, &news, status, retry_after);
}

void
api_health_no_news(struct api_health *h, enum health_advice advice)
{
	if (advice != HEALTH_PROBE)
		return;
	pthread_mutex_lock(&h->lock);
	h->probing = false;
	pthread_mutex_unlock(&h->lock);
}

void
api_health_state(struct api_health *h, int64_t now,
		 struct api_health_state *state_r)
{
	pthread_mutex_lock(&h->lock);
	end_all_pauses(h, now);
	*state_r = (struct api_health_state){ .open = h->open,
					      .failures = h->failures,
					      .paused = h->paused,
					      .opened = h->opened };
	pthread_mutex_unlock(&h->lock);
}
