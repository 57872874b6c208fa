/* SPDX-License-Identifier: MIT */
/*
 * key_cache: what is known about API keys, in memory and on disk.
 *
 * Indexed by the SHA-256 of the key; the key id that Postfix sees and logs is
 * the first KEY_ID_BYTES of it in base32, so that a record is found by either.
 * The key itself is kept sealed, here and on disk, for the API is called with
 * it. Lookups hand out copies, of accounts shares: what somebody holds does
 * not change.
 *
 * Memory is bounded (least recently used leaves); disk holds what left memory
 * and what was known before a restart. Disk is written behind: put() only
 * marks, key_cache_flush() writes, so a crash forgets at most that interval.
 * Wrong keys are remembered in memory only, and use at most a quarter of it.
 * A key that was revoked is so for every caller at once, on disk at the flush.
 *
 * `now` is seconds of the real-time clock, passed in. Thread-safe.
 */
#ifndef TXM_MILTER_KEY_CACHE_H
#define TXM_MILTER_KEY_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto.h"

/* Printable ASCII without blanks, so that a key can stand in an HTTP header. */
#define KEY_MAX 256
#define KEY_ID_BYTES 10
#define KEY_ID_LEN 16

struct account;
struct key_cache;
struct store;

/* What the caller gets. */
struct key_record {
	uint8_t hash[CRYPTO_HASH_LEN];
	char key_id[KEY_ID_LEN + 1];
	bool wrong;		 /* the control plane said so */
	int64_t checked;	 /* when */
	struct account *account; /* a share; NULL when wrong */
	char key[KEY_MAX + 1];	 /* unsealed; "" when wrong */
};

void key_record_clear(struct key_record *r);

/* True when key can be one: 1 to KEY_MAX printable ASCII, no blank. */
bool key_is_plausible(const char *key, size_t len);

/* True when id has the form of a key id. */
bool key_id_is_valid(const char *id);

/* The beginning of the hash that a key id stands for; false when it is none.
 */
bool key_id_decode(const char *id, uint8_t prefix_r[KEY_ID_BYTES]);

/* The key id of a key. */
void key_id_of(const char *key, size_t len, char id_r[KEY_ID_LEN + 1]);

/* The store and the seal must outlive it. */
struct key_cache *key_cache_new(struct store *store,
				const struct crypto_seal *seal,
				size_t max_entries);
/* What was not flushed is lost. */
void key_cache_free(struct key_cache **c);

/* True when there is a record, however old; judging its age is the caller's
 * business. The record is set either way: key_record_clear() it. */
bool key_cache_get(struct key_cache *c, const char *key, size_t len,
		   struct key_record *record_r);
bool key_cache_get_by_id(struct key_cache *c, const char *key_id,
			 struct key_record *record_r);

/* The key is good for this account (copied). Here and below, what is not
 * plausible as a key is ignored. */
void key_cache_put(struct key_cache *c, const char *key, size_t len,
		   const struct account *account, int64_t now);

/* The key is wrong; forgets what was known of it, on disk too. */
void key_cache_put_wrong(struct key_cache *c, const char *key, size_t len,
			 int64_t now);

/* Forgets the key wholly. */
void key_cache_drop(struct key_cache *c, const char *key_id);

/* What is known of the key counts no more, as if it was checked in 1970. A
 * good key in memory stays to be asked about again, for who is logged in has
 * only told its id; else it is forgotten wholly, on disk at once. 0, or -1
 * when disk cannot be written (logged): then nothing is changed. */
int key_cache_expire(struct key_cache *c, const char *key_id);

/* The same for all keys. */
int key_cache_expire_all(struct key_cache *c);

/* Writes to disk what changed. Returns how many records. */
size_t key_cache_flush(struct key_cache *c);

/* Removes records checked before `oldest`, in memory and on disk, a bounded
 * number at a time. */
void key_cache_sweep(struct key_cache *c, int64_t oldest);

struct key_cache_state {
	size_t entries;
	unsigned long hits;
	unsigned long misses;
};
void key_cache_state(struct key_cache *c, struct key_cache_state *state_r);

#endif
