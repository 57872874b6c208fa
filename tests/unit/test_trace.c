/* SPDX-License-Identifier: MIT */
/*
 * What `txmilterctl try` says about headers and parts; and that a traced
 * message ends as an untraced one does.
 */
#include "policy/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/dialect.h"
#include "policy/dynbuf.h"
#include "policy/header_text.h"
#include "policy/json_text.h"
#include "policy/message.h"
#include "policy/mime.h"

#define MIXED "multipart/mixed; boundary=m"
#define ALTERNATIVE "multipart/alternative; boundary=m"
#define PART(type) "--m\r\nContent-Type: " type "\r\n\r\n"
#define END "--m--\r\n"

/* parts: "depth type fate: why" lines. body: what is taken. */
static const struct {
	const char *type, *body;
	enum body_kind kind;
	const char *parts;
} bodies[] = {
	{ "text/html", "<p>x</p>\r\n", BODY_HTML,
	  "0 text/html the body: the first HTML part\n" },
	{ "text/plain", "x\r\n", BODY_TEXT,
	  "0 text/plain the body: a text part, as HTML: there is no HTML "
	  "part\n" },
	{ "text/plain", " \r\n", BODY_NONE,
	  "0 text/plain dropped: nothing to read in it\n" },
	{ "application/pdf", "x\r\n", BODY_NONE,
	  "0 application/pdf dropped: neither HTML nor plain text\n" },
	{ ALTERNATIVE, PART("text/plain") "x\r\n" PART("text/html") "y\r\n" END,
	  BODY_HTML,
	  "1 text/plain dropped: there is an HTML part\n"
	  "1 text/html the body: the first HTML part\n" },
	{ MIXED,
	  PART("text/html") "\r\n" PART("text/html") "y\r\n" PART(
	      "text/html") "z\r\n" PART("image/png") "p\r\n"
						     "--m\r\nContent-Type: "
						     "text/html\r\n"
						     "Content-Disposition: "
						     "attachment\r\n\r\nx\r"
						     "\n" END,
	  BODY_HTML,
	  "1 text/html dropped: nothing to read in it\n"
	  "1 text/html the body: the first HTML part\n"
	  "1 text/html dropped: the body was complete before it\n"
	  "1 image/png dropped: an image\n"
	  "1 text/html dropped: an attachment\n" },
	{ MIXED, PART("text/plain") "x\r\n" PART("text/plain") "y\r\n" END,
	  BODY_TEXT,
	  "1 text/plain the body: a text part, as HTML: there is no HTML "
	  "part\n"
	  "1 text/plain dropped: there is a text part before it\n" },
	{ MIXED,
	  "--m\r\nContent-Type: text/html\r\n"
	  "Content-Transfer-Encoding: rot13\r\n\r\nx\r\n" END,
	  BODY_NONE,
	  "1 text/html dropped: Content-Transfer-Encoding: not a known "
	  "encoding\n" },
	/* What comes behind the body is read, but does not count: this would
	 * be an error before it. */
	{ MIXED,
	  PART("text/html") "x\r\n" PART(
	      "multipart/mixed; boundary=a; boundary=b") "y\r\n" END,
	  BODY_HTML, "1 text/html the body: the first HTML part\n" },
};

static struct message *
read_message(const char *type, const char *body, struct trace *t)
{
	struct message *m = message_new("a@x.example");

	if (t != NULL)
		message_trace(m, t);
	message_header(m, "Content-Type", type, strlen(type));
	(void)message_body(m, body, strlen(body));
	return m;
}

static enum body_kind
end_message(struct message **m, char **text_r)
{
	size_t len;
	enum body_kind kind = message_take_body(*m, text_r, &len);

	message_free(m);
	return kind;
}

static void
write_parts(const struct trace *t, struct dynbuf *out)
{
	for (size_t i = 0; i < t->n_parts; i++)
		assert_true(dynbuf_addf(out, "%u %s %s: %s\n",
					t->parts[i].depth, t->parts[i].type,
					t->parts[i].fate, t->parts[i].why));
}

static void
test_parts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct trace *t = trace_new();
		struct message *m =
		    read_message(bodies[i].type, bodies[i].body, t);
		struct message *plain =
		    read_message(bodies[i].type, bodies[i].body, NULL);
		struct dynbuf out;
		char *text, *untraced;

		dynbuf_init(&out, 65536);
		assert_int_equal(end_message(&m, &text), bodies[i].kind);
		write_parts(t, &out);
		assert_string_equal(dynbuf_str(&out), bodies[i].parts);
		assert_int_equal(end_message(&plain, &untraced),
				 bodies[i].kind);
		assert_true((text == NULL) == (untraced == NULL));
		if (text != NULL)
			assert_string_equal(text, untraced);
		free(text);
		free(untraced);
		dynbuf_clear(&out);
		trace_free(&t);
	}
}

static const struct {
	const char *name, *value;
	const char *kept; /* of the value */
	const char *fate, *why;
} headers[] = {
	{ "From", "a@x", "a@x", "read",
	  "handed over in the request's own terms" },
	{ "from", "b@x", "b@x", "dropped", "only the first one counts" },
	{ "x-transactional-tag", "a\n b", "a b", "read",
	  "a control header; it never leaves" },
	{ "X-Transactional-Tag", "c", "c", "dropped",
	  "only the first one counts" },
	{ "MIME-Version", "1.0", "1.0", "read",
	  "says how the body is to be read" },
	{ "Content-Language", "de", "de", "read",
	  "says how the body is to be read" },
	{ "x-auth-apikey", "k-123", "***", "read",
	  "a control header; it never leaves" },
	{ "List-Id", "x", "x", "dropped",
	  "the provider passes no such header on" },
	{ "Received", "", "", "dropped",
	  "the provider passes no such header on" },
};

static void
test_headers(void **state)
{
	struct message *m = message_new("");
	struct trace *t = trace_new();

	(void)state;
	message_trace(m, t);
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		message_header(m, headers[i].name, headers[i].value,
			       strlen(headers[i].value));
	trace_judge_headers(t, &dialect_emaildelivery);
	assert_int_equal(t->n_headers, sizeof(headers) / sizeof(headers[0]));
	for (size_t i = 0; i < t->n_headers; i++) {
		assert_string_equal(t->headers[i].name, headers[i].name);
		assert_string_equal(t->headers[i].value, headers[i].kept);
		assert_string_equal(t->headers[i].fate, headers[i].fate);
		assert_string_equal(t->headers[i].why, headers[i].why);
	}
	message_free(&m);
	trace_free(&t);
}

/* Long ones are cut, too many are left out. */
static void
test_bounds(void **state)
{
	char value[2 * TRACE_TEXT_MAX];
	struct trace *t = trace_new();

	(void)state;
	memset(value, 'v', sizeof(value));
	for (size_t i = 0; i < MESSAGE_HEADERS_MAX + 10; i++)
		trace_header(t, "X", value, sizeof(value));
	assert_int_equal(t->n_headers, MESSAGE_HEADERS_MAX);
	assert_int_equal(strlen(t->headers[0].value), TRACE_TEXT_MAX);
	assert_int_equal(t->headers[0].len, sizeof(value));
	for (size_t i = 0; i < MIME_PARTS_MAX + 10; i++)
		trace_part(t, 1, "text", "plain");
	assert_int_equal(t->n_parts, MIME_PARTS_MAX);
	trace_free(&t);
	trace_header(NULL, "X", "x", 1);
	trace_part(NULL, 1, "text", "plain");
	trace_fate(NULL, "a", "b");
	trace_change_fate(NULL, "a", "b", "c");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_bounds),
	};

	header_text_init();
	json_text_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
