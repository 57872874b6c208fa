/* SPDX-License-Identifier: MIT */
#include "requeue.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "address.h"
#include "address_lines.h"
#include "date_text.h"
#include "dialect.h"
#include "dynbuf.h"
#include "edits.h"
#include "feature.h"
#include "header_json.h"
#include "header_text.h"
#include "message.h"
#include "outgoing.h"
#include "requeue_body.h"
#include "route.h"
#include "smtp_reply.h"

#define NOBODY "undisclosed-recipients:;"

/* What stays of a message: its headers by name and by which of that name it
 * is, from 1. */
typedef bool stays_fn(const void *arg, const char *name, unsigned nth);

/* Nobody who gets the mail is to see them (Postfix: message_drop_headers). */
static const char *const private_headers[] = {
	"Bcc", "Resent-Bcc", "Return-Path", "Content-Length", NULL,
};

/* What no dialect means by "other headers". */
static const char *const plain_headers[] = { "Date", "MIME-Version", NULL };

/* RFC 5322, section 3.6, and RFC 2045: at most one each. Readers disagree about
 * which of two it is; the first is what was judged. */
static const char *const single_headers[] = {
	"From",
	"Sender",
	"Reply-To",
	"To",
	"Cc",
	"Message-ID",
	"In-Reply-To",
	"References",
	"Subject",
	"Date",
	"MIME-Version",
	"Content-Type",
	"Content-Transfer-Encoding",
	NULL,
};

static bool
is_one_of(const char *name, const char *const *names)
{
	for (; *names != NULL; names++) {
		if (strcasecmp(*names, name) == 0)
			return true;
	}
	return false;
}

static bool
has_prefix(const char *name, const char *prefix)
{
	return strncasecmp(name, prefix, strlen(prefix)) == 0;
}

static bool
is_ours(const char *name)
{
	return has_prefix(name, REQUEUE_OWN_PREFIX);
}

/* Of each header which of its name it is, from 1; g_free(). */
static unsigned *
count_names(const struct message *m)
{
	size_t n = message_n_headers(m);
	unsigned *nth = g_new(unsigned, n + 1);
	g_autoptr(GHashTable) seen =
	    g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	for (size_t i = 0; i < n; i++) {
		char *name = g_ascii_strdown(message_header_at(m, i)->name, -1);

		nth[i] = GPOINTER_TO_UINT(g_hash_table_lookup(seen, name)) + 1;
		g_hash_table_insert(seen, name, GUINT_TO_POINTER(nth[i]));
	}
	return nth;
}

/* From the last to the first: so each name's from the highest index down. */
static void
delete_others(const struct message *m, stays_fn *stays, const void *arg,
	      struct edits *e)
{
	g_autofree unsigned *nth = count_names(m);

	for (size_t i = message_n_headers(m); i-- > 0;) {
		const char *name = message_header_at(m, i)->name;

		if (!stays(arg, name, nth[i]))
			edits_delete(e, name, nth[i]);
	}
}

/* --- to an API -------------------------------------------------------------
 */

static bool
stays_for_api(const void *arg, const char *name, unsigned nth)
{
	(void)arg;
	(void)nth;
	for (size_t i = 0; dialects[i] != NULL; i++) {
		const char *key_header = dialects[i]->key_header;

		if (key_header != NULL && strcasecmp(key_header, name) == 0)
			return false;
	}
	return !is_ours(name);
}

void
requeue_to_api(const struct message *m, struct edits *e)
{
	delete_others(m, stays_for_api, NULL, e);
}

unsigned
requeue_forged(const struct message *m)
{
	unsigned n = 0;

	for (size_t i = 0; i < message_n_headers(m); i++)
		n += is_ours(message_header_at(m, i)->name);
	return n;
}

/* --- to a transport: headers -----------------------------------------------
 */

struct leaving {
	const struct message *message;
	const struct dialect *dialect;
	const struct outgoing *outgoing;
	const struct requeue_as *as;
	enum requeue_change change; /* of the body */
	struct edits *edits;
	struct smtp_reply *refusal;
};

/* What the route has a header for: a client's own would be taken for it. */
static bool
is_of_route(const struct route *route, const char *name)
{
	const char *const names[] = {
		route->tag_header,
		route->labels_header,
		route->metadata_header,
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i] != NULL && strcasecmp(names[i], name) == 0)
			return true;
	}
	return false;
}

static bool
is_stripped(const struct route *route, const char *name)
{
	for (size_t i = 0; i < route->n_strip; i++) {
		if (header_name_matches(route->strip[i], name))
			return true;
	}
	return false;
}

static bool
leaves(const void *arg, const char *name, unsigned nth)
{
	static const char *const of_new_body[] = { "Content-Type",
						   "Content-Transfer-Encoding",
						   NULL };
	const struct leaving *l = arg;

	if (strcasecmp(name, "Received") == 0)
		return true;
	if (is_ours(name) || dialect_is_control(name) ||
	    is_one_of(name, private_headers) ||
	    (nth > 1 && is_one_of(name, single_headers)) ||
	    is_stripped(l->outgoing->route, name) ||
	    is_of_route(l->outgoing->route, name))
		return false;
	/* A wrong one is worse than none. */
	if (l->change != REQUEUE_STAYS &&
	    strcasecmp(name, "DKIM-Signature") == 0)
		return false;
	if (has_prefix(name, "Content-"))
		return l->change != REQUEUE_LEAF ||
		       is_one_of(name, of_new_body);
	return l->dialect->keeps_others ||
	       dialect_rule(l->dialect, name) != NULL ||
	       is_one_of(name, plain_headers);
}

static bool
has(const struct leaving *l, const char *name)
{
	const struct message *m = l->message;

	for (size_t i = 0; i < message_n_headers(m); i++) {
		if (strcasecmp(message_header_at(m, i)->name, name) == 0)
			return leaves(l, name, 1);
	}
	return false;
}

static void
set_header(const struct leaving *l, const char *name, const char *value)
{
	if (has(l, name))
		edits_change(l->edits, name, 1, value);
	else
		edits_add(l->edits, name, value);
}

/* True when each mailbox in it has an address; a group may be empty. */
static bool
is_complete(const struct message_header *to)
{
	struct mailbox_list list;
	bool complete;

	if (mailbox_list_parse(to->value, to->value_len, &list) != ADDRESS_OK)
		return false;
	complete = list.n + list.groups > 0;
	for (size_t i = 0; i < list.n; i++)
		complete = complete && strchr(list.v[i].addr, '@') != NULL;
	mailbox_list_clear(&list);
	return complete;
}

/* --- to a transport: who it is for ------------------------------------------
 */

/* What it is called in To. Encoded it may be longer than it was. */
static void
name_recipient(const struct leaving *l, const struct outgoing_recipient *r)
{
	struct address_lines to;

	address_lines_begin(&to, "To");
	address_lines_add(&to, r->name, r->email);
	set_header(l, "To", to.text.overflow ? NOBODY : dynbuf_str(&to.text));
	dynbuf_clear(&to.text);
}

static bool
refuse(const struct leaving *l, enum feature f, const char *what)
{
	const char *asked = l->outgoing->asked[f];

	smtp_reply_set(l->refusal, 550, "5.6.0", "%s: %s",
		       asked != NULL ? asked : feature_names[f], what);
	return false;
}

static bool
has_kind(const struct outgoing *o, enum outgoing_kind kind)
{
	for (size_t i = 0; i < o->n_recipients; i++) {
		if (o->recipients[i].kind == kind)
			return true;
	}
	return false;
}

/* Of one mailbox of a list as mailbox_list_text() writes it. */
static size_t
mailbox_len(const char *s)
{
	bool quoted = false;
	size_t n = 0;

	for (; s[n] != '\0' && (quoted || s[n] != ','); n++) {
		if (s[n] == '"')
			quoted = !quoted;
		else if (s[n] == '\\' && s[n + 1] != '\0')
			n++;
	}
	return n;
}

/* One by one: there may be more commas in the names than a list may have. */
static bool
add_shown(struct address_lines *cc, const char *shown)
{
	while (*shown != '\0') {
		size_t n = mailbox_len(shown);
		struct mailbox_list list;

		if (mailbox_list_parse(shown, n, &list) != ADDRESS_OK)
			return false;
		for (size_t i = 0; i < list.n; i++)
			address_lines_add(cc, list.v[i].name, list.v[i].addr);
		mailbox_list_clear(&list);
		shown += n;
		shown += strspn(shown, ", ");
	}
	return true;
}

/* Of the header for all, when somebody is added to it. What cannot be read as
 * one is made anew of whom it is for. */
char *
requeue_cc(const struct outgoing *o)
{
	struct address_lines cc;
	char *value = NULL;
	bool fits, is_new;
	size_t len;

	if (!has_kind(o, OUTGOING_CC))
		return NULL;
	address_lines_begin(&cc, "Cc");
	fits = add_shown(&cc, o->cc != NULL ? o->cc : "");
	is_new = cc.text.len == 0;
	for (size_t i = 0; is_new && i < o->n_recipients; i++) {
		if (o->recipients[i].kind == OUTGOING_CC)
			address_lines_add(&cc, o->recipients[i].name,
					  o->recipients[i].email);
	}
	if (fits && !cc.text.overflow)
		value = dynbuf_steal(&cc.text, &len);
	dynbuf_clear(&cc.text);
	return value;
}

static bool
show_cc(const struct leaving *l)
{
	char *made = l->as->cc == NULL ? requeue_cc(l->outgoing) : NULL;
	const char *cc = made != NULL ? made : l->as->cc;

	if (cc == NULL)
		return refuse(l, FEATURE_CC,
			      "the names of all would be too long a header");
	set_header(l, "Cc", cc);
	free(made);
	return true;
}

static bool
show_copies(const struct leaving *l)
{
	const struct outgoing_recipient *to = l->as->recipient;
	struct address_lines bcc;

	if (has_kind(l->outgoing, OUTGOING_CC) && !show_cc(l))
		return false;
	if (to == NULL || to->kind != OUTGOING_BCC)
		return true;
	address_lines_begin(&bcc, "Bcc");
	address_lines_add(&bcc, to->name, to->email);
	/* Alone in a header: only its name can be too long for that. */
	edits_add(l->edits, "Bcc",
		  bcc.text.overflow ? to->email : dynbuf_str(&bcc.text));
	dynbuf_clear(&bcc.text);
	return true;
}

static void
complete_to(const struct leaving *l)
{
	const struct outgoing *o = l->outgoing;
	const struct message_header *to =
	    has(l, "To") ? message_find(l->message, "To") : NULL;

	if (to != NULL && is_complete(to))
		return;
	if (to != NULL && o->n_recipients == 1 &&
	    o->recipients[0].name[0] != '\0')
		name_recipient(l, &o->recipients[0]);
	else
		set_header(l, "To", NOBODY);
}

/* --- to a transport: other headers -----------------------------------------
 */

/* RFC 5322 wants the one and advises the other. */
static void
add_missing(const struct leaving *l)
{
	const char *domain = strrchr(l->outgoing->from_email, '@');
	char date[DATE_TEXT_SIZE];
	DYNBUF_AUTO id;

	dynbuf_init(&id, MESSAGE_HEADER_MAX);
	if (!has(l, "Date")) {
		date_text(date, l->as->now);
		edits_add(l->edits, "Date", date);
	}
	if (!has(l, "Message-ID") && domain != NULL &&
	    dynbuf_addf(&id, "<%s%s>", l->as->message_token, domain))
		edits_add(l->edits, "Message-ID", dynbuf_str(&id));
}

static bool
add_json(const struct leaving *l, const char *name, const char *json,
	 enum feature f)
{
	char *value;

	if (name == NULL || json == NULL)
		return true;
	value = header_json(name, json);
	if (value == NULL)
		return refuse(l, f,
			      "too long to be a header of the message, as this "
			      "route has it");
	edits_add(l->edits, name, value);
	free(value);
	return true;
}

static bool
add_of_route(const struct leaving *l)
{
	const struct outgoing *o = l->outgoing;
	const struct route *route = o->route;

	if (route->tag_header != NULL && o->tag != NULL) {
		char *value = header_value(o->tag);

		edits_add(l->edits, route->tag_header, value);
		free(value);
	}
	if (!add_json(l, route->labels_header, o->labels, FEATURE_LABELS) ||
	    !add_json(l, route->metadata_header, o->metadata, FEATURE_METADATA))
		return false;
	for (size_t i = 0; i < route->n_add; i++)
		edits_add(l->edits, route->add[i].name, route->add[i].value);
	return true;
}

/* --- to a transport: body and envelope --------------------------------------
 */

bool
requeue_is_tracked(const struct outgoing *o)
{
	return o->route->tracks && o->html != NULL && !o->html_is_signed &&
	       (o->open_tracking == SWITCH_ON ||
		o->click_tracking == SWITCH_ON);
}

const struct outgoing_recipient *
requeue_tracked_as(const struct outgoing *o,
		   const struct outgoing_recipient *recipient)
{
	if (recipient->kind != OUTGOING_ARCHIVE)
		return recipient;
	for (size_t i = 0; i < o->n_recipients; i++) {
		if (o->recipients[i].kind == OUTGOING_TO)
			return &o->recipients[i];
	}
	return recipient;
}

/* The null sender stays: nobody answers to mail that says so. */
static bool
has_token(const struct outgoing *o)
{
	return o->route->return_path != NULL &&
	       strstr(o->route->return_path, ROUTE_TOKEN) != NULL &&
	       *o->return_path != '\0';
}

bool
requeue_needs_copies(const struct outgoing *o)
{
	for (size_t i = 0; i < o->n_recipients; i++) {
		if (o->recipients[i].kind != OUTGOING_TO)
			return true;
	}
	return o->n_recipients > 1 && (requeue_is_tracked(o) || has_token(o));
}

static bool
set_body(const struct leaving *l)
{
	struct requeue_body body;

	if (l->change == REQUEUE_STAYS)
		return true;
	if (!requeue_body(l->message, l->dialect, l->outgoing, l->as, &body,
			  l->refusal))
		return false;
	l->edits->body = body.data;
	l->edits->body_len = body.len;
	l->edits->new_body = true;
	if (l->change == REQUEUE_LEAF && !has(l, "MIME-Version"))
		edits_add(l->edits, "MIME-Version", "1.0");
	if (body.type != NULL)
		set_header(l, "Content-Type", body.type);
	if (body.encoding != NULL)
		set_header(l, "Content-Transfer-Encoding", body.encoding);
	free(body.type);
	return true;
}

static char *
new_sender(const struct outgoing *o, const char *token)
{
	const char *to = o->route->return_path;
	const char *at = to != NULL ? strstr(to, ROUTE_TOKEN) : NULL;
	struct dynbuf sender;
	size_t len;

	if (to == NULL || *o->return_path == '\0')
		return NULL;
	dynbuf_init(&sender, strlen(to) + strlen(token));
	if (at != NULL) {
		dynbuf_add(&sender, to, (size_t)(at - to));
		dynbuf_adds(&sender, token);
		to = at + strlen(ROUTE_TOKEN);
	}
	dynbuf_adds(&sender, to);
	return dynbuf_steal(&sender, &len);
}

static char *
copy(const char *s)
{
	char *c = strdup(s);

	if (c == NULL)
		abort();
	return c;
}

/* Copies are made of the bytes that were kept. */
static bool
can_be_copied(const struct leaving *l)
{
	if (!requeue_needs_copies(l->outgoing) || l->change == REQUEUE_LEAF ||
	    message_bytes(l->message) <= BODY_RAW_MAX)
		return true;
	smtp_reply_set(l->refusal, 552, "5.3.4",
		       "The message is larger than %d bytes, and each "
		       "recipient must get a copy of his own",
		       BODY_RAW_MAX);
	return false;
}

bool
requeue_to_transport(const struct message *m, const struct dialect *d,
		     const struct outgoing *o, const struct requeue_as *as,
		     struct edits *e, struct smtp_reply *refusal)
{
	const struct leaving l = {
		.message = m,
		.dialect = d,
		.outgoing = o,
		.as = as,
		.change = requeue_change(m, d, o, as),
		.edits = e,
		.refusal = refusal,
	};

	if (!can_be_copied(&l))
		return false;
	delete_others(m, leaves, &l, e);
	if (d->completes_to)
		complete_to(&l);
	if (!show_copies(&l))
		return false;
	add_missing(&l);
	if (!set_body(&l) || !add_of_route(&l))
		return false;
	e->sender = new_sender(o, as->token);
	e->route = copy(o->route->transport);
	return true;
}
