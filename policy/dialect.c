/* SPDX-License-Identifier: MIT */
#include "dialect.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "header_text.h"
#include "message.h"
#include "outgoing.h"
#include "smtp_reply.h"
#include "standard_headers.h"

#define DIALECT_ENTRY(name) &dialect_##name,
const struct dialect *const dialects[] = { DIALECTS(DIALECT_ENTRY) NULL };

const char *
dialect_names(char dst[DIALECT_NAMES_SIZE])
{
	size_t n = 0;

	dst[0] = '\0';
	for (size_t i = 0; dialects[i] != NULL && n < DIALECT_NAMES_SIZE; i++)
		n += (size_t)snprintf(dst + n, DIALECT_NAMES_SIZE - n, "%s%s",
				      i > 0 ? ", " : "", dialects[i]->name);
	return dst;
}

const struct dialect *
dialect_find(const char *name)
{
	for (size_t i = 0; dialects[i] != NULL; i++) {
		if (strcmp(dialects[i]->name, name) == 0)
			return dialects[i];
	}
	return NULL;
}

const struct dialect *
dialect_of(const struct dialect *d, const struct message *m,
	   struct smtp_reply *refusal)
{
	return d->choose != NULL ? d->choose(m, refusal) : d;
}

bool
dialect_login_is(const char *user, size_t len, const char *issued)
{
	return len == strlen(issued) && memcmp(user, issued, len) == 0;
}

const char *
dialect_login(const struct dialect *d, const char *user, size_t len,
	      const char *expected, char subaccount_r[SUBACCOUNT_MAX + 1])
{
	subaccount_r[0] = '\0';
	if (d->login != NULL)
		return d->login(user, len, expected, subaccount_r);
	return expected == NULL || dialect_login_is(user, len, expected)
		   ? NULL
		   : DIALECT_LOGIN_NOT_ISSUED;
}

static bool
is_family(const struct header_rule *r)
{
	return r->name[strlen(r->name) - 1] == '*';
}

const struct header_rule *
dialect_rule(const struct dialect *d, const char *name)
{
	if (d->rules == NULL)
		return NULL;
	for (const struct header_rule *r = d->rules; r->name != NULL; r++) {
		if (header_name_matches(r->name, name))
			return r;
	}
	return NULL;
}

bool
dialect_is_control(const char *name)
{
	for (size_t i = 0; dialects[i] != NULL; i++) {
		const struct header_rule *r = dialect_rule(dialects[i], name);

		if (r != NULL && r->control)
			return true;
	}
	return false;
}

static bool
read_header(struct reading *r, const struct header_rule *rule, const char *name,
	    const struct message_header *h)
{
	char *text;
	bool ok;

	if (rule->decode == HEADER_RAW)
		return rule->read(r, name, h->value, h->value_len);
	if (header_text(h->value, h->value_len, &text) != HEADER_TEXT_OK) {
		smtp_reply_set(r->refusal, 550, "5.6.0",
			       "%s: holds a control character", name);
		return false;
	}
	ok = rule->read(r, name, text, strlen(text));
	free(text);
	return ok;
}

/* The first of each name counts. */
static bool
read_family(struct reading *r, const struct header_rule *rule)
{
	const struct message *m = r->message;
	g_autoptr(GHashTable) seen =
	    g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	for (size_t i = 0; i < message_n_headers(m); i++) {
		const struct message_header *h = message_header_at(m, i);

		if (header_name_matches(rule->name, h->name) &&
		    g_hash_table_add(seen, g_ascii_strdown(h->name, -1)) &&
		    !read_header(r, rule, h->name, h))
			return false;
	}
	return true;
}

static bool
read_rule(struct reading *r, const struct header_rule *rule)
{
	const struct message_header *h;

	if (rule->read == NULL || rule->decode == HEADER_UNREAD)
		return true;
	if (is_family(rule))
		return read_family(r, rule);
	h = message_find(r->message, rule->name);
	if (h == NULL)
		return rule->read(r, rule->name, NULL, 0);
	return read_header(r, rule, rule->name, h);
}

static void
read_envelope(struct reading *r)
{
	struct outgoing *o = r->outgoing;
	const char *subaccount = message_subaccount(r->message);

	o->return_path = standard_copy(message_sender(r->message));
	if (*subaccount == '\0')
		return;
	o->subaccount = standard_copy(subaccount);
	o->asked[FEATURE_SUBACCOUNT] = "AUTH";
}

/* What every reader of outgoing takes for granted. */
static void
check(const struct outgoing *o)
{
	if (o->from_name == NULL || o->from_email == NULL ||
	    o->return_path == NULL || o->route_id == NULL ||
	    o->n_recipients == 0)
		abort();
}

bool
dialect_read(const struct dialect *d, struct message *m,
	     const struct account *account, struct outgoing *outgoing,
	     struct smtp_reply *refusal)
{
	struct reading r = { m, account, outgoing, refusal };

	read_envelope(&r);
	for (const struct header_rule *rule = d->rules; rule->name != NULL;
	     rule++) {
		if (!read_rule(&r, rule))
			return false;
	}
	if (d->finish != NULL && !d->finish(&r))
		return false;
	check(outgoing);
	message_need(m, d->body_wants);
	return d->body(&r, m);
}

bool
dialect_read_body(const struct dialect *d, struct message *m,
		  struct outgoing *outgoing, struct smtp_reply *refusal)
{
	struct reading r = { m, NULL, outgoing, refusal };

	message_need(m, d->body_wants);
	return d->body(&r, m);
}
