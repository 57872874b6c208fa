/* SPDX-License-Identifier: MIT */
#include "policy/html.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/dynbuf.h"

#define NB "&nbsp;"

static const struct {
	const char *name;
	const char *text;
	bool flowed;
	const char *want;
} rows[] = {
	{ "nothing", "", false, "" },
	{ "a line", "hello", false, "hello" },
	{ "markup", "<b>1 & 2</b> \"x\"", false,
	  "&lt;b&gt;1 &amp; 2&lt;/b&gt; &quot;x&quot;" },
	{ "what is escaped already", "&amp;", false, "&amp;amp;" },
	{ "a link stays text", "http://x/?a=1&b=2", false,
	  "http://x/?a=1&amp;b=2" },
	{ "UTF-8", "caf\xc3\xa9 \xe2\x82\xac", false,
	  "caf\xc3\xa9 \xe2\x82\xac" },
	{ "LF", "a\nb", false, "a<br>\nb" },
	{ "CR LF", "a\r\nb\r\n", false, "a<br>\nb<br>\n" },
	{ "empty lines", "a\n\n\r\nb", false, "a<br>\n<br>\n<br>\nb" },
	{ "only a line end", "\n", false, "<br>\n" },
	{ "one blank", "a b", false, "a b" },
	{ "two blanks", "a  b", false, "a " NB "b" },
	{ "four blanks", "a    b", false, "a " NB NB NB "b" },
	{ "leading blank", " a", false, NB "a" },
	{ "leading blanks of the second line", "x\n  a", false,
	  "x<br>\n" NB NB "a" },
	{ "TAB", "a\tb", false, "a" NB NB NB " b" },
	{ "blank at the end", "a \nb", false, "a <br>\nb" },
	{ "control characters",
	  "a\x01\x1b\x7f"
	  "b",
	  false, "ab" },
	{ "no-break space",
	  "a\xc2\xa0"
	  "b",
	  false,
	  "a\xc2\xa0"
	  "b" },

	{ "soft line end", "hello \nworld\n", true, "hello world<br>\n" },
	{ "soft line end, CR LF", "hello \r\nworld\r\n", true,
	  "hello world<br>\n" },
	{ "hard line end", "hello\nworld", true, "hello<br>\nworld" },
	{ "soft line end at the end", "hello \n", true, "hello " },
	{ "not flowed, the same", "hello \nworld\n", false,
	  "hello <br>\nworld<br>\n" },
	{ "signature separator", "x\n-- \nJoe\n", true,
	  "x<br>\n-- <br>\nJoe<br>\n" },
	{ "nearly a signature separator", "x\n--- \nJoe\n", true,
	  "x<br>\n--- Joe<br>\n" },
	{ "a stuffed line", " From here\n", true, "From here<br>\n" },
	{ "a stuffed blank", "  a\n", true, NB "a<br>\n" },
	{ "a stuffed quote mark", " > a\n", true, "&gt; a<br>\n" },
	{ "not flowed, not stuffed", " From\n", false, NB "From<br>\n" },
	{ "an empty line between", "a \n\nb\n", true, "a <br>\nb<br>\n" },
	{ "three letters are no signature", "ab \nc", true, "ab c" },
	{ "a stuffed empty line is not soft", " \nx", true, "<br>\nx" },
	{ "three lines", "a \nb \nc\n", true, "a b c<br>\n" },
};

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		DYNBUF_AUTO out;
		size_t len = strlen(rows[i].text);
		char *text = malloc(len != 0 ? len : 1);

		assert_non_null(text);
		memcpy(text, rows[i].text, len);
		dynbuf_init(&out, 1000);
		assert_true(html_from_text(&out, text, len, rows[i].flowed));
		free(text);
		if (strcmp(dynbuf_str(&out), rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, dynbuf_str(&out));
	}
}

static void
test_appends(void **state)
{
	DYNBUF_AUTO out;

	(void)state;
	dynbuf_init(&out, 1000);
	dynbuf_adds(&out, "<p>");
	assert_true(html_from_text(&out, "a<", 2, false));
	assert_string_equal(dynbuf_str(&out), "<p>a&lt;");
}

/* Whatever it is that does not fit: a letter, an entity, a blank, <br>. */
static void
test_full(void **state)
{
	static const struct {
		const char *text;
		bool flowed;
		size_t needs;
	} v[] = {
		{ "abc", false, 3 },  { "a&", false, 6 },   { "a\n", false, 6 },
		{ " a", false, 7 },   { "\ta", false, 20 }, { " a", true, 1 },
		{ "a \nb", true, 3 }, { "", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		for (size_t max = 0; max <= v[i].needs; max++) {
			DYNBUF_AUTO out;
			bool ok;

			dynbuf_init(&out, max);
			ok = html_from_text(&out, v[i].text, strlen(v[i].text),
					    v[i].flowed);
			if (ok != (max >= v[i].needs) || out.overflow == ok)
				fail_msg("\"%s\" in %zu: %d", v[i].text, max,
					 ok);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_appends),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
