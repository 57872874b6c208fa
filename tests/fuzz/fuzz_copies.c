/* SPDX-License-Identifier: MIT */
/*
 * A message for a transport route that tracks, in SparkPost's dialect, as a
 * copy for each recipient: written whole, read again, and compared with what
 * was sent. The first byte: 1 a text part is made, 2 nothing is tracked.
 */
#include <assert.h>
#include <gmime/gmime.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "policy/account.h"
#include "policy/compose.h"
#include "policy/dialect.h"
#include "policy/dynbuf.h"
#include "policy/edits.h"
#include "policy/json_text.h"
#include "policy/judge.h"
#include "policy/mail_reader.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/requeue.h"
#include "policy/route.h"
#include "policy/tracking.h"
#include "tests/fuzz/field.h"

#define COPIES_MAX 4
#define COPY_MAX (64 * 1024 * 1024)
#define WANTS (BODY_WANT_TEXT | BODY_WANT_AMP | BODY_WANT_FILES | BODY_WANT_RAW)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char route_name[] = "mail", smtp[] = "smtp:[mx]", tag[] = "X-Tag",
	    labels[] = "X-Labels", meta[] = "X-Meta", path[] = "b+{token}@x";
static struct route route = { .name = route_name,
			      .handoff = ROUTE_TRANSPORT,
			      .transport = smtp,
			      .return_path = path,
			      .tag_header = tag,
			      .labels_header = labels,
			      .metadata_header = meta,
			      .tracks = true };
static struct route *routes[] = { &route };
static const struct route_list list = { routes, 1 };
static const struct tracking tracking = {
	.url = "https://t.example",
	.key = (const unsigned char *)"0123456789abcdef0123456789abcdef",
	.key_len = 32,
	.account = "acme",
	.id = "0123456789abcdef0123456789abcdef",
};

/* --- the input as a message ----------------------------------------------- */

/* As Postfix has it: what has another name begins the body. */
static bool
is_name(const struct field *f)
{
	for (size_t i = 0; i < f->name_len; i++) {
		if (f->name[i] <= ' ' || f->name[i] > '~')
			return false;
	}
	return true;
}

static struct message *
read_input(const char *data, size_t size)
{
	struct message *m = message_new("s@example.com");
	struct field f;
	size_t at = 0, n;

	message_recipient(m, "r@example.com");
	message_want(m, WANTS);
	while (at < size && (n = next_field(data + at, size - at, &f)) > 0 &&
	       is_name(&f)) {
		char *name = strndup(f.name, f.name_len);
		char *value = exact(f.value, f.value_len);

		assert(name != NULL);
		message_header(m, name, value, f.value_len);
		free(name);
		free(value);
		at += n;
	}
	if (at < size && data[at] == '\n')
		at++;
	(void)message_body(m, data + at, size - at);
	return m;
}

/* --- a copy, read again ----------------------------------------------------
 */

struct again {
	struct message *message;
	size_t n; /* headers that are one of the route's */
};

static void
on_header(void *arg, const char *name, const char *value, size_t len)
{
	struct again *a = arg;

	a->n += strcasecmp(name, tag) == 0 || strcasecmp(name, labels) == 0 ||
		strcasecmp(name, meta) == 0;
	assert(!dialect_is_control(name));
	assert(strncasecmp(name, REQUEUE_OWN_PREFIX,
			   strlen(REQUEUE_OWN_PREFIX)) != 0);
	message_header(a->message, name, value, len);
}

static void
on_headers_done(void *arg)
{
	(void)arg;
}

static void
on_body(void *arg, const char *data, size_t len)
{
	struct again *a = arg;

	(void)message_body(a->message, data, len);
}

static const struct mail_sink sink = { on_header, on_headers_done, on_body };

static bool
same(const char *a, size_t a_len, const char *b, size_t b_len)
{
	return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

/* The same but for CR, and for line ends at the end: the one before a boundary
 * is the boundary's. */
static bool
same_lines(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t i = 0, k = 0;

	for (;;) {
		while (i < a_len && a[i] == '\r')
			i++;
		while (k < b_len && b[k] == '\r')
			k++;
		if (i == a_len || k == b_len || a[i] != b[k])
			break;
		i++;
		k++;
	}
	while (i < a_len && (a[i] == '\n' || a[i] == '\r'))
		i++;
	while (k < b_len && (b[k] == '\n' || b[k] == '\r'))
		k++;
	return i == a_len && k == b_len;
}

/* What did not change is there again, and so is what came. */
static void
compare(const struct outgoing *sent, const struct outgoing *got, bool made,
	bool tracked)
{
	assert(got->n_files == sent->n_files);
	for (size_t i = 0; i < sent->n_files; i++)
		assert(same(sent->files[i].data, sent->files[i].len,
			    got->files[i].data, got->files[i].len));
	assert((got->html == NULL) == (sent->html == NULL));
	assert(same(sent->amp, sent->amp_len, got->amp, got->amp_len));
	if (sent->html != NULL && !tracked)
		assert(same_lines(sent->html, sent->html_len, got->html,
				  got->html_len));
	if (made)
		assert(got->text != NULL && strncmp(got->text, "made", 4) == 0);
}

static void
read_copy(const struct dynbuf *copy, const struct outgoing *sent, bool made,
	  bool tracked)
{
	struct again a = { .message = message_new("s@example.com") };
	struct mail_reader *r = mail_reader_new(&sink, &a);
	struct account *account = account_new("acme");
	struct verdict v;

	account_add_route(account, route_name, "");
	message_recipient(a.message, "r@example.com");
	message_want(a.message, WANTS);
	assert(mail_reader_feed(r, copy->data, copy->len) &&
	       mail_reader_end(r));
	judge(a.message, account, &dialect_sparkpost, &list, &v);
	assert(a.n == (sent->tag != NULL) + (sent->labels != NULL) +
			  (sent->metadata != NULL));
	/* A Cc may be longer than what a client may send. */
	if (v.kind == VERDICT_HAND_OVER)
		compare(sent, v.outgoing, made, tracked);
	verdict_clear(&v);
	account_free(&account);
	mail_reader_free(&r);
	message_free(&a.message);
}

static void
make_copy(const struct message *m, const struct outgoing *o, size_t recipient,
	  bool made, bool tracked)
{
	const struct requeue_as as = {
		.recipient = &o->recipients[recipient],
		.message_token = "0123456789abcdef",
		.token = "fedcba9876543210",
		.tracking = tracked ? &tracking : NULL,
	};
	struct smtp_reply refusal = { 0 };
	struct edits *e = edits_new();
	size_t len;
	const char *raw = body_raw(message_body_state(m), &len);
	DYNBUF_AUTO copy;

	dynbuf_init(&copy, COPY_MAX);
	if (requeue_to_transport(m, &dialect_sparkpost, o, &as, e, &refusal)) {
		assert(compose_message(&copy, m, e, raw, len));
		read_copy(&copy, o, made, tracked);
	} else {
		assert(refusal.code == 550 || refusal.code == 552);
	}
	edits_free(&e);
}

static void
make_copies(const struct message *m, struct outgoing *o, unsigned flags)
{
	bool made = (flags & 1) != 0 && o->html != NULL && o->text == NULL &&
		    !o->html_is_signed;
	bool tracked = (flags & 2) == 0 && requeue_is_tracked(o);

	if (made) {
		o->text = strdup("made");
		assert(o->text != NULL);
		o->text_len = 4;
		o->text_is_made = true;
	}
	for (size_t i = 0; i < o->n_recipients && i < COPIES_MAX; i++)
		make_copy(m, o, i, made, tracked);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct account *a = account_new("acme");
	struct verdict v;
	struct message *m;

	if (size == 0) {
		account_free(&a);
		return 0;
	}
	account_add_route(a, route_name, "");
	m = read_input((const char *)data + 1, size - 1);
	judge(m, a, &dialect_sparkpost, &list, &v);
	if (v.kind == VERDICT_HAND_OVER)
		make_copies(m, v.outgoing, data[0]);
	verdict_clear(&v);
	message_free(&m);
	account_free(&a);
	return 0;
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
