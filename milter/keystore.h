/* SPDX-License-Identifier: MIT */
/*
 * keystore: accounts and keys that were made on this machine.
 *
 * Kept in the store: accounts by id (record as JSON, the API's key sealed in
 * it), keys by SHA-256. A key is shown once, when it is made, and not kept: it
 * cannot be read back. Every change is on disk when the call returns.
 *
 * A made key is "txk_", 52 base32 digits of 32 random bytes (RFC 4648, lower
 * case, the last digit's rest 0) and 6 digits of a checksum, so that a typing
 * error is told from a wrong key. Imported keys may have any form
 * key_is_plausible() allows.
 *
 * A lookup reads the store's memory map, which takes no lock; the account is
 * parsed once and shared, behind one short lock of many. Up to
 * KEYSTORE_ACCOUNTS_CACHED accounts are kept parsed. Thread-safe.
 */
#ifndef TXM_MILTER_KEYSTORE_H
#define TXM_MILTER_KEYSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "key_cache.h"

#define KEYSTORE_PREFIX "txk_"
#define KEYSTORE_KEY_LEN 62
#define KEYSTORE_LABEL_MAX 128
#define KEYSTORE_LOGIN_MAX 128
#define KEYSTORE_ACCOUNTS_CACHED 16384

struct account;
struct crypto_seal;
struct dynbuf;
struct keystore;
struct store;

enum keystore_status { KEYSTORE_ENABLED, KEYSTORE_DISABLED };

/* A key, as kept. Times are seconds of the real-time clock; 0: none. */
struct keystore_key {
	uint8_t hash[CRYPTO_HASH_LEN];
	char key_id[KEY_ID_LEN + 1];
	char account[65]; /* its id */
	char label[KEYSTORE_LABEL_MAX + 1];
	/* The user name that was issued with it; "": none was. Who logs in
	 * with the key must give it. */
	char login[KEYSTORE_LOGIN_MAX + 1];
	enum keystore_status status;
	int64_t created, not_before, expires;
	int64_t last_used; /* to the minute or so: written behind */
};

/* Both must outlive it. */
struct keystore *keystore_new(struct store *store,
			      const struct crypto_seal *seal);
void keystore_free(struct keystore **ks);

/* What a lookup found: the key, its account (a share: account_share() it to
 * keep it), and when GOOD the account's API key unsealed, "" when it has none.
 */
struct keystore_found {
	struct keystore_key key;
	struct account *account;
	char api_key[KEY_MAX + 1];
};
void keystore_found_clear(struct keystore_found *f);

enum keystore_answer {
	KEYSTORE_GOOD,	   /* found_r is set */
	KEYSTORE_REFUSED,  /* here, but disabled, not yet or no more good, or
			    * its account is disabled; found_r is set */
	KEYSTORE_NOT_HERE, /* maybe somewhere else */
	KEYSTORE_MISTYPED, /* not here, and it begins like one of ours but its
			    * length or checksum is wrong */
	KEYSTORE_ERROR,	   /* disk, or what was sealed with another secret
			    * (logged) */
};

/* By the key or by its id. GOOD notes that it was used. found_r is empty
 * unless said above; keystore_found_clear() it either way. last_used is not
 * looked up. */
enum keystore_answer keystore_find(struct keystore *ks, const char *key,
				   size_t len, int64_t now,
				   struct keystore_found *found_r);
enum keystore_answer keystore_find_id(struct keystore *ks, const char *key_id,
				      int64_t now,
				      struct keystore_found *found_r);

/* By its id; notes no use. 1 found, 0 not, -1 disk (logged). */
int keystore_key(struct keystore *ks, const char *key_id,
		 struct keystore_key *k_r);

/* Printable UTF-8 of at most KEYSTORE_LABEL_MAX bytes; may be empty. */
bool keystore_label_is_valid(const char *label);

/* The same of at most KEYSTORE_LOGIN_MAX bytes. */
bool keystore_login_is_valid(const char *login);

/* Makes a key for an account that is there. key_r gets the key: the only time
 * it can be seen; wipe it. k: label, login and times are taken from it, the
 * rest is set in it. 0, or -1: no such account, or disk (logged). */
int keystore_make(struct keystore *ks, struct keystore_key *k,
		  char key_r[KEYSTORE_KEY_LEN + 1]);

/* Adds or replaces. 0, or -1 (logged). api_key NULL: keep what is there; "":
 * none; else it must be plausible as a key. A key's id is that of its hash;
 * its account must be there. */
int keystore_put_account(struct keystore *ks, const struct account *a,
			 const char *api_key);
int keystore_put_key(struct keystore *ks, const struct keystore_key *k);

/* False also when disk cannot tell (logged). */
bool keystore_has_account(struct keystore *ks, const char *id);

/* 1 and a copy (account_free()), 0 no such account, -1 disk (logged). */
int keystore_account(struct keystore *ks, const char *id,
		     struct account **account_r, bool *has_api_key_r);

/* By key id. 1 done, 0 no such key, -1 disk (logged). Takes effect for the
 * next keystore_find() of any thread. */
int keystore_set_status(struct keystore *ks, const char *key_id,
			enum keystore_status status);
int keystore_set_expires(struct keystore *ks, const char *key_id,
			 int64_t expires);
int keystore_revoke(struct keystore *ks, const char *key_id);

/* The account's key of the API, "" when it has none, and whether the account is
 * disabled. 1, 0 no such account, -1 disk, or what was sealed with another
 * secret (logged). Wipe it. */
int keystore_api_key(struct keystore *ks, const char *account,
		     char api_key_r[KEY_MAX + 1], bool *disabled_r);

/* Calls fn for each, from behind `after` (NULL: the first) on, until fn says
 * false: accounts in the order of ids, keys in that of their hashes (base32:
 * digits come after letters). False when disk cannot be read or `after` is no
 * id. What cannot be decoded is skipped, and logged. fn must not change the
 * keystore. */
typedef bool keystore_key_fn(void *arg, const struct keystore_key *k);
typedef bool keystore_account_fn(void *arg, const struct account *a);
bool keystore_each_key(struct keystore *ks, const char *after,
		       keystore_key_fn *fn, void *arg);
bool keystore_each_account(struct keystore *ks, const char *after,
			   keystore_account_fn *fn, void *arg);

/*
 * JSON lines, all or nothing in one transaction:
 *
 *	{"account":"acme","dialect":"emaildelivery","routes":[...],...,
 *	 "api_key":"..."}
 *	{"key":"..." or "sha256":"hex","of":"acme","label":"...",
 *	 "login":"...","status":"enabled","created":0,"not_before":0,
 *	 "expires":0}
 *
 * A key's account must be there or come in an earlier line; a member that is
 * not known is an error, for a typing error must not make a key that never
 * expires. Empty lines are skipped. Returns how many lines were taken, or -1
 * and what is wrong, without any of the text ("line 3: ...", free()).
 * first_line: the number of the first one, for a file that comes in pieces.
 */
long keystore_import(struct keystore *ks, const char *text, size_t len,
		     unsigned long first_line, char **error_r);

/* One line of the above, without secrets. False when out is full. */
bool keystore_export_key(const struct keystore_key *k, struct dynbuf *out);
bool keystore_export_account(const struct account *a, struct dynbuf *out);

/* True when an account that is here, or was since the start, has a dialect with
 * a bound of its own for recipients (or when disk could not tell). */
bool keystore_bounds_recipients(const struct keystore *ks);

/* How many keys; SIZE_MAX when disk cannot say. */
size_t keystore_count(struct keystore *ks);

/* Writes the times of last use that are not on disk yet: now and then. */
void keystore_flush(struct keystore *ks);

#endif
