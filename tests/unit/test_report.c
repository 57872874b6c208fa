/* SPDX-License-Identifier: MIT */
#include "milter/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
write_fields(struct report *r)
{
	report_text(r, "name", "a \"b\"\n\x1b[31m \xff caf\xc3\xa9");
	report_number(r, "n", UINT64_MAX);
	report_switch(r, "yes", true);
	report_switch(r, "no", false);
	report_time(r, "t", 1798711200);
	report_time(r, "never", 0);
	report_json(r, "raw", "{\"x\":1}", 7);
	report_note(r, "for %s", "people");
}

static void
write_table(struct report *r)
{
	static const char *const columns[] = { "id", "what" };

	report_table(r, "rows", columns, 2);
	report_row(r, (const char *[]){ "1", "caf\xc3\xa9 \"x\"" });
	report_row(r, (const char *[]){ "1000000", "" });
	report_table_end(r);
}

static void
write_empty_table(struct report *r)
{
	static const char *const columns[] = { "id" };

	report_table(r, "rows", columns, 1);
	report_table_end(r);
}

static void
write_both(struct report *r)
{
	report_text(r, "a", "b");
	write_table(r);
	report_text(r, "c", "d");
}

static const struct {
	void (*write)(struct report *r);
	const char *text, *json;
} rows[] = {
	{ write_fields,
	  "name:                a \"b\"??[31m ? caf\xc3\xa9\n"
	  "n:                   18446744073709551615\n"
	  "yes:                 yes\n"
	  "no:                  no\n"
	  "t:                   2026-12-31T10:00:00Z\n"
	  "never:               never\n"
	  "raw:                 {\"x\":1}\n"
	  "for people\n",
	  "{\"name\":\"a \\\"b\\\"??[31m ? caf\xc3\xa9\","
	  "\"n\":18446744073709551615,\"yes\":true,\"no\":false,"
	  "\"t\":\"2026-12-31T10:00:00Z\",\"never\":null,"
	  "\"raw\":{\"x\":1}}\n" },
	{ write_table,
	  "id       what\n"
	  "1        caf\xc3\xa9 \"x\"\n"
	  "1000000  \n",
	  "{\"rows\":[{\"id\":\"1\",\"what\":\"caf\xc3\xa9 \\\"x\\\"\"},"
	  "{\"id\":\"1000000\",\"what\":\"\"}]}\n" },
	{ write_empty_table, "id\n", "{\"rows\":[]}\n" },
	{ write_both,
	  "a:                   b\n"
	  "id       what\n"
	  "1        caf\xc3\xa9 \"x\"\n"
	  "1000000  \n"
	  "c:                   d\n",
	  "{\"a\":\"b\",\"rows\":[{\"id\":\"1\",\"what\":\"caf\xc3\xa9 "
	  "\\\"x\\\"\"},{\"id\":\"1000000\",\"what\":\"\"}],\"c\":\"d\"}\n" },
};

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int json = 0; json < 2; json++) {
			struct dynbuf out;
			struct report r;

			dynbuf_init(&out, 65536);
			report_begin(&r, json, &out);
			rows[i].write(&r);
			report_end(&r);
			assert_string_equal(dynbuf_str(&out),
					    json ? rows[i].json : rows[i].text);
			dynbuf_clear(&out);
		}
	}
}

/* Many rows, and a buffer that is too small: nothing breaks. */
static void
test_many(void **state)
{
	static const char *const columns[] = { "id" };
	struct dynbuf out;
	struct report r;

	(void)state;
	dynbuf_init(&out, 1000);
	report_begin(&r, true, &out);
	report_table(&r, "rows", columns, 1);
	for (size_t i = 0; i < 5000; i++)
		report_row(&r, (const char *[]){ "x" });
	report_table_end(&r);
	report_end(&r);
	assert_true(out.overflow);
	assert_true(out.len <= 1000);
	dynbuf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
