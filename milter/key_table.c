/* SPDX-License-Identifier: MIT */
#include "key_table.h"

#include <stdlib.h>
#include <string.h>

#include "key_known.h"
#include "need.h"

/* Wrong keys may use this part of the memory: whoever tries keys at random
 * cannot push out those of customers. */
#define WRONG_PART 4

/* Anybody can look for keys whose hashes begin alike; a secret odd multiplier
 * keeps them from choosing the bucket. */
static struct key_entry **
bucket_of(struct key_table *t, const uint8_t *hash)
{
	uint64_t n;

	memcpy(&n, hash, sizeof(n));
	return &t->buckets[n * t->scatter >> t->shift];
}

struct key_entry *
key_table_find(struct key_table *t, const uint8_t *hash, size_t len)
{
	struct key_entry *e = *bucket_of(t, hash);

	while (e != NULL && memcmp(e->hash, hash, len) != 0)
		e = e->chain;
	return e;
}

void
key_table_hang(struct key_table *t, struct key_entry *e, enum key_place place)
{
	if (e->place != KEY_NOWHERE) {
		TAILQ_REMOVE(&t->lists[e->place], e, links);
		t->count[e->place]--;
	}
	e->place = place;
	if (place == KEY_NOWHERE)
		return;
	TAILQ_INSERT_HEAD(&t->lists[place], e, links);
	t->count[place]++;
}

void
key_table_touch(struct key_table *t, struct key_entry *e)
{
	e->used = ++t->clock;
	if (e->place != KEY_IN_FLUSH)
		key_table_hang(t, e, e->place);
}

struct key_entry *
key_table_insert(struct key_table *t, const uint8_t hash[CRYPTO_HASH_LEN])
{
	struct key_entry *e = need(calloc(1, sizeof(*e)));
	struct key_entry **bucket = bucket_of(t, hash);

	memcpy(e->hash, hash, CRYPTO_HASH_LEN);
	e->place = KEY_NOWHERE;
	e->used = ++t->clock;
	e->chain = *bucket;
	*bucket = e;
	t->entries++;
	return e;
}

void
key_table_remove(struct key_table *t, struct key_entry *e)
{
	struct key_entry **p = bucket_of(t, e->hash);

	while (*p != e)
		p = &(*p)->chain;
	*p = e->chain;
	key_table_hang(t, e, KEY_NOWHERE);
	t->entries--;
	key_known_unref(&e->known);
	free(e);
}

/* The one to leave memory, or NULL. What is to be deleted on disk must not, and
 * comes on top of the maximum. Good ones that are not on disk leave when there
 * is nothing else, which happens when disk cannot be written: they are asked
 * for again later. */
static struct key_entry *
victim(struct key_table *t)
{
	struct key_entry *good =
	    TAILQ_LAST(&t->lists[KEY_CLEAN_GOOD], key_entry_list);
	struct key_entry *wrong =
	    TAILQ_LAST(&t->lists[KEY_CLEAN_WRONG], key_entry_list);

	if (t->count[KEY_CLEAN_WRONG] > t->max_wrong)
		return wrong;
	if (t->entries - t->count[KEY_TO_DELETE] - t->count[KEY_IN_FLUSH] <=
	    t->max)
		return NULL;
	if (good != NULL && wrong != NULL)
		return good->used < wrong->used ? good : wrong;
	if (good != NULL || wrong != NULL)
		return good != NULL ? good : wrong;
	return TAILQ_LAST(&t->lists[KEY_TO_WRITE], key_entry_list);
}

void
key_table_shrink(struct key_table *t)
{
	struct key_entry *e;

	while ((e = victim(t)) != NULL)
		key_table_remove(t, e);
}

struct key_entry *
key_table_oldest(const struct key_table *t, enum key_place place)
{
	return TAILQ_LAST(&t->lists[place], key_entry_list);
}

/* What was expired by hand (time 0) stays to be asked about again. */
static void
sweep_bucket(struct key_table *t, struct key_entry *e, int64_t oldest)
{
	while (e != NULL) {
		struct key_entry *next = e->chain;

		if ((e->place == KEY_CLEAN_GOOD ||
		     e->place == KEY_CLEAN_WRONG) &&
		    e->checked != 0 && e->checked < oldest)
			key_table_remove(t, e);
		e = next;
	}
}

void
key_table_sweep(struct key_table *t, int64_t oldest, size_t buckets)
{
	for (size_t i = 0; i < buckets && i < t->n_buckets; i++) {
		sweep_bucket(t, t->buckets[t->sweep_at], oldest);
		t->sweep_at = (t->sweep_at + 1) & (t->n_buckets - 1);
	}
}

void
key_table_init(struct key_table *t, size_t max_entries)
{
	memset(t, 0, sizeof(*t));
	t->max = max_entries > 0 ? max_entries : 1;
	t->max_wrong = t->max / WRONG_PART;
	if (t->max_wrong == 0)
		t->max_wrong = 1;
	t->n_buckets = 2;
	t->shift = 63;
	while (t->n_buckets < t->max && t->shift > 32) {
		t->n_buckets *= 2;
		t->shift--;
	}
	t->buckets = need(calloc(t->n_buckets, sizeof(struct key_entry *)));
	crypto_random(&t->scatter, sizeof(t->scatter));
	t->scatter |= 1;
	for (size_t i = 0; i < KEY_PLACES; i++)
		TAILQ_INIT(&t->lists[i]);
}

void
key_table_clear(struct key_table *t)
{
	struct key_entry *e;

	for (size_t i = 0; i < KEY_PLACES; i++) {
		while ((e = TAILQ_FIRST(&t->lists[i])) != NULL)
			key_table_remove(t, e);
	}
	free(t->buckets);
}
