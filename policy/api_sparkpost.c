/* SPDX-License-Identifier: MIT */
/*
 * The SparkPost HTTP API: POST /transmissions with inline content, one
 * recipient a call, answered {"results":{"id":...}} with counts of recipients;
 * errors are {"errors":[{"message":...,"description":...,"code":"1400"}]}.
 *
 * Its template engine is switched off for the bodies; in headers it is not, so
 * curly braces are written as its macros there.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api.h"
#include "api_answer.h"
#include "api_write.h"
#include "dynbuf.h"
#include "json_text.h"
#include "outgoing.h"
#include "smtp_reply.h"

/* Bytes. */
#define CAMPAIGN_MAX 64

static bool
head(const struct api_settings *s, const struct outgoing *o, const char *key,
     struct api_head *h)
{
	(void)s;
	return *key != '\0' && api_head_path(h, "/transmissions") &&
	       api_head_add(h, "Authorization: %s", key) &&
	       (o->subaccount == NULL ||
		api_head_add(h, "X-MSYS-SUBACCOUNT: %s", o->subaccount));
}

static bool
is_long(const char *tag)
{
	return tag != NULL && strlen(tag) > CAMPAIGN_MAX;
}

static bool
takes(const struct outgoing *o, enum feature f)
{
	return f != FEATURE_TAG || !is_long(o->tag);
}

static bool
fits(const struct outgoing *o, struct smtp_reply *refusal)
{
	if (is_long(o->tag) && !api_long_tag(o, refusal, CAMPAIGN_MAX, "bytes"))
		return false;
	return api_fits_content(o, refusal);
}

/* --- curly braces --------------------------------------------------------- */

static bool
is_brace(char c)
{
	return c == '{' || c == '}';
}

static size_t
run_len(const char *s)
{
	size_t n = 0;

	while (is_brace(*s) && s[n] == s[0])
		n++;
	return n;
}

/* One brace is a letter to the engine; two begin or end an expression. */
static bool
has_expression(const char *s)
{
	return strstr(s, "{{") != NULL || strstr(s, "}}") != NULL;
}

static void
add_macros(struct dynbuf *text, char brace, size_t n)
{
	static const char *const counts[] = { "single", "double", "triple" };

	while (n > 0) {
		size_t m = n < 3 ? n : 3;

		(void)dynbuf_addf(text, "{{%s_%s_curly()}}",
				  brace == '{' ? "opening" : "closing",
				  counts[m - 1]);
		n -= m;
	}
}

/* Every brace is a macro, the single ones too: beside a macro they would be a
 * part of it. */
static void
add_escaped(struct dynbuf *out, const char *name, const char *value)
{
	DYNBUF_AUTO text;

	dynbuf_init(&text, API_REQUEST_MAX);
	while (*value != '\0') {
		size_t n = run_len(value);
		size_t plain = strcspn(value, "{}");

		if (n > 0)
			add_macros(&text, *value, n);
		else
			(void)dynbuf_add(&text, value, plain);
		value += n > 0 ? n : plain;
	}
	if (text.overflow)
		out->overflow = true;
	else
		api_write_text(out, name, text.data, text.len);
}

/* A value of a header. */
static void
add_header_value(struct dynbuf *out, const char *name, const char *value)
{
	if (value != NULL && has_expression(value))
		add_escaped(out, name, value);
	else
		api_write_string(out, name, value);
}

/* --- the request ---------------------------------------------------------- */

/* The To header is what all of them see, whoever they are. */
static void
add_address(struct dynbuf *out, const struct outgoing *o,
	    const struct outgoing_recipient *r)
{
	api_write_open(out, "address", "{");
	api_write_string(out, "email", r->email);
	if (o->to != NULL)
		add_header_value(out, "header_to", o->to);
	else
		api_write_filled(out, "name", r->name);
	(void)dynbuf_adds(out, "}");
}

/* A name that is there twice would be a broken object: the first one counts. */
static bool
is_first(const struct outgoing *o, size_t i)
{
	for (size_t k = 0; k < i; k++) {
		if (strcasecmp(o->headers[k].name, o->headers[i].name) == 0)
			return false;
	}
	return true;
}

static bool
has_shared_headers(const struct outgoing *o)
{
	return o->n_headers > 0 || o->cc != NULL;
}

/* "headers" is there for all recipients or for none, and may be empty. */
static bool
has_headers(const struct outgoing *o)
{
	for (size_t i = 0; i < o->n_recipients; i++) {
		if (o->recipients[i].kind == OUTGOING_BCC)
			return true;
	}
	return has_shared_headers(o);
}

static void
add_shared_headers(struct dynbuf *out, const struct outgoing *o)
{
	for (size_t i = 0; i < o->n_headers; i++) {
		if (is_first(o, i))
			add_header_value(out, o->headers[i].name,
					 o->headers[i].value);
	}
	add_header_value(out, "CC", o->cc);
}

static void
add_bcc(struct dynbuf *out, const struct outgoing_recipient *r)
{
	char *shown = api_mailbox(r->name, r->email);

	add_header_value(out, "Bcc", shown);
	free(shown);
}

/* It ends within "content", or the "headers" in that: Bcc is seen by who is
 * one, and the shared piece goes on with what all see. */
static bool
recipient_piece(const struct api_settings *s, const struct outgoing *o,
		const struct outgoing_recipient *r, struct dynbuf *out)
{
	(void)s;
	(void)dynbuf_adds(out, "{");
	api_write_open(out, "recipients", "[{");
	add_address(out, o, r);
	api_write_json(out, "tags", o->labels);
	(void)dynbuf_adds(out, "}]");
	api_write_open(out, "content", "{");
	if (has_headers(o))
		api_write_open(out, "headers", "{");
	if (r->kind == OUTGOING_BCC) {
		add_bcc(out, r);
		(void)dynbuf_adds(out, has_shared_headers(o) ? "," : "");
	}
	return !out->overflow;
}

static void
add_content(struct dynbuf *out, const struct outgoing *o)
{
	static const struct api_file_names attached = { "name", "type", "data",
							false };
	static const struct api_file_names shown = { "name", "type", "data",
						     true };

	api_write_open(out, "from", "{");
	api_write_string(out, "email", o->from_email);
	if (*o->from_name != '\0')
		add_header_value(out, "name", o->from_name);
	(void)dynbuf_adds(out, "}");
	add_header_value(out, "subject", o->subject);
	add_header_value(out, "reply_to", o->reply_to);
	api_write_text(out, "html", o->html, o->html_len);
	api_write_text(out, "text", o->text, o->text_len);
	api_write_text(out, "amp_html", o->amp, o->amp_len);
	api_write_files(out, "attachments", o, false, &attached);
	api_write_files(out, "inline_images", o, true, &shown);
}

/* Tracking is always said: over SMTP it is off unless asked for, here it would
 * be on. */
static void
add_options(struct dynbuf *out, const struct outgoing *o)
{
	api_write_open(out, "options", "{");
	api_write_bool(out, "open_tracking", o->open_tracking == SWITCH_ON);
	api_write_bool(out, "click_tracking", o->click_tracking == SWITCH_ON);
	api_write_bool(out, "perform_substitutions", false);
	api_write_switch(out, "transactional", o->transactional);
	api_write_switch(out, "skip_suppression", o->skip_suppression);
	api_write_switch(out, "inline_css", o->inline_css);
	api_write_string(out, "ip_pool", o->ip_pool);
	api_write_string(out, "dkim_key", o->dkim_key);
	(void)dynbuf_adds(out, "}");
}

/* The null sender cannot be said: SparkPost's own is used then. */
static bool
shared_piece(const struct api_settings *s, const struct outgoing *o,
	     struct dynbuf *out)
{
	(void)s;
	if (has_headers(o)) {
		add_shared_headers(out, o);
		(void)dynbuf_adds(out, "},");
	}
	add_content(out, o);
	(void)dynbuf_adds(out, "}");
	add_options(out, o);
	if (!is_long(o->tag))
		api_write_string(out, "campaign_id", o->tag);
	api_write_json(out, "metadata", o->metadata);
	api_write_filled(out, "return_path", o->return_path);
	(void)dynbuf_adds(out, "}");
	return !out->overflow;
}

/* --- answers -------------------------------------------------------------- */

static const struct {
	unsigned status;
	const char *code; /* of one of its errors */
	unsigned means;
} meanings[] = {
	{ 400, "1502", 503 }, /* resources are unavailable */
	{ 409, "1600", 422 }, /* this Idempotency-Key, another message */
};

struct looking {
	unsigned status;
	unsigned means;
};

static bool
look_at_error(void *arg, const struct json_object *error)
{
	struct looking *l = arg;
	char code[16];

	api_answer_id(error, "code", code, sizeof(code));
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
		if (l->status == meanings[i].status &&
		    strcmp(code, meanings[i].code) == 0)
			l->means = meanings[i].means;
	}
	return true;
}

/* How many recipients it has taken is the truth, whatever the status says. */
static bool
is_taken_for_nobody(const struct json_object *answer)
{
	const struct json_object *results;
	int64_t accepted = -1;

	return json_object_object(answer, "results", &results) == JSON_FOUND &&
	       json_object_int(results, "total_accepted_recipients",
			       &accepted) == JSON_FOUND &&
	       accepted == 0;
}

static unsigned
true_status(unsigned status, const char *body, size_t len)
{
	struct json_object *o = json_object_read(body, len);
	struct looking l = { status, status };

	if (o == NULL)
		return status;
	(void)json_object_items(o, "errors", look_at_error, &l);
	if (status / 100 == 2 && is_taken_for_nobody(o))
		l.means = 422;
	json_object_free(&o);
	return l.means;
}

struct words {
	char *text;
	size_t size;
};

static bool
take_error(void *arg, const struct json_object *error)
{
	const struct words *w = arg;
	const char *message = "", *description = "";
	DYNBUF_AUTO both;

	dynbuf_init(&both, 2 * API_ANSWER_MAX);
	if (*w->text != '\0')
		return true;
	(void)json_object_string(error, "message", &message);
	(void)json_object_string(error, "description", &description);
	(void)dynbuf_addf(&both, "%s%s%s", message,
			  *message && *description ? ": " : "", description);
	smtp_reply_safe_text(w->text, w->size, dynbuf_str(&both), both.len);
	return true;
}

/* What is said of the recipient is nearer than what is said of the request. */
static void
answer_text(const char *body, size_t len, char *text_r, size_t size)
{
	struct json_object *o = json_object_read(body, len);
	struct words w = { text_r, size };
	const struct json_object *results;

	text_r[0] = '\0';
	if (o == NULL)
		return;
	if (json_object_object(o, "results", &results) == JSON_FOUND)
		(void)json_object_items(results, "rcpt_to_errors", take_error,
					&w);
	(void)json_object_items(o, "errors", take_error, &w);
	json_object_free(&o);
}

static bool
answer_accepted(const char *body, size_t len, char id_r[API_ID_MAX + 1])
{
	struct json_object *o = json_object_read(body, len);
	const struct json_object *results;

	id_r[0] = '\0';
	if (o == NULL)
		return false;
	if (json_object_object(o, "results", &results) == JSON_FOUND)
		api_answer_id(results, "id", id_r, API_ID_MAX + 1);
	json_object_free(&o);
	return id_r[0] != '\0';
}

const struct api_format api_sparkpost = {
	.name = "sparkpost",
	.support = {
		[FEATURE_TAG] = SUPPORT_PASSED,
		[FEATURE_LABELS] = SUPPORT_PASSED,
		[FEATURE_METADATA] = SUPPORT_PASSED,
		[FEATURE_OPEN_TRACKING] = SUPPORT_PASSED,
		[FEATURE_CLICK_TRACKING] = SUPPORT_PASSED,
		[FEATURE_INLINE_CSS] = SUPPORT_PASSED,
		[FEATURE_TRANSACTIONAL] = SUPPORT_PASSED,
		[FEATURE_SKIP_SUPPRESSION] = SUPPORT_PASSED,
		[FEATURE_DKIM_KEY] = SUPPORT_PASSED,
		[FEATURE_IP_POOL] = SUPPORT_PASSED,
		[FEATURE_SUBACCOUNT] = SUPPORT_PASSED,
		[FEATURE_TEMPLATE] = SUPPORT_REFUSED,
		[FEATURE_VARIABLES] = SUPPORT_REFUSED,
		[FEATURE_TEXT] = SUPPORT_PASSED,
		[FEATURE_TEXT_ONLY] = SUPPORT_PASSED,
		[FEATURE_AMP] = SUPPORT_PASSED,
		[FEATURE_ATTACHMENTS] = SUPPORT_PASSED,
		[FEATURE_INLINE_FILES] = SUPPORT_PASSED,
		[FEATURE_SHOWN] = SUPPORT_PASSED,
		[FEATURE_HEADERS] = SUPPORT_PASSED,
		[FEATURE_ODD_HEADERS] = SUPPORT_IGNORED,
		[FEATURE_CC] = SUPPORT_DONE,
		[FEATURE_BCC] = SUPPORT_DONE,
		[FEATURE_ARCHIVE] = SUPPORT_DONE,
	},
	.head = head,
	.takes = takes,
	.fits = fits,
	.recipient_piece = recipient_piece,
	.shared_piece = shared_piece,
	.true_status = true_status,
	.answer_text = answer_text,
	.answer_accepted = answer_accepted,
};
