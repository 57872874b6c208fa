/* SPDX-License-Identifier: MIT */
/*
 * resubmit: mail of ours, by SMTP, to a service of Postfix's on this machine.
 *
 * A few threads, each with a connection that it keeps while there is work, take
 * jobs in turn; within a job mails are sent one after the other, and sending
 * waits. SMTP is a dialogue: written as one it can be read and checked, and so
 * few threads as Postfix is to have connections cost nothing. (libcurl speaks
 * SMTP too, but writes domains anew, and it says nothing of 8BITMIME. The loop
 * of loop.h serves who connects, and a dialogue cut into events is twice as
 * long.) Threads are made when there is work for them. Thread-safe.
 */
#ifndef TXM_MILTER_RESUBMIT_H
#define TXM_MILTER_RESUBMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* smtpd processes busy with it at most. */
#define RESUBMIT_CONNECTIONS 16
/* Without work for so long a connection is closed: it holds a process. */
#define RESUBMIT_IDLE_MS 2000
/* A line of a reply (RFC 5321, section 4.5.3.1.5: 512). */
#define RESUBMIT_LINE_MAX 2048

struct resubmit;
struct resubmit_line;
struct smtp_reply;

struct resubmit_settings {
	const char *to;	      /* as listener.h has addresses; must live */
	unsigned connections; /* 0: the above */
	unsigned idle_ms;     /* 0: the above */
};

struct resubmit *resubmit_new(const struct resubmit_settings *settings);

/* What is under way, or comes later, soon hears that it is over. Any thread. */
void resubmit_end(struct resubmit *r);

/* Jobs that were not begun are run all the same, and soon hear that it is over,
 * as those under way do. No job may be submitted any more. */
void resubmit_stop(struct resubmit **r);

/* The caller's, in place until run was called. */
struct resubmit_job {
	void (*run)(struct resubmit_job *job, struct resubmit_line *line);
	STAILQ_ENTRY(resubmit_job) next;
};

/* run is called exactly once, in another thread (or in this one, when there can
 * be no other; then it does not wait). Never waits. */
void resubmit_submit(struct resubmit *r, struct resubmit_job *job);

struct resubmit_mail {
	const char *sender; /* without brackets; "" is the null sender */
	const char *recipient;
	/* CRLF line ends, dots not stuffed. What the head ends with is whole:
	 * the body begins a line. */
	const char *head, *body;
	size_t head_len, body_len;
	/* As it was said of the message before; else what is in it says so. */
	bool eight_bit, utf8;
	int64_t deadline_ms; /* of clock_ms() */
};

/* Within run: what is sent from now on hears that it is over. */
bool resubmit_is_ending(const struct resubmit_line *line);

/* Within run: sends it and waits for what Postfix says.
 *
 *   taken                                        250
 *   refused for good, MAIL FROM or later         5xx, in Postfix's words
 *   anything else: refused for now, nobody
 *   there, no SMTP, the deadline, the stop       451
 *
 * Whether it was taken cannot be known when the connection ends behind the
 * final dot: 451, too. */
void resubmit_send(struct resubmit_line *line, const struct resubmit_mail *mail,
		   struct smtp_reply *reply_r);

#endif
