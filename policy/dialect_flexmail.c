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
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "body.h"
#include "dialect.h"
#include "dynbuf.h"
#include "header_text.h"
#include "json_text.h"
#include "message.h"
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

/* While it is written. */
struct metadata {
	struct reading *r;
	struct dynbuf json;
	GHashTable *keys; /* those it has */
};

/* Clients write names of headers in their own way: of order_id, nodemailer
 * makes Order_id and Ruby's mail order-id. No key has a capital or a hyphen,
 * so it is clear what is meant. */
static char *
key_meant(const char *s)
{
	char *key = g_ascii_strdown(s, -1);

	for (char *p = key; *p != '\0'; p++) {
		if (*p == '-')
			*p = '_';
	}
	return key;
}

/* The first of a key counts. Takes it. */
static void
add_metadata(struct metadata *d, char *key, const char *value)
{
	if (g_hash_table_lookup(d->keys, key) != NULL) {
		g_free(key);
		return;
	}
	if (!dynbuf_adds(&d->json, d->json.len > 0 ? "," : "{") ||
	    !json_add_member(&d->json, key, value))
		abort();
	g_hash_table_add(d->keys, key);
}

static bool
read_value(struct metadata *d, const struct message_header *h,
	   const char *value)
{
	char *key = key_meant(h->name + strlen(METADATA));
	size_t len = strlen(value);
	const char *wrong = NULL;

	if (!is_snake_case(key))
		wrong = "a metadata key is in snake_case, as order_id";
	else if (len == 0 || utf8_count(value, len) > VALUE_MAX)
		wrong = "a metadata value has 1 to 80 characters";
	if (wrong != NULL) {
		g_free(key);
		return standard_refuse(d->r, h->name, wrong);
	}
	d->r->outgoing->asked[FEATURE_METADATA] = METADATA_FAMILY;
	add_metadata(d, key, value);
	return true;
}

static bool
read_metadata(struct metadata *d, const struct message_header *h)
{
	char *text;
	bool ok;

	if (header_text(h->value, h->value_len, &text) != HEADER_TEXT_OK)
		return standard_refuse(d->r, h->name,
				       "holds a control character");
	ok = read_value(d, h, text);
	free(text);
	return ok;
}

/* The Message-ID as the client wrote it, with its brackets: what it was told
 * its message is called, and looks for in a webhook. Nobody asks for this, so
 * no way is refused for it. No header overrides it. */
static void
add_message_id(struct metadata *d)
{
	const char *id = d->r->outgoing->message_id;

	if (id != NULL)
		add_metadata(d, g_strdup(MESSAGE_ID_KEY), id);
}

static bool
read_all_metadata(struct reading *r)
{
	struct metadata d = { .r = r,
			      .keys = g_hash_table_new_full(
				  g_str_hash, g_str_equal, g_free, NULL) };
	const struct message *m = r->message;
	bool ok = true;
	size_t len;

	/* An escape is six characters at most. */
	dynbuf_init(&d.json, 8 * MESSAGE_HEADERS_KEPT_MAX);
	add_message_id(&d);
	for (size_t i = 0; ok && i < message_n_headers(m); i++) {
		const struct message_header *h = message_header_at(m, i);

		if (header_name_matches(METADATA_FAMILY, h->name))
			ok = read_metadata(&d, h);
	}
	if (ok && d.json.len > 0) {
		if (!dynbuf_adds(&d.json, "}"))
			abort();
		r->outgoing->metadata = dynbuf_steal(&d.json, &len);
	}
	dynbuf_clear(&d.json);
	g_hash_table_unref(d.keys);
	return ok;
}

/* --- the whole ----------------------------------------------------------- */

/* Metadata is read when the Message-ID is known. */
static const struct header_rule rules[] = {
	{ "X-Flexmail-Tag", HEADER_DECODED, true, read_tag },
	{ "X-Flexmail-Open-Tracking", HEADER_DECODED, true, read_opens },
	{ "X-Flexmail-Link-Tracking", HEADER_DECODED, true, read_links },
	{ "Message-ID", HEADER_RAW, false, standard_message_id },
	{ METADATA_FAMILY, HEADER_DECODED, true, NULL },
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
	return read_all_metadata(r) && standard_route(r);
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
