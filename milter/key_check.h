/* SPDX-License-Identifier: MIT */
/*
 * key_check: is this API key good, and whose is it?
 *
 * Keys that were made here are known here: the key store is looked at for
 * every question, so that what changes there counts for the next message. For
 * others the control plane is asked, when that is wanted.
 *
 * It answers from the key cache while what that says is fresh, else it is
 * asked (GET {url}{routes_path}), once per key however many ask at the same
 * time. An answer that is getting old is refreshed ahead, in the background.
 * When the control plane cannot be reached, what was known for less than
 * `stale` still counts; nobody waits then but for a key that is not known.
 *
 * Whatever knows the key, the client's address must be one that its account
 * allows. Thread-safe.
 */
#ifndef TXM_MILTER_KEY_CHECK_H
#define TXM_MILTER_KEY_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "key_cache.h"
#include "key_reason.h"
#include "keystore.h"
#include "policy/dialect.h"

enum key_status {
	KEY_GOOD,    /* identity is set */
	KEY_WRONG,   /* unknown, revoked, or not a key at all */
	KEY_UNKNOWN, /* cannot tell now */
};

/* Who is sending. */
struct identity {
	struct account *account; /* shared: not to be changed */
	char key_id[KEY_ID_LEN + 1];
	/* The secret, for the API call only: the API's key; "" when the key
	 * was made here and its account has none. */
	char key[KEY_MAX + 1];
	bool local; /* the key was made here */
	/* The user name that was issued with the key; "" when none was. */
	char login[KEYSTORE_LOGIN_MAX + 1];
	char subaccount[SUBACCOUNT_MAX + 1]; /* of the login; "" none */
};

void identity_free(struct identity **id);

/* "account:keyid" or "account:keyid+subaccount", as Postfix is told. */
#define IDENTITY_USER_MAX (64 + 1 + KEY_ID_LEN + 1 + SUBACCOUNT_MAX)
void identity_user(const struct identity *id,
		   char user_r[IDENTITY_USER_MAX + 1]);

struct key_check;

struct key_check_settings {
	const char *url; /* of the control plane; copied */
	const struct api_format *format;
	struct keystore *local; /* keys that were made here; NULL: none */
	bool ask_api;		/* about other keys; else they are wrong */
	bool ask_account;	/* GET {url}{account_path} names the account */
	unsigned timeout_ms;	/* of a check, all requests together */
	unsigned ttl, negative_ttl, stale; /* seconds */
	int64_t (*now)(void); /* seconds; NULL: the real-time clock */
	/* How long a check with the API took; NULL: nobody wants to know. */
	void (*timed)(void *arg, double seconds);
	void *timed_arg;
};

struct http_pool;
struct keystore;
struct key_check *key_check_new(const struct key_check_settings *settings,
				struct key_cache *cache,
				struct http_pool *pool);

/* Other settings from now on, but for `local` and `now`, which stay. Checks
 * under way end as they began. */
void key_check_reconfigure(struct key_check *kc,
			   const struct key_check_settings *settings);

/* Waits for nothing; checks under way must be over (the pool is stopped). */
void key_check_free(struct key_check **kc);

/* The answer to one question; `id` is the receiver's to free, NULL unless
 * GOOD. Runs in the asking thread when the cache answers or nothing can be
 * asked, else in the HTTP pool's, where it must not block. */
typedef void key_answer_fn(void *arg, enum key_status status,
			   enum key_reason reason, struct identity *id);

/* Asks about a key as the client gave it, and whether it may be used from
 * there: `address` in numbers, or NULL when it is not known (both copied). fn
 * is called exactly once, maybe before this returns. */
void key_check_ask(struct key_check *kc, const char *key, size_t len,
		   const char *address, key_answer_fn *fn, void *arg);

/* The same for the user name Postfix was told: "account:keyid", maybe with
 * "+subaccount", which the identity has then. WRONG when the key is not that
 * account's. UNKNOWN when the key id is not known: we told Postfix that name,
 * so the loss is ours. But when there is no API to ask, or the account was made
 * here, the key was revoked: WRONG. */
void key_check_ask_user(struct key_check *kc, const char *user,
			const char *address, key_answer_fn *fn, void *arg);

/* What the API said about that key is forgotten, or about all keys (0, or -1
 * when disk cannot be written, logged: then none is). A check
 * under way that was put before is not remembered, and who waits for it is
 * answered UNKNOWN unless it says that the key is wrong. */
int key_check_forget(struct key_check *kc, const char *key_id);
int key_check_forget_all(struct key_check *kc);

/* The API refused the key at hand-off: it is wrong from now on. A key that was
 * made here stays what it is: it is the account's key of the API that is
 * wrong (logged). */
void key_check_refused(struct key_check *kc, const char *account,
		       const char *key, bool local);

#endif
