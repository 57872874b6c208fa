/* SPDX-License-Identifier: MIT */
#include "ctl_request.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "crypto.h"
#include "ctl_arguments.h"
#include "ctl_input.h"
#include "need.h"
#include "policy/dynbuf.h"

/* Done by txmilterctl itself: the daemon need not hear of them. */
static bool
is_ours(const char *name)
{
	static const char *const names[] = { "watch", "from", "rcpt" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

/* A line ends the argument, so it cannot have one in it. */
static int
add_arg(struct dynbuf *out, const char *name, const char *value, char **error_r)
{
	if (strchr(value, '\n') == NULL) {
		(void)dynbuf_addf(out, "arg %s=%s\n", name, value);
		return 0;
	}
	if (asprintf(error_r, "%s%s: more than one line",
		     *name ? "--" : "operand", name) < 0)
		abort();
	return EX_USAGE;
}

static int
add_file(struct dynbuf *out, const char *name, const char *file, char **error_r)
{
	char line[CTL_FILE_LINE_MAX + 1];
	int code = ctl_input_first_line(file, line, CTL_FILE_LINE_MAX, error_r);

	if (code == 0)
		code = add_arg(out, name, line, error_r);
	crypto_wipe(line, sizeof(line));
	return code;
}

static int
add_option(struct dynbuf *out, const struct ctl_option *o, char **error_r)
{
	const char *name = o->option->name;
	const char *kind = o->option->value ? o->option->value : "";

	if (is_ours(name))
		return 0;
	if (strcmp(kind, "FILE") == 0)
		return add_file(out, name, o->value, error_r);
	if (strcmp(kind, "OUT") == 0)
		return add_arg(out, name, "", error_r);
	return add_arg(out, name, o->value, error_r);
}

int
ctl_request_write(const struct ctl_arguments *a, unsigned long first_line,
		  struct dynbuf *out, char **error_r)
{
	bool sends_operands = a->command->input == COMMAND_NO_INPUT;
	int code = 0;

	(void)dynbuf_addf(out, "command %s\nformat %s\n", a->command->name,
			  a->json ? "json" : "text");
	for (size_t i = 0; i < a->n_options && code == 0; i++)
		code = add_option(out, &a->options[i], error_r);
	for (size_t i = 0; i < a->n_operands && sends_operands && code == 0;
	     i++)
		code = add_arg(out, "", a->operands[i], error_r);
	if (a->command->input == COMMAND_READS_LINES)
		(void)dynbuf_addf(out, "arg =%lu\n", first_line);
	(void)dynbuf_adds(out, "\n");
	if (code != 0 || !out->overflow)
		return code;
	*error_r = need(strdup("the arguments are too long"));
	return EX_USAGE;
}
