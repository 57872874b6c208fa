/* SPDX-License-Identifier: MIT */
#include "loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "need.h"

#define EVENTS_AT_ONCE 64
#define ACCEPTS_AT_ONCE 64
/* After accept() failed for want of something, unless a connection closes. */
#define ACCEPT_PAUSE_MS 1000

/* All of it is the thread's, but for what is set before it starts. */
struct loop {
	pthread_t thread;
	struct loop_settings settings;
	const struct loop_service *service;
	struct mailbox *box;
	int epoll_fd;
	int listen_fd;
	int64_t accept_again; /* 0: accepting; else when to try again */
	bool full;	      /* the limit was reached, and logged */
	LIST_HEAD(, loop_connection) all;
	/* By deadline: the same time for each, so the order of starting. */
	TAILQ_HEAD(loop_connection_queue, loop_connection) timed;
	/* Any thread's: */
	atomic_bool stopping;
	atomic_bool draining; /* shall drain */
	atomic_bool drained;  /* and did */
	atomic_uint connections;
};

/* --- accepting ------------------------------------------------------------ */

static void
accept_resume(struct loop *l)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = l };

	if (l->accept_again == 0)
		return;
	l->accept_again = 0;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, l->listen_fd, &ev) != 0)
		abort();
}

/* Without a pause the waiting connection would keep the loop spinning. */
static void
accept_pause(struct loop *l)
{
	struct epoll_event ev = { .events = 0, .data.ptr = l };

	l->accept_again = clock_ms() + ACCEPT_PAUSE_MS;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, l->listen_fd, &ev) != 0)
		abort();
}

/* What it is told is nothing to wait for. */
static void
refuse(struct loop *l, int fd)
{
	const char *text = l->service->refusal;

	if (text != NULL)
		(void)send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
	if (!l->full)
		log_warning(l->service->name,
			    "%u connections, no more are taken",
			    atomic_load(&l->connections));
	l->full = true;
}

static void
accept_connections(struct loop *l)
{
	for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
		int fd = accept4(l->listen_fd, NULL, NULL,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && (errno == ECONNABORTED || errno == EINTR))
			continue;
		if (fd < 0 && errno == EAGAIN)
			return;
		if (fd < 0) {
			log_error(l->service->name,
				  "cannot accept a connection: %m");
			accept_pause(l);
			return;
		}
		if (atomic_load(&l->connections) >= l->settings.connections)
			refuse(l, fd);
		else
			l->service->open(l->settings.arg, l, fd);
	}
}

/* --- connections ---------------------------------------------------------- */

struct mailbox *
loop_mailbox(struct loop *l)
{
	return l->box;
}

bool
loop_add(struct loop *l, struct loop_connection *c, int fd)
{
	struct epoll_event ev = { .events = 0, .data.ptr = c };

	c->loop = l;
	c->fd = fd;
	c->watched = 0;
	c->deadline = 0;
	LIST_INSERT_HEAD(&l->all, c, all);
	atomic_fetch_add(&l->connections, 1);
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0)
		return true;
	log_error(l->service->name, "cannot watch a connection: %m");
	return false;
}

void
loop_remove(struct loop_connection *c)
{
	struct loop *l = c->loop;

	loop_end_deadline(c);
	LIST_REMOVE(c, all);
	close(c->fd);
	atomic_fetch_sub(&l->connections, 1);
	l->full = false;
	accept_resume(l);
}

bool
loop_watch(struct loop_connection *c, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };

	if (events == c->watched)
		return true;
	c->watched = events;
	return epoll_ctl(c->loop->epoll_fd, EPOLL_CTL_MOD, c->fd, &ev) == 0;
}

void
loop_end_deadline(struct loop_connection *c)
{
	if (c->deadline == 0)
		return;
	TAILQ_REMOVE(&c->loop->timed, c, timed);
	c->deadline = 0;
}

void
loop_start_deadline(struct loop_connection *c)
{
	loop_end_deadline(c);
	c->deadline = clock_ms() + c->loop->settings.timeout_ms;
	TAILQ_INSERT_TAIL(&c->loop->timed, c, timed);
}

/* --- the loop ------------------------------------------------------------- */

static void
take_items(struct loop *l)
{
	struct mailbox_list list = STAILQ_HEAD_INITIALIZER(list);
	struct mailbox_item *item;

	mailbox_take(l->box, &list);
	while ((item = STAILQ_FIRST(&list)) != NULL) {
		STAILQ_REMOVE_HEAD(&list, next);
		l->service->take(item);
	}
}

/* Who connects from now on waits in the socket for who listens next. */
static void
begin_drain(struct loop *l)
{
	struct loop_connection *c = LIST_FIRST(&l->all);

	l->accept_again = 0;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, l->listen_fd, NULL) != 0)
		abort();
	while (c != NULL) {
		struct loop_connection *next = LIST_NEXT(c, all);

		l->service->drain(c);
		c = next;
	}
	atomic_store(&l->drained, true);
}

/* False when the loop shall end. */
static bool
take_orders(struct loop *l)
{
	if (atomic_load(&l->stopping))
		return false;
	if (atomic_load(&l->draining) && !atomic_load(&l->drained))
		begin_drain(l);
	return true;
}

static void
close_late(struct loop *l)
{
	struct loop_connection *c;
	int64_t now = clock_ms();

	while ((c = TAILQ_FIRST(&l->timed)) != NULL && c->deadline <= now) {
		l->service->late(c);
		l->service->close(c);
	}
	if (l->accept_again != 0 && l->accept_again <= now)
		accept_resume(l);
}

/* Milliseconds until close_late() has something to do; -1: for ever. */
static int
time_to_wait(const struct loop *l)
{
	const struct loop_connection *c = TAILQ_FIRST(&l->timed);
	int64_t next = l->accept_again;

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
wait_for_events(struct loop *l)
{
	struct epoll_event ev[EVENTS_AT_ONCE];
	int n = epoll_wait(l->epoll_fd, ev, EVENTS_AT_ONCE, time_to_wait(l));

	if (n < 0 && errno != EINTR)
		abort();
	for (int i = 0; i < n; i++) {
		if (ev[i].data.ptr == l)
			accept_connections(l);
		else if (ev[i].data.ptr == l->box)
			mailbox_drain_fd(l->box);
		else
			l->service->event(ev[i].data.ptr, ev[i].events);
	}
}

/* Items come before the order to stop: what was answered is said. */
static void *
run(void *arg)
{
	struct loop *l = arg;
	struct loop_connection *c;

	for (;;) {
		take_items(l);
		if (!take_orders(l))
			break;
		close_late(l);
		wait_for_events(l);
	}
	while ((c = LIST_FIRST(&l->all)) != NULL)
		l->service->close(c);
	return NULL;
}

/* --- start and stop ------------------------------------------------------- */

/* The thread does not run. No item points to a connection any more. */
static void
loop_free(struct loop *l)
{
	mailbox_close(&l->box);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	close(l->listen_fd);
	free(l);
}

static bool
watch(struct loop *l, int fd, void *ptr)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = ptr };

	return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0;
}

/* Signals are main's alone: the thread begins with all of them blocked. */
static bool
start_thread(struct loop *l)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	if (pthread_sigmask(SIG_SETMASK, &all, &old) != 0)
		abort();
	error = pthread_create(&l->thread, NULL, run, l);
	if (pthread_sigmask(SIG_SETMASK, &old, NULL) != 0)
		abort();
	if (error != 0)
		return false;
	/* Only a name in ps(1). */
	(void)pthread_setname_np(l->thread, l->service->name);
	return true;
}

struct loop *
loop_start(int listen_fd, const struct loop_settings *settings,
	   const char **error_r)
{
	struct loop *l = need(calloc(1, sizeof(*l)));

	l->settings = *settings;
	l->service = settings->service;
	l->listen_fd = listen_fd;
	LIST_INIT(&l->all);
	TAILQ_INIT(&l->timed);
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->box = mailbox_new(l->service->drop);
	if (l->epoll_fd < 0 || l->box == NULL)
		*error_r = "no descriptors left";
	else if (!watch(l, l->listen_fd, l) ||
		 !watch(l, mailbox_fd(l->box), l->box))
		*error_r = "cannot watch the socket";
	else if (!start_thread(l))
		*error_r = "cannot start a thread";
	else
		return l;
	loop_free(l);
	return NULL;
}

bool
loop_drain(struct loop *l)
{
	if (!atomic_exchange(&l->draining, true))
		mailbox_wake(l->box);
	return atomic_load(&l->drained);
}

unsigned
loop_connections(struct loop *l)
{
	return atomic_load(&l->connections);
}

void
loop_stop(struct loop **lp)
{
	struct loop *l = *lp;

	if (l == NULL)
		return;
	*lp = NULL;
	atomic_store(&l->stopping, true);
	mailbox_wake(l->box);
	if (pthread_join(l->thread, NULL) != 0)
		abort();
	loop_free(l);
}
