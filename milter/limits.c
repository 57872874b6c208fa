/* SPDX-License-Identifier: MIT */
#include "limits.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "key_check.h"
#include "need.h"
#include "policy/account.h"
#include "policy/outgoing.h"
#include "policy/smtp_reply.h"
#include "rate_limit.h"

/* "account/user@example.org": each account has its own count. free(). */
static char *
recipient_name(const struct identity *id, const char *email)
{
	char *name;
	char *at;

	if (asprintf(&name, "%s/%s", id->account->id, email) < 0)
		abort();
	for (at = strrchr(name, '@'); at != NULL && *at != '\0'; at++) {
		if (*at >= 'A' && *at <= 'Z')
			*at += 'a' - 'A';
	}
	return name;
}

static unsigned
take_recipient(struct rate_limit *r, const struct identity *id,
	       const char *email, int64_t now)
{
	const struct account_rate *rate = &id->account->recipient_rate;
	char *name = recipient_name(id, email);
	unsigned wait = rate_limit_take(r, "recipient", name, 1, rate->count,
					rate->seconds, now);

	free(name);
	return wait;
}

static void
return_recipient(struct rate_limit *r, const struct identity *id,
		 const char *email, int64_t now)
{
	const struct account_rate *rate = &id->account->recipient_rate;
	char *name = recipient_name(id, email);

	rate_limit_return(r, "recipient", name, 1, rate->count, rate->seconds,
			  now);
	free(name);
}

static bool
take_key(struct rate_limit *r, const struct identity *id, int64_t now,
	 struct smtp_reply *reply)
{
	const struct account_rate *rate = &id->account->rate;
	unsigned wait = rate_limit_take(r, "key", id->key_id, 1, rate->count,
					rate->seconds, now);

	if (wait > 0)
		smtp_reply_set(reply, 450, "4.7.1",
			       "The limit of this key, %u messages in %u "
			       "seconds, is reached: try again in %u seconds",
			       rate->count, rate->seconds, wait);
	return wait == 0;
}

static bool
take_recipients(struct rate_limit *r, const struct identity *id,
		const struct outgoing *o, const bool *done, int64_t now,
		struct limits_taken *taken, struct smtp_reply *reply)
{
	const struct account_rate *rate = &id->account->recipient_rate;

	for (size_t i = 0; rate->count > 0 && i < o->n_recipients; i++) {
		const char *email = o->recipients[i].email;
		unsigned wait = done[i] ? 0 : take_recipient(r, id, email, now);

		if (wait > 0) {
			smtp_reply_set(reply, 450, "4.7.1",
				       "%s: the limit for one recipient, %u "
				       "messages in %u seconds, is reached: "
				       "try again in %u seconds",
				       email, rate->count, rate->seconds, wait);
			return false;
		}
		taken->recipients[i] = !done[i];
	}
	return true;
}

bool
limits_take(struct rate_limit *r, const struct identity *id,
	    const struct outgoing *o, const bool *done, bool is_retry,
	    struct limits_taken *taken_r, struct smtp_reply *reply)
{
	int64_t now = clock_ms();

	*taken_r = (struct limits_taken){ .n = o->n_recipients };
	taken_r->recipients = need(calloc(o->n_recipients + 1, sizeof(bool)));
	if (id->account->rate.count > 0 && !is_retry) {
		taken_r->key = take_key(r, id, now, reply);
		if (!taken_r->key) {
			limits_settle(r, id, o, NULL, taken_r);
			return false;
		}
	}
	if (take_recipients(r, id, o, done, now, taken_r, reply))
		return true;
	limits_settle(r, id, o, NULL, taken_r);
	return false;
}

void
limits_settle(struct rate_limit *r, const struct identity *id,
	      const struct outgoing *o, const bool *done,
	      struct limits_taken *taken)
{
	int64_t now = clock_ms();
	bool anybody = false;

	for (size_t i = 0; i < taken->n; i++) {
		bool is_done = done != NULL && done[i];

		anybody = anybody || is_done;
		if (taken->recipients[i] && !is_done)
			return_recipient(r, id, o->recipients[i].email, now);
	}
	if (taken->key && !anybody)
		rate_limit_return(r, "key", id->key_id, 1,
				  id->account->rate.count,
				  id->account->rate.seconds, now);
	free(taken->recipients);
	*taken = (struct limits_taken){ 0 };
}
