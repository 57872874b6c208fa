/* SPDX-License-Identifier: MIT */
/*
 * What becomes of a judged message. The calls' answers are written in letters:
 * api_scene.h; an edit's plan is opened and looked at.
 */
#include "milter/handoff.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "api_scene.h"
#include "milter/crypto.h"
#include "milter/key_check.h"
#include "milter/plan_seal.h"
#include "milter/sent_memory.h"
#include "policy/account.h"
#include "policy/dialect.h"
#include "policy/dynbuf.h"
#include "policy/edits.h"
#include "policy/header_text.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/plan.h"
#include "policy/requeue.h"
#include "policy/route.h"

#define QUEUE_ID "4Tx1qR0Zzz"

/* A message on its way. */
struct trip {
	struct scene *scene;
	struct account *account;
	struct identity identity;
	struct route route;
	struct message *message;
	struct handoff handoff;
};

static void
add_header(struct message *m, const char *name, const char *value)
{
	message_header(m, name, value, strlen(value));
}

static struct message *
make_message(void)
{
	struct message *m = message_new("bounce@acme.example");

	add_header(m, "Subject", "Hello");
	add_header(m, "X-Auth-APIKey", SCENE_KEY);
	add_header(m, REQUEUE_PLAN_HEADER, "forged");
	return m;
}

/* To r0, r1, ..., n of them, by a route that leads directly to the API. */
static void
prepare(struct trip *t, struct scene *s, size_t n)
{
	static char name[] = "*", api[] = "main", transport[] = "smtp:[x]";

	memset(t, 0, sizeof(*t));
	t->scene = s;
	t->account = account_new("acme");
	t->identity.account = t->account;
	strcpy(t->identity.key_id, "k1");
	strcpy(t->identity.key, SCENE_KEY);
	t->route = (struct route){
		.name = name,
		.handoff = ROUTE_DIRECT,
		.api = api,
		.transport = transport,
	};
	t->message = make_message();
	t->handoff = (struct handoff){
		.services = &s->services,
		.config = &s->config,
		.queue_id = QUEUE_ID,
		.identity = &t->identity,
		.dialect = &dialect_emaildelivery,
		.message = t->message,
		.outgoing = scene_outgoing(n),
	};
	t->handoff.outgoing->route = &t->route;
	memset(&scene_refused, 0, sizeof(scene_refused));
}

static void
clear(struct trip *t)
{
	assert_int_equal(t->scene->services.handoffs, 0);
	assert_int_equal(scene_waiting(), 0);
	outgoing_free(&t->handoff.outgoing);
	edits_free(&t->handoff.edits);
	message_free(&t->message);
	account_free(&t->account);
}

/* The plan in the edits; NULL when there is none that opens. */
static struct plan *
open_plan(const struct trip *t)
{
	const struct edits *e = t->handoff.edits;
	struct plan *p = NULL;
	DYNBUF_AUTO sealed, text;

	dynbuf_init(&sealed, PLAN_HEADERS_MAX);
	dynbuf_init(&text, PLAN_MAX);
	for (size_t i = 0; i < e->n_headers; i++) {
		const struct header_edit *h = &e->headers[i];

		if (h->kind == EDIT_ADD &&
		    strcmp(h->name, REQUEUE_PLAN_HEADER) == 0)
			assert_true(dynbuf_adds(&sealed, h->value));
	}
	if (plan_unseal(t->scene->services.seal, dynbuf_str(&sealed),
			sealed.len, &text))
		p = plan_read(text.data, text.len);
	return p;
}

static void
assert_reply(const char *what, const struct smtp_reply *r, const char *text)
{
	char got[SMTP_REPLY_TEXT_MAX + 32];

	(void)snprintf(got, sizeof(got), "%d %s %s", r->code, r->enhanced,
		       r->text);
	if (strncmp(got, text, strlen(text)) != 0)
		fail_msg("%s: %s", what, got);
}

/* --- directly: what is said of the whole message -------------------------- */

/* The plan's states as letters: open, done, refused. */
static void
assert_plan(const struct trip *t, const char *what, const char *states)
{
	static const char letters[] = {
		[PLAN_OPEN] = 'o', [PLAN_DONE] = 'd', [PLAN_REFUSED] = 'r'
	};
	struct plan *p = open_plan(t);

	if (p == NULL)
		fail_msg("%s: no plan", what);
	assert_int_equal(p->outgoing->n_recipients, strlen(states));
	for (size_t i = 0; states[i] != '\0'; i++) {
		if (letters[p->recipients[i].state] != states[i])
			fail_msg("%s: %zu is %c", what, i,
				 letters[p->recipients[i].state]);
	}
	plan_free(&p);
}

#define SENT NULL
#define KEY "535 5.7.8 The API key is wrong or revoked"
#define MISFIT "451 4.3.5 The API gave an answer that cannot be used"
#define R0 "550 5.6.0 r0@x.example: The API refused the message: No r0"
#define ALONE "550 5.6.0 The API refused the message: No r0"
/* Not said to the client: its plan has these states. */
#define IN_QUEUE(states) "queue: " states

/* What one call says, and to one recipient there is but one; with three, what
 * is said of the first decides whether there are others, and the second and
 * the third are called together. */
static const struct {
	const char *script;
	const char *outcome; /* SENT, IN_QUEUE(), or the reply */
} decisions[] = {
	{ "a", SENT },
	{ "r", ALONE },
	{ "o", IN_QUEUE("o") },
	{ "p", IN_QUEUE("o") },
	{ "n", IN_QUEUE("o") },
	{ "t", IN_QUEUE("o") },
	{ "s", IN_QUEUE("o") },
	{ "f", IN_QUEUE("o") },
	{ "k", KEY },
	{ "m", MISFIT },

	{ "aaa", SENT },
	{ "aar", IN_QUEUE("ddr") },
	{ "aao", IN_QUEUE("ddo") },
	{ "aak", IN_QUEUE("ddr") },
	{ "aam", IN_QUEUE("ddo") },
	{ "ara", IN_QUEUE("drd") },
	{ "arr", IN_QUEUE("drr") },
	{ "aro", IN_QUEUE("dro") },
	{ "ark", IN_QUEUE("drr") },
	{ "arm", IN_QUEUE("dro") },
	{ "aoa", IN_QUEUE("dod") },
	{ "aor", IN_QUEUE("dor") },
	{ "aoo", IN_QUEUE("doo") },
	{ "aok", IN_QUEUE("dor") },
	{ "aom", IN_QUEUE("doo") },
	{ "aka", IN_QUEUE("drd") },
	{ "akr", IN_QUEUE("drr") },
	{ "ako", IN_QUEUE("dro") },
	{ "akk", IN_QUEUE("drr") },
	{ "akm", IN_QUEUE("dro") },
	{ "ama", IN_QUEUE("dod") },
	{ "amr", IN_QUEUE("dor") },
	{ "amo", IN_QUEUE("doo") },
	{ "amk", IN_QUEUE("dor") },
	{ "amm", IN_QUEUE("doo") },

	{ "raa", IN_QUEUE("rdd") },
	{ "rar", IN_QUEUE("rdr") },
	{ "rao", IN_QUEUE("rdo") },
	{ "rak", IN_QUEUE("rdr") },
	{ "ram", IN_QUEUE("rdo") },
	{ "rra", IN_QUEUE("rrd") },
	{ "rrr", R0 },
	{ "rro", IN_QUEUE("rro") },
	{ "rrk", KEY },
	{ "rrm", IN_QUEUE("rro") },
	{ "roa", IN_QUEUE("rod") },
	{ "ror", IN_QUEUE("ror") },
	{ "roo", IN_QUEUE("roo") },
	{ "rok", KEY },
	{ "rom", IN_QUEUE("roo") },
	{ "rka", IN_QUEUE("rrd") },
	{ "rkr", KEY },
	{ "rko", KEY },
	{ "rkk", KEY },
	{ "rkm", KEY },
	{ "rma", IN_QUEUE("rod") },
	{ "rmr", IN_QUEUE("ror") },
	{ "rmo", IN_QUEUE("roo") },
	{ "rmk", KEY },
	{ "rmm", IN_QUEUE("roo") },
};

static void
check_decision(struct scene *s, const char *script, const char *outcome,
	       const char *called)
{
	bool in_queue = outcome != SENT && strncmp(outcome, "queue", 5) == 0;
	size_t n = strlen(script), accepted = 0;
	struct trip t;

	scene_script(script);
	scene_health(s, SCENE_UP);
	sent_memory_keep_for(s->services.sent, 0);
	prepare(&t, s, n);
	handoff(&t.handoff);
	scene_assert_called(script, called);
	if (t.handoff.kind != (outcome == SENT ? HANDOFF_SENT
			       : in_queue      ? HANDOFF_QUEUED
					       : HANDOFF_NOT))
		fail_msg("%s: kind %d", script, t.handoff.kind);
	assert_string_equal(t.handoff.way,
			    in_queue ? "direct,queued" : "direct");
	if (in_queue)
		assert_plan(&t, script, outcome + strlen(IN_QUEUE("")));
	else if (outcome != SENT)
		assert_reply(script, &t.handoff.reply, outcome);
	if (!in_queue)
		assert_null(t.handoff.edits);
	for (size_t i = 0; called[i] != '\0'; i++)
		accepted += script[called[i] - '0'] == 'a';
	assert_int_equal(t.handoff.accepted, accepted);
	clear(&t);
}

static void
test_decisions(void **state)
{
	scene_answer_in_thread(SCENE_ANY);
	for (size_t i = 0; i < sizeof(decisions) / sizeof(decisions[0]); i++) {
		const char *script = decisions[i].script;

		check_decision(*state, script, decisions[i].outcome,
			       script[0] == 'f'	   ? ""
			       : script[1] == '\0' ? "0"
						   : "012");
		/* Whoever finds it out, and once. */
		assert_int_equal(scene_refused.n, strchr(script, 'k') != NULL);
	}
}

/* The first stands for all: nobody else is called, whatever he would say. */
static void
test_first_stands_for_all(void **state)
{
	static const struct {
		char first;
		const char *outcome;
	} rows[] = {
		{ 'o', IN_QUEUE("ooo") },
		{ 'p', IN_QUEUE("ooo") },
		{ 'n', IN_QUEUE("ooo") },
		{ 't', IN_QUEUE("ooo") },
		{ 's', IN_QUEUE("ooo") },
		{ 'f', IN_QUEUE("ooo") },
		{ 'k', KEY },
		{ 'm', MISFIT },
	};
	static const char others[] = "arokm";

	scene_answer_in_thread(SCENE_FIRST);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t k = 0; k < 25; k++) {
			const char script[] = { rows[i].first, others[k / 5],
						others[k % 5], '\0' };

			check_decision(*state, script, rows[i].outcome,
				       rows[i].first == 'f' ? "" : "0");
		}
	}
}

/* What is assumed is as good as what was said. */
static void
test_ambiguous(void **state)
{
	struct scene *s = *state;

	s->api.accept_ambiguous = true;
	s->special = (struct scene_answer){ HTTP_TIMED_OUT, 0, "", 0, true };
	scene_answer_in_thread(SCENE_FIRST);
	check_decision(s, "n", IN_QUEUE("o"), "0");
	for (size_t n = 1; n <= 3; n++) {
		struct trip t;

		scene_script("*");
		scene_health(s, SCENE_UP);
		prepare(&t, s, n);
		handoff(&t.handoff);
		assert_int_equal(t.handoff.kind, HANDOFF_SENT);
		assert_int_equal(t.handoff.accepted, n);
		clear(&t);
	}
}

/* Repeated by a client that heard no 250: only the others are called, and who
 * has it counts as accepted. */
static void
test_repeated(void **state)
{
	static const struct {
		const char *known, *script, *outcome, *called;
	} rows[] = {
		{ "+++", "ooo", SENT, "" },
		{ "++ ", "ooa", SENT, "2" },
		{ " ++", "aoo", SENT, "0" },
		{ "+  ", "ora", IN_QUEUE("drd"), "12" },
		{ " ++", "roo", IN_QUEUE("rdd"), "0" },
		{ "  +", "ooo", IN_QUEUE("ood"), "0" },
		{ "+  ", "omo", IN_QUEUE("doo"), "1" },
		{ "  +", "kaa", IN_QUEUE("rod"), "0" },
	};
	struct scene *s = *state;

	scene_answer_in_thread(SCENE_FIRST);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *outcome = rows[i].outcome;
		uint8_t id[SUBMISSION_ID_LEN], key[SUBMISSION_KEY_LEN];
		struct trip t;

		scene_script(rows[i].script);
		scene_health(s, SCENE_UP);
		prepare(&t, s, 3);
		t.handoff.outgoing->message_id[1] = (char)('a' + i);
		submission_id("acme", t.handoff.outgoing, id);
		for (size_t k = 0; k < 3; k++) {
			submission_key(
			    id, t.handoff.outgoing->recipients[k].email, key);
			if (rows[i].known[k] == '+')
				scene_remember(s, key);
		}
		handoff(&t.handoff);
		scene_assert_called(rows[i].script, rows[i].called);
		assert_memory_equal(t.handoff.submission, id, sizeof(id));
		if (outcome == SENT)
			assert_int_equal(t.handoff.kind, HANDOFF_SENT);
		else
			assert_plan(&t, rows[i].script,
				    outcome + strlen(IN_QUEUE("")));
		clear(&t);
	}
}

static void
test_health(void **state)
{
	static const struct {
		enum scene_health health;
		const char *outcome, *called;
	} rows[] = {
		{ SCENE_UP, SENT, "012" },
		{ SCENE_DOWN, IN_QUEUE("ooo"), "" },
		/* Probes are for who can wait, but nobody did. */
		{ SCENE_PROBE, IN_QUEUE("ooo"), "" },
		{ SCENE_LONELY, SENT, "012" },
		{ SCENE_PAUSING, IN_QUEUE("ooo"), "" },
	};
	struct scene *s = *state;

	scene_answer_in_thread(SCENE_FIRST);
	sent_memory_keep_for(s->services.sent, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct trip t;

		scene_script("aaa");
		scene_health(s, rows[i].health);
		prepare(&t, s, 3);
		handoff(&t.handoff);
		scene_assert_called("health", rows[i].called);
		assert_int_equal(t.handoff.kind, rows[i].outcome == SENT
						     ? HANDOFF_SENT
						     : HANDOFF_QUEUED);
		if (rows[i].outcome != SENT)
			assert_plan(&t, "health", "ooo");
		clear(&t);
	}
}

/* Nothing that another attempt could mend; it is nobody's fault but the
 * message's. */
static void
test_too_large(void **state)
{
	struct trip t;

	prepare(&t, *state, 3);
	scene_make_too_large(t.handoff.outgoing);
	handoff(&t.handoff);
	scene_assert_called("too large", "");
	assert_int_equal(t.handoff.kind, HANDOFF_NOT);
	assert_reply("too large", &t.handoff.reply,
		     "552 5.3.4 The message is too large for the API");
	clear(&t);
}

static void
test_key_refused(void **state)
{
	struct scene *s = *state;

	scene_answer_in_thread(SCENE_FIRST);
	for (int local = 0; local < 2; local++) {
		struct trip t;

		scene_script("k");
		prepare(&t, s, 1);
		t.identity.local = local;
		handoff(&t.handoff);
		assert_int_equal(scene_refused.n, 1);
		assert_string_equal(scene_refused.account, "acme");
		assert_string_equal(scene_refused.key, SCENE_KEY);
		assert_int_equal(scene_refused.local, local);
		clear(&t);
	}
}

/* More wait than may: to the queue, without a call. */
static void
test_direct_limit(void **state)
{
	struct scene *s = *state;
	struct trip t;

	s->config.direct_limit = 2;
	scene_answer_in_thread(SCENE_FIRST);
	for (unsigned waiting = 0; waiting < 4; waiting++) {
		bool full = waiting >= 2;

		scene_script("a");
		sent_memory_keep_for(s->services.sent, 0);
		prepare(&t, s, 1);
		s->services.handoffs = waiting;
		handoff(&t.handoff);
		assert_int_equal(s->services.handoffs, waiting);
		s->services.handoffs = 0;
		assert_int_equal(t.handoff.kind,
				 full ? HANDOFF_QUEUED : HANDOFF_SENT);
		assert_int_equal(scene_calls(), !full);
		assert_string_equal(t.handoff.way,
				    full ? "direct,queued" : "direct");
		if (full)
			assert_plan(&t, "limit", "o");
		clear(&t);
	}
	assert_true(scene_logged("direct_limit reached"));
}

static void
test_timeout(void **state)
{
	struct scene *s = *state;
	struct trip t;

	s->config.direct_timeout_ms = 4321;
	scene_answer_in_thread(SCENE_FIRST);
	prepare(&t, s, 1);
	handoff(&t.handoff);
	assert_in_range(scene_call(0)->timeout_ms, 3000, 4321);
	clear(&t);
}

/* --- out of the queue ----------------------------------------------------- */

static void
test_plan(void **state)
{
	struct scene *s = *state;

	scene_answer_in_thread(SCENE_FIRST);
	for (int local = 0; local < 2; local++) {
		uint8_t hash[CRYPTO_HASH_LEN];
		struct outgoing *o;
		struct plan *p;
		struct trip t;

		scene_script("ark");
		prepare(&t, s, 3);
		t.identity.local = local;
		sent_memory_keep_for(s->services.sent, 0);
		handoff(&t.handoff);
		p = open_plan(&t);
		assert_non_null(p);
		o = t.handoff.outgoing;
		assert_memory_equal(p->submission, t.handoff.submission,
				    sizeof(p->submission));
		assert_string_equal(p->queue_id, QUEUE_ID);
		assert_string_equal(p->account, "acme");
		assert_string_equal(p->key_id, "k1");
		/* A key that was made here stays where it is. */
		assert_string_equal(p->key, local ? "" : SCENE_KEY);
		submission_content(o, hash);
		assert_memory_equal(p->content, hash, sizeof(hash));
		assert_string_equal(p->api, "main");
		assert_string_equal(p->dialect, "emaildelivery");
		assert_int_equal(p->local, local);
		assert_true(p->accepted > 1700000000);
		assert_string_equal(p->outgoing->subject, o->subject);
		assert_string_equal(p->outgoing->recipients[2].email,
				    "r2@x.example");
		assert_reply("plan", &p->recipients[1].reply,
			     "550 5.6.0 The API refused the message: No r1");
		assert_reply("plan", &p->recipients[2].reply, KEY);
		plan_free(&p);
		/* It is still the caller's. */
		assert_string_equal(o->html, "<p>Hello</p>");
		clear(&t);
	}
}

static void
test_queued_route(void **state)
{
	struct scene *s = *state;
	struct trip t;

	prepare(&t, s, 3);
	t.route.handoff = ROUTE_QUEUED;
	handoff(&t.handoff);
	assert_int_equal(t.handoff.kind, HANDOFF_QUEUED);
	assert_string_equal(t.handoff.way, "queued");
	assert_int_equal(t.handoff.accepted, 0);
	scene_assert_called("queued", "");
	assert_plan(&t, "queued", "ooo");
	clear(&t);
}

/* As the client sent it, but for the key and what is ours. */
static void
test_edits(void **state)
{
	static const char *const deleted[] = { REQUEUE_PLAN_HEADER,
					       "X-Auth-APIKey" };
	struct scene *s = *state;
	const struct edits *e;
	struct trip t;
	size_t n = 0;

	prepare(&t, s, 1);
	t.route.handoff = ROUTE_QUEUED;
	handoff(&t.handoff);
	e = t.handoff.edits;
	assert_null(e->sender);
	assert_false(e->new_body);
	for (size_t i = 0; i < e->n_headers; i++) {
		const struct header_edit *h = &e->headers[i];

		if (h->kind == EDIT_ADD) {
			assert_string_equal(h->name, REQUEUE_PLAN_HEADER);
			assert_null(strstr(h->value, SCENE_KEY));
			continue;
		}
		assert_int_equal(h->kind, EDIT_DELETE);
		assert_in_range(n, 0, 1);
		assert_string_equal(h->name, deleted[n++]);
		assert_int_equal(h->index, 1);
	}
	assert_int_equal(n, 2);
	clear(&t);
}

static void
test_agent_route(void **state)
{
	static const struct {
		const char *socket, *route;
	} rows[] = {
		{ "unix:/run/lmtp.sock", "txmilter:unix:/run/lmtp.sock" },
		{ "local:/run/lmtp.sock", "txmilter:unix:/run/lmtp.sock" },
		{ "inet:2424@127.0.0.1", "txmilter:inet:[127.0.0.1]:2424" },
		{ "inet:2424@[127.0.0.1]", "txmilter:inet:[127.0.0.1]:2424" },
		{ "inet:2424@::1", "txmilter:inet:[::1]:2424" },
		{ "inet:2424@[::1]", "txmilter:inet:[::1]:2424" },
	};
	struct scene *s = *state;
	char *usual = s->config.lmtp_socket;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *socket = strdup(rows[i].socket);
		struct trip t;

		s->config.lmtp_socket = socket;
		prepare(&t, s, 1);
		t.route.handoff = ROUTE_QUEUED;
		handoff(&t.handoff);
		assert_string_equal(t.handoff.edits->route, rows[i].route);
		clear(&t);
		free(socket);
	}
	s->config.lmtp_socket = usual;
}

static void
test_plan_does_not_fit(void **state)
{
	struct scene *s = *state;

	for (int row = 0; row < 2; row++) {
		char id[PLAN_QUEUE_ID_MAX + 2];
		struct trip t;

		prepare(&t, s, 1);
		t.route.handoff = ROUTE_QUEUED;
		if (row == 0) {
			memset(id, 'Q', sizeof(id) - 1);
			id[sizeof(id) - 1] = '\0';
			t.handoff.queue_id = id;
		} else {
			t.handoff.outgoing->subject[0] = '\xff';
		}
		handoff(&t.handoff);
		assert_int_equal(t.handoff.kind, HANDOFF_NOT);
		assert_null(t.handoff.edits);
		assert_reply("plan", &t.handoff.reply,
			     "451 4.3.0 The relay cannot queue the message");
		clear(&t);
	}
}

static void
test_thousand(void **state)
{
	struct scene *s = *state;
	char script[1001], states[1001];
	struct trip t;

	for (size_t i = 0; i < 1000; i++) {
		script[i] = i % 10 == 3 ? 'r' : i % 10 == 7 ? 'm' : 'a';
		states[i] = i % 10 == 3 ? 'r' : i % 10 == 7 ? 'o' : 'd';
	}
	script[1000] = states[1000] = '\0';
	scene_script(script);
	scene_answer_in_thread(SCENE_ANY);
	prepare(&t, s, 1000);
	handoff(&t.handoff);
	assert_int_equal(t.handoff.kind, HANDOFF_QUEUED);
	assert_int_equal(t.handoff.accepted, 800);
	assert_plan(&t, "thousand", states);
	clear(&t);
}

/* --- the ways ------------------------------------------------------------- */

static void
test_not_begun(void **state)
{
	static const struct {
		const char *name;
		enum route_handoff handoff;
		bool no_route, no_key;
		const char *reply; /* NULL: it is begun */
		const char *way;
	} rows[] = {
		{ "no route", ROUTE_DIRECT, true, false,
		  "451 4.3.5 The relay does not know where the route leads",
		  "none" },
		{ "no key", ROUTE_DIRECT, false, true,
		  "451 4.3.5 The relay has no API key for this account",
		  "direct" },
		{ "no key, queued", ROUTE_QUEUED, false, true,
		  "451 4.3.5 The relay has no API key for this account",
		  "queued" },
		{ "no key, transport", ROUTE_TRANSPORT, false, true, NULL,
		  "transport" },
	};
	struct scene *s = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct trip t;

		prepare(&t, s, 1);
		t.route.handoff = rows[i].handoff;
		if (rows[i].no_route)
			t.handoff.outgoing->route = NULL;
		if (rows[i].no_key)
			t.identity.key[0] = '\0';
		handoff(&t.handoff);
		scene_assert_called(rows[i].name, "");
		assert_string_equal(t.handoff.way, rows[i].way);
		assert_int_equal(t.handoff.kind, rows[i].reply != NULL
						     ? HANDOFF_NOT
						     : HANDOFF_QUEUED);
		if (rows[i].reply != NULL)
			assert_reply(rows[i].name, &t.handoff.reply,
				     rows[i].reply);
		clear(&t);
	}
}

static void
test_names(void **state)
{
	static const struct {
		enum route_handoff handoff;
		const char *name;
	} rows[] = {
		{ ROUTE_DIRECT, "direct" },
		{ ROUTE_QUEUED, "queued" },
		{ ROUTE_TRANSPORT, "transport" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct route r = { .handoff = rows[i].handoff };

		assert_string_equal(handoff_name(&r), rows[i].name);
	}
}

static void
test_transport(void **state)
{
	struct scene *s = *state;
	struct trip t;

	prepare(&t, s, 2);
	t.route.handoff = ROUTE_TRANSPORT;
	handoff(&t.handoff);
	assert_int_equal(t.handoff.kind, HANDOFF_QUEUED);
	assert_string_equal(t.handoff.edits->route, "smtp:[x]");
	assert_int_equal(t.handoff.accepted, 0);
	clear(&t);
	scene_assert_called("transport", "");
}

/* --- who is added by a header --------------------------------------------- */

static void
add_copies(struct trip *t)
{
	struct outgoing *o = t->handoff.outgoing;

	o->recipients[1].kind = OUTGOING_CC;
	o->recipients[2].kind = OUTGOING_BCC;
}

/* "12": r1 and r2 become recipients of Postfix's. */
static void
assert_added(const struct trip *t, const char *want)
{
	const struct edits *e = t->handoff.edits;

	assert_int_equal(e->n_recipients, strlen(want));
	for (size_t i = 0; want[i] != '\0'; i++) {
		const char address[] = { 'r', want[i], '@', 'x', '.', 'e', 'x',
					 'a', 'm',     'p', 'l', 'e', '\0' };

		assert_string_equal(e->recipients[i], address);
	}
}

static void
test_added(void **state)
{
	static const struct {
		enum route_handoff handoff;
		const char *script, *states, *added;
	} rows[] = {
		{ ROUTE_QUEUED, "a", "ooo", "12" },
		{ ROUTE_DIRECT, "o", "ooo", "12" },
		{ ROUTE_DIRECT, "aao", "ddo", "2" },
		{ ROUTE_DIRECT, "ara", "drd", "1" },
		{ ROUTE_DIRECT, "raa", "rdd", "" },
		{ ROUTE_TRANSPORT, "a", "ooo", "12" },
	};
	struct scene *s = *state;

	scene_answer_in_thread(SCENE_FIRST);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct trip t;

		scene_script(rows[i].script);
		scene_health(s, SCENE_UP);
		sent_memory_keep_for(s->services.sent, 0);
		prepare(&t, s, 3);
		t.route.handoff = rows[i].handoff;
		add_copies(&t);
		handoff(&t.handoff);
		assert_int_equal(t.handoff.kind, HANDOFF_QUEUED);
		assert_plan(&t, rows[i].script, rows[i].states);
		assert_added(&t, rows[i].added);
		clear(&t);
	}
}

/* To the agent, without a key, and not to the transport. */
static void
test_copies(void **state)
{
	struct scene *s = *state;
	struct plan *p;
	struct trip t;

	prepare(&t, s, 3);
	t.route.handoff = ROUTE_TRANSPORT;
	t.route.api = NULL;
	add_copies(&t);
	handoff(&t.handoff);
	assert_int_equal(t.handoff.kind, HANDOFF_QUEUED);
	assert_string_equal(t.handoff.way, "transport,copies");
	assert_int_equal(strncmp(t.handoff.edits->route, "txmilter:", 9), 0);
	p = open_plan(&t);
	assert_non_null(p);
	assert_string_equal(p->api, "");
	assert_string_equal(p->key, "");
	assert_int_equal(p->outgoing->recipients[2].kind, OUTGOING_BCC);
	plan_free(&p);
	clear(&t);
	scene_assert_called("copies", "");
}

/* What no copy could be made of is said at once. */
static void
test_copies_refused(void **state)
{
	static char header[] = "X-Labels";
	char long_text[1000];
	struct trip t;

	memset(long_text, 'x', sizeof(long_text));
	memcpy(long_text, "[\"", 2);
	memcpy(long_text + sizeof(long_text) - 3, "\"]", 3);
	prepare(&t, *state, 3);
	t.route.handoff = ROUTE_TRANSPORT;
	t.route.labels_header = header;
	t.handoff.outgoing->labels = strdup(long_text);
	add_copies(&t);
	handoff(&t.handoff);
	assert_int_equal(t.handoff.kind, HANDOFF_NOT);
	assert_reply("labels", &t.handoff.reply, "550 5.6.0 labels: too long");
	clear(&t);
}

/* Postfix adds headers of its own on the way, and must be let. */
static void
test_copies_have_room(void **state)
{
	static const struct {
		const char *name;
		size_t n;	   /* of it in all; or */
		size_t bytes;	   /* of all headers */
		const char *reply; /* NULL: it is queued */
	} rows[] = {
		{ "X-More", MESSAGE_HEADERS_MAX - 1, 0, NULL },
		{ "X-More", MESSAGE_HEADERS_MAX, 0, "550 5.6.0 Too many head" },
		{ "Received", 47, 0, NULL },
		{ "received", 48, 0, "554 5.4.6 Too many hops: 48 " },
		{ "X-Long", 0, MESSAGE_HEADERS_KEPT_MAX - 4096, NULL },
		{ "X-Long", 0, MESSAGE_HEADERS_KEPT_MAX - 4095,
		  "550 5.6.0 The headers are too long" },
	};
	static char longer[MESSAGE_HEADER_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = rows[i].n;
		struct trip t;

		prepare(&t, *state, 3);
		t.route.handoff = ROUTE_TRANSPORT;
		add_copies(&t);
		if (n == MESSAGE_HEADERS_MAX || n + 1 == MESSAGE_HEADERS_MAX)
			n -= message_n_headers(t.message);
		while (n-- > 0)
			add_header(t.message, rows[i].name, "x");
		while (message_header_bytes(t.message) < rows[i].bytes) {
			size_t left =
			    rows[i].bytes - message_header_bytes(t.message) - 7;
			size_t len = left > 40000 ? 30000 : left;

			memset(longer, 'x', len);
			longer[len] = '\0';
			add_header(t.message, rows[i].name, longer);
		}
		handoff(&t.handoff);
		if (rows[i].reply != NULL) {
			assert_int_equal(t.handoff.kind, HANDOFF_NOT);
			assert_reply(rows[i].name, &t.handoff.reply,
				     rows[i].reply);
		} else {
			assert_int_equal(t.handoff.kind, HANDOFF_QUEUED);
		}
		assert_string_equal(t.handoff.way, rows[i].reply != NULL
						       ? "transport"
						       : "transport,copies");
		clear(&t);
	}
}

/* --- rates ---------------------------------------------------------------- */

/* One message an hour. What is refused or put off costs nothing, what is sent
 * or queued does; a repetition of what is sent does not. */
static void
test_rate(void **state)
{
	static const struct {
		const char *script;
		char message; /* which one it is */
		enum handoff_kind kind;
		const char *reply;
	} steps[] = {
		{ "k", '1', HANDOFF_NOT, "535 " },
		{ "r", '1', HANDOFF_NOT, "550 " },
		{ "m", '1', HANDOFF_NOT, "451 4.3.5 " },
		{ "a", '1', HANDOFF_SENT, "" },
		{ "a", '2', HANDOFF_NOT, "450 4.7.1 " },
		{ "o", '1', HANDOFF_SENT, "" },
		{ "o", '1', HANDOFF_SENT, "" },
		{ "a", '3', HANDOFF_NOT, "450 4.7.1 " },
	};
	struct scene *s = *state;

	scene_answer_in_thread(SCENE_FIRST);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct trip t;
		char what[16];

		(void)snprintf(what, sizeof(what), "step %zu", i);
		scene_script(steps[i].script);
		scene_health(s, SCENE_UP);
		prepare(&t, s, 1);
		t.account->rate = (struct account_rate){ 1, 3600 };
		t.account->recipient_rate = (struct account_rate){ 1, 3600 };
		t.handoff.outgoing->message_id[1] = steps[i].message;
		handoff(&t.handoff);
		if (t.handoff.kind != steps[i].kind)
			fail_msg("%s: %d", what, t.handoff.kind);
		assert_reply(what, &t.handoff.reply,
			     steps[i].reply[0] ? steps[i].reply : "0 ");
		clear(&t);
	}
}

static void
test_rate_of_queued(void **state)
{
	static const enum route_handoff ways[] = { ROUTE_DIRECT, ROUTE_QUEUED,
						   ROUTE_TRANSPORT };
	struct scene *s = *state;

	scene_answer_in_thread(SCENE_FIRST);
	for (size_t i = 0; i < 3; i++) {
		for (int k = 0; k < 2; k++) {
			struct trip t;

			scene_script("o");
			scene_health(s, SCENE_UP);
			prepare(&t, s, 1);
			t.route.handoff = ways[i];
			t.account->rate = (struct account_rate){ 1, 3600 };
			t.identity.key_id[1] = (char)('a' + i);
			handoff(&t.handoff);
			assert_int_equal(t.handoff.kind,
					 k == 0 ? HANDOFF_QUEUED : HANDOFF_NOT);
			clear(&t);
		}
	}
}

/* --- many at once --------------------------------------------------------- */

#define THREADS 8
#define MESSAGES 50

static void *
send_many(void *arg)
{
	struct trip *t = arg;

	for (int i = 0; i < MESSAGES; i++) {
		struct handoff *h = &t->handoff;

		edits_free(&h->edits);
		handoff(h);
		if (h->kind != HANDOFF_QUEUED)
			abort();
	}
	return NULL;
}

static void
test_threads(void **state)
{
	struct scene *s = *state;
	struct trip trips[THREADS];
	pthread_t threads[THREADS];
	size_t straight = 0;

	s->config.direct_limit = THREADS / 2;
	scene_script("aro");
	scene_answer_in_thread(SCENE_ANY);
	sent_memory_keep_for(s->services.sent, 0);
	for (size_t i = 0; i < THREADS; i++) {
		prepare(&trips[i], s, 3);
		trips[i].handoff.outgoing->message_id[1] = (char)('a' + i);
	}
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, send_many, &trips[i]), 0);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (size_t i = 0; i < THREADS; i++) {
		struct plan *p = open_plan(&trips[i]);

		assert_non_null(p);
		straight += p->recipients[0].state == PLAN_DONE;
		plan_free(&p);
		clear(&trips[i]);
	}
	assert_true(straight <= THREADS);
	assert_true(scene_calls() <= (size_t)THREADS * MESSAGES * 3);
}

static int
set_up(void **state)
{
	*state = malloc(sizeof(struct scene));
	assert_non_null(*state);
	scene_start(*state);
	return 0;
}

static int
tear_down(void **state)
{
	scene_stop(*state);
	free(*state);
	return 0;
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		TEST(test_decisions),
		TEST(test_first_stands_for_all),
		TEST(test_ambiguous),
		TEST(test_repeated),
		TEST(test_health),
		TEST(test_too_large),
		TEST(test_key_refused),
		TEST(test_direct_limit),
		TEST(test_timeout),
		TEST(test_plan),
		TEST(test_queued_route),
		TEST(test_edits),
		TEST(test_agent_route),
		TEST(test_plan_does_not_fit),
		TEST(test_thousand),
		TEST(test_not_begun),
		TEST(test_names),
		TEST(test_transport),
		TEST(test_copies_have_room),
		TEST(test_added),
		TEST(test_copies),
		TEST(test_copies_refused),
		TEST(test_rate),
		TEST(test_rate_of_queued),
		TEST(test_threads),
	};

	header_text_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
