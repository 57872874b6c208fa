/* SPDX-License-Identifier: MIT */
/*
 * manage: what the commands of commands.h do in the daemon. One function each,
 * in a table; who may call them is control_server's to know.
 *
 * A function writes its output, or an error text for the person who typed the
 * command, and returns an exit code of sysexits(3). They run in a callback of
 * libmilter and may wait for disk, but not for an API.
 */
#ifndef TXM_MILTER_MANAGE_H
#define TXM_MILTER_MANAGE_H

#include <stdint.h>

#include "report.h"

struct request;
struct services;
struct trial;

/* One command that runs. */
struct manage {
	struct services *services;
	const struct request *request;
	struct report report;
	struct dynbuf *out;
	struct trial *trial; /* "try" leaves it here */
};

int manage_run(struct services *services, const struct request *request,
	       struct dynbuf *out, struct trial **trial_r);

/* The output is this error text. Returns code. */
int manage_fail(struct manage *m, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* "30d", "12h", "0s": so long from now; "2026-12-31" and
 * "2026-12-31T12:00:00Z": then. False when it is neither. */
bool manage_parse_time(const char *text, int64_t now, int64_t *time_r);

/* manage_keys.c: */
int manage_key_add(struct manage *m);
int manage_key_import(struct manage *m);
int manage_key_list(struct manage *m);
int manage_key_show(struct manage *m);
int manage_key_disable(struct manage *m);
int manage_key_enable(struct manage *m);
int manage_key_revoke(struct manage *m);
int manage_key_rotate(struct manage *m);
int manage_key_flush(struct manage *m);
int manage_route_list(struct manage *m);
int manage_route_show(struct manage *m);
int manage_route_test(struct manage *m);

#endif
