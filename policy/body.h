/* SPDX-License-Identifier: MIT */
/*
 * body: chooses the part of a message that is its body, while it arrives.
 *
 * The rule "HTML, else text": the first text/html leaf that is not an
 * attachment and not blank is the body; until one was seen, the first such
 * text/plain leaf is kept in case there is none. Everything else is dropped
 * without being stored or decoded, and counted. As soon as the HTML part is
 * complete nothing later can matter, so the milter may stop reading.
 *
 * Bytes are decoded as they come (base64, quoted-printable), so what is kept
 * is the content and not its encoding; the charset is converted at the end.
 * Not thread-safe; one per message.
 */
#ifndef TXM_POLICY_BODY_H
#define TXM_POLICY_BODY_H

#include <stdbool.h>
#include <stddef.h>

/* The decoded part that is kept. As large as EmailDelivery takes a whole
 * message (facts: 10,240,000 bytes). */
#define BODY_KEPT_MAX 10240000

enum body_status { BODY_MORE, BODY_DONE, BODY_ERROR };

struct body;

struct body *body_new(void);
void body_free(struct body **b);

struct trace;
/* See message_trace(). */
void body_trace(struct body *b, struct trace *t);

/* The message's own header fields (see mime_header). */
void body_header(struct body *b, const char *name, const char *value,
		 size_t len);

enum body_status body_feed(struct body *b, const char *data, size_t len);

enum body_kind { BODY_NONE, BODY_HTML, BODY_TEXT };

/* The message is over. The body as valid UTF-8 in *text_r and *len_r (free();
 * NULL for BODY_NONE), and which it was. BODY_NONE with body_error() set: the
 * message is refused for that reason; not set: there was nothing usable. */
enum body_kind body_end(struct body *b, char **text_r, size_t *len_r);

/* BODY_HTML: it is the whole body of the message, and none of its bytes was
 * replaced: sent on as it came it says the same. */
bool body_is_whole(const struct body *b);

/* BODY_TEXT: its line breaks may be soft (RFC 3676). */
bool body_is_flowed(const struct body *b);

/* Why the message cannot be taken, naming the header; NULL when it can. */
const char *body_error(const struct body *b);

/* True when the error is that the part is larger than BODY_KEPT_MAX. */
bool body_too_large(const struct body *b);

/* What may explain BODY_NONE (mime_problem, or what was dropped). */
const char *body_problem(const struct body *b);

struct body_counts {
	unsigned parts;	      /* leaves seen until reading stopped */
	unsigned images;      /* dropped: image parts, attached or not */
	unsigned attachments; /* dropped: other parts that are attached */
	unsigned other;	      /* dropped: any other leaf */
	bool replaced;	      /* bytes that were not of the charset: U+FFFD */
	bool rest_unread;     /* reading stopped before the end */
};

void body_counts(const struct body *b, struct body_counts *counts_r);

#endif
