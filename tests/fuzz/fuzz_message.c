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
 *
 * Then the body alone, with what the first byte says is wanted beside it: the
 * same in pieces of any size, and with other HTML spliced in only that differs.
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
#include "tests/fuzz/field.h"

static const struct route_list no_routes = { 0 };

#define ROUTES_MAX 9
/* Byte by byte is slow: only for inputs that are not larger. */
#define SINGLE_MAX 8192

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- the input as a message ----------------------------------------------- */

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
	static const struct requeue_as as = { .message_token = "token",
					      .token = "token" };
	struct smtp_reply refusal = { 0 };
	struct edits *e = edits_new();

	requeue_to_api(m, e);
	check_header_edits(m, e);
	assert(e->n_headers >= requeue_forged(m) && !e->new_body);
	edits_free(&e);
	e = edits_new();
	o->route = &route;
	if (requeue_to_transport(m, &dialect_emaildelivery, o, &as, e,
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
	assert(api_emaildelivery.recipient_piece(NULL, o, &o->recipients[i],
						 &text));
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

/* --- what is kept beside the body ----------------------------------------- */

/* All that came out of it, for comparing. */
struct kept {
	char *error;
	enum body_kind kind;
	struct dynbuf body; /* or why there is none */
	struct dynbuf rest; /* text, AMP, files */
	struct dynbuf raw;
	bool has_place;
	struct body_place place;
};

static void
kept_clear(struct kept *k)
{
	free(k->error);
	dynbuf_clear(&k->body);
	dynbuf_clear(&k->rest);
	dynbuf_clear(&k->raw);
}

static void
keep_text(struct dynbuf *out, const char *what, char *text, size_t len)
{
	assert(text == NULL || (utf8_valid_prefix(text, len) == len &&
				memchr(text, '\0', len) == NULL));
	if (text != NULL)
		assert(dynbuf_addf(out, "%s %zu\n", what, len) &&
		       dynbuf_add(out, text, len));
	free(text);
}

static void
keep_files(struct kept *k, struct body *b)
{
	struct body_file *files;
	struct body_counts c;
	size_t n = body_take_files(b, &files);
	size_t bytes = 0;

	body_counts(b, &c);
	assert(c.files == n && c.files <= c.parts);
	for (size_t i = 0; i < n; i++) {
		const struct body_file *f = &files[i];

		check_text(f->name);
		check_text(f->type);
		check_text(f->content_id);
		assert(f->name[0] != '\0' && strpbrk(f->name, "/\\") == NULL &&
		       strlen(f->name) <= BODY_FILE_NAME_MAX);
		assert(strchr(f->type, '/') != NULL);
		assert(f->content_id == NULL ||
		       strlen(f->content_id) <= BODY_CONTENT_ID_MAX);
		bytes += f->len;
		assert(dynbuf_addf(&k->rest, "%s|%s|%s|%d %zu\n", f->name,
				   f->type, f->content_id ? f->content_id : "",
				   f->is_inline, f->len) &&
		       dynbuf_add(&k->rest, f->data, f->len));
	}
	assert(bytes <= BODY_FILES_MAX);
	body_files_free(&files, n);
}

static void
keep(struct kept *k, struct body *b)
{
	char *text;
	size_t len;
	const char *raw;

	*k = (struct kept){ 0 };
	dynbuf_init(&k->body, 1 << 24);
	dynbuf_init(&k->rest, 1 << 24);
	dynbuf_init(&k->raw, 1 << 24);
	k->kind = body_end(b, &text, &len);
	if (body_error(b) != NULL) {
		assert(k->kind == BODY_NONE && text == NULL);
		k->error = strdup(body_error(b));
		return;
	}
	keep_text(&k->body, "body", text, len);
	text = body_take_text(b, &len);
	assert(text == NULL || k->kind == BODY_HTML);
	keep_text(&k->rest, "text", text, len);
	text = body_take_amp(b, &len);
	keep_text(&k->rest, "amp", text, len);
	assert(dynbuf_addf(&k->rest, "misplaced %d\n", body_amp_misplaced(b)));
	keep_files(k, b);
	raw = body_raw(b, &len);
	dynbuf_add(&k->raw, raw, len);
	k->has_place = body_place(b, &k->place);
	assert(k->has_place == (k->kind != BODY_NONE));
}

/* Reads `body` below the input's own header; `more` is read and not needed. */
static void
read_body(const char *header, size_t header_len, const char *body, size_t len,
	  unsigned wants, unsigned more, size_t step, struct kept *k)
{
	struct body *b = body_new();
	struct field f;
	size_t n;

	for (; header_len > 0 && (n = next_field(header, header_len, &f)) > 0;
	     header += n, header_len -= n) {
		char *name = strndup(f.name, f.name_len);

		assert(name != NULL);
		body_header(b, name, f.value, f.value_len);
		free(name);
	}
	body_want(b, wants | more);
	for (size_t at = 0; at < len; at += n) {
		char *piece;

		n = step_at(at, step);
		n = n < len - at ? n : len - at;
		piece = exact(body + at, n);
		(void)body_feed(b, piece, n);
		free(piece);
	}
	body_need(b, wants);
	keep(k, b);
	body_free(&b);
}

static bool
is_same_text(const struct dynbuf *a, const struct dynbuf *b)
{
	return a->len == b->len &&
	       memcmp(dynbuf_str(a), dynbuf_str(b), a->len) == 0;
}

static void
check_same_kept(const struct kept *a, const struct kept *b)
{
	assert((a->error == NULL) == (b->error == NULL));
	assert(a->error == NULL || strcmp(a->error, b->error) == 0);
	assert(a->kind == b->kind);
	assert(is_same_text(&a->body, &b->body));
	assert(is_same_text(&a->rest, &b->rest));
	assert(is_same_text(&a->raw, &b->raw));
	assert(a->has_place == b->has_place);
	if (a->has_place)
		assert(a->place.begin == b->place.begin &&
		       a->place.content == b->place.content &&
		       a->place.end == b->place.end &&
		       a->place.is_message == b->place.is_message &&
		       a->place.in_alternative == b->place.in_alternative);
}

static void
check_splice(const char *header, size_t header_len, const char *body,
	     size_t len, unsigned wants, const struct kept *whole)
{
	static const char with[] = "Content-Type: text/html\n\nNEW";
	const struct body_place *p = &whole->place;
	DYNBUF_AUTO text;
	struct kept other;

	dynbuf_init(&text, len + sizeof(with));
	assert(p->begin <= p->content && p->content < p->end && p->end <= len);
	assert((wants & BODY_WANT_RAW) == 0 ||
	       (whole->raw.len == len &&
		memcmp(dynbuf_str(&whole->raw), body, len) == 0));
	if (p->is_message) {
		assert(p->begin == 0 && p->end == len);
		return;
	}
	if (whole->kind != BODY_HTML)
		return;
	assert(dynbuf_add(&text, body, p->begin) && dynbuf_adds(&text, with) &&
	       dynbuf_add(&text, body + p->end, len - p->end));
	read_body(header, header_len, text.data, text.len, wants, 0, len + 100,
		  &other);
	assert(other.error == NULL && other.kind == BODY_HTML);
	assert(strcmp(dynbuf_str(&other.body), "body 3\nNEW") == 0);
	assert(is_same_text(&whole->rest, &other.rest));
	kept_clear(&other);
}

static void
check_body(const char *data, size_t size)
{
	static const size_t steps[] = { 0, 1 };
	unsigned wants = size > 0 ? (unsigned char)data[0] & 15u : 0;
	size_t header_len = 0, at, n;
	struct kept whole, other;
	struct field f;

	while (header_len < size &&
	       (n = next_field(data + header_len, size - header_len, &f)) > 0)
		header_len += n;
	at = header_len;
	if (at < size && data[at] == '\r')
		at++;
	if (at < size && data[at] == '\n')
		at++;
	read_body(data, header_len, data + at, size - at, wants, 0, size + 1,
		  &whole);
	for (size_t i = 0; i < 2 && (i == 0 || size <= SINGLE_MAX); i++) {
		read_body(data, header_len, data + at, size - at, wants, 0,
			  steps[i], &other);
		check_same_kept(&whole, &other);
		kept_clear(&other);
	}
	if ((wants & ~(unsigned)BODY_WANT_TEXT) == 0) {
		read_body(data, header_len, data + at, size - at, wants, 15,
			  size + 1, &other);
		dynbuf_truncate(&other.raw, 0);
		check_same_kept(&whole, &other);
		kept_clear(&other);
	}
	if (whole.has_place)
		check_splice(data, header_len, data + at, size - at, wants,
			     &whole);
	kept_clear(&whole);
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
	check_body(text, size);
	return 0;
}
