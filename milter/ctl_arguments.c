/* SPDX-License-Identifier: MIT */
#include "ctl_arguments.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A command's name is one or two words. */
#define NAME_MAX_LEN 64

enum own { OWN_CONFIG, OWN_SOCKET, OWN_JSON, OWN_HELP, OWN_VERSION };

static const struct command_option own_options[] = {
	[OWN_CONFIG] = { "c", "FILE", false,
			 "the configuration "
			 "(/etc/txmilter/txmilter.conf)" },
	[OWN_SOCKET] = { "s", "SOCKET", false,
			 "the daemon's milter socket, instead of the "
			 "configuration's" },
	[OWN_JSON] = { "json", NULL, false, "print JSON" },
	[OWN_HELP] = { "help", NULL, false,
		       "explain the program or a command" },
	[OWN_VERSION] = { "version", NULL, false, "print the version" },
};

#define N_OWN (sizeof(own_options) / sizeof(own_options[0]))

/* Where in argv we are. */
struct scan {
	int argc, i;
	char *const *argv;
	struct ctl_arguments *a;
	bool only_words; /* behind "--" */
	char **error_r;
};

const struct command_option *
ctl_own_option(size_t i)
{
	return i < N_OWN ? &own_options[i] : NULL;
}

static bool fail(struct scan *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* False, for the caller to return. */
static bool
fail(struct scan *s, const char *fmt, ...)
{
	const struct command *c = s->a->command;
	char *what;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&what, fmt, ap) < 0)
		abort();
	va_end(ap);
	if (asprintf(s->error_r, "%s; see txmilterctl %s%s--help", what,
		     c ? c->name : "", c ? " " : "") < 0)
		abort();
	free(what);
	return false;
}

static bool
asks_for_help(const char *arg)
{
	return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

/* What follows "key " in the names of commands: "add, import, ..."; "" when
 * nothing does. */
static void
list_group(const char *word, char *dst, size_t size)
{
	size_t n = strlen(word), len = 0;
	const struct command *c;

	*dst = '\0';
	for (size_t i = 0; (c = command_at(i)) != NULL; i++) {
		int k;

		if (strncmp(c->name, word, n) != 0 || c->name[n] != ' ')
			continue;
		k = snprintf(dst + len, size - len, "%s%s", len ? ", " : "",
			     c->name + n + 1);
		if (k < 0 || (size_t)k >= size - len)
			abort();
		len += (size_t)k;
	}
}

static bool
take_group(struct scan *s, const char *word)
{
	char members[512];

	list_group(word, members, sizeof(members));
	if (*members == '\0')
		return fail(s, "there is no command \"%s\"", word);
	for (int i = s->i + 1; i < s->argc; i++) {
		if (!asks_for_help(s->argv[i]))
			continue;
		s->a->help = true;
		s->a->group = word;
		s->i = s->argc;
		return true;
	}
	return fail(s, "\"%s\" is followed by one of: %s", word, members);
}

static bool
take_command(struct scan *s, const char *word)
{
	const char *next = s->i + 1 < s->argc ? s->argv[s->i + 1] : "-";
	char name[NAME_MAX_LEN];
	int n = snprintf(name, sizeof(name), "%s %s", word, next);

	if (n > 0 && (size_t)n < sizeof(name))
		s->a->command = command_find(name);
	if (s->a->command != NULL) {
		s->i++;
		return true;
	}
	s->a->command = command_find(word);
	return s->a->command != NULL || take_group(s, word);
}

static bool
take_word(struct scan *s, const char *word)
{
	struct ctl_arguments *a = s->a;

	if (a->command == NULL)
		return take_command(s, word);
	if (a->n_operands == CONTROL_ARGS_MAX)
		return fail(s, "more than %d operands", CONTROL_ARGS_MAX);
	a->operands[a->n_operands++] = word;
	return true;
}

/* How a person writes the option. */
static const char *
dashes(const char *name)
{
	return name[1] == '\0' ? "-" : "--";
}

static void
set_own(struct ctl_arguments *a, const struct command_option *o,
	const char *value)
{
	switch ((enum own)(o - own_options)) {
	case OWN_CONFIG:
		a->config_file = value;
		break;
	case OWN_SOCKET:
		a->socket = value;
		break;
	case OWN_JSON:
		a->json = true;
		break;
	case OWN_HELP:
		a->help = true;
		break;
	case OWN_VERSION:
		a->version = true;
		break;
	}
}

static bool
set_option(struct scan *s, const struct command_option *o, const char *value)
{
	struct ctl_arguments *a = s->a;

	if (o >= own_options && o < own_options + N_OWN) {
		set_own(a, o, value);
		return true;
	}
	if (!o->many && ctl_arguments_option(a, o->name) != NULL)
		return fail(s, "%s%s is given twice", dashes(o->name), o->name);
	if (a->n_options == CONTROL_ARGS_MAX)
		return fail(s, "more than %d options", CONTROL_ARGS_MAX);
	a->options[a->n_options++] = (struct ctl_option){ o, value };
	return true;
}

static const struct command_option *
find_option(const struct scan *s, const char *name)
{
	const struct command *c = s->a->command;
	const struct command_option *o = c ? command_option(c, name) : NULL;

	for (size_t i = 0; o == NULL && i < N_OWN; i++) {
		if (strcmp(own_options[i].name, name) == 0)
			o = &own_options[i];
	}
	return o;
}

/* attached: what stands behind it in the same word; NULL: nothing. */
static bool
take_option(struct scan *s, const char *name, const char *attached)
{
	const struct command_option *o = find_option(s, name);
	const char *d = dashes(name);

	if (o == NULL && s->a->command == NULL)
		return fail(s,
			    "%s%s is no option of the program; those of a "
			    "command stand behind it",
			    d, name);
	if (o == NULL)
		return fail(s, "%s has no option %s%s", s->a->command->name, d,
			    name);
	if (o->value == NULL && attached != NULL)
		return fail(s, "%s%s takes no value", d, name);
	if (o->value == NULL)
		return set_option(s, o, "");
	if (attached == NULL && s->i + 1 == s->argc)
		return fail(s, "%s%s needs a value, %s", d, name, o->value);
	return set_option(s, o, attached ? attached : s->argv[++s->i]);
}

/* "--name", "--name=value". */
static bool
take_long(struct scan *s, const char *text)
{
	char name[NAME_MAX_LEN];
	size_t n = strcspn(text, "=");

	if (n == 0 || n >= sizeof(name))
		return fail(s, "there is no option --%.*s", NAME_MAX_LEN, text);
	memcpy(name, text, n);
	name[n] = '\0';
	return take_option(s, name, text[n] == '=' ? text + n + 1 : NULL);
}

/* "-n", "-n value", "-nvalue". */
static bool
take_short(struct scan *s, const char *text)
{
	const char name[] = { text[0], '\0' };
	const char *attached = text[1] != '\0' ? text + 1 : NULL;

	if (strcmp(text, "h") == 0)
		return take_option(s, "help", NULL);
	if (strcmp(text, "V") == 0)
		return take_option(s, "version", NULL);
	return take_option(s, name, attached);
}

static bool
take_argument(struct scan *s, const char *arg)
{
	if (s->only_words || arg[0] != '-' || arg[1] == '\0')
		return take_word(s, arg);
	if (arg[1] != '-')
		return take_short(s, arg + 1);
	if (arg[2] == '\0') {
		s->only_words = true;
		return true;
	}
	return take_long(s, arg + 2);
}

/* How many operands there must and may be, by a usage like "A [B ...]". */
static void
count_operands(const char *usage, size_t *min_r, size_t *max_r)
{
	*min_r = *max_r = 0;
	for (const char *p = usage; *p != '\0'; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");

		if (memmem(p, n, "...", 3) != NULL)
			*max_r = CONTROL_ARGS_MAX;
		else if (*max_r != CONTROL_ARGS_MAX)
			(*max_r)++;
		if (*p != '[' && memmem(p, n, "...", 3) == NULL)
			(*min_r)++;
		p += n;
	}
}

/* Where an operand is one of some words: "on|off". */
static bool
is_choice(const char *usage, const char *word)
{
	size_t n = strlen(word);

	if (strchr(usage, '|') == NULL)
		return true;
	for (const char *p = usage; *p != '\0'; p += *p == '|') {
		size_t one = strcspn(p, "|");

		if (one == n && memcmp(p, word, n) == 0)
			return true;
		p += one;
	}
	return false;
}

static bool
check_operands(struct scan *s)
{
	const struct ctl_arguments *a = s->a;
	const struct command *c = a->command;
	size_t min, max;

	count_operands(c->operands, &min, &max);
	if (a->n_operands < min)
		return fail(s, "%s needs %s", c->name, c->operands);
	if (a->n_operands > max && max == 0)
		return fail(s, "%s takes no operand: \"%s\"", c->name,
			    a->operands[0]);
	if (a->n_operands > max)
		return fail(s, "one operand too many: \"%s\"",
			    a->operands[max]);
	for (size_t i = 0; i < a->n_operands; i++) {
		if (!is_choice(c->operands, a->operands[i]))
			return fail(s, "\"%s\" is not one of %s",
				    a->operands[i], c->operands);
	}
	return true;
}

bool
ctl_arguments_parse(int argc, char *const *argv, struct ctl_arguments *a_r,
		    char **error_r)
{
	struct scan s = {
		.argc = argc, .argv = argv, .a = a_r, .error_r = error_r
	};

	memset(a_r, 0, sizeof(*a_r));
	for (s.i = 1; s.i < argc; s.i++) {
		if (!take_argument(&s, argv[s.i]))
			return false;
	}
	if (a_r->help || a_r->version)
		return true;
	if (a_r->command == NULL)
		return fail(&s, "which command?");
	return check_operands(&s);
}

const char *
ctl_arguments_option(const struct ctl_arguments *a, const char *name)
{
	for (size_t i = 0; i < a->n_options; i++) {
		if (strcmp(a->options[i].option->name, name) == 0)
			return a->options[i].value;
	}
	return NULL;
}
