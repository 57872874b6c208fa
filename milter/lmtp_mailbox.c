/* SPDX-License-Identifier: MIT */
#include "lmtp_mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lmtp_agent.h"
#include "policy/smtp_reply.h"

struct lmtp_mailbox {
	pthread_mutex_t lock;
	/* Guarded by lock: */
	struct lmtp_answer_list answered;
	unsigned refs; /* the loop's, and one for each answer awaited */
	bool closed;   /* the loop has ended: nobody takes answers */
	/* Never changes: */
	int wake_fd;
};

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

struct lmtp_mailbox *
lmtp_mailbox_new(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct lmtp_mailbox *box;

	if (fd < 0)
		return NULL;
	box = need(calloc(1, sizeof(*box)));
	STAILQ_INIT(&box->answered);
	box->refs = 1;
	box->wake_fd = fd;
	if (pthread_mutex_init(&box->lock, NULL) != 0)
		abort();
	return box;
}

void
lmtp_mailbox_unref(struct lmtp_mailbox *box)
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
lmtp_mailbox_fd(const struct lmtp_mailbox *box)
{
	return box->wake_fd;
}

void
lmtp_mailbox_drain_fd(const struct lmtp_mailbox *box)
{
	uint64_t n;

	if (read(box->wake_fd, &n, sizeof(n)) < 0 && errno != EAGAIN &&
	    errno != EINTR)
		abort();
}

void
lmtp_mailbox_wake(const struct lmtp_mailbox *box)
{
	static const uint64_t one = 1;

	/* EAGAIN: it has been woken 2^64 times already. */
	if (write(box->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		abort();
}

void
lmtp_mailbox_take(struct lmtp_mailbox *box, struct lmtp_answer_list *list)
{
	pthread_mutex_lock(&box->lock);
	STAILQ_CONCAT(list, &box->answered);
	pthread_mutex_unlock(&box->lock);
}

void
lmtp_mailbox_close(struct lmtp_mailbox *box)
{
	pthread_mutex_lock(&box->lock);
	box->closed = true;
	pthread_mutex_unlock(&box->lock);
}

struct lmtp_answer *
lmtp_answer_new(struct lmtp_mailbox *box, struct lmtp_connection *c)
{
	struct lmtp_answer *a = need(calloc(1, sizeof(*a)));

	a->box = box;
	a->connection = c;
	pthread_mutex_lock(&box->lock);
	box->refs++;
	pthread_mutex_unlock(&box->lock);
	return a;
}

void
lmtp_answer_free(struct lmtp_answer *a)
{
	free(a->replies);
	free(a);
}

/* The answer may be gone as soon as the lock is; the mailbox is not, by the
 * reference that the answer held. */
void
lmtp_answer(struct lmtp_answer **ap, const struct smtp_reply *replies, size_t n)
{
	struct lmtp_answer *a = *ap;
	struct lmtp_mailbox *box = a->box;
	bool closed;

	*ap = NULL;
	a->replies = need(reallocarray(NULL, n, sizeof(*replies)));
	memcpy(a->replies, replies, n * sizeof(*replies));
	a->n = n;
	pthread_mutex_lock(&box->lock);
	closed = box->closed;
	if (!closed)
		STAILQ_INSERT_TAIL(&box->answered, a, next);
	pthread_mutex_unlock(&box->lock);
	if (closed)
		lmtp_answer_free(a);
	else
		lmtp_mailbox_wake(box);
	lmtp_mailbox_unref(box);
}
