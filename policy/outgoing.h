/* SPDX-License-Identifier: MIT */
/*
 * outgoing: a message as it is handed over, in terms of no provider.
 *
 * A dialect fills it from a message; an API format writes it as a request, and
 * a transport route makes mail of it. Every string is valid UTF-8 without
 * control characters, but for the texts of the body, and for those that are
 * JSON (variables, labels, metadata). Strings that are absent are NULL. Owns
 * everything but the route and the names in `asked`.
 */
#ifndef TXM_POLICY_OUTGOING_H
#define TXM_POLICY_OUTGOING_H

#include <stdbool.h>
#include <stddef.h>

#include "body.h"
#include "feature.h"

struct route;

/* Recipients of the envelope and those that a header adds. */
#define OUTGOING_RECIPIENTS_MAX 2000

/* As what somebody gets the message. All but TO are from a header that asks for
 * copies, and are not in the envelope of the client. */
enum outgoing_kind {
	OUTGOING_TO,
	OUTGOING_CC,
	OUTGOING_BCC,	  /* sees his own address as Bcc, and nobody else's */
	OUTGOING_ARCHIVE, /* gets what the recipient got */
	OUTGOING_KINDS,
};

struct outgoing_recipient {
	char *email;
	char *name; /* "" when none is known */
	enum outgoing_kind kind;
};

/* What nobody said is the provider's way. */
enum outgoing_switch { SWITCH_UNSET, SWITCH_ON, SWITCH_OFF };

/* A header that goes along: not one with a member here, and none of MIME. */
struct outgoing_header {
	char *name;
	char *value; /* decoded */
};

struct outgoing {
	char *from_name; /* "" when there is none */
	char *from_email;
	char *return_path; /* envelope sender; "" is the null sender */
	char *subject;	   /* "" when the header is empty */
	char *reply_to;	   /* mailboxes, as mailbox_list_text */
	char *to;	   /* what the reader sees: also mailbox_list_text */
	char *cc;	  /* the same; with the CC recipients of this message */
	char *message_id; /* with its brackets, as the client sent it */
	char *tag;	  /* the one name for reports: tag, group, campaign */
	char *labels;	  /* more of them: a JSON array of strings */
	char *metadata;	  /* a JSON object */
	char *template_id;
	char *variables; /* a JSON object, as the client wrote it */
	char *dkim_key;
	char *ip_pool;
	char *subaccount; /* of the login */
	char *route_id;
	enum outgoing_switch open_tracking, click_tracking, inline_css,
	    transactional, skip_suppression;
	/* How that route travels here, or NULL: not known yet. Not owned. */
	const struct route *route;
	struct outgoing_recipient *recipients;
	size_t n_recipients;
	struct outgoing_header *headers;
	size_t n_headers;

	/* The body: not in a plan, it is read again. */
	char *html;
	size_t html_len;
	char *text;
	size_t text_len;
	bool html_is_signed; /* below a multipart/signed */
	bool text_is_made;   /* of the HTML: the client sent none */
	bool text_is_flowed; /* its line breaks may be soft (RFC 3676); no HTML
			      */
	char *amp;
	size_t amp_len;
	struct body_file *files;
	size_t n_files;

	/* Which header asks for it (static); NULL: nobody does. */
	const char *asked[FEATURES];
	/* It does not insist: a default of the provider, or a header for
	 * another one. Nothing is refused for that. */
	bool wished[FEATURES];
};

struct outgoing *outgoing_new(void);
void outgoing_free(struct outgoing **o);

/* Copies of the strings. */
void outgoing_add_recipient(struct outgoing *o, const char *email,
			    const char *name, enum outgoing_kind kind);
void outgoing_add_header(struct outgoing *o, const char *name,
			 const char *value);

/* Its strings and switches by name, for who writes, reads and hashes all of
 * them: a new one is a row in outgoing.c. */
struct outgoing_string {
	const char *name;
	size_t offset; /* of a char * in struct outgoing */
};
struct outgoing_switch_row {
	const char *name;
	size_t offset; /* of an enum outgoing_switch in struct outgoing */
};
extern const struct outgoing_string outgoing_strings[];
extern const size_t outgoing_n_strings;
extern const struct outgoing_switch_row outgoing_switches[];
extern const size_t outgoing_n_switches;

/* "to", "cc", "bcc", "archive" */
extern const char *const outgoing_kinds[OUTGOING_KINDS];

char **outgoing_string_at(struct outgoing *o, size_t row);
const char *outgoing_string(const struct outgoing *o, size_t row);
enum outgoing_switch *outgoing_switch_at(struct outgoing *o, size_t row);
enum outgoing_switch outgoing_switch_is(const struct outgoing *o, size_t row);

#endif
