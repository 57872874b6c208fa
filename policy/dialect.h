/* SPDX-License-Identifier: MIT */
/*
 * dialect: what one provider's documents say about a message.
 *
 * A dialect is a table of header rules, a few functions and what leaves when
 * its mail goes on as mail, one file each, registered in dialect.c. The front
 * (dialect_read) walks the rules in their order: it finds the first header of
 * that name, unfolds and decodes it as the rule says, and calls the rule's
 * `read` with the text, or with NULL when the message has no such header. So a
 * new header is a row and, where its meaning is new, a function of a few lines.
 *
 * Control headers of every dialect are removed from what leaves; those of a
 * foreign one are never an error.
 */
#ifndef TXM_POLICY_DIALECT_H
#define TXM_POLICY_DIALECT_H

#include <stdbool.h>
#include <stddef.h>

struct account;
struct message;
struct outgoing;
struct smtp_reply;

enum header_decode {
	HEADER_DECODED, /* unfold, RFC 2047, trim */
	HEADER_RAW,	/* as it came: addresses are decoded by their parser */
	HEADER_UNREAD,	/* not read here: the key, read by the session */
};

/* What a rule's function works with. */
struct reading {
	const struct message *message;
	const struct account *account;
	struct outgoing *outgoing;
	struct smtp_reply *refusal;
};

struct header_rule {
	const char *name;
	enum header_decode decode;
	bool control; /* never leaves */
	/* value: the text (NUL-terminated; RAW: may hold NUL), or NULL when
	 * absent. False: refusal set. NULL: nothing to do. */
	bool (*read)(struct reading *r, const char *name, const char *value,
		     size_t len);
};

struct dialect {
	const char *name; /* in configuration, records and logs */
	const struct header_rule *rules; /* ends with a row without name */
	/* The header that carries an API key instead of AUTH, or NULL. */
	const char *key_header;
	/* The header that names a route, or NULL. */
	const char *route_header;
	/* After the headers: the envelope, what depends on several headers.
	 * False: refusal set. */
	bool (*finish)(struct reading *r);
	/* The body, from what is in r->outgoing by then and the body of `m`,
	 * which is r->message. r->account may be NULL. False: refusal set. */
	bool (*body)(struct reading *r, struct message *m);

	/* What leaves when a transport of Postfix takes the message
	 * (requeue.h). Control headers never do. */
	bool keeps_others; /* headers without a rule; else they are discarded */
	bool completes_to; /* To gives names; addresses are the envelope's */
	bool html_only;	   /* of the body what outgoing's html holds */
	/* The header that asks for what only an API does, or NULL. */
	const char *(*needs_api)(const struct outgoing *o);
};

extern const struct dialect dialect_emaildelivery;

/* NULL when there is no such dialect. */
const struct dialect *dialect_find(const char *name);

/* All of them, NULL-terminated. */
extern const struct dialect *const dialects[];

/* The rule for a header, by name (case-insensitive), or NULL. */
const struct header_rule *dialect_rule(const struct dialect *d,
				       const char *name);

/* The rule for a header in any dialect, by name (case-insensitive), or NULL. */
const struct header_rule *dialect_any_rule(const char *name);

/* Fills `outgoing` from the message: headers and envelope, then the body.
 * False: refusal set. */
bool dialect_read(const struct dialect *d, struct message *m,
		  const struct account *account, struct outgoing *outgoing,
		  struct smtp_reply *refusal);

/* The body alone, for who has the rest of `outgoing` already. */
bool dialect_read_body(const struct dialect *d, struct message *m,
		       struct outgoing *outgoing, struct smtp_reply *refusal);

#endif
