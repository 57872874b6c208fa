/* SPDX-License-Identifier: MIT */
#include "account_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "need.h"
#include "store.h"

/* A power of two, about twice what a shard holds. */
#define BUCKETS 512
/* When a shard is full, the least recently used in so many buckets leaves: a
 * list in the order of use would have every lookup write to its neighbours. */
#define BUCKETS_TO_SEARCH 64

/* What a lookup reads comes first, in one cache line. */
struct entry {
	uint64_t hash;
	uint64_t used; /* when, by the shard's clock */
	struct entry *chain;
	struct account_record record;
};

struct shard {
	pthread_mutex_t lock; /* guards all below */
	uint64_t changes;
	uint64_t clock;
	size_t n;
	size_t search_at; /* the bucket where the next search begins */
	struct entry *buckets[BUCKETS];
};

struct account_cache {
	struct store *store;
	size_t max; /* of a shard */
	struct shard shards[ACCOUNT_CACHE_SHARDS];
};

struct account_cache *
account_cache_new(struct store *store, size_t max_accounts)
{
	struct account_cache *c = need(calloc(1, sizeof(*c)));

	c->store = store;
	c->max =
	    (max_accounts + ACCOUNT_CACHE_SHARDS - 1) / ACCOUNT_CACHE_SHARDS;
	for (size_t i = 0; i < ACCOUNT_CACHE_SHARDS; i++) {
		if (pthread_mutex_init(&c->shards[i].lock, NULL) != 0)
			abort();
	}
	return c;
}

/* FNV-1a, 64 bits; ids are the operator's, who floods only himself. Its upper
 * bits know nothing of the last letters: all of it is mixed again. */
static uint64_t
hash_of(const char *id)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *id != '\0'; id++)
		h = (h ^ (unsigned char)*id) * 0x100000001b3u;
	h = (h ^ h >> 32) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 32;
}

static struct shard *
shard_of(struct account_cache *c, uint64_t hash)
{
	return &c->shards[(hash >> 32) % ACCOUNT_CACHE_SHARDS];
}

/* Here and below: under the shard's lock. */
static struct entry **
find(struct shard *s, uint64_t hash, const char *id)
{
	struct entry **at = &s->buckets[hash % BUCKETS];

	while (*at != NULL && ((*at)->hash != hash ||
			       strcmp((*at)->record.account->id, id) != 0))
		at = &(*at)->chain;
	return at;
}

static void
remove_entry(struct shard *s, struct entry **at)
{
	struct entry *e = *at;

	*at = e->chain;
	s->n--;
	account_record_clear(&e->record);
	free(e);
}

static void
empty(struct shard *s)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		while (s->buckets[i] != NULL)
			remove_entry(s, &s->buckets[i]);
	}
}

static struct entry **
older(struct entry **a, struct entry **b)
{
	return a == NULL || (*b)->used < (*a)->used ? b : a;
}

static void
shrink(struct shard *s, size_t max)
{
	while (s->n > max) {
		struct entry **oldest = NULL;

		for (size_t i = 0; i < BUCKETS_TO_SEARCH; i++) {
			struct entry **at = &s->buckets[s->search_at];

			for (; *at != NULL; at = &(*at)->chain)
				oldest = older(oldest, at);
			s->search_at = (s->search_at + 1) % BUCKETS;
		}
		if (oldest != NULL)
			remove_entry(s, oldest);
	}
}

void
account_cache_free(struct account_cache **cp)
{
	struct account_cache *c = *cp;

	if (c == NULL)
		return;
	for (size_t i = 0; i < ACCOUNT_CACHE_SHARDS; i++) {
		empty(&c->shards[i]);
		(void)pthread_mutex_destroy(&c->shards[i].lock);
	}
	free(c);
	*cp = NULL;
}

static void
share(const struct account_record *from, struct account_record *to)
{
	to->account = account_share(from->account);
	to->sealed_len = from->sealed_len;
	memcpy(to->sealed, from->sealed, from->sealed_len);
}

static bool
look(struct shard *s, uint64_t hash, const char *id,
     struct account_record *record_r, uint64_t *changes_r)
{
	struct entry *e;

	pthread_mutex_lock(&s->lock);
	*changes_r = s->changes;
	e = *find(s, hash, id);
	if (e != NULL) {
		share(&e->record, record_r);
		e->used = ++s->clock;
	}
	pthread_mutex_unlock(&s->lock);
	return e != NULL;
}

/* Unless it changed since it was read, or another thread was faster. */
static void
adopt(struct account_cache *c, uint64_t hash, const struct account_record *r,
      uint64_t changes)
{
	struct shard *s = shard_of(c, hash);
	struct entry *e = need(calloc(1, sizeof(*e)));
	struct entry **at;

	share(r, &e->record);
	e->hash = hash;
	pthread_mutex_lock(&s->lock);
	at = find(s, hash, r->account->id);
	if (s->changes == changes && *at == NULL) {
		e->used = ++s->clock;
		*at = e;
		s->n++;
		e = NULL;
	}
	shrink(s, c->max);
	pthread_mutex_unlock(&s->lock);
	if (e != NULL)
		account_record_clear(&e->record);
	free(e);
}

static int
load(struct account_cache *c, const char *id, struct account_record *record_r)
{
	size_t len;
	char *value;
	int rc =
	    store_get(c->store, STORE_ACCOUNTS, id, strlen(id), &value, &len);

	if (rc != 1)
		return rc;
	if (!account_record_decode(value, len, record_r)) {
		log_error("keys", "account=%s its record cannot be read", id);
		rc = -1;
	}
	free(value);
	return rc;
}

int
account_cache_get(struct account_cache *c, const char *id,
		  struct account_record *record_r)
{
	uint64_t hash = hash_of(id), changes;
	int rc;

	if (look(shard_of(c, hash), hash, id, record_r, &changes))
		return 1;
	rc = load(c, id, record_r);
	if (rc == 1)
		adopt(c, hash, record_r, changes);
	return rc;
}

static void
drop_all(struct account_cache *c)
{
	for (size_t i = 0; i < ACCOUNT_CACHE_SHARDS; i++) {
		struct shard *s = &c->shards[i];

		pthread_mutex_lock(&s->lock);
		s->changes++;
		empty(s);
		pthread_mutex_unlock(&s->lock);
	}
}

void
account_cache_drop(struct account_cache *c, const char *id)
{
	uint64_t hash;
	struct shard *s;
	struct entry **at;

	if (id == NULL) {
		drop_all(c);
		return;
	}
	hash = hash_of(id);
	s = shard_of(c, hash);
	pthread_mutex_lock(&s->lock);
	s->changes++;
	at = find(s, hash, id);
	if (*at != NULL)
		remove_entry(s, at);
	pthread_mutex_unlock(&s->lock);
}
