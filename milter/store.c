/* SPDX-License-Identifier: MIT */
/*
 * LMDB's defaults are what the contract needs: a commit syncs the data and
 * then the meta page, so no flag that weakens this is ever set. Read
 * transactions are short and end in the thread that began them, but callers
 * wander between threads: MDB_NOTLS binds a reader slot to the transaction
 * and not to the thread, so that slots are not used up by threads that come
 * and go. Beginning one takes a lock that all share; renewing one does not, so
 * that those that ended are kept for the next reader.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "need.h"

#define FILE_NAME "txmilter.mdb"
/* Read transactions open at the same time, over all threads. */
#define READERS_MAX 1024
/* Of those, kept when nobody reads; looked for in so many places. */
#define IDLE_READERS 64
#define IDLE_TRIES 8
/* Records of a walk between which nothing is held. */
#define WALK_RECORDS 1000
/* Copies of the list of free pages, for a change of many records. */
#define FREE_LIST_PAGES 8
/* What a record takes but for its key and value, at most. */
#define RECORD_HEAD 16
/* Pages that only deleting may use, at most this part of the map: LMDB copies
 * what it changes, so in a map that is wholly full nothing could be deleted
 * any more. A page for each record of a batch, and some more. */
#define RESERVE_PAGES 1024
#define RESERVE_PART 8

static const char *const table_names[STORE_TABLES] = {
	[STORE_KEYS] = "keys",
	[STORE_ACCOUNTS] = "accounts",
	[STORE_LOCAL_KEYS] = "local_keys",
	[STORE_LAST_USED] = "last_used",
	[STORE_SENT_A] = "sent_a",
	[STORE_SENT_B] = "sent_b",
};

struct store {
	MDB_env *env;
	size_t page_size;
	size_t reserve; /* pages */
	MDB_dbi tables[STORE_TABLES];
	_Atomic(MDB_txn *) idle[IDLE_READERS];
};

struct doomed {
	uint8_t key[STORE_KEY_MAX];
	size_t len;
};

static char *
error_text(const char *path, const char *what)
{
	char *text;

	if (asprintf(&text, "%s: %s", path, what) < 0)
		abort();
	return text;
}

/* LMDB syncs the file, never the directory entry that names it. */
static int
sync_directory(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return errno;
	rc = fsync(fd) < 0 ? errno : 0;
	close(fd);
	return rc;
}

static size_t
whole_pages(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

static int
open_environment(struct store *s, const char *path, size_t map_size)
{
	int rc = mdb_env_create(&s->env);

	if (rc == 0)
		rc = mdb_env_set_mapsize(s->env, whole_pages(map_size));
	if (rc == 0)
		rc = mdb_env_set_maxdbs(s->env, STORE_TABLES);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(s->env, READERS_MAX);
	if (rc == 0)
		rc = mdb_env_open(s->env, path, MDB_NOSUBDIR | MDB_NOTLS, 0600);
	/* Slots of a process that was killed would keep its pages in use. */
	if (rc == 0)
		rc = mdb_reader_check(s->env, NULL);
	return rc;
}

static int
set_reserve(struct store *s)
{
	MDB_envinfo info;
	MDB_stat st;
	int rc = mdb_env_stat(s->env, &st);

	if (rc == 0)
		rc = mdb_env_info(s->env, &info);
	if (rc != 0)
		return rc;
	s->page_size = st.ms_psize;
	s->reserve = info.me_mapsize / st.ms_psize / RESERVE_PART;
	if (s->reserve > RESERVE_PAGES)
		s->reserve = RESERVE_PAGES;
	return 0;
}

static int
open_tables(struct store *s)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(s->env, NULL, 0, &txn);

	if (rc != 0)
		return rc;
	for (size_t t = 0; t < STORE_TABLES && rc == 0; t++)
		rc = mdb_dbi_open(txn, table_names[t], MDB_CREATE,
				  &s->tables[t]);
	if (rc == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

struct store *
store_open(const char *directory, size_t map_size, char **error_r)
{
	struct store *s = need(calloc(1, sizeof(*s)));
	char *path;
	int rc;

	*error_r = NULL;
	if (asprintf(&path, "%s/" FILE_NAME, directory) < 0)
		abort();
	rc = open_environment(s, path, map_size);
	if (rc == 0)
		rc = set_reserve(s);
	if (rc == 0)
		rc = open_tables(s);
	if (rc == 0)
		rc = sync_directory(directory);
	if (rc != 0) {
		*error_r = error_text(path, mdb_strerror(rc));
		store_close(&s);
	}
	free(path);
	return s;
}

void
store_close(struct store **s)
{
	if (*s == NULL)
		return;
	for (size_t i = 0; i < IDLE_READERS; i++) {
		MDB_txn *txn = atomic_load(&(*s)->idle[i]);

		if (txn != NULL)
			mdb_txn_abort(txn);
	}
	if ((*s)->env != NULL)
		mdb_env_close((*s)->env);
	free(*s);
	*s = NULL;
}

static int
failed(enum store_table t, const char *what, int rc)
{
	log_error("store", "table=%s %s failed: %s", table_names[t], what,
		  mdb_strerror(rc));
	return -1;
}

static bool
key_fits(size_t len)
{
	return len > 0 && len <= STORE_KEY_MAX;
}

/* mv_data is not const, but LMDB only reads what is passed in. */
static MDB_val
as_val(const void *data, size_t len)
{
	union {
		const void *in;
		void *out;
	} u = { data };

	return (MDB_val){ len, u.out };
}

/* One byte more, so that an empty value is not a NULL. */
static char *
copy_out(const MDB_val *v, size_t *len_r)
{
	char *copy = need(malloc(v->mv_size + 1));

	memcpy(copy, v->mv_data, v->mv_size);
	copy[v->mv_size] = '\0';
	*len_r = v->mv_size;
	return copy;
}

/* Threads begin to look at different places. */
static size_t
first_idle(void)
{
	uint64_t self = (uint64_t)(uintptr_t)pthread_self();

	return (size_t)(self * 0x9e3779b97f4a7c15ull >> 32) % IDLE_READERS;
}

static int
begin_read(struct store *s, MDB_txn **txn_r)
{
	size_t at = first_idle();

	for (size_t i = 0; i < IDLE_TRIES; i++) {
		MDB_txn *txn =
		    atomic_exchange(&s->idle[(at + i) % IDLE_READERS], NULL);

		if (txn == NULL)
			continue;
		*txn_r = txn;
		if (mdb_txn_renew(txn) == 0)
			return 0;
		mdb_txn_abort(txn);
	}
	return mdb_txn_begin(s->env, NULL, MDB_RDONLY, txn_r);
}

static void
end_read(struct store *s, MDB_txn *txn)
{
	size_t at = first_idle();

	mdb_txn_reset(txn);
	for (size_t i = 0; i < IDLE_TRIES; i++) {
		MDB_txn *none = NULL;

		if (atomic_compare_exchange_strong(
			&s->idle[(at + i) % IDLE_READERS], &none, txn))
			return;
	}
	mdb_txn_abort(txn);
}

static bool
begins_with(const MDB_val *v, const void *prefix, size_t len)
{
	return v->mv_size >= len && v->mv_size <= STORE_KEY_MAX &&
	       memcmp(v->mv_data, prefix, len) == 0;
}

static int
find_prefix(MDB_txn *txn, MDB_dbi table, const void *prefix, size_t prefix_len,
	    MDB_val *k, MDB_val *v)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn, table, &cursor);

	if (rc != 0)
		return rc;
	*k = as_val(prefix, prefix_len);
	rc = mdb_cursor_get(cursor, k, v, MDB_SET_RANGE);
	mdb_cursor_close(cursor);
	if (rc == 0 && !begins_with(k, prefix, prefix_len))
		rc = MDB_NOTFOUND;
	return rc;
}

/* Where a record that was found goes. */
struct target {
	uint8_t *key; /* NULL: the whole key was given */
	size_t *key_len;
	char **copy; /* or else: */
	void *value;
	size_t size;
	size_t *len;
};

static int
take_record(const struct target *to, const MDB_val *k, const MDB_val *v)
{
	if (to->copy == NULL && v->mv_size > to->size)
		return MDB_BAD_VALSIZE;
	if (to->key != NULL) {
		memcpy(to->key, k->mv_data, k->mv_size);
		*to->key_len = k->mv_size;
	}
	if (to->copy != NULL) {
		*to->copy = copy_out(v, to->len);
		return 0;
	}
	memcpy(to->value, v->mv_data, v->mv_size);
	*to->len = v->mv_size;
	return 0;
}

static int
read_record(struct store *s, enum store_table t, const void *key,
	    size_t key_len, const struct target *to)
{
	MDB_val k = as_val(key, key_len), v;
	MDB_txn *txn;
	int rc;

	if (!key_fits(key_len))
		return failed(t, "read", MDB_BAD_VALSIZE);
	rc = begin_read(s, &txn);
	if (rc != 0)
		return failed(t, "read", rc);
	if (to->key == NULL)
		rc = mdb_get(txn, s->tables[t], &k, &v);
	else
		rc = find_prefix(txn, s->tables[t], key, key_len, &k, &v);
	if (rc == 0)
		rc = take_record(to, &k, &v);
	end_read(s, txn);
	if (rc == 0)
		return 1;
	return rc == MDB_NOTFOUND ? 0 : failed(t, "read", rc);
}

int
store_get(struct store *s, enum store_table t, const void *key, size_t key_len,
	  char **value_r, size_t *len_r)
{
	const struct target to = { .copy = value_r, .len = len_r };

	return read_record(s, t, key, key_len, &to);
}

int
store_get_prefix(struct store *s, enum store_table t, const void *prefix,
		 size_t prefix_len, uint8_t *key_r, size_t *key_len_r,
		 char **value_r, size_t *len_r)
{
	const struct target to = { .key = key_r,
				   .key_len = key_len_r,
				   .copy = value_r,
				   .len = len_r };

	return read_record(s, t, prefix, prefix_len, &to);
}

int
store_read(struct store *s, enum store_table t, const void *key, size_t key_len,
	   void *value_r, size_t size, size_t *len_r)
{
	const struct target to = { .value = value_r,
				   .size = size,
				   .len = len_r };

	return read_record(s, t, key, key_len, &to);
}

int
store_read_prefix(struct store *s, enum store_table t, const void *prefix,
		  size_t prefix_len, uint8_t *key_r, size_t *key_len_r,
		  void *value_r, size_t size, size_t *len_r)
{
	const struct target to = { .key = key_r,
				   .key_len = key_len_r,
				   .value = value_r,
				   .size = size,
				   .len = len_r };

	return read_record(s, t, prefix, prefix_len, &to);
}

/* A place in a table: behind that key; len 0: before the first. */
struct place {
	uint8_t key[STORE_KEY_MAX];
	size_t len;
	bool end; /* nothing comes, or nothing is wanted */
};

static int
first_behind(MDB_cursor *cursor, const struct place *p, MDB_val *k, MDB_val *v)
{
	int rc;

	if (p->len == 0)
		return mdb_cursor_get(cursor, k, v, MDB_FIRST);
	*k = as_val(p->key, p->len);
	rc = mdb_cursor_get(cursor, k, v, MDB_SET_RANGE);
	if (rc == 0 && k->mv_size == p->len &&
	    memcmp(k->mv_data, p->key, p->len) == 0)
		rc = mdb_cursor_get(cursor, k, v, MDB_NEXT);
	return rc;
}

static int
walk_some(MDB_cursor *cursor, struct place *p, store_walk_fn *fn, void *arg)
{
	MDB_val k, v;
	int rc = first_behind(cursor, p, &k, &v);

	for (size_t n = 0; rc == 0; n++) {
		if (k.mv_size > STORE_KEY_MAX)
			return MDB_BAD_VALSIZE;
		if (n == WALK_RECORDS)
			return 0;
		p->end = !fn(arg, k.mv_data, k.mv_size, v.mv_data, v.mv_size);
		if (p->end)
			return 0;
		memcpy(p->key, k.mv_data, k.mv_size);
		p->len = k.mv_size;
		rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	}
	p->end = true;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* What a reader may still see cannot be used again by writers: a long walk is
 * many short ones. */
int
store_walk(struct store *s, enum store_table t, const void *after,
	   size_t after_len, store_walk_fn *fn, void *arg)
{
	struct place p = { .len = after_len };
	MDB_cursor *cursor;
	MDB_txn *txn;
	int rc = 0;

	if (after_len > STORE_KEY_MAX)
		return failed(t, "walk", MDB_BAD_VALSIZE);
	if (after_len > 0)
		memcpy(p.key, after, after_len);
	while (rc == 0 && !p.end) {
		rc = begin_read(s, &txn);
		if (rc != 0)
			break;
		rc = mdb_cursor_open(txn, s->tables[t], &cursor);
		if (rc == 0) {
			rc = walk_some(cursor, &p, fn, arg);
			mdb_cursor_close(cursor);
		}
		end_read(s, txn);
	}
	return rc == 0 ? 0 : failed(t, "walk", rc);
}

/* LMDB's table 0 lists the free pages: records of a count and that many page
 * numbers. Only a read transaction may look. */
static int
count_free(MDB_txn *txn, size_t *pages_r)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	size_t n;
	int rc = mdb_cursor_open(txn, 0, &cursor);

	*pages_r = 0;
	if (rc != 0)
		return rc;
	while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
		memcpy(&n, v.mv_data, sizeof(n));
		*pages_r += n;
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int
free_pages(const struct store *s, size_t *pages_r)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);

	if (rc != 0)
		return rc;
	rc = count_free(txn, pages_r);
	mdb_txn_abort(txn);
	return rc;
}

/* Pages that the change may take at worst; 0 when it only deletes. Each record
 * takes a page of its own, a branch, and what is long; but all of them together
 * take no more than what is there already, copied, and what is new, in pages
 * that are half full. */
static int
pages_needed(const struct store *s, MDB_txn *txn, size_t records, size_t bytes,
	     size_t *pages_r)
{
	size_t each = 2 * records + bytes / s->page_size, there = 0, fresh;
	MDB_stat st;

	*pages_r = each;
	for (size_t t = 0; t < STORE_TABLES; t++) {
		int rc = mdb_stat(txn, s->tables[t], &st);

		if (rc != 0)
			return rc;
		there += st.ms_branch_pages + st.ms_leaf_pages + st.ms_depth;
	}
	fresh = 2 * (bytes + records * (STORE_KEY_MAX + RECORD_HEAD)) /
		    s->page_size +
		FREE_LIST_PAGES;
	if (there + fresh < each)
		*pages_r = there + fresh;
	return 0;
}

/* Refuses to put what would touch the reserve. Called by the writer, so that
 * nobody else takes the room meanwhile. */
static int
check_room(const struct store *s, MDB_txn *txn, size_t records, size_t bytes)
{
	size_t total, unused, freed, needed;
	MDB_envinfo info;
	int rc;

	if (records == 0)
		return 0;
	rc = mdb_env_info(s->env, &info);
	if (rc == 0)
		rc = pages_needed(s, txn, records, bytes, &needed);
	if (rc != 0)
		return rc;
	total = info.me_mapsize / s->page_size;
	unused = total > info.me_last_pgno ? total - info.me_last_pgno - 1 : 0;
	if (unused >= needed + s->reserve)
		return 0;
	rc = free_pages(s, &freed);
	if (rc != 0)
		return rc;
	return unused + freed >= needed + s->reserve ? 0 : MDB_MAP_FULL;
}

static int
write_one(struct store *s, MDB_txn *txn, const struct store_write *w)
{
	MDB_val k = as_val(w->key, w->key_len), v = as_val(w->value, w->len);
	int rc;

	if (!key_fits(w->key_len) || w->len > STORE_VALUE_MAX)
		return MDB_BAD_VALSIZE;
	if (w->value != NULL)
		return mdb_put(txn, s->tables[w->table], &k, &v, 0);
	rc = mdb_del(txn, s->tables[w->table], &k, NULL);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

struct store_change {
	struct store *store;
	MDB_txn *txn; /* NULL: could not be begun */
	int rc;	      /* the first error; 0: none */
	enum store_table table;
};

struct store_change *
store_change_begin(struct store *s, size_t records, size_t bytes)
{
	struct store_change *c = need(calloc(1, sizeof(*c)));

	c->store = s;
	c->rc = mdb_txn_begin(s->env, NULL, 0, &c->txn);
	if (c->rc != 0)
		c->txn = NULL;
	else
		c->rc = check_room(s, c->txn, records, bytes);
	return c;
}

static int
note_found(struct store_change *c, enum store_table t, int rc)
{
	if (rc == 0 || rc == MDB_NOTFOUND)
		return rc == 0;
	c->rc = rc;
	c->table = t;
	return -1;
}

int
store_change_get(struct store_change *c, enum store_table t, const void *key,
		 size_t key_len, const void **value_r, size_t *len_r)
{
	MDB_val k = as_val(key, key_len), v;
	int rc;

	if (c->rc != 0)
		return -1;
	rc = key_fits(key_len) ? mdb_get(c->txn, c->store->tables[t], &k, &v)
			       : MDB_BAD_VALSIZE;
	if (rc == 0) {
		*value_r = v.mv_data;
		*len_r = v.mv_size;
	}
	return note_found(c, t, rc);
}

int
store_change_find(struct store_change *c, enum store_table t,
		  const void *prefix, size_t prefix_len, const void **key_r,
		  size_t *key_len_r, const void **value_r, size_t *len_r)
{
	MDB_val k, v;
	int rc;

	if (c->rc != 0)
		return -1;
	rc = key_fits(prefix_len) ? find_prefix(c->txn, c->store->tables[t],
						prefix, prefix_len, &k, &v)
				  : MDB_BAD_VALSIZE;
	if (rc == 0) {
		*key_r = k.mv_data;
		*key_len_r = k.mv_size;
		*value_r = v.mv_data;
		*len_r = v.mv_size;
	}
	return note_found(c, t, rc);
}

void
store_change_put(struct store_change *c, const struct store_write *w)
{
	if (c->rc != 0)
		return;
	c->table = w->table;
	c->rc = write_one(c->store, c->txn, w);
}

int
store_change_end(struct store_change **cp, bool keep)
{
	struct store_change *c = *cp;
	int rc = c->rc;

	*cp = NULL;
	if (rc == 0 && keep)
		rc = mdb_txn_commit(c->txn);
	else if (c->txn != NULL)
		mdb_txn_abort(c->txn);
	if (rc != 0) {
		int why = failed(c->table, "write", rc);

		rc = rc == MDB_MAP_FULL ? STORE_FULL : why;
	}
	free(c);
	return rc;
}

int
store_write(struct store *s, const struct store_write *v, size_t n)
{
	struct store_change *c;
	size_t puts = 0, bytes = 0;

	if (n == 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		puts += v[i].value != NULL;
		bytes += v[i].value != NULL ? v[i].len : 0;
	}
	c = store_change_begin(s, puts, bytes);
	c->table = v->table;
	for (size_t i = 0; i < n; i++)
		store_change_put(c, &v[i]);
	return store_change_end(&c, true) == 0 ? 0 : -1;
}

struct sweep {
	bool (*expired)(void *arg, const void *value, size_t len);
	void *arg;
	struct doomed *found;
	size_t n, most;
};

static int
collect(struct sweep *w, MDB_cursor *cursor)
{
	MDB_val k, v;
	int rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);

	while (rc == 0 && w->n < w->most) {
		if (k.mv_size <= STORE_KEY_MAX &&
		    w->expired(w->arg, v.mv_data, v.mv_size)) {
			struct doomed *d = &w->found[w->n++];

			memcpy(d->key, k.mv_data, k.mv_size);
			d->len = k.mv_size;
		}
		rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int
find_expired(struct store *s, enum store_table t, struct sweep *w)
{
	MDB_cursor *cursor;
	MDB_txn *txn;
	int rc = begin_read(s, &txn);

	if (rc != 0)
		return rc;
	rc = mdb_cursor_open(txn, s->tables[t], &cursor);
	if (rc == 0) {
		rc = collect(w, cursor);
		mdb_cursor_close(cursor);
	}
	end_read(s, txn);
	return rc;
}

/* A record may have been renewed since it was found: looks again. */
static int
delete_if_expired(MDB_txn *txn, MDB_dbi table, const struct sweep *w,
		  const struct doomed *d, int *deleted)
{
	MDB_val k = as_val(d->key, d->len), v;
	int rc = mdb_get(txn, table, &k, &v);

	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0 || !w->expired(w->arg, v.mv_data, v.mv_size))
		return rc;
	rc = mdb_del(txn, table, &k, NULL);
	if (rc == 0)
		++*deleted;
	return rc;
}

static int
delete_expired(struct store *s, enum store_table t, const struct sweep *w,
	       int *deleted)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(s->env, NULL, 0, &txn);

	*deleted = 0;
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < w->n && rc == 0; i++)
		rc = delete_if_expired(txn, s->tables[t], w, &w->found[i],
				       deleted);
	if (rc == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

/* The walk is a read, so that writers do not wait for it and a sweep that
 * finds nothing costs no sync. */
int
store_sweep(struct store *s, enum store_table t,
	    bool (*expired)(void *arg, const void *value, size_t len),
	    void *arg, size_t most)
{
	struct sweep w = { .expired = expired, .arg = arg, .most = most };
	int deleted = 0, rc;

	if (most == 0)
		return 0;
	w.found = need(calloc(most, sizeof(*w.found)));
	rc = find_expired(s, t, &w);
	while (rc == 0 && w.n > 0) {
		rc = delete_expired(s, t, &w, &deleted);
		if (rc != MDB_MAP_FULL)
			break;
		/* In a small map the reserve is small: fewer at a time. */
		w.n /= 2;
		rc = w.n > 0 ? 0 : rc;
	}
	free(w.found);
	return rc == 0 ? deleted : failed(t, "sweep", rc);
}

int
store_empty(struct store *s, enum store_table t)
{
	struct store_change *c = store_change_begin(s, 0, 0);

	c->table = t;
	if (c->rc == 0)
		c->rc = mdb_drop(c->txn, s->tables[t], 0);
	return store_change_end(&c, true) == 0 ? 0 : -1;
}

size_t
store_count(struct store *s, enum store_table t)
{
	MDB_stat st;
	MDB_txn *txn;
	int rc = begin_read(s, &txn);

	if (rc == 0) {
		rc = mdb_stat(txn, s->tables[t], &st);
		end_read(s, txn);
	}
	if (rc == 0)
		return st.ms_entries;
	failed(t, "count", rc);
	return SIZE_MAX;
}
