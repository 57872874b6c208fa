/* SPDX-License-Identifier: MIT */
/*
 * A management request. What is taken points into its own text and holds what
 * the command's row allows.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "milter/commands.h"
#include "milter/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_inside(const struct request *r, const char *s)
{
	assert(s >= r->text && s <= r->text + r->text_len);
	assert(strlen(s) <= (size_t)(r->text + r->text_len - s));
}

static void
check_arg(const struct request *r, const struct request_arg *a)
{
	check_inside(r, a->name);
	check_inside(r, a->value);
	assert(strchr(a->value, '\n') == NULL);
	assert(*a->name == '\0' || command_option(r->command, a->name) != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct request r;
	const char *error = NULL;

	if (request_parse(&r, (const char *)data, size, &error)) {
		assert(r.command != NULL && !r.command->local);
		assert(r.n_args <= CONTROL_ARGS_MAX);
		for (size_t i = 0; i < r.n_args; i++)
			check_arg(&r, &r.args[i]);
		assert(r.input + r.input_len == r.text + size);
	} else {
		assert(error != NULL);
	}
	request_clear(&r);
	return 0;
}
