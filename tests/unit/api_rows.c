/* SPDX-License-Identifier: MIT */
#include "api_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "policy/dynbuf.h"
#include "policy/utf8.h"

static bool
is_json_object(const struct dynbuf *text)
{
	json_auto_t *root =
	    json_loadb(text->data, text->len,
		       JSON_DECODE_INT_AS_REAL | JSON_REJECT_DUPLICATES, NULL);

	return json_is_object(root);
}

unsigned
requests_wrong(const struct api_format *f, const struct api_settings *s,
	       const struct request_row *rows, size_t n)
{
	unsigned wrong = 0;

	for (size_t i = 0; i < n; i++) {
		struct outgoing_recipient r = rows[i].r;
		char nobody[] = "r@x", no_name[] = "";
		DYNBUF_AUTO out, shared;

		r.email = r.email != NULL ? r.email : nobody;
		r.name = r.name != NULL ? r.name : no_name;
		dynbuf_init(&out, API_REQUEST_MAX);
		dynbuf_init(&shared, API_REQUEST_MAX);
		assert_true(f->recipient_piece(s, &rows[i].o, &r, &out));
		assert_true(f->shared_piece(s, &rows[i].o, &shared));
		assert_true(dynbuf_add(&out, shared.data, shared.len));
		if (strcmp(dynbuf_str(&out), rows[i].want) == 0 &&
		    is_json_object(&out))
			continue;
		printf("%s:\n got %s\nwant %s\n", rows[i].name,
		       dynbuf_str(&out), rows[i].want);
		wrong++;
	}
	return wrong;
}

void
check_full(const struct api_format *f, const struct outgoing *o)
{
	const struct outgoing_recipient r = {
		.email = S("r@x"),
		.name = S("R"),
		.kind = OUTGOING_BCC,
	};
	DYNBUF_AUTO first, second;

	dynbuf_init(&first, 100000);
	dynbuf_init(&second, 100000);
	assert_true(f->recipient_piece(NULL, o, &r, &first));
	assert_true(f->shared_piece(NULL, o, &second));
	for (size_t max = 0; max < first.len; max++) {
		DYNBUF_AUTO out;

		dynbuf_init(&out, max);
		assert_false(f->recipient_piece(NULL, o, &r, &out));
	}
	for (size_t max = 0; max < second.len; max++) {
		DYNBUF_AUTO out;

		dynbuf_init(&out, max);
		assert_false(f->shared_piece(NULL, o, &out));
	}
}

/* --- answers -------------------------------------------------------------- */

static bool
matches(const char *text, const char *want)
{
	size_t n = strlen(want);

	if (n > 0 && want[n - 1] == '*')
		return strncmp(text, want, n - 1) == 0;
	return strcmp(text, want) == 0;
}

/* In memory of its own size, so that a byte too far is noticed. */
static void
outcome(const struct api_format *f, unsigned status, const char *body,
	size_t len, struct api_outcome *o)
{
	char *copy = malloc(len != 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, body, len);
	memset(o, 0x7f, sizeof(*o));
	api_outcome(f, status, copy, len, o);
	free(copy);
}

unsigned
answers_wrong(const struct api_format *f, const struct answer_row *rows,
	      size_t n)
{
	unsigned wrong = 0;

	for (size_t i = 0; i < n; i++) {
		struct api_outcome o;

		outcome(f, rows[i].status, rows[i].body, strlen(rows[i].body),
			&o);
		if (o.kind == rows[i].kind && o.reply.code == rows[i].code &&
		    matches(o.reply.text, rows[i].text) &&
		    strcmp(o.id, rows[i].id) == 0)
			continue;
		printf("%s: kind %d, %d %s, id \"%s\"\n", rows[i].name,
		       (int)o.kind, o.reply.code, o.reply.text, o.id);
		wrong++;
	}
	return wrong;
}

#define DEEP "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
static const char *const hostile[] = {
	"",
	" ",
	"null",
	"true",
	"12345678901234567890",
	"\"ok\"",
	"[]",
	"[[]]",
	"[null]",
	"{}",
	"<html><body>200 OK</body></html>",
	"\xff\xfe\x00",
	"{\"errors\":[]}",
	"{\"errors\":[null]}",
	"{\"errors\":[[{}]]}",
	"{\"errors\":{\"message\":\"x\"}}",
	"{\"errors\":[{\"message\":7,\"code\":{}}]}",
	"{\"errors\":[{\"message\":\"a\\r\\n250 ok\\u0000\\u001b[0m\"}]}",
	"{\"errors\":[{\"message\":\"\\ud800\"}]}",
	"{\"results\":7}",
	"{\"results\":{\"id\":{}}}",
	"{\"results\":{\"id\":\"\",\"total_accepted_recipients\":1}}",
	"{\"results\":{\"id\":\"1\",\"total_accepted_recipients\":-1}}",
	"{\"results\":{\"id\":\"1\",\"total_accepted_recipients\":1e400}}",
	"{\"results\":{\"id\":\"1\",\"id\":\"2\"}}",
	"{\"results\":{\"rcpt_to_errors\":[{\"message\":[]}]}}",
	"[{\"MessageID\":7,\"Status\":\"Received\"}]",
	"[{\"MessageID\":\"a\",\"Status\":\"Received\"},7]",
	"{\"Code\":1,\"Message\":\"%s%n\\r\\n.\\r\\n\"}",
	"{\"error\":{\"error\":{\"message\":\"x\"}}}",
	DEEP,
	"{\"errors\":" DEEP DEEP,
};

static void
check_outcome(const struct api_format *f, unsigned status, const char *body,
	      size_t len)
{
	struct api_outcome o;
	size_t n;

	outcome(f, status, body, len, &o);
	n = strlen(o.reply.text);
	assert_true(n > 0 && n <= SMTP_REPLY_TEXT_MAX);
	assert_true(utf8_is_printable(o.reply.text, n));
	assert_true(strlen(o.id) <= API_ID_MAX);
	assert_true((o.kind == API_ACCEPTED) == (o.reply.code == 250));
}

void
check_hostile_answers(const struct api_format *f)
{
	static const unsigned statuses[] = { 0,	  200, 202, 400, 401, 403,
					     404, 409, 420, 422, 429, 503 };

	for (size_t i = 0; i < N_ELEMENTS(hostile); i++) {
		for (size_t s = 0; s < N_ELEMENTS(statuses); s++) {
			for (size_t n = 0; n <= strlen(hostile[i]); n++)
				check_outcome(f, statuses[s], hostile[i], n);
		}
	}
}

/* --- before the call ------------------------------------------------------ */

unsigned
fits_wrong(const struct api_format *f, const struct fit_row *rows, size_t n)
{
	unsigned wrong = 0;

	for (size_t i = 0; i < n; i++) {
		struct smtp_reply reply = { 0 };
		bool fits = f->fits(&rows[i].o, &reply);

		if (fits == (rows[i].refusal == NULL) &&
		    fits == !smtp_reply_is_set(&reply) &&
		    (fits || (reply.code == 550 &&
			      strcmp(reply.text, rows[i].refusal) == 0)))
			continue;
		printf("%s: %s\n", rows[i].name, fits ? "fits" : reply.text);
		wrong++;
	}
	return wrong;
}

unsigned
heads_wrong(const struct api_format *f, const struct head_row *rows, size_t n)
{
	unsigned wrong = 0;

	for (size_t i = 0; i < n; i++) {
		char subaccount[64];
		struct outgoing o = { LEAST };
		struct api_head h = { 0 };
		DYNBUF_AUTO headers;
		bool good;

		dynbuf_init(&headers, 10000);
		if (rows[i].subaccount != NULL) {
			strcpy(subaccount, rows[i].subaccount);
			o.subaccount = subaccount;
		}
		good = f->head(NULL, &o, rows[i].key, &h);
		for (size_t k = 0; k < h.n_headers; k++)
			dynbuf_addf(&headers, "%s\n", h.headers[k]);
		if (good == (rows[i].path != NULL) &&
		    (!good ||
		     (strcmp(h.path, rows[i].path) == 0 &&
		      strcmp(h.basic, rows[i].basic) == 0 &&
		      strcmp(dynbuf_str(&headers), rows[i].headers) == 0)))
			continue;
		printf("%s: %d %s %s\n", rows[i].key, good, h.path,
		       dynbuf_str(&headers));
		wrong++;
	}
	return wrong;
}
