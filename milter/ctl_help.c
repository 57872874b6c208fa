/* SPDX-License-Identifier: MIT */
#include "ctl_help.h"

#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "ctl_arguments.h"
#include "policy/dynbuf.h"

/* Where explanations begin; one that does not fit goes to the next line. */
#define COLUMN 34
#define TERM_MAX 128

static void
add_term(struct dynbuf *out, const char *term, const char *text)
{
	int room = COLUMN - 2;

	if (strlen(term) >= (size_t)room)
		(void)dynbuf_addf(out, "  %s\n%*s%s\n", term, COLUMN, "", text);
	else
		(void)dynbuf_addf(out, "  %-*s%s\n", room, term, text);
}

static void
add_option(struct dynbuf *out, const struct command_option *o)
{
	char term[TERM_MAX];

	(void)snprintf(term, sizeof(term), "%s%s%s%s%s",
		       o->name[1] == '\0' ? "-" : "--", o->name,
		       o->value ? " " : "", o->value ? o->value : "",
		       o->many ? " ..." : "");
	add_term(out, term, o->help);
}

void
ctl_help_usage(struct dynbuf *out)
{
	(void)dynbuf_adds(out, "usage: txmilterctl [-c FILE] [-s SOCKET] "
			       "[--json] COMMAND [ARGUMENT ...]\n");
}

static void
add_own_options(struct dynbuf *out)
{
	const struct command_option *o;

	for (size_t i = 0; (o = ctl_own_option(i)) != NULL; i++)
		add_option(out, o);
}

static bool
is_in_group(const struct command *c, const char *group)
{
	size_t n = group ? strlen(group) : 0;

	return n == 0 || (strncmp(c->name, group, n) == 0 && c->name[n] == ' ');
}

void
ctl_help_program(const char *group, struct dynbuf *out)
{
	const struct command *c;

	ctl_help_usage(out);
	(void)dynbuf_adds(out, "\n");
	for (size_t i = 0; (c = command_at(i)) != NULL; i++) {
		char term[TERM_MAX];

		if (!is_in_group(c, group))
			continue;
		(void)snprintf(term, sizeof(term), "%s%s%s", c->name,
			       *c->operands ? " " : "", c->operands);
		add_term(out, term, c->summary);
	}
	(void)dynbuf_adds(out, "\n");
	add_own_options(out);
	(void)dynbuf_adds(out, "\ntxmilterctl COMMAND --help tells more of a "
			       "command; txmilterctl(8) is the manual.\n");
}

void
ctl_help_command(const struct command *c, struct dynbuf *out)
{
	bool has_options = c->options[0].name != NULL;

	(void)dynbuf_addf(out, "usage: txmilterctl %s%s%s%s\n\n  %s\n", c->name,
			  has_options ? " [OPTION ...]" : "",
			  *c->operands ? " " : "", c->operands, c->summary);
	if (c->input != COMMAND_NO_INPUT)
		(void)dynbuf_adds(out, "  FILE may be -, standard input.\n");
	if (!has_options)
		return;
	(void)dynbuf_adds(out, "\n");
	for (size_t i = 0; i < COMMAND_OPTIONS_MAX; i++) {
		if (c->options[i].name != NULL)
			add_option(out, &c->options[i]);
	}
}
