/* SPDX-License-Identifier: MIT */
/*
 * The SparkPost dialect through its door, judge(): each row is a message and
 * one thing about what is handed over, as text, or the refusal.
 * "V1" to "V16" are headers as real clients were seen to send them.
 */
#include "policy/msys_api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/account.h"
#include "policy/dialect.h"
#include "policy/dynbuf.h"
#include "policy/header_text.h"
#include "policy/judge.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/route.h"

static const struct route_list no_routes = { 0 };

#define E_ACUTE "\xc3\xa9"
#define F "From: Shop <shop@example.com>\n"
#define S "Subject: S\n"
#define X "X-MSYS-API: "
#define FS F S

/* --- a message from text ---------------------------------------------------
 */

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

#define WANTS (BODY_WANT_TEXT | BODY_WANT_AMP | BODY_WANT_FILES)

/* Routes r1 (Main), R2, r3: the first n of them. */
static void
judge_message(const char *headers, const char *body, size_t n_routes,
	      const char *const *recipients, struct verdict *v)
{
	static const char *const ids[] = { "r1", "R2", "r3" };
	struct account *a = account_new("acme");
	struct message *m = message_new("bounce@example.com");

	for (size_t i = 0; i < n_routes; i++)
		assert_true(account_add_route(a, ids[i], i ? "" : "Main"));
	for (; *recipients != NULL; recipients++)
		message_recipient(m, *recipients);
	give_headers(m, headers);
	message_want(m, dialect_sparkpost.body_wants);
	(void)message_body(m, body, strlen(body));
	judge(m, a, &dialect_sparkpost, &no_routes, v);
	message_free(&m);
	account_free(&a);
}

static const char *const one[] = { "r@example.com", NULL };
static const char *const three[] = { "r@example.com", "S@Example.com",
				     "t@example.com", NULL };

/* --- what is handed over, as text ------------------------------------------
 */

static void
add_recipients(struct dynbuf *out, const struct outgoing *o)
{
	for (size_t i = 0; i < o->n_recipients; i++) {
		const struct outgoing_recipient *r = &o->recipients[i];

		dynbuf_addf(out, "%s%s:%s%s%s", i > 0 ? " " : "",
			    outgoing_kinds[r->kind], r->email,
			    *r->name ? "=" : "", r->name);
	}
}

/* "open_tracking,...": those that are on; "?" before one that nobody set. */
static void
add_switches(struct dynbuf *out, const struct outgoing *o)
{
	for (size_t i = 0; i < outgoing_n_switches; i++) {
		enum outgoing_switch is = outgoing_switch_is(o, i);

		if (is != SWITCH_OFF)
			dynbuf_addf(out, "%s%s%s", out->len > 0 ? "," : "",
				    is == SWITCH_UNSET ? "?" : "",
				    outgoing_switches[i].name);
	}
}

static void
add_asked(struct dynbuf *out, const struct outgoing *o)
{
	for (size_t i = 0; i < FEATURES; i++) {
		if (o->asked[i] != NULL)
			dynbuf_addf(out, "%s%s: %s", out->len > 0 ? "; " : "",
				    feature_names[i], o->asked[i]);
	}
}

static void
add_headers(struct dynbuf *out, const struct outgoing *o)
{
	for (size_t i = 0; i < o->n_headers; i++)
		dynbuf_addf(out, "%s%s: %s", i > 0 ? "; " : "",
			    o->headers[i].name, o->headers[i].value);
}

static void
add_files(struct dynbuf *out, const struct outgoing *o)
{
	for (size_t i = 0; i < o->n_files; i++) {
		const struct body_file *f = &o->files[i];

		dynbuf_addf(out, "%s%s %s %s %.*s", i > 0 ? "; " : "", f->name,
			    f->type, f->is_inline ? "inline" : "attached",
			    (int)f->len, f->data);
	}
}

static void
add_member(struct dynbuf *out, const struct outgoing *o, const char *name)
{
	for (size_t i = 0; i < outgoing_n_strings; i++) {
		const char *value = outgoing_string(o, i);

		if (strcmp(outgoing_strings[i].name, name) == 0) {
			dynbuf_adds(out, value ? value : "(absent)");
			return;
		}
	}
	fail_msg("no member %s", name);
}

static void
describe(struct dynbuf *out, const struct outgoing *o, const char *what)
{
	if (strcmp(what, "recipients") == 0)
		add_recipients(out, o);
	else if (strcmp(what, "on") == 0)
		add_switches(out, o);
	else if (strcmp(what, "asked") == 0)
		add_asked(out, o);
	else if (strcmp(what, "headers") == 0)
		add_headers(out, o);
	else if (strcmp(what, "files") == 0)
		add_files(out, o);
	else if (strcmp(what, "amp") == 0)
		dynbuf_adds(out, o->amp ? o->amp : "(absent)");
	else if (strcmp(what, "html") == 0)
		dynbuf_adds(out, o->html ? o->html : "(absent)");
	else if (strcmp(what, "text") == 0)
		dynbuf_adds(out, o->text ? o->text : "(absent)");
	else
		add_member(out, o, what);
}

/* --- rows ------------------------------------------------------------------
 */

struct row {
	const char *name;
	const char *headers;
	const char *what; /* of what is handed over */
	const char *want;
	const char *refusal; /* the whole text; NULL: it is handed over */
	size_t n_routes;     /* 0: one */
	const char *const *recipients; /* NULL: r@example.com */
	const char *body;	       /* NULL: "x" */
};

static bool
is_refused_as(const struct row *r, const struct verdict *v)
{
	return v->kind == VERDICT_REFUSE && v->reply.code == 550 &&
	       strcmp(v->reply.enhanced, "5.6.0") == 0 &&
	       strcmp(v->reply.text, r->refusal) == 0;
}

static bool
check_row(const struct row *r)
{
	struct verdict v;
	DYNBUF_AUTO got;
	bool ok;

	dynbuf_init(&got, 1 << 20);
	judge_message(r->headers, r->body ? r->body : "x",
		      r->n_routes ? r->n_routes : 1,
		      r->recipients ? r->recipients : one, &v);
	if (v.kind == VERDICT_HAND_OVER)
		describe(&got, v.outgoing, r->what ? r->what : "tag");
	else
		dynbuf_adds(&got, v.reply.text);
	if (r->refusal != NULL)
		ok = is_refused_as(r, &v);
	else
		ok = v.kind == VERDICT_HAND_OVER &&
		     strcmp(dynbuf_str(&got), r->want) == 0;
	if (!ok)
		printf("%s: \"%s\"\n", r->name, dynbuf_str(&got));
	verdict_clear(&v);
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

/* --- the header as clients send it ------------------------------------------
 */

#define V5                                                                  \
	"{\"campaign_id\":\"my_campaign\",\"metadata\":{\"has_pets\":true," \
	"\"pet_name\":\"Spot\",\"order\":\"A-12345678901234567890\"},"      \
	"\"tags\":[\"cat\",\"dog\"],\"options\":{\"open_tracking\":false,"  \
	"\"click_tracking\":true,\"transactional\":true}}"
#define X40 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define PARSING "JSON parsing error in X-MSYS-API: "

static const struct row clients[] = {
	{ "V1, PHPMailer",
	  FS X "=?us-ascii?Q?{\"options\":{\"open=5Ftracking\":false,"
	       "\"click=5Ftr?=\n =?us-ascii?Q?acking\":false,"
	       "\"transactional\":true,\"sandbox\":fa?=\n"
	       " =?us-ascii?Q?lse}}?=\n",
	  .what = "on", .want = "transactional" },
	{ "V2, Python, compact",
	  FS X "=?utf-8?b?eyJjYW1wYWlnbl9pZCI6Im15X2NhbXBhaWduIiwibWV0YWRhdGEi"
	       "?=\n =?utf-8?b?OnsiaGFzX3BldHMiOnRydWUsInBldF9uYW1lIjoiU3BvdCI"
	       "sIm9yZGVyIjoiQS0x?=\n =?utf-8?b?MjM0NTY3ODkwMTIzNDU2Nzg5MCJ9LCJ"
	       "0YWdzIjpbImNhdCIsImRvZyJdLCJvcHRp?=\n =?utf-8?b?b25zIjp7Im9wZW5"
	       "fdHJhY2tpbmciOmZhbHNlLCJjbGlja190cmFja2luZyI6dHJ1?=\n"
	       " =?utf-8?q?e=2C=22transactional=22=3Atrue=7D=7D?=\n",
	  .what = "metadata",
	  .want = "{\"has_pets\":true,\"pet_name\":\"Spot\",\"order\":"
		  "\"A-12345678901234567890\"}" },
	{ "V3, Python, partly encoded",
	  FS X "{\"campaign_id\": "
	       "=?utf-8?b?IsOpdMOpIiwgInRhZ3MiOiBbIm5hw692ZSJd?=\n"
	       " =?utf-8?q?=7D?=\n",
	  .what = "tag", .want = E_ACUTE "t" E_ACUTE },
	{ "V3, its tags",
	  FS X "{\"campaign_id\": "
	       "=?utf-8?b?IsOpdMOpIiwgInRhZ3MiOiBbIm5hw692ZSJd?=\n"
	       " =?utf-8?q?=7D?=\n",
	  .what = "labels", .want = "[\"na\xc3\xafve\"]" },
	{ "V4, Python, folded at blanks",
	  FS X "{\"campaign_id\": \"my_campaign\", \"metadata\": {\"has_pets\":"
	       " true,\n \"pet_name\": \"Spot\", \"order\": "
	       "\"A-12345678901234567890\"}, \"tags\": [\"cat\",\n"
	       " \"dog\"], \"options\": {\"open_tracking\": false, "
	       "\"click_tracking\": true,\n \"transactional\": true}}\n",
	  .what = "metadata",
	  .want = "{\"has_pets\": true, \"pet_name\": \"Spot\", \"order\": "
		  "\"A-12345678901234567890\"}" },
	{ "V5, Python MIMEText, empty first line", FS "X-MSYS-API: \n " V5 "\n",
	  .what = "on", .want = "click_tracking,transactional" },
	{ "V6, nodemailer",
	  FS "X-Msys-Api: =?UTF-8?Q?=7B=22metadata=22=3A=7B=22k=22=3A=22xxxx?="
	     "\n =?UTF-8?Q?" X40 "?=\n =?UTF-8?Q?" X40 "?=\n =?UTF-8?Q?" X40
	     "=22?= =?UTF-8?Q?=7D=7D?=\n",
	  .what = "metadata", .want = "{\"k\":\"xxxx" X40 X40 X40 "\"}" },
	{ "V7, Ruby",
	  FS X "=?UTF-8?Q?{=22campaign=5Fid=22:=22=C3=A9t=C3=A9=22}?=\n",
	  .what = "tag", .want = E_ACUTE "t" E_ACUTE },
	{ "V8, Discourse",
	  FS X "{\"metadata\":{\"message_id\":"
	       "\"topic/123/456@forum.example.com\"}}\n",
	  .what = "metadata",
	  .want = "{\"message_id\":\"topic/123/456@forum.example.com\"}" },
	{ "V9, a fold within a string is not repaired",
	  FS X "{\"options\" : {\"open_tracking\" : false }, \"campaign_id\" : "
	       "\"my_awes\n   ome_campaign\" }\n",
	  .what = "tag", .want = "my_awes ome_campaign" },
	{ "V10, a comma too many",
	  FS X "{\"options\" : {\"open_tracking\" : false, \"click_tracking\" "
	       ": true},\n }\n",
	  .refusal = PARSING "syntax error at column 66" },
	{ "V10, a comma too few",
	  FS X "{\"bcc\": [{ \"email\": \"a@b.c\", \"name\": \"1\" }\n    "
	       "{ \"email\": \"b@b.c\", \"name\": \"2\" }]}\n",
	  .refusal = PARSING "syntax error at column 44" },
	{ "a folded header as the page has it",
	  FS X "{\"options\" : {\"open_tracking\" : false, "
	       "\"click_tracking\" : true},\n   \"metadata\" : {\"has_pets\" : "
	       "true, \"pet_name\": \"Spot\" }, \"tags\" : [\"cat\",\n   "
	       "\"dog\"], \"campaign_id\" : \"my_campaign\"}\n",
	  .what = "labels", .want = "[\"cat\",\"dog\"]" },
	{ "\\u escapes", FS X "{\"campaign_id\":\"\\u00e9t\\u00e9\"}\n",
	  .what = "tag", .want = E_ACUTE "t" E_ACUTE },
	{ "UTF-8 as it is", FS X "{\"campaign_id\":\"" E_ACUTE "\"}\n",
	  .what = "tag", .want = E_ACUTE },
	{ "the first counts",
	  FS X "{\"campaign_id\":\"a\"}\n" X "{\"campaign_id\":\"b\"}\n",
	  .what = "tag", .want = "a" },
	{ "the name in small letters",
	  FS "x-msys-api: {\"campaign_id\":\"a\"}\n", .what = "tag",
	  .want = "a" },
	{ "no header", FS, .what = "asked", .want = "text only: Content-Type" },
	{ "an empty one is none", FS "X-MSYS-API: \n", .what = "asked",
	  .want = "text only: Content-Type" },
	{ "an empty object", FS X "{}\n", .what = "asked",
	  .want = "text only: Content-Type" },
	{ "an array", FS X "[]\n", .refusal = PARSING "not a JSON object" },
	{ "a string", FS X "\"a\"\n", .refusal = PARSING "not a JSON object" },
	{ "not JSON", FS X "campaign_id=a\n",
	  .refusal = PARSING "syntax error at column 8" },
	{ "cut", FS X "{\"campaign_id\":\n",
	  .refusal = PARSING "it ends too early at column 15" },
	{ "two objects", FS X "{}{}\n",
	  .refusal = PARSING "something follows the JSON text at column 3" },
	{ "a name twice", FS X "{\"tags\":[],\"tags\":[]}\n",
	  .refusal = PARSING "a name that is there twice at column 17" },
	{ "too deep",
	  FS X "{\"metadata\":{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]"
	       "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}\n",
	  .refusal = PARSING "nested deeper than 32 levels" },
	{ "a control character", FS X "{\"campaign_id\":\"a\x01\"}\n",
	  .refusal = "X-MSYS-API: holds a control character" },
	{ "a NUL escaped", FS X "{\"campaign_id\":\"a\\u0000\"}\n",
	  .refusal = PARSING "a NUL character at column 24" },
	{ "unknown members, substitution_data and sandbox are skipped",
	  FS X "{\"substitution_data\":{\"a\":1},\"x\":[1],\"options\":{"
	       "\"sandbox\":true,\"y\":2},\"campaign_id\":\"a\"}\n",
	  .what = "asked",
	  .want = "tag: X-MSYS-API 'campaign_id'; text only: Content-Type" },
	{ "control headers of others are nobody's business",
	  FS "X-Transactional-Tag: not a tag!\nX-SMTPAPI: {\n",
	  .what = "headers", .want = "" },
};

static void
test_clients(void **state)
{
	(void)state;
	CHECK_ROWS(clients);
}

/* --- campaign_id, metadata, tags ---------------------------------------------
 */

#define X64 "0123456789012345678901234567890123456789012345678901234567890123"
#define E21                                                                 \
	E_ACUTE E_ACUTE E_ACUTE E_ACUTE E_ACUTE E_ACUTE E_ACUTE E_ACUTE     \
	    E_ACUTE E_ACUTE E_ACUTE E_ACUTE E_ACUTE E_ACUTE E_ACUTE E_ACUTE \
		E_ACUTE E_ACUTE E_ACUTE E_ACUTE E_ACUTE
#define LIMIT "smtpapi_campaign_id context is limited to 64 bytes"

static const struct row campaigns[] = {
	{ "64 bytes", FS X "{\"campaign_id\":\"" X64 "\"}\n", .what = "tag",
	  .want = X64 },
	{ "65 bytes", FS X "{\"campaign_id\":\"" X64 "x\"}\n",
	  .refusal = LIMIT },
	{ "V16, 63 characters of two bytes",
	  FS X "{\"campaign_id\":\"" E21 E21 E21 "\"}\n", .refusal = LIMIT },
	{ "empty is none", FS X "{\"campaign_id\":\"\"}\n", .what = "tag",
	  .want = "(absent)" },
	{ "a number", FS X "{\"campaign_id\":7}\n",
	  .refusal = "X-MSYS-API 'campaign_id' must be of type 'string'" },
	{ "null is absent", FS X "{\"campaign_id\":null}\n", .what = "tag",
	  .want = "(absent)" },
	{ "control characters are blanks",
	  FS X "{\"campaign_id\":\"\\ta\\u000a\\u0085b\\u007f\"}\n", .what = "tag",
	  .want = "a  b" },
	{ "control characters alone are nothing",
	  FS X "{\"campaign_id\":\"\\u000d\\u000a\"}\n", .what = "tag",
	  .want = "(absent)" },
	{ "and ask for nothing", FS X "{\"campaign_id\":\"\\u000d\"}\n",
	  .what = "asked", .want = "text only: Content-Type" },
	{ "asked for", FS X "{\"campaign_id\":\"a\"}\n", .what = "asked",
	  .want = "tag: X-MSYS-API 'campaign_id'; text only: Content-Type" },
};

static void
test_campaigns(void **state)
{
	(void)state;
	CHECK_ROWS(campaigns);
}

#define NOT_OBJECT "X-MSYS-API 'metadata' must be of type 'json object'"

static const struct row metadatas[] = {
	{ "numbers keep their digits",
	  FS X "{\"metadata\":{\"a\":12345678901234567890,\"b\":1.0,"
	       "\"c\":-0,\"d\":1e2}}\n",
	  .what = "metadata",
	  .want = "{\"a\":12345678901234567890,\"b\":1.0,\"c\":-0,\"d\":1e2}" },
	{ "escapes stay",
	  FS X "{\"metadata\":{\"a\":\"\\u00e9\\n\\/\"},\"x\":1}\n",
	  .what = "metadata", .want = "{\"a\":\"\\u00e9\\n\\/\"}" },
	{ "its name escaped", FS X "{\"m\\u0065tadata\":{\"a\":1}}\n",
	  .what = "metadata", .want = "{\"a\":1}" },
	{ "behind others with brackets and colons in strings",
	  FS X "{\"a\":\"}:,{\",\"b\":[{\"metadata\":1}],\"metadata\" : "
	       "{\"a\":\"}\"} }\n",
	  .what = "metadata", .want = "{\"a\":\"}\"}" },
	{ "more than its events show",
	  FS X "{\"metadata\":{\"a\":\"" X64 X64 X64 X64 X64 X64 X64 X64 X64 X64
	      X64 X64 X64 X64 X64 X64 "\"}}\n",
	  .what = "metadata",
	  .want = "{\"a\":\"" X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64
	      X64 X64 X64 X64 "\"}" },
	{ "nothing in it", FS X "{\"metadata\":{ }}\n", .what = "metadata",
	  .want = "(absent)" },
	{ "a string", FS X "{\"metadata\":\"a\"}\n", .refusal = NOT_OBJECT },
	{ "an array", FS X "{\"metadata\":[]}\n", .refusal = NOT_OBJECT },
	{ "null is absent", FS X "{\"metadata\":null}\n", .what = "metadata",
	  .want = "(absent)" },
	{ "asked for", FS X "{\"metadata\":{\"a\":1}}\n", .what = "asked",
	  .want = "metadata: X-MSYS-API 'metadata'; text only: Content-Type" },
};

static void
test_metadata(void **state)
{
	(void)state;
	CHECK_ROWS(metadatas);
}

static const struct row tags[] = {
	{ "two", FS X "{\"tags\":[\"cat\",\"dog\"]}\n", .what = "labels",
	  .want = "[\"cat\",\"dog\"]" },
	{ "ten of twelve",
	  FS X "{\"tags\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\","
	       "\"9\",\"10\",\"11\",\"12\"]}\n",
	  .what = "labels",
	  .want = "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\","
		  "\"10\"]" },
	{ "escapes", FS X "{\"tags\":[\"a\\\"\\n\\u00e9\"]}\n",
	  .what = "labels", .want = "[\"a\\\"\\n" E_ACUTE "\"]" },
	{ "none", FS X "{\"tags\":[]}\n", .what = "asked",
	  .want = "text only: Content-Type" },
	{ "a string", FS X "{\"tags\":\"cat\"}\n",
	  .refusal = "X-MSYS-API 'tags' must be of type 'json array'" },
	{ "an object", FS X "{\"tags\":{\"a\":1}}\n",
	  .refusal = "X-MSYS-API 'tags' must be of type 'json array'" },
	{ "a number in it", FS X "{\"tags\":[\"cat\",7]}\n",
	  .refusal = "X-MSYS-API 'tags[1]' must be of type 'string'" },
	{ "an object in it", FS X "{\"tags\":[{}]}\n",
	  .refusal = "X-MSYS-API 'tags[0]' must be of type 'string'" },
	{ "asked for", FS X "{\"tags\":[\"a\"]}\n", .what = "asked",
	  .want = "labels: X-MSYS-API 'tags'; text only: Content-Type" },
};

static void
test_tags(void **state)
{
	(void)state;
	CHECK_ROWS(tags);
}

/* --- options -----------------------------------------------------------------
 */

#define OPTIONS(o) FS X "{\"options\":{" o "}}\n"
#define NOT_BOOLEAN(o) "X-MSYS-API 'options." o "' must be of type 'boolean'"

static const struct row options[] = {
	{ "without a header all are off", FS, .what = "on", .want = "" },
	{ "without options all are off", FS X "{}\n", .what = "on",
	  .want = "" },
	{ "without any in them all are off", OPTIONS(""), .what = "on",
	  .want = "" },
	{ "all",
	  OPTIONS("\"open_tracking\":true,\"click_tracking\":true,"
		  "\"transactional\":true,\"skip_suppression\":true,"
		  "\"inline_css\":true"),
	  .what = "on",
	  .want = "open_tracking,click_tracking,inline_css,transactional,"
		  "skip_suppression" },
	{ "all asked for",
	  OPTIONS("\"open_tracking\":true,\"click_tracking\":true,"
		  "\"transactional\":true,\"skip_suppression\":true,"
		  "\"inline_css\":true"),
	  .what = "asked",
	  .want = "open tracking: X-MSYS-API 'options.open_tracking'; "
		  "click tracking: X-MSYS-API 'options.click_tracking'; "
		  "CSS inlining: X-MSYS-API 'options.inline_css'; "
		  "transactional: X-MSYS-API 'options.transactional'; "
		  "skip suppression: X-MSYS-API 'options.skip_suppression'; "
		  "text only: Content-Type" },
	{ "false is not asked for", OPTIONS("\"open_tracking\":false"),
	  .what = "asked", .want = "text only: Content-Type" },
	{ "one", OPTIONS("\"click_tracking\":true"), .what = "on",
	  .want = "click_tracking" },
	{ "as strings and numbers",
	  OPTIONS("\"open_tracking\":\"true\",\"click_tracking\":1,"
		  "\"transactional\":\"1\",\"skip_suppression\":\"false\","
		  "\"inline_css\":0"),
	  .what = "on", .want = "open_tracking,click_tracking,transactional" },
	{ "a word", OPTIONS("\"open_tracking\":\"yes\""),
	  .refusal = NOT_BOOLEAN("open_tracking") },
	{ "null is absent", OPTIONS("\"transactional\":null"), .what = "on",
	  .want = "" },
	{ "two", OPTIONS("\"click_tracking\":2"),
	  .refusal = NOT_BOOLEAN("click_tracking") },
	{ "an array", OPTIONS("\"inline_css\":[true]"),
	  .refusal = NOT_BOOLEAN("inline_css") },
	{ "an empty string", OPTIONS("\"skip_suppression\":\"\""),
	  .refusal = NOT_BOOLEAN("skip_suppression") },
	{ "options of another type", FS X "{\"options\":[]}\n",
	  .refusal = "X-MSYS-API 'options' must be of type 'json object'" },
	{ "a DKIM key", OPTIONS("\"dkim_key\":\"marketing\""),
	  .what = "dkim_key", .want = "marketing" },
	{ "a DKIM key asked for", OPTIONS("\"dkim_key\":\"marketing\""),
	  .what = "asked",
	  .want = "DKIM key: X-MSYS-API 'options.dkim_key'; text only: "
		  "Content-Type" },
	{ "an empty DKIM key", OPTIONS("\"dkim_key\":\"\""), .what = "dkim_key",
	  .want = "(absent)" },
	{ "64 bytes of DKIM key", OPTIONS("\"dkim_key\":\"" X64 "\""),
	  .what = "dkim_key", .want = X64 },
	{ "65 bytes of DKIM key", OPTIONS("\"dkim_key\":\"" X64 "x\""),
	  .refusal = "X-MSYS-API 'options.dkim_key' is too long" },
	{ "a DKIM key of another type", OPTIONS("\"dkim_key\":1"),
	  .refusal = "X-MSYS-API 'options.dkim_key' must be of type 'string'" },
};

static void
test_options(void **state)
{
	(void)state;
	CHECK_ROWS(options);
}

#define IP_POOL(p) OPTIONS("\"ip_pool\":" p)
#define POOL_NAME "X-MSYS-API 'options.ip_pool'"

static const struct row ip_pools[] = {
	{ "one route, none named", FS, .what = "route_id", .want = "r1" },
	{ "none named", FS, .what = "ip_pool", .want = "(absent)" },
	{ "named", IP_POOL("\"r3\""), .what = "route_id", .want = "r3",
	  .n_routes = 3 },
	{ "named in another case", IP_POOL("\"r2\""), .what = "route_id",
	  .want = "R2", .n_routes = 3 },
	{ "as the client wrote it", IP_POOL("\"r2\""), .what = "ip_pool",
	  .want = "r2", .n_routes = 3 },
	{ "asked for", IP_POOL("\"r1\""), .what = "asked",
	  .want = "IP pool: " POOL_NAME "; text only: Content-Type" },
	{ "an empty one is none", IP_POOL("\"\""), .what = "ip_pool",
	  .want = "(absent)" },
	{ "several, none named", FS,
	  .refusal = POOL_NAME
	  ": this account has several routes, name one: r1 (Main), "
	  "R2",
	  .n_routes = 2 },
	{ "several, a header without one", FS X "{}\n",
	  .refusal = POOL_NAME
	  ": this account has several routes, name one: r1 (Main), "
	  "R2",
	  .n_routes = 2 },
	{ "unknown", IP_POOL("\"r9\""),
	  .refusal =
	      POOL_NAME ": not a route of this account; it has: r1 (Main), R2",
	  .n_routes = 2 },
	{ "a number", IP_POOL("1"),
	  .refusal = POOL_NAME " must be of type 'string'" },
	{ "a control character", IP_POOL("\"a\\n\""),
	  .refusal = POOL_NAME " holds a control character" },
};

static void
test_ip_pools(void **state)
{
	(void)state;
	CHECK_ROWS(ip_pools);
}

/* --- cc, bcc, archive
 * ---------------------------------------------------------- */

#define TO_R "to:r@example.com"

static const struct row copies[] = {
	{ "strings",
	  FS X "{\"cc\":[\"a@x.org\",\"b@x.org\"],\"bcc\":[\"c@x.org\"],"
	       "\"archive\":[\"d@x.org\"]}\n",
	  .what = "recipients",
	  .want = TO_R " cc:a@x.org cc:b@x.org bcc:c@x.org archive:d@x.org" },
	{ "objects",
	  FS X "{\"cc\":[{\"email\":\"a@x.org\",\"name\":\"CC 1\"}],\"bcc\":"
	       "[{\"email\":\"c@x.org\",\"name\":\"BCC 1\"}],\"archive\":"
	       "[{\"email\":\"d@x.org\",\"name\":\"Archive 1\"}]}\n",
	  .what = "recipients",
	  .want = TO_R
	  " cc:a@x.org=CC 1 bcc:c@x.org=BCC 1 archive:d@x.org=Archive 1" },
	{ "mixed, and an object without a name",
	  FS X "{\"cc\":[\"a@x.org\",{\"email\":\"b@x.org\"}]}\n",
	  .what = "recipients", .want = TO_R " cc:a@x.org cc:b@x.org" },
	{ "the order of the lists is not that of the header",
	  FS X "{\"archive\":[\"d@x.org\"],\"bcc\":[\"c@x.org\"],\"cc\":"
	       "[\"a@x.org\"]}\n",
	  .what = "recipients",
	  .want = TO_R " cc:a@x.org bcc:c@x.org archive:d@x.org" },
	{ "in several lists: one copy",
	  FS X "{\"cc\":[\"a@x.org\"],\"bcc\":[\"A@X.org\",\"b@x.org\"],"
	       "\"archive\":[\"b@x.org\",\"a@x.org\"]}\n",
	  .what = "recipients", .want = TO_R " cc:a@x.org bcc:b@x.org" },
	{ "twice in one list: one copy",
	  FS X "{\"cc\":[\"a@x.org\",\"a@X.ORG\"]}\n", .what = "recipients",
	  .want = TO_R " cc:a@x.org" },
	{ "of the envelope: no copy",
	  FS X "{\"cc\":[\"R@example.com\"],\"bcc\":[\"s@example.com\"]}\n",
	  .what = "recipients",
	  .want = TO_R " to:S@Example.com to:t@example.com",
	  .recipients = three },
	{ "of the envelope: no copy asked for",
	  FS X "{\"cc\":[\"R@example.com\"]}\n", .what = "asked",
	  .want = "text only: Content-Type; To and Cc shown: X-MSYS-API 'cc'" },
	{ "asked for",
	  FS X "{\"cc\":[\"a@x.org\"],\"bcc\":[\"c@x.org\"],"
	       "\"archive\":[\"d@x.org\"]}\n",
	  .what = "asked",
	  .want = "text only: Content-Type; To and Cc shown: X-MSYS-API 'cc'; "
		  "cc copies: X-MSYS-API 'cc'; "
		  "bcc copies: X-MSYS-API 'bcc'; "
		  "archive copies: X-MSYS-API 'archive'" },
	{ "Cc of its own and more: what is shown",
	  FS "Cc: b@x.org\n" X "{\"cc\":[\"r@example.com\"]}\n", .what = "asked",
	  .want = "text only: Content-Type; To and Cc shown: Cc" },
	{ "a UTF-8 address", FS X "{\"cc\":[\"" E_ACUTE "@x.org\"]}\n",
	  .what = "recipients", .want = TO_R " cc:" E_ACUTE "@x.org" },
	{ "a quoted local part", FS X "{\"cc\":[\"\\\"a b\\\"@x.org\"]}\n",
	  .what = "recipients", .want = TO_R " cc:\"a b\"@x.org" },
	{ "a name in UTF-8",
	  FS X "{\"cc\":[{\"email\":\"a@x.org\",\"name\":\"J\\u00f6rg\"}]}\n",
	  .what = "recipients", .want = TO_R " cc:a@x.org=J\xc3\xb6rg" },
	{ "no list", FS X "{\"cc\":\"a@x.org\"}\n",
	  .refusal = "X-MSYS-API 'cc' must be of type 'json array'" },
	{ "no list, bcc", FS X "{\"bcc\":{\"email\":\"a@x.org\"}}\n",
	  .refusal = "X-MSYS-API 'bcc' must be of type 'json array'" },
	{ "null is absent", FS X "{\"archive\":null,\"tags\":null,\"options\":null}\n",
	  .what = "recipients", .want = TO_R },
	{ "a name that is null",
	  FS X "{\"cc\":[{\"email\":\"a@x.org\",\"name\":null}]}\n",
	  .what = "recipients", .want = TO_R " cc:a@x.org" },
	{ "null in it", FS X "{\"cc\":[null]}\n",
	  .refusal = "X-MSYS-API 'cc[0]' must be of type 'string'" },
	{ "no list, archive", FS X "{\"archive\":\"\"}\n",
	  .refusal = "X-MSYS-API 'archive' must be of type 'json array'" },
	{ "an empty list", FS X "{\"cc\":[]}\n", .what = "recipients",
	  .want = TO_R },
	{ "a number in it", FS X "{\"cc\":[\"a@x.org\",1]}\n",
	  .refusal = "X-MSYS-API 'cc[1]' must be of type 'string'" },
	{ "no email", FS X "{\"bcc\":[{\"name\":\"a\"}]}\n",
	  .refusal = "X-MSYS-API 'bcc[0].email' must be of type 'string'" },
	{ "an email of another type", FS X "{\"bcc\":[{\"email\":1}]}\n",
	  .refusal = "X-MSYS-API 'bcc[0].email' must be of type 'string'" },
	{ "a name of another type",
	  FS X "{\"cc\":[{\"email\":\"a@x.org\",\"name\":1}]}\n",
	  .refusal = "X-MSYS-API 'cc[0].name' must be of type 'string'" },
	{ "a control character in a name",
	  FS X "{\"cc\":[{\"email\":\"a@x.org\",\"name\":\"a\\nb\"}]}\n",
	  .refusal = "X-MSYS-API 'cc[0].name' holds a control character" },
};

static void
test_copies(void **state)
{
	(void)state;
	CHECK_ROWS(copies);
}

static void
test_bad_addresses(void **state)
{
	static const char *const bad[] = {
		"",
		"a",
		"a@",
		"@x.org",
		"a b@x.org",
		"a@x.org,",
		",a@b.c",
		"a@x.org, b@x.org",
		"<a@x.org>",
		"Joe <a@x.org>",
		"a@b@c",
		"a@x.org\\n",
		" a@x.org",
		"a@x.org (Joe)",
		"g: a@x.org;",
		"a@x .org",
		"@y.org:a@x.org",
		"a@x.org\\r\\nBcc: b@x.org",
		"a@x>.org",
	};
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char headers[200];
		struct row r = {
			.name = bad[i],
			.headers = headers,
			.refusal =
			    "X-MSYS-API 'archive[0]' is not an address of "
			    "the form local@domain",
		};

		(void)snprintf(headers, sizeof(headers),
			       FS X "{\"archive\":[\"%s\"]}\n", bad[i]);
		wrong += !check_row(&r);
	}
	assert_int_equal(wrong, 0);
}

static void
test_long_address(void **state)
{
	(void)state;
	for (int more = 0; more < 2; more++) {
		DYNBUF_AUTO headers, want;
		struct row r = { .name = "a long address" };

		dynbuf_init(&headers, 2000);
		dynbuf_init(&want, 2000);
		dynbuf_addf(&headers,
			    FS X "{\"bcc\":[{\"email\":\"%0*d@x.org"
				 "\"}]}\n",
			    MSYS_API_ADDRESS_MAX - 6 + more, 0);
		dynbuf_addf(&want, TO_R " bcc:%0*d@x.org",
			    MSYS_API_ADDRESS_MAX - 6, 0);
		r.headers = dynbuf_str(&headers);
		r.what = "recipients";
		r.want = dynbuf_str(&want);
		if (more)
			r.refusal = "X-MSYS-API 'bcc[0].email' is not an "
				    "address of the form local@domain";
		assert_true(check_row(&r));
	}
}

/* 500 in cc, 300 in bcc, the rest in archive: `total` of them. */
static void
add_many(struct dynbuf *out, unsigned total)
{
	dynbuf_adds(out, FS X "{\"cc\":[");
	for (unsigned i = 0; i < total; i++)
		dynbuf_addf(out, "%s\"%u@x.org\"",
			    i == 500   ? "],\"bcc\":["
			    : i == 800 ? "],\"archive\":["
			    : i > 0    ? ",\n "
				       : "",
			    i);
	dynbuf_adds(out, "]}\n");
}

static void
test_many_copies(void **state)
{
	struct verdict v;
	DYNBUF_AUTO headers;

	(void)state;
	dynbuf_init(&headers, 60000);
	add_many(&headers, 1000);
	judge_message(dynbuf_str(&headers), "x", 1, three, &v);
	assert_int_equal(v.kind, VERDICT_HAND_OVER);
	assert_int_equal(v.outgoing->n_recipients, 1003);
	for (unsigned i = 0; i < 1000; i++) {
		const struct outgoing_recipient *r =
		    &v.outgoing->recipients[3 + i];
		char want[20];

		(void)snprintf(want, sizeof(want), "%u@x.org", i);
		assert_string_equal(r->email, want);
		assert_int_equal(r->kind, i < 500   ? OUTGOING_CC
					  : i < 800 ? OUTGOING_BCC
						    : OUTGOING_ARCHIVE);
	}
	verdict_clear(&v);
}

static void
test_too_many_copies(void **state)
{
	DYNBUF_AUTO headers;
	struct row r = { .name = "1001",
			 .refusal = "X-MSYS-API 'cc', 'bcc' and 'archive' are "
				    "limited to 1000 recipients" };

	(void)state;
	dynbuf_init(&headers, 60000);
	add_many(&headers, 1001);
	r.headers = dynbuf_str(&headers);
	assert_true(check_row(&r));
}

/* Those who get no copy of their own count, too. */
static void
test_too_many_duplicates(void **state)
{
	DYNBUF_AUTO headers;
	struct row r = { .name = "1001 of one address",
			 .refusal = "X-MSYS-API 'cc', 'bcc' and 'archive' are "
				    "limited to 1000 recipients" };

	(void)state;
	dynbuf_init(&headers, 60000);
	dynbuf_adds(&headers, FS X "{\"bcc\":[\"a@b.c\"");
	for (int i = 0; i < 1000; i++)
		dynbuf_adds(&headers, ",\"a@b.c\"");
	dynbuf_adds(&headers, "]}\n");
	r.headers = dynbuf_str(&headers);
	assert_true(check_row(&r));
}

static const struct row shown[] = {
	{ "the list as it is",
	  FS X "{\"cc\":[\"a@x.org\",{\"email\":\"b@x.org\",\"name\":\"CC 1\"},"
	       "{\"email\":\"c@x.org\",\"name\":\"Doe, Joe\"}]}\n",
	  .what = "cc",
	  .want = "a@x.org, CC 1 <b@x.org>, \"Doe, Joe\" <c@x.org>" },
	{ "bcc and archive are not in it",
	  FS X "{\"bcc\":[\"a@x.org\"],\"archive\":[\"b@x.org\"]}\n",
	  .what = "cc", .want = "(absent)" },
	{ "the client's own header", FS "Cc: Jo <j@x.org>, k@x.org\n",
	  .what = "cc", .want = "Jo <j@x.org>, k@x.org" },
	{ "both: the client's own first, and nobody twice",
	  FS "Cc: Jo <j@x.org>\n" X "{\"cc\":[{\"email\":\"J@x.org\",\"name\":"
	     "\"J\"},\"b@x.org\"]}\n",
	  .what = "cc", .want = "Jo <j@x.org>, b@x.org" },
	{ "who is of the envelope is shown",
	  FS X "{\"cc\":[\"r@example.com\"]}\n", .what = "cc",
	  .want = "r@example.com" },
	{ "twice in the list", FS X "{\"cc\":[\"a@x.org\",\"A@x.org\"]}\n",
	  .what = "cc", .want = "a@x.org" },
	{ "an encoded name", FS "Cc: =?utf-8?q?J=C3=B6rg?= <j@x.org>\n",
	  .what = "cc", .want = "J\xc3\xb6rg <j@x.org>" },
	{ "his own header makes nobody a recipient", FS "Cc: j@x.org\n",
	  .what = "recipients", .want = TO_R },
	{ "a control character in his own header",
	  FS "Cc: =?utf-8?q?a=0Ab?= <j@x.org>\n",
	  .refusal = "Cc: too many addresses, or a control character" },
	{ "To is shown", FS "To: Jane <r@example.com>\n", .what = "to",
	  .want = "Jane <r@example.com>" },
	{ "and names him", FS "To: Jane <r@example.com>\n",
	  .what = "recipients", .want = TO_R "=Jane" },
	{ "To, a comma in an encoded name",
	  FS "To: =?utf-8?q?Doe=2C_Joe?= <r@example.com>\n", .what = "to",
	  .want = "\"Doe, Joe\" <r@example.com>" },
	{ "To, an address in an encoded name is a name",
	  FS "To: =?utf-8?q?=3Ce=40evil.example=3E?= <r@example.com>\n",
	  .what = "to", .want = "\"<e@evil.example>\" <r@example.com>" },
	{ "no To", FS, .what = "to", .want = "(absent)" },
	{ "Bcc is not shown", FS "Bcc: a@x.org\nX-A: b\n", .what = "headers",
	  .want = "X-A: b" },
};

static void
test_shown(void **state)
{
	(void)state;
	CHECK_ROWS(shown);
}

/* --- the rest of the message
 * -------------------------------------------------- */

static const struct row others[] = {
	{ "the envelope sender", FS, .what = "return_path",
	  .want = "bounce@example.com" },
	{ "the subject", FS, .what = "subject", .want = "S" },
	{ "an encoded subject", F "Subject: =?utf-8?q?=C3=A9?=\n",
	  .what = "subject", .want = E_ACUTE },
	{ "no subject", F, .what = "subject", .want = "(absent)" },
	{ "From, a comma in an encoded name",
	  S "From: =?utf-8?q?Doe=2C_Joe?= <j@x.org>\n", .what = "from_name",
	  .want = "Doe, Joe" },
	{ "From, an address in an encoded name is a name",
	  S "From: =?utf-8?q?=3Ce=40evil.example=3E?= <j@x.org>\n",
	  .what = "from_email", .want = "j@x.org" },
	{ "an encoded Reply-To", FS "Reply-To: =?utf-8?q?=C3=A9?= <j@x.org>\n",
	  .what = "reply_to", .want = E_ACUTE " <j@x.org>" },
	{ "a Message-ID is not decoded",
	  FS "Message-ID: <=?utf-8?q?1?=@x.org>\n", .what = "message_id",
	  .want = "<=?utf-8?q?1?=@x.org>" },
	{ "Reply-To", FS "Reply-To: Jo <j@x.org>\n", .what = "reply_to",
	  .want = "Jo <j@x.org>" },
	{ "Message-ID", FS "Message-ID: <1@x.org>\n", .what = "message_id",
	  .want = "<1@x.org>" },
	{ "other headers go along",
	  FS "X-Mailer: m\nDate: today\nMIME-Version: 1.0\nList-Unsubscribe: "
	     "<x>\nReceived: by x\nX-MSYS-API: {}\n",
	  .what = "headers", .want = "X-Mailer: m; List-Unsubscribe: <x>" },
	{ "no From", S, .refusal = "From: header missing" },
	{ "HTML", FS "Content-Type: text/html\n", .what = "html",
	  .want = "<p>x", .body = "<p>x" },
	{ "text", FS, .what = "text", .want = "hello", .body = "hello" },
	{ "nothing", FS,
	  .refusal = "The message has no HTML or text part to send",
	  .body = "" },
	{ "an unknown charset", FS "Content-Type: text/html; charset=x-none\n",
	  .refusal = "Content-Type: unknown charset \"x-none\"",
	  .body = "\xe9" },
};

static void
test_others(void **state)
{
	(void)state;
	CHECK_ROWS(others);
}

#define MULTI(type) \
	FS "MIME-Version: 1.0\nContent-Type: multipart/" type "; boundary=b\n"
#define PART(type, body) "--b\r\nContent-Type: " type "\r\n\r\n" body "\r\n"
#define TEXT PART("text/plain", "t")
#define AMP PART("text/x-amp-html", "<html amp4email>")
#define HTML PART("text/html", "<p>h")
#define END "--b--\r\n"
#define ALL_THREE TEXT AMP HTML END
#define MISPLACED                                         \
	"Content-Type: text/x-amp-html must be within a " \
	"multipart/alternative, beside a text/html or text/plain part"
#define FILES                                                             \
	HTML "--b\r\nContent-Type: image/png; name=i.png\r\nContent-ID: " \
	     "<i>\r\nContent-Disposition: inline\r\n\r\npng\r\n"          \
	     "--b\r\nContent-Type: text/csv\r\nContent-Disposition: "     \
	     "attachment; filename=a.csv\r\n\r\n1,2\r\n" END

static const struct row bodies[] = {
	{ "HTML of three", MULTI("alternative"), .body = ALL_THREE,
	  .what = "html", .want = "<p>h" },
	{ "text of three", MULTI("alternative"), .body = ALL_THREE,
	  .what = "text", .want = "t" },
	{ "AMP of three", MULTI("alternative"), .body = ALL_THREE,
	  .what = "amp", .want = "<html amp4email>" },
	{ "three asked for", MULTI("alternative"), .body = ALL_THREE,
	  .what = "asked",
	  .want = "text part: Content-Type; AMP part: Content-Type" },
	{ "AMP beside text", MULTI("alternative"), .body = TEXT AMP END,
	  .what = "amp", .want = "<html amp4email>" },
	{ "AMP alone", MULTI("alternative"), .body = AMP END,
	  .refusal = MISPLACED },
	{ "AMP in a multipart/mixed", MULTI("mixed"), .body = ALL_THREE,
	  .refusal = MISPLACED },
	{ "AMP as the whole message", FS "Content-Type: text/x-amp-html\n",
	  .body = "<html amp4email>", .refusal = MISPLACED },
	{ "files are kept", MULTI("mixed"), .body = FILES, .what = "files",
	  .want = "i.png image/png inline png; a.csv text/csv attached 1,2" },
	{ "files asked for", MULTI("mixed"), .body = FILES, .what = "asked",
	  .want = "attachments: Content-Disposition; "
		  "inline images: Content-Disposition" },
	{ "a file alone", MULTI("mixed"),
	  .body = "--b\r\nContent-Type: image/png\r\n\r\npng\r\n" END,
	  .refusal = "The message has no HTML or text part to send" },
};

static void
test_bodies(void **state)
{
	(void)state;
	CHECK_ROWS(bodies);
}

static void
test_subaccount(void **state)
{
	struct account *a = account_new("acme");
	struct message *m = message_new("");
	struct verdict v;

	(void)state;
	assert_true(account_add_route(a, "r1", ""));
	message_recipient(m, "r@example.com");
	message_set_subaccount(m, "123");
	give_headers(m, FS);
	(void)message_body(m, "x", 1);
	judge(m, a, &dialect_sparkpost, &no_routes, &v);
	assert_int_equal(v.kind, VERDICT_HAND_OVER);
	assert_string_equal(v.outgoing->subaccount, "123");
	assert_string_equal(v.outgoing->asked[FEATURE_SUBACCOUNT], "AUTH");
	verdict_clear(&v);
	message_free(&m);
	account_free(&a);
}

static void
test_dialect(void **state)
{
	const struct dialect *d = &dialect_sparkpost;

	(void)state;
	assert_ptr_equal(dialect_find("sparkpost"), d);
	assert_true(dialect_is_control("x-msys-api"));
	assert_null(d->key_header);
	assert_null(d->route_header);
	assert_int_equal(d->recipients_max, 0);
	assert_int_equal(d->body_wants & WANTS, WANTS);
	assert_true(d->keeps_others);
	assert_false(d->completes_to);
	assert_false(d->html_only);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clients),
		cmocka_unit_test(test_campaigns),
		cmocka_unit_test(test_metadata),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_ip_pools),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_bad_addresses),
		cmocka_unit_test(test_long_address),
		cmocka_unit_test(test_many_copies),
		cmocka_unit_test(test_too_many_copies),
		cmocka_unit_test(test_too_many_duplicates),
		cmocka_unit_test(test_shown),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_subaccount),
		cmocka_unit_test(test_dialect),
	};

	header_text_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
