/* SPDX-License-Identifier: MIT */
/*
 * What the copies of a message are: each row is a message, its X-MSYS-API and
 * whose copy it is, and all that is sent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <gmime/gmime.h>

#include "policy/account.h"
#include "policy/compose.h"
#include "policy/dialect.h"
#include "policy/dynbuf.h"
#include "policy/edits.h"
#include "policy/feature.h"
#include "policy/json_text.h"
#include "policy/judge.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/requeue.h"
#include "policy/route.h"
#include "policy/tracking.h"

#define ROOM (1 << 22)
#define E_ACUTE "\xc3\xa9"
#define F "From: Shop <shop@example.com>\r\n"
#define TO "To: Jane <r0@x.com>\r\n"
#define DATE "Date: Thu, 20 Nov 2025 15:00:00 +0000\r\n"
#define ID "Message-ID: <1@x.com>\r\n"
#define HTML "Content-Type: text/html\r\n"
#define V "MIME-Version: 1.0\r\n"
#define HEAD F TO "Subject: S\r\n" DATE ID V HTML
#define NEW_HEAD                        \
	F TO "Subject: S\r\n" DATE ID V \
	     "Content-Type: text/html; charset=utf-8\r\n"
#define BODY "\r\n<p><a href=\"http://x.com/\">x</a>"
#define QP "Content-Transfer-Encoding: quoted-printable\r\n"

static char mail[] = "mail", smtp[] = "smtp:[mx]", x_tag[] = "X-Tag",
	    x_labels[] = "X-Labels", x_meta[] = "X-Meta",
	    return_path[] = "b+{token}@x.com";
static const struct route plain_route = { .name = mail,
					  .handoff = ROUTE_TRANSPORT,
					  .transport = smtp };
static const struct route full_route = { .name = mail,
					 .handoff = ROUTE_TRANSPORT,
					 .transport = smtp,
					 .return_path = return_path,
					 .tag_header = x_tag,
					 .labels_header = x_labels,
					 .metadata_header = x_meta,
					 .tracks = true };

/* --- a message and what came of it ---------------------------------------- */

struct scene {
	struct message *message;
	struct verdict verdict;
	struct route *routes[1];
	const char *cc; /* see struct requeue_as */
};

static void
give_headers(struct message *m, const char *text)
{
	while (*text != '\0') {
		const char *colon = strchr(text, ':');
		const char *end = strstr(text, "\r\n");
		char *name = strndup(text, (size_t)(colon - text));

		assert_non_null(name);
		message_header(m, name, colon + 2, (size_t)(end - colon - 2));
		free(name);
		text = end + 2;
	}
}

static void
judge_text(struct scene *s, const char *text, const char *api,
	   const struct route *route, const struct dialect *d,
	   const char *sender, size_t recipients)
{
	const char *body = strstr(text, "\r\n\r\n") + 4;
	struct account *a = account_new("acme");
	struct route_list list = { s->routes, 1 };
	char *head = strndup(text, (size_t)(body - text - 2));

	assert_non_null(head);
	s->routes[0] = (struct route *)(uintptr_t)route;
	assert_true(account_add_route(a, mail, ""));
	s->message = message_new(sender);
	for (size_t i = 0; i < recipients; i++) {
		char addr[32];

		(void)snprintf(addr, sizeof(addr), "r%zu@x.com", i);
		message_recipient(s->message, addr);
	}
	give_headers(s->message, head);
	if (api != NULL)
		message_header(s->message, "X-MSYS-API", api, strlen(api));
	message_want(s->message, d->body_wants | BODY_WANT_RAW);
	(void)message_body(s->message, body, strlen(body));
	judge(s->message, a, d, &list, &s->verdict);
	account_free(&a);
	free(head);
}

static void
clear(struct scene *s)
{
	verdict_clear(&s->verdict);
	message_free(&s->message);
}

static const struct outgoing_recipient *
recipient(const struct outgoing *o, const char *email)
{
	for (size_t i = 0; email != NULL && i < o->n_recipients; i++) {
		if (strcmp(o->recipients[i].email, email) == 0)
			return &o->recipients[i];
	}
	return NULL;
}

/* The message as it is sent, its sender in front. */
static bool
send_as(const struct scene *s, const char *whose, struct dynbuf *out,
	struct smtp_reply *refusal)
{
	const struct outgoing *o = s->verdict.outgoing;
	const struct tracking t = { .url = "https://t",
				    .key = (const unsigned char *)"k",
				    .key_len = 1,
				    .account = "acme",
				    .id = "i" };
	const struct requeue_as as = {
		.recipient = recipient(o, whose),
		.message_token = "m0",
		.token = "t0",
		.now = INT64_C(1763650800),
		.cc = s->cc,
		.tracking = requeue_is_tracked(o) ? &t : NULL,
	};
	struct edits *e = edits_new();
	size_t len;
	const char *raw = body_raw(message_body_state(s->message), &len);
	bool ok = requeue_to_transport(s->message, s->verdict.dialect, o, &as,
				       e, refusal);

	if (ok) {
		assert_string_equal(e->route, smtp);
		dynbuf_addf(out, "%s\n", e->sender ? e->sender : "-");
		assert_true(compose_message(out, s->message, e, raw, len));
	}
	edits_free(&e);
	return ok;
}

/* --- rows ----------------------------------------------------------------- */

#define CC2                                                     \
	"{\"cc\":[{\"email\":\"c1@x.com\",\"name\":\"D" E_ACUTE \
	"\"},\"c2@x.com\"],\"bcc\":[{\"email\":\"b1@x.com\","   \
	"\"name\":\"B, One\"},\"b2@x.com\"],\"archive\":[\"a1@x.com\"]}"
#define CC "Cc: =?utf-8?B?RMOp?= <c1@x.com>, c2@x.com\r\n"
/* The MAC is of openssl dgst -sha256 -hmac k. */
#define TRACKED                                                            \
	"\r\n<p><a href=3D\"https://t/c/eyJhIjoiYWNtZSIsImkiOiJpIiwidSI6I" \
	"mh0dHA6Ly94LmNvb=\r\nS8ifQ.5TX1N1yVwvthhqsuWTI8YQ\">x</a>\r\n"

static const struct row {
	const char *name, *text, *api;
	const struct route *route; /* NULL: plain */
	const char *whose;	   /* NULL: everybody's */
	const char *want;	   /* the sender, the message */
	const char *sender;	   /* NULL: s@x.com */
} rows[] = {
	{ "nobody is added", HEAD BODY, "{}", NULL, NULL, "-\n" HEAD BODY,
	  NULL },
	{ "the recipient's", HEAD BODY, CC2, NULL, "r0@x.com",
	  "-\n" HEAD CC BODY, NULL },
	{ "of cc", HEAD BODY, CC2, NULL, "c2@x.com", "-\n" HEAD CC BODY, NULL },
	{ "of bcc", HEAD BODY, CC2, NULL, "b1@x.com",
	  "-\n" HEAD CC "Bcc: \"B, One\" <b1@x.com>\r\n" BODY, NULL },
	{ "of bcc, without a name", HEAD BODY, CC2, NULL, "b2@x.com",
	  "-\n" HEAD CC "Bcc: b2@x.com\r\n" BODY, NULL },
	{ "of the archive", HEAD BODY, CC2, NULL, "a1@x.com",
	  "-\n" HEAD CC BODY, NULL },
	{ "the client's Cc stays in front", "Cc: own@x.com\r\n" HEAD BODY,
	  "{\"cc\":[\"c1@x.com\"]}", NULL, "r0@x.com",
	  "-\nCc: own@x.com, c1@x.com\r\n" HEAD BODY, NULL },
	{ "a client's Cc, and nobody is added",
	  "Cc: a (b) <own@x.com>\r\n" HEAD BODY, "{\"bcc\":[\"b1@x.com\"]}",
	  NULL, "r0@x.com", "-\nCc: a (b) <own@x.com>\r\n" HEAD BODY, NULL },
	{ "a client's Bcc goes", "Bcc: own@x.com\r\n" HEAD BODY,
	  "{\"bcc\":[\"b1@x.com\"]}", NULL, "b1@x.com",
	  "-\n" HEAD "Bcc: b1@x.com\r\n" BODY, NULL },
	{ "no To", F DATE ID HTML BODY, CC2, NULL, "a1@x.com",
	  "-\n" F DATE ID HTML CC BODY, NULL },
	{ "what is missing is the message's", F "To: x@x.com\r\n" HTML BODY,
	  CC2, &full_route, "c1@x.com",
	  "b+t0@x.com\n" F "To: x@x.com\r\n" HTML CC DATE
	  "Message-ID: <m0@example.com>\r\n" BODY,
	  NULL },
	{ "the null sender", HEAD BODY, "{}", &full_route, NULL,
	  "-\n" HEAD BODY, "" },

	/* headers for the next hop */
	{ "tag, labels, metadata",
	  "X-Meta: forged\r\nx-tag: forged\r\n" HEAD BODY,
	  "{\"campaign_id\":\"T\",\"tags\":[\"a\",\"b\"],\"metadata\":"
	  "{\"k\":1.0}}",
	  &full_route, NULL,
	  "b+t0@x.com\n" HEAD "X-Tag: T\r\nX-Labels: [\"a\", \"b\"]\r\n"
	  "X-Meta: {\"k\": 1.0}\r\n" BODY,
	  NULL },
	{ "a tag that is not ASCII", HEAD BODY,
	  "{\"campaign_id\":\"" E_ACUTE "\"}", &full_route, NULL,
	  "b+t0@x.com\n" HEAD "X-Tag: =?utf-8?B?w6k=?=\r\n" BODY, NULL },
	{ "a tag like an encoded word", HEAD BODY,
	  "{\"campaign_id\":\"\\u003d?utf-8?q?x?\\u003d\"}", &full_route, NULL,
	  "b+t0@x.com\n" HEAD
	  "X-Tag: =?utf-8?B?PT91dGYtOD9xP3g/PQ==?=\r\n" BODY,
	  NULL },
	{ "a route without such headers", HEAD BODY,
	  "{\"campaign_id\":\"T\",\"tags\":[\"a\"],\"metadata\":{}}", NULL,
	  NULL, "-\n" HEAD BODY, NULL },

	/* tracking */
	{ "clicks", HEAD BODY, "{\"options\":{\"click_tracking\":true}}",
	  &full_route, "r0@x.com", "b+t0@x.com\n" NEW_HEAD QP TRACKED, NULL },
	{ "no host, nothing asked", HEAD BODY, "{}", NULL, NULL,
	  "-\n" HEAD BODY, NULL },
};

static void
check_row(const struct row *r)
{
	struct scene s = { 0 };
	struct smtp_reply refusal = { 0 };
	DYNBUF_AUTO got;

	dynbuf_init(&got, ROOM);
	judge_text(&s, r->text, r->api, r->route ? r->route : &plain_route,
		   &dialect_sparkpost, r->sender ? r->sender : "s@x.com", 1);
	if (s.verdict.kind != VERDICT_HAND_OVER)
		fail_msg("%s: %s", r->name, s.verdict.reply.text);
	if (!send_as(&s, r->whose, &got, &refusal))
		fail_msg("%s: %s", r->name, refusal.text);
	if (strcmp(dynbuf_str(&got), r->want) != 0)
		fail_msg("%s:\n%s", r->name, dynbuf_str(&got));
	clear(&s);
}

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&rows[i]);
}

/* --- what is refused ------------------------------------------------------ */

#define OPTION(name) "{\"options\":{\"" name "\":true}}"

static const struct {
	const char *name, *body, *api;
	const struct route *route;
	const char *refusal; /* NULL: none */
} refused[] = {
	{ "opens without a host", "<p>", OPTION("open_tracking"), &plain_route,
	  "X-MSYS-API 'options.open_tracking': the route \"mail\" cannot do "
	  "this: open tracking" },
	{ "clicks without a host", "<p>", OPTION("click_tracking"),
	  &plain_route,
	  "X-MSYS-API 'options.click_tracking': the route \"mail\" cannot do "
	  "this: click tracking" },
	{ "opens with one", "<p>", OPTION("open_tracking"), &full_route, NULL },
	{ "CSS", "<style>p{}</style>", OPTION("inline_css"), &plain_route,
	  "X-MSYS-API 'options.inline_css': the route \"mail\" cannot do this: "
	  "CSS inlining" },
	{ "no CSS", "<style> </style><p>", OPTION("inline_css"), &plain_route,
	  NULL },
	{ "a DKIM key", "<p>", "{\"options\":{\"dkim_key\":\"k\"}}",
	  &plain_route,
	  "X-MSYS-API 'options.dkim_key': the route \"mail\" cannot do this: "
	  "DKIM key" },
};

static void
test_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct scene s = { 0 };
		DYNBUF_AUTO text;

		dynbuf_init(&text, ROOM);
		dynbuf_addf(&text, HEAD "\r\n%s", refused[i].body);
		judge_text(&s, dynbuf_str(&text), refused[i].api,
			   refused[i].route, &dialect_sparkpost, "s@x.com", 1);
		if (refused[i].refusal == NULL) {
			if (s.verdict.kind != VERDICT_HAND_OVER)
				fail_msg("%s: %s", refused[i].name,
					 s.verdict.reply.text);
		} else {
			assert_int_equal(s.verdict.kind, VERDICT_REFUSE);
			assert_int_equal(s.verdict.reply.code, 550);
			assert_string_equal(s.verdict.reply.text,
					    refused[i].refusal);
		}
		clear(&s);
	}
}

/* What is only found when it is written. */
static void
assert_not_sent(const char *message, const char *api, const char *text)
{
	struct scene s = { 0 };
	struct smtp_reply refusal = { 0 };
	DYNBUF_AUTO got;

	dynbuf_init(&got, ROOM);
	judge_text(&s, message, api, &full_route, &dialect_sparkpost, "s@x.com",
		   1);
	if (s.verdict.kind != VERDICT_HAND_OVER)
		fail_msg("%s", s.verdict.reply.text);
	assert_false(send_as(&s, "r0@x.com", &got, &refusal));
	assert_int_equal(refusal.code, 550);
	assert_string_equal(refusal.text, text);
	clear(&s);
}

/* Those of the message, so many, and those that are added. */
static void
assert_cc_too_long(int shown, const char *domain)
{
	DYNBUF_AUTO api, text;

	dynbuf_init(&text, ROOM);
	dynbuf_init(&api, ROOM);
	dynbuf_adds(&text, "Cc: c@example.com");
	for (int i = 0; i < shown; i++)
		dynbuf_addf(&text, ", shown%d%s", i, domain);
	dynbuf_adds(&text, "\r\n" HEAD BODY);
	dynbuf_adds(&api, "{\"cc\":[\"c@x.com\"");
	for (int i = 0; i < 900; i++)
		dynbuf_addf(&api, ",\"added%d@example.com\"", i);
	dynbuf_adds(&api, "]}");
	assert_not_sent(dynbuf_str(&text), dynbuf_str(&api),
			"X-MSYS-API 'cc': the names of all would be too long a "
			"header");
}

static void
test_too_long(void **state)
{
	static char name[901];
	DYNBUF_AUTO api;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	dynbuf_init(&api, ROOM);
	dynbuf_addf(&api, "{\"metadata\":{\"a\":\"%s\"}}", name);
	assert_not_sent(
	    HEAD BODY, dynbuf_str(&api),
	    "X-MSYS-API 'metadata': too long to be a header of the message, as "
	    "this route has it");
	dynbuf_truncate(&api, 0);
	dynbuf_addf(&api, "{\"tags\":[\"%s\"]}", name);
	assert_not_sent(
	    HEAD BODY, dynbuf_str(&api),
	    "X-MSYS-API 'tags': too long to be a header of the message, as "
	    "this route has it");
	assert_cc_too_long(1000, "@a.long.domain.of.example.com");
}

/* More commas and colons in the names than a list of mailboxes may have. */
static void
test_separators_in_names(void **state)
{
	struct smtp_reply refusal = { 0 };
	struct scene s = { 0 };
	DYNBUF_AUTO text;
	DYNBUF_AUTO got;

	(void)state;
	dynbuf_init(&text, ROOM);
	dynbuf_init(&got, ROOM);
	dynbuf_adds(&text, "Cc: c@example.com");
	for (int i = 0; i < 900; i++)
		dynbuf_addf(&text, ", =?utf-8?B?YSwgYjsgYzogXCJk?= <o%d@x>",
			    i); /* a, b; c: \"d */
	dynbuf_adds(&text, "\r\n" HEAD BODY);
	judge_text(&s, dynbuf_str(&text), "{\"cc\":[\"c1@x.com\"]}",
		   &plain_route, &dialect_sparkpost, "s@x.com", 1);
	if (!send_as(&s, "r0@x.com", &got, &refusal))
		fail_msg("%s", refusal.text);
	assert_non_null(strstr(dynbuf_str(&got), "Cc: c@example.com, "));
	for (int i = 0; i < 900; i++) {
		char one[32];

		(void)snprintf(one, sizeof(one), "<o%d@x>,", i);
		if (strstr(dynbuf_str(&got), one) == NULL)
			fail_msg("%s: %s", one, dynbuf_str(&got));
	}
	assert_non_null(strstr(dynbuf_str(&got), " c1@x.com\r\n"));
	clear(&s);
}

/* Once for all copies. */
static void
test_cc_is_given(void **state)
{
	struct smtp_reply refusal = { 0 };
	struct scene s = { 0 };
	DYNBUF_AUTO got;

	(void)state;
	dynbuf_init(&got, ROOM);
	s.cc = "given@x.com";
	judge_text(&s, HEAD BODY, "{\"cc\":[\"c1@x.com\"]}", &plain_route,
		   &dialect_sparkpost, "s@x.com", 1);
	assert_true(send_as(&s, "r0@x.com", &got, &refusal));
	assert_non_null(strstr(dynbuf_str(&got), "Cc: given@x.com\r\n"));
	clear(&s);
}

/* --- who needs a copy ----------------------------------------------------- */

static const struct {
	const char *name, *api;
	const struct route *route;
	size_t recipients;
	const char *sender;
	bool copies, tracked;
} needs[] = {
	{ "one", "{}", &full_route, 1, "s@x.com", false, false },
	{ "one, tracked", OPTION("open_tracking"), &full_route, 1, "s@x.com",
	  false, true },
	{ "two by a return path with a token", "{}", &full_route, 2, "s@x.com",
	  true, false },
	{ "two, the null sender", "{}", &full_route, 2, "", false, false },
	{ "two, plainly", "{}", &plain_route, 2, "s@x.com", false, false },
	{ "two, tracked", OPTION("click_tracking"), &full_route, 2, "", true,
	  true },
	{ "one and a cc", "{\"cc\":[\"c@x.com\"]}", &plain_route, 1, "", true,
	  false },
	{ "one and an archive", "{\"archive\":[\"c@x.com\"]}", &plain_route, 1,
	  "", true, false },
	{ "added, but there", "{\"cc\":[\"r0@x.com\"]}", &plain_route, 1, "",
	  false, false },
};

static void
test_needs(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		struct scene s = { 0 };

		judge_text(&s, HEAD BODY, needs[i].api, needs[i].route,
			   &dialect_sparkpost, needs[i].sender,
			   needs[i].recipients);
		if (s.verdict.kind != VERDICT_HAND_OVER)
			fail_msg("%s: %s", needs[i].name, s.verdict.reply.text);
		if (requeue_needs_copies(s.verdict.outgoing) !=
			needs[i].copies ||
		    requeue_is_tracked(s.verdict.outgoing) != needs[i].tracked)
			fail_msg("%s", needs[i].name);
		clear(&s);
	}
}

static void
test_tracked_as(void **state)
{
	struct outgoing *o = outgoing_new();

	(void)state;
	outgoing_add_recipient(o, "c@x", "", OUTGOING_CC);
	outgoing_add_recipient(o, "r@x", "", OUTGOING_TO);
	outgoing_add_recipient(o, "s@x", "", OUTGOING_TO);
	outgoing_add_recipient(o, "b@x", "", OUTGOING_BCC);
	outgoing_add_recipient(o, "a@x", "", OUTGOING_ARCHIVE);
	for (size_t i = 0; i < 4; i++)
		assert_ptr_equal(requeue_tracked_as(o, &o->recipients[i]),
				 &o->recipients[i]);
	assert_ptr_equal(requeue_tracked_as(o, &o->recipients[4]),
			 &o->recipients[1]);
	outgoing_free(&o);
}

/* --- a text that is made -------------------------------------------------- */

#define PARTS(html)                                                   \
	"--b\r\n" html "\r\n--b\r\nContent-Type: application/pdf\r\n" \
	"\r\nPDF\r\n--b--\r\n"
#define MIXED "Content-Type: multipart/mixed; boundary=b\r\n"
#define RELATED(type)                                      \
	"Content-Type: multipart/related; type=" type "; " \
	"boundary=b\r\n\r\n"
#define NEW_TEXT                                                      \
	"Content-Type: text/plain; charset=utf-8\r\n" QP "\r\nx\r\n"  \
	"--=_txm_t0\r\nContent-Type: text/html; charset=utf-8\r\n" QP \
	"\r\n<p>x\r\n--=_txm_t0--"
#define TYPE \
	"Content-Type: multipart/alternative;\r\n boundary=\"=_txm_t0\"\r\n"

static void
send_made(const char *text, const char *want)
{
	struct scene s = { 0 };
	struct smtp_reply refusal = { 0 };
	struct outgoing *o;
	DYNBUF_AUTO got;

	dynbuf_init(&got, ROOM);
	judge_text(&s, text, "{}", &plain_route, &dialect_sparkpost, "s@x.com",
		   1);
	assert_int_equal(s.verdict.kind, VERDICT_HAND_OVER);
	o = s.verdict.outgoing;
	o->text = strdup("x");
	assert_non_null(o->text);
	o->text_len = 1;
	o->text_is_made = true;
	assert_true(send_as(&s, NULL, &got, &refusal));
	assert_string_equal(dynbuf_str(&got), want);
	clear(&s);
}

#define SIGNED_BODY                                                     \
	"\r\n--b\r\n" HTML "\r\n<a href=\"http://x/\">x</a>\r\n--b\r\n" \
	"Content-Type: application/pkcs7-signature\r\n\r\nz\r\n--b--\r\n"
#define SIGNED_HEAD                                               \
	F TO "Subject: S\r\n" DATE ID "DKIM-Signature: a=1\r\n" V \
	     "Content-Type: multipart/signed; boundary=b\r\n"

static void
test_signed(void **state)
{
	struct scene s = { 0 };

	(void)state;
	send_made(SIGNED_HEAD SIGNED_BODY, "-\n" SIGNED_HEAD SIGNED_BODY);
	judge_text(&s, SIGNED_HEAD SIGNED_BODY, OPTION("click_tracking"),
		   &full_route, &dialect_sparkpost, "s@x.com", 1);
	assert_int_equal(s.verdict.kind, VERDICT_REFUSE);
	assert_string_equal(s.verdict.reply.text,
			    "X-MSYS-API 'options.click_tracking': the message "
			    "is signed, and nothing in it may change");
	clear(&s);
	judge_text(&s, SIGNED_HEAD SIGNED_BODY, "{}", &full_route,
		   &dialect_sparkpost, "s@x.com", 1);
	assert_int_equal(s.verdict.kind, VERDICT_HAND_OVER);
	s.verdict.outgoing->click_tracking = SWITCH_ON; /* by default */
	assert_false(requeue_is_tracked(s.verdict.outgoing));
	clear(&s);
}

/* It would be wrong; where nothing changes it stays. */
static void
test_dkim_signature(void **state)
{
	(void)state;
	send_made("DKIM-Signature: a=1\r\nDKIM-Signature: a=2\r\n" F TO
		  "Subject: S\r\n" DATE ID MIXED "\r\n" PARTS(HTML "\r\n<p>x"),
		  "-\n" F TO "Subject: S\r\n" DATE ID MIXED
		  "\r\n" PARTS(TYPE "\r\n--=_txm_t0\r\n" NEW_TEXT));
}

static void
test_text(void **state)
{
	(void)state;
	send_made(F TO "Subject: S\r\n" DATE ID
		       "Content-Transfer-Encoding: 8bit\r\n" HTML "\r\n<p>x",
		  "-\n" F TO "Subject: S\r\n" DATE ID
		  "Content-Transfer-Encoding: 7bit\r\n" TYPE V
		  "\r\n--=_txm_t0\r\n" NEW_TEXT "\r\n");
	send_made(F TO DATE ID V MIXED "\r\n" PARTS(HTML "\r\n<p>x"),
		  "-\n" F TO DATE ID V MIXED
		  "\r\n" PARTS(TYPE "\r\n--=_txm_t0\r\n" NEW_TEXT));
	send_made(F TO DATE ID V RELATED("text/html") PARTS(HTML "\r\n<p>x"),
		  "-\n" F TO DATE ID V RELATED("\"multipart/alternative\"")
		      PARTS(TYPE "\r\n--=_txm_t0\r\n" NEW_TEXT));
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
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_separators_in_names),
		cmocka_unit_test(test_cc_is_given),
		cmocka_unit_test(test_needs),
		cmocka_unit_test(test_tracked_as),
		cmocka_unit_test(test_signed),
		cmocka_unit_test(test_dkim_signature),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
