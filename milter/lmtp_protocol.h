/* SPDX-License-Identifier: MIT */
/*
 * lmtp_protocol: the server side of LMTP (RFC 2033) as a state machine: bytes
 * in, events and replies out. No sockets, no clock, no threads.
 *
 * LHLO, PIPELINING, 8BITMIME, SIZE, SMTPUTF8, ENHANCEDSTATUSCODES and DSN; of
 * DSN only ORCPT is read, which is how Postfix says what the client typed. One
 * reply for each recipient after the final dot.
 *
 *   command line over LMTP_LINE_MAX   500 5.5.2, once for the line
 *   bare LF                           ends a command line, is data in DATA:
 *                                     only CRLF.CRLF ends a message
 *   unknown command                   500 5.5.1
 *   out of order                      503 5.5.1
 *   HELO, EHLO                        500 5.5.1: this is LMTP
 *   more recipients than the bound    452 4.5.3
 *   more than LMTP_ERRORS_MAX errors  421 4.7.0 and the end
 *   message over the size             552 5.3.4 for each recipient
 *
 * Not thread-safe; one per connection.
 */
#ifndef TXM_MILTER_LMTP_PROTOCOL_H
#define TXM_MILTER_LMTP_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>

/* Postfix's line_length_limit is 2048; ORCPT may be long. */
#define LMTP_LINE_MAX 8192
#define LMTP_RECIPIENTS_MAX 1000
#define LMTP_ERRORS_MAX 20
/* Replies that were not taken yet: a full window of RCPT, and the answers to
 * a message for all of them. */
#define LMTP_OUT_MAX (1024 * 1024)

struct dynbuf;
struct smtp_reply;
struct lmtp_protocol;

/* Called from within lmtp_protocol_feed(). */
struct lmtp_events {
	/* A transaction begins. sender: no brackets; "" is the null sender. */
	void (*mail)(void *arg, const char *sender);
	/* A recipient, and what the client typed (ORCPT, decoded; or NULL).
	 * The reply is the handler's: 250 takes it. */
	void (*recipient)(void *arg, const char *address, const char *typed,
			  struct smtp_reply *reply);
	/* Bytes of the message, dots unstuffed. */
	void (*data)(void *arg, const char *data, size_t len);
	/* The final dot. No event comes until lmtp_protocol_answer(). */
	void (*end)(void *arg);
	/* RSET, LHLO, or the connection is over: the transaction is gone. */
	void (*reset)(void *arg);
};

struct lmtp_settings {
	const char *host;   /* in the greeting */
	size_t size_max;    /* of a message, announced as SIZE */
};

struct lmtp_protocol *lmtp_protocol_new(const struct lmtp_settings *settings,
					const struct lmtp_events *events,
					void *arg);
void lmtp_protocol_free(struct lmtp_protocol **p);

/* Takes all bytes, but while a message waits for its answer: then what comes
 * is kept (bounded) until it is there. False: the connection shall be closed
 * when lmtp_protocol_out() is written. */
bool lmtp_protocol_feed(struct lmtp_protocol *p, const char *data, size_t len);

/* The replies for the recipients taken, in their order; goes on with what was
 * kept. False as above. */
bool lmtp_protocol_answer(struct lmtp_protocol *p,
			  const struct smtp_reply *replies, size_t n);

/* What is to be written. The caller takes from its front. */
struct dynbuf *lmtp_protocol_out(struct lmtp_protocol *p);

/* True while lmtp_protocol_answer() is awaited. */
bool lmtp_protocol_waits(const struct lmtp_protocol *p);

#endif
