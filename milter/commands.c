/* SPDX-License-Identifier: MIT */
#include "commands.h"

#include <string.h>

/* What an account can be given when its key is made, and later. */
#define ACCOUNT_OPTIONS                                                \
	{ "dialect", "NAME", false, "whose X- headers it uses" },      \
	    { "route", "ID[:NAME]", true, "a route it may send by" },  \
	    { "default-route", "ID", false,                            \
	      "the one taken when a message names none" },             \
	    { "sender", "ADDRESS|DOMAIN", true,                        \
	      "what From may be (default: anything)" },                \
	    { "from-ip", "ADDRESS[/BITS]", true,                       \
	      "where its keys may be used from (default: anywhere)" }, \
	    { "rate", "N/TIME", false,                                 \
	      "messages in that time, for each key: 100/1m" },         \
	    { "recipient-rate", "N/TIME", false,                       \
	      "messages in that time, to each recipient: 5/1h" },      \
	{                                                              \
		"api-key-file", "FILE", false,                         \
		    "its first line is the account's key at the API"   \
	}

#define KEY_OPTIONS                                                       \
	{ "label", "TEXT", false, "what the key is for" },                \
	    { "login", "NAME", false,                                     \
	      "the user name that must be given with it" },               \
	    { "not-before", "TIME", false,                                \
	      "good from then on: 12h from now, 2027-01-31" },            \
	{                                                                 \
		"expires", "TIME", false,                                 \
		    "good until then: 30d from now, 2027-01-31T12:00:00Z" \
	}

static const struct command commands[] = {
	{ "ping", "", "say whether the daemon answers", 0, false, { { 0 } } },
	{ "status",
	  "",
	  "sessions, hand-offs, keys, the API's health",
	  0,
	  false,
	  { { 0 } } },
	{ "stats",
	  "",
	  "the counters",
	  0,
	  false,
	  { { "prometheus", NULL, false, "in Prometheus' text format" },
	    { "watch", NULL, false, "again every second, until Ctrl-C" } } },
	{ "reload", "", "read the configuration again", 0, false, { { 0 } } },
	{ "drain",
	  "on|off",
	  "answer new mail with 451, or take mail again",
	  0,
	  false,
	  { { 0 } } },
	{ "log-level",
	  "error|warning|info|debug",
	  "log this much until the next start",
	  0,
	  false,
	  { { 0 } } },
	{ "conf",
	  "[OPTION ...]",
	  "the configuration as the daemon would read it",
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
	  "the route of a message that names this one, or none",
	  0,
	  false,
	  { { 0 } } },
	{ "key add",
	  "",
	  "make a key, and its account if it is new; show it once",
	  0,
	  false,
	  { { "account", "NAME", false, "whose key it is (required)" },
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
	  { { "export", NULL, false,
	      "as JSON lines for key import, without secrets" },
	    { "after", "KEYID", false,
	      "only keys behind that one in the list" },
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
	  "remove the key, for ever",
	  0,
	  false,
	  { { 0 } } },
	{ "key rotate",
	  "KEYID",
	  "make a new key in its place and show it once",
	  0,
	  false,
	  { { "grace", "TIME", false,
	      "how long the old one stays good: 1h, 2d (default 0s)" } } },
	{ "key flush",
	  "[KEYID]",
	  "forget what the API said about a key, or all",
	  0,
	  false,
	  { { 0 } } },
	{ "try",
	  "FILE",
	  "show what would become of a message; nothing is sent",
	  COMMAND_TRIES_MESSAGE,
	  false,
	  { { "account", "NAME", false, "as if this account sent it; or:" },
	    { "key-file", "FILE", false,
	      "as if the key in its first line was used" },
	    { "from", "ADDRESS", false, "envelope sender (default <>)" },
	    { "rcpt", "ADDRESS", true,
	      "envelope recipient (default: those of To and Cc)" },
	    { "html", "OUT", false,
	      "write a page for a browser to OUT, print nothing" } } },
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
