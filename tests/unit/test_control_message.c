/* SPDX-License-Identifier: MIT */
#include "milter/control_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "policy/header_text.h"

/* A message as "name[value]name[value]=body". */
static void
describe(const struct control_message *m, struct dynbuf *out)
{
	for (size_t i = 0; i < m->n; i++)
		dynbuf_addf(out, "%s[%s]", m->headers[i].name,
			    m->headers[i].value);
	dynbuf_adds(out, "=");
	dynbuf_adds(out, dynbuf_str(&m->body));
}

static void
test_parse(void **state)
{
	static const struct {
		const char *text;
		const char *want;
	} rows[] = {
		{ "", "=" },
		{ "\n", "=" },
		{ "\n\n", "=\r\n" },
		{ "A: b\n\nc\n", "A[ b]=c\r\n" },
		{ "A: b\r\n\r\nc\r\nd", "A[ b]=c\r\nd\r\n" },
		{ "A: b\nB:c\n", "A[ b]B[c]=" },
		{ "A: b", "A[ b]=" },
		{ "A:\n", "A[]=" },
		{ "A: b\n c\n\td\n\n", "A[ b\n c\n\td]=" },
		{ "A: b\r\n c\r\nB: d\r\n", "A[ b\n c]B[ d]=" },
		{ "A:\n b\n", "A[\n b]=" },
		{ "A: b\n \n\nc", "A[ b\n ]=c\r\n" },
		{ "A \t: b\n", "A[ b]=" },
		{ "A: b:c\n", "A[ b:c]=" },
		{ "From x Mon\nA: b\n", "A[ b]=" },
		{ "From: x\n", "From[ x]=" },
		{ "A: b\nno header\nB: c\n", "A[ b]=no header\r\nB: c\r\n" },
		{ " fold\nA: b\n", "= fold\r\nA: b\r\n" },
		{ ": b\n", "=: b\r\n" },
		{ "\xc3\xa4: b\n", "=\xc3\xa4: b\r\n" },
		{ "A: \xc3\xa4\n\n\xc3\xa4", "A[ \xc3\xa4]=\xc3\xa4\r\n" },
		{ "A: b\n\na\rb\r\r\n", "A[ b]=a\rb\r\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct control_message m;
		const char *error;
		DYNBUF_AUTO seen;

		dynbuf_init(&seen, 1000);
		assert_true(control_message_parse(
		    rows[i].text, strlen(rows[i].text), &m, &error));
		describe(&m, &seen);
		if (strcmp(dynbuf_str(&seen), rows[i].want) != 0)
			fail_msg("row \"%s\": \"%s\"", rows[i].text,
				 dynbuf_str(&seen));
		control_message_clear(&m);
	}
}

static const char *
trouble(const struct dynbuf *text)
{
	struct control_message m;
	const char *error;

	if (control_message_parse(dynbuf_str(text), text->len, &m, &error)) {
		control_message_clear(&m);
		return "";
	}
	return error;
}

static void
test_bounds(void **state)
{
	DYNBUF_AUTO text;

	(void)state;
	dynbuf_init(&text, 1000000);
	dynbuf_add(&text, "A: \0\n", 5);
	assert_string_equal(trouble(&text), "has a NUL in a header");
	dynbuf_truncate(&text, 0);
	dynbuf_add(&text, "A: b\n \0\n", 8);
	assert_string_equal(trouble(&text), "has a NUL in a header");
	dynbuf_truncate(&text, 0);
	dynbuf_add(&text, "A: b\n\n\0\n", 8);
	assert_string_equal(trouble(&text), "");

	dynbuf_truncate(&text, 0);
	dynbuf_adds(&text, "Na:");
	while (text.len < CONTROL_HEADER_MAX + 1)
		dynbuf_adds(&text, "x");
	assert_string_equal(trouble(&text), "");
	dynbuf_adds(&text, "x");
	assert_non_null(strstr(trouble(&text), "65000 bytes"));

	dynbuf_truncate(&text, 0);
	for (int i = 0; i < CONTROL_HEADERS_MAX; i++)
		dynbuf_adds(&text, "A: b\n");
	assert_string_equal(trouble(&text), "");
	dynbuf_adds(&text, "A: b\n");
	assert_non_null(strstr(trouble(&text), "10000 headers"));
}

static void
recipients_of(const char *text, struct dynbuf *out)
{
	struct control_message m;
	struct control_recipients r;
	const char *error;

	assert_true(control_message_parse(text, strlen(text), &m, &error));
	if (!control_message_recipients(&m, &r)) {
		dynbuf_adds(out, "too many");
	} else {
		for (size_t i = 0; i < r.n; i++)
			dynbuf_adds(out, r.v[i]);
		control_recipients_clear(&r);
	}
	control_message_clear(&m);
}

static void
test_recipients(void **state)
{
	static const struct {
		const char *text;
		const char *want;
	} rows[] = {
		{ "Subject: a@b\n\nTo: a@b\n", "" },
		{ "To: a@b.example\n", "<a@b.example>" },
		{ "to: Jane <a@b>, c@d\nCC: e@f\nBcc: g@h\n",
		  "<a@b><c@d><e@f>" },
		{ "To: a@b,\n c@d\n", "<a@b><c@d>" },
		{ "To: a@b\nCc: a@b\n", "<a@b>" },
		{ "To: us: a@b, c@d;\n", "<a@b><c@d>" },
		{ "To: Jane Smith\n", "" },
		{ "To: undisclosed-recipients:;\n", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		DYNBUF_AUTO seen;

		dynbuf_init(&seen, 1000);
		recipients_of(rows[i].text, &seen);
		if (strcmp(dynbuf_str(&seen), rows[i].want) != 0)
			fail_msg("row \"%s\": \"%s\"", rows[i].text,
				 dynbuf_str(&seen));
	}
}

static void
test_many_recipients(void **state)
{
	DYNBUF_AUTO text;
	DYNBUF_AUTO seen;

	(void)state;
	dynbuf_init(&text, 1000000);
	dynbuf_init(&seen, 1000000);
	for (int i = 0; i < CONTROL_RECIPIENTS_MAX; i++)
		dynbuf_addf(&text, "To: %d@x\n", i);
	recipients_of(dynbuf_str(&text), &seen);
	assert_non_null(strstr(dynbuf_str(&seen), "<999@x>"));
	dynbuf_adds(&text, "Cc: 1@x\n");
	dynbuf_truncate(&seen, 0);
	recipients_of(dynbuf_str(&text), &seen);
	assert_string_equal(dynbuf_str(&seen), "too many");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_many_recipients),
	};

	header_text_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
