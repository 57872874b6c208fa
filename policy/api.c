/* SPDX-License-Identifier: MIT */
#include "api.h"

#include <glib.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "smtp_reply.h"

#define API_ENTRY(name) &api_##name,
const struct api_format *const apis[] = { APIS(API_ENTRY) NULL };

const char *
api_names(char dst[API_NAMES_SIZE])
{
	size_t n = 0;

	dst[0] = '\0';
	for (size_t i = 0; apis[i] != NULL && n < API_NAMES_SIZE; i++)
		n += (size_t)snprintf(dst + n, API_NAMES_SIZE - n, "%s%s",
				      i > 0 ? ", " : "", apis[i]->name);
	return dst;
}

const struct api_format *
api_find(const char *name)
{
	for (size_t i = 0; apis[i] != NULL; i++) {
		if (strcmp(apis[i]->name, name) == 0)
			return apis[i];
	}
	return NULL;
}

/*
 * What a status means for the message, and what the client hears. The first
 * row that holds the status counts. A status no row knows is our configuration
 * or theirs: nothing is lost by a 4xx.
 */
static const struct {
	unsigned from, to;
	enum api_outcome_kind kind;
	int code;
	const char *enhanced;
	const char *text;
	bool own_words; /* the API's words are for the client */
} statuses[] = {
	{ 0, 0, API_LATER, 451, "4.4.1", "The API did not answer", false },
	{ 200, 299, API_ACCEPTED, 250, "2.0.0", "Accepted", false },
	{ 400, 400, API_REFUSED, 550, "5.6.0", "The API refused the message",
	  true },
	{ 401, 401, API_KEY_WRONG, 535, "5.7.8",
	  "The API key is wrong or revoked", false },
	{ 403, 403, API_REFUSED, 550, "5.7.1",
	  "The API does not allow this account to send that", true },
	{ 408, 409, API_LATER, 451, "4.4.2", "The API is busy", false },
	{ 413, 413, API_REFUSED, 552, "5.3.4", "The message is too large",
	  true },
	{ 420, 420, API_LATER, 451, "4.4.5", "The API's limit is reached",
	  false },
	{ 422, 422, API_REFUSED, 550, "5.6.0", "The API refused the message",
	  true },
	{ 425, 425, API_LATER, 451, "4.4.2", "The API is busy", false },
	{ 429, 429, API_LATER, 451, "4.4.5", "The API's limit is reached",
	  false },
	{ 500, 599, API_LATER, 451, "4.4.2", "The API failed", false },
	{ 1, 999, API_MISFIT, 451, "4.3.5",
	  "The API gave an answer that cannot be used", false },
};

static size_t
find_status(unsigned status)
{
	size_t i = 0;

	while (status < statuses[i].from || status > statuses[i].to)
		i++;
	return i;
}

void
api_outcome(const struct api_format *f, unsigned status, const char *body,
	    size_t len, struct api_outcome *o)
{
	char words[SMTP_REPLY_TEXT_MAX] = "";
	size_t i;

	*o = (struct api_outcome){ 0 };
	if (f->true_status != NULL)
		status = f->true_status(status, body, len);
	if (status / 100 == 2 && !f->answer_accepted(body, len, o->id))
		status = 1;
	i = find_status(status > 999 ? 999 : status);
	o->kind = statuses[i].kind;
	if (statuses[i].own_words)
		f->answer_text(body, len, words, sizeof(words));
	smtp_reply_set(&o->reply, statuses[i].code, statuses[i].enhanced,
		       "%s%s%s", statuses[i].text, *words ? ": " : "", words);
}

static bool
print(char *dst, size_t size, const char *fmt, va_list ap)
{
	int n = vsnprintf(dst, size, fmt, ap);

	return n >= 0 && (size_t)n < size;
}

bool
api_head_path(struct api_head *h, const char *fmt, ...)
{
	va_list ap;
	bool ok;

	va_start(ap, fmt);
	ok = print(h->path, sizeof(h->path), fmt, ap);
	va_end(ap);
	return ok;
}

bool
api_head_add(struct api_head *h, const char *fmt, ...)
{
	va_list ap;
	bool ok;

	if (h->n_headers == API_HEADERS_MAX)
		return false;
	va_start(ap, fmt);
	ok = print(h->headers[h->n_headers], sizeof(h->headers[0]), fmt, ap);
	va_end(ap);
	h->n_headers += ok;
	return ok;
}

bool
api_head_add_basic(struct api_head *h, const char *user, size_t user_len,
		   const char *password)
{
	char pair[API_HEADER_MAX / 2];
	int n = snprintf(pair, sizeof(pair), "%.*s:%s", (int)user_len, user,
			 password);
	char *base64;
	bool ok;

	if (n < 0 || (size_t)n >= sizeof(pair))
		return false;
	base64 = g_base64_encode((const guchar *)pair, (gsize)n);
	ok = api_head_add(h, "Authorization: Basic %s", base64);
	if (ok)
		(void)snprintf(h->basic, sizeof(h->basic), "%s", base64);
	explicit_bzero(base64, strlen(base64));
	explicit_bzero(pair, sizeof(pair));
	g_free(base64);
	return ok;
}

enum api_key_answer
api_key_answer(unsigned status)
{
	if (status == 200)
		return API_KEY_GOOD;
	return status == 401 || status == 403 ? API_KEY_BAD : API_KEY_NO_IDEA;
}

enum api_conclusion
api_conclude(const struct api_tally *t)
{
	if (t->accepted == t->recipients)
		return API_ALL_SENT;
	if (t->accepted > 0)
		return API_REST_QUEUED;
	if (t->open == 0 || t->key_wrong)
		return API_ALL_REFUSED;
	return t->refused == 0 && t->misfit ? API_NOT_OURS : API_REST_QUEUED;
}
