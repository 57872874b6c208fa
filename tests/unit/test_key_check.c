/* SPDX-License-Identifier: MIT */
/*
 * The HTTP pool is the test's own: it keeps what is submitted until the test
 * answers it. The key cache is the real one, the clock is a variable.
 */
#include "milter/key_check.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "milter/http_pool.h"
#include "milter/keystore.h"
#include "milter/log.h"
#include "milter/store.h"
#include "policy/account.h"
#include "policy/api.h"
#include "policy/json_text.h"

#define NOW 1700000000
#define TTL 600
#define NEGATIVE_TTL 30
#define STALE 86400
#define TIMEOUT_MS 60000
#define GRACE 10
#define WAITERS_MAX 10000
#define KEY "s3cret-k3y"
#define OTHER "0ther-k3y"
#define CALLS_MAX 64
#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

static atomic_llong clock_s;

static int64_t
fake_now(void)
{
	return atomic_load(&clock_s);
}

/* --- an HTTP pool --------------------------------------------------------- */

struct http_pool {
	pthread_mutex_t lock; /* guards all */
	pthread_cond_t changed;
	struct http_call *calls[CALLS_MAX];
	unsigned n;
	unsigned submitted;
	bool full;
	bool closed;
};

int
http_pool_submit(struct http_pool *pool, struct http_call *call)
{
	bool full;

	dynbuf_init(&call->answer, call->answer_max);
	pthread_mutex_lock(&pool->lock);
	full = pool->full || pool->n == CALLS_MAX;
	if (!full) {
		pool->calls[pool->n++] = call;
		pool->submitted++;
		pthread_cond_signal(&pool->changed);
	}
	pthread_mutex_unlock(&pool->lock);
	if (!full)
		return 0;
	call->result = HTTP_QUEUE_FULL;
	snprintf(call->error, sizeof(call->error), "full");
	return -1;
}

void
http_call_clear(struct http_call *call)
{
	dynbuf_clear(&call->answer);
}

/* The oldest call; waits for one unless the pool is closed (NULL). */
static struct http_call *
next_call(struct http_pool *pool)
{
	struct http_call *call = NULL;

	pthread_mutex_lock(&pool->lock);
	while (pool->n == 0 && !pool->closed)
		pthread_cond_wait(&pool->changed, &pool->lock);
	if (pool->n > 0) {
		call = pool->calls[0];
		pool->n--;
		memmove(pool->calls, pool->calls + 1,
			pool->n * sizeof(pool->calls[0]));
	}
	pthread_mutex_unlock(&pool->lock);
	return call;
}

/* What the control plane says; result other than HTTP_ANSWERED: nothing. */
struct reply {
	enum http_result result;
	unsigned status;
	const char *body;
};

#define ROUTES                               \
	{                                    \
		HTTP_ANSWERED, 200, "routes" \
	}
#define ACCOUNT                                    \
	{                                          \
		HTTP_ANSWERED, 200, "account acme" \
	}

static void
give(struct http_call *call, const struct reply *reply)
{
	call->result = reply->result;
	call->status = reply->status;
	snprintf(call->error, sizeof(call->error), "%s",
		 reply->result == HTTP_ANSWERED ? "" : "gone");
	if (reply->result == HTTP_ANSWERED)
		dynbuf_adds(&call->answer, reply->body);
	call->done(call);
}

/* --- an API format -------------------------------------------------------- */

/* "routes" with a list of names is good. */
static bool
read_routes(const char *body, size_t len, struct account *account)
{
	if (len < 6 || memcmp(body, "routes", 6) != 0)
		return false;
	return account_add_route(account, "r1", body + 6);
}

static bool
read_account(const char *body, size_t len, char *id_r)
{
	if (len < 9 || memcmp(body, "account ", 8) != 0)
		return false;
	snprintf(id_r, ACCOUNT_ID_MAX + 1, "%s", body + 8);
	return true;
}

static const struct api_keys stub_keys = {
	.routes_path = "/userroutes",
	.account_path = "/ping",
	.key_header = "X-Auth-APIKey",
	.read_routes = read_routes,
	.read_account = read_account,
};

static const struct api_format format = {
	.name = "test",
	.keys = &stub_keys,
};

/* --- fixture -------------------------------------------------------------- */

struct place {
	char dir[40];
	char secret[60];
	struct store *store;
	struct crypto_seal *seal;
	struct key_cache *cache;
	struct keystore *local;
	struct http_pool pool;
	struct key_check *kc;
};

static void
start(struct place *p, bool ask_account, unsigned timeout_ms)
{
	const struct key_check_settings settings = {
		.url = "https://api.example/v1",
		.format = &format,
		.ask_api = true,
		.ask_account = ask_account,
		.timeout_ms = timeout_ms,
		.ttl = TTL,
		.negative_ttl = NEGATIVE_TTL,
		.stale = STALE,
		.now = fake_now,
	};

	key_check_free(&p->kc);
	p->kc = key_check_new(&settings, p->cache, &p->pool);
}

static int
set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	const char *error;
	char *text;
	FILE *f;

	assert_non_null(p);
	strcpy(p->dir, "/tmp/test_key_check.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->secret, sizeof(p->secret), "%s/secret", p->dir);
	f = fopen(p->secret, "w");
	assert_non_null(f);
	for (int i = 0; i < CRYPTO_SECRET_MIN; i++)
		fputc('s', f);
	fclose(f);
	assert_int_equal(chmod(p->secret, 0600), 0);
	p->store = store_open(p->dir, 16 * 1024 * 1024, &text);
	assert_non_null(p->store);
	p->seal = crypto_seal_open(p->secret, &error);
	assert_non_null(p->seal);
	p->cache = key_cache_new(p->store, p->seal, 1000);
	pthread_mutex_init(&p->pool.lock, NULL);
	pthread_cond_init(&p->pool.changed, NULL);
	atomic_store(&clock_s, NOW);
	start(p, false, TIMEOUT_MS);
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

	key_check_free(&p->kc);
	keystore_free(&p->local);
	key_cache_free(&p->cache);
	crypto_seal_free(&p->seal);
	store_close(&p->store);
	pthread_mutex_destroy(&p->pool.lock);
	pthread_cond_destroy(&p->pool.changed);
	for (size_t i = 0; i < N_ELEMENTS(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", p->dir, files[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(p->dir), 0);
	free(p);
	return 0;
}

/* What a question was answered with. */
struct seen {
	unsigned count;
	enum key_status status;
	enum key_reason reason;
	bool local;
	char account[ACCOUNT_ID_MAX + 1];
	char route[64];
	char key_id[KEY_ID_LEN + 1];
	char key[KEY_MAX + 1];
	char login[KEYSTORE_LOGIN_MAX + 1];
	char subaccount[SUBACCOUNT_MAX + 1];
};

static void
see(void *arg, enum key_status status, enum key_reason reason,
    struct identity *id)
{
	struct seen *seen = arg;

	seen->count++;
	seen->status = status;
	seen->reason = reason;
	assert_int_equal(status == KEY_GOOD, id != NULL);
	if (id == NULL)
		return;
	seen->local = id->local;
	strcpy(seen->account, id->account->id);
	strcpy(seen->key_id, id->key_id);
	strcpy(seen->key, id->key);
	strcpy(seen->login, id->login);
	strcpy(seen->subaccount, id->subaccount);
	if (id->account->n_routes > 0)
		snprintf(seen->route, sizeof(seen->route), "%s",
			 id->account->routes[0].name);
	identity_free(&id);
	assert_null(id);
}

static void
ask(struct place *p, const char *key, struct seen *seen)
{
	*seen = (struct seen){ 0 };
	key_check_ask(p->kc, key, strlen(key), NULL, see, seen);
}

static void
answer(struct place *p, const struct reply *reply)
{
	struct http_call *call;

	if (p->pool.n == 0)
		fail_msg("nothing was asked");
	call = next_call(&p->pool);
	give(call, reply);
}

/* Checked `age` seconds ago, for account "acme". */
static void
know(struct place *p, const char *key, int64_t age)
{
	struct account *a = account_new("acme");

	account_add_route(a, "r1", "known");
	key_cache_put(p->cache, key, strlen(key), a, fake_now() - age);
	account_free(&a);
}

/* --- answers of the control plane ----------------------------------------- */

#define NEVER_KNOWN (-1)

static const struct answer_row {
	const char *name;
	int64_t known_age; /* or NEVER_KNOWN */
	struct reply routes;
	bool ask_account;
	struct reply account; /* status 0 and ANSWERED: not asked */
	enum key_status status;
	const char *id; /* "": the key id */
} answer_rows[] = {
	{ "good", NEVER_KNOWN, ROUTES, false, { 0 }, KEY_GOOD, "" },
	{ "good again", TTL, ROUTES, false, { 0 }, KEY_GOOD, "" },
	{ "401",
	  NEVER_KNOWN,
	  { HTTP_ANSWERED, 401, "routes" },
	  false,
	  { 0 },
	  KEY_WRONG,
	  NULL },
	{ "403",
	  NEVER_KNOWN,
	  { HTTP_ANSWERED, 403, "" },
	  false,
	  { 0 },
	  KEY_WRONG,
	  NULL },
	{ "revoked",
	  TTL,
	  { HTTP_ANSWERED, 401, "" },
	  false,
	  { 0 },
	  KEY_WRONG,
	  NULL },
	{ "500",
	  NEVER_KNOWN,
	  { HTTP_ANSWERED, 500, "routes" },
	  false,
	  { 0 },
	  KEY_UNKNOWN,
	  NULL },
	{ "429",
	  NEVER_KNOWN,
	  { HTTP_ANSWERED, 429, "" },
	  false,
	  { 0 },
	  KEY_UNKNOWN,
	  NULL },
	{ "404",
	  NEVER_KNOWN,
	  { HTTP_ANSWERED, 404, "" },
	  false,
	  { 0 },
	  KEY_UNKNOWN,
	  NULL },
	{ "302",
	  NEVER_KNOWN,
	  { HTTP_ANSWERED, 302, "" },
	  false,
	  { 0 },
	  KEY_UNKNOWN,
	  NULL },
	{ "202",
	  NEVER_KNOWN,
	  { HTTP_ANSWERED, 202, "routes" },
	  false,
	  { 0 },
	  KEY_UNKNOWN,
	  NULL },
	{ "garbage",
	  NEVER_KNOWN,
	  { HTTP_ANSWERED, 200, "<html>" },
	  false,
	  { 0 },
	  KEY_UNKNOWN,
	  NULL },
	{ "empty",
	  NEVER_KNOWN,
	  { HTTP_ANSWERED, 200, "" },
	  false,
	  { 0 },
	  KEY_UNKNOWN,
	  NULL },
	{ "no answer",
	  NEVER_KNOWN,
	  { HTTP_NO_ANSWER, 0, "" },
	  false,
	  { 0 },
	  KEY_UNKNOWN,
	  NULL },
	{ "timeout",
	  NEVER_KNOWN,
	  { HTTP_TIMED_OUT, 0, "" },
	  false,
	  { 0 },
	  KEY_UNKNOWN,
	  NULL },
	{ "too long",
	  NEVER_KNOWN,
	  { HTTP_TOO_LONG, 0, "" },
	  false,
	  { 0 },
	  KEY_UNKNOWN,
	  NULL },
	{ "stopping",
	  NEVER_KNOWN,
	  { HTTP_STOPPED, 0, "" },
	  false,
	  { 0 },
	  KEY_UNKNOWN,
	  NULL },
	{ "stale, 503",
	  TTL,
	  { HTTP_ANSWERED, 503, "" },
	  false,
	  { 0 },
	  KEY_GOOD,
	  "acme" },
	{ "stale, garbage",
	  TTL,
	  { HTTP_ANSWERED, 200, "x" },
	  false,
	  { 0 },
	  KEY_GOOD,
	  "acme" },
	{ "stale, no answer",
	  TTL,
	  { HTTP_NO_ANSWER, 0, "" },
	  false,
	  { 0 },
	  KEY_GOOD,
	  "acme" },
	{ "stale, stopping",
	  TTL,
	  { HTTP_STOPPED, 0, "" },
	  false,
	  { 0 },
	  KEY_GOOD,
	  "acme" },
	{ "just not too stale",
	  STALE - 1,
	  { HTTP_NO_ANSWER, 0, "" },
	  false,
	  { 0 },
	  KEY_GOOD,
	  "acme" },
	{ "too stale",
	  STALE,
	  { HTTP_NO_ANSWER, 0, "" },
	  false,
	  { 0 },
	  KEY_UNKNOWN,
	  NULL },
	{ "clock set back",
	  -3600,
	  { HTTP_NO_ANSWER, 0, "" },
	  false,
	  { 0 },
	  KEY_GOOD,
	  "acme" },
	{ "account named", NEVER_KNOWN, ROUTES, true, ACCOUNT, KEY_GOOD,
	  "acme" },
	{ "account, routes 401",
	  NEVER_KNOWN,
	  { HTTP_ANSWERED, 401, "" },
	  true,
	  { 0 },
	  KEY_WRONG,
	  NULL },
	{ "account, routes 500",
	  NEVER_KNOWN,
	  { HTTP_ANSWERED, 500, "" },
	  true,
	  { 0 },
	  KEY_UNKNOWN,
	  NULL },
	{ "account 401",
	  NEVER_KNOWN,
	  ROUTES,
	  true,
	  { HTTP_ANSWERED, 401, "" },
	  KEY_WRONG,
	  NULL },
	{ "account 500",
	  NEVER_KNOWN,
	  ROUTES,
	  true,
	  { HTTP_ANSWERED, 500, "" },
	  KEY_UNKNOWN,
	  NULL },
	{ "account garbage",
	  NEVER_KNOWN,
	  ROUTES,
	  true,
	  { HTTP_ANSWERED, 200, "x" },
	  KEY_UNKNOWN,
	  NULL },
	{ "account no answer",
	  NEVER_KNOWN,
	  ROUTES,
	  true,
	  { HTTP_NO_ANSWER, 0, "" },
	  KEY_UNKNOWN,
	  NULL },
	{ "stale, account no answer",
	  TTL,
	  ROUTES,
	  true,
	  { HTTP_NO_ANSWER, 0, "" },
	  KEY_GOOD,
	  "acme" },
};

static void
check_seen(const char *name, const struct seen *seen, enum key_status status,
	   const char *id, const char *key)
{
	char key_id[KEY_ID_LEN + 1];

	if (seen->count != 1)
		fail_msg("%s: answered %u times", name, seen->count);
	if (seen->status != status)
		fail_msg("%s: status %d", name, seen->status);
	if (status != KEY_GOOD)
		return;
	key_id_of(key, strlen(key), key_id);
	if (strcmp(seen->account, *id != '\0' ? id : key_id) != 0)
		fail_msg("%s: account %s", name, seen->account);
	if (strcmp(seen->key_id, key_id) != 0 || strcmp(seen->key, key) != 0)
		fail_msg("%s: key id %s", name, seen->key_id);
}

/* Each row has a key of its own. */
static void
test_answers(void **state)
{
	struct place *p = *state;

	for (size_t i = 0; i < N_ELEMENTS(answer_rows); i++) {
		const struct answer_row *r = &answer_rows[i];
		struct seen seen;
		char key[20];

		start(p, r->ask_account, TIMEOUT_MS);
		snprintf(key, sizeof(key), "key-%zu", i);
		if (r->known_age != NEVER_KNOWN)
			know(p, key, r->known_age);
		ask(p, key, &seen);
		if (seen.count != 0)
			fail_msg("%s: answered without asking", r->name);
		answer(p, &r->routes);
		if (r->account.result != HTTP_ANSWERED ||
		    r->account.status != 0)
			answer(p, &r->account);
		check_seen(r->name, &seen, r->status, r->id, key);
		if (p->pool.n != 0)
			fail_msg("%s: asked again", r->name);
	}
}

/* What was learnt is in the cache: no second question. */
static void
test_remembered(void **state)
{
	struct place *p = *state;
	struct seen seen;

	ask(p, KEY, &seen);
	answer(p, &(struct reply)ROUTES);
	ask(p, OTHER, &seen);
	answer(p, &(struct reply){ HTTP_ANSWERED, 401, "" });
	ask(p, KEY, &seen);
	check_seen("good", &seen, KEY_GOOD, "", KEY);
	ask(p, OTHER, &seen);
	check_seen("wrong", &seen, KEY_WRONG, NULL, OTHER);
	assert_int_equal(p->pool.submitted, 2);
}

static void
test_queue_full(void **state)
{
	struct place *p = *state;
	struct seen seen;

	p->pool.full = true;
	ask(p, KEY, &seen);
	check_seen("unknown", &seen, KEY_UNKNOWN, NULL, KEY);
	know(p, OTHER, TTL);
	ask(p, OTHER, &seen);
	check_seen("stale", &seen, KEY_GOOD, "acme", OTHER);
}

/* The account is asked for while there is time, not after. */
static void
test_no_time_left(void **state)
{
	struct place *p = *state;
	struct seen seen;

	start(p, true, 1);
	ask(p, KEY, &seen);
	usleep(2000);
	answer(p, &(struct reply)ROUTES);
	check_seen("no time left", &seen, KEY_UNKNOWN, NULL, KEY);
	assert_int_equal(p->pool.submitted, 1);
}

static void
check_request(const struct http_call *call, const char *url)
{
	assert_string_equal(call->url, url);
	assert_false(call->post);
	assert_string_equal(call->headers[0], "X-Auth-APIKey: " KEY);
	assert_string_equal(call->headers[1], "Accept: application/json");
	assert_null(call->headers[2]);
	assert_true(call->timeout_ms > 0 && call->timeout_ms <= TIMEOUT_MS);
	assert_int_equal(call->answer_max, API_ANSWER_MAX);
}

static void
test_requests(void **state)
{
	struct place *p = *state;
	struct seen seen;

	start(p, true, TIMEOUT_MS);
	ask(p, KEY, &seen);
	check_request(p->pool.calls[0], "https://api.example/v1/userroutes");
	answer(p, &(struct reply)ROUTES);
	check_request(p->pool.calls[0], "https://api.example/v1/ping");
	answer(p, &(struct reply)ACCOUNT);
	assert_int_equal(seen.count, 1);
}

/* --- what the cache answers ----------------------------------------------- */

static const struct {
	const char *name;
	int64_t age;
	bool wrong;
	bool answered; /* at once */
	unsigned asked;
} ages[] = {
	{ "new", 0, false, true, 0 },
	{ "before refresh", TTL * 8 / 10 - 1, false, true, 0 },
	{ "refresh", TTL * 8 / 10, false, true, 1 },
	{ "just in time", TTL - 1, false, true, 1 },
	{ "over", TTL, false, false, 1 },
	{ "long over", STALE * 2, false, false, 1 },
	{ "clock set back", -1, false, false, 1 },
	{ "wrong", 0, true, true, 0 },
	{ "just wrong", NEGATIVE_TTL - 1, true, true, 0 },
	{ "no longer wrong", NEGATIVE_TTL, true, false, 1 },
	{ "wrong, clock set back", -1, true, false, 1 },
};

static void
test_ages(void **state)
{
	struct place *p = *state;

	for (size_t i = 0; i < N_ELEMENTS(ages); i++) {
		unsigned before = p->pool.submitted;
		struct seen seen;
		char key[20];

		snprintf(key, sizeof(key), "key-%zu", i);
		if (ages[i].wrong)
			key_cache_put_wrong(p->cache, key, strlen(key),
					    NOW - ages[i].age);
		else
			know(p, key, ages[i].age);
		ask(p, key, &seen);
		if (seen.count != ages[i].answered)
			fail_msg("%s: answered %u", ages[i].name, seen.count);
		if (ages[i].answered)
			check_seen(ages[i].name, &seen,
				   ages[i].wrong ? KEY_WRONG : KEY_GOOD, "acme",
				   key);
		if (p->pool.submitted - before != ages[i].asked)
			fail_msg("%s: asked %u times", ages[i].name,
				 p->pool.submitted - before);
		if (ages[i].asked > 0)
			answer(p, &(struct reply)ROUTES);
		assert_int_equal(seen.count, 1);
	}
}

static void
test_refresh(void **state)
{
	struct place *p = *state;
	struct seen seen;

	know(p, KEY, TTL - 1);
	for (int i = 0; i < 3; i++) {
		ask(p, KEY, &seen);
		check_seen("meanwhile", &seen, KEY_GOOD, "acme", KEY);
	}
	assert_int_equal(p->pool.submitted, 1);
	answer(p, &(struct reply){ HTTP_ANSWERED, 200, "routes new" });
	ask(p, KEY, &seen);
	check_seen("refreshed", &seen, KEY_GOOD, "", KEY);
	assert_string_equal(seen.route, " new");
	assert_int_equal(p->pool.submitted, 1);
}

/* Who comes when the record is over joins the refresh. */
static void
test_refresh_joined(void **state)
{
	struct place *p = *state;
	struct seen first, second;

	know(p, KEY, TTL - 1);
	ask(p, KEY, &first);
	assert_int_equal(first.count, 1);
	atomic_fetch_add(&clock_s, 1);
	ask(p, KEY, &second);
	assert_int_equal(second.count, 0);
	answer(p, &(struct reply){ HTTP_ANSWERED, 401, "" });
	check_seen("joined", &second, KEY_WRONG, NULL, KEY);
	assert_int_equal(p->pool.submitted, 1);
}

static const struct {
	const char *name;
	const char *key;
	size_t len;
} implausible[] = {
	{ "empty", "", 0 },
	{ "blank", "a b", 3 },
	{ "line feed", "a\nX-Other: b", 12 },
	{ "NUL", "a\0b", 3 },
	{ "8 bit", "k\xc3\xa9y", 4 },
	{ "DEL", "a\x7f", 2 },
};

static void
test_implausible(void **state)
{
	struct place *p = *state;
	char longest[KEY_MAX + 1];
	struct seen seen = { 0 };

	for (size_t i = 0; i < N_ELEMENTS(implausible); i++) {
		seen = (struct seen){ 0 };
		key_check_ask(p->kc, implausible[i].key, implausible[i].len,
			      NULL, see, &seen);
		check_seen(implausible[i].name, &seen, KEY_WRONG, NULL, KEY);
	}
	memset(longest, 'k', sizeof(longest));
	key_check_ask(p->kc, longest, KEY_MAX, NULL, see, &seen);
	assert_int_equal(p->pool.submitted, 1);
	answer(p, &(struct reply)ROUTES);
	assert_int_equal(seen.status, KEY_GOOD);
	seen = (struct seen){ 0 };
	key_check_ask(p->kc, longest, KEY_MAX + 1, NULL, see, &seen);
	check_seen("too long", &seen, KEY_WRONG, NULL, KEY);
	assert_int_equal(p->pool.submitted, 1);
}

/* --- many ask ------------------------------------------------------------- */

static void
test_single_flight(void **state)
{
	struct place *p = *state;
	struct seen seen[100], other;

	for (size_t i = 0; i < N_ELEMENTS(seen); i++)
		ask(p, KEY, &seen[i]);
	ask(p, OTHER, &other);
	assert_int_equal(p->pool.submitted, 2);
	answer(p, &(struct reply)ROUTES);
	for (size_t i = 0; i < N_ELEMENTS(seen); i++)
		check_seen("one of many", &seen[i], KEY_GOOD, "", KEY);
	assert_int_equal(other.count, 0);
	answer(p, &(struct reply){ HTTP_ANSWERED, 401, "" });
	check_seen("other", &other, KEY_WRONG, NULL, OTHER);
}

static void
test_waiters_bounded(void **state)
{
	struct place *p = *state;
	struct seen waiting = { 0 }, over;

	for (unsigned i = 0; i < WAITERS_MAX; i++)
		key_check_ask(p->kc, KEY, strlen(KEY), NULL, see, &waiting);
	assert_int_equal(waiting.count, 0);
	ask(p, KEY, &over);
	check_seen("one over", &over, KEY_UNKNOWN, NULL, KEY);
	answer(p, &(struct reply)ROUTES);
	assert_int_equal(waiting.count, WAITERS_MAX);
}

struct asker {
	struct place *place;
	unsigned number;
	atomic_uint answered;
};

static void
count_answer(void *arg, enum key_status status, enum key_reason reason,
	     struct identity *id)
{
	struct asker *a = arg;

	(void)reason;
	assert_int_equal(status == KEY_GOOD, id != NULL);
	identity_free(&id);
	atomic_fetch_add(&a->answered, 1);
}

static void *
ask_often(void *arg)
{
	struct asker *a = arg;

	for (unsigned i = 0; i < 300; i++) {
		struct identity id = { 0 };

		snprintf(id.key, sizeof(id.key), "key-%u",
			 (i + a->number) % 10);
		key_check_ask(a->place->kc, id.key, strlen(id.key), NULL,
			      count_answer, a);
		if (i % 50 == a->number)
			key_check_refused(a->place->kc, "acme", id.key, false);
		if (i % 30 == 0)
			atomic_fetch_add(&clock_s, TTL / 3);
	}
	return NULL;
}

/* Every third question is not answered well. */
static void *
answer_often(void *arg)
{
	static const struct reply replies[] = { ROUTES,
						{ HTTP_NO_ANSWER, 0, "" },
						ROUTES };
	struct place *p = arg;
	struct http_call *call;

	for (size_t i = 0; (call = next_call(&p->pool)) != NULL; i++)
		give(call, &replies[i % N_ELEMENTS(replies)]);
	return NULL;
}

static void
test_threads(void **state)
{
	struct place *p = *state;
	struct asker askers[8];
	pthread_t threads[8], answering;

	log_open(1, LOG_LEVEL_ERROR);
	pthread_create(&answering, NULL, answer_often, p);
	for (unsigned i = 0; i < 8; i++) {
		askers[i] = (struct asker){ .place = p, .number = i };
		pthread_create(&threads[i], NULL, ask_often, &askers[i]);
	}
	for (unsigned i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	pthread_mutex_lock(&p->pool.lock);
	p->pool.closed = true;
	pthread_cond_broadcast(&p->pool.changed);
	pthread_mutex_unlock(&p->pool.lock);
	pthread_join(answering, NULL);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(atomic_load(&askers[i].answered), 300);
	log_open(1, LOG_LEVEL_INFO);
}

/* --- while the control plane is away -------------------------------------- */

static void
test_away(void **state)
{
	static const struct reply gone = { HTTP_NO_ANSWER, 0, "" };
	struct place *p = *state;
	struct seen seen;

	know(p, KEY, TTL);
	know(p, OTHER, TTL);
	ask(p, KEY, &seen);
	answer(p, &gone);
	check_seen("first", &seen, KEY_GOOD, "acme", KEY);

	/* Nobody else waits, nobody asks. */
	atomic_fetch_add(&clock_s, GRACE - 1);
	ask(p, OTHER, &seen);
	check_seen("in grace", &seen, KEY_GOOD, "acme", OTHER);
	assert_int_equal(p->pool.submitted, 1);

	/* One looks, in the background. */
	atomic_fetch_add(&clock_s, 1);
	ask(p, OTHER, &seen);
	check_seen("probe", &seen, KEY_GOOD, "acme", OTHER);
	ask(p, KEY, &seen);
	check_seen("no second probe", &seen, KEY_GOOD, "acme", KEY);
	assert_int_equal(p->pool.submitted, 2);
	answer(p, &gone);

	/* A key that is not known is asked about all the same. */
	ask(p, "unknown", &seen);
	assert_int_equal(seen.count, 0);
	answer(p, &gone);
	check_seen("unknown", &seen, KEY_UNKNOWN, NULL, "unknown");

	/* It is back: who is over must ask again. */
	atomic_fetch_add(&clock_s, GRACE);
	ask(p, OTHER, &seen);
	answer(p, &(struct reply)ROUTES);
	ask(p, KEY, &seen);
	assert_int_equal(seen.count, 0);
	answer(p, &(struct reply){ HTTP_ANSWERED, 401, "" });
	check_seen("back", &seen, KEY_WRONG, NULL, KEY);
}

/* A refresh ahead waits for its turn too. */
static void
test_away_refresh(void **state)
{
	struct place *p = *state;
	struct seen seen;

	know(p, KEY, TTL - 100);
	ask(p, KEY, &seen);
	answer(p, &(struct reply){ HTTP_NO_ANSWER, 0, "" });
	for (int i = 0; i < 3; i++) {
		ask(p, KEY, &seen);
		check_seen("in time", &seen, KEY_GOOD, "acme", KEY);
	}
	assert_int_equal(p->pool.submitted, 1);
	atomic_fetch_sub(&clock_s, 3600);
	ask(p, KEY, &seen);
	check_seen("clock set back", &seen, KEY_GOOD, "acme", KEY);
	assert_int_equal(p->pool.submitted, 2);
	answer(p, &(struct reply)ROUTES);
}

static void
test_away_too_long(void **state)
{
	struct place *p = *state;
	struct seen seen;

	know(p, KEY, STALE - 1);
	ask(p, KEY, &seen);
	answer(p, &(struct reply){ HTTP_NO_ANSWER, 0, "" });
	check_seen("stale", &seen, KEY_GOOD, "acme", KEY);
	atomic_fetch_add(&clock_s, 1);
	ask(p, KEY, &seen);
	assert_int_equal(seen.count, 0);
	answer(p, &(struct reply){ HTTP_NO_ANSWER, 0, "" });
	check_seen("too stale", &seen, KEY_UNKNOWN, NULL, KEY);
}

/* --- by user name --------------------------------------------------------- */

/* %s is the key id. */
static const struct {
	const char *user;
	enum key_status status;
} users[] = {
	{ "acme:%s", KEY_GOOD },
	{ "acme:%s+12", KEY_GOOD },
	{ "acme:%s+Sub.a_b-c", KEY_GOOD },
	{ "acme:%s+12345678901234567890123456789012", KEY_GOOD },
	{ "acme:%s+123456789012345678901234567890123", KEY_WRONG },
	{ "acme:%s+", KEY_WRONG },
	{ "acme:%s+a b", KEY_WRONG },
	{ "acme:%s+1+2", KEY_WRONG },
	{ "acme:%s1", KEY_WRONG },
	{ "acme:%s ", KEY_WRONG },
	{ "acme:%s:%s", KEY_WRONG },
	{ "other:%s", KEY_WRONG },
	{ "ACME:%s", KEY_WRONG },
	{ "acme.:%s", KEY_WRONG },
	{ " acme:%s", KEY_WRONG },
	{ ":%s", KEY_WRONG },
	{ "%s", KEY_WRONG },
	{ "acme", KEY_WRONG },
	{ "acme:", KEY_WRONG },
	{ "acme:abc", KEY_WRONG },
	{ "", KEY_WRONG },
	{ "acme:ABCDEFGHIJKLMNOP", KEY_WRONG },
	{ "acme:0000000000000000", KEY_WRONG },
	{ "acme:aaaaaaaaaaaaaaaa", KEY_UNKNOWN },
	{ "acme:aaaaaaaaaaaaaaaa+1", KEY_UNKNOWN },
	{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  ":%s",
	  KEY_WRONG },
};

/* Puts the key id in place of each %s. */
static void
fill_in(char *dst, size_t size, const char *user)
{
	char key_id[KEY_ID_LEN + 1];
	size_t n = 0;

	key_id_of(KEY, strlen(KEY), key_id);
	for (; *user != '\0' && n + KEY_ID_LEN < size; user++) {
		if (user[0] == '%' && user[1] == 's') {
			memcpy(dst + n, key_id, KEY_ID_LEN);
			n += KEY_ID_LEN;
			user++;
		} else {
			dst[n++] = *user;
		}
	}
	dst[n] = '\0';
}

static void
ask_user(struct place *p, const char *user, struct seen *seen)
{
	char name[200];

	*seen = (struct seen){ 0 };
	fill_in(name, sizeof(name), user);
	key_check_ask_user(p->kc, name, NULL, see, seen);
}

static void
test_users(void **state)
{
	struct place *p = *state;

	know(p, KEY, 0);
	for (size_t i = 0; i < N_ELEMENTS(users); i++) {
		struct seen seen;

		ask_user(p, users[i].user, &seen);
		check_seen(users[i].user, &seen, users[i].status, "acme", KEY);
	}
	assert_int_equal(p->pool.submitted, 0);
}

static const struct {
	const char *name;
	int64_t age;
	struct reply routes, account;
	enum key_status status;
} user_checks[] = {
	{ "still acme's", TTL, ROUTES, ACCOUNT, KEY_GOOD },
	{ "another's now",
	  TTL,
	  ROUTES,
	  { HTTP_ANSWERED, 200, "account b2b" },
	  KEY_WRONG },
	{ "revoked", TTL, { HTTP_ANSWERED, 401, "" }, { 0 }, KEY_WRONG },
	{ "stale", TTL, { HTTP_NO_ANSWER, 0, "" }, { 0 }, KEY_GOOD },
	{ "too stale", STALE, { HTTP_NO_ANSWER, 0, "" }, { 0 }, KEY_UNKNOWN },
};

/* The key that is asked with comes out of the cache. */
static void
test_user_checked_again(void **state)
{
	struct place *p = *state;

	for (size_t i = 0; i < N_ELEMENTS(user_checks); i++) {
		struct seen seen;

		start(p, true, TIMEOUT_MS);
		know(p, KEY, user_checks[i].age);
		ask_user(p, "acme:%s", &seen);
		assert_int_equal(seen.count, 0);
		check_request(p->pool.calls[0],
			      "https://api.example/v1/userroutes");
		answer(p, &user_checks[i].routes);
		if (user_checks[i].account.status != 0)
			answer(p, &user_checks[i].account);
		check_seen(user_checks[i].name, &seen, user_checks[i].status,
			   "acme", KEY);
	}
}

/* While the control plane is asked, the subaccount is kept. */
static void
test_subaccount_of_a_waiter(void **state)
{
	struct place *p = *state;
	struct seen one, other;

	start(p, true, TIMEOUT_MS);
	know(p, KEY, TTL);
	ask_user(p, "acme:%s+12", &one);
	ask_user(p, "acme:%s", &other);
	assert_int_equal(one.count + other.count, 0);
	answer(p, &(struct reply)ROUTES);
	answer(p, &(struct reply)ACCOUNT);
	assert_int_equal(one.status, KEY_GOOD);
	assert_string_equal(one.subaccount, "12");
	assert_int_equal(other.status, KEY_GOOD);
	assert_string_equal(other.subaccount, "");
}

static void
test_user_name(void **state)
{
	struct place *p = *state;
	char user[IDENTITY_USER_MAX + 1], wanted[200];
	struct identity id = { .account = account_new("acme") };
	struct seen seen;

	know(p, KEY, 0);
	key_id_of(KEY, strlen(KEY), id.key_id);
	identity_user(&id, user);
	fill_in(wanted, sizeof(wanted), "acme:%s");
	assert_string_equal(user, wanted);
	ask_user(p, user, &seen);
	check_seen("as told", &seen, KEY_GOOD, "acme", KEY);
	assert_string_equal(seen.subaccount, "");
	memset(id.subaccount, '7', SUBACCOUNT_MAX);
	identity_user(&id, user);
	fill_in(wanted, sizeof(wanted),
		"acme:%s+77777777777777777777777777777777");
	assert_string_equal(user, wanted);
	ask_user(p, user, &seen);
	check_seen("as told", &seen, KEY_GOOD, "acme", KEY);
	assert_string_equal(seen.subaccount, id.subaccount);
	account_free(&id.account);
}

/* --- refused at hand-off -------------------------------------------------- */

static void
refuse(struct place *p, const char *key)
{
	key_check_refused(p->kc, "acme", key, false);
}

static void
test_refused(void **state)
{
	struct place *p = *state;
	struct seen seen;

	know(p, KEY, 0);
	refuse(p, KEY);
	ask(p, KEY, &seen);
	check_seen("by key", &seen, KEY_WRONG, NULL, KEY);
	ask_user(p, "acme:%s", &seen);
	check_seen("by name", &seen, KEY_WRONG, NULL, KEY);
	assert_int_equal(p->pool.submitted, 0);
}

/* The answer to a question that was put before does not bring it back. */
static void
test_refused_meanwhile(void **state)
{
	static const struct reply replies[] = { ROUTES,
						{ HTTP_NO_ANSWER, 0, "" } };
	struct place *p = *state;

	for (size_t i = 0; i < N_ELEMENTS(replies); i++) {
		struct seen seen;

		know(p, KEY, TTL);
		ask(p, KEY, &seen);
		refuse(p, KEY);
		answer(p, &replies[i]);
		check_seen("waiting", &seen, KEY_WRONG, NULL, KEY);
		ask(p, KEY, &seen);
		check_seen("later", &seen, KEY_WRONG, NULL, KEY);
	}
}

/* --- keys that were made here --------------------------------------------- */

#define API_KEY "the-api-k3y"
#define NETWORK "192.0.2.0/24"
#define INSIDE "192.0.2.7"

static void
put_local_account(struct place *p, const char *id, bool disabled)
{
	struct account *a = account_new(id);

	a->disabled = disabled;
	assert_true(account_add_network(a, NETWORK));
	assert_int_equal(keystore_put_account(p->local, a, API_KEY), 0);
	account_free(&a);
}

static void
start_local(struct place *p, bool ask_api)
{
	const struct key_check_settings settings = {
		.url = "https://api.example/v1",
		.format = &format,
		.local = p->local,
		.ask_api = ask_api,
		.timeout_ms = TIMEOUT_MS,
		.ttl = TTL,
		.negative_ttl = NEGATIVE_TTL,
		.stale = STALE,
		.now = fake_now,
	};

	key_check_free(&p->kc);
	p->kc = key_check_new(&settings, p->cache, &p->pool);
}

/* With an account "acme" and a key of it. */
static struct keystore_key
make_local(struct place *p, bool ask_api, char key_r[KEYSTORE_KEY_LEN + 1])
{
	struct keystore_key k = { .account = "acme" };

	p->local = keystore_new(p->store, p->seal);
	put_local_account(p, "acme", false);
	assert_int_equal(keystore_make(p->local, &k, key_r), 0);
	start_local(p, ask_api);
	return k;
}

static void
ask_from(struct place *p, const char *key, const char *address,
	 struct seen *seen)
{
	*seen = (struct seen){ 0 };
	key_check_ask(p->kc, key, strlen(key), address, see, seen);
}

static void
ask_id_from(struct place *p, const char *account, const char *key_id,
	    const char *address, struct seen *seen)
{
	char user[200];

	*seen = (struct seen){ 0 };
	snprintf(user, sizeof(user), "%s:%s", account, key_id);
	key_check_ask_user(p->kc, user, address, see, seen);
}

static void
check_reason(const char *name, const struct seen *seen, enum key_status status,
	     enum key_reason reason)
{
	if (seen->count != 1 || seen->status != status ||
	    seen->reason != reason)
		fail_msg("%s: %u answers, status %d, reason %d", name,
			 seen->count, seen->status, seen->reason);
}

static void
test_local(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1];
	struct keystore_key k = make_local(p, true, key);
	struct seen seen;

	ask_from(p, key, INSIDE, &seen);
	check_reason("by key", &seen, KEY_GOOD, KEY_REASON_NONE);
	assert_string_equal(seen.account, "acme");
	assert_string_equal(seen.key_id, k.key_id);
	/* The API is called with its own key. */
	assert_string_equal(seen.key, API_KEY);
	assert_true(seen.local);
	ask_id_from(p, "acme", k.key_id, INSIDE, &seen);
	check_reason("by name", &seen, KEY_GOOD, KEY_REASON_NONE);
	assert_string_equal(seen.key, API_KEY);
	ask_id_from(p, "other", k.key_id, INSIDE, &seen);
	check_reason("another's", &seen, KEY_WRONG, KEY_REASON_NOT_KNOWN);
	assert_int_equal(p->pool.submitted, 0);
}

static const struct {
	const char *address;
	enum key_status status;
	enum key_reason reason;
} places[] = {
	{ INSIDE, KEY_GOOD, KEY_REASON_NONE },
	{ "::ffff:" INSIDE, KEY_GOOD, KEY_REASON_NONE },
	{ "198.51.100.1", KEY_WRONG, KEY_REASON_ADDRESS },
	{ "unknown", KEY_WRONG, KEY_REASON_ADDRESS },
	{ "", KEY_WRONG, KEY_REASON_ADDRESS },
	{ NULL, KEY_WRONG, KEY_REASON_ADDRESS },
	{ INSIDE "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
	  KEY_WRONG, KEY_REASON_ADDRESS },
};

static void
test_address(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1];
	struct keystore_key k = make_local(p, true, key);
	struct seen seen;

	for (size_t i = 0; i < N_ELEMENTS(places); i++) {
		const char *a = places[i].address;

		ask_from(p, key, a, &seen);
		check_reason(a ? a : "none", &seen, places[i].status,
			     places[i].reason);
		ask_id_from(p, "acme", k.key_id, a, &seen);
		check_reason(a ? a : "none", &seen, places[i].status,
			     places[i].reason);
	}
	/* An account of the API has no networks. */
	know(p, KEY, 0);
	ask_from(p, KEY, NULL, &seen);
	check_reason("API", &seen, KEY_GOOD, KEY_REASON_NONE);
}

static void
test_issued_login(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1];
	struct keystore_key k = make_local(p, true, key);
	struct seen seen;

	ask_from(p, key, INSIDE, &seen);
	assert_int_equal(seen.status, KEY_GOOD);
	assert_string_equal(seen.login, "");
	strcpy(k.login, "shop-1");
	assert_int_equal(keystore_put_key(p->local, &k), 0);
	ask_from(p, key, INSIDE, &seen);
	assert_int_equal(seen.status, KEY_GOOD);
	assert_string_equal(seen.login, "shop-1");
}

/* Each change counts for the next question. */
static void
test_local_changes(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1];
	struct keystore_key k = make_local(p, true, key);
	struct seen seen;

	keystore_set_status(p->local, k.key_id, KEYSTORE_DISABLED);
	ask_from(p, key, INSIDE, &seen);
	check_reason("disabled", &seen, KEY_WRONG, KEY_REASON_DISABLED);
	ask_id_from(p, "acme", k.key_id, INSIDE, &seen);
	check_reason("disabled", &seen, KEY_WRONG, KEY_REASON_DISABLED);
	keystore_set_status(p->local, k.key_id, KEYSTORE_ENABLED);
	keystore_set_expires(p->local, k.key_id, NOW);
	ask_from(p, key, INSIDE, &seen);
	check_reason("expired", &seen, KEY_WRONG, KEY_REASON_DISABLED);
	keystore_set_expires(p->local, k.key_id, 0);
	put_local_account(p, "acme", true);
	ask_from(p, key, INSIDE, &seen);
	check_reason("account", &seen, KEY_WRONG, KEY_REASON_DISABLED);
	put_local_account(p, "acme", false);
	ask_from(p, key, INSIDE, &seen);
	check_reason("enabled", &seen, KEY_GOOD, KEY_REASON_NONE);
	keystore_revoke(p->local, k.key_id);
	ask_id_from(p, "acme", k.key_id, INSIDE, &seen);
	check_reason("revoked", &seen, KEY_WRONG, KEY_REASON_NOT_KNOWN);
	ask_id_from(p, "nobody", k.key_id, INSIDE, &seen);
	check_reason("lost", &seen, KEY_UNKNOWN, KEY_REASON_NONE);
	assert_int_equal(p->pool.submitted, 0);
	/* By the key itself the API is asked: it might be one of its own. */
	ask_from(p, key, INSIDE, &seen);
	answer(p, &(struct reply){ HTTP_ANSWERED, 401, "" });
	check_reason("revoked", &seen, KEY_WRONG, KEY_REASON_NOT_KNOWN);
}

static void
test_not_local(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1];
	struct seen seen;

	(void)make_local(p, true, key);
	key[10] = key[10] == 'b' ? 'c' : 'b';
	ask_from(p, key, INSIDE, &seen);
	check_reason("mistyped", &seen, KEY_WRONG, KEY_REASON_MISTYPED);
	assert_int_equal(p->pool.submitted, 0);
	ask_from(p, KEY, INSIDE, &seen);
	answer(p, &(struct reply)ROUTES);
	check_reason("the API's", &seen, KEY_GOOD, KEY_REASON_NONE);
	assert_string_equal(seen.key, KEY);
	assert_false(seen.local);
}

/* Without an API: what is not here is wrong, whatever was known. */
static void
test_no_api(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1];
	struct keystore_key k = make_local(p, false, key);
	struct seen seen;

	know(p, KEY, 0);
	ask_from(p, KEY, INSIDE, &seen);
	check_reason("by key", &seen, KEY_WRONG, KEY_REASON_NOT_KNOWN);
	ask_user(p, "acme:%s", &seen);
	check_reason("by name", &seen, KEY_WRONG, KEY_REASON_NOT_KNOWN);
	ask_from(p, key, INSIDE, &seen);
	check_reason("local", &seen, KEY_GOOD, KEY_REASON_NONE);
	keystore_revoke(p->local, k.key_id);
	ask_id_from(p, "acme", k.key_id, INSIDE, &seen);
	check_reason("revoked", &seen, KEY_WRONG, KEY_REASON_NOT_KNOWN);
	assert_int_equal(p->pool.submitted, 0);
}

static void
test_local_error(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1];
	struct keystore_key k = make_local(p, true, key);
	const struct store_write w = { STORE_LOCAL_KEYS, k.hash, sizeof(k.hash),
				       "?", 1 };
	struct seen seen;

	assert_int_equal(store_write(p->store, &w, 1), 0);
	ask_from(p, key, INSIDE, &seen);
	check_reason("by key", &seen, KEY_UNKNOWN, KEY_REASON_NONE);
	ask_id_from(p, "acme", k.key_id, INSIDE, &seen);
	check_reason("by name", &seen, KEY_UNKNOWN, KEY_REASON_NONE);
}

/* That the API refuses the account's key says nothing about the local one. */
static void
test_local_refused(void **state)
{
	struct place *p = *state;
	char key[KEYSTORE_KEY_LEN + 1];
	struct seen seen;

	(void)make_local(p, true, key);
	key_check_refused(p->kc, "acme", API_KEY, true);
	ask_from(p, key, INSIDE, &seen);
	check_reason("local", &seen, KEY_GOOD, KEY_REASON_NONE);
	ask_from(p, API_KEY, INSIDE, &seen);
	check_reason("API", &seen, KEY_WRONG, KEY_REASON_NOT_KNOWN);
}

/* --- other settings ------------------------------------------------------- */

static void
test_reconfigure(void **state)
{
	struct place *p = *state;
	struct key_check_settings settings = {
		.url = "https://other.example",
		.format = &format,
		.ask_api = true,
		.ask_account = true,
		.timeout_ms = TIMEOUT_MS,
		.ttl = 10,
		.negative_ttl = 1,
		.stale = 20,
	};
	struct seen seen, before;

	know(p, KEY, 15);
	ask(p, KEY, &seen);
	check_seen("in time", &seen, KEY_GOOD, "acme", KEY);
	ask(p, OTHER, &before);
	key_check_reconfigure(p->kc, &settings);

	/* What began before ends as it began: no account is asked for. */
	answer(p, &(struct reply)ROUTES);
	check_seen("before", &before, KEY_GOOD, "", OTHER);
	ask(p, KEY, &seen);
	assert_int_equal(seen.count, 0);
	check_request(p->pool.calls[0], "https://other.example/userroutes");
	atomic_fetch_add(&clock_s, 5);
	answer(p, &(struct reply){ HTTP_NO_ANSWER, 0, "" });
	check_seen("too stale", &seen, KEY_UNKNOWN, NULL, KEY);

	settings.ask_api = false;
	key_check_reconfigure(p->kc, &settings);
	ask(p, OTHER, &seen);
	check_reason("no API", &seen, KEY_WRONG, KEY_REASON_NOT_KNOWN);
}

/* --- forgetting ----------------------------------------------------------- */

static void
forget(struct place *p, const char *key)
{
	char id[KEY_ID_LEN + 1];

	key_id_of(key, strlen(key), id);
	key_check_forget(p->kc, id);
}

static bool
is_cached(struct place *p, const char *key)
{
	struct key_record r;
	bool found = key_cache_get(p->cache, key, strlen(key), &r);
	bool counts = found && r.checked != 0;

	key_record_clear(&r);
	return counts;
}

static void
test_forget(void **state)
{
	struct place *p = *state;

	know(p, KEY, 0);
	know(p, OTHER, 0);
	forget(p, KEY);
	assert_false(is_cached(p, KEY));
	assert_true(is_cached(p, OTHER));
	know(p, KEY, 0);
	assert_int_equal(key_check_forget_all(p->kc), 0);
	assert_false(is_cached(p, KEY));
	assert_false(is_cached(p, OTHER));
}

/* Whoever is logged in has told its key id only: it is asked about again. */
static void
test_forgotten_and_logged_in(void **state)
{
	struct place *p = *state;

	for (int all = 0; all < 2; all++) {
		struct seen seen;

		know(p, KEY, 0);
		if (all)
			assert_int_equal(key_check_forget_all(p->kc), 0);
		else
			forget(p, KEY);
		ask_user(p, "acme:%s", &seen);
		assert_int_equal(seen.count, 0);
		answer(p, &(struct reply)ROUTES);
		assert_int_equal(seen.count, 1);
	}
}

static const struct {
	const char *name;
	struct reply reply;
	enum key_status status;
} forgotten[] = {
	{ "good", ROUTES, KEY_UNKNOWN },
	{ "wrong", { HTTP_ANSWERED, 401, "" }, KEY_WRONG },
	{ "no answer", { HTTP_NO_ANSWER, 0, "" }, KEY_UNKNOWN },
};

/* The answer to a question that was put before is not remembered. */
static void
test_forget_meanwhile(void **state)
{
	struct place *p = *state;

	for (size_t i = 0; i < 2 * N_ELEMENTS(forgotten); i++) {
		size_t row = i / 2;
		struct seen seen, other;

		know(p, KEY, TTL);
		ask(p, KEY, &seen);
		ask(p, OTHER, &other);
		if (i % 2 == 0)
			forget(p, KEY);
		else
			assert_int_equal(key_check_forget_all(p->kc), 0);
		answer(p, &forgotten[row].reply);
		check_seen(forgotten[row].name, &seen, forgotten[row].status,
			   NULL, KEY);
		if (is_cached(p, KEY))
			fail_msg("%s: remembered", forgotten[row].name);
		answer(p, &(struct reply)ROUTES);
		assert_int_equal(other.status,
				 i % 2 == 0 ? KEY_GOOD : KEY_UNKNOWN);
		assert_int_equal(key_check_forget_all(p->kc), 0);
	}
}

/* --- secrets -------------------------------------------------------------- */

/* An API that repeats the key does not get it into the account. */
static void
test_key_echoed(void **state)
{
	struct place *p = *state;
	struct seen seen;

	ask(p, KEY, &seen);
	answer(p, &(struct reply){ HTTP_ANSWERED, 200, "routes " KEY });
	check_seen("echo", &seen, KEY_GOOD, "", KEY);
	assert_string_equal(seen.route, " **********");
	ask(p, KEY "2", &seen);
	answer(p, &(struct reply){ HTTP_ANSWERED, 200,
				   "routes s3cret-k\\u0033y2" });
	check_seen("escaped echo", &seen, KEY_GOOD, "", KEY "2");
	assert_string_equal(seen.route, " ****************");
}

/* Runs the rows with standard error in a file, and returns what was logged. */
static void
log_of(struct place *p, char *text_r, size_t size)
{
	static const struct reply replies[] = { { HTTP_NO_ANSWER, 0, "" },
						{ HTTP_ANSWERED, 500, KEY },
						ROUTES };
	FILE *f = tmpfile();
	int saved = dup(STDERR_FILENO);
	struct seen seen;
	size_t n;

	assert_non_null(f);
	fflush(stderr);
	dup2(fileno(f), STDERR_FILENO);
	for (size_t i = 0; i < N_ELEMENTS(replies); i++) {
		ask(p, KEY, &seen);
		answer(p, &replies[i]);
	}
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(f);
	n = fread(text_r, 1, size - 1, f);
	text_r[n] = '\0';
	fclose(f);
}

static void
test_log(void **state)
{
	static const char *const lines[] = {
		"keys: check key=%s result=unknown status=0 error=\"gone\"\n",
		"keys: check key=%s result=unknown status=500 "
		"error=\"unusable answer\"\n",
		"keys: control plane answers again\n",
	};
	char text[4096], line[300];

	log_of(*state, text, sizeof(text));
	for (size_t i = 0; i < N_ELEMENTS(lines); i++) {
		fill_in(line, sizeof(line), lines[i]);
		if (strstr(text, line) == NULL)
			fail_msg("not logged: %sbut: %s", line, text);
	}
	assert_null(strstr(text, KEY));
}

/* --- main ----------------------------------------------------------------- */

#define IN_PLACE(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		IN_PLACE(test_answers),
		IN_PLACE(test_remembered),
		IN_PLACE(test_queue_full),
		IN_PLACE(test_no_time_left),
		IN_PLACE(test_requests),
		IN_PLACE(test_ages),
		IN_PLACE(test_refresh),
		IN_PLACE(test_refresh_joined),
		IN_PLACE(test_implausible),
		IN_PLACE(test_single_flight),
		IN_PLACE(test_waiters_bounded),
		IN_PLACE(test_threads),
		IN_PLACE(test_away),
		IN_PLACE(test_away_refresh),
		IN_PLACE(test_away_too_long),
		IN_PLACE(test_users),
		IN_PLACE(test_user_checked_again),
		IN_PLACE(test_subaccount_of_a_waiter),
		IN_PLACE(test_issued_login),
		IN_PLACE(test_user_name),
		IN_PLACE(test_refused),
		IN_PLACE(test_refused_meanwhile),
		IN_PLACE(test_local),
		IN_PLACE(test_address),
		IN_PLACE(test_local_changes),
		IN_PLACE(test_not_local),
		IN_PLACE(test_no_api),
		IN_PLACE(test_local_error),
		IN_PLACE(test_local_refused),
		IN_PLACE(test_reconfigure),
		IN_PLACE(test_forget),
		IN_PLACE(test_forgotten_and_logged_in),
		IN_PLACE(test_forget_meanwhile),
		IN_PLACE(test_key_echoed),
		IN_PLACE(test_log),
	};

	log_open(1, LOG_LEVEL_INFO);
	json_text_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
