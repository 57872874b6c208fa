/* SPDX-License-Identifier: MIT */
/*
 * load: SMTP clients that send one message again and again, each waiting for
 * each reply. One thread, one epoll loop; the caller fills in the first part
 * of the struct, calls load_run() and reads the rest.
 */
#ifndef TXM_BENCH_LOAD_H
#define TXM_BENCH_LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "latency.h"
#include "payload.h"

struct client;

struct load {
	/* what to do */
	struct sockaddr_in address;
	struct payload payload;
	unsigned connections;
	unsigned per_connection; /* messages; 0: no end */
	unsigned long total;	 /* messages; 0: by time */
	const char *auth_line;	 /* "AUTH PLAIN ..." CR LF, or NULL */
	uint64_t next_seq;
	double warm_up, seconds;
	FILE *accepted_file; /* or NULL */

	/* what came of it; counts are of the whole run, latencies and
	 * accepted_in_window of the measured window */
	unsigned long started, accepted, accepted_in_window, sessions;
	unsigned long refused_4xx, refused_5xx, broken;
	unsigned active; /* at the end: unfinished */
	char first_error[160];
	struct latency all, mail, rcpt, dot, first;
	uint64_t window_begin, window_end; /* CLOCK_MONOTONIC, microseconds */

	/* load.c's own */
	int epoll_fd;
	struct client *clients;
	uint64_t give_up;
	bool draining;
};

/* Prints and exits when the machine does not let it (sockets, memory); what
 * the server does is counted. */
void load_run(struct load *l);

#endif
