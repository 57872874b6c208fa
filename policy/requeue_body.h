/* SPDX-License-Identifier: MIT */
/*
 * requeue_body: what becomes of the body of a message for a transport: HTML
 * with its links replaced, a text part beside it, or HTML alone where the
 * dialect sends nothing else. Private to requeue*.c. Thread-safe; no state.
 */
#ifndef TXM_POLICY_REQUEUE_BODY_H
#define TXM_POLICY_REQUEUE_BODY_H

#include <stdbool.h>
#include <stddef.h>

struct dialect;
struct message;
struct outgoing;
struct requeue_as;
struct smtp_reply;

enum requeue_change {
	REQUEUE_STAYS,
	REQUEUE_PART, /* one part of it is another one */
	REQUEUE_LEAF, /* all of it is one part, and its headers change */
};

enum requeue_change requeue_change(const struct message *m,
				   const struct dialect *d,
				   const struct outgoing *o,
				   const struct requeue_as *as);

struct requeue_body {
	char *data; /* CRLF line ends; free() */
	size_t len;
	/* Of the message's headers; NULL: it stays. */
	char *type; /* free() */
	const char *encoding;
};

/* Of a body that does not stay. False: refusal set. */
bool requeue_body(const struct message *m, const struct dialect *d,
		  const struct outgoing *o, const struct requeue_as *as,
		  struct requeue_body *body_r, struct smtp_reply *refusal);

#endif
