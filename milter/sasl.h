/* SPDX-License-Identifier: MIT */
/*
 * sasl: the responder that Postfix's smtpd asks (smtpd_sasl_type = dovecot).
 *
 * One thread with an epoll loop serves every smtpd process. It never waits
 * for a key check: the answer is posted back to the loop. Good key and user
 * name: OK with user=<account>:<keyid>, and "+" and the subaccount that the
 * user name names. Wrong: FAIL with a reason (the client hears 535). Cannot
 * tell, or no answer within SASL_ANSWER_MS: the connection is closed, which is
 * the only way to a 454 (Postfix gives up by itself at 10 s): of what FAIL can
 * say Postfix 3.7 reads nothing but the reason.
 *
 * A client's address from which too many keys were wrong hears 454 as well,
 * before its key is looked at. A wrong key takes one of its tokens, a good one
 * none; keys that are checked at the same time all count as before the first.
 * A good key with another user name than was issued with it counts, and is
 * answered, as a wrong key; only the log tells them apart.
 */
#ifndef TXM_MILTER_SASL_H
#define TXM_MILTER_SASL_H

#include <stddef.h>

#define SASL_ANSWER_MS 8000
/* smtpd processes that may be connected; one more is refused and logged. */
#define SASL_CONNECTIONS_MAX 10000

struct identity;
struct key_check;
struct metrics;
struct rate_limit;
struct sasl;

struct sasl_limits {
	unsigned answer_ms;	     /* 0: the above */
	unsigned connections;	     /* 0: the above */
	struct rate_limit *failures; /* where they are counted, as "auth" and
				      * the address; NULL: no limit */
	unsigned auth_failures;	 /* a minute, for each address; 0: no limit */
	struct metrics *metrics; /* NULL: none */
	/* The user name of a login whose key is good, as dialect_login():
	 * DIALECT_LOGIN_NOT_ISSUED is not for the client. NULL: any name will
	 * do. */
	const char *(*login)(void *arg, const struct identity *id,
			     const char *user, size_t len, char *subaccount_r);
	void *login_arg;
};

/* Takes a listening, non-blocking socket (owned from now on; closed at stop,
 * or when it cannot start). limits (copied; what it points to must
 * outlive it): NULL for all zeros. NULL and *error_r (static) when it cannot
 * start. */
struct sasl *sasl_start(int listen_fd, struct key_check *keys,
			const struct sasl_limits *limits, const char **error_r);

/* Closes every connection and joins the thread; the socket's file stays.
 * Answers of key checks that come later are dropped, so the HTTP pool may be
 * stopped after this. */
void sasl_stop(struct sasl **s);

#endif
