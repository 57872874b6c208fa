/* SPDX-License-Identifier: MIT */
#include "standard_headers.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "account.h"
#include "address.h"
#include "body.h"
#include "dialect.h"
#include "header_text.h"
#include "message.h"
#include "smtp_reply.h"
#include "utf8.h"

bool
standard_refuse(struct reading *r, const char *name, const char *what)
{
	smtp_reply_set(r->refusal, 550, "5.6.0", "%s: %s", name, what);
	return false;
}

char *
standard_copy(const char *s)
{
	char *c = strdup(s);

	if (c == NULL)
		abort();
	return c;
}

/* --- addresses ------------------------------------------------------------ */

bool
standard_from(struct reading *r, const char *name, const char *value,
	      size_t len)
{
	struct mailbox_list list;
	bool ok = false;

	if (value == NULL)
		return standard_refuse(r, name, "header missing");
	switch (mailbox_list_parse(value, len, &list)) {
	case ADDRESS_CONTROL:
		return standard_refuse(r, name, "holds a control character");
	case ADDRESS_TOO_MANY:
		return standard_refuse(r, name, "more than one address");
	case ADDRESS_OK:
		break;
	}
	if (list.n > 1 || list.groups > 0) {
		standard_refuse(r, name,
				"must be one address, without a group");
	} else if (list.n == 0 || !address_is_plain(list.v[0].addr) ||
		   !address_is_whole(value, len, list.v[0].addr)) {
		standard_refuse(r, name,
				"not an address of the form "
				"Name <local@domain>");
	} else {
		r->outgoing->from_name = standard_copy(list.v[0].name);
		r->outgoing->from_email = standard_copy(list.v[0].addr);
		ok = true;
	}
	mailbox_list_clear(&list);
	return ok;
}

static bool
parse_list(struct reading *r, const char *name, const char *value, size_t len,
	   struct mailbox_list *list_r)
{
	*list_r = (struct mailbox_list){ 0 };
	if (value == NULL ||
	    mailbox_list_parse(value, len, list_r) == ADDRESS_OK)
		return true;
	return standard_refuse(r, name,
			       "too many addresses, or a control character");
}

static void
add_recipients(struct reading *r, const struct mailbox_list *list,
	       const char *value, size_t len)
{
	size_t n = message_n_recipients(r->message);
	char *bare = address_bare_name(value ? value : "", value ? len : 0);

	for (size_t i = 0; i < n; i++) {
		const char *addr = message_recipient_at(r->message, i);
		char *name = address_name_for(list, bare, addr, n == 1);

		outgoing_add_recipient(r->outgoing, addr, name, OUTGOING_TO);
		free(name);
	}
	free(bare);
}

/* "To: specify the recipient's name but not their email address": the
 * envelope says who gets it, the header what they are called. */
bool
standard_to(struct reading *r, const char *name, const char *value, size_t len)
{
	struct mailbox_list list;

	if (!parse_list(r, name, value, len, &list))
		return false;
	add_recipients(r, &list, value, len);
	mailbox_list_clear(&list);
	return true;
}

static bool
show(struct reading *r, const char *name, const char *value, size_t len,
     struct mailbox_list *list, char **at)
{
	if (!parse_list(r, name, value, len, list))
		return false;
	if (list->n > 0)
		*at = mailbox_list_text(list);
	return true;
}

/* Who is alone in it sees himself anyway, and so does whom it gives a name. */
static bool
names_another(const struct mailbox_list *to, const struct outgoing *o)
{
	const char *addr = to->n > 0 ? to->v[0].addr : "";

	if (o->n_recipients != 1 || to->n != 1)
		return to->n > 0;
	return strchr(addr, '@') != NULL &&
	       strcasecmp(addr, o->recipients[0].email) != 0;
}

bool
standard_to_shown(struct reading *r, const char *name, const char *value,
		  size_t len)
{
	struct outgoing *o = r->outgoing;
	struct mailbox_list list;

	if (!show(r, name, value, len, &list, &o->to))
		return false;
	add_recipients(r, &list, value, len);
	if (names_another(&list, o))
		o->asked[FEATURE_SHOWN] = name;
	mailbox_list_clear(&list);
	return true;
}

bool
standard_cc_shown(struct reading *r, const char *name, const char *value,
		  size_t len)
{
	struct outgoing *o = r->outgoing;
	struct mailbox_list list;

	if (!show(r, name, value, len, &list, &o->cc))
		return false;
	if (list.n > 0)
		o->asked[FEATURE_SHOWN] = name;
	mailbox_list_clear(&list);
	return true;
}

/* The mailboxes of a header as text, free(). NULL: it has none, or something
 * that is none, or holds a control character. */
static char *
mailboxes_text(const char *value, size_t len)
{
	struct mailbox_list list;
	char *text = NULL;
	bool good = mailbox_list_parse(value, len, &list) == ADDRESS_OK;

	for (size_t i = 0; i < list.n; i++)
		good = good && strchr(list.v[i].addr, '@') != NULL;
	if (good && list.n > 0)
		text = mailbox_list_text(&list);
	mailbox_list_clear(&list);
	return text;
}

bool
standard_reply_to(struct reading *r, const char *name, const char *value,
		  size_t len)
{
	char *text;

	if (value == NULL)
		return true;
	text = mailboxes_text(value, len);
	if (text == NULL && header_text(value, len, &text) != HEADER_TEXT_OK)
		return standard_refuse(r, name, "holds a control character");
	if (*text != '\0')
		r->outgoing->reply_to = text;
	else
		free(text);
	return true;
}

/* --- text ----------------------------------------------------------------- */

bool
standard_subject(struct reading *r, const char *name, const char *value,
		 size_t len)
{
	(void)name;
	(void)len;
	if (value != NULL)
		r->outgoing->subject = standard_copy(value);
	return true;
}

bool
standard_message_id(struct reading *r, const char *name, const char *value,
		    size_t len)
{
	char *id;
	size_t n;

	(void)name;
	if (value == NULL)
		return true;
	id = header_unfold(value, len, &n);
	if (n > 0 && utf8_valid_prefix(id, n) == n && utf8_is_printable(id, n))
		r->outgoing->message_id = id;
	else
		free(id);
	return true;
}

bool
standard_switch(struct reading *r, const char *name, const char *value,
		size_t len, enum outgoing_switch *at, enum feature f)
{
	if (value == NULL || len == 0)
		return true;
	if (strcasecmp(value, "false") == 0) {
		*at = SWITCH_OFF;
		return true;
	}
	if (strcasecmp(value, "true") != 0)
		return standard_refuse(r, name, "must be true or false");
	*at = SWITCH_ON;
	r->outgoing->asked[f] = name;
	return true;
}

bool
standard_route(struct reading *r)
{
	const struct account_route *route =
	    account_choose_route(r->account, NULL, NULL, r->refusal);

	if (route == NULL)
		return false;
	r->outgoing->route_id = standard_copy(route->id);
	return true;
}

/* --- the others ----------------------------------------------------------- */

/* Of the way the message came, or of who must not be seen; and what whoever
 * delivers it writes himself. */
static const char *const left_out[] = {
	"Received",	"Return-Path",	"Bcc",
	"Resent-Bcc",	"Delivered-To", "X-Original-To",
	"Date",		"MIME-Version", "DKIM-Signature",
	"ARC-*",	"Content-*",	"Authentication-Results",
	"X-Txmilter-*", "Received-SPF", NULL,
};

/* Of addresses, and so to be read as such: a comma in an encoded name stays in
 * it. The first of each only, for reading them may take long
 * (ADDRESS_LIST_MAX). */
static const char *const of_addresses[] = {
	"Sender",
	"Resent-From",
	"Resent-Sender",
	"Resent-To",
	"Resent-Cc",
	"Resent-Reply-To",
	"Errors-To",
	"Disposition-Notification-To",
	"Return-Receipt-To",
	NULL,
};

static bool
is_one_of(const char *const *patterns, const char *name)
{
	for (; *patterns != NULL; patterns++) {
		if (header_name_matches(*patterns, name))
			return true;
	}
	return false;
}

/* What is no text once it is decoded may be some before: free(). NULL: it is
 * none. */
static char *
raw_text(const struct message_header *h)
{
	size_t len;
	char *text = header_unfold(h->value, h->value_len, &len);

	if (memchr(text, '\0', len) == NULL &&
	    utf8_valid_prefix(text, len) == len && utf8_is_printable(text, len))
		return text;
	free(text);
	return NULL;
}

/* False: it has no text, or a name that is a template to some. */
static bool
add_other(struct outgoing *o, const struct message *m,
	  const struct message_header *h)
{
	char *text = NULL;

	if (h->name[strcspn(h->name, "{}")] != '\0')
		return false;
	if (is_one_of(of_addresses, h->name) && message_find(m, h->name) == h)
		text = mailboxes_text(h->value, h->value_len);
	if (text == NULL)
		(void)header_text(h->value, h->value_len, &text);
	if (text == NULL)
		text = raw_text(h);
	if (text == NULL)
		return false;
	outgoing_add_header(o, h->name, text);
	free(text);
	return true;
}

void
standard_other_headers(struct reading *r, const struct dialect *d)
{
	const struct message *m = r->message;
	struct outgoing *o = r->outgoing;

	for (size_t i = 0; i < message_n_headers(m); i++) {
		const struct message_header *h = message_header_at(m, i);

		if (dialect_rule(d, h->name) != NULL ||
		    dialect_is_control(h->name) || is_one_of(left_out, h->name))
			continue;
		o->asked[add_other(o, m, h) ? FEATURE_HEADERS
					    : FEATURE_ODD_HEADERS] =
		    "Other headers";
	}
}

/* --- the body ------------------------------------------------------------- */

static void
ask_for_body(struct outgoing *o)
{
	if (o->html == NULL && o->text != NULL)
		o->asked[FEATURE_TEXT_ONLY] = "Content-Type";
	if (o->html != NULL && o->text != NULL)
		o->asked[FEATURE_TEXT] = "Content-Type";
	if (o->amp != NULL)
		o->asked[FEATURE_AMP] = "Content-Type";
	for (size_t i = 0; i < o->n_files; i++) {
		enum feature f = o->files[i].is_inline ? FEATURE_INLINE_FILES
						       : FEATURE_ATTACHMENTS;

		o->asked[f] = "Content-Disposition";
	}
}

bool
standard_body(struct reading *r, struct message *m)
{
	struct body *b = message_body_state(m);
	struct outgoing *o = r->outgoing;
	char *body;
	size_t len;

	switch (message_take_body(m, &body, &len)) {
	case BODY_HTML:
		o->html = body;
		o->html_len = len;
		o->html_is_signed = body_is_signed(b);
		o->text = body_take_text(b, &o->text_len);
		break;
	case BODY_TEXT:
		o->text = body;
		o->text_len = len;
		o->text_is_flowed = body_is_flowed(b);
		break;
	case BODY_NONE:
	default:
		break;
	}
	if (body_error(b) != NULL)
		return standard_no_body(r, m, "");
	o->amp = body_take_amp(b, &o->amp_len);
	o->n_files = body_take_files(b, &o->files);
	ask_for_body(o);
	return true;
}

bool
standard_no_body(struct reading *r, const struct message *m, const char *what)
{
	const struct body *b = message_body_state(m);
	const char *why = body_error(b) ? body_error(b) : body_problem(b);

	if (body_too_large(b))
		smtp_reply_set(r->refusal, 552, "5.3.4", "%s", why);
	else if (body_error(b) != NULL)
		smtp_reply_set(r->refusal, 550, "5.6.0", "%s", why);
	else
		smtp_reply_set(r->refusal, 550, "5.6.0", "%s%s%s", what,
			       why ? ": " : "", why ? why : "");
	return false;
}
