/* SPDX-License-Identifier: MIT */
/*
 * A whole message: header and body, judged for an account, and the pieces of
 * the API request. The input is fed whole, in odd pieces and byte by byte; the
 * verdict must not depend on that.
 *
 * Header fields that begin with "X-Fuzz-" are not the message's:
 *   X-Fuzz-Sender, X-Fuzz-Rcpt   the envelope (more recipients are allowed)
 *   X-Fuzz-Routes                as many routes as the value has bytes
 *
 * What would be handed over is requeued too, to an API and to a transport.
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
#include "policy/api.h"
#include "policy/body.h"
#include "policy/dialect.h"
#include "policy/dynbuf.h"
#include "policy/edits.h"
#include "policy/json_text.h"
#include "policy/judge.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/quoted_printable.h"
#include "policy/requeue.h"
#include "policy/route.h"
#include "policy/utf8.h"

static const struct route_list no_routes = { 0 };

#define ROUTES_MAX 9
/* Byte by byte is slow: only for inputs that are not larger. */
#define SINGLE_MAX 8192

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct field {
	const char *name;
	size_t name_len;
	const char *value;
	size_t value_len;
};

/* --- the input as a message ----------------------------------------------- */

static size_t
line_len(const char *data, size_t len)
{
	const char *lf = memchr(data, '\n', len);

	return lf != NULL ? (size_t)(lf - data) + 1 : len;
}

/* Reads one field with its folds; its length, or 0 when the header is over. */
static size_t
next_field(const char *data, size_t len, struct field *f)
{
	size_t end = line_len(data, len);
	const char *colon;

	while (end < len && (data[end] == ' ' || data[end] == '\t'))
		end += line_len(data + end, len - end);
	colon = memchr(data, ':', end);
	if (colon == NULL || colon == data ||
	    memchr(data, '\0', (size_t)(colon - data)) != NULL)
		return 0;
	*f = (struct field){
		.name = data,
		.name_len = (size_t)(colon - data),
		.value = colon + 1,
		.value_len = end - (size_t)(colon - data) - 1,
	};
	while (f->value_len > 0 && (f->value[f->value_len - 1] == '\n' ||
				    f->value[f->value_len - 1] == '\r'))
		f->value_len--;
	/* Postfix gives a milter the value without its first blank. */
	if (f->value_len > 0 && f->value[0] == ' ') {
		f->value++;
		f->value_len--;
	}
	return end;
}

/* An exact copy: a byte read behind it is seen. */
static char *
exact(const char *data, size_t len)
{
	char *c = malloc(len != 0 ? len : 1);

	assert(c != NULL);
	memcpy(c, data, len);
	return c;
}

static bool
is_named(const struct field *f, const char *name)
{
	return f->name_len == strlen(name) &&
	       strncasecmp(f->name, name, f->name_len) == 0;
}

static void
give_field(struct message *m, struct account *a, const struct field *f)
{
	char *name = strndup(f->name, f->name_len);
	char *value = exact(f->value, f->value_len);
	char *text = strndup(f->value, f->value_len);

	assert(name != NULL && text != NULL);
	if (is_named(f, "X-Fuzz-Rcpt"))
		message_recipient(m, text);
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

/* The envelope sender stands anywhere in the header. */
static struct message *
open_message(const char *data, size_t len)
{
	struct message *m = NULL;
	struct field f;
	size_t n;

	for (; m == NULL && len > 0 && (n = next_field(data, len, &f)) > 0;
	     data += n, len -= n) {
		char *sender = strndup(f.value, f.value_len);

		assert(sender != NULL);
		if (is_named(&f, "X-Fuzz-Sender"))
			m = message_new(sender);
		free(sender);
	}
	return m != NULL ? m : message_new("sender@example.com");
}

/* --- what must be true of edits --------------------------------------------
 */

static unsigned
count_named(const struct message *m, const char *name)
{
	unsigned n = 0;

	for (size_t i = 0; i < message_n_headers(m); i++)
		n += strcasecmp(message_header_at(m, i)->name, name) == 0;
	return n;
}

/* Nothing in it can begin a header of its own. */
static void
check_value(const char *value)
{
	assert(value != NULL && strlen(value) < MESSAGE_HEADER_MAX);
	assert(strchr(value, '\r') == NULL);
	for (const char *lf = value; (lf = strchr(lf, '\n')) != NULL; lf++)
		assert((lf[1] == ' ' || lf[1] == '\t') && lf[2] > ' ');
}

static void
check_header_edits(const struct message *m, const struct edits *e)
{
	for (size_t i = 0; i < e->n_headers; i++) {
		const struct header_edit *h = &e->headers[i];
		unsigned n = count_named(m, h->name);

		assert(strpbrk(h->name, "\r\n") == NULL || n > 0);
		assert(h->kind == EDIT_ADD || (h->index >= 1 && h->index <= n));
		if (h->kind != EDIT_DELETE)
			check_value(h->value);
		for (size_t k = 0; h->kind != EDIT_ADD && k < i; k++)
			assert(strcasecmp(e->headers[k].name, h->name) != 0 ||
			       e->headers[k].index > h->index);
	}
}

/* Lines of mail, and what the HTML was but for its line ends. */
static void
check_new_body(const struct edits *e, const struct outgoing *o)
{
	struct quoted_printable q = { { 0 }, 0 };
	char *text = malloc(e->body_len + 2);
	size_t len, column = 0, at = 0;

	assert(text != NULL);
	for (size_t i = 0; i < e->body_len; i++) {
		column = e->body[i] == '\n' ? 0 : column + 1;
		assert((unsigned char)e->body[i] < 0x7f);
		assert(column <= 76 || e->body[i] == '\r');
		assert(e->body[i] != '\r' || e->body[i + 1] == '\n');
	}
	len = quoted_printable_decode(&q, e->body, e->body_len, text);
	for (size_t i = 0; i < o->html_len; i++) {
		if (o->html[i] == '\n' && at < len && text[at] == '\r')
			at++;
		assert(at < len && text[at++] == o->html[i]);
	}
	assert(at == len || len - at == 2);
	free(text);
}

static void
check_requeue(const struct message *m, struct outgoing *o)
{
	static char name[] = "mail", to[] = "smtp:", path[] = "b+{token}@x";
	static char cc[] = "Cc", prefix[] = "X-*", *strip[] = { cc, prefix };
	static const struct route route = { .name = name,
					    .transport = to,
					    .return_path = path,
					    .strip = strip,
					    .n_strip = 2 };
	struct smtp_reply refusal = { 0 };
	struct edits *e = edits_new();

	requeue_to_api(m, e);
	check_header_edits(m, e);
	assert(e->n_headers >= requeue_forged(m) && !e->new_body);
	edits_free(&e);
	e = edits_new();
	o->route = &route;
	if (requeue_to_transport(m, &dialect_emaildelivery, o, "token", 0, e,
				 &refusal)) {
		check_header_edits(m, e);
		if (e->new_body)
			check_new_body(e, o);
	} else {
		assert(refusal.code == 550);
	}
	o->route = NULL;
	edits_free(&e);
}

static size_t
step_at(size_t at, size_t step)
{
	return step != 0 ? step : 1 + (at * 31 + at / 7) % 97;
}

/* step 0: odd pieces. */
static void
run(const char *data, size_t size, size_t step, struct verdict *v)
{
	struct account *a = account_new("acme");
	struct message *m = open_message(data, size);
	struct field f;
	size_t at = 0;
	size_t n;

	account_add_route(a, "0", "main");
	message_recipient(m, "r@example.com");
	while (at < size && (n = next_field(data + at, size - at, &f)) > 0) {
		give_field(m, a, &f);
		at += n;
	}
	if (at < size && data[at] == '\r')
		at++;
	if (at < size && data[at] == '\n')
		at++;
	for (; at < size; at += n) {
		char *piece;

		n = step_at(at, step);
		n = n < size - at ? n : size - at;
		piece = exact(data + at, n);
		(void)message_body(m, piece, n);
		free(piece);
	}
	judge(m, a, &dialect_emaildelivery, &no_routes, v);
	if (v->outgoing != NULL)
		check_requeue(m, v->outgoing);
	message_free(&m);
	account_free(&a);
	assert(m == NULL && a == NULL);
}

/* --- what must be true of a verdict --------------------------------------- */

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
check_reply(const struct smtp_reply *r)
{
	assert(r->code >= 400 && r->code <= 599);
	assert(r->enhanced[0] == '0' + r->code / 100);
	assert(r->text[0] != '\0');
	assert(strlen(r->text) <= SMTP_REPLY_TEXT_MAX);
	check_text(r->text);
}

static void
check_outgoing(const struct outgoing *o)
{
	assert(o->from_name != NULL && o->from_email != NULL);
	assert(o->return_path != NULL && o->route_id != NULL);
	assert(o->html != NULL || o->template_id != NULL);
	assert(o->subject != NULL || o->template_id != NULL);
	assert(strchr(o->from_email, '@') != NULL);
	assert(o->n_recipients >= 1 &&
	       o->n_recipients <= MESSAGE_RECIPIENTS_MAX);
	check_text(o->from_name);
	check_text(o->from_email);
	check_text(o->return_path);
	check_text(o->subject);
	check_text(o->reply_to);
	check_text(o->message_id);
	check_text(o->tag);
	check_text(o->template_id);
	check_text(o->variables);
	check_text(o->route_id);
	if (o->html != NULL) {
		assert(utf8_valid_prefix(o->html, o->html_len) == o->html_len);
		assert(memchr(o->html, '\0', o->html_len) == NULL);
		assert(o->html[o->html_len] == '\0');
	}
}

static void
check_member(const json_t *root, const char *name, const char *value)
{
	const char *got = json_string_value(json_object_get(root, name));

	assert((got == NULL) == (value == NULL));
	assert(got == NULL || strcmp(got, value) == 0);
}

static void
check_request(const struct outgoing *o, size_t i)
{
	DYNBUF_AUTO text;
	json_t *root;
	json_error_t e;

	dynbuf_init(&text, API_REQUEST_MAX);
	assert(api_emaildelivery.recipient_piece(NULL, o,
		&o->recipients[i], &text));
	assert(api_emaildelivery.shared_piece(NULL, o, &text));
	root = json_loadb(text.data, text.len, JSON_DECODE_INT_AS_REAL, &e);
	assert(json_is_object(root));
	check_text(o->recipients[i].email);
	check_text(o->recipients[i].name);
	check_member(root, "to", o->recipients[i].email);
	check_member(root, "toname", o->recipients[i].name);
	check_member(root, "fromname", o->from_name);
	check_member(root, "fromemail", o->from_email);
	check_member(root, "returnpath", o->return_path);
	check_member(root, "subject", o->subject);
	check_member(root, "replyto", o->reply_to);
	check_member(root, "tag", o->tag);
	check_member(root, "route", o->route_id);
	check_member(root, "template", o->template_id);
	check_member(root, "body", o->html);
	assert(json_is_object(json_object_get(root, "variables")) ==
	       (o->variables != NULL));
	assert(o->variables == NULL || strstr(text.data, o->variables) != NULL);
	json_decref(root);
}

static void
check_verdict(const struct verdict *v)
{
	if (v->kind == VERDICT_REFUSE) {
		check_reply(&v->reply);
		assert(v->outgoing == NULL);
		return;
	}
	assert(v->kind == VERDICT_HAND_OVER);
	assert(v->outgoing != NULL);
	assert(!smtp_reply_is_set(&v->reply));
	check_outgoing(v->outgoing);
	for (size_t i = 0; i < v->outgoing->n_recipients; i++)
		check_request(v->outgoing, i);
}

static void
check_same(const struct verdict *a, const struct verdict *b)
{
	assert(a->kind == b->kind);
	assert(a->reply.code == b->reply.code);
	assert(strcmp(a->reply.text, b->reply.text) == 0);
	if (a->outgoing == NULL || a->outgoing->html == NULL)
		return;
	assert(b->outgoing->html != NULL);
	assert(a->outgoing->html_len == b->outgoing->html_len);
	assert(memcmp(a->outgoing->html, b->outgoing->html,
		      a->outgoing->html_len) == 0);
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
	const char *text = (const char *)data;
	struct verdict whole;
	struct verdict other;

	run(text, size, size + 1, &whole);
	check_verdict(&whole);
	run(text, size, 0, &other);
	check_same(&whole, &other);
	verdict_clear(&other);
	if (size <= SINGLE_MAX) {
		run(text, size, 1, &other);
		check_same(&whole, &other);
		verdict_clear(&other);
	}
	verdict_clear(&whole);
	return 0;
}
