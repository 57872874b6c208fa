/* SPDX-License-Identifier: MIT */
/*
 * link_text: where a link leads, in words.
 *
 * Thread-safe; no state.
 */
#ifndef TXM_POLICY_LINK_TEXT_H
#define TXM_POLICY_LINK_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct dynbuf;

/* A longer URL is none that anybody would read. */
#define LINK_TEXT_MAX 2048
/* The most that one of LINK_TEXT_MAX becomes: each byte a "%20". */
#define LINK_TEXT_ROOM (3 * LINK_TEXT_MAX)

/* Appends the URL of a "href" attribute as it can be shown: in one piece; of
 * mailto: and tel: only the address. False when there is none that is of use
 * elsewhere: "#top", "/relative", "javascript:", an empty or too long one. */
bool link_text(struct dynbuf *out, const char *href, size_t len);

/* True when the text of a link is its URL already, as people write it: without
 * "https://", without a slash at its end. */
bool link_text_same(const char *text, size_t text_len, const char *url,
		    size_t url_len);

#endif
