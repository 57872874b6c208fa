/* SPDX-License-Identifier: MIT */
/*
 * The Campaign Monitor API: what is sent, and what an answer means.
 */
#include "api_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/json_text.h"

static const struct api_format *const f = &api_campaignmonitor;

#define PATH "/transactional/classicEmail/send"
#define TO "{\"To\":[\"r@x\"]"
#define FROM ",\"From\":\"s@x\""
#define CONSENT ",\"ConsentToTrack\":\"Unchanged\"}"

static void
test_heads(void **state)
{
	static const struct head_row rows[] = {
		{ "abc", NULL, PATH, "Authorization: Basic YWJjOng=\n",
		  "YWJjOng=" },
		{ "0f-9aZ:abc", NULL, PATH "?clientID=0f-9aZ",
		  "Authorization: Basic YWJjOng=\n", "YWJjOng=" },
		/* Of no use here, and refused before (FEATURE_SUBACCOUNT). */
		{ "abc", "7", PATH, "Authorization: Basic YWJjOng=\n",
		  "YWJjOng=" },
		{ "", NULL, NULL, NULL, NULL },
		{ ":abc", NULL, NULL, NULL, NULL },
		{ "abc:", NULL, NULL, NULL, NULL },
		{ "a:b:c", NULL, NULL, NULL, NULL },
		{ "a&b:c", NULL, NULL, NULL, NULL },
		{ "a b:c", NULL, NULL, NULL, NULL },
		{ "\xc3\xa9:c", NULL, NULL, NULL, NULL },
	};
	char longest[API_PATH_MAX + 2];
	struct api_head h = { 0 };
	const struct outgoing o = { LEAST };

	(void)state;
	assert_ptr_equal(api_find("campaignmonitor"), f);
	assert_null(f->keys);
	assert_int_equal(heads_wrong(f, rows, N_ELEMENTS(rows)), 0);
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	longest[sizeof(longest) - 4] = ':';
	assert_false(f->head(NULL, &o, longest, &h));
}

/* --- requests ------------------------------------------------------------- */

static void
test_requests(void **state)
{
	struct body_file files[] = {
		{ .name = S("\xc3\xa9.txt"),
		  .type = S("text/plain"),
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
		  .data = S("1"),
		  .len = 1 },
	};
	struct outgoing_header header = { S("X-H"), S("1") };
	const struct request_row rows[] = {
		{ "what must be there", { LEAST }, { 0 }, TO FROM CONSENT },
		{ "names",
		  { .from_name = S("Shop \"X\""),
		    .from_email = S("s@x"),
		    .return_path = S("b@x") },
		  { .name = S("Doe, J\xc3\xa9") },
		  "{\"To\":[\"\\\"Doe, J\xc3\xa9\\\" <r@x>\"],\"From\":"
		  "\"\\\"Shop \\\\\\\"X\\\\\\\"\\\" <s@x>\"" CONSENT },
		{ "a plain name",
		  { LEAST },
		  { .name = S("Jane Smith") },
		  "{\"To\":[\"Jane Smith <r@x>\"]" FROM CONSENT },
		{ "subject and reply-to",
		  { LEAST, .subject = S("S"), .reply_to = S("A <a@x>") },
		  { 0 },
		  TO FROM
		  ",\"Subject\":\"S\",\"ReplyTo\":\"A <a@x>\"" CONSENT },
		{ "bodies",
		  { LEAST, HTML("<p>"), TEXT("t") },
		  { 0 },
		  TO FROM ",\"Html\":\"<p>\",\"Text\":\"t\"" CONSENT },
		{ "text alone",
		  { LEAST, TEXT("t") },
		  { 0 },
		  TO FROM ",\"Text\":\"t\"" CONSENT },
		{ "a text of our own is theirs to make",
		  { LEAST, HTML("<p>"), TEXT("t"), .text_is_made = true },
		  { 0 },
		  TO FROM ",\"Html\":\"<p>\"" CONSENT },
		{ "files",
		  { LEAST, .files = files, .n_files = 3 },
		  { 0 },
		  TO FROM
		  ",\"Attachments\":[{\"Name\":\"\xc3\xa9.txt\",\"Type\":"
		  "\"text/plain\",\"Content\":\"aGVsbG8=\"},{\"Name\":"
		  "\"b.png\",\"Type\":\"image/png\",\"Content\":\"MQ==\"}],"
		  "\"Images\":[{\"Name\":\"logo@x\",\"Type\":\"image/png\","
		  "\"Content\":\"/wD+\"}]" CONSENT },
		{ "switches on",
		  { LEAST, .open_tracking = SWITCH_ON,
		    .click_tracking = SWITCH_ON, .inline_css = SWITCH_ON },
		  { 0 },
		  TO FROM ",\"TrackOpens\":true,\"TrackClicks\":true,"
			  "\"InlineCSS\":true" CONSENT },
		{ "switches off",
		  { LEAST, .open_tracking = SWITCH_OFF,
		    .click_tracking = SWITCH_OFF, .inline_css = SWITCH_OFF },
		  { 0 },
		  TO FROM ",\"TrackOpens\":false,\"TrackClicks\":false,"
			  "\"InlineCSS\":false" CONSENT },
		{ "group",
		  { LEAST, .tag = S("Password reset") },
		  { 0 },
		  TO FROM ",\"Group\":\"Password reset\"" CONSENT },
		{ "copies are messages of their own",
		  { LEAST, .to = S("t@x"), .cc = S("c@x") },
		  { .kind = OUTGOING_BCC },
		  TO FROM CONSENT },
		{ "what the API has nothing for",
		  { LEAST, .labels = S("[]"), .metadata = S("{}"),
		    .message_id = S("<1@x>"), .route_id = S("r"),
		    .ip_pool = S("p"), .transactional = SWITCH_ON,
		    .skip_suppression = SWITCH_ON, .headers = &header,
		    .n_headers = 1, .amp = S("a"), .amp_len = 1 },
		  { 0 },
		  TO FROM CONSENT },
	};

	(void)state;
	assert_int_equal(requests_wrong(f, NULL, rows, N_ELEMENTS(rows)), 0);
}

static void
test_consent(void **state)
{
	static const char *const wants[] = {
		TO FROM ",\"ConsentToTrack\":\"Unchanged\"}",
		TO FROM ",\"ConsentToTrack\":\"Yes\"}",
		TO FROM ",\"ConsentToTrack\":\"No\"}",
	};

	(void)state;
	for (size_t i = 0; i < N_ELEMENTS(wants); i++) {
		const struct api_settings s = { .consent_to_track =
						    api_consents[i] };
		const struct request_row row = {
			"consent", { LEAST }, { 0 }, wants[i]
		};

		assert_int_equal(requests_wrong(f, &s, &row, 1), 0);
	}
	assert_null(api_consents[N_ELEMENTS(wants)]);
}

static void
test_full(void **state)
{
	struct body_file file = {
		.name = S("a"), .type = S("t"), .data = S("hello"), .len = 5
	};
	const struct outgoing o = {
		LEAST,
		.subject = S("s"),
		.reply_to = S("p"),
		.tag = S("t"),
		.open_tracking = SWITCH_ON,
		HTML("h"),
		TEXT("t"),
		.files = &file,
		.n_files = 1,
	};

	(void)state;
	check_full(f, &o);
}

static void
test_fits(void **state)
{
	const struct fit_row rows[] = {
		{ "least", { LEAST, .subject = S("s"), HTML("h") }, NULL },
		{ "no subject",
		  { LEAST, HTML("h") },
		  "Subject: header missing, and the API of the route needs "
		  "one" },
		{ "no body",
		  { LEAST, .subject = S("s") },
		  "The message has no HTML or text part to send" },
	};

	(void)state;
	assert_int_equal(fits_wrong(f, rows, N_ELEMENTS(rows)), 0);
}

/* --- answers -------------------------------------------------------------- */

#define TAKEN(status)                                                  \
	"[{\"MessageID\":\"6e1-1\",\"Recipient\":\"\\\"R\\\" <r@x>\"," \
	"\"Status\":\"" status "\"}]"
#define UNUSABLE "The API gave an answer that cannot be used"

static const struct answer_row answers[] = {
	{ "accepted", 202, TAKEN("Received"), API_ACCEPTED, 250, "Accepted",
	  "6e1-1" },
	{ "accepted, 200", 200, TAKEN("Accepted"), API_ACCEPTED, 250,
	  "Accepted", "6e1-1" },
	{ "accepted, in other letters", 200, TAKEN("accepted"), API_ACCEPTED,
	  250, "Accepted", "6e1-1" },
	{ "a status that says no", 202, TAKEN("Rejected"), API_MISFIT, 451,
	  UNUSABLE, "" },
	{ "no status", 202, "[{\"MessageID\":\"1\"}]", API_MISFIT, 451,
	  UNUSABLE, "" },
	{ "no id", 202, "[{\"Status\":\"Received\"}]", API_MISFIT, 451,
	  UNUSABLE, "" },
	{ "an empty id", 202, "[{\"MessageID\":\"\",\"Status\":\"Received\"}]",
	  API_MISFIT, 451, UNUSABLE, "" },
	{ "nobody", 202, "[]", API_MISFIT, 451, UNUSABLE, "" },
	{ "an object", 202, "{\"MessageID\":\"1\",\"Status\":\"Received\"}",
	  API_MISFIT, 451, UNUSABLE, "" },
	{ "nothing", 202, "", API_MISFIT, 451, UNUSABLE, "" },
	{ "400", 400, "{\"Code\":994,\"Message\":\"Domain must match\"}",
	  API_REFUSED, 550, "The API refused the message: Domain must match",
	  "" },
	{ "400 without words", 400, "{\"Code\":1}", API_REFUSED, 550,
	  "The API refused the message", "" },
	{ "401", 401, "{\"Code\":50,\"Message\":\"Must supply\"}",
	  API_KEY_WRONG, 535, "The API key is wrong or revoked", "" },
	{ "404", 404, "{\"Code\":404,\"Message\":\"x\"}", API_MISFIT, 451,
	  UNUSABLE, "" },
	{ "429", 429, "{\"Code\":429,\"Message\":\"Too many\"}", API_LATER, 451,
	  "The API's limit is reached", "" },
	{ "500", 500, "", API_LATER, 451, "The API failed", "" },
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
		cmocka_unit_test(test_heads),	cmocka_unit_test(test_requests),
		cmocka_unit_test(test_consent), cmocka_unit_test(test_full),
		cmocka_unit_test(test_fits),	cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
