/* SPDX-License-Identifier: MIT */
#include "feature.h"

#include <stdio.h>
#include <string.h>

#include "api.h"
#include "html_links.h"
#include "outgoing.h"
#include "route.h"
#include "smtp_reply.h"

const char *const feature_names[FEATURES] = {
	[FEATURE_TAG] = "tag",
	[FEATURE_LABELS] = "labels",
	[FEATURE_METADATA] = "metadata",
	[FEATURE_OPEN_TRACKING] = "open tracking",
	[FEATURE_CLICK_TRACKING] = "click tracking",
	[FEATURE_INLINE_CSS] = "CSS inlining",
	[FEATURE_TRANSACTIONAL] = "transactional",
	[FEATURE_SKIP_SUPPRESSION] = "skip suppression",
	[FEATURE_DKIM_KEY] = "DKIM key",
	[FEATURE_IP_POOL] = "IP pool",
	[FEATURE_SUBACCOUNT] = "subaccount",
	[FEATURE_TEMPLATE] = "template",
	[FEATURE_VARIABLES] = "variables",
	[FEATURE_TEXT] = "text part",
	[FEATURE_TEXT_ONLY] = "text only",
	[FEATURE_AMP] = "AMP part",
	[FEATURE_ATTACHMENTS] = "attachments",
	[FEATURE_INLINE_FILES] = "inline images",
	[FEATURE_SHOWN] = "To and Cc shown",
	[FEATURE_HEADERS] = "other headers",
	[FEATURE_ODD_HEADERS] = "odd headers",
	[FEATURE_CC] = "cc copies",
	[FEATURE_BCC] = "bcc copies",
	[FEATURE_ARCHIVE] = "archive copies",
};

const char *const support_names[] = {
	[SUPPORT_IGNORED] = "ignored",
	[SUPPORT_PASSED] = "passed",
	[SUPPORT_DONE] = "done",
	[SUPPORT_REFUSED] = "refused",
};

const unsigned char feature_of_transport[FEATURES] = {
	[FEATURE_TAG] = SUPPORT_PASSED,
	[FEATURE_LABELS] = SUPPORT_PASSED,
	[FEATURE_METADATA] = SUPPORT_PASSED,
	[FEATURE_OPEN_TRACKING] = SUPPORT_DONE,
	[FEATURE_CLICK_TRACKING] = SUPPORT_DONE,
	[FEATURE_INLINE_CSS] = SUPPORT_REFUSED,
	[FEATURE_TRANSACTIONAL] = SUPPORT_IGNORED,
	[FEATURE_SKIP_SUPPRESSION] = SUPPORT_IGNORED,
	[FEATURE_DKIM_KEY] = SUPPORT_REFUSED,
	[FEATURE_IP_POOL] = SUPPORT_DONE,
	[FEATURE_SUBACCOUNT] = SUPPORT_IGNORED,
	[FEATURE_TEMPLATE] = SUPPORT_REFUSED,
	[FEATURE_VARIABLES] = SUPPORT_REFUSED,
	[FEATURE_TEXT] = SUPPORT_PASSED,
	[FEATURE_TEXT_ONLY] = SUPPORT_PASSED,
	[FEATURE_AMP] = SUPPORT_PASSED,
	[FEATURE_ATTACHMENTS] = SUPPORT_PASSED,
	[FEATURE_INLINE_FILES] = SUPPORT_PASSED,
	[FEATURE_SHOWN] = SUPPORT_PASSED,
	[FEATURE_HEADERS] = SUPPORT_PASSED,
	[FEATURE_ODD_HEADERS] = SUPPORT_PASSED,
	[FEATURE_CC] = SUPPORT_DONE,
	[FEATURE_BCC] = SUPPORT_DONE,
	[FEATURE_ARCHIVE] = SUPPORT_DONE,
};

static bool
can_track(const struct outgoing *o)
{
	return o->route->tracks && !o->html_is_signed;
}

/* What the row says, unless the route was not told how, or there is nothing to
 * do. */
static enum support
transport_support(const struct outgoing *o, enum feature f)
{
	const struct route *r = o->route;
	enum support row = (enum support)feature_of_transport[f];

	switch (f) {
	case FEATURE_TAG:
		return r->tag_header != NULL ? row : SUPPORT_IGNORED;
	case FEATURE_LABELS:
		return r->labels_header != NULL ? row : SUPPORT_IGNORED;
	case FEATURE_METADATA:
		return r->metadata_header != NULL ? row : SUPPORT_IGNORED;
	case FEATURE_OPEN_TRACKING:
	case FEATURE_CLICK_TRACKING:
		return can_track(o) ? row : SUPPORT_REFUSED;
	case FEATURE_INLINE_CSS:
		return o->html != NULL && html_has_style(o->html, o->html_len)
			   ? row
			   : SUPPORT_DONE;
	default:
		return row;
	}
}

/* What the row says, unless it cannot be passed as the message has it. */
static enum support
api_support(const struct outgoing *o, enum feature f)
{
	const struct api_format *format = o->route->format;
	enum support row = (enum support)format->support[f];

	if (row == SUPPORT_PASSED && format->takes != NULL &&
	    !format->takes(o, f))
		return SUPPORT_IGNORED;
	return row;
}

enum support
feature_support(const struct outgoing *o, enum feature f)
{
	enum support is = o->route->handoff == ROUTE_TRANSPORT
			      ? transport_support(o, f)
			      : api_support(o, f);

	return is == SUPPORT_REFUSED && o->wished[f] ? SUPPORT_IGNORED : is;
}

/* The route as the client knows it. */
static const char *
route_word(const struct outgoing *o)
{
	bool is_any = strcmp(o->route->name, ROUTE_ANY) == 0;

	return is_any && o->route_id != NULL ? o->route_id : o->route->name;
}

/* NULL: it never can. */
static const char *
why_not_this(const struct outgoing *o, enum feature f)
{
	bool tracks = o->route->handoff == ROUTE_TRANSPORT && o->route->tracks;

	return tracks && o->html_is_signed &&
		       (f == FEATURE_OPEN_TRACKING ||
			f == FEATURE_CLICK_TRACKING)
		   ? "the message is signed, and nothing in it may change"
		   : NULL;
}

bool
feature_check(const struct outgoing *o, struct smtp_reply *refusal)
{
	for (int f = 0; f < FEATURES; f++) {
		const char *why;

		if (o->asked[f] == NULL ||
		    feature_support(o, (enum feature)f) != SUPPORT_REFUSED)
			continue;
		why = why_not_this(o, (enum feature)f);
		if (why != NULL)
			smtp_reply_set(refusal, 550, "5.6.0", "%s: %s",
				       o->asked[f], why);
		else
			smtp_reply_set(refusal, 550, "5.6.0",
				       "%s: the route \"%s\" cannot do this: "
				       "%s",
				       o->asked[f], route_word(o),
				       feature_names[f]);
		return false;
	}
	return true;
}

const char *
feature_ignored(const struct outgoing *o, char dst[FEATURE_LIST_SIZE])
{
	size_t n = 0;

	dst[0] = '\0';
	for (int f = 0; o->route != NULL && f < FEATURES; f++) {
		int more;

		if (o->asked[f] == NULL ||
		    feature_support(o, (enum feature)f) != SUPPORT_IGNORED)
			continue;
		more = snprintf(dst + n, FEATURE_LIST_SIZE - n, "%s%s",
				n > 0 ? "," : "", feature_names[f]);
		if (more > 0 && n + (size_t)more < FEATURE_LIST_SIZE)
			n += (size_t)more;
	}
	return dst;
}
