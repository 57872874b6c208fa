/* SPDX-License-Identifier: MIT */
/*
 * trial: "try": what would become of a message. The message comes through the
 * session and the policy as any other does, but as if somebody else had sent
 * it, and nothing is handed over; then trial_write() tells what was found.
 *
 * Not thread-safe; a session's.
 */
#ifndef TXM_MILTER_TRIAL_H
#define TXM_MILTER_TRIAL_H

#include <stdbool.h>

#include "key_cache.h"

struct account;
struct config;
struct dialect;
struct dynbuf;
struct message;
struct request;
struct services;
struct trace;
struct verdict;

struct trial {
	struct account *account;     /* who sends it */
	char key_id[KEY_ID_LEN + 1]; /* "" for an account without a key */
	bool json;
	bool page; /* HTML to look at */
	struct trace *trace;
};

/* What the request "try" asks for: an account by its name, or by a key, which
 * is checked as a login is and may wait for that. NULL and an error text
 * (free()). */
struct trial *trial_new(struct services *s, const struct request *r,
			char **error_r);
void trial_free(struct trial **t);

/* The answer in the words of control.h, about a message that was judged. */
void trial_write(const struct trial *t, const struct config *c,
		 const struct dialect *d, const struct message *m,
		 const struct verdict *v, struct dynbuf *out);

#endif
