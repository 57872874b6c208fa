/* SPDX-License-Identifier: MIT */
/*
 * account_record: an account that was made here, as it looks on disk: with the
 * API's key sealed for this account and no other. No state.
 */
#ifndef TXM_MILTER_ACCOUNT_RECORD_H
#define TXM_MILTER_ACCOUNT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "key_cache.h"
#include "policy/account.h"

#define ACCOUNT_SEALED_MAX (KEY_MAX + CRYPTO_SEAL_OVERHEAD)
#define ACCOUNT_RECORD_HEAD 3
#define ACCOUNT_RECORD_MAX \
	(ACCOUNT_RECORD_HEAD + ACCOUNT_SEALED_MAX + ACCOUNT_JSON_MAX)

struct account_record {
	struct account *account; /* owned */
	size_t sealed_len;	 /* 0: it has no key of the API */
	uint8_t sealed[ACCOUNT_SEALED_MAX];
};

void account_record_clear(struct account_record *r);

/* Gives the record a key (plausible as one, or "" for none), or gets it;
 * api_key_r is "" when there is none. False when it does not verify. */
void account_record_seal(struct account_record *r,
			 const struct crypto_seal *seal, const char *api_key);
bool account_record_unseal(const struct account_record *r,
			   const struct crypto_seal *seal,
			   char api_key_r[KEY_MAX + 1]);

/* For disk (free()), at most ACCOUNT_RECORD_MAX bytes. */
uint8_t *account_record_encode(const struct account_record *r, size_t *len_r);

/* How long it may be on disk, with whatever key of the API. */
size_t account_record_size(const struct account_record *r);

/* False, and nothing to clear, when it is no record. */
bool account_record_decode(const void *value, size_t len,
			   struct account_record *record_r);

/* The sealed key only. */
bool account_record_decode_sealed(const void *value, size_t len,
				  struct account_record *record_r);

#endif
