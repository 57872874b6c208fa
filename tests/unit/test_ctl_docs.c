/* SPDX-License-Identifier: MIT */
/*
 * Each command and each of its options stands in txmilterctl(8) and in the
 * completion for bash, and the other way round. Run from the top directory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glib.h>
#include <string.h>

#include "milter/commands.h"
#include "milter/ctl_arguments.h"

/* Not inlined: GCC 12 would see a dangling pointer where none is. */
static char *__attribute__((noinline)) read_page(const char *name)
{
	gchar *text;

	if (!g_file_get_contents(name, &text, NULL, NULL))
		fail_msg("cannot read %s", name);
	return text;
}

/* "Fl -account Ar NAME", as the manual has it. */
static char *
as_flag(const struct command_option *o)
{
	return g_strdup_printf("\n.It Fl %s%s%s%s", o->name[1] ? "-" : "",
			       o->name, o->value ? " Ar " : "",
			       o->value ? o->value : "");
}

/* The text from a command's item to the next command's; free(). */
static char *
command_item(const char *page, const struct command *c)
{
	g_autofree char *head =
	    g_strdup_printf("\n.It Cm %s%s%s\n", c->name,
			    *c->operands ? " Ar " : "", c->operands);
	const char *at = strstr(page, head);
	const char *end = at ? strstr(at + 1, "\n.It Cm ") : NULL;

	if (at != NULL && end == NULL)
		end = strstr(at, "\n.Sh ");
	return at ? g_strndup(at, (gsize)(end - at)) : NULL;
}

static unsigned
count(const char *text, const char *what)
{
	unsigned n = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}

static void
check_command(const char *page, const struct command *c)
{
	g_autofree char *text = command_item(page, c);
	unsigned n = 0;

	if (text == NULL)
		fail_msg("%s %s is not in the manual", c->name, c->operands);
	for (size_t i = 0; i < COMMAND_OPTIONS_MAX; i++) {
		g_autofree char *flag = NULL;

		if (c->options[i].name == NULL)
			continue;
		n++;
		flag = as_flag(&c->options[i]);
		if (strstr(text, flag) == NULL)
			fail_msg("%s:%s is not in the manual", c->name, flag);
	}
	if (count(text, "\n.It Fl ") != n)
		fail_msg("%s: the manual has an option that is none", c->name);
}

static void
test_commands(void **state)
{
	g_autofree char *page = read_page("man/txmilterctl.8");
	const struct command_option *o;
	const struct command *c;
	unsigned n = 0;

	(void)state;
	for (size_t i = 0; (c = command_at(i)) != NULL; i++, n++)
		check_command(page, c);
	assert_int_equal(count(page, "\n.It Cm "), n);
	/* The program's own stand above the commands. */
	*strstr(page, ".Sh COMMANDS") = '\0';
	n = 0;
	for (size_t i = 0; (o = ctl_own_option(i)) != NULL; i++, n++) {
		g_autofree char *flag = as_flag(o);

		if (strstr(page, flag) == NULL)
			fail_msg("%s is not in the manual", flag);
	}
	assert_int_equal(count(page, "\n.It Fl "), n);
}

static void
test_completion(void **state)
{
	g_autofree char *page = read_page("packaging/completion/txmilterctl");
	g_autoptr(GString) want = g_string_new("\n_txmilterctl_table='\n");
	const struct command_option *o;
	const struct command *c;

	(void)state;
	for (size_t i = 0; (c = command_at(i)) != NULL; i++) {
		g_string_append_printf(want, "%s:", c->name);
		for (size_t k = 0; k < COMMAND_OPTIONS_MAX; k++) {
			o = &c->options[k];
			if (o->name != NULL)
				g_string_append_printf(want, " %s%s",
						       o->name[1] ? "--" : "-",
						       o->name);
		}
		g_string_append(want, "\n");
	}
	g_string_append(want, "'\n");
	if (strstr(page, want->str) == NULL)
		fail_msg("the completion has not this: %s", want->str);
	g_string_assign(want, "local own='");
	for (size_t i = 0; (o = ctl_own_option(i)) != NULL; i++)
		g_string_append_printf(want, "%s%s%s", i ? " " : "",
				       o->name[1] ? "--" : "-", o->name);
	g_string_append(want, "'\n");
	assert_non_null(strstr(page, want->str));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_completion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
