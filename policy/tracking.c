/* SPDX-License-Identifier: MIT */
#include "tracking.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "dynbuf.h"
#include "html_links.h"
#include "json_text.h"
#include "utf8.h"

#define SHA256_LEN 32

/* An account, an id and an URL, escaped: at most six bytes for one. */
#define PAYLOAD_MAX (8 * HTML_LINK_MAX)

/* RFC 4648, section 5, without padding. */
static bool
add_base64url(struct dynbuf *out, const unsigned char *s, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t n = (len * 4 + 2) / 3;
	char *dst = dynbuf_room(out, n);

	if (dst == NULL)
		return false;
	for (size_t i = 0; i < n; i++) {
		size_t bit = i * 6, at = bit / 8;
		unsigned pair = (unsigned)s[at] << 8;

		if (at + 1 < len)
			pair |= s[at + 1];
		dst[i] = digits[pair >> (10 - bit % 8) & 63];
	}
	dynbuf_grown(out, n);
	return true;
}

static bool
add_json(struct dynbuf *json, const struct tracking *t, const char *target,
	 size_t len)
{
	if (!dynbuf_adds(json, "{") ||
	    !json_add_member(json, "a", t->account) ||
	    !json_add_member(json, "i", t->id))
		return false;
	if (target != NULL && (!dynbuf_adds(json, ",\"u\":") ||
			       !json_add_string(json, target, len)))
		return false;
	return dynbuf_adds(json, "}");
}

/* Of what out has behind `from`, and of the kind. */
static bool
add_mac(struct dynbuf *out, size_t from, const struct tracking *t,
	enum tracking_kind kind)
{
	const unsigned char prefix[] = { (unsigned char)kind, '.' };
	GHmac *hmac = g_hmac_new(G_CHECKSUM_SHA256, t->key, t->key_len);
	unsigned char mac[SHA256_LEN];
	gsize n = sizeof(mac);

	g_hmac_update(hmac, prefix, sizeof(prefix));
	g_hmac_update(hmac, (const guchar *)out->data + from,
		      (gssize)(out->len - from));
	g_hmac_get_digest(hmac, mac, &n);
	g_hmac_unref(hmac);
	return dynbuf_adds(out, ".") &&
	       add_base64url(out, mac, TRACKING_MAC_LEN);
}

bool
tracking_add_url(struct dynbuf *out, const struct tracking *t,
		 enum tracking_kind kind, const char *target, size_t len)
{
	DYNBUF_AUTO json;
	size_t from;

	dynbuf_init(&json, PAYLOAD_MAX);
	if (!dynbuf_addf(out, "%s/%c/", t->url, (char)kind))
		return false;
	from = out->len;
	return add_json(&json, t, target, len) &&
	       add_base64url(out, (const unsigned char *)json.data, json.len) &&
	       add_mac(out, from, t, kind);
}

static bool
replace_link(void *arg, const char *url, size_t len, struct dynbuf *new_url)
{
	const struct tracking *t = arg;

	return utf8_valid_prefix(url, len) == len &&
	       tracking_add_url(new_url, t, TRACKING_CLICK, url, len);
}

static bool
add_pixel(struct dynbuf *out, const struct tracking *t, const char *html,
	  size_t len)
{
	DYNBUF_AUTO url;

	dynbuf_init(&url, PAYLOAD_MAX);
	return tracking_add_url(&url, t, TRACKING_OPEN, NULL, 0) &&
	       html_add_pixel(out, html, len, url.data);
}

bool
tracking_rewrite(struct dynbuf *out, const struct tracking *t, const char *html,
		 size_t len, bool opens, bool clicks)
{
	struct tracking mine = *t; /* what fn is given is not const */
	DYNBUF_AUTO clicked;

	dynbuf_init(&clicked, out->max);
	if (!clicks)
		return opens ? add_pixel(out, t, html, len)
			     : dynbuf_add(out, html, len);
	if (!opens)
		return html_links(out, html, len, replace_link, &mine);
	if (!html_links(&clicked, html, len, replace_link, &mine)) {
		out->overflow = true;
		return false;
	}
	return add_pixel(out, t, dynbuf_str(&clicked), clicked.len);
}
