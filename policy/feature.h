/* SPDX-License-Identifier: MIT */
/*
 * feature: what a message may ask for beyond "this HTML, to these people", and
 * what becomes of it on each way out.
 *
 * Each API format has a row of enum support (api.h), and so has a transport
 * route (feature_of_transport). judge() refuses a message that asks for what
 * its way refuses, and says which header asked; what is ignored is in the log,
 * and so is what is refused, but was only wished for (outgoing's wished). So
 * nothing disappears without a word, and the matrix in txmilter-headers(7) is
 * checked against these rows.
 */
#ifndef TXM_POLICY_FEATURE_H
#define TXM_POLICY_FEATURE_H

#include <stdbool.h>
#include <stddef.h>

enum feature {
	FEATURE_TAG,
	FEATURE_LABELS,
	FEATURE_METADATA,
	FEATURE_OPEN_TRACKING,	/* asked for: on */
	FEATURE_CLICK_TRACKING, /* asked for: on */
	FEATURE_INLINE_CSS,	/* asked for: on */
	FEATURE_TRANSACTIONAL,
	FEATURE_SKIP_SUPPRESSION,
	FEATURE_DKIM_KEY,
	FEATURE_IP_POOL,
	FEATURE_SUBACCOUNT,
	FEATURE_TEMPLATE,
	FEATURE_VARIABLES,
	FEATURE_TEXT,	   /* a text part beside the HTML part */
	FEATURE_TEXT_ONLY, /* no HTML */
	FEATURE_AMP,
	FEATURE_ATTACHMENTS,
	FEATURE_INLINE_FILES, /* images within the message */
	FEATURE_SHOWN,	      /* To and Cc, where they name anybody else */
	FEATURE_HEADERS,      /* others than those that have a meaning */
	FEATURE_ODD_HEADERS,  /* of those, what only mail can have */
	FEATURE_CC,
	FEATURE_BCC,
	FEATURE_ARCHIVE,
	FEATURES,
};

/* What a row forgets is refused: nothing is lost by it. */
enum support {
	SUPPORT_REFUSED, /* and the client is told */
	SUPPORT_IGNORED, /* and it is said so in the log */
	SUPPORT_PASSED,	 /* the next hop gets it */
	SUPPORT_DONE,	 /* done here */
};

/* The words of the manual and of refusals. */
extern const char *const feature_names[FEATURES];
extern const char *const support_names[];

/* What a transport route does: with tag, labels and metadata where it has a
 * header for them, else they are ignored; with tracking where there is a
 * tracking host, else it is refused; CSS is refused only where there is some to
 * be inlined. */
extern const unsigned char feature_of_transport[FEATURES];

struct outgoing;
struct route;
struct smtp_reply;

/* What the way of o->route (which is set) does with it. What is only wished for
 * is never refused. */
enum support feature_support(const struct outgoing *o, enum feature f);

/* False: it asks for what its way refuses; refusal set. */
bool feature_check(const struct outgoing *o, struct smtp_reply *refusal);

/* "labels,metadata": what is asked for and ignored; "" when nothing is, or when
 * the route is not set. Returns dst. */
#define FEATURE_LIST_SIZE 512
const char *feature_ignored(const struct outgoing *o,
			    char dst[FEATURE_LIST_SIZE]);

#endif
