/* SPDX-License-Identifier: MIT */
/*
 * control_client: txmilterctl's side of control.h. One connection, used by
 * one thread; everything waits at most the timeout given.
 */
#ifndef TXM_MILTER_CONTROL_CLIENT_H
#define TXM_MILTER_CONTROL_CLIENT_H

#include <stddef.h>

struct control_client;
struct dynbuf;

/* Connects, negotiates and gets the first nonce. spec: the milter socket
 * (listener.h). The secret is copied. NULL and an error text (free()). */
struct control_client *control_client_open(const char *spec, const char *secret,
					   size_t len, unsigned timeout_ms,
					   char **error_r);
void control_client_close(struct control_client **c);

/* Sends a request (control.h) and appends the answer's output. Returns the
 * exit code, or -1 and an error text (free()) when there is no answer. */
int control_client_ask(struct control_client *c, const char *request,
		       size_t len, struct dynbuf *output, char **error_r);

/* After the request "try": sends a message (RFC 5322, any line ends), and
 * appends what came of it. As control_client_ask(). */
int control_client_try(struct control_client *c, const char *from,
		       const char *const *recipients, size_t n_recipients,
		       const char *message, size_t len, struct dynbuf *output,
		       char **error_r);

#endif
