/* SPDX-License-Identifier: MIT */
/*
 * key_wait: a question to key_check whose answer is fetched later.
 *
 * The question is asked when the headers are complete, the answer is needed
 * at the end of the message; in between nobody waits. Either side may be gone
 * first. Thread-safe.
 */
#ifndef TXM_MILTER_KEY_WAIT_H
#define TXM_MILTER_KEY_WAIT_H

#include <stdbool.h>

#include "key_check.h"

struct key_wait;

/* Asks about a key, or about a user name that Postfix was given; `address` as
 * for key_check_ask(). */
struct key_wait *key_wait_key(struct key_check *kc, const char *key, size_t len,
			      const char *address);
struct key_wait *key_wait_user(struct key_check *kc, const char *user,
			       const char *address);

/* Waits for the answer in a callback: wakes the pool when it takes long, and
 * gives up (KEY_UNKNOWN) a while after check_timeout_ms, by which key_check
 * should have answered. *identity_r is the caller's to free. Frees the
 * question. */
struct pool_wake;
enum key_status key_wait_take(struct key_wait **w, struct pool_wake *pool,
			      unsigned check_timeout_ms,
			      enum key_reason *reason_r,
			      struct identity **identity_r);

/* The answer as far as it is there: NULL when there is none yet or the key is
 * not good. Lives until the question is taken or freed. Never waits. */
const struct identity *key_wait_peek(struct key_wait *w);

/* Nobody wants the answer any more. */
void key_wait_free(struct key_wait **w);

#endif
