/* SPDX-License-Identifier: MIT */
/*
 * control_server: the daemon's side of control.h on one connection: who may
 * ask, and what is answered. What commands do is manage.h's.
 *
 * One per connection that ever brought the macro; not used by two threads at
 * once.
 */
#ifndef TXM_MILTER_CONTROL_SERVER_H
#define TXM_MILTER_CONTROL_SERVER_H

#include <stddef.h>

/* What has a key in it is shorter: a buffer with so much room is not moved
 * while it grows, which would leave the key where it was. */
#define CONTROL_SECRETS_FIT 65536

struct control_server;
struct dynbuf;
struct services;
struct trial;

struct control_server *control_server_new(struct services *services);
void control_server_free(struct control_server **c);

/* A request begins: the value of CONTROL_MACRO. */
void control_server_begin(struct control_server *c, const char *proof);
/* A piece of its body. Too much is noted and answered. */
void control_server_body(struct control_server *c, const char *data,
			 size_t len);
/* It is complete: appends the answer to out. */
void control_server_end(struct control_server *c, struct dynbuf *out);

/* Instead of that while the daemon stops. */
void control_server_stopping(struct dynbuf *out);

/* What "try" asked for, once: the next message is to be tried. NULL: nothing.
 * trial_free() it. */
struct trial *control_server_take_trial(struct control_server *c);

#endif
