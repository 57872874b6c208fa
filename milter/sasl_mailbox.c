/* SPDX-License-Identifier: MIT */
#include "sasl_mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct sasl_mailbox {
	pthread_mutex_t lock;
	/* Guarded by lock: */
	struct sasl_ask_list answered;
	unsigned refs; /* the loop's, and one for each ask under way */
	bool stopping; /* the loop shall end */
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

struct sasl_mailbox *
sasl_mailbox_new(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct sasl_mailbox *box;

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
sasl_mailbox_unref(struct sasl_mailbox *box)
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

static void
wake(struct sasl_mailbox *box)
{
	static const uint64_t one = 1;

	/* EAGAIN: it has been woken 2^64 times already. */
	if (write(box->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		abort();
}

void
sasl_ask_free(struct sasl_ask *ask)
{
	identity_free(&ask->id);
	free(ask);
}

/* The ask may be gone as soon as the lock is; the mailbox is not, by the
 * reference that the ask held. */
void
sasl_ask_answered(void *arg, enum key_status status, enum key_reason reason,
		  struct identity *id)
{
	struct sasl_ask *ask = arg;
	struct sasl_mailbox *box = ask->box;
	bool closed;

	ask->status = status;
	ask->reason = reason;
	ask->id = id;
	pthread_mutex_lock(&box->lock);
	closed = box->closed;
	if (!closed)
		STAILQ_INSERT_TAIL(&box->answered, ask, next);
	pthread_mutex_unlock(&box->lock);
	if (closed)
		sasl_ask_free(ask);
	else
		wake(box);
	sasl_mailbox_unref(box);
}

struct sasl_ask *
sasl_ask_new(struct sasl_mailbox *box, struct connection *c)
{
	struct sasl_ask *ask = need(calloc(1, sizeof(*ask)));

	ask->box = box;
	ask->connection = c;
	pthread_mutex_lock(&box->lock);
	box->refs++;
	pthread_mutex_unlock(&box->lock);
	return ask;
}

int
sasl_mailbox_fd(const struct sasl_mailbox *box)
{
	return box->wake_fd;
}

void
sasl_mailbox_drain_fd(const struct sasl_mailbox *box)
{
	uint64_t n;

	if (read(box->wake_fd, &n, sizeof(n)) < 0 && errno != EAGAIN &&
	    errno != EINTR)
		abort();
}

void
sasl_mailbox_stop(struct sasl_mailbox *box)
{
	pthread_mutex_lock(&box->lock);
	box->stopping = true;
	pthread_mutex_unlock(&box->lock);
	wake(box);
}

bool
sasl_mailbox_take(struct sasl_mailbox *box, struct sasl_ask_list *list)
{
	bool stopping;

	pthread_mutex_lock(&box->lock);
	STAILQ_CONCAT(list, &box->answered);
	stopping = box->stopping;
	pthread_mutex_unlock(&box->lock);
	return !stopping;
}

void
sasl_mailbox_close(struct sasl_mailbox *box)
{
	pthread_mutex_lock(&box->lock);
	box->closed = true;
	pthread_mutex_unlock(&box->lock);
}
