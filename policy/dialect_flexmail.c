/* SPDX-License-Identifier: MIT */
/*
 * Flexmail, transactional: its page about SMTP submissions is the source of the
 * table. What the page says is answered by a report to the envelope sender is
 * refused at once here.
 *
 * It wants attachments base64-encoded; they are decoded whatever they come in.
 * User name and password are issued as a pair: a key that was issued with a
 * name is good with that only (dialect_login).
 */
#include <stdlib.h>
#include <string.h>

#include "body.h"
#include "dialect.h"
#include "dynbuf.h"
#include "json_text.h"
#include "outgoing.h"
#include "smtp_reply.h"
#include "snake_case.h"
#include "standard_headers.h"
#include "utf8.h"

#define METADATA "X-Flexmail-Metadata-"
#define METADATA_FAMILY METADATA "*"
/* Where webhooks find the Message-ID. */
#define MESSAGE_ID_KEY "original_message_id"

/* Documented, in characters. */
#define TAG_MAX 50
#define VALUE_MAX 80

static bool
read_tag(struct reading *r, const char *name, const char *value, size_t len)
{
	if (value == NULL)
		return true;
	if (len == 0 || utf8_count(value, len) > TAG_MAX)
		return standard_refuse(r, name, "a tag has 1 to 50 characters");
	if (!is_snake_case(value))
		return standard_refuse(r, name,
				       "a tag is in snake_case, as "
				       "order_confirmation");
	r->outgoing->tag = standard_copy(value);
	r->outgoing->asked[FEATURE_TAG] = name;
	return true;
}

/* Both are off unless the message says true. */
static bool
read_opens(struct reading *r, const char *name, const char *value, size_t len)
{
	r->outgoing->open_tracking = SWITCH_OFF;
	return standard_switch(r, name, value, len, &r->outgoing->open_tracking,
			       FEATURE_OPEN_TRACKING);
}

static bool
read_links(struct reading *r, const char *name, const char *value, size_t len)
{
	r->outgoing->click_tracking = SWITCH_OFF;
	return standard_switch(r, name, value, len,
			       &r->outgoing->click_tracking,
			       FEATURE_CLICK_TRACKING);
}

/* --- metadata ------------------------------------------------------------ */

static void
add_metadata(struct outgoing *o, const char *key, const char *value)
{
	/* Without its closing brace. */
	size_t have = o->metadata != NULL ? strlen(o->metadata) - 1 : 0;
	DYNBUF_AUTO more;
	char *all;

	/* An escape is six characters at most. */
	dynbuf_init(&more, strlen(key) + 6 * strlen(value) + 8);
	if (!dynbuf_adds(&more, have > 0 ? "," : "{") ||
	    !json_add_member(&more, key, value) || !dynbuf_adds(&more, "}"))
		abort();
	all = realloc(o->metadata, have + more.len + 1);
	if (all == NULL)
		abort();
	memcpy(all + have, more.data, more.len + 1);
	o->metadata = all;
}

/* No value is taken for a key: its quotes are escaped. */
static bool
has_metadata(const struct outgoing *o, const char *key)
{
	DYNBUF_AUTO member;

	dynbuf_init(&member, strlen(key) + 4);
	if (!dynbuf_addf(&member, "\"%s\":", key))
		abort();
	return o->metadata != NULL && strstr(o->metadata, member.data) != NULL;
}

/* Clients write names of headers in their own way: of order_id, nodemailer
 * makes Order_id and Ruby's mail order-id. No key has a capital or a hyphen,
 * so it is clear what is meant. */
static char *
key_meant(const char *s)
{
	char *key = standard_copy(s);

	for (char *p = key; *p != '\0'; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p += 'a' - 'A';
		else if (*p == '-')
			*p = '_';
	}
	return key;
}

/* As the client wrote it, with its brackets: what it was told its message is
 * called, and looks for in a webhook. Nobody asks for this, so no way is
 * refused for it. */
static bool
read_message_id(struct reading *r, const char *name, const char *value,
		size_t len)
{
	struct outgoing *o = r->outgoing;

	if (!standard_message_id(r, name, value, len))
		return false;
	if (o->message_id != NULL)
		add_metadata(o, MESSAGE_ID_KEY, o->message_id);
	return true;
}

static bool
read_value(struct reading *r, const char *name, const char *key,
	   const char *value, size_t len)
{
	struct outgoing *o = r->outgoing;

	if (!is_snake_case(key))
		return standard_refuse(r, name,
				       "a metadata key is in snake_case, as "
				       "order_id");
	if (len == 0 || utf8_count(value, len) > VALUE_MAX)
		return standard_refuse(
		    r, name, "a metadata value has 1 to 80 characters");
	o->asked[FEATURE_METADATA] = METADATA_FAMILY;
	if (!has_metadata(o, key))
		add_metadata(o, key, value);
	return true;
}

static bool
read_metadata(struct reading *r, const char *name, const char *value,
	      size_t len)
{
	char *key = key_meant(name + strlen(METADATA));
	bool ok = read_value(r, name, key, value, len);

	free(key);
	return ok;
}

/* --- the whole ----------------------------------------------------------- */

/* Message-ID stands above what cannot override it. */
static const struct header_rule rules[] = {
	{ "X-Flexmail-Tag", HEADER_DECODED, true, read_tag },
	{ "X-Flexmail-Open-Tracking", HEADER_DECODED, true, read_opens },
	{ "X-Flexmail-Link-Tracking", HEADER_DECODED, true, read_links },
	{ "Message-ID", HEADER_RAW, false, read_message_id },
	{ METADATA_FAMILY, HEADER_DECODED, true, read_metadata },
	{ "From", HEADER_RAW, false, standard_from },
	{ "To", HEADER_RAW, false, standard_to_shown },
	{ "Cc", HEADER_RAW, false, standard_cc_shown },
	{ "Subject", HEADER_DECODED, false, standard_subject },
	{ "Reply-To", HEADER_RAW, false, standard_reply_to },
	{ NULL, HEADER_UNREAD, false, NULL },
};

static bool
finish(struct reading *r)
{
	standard_other_headers(r, &dialect_flexmail);
	return standard_route(r);
}

static bool
refuse_inline(struct reading *r, const struct body_file *f)
{
	smtp_reply_set(r->refusal, 550, "5.6.0",
		       "%s: inline attachments are not supported: %s",
		       f->content_id != NULL ? "Content-ID"
					     : "Content-Disposition",
		       f->name);
	return false;
}

static bool
read_body(struct reading *r, struct message *m)
{
	const struct outgoing *o = r->outgoing;

	if (!standard_body(r, m))
		return false;
	if (o->html == NULL && o->text != NULL)
		return standard_refuse(r, "Content-Type",
				       "plain text only is not supported: the "
				       "message needs an HTML part");
	if (o->html == NULL)
		return standard_no_body(r, m,
					"The message has no HTML part to send");
	for (size_t i = 0; i < o->n_files; i++) {
		if (o->files[i].is_inline)
			return refuse_inline(r, &o->files[i]);
	}
	return true;
}

const struct dialect dialect_flexmail = {
	.name = "flexmail",
	.rules = rules,
	.body_wants = BODY_WANT_TEXT | BODY_WANT_AMP | BODY_WANT_FILES,
	.finish = finish,
	.body = read_body,
	.keeps_others = true,
	.completes_to = false,
	.html_only = false,
};
