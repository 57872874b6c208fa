/* SPDX-License-Identifier: MIT */
/* The tokens were computed with Python's hmac and base64, and with openssl. */
#include "policy/tracking.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "policy/dynbuf.h"

static const unsigned char key[] = "0123456789abcdef0123456789abcdef";

static const struct tracking shop = {
	.url = "https://t.example/x",
	.key = key,
	.key_len = sizeof(key) - 1,
	.account = "acme",
	.id = "00ff",
};

/* A key with a NUL, and an account that JSON must escape. */
static const struct tracking odd = {
	.url = "http://t",
	.key = (const unsigned char *)"\0k",
	.key_len = 2,
	.account = "a\"b",
	.id = "1",
};

#define CLICK_X                                                \
	"https://t.example/x/c/"                               \
	"eyJhIjoiYWNtZSIsImkiOiIwMGZmIiwidSI6Imh0dHA6Ly94LyJ9" \
	".fG0TOUp-uZ0oP70vc7cbpQ"
#define OPEN                                                    \
	"https://t.example/x/o/eyJhIjoiYWNtZSIsImkiOiIwMGZmIn0" \
	".wXNpKuDxcKq5in4AzFQKwg"

static const struct {
	const struct tracking *t;
	enum tracking_kind kind;
	const char *target;
	const char *want;
} rows[] = {
	{ &shop, TRACKING_CLICK, "http://x/", CLICK_X },
	{ &shop, TRACKING_OPEN, NULL, OPEN },
	{ &shop, TRACKING_CLICK, "https://shop.example/?a=1&b=2",
	  "https://t.example/x/c/eyJhIjoiYWNtZSIsImkiOiIwMGZmIiwidSI6Imh0dHBzOi"
	  "8vc2hvcC5leGFtcGxlLz9hPTEmYj0yIn0.RtsX-m4JCLTJewiO2G9mBQ" },
	{ &shop, TRACKING_CLICK, "http://x/\xc3\xa9\"\\\xc3\xbf>>??",
	  "https://t.example/x/c/eyJhIjoiYWNtZSIsImkiOiIwMGZmIiwidSI6Imh0dHA6Ly"
	  "94L8OpXCJcXMO_Pj4_PyJ9.s7o9dyZSX8v0tjKODJjgGQ" },
	{ &odd, TRACKING_CLICK, "http://x",
	  "http://t/c/eyJhIjoiYVwiYiIsImkiOiIxIiwidSI6Imh0dHA6Ly94In0"
	  ".ScZ86JyhKizZqEYqLye7xg" },
};

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *target = rows[i].target;

		for (size_t max = 0; max <= strlen(rows[i].want); max++) {
			DYNBUF_AUTO out;
			bool ok;

			dynbuf_init(&out, max);
			ok = tracking_add_url(&out, rows[i].t, rows[i].kind,
					      target,
					      target ? strlen(target) : 0);
			assert_int_equal(ok, max == strlen(rows[i].want));
			if (ok)
				assert_string_equal(dynbuf_str(&out),
						    rows[i].want);
		}
	}
}

static void
test_appends(void **state)
{
	DYNBUF_AUTO out;

	(void)state;
	dynbuf_init(&out, 1000);
	dynbuf_adds(&out, "<");
	assert_true(tracking_add_url(&out, &shop, TRACKING_OPEN, NULL, 0));
	assert_string_equal(dynbuf_str(&out), "<" OPEN);
}

#define IMG                                                        \
	"<img src=\"" OPEN "\" width=\"1\" height=\"1\" alt=\"\" " \
	"style=\"display:block;border:0;width:1px;height:1px\">"

static const struct {
	const char *html;
	bool opens, clicks;
	const char *want;
} documents[] = {
	{ "<a href=http://x/>y</a></body>", false, false,
	  "<a href=http://x/>y</a></body>" },
	{ "<a href=http://x/>y</a></body>", false, true,
	  "<a href=\"" CLICK_X "\">y</a></body>" },
	{ "<a href=http://x/>y</a></body>", true, false,
	  "<a href=http://x/>y</a>" IMG "</body>" },
	{ "<a href=http://x/>y</a></body>", true, true,
	  "<a href=\"" CLICK_X "\">y</a>" IMG "</body>" },
	{ "", true, true, IMG },
	{ "", false, false, "" },
	{ "", false, true, "" },
	{ "<a href='http://x/\xff'>", false, true, "<a href='http://x/\xff'>" },
	{ "<a href='mailto:a@x'>", false, true, "<a href='mailto:a@x'>" },
};

static void
test_rewrite(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
		const char *html = documents[i].html;
		const char *want = documents[i].want;

		for (size_t max = 0; max <= strlen(want); max++) {
			DYNBUF_AUTO out;
			bool ok;

			dynbuf_init(&out, max);
			ok = tracking_rewrite(&out, &shop, html, strlen(html),
					      documents[i].opens,
					      documents[i].clicks);
			assert_int_equal(ok, max == strlen(want));
			assert_int_equal(out.overflow, !ok);
			if (ok)
				assert_string_equal(dynbuf_str(&out), want);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_appends),
		cmocka_unit_test(test_rewrite),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
