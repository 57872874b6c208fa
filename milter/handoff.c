/* SPDX-License-Identifier: MIT */
#include "handoff.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "config.h"
#include "crypto.h"
#include "http_pool.h"
#include "key_check.h"
#include "limits.h"
#include "log.h"
#include "policy/account.h"
#include "policy/api.h"
#include "policy/outgoing.h"
#include "pool_wake.h"
#include "retry_memory.h"
#include "services.h"

/* "Idempotency-Key: " and 32 digits; "X-Auth-APIKey: " and a key. */
#define HEADER_MAX 320
#define IDEMPOTENCY_KEY_LEN 16

/* One message on its way. */
struct batch {
	struct services *services;
	const struct config *config;
	const char *queue_id;
	const struct identity *identity;
	const struct outgoing *outgoing;
	struct retry_entry entry;
	struct dynbuf shared; /* the piece all requests share */
	char url[2048];
	char key_header[HEADER_MAX];
	int64_t deadline_ms;

	atomic_uint pending; /* calls under way, and one for the caller */
	sem_t idle;	     /* posted by whoever ends the last of them */

	struct api_outcome first_refusal;
	struct api_outcome first_delay;
	size_t first_refused; /* the recipient it is about */
	size_t accepted, refused, delayed;
	bool may_have_arrived; /* a delayed call's request left */
};

/* One call: a recipient of the batch. */
struct slot {
	struct batch *batch;
	size_t recipient;
	struct http_call call;
	struct dynbuf piece;
	char idempotency[HEADER_MAX];
	const char *headers[5];
};

/* The same message to the same recipient has the same key on every attempt. */
static void
idempotency_header(const struct batch *b, const char *email, char *dst,
		   size_t size)
{
	const struct crypto_piece pieces[] = {
		{ b->entry.submission, sizeof(b->entry.submission) },
		{ email, strlen(email) },
	};
	uint8_t hash[CRYPTO_HASH_LEN];
	char hex[2 * IDEMPOTENCY_KEY_LEN + 1];

	crypto_hash_pieces(pieces, 2, hash);
	crypto_hex(hex, hash, IDEMPOTENCY_KEY_LEN);
	(void)snprintf(dst, size, "Idempotency-Key: %s", hex);
}

/* True for the last one. Then the batch is the waiting thread's alone; a
 * semaphore may go as soon as the wait for it is over. */
static bool
one_less(struct batch *b)
{
	return atomic_fetch_sub(&b->pending, 1) == 1;
}

static void
slot_done(struct http_call *call)
{
	struct slot *s = call->arg;
	struct batch *b = s->batch;

	if (one_less(b) && sem_post(&b->idle) == -1)
		abort();
}

/* False: the request cannot be written. */
static bool
slot_prepare(struct slot *s, struct batch *b, size_t recipient)
{
	const struct api_format *f = b->config->api.format;
	const struct outgoing_recipient *r =
	    &b->outgoing->recipients[recipient];
	int64_t left = b->deadline_ms - clock_ms();

	s->batch = b;
	s->recipient = recipient;
	dynbuf_init(&s->piece, API_REQUEST_MAX);
	if (!f->recipient_piece(r, &s->piece))
		return false;
	idempotency_header(b, r->email, s->idempotency, sizeof(s->idempotency));
	s->headers[0] = "Content-Type: application/json";
	s->headers[1] = "Accept: application/json";
	s->headers[2] = b->key_header;
	s->headers[3] = s->idempotency;
	s->headers[4] = NULL;
	s->call = (struct http_call){
		.url = b->url,
		.post = true,
		.headers = s->headers,
		.body = { { s->piece.data, s->piece.len },
			  { b->shared.data, b->shared.len } },
		.timeout_ms = left > 1 ? (unsigned)left : 1,
		.answer_max = API_ANSWER_MAX,
		.done = slot_done,
		.arg = s,
	};
	return true;
}

static const char *const outcome_words[] = {
	[API_ACCEPTED] = "accepted",   [API_REFUSED] = "refused",
	[API_KEY_WRONG] = "key-wrong", [API_LATER] = "later",
	[API_MISFIT] = "misfit",
};

static void
log_call(const struct batch *b, const struct slot *s,
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

	log(b->queue_id, "call to=%s api=%s status=%u result=%s%s%s ms=%u%s%s",
	    log_quote(to, b->outgoing->recipients[s->recipient].email),
	    b->config->api.name, s->call.status, outcome_words[o->kind],
	    *o->id ? " id=" : "", *o->id ? log_quote(id, o->id) : "",
	    s->call.elapsed_ms, *error ? " error=" : "",
	    *error ? log_quote(why, error) : "");
}

/* Reads the answer of a call that is over. */
static void
slot_settle(struct slot *s)
{
	struct batch *b = s->batch;
	bool answered = s->call.result == HTTP_ANSWERED;
	struct api_outcome o;

	/* An API may say the key back, in words for the client and the log. */
	identity_hide_key(s->call.answer.data, s->call.answer.len,
			  b->identity->key);
	api_outcome(b->config->api.format, answered ? s->call.status : 0,
		    dynbuf_str(&s->call.answer), s->call.answer.len, &o);
	log_call(b, s, &o);
	switch (o.kind) {
	case API_ACCEPTED:
		b->entry.done[s->recipient] = true;
		b->accepted++;
		break;
	case API_KEY_WRONG:
		key_check_refused(b->services->keys, b->identity);
		/* fall through */
	case API_REFUSED:
		if (b->refused++ == 0) {
			b->first_refusal = o;
			b->first_refused = s->recipient;
		}
		break;
	case API_LATER:
	case API_MISFIT:
		if (b->delayed++ == 0)
			b->first_delay = o;
		/* An answer of 500 or 504 does not say that nothing was done.
		 */
		b->may_have_arrived |= s->call.sent;
		break;
	}
	dynbuf_clear(&s->piece);
	http_call_clear(&s->call);
}

/* A call that could not even begin. */
static void
slot_fail(struct slot *s)
{
	s->call.result = HTTP_QUEUE_FULL;
	(void)snprintf(s->call.error, sizeof(s->call.error),
		       "too many calls are under way");
}

/* Until a time of the monotonic clock at most, or with NULL for ever. */
static bool
wait_until(struct batch *b, const struct timespec *until)
{
	int r;

	do {
		r = until == NULL
			? sem_wait(&b->idle)
			: sem_clockwait(&b->idle, CLOCK_MONOTONIC, until);
	} while (r == -1 && errno == EINTR);
	if (r == -1 && errno != ETIMEDOUT)
		abort();
	return r == 0;
}

static struct timespec
from_now(unsigned ms)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += (long)ms * 1000000L;
	if (t.tv_nsec >= 1000000000L) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000L;
	}
	return t;
}

/* The HTTP pool ends every call by its deadline. */
static void
wait_for_all(struct batch *b)
{
	struct pool_wake *pool = b->services->pool;
	struct timespec soon = from_now(pool_wake_patience(pool));
	int64_t start = clock_ms();

	if (!one_less(b) && !wait_until(b, &soon)) {
		pool_wake_send(pool);
		(void)wait_until(b, NULL);
	}
	pool_wake_waited(pool, (unsigned)(clock_ms() - start));
}

/* Calls the API for n recipients at once and waits for all. */
static void
run(struct batch *b, struct slot *slots, const size_t *recipients, size_t n)
{
	atomic_store(&b->pending, 1); /* so that nobody posts too early */
	for (size_t i = 0; i < n; i++) {
		if (!slot_prepare(&slots[i], b, recipients[i])) {
			slot_fail(&slots[i]);
			continue;
		}
		atomic_fetch_add(&b->pending, 1);
		if (http_pool_submit(b->services->http, &slots[i].call) == 0)
			continue;
		slot_fail(&slots[i]);
		(void)one_less(b);
	}
	wait_for_all(b);
	for (size_t i = 0; i < n; i++)
		slot_settle(&slots[i]);
}

static bool
out_of_time(const struct batch *b)
{
	return clock_ms() >= b->deadline_ms;
}

/* Recipients that are not done yet, from *next on, at most `most`. */
static size_t
take_open(const struct batch *b, size_t *next, size_t *v, size_t most)
{
	size_t n = 0;

	while (n < most && *next < b->outgoing->n_recipients) {
		if (!b->entry.done[*next])
			v[n++] = *next;
		(*next)++;
	}
	return n;
}

static void
call_all(struct batch *b)
{
	size_t all = b->outgoing->n_recipients;
	size_t most = all < HANDOFF_PARALLEL ? all : HANDOFF_PARALLEL;
	struct slot *slots = calloc(most, sizeof(*slots));
	size_t recipients[HANDOFF_PARALLEL];
	size_t next = 0;
	size_t n;

	if (slots == NULL)
		abort();
	/* On a retry some have it already: then everybody's answer counts. */
	n = take_open(b, &next, recipients, b->accepted ? most : 1);
	while (n > 0) {
		run(b, slots, recipients, n);
		if (b->accepted == 0 && b->refused + b->delayed > 0)
			break;
		if (out_of_time(b))
			break;
		n = take_open(b, &next, recipients, most);
	}
	crypto_wipe(slots, most * sizeof(*slots));
	free(slots);
}

static void
reply_refused(const struct batch *b, struct smtp_reply *reply)
{
	const struct smtp_reply *why = &b->first_refusal.reply;
	const char *who = b->outgoing->recipients[b->first_refused].email;

	if (b->outgoing->n_recipients == 1)
		*reply = *why;
	else if (b->accepted == 0)
		smtp_reply_set(reply, why->code, why->enhanced, "%s: %s", who,
			       why->text);
	else
		smtp_reply_set(reply, why->code, why->enhanced,
			       "Sent to %zu of %zu recipients, refused for the "
			       "others; %s: %s",
			       b->accepted, b->outgoing->n_recipients, who,
			       why->text);
}

/* What the client hears, and what must be remembered for its retry. */
static void
conclude(struct batch *b, int64_t now, struct smtp_reply *reply)
{
	size_t n = b->outgoing->n_recipients;

	if (b->accepted == n) {
		smtp_reply_set(reply, 250, "2.0.0", "Accepted");
		if (b->entry.known)
			(void)retry_memory_forget(b->services->retries,
						  b->outgoing, &b->entry);
		return;
	}
	/* When some have it, only a retry hears about those who never will:
	 * the first time the client is told to send again. */
	if (b->delayed == 0 && b->refused > 0 &&
	    (b->accepted == 0 ||
	     (b->entry.known && b->accepted + b->refused == n))) {
		reply_refused(b, reply);
		/* Without a Message-ID the next message that looks the same
		 * may be a new one. */
		if (b->entry.known && b->outgoing->message_id == NULL)
			(void)retry_memory_forget(b->services->retries,
						  b->outgoing, &b->entry);
		return;
	}
	if (b->accepted > 0)
		smtp_reply_set(reply, 451, "4.4.2",
			       "Sent to %zu of %zu recipients; send again for "
			       "the others",
			       b->accepted, n);
	else
		*reply = b->first_delay.reply;
	if ((b->accepted > 0 || b->may_have_arrived) &&
	    retry_memory_keep(b->services->retries, b->outgoing, &b->entry,
			      now) != 0)
		log_error(b->queue_id, "retry memory not written: a retry may "
				       "send twice");
}

static bool
batch_open(struct batch *b)
{
	const struct config_api *api = &b->config->api;
	int n;

	dynbuf_init(&b->shared, API_REQUEST_MAX);
	n = snprintf(b->url, sizeof(b->url), "%s%s", api->url,
		     api->format->send_path);
	if (n < 0 || (size_t)n >= sizeof(b->url))
		return false;
	n = snprintf(b->key_header, sizeof(b->key_header), "%s: %s",
		     api->format->key_header, b->identity->key);
	if (n < 0 || (size_t)n >= sizeof(b->key_header))
		return false;
	return api->format->shared_piece(b->outgoing, &b->shared);
}

static void
hand_over(struct batch *b, struct smtp_reply *reply)
{
	struct rate_limit *limits = b->services->limits;
	int64_t now = (int64_t)time(NULL);
	struct limits_taken taken;

	retry_memory_recall(b->services->retries, b->identity->account->id,
			    b->outgoing, now, &b->entry);
	for (size_t i = 0; i < b->entry.n; i++)
		b->accepted += b->entry.done[i];
	if (!limits_take(limits, b->identity, b->outgoing, b->entry.done,
			 b->accepted > 0, &taken, reply)) {
		retry_entry_clear(&b->entry);
		return;
	}
	if (batch_open(b)) {
		call_all(b);
		limits_settle(limits, b->identity, b->outgoing, b->entry.done,
			      &taken);
		conclude(b, now, reply);
	} else {
		limits_settle(limits, b->identity, b->outgoing, b->entry.done,
			      &taken);
		smtp_reply_set(reply, 552, "5.3.4",
			       "The message is too large for the API");
	}
	crypto_wipe(b->key_header, sizeof(b->key_header));
	dynbuf_clear(&b->shared);
	retry_entry_clear(&b->entry);
}

void
handoff_direct(struct services *s, const struct config *config,
	       const char *queue_id, const struct identity *id,
	       const struct outgoing *o, struct handoff_result *result_r)
{
	int64_t start = clock_ms();
	struct batch b = {
		.services = s,
		.config = config,
		.queue_id = queue_id,
		.identity = id,
		.outgoing = o,
		.deadline_ms = start + config->direct_timeout_ms,
	};

	*result_r = (struct handoff_result){ 0 };
	if (sem_init(&b.idle, 0, 0) == -1)
		abort();
	if (atomic_fetch_add(&s->handoffs, 1) >= config->direct_limit)
		smtp_reply_set(&result_r->reply, 451, "4.3.2",
			       "Too many messages wait for the API");
	else
		hand_over(&b, &result_r->reply);
	atomic_fetch_sub(&s->handoffs, 1);
	result_r->accepted = b.accepted;
	result_r->waited_ms = (unsigned)(clock_ms() - start);
	(void)sem_destroy(&b.idle);
}
