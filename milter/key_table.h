/* SPDX-License-Identifier: MIT */
/*
 * key_table: the key cache's memory: a hash table whose entries also hang in
 * lists that say what disk has to do with them, most recently used first.
 * Only entries that disk agrees with may leave memory.
 *
 * Not thread-safe: everything here needs the cache's lock, but for the hash of
 * an entry, which never changes.
 */
#ifndef TXM_MILTER_KEY_TABLE_H
#define TXM_MILTER_KEY_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "crypto.h"

struct key_known;

enum key_state {
	KEY_IS_GOOD,
	KEY_IS_WRONG,
	KEY_IS_GONE, /* dropped: a lookup finds nothing and asks no disk */
};

enum key_place {
	KEY_CLEAN_GOOD,	 /* on disk as it is here */
	KEY_CLEAN_WRONG, /* not on disk */
	KEY_TO_WRITE,	 /* good; disk has something else or nothing */
	KEY_TO_DELETE,	 /* wrong or gone; disk may still have it */
	KEY_IN_FLUSH,	 /* being written or deleted just now */
	KEY_PLACES,
	KEY_NOWHERE = KEY_PLACES
};

struct key_entry {
	uint8_t hash[CRYPTO_HASH_LEN];
	enum key_state state;
	enum key_place place;
	bool changed; /* since KEY_IN_FLUSH */
	int64_t checked;
	uint64_t used;		 /* when, by key_table.clock */
	struct key_known *known; /* of a good one; a reference */
	struct key_entry *chain;
	TAILQ_ENTRY(key_entry) links;
};

TAILQ_HEAD(key_entry_list, key_entry);

struct key_table {
	size_t max, max_wrong;
	size_t n_buckets; /* a power of two */
	unsigned shift;
	uint64_t scatter;
	struct key_entry **buckets;
	struct key_entry_list lists[KEY_PLACES];
	size_t count[KEY_PLACES];
	size_t entries;
	uint64_t clock;
	size_t sweep_at; /* the bucket where the next sweep goes on */
};

void key_table_init(struct key_table *t, size_t max_entries);
void key_table_clear(struct key_table *t);

/* By the whole hash or by its beginning, of at least 8 bytes. */
struct key_entry *key_table_find(struct key_table *t, const uint8_t *hash,
				 size_t len);

/* A new entry, that hangs nowhere yet. */
struct key_entry *key_table_insert(struct key_table *t,
				   const uint8_t hash[CRYPTO_HASH_LEN]);
void key_table_remove(struct key_table *t, struct key_entry *e);

/* At the head of that list. */
void key_table_hang(struct key_table *t, struct key_entry *e,
		    enum key_place place);

/* It was used. */
void key_table_touch(struct key_table *t, struct key_entry *e);

/* The least recently used there, or NULL. */
struct key_entry *key_table_oldest(const struct key_table *t,
				   enum key_place place);

/* Down to the bounds. */
void key_table_shrink(struct key_table *t);

/* Removes clean entries checked before `oldest` from so many buckets, going on
 * where the last call ended. */
void key_table_sweep(struct key_table *t, int64_t oldest, size_t buckets);

#endif
