/* SPDX-License-Identifier: MIT */
#include "commands.h"

#include <string.h>

/* What an account can be given when its key is made, and later. */
#define ACCOUNT_OPTIONS                                               \
	{ "dialect", "NAME", false, "whose X- headers it uses" },     \
	    { "route", "ID[:NAME]", true, "a route it may send by" }, \
	    { "default-route", "ID", false,                           \
	      "the one taken when a message names none" },            \
	    { "sender", "ADDRESS|DOMAIN", true,                       \
	      "what From may be; nothing given: anything" },          \
	    { "from-ip", "ADDRESS[/BITS]", true,                      \
	      "where its keys may be used from" },                    \
	    { "rate", "N/TIME", false,                                \
	      "messages in that time, for each key" },                \
	    { "recipient-rate", "N/TIME", false,                      \
	      "messages in that time, to each recipient" },           \
	{                                                             \
		"api-key-file", "FILE", false,                        \
		    "the key that the API knows the account by"       \
	}

#define KEY_OPTIONS                                               \
	{ "label", "TEXT", false, "what the key is for" },        \
	    { "not-before", "TIME", false, "good from then on" }, \
	{                                                         \
		"expires", "TIME", false, "good until then"       \
	}

static const struct command commands[] = {
	{ "ping", "", "say whether the daemon answers", 0, false, { { 0 } } },
	{ "status",
	  "",
	  "uptime, sessions, hand-offs, pool, caches and the API's health",
	  0,
	  false,
	  { { 0 } } },
	{ "stats",
	  "",
	  "the counters",
	  0,
	  false,
	  { { "prometheus", NULL, false, "in Prometheus' text format" },
	    { "watch", NULL, false, "again every second, on one screen" } } },
	{ "reload", "", "read the configuration again", 0, false, { { 0 } } },
	{ "drain",
	  "on|off",
	  "answer new mail with 451 while what is under way ends",
	  0,
	  false,
	  { { 0 } } },
	{ "log-level",
	  "error|warning|info|debug",
	  "change what is logged until the next start",
	  0,
	  false,
	  { { 0 } } },
	{ "conf",
	  "[OPTION ...]",
	  "the configuration, as the daemon would read it",
	  0,
	  true,
	  { { "n", NULL, false, "only what the file sets" },
	    { "d", NULL, false, "the defaults instead" } } },
	{ "route list",
	  "[ACCOUNT]",
	  "the routes, of one account or of all",
	  0,
	  false,
	  { { 0 } } },
	{ "route show",
	  "ACCOUNT ROUTE",
	  "one route of an account",
	  0,
	  false,
	  { { 0 } } },
	{ "route test",
	  "ACCOUNT [ROUTE]",
	  "which route a message would take that names this one, or none",
	  0,
	  false,
	  { { 0 } } },
	{ "key add",
	  "",
	  "make a key and show it once; its account too, if it is new",
	  0,
	  false,
	  { { "account", "NAME", false, "whose key it is" },
	    KEY_OPTIONS,
	    ACCOUNT_OPTIONS } },
	{ "key import",
	  "FILE",
	  "add or replace accounts and keys (JSON lines)",
	  COMMAND_READS_LINES,
	  false,
	  { { 0 } } },
	{ "key list",
	  "[ACCOUNT]",
	  "the keys, of one account or of all",
	  0,
	  false,
	  { { "export", NULL, false, "as JSON lines for import, secrets not" },
	    { "after", "KEYID", false, "only what comes behind that one" },
	    { "most", "N", false, "at most so many" } } },
	{ "key show", "KEYID", "a key and its account", 0, false, { { 0 } } },
	{ "key disable",
	  "KEYID",
	  "refuse the key until it is enabled",
	  0,
	  false,
	  { { 0 } } },
	{ "key enable", "KEYID", "accept it again", 0, false, { { 0 } } },
	{ "key revoke",
	  "KEYID",
	  "remove the key, at once and for ever",
	  0,
	  false,
	  { { 0 } } },
	{ "key rotate",
	  "KEYID",
	  "make a new key for the same account",
	  0,
	  false,
	  { { "grace", "TIME", false,
	      "how long the old one stays good (default 0s)" } } },
	{ "key flush",
	  "[KEYID]",
	  "forget what the API said about one key or all",
	  0,
	  false,
	  { { 0 } } },
	{ "try",
	  "FILE",
	  "show what would become of a message, and hand nothing over",
	  COMMAND_TRIES_MESSAGE,
	  false,
	  { { "account", "NAME", false, "as if this account sent it" },
	    { "key-file", "FILE", false, "as if the key in it was used" },
	    { "from", "ADDRESS", false, "envelope sender (default <>)" },
	    { "rcpt", "ADDRESS", true,
	      "envelope recipient (default: those of To and Cc)" },
	    { "html", "OUT", false, "write it as a page to look at, too" } } },
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

const struct command *
command_at(size_t i)
{
	return i < N_COMMANDS ? &commands[i] : NULL;
}

const struct command *
command_find(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

const struct command_option *
command_option(const struct command *c, const char *name)
{
	for (size_t i = 0; i < COMMAND_OPTIONS_MAX; i++) {
		const struct command_option *o = &c->options[i];

		if (o->name != NULL && strcmp(o->name, name) == 0)
			return o;
	}
	return NULL;
}
