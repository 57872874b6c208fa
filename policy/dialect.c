/* SPDX-License-Identifier: MIT */
#include "dialect.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "header_text.h"
#include "message.h"
#include "smtp_reply.h"

const struct dialect *const dialects[] = {
	&dialect_emaildelivery,
	NULL,
};

const struct dialect *
dialect_find(const char *name)
{
	for (size_t i = 0; dialects[i] != NULL; i++) {
		if (strcmp(dialects[i]->name, name) == 0)
			return dialects[i];
	}
	return NULL;
}

const struct header_rule *
dialect_rule(const struct dialect *d, const char *name)
{
	for (const struct header_rule *r = d->rules; r->name != NULL; r++) {
		if (strcasecmp(r->name, name) == 0)
			return r;
	}
	return NULL;
}

const struct header_rule *
dialect_any_rule(const char *name)
{
	for (size_t i = 0; dialects[i] != NULL; i++) {
		const struct header_rule *r = dialect_rule(dialects[i], name);

		if (r != NULL)
			return r;
	}
	return NULL;
}

static bool
read_decoded(struct reading *r, const struct header_rule *rule,
	     const struct message_header *h)
{
	char *text;
	bool ok;

	if (header_text(h->value, h->value_len, &text) != HEADER_TEXT_OK) {
		smtp_reply_set(r->refusal, 550, "5.6.0",
			       "%s: holds a control character", rule->name);
		return false;
	}
	ok = rule->read(r, rule->name, text, strlen(text));
	free(text);
	return ok;
}

static bool
read_rule(struct reading *r, const struct header_rule *rule)
{
	const struct message_header *h;

	if (rule->read == NULL || rule->decode == HEADER_UNREAD)
		return true;
	h = message_find(r->message, rule->name);
	if (h == NULL)
		return rule->read(r, rule->name, NULL, 0);
	if (rule->decode == HEADER_RAW)
		return rule->read(r, rule->name, h->value, h->value_len);
	return read_decoded(r, rule, h);
}

bool
dialect_read(const struct dialect *d, struct message *m,
	     const struct account *account, struct outgoing *outgoing,
	     struct smtp_reply *refusal)
{
	struct reading r = { m, account, outgoing, refusal };

	for (const struct header_rule *rule = d->rules; rule->name != NULL;
	     rule++) {
		if (!read_rule(&r, rule))
			return false;
	}
	return d->finish(&r) && d->body(&r, m);
}

bool
dialect_read_body(const struct dialect *d, struct message *m,
		  struct outgoing *outgoing, struct smtp_reply *refusal)
{
	struct reading r = { m, NULL, outgoing, refusal };

	return d->body(&r, m);
}
