/* SPDX-License-Identifier: MIT */
/*
 * lmtp_mailbox: how the answer to a message finds its way back into the loop
 * of lmtp_agent.c.
 *
 * As in sasl_mailbox: what a handler answers, in whatever thread, is put into
 * the mailbox, which outlives the loop while answers are awaited. Only the
 * loop follows answer->connection, and clears it when that closes.
 * lmtp_answer() of lmtp_agent.h is here.
 */
#ifndef TXM_MILTER_LMTP_MAILBOX_H
#define TXM_MILTER_LMTP_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

struct lmtp_connection; /* the loop's */
struct lmtp_mailbox;
struct smtp_reply;

struct lmtp_answer {
	struct lmtp_mailbox *box;
	struct lmtp_connection *connection; /* NULL: closed meanwhile */
	struct smtp_reply *replies;	    /* these: once answered */
	size_t n;
	STAILQ_ENTRY(lmtp_answer) next;
};
STAILQ_HEAD(lmtp_answer_list, lmtp_answer);

/* For one loop. NULL when there are no descriptors left. */
struct lmtp_mailbox *lmtp_mailbox_new(void);

/* Readable when the loop was woken; drain makes it unreadable again. */
int lmtp_mailbox_fd(const struct lmtp_mailbox *box);
void lmtp_mailbox_drain_fd(const struct lmtp_mailbox *box);

/* Any thread: the loop shall look around. */
void lmtp_mailbox_wake(const struct lmtp_mailbox *box);

/* Moves what was answered to list, the caller's to free. */
void lmtp_mailbox_take(struct lmtp_mailbox *box, struct lmtp_answer_list *list);

/* Nobody takes answers any more: what comes is dropped. The loop takes a last
 * time after this. */
void lmtp_mailbox_close(struct lmtp_mailbox *box);

/* The loop's own reference. It lives on until the last answer came. */
void lmtp_mailbox_unref(struct lmtp_mailbox *box);

struct lmtp_answer *lmtp_answer_new(struct lmtp_mailbox *box,
				    struct lmtp_connection *c);
void lmtp_answer_free(struct lmtp_answer *a);

#endif
