/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth_throttle.h"
#include "config.h"
#include "copy_arrival.h"
#include "crypto.h"
#include "handoff.h"
#include "key_wait.h"
#include "log.h"
#include "login.h"
#include "metrics.h"
#include "need.h"
#include "policy/account.h"
#include "policy/body.h"
#include "policy/dialect.h"
#include "policy/edits.h"
#include "policy/header_text.h"
#include "policy/judge.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/requeue.h"
#include "policy/route.h"
#include "services.h"
#include "trial.h"

struct session {
	struct services *services;
	const struct config *config; /* the snapshot for this message */
	struct message *message;     /* NULL between messages */
	char *user;		     /* who logged in, for this message */
	char *client;		     /* where from; NULL: not known */
	struct key_wait *key;	     /* the question whose message it is */
	bool key_in_header;	     /* it is about a key in the header */
	bool headers_done;
	unsigned throttled;	   /* seconds: too many wrong keys from there */
	struct trial *trial;	   /* the message is only tried */
	struct copy_arrival *copy; /* it is to be a copy of our own */
};

/* What is told of one message when it is over. */
struct story {
	const char *queue_id;
	const struct identity *identity; /* NULL: nobody */
	const struct dialect *dialect;
	const struct verdict *verdict;
	struct handoff handoff;
	struct smtp_reply reply;
};

struct session *
session_new(struct services *services)
{
	struct session *s = need(calloc(1, sizeof(*s)));

	s->services = services;
	return s;
}

void
session_reset(struct session *s)
{
	message_free(&s->message);
	key_wait_free(&s->key);
	free(s->user);
	free(s->client);
	s->user = NULL;
	s->client = NULL;
	s->key_in_header = false;
	s->headers_done = false;
	s->throttled = 0;
	trial_free(&s->trial);
	copy_arrival_free(&s->copy);
}

void
session_free(struct session **sp)
{
	if (*sp == NULL)
		return;
	session_reset(*sp);
	free(*sp);
	*sp = NULL;
}

/* The address without its angle brackets, free(). */
static char *
bare_address(const char *arg)
{
	size_t n = strlen(arg);

	if (n >= 2 && arg[0] == '<' && arg[n - 1] == '>')
		return need(strndup(arg + 1, n - 2));
	return need(strdup(arg));
}

/* Postfix lets an empty login name pass; it is nobody. */
static char *
copy_of_word(const char *word)
{
	return word != NULL && *word != '\0' ? need(strdup(word)) : NULL;
}

void
session_mail(struct session *s, const char *sender, const char *user,
	     const char *client)
{
	char *addr = bare_address(sender);

	session_reset(s);
	s->config = s->services->config;
	s->message = message_new(addr);
	s->user = copy_of_word(user);
	s->client = copy_of_word(client);
	free(addr);
}

void
session_try(struct session *s, struct trial *t)
{
	trial_free(&s->trial);
	s->trial = t;
	if (s->message != NULL)
		message_trace(s->message, t->trace);
}

void
session_expect_copy(struct session *s)
{
	copy_arrival_free(&s->copy);
	s->copy = copy_arrival_new();
}

void
session_ask_login(struct session *s)
{
	if (s->message != NULL && s->user != NULL && s->key == NULL &&
	    s->trial == NULL && s->copy == NULL)
		s->key = key_wait_user(s->services->keys, s->user, s->client);
}

/* Who sends it, as far as that is known; NULL: not yet, or nobody. */
static const struct account *
known_account(const struct session *s)
{
	const struct identity *id;

	if (s->trial != NULL)
		return s->trial->account;
	id = s->key != NULL ? key_wait_peek(s->key) : NULL;
	return id != NULL ? id->account : NULL;
}

/* By the login: a key in a header that is still to come counts at the end. */
static bool
is_one_too_many(const struct session *s)
{
	const struct account *a = known_account(s);
	unsigned max =
	    a != NULL ? login_dialect(s->config, a)->recipients_max : 0;

	return max > 0 && message_n_recipients(s->message) >= max;
}

bool
session_recipient(struct session *s, const char *recipient, bool answered,
		  struct smtp_reply *reply)
{
	char *addr;

	if (s->message == NULL)
		return true;
	if (answered && is_one_too_many(s)) {
		smtp_reply_set(reply, 452, "4.5.3",
			       "Too many recipients: a message can have %zu",
			       message_n_recipients(s->message));
		return false;
	}
	addr = bare_address(recipient);
	message_recipient(s->message, addr);
	free(addr);
	return true;
}

void
session_header(struct session *s, const char *name, const char *value)
{
	if (s->copy != NULL)
		copy_arrival_header(s->copy, name, value);
	else if (s->message != NULL)
		message_header(s->message, name, value, strlen(value));
}

/* Who cannot be told from others is not held up for them. */
static unsigned
throttle_wait(const struct session *s)
{
	return s->client == NULL
		   ? 0
		   : auth_throttle_wait(s->services->limits, s->client,
					s->config->auth_failures);
}

/* The key in the message itself wins over the login. */
static bool
ask_by_header(struct session *s)
{
	const struct message_header *h = NULL;
	const char *name = s->config->dialect->key_header;
	size_t len;
	char *key;

	if (name != NULL)
		h = message_find(s->message, name);
	if (h == NULL)
		return false;
	key = header_unfold(h->value, h->value_len, &len);
	s->key_in_header = len > 0;
	if (s->key_in_header)
		key_wait_free(&s->key);
	s->throttled = s->key_in_header ? throttle_wait(s) : 0;
	if (s->key_in_header && s->throttled == 0)
		s->key = key_wait_key(s->services->keys, key, len, s->client);
	crypto_wipe(key, len);
	free(key);
	return s->key_in_header;
}

/* Does a route of the account go by a transport? a NULL: any that there is. */
static bool
may_go_by_transport(const struct config *c, const struct account *a)
{
	for (size_t i = 0; a == NULL && i < c->routes.n; i++) {
		if (c->routes.v[i]->handoff == ROUTE_TRANSPORT)
			return true;
	}
	for (size_t i = 0; a != NULL && i < a->n_routes; i++) {
		const struct route *r = route_find(&c->routes, a->routes[i].id);

		if (r != NULL && r->handoff == ROUTE_TRANSPORT)
			return true;
	}
	return false;
}

/* A new HTML part is put in the place of the old one. */
static unsigned
wants_of(const struct dialect *d, bool by_transport)
{
	return d->body_wants |
	       (by_transport && !d->html_only ? BODY_WANT_RAW : 0);
}

/* The dialect is known when the account is; else it may be any. */
static unsigned
body_wants(const struct session *s)
{
	const struct account *a = known_account(s);
	bool by_transport = may_go_by_transport(s->config, a);
	const struct dialect *d;
	struct smtp_reply refusal;
	unsigned wants = 0;

	if (a != NULL) {
		d = dialect_of(login_dialect(s->config, a), s->message,
			       &refusal);
		return d != NULL ? wants_of(d, by_transport) : 0;
	}
	for (size_t i = 0; dialects[i] != NULL; i++) {
		if (dialects[i]->choose == NULL)
			wants |= wants_of(dialects[i], by_transport);
	}
	return wants;
}

/* True when somebody may be who sends it. */
static bool
has_sender(const struct session *s)
{
	return s->trial != NULL || s->key != NULL;
}

void
session_headers_done(struct session *s)
{
	if (s->message == NULL || s->headers_done || s->copy != NULL)
		return;
	s->headers_done = true;
	if (s->trial == NULL && !ask_by_header(s))
		session_ask_login(s);
	if (has_sender(s))
		message_want(s->message, body_wants(s));
}

bool
session_body(struct session *s, const char *data, size_t len)
{
	return s->message == NULL || s->copy != NULL ||
	       message_body(s->message, data, len);
}

static void
refuse_key(struct session *s, const char *where, enum key_reason reason,
	   struct smtp_reply *reply)
{
	metrics_auth_failed(s->services->metrics, metrics_auth_of(reason));
	if (s->key_in_header && s->client != NULL)
		auth_throttle_wrong(s->services->limits, s->client,
				    s->config->auth_failures, reason);
	smtp_reply_set(reply, 535, "5.7.8", "%s: %s", where,
		       key_reason_text(reason));
}

static bool
refuse_throttled(struct session *s, const char *where, struct smtp_reply *reply)
{
	metrics_auth_failed(s->services->metrics, METRICS_AUTH_THROTTLED);
	smtp_reply_set(reply, 454, "4.7.0",
		       "%s: too many wrong API keys from this address, try "
		       "again in %u seconds",
		       where, s->throttled);
	return false;
}

/* A key in the header comes without the user name that was issued with it. */
static bool
take_identity(struct session *s, const struct identity *id,
	      struct smtp_reply *reply)
{
	if (s->key_in_header && id->login[0] != '\0') {
		metrics_auth_failed(s->services->metrics, METRICS_AUTH_LOGIN);
		smtp_reply_set(reply, 535, "5.7.8",
			       "%s: this API key was issued with a user name, "
			       "log in with both",
			       s->config->dialect->key_header);
		return false;
	}
	message_set_subaccount(s->message, id->subaccount);
	return true;
}

/* Whose message it is. False: the reply is set. */
static bool
identify(struct session *s, struct identity **identity_r,
	 struct smtp_reply *reply)
{
	const char *name = s->config->dialect->key_header;
	const char *where = s->key_in_header ? name : "AUTH";
	enum key_reason reason;

	*identity_r = NULL;
	if (s->throttled > 0)
		return refuse_throttled(s, where, reply);
	if (s->key == NULL)
		return true;
	switch (key_wait_take(&s->key, s->services->pool,
			      s->config->check_timeout_ms, &reason,
			      identity_r)) {
	case KEY_GOOD:
		return take_identity(s, *identity_r, reply);
	case KEY_WRONG:
		refuse_key(s, where, reason, reply);
		return false;
	case KEY_UNKNOWN:
	default:
		metrics_auth_failed(s->services->metrics, METRICS_AUTH_UNKNOWN);
		smtp_reply_set(reply, 454, "4.7.0",
			       "%s: the API key cannot be checked now", where);
		return false;
	}
}

static const char *
result_word(const struct story *t)
{
	return t->handoff.kind == HANDOFF_SENT	   ? "sent"
	       : t->handoff.kind == HANDOFF_QUEUED ? "queued"
	       : t->reply.code < 500		   ? "deferred"
						   : "refused";
}

static void
count_story(const struct session *s, const struct story *t,
	    const struct body_counts *counts, const char *route)
{
	const struct metrics_message what = {
		.dialect = t->dialect->name,
		.route = route,
		.result = result_word(t),
		.bytes = message_bytes(s->message),
		.images = counts->images,
		.attachments = counts->attachments,
		.other = counts->other,
	};

	metrics_message(s->services->metrics, &what);
}

static void
log_story(const struct session *s, const struct story *t)
{
	const struct identity *id = t->identity;
	const struct outgoing *o = t->verdict->outgoing;
	const char *route = o && o->route_id ? o->route_id : "";
	struct body_counts counts;
	char submission[2 * SUBMISSION_ID_LEN + 1];
	char reply[SMTP_REPLY_TEXT_MAX + 32];
	char ignored[FEATURE_LIST_SIZE] = "";
	char ignored_q[LOG_QUOTE_SIZE];
	char route_q[LOG_QUOTE_SIZE];
	char reply_q[LOG_QUOTE_SIZE];

	body_counts(message_body_state(s->message), &counts);
	count_story(s, t, &counts, route);
	(void)snprintf(reply, sizeof(reply), "%d %s %s", t->reply.code,
		       t->reply.enhanced, t->reply.text);
	crypto_hex(submission, t->handoff.submission, SUBMISSION_ID_LEN);
	if (o != NULL)
		(void)feature_ignored(o, ignored);
	log_info(t->queue_id,
		 "message result=%s key=%s account=%s dialect=%s route=%s "
		 "handoff=%s submission=%s rcpts=%zu accepted=%zu bytes=%zu "
		 "parts=%u dropped=images:%u,attachments:%u,other:%u%s%s%s%s "
		 "api_ms=%u reply=%s",
		 result_word(t), id ? id->key_id : "-",
		 id ? id->account->id : "-", t->dialect->name,
		 log_quote(route_q, route), o ? t->handoff.way : "none",
		 o ? submission : "-", message_n_recipients(s->message),
		 t->handoff.accepted, message_bytes(s->message), counts.parts,
		 counts.images, counts.attachments, counts.other,
		 counts.rest_unread ? ",rest:unread" : "",
		 counts.replaced ? " charset=repaired" : "",
		 *ignored ? " ignored=" : "",
		 *ignored ? log_quote(ignored_q, ignored) : "",
		 t->handoff.waited_ms, log_quote(reply_q, reply));
}

/* Removed, and without effect; but somebody tries something. */
static void
log_forged(const struct session *s, const char *queue_id)
{
	unsigned n = requeue_forged(s->message);

	if (n > 0)
		log_warning(
		    queue_id,
		    "forged headers=%u: the client sent " REQUEUE_OWN_PREFIX
		    " headers, which are ignored",
		    n);
}

static void
judge_and_hand_over(struct session *s, struct story *t, struct verdict *v)
{
	struct handoff *h = &t->handoff;

	judge(s->message, t->identity ? t->identity->account : NULL, t->dialect,
	      &s->config->routes, v);
	if (v->dialect != NULL)
		t->dialect = v->dialect;
	if (v->kind == VERDICT_REFUSE) {
		t->reply = v->reply;
		return;
	}
	*h = (struct handoff){
		.services = s->services,
		.config = s->config,
		.queue_id = t->queue_id,
		.identity = t->identity,
		.dialect = t->dialect,
		.message = s->message,
		.outgoing = v->outgoing,
	};
	handoff(h);
	if (h->kind == HANDOFF_NOT)
		t->reply = h->reply;
	else
		smtp_reply_set(&t->reply, 250, "2.0.0", "Accepted");
	if (h->waited_ms > 0)
		metrics_time(s->services->metrics, METRICS_HANDOFF,
			     h->waited_ms / 1000.0);
}

void
session_end(struct session *s, const char *queue_id,
	    struct session_outcome *outcome_r)
{
	struct identity *id = NULL;
	struct verdict verdict = { .kind = VERDICT_REFUSE };
	struct story t = {
		.queue_id = queue_id,
		.verdict = &verdict,
		.handoff.kind = HANDOFF_NOT,
	};
	bool known;

	*outcome_r = (struct session_outcome){ 0 };
	if (s->message == NULL) {
		smtp_reply_set(&outcome_r->reply, 451, "4.3.0",
			       "No message is open");
		return;
	}
	/* What drains may have begun it. */
	if (s->copy != NULL) {
		outcome_r->edits = copy_arrival_end(
		    s->copy, s->services->seal, s->services->copy_ledger,
		    s->message, queue_id, &outcome_r->reply);
		session_reset(s);
		return;
	}
	if (atomic_load(&s->services->draining)) {
		smtp_reply_set(&outcome_r->reply, 451, "4.3.2",
			       "The relay takes no new mail now");
		log_info(queue_id, "message result=deferred reason=draining");
		session_reset(s);
		return;
	}
	session_headers_done(s);
	known = identify(s, &id, &t.reply);
	t.identity = id;
	t.dialect = login_dialect(s->config, id != NULL ? id->account : NULL);
	log_forged(s, queue_id);
	if (known)
		judge_and_hand_over(s, &t, &verdict);
	log_story(s, &t);
	outcome_r->reply = t.reply;
	outcome_r->edits = t.handoff.edits;
	verdict_clear(&verdict);
	identity_free(&id);
	session_reset(s);
}

bool
session_end_trial(struct session *s, struct dynbuf *out)
{
	struct verdict verdict = { .kind = VERDICT_REFUSE };
	const struct trial *t = s->trial;
	const struct dialect *d;

	if (t == NULL || s->message == NULL)
		return false;
	d = login_dialect(s->config, t->account);
	judge(s->message, t->account, d, &s->config->routes, &verdict);
	trial_write(t, s->config, verdict.dialect ? verdict.dialect : d,
		    s->message, &verdict, out);
	verdict_clear(&verdict);
	session_reset(s);
	return true;
}
