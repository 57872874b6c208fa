/* SPDX-License-Identifier: MIT */
/*
 * plan: what the LMTP agent needs to know about a message in Postfix's queue,
 * and that is not its body: who sends it, to which API, what the headers said,
 * and what became of each recipient already.
 *
 * Written as one JSON text, which is sealed (plan_seal.h) before it is in a
 * message. A version is in it: what a newer version wrote an older one refuses.
 * Bounded by the bounds of a message. Not thread-safe.
 */
#ifndef TXM_POLICY_PLAN_H
#define TXM_POLICY_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "account.h"
#include "smtp_reply.h"

struct dynbuf;
struct outgoing;

#define PLAN_VERSION 2
/* Written before there were headers in it. */
#define PLAN_VERSION_OLD 1
/* The JSON text: 2000 recipients with names, the headers, all escaped. */
#define PLAN_MAX (8 * 1024 * 1024)
#define PLAN_SUBMISSION_LEN 16
#define PLAN_CONTENT_LEN 32
/* To be raised when the same body comes to other bytes than before (charsets,
 * text as HTML): then `content` of older plans is not looked at. */
#define PLAN_BODY_VERSION 3
#define PLAN_QUEUE_ID_MAX 64
#define PLAN_NAME_MAX 64
#define PLAN_KEY_MAX 256

enum plan_state {
	PLAN_OPEN,    /* the API is to be called */
	PLAN_DONE,    /* it took the message already */
	PLAN_REFUSED, /* it refused it for good: reply is set */
};

struct plan_recipient {
	enum plan_state state;
	struct smtp_reply reply;
};

struct plan {
	unsigned char submission[PLAN_SUBMISSION_LEN];
	/* A hash of what is sent of the body: a plan is of one message. */
	unsigned char content[PLAN_CONTENT_LEN];
	int64_t body_version; /* PLAN_BODY_VERSION of who wrote it */
	char queue_id[PLAN_QUEUE_ID_MAX + 1]; /* where it was accepted */
	char account[ACCOUNT_ID_MAX + 1];
	char key_id[PLAN_NAME_MAX + 1];
	bool local;		     /* the key was made here */
	char key[PLAN_KEY_MAX + 1];  /* the secret for the API */
	/* Name of an [api NAME]; "": copies go to the route's transport. */
	char api[PLAN_NAME_MAX + 1];
	char dialect[PLAN_NAME_MAX + 1];
	int64_t accepted;		   /* seconds of the real-time clock */
	struct outgoing *outgoing;	   /* without a body; owned */
	struct plan_recipient *recipients; /* as many as outgoing has; owned */
};

/* All recipients open, the rest empty. outgoing is taken. */
struct plan *plan_new(struct outgoing *outgoing);
/* Wipes the key. */
void plan_free(struct plan **p);

/* Appends the JSON text. False when out is full, or a string is no UTF-8. It
 * holds the key: wipe it. What out was before it grew never held the key. */
bool plan_write(const struct plan *p, struct dynbuf *out);

/* NULL when it is not one, or of another version. */
struct plan *plan_read(const char *text, size_t len);

/* The place of a recipient in the plan by its address, as Postfix has it now
 * (quotes may be gone or have come, the domain's case may differ); SIZE_MAX:
 * none. */
size_t plan_find(const struct plan *p, const char *address);

#endif
