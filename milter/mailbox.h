/* SPDX-License-Identifier: MIT */
/*
 * mailbox: how what another thread finished finds its way back into an epoll
 * loop.
 *
 * What is to come back has a `struct mailbox_item` as its first member. Whoever
 * finishes it, in whatever thread, puts it; the loop takes it. A loop may end
 * while items are under way: the mailbox stays until the last of them was put,
 * and drops them. So nobody but the loop ever touches what is the loop's:
 * finishers know nothing but their item.
 */
#ifndef TXM_MILTER_MAILBOX_H
#define TXM_MILTER_MAILBOX_H

#include <sys/queue.h>

struct mailbox;

struct mailbox_item {
	struct mailbox *box;
	STAILQ_ENTRY(mailbox_item) next;
};
STAILQ_HEAD(mailbox_list, mailbox_item);

/* Frees what nobody takes any more (what begins with the item); in the thread
 * that puts it, or that closes the mailbox. */
typedef void mailbox_drop_fn(void *finished);

/* For one loop. NULL when there are no descriptors left. */
struct mailbox *mailbox_new(mailbox_drop_fn *drop);

/* Readable when the loop was woken; drain makes it unreadable again. */
int mailbox_fd(const struct mailbox *box);
void mailbox_drain_fd(const struct mailbox *box);

/* Any thread, while the mailbox is not closed: the loop shall look around. */
void mailbox_wake(const struct mailbox *box);

/* The item will be put, exactly once. */
void mailbox_expect(struct mailbox *box, struct mailbox_item *item);

/* Any thread, for what was expected: it is the loop's now, which is woken. */
void mailbox_put(struct mailbox_item *item);

/* Moves what was put to the end of list. */
void mailbox_take(struct mailbox *box, struct mailbox_list *list);

/* The loop is over and follows no item any more: what was not taken is
 * dropped, what is still under way will be. */
void mailbox_close(struct mailbox **box);

#endif
