/* SPDX-License-Identifier: MIT */
/*
 * callbacks: libmilter's view of the daemon; translates its events to
 * session's functions and replies back. The only file that knows libmilter.
 */
#ifndef TXM_MILTER_CALLBACKS_H
#define TXM_MILTER_CALLBACKS_H

struct services;

/* Registers the filter and opens its socket. 0, or -1 and an error text
 * (free()). Once per process. */
int callbacks_open(struct services *services, const char *socket_spec,
		   const char *socket_group, char **error_r);

/* Serves until libmilter's own thread has a signal (prompt_stop) or gives up.
 * Callbacks go on while the process stops: see services.busy. 0, or -1. */
int callbacks_run(void);

#endif
