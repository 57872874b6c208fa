/* SPDX-License-Identifier: MIT */
/*
 * The manual and the tables say the same: each option of the configuration
 * stands in txmilter.conf(5) with its default, each header rule in
 * txmilter-headers(7), each bound with its number, the matrix of features, and
 * the other way round.
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

#include "milter/config.h"
#include "milter/metrics.h"
#include "policy/address.h"
#include "policy/api.h"
#include "policy/body.h"
#include "policy/dialect.h"
#include "policy/feature.h"
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
	return strcmp(section, "keys") == 0    ? ".Ss [keys]"
	       : strcmp(section, "route") == 0 ? ".Ss [route NAME]"
					       : ".Ss [api NAME]";
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
	for (size_t d = 0; dialects[d] != NULL; d++) {
		if (dialect_rule(dialects[d], name) != NULL)
			return true;
	}
	return false;
}

static void
test_headers(void **state)
{
	g_autofree char *page = read_page("man/txmilter-headers.7");

	(void)state;
	for (size_t d = 0; dialects[d] != NULL; d++) {
		const struct header_rule *r = dialects[d]->rules;

		for (; r != NULL && r->name != NULL; r++) {
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
		{ "attachments together", BODY_FILES_MAX, " bytes" },
		{ "a whole body that is kept", BODY_RAW_MAX, " bytes" },
		{ "a Content-ID", BODY_CONTENT_ID_MAX, " bytes" },
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

/* The matrix has a row for each feature, and no other. */
static void
test_matrix(void **state)
{
	g_autofree char *page = read_page("man/txmilter-headers.7");
	const char *from = strstr(page, ".Sh WHAT BECOMES OF IT\n");
	const char *end = from ? strstr(from + 1, "\n.Sh ") : NULL;
	g_autofree char *section = NULL;
	g_autoptr(GString) head = g_string_new(".It Em feature");
	size_t rows = 0;

	(void)state;
	assert_non_null(end);
	section = g_strndup(from, (gsize)(end - from));
	for (size_t a = 0; apis[a] != NULL; a++)
		g_string_append_printf(head, " Ta Em %.9s", apis[a]->name);
	g_string_append(head, " Ta Em transport\n");
	if (strstr(section, head->str) == NULL)
		fail_msg("the matrix has no line: %s", head->str);
	for (size_t f = 0; f < FEATURES; f++) {
		g_autoptr(GString) row = g_string_new("");

		g_string_append_printf(row, "\n.It %s", feature_names[f]);
		for (size_t a = 0; apis[a] != NULL; a++)
			g_string_append_printf(
			    row, " Ta %s", support_names[apis[a]->support[f]]);
		g_string_append_printf(row, " Ta %s\n",
				       support_names[feature_of_transport[f]]);
		if (strstr(section, row->str) == NULL)
			fail_msg("the matrix does not say: %s", row->str);
	}
	for (const char *at = section;
	     (at = strstr(at, "\n.It ")) != NULL && strstr(at, " Ta ") != NULL;
	     at++)
		rows++;
	assert_int_equal(rows, FEATURES + 1);
}

/* What the Flexmail API's names are taken for; consent's words. */
static void
test_formats_are_documented(void **state)
{
	g_autofree char *page = read_page("man/txmilter.conf.5");

	(void)state;
	for (size_t i = 0; i < api_flexmail_n_fields; i++) {
		g_autofree char *want = g_strdup_printf(
		    "\n.It %s Ta %s\n", api_flexmail_fields[i].name,
		    api_flexmail_fields[i].path);

		if (strstr(page, want) == NULL)
			fail_msg("the manual does not say:%s", want);
	}
	for (size_t i = 0; apis[i] != NULL; i++) {
		g_autofree char *want =
		    g_strdup_printf("\n.It %s Ta ", apis[i]->name);

		if (strstr(page, want) == NULL)
			fail_msg("the manual has no format %s", apis[i]->name);
	}
	for (const char *const *c = api_consents; *c != NULL; c++) {
		if (strstr(page, *c) == NULL)
			fail_msg("the manual does not say: %s", *c);
	}
}

/* Both ways: what stands in the section is a metric. */
static void
test_metrics_are_documented(void **state)
{
	g_autofree char *page = read_page("man/txmilter.8");
	const char *at = strstr(page, ".Sh METRICS");
	const char *end = at ? strstr(at + 1, "\n.Sh ") : NULL;
	size_t in_table = 0;
	size_t in_page = 0;

	(void)state;
	assert_non_null(end);
	for (; metrics_name(in_table) != NULL; in_table++) {
		g_autofree char *text =
		    item(page, ".Sh METRICS", metrics_name(in_table));

		if (text == NULL)
			fail_msg("%s is not in the manual",
				 metrics_name(in_table));
	}
	while ((at = strstr(at, "\n.It Cm ")) != NULL && at < end) {
		in_page++;
		at++;
	}
	assert_int_equal(in_page, in_table);
}

static const char *
default_of(const char *name)
{
	struct config_option_info o;

	for (size_t i = 0; config_option(i, &o); i++) {
		if (strcmp(o.name, name) == 0)
			return o.default_value;
	}
	fail_msg("no option %s", name);
	return NULL;
}

static void
assert_unit_says(const char *unit, const char *section, const char *key,
		 const char *want)
{
	g_autofree char *file = g_strdup_printf("packaging/systemd/%s", unit);
	g_autoptr(GKeyFile) k = g_key_file_new();
	g_autofree char *value = NULL;

	if (!g_key_file_load_from_file(k, file, G_KEY_FILE_NONE, NULL))
		fail_msg("cannot read %s", file);
	value = g_key_file_get_value(k, section, key, NULL);
	if (value == NULL || strcmp(value, want) != 0)
		fail_msg("%s: %s=%s, wanted %s", file, key,
			 value ? value : "(none)", want);
}

/* The sockets that systemd makes are those that the daemon looks for; that of
 * the milter is libmilter's own. */
static void
test_systemd_units(void **state)
{
	static const char *const passed[] = { "sasl", "lmtp" };
	g_autofree char *sockets = g_strdup("");
	/* As main.c waits, and some time to end. */
	g_autofree char *stop =
	    g_strdup_printf("%d", (CONFIG_SHUTDOWN_TIMEOUT_MAX_MS +
				   CONFIG_CHECK_TIMEOUT_MAX_MS + 2000) /
					  1000 +
				      20);

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(passed); i++) {
		g_autofree char *option =
		    g_strdup_printf("%s_socket", passed[i]);
		g_autofree char *unit =
		    g_strdup_printf("txmilter-%s.socket", passed[i]);
		g_autofree char *before = sockets;

		assert_unit_says(unit, "Socket", "ListenStream",
				 default_of(option) + strlen("unix:"));
		assert_unit_says(unit, "Socket", "SocketGroup",
				 default_of("socket_group"));
		assert_unit_says(unit, "Socket", "SocketMode", "0660");
		assert_unit_says(unit, "Socket", "Service", "txmilter.service");
		sockets =
		    g_strdup_printf("%s%s%s", before, i > 0 ? " " : "", unit);
	}
	assert_unit_says("txmilter.service", "Service", "Sockets", sockets);
	assert_unit_says("txmilter.service", "Install", "Also", sockets);
	assert_unit_says("txmilter.service", "Service", "TimeoutStopSec", stop);
	assert_unit_says("txmilter.service", "Service", "StateDirectory",
			 default_of("state_directory") + strlen("/var/lib/"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options_are_documented),
		cmocka_unit_test(test_metrics_are_documented),
		cmocka_unit_test(test_documented_options_exist),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_matrix),
		cmocka_unit_test(test_formats_are_documented),
		cmocka_unit_test(test_systemd_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
