/* SPDX-License-Identifier: MIT */
/*
 * The calls' answers are written in letters: api_scene.h.
 */
#include "milter/api_batch.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "api_scene.h"
#include "milter/api_health.h"
#include "milter/clock.h"
#include "milter/sent_memory.h"
#include "policy/api.h"
#include "policy/outgoing.h"
#include "policy/smtp_reply.h"

#define CALL_MS 20000
#define DEADLINE_MS 60000

/* One batch. */
struct run {
	struct scene *scene;
	struct outgoing *outgoing;
	uint8_t submission[SUBMISSION_ID_LEN];
	struct api_batch_settings settings;
	struct api_batch *batch;
	atomic_uint done;
	sem_t idle;
};

static void
on_done(void *arg)
{
	struct run *r = arg;

	atomic_fetch_add(&r->done, 1);
	if (sem_post(&r->idle) != 0)
		abort();
}

/* Each is another message. */
static void
prepare(struct run *r, struct scene *s, size_t n)
{
	static uint8_t number[SUBMISSION_ID_LEN];

	memset(r, 0, sizeof(*r));
	if (++number[0] == 0)
		number[1]++;
	memcpy(r->submission, number, sizeof(number));
	r->scene = s;
	r->outgoing = scene_outgoing(n);
	assert_int_equal(sem_init(&r->idle, 0, 0), 0);
	r->settings = (struct api_batch_settings){
		.services = &s->services,
		.api = &s->api,
		.queue_id = "4Tx1qR0Zzz",
		.key_id = "k1",
		.key = SCENE_KEY,
		.outgoing = r->outgoing,
		.submission = r->submission,
		.call_ms = CALL_MS,
		.begin_by_ms = clock_ms() + DEADLINE_MS,
		.deadline_ms = clock_ms() + DEADLINE_MS,
		.done = on_done,
		.arg = r,
	};
}

static void
make(struct run *r)
{
	r->batch = api_batch_new(&r->settings);
}

/* Made, unless it is. */
static void
start(struct run *r)
{
	if (r->batch == NULL)
		make(r);
	api_batch_start(r->batch);
}

static void
wait_done(struct run *r)
{
	struct timespec until;

	assert_int_equal(clock_gettime(CLOCK_REALTIME, &until), 0);
	until.tv_sec += 60;
	while (sem_timedwait(&r->idle, &until) != 0)
		assert_int_equal(errno, EINTR);
}

static void
run_by_hand(struct run *r, enum scene_order order)
{
	start(r);
	scene_answer_all(order);
}

/* Nobody is called for it any more. */
static void
assert_released(const struct run *r, size_t i)
{
	struct sent_memory *sent = r->scene->services.sent;
	struct sent_claim claim;

	submission_key(r->submission, r->outgoing->recipients[i].email,
		       claim.key);
	switch (sent_memory_claim(sent, &claim)) {
	case SENT_NOT:
		sent_memory_release(sent, &claim, false);
		break;
	case SENT_ALREADY:
		break;
	case SENT_UNDER_WAY:
	default:
		fail_msg("recipient %zu is still claimed", i);
	}
}

static void
end(struct run *r)
{
	assert_int_equal(r->done, 1);
	for (size_t i = 0; i < r->outgoing->n_recipients; i++)
		assert_released(r, i);
	assert_int_equal(scene_waiting(), 0);
	assert_false(scene_is_probing(r->scene));
	api_batch_free(&r->batch);
	assert_null(r->batch);
	api_batch_free(&r->batch);
	outgoing_free(&r->outgoing);
	assert_int_equal(sem_destroy(&r->idle), 0);
}

static bool
is_remembered(const struct run *r, size_t i)
{
	uint8_t key[SUBMISSION_KEY_LEN];

	submission_key(r->submission, r->outgoing->recipients[i].email, key);
	return sent_memory_has(r->scene->services.sent, key);
}

static void
remember(const struct run *r, size_t i)
{
	uint8_t key[SUBMISSION_KEY_LEN];

	submission_key(r->submission, r->outgoing->recipients[i].email, key);
	scene_remember(r->scene, key);
}

/* The states as letters: accepted, refused, open, skipped. A reply fits its
 * state, and the counts fit all of them. */
static void
assert_states(const struct run *r, const char *what, const char *states)
{
	static const char letters[] = {
		[BATCH_OPEN] = 'o',
		[BATCH_ACCEPTED] = 'a',
		[BATCH_REFUSED] = 'r',
		[BATCH_SKIPPED] = '-',
	};
	struct api_batch_counts c;
	size_t n[4] = { 0 };

	assert_int_equal(strlen(states), r->outgoing->n_recipients);
	api_batch_counts(r->batch, &c);
	for (size_t i = 0; states[i] != '\0'; i++) {
		enum batch_state state = api_batch_state(r->batch, i);
		int code = api_batch_reply(r->batch, i)->code;

		if (letters[state] != states[i])
			fail_msg("%s: recipient %zu is %c", what, i,
				 letters[state]);
		if (state == BATCH_OPEN && code != 451)
			fail_msg("%s: open %zu: %d", what, i, code);
		if (state == BATCH_REFUSED && code < 500)
			fail_msg("%s: refused %zu: %d", what, i, code);
		if (state == BATCH_REFUSED && n[state] == 0 && !c.key_wrong)
			assert_int_equal(c.why, i);
		if (is_remembered(r, i) && state != BATCH_ACCEPTED)
			fail_msg("%s: %zu is remembered", what, i);
		n[state]++;
	}
	assert_int_equal(c.accepted, n[BATCH_ACCEPTED]);
	assert_int_equal(c.refused, n[BATCH_REFUSED]);
	assert_int_equal(c.open, n[BATCH_OPEN]);
	if (c.key_wrong)
		assert_int_equal(api_batch_reply(r->batch, c.why)->code, 535);
}

static void
assert_reply(const struct run *r, const char *what, size_t i, const char *text)
{
	const struct smtp_reply *reply = api_batch_reply(r->batch, i);
	char got[SMTP_REPLY_TEXT_MAX + 32];

	(void)snprintf(got, sizeof(got), "%d %s %s", reply->code,
		       reply->enhanced, reply->text);
	if (strncmp(got, text, strlen(text)) != 0)
		fail_msg("%s: %zu: %s", what, i, got);
}

/* --- what an answer means ------------------------------------------------- */

#define OK "{\"result\":\"ok\"}"
#define WORDS "{\"description\":\"Odd \\\"words\\\"\"}"

enum { FAILURE = 1, KEY_IS_WRONG = 2, MISFIT = 4, NOT_CALLED = 8 };

static const struct outcome_row {
	const char *name;
	struct scene_answer answer;
	bool accept_ambiguous;
	const char *state; /* as in assert_states() */
	const char *reply; /* how it begins */
	const char *metric; /* and the word in the log */
	unsigned flags;
} outcomes[] = {
	{ "200", { HTTP_ANSWERED, 200, OK, 0, true }, false, "a", "",
	  "accepted", 0 },
	{ "202", { HTTP_ANSWERED, 202, OK, 0, true }, false, "a", "",
	  "accepted", 0 },
	{ "200, empty", { HTTP_ANSWERED, 200, "", 0, true }, false, "o",
	  "451 4.3.5 ", "misfit", MISFIT },
	{ "200, not ok", { HTTP_ANSWERED, 200, "{\"result\":\"no\"}", 0, true },
	  false, "o", "451 4.3.5 ", "misfit", MISFIT },
	{ "301", { HTTP_ANSWERED, 301, "", 0, true }, false, "o", "451 4.3.5 ",
	  "misfit", MISFIT },
	{ "400", { HTTP_ANSWERED, 400, WORDS, 0, true }, false, "r",
	  "550 5.6.0 The API refused the message: Odd \"words\"", "refused",
	  0 },
	{ "400, empty", { HTTP_ANSWERED, 400, "", 0, true }, false, "r",
	  "550 5.6.0 The API refused the message", "refused", 0 },
	{ "401", { HTTP_ANSWERED, 401, WORDS, 0, true }, false, "r",
	  "535 5.7.8 The API key is wrong or revoked", "key-wrong",
	  KEY_IS_WRONG },
	{ "403", { HTTP_ANSWERED, 403, WORDS, 0, true }, false, "r",
	  "550 5.7.1 ", "refused", 0 },
	{ "404", { HTTP_ANSWERED, 404, WORDS, 0, true }, false, "o",
	  "451 4.3.5 The API gave an answer that cannot be used", "misfit",
	  MISFIT },
	{ "405", { HTTP_ANSWERED, 405, "", 0, true }, false, "o", "451 4.3.5 ",
	  "misfit", MISFIT },
	{ "408", { HTTP_ANSWERED, 408, "", 0, true }, false, "o", "451 4.4.2 ",
	  "later", 0 },
	{ "409", { HTTP_ANSWERED, 409, WORDS, 0, true }, false, "o",
	  "451 4.4.2 The API is busy", "later", 0 },
	{ "413", { HTTP_ANSWERED, 413, "", 0, true }, false, "r", "552 5.3.4 ",
	  "refused", 0 },
	{ "418", { HTTP_ANSWERED, 418, "", 0, true }, false, "o", "451 4.3.5 ",
	  "misfit", MISFIT },
	{ "420", { HTTP_ANSWERED, 420, "", 0, true }, false, "o", "451 4.4.5 ",
	  "later", 0 },
	{ "422", { HTTP_ANSWERED, 422, WORDS, 0, true }, false, "r",
	  "550 5.6.0 The API refused the message: Odd", "refused", 0 },
	{ "425", { HTTP_ANSWERED, 425, "", 0, true }, false, "o", "451 4.4.2 ",
	  "later", 0 },
	{ "429", { HTTP_ANSWERED, 429, "", 0, true }, false, "o", "451 4.4.5 ",
	  "later", 0 },
	{ "500", { HTTP_ANSWERED, 500, WORDS, 0, true }, false, "o",
	  "451 4.4.2 The API failed", "later", FAILURE },
	{ "503", { HTTP_ANSWERED, 503, "", 0, true }, false, "o", "451 4.4.2 ",
	  "later", FAILURE },
	{ "not sent", { HTTP_NO_ANSWER, 0, "", 0, false }, false, "o",
	  "451 4.4.1 The API did not answer", "later", FAILURE },
	{ "sent", { HTTP_NO_ANSWER, 0, "", 0, true }, false, "o", "451 4.4.1 ",
	  "later", FAILURE },
	{ "sent, half an answer", { HTTP_NO_ANSWER, 0, "{\"res", 0, true },
	  false, "o", "451 4.4.1 ", "later", FAILURE },
	{ "too late, not sent", { HTTP_TIMED_OUT, 0, "", 0, false }, false, "o",
	  "451 4.4.1 ", "later", FAILURE },
	{ "too late, sent", { HTTP_TIMED_OUT, 0, "", 0, true }, false, "o",
	  "451 4.4.1 ", "later", FAILURE },
	{ "too long", { HTTP_TOO_LONG, 0, "", 0, true }, false, "o",
	  "451 4.4.1 ", "later", FAILURE },
	{ "stopped", { HTTP_STOPPED, 0, "", 0, false }, false, "o",
	  "451 4.3.2 ", "later", NOT_CALLED },
	{ "stopped, sent", { HTTP_STOPPED, 0, "", 0, true }, false, "o",
	  "451 4.3.2 ", "later", NOT_CALLED },
	{ "full", { HTTP_QUEUE_FULL, 0, "", 0, false }, false, "o",
	  "451 4.3.2 ", "later", NOT_CALLED },
	{ "no room", { HTTP_NO_ROOM, 0, "", 0, false }, false, "o",
	  "451 4.3.2 ", "later", NOT_CALLED },
	/* on_ambiguous = accept is about what was sent and not answered, or
	 * in other words than the API's. */
	{ "accept: not sent", { HTTP_NO_ANSWER, 0, "", 0, false }, true, "o",
	  "451 4.4.1 ", "later", FAILURE },
	{ "accept: sent", { HTTP_NO_ANSWER, 0, "", 0, true }, true, "a", "",
	  "assumed", FAILURE },
	{ "accept: too late, sent", { HTTP_TIMED_OUT, 0, "", 0, true }, true,
	  "a", "", "assumed", FAILURE },
	{ "accept: too late, not sent", { HTTP_TIMED_OUT, 0, "", 0, false },
	  true, "o", "451 4.4.1 ", "later", FAILURE },
	{ "accept: too long", { HTTP_TOO_LONG, 0, "", 0, true }, true, "a", "",
	  "assumed", FAILURE },
	/* It was we who cut it. */
	{ "accept: stopped, sent", { HTTP_STOPPED, 0, "", 0, true }, true, "o",
	  "451 4.3.2 ", "later", NOT_CALLED },
	{ "accept: no room", { HTTP_NO_ROOM, 0, "", 0, false }, true, "o",
	  "451 4.3.2 ", "later", NOT_CALLED },
	{ "accept: stopped", { HTTP_STOPPED, 0, "", 0, false }, true, "o",
	  "451 4.3.2 ", "later", NOT_CALLED },
	{ "accept: 500", { HTTP_ANSWERED, 500, "", 0, true }, true, "o",
	  "451 4.4.2 ", "later", FAILURE },
	{ "accept: 400", { HTTP_ANSWERED, 400, "", 0, true }, true, "r",
	  "550 5.6.0 ", "refused", 0 },
	{ "accept: 200, not ok", { HTTP_ANSWERED, 200, "", 0, true }, true, "a",
	  "", "assumed", 0 },
	{ "accept: 302", { HTTP_ANSWERED, 302, "", 0, true }, true, "o",
	  "451 4.3.5 ", "misfit", MISFIT },
	{ "accept: 404", { HTTP_ANSWERED, 404, "", 0, true }, true, "o",
	  "451 4.3.5 ", "misfit", MISFIT },
};

static unsigned long
calls_counted(const struct scene *s, const char *result)
{
	char name[80];

	(void)snprintf(name, sizeof(name),
		       "txmilter_calls_total{result=\"%s\"}", result);
	return scene_metric(s, name);
}

static unsigned
failures(const struct scene *s)
{
	struct api_health_state state;

	api_health_state(s->services.apis.v[0].health, clock_ms(), &state);
	return state.failures;
}

static void
check_outcome(struct scene *s, const struct outcome_row *row, bool first_alone)
{
	unsigned long counted = calls_counted(s, row->metric);
	struct api_batch_counts c;
	char line[80];
	struct run r;

	scene_script("*");
	scene_forget_log();
	/* So that an answer can be told from no call at all. */
	scene_health(s, SCENE_UP);
	api_health_told(s->services.apis.v[0].health, "k1", HEALTH_GO, 0, 0, 0);
	s->special = row->answer;
	s->api.accept_ambiguous = row->accept_ambiguous;
	prepare(&r, s, 1);
	r.settings.first_alone = first_alone;
	run_by_hand(&r, SCENE_FIRST);
	scene_assert_called(row->name, "0");
	assert_states(&r, row->name, row->state);
	if (*row->state != 'a')
		assert_reply(&r, row->name, 0, row->reply);
	if (is_remembered(&r, 0) != (*row->state == 'a'))
		fail_msg("%s: memory", row->name);
	api_batch_counts(r.batch, &c);
	if (c.key_wrong != ((row->flags & KEY_IS_WRONG) != 0) ||
	    c.misfit != ((row->flags & MISFIT) != 0) || c.too_large)
		fail_msg("%s: counts", row->name);
	if (calls_counted(s, row->metric) != counted + 1)
		fail_msg("%s: metric", row->name);
	(void)snprintf(line, sizeof(line), "status=%u result=%s ",
		       row->answer.status, row->metric);
	if (!scene_logged("4Tx1qR0Zzz: call to=\"r0@x.example\" api=main ") ||
	    !scene_logged(line))
		fail_msg("%s: log", row->name);
	if (failures(s) != (row->flags & FAILURE      ? 2
			    : row->flags & NOT_CALLED ? 1
						      : 0))
		fail_msg("%s: %u failures", row->name, failures(s));
	end(&r);
}

static void
test_outcomes(void **state)
{
	for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
		check_outcome(*state, &outcomes[i], false);
		check_outcome(*state, &outcomes[i], true);
	}
}

/* Base64 of it has a '/' in it. */
#define PAIR "4711:t??ken"
#define PAIR_BASIC "NDcxMTp0Pz9rZW4="

static const struct {
	const char *name;
	const struct api_format *format; /* its head, its id */
	const char *key;
	unsigned status;
	const char *answer;
	const char *words; /* the client's, or NULL: it is accepted */
} said_back[] = {
	{ "plain", &api_emaildelivery, SCENE_KEY, 400,
	  "{\"description\":\"Bad " SCENE_KEY "\"}", "Bad ***************" },
	{ "a letter in hexadecimal", &api_emaildelivery, SCENE_KEY, 400,
	  "{\"description\":\"Bad the\\u002Dkey-of-acme\"}",
	  "Bad ********************" },
	{ "a slash", &api_generic, "of/acme", 400,
	  "{\"description\":\"Bad of\\/acme\"}", "Bad ********" },
	{ "escaped twice", &api_generic, "of/acme", 400,
	  "{\"description\":\"Bad of\\\\\\/acme\"}", "Bad ********" },
	{ "a token", &api_flexmail, PAIR, 400,
	  "{\"description\":\"Bad t\\u003f?ken\"}", "Bad ***********" },
	{ "Basic", &api_flexmail, PAIR, 400,
	  "{\"description\":\"Bad " PAIR_BASIC "\"}", "Bad ***************=" },
	{ "Basic, in hexadecimal", &api_flexmail, PAIR, 400,
	  "{\"description\":\"Bad NDcxMTp0Pz9\\u0072ZW4\"}",
	  "Bad ********************" },
	{ "Basic, a slash", &api_campaignmonitor, "??????", 400,
	  "{\"description\":\"Bad Pz8\\/Pz8\\/Ong=\"}", "Bad *************=" },
	{ "the id", &api_generic, SCENE_KEY, 200,
	  "{\"id\":\"the-key-of\\u002dacme\"}", NULL },
	{ "the id, plain", &api_generic, SCENE_KEY, 200,
	  "{\"id\":\"" SCENE_KEY "\"}", NULL },
};

static void
check_said_back(struct scene *s, size_t row)
{
	struct api_format format = api_emaildelivery;
	char reply[200];
	struct run r;

	format.head = said_back[row].format->head;
	if (said_back[row].words == NULL)
		format.answer_accepted = said_back[row].format->answer_accepted;
	scene_script("*");
	scene_forget_log();
	s->special =
	    (struct scene_answer){ HTTP_ANSWERED, said_back[row].status,
				   said_back[row].answer, 0, true };
	prepare(&r, s, 1);
	s->api.format = &format;
	r.settings.key = said_back[row].key;
	run_by_hand(&r, SCENE_FIRST);
	if (said_back[row].words != NULL) {
		(void)snprintf(reply, sizeof(reply),
			       "550 5.6.0 The API refused the message: %s",
			       said_back[row].words);
		assert_reply(&r, said_back[row].name, 0, reply);
	} else if (!scene_logged(" id=\"****")) {
		fail_msg("%s: no id", said_back[row].name);
	}
	assert_false(scene_logged(said_back[row].key));
	end(&r);
	s->api.format = &api_emaildelivery;
}

/* An API that says the key back says it to nobody. */
static void
test_key_said_back(void **state)
{
	for (size_t i = 0; i < sizeof(said_back) / sizeof(said_back[0]); i++)
		check_said_back(*state, i);
}

/* --- one request ---------------------------------------------------------- */

static const char *
line_of(const struct scene_call *c, const char *name)
{
	const char *at = strstr(c->headers, name);

	if (at == NULL)
		fail_msg("no %s", name);
	return at + strlen(name);
}

static void
test_request(void **state)
{
	struct scene *s = *state;
	const struct scene_call *first, *second;
	struct run r;

	prepare(&r, s, 2);
	free(r.outgoing->recipients[1].name);
	r.outgoing->recipients[1].name = strdup("R. \"One\"");
	run_by_hand(&r, SCENE_FIRST);
	scene_assert_called("request", "01");
	first = scene_call(0);
	second = scene_call(1);
	assert_string_equal(first->url, SCENE_URL "/transactional/send");
	assert_string_equal(second->url, first->url);
	assert_string_equal(
	    second->body,
	    "{\"to\":\"r1@x.example\",\"toname\":\"R. \\\"One\\\"\","
	    "\"fromname\":\"Acme\",\"fromemail\":\"from@acme.example\","
	    "\"returnpath\":\"bounce@acme.example\",\"subject\":\"Hello\","
	    "\"body\":\"<p>Hello</p>\"}");
	assert_non_null(strstr(first->headers,
			       "X-Auth-APIKey: " SCENE_KEY "\n"));
	assert_non_null(strstr(first->headers,
			       "Content-Type: application/json\n"));
	assert_int_equal(first->timeout_ms, CALL_MS);
	assert_false(first->background);
	end(&r);
	/* Those who wait come first. */
	scene_script("a");
	prepare(&r, s, 1);
	r.settings.may_wait = true;
	run_by_hand(&r, SCENE_FIRST);
	assert_true(scene_call(0)->background);
	end(&r);
}

/* The same message has the same keys, each recipient its own. */
static void
test_idempotency_keys(void **state)
{
	static const char name[] = "Idempotency-Key: ";
	struct scene *s = *state;
	uint8_t submission[SUBMISSION_ID_LEN] = { 9, 9 };
	char keys[3][33];

	for (int round = 0; round < 2; round++) {
		struct run r;

		scene_script("o");
		scene_health(s, SCENE_UP);
		prepare(&r, s, 3);
		memcpy(r.submission, submission, sizeof(submission));
		run_by_hand(&r, SCENE_LAST);
		for (size_t i = 0; i < 3; i++) {
			const struct scene_call *c = scene_call(i);
			const char *key = line_of(c, name);
			char *known = keys[c->recipient];

			assert_int_equal(strcspn(key, "\n"), 32);
			if (round == 0)
				(void)snprintf(known, 33, "%.32s", key);
			assert_memory_equal(known, key, 32);
		}
		end(&r);
	}
	assert_string_not_equal(keys[0], keys[1]);
	assert_string_not_equal(keys[0], keys[2]);
	assert_string_not_equal(keys[1], keys[2]);
}

/* --- who is called -------------------------------------------------------- */

static const struct {
	const char *script; /* what the API says, one recipient each */
	bool first_alone;
	const char *known;   /* '+': sent before */
	const char *skipped; /* '+': to be skipped */
	const char *called;
	const char *states;
	const char *rest; /* the reply of the last one begins like this */
} who[] = {
	/* All at once. */
	{ "aaa", false, "", "", "012", "aaa", "" },
	{ "aro", false, "", "", "012", "aro", "451 4.4.2 " },
	{ "ooo", false, "", "", "012", "ooo", "451 4.4.2 " },
	{ "kaa", false, "", "", "012", "raa", "" },
	{ "rka", false, "", "", "012", "rra", "" },
	{ "aakm", false, "", "", "0123", "aaro", "451 4.3.5 " },
	{ "nts", false, "", "", "012", "ooo", "451 4.3.2 " },
	/* Who is called alone stands for all when there is no answer, or the
	 * key is wrong. */
	{ "aaa", true, "", "", "012", "aaa", "" },
	{ "aro", true, "", "", "012", "aro", "451 4.4.2 " },
	{ "raa", true, "", "", "012", "raa", "" },
	{ "rko", true, "", "", "012", "rro", "451 4.4.2 " },
	{ "oaa", true, "", "", "0", "ooo", "451 4.4.2 The API failed" },
	{ "paa", true, "", "", "0", "ooo", "451 4.4.5 " },
	{ "maa", true, "", "", "0", "ooo", "451 4.3.5 " },
	{ "naa", true, "", "", "0", "ooo", "451 4.4.1 " },
	{ "taa", true, "", "", "0", "ooo", "451 4.4.1 " },
	{ "saa", true, "", "", "0", "ooo", "451 4.3.2 " },
	{ "kaa", true, "", "", "0", "roo", "451 4.4.1 " },
	/* The queue of the pool is full. */
	{ "faa", false, "", "", "", "ooo", "451 4.3.2 " },
	{ "faa", true, "", "", "", "ooo", "451 4.3.2 " },
	{ "afa", false, "", "", "0", "aoo", "451 4.3.2 " },
	{ "afa", true, "", "", "0", "aoo", "451 4.3.2 " },
	{ "rof", false, "", "", "01", "roo", "451 4.3.2 " },
	/* Who has it is not called, and stands for nobody. */
	{ "ooo", false, "+++", "", "", "aaa", "" },
	{ "ooo", true, "+++", "", "", "aaa", "" },
	{ "oaa", true, "+", "", "12", "aaa", "" },
	{ "aoa", true, "+", "", "1", "aoo", "451 4.4.2 " },
	{ "aka", true, "+", "", "1", "aro", "451 4.4.1 " },
	{ "ooa", true, "++", "", "2", "aaa", "" },
	{ "aoa", true, " +", "", "02", "aaa", "" },
	{ "aao", false, "  +", "", "01", "aaa", "" },
	/* Whatever ended the calls. */
	{ "foo", false, " ++", "", "", "oaa", "" },
	{ "ooo", true, "  +", "", "0", "ooa", "" },
	{ "kaa", true, " + ", "", "0", "rao", "451 4.4.1 " },
	/* Nor who is skipped. */
	{ "aaa", false, "", "+++", "", "---", "" },
	{ "aaa", true, "", "+++", "", "---", "" },
	{ "oaa", true, "", "+", "12", "-aa", "" },
	{ "aoa", true, "", "+", "1", "-oo", "451 4.4.2 " },
	{ "aaa", false, "", " +", "02", "a-a", "" },
	{ "aaa", true, "", "  +", "01", "aa-", "" },
	{ "oaa", true, " +", "+", "2", "-aa", "" },
	{ "aaa", false, "+", "+", "12", "-aa", "" },
};

static bool
is_marked(const char *marks, size_t i)
{
	return i < strlen(marks) && marks[i] == '+';
}

static void
check_who(struct scene *s, size_t i, enum scene_order order)
{
	size_t n = strlen(who[i].states);
	char name[40];
	struct run r;

	(void)snprintf(name, sizeof(name), "%s, row %zu", who[i].script, i);
	scene_script(who[i].script);
	scene_health(s, SCENE_UP);
	prepare(&r, s, n);
	r.settings.first_alone = who[i].first_alone;
	make(&r);
	for (size_t k = 0; k < n; k++) {
		if (is_marked(who[i].known, k))
			remember(&r, k);
		if (is_marked(who[i].skipped, k))
			api_batch_skip(r.batch, k);
	}
	start(&r);
	/* Nothing to wait for: it is over at once. */
	assert_int_equal(r.done, who[i].called[0] == '\0');
	if (who[i].first_alone)
		assert_true(scene_waiting() <= 1);
	scene_answer_all(order);
	scene_assert_called(name, who[i].called);
	/* Known, and skipped: the memory is as it was. */
	if (!(is_marked(who[i].known, 0) && is_marked(who[i].skipped, 0)))
		assert_states(&r, name, who[i].states);
	if (who[i].rest[0] != '\0')
		assert_reply(&r, name, n - 1, who[i].rest);
	end(&r);
}

static void
test_who_is_called(void **state)
{
	for (size_t i = 0; i < sizeof(who) / sizeof(who[0]); i++) {
		check_who(*state, i, SCENE_FIRST);
		check_who(*state, i, SCENE_LAST);
	}
}

static void
test_known_is_counted(void **state)
{
	struct scene *s = *state;
	struct run r;

	prepare(&r, s, 2);
	remember(&r, 1);
	run_by_hand(&r, SCENE_FIRST);
	assert_states(&r, "known", "aa");
	assert_int_equal(calls_counted(s, "known"), 1);
	assert_int_equal(calls_counted(s, "accepted"), 1);
	assert_true(scene_logged(
	    "call to=\"r1@x.example\" api=main result=known"));
	end(&r);
	/* What was accepted is known the next time. */
	for (size_t i = 0; i < 2; i++) {
		struct run again;

		scene_script("o");
		prepare(&again, s, 1);
		memcpy(again.submission, r.submission, sizeof(r.submission));
		run_by_hand(&again, SCENE_FIRST);
		scene_assert_called("again", "");
		assert_states(&again, "again", "a");
		end(&again);
	}
}

/* The same message twice at the same time: whom one calls the other does not,
 * and goes on with the rest. */
static void
test_under_way(void **state)
{
	static const char in_between[] = "451 4.4.5 The same message is being";
	struct scene *s = *state;

	for (int i = 0; i < 4; i++) {
		struct run first, second, third;

		scene_script(i & 1 ? "aoa" : "aaa");
		scene_health(s, SCENE_UP);
		prepare(&first, s, 2);
		prepare(&second, s, 3);
		prepare(&third, s, 2);
		memcpy(second.submission, first.submission,
		       sizeof(first.submission));
		memcpy(third.submission, first.submission,
		       sizeof(first.submission));
		second.settings.first_alone = (i & 2) != 0;
		start(&first);
		start(&second);
		scene_assert_called("under way", "012");
		scene_answer_all(SCENE_LAST);
		assert_states(&first, "first", i & 1 ? "ao" : "aa");
		assert_reply(&second, "second", 0, in_between);
		assert_reply(&second, "second", 1, in_between);
		assert_int_equal(api_batch_state(second.batch, 0), BATCH_OPEN);
		assert_int_equal(api_batch_state(second.batch, 2),
				 BATCH_ACCEPTED);
		/* When it is over, what came of it is known. */
		run_by_hand(&third, SCENE_FIRST);
		assert_int_equal(scene_calls(), i & 1 ? 4 : 3);
		assert_states(&third, "third", i & 1 ? "ao" : "aa");
		end(&first);
		end(&second);
		end(&third);
	}
}

/* --- how many at once ----------------------------------------------------- */

static void
test_parallel(void **state)
{
	static const size_t counts[] = { 0,  1,	 2,  API_BATCH_PARALLEL - 1,
					 API_BATCH_PARALLEL,
					 API_BATCH_PARALLEL + 1, 100 };

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		for (enum scene_order order = SCENE_FIRST; order <= SCENE_ANY;
		     order++) {
			size_t n = counts[i], most = n < API_BATCH_PARALLEL
							 ? n
							 : API_BATCH_PARALLEL;
			struct run r;

			scene_script("a");
			prepare(&r, *state, n);
			start(&r);
			assert_int_equal(scene_waiting(), most);
			scene_answer_all(order);
			assert_int_equal(scene_most(), most);
			assert_int_equal(scene_calls(), n);
			for (size_t k = 0; k < n; k++)
				assert_int_equal(scene_called(k), 1);
			end(&r);
		}
	}
}

static void
test_parallel_after_the_first(void **state)
{
	struct run r;

	prepare(&r, *state, 100);
	r.settings.first_alone = true;
	start(&r);
	assert_int_equal(scene_waiting(), 1);
	assert_int_equal(scene_call(0)->recipient, 0);
	scene_answer(0);
	assert_int_equal(scene_waiting(), API_BATCH_PARALLEL);
	scene_answer(7);
	assert_int_equal(scene_waiting(), API_BATCH_PARALLEL);
	scene_answer_all(SCENE_ANY);
	assert_int_equal(scene_most(), API_BATCH_PARALLEL);
	assert_int_equal(scene_calls(), 100);
	end(&r);
}

/* A wrong key is found out in the middle: who is under way ends, nobody else
 * begins. */
static void
test_key_wrong_in_between(void **state)
{
	struct api_batch_counts c;
	struct run r;

	scene_script("aaaka");
	prepare(&r, *state, 100);
	start(&r);
	scene_answer(3);
	assert_int_equal(scene_waiting(), API_BATCH_PARALLEL - 1);
	scene_answer_all(SCENE_FIRST);
	assert_int_equal(scene_calls(), API_BATCH_PARALLEL);
	api_batch_counts(r.batch, &c);
	assert_int_equal(c.accepted, API_BATCH_PARALLEL - 1);
	assert_int_equal(c.refused, 1);
	assert_int_equal(c.open, 100 - API_BATCH_PARALLEL);
	assert_int_equal(c.why, 3);
	assert_true(c.key_wrong);
	end(&r);
}

/* --- in time -------------------------------------------------------------- */

static void
test_deadline_is_over(void **state)
{
	struct scene *s = *state;

	for (int first_alone = 0; first_alone < 2; first_alone++) {
		struct run r;

		scene_health(s, SCENE_PROBE);
		prepare(&r, s, 3);
		remember(&r, 1);
		r.settings.begin_by_ms = clock_ms();
		r.settings.first_alone = first_alone;
		r.settings.may_wait = true;
		run_by_hand(&r, SCENE_FIRST);
		scene_assert_called("too late", "");
		/* Whom the API has needs no time. */
		assert_states(&r, "too late", "oao");
		assert_reply(&r, "too late", 0, "451 4.4.1 ");
		assert_reply(&r, "too late", 2, "451 4.4.1 ");
		end(&r);
	}
}

static void
test_deadline_passes(void **state)
{
	const struct timespec pause = { 0, 60000000 };
	struct api_batch_counts c;
	struct run r;

	prepare(&r, *state, 100);
	r.settings.begin_by_ms = clock_ms() + 50;
	r.settings.deadline_ms = clock_ms() + 1000;
	start(&r);
	assert_in_range(scene_call(0)->timeout_ms, 900, 1000);
	nanosleep(&pause, NULL);
	scene_answer_all(SCENE_FIRST);
	assert_int_equal(scene_calls(), API_BATCH_PARALLEL);
	api_batch_counts(r.batch, &c);
	assert_int_equal(c.accepted, API_BATCH_PARALLEL);
	assert_int_equal(c.open, 100 - API_BATCH_PARALLEL);
	assert_reply(&r, "too late", 99,
		     "451 4.4.1 The API did not answer in time");
	end(&r);
}

/* --- the circuit breaker -------------------------------------------------- */

static const struct {
	const char *name;
	enum scene_health health;
	bool may_wait;
	const char *script, *called, *states;
	bool open; /* the circuit, afterwards */
	const char *rest; /* the reply of the last one begins like this */
} healths[] = {
	{ "down", SCENE_DOWN, true, "aaa", "", "ooo", true,
	  "451 4.4.1 The API does not answer" },
	{ "down, nobody waits", SCENE_DOWN, false, "aaa", "", "ooo", true,
	  "451 4.4.1 The API does not answer" },
	{ "pause", SCENE_PAUSING, true, "aaa", "", "ooo", false,
	  "451 4.4.5 The API asked for a pause" },
	/* A probe is alone, as long as nobody knows how it ends. */
	{ "probe, taken", SCENE_PROBE, true, "aaa", "012", "aaa", false, "" },
	{ "probe, refused", SCENE_PROBE, true, "raa", "012", "raa", false, "" },
	{ "probe, misfit", SCENE_PROBE, true, "maa", "012", "oaa", false, "" },
	{ "probe, wrong key", SCENE_PROBE, true, "kaa", "0", "roo", false,
	  "451 4.4.1 " },
	{ "probe, 429", SCENE_PROBE, true, "paa", "0", "ooo", false,
	  "451 4.4.5 The API asked for a pause" },
	{ "probe, failed", SCENE_PROBE, true, "oaa", "0", "ooo", true,
	  "451 4.4.1 The API does not answer" },
	{ "probe, no answer", SCENE_PROBE, true, "naa", "0", "ooo", true,
	  "451 4.4.1 The API does not answer" },
	/* It was not made: the next one is it. */
	{ "probe, full", SCENE_PROBE, true, "faa", "", "ooo", true,
	  "451 4.3.2 " },
	{ "probe, stopped", SCENE_PROBE, true, "saa", "012", "oaa", false,
	  "" },
	{ "probe, all stopped", SCENE_PROBE, true, "sss", "012", "ooo", true,
	  "451 4.3.2 " },
	{ "no probe for clients", SCENE_PROBE, false, "aaa", "", "ooo", true,
	  "451 4.4.1 The API does not answer" },
	{ "lonely probe", SCENE_LONELY, false, "aaa", "012", "aaa", false, "" },
	{ "lonely probe, failed", SCENE_LONELY, false, "oaa", "0", "ooo", true,
	  "451 4.4." },
};

static void
check_health(struct scene *s, size_t i, bool first_alone)
{
	struct run r;

	scene_script(healths[i].script);
	scene_health(s, healths[i].health);
	prepare(&r, s, 3);
	r.settings.may_wait = healths[i].may_wait;
	r.settings.first_alone = first_alone;
	run_by_hand(&r, SCENE_FIRST);
	/* Who stands for all is another matter. */
	if (!first_alone || strchr("ar", healths[i].script[0]) != NULL) {
		scene_assert_called(healths[i].name, healths[i].called);
		assert_states(&r, healths[i].name, healths[i].states);
		assert_reply(&r, healths[i].name, 2, healths[i].rest);
		if (scene_is_open(s) != healths[i].open)
			fail_msg("%s: circuit", healths[i].name);
	}
	end(&r);
}

static void
test_health(void **state)
{
	for (size_t i = 0; i < sizeof(healths) / sizeof(healths[0]); i++) {
		check_health(*state, i, false);
		check_health(*state, i, true);
	}
}

/* What fails for one message may be the message: it counts once, and all of it
 * is tried. Failures of several in a row open the circuit. */
static void
test_circuit_opens(void **state)
{
	struct scene *s = *state;

	for (unsigned i = 1; i <= HEALTH_FAILURES; i++) {
		struct run r;

		scene_script("o");
		prepare(&r, s, 100);
		run_by_hand(&r, SCENE_ANY);
		assert_int_equal(failures(s), i);
		if (i < HEALTH_FAILURES) {
			assert_int_equal(scene_calls(), 100);
			assert_false(scene_is_open(s));
		} else {
			/* Who is under way ends, nobody else begins. */
			assert_int_equal(scene_calls(), API_BATCH_PARALLEL);
			assert_true(scene_is_open(s));
			assert_reply(&r, "open", 99,
				     "451 4.4.1 The API does not answer");
		}
		end(&r);
	}
}

/* An answer in between is an answer. */
static void
test_circuit_stays_closed(void **state)
{
	struct scene *s = *state;

	for (unsigned i = 0; i < 2 * HEALTH_FAILURES; i++) {
		struct run r;

		scene_script(i % 3 == 2 ? "r" : "oa");
		prepare(&r, s, 3);
		run_by_hand(&r, SCENE_LAST);
		assert_int_equal(scene_calls(), 3);
		assert_false(scene_is_open(s));
		end(&r);
	}
}

/* Two of one key are told to pause; the next batch of that key waits, that of
 * another does not. */
static void
test_pause(void **state)
{
	struct scene *s = *state;
	struct run r;

	scene_script("p");
	prepare(&r, s, 2);
	run_by_hand(&r, SCENE_FIRST);
	assert_states(&r, "told", "oo");
	end(&r);
	scene_script("a");
	prepare(&r, s, 1);
	run_by_hand(&r, SCENE_FIRST);
	assert_states(&r, "pauses", "o");
	end(&r);
	prepare(&r, s, 1);
	r.settings.key_id = "k2";
	run_by_hand(&r, SCENE_FIRST);
	assert_states(&r, "another", "a");
	end(&r);
}

/* --- what cannot be written ----------------------------------------------- */

static void
test_too_large(void **state)
{
	struct scene *s = *state;
	struct api_batch_counts c;
	struct run r;

	scene_health(s, SCENE_PROBE);
	prepare(&r, s, 4);
	scene_make_too_large(r.outgoing);
	r.settings.first_alone = true;
	r.settings.may_wait = true;
	make(&r);
	remember(&r, 1);
	api_batch_skip(r.batch, 2);
	run_by_hand(&r, SCENE_FIRST);
	scene_assert_called("too large", "");
	assert_states(&r, "too large", "ra-r");
	assert_reply(&r, "too large", 3, "552 5.3.4 ");
	api_batch_counts(r.batch, &c);
	assert_true(c.too_large);
	assert_int_equal(c.why, 0);
	end(&r);
}

/* --- in a thread ---------------------------------------------------------- */

static void
test_thousand(void **state)
{
	static const char letters[] = "aaaaaaaarro";
	static const enum scene_order orders[] = { SCENE_FIRST, SCENE_LAST,
						   SCENE_ANY };
	struct scene *s = *state;

	for (size_t round = 0; round < 3; round++) {
		size_t expected[128] = { 0 };
		struct api_batch_counts c;
		char script[1001];
		struct run r;

		for (size_t i = 0; i < 1000; i++) {
			script[i] = letters[(i * 7 + round) % 11];
			expected[(unsigned char)script[i]]++;
		}
		script[1000] = '\0';
		scene_script(script);
		scene_health(s, SCENE_UP);
		scene_answer_in_thread(orders[round]);
		prepare(&r, s, 1000);
		r.settings.first_alone = round == 1;
		start(&r);
		wait_done(&r);
		assert_int_equal(scene_calls(), 1000);
		assert_true(scene_most() <= API_BATCH_PARALLEL);
		api_batch_counts(r.batch, &c);
		assert_int_equal(c.accepted, expected['a']);
		assert_int_equal(c.refused, expected['r']);
		assert_int_equal(c.open, expected['o']);
		for (size_t i = 0; i < 1000; i++) {
			if (script[i] == 'a')
				assert_true(is_remembered(&r, i));
		}
		end(&r);
		scene_stop_thread();
	}
}

/* Many at the same time, with one circuit and one memory. */
static void
test_many(void **state)
{
	enum { BATCHES = 200 };
	static struct run runs[BATCHES];
	struct scene *s = *state;

	scene_script("ar");
	scene_answer_in_thread(SCENE_ANY);
	for (size_t i = 0; i < BATCHES; i++) {
		prepare(&runs[i], s, 1 + i % 5);
		runs[i].settings.first_alone = i % 2 == 0;
		start(&runs[i]);
		if (i % 3 == 0)
			wait_done(&runs[i]);
	}
	for (size_t i = 0; i < BATCHES; i++) {
		if (i % 3 != 0)
			wait_done(&runs[i]);
		assert_states(&runs[i], "many",
			      (const char *[]){ "a", "ar", "arr", "arrr",
						"arrrr" }[i % 5]);
		assert_int_equal(runs[i].done, 1);
		api_batch_free(&runs[i].batch);
		outgoing_free(&runs[i].outgoing);
	}
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
		TEST(test_outcomes),
		TEST(test_key_said_back),
		TEST(test_request),
		TEST(test_idempotency_keys),
		TEST(test_who_is_called),
		TEST(test_known_is_counted),
		TEST(test_under_way),
		TEST(test_parallel),
		TEST(test_parallel_after_the_first),
		TEST(test_key_wrong_in_between),
		TEST(test_deadline_is_over),
		TEST(test_deadline_passes),
		TEST(test_health),
		TEST(test_circuit_opens),
		TEST(test_circuit_stays_closed),
		TEST(test_pause),
		TEST(test_too_large),
		TEST(test_thousand),
		TEST(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
