/* SPDX-License-Identifier: MIT */
/*
 * A connection is read only while it has nothing else to do: no message that
 * waits for its answer, no reply unsent. That bounds all it can take, whatever
 * the peer sends.
 */
#include "lmtp_agent.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "lmtp_protocol.h"
#include "log.h"
#include "mailbox.h"
#include "need.h"
#include "policy/dynbuf.h"
#include "policy/smtp_reply.h"

#define EVENTS_AT_ONCE 64
#define ACCEPTS_AT_ONCE 64
/* After accept() failed for want of something, unless a connection closes. */
#define ACCEPT_PAUSE_MS 1000
/* At a time from one connection. What is sent with a final dot and behind it
 * is kept. RCPT is 12 bytes or more, its reply at most 420: all that can be
 * said to so much fits into LMTP_OUT_MAX, with the answers to a message. */
#define READ_SIZE 16384
_Static_assert(READ_SIZE <= LMTP_KEPT_MAX, "what was read must be kept");
_Static_assert((READ_SIZE / 12 + LMTP_RECIPIENTS_MAX) * 430 < LMTP_OUT_MAX,
	       "replies must fit");
/* Who says hello; not the machine, that is Postfix. */
#define DEFAULT_HOST "txmilter"

/* Only the loop follows `connection`. */
struct lmtp_answer {
	struct mailbox_item item;	    /* first */
	struct lmtp_connection *connection; /* NULL: closed meanwhile */
	struct smtp_reply *replies;	    /* these: once answered */
	size_t n;
};

struct lmtp_connection {
	struct lmtp_agent *agent;
	int fd;
	uint32_t interest; /* what epoll was told */
	struct lmtp_protocol *protocol;
	void *mail; /* the handler's, from begin to end or drop */
	struct lmtp_answer *answer; /* awaited, or NULL */
	size_t sent;		    /* of the protocol's output */
	int64_t deadline;	    /* 0: not in `idle` */
	bool over;		    /* close it when all is sent */
	bool broken;		    /* close it as soon as its turn ends */
	bool busy;		    /* counted in agent->busy */
	LIST_ENTRY(lmtp_connection) all;
	TAILQ_ENTRY(lmtp_connection) idle;
};

/* All of it is the loop's, but for what is set before the thread starts. */
struct lmtp_agent {
	pthread_t thread;
	struct lmtp_agent_settings settings;
	struct mailbox *box;
	int epoll_fd;
	int listen_fd;
	int64_t accept_again; /* 0: accepting; else when to try again */
	bool full;	      /* the limit was reached, and logged */
	LIST_HEAD(, lmtp_connection) all;
	/* By deadline: the same time for each, so the order of what happened.
	 */
	TAILQ_HEAD(, lmtp_connection) idle;
	char in[READ_SIZE];
	/* Any thread's: */
	atomic_bool stopping; /* the loop shall end */
	atomic_bool draining; /* the loop shall begin no message */
	atomic_bool drained;  /* and does not any more */
	atomic_uint busy;     /* have a message under way, or replies unsent */
	atomic_uint connections; /* open */
};

/* --- answers -------------------------------------------------------------- */

static struct lmtp_answer *
answer_new(struct lmtp_connection *c)
{
	struct lmtp_answer *a = need(calloc(1, sizeof(*a)));

	a->connection = c;
	mailbox_expect(c->agent->box, &a->item);
	return a;
}

static void
answer_free(struct lmtp_answer *a)
{
	free(a->replies);
	free(a);
}

static void
answer_drop(struct mailbox_item *item)
{
	answer_free((struct lmtp_answer *)item);
}

void
lmtp_answer(struct lmtp_answer **ap, const struct smtp_reply *replies, size_t n)
{
	struct lmtp_answer *a = *ap;

	*ap = NULL;
	a->replies = need(reallocarray(NULL, n, sizeof(*replies)));
	memcpy(a->replies, replies, n * sizeof(*replies));
	a->n = n;
	mailbox_put(&a->item);
}

/* --- what the protocol says ----------------------------------------------- */

static void
on_mail(void *arg, const char *sender)
{
	struct lmtp_connection *c = arg;
	const struct lmtp_agent_settings *s = &c->agent->settings;

	c->mail = s->handler->begin(s->arg, sender);
}

static void
on_recipient(void *arg, const char *address, const char *typed,
	     struct smtp_reply *reply)
{
	struct lmtp_connection *c = arg;

	c->agent->settings.handler->recipient(c->mail, address, typed, reply);
}

static void
on_data(void *arg, const char *data, size_t len)
{
	struct lmtp_connection *c = arg;

	c->agent->settings.handler->data(c->mail, data, len);
}

static void
on_end(void *arg)
{
	struct lmtp_connection *c = arg;
	void *mail = c->mail;

	c->mail = NULL;
	c->answer = answer_new(c);
	c->agent->settings.handler->end(mail, c->answer);
}

static void
on_reset(void *arg)
{
	struct lmtp_connection *c = arg;
	void *mail = c->mail;

	c->mail = NULL;
	c->agent->settings.handler->drop(mail);
}

static const struct lmtp_events protocol_events = {
	.mail = on_mail,
	.recipient = on_recipient,
	.data = on_data,
	.end = on_end,
	.reset = on_reset,
};

/* --- one connection ------------------------------------------------------- */

static void
accept_resume(struct lmtp_agent *a)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = a };

	if (a->accept_again == 0)
		return;
	a->accept_again = 0;
	if (epoll_ctl(a->epoll_fd, EPOLL_CTL_MOD, a->listen_fd, &ev) != 0)
		abort();
}

/* Without a pause the waiting connection would keep the loop spinning. */
static void
accept_pause(struct lmtp_agent *a)
{
	struct epoll_event ev = { .events = 0, .data.ptr = a };

	a->accept_again = clock_ms() + ACCEPT_PAUSE_MS;
	if (epoll_ctl(a->epoll_fd, EPOLL_CTL_MOD, a->listen_fd, &ev) != 0)
		abort();
}

static void
deadline_end(struct lmtp_connection *c)
{
	if (c->deadline == 0)
		return;
	TAILQ_REMOVE(&c->agent->idle, c, idle);
	c->deadline = 0;
}

/* The peer has idle_ms from now. */
static void
deadline_start(struct lmtp_connection *c)
{
	deadline_end(c);
	c->deadline = clock_ms() + c->agent->settings.idle_ms;
	TAILQ_INSERT_TAIL(&c->agent->idle, c, idle);
}

static void
set_busy(struct lmtp_connection *c, bool busy)
{
	if (busy && !c->busy)
		atomic_fetch_add(&c->agent->busy, 1);
	if (!busy && c->busy)
		atomic_fetch_sub(&c->agent->busy, 1);
	c->busy = busy;
}

static void
connection_close(struct lmtp_connection *c)
{
	struct lmtp_agent *a = c->agent;

	if (c->answer != NULL)
		c->answer->connection = NULL;
	lmtp_protocol_free(&c->protocol);
	deadline_end(c);
	set_busy(c, false);
	LIST_REMOVE(c, all);
	close(c->fd);
	free(c);
	atomic_fetch_sub(&a->connections, 1);
	a->full = false;
	accept_resume(a);
}

static bool
has_unsent(const struct lmtp_connection *c)
{
	return lmtp_protocol_out(c->protocol)->len > 0;
}

static void
flush_out(struct lmtp_connection *c)
{
	struct dynbuf *out = lmtp_protocol_out(c->protocol);

	while (c->sent < out->len) {
		ssize_t n = send(c->fd, out->data + c->sent, out->len - c->sent,
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			c->broken = true;
			return;
		}
		c->sent += (size_t)n;
		deadline_start(c);
	}
	dynbuf_clear(out);
	c->sent = 0;
}

static uint32_t
events_wanted(const struct lmtp_connection *c)
{
	if (has_unsent(c))
		return EPOLLOUT;
	/* That it is gone is told in any case. */
	return lmtp_protocol_waits(c->protocol) ? 0 : EPOLLIN;
}

static bool
watch_connection(struct lmtp_connection *c)
{
	struct epoll_event ev = { .events = events_wanted(c), .data.ptr = c };

	if (ev.events == c->interest)
		return true;
	c->interest = ev.events;
	return epoll_ctl(c->agent->epoll_fd, EPOLL_CTL_MOD, c->fd, &ev) == 0;
}

/* The end of a connection's turn: closes it, or says what it waits for. A
 * message that waits for its answer is not the peer's being idle. */
static void
connection_settle(struct lmtp_connection *c)
{
	bool unsent = has_unsent(c);

	if (c->broken || (c->over && !unsent) || !watch_connection(c)) {
		if (c->answer != NULL)
			log_warning("lmtp", "connection lost, a message was "
					    "not answered yet");
		connection_close(c);
		return;
	}
	set_busy(c, unsent || lmtp_protocol_is_under_way(c->protocol));
	if (!unsent && lmtp_protocol_waits(c->protocol))
		deadline_end(c);
	else if (c->deadline == 0)
		deadline_start(c);
}

static void
read_in(struct lmtp_connection *c)
{
	char *in = c->agent->in;
	ssize_t n = recv(c->fd, in, READ_SIZE, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		c->broken = true;
		return;
	}
	deadline_start(c);
	c->over = !lmtp_protocol_feed(c->protocol, in, (size_t)n);
	flush_out(c);
}

static void
connection_event(struct lmtp_connection *c, uint32_t events)
{
	if (events & EPOLLIN)
		read_in(c);
	else if (events & EPOLLOUT)
		flush_out(c);
	else
		c->broken = true;
	connection_settle(c);
}

/* --- answers and orders --------------------------------------------------- */

static void
take_answer(struct lmtp_answer *answer)
{
	struct lmtp_connection *c = answer->connection;

	if (c != NULL) {
		c->answer = NULL;
		c->over = !lmtp_protocol_answer(c->protocol, answer->replies,
						answer->n);
		flush_out(c);
		connection_settle(c);
	}
	answer_free(answer);
}

static void
take_answers(struct lmtp_agent *a)
{
	struct mailbox_list list = STAILQ_HEAD_INITIALIZER(list);
	struct mailbox_item *item;

	mailbox_take(a->box, &list);
	while ((item = STAILQ_FIRST(&list)) != NULL) {
		STAILQ_REMOVE_HEAD(&list, next);
		take_answer((struct lmtp_answer *)item);
	}
}

/* Who connects from now on waits in the socket for who listens next. */
static void
begin_drain(struct lmtp_agent *a)
{
	struct lmtp_connection *c = LIST_FIRST(&a->all);

	a->accept_again = 0;
	if (epoll_ctl(a->epoll_fd, EPOLL_CTL_DEL, a->listen_fd, NULL) != 0)
		abort();
	while (c != NULL) {
		struct lmtp_connection *next = LIST_NEXT(c, all);

		if (!lmtp_protocol_drain(c->protocol))
			c->over = true;
		flush_out(c);
		connection_settle(c);
		c = next;
	}
	atomic_store(&a->drained, true);
}

/* False when the loop shall end. */
static bool
take_orders(struct lmtp_agent *a)
{
	if (atomic_load(&a->stopping))
		return false;
	if (atomic_load(&a->draining) && !atomic_load(&a->drained))
		begin_drain(a);
	return true;
}

/* --- connections ---------------------------------------------------------- */

/* Takes fd. */
static void
connection_open(struct lmtp_agent *a, int fd)
{
	const struct lmtp_settings settings = {
		.host = a->settings.host,
		.size_max = a->settings.size_max,
	};
	struct lmtp_connection *c = need(calloc(1, sizeof(*c)));
	struct epoll_event ev = { .events = 0, .data.ptr = c };

	c->agent = a;
	c->fd = fd;
	c->protocol = lmtp_protocol_new(&settings, &protocol_events, c);
	LIST_INSERT_HEAD(&a->all, c, all);
	atomic_fetch_add(&a->connections, 1);
	if (epoll_ctl(a->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
		log_error("lmtp", "cannot watch a connection: %m");
		connection_close(c);
		return;
	}
	flush_out(c);
	connection_settle(c);
}

/* What it is told is nothing to wait for. */
static void
refuse_connection(struct lmtp_agent *a, int fd)
{
	static const char reply[] = "421 4.3.2 Too many connections\r\n";

	(void)send(fd, reply, sizeof(reply) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
	if (!a->full)
		log_warning("lmtp", "%u connections, no more are taken",
			    atomic_load(&a->connections));
	a->full = true;
}

static void
accept_connections(struct lmtp_agent *a)
{
	for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
		int fd = accept4(a->listen_fd, NULL, NULL,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && (errno == ECONNABORTED || errno == EINTR))
			continue;
		if (fd < 0 && errno == EAGAIN)
			return;
		if (fd < 0) {
			log_error("lmtp", "cannot accept a connection: %m");
			accept_pause(a);
			return;
		}
		if (atomic_load(&a->connections) >= a->settings.connections)
			refuse_connection(a, fd);
		else
			connection_open(a, fd);
	}
}

static void
close_idle(struct lmtp_agent *a)
{
	struct lmtp_connection *c;
	int64_t now = clock_ms();

	while ((c = TAILQ_FIRST(&a->idle)) != NULL && c->deadline <= now) {
		if (has_unsent(c))
			log_warning("lmtp", "connection closed, "
					    "replies are not read");
		else if (c->busy)
			log_warning("lmtp", "connection closed, "
					    "idle within a message");
		else
			log_debug("lmtp", "connection closed, idle");
		connection_close(c);
	}
	if (a->accept_again != 0 && a->accept_again <= now)
		accept_resume(a);
}

/* --- the loop ------------------------------------------------------------- */

/* Milliseconds until close_idle() has something to do; -1: for ever. */
static int
time_to_wait(const struct lmtp_agent *a)
{
	const struct lmtp_connection *c = TAILQ_FIRST(&a->idle);
	int64_t next = a->accept_again;

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
wait_for_events(struct lmtp_agent *a)
{
	struct epoll_event ev[EVENTS_AT_ONCE];
	int n = epoll_wait(a->epoll_fd, ev, EVENTS_AT_ONCE, time_to_wait(a));

	if (n < 0 && errno != EINTR)
		abort();
	for (int i = 0; i < n; i++) {
		if (ev[i].data.ptr == a)
			accept_connections(a);
		else if (ev[i].data.ptr == a->box)
			mailbox_drain_fd(a->box);
		else
			connection_event(ev[i].data.ptr, ev[i].events);
	}
}

/* No answer points to a connection any more: the mailbox may be closed. */
static void
loop_end(struct lmtp_agent *a)
{
	struct lmtp_connection *c;

	while ((c = LIST_FIRST(&a->all)) != NULL)
		connection_close(c);
}

/* Answers come before the order to stop: what was answered is said. */
static void *
loop(void *arg)
{
	struct lmtp_agent *a = arg;

	for (;;) {
		take_answers(a);
		if (!take_orders(a))
			break;
		close_idle(a);
		wait_for_events(a);
	}
	loop_end(a);
	return NULL;
}

/* --- start and stop ------------------------------------------------------- */

/* Frees what lmtp_agent_start() got; the thread does not run. */
static void
agent_free(struct lmtp_agent *a)
{
	mailbox_close(&a->box);
	if (a->epoll_fd >= 0)
		close(a->epoll_fd);
	close(a->listen_fd);
	free(a);
}

static bool
watch(struct lmtp_agent *a, int fd, void *ptr)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = ptr };

	return epoll_ctl(a->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0;
}

/* Signals are main's alone: the thread begins with all of them blocked. */
static bool
start_thread(struct lmtp_agent *a)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	if (pthread_sigmask(SIG_SETMASK, &all, &old) != 0)
		abort();
	error = pthread_create(&a->thread, NULL, loop, a);
	if (pthread_sigmask(SIG_SETMASK, &old, NULL) != 0)
		abort();
	if (error != 0)
		return false;
	/* Only a name in ps(1). */
	(void)pthread_setname_np(a->thread, "lmtp");
	return true;
}

static void
take_settings(struct lmtp_agent *a, const struct lmtp_agent_settings *settings)
{
	a->settings = *settings;
	if (a->settings.host == NULL)
		a->settings.host = DEFAULT_HOST;
	if (a->settings.idle_ms == 0)
		a->settings.idle_ms = LMTP_IDLE_MS;
	if (a->settings.connections == 0)
		a->settings.connections = LMTP_CONNECTIONS_MAX;
}

struct lmtp_agent *
lmtp_agent_start(int listen_fd, const struct lmtp_agent_settings *settings,
		 const char **error_r)
{
	struct lmtp_agent *a = need(calloc(1, sizeof(*a)));

	take_settings(a, settings);
	a->listen_fd = listen_fd;
	LIST_INIT(&a->all);
	TAILQ_INIT(&a->idle);
	a->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	a->box = mailbox_new(answer_drop);
	if (a->epoll_fd < 0 || a->box == NULL)
		*error_r = "no descriptors left";
	else if (!watch(a, a->listen_fd, a) ||
		 !watch(a, mailbox_fd(a->box), a->box))
		*error_r = "cannot watch the socket";
	else if (!start_thread(a))
		*error_r = "cannot start a thread";
	else
		return a;
	agent_free(a);
	return NULL;
}

/* Once the loop has taken the order, what is busy can only become less. */
bool
lmtp_agent_drain(struct lmtp_agent *a)
{
	if (!atomic_exchange(&a->draining, true))
		mailbox_wake(a->box);
	return atomic_load(&a->drained) && atomic_load(&a->busy) == 0;
}

unsigned
lmtp_agent_connections(struct lmtp_agent *a)
{
	return atomic_load(&a->connections);
}

void
lmtp_agent_stop(struct lmtp_agent **ap)
{
	struct lmtp_agent *a = *ap;

	if (a == NULL)
		return;
	*ap = NULL;
	atomic_store(&a->stopping, true);
	mailbox_wake(a->box);
	if (pthread_join(a->thread, NULL) != 0)
		abort();
	agent_free(a);
}
