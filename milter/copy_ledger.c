/* SPDX-License-Identifier: MIT */
#include "copy_ledger.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "need.h"

struct copy_ledger {
	pthread_mutex_t lock; /* guards all below, and what is open */
	struct copy_attempt *open;
	bool lost;
};

static void
lock(struct copy_ledger *l)
{
	if (pthread_mutex_lock(&l->lock) != 0)
		abort();
}

static void
unlock(struct copy_ledger *l)
{
	if (pthread_mutex_unlock(&l->lock) != 0)
		abort();
}

struct copy_ledger *
copy_ledger_new(void)
{
	struct copy_ledger *l = need(calloc(1, sizeof(*l)));

	if (pthread_mutex_init(&l->lock, NULL) != 0)
		abort();
	return l;
}

void
copy_ledger_free(struct copy_ledger **lp)
{
	struct copy_ledger *l = *lp;

	if (l == NULL)
		return;
	*lp = NULL;
	(void)pthread_mutex_destroy(&l->lock);
	free(l);
}

void
copy_ledger_open(struct copy_ledger *l, struct copy_attempt *a)
{
	uint8_t id[COPY_ID_LEN / 2];

	*a = (struct copy_attempt){ 0 };
	crypto_random(id, sizeof(id));
	crypto_hex(a->id, id, sizeof(id));
	lock(l);
	a->next = l->open;
	l->open = a;
	unlock(l);
}

void
copy_ledger_close(struct copy_ledger *l, struct copy_attempt *a)
{
	struct copy_attempt **at = &l->open;

	lock(l);
	while (*at != NULL && *at != a)
		at = &(*at)->next;
	if (*at == a)
		*at = a->next;
	unlock(l);
	a->next = NULL;
}

bool
copy_ledger_arrive(struct copy_ledger *l, const char *id, const char *queue_id)
{
	struct copy_attempt *a;
	bool good;

	lock(l);
	a = l->open;
	while (a != NULL && strcmp(a->id, id) != 0)
		a = a->next;
	good = a != NULL && !a->arrived;
	if (good) {
		a->arrived = true;
		(void)snprintf(a->queue_id, sizeof(a->queue_id), "%s",
			       queue_id);
	}
	unlock(l);
	return good;
}

void
copy_ledger_lose(struct copy_ledger *l)
{
	lock(l);
	l->lost = true;
	unlock(l);
}

bool
copy_ledger_has_lost(struct copy_ledger *l)
{
	bool lost;

	lock(l);
	lost = l->lost;
	unlock(l);
	return lost;
}
