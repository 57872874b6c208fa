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
#include "body.h"
#include "dialect.h"
#include "html.h"
#include "json_text.h"
#include "message.h"
#include "outgoing.h"
#include "smtp_reply.h"
#include "standard_headers.h"

#define TAG "X-Transactional-Tag"
#define TEMPLATE "X-Transactional-Template"
#define VARIABLES "X-Transactional-Variables"

/* The API refuses longer tags. */
#define TAG_MAX 18
/* Not documented; ids are 22 characters. */
#define TEMPLATE_ID_MAX 128

static bool
read_route(struct reading *r, const char *name, const char *value, size_t len)
{
	const char *named = value != NULL && len > 0 ? value : NULL;
	const struct account_route *route =
	    account_choose_route(r->account, named, name, r->refusal);

	if (route == NULL)
		return false;
	r->outgoing->route_id = standard_copy(route->id);
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
		return standard_refuse(r, name,
				       "a tag has at most 18 characters");
	tag = r->outgoing->tag = standard_copy(value);
	r->outgoing->asked[FEATURE_TAG] = TAG;
	for (size_t i = 0; i < len; i++) {
		if (tag[i] >= 'A' && tag[i] <= 'Z')
			tag[i] += 'a' - 'A';
		if (!is_tag_char(tag[i]))
			return standard_refuse(
			    r, name,
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
		return standard_refuse(r, name, "not a template id: too long");
	r->outgoing->template_id = standard_copy(value);
	r->outgoing->asked[FEATURE_TEMPLATE] = TEMPLATE;
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
		return standard_refuse(r, name, error);
	r->outgoing->variables = standard_copy(value);
	r->outgoing->asked[FEATURE_VARIABLES] = VARIABLES;
	return true;
}

/* A template has a subject of its own; its rule is above this one. */
static bool
read_subject(struct reading *r, const char *name, const char *value, size_t len)
{
	if (value != NULL && len > 0) {
		r->outgoing->subject = standard_copy(value);
		return true;
	}
	if (r->outgoing->template_id != NULL)
		return true;
	return standard_refuse(r, name,
			       value == NULL ? "header missing" : "is empty");
}

/* In this order: what the refusal of a later row needs stands above it. */
static const struct header_rule rules[] = {
	{ "X-Auth-APIKey", HEADER_UNREAD, true, NULL },
	{ "X-Transactional-Route", HEADER_DECODED, true, read_route },
	{ TAG, HEADER_DECODED, true, read_tag },
	{ TEMPLATE, HEADER_DECODED, true, read_template },
	{ VARIABLES, HEADER_DECODED, true, read_variables },
	{ "From", HEADER_RAW, false, standard_from },
	{ "To", HEADER_RAW, false, standard_to },
	{ "Subject", HEADER_DECODED, false, read_subject },
	{ "Reply-To", HEADER_RAW, false, standard_reply_to },
	{ "Message-ID", HEADER_RAW, false, standard_message_id },
	{ NULL, HEADER_UNREAD, false, NULL },
};

static bool
read_body(struct reading *r, struct message *m)
{
	struct body *b = message_body_state(m);
	struct outgoing *o = r->outgoing;
	size_t len;
	char *text;

	switch (message_take_body(m, &text, &len)) {
	case BODY_HTML:
		o->html = text;
		o->html_len = len;
		return true;
	case BODY_TEXT:
		o->html =
		    html_of_text(text, len, body_is_flowed(b), &o->html_len);
		free(text);
		if (o->html == NULL)
			smtp_reply_set(r->refusal, 552, "5.3.4",
				       "The message text is too large");
		return o->html != NULL;
	case BODY_NONE:
	default:
		if (o->template_id != NULL && body_error(b) == NULL)
			return true;
		return standard_no_body(r, m,
					"The message has no HTML or text part "
					"to send");
	}
}

/* "All other headers are automatically discarded and ignored." */
const struct dialect dialect_emaildelivery = {
	.name = "emaildelivery",
	.rules = rules,
	.key_header = "X-Auth-APIKey",
	.route_header = "X-Transactional-Route",
	.body = read_body,
	.keeps_others = false,
	.completes_to = true,
	.html_only = true,
};
