/* SPDX-License-Identifier: MIT */
/*
 * metrics: what is counted, as one table, and its text in Prometheus'
 * exposition format 0.0.4. No label names a key, an account or a recipient.
 * Thread-safe; counting never waits for long.
 */
#ifndef TXM_MILTER_METRICS_H
#define TXM_MILTER_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "key_reason.h"

struct dynbuf;
struct metrics;

/* Dialects and routes are the operator's words, but bounded. What is over a
 * bound, or is not printable UTF-8, is counted as "other". A route of two
 * dialects is two routes here. */
#define METRICS_DIALECTS_MAX 16
#define METRICS_ROUTES_MAX 200
/* More are not shown. */
#define METRICS_APIS_MAX 32
#define METRICS_LABEL_MAX 128

/* metrics_write() never appends more. */
#define METRICS_PAGE_MAX (1024 * 1024)

struct metrics *metrics_new(void);
void metrics_free(struct metrics **m);

/* A message is over: txmilter_messages_total{dialect,route,result}, bytes,
 * and parts dropped by kind. */
struct metrics_message {
	const char *dialect;
	const char *route;  /* "" when it has none */
	const char *result; /* "sent", "queued", "deferred", "refused", else
			     * "other" */
	size_t bytes;
	unsigned images, attachments, other; /* parts dropped */
};
void metrics_message(struct metrics *m, const struct metrics_message *what);

/* Histograms of seconds. */
enum metrics_time { METRICS_HANDOFF, METRICS_KEY_CHECK, METRICS_TIMES };
void metrics_time(struct metrics *m, enum metrics_time which, double seconds);

/* Why a login or a header key was not accepted. */
enum metrics_auth {
	METRICS_AUTH_WRONG,	/* not known */
	METRICS_AUTH_MISTYPED,	/* its checksum is wrong */
	METRICS_AUTH_DISABLED,	/* disabled, not yet or no more good */
	METRICS_AUTH_ADDRESS,	/* not from there */
	METRICS_AUTH_LOGIN,	/* good, but not with that user name */
	METRICS_AUTH_MALFORMED, /* no key, no TLS, bad protocol */
	METRICS_AUTH_THROTTLED, /* too many wrong ones from there */
	METRICS_AUTH_UNKNOWN,	/* could not be checked */
	METRICS_AUTH_REASONS
};
/* Of a key that is wrong. */
enum metrics_auth metrics_auth_of(enum key_reason reason);
void metrics_auth_failed(struct metrics *m, enum metrics_auth why);

/* A call for one recipient is over, or was not needed. */
enum metrics_call {
	METRICS_CALL_ACCEPTED,
	METRICS_CALL_REFUSED,
	METRICS_CALL_KEY_WRONG,
	METRICS_CALL_LATER,
	METRICS_CALL_MISFIT,
	METRICS_CALL_KNOWN,   /* sent before: not called */
	METRICS_CALL_ASSUMED, /* not answered, taken for accepted */
	METRICS_CALLS
};
void metrics_call(struct metrics *m, enum metrics_call what);

/* Recipients of a delivery out of the queue, by what Postfix was told. */
void metrics_delivery(struct metrics *m, size_t accepted, size_t refused,
		      size_t later);

struct metrics_api {
	const char *name; /* letters, digits and . _ - */
	bool up;	  /* its circuit is closed */
};

/* What others know and tell when asked. */
struct metrics_now {
	int64_t started; /* the process; seconds of the real-time clock */
	unsigned sessions, handoffs;
	unsigned http_connections;
	unsigned http_calls;		       /* under way */
	unsigned long http_total, http_failed; /* over; those without answer */
	size_t cached_keys, local_keys, limited_names;
	unsigned long cache_hits, cache_misses;
	unsigned lmtp_connections;
	const struct metrics_api *apis;
	size_t n_apis;
	bool draining;
};

/* Appends all of it. False when out is full. Each figure is true at some time
 * during the call, not all at the same. */
bool metrics_write(struct metrics *m, const struct metrics_now *now,
		   struct dynbuf *out);

/* The i-th metric of the table, for the check against the manual: its name,
 * as written; NULL when there are no more. */
const char *metrics_name(size_t i);

#endif
