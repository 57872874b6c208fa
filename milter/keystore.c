/* SPDX-License-Identifier: MIT */
#include "keystore.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "account_cache.h"
#include "account_record.h"
#include "key_lines.h"
#include "key_used.h"
#include "log.h"
#include "need.h"
#include "policy/account.h"
#include "policy/dialect.h"
#include "store.h"

/* A made key: prefix, digits of the random bytes, digits of the checksum. */
#define PREFIX_LEN (sizeof(KEYSTORE_PREFIX) - 1)
#define RANDOM_LEN 32
#define RANDOM_DIGITS 52
#define CHECKED_LEN (PREFIX_LEN + RANDOM_DIGITS)
#define CHECKSUM_DIGITS 6
_Static_assert(CHECKED_LEN + CHECKSUM_DIGITS == KEYSTORE_KEY_LEN, "a key");
/* Base32 comes in groups of 5 bytes, 8 digits. */
#define RANDOM_PADDED 35
#define CHECKSUM_BYTES 5

/* A key on disk: version, status, three times (little-endian), lengths of the
 * account's id and of the label, and these. Version 2 has the login behind
 * them, to the end; a key without one is written as version 1. */
#define RECORD_VERSION 1
#define RECORD_VERSION_LOGIN 2
#define RECORD_HEAD (2 + 3 * 8 + 2)
#define RECORD_MAX \
	(RECORD_HEAD + ACCOUNT_ID_MAX + KEYSTORE_LABEL_MAX + KEYSTORE_LOGIN_MAX)

/* Of a line of an import that becomes a record: what it may be longer. */
#define LINE_GROWTH 512

struct keystore {
	struct store *store;
	const struct crypto_seal *seal;
	struct account_cache *accounts;
	struct key_used *used;
	atomic_flag complained;
	atomic_bool bounds_recipients;
};

static void
note_dialect(struct keystore *ks, const struct account *a)
{
	const struct dialect *d =
	    a->dialect != NULL ? dialect_find(a->dialect) : NULL;

	if (d != NULL && d->recipients_max > 0)
		atomic_store(&ks->bounds_recipients, true);
}

/* Until one is found. */
static bool
note_account(void *arg, const struct account *a)
{
	struct keystore *ks = arg;

	note_dialect(ks, a);
	return !atomic_load(&ks->bounds_recipients);
}

bool
keystore_bounds_recipients(const struct keystore *ks)
{
	return atomic_load(&ks->bounds_recipients);
}

struct keystore *
keystore_new(struct store *store, const struct crypto_seal *seal)
{
	struct keystore *ks = need(calloc(1, sizeof(*ks)));

	ks->store = store;
	ks->seal = seal;
	ks->accounts = account_cache_new(store, KEYSTORE_ACCOUNTS_CACHED);
	ks->used = key_used_new(store);
	atomic_flag_clear(&ks->complained);
	if (!keystore_each_account(ks, NULL, note_account, ks))
		atomic_store(&ks->bounds_recipients, true);
	return ks;
}

void
keystore_free(struct keystore **kp)
{
	struct keystore *ks = *kp;

	if (ks == NULL)
		return;
	account_cache_free(&ks->accounts);
	key_used_free(&ks->used);
	free(ks);
	*kp = NULL;
}

/* --- records -------------------------------------------------------------- */

static void
put_number(uint8_t *dst, int64_t value)
{
	for (size_t i = 0; i < 8; i++)
		dst[i] = (uint8_t)((uint64_t)value >> (8 * i));
}

static int64_t
get_number(const uint8_t *src)
{
	uint64_t value = 0;

	for (size_t i = 8; i-- > 0;)
		value = value << 8 | src[i];
	return (int64_t)value;
}

static size_t
encode(const struct keystore_key *k, uint8_t value[RECORD_MAX])
{
	size_t account = strlen(k->account), label = strlen(k->label);
	size_t login = strlen(k->login);

	value[0] = login > 0 ? RECORD_VERSION_LOGIN : RECORD_VERSION;
	value[1] = (uint8_t)k->status;
	put_number(value + 2, k->created);
	put_number(value + 10, k->not_before);
	put_number(value + 18, k->expires);
	value[26] = (uint8_t)account;
	value[27] = (uint8_t)label;
	memcpy(value + RECORD_HEAD, k->account, account);
	memcpy(value + RECORD_HEAD + account, k->label, label);
	memcpy(value + RECORD_HEAD + account + label, k->login, login);
	return RECORD_HEAD + account + label + login;
}

static void
set_hash(struct keystore_key *k, const void *hash)
{
	memcpy(k->hash, hash, CRYPTO_HASH_LEN);
	crypto_base32(k->key_id, k->hash, KEY_ID_BYTES);
}

static bool
is_version(uint8_t version)
{
	return version == RECORD_VERSION || version == RECORD_VERSION_LOGIN;
}

/* k_r has its hash. */
static bool
decode(const uint8_t *value, size_t len, struct keystore_key *k_r)
{
	size_t account, label, login;

	if (len < RECORD_HEAD || !is_version(value[0]) ||
	    value[1] > KEYSTORE_DISABLED)
		return false;
	account = value[26];
	label = value[27];
	if (account == 0 || account > ACCOUNT_ID_MAX ||
	    label > KEYSTORE_LABEL_MAX || len < RECORD_HEAD + account + label)
		return false;
	login = len - RECORD_HEAD - account - label;
	if (login > KEYSTORE_LOGIN_MAX ||
	    (login > 0) != (value[0] == RECORD_VERSION_LOGIN))
		return false;
	k_r->status = (enum keystore_status)value[1];
	k_r->created = get_number(value + 2);
	k_r->not_before = get_number(value + 10);
	k_r->expires = get_number(value + 18);
	k_r->last_used = 0;
	memcpy(k_r->account, value + RECORD_HEAD, account);
	k_r->account[account] = '\0';
	memcpy(k_r->label, value + RECORD_HEAD + account, label);
	k_r->label[label] = '\0';
	memcpy(k_r->login, value + len - login, login);
	k_r->login[login] = '\0';
	return true;
}

static int
decoded(const uint8_t *value, size_t len, struct keystore_key *k_r)
{
	if (decode(value, len, k_r))
		return 1;
	log_error("keys", "key=%s its record cannot be read", k_r->key_id);
	return -1;
}

/* As store_read(). */
static int
read_key(struct keystore *ks, const uint8_t hash[CRYPTO_HASH_LEN],
	 struct keystore_key *k_r)
{
	uint8_t value[RECORD_MAX];
	size_t len;
	int rc = store_read(ks->store, STORE_LOCAL_KEYS, hash, CRYPTO_HASH_LEN,
			    value, sizeof(value), &len);

	if (rc != 1)
		return rc;
	set_hash(k_r, hash);
	return decoded(value, len, k_r);
}

static int
read_key_id(struct keystore *ks, const char *key_id, struct keystore_key *k_r)
{
	uint8_t value[RECORD_MAX], prefix[KEY_ID_BYTES], hash[STORE_KEY_MAX];
	size_t len, hash_len;
	int rc;

	if (!key_id_decode(key_id, prefix))
		return 0;
	rc = store_read_prefix(ks->store, STORE_LOCAL_KEYS, prefix,
			       sizeof(prefix), hash, &hash_len, value,
			       sizeof(value), &len);
	if (rc != 1)
		return rc;
	if (hash_len != CRYPTO_HASH_LEN)
		return 0;
	set_hash(k_r, hash);
	return decoded(value, len, k_r);
}

/* --- lookups -------------------------------------------------------------- */

void
keystore_found_clear(struct keystore_found *f)
{
	account_free(&f->account);
	crypto_wipe(f, sizeof(*f));
}

static bool
is_in_force(const struct keystore_found *f, int64_t now)
{
	const struct keystore_key *k = &f->key;

	return k->status == KEYSTORE_ENABLED && !f->account->disabled &&
	       now >= k->not_before && (k->expires == 0 || now < k->expires);
}

/* Once. */
static void
complain(struct keystore *ks, const char *account)
{
	if (!atomic_flag_test_and_set(&ks->complained))
		log_error("keys",
			  "account=%s its API key cannot be unsealed: was "
			  "secret_file replaced?",
			  account);
}

static enum keystore_answer
answer_good(struct keystore *ks, const struct account_record *record,
	    int64_t now, struct keystore_found *f)
{
	if (!account_record_unseal(record, ks->seal, f->api_key)) {
		complain(ks, f->account->id);
		return KEYSTORE_ERROR;
	}
	key_used_note(ks->used, f->key.hash, now);
	return KEYSTORE_GOOD;
}

/* f has the key. */
static enum keystore_answer
judge_key(struct keystore *ks, int64_t now, struct keystore_found *f)
{
	enum keystore_answer answer = KEYSTORE_REFUSED;
	struct account_record record;
	int rc = account_cache_get(ks->accounts, f->key.account, &record);

	if (rc != 1) {
		if (rc == 0)
			log_error("keys", "key=%s account=%s is not there",
				  f->key.key_id, f->key.account);
		return KEYSTORE_ERROR;
	}
	f->account = record.account;
	if (is_in_force(f, now))
		answer = answer_good(ks, &record, now, f);
	if (answer == KEYSTORE_ERROR)
		account_free(&f->account);
	return answer;
}

static void
checksum(const char *key, char digits_r[CHECKSUM_DIGITS])
{
	uint8_t hash[CRYPTO_HASH_LEN];
	char digits[CHECKSUM_BYTES / 5 * 8 + 1];

	crypto_hash(key, CHECKED_LEN, hash);
	crypto_base32(digits, hash, CHECKSUM_BYTES);
	memcpy(digits_r, digits, CHECKSUM_DIGITS);
}

static bool
is_mistyped(const char *key, size_t len)
{
	char digits[CHECKSUM_DIGITS];

	if (len < PREFIX_LEN || memcmp(key, KEYSTORE_PREFIX, PREFIX_LEN) != 0)
		return false;
	if (len != KEYSTORE_KEY_LEN)
		return true;
	checksum(key, digits);
	return memcmp(key + CHECKED_LEN, digits, CHECKSUM_DIGITS) != 0;
}

enum keystore_answer
keystore_find(struct keystore *ks, const char *key, size_t len, int64_t now,
	      struct keystore_found *found_r)
{
	uint8_t hash[CRYPTO_HASH_LEN];
	int rc;

	memset(found_r, 0, sizeof(*found_r));
	if (!key_is_plausible(key, len))
		return KEYSTORE_NOT_HERE;
	crypto_hash(key, len, hash);
	key_used_expect(ks->used, hash);
	rc = read_key(ks, hash, &found_r->key);
	if (rc < 0)
		return KEYSTORE_ERROR;
	if (rc == 0)
		return is_mistyped(key, len) ? KEYSTORE_MISTYPED
					     : KEYSTORE_NOT_HERE;
	return judge_key(ks, now, found_r);
}

enum keystore_answer
keystore_find_id(struct keystore *ks, const char *key_id, int64_t now,
		 struct keystore_found *found_r)
{
	int rc;

	memset(found_r, 0, sizeof(*found_r));
	rc = read_key_id(ks, key_id, &found_r->key);
	if (rc < 0)
		return KEYSTORE_ERROR;
	return rc == 0 ? KEYSTORE_NOT_HERE : judge_key(ks, now, found_r);
}

int
keystore_key(struct keystore *ks, const char *key_id, struct keystore_key *k_r)
{
	int rc;

	memset(k_r, 0, sizeof(*k_r));
	rc = read_key_id(ks, key_id, k_r);
	if (rc == 1)
		k_r->last_used = key_used_when(ks->used, k_r->hash);
	return rc;
}

bool
keystore_has_account(struct keystore *ks, const char *id)
{
	struct account_record record;

	if (!account_id_is_valid(id) ||
	    account_cache_get(ks->accounts, id, &record) != 1)
		return false;
	account_record_clear(&record);
	return true;
}

int
keystore_account(struct keystore *ks, const char *id,
		 struct account **account_r, bool *has_api_key_r)
{
	struct account_record record;
	int found;

	*account_r = NULL;
	*has_api_key_r = false;
	if (!account_id_is_valid(id))
		return 0;
	found = account_cache_get(ks->accounts, id, &record);
	if (found != 1)
		return found;
	*has_api_key_r = record.sealed_len > 0;
	*account_r = account_copy(record.account);
	account_record_clear(&record);
	return 1;
}

int
keystore_api_key(struct keystore *ks, const char *account,
		 char api_key_r[KEY_MAX + 1], bool *disabled_r)
{
	struct account_record record;
	int found = account_cache_get(ks->accounts, account, &record);

	api_key_r[0] = '\0';
	*disabled_r = false;
	if (found != 1)
		return found;
	*disabled_r = record.account->disabled;
	if (!account_record_unseal(&record, ks->seal, api_key_r)) {
		complain(ks, account);
		found = -1;
	}
	account_record_clear(&record);
	return found;
}

size_t
keystore_count(struct keystore *ks)
{
	return store_count(ks->store, STORE_LOCAL_KEYS);
}

void
keystore_flush(struct keystore *ks)
{
	key_used_flush(ks->used);
}

/* --- changes -------------------------------------------------------------- */

static void
put_key(struct store_change *c, const struct keystore_key *k)
{
	uint8_t value[RECORD_MAX];
	const struct store_write w = { STORE_LOCAL_KEYS, k->hash,
				       CRYPTO_HASH_LEN, value,
				       encode(k, value) };

	store_change_put(c, &w);
}

static bool
has_account(struct store_change *c, const char *id)
{
	const void *value;
	size_t len;

	return store_change_get(c, STORE_ACCOUNTS, id, strlen(id), &value,
				&len) == 1;
}

/* api_key NULL: keep what is there. */
static void
put_account(struct keystore *ks, struct store_change *c,
	    struct account_record *r, const char *api_key)
{
	const char *id = r->account->id;
	struct store_write w = { STORE_ACCOUNTS, id, strlen(id), NULL, 0 };
	const void *old;
	uint8_t *value;
	size_t len;

	note_dialect(ks, r->account);
	r->sealed_len = 0;
	if (api_key != NULL)
		account_record_seal(r, ks->seal, api_key);
	else if (store_change_get(c, STORE_ACCOUNTS, id, strlen(id), &old,
				  &len) == 1)
		(void)account_record_decode_sealed(old, len, r);
	value = account_record_encode(r, &w.len);
	w.value = value;
	store_change_put(c, &w);
	free(value);
}

static bool
is_good_key(const struct keystore_key *k)
{
	return account_id_is_valid(k->account) &&
	       keystore_label_is_valid(k->label) &&
	       keystore_login_is_valid(k->login) &&
	       (k->status == KEYSTORE_ENABLED ||
		k->status == KEYSTORE_DISABLED);
}

int
keystore_put_key(struct keystore *ks, const struct keystore_key *k)
{
	struct store_change *c;
	bool ok;

	if (!is_good_key(k)) {
		log_error("keys", "a key that is not valid is not kept");
		return -1;
	}
	c = store_change_begin(ks->store, 1, RECORD_MAX);
	ok = has_account(c, k->account);
	if (ok)
		put_key(c, k);
	if (store_change_end(&c, ok) != 0)
		return -1;
	if (!ok)
		log_error("keys", "account=%s is not there", k->account);
	return ok ? 0 : -1;
}

static void
make_key(char key_r[KEYSTORE_KEY_LEN + 1])
{
	uint8_t random[RANDOM_PADDED] = { 0 };
	char digits[RANDOM_PADDED / 5 * 8 + 1];

	crypto_random(random, RANDOM_LEN);
	crypto_base32(digits, random, sizeof(random));
	memcpy(key_r, KEYSTORE_PREFIX, PREFIX_LEN);
	memcpy(key_r + PREFIX_LEN, digits, RANDOM_DIGITS);
	checksum(key_r, key_r + CHECKED_LEN);
	key_r[KEYSTORE_KEY_LEN] = '\0';
	crypto_wipe(random, sizeof(random));
	crypto_wipe(digits, sizeof(digits));
}

int
keystore_make(struct keystore *ks, struct keystore_key *k,
	      char key_r[KEYSTORE_KEY_LEN + 1])
{
	uint8_t hash[CRYPTO_HASH_LEN];

	make_key(key_r);
	crypto_hash(key_r, KEYSTORE_KEY_LEN, hash);
	set_hash(k, hash);
	k->status = KEYSTORE_ENABLED;
	k->last_used = 0;
	if (keystore_put_key(ks, k) == 0)
		return 0;
	crypto_wipe(key_r, KEYSTORE_KEY_LEN + 1);
	return -1;
}

int
keystore_put_account(struct keystore *ks, const struct account *a,
		     const char *api_key)
{
	struct account_record record = { .account = account_copy(a) };
	struct store_change *c;
	int rc;

	if (!account_id_is_valid(a->id) ||
	    (api_key != NULL && *api_key != '\0' &&
	     !key_is_plausible(api_key, strlen(api_key)))) {
		log_error("keys", "an account that is not valid is not kept");
		account_record_clear(&record);
		return -1;
	}
	c = store_change_begin(ks->store, 1, account_record_size(&record));
	put_account(ks, c, &record, api_key);
	rc = store_change_end(&c, true);
	account_cache_drop(ks->accounts, a->id);
	account_record_clear(&record);
	return rc == 0 ? 0 : -1;
}

/* Finds the key in what is changed. */
static int
find_to_change(struct store_change *c, const char *key_id,
	       struct keystore_key *k_r)
{
	uint8_t prefix[KEY_ID_BYTES];
	const void *hash, *value;
	size_t hash_len, len;
	int rc;

	if (!key_id_decode(key_id, prefix))
		return 0;
	rc = store_change_find(c, STORE_LOCAL_KEYS, prefix, sizeof(prefix),
			       &hash, &hash_len, &value, &len);
	if (rc != 1)
		return rc;
	if (hash_len != CRYPTO_HASH_LEN)
		return 0;
	set_hash(k_r, hash);
	return decoded(value, len, k_r);
}

/* What is to become of a key. */
struct edit {
	const enum keystore_status *status; /* or NULL */
	const int64_t *expires;		    /* or NULL */
};

static int
edit_key(struct keystore *ks, const char *key_id, const struct edit *edit)
{
	/* A record of the same length: it needs no room, and a key can be
	 * disabled when the map is full. */
	struct store_change *c = store_change_begin(ks->store, 0, 0);
	struct keystore_key k;
	int rc = find_to_change(c, key_id, &k);

	if (rc == 1) {
		if (edit->status != NULL)
			k.status = *edit->status;
		if (edit->expires != NULL)
			k.expires = *edit->expires;
		put_key(c, &k);
	}
	return store_change_end(&c, rc == 1) == 0 ? rc : -1;
}

int
keystore_set_status(struct keystore *ks, const char *key_id,
		    enum keystore_status status)
{
	const struct edit edit = { .status = &status };

	return edit_key(ks, key_id, &edit);
}

int
keystore_set_expires(struct keystore *ks, const char *key_id, int64_t expires)
{
	const struct edit edit = { .expires = &expires };

	return edit_key(ks, key_id, &edit);
}

/* Also a record that cannot be decoded. */
int
keystore_revoke(struct keystore *ks, const char *key_id)
{
	struct store_change *c = store_change_begin(ks->store, 0, 0);
	uint8_t prefix[KEY_ID_BYTES], hash[STORE_KEY_MAX];
	struct store_write w = { STORE_LOCAL_KEYS, hash, 0, NULL, 0 };
	const void *key, *value;
	size_t len;
	int rc = 0;

	if (key_id_decode(key_id, prefix))
		rc = store_change_find(c, STORE_LOCAL_KEYS, prefix,
				       sizeof(prefix), &key, &w.key_len, &value,
				       &len);
	if (rc == 1) {
		memcpy(hash, key, w.key_len);
		store_change_put(c, &w);
		key_used_forget(ks->used, hash, c);
	}
	return store_change_end(&c, rc == 1) == 0 ? rc : -1;
}

/* --- walks ---------------------------------------------------------------- */

struct key_walk {
	struct keystore *ks;
	keystore_key_fn *fn;
	void *arg;
};

static bool
walk_key(void *arg, const void *key, size_t key_len, const void *value,
	 size_t len)
{
	const struct key_walk *w = arg;
	struct keystore_key k;

	if (key_len != CRYPTO_HASH_LEN)
		return true;
	set_hash(&k, key);
	if (decoded(value, len, &k) < 0)
		return true;
	k.last_used = key_used_when(w->ks->used, k.hash);
	return w->fn(w->arg, &k);
}

bool
keystore_each_key(struct keystore *ks, const char *after, keystore_key_fn *fn,
		  void *arg)
{
	struct key_walk w = { ks, fn, arg };
	uint8_t from[CRYPTO_HASH_LEN];

	if (after == NULL)
		return store_walk(ks->store, STORE_LOCAL_KEYS, NULL, 0,
				  walk_key, &w) == 0;
	/* Behind all hashes that begin like that. */
	memset(from, 0xff, sizeof(from));
	return key_id_decode(after, from) &&
	       store_walk(ks->store, STORE_LOCAL_KEYS, from, sizeof(from),
			  walk_key, &w) == 0;
}

struct account_walk {
	keystore_account_fn *fn;
	void *arg;
};

static bool
walk_account(void *arg, const void *key, size_t key_len, const void *value,
	     size_t len)
{
	const struct account_walk *w = arg;
	struct account_record record = { 0 };
	bool more;

	if (!account_record_decode(value, len, &record)) {
		log_error("keys", "account=%.*s its record cannot be read",
			  (int)key_len, (const char *)key);
		return true;
	}
	more = w->fn(w->arg, record.account);
	account_record_clear(&record);
	return more;
}

bool
keystore_each_account(struct keystore *ks, const char *after,
		      keystore_account_fn *fn, void *arg)
{
	struct account_walk w = { fn, arg };

	if (after != NULL && !account_id_is_valid(after))
		return false;
	return store_walk(ks->store, STORE_ACCOUNTS, after,
			  after != NULL ? strlen(after) : 0, walk_account,
			  &w) == 0;
}

/* --- import --------------------------------------------------------------- */

struct import {
	struct keystore *ks;
	struct store_change *change;
	unsigned long line;
	long taken;
	bool accounts; /* there were some */
};

static char *
line_error(unsigned long line, const char *what)
{
	char *text;

	if (asprintf(&text, "line %lu: %s", line, what) < 0)
		abort();
	return text;
}

/* NULL, or what is wrong. */
static const char *
take_line(struct import *in, const char *text, size_t len)
{
	struct key_line line;
	const char *error = key_line_read(text, len, &line);

	if (error == NULL && line.account != NULL) {
		struct account_record record = { .account = account_share(
						     line.account) };

		put_account(in->ks, in->change, &record,
			    line.has_api_key ? line.api_key : NULL);
		account_record_clear(&record);
		in->accounts = true;
	} else if (error == NULL &&
		   !has_account(in->change, line.key.account)) {
		error = "the account it is of is not there";
	} else if (error == NULL) {
		put_key(in->change, &line.key);
	}
	key_line_clear(&line);
	in->taken += error == NULL;
	return error;
}

static bool
is_blank(const char *s, size_t len)
{
	return len == 0 || (len == 1 && *s == '\r');
}

static const char *
take_lines(struct import *in, const char *text, size_t len)
{
	const char *end = text + len, *error = NULL;

	while (text < end && error == NULL) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((nl != NULL ? nl : end) - text);

		if (!is_blank(text, n))
			error = take_line(in, text, n);
		if (error == NULL)
			in->line++;
		text += n + (nl != NULL);
	}
	return error;
}

static size_t
count_lines(const char *text, size_t len)
{
	const char *end = text + len;
	size_t n = 0;

	for (; text < end && text != NULL; n++) {
		text = memchr(text, '\n', (size_t)(end - text));
		text = text != NULL ? text + 1 : end;
	}
	return n;
}

long
keystore_import(struct keystore *ks, const char *text, size_t len,
		unsigned long first_line, char **error_r)
{
	size_t lines = count_lines(text, len);
	struct import in = { .ks = ks, .line = first_line };
	const char *error;
	int rc;

	*error_r = NULL;
	in.change =
	    store_change_begin(ks->store, lines, len + lines * LINE_GROWTH);
	error = take_lines(&in, text, len);
	rc = store_change_end(&in.change, error == NULL);
	if (in.accounts)
		account_cache_drop(ks->accounts, NULL);
	if (rc != 0)
		error = rc == STORE_FULL ? "the store is full"
					 : "the store cannot be written";
	if (error == NULL)
		return in.taken;
	*error_r = line_error(rc != 0 ? first_line : in.line, error);
	return -1;
}
