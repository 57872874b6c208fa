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

#include "feature.h"
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

/* Where a request goes and what says who sends it. Holds the key: to be wiped.
 */
#define API_PATH_MAX 511
#define API_HEADERS_MAX 4
#define API_HEADER_MAX 1023
struct api_head {
	char path[API_PATH_MAX + 1]; /* below the API's URL, with its query */
	char headers[API_HEADERS_MAX][API_HEADER_MAX + 1]; /* "Name: value" */
	size_t n_headers;
	/* What api_head_add_basic() wrote of the key, "" when it did not: an
	 * API may say that back as well. */
	char basic[API_HEADER_MAX + 1];
};

/* For `head`. False: it does not fit. */
bool api_head_path(struct api_head *h, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool api_head_add(struct api_head *h, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* "Authorization: Basic ..." */
bool api_head_add_basic(struct api_head *h, const char *user, size_t user_len,
			const char *password);

/* What a request may be made of beside the message: [api NAME]. */
struct api_settings {
	/* campaignmonitor: one of api_consents; NULL: the first. Not owned. */
	const char *consent_to_track;
	/* flexmail: instead of its own */
	struct api_field *fields;
	size_t n_fields;
};

/* Where a value stands in the request. */
struct api_field {
	char *name;
	char *path; /* of the member: "content.text" */
};

/* "Unchanged", ..., NULL. */
extern const char *const api_consents[];

/* Names of an API that is not public: what the format takes them for, and what
 * [api NAME] may say instead. */
#define API_FIELD_DEPTH_MAX 4
#define API_FIELD_PATH_MAX 128
struct api_field_row {
	const char *name;
	const char *path;
	bool is_member; /* of each object in an array: a name without a dot */
};
extern const struct api_field_row api_flexmail_fields[];
extern const size_t api_flexmail_n_fields;

/* Letters, digits, '_', '-', and dots between the names of at most
 * API_FIELD_DEPTH_MAX. */
bool api_field_is_path(const char *path);
/* The name of a field whose path is another's, or stands above or below it;
 * NULL: they can all be written. */
const char *api_flexmail_clash(const struct api_settings *s);

/* How keys are checked with an API: GET. */
struct api_keys {
	const char *routes_path;  /* the key's routes; 401 is a wrong key */
	const char *account_path; /* the account's name */
	const char *key_header;	  /* HTTP header that carries the key */
	/* Adds the routes of a 200 answer to the account. False: unusable. */
	bool (*read_routes)(const char *body, size_t len,
			    struct account *account);
	/* The account's id from a 200 answer. False: unusable. */
	bool (*read_account)(const char *body, size_t len, char *id_r);
};

struct api_format {
	const char *name; /* in configuration and logs */
	/* What becomes of each feature: enum support (feature.h). */
	unsigned char support[FEATURES];
	/* NULL: keys cannot be checked with this API. */
	const struct api_keys *keys;

	/* Sending is a POST of JSON. False: the key is not of the form this API
	 * has, or too long. The same key gives the same head. */
	bool (*head)(const struct api_settings *s, const struct outgoing *o,
		     const char *key, struct api_head *head_r);

	/* False: what the message has of a feature that is passed cannot be,
	 * and is left out of the request. That is as good as ignored, unless
	 * `fits` refuses it. NULL: all can. */
	bool (*takes)(const struct outgoing *o, enum feature f);

	/* What the API would refuse anyway, found out while the client can
	 * still be told; judge() asks, after feature_check(). False: refusal
	 * set, naming the header. NULL: nothing. */
	bool (*fits)(const struct outgoing *o, struct smtp_reply *refusal);

	/* The two pieces of a request body; joined they are one JSON document.
	 * False: over API_REQUEST_MAX. */
	bool (*recipient_piece)(const struct api_settings *s,
				const struct outgoing *o,
				const struct outgoing_recipient *r,
				struct dynbuf *out);
	bool (*shared_piece)(const struct api_settings *s,
			     const struct outgoing *o, struct dynbuf *out);

	/* The status an answer should have had: some APIs say 200 and mean no,
	 * or 400 and mean later. The body may be anything. NULL: the one it
	 * has. */
	unsigned (*true_status)(unsigned status, const char *body, size_t len);

	/* The provider's own words in an answer, for the client; "" if none. */
	void (*answer_text)(const char *body, size_t len, char *text_r,
			    size_t size);
	/* A 2xx answer: false when it is not what the API documents. */
	bool (*answer_accepted)(const char *body, size_t len,
				char id_r[API_ID_MAX + 1]);
};

/* All there are; a new one is a row here and a file. */
/* clang-format off */
#define APIS(row) \
	row(emaildelivery) \
	row(sparkpost) \
	row(campaignmonitor) \
	row(flexmail) \
	row(generic)
/* clang-format on */
#define API_DECLARE(name) extern const struct api_format api_##name;
APIS(API_DECLARE)

/* "emaildelivery, sparkpost, ...", for people. Returns dst. */
#define API_NAMES_SIZE 128
const char *api_names(char dst[API_NAMES_SIZE]);

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
