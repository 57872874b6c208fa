/* SPDX-License-Identifier: MIT */
/*
 * A key that was good and is not any more stays in memory as a tombstone until
 * it is deleted on disk, or a lookup would find it there again.
 *
 * What is known of a good key is counted and never changes, so that copying,
 * unsealing and encoding happen outside the lock.
 *
 * Disk is read outside the lock too. What was read may be out of date by then:
 * `changes` counts everything that can make it so, and a reader that finds the
 * count moved looks again.
 */
#include "key_cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "key_known.h"
#include "key_table.h"
#include "log.h"
#include "need.h"
#include "policy/account.h"
#include "store.h"

/* A transaction of a flush. Accounts with many routes make large records. */
#define BATCH_RECORDS 500
#define BATCH_ROUTES 20000

#define SWEEP_BUCKETS 1024
#define SWEEP_RECORDS 500

struct key_cache {
	struct store *store;
	const struct crypto_seal *seal;
	atomic_flag complained;

	/* Held for a whole flush, so that an older state is never written
	 * over a newer one. Taken before `lock`, guards no field. */
	pthread_mutex_t flushing;

	/* Guards all below. */
	pthread_mutex_t lock;
	struct key_table table;
	uint64_t changes;
	unsigned long hits, misses;
};

/* A copy of an entry, or what disk says one should be. */
struct view {
	uint8_t hash[CRYPTO_HASH_LEN];
	enum key_state state;
	int64_t checked;
	struct key_known *known; /* counted */
};

bool
key_is_plausible(const char *key, size_t len)
{
	if (len == 0 || len > KEY_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (key[i] < '!' || key[i] > '~')
			return false;
	}
	return true;
}

static int
base32_digit(char c)
{
	if (c >= 'a' && c <= 'z')
		return c - 'a';
	return c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

/* 16 digits are 80 bits, without rest. */
bool
key_id_decode(const char *id, uint8_t prefix_r[KEY_ID_BYTES])
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t n = 0;

	if (strnlen(id, KEY_ID_LEN + 1) != KEY_ID_LEN)
		return false;
	for (size_t i = 0; i < KEY_ID_LEN; i++) {
		int digit = base32_digit(id[i]);

		if (digit < 0)
			return false;
		bits = bits << 5 | (uint32_t)digit;
		have += 5;
		if (have >= 8) {
			have -= 8;
			prefix_r[n++] = (uint8_t)(bits >> have);
		}
	}
	return true;
}

bool
key_id_is_valid(const char *id)
{
	uint8_t prefix[KEY_ID_BYTES];

	return key_id_decode(id, prefix);
}

void
key_id_of(const char *key, size_t len, char id_r[KEY_ID_LEN + 1])
{
	uint8_t hash[CRYPTO_HASH_LEN];

	crypto_hash(key, len, hash);
	crypto_base32(id_r, hash, KEY_ID_BYTES);
}

void
key_record_clear(struct key_record *r)
{
	account_free(&r->account);
	crypto_wipe(r, sizeof(*r));
}

static enum key_place
place_to_flush(enum key_state state)
{
	return state == KEY_IS_GOOD ? KEY_TO_WRITE : KEY_TO_DELETE;
}

/* Disk has to follow. Takes known. */
static void
change(struct key_cache *c, struct key_entry *e, enum key_state state,
       struct key_known *known, int64_t now)
{
	key_known_unref(&e->known);
	e->known = known;
	e->state = state;
	e->checked = now;
	e->used = ++c->table.clock;
	c->changes++;
	if (e->place == KEY_IN_FLUSH)
		e->changed = true;
	else
		key_table_hang(&c->table, e, place_to_flush(state));
}

static int
read_record(struct key_cache *c, const uint8_t *hash, size_t len,
	    struct view *v, char **value_r, size_t *value_len_r)
{
	uint8_t found[STORE_KEY_MAX];
	size_t found_len;
	int rc;

	if (len == CRYPTO_HASH_LEN) {
		memcpy(v->hash, hash, CRYPTO_HASH_LEN);
		return store_get(c->store, STORE_KEYS, hash, len, value_r,
				 value_len_r);
	}
	rc = store_get_prefix(c->store, STORE_KEYS, hash, len, found,
			      &found_len, value_r, value_len_r);
	if (rc != 1)
		return rc;
	if (found_len == CRYPTO_HASH_LEN) {
		memcpy(v->hash, found, CRYPTO_HASH_LEN);
		return 1;
	}
	free(*value_r);
	return 0;
}

/* False when disk has nothing that can be used. */
static bool
load(struct key_cache *c, const uint8_t *hash, size_t len, struct view *v)
{
	size_t value_len;
	char *value;

	if (read_record(c, hash, len, v, &value, &value_len) != 1)
		return false;
	v->state = KEY_IS_GOOD;
	v->known = key_known_decode(c->seal, v->hash, (const uint8_t *)value,
				    value_len, &v->checked);
	free(value);
	if (v->known == NULL && !atomic_flag_test_and_set(&c->complained))
		log_warning("keys", "records on disk cannot be read and are "
				    "asked for again: was secret_file "
				    "replaced?");
	return v->known != NULL;
}

enum answer { FOUND, NOT_THERE, ASK_DISK };

static enum answer
look_in_memory(struct key_cache *c, const uint8_t *hash, size_t len,
	       struct view *v, uint64_t *changes_r)
{
	enum answer answer = ASK_DISK;
	struct key_entry *e;

	pthread_mutex_lock(&c->lock);
	*changes_r = c->changes;
	e = key_table_find(&c->table, hash, len);
	if (e != NULL && e->state == KEY_IS_GONE) {
		c->misses++;
		answer = NOT_THERE;
	} else if (e != NULL) {
		c->hits++;
		key_table_touch(&c->table, e);
		memcpy(v->hash, e->hash, sizeof(v->hash));
		v->state = e->state;
		v->checked = e->checked;
		v->known = e->known ? key_known_ref(e->known) : NULL;
		answer = FOUND;
	}
	pthread_mutex_unlock(&c->lock);
	return answer;
}

/* True when what was read from disk, or found not to be there, still is so.
 * Needs the lock. */
static bool
still_true(struct key_cache *c, const uint8_t hash[CRYPTO_HASH_LEN],
	   uint64_t changes)
{
	return c->changes == changes &&
	       key_table_find(&c->table, hash, CRYPTO_HASH_LEN) == NULL;
}

/* Puts what was loaded into memory, if it is still true. */
static bool
adopt(struct key_cache *c, const struct view *v, uint64_t changes)
{
	struct key_entry *e;
	bool fresh;

	pthread_mutex_lock(&c->lock);
	fresh = still_true(c, v->hash, changes);
	if (fresh) {
		e = key_table_insert(&c->table, v->hash);
		e->state = KEY_IS_GOOD;
		e->checked = v->checked;
		e->known = key_known_ref(v->known);
		key_table_hang(&c->table, e, KEY_CLEAN_GOOD);
		key_table_shrink(&c->table);
		c->hits++;
	}
	pthread_mutex_unlock(&c->lock);
	return fresh;
}

static void
count_miss(struct key_cache *c)
{
	pthread_mutex_lock(&c->lock);
	c->misses++;
	pthread_mutex_unlock(&c->lock);
}

static bool
look_up(struct key_cache *c, const uint8_t *hash, size_t len, struct view *v)
{
	enum answer answer;
	uint64_t changes;

	while ((answer = look_in_memory(c, hash, len, v, &changes)) ==
	       ASK_DISK) {
		if (!load(c, hash, len, v)) {
			count_miss(c);
			return false;
		}
		if (adopt(c, v, changes))
			return true;
		key_known_unref(&v->known);
	}
	return answer == FOUND;
}

static void
fill(struct key_record *r, const struct view *v)
{
	memcpy(r->hash, v->hash, sizeof(r->hash));
	crypto_base32(r->key_id, v->hash, KEY_ID_BYTES);
	r->wrong = v->state == KEY_IS_WRONG;
	r->checked = v->checked;
	if (v->known != NULL)
		r->account = account_share(v->known->account);
}

bool
key_cache_get(struct key_cache *c, const char *key, size_t len,
	      struct key_record *record_r)
{
	uint8_t hash[CRYPTO_HASH_LEN];
	struct view v;

	memset(record_r, 0, sizeof(*record_r));
	if (!key_is_plausible(key, len))
		return false;
	crypto_hash(key, len, hash);
	if (!look_up(c, hash, sizeof(hash), &v))
		return false;
	fill(record_r, &v);
	/* The caller knows the key: nothing to unseal. */
	if (!record_r->wrong)
		memcpy(record_r->key, key, len);
	key_known_unref(&v.known);
	return true;
}

bool
key_cache_get_by_id(struct key_cache *c, const char *key_id,
		    struct key_record *record_r)
{
	uint8_t prefix[KEY_ID_BYTES];
	struct view v;

	memset(record_r, 0, sizeof(*record_r));
	if (!key_id_decode(key_id, prefix) ||
	    !look_up(c, prefix, sizeof(prefix), &v))
		return false;
	fill(record_r, &v);
	if (v.known != NULL)
		key_known_unseal(c->seal, v.known, record_r->key);
	key_known_unref(&v.known);
	return true;
}

static struct key_known *
known_of(struct key_cache *c, const uint8_t hash[CRYPTO_HASH_LEN])
{
	struct key_known *k = NULL;
	struct key_entry *e;

	pthread_mutex_lock(&c->lock);
	e = key_table_find(&c->table, hash, CRYPTO_HASH_LEN);
	if (e != NULL && e->known != NULL)
		k = key_known_ref(e->known);
	pthread_mutex_unlock(&c->lock);
	return k;
}

void
key_cache_put(struct key_cache *c, const char *key, size_t len,
	      const struct account *account, int64_t now)
{
	uint8_t hash[CRYPTO_HASH_LEN];
	struct key_known *k;
	struct key_entry *e;

	if (!key_is_plausible(key, len))
		return;
	crypto_hash(key, len, hash);
	k = known_of(c, hash);
	if (k == NULL || !key_known_is_of(k, account)) {
		key_known_unref(&k);
		k = key_known_make(c->seal, key, len, account);
	}
	pthread_mutex_lock(&c->lock);
	e = key_table_find(&c->table, hash, sizeof(hash));
	if (e == NULL)
		e = key_table_insert(&c->table, hash);
	change(c, e, KEY_IS_GOOD, k, now);
	key_table_shrink(&c->table);
	pthread_mutex_unlock(&c->lock);
}

/* Makes an entry KEY_IS_WRONG or KEY_IS_GONE. Disk does not have what hangs in
 * KEY_CLEAN_WRONG; everything else it may. */
static void
revoke(struct key_cache *c, struct key_entry *e, enum key_state state,
       int64_t now)
{
	if (e->place != KEY_CLEAN_WRONG) {
		change(c, e, state, NULL, now);
	} else if (state == KEY_IS_WRONG) {
		e->checked = now;
		key_table_touch(&c->table, e);
	} else {
		key_table_remove(&c->table, e);
	}
}

/* False when it is not in memory, so that the caller has to ask the disk. */
static bool
revoke_in_memory(struct key_cache *c, const uint8_t *hash, size_t len,
		 enum key_state state, int64_t now, uint64_t *changes_r)
{
	struct key_entry *e;

	pthread_mutex_lock(&c->lock);
	*changes_r = c->changes;
	e = key_table_find(&c->table, hash, len);
	if (e != NULL)
		revoke(c, e, state, now);
	pthread_mutex_unlock(&c->lock);
	return e != NULL;
}

/* Adds one that is not in memory, if that is still so. */
static bool
add_revoked(struct key_cache *c, const uint8_t hash[CRYPTO_HASH_LEN],
	    enum key_state state, int64_t now, bool on_disk, uint64_t changes)
{
	struct key_entry *e;
	bool fresh;

	pthread_mutex_lock(&c->lock);
	fresh = still_true(c, hash, changes);
	if (fresh && on_disk) {
		change(c, key_table_insert(&c->table, hash), state, NULL, now);
	} else if (fresh) {
		e = key_table_insert(&c->table, hash);
		e->state = state;
		e->checked = now;
		key_table_hang(&c->table, e, KEY_CLEAN_WRONG);
		key_table_shrink(&c->table);
	}
	pthread_mutex_unlock(&c->lock);
	return fresh;
}

/* Also when the disk cannot tell. */
static bool
may_be_on_disk(struct key_cache *c, const uint8_t hash[CRYPTO_HASH_LEN])
{
	size_t len;
	char *value;
	int rc = store_get(c->store, STORE_KEYS, hash, CRYPTO_HASH_LEN, &value,
			   &len);

	if (rc == 1)
		free(value);
	return rc != 0;
}

/* Most wrong keys were never good: that disk does not have them is found out
 * here, so that they need no tombstone and leave memory freely. */
void
key_cache_put_wrong(struct key_cache *c, const char *key, size_t len,
		    int64_t now)
{
	uint8_t hash[CRYPTO_HASH_LEN];
	uint64_t changes;

	if (!key_is_plausible(key, len))
		return;
	crypto_hash(key, len, hash);
	while (!revoke_in_memory(c, hash, sizeof(hash), KEY_IS_WRONG, now,
				 &changes)) {
		bool on_disk = may_be_on_disk(c, hash);

		if (add_revoked(c, hash, KEY_IS_WRONG, now, on_disk, changes))
			return;
	}
}

void
key_cache_drop(struct key_cache *c, const char *key_id)
{
	uint8_t id[KEY_ID_BYTES];
	uint64_t changes;
	struct view v;
	char *value;
	size_t len;

	if (!key_id_decode(key_id, id))
		return;
	while (!revoke_in_memory(c, id, sizeof(id), KEY_IS_GONE, 0, &changes)) {
		if (read_record(c, id, sizeof(id), &v, &value, &len) != 1)
			return;
		free(value);
		if (add_revoked(c, v.hash, KEY_IS_GONE, 0, true, changes))
			return;
	}
}

/* One entry KEY_IN_FLUSH; nobody frees it, and its hash does not change. */
struct item {
	struct key_entry *entry;
	struct key_known *known; /* counted; NULL: delete */
	int64_t checked;
};

static size_t
pending(struct key_cache *c)
{
	size_t n;

	pthread_mutex_lock(&c->lock);
	n = c->table.count[KEY_TO_WRITE] + c->table.count[KEY_TO_DELETE];
	pthread_mutex_unlock(&c->lock);
	return n;
}

/* Deletes come first and in transactions of their own: when disk is full they
 * can still be done. */
static size_t
take(struct key_cache *c, struct item *v)
{
	size_t n = 0, routes = 0;
	enum key_place from;
	struct key_entry *e;

	pthread_mutex_lock(&c->lock);
	from = c->table.count[KEY_TO_DELETE] > 0 ? KEY_TO_DELETE : KEY_TO_WRITE;
	while (n < BATCH_RECORDS && routes < BATCH_ROUTES &&
	       (e = key_table_oldest(&c->table, from)) != NULL) {
		key_table_hang(&c->table, e, KEY_IN_FLUSH);
		e->changed = false;
		v[n].entry = e;
		v[n].checked = e->checked;
		v[n].known = e->known ? key_known_ref(e->known) : NULL;
		routes += e->known ? e->known->account->n_routes : 0;
		n++;
	}
	pthread_mutex_unlock(&c->lock);
	return n;
}

static int
write_batch(struct key_cache *c, const struct item *v, size_t n)
{
	struct store_write *w = need(calloc(n, sizeof(*w)));
	uint8_t **values = need(calloc(n, sizeof(*values)));
	int rc;

	for (size_t i = 0; i < n; i++) {
		w[i].table = STORE_KEYS;
		w[i].key = v[i].entry->hash;
		w[i].key_len = CRYPTO_HASH_LEN;
		if (v[i].known == NULL)
			continue;
		/* What is too long is deleted; the rest is written. */
		values[i] =
		    key_known_encode(v[i].known, v[i].checked, &w[i].len);
		w[i].value = values[i];
	}
	rc = store_write(c->store, w, n);
	for (size_t i = 0; i < n; i++)
		free(values[i]);
	free(values);
	free(w);
	return rc;
}

/* Back from KEY_IN_FLUSH to where it belongs now. */
static void
settle_one(struct key_cache *c, struct key_entry *e, bool written)
{
	if (!written || e->changed)
		key_table_hang(&c->table, e, place_to_flush(e->state));
	else if (e->state == KEY_IS_GONE)
		key_table_remove(&c->table, e);
	else
		key_table_hang(&c->table, e,
			       e->state == KEY_IS_GOOD ? KEY_CLEAN_GOOD
						       : KEY_CLEAN_WRONG);
}

static void
settle(struct key_cache *c, struct item *v, size_t n, bool written)
{
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < n; i++)
		settle_one(c, v[i].entry, written);
	key_table_shrink(&c->table);
	pthread_mutex_unlock(&c->lock);
	for (size_t i = 0; i < n; i++)
		key_known_unref(&v[i].known);
}

/* What is marked meanwhile waits for the next flush, so that this ends. */
size_t
key_cache_flush(struct key_cache *c)
{
	struct item v[BATCH_RECORDS];
	size_t done = 0, n, most;
	bool written = true;

	pthread_mutex_lock(&c->flushing);
	most = pending(c);
	while (written && done < most && (n = take(c, v)) > 0) {
		written = write_batch(c, v, n) == 0;
		settle(c, v, n, written);
		done += written ? n : 0;
	}
	pthread_mutex_unlock(&c->flushing);
	return done;
}

/* Good keys in memory get the time 0; the rest goes. Nothing is in flush, and
 * nothing on disk. */
static void
expire_memory(struct key_cache *c)
{
	static const enum key_place going[] = { KEY_CLEAN_WRONG,
						KEY_TO_DELETE };
	struct key_entry_list *clean = &c->table.lists[KEY_CLEAN_GOOD];
	struct key_entry *e;

	TAILQ_FOREACH(e, &c->table.lists[KEY_TO_WRITE], links)
	e->checked = 0;
	while ((e = TAILQ_FIRST(clean)) != NULL)
		change(c, e, KEY_IS_GOOD, key_known_ref(e->known), 0);
	for (size_t i = 0; i < 2; i++) {
		while ((e = TAILQ_FIRST(&c->table.lists[going[i]])) != NULL)
			key_table_remove(&c->table, e);
	}
	c->changes++;
}

/* Disk first: what is read from it meanwhile is not adopted after the change
 * is counted. */
int
key_cache_expire_all(struct key_cache *c)
{
	int rc;

	pthread_mutex_lock(&c->flushing);
	rc = store_empty(c->store, STORE_KEYS);
	if (rc == 0) {
		pthread_mutex_lock(&c->lock);
		expire_memory(c);
		pthread_mutex_unlock(&c->lock);
	}
	pthread_mutex_unlock(&c->flushing);
	return rc == 0 ? 0 : -1;
}

/* The whole hash of a key id: 1, or 0 when neither memory nor disk has it, -1
 * disk. */
static int
find_hash(struct key_cache *c, const uint8_t *id, uint8_t *hash_r)
{
	struct key_entry *e;
	struct view v;
	size_t len;
	char *value;
	int rc;

	pthread_mutex_lock(&c->lock);
	e = key_table_find(&c->table, id, KEY_ID_BYTES);
	if (e != NULL)
		memcpy(hash_r, e->hash, CRYPTO_HASH_LEN);
	pthread_mutex_unlock(&c->lock);
	if (e != NULL)
		return 1;
	rc = read_record(c, id, KEY_ID_BYTES, &v, &value, &len);
	if (rc != 1)
		return rc;
	free(value);
	memcpy(hash_r, v.hash, CRYPTO_HASH_LEN);
	return 1;
}

/* Disk does not have it any more, and nothing is in flush. */
static void
expire_in_memory(struct key_cache *c, const uint8_t *hash)
{
	struct key_entry *e;

	pthread_mutex_lock(&c->lock);
	c->changes++;
	e = key_table_find(&c->table, hash, CRYPTO_HASH_LEN);
	if (e != NULL && e->state == KEY_IS_GOOD)
		change(c, e, KEY_IS_GOOD, key_known_ref(e->known), 0);
	else if (e != NULL)
		key_table_remove(&c->table, e);
	pthread_mutex_unlock(&c->lock);
}

int
key_cache_expire(struct key_cache *c, const char *key_id)
{
	uint8_t id[KEY_ID_BYTES], hash[CRYPTO_HASH_LEN];
	const struct store_write drop = { .table = STORE_KEYS,
					  .key = hash,
					  .key_len = sizeof(hash) };
	int rc;

	if (!key_id_decode(key_id, id))
		return 0;
	pthread_mutex_lock(&c->flushing);
	rc = find_hash(c, id, hash);
	if (rc == 1)
		rc = store_write(c->store, &drop, 1) == 0 ? 1 : -1;
	if (rc == 1)
		expire_in_memory(c, hash);
	pthread_mutex_unlock(&c->flushing);
	return rc < 0 ? -1 : 0;
}

/* What cannot be read is never going to be used. */
static bool
record_is_old(void *arg, const void *value, size_t len)
{
	const int64_t *oldest = arg;
	int64_t checked;

	return !key_known_checked(value, len, &checked) || checked < *oldest;
}

void
key_cache_sweep(struct key_cache *c, int64_t oldest)
{
	pthread_mutex_lock(&c->lock);
	key_table_sweep(&c->table, oldest, SWEEP_BUCKETS);
	pthread_mutex_unlock(&c->lock);
	/* Failure is logged there, and the next sweep tries again. */
	(void)store_sweep(c->store, STORE_KEYS, record_is_old, &oldest,
			  SWEEP_RECORDS);
}

struct key_cache *
key_cache_new(struct store *store, const struct crypto_seal *seal,
	      size_t max_entries)
{
	struct key_cache *c = need(calloc(1, sizeof(*c)));

	c->store = store;
	c->seal = seal;
	key_table_init(&c->table, max_entries);
	atomic_flag_clear(&c->complained);
	if (pthread_mutex_init(&c->lock, NULL) != 0 ||
	    pthread_mutex_init(&c->flushing, NULL) != 0)
		abort();
	return c;
}

void
key_cache_free(struct key_cache **cp)
{
	struct key_cache *c = *cp;

	if (c == NULL)
		return;
	key_table_clear(&c->table);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->flushing);
	free(c);
	*cp = NULL;
}

void
key_cache_state(struct key_cache *c, struct key_cache_state *state_r)
{
	pthread_mutex_lock(&c->lock);
	state_r->entries = c->table.entries;
	state_r->hits = c->hits;
	state_r->misses = c->misses;
	pthread_mutex_unlock(&c->lock);
}
