/* SPDX-License-Identifier: MIT */
/*
 * Each body is read as a client sent it, and read again as it was composed:
 * the bytes, and what a reader finds in them.
 */
#include "policy/compose.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <gmime/gmime.h>

#include "policy/body.h"
#include "policy/dynbuf.h"
#include "policy/edits.h"
#include "policy/message.h"

#define ROOM 1000000
#define TOKEN "t0k3n"
#define OURS "=_txm_" TOKEN
#define NEW_HTML "<p>n\xc3\xa9w</p>"
#define NEW_HTML_QP "<p>n=C3=A9w</p>"
#define NEW_TEXT "n\xc3\xa9w"
#define NEW_TEXT_QP "n=C3=A9w"
#define QP "Content-Transfer-Encoding: quoted-printable\r\n"
#define HTML_PART "Content-Type: text/html; charset=utf-8\r\n" QP "\r\n"
#define TEXT_PART "Content-Type: text/plain; charset=utf-8\r\n" QP "\r\n"
#define PDF                                               \
	"--b\r\nContent-Type: application/pdf\r\n"        \
	"Content-Transfer-Encoding: base64\r\n\r\nAA\r\n" \
	"BB  \r\n"
#define ALTERNATIVE                                                            \
	"Content-Type: multipart/alternative;\r\n boundary=\"" OURS "\"\r\n\r" \
	"\n"
#define OURS_ALL                                             \
	"--" OURS "\r\n" TEXT_PART NEW_TEXT_QP "\r\n--" OURS \
	"\r\n" HTML_PART NEW_HTML_QP "\r\n--" OURS "--"

static const struct row {
	const char *name;
	const char *type; /* of the message */
	const char *body;
	const char *want;
	bool with_text;
} rows[] = {
	{ "a part of a mixed", "multipart/mixed; boundary=b",
	  "preamble\r\n--b\r\nContent-Type: text/html; charset=latin1\r\n\r\n"
	  "<p>\xe9\r\n" PDF "--b--\r\nepilogue",
	  "preamble\r\n--b\r\n" HTML_PART NEW_HTML_QP "\r\n" PDF
	  "--b--\r\nepilogue",
	  false },
	{ "its other fields stay, folded ones too",
	  "multipart/related; boundary=b",
	  "--b\r\nContent-ID: <1@x>\r\ncontent-type: text/html;\r\n "
	  "charset=utf-8\r\nContent-Disposition: inline;\r\n\tfilename=x\r\n"
	  "CONTENT-TRANSFER-ENCODING : base64\r\nContent-MD5: x\r\n\r\n"
	  "PHA+\r\n" PDF "--b--\r\n",
	  "--b\r\nContent-ID: <1@x>\r\n"
	  "Content-Disposition: inline;\r\n\tfilename=x\r\n" HTML_PART
	      NEW_HTML_QP "\r\n" PDF "--b--\r\n",
	  false },
	{ "with a text part before it, in its alternative",
	  "multipart/alternative; boundary=\"b b\"",
	  "--b b  \r\nContent-Type: text/html\r\n\r\n<p>\r\n--b b--\r\n",
	  "--b b  \r\n" TEXT_PART NEW_TEXT_QP
	  "\r\n--b b  \r\n" HTML_PART NEW_HTML_QP "\r\n--b b--\r\n",
	  true },
	{ "an alternative in its place", "multipart/mixed; boundary=b",
	  "--b\r\nContent-ID: <1@x>\r\nContent-Type: "
	  "text/html\r\n\r\n<p>\r\n" PDF "--b--\r\n",
	  "--b\r\nContent-ID: <1@x>\r\n" ALTERNATIVE OURS_ALL "\r\n" PDF
	  "--b--\r\n",
	  true },
	{ "what a related says it is", "multipart/mixed; boundary=b",
	  "--b\r\nContent-Description: type=text/html; type=text/html\r\n"
	  "content-type: multipart/related; start=\"a;type=text/html\";\r\n "
	  "type=\"Text/HTML\" ; boundary=c\r\n\r\n"
	  "--c\r\nContent-Type: text/html\r\n\r\n<p>\r\n--c--\r\n--b--\r\n",
	  "--b\r\nContent-Description: type=text/html; type=text/html\r\n"
	  "content-type: multipart/related; start=\"a;type=text/html\";\r\n "
	  "type=\"multipart/alternative\" ; boundary=c\r\n\r\n"
	  "--c\r\n" ALTERNATIVE OURS_ALL "\r\n--c--\r\n--b--\r\n",
	  true },
	{ "and where its HTML stays HTML", "multipart/mixed; boundary=b",
	  "--b\r\nContent-Type: multipart/related; type=text/html; "
	  "boundary=c\r\n\r\n"
	  "--c\r\nContent-Type: text/html\r\n\r\n<p>\r\n--c--\r\n--b--\r\n",
	  "--b\r\nContent-Type: multipart/related; type=text/html; "
	  "boundary=c\r\n\r\n"
	  "--c\r\n" HTML_PART NEW_HTML_QP "\r\n--c--\r\n--b--\r\n",
	  false },
	{ "and where it is in an alternative already",
	  "multipart/mixed; boundary=b",
	  "--b\r\nContent-Type: multipart/related; type=text/html; "
	  "boundary=c\r\n\r\n"
	  "--c\r\nContent-Type: multipart/alternative; boundary=d\r\n\r\n"
	  "--d\r\nContent-Type: text/html\r\n\r\n<p>\r\n--d--\r\n--c--\r\n"
	  "--b--\r\n",
	  "--b\r\nContent-Type: multipart/related; type=text/html; "
	  "boundary=c\r\n\r\n"
	  "--c\r\nContent-Type: multipart/alternative; boundary=d\r\n\r\n"
	  "--d\r\n" TEXT_PART NEW_TEXT_QP "\r\n--d\r\n" HTML_PART NEW_HTML_QP
	  "\r\n--d--\r\n--c--\r\n--b--\r\n",
	  true },
	{ "no end boundary", "multipart/mixed; boundary=b",
	  "--b\r\nContent-Type: text/html\r\n\r\n<p>",
	  "--b\r\n" HTML_PART NEW_HTML_QP, false },
	{ "no end boundary, with text", "multipart/mixed; boundary=b",
	  "--b\r\nContent-Type: text/html\r\n\r\n<p>",
	  "--b\r\n" ALTERNATIVE OURS_ALL, true },
	{ "deep in it", "multipart/mixed; boundary=b",
	  "--b\r\nContent-Type: multipart/related; boundary=c\r\n\r\n"
	  "--c\r\nContent-Type: text/html\r\n\r\n<p>\r\n--c--\r\n" PDF
	  "--b--\r\n",
	  "--b\r\nContent-Type: multipart/related; boundary=c\r\n\r\n"
	  "--c\r\n" HTML_PART NEW_HTML_QP "\r\n--c--\r\n" PDF "--b--\r\n",
	  false },
	{ "LF line ends", "multipart/alternative; boundary=b",
	  "--b\nContent-Type: text/html\nContent-ID: <1>\n\n<p>\n--b--\n",
	  "--b\n" TEXT_PART NEW_TEXT_QP
	  "\r\n--b\nContent-ID: <1>\n" HTML_PART NEW_HTML_QP "\n--b--\n",
	  true },
};

static struct body *
read_body(const char *type, const char *text, size_t len, unsigned wants)
{
	struct body *b = body_new();

	body_header(b, "Content-Type", type, strlen(type));
	body_want(b, wants);
	assert_int_not_equal(body_feed(b, text, len), BODY_ERROR);
	return b;
}

/* What a reader finds: the new parts, and the files that were there. */
static void
check_read(const struct row *r, const struct dynbuf *out)
{
	unsigned wants = BODY_WANT_TEXT | BODY_WANT_FILES;
	struct body *b = read_body(r->type, out->data, out->len, wants);
	char *html, *text;
	size_t len, text_len;
	struct body_counts counts;

	assert_int_equal(body_end(b, &html, &len), BODY_HTML);
	assert_int_equal(strncmp(html, NEW_HTML, strlen(NEW_HTML)), 0);
	text = body_take_text(b, &text_len);
	assert_int_equal(text != NULL, r->with_text);
	if (text != NULL)
		assert_int_equal(strncmp(text, NEW_TEXT, text_len), 0);
	body_counts(b, &counts);
	assert_int_equal(counts.files, strstr(r->body, "pdf") != NULL);
	free(html);
	free(text);
	body_free(&b);
}

static void
check_row(const struct row *r)
{
	const struct compose_parts p = {
		.html = NEW_HTML,
		.html_len = strlen(NEW_HTML),
		.text = r->with_text ? NEW_TEXT : NULL,
		.text_len = r->with_text ? strlen(NEW_TEXT) : 0,
		.token = TOKEN,
	};
	struct body *b =
	    read_body(r->type, r->body, strlen(r->body), BODY_WANT_RAW);
	struct body_place place;
	DYNBUF_AUTO out;
	char *html;
	const char *raw;
	size_t len;

	assert_int_equal(body_end(b, &html, &len), BODY_HTML);
	assert_true(body_place(b, &place));
	raw = body_raw(b, &len);
	dynbuf_init(&out, len + compose_room(&p));
	assert_true(compose_body(&out, raw, len, &place, &p));
	if (strcmp(dynbuf_str(&out), r->want) != 0)
		fail_msg("%s:\n%s", r->name, dynbuf_str(&out));
	check_read(r, &out);
	free(html);
	body_free(&b);
}

static void
test_bodies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&rows[i]);
}

/* Of the message itself. */
static void
test_related_types(void **state)
{
	static const struct {
		const char *type, *want; /* NULL: it stays */
	} v[] = {
		{ "multipart/related; type=text/html; boundary=b",
		  "multipart/related; type=\"multipart/alternative\"; "
		  "boundary=b" },
		{ "multipart/related;boundary=\"b;type=text/html\";\n\tTYPE = "
		  "\"text/html\"",
		  "multipart/related;boundary=\"b;type=text/html\";\n\tTYPE = "
		  "\"multipart/alternative\"" },
		{ "multipart/related; boundary=b", NULL },
		{ "multipart/related; type=multipart/alternative", NULL },
		{ "multipart/related; type=\"text/html; x=y\"", NULL },
		{ "multipart/related; subtype=text/html", NULL },
		{ "multipart/related; type", NULL },
		{ "multipart/related; type=", NULL },
		{ "multipart/related; x=\"\\\"; type=text/html", NULL },
		{ "multipart/related; x=\"\\", NULL },
		{ "type=text/html", NULL },
		{ "", NULL },
	};
	struct compose_parts p = { .text = "" };
	struct body_place place = { .in_related = true,
				    .related_is_message = true };

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		size_t len = strlen(v[i].type);
		char *type = malloc(len + 1), *got;

		assert_non_null(type);
		memcpy(type, v[i].type, len);
		got = compose_related_type(type, len, &place, &p);
		if ((got == NULL) != (v[i].want == NULL) ||
		    (got != NULL && strcmp(got, v[i].want) != 0))
			fail_msg("%s: %s", v[i].type, got ? got : "stays");
		free(got);
		free(type);
	}
	p.text = NULL;
	assert_null(
	    compose_related_type(v[0].type, strlen(v[0].type), &place, &p));
}

static void
test_leaves(void **state)
{
	struct compose_parts p = { .html = NEW_HTML,
				   .html_len = strlen(NEW_HTML),
				   .token = TOKEN };
	char *type = compose_type(&p);
	DYNBUF_AUTO out;

	(void)state;
	dynbuf_init(&out, compose_room(&p));
	assert_true(compose_leaf(&out, &p));
	assert_string_equal(out.data, NEW_HTML_QP "\r\n");
	assert_string_equal(type, "text/html; charset=utf-8");
	assert_string_equal(compose_encoding(&p), "quoted-printable");
	free(type);
	p.text = NEW_TEXT "\n";
	p.text_len = strlen(p.text);
	dynbuf_clear(&out);
	dynbuf_init(&out, compose_room(&p));
	assert_true(compose_leaf(&out, &p));
	/* A line end of the text's own stays. */
	assert_string_equal(
	    out.data, "--" OURS "\r\n" TEXT_PART NEW_TEXT_QP "\r\n\r\n--" OURS
		      "\r\n" HTML_PART NEW_HTML_QP "\r\n--" OURS "--\r\n");
	type = compose_type(&p);
	assert_string_equal(type,
			    "multipart/alternative;\n boundary=\"" OURS "\"");
	assert_string_equal(compose_encoding(&p), "7bit");
	free(type);
}

/* The most there may be of everything, and no room. */
static void
test_room(void **state)
{
	static char hostile[3000];
	struct compose_parts p = { .html = hostile,
				   .html_len = sizeof(hostile),
				   .text = hostile,
				   .text_len = sizeof(hostile),
				   .token =
				       "0123456789abcdef0123456789abcdef" };
	DYNBUF_AUTO out;

	(void)state;
	memset(hostile, '\xff', sizeof(hostile));
	dynbuf_init(&out, compose_room(&p));
	assert_true(compose_leaf(&out, &p));
	for (size_t max = 0; max < 100; max++) {
		dynbuf_clear(&out);
		dynbuf_init(&out, max);
		assert_false(compose_leaf(&out, &p));
	}
}

/* --- messages ------------------------------------------------------------- */

static void
give(struct message *m, const char *name, const char *value)
{
	message_header(m, name, value, strlen(value));
}

static void
test_message(void **state)
{
	struct message *m = message_new("s@x.com");
	struct edits *e = edits_new();
	DYNBUF_AUTO out;

	(void)state;
	give(m, "Received", "one");
	give(m, "X-A", "1");
	give(m, "Subject", "folded\n twice\r\n\there");
	give(m, "x-a", "2");
	give(m, "X-A", "3");
	give(m, "To", "r@x.com");
	give(m, "X-Empty", "");
	edits_delete(e, "X-A", 3);
	edits_delete(e, "X-A", 1);
	edits_change(e, "To", 1, "a\n <b@x.com>");
	edits_add(e, "X-A", "new");
	edits_change(e, "X-Nobody", 1, "x");
	dynbuf_init(&out, ROOM);
	assert_true(compose_message(&out, m, e, "body", 4));
	assert_string_equal(
	    out.data, "Received: one\r\nSubject: folded\r\n twice\r\n\there"
		      "\r\nx-a: 2\r\nTo: a\r\n <b@x.com>\r\nX-Empty: \r\n"
		      "X-A: new\r\n\r\nbody");
	e->new_body = true;
	e->body = strdup("other");
	assert_non_null(e->body);
	e->body_len = 5;
	dynbuf_truncate(&out, 0);
	assert_true(compose_message(&out, m, e, "body", 4));
	assert_string_equal(strstr(out.data, "\r\n\r\n"), "\r\n\r\nother");
	for (size_t max = 0; max < out.len; max++) {
		DYNBUF_AUTO small;

		dynbuf_init(&small, max);
		assert_false(compose_message(&small, m, e, "body", 4));
	}
	edits_free(&e);
	message_free(&m);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_related_types),
		cmocka_unit_test(test_leaves),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_message),
	};

	g_mime_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
