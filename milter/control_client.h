/* SPDX-License-Identifier: MIT */
/*
 * control_client: txmilterctl's side of control.h. One connection, used by
 * one thread. Each call waits at most the timeout given to open; an answer
 * that says that work goes on begins it anew.
 */
#ifndef TXM_MILTER_CONTROL_CLIENT_H
#define TXM_MILTER_CONTROL_CLIENT_H

#include <stddef.h>

struct control_client;
struct control_message;
struct dynbuf;

/* Why there is no answer, for the person who must act. */
struct control_failure {
	int code;   /* sysexits(3) */
	char *text; /* free() */
};

/* Connects, negotiates and gets the first nonce. spec: the milter socket
 * (listener.h). The secret, of at most CONTROL_SECRET_MAX bytes, is copied, and
 * wiped at close. NULL and a failure. */
struct control_client *control_client_open(const char *spec, const char *secret,
					   size_t len, unsigned timeout_ms,
					   struct control_failure *failure_r);
void control_client_close(struct control_client **c);

/* Sends a request (control.h) and appends the answer's output. Returns the
 * exit code, 0 to 255, or -1 and a failure. After one, and after an answer
 * without a nonce, the connection is of no more use: each call fails. */
int control_client_ask(struct control_client *c, const char *request,
		       size_t len, struct dynbuf *output,
		       struct control_failure *failure_r);

/* After the request "try": sends a message and appends what came of it. The
 * addresses with their "<>". As control_client_ask(). */
int control_client_try(struct control_client *c, const char *from,
		       const char *const *recipients, size_t n_recipients,
		       const struct control_message *message,
		       struct dynbuf *output,
		       struct control_failure *failure_r);

#endif
