/* SPDX-License-Identifier: MIT */
#include "msys_api.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "account.h"
#include "address.h"
#include "dialect.h"
#include "dynbuf.h"
#include "json_text.h"
#include "message.h"
#include "outgoing.h"
#include "smtp_reply.h"
#include "standard_headers.h"
#include "utf8.h"

#define OF(member) MSYS_API_HEADER " '" member "'"

/* The header while it is read. */
struct msys_api {
	struct reading *r;
	const char *text;
	size_t len;
	const struct json_object *root;
	const struct json_object *options; /* NULL: it has none */
};

/* --- what is wrong with it -------------------------------------------------
 */

static bool
refuse(const struct reading *r, const char *member, const char *what)
{
	smtp_reply_set(r->refusal, 550, "5.6.0", OF("%s") " %s", member, what);
	return false;
}

static bool
refuse_type(const struct reading *r, const char *member, const char *type)
{
	smtp_reply_set(r->refusal, 550, "5.6.0",
		       OF("%s") " must be of type '%s'", member, type);
	return false;
}

/* What is no array, or holds what was refused. */
static bool
refuse_list(const struct reading *r, const char *member)
{
	return smtp_reply_is_set(r->refusal)
		   ? false
		   : refuse_type(r, member, "json array");
}

/* Serialisers write null for what is absent. */
static bool
is_wrong(enum json_found found, const struct json_object *o, const char *name)
{
	return found == JSON_OTHER_TYPE && !json_object_is_null(o, name);
}

static bool
is_printable(const char *s)
{
	return utf8_is_printable(s, strlen(s));
}

/* A string of `o`, NULL when it is absent or empty. False: refusal set. */
static bool
read_string(const struct reading *r, const struct json_object *o,
	    const char *name, const char *member, const char **value_r)
{
	*value_r = NULL;
	if (o == NULL)
		return true;
	if (is_wrong(json_object_string(o, name, value_r), o, name))
		return refuse_type(r, member, "string");
	if (*value_r != NULL && !is_printable(*value_r))
		return refuse(r, member, "holds a control character");
	if (*value_r != NULL && **value_r == '\0')
		*value_r = NULL;
	return true;
}

/* --- campaign_id, metadata, tags -------------------------------------------
 */

/* With a blank for each control character, and none around it: it may become a
 * header. free(). */
static char *
one_line(const char *s)
{
	struct dynbuf line;
	size_t len, n;

	dynbuf_init(&line, strlen(s));
	for (; *s != '\0'; s += n) {
		n = utf8_char_len(s, strlen(s));
		if (utf8_is_printable(s, n) && (*s != ' ' || line.len > 0))
			(void)dynbuf_add(&line, s, n);
		else if (line.len > 0)
			(void)dynbuf_adds(&line, " ");
	}
	while (line.len > 0 && line.data[line.len - 1] == ' ')
		line.data[--line.len] = '\0';
	return dynbuf_steal(&line, &len);
}

static bool
read_campaign(const struct msys_api *api)
{
	struct outgoing *o = api->r->outgoing;
	const char *id = "";

	if (is_wrong(json_object_string(api->root, "campaign_id", &id),
		     api->root, "campaign_id"))
		return refuse_type(api->r, "campaign_id", "string");
	if (strlen(id) > MSYS_API_CAMPAIGN_MAX) {
		smtp_reply_set(api->r->refusal, 550, "5.6.0",
			       "smtpapi_campaign_id context is limited to %d "
			       "bytes",
			       MSYS_API_CAMPAIGN_MAX);
		return false;
	}
	o->tag = one_line(id);
	if (*o->tag == '\0') {
		free(o->tag);
		o->tag = NULL;
		return true;
	}
	o->asked[FEATURE_TAG] = OF("campaign_id");
	return true;
}

static bool
read_metadata(const struct msys_api *api)
{
	struct outgoing *o = api->r->outgoing;
	const struct json_object *metadata = NULL;
	const char *text;
	size_t len;

	if (is_wrong(json_object_object(api->root, "metadata", &metadata),
		     api->root, "metadata"))
		return refuse_type(api->r, "metadata", "json object");
	if (metadata == NULL || json_object_has_only(metadata, NULL, 0) ||
	    !json_object_member_text(api->root, "metadata", api->text, api->len,
				     &text, &len))
		return true;
	o->metadata = strndup(text, len);
	if (o->metadata == NULL)
		abort();
	o->asked[FEATURE_METADATA] = OF("metadata");
	return true;
}

/* The labels as they are written. */
struct tags {
	const struct reading *r;
	size_t n;
	struct dynbuf json;
};

static bool
add_tag(void *arg, const char *s, const struct json_object *item)
{
	struct tags *t = arg;
	char member[32];

	(void)item;
	if (s == NULL) {
		(void)snprintf(member, sizeof(member), "tags[%zu]", t->n);
		return refuse_type(t->r, member, "string");
	}
	if (t->n++ >= MSYS_API_TAGS_MAX)
		return true;
	return dynbuf_adds(&t->json, t->n > 1 ? "," : "[") &&
	       json_add_string(&t->json, s, strlen(s));
}

static bool
read_tags(const struct msys_api *api)
{
	struct outgoing *o = api->r->outgoing;
	struct tags t = { .r = api->r };
	size_t len;

	/* What was written "\n" may be "\u000a" then. */
	dynbuf_init(&t.json, 6 * MESSAGE_HEADER_MAX);
	if (is_wrong(json_object_array(api->root, "tags", add_tag, &t),
		     api->root, "tags")) {
		dynbuf_clear(&t.json);
		return refuse_list(api->r, "tags");
	}
	if (t.n == 0)
		return true;
	(void)dynbuf_adds(&t.json, "]");
	o->labels = dynbuf_steal(&t.json, &len);
	o->asked[FEATURE_LABELS] = OF("tags");
	return true;
}

/* --- options ----------------------------------------------------------------
 */

static const struct {
	const char *name;
	const char *member; /* static: for `asked` */
	size_t at;	    /* an enum outgoing_switch in struct outgoing */
	enum feature feature;
} switches[] = {
#define SWITCH(name, feature)                                                 \
	{                                                                     \
#name, OF("options." #name), offsetof(struct outgoing, name), \
		    feature                                                   \
	}
	SWITCH(open_tracking, FEATURE_OPEN_TRACKING),
	SWITCH(click_tracking, FEATURE_CLICK_TRACKING),
	SWITCH(transactional, FEATURE_TRANSACTIONAL),
	SWITCH(skip_suppression, FEATURE_SKIP_SUPPRESSION),
	SWITCH(inline_css, FEATURE_INLINE_CSS),
};

static bool
read_switch(const struct msys_api *api, size_t i)
{
	struct outgoing *o = api->r->outgoing;
	enum outgoing_switch *at =
	    (enum outgoing_switch *)(void *)((char *)o + switches[i].at);
	bool on = false;

	if (api->options != NULL &&
	    is_wrong(json_object_truth(api->options, switches[i].name, &on),
		     api->options, switches[i].name)) {
		smtp_reply_set(api->r->refusal, 550, "5.6.0",
			       "%s must be of type 'boolean'",
			       switches[i].member);
		return false;
	}
	*at = on ? SWITCH_ON : SWITCH_OFF;
	if (on)
		o->asked[switches[i].feature] = switches[i].member;
	return true;
}

/* The account's own writing of a route that is named in any case. */
static const char *
route_as_known(const struct account *a, const char *named)
{
	if (named == NULL || account_find_route(a, named) != NULL)
		return named;
	for (size_t i = 0; i < a->n_routes; i++) {
		if (strcasecmp(a->routes[i].id, named) == 0)
			return a->routes[i].id;
	}
	return named;
}

static bool
read_ip_pool(const struct msys_api *api)
{
	struct outgoing *o = api->r->outgoing;
	const struct account *a = api->r->account;
	const struct account_route *route;
	const char *pool;

	if (!read_string(api->r, api->options, "ip_pool", "options.ip_pool",
			 &pool))
		return false;
	route = account_choose_route(a, route_as_known(a, pool),
				     OF("options.ip_pool"), api->r->refusal);
	if (route == NULL)
		return false;
	o->route_id = standard_copy(route->id);
	if (pool == NULL)
		return true;
	o->ip_pool = standard_copy(pool);
	o->asked[FEATURE_IP_POOL] = OF("options.ip_pool");
	return true;
}

static bool
read_dkim_key(const struct msys_api *api)
{
	struct outgoing *o = api->r->outgoing;
	const char *key;

	if (!read_string(api->r, api->options, "dkim_key", "options.dkim_key",
			 &key))
		return false;
	if (key == NULL)
		return true;
	if (strlen(key) > MSYS_API_DKIM_KEY_MAX)
		return refuse(api->r, "options.dkim_key", "is too long");
	o->dkim_key = standard_copy(key);
	o->asked[FEATURE_DKIM_KEY] = OF("options.dkim_key");
	return true;
}

static bool
read_options(struct msys_api *api)
{
	if (api->root != NULL &&
	    is_wrong(json_object_object(api->root, "options", &api->options),
		     api->root, "options"))
		return refuse_type(api->r, "options", "json object");
	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		if (!read_switch(api, i))
			return false;
	}
	return read_ip_pool(api) && read_dkim_key(api);
}

/* --- cc, bcc, archive -------------------------------------------------------
 */

static const struct list {
	const char *name;
	const char *member; /* static: for `asked` */
	enum outgoing_kind kind;
	enum feature feature;
} lists[] = {
	{ "cc", OF("cc"), OUTGOING_CC, FEATURE_CC },
	{ "bcc", OF("bcc"), OUTGOING_BCC, FEATURE_BCC },
	{ "archive", OF("archive"), OUTGOING_ARCHIVE, FEATURE_ARCHIVE },
};

struct copies {
	const struct reading *r;
	const struct list *list; /* the one that is read */
	size_t i;		 /* in it */
	size_t n;		 /* in all of them so far */
	GHashTable *get_it;	 /* addresses, in lower case */
	GHashTable *shown;	 /* those of Cc */
	struct mailbox_list cc;
};

static GHashTable *
new_set(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

/* False: it has it already. */
static bool
add_to_set(GHashTable *set, const char *addr)
{
	return g_hash_table_add(set, g_ascii_strdown(addr, -1));
}

/* One mailbox and nothing beside it. */
static bool
is_address(const char *s)
{
	struct mailbox_list list;
	bool is_one;

	if (strlen(s) > MSYS_API_ADDRESS_MAX || !address_is_plain(s) ||
	    mailbox_list_parse(s, strlen(s), &list) != ADDRESS_OK)
		return false;
	is_one = list.n == 1 && list.groups == 0 && *list.v[0].name == '\0' &&
		 strcmp(list.v[0].addr, s) == 0;
	mailbox_list_clear(&list);
	return is_one;
}

static void
show(struct copies *c, const char *email, const char *name)
{
	struct mailbox_list *cc = &c->cc;

	if (!add_to_set(c->shown, email))
		return;
	cc->v = reallocarray(cc->v, cc->n + 1, sizeof(*cc->v));
	if (cc->v == NULL)
		abort();
	cc->v[cc->n++] = (struct mailbox){ .name = standard_copy(name),
					   .addr = standard_copy(email) };
}

static void
copy_to(struct copies *c, const char *email, const char *name)
{
	struct outgoing *o = c->r->outgoing;

	if (c->list->kind == OUTGOING_CC)
		show(c, email, name);
	if (!add_to_set(c->get_it, email))
		return;
	outgoing_add_recipient(o, email, name, c->list->kind);
	o->asked[c->list->feature] = c->list->member;
}

/* "cc[3].email" */
#define PLACE_SIZE 40
static const char *
place(const struct copies *c, const char *member, char dst[PLACE_SIZE])
{
	(void)snprintf(dst, PLACE_SIZE, "%s[%zu]%s", c->list->name, c->i,
		       member);
	return dst;
}

static bool
read_copy(struct copies *c, const char *s, const struct json_object *item)
{
	char at[PLACE_SIZE];
	const char *email = s;
	const char *name = "";

	if (s == NULL && item == NULL)
		return refuse_type(c->r, place(c, "", at), "string");
	if (item != NULL &&
	    json_object_string(item, "email", &email) != JSON_FOUND)
		return refuse_type(c->r, place(c, ".email", at), "string");
	if (item != NULL &&
	    is_wrong(json_object_string(item, "name", &name), item, "name"))
		return refuse_type(c->r, place(c, ".name", at), "string");
	if (!is_address(email))
		return refuse(c->r, place(c, item ? ".email" : "", at),
			      "is not an address of the form local@domain");
	if (!is_printable(name))
		return refuse(c->r, place(c, ".name", at),
			      "holds a control character");
	copy_to(c, email, name);
	return true;
}

static bool
add_copy(void *arg, const char *s, const struct json_object *item)
{
	struct copies *c = arg;

	if (c->n++ == MSYS_API_COPIES_MAX) {
		smtp_reply_set(c->r->refusal, 550, "5.6.0",
			       MSYS_API_HEADER " 'cc', 'bcc' and 'archive' are "
					       "limited to %d recipients",
			       MSYS_API_COPIES_MAX);
		return false;
	}
	if (!read_copy(c, s, item))
		return false;
	c->i++;
	return true;
}

static bool
read_lists(struct copies *c, const struct json_object *root)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		c->list = &lists[i];
		c->i = 0;
		if (is_wrong(
			json_object_array(root, lists[i].name, add_copy, c),
			root, lists[i].name))
			return refuse_list(c->r, lists[i].name);
	}
	return true;
}

/* Whom the client shows by himself. */
static bool
read_cc_header(struct copies *c)
{
	const struct message_header *h = message_find(c->r->message, "Cc");

	if (h == NULL)
		return true;
	if (mailbox_list_parse(h->value, h->value_len, &c->cc) != ADDRESS_OK) {
		smtp_reply_set(c->r->refusal, 550, "5.6.0",
			       "Cc: too many addresses, or a control "
			       "character");
		return false;
	}
	for (size_t i = 0; i < c->cc.n; i++)
		(void)add_to_set(c->shown, c->cc.v[i].addr);
	return true;
}

static bool
read_copies(const struct msys_api *api)
{
	struct outgoing *o = api->r->outgoing;
	struct copies c = { .r = api->r,
			    .get_it = new_set(),
			    .shown = new_set() };
	bool ok;

	for (size_t i = 0; i < o->n_recipients; i++)
		(void)add_to_set(c.get_it, o->recipients[i].email);
	ok = read_cc_header(&c) &&
	     (api->root == NULL || read_lists(&c, api->root));
	if (ok && c.cc.n > 0) {
		o->cc = mailbox_list_text(&c.cc);
		o->asked[FEATURE_SHOWN] =
		    message_find(api->r->message, "Cc") ? "Cc" : OF("cc");
	}
	mailbox_list_clear(&c.cc);
	g_hash_table_unref(c.get_it);
	g_hash_table_unref(c.shown);
	return ok;
}

/* --- the header --------------------------------------------------------------
 */

static bool
read_members(struct msys_api *api)
{
	if (api->root != NULL &&
	    !(read_campaign(api) && read_metadata(api) && read_tags(api)))
		return false;
	return read_options(api) && read_copies(api);
}

bool
msys_api_read(struct reading *r, const char *name, const char *value,
	      size_t len)
{
	struct msys_api api = { .r = r, .text = value, .len = len };
	struct json_object *root = NULL;
	char error[64];
	bool ok;

	(void)name;
	if (value != NULL && len > 0) {
		root = json_object_parse(value, len, error, sizeof(error));
		if (root == NULL) {
			smtp_reply_set(r->refusal, 550, "5.6.0",
				       "JSON parsing error in " MSYS_API_HEADER
				       ": %s",
				       error);
			return false;
		}
	}
	api.root = root;
	ok = read_members(&api);
	json_object_free(&root);
	return ok;
}
