/* SPDX-License-Identifier: MIT */
#include "requeue.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "address.h"
#include "body.h"
#include "date_text.h"
#include "dialect.h"
#include "dynbuf.h"
#include "edits.h"
#include "header_text.h"
#include "message.h"
#include "outgoing.h"
#include "quoted_printable.h"
#include "route.h"
#include "smtp_reply.h"

#define NOBODY "undisclosed-recipients:;"
/* An address is folded when it would make the line longer. */
#define COLUMNS 76

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
	bool new_body;
	struct edits *edits;
};

static bool
is_stripped(const struct route *route, const char *name)
{
	for (size_t i = 0; i < route->n_strip; i++) {
		const char *strip = route->strip[i];
		size_t len = strlen(strip);

		if (strcasecmp(strip, name) == 0 ||
		    (len > 0 && strip[len - 1] == '*' &&
		     strncasecmp(strip, name, len - 1) == 0))
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
	    is_stripped(l->outgoing->route, name))
		return false;
	if (has_prefix(name, "Content-"))
		return !l->new_body || is_one_of(name, of_new_body);
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

static void
name_recipient(const struct leaving *l, const struct outgoing_recipient *r)
{
	char *phrase = header_phrase(r->name);
	size_t width = strlen("To: ") + strlen(phrase) + strlen(r->email) + 3;
	DYNBUF_AUTO value;

	dynbuf_init(&value, MESSAGE_HEADER_MAX);
	/* Encoded it may be longer than it was. */
	if (dynbuf_addf(&value, "%s%s<%s>", phrase,
			width > COLUMNS ? "\n " : " ", r->email))
		set_header(l, "To", dynbuf_str(&value));
	else
		set_header(l, "To", NOBODY);
	free(phrase);
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

/* RFC 5322 wants the one and advises the other. */
static void
add_missing(const struct leaving *l, const char *token, int64_t now)
{
	const char *domain = strrchr(l->outgoing->from_email, '@');
	char date[DATE_TEXT_SIZE];
	DYNBUF_AUTO id;

	dynbuf_init(&id, MESSAGE_HEADER_MAX);
	if (!has(l, "Date")) {
		date_text(date, now);
		edits_add(l->edits, "Date", date);
	}
	if (!has(l, "Message-ID") && domain != NULL &&
	    dynbuf_addf(&id, "<%s%s>", token, domain))
		edits_add(l->edits, "Message-ID", dynbuf_str(&id));
}

/* --- to a transport: body and envelope --------------------------------------
 */

static void
set_body(const struct leaving *l)
{
	const struct outgoing *o = l->outgoing;
	struct dynbuf body;

	dynbuf_init(&body, QUOTED_PRINTABLE_MAX(o->html_len));
	if (!quoted_printable_encode(&body, o->html, o->html_len))
		abort();
	l->edits->body = dynbuf_steal(&body, &l->edits->body_len);
	l->edits->new_body = true;
	if (!has(l, "MIME-Version"))
		edits_add(l->edits, "MIME-Version", "1.0");
	set_header(l, "Content-Type", "text/html; charset=utf-8");
	set_header(l, "Content-Transfer-Encoding", "quoted-printable");
}

/* The null sender stays: nobody answers to mail that says so. */
static char *
new_sender(const struct message *m, const struct route *route,
	   const char *token)
{
	const char *to = route->return_path;
	const char *at = to != NULL ? strstr(to, ROUTE_TOKEN) : NULL;
	struct dynbuf sender;
	size_t len;

	if (to == NULL || *message_sender(m) == '\0')
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

bool
requeue_to_transport(const struct message *m, const struct dialect *d,
		     const struct outgoing *o, const char *token, int64_t now,
		     struct edits *e, struct smtp_reply *refusal)
{
	const struct route *route = o->route;
	const struct leaving l = {
		.message = m,
		.dialect = d,
		.outgoing = o,
		.new_body =
		    d->html_only && !body_is_whole(message_body_state(m)),
		.edits = e,
	};

	(void)refusal;
	delete_others(m, leaves, &l, e);
	if (d->completes_to)
		complete_to(&l);
	add_missing(&l, token, now);
	if (l.new_body)
		set_body(&l);
	for (size_t i = 0; i < route->n_add; i++)
		edits_add(e, route->add[i].name, route->add[i].value);
	e->sender = new_sender(m, route, token);
	e->route = copy(route->transport);
	return true;
}
