/* SPDX-License-Identifier: MIT */
#include "api_batch.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_health.h"
#include "api_service.h"
#include "clock.h"
#include "config.h"
#include "crypto.h"
#include "http_pool.h"
#include "key_hide.h"
#include "log.h"
#include "metrics.h"
#include "need.h"
#include "policy/api.h"
#include "policy/outgoing.h"
#include "sent_memory.h"
#include "services.h"
#include "submission.h"

/* "Idempotency-Key: " and 32 digits. */
#define HEADER_MAX 64
/* Content-Type, Accept, Idempotency-Key, and NULL. */
#define OWN_HEADERS 4

/* One call: a recipient of the batch. */
struct slot {
	struct api_batch *batch;
	struct slot *next_free;
	size_t recipient;
	enum health_advice advice;
	struct sent_claim claim;
	struct http_call call;
	struct dynbuf piece;
	char idempotency[HEADER_MAX];
	const char *headers[OWN_HEADERS + API_HEADERS_MAX];
};

struct recipient {
	enum batch_state state;
	struct smtp_reply *reply; /* owned; NULL while there is none */
};

struct api_batch {
	struct api_batch_settings settings;
	const struct api_service *service;
	struct dynbuf shared; /* the piece all requests share */
	char url[2048];
	struct api_head head;
	struct smtp_reply later; /* of recipients that were not tried */

	/* Guards what follows: a batch begins in one thread and goes on in
	 * another. */
	pthread_mutex_t lock;
	struct slot *slots, *free;
	size_t n_slots;
	struct recipient *recipients;
	size_t next;	 /* the first that was not looked at */
	unsigned window; /* calls at once, for now */
	unsigned under_way;
	bool stopped;	 /* no further call begins */
	bool failed;	 /* a call was, and was told to health */
	size_t wrong_at; /* whose call said so, when key_wrong */
	bool key_wrong, misfit, too_large;
};

static void
lock(struct api_batch *b)
{
	if (pthread_mutex_lock(&b->lock) != 0)
		abort();
}

static void
unlock(struct api_batch *b)
{
	if (pthread_mutex_unlock(&b->lock) != 0)
		abort();
}

struct api_batch *
api_batch_new(const struct api_batch_settings *settings)
{
	struct api_batch *b = need(calloc(1, sizeof(*b)));
	size_t n = settings->outgoing->n_recipients;

	b->settings = *settings;
	b->service =
	    api_service_find(&settings->services->apis, settings->api->name);
	b->recipients = need(calloc(n + 1, sizeof(*b->recipients)));
	b->window = settings->first_alone ? 1 : API_BATCH_PARALLEL;
	dynbuf_init(&b->shared, API_REQUEST_MAX);
	smtp_reply_set(&b->later, 451, "4.4.1",
		       "The API did not answer in time");
	if (pthread_mutex_init(&b->lock, NULL) != 0)
		abort();
	return b;
}

void
api_batch_free(struct api_batch **bp)
{
	struct api_batch *b = *bp;

	if (b == NULL)
		return;
	for (size_t i = 0; i < b->settings.outgoing->n_recipients; i++)
		free(b->recipients[i].reply);
	free(b->recipients);
	if (b->slots != NULL)
		crypto_wipe(b->slots, b->n_slots * sizeof(*b->slots));
	free(b->slots);
	crypto_wipe(&b->head, sizeof(b->head));
	dynbuf_clear(&b->shared);
	(void)pthread_mutex_destroy(&b->lock);
	free(b);
	*bp = NULL;
}

void
api_batch_skip(struct api_batch *b, size_t recipient)
{
	b->recipients[recipient].state = BATCH_SKIPPED;
}

/* --- one call ------------------------------------------------------------- */

static const char too_many[] = "Too many calls are under way";

static const struct {
	const char *word; /* in the log */
	enum metrics_call metric;
} results[] = {
	[API_ACCEPTED] = { "accepted", METRICS_CALL_ACCEPTED },
	[API_REFUSED] = { "refused", METRICS_CALL_REFUSED },
	[API_KEY_WRONG] = { "key-wrong", METRICS_CALL_KEY_WRONG },
	[API_LATER] = { "later", METRICS_CALL_LATER },
	[API_MISFIT] = { "misfit", METRICS_CALL_MISFIT },
};

static void
set_state(struct api_batch *b, size_t i, enum batch_state state,
	  const struct smtp_reply *reply)
{
	struct recipient *r = &b->recipients[i];

	r->state = state;
	if (reply == NULL)
		return;
	if (r->reply == NULL)
		r->reply = need(malloc(sizeof(*r->reply)));
	*r->reply = *reply;
}

/* The API has it from before. */
static void
settle_known(struct api_batch *b, size_t i)
{
	char to[LOG_QUOTE_SIZE];

	set_state(b, i, BATCH_ACCEPTED, NULL);
	metrics_call(b->settings.services->metrics, METRICS_CALL_KNOWN);
	log_info(b->settings.queue_id, "call to=%s api=%s result=known",
		 log_quote(to, b->settings.outgoing->recipients[i].email),
		 b->settings.api->name);
}

static void
log_call(const struct api_batch *b, const struct slot *s, const char *word,
	 const struct api_outcome *o)
{
	const char *error = s->call.error;
	char to[LOG_QUOTE_SIZE];
	char id[LOG_QUOTE_SIZE];
	char why[LOG_QUOTE_SIZE];
	void (*log)(const char *, const char *, ...) =
	    o->kind == API_MISFIT  ? log_error
	    : o->kind == API_LATER ? log_warning
				   : log_info;

	log(b->settings.queue_id,
	    "call to=%s api=%s status=%u result=%s%s%s ms=%u%s%s",
	    log_quote(to, b->settings.outgoing->recipients[s->recipient].email),
	    b->settings.api->name, s->call.status, word, *o->id ? " id=" : "",
	    *o->id ? log_quote(id, o->id) : "", s->call.elapsed_ms,
	    *error ? " error=" : "", *error ? log_quote(why, error) : "");
}

/* A request left and nobody knows what became of it: no answer, or one that
 * says it was taken in words that are not the API's. What we cut ourselves at
 * the stop is not the API's fault. */
static bool
is_ambiguous(const struct http_call *call, enum api_outcome_kind kind)
{
	if (call->result == HTTP_ANSWERED)
		return kind == API_MISFIT && call->status / 100 == 2;
	return call->sent && call->result != HTTP_STOPPED;
}

static bool
is_failure(const struct http_call *call)
{
	return call->status == 0 || call->status >= 500;
}

static bool
was_called(const struct http_call *call)
{
	return call->result != HTTP_QUEUE_FULL &&
	       call->result != HTTP_NO_ROOM && call->result != HTTP_STOPPED;
}

/* One message that an API chokes on must not look like an API that is down: its
 * failures count once. */
static void
tell_health(struct api_batch *b, const struct slot *s)
{
	bool counts = was_called(&s->call);

	if (counts && is_failure(&s->call)) {
		counts = !b->failed || s->advice == HEALTH_PROBE;
		b->failed = true;
	}
	if (counts)
		api_health_told(b->service->health, b->settings.key_id,
				s->advice, s->call.status, s->call.retry_after,
				clock_ms());
	else
		api_health_no_news(b->service->health, s->advice);
}

/* The call that is over was made alone, to see what the API says. */
static bool
stands_for_all(const struct api_batch *b)
{
	return b->window == 1 && b->settings.first_alone;
}

static bool
is_last_under_way(const struct api_batch *b)
{
	return b->under_way == 1;
}

static void
settle(struct api_batch *b, struct slot *s, const struct api_outcome *o)
{
	sent_memory_release(b->settings.services->sent, &s->claim,
			    o->kind == API_ACCEPTED);
	switch (o->kind) {
	case API_ACCEPTED:
		set_state(b, s->recipient, BATCH_ACCEPTED, NULL);
		break;
	case API_KEY_WRONG:
		b->key_wrong = true;
		b->wrong_at = s->recipient;
		b->stopped = true;
		/* fall through */
	case API_REFUSED:
		set_state(b, s->recipient, BATCH_REFUSED, &o->reply);
		break;
	case API_MISFIT:
		b->misfit = true;
		/* fall through */
	case API_LATER:
		set_state(b, s->recipient, BATCH_OPEN, &o->reply);
		if (stands_for_all(b)) {
			b->stopped = true;
			b->later = o->reply;
		}
		break;
	}
	if (is_last_under_way(b))
		b->window = API_BATCH_PARALLEL;
}

/* An API may say the key back, in words for the client and the log: before it
 * is decoded, as words are cut then, and after, as a format may join them. */
static void
hide_key(const struct api_batch *b, char *data, size_t len)
{
	key_hide(data, len, b->settings.key, b->head.basic);
}

/* What became of a call that is over; logged and counted. Touches nothing that
 * the lock guards: a log may be slow. */
static void
read_answer(const struct api_batch *b, struct slot *s, struct api_outcome *o)
{
	bool answered = s->call.result == HTTP_ANSWERED;
	const char *word;
	enum metrics_call metric;

	hide_key(b, s->call.answer.data, s->call.answer.len);
	api_outcome(b->settings.api->format, answered ? s->call.status : 0,
		    dynbuf_str(&s->call.answer), s->call.answer.len, o);
	hide_key(b, o->reply.text, strlen(o->reply.text));
	hide_key(b, o->id, strlen(o->id));
	word = results[o->kind].word;
	metric = results[o->kind].metric;
	if (b->settings.api->accept_ambiguous &&
	    is_ambiguous(&s->call, o->kind)) {
		o->kind = API_ACCEPTED;
		word = "assumed";
		metric = METRICS_CALL_ASSUMED;
	} else if (!was_called(&s->call)) {
		smtp_reply_set(&o->reply, 451, "4.3.2", "%s",
			       s->call.result == HTTP_STOPPED
				   ? "The relay is stopping"
				   : too_many);
	}
	metrics_call(b->settings.services->metrics, metric);
	log_call(b, s, word, o);
}

static void
slot_release(struct api_batch *b, struct slot *s)
{
	dynbuf_clear(&s->piece);
	http_call_clear(&s->call);
	s->next_free = b->free;
	b->free = s;
}

static void on_call_done(struct http_call *call);

/* How long a call of the queue may wait for a connection: until it would be
 * cut by the batch's deadline. */
static unsigned
wait_ms(const struct api_batch *b, int64_t left_ms)
{
	if (!b->settings.may_wait)
		return 0;
	return left_ms > b->settings.call_ms
		   ? (unsigned)(left_ms - b->settings.call_ms)
		   : 1;
}

static void
set_headers(const struct api_batch *b, struct slot *s)
{
	size_t n = 0;

	s->headers[n++] = "Content-Type: application/json";
	s->headers[n++] = "Accept: application/json";
	s->headers[n++] = s->idempotency;
	for (size_t i = 0; i < b->head.n_headers; i++)
		s->headers[n++] = b->head.headers[i];
	s->headers[n] = NULL;
}

/* False: the request cannot be written. */
static bool
slot_prepare(struct slot *s, int64_t left_ms)
{
	struct api_batch *b = s->batch;
	const struct outgoing_recipient *r =
	    &b->settings.outgoing->recipients[s->recipient];
	unsigned most = b->settings.call_ms;
	char hex[2 * SUBMISSION_KEY_LEN + 1];

	dynbuf_init(&s->piece, API_REQUEST_MAX);
	if (!b->settings.api->format->recipient_piece(
		&b->settings.api->settings, b->settings.outgoing, r, &s->piece))
		return false;
	crypto_hex(hex, s->claim.key, sizeof(s->claim.key));
	(void)snprintf(s->idempotency, sizeof(s->idempotency),
		       "Idempotency-Key: %s", hex);
	set_headers(b, s);
	s->call = (struct http_call){
		.url = b->url,
		.post = true,
		.headers = s->headers,
		.body = { { s->piece.data, s->piece.len },
			  { b->shared.data, b->shared.len } },
		.timeout_ms = left_ms < most ? (unsigned)left_ms : most,
		.wait_ms = wait_ms(b, left_ms),
		.answer_max = API_ANSWER_MAX,
		.done = on_call_done,
		.arg = s,
	};
	return true;
}

/* --- the batch, under its lock -------------------------------------------- */

static void
stop_because(struct api_batch *b, size_t i, int code, const char *enhanced,
	     const char *text)
{
	smtp_reply_set(&b->later, code, enhanced, "%s", text);
	set_state(b, i, BATCH_OPEN, &b->later);
	b->stopped = true;
}

/* Asks whether to call at all. */
static bool
is_callable(struct api_batch *b, size_t i, enum health_advice *advice_r)
{
	*advice_r = api_health_ask(b->service->health, b->settings.key_id,
				   b->settings.may_wait, clock_ms());
	if (*advice_r == HEALTH_DOWN)
		stop_because(b, i, 451, "4.4.1",
			     "The API does not answer: it is not called for a "
			     "moment");
	else if (*advice_r == HEALTH_PAUSE)
		stop_because(b, i, 451, "4.4.5",
			     "The API asked for a pause: its limit is reached");
	else
		return true;
	return false;
}

/* Begins the call of a slot that is free. False: it is not made. */
static bool
call_one(struct api_batch *b, struct slot *s, int64_t left_ms)
{
	if (!is_callable(b, s->recipient, &s->advice))
		return false;
	if (slot_prepare(s, left_ms) &&
	    http_pool_submit(b->service->http, &s->call) == 0) {
		b->free = s->next_free;
		b->under_way++;
		/* The others would be told that it is down. */
		if (s->advice == HEALTH_PROBE)
			b->window = 1;
		return true;
	}
	api_health_no_news(b->service->health, s->advice);
	dynbuf_clear(&s->piece);
	stop_because(b, s->recipient, 451, "4.3.2", too_many);
	log_warning(b->settings.queue_id,
		    "call api=%s result=later error=\"%s\"",
		    b->settings.api->name, too_many);
	return false;
}

/* Only to find who has the message already. */
static void
look_back(struct api_batch *b, size_t i)
{
	uint8_t key[SUBMISSION_KEY_LEN];

	submission_key(b->settings.submission,
		       b->settings.outgoing->recipients[i].email, key);
	if (sent_memory_has(b->settings.services->sent, key))
		settle_known(b, i);
}

/* Another batch has it: what comes of that is known when this one is tried
 * again. */
static void
settle_under_way(struct api_batch *b, size_t i)
{
	struct smtp_reply reply;

	smtp_reply_set(&reply, 451, "4.4.5",
		       "The same message is being sent already");
	set_state(b, i, BATCH_OPEN, &reply);
}

static void
look_at(struct api_batch *b, size_t i)
{
	struct sent_memory *sent = b->settings.services->sent;
	int64_t now = clock_ms();
	struct slot *s = b->free;

	b->stopped = b->stopped || now >= b->settings.begin_by_ms;
	if (b->stopped) {
		look_back(b, i);
		return;
	}
	s->recipient = i;
	submission_key(b->settings.submission,
		       b->settings.outgoing->recipients[i].email, s->claim.key);
	switch (sent_memory_claim(sent, &s->claim)) {
	case SENT_ALREADY:
		settle_known(b, i);
		break;
	case SENT_UNDER_WAY:
		settle_under_way(b, i);
		break;
	case SENT_NOT:
		if (!call_one(b, s, b->settings.deadline_ms - now))
			sent_memory_release(sent, &s->claim, false);
		break;
	}
}

/* When it is stopped: to find who has the message already. */
static bool
may_go_on(const struct api_batch *b)
{
	return b->stopped || (b->free != NULL && b->under_way < b->window);
}

/* Begins the calls there is room for. True: the batch is over. */
static bool
pump(struct api_batch *b)
{
	while (b->next < b->settings.outgoing->n_recipients && may_go_on(b)) {
		size_t i = b->next++;

		if (b->recipients[i].state == BATCH_OPEN)
			look_at(b, i);
	}
	return b->under_way == 0;
}

static void
on_call_done(struct http_call *call)
{
	struct slot *s = call->arg;
	struct api_batch *b = s->batch;
	struct api_outcome o;
	bool over;

	read_answer(b, s, &o);
	lock(b);
	tell_health(b, s);
	settle(b, s, &o);
	slot_release(b, s);
	b->under_way--;
	over = pump(b);
	unlock(b);
	/* From here on it is the owner's. */
	if (over)
		b->settings.done(b->settings.arg);
}

/* The account's, which an operator gave: he is to hear of it, and nothing is
 * lost meanwhile. */
static void
bad_key(struct api_batch *b)
{
	log_error(b->settings.queue_id,
		  "the key of %s is not of the form that api %s takes",
		  b->settings.key_id, b->settings.api->name);
	smtp_reply_set(&b->later, 451, "4.3.5",
		       "The relay's key for the API cannot be used");
}

static bool
batch_open(struct api_batch *b)
{
	const struct config_api *api = b->settings.api;
	int n;

	if (!api->format->head(&api->settings, b->settings.outgoing,
			       b->settings.key, &b->head)) {
		bad_key(b);
		return false;
	}
	n = snprintf(b->url, sizeof(b->url), "%s%s", api->url, b->head.path);
	if (n >= 0 && (size_t)n < sizeof(b->url) &&
	    api->format->shared_piece(&api->settings, b->settings.outgoing,
				      &b->shared))
		return true;
	b->too_large = true;
	smtp_reply_set(&b->later, 552, "5.3.4",
		       "The message is too large for the API");
	return false;
}

static void
make_slots(struct api_batch *b)
{
	size_t n = b->settings.outgoing->n_recipients;

	b->n_slots = n < API_BATCH_PARALLEL ? n : API_BATCH_PARALLEL;
	b->slots = need(calloc(b->n_slots + 1, sizeof(*b->slots)));
	for (size_t i = 0; i < b->n_slots; i++) {
		b->slots[i].batch = b;
		b->slots[i].next_free = b->free;
		b->free = &b->slots[i];
	}
}

void
api_batch_start(struct api_batch *b)
{
	bool over;

	lock(b);
	if (batch_open(b)) {
		make_slots(b);
	} else {
		b->stopped = true;
	}
	over = pump(b);
	unlock(b);
	if (over)
		b->settings.done(b->settings.arg);
}

/* --- what came of it ------------------------------------------------------ */

bool
api_batch_is_untried(const struct api_batch *b, size_t i)
{
	return b->recipients[i].state == BATCH_OPEN &&
	       b->recipients[i].reply == NULL;
}

enum batch_state
api_batch_state(const struct api_batch *b, size_t i)
{
	enum batch_state state = b->recipients[i].state;

	return b->too_large && state == BATCH_OPEN ? BATCH_REFUSED : state;
}

const struct smtp_reply *
api_batch_reply(const struct api_batch *b, size_t i)
{
	return b->recipients[i].reply ? b->recipients[i].reply : &b->later;
}

void
api_batch_counts(const struct api_batch *b, struct api_batch_counts *c)
{
	*c = (struct api_batch_counts){
		.key_wrong = b->key_wrong,
		.misfit = b->misfit,
		.too_large = b->too_large,
	};
	for (size_t i = 0; i < b->settings.outgoing->n_recipients; i++) {
		enum batch_state state = api_batch_state(b, i);

		if (state == BATCH_REFUSED && c->refused++ == 0)
			c->why = i;
		c->accepted += state == BATCH_ACCEPTED;
		c->open += state == BATCH_OPEN;
	}
	if (b->key_wrong)
		c->why = b->wrong_at;
}
