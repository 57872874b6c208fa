/* SPDX-License-Identifier: MIT */
/*
 * auto: for who moves from one provider to another, or has customers of
 * several: the dialect is that of the provider whose headers the message has.
 *
 * Without any it is SparkPost's, which changes a message the least: nothing is
 * dropped, nothing is required and nothing is tracked. A group that headers of
 * yet other providers name is its tag then. It does not make the message
 * Campaign Monitor's, who takes those headers too: that would turn on tracking,
 * and nobody asked for it.
 */
#include <string.h>
#include <strings.h>

#include "dialect.h"
#include "group_header.h"
#include "message.h"
#include "smtp_reply.h"
#include "sparkpost_login.h"

/* What a dialect's control header is a sign of: the dialect, or a login, with
 * which the mail may be any provider's. In the order in which they count. */
enum rank { OWN, KEY, RANKS };

static enum rank
rank_of(const struct dialect *d, const char *name)
{
	return d->key_header != NULL && strcasecmp(name, d->key_header) == 0
		   ? KEY
		   : OWN;
}

/* The dialect with that control header. */
static const struct dialect *
dialect_with(const char *name)
{
	for (size_t i = 0; dialects[i] != NULL; i++) {
		const struct header_rule *rule =
		    dialect_rule(dialects[i], name);

		if (rule != NULL && rule->control)
			return dialects[i];
	}
	return NULL;
}

static bool
refuse(const char *first, const char *second, struct smtp_reply *refusal)
{
	smtp_reply_set(refusal, 550, "5.6.0",
		       "%.80s and %.80s: these headers are of two providers, "
		       "and a message can have those of one only",
		       first, second);
	return false;
}

/* What a message has of each rank: the first header and what it means. */
struct found {
	const char *name;
	const struct dialect *dialect;
};

static bool
take_sign(struct found found[RANKS], const char *name,
	  struct smtp_reply *refusal)
{
	const struct dialect *d = dialect_with(name);
	struct found *f;

	if (d == NULL)
		return true;
	f = &found[rank_of(d, name)];
	if (f->name == NULL)
		*f = (struct found){ name, d };
	return f->dialect == d || refuse(f->name, name, refusal);
}

static const struct dialect *
choose(const struct message *m, struct smtp_reply *refusal)
{
	struct found found[RANKS] = { { NULL, NULL } };
	bool grouped = false;

	for (size_t i = 0; i < message_n_headers(m); i++) {
		const char *name = message_header_at(m, i)->name;

		if (group_header_is(name))
			grouped = true;
		else if (!take_sign(found, name, refusal))
			return NULL;
	}
	for (size_t i = 0; i < RANKS; i++) {
		if (found[i].dialect != NULL)
			return found[i].dialect;
	}
	return grouped ? &dialect_sparkpost_grouped : &dialect_sparkpost;
}

const struct dialect dialect_auto = {
	.name = "auto",
	.key_header = "X-Auth-APIKey",
	.choose = choose,
	.login = sparkpost_login_or_any,
};
