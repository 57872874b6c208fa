/* SPDX-License-Identifier: MIT */
/*
 * What goes to an API and what comes back, in every format.
 *
 * An input that begins with '!' is an answer: two bytes of its status, then
 * its body. Any other is a message, a field for each member of outgoing.h by
 * its name ("tag: x", "open_tracking: on"), and besides
 *   recipient   "KIND email name"; KIND is the first letter of its name
 *   header      "name value"
 *   file        "name type content-id data"; '!' before the name: inline
 *   field       "name path", of the Flexmail API
 *
 * The pieces of a request make one JSON object without anything twice; the
 * generic one is as its schema says, and what is in it is what was put in.
 */
#include <assert.h>
#include <gmime/gmime.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/api.h"
#include "policy/dynbuf.h"
#include "policy/json_text.h"
#include "policy/outgoing.h"
#include "policy/utf8.h"
#include "tests/fuzz/field.h"
#include "tests/unit/json_schema.h"

#define FILES_MAX 8
#define FIELDS_MAX 16

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *schema;

struct input {
	struct outgoing *o;
	struct api_settings settings;
	struct api_field fields[FIELDS_MAX];
};

/* --- answers -------------------------------------------------------------- */

static void
check_answer(const struct api_format *f, unsigned status, const char *body,
	     size_t len)
{
	struct api_outcome o;
	char words[100];
	size_t n;

	memset(&o, 0x7f, sizeof(o));
	api_outcome(f, status, body, len, &o);
	n = strlen(o.reply.text);
	assert(n > 0 && n <= SMTP_REPLY_TEXT_MAX);
	assert(utf8_valid_prefix(o.reply.text, n) == n);
	assert(utf8_is_printable(o.reply.text, n));
	assert((o.kind == API_ACCEPTED) == (o.reply.code == 250));
	assert(o.kind != API_ACCEPTED || status / 100 == 2);
	assert(strlen(o.id) <= API_ID_MAX);
	f->answer_text(body, len, words, sizeof(words));
	assert(utf8_is_printable(words, strlen(words)));
}

static void
check_answers(const char *data, size_t len)
{
	unsigned status;
	char *body;

	if (len < 2)
		return;
	status = ((unsigned char)data[0] << 8 | (unsigned char)data[1]) % 1000;
	body = exact(data + 2, len - 2);
	for (size_t i = 0; apis[i] != NULL; i++)
		check_answer(apis[i], status, body, len - 2);
	free(body);
}

/* --- a message ------------------------------------------------------------ */

/* Cuts the first word off; "" when there is no more. */
static char *
word(char **text)
{
	char *begin = *text;
	size_t n = strcspn(begin, " ");

	*text = begin + n + (begin[n] == ' ');
	begin[n] = '\0';
	return begin;
}

static char *
copy(const char *s)
{
	char *c = strdup(s);

	assert(c != NULL);
	return c;
}

static enum outgoing_kind
kind_of(const char *name)
{
	for (int k = 0; k < OUTGOING_KINDS; k++) {
		if (outgoing_kinds[k][0] == name[0])
			return (enum outgoing_kind)k;
	}
	return OUTGOING_TO;
}

static bool
is_array_of_strings(const char *text)
{
	json_auto_t *v = json_loads(text, 0, NULL);
	size_t i;
	json_t *item;

	json_array_foreach(v, i, item)
	{
		if (!json_is_string(item))
			return false;
	}
	return json_is_array(v);
}

/* What outgoing.h says of its members. */
static bool
is_good(const char *name, const char *text)
{
	char error[200];

	if (strcmp(name, "labels") == 0)
		return is_array_of_strings(text);
	if (strcmp(name, "metadata") == 0 || strcmp(name, "variables") == 0)
		return json_check_object(text, strlen(text), error,
					 sizeof(error)) == NULL;
	return utf8_is_printable(text, strlen(text));
}

static void
add_file(struct outgoing *o, char *text)
{
	struct body_file *f;

	if (o->n_files == FILES_MAX)
		return;
	if (o->files == NULL)
		o->files = calloc(FILES_MAX, sizeof(*o->files));
	assert(o->files != NULL);
	f = &o->files[o->n_files++];
	f->is_inline = *text == '!';
	f->name = copy(word(&text));
	f->type = copy(word(&text));
	f->content_id = *text != ' ' ? copy(word(&text)) : NULL;
	f->len = strlen(text);
	f->data = exact(text, f->len);
}

static void
add_setting(struct input *in, char *text)
{
	struct api_settings *s = &in->settings;
	char *name = word(&text);

	if (s->n_fields == FIELDS_MAX || !api_field_is_path(text))
		return;
	for (size_t i = 0; i < s->n_fields; i++) {
		if (strcmp(s->fields[i].name, name) == 0)
			return;
	}
	for (size_t i = 0; i < api_flexmail_n_fields; i++) {
		const struct api_field_row *row = &api_flexmail_fields[i];

		if (strcmp(row->name, name) != 0 ||
		    (row->is_member && strchr(text, '.') != NULL))
			continue;
		s->fields[s->n_fields++] =
		    (struct api_field){ copy(name), copy(text) };
	}
	if (api_flexmail_clash(s) == NULL)
		return;
	s->n_fields--;
	free(s->fields[s->n_fields].name);
	free(s->fields[s->n_fields].path);
}

static void
set_body(char **at, size_t *len, char *text)
{
	if (*at != NULL)
		return;
	*len = strlen(text);
	*at = exact(text, *len);
}

static void
set_member(struct outgoing *o, const char *name, const char *text)
{
	for (size_t i = 0; i < outgoing_n_strings; i++) {
		char **at = outgoing_string_at(o, i);

		if (strcmp(outgoing_strings[i].name, name) == 0 &&
		    *at == NULL && is_good(name, text))
			*at = copy(text);
	}
	for (size_t i = 0; i < outgoing_n_switches; i++) {
		if (strcmp(outgoing_switches[i].name, name) == 0)
			*outgoing_switch_at(o, i) =
			    strcmp(text, "on") == 0 ? SWITCH_ON : SWITCH_OFF;
	}
}

/* The text is valid UTF-8; it may be cut. */
static void
take(struct input *in, const char *name, char *text)
{
	struct outgoing *o = in->o;
	bool printable = utf8_is_printable(text, strlen(text));
	char *first;

	if (strcmp(name, "html") == 0) {
		set_body(&o->html, &o->html_len, text);
	} else if (strcmp(name, "text") == 0) {
		set_body(&o->text, &o->text_len, text);
	} else if (strcmp(name, "amp") == 0) {
		set_body(&o->amp, &o->amp_len, text);
	} else if (strcmp(name, "text_is_made") == 0) {
		o->text_is_made = true;
	} else if (strcmp(name, "text_is_flowed") == 0) {
		o->text_is_flowed = true;
	} else if (strcmp(name, "field") == 0) {
		add_setting(in, text);
	} else if (strcmp(name, "file") == 0 && printable) {
		add_file(o, text);
	} else if (strcmp(name, "header") == 0 && printable && *text > ' ') {
		first = word(&text);
		outgoing_add_header(o, first, text);
	} else if (strcmp(name, "recipient") == 0 && printable) {
		enum outgoing_kind kind = kind_of(word(&text));

		first = word(&text);
		if (*first != '\0')
			outgoing_add_recipient(o, first, text, kind);
	} else {
		set_member(o, name, text);
	}
}

static void
take_field(struct input *in, const struct field *f)
{
	char *name = strndup(f->name, f->name_len);
	char *text = strndup(f->value, f->value_len);

	assert(name != NULL && text != NULL);
	if (utf8_valid_prefix(text, strlen(text)) == strlen(text))
		take(in, name, text);
	free(name);
	free(text);
}

/* What dialect_read() takes care of. */
static void
complete(struct outgoing *o)
{
	if (o->from_name == NULL)
		o->from_name = copy("");
	if (o->from_email == NULL || *o->from_email == '\0') {
		free(o->from_email);
		o->from_email = copy("s@example.com");
	}
	if (o->return_path == NULL)
		o->return_path = copy("");
	if (o->route_id == NULL)
		o->route_id = copy("r");
	if (o->n_recipients == 0)
		outgoing_add_recipient(o, "r@example.com", "", OUTGOING_TO);
}

/* --- requests ------------------------------------------------------------- */

static void
check_file(const json_t *doc, const struct body_file *f)
{
	const char *text = json_string_value(json_object_get(doc, "data"));
	gsize len;
	guchar *data = g_base64_decode(text, &len);

	assert(len == f->len && (len == 0 || memcmp(data, f->data, len) == 0));
	g_free(data);
}

static void
check_generic(const struct outgoing *o, json_t *doc)
{
	assert(json_schema_holds(schema, doc));
	for (size_t i = 0; i < o->n_files; i++)
		check_file(json_array_get(json_object_get(doc, "files"), i),
			   &o->files[i]);
	assert(json_string_length(json_object_get(doc, "html")) == o->html_len);
	assert(json_array_size(json_object_get(doc, "headers")) ==
	       o->n_headers);
}

/* Nothing is left of an expression when the macros are taken out. */
static void
check_no_expression(const char *text)
{
	while (text != NULL && (text = strstr(text, "{{")) != NULL) {
		const char *end = strstr(text, "_curly()}}");
		size_t n = end != NULL ? (size_t)(end - text) : 0;

		assert(n == strlen("{{opening_single"));
		assert(strncmp(text, "{{opening_", 10) == 0 ||
		       strncmp(text, "{{closing_", 10) == 0);
		text = end + strlen("_curly()}}");
		assert(*text != '}');
	}
}

static void
check_sparkpost(json_t *doc)
{
	json_t *content = json_object_get(doc, "content");
	const char *name;
	json_t *value;

	check_no_expression(
	    json_string_value(json_object_get(content, "subject")));
	check_no_expression(
	    json_string_value(json_object_get(content, "reply_to")));
	json_object_foreach(json_object_get(content, "headers"), name, value)
	    check_no_expression(json_string_value(value));
}

static void
check_request(const struct input *in, const struct api_format *f,
	      const struct dynbuf *text)
{
	const struct outgoing *o = in->o;
	bool own = o->metadata != NULL || o->variables != NULL;
	json_t *doc = json_loadb(text->data, text->len,
				 JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL |
				     (own ? 0 : JSON_REJECT_DUPLICATES),
				 NULL);

	assert(json_is_object(doc));
	if (f == &api_generic)
		check_generic(o, doc);
	if (f == &api_sparkpost)
		check_sparkpost(doc);
	json_decref(doc);
}

static void
check_format(const struct input *in, const struct api_format *f)
{
	const struct outgoing *o = in->o;
	struct smtp_reply refusal = { 0 };
	struct dynbuf shared, whole;

	if (f->fits != NULL)
		assert(f->fits(o, &refusal) != smtp_reply_is_set(&refusal));
	dynbuf_init(&shared, API_REQUEST_MAX);
	assert(f->shared_piece(&in->settings, o, &shared));
	for (size_t i = 0; i < o->n_recipients && i < 4; i++) {
		dynbuf_init(&whole, API_REQUEST_MAX);
		assert(f->recipient_piece(&in->settings, o, &o->recipients[i],
					  &whole));
		assert(dynbuf_add(&whole, shared.data, shared.len));
		check_request(in, f, &whole);
		dynbuf_clear(&whole);
	}
	dynbuf_clear(&shared);
}

static void
check_head(const struct api_format *f, const struct outgoing *o)
{
	struct api_head h = { 0 };
	/* Any text will do for a key. */
	const char *key = o->tag != NULL ? o->tag : "k:1";

	if (!f->head(NULL, o, key, &h))
		return;
	assert(h.n_headers >= 1 && h.n_headers <= API_HEADERS_MAX);
	for (size_t i = 0; i < h.n_headers; i++)
		assert(strchr(h.headers[i], ':') != NULL);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	g_mime_init();
	json_text_init();
	schema = json_load_file("man/txmilter-message.schema.json", 0, NULL);
	assert(schema != NULL);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct input in = { .o = NULL };
	struct field f;
	size_t n;

	if (size > 0 && data[0] == '!') {
		check_answers(text + 1, size - 1);
		return 0;
	}
	in.o = outgoing_new();
	in.settings.fields = in.fields;
	for (; size > 0 && (n = next_field(text, size, &f)) > 0;
	     text += n, size -= n)
		take_field(&in, &f);
	complete(in.o);
	for (size_t i = 0; apis[i] != NULL; i++) {
		check_format(&in, apis[i]);
		check_head(apis[i], in.o);
	}
	for (size_t i = 0; i < in.settings.n_fields; i++) {
		free(in.fields[i].name);
		free(in.fields[i].path);
	}
	outgoing_free(&in.o);
	return 0;
}
