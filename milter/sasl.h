/* SPDX-License-Identifier: MIT */
/*
 * sasl: the responder that Postfix's smtpd asks (smtpd_sasl_type = dovecot).
 *
 * One thread with an epoll loop serves every smtpd process. It never waits
 * for a key check: the answer is posted back to the loop. Good key: OK with
 * user=<account>:<keyid>. Wrong: FAIL with a reason (the client hears 535).
 * Cannot tell, or no answer within SASL_ANSWER_MS: the connection is closed,
 * which is the only way to a 454 (Postfix gives up by itself at 10 s).
 */
#ifndef TXM_MILTER_SASL_H
#define TXM_MILTER_SASL_H

#define SASL_ANSWER_MS 8000
/* smtpd processes that may be connected; one more is refused and logged. */
#define SASL_CONNECTIONS_MAX 10000

struct key_check;
struct sasl;

struct sasl_limits {
	unsigned answer_ms;
	unsigned connections;
};

/* Takes a listening, non-blocking socket (owned from now on; closed at stop,
 * or when it cannot start). limits: NULL for the two above. NULL and *error_r
 * (static) when it cannot start. */
struct sasl *sasl_start(int listen_fd, struct key_check *keys,
			const struct sasl_limits *limits, const char **error_r);

/* Closes every connection and joins the thread; the socket's file stays.
 * Answers of key checks that come later are dropped, so the HTTP pool may be
 * stopped after this. */
void sasl_stop(struct sasl **s);

#endif
