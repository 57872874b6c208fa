/* SPDX-License-Identifier: MIT */
/*
 * commands: what txmilterctl can be told, as one table. txmilterctl parses its
 * arguments and writes its help by it, the daemon looks commands up in it, the
 * manual is checked against it, and so is the completion for bash.
 */
#ifndef TXM_MILTER_COMMANDS_H
#define TXM_MILTER_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

/* Each command: 0 to this many. */
#define COMMAND_OPTIONS_MAX 24

struct command_option {
	const char *name;  /* without the dashes */
	const char *value; /* what stands for it in a usage; NULL: a switch */
	bool many;	   /* may be given several times */
	const char *help;
};

/* How a file named by an option or operand becomes part of the request. */
enum command_input {
	COMMAND_NO_INPUT,
	COMMAND_READS_LINES,   /* operand FILE (- is standard input): JSON
				* lines, in as many requests as it takes */
	COMMAND_TRIES_MESSAGE, /* operand FILE: a message */
};

struct command {
	const char *name;     /* "key add" */
	const char *operands; /* "KEYID ...", "[TEXT]", "" */
	const char *summary;
	enum command_input input;
	bool local; /* done by txmilterctl itself, without a daemon */
	struct command_option options[COMMAND_OPTIONS_MAX];
};

/* The i-th, in the order of the manual; NULL when there are no more. */
const struct command *command_at(size_t i);

/* By name; NULL when there is none. */
const struct command *command_find(const char *name);

/* The option of a command, by name; NULL when it has none such. */
const struct command_option *command_option(const struct command *c,
					    const char *name);

#endif
