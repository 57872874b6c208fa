/* SPDX-License-Identifier: MIT */
#include "milter/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "milter/commands.h"
#include "policy/dynbuf.h"

#define NO_END "it does not end with an empty line"
#define NO_COMMAND "there is no such command"
#define NOT_FIRST "no command in the first line"
#define NOT_OURS "a line that is not of the protocol"

/* Why it is refused; NULL: it is taken. */
static const struct {
	const char *text;
	const char *error;
} rows[] = {
	{ "command ping\n\n", NULL },
	{ "command ping\nformat text\n\n", NULL },
	{ "command ping\nformat json\n\n", NULL },
	{ "command key add\narg account=a\narg route=x\narg route=y\n\n",
	  NULL },
	{ "command key add\narg label=\n\n", NULL },
	{ "command key show\narg =abc\n\n", NULL },
	{ "", NO_END },
	{ "command ping", NO_END },
	{ "command ping\n", NO_END },
	{ "\n", "no command" },
	{ "command \n\n", NO_COMMAND },
	{ "command Ping\n\n", NO_COMMAND },
	{ "command key\n\n", NO_COMMAND },
	{ "command ping \n\n", NO_COMMAND },
	{ "command ping\ncommand ping\n\n", "a second command" },
	{ "command conf\n\n", "no command" }, /* txmilterctl's own */
	{ "format json\ncommand ping\n\n", NOT_FIRST },
	{ "arg account=a\n\n", NOT_FIRST },
	{ "command ping\nformat xml\n\n", "the format is text or json" },
	{ "command ping\nargument\n\n", NOT_OURS },
	{ "command ping\n arg =x\n\n", NOT_OURS },
	{ "command ping\narg x\n\n", "an argument without \"=\"" },
	{ "command ping\narg account=a\n\n", "the command has no such option" },
	{ "command key add\narg account=a\narg account=b\n\n",
	  "an option is given twice" },
};

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct request r;
		const char *error;
		bool taken = request_parse(&r, rows[i].text,
					   strlen(rows[i].text), &error);

		if (taken != (rows[i].error == NULL))
			fail_msg("%s: %s", rows[i].text, taken ? "" : error);
		if (!taken)
			assert_string_equal(error, rows[i].error);
		request_clear(&r);
	}
}

static void
test_parts(void **state)
{
	static const char text[] = "command key add\nformat json\n"
				   "arg account=acme\narg route=r1:A=B\n"
				   "arg =first\narg route=r2\narg =second\n"
				   "\nline 1\n\nline 3";
	struct request r;
	const char *error;

	(void)state;
	assert_true(request_parse(&r, text, strlen(text), &error));
	assert_string_equal(r.command->name, "key add");
	assert_true(r.json);
	assert_string_equal(request_option(&r, "account"), "acme");
	assert_string_equal(request_option_at(&r, "route", 0), "r1:A=B");
	assert_string_equal(request_option_at(&r, "route", 1), "r2");
	assert_null(request_option_at(&r, "route", 2));
	assert_null(request_option(&r, "sender"));
	assert_false(request_has(&r, "sender"));
	assert_string_equal(request_operand(&r, 0), "first");
	assert_string_equal(request_operand(&r, 1), "second");
	assert_null(request_operand(&r, 2));
	assert_string_equal(r.input, "line 1\n\nline 3");
	assert_int_equal(r.input_len, 14);
	request_clear(&r);
}

/* What the command reads may hold anything; the lines before it may not. */
static void
test_nul(void **state)
{
	static const char in_line[] = "command pi\0ng\n\n";
	static const char in_input[] = "command ping\n\na\0b";
	struct request r;
	const char *error;

	(void)state;
	assert_false(request_parse(&r, in_line, sizeof(in_line) - 1, &error));
	request_clear(&r);
	assert_true(request_parse(&r, in_input, sizeof(in_input) - 1, &error));
	assert_int_equal(r.input_len, 3);
	request_clear(&r);
}

static void
check_args(size_t n, const char *want)
{
	struct dynbuf text;
	struct request r;
	const char *error;

	dynbuf_init(&text, CONTROL_REQUEST_MAX);
	(void)dynbuf_adds(&text, "command key show\n");
	for (size_t i = 0; i < n; i++)
		(void)dynbuf_adds(&text, "arg =x\n");
	(void)dynbuf_adds(&text, "\n");
	assert_int_equal(request_parse(&r, text.data, text.len, &error),
			 want == NULL);
	if (want != NULL)
		assert_string_equal(error, want);
	request_clear(&r);
	dynbuf_clear(&text);
}

static void
test_too_many(void **state)
{
	(void)state;
	check_args(CONTROL_ARGS_MAX, NULL);
	check_args(CONTROL_ARGS_MAX + 1, "too many arguments");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
