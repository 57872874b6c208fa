/* SPDX-License-Identifier: MIT */
/*
 * message: a message while it arrives, one call per milter event.
 *
 * It keeps the envelope, all headers, and of the body what body.h keeps. The
 * first thing found that makes the message impossible is remembered as its
 * refusal; everything after that is ignored, for the milter protocol's no-reply
 * mode lets nobody be told before the end.
 *
 * Strings given are copied. Not thread-safe; one session at a time has it.
 */
#ifndef TXM_POLICY_MESSAGE_H
#define TXM_POLICY_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "body.h"
#include "smtp_reply.h"

#define MESSAGE_RECIPIENTS_MAX 1000
#define MESSAGE_HEADERS_MAX 1000
/* Postfix cuts a header at 60,000 bytes without a word as soon as a milter is
 * configured (KLUDGE_HEADER_LIMIT), at the last line end above nine tenths of
 * that if there is one (cleanup_out_header): what is longer than 54,000 bytes
 * may have been cut. Name and value together. */
#define MESSAGE_HEADER_MAX 53900
/* All that is kept of the headers, together. */
#define MESSAGE_HEADERS_KEPT_MAX 1048576

struct message_header {
	char *name;
	char *value; /* raw: folds are LF and white space */
	size_t value_len;
};

struct message;

struct message *message_new(const char *sender);
void message_free(struct message **m);

struct trace;
/* Notes what becomes of the message in t, which must outlive it. Before the
 * first header. Then the body is read to its end. */
void message_trace(struct message *m, struct trace *t);

/* An envelope recipient, without angle brackets. Duplicates are one, and so are
 * those that differ in upper and lower case only: to Postfix's queue they are
 * (cleanup's duplicate filter). */
void message_recipient(struct message *m, const char *addr);

/* A header field, as the milter protocol gives it. */
void message_header(struct message *m, const char *name, const char *value,
		    size_t value_len);

/* What is kept of the body (body_want); before its first byte. */
void message_want(struct message *m, unsigned wants);

/* What of it is needed (body_need); before message_take_body(). */
void message_need(struct message *m, unsigned needs);

/* True when no later byte of the body can matter (answer SKIP). */
bool message_body(struct message *m, const char *data, size_t len);

/* What the judge reads. */
const char *message_sender(const struct message *m);
size_t message_n_recipients(const struct message *m);
const char *message_recipient_at(const struct message *m, size_t i);

/* The first header of that name, or NULL. */
const struct message_header *message_find(const struct message *m,
					  const char *name);

/* All headers, in their order, as they were written. */
size_t message_n_headers(const struct message *m);
const struct message_header *message_header_at(const struct message *m,
					       size_t i);

/* The subaccount of the login (at most SUBACCOUNT_MAX), "" when it named none.
 */
void message_set_subaccount(struct message *m, const char *subaccount);
const char *message_subaccount(const struct message *m);

const struct smtp_reply *message_refusal(const struct message *m);

/* Ends the body (see body_end); once. */
enum body_kind message_take_body(struct message *m, char **text_r,
				 size_t *len_r);
struct body *message_body_state(const struct message *m);

/* Bytes of body that arrived, for the log. */
size_t message_bytes(const struct message *m);

#endif
