/* SPDX-License-Identifier: MIT */
#include "body.h"

#include <gmime/gmime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "charset.h"
#include "dynbuf.h"
#include "mime.h"
#include "quoted_printable.h"
#include "smtp_reply.h"
#include "trace.h"

/* Input is decoded in halves of this, which bounds what a step adds. */
#define DECODE_STEP 32768

/* What is read of one part. */
struct slot {
	struct dynbuf data; /* decoded, not yet UTF-8 */
	char *charset;
	bool flowed;
	bool whole; /* it is no part but the message itself */
	bool full;  /* a part went into it whole */
};

struct body {
	struct mime *mime;
	struct slot html;
	struct slot text;
	struct slot *open; /* the slot the open part goes to, or NULL */
	enum mime_encoding encoding; /* of the open part */
	GMimeEncoding base64;
	struct quoted_printable quoted;
	bool stop; /* no later byte can matter, or there is an error */
	struct body_counts counts;
	char error[200];
	const char *problem;
	bool too_large;
	struct trace *trace; /* or NULL */
};

/* Fates of a part. */
static const char kept[] = "kept";
static const char dropped[] = "dropped";
static const char is_body[] = "the body";

static enum mime_want part_begin(void *arg, const struct mime_part *part);
static void part_data(void *arg, const char *data, size_t len);
static bool part_end(void *arg, const struct mime_part *part);

static const struct mime_sink sink = { part_begin, part_data, part_end };

struct body *
body_new(void)
{
	struct body *b = calloc(1, sizeof(*b));

	if (b == NULL)
		abort();
	b->mime = mime_new(&sink, b);
	dynbuf_init(&b->html.data, BODY_KEPT_MAX + DECODE_STEP);
	dynbuf_init(&b->text.data, BODY_KEPT_MAX + DECODE_STEP);
	return b;
}

void
body_trace(struct body *b, struct trace *t)
{
	b->trace = t;
}

static void
slot_clear(struct slot *s)
{
	dynbuf_clear(&s->data);
	free(s->charset);
	s->charset = NULL;
	s->whole = false;
	s->full = false;
}

void
body_free(struct body **bp)
{
	struct body *b = *bp;

	if (b == NULL)
		return;
	mime_free(&b->mime);
	slot_clear(&b->html);
	slot_clear(&b->text);
	free(b);
	*bp = NULL;
}

void
body_header(struct body *b, const char *name, const char *value, size_t len)
{
	mime_header(b->mime, name, value, len);
}

/* Who traces wants to see the parts that do not matter any more. */
static bool
may_stop(const struct body *b)
{
	return b->stop && b->trace == NULL;
}

static const char *
why_dropped(const struct body *b, const struct mime_part *part)
{
	if (part->attachment)
		return "an attachment";
	if (strcmp(part->type, "image") == 0)
		return "an image";
	if (b->stop)
		return "the body was complete before it";
	if (strcmp(part->type, "text") == 0 &&
	    strcmp(part->subtype, "plain") == 0)
		return "there is a text part before it";
	return "neither HTML nor plain text";
}

static struct slot *
slot_for(struct body *b, const struct mime_part *part)
{
	if (part->attachment || strcmp(part->type, "text") != 0)
		return NULL;
	if (strcmp(part->subtype, "html") == 0)
		return &b->html;
	if (strcmp(part->subtype, "plain") == 0 && !b->text.full)
		return &b->text;
	return NULL;
}

static void
count_part(struct body *b, const struct mime_part *part, bool is_kept)
{
	b->counts.parts++;
	if (is_kept)
		return;
	if (strcmp(part->type, "image") == 0)
		b->counts.images++;
	else if (part->attachment)
		b->counts.attachments++;
	else
		b->counts.other++;
}

static enum mime_want
part_begin(void *arg, const struct mime_part *part)
{
	struct body *b = arg;
	struct slot *slot = b->stop ? NULL : slot_for(b, part);

	trace_part(b->trace, part->depth, part->type, part->subtype);
	trace_fate(b->trace, slot ? kept : dropped,
		   slot ? "" : why_dropped(b, part));
	if (slot != NULL && part->encoding == MIME_UNKNOWN_ENCODING) {
		/* RFC 2045, section 6.4: not to be understood, then. */
		b->problem = "Content-Transfer-Encoding: not a known encoding";
		trace_fate(b->trace, dropped, b->problem);
		slot = NULL;
	}
	count_part(b, part, slot != NULL);
	b->open = slot;
	if (slot == NULL)
		return MIME_WANT_NOT;
	slot_clear(slot);
	slot->flowed = part->flowed;
	slot->whole = part->depth == 0;
	if (part->charset != NULL) {
		slot->charset = strdup(part->charset);
		if (slot->charset == NULL)
			abort();
	}
	b->encoding = part->encoding;
	b->quoted = (struct quoted_printable){ 0 };
	g_mime_encoding_init_decode(&b->base64, GMIME_CONTENT_ENCODING_BASE64);
	return MIME_WANT_BODY;
}

static size_t
decode(struct body *b, const char *data, size_t len, char *dst)
{
	if (b->encoding == MIME_BASE64)
		return g_mime_encoding_step(&b->base64, data, len, dst);
	if (b->encoding == MIME_QUOTED_PRINTABLE)
		return quoted_printable_decode(&b->quoted, data, len, dst);
	memcpy(dst, data, len);
	return len;
}

static void
too_large(struct body *b)
{
	b->too_large = true;
	b->stop = true;
	(void)snprintf(b->error, sizeof(b->error),
		       "The message text is larger than %d bytes",
		       BODY_KEPT_MAX);
}

/* Nothing grows when it is decoded, but for a few bytes that were held back:
 * a step has its room beyond the bound, and then the bound is looked at. */
static void
part_data(void *arg, const char *data, size_t len)
{
	struct body *b = arg;

	while (len > 0 && !b->stop) {
		struct dynbuf *out = &b->open->data;
		size_t n = len < DECODE_STEP / 2 ? len : DECODE_STEP / 2;
		char *room = dynbuf_room(out, n + 4);

		if (room != NULL)
			dynbuf_grown(out, decode(b, data, n, room));
		if (room == NULL || out->len > BODY_KEPT_MAX)
			too_large(b);
		data += n;
		len -= n;
	}
}

/* Base64 that ends without its padding. */
static void
finish_base64(struct body *b)
{
	for (int i = 0; i < 3 && b->base64.state != 0; i++)
		part_data(b, "=", 1);
}

/* The slot's content as UTF-8, in place. False: error set. */
static bool
slot_to_utf8(struct body *b, struct slot *s)
{
	char label[64];
	bool replaced;

	switch (charset_to_utf8(&s->data, s->charset, &replaced)) {
	case CHARSET_OK:
		b->counts.replaced = b->counts.replaced || replaced;
		if (s->data.len <= BODY_KEPT_MAX)
			return true;
		too_large(b);
		return false;
	case CHARSET_UNKNOWN:
		smtp_reply_safe_text(label, sizeof(label), s->charset,
				     strlen(s->charset));
		(void)snprintf(b->error, sizeof(b->error),
			       "Content-Type: unknown charset \"%s\"", label);
		return false;
	case CHARSET_WRONG:
		(void)snprintf(b->error, sizeof(b->error),
			       "Content-Type: the text is not in the charset "
			       "it names");
		return false;
	case CHARSET_TOO_LARGE:
	default:
		too_large(b);
		return false;
	}
}

static bool
slot_is_blank(const struct slot *s)
{
	const char *p = dynbuf_str(&s->data);
	/* A byte order mark is nothing to read. */
	size_t bom = strncmp(p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

	for (size_t i = bom; i < s->data.len; i++) {
		if ((unsigned char)p[i] > ' ')
			return false;
	}
	return true;
}

static bool
part_end(void *arg, const struct mime_part *part)
{
	struct body *b = arg;
	struct slot *s = b->open;

	(void)part;
	if (s != NULL && b->encoding == MIME_BASE64)
		finish_base64(b);
	b->open = NULL;
	if (s == NULL || b->stop)
		return may_stop(b);
	if (slot_is_blank(s)) {
		trace_fate(b->trace, dropped, "nothing to read in it");
		slot_clear(s);
		return false;
	}
	if (s == &b->html) {
		b->stop = true;
		trace_fate(b->trace, is_body, "the first HTML part");
		trace_change_fate(b->trace, kept, dropped,
				  "there is an HTML part");
		slot_clear(&b->text);
		if (!slot_to_utf8(b, s))
			return true;
	}
	s->full = true;
	return may_stop(b);
}

enum body_status
body_feed(struct body *b, const char *data, size_t len)
{
	enum mime_status status = MIME_DONE;

	if (!may_stop(b))
		status = mime_feed(b->mime, data, len);
	if (body_error(b) != NULL)
		return BODY_ERROR;
	return may_stop(b) || status != MIME_MORE ? BODY_DONE : BODY_MORE;
}

/* U+FFFD for NUL, as a browser would read it: APIs keep text in databases
 * that take no NUL. */
static void
add_without_nul(struct dynbuf *out, const char *s, size_t len)
{
	while (len > 0) {
		const char *nul = memchr(s, '\0', len);
		size_t n = nul ? (size_t)(nul - s) : len;

		(void)dynbuf_add(out, s, n);
		if (nul == NULL)
			break;
		(void)dynbuf_adds(out, "\xef\xbf\xbd");
		s += n + 1;
		len -= n + 1;
	}
}

static char *
take(struct slot *s, size_t *len_r)
{
	struct dynbuf out;

	if (memchr(dynbuf_str(&s->data), '\0', s->data.len) == NULL)
		return dynbuf_steal(&s->data, len_r);
	dynbuf_init(&out, 3 * s->data.max);
	add_without_nul(&out, s->data.data, s->data.len);
	slot_clear(s); /* not whole any more */
	return dynbuf_steal(&out, len_r);
}

enum body_kind
body_end(struct body *b, char **text_r, size_t *len_r)
{
	*text_r = NULL;
	*len_r = 0;
	if (!may_stop(b))
		(void)mime_end(b->mime);
	if (body_error(b) != NULL)
		return BODY_NONE;
	if (b->html.full) {
		*text_r = take(&b->html, len_r);
		return BODY_HTML;
	}
	if (!b->text.full || !slot_to_utf8(b, &b->text))
		return BODY_NONE;
	trace_change_fate(b->trace, kept, is_body,
			  "a text part, as HTML: there is no HTML part");
	*text_r = take(&b->text, len_r);
	return BODY_TEXT;
}

bool
body_is_whole(const struct body *b)
{
	return b->html.whole && !b->counts.replaced;
}

bool
body_is_flowed(const struct body *b)
{
	return b->text.flowed;
}

const char *
body_error(const struct body *b)
{
	if (b->error[0] != '\0')
		return b->error;
	/* What comes behind the body is only read to be traced. */
	return b->stop ? NULL : mime_error(b->mime);
}

bool
body_too_large(const struct body *b)
{
	return b->too_large;
}

const char *
body_problem(const struct body *b)
{
	return b->problem != NULL ? b->problem : mime_problem(b->mime);
}

void
body_counts(const struct body *b, struct body_counts *counts_r)
{
	*counts_r = b->counts;
	counts_r->rest_unread = b->stop;
}

void
body_want(struct body *b, unsigned wants)
{
	(void)b;
	(void)wants;
}

char *
body_take_text(struct body *b, size_t *len_r)
{
	(void)b;
	*len_r = 0;
	return NULL;
}

char *
body_take_amp(struct body *b, size_t *len_r)
{
	return body_take_text(b, len_r);
}

size_t
body_take_files(struct body *b, struct body_file **files_r)
{
	(void)b;
	*files_r = NULL;
	return 0;
}

void
body_files_free(struct body_file **files, size_t n)
{
	(void)n;
	free(*files);
}
