/* SPDX-License-Identifier: MIT */
#include "policy/html_look.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/html_scan.h"
#include "tests/unit/html_scene.h"

static const struct {
	const char *attrs;
	bool hidden;
} hidden[] = {
	{ "", false },
	{ "hidden", true },
	{ "hidden=''", true },
	{ "style", false },
	{ "style=''", false },
	{ "style='display:none'", true },
	{ "style='display:none;'", true },
	{ "style=display:none", true },
	{ "style='DISPLAY : NONE ;color:red'", true },
	{ "style=' color:red;\n display:\tnone\n'", true },
	{ "style='display:none!important'", true },
	{ "style='display:none !IMPORTANT'", true },
	{ "style='display:nonesuch'", false },
	{ "style='display:block'", false },
	{ "style='display'", false },
	{ "style='display:'", false },
	{ "style=':none'", false },
	{ "style='xdisplay:none'", false },
	{ "style='display:none;display:block'", false },
	{ "style='display:block;display:none'", true },
	{ "style='display:none!important;display:block'", true },
	{ "style='font-family:&quot;A&quot;;display:none'", true },
	{ "style='background:url(data:x;y:z);display:none'", true },
	{ "style='visibility:hidden'", true },
	{ "style='visibility:visible'", false },
	{ "style='opacity:0'", true },
	{ "style='opacity:0.0'", true },
	{ "style='opacity:.5'", false },
	{ "style='opacity:1'", false },
	{ "style='max-height:0;overflow:hidden'", true },
	{ "style='max-height:0px;overflow:hidden'", true },
	{ "style='height:0;overflow:hidden'", true },
	{ "style='width:0;overflow:hidden'", true },
	{ "style='overflow:hidden'", false },
	{ "style='height:0'", false },
	{ "style='max-height:0'", false },
	{ "style='height:10px;overflow:hidden'", false },
	{ "style='height:0;width:0'", true },
	/* how a cell is cut to its column */
	{ "style='max-width:0;overflow:hidden;text-overflow:ellipsis'", false },
	/* hidden from Outlook, which has a button of its own in a comment */
	{ "style='mso-hide:all'", false },
	{ "width=0 height=0", true },
	{ "width='0px' height=' 0 '", true },
	{ "width=0", false },
	{ "height=0", false },
	{ "width=10 height=0", false },
	{ "width=x height=", false },
	{ "width=0 style='height:0'", true },
};

static const struct {
	const char *style;
	enum html_font font;
} fonts[] = {
	{ "", HTML_FONT_SAME },
	{ "color:red", HTML_FONT_SAME },
	{ "font-size:0", HTML_FONT_NONE },
	{ "font-size:0px", HTML_FONT_NONE },
	{ "font-size: 0.0em !important", HTML_FONT_NONE },
	{ "font-size:0%", HTML_FONT_NONE },
	{ "font-size:.0", HTML_FONT_NONE },
	{ "font-size:0.5px", HTML_FONT_SOME },
	{ "font-size:14px", HTML_FONT_SOME },
	{ "font-size:1rem", HTML_FONT_SOME },
	{ "font-size:small", HTML_FONT_SOME },
	{ "font-size:1em", HTML_FONT_SAME },
	{ "font-size:100%", HTML_FONT_SAME },
	{ "font-size:2ex", HTML_FONT_SAME },
	{ "font-size:inherit", HTML_FONT_SAME },
	{ "font-size:larger", HTML_FONT_SAME },
	{ "font-size:", HTML_FONT_SAME },
	{ "font-size:.", HTML_FONT_SOME },
	{ "font:0/0 a", HTML_FONT_NONE },
	{ "font:0px/0px sans-serif", HTML_FONT_NONE },
	{ "font:14px Arial", HTML_FONT_SOME },
	{ "font:italic 700 14px/1.5 Arial", HTML_FONT_SOME },
	{ "font:bold 1em Arial", HTML_FONT_SAME },
	{ "font:700 0px/1 Arial", HTML_FONT_NONE },
	{ "font:menu", HTML_FONT_SOME },
	{ "font:14px A;font-size:0", HTML_FONT_NONE },
	{ "font-size:0;font:14px A", HTML_FONT_SOME },
	{ "font-size:0;font-size:12px", HTML_FONT_SOME },
	{ "line-height:0", HTML_FONT_SAME },
};

static struct html_look
look_at(const char *tag)
{
	static const char *const names[] = { "hidden", "style", "width",
					     "height" };
	size_t len = strlen(tag);
	char *html = scene_exact(tag, len);
	struct html_attr a[4];
	struct html_scan scan;
	struct html_token t;
	struct html_look look;

	html_scan_init(&scan, html, len);
	assert_true(html_scan_next(&scan, &t));
	assert_int_equal(t.kind, HTML_START_TAG);
	html_token_attrs(&t, names, 4, a);
	look = html_look(&a[0], &a[1], &a[2], &a[3]);
	free(html);
	return look;
}

static void
test_hidden(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		char tag[200];

		snprintf(tag, sizeof(tag), "<p %s>", hidden[i].attrs);
		if (look_at(tag).hidden != hidden[i].hidden)
			fail_msg("%s", tag);
	}
}

static void
test_fonts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(fonts) / sizeof(fonts[0]); i++) {
		char tag[200];

		snprintf(tag, sizeof(tag), "<p style='%s'>", fonts[i].style);
		if (look_at(tag).font != fonts[i].font || look_at(tag).hidden)
			fail_msg("%s: %d", tag, look_at(tag).font);
	}
}

static void
test_no_size(void **state)
{
	(void)state;
	assert_true(look_at("<img width=0>").no_width);
	assert_true(look_at("<img style='width:0px'>").no_width);
	assert_false(look_at("<img width=1>").no_width);
	assert_true(look_at("<img height=0>").no_height);
	assert_true(look_at("<img style='height:0'>").no_height);
	assert_false(look_at("<img height=01>").no_height);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hidden),
		cmocka_unit_test(test_fonts),
		cmocka_unit_test(test_no_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
