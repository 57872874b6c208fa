/* SPDX-License-Identifier: MIT */
/*
 * The EmailDelivery dialect through its door, judge(): each row is a message
 * and one member of what is handed over, or the refusal.
 * "V1" to "V18" are headers as real clients were seen to send them.
 */
#include "policy/dialect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <gmime/gmime.h>

#include "policy/account.h"
#include "policy/body.h"
#include "policy/dynbuf.h"
#include "policy/json_text.h"
#include "policy/judge.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/route.h"

static const struct route_list no_routes = { 0 };

#define E_ACUTE "\xc3\xa9"
#define QUOTE "\xe2\x80\x99" /* U+2019 */
#define NIHON "\xe6\x97\xa5\xe6\x9c\xac"
#define VARIABLES "X-Transactional-Variables"
#define TAG "X-Transactional-Tag"
#define ROUTE "X-Transactional-Route"
#define TEMPLATE "X-Transactional-Template"
#define F "From: Shop <shop@example.com>\n"
#define S "Subject: S\n"
#define HTML "Content-Type: text/html; charset=utf-8\n"

enum member {
	FROM_NAME,
	FROM_EMAIL,
	RETURN_PATH,
	SUBJECT,
	REPLY_TO,
	MESSAGE_ID,
	TAG_,
	TEMPLATE_ID,
	VARIABLES_,
	ROUTE_ID,
	BODY,
};

static const size_t members[] = {
	[FROM_NAME] = offsetof(struct outgoing, from_name),
	[FROM_EMAIL] = offsetof(struct outgoing, from_email),
	[RETURN_PATH] = offsetof(struct outgoing, return_path),
	[SUBJECT] = offsetof(struct outgoing, subject),
	[REPLY_TO] = offsetof(struct outgoing, reply_to),
	[MESSAGE_ID] = offsetof(struct outgoing, message_id),
	[TAG_] = offsetof(struct outgoing, tag),
	[TEMPLATE_ID] = offsetof(struct outgoing, template_id),
	[VARIABLES_] = offsetof(struct outgoing, variables),
	[ROUTE_ID] = offsetof(struct outgoing, route_id),
	[BODY] = offsetof(struct outgoing, html),
};

/* --- a message from text -------------------------------------------------- */

/* Fields as libmilter gives them: folds are LF and white space, one blank
 * behind the colon is gone. */
static void
give_headers(struct message *m, const char *text)
{
	while (*text != '\0') {
		size_t name = strcspn(text, ":");
		const char *value = text + name + 1;
		const char *end = strchr(value, '\n');
		char *n = strndup(text, name);

		value += *value == ' ';
		while (end != NULL && (end[1] == ' ' || end[1] == '\t'))
			end = strchr(end + 1, '\n');
		assert_non_null(end);
		assert_non_null(n);
		message_header(m, n, value, (size_t)(end - value));
		free(n);
		text = end + 1;
	}
}

static struct account *
account_with(size_t n_routes)
{
	struct account *a = account_new("acme");

	for (size_t i = 1; i <= n_routes; i++) {
		char id[8];

		assert_true(snprintf(id, sizeof(id), "r%zu", i) > 0);
		assert_true(account_add_route(a, id, i == 1 ? "Main" : ""));
	}
	return a;
}

static void
judge_message(const char *headers, const char *body, size_t body_len,
	      size_t n_routes, struct verdict *v)
{
	struct account *a = account_with(n_routes);
	struct message *m = message_new("bounce@example.com");

	message_recipient(m, "r@example.com");
	give_headers(m, headers);
	(void)message_body(m, body, body_len);
	judge(m, a, &dialect_emaildelivery, &no_routes, v);
	message_free(&m);
	account_free(&a);
}

static const char *
member_of(const struct outgoing *o, enum member which)
{
	return *(char *const *)((const char *)o + members[which]);
}

/* --- rows ----------------------------------------------------------------- */

struct row {
	const char *name;
	const char *headers;
	const char *body; /* NULL: "<p>x" */
	enum member member;
	const char *want; /* NULL: absent */
	/* Refused: the whole text. */
	const char *refusal;
	int code;	      /* 0: 550 */
	const char *enhanced; /* NULL: 5.6.0 */
	size_t n_routes;      /* 0: one; NONE: none */
};

#define NONE 99

static bool
is_refused_as(const struct row *r, const struct verdict *v)
{
	return v->kind == VERDICT_REFUSE && v->outgoing == NULL &&
	       v->reply.code == (r->code ? r->code : 550) &&
	       strcmp(v->reply.enhanced, r->enhanced ? r->enhanced : "5.6.0") ==
		   0 &&
	       strcmp(v->reply.text, r->refusal) == 0;
}

static bool
is_handed_over_as(const struct row *r, const struct verdict *v)
{
	const char *got;

	if (v->kind != VERDICT_HAND_OVER || v->outgoing == NULL)
		return false;
	got = member_of(v->outgoing, r->member);
	if (got == NULL || r->want == NULL)
		return got == r->want;
	return strcmp(got, r->want) == 0;
}

static bool
check_row(const struct row *r)
{
	const char *body = r->body ? r->body : "<p>x";
	struct verdict v;
	bool ok;

	judge_message(r->headers, body, strlen(body),
		      r->n_routes == NONE ? 0
		      : r->n_routes	  ? r->n_routes
					  : 1,
		      &v);
	ok = r->refusal ? is_refused_as(r, &v) : is_handed_over_as(r, &v);
	if (!ok && v.outgoing == NULL)
		printf("%s: %d %s %s\n", r->name, v.reply.code,
		       v.reply.enhanced, v.reply.text);
	else if (!ok)
		printf("%s: \"%s\"\n", r->name,
		       member_of(v.outgoing, r->member)
			   ? member_of(v.outgoing, r->member)
			   : "(absent)");
	verdict_clear(&v);
	assert_null(v.outgoing);
	return ok;
}

static void
check_rows(const struct row *rows, size_t n)
{
	unsigned bad = 0;

	for (size_t i = 0; i < n; i++)
		bad += !check_row(&rows[i]);
	assert_int_equal(bad, 0);
}

#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof((rows)[0]))

/* --- what is true of every header ----------------------------------------- */

static const struct {
	const char *name;
	enum member member;
	const char *value;
	const char *absent; /* when there is no such header, or an empty one */
	const char *empty_refusal;
	bool encoded; /* RFC 2047 is decoded */
} headers[] = {
	{ TAG, TAG_, "t1", NULL, NULL, true },
	{ ROUTE, ROUTE_ID, "r1", "r1", NULL, true },
	{ TEMPLATE, TEMPLATE_ID, "T-1", NULL, NULL, true },
	{ VARIABLES, VARIABLES_, "{\"a\":1}", NULL, NULL, true },
	{ "Reply-To", REPLY_TO, "joe@example.com", NULL, NULL, true },
	{ "Message-ID", MESSAGE_ID, "<1@example.com>", NULL, NULL, false },
	{ "Subject", SUBJECT, "S2", NULL, "Subject: is empty", true },
	{ "From", FROM_EMAIL, "joe@example.com", NULL,
	  "From: not an address of the form Name <local@domain>", false },
};

#define N_HEADERS (sizeof(headers) / sizeof(headers[0]))

/* The other headers that must be there, so that this one decides. */
static const char *
others(size_t i)
{
	if (headers[i].member == FROM_EMAIL)
		return S;
	return headers[i].member == SUBJECT ? F : F S;
}

static void
check_header(size_t i, const char *what, const char *fields, const char *want,
	     const char *refusal)
{
	DYNBUF_AUTO text;
	struct row row = { .member = headers[i].member,
			   .want = want,
			   .refusal = refusal };
	char name[100];

	dynbuf_init(&text, 4096);
	dynbuf_addf(&text, "%s%s", others(i), fields);
	assert_true(
	    snprintf(name, sizeof(name), "%s: %s", headers[i].name, what) > 0);
	row.name = name;
	row.headers = dynbuf_str(&text);
	if (!check_row(&row))
		fail();
}

static void
test_every_header(void **state)
{
	static const struct {
		const char *what;
		const char *format; /* name, value; NULL: encoded */
	} shapes[] = {
		{ "present", "%s: %s\n" },
		{ "without a blank", "%s:%s\n" },
		{ "blanks around", "%s:   \t%s \t\n" },
		{ "empty first line", "%s:\n %s\n" },
		{ "blank first line", "%s: \n\t%s\n" },
		{ "the first of two", "%1$s: %2$s\n%1$s: {other@x,\n" },
		{ "the first of two, the second is empty",
		  "%1$s: %2$s\n%1$s:\n" },
	};

	(void)state;
	for (size_t i = 0; i < N_HEADERS; i++) {
		for (size_t k = 0; k < sizeof(shapes) / sizeof(shapes[0]);
		     k++) {
			char field[300];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			int n = snprintf(field, sizeof(field), shapes[k].format,
					 headers[i].name, headers[i].value);
#pragma GCC diagnostic pop

			assert_true(n > 0 && n < (int)sizeof(field));
			check_header(i, shapes[k].what, field, headers[i].value,
				     NULL);
		}
	}
}

static void
test_every_header_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_HEADERS; i++) {
		for (int upper = 0; upper < 2; upper++) {
			char *name = upper
					 ? g_ascii_strup(headers[i].name, -1)
					 : g_ascii_strdown(headers[i].name, -1);
			char field[300];

			assert_true(snprintf(field, sizeof(field), "%s: %s\n",
					     name, headers[i].value) > 0);
			check_header(i, name, field, headers[i].value, NULL);
			g_free(name);
		}
	}
}

static void
test_every_header_absent(void **state)
{
	static const char *const empties[] = { "", " ", " \t ", "\n ",
					       " \n \n\t" };

	(void)state;
	for (size_t i = 0; i < N_HEADERS; i++) {
		if (headers[i].member != SUBJECT &&
		    headers[i].member != FROM_EMAIL)
			check_header(i, "absent", "", headers[i].absent, NULL);
		for (size_t k = 0; k < sizeof(empties) / sizeof(empties[0]);
		     k++) {
			char field[100];

			assert_true(snprintf(field, sizeof(field), "%s:%s\n",
					     headers[i].name, empties[k]) > 0);
			check_header(i, "empty", field, headers[i].absent,
				     headers[i].empty_refusal);
		}
		/* An empty first one counts, too. */
		if (headers[i].empty_refusal == NULL) {
			char fields[200];

			assert_true(snprintf(fields, sizeof(fields),
					     "%1$s:\n%1$s: %2$s\n",
					     headers[i].name,
					     headers[i].value) > 0);
			check_header(i, "first empty", fields,
				     headers[i].absent, NULL);
		}
	}
}

/* As encoded words, whole, of one byte each, and of odd charsets. */
static void
test_every_header_encoded(void **state)
{
	static const char *const charsets[] = { "utf-8",       "us-ascii",
						"iso-8859-1",  "koi8-r",
						"iso-2022-jp", "gb18030" };

	(void)state;
	for (size_t i = 0; i < N_HEADERS; i++) {
		const char *v = headers[i].value;

		if (!headers[i].encoded)
			continue;
		for (size_t k = 0;
		     k < 2 * sizeof(charsets) / sizeof(charsets[0]); k++) {
			const char *charset = charsets[k / 2];
			char *b = g_base64_encode((const guchar *)v, strlen(v));
			DYNBUF_AUTO f;

			dynbuf_init(&f, 4096);
			dynbuf_addf(&f, "%s: =?%s?b?%s?=\n", headers[i].name,
				    charset, b);
			if (k % 2) {
				dynbuf_truncate(&f, 0);
				dynbuf_addf(&f, "%s:", headers[i].name);
				for (size_t c = 0; v[c] != '\0'; c++)
					dynbuf_addf(&f, " =?%s?Q?=%02X?=%s",
						    charset, (unsigned)v[c],
						    c % 3 ? "" : "\n");
				dynbuf_adds(&f, " \n");
			}
			check_header(i, charset, dynbuf_str(&f), v, NULL);
			g_free(b);
		}
	}
}

static void
test_every_header_control(void **state)
{
	static const char *const bad[] = { "a\x01",
					   "a\rb",
					   "\x7f",
					   "a\xc2\x9b"
					   "b",
					   "\x1b[0m",
					   "=?utf-8?q?a=0Ab?=",
					   "=?utf-8?q?a=0D=0A_b?=",
					   "=?utf-8?b?YQBi?=",
					   "=?iso-8859-1?q?a=00b?=" };
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < N_HEADERS; i++) {
		for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
			char refusal[100];
			DYNBUF_AUTO text;
			struct row row = { .refusal = refusal };

			if (!headers[i].encoded)
				continue;
			dynbuf_init(&text, 4096);
			dynbuf_addf(&text, "%s%s: %s\n", others(i),
				    headers[i].name, bad[k]);
			assert_true(snprintf(refusal, sizeof(refusal),
					     "%s: holds a control character",
					     headers[i].name) > 0);
			row.name = headers[i].name;
			row.headers = dynbuf_str(&text);
			wrong += !check_row(&row);
		}
	}
	assert_int_equal(wrong, 0);
}

/* --- tag, route, template ------------------------------------------------- */

#define BAD_TAG TAG ": a tag has letters, digits, '.', '_' and '-' only"
#define LONG_TAG TAG ": a tag has at most 18 characters"

static const struct row tags[] = {
	{ "V17", F S TAG ":  Foo.Bar-1_x \n", .member = TAG_,
	  .want = "foo.bar-1_x" },
	{ "all characters", F S TAG ": AZaz09._-\n", .member = TAG_,
	  .want = "azaz09._-" },
	{ "18", F S TAG ": 123456789012345678\n", .member = TAG_,
	  .want = "123456789012345678" },
	{ "19", F S TAG ": 1234567890123456789\n", .refusal = LONG_TAG },
	{ "18 and blanks", F S TAG ":   123456789012345678   \n",
	  .member = TAG_, .want = "123456789012345678" },
	{ "encoded", F S TAG ": =?utf-8?Q?AbC?=\n", .member = TAG_,
	  .want = "abc" },
	{ "a blank inside", F S TAG ": a b\n", .refusal = BAD_TAG },
	{ "a fold inside", F S TAG ": a\n b\n", .refusal = BAD_TAG },
	{ "a letter of another script", F S TAG ": caf" E_ACUTE "\n",
	  .refusal = BAD_TAG },
	{ "a slash", F S TAG ": a/b\n", .refusal = BAD_TAG },
	{ "a plus", F S TAG ": a+b\n", .refusal = BAD_TAG },
	{ "before the digits", F S TAG ": a/\n", .refusal = BAD_TAG },
	{ "behind the digits", F S TAG ": a:\n", .refusal = BAD_TAG },
	{ "before the letters", F S TAG ": a@\n", .refusal = BAD_TAG },
	{ "behind the letters", F S TAG ": a[\n", .refusal = BAD_TAG },
	{ "before the small letters", F S TAG ": a`\n", .refusal = BAD_TAG },
	{ "behind the small letters", F S TAG ": a{\n", .refusal = BAD_TAG },
	{ "a comma", F S TAG ": a,b\n", .refusal = BAD_TAG },
	{ "of two, the first", F S TAG ": a\n" TAG ": b\n", .member = TAG_,
	  .want = "a" },
	{ "of two, the first is bad", F S TAG ": a b\n" TAG ": b\n",
	  .refusal = BAD_TAG },
};

static void
test_tags(void **state)
{
	(void)state;
	CHECK_ROWS(tags);
}

static const struct row routes[] = {
	{ "one, none named", F S, .member = ROUTE_ID, .want = "r1" },
	{ "one, named", F S ROUTE ": r1\n", .member = ROUTE_ID, .want = "r1" },
	{ "one, another named", F S ROUTE ": r2\n",
	  .refusal = ROUTE ": not a route of this account; it has: r1 (Main)" },
	{ "its name is no id", F S ROUTE ": Main\n",
	  .refusal = ROUTE ": not a route of this account; it has: r1 (Main)" },
	{ "several, none named", F S, .n_routes = 3,
	  .refusal = ROUTE ": this account has several routes, name one: "
			   "r1 (Main), r2, r3" },
	{ "several, an empty one named", F S ROUTE ": \n", .n_routes = 2,
	  .refusal = ROUTE ": this account has several routes, name one: "
			   "r1 (Main), r2" },
	{ "several, one named", F S ROUTE ": r3\n", .n_routes = 3,
	  .member = ROUTE_ID, .want = "r3" },
	{ "several, one named in a word", F S ROUTE ": =?utf-8?q?r2?=\n",
	  .n_routes = 3, .member = ROUTE_ID, .want = "r2" },
	{ "several, another named", F S ROUTE ": r4\n", .n_routes = 2,
	  .refusal = ROUTE ": not a route of this account; it has: r1 (Main), "
			   "r2" },
	{ "no route", F S, .n_routes = NONE, .enhanced = "5.7.1",
	  .refusal = "This account has no route to send by" },
	{ "no route, one named", F S ROUTE ": r1\n", .n_routes = NONE,
	  .enhanced = "5.7.1",
	  .refusal = "This account has no route to send by" },
};

static void
test_routes(void **state)
{
	(void)state;
	CHECK_ROWS(routes);
}

#define X8 "12345678"
#define X64 X8 X8 X8 X8 X8 X8 X8 X8

static const struct row templates[] = {
	{ "an id", F S TEMPLATE ": Ab-1_\n", .member = TEMPLATE_ID,
	  .want = "Ab-1_" },
	{ "128", F S TEMPLATE ": " X64 X64 "\n", .member = TEMPLATE_ID,
	  .want = X64 X64 },
	{ "129", F S TEMPLATE ": " X64 X64 "9\n",
	  .refusal = TEMPLATE ": not a template id: too long" },
	{ "without subject", F TEMPLATE ": t\n", .member = SUBJECT,
	  .want = NULL },
	{ "with an empty subject", F TEMPLATE ": t\nSubject:\n",
	  .member = SUBJECT, .want = NULL },
	{ "with a subject", F TEMPLATE ": t\nSubject: X\n", .member = SUBJECT,
	  .want = "X" },
	{ "the order of headers does not matter",
	  F "Subject:\n" TEMPLATE ": t\n", .member = TEMPLATE_ID, .want = "t" },
	{ "without body", F TEMPLATE ": t\n", .body = "", .member = BODY,
	  .want = NULL },
	{ "with a blank body", F TEMPLATE ": t\n", .body = " \r\n\r\n",
	  .member = BODY, .want = NULL },
	{ "with a body", F HTML TEMPLATE ": t\n", .body = "<b>", .member = BODY,
	  .want = "<b>" },
	{ "with nothing usable", F TEMPLATE ": t\nContent-Type: image/png\n",
	  .body = "zz", .member = BODY, .want = NULL },
	{ "with a body that cannot be read",
	  F TEMPLATE ": t\nContent-Type: text/html; charset=x-none\n",
	  .body = "\xe9",
	  .refusal = "Content-Type: unknown charset \"x-none\"" },
	{ "with an ambiguous body",
	  F TEMPLATE ": t\nContent-Type: multipart/mixed; boundary=a; "
		     "boundary=b\n",
	  .body = "x", .refusal = "Content-Type: two boundary parameters" },
	{ "without From", TEMPLATE ": t\n", .refusal = "From: header missing" },
	{ "an empty one is none", F TEMPLATE ":\n",
	  .refusal = "Subject: header missing" },
};

static void
test_templates(void **state)
{
	(void)state;
	CHECK_ROWS(templates);
}

/* --- variables ------------------------------------------------------------ */

#define BAD_JSON VARIABLES ": not valid JSON: "
#define V3                                                               \
	"{\"campaign_id\": \"" E_ACUTE "t" E_ACUTE "\", \"tags\": [\"na" \
	"\xc3\xafve\"]}"
#define V5                                                                  \
	"{\"campaign_id\":\"my_campaign\",\"metadata\":{\"has_pets\":true," \
	"\"pet_name\":\"Spot\",\"order\":\"A-12345678901234567890\"},"      \
	"\"tags\":[\"cat\",\"dog\"],\"options\":{\"open_tracking\":false,"  \
	"\"click_tracking\":true,\"transactional\":true}}"
#define X40 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define NESTED_16 "[[[[[[[[[[[[[[[["
#define CLOSED_16 "]]]]]]]]]]]]]]]]"

static const struct row variables[] = {
	{ "V1, PHPMailer",
	  F S VARIABLES
	  ": =?us-ascii?Q?{\"options\":{\"open=5Ftracking\":false,"
	  "\"click=5Ftr?=\n"
	  " =?us-ascii?Q?acking\":false,\"transactional\":true,\"sandbox\":fa?="
	  "\n =?us-ascii?Q?lse}}?=\n",
	  .member = VARIABLES_,
	  .want = "{\"options\":{\"open_tracking\":false,\"click_tracking\":"
		  "false,\"transactional\":true,\"sandbox\":false}}" },
	{ "V2, Python, compact",
	  F S VARIABLES
	  ": =?utf-8?b?eyJjYW1wYWlnbl9pZCI6Im15X2NhbXBhaWduIiwibWV0YWRhdGEi?="
	  "\n =?utf-8?b?OnsiaGFzX3BldHMiOnRydWUsInBldF9uYW1lIjoiU3BvdCIsIm9yZG"
	  "VyIjoiQS0x?=\n"
	  " =?utf-8?b?MjM0NTY3ODkwMTIzNDU2Nzg5MCJ9LCJ0YWdzIjpbImNhdCIsImRvZyJ"
	  "dLCJvcHRp?=\n"
	  " =?utf-8?b?b25zIjp7Im9wZW5fdHJhY2tpbmciOmZhbHNlLCJjbGlja190cmFja2l"
	  "uZyI6dHJ1?=\n =?utf-8?q?e=2C=22transactional=22=3Atrue=7D=7D?=\n",
	  .member = VARIABLES_, .want = V5 },
	{ "V3, Python, partly encoded",
	  F S VARIABLES
	  ": {\"campaign_id\": =?utf-8?b?IsOpdMOpIiwgInRhZ3MiOiBbIm5hw692ZSJd?="
	  "\n =?utf-8?q?=7D?=\n",
	  .member = VARIABLES_, .want = V3 },
	{ "V4, Python, folded at blanks",
	  F S VARIABLES
	  ": {\"campaign_id\": \"my_campaign\", \"metadata\": {\"has_pets\": "
	  "true,\n \"pet_name\": \"Spot\", \"order\": "
	  "\"A-12345678901234567890\"}, \"tags\": [\"cat\",\n \"dog\"]}\n",
	  .member = VARIABLES_,
	  .want = "{\"campaign_id\": \"my_campaign\", \"metadata\": "
		  "{\"has_pets\": true, \"pet_name\": \"Spot\", \"order\": "
		  "\"A-12345678901234567890\"}, \"tags\": [\"cat\", "
		  "\"dog\"]}" },
	{ "V5, Python MIMEText, empty first line",
	  F S VARIABLES ": \n " V5 "\n", .member = VARIABLES_, .want = V5 },
	{ "V6, nodemailer",
	  F S "x-transactional-VARIABLES: "
	      "=?UTF-8?Q?=7B=22metadata=22=3A=7B=22k=22=3A=22xxxx?=\n"
	      " =?UTF-8?Q?" X40 "?=\n =?UTF-8?Q?" X40 "?=\n"
	      " =?UTF-8?Q?" X40 "=22?= =?UTF-8?Q?=7D=7D?=\n",
	  .member = VARIABLES_,
	  .want = "{\"metadata\":{\"k\":\"xxxx" X40 X40 X40 "\"}}" },
	{ "V7, Ruby",
	  F S VARIABLES
	  ": =?UTF-8?Q?{=22campaign=5Fid=22:=22=C3=A9t=C3=A9=22}?=\n",
	  .member = VARIABLES_,
	  .want = "{\"campaign_id\":\"" E_ACUTE "t" E_ACUTE "\"}" },
	{ "V9, a fold in a string is not repaired",
	  F S VARIABLES ": {\"a\":\"my_awes\n ome\"}\n", .member = VARIABLES_,
	  .want = "{\"a\":\"my_awes ome\"}" },
	{ "PHP, base64 words with padding",
	  F S VARIABLES ": =?UTF-8?B?eyJhIjo=?=\n =?UTF-8?B?MTIzNA==?=\n"
			" =?UTF-8?B?LCJiIjoyfQ==?=\n",
	  .member = VARIABLES_, .want = "{\"a\":1234,\"b\":2}" },
	{ "numbers are left alone",
	  F S VARIABLES ": {\"a\":12345678901234567890,\"b\":1.0,\"c\":-0,"
			"\"d\":1E+02,\"e\":0.10}\n",
	  .member = VARIABLES_,
	  .want = "{\"a\":12345678901234567890,\"b\":1.0,\"c\":-0,"
		  "\"d\":1E+02,\"e\":0.10}" },
	{ "blanks are left alone",
	  F S VARIABLES ":  { \"a\" :  1 , \"b\":[ ]}"
			" \n",
	  .member = VARIABLES_, .want = "{ \"a\" :  1 , \"b\":[ ]}" },
	{ "escapes are left alone",
	  F S VARIABLES ": {\"\\u0061\":\"\\u00e9\\/\\ud83d\\ude00\"}\n",
	  .member = VARIABLES_,
	  .want = "{\"\\u0061\":\"\\u00e9\\/\\ud83d\\ude00\"}" },
	{ "UTF-8 is left alone",
	  F S VARIABLES ": {\"" E_ACUTE "\":\"" NIHON "\"}\n",
	  .member = VARIABLES_, .want = "{\"" E_ACUTE "\":\"" NIHON "\"}" },
	{ "a key twice", F S VARIABLES ": {\"a\":1,\"a\":2}\n",
	  .member = VARIABLES_, .want = "{\"a\":1,\"a\":2}" },
	{ "an empty object", F S VARIABLES ": {}\n", .member = VARIABLES_,
	  .want = "{}" },
	{ "32 levels",
	  F S VARIABLES ": {\"a\":" NESTED_16 "[[[[[[[[[[[[[[["
			"]]]]]]]]]]]]]]]" CLOSED_16 "}\n",
	  .member = VARIABLES_,
	  .want = "{\"a\":" NESTED_16 "[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]" CLOSED_16
		  "}" },
	{ "33 levels",
	  F S VARIABLES ": {\"a\":" NESTED_16 NESTED_16 CLOSED_16 CLOSED_16
			"}\n",
	  .refusal = VARIABLES ": nested deeper than 32 levels" },
	{ "V17, an array", F S VARIABLES ": [1,2]\n",
	  .refusal = VARIABLES ": not a JSON object" },
	{ "a string", F S VARIABLES ": \"a\"\n",
	  .refusal = VARIABLES ": not a JSON object" },
	{ "a number", F S VARIABLES ": 7\n",
	  .refusal = VARIABLES ": not a JSON object" },
	{ "null", F S VARIABLES ": null\n",
	  .refusal = VARIABLES ": not a JSON object" },
	{ "V17, trailing comma", F S VARIABLES ": {\"a\":1,}\n",
	  .refusal = BAD_JSON "syntax error at column 8" },
	{ "V10, missing comma", F S VARIABLES ": {\"a\":1 \"b\":2}\n",
	  .refusal = BAD_JSON "syntax error at column 10" },
	{ "single quotes", F S VARIABLES ": {'a':1}\n",
	  .refusal = BAD_JSON "syntax error at column 2" },
	{ "a word", F S VARIABLES ": hello\n",
	  .refusal = BAD_JSON "syntax error at column 5" },
	{ "cut off", F S VARIABLES ": {\"a\":\n",
	  .refusal = BAD_JSON "it ends too early at column 5" },
	{ "two objects", F S VARIABLES ": {}{}\n",
	  .refusal = BAD_JSON "something follows the JSON text at column 3" },
	{ "NUL escaped", F S VARIABLES ": {\"a\":\"\\u0000\"}\n",
	  .refusal = BAD_JSON "a NUL character at column 13" },
	{ "half a surrogate", F S VARIABLES ": {\"a\":\"\\ud83d\"}\n",
	  .refusal = BAD_JSON "syntax error at column 13" },
	{ "the same, in no charset",
	  F S VARIABLES ": =?x-none?q?{=22a=22:1}?=\n", .member = VARIABLES_,
	  .want = "{\"a\":1}" },
	{ "of two, the first",
	  F S VARIABLES ": {\"a\":1}\n" VARIABLES ": {\"a\":2}\n",
	  .member = VARIABLES_, .want = "{\"a\":1}" },
	{ "of two, the first is bad", F S VARIABLES ": {\n" VARIABLES ": {}\n",
	  .refusal = BAD_JSON "it ends too early at column 1" },
};

static void
test_variables(void **state)
{
	(void)state;
	CHECK_ROWS(variables);
}

/* A NUL cannot come by SMTP, but by whoever calls us. */
static void
test_nul_in_header(void **state)
{
	static const char value[] = "{\"a\":1}\0{";
	struct account *a = account_with(1);
	struct message *m = message_new("");
	struct verdict v;

	(void)state;
	message_recipient(m, "r@example.com");
	give_headers(m, F S);
	message_header(m, VARIABLES, value, sizeof(value) - 1);
	judge(m, a, &dialect_emaildelivery, &no_routes, &v);
	assert_int_equal(v.kind, VERDICT_REFUSE);
	assert_string_equal(v.reply.text,
			    VARIABLES ": holds a control character");
	verdict_clear(&v);
	message_free(&m);
	account_free(&a);
}

/* --- From, Subject, Reply-To, Message-ID ---------------------------------- */

#define NO_ADDRESS "From: not an address of the form Name <local@domain>"
#define TWO "From: must be one address, without a group"

static const struct row froms[] = {
	{ "name", S "From: Joe User <joe@example.com>\n", .member = FROM_NAME,
	  .want = "Joe User" },
	{ "address", S "From: Joe User <Joe@Example.com>\n",
	  .member = FROM_EMAIL, .want = "Joe@Example.com" },
	{ "no name", S "From: joe@example.com\n", .member = FROM_NAME,
	  .want = "" },
	{ "quoted name", S "From: \"Doe, Joe\" <joe@example.com>\n",
	  .member = FROM_NAME, .want = "Doe, Joe" },
	{ "encoded name", S "From: =?utf-8?Q?Doe=2C_Jos=C3=A9?= <j@x.com>\n",
	  .member = FROM_NAME, .want = "Doe, Jos" E_ACUTE },
	{ "encoded name in several words",
	  S "From: =?utf-8?B?Sm9zw6k=?=\n =?utf-8?B?IERvZQ==?= <j@x.com>\n",
	  .member = FROM_NAME, .want = "Jos" E_ACUTE " Doe" },
	{ "windows-1252 labelled iso-8859-1",
	  S "From: =?iso-8859-1?Q?Joe=92s?= <j@x.com>\n", .member = FROM_NAME,
	  .want = "Joe" QUOTE "s" },
	{ "8-bit name", S "From: Jos\xe9 <j@x.com>\n", .member = FROM_NAME,
	  .want = "Jos" E_ACUTE },
	{ "name in a comment", S "From: j@x.com (Joe)\n", .member = FROM_NAME,
	  .want = "Joe" },
	{ "folded", S "From: Joe\n User\n <j@x.com>\n", .member = FROM_NAME,
	  .want = "Joe User" },
	{ "UTF-8 address",
	  S "From: <jos" E_ACUTE "@b\xc3\xbc"
	    "cher.example>\n",
	  .member = FROM_EMAIL,
	  .want = "jos" E_ACUTE "@b\xc3\xbc"
		  "cher.example" },
	{ "of two headers, the first", S "From: a@x.com\nFrom: b@x.com\n",
	  .member = FROM_EMAIL, .want = "a@x.com" },
	{ "missing", S, .refusal = "From: header missing" },
	{ "empty", S "From:\n", .refusal = NO_ADDRESS },
	{ "a bare name", S "From: Joe User\n", .refusal = NO_ADDRESS },
	{ "a local part", S "From: joe\n", .refusal = NO_ADDRESS },
	{ "a name and a local part", S "From: Joe <joe>\n",
	  .refusal = NO_ADDRESS },
	{ "empty brackets", S "From: Joe <>\n", .refusal = NO_ADDRESS },
	{ "no domain", S "From: Joe <joe@>\n", .refusal = NO_ADDRESS },
	{ "two addresses", S "From: a@x.com, b@x.com\n", .refusal = TWO },
	{ "two, without a comma", S "From: <a@x.com> <b@x.com>\n",
	  .refusal = TWO },
	{ "an address and a word", S "From: a@x.com b\n", .refusal = TWO },
	{ "a second at sign", S "From: Joe <a@x.com@y.com>\n",
	  .refusal = NO_ADDRESS },
	{ "a group of one", S "From: G: a@x.com;\n", .refusal = TWO },
	{ "an empty group", S "From: G:;\n", .refusal = TWO },
	{ "a control character in the name", S "From: \"a\x01\" <a@x.com>\n",
	  .refusal = "From: holds a control character" },
	{ "a line end in the encoded name",
	  S "From: =?utf-8?q?a=0D=0AX?= <a@x.com>\n",
	  .refusal = "From: holds a control character" },
};

static void
test_from(void **state)
{
	(void)state;
	CHECK_ROWS(froms);
}

static void
test_from_with_commas(void **state)
{
	struct verdict v;
	DYNBUF_AUTO h;

	(void)state;
	dynbuf_init(&h, 10000);
	dynbuf_adds(&h, S "From: a@x.com");
	for (int i = 0; i < 2001; i++)
		dynbuf_adds(&h, ",");
	dynbuf_adds(&h, "\n");
	judge_message(dynbuf_str(&h), "<p>", 3, 1, &v);
	assert_int_equal(v.kind, VERDICT_REFUSE);
	assert_string_equal(v.reply.text, "From: more than one address");
	assert_string_equal(v.reply.enhanced, "5.6.0");
	verdict_clear(&v);
}

static const struct row texts[] = {
	{ "subject", F "Subject: Hello, world\n", .member = SUBJECT,
	  .want = "Hello, world" },
	{ "subject, encoded", F "Subject: =?utf-8?Q?R=C3=A9?= du mot\n",
	  .member = SUBJECT, .want = "R" E_ACUTE " du mot" },
	{ "subject, Japanese in two words",
	  F "Subject: =?iso-2022-jp?B?GyRCRnwbKEI=?=\n"
	    " =?iso-2022-jp?B?GyRCS1wbKEI=?=\n",
	  .member = SUBJECT, .want = NIHON },
	{ "subject, windows-1252 labelled iso-8859-1",
	  F "Subject: =?iso-8859-1?Q?It=92s?=\n", .member = SUBJECT,
	  .want = "It" QUOTE "s" },
	{ "subject, koi8-r", F "Subject: =?koi8-r?B?8NLJ18XU?=\n",
	  .member = SUBJECT,
	  .want = "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82" },
	{ "subject, 8-bit", F "Subject: caf\xe9\n", .member = SUBJECT,
	  .want = "caf" E_ACUTE },
	{ "subject, folded", F "Subject: a\n b\r\n\tc\n", .member = SUBJECT,
	  .want = "a b c" },
	{ "subject missing", F, .refusal = "Subject: header missing" },
	{ "subject empty", F "Subject:\n", .refusal = "Subject: is empty" },
	{ "subject of an empty word", F "Subject: =?utf-8?q?_?=\n",
	  .refusal = "Subject: is empty" },
	{ "reply-to", F S "Reply-To: \"Doe, Joe\" <j@x.com>\n",
	  .member = REPLY_TO, .want = "\"Doe, Joe\" <j@x.com>" },
	{ "reply-to, several", F S "Reply-To: a@x.com,\n b@x.com\n",
	  .member = REPLY_TO, .want = "a@x.com, b@x.com" },
	{ "reply-to, encoded",
	  F S "Reply-To: =?utf-8?q?Jos=C3=A9?= <j@x.com>"
	      "\n",
	  .member = REPLY_TO, .want = "Jos" E_ACUTE " <j@x.com>" },
	{ "message id", F S "Message-Id: <1.2@x.com>\n", .member = MESSAGE_ID,
	  .want = "<1.2@x.com>" },
	{ "message id, folded", F S "Message-ID:\n <1@x.com>\n",
	  .member = MESSAGE_ID, .want = "<1@x.com>" },
	{ "envelope sender", F S, .member = RETURN_PATH,
	  .want = "bounce@example.com" },
};

static void
test_texts(void **state)
{
	(void)state;
	CHECK_ROWS(texts);
}

/* It goes into keys and log lines: either text as all else, or left out, or
 * refused. */
static void
test_message_id_is_text(void **state)
{
	static const char *const bad[] = { "<1\x01@x>", "<1\r@x>", "<\xe9@x>",
					   "<a\x1b[0m>", "<\xc2\x9b>" };
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char fields[200];
		struct verdict v;
		const char *id;

		assert_true(snprintf(fields, sizeof(fields),
				     F S "Message-ID: %s\n", bad[i]) > 0);
		judge_message(fields, "<p>", 3, 1, &v);
		id = v.outgoing ? v.outgoing->message_id : NULL;
		if (id != NULL && strcmp(id, bad[i]) == 0) {
			printf("message id %zu: as it came\n", i);
			wrong++;
		}
		verdict_clear(&v);
	}
	assert_int_equal(wrong, 0);
}

/* All other headers are ignored, whatever is in them. */
static const struct row ignored[] = {
	{ "headers nobody knows",
	  F S
	  "X-Other: \x01\nCc: c@x.com\n"
	  "Bcc: \xff\nList-Unsubscribe: <x>\nReferences: <1@x>\nX-MSYS-API: {\n"
	  "Date: yesterday\nSender: evil@x.com\n",
	  .member = FROM_EMAIL, .want = "shop@example.com" },
	{ "headers of other dialects",
	  F S "X-MSYS-API: {\nX-Cmail-GroupName: "
	      "\x01\nX-Flexmail-Tag: a b c\nX-SMTPAPI: no\n",
	  .member = SUBJECT, .want = "S" },
	{ "the key", F S "X-Auth-APIKey: \x01secret\n", .member = SUBJECT,
	  .want = "S" },
	{ "a header that begins like one", F S "X-Transactional-Tags: a b\n",
	  .member = TAG_, .want = NULL },
};

static void
test_ignored(void **state)
{
	(void)state;
	CHECK_ROWS(ignored);
}

/* --- the body ------------------------------------------------------------- */

#define CT "Content-Type: "
#define NO_BODY "The message has no HTML or text part to send"
#define P(type) "--b\r\n" CT type "\r\n\r\n"

static const struct row bodies[] = {
	{ "html as it is", F S HTML, "<p>a & b</p>\r\n", .member = BODY,
	  .want = "<p>a & b</p>\r\n" },
	{ "text is escaped", F S, "1 < 2 & \"x\"\r\n  two\r\n", .member = BODY,
	  .want = "1 &lt; 2 &amp; &quot;x&quot;<br>\n&nbsp;&nbsp;two<br>\n" },
	{ "text with another charset", F S CT "text/plain; charset=koi8-r\n",
	  "\xf0<", .member = BODY, .want = "\xd0\x9f&lt;" },
	{ "text, flowed", F S CT "text/plain; format=flowed\n",
	  "hello \r\nworld\r\n", .member = BODY, .want = "hello world<br>\n" },
	{ "html of an alternative",
	  F S CT "multipart/alternative; boundary=b\n",
	  P("text/plain") "a\r\n" P("text/html") "<a>\r\n--b--", .member = BODY,
	  .want = "<a>" },
	{ "attachments are dropped", F S CT "multipart/mixed; boundary=b\n",
	  P("text/plain") "a\r\n--b\r\n" CT "text/html\r\n"
			  "Content-Disposition: attachment\r\n\r\n<a>\r\n" P(
			      "image/png") "zz\r\n--b--",
	  .member = BODY, .want = "a" },
	{ "nothing", F S, "", .refusal = NO_BODY },
	{ "blanks", F S HTML, " \r\n\t", .refusal = NO_BODY },
	{ "an attachment only",
	  F S CT "text/html\nContent-Disposition: "
		 "attachment\n",
	  "<a>", .refusal = NO_BODY },
	{ "a picture only", F S CT "image/png\n", "zz", .refusal = NO_BODY },
	{ "no boundary", F S CT "multipart/mixed\n", "--b\r\n\r\nx",
	  .refusal = NO_BODY ": Content-Type: multipart without a boundary" },
	{ "unknown encoding", F S HTML "Content-Transfer-Encoding: x\n", "<p>",
	  .refusal =
	      NO_BODY ": Content-Transfer-Encoding: not a known encoding" },
	{ "unknown charset", F S CT "text/html; charset=x-none\n", "\xe9",
	  .refusal = "Content-Type: unknown charset \"x-none\"" },
	{ "two Content-Types", F S HTML CT "text/plain\n", "x",
	  .refusal = "Content-Type: given twice, not the same" },
};

static void
test_bodies(void **state)
{
	(void)state;
	CHECK_ROWS(bodies);
}

static void
test_body_has_a_length(void **state)
{
	struct verdict v;

	(void)state;
	judge_message(F S HTML, "a\0b", 3, 1, &v);
	assert_int_equal(v.kind, VERDICT_HAND_OVER);
	assert_int_equal(v.outgoing->html_len, 5);
	assert_string_equal(v.outgoing->html, "a\xef\xbf\xbd"
					      "b");
	verdict_clear(&v);
}

static void
test_oversize(void **state)
{
	static const struct {
		const char *name;
		const char *headers;
		char fill;
		size_t len;
		const char *text; /* NULL: handed over */
	} v[] = {
		{ "html, the largest", F S HTML, '<', BODY_KEPT_MAX, NULL },
		{ "html, one more", F S HTML, '<', BODY_KEPT_MAX + 1,
		  "The message text is larger than 10240000 bytes" },
		{ "html, too large, with a template", F S HTML TEMPLATE ": t\n",
		  '<', BODY_KEPT_MAX + 1,
		  "The message text is larger than 10240000 bytes" },
		{ "text that grows most", F S, '"', BODY_KEPT_MAX, NULL },
		{ "text that grows more as HTML", F S, '\t', 3300000,
		  "The message text is too large" },
		{ "text, one more", F S, 'a', BODY_KEPT_MAX + 1,
		  "The message text is larger than 10240000 bytes" },
		{ "latin1 that grows", F S CT "text/html; charset=latin1\n",
		  '\xe9', BODY_KEPT_MAX / 2 + 1,
		  "The message text is larger than 10240000 bytes" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		char *body = malloc(v[i].len);
		struct verdict verdict;

		assert_non_null(body);
		memset(body, v[i].fill, v[i].len);
		body[0] = v[i].fill == '\t' ? 'x' : v[i].fill;
		judge_message(v[i].headers, body, v[i].len, 1, &verdict);
		if ((verdict.outgoing != NULL) != (v[i].text == NULL))
			fail_msg("%s: %s", v[i].name, verdict.reply.text);
		if (v[i].text != NULL &&
		    (verdict.reply.code != 552 ||
		     strcmp(verdict.reply.enhanced, "5.3.4") != 0 ||
		     strcmp(verdict.reply.text, v[i].text) != 0))
			fail_msg("%s: %d %s %s", v[i].name, verdict.reply.code,
				 verdict.reply.enhanced, verdict.reply.text);
		verdict_clear(&verdict);
		free(body);
	}
}

/* --- recipients ----------------------------------------------------------- */

static const struct {
	const char *name;
	const char *rcpts; /* separated by blanks */
	const char *to;
	const char *want; /* "address(name) ..." */
} recipients[] = {
	{ "V18, a quoted name", "r@x", "\"Doe, Joe\" <r@x>", "r@x(Doe, Joe) " },
	{ "V18, an encoded name", "r@x", "=?utf-8?Q?Doe=2C_Jos=C3=A9?= <r@x>",
	  "r@x(Doe, Jos" E_ACUTE ") " },
	{ "V18, a bare name", "r@x", "Joe User", "r@x(Joe User) " },
	{ "V18, another case", "r@example.com", "Joe <R@Example.com>",
	  "r@example.com(Joe) " },
	{ "a bare name in words", "r@x",
	  "=?utf-8?B?Sm9zw6k=?= =?utf-8?B?IERvZQ==?=",
	  "r@x(Jos" E_ACUTE " Doe) " },
	{ "a quoted bare name", "r@x", "\"Doe, Joe\"", "r@x(Doe, Joe) " },
	{ "a bare name with a comma", "r@x", "Doe, Joe", "r@x(Doe, Joe) " },
	{ "a bare name, two recipients", "r@x s@x", "Joe User",
	  "r@x() s@x() " },
	{ "a bare name, one recipient twice", "r@x r@X", "Joe User",
	  "r@x(Joe User) " },
	{ "no To", "r@x", NULL, "r@x() " },
	{ "an empty To", "r@x", "", "r@x() " },
	{ "undisclosed recipients", "r@x", "undisclosed-recipients:;",
	  "r@x() " },
	{ "an address without a name", "r@x", "<r@x>", "r@x() " },
	{ "another address, one recipient", "r@x", "Joe <joe@y>", "r@x(Joe) " },
	{ "another address, two recipients", "r@x s@x", "Joe <joe@y>",
	  "r@x() s@x() " },
	{ "several", "a@x b@x c@x", "A <a@x>, \"B, B\" <b@x>, D <d@x>",
	  "a@x(A) b@x(B, B) c@x() " },
	{ "in a group", "a@x b@x", "G: A <a@x>, B <b@x>;", "a@x(A) b@x(B) " },
	{ "To does not add anybody", "a@x", "A <a@x>, B <b@x>", "a@x(A) " },
	{ "duplicates are one", "a@x b@x a@X a@x", "A <a@x>", "a@x(A) b@x() " },
	{ "a local part in another case is the same", "a@x A@x", "A <a@x>",
	  "a@x(A) " },
	{ "windows-1252 labelled iso-8859-1", "r@x",
	  "=?iso-8859-1?q?Joe=92s?= <r@x>", "r@x(Joe" QUOTE "s) " },
};

static void
judge_recipients(const char *rcpts, const char *to, struct verdict *v)
{
	struct account *a = account_with(1);
	struct message *m = message_new("");
	char *copy = strdup(rcpts);
	char *save = NULL;

	assert_non_null(copy);
	for (char *r = strtok_r(copy, " ", &save); r != NULL;
	     r = strtok_r(NULL, " ", &save))
		message_recipient(m, r);
	give_headers(m, F S);
	if (to != NULL)
		message_header(m, "To", to, strlen(to));
	(void)message_body(m, "x", 1);
	judge(m, a, &dialect_emaildelivery, &no_routes, v);
	free(copy);
	message_free(&m);
	account_free(&a);
}

static void
test_recipients(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(recipients) / sizeof(recipients[0]);
	     i++) {
		struct verdict v;
		DYNBUF_AUTO got;

		dynbuf_init(&got, 1000);
		judge_recipients(recipients[i].rcpts, recipients[i].to, &v);
		for (size_t k = 0;
		     v.outgoing != NULL && k < v.outgoing->n_recipients; k++)
			dynbuf_addf(&got, "%s(%s) ",
				    v.outgoing->recipients[k].email,
				    v.outgoing->recipients[k].name);
		if (strcmp(dynbuf_str(&got), recipients[i].want) != 0) {
			printf("%s: %s %s\n", recipients[i].name,
			       dynbuf_str(&got), v.reply.text);
			bad++;
		}
		verdict_clear(&v);
	}
	assert_int_equal(bad, 0);
}

static const struct {
	const char *name;
	const char *sender;
	const char *rcpt;
	const char *to;
	const char *enhanced;
	const char *text;
} refused[] = {
	{ "sender without a domain", "root", "r@x", NULL, "5.1.7",
	  "The sender address cannot be handed on" },
	{ "recipient with a source route", "", "@a:r@x", NULL, "5.1.3",
	  "A recipient address cannot be handed on" },
	{ "recipient that is not UTF-8", "", "r\xe9@x", NULL, "5.1.3",
	  "A recipient address cannot be handed on" },
	{ "To with a control character", "", "r@x", "\"a\x01\" <r@x>", "5.6.0",
	  "To: too many addresses, or a control character" },
};

static void
test_refused_addresses(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct account *a = account_with(1);
		struct message *m = message_new(refused[i].sender);
		struct verdict v;

		message_recipient(m, refused[i].rcpt);
		give_headers(m, F S);
		if (refused[i].to != NULL)
			message_header(m, "To", refused[i].to,
				       strlen(refused[i].to));
		(void)message_body(m, "x", 1);
		judge(m, a, &dialect_emaildelivery, &no_routes, &v);
		if (v.kind != VERDICT_REFUSE || v.reply.code != 550 ||
		    strcmp(v.reply.enhanced, refused[i].enhanced) != 0 ||
		    strcmp(v.reply.text, refused[i].text) != 0)
			fail_msg("%s: %d %s %s", refused[i].name, v.reply.code,
				 v.reply.enhanced, v.reply.text);
		verdict_clear(&v);
		message_free(&m);
		account_free(&a);
	}
}

static void
test_null_sender(void **state)
{
	struct verdict v;

	(void)state;
	judge_recipients("r@x", NULL, &v);
	assert_non_null(v.outgoing);
	assert_string_equal(v.outgoing->return_path, "");
	verdict_clear(&v);
}

static void
test_many_recipients(void **state)
{
	(void)state;
	for (int more = 0; more < 2; more++) {
		struct verdict v;
		DYNBUF_AUTO rcpts;

		dynbuf_init(&rcpts, 100000);
		for (int i = 0; i < MESSAGE_RECIPIENTS_MAX + more; i++)
			dynbuf_addf(&rcpts, "r%d@x ", i);
		judge_recipients(dynbuf_str(&rcpts), "R7 <r7@x>", &v);
		assert_int_equal(v.kind,
				 more ? VERDICT_REFUSE : VERDICT_HAND_OVER);
		if (more) {
			assert_string_equal(v.reply.text,
					    "More than 1000 recipients");
			assert_string_equal(v.reply.enhanced, "5.5.3");
		} else {
			assert_int_equal(v.outgoing->n_recipients, 1000);
			assert_string_equal(v.outgoing->recipients[7].name,
					    "R7");
			assert_string_equal(v.outgoing->recipients[999].email,
					    "r999@x");
		}
		verdict_clear(&v);
	}
}

/* --- the judge, and the table --------------------------------------------- */

static void
test_nobody(void **state)
{
	struct message *m = message_new("");
	struct verdict v;

	(void)state;
	message_recipient(m, "r@x");
	give_headers(m, F S);
	(void)message_body(m, "x", 1);
	judge(m, NULL, &dialect_emaildelivery, &no_routes, &v);
	assert_int_equal(v.kind, VERDICT_REFUSE);
	assert_null(v.outgoing);
	assert_int_equal(v.reply.code, 550);
	assert_string_equal(v.reply.enhanced, "5.7.1");
	assert_string_equal(v.reply.text,
			    "Authentication required: log in with your API "
			    "key or send it as X-Auth-APIKey");
	verdict_clear(&v);
	message_free(&m);
}

/* What was found first is what the client hears, whoever it is. */
static void
test_first_refusal_wins(void **state)
{
	struct message *m = message_new("root");
	struct verdict v;

	(void)state;
	judge(m, NULL, &dialect_emaildelivery, &no_routes, &v);
	assert_string_equal(v.reply.enhanced, "5.1.7");
	verdict_clear(&v);
	message_free(&m);
}

static void
test_nobody_to_send_to(void **state)
{
	struct verdict v;

	(void)state;
	judge_recipients("", "Joe <joe@x>", &v);
	assert_int_equal(v.kind, VERDICT_REFUSE);
	assert_null(v.outgoing);
	assert_int_equal(v.reply.code, 550);
	assert_string_equal(v.reply.enhanced, "5.1.3");
	assert_string_equal(v.reply.text, "No recipients");
	verdict_clear(&v);
}

/* Who may send as whom is for the account's rule; that the judge asks it, and
 * what the client hears, is here. */
static const struct {
	const char *from;
	const char *senders[3];
	const char *text; /* NULL: handed over */
} sender_rows[] = {
	{ "user@x.example", { NULL }, NULL },
	{ "user@x.example", { "x.example" }, NULL },
	{ "user@x.example",
	  { "y.example" },
	  "From: this account may not send as user@x.example; it may send as: "
	  "y.example" },
	{ "User <user@x.example>",
	  { "y.example", "a@x.example" },
	  "From: this account may not send as user@x.example; it may send as: "
	  "y.example, a@x.example" },
};

static void
judge_from(struct account *a, const char *from, struct verdict *v)
{
	struct message *m = message_new("bounce@x.example");
	char fields[400];

	assert_true(snprintf(fields, sizeof(fields),
			     "From: %s\n"
			     "Subject: s\n" HTML,
			     from) > 0);
	message_recipient(m, "r@example.com");
	give_headers(m, fields);
	(void)message_body(m, "<p>x", 4);
	judge(m, a, &dialect_emaildelivery, &no_routes, v);
	message_free(&m);
}

static void
test_sender_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(sender_rows) / sizeof(sender_rows[0]);
	     i++) {
		struct account *a = account_with(1);
		struct verdict v;

		for (size_t k = 0; sender_rows[i].senders[k] != NULL; k++)
			assert_true(
			    account_add_sender(a, sender_rows[i].senders[k]));
		judge_from(a, sender_rows[i].from, &v);
		if (sender_rows[i].text == NULL) {
			assert_int_equal(v.kind, VERDICT_HAND_OVER);
		} else {
			assert_int_equal(v.kind, VERDICT_REFUSE);
			assert_null(v.outgoing);
			assert_int_equal(v.reply.code, 550);
			assert_string_equal(v.reply.enhanced, "5.7.1");
			assert_string_equal(v.reply.text, sender_rows[i].text);
		}
		verdict_clear(&v);
		account_free(&a);
	}
}

/* However many there are, the list ends with a whole one. */
static void
test_senders_bounded(void **state)
{
	(void)state;
	for (size_t len = 1; len <= 64; len++) {
		struct account *a = account_with(1);
		char sender[ACCOUNT_SENDER_MAX + 1];
		struct verdict v;
		const char *end;

		memset(sender, 'z', sizeof(sender));
		sender[len] = '\0';
		for (size_t i = 0; i < ACCOUNT_SENDERS_MAX; i++)
			assert_true(account_add_sender(a, sender));
		judge_from(a, "user@x.example", &v);
		assert_int_equal(v.reply.code, 550);
		end = v.reply.text + strlen(v.reply.text);
		assert_true(strlen(v.reply.text) + len + 2 >
			    SMTP_REPLY_TEXT_MAX - 5);
		assert_string_equal(end - 5, ", ...");
		assert_memory_equal(end - 5 - len, sender, len);
		assert_int_equal(*(end - 5 - len - 1), ' ');
		verdict_clear(&v);
		account_free(&a);
	}
}

static void
test_find(void **state)
{
	const struct header_rule *r;

	(void)state;
	assert_ptr_equal(dialect_find("emaildelivery"), &dialect_emaildelivery);
	assert_null(dialect_find("EmailDelivery"));
	assert_null(dialect_find("nosuch"));
	assert_null(dialect_find(""));
	assert_non_null(dialects[0]);
	assert_string_equal(dialect_emaildelivery.key_header, "X-Auth-APIKey");
	r = dialect_rule(&dialect_emaildelivery, "x-AUTH-apikey");
	assert_non_null(r);
	assert_string_equal(r->name, "X-Auth-APIKey");
	assert_null(dialect_rule(&dialect_emaildelivery, "X-Auth-APIKey2"));
	assert_null(dialect_rule(&dialect_emaildelivery, ""));
	assert_null(dialect_rule(&dialect_emaildelivery, "Date"));
}

/* What must not leave. */
static void
test_control_headers(void **state)
{
	static const struct {
		const char *name;
		bool control;
	} v[] = {
		{ "X-Auth-APIKey", true }, { TAG, true },
		{ ROUTE, true },	   { TEMPLATE, true },
		{ VARIABLES, true },	   { "From", false },
		{ "To", false },	   { "Subject", false },
		{ "Reply-To", false },	   { "Message-ID", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		const struct header_rule *r =
		    dialect_rule(&dialect_emaildelivery, v[i].name);

		if (r == NULL || r->control != v[i].control)
			fail_msg("%s", v[i].name);
	}
}

/* Who sends it may not be known before the body: then all is read that any
 * dialect may want, and what is wrong with that is nothing here. */
static void
test_read_for_any(void **state)
{
	static const char bad_file[] =
	    "--b\n" CT "a/b\nContent-Transfer-Encoding: x\n\n1\n--b\n" CT
	    "text/plain; charset=x-none\n\n\xe9\n--b\n" HTML "\n<p>x\n"
	    "--b\n" CT "multipart/mixed\n\n1\n--b--\n";
	struct account *a = account_new("acme");
	struct message *m = message_new("");
	struct verdict v;

	(void)state;
	assert_true(account_add_route(a, "r1", ""));
	message_recipient(m, "r@example.com");
	give_headers(m, F S CT "multipart/mixed; boundary=b\n");
	message_want(m, 15);
	(void)message_body(m, bad_file, strlen(bad_file));
	judge(m, a, &dialect_emaildelivery, &no_routes, &v);
	if (v.kind != VERDICT_HAND_OVER)
		fail_msg("%s", v.reply.text);
	assert_string_equal(v.outgoing->html, "<p>x");
	verdict_clear(&v);
	message_free(&m);
	account_free(&a);
}

/* What is in `outgoing` already stays: the agent has it from the plan. */
static void
test_body_alone(void **state)
{
	static const struct {
		const char *name;
		const char *header;
		bool has_template;
		const char *want; /* NULL: no body */
		bool refused;
	} v[] = {
		{ "html", HTML, false, "<p>x", false },
		{ "text", "Content-Type: text/plain\n", false, "&lt;p&gt;x",
		  false },
		{ "no body", "Content-Type: image/png\n", false, NULL, true },
		{ "no body, a template", "Content-Type: image/png\n", true,
		  NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct message *m = message_new("other@example.com");
		struct outgoing *o = outgoing_new();
		struct smtp_reply refusal = { 0 };
		bool ok;

		o->subject = strdup("Kept");
		o->template_id = v[i].has_template ? strdup("T") : NULL;
		give_headers(m, "Subject: Other\n");
		give_headers(m, v[i].header);
		(void)message_body(m, "<p>x", 4);
		ok = dialect_read_body(&dialect_emaildelivery, m, o, &refusal);
		if (ok == v[i].refused || smtp_reply_is_set(&refusal) == ok ||
		    (o->html == NULL) != (v[i].want == NULL) ||
		    (o->html != NULL && strcmp(o->html, v[i].want) != 0))
			fail_msg("%s: \"%s\"", v[i].name, o->html);
		assert_string_equal(o->subject, "Kept");
		assert_null(o->return_path);
		outgoing_free(&o);
		message_free(&m);
	}
}

static int
setup(void **state)
{
	(void)state;
	g_mime_init();
	json_text_init();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_header),
		cmocka_unit_test(test_every_header_name),
		cmocka_unit_test(test_every_header_absent),
		cmocka_unit_test(test_every_header_encoded),
		cmocka_unit_test(test_every_header_control),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_templates),
		cmocka_unit_test(test_variables),
		cmocka_unit_test(test_nul_in_header),
		cmocka_unit_test(test_from),
		cmocka_unit_test(test_from_with_commas),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_message_id_is_text),
		cmocka_unit_test(test_ignored),
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_body_has_a_length),
		cmocka_unit_test(test_oversize),
		cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_refused_addresses),
		cmocka_unit_test(test_null_sender),
		cmocka_unit_test(test_many_recipients),
		cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_first_refusal_wins),
		cmocka_unit_test(test_nobody_to_send_to),
		cmocka_unit_test(test_sender_rows),
		cmocka_unit_test(test_senders_bounded),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_control_headers),
		cmocka_unit_test(test_read_for_any),
		cmocka_unit_test(test_body_alone),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
