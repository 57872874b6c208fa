/* SPDX-License-Identifier: MIT */
/*
 * The server over real sockets, with requests as bytes. Most of it over a UNIX
 * socket, which needs no free port.
 */
#include "milter/metrics_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "milter/listener.h"
#include "milter/log.h"
#include "milter/metrics.h"
#include "policy/dynbuf.h"

/* A wait that takes this long has failed. */
#define PATIENCE_MS 60000

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

#define GET "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"

struct server {
	struct metrics_http *http;
	char dir[40], spec[64];
	atomic_size_t page_len;
	atomic_bool no_page;
	atomic_uint pages;
};

static bool
write_page(void *arg, struct dynbuf *out)
{
	struct server *s = arg;
	size_t len = atomic_load(&s->page_len);
	char *room;

	atomic_fetch_add(&s->pages, 1);
	if (atomic_load(&s->no_page))
		return false;
	room = dynbuf_room(out, len);
	/* That it overflowed is to be seen without being told. */
	if (room == NULL)
		return true;
	memset(room, 'p', len);
	room[len - 1] = '\n';
	dynbuf_grown(out, len);
	return true;
}

static struct server *
server_new(void)
{
	struct server *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->page_len = 5;
	strcpy(s->dir, "/tmp/test_metrics_http.XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->spec, sizeof(s->spec), "unix:%s/sock", s->dir);
	return s;
}

static struct server *
server_start(unsigned timeout_ms)
{
	struct server *s = server_new();
	char *error = NULL;

	s->http =
	    metrics_http_start(s->spec, timeout_ms, write_page, s, &error);
	if (s->http == NULL)
		fail_msg("%s", error);
	return s;
}

static void
server_stop(struct server *s)
{
	const char *path = listener_path(s->spec);

	metrics_http_stop(&s->http);
	assert_null(s->http);
	metrics_http_stop(&s->http);
	if (path != NULL)
		(void)unlink(path);
	assert_int_equal(rmdir(s->dir), 0);
	free(s);
}

static int
client_open(const struct server *s)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(a.sun_path, listener_path(s->spec));
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* The server may hang up meanwhile. */
static void
client_send(int fd, const char *text, size_t len, size_t step)
{
	while (len > 0) {
		ssize_t n =
		    send(fd, text, len < step ? len : step, MSG_NOSIGNAL);

		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return;
		assert_true(n > 0);
		text += n;
		len -= (size_t)n;
	}
}

/* All until the end; closes. free(). */
static char *
client_read(int fd)
{
	struct dynbuf b;
	size_t len;

	dynbuf_init(&b, 4 * METRICS_PAGE_MAX);
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		char *room = dynbuf_room(&b, 65536);
		ssize_t n;

		assert_non_null(room);
		if (poll(&p, 1, PATIENCE_MS) != 1)
			fail_msg("the connection does not end");
		n = recv(fd, room, 65536, 0);
		/* Closed with input unread. */
		if (n <= 0) {
			assert_true(n == 0 || errno == ECONNRESET);
			break;
		}
		dynbuf_grown(&b, (size_t)n);
	}
	close(fd);
	return dynbuf_steal(&b, &len);
}

static char *
ask(const struct server *s, const char *request)
{
	int fd = client_open(s);

	client_send(fd, request, strlen(request), strlen(request));
	return client_read(fd);
}

static void
expect_page(const char *name, const char *answer, size_t len)
{
	const char *body = strstr(answer, "\r\n\r\n");

	if (strncmp(answer, "HTTP/1.1 200 OK\r\n", 17) != 0 || body == NULL)
		fail_msg("%s: %.200s", name, answer);
	assert_int_equal(strlen(body + 4), len);
	assert_int_equal(strspn(body + 4, "p"), len - 1);
}

static void
expect_alive(const struct server *s, const char *name)
{
	char *answer = ask(s, GET);

	expect_page(name, answer, atomic_load(&s->page_len));
	free(answer);
}

static void
test_requests(void **state)
{
	static const struct {
		const char *name, *request;
		unsigned status;
		const char *header; /* NULL: any */
		const char *body;   /* NULL: any */
	} rows[] = {
		{ "1.1", GET, 200,
		  "Content-Type: text/plain; version=0.0.4; charset=utf-8",
		  "pppp\n" },
		{ "one page a connection", GET GET, 200, "Connection: close",
		  "pppp\n" },
		{ "length", GET, 200, "Content-Length: 5", "pppp\n" },
		{ "1.0", "GET /metrics HTTP/1.0\r\n\r\n", 200, NULL, "pppp\n" },
		{ "query", "GET /metrics?a=b HTTP/1.1\r\nHost: x\r\n\r\n", 200,
		  NULL, "pppp\n" },
		{ "head", "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200,
		  "Content-Length: 5", "" },
		{ "GET with a body",
		  "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: "
		  "1000000000000\r\n\r\nxxxx",
		  200, NULL, "pppp\n" },
		{ "root", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404, NULL,
		  "only /metrics is here\n" },
		{ "longer", "GET /metricsx HTTP/1.1\r\nHost: x\r\n\r\n", 404,
		  NULL, NULL },
		{ "slash", "GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", 404,
		  NULL, NULL },
		{ "upwards", "GET /../metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404,
		  NULL, NULL },
		{ "shorter", "GET /metric HTTP/1.1\r\nHost: x\r\n\r\n", 404,
		  NULL, NULL },
		{ "POST elsewhere",
		  "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
		  404, NULL, NULL },
		{ "POST",
		  "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: "
		  "3\r\n\r\nabc",
		  405, "Allow: GET, HEAD", "GET or HEAD\n" },
		{ "POST without end",
		  "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: "
		  "1000000000000\r\n\r\nabc",
		  405, NULL, NULL },
		{ "POST in chunks",
		  "POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
		  "chunked\r\n\r\nfffffff\r\nabc",
		  405, NULL, NULL },
		{ "DELETE", "DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405,
		  NULL, NULL },
		{ "get", "get /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405, NULL,
		  NULL },
		{ "OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, NULL,
		  NULL },
	};
	static const size_t steps[] = { 1, 5, 100000 };
	struct server *s = server_start(0);

	(void)state;
	for (size_t i = 0; i < COUNT(steps) * COUNT(rows); i++) {
		size_t step = steps[i % COUNT(steps)];
		const char *request = rows[i / COUNT(steps)].request;
		const char *header = rows[i / COUNT(steps)].header;
		const char *want = rows[i / COUNT(steps)].body;
		int fd = client_open(s);
		unsigned status = 0;
		char *answer;
		const char *body;

		client_send(fd, request, strlen(request), step);
		answer = client_read(fd);
		body = strstr(answer, "\r\n\r\n");
		(void)sscanf(answer, "HTTP/1.1 %u ", &status);
		if (status != rows[i / COUNT(steps)].status || body == NULL ||
		    (want != NULL && strcmp(body + 4, want) != 0) ||
		    (header != NULL && strstr(answer, header) == NULL))
			fail_msg("%s: %s", rows[i / COUNT(steps)].name, answer);
		free(answer);
	}
	server_stop(s);
}

/* What is no request, or too large a one, gets an error or nothing. */
static void
test_garbage(void **state)
{
	static char huge[1024 * 1024];
	static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n"
				    "\r\n";
	static const struct {
		const char *head;
		char fill;
	} rows[] = {
		{ "", '\0' },
		{ "", 'x' },
		{ "", ' ' },
		{ "", '\n' },
		{ "", '\xff' },
		{ "GET /", 'x' },
		{ "GET /metrics?", 'x' },
		{ "GET /metrics HTTP/1.1\r\n", 'x' },
		{ "GET /metrics HTTP/1.1\r\nHost: ", 'x' },
		{ "GET /metrics HTTP/1.1\r\nHost: x\r\nA:", ' ' },
		{ "POST /metrics HTTP/1.1\r\nHost: x\r\nCookie: ", ';' },
		{ "GET /metrics HTTP/1.1\r\nContent-Length: ", '9' },
	};
	struct server *s = server_start(200);
	int fd = client_open(s);

	(void)state;
	client_send(fd, hello, sizeof(hello) - 1, sizeof(hello));
	free(client_read(fd));
	for (size_t i = 0; i < COUNT(rows); i++) {
		char *answer;

		fd = client_open(s);
		memset(huge, rows[i].fill, sizeof(huge));
		memcpy(huge, rows[i].head, strlen(rows[i].head));
		client_send(fd, huge, sizeof(huge), sizeof(huge));
		client_send(fd, "\r\n\r\n", 4, 4);
		answer = client_read(fd);
		if (strstr(answer, " 200 ") != NULL)
			fail_msg("row %zu: %.200s", i, answer);
		free(answer);
	}
	assert_int_equal(s->pages, 0);
	expect_alive(s, "after garbage");
	server_stop(s);
}

static void
test_pages(void **state)
{
	static const struct {
		size_t len;
		bool none;
		unsigned status;
	} rows[] = { { 1, false, 200 },
		     { METRICS_PAGE_MAX, false, 200 },
		     { METRICS_PAGE_MAX + 1, false, 500 },
		     { 5, true, 500 },
		     { 5, false, 200 } };
	struct server *s = server_start(0);

	(void)state;
	/* What it logs here is wanted. */
	for (size_t i = 0; i < COUNT(rows); i++) {
		char *answer;

		atomic_store(&s->page_len, rows[i].len);
		atomic_store(&s->no_page, rows[i].none);
		answer = ask(s, GET);
		if (rows[i].status == 200)
			expect_page("page", answer, rows[i].len);
		else
			assert_non_null(strstr(answer, " 500 "));
		free(answer);
	}
	assert_int_equal(s->pages, COUNT(rows));
	server_stop(s);
}

static int64_t
now_ms(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &t), 0);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Sends a byte each 20 ms until the server has hung up. */
static void
drip(int fd, const char *text, size_t len)
{
	static const struct timespec nap = { .tv_nsec = 20000000 };

	for (size_t i = 0; i < PATIENCE_MS / 20; i++) {
		if (send(fd, text + i % len, 1, MSG_NOSIGNAL) != 1)
			return;
		nanosleep(&nap, NULL);
	}
	fail_msg("still connected");
}

static void
test_slow_clients(void **state)
{
	struct server *s = server_start(300);
	int silent, dripping, unread, half;
	int64_t start = now_ms();

	(void)state;
	atomic_store(&s->page_len, METRICS_PAGE_MAX);
	silent = client_open(s);
	half = client_open(s);
	client_send(half, GET, sizeof(GET) - 2, sizeof(GET));
	unread = client_open(s);
	client_send(unread, GET, sizeof(GET) - 1, sizeof(GET));
	dripping = client_open(s);
	drip(dripping, "GET /metrics HTTP/1.1\r\nA: b\r\n", 29);
	assert_true(now_ms() - start >= 290);
	close(dripping);
	free(client_read(silent));
	free(client_read(half));
	/* Some of the page stood in the socket's buffer. */
	free(client_read(unread));
	assert_true(now_ms() - start < PATIENCE_MS / 2);
	expect_alive(s, "after slow clients");
	server_stop(s);
}

#define CROWD 100

/* Those who only sit there are 100, over all places: who asks is answered all
 * the same, when they are timed out. */
static void
test_idle_crowd(void **state)
{
	struct server *s = server_start(50);
	int fds[CROWD];

	(void)state;
	for (int i = 0; i < CROWD; i++)
		fds[i] = client_open(s);
	expect_alive(s, "with a crowd before");
	for (int i = 0; i < CROWD; i++)
		free(client_read(fds[i]));
	server_stop(s);
}

static void
test_busy_crowd(void **state)
{
	struct server *s = server_start(0);
	int fds[CROWD];

	(void)state;
	atomic_store(&s->page_len, 300000);
	for (int i = 0; i < CROWD; i++) {
		fds[i] = client_open(s);
		client_send(fds[i], GET, sizeof(GET) - 1, sizeof(GET));
	}
	for (int i = 0; i < CROWD; i++) {
		char *answer = client_read(fds[i]);

		expect_page("crowd", answer, 300000);
		free(answer);
	}
	assert_int_equal(s->pages, CROWD);
	server_stop(s);
}

static void
test_clients_that_leave(void **state)
{
	struct server *s = server_start(0);

	(void)state;
	atomic_store(&s->page_len, METRICS_PAGE_MAX);
	for (int i = 0; i < 3 * CROWD; i++) {
		int fd = client_open(s);

		if (i % 3 > 0)
			client_send(fd, GET, sizeof(GET) - 1,
				    i % 3 == 1 ? 10 : sizeof(GET));
		close(fd);
	}
	expect_alive(s, "after those who left");
	server_stop(s);
}

static unsigned
open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

static void
test_stop_with_clients(void **state)
{
	unsigned before = open_descriptors();
	struct server *s = server_start(0);
	int fds[3];
	char first;

	(void)state;
	atomic_store(&s->page_len, METRICS_PAGE_MAX);
	for (size_t i = 0; i < COUNT(fds); i++)
		fds[i] = client_open(s);
	client_send(fds[1], GET, 10, 10);
	client_send(fds[2], GET, sizeof(GET) - 1, sizeof(GET));
	/* The third is being served, so the others have been accepted. */
	assert_int_equal(recv(fds[2], &first, 1, 0), 1);
	metrics_http_stop(&s->http);
	for (size_t i = 0; i < COUNT(fds); i++)
		free(client_read(fds[i]));
	server_stop(s);
	assert_int_equal(open_descriptors(), before);
}

/* A port that was free a moment ago. */
static unsigned
free_port(int family)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in a4 = { .sin_family = AF_INET };
	struct sockaddr *a = family == AF_INET6 ? (struct sockaddr *)&a6
						: (struct sockaddr *)&a4;
	socklen_t len = family == AF_INET6 ? sizeof(a6) : sizeof(a4);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	if (bind(fd, a, len) != 0) {
		close(fd);
		return 0;
	}
	assert_int_equal(getsockname(fd, a, &len), 0);
	close(fd);
	return ntohs(family == AF_INET6 ? a6.sin6_port : a4.sin_port);
}

static int
try_connect(const char *address, unsigned port)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6,
				   .sin6_port = htons((uint16_t)port) };
	struct sockaddr_in a4 = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port) };
	bool six = strchr(address, ':') != NULL;
	int fd =
	    socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0 && six) /* a machine without IPv6 */
		return -1;
	assert_true(fd >= 0);
	if (six) {
		assert_int_equal(inet_pton(AF_INET6, address, &a6.sin6_addr),
				 1);
		rc = connect(fd, (struct sockaddr *)&a6, sizeof(a6));
	} else {
		assert_int_equal(inet_pton(AF_INET, address, &a4.sin_addr), 1);
		rc = connect(fd, (struct sockaddr *)&a4, sizeof(a4));
	}
	if (rc == 0)
		return fd;
	assert_true(errno == ECONNREFUSED || errno == EADDRNOTAVAIL);
	close(fd);
	return -1;
}

static void
test_addresses(void **state)
{
	static const struct {
		const char *address;
		const char *others[2]; /* where it does not listen */
	} rows[] = { { "127.0.0.1", { "127.0.0.2", "::1" } },
		     { "::1", { "127.0.0.1", "127.0.0.2" } } };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *at = rows[i].address;
		bool six = strchr(at, ':') != NULL;
		unsigned port = free_port(six ? AF_INET6 : AF_INET);
		struct server *s;
		char *error = NULL, *answer;
		int fd;

		/* A machine without IPv6. */
		if (port == 0)
			continue;
		s = server_new();
		snprintf(s->spec, sizeof(s->spec), "inet:%u@%s", port, at);
		s->http = metrics_http_start(s->spec, 0, write_page, s, &error);
		if (s->http == NULL)
			fail_msg("%s", error);
		for (size_t j = 0; j < COUNT(rows[i].others); j++)
			assert_int_equal(try_connect(rows[i].others[j], port),
					 -1);
		fd = try_connect(at, port);
		assert_true(fd >= 0);
		client_send(fd, GET, sizeof(GET) - 1, sizeof(GET));
		answer = client_read(fd);
		expect_page(at, answer, 5);
		free(answer);
		assert_null(
		    metrics_http_start(s->spec, 0, write_page, s, &error));
		assert_non_null(strstr(error, "in use"));
		free(error);
		server_stop(s);
	}
}

static void
test_bad_specs(void **state)
{
	static const char *const specs[] = { "", "9418", "inet:9418",
					     "inet:9418@localhost",
					     "unix:/nowhere/at/all" };

	(void)state;
	for (size_t i = 0; i < COUNT(specs); i++) {
		char *error = NULL;

		assert_null(
		    metrics_http_start(specs[i], 0, write_page, NULL, &error));
		assert_non_null(error);
		free(error);
	}
}

/* From now on no more than `more` descriptors can be had. */
static void
descriptors_end(int more, struct rlimit *old_r)
{
	struct rlimit l;
	int next = dup(STDERR_FILENO);

	assert_true(next >= 0);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, old_r), 0);
	l = *old_r;
	l.rlim_cur = (rlim_t)(next + more);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
}

static void
test_no_descriptors_at_start(void **state)
{
	unsigned before = open_descriptors();
	struct rlimit limit;

	(void)state;
	for (int more = 0; more < 3; more++) {
		struct server *s = server_new();
		char *error = NULL;

		descriptors_end(more, &limit);
		assert_null(
		    metrics_http_start(s->spec, 0, write_page, s, &error));
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
		assert_non_null(error);
		free(error);
		server_stop(s);
	}
	assert_int_equal(open_descriptors(), before);
}

static double
cpu_seconds(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
expect_no_spin(void)
{
	static const struct timespec nap = { .tv_nsec = 300000000 };
	double cpu = cpu_seconds();

	nanosleep(&nap, NULL);
	assert_true(cpu_seconds() - cpu < 0.1);
}

/* Who cannot be accepted waits; nobody spins meanwhile. */
static void
test_no_descriptors_for_accept(void **state)
{
	struct server *s = server_start(0);
	struct rlimit limit;
	char *answer;
	int fd;

	(void)state;
	fd = client_open(s);
	free(ask(s, GET));
	close(fd);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	descriptors_end(0, &limit);
	{
		struct sockaddr_un a = { .sun_family = AF_UNIX };

		strcpy(a.sun_path, listener_path(s->spec));
		assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)),
				 0);
	}
	client_send(fd, GET, sizeof(GET) - 1, sizeof(GET));
	expect_no_spin();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	answer = client_read(fd);
	expect_page("later", answer, 5);
	free(answer);
	server_stop(s);
}

/* Neither do those who are idle, nor who wait for a place, make it spin. */
static void
test_no_spin(void **state)
{
	struct server *s = server_start(0);
	int fds[2 * METRICS_HTTP_CLIENTS];

	(void)state;
	expect_no_spin();
	for (size_t i = 0; i < COUNT(fds); i++) {
		fds[i] = client_open(s);
		if (i % 2)
			client_send(fds[i], GET, 10, 10);
	}
	expect_no_spin();
	for (size_t i = 0; i < COUNT(fds); i++)
		close(fds[i]);
	expect_alive(s, "after idle ones");
	server_stop(s);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_slow_clients),
		cmocka_unit_test(test_idle_crowd),
		cmocka_unit_test(test_busy_crowd),
		cmocka_unit_test(test_clients_that_leave),
		cmocka_unit_test(test_stop_with_clients),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_bad_specs),
		cmocka_unit_test(test_no_descriptors_at_start),
		cmocka_unit_test(test_no_descriptors_for_accept),
		cmocka_unit_test(test_no_spin),
	};

	log_open(1, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
