/* SPDX-License-Identifier: MIT */
/*
 * apistub: stands in for the provider's HTTP API in the benchmark.
 *
 *   apistub [-l file] delay_ms ...
 *
 * One listener on a free port of 127.0.0.1 for each delay given; prints one
 * line "port delay_ms" each once all of them listen. HTTP/1.1, keep-alive:
 *
 *   POST .../transactional/send  200, after the listener's delay
 *   GET .../userroutes           200, one route
 *   GET /stats                   200, the counters as JSON; flushes the log
 *   anything else                404
 *
 * -l writes one line for each send: port, body length, sequence number (the
 * first 12 digits in a row of the body's "subject"; "-" when there are none).
 * One thread, one epoll loop. Trusts its clients: for benchmarks only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LISTENERS_MAX 8
#define EVENTS 512
#define BUFFER_START 65536
#define REQUEST_MAX (64 * 1024 * 1024)
#define SEQ_LEN 12

struct listener;

struct conn {
	struct listener *listener;
	struct conn *next_due; /* in the listener's queue */
	uint64_t due;
	int fd;	      /* -1: closed while it waited for its answer */
	bool waiting; /* in the queue */
	char *in;
	size_t len, cap;
	size_t request_len; /* of the request at the start of `in` */
};

/* Every request of a listener waits equally long, so the queue is in order. */
struct listener {
	int fd;
	unsigned port;
	uint64_t delay_us;
	struct conn *first_due, *last_due;
};

struct stub {
	int epoll_fd;
	struct listener listeners[LISTENERS_MAX];
	size_t n_listeners;
	FILE *log;
	unsigned long sends, key_checks, others, connections, open;
	unsigned long long send_bytes;
};

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void
conn_free(struct conn *c)
{
	free(c->in);
	free(c);
}

static void
conn_close(struct stub *s, struct conn *c)
{
	close(c->fd);
	c->fd = -1;
	s->open--;
	if (!c->waiting)
		conn_free(c);
}

static void
watch(const struct stub *s, int fd, void *what)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = what };

	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll_ctl");
}

static void
accept_all(struct stub *s, struct listener *l)
{
	int fd, one = 1;

	while ((fd = accept4(l->fd, NULL, NULL,
			     SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct conn *c = calloc(1, sizeof(*c));

		if (c == NULL || (c->in = malloc(BUFFER_START)) == NULL)
			die("accept");
		c->cap = BUFFER_START;
		c->fd = fd;
		c->listener = l;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		watch(s, fd, c);
		s->connections++;
		s->open++;
	}
}

/* Answers are far smaller than a socket buffer: they fit. False: the client
 * is gone. */
static bool
answer(const struct conn *c, unsigned status, const char *body)
{
	char text[1024];
	int n = snprintf(text, sizeof(text),
			 "HTTP/1.1 %u %s\r\nContent-Type: application/json\r\n"
			 "Content-Length: %zu\r\n\r\n%s",
			 status, status == 200 ? "OK" : "Not Found",
			 strlen(body), body);

	if (n < 0 || (size_t)n >= sizeof(text))
		die("answer");
	return send(c->fd, text, (size_t)n, MSG_NOSIGNAL) == n;
}

static void
answer_later(struct conn *c)
{
	struct listener *l = c->listener;

	c->due = now_us() + l->delay_us;
	c->waiting = true;
	c->next_due = NULL;
	if (l->last_due != NULL)
		l->last_due->next_due = c;
	else
		l->first_due = c;
	l->last_due = c;
}

static bool
answer_send(const struct conn *c)
{
	return answer(c, 200,
		      "{\"tag\": \"order\", \"to\": \"user@rcpt.example\", "
		      "\"result\": \"ok\"}");
}

static bool
answer_stats(const struct stub *s, const struct conn *c)
{
	char body[256];

	if (s->log != NULL && fflush(s->log) != 0)
		die("log");
	snprintf(body, sizeof(body),
		 "{\"sends\": %lu, \"send_bytes\": %llu, \"key_checks\": %lu, "
		 "\"others\": %lu, \"connections\": %lu, \"open\": %lu}",
		 s->sends, s->send_bytes, s->key_checks, s->others,
		 s->connections, s->open);
	return answer(c, 200, body);
}

static const char *
find_seq(const char *body, size_t len)
{
	static const char member[] = "\"subject\"";
	const char *p = memmem(body, len, member, sizeof(member) - 1);
	const char *end = body + len;
	size_t digits = 0;

	if (p == NULL)
		return NULL;
	for (p += sizeof(member); p < end && *p != ','; p++) {
		digits = *p >= '0' && *p <= '9' ? digits + 1 : 0;
		if (digits == SEQ_LEN)
			return p + 1 - SEQ_LEN;
	}
	return NULL;
}

static void
note_send(struct stub *s, const struct conn *c, const char *body, size_t len)
{
	const char *seq;

	s->sends++;
	s->send_bytes += len;
	if (s->log == NULL)
		return;
	seq = find_seq(body, len);
	fprintf(s->log, "%u %zu %.*s\n", c->listener->port, len,
		seq != NULL ? SEQ_LEN : 1, seq != NULL ? seq : "-");
}

static bool
target_ends_with(const char *line, const char *what)
{
	const char *end = strchr(line, ' ');
	size_t len = strlen(what);

	return end != NULL && (size_t)(end - line) >= len &&
	       memcmp(end - len, what, len) == 0;
}

/* The whole request is there. False: close the connection. */
static bool
serve(struct stub *s, struct conn *c, size_t header_len)
{
	const char *body = c->in + header_len;
	bool get = strncmp(c->in, "GET ", 4) == 0;
	const char *target = c->in + (get ? 4 : 5);

	if (!get && target_ends_with(target, "/transactional/send")) {
		note_send(s, c, body, c->request_len - header_len);
		if (c->listener->delay_us == 0)
			return answer_send(c);
		answer_later(c);
		return true;
	}
	if (get && target_ends_with(target, "/userroutes")) {
		s->key_checks++;
		return answer(c, 200, "[{\"name\": \"Main\", \"id\": \"r1\"}]");
	}
	if (get && target_ends_with(target, "/stats"))
		return answer_stats(s, c);
	s->others++;
	return answer(c, 404, "{\"title\": \"no such thing\"}");
}

static size_t
content_length(const char *header)
{
	const char *p = strcasestr(header, "\r\nContent-Length:");

	return p == NULL
		   ? 0
		   : strtoul(p + sizeof("\r\nContent-Length:") - 1, NULL, 10);
}

/* Serves what is complete in the buffer. Each request is one after the other:
 * while one waits, what follows it stays in the buffer. */
static bool
serve_buffered(struct stub *s, struct conn *c)
{
	while (!c->waiting) {
		char *end = memmem(c->in, c->len, "\r\n\r\n", 4);
		size_t header_len;

		if (end == NULL)
			return true;
		header_len = (size_t)(end + 4 - c->in);
		*end = '\0';
		c->request_len = header_len + content_length(c->in);
		*end = '\r';
		if (c->request_len > REQUEST_MAX)
			return false;
		if (c->len < c->request_len)
			return true;
		if (!serve(s, c, header_len))
			return false;
		c->len -= c->request_len;
		memmove(c->in, c->in + c->request_len, c->len);
	}
	return true;
}

static void
on_readable(struct stub *s, struct conn *c)
{
	ssize_t n;

	if (c->len == c->cap) {
		c->cap *= 2;
		c->in = realloc(c->in, c->cap);
		if (c->cap > 2 * REQUEST_MAX || c->in == NULL)
			die("request");
	}
	n = recv(c->fd, c->in + c->len, c->cap - c->len, 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		conn_close(s, c);
		return;
	}
	c->len += (size_t)n;
	if (!serve_buffered(s, c))
		conn_close(s, c);
}

static void
answer_due(struct stub *s, struct listener *l, uint64_t now)
{
	while (l->first_due != NULL && l->first_due->due <= now) {
		struct conn *c = l->first_due;

		l->first_due = c->next_due;
		if (l->first_due == NULL)
			l->last_due = NULL;
		c->waiting = false;
		if (c->fd < 0)
			conn_free(c);
		else if (!answer_send(c) || !serve_buffered(s, c))
			conn_close(s, c);
	}
}

/* Listeners and connections share the epoll set; a listener's pointer lies in
 * the array. */
static struct listener *
as_listener(struct stub *s, const void *p)
{
	for (size_t i = 0; i < s->n_listeners; i++) {
		if (p == &s->listeners[i])
			return &s->listeners[i];
	}
	return NULL;
}

/* Until the next answer is due; NULL: for ever. To the microsecond, for half a
 * millisecond is 1 % of a 50 ms delay. */
static const struct timespec *
time_to_wait(const struct stub *s, struct timespec *t)
{
	uint64_t due = UINT64_MAX, now = now_us(), wait;

	for (size_t i = 0; i < s->n_listeners; i++) {
		const struct conn *c = s->listeners[i].first_due;

		if (c != NULL && c->due < due)
			due = c->due;
	}
	if (due == UINT64_MAX)
		return NULL;
	wait = due > now ? due - now : 0;
	t->tv_sec = (time_t)(wait / 1000000);
	t->tv_nsec = (long)(wait % 1000000) * 1000;
	return t;
}

static void
loop(struct stub *s)
{
	struct epoll_event events[EVENTS];
	struct timespec t;

	for (;;) {
		int n = epoll_pwait2(s->epoll_fd, events, EVENTS,
				     time_to_wait(s, &t), NULL);

		if (n < 0 && errno != EINTR)
			die("epoll_pwait2");
		for (int i = 0; i < n; i++) {
			struct listener *l = as_listener(s, events[i].data.ptr);

			if (l != NULL)
				accept_all(s, l);
			else
				on_readable(s, events[i].data.ptr);
		}
		for (size_t i = 0; i < s->n_listeners; i++)
			answer_due(s, &s->listeners[i], now_us());
	}
}

static void
listener_open(struct stub *s, const char *delay_ms)
{
	struct listener *l = &s->listeners[s->n_listeners++];
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct sockaddr *sa = (struct sockaddr *)&a;
	socklen_t len = sizeof(a);

	l->delay_us = strtoul(delay_ms, NULL, 10) * 1000;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0 || bind(l->fd, sa, len) < 0 || listen(l->fd, 4096) < 0 ||
	    getsockname(l->fd, sa, &len) < 0)
		die("listen");
	l->port = ntohs(a.sin_port);
	watch(s, l->fd, l);
}

static void
raise_file_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		die("getrlimit");
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) < 0)
		die("setrlimit");
}

int
main(int argc, char **argv)
{
	static struct stub s;
	int c;

	while ((c = getopt(argc, argv, "l:")) != -1) {
		if (c != 'l')
			return 64;
		s.log = fopen(optarg, "w");
		if (s.log == NULL)
			die(optarg);
	}
	if (optind == argc || argc - optind > LISTENERS_MAX) {
		fprintf(stderr, "usage: apistub [-l file] delay_ms ...\n");
		return 64;
	}
	raise_file_limit();
	s.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s.epoll_fd < 0)
		die("epoll_create1");
	for (int i = optind; i < argc; i++)
		listener_open(&s, argv[i]);
	for (size_t i = 0; i < s.n_listeners; i++)
		printf("%u %s\n", s.listeners[i].port, argv[optind + (int)i]);
	if (fflush(stdout) != 0)
		die("stdout");
	loop(&s);
}
