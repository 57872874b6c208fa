/* SPDX-License-Identifier: MIT */
/*
 * plan_seal: a plan's text as X-Txmilter-Plan headers, and back.
 *
 * Sealed (crypto_seal, context "plan"), base64, cut into headers of at most
 * PLAN_HEADER_MAX bytes, each folded at 76 columns. On the way back white space
 * does not matter and the headers are taken in their order. Thread-safe; no
 * state.
 */
#ifndef TXM_MILTER_PLAN_SEAL_H
#define TXM_MILTER_PLAN_SEAL_H

#include <stdbool.h>
#include <stddef.h>

/* Postfix cuts headers at 60,000 bytes, libmilter refuses 65,535. */
#define PLAN_HEADER_MAX 50000
/* All headers of one plan, together. */
#define PLAN_HEADERS_MAX (16 * 1024 * 1024)

struct crypto_seal;
struct dynbuf;

/* Calls fn with the value of each header, NUL-terminated. */
typedef void plan_header_fn(void *arg, const char *value);
void plan_seal(const struct crypto_seal *s, const char *plan, size_t len,
	       plan_header_fn *fn, void *arg);

/* The plan's text from the values of the headers one after the other, added
 * to plan_r, which may hold a key then: wipe it. False, and nothing added, when
 * it does not verify, or plan_r is full. */
bool plan_unseal(const struct crypto_seal *s, const char *values, size_t len,
		 struct dynbuf *plan_r);

#endif
