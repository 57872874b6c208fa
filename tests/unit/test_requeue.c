/* SPDX-License-Identifier: MIT */
/*
 * Each row is a message and what is left of it after the edits, done as
 * Postfix does them (it counts a name's headers anew after each deletion) and
 * as Sendmail does (it does not).
 */
#include "policy/requeue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>
#include <gmime/gmime.h>

#include "policy/account.h"
#include "policy/dialect.h"
#include "policy/dynbuf.h"
#include "policy/edits.h"
#include "policy/json_text.h"
#include "policy/judge.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/route.h"

static const struct route_list no_routes = { 0 };
static const struct requeue_as as = {
	.message_token = "t0k3n",
	.token = "t0k3n",
	.now = INT64_C(1763650800),
};

#define E_ACUTE "\xc3\xa9"
#define TOKEN "t0k3n"
#define NOW INT64_C(1763650800)
#define DATE "Date: Thu, 20 Nov 2025 15:00:00 +0000\n"
#define ID "Message-ID: <1@x.com>\n"
#define NEW_ID "Message-ID: <" TOKEN "@example.com>\n"
#define F "From: Shop <shop@example.com>\n"
#define S "Subject: S\n"
#define TO "To: r0@x.com\n"
#define ALL F TO S DATE ID
#define V "MIME-Version: 1.0\n"
#define HTML "Content-Type: text/html; charset=us-ascii\n"
#define TEXT "Content-Type: text/plain\n"
#define NEW_BODY                                   \
	"Content-Type: text/html; charset=utf-8\n" \
	"Content-Transfer-Encoding: quoted-printable\n"
#define MIXED "Content-Type: multipart/mixed; boundary=b\n"
#define PART "--b\nContent-Type: text/html\n\n<p>=E9\n--b--\n"
#define UNDISCLOSED "To: undisclosed-recipients:;\n"

/* --- a mail server's part ------------------------------------------------- */

#define FIELDS_MAX 1100

struct field {
	char *name;
	char *value;
	bool deleted;
};

struct mail {
	struct field fields[FIELDS_MAX];
	size_t n;
};

static void
mail_add(struct mail *mail, const char *name, size_t name_len,
	 const char *value, size_t value_len)
{
	struct field *f = &mail->fields[mail->n++];

	assert_true(mail->n <= FIELDS_MAX);
	f->name = strndup(name, name_len);
	f->value = strndup(value, value_len);
	f->deleted = false;
	assert_non_null(f->name);
	assert_non_null(f->value);
}

/* Fields as the milter protocol gives them. */
static void
mail_read(struct mail *mail, const char *text)
{
	mail->n = 0;
	while (*text != '\0') {
		size_t name = strcspn(text, ":");
		const char *value = text + name + 1;
		const char *end = strchr(value, '\n');

		value += *value == ' ';
		while (end != NULL && (end[1] == ' ' || end[1] == '\t'))
			end = strchr(end + 1, '\n');
		assert_non_null(end);
		mail_add(mail, text, name, value, (size_t)(end - value));
		text = end + 1;
	}
}

static void
mail_clear(struct mail *mail)
{
	for (size_t i = 0; i < mail->n; i++) {
		free(mail->fields[i].name);
		free(mail->fields[i].value);
	}
	mail->n = 0;
}

/* With `anew` what was deleted does not count. NULL: there is none. */
static struct field *
mail_find(struct mail *mail, const char *name, unsigned index, bool anew)
{
	for (size_t i = 0; i < mail->n; i++) {
		struct field *f = &mail->fields[i];

		if (strcasecmp(f->name, name) != 0 || (anew && f->deleted))
			continue;
		if (--index == 0)
			return f;
	}
	return NULL;
}

static void
mail_edit(struct mail *mail, const struct header_edit *e, bool anew)
{
	struct field *f = NULL;

	if (e->kind == EDIT_ADD) {
		mail_add(mail, e->name, strlen(e->name), e->value,
			 strlen(e->value));
		return;
	}
	assert_true(e->index >= 1);
	f = mail_find(mail, e->name, e->index, anew);
	if (f == NULL || f->deleted)
		fail_msg("no header %s %u", e->name, e->index);
	if (e->kind == EDIT_DELETE) {
		assert_null(e->value);
		f->deleted = true;
		return;
	}
	free(f->value);
	f->value = strdup(e->value);
	assert_non_null(f->value);
}

static void
mail_write(const struct mail *mail, struct dynbuf *out)
{
	for (size_t i = 0; i < mail->n; i++) {
		if (!mail->fields[i].deleted)
			dynbuf_addf(out, "%s: %s\n", mail->fields[i].name,
				    mail->fields[i].value);
	}
}

/* The message as it is afterwards; line ends of a new body as LF. */
static void
apply(const char *headers, const char *body, const struct edits *e, bool anew,
      struct dynbuf *out)
{
	struct mail *mail = calloc(1, sizeof(*mail));

	assert_non_null(mail);
	mail_read(mail, headers);
	for (size_t i = 0; i < e->n_headers; i++)
		mail_edit(mail, &e->headers[i], anew);
	mail_write(mail, out);
	dynbuf_adds(out, "\n");
	if (!e->new_body)
		dynbuf_adds(out, body);
	for (size_t i = 0; e->new_body && i < e->body_len; i++) {
		if (e->body[i] != '\r')
			dynbuf_add(out, &e->body[i], 1);
		else
			assert_true(e->body[i + 1] == '\n');
	}
	mail_clear(mail);
	free(mail);
}

/* --- rows ------------------------------------------------------------------
 */

struct row {
	const char *name;
	const char *headers;
	const char *body; /* NULL: "<p>x" */
	const char *want; /* the header, or with a body after an empty line */
	const char *refusal;
	size_t n_recipients; /* 0: one */
	const char *strip[3];
	const char *return_path;
	const char *sender; /* of the client; NULL: one */
	const char *want_sender;
	bool add;
};

static const struct row rows[] = {
	/* what stays as it came */
	{ "nothing to do", ALL HTML, .want = ALL HTML "\n<p>x" },
	{ "in its order and its case",
	  "subject: S\nfrom:  shop@example.com\n" ID "DATE: today\n" TO HTML,
	  .want = "subject: S\nfrom:  shop@example.com\n" ID
		  "DATE: today\n" TO HTML "\n<p>x" },
	{ "Reply-To", ALL HTML "Reply-To: a@x.com,\n\tb@x.com\n",
	  .want = ALL HTML "Reply-To: a@x.com,\n\tb@x.com\n\n<p>x" },
	{ "Received", "Received: b\n" ALL HTML "Received: a\n",
	  .want = "Received: b\n" ALL HTML "Received: a\n\n<p>x" },
	{ "encoded words", F "Subject: =?utf-8?q?S?=\n" DATE ID TO HTML,
	  .want = F "Subject: =?utf-8?q?S?=\n" DATE ID TO HTML "\n<p>x" },

	/* what goes */
	{ "all other headers",
	  "X-Mailer: m\n" ALL "Cc: c@x.com\n" HTML
	  "List-Unsubscribe: <x>\nSender: s@x.com\nx-mailer: n\n",
	  .want = ALL HTML "\n<p>x" },
	{ "control headers",
	  "X-Auth-APIKey: k\n" ALL "x-transactional-tag: t\n" HTML
	  "X-Transactional-Route: r1\nX-Auth-APIKey: k2\n",
	  .want = ALL HTML "\n<p>x" },
	{ "what only a bounce or a copy knows",
	  "Return-Path: <a@x.com>\nBcc: b@x.com\n" ALL HTML
	  "bcc: c@x.com\nResent-Bcc: d@x.com\n",
	  .want = ALL HTML "\n<p>x" },
	{ "ours",
	  "X-Txmilter-Plan: p\n" ALL "x-txmilter-route: r\n" HTML
	  "X-TXMILTER-PLAN: q\nX-Txmilter-Else: r\n",
	  .want = ALL HTML "\n<p>x" },
	{ "the second of what is one",
	  ALL "Subject: S2\nFrom: b@x.com\nTo: c@x.com\nto: d@x.com\n" HTML
	      "subject: S3\nMessage-Id: <2@x.com>\nDate: d\n",
	  .want = ALL HTML "\n<p>x" },
	{ "the second type, which is the same", ALL HTML HTML,
	  .want = ALL HTML "\n<p>x" },

	/* what is added */
	{ "Date and Message-ID", F TO S HTML,
	  .want = F TO S HTML DATE NEW_ID "\n<p>x" },
	{ "Date", F TO S ID HTML, .want = F TO S ID HTML DATE "\n<p>x" },

	/* the route's rules */
	{ "stripped", ALL HTML "Received: a\nReply-To: a@x.com\n",
	  .strip = { "REPLY-TO" }, .want = ALL HTML "Received: a\n\n<p>x" },
	{ "stripped by prefix", ALL HTML "Received: a\nReply-To: a@x.com\n",
	  .strip = { "X", "re*" }, .want = ALL HTML "Received: a\n\n<p>x" },
	{ "no prefix", ALL HTML "Reply-To: a@x.com\n",
	  .strip = { "Reply", "Repl*y-To", "" },
	  .want = ALL HTML "Reply-To: a@x.com\n\n<p>x" },
	{ "stripped and made anew", ALL HTML,
	  .strip = { "Message-ID", "Date", "To" },
	  .want = F S HTML UNDISCLOSED DATE NEW_ID "\n<p>x" },
	{ "added", F TO S HTML, .add = true,
	  .want = F TO S HTML DATE NEW_ID
	  "X-Pool: a\nX-Pool: b\nReceived: c\n\n<p>x" },

	/* To */
	{ "a name", F S ID DATE HTML "To: Jane Smith\n",
	  .want = F S ID DATE HTML "To: Jane Smith <r0@x.com>\n\n<p>x" },
	{ "a name in quotes", F S ID DATE HTML "tO: \"Smith, Jane\"\n",
	  .want = F S ID DATE HTML "tO: \"Smith, Jane\" <r0@x.com>\n\n<p>x" },
	{ "a name without quotes", F S ID DATE HTML "To: Smith, Jane\n",
	  .want = F S ID DATE HTML "To: \"Smith, Jane\" <r0@x.com>\n\n<p>x" },
	{ "a name and empty brackets", F S ID DATE HTML "To: Jane <>\n",
	  .want = F S ID DATE HTML "To: Jane <r0@x.com>\n\n<p>x" },
	{ "a name that is not ASCII", F S ID DATE HTML "To: Ren" E_ACUTE "\n",
	  .want =
	      F S ID DATE HTML "To: =?utf-8?B?UmVuw6k=?= <r0@x.com>\n\n<p>x" },
	{ "a name in encoded words",
	  F S ID DATE HTML "To: =?iso-8859-1?q?Ren=E9?=\n",
	  .want =
	      F S ID DATE HTML "To: =?utf-8?B?UmVuw6k=?= <r0@x.com>\n\n<p>x" },
	{ "a name that fits in 76",
	  F S ID DATE HTML
	  "To: A name of sixty letters,\n all of them written by us and them\n",
	  .want = F S ID DATE HTML
	  "To: \"A name of sixty letters, all of them written by us and them\" "
	  "<r0@x.com>\n\n<p>x" },
	{ "a name that does not fit in 76",
	  F S ID DATE HTML "To: A name of sixty letters,\n all of them written "
			   "by us and themm\n",
	  .want = F S ID DATE HTML "To: \"A name of sixty letters, all of them "
				   "written by us and themm\"\n "
				   "<r0@x.com>\n\n<p>x" },
	{ "a name for many", F S ID DATE HTML "To: Jane Smith\n",
	  .n_recipients = 2, .want = F S ID DATE HTML UNDISCLOSED "\n<p>x" },
	{ "a name among addresses", F S ID DATE HTML "To: a@x.com, Jane\n",
	  .n_recipients = 2, .want = F S ID DATE HTML UNDISCLOSED "\n<p>x" },
	{ "a name, and the recipient's own",
	  F S ID DATE HTML "To: Ann <r0@x.com>, Jane\n",
	  .want = F S ID DATE HTML "To: Ann <r0@x.com>\n\n<p>x" },
	{ "a name, and a recipient's own, for many",
	  F S ID DATE HTML "To: Ann <r0@x.com>, Jane\n", .n_recipients = 2,
	  .want = F S ID DATE HTML UNDISCLOSED "\n<p>x" },
	{ "no To", F S ID DATE HTML,
	  .want = F S ID DATE HTML UNDISCLOSED "\n<p>x" },
	{ "an empty To", F S ID DATE HTML "To: \n",
	  .want = F S ID DATE HTML UNDISCLOSED "\n<p>x" },
	{ "others' addresses", F S ID DATE HTML "To: a@y.com,\n b <c@y.com>\n",
	  .want = F S ID DATE HTML "To: a@y.com,\n b <c@y.com>\n\n<p>x" },
	{ "a group", F S ID DATE HTML "To: friends: a@x.com, b@x.com;\n",
	  .n_recipients = 3,
	  .want = F S ID DATE HTML "To: friends: a@x.com, b@x.com;\n\n<p>x" },
	{ "an empty group", F S ID DATE HTML "To: recipients:;\n",
	  .want = F S ID DATE HTML "To: recipients:;\n\n<p>x" },
	{ "a name, then another To", F S ID DATE HTML "To: Jane\n" TO,
	  .want = F S ID DATE HTML "To: Jane <r0@x.com>\n\n<p>x" },

	/* the body */
	{ "all of it is html",
	  ALL V HTML "Content-Transfer-Encoding: quoted-printable\n"
		     "Content-Language: en\n",
	  "<p>a=\n b ",
	  .want = ALL V HTML "Content-Transfer-Encoding: quoted-printable\n"
			     "Content-Language: en\n\n<p>a=\n b " },
	{ "html without a version", ALL HTML, .want = ALL HTML "\n<p>x" },
	{ "a part", ALL V MIXED, PART, .want = ALL V NEW_BODY "\n<p>=3DE9\n" },
	{ "a part, no version", ALL "Content-Language: en\n" MIXED, PART,
	  .want = ALL "Content-Type: text/html; charset=utf-8\n" V
		      "Content-Transfer-Encoding: quoted-printable\n\n"
		      "<p>=3DE9\n" },
	{ "Content headers",
	  ALL V "Content-ID: <1@x>\ncontent-transfer-encoding: 8bit\n"
		"Content-Length: 7\n" MIXED "Content-transfer-encoding: 8bit\n",
	  PART,
	  .want =
	      ALL V "content-transfer-encoding: quoted-printable\n"
		    "Content-Type: text/html; charset=utf-8\n\n<p>=3DE9\n" },
	{ "text", ALL V TEXT, "1 < 2\n",
	  .want = ALL V NEW_BODY "\n1 &lt; 2<br>\n" },
	{ "no type at all", ALL, "1 < 2",
	  .want = ALL V NEW_BODY "\n1 &lt; 2\n" },
	{ "another charset", ALL V "Content-Type: text/html; charset=latin1\n",
	  "<p>\xe9",
	  .want = ALL V "Content-Type: text/html; charset=latin1\n\n<p>\xe9" },
	{ "wrong bytes", ALL V "Content-Type: text/html; charset=utf-8\n",
	  "<p>\xe9", .want = ALL V NEW_BODY "\n<p>=EF=BF=BD\n" },
	{ "the type stripped, the body anew", ALL V MIXED, PART,
	  .strip = { "Content-Type" }, .want = ALL V NEW_BODY "\n<p>=3DE9\n" },

	/* the envelope */
	{ "a return path", ALL HTML, .want = ALL HTML "\n<p>x",
	  .return_path = "b+{token}@bounces.x.com",
	  .want_sender = "b+" TOKEN "@bounces.x.com" },
	{ "a return path without a token", ALL HTML, .want = ALL HTML "\n<p>x",
	  .return_path = "b@x.com", .want_sender = "b@x.com" },
	{ "a token alone", ALL HTML, .want = ALL HTML "\n<p>x",
	  .return_path = "{token}@x.com", .want_sender = TOKEN "@x.com" },
	{ "a return path, the null sender", ALL HTML, .want = ALL HTML "\n<p>x",
	  .return_path = "b@x.com", .sender = "" },
};

static void
judge_row(const struct row *r, struct message *m, struct verdict *v)
{
	const char *body = r->body ? r->body : "<p>x";
	struct account *a = account_new("acme");
	struct mail *mail = calloc(1, sizeof(*mail));

	assert_non_null(mail);
	assert_true(account_add_route(a, "r1", ""));
	for (size_t i = 0; i < (r->n_recipients ? r->n_recipients : 1); i++) {
		char addr[32];

		assert_true(snprintf(addr, sizeof(addr), "r%zu@x.com", i) > 0);
		message_recipient(m, addr);
	}
	mail_read(mail, r->headers);
	for (size_t i = 0; i < mail->n; i++)
		message_header(m, mail->fields[i].name, mail->fields[i].value,
			       strlen(mail->fields[i].value));
	(void)message_body(m, body, strlen(body));
	judge(m, a, &dialect_emaildelivery, &no_routes, v);
	mail_clear(mail);
	free(mail);
	account_free(&a);
	if (v->kind != VERDICT_HAND_OVER)
		fail_msg("%s: %s", r->name, v->reply.text);
}

static char text_mail[] = "mail",
	    transport[] = "smtp:[mx.x.com]", x_pool[] = "X-Pool", a[] = "a",
	    b[] = "b", c[] = "c", received[] = "Received";
static struct route_header added[] = { { x_pool, a },
				       { x_pool, b },
				       { received, c } };

static bool
same(const char *got, const char *want)
{
	return got == NULL || want == NULL ? got == want
					   : strcmp(got, want) == 0;
}

static bool
check_edits(const struct row *r, const struct edits *e)
{
	const char *body = r->body ? r->body : "<p>x";
	bool ok = true;

	for (int anew = 0; anew < 2; anew++) {
		DYNBUF_AUTO got;

		dynbuf_init(&got, 1 << 20);
		apply(r->headers, body, e, anew != 0, &got);
		if (strcmp(dynbuf_str(&got), r->want) != 0) {
			printf("%s:\n%s\n", r->name, dynbuf_str(&got));
			ok = false;
			break;
		}
	}
	if (!same(e->sender, r->want_sender)) {
		printf("%s: sender %s\n", r->name, e->sender);
		ok = false;
	}
	return ok && strcmp(e->route, transport) == 0;
}

static bool
check_refusal(const struct row *r, bool ok, const struct smtp_reply *refusal,
	      const struct edits *e)
{
	if (ok || refusal->code != 550 ||
	    strcmp(refusal->enhanced, "5.6.0") != 0 ||
	    strcmp(refusal->text, r->refusal) != 0) {
		printf("%s: %d %s\n", r->name, refusal->code, refusal->text);
		return false;
	}
	return e->n_headers == 0 && e->route == NULL;
}

static bool
check_row(const struct row *r)
{
	struct message *m = message_new(r->sender ? r->sender : "s@x.com");
	char *strip[3], *return_path = NULL;
	struct route route = { .name = text_mail,
			       .handoff = ROUTE_TRANSPORT,
			       .transport = transport,
			       .strip = strip,
			       .add = added,
			       .n_add = r->add ? 3 : 0 };
	struct edits *e = edits_new();
	struct smtp_reply refusal = { 0 };
	struct verdict v;
	bool ok;

	for (; route.n_strip < 3 && r->strip[route.n_strip]; route.n_strip++) {
		strip[route.n_strip] = strdup(r->strip[route.n_strip]);
		assert_non_null(strip[route.n_strip]);
	}
	if (r->return_path != NULL)
		return_path = strdup(r->return_path);
	route.return_path = return_path;
	judge_row(r, m, &v);
	v.outgoing->route = &route;
	ok = requeue_to_transport(m, &dialect_emaildelivery, v.outgoing, &as,
				  e, &refusal);
	if (r->refusal != NULL)
		ok = check_refusal(r, ok, &refusal, e);
	else if (!ok)
		printf("%s: %s\n", r->name, refusal.text);
	else
		ok = check_edits(r, e);
	while (route.n_strip > 0)
		free(strip[--route.n_strip]);
	free(return_path);
	verdict_clear(&v);
	edits_free(&e);
	message_free(&m);
	return ok;
}

static void
test_rows(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		bad += !check_row(&rows[i]);
	assert_int_equal(bad, 0);
}

/* --- on their own -----------------------------------------------------------
 */

static void
give(struct message *m, const char *name, const char *value)
{
	message_header(m, name, value, strlen(value));
}

static const struct header_rule no_rules[] = {
	{ NULL, HEADER_UNREAD, false, NULL },
};

/* Another kind of dialect: what it does not know, it does not touch. */
static void
test_keeps_others(void **state)
{
	static const char headers[] =
	    "X-Mailer: m\n" F "Bcc: b@x.com\nTo: Jane\nCc: c@x.com\n" S
	    "Cc: d@x.com\nX-Auth-APIKey: k\n" DATE ID MIXED
	    "X-Txmilter-Plan: p\nX-Mailer: n\nContent-Language: en\n";
	static const char want[] =
	    "X-Mailer: m\n" F "To: Jane\nCc: c@x.com\n" S DATE ID MIXED
	    "X-Mailer: n\nContent-Language: en\n\n" PART;
	const struct dialect keeps = { .name = "keeps",
				       .rules = no_rules,
				       .keeps_others = true };
	const struct row row = { .name = "keeps others",
				 .headers = headers,
				 .body = PART,
				 .want = want };
	struct message *m = message_new("s@x.com");
	struct route route = { .name = text_mail, .transport = transport };
	struct edits *e = edits_new();
	struct smtp_reply refusal = { 0 };
	struct verdict v;

	(void)state;
	judge_row(&row, m, &v);
	v.outgoing->route = &route;
	v.outgoing->variables = strdup("{}");
	assert_true(requeue_to_transport(m, &keeps, v.outgoing, &as, e,
					 &refusal));
	assert_true(check_edits(&row, e));
	assert_false(e->new_body);
	verdict_clear(&v);
	edits_free(&e);
	message_free(&m);
}

/* So long a name that it is too long when it is encoded. */
static void
test_long_name(void **state)
{
	struct message *m = message_new("s@x.com");
	struct route route = { .name = text_mail, .transport = transport };
	struct edits *e = edits_new();
	struct smtp_reply refusal = { 0 };
	DYNBUF_AUTO headers;
	struct row row = { .name = "long", .want = NULL };
	struct verdict v;

	(void)state;
	dynbuf_init(&headers, 1 << 20);
	dynbuf_adds(&headers, F S DATE ID HTML "To: ");
	for (int i = 0; i < 20000; i++)
		dynbuf_adds(&headers, E_ACUTE);
	dynbuf_adds(&headers, "\n");
	row.headers = dynbuf_str(&headers);
	judge_row(&row, m, &v);
	assert_int_equal(strlen(v.outgoing->recipients[0].name), 40000);
	v.outgoing->route = &route;
	assert_true(requeue_to_transport(m, &dialect_emaildelivery, v.outgoing,
					 &as, e, &refusal));
	assert_int_equal(e->n_headers, 1);
	assert_int_equal(e->headers[0].kind, EDIT_CHANGE);
	assert_string_equal(e->headers[0].value, "undisclosed-recipients:;");
	verdict_clear(&v);
	edits_free(&e);
	message_free(&m);
}

/* What the client sent, but for keys and for what looks like ours. */
static void
test_to_api(void **state)
{
	static const char headers[] =
	    "X-TXMILTER-Route: smtp:x\nReceived: a\nX-Auth-APIKey: k\n" F
	    "Bcc: b@x.com\nX-Transactional-Tag: t\nx-auth-apikey: k2\n" TO S
	    "Subject: S2\n" MIXED "X-Txmilter-Plan: p\nX-Txmilter-Plan: q\n"
	    "X-Txmilter: z\nX-Auth-APIKey: k3\nX-Txmilter-: y\n";
	static const char want[] =
	    "Received: a\n" F "Bcc: b@x.com\nX-Transactional-Tag: t\n" TO S
	    "Subject: S2\n" MIXED "X-Txmilter: z\n\n" PART;
	const struct row row = { .name = "to an API",
				 .headers = headers,
				 .body = PART,
				 .want = want };
	struct message *m = message_new("s@x.com");
	struct edits *e = edits_new();
	struct verdict v;

	(void)state;
	judge_row(&row, m, &v);
	assert_int_equal(requeue_forged(m), 4);
	edits_add(e, "First", "1");
	requeue_to_api(m, e);
	assert_string_equal(e->headers[0].name, "First");
	assert_null(e->sender);
	assert_null(e->route);
	assert_false(e->new_body);
	for (int anew = 0; anew < 2; anew++) {
		DYNBUF_AUTO got;
		const struct edits without = { .headers = e->headers + 1,
					       .n_headers = e->n_headers - 1 };

		dynbuf_init(&got, 10000);
		apply(headers, PART, &without, anew != 0, &got);
		assert_string_equal(dynbuf_str(&got), want);
	}
	verdict_clear(&v);
	edits_free(&e);
	message_free(&m);
}

static void
test_forged(void **state)
{
	struct message *m = message_new("s@x.com");

	(void)state;
	assert_int_equal(requeue_forged(m), 0);
	give(m, "X-Txmilter", "x");
	give(m, "X-Tx", "x");
	assert_int_equal(requeue_forged(m), 0);
	give(m, REQUEUE_ROUTE_HEADER, "x");
	give(m, "x-TXMILTER-plan", "x");
	assert_int_equal(requeue_forged(m), 2);
	message_free(&m);
}

/* As many as there may be, all of one name. */
static void
test_many_headers(void **state)
{
	struct message *m = message_new("s@x.com");
	struct edits *e = edits_new();

	(void)state;
	for (int i = 0; i < MESSAGE_HEADERS_MAX; i++)
		give(m, REQUEUE_PLAN_HEADER, "x");
	requeue_to_api(m, e);
	assert_int_equal(e->n_headers, MESSAGE_HEADERS_MAX);
	for (unsigned i = 0; i < MESSAGE_HEADERS_MAX; i++) {
		assert_int_equal(e->headers[i].kind, EDIT_DELETE);
		assert_int_equal(e->headers[i].index, MESSAGE_HEADERS_MAX - i);
	}
	edits_free(&e);
	assert_null(e);
	edits_free(&e);
	message_free(&m);
}

static int
setup(void **state)
{
	(void)state;
	g_mime_init();
	json_text_init();
	return 0;
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_keeps_others),
		cmocka_unit_test(test_long_name),
		cmocka_unit_test(test_to_api),
		cmocka_unit_test(test_forged),
		cmocka_unit_test(test_many_headers),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
