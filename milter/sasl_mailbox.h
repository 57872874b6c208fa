/* SPDX-License-Identifier: MIT */
/*
 * sasl_mailbox: how the answer of a key check finds its way back into the loop
 * of sasl.c.
 *
 * Each key check has a `struct sasl_ask`. Its answer, in whatever thread it
 * comes, is put into the mailbox, which outlives the loop while checks are
 * under way. Only the loop follows ask->connection, and clears it when that
 * closes; so nobody but the loop ever touches a connection.
 */
#ifndef TXM_MILTER_SASL_MAILBOX_H
#define TXM_MILTER_SASL_MAILBOX_H

#include <stdbool.h>
#include <sys/queue.h>

#include "key_check.h"

struct connection; /* the loop's */
struct sasl_mailbox;

struct sasl_ask {
	struct sasl_mailbox *box;
	struct connection *connection; /* NULL: closed meanwhile */
	enum key_status status;	       /* these: once answered */
	enum key_reason reason;
	struct identity *id;
	STAILQ_ENTRY(sasl_ask) next;
};
STAILQ_HEAD(sasl_ask_list, sasl_ask);

/* For one loop. NULL when there are no descriptors left. */
struct sasl_mailbox *sasl_mailbox_new(void);

/* Readable when sasl_mailbox_take() has something to say. */
int sasl_mailbox_fd(const struct sasl_mailbox *box);
void sasl_mailbox_drain_fd(const struct sasl_mailbox *box);

/* From another thread: the loop shall end. */
void sasl_mailbox_stop(struct sasl_mailbox *box);

/* Moves the asks that were answered to list, the caller's to free; false when
 * the loop shall end. */
bool sasl_mailbox_take(struct sasl_mailbox *box, struct sasl_ask_list *list);

/* Nobody takes answers any more: what comes is dropped. The loop takes a last
 * time after this. */
void sasl_mailbox_close(struct sasl_mailbox *box);

/* The loop's own reference. It lives on until the last ask is answered. */
void sasl_mailbox_unref(struct sasl_mailbox *box);

/* An ask to be given to key_check_ask() with sasl_ask_answered(). */
struct sasl_ask *sasl_ask_new(struct sasl_mailbox *box, struct connection *c);
void sasl_ask_free(struct sasl_ask *ask);

/* A key_answer_fn: in any thread, once for each ask. */
void sasl_ask_answered(void *arg, enum key_status status,
		       enum key_reason reason, struct identity *id);

#endif
