/* SPDX-License-Identifier: MIT */
/*
 * loop: one thread with an epoll loop that serves the connections of a
 * listening socket; what sasl and lmtp_agent do alike.
 *
 * A service says what happens on a connection; it never waits. What others do
 * for it meanwhile comes back by the loop's mailbox. The loop accepts, pauses
 * when there are no descriptors, refuses (and logs, once until there is room)
 * who is one too many, and closes who is over its time.
 */
#ifndef TXM_MILTER_LOOP_H
#define TXM_MILTER_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "mailbox.h"

struct loop;

/* First member of a service's connection. */
struct loop_connection {
	struct loop *loop;
	int fd;
	uint32_t watched; /* what epoll was told */
	int64_t deadline; /* 0: none */
	LIST_ENTRY(loop_connection) all;
	TAILQ_ENTRY(loop_connection) timed;
};

/* The loop's thread calls all of them but drop. Connections and what comes out
 * of the mailbox begin with their `struct` of the loop, as which the loop knows
 * them. None may close another connection than the one it is called for. */
struct loop_service {
	const char *name;    /* of the thread, and in log lines */
	const char *refusal; /* said to one too many; NULL: nothing */
	/* Takes fd, which is non-blocking: loop_add(). */
	void (*open)(void *arg, struct loop *loop, int fd);
	void (*event)(void *connection, uint32_t events);
	/* It is over its time: may say so; close() comes next. */
	void (*late)(void *connection);
	/* Frees it: loop_remove(). No item that is under way may point to it
	 * any more. */
	void (*close)(void *connection);
	/* See loop_drain(). */
	void (*drain)(void *connection);
	/* Frees it. */
	void (*take)(void *finished);
	mailbox_drop_fn *drop;
};

struct loop_settings {
	const struct loop_service *service;
	void *arg;
	unsigned timeout_ms;  /* what a deadline is away */
	unsigned connections; /* at most */
};

/* Takes a listening, non-blocking socket (owned from now on; closed at stop,
 * or when it cannot start). The service must outlive the loop. NULL and
 * *error_r (static) when it cannot start. */
struct loop *loop_start(int listen_fd, const struct loop_settings *settings,
			const char **error_r);

/* Closes every connection and joins the thread. What comes into the mailbox
 * later is dropped. */
void loop_stop(struct loop **l);

/* Any thread: no new connection is taken any more (it waits in the socket), and
 * each there is hears it, once, by drain(). True when that is done; else ask
 * again. */
bool loop_drain(struct loop *l);

/* Any thread: connections open now. */
unsigned loop_connections(struct loop *l);

/* --- for the service, in the loop's thread -------------------------------- */

/* Where its items are expected. */
struct mailbox *loop_mailbox(struct loop *l);

/* For open(): watched for nothing yet, without a deadline. False when it cannot
 * be watched, which is logged: remove it. */
bool loop_add(struct loop *l, struct loop_connection *c, int fd);

/* Closes the descriptor. */
void loop_remove(struct loop_connection *c);

/* Watched for these events of epoll's from now on. */
bool loop_watch(struct loop_connection *c, uint32_t events);

/* It has the time of the settings from now; it has all the time there is. */
void loop_start_deadline(struct loop_connection *c);
void loop_end_deadline(struct loop_connection *c);

#endif
