/* SPDX-License-Identifier: MIT */
/*
 * sasl_protocol: the Dovecot auth protocol, server side, without I/O.
 *
 * What Postfix says and needs is in Postfix's xsasl_dovecot_server.c: on
 * connect VERSION and CPID; then AUTH and CONT lines of tab-separated fields.
 * Mechanisms: PLAIN (RFC 4616) and LOGIN. Nothing here keeps a secret longer
 * than the struct it was parsed into; callers wipe it.
 * Thread-safe; the state is the caller's.
 */
#ifndef TXM_MILTER_SASL_PROTOCOL_H
#define TXM_MILTER_SASL_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>

/* One line of the protocol. Postfix passes on at most 12288 bytes of a client's
 * response (smtpd_sasl_response_limit), so a line of its is never too long; an
 * over-long response is refused as such. */
#define SASL_LINE_MAX 16384
#define SASL_SECRET_MAX 512
/* The user name is for the dialect to judge; PLAIN's authorization identity
 * means nothing. RFC 4616 asks for at least 255. */
#define SASL_USER_MAX 512
/* Room for any line that sasl_reply_*() writes, for a user of 255 bytes. */
#define SASL_REPLY_MAX 320

enum sasl_verb {
	SASL_IGNORE, /* nothing to do: VERSION, CPID, CANCEL, unknown verbs */
	SASL_ASK,    /* a request goes on: send sasl_reply_continue() */
	SASL_CHECK,  /* secret is complete: check it */
	SASL_REFUSE, /* send sasl_reply_fail() with `reason` */
	SASL_HANGUP, /* protocol broken: close */
};

/* One request of a connection: Postfix has one at a time. A new AUTH replaces
 * an unfinished one (the client gave up half-way), but while CHECKING no
 * further line may come: answer, then sasl_request_clear(). */
struct sasl_request {
	unsigned long id;
	enum {
		SASL_IDLE,
		SASL_PLAIN,
		SASL_LOGIN_USER,
		SASL_LOGIN_PASSWORD,
		SASL_CHECKING
	} step;
	const char *mech; /* "PLAIN", "LOGIN" or "unknown" */
	bool tls;	  /* "secured": after STARTTLS */
	char client[64];  /* rip=: the SMTP client's address, or "unknown";
			   * fit for a log line */
	/* PLAIN's authentication identity or LOGIN's user name; any bytes. It
	 * may be a key that was typed in the wrong place: never logged. */
	char user[SASL_USER_MAX + 1];
	size_t user_len;
	char secret[SASL_SECRET_MAX + 1]; /* the password: an API key */
	size_t secret_len;
	const char *reason; /* REFUSE: for the client; static */
	const char *prompt; /* ASK: base64 of what the client is asked */
};

/* Takes one line (without its LF, may hold NUL). A request that was refused
 * keeps id, mech, tls and client; user and secret are gone. */
enum sasl_verb sasl_line(struct sasl_request *r, const char *line, size_t len);

/* Forgets the request; wipes its secret. */
void sasl_request_clear(struct sasl_request *r);

/* Lines to send, LF included; the length, or -1 when dst is too small or a
 * text cannot be sent: empty, or with a control character. */
int sasl_reply_hello(char *dst, size_t size, unsigned pid, unsigned long cuid,
		     const char cookie_hex[33]);
int sasl_reply_continue(char *dst, size_t size, const struct sasl_request *r);
int sasl_reply_ok(char *dst, size_t size, unsigned long id, const char *user);
/* `reason` is what the client reads behind "535 5.7.8 Error: authentication
 * failed:". No user is named: people type keys there, and Postfix logs it. */
int sasl_reply_fail(char *dst, size_t size, unsigned long id,
		    const char *reason);

#endif
