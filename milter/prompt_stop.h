/* SPDX-License-Identifier: MIT */
/*
 * prompt_stop: a signal is heard at once, and libmilter serves to the end.
 *
 * libmilter has a thread of its own that waits for SIGTERM, SIGINT and SIGHUP.
 * It looks whether it should stop only every 5 seconds, or when somebody
 * connects; and when it does, it closes its socket and leaves its sessions
 * without an answer. So it is not told: the main thread takes the signal, and
 * libmilter ends with the process, which can give each message a reply first.
 * Of the threads that wait for a signal, Linux wakes the main thread; should
 * it wake libmilter's, stopping takes its 5 seconds.
 */
#ifndef TXM_MILTER_PROMPT_STOP_H
#define TXM_MILTER_PROMPT_STOP_H

/* Runs serve() in a thread. 0 when a signal came, serve() goes on then; what
 * it returned if it ended before. Once per process, by the main thread, the
 * three signals blocked. */
int prompt_stop_run(int (*serve)(void));

#endif
