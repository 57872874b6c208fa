/* SPDX-License-Identifier: MIT */
#include "body.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "body_decoder.h"
#include "body_files.h"
#include "body_text.h"
#include "dynbuf.h"
#include "mime.h"
#include "smtp_reply.h"
#include "trace.h"

/* These are looked for behind the HTML part, too. */
#define WANTS_REST (BODY_WANT_TEXT | BODY_WANT_AMP | BODY_WANT_FILES)

struct body {
	struct mime *mime;
	unsigned wants;
	struct body_decoder *decoder;
	struct body_text html;
	struct body_text text;
	struct body_text amp;
	struct body_text *open;	  /* what the open part goes to, or NULL: */
	bool open_file;		  /* to the files, or nowhere */
	struct body_files *files; /* NULL: not wanted */
	struct dynbuf raw;
	unsigned text_alternative; /* that of the last HTML or text leaf */
	bool amp_beside;	   /* the AMP part has one of its own */
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
static const char is_text[] = "the text";
static const char is_amp[] = "the AMP part";
static const char is_file[] = "a file";

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
	b->decoder = body_decoder_new();
	body_text_init(&b->html);
	body_text_init(&b->text);
	body_text_init(&b->amp);
	dynbuf_init(&b->raw, BODY_RAW_MAX);
	return b;
}

void
body_trace(struct body *b, struct trace *t)
{
	b->trace = t;
}

void
body_want(struct body *b, unsigned wants)
{
	b->wants = wants;
	if ((wants & BODY_WANT_FILES) != 0 && b->files == NULL)
		b->files = body_files_new();
}

void
body_free(struct body **bp)
{
	struct body *b = *bp;

	if (b == NULL)
		return;
	mime_free(&b->mime);
	body_decoder_free(&b->decoder);
	body_text_clear(&b->html);
	body_text_clear(&b->text);
	body_text_clear(&b->amp);
	body_files_delete(&b->files);
	dynbuf_clear(&b->raw);
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

static void
refuse(struct body *b, const char *why)
{
	b->stop = true;
	(void)snprintf(b->error, sizeof(b->error), "%s", why);
}

static void
too_large(struct body *b, const char *what, int most)
{
	b->too_large = true;
	b->stop = true;
	(void)snprintf(b->error, sizeof(b->error), "%s larger than %d bytes",
		       what, most);
}

static void
text_too_large(struct body *b)
{
	too_large(b, "The message text is", BODY_KEPT_MAX);
}

static void
files_too_large(struct body *b)
{
	too_large(b, "The attachments together are", BODY_FILES_MAX);
}

/* --- what a part is ------------------------------------------------------- */

static bool
is_a(const struct mime_part *part, const char *type, const char *subtype)
{
	return strcmp(part->type, type) == 0 &&
	       strcmp(part->subtype, subtype) == 0;
}

/* Text behind the HTML part says the same in other words only where both stand
 * below one multipart/alternative; elsewhere it is a footer, or a file. Before
 * the HTML part it is taken for that anywhere: mailers that say mixed where
 * they mean alternative put it first. */
static bool
may_be_beside_html(const struct body *b, const struct mime_part *part)
{
	return !b->html.full || (part->alternative != 0 &&
				 part->alternative == b->html.alternative);
}

static struct body_text *
text_for(struct body *b, const struct mime_part *part)
{
	if (part->attachment || strcmp(part->type, "text") != 0)
		return NULL;
	if (strcmp(part->subtype, "html") == 0)
		return b->html.full ? NULL : &b->html;
	if (strcmp(part->subtype, "plain") == 0)
		return !b->text.full && may_be_beside_html(b, part) ? &b->text
								    : NULL;
	if (strcmp(part->subtype, "x-amp-html") == 0)
		return (b->wants & BODY_WANT_AMP) != 0 && !b->amp.full ? &b->amp
								       : NULL;
	return NULL;
}

static const char *
why_no_body(const struct body *b, const struct mime_part *part)
{
	if (part->attachment)
		return "an attachment";
	if (strcmp(part->type, "image") == 0)
		return "an image";
	if (b->stop)
		return "the body was complete before it";
	if (is_a(part, "text", "html"))
		return "there is an HTML part before it";
	if (is_a(part, "text", "plain"))
		return b->text.full ? "there is a text part before it"
				    : "a text that is not beside the HTML part";
	return "neither HTML nor plain text";
}

static void
count_dropped(struct body *b, const struct mime_part *part)
{
	if (strcmp(part->type, "image") == 0)
		b->counts.images++;
	else if (part->attachment)
		b->counts.attachments++;
	else
		b->counts.other++;
}

/* --- parts as they come --------------------------------------------------- */

/* AMP is for those who read neither: below one multipart/alternative with HTML
 * or text. Outermost ones follow each other, so the last one is enough. */
static void
note_alternative(struct body *b, const struct mime_part *part)
{
	if (part->alternative == 0 || part->attachment)
		return;
	if (is_a(part, "text", "html") || is_a(part, "text", "plain")) {
		b->text_alternative = part->alternative;
		if (b->amp.alternative == part->alternative)
			b->amp_beside = true;
	}
}

static enum mime_want
begin_text(struct body *b, struct body_text *text, const struct mime_part *part)
{
	trace_fate(b->trace, kept, "");
	b->open = text;
	body_text_begin(text, part);
	if (text == &b->amp)
		b->amp_beside = part->alternative != 0 &&
				part->alternative == b->text_alternative;
	body_decoder_begin(b->decoder, part->encoding);
	return MIME_WANT_BODY;
}

static enum mime_want
begin_file(struct body *b, const struct mime_part *part)
{
	const char *why;

	if (!body_files_begin(b->files, part, &why)) {
		trace_fate(b->trace, dropped, why);
		refuse(b, why);
		return MIME_WANT_NOT;
	}
	trace_fate(b->trace, is_file, why_no_body(b, part));
	b->open_file = true;
	body_decoder_begin(b->decoder, part->encoding);
	return MIME_WANT_BODY;
}

static enum mime_want
part_begin(void *arg, const struct mime_part *part)
{
	struct body *b = arg;
	struct body_text *text = b->stop ? NULL : text_for(b, part);
	const char *why = NULL;

	b->counts.parts++;
	b->open = NULL;
	b->open_file = false;
	trace_part(b->trace, part->depth, part->type, part->subtype);
	note_alternative(b, part);
	if (text != NULL && part->encoding == MIME_UNKNOWN_ENCODING) {
		/* RFC 2045, section 6.4: not to be understood, then. */
		why = "Content-Transfer-Encoding: not a known encoding";
		b->problem = why;
		text = NULL;
	}
	if (text != NULL)
		return begin_text(b, text, part);
	if (b->files != NULL && !b->stop)
		return begin_file(b, part);
	if (b->trace != NULL)
		trace_fate(b->trace, dropped,
			   why != NULL ? why : why_no_body(b, part));
	count_dropped(b, part);
	return MIME_WANT_NOT;
}

static void
part_data(void *arg, const char *data, size_t len)
{
	struct body *b = arg;

	if (b->stop)
		return;
	if (b->open != NULL) {
		b->open->place.end += len;
		if (!body_decoder_add(b->decoder, data, len, &b->open->data))
			text_too_large(b);
	} else if (b->open_file &&
		   !body_files_add(b->files, b->decoder, data, len)) {
		files_too_large(b);
	}
}

/* The text as UTF-8, in place. False: error set. */
static bool
text_to_utf8(struct body *b, struct body_text *text)
{
	bool replaced = false;
	char label[64];

	switch (body_text_to_utf8(text, &replaced)) {
	case BODY_TEXT_OK:
		b->counts.replaced = b->counts.replaced || replaced;
		return true;
	case BODY_TEXT_UNKNOWN_CHARSET:
		smtp_reply_safe_text(label, sizeof(label), text->charset,
				     strlen(text->charset));
		b->stop = true;
		(void)snprintf(b->error, sizeof(b->error),
			       "Content-Type: unknown charset \"%s\"", label);
		return false;
	case BODY_TEXT_WRONG_CHARSET:
		refuse(b, "Content-Type: the text is not in the charset it "
			  "names");
		return false;
	case BODY_TEXT_TOO_LARGE:
	default:
		text_too_large(b);
		return false;
	}
}

static void
end_file(struct body *b)
{
	bool is_kept;

	if (!body_files_end(b->files, b->decoder, &is_kept))
		files_too_large(b);
	else if (is_kept)
		b->counts.files++;
	else
		trace_fate(b->trace, dropped, "nothing to read in it");
}

static void
end_html(struct body *b)
{
	trace_fate(b->trace, is_body, "the first HTML part");
	if ((b->wants & BODY_WANT_TEXT) != 0) {
		trace_change_fate(b->trace, kept, is_text,
				  "a text part before the HTML part");
	} else {
		trace_change_fate(b->trace, kept, dropped,
				  "there is an HTML part");
		body_text_clear(&b->text);
	}
	if ((b->wants & WANTS_REST) == 0)
		b->stop = true;
}

static void
end_text(struct body *b)
{
	if (!b->html.full)
		return; /* it is known at the end what it is */
	if ((b->wants & BODY_WANT_TEXT) != 0)
		trace_fate(b->trace, is_text, "beside the HTML part");
	else
		trace_fate(b->trace, dropped, "there is an HTML part");
}

static bool
part_end(void *arg, const struct mime_part *part)
{
	struct body *b = arg;
	struct body_text *text = b->open;

	(void)part;
	b->open = NULL;
	if (b->stop)
		return may_stop(b);
	if (text != NULL && !body_decoder_end(b->decoder, &text->data))
		text_too_large(b);
	if (text == NULL && b->open_file)
		end_file(b);
	if (text == NULL || b->stop)
		return may_stop(b);
	if (body_text_is_blank(&text->data)) {
		trace_fate(b->trace, dropped, "nothing to read in it");
		body_text_clear(text);
		return false;
	}
	text->full = true;
	if (text == &b->html)
		end_html(b);
	else if (text == &b->text)
		end_text(b);
	else
		trace_fate(b->trace, is_amp, "the first AMP part");
	if (text == &b->html && !text_to_utf8(b, text))
		return true;
	return may_stop(b);
}

static void
add_raw(struct body *b, const char *data, size_t len)
{
	if ((b->wants & BODY_WANT_RAW) == 0 || body_error(b) != NULL)
		return;
	if (!dynbuf_add(&b->raw, data, len))
		too_large(b, "The message body is", BODY_RAW_MAX);
}

enum body_status
body_feed(struct body *b, const char *data, size_t len)
{
	enum mime_status status = MIME_DONE;

	add_raw(b, data, len);
	if (!may_stop(b))
		status = mime_feed(b->mime, data, len);
	if (body_error(b) != NULL)
		return BODY_ERROR;
	if ((b->wants & BODY_WANT_RAW) != 0)
		return BODY_MORE;
	return may_stop(b) || status != MIME_MORE ? BODY_DONE : BODY_MORE;
}

/* --- the end -------------------------------------------------------------- */

/* What is given beside the body can be given. False: error set. */
static bool
settle(struct body *b)
{
	const char *lost = mime_lost(b->mime);

	if (b->files != NULL && lost != NULL) {
		refuse(b, lost);
		return false;
	}
	if (b->amp.full && !text_to_utf8(b, &b->amp))
		return false;
	if (!b->text.full)
		return true;
	if (b->html.full && (b->wants & BODY_WANT_TEXT) == 0) {
		body_text_clear(&b->text);
		return true;
	}
	return text_to_utf8(b, &b->text);
}

enum body_kind
body_end(struct body *b, char **text_r, size_t *len_r)
{
	*text_r = NULL;
	*len_r = 0;
	if (!may_stop(b))
		(void)mime_end(b->mime);
	if (body_error(b) != NULL || !settle(b))
		return BODY_NONE;
	if (b->html.full) {
		*text_r = body_text_take(&b->html, len_r);
		return BODY_HTML;
	}
	if (!b->text.full)
		return BODY_NONE;
	trace_change_fate(b->trace, kept, is_body,
			  (b->wants & BODY_WANT_TEXT) != 0
			      ? "a text part: there is no HTML part"
			      : "a text part, as HTML: there is no HTML part");
	*text_r = body_text_take(&b->text, len_r);
	return BODY_TEXT;
}

/* Once: what was taken is empty, and what is kept is not. */
static char *
take_text(struct body_text *t, size_t *len_r)
{
	*len_r = 0;
	return t->full && t->data.len > 0 ? body_text_take(t, len_r) : NULL;
}

char *
body_take_text(struct body *b, size_t *len_r)
{
	return take_text(&b->text, len_r);
}

char *
body_take_amp(struct body *b, size_t *len_r)
{
	return take_text(&b->amp, len_r);
}

bool
body_amp_misplaced(const struct body *b)
{
	return b->amp.full && !b->amp_beside;
}

size_t
body_take_files(struct body *b, struct body_file **files_r)
{
	*files_r = NULL;
	return b->files != NULL ? body_files_take(b->files, files_r) : 0;
}

const char *
body_raw(const struct body *b, size_t *len_r)
{
	*len_r = b->raw.len;
	return dynbuf_str(&b->raw);
}

bool
body_place(const struct body *b, struct body_place *place_r)
{
	const struct body_text *t = b->html.full ? &b->html : &b->text;

	*place_r = t->place;
	return t->full;
}

bool
body_is_whole(const struct body *b)
{
	return b->html.full && b->html.place.is_message && !b->html.changed &&
	       !b->counts.replaced;
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
