/* SPDX-License-Identifier: MIT */
/*
 * key_used: when keys were last used, to the minute.
 *
 * Noting takes no lock and, within a minute, writes nothing. It goes into a
 * table of words, each the beginning of a key's hash and a minute, which
 * key_used_flush() empties to disk: what comes between two flushes over
 * KEY_USED_MAX keys, or five that share a set, may be forgotten. Two keys
 * whose hashes begin with the same 56 bits count as one. Thread-safe.
 */
#ifndef TXM_MILTER_KEY_USED_H
#define TXM_MILTER_KEY_USED_H

#include <stdint.h>

#include "crypto.h"

#define KEY_USED_MAX (1024 * 1024)
/* So much of a hash names a record on disk. */
#define KEY_USED_PREFIX 7

struct key_used;
struct store;
struct store_change;

/* The store must outlive it. */
struct key_used *key_used_new(struct store *store);
/* What was not flushed is lost. */
void key_used_free(struct key_used **u);

/* now: seconds of the real-time clock. */
void key_used_note(struct key_used *u, const uint8_t hash[CRYPTO_HASH_LEN],
		   int64_t now);

/* A note is likely to follow: the table is out of the processor's caches. */
void key_used_expect(struct key_used *u, const uint8_t hash[CRYPTO_HASH_LEN]);

/* Seconds, a whole minute; 0: never, or not known. */
int64_t key_used_when(struct key_used *u, const uint8_t hash[CRYPTO_HASH_LEN]);

/* The key is no more: as a step of a change. */
void key_used_forget(struct key_used *u, const uint8_t hash[CRYPTO_HASH_LEN],
		     struct store_change *change);

/* Writes what is not on disk yet. What cannot be written (logged) is
 * forgotten. */
void key_used_flush(struct key_used *u);

#endif
