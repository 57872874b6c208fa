/* SPDX-License-Identifier: MIT */
/*
 * generic: for an API of one's own. The whole message as documented JSON
 * (txmilter-message.schema.json, installed with the manual), one recipient a
 * call, as a POST to the URL itself with "Authorization: Bearer KEY". Taken
 * when the answer is 2xx; it may name the message with "id".
 */
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "api_answer.h"
#include "api_write.h"
#include "dynbuf.h"
#include "json_text.h"
#include "outgoing.h"

static bool
head(const struct api_settings *s, const struct outgoing *o, const char *key,
     struct api_head *h)
{
	(void)s;
	(void)o;
	return *key != '\0' && api_head_path(h, "%s", "") &&
	       api_head_add(h, "Authorization: Bearer %s", key);
}

static bool
recipient_piece(const struct api_settings *s, const struct outgoing *o,
		const struct outgoing_recipient *r, struct dynbuf *out)
{
	(void)s;
	(void)o;
	(void)dynbuf_adds(out, "{");
	api_write_open(out, "recipient", "{");
	api_write_string(out, "email", r->email);
	api_write_filled(out, "name", r->name);
	api_write_string(out, "kind", outgoing_kinds[r->kind]);
	(void)dynbuf_adds(out, "}");
	return !out->overflow;
}

/* These hold JSON (outgoing.h); the others are text. */
static bool
is_json(const char *name)
{
	return strcmp(name, "labels") == 0 || strcmp(name, "metadata") == 0 ||
	       strcmp(name, "variables") == 0;
}

static void
add_strings(struct dynbuf *out, const struct outgoing *o)
{
	for (size_t i = 0; i < outgoing_n_strings; i++) {
		const char *name = outgoing_strings[i].name;

		if (is_json(name))
			api_write_json(out, name, outgoing_string(o, i));
		else
			api_write_string(out, name, outgoing_string(o, i));
	}
	for (size_t i = 0; i < outgoing_n_switches; i++)
		api_write_switch(out, outgoing_switches[i].name,
				 outgoing_switch_is(o, i));
}

static void
add_headers(struct dynbuf *out, const struct outgoing *o)
{
	if (o->n_headers == 0)
		return;
	api_write_open(out, "headers", "[");
	for (size_t i = 0; i < o->n_headers; i++) {
		api_write_item(out, "{");
		api_write_string(out, "name", o->headers[i].name);
		api_write_string(out, "value", o->headers[i].value);
		(void)dynbuf_adds(out, "}");
	}
	(void)dynbuf_adds(out, "]");
}

static void
add_files(struct dynbuf *out, const struct outgoing *o)
{
	if (o->n_files == 0)
		return;
	api_write_open(out, "files", "[");
	for (size_t i = 0; i < o->n_files; i++) {
		const struct body_file *f = &o->files[i];

		api_write_item(out, "{");
		api_write_string(out, "name", f->name);
		api_write_string(out, "type", f->type);
		api_write_string(out, "content_id", f->content_id);
		api_write_bool(out, "inline", f->is_inline);
		api_write_base64(out, "data", f->data, f->len);
		(void)dynbuf_adds(out, "}");
	}
	(void)dynbuf_adds(out, "]");
}

static bool
shared_piece(const struct api_settings *s, const struct outgoing *o,
	     struct dynbuf *out)
{
	(void)s;
	(void)dynbuf_adds(out, ",");
	add_strings(out, o);
	add_headers(out, o);
	api_write_text(out, "html", o->html, o->html_len);
	api_write_text(out, "text", o->text, o->text_len);
	if (o->text != NULL && o->text_is_made)
		api_write_bool(out, "text_is_made", true);
	if (o->text != NULL && o->text_is_flowed)
		api_write_bool(out, "text_is_flowed", true);
	api_write_text(out, "amp", o->amp, o->amp_len);
	add_files(out, o);
	(void)dynbuf_adds(out, "}");
	return !out->overflow;
}

/* The status says it; what the body is beside the id is nobody's business. */
static bool
answer_accepted(const char *body, size_t len, char id_r[API_ID_MAX + 1])
{
	struct json_object *o = json_object_read(body, len);

	id_r[0] = '\0';
	if (o == NULL)
		return true;
	api_answer_id(o, "id", id_r, API_ID_MAX + 1);
	json_object_free(&o);
	return true;
}

const struct api_format api_generic = {
	.name = "generic",
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
		[FEATURE_TEMPLATE] = SUPPORT_PASSED,
		[FEATURE_VARIABLES] = SUPPORT_PASSED,
		[FEATURE_TEXT] = SUPPORT_PASSED,
		[FEATURE_TEXT_ONLY] = SUPPORT_PASSED,
		[FEATURE_AMP] = SUPPORT_PASSED,
		[FEATURE_ATTACHMENTS] = SUPPORT_PASSED,
		[FEATURE_INLINE_FILES] = SUPPORT_PASSED,
		[FEATURE_SHOWN] = SUPPORT_PASSED,
		[FEATURE_HEADERS] = SUPPORT_PASSED,
		[FEATURE_ODD_HEADERS] = SUPPORT_IGNORED,
		[FEATURE_CC] = SUPPORT_PASSED,
		[FEATURE_BCC] = SUPPORT_PASSED,
		[FEATURE_ARCHIVE] = SUPPORT_PASSED,
	},
	.head = head,
	.recipient_piece = recipient_piece,
	.shared_piece = shared_piece,
	.answer_text = api_answer_words,
	.answer_accepted = answer_accepted,
};
