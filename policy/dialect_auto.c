/* SPDX-License-Identifier: MIT */
/*
 * auto: for who moves from one provider to another, or has customers of
 * several: the dialect is that of the provider whose headers the message has.
 *
 * Without any it is SparkPost's, which changes a message the least: nothing is
 * dropped, nothing is required and nothing is tracked. But who sets a header by
 * which Campaign Monitor groups the mail of other providers wants groups.
 */
#include <string.h>
#include <strings.h>

#include "dialect.h"
#include "message.h"
#include "smtp_reply.h"
#include "sparkpost_login.h"

/* In the order in which they count. A sign of a lower rank is none beside one
 * of a higher rank. */
enum rank { OWN, KEY, GROUP, RANKS };

static const struct sign {
	const char *header; /* may end with '*' */
	enum rank rank;
	const char *dialect;
} signs[] = {
	{ "X-Transactional-*", OWN, "emaildelivery" },
	{ "X-Flexmail-*", OWN, "flexmail" },
	{ "X-Cmail-*", OWN, "campaignmonitor" },
	{ "X-MSYS-API", OWN, "sparkpost" },
	/* A login, with which the mail may be any provider's. */
	{ "X-Auth-APIKey", KEY, "emaildelivery" },
	{ "X-Mailgun-Tag", GROUP, "campaignmonitor" },
	{ "X-Mailgun-Campaign-Id", GROUP, "campaignmonitor" },
	{ "X-Mailjet-Campaign", GROUP, "campaignmonitor" },
	{ "X-MC-Tags", GROUP, "campaignmonitor" },
	{ "X-PM-Tag", GROUP, "campaignmonitor" },
	{ "X-SMTPAPI", GROUP, "campaignmonitor" },
};

static const struct sign *
find_sign(const char *name)
{
	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
		size_t n = strlen(signs[i].header);
		bool family = signs[i].header[n - 1] == '*';

		if (family ? strncasecmp(name, signs[i].header, n - 1) == 0
			   : strcasecmp(name, signs[i].header) == 0)
			return &signs[i];
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
	const struct sign *s = find_sign(name);
	const struct dialect *d = s ? dialect_find(s->dialect) : NULL;

	if (d == NULL)
		return true;
	if (found[s->rank].name == NULL)
		found[s->rank] = (struct found){ name, d };
	return found[s->rank].dialect == d ||
	       refuse(found[s->rank].name, name, refusal);
}

static const struct dialect *
choose(const struct message *m, struct smtp_reply *refusal)
{
	struct found found[RANKS] = { { NULL, NULL } };

	for (size_t i = 0; i < message_n_headers(m); i++) {
		if (!take_sign(found, message_header_at(m, i)->name, refusal))
			return NULL;
	}
	for (size_t i = 0; i < RANKS; i++) {
		if (found[i].dialect != NULL)
			return found[i].dialect;
	}
	return &dialect_sparkpost;
}

const struct dialect dialect_auto = {
	.name = "auto",
	.key_header = "X-Auth-APIKey",
	.choose = choose,
	.login = sparkpost_login_or_any,
};
