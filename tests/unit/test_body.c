/* SPDX-License-Identifier: MIT */
/*
 * Each row is a message and the body that is chosen. Each is fed whole, in
 * pieces of 5 bytes, and byte by byte.
 */
#include "policy/body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <gmime/gmime.h>

#include "policy/charset.h"
#include "policy/dynbuf.h"

#define E_ACUTE "\xc3\xa9"
#define FFFD "\xef\xbf\xbd"
#define BOM "\xef\xbb\xbf"
#define CT "Content-Type: "
#define CTE "Content-Transfer-Encoding: "
#define CD "Content-Disposition: "
#define MIXED CT "multipart/mixed; boundary=b\n"
#define ALTERNATIVE CT "multipart/alternative; boundary=b\n"
#define P(type) "--b\r\n" CT type "\r\n\r\n"
#define END "\r\n--b--\r\n"

struct row {
	const char *name;
	const char *header; /* "Name: value\n", folds as "\n " */
	const char *body;
	enum body_kind kind;
	const char *want;
	const char *error;   /* body_error(), a part of it */
	const char *problem; /* body_problem(), a part of it */
	/* parts, images, attachments, other */
	unsigned counts[4];
	bool replaced;
	bool flowed;
};

static const struct row rows[] = {
	/* the choice */
	{ "no header at all", "", "hello\r\n", BODY_TEXT, "hello\r\n",
	  .counts = { 1 } },
	{ "text", CT "text/plain\n", "hello", BODY_TEXT, "hello",
	  .counts = { 1 } },
	{ "html", CT "text/html\n", "<p>", BODY_HTML, "<p>", .counts = { 1 } },
	{ "type in another case", CT "TEXT/HTML\n", "<p>", BODY_HTML, "<p>",
	  .counts = { 1 } },
	{ "empty", CT "text/html\n", "", BODY_NONE, .counts = { 1 } },
	{ "blank html", CT "text/html\n", " \r\n\t\r\n", BODY_NONE,
	  .counts = { 1 } },
	{ "html that is only a BOM", CT "text/html; charset=utf-8\n", BOM,
	  BODY_NONE, .counts = { 1 } },
	{ "html of a BOM and a letter", CT "text/html; charset=utf-8\n",
	  BOM "x", BODY_HTML, "x", .counts = { 1 } },
	{ "alternative: html wins", ALTERNATIVE,
	  P("text/plain") "a\r\n" P("text/html") "<a>" END, BODY_HTML, "<a>",
	  .counts = { 2 } },
	{ "alternative: html first", ALTERNATIVE,
	  P("text/html") "<a>\r\n" P("text/plain") "a" END, BODY_HTML, "<a>",
	  .counts = { 1 } },
	{ "alternative: empty text", ALTERNATIVE,
	  P("text/plain") "\r\n\r\n" P("text/html") "<a>" END, BODY_HTML, "<a>",
	  .counts = { 2 } },
	{ "alternative: empty html", ALTERNATIVE,
	  P("text/plain") "a\r\n" P("text/html") "\r\n" END, BODY_TEXT, "a",
	  .counts = { 2 } },
	{ "alternative: html of a BOM", ALTERNATIVE,
	  P("text/plain") "a\r\n" P("text/html; charset=utf-8") BOM "\r\n" END,
	  BODY_TEXT, "a", .counts = { 2 } },
	{ "alternative: text and calendar", ALTERNATIVE,
	  P("text/plain") "a\r\n" P("text/calendar") "BEGIN:VCALENDAR" END,
	  BODY_TEXT, "a", .counts = { 2, 0, 0, 1 } },
	{ "two texts: the first", MIXED,
	  P("text/plain") "a\r\n" P("text/plain") "b" END, BODY_TEXT, "a",
	  .counts = { 2, 0, 0, 1 } },
	{ "two texts: the first is blank", MIXED,
	  P("text/plain") " \r\n" P("text/plain") "b" END, BODY_TEXT, "b",
	  .counts = { 2 } },
	{ "two htmls: the first", MIXED,
	  P("text/html") "<a>\r\n" P("text/html") "<b>" END, BODY_HTML, "<a>",
	  .counts = { 1 } },
	{ "two htmls: the first is blank", MIXED,
	  P("text/html") "\r\n \r\n" P("text/html") "<b>" END, BODY_HTML, "<b>",
	  .counts = { 2 } },
	{ "Apple: text, image, html", MIXED,
	  P("text/plain") "a\r\n" P("image/png") "zz\r\n" P(
	      "text/html") "<b>" END,
	  BODY_HTML, "<b>", .counts = { 3, 1 } },
	{ "related in alternative", ALTERNATIVE,
	  P("text/plain") "a\r\n" P(
	      "multipart/related; boundary=r") "--r\r\n" CT "text/"
					       "html\r\n\r\n<r>\r\n--r\r\n" CT
					       "image/png\r\n\r\n"
					       "zz\r\n--r--" END,
	  BODY_HTML, "<r>", .counts = { 2 } },
	{ "alternative in related", CT "multipart/related; boundary=b\n",
	  P("multipart/alternative; boundary=r") "--r\r\n" CT "text/"
						 "plain\r\n\r\na\r\n--r\r\n" CT
						 "text/html\r\n\r\n"
						 "<r>\r\n--r--\r\n" P(
						     "image/png") "zz" END,
	  BODY_HTML, "<r>", .counts = { 2 } },
	{ "signed", CT "multipart/signed; boundary=b; protocol=x\n",
	  P("text/plain") "a\r\n" P("application/pgp-signature") "zz" END,
	  BODY_TEXT, "a", .counts = { 2, 0, 0, 1 } },
	{ "digest", CT "multipart/digest; boundary=b\n",
	  "--b\r\n\r\nSubject: x\r\n\r\na" END, BODY_NONE,
	  .counts = { 1, 0, 0, 1 } },
	{ "forwarded message", MIXED,
	  P("message/rfc822") CT
	  "text/html\r\n\r\n<a>\r\n" P("text/plain") "b" END,
	  BODY_TEXT, "b", .counts = { 2, 0, 0, 1 } },

	/* what is dropped */
	{ "html attached next to text", MIXED,
	  P("text/plain") "a\r\n--b\r\n" CT "text/html\r\n" CD "attachment; "
			  "filename=x.html\r\n\r\n<a>" END,
	  BODY_TEXT, "a", .counts = { 2, 0, 1 } },
	{ "an attachment only", MIXED,
	  "--b\r\n" CT "text/html\r\n" CD "attachment\r\n\r\n<a>" END,
	  BODY_NONE, .counts = { 1, 0, 1 } },
	{ "the message is an attachment",
	  CT "text/html\n" CD "attachment; filename=x\n", "<a>", BODY_NONE,
	  .counts = { 1, 0, 1 } },
	{ "inline is no attachment", CT "text/html\n" CD "inline\n", "<a>",
	  BODY_HTML, "<a>", .counts = { 1 } },
	{ "images, attached or not", MIXED,
	  P("text/plain") "a\r\n" P("image/png") "z\r\n--b\r\n" CT
						 "image/gif\r\n" CD
						 "attachment\r\n\r\nz" END,
	  BODY_TEXT, "a", .counts = { 3, 2 } },
	{ "an attachment that is no text", MIXED,
	  P("text/plain") "a\r\n--b\r\n" CT "application/pdf\r\n" CD
			  "attachment\r\n\r\nz" END,
	  BODY_TEXT, "a", .counts = { 2, 0, 1 } },
	{ "other parts", MIXED,
	  P("application/pdf") "z\r\n" P("text/css") "z\r\n" P(
	      "text/plain") "a" END,
	  BODY_TEXT, "a", .counts = { 3, 0, 0, 2 } },
	{ "amp is not html", ALTERNATIVE,
	  P("text/x-amp-html") "z\r\n" P("text/plain") "a" END, BODY_TEXT, "a",
	  .counts = { 2, 0, 0, 1 } },
	{ "nothing usable", CT "application/pdf\n", "z", BODY_NONE,
	  .counts = { 1, 0, 0, 1 } },

	/* encodings */
	{ "base64", CT "text/html\n" CTE "base64\n", "PHA+aGk8\r\nL3A+\r\n",
	  BODY_HTML, "<p>hi</p>", .counts = { 1 } },
	{ "base64, padded", CT "text/html\n" CTE "BASE64\n", "PGE+Yg==\r\n",
	  BODY_HTML, "<a>b", .counts = { 1 } },
	{ "base64 without its padding", CT "text/html\n" CTE "base64\n",
	  "PGE+Yg", BODY_HTML, "<a>b", .counts = { 1 } },
	{ "base64 without its padding, two bytes",
	  CT "text/html\n" CTE "base64\n", "PGE+YmM\r\n", BODY_HTML, "<a>bc",
	  .counts = { 1 } },
	{ "base64 with garbage in it", CT "text/html\n" CTE "base64\n",
	  "PGE+!\r\n*#Ym\r\nJj", BODY_HTML, "<a>bbc", .counts = { 1 } },
	{ "base64 in pieces, each padded", CT "text/html\n" CTE "base64\n",
	  "PGE+Yg==PGI+\r\nYmM=\r\nZA", BODY_HTML, "<a>b<b>bcd",
	  .counts = { 1 } },
	{ "base64 of blanks is blank", CT "text/html\n" CTE "base64\n",
	  "ICANCg==\r\n", BODY_NONE, .counts = { 1 } },
	{ "base64 that is none", CT "text/html\n" CTE "base64\n", "!!!! ....",
	  BODY_NONE, .counts = { 1 } },
	{ "quoted-printable",
	  CT "text/html; charset=utf-8\n" CTE "Quoted-Printable\n",
	  "caf=C3=A9=20=\r\nx =3D y\r\n", BODY_HTML, "caf" E_ACUTE " x = y\r\n",
	  .counts = { 1 } },
	{ "quoted-printable, lower case",
	  CT "text/html; charset=utf-8\n" CTE "quoted-printable\n", "=c3=a9",
	  BODY_HTML, E_ACUTE, .counts = { 1 } },
	{ "quoted-printable that is none",
	  CT "text/html\n" CTE "quoted-printable\n", "a=b=ZZc\r\n", BODY_HTML,
	  "a=b=ZZc\r\n", .counts = { 1 } },
	{ "quoted-printable, doubled signs",
	  CT "text/html\n" CTE "quoted-printable\n", "a==41=\nb=\r\nc",
	  BODY_HTML, "a==41bc", .counts = { 1 } },
	{ "uuencode is of another time", CT "text/plain\n" CTE "x-uuencode\n",
	  "begin 644 x.txt\r\n#0V%T\r\n`\r\nend\r\n", BODY_NONE,
	  .problem = "Content-Transfer-Encoding: not a known encoding",
	  .counts = { 1, 0, 0, 1 } },
	{ "8bit", CT "text/html; charset=utf-8\n" CTE "8bit\n", E_ACUTE,
	  BODY_HTML, E_ACUTE, .counts = { 1 } },
	{ "unknown encoding", CT "text/html\n" CTE "x-rot13\n", "z", BODY_NONE,
	  .problem = "Content-Transfer-Encoding: not a known encoding",
	  .counts = { 1, 0, 0, 1 } },
	{ "unknown encoding of the html only", ALTERNATIVE,
	  P("text/plain") "a\r\n--b\r\n" CT "text/html\r\n" CTE
			  "x\r\n\r\n<a>" END,
	  BODY_TEXT, "a", .counts = { 2, 0, 0, 1 } },
	{ "the decoder starts anew with each part", ALTERNATIVE,
	  "--b\r\n" CT "text/plain\r\n" CTE "base64\r\n\r\nYWJ\r\n--b\r\n" CT
	  "text/html\r\n" CTE "base64\r\n\r\nPGE+" END,
	  BODY_HTML, "<a>", .counts = { 2 } },

	/* charsets */
	{ "windows-1252 labelled iso-8859-1",
	  CT "text/html; charset=iso-8859-1\n", "It\x92s", BODY_HTML,
	  "It\xe2\x80\x99s", .counts = { 1 } },
	{ "iso-2022-jp", CT "text/plain; charset=iso-2022-jp\n",
	  "\x1b$BF|K\\\x1b(B", BODY_TEXT, "\xe6\x97\xa5\xe6\x9c\xac",
	  .counts = { 1 } },
	{ "gb18030", CT "text/html; charset=gb18030\n", "\xc4\xe3\xba\xc3",
	  BODY_HTML, "\xe4\xbd\xa0\xe5\xa5\xbd", .counts = { 1 } },
	{ "gb18030 in base64", CT "text/html; charset=gb18030\n" CTE "base64\n",
	  "xOO6ww==", BODY_HTML, "\xe4\xbd\xa0\xe5\xa5\xbd", .counts = { 1 } },
	{ "utf-8 with BOM", CT "text/html; charset=utf-8\n", BOM "<p>",
	  BODY_HTML, "<p>", .counts = { 1 } },
	{ "no charset, UTF-8", CT "text/html\n", E_ACUTE, BODY_HTML, E_ACUTE,
	  .counts = { 1 } },
	{ "no charset, not UTF-8", CT "text/html\n", "caf\xe9", BODY_HTML,
	  "caf" E_ACUTE, .counts = { 1 } },
	{ "a wrong byte", CT "text/html; charset=utf-8\n",
	  "a\xff"
	  "b",
	  BODY_HTML, "a" FFFD "b", .counts = { 1 }, .replaced = true },
	{ "a wrong byte in the text", CT "text/plain; charset=utf-8\n",
	  "a\xff"
	  "b",
	  BODY_TEXT, "a" FFFD "b", .counts = { 1 }, .replaced = true },
	{ "unknown charset, ASCII", CT "text/html; charset=x-none\n", "<p>",
	  BODY_HTML, "<p>", .counts = { 1 } },
	{ "unknown charset", CT "text/html; charset=x-none\n", "caf\xe9",
	  BODY_NONE, .error = "Content-Type: unknown charset \"x-none\"",
	  .counts = { 1 } },
	{ "unknown charset of the text", CT "text/plain; charset=x-none\n",
	  "caf\xe9", BODY_NONE,
	  .error = "Content-Type: unknown charset \"x-none\"",
	  .counts = { 1 } },
	{ "unknown charset of the text, html is there", ALTERNATIVE,
	  P("text/plain; charset=x-none") "caf\xe9\r\n" P(
	      "text/html") "<p>" END,
	  BODY_HTML, "<p>", .counts = { 2 } },
	{ "a charset with control characters",
	  CT "text/html; charset=\"x\x01y\"\n", "caf\xe9", BODY_NONE,
	  .error = "unknown charset \"x?y\"", .counts = { 1 } },

	/* flowed */
	{ "flowed", CT "text/plain; format=flowed\n", "a \r\nb", BODY_TEXT,
	  "a \r\nb", .counts = { 1 }, .flowed = true },
	{ "fixed", CT "text/plain; format=fixed\n", "a", BODY_TEXT, "a",
	  .counts = { 1 } },
	{ "flowed is of the part that is kept", MIXED,
	  P("text/plain") "a\r\n" P("text/plain; format=flowed") "b" END,
	  BODY_TEXT, "a", .counts = { 2, 0, 0, 1 } },
	{ "flowed after a blank part", MIXED,
	  P("text/plain; format=flowed") "\r\n\r\n" P("text/plain") "b" END,
	  BODY_TEXT, "b", .counts = { 2 } },

	/* what is wrong with the structure */
	{ "two boundaries", CT "multipart/mixed; boundary=a; boundary=b\n",
	  P("text/html") "<a>" END, BODY_NONE,
	  .error = "Content-Type: two boundary parameters" },
	{ "two different Content-Types", CT "text/html\n" CT "text/plain\n",
	  "a", BODY_NONE, .error = "Content-Type: given twice, not the same" },
	{ "two equal Content-Types", CT "text/html\n" CT "text/html\n", "a",
	  BODY_HTML, "a", .counts = { 1 } },
	{ "an error after the html does not matter", MIXED,
	  P("text/html") "<a>\r\n--b\r\n" CT "a/b\r\n" CT "c/d\r\n\r\nz" END,
	  BODY_HTML, "<a>", .counts = { 1 } },
	{ "an error before the html", MIXED,
	  "--b\r\n" CT "a/b\r\n" CT "c/d\r\n\r\nz\r\n" P("text/html") "<a>" END,
	  BODY_NONE, .error = "Content-Type: given twice" },
	{ "no boundary", CT "multipart/mixed\n", P("text/html") "<a>" END,
	  BODY_NONE, .problem = "multipart without a boundary" },
	{ "no end", MIXED, P("text/html") "<a>\r\n", BODY_HTML, "<a>\r\n",
	  .counts = { 1 } },

	/* lines */
	{ "bare LF", MIXED, "--b\n" CT "text/html\n\n<a>\n<b>\n--b--\n",
	  BODY_HTML, "<a>\n<b>", .counts = { 1 } },
	{ "bare CR", CT "text/html\n", "a\rb\r\r\nc", BODY_HTML, "a\rb\r\r\nc",
	  .counts = { 1 } },
};

/* --- feeding -------------------------------------------------------------- */

static void
give_header(struct body *b, const char *header)
{
	while (*header != '\0') {
		size_t name = strcspn(header, ":");
		const char *value = header + name + 2;
		size_t len = strcspn(value, "\n");
		char *n = strndup(header, name);
		char *v = malloc(len != 0 ? len : 1);

		assert_non_null(n);
		assert_non_null(v);
		memcpy(v, value, len);
		body_header(b, n, v, len);
		free(n);
		free(v);
		header = value + len + 1;
	}
}

/* In copies without a NUL behind them, so that ASan sees an overread. */
static enum body_status
feed(struct body *b, const char *data, size_t len, size_t step)
{
	enum body_status status = BODY_MORE;

	for (size_t i = 0; i < len; i += step) {
		size_t n = len - i < step ? len - i : step;
		char *piece = malloc(n);

		assert_non_null(piece);
		memcpy(piece, data + i, n);
		status = body_feed(b, piece, n);
		free(piece);
	}
	return status;
}

static bool
has(const char *text, const char *part)
{
	if (part == NULL)
		return text == NULL;
	return text != NULL && strstr(text, part) != NULL;
}

static bool
counts_are(const struct row *r, const struct body *b)
{
	struct body_counts c;

	body_counts(b, &c);
	return c.parts == r->counts[0] && c.images == r->counts[1] &&
	       c.attachments == r->counts[2] && c.other == r->counts[3] &&
	       c.replaced == r->replaced;
}

static bool
is_as_wanted(const struct row *r, const struct body *b, enum body_kind kind,
	     const char *text, size_t len)
{
	if (kind != r->kind || (text == NULL) != (kind == BODY_NONE))
		return false;
	if (text != NULL &&
	    (len != strlen(r->want) || memcmp(text, r->want, len + 1) != 0))
		return false;
	if (kind == BODY_TEXT && body_is_flowed(b) != r->flowed)
		return false;
	return has(body_error(b), r->error) && !body_too_large(b) &&
	       (r->problem == NULL || has(body_problem(b), r->problem)) &&
	       counts_are(r, b);
}

static bool
check_row(const struct row *r, size_t step)
{
	struct body *b = body_new();
	struct body_counts c;
	enum body_kind kind;
	char *text;
	size_t len;
	bool ok;

	give_header(b, r->header);
	(void)feed(b, r->body, strlen(r->body), step);
	kind = body_end(b, &text, &len);
	ok = is_as_wanted(r, b, kind, text, len);
	body_counts(b, &c);
	if (!ok)
		printf("%s (step %zu): kind %d \"%s\" error %s problem %s "
		       "counts %u %u %u %u %d\n",
		       r->name, step, (int)kind, text ? text : "",
		       body_error(b), body_problem(b), c.parts, c.images,
		       c.attachments, c.other, c.replaced);
	free(text);
	body_free(&b);
	assert_null(b);
	return ok;
}

static void
test_rows(void **state)
{
	static const size_t steps[] = { 1 << 20, 5, 1 };
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t k = 0; k < 3; k++) {
			if (!check_row(&rows[i], steps[k])) {
				bad++;
				break;
			}
		}
	}
	assert_int_equal(bad, 0);
}

/* --- when reading may stop ------------------------------------------------ */

static void
test_status(void **state)
{
	static const struct {
		const char *name;
		const char *header;
		const char *body;
		enum body_status want;
	} v[] = {
		{ "html goes on", MIXED, P("text/html") "<a>\r\n", BODY_MORE },
		{ "html is over", MIXED, P("text/html") "<a>\r\n--b\r\n",
		  BODY_DONE },
		{ "blank html is over", MIXED, P("text/html") "\r\n--b\r\n",
		  BODY_MORE },
		{ "text is over", MIXED, P("text/plain") "a\r\n--b\r\n",
		  BODY_MORE },
		{ "all is over", MIXED, P("text/plain") "a" END, BODY_DONE },
		{ "html at the top is never over", CT "text/html\n", "<a>",
		  BODY_MORE },
		{ "an error", CT "multipart/mixed; boundary=a; boundary=b\n",
		  "x", BODY_ERROR },
		{ "unknown charset", ALTERNATIVE,
		  P("text/html; charset=x-none") "\xe9\r\n--b\r\n",
		  BODY_ERROR },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct body *b = body_new();
		enum body_status got;

		give_header(b, v[i].header);
		got = feed(b, v[i].body, strlen(v[i].body), 1000);
		if (got != v[i].want)
			fail_msg("%s: %d", v[i].name, (int)got);
		/* It says the same again, but for what may still come. */
		if (got != BODY_MORE &&
		    body_feed(b, "more\r\n", 6) != v[i].want)
			fail_msg("%s: changed its mind", v[i].name);
		body_free(&b);
	}
	body_free(&(struct body *){ NULL });
}

/* What may go on as it came: rows that are not HTML say nothing of it. */
static void
test_whole(void **state)
{
	static const struct {
		const char *name;
		const char *header;
		const char *body;
		size_t len; /* 0: a string */
		bool want;
	} v[] = {
		{ "html", CT "text/html\n", "<p>", 0, true },
		{ "encoded html",
		  CT "text/html; charset=iso-8859-1\n" CTE "quoted-printable\n",
		  "<p>=E9", 0, true },
		{ "html, BOM", CT "text/html; charset=utf-8\n", BOM "<p>", 0,
		  true },
		{ "html, a byte replaced", CT "text/html; charset=utf-8\n",
		  "<p>" E_ACUTE "\xff", 0, false },
		{ "html, NUL", CT "text/html\n", "<p>\0", 4, false },
		{ "a part", MIXED, P("text/html") "<p>" END, 0, false },
		{ "a part after text", ALTERNATIVE,
		  P("text/plain") "p\r\n" P("text/html") "<p>" END, 0, false },
		{ "text", CT "text/plain\n", "p", 0, false },
		{ "nothing", CT "image/png\n", "p", 0, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct body *b = body_new();
		char *text;
		size_t len = v[i].len ? v[i].len : strlen(v[i].body);

		give_header(b, v[i].header);
		(void)feed(b, v[i].body, len, 3);
		(void)body_end(b, &text, &len);
		if (body_is_whole(b) != v[i].want)
			fail_msg("%s", v[i].name);
		free(text);
		body_free(&b);
	}
}

static void
test_nul(void **state)
{
	static const char html[] = "a\0b\0";
	struct body *b = body_new();
	char *text;
	size_t len;

	(void)state;
	give_header(b, CT "text/html; charset=utf-8\n");
	(void)feed(b, html, 4, 3);
	assert_int_equal(body_end(b, &text, &len), BODY_HTML);
	assert_int_equal(len, 8);
	assert_string_equal(text, "a" FFFD "b" FFFD);
	free(text);
	body_free(&b);
}

/* --- the bound ------------------------------------------------------------ */

/* Feeds n bytes of decoded content, as `unit` writes `each` of them. */
static void
feed_many(struct body *b, const char *unit, size_t each, size_t n, size_t step)
{
	size_t len = strlen(unit);
	size_t units = n / each;
	struct dynbuf text;

	dynbuf_init(&text, len * units + 1);
	for (size_t i = 0; i < units; i++)
		dynbuf_add(&text, unit, len);
	for (size_t at = 0; at < text.len; at += step)
		(void)body_feed(b, text.data + at,
				text.len - at < step ? text.len - at : step);
	dynbuf_clear(&text);
}

static const struct {
	const char *name;
	const char *header;
	const char *unit;
	size_t each;
} bounds[] = {
	{ "html", CT "text/html\n", "<", 1 },
	{ "text", CT "text/plain\n", "a", 1 },
	{ "base64", CT "text/html\n" CTE "base64\n", "YWFhYWFh", 6 },
	{ "quoted-printable", CT "text/html\n" CTE "quoted-printable\n", "=41",
	  1 },
};

/* The bound is one of what is kept, however it comes. */
static void
test_bound(void **state)
{
	static const size_t steps[] = { 65535, 1 << 26 };
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		for (size_t k = 0; k < 4; k++) {
			size_t most =
			    BODY_KEPT_MAX / bounds[i].each * bounds[i].each;
			bool over = k % 2;
			struct body *b = body_new();
			enum body_kind kind;
			char *text;
			size_t len;

			give_header(b, bounds[i].header);
			feed_many(b, bounds[i].unit, bounds[i].each,
				  most + (over ? bounds[i].each : 0),
				  steps[k / 2]);
			kind = body_end(b, &text, &len);
			if ((kind == BODY_NONE) != over ||
			    body_too_large(b) != over ||
			    (body_error(b) != NULL) != over ||
			    (!over && len != most)) {
				printf("%s, step %zu, over %d: kind %d, %zu "
				       "bytes, %s\n",
				       bounds[i].name, steps[k / 2], over,
				       (int)kind, len, body_error(b));
				bad++;
			}
			free(text);
			body_free(&b);
		}
	}
	assert_int_equal(bad, 0);
}

static void
test_bound_text(void **state)
{
	struct body *b = body_new();
	char *text;
	size_t len;

	(void)state;
	/* It grows over the bound when it becomes UTF-8. */
	give_header(b, CT "text/html; charset=iso-8859-1\n");
	feed_many(b, "\xe9", 1, BODY_KEPT_MAX / 2 + 1, 65535);
	assert_int_equal(body_end(b, &text, &len), BODY_NONE);
	assert_null(text);
	assert_true(body_too_large(b));
	assert_string_equal(body_error(b), "The message text is larger than "
					   "10240000 bytes");
	body_free(&b);
}

static void
test_wrong_charset(void **state)
{
	struct body *b = body_new();
	char *text;
	size_t len;

	(void)state;
	give_header(b, CT "text/html; charset=gb18030\n");
	feed_many(b, "\xff", 1, CHARSET_REPLACED_MAX + 1, 65535);
	assert_int_equal(body_end(b, &text, &len), BODY_NONE);
	assert_null(text);
	assert_false(body_too_large(b));
	assert_string_equal(body_error(b), "Content-Type: the text is not in "
					   "the charset it names");
	body_free(&b);
}

/* What is dropped may be of any size. */
static void
test_large_attachment(void **state)
{
	struct body *b = body_new();
	char *text;
	size_t len;

	(void)state;
	give_header(b, MIXED);
	(void)feed(b, P("text/plain") "a\r\n" P("application/pdf"),
		   strlen(P("text/plain") "a\r\n" P("application/pdf")), 100);
	feed_many(b, "zzzzzzzz\r\n", 10, 2 * BODY_KEPT_MAX, 65535);
	assert_int_equal(body_end(b, &text, &len), BODY_TEXT);
	assert_string_equal(text, "a");
	free(text);
	body_free(&b);
}

static int
setup(void **state)
{
	(void)state;
	g_mime_init();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_bound_text),
		cmocka_unit_test(test_wrong_charset),
		cmocka_unit_test(test_large_attachment),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
