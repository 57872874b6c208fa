/* SPDX-License-Identifier: MIT */
#include "copies.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "config.h"
#include "copy_seal.h"
#include "copy_terms.h"
#include "log.h"
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
/* A message and what is put in it: its headers may be as long again. */
#define COPY_ROOM (4 * MESSAGE_HEADERS_KEPT_MAX)

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

static void
seal(const struct copies *c, const struct outgoing_recipient *to,
     const struct copy_terms *terms, struct edits *e)
{
	const struct outgoing *o = c->settings.plan->outgoing;
	struct copy_ticket t = {
		.transport = e->route,
		.sender = e->sender != NULL ? e->sender : o->return_path,
		.recipient = to->email,
		.made = (int64_t)time(NULL),
	};
	char *value;

	memcpy(t.key, terms->key, sizeof(t.key));
	value = copy_seal(c->settings.services->seal, &t);
	edits_add(e, REQUEUE_COPY_HEADER, value);
	free(value);
}

static void
post(const struct copies *c, const struct outgoing_recipient *to,
     const struct edits *e, struct resubmit_line *line,
     struct smtp_reply *reply)
{
	const struct outgoing *o = c->settings.plan->outgoing;
	int64_t soon = clock_ms() + COPY_MS;
	struct body *b = message_body_state(c->settings.message);
	size_t len;
	const char *raw = body_raw(b, &len);
	struct resubmit_mail mail = {
		.sender = e->sender != NULL ? e->sender : o->return_path,
		.recipient = to->email,
		.deadline_ms = soon < c->settings.deadline_ms
				   ? soon
				   : c->settings.deadline_ms,
	};
	DYNBUF_AUTO text;

	dynbuf_init(&text, len + e->body_len + COPY_ROOM);
	if ((raw == NULL && !e->new_body) ||
	    !compose_message(&text, c->settings.message, e, raw, len)) {
		smtp_reply_set(reply, 552, "5.3.4", "The copy is too large");
		return;
	}
	mail.data = dynbuf_str(&text);
	mail.len = text.len;
	resubmit_send(line, &mail, reply);
}

static void
make(const struct copies *c, const struct outgoing_recipient *to,
     struct resubmit_line *line, struct smtp_reply *reply)
{
	const struct copies_settings *s = &c->settings;
	const struct copy_message m = {
		.services = s->services,
		.config = s->config,
		.account = s->plan->account,
		.outgoing = s->plan->outgoing,
		.submission = s->plan->submission,
		.accepted = s->plan->accepted,
	};
	struct edits *e = edits_new();
	struct copy_terms terms;

	copy_terms(&terms, &m, to);
	terms.as.cc = c->cc;
	if (requeue_to_transport(s->message, s->dialect, s->plan->outgoing,
				 &terms.as, e, reply)) {
		seal(c, to, &terms, e);
		post(c, to, e, line, reply);
	}
	edits_free(&e);
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

static void
send_one(struct copies *c, size_t place, struct resubmit_line *line)
{
	const struct copies_settings *s = &c->settings;
	const struct outgoing_recipient *to =
	    &s->plan->outgoing->recipients[place];
	struct smtp_reply *reply = &c->replies[place];
	struct sent_claim claim;

	if (clock_ms() >= s->deadline_ms) {
		smtp_reply_set(reply, 451, "4.4.2", "No time for this copy");
		return;
	}
	submission_key(s->plan->submission, to->email, claim.key);
	switch (sent_memory_claim(s->services->sent, &claim)) {
	case SENT_ALREADY:
		smtp_reply_set(reply, 250, "2.0.0", "Sent already");
		return;
	case SENT_UNDER_WAY:
		smtp_reply_set(reply, 451, "4.4.5",
			       "The same message is being sent already");
		return;
	case SENT_NOT:
	default:
		break;
	}
	make(c, to, line, reply);
	sent_memory_release(s->services->sent, &claim, reply->code == 250);
	if (reply->code == 250)
		note_taken(c);
}

/* Why not, once for all that hear the same. */
static void
log_problem(const struct copies *c, size_t place, const char *last)
{
	const struct smtp_reply *r = &c->replies[place];
	char why[LOG_QUOTE_SIZE];

	if (r->code != 250 && (last == NULL || strcmp(last, r->text) != 0))
		log_warning(c->settings.plan->queue_id,
			    "copy result=%s reason=%s",
			    r->code < 500 ? "later" : "refused",
			    log_quote(why, r->text));
}

static void
run(struct resubmit_job *job, struct resubmit_line *line)
{
	struct copies *c = (struct copies *)(void *)job;
	size_t n = c->settings.plan->outgoing->n_recipients;
	const char *last = NULL;

	c->cc = requeue_cc(c->settings.plan->outgoing);
	for (size_t i = 0; i < n; i++) {
		if (!c->wanted[i])
			continue;
		send_one(c, i, line);
		log_problem(c, i, last);
		last = c->replies[i].text;
	}
	c->settings.done(c->settings.arg);
}

void
copies_start(struct copies *c)
{
	c->job.run = run;
	resubmit_submit(c->settings.services->resubmit, &c->job);
}
