/* SPDX-License-Identifier: MIT */
/*
 * account_cache: the accounts on disk that were used last, parsed.
 *
 * Handed out as shares (account_share()): nobody changes them, and who has one
 * keeps it when it leaves the cache. Memory is bounded by a number of
 * accounts; one that was not used for long leaves. Thread-safe; a lookup takes
 * one of ACCOUNT_CACHE_SHARDS locks for as long as copying 300 bytes takes.
 */
#ifndef TXM_MILTER_ACCOUNT_CACHE_H
#define TXM_MILTER_ACCOUNT_CACHE_H

#include "account_record.h"

#define ACCOUNT_CACHE_SHARDS 64

struct account_cache;
struct store;

/* The store must outlive it. max_accounts is rounded up to a multiple of the
 * shards. */
struct account_cache *account_cache_new(struct store *store,
					size_t max_accounts);
void account_cache_free(struct account_cache **c);

/* 1 found (account_record_clear()), 0 no such account, -1 it cannot be read
 * (logged). */
int account_cache_get(struct account_cache *c, const char *id,
		      struct account_record *record_r);

/* It has changed on disk; NULL: any of them may have. Who asks from then on
 * gets what disk has. */
void account_cache_drop(struct account_cache *c, const char *id);

#endif
