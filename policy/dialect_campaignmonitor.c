/* SPDX-License-Identifier: MIT */
/*
 * Campaign Monitor, classic transactional: its page about sending with SMTP is
 * the source of the table. What the page leaves open: precedence among group
 * headers is the order in which it names the providers; switches are true or
 * false and nothing else.
 *
 * The password is a token and the user name should be the same one; it proves
 * nothing more, so any will do.
 */
#include <stdlib.h>

#include "body.h"
#include "dialect.h"
#include "dynbuf.h"
#include "group_header.h"
#include "html_to_text.h"
#include "outgoing.h"
#include "standard_headers.h"
#include "utf8.h"

/* "up to a total of 25 recipients across the To, CC and BCC fields" */
#define RECIPIENTS_MAX 25

static bool
read_group(struct reading *r, const char *name, const char *value, size_t len)
{
	if (value == NULL || len == 0)
		return true;
	if (utf8_count(value, len) > GROUP_NAME_MAX)
		return standard_refuse(
		    r, name, "a group name has at most 255 characters");
	r->outgoing->tag = standard_copy(value);
	r->outgoing->asked[FEATURE_TAG] = name;
	return true;
}

/* All three are on unless the message says false. What it does not say it does
 * not insist on. */
static bool
read_switch(struct reading *r, const char *name, const char *value, size_t len,
	    enum outgoing_switch *at, enum feature f)
{
	if (value != NULL && len > 0)
		return standard_switch(r, name, value, len, at, f);
	*at = SWITCH_ON;
	r->outgoing->asked[f] = name;
	r->outgoing->wished[f] = true;
	return true;
}

static bool
read_opens(struct reading *r, const char *name, const char *value, size_t len)
{
	return read_switch(r, name, value, len, &r->outgoing->open_tracking,
			   FEATURE_OPEN_TRACKING);
}

static bool
read_clicks(struct reading *r, const char *name, const char *value, size_t len)
{
	return read_switch(r, name, value, len, &r->outgoing->click_tracking,
			   FEATURE_CLICK_TRACKING);
}

static bool
read_css(struct reading *r, const char *name, const char *value, size_t len)
{
	return read_switch(r, name, value, len, &r->outgoing->inline_css,
			   FEATURE_INLINE_CSS);
}

/* Groups in the order of precedence. */
static const struct header_rule rules[] = {
	{ "X-Cmail-GroupName", HEADER_DECODED, true, read_group },
	GROUP_HEADER_RULES,
	{ "X-Cmail-TrackOpens", HEADER_DECODED, true, read_opens },
	{ "X-Cmail-TrackClicks", HEADER_DECODED, true, read_clicks },
	{ "X-Cmail-InlineCSS", HEADER_DECODED, true, read_css },
	{ "From", HEADER_RAW, false, standard_from },
	{ "To", HEADER_RAW, false, standard_to_shown },
	{ "Cc", HEADER_RAW, false, standard_cc_shown },
	{ "Subject", HEADER_DECODED, false, standard_subject },
	{ "Reply-To", HEADER_RAW, false, standard_reply_to },
	{ "Message-ID", HEADER_RAW, false, standard_message_id },
	{ NULL, HEADER_UNREAD, false, NULL },
};

static bool
finish(struct reading *r)
{
	standard_other_headers(r, &dialect_campaignmonitor);
	return standard_route(r);
}

/* "One will be automatically generated from your HTML version." Nothing to read
 * in it is no text. */
static void
make_text(struct outgoing *o)
{
	DYNBUF_AUTO text;

	dynbuf_init(&text, HTML_TO_TEXT_MAX(o->html_len));
	if (!html_to_text(&text, o->html, o->html_len))
		abort();
	if (text.len == 0)
		return;
	o->text = dynbuf_steal(&text, &o->text_len);
	o->text_is_made = true;
}

static bool
read_body(struct reading *r, struct message *m)
{
	struct outgoing *o = r->outgoing;

	if (!standard_body(r, m))
		return false;
	if (o->html == NULL && o->text == NULL)
		return standard_no_body(
		    r, m, "The message has no HTML or text part to send");
	if (o->text == NULL)
		make_text(o);
	return true;
}

const struct dialect dialect_campaignmonitor = {
	.name = "campaignmonitor",
	.rules = rules,
	.recipients_max = RECIPIENTS_MAX,
	.body_wants = BODY_WANT_TEXT | BODY_WANT_AMP | BODY_WANT_FILES,
	.finish = finish,
	.body = read_body,
	.keeps_others = true,
	.completes_to = false,
	.html_only = false,
};
