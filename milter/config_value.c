/* SPDX-License-Identifier: MIT */
#include "config_value.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "listener.h"
#include "need.h"
#include "policy/dialect.h"
#include "policy/group_header.h"
#include "policy/requeue.h"
#include "policy/route.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define CAPITALS "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

const char *
config_value_url(const char *value)
{
	const char *host;

	if (strncmp(value, "https://", 8) != 0 &&
	    strncmp(value, "http://", 7) != 0)
		return "must begin with https:// (or http://)";
	host = strchr(value, '/') + 2;
	if (*host == '\0' || *host == '/')
		return "has no host";
	return strpbrk(value, " \t\"<>") != NULL
		   ? "has a blank or a quote in it"
		   : NULL;
}

const char *
config_value_tracking_url(const char *value)
{
	const char *why = config_value_url(value);

	if (why != NULL)
		return why;
	return value[strspn(value, LETTERS CAPITALS DIGITS "-._~/:%[]")] != '\0'
		   ? "may have letters, digits and - . _ ~ / : % [ ] only, as "
		     "in https://click.example.org/t"
		   : NULL;
}

const char *
config_value_resubmit(const char *value)
{
	const char *why = NULL;

	if (!listener_check(value, &why))
		return why;
	return listener_is_local(value)
		   ? NULL
		   : "must be on this machine: unix:/path, or "
		     "inet:port@127.0.0.1 (or ::1)";
}

const char *
config_value_transport(const char *value)
{
	size_t name = strspn(value, LETTERS DIGITS "_-");
	const char *nexthop = value + name + 1;

	if (name == 0 || value[name] != ':')
		return "must be NAME:NEXTHOP, as in smtp:[mx.example.org]:25";
	if (name == strlen(ROUTE_AGENT) &&
	    memcmp(value, ROUTE_AGENT, name) == 0)
		return "is txmilter itself; write one that leads on, as in "
		       "smtp:[mx.example.org]:25";
	return nexthop[strspn(nexthop, LETTERS DIGITS "_./:[]-")] != '\0'
		   ? "a next hop has lower case letters, digits and _ . / : "
		     "[ ] - only"
		   : NULL;
}

const char *
config_value_return_path(const char *value)
{
	const char *token = strstr(value, ROUTE_TOKEN);
	const char *at = strrchr(value, '@');

	if (at == NULL || at[1] == '\0' || at == value ||
	    strchr(value, '@') != at)
		return "must be an address, as in "
		       "bounce+" ROUTE_TOKEN "@example.org";
	if (token == NULL || token > at ||
	    strstr(token + 1, ROUTE_TOKEN) != NULL)
		return "must have " ROUTE_TOKEN " once before the @";
	for (const char *p = value; *p != '\0'; p++) {
		if (*p <= ' ' || *p > '~' || strchr("<>\"\\,;()", *p) != NULL)
			return "has a character in it that an address should "
			       "not have";
	}
	/* RFC 5321, 4.5.3.1.1, and 32 digits for the token. */
	return at - value > 64 - 32 + (long)strlen(ROUTE_TOKEN)
		   ? "is too long before the @"
		   : NULL;
}

/* Printable ASCII but the colon. */
size_t
config_value_name_len(const char *s)
{
	size_t n = 0;

	while (s[n] > ' ' && s[n] <= '~' && s[n] != ':')
		n++;
	return n;
}

static bool
begins_with(const char *name, const char *prefix)
{
	return strncasecmp(name, prefix, strlen(prefix)) == 0;
}

static const char *
check_meaning(const char *name)
{
	if (begins_with(name, REQUEUE_OWN_PREFIX))
		return "is a header of txmilter's own";
	/* A smarthost of such a provider may well be told its tag. */
	return dialect_is_control(name) && !group_header_is(name)
		   ? "is a header that says what to do with a message, and "
		     "never leaves"
		   : NULL;
}

/* Those that have a meaning of their own stay what they are. */
const char *
config_value_header(const char *value)
{
	if (value[config_value_name_len(value)] != '\0')
		return "is not a header's name";
	return begins_with(value, "X-")
		   ? check_meaning(value)
		   : "must begin with X-, as headers without a meaning do";
}

/* RFC 5322, section 3.6: the message's, of which there may be one; those that
 * mail systems write, in their order; and who gets it, which is the envelope's
 * to say. One that ends with '-' stands for all that begin so. */
static const char *const written_by_others[] = {
	"From",		"Sender",	 "Reply-To",   "To",
	"Cc",		"Bcc",		 "Message-ID", "In-Reply-To",
	"Date",		"References",	 "Subject",    "Resent-",
	"Content-",	"MIME-Version",	 "Received",   "Return-Path",
	"Delivered-To", "Apparently-To", NULL,
};

static bool
is_written_by_others(const char *name)
{
	for (const char *const *w = written_by_others; *w != NULL; w++) {
		if ((*w)[strlen(*w) - 1] == '-' ? begins_with(name, *w)
						: strcasecmp(name, *w) == 0)
			return true;
	}
	return false;
}

const char *
config_value_added(const char *value, size_t len)
{
	char *name = need(strndup(value, len));
	const char *why = check_meaning(name);

	if (why == NULL && is_written_by_others(name))
		why = "is the message's, or of the systems it came through; "
		      "write another, as X-Pool: bulk";
	free(name);
	return why;
}
