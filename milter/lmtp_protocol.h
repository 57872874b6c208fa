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
 *   message over the size             552 5.3.4 at MAIL with SIZE, or for each
 *                                     recipient after the dot
 *   MAIL's and RCPT's arguments       lmtp_command.h
 *
 * An error is a command that is unknown, malformed or out of order since the
 * last message. Not what stands behind MAIL and RCPT, for that is the sender's
 * doing; nor what was sent in one go with a MAIL or RCPT that was refused.
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
/* Replies that were not taken yet: the answers to a message for all of its
 * recipients, and what was sent behind it in the meantime. Over this, and over
 * what is kept of that, the connection is to be closed. */
#define LMTP_OUT_MAX (1024 * 1024)
#define LMTP_KEPT_MAX (64 * 1024)

struct dynbuf;
struct lmtp_mail;
struct smtp_reply;
struct lmtp_protocol;

/* Called from within the functions below; they call none of those. */
struct lmtp_events {
	/* A transaction begins. sender: no brackets; "" is the null sender. */
	void (*mail)(void *arg, const char *sender,
		     const struct lmtp_mail *said);
	/* A recipient, and what the client typed (ORCPT, decoded; or NULL).
	 * The reply is the handler's: 250 takes it. */
	void (*recipient)(void *arg, const char *address, const char *typed,
			  struct smtp_reply *reply);
	/* Bytes of the message, dots unstuffed. */
	void (*data)(void *arg, const char *data, size_t len);
	/* The final dot. The transaction is the handler's: no event comes until
	 * lmtp_protocol_answer(), no reset for this one. */
	void (*end)(void *arg);
	/* RSET, LHLO, the message was too large, or the connection is over (at
	 * the latest in lmtp_protocol_free()): the transaction is gone. */
	void (*reset)(void *arg);
};

struct lmtp_settings {
	const char *host; /* in the greeting; copied */
	size_t size_max;  /* of a message, announced as SIZE; 0: no bound */
};

/* Its greeting is to be written already. */
struct lmtp_protocol *lmtp_protocol_new(const struct lmtp_settings *settings,
					const struct lmtp_events *events,
					void *arg);
void lmtp_protocol_free(struct lmtp_protocol **p);

/* Takes all bytes, but while a message waits for its answer: then what comes
 * is kept (bounded) until it is there. False: the connection shall be closed
 * when lmtp_protocol_out() is written. */
bool lmtp_protocol_feed(struct lmtp_protocol *p, const char *data, size_t len);

/* The replies for the recipients taken, in their order, all set; n is how many
 * were taken. Goes on with what was kept. False as above. */
bool lmtp_protocol_answer(struct lmtp_protocol *p,
			  const struct smtp_reply *replies, size_t n);

/* What is to be written. The caller takes from its front. */
struct dynbuf *lmtp_protocol_out(struct lmtp_protocol *p);

/* From now on no message is begun: when none is under way the peer hears 421
 * 4.3.2 and it is over, else that comes behind it. False as above. */
bool lmtp_protocol_drain(struct lmtp_protocol *p);

/* True while lmtp_protocol_answer() is awaited. */
bool lmtp_protocol_waits(const struct lmtp_protocol *p);

/* True from MAIL to the answer. */
bool lmtp_protocol_is_under_way(const struct lmtp_protocol *p);

#endif
