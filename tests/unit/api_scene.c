/* SPDX-License-Identifier: MIT */
#include "api_scene.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "milter/api_health.h"
#include "milter/api_service.h"
#include "milter/clock.h"
#include "milter/crypto.h"
#include "milter/key_check.h"
#include "milter/metrics.h"
#include "milter/pool_wake.h"
#include "milter/rate_limit.h"
#include "milter/sent_memory.h"
#include "milter/store.h"
#include "policy/api.h"
#include "policy/dialect.h"
#include "policy/outgoing.h"

#define MAP_SIZE (64 * 1024 * 1024)
#define HOUR 3600

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* In whatever thread: an assertion of cmocka would jump out of another one's
 * stack. */
static void
insist(bool ok)
{
	if (!ok)
		abort();
}

/* --- http_pool ------------------------------------------------------------ */

struct http_pool {
	int unused;
};

static struct http_pool the_pool;
static const struct scene *the_scene;

static struct {
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	char *script;
	struct http_call *waiting[SCENE_CALLS_MAX];
	size_t n_waiting, most;
	struct scene_call made[SCENE_CALLS_MAX];
	size_t n_made;
	enum scene_order order;
	unsigned seed;
	bool runs, end;
	pthread_t thread;
} http = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
};

static void
lock(void)
{
	insist(pthread_mutex_lock(&http.lock) == 0);
}

static void
unlock(void)
{
	insist(pthread_mutex_unlock(&http.lock) == 0);
}

static size_t
recipient_of(const struct http_call *call)
{
	static const char start[] = "{\"to\":\"r";
	const char *text = call->body[0].data;

	insist(call->body[0].len > strlen(start) &&
	       memcmp(text, start, strlen(start)) == 0);
	return strtoul(text + strlen(start), NULL, 10);
}

static char
letter_of(size_t recipient)
{
	size_t n = strlen(http.script);

	return http.script[recipient < n ? recipient : n - 1];
}

static void
note(const struct http_call *call)
{
	struct scene_call *c = &http.made[http.n_made++];
	DYNBUF_AUTO headers, body;

	insist(http.n_made < SCENE_CALLS_MAX);
	dynbuf_init(&headers, 4096);
	for (size_t i = 0; call->headers[i] != NULL; i++)
		insist(dynbuf_addf(&headers, "%s\n", call->headers[i]));
	dynbuf_init(&body, API_REQUEST_MAX);
	for (size_t i = 0; i < 2; i++)
		insist(
		    dynbuf_add(&body, call->body[i].data, call->body[i].len));
	*c = (struct scene_call){
		.recipient = recipient_of(call),
		.url = need(strdup(call->url)),
		.headers = need(strdup(dynbuf_str(&headers))),
		.body = need(strdup(dynbuf_str(&body))),
		.timeout_ms = call->timeout_ms,
		.background = call->wait_ms > 0,
	};
}

static void
forget_calls(void)
{
	for (size_t i = 0; i < http.n_made; i++) {
		free(http.made[i].url);
		free(http.made[i].headers);
		free(http.made[i].body);
	}
	http.n_made = 0;
	http.most = 0;
}

int
http_pool_submit(struct http_pool *pool, struct http_call *call)
{
	int rc = -1;

	insist(pool == &the_pool && call->post && call->done != NULL);
	insist(call->answer_max == API_ANSWER_MAX);
	lock();
	if (letter_of(recipient_of(call)) != 'f') {
		note(call);
		http.waiting[http.n_waiting++] = call;
		if (http.n_waiting > http.most)
			http.most = http.n_waiting;
		insist(pthread_cond_signal(&http.changed) == 0);
		rc = 0;
	}
	unlock();
	return rc;
}

void
http_call_clear(struct http_call *call)
{
	dynbuf_clear(&call->answer);
}

struct http_pool *
http_pool_start(const struct http_pool_settings *settings, const char **error_r)
{
	(void)settings;
	(void)error_r;
	return &the_pool;
}

void
http_pool_end(struct http_pool *pool)
{
	(void)pool;
}

void
http_pool_stop(struct http_pool **pool)
{
	*pool = NULL;
}

void
http_pool_state(struct http_pool *pool, struct http_pool_state *state_r)
{
	(void)pool;
	*state_r = (struct http_pool_state){ 0 };
}

static struct scene_answer
answer_of(size_t recipient)
{
	switch (letter_of(recipient)) {
	case 'a':
		return (struct scene_answer){ HTTP_ANSWERED, 200,
					      "{\"result\":\"ok\"}", 0, true };
	case 'r':
		return (struct scene_answer){ HTTP_ANSWERED, 400, NULL, 0,
					      true };
	case 'o':
		return (struct scene_answer){ HTTP_ANSWERED, 500, "", 0, true };
	case 'p':
		return (struct scene_answer){ HTTP_ANSWERED, 429, "", 100,
					      true };
	case 'm':
		return (struct scene_answer){ HTTP_ANSWERED, 404, "", 0, true };
	case 'k':
		return (struct scene_answer){ HTTP_ANSWERED, 401, "", 0, true };
	case 's':
		return (struct scene_answer){ HTTP_STOPPED, 0, "", 0, false };
	case 'n':
		return (struct scene_answer){ HTTP_NO_ANSWER, 0, "", 0, false };
	case 't':
		return (struct scene_answer){ HTTP_TIMED_OUT, 0, "", 0, true };
	case '*':
		return the_scene->special;
	default:
		abort();
	}
}

static void
end_call(struct http_call *call, struct scene_answer a)
{
	char text[80];

	if (a.body == NULL)
		insist(snprintf(text, sizeof(text),
				"{\"description\":\"No r%zu\"}",
				recipient_of(call)) > 0);
	dynbuf_init(&call->answer, call->answer_max);
	insist(dynbuf_adds(&call->answer, a.body != NULL ? a.body : text));
	call->result = a.result;
	call->status = a.status;
	call->retry_after = a.retry_after;
	call->sent = a.sent;
	call->elapsed_ms = 1;
	if (a.result != HTTP_ANSWERED)
		insist(snprintf(call->error, sizeof(call->error),
				"no answer %d", (int)a.result) > 0);
	call->done(call);
}

/* Under the lock, which it lets go and does not take again. */
static void
answer_at(size_t i)
{
	struct http_call *call;
	struct scene_answer a;

	insist(i < http.n_waiting);
	call = http.waiting[i];
	memmove(&http.waiting[i], &http.waiting[i + 1],
		(--http.n_waiting - i) * sizeof(*http.waiting));
	a = answer_of(recipient_of(call));
	unlock();
	end_call(call, a);
}

static size_t
choose(enum scene_order order)
{
	switch (order) {
	case SCENE_FIRST:
		return 0;
	case SCENE_LAST:
		return http.n_waiting - 1;
	case SCENE_ANY:
	default:
		return (size_t)rand_r(&http.seed) % http.n_waiting;
	}
}

static void *
answer_all_in_thread(void *arg)
{
	lock();
	while (!http.end) {
		if (http.n_waiting > 0) {
			answer_at(choose(http.order));
			lock();
		} else {
			insist(pthread_cond_wait(&http.changed, &http.lock) ==
			       0);
		}
	}
	unlock();
	return arg;
}

void
scene_answer_in_thread(enum scene_order order)
{
	assert_false(http.runs);
	http.order = order;
	http.end = false;
	assert_int_equal(
	    pthread_create(&http.thread, NULL, answer_all_in_thread, NULL), 0);
	http.runs = true;
}

void
scene_stop_thread(void)
{
	if (!http.runs)
		return;
	lock();
	http.end = true;
	assert_int_equal(pthread_cond_signal(&http.changed), 0);
	unlock();
	assert_int_equal(pthread_join(http.thread, NULL), 0);
	http.runs = false;
}

void
scene_answer(size_t i)
{
	lock();
	answer_at(i);
}

void
scene_answer_all(enum scene_order order)
{
	lock();
	while (http.n_waiting > 0) {
		answer_at(choose(order));
		lock();
	}
	unlock();
}

void
scene_script(const char *letters)
{
	lock();
	insist(http.n_waiting == 0);
	forget_calls();
	free(http.script);
	http.script = need(strdup(letters));
	unlock();
}

size_t
scene_calls(void)
{
	size_t n;

	lock();
	n = http.n_made;
	unlock();
	return n;
}

const struct scene_call *
scene_call(size_t i)
{
	assert_true(i < scene_calls());
	return &http.made[i];
}

size_t
scene_called(size_t recipient)
{
	size_t n = 0;

	lock();
	for (size_t i = 0; i < http.n_made; i++)
		n += http.made[i].recipient == recipient;
	unlock();
	return n;
}

void
scene_assert_called(const char *what, const char *recipients)
{
	if (scene_calls() != strlen(recipients))
		fail_msg("%s: %zu calls", what, scene_calls());
	for (; *recipients != '\0'; recipients++) {
		if (scene_called((size_t)(*recipients - '0')) != 1)
			fail_msg("%s: %c is not called", what, *recipients);
	}
}

size_t
scene_waiting(void)
{
	size_t n;

	lock();
	n = http.n_waiting;
	unlock();
	return n;
}

size_t
scene_most(void)
{
	size_t n;

	lock();
	n = http.most;
	unlock();
	return n;
}

/* --- log ------------------------------------------------------------------ */

static struct {
	pthread_mutex_t lock;
	struct dynbuf text;
} logged = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void __attribute__((format(printf, 2, 0)))
log_line(const char *id, const char *fmt, va_list args)
{
	char *text;

	insist(vasprintf(&text, fmt, args) >= 0);
	insist(pthread_mutex_lock(&logged.lock) == 0);
	insist(dynbuf_addf(&logged.text, "%s: %s\n", id, text));
	insist(pthread_mutex_unlock(&logged.lock) == 0);
	free(text);
}

#define LOG(name)                                       \
	void name(const char *id, const char *fmt, ...) \
	{                                               \
		va_list args;                           \
                                                        \
		va_start(args, fmt);                    \
		log_line(id, fmt, args);                \
		va_end(args);                           \
	}
LOG(log_error)
LOG(log_warning)
LOG(log_info)
LOG(log_debug)
#undef LOG

const char *
log_quote(char dst[LOG_QUOTE_SIZE], const char *text)
{
	(void)snprintf(dst, LOG_QUOTE_SIZE, "\"%.160s\"", text);
	return dst;
}

int
log_level_parse(const char *name, enum log_level *level_r)
{
	(void)name;
	(void)level_r;
	return -1;
}

bool
scene_logged(const char *text)
{
	bool found;

	insist(pthread_mutex_lock(&logged.lock) == 0);
	found = strstr(dynbuf_str(&logged.text), text) != NULL;
	insist(pthread_mutex_unlock(&logged.lock) == 0);
	return found;
}

void
scene_forget_log(void)
{
	insist(pthread_mutex_lock(&logged.lock) == 0);
	dynbuf_clear(&logged.text);
	insist(pthread_mutex_unlock(&logged.lock) == 0);
}

/* --- key_check ------------------------------------------------------------ */

struct scene_refused scene_refused;

void
key_check_refused(struct key_check *kc, const char *account, const char *key,
		  bool local)
{
	struct scene_refused *r = &scene_refused;

	insist(kc == the_scene->services.keys);
	r->n++;
	(void)snprintf(r->account, sizeof(r->account), "%s", account);
	(void)snprintf(r->key, sizeof(r->key), "%s", key);
	r->local = local;
}

/* --- the circuit breaker -------------------------------------------------- */

static struct api_health **
health_of(const struct scene *s)
{
	return &s->services.apis.v[0].health;
}

void
scene_health(struct scene *s, enum scene_health health)
{
	static const int64_t ago[] = {
		[SCENE_DOWN] = 0,
		[SCENE_PROBE] = HEALTH_RETRY_MIN_MS,
		[SCENE_LONELY] = HEALTH_LONELY_MS,
	};
	struct api_health **h = health_of(s);

	api_health_free(h);
	*h = api_health_new("main");
	if (health == SCENE_PAUSING)
		api_health_told(*h, "k1", HEALTH_GO, 429, 100, clock_ms());
	if (health == SCENE_PAUSING || health == SCENE_UP)
		return;
	for (int i = 0; i < HEALTH_FAILURES; i++)
		api_health_told(*h, "k1", HEALTH_GO, 0, 0,
				clock_ms() - ago[health]);
}

bool
scene_is_open(const struct scene *s)
{
	struct api_health_state state;

	api_health_state(*health_of(s), clock_ms(), &state);
	return state.open;
}

bool
scene_is_probing(const struct scene *s)
{
	int64_t later = clock_ms() + 2 * HEALTH_LONELY_MS;
	enum health_advice advice =
	    api_health_ask(*health_of(s), "nobody", true, later);

	api_health_no_news(*health_of(s), advice);
	return advice == HEALTH_DOWN;
}

/* --- the scene ------------------------------------------------------------ */

struct crypto_seal *
scene_seal(const struct scene *s, char letter)
{
	char path[64], text[64];
	struct crypto_seal *seal;
	const char *error;
	FILE *f;

	memset(text, letter, sizeof(text));
	(void)snprintf(path, sizeof(path), "%s/secret", s->dir);
	umask(077);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, sizeof(text), f), sizeof(text));
	assert_int_equal(fclose(f), 0);
	seal = crypto_seal_open(path, &error);
	assert_non_null(seal);
	assert_int_equal(unlink(path), 0);
	return seal;
}

static void
configure(struct scene *s)
{
	static char name[] = "main", url[] = SCENE_URL,
		    milter_socket[] = "unix:/nowhere",
		    lmtp_socket[] = "unix:/run/lmtp.sock";

	s->api = (struct config_api){
		.name = name,
		.format = &api_emaildelivery,
		.url = url,
		.connections = 10,
	};
	s->apis[0] = &s->api;
	s->config = (struct config){
		.milter_socket = milter_socket,
		.lmtp_socket = lmtp_socket,
		.dialect = &dialect_emaildelivery,
		.direct_timeout_ms = 20000,
		.direct_limit = 10,
		.apis = s->apis,
		.n_apis = 1,
	};
}

void
scene_start(struct scene *s)
{
	static char not_used;
	char *error;
	const char *why;

	memset(s, 0, sizeof(*s));
	strcpy(s->dir, "/tmp/test_api_scene.XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	s->store = store_open(s->dir, MAP_SIZE, &error);
	assert_non_null(s->store);
	configure(s);
	s->services.config = &s->config;
	s->services.metrics = metrics_new();
	s->services.limits = rate_limit_new(1000);
	s->services.seal = scene_seal(s, 's');
	s->services.pool = pool_wake_new(s->config.milter_socket);
	s->services.keys = (struct key_check *)(void *)&not_used;
	s->services.sent = sent_memory_new(s->store);
	sent_memory_keep_for(s->services.sent, HOUR);
	assert_int_equal(
	    api_services_start(&s->services.apis, &s->config, &why), 0);
	dynbuf_init(&logged.text, 16 * 1024 * 1024);
	memset(&scene_refused, 0, sizeof(scene_refused));
	the_scene = s;
	scene_script("a");
}

void
scene_stop(struct scene *s)
{
	static const char *const files[] = { "txmilter.mdb",
					     "txmilter.mdb-lock" };
	struct crypto_seal *seal =
	    (struct crypto_seal *)(uintptr_t)s->services.seal;
	char path[64];

	scene_stop_thread();
	assert_int_equal(scene_waiting(), 0);
	assert_false(scene_is_probing(s));
	assert_false(scene_logged(SCENE_KEY));
	scene_script("a");
	free(http.script);
	http.script = NULL;
	api_services_stop(&s->services.apis);
	sent_memory_free(&s->services.sent);
	pool_wake_free(&s->services.pool);
	rate_limit_free(&s->services.limits);
	metrics_free(&s->services.metrics);
	crypto_seal_free(&seal);
	store_close(&s->store);
	scene_forget_log();
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", s->dir, files[i]);
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(rmdir(s->dir), 0);
	the_scene = NULL;
}

static char *
copy(const char *text)
{
	return need(strdup(text));
}

struct outgoing *
scene_outgoing(size_t n)
{
	struct outgoing *o = outgoing_new();

	o->from_name = copy("Acme");
	o->from_email = copy("from@acme.example");
	o->return_path = copy("bounce@acme.example");
	o->subject = copy("Hello");
	o->message_id = copy("<1@acme.example>");
	o->html = copy("<p>Hello</p>");
	o->html_len = strlen(o->html);
	o->recipients = need(calloc(n + 1, sizeof(*o->recipients)));
	o->n_recipients = n;
	for (size_t i = 0; i < n; i++) {
		if (asprintf(&o->recipients[i].email, "r%zu@x.example", i) < 0)
			abort();
		o->recipients[i].name = copy("");
	}
	return o;
}

void
scene_make_too_large(struct outgoing *o)
{
	/* Six bytes each, as JSON. */
	o->html_len = API_REQUEST_MAX / 6 + 1;
	o->html = need(realloc(o->html, o->html_len + 1));
	memset(o->html, 1, o->html_len);
	o->html[o->html_len] = '\0';
}

unsigned long
scene_metric(const struct scene *s, const char *name)
{
	static const struct metrics_now now;
	const char *at;
	DYNBUF_AUTO page;

	dynbuf_init(&page, METRICS_PAGE_MAX);
	assert_true(metrics_write(s->services.metrics, &now, &page));
	at = strstr(dynbuf_str(&page), name);
	if (at == NULL)
		fail_msg("no metric %s", name);
	return strtoul(at + strlen(name), NULL, 10);
}

void
scene_remember(struct scene *s, const uint8_t *key)
{
	struct sent_claim claim = { 0 };

	memcpy(claim.key, key, SENT_KEY_LEN);
	insist(sent_memory_claim(s->services.sent, &claim) == SENT_NOT);
	sent_memory_release(s->services.sent, &claim, true);
}
