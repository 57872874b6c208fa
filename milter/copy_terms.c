/* SPDX-License-Identifier: MIT */
#include "copy_terms.h"

#include "config.h"
#include "crypto.h"
#include "policy/outgoing.h"
#include "services.h"

static void
key_of(const struct copy_message *m, const struct outgoing_recipient *r,
       char hex_r[2 * SUBMISSION_KEY_LEN + 1])
{
	uint8_t key[SUBMISSION_KEY_LEN];

	submission_key(m->submission, r->email, key);
	crypto_hex(hex_r, key, sizeof(key));
}

void
copy_terms(struct copy_terms *t, const struct copy_message *m,
	   const struct outgoing_recipient *recipient)
{
	const struct outgoing *o = m->outgoing;
	/* Whom links are of when there is one message: its one recipient. */
	const struct outgoing_recipient *whose =
	    recipient != NULL ? recipient : &o->recipients[0];

	crypto_hex(t->submission, m->submission, SUBMISSION_ID_LEN);
	key_of(m, whose, t->key);
	key_of(m, requeue_tracked_as(o, whose), t->tracked_as);
	t->tracking = (struct tracking){
		.url = m->config->tracking_url,
		.key = m->services->tracking_key,
		.key_len = m->services->tracking_key_len,
		.account = m->account,
		.id = t->tracked_as,
	};
	t->as = (struct requeue_as){
		.recipient = recipient,
		.message_token = t->submission,
		.token = recipient != NULL ? t->key : t->submission,
		.now = m->accepted,
		.tracking = requeue_is_tracked(o) ? &t->tracking : NULL,
	};
}
