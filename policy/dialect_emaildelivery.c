/* SPDX-License-Identifier: MIT */
/*
 * EmailDelivery (edcom): its "Transactional SMTP Relay" page is the source of
 * the table; limits and decoding are what its API and relay do, without the
 * relay's faults. Attachments and images are dropped, the HTML part is the
 * body, recipients are the envelope's and each is a message of its own.
 */
#include <stdlib.h>
#include <string.h>

#include "account.h"
#include "address.h"
#include "body.h"
#include "dialect.h"
#include "dynbuf.h"
#include "header_text.h"
#include "html.h"
#include "json_text.h"
#include "message.h"
#include "outgoing.h"
#include "smtp_reply.h"
#include "utf8.h"

#define TEMPLATE "X-Transactional-Template"
#define VARIABLES "X-Transactional-Variables"

/* The API refuses longer tags. */
#define TAG_MAX 18
/* Not documented; ids are 22 characters. */
#define TEMPLATE_ID_MAX 128
/* Escaped text may be six times the text. */
#define HTML_MAX (6 * BODY_KEPT_MAX)

static char *
copy(const char *s)
{
	char *c = strdup(s);

	if (c == NULL)
		abort();
	return c;
}

static bool
refuse(struct reading *r, const char *name, const char *what)
{
	smtp_reply_set(r->refusal, 550, "5.6.0", "%s: %s", name, what);
	return false;
}

/* It is not passed on, so what is wrong with it refuses nothing. */
static bool
read_message_id(struct reading *r, const char *name, const char *value,
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

static bool
read_route(struct reading *r, const char *name, const char *value, size_t len)
{
	const char *named = value != NULL && len > 0 ? value : NULL;
	const struct account_route *route =
	    account_choose_route(r->account, named, name, r->refusal);

	if (route == NULL)
		return false;
	r->outgoing->route_id = copy(route->id);
	return true;
}

static bool
is_tag_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
	       c == '_' || c == '-';
}

/* Left blank the message is tracked as untagged. */
static bool
read_tag(struct reading *r, const char *name, const char *value, size_t len)
{
	char *tag;

	if (value == NULL || len == 0)
		return true;
	if (len > TAG_MAX)
		return refuse(r, name, "a tag has at most 18 characters");
	tag = r->outgoing->tag = copy(value);
	for (size_t i = 0; i < len; i++) {
		if (tag[i] >= 'A' && tag[i] <= 'Z')
			tag[i] += 'a' - 'A';
		if (!is_tag_char(tag[i]))
			return refuse(r, name,
				      "a tag has letters, digits, '.', '_' "
				      "and '-' only");
	}
	return true;
}

static bool
read_template(struct reading *r, const char *name, const char *value,
	      size_t len)
{
	if (value == NULL || len == 0)
		return true;
	if (len > TEMPLATE_ID_MAX)
		return refuse(r, name, "not a template id: too long");
	r->outgoing->template_id = copy(value);
	return true;
}

static bool
read_variables(struct reading *r, const char *name, const char *value,
	       size_t len)
{
	char error[128];

	if (value == NULL || len == 0)
		return true;
	if (json_check_object(value, len, error, sizeof(error)) != NULL)
		return refuse(r, name, error);
	r->outgoing->variables = copy(value);
	return true;
}

static bool
read_from(struct reading *r, const char *name, const char *value, size_t len)
{
	struct mailbox_list list;
	bool ok = false;

	if (value == NULL)
		return refuse(r, name, "header missing");
	switch (mailbox_list_parse(value, len, &list)) {
	case ADDRESS_CONTROL:
		return refuse(r, name, "holds a control character");
	case ADDRESS_TOO_MANY:
		return refuse(r, name, "more than one address");
	case ADDRESS_OK:
		break;
	}
	if (list.n > 1 || list.groups > 0) {
		refuse(r, name, "must be one address, without a group");
	} else if (list.n == 0 || !address_is_plain(list.v[0].addr) ||
		   !address_is_whole(value, len, list.v[0].addr)) {
		refuse(r, name,
		       "not an address of the form "
		       "Name <local@domain>");
	} else {
		r->outgoing->from_name = copy(list.v[0].name);
		r->outgoing->from_email = copy(list.v[0].addr);
		ok = true;
	}
	mailbox_list_clear(&list);
	return ok;
}

/* A template has a subject of its own; its rule is above this one. */
static bool
read_subject(struct reading *r, const char *name, const char *value, size_t len)
{
	if (value != NULL && len > 0) {
		r->outgoing->subject = copy(value);
		return true;
	}
	if (r->outgoing->template_id != NULL)
		return true;
	return refuse(r, name, value == NULL ? "header missing" : "is empty");
}

static bool
read_reply_to(struct reading *r, const char *name, const char *value,
	      size_t len)
{
	(void)name;
	if (value != NULL && len > 0)
		r->outgoing->reply_to = copy(value);
	return true;
}

/* "To: specify the recipient's name but not their email address": the
 * envelope says who gets it, the header what they are called. */
static bool
read_to(struct reading *r, const char *name, const char *value, size_t len)
{
	size_t n = message_n_recipients(r->message);
	struct outgoing *o = r->outgoing;
	struct mailbox_list list = { 0 };
	char *bare;

	if (value != NULL &&
	    mailbox_list_parse(value, len, &list) != ADDRESS_OK)
		return refuse(r, name,
			      "too many addresses, or a control character");
	bare = address_bare_name(value ? value : "", value ? len : 0);
	o->recipients = calloc(n, sizeof(*o->recipients));
	if (o->recipients == NULL && n > 0)
		abort();
	for (size_t i = 0; i < n; i++) {
		const char *addr = message_recipient_at(r->message, i);

		o->recipients[i].email = copy(addr);
		o->recipients[i].name =
		    address_name_for(&list, bare, addr, n == 1);
	}
	o->n_recipients = n;
	free(bare);
	mailbox_list_clear(&list);
	return true;
}

/* In this order: what the refusal of a later row needs stands above it. */
static const struct header_rule rules[] = {
	{ "X-Auth-APIKey", HEADER_UNREAD, true, NULL },
	{ "X-Transactional-Route", HEADER_DECODED, true, read_route },
	{ "X-Transactional-Tag", HEADER_DECODED, true, read_tag },
	{ TEMPLATE, HEADER_DECODED, true, read_template },
	{ VARIABLES, HEADER_DECODED, true, read_variables },
	{ "From", HEADER_RAW, false, read_from },
	{ "To", HEADER_RAW, false, read_to },
	{ "Subject", HEADER_DECODED, false, read_subject },
	{ "Reply-To", HEADER_DECODED, false, read_reply_to },
	{ "Message-ID", HEADER_RAW, false, read_message_id },
	{ NULL, HEADER_UNREAD, false, NULL },
};

static bool
no_body(struct reading *r, const struct body *b)
{
	const char *why = body_error(b) ? body_error(b) : body_problem(b);

	if (body_too_large(b))
		smtp_reply_set(r->refusal, 552, "5.3.4", "%s", why);
	else if (body_error(b) != NULL)
		smtp_reply_set(r->refusal, 550, "5.6.0", "%s", why);
	else
		smtp_reply_set(
		    r->refusal, 550, "5.6.0",
		    "The message has no HTML or text part to send%s%s",
		    why ? ": " : "", why ? why : "");
	return false;
}

static bool
text_to_html(struct outgoing *o, const char *text, size_t len, bool flowed)
{
	struct dynbuf html;

	dynbuf_init(&html, HTML_MAX);
	if (!html_from_text(&html, text, len, flowed)) {
		dynbuf_clear(&html);
		return false;
	}
	o->html = dynbuf_steal(&html, &o->html_len);
	return true;
}

static bool
finish(struct reading *r)
{
	r->outgoing->return_path = copy(message_sender(r->message));
	return true;
}

static bool
read_body(struct reading *r, struct message *m)
{
	struct body *b = message_body_state(m);
	struct outgoing *o = r->outgoing;
	size_t len;
	char *text;
	bool ok;

	switch (message_take_body(m, &text, &len)) {
	case BODY_HTML:
		o->html = text;
		o->html_len = len;
		return true;
	case BODY_TEXT:
		ok = text_to_html(o, text, len, body_is_flowed(b));
		free(text);
		if (!ok)
			smtp_reply_set(r->refusal, 552, "5.3.4",
				       "The message text is too large");
		return ok;
	case BODY_NONE:
	default:
		if (o->template_id != NULL && body_error(b) == NULL)
			return true;
		return no_body(r, b);
	}
}

/* Variables are for Jinja2 in the text, with and without a template. */
static const char *
needs_api(const struct outgoing *o)
{
	if (o->template_id != NULL)
		return TEMPLATE;
	return o->variables != NULL ? VARIABLES : NULL;
}

/* "All other headers are automatically discarded and ignored." */
const struct dialect dialect_emaildelivery = {
	.name = "emaildelivery",
	.rules = rules,
	.key_header = "X-Auth-APIKey",
	.route_header = "X-Transactional-Route",
	.finish = finish,
	.body = read_body,
	.keeps_others = false,
	.completes_to = true,
	.html_only = true,
	.needs_api = needs_api,
};
