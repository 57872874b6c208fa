/* SPDX-License-Identifier: MIT */
/*
 * session: one connection of Postfix, and the message on it.
 *
 * One function per milter event, in the order of the protocol; callbacks.c
 * translates. A session is never used by two threads at once, but its events
 * may come on different threads: nothing here is thread-local. The message
 * is gone after session_end() and session_reset(), whichever comes first.
 */
#ifndef TXM_MILTER_SESSION_H
#define TXM_MILTER_SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/smtp_reply.h"

struct dynbuf;
struct edits;
struct services;
struct session;
struct trial;

struct session *session_new(struct services *services);
void session_free(struct session **s);

/* A message begins; what was left of an earlier one is dropped. `sender` and
 * recipients come with or without angle brackets. `user` is who Postfix says
 * logged in ({auth_authen}), and `client` from which address ({client_addr});
 * either may be NULL. */
void session_mail(struct session *s, const char *sender, const char *user,
		  const char *client);

/* Asks about the login, without waiting: before the first recipient. */
void session_ask_login(struct session *s);

/* The message that has just begun comes by the service for copies
 * (copy_arrival.h). */
void session_expect_copy(struct session *s);

/* The message that begins after this is only tried (trial.h). Takes t. */
void session_try(struct session *s, struct trial *t);

/* answered: whether the client can be told now that it is one too many (else
 * reply may be NULL). False: it is, and does not count; the reply is set. */
bool session_recipient(struct session *s, const char *addr, bool answered,
		       struct smtp_reply *reply);
void session_header(struct session *s, const char *name, const char *value);

/* The headers are complete: asks whose message it is, without waiting, and says
 * what of the body is needed. */
void session_headers_done(struct session *s);

/* True when no later byte can matter. */
bool session_body(struct session *s, const char *data, size_t len);

/* What Postfix shall do with a message. */
struct session_outcome {
	struct smtp_reply reply; /* what the client hears */
	/* 250: NULL when Postfix shall forget the message, for the API has it;
	 * else what is to be changed in it before Postfix queues it. The
	 * caller's to free. */
	struct edits *edits;
};

/* The message is complete: judges it and hands it over. Waits for the key
 * check and the API. */
void session_end(struct session *s, const char *queue_id,
		 struct session_outcome *outcome_r);

/* Instead of it, for a message that is only tried: true when it is one; what
 * came of it is appended to out. Waits for nothing. */
bool session_end_trial(struct session *s, struct dynbuf *out);

/* Drops the message, if there is one. */
void session_reset(struct session *s);

#endif
