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
 * A rule whose name ends with '*' is of a family: `read` is called for the
 * first header of each name that begins so, with that name, and never with
 * NULL. What the standard headers mean to every provider is in
 * standard_headers.h.
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
	const char *name; /* may end with '*' */
	enum header_decode decode;
	bool control; /* never leaves */
	/* value: the text (NUL-terminated; RAW: may hold NUL), or NULL when
	 * absent. False: refusal set. NULL: nothing to do. */
	bool (*read)(struct reading *r, const char *name, const char *value,
		     size_t len);
};

/* The user name of a login whose password was a good key. `user` is as it
 * came; `expected` is the name that was issued with the key, or NULL. The
 * subaccount it names goes to subaccount_r ("" when none does). NULL: the login
 * is good; else why not, for the client; static. */
#define SUBACCOUNT_MAX 32
typedef const char *dialect_login_fn(const char *user, size_t len,
				     const char *expected,
				     char subaccount_r[SUBACCOUNT_MAX + 1]);

struct dialect {
	const char *name; /* in configuration, records and logs */
	const struct header_rule *rules; /* ends with a row without name */
	/* The header that carries an API key instead of AUTH, or NULL. */
	const char *key_header;
	/* The header that names a route, or NULL: it is the account's. */
	const char *route_header;
	/* Of the envelope, 0: as many as a message may have. One more is
	 * answered 452 4.5.3 when it is named. */
	unsigned recipients_max;
	/* Of the body beside HTML or else text: a set of enum body_want. */
	unsigned body_wants;
	/* Not a dialect itself: the one of the message, by its headers. It has
	 * no rules then, and of what is below only the login. NULL: refusal
	 * set. */
	const struct dialect *(*choose)(const struct message *m,
					struct smtp_reply *refusal);
	/* What the user name of AUTH says. NULL: nothing, any will do unless
	 * one was issued. */
	dialect_login_fn *login;
	/* After the headers: what depends on several of them. NULL: nothing
	 * does. By then outgoing has from_name, from_email, route_id and the
	 * recipients with their names. The envelope sender and the subaccount
	 * are there before the first rule. False: refusal set. */
	bool (*finish)(struct reading *r);
	/* The body, from what is in r->outgoing by then and the body of `m`,
	 * which is r->message. r->account may be NULL, and then of the headers
	 * only those about MIME are known. The same bytes give the same body
	 * (PLAN_BODY_VERSION). False: refusal set. */
	bool (*body)(struct reading *r, struct message *m);

	/* What leaves when a transport of Postfix takes the message
	 * (requeue.h). Control headers never do. */
	bool keeps_others; /* headers without a rule; else they are discarded */
	bool completes_to; /* To gives names; addresses are the envelope's */
	bool html_only;	   /* of the body what outgoing's html holds */
};

/* All there are; a new one is a row here and a file. */
/* clang-format off */
#define DIALECTS(row) \
	row(auto) \
	row(emaildelivery) \
	row(flexmail) \
	row(campaignmonitor) \
	row(sparkpost)
/* clang-format on */
#define DIALECT_DECLARE(name) extern const struct dialect dialect_##name;
DIALECTS(DIALECT_DECLARE)

/* SparkPost's for who is not known to be its customer (dialect_auto.c): headers
 * of other providers name the tag. Of the same name, and not registered. */
extern const struct dialect dialect_sparkpost_grouped;

/* NULL when there is no such dialect. */
const struct dialect *dialect_find(const char *name);

/* All of them, NULL-terminated. */
extern const struct dialect *const dialects[];

/* "emaildelivery, flexmail, ...", for people. Returns dst. */
#define DIALECT_NAMES_SIZE 128
const char *dialect_names(char dst[DIALECT_NAMES_SIZE]);

/* The dialect of the message itself: d, or what d chooses. NULL: refusal set.
 */
const struct dialect *dialect_of(const struct dialect *d,
				 const struct message *m,
				 struct smtp_reply *refusal);

/* What the user name of a login by d says, as dialect_login_fn. */
const char *dialect_login(const struct dialect *d, const char *user, size_t len,
			  const char *expected,
			  char subaccount_r[SUBACCOUNT_MAX + 1]);

/* True when it is the name that was issued. */
bool dialect_login_is(const char *user, size_t len, const char *issued);
#define DIALECT_LOGIN_NOT_ISSUED \
	"the user name is not the one that was issued with this API key"

/* The rule for a header, by name (case-insensitive; a family's too), or NULL.
 */
const struct header_rule *dialect_rule(const struct dialect *d,
				       const char *name);

/* True when some dialect has it as a control header. */
bool dialect_is_control(const char *name);

/* Fills `outgoing` from the message: headers and envelope, then the body.
 * False: refusal set. */
bool dialect_read(const struct dialect *d, struct message *m,
		  const struct account *account, struct outgoing *outgoing,
		  struct smtp_reply *refusal);

/* The body alone, for who has the rest of `outgoing` already. */
bool dialect_read_body(const struct dialect *d, struct message *m,
		       struct outgoing *outgoing, struct smtp_reply *refusal);

#endif
