/* SPDX-License-Identifier: MIT */
#include "api_write.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "dynbuf.h"
#include "json_text.h"
#include "smtp_reply.h"

static void
add_comma(struct dynbuf *out)
{
	if (out->len > 0 && strchr("{[,:", out->data[out->len - 1]) == NULL)
		(void)dynbuf_adds(out, ",");
}

void
api_write_name(struct dynbuf *out, const char *name)
{
	add_comma(out);
	(void)json_add_string(out, name, strlen(name));
	(void)dynbuf_adds(out, ":");
}

void
api_write_text(struct dynbuf *out, const char *name, const char *text,
	       size_t len)
{
	if (text == NULL)
		return;
	api_write_name(out, name);
	(void)json_add_string(out, text, len);
}

void
api_write_string(struct dynbuf *out, const char *name, const char *value)
{
	api_write_text(out, name, value, value != NULL ? strlen(value) : 0);
}

void
api_write_filled(struct dynbuf *out, const char *name, const char *value)
{
	if (value != NULL && *value != '\0')
		api_write_string(out, name, value);
}

void
api_write_json(struct dynbuf *out, const char *name, const char *json)
{
	if (json == NULL)
		return;
	api_write_name(out, name);
	(void)dynbuf_adds(out, json);
}

void
api_write_bool(struct dynbuf *out, const char *name, bool value)
{
	api_write_json(out, name, value ? "true" : "false");
}

void
api_write_switch(struct dynbuf *out, const char *name,
		 enum outgoing_switch value)
{
	if (value != SWITCH_UNSET)
		api_write_bool(out, name, value == SWITCH_ON);
}

void
api_write_item(struct dynbuf *out, const char *bracket)
{
	add_comma(out);
	(void)dynbuf_adds(out, bracket);
}

void
api_write_open(struct dynbuf *out, const char *name, const char *bracket)
{
	api_write_name(out, name);
	(void)dynbuf_adds(out, bracket);
}

/* --- files ---------------------------------------------------------------- */

static void
add_base64(struct dynbuf *out, const char *data, size_t len)
{
	char *room = dynbuf_room(out, (len / 3 + 1) * 4 + 4);
	gint state = 0, save = 0;
	size_t n;

	if (room == NULL)
		return;
	n = g_base64_encode_step((const guchar *)data, len, FALSE, room, &state,
				 &save);
	n += g_base64_encode_close(FALSE, room + n, &state, &save);
	dynbuf_grown(out, n);
}

void
api_write_base64(struct dynbuf *out, const char *name, const char *data,
		 size_t len)
{
	api_write_name(out, name);
	(void)dynbuf_adds(out, "\"");
	add_base64(out, data, len);
	(void)dynbuf_adds(out, "\"");
}

static bool
is_shown(const struct body_file *f)
{
	return f->is_inline && f->content_id != NULL;
}

void
api_write_files(struct dynbuf *out, const char *name, const struct outgoing *o,
		bool is_inline, const struct api_file_names *names)
{
	bool any = false;

	for (size_t i = 0; i < o->n_files; i++) {
		const struct body_file *f = &o->files[i];

		if (is_shown(f) != is_inline)
			continue;
		if (!any)
			api_write_open(out, name, "[");
		any = true;
		api_write_item(out, "{");
		api_write_string(out, names->name,
				 names->by_content_id ? f->content_id
						      : f->name);
		api_write_string(out, names->type, f->type);
		api_write_base64(out, names->data, f->data, f->len);
		(void)dynbuf_adds(out, "}");
	}
	if (any)
		(void)dynbuf_adds(out, "]");
}

/* --- addresses and tags --------------------------------------------------- */

char *
api_mailbox(const char *name, const char *addr)
{
	char *copy_of_name = strdup(name), *copy_of_addr = strdup(addr);
	struct mailbox one = { copy_of_name, copy_of_addr };
	const struct mailbox_list list = { .v = &one, .n = 1 };
	char *text;

	if (copy_of_name == NULL || copy_of_addr == NULL)
		abort();
	text = mailbox_list_text(&list);
	free(copy_of_name);
	free(copy_of_addr);
	return text;
}

void
api_write_mailbox(struct dynbuf *out, const char *name, const char *addr)
{
	char *text = api_mailbox(name, addr);

	(void)json_add_string(out, text, strlen(text));
	free(text);
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

static bool
is_of_tag(char c, const char *others)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr(others, c) != NULL);
}

bool
api_tag(char *dst, size_t max, const char *tag, const char *others, char joint)
{
	size_t n = 0;
	bool gap = false;

	for (; *tag != '\0'; tag++) {
		char c = lower(*tag);

		if (!is_of_tag(c, others)) {
			gap = n > 0 && dst[n - 1] != joint;
			continue;
		}
		gap = gap && c != joint;
		if (n + gap >= max)
			return false;
		if (gap)
			dst[n++] = joint;
		dst[n++] = c;
		gap = false;
	}
	dst[n] = '\0';
	return true;
}

/* --- what does not fit ---------------------------------------------------- */

bool
api_long_tag(const struct outgoing *o, struct smtp_reply *refusal, size_t max,
	     const char *unit)
{
	const char *asked = o->asked[FEATURE_TAG];

	if (o->wished[FEATURE_TAG])
		return true;
	smtp_reply_set(refusal, 550, "5.6.0",
		       "%s: too long for the API of the route: it takes %zu %s",
		       asked != NULL ? asked : "The tag", max, unit);
	return false;
}

bool
api_fits_content(const struct outgoing *o, struct smtp_reply *refusal)
{
	if (o->template_id != NULL)
		return true;
	if (o->subject == NULL || *o->subject == '\0') {
		smtp_reply_set(refusal, 550, "5.6.0",
			       "Subject: %s, and the API of the route needs "
			       "one",
			       o->subject == NULL ? "header missing"
						  : "is empty");
		return false;
	}
	if (o->html != NULL || o->text != NULL)
		return true;
	smtp_reply_set(refusal, 550, "5.6.0",
		       "The message has no HTML or text part to send");
	return false;
}
