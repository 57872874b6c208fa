/* SPDX-License-Identifier: MIT */
/*
 * copy_terms: by what names a message goes to a transport, as a whole or as
 * the copy of one recipient: the tokens in its Message-ID and return path, and
 * the id its links are signed with. The same for each attempt. Thread-safe; no
 * state.
 */
#ifndef TXM_MILTER_COPY_TERMS_H
#define TXM_MILTER_COPY_TERMS_H

#include <stdint.h>

#include "policy/requeue.h"
#include "policy/tracking.h"
#include "submission.h"

struct config;
struct services;

/* Points into itself: not to be copied. */
struct copy_terms {
	struct requeue_as as;
	struct tracking tracking;
	char submission[2 * SUBMISSION_ID_LEN + 1];
	char key[2 * SUBMISSION_KEY_LEN + 1];
	char tracked_as[2 * SUBMISSION_KEY_LEN + 1];
};

/* Of whose message it is: what else must live as long. */
struct copy_message {
	const struct services *services;
	const struct config *config;
	const char *account;
	const struct outgoing *outgoing;
	const uint8_t *submission;
	int64_t accepted; /* seconds of the real-time clock */
};

/* recipient: of outgoing; NULL: one message for all. */
void copy_terms(struct copy_terms *t, const struct copy_message *m,
		const struct outgoing_recipient *recipient);

#endif
