/* SPDX-License-Identifier: MIT */
/*
 * store: the daemon's memory on disk, an LMDB environment of a few tables.
 * The only file that knows LMDB.
 *
 * A write is on disk when the call returns and survives kill -9 and a power
 * failure. When the map is full, writing fails and deleting still works. Reads
 * copy out and take no lock. Thread-safe. Not to be opened twice in a process,
 * nor used in a child of the process that opened it.
 */
#ifndef TXM_MILTER_STORE_H
#define TXM_MILTER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

enum store_table {
	STORE_KEYS,	  /* key cache: SHA-256 of the key -> record */
	STORE_ACCOUNTS,	  /* made here: account id -> record */
	STORE_LOCAL_KEYS, /* made here: SHA-256 of the key -> record */
	STORE_LAST_USED,  /* beginning of that hash -> time */
	STORE_SENT_A,	  /* idempotency keys of what an API has taken; */
	STORE_SENT_B,	  /* the two take turns (sent_memory) */
	STORE_TABLES
};

/* LMDB's limit for a key is 511 bytes. */
#define STORE_KEY_MAX 64
#define STORE_VALUE_MAX (2 * 1024 * 1024)

/* Opens or makes DIRECTORY/txmilter.mdb, at most map_size bytes. NULL and an
 * error text (free()). */
struct store *store_open(const char *directory, size_t map_size,
			 char **error_r);
void store_close(struct store **s);

/* 1 found (copied to *value_r, free()), 0 not found, -1 error (logged). */
int store_get(struct store *s, enum store_table t, const void *key,
	      size_t key_len, char **value_r, size_t *len_r);

/* The first record whose key begins with prefix; its key is copied to key_r
 * (STORE_KEY_MAX bytes). As store_get. */
int store_get_prefix(struct store *s, enum store_table t, const void *prefix,
		     size_t prefix_len, uint8_t *key_r, size_t *key_len_r,
		     char **value_r, size_t *len_r);

/* As store_get(), into memory of the caller's; a value over `size` is an
 * error. */
int store_read(struct store *s, enum store_table t, const void *key,
	       size_t key_len, void *value_r, size_t size, size_t *len_r);

/* As store_get_prefix(), into memory of the caller's. */
int store_read_prefix(struct store *s, enum store_table t, const void *prefix,
		      size_t prefix_len, uint8_t *key_r, size_t *key_len_r,
		      void *value_r, size_t size, size_t *len_r);

/* Calls fn for the records in the order of their keys, from behind `after`
 * (after_len 0: from the first) on, until it says false. What changes
 * meanwhile is seen as it was or as it is. fn sees the store's own memory and
 * must not write to it. 0, or -1 (logged). */
typedef bool store_walk_fn(void *arg, const void *key, size_t key_len,
			   const void *value, size_t len);
int store_walk(struct store *s, enum store_table t, const void *after,
	       size_t after_len, store_walk_fn *fn, void *arg);

/* One write of a batch; value NULL deletes. */
struct store_write {
	enum store_table table;
	const void *key;
	size_t key_len;
	const void *value;
	size_t len;
};

/* All or nothing, one transaction. 0, or -1 (logged). */
int store_write(struct store *s, const struct store_write *v, size_t n);

/*
 * The same in steps, which see what was there and the steps before them.
 * Others who write wait, so that reading and writing are one act; others who
 * read see it when it is done. Of one thread, short, and not to be mixed with
 * another call that writes. The first error sticks: every later step fails,
 * and so does the end.
 */
struct store_change;

/* For at most so many records of so many bytes together; 0: only deletes. */
struct store_change *store_change_begin(struct store *s, size_t records,
					size_t bytes);

/* 1 found (good until the next put), 0 not, -1 error. */
int store_change_get(struct store_change *c, enum store_table t,
		     const void *key, size_t key_len, const void **value_r,
		     size_t *len_r);

/* The first record whose key begins with prefix, as above. */
int store_change_find(struct store_change *c, enum store_table t,
		      const void *prefix, size_t prefix_len, const void **key_r,
		      size_t *key_len_r, const void **value_r, size_t *len_r);
void store_change_put(struct store_change *c, const struct store_write *w);

/* Writes all of it when `keep`, else nothing. 0, or -1 or, when there is no
 * room in the map, STORE_FULL (logged). */
#define STORE_FULL (-2)
int store_change_end(struct store_change **c, bool keep);

/* Deletes the records that `expired` says are (it sees key and value; it must
 * not call the store). At most `most` of them. Returns how many, or -1. */
int store_sweep(struct store *s, enum store_table t,
		bool (*expired)(void *arg, const void *value, size_t len),
		void *arg, size_t most);

/* Deletes all records of a table. 0, or -1 (logged). */
int store_empty(struct store *s, enum store_table t);

/* Records in a table; SIZE_MAX when it cannot be read (logged). */
size_t store_count(struct store *s, enum store_table t);

#endif
