/* SPDX-License-Identifier: MIT */
#include "key_known.h"

#include <stdlib.h>
#include <string.h>

#include "need.h"
#include "policy/account.h"
#include "store.h"

#define SEAL_CONTEXT "key"

/* A record on disk: version, time of the check, length of the sealed key (the
 * numbers little-endian), sealed key, account as JSON. */
#define RECORD_VERSION 1
#define RECORD_HEAD (1 + 8 + 2)
#define SEALED_MAX (KEY_MAX + CRYPTO_SEAL_OVERHEAD)

/* Takes the account. */
static struct key_known *
known_new(const uint8_t *sealed, size_t sealed_len, struct account *account)
{
	struct key_known *k = need(malloc(sizeof(*k) + sealed_len));

	atomic_init(&k->refs, 1);
	k->account = account;
	k->sealed_len = sealed_len;
	memcpy(k->sealed, sealed, sealed_len);
	return k;
}

struct key_known *
key_known_ref(struct key_known *k)
{
	atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
	return k;
}

void
key_known_unref(struct key_known **kp)
{
	struct key_known *k = *kp;

	*kp = NULL;
	if (k == NULL ||
	    atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) > 1)
		return;
	account_free(&k->account);
	free(k);
}

struct key_known *
key_known_make(const struct crypto_seal *seal, const char *key, size_t len,
	       const struct account *account)
{
	uint8_t sealed[SEALED_MAX];

	crypto_seal(seal, SEAL_CONTEXT, key, len, sealed);
	return known_new(sealed, len + CRYPTO_SEAL_OVERHEAD,
			 account_copy(account));
}

void
key_known_unseal(const struct crypto_seal *seal, const struct key_known *k,
		 char *key_r)
{
	/* It was sealed or checked with this very seal. */
	if (crypto_unseal(seal, SEAL_CONTEXT, k->sealed, k->sealed_len, key_r) <
	    0)
		abort();
}

bool
key_known_is_of(const struct key_known *k, const struct account *b)
{
	return account_equal(k->account, b);
}

static void
put_number(uint8_t *dst, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		dst[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t
get_number(const uint8_t *src, size_t bytes)
{
	uint64_t value = 0;

	while (bytes-- > 0)
		value = value << 8 | src[bytes];
	return value;
}

uint8_t *
key_known_encode(const struct key_known *k, int64_t checked, size_t *len_r)
{
	char *json = need(account_to_json(k->account));
	size_t json_len = strlen(json);
	uint8_t *value;

	*len_r = RECORD_HEAD + k->sealed_len + json_len;
	value = need(malloc(*len_r));
	value[0] = RECORD_VERSION;
	put_number(value + 1, (uint64_t)checked, 8);
	put_number(value + 9, k->sealed_len, 2);
	memcpy(value + RECORD_HEAD, k->sealed, k->sealed_len);
	memcpy(value + RECORD_HEAD + k->sealed_len, json, json_len);
	free(json);
	if (*len_r > STORE_VALUE_MAX) {
		free(value);
		value = NULL;
	}
	return value;
}

static bool
decode_head(const uint8_t *value, size_t len, int64_t *checked_r,
	    size_t *sealed_len_r)
{
	if (len < RECORD_HEAD || value[0] != RECORD_VERSION)
		return false;
	*checked_r = (int64_t)get_number(value + 1, 8);
	*sealed_len_r = (size_t)get_number(value + 9, 2);
	return *sealed_len_r > CRYPTO_SEAL_OVERHEAD &&
	       *sealed_len_r <= SEALED_MAX &&
	       *sealed_len_r <= len - RECORD_HEAD;
}

bool
key_known_checked(const void *value, size_t len, int64_t *checked_r)
{
	size_t sealed_len;

	return decode_head(value, len, checked_r, &sealed_len);
}

/* A sealed key that belongs to another record would verify as well. */
static bool
unseals_to(const struct crypto_seal *seal, const uint8_t *sealed, size_t len,
	   const uint8_t hash[CRYPTO_HASH_LEN])
{
	uint8_t key[KEY_MAX], got[CRYPTO_HASH_LEN];
	bool ok = crypto_unseal(seal, SEAL_CONTEXT, sealed, len, key) == 0;

	if (ok) {
		crypto_hash(key, len - CRYPTO_SEAL_OVERHEAD, got);
		ok = memcmp(got, hash, CRYPTO_HASH_LEN) == 0;
	}
	crypto_wipe(key, sizeof(key));
	return ok;
}

struct key_known *
key_known_decode(const struct crypto_seal *seal,
		 const uint8_t hash[CRYPTO_HASH_LEN], const uint8_t *value,
		 size_t len, int64_t *checked_r)
{
	struct account *account;
	size_t sealed_len, head;

	if (!decode_head(value, len, checked_r, &sealed_len) ||
	    !unseals_to(seal, value + RECORD_HEAD, sealed_len, hash))
		return NULL;
	head = RECORD_HEAD + sealed_len;
	account = account_from_json((const char *)value + head, len - head);
	if (account == NULL)
		return NULL;
	return known_new(value + RECORD_HEAD, sealed_len, account);
}
