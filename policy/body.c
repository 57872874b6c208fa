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

/* What is read of one part. */
struct slot {
	struct dynbuf data; /* decoded, not yet UTF-8 */
	char *charset;
	bool flowed;
	bool full; /* a part went into it whole */
};

struct body {
	struct mime *mime;
	struct slot html;
	struct slot text;
	struct slot *open; /* the slot the open part goes to, or NULL */
	enum mime_encoding encoding; /* of the open part */
	GMimeEncoding decoder;
	struct quoted_printable quoted;
	bool stop; /* no later byte can matter, or there is an error */
	struct body_counts counts;
	char error[200];
	const char *problem;
	bool too_large;
};

static enum mime_want part_begin(void *arg, const struct mime_part *part);
static void part_data(void *arg, const char *data, size_t len);
static bool part_end(void *arg, const struct mime_part *part);

static const struct mime_sink sink = { part_begin, part_data, part_end };

static const GMimeContentEncoding gmime_encodings[] = {
	[MIME_IDENTITY] = GMIME_CONTENT_ENCODING_DEFAULT,
	[MIME_BASE64] = GMIME_CONTENT_ENCODING_BASE64,
	[MIME_QUOTED_PRINTABLE] = GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE,
	[MIME_UUENCODE] = GMIME_CONTENT_ENCODING_UUENCODE,
};

struct body *
body_new(void)
{
	struct body *b = calloc(1, sizeof(*b));

	if (b == NULL)
		abort();
	b->mime = mime_new(&sink, b);
	dynbuf_init(&b->html.data, BODY_KEPT_MAX);
	dynbuf_init(&b->text.data, BODY_KEPT_MAX);
	return b;
}

static void
slot_clear(struct slot *s)
{
	dynbuf_clear(&s->data);
	free(s->charset);
	s->charset = NULL;
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
count_part(struct body *b, const struct mime_part *part, bool kept)
{
	b->counts.parts++;
	if (kept)
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
	struct slot *slot = slot_for(b, part);

	if (slot != NULL && part->encoding == MIME_UNKNOWN_ENCODING) {
		/* RFC 2045, section 6.4: not to be understood, then. */
		b->problem = "Content-Transfer-Encoding: not a known encoding";
		slot = NULL;
	}
	count_part(b, part, slot != NULL);
	b->open = slot;
	if (slot == NULL)
		return MIME_WANT_NOT;
	slot_clear(slot);
	slot->flowed = part->flowed;
	if (part->charset != NULL) {
		slot->charset = strdup(part->charset);
		if (slot->charset == NULL)
			abort();
	}
	b->encoding = part->encoding;
	b->quoted = (struct quoted_printable){ 0 };
	g_mime_encoding_init_decode(&b->decoder,
				    gmime_encodings[part->encoding]);
	return MIME_WANT_BODY;
}

/* Room for what len bytes decode to. */
static size_t
decoded_most(struct body *b, size_t len)
{
	return b->encoding == MIME_QUOTED_PRINTABLE
		   ? len + 2
		   : g_mime_encoding_outlen(&b->decoder, len);
}

static size_t
decode(struct body *b, const char *data, size_t len, char *dst)
{
	return b->encoding == MIME_QUOTED_PRINTABLE
		   ? quoted_printable_decode(&b->quoted, data, len, dst)
		   : g_mime_encoding_step(&b->decoder, data, len, dst);
}

static void
keep(struct body *b, const char *data, size_t len)
{
	struct dynbuf *out = &b->open->data;
	char *room;

	if (b->encoding == MIME_IDENTITY) {
		(void)dynbuf_add(out, data, len);
		return;
	}
	room = dynbuf_room(out, decoded_most(b, len));
	if (room != NULL)
		dynbuf_grown(out, decode(b, data, len, room));
}

static void
part_data(void *arg, const char *data, size_t len)
{
	struct body *b = arg;

	if (b->stop)
		return;
	keep(b, data, len);
	if (!b->open->data.overflow)
		return;
	b->too_large = true;
	b->stop = true;
	(void)snprintf(b->error, sizeof(b->error),
		       "The message text is larger than %d bytes",
		       BODY_KEPT_MAX);
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
		return true;
	case CHARSET_UNKNOWN:
		smtp_reply_safe_text(label, sizeof(label), s->charset,
				     strlen(s->charset));
		(void)snprintf(b->error, sizeof(b->error),
			       "Content-Type: unknown charset \"%s\"", label);
		return false;
	case CHARSET_TOO_LARGE:
	default:
		b->too_large = true;
		(void)snprintf(b->error, sizeof(b->error),
			       "The message text is larger than %d bytes",
			       BODY_KEPT_MAX);
		return false;
	}
}

static bool
slot_is_blank(const struct slot *s)
{
	const char *p = dynbuf_str(&s->data);

	for (size_t i = 0; i < s->data.len; i++) {
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
	b->open = NULL;
	if (s == NULL || b->stop)
		return b->stop;
	if (slot_is_blank(s)) {
		slot_clear(s);
		return false;
	}
	if (s == &b->html) {
		b->stop = true;
		slot_clear(&b->text);
		if (!slot_to_utf8(b, s))
			return true;
	}
	s->full = true;
	return b->stop;
}

enum body_status
body_feed(struct body *b, const char *data, size_t len)
{
	enum mime_status status = MIME_DONE;

	if (!b->stop)
		status = mime_feed(b->mime, data, len);
	if (body_error(b) != NULL)
		return BODY_ERROR;
	return b->stop || status == MIME_DONE ? BODY_DONE : BODY_MORE;
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
	slot_clear(s);
	return dynbuf_steal(&out, len_r);
}

enum body_kind
body_end(struct body *b, char **text_r, size_t *len_r)
{
	*text_r = NULL;
	*len_r = 0;
	if (!b->stop)
		(void)mime_end(b->mime);
	if (body_error(b) != NULL)
		return BODY_NONE;
	if (b->html.full) {
		*text_r = take(&b->html, len_r);
		return BODY_HTML;
	}
	if (!b->text.full || !slot_to_utf8(b, &b->text))
		return BODY_NONE;
	*text_r = take(&b->text, len_r);
	return BODY_TEXT;
}

bool
body_is_flowed(const struct body *b)
{
	return b->text.flowed;
}

const char *
body_error(const struct body *b)
{
	return b->error[0] != '\0' ? b->error : mime_error(b->mime);
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
}
