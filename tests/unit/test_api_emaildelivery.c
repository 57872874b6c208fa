/* SPDX-License-Identifier: MIT */
/*
 * The EmailDelivery API: what is sent, and what an answer means to the client
 * (api.c's table of statuses is tested here, too: it needs a format).
 */
#include "policy/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "policy/account.h"
#include "policy/dynbuf.h"
#include "policy/json_text.h"
#include "policy/outgoing.h"

#define OK_BODY "{\"tag\":\"untagged\",\"to\":\"r@x\",\"result\":\"ok\"}"
#define FIFTY "0123456789 123456789 123456789 123456789 123456789"
#define FOUR_HUNDRED FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY

static const struct api_format *const f = &api_emaildelivery;

static void
test_names(void **state)
{
	(void)state;
	assert_ptr_equal(api_find("emaildelivery"), f);
	assert_null(api_find("EmailDelivery"));
	assert_null(api_find(""));
	assert_null(api_find("nosuch"));
	assert_string_equal(f->keys->routes_path, "/userroutes");
	assert_string_equal(f->keys->account_path, "/ping");
	assert_string_equal(f->keys->key_header, "X-Auth-APIKey");
}

static void
test_head(void **state)
{
	char long_key[API_HEADER_MAX + 1];
	struct api_head h = { 0 };

	(void)state;
	assert_true(f->head(NULL, NULL, "k1", &h));
	assert_string_equal(h.path, "/transactional/send");
	assert_int_equal(h.n_headers, 1);
	assert_string_equal(h.headers[0], "X-Auth-APIKey: k1");
	memset(long_key, 'k', sizeof(long_key) - 1);
	long_key[sizeof(long_key) - 1] = '\0';
	h = (struct api_head){ 0 };
	assert_false(f->head(NULL, NULL, long_key, &h));
}

/* --- requests ------------------------------------------------------------- */

#define LEAST                                                         \
	.from_name = (char[]){ "" }, .from_email = (char[]){ "s@x" }, \
	.return_path = (char[])                                       \
	{                                                             \
		""                                                    \
	}
#define S(text) ((char[]){ text })
#define HEAD                                                 \
	"{\"to\":\"r@x\",\"toname\":\"\",\"fromname\":\"\"," \
	"\"fromemail\":\"s@x\",\"returnpath\":\"\""

static void
check_request(const char *name, const struct outgoing_recipient *r,
	      const struct outgoing *o, const char *want)
{
	DYNBUF_AUTO out;
	json_t *root;

	dynbuf_init(&out, API_REQUEST_MAX);
	assert_true(f->recipient_piece(NULL, o, r, &out));
	assert_true(f->shared_piece(NULL, o, &out));
	if (strcmp(dynbuf_str(&out), want) != 0)
		fail_msg("%s: %s", name, dynbuf_str(&out));
	root = json_loadb(out.data, out.len, JSON_DECODE_INT_AS_REAL, NULL);
	if (!json_is_object(root))
		fail_msg("%s: not a JSON object", name);
	json_decref(root);
}

static void
test_requests(void **state)
{
	const struct outgoing_recipient r = { .email = S("r@x"),
					      .name = S("") };
	const struct {
		const char *name;
		struct outgoing o;
		const char *want;
	} rows[] = {
		{ "what must be there", { LEAST }, HEAD "}" },
		{ "subject",
		  { LEAST, .subject = S("S") },
		  HEAD ",\"subject\":\"S\"}" },
		{ "reply_to",
		  { LEAST, .reply_to = S("a@x, b@x") },
		  HEAD ",\"replyto\":\"a@x, b@x\"}" },
		{ "tag", { LEAST, .tag = S("t") }, HEAD ",\"tag\":\"t\"}" },
		{ "a tag of another dialect",
		  { LEAST, .tag = S("Password  R\xc3\xa9set!") },
		  HEAD ",\"tag\":\"password-r-set\"}" },
		{ "a tag of which nothing is left",
		  { LEAST, .tag = S("\xe6\xb3\xa8") }, HEAD "}" },
		{ "a tag that cannot be is not sent in part",
		  { LEAST, .tag = S("1234567890123456789") },
		  HEAD "}" },
		{ "text alone, as HTML",
		  { LEAST, .text = S("a <b>\nc "), .text_len = 8 },
		  HEAD ",\"body\":\"a &lt;b&gt;<br>\\nc \"}" },
		{ "text alone, flowed",
		  { LEAST, .text = S("a \nb"), .text_len = 4,
		    .text_is_flowed = true },
		  HEAD ",\"body\":\"a b\"}" },
		{ "text beside HTML",
		  { LEAST, .html = S("h"), .html_len = 1, .text = S("t"),
		    .text_len = 1 },
		  HEAD ",\"body\":\"h\"}" },
		{ "route",
		  { LEAST, .route_id = S("r1") },
		  HEAD ",\"route\":\"r1\"}" },
		{ "template",
		  { LEAST, .template_id = S("t1") },
		  HEAD ",\"template\":\"t1\"}" },
		{ "variables, as they were written",
		  { LEAST, .variables = S("{ \"a\" : 12345678901234567890, "
					  "\"b\":1.0, \"b\":[1e2,-0] }") },
		  HEAD ",\"variables\":{ \"a\" : 12345678901234567890, "
		       "\"b\":1.0, \"b\":[1e2,-0] }}" },
		{ "body",
		  { LEAST, .html = S("<p>\"a\\b\"\r\n\t</p>"), .html_len = 15 },
		  HEAD ",\"body\":\"<p>\\\"a\\\\b\\\"\\r\\n\\t</p>\"}" },
		{ "the body's length counts",
		  { LEAST, .html = S("abc"), .html_len = 2 },
		  HEAD ",\"body\":\"ab\"}" },
		{ "the message id is not sent",
		  { LEAST, .message_id = S("<1@x>") },
		  HEAD "}" },
		{ "quotes in a value",
		  { LEAST, .subject = S("a\"b\\c") },
		  HEAD ",\"subject\":\"a\\\"b\\\\c\"}" },
		{ "UTF-8",
		  { LEAST, .subject = S("\xc3\xa9") },
		  HEAD ",\"subject\":\"\xc3\xa9\"}" },
		{ "all in this order",
		  { LEAST, .subject = S("s"), .reply_to = S("p"), .tag = S("t"),
		    .route_id = S("r"), .template_id = S("T"),
		    .variables = S("{}"), .html = S("h"), .html_len = 1 },
		  HEAD ",\"subject\":\"s\",\"replyto\":\"p\",\"tag\":\"t\","
		       "\"route\":\"r\",\"template\":\"T\",\"variables\":{},"
		       "\"body\":\"h\"}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_request(rows[i].name, &r, &rows[i].o, rows[i].want);
}

static void
test_recipient(void **state)
{
	const struct outgoing_recipient r = { .email = S("r\"@x"),
					      .name = S("Doe, \"J\"") };
	const struct outgoing o = {
		.from_name = S("Shop \"X\""),
		.from_email = S("s@x"),
		.return_path = S("bounce@x"),
	};

	(void)state;
	check_request("names", &r, &o,
		      "{\"to\":\"r\\\"@x\",\"toname\":\"Doe, \\\"J\\\"\","
		      "\"fromname\":\"Shop \\\"X\\\"\",\"fromemail\":\"s@x\","
		      "\"returnpath\":\"bounce@x\"}");
}

static const struct {
	const char *name;
	struct outgoing o;
	const char *refusal; /* NULL: it fits */
} fits[] = {
	{ "least", { LEAST, .subject = S("s"), .html = S("h") }, NULL },
	{ "text alone", { LEAST, .subject = S("s"), .text = S("t") }, NULL },
	{ "a template has the rest", { LEAST, .template_id = S("T") }, NULL },
	{ "no subject",
	  { LEAST, .html = S("h") },
	  "Subject: header missing, and the API of the route needs one" },
	{ "no body",
	  { LEAST, .subject = S("s") },
	  "The message has no HTML or text part to send" },
	{ "the longest tag",
	  { LEAST, .template_id = S("T"), .tag = S("Password  Reset 123") },
	  NULL },
	{ "a longer one",
	  { LEAST, .template_id = S("T"), .tag = S("Password Reset 12345"),
	    .asked = { [FEATURE_TAG] = "X-Cmail-GroupName" } },
	  "X-Cmail-GroupName: too long for the API of the route: it takes 18 "
	  "characters" },
	{ "a longer one that nobody insists on",
	  { LEAST, .template_id = S("T"), .tag = S("Password Reset 12345"),
	    .wished = { [FEATURE_TAG] = true } },
	  NULL },
};

static void
test_fits(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(fits) / sizeof(fits[0]); i++) {
		struct smtp_reply reply = { 0 };
		bool ok = f->fits(&fits[i].o, &reply);

		if (ok != (fits[i].refusal == NULL) ||
		    (!ok && strcmp(reply.text, fits[i].refusal) != 0))
			fail_msg("%s: %s", fits[i].name, reply.text);
	}
}

/* Each piece says so when it does not fit, wherever it ends. */
static void
test_full(void **state)
{
	const struct outgoing_recipient r = { .email = S("r@x"),
					      .name = S("R") };
	const struct outgoing o = {
		LEAST,
		.subject = S("s"),
		.reply_to = S("p"),
		.tag = S("t"),
		.route_id = S("r"),
		.template_id = S("T"),
		.variables = S("{}"),
		.html = S("h"),
		.html_len = 1,
	};
	DYNBUF_AUTO whole;
	size_t first;

	(void)state;
	dynbuf_init(&whole, 10000);
	assert_true(f->recipient_piece(NULL, &o, &r, &whole));
	first = whole.len;
	assert_true(f->shared_piece(NULL, &o, &whole));
	for (size_t max = 0; max < whole.len; max++) {
		DYNBUF_AUTO out;

		dynbuf_init(&out, max);
		assert_int_equal(f->recipient_piece(NULL, &o, &r, &out),
				 max >= first);
		assert_false(f->shared_piece(NULL, &o, &out));
	}
}

/* --- answers -------------------------------------------------------------- */

static const struct {
	const char *name;
	unsigned status;
	const char *body;
	enum api_outcome_kind kind;
	int code;
	const char *enhanced;
	const char *text; /* all of it, or up to '*' */
} answers[] = {
	{ "accepted", 200, OK_BODY, API_ACCEPTED, 250, "2.0.0", "Accepted" },
	{ "accepted with words", 200, "{\"result\":\"ok\",\"title\":\"words\"}",
	  API_ACCEPTED, 250, "2.0.0", "Accepted" },
	{ "201", 201, OK_BODY, API_ACCEPTED, 250, "2.0.0", "Accepted" },
	{ "299", 299, OK_BODY, API_ACCEPTED, 250, "2.0.0", "Accepted" },
	{ "accepted, but not ok", 200, "{\"result\":\"no\"}", API_MISFIT, 451,
	  "4.3.5", "The API gave an answer that cannot be used" },
	{ "accepted, result is no string", 200, "{\"result\":true}", API_MISFIT,
	  451, "4.3.5", "The API gave an answer that cannot be used" },
	{ "accepted, no result", 200, "{}", API_MISFIT, 451, "4.3.5",
	  "The API gave an answer that cannot be used" },
	{ "accepted, nothing", 200, "", API_MISFIT, 451, "4.3.5",
	  "The API gave an answer that cannot be used" },
	{ "accepted, truncated", 200, "{\"result\":\"ok\"", API_MISFIT, 451,
	  "4.3.5", "The API gave an answer that cannot be used" },
	{ "accepted, a web page", 200, "<html>ok</html>", API_MISFIT, 451,
	  "4.3.5", "The API gave an answer that cannot be used" },
	{ "accepted, a long result", 200, "{\"result\":\"okokokokokokokokok\"}",
	  API_MISFIT, 451, "4.3.5",
	  "The API gave an answer that cannot be used" },
	{ "no answer", 0, "{\"title\":\"words\"}", API_LATER, 451, "4.4.1",
	  "The API did not answer" },
	{ "100", 100, "", API_MISFIT, 451, "4.3.5", "The API gave an answer*" },
	{ "1", 1, "", API_MISFIT, 451, "4.3.5", "The API gave an answer*" },
	{ "199", 199, OK_BODY, API_MISFIT, 451, "4.3.5",
	  "The API gave an answer*" },
	{ "300", 300, OK_BODY, API_MISFIT, 451, "4.3.5",
	  "The API gave an answer*" },
	{ "301", 301, "", API_MISFIT, 451, "4.3.5", "The API gave an answer*" },
	{ "302", 302, OK_BODY, API_MISFIT, 451, "4.3.5",
	  "The API gave an answer*" },
	{ "400 with a description", 400,
	  "{\"title\":\"Missing parameter\",\"description\":\"Invalid tag.\"}",
	  API_REFUSED, 550, "5.6.0",
	  "The API refused the message: Invalid tag." },
	{ "400 with a title", 400, "{\"title\":\"Too many tags\"}", API_REFUSED,
	  550, "5.6.0", "The API refused the message: Too many tags" },
	{ "400 with an empty description", 400,
	  "{\"title\":\"Missing parameter\",\"description\":\"\"}", API_REFUSED,
	  550, "5.6.0", "The API refused the message: Missing parameter" },
	{ "400 with neither", 400, "{}", API_REFUSED, 550, "5.6.0",
	  "The API refused the message" },
	{ "400 with a web page", 400, "<html>", API_REFUSED, 550, "5.6.0",
	  "The API refused the message" },
	{ "400 with line ends", 400,
	  "{\"description\":\"a\\r\\n250 ok\\u001b[0m\"}", API_REFUSED, 550,
	  "5.6.0", "The API refused the message: a 250 ok?[0m" },
	{ "400 with percent", 400, "{\"description\":\"100%s\"}", API_REFUSED,
	  550, "5.6.0", "The API refused the message: 100%s" },
	{ "400 with a very long description", 400,
	  "{\"title\":\"t\",\"description\":\"" FOUR_HUNDRED "\"}", API_REFUSED,
	  550, "5.6.0", "The API refused the message: 0123456789 123456789*" },
	{ "401", 401, "{\"title\":\"Invalid login\"}", API_KEY_WRONG, 535,
	  "5.7.8", "The API key is wrong or revoked" },
	{ "402", 402, "", API_MISFIT, 451, "4.3.5", "The API gave an answer*" },
	{ "403", 403, "{\"title\":\"403 Forbidden\"}", API_REFUSED, 550,
	  "5.7.1",
	  "The API does not allow this account to send that: 403 Forbidden" },
	{ "404", 404, "{\"description\":\"secret\"}", API_MISFIT, 451, "4.3.5",
	  "The API gave an answer that cannot be used" },
	{ "405", 405, "", API_MISFIT, 451, "4.3.5", "The API gave an answer*" },
	{ "407", 407, "", API_MISFIT, 451, "4.3.5", "The API gave an answer*" },
	{ "408", 408, "{\"title\":\"words\"}", API_LATER, 451, "4.4.2",
	  "The API is busy" },
	{ "409", 409, "{\"title\":\"words\"}", API_LATER, 451, "4.4.2",
	  "The API is busy" },
	{ "410", 410, "", API_MISFIT, 451, "4.3.5", "The API gave an answer*" },
	{ "413", 413, "{\"title\":\"too big\"}", API_REFUSED, 552, "5.3.4",
	  "The message is too large: too big" },
	{ "414", 414, "", API_MISFIT, 451, "4.3.5", "The API gave an answer*" },
	{ "420", 420, "{\"title\":\"words\"}", API_LATER, 451, "4.4.5",
	  "The API's limit is reached" },
	{ "421", 421, "", API_MISFIT, 451, "4.3.5", "The API gave an answer*" },
	{ "422", 422, "{\"title\":\"no\"}", API_REFUSED, 550, "5.6.0",
	  "The API refused the message: no" },
	{ "423", 423, "", API_MISFIT, 451, "4.3.5", "The API gave an answer*" },
	{ "425", 425, "{\"title\":\"words\"}", API_LATER, 451, "4.4.2",
	  "The API is busy" },
	{ "429", 429, "{\"title\":\"words\"}", API_LATER, 451, "4.4.5",
	  "The API's limit is reached" },
	{ "426", 426, "", API_MISFIT, 451, "4.3.5", "The API gave an answer*" },
	{ "430", 430, "", API_MISFIT, 451, "4.3.5", "The API gave an answer*" },
	{ "499", 499, "", API_MISFIT, 451, "4.3.5", "The API gave an answer*" },
	{ "500", 500, "{\"title\":\"500 Internal Server Error\"}", API_LATER,
	  451, "4.4.2", "The API failed" },
	{ "503", 503, "", API_LATER, 451, "4.4.2", "The API failed" },
	{ "599", 599, "", API_LATER, 451, "4.4.2", "The API failed" },
	{ "600", 600, "", API_MISFIT, 451, "4.3.5", "The API gave an answer*" },
	{ "999", 999, "", API_MISFIT, 451, "4.3.5", "The API gave an answer*" },
	{ "1000", 1000, "", API_MISFIT, 451, "4.3.5",
	  "The API gave an answer*" },
	{ "20000", 20000, OK_BODY, API_MISFIT, 451, "4.3.5",
	  "The API gave an answer*" },
};

static bool
matches(const char *text, const char *want)
{
	size_t n = strlen(want);

	if (want[n - 1] == '*')
		return strncmp(text, want, n - 1) == 0;
	return strcmp(text, want) == 0;
}

static void
test_answers(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		size_t len = strlen(answers[i].body);
		char *body = malloc(len != 0 ? len : 1);
		struct api_outcome o;

		assert_non_null(body);
		memcpy(body, answers[i].body, len);
		memset(&o, 0x7f, sizeof(o));
		api_outcome(f, answers[i].status, body, len, &o);
		free(body);
		if (o.kind != answers[i].kind ||
		    o.reply.code != answers[i].code ||
		    strcmp(o.reply.enhanced, answers[i].enhanced) != 0 ||
		    !matches(o.reply.text, answers[i].text) ||
		    o.id[0] != '\0') {
			printf("%s: %d %d %s %s\n", answers[i].name,
			       (int)o.kind, o.reply.code, o.reply.enhanced,
			       o.reply.text);
			bad++;
		}
	}
	assert_int_equal(bad, 0);
}

static void
test_key_answers(void **state)
{
	static const struct {
		unsigned status;
		enum api_key_answer want;
	} v[] = {
		{ 200, API_KEY_GOOD },	  { 401, API_KEY_BAD },
		{ 403, API_KEY_BAD },	  { 0, API_KEY_NO_IDEA },
		{ 201, API_KEY_NO_IDEA }, { 204, API_KEY_NO_IDEA },
		{ 302, API_KEY_NO_IDEA }, { 400, API_KEY_NO_IDEA },
		{ 402, API_KEY_NO_IDEA }, { 404, API_KEY_NO_IDEA },
		{ 429, API_KEY_NO_IDEA }, { 500, API_KEY_NO_IDEA },
		{ 503, API_KEY_NO_IDEA },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		if (api_key_answer(v[i].status) != v[i].want)
			fail_msg("%u", v[i].status);
	}
}

static const struct {
	const char *name;
	const char *body;
	bool want;
	const char *routes;
} routes[] = {
	{ "none", "[]", true, "" },
	{ "two", "[{\"name\":\"Main\",\"id\":\"r1\"},{\"id\":\"r2\"}]", true,
	  "r1=Main r2= " },
	{ "a name that is no string", "[{\"name\":null,\"id\":\"r1\"}]", true,
	  "r1= " },
	{ "more members", "[{\"id\":\"r1\",\"name\":\"x\",\"published\":1}]",
	  true, "r1=x " },
	{ "an object", "{\"id\":\"r1\"}", false, NULL },
	{ "a route without id", "[{\"name\":\"Main\"}]", false, NULL },
	{ "an id that is no string", "[{\"id\":7}]", false, NULL },
	{ "an empty id", "[{\"id\":\"\"}]", false, NULL },
	{ "a control character", "[{\"id\":\"r\\n1\"}]", false, NULL },
	{ "truncated", "[{\"id\":\"r1\"}", false, NULL },
	{ "nothing", "", false, NULL },
	{ "a web page", "<html>", false, NULL },
};

static void
test_read_routes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		struct account *a = account_new("acme");
		DYNBUF_AUTO got;
		bool ok = f->keys->read_routes(routes[i].body,
					       strlen(routes[i].body), a);

		dynbuf_init(&got, 1000);
		for (size_t k = 0; k < a->n_routes; k++)
			dynbuf_addf(&got, "%s=%s ", a->routes[k].id,
				    a->routes[k].name);
		if (ok != routes[i].want ||
		    (ok && strcmp(dynbuf_str(&got), routes[i].routes) != 0))
			fail_msg("%s: %d %s", routes[i].name, ok,
				 dynbuf_str(&got));
		account_free(&a);
	}
}

static void
test_read_too_many_routes(void **state)
{
	(void)state;
	for (int more = 0; more < 2; more++) {
		struct account *a = account_new("acme");
		DYNBUF_AUTO body;

		dynbuf_init(&body, API_ANSWER_MAX);
		for (int i = 0; i < ACCOUNT_ROUTES_MAX + more; i++)
			dynbuf_adds(&body,
				    i ? ",{\"id\":\"r\"}" : "[{\"id\":\"r\"}");
		dynbuf_adds(&body, "]");
		assert_int_equal(f->keys->read_routes(body.data, body.len, a),
				 !more);
		account_free(&a);
	}
}

static const struct {
	const char *name;
	const char *body;
	const char *want; /* NULL: unusable */
} accounts[] = {
	{ "a name", "[{\"name\":\"Acme, Inc\"}]", "acme-inc" },
	{ "more members", "[{\"id\":1,\"name\":\"acme\"}]", "acme" },
	{ "nobody", "[]", NULL },
	{ "no name", "[{\"id\":\"x\"}]", NULL },
	{ "a name of nothing", "[{\"name\":\"\"}]", NULL },
	{ "a name of no letters", "[{\"name\":\"--\"}]", NULL },
	{ "a name that is no string", "[{\"name\":7}]", NULL },
	{ "an object", "{\"name\":\"acme\"}", NULL },
	{ "nothing", "", NULL },
};

static void
test_read_account(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(accounts) / sizeof(accounts[0]); i++) {
		char id[ACCOUNT_ID_MAX + 1] = "unset";
		bool ok = f->keys->read_account(accounts[i].body,
						strlen(accounts[i].body), id);

		if (ok != (accounts[i].want != NULL) ||
		    (ok && strcmp(id, accounts[i].want) != 0))
			fail_msg("%s: %d %s", accounts[i].name, ok, id);
	}
}

static int
setup(void **state)
{
	(void)state;
	json_text_init();
	return 0;
}

/* --- what becomes of a message ---------------------------------------------
 */

static const struct {
	const char *name;
	struct api_tally tally; /* recipients, accepted, refused, open */
	enum api_conclusion want;
} tallies[] = {
	{ "one, accepted", { 1, 1, 0, 0, false, false }, API_ALL_SENT },
	{ "one, refused", { 1, 0, 1, 0, false, false }, API_ALL_REFUSED },
	{ "one, open", { 1, 0, 0, 1, false, false }, API_REST_QUEUED },
	{ "one, misfit", { 1, 0, 0, 1, false, true }, API_NOT_OURS },
	{ "one, wrong key", { 1, 0, 1, 0, true, false }, API_ALL_REFUSED },
	{ "all accepted", { 3, 3, 0, 0, false, false }, API_ALL_SENT },
	{ "all refused", { 3, 0, 3, 0, false, false }, API_ALL_REFUSED },
	{ "all open", { 3, 0, 0, 3, false, false }, API_REST_QUEUED },
	{ "wrong key, the others open",
	  { 3, 0, 1, 2, true, false },
	  API_ALL_REFUSED },
	{ "misfit, the others open",
	  { 3, 0, 0, 3, false, true },
	  API_NOT_OURS },
	{ "misfit and refused", { 3, 0, 1, 2, false, true }, API_REST_QUEUED },
	{ "refused and open", { 3, 0, 1, 2, false, false }, API_REST_QUEUED },
	{ "accepted and refused",
	  { 3, 2, 1, 0, false, false },
	  API_REST_QUEUED },
	{ "accepted and open", { 3, 2, 0, 1, false, false }, API_REST_QUEUED },
	{ "accepted and misfit", { 3, 1, 0, 2, false, true }, API_REST_QUEUED },
	{ "accepted and wrong key",
	  { 3, 1, 1, 1, true, false },
	  API_REST_QUEUED },
};

static void
test_conclusions(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(tallies) / sizeof(tallies[0]); i++) {
		if (api_conclude(&tallies[i].tally) != tallies[i].want)
			fail_msg("%s", tallies[i].name);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_recipient),
		cmocka_unit_test(test_fits),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_conclusions),
		cmocka_unit_test(test_key_answers),
		cmocka_unit_test(test_read_routes),
		cmocka_unit_test(test_read_too_many_routes),
		cmocka_unit_test(test_read_account),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
