/* SPDX-License-Identifier: MIT */
/*
 * The Campaign Monitor HTTP API, classic transactional: POST
 * /transactional/classicEmail/send, one recipient a call, answered
 * [{"MessageID":...,"Recipient":...,"Status":"Received"}]; errors are
 * {"Code":...,"Message":...}.
 *
 * The key is "CLIENTID:APIKEY", or "APIKEY" alone for a client's own key. What
 * no header says, ConsentToTrack, is the configuration's.
 */
#include <string.h>
#include <strings.h>

#include "api.h"
#include "api_write.h"
#include "dynbuf.h"
#include "json_text.h"
#include "outgoing.h"

const char *const api_consents[] = { "Unchanged", "Yes", "No", NULL };

/* Hexadecimal as it is issued; it goes into the URL. */
static bool
is_client_id(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		bool good = (s[i] >= '0' && s[i] <= '9') ||
			    (s[i] >= 'a' && s[i] <= 'z') ||
			    (s[i] >= 'A' && s[i] <= 'Z') || s[i] == '-';

		if (!good)
			return false;
	}
	return len > 0;
}

static bool
head(const struct api_settings *s, const struct outgoing *o, const char *key,
     struct api_head *h)
{
	const char *colon = strchr(key, ':');
	const char *api_key = colon != NULL ? colon + 1 : key;
	size_t n = colon != NULL ? (size_t)(colon - key) : 0;

	(void)s;
	(void)o;
	if (*api_key == '\0' || strchr(api_key, ':') != NULL ||
	    (colon != NULL && !is_client_id(key, n)))
		return false;
	return api_head_path(h, "/transactional/classicEmail/send%s%.*s",
			     n > 0 ? "?clientID=" : "", (int)n, key) &&
	       api_head_add_basic(h, api_key, strlen(api_key), "x");
}

static bool
recipient_piece(const struct api_settings *s, const struct outgoing *o,
		const struct outgoing_recipient *r, struct dynbuf *out)
{
	(void)s;
	(void)o;
	(void)dynbuf_adds(out, "{");
	api_write_open(out, "To", "[");
	api_write_mailbox(out, r->name, r->email);
	(void)dynbuf_adds(out, "]");
	return !out->overflow;
}

/* The provider makes a text part as well as we do, and for its own links. */
static void
add_body(struct dynbuf *out, const struct outgoing *o)
{
	static const struct api_file_names attached = { "Name", "Type",
							"Content", false };
	static const struct api_file_names shown = { "Name", "Type", "Content",
						     true };

	api_write_text(out, "Html", o->html, o->html_len);
	if (!o->text_is_made)
		api_write_text(out, "Text", o->text, o->text_len);
	api_write_files(out, "Attachments", o, false, &attached);
	api_write_files(out, "Images", o, true, &shown);
}

static bool
shared_piece(const struct api_settings *s, const struct outgoing *o,
	     struct dynbuf *out)
{
	const char *consent = s != NULL ? s->consent_to_track : NULL;

	(void)dynbuf_adds(out, ",");
	api_write_name(out, "From");
	api_write_mailbox(out, o->from_name, o->from_email);
	api_write_string(out, "Subject", o->subject);
	api_write_string(out, "ReplyTo", o->reply_to);
	add_body(out, o);
	api_write_switch(out, "TrackOpens", o->open_tracking);
	api_write_switch(out, "TrackClicks", o->click_tracking);
	api_write_switch(out, "InlineCSS", o->inline_css);
	api_write_string(out, "Group", o->tag);
	api_write_string(out, "ConsentToTrack",
			 consent != NULL ? consent : api_consents[0]);
	(void)dynbuf_adds(out, "}");
	return !out->overflow;
}

static void
answer_text(const char *body, size_t len, char *text_r, size_t size)
{
	if (!json_get_words(body, len, "Message", text_r, size))
		text_r[0] = '\0';
}

struct receipt {
	char *id; /* API_ID_MAX + 1 bytes */
	bool good;
};

/* The words for "we have it" that are known; one that is not may mean no. */
static bool
is_taken(const char *status)
{
	static const char *const words[] = { "Received", "Accepted", "Queued",
					     "Sent", "Delivered" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(status, words[i]) == 0)
			return true;
	}
	return false;
}

/* There is one for each recipient, and so there is one. */
static bool
read_receipt(void *arg, const char *id, const char *status)
{
	struct receipt *r = arg;

	if (r->good || id == NULL || status == NULL || !is_taken(status) ||
	    *id == '\0' || strlen(id) > API_ID_MAX)
		return false;
	memcpy(r->id, id, strlen(id) + 1);
	r->good = true;
	return true;
}

static bool
answer_accepted(const char *body, size_t len, char id_r[API_ID_MAX + 1])
{
	struct receipt r = { .id = id_r };

	id_r[0] = '\0';
	return json_each(body, len, NULL, "MessageID", "Status", read_receipt,
			 &r) &&
	       r.good;
}

const struct api_format api_campaignmonitor = {
	.name = "campaignmonitor",
	.support = {
		[FEATURE_TAG] = SUPPORT_PASSED,
		[FEATURE_LABELS] = SUPPORT_IGNORED,
		[FEATURE_METADATA] = SUPPORT_IGNORED,
		[FEATURE_OPEN_TRACKING] = SUPPORT_PASSED,
		[FEATURE_CLICK_TRACKING] = SUPPORT_PASSED,
		[FEATURE_INLINE_CSS] = SUPPORT_PASSED,
		[FEATURE_TRANSACTIONAL] = SUPPORT_IGNORED,
		[FEATURE_SKIP_SUPPRESSION] = SUPPORT_IGNORED,
		[FEATURE_DKIM_KEY] = SUPPORT_REFUSED,
		[FEATURE_IP_POOL] = SUPPORT_DONE,
		[FEATURE_SUBACCOUNT] = SUPPORT_REFUSED,
		[FEATURE_TEMPLATE] = SUPPORT_REFUSED,
		[FEATURE_VARIABLES] = SUPPORT_REFUSED,
		[FEATURE_TEXT] = SUPPORT_PASSED,
		[FEATURE_TEXT_ONLY] = SUPPORT_PASSED,
		[FEATURE_AMP] = SUPPORT_IGNORED,
		[FEATURE_ATTACHMENTS] = SUPPORT_PASSED,
		[FEATURE_INLINE_FILES] = SUPPORT_PASSED,
		[FEATURE_SHOWN] = SUPPORT_IGNORED,
		[FEATURE_HEADERS] = SUPPORT_IGNORED,
		[FEATURE_ODD_HEADERS] = SUPPORT_IGNORED,
		[FEATURE_CC] = SUPPORT_DONE,
		[FEATURE_BCC] = SUPPORT_DONE,
		[FEATURE_ARCHIVE] = SUPPORT_DONE,
	},
	.head = head,
	.fits = api_fits_content,
	.recipient_piece = recipient_piece,
	.shared_piece = shared_piece,
	.answer_text = answer_text,
	.answer_accepted = answer_accepted,
};
