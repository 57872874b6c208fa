/* SPDX-License-Identifier: MIT */
#include "milter/store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#define MAP_SIZE (8 * 1024 * 1024)

struct place {
	char dir[32];
	char file[64];
	struct store *store;
};

static struct store *
open_store(const struct place *p, size_t map_size)
{
	char *error = NULL;
	struct store *s = store_open(p->dir, map_size, &error);

	if (s == NULL)
		fail_msg("%s", error);
	assert_null(error);
	return s;
}

static int
set_up_closed(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->dir, "/tmp/test_store.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->file, sizeof(p->file), "%s/txmilter.mdb", p->dir);
	*state = p;
	return 0;
}

static int
set_up(void **state)
{
	struct place *p;

	set_up_closed(state);
	p = *state;
	p->store = open_store(p, MAP_SIZE);
	return 0;
}

static int
tear_down(void **state)
{
	struct place *p = *state;
	char lock[80];

	store_close(&p->store);
	assert_null(p->store);
	snprintf(lock, sizeof(lock), "%s-lock", p->file);
	unlink(lock);
	unlink(p->file);
	assert_int_equal(rmdir(p->dir), 0);
	free(p);
	return 0;
}

static int
put(struct store *s, enum store_table t, const char *key, const void *value,
    size_t len)
{
	const struct store_write w = { t, key, strlen(key), value, len };

	return store_write(s, &w, 1);
}

static int
puts_text(struct store *s, const char *key, const char *value)
{
	return put(s, STORE_KEYS, key, value, value ? strlen(value) : 0);
}

/* What is there, as a string; "-" when nothing. */
static const char *
text_of(struct store *s, enum store_table t, const char *key)
{
	static char text[100];
	char *value = NULL;
	size_t len = 0;
	int rc = store_get(s, t, key, strlen(key), &value, &len);

	assert_in_range(rc, 0, 1);
	snprintf(text, sizeof(text), "%.*s", rc ? (int)len : 1,
		 rc ? value : "-");
	free(value);
	return text;
}

static bool
always(void *arg, const void *value, size_t len)
{
	(void)arg;
	(void)value;
	(void)len;
	return true;
}

static void
test_open_errors(void **state)
{
	struct place *p = *state;
	char *error = NULL;
	FILE *f;

	assert_null(store_open("/nonexistent", MAP_SIZE, &error));
	assert_string_equal(error, "/nonexistent/txmilter.mdb: No such file or "
				   "directory");
	free(error);

	f = fopen(p->file, "w");
	assert_non_null(f);
	for (int i = 0; i < 10000; i++)
		fputs("not a database\n", f);
	fclose(f);
	assert_null(store_open(p->dir, MAP_SIZE, &error));
	assert_non_null(strstr(error, "MDB_INVALID"));
	assert_non_null(strstr(error, p->file));
	free(error);
}

static void
test_file_mode(void **state)
{
	struct place *p = *state;
	mode_t old = umask(0);
	struct stat st;

	p->store = open_store(p, MAP_SIZE);
	umask(old);
	assert_int_equal(stat(p->file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void
test_write_and_read(void **state)
{
	struct place *p = *state;
	char *value;
	size_t len;

	assert_string_equal(text_of(p->store, STORE_KEYS, "a"), "-");
	assert_int_equal(puts_text(p->store, "a", "one"), 0);
	assert_string_equal(text_of(p->store, STORE_KEYS, "a"), "one");
	assert_int_equal(puts_text(p->store, "a", "two"), 0);
	assert_string_equal(text_of(p->store, STORE_KEYS, "a"), "two");
	assert_string_equal(text_of(p->store, STORE_SENT_A, "a"), "-");

	assert_int_equal(puts_text(p->store, "a", NULL), 0);
	assert_string_equal(text_of(p->store, STORE_KEYS, "a"), "-");
	assert_int_equal(puts_text(p->store, "a", NULL), 0);

	assert_int_equal(puts_text(p->store, "empty", ""), 0);
	assert_int_equal(
	    store_get(p->store, STORE_KEYS, "empty", 5, &value, &len), 1);
	assert_non_null(value);
	assert_int_equal(len, 0);
	free(value);

	assert_int_equal(put(p->store, STORE_KEYS, "nul", "a\0b", 3), 0);
	assert_int_equal(
	    store_get(p->store, STORE_KEYS, "nul", 3, &value, &len), 1);
	assert_int_equal(len, 3);
	assert_memory_equal(value, "a\0b", 3);
	free(value);
}

static void
test_limits(void **state)
{
	struct place *p = *state;
	static char big[STORE_VALUE_MAX + 1];
	static const char key[STORE_KEY_MAX + 1] = "k";
	const struct {
		const char *name;
		size_t key_len, len;
		int rc;
	} rows[] = {
		{ "no key", 0, 1, -1 },
		{ "longest key", STORE_KEY_MAX, 1, 0 },
		{ "key too long", STORE_KEY_MAX + 1, 1, -1 },
		{ "longest value", 1, STORE_VALUE_MAX, 0 },
		{ "value too long", 1, STORE_VALUE_MAX + 1, -1 },
	};
	uint8_t found[STORE_KEY_MAX];
	size_t found_len, len;
	char *value;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct store_write w = { STORE_KEYS, key, rows[i].key_len,
					       big, rows[i].len };

		if (store_write(p->store, &w, 1) != rows[i].rc)
			fail_msg("row %s", rows[i].name);
	}
	assert_int_equal(store_get(p->store, STORE_KEYS, key, 1, &value, &len),
			 1);
	assert_int_equal(len, STORE_VALUE_MAX);
	free(value);
	assert_int_equal(store_get(p->store, STORE_KEYS, key, STORE_KEY_MAX + 1,
				   &value, &len),
			 -1);
	assert_int_equal(store_get(p->store, STORE_KEYS, key, 0, &value, &len),
			 -1);
	assert_int_equal(store_get_prefix(p->store, STORE_KEYS, key,
					  STORE_KEY_MAX + 1, found, &found_len,
					  &value, &len),
			 -1);
}

static void
test_all_or_nothing(void **state)
{
	struct place *p = *state;
	static const char long_key[STORE_KEY_MAX + 1] = "x";
	const struct store_write bad[] = {
		{ STORE_KEYS, "old", 3, NULL, 0 },
		{ STORE_SENT_A, "new", 3, "v", 1 },
		{ STORE_KEYS, long_key, sizeof(long_key), "v", 1 },
	};

	assert_int_equal(store_write(p->store, NULL, 0), 0);
	assert_int_equal(puts_text(p->store, "old", "v"), 0);
	assert_int_equal(store_write(p->store, bad, 3), -1);
	assert_string_equal(text_of(p->store, STORE_KEYS, "old"), "v");
	assert_string_equal(text_of(p->store, STORE_SENT_A, "new"), "-");
	assert_int_equal(store_write(p->store, bad, 2), 0);
	assert_string_equal(text_of(p->store, STORE_KEYS, "old"), "-");
	assert_string_equal(text_of(p->store, STORE_SENT_A, "new"), "v");
}

static void
test_prefix(void **state)
{
	static const struct {
		const char *prefix;
		const char *key; /* NULL: nothing begins with it */
	} rows[] = {
		{ "abc", "abc" },      { "ab", "abc" }, { "abd", "abdaaaa" },
		{ "abda", "abdaaaa" }, { "a", "abc" },	{ "b", NULL },
		{ "abcd", NULL },      { "aa", NULL },	{ "z", "zz" },
		{ "zzz", NULL },
	};
	struct place *p = *state;

	assert_int_equal(puts_text(p->store, "zz", "3"), 0);
	assert_int_equal(puts_text(p->store, "abdaaaa", "2"), 0);
	assert_int_equal(puts_text(p->store, "abc", "1"), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *want = rows[i].key;
		uint8_t key[STORE_KEY_MAX];
		size_t key_len, len;
		char *value;
		int rc = store_get_prefix(p->store, STORE_KEYS, rows[i].prefix,
					  strlen(rows[i].prefix), key, &key_len,
					  &value, &len);

		if (rc != (want != NULL))
			fail_msg("row %s: %d", rows[i].prefix, rc);
		if (rc == 0)
			continue;
		assert_int_equal(key_len, strlen(want));
		assert_memory_equal(key, want, key_len);
		assert_int_equal(len, 1);
		free(value);
	}
}

static void
test_reopen(void **state)
{
	struct place *p = *state;

	assert_int_equal(puts_text(p->store, "a", "kept"), 0);
	assert_int_equal(put(p->store, STORE_SENT_A, "a", "too", 3), 0);
	store_close(&p->store);
	/* A smaller map than what is there does no harm. */
	p->store = open_store(p, 4096);
	assert_string_equal(text_of(p->store, STORE_KEYS, "a"), "kept");
	assert_string_equal(text_of(p->store, STORE_SENT_A, "a"), "too");
}

static void
test_count(void **state)
{
	struct place *p = *state;

	assert_int_equal(store_count(p->store, STORE_KEYS), 0);
	assert_int_equal(puts_text(p->store, "a", "1"), 0);
	assert_int_equal(puts_text(p->store, "b", "1"), 0);
	assert_int_equal(puts_text(p->store, "b", "2"), 0);
	assert_int_equal(store_count(p->store, STORE_KEYS), 2);
	assert_int_equal(store_count(p->store, STORE_SENT_A), 0);
	assert_int_equal(puts_text(p->store, "a", NULL), 0);
	assert_int_equal(store_count(p->store, STORE_KEYS), 1);
}

static bool
is_old(void *arg, const void *value, size_t len)
{
	(void)arg;
	return len == 3 && memcmp(value, "old", 3) == 0;
}

static void
test_sweep(void **state)
{
	struct place *p = *state;
	char key[16];

	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(
		    puts_text(p->store, key, i % 2 ? "old" : "new"), 0);
	}
	assert_int_equal(store_sweep(p->store, STORE_KEYS, is_old, NULL, 0), 0);
	assert_int_equal(store_sweep(p->store, STORE_SENT_A, is_old, NULL, 9),
			 0);
	assert_int_equal(store_count(p->store, STORE_KEYS), 20);
	assert_int_equal(store_sweep(p->store, STORE_KEYS, is_old, NULL, 7), 7);
	assert_int_equal(store_sweep(p->store, STORE_KEYS, is_old, NULL, 7), 3);
	assert_int_equal(store_sweep(p->store, STORE_KEYS, is_old, NULL, 7), 0);
	assert_int_equal(store_count(p->store, STORE_KEYS), 10);
	assert_string_equal(text_of(p->store, STORE_KEYS, "k4"), "new");
	assert_string_equal(text_of(p->store, STORE_KEYS, "k5"), "-");
}

/* Old at the first look, not at the second. */
static bool
is_renewed(void *arg, const void *value, size_t len)
{
	int *looks = arg;

	(void)value;
	(void)len;
	return (*looks)++ == 0;
}

static void
test_sweep_looks_twice(void **state)
{
	struct place *p = *state;
	int looks = 0;

	assert_int_equal(puts_text(p->store, "a", "1"), 0);
	assert_int_equal(
	    store_sweep(p->store, STORE_KEYS, is_renewed, &looks, 10), 0);
	assert_int_equal(looks, 2);
	assert_string_equal(text_of(p->store, STORE_KEYS, "a"), "1");
}

/* Scattered keys. */
static int
put_numbered(struct store *s, uint32_t n, const void *value, size_t len)
{
	uint32_t key = n * 2654435761u;
	const struct store_write w = { STORE_KEYS, &key, sizeof(key), value,
				       len };

	return store_write(s, &w, 1);
}

static int
put_batch(struct store *s, uint32_t first, uint32_t n, const void *value,
	  size_t len)
{
	struct store_write w[128];
	uint32_t keys[128];

	for (uint32_t i = 0; i < n; i++) {
		keys[i] = (first + i) * 2654435761u;
		w[i] =
		    (struct store_write){ STORE_KEYS, &keys[i], 4, value, len };
	}
	return store_write(s, w, n);
}

/* To the last record that goes in. */
static uint32_t
fill(struct store *s, size_t len)
{
	static const char value[STORE_VALUE_MAX];
	uint32_t n = 0;

	for (uint32_t batch = 128; batch > 0; batch /= 2) {
		while (put_batch(s, n, batch, value, len) == 0)
			n += batch;
	}
	assert_int_equal(store_count(s, STORE_KEYS), n);
	return n;
}

static void
test_map_full(void **state)
{
	static const struct {
		const char *name;
		size_t map, len;
		uint32_t at_least;
	} rows[] = {
		{ "small values", 1024 * 1024, 100, 3000 },
		{ "middling values", 1024 * 1024, 2000, 250 },
		{ "large values", 4 * 1024 * 1024, 100000, 25 },
		/* Sweeps what it has room for at a time. */
		{ "a small map", 256 * 1024, 100, 800 },
		{ "a tiny map", 64 * 1024, 100, 20 },
	};
	struct place *p = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t n;
		int swept;

		p->store = open_store(p, rows[i].map);
		n = fill(p->store, rows[i].len);
		print_message("row %s: %u records\n", rows[i].name, n);
		assert_true(n >= rows[i].at_least);
		assert_int_equal(put_numbered(p->store, 0, NULL, 0), 0);
		swept = store_sweep(p->store, STORE_KEYS, always, NULL, 500);
		assert_true(swept >= 1);
		assert_int_equal(store_count(p->store, STORE_KEYS),
				 n - 1 - (uint32_t)swept);
		while (store_count(p->store, STORE_KEYS) > 0)
			assert_true(store_sweep(p->store, STORE_KEYS, always,
						NULL, 500) > 0);
		/* And all of the room is there again. */
		assert_true(fill(p->store, rows[i].len) >= rows[i].at_least);
		store_close(&p->store);
		assert_int_equal(unlink(p->file), 0);
	}
}

/* Writes until it is killed; says each number once it is on disk. */
static void
write_for_ever(const struct place *p, int fd)
{
	static const char value[300];
	char *error;
	struct store *s = store_open(p->dir, MAP_SIZE, &error);

	for (uint32_t n = 0; s != NULL; n++) {
		if (put_numbered(s, n, value, 1 + n % sizeof(value)) < 0 ||
		    write(fd, &n, sizeof(n)) != sizeof(n))
			break;
	}
	_exit(1);
}

static pid_t
fork_child(void)
{
	pid_t child = fork();

	assert_true(child >= 0);
	/* A test that fails leaves nobody behind. */
	if (child == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return child;
}

static void
check_numbered(struct store *s, uint32_t n)
{
	uint32_t key = n * 2654435761u;
	char *value;
	size_t len;

	if (store_get(s, STORE_KEYS, &key, sizeof(key), &value, &len) != 1)
		fail_msg("record %u is lost", n);
	assert_int_equal(len, 1 + n % 300);
	free(value);
}

static void
test_kill(void **state)
{
	struct place *p = *state;

	for (uint32_t round = 1; round <= 5; round++) {
		uint32_t n = 0, acknowledged = 0;
		int fds[2];
		pid_t child;

		assert_int_equal(pipe(fds), 0);
		child = fork_child();
		if (child == 0)
			write_for_ever(p, fds[1]);
		close(fds[1]);
		while (acknowledged < 11 * round &&
		       read(fds[0], &n, sizeof(n)) == sizeof(n))
			acknowledged = n + 1;
		assert_int_equal(kill(child, SIGKILL), 0);
		/* What it said before it died. */
		while (read(fds[0], &n, sizeof(n)) == sizeof(n))
			acknowledged = n + 1;
		close(fds[0]);
		assert_int_equal(waitpid(child, NULL, 0), child);
		assert_true(acknowledged >= 11 * round);

		p->store = open_store(p, MAP_SIZE);
		for (n = 0; n < acknowledged; n++)
			check_numbered(p->store, n);
		assert_int_equal(puts_text(p->store, "still", "writes"), 0);
		store_close(&p->store);
	}
}

static bool
die(void *arg, const void *value, size_t len)
{
	(void)arg;
	(void)value;
	(void)len;
	raise(SIGKILL);
	return false;
}

/* A process that is killed while it reads leaves its reader slot behind, and
 * the slot outlives it as long as another process has the store open. */
static void
test_stale_reader(void **state)
{
	static const char value[400000];
	struct place *p = *state;
	pid_t holder, reader;
	int fds[2];
	char c;

	assert_int_equal(pipe(fds), 0);
	holder = fork_child();
	if (holder == 0) {
		struct store *s = open_store(p, MAP_SIZE);

		if (puts_text(s, "a", "1") == 0 && write(fds[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(fds[0], &c, 1), 1);
	reader = fork_child();
	if (reader == 0) {
		store_sweep(open_store(p, MAP_SIZE), STORE_KEYS, die, NULL, 1);
		_exit(1);
	}
	assert_int_equal(waitpid(reader, NULL, 0), reader);

	p->store = open_store(p, MAP_SIZE);
	/* 16 MB through 8 MB: pages are used again. */
	for (int i = 0; i < 40; i++)
		assert_int_equal(
		    put(p->store, STORE_KEYS, "b", value, sizeof(value)), 0);
	assert_int_equal(kill(holder, SIGKILL), 0);
	assert_int_equal(waitpid(holder, NULL, 0), holder);
	close(fds[0]);
	close(fds[1]);
}

struct worker {
	struct store *store;
	unsigned number;
	atomic_uint *failed;
};

/* Writes and reads records of its own; sweeps those of nobody. */
static void *
work(void *arg)
{
	const struct worker *w = arg;
	char key[16], *value;
	size_t len;

	for (int i = 0; i < 10; i++) {
		snprintf(key, sizeof(key), "w%u-%d", w->number, i % 5);
		if (puts_text(w->store, key, key) != 0 ||
		    store_get(w->store, STORE_KEYS, key, strlen(key), &value,
			      &len) != 1) {
			atomic_fetch_add(w->failed, 1);
			continue;
		}
		if (len != strlen(key) || memcmp(value, key, len) != 0)
			atomic_fetch_add(w->failed, 1);
		free(value);
		if (store_sweep(w->store, STORE_KEYS, is_old, NULL, 10) != 0)
			atomic_fetch_add(w->failed, 1);
	}
	return NULL;
}

static void
test_threads(void **state)
{
	struct place *p = *state;
	struct worker workers[8];
	pthread_t threads[8];
	atomic_uint failed = 0;

	for (unsigned i = 0; i < 8; i++) {
		workers[i] = (struct worker){ p->store, i, &failed };
		assert_int_equal(
		    pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(failed, 0);
	assert_int_equal(store_count(p->store, STORE_KEYS), 40);
}

/* --- reading into memory of the caller's ---------------------------------- */

static void
test_read(void **state)
{
	struct place *p = *state;
	uint8_t key[STORE_KEY_MAX];
	size_t len = 77, key_len;
	char value[5];

	assert_int_equal(puts_text(p->store, "abcd", "12345"), 0);
	assert_int_equal(puts_text(p->store, "b", ""), 0);
	assert_int_equal(store_read(p->store, STORE_KEYS, "abcd", 4, value,
				    sizeof(value), &len),
			 1);
	assert_int_equal(len, 5);
	assert_memory_equal(value, "12345", 5);
	assert_int_equal(
	    store_read(p->store, STORE_KEYS, "b", 1, value, 0, &len), 1);
	assert_int_equal(len, 0);
	assert_int_equal(store_read(p->store, STORE_KEYS, "abc", 3, value,
				    sizeof(value), &len),
			 0);
	assert_int_equal(
	    store_read(p->store, STORE_KEYS, "abcd", 4, value, 4, &len), -1);
	assert_int_equal(store_read_prefix(p->store, STORE_KEYS, "ab", 2, key,
					   &key_len, value, sizeof(value),
					   &len),
			 1);
	assert_int_equal(key_len, 4);
	assert_memory_equal(key, "abcd", 4);
	assert_memory_equal(value, "12345", 5);
	assert_int_equal(store_read_prefix(p->store, STORE_KEYS, "ac", 2, key,
					   &key_len, value, sizeof(value),
					   &len),
			 0);
}

/* --- walks ---------------------------------------------------------------- */

struct tour {
	struct store *store;
	unsigned n, most;
	uint32_t last; /* big-endian, so that its order is the keys' */
	bool ordered;
};

static bool
visit(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
	struct tour *t = arg;
	const uint8_t *k = key;
	uint32_t n = (uint32_t)k[0] << 8 | k[1];

	t->ordered &= key_len == 2 && len == 1 && *(const char *)value == 'v' &&
		      (t->n == 0 || n > t->last);
	t->last = n;
	return ++t->n < t->most;
}

static void
test_walk(void **state)
{
	enum { RECORDS = 2345 };
	static const struct {
		int after; /* -1: none */
		unsigned most, want;
	} rows[] = {
		{ -1, 10000, RECORDS },	   { -1, 1, 1 },
		{ -1, 1000, 1000 },	   { -1, 1001, 1001 },
		{ 0, 10000, RECORDS - 1 }, { RECORDS - 2, 10, 1 },
		{ RECORDS - 1, 10, 0 },	   { 9999, 10, 0 },
	};
	static uint8_t keys[RECORDS][2];
	static struct store_write w[RECORDS];
	struct place *p = *state;

	for (size_t i = 0; i < RECORDS; i++) {
		keys[i][0] = (uint8_t)(i >> 8);
		keys[i][1] = (uint8_t)i;
		w[i] = (struct store_write){ STORE_KEYS, keys[i], 2, "v", 1 };
	}
	assert_int_equal(store_write(p->store, w, RECORDS), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tour t = { .most = rows[i].most, .ordered = true };
		const uint8_t after[2] = { (uint8_t)(rows[i].after >> 8),
					   (uint8_t)rows[i].after };

		assert_int_equal(store_walk(p->store, STORE_KEYS, after,
					    rows[i].after < 0 ? 0 : 2, visit,
					    &t),
				 0);
		if (!t.ordered || t.n != rows[i].want)
			fail_msg("row %zu: %u", i, t.n);
	}
	assert_int_equal(store_walk(p->store, STORE_KEYS, keys,
				    STORE_KEY_MAX + 1, visit, NULL),
			 -1);
}

/* --- changes in steps ----------------------------------------------------- */

static void
step(struct store_change *c, const char *key, const char *value)
{
	const struct store_write w = { STORE_KEYS, key, strlen(key), value,
				       value ? strlen(value) : 0 };

	store_change_put(c, &w);
}

static void
test_change(void **state)
{
	struct place *p = *state;
	const void *value, *key;
	struct store_change *c;
	size_t len, key_len;

	assert_int_equal(puts_text(p->store, "old", "1"), 0);
	for (int keep = 0; keep < 2; keep++) {
		c = store_change_begin(p->store, 10, 100);
		step(c, "new", "22");
		step(c, "old", NULL);
		/* Seen here, and by nobody else. */
		assert_int_equal(
		    store_change_get(c, STORE_KEYS, "new", 3, &value, &len), 1);
		assert_int_equal(len, 2);
		assert_memory_equal(value, "22", 2);
		assert_int_equal(
		    store_change_get(c, STORE_KEYS, "old", 3, &value, &len), 0);
		assert_int_equal(store_change_find(c, STORE_KEYS, "ne", 2, &key,
						   &key_len, &value, &len),
				 1);
		assert_int_equal(key_len, 3);
		assert_int_equal(store_change_find(c, STORE_KEYS, "x", 1, &key,
						   &key_len, &value, &len),
				 0);
		assert_string_equal(text_of(p->store, STORE_KEYS, "new"), "-");
		assert_string_equal(text_of(p->store, STORE_KEYS, "old"), "1");
		assert_int_equal(store_change_end(&c, keep != 0), 0);
		assert_null(c);
		assert_string_equal(text_of(p->store, STORE_KEYS, "new"),
				    keep ? "22" : "-");
		assert_string_equal(text_of(p->store, STORE_KEYS, "old"),
				    keep ? "-" : "1");
	}
}

/* The first error counts for all that follows. */
static void
test_change_error(void **state)
{
	struct place *p = *state;
	char long_key[STORE_KEY_MAX + 2] = "";
	struct store_change *c = store_change_begin(p->store, 10, 100);
	const void *value;
	size_t len;

	memset(long_key, 'k', STORE_KEY_MAX + 1);
	step(c, "a", "1");
	step(c, long_key, "1");
	step(c, "b", "1");
	assert_int_equal(store_change_get(c, STORE_KEYS, "a", 1, &value, &len),
			 -1);
	assert_int_equal(store_change_end(&c, true), -1);
	assert_int_equal(store_count(p->store, STORE_KEYS), 0);
	c = store_change_begin(p->store, 1, 2 * MAP_SIZE);
	step(c, "a", "1");
	assert_int_equal(store_change_end(&c, true), STORE_FULL);
	assert_int_equal(store_count(p->store, STORE_KEYS), 0);
}

static void
test_empty(void **state)
{
	struct place *p = *state;

	assert_int_equal(puts_text(p->store, "a", "1"), 0);
	assert_int_equal(put(p->store, STORE_SENT_A, "a", "1", 1), 0);
	assert_int_equal(store_empty(p->store, STORE_KEYS), 0);
	assert_int_equal(store_count(p->store, STORE_KEYS), 0);
	assert_int_equal(store_count(p->store, STORE_SENT_A), 1);
	assert_int_equal(puts_text(p->store, "b", "1"), 0);
	assert_int_equal(store_count(p->store, STORE_KEYS), 1);
}

/* Many readers at a time, more than are kept. */
static bool
read_deeper(void *arg, const void *key, size_t key_len, const void *value,
	    size_t len)
{
	struct tour *t = arg;

	(void)key;
	(void)key_len;
	(void)value;
	(void)len;
	if (++t->n < t->most)
		assert_int_equal(
		    store_walk(t->store, STORE_KEYS, NULL, 0, read_deeper, t),
		    0);
	return false;
}

static void
test_many_readers(void **state)
{
	struct place *p = *state;

	assert_int_equal(puts_text(p->store, "a", "1"), 0);
	for (int i = 0; i < 3; i++) {
		struct tour t = { .store = p->store, .most = 100 };

		assert_int_equal(
		    store_walk(p->store, STORE_KEYS, NULL, 0, read_deeper, &t),
		    0);
		assert_int_equal(t.n, 100);
	}
	/* None of them holds pages that writing needs. */
	for (int i = 0; i < 40; i++) {
		static const char value[400000];

		assert_int_equal(
		    put(p->store, STORE_KEYS, "b", value, sizeof(value)), 0);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_open_errors, set_up_closed,
						tear_down),
		cmocka_unit_test_setup_teardown(test_file_mode, set_up_closed,
						tear_down),
		cmocka_unit_test_setup_teardown(test_write_and_read, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_all_or_nothing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_prefix, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reopen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_count, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sweep, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sweep_looks_twice, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_map_full, set_up_closed,
						tear_down),
		cmocka_unit_test_setup_teardown(test_kill, set_up_closed,
						tear_down),
		cmocka_unit_test_setup_teardown(test_stale_reader,
						set_up_closed, tear_down),
		cmocka_unit_test_setup_teardown(test_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_walk, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_change_error, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_empty, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_readers, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_threads, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
