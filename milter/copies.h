/* SPDX-License-Identifier: MIT */
/*
 * copies: a message of the queue, as a copy for each recipient, to Postfix.
 *
 * What the LMTP agent does for a transport route instead of calling an API: of
 * the message as the client sent it, and its plan, a copy is made for each
 * recipient that is wanted (requeue.h, compose.h), sealed (copy_seal.h), and
 * given to the service for copies (resubmit.h), whose milter sends it to the
 * route's transport. One after the other on one connection: how many messages
 * at once is Postfix's to say, and resubmit's.
 *
 * Whom Postfix took a copy for is remembered (sent_memory.h), so that another
 * attempt skips him, and that is on disk before the next copy is sent. What
 * was on its way in a crash, and a copy that was taken when the connection
 * broke, is sent again.
 */
#ifndef TXM_MILTER_COPIES_H
#define TXM_MILTER_COPIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct copies;
struct dialect;
struct message;
struct plan;
struct services;
struct smtp_reply;

struct copies_settings {
	struct services *services;
	const struct config *config;
	const struct plan *plan; /* its outgoing has a body, and a route */
	const struct dialect *dialect;
	const struct message *message;
	bool eight_bit, utf8; /* as Postfix says of it */
	int64_t deadline_ms;  /* of clock_ms(): none is begun after it */
	/* All is over. In another thread, or within copies_start(). */
	void (*done)(void *arg);
	void *arg;
};

/* All that settings point to must outlive it, and stay as it is. */
struct copies *copies_new(const struct copies_settings *settings);
void copies_free(struct copies **c);

/* This recipient of the plan gets one. */
void copies_want(struct copies *c, size_t place);

void copies_start(struct copies *c);

/* When it is over, of one that was wanted:
 *
 *   taken, and it came in by our milter       250, with Postfix's queue id
 *   sent at an earlier attempt                250
 *   refused after it came in                  5xx, in Postfix's words
 *   refused, and never came in                451 4.3.5: another service's
 *                                             word is no reason to bounce
 *   taken, and never came in                  250, for it is gone; no other
 *                                             goes after it
 *   cannot be made                            5xx
 *   anything else                             451 */
const struct smtp_reply *copies_reply(const struct copies *c, size_t place);

#endif
