/* SPDX-License-Identifier: MIT */
/*
 * The SparkPost API: what is sent, and what an answer means.
 */
#include "api_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "policy/dynbuf.h"
#include "policy/json_text.h"

static const struct api_format *const f = &api_sparkpost;

#define TO "{\"recipients\":[{\"address\":{\"email\":\"r@x\"}}]"
#define CONTENT ",\"content\":{"
#define FROM_S "\"from\":{\"email\":\"s@x\"}"
#define FROM CONTENT FROM_S
#define OFF "\"open_tracking\":false,\"click_tracking\":false,"
#define NO_TEMPLATES "\"perform_substitutions\":false"
#define OPTIONS "},\"options\":{" OFF NO_TEMPLATES "}"

static void
test_heads(void **state)
{
	static const struct head_row rows[] = {
		{ "k1", NULL, "/transmissions", "Authorization: k1\n", "" },
		{ "k1", "123", "/transmissions",
		  "Authorization: k1\nX-MSYS-SUBACCOUNT: 123\n", "" },
		{ "", NULL, NULL, NULL, NULL },
	};

	(void)state;
	assert_ptr_equal(api_find("sparkpost"), f);
	assert_null(f->keys);
	assert_int_equal(heads_wrong(f, rows, N_ELEMENTS(rows)), 0);
}

/* --- requests ------------------------------------------------------------- */

static void
test_requests(void **state)
{
	struct body_file files[] = {
		{ .name = S("a.txt"),
		  .type = S("text/plain; charset=utf-8"),
		  .data = S("hello"),
		  .len = 5 },
		{ .name = S("logo.png"),
		  .type = S("image/png"),
		  .content_id = S("logo@x"),
		  .is_inline = true,
		  .data = S("\xff\x00\xfe"),
		  .len = 3 },
		{ .name = S("b.png"),
		  .type = S("image/png"),
		  .is_inline = true,
		  .data = S(""),
		  .len = 0 },
		{ .name = S("c"),
		  .type = S("x/y"),
		  .content_id = S("c@x"),
		  .data = S("1"),
		  .len = 1 },
	};
	struct outgoing_header headers[] = {
		{ S("X-One"), S("1") },
		{ S("List-Unsubscribe"), S("<mailto:u@x>") },
		{ S("x-one"), S("2") },
	};
	struct outgoing_recipient hidden[] = {
		{ S("a@x"), S(""), OUTGOING_TO },
		{ S("r@x"), S(""), OUTGOING_BCC },
	};
	const struct request_row rows[] = {
		{ "what must be there", { LEAST }, { 0 }, TO FROM OPTIONS "}" },
		{ "the recipient's name",
		  { LEAST },
		  { .name = S("Doe, \"J\"") },
		  "{\"recipients\":[{\"address\":{\"email\":\"r@x\",\"name\":"
		  "\"Doe, \\\"J\\\"\"}}]" FROM OPTIONS "}" },
		{ "the To header, as it was shown",
		  { LEAST, .to = S("A <a@x>, r@x") },
		  { .name = S("R") },
		  "{\"recipients\":[{\"address\":{\"email\":\"r@x\","
		  "\"header_to\":\"A <a@x>, r@x\"}}]" FROM OPTIONS "}" },
		{ "a sender with a name",
		  { .from_name = S("Shop"),
		    .from_email = S("s@x"),
		    .return_path = S("b@x") },
		  { 0 },
		  TO ",\"content\":{\"from\":{\"email\":\"s@x\",\"name\":"
		     "\"Shop\"}" OPTIONS ",\"return_path\":\"b@x\"}" },
		{ "the null sender cannot be said",
		  { LEAST },
		  { 0 },
		  TO FROM OPTIONS "}" },
		{ "subject and reply-to",
		  { LEAST, .subject = S("\xc3\xa9"),
		    .reply_to = S("a@x, b@x") },
		  { 0 },
		  TO FROM ",\"subject\":\"\xc3\xa9\",\"reply_to\":"
			  "\"a@x, b@x\"" OPTIONS "}" },
		{ "bodies",
		  { LEAST, HTML("<p>\n"), TEXT("t"), .amp = S("<a>"),
		    .amp_len = 3 },
		  { 0 },
		  TO FROM ",\"html\":\"<p>\\n\",\"text\":\"t\",\"amp_html\":"
			  "\"<a>\"" OPTIONS "}" },
		{ "braces in a body are the body's",
		  { LEAST, HTML("{{x}}"), TEXT("{{{y}}}") },
		  { 0 },
		  TO FROM ",\"html\":\"{{x}}\",\"text\":"
			  "\"{{{y}}}\"" OPTIONS "}" },
		{ "files",
		  { LEAST, .files = files, .n_files = 4 },
		  { 0 },
		  TO FROM
		  ",\"attachments\":[{\"name\":\"a.txt\",\"type\":"
		  "\"text/plain; charset=utf-8\",\"data\":\"aGVsbG8=\"},"
		  "{\"name\":\"b.png\",\"type\":\"image/png\",\"data\":\"\"},"
		  "{\"name\":\"c\",\"type\":\"x/y\",\"data\":\"MQ==\"}],"
		  "\"inline_images\":[{\"name\":\"logo@x\",\"type\":"
		  "\"image/png\",\"data\":\"/wD+\"}]" OPTIONS "}" },
		{ "attachments alone",
		  { LEAST, .files = files, .n_files = 1 },
		  { 0 },
		  TO FROM ",\"attachments\":[{\"name\":\"a.txt\",\"type\":"
			  "\"text/plain; "
			  "charset=utf-8\",\"data\":\"aGVsbG8=\"}]" OPTIONS
			  "}" },
		{ "other headers, the first of a name",
		  { LEAST, .headers = headers, .n_headers = 3 },
		  { 0 },
		  TO CONTENT
		  "\"headers\":{\"X-One\":\"1\",\"List-Unsubscribe\":"
		  "\"<mailto:u@x>\"}," FROM_S OPTIONS "}" },
		{ "Cc is for all",
		  { LEAST, .cc = S("C <c@x>"), .headers = headers,
		    .n_headers = 1 },
		  { .kind = OUTGOING_ARCHIVE },
		  TO CONTENT "\"headers\":{\"X-One\":\"1\",\"CC\":"
			     "\"C <c@x>\"}," FROM_S OPTIONS "}" },
		{ "to a cc",
		  { LEAST },
		  { .kind = OUTGOING_CC },
		  TO FROM OPTIONS "}" },
		{ "Bcc is for who is one",
		  { LEAST, .recipients = hidden, .n_recipients = 2 },
		  { .kind = OUTGOING_BCC },
		  TO CONTENT "\"headers\":{\"Bcc\":\"r@x\"}," FROM_S OPTIONS
			     "}" },
		{ "Bcc with a name",
		  { LEAST, .recipients = hidden, .n_recipients = 2 },
		  { .kind = OUTGOING_BCC, .name = S("Doe, {{J}}") },
		  "{\"recipients\":[{\"address\":{\"email\":\"r@x\",\"name\":"
		  "\"Doe, {{J}}\"}}]" CONTENT
		  "\"headers\":{\"Bcc\":\"\\\"Doe, "
		  "{{opening_double_curly()}}J{{closing_double_curly()}}\\\" "
		  "<r@x>\"}," FROM_S OPTIONS "}" },
		{ "and nobody else",
		  { LEAST, .recipients = hidden, .n_recipients = 2 },
		  { 0 },
		  TO CONTENT "\"headers\":{}," FROM_S OPTIONS "}" },
		{ "Bcc beside other headers",
		  { LEAST, .headers = headers, .n_headers = 1,
		    .recipients = hidden, .n_recipients = 2 },
		  { .kind = OUTGOING_BCC },
		  TO CONTENT
		  "\"headers\":{\"Bcc\":\"r@x\",\"X-One\":\"1\"}," FROM_S
		      OPTIONS "}" },
		{ "an archive sees what the recipient sees",
		  { LEAST },
		  { .kind = OUTGOING_ARCHIVE },
		  TO FROM OPTIONS "}" },
		{ "tracking on",
		  { LEAST, .open_tracking = SWITCH_ON,
		    .click_tracking = SWITCH_ON },
		  { 0 },
		  TO FROM "},\"options\":{\"open_tracking\":true,"
			  "\"click_tracking\":true," NO_TEMPLATES "}}" },
		{ "tracking off",
		  { LEAST, .open_tracking = SWITCH_OFF,
		    .click_tracking = SWITCH_OFF },
		  { 0 },
		  TO FROM OPTIONS "}" },
		{ "switches on",
		  { LEAST, .transactional = SWITCH_ON,
		    .skip_suppression = SWITCH_ON, .inline_css = SWITCH_ON },
		  { 0 },
		  TO FROM "},\"options\":{" OFF NO_TEMPLATES
			  ",\"transactional\":true,\"skip_suppression\":true,"
			  "\"inline_css\":true}}" },
		{ "switches off",
		  { LEAST, .transactional = SWITCH_OFF,
		    .skip_suppression = SWITCH_OFF, .inline_css = SWITCH_OFF },
		  { 0 },
		  TO FROM "},\"options\":{" OFF NO_TEMPLATES
			  ",\"transactional\":false,\"skip_suppression\":false,"
			  "\"inline_css\":false}}" },
		{ "pool and key",
		  { LEAST, .ip_pool = S("p"), .dkim_key = S("d") },
		  { 0 },
		  TO FROM "},\"options\":{" OFF NO_TEMPLATES
			  ",\"ip_pool\":\"p\",\"dkim_key\":\"d\"}}" },
		{ "campaign, metadata and tags",
		  { LEAST, .tag = S("c 1"),
		    .metadata = S("{\"n\":12345678901234567890, \"f\":1.0}"),
		    .labels = S("[\"a\",\"b\"]") },
		  { 0 },
		  "{\"recipients\":[{\"address\":{\"email\":\"r@x\"},\"tags\":"
		  "[\"a\",\"b\"]}]" FROM OPTIONS ",\"campaign_id\":\"c 1\","
		  "\"metadata\":{\"n\":12345678901234567890, \"f\":1.0}}" },
		{ "what is only ours",
		  { LEAST, .message_id = S("<1@x>"), .route_id = S("main"),
		    .subaccount = S("7") },
		  { 0 },
		  TO FROM OPTIONS "}" },
	};

	(void)state;
	assert_int_equal(requests_wrong(f, NULL, rows, N_ELEMENTS(rows)), 0);
}

#define OPEN(n) "{{opening_" n "_curly()}}"
#define CLOSE(n) "{{closing_" n "_curly()}}"

/* In headers the template engine is never off. */
static void
test_curly_braces(void **state)
{
	static const struct {
		const char *subject, *want;
	} rows[] = {
		{ "a", "a" },
		{ "{a}", "{a}" },
		{ "}{", "}{" },
		{ "{{a}}", OPEN("double") "a" CLOSE("double") },
		{ "{{{a}}}", OPEN("triple") "a" CLOSE("triple") },
		{ "{{{{", OPEN("triple") OPEN("single") },
		{ "}}}}}", CLOSE("triple") CLOSE("double") },
		{ "{{}", OPEN("double") CLOSE("single") },
		{ "{}}", OPEN("single") CLOSE("double") },
		{ "{a} {{b",
		  OPEN("single") "a" CLOSE("single") " " OPEN("double") "b" },
		{ "\xc3\xa9{{\xc3\xa9", "\xc3\xa9" OPEN("double") "\xc3\xa9" },
	};

	(void)state;
	for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
		const char *want = rows[i].want;
		char value[64];
		DYNBUF_AUTO whole;
		struct outgoing_header header = { S("X-H"), value };
		struct request_row row = {
			.name = rows[i].subject,
			.o = { LEAST, .subject = value, .reply_to = value,
			       .to = value, .cc = value, .headers = &header,
			       .n_headers = 1 },
		};

		dynbuf_init(&whole, 4000);
		strcpy(value, rows[i].subject);
		row.o.from_name = value;
		(void)dynbuf_addf(&whole,
				  "{\"recipients\":[{\"address\":{\"email\":"
				  "\"r@x\",\"header_to\":\"%s\"}}]" CONTENT
				  "\"headers\":{\"X-H\":\"%s\",\"CC\":\"%s\"},"
				  "\"from\":{\"email\":\"s@x\",\"name\":\"%s\"}"
				  ",\"subject\":\"%s\","
				  "\"reply_to\":\"%s\"" OPTIONS "}",
				  want, want, want, want, want, want);
		row.want = dynbuf_str(&whole);
		assert_int_equal(requests_wrong(f, NULL, &row, 1), 0);
	}
}

static void
test_full(void **state)
{
	struct body_file files[] = {
		{ .name = S("a"),
		  .type = S("t"),
		  .data = S("hello"),
		  .len = 5 },
		{ .name = S("b"),
		  .type = S("t"),
		  .content_id = S("c"),
		  .is_inline = true,
		  .data = S("hello"),
		  .len = 5 },
	};
	struct outgoing_header header = { S("X-H"), S("{{1}}") };
	const struct outgoing o = {
		LEAST,
		.subject = S("{{s}}"),
		.reply_to = S("p"),
		.to = S("t"),
		.cc = S("c"),
		.tag = S("t"),
		.labels = S("[]"),
		.metadata = S("{}"),
		.ip_pool = S("p"),
		.dkim_key = S("d"),
		.transactional = SWITCH_ON,
		HTML("h"),
		TEXT("t"),
		.amp = S("a"),
		.amp_len = 1,
		.files = files,
		.n_files = 2,
		.headers = &header,
		.n_headers = 1,
	};

	(void)state;
	check_full(f, &o);
}

static void
test_fits(void **state)
{
#define SIXTY_FOUR                                                   \
	"1234567890123456789012345678901234567890123456789012345678" \
	"\xc3\xa9\xc3\xa9\xc3\xa9"
	static const char *no_subject =
	    "Subject: header missing, and the API of the route needs one";
	const struct fit_row rows[] = {
		{ "least", { LEAST, .subject = S("s"), HTML("h") }, NULL },
		{ "text alone", { LEAST, .subject = S("s"), TEXT("t") }, NULL },
		{ "no subject", { LEAST, HTML("h") }, no_subject },
		{ "an empty subject",
		  { LEAST, .subject = S(""), HTML("h") },
		  "Subject: is empty, and the API of the route needs one" },
		{ "no body",
		  { LEAST, .subject = S("s"), .amp = S("a"), .amp_len = 1 },
		  "The message has no HTML or text part to send" },
		{ "the longest campaign",
		  { LEAST, .subject = S("s"), HTML("h"), .tag = S(SIXTY_FOUR) },
		  NULL },
		{ "a longer one",
		  { LEAST, .subject = S("s"), HTML("h"),
		    .tag = S(SIXTY_FOUR "1"),
		    .asked = { [FEATURE_TAG] = "X-Cmail-GroupName" } },
		  "X-Cmail-GroupName: too long for the API of the route: it "
		  "takes 64 bytes" },
		{ "a longer one that nobody insists on",
		  { LEAST, .subject = S("s"), HTML("h"),
		    .tag = S(SIXTY_FOUR "1"),
		    .wished = { [FEATURE_TAG] = true } },
		  NULL },
	};

	(void)state;
	assert_int_equal(fits_wrong(f, rows, N_ELEMENTS(rows)), 0);
}

/* --- answers -------------------------------------------------------------- */

#define RESULTS(accepted)                               \
	"\"results\":{\"total_rejected_recipients\":0," \
	"\"total_accepted_recipients\":" accepted ",\"id\":\"118\"}"
#define ERROR(code, more) \
	"{\"errors\":[{\"message\":\"m\",\"code\":" code more "}]}"
#define REFUSED "The API refused the message: "
#define UNUSABLE "The API gave an answer that cannot be used"

static const struct answer_row answers[] = {
	{ "accepted", 200, "{" RESULTS("1") "}", API_ACCEPTED, 250, "Accepted",
	  "118" },
	{ "accepted, without counts", 200, "{\"results\":{\"id\":\"1\"}}",
	  API_ACCEPTED, 250, "Accepted", "1" },
	{ "accepted, the id is a number", 200, "{\"results\":{\"id\":118}}",
	  API_ACCEPTED, 250, "Accepted", "118" },
	{ "accepted, with errors", 200,
	  "{" RESULTS("1") ",\"errors\":[{\"code\":\"2000\",\"message\":"
			   "\"transmission created, but with validation "
			   "errors\"}]}",
	  API_ACCEPTED, 250, "Accepted", "118" },
	{ "200, but for nobody", 200,
	  "{" RESULTS("0") ",\"errors\":[{\"code\":\"2000\",\"message\":"
			   "\"transmission created, but\"}]}",
	  API_REFUSED, 550, REFUSED "transmission created, but", "" },
	{ "200, for nobody, and why", 200,
	  "{\"results\":{\"id\":\"1\",\"total_accepted_recipients\":0,"
	  "\"rcpt_to_errors\":[{\"message\":\"Invalid address\","
	  "\"description\":\"no domain\",\"code\":\"2008\"}]},"
	  "\"errors\":[{\"message\":\"created\"}]}",
	  API_REFUSED, 550, REFUSED "Invalid address: no domain", "" },
	{ "200 without an id", 200, "{\"results\":{}}", API_MISFIT, 451,
	  UNUSABLE, "" },
	{ "200, a long id", 200,
	  "{\"results\":{\"id\":\"12345678901234567890123456789012345678901234"
	  "56789012345678901234567890123456789012345678901234567890123456789012"
	  "34567890123456789\"}}",
	  API_MISFIT, 451, UNUSABLE, "" },
	{ "200, a web page", 200, "<html>", API_MISFIT, 451, UNUSABLE, "" },
	{ "400", 400, ERROR("\"1400\"", ",\"description\":\"d\""), API_REFUSED,
	  550, REFUSED "m: d", "" },
	{ "400, only a description", 400,
	  "{\"errors\":[{\"description\":\"d\",\"code\":\"7001\"}]}",
	  API_REFUSED, 550, REFUSED "d", "" },
	{ "400, the second error has words", 400,
	  "{\"errors\":[{\"code\":\"7001\"},{\"message\":\"second\"}]}",
	  API_REFUSED, 550, REFUSED "second", "" },
	{ "400, resources are unavailable", 400, ERROR("\"1502\"", ""),
	  API_LATER, 451, "The API failed", "" },
	{ "400, the same as a number", 400, ERROR("1502", ""), API_LATER, 451,
	  "The API failed", "" },
	{ "400, the same as the second error", 400,
	  "{\"errors\":[{\"code\":\"1300\"},{\"code\":\"1502\"}]}", API_LATER,
	  451, "The API failed", "" },
	{ "422 is not 400", 422, ERROR("\"1502\"", ""), API_REFUSED, 550,
	  REFUSED "m", "" },
	{ "401", 401, "{\"errors\":[{\"message\":\"Unauthorized.\"}]}",
	  API_KEY_WRONG, 535, "The API key is wrong or revoked", "" },
	{ "403", 403, ERROR("\"1100\"", ""), API_REFUSED, 550,
	  "The API does not allow this account to send that: m", "" },
	{ "409, still under way", 409, ERROR("\"1601\"", ""), API_LATER, 451,
	  "The API is busy", "" },
	{ "409, the same key, another message", 409, ERROR("\"1600\"", ""),
	  API_REFUSED, 550, REFUSED "m", "" },
	{ "409, nothing said", 409, "", API_LATER, 451, "The API is busy", "" },
	{ "413", 413, ERROR("\"2002\"", ""), API_REFUSED, 552,
	  "The message is too large: m", "" },
	{ "420", 420, ERROR("\"2102\"", ""), API_LATER, 451,
	  "The API's limit is reached", "" },
	{ "429", 429, "", API_LATER, 451, "The API's limit is reached", "" },
	{ "503", 503, ERROR("\"1900\"", ""), API_LATER, 451, "The API failed",
	  "" },
	{ "nothing", 0, "timeout", API_LATER, 451, "The API did not answer",
	  "" },
	{ "404", 404, ERROR("\"1600\"", ""), API_MISFIT, 451, UNUSABLE, "" },
};

static void
test_answers(void **state)
{
	(void)state;
	assert_int_equal(answers_wrong(f, answers, N_ELEMENTS(answers)), 0);
	check_hostile_answers(f);
}

static int
setup(void **state)
{
	(void)state;
	json_text_init();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_curly_braces),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_fits),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
