/* SPDX-License-Identifier: MIT */
/*
 * request: what txmilterctl asks for, taken apart (the format is control.h's).
 * Nothing in it is trusted before control_server has checked who sent it; it
 * is bounded all the same. No I/O; not thread-safe.
 */
#ifndef TXM_MILTER_REQUEST_H
#define TXM_MILTER_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "control.h"

struct command;

struct request_arg {
	const char *name; /* "" for an operand */
	const char *value;
};

/* Points into a copy of the text that it owns. */
struct request {
	const struct command *command;
	bool json;
	struct request_arg args[CONTROL_ARGS_MAX];
	size_t n_args;
	const char *input; /* what the command reads; NUL-terminated */
	size_t input_len;
	char *text;
	size_t text_len;
};

/* False, and what is wrong with it in error_r (static), when it is none: a
 * line that is not of the format, an unknown command or option, an option too
 * often, too many. request_clear() it either way. */
bool request_parse(struct request *r, const char *text, size_t len,
		   const char **error_r);

/* Wipes: keys may be in it. */
void request_clear(struct request *r);

/* The value of an option, of the i-th of that name, of the i-th operand; NULL
 * when it was not given. */
const char *request_option(const struct request *r, const char *name);
const char *request_option_at(const struct request *r, const char *name,
			      size_t i);
const char *request_operand(const struct request *r, size_t i);

/* The switch was given. */
bool request_has(const struct request *r, const char *name);

#endif
