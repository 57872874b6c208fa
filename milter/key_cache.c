/* SPDX-License-Identifier: MIT */
/*
 * How an entry lives. In memory it hangs in one of the lists of enum place,
 * which says what disk has to do with it; only entries that disk agrees with
 * may leave memory. A key that was good and is not any more stays as a
 * tombstone until it is deleted on disk, or a lookup would find it there
 * again.
 *
 * What an entry knows of a good key (struct known) never changes and is
 * counted, so that copying, unsealing and encoding happen outside the lock.
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
#include <sys/queue.h>

#include "log.h"
#include "policy/account.h"
#include "store.h"

#define SEAL_CONTEXT "key"

/* A record on disk: version, time of the check, length of the sealed key (the
 * numbers little-endian), sealed key, account as JSON. */
#define RECORD_VERSION 1
#define RECORD_HEAD (1 + 8 + 2)
#define SEALED_MAX (KEY_MAX + CRYPTO_SEAL_OVERHEAD)

/* Wrong keys may use this part of the memory: whoever tries keys at random
 * cannot push out those of customers. */
#define WRONG_PART 4

/* A transaction of a flush. Accounts with many routes make large records. */
#define BATCH_RECORDS 500
#define BATCH_ROUTES 20000

#define SWEEP_BUCKETS 1024
#define SWEEP_RECORDS 500

enum state {
	GOOD,
	WRONG,
	GONE, /* dropped: a lookup finds nothing and does not ask the disk */
};

enum place {
	CLEAN_GOOD,  /* on disk as it is here */
	CLEAN_WRONG, /* not on disk */
	TO_WRITE,    /* good; disk has something else or nothing */
	TO_DELETE,   /* wrong or gone; disk may still have it */
	IN_FLUSH,    /* being written or deleted just now */
	PLACES,
	NOWHERE = PLACES
};

struct known {
	atomic_uint refs;
	struct account *account;
	size_t sealed_len;
	uint8_t sealed[];
};

struct entry {
	uint8_t hash[CRYPTO_HASH_LEN];
	enum state state;
	enum place place;
	bool changed; /* since IN_FLUSH */
	int64_t checked;
	uint64_t used;	     /* when, by key_cache.clock */
	struct known *known; /* of a GOOD one */
	struct entry *chain;
	TAILQ_ENTRY(entry) links;
};

TAILQ_HEAD(entry_list, entry);

struct key_cache {
	struct store *store;
	const struct crypto_seal *seal;
	size_t max, max_wrong;
	size_t n_buckets; /* a power of two */
	unsigned shift;
	uint64_t scatter;
	atomic_flag complained;

	/* Held for a whole flush, so that an older state is never written
	 * over a newer one. Taken before `lock`, guards no field. */
	pthread_mutex_t flushing;

	/* Guards all below, and the entries but for their hash. */
	pthread_mutex_t lock;
	struct entry **buckets;
	struct entry_list lists[PLACES]; /* most recently used first */
	size_t count[PLACES];
	size_t entries;
	uint64_t clock;
	uint64_t changes;
	size_t sweep_at; /* the bucket where the next sweep goes on */
	unsigned long hits, misses;
};

/* A copy of an entry, or what disk says one should be. */
struct view {
	uint8_t hash[CRYPTO_HASH_LEN];
	enum state state;
	int64_t checked;
	struct known *known; /* counted */
};

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

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

/* False when id is none. 16 digits are 80 bits, without rest. */
static bool
decode_id(const char *id, uint8_t prefix_r[KEY_ID_BYTES])
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

	return decode_id(id, prefix);
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

/* Takes the account. */
static struct known *
known_new(const uint8_t *sealed, size_t sealed_len, struct account *account)
{
	struct known *k = need(malloc(sizeof(*k) + sealed_len));

	atomic_init(&k->refs, 1);
	k->account = account;
	k->sealed_len = sealed_len;
	memcpy(k->sealed, sealed, sealed_len);
	return k;
}

static struct known *
known_ref(struct known *k)
{
	atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
	return k;
}

static void
known_unref(struct known **kp)
{
	struct known *k = *kp;

	*kp = NULL;
	if (k == NULL ||
	    atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) > 1)
		return;
	account_free(&k->account);
	free(k);
}

static struct known *
known_make(const struct crypto_seal *seal, const char *key, size_t len,
	   const struct account *account)
{
	uint8_t sealed[SEALED_MAX];

	crypto_seal(seal, SEAL_CONTEXT, key, len, sealed);
	return known_new(sealed, len + CRYPTO_SEAL_OVERHEAD,
			 account_copy(account));
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
same_account(const struct account *a, const struct account *b)
{
	if (strcmp(a->id, b->id) != 0 || !same_text(a->dialect, b->dialect) ||
	    a->n_routes != b->n_routes)
		return false;
	for (size_t i = 0; i < a->n_routes; i++) {
		if (strcmp(a->routes[i].id, b->routes[i].id) != 0 ||
		    strcmp(a->routes[i].name, b->routes[i].name) != 0)
			return false;
	}
	return true;
}

/* Anybody can look for keys whose hashes begin alike; a secret odd multiplier
 * keeps them from choosing the bucket. */
static struct entry **
bucket_of(struct key_cache *c, const uint8_t *hash)
{
	uint64_t n;

	memcpy(&n, hash, sizeof(n));
	return &c->buckets[n * c->scatter >> c->shift];
}

/* By the whole hash or by its first KEY_ID_BYTES. */
static struct entry *
find(struct key_cache *c, const uint8_t *hash, size_t len)
{
	struct entry *e = *bucket_of(c, hash);

	while (e != NULL && memcmp(e->hash, hash, len) != 0)
		e = e->chain;
	return e;
}

/* At the head of the list: it was used just now. */
static void
hang(struct key_cache *c, struct entry *e, enum place place)
{
	if (e->place != NOWHERE) {
		TAILQ_REMOVE(&c->lists[e->place], e, links);
		c->count[e->place]--;
	}
	e->place = place;
	if (place == NOWHERE)
		return;
	TAILQ_INSERT_HEAD(&c->lists[place], e, links);
	c->count[place]++;
}

static void
touch(struct key_cache *c, struct entry *e)
{
	e->used = ++c->clock;
	if (e->place != IN_FLUSH)
		hang(c, e, e->place);
}

static struct entry *
insert(struct key_cache *c, const uint8_t hash[CRYPTO_HASH_LEN])
{
	struct entry *e = need(calloc(1, sizeof(*e)));
	struct entry **bucket = bucket_of(c, hash);

	memcpy(e->hash, hash, CRYPTO_HASH_LEN);
	e->place = NOWHERE;
	e->used = ++c->clock;
	e->chain = *bucket;
	*bucket = e;
	c->entries++;
	return e;
}

static void
remove_entry(struct key_cache *c, struct entry *e)
{
	struct entry **p = bucket_of(c, e->hash);

	while (*p != e)
		p = &(*p)->chain;
	*p = e->chain;
	hang(c, e, NOWHERE);
	c->entries--;
	known_unref(&e->known);
	free(e);
}

/* The one to leave memory, or NULL. What is to be deleted on disk must not, and
 * comes on top of the maximum. Good ones that are not on disk leave when there
 * is nothing else, which happens when disk cannot be written: they are asked
 * for again later. */
static struct entry *
victim(struct key_cache *c)
{
	struct entry *good = TAILQ_LAST(&c->lists[CLEAN_GOOD], entry_list);
	struct entry *wrong = TAILQ_LAST(&c->lists[CLEAN_WRONG], entry_list);

	if (c->count[CLEAN_WRONG] > c->max_wrong)
		return wrong;
	if (c->entries - c->count[TO_DELETE] - c->count[IN_FLUSH] <= c->max)
		return NULL;
	if (good != NULL && wrong != NULL)
		return good->used < wrong->used ? good : wrong;
	if (good != NULL || wrong != NULL)
		return good != NULL ? good : wrong;
	return TAILQ_LAST(&c->lists[TO_WRITE], entry_list);
}

static void
shrink(struct key_cache *c)
{
	struct entry *e;

	while ((e = victim(c)) != NULL)
		remove_entry(c, e);
}

static enum place
place_to_flush(enum state state)
{
	return state == GOOD ? TO_WRITE : TO_DELETE;
}

/* Disk has to follow. Takes known. */
static void
change(struct key_cache *c, struct entry *e, enum state state,
       struct known *known, int64_t now)
{
	known_unref(&e->known);
	e->known = known;
	e->state = state;
	e->checked = now;
	e->used = ++c->clock;
	c->changes++;
	if (e->place == IN_FLUSH)
		e->changed = true;
	else
		hang(c, e, place_to_flush(state));
}

static void
put_number(uint8_t *dst, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		dst[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t
get_number(const uint8_t *src, size_t bytes)
{
	uint64_t value = 0;

	while (bytes-- > 0)
		value = value << 8 | src[bytes];
	return value;
}

/* The caller frees; NULL when it is too long for the store, so that the record
 * is deleted and the rest of the batch is written. */
static uint8_t *
encode(const struct known *k, int64_t checked, size_t *len_r)
{
	char *json = need(account_to_json(k->account));
	size_t json_len = strlen(json);
	uint8_t *value;

	*len_r = RECORD_HEAD + k->sealed_len + json_len;
	value = need(malloc(*len_r));
	value[0] = RECORD_VERSION;
	put_number(value + 1, (uint64_t)checked, 8);
	put_number(value + 9, k->sealed_len, 2);
	memcpy(value + RECORD_HEAD, k->sealed, k->sealed_len);
	memcpy(value + RECORD_HEAD + k->sealed_len, json, json_len);
	free(json);
	if (*len_r > STORE_VALUE_MAX) {
		free(value);
		value = NULL;
	}
	return value;
}

static bool
decode_head(const uint8_t *value, size_t len, int64_t *checked_r,
	    size_t *sealed_len_r)
{
	if (len < RECORD_HEAD || value[0] != RECORD_VERSION)
		return false;
	*checked_r = (int64_t)get_number(value + 1, 8);
	*sealed_len_r = (size_t)get_number(value + 9, 2);
	return *sealed_len_r > CRYPTO_SEAL_OVERHEAD &&
	       *sealed_len_r <= SEALED_MAX &&
	       *sealed_len_r <= len - RECORD_HEAD;
}

/* A sealed key that belongs to another record would verify as well. */
static bool
unseals_to(const struct key_cache *c, const uint8_t *sealed, size_t len,
	   const uint8_t hash[CRYPTO_HASH_LEN])
{
	uint8_t key[KEY_MAX], got[CRYPTO_HASH_LEN];
	bool ok = crypto_unseal(c->seal, SEAL_CONTEXT, sealed, len, key) == 0;

	if (ok) {
		crypto_hash(key, len - CRYPTO_SEAL_OVERHEAD, got);
		ok = memcmp(got, hash, CRYPTO_HASH_LEN) == 0;
	}
	crypto_wipe(key, sizeof(key));
	return ok;
}

static struct known *
decode(const struct key_cache *c, const uint8_t hash[CRYPTO_HASH_LEN],
       const uint8_t *value, size_t len, int64_t *checked_r)
{
	struct account *account;
	size_t sealed_len, head;

	if (!decode_head(value, len, checked_r, &sealed_len) ||
	    !unseals_to(c, value + RECORD_HEAD, sealed_len, hash))
		return NULL;
	head = RECORD_HEAD + sealed_len;
	account = account_from_json((const char *)value + head, len - head);
	if (account == NULL)
		return NULL;
	return known_new(value + RECORD_HEAD, sealed_len, account);
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
	v->state = GOOD;
	v->known =
	    decode(c, v->hash, (const uint8_t *)value, value_len, &v->checked);
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
	struct entry *e;

	pthread_mutex_lock(&c->lock);
	*changes_r = c->changes;
	e = find(c, hash, len);
	if (e != NULL && e->state == GONE) {
		c->misses++;
		answer = NOT_THERE;
	} else if (e != NULL) {
		c->hits++;
		touch(c, e);
		memcpy(v->hash, e->hash, sizeof(v->hash));
		v->state = e->state;
		v->checked = e->checked;
		v->known = e->known ? known_ref(e->known) : NULL;
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
	return c->changes == changes && find(c, hash, CRYPTO_HASH_LEN) == NULL;
}

/* Puts what was loaded into memory, if it is still true. */
static bool
adopt(struct key_cache *c, const struct view *v, uint64_t changes)
{
	struct entry *e;
	bool fresh;

	pthread_mutex_lock(&c->lock);
	fresh = still_true(c, v->hash, changes);
	if (fresh) {
		e = insert(c, v->hash);
		e->state = GOOD;
		e->checked = v->checked;
		e->known = known_ref(v->known);
		hang(c, e, CLEAN_GOOD);
		shrink(c);
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
		known_unref(&v->known);
	}
	return answer == FOUND;
}

static void
fill(struct key_record *r, const struct view *v)
{
	memcpy(r->hash, v->hash, sizeof(r->hash));
	crypto_base32(r->key_id, v->hash, KEY_ID_BYTES);
	r->wrong = v->state == WRONG;
	r->checked = v->checked;
	if (v->known != NULL)
		r->account = account_copy(v->known->account);
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
	known_unref(&v.known);
	return true;
}

bool
key_cache_get_by_id(struct key_cache *c, const char *key_id,
		    struct key_record *record_r)
{
	uint8_t prefix[KEY_ID_BYTES];
	struct view v;

	memset(record_r, 0, sizeof(*record_r));
	if (!decode_id(key_id, prefix) ||
	    !look_up(c, prefix, sizeof(prefix), &v))
		return false;
	fill(record_r, &v);
	/* It was sealed or checked with this very seal. */
	if (v.known != NULL &&
	    crypto_unseal(c->seal, SEAL_CONTEXT, v.known->sealed,
			  v.known->sealed_len, record_r->key) < 0)
		abort();
	known_unref(&v.known);
	return true;
}

static struct known *
known_of(struct key_cache *c, const uint8_t hash[CRYPTO_HASH_LEN])
{
	struct known *k = NULL;
	struct entry *e;

	pthread_mutex_lock(&c->lock);
	e = find(c, hash, CRYPTO_HASH_LEN);
	if (e != NULL && e->known != NULL)
		k = known_ref(e->known);
	pthread_mutex_unlock(&c->lock);
	return k;
}

void
key_cache_put(struct key_cache *c, const char *key, size_t len,
	      const struct account *account, int64_t now)
{
	uint8_t hash[CRYPTO_HASH_LEN];
	struct known *k;
	struct entry *e;

	if (!key_is_plausible(key, len))
		return;
	crypto_hash(key, len, hash);
	k = known_of(c, hash);
	if (k == NULL || !same_account(k->account, account)) {
		known_unref(&k);
		k = known_make(c->seal, key, len, account);
	}
	pthread_mutex_lock(&c->lock);
	e = find(c, hash, sizeof(hash));
	if (e == NULL)
		e = insert(c, hash);
	change(c, e, GOOD, k, now);
	shrink(c);
	pthread_mutex_unlock(&c->lock);
}

/* Makes an entry WRONG or GONE. Disk does not have what hangs in CLEAN_WRONG;
 * everything else it may. */
static void
revoke(struct key_cache *c, struct entry *e, enum state state, int64_t now)
{
	if (e->place != CLEAN_WRONG) {
		change(c, e, state, NULL, now);
	} else if (state == WRONG) {
		e->checked = now;
		touch(c, e);
	} else {
		remove_entry(c, e);
	}
}

/* False when it is not in memory, so that the caller has to ask the disk. */
static bool
revoke_in_memory(struct key_cache *c, const uint8_t *hash, size_t len,
		 enum state state, int64_t now, uint64_t *changes_r)
{
	struct entry *e;

	pthread_mutex_lock(&c->lock);
	*changes_r = c->changes;
	e = find(c, hash, len);
	if (e != NULL)
		revoke(c, e, state, now);
	pthread_mutex_unlock(&c->lock);
	return e != NULL;
}

/* Adds one that is not in memory, if that is still so. */
static bool
add_revoked(struct key_cache *c, const uint8_t hash[CRYPTO_HASH_LEN],
	    enum state state, int64_t now, bool on_disk, uint64_t changes)
{
	struct entry *e;
	bool fresh;

	pthread_mutex_lock(&c->lock);
	fresh = still_true(c, hash, changes);
	if (fresh && on_disk) {
		change(c, insert(c, hash), state, NULL, now);
	} else if (fresh) {
		e = insert(c, hash);
		e->state = state;
		e->checked = now;
		hang(c, e, CLEAN_WRONG);
		shrink(c);
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
	while (!revoke_in_memory(c, hash, sizeof(hash), WRONG, now, &changes)) {
		bool on_disk = may_be_on_disk(c, hash);

		if (add_revoked(c, hash, WRONG, now, on_disk, changes))
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

	if (!decode_id(key_id, id))
		return;
	while (!revoke_in_memory(c, id, sizeof(id), GONE, 0, &changes)) {
		if (read_record(c, id, sizeof(id), &v, &value, &len) != 1)
			return;
		free(value);
		if (add_revoked(c, v.hash, GONE, 0, true, changes))
			return;
	}
}

/* One entry IN_FLUSH; nobody frees it, and its hash does not change. */
struct item {
	struct entry *entry;
	struct known *known; /* counted; NULL: delete */
	int64_t checked;
};

static size_t
pending(struct key_cache *c)
{
	size_t n;

	pthread_mutex_lock(&c->lock);
	n = c->count[TO_WRITE] + c->count[TO_DELETE];
	pthread_mutex_unlock(&c->lock);
	return n;
}

/* Deletes come first and in transactions of their own: when disk is full they
 * can still be done. */
static size_t
take(struct key_cache *c, struct item *v)
{
	size_t n = 0, routes = 0;
	enum place from;
	struct entry *e;

	pthread_mutex_lock(&c->lock);
	from = c->count[TO_DELETE] > 0 ? TO_DELETE : TO_WRITE;
	while (n < BATCH_RECORDS && routes < BATCH_ROUTES &&
	       (e = TAILQ_LAST(&c->lists[from], entry_list)) != NULL) {
		hang(c, e, IN_FLUSH);
		e->changed = false;
		v[n].entry = e;
		v[n].checked = e->checked;
		v[n].known = e->known ? known_ref(e->known) : NULL;
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
		values[i] = encode(v[i].known, v[i].checked, &w[i].len);
		w[i].value = values[i];
	}
	rc = store_write(c->store, w, n);
	for (size_t i = 0; i < n; i++)
		free(values[i]);
	free(values);
	free(w);
	return rc;
}

/* Back from IN_FLUSH to where it belongs now. */
static void
settle_one(struct key_cache *c, struct entry *e, bool written)
{
	if (!written || e->changed)
		hang(c, e, place_to_flush(e->state));
	else if (e->state == GONE)
		remove_entry(c, e);
	else
		hang(c, e, e->state == GOOD ? CLEAN_GOOD : CLEAN_WRONG);
}

static void
settle(struct key_cache *c, struct item *v, size_t n, bool written)
{
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < n; i++)
		settle_one(c, v[i].entry, written);
	shrink(c);
	pthread_mutex_unlock(&c->lock);
	for (size_t i = 0; i < n; i++)
		known_unref(&v[i].known);
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

static void
sweep_bucket(struct key_cache *c, struct entry *e, int64_t oldest)
{
	while (e != NULL) {
		struct entry *next = e->chain;

		if ((e->place == CLEAN_GOOD || e->place == CLEAN_WRONG) &&
		    e->checked < oldest)
			remove_entry(c, e);
		e = next;
	}
}

/* What cannot be read is never going to be used. */
static bool
record_is_old(void *arg, const void *value, size_t len)
{
	const int64_t *oldest = arg;
	size_t sealed_len;
	int64_t checked;

	return !decode_head(value, len, &checked, &sealed_len) ||
	       checked < *oldest;
}

void
key_cache_sweep(struct key_cache *c, int64_t oldest)
{
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < SWEEP_BUCKETS && i < c->n_buckets; i++) {
		sweep_bucket(c, c->buckets[c->sweep_at], oldest);
		c->sweep_at = (c->sweep_at + 1) & (c->n_buckets - 1);
	}
	pthread_mutex_unlock(&c->lock);
	/* Failure is logged there, and the next sweep tries again. */
	(void)store_sweep(c->store, STORE_KEYS, record_is_old, &oldest,
			  SWEEP_RECORDS);
}

static void
size_table(struct key_cache *c, size_t max_entries)
{
	c->max = max_entries > 0 ? max_entries : 1;
	c->max_wrong = c->max / WRONG_PART;
	if (c->max_wrong == 0)
		c->max_wrong = 1;
	c->n_buckets = 2;
	c->shift = 63;
	while (c->n_buckets < c->max && c->shift > 32) {
		c->n_buckets *= 2;
		c->shift--;
	}
	c->buckets = need(calloc(c->n_buckets, sizeof(struct entry *)));
	crypto_random(&c->scatter, sizeof(c->scatter));
	c->scatter |= 1;
}

struct key_cache *
key_cache_new(struct store *store, const struct crypto_seal *seal,
	      size_t max_entries)
{
	struct key_cache *c = need(calloc(1, sizeof(*c)));

	c->store = store;
	c->seal = seal;
	size_table(c, max_entries);
	for (size_t i = 0; i < PLACES; i++)
		TAILQ_INIT(&c->lists[i]);
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
	struct entry *e;

	if (c == NULL)
		return;
	for (size_t i = 0; i < PLACES; i++) {
		while ((e = TAILQ_FIRST(&c->lists[i])) != NULL)
			remove_entry(c, e);
	}
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->flushing);
	free(c->buckets);
	free(c);
	*cp = NULL;
}

void
key_cache_state(struct key_cache *c, struct key_cache_state *state_r)
{
	pthread_mutex_lock(&c->lock);
	state_r->entries = c->entries;
	state_r->hits = c->hits;
	state_r->misses = c->misses;
	pthread_mutex_unlock(&c->lock);
}
