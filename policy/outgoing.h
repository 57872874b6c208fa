/* SPDX-License-Identifier: MIT */
/*
 * outgoing: a message as it is handed over, in terms of no provider.
 *
 * A dialect fills it from a message; an API format writes it as a request.
 * Every string is valid UTF-8 without control characters, but for html and
 * variables (JSON text). Strings that are absent are NULL. Owns everything but
 * the route.
 */
#ifndef TXM_POLICY_OUTGOING_H
#define TXM_POLICY_OUTGOING_H

#include <stddef.h>

struct route;

struct outgoing_recipient {
	char *email; /* from the envelope */
	char *name;  /* from the To header; "" when it gives none */
};

struct outgoing {
	char *from_name; /* "" when there is none */
	char *from_email;
	char *return_path; /* envelope sender; "" is the null sender */
	char *subject;
	char *reply_to;
	char *message_id; /* with its brackets, as the client sent it */
	char *tag;
	char *template_id;
	char *variables; /* a JSON object, as the client wrote it */
	char *route_id;
	/* How that route travels here, or NULL: not known yet. Not owned. */
	const struct route *route;
	char *html;
	size_t html_len;
	struct outgoing_recipient *recipients;
	size_t n_recipients;
};

struct outgoing *outgoing_new(void);
void outgoing_free(struct outgoing **o);

#endif
