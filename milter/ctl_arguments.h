/* SPDX-License-Identifier: MIT */
/*
 * ctl_arguments: the command line of txmilterctl, understood by the table of
 * commands. Points into argv; no state, no I/O.
 *
 *	txmilterctl [-c FILE] [-s SOCKET] [--json] COMMAND [OPERAND ...]
 *
 * COMMAND is the longest name in the table that the words give. Its options
 * stand behind it, before, between and behind operands: --name value,
 * --name=value, --switch; also -n where the name is one letter. The program's
 *own options may stand anywhere. "--" ends options, "-" is an operand.
 */
#ifndef TXM_MILTER_CTL_ARGUMENTS_H
#define TXM_MILTER_CTL_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "commands.h"
#include "control.h"

struct ctl_option {
	const struct command_option *option;
	const char *value; /* "" for a switch */
};

struct ctl_arguments {
	const char *config_file; /* NULL: not given; and so on */
	const char *socket;
	bool json;
	bool help;
	bool version;
	const struct command *command; /* never NULL but with help or version */
	const char *group; /* with help: the first word of several commands */
	struct ctl_option options[CONTROL_ARGS_MAX];
	size_t n_options;
	const char *operands[CONTROL_ARGS_MAX];
	size_t n_operands;
};

/* The options of the program itself, for help, completion and manual. The
 * i-th; NULL when there are no more. */
const struct command_option *ctl_own_option(size_t i);

/* False, and what is wrong with them (free()): one line, which ends with a hint
 * where to look. */
bool ctl_arguments_parse(int argc, char *const *argv, struct ctl_arguments *a_r,
			 char **error_r);

/* The first value of an option; NULL when it was not given. */
const char *ctl_arguments_option(const struct ctl_arguments *a,
				 const char *name);

#endif
