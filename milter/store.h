/* SPDX-License-Identifier: MIT */
/*
 * store: the daemon's memory on disk, an LMDB environment of a few tables.
 * The only file that knows LMDB.
 *
 * A write is on disk when the call returns and survives kill -9 and a power
 * failure. When the map is full, writing fails and deleting still works. Reads
 * copy out. Thread-safe. Not to be opened twice in a process, nor used in a
 * child of the process that opened it.
 */
#ifndef TXM_MILTER_STORE_H
#define TXM_MILTER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

enum store_table {
	STORE_KEYS,  /* key cache: SHA-256 of the key -> record */
	STORE_RETRY, /* retry memory: message hash -> what was accepted */
	STORE_TABLES
};

/* LMDB's limit for a key is 511 bytes. */
#define STORE_KEY_MAX 64
#define STORE_VALUE_MAX (1024 * 1024)

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

/* Deletes the records that `expired` says are (it sees key and value; it must
 * not call the store). At most `most` of them. Returns how many, or -1. */
int store_sweep(struct store *s, enum store_table t,
		bool (*expired)(void *arg, const void *value, size_t len),
		void *arg, size_t most);

/* Records in a table; SIZE_MAX when it cannot be read (logged). */
size_t store_count(struct store *s, enum store_table t);

#endif
