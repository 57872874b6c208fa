/* SPDX-License-Identifier: MIT */
#include "key_check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http_pool.h"
#include "log.h"
#include "policy/account.h"
#include "policy/api.h"

/* Who waits for the answer about one key. */
#define WAITERS_MAX 10000
/* A fresh answer is refreshed when this part of its time is over. */
#define REFRESH_AT(ttl) ((ttl) / 10 * 8 + (ttl) % 10 * 8 / 10)
/* After a check that could not be made, keys that are known count without
 * asking for so long: a hanging control plane must not delay every message. */
#define GRACE_S 10

#define BUCKETS 256
#define URL_SIZE 2048
#define HEADER_SIZE (KEY_MAX + 64)

struct waiter {
	key_answer_fn *fn;
	void *arg;
	struct waiter *next;
};

/* A question to the control plane, for all who ask about one key. */
struct check {
	struct key_check *kc;
	uint8_t hash[CRYPTO_HASH_LEN];
	char key[KEY_MAX + 1];
	char key_id[KEY_ID_LEN + 1];
	struct account *account; /* what is known so far */
	struct http_call call;
	char url[URL_SIZE];
	char header[HEADER_SIZE];
	const char *headers[3];
	int64_t deadline_ms;
	struct waiter *waiters; /* guarded by key_check.lock, and the two */
	unsigned n_waiters;
	struct check *next;
};

struct key_check {
	struct key_check_settings settings;
	char *url;
	struct key_cache *cache;
	struct http_pool *pool;
	atomic_llong grace_until;

	pthread_mutex_t lock; /* guards running, and lists in its members */
	struct check *running[BUCKETS];
};

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

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
	(void)snprintf(user_r, IDENTITY_USER_MAX + 1, "%s:%s", id->account->id,
		       id->key_id);
}

void
identity_hide_key(char *data, size_t data_len, const char *key)
{
	size_t len = strlen(key);
	char *end = data + data_len;

	if (data == NULL || len == 0)
		return;
	while ((data = memmem(data, (size_t)(end - data), key, len)) != NULL) {
		memset(data, '*', len);
		data += len;
	}
}

/* --- life ----------------------------------------------------------------- */

struct key_check *
key_check_new(const struct key_check_settings *settings,
	      struct key_cache *cache, struct http_pool *pool)
{
	struct key_check *kc = need(calloc(1, sizeof(*kc)));

	kc->settings = *settings;
	kc->url = need(strdup(settings->url));
	kc->cache = cache;
	kc->pool = pool;
	if (pthread_mutex_init(&kc->lock, NULL) != 0)
		abort();
	return kc;
}

void
key_check_free(struct key_check **kp)
{
	struct key_check *kc = *kp;

	if (kc == NULL)
		return;
	(void)pthread_mutex_destroy(&kc->lock);
	free(kc->url);
	free(kc);
	*kp = NULL;
}

static int64_t
now_s(const struct key_check *kc)
{
	return kc->settings.now != NULL ? kc->settings.now()
					: (int64_t)time(NULL);
}

static int64_t
monotonic_ms(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
		abort();
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- answers from the cache ----------------------------------------------- */

/* Takes the record's account. */
static void
answer_good(struct key_record *r, key_answer_fn *fn, void *arg)
{
	struct identity *id = identity_new(r->account, r->key_id, r->key);

	r->account = NULL;
	fn(arg, KEY_GOOD, id);
}

enum freshness { FRESH, AGING, EXPIRED };

/* A clock that was set back makes records of the future: they are old. */
static enum freshness
freshness(const struct key_check *kc, const struct key_record *r)
{
	const struct key_check_settings *s = &kc->settings;
	int64_t now = now_s(kc);
	int64_t age = now - r->checked;

	if (age < 0 || age >= (int64_t)(r->wrong ? s->negative_ttl : s->ttl))
		return !r->wrong && age >= 0 && age < (int64_t)s->stale &&
			       now < atomic_load(&kc->grace_until)
			   ? FRESH
			   : EXPIRED;
	return !r->wrong && age >= (int64_t)REFRESH_AT(s->ttl) ? AGING : FRESH;
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
answer_all(struct waiter *w, enum key_status status, const struct check *check,
	   const struct account *account)
{
	while (w != NULL) {
		struct waiter *next = w->next;
		struct identity *id = NULL;

		if (status == KEY_GOOD)
			id = identity_new(account_copy(account), check->key_id,
					  check->key);
		w->fn(w->arg, status, id);
		free(w);
		w = next;
	}
}

static void
check_free(struct check *check)
{
	account_free(&check->account);
	http_call_clear(&check->call);
	crypto_wipe(check, sizeof(*check));
	free(check);
}

/* The control plane cannot say: what was known may still count. */
static enum key_status
fall_back(struct check *check)
{
	struct key_check *kc = check->kc;
	enum key_status status = KEY_UNKNOWN;
	struct key_record r;
	char why[LOG_QUOTE_SIZE];
	int64_t age;

	if (key_cache_get(kc->cache, check->key, strlen(check->key), &r)) {
		age = now_s(kc) - r.checked;
		if (!r.wrong && age >= 0 && age < (int64_t)kc->settings.stale) {
			status = KEY_GOOD;
			account_free(&check->account);
			check->account = r.account;
			r.account = NULL;
		}
		key_record_clear(&r);
	}
	atomic_store(&kc->grace_until, now_s(kc) + GRACE_S);
	log_warning("keys", "check key=%s result=%s status=%u error=%s",
		    check->key_id, status == KEY_GOOD ? "stale" : "unknown",
		    check->call.status, log_quote(why, check->call.error));
	return status;
}

static void
conclude(struct check *check, enum api_key_answer answer)
{
	struct key_check *kc = check->kc;
	size_t len = strlen(check->key);
	enum key_status status = KEY_WRONG;
	struct waiter *waiters;

	switch (answer) {
	case API_KEY_GOOD:
		status = KEY_GOOD;
		atomic_store(&kc->grace_until, 0);
		key_cache_put(kc->cache, check->key, len, check->account,
			      now_s(kc));
		break;
	case API_KEY_BAD:
		key_cache_put_wrong(kc->cache, check->key, len, now_s(kc));
		break;
	case API_KEY_NO_IDEA:
		status = fall_back(check);
		break;
	}
	waiters = end_running(check);
	answer_all(waiters, status, check, check->account);
	check_free(check);
}

static void on_routes(struct http_call *call);

/* False: the question cannot be put. */
static bool
submit(struct check *check, const char *path,
       void (*done)(struct http_call *call))
{
	struct key_check *kc = check->kc;
	int64_t left = check->deadline_ms - monotonic_ms();
	int n = snprintf(check->url, sizeof(check->url), "%s%s", kc->url, path);

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
	identity_hide_key(call->answer.data, call->answer.len, check->key);
	return api_key_answer(call->status);
}

static void
on_account(struct http_call *call)
{
	struct check *check = call->arg;
	const struct api_format *f = check->kc->settings.format;
	enum api_key_answer answer = read_answer(check);

	if (answer == API_KEY_GOOD &&
	    !f->read_account(dynbuf_str(&call->answer), call->answer.len,
			     check->account->id))
		answer = API_KEY_NO_IDEA;
	conclude(check, answer);
}

static void
on_routes(struct http_call *call)
{
	struct check *check = call->arg;
	const struct key_check_settings *s = &check->kc->settings;
	enum api_key_answer answer = read_answer(check);

	if (answer == API_KEY_GOOD &&
	    !s->format->read_routes(dynbuf_str(&call->answer),
				    call->answer.len, check->account))
		answer = API_KEY_NO_IDEA;
	if (answer == API_KEY_GOOD && s->ask_account) {
		if (submit(check, s->format->account_path, on_account))
			return;
		answer = API_KEY_NO_IDEA;
	}
	conclude(check, answer);
}

static struct check *
check_new(struct key_check *kc, const char *key, size_t len,
	  const uint8_t *hash)
{
	struct check *c = need(calloc(1, sizeof(*c)));

	c->kc = kc;
	memcpy(c->hash, hash, CRYPTO_HASH_LEN);
	memcpy(c->key, key, len);
	key_id_of(key, len, c->key_id);
	/* The key stands for its account unless the API is asked. */
	c->account = account_new(c->key_id);
	c->deadline_ms = monotonic_ms() + kc->settings.timeout_ms;
	(void)snprintf(c->header, sizeof(c->header), "%s: %s",
		       kc->settings.format->key_header, c->key);
	c->headers[0] = c->header;
	c->headers[1] = "Accept: application/json";
	return c;
}

/* Joins the check of this key, or begins one. fn NULL: a refresh, which
 * nobody waits for. */
static void
ask_control_plane(struct key_check *kc, const char *key, size_t len,
		  key_answer_fn *fn, void *arg)
{
	uint8_t hash[CRYPTO_HASH_LEN];
	struct waiter *w = NULL;
	struct check *running, *fresh = NULL;
	bool full = false;

	crypto_hash(key, len, hash);
	if (fn != NULL) {
		w = need(calloc(1, sizeof(*w)));
		w->fn = fn;
		w->arg = arg;
	}
	pthread_mutex_lock(&kc->lock);
	running = find_running(kc, hash);
	if (running == NULL) {
		running = fresh = check_new(kc, key, len, hash);
		fresh->next = *bucket_of(kc, hash);
		*bucket_of(kc, hash) = fresh;
	}
	full = running->n_waiters >= WAITERS_MAX;
	if (w != NULL && !full) {
		w->next = running->waiters;
		running->waiters = w;
		running->n_waiters++;
	}
	pthread_mutex_unlock(&kc->lock);
	if (w != NULL && full) {
		free(w);
		fn(arg, KEY_UNKNOWN, NULL);
	}
	if (fresh != NULL &&
	    !submit(fresh, kc->settings.format->routes_path, on_routes))
		conclude(fresh, API_KEY_NO_IDEA);
}

/* --- questions ------------------------------------------------------------ */

/* Answers from a record, or asks. Clears the record. */
static void
answer_or_ask(struct key_check *kc, struct key_record *r, const char *key,
	      size_t len, key_answer_fn *fn, void *arg)
{
	enum freshness f = freshness(kc, r);

	if (f == EXPIRED) {
		ask_control_plane(kc, key, len, fn, arg);
	} else if (r->wrong) {
		fn(arg, KEY_WRONG, NULL);
	} else {
		if (f == AGING)
			ask_control_plane(kc, key, len, NULL, NULL);
		answer_good(r, fn, arg);
	}
	key_record_clear(r);
}

void
key_check_ask(struct key_check *kc, const char *key, size_t len,
	      key_answer_fn *fn, void *arg)
{
	struct key_record r;

	if (!key_is_plausible(key, len))
		fn(arg, KEY_WRONG, NULL);
	else if (key_cache_get(kc->cache, key, len, &r))
		answer_or_ask(kc, &r, key, len, fn, arg);
	else
		ask_control_plane(kc, key, len, fn, arg);
}

/* The key id of "account:keyid" or "account:keyid+sub"; false when the name
 * is of no such form. */
static bool
split_user(const char *user, char account_r[ACCOUNT_ID_MAX + 1],
	   char key_id_r[KEY_ID_LEN + 1])
{
	const char *colon = strchr(user, ':');
	size_t account_len = colon ? (size_t)(colon - user) : 0;
	size_t id_len = colon ? strcspn(colon + 1, "+") : 0;

	if (account_len == 0 || account_len > ACCOUNT_ID_MAX ||
	    id_len != KEY_ID_LEN)
		return false;
	memcpy(account_r, user, account_len);
	account_r[account_len] = '\0';
	memcpy(key_id_r, colon + 1, id_len);
	key_id_r[id_len] = '\0';
	return key_id_is_valid(key_id_r);
}

void
key_check_ask_user(struct key_check *kc, const char *user, key_answer_fn *fn,
		   void *arg)
{
	char account[ACCOUNT_ID_MAX + 1];
	char key_id[KEY_ID_LEN + 1];
	char key[KEY_MAX + 1];
	struct key_record r;

	if (!split_user(user, account, key_id)) {
		fn(arg, KEY_WRONG, NULL);
		return;
	}
	/* We told Postfix that name once. That it is not known any more may
	 * be our own loss, so the client is told to come again. */
	if (!key_cache_get_by_id(kc->cache, key_id, &r)) {
		fn(arg, KEY_UNKNOWN, NULL);
		return;
	}
	if (r.wrong || strcmp(r.account->id, account) != 0) {
		key_record_clear(&r);
		fn(arg, KEY_WRONG, NULL);
		return;
	}
	memcpy(key, r.key, sizeof(key));
	answer_or_ask(kc, &r, key, strlen(key), fn, arg);
	crypto_wipe(key, sizeof(key));
}

void
key_check_refused(struct key_check *kc, const struct identity *id)
{
	key_cache_put_wrong(kc->cache, id->key, strlen(id->key), now_s(kc));
}
