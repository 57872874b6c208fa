/* SPDX-License-Identifier: MIT */
#include "dialect_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <gmime/gmime.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/account.h"
#include "policy/dialect.h"
#include "policy/dynbuf.h"
#include "policy/json_text.h"
#include "policy/judge.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/route.h"

#define LINES_MAX 1000000

static const struct route_list no_routes = { 0 };

/* --- a row as a message -------------------------------------------------- */

/* As libmilter gives them: folds are LF and white space, one blank behind the
 * colon is gone. */
static void
give_headers(struct message *m, const char *text)
{
	while (*text != '\0') {
		size_t name = strcspn(text, ":");
		const char *value = text + name + 1;
		const char *end = strchr(value, '\n');
		char *n = strndup(text, name);

		value += *value == ' ';
		while (end != NULL && (end[1] == ' ' || end[1] == '\t'))
			end = strchr(end + 1, '\n');
		assert_non_null(end);
		assert_non_null(n);
		message_header(m, n, value, (size_t)(end - value));
		free(n);
		text = end + 1;
	}
}

static void
give_body(struct message *m, const char *body)
{
	gchar **lines = g_strsplit(body, "\n", -1);
	gchar *text = g_strjoinv("\r\n", lines);

	(void)message_body(m, text, strlen(text));
	g_free(text);
	g_strfreev(lines);
}

static struct account *
account_of(const struct dialect_row *row)
{
	gchar **senders = g_strsplit(row->senders ? row->senders : "", " ", -1);
	struct account *a = account_new("acme");

	for (size_t i = 0; i < (row->n_routes ? row->n_routes : 1); i++) {
		char id[8];

		assert_true(snprintf(id, sizeof(id), "r%zu", i + 1) > 0);
		assert_true(account_add_route(a, id, ""));
	}
	for (gchar **s = senders; *s != NULL; s++)
		assert_true(account_add_sender(a, *s));
	g_strfreev(senders);
	return a;
}

static void
judge_row(const struct dialect *d, const struct dialect_row *row,
	  struct verdict *v)
{
	struct account *a = account_of(row);
	struct message *m = message_new("bounce@example.com");
	gchar **rcpts =
	    g_strsplit(row->rcpts ? row->rcpts : "r@example.com", " ", -1);

	for (gchar **r = rcpts; *r != NULL; r++)
		message_recipient(m, *r);
	give_headers(m, row->headers);
	message_want(m, d->body_wants);
	give_body(m, row->body ? row->body : "<p>x");
	judge(m, a, d, &no_routes, v);
	g_strfreev(rcpts);
	message_free(&m);
	account_free(&a);
}

/* --- what is handed over, as lines --------------------------------------- */

static void
add_text(struct dynbuf *out, const char *name, const char *value)
{
	if (value != NULL)
		dynbuf_addf(out, "%s: %s\n", name, value);
}

static void
add_strings(struct dynbuf *out, const struct outgoing *o)
{
	static const char *const states[] = { NULL, "on", "off" };

	for (size_t i = 0; i < outgoing_n_strings; i++)
		add_text(out, outgoing_strings[i].name, outgoing_string(o, i));
	for (size_t i = 0; i < outgoing_n_switches; i++)
		add_text(out, outgoing_switches[i].name,
			 states[outgoing_switch_is(o, i)]);
	for (int f = 0; f < FEATURES; f++) {
		if (o->asked[f] != NULL)
			dynbuf_addf(out, "%s for %s: %s\n",
				    o->wished[f] ? "wishes" : "asks",
				    feature_names[f], o->asked[f]);
	}
}

static void
add_file(struct dynbuf *out, const struct body_file *f)
{
	dynbuf_addf(out, "file %s: %s, %zu bytes", f->name, f->type, f->len);
	if (f->is_inline)
		dynbuf_addf(out, ", inline %s",
			    f->content_id ? f->content_id : "");
	dynbuf_adds(out, "\n");
}

static void
check_len(const char *text, size_t len)
{
	assert_int_equal(len, text != NULL ? strlen(text) : 0);
}

static void
add_lines(struct dynbuf *out, const struct outgoing *o)
{
	check_len(o->html, o->html_len);
	check_len(o->text, o->text_len);
	check_len(o->amp, o->amp_len);
	dynbuf_adds(out, "\n");
	add_strings(out, o);
	for (size_t i = 0; i < o->n_recipients; i++)
		dynbuf_addf(out, "%s: %s (%s)\n",
			    outgoing_kinds[o->recipients[i].kind],
			    o->recipients[i].email, o->recipients[i].name);
	for (size_t i = 0; i < o->n_headers; i++)
		dynbuf_addf(out, "header %s: %s\n", o->headers[i].name,
			    o->headers[i].value);
	add_text(out, "html", o->html);
	add_text(out, "text", o->text);
	add_text(out, "text is made", o->text_is_made ? "yes" : NULL);
	add_text(out, "text is flowed", o->text_is_flowed ? "yes" : NULL);
	add_text(out, "amp", o->amp);
	for (size_t i = 0; i < o->n_files; i++)
		add_file(out, &o->files[i]);
}

static bool
has_lines(const char *lines, const char *want)
{
	gchar **each = g_strsplit(want, "\n", -1);
	bool ok = true;

	for (gchar **w = each; *w != NULL; w++) {
		gchar *line = g_strconcat("\n", *w, "\n", NULL);

		ok = ok && strstr(lines, line) != NULL;
		g_free(line);
	}
	g_strfreev(each);
	return ok;
}

static bool
has_line_with(const char *lines, const char *begin)
{
	gchar *line = g_strconcat("\n", begin, NULL);
	bool has = strstr(lines, line) != NULL;

	g_free(line);
	return has;
}

/* --- checking ------------------------------------------------------------ */

static bool
is_as_wanted(const struct dialect_row *row, const struct verdict *v,
	     struct dynbuf *got)
{
	if (v->kind == VERDICT_REFUSE) {
		dynbuf_addf(got, "%d %s %s", v->reply.code, v->reply.enhanced,
			    v->reply.text);
		return row->refusal != NULL && v->outgoing == NULL &&
		       strcmp(dynbuf_str(got), row->refusal) == 0;
	}
	add_lines(got, v->outgoing);
	return row->refusal == NULL && !got->overflow &&
	       (row->want == NULL || has_lines(dynbuf_str(got), row->want)) &&
	       (row->lacks == NULL ||
		!has_line_with(dynbuf_str(got), row->lacks));
}

void
dialect_check_rows(const struct dialect *d, const struct dialect_row *rows,
		   size_t n)
{
	unsigned bad = 0;

	for (size_t i = 0; i < n; i++) {
		struct verdict v;
		DYNBUF_AUTO got;

		dynbuf_init(&got, LINES_MAX);
		judge_row(d, &rows[i], &v);
		if (!is_as_wanted(&rows[i], &v, &got)) {
			printf("%s: %s\n", rows[i].name, dynbuf_str(&got));
			bad++;
		}
		verdict_clear(&v);
	}
	assert_int_equal(bad, 0);
}

int
dialect_scene_setup(void **state)
{
	(void)state;
	g_mime_init();
	json_text_init();
	return 0;
}
