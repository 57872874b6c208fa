/* SPDX-License-Identifier: MIT */
/*
 * standard_headers: what From, To, Subject and their like mean to every
 * provider, and what the dialects' own rules are made of. The functions with
 * the signature of a rule's `read` (dialect.h) go into tables of rules.
 */
#ifndef TXM_POLICY_STANDARD_HEADERS_H
#define TXM_POLICY_STANDARD_HEADERS_H

#include <stdbool.h>
#include <stddef.h>

#include "feature.h"
#include "outgoing.h"

struct dialect;
struct message;
struct reading;

/* 550 5.6.0 "name: what". Returns false. */
bool standard_refuse(struct reading *r, const char *name, const char *what);

/* A copy, free(). */
char *standard_copy(const char *s);

/* RAW. One mailbox with or without a name; required. */
bool standard_from(struct reading *r, const char *name, const char *value,
		   size_t len);

/* RAW. The envelope's recipients, and what To calls them. */
bool standard_to(struct reading *r, const char *name, const char *value,
		 size_t len);
/* The same, and the header itself for the reader (outgoing's to).
 * FEATURE_SHOWN is asked for when it names anybody but the one recipient. */
bool standard_to_shown(struct reading *r, const char *name, const char *value,
		       size_t len);
/* RAW. For the reader; it makes nobody a recipient, and asks for
 * FEATURE_SHOWN. */
bool standard_cc_shown(struct reading *r, const char *name, const char *value,
		       size_t len);

/* RAW. As it is to be read (mailbox_list_text), so that a comma in an encoded
 * name stays in it; one without any mailbox is its decoded text. */
bool standard_reply_to(struct reading *r, const char *name, const char *value,
		       size_t len);

/* DECODED. One that is empty is there. */
bool standard_subject(struct reading *r, const char *name, const char *value,
		      size_t len);

/* RAW. One that is no text is as good as none: it refuses nothing. */
bool standard_message_id(struct reading *r, const char *name, const char *value,
			 size_t len);

/* "true" and "false", in any case; anything else is refused. Empty is absent.
 * f is asked for by `name` when it is true. */
bool standard_switch(struct reading *r, const char *name, const char *value,
		     size_t len, enum outgoing_switch *at, enum feature f);

/* The account's route: it has one, or a default. */
bool standard_route(struct reading *r);

/* All headers without a rule in d, the dialect, that are no control headers,
 * none of MIME and none of the transport (Received, Return-Path, Bcc, DKIM,
 * ...). Decoded; one that cannot be, as it came, when that is text. Those of
 * addresses as mailbox_list_text, the first of each name. What is no text, and
 * what has curly braces in its name, is left out, and asks for
 * FEATURE_ODD_HEADERS; the others for FEATURE_HEADERS. */
void standard_other_headers(struct reading *r, const struct dialect *d);

/* For a dialect's `body`: takes what the message has into outgoing, and says
 * in outgoing->asked what it has. False: refusal set, for a body that cannot
 * be read. A message without any text is not refused here. */
bool standard_body(struct reading *r, struct message *m);

/* 550 (552 when it is too large): there is no part to send. Returns false. */
bool standard_no_body(struct reading *r, const struct message *m,
		      const char *what);

#endif
