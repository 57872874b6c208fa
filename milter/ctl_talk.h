/* SPDX-License-Identifier: MIT */
/*
 * ctl_talk: one run of txmilterctl: its arguments, its talk with the daemon and
 * with who started it. What went wrong is told on standard error, where it is
 * found out; functions return 0 or an exit code (sysexits(3)) for which this is
 * done. One thread.
 */
#ifndef TXM_MILTER_CTL_TALK_H
#define TXM_MILTER_CTL_TALK_H

#include "ctl_arguments.h"
#include "policy/dynbuf.h"

#define CTL_CONFIG_FILE "/etc/txmilter/txmilter.conf"

struct control_client;

struct ctl {
	struct ctl_arguments args;
	struct control_client *client; /* NULL: not connected */
	struct dynbuf request;	       /* never grows: keys may be in it */
	struct dynbuf output;	       /* what the daemon answered last */
};

/* The buffers; the arguments are left as they are. */
void ctl_init(struct ctl *ctl);
/* Hangs up, wipes and frees. */
void ctl_clear(struct ctl *ctl);

/* Tells it on standard error. Returns the code, for the caller to return. */
int ctl_complain(int code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int ctl_complain_and_free(int code, char *text);
/* The text may have a line end already. */
int ctl_complain_output(int code, const struct dynbuf *text);

/* To standard output, at once. */
int ctl_print(const struct dynbuf *text);

/* Connects to the daemon that options and configuration name. */
int ctl_connect(struct ctl *ctl);

/* Makes the request from the arguments, as ctl_request_write(). */
int ctl_write_request(struct ctl *ctl, unsigned long first_line);

/* Sends the request. The output of a command that went well is in
 * ctl->output. */
int ctl_ask(struct ctl *ctl);

#endif
