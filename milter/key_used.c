/* SPDX-License-Identifier: MIT */
/*
 * A word holds all that is known of a key, so that it changes at once: the
 * hash's 18 bits that choose the set are not in it, the next 38 are, and the
 * minute has the rest (until the year 2097).
 */
#include "key_used.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "need.h"
#include "store.h"

#define WAYS 4
#define SET_BITS 18
#define SETS (1u << SET_BITS)
_Static_assert(SETS *WAYS == KEY_USED_MAX, "as promised");
#define TAG_BITS 38
#define MINUTE_BITS 26
#define MINUTE_MAX ((UINT64_C(1) << MINUTE_BITS) - 1)
_Static_assert(SET_BITS + TAG_BITS == KEY_USED_PREFIX * 8, "prefix");
_Static_assert(TAG_BITS + MINUTE_BITS == 64, "a word");

#define BATCH 10000
#define VALUE_LEN 8

struct key_used {
	struct store *store;
	atomic_uint_fast64_t *words; /* 0: free */
};

/* Most of the table is never touched and takes no memory. */
struct key_used *
key_used_new(struct store *store)
{
	struct key_used *u = need(calloc(1, sizeof(*u)));

	u->store = store;
	u->words = need(calloc(KEY_USED_MAX, sizeof(*u->words)));
	return u;
}

void
key_used_free(struct key_used **up)
{
	struct key_used *u = *up;

	if (u == NULL)
		return;
	free(u->words);
	free(u);
	*up = NULL;
}

static uint64_t
prefix_of(const uint8_t *hash)
{
	uint64_t prefix = 0;

	for (size_t i = 0; i < KEY_USED_PREFIX; i++)
		prefix = prefix << 8 | hash[i];
	return prefix;
}

static atomic_uint_fast64_t *
set_of(struct key_used *u, uint64_t prefix)
{
	return u->words + (prefix >> TAG_BITS) * WAYS;
}

/* The word without its minute. */
static uint64_t
tag_of(uint64_t prefix)
{
	return prefix << MINUTE_BITS;
}

static uint64_t
minute_of(int64_t now)
{
	uint64_t minute = now > 0 ? (uint64_t)now / 60 : 0;

	return minute > MINUTE_MAX ? MINUTE_MAX : minute;
}

void
key_used_note(struct key_used *u, const uint8_t hash[CRYPTO_HASH_LEN],
	      int64_t now)
{
	uint64_t prefix = prefix_of(hash);
	uint64_t word = tag_of(prefix) | minute_of(now);
	atomic_uint_fast64_t *set = set_of(u, prefix);

	if (minute_of(now) == 0)
		return;
	for (size_t i = 0; i < WAYS; i++) {
		uint64_t old =
		    atomic_load_explicit(&set[i], memory_order_relaxed);

		if (old == word)
			return;
		if (old != 0 && (old ^ word) > MINUTE_MAX)
			continue;
		/* Else somebody was faster: the next time counts. */
		(void)atomic_compare_exchange_strong(&set[i], &old, word);
		return;
	}
}

void
key_used_expect(struct key_used *u, const uint8_t hash[CRYPTO_HASH_LEN])
{
	__builtin_prefetch(set_of(u, prefix_of(hash)), 1);
}

static uint64_t
minute_in_memory(struct key_used *u, uint64_t prefix)
{
	atomic_uint_fast64_t *set = set_of(u, prefix);

	for (size_t i = 0; i < WAYS; i++) {
		uint64_t word = atomic_load(&set[i]);

		if (word != 0 && (word ^ tag_of(prefix)) <= MINUTE_MAX)
			return word & MINUTE_MAX;
	}
	return 0;
}

static void
put_number(uint8_t *dst, uint64_t value)
{
	for (size_t i = 0; i < VALUE_LEN; i++)
		dst[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t
get_number(const uint8_t *src)
{
	uint64_t value = 0;

	for (size_t i = VALUE_LEN; i-- > 0;)
		value = value << 8 | src[i];
	return value;
}

int64_t
key_used_when(struct key_used *u, const uint8_t hash[CRYPTO_HASH_LEN])
{
	uint64_t minute = minute_in_memory(u, prefix_of(hash));
	uint8_t value[VALUE_LEN];
	size_t len;

	if (minute == 0 &&
	    store_read(u->store, STORE_LAST_USED, hash, KEY_USED_PREFIX, value,
		       sizeof(value), &len) == 1 &&
	    len == sizeof(value))
		minute = get_number(value) & MINUTE_MAX;
	return (int64_t)minute * 60;
}

void
key_used_forget(struct key_used *u, const uint8_t hash[CRYPTO_HASH_LEN],
		struct store_change *change)
{
	const struct store_write w = { STORE_LAST_USED, hash, KEY_USED_PREFIX,
				       NULL, 0 };
	uint64_t prefix = prefix_of(hash);
	atomic_uint_fast64_t *set = set_of(u, prefix);

	for (size_t i = 0; i < WAYS; i++) {
		uint64_t word = atomic_load(&set[i]);

		if (word != 0 && (word ^ tag_of(prefix)) <= MINUTE_MAX)
			(void)atomic_compare_exchange_strong(&set[i], &word, 0);
	}
	store_change_put(change, &w);
}

struct batch {
	struct store_write writes[BATCH];
	uint8_t keys[BATCH][KEY_USED_PREFIX];
	uint8_t values[BATCH][VALUE_LEN];
	size_t n;
};

static void
add(struct batch *b, size_t at, uint64_t word)
{
	uint64_t prefix =
	    (uint64_t)(at / WAYS) << TAG_BITS | word >> MINUTE_BITS;

	for (size_t i = KEY_USED_PREFIX; i-- > 0; prefix >>= 8)
		b->keys[b->n][i] = (uint8_t)prefix;
	put_number(b->values[b->n], word & MINUTE_MAX);
	b->writes[b->n] =
	    (struct store_write){ STORE_LAST_USED, b->keys[b->n],
				  KEY_USED_PREFIX, b->values[b->n], VALUE_LEN };
	b->n++;
}

/* Failure is logged there. */
static void
write_batch(struct key_used *u, struct batch *b)
{
	(void)store_write(u->store, b->writes, b->n);
	b->n = 0;
}

/* In the order of the table, which is that of the records on disk. */
void
key_used_flush(struct key_used *u)
{
	struct batch *b = need(malloc(sizeof(*b)));

	b->n = 0;
	for (size_t at = 0; at < KEY_USED_MAX; at++) {
		uint64_t word =
		    atomic_load_explicit(&u->words[at], memory_order_relaxed);

		if (word == 0)
			continue;
		word = atomic_exchange(&u->words[at], 0);
		if (word != 0)
			add(b, at, word);
		if (b->n == BATCH)
			write_batch(u, b);
	}
	write_batch(u, b);
	free(b);
}
