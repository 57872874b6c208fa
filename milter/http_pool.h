/* SPDX-License-Identifier: MIT */
/*
 * http_pool: all HTTP of the daemon, by one thread with a curl multi handle.
 *
 * Callers describe a call and either wait for it (http_pool_perform) or are
 * called back (http_pool_submit). Connections are kept alive and shared, and
 * speak HTTP/1.1. TLS is verified. No redirects. The only file that knows
 * libcurl.
 *
 * A request whose body began to be sent is never sent again by itself, not
 * even when a kept-alive connection turns out to be dead: whether to repeat
 * is decided by who knows if that is safe. (GET may be repeated by curl.)
 *
 * Every call ends by its own deadline. A call that has found no connection when
 * half of its time is over is not made: one that is cut because it began late
 * may have had effect. The queue is bounded: submit refuses when it is full.
 * Calls that nobody waits for have a queue of their own, and get a connection
 * when no other call wants it, and every HTTP_POOL_SHARE-th time before others.
 *
 * Thread-safe. `done` runs in the pool's thread and must not block.
 */
#ifndef TXM_MILTER_HTTP_POOL_H
#define TXM_MILTER_HTTP_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/dynbuf.h"

/* So that a backlog shrinks while clients keep coming. */
#define HTTP_POOL_SHARE 4

struct http_pool;

struct http_pool_settings {
	unsigned connections; /* open at once, over all hosts, and calls
				 under way; the others wait their turn */
	unsigned queue;	      /* calls under way or waiting, at most */
	unsigned background;  /* the same of calls that nobody waits for; 0:
				 there are none */
	unsigned connect_timeout_ms;
	const char *ca_file; /* NULL: the system's */
	const char *user_agent;
};

struct http_pool_state {
	unsigned calls;	      /* under way or waiting */
	unsigned long total;  /* ended since start */
	unsigned long failed; /* of these, without an answer */
	unsigned connections; /* open, those without a call too */
};

enum http_result {
	HTTP_ANSWERED,	 /* status and answer are set */
	HTTP_NO_ANSWER,	 /* refused, reset, cut short, TLS, DNS: see error */
	HTTP_TIMED_OUT,	 /* the deadline */
	HTTP_NO_ROOM,	 /* no connection was free in time: not tried */
	HTTP_TOO_LONG,	 /* the answer was over answer_max */
	HTTP_QUEUE_FULL, /* not tried */
	HTTP_STOPPED,	 /* the pool is stopping */
};

/* Two pieces that are sent one after the other. */
struct http_piece {
	const char *data;
	size_t len;
};

/* Of one call, Host, Content-Length and User-Agent not counted. */
#define HTTP_HEADERS_MAX 16

/* An answer's Retry-After that says more says this. A 429 without one may say
 * X-RateLimit-Reset, in seconds. */
#define HTTP_RETRY_AFTER_MAX 86400

/* All that `in` points to stays the caller's and must live, unchanged, until
 * the call is done. The call may be on the caller's stack. */
struct http_call {
	/* in */
	const char *url;
	bool post;
	const char *const *headers; /* "Name: value", NULL-terminated. With CR
				       or LF in one the call is not made */
	struct http_piece body[2];
	unsigned timeout_ms;
	/* Nobody waits for it: it may wait so long for a connection, and its
	 * timeout begins when it has one. 0: somebody waits. */
	unsigned wait_ms;
	size_t answer_max;
	void (*done)(struct http_call *call); /* submit only */
	void *arg;			      /* the caller's */

	/* out, valid when done; http_call_clear() frees */
	enum http_result result;
	unsigned status;
	unsigned retry_after; /* seconds; 0 when the answer says none */
	struct dynbuf answer;
	char error[160]; /* for people; never holds url, header or body */
	bool sent;	 /* all of the request left: it may have had effect */
	unsigned elapsed_ms;
	struct http_call *next; /* the pool's */
	uint64_t submitted_ms;	/* the pool's */
	uint64_t started_ms;	/* the pool's */
};

/* NULL and *error_r (static) when it cannot start. */
struct http_pool *http_pool_start(const struct http_pool_settings *settings,
				  const char **error_r);

/* 0: `done` will be called, exactly once. -1: the queue is full or the pool
 * is stopping; `done` will not be called. */
int http_pool_submit(struct http_pool *pool, struct http_call *call);

/* Submits and waits; call->result says it all. */
void http_pool_perform(struct http_pool *pool, struct http_call *call);

void http_call_clear(struct http_call *call);

void http_pool_state(struct http_pool *pool, struct http_pool_state *state_r);

/* Ends calls under way as HTTP_STOPPED and joins the thread. What is submitted
 * later is refused. Once. */
void http_pool_end(struct http_pool *pool);

/* Ends it, unless that is done, and frees. No call may be submitted any more.
 */
void http_pool_stop(struct http_pool **pool);

#endif
