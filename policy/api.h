/* SPDX-License-Identifier: MIT */
/*
 * api: the HTTP API of one provider, as pure mapping: what to send for a
 * recipient of a message, and what an answer means. The sending is the HTTP
 * pool's. One file per format, registered in api.c.
 *
 * A request body is two pieces, so that a message to many recipients is
 * written once: the piece about one recipient, then the piece they share.
 */
#ifndef TXM_POLICY_API_H
#define TXM_POLICY_API_H

#include <stdbool.h>
#include <stddef.h>

#include "smtp_reply.h"

struct account;
struct dynbuf;
struct outgoing;
struct outgoing_recipient;

/* One request body; JSON can be six times what it escapes. */
#define API_REQUEST_MAX (64 * 1024 * 1024)
/* An answer that is longer is unusable. */
#define API_ANSWER_MAX 262144
#define API_ID_MAX 128

enum api_outcome_kind {
	API_ACCEPTED,
	API_REFUSED,   /* for good: this message, to this recipient */
	API_KEY_WRONG, /* 401: the key leaves the cache */
	API_LATER,     /* 408, 409, 420, 425, 429, 5xx, no answer */
	API_MISFIT,    /* 3xx, 404, 405, unusable: our configuration */
};

struct api_outcome {
	enum api_outcome_kind kind;
	struct smtp_reply reply; /* for the client; ACCEPTED: 250 */
	char id[API_ID_MAX + 1]; /* the API's id for the message, or "" */
};

enum api_key_answer {
	API_KEY_GOOD,
	API_KEY_BAD,	 /* 401, 403: wrong, revoked, not allowed */
	API_KEY_NO_IDEA, /* anything else: ask again later */
};

struct api_format {
	const char *name;	 /* in configuration and logs */
	const char *send_path;	 /* below the API's URL; POST, JSON */
	const char *routes_path; /* GET: the key's routes; 401 is a wrong key */
	const char *account_path; /* GET: the account's name */
	const char *key_header;	  /* HTTP header that carries the key */

	/* The two pieces of a request body; joined they are one JSON document.
	 * False: over API_REQUEST_MAX. */
	bool (*recipient_piece)(const struct outgoing_recipient *r,
				struct dynbuf *out);
	bool (*shared_piece)(const struct outgoing *o, struct dynbuf *out);

	/* The provider's own words in an answer, for the client; "" if none. */
	void (*answer_text)(const char *body, size_t len, char *text_r,
			    size_t size);
	/* A 2xx answer: false when it is not what the API documents. */
	bool (*answer_accepted)(const char *body, size_t len,
				char id_r[API_ID_MAX + 1]);

	/* Adds the routes of a 200 answer to the account. False: unusable. */
	bool (*read_routes)(const char *body, size_t len,
			    struct account *account);
	/* The account's id from a 200 answer. False: unusable. */
	bool (*read_account)(const char *body, size_t len, char *id_r);
};

extern const struct api_format api_emaildelivery;

const struct api_format *api_find(const char *name);
extern const struct api_format *const apis[];

/* What an HTTP answer to a send means (the table of the design, one place for
 * all formats). status 0: no answer at all, `body` is then the reason. */
void api_outcome(const struct api_format *f, unsigned status, const char *body,
		 size_t len, struct api_outcome *outcome_r);

enum api_key_answer api_key_answer(unsigned status);

/* What became of a message's recipients while its client waited. */
struct api_tally {
	size_t recipients, accepted, refused, open;
	bool key_wrong; /* the API does not know the key */
	bool misfit;	/* it gave an answer that is our fault or its */
};

/* What becomes of the message. Whatever the API has for somebody is never
 * answered with an error: the client would send it again. */
enum api_conclusion {
	API_ALL_SENT,
	API_ALL_REFUSED, /* the client hears why */
	API_NOT_OURS,	 /* nobody has it, for a wrong URL: the client comes
			  * again, and an error in the log is noticed */
	API_REST_QUEUED, /* who is done stays done */
};
enum api_conclusion api_conclude(const struct api_tally *t);

#endif
