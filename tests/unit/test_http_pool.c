/* SPDX-License-Identifier: MIT */
/*
 * An HTTP server in threads of the test answers by the path asked for: pages[]
 * says what it sends and what becomes of the connection. TLS is served by
 * openssl(1).
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "milter/http_pool.h"

#define CONNECTIONS_MAX 1024
#define HEAD_MAX 8192
#define BODY_MAX (8 * 1024 * 1024)
#define LONG_MS 60000 /* never reached, but on failure */
#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

extern char **environ;

/* --- the server ----------------------------------------------------------- */

enum then {
	KEEP,
	CLOSE,
	RESET,
	HANG,	    /* until the client closes */
	ECHO,	    /* the request's body; keep */
	DIE_SECOND, /* answers the first request on a connection, keeps it
		       open, reads the second wholly and closes */
};

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
#define OK OK_HEAD "\r\nhello"

static const struct page {
	const char *path;
	const char *answer;
	enum then then;
} pages[] = {
	{ "/ok", OK, KEEP },
	{ "/echo", "", ECHO },
	{ "/hang", "", HANG },
	{ "/hang-in-answer", OK_HEAD "\r\nhe", HANG },
	{ "/close", "", CLOSE },
	{ "/reset", "", RESET },
	{ "/close-in-head", OK_HEAD, CLOSE },
	{ "/close-after-100",
	  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", CLOSE },
	{ "/trailer",
	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
	  "chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
	  KEEP },
	{ "/close-in-answer", OK_HEAD "\r\nhe", CLOSE },
	{ "/reset-in-answer", OK_HEAD "\r\nhe", RESET },
	{ "/chunk-cut",
	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
	  "\r\n5\r\nhello\r\n",
	  CLOSE },
	{ "/chunk-cut-within",
	  "HTTP/1.1 200 OK\r\n"
	  "Transfer-Encoding: chunked\r\n\r\n5\r\nhe",
	  CLOSE },
	{ "/chunk-bad",
	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
	  "\r\nxyz\r\nhello\r\n",
	  CLOSE },
	{ "/chunks",
	  "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n"
	  "\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
	  KEEP },
	{ "/garbage", "220 mail.example ESMTP\r\n", CLOSE },
	{ "/garbage-head", "HTTP/1.1 banana\r\n\r\n", CLOSE },
	{ "/http-0.9", "hello", CLOSE },
	{ "/redirect",
	  "HTTP/1.1 302 Found\r\nLocation: /ok\r\n"
	  "Content-Length: 0\r\n\r\n",
	  KEEP },
	{ "/busy",
	  "HTTP/1.1 503 Service Unavailable\r\n"
	  "Content-Length: 4\r\n\r\nbusy",
	  KEEP },
#define RETRY_AFTER(text)                                      \
	"HTTP/1.1 429 Too Many Requests\r\nRetry-After: " text \
	"\r\nContent-Length: 0\r\n\r\n"
	{ "/retry-7", RETRY_AFTER("7"), KEEP },
	{ "/retry-0", RETRY_AFTER("0"), KEEP },
	{ "/retry-negative", RETRY_AFTER("-7"), KEEP },
	{ "/retry-word", RETRY_AFTER("soon"), KEEP },
	{ "/retry-empty", RETRY_AFTER(""), KEEP },
	{ "/retry-day", RETRY_AFTER("86399"), KEEP },
	{ "/retry-week", RETRY_AFTER("604800"), KEEP },
	{ "/retry-huge", RETRY_AFTER("9223372036854775807"), KEEP },
	{ "/retry-past", RETRY_AFTER("Wed, 21 Oct 2015 07:28:00 GMT"), KEEP },
	{ "/retry-future", RETRY_AFTER("Tue, 21 Oct 2098 07:28:00 GMT"), KEEP },
	{ "/retry-then-close",
	  "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n"
	  "Content-Length: 5\r\n\r\nhe",
	  CLOSE },
#define LIMITED(status, more)                   \
	"HTTP/1.1 " status " X\r\n" more "\r\n" \
	"Content-Length: 0\r\n\r\n"
	{ "/reset-at-60", LIMITED("429", "X-RateLimit-Reset: 60"), KEEP },
	{ "/reset-in-other-letters", LIMITED("429", "x-ratelimit-reset:60"),
	  KEEP },
	{ "/reset-of-420", LIMITED("420", "X-RateLimit-Reset: 60"), KEEP },
	{ "/reset-of-200", LIMITED("200", "X-RateLimit-Reset: 60"), KEEP },
	{ "/reset-most", LIMITED("429", "X-RateLimit-Reset: 86400"), KEEP },
	{ "/reset-time", LIMITED("429", "X-RateLimit-Reset: 1900000000"),
	  KEEP },
	{ "/reset-huge",
	  LIMITED("429", "X-RateLimit-Reset: 99999999999999999999999"), KEEP },
	{ "/reset-word", LIMITED("429", "X-RateLimit-Reset: 60s"), KEEP },
	{ "/reset-negative", LIMITED("429", "X-RateLimit-Reset: -60"), KEEP },
	{ "/reset-empty", LIMITED("429", "X-RateLimit-Reset:"), KEEP },
	{ "/reset-and-retry",
	  LIMITED("429", "Retry-After: 7\r\nX-RateLimit-Reset: 60"), KEEP },
	{ "/no-content", "HTTP/1.1 204 No Content\r\n\r\n", KEEP },
	{ "/continue", "HTTP/1.1 100 Continue\r\n\r\n" OK, KEEP },
	{ "/until-close", "HTTP/1.1 200 OK\r\n\r\nhello", CLOSE },
	{ "/then-close", OK, CLOSE },
	{ "/die-second", OK, DIE_SECOND },
};

struct request {
	char head[HEAD_MAX + 1];
	size_t head_len;
	char *body;
	size_t len;
};

struct server;

struct connection {
	struct server *server;
	int fd;
	pthread_t thread;
	unsigned requests;
};

struct server {
	int listener;
	char url[64];
	pthread_t thread;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	struct connection conns[CONNECTIONS_MAX];
	unsigned n_conns;
	unsigned closed;
	unsigned requests;
	char last_head[HEAD_MAX + 1];
	char last_body[100]; /* of one that fits */
	size_t last_len;
};

static void *
new_memory(size_t n)
{
	void *p = malloc(n);

	if (p == NULL)
		abort();
	return p;
}

/* Reads until the blank line. False at the end of the connection. */
static bool
read_head(int fd, struct request *r)
{
	r->head_len = 0;
	for (;;) {
		ssize_t n;

		r->head[r->head_len] = '\0';
		if (strstr(r->head, "\r\n\r\n") != NULL)
			return true;
		if (r->head_len == HEAD_MAX)
			return false;
		n = recv(fd, r->head + r->head_len, HEAD_MAX - r->head_len, 0);
		if (n <= 0)
			return false;
		r->head_len += (size_t)n;
	}
}

/* The rest, by Content-Length; what came with the head is part of it. */
static bool
read_request(int fd, struct request *r)
{
	const char *field, *end;
	size_t have;

	if (!read_head(fd, r))
		return false;
	field = strcasestr(r->head, "\r\nContent-Length:");
	end = strstr(r->head, "\r\n\r\n") + 4;
	r->len =
	    field != NULL && field < end ? strtoul(field + 17, NULL, 10) : 0;
	have = r->head_len - (size_t)(end - r->head);
	if (r->len > BODY_MAX || have > r->len)
		return false;
	r->body = new_memory(r->len + 1);
	memcpy(r->body, end, have);
	r->head[end - r->head] = '\0';
	while (have < r->len) {
		ssize_t n = recv(fd, r->body + have, r->len - have, 0);

		if (n <= 0) {
			free(r->body);
			return false;
		}
		have += (size_t)n;
	}
	return true;
}

static void
send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

static const struct page *
find_page(const struct request *r)
{
	const char *path = strchr(r->head, ' ') + 1;
	size_t len = strcspn(path, " ?");

	for (size_t i = 0; i < N_ELEMENTS(pages); i++) {
		if (strlen(pages[i].path) == len &&
		    memcmp(pages[i].path, path, len) == 0)
			return &pages[i];
	}
	abort();
}

static void
note_request(struct server *s, const struct request *r)
{
	pthread_mutex_lock(&s->lock);
	s->requests++;
	memcpy(s->last_head, r->head, sizeof(s->last_head));
	s->last_len = r->len < sizeof(s->last_body) ? r->len : 0;
	memcpy(s->last_body, r->body, s->last_len);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static void
echo(int fd, const struct request *r)
{
	char head[80];

	snprintf(head, sizeof(head),
		 "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", r->len);
	send_all(fd, head, strlen(head));
	send_all(fd, r->body, r->len);
}

/* Answers; true when the connection stays open. */
static bool
answer(struct connection *c, struct request *r)
{
	const struct page *page = find_page(r);
	char byte;

	c->requests++;
	note_request(c->server, r);
	if (page->then == ECHO)
		echo(c->fd, r);
	free(r->body);
	if (page->then == DIE_SECOND && c->requests > 1)
		return false;
	send_all(c->fd, page->answer, strlen(page->answer));
	if (page->then == HANG) {
		while (recv(c->fd, &byte, 1, 0) > 0)
			;
	}
	if (page->then == RESET) {
		struct linger now = { .l_onoff = 1 };

		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	}
	return page->then == KEEP || page->then == ECHO ||
	       page->then == DIE_SECOND;
}

static void *
serve(void *arg)
{
	struct connection *c = arg;
	struct server *s = c->server;
	struct request *r = new_memory(sizeof(*r));

	while (read_request(c->fd, r) && answer(c, r))
		;
	free(r);
	pthread_mutex_lock(&s->lock);
	close(c->fd);
	c->fd = -1;
	s->closed++;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void *
accept_all(void *arg)
{
	struct server *s = arg;
	int fd;

	while ((fd = accept(s->listener, NULL, NULL)) != -1) {
		const int on = 1;
		struct connection *c;

		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		pthread_mutex_lock(&s->lock);
		if (s->n_conns == CONNECTIONS_MAX)
			abort();
		c = &s->conns[s->n_conns++];
		c->server = s;
		c->fd = fd;
		if (pthread_create(&c->thread, NULL, serve, c) != 0)
			abort();
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

/* A socket bound to a free port; nobody listens yet. */
static int
bind_port(unsigned *port_r)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd == -1 || bind(fd, (struct sockaddr *)&a, sizeof(a)) == -1 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) == -1)
		abort();
	*port_r = ntohs(a.sin_port);
	return fd;
}

static struct server *
server_start(void)
{
	struct server *s = calloc(1, sizeof(*s));
	unsigned port;

	if (s == NULL)
		abort();
	s->listener = bind_port(&port);
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u", port);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	if (listen(s->listener, 256) == -1 ||
	    pthread_create(&s->thread, NULL, accept_all, s) != 0)
		abort();
	return s;
}

static void
server_stop(struct server *s)
{
	shutdown(s->listener, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->listener);
	for (unsigned i = 0; i < s->n_conns; i++) {
		pthread_mutex_lock(&s->lock);
		if (s->conns[i].fd != -1)
			shutdown(s->conns[i].fd, SHUT_RDWR);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->conns[i].thread, NULL);
	}
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	free(s);
}

static unsigned
server_requests(struct server *s)
{
	unsigned n;

	pthread_mutex_lock(&s->lock);
	n = s->requests;
	pthread_mutex_unlock(&s->lock);
	return n;
}

/* True when the last request's head has this text. */
static bool
head_has(struct server *s, const char *text)
{
	bool has;

	pthread_mutex_lock(&s->lock);
	has = strcasestr(s->last_head, text) != NULL;
	pthread_mutex_unlock(&s->lock);
	return has;
}

static bool
body_is(struct server *s, const char *text)
{
	bool is;

	pthread_mutex_lock(&s->lock);
	is = s->last_len == strlen(text) &&
	     memcmp(s->last_body, text, s->last_len) == 0;
	pthread_mutex_unlock(&s->lock);
	return is;
}

static unsigned
server_connections(struct server *s)
{
	unsigned n;

	pthread_mutex_lock(&s->lock);
	n = s->n_conns;
	pthread_mutex_unlock(&s->lock);
	return n;
}

static void
await(struct server *s, const unsigned *counter, unsigned n)
{
	pthread_mutex_lock(&s->lock);
	while (*counter < n)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

/* --- the client ----------------------------------------------------------- */

static struct http_pool *
start_pool(unsigned connections, unsigned queue, const char *ca_file)
{
	const struct http_pool_settings settings = {
		.connections = connections,
		.queue = queue,
		.background = queue,
		.connect_timeout_ms = LONG_MS,
		.ca_file = ca_file,
		.user_agent = "txmilter/test",
	};
	const char *error;
	struct http_pool *pool = http_pool_start(&settings, &error);

	if (pool == NULL)
		fail_msg("http_pool_start: %s", error);
	return pool;
}

static const char *const headers[] = { "X-Key: s3cret",
				       "Content-Type: application/json", NULL };

struct fixture {
	struct server *server;
	struct http_pool *pool;
};

static int
setup(void **state)
{
	struct fixture *f = new_memory(sizeof(*f));

	f->server = server_start();
	f->pool = start_pool(8, 1000, NULL);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	http_pool_stop(&f->pool);
	server_stop(f->server);
	free(f);
	return 0;
}

struct ended {
	pthread_mutex_t lock; /* guards count */
	pthread_cond_t changed;
	unsigned count;
};

#define ENDED_INIT                                                     \
	{                                                              \
		PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 \
	}

static void
count_end(struct http_call *call)
{
	struct ended *e = call->arg;

	pthread_mutex_lock(&e->lock);
	e->count++;
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->lock);
}

static void
await_ends(struct ended *e, unsigned n)
{
	pthread_mutex_lock(&e->lock);
	while (e->count < n)
		pthread_cond_wait(&e->changed, &e->lock);
	pthread_mutex_unlock(&e->lock);
}

/* A POST of "{first" "second}" to the path, with a secret wherever one must
 * not get into error texts. */
static struct http_call
post(const char *base, const char *path, char url_r[200])
{
	snprintf(url_r, 200, "%s%s?s3cret", base, path);
	return (struct http_call){
		.url = url_r,
		.post = true,
		.headers = headers,
		.body = { { "{s3cret-first", 13 }, { "second}", 7 } },
		.timeout_ms = LONG_MS,
		.answer_max = 1000,
	};
}

static void
check_error(const char *name, const struct http_call *call)
{
	if (call->error[0] == '\0')
		fail_msg("%s: no error text", name);
	if (strstr(call->error, "s3cret") != NULL)
		fail_msg("%s: secret in error: %s", name, call->error);
}

/* --- tests ---------------------------------------------------------------- */

static void
test_retry_after(void **state)
{
	static const struct {
		const char *path;
		unsigned seconds;
	} rows[] = {
		{ "/retry-7", 7 },
		{ "/ok", 0 },
		{ "/retry-0", 0 },
		{ "/retry-negative", 0 },
		{ "/retry-word", 0 },
		{ "/retry-empty", 0 },
		{ "/retry-day", 86399 },
		{ "/retry-week", HTTP_RETRY_AFTER_MAX },
		{ "/retry-huge", HTTP_RETRY_AFTER_MAX },
		{ "/retry-past", 0 },
		{ "/retry-future", HTTP_RETRY_AFTER_MAX },
		{ "/retry-then-close", 0 },
		{ "/busy", 0 },
		{ "/reset-at-60", 60 },
		{ "/reset-in-other-letters", 60 },
		{ "/reset-of-420", 0 },
		{ "/reset-of-200", 0 },
		{ "/reset-most", 86400 },
		{ "/reset-time", 0 },
		{ "/reset-huge", 0 },
		{ "/reset-word", 0 },
		{ "/reset-negative", 0 },
		{ "/reset-empty", 0 },
		{ "/reset-and-retry", 7 },
	};
	struct fixture *f = *state;
	char url[200];

	for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
		struct http_call call = post(f->server->url, rows[i].path, url);

		call.retry_after = 1;
		http_pool_perform(f->pool, &call);
		if (call.retry_after != rows[i].seconds)
			fail_msg("%s: %u", rows[i].path, call.retry_after);
		http_call_clear(&call);
	}
}

static const struct outcome {
	const char *path;
	bool get;
	unsigned timeout_ms; /* 0: LONG_MS */
	enum http_result result;
	unsigned status;
	const char *answer;
	bool sent;
} outcomes[] = {
	{ "/ok", false, 0, HTTP_ANSWERED, 200, "hello", true },
	{ "/ok", true, 0, HTTP_ANSWERED, 200, "hello", true },
	{ "/chunks", false, 0, HTTP_ANSWERED, 201, "hello", true },
	{ "/redirect", false, 0, HTTP_ANSWERED, 302, "", true },
	{ "/redirect", true, 0, HTTP_ANSWERED, 302, "", true },
	{ "/busy", false, 0, HTTP_ANSWERED, 503, "busy", true },
	{ "/no-content", false, 0, HTTP_ANSWERED, 204, "", true },
	{ "/continue", false, 0, HTTP_ANSWERED, 200, "hello", true },
	{ "/until-close", false, 0, HTTP_ANSWERED, 200, "hello", true },
	{ "/hang", false, 150, HTTP_TIMED_OUT, 0, "", true },
	{ "/hang-in-answer", false, 150, HTTP_TIMED_OUT, 0, "", true },
	{ "/close", false, 0, HTTP_NO_ANSWER, 0, "", true },
	{ "/close", true, 0, HTTP_NO_ANSWER, 0, "", true },
	{ "/reset", false, 0, HTTP_NO_ANSWER, 0, "", true },
	{ "/close-in-head", false, 0, HTTP_NO_ANSWER, 0, "", true },
	{ "/close-after-100", false, 0, HTTP_NO_ANSWER, 0, "", true },
	{ "/trailer", false, 0, HTTP_ANSWERED, 200, "hello", true },
	{ "/close-in-answer", false, 0, HTTP_NO_ANSWER, 0, "", true },
	{ "/reset-in-answer", false, 0, HTTP_NO_ANSWER, 0, "", true },
	{ "/chunk-cut", false, 0, HTTP_NO_ANSWER, 0, "", true },
	{ "/chunk-cut-within", false, 0, HTTP_NO_ANSWER, 0, "", true },
	{ "/chunk-bad", false, 0, HTTP_NO_ANSWER, 0, "", true },
	{ "/garbage", false, 0, HTTP_NO_ANSWER, 0, "", true },
	{ "/garbage-head", false, 0, HTTP_NO_ANSWER, 0, "", true },
	{ "/http-0.9", false, 0, HTTP_NO_ANSWER, 0, "", true },
};

static void
check_outcome(const struct outcome *o, const struct http_call *call)
{
	if (call->result != o->result || call->status != o->status ||
	    call->sent != o->sent)
		fail_msg("%s: result %d status %u sent %d: %s", o->path,
			 call->result, call->status, call->sent, call->error);
	if (strcmp(dynbuf_str(&call->answer), o->answer) != 0)
		fail_msg("%s: answer is \"%s\"", o->path,
			 dynbuf_str(&call->answer));
	if (call->elapsed_ms < o->timeout_ms)
		fail_msg("%s: ended after %u ms", o->path, call->elapsed_ms);
	if (o->result != HTTP_ANSWERED)
		check_error(o->path, call);
}

/* Each on a connection of its own, or on one that was kept alive. */
static void
test_outcomes(void **state)
{
	struct fixture *f = *state;
	char url[200];

	for (size_t i = 0; i < N_ELEMENTS(outcomes); i++) {
		const struct outcome *o = &outcomes[i];
		struct http_call call = post(f->server->url, o->path, url);
		unsigned before = server_requests(f->server);

		call.post = !o->get;
		if (o->timeout_ms != 0)
			call.timeout_ms = o->timeout_ms;
		http_pool_perform(f->pool, &call);
		check_outcome(o, &call);
		if (call.post && server_requests(f->server) != before + 1)
			fail_msg("%s: the server had %u requests", o->path,
				 server_requests(f->server) - before);
		http_call_clear(&call);
	}
}

static const char *const sent_lines[] = {
	"POST /ok?s3cret HTTP/1.1\r\n",		  "\r\nX-Key: s3cret\r\n",
	"\r\nContent-Type: application/json\r\n", "\r\nContent-Length: 20\r\n",
	"\r\nUser-Agent: txmilter/test\r\n",
};

static void
test_request(void **state)
{
	struct fixture *f = *state;
	char url[200];
	struct http_call call = post(f->server->url, "/ok", url);

	http_pool_perform(f->pool, &call);
	assert_int_equal(call.result, HTTP_ANSWERED);
	for (size_t i = 0; i < N_ELEMENTS(sent_lines); i++) {
		if (!head_has(f->server, sent_lines[i]))
			fail_msg("not in the request: %s", sent_lines[i]);
	}
	assert_true(body_is(f->server, "{s3cret-firstsecond}"));
	http_call_clear(&call);
}

static const struct {
	const char *name;
	size_t first, second;
} sizes[] = {
	{ "nothing", 0, 0 },	      { "first only", 10, 0 },
	{ "second only", 0, 10 },     { "first fills a buffer", 65536, 1 },
	{ "large", 700000, 2500000 },
};

static void
test_bodies(void **state)
{
	struct fixture *f = *state;
	char *data = new_memory(4000000);
	char url[200];

	for (size_t i = 0; i < 4000000; i++)
		data[i] = (char)(i * 7 + i / 251);
	for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
		struct http_call call = post(f->server->url, "/echo", url);
		size_t len = sizes[i].first + sizes[i].second;

		call.body[0] = (struct http_piece){ data, sizes[i].first };
		call.body[1] = (struct http_piece){ data + sizes[i].first,
						    sizes[i].second };
		call.answer_max = len;
		http_pool_perform(f->pool, &call);
		if (call.result != HTTP_ANSWERED || call.answer.len != len ||
		    memcmp(dynbuf_str(&call.answer), data, len) != 0)
			fail_msg("%s: %s", sizes[i].name, call.error);
		if (head_has(f->server, "\r\nExpect:"))
			fail_msg("%s: expects 100-continue", sizes[i].name);
		http_call_clear(&call);
	}
	free(data);
}

static const struct {
	const char *name;
	size_t answer_max;
	enum http_result result;
} limits[] = {
	{ "just fits", 5, HTTP_ANSWERED },
	{ "one over", 4, HTTP_TOO_LONG },
	{ "none wanted", 0, HTTP_TOO_LONG },
};

static void
test_answer_max(void **state)
{
	struct fixture *f = *state;
	char url[200];

	for (size_t i = 0; i < N_ELEMENTS(limits); i++) {
		struct http_call call = post(f->server->url, "/ok", url);

		call.answer_max = limits[i].answer_max;
		http_pool_perform(f->pool, &call);
		if (call.result != limits[i].result || !call.sent)
			fail_msg("%s: result %d", limits[i].name, call.result);
		if (call.result == HTTP_TOO_LONG) {
			check_error(limits[i].name, &call);
			assert_int_equal(call.answer.len, 0);
		}
		http_call_clear(&call);
	}
}

static const char *const injected[] = { "X-A: b\r\nX-C: d", NULL };
static const char *const too_many[] = { "X: 1",	 "X: 2",  "X: 3",  "X: 4",
					"X: 5",	 "X: 6",  "X: 7",  "X: 8",
					"X: 9",	 "X: 10", "X: 11", "X: 12",
					"X: 13", "X: 14", "X: 15", "X: 16",
					"X: 17", NULL };

static const struct {
	const char *name;
	const char *url; /* NULL: the server's */
	const char *const *headers;
} unsendable[] = {
	{ "line feed in a header", NULL, injected },
	{ "too many headers", NULL, too_many },
	{ "no HTTP", "file:///etc/s3cret", headers },
	{ "no URL", "http://[s3cret", headers },
	{ "empty URL", "", headers },
};

static void
test_unsendable(void **state)
{
	struct fixture *f = *state;
	char url[200];

	for (size_t i = 0; i < N_ELEMENTS(unsendable); i++) {
		struct http_call call = post(f->server->url, "/ok", url);

		call.headers = unsendable[i].headers;
		if (unsendable[i].url != NULL)
			call.url = unsendable[i].url;
		http_pool_perform(f->pool, &call);
		if (call.result != HTTP_NO_ANSWER || call.sent)
			fail_msg("%s: result %d", unsendable[i].name,
				 call.result);
		check_error(unsendable[i].name, &call);
		http_call_clear(&call);
	}
	assert_int_equal(server_requests(f->server), 0);
}

static void
test_most_headers(void **state)
{
	struct fixture *f = *state;
	char url[200];
	struct http_call call = post(f->server->url, "/ok", url);

	call.headers = too_many + 1;
	http_pool_perform(f->pool, &call);
	assert_int_equal(call.result, HTTP_ANSWERED);
	assert_true(head_has(f->server, "\r\nX: 17\r\n"));
	http_call_clear(&call);
}

static void
test_refused(void **state)
{
	struct fixture *f = *state;
	unsigned port;
	int fd = bind_port(&port);
	char base[64], url[200];
	struct http_call call;

	snprintf(base, sizeof(base), "http://127.0.0.1:%u", port);
	call = post(base, "/ok", url);
	http_pool_perform(f->pool, &call);
	assert_int_equal(call.result, HTTP_NO_ANSWER);
	assert_false(call.sent);
	check_error("refused", &call);
	http_call_clear(&call);
	close(fd);
}

/* A socket whose backlog is full neither accepts nor refuses. */
static void
test_connect_timeout(void **state)
{
	struct fixture *f = *state;
	const struct http_pool_settings settings = {
		.connections = 1,
		.queue = 1,
		.connect_timeout_ms = 100,
		.user_agent = "txmilter/test",
	};
	struct sockaddr_in a = { .sin_family = AF_INET };
	const char *error;
	char base[64], url[200];
	struct http_call call;
	unsigned port;
	int fill[4];
	int fd = bind_port(&port);

	http_pool_stop(&f->pool);
	f->pool = http_pool_start(&settings, &error);
	assert_non_null(f->pool);
	assert_int_equal(listen(fd, 0), 0);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons((uint16_t)port);
	for (size_t i = 0; i < N_ELEMENTS(fill); i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fill[i], (struct sockaddr *)&a, sizeof(a));
	}
	snprintf(base, sizeof(base), "http://127.0.0.1:%u", port);
	call = post(base, "/ok", url);
	http_pool_perform(f->pool, &call);
	assert_int_equal(call.result, HTTP_NO_ANSWER);
	assert_false(call.sent);
	assert_true(call.elapsed_ms >= 100);
	assert_true(call.elapsed_ms < LONG_MS);
	check_error("connect timeout", &call);
	for (size_t i = 0; i < N_ELEMENTS(fill); i++)
		close(fill[i]);
	close(fd);
}

/* A kept-alive connection whose server dies on the second request: curl by
 * itself would send that again on a fresh connection. */
static void
test_never_twice(void **state)
{
	struct fixture *f = *state;
	char url[200];
	static const size_t lengths[] = { 7, 0, 200000 };
	char *data = calloc(1, 200000);

	for (size_t i = 0; i < N_ELEMENTS(lengths); i++) {
		struct http_call call =
		    post(f->server->url, "/die-second", url);
		unsigned before = server_requests(f->server);

		call.body[0].len = 0;
		call.body[1] = (struct http_piece){ data, lengths[i] };
		http_pool_perform(f->pool, &call);
		assert_int_equal(call.result, HTTP_ANSWERED);
		http_call_clear(&call);
		http_pool_perform(f->pool, &call);
		assert_int_equal(call.result, HTTP_NO_ANSWER);
		assert_true(call.sent);
		check_error("never twice", &call);
		http_call_clear(&call);
		await(f->server, &f->server->closed, (unsigned)i + 1);
		assert_int_equal(server_requests(f->server), before + 2);
	}
	free(data);
}

/* A GET may be repeated, and curl does. */
static void
test_get_again(void **state)
{
	struct fixture *f = *state;
	char url[200];

	for (int i = 0; i < 2; i++) {
		struct http_call call =
		    post(f->server->url, "/die-second", url);

		call.post = false;
		http_pool_perform(f->pool, &call);
		assert_int_equal(call.result, HTTP_ANSWERED);
		http_call_clear(&call);
	}
	assert_int_equal(server_requests(f->server), 3);
}

/* The server closes an idle connection: the next call must not fail. */
static void
test_idle_close(void **state)
{
	struct fixture *f = *state;
	char url[200];

	for (unsigned i = 1; i <= 100; i++) {
		struct http_call call =
		    post(f->server->url, "/then-close", url);

		http_pool_perform(f->pool, &call);
		if (call.result != HTTP_ANSWERED)
			fail_msg("call %u: %s", i, call.error);
		http_call_clear(&call);
		await(f->server, &f->server->closed, i);
	}
	assert_int_equal(server_requests(f->server), 100);
}

static void
test_keep_alive(void **state)
{
	struct fixture *f = *state;
	char url[200];

	for (int i = 0; i < 20; i++) {
		struct http_call call = post(f->server->url, "/ok", url);

		call.headers = i % 2 == 0 ? headers : NULL;
		http_pool_perform(f->pool, &call);
		assert_int_equal(call.result, HTTP_ANSWERED);
		http_call_clear(&call);
	}
	assert_int_equal(server_connections(f->server), 1);
}

struct caller {
	struct fixture *fixture;
	unsigned number;
	unsigned good;
};

static void *
call_often(void *arg)
{
	struct caller *c = arg;
	char url[200];

	for (unsigned i = 0; i < 20; i++) {
		struct http_call call =
		    post(c->fixture->server->url, "/echo", url);
		char first[32], wanted[64];

		snprintf(first, sizeof(first), "%u.%u-", c->number, i);
		snprintf(wanted, sizeof(wanted), "%ssecond}", first);
		call.body[0] = (struct http_piece){ first, strlen(first) };
		http_pool_perform(c->fixture->pool, &call);
		c->good += call.result == HTTP_ANSWERED &&
			   strcmp(dynbuf_str(&call.answer), wanted) == 0;
		http_call_clear(&call);
	}
	return NULL;
}

static void
test_concurrent(void **state)
{
	struct fixture *f = *state;
	struct caller callers[50];
	pthread_t threads[50];
	struct http_pool_state s;

	for (unsigned i = 0; i < 50; i++) {
		callers[i] = (struct caller){ f, i, 0 };
		pthread_create(&threads[i], NULL, call_often, &callers[i]);
	}
	for (unsigned i = 0; i < 50; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(callers[i].good, 20);
	}
	assert_int_equal(server_requests(f->server), 1000);
	assert_true(server_connections(f->server) <= 8);
	http_pool_state(f->pool, &s);
	assert_int_equal(s.calls, 0);
	assert_int_equal(s.total, 1000);
	assert_int_equal(s.failed, 0);
	assert_true(s.connections > 0 && s.connections <= 8);
}

static void
test_submit(void **state)
{
	struct fixture *f = *state;
	struct ended ended = ENDED_INIT;
	struct http_call calls[100];
	char url[200];
	const struct http_call call = post(f->server->url, "/ok", url);

	for (unsigned i = 0; i < 100; i++) {
		calls[i] = call;
		calls[i].done = count_end;
		calls[i].arg = &ended;
		assert_int_equal(http_pool_submit(f->pool, &calls[i]), 0);
	}
	await_ends(&ended, 100);
	http_pool_stop(&f->pool);
	assert_int_equal(ended.count, 100);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(calls[i].result, HTTP_ANSWERED);
		assert_string_equal(dynbuf_str(&calls[i].answer), "hello");
		http_call_clear(&calls[i]);
	}
}

/* Submitted again from within `done`, as a second request that depends on the
 * answer to the first is. */
struct chain {
	struct http_pool *pool;
	struct ended ended;
	unsigned left;
};

static void
submit_again(struct http_call *call)
{
	struct chain *chain = call->arg;
	struct http_call shadow = { .arg = &chain->ended };

	http_call_clear(call);
	if (call->result == HTTP_ANSWERED && --chain->left > 0 &&
	    http_pool_submit(chain->pool, call) == 0)
		return;
	count_end(&shadow);
}

static void
test_submit_in_done(void **state)
{
	struct fixture *f = *state;
	struct chain chain = { f->pool, ENDED_INIT, 50 };
	char url[200];
	struct http_call call = post(f->server->url, "/ok", url);

	call.done = submit_again;
	call.arg = &chain;
	assert_int_equal(http_pool_submit(f->pool, &call), 0);
	await_ends(&chain.ended, 1);
	assert_int_equal(chain.left, 0);
	assert_int_equal(server_requests(f->server), 50);
}

/* Submits n calls that the server does not answer, and waits until it has
 * `reach` of them. */
static void
submit_hanging(struct fixture *f, struct http_call *calls, unsigned n,
	       struct ended *ended, char url_r[200], unsigned reach)
{
	const struct http_call call = post(f->server->url, "/hang", url_r);

	for (unsigned i = 0; i < n; i++) {
		calls[i] = call;
		calls[i].done = count_end;
		calls[i].arg = ended;
		assert_int_equal(http_pool_submit(f->pool, &calls[i]), 0);
	}
	await(f->server, &f->server->requests, reach);
}

static void
check_stopped(const struct http_call *calls, unsigned n, unsigned sent)
{
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(calls[i].result, HTTP_STOPPED);
		assert_int_equal(calls[i].sent, i < sent);
		check_error("stopped", &calls[i]);
	}
}

static void
test_queue_full(void **state)
{
	struct fixture *f = *state;
	struct ended ended = ENDED_INIT;
	struct http_call calls[3], more;
	char url[200], url2[200];
	struct http_pool_state s;

	http_pool_stop(&f->pool);
	f->pool = start_pool(2, 3, NULL);
	submit_hanging(f, calls, 3, &ended, url, 2);
	more = post(f->server->url, "/ok", url2);
	more.done = count_end;
	more.arg = &ended;
	assert_int_equal(http_pool_submit(f->pool, &more), -1);
	assert_int_equal(more.result, HTTP_QUEUE_FULL);
	assert_false(more.sent);
	check_error("queue full", &more);
	http_pool_perform(f->pool, &more);
	assert_int_equal(more.result, HTTP_QUEUE_FULL);
	http_pool_state(f->pool, &s);
	assert_int_equal(s.calls, 3);
	http_pool_stop(&f->pool);
	check_stopped(calls, 3, 2);
	assert_int_equal(ended.count, 3);
	assert_int_equal(server_requests(f->server), 2);
}

static void
test_deadline_in_line(void **state)
{
	struct fixture *f = *state;
	struct ended ended = ENDED_INIT;
	struct http_call hanging, call;
	char url[200], url2[200];

	http_pool_stop(&f->pool);
	f->pool = start_pool(1, 10, NULL);
	submit_hanging(f, &hanging, 1, &ended, url, 1);
	call = post(f->server->url, "/ok", url2);
	call.timeout_ms = 100;
	http_pool_perform(f->pool, &call);
	/* Half of it: what begins later would be cut. */
	assert_int_equal(call.result, HTTP_NO_ROOM);
	assert_false(call.sent);
	assert_in_range(call.elapsed_ms, 50, 99);
	check_error("in line", &call);
	http_pool_stop(&f->pool);
	check_stopped(&hanging, 1, 1);
}

static struct http_call *first_done;

static void
note_first(struct http_call *call)
{
	if (first_done == NULL)
		first_done = call;
	count_end(call);
}

/* Who waits goes before who does not, whoever came first. */
static void
test_background(void **state)
{
	struct fixture *f = *state;
	struct ended ended = ENDED_INIT;
	char url[200], url2[200], url3[200];
	struct http_call hanging, later, now;

	http_pool_stop(&f->pool);
	f->pool = start_pool(1, 10, NULL);
	hanging = post(f->server->url, "/hang", url);
	hanging.timeout_ms = 100;
	hanging.done = count_end;
	hanging.arg = &ended;
	later = post(f->server->url, "/ok", url2);
	later.wait_ms = LONG_MS;
	now = post(f->server->url, "/ok", url3);
	later.done = now.done = note_first;
	later.arg = now.arg = &ended;
	first_done = NULL;
	assert_int_equal(http_pool_submit(f->pool, &hanging), 0);
	assert_int_equal(http_pool_submit(f->pool, &later), 0);
	assert_int_equal(http_pool_submit(f->pool, &now), 0);
	await_ends(&ended, 3);
	assert_ptr_equal(first_done, &now);
	assert_int_equal(later.result, HTTP_ANSWERED);
	assert_int_equal(now.result, HTTP_ANSWERED);
	http_call_clear(&later);
	http_call_clear(&now);
}

/* Their queues are apart: a backlog keeps nobody who waits out. */
static void
test_background_full(void **state)
{
	struct fixture *f = *state;
	struct ended ended = ENDED_INIT;
	char urls[5][200];
	struct http_call calls[5];

	http_pool_stop(&f->pool);
	f->pool = start_pool(1, 2, NULL);
	for (int i = 0; i < 5; i++) {
		calls[i] = post(f->server->url, "/hang", urls[i]);
		calls[i].wait_ms = i < 3 ? LONG_MS : 0;
		calls[i].done = count_end;
		calls[i].arg = &ended;
		assert_int_equal(http_pool_submit(f->pool, &calls[i]),
				 i == 2 ? -1 : 0);
	}
	http_pool_end(f->pool);
	await_ends(&ended, 4);
}

/* Nor do those who wait keep the backlog out for ever. */
static void
test_background_share(void **state)
{
	struct fixture *f = *state;
	struct ended ended = ENDED_INIT;
	char urls[10][200];
	struct http_call calls[10];
	struct http_call *later = &calls[0];

	http_pool_stop(&f->pool);
	f->pool = start_pool(1, 20, NULL);
	for (int i = 0; i < 10; i++) {
		calls[i] = post(f->server->url, "/ok", urls[i]);
		calls[i].wait_ms = i == 0 ? LONG_MS : 0;
		calls[i].done = count_end;
		calls[i].arg = &ended;
	}
	for (int i = 0; i < 10; i++)
		assert_int_equal(http_pool_submit(f->pool, &calls[i]), 0);
	await_ends(&ended, 10);
	/* Not the last one. */
	assert_true(later->started_ms <= calls[9].started_ms);
	for (int i = 0; i < 10; i++)
		http_call_clear(&calls[i]);
}

/* It may wait long for a connection; its timeout begins when it has one. */
static void
test_background_waits(void **state)
{
	struct fixture *f = *state;
	struct ended ended = ENDED_INIT;
	char url[200], url2[200];
	struct http_call hanging, later;

	http_pool_stop(&f->pool);
	f->pool = start_pool(1, 10, NULL);
	hanging = post(f->server->url, "/hang", url);
	hanging.timeout_ms = 200;
	later = post(f->server->url, "/ok", url2);
	later.timeout_ms = 100;
	later.wait_ms = LONG_MS;
	hanging.done = later.done = count_end;
	hanging.arg = later.arg = &ended;
	assert_int_equal(http_pool_submit(f->pool, &hanging), 0);
	assert_int_equal(http_pool_submit(f->pool, &later), 0);
	await_ends(&ended, 2);
	assert_int_equal(hanging.result, HTTP_TIMED_OUT);
	assert_int_equal(later.result, HTTP_ANSWERED);
	http_call_clear(&later);
}

/* An API cannot have acted on the beginning of a request. */
static void
test_half_a_request(void **state)
{
	struct fixture *f = *state;
	static char big[BODY_MAX + 1]; /* the server does not read on */
	char url[200];
	struct http_call call = post(f->server->url, "/reset", url);

	memset(big, 'x', sizeof(big));
	call.body[0] = (struct http_piece){ big, sizeof(big) };
	http_pool_perform(f->pool, &call);
	assert_int_equal(call.result, HTTP_NO_ANSWER);
	assert_false(call.sent);
}

/* The line moves on when a call before it has timed out. */
static void
test_line_moves(void **state)
{
	struct fixture *f = *state;
	char url[200], url2[200];
	struct ended ended = ENDED_INIT;
	struct http_call hanging = post(f->server->url, "/hang", url);
	struct http_call call = post(f->server->url, "/ok", url2);

	http_pool_stop(&f->pool);
	f->pool = start_pool(1, 10, NULL);
	hanging.timeout_ms = 100;
	hanging.done = count_end;
	hanging.arg = &ended;
	assert_int_equal(http_pool_submit(f->pool, &hanging), 0);
	http_pool_perform(f->pool, &call);
	assert_int_equal(call.result, HTTP_ANSWERED);
	await_ends(&ended, 1);
	assert_int_equal(hanging.result, HTTP_TIMED_OUT);
	http_call_clear(&call);
}

static const struct {
	const char *name;
	struct http_pool_settings settings;
} bad_settings[] = {
	{ "no connection", { 0, 10, 0, 1000, NULL, "a" } },
	{ "no queue", { 1, 0, 0, 1000, NULL, "a" } },
	{ "no CA file", { 1, 10, 0, 1000, "/nonexistent/ca.pem", "a" } },
};

static void
test_bad_settings(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ELEMENTS(bad_settings); i++) {
		const char *error = NULL;

		if (http_pool_start(&bad_settings[i].settings, &error) !=
			NULL ||
		    error == NULL)
			fail_msg("%s: accepted", bad_settings[i].name);
	}
}

/* --- TLS ------------------------------------------------------------------ */

/* Runs openssl(1) in the directory; its output can be read from *out_r. */
static pid_t
openssl(const char *directory, const char *arguments, int *out_r)
{
	char command[1000];
	char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, command, NULL };
	posix_spawn_file_actions_t actions;
	int fds[2];
	pid_t pid;

	snprintf(command, sizeof(command), "cd %s && exec openssl %s 2>&1",
		 directory, arguments);
	assert_int_equal(pipe(fds), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, fds[0]);
	assert_int_equal(
	    posix_spawnp(&pid, "sh", &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	*out_r = fds[0];
	return pid;
}

static void
make_certificate(const char *directory)
{
	char text[4096];
	int out, status;
	pid_t pid = openssl(directory,
			    "req -x509 -newkey rsa:2048 -nodes -days 2 "
			    "-keyout key.pem -out cert.pem -subj /CN=localhost "
			    "-addext subjectAltName=IP:127.0.0.1",
			    &out);

	while (read(out, text, sizeof(text)) > 0)
		;
	close(out);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("openssl req failed: is openssl installed?");
}

/* "ACCEPT 127.0.0.1:port" is the first that s_server says. */
static unsigned
read_port(int fd)
{
	char text[1024] = "";
	const char *p;
	size_t len = 0;

	while (((p = strstr(text, "ACCEPT 127.0.0.")) == NULL ||
		strchr(p, '\n') == NULL) &&
	       len < sizeof(text) - 1) {
		ssize_t n = read(fd, text + len, sizeof(text) - 1 - len);

		if (n <= 0)
			fail_msg("openssl s_server said: %s", text);
		len += (size_t)n;
		text[len] = '\0';
	}
	return p != NULL ? (unsigned)strtoul(p + 17, NULL, 10) : 0;
}

static const struct {
	const char *name;
	bool trusted;
	const char *host;
	enum http_result result;
} tls_rows[] = {
	{ "trusted", true, "127.0.0.1", HTTP_ANSWERED },
	{ "not trusted", false, "127.0.0.1", HTTP_NO_ANSWER },
	{ "another name", true, "127.0.0.2", HTTP_NO_ANSWER },
};

static void
check_tls(size_t row, const char *ca_file, unsigned port)
{
	struct http_pool *pool =
	    start_pool(2, 10, tls_rows[row].trusted ? ca_file : NULL);
	char base[64], url[200];
	struct http_call call;

	snprintf(base, sizeof(base), "https://%s:%u", tls_rows[row].host, port);
	call = post(base, "/", url);
	call.post = false;
	call.answer_max = 100000;
	http_pool_perform(pool, &call);
	if (call.result != tls_rows[row].result ||
	    call.sent != (call.result == HTTP_ANSWERED))
		fail_msg("%s: result %d sent %d: %s", tls_rows[row].name,
			 call.result, call.sent, call.error);
	if (call.result != HTTP_ANSWERED)
		check_error(tls_rows[row].name, &call);
	http_call_clear(&call);
	http_pool_stop(&pool);
}

static void
test_tls(void **state)
{
	char directory[] = "/tmp/test_http_pool.XXXXXX";
	char ca_file[100], key_file[100];
	int out;
	pid_t pid;
	unsigned port;

	(void)state;
	assert_non_null(mkdtemp(directory));
	make_certificate(directory);
	snprintf(ca_file, sizeof(ca_file), "%s/cert.pem", directory);
	snprintf(key_file, sizeof(key_file), "%s/key.pem", directory);
	for (size_t i = 0; i < N_ELEMENTS(tls_rows); i++) {
		char arguments[200];

		snprintf(arguments, sizeof(arguments),
			 "s_server -accept %s:0 -cert cert.pem -key key.pem "
			 "-www -naccept 1",
			 tls_rows[i].host);
		pid = openssl(directory, arguments, &out);
		port = read_port(out);
		check_tls(i, ca_file, port);
		kill(pid, SIGTERM);
		waitpid(pid, NULL, 0);
		close(out);
	}
	unlink(ca_file);
	unlink(key_file);
	rmdir(directory);
}

/* --- main ----------------------------------------------------------------- */

#define WITH_SERVER(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		WITH_SERVER(test_outcomes),
		WITH_SERVER(test_retry_after),
		WITH_SERVER(test_request),
		WITH_SERVER(test_bodies),
		WITH_SERVER(test_answer_max),
		WITH_SERVER(test_unsendable),
		WITH_SERVER(test_most_headers),
		WITH_SERVER(test_refused),
		WITH_SERVER(test_connect_timeout),
		WITH_SERVER(test_never_twice),
		WITH_SERVER(test_get_again),
		WITH_SERVER(test_idle_close),
		WITH_SERVER(test_keep_alive),
		WITH_SERVER(test_concurrent),
		WITH_SERVER(test_submit),
		WITH_SERVER(test_submit_in_done),
		WITH_SERVER(test_queue_full),
		WITH_SERVER(test_deadline_in_line),
		WITH_SERVER(test_background),
		WITH_SERVER(test_background_full),
		WITH_SERVER(test_background_share),
		WITH_SERVER(test_background_waits),
		WITH_SERVER(test_half_a_request),
		WITH_SERVER(test_line_moves),
		cmocka_unit_test(test_bad_settings),
		cmocka_unit_test(test_tls),
	};

	/* A proxy of the environment must not be used. */
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("https_proxy", "http://127.0.0.1:1", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
