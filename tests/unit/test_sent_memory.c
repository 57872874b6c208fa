/* SPDX-License-Identifier: MIT */
#include "milter/sent_memory.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "milter/store.h"

#define MAP_SIZE (64 * 1024 * 1024)
#define NOW INT64_C(1700000000)
#define HOUR 3600

struct place {
	char dir[40];
	struct store *store;
	struct sent_memory *memory;
};

static void
start(struct place *p, size_t map_size)
{
	char *error;

	p->store = store_open(p->dir, map_size, &error);
	assert_non_null(p->store);
	p->memory = sent_memory_new(p->store);
	sent_memory_keep_for(p->memory, HOUR);
}

static void
stop(struct place *p)
{
	sent_memory_free(&p->memory);
	assert_null(p->memory);
	sent_memory_free(&p->memory);
	store_close(&p->store);
}

static void
restart(struct place *p)
{
	stop(p);
	start(p, MAP_SIZE);
}

static int
set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->dir, "/tmp/test_sent_memory.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	start(p, MAP_SIZE);
	*state = p;
	return 0;
}

static int
tear_down(void **state)
{
	static const char *const files[] = { "txmilter.mdb",
					     "txmilter.mdb-lock" };
	struct place *p = *state;
	char path[64];

	stop(p);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", p->dir, files[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(p->dir), 0);
	free(p);
	return 0;
}

struct key {
	uint8_t bytes[SENT_KEY_LEN];
};

/* Keys that differ in their last bytes only. */
static struct key
key_of(unsigned n)
{
	struct key k = { { 0 } };

	for (size_t i = 0; i < 4; i++)
		k.bytes[SENT_KEY_LEN - 1 - i] = (uint8_t)(n >> (8 * i));
	return k;
}

/* As a call that the API took. */
static void
add_key(struct place *p, const struct key *k)
{
	struct sent_claim claim = { 0 };

	memcpy(claim.key, k->bytes, SENT_KEY_LEN);
	if (sent_memory_claim(p->memory, &claim) == SENT_NOT)
		sent_memory_release(p->memory, &claim, true);
}

static void
add(struct place *p, unsigned n)
{
	struct key k = key_of(n);

	add_key(p, &k);
}

static bool
has(struct place *p, unsigned n)
{
	return sent_memory_has(p->memory, key_of(n).bytes);
}

static unsigned
count_known(struct place *p, unsigned first, unsigned n)
{
	unsigned known = 0;

	for (unsigned i = 0; i < n; i++)
		known += has(p, first + i);
	return known;
}

static void
flush(struct place *p, int64_t now)
{
	assert_int_equal(sent_memory_flush(p->memory, now), 0);
}

/* Of both tables: what was sent and what they know of their turn. */
static size_t
on_disk(struct place *p)
{
	return store_count(p->store, STORE_SENT_A) +
	       store_count(p->store, STORE_SENT_B);
}

static void
test_add_and_has(void **state)
{
	struct place *p = *state;

	assert_false(has(p, 0));
	add(p, 0);
	add(p, 1);
	add(p, 1);
	assert_true(has(p, 0));
	assert_true(has(p, 1));
	assert_false(has(p, 2));
	flush(p, NOW);
	assert_true(has(p, 0));
	assert_true(has(p, 1));
	assert_false(has(p, 2));
	/* Two, and the turn. */
	assert_int_equal(on_disk(p), 3);
	flush(p, NOW + 1);
	assert_int_equal(on_disk(p), 3);
}

/* Every byte of a key counts, wherever it is looked for. */
static void
test_whole_key(void **state)
{
	struct place *p = *state;
	struct key k = key_of(0x5a5a5a5a);

	add_key(p, &k);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < SENT_KEY_LEN; i++) {
			k.bytes[i] ^= 1;
			assert_false(sent_memory_has(p->memory, k.bytes));
			k.bytes[i] ^= 1;
		}
		assert_true(sent_memory_has(p->memory, k.bytes));
		flush(p, NOW);
	}
}

/* A key is added at NOW, and others later, so that its table goes on. */
static void
test_expiry(void **state)
{
	enum { RESTART = -1, STOP = 0 };
	static const struct {
		const char *name;
		int64_t later[8]; /* STOP: the end */
		bool known;
	} rows[] = {
		{ "at once", { 1 }, true },
		{ "the last second", { HOUR - 1 }, true },
		{ "its table is the older one", { HOUR - 1, HOUR }, true },
		{ "the last second of that",
		  { HOUR - 1, HOUR, 2 * HOUR - 2 },
		  true },
		{ "too old", { HOUR - 1, HOUR, 2 * HOUR - 1 }, false },
		{ "the change was late",
		  { HOUR - 1, HOUR + 700, 2 * HOUR - 1 },
		  false },
		{ "nothing younger is in its table", { HOUR }, false },
		{ "nobody flushed for long", { 2 * HOUR }, false },
		{ "nobody flushed for very long", { 1000 * HOUR }, false },
		{ "restart", { RESTART, 1 }, true },
		{ "restart in its second hour",
		  { HOUR - 1, HOUR, RESTART, 2 * HOUR - 2 },
		  true },
		{ "restart before the change",
		  { HOUR - 1, RESTART, HOUR, 2 * HOUR - 2 },
		  true },
		{ "restart, too old",
		  { HOUR - 1, HOUR, RESTART, 2 * HOUR - 1 },
		  false },
		{ "after a short stop", { RESTART, HOUR - 1 }, true },
		{ "after a stop that left it in the older",
		  { HOUR - 1, RESTART, HOUR + 600 },
		  true },
		{ "after a long stop", { RESTART, HOUR }, false },
		{ "the clock was set back",
		  { -3 * HOUR, -2 * HOUR - 1, -2 * HOUR },
		  true },
		{ "set back, and restart",
		  { -3 * HOUR, RESTART, -2 * HOUR - 1 },
		  true },
		{ "set back, and it ends nevertheless",
		  { -3 * HOUR, -2 * HOUR, -HOUR },
		  false },
	};
	struct place *p = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const int64_t *later = rows[i].later;

		sent_memory_keep_for(p->memory, 0);
		flush(p, NOW);
		assert_int_equal(on_disk(p), 0);
		sent_memory_keep_for(p->memory, HOUR);
		add(p, 7);
		flush(p, NOW);
		for (; *later != STOP; later++) {
			if (*later == RESTART) {
				restart(p);
				continue;
			}
			add(p, 8 + (unsigned)(later - rows[i].later));
			flush(p, NOW + *later);
		}
		if (has(p, 7) != rows[i].known)
			fail_msg("row %s", rows[i].name);
	}
}

/* Flushed every minute for a day, with and without restarts: what was added
 * is there for an hour and not after two. */
static void
test_every_minute(void **state)
{
	enum { MINUTES = 24 * 60 };
	struct place *p = *state;

	for (unsigned minute = 0; minute < MINUTES; minute++) {
		add(p, minute);
		flush(p, NOW + 60 * (int64_t)minute);
		if (minute % 97 == 0)
			restart(p);
		assert_true(has(p, minute));
		if (minute >= 59)
			assert_true(has(p, minute - 59));
		if (minute >= 120)
			assert_false(has(p, minute - 120));
	}
	assert_in_range(on_disk(p), 60, 122);
}

static void
test_restart_forgets_what_is_pending(void **state)
{
	struct place *p = *state;

	add(p, 1);
	flush(p, NOW);
	add(p, 2);
	assert_true(has(p, 2));
	restart(p);
	assert_true(has(p, 1));
	assert_false(has(p, 2));
}

static void
test_switched_off(void **state)
{
	struct place *p = *state;

	add(p, 1);
	flush(p, NOW);
	add(p, 2);
	sent_memory_keep_for(p->memory, 0);
	assert_false(has(p, 1));
	assert_false(has(p, 2));
	add(p, 3);
	assert_false(has(p, 3));
	flush(p, NOW + 1);
	assert_int_equal(on_disk(p), 0);
	sent_memory_keep_for(p->memory, HOUR);
	assert_int_equal(count_known(p, 1, 3), 0);
	add(p, 4);
	flush(p, NOW + 2);
	assert_true(has(p, 4));

	/* Until it is told for how long, it does nothing. */
	stop(p);
	start(p, MAP_SIZE);
	sent_memory_free(&p->memory);
	p->memory = sent_memory_new(p->store);
	assert_false(has(p, 4));
	sent_memory_keep_for(p->memory, HOUR);
	assert_true(has(p, 4));
}

static void
test_another_time(void **state)
{
	struct place *p = *state;

	add(p, 1);
	flush(p, NOW);
	sent_memory_keep_for(p->memory, 10 * HOUR);
	flush(p, NOW + 10 * HOUR - 1);
	assert_int_equal(store_count(p->store, STORE_SENT_B), 0);
	assert_true(has(p, 1));
	sent_memory_keep_for(p->memory, 60);
	flush(p, NOW + 10 * HOUR);
	assert_false(has(p, 1));
}

static void
test_pending_bound(void **state)
{
	struct place *p = *state;

	for (unsigned i = 0; i < SENT_PENDING_MAX + 5; i++)
		add(p, i);
	assert_int_equal(count_known(p, 0, SENT_PENDING_MAX), SENT_PENDING_MAX);
	assert_int_equal(count_known(p, SENT_PENDING_MAX, 5), 0);
	/* In more than one transaction. */
	flush(p, NOW);
	assert_int_equal(on_disk(p), SENT_PENDING_MAX + 1);
	assert_int_equal(count_known(p, 0, SENT_PENDING_MAX), SENT_PENDING_MAX);
	add(p, SENT_PENDING_MAX);
	assert_true(has(p, SENT_PENDING_MAX));
}

static void
test_records_bound(void **state)
{
	enum { EACH = SENT_PENDING_MAX };
	struct place *p = *state;
	unsigned n = 0;

	stop(p);
	start(p, 4 * (size_t)MAP_SIZE);
	while (store_count(p->store, STORE_SENT_B) == 0) {
		for (unsigned i = 0; i < EACH; i++)
			add(p, n++);
		flush(p, NOW);
		assert_in_range(n, 1, SENT_RECORDS_MAX + 2 * EACH);
	}
	assert_in_range(store_count(p->store, STORE_SENT_A), SENT_RECORDS_MAX,
			SENT_RECORDS_MAX + EACH);
	assert_true(has(p, 0));
	assert_true(has(p, n - 1));
}

/* What cannot be read is as if it were not there. */
static void
test_unreadable_turn(void **state)
{
	static const uint8_t ahead[25] = { 1,	 0xfe, 0xff, 0xff, 0xff,
					   0xff, 0xff, 0xff, 0xff };
	static const struct {
		const char *name;
		enum store_table table;
		size_t len;
		uint8_t version;
	} rows[] = {
		{ "empty", STORE_SENT_A, 0, 1 },
		{ "cut", STORE_SENT_A, 24, 1 },
		{ "another version", STORE_SENT_A, 25, 2 },
		{ "of the other table", STORE_SENT_A, 25, 1 },
		{ "in the other table", STORE_SENT_B, 25, 2 },
	};
	struct place *p = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t value[25];
		const struct store_write w = { rows[i].table, "turn", 4, value,
					       rows[i].len };

		memcpy(value, ahead, sizeof(value));
		value[0] = rows[i].version;
		assert_int_equal(store_empty(p->store, STORE_SENT_A), 0);
		assert_int_equal(store_empty(p->store, STORE_SENT_B), 0);
		assert_int_equal(store_write(p->store, &w, 1), 0);
		restart(p);
		add(p, 1);
		flush(p, NOW);
		add(p, 2);
		flush(p, NOW + HOUR - 1);
		flush(p, NOW + HOUR);
		if (!has(p, 1))
			fail_msg("row %s: lost", rows[i].name);
		flush(p, NOW + 2 * HOUR);
		if (has(p, 1))
			fail_msg("row %s: kept", rows[i].name);
	}
}

/* What others leave of the map is enough for nothing. */
static void
fill(struct place *p, uint32_t *n)
{
	static char value[16384];
	struct store_write w = { STORE_KEYS, n, sizeof(*n), value, 0 };

	for (w.len = sizeof(value); w.len > 0; w.len /= 4) {
		while (store_write(p->store, &w, 1) == 0)
			++*n;
	}
}

static void
test_disk_full(void **state)
{
	struct place *p = *state;
	uint32_t n = 0;

	stop(p);
	start(p, 1024 * 1024);
	add(p, 1);
	flush(p, NOW);
	fill(p, &n);
	for (unsigned i = 2; i < 1000; i++)
		add(p, i);
	assert_int_equal(sent_memory_flush(p->memory, NOW + 1), -1);
	assert_int_equal(sent_memory_flush(p->memory, NOW + 2), -1);
	/* What was pending stays, and is written when there is room. */
	assert_int_equal(count_known(p, 2, 998), 998);
	assert_int_equal(store_empty(p->store, STORE_KEYS), 0);
	add(p, 1000);
	flush(p, NOW + 3);
	assert_int_equal(count_known(p, 2, 999), 999);
	stop(p);
	start(p, 1024 * 1024);
	assert_int_equal(count_known(p, 2, 999), 999);
}

/* In a map that it fills itself, the oldest goes, and the newest is there. */
static void
test_own_room(void **state)
{
	enum { EACH = 1000, ROUNDS = 60 };
	struct place *p = *state;
	unsigned n = 0, failed = 0;

	stop(p);
	start(p, 1024 * 1024);
	for (int round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < EACH; i++)
			add(p, n++);
		if (sent_memory_flush(p->memory, NOW + round) == 0)
			failed = 0;
		else
			assert_int_equal(++failed, 1);
		assert_int_equal(count_known(p, n - EACH, EACH), EACH);
	}
	assert_false(has(p, 0));
}

#define THREADS 6
#define KEYS 2000

struct shared {
	struct place *p;
	atomic_uint started, lost;
	atomic_bool done;
};

static void *
add_in_thread(void *arg)
{
	struct shared *s = arg;
	unsigned first = atomic_fetch_add(&s->started, 1) * KEYS;

	for (unsigned i = 0; i < KEYS; i++) {
		add(s->p, first + i);
		if (!has(s->p, first + i) || !has(s->p, first + i / 2) ||
		    has(s->p, first + KEYS * THREADS))
			atomic_fetch_add(&s->lost, 1);
	}
	return NULL;
}

/* Two flush, and tables change meanwhile, when nothing is too old. */
static void *
flush_in_thread(void *arg)
{
	struct shared *s = arg;

	for (int64_t now = NOW; !atomic_load(&s->done); now++)
		(void)sent_memory_flush(s->p->memory, now < NOW + HOUR - 10
							  ? now
							  : NOW + HOUR - 10);
	return NULL;
}

static void
test_threads(void **state)
{
	struct shared s = { .p = *state };
	pthread_t adders[THREADS], flushers[2];

	flush(s.p, NOW - 10);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
		    pthread_create(&flushers[i], NULL, flush_in_thread, &s), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&adders[i], NULL, add_in_thread, &s), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(adders[i], NULL), 0);
	atomic_store(&s.done, true);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(flushers[i], NULL), 0);
	assert_int_equal(s.lost, 0);
	assert_int_equal(count_known(s.p, 0, KEYS * THREADS), KEYS * THREADS);
	flush(s.p, NOW + HOUR - 10);
	restart(s.p);
	assert_int_equal(count_known(s.p, 0, KEYS * THREADS), KEYS * THREADS);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		TEST(test_add_and_has),
		TEST(test_whole_key),
		TEST(test_expiry),
		TEST(test_every_minute),
		TEST(test_restart_forgets_what_is_pending),
		TEST(test_switched_off),
		TEST(test_another_time),
		TEST(test_pending_bound),
		TEST(test_records_bound),
		TEST(test_unreadable_turn),
		TEST(test_disk_full),
		TEST(test_own_room),
		TEST(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
