/* SPDX-License-Identifier: MIT */
#include "account_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "need.h"
#include "store.h"

/* A record on disk: version, length of the sealed key (little-endian), sealed
 * key, account as JSON. */
#define RECORD_VERSION 1
_Static_assert(ACCOUNT_RECORD_MAX <= STORE_VALUE_MAX,
	       "a record fits the store");

#define CONTEXT_SIZE (sizeof("account:") + ACCOUNT_ID_MAX)

void
account_record_clear(struct account_record *r)
{
	account_free(&r->account);
	r->sealed_len = 0;
}

static void
context_of(const struct account_record *r, char context[CONTEXT_SIZE])
{
	int n = snprintf(context, CONTEXT_SIZE, "account:%s", r->account->id);

	if (n < 0 || (size_t)n >= CONTEXT_SIZE)
		abort();
}

void
account_record_seal(struct account_record *r, const struct crypto_seal *seal,
		    const char *api_key)
{
	size_t len = strlen(api_key);
	char context[CONTEXT_SIZE];

	if (len > KEY_MAX)
		abort();
	r->sealed_len = 0;
	if (len == 0)
		return;
	context_of(r, context);
	crypto_seal(seal, context, api_key, len, r->sealed);
	r->sealed_len = len + CRYPTO_SEAL_OVERHEAD;
}

bool
account_record_unseal(const struct account_record *r,
		      const struct crypto_seal *seal,
		      char api_key_r[KEY_MAX + 1])
{
	char context[CONTEXT_SIZE];

	api_key_r[0] = '\0';
	if (r->sealed_len == 0)
		return true;
	context_of(r, context);
	if (crypto_unseal(seal, context, r->sealed, r->sealed_len, api_key_r) <
	    0) {
		api_key_r[0] = '\0';
		return false;
	}
	api_key_r[r->sealed_len - CRYPTO_SEAL_OVERHEAD] = '\0';
	return true;
}

uint8_t *
account_record_encode(const struct account_record *r, size_t *len_r)
{
	char *json = account_to_json(r->account);
	size_t json_len = strlen(json);
	uint8_t *value;

	*len_r = ACCOUNT_RECORD_HEAD + r->sealed_len + json_len;
	value = need(malloc(*len_r));
	value[0] = RECORD_VERSION;
	value[1] = (uint8_t)r->sealed_len;
	value[2] = (uint8_t)(r->sealed_len >> 8);
	memcpy(value + ACCOUNT_RECORD_HEAD, r->sealed, r->sealed_len);
	memcpy(value + ACCOUNT_RECORD_HEAD + r->sealed_len, json, json_len);
	free(json);
	return value;
}

size_t
account_record_size(const struct account_record *r)
{
	char *json = account_to_json(r->account);
	size_t len = strlen(json);

	free(json);
	return ACCOUNT_RECORD_HEAD + ACCOUNT_SEALED_MAX + len;
}

bool
account_record_decode_sealed(const void *value, size_t len,
			     struct account_record *record_r)
{
	const uint8_t *bytes = value;
	size_t sealed;

	if (len < ACCOUNT_RECORD_HEAD || bytes[0] != RECORD_VERSION)
		return false;
	sealed = (size_t)bytes[1] | (size_t)bytes[2] << 8;
	if (sealed > ACCOUNT_SEALED_MAX || sealed > len - ACCOUNT_RECORD_HEAD ||
	    (sealed > 0 && sealed <= CRYPTO_SEAL_OVERHEAD))
		return false;
	record_r->sealed_len = sealed;
	memcpy(record_r->sealed, bytes + ACCOUNT_RECORD_HEAD, sealed);
	return true;
}

bool
account_record_decode(const void *value, size_t len,
		      struct account_record *record_r)
{
	const char *text = value;
	size_t head;

	if (!account_record_decode_sealed(value, len, record_r))
		return false;
	head = ACCOUNT_RECORD_HEAD + record_r->sealed_len;
	record_r->account = account_from_json(text + head, len - head);
	return record_r->account != NULL;
}
