/* SPDX-License-Identifier: MIT */
/*
 * tracking: links and an image that tell that a mail was read.
 *
 * For routes whose next hop has no tracking of its own. What answers under the
 * tracking URL is the operator's; this is the contract that it reads:
 *
 *   URL "/c/" PAYLOAD "." MAC    a click: answer with a redirect to "u"
 *   URL "/o/" PAYLOAD "." MAC    an open: answer with an image of one pixel
 *
 *   PAYLOAD  base64url without padding (RFC 4648, section 5) of a JSON object
 *            in UTF-8: {"a":account,"i":id,"u":url}, "u" for clicks only
 *   MAC      base64url without padding of the first 16 bytes of
 *            HMAC-SHA-256(key, "c." PAYLOAD) or (key, "o." PAYLOAD)
 *
 * Compute the MAC over the text of PAYLOAD as it came, compare in constant
 * time, and only then decode: an URL that was not signed must not be followed.
 * The letter is signed too, so that one kind cannot be used as the other.
 * Thread-safe; no state.
 */
#ifndef TXM_POLICY_TRACKING_H
#define TXM_POLICY_TRACKING_H

#include <stdbool.h>
#include <stddef.h>

struct dynbuf;

/* Bytes of the MAC that a token has: 128 bits. */
#define TRACKING_MAC_LEN 16

struct tracking {
	const char *url; /* https://host[/path], without a slash at its end */
	const unsigned char *key;
	size_t key_len;
	const char *account;
	const char *id; /* of the message and the recipient */
};

enum tracking_kind { TRACKING_CLICK = 'c', TRACKING_OPEN = 'o' };

/* Appends the URL that stands for `target` (valid UTF-8; for an open: NULL).
 * False when out is full. */
bool tracking_add_url(struct dynbuf *out, const struct tracking *t,
		      enum tracking_kind kind, const char *target, size_t len);

/* Appends html with its links replaced (clicks) and an image added (opens);
 * see html_links.h. A link that is not UTF-8 stays as it is. False when out is
 * full. */
bool tracking_rewrite(struct dynbuf *out, const struct tracking *t,
		      const char *html, size_t len, bool opens, bool clicks);

#endif
