/* SPDX-License-Identifier: MIT */
/*
 * What becomes of what a message asks for, on each way out. That the manual's
 * matrix says the same is test_docs.c's.
 */
#include "policy/feature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "policy/api.h"
#include "policy/outgoing.h"
#include "policy/route.h"
#include "policy/smtp_reply.h"

#define N_ELEMENTS(v) (sizeof(v) / sizeof((v)[0]))

static const struct route by_transport = { .name = (char[]){ "out" },
					   .handoff = ROUTE_TRANSPORT };

static struct route
by_api(const struct api_format *f)
{
	static char name[] = "main";

	return (
	    struct route){ .name = name, .handoff = ROUTE_DIRECT, .format = f };
}

static void
test_names(void **state)
{
	(void)state;
	for (size_t f = 0; f < FEATURES; f++) {
		assert_non_null(feature_names[f]);
		for (size_t k = 0; k < f; k++)
			assert_string_not_equal(feature_names[k],
						feature_names[f]);
	}
}

/* A row that was forgotten would say "ignored", which content never is. */
/* A format that says nothing of a feature. */
static void
test_what_is_forgotten_is_refused(void **state)
{
	static char name[] = "main";
	const struct api_format blank = { .name = "blank" };
	const struct route route = { .name = name, .format = &blank };

	(void)state;
	for (int f = 0; f < FEATURES; f++) {
		struct outgoing o = { .route = &route };
		struct smtp_reply refusal = { 0 };

		o.asked[f] = "X-Any";
		assert_false(feature_check(&o, &refusal));
		assert_int_equal(refusal.code, 550);
	}
}

static void
test_content_is_not_ignored(void **state)
{
	static const enum feature content[] = {
		FEATURE_TEXT_ONLY, FEATURE_ATTACHMENTS, FEATURE_INLINE_FILES,
		FEATURE_TEMPLATE,  FEATURE_VARIABLES,	FEATURE_CC,
		FEATURE_BCC,	   FEATURE_ARCHIVE,	FEATURE_DKIM_KEY,
	};

	(void)state;
	for (size_t i = 0; apis[i] != NULL; i++) {
		for (size_t k = 0; k < N_ELEMENTS(content); k++) {
			if (apis[i]->support[content[k]] == SUPPORT_IGNORED)
				fail_msg("%s: %s", apis[i]->name,
					 feature_names[content[k]]);
		}
	}
}

static void
test_support(void **state)
{
	const struct {
		const struct api_format *format; /* NULL: a transport */
		enum feature feature;
		enum support want;
	} rows[] = {
		{ &api_emaildelivery, FEATURE_TAG, SUPPORT_PASSED },
		{ &api_emaildelivery, FEATURE_TEXT_ONLY, SUPPORT_DONE },
		{ &api_emaildelivery, FEATURE_METADATA, SUPPORT_IGNORED },
		{ &api_emaildelivery, FEATURE_ATTACHMENTS, SUPPORT_REFUSED },
		{ &api_sparkpost, FEATURE_METADATA, SUPPORT_PASSED },
		{ &api_sparkpost, FEATURE_BCC, SUPPORT_DONE },
		{ &api_sparkpost, FEATURE_TEMPLATE, SUPPORT_REFUSED },
		{ &api_campaignmonitor, FEATURE_INLINE_CSS, SUPPORT_PASSED },
		{ &api_campaignmonitor, FEATURE_METADATA, SUPPORT_IGNORED },
		{ &api_flexmail, FEATURE_METADATA, SUPPORT_PASSED },
		{ &api_flexmail, FEATURE_HEADERS, SUPPORT_IGNORED },
		{ &api_emaildelivery, FEATURE_SHOWN, SUPPORT_IGNORED },
		{ &api_sparkpost, FEATURE_SHOWN, SUPPORT_PASSED },
		{ &api_campaignmonitor, FEATURE_SHOWN, SUPPORT_IGNORED },
		{ &api_flexmail, FEATURE_SHOWN, SUPPORT_IGNORED },
		{ &api_generic, FEATURE_SHOWN, SUPPORT_PASSED },
		{ &api_generic, FEATURE_VARIABLES, SUPPORT_PASSED },
		{ NULL, FEATURE_SHOWN, SUPPORT_PASSED },
		{ NULL, FEATURE_TEXT, SUPPORT_PASSED },
		{ NULL, FEATURE_TEMPLATE, SUPPORT_REFUSED },
	};

	(void)state;
	for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
		const struct route r = rows[i].format != NULL
					   ? by_api(rows[i].format)
					   : by_transport;
		const struct outgoing o = { .route = &r };

		if (feature_support(&o, rows[i].feature) != rows[i].want)
			fail_msg("row %zu", i);
	}
}

/* A tag that cannot be passed as it is. */
static void
test_tags(void **state)
{
	static char good[] = "order", longer[] = "order-confirmation-eu",
		    nothing[] = "\xe6\xb3\xa8",
		    sixty_four[] = "0123456789012345678901234567890123456789"
				   "0123456789012345678901234";
	const struct {
		const struct api_format *format;
		char *tag;
		enum support want;
	} rows[] = {
		{ &api_emaildelivery, good, SUPPORT_PASSED },
		{ &api_emaildelivery, longer, SUPPORT_IGNORED },
		{ &api_emaildelivery, nothing, SUPPORT_IGNORED },
		{ &api_sparkpost, longer, SUPPORT_PASSED },
		{ &api_sparkpost, nothing, SUPPORT_PASSED },
		{ &api_sparkpost, sixty_four, SUPPORT_IGNORED },
		{ &api_flexmail, longer, SUPPORT_PASSED },
		{ &api_flexmail, nothing, SUPPORT_IGNORED },
		{ &api_flexmail, sixty_four, SUPPORT_IGNORED },
		{ &api_campaignmonitor, sixty_four, SUPPORT_PASSED },
		{ &api_generic, sixty_four, SUPPORT_PASSED },
	};

	(void)state;
	for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
		const struct route r = by_api(rows[i].format);
		const struct outgoing o = { .route = &r, .tag = rows[i].tag };

		if (feature_support(&o, FEATURE_TAG) != rows[i].want)
			fail_msg("row %zu", i);
		assert_int_equal(feature_support(&o, FEATURE_LABELS),
				 rows[i].format->support[FEATURE_LABELS]);
	}
}

/* Nothing is refused for it, but it is in the log. */
static void
test_wished(void **state)
{
	static char html[] = "<style>p{}</style><p>x";
	struct route r = by_transport;
	struct outgoing o = { .route = &r,
			      .html = html,
			      .html_len = sizeof(html) - 1,
			      .asked = { [FEATURE_OPEN_TRACKING] = "A",
					 [FEATURE_INLINE_CSS] = "A" },
			      .wished = { [FEATURE_OPEN_TRACKING] = true,
					  [FEATURE_INLINE_CSS] = true } };
	struct smtp_reply reply = { 0 };
	char list[FEATURE_LIST_SIZE];

	(void)state;
	assert_true(feature_check(&o, &reply));
	assert_string_equal(feature_ignored(&o, list),
			    "open tracking,CSS inlining");
	r.tracks = true;
	assert_string_equal(feature_ignored(&o, list), "CSS inlining");
	o.wished[FEATURE_INLINE_CSS] = false;
	assert_false(feature_check(&o, &reply));
	r = by_api(&api_emaildelivery);
	assert_string_equal(feature_ignored(&o, list),
			    "open tracking,CSS inlining");
}

static void
test_check(void **state)
{
	static char route_id[] = "r-7", any[] = ROUTE_ANY;
	struct route r = by_api(&api_emaildelivery);
	struct outgoing o = { .route = &r, .route_id = route_id };
	struct smtp_reply reply = { 0 };

	(void)state;
	assert_true(feature_check(&o, &reply));
	o.asked[FEATURE_TAG] = "X-Transactional-Tag";
	o.asked[FEATURE_METADATA] = "X-MSYS-API";
	assert_true(feature_check(&o, &reply));
	assert_false(smtp_reply_is_set(&reply));

	o.asked[FEATURE_DKIM_KEY] = "X-MSYS-API";
	assert_false(feature_check(&o, &reply));
	assert_int_equal(reply.code, 550);
	assert_string_equal(reply.text, "X-MSYS-API: the route \"main\" cannot "
					"do this: DKIM key");
	/* The route as the client knows it. */
	r.name = any;
	assert_false(feature_check(&o, &reply));
	assert_string_equal(reply.text, "X-MSYS-API: the route \"r-7\" cannot "
					"do this: DKIM key");
	r = by_api(&api_sparkpost);
	assert_true(feature_check(&o, &reply));
}

static void
test_ignored(void **state)
{
	struct route r = by_api(&api_emaildelivery);
	struct outgoing o = { .route = &r };
	char list[FEATURE_LIST_SIZE];

	(void)state;
	assert_string_equal(feature_ignored(&o, list), "");
	o.asked[FEATURE_TAG] = "A";
	assert_string_equal(feature_ignored(&o, list), "");
	o.asked[FEATURE_METADATA] = "A";
	assert_string_equal(feature_ignored(&o, list), "metadata");
	o.asked[FEATURE_LABELS] = "A";
	o.asked[FEATURE_HEADERS] = "A";
	assert_string_equal(feature_ignored(&o, list),
			    "labels,metadata,other headers");
	/* All of them fit. */
	for (size_t f = 0; f < FEATURES; f++)
		o.asked[f] = "A";
	(void)feature_ignored(&o, list);
	assert_non_null(strstr(list, ",other headers"));
	/* Where it goes is not known yet. */
	o.route = NULL;
	assert_string_equal(feature_ignored(&o, list), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_what_is_forgotten_is_refused),
		cmocka_unit_test(test_content_is_not_ignored),
		cmocka_unit_test(test_support),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_wished),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
