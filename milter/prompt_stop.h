/* SPDX-License-Identifier: MIT */
/*
 * prompt_stop: ends libmilter's loop at once when a signal says so.
 *
 * libmilter has a thread of its own that waits for SIGTERM, SIGINT and SIGHUP,
 * but its loop looks whether it should stop only every 5 seconds, or when
 * somebody connects. Until then the socket is there and the daemon cannot be
 * started anew. So the main thread waits for the signal too, passes it on, and
 * connects until the loop has ended. Of threads that wait for a signal, Linux
 * wakes the main thread first; should it wake libmilter's, stopping takes the
 * 5 seconds.
 */
#ifndef TXM_MILTER_PROMPT_STOP_H
#define TXM_MILTER_PROMPT_STOP_H

/* Runs serve() in a thread until it returns; what it returned. It listens at
 * spec. To be called by the main thread, the three signals blocked. */
int prompt_stop_run(int (*serve)(void), const char *spec);

#endif
