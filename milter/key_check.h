/* SPDX-License-Identifier: MIT */
/*
 * key_check: is this API key good, and whose is it?
 *
 * Answers from the key cache while what it says is fresh, else asks the
 * control plane (GET {url}{routes_path}), once per key however many ask at
 * the same time. An answer that is getting old is refreshed ahead, in the
 * background. When the control plane cannot be reached, what was known for
 * less than `stale` still counts; nobody waits then but for a key that is not
 * known. Thread-safe.
 */
#ifndef TXM_MILTER_KEY_CHECK_H
#define TXM_MILTER_KEY_CHECK_H

#include <stddef.h>

#include "key_cache.h"

enum key_status {
	KEY_GOOD,    /* identity is set */
	KEY_WRONG,   /* unknown, revoked, or not a key at all */
	KEY_UNKNOWN, /* cannot tell now */
};

/* Who is sending. */
struct identity {
	struct account *account;
	char key_id[KEY_ID_LEN + 1];
	char key[KEY_MAX + 1]; /* the secret: for the API call only */
};

void identity_free(struct identity **id);

/* "account:keyid", as Postfix is told. */
#define IDENTITY_USER_MAX (64 + 1 + KEY_ID_LEN)
void identity_user(const struct identity *id,
		   char user_r[IDENTITY_USER_MAX + 1]);

/* Overwrites each occurrence of a key in text that a peer sent. */
void identity_hide_key(char *data, size_t len, const char *key);

struct key_check;

struct key_check_settings {
	const char *url; /* of the control plane; copied */
	const struct api_format *format;
	bool ask_account;    /* GET {url}{account_path} names the account */
	unsigned timeout_ms; /* of a check, all requests together */
	unsigned ttl, negative_ttl, stale; /* seconds */
	int64_t (*now)(void); /* seconds; NULL: the real-time clock */
};

struct http_pool;
struct key_check *key_check_new(const struct key_check_settings *settings,
				struct key_cache *cache,
				struct http_pool *pool);

/* Waits for nothing; checks under way must be over (the pool is stopped). */
void key_check_free(struct key_check **kc);

/* The answer to one question; `id` is the receiver's to free, NULL unless
 * GOOD. Runs in the asking thread when the cache answers or nothing can be
 * asked, else in the HTTP pool's, where it must not block. */
typedef void key_answer_fn(void *arg, enum key_status status,
			   struct identity *id);

/* Asks about a key as the client gave it (copied). fn is called exactly once,
 * maybe before this returns. */
void key_check_ask(struct key_check *kc, const char *key, size_t len,
		   key_answer_fn *fn, void *arg);

/* The same for the user name Postfix was told: "account:keyid", maybe with
 * "+subaccount". WRONG when the key is not that account's. UNKNOWN when the
 * key id is not known here: we told Postfix that name, so the loss is ours. */
void key_check_ask_user(struct key_check *kc, const char *user,
			key_answer_fn *fn, void *arg);

/* The API refused the key at hand-off: it is wrong from now on. */
void key_check_refused(struct key_check *kc, const struct identity *id);

#endif
