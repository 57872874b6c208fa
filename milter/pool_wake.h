/* SPDX-License-Identifier: MIT */
/*
 * pool_wake: keeps libmilter's worker pool from sleeping over ready sessions.
 *
 * libmilter as Debian builds it (8.17.1, _FFR_WORKERS_POOL, worker.c) hands
 * all sessions that become readable in one poll() to the workers idle just
 * then, without counting them down: when several are ready and one worker is
 * idle, it takes one and the others lie until a running callback returns. A
 * callback that waits for an HTTP answer makes other sessions wait with it.
 *
 * The cure uses nothing but the milter protocol: a connection of our own to
 * our own socket. A callback about to wait sends one ABORT on it, which needs
 * no answer. The pool then sees a ready session while no worker is idle, makes
 * a thread for it, and that thread finds the session that lies. If its callback
 * waits too, it sends the next. Where libmilter has a thread for each session
 * this costs a few bytes and does nothing.
 *
 * Thread-safe.
 */
#ifndef TXM_MILTER_POOL_WAKE_H
#define TXM_MILTER_POOL_WAKE_H

/* How long a callback waits before it sends. A wake costs a thread, so while
 * answers usually come at once, being late is a busy machine's and waking
 * would make it worse. */
#define POOL_WAKE_FAST_MS 10 /* usual answers are faster than this ... */
#define POOL_WAKE_SLOW_MS 1  /* ... or not */

struct pool_wake;

/* spec: the milter socket (listener.h). Connects when first told to. */
struct pool_wake *pool_wake_new(const char *spec);
void pool_wake_free(struct pool_wake **w);

/* Connects if there is no connection: at start, and now and then. Never
 * waits. */
void pool_wake_connect(struct pool_wake *w);

/* How long to wait now, and what a wait really took. */
unsigned pool_wake_patience(const struct pool_wake *w);
void pool_wake_waited(struct pool_wake *w, unsigned ms);

/* A callback is about to wait. Never waits itself; does nothing while there is
 * no connection. */
void pool_wake_send(struct pool_wake *w);

#endif
