/* SPDX-License-Identifier: MIT */
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REPLY_MAX 4096 /* RFC 5321 4.5.3.1.5 wants 512 */
#define EVENTS 512
#define RETRY_US 50000	  /* after a connection that failed */
#define DRAIN_US 15000000 /* for what is under way at the end */
#define LOOK_MS 20	  /* how often time and idle clients are looked at */

enum state { IDLE, GREETING, EHLO, AUTH, MAIL, RCPT, DATA, BODY, QUIT };

struct client {
	int fd; /* -1 when idle */
	enum state state;
	unsigned messages; /* done on this connection */
	char seq[PAYLOAD_SEQ_LEN + 1];
	size_t body_sent;
	bool want_write;
	uint64_t connected_at, mail_at, asked_at;
	uint64_t not_before; /* idle: when to connect */
	size_t reply_len;
	char reply[REPLY_MAX];
};

static uint64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

/* Idle again; connects anew, after a pause if it was trouble that ended it. */
static void
client_close(struct load *l, struct client *c, uint64_t pause_us)
{
	if (c->fd >= 0) {
		close(c->fd);
		l->active--;
	}
	c->fd = -1;
	c->state = IDLE;
	c->reply_len = 0;
	c->not_before = pause_us == 0 ? 0 : now_us() + pause_us;
}

/* The first trouble is kept as text, cut if need be: it usually explains all
 * the others. */
static void
note_error(struct load *l, const char *what, const char *text, size_t len)
{
	char *p;

	if (l->first_error[0] != '\0')
		return;
	if (snprintf(l->first_error, sizeof(l->first_error), "%s: %.*s", what,
		     len > 100 ? 100 : (int)len, text) < 0)
		return;
	for (p = l->first_error; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ' || *p == '"' || *p == '\\')
			*p = ' ';
	}
}

static void
client_broken(struct load *l, struct client *c, const char *what)
{
	const char *why = strerror(errno);

	l->broken++;
	note_error(l, what, why, strlen(why));
	client_close(l, c, RETRY_US);
}

static void
want_write(struct load *l, struct client *c, bool on)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };

	if (c->want_write == on)
		return;
	c->want_write = on;
	if (on)
		e.events |= EPOLLOUT;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, c->fd, &e) < 0)
		die("epoll_ctl");
}

/* A command is short and nothing else is on its way: it always fits. */
static void
command(struct load *l, struct client *c, enum state state, const char *text)
{
	size_t len = strlen(text);

	c->state = state;
	c->asked_at = now_us();
	if (send(c->fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
		client_broken(l, c, "send");
}

static void
send_body(struct load *l, struct client *c)
{
	while (c->body_sent < l->payload.len) {
		struct iovec v[3];
		struct msghdr h = { .msg_iov = v };
		ssize_t n;

		h.msg_iovlen =
		    payload_pieces(&l->payload, c->seq, c->body_sent, v);
		n = sendmsg(c->fd, &h, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN) {
			want_write(l, c, true);
			return;
		}
		if (n < 0) {
			client_broken(l, c, "send message");
			return;
		}
		c->body_sent += (size_t)n;
	}
	want_write(l, c, false);
	c->asked_at = now_us();
}

static bool
may_start_message(const struct load *l)
{
	if (l->draining)
		return false;
	return l->total == 0 || l->started < l->total;
}

static bool
connection_used_up(const struct load *l, const struct client *c)
{
	return l->per_connection != 0 && c->messages == l->per_connection;
}

static void
next_message(struct load *l, struct client *c)
{
	if (!may_start_message(l) || connection_used_up(l, c)) {
		command(l, c, QUIT, "QUIT\r\n");
		return;
	}
	l->started++;
	snprintf(c->seq, sizeof(c->seq), "%012llu",
		 (unsigned long long)(l->next_seq++ % 1000000000000ull));
	c->body_sent = 0;
	c->mail_at = now_us();
	command(l, c, MAIL, "MAIL FROM:<app@sender.example>\r\n");
}

static bool
in_window(const struct load *l, uint64_t now)
{
	return now >= l->window_begin && now < l->window_end;
}

/* What follows a good reply, one function a step. */

static void
after_greeting(struct load *l, struct client *c, uint64_t now)
{
	(void)now;
	command(l, c, EHLO, "EHLO load.example\r\n");
}

static void
after_ehlo(struct load *l, struct client *c, uint64_t now)
{
	(void)now;
	if (l->auth_line != NULL)
		command(l, c, AUTH, l->auth_line);
	else
		next_message(l, c);
}

static void
after_auth(struct load *l, struct client *c, uint64_t now)
{
	(void)now;
	next_message(l, c);
}

static void
after_mail(struct load *l, struct client *c, uint64_t now)
{
	if (in_window(l, now))
		latency_add(&l->mail, now - c->asked_at);
	command(l, c, RCPT, "RCPT TO:<user@rcpt.example>\r\n");
}

static void
after_rcpt(struct load *l, struct client *c, uint64_t now)
{
	if (in_window(l, now))
		latency_add(&l->rcpt, now - c->asked_at);
	command(l, c, DATA, "DATA\r\n");
}

static void
after_data(struct load *l, struct client *c, uint64_t now)
{
	(void)now;
	c->state = BODY;
	send_body(l, c);
}

static void
after_body(struct load *l, struct client *c, uint64_t now)
{
	l->accepted++;
	if (l->accepted_file != NULL)
		fprintf(l->accepted_file, "%s\n", c->seq);
	if (in_window(l, now)) {
		l->accepted_in_window++;
		latency_add(&l->all, now - c->mail_at);
		latency_add(&l->dot, now - c->asked_at);
		if (c->messages == 0)
			latency_add(&l->first, now - c->connected_at);
	}
	c->messages++;
	next_message(l, c);
}

static void
after_quit(struct load *l, struct client *c, uint64_t now)
{
	(void)now;
	client_close(l, c, 0);
}

static const struct step {
	const char *name;
	char want; /* first digit of the good reply */
	void (*then)(struct load *l, struct client *c, uint64_t now);
} steps[] = {
	[GREETING] = { "greeting", '2', after_greeting },
	[EHLO] = { "EHLO", '2', after_ehlo },
	[AUTH] = { "AUTH", '2', after_auth },
	[MAIL] = { "MAIL", '2', after_mail },
	[RCPT] = { "RCPT", '2', after_rcpt },
	[DATA] = { "DATA", '3', after_data },
	[BODY] = { "message", '2', after_body },
	[QUIT] = { "QUIT", '2', after_quit },
};

/* A refused message leaves the connection usable; after any other refusal it
 * is given up. */
static void
on_refusal(struct load *l, struct client *c, const char *line, size_t len)
{
	if (line[0] == '4')
		l->refused_4xx++;
	else
		l->refused_5xx++;
	note_error(l, steps[c->state].name, line, len);
	if (c->state != BODY) {
		client_close(l, c, RETRY_US);
		return;
	}
	c->messages++;
	next_message(l, c);
}

static void
on_reply(struct load *l, struct client *c, const char *line, size_t len)
{
	const struct step *step = &steps[c->state];

	if (line[0] == step->want)
		step->then(l, c, now_us());
	else
		on_refusal(l, c, line, len);
}

/* Takes the complete lines of the buffer. Of a reply of several only the last
 * counts, the one without '-' behind its code. */
static void
read_replies(struct load *l, struct client *c)
{
	char line[REPLY_MAX];
	const char *lf;

	while ((lf = memchr(c->reply, '\n', c->reply_len)) != NULL) {
		size_t len = (size_t)(lf + 1 - c->reply);

		memcpy(line, c->reply, len);
		c->reply_len -= len;
		memmove(c->reply, c->reply + len, c->reply_len);
		if (len > 4 && line[3] == '-')
			continue;
		on_reply(l, c, line, len);
		if (c->state == IDLE)
			return;
	}
}

static void
client_readable(struct load *l, struct client *c)
{
	ssize_t n = recv(c->fd, c->reply + c->reply_len,
			 sizeof(c->reply) - c->reply_len, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n == 0)
		errno = ECONNRESET;
	if (n <= 0) {
		client_broken(l, c, steps[c->state].name);
		return;
	}
	c->reply_len += (size_t)n;
	read_replies(l, c);
	if (c->state != IDLE && c->reply_len == sizeof(c->reply)) {
		errno = EMSGSIZE;
		client_broken(l, c, "reply");
	}
}

static void
client_connect(struct load *l, struct client *c)
{
	const struct sockaddr *to = (const struct sockaddr *)&l->address;
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	l->active++;
	l->sessions++;
	c->state = GREETING;
	c->messages = 0;
	c->want_write = false;
	c->connected_at = now_us();
	if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		die("TCP_NODELAY");
	if (connect(c->fd, to, sizeof(l->address)) < 0 &&
	    errno != EINPROGRESS) {
		client_broken(l, c, "connect");
		return;
	}
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, c->fd, &e) < 0)
		die("epoll_ctl");
}

static void
connect_idle(struct load *l, uint64_t now)
{
	if (l->active == l->connections)
		return;
	for (unsigned i = 0; i < l->connections; i++) {
		struct client *c = &l->clients[i];

		if (c->state == IDLE && c->not_before <= now &&
		    may_start_message(l))
			client_connect(l, c);
	}
}

static bool
all_answered(const struct load *l)
{
	return l->total != 0 &&
	       l->accepted + l->refused_4xx + l->refused_5xx >= l->total;
}

/* True when there is nothing left to wait for. */
static bool
is_over(struct load *l, uint64_t now)
{
	if (!l->draining && (now >= l->give_up || all_answered(l))) {
		l->draining = true;
		l->give_up = now + DRAIN_US;
		if (l->total != 0)
			l->window_end = now;
	}
	return l->draining && (l->active == 0 || now >= l->give_up);
}

static void
handle(struct load *l, const struct epoll_event *e)
{
	struct client *c = e->data.ptr;

	if (c->fd < 0)
		return;
	if ((e->events & EPOLLOUT) != 0 && c->state == BODY)
		send_body(l, c);
	if (c->fd >= 0 && (e->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		client_readable(l, c);
}

static void
loop(struct load *l)
{
	struct epoll_event events[EVENTS];

	for (;;) {
		uint64_t now = now_us();
		int n;

		if (is_over(l, now))
			return;
		connect_idle(l, now);
		n = epoll_wait(l->epoll_fd, events, EVENTS, LOOK_MS);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++)
			handle(l, &events[i]);
	}
}

void
load_run(struct load *l)
{
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->clients = calloc(l->connections, sizeof(*l->clients));
	if (l->epoll_fd < 0 || l->clients == NULL)
		die("load");
	for (unsigned i = 0; i < l->connections; i++)
		l->clients[i].fd = -1;
	l->window_begin = now_us();
	if (l->total == 0)
		l->window_begin += (uint64_t)(l->warm_up * 1e6);
	l->window_end = l->window_begin + (uint64_t)(l->seconds * 1e6);
	l->give_up = l->window_end;
	loop(l);
	free(l->clients);
	close(l->epoll_fd);
}
