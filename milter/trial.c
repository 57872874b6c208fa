/* SPDX-License-Identifier: MIT */
#include "trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "config.h"
#include "handoff.h"
#include "key_check.h"
#include "key_wait.h"
#include "keystore.h"
#include "need.h"
#include "policy/account.h"
#include "policy/api.h"
#include "policy/body.h"
#include "policy/dialect.h"
#include "policy/judge.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/route.h"
#include "policy/trace.h"
#include "report.h"
#include "request.h"
#include "services.h"
#include "trial_page.h"

/* What is shown of a file: whole multiples of three, so that base64 says the
 * same. */
#define FILE_SHOWN 60
/* Requests that are shown; a message to more says how many there would be. */
#define REQUESTS_SHOWN 10
/* With its first line it is an answer. */
#define TRIAL_ANSWER_MAX (CONTROL_ANSWER_MAX - 64)

static bool
account_by_api_key(struct services *s, const char *key, struct trial *t)
{
	const struct config *c = s->config;
	struct key_wait *wait = key_wait_key(s->keys, key, strlen(key), NULL);
	struct identity *id;
	enum key_reason reason;
	bool good = key_wait_take(&wait, s->pool, c->check_timeout_ms, &reason,
				  &id) == KEY_GOOD;

	if (good) {
		t->account = account_share(id->account);
		memcpy(t->key_id, id->key_id, sizeof(t->key_id));
	}
	identity_free(&id);
	return good;
}

/* Where the message would come from is not known, so it is not asked whether
 * the key may be used from there. */
static bool
account_by_key(struct services *s, const char *key, struct trial *t)
{
	struct keystore_found found;
	bool good = keystore_find(s->keystore, key, strlen(key),
				  (int64_t)time(NULL), &found) == KEYSTORE_GOOD;

	if (good) {
		t->account = account_share(found.account);
		memcpy(t->key_id, found.key.key_id, sizeof(t->key_id));
	}
	keystore_found_clear(&found);
	return good || account_by_api_key(s, key, t);
}

static const char *
find_account(struct services *s, const struct request *r, struct trial *t)
{
	const char *name = request_option(r, "account");
	const char *key = request_option(r, "key-file");
	bool has_api_key;

	if ((name == NULL) == (key == NULL))
		return "try: needs --account NAME or --key-file FILE, to know "
		       "who sends the message";
	if (key != NULL)
		return account_by_key(s, key, t)
			   ? NULL
			   : "try: the key is wrong or cannot be checked now";
	if (keystore_account(s->keystore, name, &t->account, &has_api_key) < 0)
		return "try: the store cannot be read; the log says why";
	return t->account ? NULL
			  : "try: no account of this machine has that name";
}

struct trial *
trial_new(struct services *s, const struct request *r, char **error_r)
{
	struct trial *t = need(calloc(1, sizeof(*t)));
	const char *why;

	t->json = r->json;
	t->page = request_has(r, "html");
	t->trace = trace_new();
	why = find_account(s, r, t);
	*error_r = NULL;
	if (why == NULL)
		return t;
	trial_free(&t);
	*error_r = need(strdup(why));
	return NULL;
}

void
trial_free(struct trial **tp)
{
	struct trial *t = *tp;

	if (t == NULL)
		return;
	account_free(&t->account);
	trace_free(&t->trace);
	free(t);
	*tp = NULL;
}

static void
write_verdict(struct report *r, const struct trial *t, const struct dialect *d,
	      const struct message *m, const struct verdict *v)
{
	const struct route *route;
	bool good = v->kind == VERDICT_HAND_OVER;
	char ignored[FEATURE_LIST_SIZE];
	char reply[SMTP_REPLY_TEXT_MAX + 32] =
	    "250 2.0.0 if the API accepts it";

	if (!good)
		(void)snprintf(reply, sizeof(reply), "%d %s %s", v->reply.code,
			       v->reply.enhanced, v->reply.text);
	report_text(r, "verdict", good ? "handed over" : "refused");
	report_text(r, "reply", reply);
	report_text(r, "account", t->account->id);
	if (t->key_id[0] != '\0')
		report_text(r, "key_id", t->key_id);
	report_text(r, "dialect", d->name);
	report_number(r, "recipients", message_n_recipients(m));
	report_number(r, "body_bytes", message_bytes(m));
	if (!good)
		return;
	route = v->outgoing->route;
	report_text(r, "route",
		    v->outgoing->route_id ? v->outgoing->route_id : "");
	if (route == NULL) {
		report_text(r, "handoff", "none: the route is not configured");
		return;
	}
	report_text(r, "handoff", handoff_name(route));
	if (route->handoff == ROUTE_TRANSPORT)
		report_text(r, "transport", route->transport);
	else
		report_text(r, "api", route->api);
	if (*feature_ignored(v->outgoing, ignored) != '\0')
		report_text(r, "ignored", ignored);
}

static void
write_headers(struct report *r, const struct trace *t)
{
	static const char *const columns[] = { "header", "fate", "why",
					       "value" };

	report_note(r, "%s", "");
	report_table(r, "headers", columns, 4);
	for (size_t i = 0; i < t->n_headers; i++)
		report_row(r, (const char *[]){
				  t->headers[i].name, t->headers[i].fate,
				  t->headers[i].why, t->headers[i].value });
	report_table_end(r);
}

static void
write_parts(struct report *r, const struct trace *t)
{
	static const char *const columns[] = { "part", "type", "depth", "fate",
					       "why" };

	report_note(r, "%s", "");
	report_table(r, "parts", columns, 5);
	for (size_t i = 0; i < t->n_parts; i++) {
		char number[24], depth[24];

		(void)snprintf(number, sizeof(number), "%zu", i + 1);
		(void)snprintf(depth, sizeof(depth), "%u", t->parts[i].depth);
		report_row(r, (const char *[]){ number, t->parts[i].type, depth,
						t->parts[i].fate,
						t->parts[i].why });
	}
	report_table_end(r);
}

/* The request for one recipient, as the API would get it. */
static void
write_request(struct report *r, const struct config_api *api,
	      const struct outgoing *o, size_t i, const struct dynbuf *shared)
{
	char name[32] = "request";
	DYNBUF_AUTO whole;

	dynbuf_init(&whole, API_REQUEST_MAX);
	if (!api->format->recipient_piece(&api->settings, o, &o->recipients[i],
					  &whole) ||
	    !dynbuf_add(&whole, shared->data, shared->len))
		return;
	if (i > 0)
		(void)snprintf(name, sizeof(name), "request_%zu", i + 1);
	report_note(r, "%s", "");
	report_json(r, name, whole.data, whole.len);
}

/* The beginnings of o's files; free(). */
static struct body_file *
cut_files(struct report *r, const struct outgoing *o)
{
	struct body_file *files = need(calloc(o->n_files + 1, sizeof(*files)));
	bool cut = false;

	for (size_t i = 0; i < o->n_files; i++) {
		files[i] = o->files[i];
		cut = cut || files[i].len > FILE_SHOWN;
		if (files[i].len > FILE_SHOWN)
			files[i].len = FILE_SHOWN;
	}
	if (cut)
		report_number(r, "bytes_shown_of_a_file", FILE_SHOWN);
	return files;
}

static void
write_requests_of(struct report *r, const struct config_api *api,
		  const struct outgoing *o)
{
	DYNBUF_AUTO shared;

	dynbuf_init(&shared, API_REQUEST_MAX);
	if (!api->format->shared_piece(&api->settings, o, &shared))
		return;
	for (size_t i = 0; i < o->n_recipients && i < REQUESTS_SHOWN; i++)
		write_request(r, api, o, i, &shared);
	if (o->n_recipients > REQUESTS_SHOWN)
		report_note(r, "and %zu more requests, to the other recipients",
			    o->n_recipients - REQUESTS_SHOWN);
}

static void
write_requests(struct report *r, const struct config *c,
	       const struct verdict *v)
{
	const struct route *route = v->outgoing->route;
	struct outgoing shown = *v->outgoing;

	if (route == NULL || route->handoff == ROUTE_TRANSPORT)
		return;
	shown.files = cut_files(r, v->outgoing);
	write_requests_of(r, config_api(c, route->api), &shown);
	free(shown.files);
}

/* The report, or the page with it; or that it is too long. */
static void
write_answer(const struct trial *t, const struct dynbuf *text,
	     const struct outgoing *o, struct dynbuf *out)
{
	const struct dynbuf *answer = text;
	DYNBUF_AUTO page;

	dynbuf_init(&page, TRIAL_ANSWER_MAX);
	if (t->page) {
		trial_page(&page, text, o);
		answer = &page;
	}
	if (text->overflow || page.overflow)
		(void)dynbuf_addf(out, "%d -\nThe answer is too long\n",
				  EX_SOFTWARE);
	else if (dynbuf_addf(out, "%d -\n", EX_OK))
		(void)dynbuf_add(out, answer->data, answer->len);
}

void
trial_write(const struct trial *t, const struct config *c,
	    const struct dialect *d, const struct message *m,
	    const struct verdict *v, struct dynbuf *out)
{
	DYNBUF_AUTO text;
	struct report r;

	dynbuf_init(&text, TRIAL_ANSWER_MAX);
	trace_judge_headers(t->trace, d);
	report_begin(&r, t->json && !t->page, &text);
	write_verdict(&r, t, d, m, v);
	write_headers(&r, t->trace);
	write_parts(&r, t->trace);
	if (v->kind == VERDICT_HAND_OVER)
		write_requests(&r, c, v);
	report_end(&r);
	write_answer(t, &text, v->outgoing, out);
}
