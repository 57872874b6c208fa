/* SPDX-License-Identifier: MIT */
#include "copy_arrival.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "copy_ledger.h"
#include "copy_seal.h"
#include "log.h"
#include "need.h"
#include "policy/address.h"
#include "policy/edits.h"
#include "policy/message.h"
#include "policy/requeue.h"
#include "policy/smtp_reply.h"

struct copy_arrival {
	char *seal; /* of the first such header */
	unsigned n; /* how many there are */
};

struct copy_arrival *
copy_arrival_new(void)
{
	return need(calloc(1, sizeof(struct copy_arrival)));
}

void
copy_arrival_free(struct copy_arrival **a)
{
	if (*a != NULL)
		free((*a)->seal);
	free(*a);
	*a = NULL;
}

void
copy_arrival_header(struct copy_arrival *a, const char *name, const char *value)
{
	if (strcasecmp(name, REQUEUE_COPY_HEADER) == 0 && a->n++ == 0)
		a->seal = need(strdup(value));
}

static bool
is_sender(const struct message *m, const char *sender)
{
	const char *got = message_sender(m);

	return strcmp(got, sender) == 0 ||
	       (*got != '\0' && *sender != '\0' && address_same(got, sender));
}

/* NULL, or why it is no copy of ours. */
static const char *
check(const struct copy_arrival *a, const struct crypto_seal *seal,
      const struct message *m, struct copy_ticket *t)
{
	const char *why;

	if (a->n == 0)
		return "it has no seal";
	if (a->n > 1)
		return "it has several seals";
	why =
	    copy_unseal(seal, a->seal, strlen(a->seal), (int64_t)time(NULL), t);
	if (why != NULL)
		return why;
	if (message_n_recipients(m) != 1 ||
	    !address_same(message_recipient_at(m, 0), t->recipient))
		return "it is for another recipient";
	return is_sender(m, t->sender) ? NULL : "it is from another sender";
}

struct edits *
copy_arrival_end(struct copy_arrival *a, const struct crypto_seal *seal,
		 struct copy_ledger *ledger, const struct message *m,
		 const char *queue_id, struct smtp_reply *reply_r)
{
	struct copy_ticket t = { 0 };
	const char *why = check(a, seal, m, &t);
	struct edits *e = NULL;

	if (why == NULL && !copy_ledger_arrive(ledger, t.id, queue_id))
		why = "nobody waits for it";
	if (why == NULL) {
		e = edits_new();
		edits_delete(e, REQUEUE_COPY_HEADER, 1);
		e->route = need(strdup(t.transport));
		smtp_reply_set(reply_r, 250, "2.0.0", "Accepted");
		log_info(queue_id, "copy result=queued submission_key=%s",
			 t.key);
	} else {
		smtp_reply_set(reply_r, 550, "5.7.1",
			       "This is no copy of the relay: %s", why);
		log_warning(queue_id, "copy result=refused reason=\"%s\"", why);
	}
	copy_ticket_clear(&t);
	return e;
}
