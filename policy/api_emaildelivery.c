/* SPDX-License-Identifier: MIT */
/*
 * The EmailDelivery HTTP API: POST /transactional/send, one recipient a call,
 * answered {"tag":...,"to":...,"result":"ok"} without an id; errors are
 * {"title":...,"description":...}, the description being the useful one.
 */
#include <stdlib.h>
#include <string.h>

#include "account.h"
#include "api.h"
#include "api_write.h"
#include "dynbuf.h"
#include "html.h"
#include "json_text.h"
#include "outgoing.h"

#define KEY_HEADER "X-Auth-APIKey"
/* The API refuses longer tags, and other letters in them. */
#define TAG_MAX 18
#define TAG_LETTERS "._-"

static bool
head(const struct api_settings *s, const struct outgoing *o, const char *key,
     struct api_head *h)
{
	(void)s;
	(void)o;
	return api_head_path(h, "/transactional/send") &&
	       api_head_add(h, KEY_HEADER ": %s", key);
}

/* False: it is too long. "" when nothing of it is left. */
static bool
read_tag(const struct outgoing *o, char dst[TAG_MAX + 1])
{
	return api_tag(dst, TAG_MAX, o->tag, TAG_LETTERS, '-');
}

static bool
takes(const struct outgoing *o, enum feature f)
{
	char tag[TAG_MAX + 1];

	return f != FEATURE_TAG || o->tag == NULL ||
	       (read_tag(o, tag) && *tag != '\0');
}

static bool
fits(const struct outgoing *o, struct smtp_reply *refusal)
{
	char tag[TAG_MAX + 1];

	if (o->tag != NULL && !read_tag(o, tag) &&
	    !api_long_tag(o, refusal, TAG_MAX, "characters"))
		return false;
	return api_fits_content(o, refusal);
}

static bool
recipient_piece(const struct api_settings *s, const struct outgoing *o,
		const struct outgoing_recipient *r, struct dynbuf *out)
{
	(void)s;
	(void)o;
	return dynbuf_adds(out, "{") && json_add_member(out, "to", r->email) &&
	       json_add_member(out, "toname", r->name);
}

static bool
add_optional(struct dynbuf *out, const char *name, const char *value)
{
	return value == NULL || json_add_member(out, name, value);
}

/* One that does not fit was refused or wished for; it is not sent in part. */
static bool
add_tag(struct dynbuf *out, const struct outgoing *o)
{
	char tag[TAG_MAX + 1];

	return o->tag == NULL || !read_tag(o, tag) || *tag == '\0' ||
	       json_add_member(out, "tag", tag);
}

/* The API takes HTML, and HTML is made of the text that is alone. */
static bool
add_body(struct dynbuf *out, const struct outgoing *o)
{
	char *html;
	size_t len;

	if (o->html == NULL && o->text == NULL)
		return true;
	if (o->html != NULL) {
		api_write_text(out, "body", o->html, o->html_len);
		return !out->overflow;
	}
	html = html_of_text(o->text, o->text_len, o->text_is_flowed, &len);
	if (html == NULL)
		return false;
	api_write_text(out, "body", html, len);
	free(html);
	return !out->overflow;
}

/* Absent members are left out: the API has a default for each. */
static bool
shared_piece(const struct api_settings *s, const struct outgoing *o,
	     struct dynbuf *out)
{
	(void)s;
	if (!dynbuf_adds(out, ",") ||
	    !json_add_member(out, "fromname", o->from_name) ||
	    !json_add_member(out, "fromemail", o->from_email) ||
	    !json_add_member(out, "returnpath", o->return_path) ||
	    !add_optional(out, "subject", o->subject) ||
	    !add_optional(out, "replyto", o->reply_to) || !add_tag(out, o) ||
	    !add_optional(out, "route", o->route_id) ||
	    !add_optional(out, "template", o->template_id))
		return false;
	api_write_json(out, "variables", o->variables);
	return add_body(out, o) && dynbuf_adds(out, "}") && !out->overflow;
}

static void
answer_text(const char *body, size_t len, char *text_r, size_t size)
{
	if (!json_get_words(body, len, "description", text_r, size) &&
	    !json_get_words(body, len, "title", text_r, size))
		text_r[0] = '\0';
}

static bool
answer_accepted(const char *body, size_t len, char id_r[API_ID_MAX + 1])
{
	char result[16];

	id_r[0] = '\0';
	return json_get_string(body, len, "result", result, sizeof(result)) &&
	       strcmp(result, "ok") == 0;
}

static bool
add_route(void *arg, const char *id, const char *name)
{
	return id != NULL && account_add_route(arg, id, name ? name : "");
}

static bool
read_routes(const char *body, size_t len, struct account *account)
{
	return json_each(body, len, NULL, "id", "name", add_route, account);
}

static bool
set_id(void *arg, const char *name, const char *unused)
{
	(void)unused;
	return name != NULL && account_id_from_name(name, arg);
}

static bool
read_account(const char *body, size_t len, char *id_r)
{
	id_r[0] = '\0';
	return json_each(body, len, NULL, "name", NULL, set_id, id_r) &&
	       id_r[0] != '\0';
}

static const struct api_keys keys = {
	.routes_path = "/userroutes",
	.account_path = "/ping",
	.key_header = KEY_HEADER,
	.read_routes = read_routes,
	.read_account = read_account,
};

const struct api_format api_emaildelivery = {
	.name = "emaildelivery",
	.support = {
		[FEATURE_TAG] = SUPPORT_PASSED,
		[FEATURE_LABELS] = SUPPORT_IGNORED,
		[FEATURE_METADATA] = SUPPORT_IGNORED,
		[FEATURE_OPEN_TRACKING] = SUPPORT_IGNORED,
		[FEATURE_CLICK_TRACKING] = SUPPORT_IGNORED,
		[FEATURE_INLINE_CSS] = SUPPORT_IGNORED,
		[FEATURE_TRANSACTIONAL] = SUPPORT_IGNORED,
		[FEATURE_SKIP_SUPPRESSION] = SUPPORT_IGNORED,
		[FEATURE_DKIM_KEY] = SUPPORT_REFUSED,
		[FEATURE_IP_POOL] = SUPPORT_DONE,
		[FEATURE_SUBACCOUNT] = SUPPORT_REFUSED,
		[FEATURE_TEMPLATE] = SUPPORT_PASSED,
		[FEATURE_VARIABLES] = SUPPORT_PASSED,
		[FEATURE_TEXT] = SUPPORT_IGNORED,
		[FEATURE_TEXT_ONLY] = SUPPORT_DONE,
		[FEATURE_AMP] = SUPPORT_IGNORED,
		[FEATURE_ATTACHMENTS] = SUPPORT_REFUSED,
		[FEATURE_INLINE_FILES] = SUPPORT_REFUSED,
		[FEATURE_SHOWN] = SUPPORT_IGNORED,
		[FEATURE_HEADERS] = SUPPORT_IGNORED,
		[FEATURE_ODD_HEADERS] = SUPPORT_IGNORED,
		[FEATURE_CC] = SUPPORT_DONE,
		[FEATURE_BCC] = SUPPORT_DONE,
		[FEATURE_ARCHIVE] = SUPPORT_DONE,
	},
	.keys = &keys,
	.head = head,
	.takes = takes,
	.fits = fits,
	.recipient_piece = recipient_piece,
	.shared_piece = shared_piece,
	.answer_text = answer_text,
	.answer_accepted = answer_accepted,
};
