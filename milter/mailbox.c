/* SPDX-License-Identifier: MIT */
#include "mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "need.h"

struct mailbox {
	pthread_mutex_t lock;
	/* Guarded by lock: */
	struct mailbox_list items;
	unsigned refs; /* the loop's, and one for each item under way */
	bool closed;   /* nobody takes items */
	/* Never change: */
	int wake_fd;
	mailbox_drop_fn *drop;
};

struct mailbox *
mailbox_new(mailbox_drop_fn *drop)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct mailbox *box;

	if (fd < 0)
		return NULL;
	box = need(calloc(1, sizeof(*box)));
	STAILQ_INIT(&box->items);
	box->refs = 1;
	box->wake_fd = fd;
	box->drop = drop;
	if (pthread_mutex_init(&box->lock, NULL) != 0)
		abort();
	return box;
}

static void
unref(struct mailbox *box)
{
	bool last;

	pthread_mutex_lock(&box->lock);
	last = --box->refs == 0;
	pthread_mutex_unlock(&box->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&box->lock);
	close(box->wake_fd);
	free(box);
}

int
mailbox_fd(const struct mailbox *box)
{
	return box->wake_fd;
}

void
mailbox_drain_fd(const struct mailbox *box)
{
	uint64_t n;

	if (read(box->wake_fd, &n, sizeof(n)) < 0 && errno != EAGAIN &&
	    errno != EINTR)
		abort();
}

void
mailbox_wake(const struct mailbox *box)
{
	static const uint64_t one = 1;

	/* EAGAIN: it has been woken 2^64 times already. */
	if (write(box->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		abort();
}

void
mailbox_expect(struct mailbox *box, struct mailbox_item *item)
{
	item->box = box;
	pthread_mutex_lock(&box->lock);
	box->refs++;
	pthread_mutex_unlock(&box->lock);
}

/* The item may be gone as soon as the lock is; the mailbox is not, by the
 * reference that the item held. */
void
mailbox_put(struct mailbox_item *item)
{
	struct mailbox *box = item->box;
	bool closed;

	pthread_mutex_lock(&box->lock);
	closed = box->closed;
	if (!closed)
		STAILQ_INSERT_TAIL(&box->items, item, next);
	pthread_mutex_unlock(&box->lock);
	if (closed)
		box->drop(item);
	else
		mailbox_wake(box);
	unref(box);
}

void
mailbox_take(struct mailbox *box, struct mailbox_list *list)
{
	pthread_mutex_lock(&box->lock);
	STAILQ_CONCAT(list, &box->items);
	pthread_mutex_unlock(&box->lock);
}

void
mailbox_close(struct mailbox **boxp)
{
	struct mailbox_list left = STAILQ_HEAD_INITIALIZER(left);
	struct mailbox *box = *boxp;
	struct mailbox_item *item;

	*boxp = NULL;
	if (box == NULL)
		return;
	pthread_mutex_lock(&box->lock);
	box->closed = true;
	STAILQ_CONCAT(&left, &box->items);
	pthread_mutex_unlock(&box->lock);
	while ((item = STAILQ_FIRST(&left)) != NULL) {
		STAILQ_REMOVE_HEAD(&left, next);
		box->drop(item);
	}
	unref(box);
}
