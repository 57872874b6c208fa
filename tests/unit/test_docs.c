/* SPDX-License-Identifier: MIT */
/*
 * The manual and the tables say the same: each option of the configuration
 * stands in txmilter.conf(5) with its default, each header rule in
 * txmilter-headers(7), each bound with its number, each command and its options
 * in txmilterctl(8) and in the completion for bash, and the other way round.
 * Run from the top directory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "milter/commands.h"
#include "milter/config.h"
#include "milter/ctl_arguments.h"
#include "policy/address.h"
#include "policy/body.h"
#include "policy/dialect.h"
#include "policy/message.h"
#include "policy/mime.h"

/* Not inlined: GCC 12 would see a dangling pointer where none is. */
static char *__attribute__((noinline)) read_page(const char *name)
{
	gchar *text;

	if (!g_file_get_contents(name, &text, NULL, NULL))
		fail_msg("cannot read %s", name);
	return text;
}

/* The text from ".It Cm NAME" in `section` to the next item; free(). */
static char *
item(const char *page, const char *section, const char *name)
{
	g_autofree char *head = g_strdup_printf(".It Cm %s\n", name);
	const char *from = strstr(page, section);
	const char *to = from ? strstr(from + 1, "\n.S") : NULL;
	const char *at = from ? strstr(from, head) : NULL;
	const char *end;

	if (at == NULL || (to != NULL && at > to))
		return NULL;
	end = strstr(at + 1, "\n.It ");
	return end ? g_strndup(at, (gsize)(end - at)) : g_strdup(at);
}

static const char *
heading(const char *section)
{
	if (strcmp(section, "") == 0)
		return ".Ss General options";
	return strcmp(section, "keys") == 0 ? ".Ss [keys]" : ".Ss [api NAME]";
}

static void
test_options_are_documented(void **state)
{
	g_autofree char *page = read_page("man/txmilter.conf.5");
	struct config_option_info o;

	(void)state;
	for (size_t i = 0; config_option(i, &o); i++) {
		g_autofree char *text = item(page, heading(o.section), o.name);
		g_autofree char *want = NULL;

		if (text == NULL)
			fail_msg("[%s] %s is not in the manual", o.section,
				 o.name);
		if (o.default_value == NULL)
			want = g_strdup("Required.");
		else if (o.default_value[0] == '\0')
			want = g_strdup("Default: none.");
		else
			want = g_strdup_printf("Default\n.Ql %s .",
					       o.default_value);
		if (strstr(text, want) == NULL)
			fail_msg("[%s] %s: the manual does not say \"%s\"",
				 o.section, o.name, want);
	}
}

static bool
is_option(const char *name)
{
	struct config_option_info o;

	for (size_t i = 0; config_option(i, &o); i++) {
		if (strcmp(o.name, name) == 0)
			return true;
	}
	return false;
}

/* Calls check for each item of a page. */
static void
each_item(const char *file, bool (*known)(const char *name))
{
	g_autofree char *page = read_page(file);
	g_auto(GStrv) lines = g_strsplit(page, "\n", -1);
	unsigned n = 0;

	for (gchar **l = lines; *l != NULL; l++) {
		if (!g_str_has_prefix(*l, ".It Cm "))
			continue;
		n++;
		if (!known(*l + strlen(".It Cm ")))
			fail_msg("%s: \"%s\" is not in the table", file, *l);
	}
	assert_true(n > 5);
}

static void
test_documented_options_exist(void **state)
{
	(void)state;
	each_item("man/txmilter.conf.5", is_option);
}

static bool
is_header(const char *name)
{
	return dialect_any_rule(name) != NULL;
}

static void
test_headers(void **state)
{
	g_autofree char *page = read_page("man/txmilter-headers.7");

	(void)state;
	for (size_t d = 0; dialects[d] != NULL; d++) {
		for (const struct header_rule *r = dialects[d]->rules; r->name;
		     r++) {
			g_autofree char *want =
			    g_strdup_printf(".It Cm %s\n", r->name);

			if (strstr(page, want) == NULL)
				fail_msg("%s is not in the manual", r->name);
		}
	}
	each_item("man/txmilter-headers.7", is_header);
}

static void
test_bounds(void **state)
{
	static const struct {
		const char *what;
		long bound;
		const char *unit;
	} rows[] = {
		{ "recipients of a message", MESSAGE_RECIPIENTS_MAX, "" },
		{ "headers", MESSAGE_HEADERS_MAX, "" },
		{ "one header", MESSAGE_HEADER_MAX, " bytes" },
		{ "MIME parts", MIME_PARTS_MAX, "" },
		{ "MIME depth", MIME_DEPTH_MAX, "" },
		{ "a boundary", MIME_BOUNDARY_MAX, " bytes" },
		{ "a part's header", MIME_PART_HEADER_MAX, " bytes" },
		{ "a Content-Type", MIME_FIELD_MAX, " bytes" },
		{ "the text that is sent", BODY_KEPT_MAX, " bytes" },
		{ "addresses in a header", ADDRESS_LIST_MAX, "" },
	};
	g_autofree char *page = read_page("man/txmilter-headers.7");

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		g_autofree char *want =
		    g_strdup_printf(".It %s Ta %ld%s\n", rows[i].what,
				    rows[i].bound, rows[i].unit);

		if (strstr(page, want) == NULL)
			fail_msg("the manual does not say: %s", want);
	}
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
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options_are_documented),
		cmocka_unit_test(test_documented_options_exist),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_completion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
