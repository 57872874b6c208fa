/* SPDX-License-Identifier: MIT */
#include "judge.h"

#include "dialect.h"
#include "message.h"
#include "outgoing.h"

static void
refuse_nobody(const struct dialect *d, struct smtp_reply *reply)
{
	smtp_reply_set(reply, 550, "5.7.1",
		       "Authentication required: log in with your API key%s%s",
		       d->key_header ? " or send it as " : "",
		       d->key_header ? d->key_header : "");
}

void
judge(struct message *m, const struct account *account,
      const struct dialect *dialect, struct verdict *v)
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
	v->outgoing = outgoing_new();
	if (dialect_read(dialect, m, account, v->outgoing, &v->reply))
		v->kind = VERDICT_HAND_OVER;
	else
		outgoing_free(&v->outgoing);
}

void
verdict_clear(struct verdict *v)
{
	outgoing_free(&v->outgoing);
}
