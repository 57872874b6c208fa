/* SPDX-License-Identifier: MIT */
#include "sent_memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "log.h"
#include "need.h"
#include "store.h"

/* Records of one transaction: what has to be free in the map at once. */
#define BATCH 10000
#define SLOTS_BITS_MIN 10
/* By the key's first byte; a few hundred calls are under way at most times. */
#define CLAIM_LISTS 256

/* Besides what was sent (an empty value under a key of SENT_KEY_LEN bytes),
 * each table has a record of its turn: version, number of the turn, when it
 * began, when something was last added (little-endian). The table with the
 * higher number is the one that is written to. */
#define TURN_KEY "turn"
#define TURN_KEY_LEN (sizeof(TURN_KEY) - 1)
#define TURN_VERSION 1
#define TURN_LEN (1 + 3 * 8)
_Static_assert(TURN_KEY_LEN != SENT_KEY_LEN, "no key is that one");

struct turn {
	uint64_t number; /* 0: none yet */
	int64_t since;
	int64_t last;
};

struct slot {
	uint8_t key[SENT_KEY_LEN];
	bool used;
};

/* Open addressing, never over half full. The slots are 1 << bits. */
struct set {
	struct slot *slots; /* NULL: empty */
	unsigned bits;	    /* of a slot's number */
	size_t n;
};

struct sent_memory {
	struct store *store;
	uint64_t seed[2]; /* so that nobody can choose where keys go */
	atomic_uint seconds;

	pthread_mutex_t lock; /* guards claims, fresh, writing, forgotten */
	struct sent_claim *claims[CLAIM_LISTS];
	struct set fresh;
	struct set writing; /* changed only with `flushing` held too */
	unsigned long forgotten;

	pthread_mutex_t flushing; /* guards current, older */
	struct turn current, older;
};

/* --- sets of keys --------------------------------------------------------- */

static uint64_t
word_of(const uint8_t *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	return word;
}

static size_t
set_size(const struct set *set)
{
	return set->slots != NULL ? (size_t)1 << set->bits : 0;
}

/* The key's slot, or the free one where it belongs. */
static struct slot *
find_slot(const struct sent_memory *m, const struct set *set,
	  const uint8_t *key)
{
	uint64_t hash =
	    word_of(key) * m->seed[0] + word_of(key + 8) * m->seed[1];
	size_t at = (size_t)(hash >> (64 - set->bits));

	for (;; at++) {
		struct slot *s = &set->slots[at & (set_size(set) - 1)];

		if (!s->used || memcmp(s->key, key, SENT_KEY_LEN) == 0)
			return s;
	}
}

static bool
set_has(const struct sent_memory *m, const struct set *set, const uint8_t *key)
{
	return set->n > 0 && find_slot(m, set, key)->used;
}

static void
set_grow(const struct sent_memory *m, struct set *set)
{
	struct set old = *set;

	set->bits = old.slots != NULL ? old.bits + 1 : SLOTS_BITS_MIN;
	set->slots = need(calloc((size_t)1 << set->bits, sizeof(*set->slots)));
	for (size_t i = 0; i < set_size(&old); i++) {
		if (old.slots[i].used)
			*find_slot(m, set, old.slots[i].key) = old.slots[i];
	}
	free(old.slots);
}

static void
set_add(const struct sent_memory *m, struct set *set, const uint8_t *key)
{
	struct slot *s;

	if (2 * (set->n + 1) > set_size(set))
		set_grow(m, set);
	s = find_slot(m, set, key);
	if (s->used)
		return;
	memcpy(s->key, key, SENT_KEY_LEN);
	s->used = true;
	set->n++;
}

static void
set_clear(struct set *set)
{
	free(set->slots);
	memset(set, 0, sizeof(*set));
}

/* --- the tables on disk --------------------------------------------------- */

/* They take turns, odd and even. */
static enum store_table
table_of(uint64_t number)
{
	return number % 2 == 1 ? STORE_SENT_A : STORE_SENT_B;
}

static void
put_number(uint8_t *to, uint64_t n)
{
	for (int i = 0; i < 8; i++)
		to[i] = (uint8_t)(n >> (8 * i));
}

static uint64_t
get_number(const uint8_t *from)
{
	uint64_t n = 0;

	for (int i = 7; i >= 0; i--)
		n = n << 8 | from[i];
	return n;
}

static void
encode_turn(const struct turn *t, uint8_t value[TURN_LEN])
{
	value[0] = TURN_VERSION;
	put_number(value + 1, t->number);
	put_number(value + 9, (uint64_t)t->since);
	put_number(value + 17, (uint64_t)t->last);
}

/* All zero when there is none that can be read. */
static struct turn
read_turn(struct store *store, enum store_table table)
{
	uint8_t value[TURN_LEN];
	size_t len = 0;
	struct turn t = { 0 };

	if (store_read(store, table, TURN_KEY, TURN_KEY_LEN, value,
		       sizeof(value), &len) != 1 ||
	    len != TURN_LEN || value[0] != TURN_VERSION)
		return t;
	t.number = get_number(value + 1);
	t.since = (int64_t)get_number(value + 9);
	t.last = (int64_t)get_number(value + 17);
	/* Not by us: it would be looked for in the other table. */
	if (table_of(t.number) != table)
		memset(&t, 0, sizeof(t));
	return t;
}

static void
read_turns(struct sent_memory *m)
{
	struct turn a = read_turn(m->store, STORE_SENT_A);
	struct turn b = read_turn(m->store, STORE_SENT_B);
	bool a_is_current = a.number > b.number;

	m->current = a_is_current ? a : b;
	m->older = a_is_current ? b : a;
}

static void
put_turn(struct store_change *c, const struct turn *t)
{
	uint8_t value[TURN_LEN];

	encode_turn(t, value);
	store_change_put(c, &(struct store_write){ table_of(t->number),
						   TURN_KEY, TURN_KEY_LEN,
						   value, TURN_LEN });
}

static int
write_turn(struct sent_memory *m, const struct turn *t)
{
	struct store_change *c = store_change_begin(m->store, 1, TURN_LEN);

	put_turn(c, t);
	return store_change_end(&c, true);
}

static int
empty_table(struct sent_memory *m, enum store_table table)
{
	if (store_count(m->store, table) == 0)
		return 0;
	return store_empty(m->store, table);
}

/* The older table is forgotten and becomes the current one. When the second
 * step fails, the current one goes on, and is tried again. */
static int
change_tables(struct sent_memory *m, int64_t now)
{
	const struct turn next = { m->current.number + 1, now, now };
	int rc = empty_table(m, table_of(next.number));

	if (rc == 0) {
		memset(&m->older, 0, sizeof(m->older));
		rc = write_turn(m, &next);
	}
	if (rc != 0)
		return rc;
	m->older = m->current;
	m->current = next;
	return 0;
}

static bool
is_over(int64_t when, int64_t now, unsigned seconds)
{
	return now - when >= (int64_t)seconds;
}

/* Nothing is forgotten early because the clock was set back, nor kept for ever
 * because it was ahead. */
static void
follow_clock(struct turn *t, int64_t now)
{
	if (t->since > now)
		t->since = now;
	if (t->last > now)
		t->last = now;
}

/* After a long stop both tables are too old. */
static int
change_when_due(struct sent_memory *m, int64_t now, unsigned seconds)
{
	int rc = 0;

	follow_clock(&m->current, now);
	follow_clock(&m->older, now);
	if (m->current.number == 0 || is_over(m->current.since, now, seconds) ||
	    store_count(m->store, table_of(m->current.number)) >
		SENT_RECORDS_MAX)
		rc = change_tables(m, now);
	if (rc == 0 && m->older.number != 0 &&
	    is_over(m->older.last, now, seconds)) {
		rc = empty_table(m, table_of(m->older.number));
		if (rc == 0)
			memset(&m->older, 0, sizeof(m->older));
	}
	return rc;
}

/* One transaction of what is to be written, from slot *at on. */
static int
write_batch(struct sent_memory *m, size_t *at, size_t n)
{
	const struct set *set = &m->writing;
	enum store_table table = table_of(m->current.number);
	struct store_change *c = store_change_begin(m->store, n + 1, TURN_LEN);

	put_turn(c, &m->current);
	for (; n > 0; ++*at) {
		const struct slot *s = &set->slots[*at];

		if (!s->used)
			continue;
		store_change_put(c, &(struct store_write){
					table, s->key, SENT_KEY_LEN, "", 0 });
		n--;
	}
	return store_change_end(&c, true);
}

/* 0, or -1, or STORE_FULL. */
static int
write_all(struct sent_memory *m, int64_t now)
{
	size_t left = m->writing.n, at = 0;
	int rc = 0;

	m->current.last = now;
	while (rc == 0 && left > 0) {
		size_t n = left < BATCH ? left : BATCH;

		rc = write_batch(m, &at, n);
		left -= n;
	}
	return rc;
}

/* --- the memory ----------------------------------------------------------- */

struct sent_memory *
sent_memory_new(struct store *store)
{
	struct sent_memory *m = need(calloc(1, sizeof(*m)));

	m->store = store;
	crypto_random(m->seed, sizeof(m->seed));
	m->seed[0] |= 1;
	m->seed[1] |= 1;
	atomic_init(&m->seconds, 0);
	if (pthread_mutex_init(&m->lock, NULL) != 0 ||
	    pthread_mutex_init(&m->flushing, NULL) != 0)
		abort();
	read_turns(m);
	return m;
}

void
sent_memory_free(struct sent_memory **mp)
{
	struct sent_memory *m = *mp;

	if (m == NULL)
		return;
	set_clear(&m->fresh);
	set_clear(&m->writing);
	pthread_mutex_destroy(&m->lock);
	pthread_mutex_destroy(&m->flushing);
	free(m);
	*mp = NULL;
}

void
sent_memory_keep_for(struct sent_memory *m, unsigned seconds)
{
	atomic_store(&m->seconds, seconds);
}

static bool
is_on_disk(struct sent_memory *m, enum store_table table, const uint8_t *key)
{
	uint8_t value;
	size_t len;

	return store_read(m->store, table, key, SENT_KEY_LEN, &value,
			  sizeof(value), &len) == 1;
}

/* Under the lock: not on disk yet. */
static bool
is_pending(const struct sent_memory *m, const uint8_t *key)
{
	return atomic_load(&m->seconds) > 0 &&
	       (set_has(m, &m->fresh, key) || set_has(m, &m->writing, key));
}

static bool
is_in_store(struct sent_memory *m, const uint8_t *key)
{
	return atomic_load(&m->seconds) > 0 &&
	       (is_on_disk(m, STORE_SENT_A, key) ||
		is_on_disk(m, STORE_SENT_B, key));
}

/* Memory first: what leaves it is on disk by then. */
bool
sent_memory_has(struct sent_memory *m, const uint8_t key[SENT_KEY_LEN])
{
	bool pending;

	pthread_mutex_lock(&m->lock);
	pending = is_pending(m, key);
	pthread_mutex_unlock(&m->lock);
	return pending || is_in_store(m, key);
}

/* Under the lock. */
static void
add(struct sent_memory *m, const uint8_t *key)
{
	if (atomic_load(&m->seconds) == 0)
		return;
	if (m->fresh.n + m->writing.n < SENT_PENDING_MAX)
		set_add(m, &m->fresh, key);
	else
		m->forgotten++;
}

/* --- claims --------------------------------------------------------------- */

/* Under the lock: where the claim of that key is, or would be. */
static struct sent_claim **
find_claim(struct sent_memory *m, const uint8_t *key)
{
	struct sent_claim **c = &m->claims[key[0] % CLAIM_LISTS];

	while (*c != NULL && memcmp((*c)->key, key, SENT_KEY_LEN) != 0)
		c = &(*c)->next;
	return c;
}

/* Whoever took the message before adds it under the lock under which his claim
 * goes: a key is always one of the two. */
static enum sent_state
claim(struct sent_memory *m, struct sent_claim *c)
{
	struct sent_claim **at;
	enum sent_state state = SENT_NOT;

	pthread_mutex_lock(&m->lock);
	at = find_claim(m, c->key);
	if (*at != NULL) {
		state = SENT_UNDER_WAY;
	} else if (is_pending(m, c->key)) {
		state = SENT_ALREADY;
	} else {
		c->next = NULL;
		*at = c;
	}
	pthread_mutex_unlock(&m->lock);
	return state;
}

enum sent_state
sent_memory_claim(struct sent_memory *m, struct sent_claim *c)
{
	enum sent_state state = claim(m, c);

	if (state != SENT_NOT || !is_in_store(m, c->key))
		return state;
	sent_memory_release(m, c, false);
	return SENT_ALREADY;
}

void
sent_memory_release(struct sent_memory *m, struct sent_claim *c, bool taken)
{
	struct sent_claim **at;

	pthread_mutex_lock(&m->lock);
	at = find_claim(m, c->key);
	if (*at != c)
		abort(); /* it was not claimed */
	*at = c->next;
	if (taken)
		add(m, c->key);
	pthread_mutex_unlock(&m->lock);
}

static void
log_forgotten(struct sent_memory *m)
{
	unsigned long n;

	pthread_mutex_lock(&m->lock);
	n = m->forgotten;
	m->forgotten = 0;
	pthread_mutex_unlock(&m->lock);
	if (n > 0)
		log_error("sent",
			  "more than %d not on disk yet: forgotten=%lu, which "
			  "may be sent twice",
			  SENT_PENDING_MAX, n);
}

/* False when nothing is pending. What could not be written the last time goes
 * first. */
static bool
take_pending(struct sent_memory *m)
{
	pthread_mutex_lock(&m->lock);
	if (m->writing.n == 0) {
		set_clear(&m->writing);
		m->writing = m->fresh;
		memset(&m->fresh, 0, sizeof(m->fresh));
	}
	pthread_mutex_unlock(&m->lock);
	return m->writing.n > 0;
}

static void
drop_written(struct sent_memory *m)
{
	pthread_mutex_lock(&m->lock);
	set_clear(&m->writing);
	pthread_mutex_unlock(&m->lock);
}

/* In a full map, what was sent makes room for others, oldest first. */
static int
write_pending(struct sent_memory *m, int64_t now)
{
	int rc = write_all(m, now);

	if (rc == STORE_FULL && change_tables(m, now) == 0)
		rc = write_all(m, now);
	return rc;
}

static int
forget_all(struct sent_memory *m)
{
	pthread_mutex_lock(&m->lock);
	set_clear(&m->fresh);
	set_clear(&m->writing);
	pthread_mutex_unlock(&m->lock);
	memset(&m->current, 0, sizeof(m->current));
	memset(&m->older, 0, sizeof(m->older));
	if (empty_table(m, STORE_SENT_A) != 0 ||
	    empty_table(m, STORE_SENT_B) != 0)
		return -1;
	return 0;
}

/* What was left of the last time, and what came since. */
static int
flush(struct sent_memory *m, int64_t now, unsigned seconds)
{
	int changed = change_when_due(m, now, seconds);

	for (int i = 0; i < 2 && take_pending(m); i++) {
		if (m->current.number == 0 || write_pending(m, now) != 0)
			return -1;
		drop_written(m);
	}
	return changed == 0 ? 0 : -1;
}

int
sent_memory_flush(struct sent_memory *m, int64_t now)
{
	unsigned seconds = atomic_load(&m->seconds);
	int rc;

	pthread_mutex_lock(&m->flushing);
	rc = seconds > 0 ? flush(m, now, seconds) : forget_all(m);
	pthread_mutex_unlock(&m->flushing);
	log_forgotten(m);
	return rc;
}
