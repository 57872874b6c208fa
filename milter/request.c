/* SPDX-License-Identifier: MIT */
#include "request.h"

#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "crypto.h"
#include "need.h"

/* Takes a line off the text and ends it; NULL when there is no line end. */
static char *
take_line(char **at, const char *end)
{
	char *line = *at;
	char *lf = memchr(line, '\n', (size_t)(end - line));

	if (lf == NULL || memchr(line, '\0', (size_t)(lf - line)) != NULL)
		return NULL;
	*lf = '\0';
	*at = lf + 1;
	return line;
}

/* What stands behind `word` and a blank, or NULL. */
static char *
after_word(char *line, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(line, word, n) != 0 || line[n] != ' ')
		return NULL;
	return line + n + 1;
}

static const char *
add_arg(struct request *r, char *text)
{
	char *value = strchr(text, '=');
	const struct command_option *o;

	if (value == NULL)
		return "an argument without \"=\"";
	if (r->n_args == CONTROL_ARGS_MAX)
		return "too many arguments";
	*value++ = '\0';
	if (*text != '\0') {
		o = command_option(r->command, text);
		if (o == NULL)
			return "the command has no such option";
		if (!o->many && request_has(r, text))
			return "an option is given twice";
	}
	r->args[r->n_args++] =
	    (struct request_arg){ .name = text, .value = value };
	return NULL;
}

static const char *
parse_line(struct request *r, char *line)
{
	char *value;

	if ((value = after_word(line, "command")) != NULL) {
		if (r->command != NULL)
			return "a second command";
		r->command = command_find(value);
		return r->command ? NULL : "there is no such command";
	}
	if (r->command == NULL)
		return "no command in the first line";
	if ((value = after_word(line, "format")) != NULL) {
		r->json = strcmp(value, "json") == 0;
		return r->json || strcmp(value, "text") == 0
			   ? NULL
			   : "the format is text or json";
	}
	if ((value = after_word(line, "arg")) != NULL)
		return add_arg(r, value);
	return "a line that is not of the protocol";
}

bool
request_parse(struct request *r, const char *text, size_t len,
	      const char **error_r)
{
	const char *end;
	char *at, *line;

	memset(r, 0, sizeof(*r));
	*error_r = "it does not end with an empty line";
	r->text = need(malloc(len + 1));
	memcpy(r->text, text, len);
	r->text[len] = '\0';
	r->text_len = len;
	at = r->text;
	end = at + len;
	while ((line = take_line(&at, end)) != NULL && *line != '\0') {
		*error_r = parse_line(r, line);
		if (*error_r != NULL)
			return false;
		*error_r = "it does not end with an empty line";
	}
	if (line == NULL)
		return false;
	*error_r = "no command";
	if (r->command == NULL || r->command->local)
		return false;
	r->input = at;
	r->input_len = (size_t)(end - at);
	return true;
}

void
request_clear(struct request *r)
{
	if (r->text != NULL)
		crypto_wipe(r->text, r->text_len);
	free(r->text);
	memset(r, 0, sizeof(*r));
}

const char *
request_option_at(const struct request *r, const char *name, size_t i)
{
	for (size_t k = 0; k < r->n_args; k++) {
		if (strcmp(r->args[k].name, name) == 0 && i-- == 0)
			return r->args[k].value;
	}
	return NULL;
}

const char *
request_option(const struct request *r, const char *name)
{
	return request_option_at(r, name, 0);
}

const char *
request_operand(const struct request *r, size_t i)
{
	return request_option_at(r, "", i);
}

bool
request_has(const struct request *r, const char *name)
{
	return request_option(r, name) != NULL;
}
