/* SPDX-License-Identifier: MIT */
/*
 * A message in one of the dialects, judged for an account. The first byte
 * chooses the dialect: the first letter of its name, or else a number. Fields
 * that begin with "X-Fuzz-" are not the message's:
 *   X-Fuzz-Rcpt     a recipient of the envelope
 *   X-Fuzz-Routes   as many routes as the value has bytes
 *   X-Fuzz-Login    a user name
 *
 * What is handed over must be what outgoing.h says, and its body the same when
 * only the body is read again (dialect_read_body).
 */
#include <assert.h>
#include <gmime/gmime.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "policy/account.h"
#include "policy/address.h"
#include "policy/body.h"
#include "policy/dialect.h"
#include "policy/json_text.h"
#include "policy/judge.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/route.h"
#include "policy/utf8.h"
#include "tests/fuzz/field.h"

static const struct route_list no_routes = { 0 };

#define ROUTES_MAX 9
/* Each is compared with each. */
#define COMPARED_MAX 64

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- the input as a message ---------------------------------------------- */

static const struct dialect *
choose(uint8_t byte)
{
	size_t n = 0;

	for (; dialects[n] != NULL; n++) {
		if (dialects[n]->name[0] == (char)byte)
			return dialects[n];
	}
	return dialects[byte % n];
}

static void
check_text(const char *s)
{
	size_t len;

	if (s == NULL)
		return;
	len = strlen(s);
	assert(utf8_valid_prefix(s, len) == len);
	assert(utf8_is_printable(s, len));
}

static void
check_login(const struct dialect *d, const char *user, size_t len)
{
	static const char *const expected[] = { NULL, "SMTP_Injection" };

	for (size_t i = 0; d->login != NULL && i < 2; i++) {
		char subaccount[SUBACCOUNT_MAX + 1] = "";

		if (d->login(user, len, expected[i], subaccount) == NULL)
			assert(memchr(subaccount, '\0', sizeof(subaccount)));
		check_text(subaccount);
	}
}

static void
give_field(struct message *m, struct account *a, const struct dialect *d,
	   const struct field *f)
{
	char *name = strndup(f->name, f->name_len);
	char *value = exact(f->value, f->value_len);
	char *text = strndup(f->value, f->value_len);

	assert(name != NULL && text != NULL);
	if (is_named(f, "X-Fuzz-Rcpt"))
		message_recipient(m, text);
	else if (is_named(f, "X-Fuzz-Login"))
		check_login(d, value, f->value_len);
	else if (is_named(f, "X-Fuzz-Routes"))
		for (size_t i = 1; i < f->value_len && i < ROUTES_MAX; i++)
			account_add_route(a, (char[]){ (char)('0' + i), 0 },
					  "");
	else
		message_header(m, name, value, f->value_len);
	free(name);
	free(value);
	free(text);
}

static struct message *
read_message(const struct dialect *d, struct account *a, const char *data,
	     size_t len)
{
	struct message *m = message_new("sender@example.com");
	unsigned wants = BODY_WANT_TEXT | BODY_WANT_AMP | BODY_WANT_FILES;
	struct field f;
	size_t n;

	message_recipient(m, "r@example.com");
	for (; len > 0 && (n = next_field(data, len, &f)) > 0;
	     data += n, len -= n)
		give_field(m, a, d, &f);
	message_want(m, d->choose != NULL ? wants : d->body_wants);
	n = len > 0 && *data == '\n';
	data = exact(data + n, len - n);
	(void)message_body(m, data, len - n);
	free((void *)(uintptr_t)data);
	return m;
}

/* --- what must be true of a verdict -------------------------------------- */

static void
check_reply(const struct smtp_reply *r)
{
	assert(r->code >= 400 && r->code <= 599);
	assert(r->enhanced[0] == '0' + r->code / 100);
	assert(r->text[0] != '\0');
	check_text(r->text);
}

static void
check_object(const char *text)
{
	char error[128];

	if (text != NULL)
		assert(json_check_object(text, strlen(text), error,
					 sizeof(error)) == NULL);
}

static void
check_labels(const char *text)
{
	json_t *root = text ? json_loads(text, 0, NULL) : NULL;
	json_t *item;
	size_t i;

	assert(text == NULL || json_is_array(root));
	json_array_foreach(root, i, item)
	{
		assert(json_is_string(item));
	}
	json_decref(root);
}

static bool
is_json(const char *name)
{
	return strcmp(name, "labels") == 0 || strcmp(name, "metadata") == 0 ||
	       strcmp(name, "variables") == 0;
}

static void
check_strings(const struct outgoing *o)
{
	assert(o->from_name != NULL && o->return_path != NULL);
	assert(o->from_email != NULL && strchr(o->from_email, '@') != NULL);
	assert(o->route_id != NULL && o->route == NULL);
	for (size_t i = 0; i < outgoing_n_strings; i++) {
		if (!is_json(outgoing_strings[i].name))
			check_text(outgoing_string(o, i));
	}
	check_labels(o->labels);
	check_object(o->metadata);
	check_object(o->variables);
	for (size_t i = 0; i < outgoing_n_switches; i++)
		assert(outgoing_switch_is(o, i) <= SWITCH_OFF);
	for (size_t i = 0; i < FEATURES; i++)
		check_text(o->asked[i]);
}

static void
check_recipients(const struct outgoing *o)
{
	assert(o->n_recipients >= 1);
	assert(o->n_recipients <= OUTGOING_RECIPIENTS_MAX);
	for (size_t i = 0; i < o->n_recipients; i++) {
		const struct outgoing_recipient *r = &o->recipients[i];

		assert(address_is_plain(r->email));
		check_text(r->name);
		assert(r->kind < OUTGOING_KINDS);
		for (size_t k = 0; k < i && i < COMPARED_MAX; k++)
			assert(strcasecmp(o->recipients[k].email, r->email) !=
			       0);
	}
}

/* What has a meaning of its own, or must not leave, is not among them. */
static void
check_headers(const struct dialect *d, const struct outgoing *o)
{
	assert(d->keeps_others || o->n_headers == 0);
	for (size_t i = 0; i < o->n_headers; i++) {
		assert(dialect_rule(d, o->headers[i].name) == NULL);
		assert(!dialect_is_control(o->headers[i].name));
		assert(strncasecmp(o->headers[i].name, "Content-", 8) != 0);
		check_text(o->headers[i].value);
	}
}

static void
check_part(const char *text, size_t len)
{
	assert(text == NULL || strlen(text) == len);
	assert(text == NULL || utf8_valid_prefix(text, len) == len);
}

static void
check_body(const struct outgoing *o)
{
	assert(o->html != NULL || o->text != NULL || o->amp != NULL ||
	       o->template_id != NULL);
	assert(!o->text_is_made || (o->html != NULL && o->text != NULL));
	check_part(o->html, o->html_len);
	check_part(o->text, o->text_len);
	check_part(o->amp, o->amp_len);
	for (size_t i = 0; i < o->n_files; i++) {
		assert(o->files[i].name[0] != '\0');
		check_text(o->files[i].name);
		check_text(o->files[i].type);
		check_text(o->files[i].content_id);
	}
}

static void
check_same(const char *a, size_t a_len, const char *b, size_t b_len)
{
	assert((a == NULL) == (b == NULL) && a_len == b_len);
	assert(a == NULL || memcmp(a, b, a_len) == 0);
}

/* As the agent of the queue does it. */
static void
check_body_again(const struct dialect *d, const struct outgoing *o,
		 const char *data, size_t len)
{
	struct account *a = account_new("acme");
	struct message *m = read_message(d, a, data, len);
	struct outgoing *again = outgoing_new();
	struct smtp_reply refusal = { 0 };

	for (size_t i = 0; i < outgoing_n_strings; i++) {
		const char *s = outgoing_string(o, i);

		*outgoing_string_at(again, i) = s ? strdup(s) : NULL;
	}
	assert(dialect_read_body(d, m, again, &refusal));
	check_same(o->html, o->html_len, again->html, again->html_len);
	check_same(o->text, o->text_len, again->text, again->text_len);
	check_same(o->amp, o->amp_len, again->amp, again->amp_len);
	assert(o->n_files == again->n_files);
	for (size_t i = 0; i < o->n_files; i++)
		check_same(o->files[i].data, o->files[i].len,
			   again->files[i].data, again->files[i].len);
	outgoing_free(&again);
	message_free(&m);
	account_free(&a);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	g_mime_init();
	json_text_init();
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	const struct dialect *d = size > 0 ? choose(data[0]) : NULL;
	struct account *a;
	struct message *m;
	struct verdict v;

	if (d == NULL)
		return 0;
	a = account_new("acme");
	account_add_route(a, "0", "main");
	m = read_message(d, a, text, size - 1);
	judge(m, a, d, &no_routes, &v);
	if (v.kind == VERDICT_REFUSE) {
		assert(v.outgoing == NULL);
		check_reply(&v.reply);
	} else {
		assert(v.dialect != NULL && v.dialect->choose == NULL);
		check_strings(v.outgoing);
		check_recipients(v.outgoing);
		check_headers(v.dialect, v.outgoing);
		check_body(v.outgoing);
		check_body_again(v.dialect, v.outgoing, text, size - 1);
	}
	verdict_clear(&v);
	message_free(&m);
	account_free(&a);
	return 0;
}
