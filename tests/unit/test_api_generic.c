/* SPDX-License-Identifier: MIT */
/*
 * The generic API: each member of outgoing is in its JSON, and its JSON is what
 * the schema says. Run from the top directory.
 */
#include "api_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "json_schema.h"
#include "policy/dynbuf.h"
#include "policy/json_text.h"

static const struct api_format *const f = &api_generic;

#define TO "{\"recipient\":{\"email\":\"r@x\",\"kind\":\"to\"}"
#define FROM ",\"from_name\":\"\",\"from_email\":\"s@x\",\"return_path\":\"\""

static void
test_heads(void **state)
{
	static const struct head_row rows[] = {
		{ "k:1", NULL, "", "Authorization: Bearer k:1\n", "" },
		{ "k", "7", "", "Authorization: Bearer k\n", "" },
		{ "", NULL, NULL, NULL, NULL },
	};

	(void)state;
	assert_ptr_equal(api_find("generic"), f);
	assert_null(f->keys);
	assert_null(f->fits);
	assert_int_equal(heads_wrong(f, rows, N_ELEMENTS(rows)), 0);
}

/* --- requests ------------------------------------------------------------- */

static struct body_file files[] = {
	{ .name = S("a.txt"),
	  .type = S("text/plain; charset=utf-8"),
	  .data = S("hello"),
	  .len = 5 },
	{ .name = S("l.png"),
	  .type = S("image/png"),
	  .content_id = S("l@x"),
	  .is_inline = true,
	  .data = S("\xff\x00\xfe"),
	  .len = 3 },
};

static struct outgoing_header headers[] = {
	{ S("X-A"), S("1") },
	{ S("X-A"), S("\xc3\xa9\"") },
};

static const struct request_row rows[] = {
	{ "what must be there", { LEAST }, { 0 }, TO FROM "}" },
	{ "the recipient",
	  { LEAST },
	  { .name = S("R"), .kind = OUTGOING_CC },
	  "{\"recipient\":{\"email\":\"r@x\",\"name\":\"R\",\"kind\":"
	  "\"cc\"}" FROM "}" },
	{ "a bcc",
	  { LEAST },
	  { .kind = OUTGOING_BCC },
	  "{\"recipient\":{\"email\":\"r@x\",\"kind\":\"bcc\"}" FROM "}" },
	{ "an archive",
	  { LEAST },
	  { .kind = OUTGOING_ARCHIVE },
	  "{\"recipient\":{\"email\":\"r@x\",\"kind\":\"archive\"}" FROM "}" },
	{ "strings",
	  { .from_name = S("N"),
	    .from_email = S("e@x"),
	    .return_path = S("b@x"),
	    .subject = S("s"),
	    .reply_to = S("p"),
	    .to = S("t"),
	    .cc = S("c"),
	    .message_id = S("<1@x>"),
	    .tag = S("g"),
	    .labels = S("[\"l\"]"),
	    .metadata = S("{\"m\":1.0}"),
	    .template_id = S("T"),
	    .variables = S("{ \"v\":1e2 }"),
	    .dkim_key = S("d"),
	    .ip_pool = S("i"),
	    .subaccount = S("7"),
	    .route_id = S("r") },
	  { 0 },
	  TO ",\"from_name\":\"N\",\"from_email\":\"e@x\",\"return_path\":"
	     "\"b@x\",\"subject\":\"s\",\"reply_to\":\"p\",\"to\":\"t\",\"cc\":"
	     "\"c\",\"message_id\":\"<1@x>\",\"tag\":\"g\",\"labels\":[\"l\"],"
	     "\"metadata\":{\"m\":1.0},\"template_id\":\"T\",\"variables\":"
	     "{ \"v\":1e2 },\"dkim_key\":\"d\",\"ip_pool\":\"i\","
	     "\"subaccount\":\"7\",\"route_id\":\"r\"}" },
	{ "switches on",
	  { LEAST, .open_tracking = SWITCH_ON, .click_tracking = SWITCH_ON,
	    .inline_css = SWITCH_ON, .transactional = SWITCH_ON,
	    .skip_suppression = SWITCH_ON },
	  { 0 },
	  TO FROM ",\"open_tracking\":true,\"click_tracking\":true,"
		  "\"inline_css\":true,\"transactional\":true,"
		  "\"skip_suppression\":true}" },
	{ "switches off",
	  { LEAST, .open_tracking = SWITCH_OFF, .click_tracking = SWITCH_OFF,
	    .inline_css = SWITCH_OFF, .transactional = SWITCH_OFF,
	    .skip_suppression = SWITCH_OFF },
	  { 0 },
	  TO FROM ",\"open_tracking\":false,\"click_tracking\":false,"
		  "\"inline_css\":false,\"transactional\":false,"
		  "\"skip_suppression\":false}" },
	{ "bodies",
	  { LEAST, HTML("<p>"), TEXT("t"), .amp = S("<a>"), .amp_len = 3 },
	  { 0 },
	  TO FROM ",\"html\":\"<p>\",\"text\":\"t\",\"amp\":\"<a>\"}" },
	{ "a text of our own",
	  { LEAST, HTML("<p>"), TEXT("t"), .text_is_made = true },
	  { 0 },
	  TO FROM ",\"html\":\"<p>\",\"text\":\"t\",\"text_is_made\":true}" },
	{ "a flowed text",
	  { LEAST, TEXT("t"), .text_is_flowed = true },
	  { 0 },
	  TO FROM ",\"text\":\"t\",\"text_is_flowed\":true}" },
	{ "headers",
	  { LEAST, .headers = headers, .n_headers = 2 },
	  { 0 },
	  TO FROM ",\"headers\":[{\"name\":\"X-A\",\"value\":\"1\"},{\"name\":"
		  "\"X-A\",\"value\":\"\xc3\xa9\\\"\"}]}" },
	{ "files",
	  { LEAST, .files = files, .n_files = 2 },
	  { 0 },
	  TO FROM ",\"files\":[{\"name\":\"a.txt\",\"type\":\"text/plain; "
		  "charset=utf-8\",\"inline\":false,\"data\":\"aGVsbG8=\"},"
		  "{\"name\":\"l.png\",\"type\":\"image/png\",\"content_id\":"
		  "\"l@x\",\"inline\":true,\"data\":\"/wD+\"}]}" },
};

static void
test_requests(void **state)
{
	(void)state;
	assert_int_equal(requests_wrong(f, NULL, rows, N_ELEMENTS(rows)), 0);
}

/* --- the schema ----------------------------------------------------------- */

static json_t *
read_schema(void)
{
	json_t *schema = json_load_file("man/txmilter-message.schema.json",
					JSON_REJECT_DUPLICATES, NULL);

	assert_non_null(schema);
	return schema;
}

static void
test_schema(void **state)
{
	static const char *const wrong[] = {
		"{}",
		"[]",
		TO FROM "}",
		TO FROM ",\"route_id\":7}",
		TO FROM ",\"route_id\":\"r\",\"nosuch\":1}",
		TO FROM ",\"route_id\":\"r\",\"subject\":null}",
		TO FROM ",\"route_id\":\"r\",\"labels\":[1]}",
		TO FROM ",\"route_id\":\"r\",\"text_is_made\":false}",
		"{\"recipient\":{\"email\":\"r@x\",\"kind\":\"you\"}" FROM
		",\"route_id\":\"r\"}",
	};
	json_auto_t *schema = read_schema();
	json_auto_t *route = json_string("r");

	(void)state;
	for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
		json_auto_t *doc = json_loads(rows[i].want, 0, NULL);

		/* In the rows only one has a route. */
		assert_int_equal(json_object_set(doc, "route_id", route), 0);
		if (!json_schema_holds(schema, doc))
			fail_msg("%s", rows[i].name);
	}
	for (size_t i = 0; i < N_ELEMENTS(wrong); i++) {
		json_auto_t *doc = json_loads(wrong[i], 0, NULL);

		assert_non_null(doc);
		if (json_schema_holds(schema, doc))
			fail_msg("%s", wrong[i]);
	}
}

/* A member that is new in outgoing is in the schema. */
static void
test_schema_has_all(void **state)
{
	json_auto_t *schema = read_schema();
	const json_t *known = json_object_get(schema, "properties");

	(void)state;
	for (size_t i = 0; i < outgoing_n_strings; i++)
		assert_non_null(
		    json_object_get(known, outgoing_strings[i].name));
	for (size_t i = 0; i < outgoing_n_switches; i++)
		assert_non_null(
		    json_object_get(known, outgoing_switches[i].name));
}

static void
test_full(void **state)
{
	const struct outgoing o = {
		LEAST,
		.subject = S("s"),
		.labels = S("[]"),
		.metadata = S("{}"),
		.open_tracking = SWITCH_ON,
		HTML("h"),
		TEXT("t"),
		.text_is_made = true,
		.amp = S("a"),
		.amp_len = 1,
		.files = files,
		.n_files = 2,
		.headers = headers,
		.n_headers = 2,
	};

	(void)state;
	check_full(f, &o);
}

/* --- answers -------------------------------------------------------------- */

static const struct answer_row answers[] = {
	{ "accepted, nothing said", 200, "", API_ACCEPTED, 250, "Accepted",
	  "" },
	{ "accepted", 299, "{\"id\":\"a-1\"}", API_ACCEPTED, 250, "Accepted",
	  "a-1" },
	{ "an id that is a number", 200, "{\"id\":-7}", API_ACCEPTED, 250,
	  "Accepted", "-7" },
	{ "an id that is neither", 200, "{\"id\":[]}", API_ACCEPTED, 250,
	  "Accepted", "" },
	{ "no JSON", 200, "thanks", API_ACCEPTED, 250, "Accepted", "" },
	{ "message", 400, "{\"message\":\"m\"}", API_REFUSED, 550,
	  "The API refused the message: m", "" },
	{ "error", 422, "{\"error\":\"e\"}", API_REFUSED, 550,
	  "The API refused the message: e", "" },
	{ "errors", 403, "{\"errors\":[{\"message\":\"e\"}]}", API_REFUSED, 550,
	  "The API does not allow this account to send that: e", "" },
	{ "301", 301, "", API_MISFIT, 451,
	  "The API gave an answer that cannot be used", "" },
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
		cmocka_unit_test(test_schema),
		cmocka_unit_test(test_schema_has_all),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
