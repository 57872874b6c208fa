/* SPDX-License-Identifier: MIT */
#include "body.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "body_decoder.h"
#include "body_errors.h"
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
	unsigned needs; /* of them, in the end */
	struct body_decoder *decoder;
	struct body_text html;
	struct body_text text;
	struct body_text amp;
	/* Files that are the body when nothing else is. */
	struct body_text named_html;
	struct body_text named_text;
	struct body_text *open;	  /* what the open part goes to, or NULL: */
	bool open_file;		  /* to the files (too), or nowhere */
	struct body_files *files; /* NULL: not wanted, or one is bad */
	struct dynbuf raw;
	bool raw_lost;
	unsigned text_alternative; /* that of the last HTML or text leaf */
	bool amp_beside;	   /* the AMP part has one of its own */
	bool stop; /* no later byte can matter, or there is an error */
	struct body_counts counts;
	struct body_counts
	    as_dropped; /* of the files, when nobody needs them */
	struct body_errors errors;
	const char *problem;
	struct trace *trace; /* or NULL */
};

/* Fates of a part. */
static const char kept[] = "kept";
static const char dropped[] = "dropped";
static const char is_body[] = "the body";
static const char is_text[] = "the text";
static const char is_amp[] = "the AMP part";
static const char is_file[] = "a file";
/* Until it is known whether they are files. */
static const char named_html[] = "named HTML";
static const char named_text[] = "named text";

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
	body_text_init(&b->html, BODY_KEPT_MAX);
	body_text_init(&b->text, BODY_KEPT_MAX);
	body_text_init(&b->amp, BODY_KEPT_MAX);
	body_text_init(&b->named_html, BODY_FILES_MAX);
	body_text_init(&b->named_text, BODY_FILES_MAX);
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
	b->needs = wants;
	if ((wants & BODY_WANT_FILES) != 0 && b->files == NULL)
		b->files = body_files_new();
}

void
body_need(struct body *b, unsigned needs)
{
	b->needs = needs & b->wants;
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
	body_text_clear(&b->named_html);
	body_text_clear(&b->named_text);
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

/* --- what is wrong -------------------------------------------------------- */

static bool
has_html(const struct body *b)
{
	return b->html.full || b->named_html.full;
}

/* What is wrong behind the HTML part is nothing to who needs only that. */
static unsigned
concerns_behind_html(const struct body *b, unsigned wants)
{
	return has_html(b) ? wants : BODY_ALL;
}

static void
refuse(struct body *b, unsigned concerns, const char *why)
{
	if (concerns == BODY_ALL)
		b->stop = true;
	body_errors_add(&b->errors, concerns, why);
}

static void
too_large(struct body *b, unsigned concerns, const char *what, int most)
{
	if (concerns == BODY_ALL)
		b->stop = true;
	body_errors_too_large(&b->errors, concerns, what, most);
}

static void
text_too_large(struct body *b, unsigned concerns)
{
	too_large(b, concerns, "The message text is", BODY_KEPT_MAX);
}

/* No file is of use when one cannot be given. */
static void
refuse_files(struct body *b, const char *why)
{
	refuse(b, BODY_WANT_FILES, why);
	body_files_delete(&b->files);
}

static void
files_too_large(struct body *b)
{
	too_large(b, BODY_WANT_FILES, "The attachments together are",
		  BODY_FILES_MAX);
	body_files_delete(&b->files);
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

/* A text with a file's name is one ("log.txt", shown inline), unless it says
 * what others beside it say, too, or images of a multipart/related are in it:
 * some mailers name every part. */
static bool
is_named(const struct body *b, const struct mime_part *part)
{
	char *name = NULL;

	if ((b->wants & BODY_WANT_FILES) != 0 && part->alternative == 0 &&
	    !part->related && strcmp(part->subtype, "x-amp-html") != 0)
		name = mime_file_name(part);
	free(name);
	return name != NULL;
}

/* The first of each may be the body all the same. */
static struct body_text *
named_text_for(struct body *b, const struct mime_part *part)
{
	if (has_html(b))
		return NULL;
	if (strcmp(part->subtype, "html") == 0)
		return &b->named_html;
	if (strcmp(part->subtype, "plain") == 0)
		return b->text.full || b->named_text.full ? NULL
							  : &b->named_text;
	return NULL;
}

static struct body_text *
text_for(struct body *b, const struct mime_part *part)
{
	if (part->attachment || strcmp(part->type, "text") != 0)
		return NULL;
	if (is_named(b, part))
		return named_text_for(b, part);
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
count_dropped(struct body_counts *c, const struct mime_part *part)
{
	if (strcmp(part->type, "image") == 0)
		c->images++;
	else if (part->attachment)
		c->attachments++;
	else
		c->other++;
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

static bool
is_named_text(const struct body *b, const struct body_text *text)
{
	return text == &b->named_html || text == &b->named_text;
}

static enum mime_want
begin_text(struct body *b, struct body_text *text, const struct mime_part *part)
{
	trace_fate(b->trace,
		   text == &b->named_html   ? named_html
		   : text == &b->named_text ? named_text
					    : kept,
		   "");
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

	count_dropped(&b->as_dropped, part);
	if (!body_files_begin(b->files, part, &why)) {
		trace_fate(b->trace, dropped, why);
		refuse_files(b, why);
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
	if (text == NULL && (b->files == NULL || b->stop)) {
		trace_fate(b->trace, dropped,
			   why != NULL ? why : why_no_body(b, part));
		count_dropped(&b->counts, part);
		return MIME_WANT_NOT;
	}
	if (text == NULL)
		return begin_file(b, part);
	if (b->files != NULL && is_named_text(b, text))
		(void)begin_file(b, part);
	return begin_text(b, text, part);
}

/* The open text holds more than it may. */
static void
open_too_large(struct body *b)
{
	struct body_text *text = b->open;

	b->open = NULL;
	if (is_named_text(b, text)) {
		files_too_large(b);
		text->full = true; /* and too large for a body, too */
		return;
	}
	if (text == &b->amp)
		text_too_large(b, BODY_WANT_AMP);
	else if (text == &b->text)
		text_too_large(b, concerns_behind_html(b, BODY_WANT_TEXT));
	else
		text_too_large(b, concerns_behind_html(b, WANTS_REST));
	body_text_clear(text);
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
			open_too_large(b);
	} else if (b->open_file && b->files != NULL &&
		   !body_files_add(b->files, b->decoder, data, len)) {
		files_too_large(b);
	}
}

/* The text as UTF-8, in place. False: it is an error for those. */
static bool
text_to_utf8(struct body *b, struct body_text *text, unsigned concerns)
{
	bool replaced = false;
	char label[64], why[128];

	switch (body_text_to_utf8(text, &replaced)) {
	case BODY_TEXT_OK:
		b->counts.replaced = b->counts.replaced || replaced;
		return true;
	case BODY_TEXT_UNKNOWN_CHARSET:
		smtp_reply_safe_text(label, sizeof(label), text->charset,
				     strlen(text->charset));
		(void)snprintf(why, sizeof(why),
			       "Content-Type: unknown charset \"%s\"", label);
		refuse(b, concerns, why);
		return false;
	case BODY_TEXT_WRONG_CHARSET:
		refuse(b, concerns,
		       "Content-Type: the text is not in the charset it "
		       "names");
		return false;
	case BODY_TEXT_TOO_LARGE:
	default:
		text_too_large(b, concerns);
		return false;
	}
}

static void
count_file(struct body *b, bool is_kept)
{
	if (is_kept)
		b->counts.files++;
	else
		trace_fate(b->trace, dropped, "nothing to read in it");
}

static void
end_file(struct body *b)
{
	bool is_kept;

	if (!body_files_end(b->files, b->decoder, &is_kept))
		files_too_large(b);
	else
		count_file(b, is_kept);
}

/* Its file is a copy: most messages have no such thing. */
static void
end_named(struct body *b, struct body_text *text)
{
	bool is_kept;

	if (b->open_file && b->files != NULL) {
		text->file = body_files_last(b->files);
		if (!body_files_put(b->files, dynbuf_str(&text->data),
				    text->data.len, &is_kept))
			files_too_large(b);
		else
			count_file(b, is_kept);
	}
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

/* There is something to read in it. */
static void
end_full(struct body *b, struct body_text *text)
{
	text->full = true;
	if (text == &b->html) {
		end_html(b);
		if (!text_to_utf8(b, text,
				  b->named_html.full ? WANTS_REST : BODY_ALL))
			body_text_clear(text);
	} else if (text == &b->text) {
		end_text(b);
	} else if (text == &b->amp) {
		trace_fate(b->trace, is_amp, "the first AMP part");
	}
}

static bool
part_end(void *arg, const struct mime_part *part)
{
	struct body *b = arg;
	struct body_text *text;

	(void)part;
	if (b->open != NULL && !b->stop &&
	    !body_decoder_end(b->decoder, &b->open->data))
		open_too_large(b);
	text = b->open;
	b->open = NULL;
	if (b->stop)
		return may_stop(b);
	if (text == NULL) {
		if (b->open_file && b->files != NULL)
			end_file(b);
		return may_stop(b);
	}
	if (is_named_text(b, text))
		end_named(b, text);
	if (!body_text_is_blank(&text->data)) {
		end_full(b, text);
		return may_stop(b);
	}
	trace_fate(b->trace, dropped, "nothing to read in it");
	body_text_clear(text);
	return false;
}

/* --- the bytes as they came ----------------------------------------------- */

static void
lose_raw(struct body *b)
{
	b->raw_lost = true;
	dynbuf_clear(&b->raw);
}

static void
add_raw(struct body *b, const char *data, size_t len)
{
	if ((b->wants & BODY_WANT_RAW) == 0 || b->raw_lost ||
	    dynbuf_add(&b->raw, data, len))
		return;
	too_large(b, BODY_WANT_RAW, "The message body is", BODY_RAW_MAX);
	lose_raw(b);
}

/* What comes behind the body may only be read to be traced. */
static void
note_mime_error(struct body *b)
{
	if (!b->stop && mime_error(b->mime) != NULL)
		refuse(b, concerns_behind_html(b, WANTS_REST),
		       mime_error(b->mime));
}

/* Whatever follows, the message is refused for whom it was said that it is
 * read; who needs less has it. */
static bool
is_lost(const struct body *b)
{
	return body_errors_of_all(&b->errors) != NULL ||
	       (has_html(b) &&
		body_errors_of(&b->errors, b->needs & WANTS_REST) != NULL);
}

enum body_status
body_feed(struct body *b, const char *data, size_t len)
{
	enum mime_status status = MIME_DONE;

	if (!is_lost(b))
		add_raw(b, data, len);
	if (!may_stop(b))
		status = mime_feed(b->mime, data, len);
	if (status == MIME_ERROR)
		note_mime_error(b);
	if (is_lost(b)) {
		lose_raw(b);
		return BODY_ERROR;
	}
	if ((b->wants & BODY_WANT_RAW) != 0)
		return BODY_MORE;
	return may_stop(b) || status != MIME_MORE ? BODY_DONE : BODY_MORE;
}

/* --- the end -------------------------------------------------------------- */

/* A file is the body: it goes to where that is. */
static void
use_named(struct body *b, struct body_text *to, struct body_text *from,
	  const char *fate)
{
	bool needs_files = (b->needs & BODY_WANT_FILES) != 0;

	trace_change_fate(b->trace, fate, is_body,
			  needs_files ? "it has a name, but there is no other"
				      : "the first of its kind");
	if (b->files != NULL) {
		body_files_remove(b->files, from->file);
		b->counts.files--;
	}
	body_text_clear(to);
	*to = *from;
	body_text_init(from, BODY_FILES_MAX);
}

/* Other HTML is converted when it is complete. False: error set. */
static bool
use_named_html(struct body *b)
{
	use_named(b, &b->html, &b->named_html, named_html);
	return text_to_utf8(b, &b->html, BODY_ALL);
}

/* Where nobody needs files, a name says nothing. */
static bool
is_before(const struct body_text *named, const struct body_text *text)
{
	return named->full &&
	       (!text->full || named->place.begin < text->place.begin);
}

static bool
settle_named(struct body *b)
{
	bool converted = true;

	if ((b->needs & BODY_WANT_FILES) == 0) {
		if (is_before(&b->named_html, &b->html))
			converted = use_named_html(b);
		if (is_before(&b->named_text, &b->text))
			use_named(b, &b->text, &b->named_text, named_text);
	} else if (!b->html.full && !b->text.full) {
		if (b->named_html.full)
			converted = use_named_html(b);
		else if (b->named_text.full)
			use_named(b, &b->text, &b->named_text, named_text);
	}
	trace_change_fate(b->trace, named_html, is_file, "it has a name");
	trace_change_fate(b->trace, named_text, is_file, "it has a name");
	return converted;
}

/* What is given beside the body can be given. False: error set. */
static bool
settle(struct body *b)
{
	const char *lost = mime_lost(b->mime);

	if ((b->needs & BODY_WANT_FILES) != 0 && lost != NULL) {
		refuse(b, BODY_ALL, lost);
		return false;
	}
	if ((b->needs & BODY_WANT_AMP) == 0)
		body_text_clear(&b->amp);
	if (b->amp.full && !text_to_utf8(b, &b->amp, BODY_ALL))
		return false;
	if (b->html.full && (b->needs & BODY_WANT_TEXT) == 0)
		body_text_clear(&b->text);
	return !b->text.full || text_to_utf8(b, &b->text, BODY_ALL);
}

enum body_kind
body_end(struct body *b, char **text_r, size_t *len_r)
{
	*text_r = NULL;
	*len_r = 0;
	if (!may_stop(b) && mime_end(b->mime) == MIME_ERROR)
		note_mime_error(b);
	if (body_error(b) != NULL || !settle_named(b) || !settle(b))
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
	return b->files != NULL && (b->needs & BODY_WANT_FILES) != 0
		   ? body_files_take(b->files, files_r)
		   : 0;
}

const char *
body_raw(const struct body *b, size_t *len_r)
{
	*len_r = b->raw.len;
	return b->raw_lost ? NULL : dynbuf_str(&b->raw);
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
body_is_signed(const struct body *b)
{
	struct body_place place;

	return body_place(b, &place) && place.is_signed;
}

bool
body_is_flowed(const struct body *b)
{
	return b->text.flowed;
}

const char *
body_error(const struct body *b)
{
	const struct body_error *e = body_errors_of(&b->errors, b->needs);

	return e != NULL ? e->text : NULL;
}

bool
body_too_large(const struct body *b)
{
	const struct body_error *e = body_errors_of(&b->errors, b->needs);

	return e != NULL && e->too_large;
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
	if ((b->needs & BODY_WANT_FILES) == 0) {
		counts_r->files = 0;
		counts_r->images += b->as_dropped.images;
		counts_r->attachments += b->as_dropped.attachments;
		counts_r->other += b->as_dropped.other;
	}
	counts_r->rest_unread = b->stop;
}
