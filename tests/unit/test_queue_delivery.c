/* SPDX-License-Identifier: MIT */
/*
 * Mails as Postfix's queue brings them, from RCPT to the replies. The calls'
 * answers are written in letters: api_scene.h.
 */
#include "milter/queue_delivery.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "api_scene.h"
#include "milter/copy_arrival.h"
#include "milter/copy_ledger.h"
#include "milter/crypto.h"
#include "milter/keystore.h"
#include "milter/lmtp_command.h"
#include "milter/plan_seal.h"
#include "milter/resubmit.h"
#include "milter/sent_memory.h"
#include "policy/dynbuf.h"
#include "policy/edits.h"
#include "policy/header_text.h"
#include "policy/mail_reader.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/plan.h"
#include "policy/requeue.h"
#include "policy/route.h"
#include "policy/smtp_reply.h"

#define RECIPIENTS_MAX 1000
#define HTML "Content-Type: text/html\r\n"
#define HELLO "<p>Hello</p>\r\n"
#define BODY "\r\n" HELLO

/* --- the agent, and the key store ----------------------------------------- */

struct lmtp_answer {
	struct smtp_reply replies[RECIPIENTS_MAX];
	size_t n;
	unsigned times;
	sem_t given;
};

void
lmtp_answer(struct lmtp_answer **ap, const struct smtp_reply *replies, size_t n)
{
	struct lmtp_answer *a = *ap;

	if (n > RECIPIENTS_MAX)
		abort();
	memcpy(a->replies, replies, n * sizeof(*replies));
	a->n = n;
	a->times++;
	*ap = NULL;
	if (sem_post(&a->given) != 0)
		abort();
}

/* What the store says. */
static struct {
	int key, account; /* as keystore_key() and keystore_api_key() answer */
	enum keystore_status status;
	bool disabled; /* the account */
	const char *api_key;
	char asked[2][65]; /* for which key id, which account */
} store;

int
keystore_key(struct keystore *ks, const char *key_id, struct keystore_key *k_r)
{
	(void)ks;
	memset(k_r, 0, sizeof(*k_r));
	k_r->status = store.status;
	(void)snprintf(store.asked[0], sizeof(store.asked[0]), "%s", key_id);
	return store.key;
}

int
keystore_api_key(struct keystore *ks, const char *account,
		 char api_key_r[KEY_MAX + 1], bool *disabled_r)
{
	(void)ks;
	(void)snprintf(store.asked[1], sizeof(store.asked[1]), "%s", account);
	(void)snprintf(api_key_r, KEY_MAX + 1, "%s", store.api_key);
	*disabled_r = store.disabled;
	return store.account;
}

/* --- resubmit: what is said for each recipient of copies -------------------
 */

struct posted {
	char *sender, *recipient, *data;
};

static struct {
	/* Of r0, r1, ...: it comes in, and then 'a' (250), 'o' (451) or 'r'
	 * (550); or it does not: 'A', 'O', 'R'. */
	const char *script;
	const struct scene *scene;
	bool ending, utf8, eight_bit;
	struct posted v[RECIPIENTS_MAX];
	size_t n;
} posts;

static void check_arrival(const struct scene *s, const struct posted *p);

bool
resubmit_is_ending(const struct resubmit_line *line)
{
	(void)line;
	return posts.ending;
}

void
resubmit_submit(struct resubmit *r, struct resubmit_job *job)
{
	(void)r;
	job->run(job, NULL);
}

void
resubmit_send(struct resubmit_line *line, const struct resubmit_mail *m,
	      struct smtp_reply *reply_r)
{
	size_t recipient = strtoul(m->recipient + 1, NULL, 10);
	struct posted *p = &posts.v[posts.n++];

	(void)line;
	if (posts.n > RECIPIENTS_MAX || m->deadline_ms <= 0 ||
	    recipient >= strlen(posts.script))
		abort();
	*p = (struct posted){ .sender = strdup(m->sender),
			      .recipient = strdup(m->recipient) };
	if (asprintf(&p->data, "%.*s%.*s", (int)m->head_len, m->head,
		     (int)m->body_len, m->body) < 0)
		abort();
	posts.utf8 = m->utf8;
	posts.eight_bit = m->eight_bit;
	if (strchr("aor", posts.script[recipient]) != NULL)
		check_arrival(posts.scene, p);
	switch (posts.script[recipient] | 0x20) {
	case 'a':
		smtp_reply_set(reply_r, 250, "2.0.0", "Taken");
		break;
	case 'r':
		smtp_reply_set(reply_r, 550, "5.1.1", "Nobody");
		break;
	default:
		smtp_reply_set(reply_r, 451, "4.4.2", "Not now");
		break;
	}
}

static void
forget_posts(const char *script)
{
	for (size_t i = 0; i < posts.n; i++) {
		free(posts.v[i].sender);
		free(posts.v[i].recipient);
		free(posts.v[i].data);
	}
	posts.n = 0;
	posts.script = script;
}

/* --- a mail --------------------------------------------------------------- */

/* What was sent of the body when it was accepted. */
static void
set_content(struct plan *p, const char *html)
{
	char *text = strdup(html);
	const struct outgoing o = { .html = text, .html_len = strlen(html) };

	assert_non_null(text);
	submission_content(&o, p->content);
	free(text);
}

/* "odr": the first recipient open, the second done, the third refused; R: with
 * the reply to a wrong key. */
static struct plan *
make_plan(const char *states)
{
	struct outgoing *o = scene_outgoing(strlen(states));
	struct plan *p;

	free(o->html);
	o->html = NULL;
	o->html_len = 0;
	p = plan_new(o);
	memset(p->submission, 7, sizeof(p->submission));
	p->body_version = PLAN_BODY_VERSION;
	strcpy(p->queue_id, "4Tx1qR0Zzz");
	strcpy(p->account, "acme");
	strcpy(p->key_id, "k1");
	strcpy(p->key, SCENE_KEY);
	strcpy(p->api, "main");
	strcpy(p->dialect, "emaildelivery");
	set_content(p, HELLO);
	for (size_t i = 0; states[i] != '\0'; i++) {
		struct plan_recipient *r = &p->recipients[i];

		r->state = states[i] == 'd'   ? PLAN_DONE
			   : states[i] == 'o' ? PLAN_OPEN
					      : PLAN_REFUSED;
		if (states[i] == 'r')
			smtp_reply_set(&r->reply, 552, "5.3.4", "Too large");
		if (states[i] == 'R')
			smtp_reply_set(&r->reply, 535, "5.7.8", "Wrong key");
	}
	return p;
}

static void
add_header(void *arg, const char *value)
{
	struct dynbuf *mail = arg;

	assert_true(dynbuf_addf(mail, REQUEUE_PLAN_HEADER ": "));
	for (; *value != '\0'; value++) {
		if (*value == '\n')
			assert_true(dynbuf_adds(mail, "\r"));
		assert_true(dynbuf_add(mail, value, 1));
	}
	assert_true(dynbuf_adds(mail, "\r\n"));
}

static void
add_text(const struct crypto_seal *seal, const char *text, size_t len,
	 struct dynbuf *mail)
{
	plan_seal(seal, text, len, add_header, mail);
}

static void
add_plan(const struct crypto_seal *seal, const struct plan *p,
	 struct dynbuf *mail)
{
	DYNBUF_AUTO text;

	dynbuf_init(&text, PLAN_MAX);
	assert_true(plan_write(p, &text));
	add_text(seal, text.data, text.len, mail);
}

/* A whole mail, with a plan of these states; of one number it is the same. */
static void
add_numbered(struct scene *s, const char *states, size_t number,
	     struct dynbuf *mail)
{
	struct plan *p = make_plan(states);

	p->submission[0] ^= (unsigned char)number;
	assert_true(dynbuf_adds(mail, HTML));
	add_plan(s->services.seal, p, mail);
	assert_true(dynbuf_adds(mail, BODY));
	plan_free(&p);
}

static void
add_states(struct scene *s, const char *states, struct dynbuf *mail)
{
	add_numbered(s, states, 0, mail);
}

struct recipient_row {
	const char *address, *typed;
};

/* A transaction, from its begin to its end. */
struct delivery {
	void *mail;
	struct lmtp_answer *answer;
};

/* What Postfix says of it. */
static struct lmtp_mail said;

static void
begin(struct delivery *d, struct scene *s)
{
	d->answer = calloc(1, sizeof(*d->answer));
	assert_non_null(d->answer);
	assert_int_equal(sem_init(&d->answer->given, 0, 0), 0);
	d->mail =
	    queue_delivery.begin(&s->services, "bounce@acme.example", &said);
	assert_non_null(d->mail);
}

static void
add_recipient(struct delivery *d, const char *address, const char *typed)
{
	struct smtp_reply reply = { 0 };

	queue_delivery.recipient(d->mail, address, typed, &reply);
	assert_int_equal(reply.code, 250);
}

/* piece: bytes at a time. */
static void
add_data(struct delivery *d, const struct dynbuf *mail, size_t piece)
{
	for (size_t at = 0; at < mail->len; at += piece) {
		size_t left = mail->len - at;

		queue_delivery.data(d->mail, mail->data + at,
				    left < piece ? left : piece);
	}
}

static void
end(struct delivery *d)
{
	queue_delivery.end(d->mail, d->answer);
	d->mail = NULL;
}

static void
clear(struct delivery *d)
{
	assert_int_equal(d->answer->times, 1);
	assert_int_equal(sem_destroy(&d->answer->given), 0);
	free(d->answer);
	d->answer = NULL;
	assert_int_equal(scene_waiting(), 0);
}

static void
wait_answer(struct delivery *d)
{
	struct timespec until;

	assert_int_equal(clock_gettime(CLOCK_REALTIME, &until), 0);
	until.tv_sec += 60;
	while (sem_timedwait(&d->answer->given, &until) != 0)
		assert_int_equal(errno, EINTR);
}

static void
assert_reply(const struct delivery *d, const char *what, size_t i,
	     const char *text)
{
	const struct smtp_reply *r = &d->answer->replies[i];
	char got[SMTP_REPLY_TEXT_MAX + 32];

	(void)snprintf(got, sizeof(got), "%d %s %s", r->code, r->enhanced,
		       r->text);
	if (strncmp(got, text, strlen(text)) != 0)
		fail_msg("%s: recipient %zu: %s", what, i, got);
}

/* One to r0, r1, ..., n of them. */
static void
send_to(struct delivery *d, struct scene *s, const struct dynbuf *mail,
	size_t n, size_t piece)
{
	begin(d, s);
	for (size_t i = 0; i < n; i++) {
		char address[32];

		(void)snprintf(address, sizeof(address), "r%zu@x.example", i);
		add_recipient(d, address, NULL);
	}
	add_data(d, mail, piece);
	end(d);
}

static void
deliver(struct delivery *d, struct scene *s, const struct dynbuf *mail,
	size_t n, size_t piece)
{
	send_to(d, s, mail, n, piece);
	scene_answer_all(SCENE_FIRST);
}

/* --- the recipients ------------------------------------------------------- */

#define DONE "250 2.0.0 "
#define NOT_IN "550 5.7.1 The message was not accepted for this recipient"

static const struct {
	const char *name;
	const char *states; /* of the plan: make_plan() */
	const char *script;
	struct recipient_row to[4];
	const char *called;
	const char *replies[4];
} recipients[] = {
	{ "one", "o", "a", { { "r0@x.example", NULL } }, "0", { DONE } },
	{ "all of them",
	  "ooo",
	  "aro",
	  { { "r0@x.example", NULL },
	    { "r1@x.example", NULL },
	    { "r2@x.example", NULL } },
	  "012",
	  { DONE, "550 5.6.0 The API refused the message: No r1",
	    "451 4.4.2 The API failed" } },
	{ "in another order",
	  "ooo",
	  "aro",
	  { { "r2@x.example", NULL },
	    { "r0@x.example", NULL },
	    { "r1@x.example", NULL } },
	  "012",
	  { "451 4.4.2 ", DONE, "550 5.6.0 " } },
	{ "some of them",
	  "oooo",
	  "aroa",
	  { { "r1@x.example", NULL }, { "r3@x.example", NULL } },
	  "13",
	  { "550 5.6.0 ", DONE } },
	{ "done", "d", "o", { { "r0@x.example", NULL } }, "", { DONE } },
	{ "refused",
	  "r",
	  "a",
	  { { "r0@x.example", NULL } },
	  "",
	  { "552 5.3.4 Too large" } },
	{ "refused for its key",
	  "R",
	  "a",
	  { { "r0@x.example", NULL } },
	  "",
	  { "550 5.7.8 The API key is wrong or revoked" } },
	{ "one of each",
	  "dro",
	  "oor",
	  { { "r0@x.example", NULL },
	    { "r1@x.example", NULL },
	    { "r2@x.example", NULL } },
	  "2",
	  { DONE, "552 5.3.4 ", "550 5.6.0 " } },
	{ "the open one of each",
	  "rdo",
	  "a",
	  { { "r2@x.example", NULL } },
	  "2",
	  { DONE } },
	{ "twice the same",
	  "oo",
	  "ra",
	  { { "r0@x.example", NULL },
	    { "r0@x.example", NULL },
	    { "r1@x.example", NULL } },
	  "01",
	  { "550 5.6.0 ", "550 5.6.0 ", DONE } },
	{ "domain in another case",
	  "o",
	  "a",
	  { { "r0@X.Example", NULL } },
	  "0",
	  { DONE } },
	{ "quoted by Postfix",
	  "o",
	  "a",
	  { { "\"r0\"@x.example", NULL } },
	  "0",
	  { DONE } },
	{ "local part in another case",
	  "o",
	  "a",
	  { { "R0@x.example", NULL } },
	  "",
	  { NOT_IN } },
	{ "not in the plan",
	  "o",
	  "a",
	  { { "r1@x.example", NULL } },
	  "",
	  { NOT_IN } },
	{ "not in the plan, beside one that is",
	  "o",
	  "a",
	  { { "r1@x.example", NULL }, { "r0@x.example", NULL } },
	  "0",
	  { NOT_IN, DONE } },
	/* What the client wrote counts where Postfix wrote it anew. */
	{ "rewritten",
	  "oo",
	  "or",
	  { { "alias@y.example", "r1@x.example" } },
	  "1",
	  { "550 5.6.0 " } },
	{ "rewritten to another of it",
	  "oo",
	  "ra",
	  { { "r0@x.example", "r1@x.example" },
	    { "r0@x.example", "r0@x.example" } },
	  "01",
	  { DONE, "550 5.6.0 " } },
	{ "typed is not in the plan",
	  "o",
	  "a",
	  { { "r0@x.example", "other@x.example" } },
	  "0",
	  { DONE } },
	{ "neither is in the plan",
	  "o",
	  "a",
	  { { "r1@x.example", "other@x.example" } },
	  "",
	  { NOT_IN } },
	/* 401, which is 535 to a client that logs in. */
	{ "wrong key",
	  "o",
	  "k",
	  { { "r0@x.example", NULL } },
	  "0",
	  { "550 5.7.8 The API key is wrong or revoked" } },
	/* Who has an answer of his own hears that. */
	{ "wrong key for one",
	  "ooo",
	  "kao",
	  { { "r0@x.example", NULL },
	    { "r1@x.example", NULL },
	    { "r2@x.example", NULL } },
	  "012",
	  { "550 5.7.8 ", DONE, "451 4.4.2 " } },
	{ "misfit",
	  "o",
	  "m",
	  { { "r0@x.example", NULL } },
	  "0",
	  { "451 4.3.5 " } },
	{ "no answer",
	  "o",
	  "t",
	  { { "r0@x.example", NULL } },
	  "0",
	  { "451 4.4.1 " } },
	{ "pool full",
	  "oo",
	  "f",
	  { { "r0@x.example", NULL }, { "r1@x.example", NULL } },
	  "",
	  { "451 4.3.2 ", "451 4.3.2 " } },
	{ "nobody", "o", "a", { { NULL, NULL } }, "", { NULL } },
};

static void
check_recipients(struct scene *s, size_t row, enum scene_order order)
{
	const char *name = recipients[row].name;
	unsigned long counted[3] = { 0 };
	struct delivery d;
	DYNBUF_AUTO mail;
	size_t n = 0;

	scene_script(recipients[row].script);
	scene_health(s, SCENE_UP);
	sent_memory_keep_for(s->services.sent, 0);
	memset(&scene_refused, 0, sizeof(scene_refused));
	dynbuf_init(&mail, 1024 * 1024);
	add_states(s, recipients[row].states, &mail);
	begin(&d, s);
	while (n < 4 && recipients[row].to[n].address != NULL) {
		add_recipient(&d, recipients[row].to[n].address,
			      recipients[row].to[n].typed);
		n++;
	}
	add_data(&d, &mail, mail.len);
	end(&d);
	scene_answer_all(order);
	scene_assert_called(name, recipients[row].called);
	assert_int_equal(d.answer->n, n);
	for (size_t i = 0; i < n; i++) {
		const char *reply = recipients[row].replies[i];

		assert_reply(&d, name, i, reply);
		counted[reply[0] == '2' ? 0 : reply[0] == '5' ? 1 : 2]++;
	}
	if (scene_refused.n != (strchr(recipients[row].script, 'k') != NULL))
		fail_msg("%s: key told %u times", name, scene_refused.n);
	clear(&d);
}

static void
test_recipients(void **state)
{
	for (size_t i = 0; i < sizeof(recipients) / sizeof(recipients[0]);
	     i++) {
		check_recipients(*state, i, SCENE_FIRST);
		check_recipients(*state, i, SCENE_LAST);
	}
}

static void
test_metrics(void **state)
{
	static const char name[] = "txmilter_deliveries_total{result=";
	static const struct {
		const char *result;
		unsigned long n;
	} rows[] = { { "\"accepted\"}", 3 },
		     { "\"refused\"}", 2 },
		     { "\"later\"}", 1 } };
	struct scene *s = *state;
	struct delivery d;
	DYNBUF_AUTO mail;

	scene_script("aaro");
	dynbuf_init(&mail, 1024 * 1024);
	add_states(s, "ooood", &mail);
	deliver(&d, s, &mail, 6, mail.len);
	for (size_t i = 0; i < 3; i++) {
		char metric[80];

		(void)snprintf(metric, sizeof(metric), "%s%s", name,
			       rows[i].result);
		assert_int_equal(scene_metric(s, metric), rows[i].n);
	}
	assert_true(scene_logged(
	    "4Tx1qR0Zzz: delivery key=k1 account=acme api=main rcpts=6 "
	    "accepted=3 refused=2 later=1 ms="));
	clear(&d);
}

/* --- the mail ------------------------------------------------------------- */

enum plan_kind {
	PLAN_GOOD,
	PLAN_ALTERED,
	PLAN_OF_ANOTHER_SECRET,
	PLAN_OTHER_VERSION,
	PLAN_NOT_JSON,
	PLAN_UNKNOWN_DIALECT,
	PLAN_UNKNOWN_API,
	PLAN_TEMPLATE,
	PLAN_NONE,
	PLAN_TWICE,
	PLAN_GARBAGE,
};

#define REFUSED "550 5.7.1 "
#define UNREADABLE "451 4.3.5 The plan of this message cannot be read"
#define PART "\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>Hi\r\n--b--\r\n"

static const struct {
	const char *name;
	const char *before; /* the plan */
	enum plan_kind plan;
	const char *content; /* what was sent of the body, says the plan */
	const char *after;   /* to the end; "X-": of that, far too much */
	const char *reply;   /* DONE: and the API was called */
	const char *log;
} mails[] = {
	{ "good", HTML, PLAN_GOOD, HELLO, BODY, DONE, "accepted=1" },
	{ "plan first", "", PLAN_GOOD, HELLO, HTML BODY, DONE, "accepted=1" },
	{ "no plan", HTML, PLAN_NONE, "", BODY,
	  REFUSED "This is no message of the relay",
	  "lmtp: delivery result=refused reason=\"This is no message" },
	{ "empty", "", PLAN_NONE, "", "", REFUSED "This is no message",
	  "result=refused" },
	{ "no headers", "", PLAN_NONE, "", BODY, REFUSED "This is no message",
	  "result=refused" },
	{ "plan in the body", HTML "\r\n", PLAN_GOOD, HELLO, BODY,
	  REFUSED "This is no message", "result=refused" },
	{ "empty plan", HTML REQUEUE_PLAN_HEADER ":\r\n", PLAN_NONE, "", BODY,
	  REFUSED "This is no message", "result=refused" },
	/* Maybe the operator mends it. */
	{ "altered", HTML, PLAN_ALTERED, HELLO, BODY, UNREADABLE,
	  "lmtp: delivery result=later reason=\"The plan of this message" },
	{ "another secret", HTML, PLAN_OF_ANOTHER_SECRET, HELLO, BODY,
	  UNREADABLE, "result=later" },
	{ "garbage", HTML, PLAN_GARBAGE, "", BODY, UNREADABLE, "result=later" },
	{ "two plans", HTML, PLAN_TWICE, HELLO, BODY, UNREADABLE,
	  "result=later" },
	{ "another version", HTML, PLAN_OTHER_VERSION, HELLO, BODY, UNREADABLE,
	  "result=later" },
	{ "no plan in the seal", HTML, PLAN_NOT_JSON, "", BODY, UNREADABLE,
	  "result=later" },
	{ "unknown dialect", HTML, PLAN_UNKNOWN_DIALECT, HELLO, BODY,
	  "451 4.3.5 The plan has an unknown dialect",
	  "4Tx1qR0Zzz: delivery result=later reason=\"The plan has an" },
	{ "unknown API", HTML, PLAN_UNKNOWN_API, HELLO, BODY,
	  "451 4.3.5 The relay does not know this API any more",
	  "4Tx1qR0Zzz: there is no [api gone]" },
	/* The body is read anew, and must be the one. */
	{ "no body", HTML, PLAN_GOOD, HELLO, "", "550 5.6.0 ",
	  "result=refused" },
	{ "an image", "Content-Type: image/png\r\n", PLAN_GOOD, HELLO, BODY,
	  "550 5.6.0 The message has no HTML or text part", "result=refused" },
	{ "text", "", PLAN_GOOD, "Hello<br>\n", "\r\nHello\r\n", DONE,
	  "accepted=1" },
	{ "a part",
	  "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n",
	  PLAN_GOOD, "<p>Hi", PART, DONE, "accepted=1" },
	{ "template, no body", "", PLAN_TEMPLATE, "", "", DONE, "accepted=1" },
	{ "template and body", HTML, PLAN_TEMPLATE, HELLO, BODY, DONE,
	  "accepted=1" },
	{ "another body", HTML, PLAN_GOOD, "<p>Another</p>\r\n", BODY,
	  "451 4.3.5 The message is not the one the plan is of",
	  "4Tx1qR0Zzz: delivery result=later reason=\"The message is not" },
	{ "template, and a body that was not there", HTML, PLAN_TEMPLATE, "",
	  BODY, "451 4.3.5 The message is not the one", "result=later" },
	{ "template, and its body is gone", "", PLAN_TEMPLATE, HELLO, "",
	  "451 4.3.5 The message is not the one", "result=later" },
	{ "another type of the same", "", PLAN_GOOD, HELLO, BODY,
	  "451 4.3.5 The message is not the one", "result=later" },
	{ "other headers do not count", "X-A: 1\r\nTo: nobody\r\n" HTML,
	  PLAN_GOOD, HELLO, BODY, DONE, "accepted=1" },
	/* No message of ours has more. */
	{ "a header too long", HTML, PLAN_GOOD, HELLO,
	  "X-Long: ", "550 5.6.0 A header is too long", "result=refused" },
	{ "a name too long", "", PLAN_NONE, "", "X-",
	  "550 5.6.0 A header is too long", "result=refused" },
};

static char *
find_plan(struct dynbuf *mail)
{
	char *at = strstr(mail->data, REQUEUE_PLAN_HEADER ": ");

	assert_non_null(at);
	return at + strlen(REQUEUE_PLAN_HEADER ": ");
}

static void
add_other_version(struct scene *s, const struct plan *p, struct dynbuf *mail)
{
	static const char version[] = "\"version\":";
	DYNBUF_AUTO text;

	dynbuf_init(&text, PLAN_MAX);
	assert_true(plan_write(p, &text));
	strstr(text.data, version)[strlen(version)]++;
	add_text(s->services.seal, text.data, text.len, mail);
}

static void
add_foreign(struct scene *s, const struct plan *p, struct dynbuf *mail)
{
	struct crypto_seal *other = scene_seal(s, 't');

	add_plan(other, p, mail);
	crypto_seal_free(&other);
}

static void
add_plan_of(struct scene *s, enum plan_kind kind, const char *content,
	    struct dynbuf *mail)
{
	struct plan *p = make_plan("o");
	char *at;

	set_content(p, content);
	switch (kind) {
	case PLAN_NONE:
		break;
	case PLAN_OF_ANOTHER_SECRET:
		add_foreign(s, p, mail);
		break;
	case PLAN_OTHER_VERSION:
		add_other_version(s, p, mail);
		break;
	case PLAN_NOT_JSON:
		add_text(s->services.seal, "hello", 5, mail);
		break;
	case PLAN_GARBAGE:
		add_header(mail, "SGVsbG8=");
		break;
	case PLAN_ALTERED:
		add_plan(s->services.seal, p, mail);
		at = find_plan(mail);
		*at = *at == 'A' ? 'B' : 'A';
		break;
	case PLAN_TWICE:
		add_plan(s->services.seal, p, mail);
		add_plan(s->services.seal, p, mail);
		break;
	case PLAN_UNKNOWN_DIALECT:
		strcpy(p->dialect, "esperanto");
		add_plan(s->services.seal, p, mail);
		break;
	case PLAN_UNKNOWN_API:
		strcpy(p->api, "gone");
		add_plan(s->services.seal, p, mail);
		break;
	case PLAN_TEMPLATE:
		p->outgoing->template_id = strdup("t1");
		/* fall through */
	case PLAN_GOOD:
		add_plan(s->services.seal, p, mail);
		break;
	}
	plan_free(&p);
}

static void
make_mail(struct scene *s, size_t row, struct dynbuf *mail)
{
	dynbuf_init(mail, 1024 * 1024);
	assert_true(dynbuf_adds(mail, mails[row].before));
	add_plan_of(s, mails[row].plan, mails[row].content, mail);
	assert_true(dynbuf_adds(mail, mails[row].after));
	if (mails[row].after[0] != 'X')
		return;
	while (mail->len <= 2 * (size_t)MAIL_READER_FIELD_MAX)
		assert_true(dynbuf_adds(mail, "0123456789"));
	assert_true(dynbuf_adds(mail, "\r\n" BODY));
}

static void
check_mail(struct scene *s, size_t row, size_t piece)
{
	const char *name = mails[row].name;
	bool called = strcmp(mails[row].reply, DONE) == 0;
	struct delivery d;
	DYNBUF_AUTO mail;

	scene_script("a");
	scene_forget_log();
	sent_memory_keep_for(s->services.sent, 0);
	make_mail(s, row, &mail);
	deliver(&d, s, &mail, 2, piece);
	assert_int_equal(d.answer->n, 2);
	assert_reply(&d, name, 0, mails[row].reply);
	/* The second is in no plan, as far as one can be read. */
	assert_reply(&d, name, 1,
		     scene_logged("a recipient is not in the plan")
			 ? NOT_IN
			 : mails[row].reply);
	scene_assert_called(name, called ? "0" : "");
	if (!scene_logged(mails[row].log))
		fail_msg("%s: log", name);
	clear(&d);
}

static void
test_mails(void **state)
{
	for (size_t i = 0; i < sizeof(mails) / sizeof(mails[0]); i++) {
		check_mail(*state, i, 1024 * 1024);
		check_mail(*state, i, 1);
	}
}

/* More than any plan has. */
static void
test_plan_too_long(void **state)
{
	struct scene *s = *state;
	struct delivery d;
	DYNBUF_AUTO mail;

	dynbuf_init(&mail, 2 * (size_t)PLAN_HEADERS_MAX);
	while (mail.len < PLAN_HEADERS_MAX) {
		assert_true(dynbuf_adds(&mail, REQUEUE_PLAN_HEADER ":"));
		for (size_t i = 0; i < 90000; i += 10)
			assert_true(dynbuf_adds(&mail, " AAAABBBB\t"));
		assert_true(dynbuf_adds(&mail, "\r\n"));
	}
	assert_true(dynbuf_adds(&mail, HTML BODY));
	deliver(&d, s, &mail, 1, 4096);
	assert_reply(&d, "too long", 0, REFUSED "The plan is too long");
	scene_assert_called("too long", "");
	clear(&d);
}

static void
add_headers(struct dynbuf *mail, const char *name, size_t n, size_t len)
{
	for (size_t i = 0; i < n; i++) {
		assert_true(dynbuf_addf(mail, "%s: ", name));
		for (size_t k = 0; k < len; k++)
			assert_true(dynbuf_adds(mail, "x"));
		assert_true(dynbuf_adds(mail, "\r\n"));
	}
}

/* What the client was told is impossible is not sent without its body. */
static void
test_message_refused(void **state)
{
	static const struct {
		const char *what, *name;
		size_t n, len; /* of headers, of each */
		const char *reply;
	} rows[] = {
		{ "at the bounds", "Content-X", MESSAGE_HEADERS_MAX - 2, 10,
		  DONE },
		{ "too many", "Content-X", MESSAGE_HEADERS_MAX, 10,
		  "550 5.6.0 More than 1000 headers" },
		{ "too long", "Content-X", 1, MESSAGE_HEADER_MAX,
		  "550 5.6.0 Content-X: header longer" },
		/* Postfix and others on the way may have added to these. */
		{ "too many others", "X-Other", 2 * MESSAGE_HEADERS_MAX, 10,
		  DONE },
		{ "others too long", "X-Other", 2, MESSAGE_HEADER_MAX, DONE },
	};
	struct scene *s = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct delivery d;
		DYNBUF_AUTO mail;

		scene_script("a");
		sent_memory_keep_for(s->services.sent, 0);
		dynbuf_init(&mail, 1024 * 1024);
		add_plan_of(s, PLAN_TEMPLATE, HELLO, &mail);
		add_headers(&mail, rows[i].name, rows[i].n, rows[i].len);
		assert_true(dynbuf_adds(&mail, HTML BODY));
		deliver(&d, s, &mail, 1, mail.len);
		assert_reply(&d, rows[i].what, 0, rows[i].reply);
		clear(&d);
	}
}

/* --- the call ------------------------------------------------------------- */

static void
test_request(void **state)
{
	struct scene *s = *state;
	const struct scene_call *c;
	struct delivery d;
	DYNBUF_AUTO mail;

	s->config.direct_timeout_ms = 1234;
	dynbuf_init(&mail, 1024 * 1024);
	assert_true(dynbuf_adds(&mail,
				"Subject: not this one\r\n" HTML
				"Content-Transfer-Encoding: base64\r\n"));
	add_plan_of(s, PLAN_TEMPLATE, "<p>Hello</p>", &mail);
	assert_true(dynbuf_adds(&mail, "\r\nPHA+SGVsbG88L3A+\r\n"));
	deliver(&d, s, &mail, 1, 10);
	scene_assert_called("request", "0");
	c = scene_call(0);
	assert_string_equal(
	    c->body,
	    "{\"to\":\"r0@x.example\",\"toname\":\"\","
	    "\"fromname\":\"Acme\",\"fromemail\":\"from@acme.example\","
	    "\"returnpath\":\"bounce@acme.example\",\"subject\":\"Hello\","
	    "\"template\":\"t1\",\"body\":\"<p>Hello</p>\"}");
	assert_non_null(strstr(c->headers, "X-Auth-APIKey: " SCENE_KEY "\n"));
	assert_int_equal(c->timeout_ms, 1234);
	clear(&d);
}

/* The submission of the plan names it: who has it is not called again. */
static void
test_known(void **state)
{
	static const uint8_t submission[SUBMISSION_ID_LEN] = { 7, 7, 7, 7, 7, 7,
							       7, 7, 7, 7, 7, 7,
							       7, 7, 7, 7 };
	struct scene *s = *state;
	uint8_t key[SUBMISSION_KEY_LEN];
	struct delivery d;
	DYNBUF_AUTO mail;

	scene_script("o");
	submission_key(submission, "r1@x.example", key);
	scene_remember(s, key);
	dynbuf_init(&mail, 1024 * 1024);
	add_states(s, "ooo", &mail);
	deliver(&d, s, &mail, 3, mail.len);
	scene_assert_called("known", "02");
	assert_reply(&d, "known", 0, "451 ");
	assert_reply(&d, "known", 1, DONE);
	assert_reply(&d, "known", 2, "451 ");
	clear(&d);
}

#define TODAY "the-key-of-today"

static const struct {
	const char *name;
	bool local;
	int key; /* of the store */
	enum keystore_status status;
	int account;
	bool disabled;
	const char *api_key;
	const char *used;  /* the key of the API; NULL: nobody is called */
	const char *reply; /* then */
} keys[] = {
	{ "of the API", false, 0, KEYSTORE_ENABLED, 0, false, TODAY, SCENE_KEY,
	  "" },
	{ "made here", true, 1, KEYSTORE_ENABLED, 1, false, TODAY, TODAY, "" },
	{ "made here, the same", true, 1, KEYSTORE_ENABLED, 1, false, SCENE_KEY,
	  SCENE_KEY, "" },
	{ "revoked", true, 0, KEYSTORE_ENABLED, 1, false, TODAY, NULL,
	  "550 5.7.8 The API key was revoked" },
	{ "disk", true, -1, KEYSTORE_ENABLED, 1, false, TODAY, NULL,
	  "451 4.3.0 " },
	{ "disabled", true, 1, KEYSTORE_DISABLED, 1, false, TODAY, NULL,
	  "451 4.7.1 The API key is disabled" },
	{ "no account", true, 1, KEYSTORE_ENABLED, 0, false, TODAY, NULL,
	  "550 5.7.8 The account was removed" },
	{ "account, disk", true, 1, KEYSTORE_ENABLED, -1, false, TODAY, NULL,
	  "451 4.3.0 " },
	{ "account disabled", true, 1, KEYSTORE_ENABLED, 1, true, TODAY, NULL,
	  "451 4.7.1 The account is disabled" },
	{ "none any more", true, 1, KEYSTORE_ENABLED, 1, false, "", NULL,
	  "451 4.3.5 The relay has no API key" },
};

/* To one who is open, one who is done and one who was refused. */
static void
send_with_key(struct scene *s, size_t row, struct delivery *d)
{
	struct plan *p = make_plan("odr");
	DYNBUF_AUTO mail;

	sent_memory_keep_for(s->services.sent, 0);
	memset(&scene_refused, 0, sizeof(scene_refused));
	memset(&store, 0, sizeof(store));
	store.key = keys[row].key;
	store.status = keys[row].status;
	store.account = keys[row].account;
	store.disabled = keys[row].disabled;
	store.api_key = keys[row].api_key;
	p->local = keys[row].local;
	if (p->local)
		p->key[0] = '\0';
	dynbuf_init(&mail, 1024 * 1024);
	assert_true(dynbuf_adds(&mail, HTML));
	add_plan(s->services.seal, p, &mail);
	assert_true(dynbuf_adds(&mail, BODY));
	plan_free(&p);
	deliver(d, s, &mail, 3, mail.len);
}

static void
check_key_used(size_t row, const char *script)
{
	char header[80];

	(void)snprintf(header, sizeof(header), "X-Auth-APIKey: %s\n",
		       keys[row].used);
	if (strstr(scene_call(0)->headers, header) == NULL)
		fail_msg("%s: %s", keys[row].name, scene_call(0)->headers);
	assert_int_equal(scene_refused.n, *script == 'k');
	if (*script != 'k')
		return;
	assert_string_equal(scene_refused.account, "acme");
	assert_string_equal(scene_refused.key, keys[row].used);
	assert_int_equal(scene_refused.local, keys[row].local);
}

static void
check_key(struct scene *s, size_t row, const char *script)
{
	bool called = keys[row].used != NULL;
	struct delivery d;

	scene_script(script);
	send_with_key(s, row, &d);
	scene_assert_called(keys[row].name, called ? "0" : "");
	assert_string_equal(store.asked[0], keys[row].local ? "k1" : "");
	if (called)
		check_key_used(row, script);
	assert_reply(&d, keys[row].name, 0,
		     !called	      ? keys[row].reply
		     : *script == 'k' ? "550 5.7.8 "
				      : DONE);
	/* What was, was. */
	assert_reply(&d, keys[row].name, 1, DONE);
	assert_reply(&d, keys[row].name, 2, "552 5.3.4 ");
	assert_false(scene_logged(TODAY));
	clear(&d);
}

static void
test_keys(void **state)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		check_key(*state, i, "a");
		check_key(*state, i, "k");
	}
}

/* The same message twice at the same time: one of them calls. */
static void
test_under_way(void **state)
{
	struct scene *s = *state;
	struct delivery first, second, third;

	for (int remembered = 0; remembered < 2; remembered++) {
		DYNBUF_AUTO mail;

		scene_script("a");
		sent_memory_keep_for(s->services.sent, remembered ? 60 : 0);
		dynbuf_init(&mail, 1024 * 1024);
		add_states(s, "oo", &mail);
		send_to(&first, s, &mail, 1, mail.len);
		send_to(&second, s, &mail, 2, mail.len);
		scene_assert_called("under way", "01");
		scene_answer_all(SCENE_FIRST);
		assert_reply(&first, "first", 0, DONE);
		assert_reply(&second, "second", 0, "451 4.4.5 ");
		assert_reply(&second, "second", 1, DONE);
		deliver(&third, s, &mail, 1, mail.len);
		assert_reply(&third, "third", 0, DONE);
		assert_int_equal(scene_calls(), remembered ? 2 : 3);
		clear(&first);
		clear(&second);
		clear(&third);
	}
}

/* Postfix waits: it may be the probe, and is told 451 when it may not. */
static void
test_health(void **state)
{
	static const struct {
		enum scene_health health;
		const char *called, *reply;
	} rows[] = {
		{ SCENE_UP, "012", DONE },
		{ SCENE_PROBE, "012", DONE },
		{ SCENE_DOWN, "", "451 4.4.1 " },
		{ SCENE_PAUSING, "", "451 4.4.5 " },
	};
	struct scene *s = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct delivery d;
		DYNBUF_AUTO mail;

		scene_script("a");
		scene_health(s, rows[i].health);
		sent_memory_keep_for(s->services.sent, 0);
		dynbuf_init(&mail, 1024 * 1024);
		add_states(s, "ooo", &mail);
		deliver(&d, s, &mail, 3, mail.len);
		scene_assert_called("health", rows[i].called);
		for (size_t k = 0; k < 3; k++)
			assert_reply(&d, "health", k, rows[i].reply);
		clear(&d);
	}
}

/* --- given up ------------------------------------------------------------- */

/* At each byte of it, with recipients and without. */
static void
test_drop(void **state)
{
	struct scene *s = *state;
	DYNBUF_AUTO mail;

	dynbuf_init(&mail, 1024 * 1024);
	add_states(s, "oo", &mail);
	for (size_t len = 0; len <= mail.len; len++) {
		struct dynbuf part = { .data = mail.data, .len = len };
		struct delivery d;

		begin(&d, s);
		for (size_t i = 0; i < len % 3; i++)
			add_recipient(&d, "r0@x.example",
				      i == 0 ? "r0@x.example" : NULL);
		add_data(&d, &part, 100);
		queue_delivery.drop(d.mail);
		assert_int_equal(d.answer->times, 0);
		assert_int_equal(sem_destroy(&d.answer->given), 0);
		free(d.answer);
	}
	scene_assert_called("drop", "");
}

/* --- in a thread ---------------------------------------------------------- */

static void
test_thousand(void **state)
{
	char states[RECIPIENTS_MAX + 1], script[RECIPIENTS_MAX + 1];
	struct scene *s = *state;
	size_t open = 0;
	struct delivery d;
	DYNBUF_AUTO mail;

	for (size_t i = 0; i < RECIPIENTS_MAX; i++) {
		states[i] = "oodr"[i % 4];
		script[i] = i % 100 == 0 ? 'r' : i % 100 == 1 ? 'm' : 'a';
		open += states[i] == 'o';
	}
	states[RECIPIENTS_MAX] = script[RECIPIENTS_MAX] = '\0';
	scene_script(script);
	dynbuf_init(&mail, 1024 * 1024);
	add_states(s, states, &mail);
	scene_answer_in_thread(SCENE_ANY);
	send_to(&d, s, &mail, RECIPIENTS_MAX, 1000);
	wait_answer(&d);
	assert_int_equal(scene_calls(), open);
	for (size_t i = 0; i < RECIPIENTS_MAX; i++) {
		const char *reply = states[i] == 'd'   ? DONE
				    : states[i] == 'r' ? "552 5.3.4 "
				    : script[i] == 'a' ? DONE
				    : script[i] == 'r' ? "550 5.6.0 "
						       : "451 4.3.5 ";

		assert_reply(&d, "thousand", i, reply);
	}
	clear(&d);
}

static void
test_many(void **state)
{
	enum { MAILS = 100 };
	static struct delivery mails_under_way[MAILS];
	struct scene *s = *state;

	scene_script("aro");
	sent_memory_keep_for(s->services.sent, 0);
	scene_answer_in_thread(SCENE_ANY);
	for (size_t i = 0; i < MAILS; i++) {
		DYNBUF_AUTO mail;

		dynbuf_init(&mail, 1024 * 1024);
		add_numbered(s, "oodr", i, &mail);
		send_to(&mails_under_way[i], s, &mail, 4, 1000);
	}
	for (size_t i = 0; i < MAILS; i++) {
		struct delivery *d = &mails_under_way[i];

		wait_answer(d);
		assert_reply(d, "many", 0, DONE);
		assert_reply(d, "many", 1, "550 5.6.0 ");
		assert_reply(d, "many", 2, DONE);
		assert_reply(d, "many", 3, "552 5.3.4 ");
	}
	scene_stop_thread();
	for (size_t i = 0; i < MAILS; i++)
		clear(&mails_under_way[i]);
}

/* --- copies --------------------------------------------------------------- */

static char route_name[] = "mail", transport[] = "smtp:[mx]",
	    return_path[] = "b+{token}@x.example";
static struct route mail_route = { .name = route_name,
				   .handoff = ROUTE_TRANSPORT,
				   .transport = transport,
				   .return_path = return_path };
static struct route *the_routes[] = { &mail_route };

#define COPY_HEAD                                             \
	"Received: from c\r\nFrom: A <from@acme.example>\r\n" \
	"To: all\r\nX-Transactional-Tag: t\r\n"
#define COPY_MAIL COPY_HEAD HTML

#define KNOWN "txmilter_calls_total{result=\"known\"}"

/* A message on a transport route, of these states. */
static void
add_copies(struct scene *s, struct plan *p, const char *route, bool local,
	   const char *body, struct dynbuf *mail)
{
	set_content(p, body);
	p->api[0] = '\0';
	p->key[0] = '\0';
	p->local = local;
	free(p->outgoing->route_id);
	p->outgoing->route_id = strdup(route);
	p->accepted = 1763650800;
	s->config.routes = (struct route_list){ the_routes, 1 };
	posts.scene = s;
	mail_route.handoff = ROUTE_TRANSPORT;
	assert_true(dynbuf_adds(mail, COPY_MAIL));
	add_plan(s->services.seal, p, mail);
	assert_true(dynbuf_addf(mail, "\r\n%s", body));
	plan_free(&p);
}

static void
make_copies(struct scene *s, const char *states, const char *route, bool local,
	    struct dynbuf *mail)
{
	add_copies(s, make_plan(states), route, local, HELLO, mail);
}

#define LINK "<a href=\"https://shop.example/\">x</a>\r\n"

/* Of links the client asked to track. */
static void
make_tracked(struct scene *s, bool tracked, struct dynbuf *mail)
{
	struct plan *p = make_plan("o");

	p->tracked = tracked;
	p->outgoing->click_tracking = SWITCH_ON;
	add_copies(s, p, "mail", false, LINK, mail);
}

/* It comes in again, and goes to the transport. */
static void
check_arrival(const struct scene *s, const struct posted *p)
{
	const char *begin = strstr(p->data, REQUEUE_COPY_HEADER ": ");
	struct copy_arrival *a = copy_arrival_new();
	struct message *m = message_new(p->sender);
	struct smtp_reply reply;
	struct edits *e;
	char *value;

	if (begin == NULL)
		abort();
	begin += strlen(REQUEUE_COPY_HEADER ": ");
	value = strndup(begin, (size_t)(strstr(begin, "\r\n\r\n") - begin));
	assert_non_null(value);
	message_recipient(m, p->recipient);
	copy_arrival_header(a, "x-txmilter-COPY", value);
	e = copy_arrival_end(a, s->services.seal, s->services.copy_ledger, m,
			     "Q", &reply);
	assert_non_null(e);
	assert_string_equal(e->route, transport);
	assert_int_equal(e->n_headers, 1);
	assert_int_equal(e->headers[0].kind, EDIT_DELETE);
	edits_free(&e);
	message_free(&m);
	copy_arrival_free(&a);
	free(value);
}

static void
test_copies(void **state)
{
	struct scene *s = *state;
	struct delivery d;
	DYNBUF_AUTO mail;

	forget_posts("aorxa");
	dynbuf_init(&mail, 1024 * 1024);
	make_copies(s, "ooodo", "mail", false, &mail);
	deliver(&d, s, &mail, 5, mail.len);
	scene_assert_called("copies", "");
	assert_reply(&d, "copies", 0, "250 2.0.0 The copy is queued as Q");
	assert_reply(&d, "copies", 1, "451 4.4.2 Not now");
	assert_reply(&d, "copies", 2, "550 5.1.1 Nobody");
	assert_reply(&d, "copies", 3, DONE);
	assert_reply(&d, "copies", 4, DONE);
	clear(&d);
	assert_int_equal(posts.n, 4);
	assert_string_equal(posts.v[3].recipient, "r4@x.example");
	assert_true(scene_logged("4Tx1qR0Zzz: delivery key=k1 account=acme "
				 "route=\"mail\" rcpts=5 accepted=3 refused=1 "
				 "later=1 ms="));
	for (size_t i = 0; i < posts.n; i++) {
		const struct posted *p = &posts.v[i];

		assert_int_equal(strncmp(p->sender, "b+", 2), 0);
		assert_int_equal(strlen(p->sender),
				 strlen("b+@x.example") + 32);
		if (i > 0)
			assert_string_not_equal(p->sender,
						posts.v[i - 1].sender);
		assert_int_equal(
		    strncmp(p->data, "Received: from c\r\nFrom: A <from@", 32),
		    0);
		assert_null(strstr(p->data, "X-Transactional"));
		assert_null(strstr(p->data, REQUEUE_PLAN_HEADER));
		assert_non_null(strstr(p->data, "\r\n\r\n<p>Hello</p>\r\n"));
	}
	assert_true(scene_logged("4Tx1qR0Zzz: copy to=\"r0@x.example\" "
				 "result=sent id=Q"));
	assert_true(scene_logged("4Tx1qR0Zzz: copy to=\"r1@x.example\" "
				 "result=later reply=\"451 4.4.2\" "
				 "reason=\"Not now\""));
	assert_true(scene_logged("4Tx1qR0Zzz: copy to=\"r2@x.example\" "
				 "result=refused reply=\"550 5.1.1\" "
				 "reason=\"Nobody\""));
	/* The next time only those go that did not, and each the same. */
	forget_posts("aaaaa");
	deliver(&d, s, &mail, 5, 1);
	for (size_t i = 0; i < 5; i++)
		assert_reply(&d, "again", i, DONE);
	assert_reply(&d, "again", 0, "250 2.0.0 Sent already");
	assert_true(scene_logged("4Tx1qR0Zzz: copy to=\"r0@x.example\" "
				 "result=known"));
	assert_int_equal(scene_metric(s, KNOWN), 2);
	clear(&d);
	assert_int_equal(posts.n, 2);
	assert_string_equal(posts.v[0].recipient, "r1@x.example");
	assert_string_equal(posts.v[1].recipient, "r2@x.example");
	forget_posts("");
}

static const struct {
	const char *name, *route, *body, *reply;
	enum route_handoff handoff;
	bool local;
	int key, account;
	enum keystore_status status;
} no_copies[] = {
	{ "a route that is gone", "gone", BODY,
	  "451 4.3.5 The route of this message leads elsewhere now",
	  ROUTE_TRANSPORT, false, 1, 1, KEYSTORE_ENABLED },
	{ "a route to an API now", "mail", BODY,
	  "451 4.3.5 The route of this message leads elsewhere now",
	  ROUTE_QUEUED, false, 1, 1, KEYSTORE_ENABLED },
	{ "a key that was revoked", "mail", BODY, "550 5.7.8 ", ROUTE_TRANSPORT,
	  true, 0, 1, KEYSTORE_ENABLED },
	{ "a key that is disabled", "mail", BODY, "451 4.7.1 ", ROUTE_TRANSPORT,
	  true, 1, 1, KEYSTORE_DISABLED },
	{ "an account that was removed", "mail", BODY, "550 5.7.8 ",
	  ROUTE_TRANSPORT, true, 1, 0, KEYSTORE_ENABLED },
	{ "an account without a key for an API", "mail", BODY, DONE,
	  ROUTE_TRANSPORT, true, 1, 1, KEYSTORE_ENABLED },
};

static void
test_no_copies(void **state)
{
	struct scene *s = *state;

	for (size_t i = 0; i < sizeof(no_copies) / sizeof(no_copies[0]); i++) {
		struct delivery d;
		DYNBUF_AUTO mail;

		store.key = no_copies[i].key;
		store.account = no_copies[i].account;
		store.status = no_copies[i].status;
		store.api_key = "";
		sent_memory_keep_for(s->services.sent, 0);
		forget_posts("a");
		dynbuf_init(&mail, 1024 * 1024);
		make_copies(s, "o", no_copies[i].route, no_copies[i].local,
			    &mail);
		mail_route.handoff = no_copies[i].handoff;
		deliver(&d, s, &mail, 1, mail.len);
		assert_reply(&d, no_copies[i].name, 0, no_copies[i].reply);
		assert_int_equal(posts.n,
				 strcmp(no_copies[i].reply, DONE) == 0);
		clear(&d);
	}
	forget_posts("");
}

/* What another service says is no reason to bounce; and when that one takes a
 * copy no more are given to it. */
static void
test_another_service(void **state)
{
	struct scene *s = *state;
	struct delivery d;
	DYNBUF_AUTO mail;

	forget_posts("ROaAa");
	dynbuf_init(&mail, 1024 * 1024);
	make_copies(s, "ooooo", "mail", false, &mail);
	deliver(&d, s, &mail, 5, mail.len);
	assert_reply(&d, "refused", 0, "451 4.3.5 The relay's service for");
	assert_reply(&d, "later", 1, "451 4.4.2 Not now");
	assert_reply(&d, "ours", 2, "250 2.0.0 The copy is queued as Q");
	assert_reply(&d, "gone", 3, "250 2.0.0 The copy was taken by another");
	assert_reply(&d, "behind it", 4, "451 4.3.2 The relay's service for");
	clear(&d);
	assert_int_equal(posts.n, 4);
	assert_true(scene_logged("a copy was refused at resubmit = "));
	assert_true(scene_logged("a copy was taken at resubmit = "));
	assert_true(scene_logged("result=lost"));
	forget_posts("aaaaa");
	deliver(&d, s, &mail, 5, mail.len);
	assert_reply(&d, "not again", 3, "250 2.0.0 Sent already");
	assert_reply(&d, "again", 0, "451 4.3.2 ");
	assert_int_equal(posts.n, 0);
	clear(&d);
	forget_posts("");
}

static void
test_copies_at_the_stop(void **state)
{
	struct scene *s = *state;
	struct delivery d;
	DYNBUF_AUTO mail;

	forget_posts("a");
	posts.ending = true;
	dynbuf_init(&mail, 1024 * 1024);
	make_copies(s, "o", "mail", false, &mail);
	deliver(&d, s, &mail, 1, mail.len);
	assert_reply(&d, "stop", 0, "451 4.3.2 txmilter is stopping");
	assert_int_equal(posts.n, 0);
	posts.ending = false;
	clear(&d);
}

static void
test_copies_say_what_was_said(void **state)
{
	struct scene *s = *state;

	for (unsigned i = 0; i < 4; i++) {
		struct delivery d;
		DYNBUF_AUTO mail;

		said = (struct lmtp_mail){ .utf8 = i & 1, .eight_bit = i & 2 };
		sent_memory_keep_for(s->services.sent, 0);
		forget_posts("a");
		dynbuf_init(&mail, 1024 * 1024);
		make_copies(s, "o", "mail", false, &mail);
		deliver(&d, s, &mail, 1, mail.len);
		assert_reply(&d, "said", 0, DONE);
		assert_int_equal(posts.utf8, said.utf8);
		assert_int_equal(posts.eight_bit, said.eight_bit);
		clear(&d);
	}
	forget_posts("");
}

/* What was to be tracked when it was accepted is, and nothing else. */
static void
test_tracked_copies(void **state)
{
	static const struct {
		bool tracked, tracks;
		const char *reply;
		const char *link;
	} rows[] = {
		{ true, true, DONE, "https://t.example/" },
		{ true, false, "451 4.3.5 The relay does not track", NULL },
		{ false, true, DONE, "https://shop.example/" },
		{ false, false, DONE, "https://shop.example/" },
	};
	static char url[] = "https://t.example";
	struct scene *s = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct delivery d;
		DYNBUF_AUTO mail;

		sent_memory_keep_for(s->services.sent, 0);
		forget_posts("a");
		dynbuf_init(&mail, 1024 * 1024);
		s->config.tracking_url = url;
		s->services.tracking_key_len = 32;
		make_tracked(s, rows[i].tracked, &mail);
		mail_route.tracks = rows[i].tracks;
		deliver(&d, s, &mail, 1, mail.len);
		assert_reply(&d, "tracked", 0, rows[i].reply);
		assert_int_equal(posts.n, rows[i].link != NULL);
		if (rows[i].link != NULL)
			assert_non_null(strstr(posts.v[0].data, rows[i].link));
		else
			assert_true(scene_logged("see tracking_url"));
		mail_route.tracks = false;
		clear(&d);
	}
	forget_posts("");
}

/* Whoever has seen a plan. */
static void
test_copies_of_another_body(void **state)
{
	struct scene *s = *state;
	struct delivery d;
	DYNBUF_AUTO mail;

	forget_posts("a");
	dynbuf_init(&mail, 1024 * 1024);
	make_copies(s, "o", "mail", false, &mail);
	dynbuf_truncate(&mail, mail.len - strlen(HELLO));
	assert_true(dynbuf_adds(&mail, "<p>Other</p>\r\n"));
	deliver(&d, s, &mail, 1, mail.len);
	assert_reply(&d, "another", 0, "451 4.3.5 The message is not the one");
	assert_int_equal(posts.n, 0);
	clear(&d);
}

static int
set_up(void **state)
{
	*state = malloc(sizeof(struct scene));
	assert_non_null(*state);
	scene_start(*state);
	((struct scene *)*state)->services.copy_ledger = copy_ledger_new();
	memset(&said, 0, sizeof(said));
	memset(&store, 0, sizeof(store));
	return 0;
}

static int
tear_down(void **state)
{
	struct scene *s = *state;

	/* A delivery ends a moment after its answer. */
	scene_stop_thread();
	assert_int_equal(s->services.deliveries, 0);
	copy_ledger_free(&s->services.copy_ledger);
	scene_stop(s);
	free(*state);
	return 0;
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		TEST(test_recipients),
		TEST(test_metrics),
		TEST(test_mails),
		TEST(test_plan_too_long),
		TEST(test_message_refused),
		TEST(test_request),
		TEST(test_known),
		TEST(test_keys),
		TEST(test_under_way),
		TEST(test_health),
		TEST(test_drop),
		TEST(test_thousand),
		TEST(test_many),
		TEST(test_copies),
		TEST(test_no_copies),
		TEST(test_copies_of_another_body),
		TEST(test_another_service),
		TEST(test_copies_at_the_stop),
		TEST(test_copies_say_what_was_said),
		TEST(test_tracked_copies),
	};

	header_text_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
