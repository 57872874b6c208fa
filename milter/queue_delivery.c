/* SPDX-License-Identifier: MIT */
#include "queue_delivery.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "api_batch.h"
#include "clock.h"
#include "config.h"
#include "copies.h"
#include "crypto.h"
#include "key_check.h"
#include "keystore.h"
#include "lmtp_command.h"
#include "log.h"
#include "metrics.h"
#include "need.h"
#include "plan_seal.h"
#include "policy/body.h"
#include "policy/dialect.h"
#include "policy/dynbuf.h"
#include "policy/mail_reader.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/plan.h"
#include "policy/requeue.h"
#include "policy/route.h"
#include "services.h"
#include "submission.h"

/* A recipient of the transaction. */
struct recipient {
	char *address;
	char *typed;  /* what the client of the relay wrote; or NULL */
	size_t place; /* in the plan; SIZE_MAX: not there */
};

/* One transaction. */
struct mail {
	struct services *services;
	const struct config *config; /* the snapshot for it */
	struct recipient *recipients;
	size_t n;
	bool eight_bit, utf8; /* said Postfix of the message */
	struct mail_reader *reader;
	/* Its body, and for an API only those headers that are of MIME. */
	struct message *message;
	struct message *whole; /* with all headers; NULL once they are known */
	bool body_done;	       /* no later byte of it matters */
	struct dynbuf sealed;  /* the plan's headers */
	struct plan *plan;     /* once the headers are complete */
	const struct dialect *dialect;
	char key[PLAN_KEY_MAX + 1];
	struct smtp_reply refusal; /* for all recipients, when it is set */
	struct api_batch *batch;   /* to an API */
	struct copies *copies;	   /* to a transport */
	bool key_wrong;		   /* the API said so */
	int64_t start_ms;
	struct lmtp_answer *answer;
};

static void
refuse(struct mail *m, int code, const char *enhanced, const char *why)
{
	if (!smtp_reply_is_set(&m->refusal))
		smtp_reply_set(&m->refusal, code, enhanced, "%s", why);
}

static const char *
queue_id(const struct mail *m)
{
	return m->plan != NULL ? m->plan->queue_id : "lmtp";
}

/* --- the message as it comes ---------------------------------------------- */

static void
on_header(void *arg, const char *name, const char *value, size_t len)
{
	struct mail *m = arg;

	if (strcasecmp(name, REQUEUE_PLAN_HEADER) == 0) {
		if (!dynbuf_add(&m->sealed, value, len))
			refuse(m, 550, "5.7.1", "The plan is too long");
		return;
	}
	message_header(m->whole, name, value, len);
	if (strncasecmp(name, "Content-", 8) == 0 ||
	    strcasecmp(name, "MIME-Version") == 0)
		message_header(m->message, name, value, len);
}

static bool
is_to_transport(const struct mail *m)
{
	return m->plan != NULL && m->plan->api[0] == '\0';
}

static void
read_plan(struct mail *m)
{
	struct dynbuf text;

	dynbuf_init(&text, PLAN_MAX);
	if (plan_unseal(m->services->seal, dynbuf_str(&m->sealed),
			m->sealed.len, &text))
		m->plan = plan_read(text.data, text.len);
	if (text.data != NULL)
		crypto_wipe(text.data, text.cap);
	dynbuf_clear(&text);
	dynbuf_clear(&m->sealed);
}

/* Which of the two messages it is, and what is kept of its body. */
static void
choose_message(struct mail *m)
{
	unsigned wants = m->dialect->body_wants;

	if (is_to_transport(m)) {
		wants |= BODY_WANT_RAW; /* what does not change is sent on */
		message_free(&m->message);
		m->message = m->whole;
		m->whole = NULL;
	}
	message_free(&m->whole);
	message_want(m->message, wants);
}

static void
on_headers_done(void *arg)
{
	struct mail *m = arg;

	if (m->sealed.len == 0)
		refuse(m, 550, "5.7.1", "This is no message of the relay");
	else
		read_plan(m);
	if (m->plan != NULL)
		m->dialect = dialect_find(m->plan->dialect);
	if (m->plan == NULL)
		refuse(m, 451, "4.3.5",
		       "The plan of this message cannot be read: was "
		       "secret_file replaced?");
	else if (m->dialect == NULL)
		refuse(m, 451, "4.3.5", "The plan has an unknown dialect");
	else
		choose_message(m);
}

static void
on_body(void *arg, const char *data, size_t len)
{
	struct mail *m = arg;

	if (!m->body_done && !smtp_reply_is_set(&m->refusal))
		m->body_done = message_body(m->message, data, len);
}

static const struct mail_sink sink = { on_header, on_headers_done, on_body };

/* --- the handler ---------------------------------------------------------- */

static void
mail_free(struct mail *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->recipients[i].address);
		free(m->recipients[i].typed);
	}
	free(m->recipients);
	api_batch_free(&m->batch);
	copies_free(&m->copies);
	mail_reader_free(&m->reader);
	message_free(&m->message);
	message_free(&m->whole);
	plan_free(&m->plan);
	dynbuf_clear(&m->sealed);
	crypto_wipe(m->key, sizeof(m->key));
	free(m);
}

static void *
begin(void *arg, const char *sender, const struct lmtp_mail *said)
{
	struct mail *m = need(calloc(1, sizeof(*m)));

	(void)sender; /* the plan has the one the client gave */
	m->services = arg;
	m->config = m->services->config;
	m->eight_bit = said->eight_bit;
	m->utf8 = said->utf8;
	m->reader = mail_reader_new(&sink, m);
	m->message = message_new("");
	m->whole = message_new("");
	dynbuf_init(&m->sealed, PLAN_HEADERS_MAX);
	return m;
}

/* Whether it is one of the message's is known when the headers are. */
static void
recipient(void *mail, const char *address, const char *typed,
	  struct smtp_reply *reply)
{
	struct mail *m = mail;

	m->recipients =
	    need(realloc(m->recipients, (m->n + 1) * sizeof(*m->recipients)));
	m->recipients[m->n++] = (struct recipient){
		.address = need(strdup(address)),
		.typed = typed != NULL ? need(strdup(typed)) : NULL,
		.place = SIZE_MAX,
	};
	smtp_reply_set(reply, 250, "2.1.5", "OK");
}

static void
data(void *mail, const char *bytes, size_t len)
{
	struct mail *m = mail;

	if (!mail_reader_feed(m->reader, bytes, len))
		refuse(m, 550, "5.6.0", "A header is too long");
}

static void
drop(void *mail)
{
	mail_free(mail);
}

/* --- the calls ------------------------------------------------------------ */

/* Of whom the batch was to call for, or whose copy was to be sent; NULL: the
 * API has it. */
static const struct smtp_reply *
reply_of(const struct mail *m, size_t place)
{
	const struct plan_recipient *r = &m->plan->recipients[place];

	if (r->state == PLAN_REFUSED)
		return &r->reply;
	if (r->state == PLAN_DONE)
		return NULL;
	if (m->copies != NULL)
		return copies_reply(m->copies, place);
	if (m->batch == NULL)
		return &m->refusal;
	return api_batch_state(m->batch, place) == BATCH_ACCEPTED
		   ? NULL
		   : api_batch_reply(m->batch, place);
}

/* Whom nobody was called for would hear what the others heard. */
static bool
shares_wrong_key(const struct mail *m, size_t place)
{
	return m->key_wrong && m->plan->recipients[place].state == PLAN_OPEN &&
	       api_batch_is_untried(m->batch, place);
}

static void
reply_to(const struct mail *m, size_t place, struct smtp_reply *reply)
{
	const struct smtp_reply *why = reply_of(m, place);

	if (why != NULL)
		*reply = *why;
	else
		smtp_reply_set(reply, 250, "2.0.0", "Accepted by the API");
	/* 535 is an answer to AUTH, which Postfix would not expect here. */
	if (reply->code == 535 || shares_wrong_key(m, place))
		smtp_reply_set(reply, 550, "5.7.8", "%s",
			       "The API key is wrong or revoked");
}

/* Nobody was called. */
static void
log_refusal(const struct mail *m)
{
	char why[LOG_QUOTE_SIZE];

	log_error(queue_id(m), "delivery result=%s reason=%s",
		  m->refusal.code < 500 ? "later" : "refused",
		  log_quote(why, m->refusal.text));
}

static void
way_of(const struct plan *p, char *dst, size_t size)
{
	char quoted[LOG_QUOTE_SIZE];
	const char *route = p->outgoing->route_id;

	if (p->api[0] != '\0')
		(void)snprintf(dst, size, "api=%s", p->api);
	else
		(void)snprintf(dst, size, "route=%s",
			       log_quote(quoted, route != NULL ? route : ""));
}

static void
tell(const struct mail *m, const struct smtp_reply *replies)
{
	size_t accepted = 0;
	size_t refused = 0;
	size_t later;
	char way[LOG_QUOTE_SIZE + 8] = "";

	if (m->plan != NULL)
		way_of(m->plan, way, sizeof(way));
	for (size_t i = 0; i < m->n; i++) {
		accepted += replies[i].code == 250;
		refused += replies[i].code >= 500;
	}
	later = m->n - accepted - refused;
	metrics_delivery(m->services->metrics, accepted, refused, later);
	if (m->plan != NULL)
		log_info(m->plan->queue_id,
			 "delivery key=%s account=%s %s rcpts=%zu accepted=%zu "
			 "refused=%zu later=%zu ms=%u age=%lld",
			 m->plan->key_id, m->plan->account, way, m->n, accepted,
			 refused, later, (unsigned)(clock_ms() - m->start_ms),
			 (long long)time(NULL) - m->plan->accepted);
}

static void
answer(struct mail *m)
{
	struct smtp_reply *replies = need(calloc(m->n + 1, sizeof(*replies)));

	for (size_t i = 0; i < m->n; i++) {
		if (m->plan == NULL)
			replies[i] = m->refusal;
		else if (m->recipients[i].place != SIZE_MAX)
			reply_to(m, m->recipients[i].place, &replies[i]);
		else
			smtp_reply_set(&replies[i], 550, "5.7.1",
				       "The message was not accepted for this "
				       "recipient");
	}
	tell(m, replies);
	lmtp_answer(&m->answer, replies, m->n);
	atomic_fetch_sub(&m->services->deliveries, 1);
	free(replies);
	mail_free(m);
}

/* In the HTTP thread, or in the loop's. */
static void
on_done(void *arg)
{
	struct mail *m = arg;
	struct api_batch_counts c;

	api_batch_counts(m->batch, &c);
	m->key_wrong = c.key_wrong;
	if (m->key_wrong)
		key_check_refused(m->services->keys, m->plan->account, m->key,
				  m->plan->local);
	answer(m);
}

_Static_assert(PLAN_KEY_MAX == KEY_MAX, "the same keys");

/* A key that was made here says whether its messages still go. */
static void
check_local_key(struct mail *m)
{
	struct keystore_key key;
	int found = keystore_key(m->services->keystore, m->plan->key_id, &key);

	if (found == 0)
		refuse(m, 550, "5.7.8", "The API key was revoked");
	else if (found < 0)
		refuse(m, 451, "4.3.0", "The API key cannot be looked up");
	else if (key.status == KEYSTORE_DISABLED)
		refuse(m, 451, "4.7.1", "The API key is disabled");
}

/* The account's key of today; a transport needs none. */
static void
take_account_key(struct mail *m)
{
	bool disabled;
	int found = keystore_api_key(m->services->keystore, m->plan->account,
				     m->key, &disabled);

	if (found == 0)
		refuse(m, 550, "5.7.8", "The account was removed");
	else if (found < 0)
		refuse(m, 451, "4.3.0", "The account cannot be looked up");
	else if (disabled)
		refuse(m, 451, "4.7.1", "The account is disabled");
	else if (m->key[0] == '\0' && !is_to_transport(m))
		refuse(m, 451, "4.3.5",
		       "The relay has no API key for this account");
}

/* Of the API: the one the message was accepted with, or the account's. False:
 * the refusal is set. */
static bool
choose_key(struct mail *m)
{
	if (!m->plan->local) {
		memcpy(m->key, m->plan->key, sizeof(m->key));
		return true;
	}
	check_local_key(m);
	if (!smtp_reply_is_set(&m->refusal))
		take_account_key(m);
	return !smtp_reply_is_set(&m->refusal);
}

static void
find_places(struct mail *m)
{
	for (size_t i = 0; i < m->n; i++) {
		struct recipient *r = &m->recipients[i];

		if (r->typed != NULL)
			r->place = plan_find(m->plan, r->typed);
		if (r->place == SIZE_MAX)
			r->place = plan_find(m->plan, r->address);
		if (r->place == SIZE_MAX)
			log_error(m->plan->queue_id,
				  "delivery result=refused reason=\"a "
				  "recipient is not in the plan\"");
	}
}

/* Who is in this transaction, and open. */
static bool *
find_wanted(const struct mail *m)
{
	size_t n = m->plan->outgoing->n_recipients;
	bool *wanted = need(calloc(n + 1, sizeof(bool)));

	for (size_t i = 0; i < m->n; i++) {
		size_t place = m->recipients[i].place;

		if (place != SIZE_MAX &&
		    m->plan->recipients[place].state == PLAN_OPEN)
			wanted[place] = true;
	}
	return wanted;
}

static void
skip_others(struct mail *m)
{
	bool *wanted = find_wanted(m);

	for (size_t i = 0; i < m->plan->outgoing->n_recipients; i++) {
		if (!wanted[i])
			api_batch_skip(m->batch, i);
	}
	free(wanted);
}

static void
call_api(struct mail *m, const struct config_api *api)
{
	const struct api_batch_settings settings = {
		.services = m->services,
		.api = api,
		.queue_id = m->plan->queue_id,
		.key_id = m->plan->key_id,
		.key = m->key,
		.outgoing = m->plan->outgoing,
		.submission = m->plan->submission,
		.may_wait = true,
		.call_ms = m->config->direct_timeout_ms,
		.begin_by_ms = m->start_ms + QUEUE_DELIVERY_MS -
			       m->config->direct_timeout_ms,
		.deadline_ms = m->start_ms + QUEUE_DELIVERY_MS,
		.done = on_done,
		.arg = m,
	};

	m->batch = api_batch_new(&settings);
	skip_others(m);
	api_batch_start(m->batch);
}

static void
on_copies_done(void *arg)
{
	answer(arg);
}

static void
send_copies(struct mail *m)
{
	const struct copies_settings settings = {
		.services = m->services,
		.config = m->config,
		.plan = m->plan,
		.dialect = m->dialect,
		.message = m->message,
		.eight_bit = m->eight_bit,
		.utf8 = m->utf8,
		.deadline_ms = m->start_ms + QUEUE_DELIVERY_MS,
		.done = on_copies_done,
		.arg = m,
	};
	bool *wanted = find_wanted(m);
	struct outgoing *o = m->plan->outgoing;

	/* They are in the message as it came, which is what is sent. */
	body_files_free(&o->files, o->n_files);
	o->n_files = 0;
	m->copies = copies_new(&settings);
	for (size_t i = 0; i < o->n_recipients; i++) {
		if (wanted[i])
			copies_want(m->copies, i);
	}
	free(wanted);
	copies_start(m->copies);
}

/* Who has seen a plan, in a bounce, cannot send another message with it. */
static bool
is_of_plan(const struct mail *m)
{
	uint8_t hash[CRYPTO_HASH_LEN];

	_Static_assert(sizeof(hash) == PLAN_CONTENT_LEN, "a hash");
	if (m->plan->body_version != PLAN_BODY_VERSION)
		return true;
	submission_content(m->plan->outgoing, hash);
	return crypto_equal(hash, m->plan->content, sizeof(hash));
}

/* Of the body, as the dialect has it. What the message's bounds refuse is
 * without what comes behind them. */
static void
read_body(struct mail *m)
{
	const struct smtp_reply *refusal = message_refusal(m->message);

	if (refusal != NULL)
		m->refusal = *refusal;
	else if (dialect_read_body(m->dialect, m->message, m->plan->outgoing,
				   &m->refusal) &&
		 !is_of_plan(m))
		refuse(m, 451, "4.3.5",
		       "The message is not the one the plan is of");
}

static const struct config_api *
find_api(struct mail *m)
{
	const struct config_api *api = config_api(m->config, m->plan->api);

	if (api != NULL)
		return api;
	log_error(m->plan->queue_id, "there is no [api %s]", m->plan->api);
	refuse(m, 451, "4.3.5", "The relay does not know this API any more");
	return NULL;
}

/* As it was accepted: what it was promised is done, and nothing else. */
static bool
keeps_tracking(struct mail *m)
{
	struct outgoing *o = m->plan->outgoing;

	if (!m->plan->tracked) {
		o->open_tracking = SWITCH_OFF;
		o->click_tracking = SWITCH_OFF;
		return true;
	}
	if (requeue_is_tracked(o))
		return true;
	log_error(m->plan->queue_id,
		  "the message is to be tracked: see tracking_url");
	refuse(m, 451, "4.3.5", "The relay does not track links any more");
	return false;
}

static bool
find_transport(struct mail *m)
{
	struct outgoing *o = m->plan->outgoing;

	o->route = o->route_id != NULL
		       ? route_find(&m->config->routes, o->route_id)
		       : NULL;
	if (o->route != NULL && o->route->handoff == ROUTE_TRANSPORT)
		return keeps_tracking(m);
	log_error(m->plan->queue_id, "the route %s is no transport any more",
		  o->route_id != NULL ? o->route_id : "");
	refuse(m, 451, "4.3.5",
	       "The route of this message leads elsewhere now");
	return false;
}

/* False: nobody was called, and the refusal is set. */
static bool
hand_over(struct mail *m)
{
	const struct config_api *api;

	if (is_to_transport(m)) {
		if (!find_transport(m) || !choose_key(m))
			return false;
		send_copies(m);
		return true;
	}
	api = find_api(m);
	if (api == NULL || !choose_key(m))
		return false;
	call_api(m, api);
	return true;
}

static void
end(void *mail, struct lmtp_answer *a)
{
	struct mail *m = mail;

	m->answer = a;
	m->start_ms = clock_ms();
	atomic_fetch_add(&m->services->deliveries, 1);
	if (!mail_reader_end(m->reader))
		refuse(m, 550, "5.6.0", "A header is too long");
	if (m->plan != NULL)
		find_places(m);
	if (!smtp_reply_is_set(&m->refusal))
		read_body(m);
	if (!smtp_reply_is_set(&m->refusal) && hand_over(m))
		return;
	log_refusal(m);
	answer(m);
}

const struct lmtp_handler queue_delivery = {
	.begin = begin,
	.recipient = recipient,
	.data = data,
	.end = end,
	.drop = drop,
};
