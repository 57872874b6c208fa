/* SPDX-License-Identifier: MIT */
/*
 * submission: which message it is, for whoever must not take it twice.
 *
 * A client that heard no answer, or a 4xx, sends the message again, maybe to
 * another daemon after a crash. So the id of a message with a Message-ID is
 * made of what it is: who sends it, its Message-ID and all of its content. Not
 * of its recipients, who may be fewer the second time, nor of Date and
 * Received, which a client may write anew. Without a Message-ID nobody can tell
 * a repetition from a new message: 128 random bits. Thread-safe; no state.
 */
#ifndef TXM_MILTER_SUBMISSION_H
#define TXM_MILTER_SUBMISSION_H

#include <stdint.h>

#include "crypto.h"

#define SUBMISSION_ID_LEN 16
#define SUBMISSION_KEY_LEN 16

struct outgoing;

void submission_id(const char *account, const struct outgoing *o,
		   uint8_t id_r[SUBMISSION_ID_LEN]);

/* The idempotency key of a message to one recipient, who is the same whatever
 * the case of the domain (RFC 5321 section 2.4). */
void submission_key(const uint8_t id[SUBMISSION_ID_LEN], const char *email,
		    uint8_t key_r[SUBMISSION_KEY_LEN]);

/* Of what is sent of the body: a plan is of one message (plan.h). */
void submission_content(const struct outgoing *o,
			uint8_t hash_r[CRYPTO_HASH_LEN]);

#endif
