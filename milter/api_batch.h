/* SPDX-License-Identifier: MIT */
/*
 * api_batch: the calls that hand one message to an API, one for each
 * recipient, API_BATCH_PARALLEL at a time.
 *
 * A batch never waits: it begins in the caller's thread, goes on in the HTTP
 * pool's, and says when it is over. Who was sent it already (sent_memory) has
 * it, and is not called for, whatever becomes of the others; nor is whom
 * another batch is sending it to just now. An API that is down (api_health) is
 * not called at all.
 *
 * The first recipient may be called alone: then nobody else is called while
 * the API does not answer, or when it does not know the key. A probe is always
 * alone; when it is answered the others follow.
 *
 * One thread owns a batch before the start and after `done`; in between nobody
 * touches it.
 */
#ifndef TXM_MILTER_API_BATCH_H
#define TXM_MILTER_API_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define API_BATCH_PARALLEL 16

struct api_batch;
struct config_api;
struct outgoing;
struct services;
struct smtp_reply;

/* What it points to must outlive the batch. */
struct api_batch_settings {
	struct services *services;
	const struct config_api *api;
	const char *queue_id;
	const char *key_id;
	const char *key; /* the secret */
	const struct outgoing *outgoing;
	const uint8_t *submission; /* SUBMISSION_ID_LEN */
	bool first_alone;
	bool may_wait;		 /* no client waits for the answer */
	unsigned call_ms;	 /* for one call */
	int64_t begin_by_ms;	 /* clock_ms(): no call begins later; one that
				    would be cut soon may have had effect */
	int64_t deadline_ms;	 /* each ends by then */
	void (*done)(void *arg); /* in the HTTP thread, or from within start */
	void *arg;
};

enum batch_state {
	BATCH_OPEN,	/* to be tried again: reply says why */
	BATCH_ACCEPTED, /* the API has it */
	BATCH_REFUSED,	/* for good: reply says why */
	BATCH_SKIPPED,	/* nobody asked */
};

struct api_batch *api_batch_new(const struct api_batch_settings *settings);
void api_batch_free(struct api_batch **b);

/* Before the start: that recipient is not called for. */
void api_batch_skip(struct api_batch *b, size_t recipient);

/* `done` is called exactly once. */
void api_batch_start(struct api_batch *b);

/* After `done`. The reply of a recipient that was not accepted; OPEN: 451. */
enum batch_state api_batch_state(const struct api_batch *b, size_t recipient);
const struct smtp_reply *api_batch_reply(const struct api_batch *b,
					 size_t recipient);

/* OPEN, and nothing is known of that recipient in particular. */
bool api_batch_is_untried(const struct api_batch *b, size_t recipient);

struct api_batch_counts {
	size_t accepted, refused, open;
	/* Whose reply says why, when refused > 0: a wrong key's, else the
	 * first. */
	size_t why;
	bool key_wrong; /* the API does not know the key */
	bool misfit;	/* it gave an answer that is our fault or its */
	bool too_large; /* the request cannot be written: none called */
};
void api_batch_counts(const struct api_batch *b,
		      struct api_batch_counts *counts_r);

#endif
