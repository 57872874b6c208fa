/* SPDX-License-Identifier: MIT */
#include "milter/keystore.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "milter/store.h"
#include "policy/account.h"
#include "policy/dialect.h"
#include "policy/dynbuf.h"
#include "policy/json_text.h"

#define MAP_SIZE (256 * 1024 * 1024)
#define NOW INT64_C(1700000000)
#define API_KEY "api-s3cret"
#define N_ELEMENTS(v) (sizeof(v) / sizeof((v)[0]))

struct place {
	char dir[40];
	char secret[60];
	struct store *store;
	struct crypto_seal *seal;
	struct keystore *ks;
};

static void
start(struct place *p, size_t map_size)
{
	const char *error;
	char *text;

	p->store = store_open(p->dir, map_size, &text);
	if (p->store == NULL)
		fail_msg("%s", text);
	p->seal = crypto_seal_open(p->secret, &error);
	assert_non_null(p->seal);
	p->ks = keystore_new(p->store, p->seal);
}

static void
stop(struct place *p)
{
	keystore_free(&p->ks);
	assert_null(p->ks);
	crypto_seal_free(&p->seal);
	store_close(&p->store);
}

static void
restart(struct place *p)
{
	stop(p);
	start(p, MAP_SIZE);
}

static void
write_secret(const struct place *p, char c)
{
	FILE *f = fopen(p->secret, "w");

	assert_non_null(f);
	for (int i = 0; i < CRYPTO_SECRET_MIN; i++)
		fputc(c, f);
	fclose(f);
	assert_int_equal(chmod(p->secret, 0600), 0);
}

static int
set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->dir, "/tmp/test_keystore.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->secret, sizeof(p->secret), "%s/secret", p->dir);
	write_secret(p, 's');
	start(p, MAP_SIZE);
	*state = p;
	return 0;
}

static int
tear_down(void **state)
{
	static const char *const files[] = { "secret", "txmilter.mdb",
					     "txmilter.mdb-lock" };
	struct place *p = *state;
	char path[80];

	stop(p);
	for (size_t i = 0; i < N_ELEMENTS(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", p->dir, files[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(p->dir), 0);
	free(p);
	return 0;
}

static void
put_account(struct place *p, const char *id, const char *api_key)
{
	struct account *a = account_new(id);

	assert_true(account_add_route(a, "r1", "Main"));
	assert_int_equal(keystore_put_account(p->ks, a, api_key), 0);
	account_free(&a);
}

static struct account *
account_of(struct keystore *ks, const char *id, bool *has_r)
{
	struct account *a;
	bool has;
	int found = keystore_account(ks, id, &a, has_r ? has_r : &has);

	assert_true((found == 1) == (a != NULL));
	return a;
}

static void
disable_account(struct place *p, const char *id, bool disabled)
{
	struct account *a = account_of(p->ks, id, NULL);

	assert_non_null(a);
	a->disabled = disabled;
	assert_int_equal(keystore_put_account(p->ks, a, NULL), 0);
	account_free(&a);
}

static struct keystore_key
make(struct place *p, const char *account, char key_r[KEYSTORE_KEY_LEN + 1])
{
	struct keystore_key k = { .created = NOW };

	strcpy(k.account, account);
	strcpy(k.label, "web shop");
	assert_int_equal(keystore_make(p->ks, &k, key_r), 0);
	return k;
}

static enum keystore_answer
find(struct place *p, const char *key)
{
	struct keystore_found found;
	enum keystore_answer answer =
	    keystore_find(p->ks, key, strlen(key), NOW, &found);

	keystore_found_clear(&found);
	return answer;
}

static enum keystore_answer
find_id(struct place *p, const char *key_id)
{
	struct keystore_found found;
	enum keystore_answer answer =
	    keystore_find_id(p->ks, key_id, NOW, &found);

	keystore_found_clear(&found);
	return answer;
}

/* --- made keys ------------------------------------------------------------ */

static void
test_make(void **state)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1], other[KEYSTORE_KEY_LEN + 1];
	char id[KEY_ID_LEN + 1];
	struct keystore_key k;

	put_account(p, "acme", NULL);
	k = make(p, "acme", key);
	(void)make(p, "acme", other);
	assert_int_equal(strlen(key), KEYSTORE_KEY_LEN);
	assert_memory_equal(key, KEYSTORE_PREFIX, 4);
	assert_int_equal(strspn(key + 4, digits), KEYSTORE_KEY_LEN - 4);
	/* 256 bits are 51 digits and one bit. */
	assert_true(key[55] == 'a' || key[55] == 'q');
	assert_memory_not_equal(key + 4, other + 4, 52);
	key_id_of(key, strlen(key), id);
	assert_string_equal(k.key_id, id);
	assert_int_equal(k.status, KEYSTORE_ENABLED);
	assert_int_equal(keystore_count(p->ks), 2);
}

/* The form is what others may check: SHA-256 of what stands before it. */
static void
test_checksum(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1], digits[9];
	uint8_t hash[CRYPTO_HASH_LEN];

	put_account(p, "acme", NULL);
	(void)make(p, "acme", key);
	crypto_hash(key, 56, hash);
	crypto_base32(digits, hash, 5);
	assert_memory_equal(key + 56, digits, 6);
}

static void
test_make_refused(void **state)
{
	struct place *p = *state;
	struct keystore_key k = { .created = NOW };
	char key[KEYSTORE_KEY_LEN + 1];

	strcpy(k.account, "nobody");
	assert_int_equal(keystore_make(p->ks, &k, key), -1);
	assert_string_equal(key, "");
	put_account(p, "acme", NULL);
	strcpy(k.account, "acme");
	strcpy(k.label, "a\nb");
	assert_int_equal(keystore_make(p->ks, &k, key), -1);
	assert_int_equal(keystore_count(p->ks), 0);
}

/* --- answers -------------------------------------------------------------- */

static const struct {
	const char *name;
	enum keystore_status status;
	bool account_disabled;
	int64_t not_before, expires;
	enum keystore_answer want;
} in_force[] = {
	{ "plain", KEYSTORE_ENABLED, false, 0, 0, KEYSTORE_GOOD },
	{ "disabled", KEYSTORE_DISABLED, false, 0, 0, KEYSTORE_REFUSED },
	{ "account", KEYSTORE_ENABLED, true, 0, 0, KEYSTORE_REFUSED },
	{ "from now on", KEYSTORE_ENABLED, false, NOW, 0, KEYSTORE_GOOD },
	{ "not yet", KEYSTORE_ENABLED, false, NOW + 1, 0, KEYSTORE_REFUSED },
	{ "still", KEYSTORE_ENABLED, false, 0, NOW + 1, KEYSTORE_GOOD },
	{ "no more", KEYSTORE_ENABLED, false, 0, NOW, KEYSTORE_REFUSED },
	{ "in between", KEYSTORE_ENABLED, false, NOW - 1, NOW + 1,
	  KEYSTORE_GOOD },
};

static void
check_found(const char *name, const struct keystore_found *f,
	    const struct keystore_key *k, bool good)
{
	if (strcmp(f->key.key_id, k->key_id) != 0 ||
	    strcmp(f->key.label, "web shop") != 0 ||
	    f->key.created != k->created ||
	    f->key.not_before != k->not_before ||
	    f->key.expires != k->expires || f->key.status != k->status ||
	    f->account == NULL || strcmp(f->account->id, "acme") != 0 ||
	    f->account->n_routes != 1 ||
	    strcmp(f->api_key, good ? API_KEY : "") != 0)
		fail_msg("%s: another key", name);
}

static void
test_in_force(void **state)
{
	struct place *p = *state;

	for (size_t i = 0; i < N_ELEMENTS(in_force); i++) {
		char key[KEYSTORE_KEY_LEN + 1];
		struct keystore_found f;
		struct keystore_key k;
		bool good = in_force[i].want == KEYSTORE_GOOD;

		put_account(p, "acme", API_KEY);
		k = make(p, "acme", key);
		k.status = in_force[i].status;
		k.not_before = in_force[i].not_before;
		k.expires = in_force[i].expires;
		assert_int_equal(keystore_put_key(p->ks, &k), 0);
		disable_account(p, "acme", in_force[i].account_disabled);

		if (keystore_find(p->ks, key, strlen(key), NOW, &f) !=
		    in_force[i].want)
			fail_msg("%s", in_force[i].name);
		check_found(in_force[i].name, &f, &k, good);
		keystore_found_clear(&f);
		assert_null(f.account);
		assert_string_equal(f.api_key, "");
		if (keystore_find_id(p->ks, k.key_id, NOW, &f) !=
		    in_force[i].want)
			fail_msg("%s, by id", in_force[i].name);
		check_found(in_force[i].name, &f, &k, good);
		keystore_found_clear(&f);
	}
}

static void
test_not_here(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1], long_key[KEYSTORE_KEY_LEN + 2];

	put_account(p, "acme", NULL);
	(void)make(p, "acme", key);
	assert_int_equal(find(p, ""), KEYSTORE_NOT_HERE);
	assert_int_equal(find(p, "somebody else's"), KEYSTORE_NOT_HERE);
	assert_int_equal(find(p, "somebody-else"), KEYSTORE_NOT_HERE);
	assert_int_equal(find(p, "txk"), KEYSTORE_NOT_HERE);
	assert_int_equal(find(p, "TXK_a"), KEYSTORE_NOT_HERE);
	assert_int_equal(find(p, "txk_"), KEYSTORE_MISTYPED);
	for (size_t i = 4; i < KEYSTORE_KEY_LEN; i++) {
		char right = key[i];

		key[i] = right == 'b' ? 'c' : 'b';
		if (find(p, key) != KEYSTORE_MISTYPED)
			fail_msg("digit %zu", i);
		key[i] = right;
	}
	snprintf(long_key, sizeof(long_key), "%sa", key);
	assert_int_equal(find(p, long_key), KEYSTORE_MISTYPED);
	assert_int_equal(find(p, key), KEYSTORE_GOOD);
	key[KEYSTORE_KEY_LEN - 1] = '\0';
	assert_int_equal(find(p, key), KEYSTORE_MISTYPED);
	assert_int_equal(find_id(p, "aaaaaaaaaaaaaaaa"), KEYSTORE_NOT_HERE);
	assert_int_equal(find_id(p, "no id"), KEYSTORE_NOT_HERE);
	assert_int_equal(find_id(p, ""), KEYSTORE_NOT_HERE);
}

/* What was made once and is gone is no typing error. */
static void
test_revoked(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1];
	struct keystore_key k, got;

	put_account(p, "acme", NULL);
	k = make(p, "acme", key);
	assert_int_equal(keystore_revoke(p->ks, k.key_id), 1);
	assert_int_equal(find(p, key), KEYSTORE_NOT_HERE);
	assert_int_equal(find_id(p, k.key_id), KEYSTORE_NOT_HERE);
	assert_int_equal(keystore_key(p->ks, k.key_id, &got), 0);
	assert_int_equal(keystore_revoke(p->ks, k.key_id), 0);
	assert_int_equal(keystore_revoke(p->ks, "no id"), 0);
	restart(p);
	assert_int_equal(find(p, key), KEYSTORE_NOT_HERE);
}

static void
test_edit(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1];
	struct keystore_key k, got;

	put_account(p, "acme", NULL);
	k = make(p, "acme", key);
	assert_int_equal(
	    keystore_set_status(p->ks, k.key_id, KEYSTORE_DISABLED), 1);
	assert_int_equal(find(p, key), KEYSTORE_REFUSED);
	assert_int_equal(keystore_set_status(p->ks, k.key_id, KEYSTORE_ENABLED),
			 1);
	assert_int_equal(find(p, key), KEYSTORE_GOOD);
	assert_int_equal(keystore_set_expires(p->ks, k.key_id, NOW + 60), 1);
	assert_int_equal(find(p, key), KEYSTORE_GOOD);
	assert_int_equal(keystore_key(p->ks, k.key_id, &got), 1);
	assert_int_equal(got.expires, NOW + 60);
	assert_string_equal(got.label, "web shop");
	assert_int_equal(keystore_set_expires(p->ks, k.key_id, NOW), 1);
	assert_int_equal(find(p, key), KEYSTORE_REFUSED);
	assert_int_equal(keystore_set_expires(p->ks, "aaaaaaaaaaaaaaaa", 0), 0);
	assert_int_equal(keystore_set_status(p->ks, "no id", KEYSTORE_ENABLED),
			 0);
	restart(p);
	assert_int_equal(find(p, key), KEYSTORE_REFUSED);
}

static void
test_login(void **state)
{
	struct place *p = *state;
	struct keystore_key k = { .account = "acme", .created = NOW }, got;
	char key[KEYSTORE_KEY_LEN + 1];

	put_account(p, "acme", NULL);
	memset(k.label, 'l', KEYSTORE_LABEL_MAX);
	memset(k.login, 'u', KEYSTORE_LOGIN_MAX);
	assert_int_equal(keystore_make(p->ks, &k, key), 0);
	restart(p);
	assert_int_equal(keystore_key(p->ks, k.key_id, &got), 1);
	assert_string_equal(got.login, k.login);
	assert_string_equal(got.label, k.label);
	assert_string_equal(got.account, "acme");
	assert_int_equal(
	    keystore_set_status(p->ks, k.key_id, KEYSTORE_DISABLED), 1);
	assert_int_equal(keystore_key(p->ks, k.key_id, &got), 1);
	assert_string_equal(got.login, k.login);
	strcpy(k.login, "a\nb");
	assert_int_equal(keystore_put_key(p->ks, &k), -1);
	k.login[0] = '\0';
	assert_int_equal(keystore_put_key(p->ks, &k), 0);
	assert_int_equal(keystore_key(p->ks, k.key_id, &got), 1);
	assert_string_equal(got.login, "");
}

/* --- accounts ------------------------------------------------------------- */

static void
test_bounds_recipients(void **state)
{
	struct place *p = *state;
	struct account *a = account_new("bounded");

	put_account(p, "acme", NULL);
	assert_false(keystore_bounds_recipients(p->ks));
	a->dialect = strdup("nosuch");
	assert_int_equal(keystore_put_account(p->ks, a, NULL), 0);
	restart(p);
	assert_false(keystore_bounds_recipients(p->ks));
	free(a->dialect);
	a->dialect = strdup("campaignmonitor");
	assert_int_equal(keystore_put_account(p->ks, a, NULL), 0);
	assert_true(keystore_bounds_recipients(p->ks));
	restart(p);
	assert_true(keystore_bounds_recipients(p->ks));
	account_free(&a);
}

static void
check_api_key(struct place *p, const char *key, const char *wanted)
{
	struct keystore_found f;

	assert_int_equal(keystore_find(p->ks, key, strlen(key), NOW, &f),
			 KEYSTORE_GOOD);
	assert_string_equal(f.api_key, wanted);
	keystore_found_clear(&f);
}

static void
test_api_key(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1], longest[KEY_MAX + 2];
	struct account *a;
	bool has;

	put_account(p, "acme", NULL);
	(void)make(p, "acme", key);
	check_api_key(p, key, "");
	put_account(p, "acme", API_KEY);
	check_api_key(p, key, API_KEY);
	put_account(p, "acme", NULL);
	check_api_key(p, key, API_KEY);
	a = account_of(p->ks, "acme", &has);
	assert_true(has);
	/* What is not plausible changes nothing. */
	assert_int_equal(keystore_put_account(p->ks, a, "a b"), -1);
	memset(longest, 'k', sizeof(longest));
	longest[KEY_MAX + 1] = '\0';
	assert_int_equal(keystore_put_account(p->ks, a, longest), -1);
	check_api_key(p, key, API_KEY);
	longest[KEY_MAX] = '\0';
	assert_int_equal(keystore_put_account(p->ks, a, longest), 0);
	check_api_key(p, key, longest);
	account_free(&a);
	restart(p);
	check_api_key(p, key, longest);
	put_account(p, "acme", "");
	check_api_key(p, key, "");
	a = account_of(p->ks, "acme", &has);
	assert_false(has);
	account_free(&a);
}

static void
test_account_copy(void **state)
{
	struct place *p = *state;
	struct account *a, *b;
	bool has = true;

	assert_null(account_of(p->ks, "acme", &has));
	assert_false(has);
	assert_null(account_of(p->ks, "No Id", NULL));
	assert_false(keystore_has_account(p->ks, "acme"));
	put_account(p, "acme", NULL);
	assert_true(keystore_has_account(p->ks, "acme"));
	a = account_of(p->ks, "acme", NULL);
	assert_true(account_add_route(a, "r2", ""));
	b = account_of(p->ks, "acme", NULL);
	assert_int_equal(b->n_routes, 1);
	account_free(&a);
	account_free(&b);
}

/* Whoever holds an account keeps it as it was; the next one sees it new. */
static void
test_account_changes(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1];
	struct keystore_found before, after;
	struct account *a;

	put_account(p, "acme", NULL);
	(void)make(p, "acme", key);
	assert_int_equal(keystore_find(p->ks, key, strlen(key), NOW, &before),
			 KEYSTORE_GOOD);
	a = account_of(p->ks, "acme", NULL);
	assert_true(account_add_sender(a, "example.org"));
	assert_int_equal(keystore_put_account(p->ks, a, NULL), 0);
	account_free(&a);
	assert_int_equal(keystore_find(p->ks, key, strlen(key), NOW, &after),
			 KEYSTORE_GOOD);
	assert_int_equal(before.account->n_senders, 0);
	assert_int_equal(after.account->n_senders, 1);
	keystore_found_clear(&before);
	keystore_found_clear(&after);
}

/* More than are kept parsed. */
static void
test_many_accounts(void **state)
{
	enum { ACCOUNTS = KEYSTORE_ACCOUNTS_CACHED + 3000 };
	struct place *p = *state;
	DYNBUF_AUTO text;
	char key[32], *error;

	dynbuf_init(&text, 16 * 1024 * 1024);
	for (int i = 0; i < ACCOUNTS; i++) {
		dynbuf_addf(
		    &text, "{\"account\":\"a%d\",\"api_key\":\"k%d\"}\n", i, i);
		dynbuf_addf(&text, "{\"key\":\"key-%d\",\"of\":\"a%d\"}\n", i,
			    i);
	}
	assert_int_equal(keystore_import(p->ks, text.data, text.len, 1, &error),
			 2 * ACCOUNTS);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < ACCOUNTS; i++) {
			struct keystore_found f;
			char wanted[32];

			snprintf(key, sizeof(key), "key-%d", i);
			snprintf(wanted, sizeof(wanted), "k%d", i);
			assert_int_equal(
			    keystore_find(p->ks, key, strlen(key), NOW, &f),
			    KEYSTORE_GOOD);
			assert_string_equal(f.account->id + 1, wanted + 1);
			assert_string_equal(f.api_key, wanted);
			keystore_found_clear(&f);
		}
	}
}

/* 10,000 of them are parsed once: it is the same one that is found again. */
static void
test_accounts_stay(void **state)
{
	enum { ACCOUNTS = 10000 };
	static struct account *first[ACCOUNTS];
	struct place *p = *state;
	DYNBUF_AUTO text;
	unsigned again = 0;
	char key[32], *error;

	dynbuf_init(&text, 16 * 1024 * 1024);
	for (int i = 0; i < ACCOUNTS; i++)
		dynbuf_addf(&text,
			    "{\"account\":\"account-%d\"}\n"
			    "{\"key\":\"key-%d\",\"of\":\"account-%d\"}\n",
			    i, i, i);
	assert_int_equal(keystore_import(p->ks, text.data, text.len, 1, &error),
			 2 * ACCOUNTS);
	for (int i = 0; i < 2 * ACCOUNTS; i++) {
		struct keystore_found f;

		snprintf(key, sizeof(key), "key-%d", i % ACCOUNTS);
		assert_int_equal(
		    keystore_find(p->ks, key, strlen(key), NOW, &f),
		    KEYSTORE_GOOD);
		if (i < ACCOUNTS)
			first[i] = account_share(f.account);
		else
			again += first[i - ACCOUNTS] == f.account;
		keystore_found_clear(&f);
	}
	for (int i = 0; i < ACCOUNTS; i++)
		account_free(&first[i]);
	assert_int_equal(again, ACCOUNTS);
}

/* --- what cannot be read -------------------------------------------------- */

static void
test_other_secret(void **state)
{
	struct place *p = *state;
	char with[KEYSTORE_KEY_LEN + 1], without[KEYSTORE_KEY_LEN + 1];

	put_account(p, "with", API_KEY);
	put_account(p, "without", NULL);
	(void)make(p, "with", with);
	(void)make(p, "without", without);
	write_secret(p, 't');
	restart(p);
	assert_int_equal(find(p, with), KEYSTORE_ERROR);
	assert_int_equal(find(p, without), KEYSTORE_GOOD);
	/* Given anew, it is good again. */
	put_account(p, "with", API_KEY);
	assert_int_equal(find(p, with), KEYSTORE_GOOD);
}

/* What was sealed for one account is nothing to another. */
static void
test_sealed_elsewhere(void **state)
{
	struct place *p = *state;
	struct store_write w = { STORE_ACCOUNTS, "evil", 4, NULL, 0 };
	char key[KEYSTORE_KEY_LEN + 1], *value, *id;
	size_t len;

	put_account(p, "acme", API_KEY);
	put_account(p, "evil", NULL);
	(void)make(p, "evil", key);
	assert_int_equal(
	    store_get(p->store, STORE_ACCOUNTS, "acme", 4, &value, &len), 1);
	id = memmem(value, len, "acme", 4);
	assert_non_null(id);
	memcpy(id, "evil", 4);
	w.value = value;
	w.len = len;
	assert_int_equal(store_write(p->store, &w, 1), 0);
	free(value);
	restart(p);
	assert_int_equal(find(p, key), KEYSTORE_ERROR);
}

static bool
count_key(void *arg, const struct keystore_key *k)
{
	unsigned *n = arg;

	assert_true(key_id_is_valid(k->key_id));
	++*n;
	return true;
}

static bool
count_account(void *arg, const struct account *a)
{
	unsigned *n = arg;

	assert_true(account_id_is_valid(a->id));
	++*n;
	return true;
}

/* Cut or changed in any byte that has a meaning. */
static void
test_unreadable_key(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1], *value;
	struct keystore_key k, got;
	struct store_write w = { STORE_LOCAL_KEYS, k.hash, sizeof(k.hash), NULL,
				 0 };
	unsigned n = 0;
	size_t len;

	put_account(p, "acme", NULL);
	k = make(p, "acme", key);
	assert_int_equal(store_get(p->store, STORE_LOCAL_KEYS, k.hash,
				   sizeof(k.hash), &value, &len),
			 1);
	w.value = value;
	for (w.len = 0; w.len < len; w.len++) {
		assert_int_equal(store_write(p->store, &w, 1), 0);
		if (find(p, key) != KEYSTORE_ERROR)
			fail_msg("of %zu bytes", w.len);
	}
	assert_int_equal(find_id(p, k.key_id), KEYSTORE_ERROR);
	assert_int_equal(keystore_key(p->ks, k.key_id, &got), -1);
	assert_int_equal(keystore_set_expires(p->ks, k.key_id, 0), -1);
	assert_true(keystore_each_key(p->ks, NULL, count_key, &n));
	assert_int_equal(n, 0);
	w.len = len;
	for (size_t i = 0; i < 28; i++) {
		char right = value[i];

		/* Version, status, lengths. */
		if (i >= 2 && i < 26)
			continue;
		value[i] = '\x7f';
		assert_int_equal(store_write(p->store, &w, 1), 0);
		if (find(p, key) != KEYSTORE_ERROR)
			fail_msg("byte %zu", i);
		value[i] = right;
	}
	/* It can be revoked all the same. */
	assert_int_equal(keystore_revoke(p->ks, k.key_id), 1);
	assert_int_equal(find(p, key), KEYSTORE_NOT_HERE);
	free(value);
}

static void
test_unreadable_account(void **state)
{
	static const char *const values[] = { "", "\x01", "\x02\0\0{}",
					      "\x01\xff\xff{}",
					      "\x01\x05\0abcde" };
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1];
	struct store_write w = { STORE_ACCOUNTS, "acme", 4, NULL, 0 };
	unsigned n = 0;

	put_account(p, "acme", NULL);
	(void)make(p, "acme", key);
	for (size_t i = 0; i < N_ELEMENTS(values); i++) {
		w.value = values[i];
		w.len = i < 2 ? strlen(values[i]) : i < 4 ? 5 : 8;
		assert_int_equal(store_write(p->store, &w, 1), 0);
		restart(p);
		if (find(p, key) != KEYSTORE_ERROR)
			fail_msg("value %zu", i);
	}
	assert_null(account_of(p->ks, "acme", NULL));
	assert_true(keystore_each_account(p->ks, NULL, count_account, &n));
	assert_int_equal(n, 0);
	w.value = NULL;
	assert_int_equal(store_write(p->store, &w, 1), 0);
	restart(p);
	assert_int_equal(find(p, key), KEYSTORE_ERROR);
	put_account(p, "acme", NULL);
	assert_int_equal(find(p, key), KEYSTORE_GOOD);
}

/* --- last use ------------------------------------------------------------- */

static int64_t
last_used(struct place *p, const char *key_id)
{
	struct keystore_key k;

	assert_int_equal(keystore_key(p->ks, key_id, &k), 1);
	return k.last_used;
}

static void
find_at(struct place *p, const char *key, int64_t now)
{
	struct keystore_found f;

	(void)keystore_find(p->ks, key, strlen(key), now, &f);
	keystore_found_clear(&f);
}

static void
test_last_used(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1], other[KEYSTORE_KEY_LEN + 1];
	struct keystore_key k, o;
	int64_t minute = NOW / 60 * 60;

	put_account(p, "acme", NULL);
	k = make(p, "acme", key);
	o = make(p, "acme", other);
	assert_int_equal(last_used(p, k.key_id), 0);
	find_at(p, key, NOW);
	assert_int_equal(last_used(p, k.key_id), minute);
	assert_int_equal(last_used(p, o.key_id), 0);
	find_at(p, key, NOW + 600);
	assert_int_equal(last_used(p, k.key_id), minute + 600);
	keystore_flush(p->ks);
	assert_int_equal(last_used(p, k.key_id), minute + 600);
	restart(p);
	assert_int_equal(last_used(p, k.key_id), minute + 600);
	/* What is refused is not used. */
	assert_int_equal(
	    keystore_set_status(p->ks, k.key_id, KEYSTORE_DISABLED), 1);
	find_at(p, key, NOW + 6000);
	assert_int_equal(last_used(p, k.key_id), minute + 600);
	/* Not flushed is lost. */
	find_at(p, other, NOW);
	restart(p);
	assert_int_equal(last_used(p, o.key_id), 0);
	/* Gone with the key. */
	find_at(p, other, NOW);
	assert_int_equal(store_count(p->store, STORE_LAST_USED), 1);
	assert_int_equal(keystore_revoke(p->ks, k.key_id), 1);
	assert_int_equal(keystore_revoke(p->ks, o.key_id), 1);
	keystore_flush(p->ks);
	assert_int_equal(store_count(p->store, STORE_LAST_USED), 0);
}

/* Each of many is noted, over several batches. */
static void
test_last_used_of_many(void **state)
{
	enum { KEYS = 25000 };
	struct place *p = *state;
	DYNBUF_AUTO text;
	char *error, key[32], id[KEY_ID_LEN + 1];

	put_account(p, "acme", NULL);
	dynbuf_init(&text, 16 * 1024 * 1024);
	for (int i = 0; i < KEYS; i++)
		dynbuf_addf(&text, "{\"key\":\"key-%d\",\"of\":\"acme\"}\n", i);
	assert_int_equal(keystore_import(p->ks, text.data, text.len, 1, &error),
			 KEYS);
	for (int i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		find_at(p, key, NOW + 60 * (i % 7));
	}
	keystore_flush(p->ks);
	restart(p);
	for (int i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		key_id_of(key, strlen(key), id);
		assert_int_equal(last_used(p, id),
				 NOW / 60 * 60 + 60 * (i % 7));
	}
}

/* --- walks ---------------------------------------------------------------- */

struct walk {
	unsigned n, most;
	char last[KEY_ID_LEN + 1];
	uint8_t hash[CRYPTO_HASH_LEN];
	bool ordered;
};

static bool
step(void *arg, const struct keystore_key *k)
{
	struct walk *w = arg;

	w->ordered &=
	    w->n == 0 || memcmp(w->hash, k->hash, sizeof(w->hash)) < 0;
	memcpy(w->hash, k->hash, sizeof(w->hash));
	strcpy(w->last, k->key_id);
	return ++w->n < w->most;
}

static void
import_keys(struct place *p, unsigned n)
{
	DYNBUF_AUTO text;
	char *error;

	dynbuf_init(&text, 16 * 1024 * 1024);
	for (unsigned i = 0; i < n; i++)
		dynbuf_addf(&text, "{\"key\":\"key-%u\",\"of\":\"acme\"}\n", i);
	assert_int_equal(keystore_import(p->ks, text.data, text.len, 1, &error),
			 n);
}

/* In pages of any size each key comes once, in order. */
static void
test_each_key(void **state)
{
	static const unsigned pages[] = { 1, 7, 999, 1000, 1001, 5000 };
	struct place *p = *state;

	put_account(p, "acme", NULL);
	import_keys(p, 2500);
	for (size_t i = 0; i < N_ELEMENTS(pages); i++) {
		struct walk w = { .most = pages[i], .ordered = true };
		unsigned total = 0;

		do {
			w.n = 0;
			assert_true(keystore_each_key(
			    p->ks, total > 0 ? w.last : NULL, step, &w));
			total += w.n;
		} while (w.n == w.most);
		assert_true(w.ordered);
		assert_int_equal(total, 2500);
	}
	assert_false(keystore_each_key(p->ks, "no id", step, NULL));
}

static bool
join_account(void *arg, const struct account *a)
{
	return dynbuf_addf(arg, "%s ", a->id);
}

static void
test_each_account(void **state)
{
	static const char *const ids[] = { "b", "a", "ab", "c" };
	struct place *p = *state;
	DYNBUF_AUTO all, behind;

	for (size_t i = 0; i < N_ELEMENTS(ids); i++)
		put_account(p, ids[i], NULL);
	dynbuf_init(&all, 100);
	dynbuf_init(&behind, 100);
	assert_true(keystore_each_account(p->ks, NULL, join_account, &all));
	assert_string_equal(dynbuf_str(&all), "a ab b c ");
	assert_true(keystore_each_account(p->ks, "aa", join_account, &behind));
	assert_string_equal(dynbuf_str(&behind), "ab b c ");
	dynbuf_clear(&behind);
	assert_true(keystore_each_account(p->ks, "ab", join_account, &behind));
	assert_string_equal(dynbuf_str(&behind), "b c ");
	assert_false(keystore_each_account(p->ks, "No", join_account, &all));
}

/* --- import --------------------------------------------------------------- */

#define HEX64 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ACME "{\"account\":\"acme\"}\n"
#define TIMES "a time is not a number of seconds since 1970"
#define NEITHER "neither account, nor key, nor sha256, or two of them"
#define LOGIN "login is not at most 128 bytes of printable text"
#define LABEL "label is not at most 128 bytes of printable text"
#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static const struct {
	const char *text;
	long taken;
	const char *error;
} imports[] = {
	{ "", 0, NULL },
	{ "\n\r\n\n", 0, NULL },
	{ ACME, 1, NULL },
	{ "{\"account\":\"acme\"}", 1, NULL },
	{ ACME "\n{\"key\":\"SECRET\",\"of\":\"acme\"}\r\n", 2, NULL },
	{ ACME "{\"sha256\":\"" HEX64 "\",\"of\":\"acme\",\"label\":\"x\","
	       "\"status\":\"disabled\",\"created\":1,\"not_before\":2,"
	       "\"expires\":253402300799}",
	  2, NULL },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\",\"label\":\"" HUNDRED
	       "0123456789012345678901234567\"}",
	  2, NULL },
	{ "{\"account\":\"acme\",\"disabled\":true,\"api_key\":\"SECRET\","
	  "\"routes\":[{\"id\":\"r\"}],\"senders\":[\"x.org\"],"
	  "\"networks\":[\"::/0\"],\"rate\":\"1/s\",\"recipient_rate\":"
	  "\"1/s\",\"default_route\":\"r\",\"dialect\":\"d\"}",
	  1, NULL },
	{ "{\"key\":\"SECRET\",\"of\":\"acme\"}\n" ACME, -1,
	  "line 1: the account it is of is not there" },
	{ ACME "\n\nSECRET", -1, "line 4: not a JSON object" },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\"", -1,
	  "line 2: not a JSON object" },
	{ ACME "[\"SECRET\"]", -1, "line 2: not a JSON object" },
	{ "{\"account\":\"acme\",\"account\":\"SECRET\"}", -1,
	  "line 1: not a JSON object" },
	{ "{\"account\":\"SECRET!\"}", -1, "line 1: not a valid account" },
	{ "{\"account\":1}", -1, "line 1: not a valid account" },
	{ "{\"account\":\"a\",\"rate\":\"SECRET\"}", -1,
	  "line 1: not a valid account" },
	{ "{\"account\":\"a\",\"SECRET\":1}", -1,
	  "line 1: a member that an account does not have" },
	{ "{\"account\":\"a\",\"api_key\":7}", -1,
	  "line 1: api_key is not a string" },
	{ "{\"account\":\"a\",\"api_key\":\"SE CRET\"}", -1,
	  "line 1: api_key is not 1 to 256 printable ASCII characters" },
	{ ACME "{\"of\":\"acme\"}", -1, "line 2: " NEITHER },
	{ ACME "{\"key\":1,\"of\":\"acme\"}", -1, "line 2: " NEITHER },
	{ ACME "{\"key\":\"SECRET\",\"sha256\":\"" HEX64 "\",\"of\":\"acme\"}",
	  -1, "line 2: " NEITHER },
	{ ACME "{\"key\":\"SE CRET\",\"of\":\"acme\"}", -1,
	  "line 2: key is not 1 to 256 printable ASCII characters" },
	{ ACME "{\"key\":\"\",\"of\":\"acme\"}", -1,
	  "line 2: key is not 1 to 256 printable ASCII characters" },
	{ ACME "{\"sha256\":\"SECRET\",\"of\":\"acme\"}", -1,
	  "line 2: sha256 is not 64 hexadecimal digits" },
	{ ACME "{\"sha256\":\"g" HEX64 "\",\"of\":\"acme\"}", -1,
	  "line 2: sha256 is not 64 hexadecimal digits" },
	{ ACME "{\"key\":\"SECRET\"}", -1,
	  "line 2: of is not an account's id" },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"A\"}", -1,
	  "line 2: of is not an account's id" },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\",\"expire\":5}", -1,
	  "line 2: a member that a key does not have" },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\",\"login\":\"" HUNDRED
	       "0123456789012345678901234567\"}",
	  2, NULL },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\",\"login\":\"" HUNDRED
	       "01234567890123456789012345678\"}",
	  -1, "line 2: " LOGIN },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\",\"login\":5}", -1,
	  "line 2: " LOGIN },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\",\"login\":\"a\\n\"}", -1,
	  "line 2: " LOGIN },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\",\"label\":5}", -1,
	  "line 2: " LABEL },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\",\"label\":\"a\\n\"}", -1,
	  "line 2: " LABEL },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\",\"label\":\"" HUNDRED
	       "01234567890123456789012345678\"}",
	  -1, "line 2: " LABEL },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\",\"status\":\"SECRET\"}", -1,
	  "line 2: status is neither enabled nor disabled" },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\",\"status\":1}", -1,
	  "line 2: status is not a string" },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\",\"created\":-1}", -1,
	  "line 2: " TIMES },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\",\"not_before\":\"1\"}", -1,
	  "line 2: " TIMES },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\",\"expires\":253402300800}",
	  -1, "line 2: " TIMES },
	{ ACME "{\"key\":\"SECRET\",\"of\":\"acme\",\"expires\":1.5}", -1,
	  "line 2: " TIMES },
};

static void
empty(struct place *p)
{
	assert_int_equal(store_empty(p->store, STORE_ACCOUNTS), 0);
	assert_int_equal(store_empty(p->store, STORE_LOCAL_KEYS), 0);
	restart(p);
}

static void
test_import(void **state)
{
	struct place *p = *state;

	for (size_t i = 0; i < N_ELEMENTS(imports); i++) {
		const char *want = imports[i].error;
		char *error = NULL;
		long taken;

		empty(p);
		taken = keystore_import(p->ks, imports[i].text,
					strlen(imports[i].text), 1, &error);
		if (taken != imports[i].taken ||
		    (error == NULL) != (want == NULL) ||
		    (want != NULL && strcmp(error, want) != 0))
			fail_msg("%s: %ld %s", imports[i].text, taken,
				 error ? error : "");
		if (want != NULL)
			assert_null(strstr(error, "SECRET"));
		/* All or nothing. */
		if (want != NULL && (keystore_count(p->ks) > 0 ||
				     keystore_has_account(p->ks, "acme")))
			fail_msg("%s: taken in part", imports[i].text);
		free(error);
	}
}

static void
test_import_pieces(void **state)
{
	static const char first[] = ACME, second[] = "\n\nx";
	struct place *p = *state;
	char *error;

	assert_int_equal(
	    keystore_import(p->ks, first, strlen(first), 1, &error), 1);
	assert_int_equal(
	    keystore_import(p->ks, second, strlen(second), 2, &error), -1);
	assert_string_equal(error, "line 4: not a JSON object");
	free(error);
}

/* What is there is replaced, and the API's key kept unless another is given. */
static void
test_import_again(void **state)
{
	static const char text[] =
	    "{\"account\":\"acme\",\"senders\":[\"x.org\"]}\n"
	    "{\"key\":\"k\",\"of\":\"acme\",\"label\":\"new\"}\n";
	struct place *p = *state;
	struct keystore_found f;
	char *error;

	put_account(p, "acme", API_KEY);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
		    keystore_import(p->ks, text, strlen(text), 1, &error), 2);
	assert_int_equal(keystore_count(p->ks), 1);
	assert_int_equal(keystore_find(p->ks, "k", 1, NOW, &f), KEYSTORE_GOOD);
	assert_string_equal(f.api_key, API_KEY);
	assert_string_equal(f.key.label, "new");
	assert_int_equal(f.account->n_senders, 1);
	assert_int_equal(f.account->n_routes, 0);
	keystore_found_clear(&f);
}

static bool
export_key(void *arg, const struct keystore_key *k)
{
	return keystore_export_key(k, arg);
}

static bool
export_account(void *arg, const struct account *a)
{
	return keystore_export_account(a, arg);
}

static void
export_all(struct place *p, struct dynbuf *out)
{
	assert_true(keystore_each_account(p->ks, NULL, export_account, out));
	assert_true(keystore_each_key(p->ks, NULL, export_key, out));
}

static void
test_export(void **state)
{
	static const char text[] =
	    "{\"account\":\"a\",\"disabled\":true,\"dialect\":\"d\",\"routes\":"
	    "["
	    "{\"id\":\"r\",\"name\":\"\"}],\"default_route\":\"r\",\"senders\":"
	    "["
	    "\"x.org\"],\"networks\":[\"::/0\"],\"rate\":\"1/1s\"}\n"
	    "{\"account\":\"b\",\"routes\":[]}\n"
	    "{\"sha256\":\"" HEX64 "\",\"of\":\"a\",\"label\":\"a \\\"b\\\"\","
	    "\"login\":\"shop-1\",\"status\":\"disabled\",\"created\":1,"
	    "\"not_before\":2,\"expires\":3}\n"
	    "{\"sha256\":\"c" HEX64 "\",\"of\":\"b\",\"status\":\"enabled\"}\n";
	struct place *p = *state;
	DYNBUF_AUTO in, out, full;
	char *error, *extra;
	struct keystore_key k = { .account = "a" };

	dynbuf_init(&in, 2000);
	dynbuf_adds(&in, text);
	/* The second hash is one digit too long. */
	extra = strstr(in.data, "\"c" HEX64);
	assert_non_null(extra);
	memmove(extra + 64 + 1, extra + 64 + 2, strlen(extra + 64 + 2) + 1);
	in.len--;
	assert_int_equal(keystore_import(p->ks, in.data, in.len, 1, &error), 4);
	dynbuf_init(&out, 2000);
	export_all(p, &out);
	assert_string_equal(dynbuf_str(&out), dynbuf_str(&in));
	empty(p);
	assert_int_equal(keystore_import(p->ks, in.data, in.len, 1, &error), 4);
	dynbuf_clear(&out);
	export_all(p, &out);
	assert_string_equal(dynbuf_str(&out), dynbuf_str(&in));
	dynbuf_init(&full, 100);
	assert_false(keystore_export_key(&k, &full));
}

static void
test_export_has_no_secret(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1];
	DYNBUF_AUTO out;

	put_account(p, "acme", API_KEY);
	(void)make(p, "acme", key);
	dynbuf_init(&out, 2000);
	export_all(p, &out);
	assert_null(strstr(dynbuf_str(&out), API_KEY));
	assert_null(strstr(dynbuf_str(&out), key));
	key[30] = '\0';
	assert_null(strstr(dynbuf_str(&out), key + 4));
}

/* A map that is full says so, keeps what it has, and still revokes. */
static void
test_full(void **state)
{
	struct place *p = *state;
	struct keystore_key k;
	char key[KEYSTORE_KEY_LEN + 1], *error = NULL;
	DYNBUF_AUTO text;
	long taken = 0;

	stop(p);
	start(p, 1024 * 1024);
	put_account(p, "acme", NULL);
	k = make(p, "acme", key);
	dynbuf_init(&text, 1024 * 1024);
	for (unsigned i = 0; taken >= 0; i++) {
		dynbuf_truncate(&text, 0);
		for (unsigned n = 0; n < 100; n++)
			dynbuf_addf(&text,
				    "{\"key\":\"key-%u-%u\",\"of\":\"acme\"}\n",
				    i, n);
		taken = keystore_import(p->ks, text.data, text.len, 1, &error);
		assert_true(i < 1000);
	}
	assert_string_equal(error, "line 1: the store is full");
	free(error);
	assert_true(keystore_count(p->ks) >= 1000);
	assert_int_equal(keystore_count(p->ks) % 100, 1);
	assert_int_equal(find(p, key), KEYSTORE_GOOD);
	assert_int_equal(keystore_revoke(p->ks, k.key_id), 1);
	assert_int_equal(find(p, key), KEYSTORE_NOT_HERE);
}

/* --- threads -------------------------------------------------------------- */

struct crowd {
	struct place *p;
	char key[KEYSTORE_KEY_LEN + 1], id[KEY_ID_LEN + 1];
	atomic_bool revoked, stop;
	atomic_uint wrong, found;
};

static void *
look_for(void *arg)
{
	struct crowd *c = arg;

	while (!atomic_load(&c->stop)) {
		bool before = atomic_load(&c->revoked);
		struct keystore_found f;
		enum keystore_answer answer =
		    keystore_find(c->p->ks, c->key, strlen(c->key), NOW, &f);

		if (answer == KEYSTORE_GOOD) {
			atomic_fetch_add(&c->found, 1);
			/* Whoever looks afterwards does not find it. */
			if (before || strcmp(f.account->id, "acme") != 0 ||
			    strcmp(f.api_key, API_KEY) != 0)
				atomic_fetch_add(&c->wrong, 1);
		} else if (answer != KEYSTORE_NOT_HERE) {
			atomic_fetch_add(&c->wrong, 1);
		}
		keystore_found_clear(&f);
	}
	return NULL;
}

static void *
change_things(void *arg)
{
	struct crowd *c = arg;
	char key[KEYSTORE_KEY_LEN + 1];

	while (!atomic_load(&c->stop)) {
		struct account *a = account_of(c->p->ks, "acme", NULL);
		struct keystore_key k = { .account = "acme" };

		if (a == NULL || keystore_put_account(c->p->ks, a, NULL) != 0 ||
		    keystore_make(c->p->ks, &k, key) != 0)
			atomic_fetch_add(&c->wrong, 1);
		account_free(&a);
		keystore_flush(c->p->ks);
	}
	return NULL;
}

static void
test_threads(void **state)
{
	struct crowd c = { .p = *state };
	pthread_t threads[5];

	put_account(c.p, "acme", API_KEY);
	strcpy(c.id, make(c.p, "acme", c.key).key_id);
	for (size_t i = 0; i < N_ELEMENTS(threads); i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL,
				   i < 4 ? look_for : change_things, &c),
		    0);
	while (atomic_load(&c.found) < 500)
		usleep(1000);
	assert_int_equal(keystore_revoke(c.p->ks, c.id), 1);
	atomic_store(&c.revoked, true);
	usleep(50000);
	atomic_store(&c.stop, true);
	for (size_t i = 0; i < N_ELEMENTS(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(atomic_load(&c.wrong), 0);
}

/* --- crash ---------------------------------------------------------------- */

/* Makes keys until it is killed; says each once it is acknowledged. */
static void
make_for_ever(struct place *p, int fd)
{
	char key[KEYSTORE_KEY_LEN + 1];

	start(p, MAP_SIZE);
	for (;;) {
		struct keystore_key k = { .account = "acme" };

		if (keystore_make(p->ks, &k, key) != 0 ||
		    write(fd, key, KEYSTORE_KEY_LEN) != KEYSTORE_KEY_LEN)
			_exit(1);
	}
}

static void
test_kill(void **state)
{
	enum { ROUNDS = 20, MOST = 100000 };
	struct place *p = *state;
	static char keys[MOST][KEYSTORE_KEY_LEN];
	size_t n = 0;

	put_account(p, "acme", NULL);
	srand(1);
	for (int round = 0; round < ROUNDS; round++) {
		int fds[2];
		pid_t child;

		stop(p);
		assert_int_equal(pipe(fds), 0);
		child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			make_for_ever(p, fds[1]);
		}
		close(fds[1]);
		/* On a busy machine the first one may take its time. */
		n += n < MOST && read(fds[0], keys[n], KEYSTORE_KEY_LEN) ==
				     KEYSTORE_KEY_LEN;
		usleep(5000 + (useconds_t)(rand() % 40000));
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_int_equal(waitpid(child, NULL, 0), child);
		while (n < MOST && read(fds[0], keys[n], KEYSTORE_KEY_LEN) ==
				       KEYSTORE_KEY_LEN)
			n++;
		close(fds[0]);
		start(p, MAP_SIZE);
		for (size_t i = 0; i < n; i++) {
			struct keystore_found f;

			if (keystore_find(p->ks, keys[i], KEYSTORE_KEY_LEN, NOW,
					  &f) != KEYSTORE_GOOD)
				fail_msg("round %d: key %zu of %zu is lost",
					 round, i, n);
			keystore_found_clear(&f);
		}
		assert_true(keystore_count(p->ks) >= n);
		assert_true(keystore_count(p->ks) <= n + (size_t)round + 1);
	}
	print_message("%zu acknowledged keys\n", n);
	assert_true(n >= ROUNDS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_make),
		TEST(test_checksum),
		TEST(test_make_refused),
		TEST(test_in_force),
		TEST(test_not_here),
		TEST(test_revoked),
		TEST(test_edit),
		TEST(test_api_key),
		TEST(test_account_copy),
		TEST(test_account_changes),
		TEST(test_many_accounts),
		TEST(test_accounts_stay),
		TEST(test_other_secret),
		TEST(test_sealed_elsewhere),
		TEST(test_unreadable_key),
		TEST(test_unreadable_account),
		TEST(test_last_used),
		TEST(test_last_used_of_many),
		TEST(test_each_key),
		TEST(test_each_account),
		TEST(test_login),
		TEST(test_bounds_recipients),
		TEST(test_import),
		TEST(test_import_pieces),
		TEST(test_import_again),
		TEST(test_export),
		TEST(test_export_has_no_secret),
		TEST(test_full),
		TEST(test_threads),
		TEST(test_kill),
	};

	json_text_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
