/* SPDX-License-Identifier: MIT */
#include "key_check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "http_pool.h"
#include "key_hide.h"
#include "keystore.h"
#include "log.h"
#include "need.h"
#include "policy/account.h"
#include "policy/api.h"

/* Who waits for the answer about one key. */
#define WAITERS_MAX 10000
/* A fresh answer is refreshed when this part of its time is over. */
#define REFRESH_AT(ttl) ((ttl) / 10 * 8 + (ttl) % 10 * 8 / 10)
/* After a check that could not be made, keys that are known count without
 * asking: a hanging control plane must not delay every message. Each time so
 * much has passed, one check in the background looks whether it is back. */
#define GRACE_S 10

#define BUCKETS 256
#define URL_SIZE 2048
#define HEADER_SIZE (KEY_MAX + 64)

/* "IPv6:" and the longest address. What is longer is none. */
#define ADDRESS_SIZE 64

/* Who asks, and what the identity must be. */
struct asker {
	key_answer_fn *fn; /* NULL: a refresh, which nobody waits for */
	void *arg;
	char account[ACCOUNT_ID_MAX + 1]; /* it must be this one's; "": any */
	char address[ADDRESS_SIZE];	  /* "": not known */
	char subaccount[SUBACCOUNT_MAX + 1];
};

struct waiter {
	struct asker asker;
	struct waiter *next;
};

/* Settings as they were at one time: counted, never changed. */
struct rules {
	atomic_uint refs;
	struct key_check_settings settings;
	char *url;
};

/* A question to the control plane, for all who ask about one key. */
struct check {
	struct key_check *kc;
	struct rules *rules; /* a reference */
	uint8_t hash[CRYPTO_HASH_LEN];
	char key[KEY_MAX + 1];
	char key_id[KEY_ID_LEN + 1];
	struct account *account; /* what is known so far */
	struct http_call call;
	char url[URL_SIZE];
	char header[HEADER_SIZE];
	const char *headers[3];
	int64_t deadline_ms;
	struct waiter *waiters; /* guarded by key_check.lock, to the end */
	unsigned n_waiters;
	bool refused;	/* by the API at hand-off, meanwhile */
	bool forgotten; /* what is answered may be what was to be forgotten */
	struct check *next;
};

struct key_check {
	struct keystore *local;
	int64_t (*now)(void);
	struct key_cache *cache;
	struct http_pool *pool;
	atomic_llong grace_until; /* 0: the last check was answered */

	pthread_mutex_t lock; /* guards rules, running, lists in its members */
	struct rules *rules;
	struct check *running[BUCKETS];
};

/* --- identity ------------------------------------------------------------- */

void
identity_free(struct identity **ip)
{
	struct identity *id = *ip;

	if (id == NULL)
		return;
	account_free(&id->account);
	crypto_wipe(id, sizeof(*id));
	free(id);
	*ip = NULL;
}

/* Takes the account. */
static struct identity *
identity_new(struct account *account, const char *key_id, const char *key)
{
	struct identity *id = need(calloc(1, sizeof(*id)));

	id->account = account;
	(void)snprintf(id->key_id, sizeof(id->key_id), "%s", key_id);
	(void)snprintf(id->key, sizeof(id->key), "%s", key);
	return id;
}

void
identity_user(const struct identity *id, char user_r[IDENTITY_USER_MAX + 1])
{
	(void)snprintf(user_r, IDENTITY_USER_MAX + 1, "%s:%s%s%s",
		       id->account->id, id->key_id,
		       id->subaccount[0] != '\0' ? "+" : "", id->subaccount);
}

/* --- life ----------------------------------------------------------------- */

static struct rules *
rules_new(const struct key_check_settings *settings)
{
	struct rules *r = need(calloc(1, sizeof(*r)));

	atomic_init(&r->refs, 1);
	r->settings = *settings;
	r->url = need(strdup(settings->url));
	r->settings.url = r->url;
	return r;
}

static void
rules_unref(struct rules *r)
{
	if (atomic_fetch_sub(&r->refs, 1) > 1)
		return;
	free(r->url);
	free(r);
}

static struct rules *
rules_now(struct key_check *kc)
{
	struct rules *r;

	pthread_mutex_lock(&kc->lock);
	r = kc->rules;
	(void)atomic_fetch_add(&r->refs, 1);
	pthread_mutex_unlock(&kc->lock);
	return r;
}

struct key_check *
key_check_new(const struct key_check_settings *settings,
	      struct key_cache *cache, struct http_pool *pool)
{
	struct key_check *kc = need(calloc(1, sizeof(*kc)));

	kc->rules = rules_new(settings);
	kc->local = settings->local;
	kc->now = settings->now;
	kc->cache = cache;
	kc->pool = pool;
	if (pthread_mutex_init(&kc->lock, NULL) != 0)
		abort();
	return kc;
}

void
key_check_reconfigure(struct key_check *kc,
		      const struct key_check_settings *settings)
{
	struct rules *fresh = rules_new(settings), *old;

	pthread_mutex_lock(&kc->lock);
	old = kc->rules;
	kc->rules = fresh;
	pthread_mutex_unlock(&kc->lock);
	rules_unref(old);
}

void
key_check_free(struct key_check **kp)
{
	struct key_check *kc = *kp;

	if (kc == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		if (kc->running[i] != NULL)
			abort();
	}
	(void)pthread_mutex_destroy(&kc->lock);
	rules_unref(kc->rules);
	free(kc);
	*kp = NULL;
}

static int64_t
now_s(const struct key_check *kc)
{
	return kc->now != NULL ? kc->now() : (int64_t)time(NULL);
}

/* --- answers -------------------------------------------------------------- */

static struct asker
asker_of(const char *account, const char *address, key_answer_fn *fn, void *arg)
{
	struct asker a = { .fn = fn, .arg = arg };
	size_t len = address != NULL ? strlen(address) : 0;

	(void)snprintf(a.account, sizeof(a.account), "%s", account);
	if (len < sizeof(a.address))
		memcpy(a.address, address != NULL ? address : "", len + 1);
	return a;
}

static void
answer_wrong(const struct asker *a, enum key_reason reason)
{
	a->fn(a->arg, KEY_WRONG, reason, NULL);
}

static void
answer_unknown(const struct asker *a)
{
	a->fn(a->arg, KEY_UNKNOWN, KEY_REASON_NONE, NULL);
}

/* The key is good: is it for who asks? local: NULL when it was not made here.
 */
static void
answer_good(const struct asker *a, struct account *account, const char *key_id,
	    const char *key, const struct keystore_key *local)
{
	struct identity *id;

	if (a->account[0] != '\0' && strcmp(a->account, account->id) != 0) {
		answer_wrong(a, KEY_REASON_NOT_KNOWN);
		return;
	}
	if (!account_allows_address(account, a->address)) {
		answer_wrong(a, KEY_REASON_ADDRESS);
		return;
	}
	id = identity_new(account_share(account), key_id, key);
	id->local = local != NULL;
	(void)snprintf(id->login, sizeof(id->login), "%s",
		       local != NULL ? local->login : "");
	(void)snprintf(id->subaccount, sizeof(id->subaccount), "%s",
		       a->subaccount);
	a->fn(a->arg, KEY_GOOD, KEY_REASON_NONE, id);
}

/* True when the key store has answered. Clears found. */
static bool
answer_local(enum keystore_answer answer, struct keystore_found *found,
	     const struct asker *a)
{
	switch (answer) {
	case KEYSTORE_GOOD:
		answer_good(a, found->account, found->key.key_id,
			    found->api_key, &found->key);
		break;
	case KEYSTORE_REFUSED:
		answer_wrong(a, KEY_REASON_DISABLED);
		break;
	case KEYSTORE_MISTYPED:
		answer_wrong(a, KEY_REASON_MISTYPED);
		break;
	case KEYSTORE_ERROR:
		answer_unknown(a);
		break;
	case KEYSTORE_NOT_HERE:
		break;
	}
	keystore_found_clear(found);
	return answer != KEYSTORE_NOT_HERE;
}

/* What was known counts so long when the control plane cannot say. A clock
 * that was set back makes records of the future: they count too. */
static bool
is_usable(const struct key_check *kc, const struct key_check_settings *s,
	  const struct key_record *r)
{
	return !r->wrong && now_s(kc) - r->checked < (int64_t)s->stale;
}

/* True for one caller in GRACE_S, also when the clock was set back. */
static bool
is_my_turn(struct key_check *kc)
{
	long long until = atomic_load(&kc->grace_until);
	int64_t now = now_s(kc);

	return until != 0 && (now >= until || until - now > GRACE_S) &&
	       atomic_compare_exchange_strong(&kc->grace_until, &until,
					      now + GRACE_S);
}

enum freshness { FRESH, AGING, EXPIRED };

static enum freshness
freshness(struct key_check *kc, const struct key_check_settings *s,
	  const struct key_record *r)
{
	int64_t age = now_s(kc) - r->checked;
	int64_t ttl = r->wrong ? s->negative_ttl : s->ttl;
	bool in_time = age >= 0 && age < ttl;

	if (in_time && (r->wrong || age < (int64_t)REFRESH_AT(s->ttl)))
		return FRESH;
	if (is_usable(kc, s, r) && atomic_load(&kc->grace_until) != 0)
		return is_my_turn(kc) ? AGING : FRESH;
	return in_time ? AGING : EXPIRED;
}

/* --- a check -------------------------------------------------------------- */

static struct check **
bucket_of(struct key_check *kc, const uint8_t *hash)
{
	return &kc->running[hash[0] % BUCKETS];
}

/* Under the lock. */
static struct check *
find_running(struct key_check *kc, const uint8_t *hash)
{
	struct check *c = *bucket_of(kc, hash);

	while (c != NULL && memcmp(c->hash, hash, CRYPTO_HASH_LEN) != 0)
		c = c->next;
	return c;
}

static struct waiter *
end_running(struct check *check)
{
	struct key_check *kc = check->kc;
	struct check **at = bucket_of(kc, check->hash);
	struct waiter *waiters;

	pthread_mutex_lock(&kc->lock);
	while (*at != check)
		at = &(*at)->next;
	*at = check->next;
	waiters = check->waiters;
	check->waiters = NULL;
	pthread_mutex_unlock(&kc->lock);
	return waiters;
}

static void
answer_all(struct waiter *w, enum key_status status, const struct check *check)
{
	while (w != NULL) {
		struct waiter *next = w->next;

		if (status == KEY_GOOD)
			answer_good(&w->asker, check->account, check->key_id,
				    check->key, NULL);
		else if (status == KEY_WRONG)
			answer_wrong(&w->asker, KEY_REASON_NOT_KNOWN);
		else
			answer_unknown(&w->asker);
		free(w);
		w = next;
	}
}

static void
check_free(struct check *check)
{
	account_free(&check->account);
	rules_unref(check->rules);
	http_call_clear(&check->call);
	crypto_wipe(check, sizeof(*check));
	free(check);
}

static void
log_failure(const struct check *check, enum key_status status)
{
	const struct http_call *call = &check->call;
	char why[LOG_QUOTE_SIZE];

	log_warning("keys", "check key=%s result=%s status=%u error=%s",
		    check->key_id, status == KEY_GOOD ? "stale" : "unknown",
		    call->status,
		    log_quote(why, call->error[0] != '\0' ? call->error
							  : "unusable answer"));
}

/* Nobody gets an answer, not just this key an odd one. */
static bool
is_outage(const struct http_call *call)
{
	switch (call->result) {
	case HTTP_ANSWERED:
		return call->status >= 500;
	case HTTP_QUEUE_FULL:
	case HTTP_NO_ROOM:
		return false;
	default:
		return true;
	}
}

/* The control plane cannot say: what was known may still count. */
static enum key_status
fall_back(struct check *check)
{
	struct key_check *kc = check->kc;
	enum key_status status = KEY_UNKNOWN;
	struct key_record r;

	if (key_cache_get(kc->cache, check->key, strlen(check->key), &r) &&
	    is_usable(kc, &check->rules->settings, &r)) {
		status = KEY_GOOD;
		account_free(&check->account);
		check->account = r.account;
		r.account = NULL;
	}
	key_record_clear(&r);
	if (is_outage(&check->call))
		atomic_store(&kc->grace_until, now_s(kc) + GRACE_S);
	log_failure(check, status);
	return status;
}

static void
note_reachable(struct key_check *kc)
{
	if (atomic_exchange(&kc->grace_until, 0) != 0)
		log_info("keys", "control plane answers again");
}

static bool
is_forgotten(const struct check *check)
{
	struct key_check *kc = check->kc;
	bool forgotten;

	pthread_mutex_lock(&kc->lock);
	forgotten = check->forgotten;
	pthread_mutex_unlock(&kc->lock);
	return forgotten;
}

/* Under the lock, as marking a check is: what was forgotten or refused
 * meanwhile never counts, not even for a moment. */
static void
put_good(const struct check *check)
{
	struct key_check *kc = check->kc;

	pthread_mutex_lock(&kc->lock);
	if (!check->forgotten && !check->refused)
		key_cache_put(kc->cache, check->key, strlen(check->key),
			      check->account, now_s(kc));
	pthread_mutex_unlock(&kc->lock);
}

/* The cache learns the answer before the check is off the list, so that who
 * comes in between finds one of them. */
static enum key_status
settle(struct check *check, enum api_key_answer answer)
{
	struct key_check *kc = check->kc;
	size_t len = strlen(check->key);

	if (answer == API_KEY_NO_IDEA)
		return fall_back(check);
	note_reachable(kc);
	if (answer == API_KEY_BAD) {
		/* It may read the disk: not under the lock. Marked just now,
		 * the key is wrong for negative_ttl, at worst. */
		if (!is_forgotten(check))
			key_cache_put_wrong(kc->cache, check->key, len,
					    now_s(kc));
		return KEY_WRONG;
	}
	put_good(check);
	return KEY_GOOD;
}

/* Nobody can mark the check any more, and the cache has nothing of a marked
 * one (put_good): disk is not written here, in the HTTP pool's thread. */
static enum key_status
reconsider(struct check *check, enum key_status status)
{
	struct key_check *kc = check->kc;

	if (check->forgotten && status == KEY_GOOD)
		status = KEY_UNKNOWN;
	if (check->refused) {
		key_cache_put_wrong(kc->cache, check->key, strlen(check->key),
				    now_s(kc));
		status = KEY_WRONG;
	}
	return status;
}

static void
conclude(struct check *check, enum api_key_answer answer)
{
	const struct key_check_settings *s = &check->rules->settings;
	int64_t began = check->deadline_ms - s->timeout_ms;
	enum key_status status = settle(check, answer);
	struct waiter *waiters = end_running(check);

	if (s->timed != NULL)
		s->timed(s->timed_arg, (double)(clock_ms() - began) / 1000);
	status = reconsider(check, status);
	answer_all(waiters, status, check);
	check_free(check);
}

static void on_routes(struct http_call *call);

/* False: the question cannot be put. */
static bool
submit(struct check *check, const char *path,
       void (*done)(struct http_call *call))
{
	struct key_check *kc = check->kc;
	int64_t left = check->deadline_ms - clock_ms();
	int n = snprintf(check->url, sizeof(check->url), "%s%s",
			 check->rules->url, path);

	if (n < 0 || (size_t)n >= sizeof(check->url) || left <= 0)
		return false;
	http_call_clear(&check->call);
	check->call = (struct http_call){
		.url = check->url,
		.headers = check->headers,
		.timeout_ms = (unsigned)left,
		.answer_max = API_ANSWER_MAX,
		.done = done,
		.arg = check,
	};
	return http_pool_submit(kc->pool, &check->call) == 0;
}

/* What the answer to a GET means so far; its text is clean of the key. */
static enum api_key_answer
read_answer(struct check *check)
{
	struct http_call *call = &check->call;

	if (call->result != HTTP_ANSWERED)
		return API_KEY_NO_IDEA;
	key_hide(call->answer.data, call->answer.len, check->key, NULL);
	return api_key_answer(call->status);
}

static void
on_account(struct http_call *call)
{
	struct check *check = call->arg;
	const struct api_format *f = check->rules->settings.format;
	enum api_key_answer answer = read_answer(check);

	if (answer == API_KEY_GOOD &&
	    !f->keys->read_account(dynbuf_str(&call->answer), call->answer.len,
				   check->account->id))
		answer = API_KEY_NO_IDEA;
	conclude(check, answer);
}

static void
on_routes(struct http_call *call)
{
	struct check *check = call->arg;
	const struct key_check_settings *s = &check->rules->settings;
	enum api_key_answer answer = read_answer(check);

	if (answer == API_KEY_GOOD &&
	    !s->format->keys->read_routes(dynbuf_str(&call->answer),
					  call->answer.len, check->account))
		answer = API_KEY_NO_IDEA;
	if (answer == API_KEY_GOOD && s->ask_account) {
		if (submit(check, s->format->keys->account_path, on_account))
			return;
		answer = API_KEY_NO_IDEA;
	}
	conclude(check, answer);
}

/* Shares the rules. */
static struct check *
check_new(struct key_check *kc, struct rules *rules, const char *key,
	  size_t len, const uint8_t *hash)
{
	const struct key_check_settings *s = &rules->settings;
	struct check *c = need(calloc(1, sizeof(*c)));
	int n;

	c->kc = kc;
	c->rules = rules;
	(void)atomic_fetch_add(&rules->refs, 1);
	memcpy(c->hash, hash, CRYPTO_HASH_LEN);
	memcpy(c->key, key, len);
	key_id_of(key, len, c->key_id);
	/* The key stands for its account unless the API is asked. */
	c->account = account_new(c->key_id);
	c->deadline_ms = clock_ms() + s->timeout_ms;
	n = snprintf(c->header, sizeof(c->header), "%s: %s",
		     s->format->keys->key_header, c->key);
	if (n < 0 || (size_t)n >= sizeof(c->header))
		abort();
	c->headers[0] = c->header;
	c->headers[1] = "Accept: application/json";
	return c;
}

/* False when there are too many. */
static bool
add_waiter(struct check *check, const struct asker *a)
{
	struct waiter *w;

	if (a->fn == NULL)
		return true;
	if (check->n_waiters >= WAITERS_MAX)
		return false;
	w = need(calloc(1, sizeof(*w)));
	w->asker = *a;
	w->next = check->waiters;
	check->waiters = w;
	check->n_waiters++;
	return true;
}

/* Joins the check of this key, or begins one. */
static void
ask_control_plane(struct key_check *kc, struct rules *rules, const char *key,
		  size_t len, const struct asker *a)
{
	uint8_t hash[CRYPTO_HASH_LEN];
	struct check *running, *fresh = NULL;
	bool added;

	crypto_hash(key, len, hash);
	pthread_mutex_lock(&kc->lock);
	running = find_running(kc, hash);
	if (running == NULL) {
		running = fresh = check_new(kc, rules, key, len, hash);
		fresh->next = *bucket_of(kc, hash);
		*bucket_of(kc, hash) = fresh;
	}
	added = add_waiter(running, a);
	pthread_mutex_unlock(&kc->lock);
	if (!added)
		answer_unknown(a);
	if (fresh != NULL &&
	    !submit(fresh, rules->settings.format->keys->routes_path,
		    on_routes))
		conclude(fresh, API_KEY_NO_IDEA);
}

/* --- questions ------------------------------------------------------------ */

/* Answers from a record, or asks. Clears the record. */
static void
answer_or_ask(struct key_check *kc, struct rules *rules, struct key_record *r,
	      const char *key, size_t len, const struct asker *a)
{
	enum freshness f = freshness(kc, &rules->settings, r);
	const struct asker nobody = { .fn = NULL };

	if (f == EXPIRED) {
		ask_control_plane(kc, rules, key, len, a);
	} else if (r->wrong) {
		answer_wrong(a, KEY_REASON_NOT_KNOWN);
	} else {
		if (f == AGING)
			ask_control_plane(kc, rules, key, len, &nobody);
		answer_good(a, r->account, r->key_id, r->key, NULL);
	}
	key_record_clear(r);
}

static void
ask_api(struct key_check *kc, const char *key, size_t len,
	const struct asker *a)
{
	struct rules *rules = rules_now(kc);
	struct key_record r;

	if (!rules->settings.ask_api)
		answer_wrong(a, KEY_REASON_NOT_KNOWN);
	else if (key_cache_get(kc->cache, key, len, &r))
		answer_or_ask(kc, rules, &r, key, len, a);
	else
		ask_control_plane(kc, rules, key, len, a);
	rules_unref(rules);
}

void
key_check_ask(struct key_check *kc, const char *key, size_t len,
	      const char *address, key_answer_fn *fn, void *arg)
{
	struct asker a = asker_of("", address, fn, arg);
	enum keystore_answer answer = KEYSTORE_NOT_HERE;
	struct keystore_found found = { .account = NULL };

	if (!key_is_plausible(key, len)) {
		answer_wrong(&a, KEY_REASON_NOT_KNOWN);
		return;
	}
	if (kc->local != NULL)
		answer = keystore_find(kc->local, key, len, now_s(kc), &found);
	if (!answer_local(answer, &found, &a))
		ask_api(kc, key, len, &a);
}

static bool
is_subaccount(const char *s)
{
	size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789"
			       "ABCDEFGHIJKLMNOPQRSTUVWXYZ._-");

	return len > 0 && len <= SUBACCOUNT_MAX && s[len] == '\0';
}

/* The parts of "account:keyid" or "account:keyid+sub" (sub_r may point to
 * ""); false when the name is of no such form. */
static bool
split_user(const char *user, char account_r[ACCOUNT_ID_MAX + 1],
	   char key_id_r[KEY_ID_LEN + 1], const char **sub_r)
{
	const char *colon = strchr(user, ':');
	size_t account_len = colon != NULL ? (size_t)(colon - user) : 0;
	size_t id_len = colon != NULL ? strcspn(colon + 1, "+") : 0;
	const char *rest;

	if (account_len == 0 || account_len > ACCOUNT_ID_MAX ||
	    id_len != KEY_ID_LEN)
		return false;
	memcpy(account_r, user, account_len);
	account_r[account_len] = '\0';
	memcpy(key_id_r, colon + 1, id_len);
	key_id_r[id_len] = '\0';
	rest = colon + 1 + id_len;
	*sub_r = *rest == '\0' ? rest : rest + 1;
	return key_id_is_valid(key_id_r) &&
	       (*rest == '\0' || is_subaccount(rest + 1));
}

/* We told Postfix that name once. That it is not known any more may be our own
 * loss, so the client is told to come again; keys of accounts that were made
 * here are not lost but revoked. */
static void
answer_lost(struct key_check *kc, const struct asker *a)
{
	if (kc->local != NULL && keystore_has_account(kc->local, a->account))
		answer_wrong(a, KEY_REASON_NOT_KNOWN);
	else
		answer_unknown(a);
}

static void
ask_api_by_id(struct key_check *kc, const char *key_id, const struct asker *a)
{
	struct rules *rules = rules_now(kc);
	char key[KEY_MAX + 1];
	struct key_record r;

	if (!rules->settings.ask_api) {
		answer_wrong(a, KEY_REASON_NOT_KNOWN);
	} else if (!key_cache_get_by_id(kc->cache, key_id, &r)) {
		answer_lost(kc, a);
	} else if (r.wrong || strcmp(r.account->id, a->account) != 0) {
		key_record_clear(&r);
		answer_wrong(a, KEY_REASON_NOT_KNOWN);
	} else {
		memcpy(key, r.key, sizeof(key));
		answer_or_ask(kc, rules, &r, key, strlen(key), a);
		crypto_wipe(key, sizeof(key));
	}
	rules_unref(rules);
}

void
key_check_ask_user(struct key_check *kc, const char *user, const char *address,
		   key_answer_fn *fn, void *arg)
{
	char account[ACCOUNT_ID_MAX + 1] = "";
	char key_id[KEY_ID_LEN + 1];
	const char *sub;
	bool ok = split_user(user, account, key_id, &sub);
	struct asker a = asker_of(account, address, fn, arg);
	enum keystore_answer answer = KEYSTORE_NOT_HERE;
	struct keystore_found found = { .account = NULL };

	if (!ok) {
		answer_wrong(&a, KEY_REASON_NOT_KNOWN);
		return;
	}
	(void)snprintf(a.subaccount, sizeof(a.subaccount), "%s", sub);
	if (kc->local != NULL)
		answer = keystore_find_id(kc->local, key_id, now_s(kc), &found);
	if (!answer_local(answer, &found, &a))
		ask_api_by_id(kc, key_id, &a);
}

/* --- what is no longer true ----------------------------------------------- */

int
key_check_forget(struct key_check *kc, const char *key_id)
{
	pthread_mutex_lock(&kc->lock);
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct check *c = kc->running[i]; c != NULL; c = c->next)
			c->forgotten |= strcmp(c->key_id, key_id) == 0;
	}
	pthread_mutex_unlock(&kc->lock);
	return key_cache_expire(kc->cache, key_id);
}

int
key_check_forget_all(struct key_check *kc)
{
	pthread_mutex_lock(&kc->lock);
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct check *c = kc->running[i]; c != NULL; c = c->next)
			c->forgotten = true;
	}
	pthread_mutex_unlock(&kc->lock);
	return key_cache_expire_all(kc->cache);
}

/* A check under way may have been answered before the key was refused: its
 * answer must not bring the key back. */
void
key_check_refused(struct key_check *kc, const char *account, const char *key,
		  bool local)
{
	size_t len = strlen(key);
	uint8_t hash[CRYPTO_HASH_LEN];
	struct check *running;

	crypto_hash(key, len, hash);
	pthread_mutex_lock(&kc->lock);
	running = find_running(kc, hash);
	if (running != NULL)
		running->refused = true;
	pthread_mutex_unlock(&kc->lock);
	key_cache_put_wrong(kc->cache, key, len, now_s(kc));
	if (local)
		log_error("keys", "account=%s the API refuses its api_key",
			  account);
}
