/* SPDX-License-Identifier: MIT */
#include "milter/key_cache.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "milter/store.h"
#include "policy/account.h"

#define MAP_SIZE (16 * 1024 * 1024)
#define NOW 1700000000
#define KEY "k3y-0f_an.account"
#define KEY_LEN (sizeof(KEY) - 1)
/* sha256("abc") begins ba7816bf 8f01cfea 4141. */
#define ABC_ID "xj4bnp4pahh6uqkb"

struct place {
	char dir[32];
	char secret[48];
	struct store *store;
	struct crypto_seal *seal;
	struct key_cache *cache;
};

static void
write_secret(const struct place *p, char letter)
{
	FILE *f = fopen(p->secret, "w");

	assert_non_null(f);
	for (int i = 0; i < CRYPTO_SECRET_MIN; i++)
		fputc(letter, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(p->secret, 0600), 0);
}

static void
start_small(struct place *p, size_t map_size, size_t max_entries)
{
	const char *error;
	char *text;

	p->store = store_open(p->dir, map_size, &text);
	assert_non_null(p->store);
	p->seal = crypto_seal_open(p->secret, &error);
	assert_non_null(p->seal);
	p->cache = key_cache_new(p->store, p->seal, max_entries);
}

static void
start(struct place *p, size_t max_entries)
{
	start_small(p, MAP_SIZE, max_entries);
}

static void
stop(struct place *p)
{
	key_cache_free(&p->cache);
	assert_null(p->cache);
	crypto_seal_free(&p->seal);
	store_close(&p->store);
}

static void
restart(struct place *p, size_t max_entries)
{
	stop(p);
	start(p, max_entries);
}

static int
set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->dir, "/tmp/test_key_cache.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->secret, sizeof(p->secret), "%s/secret", p->dir);
	write_secret(p, 's');
	start(p, 1000);
	*state = p;
	return 0;
}

static int
tear_down(void **state)
{
	static const char *const files[] = { "secret", "txmilter.mdb",
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

static struct account *
make_account(const char *id, unsigned routes)
{
	struct account *a = account_new(id);

	for (unsigned i = 0; i < routes; i++) {
		char name[24];

		snprintf(name, sizeof(name), "route-%u", i);
		assert_true(account_add_route(a, name, i % 2 ? "" : "Main"));
	}
	return a;
}

static void
put(const struct place *p, const char *key, const char *account, int64_t now)
{
	struct account *a = make_account(account, 2);

	key_cache_put(p->cache, key, strlen(key), a, now);
	account_free(&a);
}

static void
put_wrong(const struct place *p, const char *key, int64_t now)
{
	key_cache_put_wrong(p->cache, key, strlen(key), now);
}

static void
drop(const struct place *p, const char *key)
{
	char id[KEY_ID_LEN + 1];

	key_id_of(key, strlen(key), id);
	key_cache_drop(p->cache, id);
}

/* What is known of the key, by the key and by its id: "account", "WRONG" or
 * "-". */
static const char *
known(const struct place *p, const char *key)
{
	static char text[ACCOUNT_ID_MAX + 1];
	struct key_record r, s;
	char id[KEY_ID_LEN + 1];
	bool found = key_cache_get(p->cache, key, strlen(key), &r);

	key_id_of(key, strlen(key), id);
	assert_int_equal(key_cache_get_by_id(p->cache, id, &s), found);
	snprintf(text, sizeof(text), "%s",
		 !found	   ? "-"
		 : r.wrong ? "WRONG"
			   : r.account->id);
	if (found) {
		assert_int_equal(r.wrong, s.wrong);
		assert_int_equal(r.checked, s.checked);
		assert_string_equal(r.key_id, id);
		assert_string_equal(s.key_id, id);
		assert_memory_equal(r.hash, s.hash, sizeof(r.hash));
		assert_string_equal(r.key, r.wrong ? "" : key);
		assert_string_equal(s.key, r.wrong ? "" : key);
	}
	key_record_clear(&r);
	key_record_clear(&s);
	return text;
}

static int64_t
checked(const struct place *p, const char *key)
{
	struct key_record r;
	int64_t when;

	assert_true(key_cache_get(p->cache, key, strlen(key), &r));
	when = r.checked;
	key_record_clear(&r);
	return when;
}

/* Behind the cache's back. */
static void
write_record(const struct place *p, const char *key, const void *value,
	     size_t len)
{
	uint8_t hash[CRYPTO_HASH_LEN];
	const struct store_write w = { STORE_KEYS, hash, sizeof(hash), value,
				       len };

	crypto_hash(key, strlen(key), hash);
	assert_int_equal(store_write(p->store, &w, 1), 0);
}

static char *
read_record(const struct place *p, const char *key, size_t *len_r)
{
	uint8_t hash[CRYPTO_HASH_LEN];
	char *value;

	crypto_hash(key, strlen(key), hash);
	if (store_get(p->store, STORE_KEYS, hash, sizeof(hash), &value,
		      len_r) != 1)
		return NULL;
	return value;
}

static bool
all(void *arg, const void *value, size_t len)
{
	(void)arg;
	(void)value;
	(void)len;
	return true;
}

/* From now on only memory answers. */
static void
empty_disk(const struct place *p)
{
	assert_true(store_sweep(p->store, STORE_KEYS, all, NULL, 100000) >= 0);
	assert_int_equal(store_count(p->store, STORE_KEYS), 0);
}

static size_t
entries(const struct place *p)
{
	struct key_cache_state s;

	key_cache_state(p->cache, &s);
	return s.entries;
}

static void
test_plausible(void **state)
{
	static char longest[KEY_MAX + 1];
	static const struct {
		const char *name;
		const char *key;
		size_t len;
		bool plausible;
	} rows[] = {
		{ "one letter", "a", 1, true },
		{ "first and last", "!~", 2, true },
		{ "longest", longest, KEY_MAX, true },
		{ "empty", "", 0, false },
		{ "too long", longest, KEY_MAX + 1, false },
		{ "blank", "a b", 3, false },
		{ "tab", "a\tb", 3, false },
		{ "line break", "a\r\nX: y", 7, false },
		{ "NUL", "a\0b", 3, false },
		{ "DEL", "a\x7f", 2, false },
		{ "UTF-8", "k\xc3\xa9y", 4, false },
	};

	(void)state;
	memset(longest, 'k', sizeof(longest));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (key_is_plausible(rows[i].key, rows[i].len) !=
		    rows[i].plausible)
			fail_msg("row %s", rows[i].name);
	}
}

static void
test_key_id(void **state)
{
	static const struct {
		const char *id;
		bool valid;
	} rows[] = {
		{ ABC_ID, true },
		{ "aaaaaaaaaaaaaaaa", true },
		{ "7777777777777777", true },
		{ "", false },
		{ "aaaaaaaaaaaaaaa", false },
		{ "aaaaaaaaaaaaaaaaa", false },
		{ "aaaaaaaaaaaaaaa1", false },
		{ "Aaaaaaaaaaaaaaaa", false },
		{ "aaaaaaa=aaaaaaaa", false },
		{ "aaaaaaaaaaaaaa a", false },
	};
	char id[KEY_ID_LEN + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (key_id_is_valid(rows[i].id) != rows[i].valid)
			fail_msg("row \"%s\"", rows[i].id);
	}
	key_id_of("abc", 3, id);
	assert_string_equal(id, ABC_ID);
}

static void
test_put_and_get(void **state)
{
	struct place *p = *state;
	struct account *a = make_account("acme", 3);
	struct key_record r, again;

	a->dialect = strdup("flexmail");
	key_cache_put(p->cache, KEY, KEY_LEN, a, NOW);
	account_free(&a);

	assert_true(key_cache_get(p->cache, KEY, KEY_LEN, &r));
	assert_false(r.wrong);
	assert_int_equal(r.checked, NOW);
	assert_string_equal(r.key, KEY);
	assert_string_equal(r.account->id, "acme");
	assert_string_equal(r.account->dialect, "flexmail");
	assert_int_equal(r.account->n_routes, 3);
	assert_string_equal(r.account->routes[2].id, "route-2");
	assert_string_equal(r.account->routes[2].name, "Main");

	/* Whoever holds a record keeps it, whatever becomes of the key. */
	assert_true(key_cache_get_by_id(p->cache, r.key_id, &again));
	assert_string_equal(again.key, KEY);
	key_cache_drop(p->cache, r.key_id);
	key_record_clear(&r);
	assert_null(r.account);
	assert_string_equal(r.key, "");
	assert_string_equal(again.account->routes[2].id, "route-2");
	key_record_clear(&again);
	key_record_clear(&again);
}

static void
test_not_there(void **state)
{
	static const struct {
		const char *key;
		const char *id;
	} rows[] = {
		{ "unknown", ABC_ID },
		{ "", "" },
		{ "not plausible", "not-an-id" },
	};
	struct place *p = *state;
	struct key_cache_state s;

	put(p, KEY, "acme", NOW);
	put(p, "not plausible", "acme", NOW);
	put_wrong(p, "nor this", NOW);
	drop(p, "unknown");
	key_cache_drop(p->cache, "not-an-id");
	assert_int_equal(entries(p), 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct key_record r;

		memset(&r, 'x', sizeof(r));
		assert_false(key_cache_get(p->cache, rows[i].key,
					   strlen(rows[i].key), &r));
		assert_null(r.account);
		key_record_clear(&r);
		memset(&r, 'x', sizeof(r));
		assert_false(key_cache_get_by_id(p->cache, rows[i].id, &r));
		assert_null(r.account);
		key_record_clear(&r);
	}
	known(p, KEY);
	key_cache_state(p->cache, &s);
	assert_int_equal(s.hits, 2);
	assert_int_equal(s.misses, 2);
}

static void
test_restart(void **state)
{
	struct place *p = *state;

	put(p, KEY, "acme", NOW);
	assert_int_equal(key_cache_flush(p->cache), 1);
	assert_int_equal(key_cache_flush(p->cache), 0);
	put(p, "other", "not-flushed", NOW);
	restart(p, 1000);
	assert_int_equal(entries(p), 0);
	assert_string_equal(known(p, KEY), "acme");
	assert_int_equal(checked(p, KEY), NOW);
	assert_string_equal(known(p, "other"), "-");
	assert_int_equal(entries(p), 1);
	/* By id alone, from disk. */
	restart(p, 1000);
	{
		struct key_record r;
		char id[KEY_ID_LEN + 1];

		key_id_of(KEY, KEY_LEN, id);
		assert_true(key_cache_get_by_id(p->cache, id, &r));
		assert_string_equal(r.key, KEY);
		assert_int_equal(r.account->n_routes, 2);
		key_record_clear(&r);
	}
	assert_int_equal(key_cache_flush(p->cache), 0);
}

static void
test_put_again(void **state)
{
	struct place *p = *state;

	put(p, KEY, "acme", NOW);
	key_cache_flush(p->cache);
	/* The same account: the time is new, on disk as well. */
	put(p, KEY, "acme", NOW + 60);
	assert_int_equal(checked(p, KEY), NOW + 60);
	assert_int_equal(key_cache_flush(p->cache), 1);
	restart(p, 1000);
	assert_int_equal(checked(p, KEY), NOW + 60);
	/* Another account. */
	put(p, KEY, "other", NOW + 120);
	assert_string_equal(known(p, KEY), "other");
	assert_int_equal(key_cache_flush(p->cache), 1);
	restart(p, 1000);
	assert_string_equal(known(p, KEY), "other");
}

/* Each differs from what was known in one thing only. */
static void
test_account_changes(void **state)
{
	enum { SAME, MORE_ROUTES, DIALECT, ROUTE_NAME, ROUTE_ID, ID, CHANGES };
	struct place *p = *state;
	struct account *plain = make_account("acme", 2);

	for (int change = SAME; change < CHANGES; change++) {
		struct account *a = account_copy(plain);
		struct key_record r;

		if (change == MORE_ROUTES)
			assert_true(account_add_route(a, "more", ""));
		if (change == DIALECT)
			a->dialect = strdup("flexmail");
		if (change == ROUTE_NAME)
			a->routes[0].name[0] = 'm';
		if (change == ROUTE_ID)
			a->routes[1].id[0] = 'R';
		if (change == ID)
			a->id[0] = 'A';
		key_cache_put(p->cache, KEY, KEY_LEN, plain, NOW);
		key_cache_put(p->cache, KEY, KEY_LEN, a, NOW);
		assert_true(key_cache_get(p->cache, KEY, KEY_LEN, &r));
		assert_string_equal(r.account->id, a->id);
		assert_int_equal(r.account->n_routes, a->n_routes);
		assert_string_equal(r.account->routes[1].id, a->routes[1].id);
		assert_string_equal(r.account->routes[0].name,
				    a->routes[0].name);
		assert_int_equal(r.account->dialect != NULL, change == DIALECT);
		key_record_clear(&r);
		account_free(&a);
	}
	account_free(&plain);
}

static void
test_wrong(void **state)
{
	struct place *p = *state;

	/* Never good: nothing for the disk to do. */
	put_wrong(p, "guess", NOW);
	assert_string_equal(known(p, "guess"), "WRONG");
	assert_int_equal(checked(p, "guess"), NOW);
	put_wrong(p, "guess", NOW + 1);
	assert_int_equal(checked(p, "guess"), NOW + 1);
	assert_int_equal(key_cache_flush(p->cache), 0);

	/* Good, and on disk: wrong at once, and on disk at the flush. */
	put(p, KEY, "acme", NOW);
	key_cache_flush(p->cache);
	put_wrong(p, KEY, NOW + 1);
	assert_string_equal(known(p, KEY), "WRONG");
	assert_int_equal(store_count(p->store, STORE_KEYS), 1);
	assert_int_equal(key_cache_flush(p->cache), 1);
	assert_int_equal(store_count(p->store, STORE_KEYS), 0);
	assert_string_equal(known(p, KEY), "WRONG");
	assert_int_equal(key_cache_flush(p->cache), 0);
	restart(p, 1000);
	assert_string_equal(known(p, KEY), "-");
	assert_string_equal(known(p, "guess"), "-");

	/* Good on disk, not in memory. */
	put(p, KEY, "acme", NOW);
	key_cache_flush(p->cache);
	restart(p, 1000);
	put_wrong(p, KEY, NOW + 1);
	assert_string_equal(known(p, KEY), "WRONG");
	assert_int_equal(key_cache_flush(p->cache), 1);
	assert_int_equal(store_count(p->store, STORE_KEYS), 0);

	/* And good again. */
	put(p, KEY, "acme", NOW + 2);
	assert_string_equal(known(p, KEY), "acme");
	put_wrong(p, KEY, NOW + 3);
	put(p, KEY, "acme", NOW + 4);
	key_cache_flush(p->cache);
	restart(p, 1000);
	assert_string_equal(known(p, KEY), "acme");
}

static void
test_drop(void **state)
{
	struct place *p = *state;

	put(p, KEY, "acme", NOW);
	key_cache_flush(p->cache);
	drop(p, KEY);
	/* Disk still has it, and nobody sees it. */
	assert_int_equal(store_count(p->store, STORE_KEYS), 1);
	assert_string_equal(known(p, KEY), "-");
	drop(p, KEY);
	assert_int_equal(key_cache_flush(p->cache), 1);
	assert_int_equal(store_count(p->store, STORE_KEYS), 0);
	assert_string_equal(known(p, KEY), "-");
	assert_int_equal(entries(p), 0);

	/* On disk only. */
	put(p, KEY, "acme", NOW);
	key_cache_flush(p->cache);
	restart(p, 1000);
	drop(p, KEY);
	assert_string_equal(known(p, KEY), "-");
	assert_int_equal(key_cache_flush(p->cache), 1);
	restart(p, 1000);
	assert_string_equal(known(p, KEY), "-");

	/* Not on disk yet. */
	put(p, KEY, "acme", NOW);
	drop(p, KEY);
	assert_string_equal(known(p, KEY), "-");
	key_cache_flush(p->cache);
	assert_int_equal(store_count(p->store, STORE_KEYS), 0);

	/* Back before the tombstone was flushed. */
	put(p, KEY, "acme", NOW);
	key_cache_flush(p->cache);
	drop(p, KEY);
	put(p, KEY, "again", NOW);
	assert_string_equal(known(p, KEY), "again");
	key_cache_flush(p->cache);
	restart(p, 1000);
	assert_string_equal(known(p, KEY), "again");

	/* Wrong ones: forgotten, with or without a record on disk. */
	put_wrong(p, KEY, NOW);
	drop(p, KEY);
	put_wrong(p, "guess", NOW);
	drop(p, "guess");
	assert_string_equal(known(p, KEY), "-");
	assert_string_equal(known(p, "guess"), "-");
	key_cache_flush(p->cache);
	assert_int_equal(entries(p), 0);
	assert_int_equal(store_count(p->store, STORE_KEYS), 0);
}

static const char *
numbered(const char *what, unsigned n)
{
	static char key[32];

	snprintf(key, sizeof(key), "%s-%u", what, n);
	return key;
}

/* When it was checked; -1: not there. */
static int64_t
checked_at(struct place *p, const char *key)
{
	struct key_record r;
	bool found = key_cache_get(p->cache, key, strlen(key), &r);
	int64_t when = found ? r.checked : -1;

	key_record_clear(&r);
	return when;
}

/* Good keys in memory are left to be asked about again; the rest goes, and
 * what comes later is kept. */
static void
test_expire_all(void **state)
{
	struct place *p = *state;

	put(p, "on-disk", "acme", NOW);
	key_cache_flush(p->cache);
	restart(p, 1000);
	put(p, "flushed", "acme", NOW);
	put(p, "dropped", "acme", NOW);
	key_cache_flush(p->cache);
	drop(p, "dropped");
	put(p, "to-write", "acme", NOW);
	put_wrong(p, "wrong", NOW);
	assert_int_equal(key_cache_expire_all(p->cache), 0);
	assert_int_equal(store_count(p->store, STORE_KEYS), 0);
	assert_int_equal(checked_at(p, "on-disk"), -1);
	assert_int_equal(checked_at(p, "dropped"), -1);
	assert_int_equal(checked_at(p, "wrong"), -1);
	assert_int_equal(checked_at(p, "flushed"), 0);
	assert_int_equal(checked_at(p, "to-write"), 0);
	put(p, "flushed", "again", NOW);
	assert_int_equal(key_cache_flush(p->cache), 2);
	restart(p, 1000);
	assert_string_equal(known(p, "flushed"), "again");
	assert_int_equal(checked_at(p, "flushed"), NOW);
	assert_int_equal(checked_at(p, "to-write"), 0);
	assert_string_equal(known(p, "on-disk"), "-");
}

static void
expire(struct place *p, const char *key)
{
	char id[KEY_ID_LEN + 1];

	key_id_of(key, strlen(key), id);
	key_cache_expire(p->cache, id);
}

static void
test_expire(void **state)
{
	struct place *p = *state;

	put(p, "on-disk", "acme", NOW);
	key_cache_flush(p->cache);
	restart(p, 1000);
	put(p, "good", "acme", NOW);
	put(p, "other", "acme", NOW);
	put_wrong(p, "wrong", NOW);
	expire(p, "on-disk");
	expire(p, "good");
	expire(p, "wrong");
	expire(p, "nobody's");
	key_cache_expire(p->cache, "not-an-id");
	assert_int_equal(checked_at(p, "on-disk"), -1);
	assert_int_equal(checked_at(p, "good"), 0);
	assert_int_equal(checked_at(p, "wrong"), -1);
	assert_int_equal(checked_at(p, "other"), NOW);
}

static void
test_least_recently_used(void **state)
{
	struct place *p = *state;

	restart(p, 16);
	for (unsigned i = 0; i < 40; i++) {
		put(p, numbered("key", i), "acme", NOW);
		if (i % 10 == 9)
			key_cache_flush(p->cache);
		assert_true(entries(p) <= 16);
	}
	/* What left memory is found on disk. */
	for (unsigned i = 0; i < 40; i++)
		assert_string_equal(known(p, numbered("key", i)), "acme");
	assert_int_equal(entries(p), 16);

	/* 24 to 39 are in memory; 24 is used, so that 25 leaves. */
	known(p, numbered("key", 24));
	put(p, numbered("key", 40), "acme", NOW);
	key_cache_flush(p->cache);
	empty_disk(p);
	for (unsigned i = 20; i <= 40; i++) {
		bool there = i == 24 || i > 25;

		if ((*known(p, numbered("key", i)) != '-') != there)
			fail_msg("key-%u", i);
	}
}

static void
test_flood_of_wrong_keys(void **state)
{
	struct place *p = *state;
	unsigned good = 0, wrong = 0;

	restart(p, 100);
	for (unsigned i = 0; i < 100; i++)
		put(p, numbered("key", i), "acme", NOW);
	key_cache_flush(p->cache);
	for (unsigned i = 0; i < 5000; i++)
		put_wrong(p, numbered("guess", i), NOW);
	assert_int_equal(entries(p), 100);
	empty_disk(p);
	for (unsigned i = 0; i < 100; i++)
		good += *known(p, numbered("key", i)) != '-';
	for (unsigned i = 0; i < 5000; i++)
		wrong += *known(p, numbered("guess", i)) != '-';
	assert_int_equal(good, 75);
	assert_int_equal(wrong, 25);
	assert_string_equal(known(p, numbered("guess", 4999)), "WRONG");
}

/* Wrong keys that disk knows come over their share only until the flush. */
static void
test_many_revoked(void **state)
{
	struct place *p = *state;

	restart(p, 20);
	for (unsigned i = 0; i < 60; i++)
		put(p, numbered("key", i), "acme", NOW);
	put(p, KEY, "kept", NOW);
	key_cache_flush(p->cache);
	assert_int_equal(store_count(p->store, STORE_KEYS), 20);
	for (unsigned i = 0; i < 60; i++) {
		put(p, numbered("key", i), "acme", NOW);
		key_cache_flush(p->cache);
	}
	for (unsigned i = 0; i < 60; i++)
		put_wrong(p, numbered("key", i), NOW);
	for (unsigned i = 0; i < 60; i++)
		assert_string_equal(known(p, numbered("key", i)), "WRONG");
	assert_string_equal(known(p, KEY), "kept");
	assert_int_equal(key_cache_flush(p->cache), 60);
	assert_int_equal(store_count(p->store, STORE_KEYS), 1);
	assert_int_equal(entries(p), 6);
	assert_string_equal(known(p, KEY), "kept");
}

static void
test_batches(void **state)
{
	struct place *p = *state;
	struct account *large = make_account("large", ACCOUNT_ROUTES_MAX);
	struct key_record r;

	restart(p, 5000);
	for (unsigned i = 0; i < 1201; i++)
		put(p, numbered("key", i), "acme", NOW);
	for (unsigned i = 0; i < 25; i++)
		key_cache_put(p->cache, numbered("large", i),
			      strlen(numbered("large", i)), large, NOW);
	assert_int_equal(key_cache_flush(p->cache), 1226);
	assert_int_equal(store_count(p->store, STORE_KEYS), 1226);
	restart(p, 5000);
	assert_true(key_cache_get(p->cache, "large-24", 8, &r));
	assert_int_equal(r.account->n_routes, ACCOUNT_ROUTES_MAX);
	assert_string_equal(r.account->routes[ACCOUNT_ROUTES_MAX - 1].id,
			    "route-999");
	key_record_clear(&r);
	assert_string_equal(known(p, "key-1200"), "acme");
	account_free(&large);
}

static void
fill_disk(struct store *s)
{
	static char value[16384];
	uint32_t n = 0;
	struct store_write w = { STORE_SENT_A, &n, sizeof(n), value, 0 };

	for (w.len = sizeof(value); w.len > 0; w.len /= 4) {
		while (store_write(s, &w, 1) == 0)
			n++;
	}
}

static void
test_disk_full(void **state)
{
	struct place *p = *state;

	stop(p);
	start_small(p, 1024 * 1024, 16);
	put(p, KEY, "acme", NOW);
	put(p, "kept", "acme", NOW);
	assert_int_equal(key_cache_flush(p->cache), 2);
	fill_disk(p->store);

	/* Memory stays bounded though nothing can be written. */
	for (unsigned i = 0; i < 40; i++)
		put(p, numbered("key", i), "acme", NOW);
	assert_int_equal(entries(p), 16);
	assert_string_equal(known(p, "key-39"), "acme");
	assert_string_equal(known(p, "key-1"), "-");

	/* Revoking gets through. */
	drop(p, KEY);
	assert_int_equal(key_cache_flush(p->cache), 1);
	assert_null(read_record(p, KEY, &(size_t){ 0 }));
	assert_string_equal(known(p, KEY), "-");
	assert_string_equal(known(p, "kept"), "acme");

	/* What could not be written is written later. */
	while (store_sweep(p->store, STORE_SENT_A, all, NULL, 100) > 0)
		;
	assert_true(key_cache_flush(p->cache) >= 14);
	restart(p, 16);
	assert_string_equal(known(p, "key-39"), "acme");
}

/* Standard error into a file, to count log lines. */
static int
catch_stderr(const struct place *p)
{
	char path[64];
	int saved = dup(STDERR_FILENO), fd;

	snprintf(path, sizeof(path), "%s/log", p->dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(saved >= 0 && fd >= 0);
	assert_true(dup2(fd, STDERR_FILENO) >= 0);
	close(fd);
	unlink(path);
	return saved;
}

/* How many lines hold the text. */
static unsigned
release_stderr(int saved, const char *text)
{
	static char log[65536];
	ssize_t len = pread(STDERR_FILENO, log, sizeof(log) - 1, 0);
	unsigned n = 0;

	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	assert_true(len >= 0);
	log[len] = '\0';
	for (const char *at = log; (at = strstr(at, text)) != NULL; at++)
		n++;
	return n;
}

static void
test_other_secret(void **state)
{
	struct place *p = *state;
	int saved;

	for (unsigned i = 0; i < 10; i++)
		put(p, numbered("key", i), "acme", NOW);
	key_cache_flush(p->cache);
	stop(p);
	write_secret(p, 'o');
	start(p, 1000);

	saved = catch_stderr(p);
	for (unsigned i = 0; i < 10; i++)
		assert_string_equal(known(p, numbered("key", i)), "-");
	assert_int_equal(release_stderr(saved, "secret_file"), 1);

	/* It goes on with what it is told now. */
	put(p, "key-3", "acme", NOW);
	put_wrong(p, "key-4", NOW);
	drop(p, "key-5");
	assert_string_equal(known(p, "key-3"), "acme");
	assert_int_equal(key_cache_flush(p->cache), 3);
	assert_int_equal(store_count(p->store, STORE_KEYS), 8);
	restart(p, 1000);
	assert_string_equal(known(p, "key-3"), "acme");
	assert_string_equal(known(p, "key-4"), "-");
}

/* Offsets of a record: version 0, time 1, length of the sealed key 9, sealed
 * key 11. */
static void
test_unreadable_records(void **state)
{
	enum { KEEP, CUT, SET, FLIP };
	static const struct {
		const char *name;
		int how;
		size_t at;
		uint8_t value;
		const char *known;
	} rows[] = {
		{ "as written", KEEP, 0, 0, "acme" },
		{ "empty", CUT, 0, 0, "-" },
		{ "version only", CUT, 1, 0, "-" },
		{ "half a head", CUT, 10, 0, "-" },
		{ "head only", CUT, 11, 0, "-" },
		{ "half a sealed key", CUT, 30, 0, "-" },
		{ "no account", CUT, 11 + KEY_LEN + CRYPTO_SEAL_OVERHEAD, 0,
		  "-" },
		{ "half an account", CUT,
		  11 + KEY_LEN + CRYPTO_SEAL_OVERHEAD + 20, 0, "-" },
		{ "another version", SET, 0, 2, "-" },
		{ "no sealed key", SET, 9, 0, "-" },
		{ "an empty sealed key", SET, 9, CRYPTO_SEAL_OVERHEAD, "-" },
		{ "a sealed key too long", SET, 10, 0xff, "-" },
		{ "nonce changed", FLIP, 11, 0, "-" },
		{ "key changed", FLIP, 24, 0, "-" },
	};
	struct place *p = *state;
	size_t len;
	char *good;

	put(p, KEY, "acme", NOW);
	key_cache_flush(p->cache);
	good = read_record(p, KEY, &len);
	assert_non_null(good);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t at = rows[i].at;
		char *bad = malloc(len);

		assert_non_null(bad);
		memcpy(bad, good, len);
		if (rows[i].how == SET)
			bad[at] = (char)rows[i].value;
		if (rows[i].how == FLIP)
			bad[at] ^= 1;
		write_record(p, KEY, bad, rows[i].how == CUT ? at : len);
		free(bad);
		restart(p, 1000);
		if (strcmp(known(p, KEY), rows[i].known) != 0)
			fail_msg("row %s", rows[i].name);
	}
	/* A good record in the place of another. */
	write_record(p, "other", good, len);
	assert_string_equal(known(p, "other"), "-");
	free(good);
}

static void
test_sweep(void **state)
{
	struct place *p = *state;

	put(p, "old", "acme", NOW - 100);
	put(p, "new", "acme", NOW);
	put(p, "renewed", "acme", NOW - 100);
	key_cache_flush(p->cache);
	put(p, "renewed", "acme", NOW);
	put_wrong(p, "old-guess", NOW - 100);
	put_wrong(p, "new-guess", NOW);
	write_record(p, "unreadable", "?", 1);

	key_cache_sweep(p->cache, NOW - 100);
	assert_int_equal(entries(p), 5);
	assert_int_equal(store_count(p->store, STORE_KEYS), 3);
	key_cache_sweep(p->cache, NOW - 99);
	assert_int_equal(entries(p), 3);
	assert_int_equal(store_count(p->store, STORE_KEYS), 1);
	assert_string_equal(known(p, "old"), "-");
	assert_string_equal(known(p, "new"), "acme");
	assert_string_equal(known(p, "renewed"), "acme");
	assert_string_equal(known(p, "old-guess"), "-");
	assert_string_equal(known(p, "new-guess"), "WRONG");
	key_cache_flush(p->cache);
	restart(p, 1000);
	assert_string_equal(known(p, "renewed"), "acme");

	/* A large table is swept in turns, wholly. */
	restart(p, 5000);
	for (unsigned i = 0; i < 3000; i++)
		put_wrong(p, numbered("guess", i), NOW - 100);
	key_cache_sweep(p->cache, NOW);
	assert_true(entries(p) > 0);
	for (unsigned i = 0; i < 16; i++)
		key_cache_sweep(p->cache, NOW);
	assert_int_equal(entries(p), 0);
}

struct shared {
	const struct place *p;
	atomic_uint failed;
	atomic_uint next;
};

static const char *
account_of(unsigned n)
{
	static const char *const ids[] = { "zero", "one", "two", "three" };

	return ids[n % 4];
}

/* Whatever is found must belong together. */
static void
check(struct shared *s, const struct key_record *r, unsigned n, const char *key)
{
	bool good = r->wrong ? r->account == NULL && r->key[0] == '\0'
			     : strcmp(r->account->id, account_of(n)) == 0 &&
				   r->account->n_routes == 2 &&
				   strcmp(r->key, key) == 0;

	if (!good)
		atomic_fetch_add(&s->failed, 1);
}

static void
look(struct shared *s, unsigned n, const char *key)
{
	char id[KEY_ID_LEN + 1];
	struct key_record r;

	if (key_cache_get(s->p->cache, key, strlen(key), &r))
		check(s, &r, n, key);
	key_record_clear(&r);
	key_id_of(key, strlen(key), id);
	if (key_cache_get_by_id(s->p->cache, id, &r))
		check(s, &r, n, key);
	key_record_clear(&r);
}

static void *
use_all(void *arg)
{
	struct shared *s = arg;
	unsigned seed = atomic_fetch_add(&s->next, 1);
	char key[16];

	for (unsigned i = 0; i < 400; i++) {
		unsigned n = (seed * 7 + i * 13) % 40;

		snprintf(key, sizeof(key), "key-%u", n);
		look(s, n, key);
		if (i % 5 == seed % 5)
			put(s->p, key, account_of(n), NOW + i);
		if (i % 23 == seed)
			put_wrong(s->p, key, NOW + i);
		if (i % 31 == seed)
			drop(s->p, key);
		if (i % 100 == seed)
			key_cache_flush(s->p->cache);
		if (i % 100 == seed + 50)
			key_cache_sweep(s->p->cache, NOW + i - 50);
	}
	return NULL;
}

static void
test_threads(void **state)
{
	struct place *p = *state;
	struct shared s = { .p = p };
	pthread_t threads[8];

	/* Less memory than keys, so that disk is asked all the time. */
	restart(p, 16);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_all, &s),
				 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(s.failed, 0);
	for (unsigned i = 0; i < 40; i++)
		drop(p, numbered("key", i));
	key_cache_flush(p->cache);
	assert_int_equal(entries(p), 0);
	assert_int_equal(store_count(p->store, STORE_KEYS), 0);
}

/* A place where a thread waits until it is let go on. */
struct gate {
	struct store *store;
	unsigned looks;
	sem_t held, open;
};

static void
gate_init(struct gate *g, struct store *store)
{
	*g = (struct gate){ .store = store };
	assert_int_equal(sem_init(&g->held, 0, 0), 0);
	assert_int_equal(sem_init(&g->open, 0, 0), 0);
}

static void
gate_destroy(struct gate *g)
{
	sem_destroy(&g->held);
	sem_destroy(&g->open);
}

static void
gate_wait(struct gate *g)
{
	sem_post(&g->held);
	sem_wait(&g->open);
}

/* The gate where this thread waits when it has read the disk next. */
static _Thread_local struct gate *after_reading;

/* In the place of LMDB's: the store ends each read with it. */
void
mdb_txn_reset(MDB_txn *txn)
{
	union {
		void *object;
		void (*function)(MDB_txn *);
	} real = { dlsym(RTLD_NEXT, "mdb_txn_reset") };
	struct gate *g = after_reading;

	real.function(txn);
	after_reading = NULL;
	if (g != NULL)
		gate_wait(g);
}

/* g put, w put_wrong, d drop, f flush, m out of memory, l look. */
static void
act(const struct place *p, char what, const char *key, int64_t now)
{
	struct key_record r;

	switch (what) {
	case 'g':
		put(p, key, "acme", now);
		break;
	case 'w':
		put_wrong(p, key, now);
		break;
	case 'd':
		drop(p, key);
		break;
	case 'f':
		key_cache_flush(p->cache);
		break;
	case 'm':
		put(p, "other", "other", now);
		key_cache_flush(p->cache);
		break;
	case 'l':
		key_cache_get(p->cache, key, strlen(key), &r);
		key_record_clear(&r);
		break;
	}
}

static void
act_all(const struct place *p, const char *steps, int64_t now)
{
	for (; *steps != '\0'; steps++)
		act(p, *steps, KEY, now);
}

struct reader {
	const struct place *p;
	struct gate gate;
	char what;
};

static void *
read_slowly(void *arg)
{
	struct reader *r = arg;

	after_reading = &r->gate;
	act(r->p, r->what, KEY, NOW + 1);
	return NULL;
}

/* What was read from disk is not true any more when it comes to memory. */
static void
test_slow_reader(void **state)
{
	static const struct {
		const char *name;
		const char *before;
		char what; /* stops when it has read the disk */
		const char *meanwhile;
		const char *known;
		int64_t checked;
		size_t on_disk; /* beside the other one */
	} rows[] = {
		{ "nothing", "gfm", 'l', "", "acme", NOW, 1 },
		{ "dropped", "gfm", 'l', "d", "-", 0, 0 },
		{ "dropped on disk", "gfm", 'l', "df", "-", 0, 0 },
		{ "wrong", "gfm", 'l', "w", "WRONG", NOW + 2, 0 },
		{ "wrong and gone", "gfm", 'l', "wfd", "-", 0, 0 },
		{ "renewed", "gfm", 'l', "g", "acme", NOW + 2, 1 },
		{ "renewed on disk", "gfm", 'l', "gfm", "acme", NOW + 2, 1 },
		{ "read by others", "gfm", 'l', "l", "acme", NOW, 1 },
		{ "wrong, known", "gfm", 'w', "", "WRONG", NOW + 1, 0 },
		{ "wrong, unknown", "m", 'w', "", "WRONG", NOW + 1, 0 },
		{ "wrong, good before", "m", 'w', "g", "WRONG", NOW + 1, 0 },
		{ "wrong, on disk before", "m", 'w', "gfm", "WRONG", NOW + 1,
		  0 },
		{ "wrong, read before", "gfm", 'w', "l", "WRONG", NOW + 1, 0 },
		{ "drop", "gfm", 'd', "", "-", 0, 0 },
		{ "drop, read before", "gfm", 'd', "l", "-", 0, 0 },
		{ "drop, renewed before", "gfm", 'd', "gfm", "-", 0, 0 },
		{ "drop, wrong before", "gfm", 'd', "wf", "-", 0, 0 },
	};
	struct place *p = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct reader r = { .p = p, .what = rows[i].what };
		pthread_t thread;

		restart(p, 1);
		empty_disk(p);
		act_all(p, rows[i].before, NOW);
		gate_init(&r.gate, p->store);
		assert_int_equal(pthread_create(&thread, NULL, read_slowly, &r),
				 0);
		sem_wait(&r.gate.held);
		act_all(p, rows[i].meanwhile, NOW + 2);
		sem_post(&r.gate.open);
		assert_int_equal(pthread_join(thread, NULL), 0);
		gate_destroy(&r.gate);
		if (strcmp(known(p, KEY), rows[i].known) != 0)
			fail_msg("row %s: %s", rows[i].name, known(p, KEY));
		if (rows[i].checked != 0)
			assert_int_equal(checked(p, KEY), rows[i].checked);
		key_cache_flush(p->cache);
		if (store_count(p->store, STORE_KEYS) != 1 + rows[i].on_disk)
			fail_msg("row %s: on disk", rows[i].name);
		if (strcmp(known(p, KEY), rows[i].known) != 0)
			fail_msg("row %s: at the end", rows[i].name);
	}
}

/* The second look of a sweep happens in a write transaction. */
static bool
hold(void *arg, const void *value, size_t len)
{
	struct gate *g = arg;

	(void)value;
	(void)len;
	if (++g->looks == 2)
		gate_wait(g);
	return g->looks == 1;
}

static void *
keep_from_writing(void *arg)
{
	struct gate *g = arg;

	store_sweep(g->store, STORE_SENT_A, hold, g, 1);
	return NULL;
}

static void *
flush(void *arg)
{
	struct shared *s = arg;

	atomic_store(&s->next, (unsigned)gettid());
	key_cache_flush(s->p->cache);
	return NULL;
}

/* The thread says its number, and what it waits for next is the gate. */
static void
wait_until_asleep(struct shared *s)
{
	char path[64], line[256] = "";
	unsigned tid;

	while ((tid = atomic_load(&s->next)) == 0)
		sched_yield();
	snprintf(path, sizeof(path), "/proc/self/task/%u/stat", tid);
	while (strstr(line, ") S ") == NULL) {
		FILE *f = fopen(path, "r");

		assert_non_null(f);
		assert_non_null(fgets(line, sizeof(line), f));
		fclose(f);
	}
}

/* Does `what` while a flush is half-way. */
static void
act_during_flush(struct place *p, char what, const char *wanted)
{
	struct shared s = { .p = p };
	struct gate g;
	pthread_t holder, flusher;

	gate_init(&g, p->store);
	assert_int_equal(pthread_create(&holder, NULL, keep_from_writing, &g),
			 0);
	sem_wait(&g.held);
	assert_int_equal(pthread_create(&flusher, NULL, flush, &s), 0);
	wait_until_asleep(&s);
	act(p, what, KEY, NOW + 2);
	if (strcmp(known(p, KEY), wanted) != 0)
		fail_msg("during the flush: %s", known(p, KEY));
	sem_post(&g.open);
	assert_int_equal(pthread_join(holder, NULL), 0);
	assert_int_equal(pthread_join(flusher, NULL), 0);
	gate_destroy(&g);
}

static void
test_change_during_flush(void **state)
{
	static const struct {
		const char *name;
		const char *before;
		char during;
		const char *known;
		size_t on_disk;
	} rows[] = {
		{ "nothing", "g", '-', "acme", 1 },
		{ "good, renewed", "g", 'g', "acme", 1 },
		{ "good, becomes wrong", "g", 'w', "WRONG", 0 },
		{ "good, dropped", "g", 'd', "-", 0 },
		{ "wrong, becomes good", "gfw", 'g', "acme", 1 },
		{ "wrong again", "gfw", 'w', "WRONG", 0 },
		{ "wrong, dropped", "gfw", 'd', "-", 0 },
		{ "dropped, becomes good", "gfd", 'g', "acme", 1 },
		{ "dropped, becomes wrong", "gfd", 'w', "WRONG", 0 },
		{ "dropped twice", "gfd", 'd', "-", 0 },
	};
	struct place *p = *state;
	const struct store_write w = { STORE_SENT_A, "k", 1, "v", 1 };

	assert_int_equal(store_write(p->store, &w, 1), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("row %s\n", rows[i].name);
		restart(p, 10);
		empty_disk(p);
		act_all(p, rows[i].before, NOW);
		act_during_flush(p, rows[i].during, rows[i].known);
		assert_string_equal(known(p, KEY), rows[i].known);
		key_cache_flush(p->cache);
		assert_string_equal(known(p, KEY), rows[i].known);
		assert_int_equal(store_count(p->store, STORE_KEYS),
				 rows[i].on_disk);
		if (rows[i].during == 'g')
			assert_int_equal(checked(p, KEY), NOW + 2);
	}
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plausible),
		cmocka_unit_test(test_key_id),
		TEST(test_put_and_get),
		TEST(test_not_there),
		TEST(test_restart),
		TEST(test_put_again),
		TEST(test_account_changes),
		TEST(test_wrong),
		TEST(test_drop),
		TEST(test_expire_all),
		TEST(test_expire),
		TEST(test_least_recently_used),
		TEST(test_flood_of_wrong_keys),
		TEST(test_many_revoked),
		TEST(test_batches),
		TEST(test_disk_full),
		TEST(test_other_secret),
		TEST(test_unreadable_records),
		TEST(test_sweep),
		TEST(test_threads),
		TEST(test_slow_reader),
		TEST(test_change_during_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
