/* SPDX-License-Identifier: MIT */
/*
 * key_known: what the key cache knows of a good key, and how that looks on
 * disk. It never changes once made and is counted, so that it can be read
 * without a lock. Thread-safe.
 */
#ifndef TXM_MILTER_KEY_KNOWN_H
#define TXM_MILTER_KEY_KNOWN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "key_cache.h"

struct key_known {
	atomic_uint refs;
	struct account *account;
	size_t sealed_len;
	uint8_t sealed[]; /* the key */
};

/* One reference, the caller's. The account is copied. */
struct key_known *key_known_make(const struct crypto_seal *seal,
				 const char *key, size_t len,
				 const struct account *account);
struct key_known *key_known_ref(struct key_known *k);
void key_known_unref(struct key_known **k);

/* True when the account is the same in every respect. */
bool key_known_is_of(const struct key_known *k, const struct account *b);

/* key_r has KEY_MAX bytes. Not NUL-terminated. */
void key_known_unseal(const struct crypto_seal *seal, const struct key_known *k,
		      char *key_r);

/* The record for disk (free()); NULL when it is too long for the store. */
uint8_t *key_known_encode(const struct key_known *k, int64_t checked,
			  size_t *len_r);

/* NULL when it cannot be read, was sealed with another secret, or belongs to
 * another key than the one with this hash. */
struct key_known *key_known_decode(const struct crypto_seal *seal,
				   const uint8_t hash[CRYPTO_HASH_LEN],
				   const uint8_t *value, size_t len,
				   int64_t *checked_r);

/* The time of a record; false when it is no record. */
bool key_known_checked(const void *value, size_t len, int64_t *checked_r);

#endif
