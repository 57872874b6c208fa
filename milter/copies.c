/* SPDX-License-Identifier: MIT */
#include "copies.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "config.h"
#include "copy_ledger.h"
#include "copy_seal.h"
#include "copy_terms.h"
#include "log.h"
#include "metrics.h"
#include "need.h"
#include "policy/body.h"
#include "policy/compose.h"
#include "policy/dynbuf.h"
#include "policy/edits.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/plan.h"
#include "policy/requeue.h"
#include "policy/smtp_reply.h"
#include "resubmit.h"
#include "sent_memory.h"
#include "services.h"
#include "submission.h"

/* For one copy; Postfix takes its time when its disk is busy. */
#define COPY_MS 60000
/* A message's headers and what is put in them: that may be as long again. */
#define COPY_HEAD_MAX (4 * MESSAGE_HEADERS_KEPT_MAX)

struct copies {
	struct resubmit_job job; /* first */
	struct copies_settings settings;
	bool *wanted;
	struct smtp_reply *replies;
	char *cc; /* of all of them, or NULL */
};

struct copies *
copies_new(const struct copies_settings *settings)
{
	size_t n = settings->plan->outgoing->n_recipients;
	struct copies *c = need(calloc(1, sizeof(*c)));

	c->settings = *settings;
	c->wanted = need(calloc(n + 1, sizeof(*c->wanted)));
	c->replies = need(calloc(n + 1, sizeof(*c->replies)));
	return c;
}

void
copies_free(struct copies **cp)
{
	struct copies *c = *cp;

	if (c == NULL)
		return;
	*cp = NULL;
	free(c->wanted);
	free(c->replies);
	free(c->cc);
	free(c);
}

void
copies_want(struct copies *c, size_t place)
{
	c->wanted[place] = true;
}

const struct smtp_reply *
copies_reply(const struct copies *c, size_t place)
{
	return &c->replies[place];
}

/* One on its way. */
struct copy {
	const struct outgoing_recipient *to;
	const struct copy_terms *terms;
	struct edits *edits;
	char *sender;
	struct copy_attempt attempt;
};

static void
seal(const struct copies *c, const struct copy *one)
{
	struct copy_ticket t = {
		.transport = one->edits->route,
		.sender = one->sender,
		.recipient = one->to->email,
		.made = (int64_t)time(NULL),
	};
	char *value;

	memcpy(t.key, one->terms->key, sizeof(t.key));
	memcpy(t.id, one->attempt.id, sizeof(t.id));
	value = copy_seal(c->settings.services->seal, &t);
	edits_add(one->edits, REQUEUE_COPY_HEADER, value);
	free(value);
}

static int64_t
deadline(const struct copies *c)
{
	int64_t soon = clock_ms() + COPY_MS;

	return soon < c->settings.deadline_ms ? soon : c->settings.deadline_ms;
}

/* The body is sent from where it is: it may be large, and there are many.
 * False: it cannot be sent, and the reply says why. */
static bool
post(const struct copies *c, struct copy *one, struct resubmit_line *line,
     struct smtp_reply *reply)
{
	struct edits *e = one->edits;
	struct body *b = message_body_state(c->settings.message);
	struct resubmit_mail mail = {
		.sender = one->sender,
		.recipient = one->to->email,
		.eight_bit = c->settings.eight_bit,
		.utf8 = c->settings.utf8,
		.deadline_ms = deadline(c),
	};
	DYNBUF_AUTO head;

	mail.body = body_raw(b, &mail.body_len);
	if (e->new_body) {
		mail.body = e->body;
		mail.body_len = e->body_len;
		e->new_body = false;
	}
	dynbuf_init(&head, COPY_HEAD_MAX);
	if (mail.body == NULL ||
	    !compose_message(&head, c->settings.message, e, "", 0)) {
		smtp_reply_set(reply, 552, "5.3.4", "The copy is too large");
		return false;
	}
	mail.head = dynbuf_str(&head);
	mail.head_len = head.len;
	resubmit_send(line, &mail, reply);
	return true;
}

/* What Postfix said is its word when the copy went through our milter. */
static void
take_word(const struct copies *c, const struct copy *one,
	  struct smtp_reply *reply)
{
	const char *queue_id = c->settings.plan->queue_id;
	const char *where = c->settings.config->resubmit;
	char said[LOG_QUOTE_SIZE];

	if (one->attempt.arrived && reply->code == 250) {
		smtp_reply_set(reply, 250, "2.0.0", "The copy is queued as %s",
			       one->attempt.queue_id);
	} else if (one->attempt.arrived || reply->code / 100 == 4) {
		return;
	} else if (reply->code == 250) {
		copy_ledger_lose(c->settings.services->copy_ledger);
		log_error(queue_id,
			  "a copy was taken at resubmit = %s and never came "
			  "back: that is not the service txresubmit, and no "
			  "more copies are sent until txmilter is restarted",
			  where);
		smtp_reply_set(reply, 250, "2.0.0",
			       "The copy was taken by another service");
	} else {
		log_error(queue_id,
			  "a copy was refused at resubmit = %s and never came "
			  "back: is that the service txresubmit? reply=%s",
			  where, log_quote(said, reply->text));
		smtp_reply_set(reply, 451, "4.3.5",
			       "The relay's service for copies does not take "
			       "them");
	}
}

static void
make(const struct copies *c, struct copy *one, struct resubmit_line *line,
     struct smtp_reply *reply)
{
	const struct copies_settings *s = &c->settings;
	const struct outgoing *o = s->plan->outgoing;
	struct copy_ledger *ledger = s->services->copy_ledger;
	bool sent;

	one->edits = edits_new();
	if (requeue_to_transport(s->message, s->dialect, o, &one->terms->as,
				 one->edits, reply)) {
		one->sender = one->edits->sender != NULL ? one->edits->sender
							 : o->return_path;
		copy_ledger_open(ledger, &one->attempt);
		seal(c, one);
		sent = post(c, one, line, reply);
		copy_ledger_close(ledger, &one->attempt);
		if (sent)
			take_word(c, one, reply);
	}
	edits_free(&one->edits);
}

/* Postfix has it on disk, and so must we: a second of copies is many that a
 * crash would have sent twice. Who writes writes for all. */
static void
note_taken(const struct copies *c)
{
	if (c->settings.config->remember_sent > 0)
		(void)sent_memory_flush(c->settings.services->sent,
					(int64_t)time(NULL));
}

/* What is told of one; with the reply when it is not sent. */
static void
log_copy(const struct copies *c, size_t place, const char *word,
	 const char *copy_id)
{
	const struct smtp_reply *r = &c->replies[place];
	char to[LOG_QUOTE_SIZE];
	char said[LOG_QUOTE_SIZE];

	(void)log_quote(to,
			c->settings.plan->outgoing->recipients[place].email);
	if (r->code == 250)
		log_info(c->settings.plan->queue_id, "copy to=%s result=%s%s%s",
			 to, word, copy_id != NULL ? " id=" : "",
			 copy_id != NULL ? copy_id : "");
	else
		log_warning(c->settings.plan->queue_id,
			    "copy to=%s result=%s reply=\"%d %s\" reason=%s",
			    to, r->code < 500 ? "later" : "refused", r->code,
			    r->enhanced, log_quote(said, r->text));
}

/* Why none is sent now; NULL: one may be. */
static const char *
why_later(const struct copies *c, const struct resubmit_line *line)
{
	const struct copies_settings *s = &c->settings;

	if (resubmit_is_ending(line))
		return "txmilter is stopping";
	if (clock_ms() >= s->deadline_ms)
		return "No time for this copy";
	if (copy_ledger_has_lost(s->services->copy_ledger))
		return "The relay's service for copies is another one: see its "
		       "log";
	return NULL;
}

static void
send_claimed(struct copies *c, size_t place, struct resubmit_line *line,
	     struct sent_claim *claim)
{
	const struct copies_settings *s = &c->settings;
	struct copy one = { .to = &s->plan->outgoing->recipients[place] };
	const struct copy_message m = {
		.services = s->services,
		.config = s->config,
		.account = s->plan->account,
		.outgoing = s->plan->outgoing,
		.submission = s->plan->submission,
		.accepted = s->plan->accepted,
	};
	const char *why = why_later(c, line);
	struct copy_terms terms;
	bool taken;

	copy_terms(&terms, &m, one.to);
	terms.as.cc = c->cc;
	one.terms = &terms;
	if (why != NULL)
		smtp_reply_set(&c->replies[place], 451, "4.3.2", "%s", why);
	else
		make(c, &one, line, &c->replies[place]);
	taken = c->replies[place].code == 250;
	sent_memory_release(s->services->sent, claim, taken);
	if (taken)
		note_taken(c);
	log_copy(c, place, one.attempt.arrived ? "sent" : "lost",
		 one.attempt.arrived ? one.attempt.queue_id : NULL);
}

static void
send_one(struct copies *c, size_t place, struct resubmit_line *line)
{
	const struct copies_settings *s = &c->settings;
	struct smtp_reply *reply = &c->replies[place];
	struct sent_claim claim;

	submission_key(s->plan->submission,
		       s->plan->outgoing->recipients[place].email, claim.key);
	switch (sent_memory_claim(s->services->sent, &claim)) {
	case SENT_ALREADY:
		smtp_reply_set(reply, 250, "2.0.0", "Sent already");
		metrics_call(s->services->metrics, METRICS_CALL_KNOWN);
		log_copy(c, place, "known", NULL);
		return;
	case SENT_UNDER_WAY:
		smtp_reply_set(reply, 451, "4.4.5",
			       "The same message is being sent already");
		log_copy(c, place, NULL, NULL);
		return;
	case SENT_NOT:
	default:
		send_claimed(c, place, line, &claim);
		return;
	}
}

static void
run(struct resubmit_job *job, struct resubmit_line *line)
{
	struct copies *c = (struct copies *)(void *)job;
	size_t n = c->settings.plan->outgoing->n_recipients;

	c->cc = requeue_cc(c->settings.plan->outgoing);
	for (size_t i = 0; i < n; i++) {
		if (c->wanted[i])
			send_one(c, i, line);
	}
	c->settings.done(c->settings.arg);
}

void
copies_start(struct copies *c)
{
	c->job.run = run;
	resubmit_submit(c->settings.services->resubmit, &c->job);
}
