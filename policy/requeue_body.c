/* SPDX-License-Identifier: MIT */
#include "requeue_body.h"

#include "body.h"
#include "compose.h"
#include "dialect.h"
#include "dynbuf.h"
#include "message.h"
#include "outgoing.h"
#include "requeue.h"
#include "smtp_reply.h"
#include "tracking.h"

static bool
is_tracked(const struct outgoing *o, const struct requeue_as *as)
{
	return as->tracking != NULL && requeue_is_tracked(o);
}

enum requeue_change
requeue_change(const struct message *m, const struct dialect *d,
	       const struct outgoing *o, const struct requeue_as *as)
{
	const struct body *b = message_body_state(m);
	bool tracked = is_tracked(o, as);
	struct body_place place;

	if (d->html_only)
		return tracked || !body_is_whole(b) ? REQUEUE_LEAF
						    : REQUEUE_STAYS;
	if (o->html == NULL || (!tracked && !o->text_is_made) ||
	    !body_place(b, &place) || place.is_signed)
		return REQUEUE_STAYS;
	return place.is_message ? REQUEUE_LEAF : REQUEUE_PART;
}

static bool
write_leaf(const struct compose_parts *p, struct dynbuf *out)
{
	dynbuf_init(out, compose_room(p));
	return compose_leaf(out, p);
}

/* False: the bytes were not kept. */
static bool
write_part(const struct message *m, const struct compose_parts *p,
	   struct dynbuf *out)
{
	const struct body *b = message_body_state(m);
	struct body_place place;
	size_t len;
	const char *raw = body_raw(b, &len);

	dynbuf_init(out, len + compose_room(p));
	return raw != NULL && body_place(b, &place) && place.end <= len &&
	       compose_body(out, raw, len, &place, p);
}

/* Into out, with its links as they shall be. */
static bool
track(const struct outgoing *o, const struct requeue_as *as, struct dynbuf *out)
{
	return tracking_rewrite(out, as->tracking, o->html, o->html_len,
				o->open_tracking == SWITCH_ON,
				o->click_tracking == SWITCH_ON);
}

static void
refuse_unkept(const struct message *m, struct smtp_reply *refusal)
{
	size_t len;

	if (body_raw(message_body_state(m), &len) == NULL)
		smtp_reply_set(refusal, 552, "5.3.4",
			       "The message is larger than %d bytes, and its "
			       "HTML part must change",
			       BODY_RAW_MAX);
	else
		smtp_reply_set(refusal, 451, "4.3.0",
			       "The relay has not kept the message's body");
}

/* Of the message that is a multipart/related. */
static char *
related_type(const struct message *m, const struct compose_parts *p)
{
	const struct message_header *h = message_find(m, "Content-Type");
	struct body_place place;

	if (h == NULL || !body_place(message_body_state(m), &place))
		return NULL;
	return compose_related_type(h->value, h->value_len, &place, p);
}

static bool
write_body(const struct message *m, const struct compose_parts *p,
	   enum requeue_change change, struct requeue_body *body_r,
	   struct smtp_reply *refusal)
{
	struct dynbuf out;
	bool is_leaf = change == REQUEUE_LEAF;

	if (!(is_leaf ? write_leaf(p, &out) : write_part(m, p, &out))) {
		dynbuf_clear(&out);
		refuse_unkept(m, refusal);
		return false;
	}
	*body_r = (struct requeue_body){
		.type = is_leaf ? compose_type(p) : related_type(m, p),
		.encoding = is_leaf ? compose_encoding(p) : NULL,
	};
	body_r->data = dynbuf_steal(&out, &body_r->len);
	return true;
}

bool
requeue_body(const struct message *m, const struct dialect *d,
	     const struct outgoing *o, const struct requeue_as *as,
	     struct requeue_body *body_r, struct smtp_reply *refusal)
{
	bool with_text = o->text_is_made && !d->html_only;
	struct compose_parts p = {
		.html = o->html,
		.html_len = o->html_len,
		.text = with_text ? o->text : NULL,
		.text_len = with_text ? o->text_len : 0,
		.token = as->token,
	};
	DYNBUF_AUTO html;

	dynbuf_init(&html, REQUEUE_HTML_MAX);
	if (is_tracked(o, as)) {
		if (!track(o, as, &html)) {
			smtp_reply_set(refusal, 552, "5.3.4",
				       "The message is too large with its "
				       "links tracked");
			return false;
		}
		p.html = dynbuf_str(&html);
		p.html_len = html.len;
	}
	return write_body(m, &p, requeue_change(m, d, o, as), body_r, refusal);
}
