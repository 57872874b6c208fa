/* SPDX-License-Identifier: MIT */
/*
 * A connection is read only while it has nothing else to do: no check under
 * way, no reply unsent. That bounds all it can take, whatever the peer sends.
 */
#include "sasl.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "auth_throttle.h"
#include "clock.h"
#include "crypto.h"
#include "key_check.h"
#include "log.h"
#include "mailbox.h"
#include "metrics.h"
#include "need.h"
#include "sasl_protocol.h"

#define COOKIE_LEN 16
_Static_assert(IDENTITY_USER_MAX <= 255, "a reply must hold a user");
#define EVENTS_AT_ONCE 64
#define ACCEPTS_AT_ONCE 64
/* After accept() failed for want of something, unless a connection closes. */
#define ACCEPT_PAUSE_MS 1000

/* A key check. Only the loop follows `connection`. */
struct ask {
	struct mailbox_item item;      /* first */
	struct connection *connection; /* NULL: closed meanwhile */
	enum key_status status;	       /* these: once answered */
	enum key_reason reason;
	struct identity *id;
};

struct connection {
	struct sasl *sasl;
	int fd;
	uint32_t interest; /* what epoll was told */
	bool broken;	   /* close it as soon as its turn ends */
	struct sasl_request request;
	struct ask *ask;  /* under way, or NULL */
	int64_t deadline; /* 0: not in `waiting` */
	size_t in_start, in_end, out_start, out_end;
	char out[SASL_REPLY_MAX];
	char in[SASL_LINE_MAX + 1];
	LIST_ENTRY(connection) all;
	TAILQ_ENTRY(connection) waiting;
};

/* All of it is the loop's, but for `stopping` and what is set before the
 * thread starts. */
struct sasl {
	pthread_t thread;
	struct key_check *keys;
	struct sasl_limits limits;
	struct mailbox *box;
	atomic_bool stopping; /* the loop shall end */
	int epoll_fd;
	int listen_fd;
	int64_t accept_again; /* 0: accepting; else when to try again */
	bool full;	      /* the limit was reached, and logged */
	unsigned connections;
	unsigned long cuid;
	LIST_HEAD(, connection) all;
	/* By deadline: the same time for each, so the order of starting. */
	TAILQ_HEAD(connection_queue, connection) waiting;
};

/* --- key checks ----------------------------------------------------------- */

static void
ask_free(struct ask *ask)
{
	identity_free(&ask->id);
	free(ask);
}

static void
ask_drop(struct mailbox_item *item)
{
	ask_free((struct ask *)item);
}

/* A key_answer_fn: in any thread. */
static void
ask_answered(void *arg, enum key_status status, enum key_reason reason,
	     struct identity *id)
{
	struct ask *ask = arg;

	ask->status = status;
	ask->reason = reason;
	ask->id = id;
	mailbox_put(&ask->item);
}

static struct ask *
ask_new(struct connection *c)
{
	struct ask *ask = need(calloc(1, sizeof(*ask)));

	ask->connection = c;
	mailbox_expect(c->sasl->box, &ask->item);
	return ask;
}

/* --- one connection ------------------------------------------------------- */

static void
accept_resume(struct sasl *s)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = s };

	if (s->accept_again == 0)
		return;
	s->accept_again = 0;
	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, s->listen_fd, &ev) != 0)
		abort();
}

/* Without a pause the waiting connection would keep the loop spinning. */
static void
accept_pause(struct sasl *s)
{
	struct epoll_event ev = { .events = 0, .data.ptr = s };

	s->accept_again = clock_ms() + ACCEPT_PAUSE_MS;
	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, s->listen_fd, &ev) != 0)
		abort();
}

/* The peer or the control plane has answer_ms from now. */
static void
deadline_start(struct connection *c)
{
	struct sasl *s = c->sasl;

	if (c->deadline != 0)
		TAILQ_REMOVE(&s->waiting, c, waiting);
	c->deadline = clock_ms() + s->limits.answer_ms;
	TAILQ_INSERT_TAIL(&s->waiting, c, waiting);
}

static void
deadline_end(struct connection *c)
{
	if (c->deadline == 0)
		return;
	TAILQ_REMOVE(&c->sasl->waiting, c, waiting);
	c->deadline = 0;
}

static void
connection_close(struct connection *c)
{
	struct sasl *s = c->sasl;

	if (c->ask != NULL)
		c->ask->connection = NULL;
	deadline_end(c);
	LIST_REMOVE(c, all);
	close(c->fd);
	explicit_bzero(c, sizeof(*c));
	free(c);
	s->connections--;
	s->full = false;
	accept_resume(s);
}

static bool
is_busy(const struct connection *c)
{
	return c->ask != NULL || c->out_start < c->out_end;
}

/* The end of a connection's turn: closes it, or says what it waits for. */
static void
connection_settle(struct connection *c)
{
	struct epoll_event ev = { .events = EPOLLRDHUP, .data.ptr = c };

	if (!is_busy(c))
		ev.events |= EPOLLIN;
	else if (c->out_start < c->out_end)
		ev.events |= EPOLLOUT;
	if (!c->broken && ev.events != c->interest) {
		c->interest = ev.events;
		if (epoll_ctl(c->sasl->epoll_fd, EPOLL_CTL_MOD, c->fd, &ev) !=
		    0)
			c->broken = true;
	}
	if (c->broken)
		connection_close(c);
	else if (!is_busy(c))
		deadline_end(c);
	else if (c->deadline == 0)
		deadline_start(c);
}

static void
flush_out(struct connection *c)
{
	ssize_t n;

	while (c->out_start < c->out_end) {
		n = send(c->fd, c->out + c->out_start,
			 c->out_end - c->out_start, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			c->broken = true;
			return;
		}
		c->out_start += (size_t)n;
	}
}

/* Sends what sasl_reply_*() put into c->out; len is its result. */
static void
send_reply(struct connection *c, int len)
{
	if (len < 0) {
		log_error("sasl", "a reply cannot be written");
		c->broken = true;
		return;
	}
	c->out_start = 0;
	c->out_end = (size_t)len;
	flush_out(c);
}

/* What each log line about a login says. */
#define WHO_FORMAT "client=%s mech=%s tls=%s"
#define WHO(r) (r)->client, (r)->mech, (r)->tls ? "yes" : "no"

static void
count_failure(const struct connection *c, enum metrics_auth why)
{
	if (c->sasl->limits.metrics != NULL)
		metrics_auth_failed(c->sasl->limits.metrics, why);
}

static void
start_check(struct connection *c)
{
	struct sasl_request *r = &c->request;

	c->ask = ask_new(c);
	deadline_start(c);
	key_check_ask(c->sasl->keys, r->secret, r->secret_len, r->client,
		      ask_answered, c->ask);
	explicit_bzero(r->secret, sizeof(r->secret));
	r->secret_len = 0;
}

static void
fail(struct connection *c, const char *reason)
{
	send_reply(
	    c, sasl_reply_fail(c->out, sizeof(c->out), c->request.id, reason));
	sasl_request_clear(&c->request);
}

static void
check_unless_throttled(struct connection *c)
{
	const struct sasl_limits *l = &c->sasl->limits;
	unsigned wait = auth_throttle_wait(l->failures, c->request.client,
					   l->auth_failures);

	if (wait == 0) {
		start_check(c);
		return;
	}
	log_info("sasl", "auth result=throttled " WHO_FORMAT " wait=%u",
		 WHO(&c->request), wait);
	count_failure(c, METRICS_AUTH_THROTTLED);
	c->broken = true;
}

static void
take_line(struct connection *c, const char *line, size_t len)
{
	struct sasl_request *r = &c->request;

	switch (sasl_line(r, line, len)) {
	case SASL_IGNORE:
		break;
	case SASL_ASK:
		send_reply(c, sasl_reply_continue(c->out, sizeof(c->out), r));
		break;
	case SASL_CHECK:
		check_unless_throttled(c);
		break;
	case SASL_REFUSE:
		log_info("sasl",
			 "auth result=refused " WHO_FORMAT " reason=\"%s\"",
			 WHO(r), r->reason);
		count_failure(c, METRICS_AUTH_MALFORMED);
		fail(c, r->reason);
		break;
	case SASL_HANGUP:
		log_warning("sasl", "protocol error, connection closed");
		count_failure(c, METRICS_AUTH_MALFORMED);
		c->broken = true;
		break;
	}
}

/* What is left of the input goes to the front; its old place is wiped. */
static void
compact_in(struct connection *c)
{
	size_t left = c->in_end - c->in_start;

	if (c->in_start == 0)
		return;
	memmove(c->in, c->in + c->in_start, left);
	explicit_bzero(c->in + left, c->in_end - left);
	c->in_start = 0;
	c->in_end = left;
}

/* Takes the lines that have come, as long as each is done at once. */
static void
take_lines(struct connection *c)
{
	while (!c->broken && !is_busy(c)) {
		const char *line = c->in + c->in_start;
		size_t left = c->in_end - c->in_start;
		const char *end = memchr(line, '\n', left);

		if (end == NULL && left == sizeof(c->in)) {
			log_warning("sasl", "line too long, "
					    "connection closed");
			count_failure(c, METRICS_AUTH_MALFORMED);
			c->broken = true;
		}
		if (end == NULL)
			break;
		c->in_start += (size_t)(end - line) + 1;
		take_line(c, line, (size_t)(end - line));
	}
	compact_in(c);
}

static void
read_in(struct connection *c)
{
	ssize_t n;

	n = recv(c->fd, c->in + c->in_end, sizeof(c->in) - c->in_end, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		c->broken = true;
		return;
	}
	c->in_end += (size_t)n;
	take_lines(c);
}

static void
connection_event(struct connection *c, uint32_t events)
{
	if (!is_busy(c)) {
		read_in(c);
	} else if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		c->broken = true;
	} else {
		flush_out(c);
		if (!is_busy(c))
			deadline_end(c);
		take_lines(c);
	}
	connection_settle(c);
}

static void
answer_good(struct connection *c, const struct identity *id)
{
	char user[IDENTITY_USER_MAX + 1];
	const struct sasl_request *r = &c->request;

	identity_user(id, user);
	log_debug("sasl", "auth result=good " WHO_FORMAT " user=%s", WHO(r),
		  user);
	send_reply(c, sasl_reply_ok(c->out, sizeof(c->out), r->id, user));
	sasl_request_clear(&c->request);
}

/* Nothing of what was given as the key is logged: it may be somebody's
 * password. */
static void
answer(struct connection *c, const struct ask *ask)
{
	const struct sasl_limits *l = &c->sasl->limits;
	const struct sasl_request *r = &c->request;

	if (ask->status == KEY_GOOD && ask->id != NULL) {
		answer_good(c, ask->id);
	} else if (ask->status == KEY_WRONG) {
		log_info("sasl",
			 "auth result=wrong " WHO_FORMAT " reason=\"%s\"",
			 WHO(r), key_reason_text(ask->reason));
		count_failure(c, metrics_auth_of(ask->reason));
		auth_throttle_wrong(l->failures, r->client, l->auth_failures,
				    ask->reason);
		fail(c, key_reason_text(ask->reason));
	} else {
		log_warning("sasl",
			    "auth result=unknown " WHO_FORMAT
			    " reason=\"cannot tell now\"",
			    WHO(r));
		count_failure(c, METRICS_AUTH_UNKNOWN);
		c->broken = true;
	}
}

static void
take_answer(struct ask *ask)
{
	struct connection *c = ask->connection;

	if (c != NULL) {
		c->ask = NULL;
		deadline_end(c);
		answer(c, ask);
		take_lines(c);
		connection_settle(c);
	}
	ask_free(ask);
}

static void
take_answers(struct sasl *s)
{
	struct mailbox_list list = STAILQ_HEAD_INITIALIZER(list);
	struct mailbox_item *item;

	mailbox_take(s->box, &list);
	while ((item = STAILQ_FIRST(&list)) != NULL) {
		STAILQ_REMOVE_HEAD(&list, next);
		take_answer((struct ask *)item);
	}
}

static void
send_hello(struct connection *c)
{
	uint8_t cookie[COOKIE_LEN];
	char hex[COOKIE_LEN * 2 + 1];

	crypto_random(cookie, sizeof(cookie));
	crypto_hex(hex, cookie, sizeof(cookie));
	send_reply(c,
		   sasl_reply_hello(c->out, sizeof(c->out), (unsigned)getpid(),
				    ++c->sasl->cuid, hex));
}

/* Takes fd. */
static void
connection_open(struct sasl *s, int fd)
{
	struct connection *c = need(calloc(1, sizeof(*c)));
	struct epoll_event ev = { .events = EPOLLRDHUP, .data.ptr = c };

	c->sasl = s;
	c->fd = fd;
	c->interest = ev.events;
	LIST_INSERT_HEAD(&s->all, c, all);
	s->connections++;
	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
		log_error("sasl", "cannot watch a connection: %m");
		connection_close(c);
		return;
	}
	send_hello(c);
	connection_settle(c);
}

static void
refuse_connection(struct sasl *s, int fd)
{
	close(fd);
	if (!s->full)
		log_warning("sasl", "%u connections, no more are taken",
			    s->connections);
	s->full = true;
}

static void
accept_connections(struct sasl *s)
{
	for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
		int fd = accept4(s->listen_fd, NULL, NULL,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && (errno == ECONNABORTED || errno == EINTR))
			continue;
		if (fd < 0 && errno == EAGAIN)
			return;
		if (fd < 0) {
			log_error("sasl", "cannot accept a connection: %m");
			accept_pause(s);
			return;
		}
		if (s->connections >= s->limits.connections)
			refuse_connection(s, fd);
		else
			connection_open(s, fd);
	}
}

/* Closes what is over its time; Postfix then says 454. */
static void
close_late(struct sasl *s)
{
	struct connection *c;
	int64_t now = clock_ms();

	while ((c = TAILQ_FIRST(&s->waiting)) != NULL && c->deadline <= now) {
		if (c->ask != NULL) {
			log_warning("sasl",
				    "auth result=unknown " WHO_FORMAT
				    " reason=\"no answer in time\"",
				    WHO(&c->request));
			count_failure(c, METRICS_AUTH_UNKNOWN);
		}
		connection_close(c);
	}
	if (s->accept_again != 0 && s->accept_again <= now)
		accept_resume(s);
}

/* Milliseconds until close_late() has something to do; -1: for ever. */
static int
time_to_wait(const struct sasl *s)
{
	const struct connection *c = TAILQ_FIRST(&s->waiting);
	int64_t next = s->accept_again;

	if (c != NULL && (next == 0 || c->deadline < next))
		next = c->deadline;
	if (next == 0)
		return -1;
	next -= clock_ms();
	return next > 0 ? (int)next : 0;
}

/* A connection is closed only by its own event here: none of ev[] points to
 * one that another event closed. */
static void
wait_for_events(struct sasl *s)
{
	struct epoll_event ev[EVENTS_AT_ONCE];
	int n = epoll_wait(s->epoll_fd, ev, EVENTS_AT_ONCE, time_to_wait(s));

	if (n < 0 && errno != EINTR)
		abort();
	for (int i = 0; i < n; i++) {
		if (ev[i].data.ptr == s)
			accept_connections(s);
		else if (ev[i].data.ptr == s->box)
			mailbox_drain_fd(s->box);
		else
			connection_event(ev[i].data.ptr, ev[i].events);
	}
}

/* No ask points to a connection any more: the mailbox may be closed. */
static void
loop_end(struct sasl *s)
{
	struct connection *c;

	while ((c = LIST_FIRST(&s->all)) != NULL)
		connection_close(c);
}

static void *
loop(void *arg)
{
	struct sasl *s = arg;

	for (;;) {
		take_answers(s);
		if (atomic_load(&s->stopping))
			break;
		close_late(s);
		wait_for_events(s);
	}
	loop_end(s);
	return NULL;
}

/* Frees what sasl_start() got; the thread does not run. */
static void
sasl_free(struct sasl *s)
{
	mailbox_close(&s->box);
	if (s->epoll_fd >= 0)
		close(s->epoll_fd);
	close(s->listen_fd);
	free(s);
}

static bool
watch(struct sasl *s, int fd, void *ptr)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = ptr };

	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0;
}

/* Signals are main's alone: the thread begins with all of them blocked. */
static bool
start_thread(struct sasl *s)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	if (pthread_sigmask(SIG_SETMASK, &all, &old) != 0)
		abort();
	error = pthread_create(&s->thread, NULL, loop, s);
	if (pthread_sigmask(SIG_SETMASK, &old, NULL) != 0)
		abort();
	if (error != 0)
		return false;
	/* Only a name in ps(1). */
	(void)pthread_setname_np(s->thread, "sasl");
	return true;
}

struct sasl *
sasl_start(int listen_fd, struct key_check *keys,
	   const struct sasl_limits *limits, const char **error_r)
{
	struct sasl *s = need(calloc(1, sizeof(*s)));

	s->keys = keys;
	if (limits != NULL)
		s->limits = *limits;
	if (s->limits.answer_ms == 0)
		s->limits.answer_ms = SASL_ANSWER_MS;
	if (s->limits.connections == 0)
		s->limits.connections = SASL_CONNECTIONS_MAX;
	s->listen_fd = listen_fd;
	LIST_INIT(&s->all);
	TAILQ_INIT(&s->waiting);
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->box = mailbox_new(ask_drop);
	if (s->epoll_fd < 0 || s->box == NULL)
		*error_r = "no descriptors left";
	else if (!watch(s, s->listen_fd, s) ||
		 !watch(s, mailbox_fd(s->box), s->box))
		*error_r = "cannot watch the socket";
	else if (!start_thread(s))
		*error_r = "cannot start a thread";
	else
		return s;
	sasl_free(s);
	return NULL;
}

void
sasl_stop(struct sasl **sp)
{
	struct sasl *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	atomic_store(&s->stopping, true);
	mailbox_wake(s->box);
	if (pthread_join(s->thread, NULL) != 0)
		abort();
	sasl_free(s);
}
