/* SPDX-License-Identifier: MIT */
/*
 * The Flexmail HTTP API: POST /messages, one recipient a call. The key is
 * "ACCOUNT:TOKEN", the account's id and a personal access token.
 *
 * Recipient, sender, subject and HTML are known by name. The reference itself
 * is not public, so where the rest stands in the request is a guess that
 * [api NAME] can correct: api_flexmail_fields.
 */
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "api.h"
#include "api_answer.h"
#include "api_write.h"
#include "dynbuf.h"
#include "json_text.h"
#include "outgoing.h"
#include "smtp_reply.h"
#include "snake_case.h"
#include "utf8.h"

/* Characters; snake_case. */
#define TAG_MAX 50
/* Characters; the same limit as by SMTP. */
#define VALUE_MAX 80

enum field {
	FIELD_TEXT,
	FIELD_TAG,
	FIELD_METADATA,
	FIELD_OPEN_TRACKING,
	FIELD_LINK_TRACKING,
	FIELD_ATTACHMENTS,
	FIELD_FILE_NAME,
	FIELD_FILE_TYPE,
	FIELD_FILE_DATA,
	FIELD_FILE_ID,
	FIELDS,
};

const struct api_field_row api_flexmail_fields[] = {
	[FIELD_TEXT] = { "text", "content.text", false },
	[FIELD_TAG] = { "tag", "tag", false },
	[FIELD_METADATA] = { "metadata", "metadata", false },
	[FIELD_OPEN_TRACKING] = { "open_tracking", "open_tracking", false },
	[FIELD_LINK_TRACKING] = { "link_tracking", "link_tracking", false },
	[FIELD_ATTACHMENTS] = { "attachments", "attachments", false },
	[FIELD_FILE_NAME] = { "attachment_name", "name", true },
	[FIELD_FILE_TYPE] = { "attachment_type", "type", true },
	[FIELD_FILE_DATA] = { "attachment_data", "content", true },
	[FIELD_FILE_ID] = { "attachment_id", "content_id", true },
};

const size_t api_flexmail_n_fields = FIELDS;

/* What is known by name. */
static const char *const fixed[] = {
	"recipient", "from", "reply_to", "subject", "content.html",
};

#define N_FIXED (sizeof(fixed) / sizeof(fixed[0]))

static const char *
path_of(const struct api_settings *s, size_t field)
{
	const struct api_field_row *row = &api_flexmail_fields[field];

	for (size_t i = 0; s != NULL && i < s->n_fields; i++) {
		if (strcmp(s->fields[i].name, row->name) == 0)
			return s->fields[i].path;
	}
	return row->path;
}

/* --- settings ------------------------------------------------------------- */

bool
api_field_is_path(const char *path)
{
	unsigned depth = 0;

	if (strlen(path) > API_FIELD_PATH_MAX)
		return false;
	for (;; path++) {
		size_t n = 0;

		while ((path[n] >= 'a' && path[n] <= 'z') ||
		       (path[n] >= 'A' && path[n] <= 'Z') ||
		       (path[n] >= '0' && path[n] <= '9') || path[n] == '_' ||
		       path[n] == '-')
			n++;
		if (n == 0 || ++depth > API_FIELD_DEPTH_MAX)
			return false;
		path += n;
		if (*path != '.')
			return *path == '\0';
	}
}

/* One is the other, or above it. */
static bool
is_in_the_way(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);

	if (n > m)
		return is_in_the_way(b, a);
	return memcmp(a, b, n) == 0 && (b[n] == '\0' || b[n] == '.');
}

static bool
clashes(const struct api_settings *s, size_t field)
{
	const struct api_field_row *row = &api_flexmail_fields[field];
	const char *path = path_of(s, field);

	for (size_t i = 0; i < N_FIXED && !row->is_member; i++) {
		if (is_in_the_way(path, fixed[i]))
			return true;
	}
	for (size_t i = 0; i < FIELDS; i++) {
		if (i != field &&
		    api_flexmail_fields[i].is_member == row->is_member &&
		    is_in_the_way(path, path_of(s, i)))
			return true;
	}
	return false;
}

/* What was set is named, rather than what it stands in the way of. */
const char *
api_flexmail_clash(const struct api_settings *s)
{
	for (size_t i = s->n_fields; i-- > 0;) {
		for (size_t k = 0; k < FIELDS; k++) {
			if (strcmp(s->fields[i].name,
				   api_flexmail_fields[k].name) == 0 &&
			    clashes(s, k))
				return s->fields[i].name;
		}
	}
	return NULL;
}

/* --- the request ---------------------------------------------------------- */

static bool
head(const struct api_settings *s, const struct outgoing *o, const char *key,
     struct api_head *h)
{
	const char *colon = strchr(key, ':');

	(void)s;
	(void)o;
	return colon != NULL && colon != key && colon[1] != '\0' &&
	       api_head_path(h, "/messages") &&
	       api_head_add_basic(h, key, (size_t)(colon - key), colon + 1);
}

/* The one address of Reply-To. False: there is none, or several. list_r is to
 * be cleared anyway. */
static bool
read_reply_to(const char *text, struct mailbox_list *list_r)
{
	return mailbox_list_parse(text, strlen(text), list_r) == ADDRESS_OK &&
	       list_r->n == 1 && address_is_plain(list_r->v[0].addr);
}

static bool
fits_reply_to(const struct outgoing *o, struct smtp_reply *refusal)
{
	struct mailbox_list list = { 0 };
	bool good = o->reply_to == NULL || read_reply_to(o->reply_to, &list);

	mailbox_list_clear(&list);
	if (!good)
		smtp_reply_set(refusal, 550, "5.6.0",
			       "Reply-To: the API of the route takes one "
			       "address");
	return good;
}

/* In snake_case. False: it is too long. "" when nothing of it is left. */
static bool
read_tag(const struct outgoing *o, char dst[TAG_MAX + 1])
{
	return api_tag(dst, TAG_MAX, o->tag, "", '_');
}

static bool
takes(const struct outgoing *o, enum feature f)
{
	char tag[TAG_MAX + 1];

	return f != FEATURE_TAG || o->tag == NULL ||
	       (read_tag(o, tag) && *tag != '\0');
}

/* What the dialect of the same name writes first of all; nobody asks for it. */
#define MESSAGE_ID_KEY "original_message_id"
#define MESSAGE_ID_FIRST "{\"" MESSAGE_ID_KEY "\":"

/* Takes the first member out, when it is a Message-ID too long to be a value.
 */
static void
drop_message_id(char *text)
{
	struct json_object *o = json_object_read(text, strlen(text));
	const char *id = "", *written;
	size_t len;

	if (o != NULL &&
	    json_object_string(o, MESSAGE_ID_KEY, &id) == JSON_FOUND &&
	    utf8_count(id, strlen(id)) > VALUE_MAX &&
	    json_object_member_text(o, MESSAGE_ID_KEY, text, strlen(text),
				    &written, &len)) {
		const char *rest = written + len + (written[len] == ',');

		memmove(text + 1, rest, strlen(rest) + 1);
	}
	json_object_free(&o);
}

/* free(); NULL: nothing. */
static char *
metadata_text(const struct outgoing *o)
{
	char *text;

	if (o->metadata == NULL)
		return NULL;
	text = strdup(o->metadata);
	if (text == NULL)
		abort();
	if (strncmp(text, MESSAGE_ID_FIRST, strlen(MESSAGE_ID_FIRST)) == 0)
		drop_message_id(text);
	if (strcmp(text, "{}") == 0) {
		free(text);
		return NULL;
	}
	return text;
}

static bool
is_metadata(void *arg, const char *key, const char *value, size_t len)
{
	(void)arg;
	return is_snake_case(key) && value != NULL && len > 0 &&
	       utf8_count(value, len) <= VALUE_MAX;
}

static bool
is_flat(const char *text)
{
	char error[64];
	struct json_object *o =
	    json_object_parse(text, strlen(text), error, sizeof(error));
	bool flat = o != NULL &&
		    json_object_each(o, text, strlen(text), is_metadata, NULL);

	json_object_free(&o);
	return flat;
}

static bool
fits_metadata(const struct outgoing *o, struct smtp_reply *refusal)
{
	char *text = metadata_text(o);
	const char *asked = o->asked[FEATURE_METADATA];
	bool good = text == NULL || is_flat(text);

	free(text);
	if (!good)
		smtp_reply_set(refusal, 550, "5.6.0",
			       "%s: the API of the route takes keys in "
			       "snake_case, and strings, numbers and booleans "
			       "of 1 to %d characters",
			       asked != NULL ? asked : "The metadata",
			       VALUE_MAX);
	return good;
}

static bool
fits(const struct outgoing *o, struct smtp_reply *refusal)
{
	char tag[TAG_MAX + 1];

	if (o->tag != NULL && !read_tag(o, tag) &&
	    !api_long_tag(o, refusal, TAG_MAX, "characters"))
		return false;
	return fits_metadata(o, refusal) && fits_reply_to(o, refusal) &&
	       api_fits_content(o, refusal);
}

static bool
recipient_piece(const struct api_settings *s, const struct outgoing *o,
		const struct outgoing_recipient *r, struct dynbuf *out)
{
	(void)s;
	(void)o;
	(void)dynbuf_adds(out, "{");
	api_write_open(out, "recipient", "{");
	api_write_open(out, "address", "{");
	api_write_string(out, "email_address", r->email);
	api_write_filled(out, "name", r->name);
	(void)dynbuf_adds(out, "}}");
	return !out->overflow;
}

static void
add_mailbox(struct dynbuf *out, const char *member, const char *name,
	    const char *addr)
{
	api_write_open(out, member, "{");
	api_write_string(out, "email_address", addr);
	api_write_filled(out, "name", name);
	(void)dynbuf_adds(out, "}");
}

static void
add_reply_to(struct dynbuf *out, const char *text)
{
	struct mailbox_list list = { 0 };

	if (text != NULL && read_reply_to(text, &list))
		add_mailbox(out, "reply_to", list.v[0].name, list.v[0].addr);
	mailbox_list_clear(&list);
}

/* --- members by their paths ----------------------------------------------- */

/* One value and where it stands. Those of the same object are written together,
 * whatever their order. */
struct leaf {
	const char *path; /* NULL: nothing, or written already */
	const char *text; /* a string of len bytes; NULL: */
	size_t len;
	const char *json; /* this; NULL: the files */
};

struct tree {
	struct leaf v[FIELDS + 1];
	size_t n;
	const struct api_settings *settings;
	const struct outgoing *outgoing;
};

static void
put(struct tree *t, const struct leaf *leaf)
{
	if (leaf->text != NULL || leaf->json != NULL)
		t->v[t->n++] = *leaf;
}

static void
put_switch(struct tree *t, enum field f, enum outgoing_switch is)
{
	if (is != SWITCH_UNSET)
		put(t, &(struct leaf){ .path = path_of(t->settings, f),
				       .json = is == SWITCH_ON ? "true"
							       : "false" });
}

static void
add_file(struct dynbuf *out, const struct api_settings *s,
	 const struct body_file *f)
{
	api_write_item(out, "{");
	api_write_string(out, path_of(s, FIELD_FILE_NAME), f->name);
	api_write_string(out, path_of(s, FIELD_FILE_TYPE), f->type);
	if (f->is_inline)
		api_write_string(out, path_of(s, FIELD_FILE_ID), f->content_id);
	api_write_base64(out, path_of(s, FIELD_FILE_DATA), f->data, f->len);
	(void)dynbuf_adds(out, "}");
}

static void
add_value(struct dynbuf *out, const struct tree *t, const struct leaf *leaf)
{
	const struct outgoing *o = t->outgoing;

	if (leaf->text != NULL) {
		(void)json_add_string(out, leaf->text, leaf->len);
		return;
	}
	if (leaf->json != NULL) {
		(void)dynbuf_adds(out, leaf->json);
		return;
	}
	(void)dynbuf_adds(out, "[");
	for (size_t i = 0; i < o->n_files; i++)
		add_file(out, t->settings, &o->files[i]);
	(void)dynbuf_adds(out, "]");
}

/* The members whose paths begin with the n bytes of `above`, "a.b.": calls
 * itself once for each dot in a path, API_FIELD_DEPTH_MAX at most. */
static void
add_members(struct dynbuf *out, struct tree *t, const char *above, size_t n)
{
	for (size_t i = 0; i < t->n; i++) {
		const char *path = t->v[i].path;
		char name[API_FIELD_PATH_MAX + 1];
		size_t len;

		if (path == NULL || strncmp(path, above, n) != 0)
			continue;
		len = strcspn(path + n, ".");
		memcpy(name, path + n, len);
		name[len] = '\0';
		api_write_name(out, name);
		if (path[n + len] == '\0') {
			add_value(out, t, &t->v[i]);
			t->v[i].path = NULL;
		} else {
			(void)dynbuf_adds(out, "{");
			add_members(out, t, path, n + len + 1);
			(void)dynbuf_adds(out, "}");
		}
	}
}

static void
add_fields(struct dynbuf *out, const struct api_settings *s,
	   const struct outgoing *o)
{
	struct tree t = { .settings = s, .outgoing = o };
	char tag[TAG_MAX + 1];
	char *metadata = metadata_text(o);

	put(&t, &(struct leaf){ .path = "content.html",
				.text = o->html,
				.len = o->html_len });
	put(&t, &(struct leaf){ .path = path_of(s, FIELD_TEXT),
				.text = o->text,
				.len = o->text_len });
	if (o->tag != NULL && read_tag(o, tag) && *tag != '\0')
		put(&t, &(struct leaf){ .path = path_of(s, FIELD_TAG),
					.text = tag,
					.len = strlen(tag) });
	put(&t, &(struct leaf){ .path = path_of(s, FIELD_METADATA),
				.json = metadata });
	put_switch(&t, FIELD_OPEN_TRACKING, o->open_tracking);
	put_switch(&t, FIELD_LINK_TRACKING, o->click_tracking);
	if (o->n_files > 0)
		t.v[t.n++] =
		    (struct leaf){ .path = path_of(s, FIELD_ATTACHMENTS) };
	add_members(out, &t, "", 0);
	free(metadata);
}

static bool
shared_piece(const struct api_settings *s, const struct outgoing *o,
	     struct dynbuf *out)
{
	(void)dynbuf_adds(out, ",");
	add_mailbox(out, "from", o->from_name, o->from_email);
	add_reply_to(out, o->reply_to);
	api_write_string(out, "subject", o->subject);
	add_fields(out, s, o);
	(void)dynbuf_adds(out, "}");
	return !out->overflow;
}

/* --- answers -------------------------------------------------------------- */

/* What it says beside 2xx is not public. A web page is not an API's. */
static bool
answer_accepted(const char *body, size_t len, char id_r[API_ID_MAX + 1])
{
	static const char *const names[] = { "id", "message_id", "messageId",
					     "uuid" };
	struct json_object *o = json_object_read(body, len);

	id_r[0] = '\0';
	for (size_t i = 0; o != NULL && i < sizeof(names) / sizeof(names[0]) &&
			   id_r[0] == '\0';
	     i++)
		api_answer_id(o, names[i], id_r, API_ID_MAX + 1);
	json_object_free(&o);
	return len == 0 || memchr(body, '<', len) != body;
}

const struct api_format api_flexmail = {
	.name = "flexmail",
	.support = {
		[FEATURE_TAG] = SUPPORT_PASSED,
		[FEATURE_LABELS] = SUPPORT_IGNORED,
		[FEATURE_METADATA] = SUPPORT_PASSED,
		[FEATURE_OPEN_TRACKING] = SUPPORT_PASSED,
		[FEATURE_CLICK_TRACKING] = SUPPORT_PASSED,
		[FEATURE_INLINE_CSS] = SUPPORT_IGNORED,
		[FEATURE_TRANSACTIONAL] = SUPPORT_IGNORED,
		[FEATURE_SKIP_SUPPRESSION] = SUPPORT_IGNORED,
		[FEATURE_DKIM_KEY] = SUPPORT_REFUSED,
		[FEATURE_IP_POOL] = SUPPORT_DONE,
		[FEATURE_SUBACCOUNT] = SUPPORT_REFUSED,
		[FEATURE_TEMPLATE] = SUPPORT_REFUSED,
		[FEATURE_VARIABLES] = SUPPORT_REFUSED,
		[FEATURE_TEXT] = SUPPORT_PASSED,
		[FEATURE_TEXT_ONLY] = SUPPORT_PASSED,
		[FEATURE_AMP] = SUPPORT_IGNORED,
		[FEATURE_ATTACHMENTS] = SUPPORT_PASSED,
		[FEATURE_INLINE_FILES] = SUPPORT_PASSED,
		[FEATURE_SHOWN] = SUPPORT_IGNORED,
		[FEATURE_HEADERS] = SUPPORT_IGNORED,
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
	.answer_text = api_answer_words,
	.answer_accepted = answer_accepted,
};
