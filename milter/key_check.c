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
 * asking: a hanging control plane must not delay every message. Each time so
 * much has passed, one check in the background looks whether it is back. */
#define GRACE_S 10

#define BUCKETS 256
#define URL_SIZE 2048
#define HEADER_SIZE (KEY_MAX + 64)

struct waiter {
	key_answer_fn *fn;
	void *arg;
	char account[ACCOUNT_ID_MAX + 1]; /* it must be this one's; "": any */
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
	struct waiter *waiters; /* guarded by key_check.lock, to the end */
	unsigned n_waiters;
	bool refused; /* by the API at hand-off, meanwhile */
	struct check *next;
};

struct key_check {
	struct key_check_settings settings;
	char *url;
	struct key_cache *cache;
	struct http_pool *pool;
	atomic_llong grace_until; /* 0: the last check was answered */

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
	for (size_t i = 0; i < BUCKETS; i++) {
		if (kc->running[i] != NULL)
			abort();
	}
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

/* What was known counts so long when the control plane cannot say. A clock
 * that was set back makes records of the future: they count too. */
static bool
is_usable(const struct key_check *kc, const struct key_record *r)
{
	return !r->wrong &&
	       now_s(kc) - r->checked < (int64_t)kc->settings.stale;
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
freshness(struct key_check *kc, const struct key_record *r)
{
	const struct key_check_settings *s = &kc->settings;
	int64_t age = now_s(kc) - r->checked;
	int64_t ttl = r->wrong ? s->negative_ttl : s->ttl;
	bool in_time = age >= 0 && age < ttl;

	if (in_time && (r->wrong || age < (int64_t)REFRESH_AT(s->ttl)))
		return FRESH;
	if (is_usable(kc, r) && atomic_load(&kc->grace_until) != 0)
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
end_running(struct check *check, bool *refused_r)
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
	*refused_r = check->refused;
	pthread_mutex_unlock(&kc->lock);
	return waiters;
}

static struct waiter *
waiter_new(const char *account, key_answer_fn *fn, void *arg)
{
	struct waiter *w = need(calloc(1, sizeof(*w)));

	(void)snprintf(w->account, sizeof(w->account), "%s", account);
	w->fn = fn;
	w->arg = arg;
	return w;
}

static void
answer_waiter(const struct waiter *w, enum key_status status,
	      const struct check *check)
{
	struct identity *id = NULL;

	if (status == KEY_GOOD && w->account[0] != '\0' &&
	    strcmp(w->account, check->account->id) != 0)
		status = KEY_WRONG;
	if (status == KEY_GOOD)
		id = identity_new(account_copy(check->account), check->key_id,
				  check->key);
	w->fn(w->arg, status, id);
}

static void
answer_all(struct waiter *w, enum key_status status, const struct check *check)
{
	while (w != NULL) {
		struct waiter *next = w->next;

		answer_waiter(w, status, check);
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

/* The control plane cannot say: what was known may still count. */
static enum key_status
fall_back(struct check *check)
{
	struct key_check *kc = check->kc;
	enum key_status status = KEY_UNKNOWN;
	struct key_record r;

	if (key_cache_get(kc->cache, check->key, strlen(check->key), &r) &&
	    is_usable(kc, &r)) {
		status = KEY_GOOD;
		account_free(&check->account);
		check->account = r.account;
		r.account = NULL;
	}
	key_record_clear(&r);
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
		key_cache_put_wrong(kc->cache, check->key, len, now_s(kc));
		return KEY_WRONG;
	}
	key_cache_put(kc->cache, check->key, len, check->account, now_s(kc));
	return KEY_GOOD;
}

static void
conclude(struct check *check, enum api_key_answer answer)
{
	struct key_check *kc = check->kc;
	enum key_status status = settle(check, answer);
	bool refused;
	struct waiter *waiters = end_running(check, &refused);

	if (refused) {
		key_cache_put_wrong(kc->cache, check->key, strlen(check->key),
				    now_s(kc));
		status = KEY_WRONG;
	}
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
	    !s->format->read_routes(dynbuf_str(&call->answer), call->answer.len,
				    check->account))
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
	int n;

	c->kc = kc;
	memcpy(c->hash, hash, CRYPTO_HASH_LEN);
	memcpy(c->key, key, len);
	key_id_of(key, len, c->key_id);
	/* The key stands for its account unless the API is asked. */
	c->account = account_new(c->key_id);
	c->deadline_ms = monotonic_ms() + kc->settings.timeout_ms;
	n = snprintf(c->header, sizeof(c->header), "%s: %s",
		     kc->settings.format->key_header, c->key);
	if (n < 0 || (size_t)n >= sizeof(c->header))
		abort();
	c->headers[0] = c->header;
	c->headers[1] = "Accept: application/json";
	return c;
}

static void
add_waiter(struct check *check, struct waiter *w)
{
	w->next = check->waiters;
	check->waiters = w;
	check->n_waiters++;
}

/* Joins the check of this key, or begins one. fn NULL: a refresh, which
 * nobody waits for. account: the identity must be of this one; "": of any. */
static void
ask_control_plane(struct key_check *kc, const char *key, size_t len,
		  const char *account, key_answer_fn *fn, void *arg)
{
	uint8_t hash[CRYPTO_HASH_LEN];
	struct waiter *w = fn != NULL ? waiter_new(account, fn, arg) : NULL;
	struct check *running, *fresh = NULL;
	bool full;

	crypto_hash(key, len, hash);
	pthread_mutex_lock(&kc->lock);
	running = find_running(kc, hash);
	if (running == NULL) {
		running = fresh = check_new(kc, key, len, hash);
		fresh->next = *bucket_of(kc, hash);
		*bucket_of(kc, hash) = fresh;
	}
	full = running->n_waiters >= WAITERS_MAX;
	if (w != NULL && !full)
		add_waiter(running, w);
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
	      size_t len, const char *account, key_answer_fn *fn, void *arg)
{
	enum freshness f = freshness(kc, r);

	if (f == EXPIRED) {
		ask_control_plane(kc, key, len, account, fn, arg);
	} else if (r->wrong) {
		fn(arg, KEY_WRONG, NULL);
	} else {
		if (f == AGING)
			ask_control_plane(kc, key, len, "", NULL, NULL);
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
		answer_or_ask(kc, &r, key, len, "", fn, arg);
	else
		ask_control_plane(kc, key, len, "", fn, arg);
}

static bool
is_subaccount(const char *s)
{
	size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789"
			       "ABCDEFGHIJKLMNOPQRSTUVWXYZ._-");

	return len > 0 && len <= ACCOUNT_ID_MAX && s[len] == '\0';
}

/* The parts of "account:keyid" or "account:keyid+sub"; false when the name is
 * of no such form. */
static bool
split_user(const char *user, char account_r[ACCOUNT_ID_MAX + 1],
	   char key_id_r[KEY_ID_LEN + 1])
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
	return key_id_is_valid(key_id_r) &&
	       (*rest == '\0' || is_subaccount(rest + 1));
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
	answer_or_ask(kc, &r, key, strlen(key), account, fn, arg);
	crypto_wipe(key, sizeof(key));
}

/* A check under way may have been answered before the key was refused: its
 * answer must not bring the key back. */
void
key_check_refused(struct key_check *kc, const struct identity *id)
{
	size_t len = strlen(id->key);
	uint8_t hash[CRYPTO_HASH_LEN];
	struct check *running;

	crypto_hash(id->key, len, hash);
	pthread_mutex_lock(&kc->lock);
	running = find_running(kc, hash);
	if (running != NULL)
		running->refused = true;
	pthread_mutex_unlock(&kc->lock);
	key_cache_put_wrong(kc->cache, id->key, len, now_s(kc));
}
