/* SPDX-License-Identifier: MIT */
/*
 * Each row is a message body and what the sink must see: "type/subtype" with
 * "!" for an attachment and the wanted text in brackets, one after the other.
 * Each row is fed whole, in pieces of 7 bytes, and byte by byte.
 */
#include "policy/mime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <gmime/gmime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/dynbuf.h"

struct seen {
	struct dynbuf text;
	const char *stop_at; /* a subtype after which nothing matters */
};

static enum mime_want
on_begin(void *arg, const struct mime_part *part)
{
	struct seen *s = arg;

	dynbuf_addf(&s->text, "%s%s/%s%s", s->text.len ? " " : "", part->type,
		    part->subtype, part->attachment ? "!" : "");
	if (strcmp(part->type, "text") != 0)
		return MIME_WANT_NOT;
	dynbuf_adds(&s->text, "[");
	return MIME_WANT_BODY;
}

static void
on_data(void *arg, const char *data, size_t len)
{
	struct seen *s = arg;

	dynbuf_add(&s->text, data, len);
}

static bool
on_end(void *arg, const struct mime_part *part)
{
	struct seen *s = arg;

	if (strcmp(part->type, "text") == 0)
		dynbuf_adds(&s->text, "]");
	return s->stop_at != NULL && strcmp(part->subtype, s->stop_at) == 0;
}

static const struct mime_sink sink = { on_begin, on_data, on_end };

struct row {
	const char *name;
	const char *type; /* Content-Type of the message; NULL: none */
	const char *body;
	const char *want;
	const char *error;   /* MIME_ERROR with this text in it */
	const char *problem; /* mime_problem() with this text in it */
	const char *stop_at;
};

#define MIXED "multipart/mixed; boundary=b"
#define P(type) "--b\r\nContent-Type: " type "\r\n\r\n"

static const struct row rows[] = {
	{ .name = "no Content-Type is text/plain",
	  .body = "hello\r\nyou\r\n",
	  .want = "text/plain[hello\r\nyou\r\n]" },
	{ .name = "empty body", .body = "", .want = "text/plain[]" },
	{ .name = "html at the top",
	  .type = "text/html; charset=utf-8",
	  .body = "<p>--b\r\n--b--\r\n",
	  .want = "text/html[<p>--b\r\n--b--\r\n]" },
	{ .name = "not a media type",
	  .type = "text",
	  .body = "x",
	  .want = "application/octet-stream" },
	{ .name = "two parts",
	  .type = MIXED,
	  .body = P("text/plain") "a\r\n" P("text/html") "<b>\r\n--b--\r\n",
	  .want = "text/plain[a] text/html[<b>]" },
	{ .name = "bare LF line ends",
	  .type = MIXED,
	  .body = "--b\nContent-Type: text/html\n\n<b>\n\n--b--\n",
	  .want = "text/html[<b>\n]" },
	{ .name = "last line end belongs to the delimiter, others do not",
	  .type = MIXED,
	  .body = P("text/plain") "a\r\n\r\n\r\n--b--",
	  .want = "text/plain[a\r\n\r\n]" },
	{ .name = "bare CR before a delimiter is content",
	  .type = MIXED,
	  .body = P("text/plain") "a\r\r\n--b--",
	  .want = "text/plain[a\r]" },
	{ .name = "CR and NUL-free oddities inside a line",
	  .type = MIXED,
	  .body = P("text/plain") "a\rb\r\rc\r\n--b--",
	  .want = "text/plain[a\rb\r\rc]" },
	{ .name = "preamble and epilogue",
	  .type = MIXED,
	  .body =
	      "pre\r\n-- \r\n" P("text/plain") "a\r\n--b--\r\nepi\r\n--b\r\n",
	  .want = "text/plain[a]" },
	{ .name = "no end boundary",
	  .type = MIXED,
	  .body = P("text/plain") "a\r\nb\r\n",
	  .want = "text/plain[a\r\nb\r\n]" },
	{ .name = "end boundary without a line end",
	  .type = MIXED,
	  .body = P("text/plain") "a\r\n--b--",
	  .want = "text/plain[a]" },
	{ .name = "delimiter with blanks behind it",
	  .type = MIXED,
	  .body = "--b \t \r\n\r\na\r\n--b-- \r\n",
	  .want = "text/plain[a]" },
	{ .name = "lines that only look like delimiters",
	  .type = MIXED,
	  .body =
	      P("text/plain") "--\r\n--bb\r\n--B\r\n -b\r\n--b-\r\n--b--x\r\n"
			      "-\r\n--b--",
	  .want =
	      "text/plain[--\r\n--bb\r\n--B\r\n -b\r\n--b-\r\n--b--x\r\n-]" },
	{ .name = "part without header",
	  .type = MIXED,
	  .body = "--b\r\n\r\na\r\n--b--",
	  .want = "text/plain[a]" },
	{ .name = "empty part",
	  .type = MIXED,
	  .body = "--b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n--b--",
	  .want = "text/plain[] text/html[]" },
	{ .name = "delimiter right after a header",
	  .type = MIXED,
	  .body = "--b\r\nContent-Type: text/html\r\n--b\r\n\r\na\r\n--b--",
	  .want = "text/html[] text/plain[a]" },
	{ .name = "header line that is none begins the body",
	  .type = MIXED,
	  .body = "--b\r\nContent-Type: text/html\r\nhello world\r\nx\r\n--b--",
	  .want = "text/html[hello world\r\nx]",
	  .problem = "no header" },
	{ .name = "folded part header",
	  .type = MIXED,
	  .body = "--b\r\ncontent-type:\r\n text/html;\r\n\tcharset=x\r\n\r\n"
		  "a\r\n--b--",
	  .want = "text/html[a]" },
	{ .name = "blank before the colon",
	  .type = MIXED,
	  .body = "--b\r\nContent-Type : text/html\r\n\r\na\r\n--b--",
	  .want = "text/html[a]" },
	{ .name = "attachment",
	  .type = MIXED,
	  .body = "--b\r\nContent-Type: text/html\r\nContent-Disposition: "
		  "Attachment; filename=x\r\n\r\na\r\n--b--",
	  .want = "text/html![a]" },
	{ .name = "inline is no attachment, anything else is",
	  .type = MIXED,
	  .body = "--b\r\nContent-Disposition: INLINE\r\n\r\na\r\n"
		  "--b\r\nContent-Disposition: foo\r\n\r\nb\r\n--b--",
	  .want = "text/plain[a] text/plain![b]" },
	{ .name = "what is inside an attached multipart is attached",
	  .type = MIXED,
	  .body = "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n"
		  "Content-Disposition: attachment\r\n\r\n--c\r\n\r\na\r\n"
		  "--c--\r\n" P("text/html") "x\r\n--b--",
	  .want = "text/plain![a] text/html[x]" },
	{ .name = "nested alternative",
	  .type = MIXED,
	  .body = P(
	      "multipart/alternative; boundary=\"c d\"") "--c "
							 "d\r\n\r\na\r\n--c "
							 "d\r\nContent-Type: "
							 "text/html\r\n\r\n"
							 "<a>\r\n--c "
							 "d--"
							 "\r\nepilogue\r\n" P(
							     "image/png") "zz\r"
									  "\n--"
									  "b--",
	  .want = "text/plain[a] text/html[<a>] image/png" },
	{ .name = "outer delimiter ends inner parts",
	  .type = MIXED,
	  .body = P("multipart/alternative; boundary=c") "--c\r\n\r\na\r\n" P(
	      "text/html") "x\r\n--c--\r\n--b--",
	  .want = "text/plain[a] text/html[x\r\n--c--]" },
	{ .name = "a boundary that begins like the outer one",
	  .type = MIXED,
	  .body =
	      P("multipart/mixed; boundary=bb") "--bb\r\n\r\na\r\n--bb--\r\n" P(
		  "text/html") "x\r\n--b--",
	  .want = "text/plain[a] text/html[x]" },
	{ .name = "message/rfc822 is not looked into",
	  .type = MIXED,
	  .body =
	      P("message/rfc822") "Content-Type: text/html\r\n\r\n<a>\r\n" P(
		  "text/html") "x\r\n--b--",
	  .want = "message/rfc822 text/html[x]" },
	{ .name = "digest",
	  .type = "multipart/digest; boundary=b",
	  .body = "--b\r\n\r\nSubject: x\r\n\r\na\r\n--b--",
	  .want = "message/rfc822" },
	{ .name = "signed",
	  .type = "multipart/signed; boundary=b; protocol=x",
	  .body = P("text/html") "x\r\n" P(
	      "application/pgp-signature") "y\r\n--b--",
	  .want = "text/html[x] application/pgp-signature" },
	{ .name = "related in alternative",
	  .type = "multipart/alternative; boundary=b",
	  .body = P("text/plain") "t\r\n" P(
	      "multipart/related; boundary=r") "--r\r\nContent-Type: "
					       "text/html\r\n\r\nh\r\n--r\r\n"
					       "Content-Type: "
					       "image/"
					       "png\r\n\r\nzz\r\n--r--\r\n--b-"
					       "-",
	  .want = "text/plain[t] text/html[h] image/png" },
	{ .name = "stop after html",
	  .type = MIXED,
	  .body = P("text/html") "x\r\n" P("text/plain") "y\r\n--b--",
	  .want = "text/html[x]",
	  .stop_at = "html" },
	{ .name = "RFC 2231 boundary",
	  .type = "multipart/mixed; boundary*0=a; boundary*1=b",
	  .body = "--ab\r\n\r\nx\r\n--ab--",
	  .want = "text/plain[x]" },
	{ .name = "multipart without boundary",
	  .type = "multipart/mixed",
	  .body = "--b\r\n\r\nx\r\n",
	  .want = "",
	  .problem = "without a boundary" },
	{ .name = "multipart with an empty boundary",
	  .type = "multipart/mixed; boundary=\"\"",
	  .body = "--\r\n\r\nx\r\n",
	  .want = "",
	  .problem = "without a boundary" },
	{ .name = "two boundary parameters",
	  .type = "multipart/mixed; boundary=a; boundary=b",
	  .body = "--b\r\n\r\nx\r\n",
	  .want = "",
	  .error = "two boundary" },
	{ .name = "plain and RFC 2231 boundary",
	  .type = "multipart/mixed; boundary=a; boundary*=utf-8''b",
	  .body = "--b\r\n\r\nx\r\n",
	  .want = "",
	  .error = "two boundary" },
	{ .name = "the same boundary twice",
	  .type = "multipart/mixed; boundary=b; boundary=b",
	  .body = "--b\r\n\r\nx\r\n--b--",
	  .want = "text/plain[x]" },
	{ .name = "boundary of the enclosing part used again",
	  .type = MIXED,
	  .body = P("multipart/mixed; boundary=b") "--b\r\n\r\nx\r\n--b\r\n"
						   "\r\ny\r\n--b--\r\nz\r\n--"
						   "b\r\n\r\nv\r\n--b--",
	  .want = "text/plain[x] text/plain[y] text/plain[v]" },
	{ .name = "two different Content-Types in a part",
	  .type = MIXED,
	  .body = "--b\r\nContent-Type: text/html\r\nContent-Type: text/plain"
		  "\r\n\r\nx\r\n",
	  .want = "",
	  .error = "Content-Type: given twice" },
	{ .name = "two equal Content-Types in a part",
	  .type = MIXED,
	  .body = "--b\r\nContent-Type: text/html\r\nContent-Type:  text/html"
		  "\r\n\r\nx\r\n",
	  .want = "text/html[x\r\n]" },
	{ .name = "GMime's killer: a long parameter name and 8-bit value",
	  .type =
	      "multipart/mixed; "
	      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	      "aaaaaaaaa=\xc3\xa9",
	  .body = "--b\r\n\r\nx\r\n",
	  .want = "",
	  .problem = "without a boundary" },
};

/* A copy without a NUL behind it, so that ASan sees an overread. */
static enum mime_status
feed(struct mime *m, const char *text, size_t len, size_t step)
{
	enum mime_status status = MIME_MORE;

	for (size_t i = 0; i < len; i += step) {
		size_t n = len - i < step ? len - i : step;
		char *piece = malloc(n);

		assert_non_null(piece);
		memcpy(piece, text + i, n);
		status = mime_feed(m, piece, n);
		free(piece);
	}
	return status;
}

static void
check_row(const struct row *r, size_t step)
{
	struct seen seen = { .stop_at = r->stop_at };
	struct mime *m = mime_new(&sink, &seen);
	enum mime_status status;

	dynbuf_init(&seen.text, 1 << 20);
	if (r->type != NULL)
		mime_header(m, "content-TYPE", r->type, strlen(r->type));
	(void)feed(m, r->body, strlen(r->body), step);
	status = mime_end(m);
	if (strcmp(dynbuf_str(&seen.text), r->want) != 0 ||
	    (status == MIME_ERROR) != (r->error != NULL))
		fail_msg("%s (step %zu): got \"%s\" error %s", r->name, step,
			 dynbuf_str(&seen.text), mime_error(m));
	if (r->error != NULL && strstr(mime_error(m), r->error) == NULL)
		fail_msg("%s: error \"%s\"", r->name, mime_error(m));
	if (r->problem != NULL &&
	    (mime_problem(m) == NULL || !strstr(mime_problem(m), r->problem)))
		fail_msg("%s: problem %s", r->name, mime_problem(m));
	dynbuf_clear(&seen.text);
	mime_free(&m);
	assert_null(m);
}

static void
test_rows(void **state)
{
	static const size_t steps[] = { 1 << 20, 7, 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t k = 0; k < 3; k++)
			check_row(&rows[i], steps[k]);
	}
}

static void
test_nul_is_data(void **state)
{
	static const char body[] = "--b\r\n\r\na\0b\r\n--b--";
	struct seen seen = { 0 };
	struct mime *m = mime_new(&sink, &seen);

	(void)state;
	dynbuf_init(&seen.text, 1024);
	mime_header(m, "Content-Type", MIXED, strlen(MIXED));
	assert_int_equal(mime_feed(m, body, sizeof(body) - 1), MIME_MORE);
	assert_int_equal(mime_end(m), MIME_DONE);
	assert_int_equal(seen.text.len, strlen("text/plain[]") + 3);
	assert_memory_equal(seen.text.data, "text/plain[a\0b]", 15);
	dynbuf_clear(&seen.text);
	mime_free(&m);
}

/* --- where a part stands, and what its fields say ------------------------- */

/* "type@begin+content" and, where they are so: "r" related, "a" in alternative,
 * "A" and the number of the outermost alternative, "b" broken, "i" inline,
 * then "name", <id>, method. */
static enum mime_want
on_begin_place(void *arg, const struct mime_part *part)
{
	struct seen *s = arg;
	char *name = mime_file_name(part);
	char *method = mime_method(part);

	dynbuf_addf(&s->text, "%s%s@%zu+%zu%s%s", s->text.len ? " " : "",
		    part->subtype, part->begin, part->content,
		    part->related ? "r" : "", part->in_alternative ? "a" : "");
	if (part->alternative != 0)
		dynbuf_addf(&s->text, "A%u", part->alternative);
	dynbuf_addf(&s->text, "%s%s", part->broken ? "b" : "",
		    mime_is_inline(part) ? "i" : "");
	if (name != NULL)
		dynbuf_addf(&s->text, "\"%s\"", name);
	if (part->id_field != NULL)
		dynbuf_addf(&s->text, "(%s)", part->id_field);
	if (method != NULL)
		dynbuf_addf(&s->text, "=%s", method);
	free(name);
	free(method);
	return MIME_WANT_NOT;
}

static bool
on_end_place(void *arg, const struct mime_part *part)
{
	(void)arg;
	(void)part;
	return false;
}

static const struct mime_sink place_sink = { on_begin_place, on_data,
					     on_end_place };

static const struct {
	const char *name;
	const char *header; /* of the message */
	const char *value;
	const char *body;
	const char *want;
	const char *lost; /* mime_lost(), a part of it */
} places[] = {
	{ "the message", "Content-Type", "a/b; name=n", "x", "b@0+0\"n\"",
	  NULL },
	{ "the message's id", "content-id", "<x>", "x", "plain@0+0(<x>)",
	  NULL },
	{ "the message's disposition", "Content-Disposition",
	  "inline; filename=f", "x", "plain@0+0i\"f\"", NULL },
	{ "parts", "Content-Type", MIXED, "--b\r\n\r\na\r\n--b\n\nb\n--b--",
	  "plain@5+7 plain@14+15", NULL },
	{ "a header, a preamble", "Content-Type", MIXED,
	  "12\r\n--b \r\nA: b\r\n c\r\n\r\nx\r\n--b--", "plain@10+22", NULL },
	{ "a header that is broken", "Content-Type", MIXED,
	  "--b\r\nA: b\r\nx\r\n--b\r\nA: b\r\n\r\n--b--",
	  "plain@5+11b plain@19+27", NULL },
	{ "a header that ends at a delimiter", "Content-Type", MIXED,
	  "--b\r\nA: b\r\n--b--", "plain@5+11", NULL },
	{ "a header that ends with the message", "Content-Type", MIXED,
	  "--b\r\nA: b\r\n", "plain@5+11", NULL },
	{ "and in the middle of a line", "Content-Type", MIXED,
	  "--b\r\nA: b\r\nC", "plain@5+11b", NULL },
	{ "a delimiter is all", "Content-Type", MIXED, "--b", "plain@3+3",
	  NULL },
	{ "related", "Content-Type", "multipart/related; boundary=b",
	  "--b\n\nx\n--b--", "plain@4+5r", NULL },
	{ "alternative", "Content-Type", "multipart/alternative; boundary=b",
	  "--b\n\nx\n--b--", "plain@4+5aA1", NULL },
	{ "deeper", "Content-Type", "multipart/alternative; boundary=b",
	  "--b\nContent-Type: multipart/related; boundary=c\n\n"
	  "--c\nContent-Type: multipart/alternative; boundary=d\n\n"
	  "--d\n\nx\n--c\n\nx\n--b\n\nx\n--b--",
	  "plain@106+107raA1 plain@113+114rA1 plain@120+121aA1", NULL },
	{ "two alternatives", "Content-Type", MIXED,
	  "--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\n"
	  "x\n--b\nContent-Type: multipart/alternative; boundary=c\n\n"
	  "--c\n\nx\n--b--",
	  "plain@57+58aA2 plain@117+118aA4", NULL },
	{ "a method", "Content-Type", "text/calendar; Method=\"REQUEST\"", "",
	  "calendar@0+0=REQUEST", NULL },

	{ "no boundary", "Content-Type", "multipart/mixed", "x", "",
	  "without a boundary" },
	{ "no boundary further in", "Content-Type", MIXED,
	  "--b\nContent-Type: multipart/mixed\n\nx\n--b--", "",
	  "without a boundary" },
	{ "no such delimiter", "Content-Type", MIXED, "x\n", "",
	  "does not occur" },
	{ "nothing between", "Content-Type", MIXED, "\r\n \t\r\n", "", NULL },
	{ "only the last one", "Content-Type", MIXED, "x\n--b--\n", "",
	  "does not occur" },
	{ "no such delimiter further in", "Content-Type", MIXED,
	  "--b\nContent-Type: multipart/mixed; boundary=c\n\nx\n--b--", "",
	  "does not occur" },
	{ "text behind the parts", "Content-Type", MIXED,
	  "--b\n\nx\n--b--\nepilogue", "plain@4+5", NULL },
};

static void
check_place(size_t i, size_t step)
{
	struct seen seen = { 0 };
	struct mime *m = mime_new(&place_sink, &seen);
	const char *lost;

	dynbuf_init(&seen.text, 4096);
	mime_header(m, places[i].header, places[i].value,
		    strlen(places[i].value));
	(void)feed(m, places[i].body, strlen(places[i].body), step);
	assert_int_equal(mime_end(m), MIME_DONE);
	lost = mime_lost(m);
	if (strcmp(dynbuf_str(&seen.text), places[i].want) != 0 ||
	    (lost == NULL) != (places[i].lost == NULL) ||
	    (lost != NULL && strstr(lost, places[i].lost) == NULL))
		fail_msg("%s (step %zu): got \"%s\" lost %s", places[i].name,
			 step, dynbuf_str(&seen.text), lost);
	dynbuf_clear(&seen.text);
	mime_free(&m);
}

static void
test_places(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		check_place(i, 1 << 20);
		check_place(i, 7);
		check_place(i, 2);
		check_place(i, 1);
	}
}

/* --- bounds: built, fed, and the outcome with its time -------------------- */

static enum mime_status
run_big(const char *type, const struct dynbuf *body, const char **error_r)
{
	struct seen seen = { 0 };
	struct mime *m = mime_new(&sink, &seen);
	static char error[200];
	enum mime_status status;

	dynbuf_init(&seen.text, 1 << 26);
	mime_header(m, "Content-Type", type, strlen(type));
	(void)feed(m, body->data, body->len, 65535);
	status = mime_end(m);
	(void)snprintf(error, sizeof(error), "%s",
		       mime_error(m) ? mime_error(m) : "");
	*error_r = error;
	dynbuf_clear(&seen.text);
	mime_free(&m);
	return status;
}

static void
test_depth(void **state)
{
	static const struct {
		unsigned depth;
		bool ok;
	} v[] = { { 63, true }, { 64, false }, { 20000, false } };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct dynbuf body;
		const char *error;
		enum mime_status status;

		dynbuf_init(&body, 1 << 24);
		for (unsigned k = 0; k < v[i].depth; k++)
			dynbuf_addf(&body,
				    "--n%u\r\nContent-Type: multipart/mixed; "
				    "boundary=n%u\r\n\r\n",
				    k, k + 1);
		dynbuf_addf(&body, "--n%u\r\n\r\nx\r\n", v[i].depth);
		status = run_big("multipart/mixed; boundary=n0", &body, &error);
		assert_int_equal(status == MIME_ERROR, !v[i].ok);
		if (!v[i].ok)
			assert_non_null(strstr(error, "deeper than 64"));
		dynbuf_clear(&body);
	}
}

static void
test_parts(void **state)
{
	static const struct {
		unsigned parts;
		bool ok;
	} v[] = { { 999, true }, { 1000, false }, { 200000, false } };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct dynbuf body;
		const char *error;
		enum mime_status status;

		dynbuf_init(&body, 1 << 24);
		for (unsigned k = 0; k < v[i].parts; k++)
			dynbuf_adds(&body, "--b\r\n\r\n");
		dynbuf_adds(&body, "--b--\r\n");
		status = run_big(MIXED, &body, &error);
		assert_int_equal(status == MIME_ERROR, !v[i].ok);
		if (!v[i].ok)
			assert_non_null(strstr(error, "more than 1000"));
		dynbuf_clear(&body);
	}
}

static void
test_boundary_length(void **state)
{
	static const struct {
		size_t len;
		bool ok;
	} v[] = { { MIME_BOUNDARY_MAX, true },
		  { MIME_BOUNDARY_MAX + 1, false } };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		char type[MIME_BOUNDARY_MAX + 64];
		struct dynbuf body;
		const char *error;
		enum mime_status status;
		int n = snprintf(type, sizeof(type),
				 "multipart/mixed; boundary=%0*d",
				 (int)v[i].len, 1);

		assert_true(n > 0);
		dynbuf_init(&body, 4096);
		dynbuf_addf(&body, "--%0*d\r\n\r\nx\r\n--%0*d--\r\n",
			    (int)v[i].len, 1, (int)v[i].len, 1);
		status = run_big(type, &body, &error);
		assert_int_equal(status == MIME_ERROR, !v[i].ok);
		dynbuf_clear(&body);
	}
}

static void
test_part_header_length(void **state)
{
	struct dynbuf body;
	const char *error;

	(void)state;
	dynbuf_init(&body, 1 << 20);
	dynbuf_adds(&body, "--b\r\n");
	while (body.len < MIME_PART_HEADER_MAX + 100)
		dynbuf_adds(&body,
			    "X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
	assert_int_equal(run_big(MIXED, &body, &error), MIME_ERROR);
	assert_non_null(strstr(error, "header is longer"));
	dynbuf_clear(&body);
}

/* A delimiter cannot be longer than the line that is kept for one. */
static void
test_long_dash_line(void **state)
{
	(void)state;
	for (size_t step = 1; step < 70000; step = step * 9 + 1) {
		struct seen seen = { 0 };
		struct mime *m = mime_new(&sink, &seen);
		struct dynbuf body;

		dynbuf_init(&seen.text, 1 << 20);
		dynbuf_init(&body, 1 << 20);
		dynbuf_adds(&body, P("text/plain") "--b");
		for (int i = 0; i < 1000; i++)
			dynbuf_adds(&body, " ");
		dynbuf_adds(&body, "\r\nx\r\n--b--");
		mime_header(m, "Content-Type", MIXED, strlen(MIXED));
		(void)feed(m, body.data, body.len, step);
		assert_int_equal(mime_end(m), MIME_DONE);
		/* The line is content: 3 + 1000 + CRLF + x. */
		assert_int_equal(seen.text.len,
				 strlen("text/plain[]") + 3 + 1000 + 3);
		dynbuf_clear(&body);
		dynbuf_clear(&seen.text);
		mime_free(&m);
	}
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
		cmocka_unit_test(test_nul_is_data),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_boundary_length),
		cmocka_unit_test(test_part_header_length),
		cmocka_unit_test(test_long_dash_line),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
