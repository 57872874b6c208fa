/* SPDX-License-Identifier: MIT */
/*
 * The Flexmail API: what is sent, where the names that are not public go, and
 * what an answer means.
 */
#include "api_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <gmime/gmime.h>

#include "policy/json_text.h"

static const struct api_format *const f = &api_flexmail;

#define TO "{\"recipient\":{\"address\":{\"email_address\":\"r@x\"}}"
#define FROM ",\"from\":{\"email_address\":\"s@x\"}"

static void
test_heads(void **state)
{
	static const struct head_row rows[] = {
		{ "12:tok", NULL, "/messages",
		  "Authorization: Basic MTI6dG9r\n", "MTI6dG9r" },
		{ "12:t:k", NULL, "/messages",
		  "Authorization: Basic MTI6dDpr\n", "MTI6dDpr" },
		{ "", NULL, NULL, NULL, NULL },
		{ "tok", NULL, NULL, NULL, NULL },
		{ ":tok", NULL, NULL, NULL, NULL },
		{ "12:", NULL, NULL, NULL, NULL },
	};

	(void)state;
	assert_ptr_equal(api_find("flexmail"), f);
	assert_null(f->keys);
	assert_int_equal(heads_wrong(f, rows, N_ELEMENTS(rows)), 0);
}

/* --- requests ------------------------------------------------------------- */

#define X81                                                                \
	"123456789012345678901234567890123456789012345678901234567890123" \
	"456789012345678901"

static void
test_requests(void **state)
{
	struct body_file files[] = {
		{ .name = S("a.txt"),
		  .type = S("text/plain"),
		  .data = S("hello"),
		  .len = 5 },
		{ .name = S("l.png"),
		  .type = S("image/png"),
		  .content_id = S("l@x"),
		  .is_inline = true,
		  .data = S("\xff\x00\xfe"),
		  .len = 3 },
	};
	const struct request_row rows[] = {
		{ "what must be there", { LEAST }, { 0 }, TO FROM "}" },
		{ "names",
		  { .from_name = S("Shop"),
		    .from_email = S("s@x"),
		    .return_path = S("b@x") },
		  { .name = S("Doe, J") },
		  "{\"recipient\":{\"address\":{\"email_address\":\"r@x\","
		  "\"name\":\"Doe, J\"}},\"from\":{\"email_address\":\"s@x\","
		  "\"name\":\"Shop\"}}" },
		{ "reply-to",
		  { LEAST, .reply_to = S("a@x") },
		  { 0 },
		  TO FROM ",\"reply_to\":{\"email_address\":\"a@x\"}}" },
		{ "reply-to with a name",
		  { LEAST, .reply_to = S("\"A, B\" <a@x>") },
		  { 0 },
		  TO FROM ",\"reply_to\":{\"email_address\":\"a@x\",\"name\":"
			  "\"A, B\"}}" },
		{ "reply-to with a name that was decoded",
		  { LEAST, .reply_to = S("\"Doe, J\xc3\xa9\" <a@x>") },
		  { 0 },
		  TO FROM ",\"reply_to\":{\"email_address\":\"a@x\",\"name\":"
			  "\"Doe, J\xc3\xa9\"}}" },
		{ "a reply-to that cannot be is never null",
		  { LEAST, .reply_to = S("a@x, b@x") },
		  { 0 },
		  TO FROM "}" },
		{ "subject and HTML",
		  { LEAST, .subject = S("S"), HTML("<p>") },
		  { 0 },
		  TO FROM
		  ",\"subject\":\"S\",\"content\":{\"html\":\"<p>\"}}" },
		{ "text beside it",
		  { LEAST, HTML("<p>"), TEXT("t") },
		  { 0 },
		  TO FROM ",\"content\":{\"html\":\"<p>\",\"text\":\"t\"}}" },
		{ "text alone",
		  { LEAST, TEXT("t") },
		  { 0 },
		  TO FROM ",\"content\":{\"text\":\"t\"}}" },
		{ "an empty HTML is one",
		  { LEAST, HTML("") },
		  { 0 },
		  TO FROM ",\"content\":{\"html\":\"\"}}" },
		{ "tag and metadata",
		  { LEAST, .tag = S("order_confirmation"),
		    .metadata = S("{\"k\":\"v\"}") },
		  { 0 },
		  TO FROM ",\"tag\":\"order_confirmation\",\"metadata\":"
			  "{\"k\":\"v\"}}" },
		{ "a tag of which nothing is left",
		  { LEAST, .tag = S("\xe6\xb3\xa8") }, .want = TO FROM "}" },
		{ "a tag with a joint at its end, and two in it",
		  { LEAST, .tag = S("order__x!") },
		  .want = TO FROM ",\"tag\":\"order_x\"}" },
		{ "a Message-ID that is too long for a value",
		  { LEAST,
		    .metadata = S("{\"original_message_id\":\"" X81
				  "\",\"a\":\"1\"}") },
		  .want = TO FROM ",\"metadata\":{\"a\":\"1\"}}" },
		{ "and alone",
		  { LEAST,
		    .metadata = S("{\"original_message_id\":\"" X81 "\"}") },
		  .want = TO FROM "}" },
		{ "a Message-ID that is not",
		  { LEAST, .metadata = S("{\"original_message_id\":\"<1@x>\"}") },
		  .want = TO FROM ",\"metadata\":{\"original_message_id\":"
				  "\"<1@x>\"}}" },
		{ "a tag in other letters",
		  { LEAST, .tag = S("Password  R\xc3\xa9set") },
		  { 0 },
		  TO FROM ",\"tag\":\"password_r_set\"}" },
		{ "tracking on",
		  { LEAST, .open_tracking = SWITCH_ON,
		    .click_tracking = SWITCH_ON },
		  { 0 },
		  TO FROM ",\"open_tracking\":true,\"link_tracking\":true}" },
		{ "tracking off",
		  { LEAST, .open_tracking = SWITCH_OFF,
		    .click_tracking = SWITCH_OFF },
		  { 0 },
		  TO FROM ",\"open_tracking\":false,\"link_tracking\":false}" },
		{ "files",
		  { LEAST, .files = files, .n_files = 2 },
		  { 0 },
		  TO FROM ",\"attachments\":[{\"name\":\"a.txt\",\"type\":"
			  "\"text/plain\",\"content\":\"aGVsbG8=\"},{\"name\":"
			  "\"l.png\",\"type\":\"image/png\",\"content_id\":"
			  "\"l@x\",\"content\":\"/wD+\"}]}" },
		{ "what the API has nothing for",
		  { LEAST, .labels = S("[]"), .message_id = S("<1@x>"),
		    .inline_css = SWITCH_ON, .route_id = S("r"), .amp = S("a"),
		    .amp_len = 1 },
		  { .kind = OUTGOING_CC },
		  TO FROM "}" },
	};

	(void)state;
	assert_int_equal(requests_wrong(f, NULL, rows, N_ELEMENTS(rows)), 0);
}

/* --- names that are not public -------------------------------------------- */

#define FIELD(name_, path_)        \
	{                          \
		S(name_), S(path_) \
	}

/* What is said of the same object is written in one, whatever its place. */
static void
test_fields(void **state)
{
	struct body_file file = {
		.name = S("a"), .type = S("t"), .data = S("hello"), .len = 5
	};
	struct api_field fields[] = {
		FIELD("text", "content.parts.plain"),
		FIELD("tag", "options.label"),
		FIELD("metadata", "from.extra"),
		FIELD("open_tracking", "options.track.open"),
		FIELD("link_tracking", "options.track.click"),
		FIELD("attachments", "content.parts.files"),
		FIELD("attachment_name", "filename"),
		FIELD("attachment_data", "base64"),
	};
	const struct api_settings s = { .fields = fields,
					.n_fields = N_ELEMENTS(fields) };
	const struct request_row row = {
		"paths",
		{ LEAST, .tag = S("t"), .metadata = S("{\"a\":1}"),
		  .open_tracking = SWITCH_ON, .click_tracking = SWITCH_OFF,
		  HTML("h"), TEXT("t"), .files = &file, .n_files = 1 },
		{ 0 },
		TO FROM
		",\"content\":{\"html\":\"h\",\"parts\":{\"plain\":\"t\","
		"\"files\":[{\"filename\":\"a\",\"type\":\"t\",\"base64\":"
		"\"aGVsbG8=\"}]}},\"options\":{\"label\":\"t\",\"track\":"
		"{\"open\":true,\"click\":false}},\"metadata\":{\"a\":1}}"
	};

	(void)state;
	/* "from" is the format's own. */
	assert_string_equal(api_flexmail_clash(&s), "metadata");
	fields[2] = (struct api_field)FIELD("metadata", "metadata");
	assert_null(api_flexmail_clash(&s));
	assert_int_equal(requests_wrong(f, &s, &row, 1), 0);
}

static void
test_clashes(void **state)
{
	static const struct {
		const char *name, *path;
		bool clashes;
	} rows[] = {
		{ "tag", "tag", false },
		{ "tag", "label", false },
		{ "tag", "content.tag", false },
		{ "tag", "content.htm", false },
		{ "tag", "content.htmlx", false },
		{ "tag", "subject", true },
		{ "tag", "recipient", true },
		{ "tag", "recipient.tag", true },
		{ "tag", "from.tag", true },
		{ "tag", "reply_to", true },
		{ "tag", "content", true },
		{ "tag", "content.html", true },
		{ "tag", "content.html.x", true },
		{ "tag", "content.text", true },
		{ "tag", "metadata", true },
		{ "tag", "metadata.tag", true },
		{ "tag", "attachments", true },
		{ "tag", "name", false },
		{ "attachment_name", "subject", false },
		{ "attachment_name", "type", true },
		{ "attachment_name", "title", false },
	};

	(void)state;
	for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
		char name[32], path[32];
		struct api_field field = { name, path };
		const struct api_settings s = { .fields = &field,
						.n_fields = 1 };
		const char *clash;

		strcpy(name, rows[i].name);
		strcpy(path, rows[i].path);
		clash = api_flexmail_clash(&s);
		if ((clash != NULL) != rows[i].clashes ||
		    (clash != NULL && strcmp(clash, rows[i].name) != 0))
			fail_msg("%s %s: %s", rows[i].name, rows[i].path,
				 clash ? clash : "none");
	}
	assert_null(api_flexmail_clash(&(struct api_settings){ 0 }));
}

static void
test_paths(void **state)
{
	static const struct {
		const char *path;
		bool good;
	} rows[] = {
		{ "a", true },		{ "a.b", true },
		{ "A-1_b.c", true },	{ "a.b.c.d", true },
		{ "a.b.c.d.e", false }, { "", false },
		{ ".", false },		{ "a.", false },
		{ ".a", false },	{ "a..b", false },
		{ "a b", false },	{ "a\"b", false },
		{ "\xc3\xa9", false },
	};
	char longest[API_FIELD_PATH_MAX + 2];

	(void)state;
	for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
		if (api_field_is_path(rows[i].path) != rows[i].good)
			fail_msg("%s", rows[i].path);
	}
	memset(longest, 'a', sizeof(longest));
	longest[API_FIELD_PATH_MAX + 1] = '\0';
	assert_false(api_field_is_path(longest));
	longest[API_FIELD_PATH_MAX] = '\0';
	assert_true(api_field_is_path(longest));
}

static void
test_full(void **state)
{
	struct body_file file = {
		.name = S("a"), .type = S("t"), .data = S("hello"), .len = 5
	};
	const struct outgoing o = {
		LEAST,	       .subject = S("s"),   .reply_to = S("p@x"),
		.tag = S("t"), .metadata = S("{}"), .open_tracking = SWITCH_ON,
		HTML("h"),     TEXT("t"),	    .files = &file,
		.n_files = 1,
	};

	(void)state;
	check_full(f, &o);
}

/* Escaped it is longer. */
#define E20                                                               \
	"\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9" \
	"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"                      \
	"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
#define E80 E20 E20 E20 E20
#define BAD_METADATA                                                     \
	": the API of the route takes keys in snake_case, and strings, " \
	"numbers and booleans of 1 to 80 characters"

static void
test_fits(void **state)
{
#define FIFTY "12345678901234567890123456789012345678901234567890"
#define GOOD LEAST, .subject = S("s"), HTML("h")
	static const char *one_address =
	    "Reply-To: the API of the route takes one address";
	const struct fit_row rows[] = {
		{ "least", { GOOD }, NULL },
		{ "no subject",
		  { LEAST, HTML("h") },
		  "Subject: header missing, and the API of the route needs "
		  "one" },
		{ "an empty subject",
		  { LEAST, .subject = S(""), HTML("h") },
		  "Subject: is empty, and the API of the route needs one" },
		{ "no body",
		  { LEAST, .subject = S("s") },
		  "The message has no HTML or text part to send" },
		{ "the longest tag", { GOOD, .tag = S(FIFTY) }, NULL },
		{ "a longer one",
		  { GOOD, .tag = S(FIFTY "1"),
		    .asked = { [FEATURE_TAG] = "X-MSYS-API" } },
		  "X-MSYS-API: too long for the API of the route: it takes 50 "
		  "characters" },
		{ "blanks at its end are none",
		  { GOOD, .tag = S(FIFTY "    ") },
		  NULL },
		{ "a longer one that nobody insists on",
		  { GOOD, .tag = S(FIFTY "1"),
		    .wished = { [FEATURE_TAG] = true } },
		  NULL },
		{ "metadata",
		  { GOOD, .metadata = S("{\"a_1\":\"x\", \"b\" : true ,\"c\":"
					"12345678901234567890.10,\"d\":\"" E80
					"\"}") },
		  NULL },
		{ "no metadata", { GOOD, .metadata = S("{}") }, NULL },
		{ "metadata: a Message-ID that is too long is left out",
		  { GOOD, .metadata = S("{\"original_message_id\":\"" X81
					"\",\"a\":\"1\"}") },
		  NULL },
		{ "metadata: a key",
		  { GOOD, .metadata = S("{\"Some-Key\":1}"),
		    .asked = { [FEATURE_METADATA] = "X-MSYS-API 'metadata'" } },
		  "X-MSYS-API 'metadata'" BAD_METADATA },
		{ "metadata: an object",
		  { GOOD, .metadata = S("{\"a\":{\"b\":1}}") },
		  "The metadata" BAD_METADATA },
		{ "metadata: an array",
		  { GOOD, .metadata = S("{\"a\":1,\"b\":[]}") },
		  "The metadata" BAD_METADATA },
		{ "metadata: null",
		  { GOOD, .metadata = S("{\"a\":null}") },
		  "The metadata" BAD_METADATA },
		{ "metadata: an empty string",
		  { GOOD, .metadata = S("{\"a\":\"\"}") },
		  "The metadata" BAD_METADATA },
		{ "metadata: 81 characters",
		  { GOOD, .metadata = S("{\"a\":\"" E80 "x\"}") },
		  "The metadata" BAD_METADATA },
		{ "metadata: 81 digits",
		  { GOOD, .metadata = S("{\"a\":1" FIFTY "012345678901234567890"
					"123456789}") },
		  "The metadata" BAD_METADATA },
		{ "one address", { GOOD, .reply_to = S("a@x") }, NULL },
		{ "two", { GOOD, .reply_to = S("a@x, b@x") }, one_address },
		{ "none", { GOOD, .reply_to = S("somebody") }, one_address },
		{ "an empty group",
		  { GOOD, .reply_to = S("us:;") },
		  one_address },
	};

	(void)state;
	assert_int_equal(fits_wrong(f, rows, N_ELEMENTS(rows)), 0);
}

/* --- answers -------------------------------------------------------------- */

#define UNUSABLE "The API gave an answer that cannot be used"
#define REFUSED "The API refused the message: "

static const struct answer_row answers[] = {
	{ "accepted", 200, "{}", API_ACCEPTED, 250, "Accepted", "" },
	{ "accepted, nothing said", 202, "", API_ACCEPTED, 250, "Accepted",
	  "" },
	{ "accepted, no JSON", 201, "ok", API_ACCEPTED, 250, "Accepted", "" },
	{ "an id", 201, "{\"id\":\"m-1\"}", API_ACCEPTED, 250, "Accepted",
	  "m-1" },
	{ "an id that is a number", 201, "{\"id\":17}", API_ACCEPTED, 250,
	  "Accepted", "17" },
	{ "an id by another name", 201, "{\"message_id\":\"m-1\"}",
	  API_ACCEPTED, 250, "Accepted", "m-1" },
	{ "a web page", 200, "<html>", API_MISFIT, 451, UNUSABLE, "" },
	{ "400, message", 400, "{\"message\":\"m\"}", API_REFUSED, 550,
	  REFUSED "m", "" },
	{ "400, problem+json", 400, "{\"title\":\"t\",\"detail\":\"d\"}",
	  API_REFUSED, 550, REFUSED "d", "" },
	{ "400, title", 400, "{\"title\":\"t\"}", API_REFUSED, 550, REFUSED "t",
	  "" },
	{ "400, error", 400, "{\"error\":\"e\",\"message\":\"m\"}", API_REFUSED,
	  550, REFUSED "e", "" },
	{ "400, error object", 400, "{\"error\":{\"message\":\"e\"}}",
	  API_REFUSED, 550, REFUSED "e", "" },
	{ "400, errors", 400,
	  "{\"errors\":[{},{\"message\":\"e\"},{\"message\":\"f\"}],"
	  "\"message\":\"m\"}",
	  API_REFUSED, 550, REFUSED "e", "" },
	{ "400, errors as strings", 400, "{\"errors\":[\"\",\"e\",\"f\"]}",
	  API_REFUSED, 550, REFUSED "e", "" },
	{ "400, no words", 400, "{\"errors\":[]}", API_REFUSED, 550,
	  "The API refused the message", "" },
	{ "401", 401, "{}", API_KEY_WRONG, 535,
	  "The API key is wrong or revoked", "" },
	{ "429", 429, "{}", API_LATER, 451, "The API's limit is reached", "" },
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
	g_mime_init();
	json_text_init();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heads),  cmocka_unit_test(test_requests),
		cmocka_unit_test(test_fields), cmocka_unit_test(test_clashes),
		cmocka_unit_test(test_paths),  cmocka_unit_test(test_full),
		cmocka_unit_test(test_fits),   cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
