/* SPDX-License-Identifier: MIT */
#include "judge.h"

#include <stdio.h>
#include <string.h>

#include "account.h"
#include "api.h"
#include "dialect.h"
#include "message.h"
#include "outgoing.h"
#include "route.h"

static void
refuse_nobody(const struct dialect *d, struct smtp_reply *reply)
{
	smtp_reply_set(reply, 550, "5.7.1",
		       "Authentication required: log in with your API key%s%s",
		       d->key_header ? " or send it as " : "",
		       d->key_header ? d->key_header : "");
}

#define MORE ", ..."
#define MORE_LEN (sizeof(MORE) - 1)

/* "a, b, ...": as many as fit, none in part. */
static void
list_senders(const struct account *a, char *dst, size_t size)
{
	size_t n = 0;

	dst[0] = '\0';
	for (size_t i = 0; i < a->n_senders; i++) {
		bool last = i + 1 == a->n_senders;
		size_t needs = strlen(a->senders[i]) + (i > 0 ? 2 : 0);

		if (n + needs + (last ? 0 : MORE_LEN) >= size) {
			if (n + MORE_LEN < size)
				(void)snprintf(dst + n, size - n, "%s",
					       i > 0 ? MORE : "...");
			return;
		}
		(void)snprintf(dst + n, size - n, "%s%s", i > 0 ? ", " : "",
			       a->senders[i]);
		n += needs;
	}
}

static bool
may_send(const struct account *a, const struct outgoing *o,
	 struct smtp_reply *reply)
{
	char text[SMTP_REPLY_TEXT_MAX + 1], list[SMTP_REPLY_TEXT_MAX + 1];
	int n;

	if (account_allows_sender(a, o->from_email))
		return true;
	n = snprintf(text, sizeof(text),
		     "From: this account may not send as %s; it may send as: ",
		     o->from_email);
	list[0] = '\0';
	if (n > 0 && (size_t)n < sizeof(text))
		list_senders(a, list, sizeof(text) - (size_t)n);
	smtp_reply_set(reply, 550, "5.7.1", "%s%s", text, list);
	return false;
}

/* By a route that is not known nothing can be said. */
static bool
can_go(const struct outgoing *o, struct smtp_reply *reply)
{
	const struct route *r = o->route;

	if (r == NULL)
		return true;
	return feature_check(o, reply) &&
	       (r->handoff == ROUTE_TRANSPORT || r->format->fits == NULL ||
		r->format->fits(o, reply));
}

/* Who could not be told at RCPT is told now. */
static bool
is_few(const struct message *m, const struct dialect *d,
       struct smtp_reply *reply)
{
	if (d->recipients_max == 0 ||
	    message_n_recipients(m) <= d->recipients_max)
		return true;
	smtp_reply_set(reply, 550, "5.5.3",
		       "More than %u recipients; a message can have so many",
		       d->recipients_max);
	return false;
}

void
judge(struct message *m, const struct account *account,
      const struct dialect *dialect, const struct route_list *routes,
      struct verdict *v)
{
	const struct smtp_reply *refusal = message_refusal(m);

	*v = (struct verdict){ .kind = VERDICT_REFUSE };
	if (refusal != NULL) {
		v->reply = *refusal;
		return;
	}
	if (account == NULL) {
		refuse_nobody(dialect, &v->reply);
		return;
	}
	if (message_n_recipients(m) == 0) {
		smtp_reply_set(&v->reply, 550, "5.1.3", "No recipients");
		return;
	}
	dialect = dialect_of(dialect, m, &v->reply);
	if (dialect == NULL)
		return;
	v->dialect = dialect;
	if (!is_few(m, dialect, &v->reply))
		return;
	v->outgoing = outgoing_new();
	if (!dialect_read(dialect, m, account, v->outgoing, &v->reply) ||
	    !may_send(account, v->outgoing, &v->reply)) {
		outgoing_free(&v->outgoing);
		return;
	}
	v->outgoing->route = route_find(routes, v->outgoing->route_id);
	if (!can_go(v->outgoing, &v->reply)) {
		outgoing_free(&v->outgoing);
		return;
	}
	v->kind = VERDICT_HAND_OVER;
}

void
verdict_clear(struct verdict *v)
{
	outgoing_free(&v->outgoing);
}
