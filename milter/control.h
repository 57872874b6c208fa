/* SPDX-License-Identifier: MIT */
/*
 * control: the management protocol, spoken inside the milter protocol.
 *
 * txmilterctl connects to the milter socket as an MTA would. A message whose
 * MAIL step brings the macro CONTROL_MACRO is a request; Postfix sends the
 * macros that we name in the negotiation and no SMTP client can define one. A
 * request is a whole message: MAIL <>, RCPT <control>, end of headers, the
 * request as the body, end of message. The answer is the replaced body, and
 * the message is discarded.
 *
 * The macro's value is CONTROL_HELLO for the first request of a connection,
 * which has an empty body and is answered by a nonce. Each later one's is the
 * hexadecimal HMAC-SHA256 under the admin secret of the nonce of the answer
 * before, as it was written there, followed by the whole body. A nonce is of
 * one connection and counts once, so that nothing can be replayed. After a
 * wrong MAC the connection is of no more use.
 *
 * A request:
 *
 *	command key add
 *	format text | json
 *	arg account=acme                zero or more; operands are "arg =value"
 *	                                an empty line, then what the command
 *reads
 *
 * An answer: a line "EXITCODE NONCE", where the code is one of sysexits(3) and
 * the nonce "-" when there will be no further request, then the command's
 * output, which is an error text unless the code is 0.
 *
 * After the request "try", the next message on the connection that has no
 * CONTROL_MACRO is tried and not handed over; its replaced body is the answer,
 * of the same form, with "-" for a nonce: the one before still counts.
 */
#ifndef TXM_MILTER_CONTROL_H
#define TXM_MILTER_CONTROL_H

#define CONTROL_MACRO "{txmilter_admin}"
#define CONTROL_HELLO "hello"
#define CONTROL_RECIPIENT "<control>"

/* A request and an answer, all of it. */
#define CONTROL_REQUEST_MAX (1024 * 1024)
#define CONTROL_ANSWER_MAX (64 * 1024 * 1024)
#define CONTROL_ARGS_MAX 256

/* HMAC-SHA256 and a nonce of 32 random bytes, in hexadecimal. */
#define CONTROL_MAC_LEN 64
#define CONTROL_NONCE_LEN 64

/* The admin secret: a file that others cannot read; its first line, without
 * the line's end. */
#define CONTROL_SECRET_MIN 32
#define CONTROL_SECRET_MAX 512

#endif
