/* SPDX-License-Identifier: MIT */
/*
 * SparkPost: its "SMTP API" page is the source of the table. What is asked for
 * stands in one header, X-MSYS-API (msys_api.h); the body goes as it was sent,
 * To is the customer's business, and each recipient is a message of his own.
 */
#include "body.h"
#include "dialect.h"
#include "group_header.h"
#include "message.h"
#include "msys_api.h"
#include "outgoing.h"
#include "smtp_reply.h"
#include "sparkpost_login.h"
#include "standard_headers.h"

/* X-MSYS-API behind To: who is in the envelope gets no copy. Cc is read with
 * it. */
/* clang-format off */
#define RULES \
	{ "From", HEADER_RAW, false, standard_from }, \
	{ "To", HEADER_RAW, false, standard_to_shown }, \
	{ MSYS_API_HEADER, HEADER_DECODED, true, msys_api_read }, \
	{ "Cc", HEADER_UNREAD, false, NULL }, \
	{ "Subject", HEADER_DECODED, false, standard_subject }, \
	{ "Reply-To", HEADER_RAW, false, standard_reply_to }, \
	{ "Message-ID", HEADER_RAW, false, standard_message_id }, \
	{ NULL, HEADER_UNREAD, false, NULL }
/* clang-format on */

static const struct header_rule rules[] = { RULES };
static const struct header_rule grouped_rules[] = { GROUP_HEADER_RULES, RULES };

static bool
read_others(struct reading *r)
{
	standard_other_headers(r, &dialect_sparkpost);
	return true;
}

static bool
read_body(struct reading *r, struct message *m)
{
	const struct outgoing *o = r->outgoing;

	if (!standard_body(r, m))
		return false;
	if (body_amp_misplaced(message_body_state(m))) {
		smtp_reply_set(r->refusal, 550, "5.6.0",
			       "Content-Type: text/x-amp-html must be within a "
			       "multipart/alternative, beside a text/html or "
			       "text/plain part");
		return false;
	}
	if (o->html == NULL && o->text == NULL && o->amp == NULL)
		return standard_no_body(r, m,
					"The message has no HTML or text part "
					"to send");
	return true;
}

#define SPARKPOST(rules_)                                             \
	{                                                             \
		.name = "sparkpost", .rules = rules_,                 \
		.body_wants =                                         \
		    BODY_WANT_TEXT | BODY_WANT_AMP | BODY_WANT_FILES, \
		.login = sparkpost_login, .finish = read_others,      \
		.body = read_body, .keeps_others = true,              \
		.completes_to = false, .html_only = false,            \
	}

const struct dialect dialect_sparkpost = SPARKPOST(rules);
const struct dialect dialect_sparkpost_grouped = SPARKPOST(grouped_rules);
