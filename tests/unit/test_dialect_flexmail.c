/* SPDX-License-Identifier: MIT */
/* The Flexmail dialect: each rule of its page about SMTP submissions. */
#include "dialect_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy/dialect.h"
#include "policy/dynbuf.h"

#define M DIALECT_SCENE_GOOD
#define F "From: Shop <shop@example.com>\n"
#define TAG "X-Flexmail-Tag"
#define META "X-Flexmail-Metadata-"
#define OPENS "X-Flexmail-Open-Tracking"
#define LINKS "X-Flexmail-Link-Tracking"
#define X10 "0123456789"
#define X50 X10 X10 X10 X10 X10
#define E10                                        \
	"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9" \
	"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
#define E80 E10 E10 E10 E10 E10 E10 E10 E10

/* --- tag ----------------------------------------------------------------- */

#define LONG_TAG "550 5.6.0 " TAG ": a tag has 1 to 50 characters"
#define BAD_TAG                                          \
	"550 5.6.0 " TAG ": a tag is in snake_case, as " \
	"order_confirmation"

static const struct dialect_row tags[] = {
	{ "a tag", M TAG ": order_confirmation\n",
	  .want = "tag: order_confirmation\nasks for tag: " TAG },
	{ "none", M, .lacks = "tag:" },
	{ "none asks for nothing", M, .lacks = "asks for tag" },
	{ "one character", M TAG ": a\n", .want = "tag: a" },
	{ "50 characters", M TAG ": " X50 "\n", .want = "tag: " X50 },
	{ "51 characters", M TAG ": " X50 "x\n", .refusal = LONG_TAG },
	{ "empty", M TAG ":\n", .refusal = LONG_TAG },
	{ "blank", M TAG ":  \n", .refusal = LONG_TAG },
	{ "digits", M TAG ": 2024_01\n", .want = "tag: 2024_01" },
	{ "blanks around", M TAG ":   a_b \t\n", .want = "tag: a_b" },
	{ "folded at once", M TAG ":\n a_b\n", .want = "tag: a_b" },
	{ "encoded", M TAG ": =?utf-8?Q?order=5Fok?=\n",
	  .want = "tag: order_ok" },
	{ "the first of two", M TAG ": a\n" TAG ": B-\n", .want = "tag: a" },
	{ "the name as nodemailer writes it", M "X-Flexmail-tag: a\n",
	  .want = "tag: a" },
	{ "the name in small letters", M "x-flexmail-tag: a\n",
	  .want = "tag: a" },
	{ "capital letters", M TAG ": Order\n", .refusal = BAD_TAG },
	{ "a hyphen", M TAG ": order-ok\n", .refusal = BAD_TAG },
	{ "a blank", M TAG ": order ok\n", .refusal = BAD_TAG },
	{ "a dot", M TAG ": order.ok\n", .refusal = BAD_TAG },
	{ "a comma", M TAG ": a,b\n", .refusal = BAD_TAG },
	{ "a letter of another script", M TAG ": caf\xc3\xa9\n",
	  .refusal = BAD_TAG },
	{ "_ before", M TAG ": _a\n", .refusal = BAD_TAG },
	{ "_ behind", M TAG ": a_\n", .refusal = BAD_TAG },
	{ "two _", M TAG ": a__b\n", .refusal = BAD_TAG },
	{ "_ alone", M TAG ": _\n", .refusal = BAD_TAG },
	{ "a control character", M TAG ": =?utf-8?Q?a=01?=\n",
	  .refusal = "550 5.6.0 " TAG ": holds a control character" },
};

static void
test_tag(void **state)
{
	(void)state;
	DIALECT_CHECK_ROWS(&dialect_flexmail, tags);
}

/* --- metadata ------------------------------------------------------------ */

#define BAD_KEY(key) \
	"550 5.6.0 " META key ": a metadata key is in snake_case, as order_id"
#define BAD_VALUE(key) \
	"550 5.6.0 " META key ": a metadata value has 1 to 80 characters"

static const struct dialect_row metadata[] = {
	{ "two keys", M META "order_id: 12345\n" META "customer_id: C-789\n",
	  .want = "metadata: {\"order_id\":\"12345\",\"customer_id\":\"C-789\"}"
		  "\nasks for metadata: " META "*" },
	{ "none", M, .lacks = "metadata:" },
	{ "none asks for nothing", M, .lacks = "asks for metadata" },
	{ "the key as nodemailer writes it", M META "Order_id: 1\n",
	  .want = "metadata: {\"order_id\":\"1\"}" },
	{ "the name in capital letters", M "X-FLEXMAIL-METADATA-ORDER_ID: 1\n",
	  .want = "metadata: {\"order_id\":\"1\"}" },
	{ "the first of two", M META "a: 1\n" META "A: 2\n",
	  .want = "metadata: {\"a\":\"1\"}" },
	{ "free text", M META "a: It's \"1 < 2\", C:\\\n",
	  .want = "metadata: {\"a\":\"It's \\\"1 < 2\\\", C:\\\\\"}" },
	{ "encoded", M META "a: =?iso-8859-1?Q?caf=E9?=\n",
	  .want = "metadata: {\"a\":\"caf\xc3\xa9\"}" },
	{ "8-bit", M META "a: caf\xc3\xa9\n",
	  .want = "metadata: {\"a\":\"caf\xc3\xa9\"}" },
	{ "folded", M META "a: b\n c\n", .want = "metadata: {\"a\":\"b c\"}" },
	{ "80 characters", M META "a: " X50 X10 X10 X10 "\n",
	  .want = "metadata: {\"a\":\"" X50 X10 X10 X10 "\"}" },
	{ "80 characters, not bytes", M META "a: " E80 "\n",
	  .want = "metadata: {\"a\":\"" E80 "\"}" },
	{ "81 characters", M META "a: " X50 X10 X10 X10 "x\n",
	  .refusal = BAD_VALUE("a") },
	{ "81 characters of two bytes", M META "a: " E80 "\xc3\xa9\n",
	  .refusal = BAD_VALUE("a") },
	{ "an empty value", M META "a:\n", .refusal = BAD_VALUE("a") },
	{ "no key", M META ": 1\n", .refusal = BAD_KEY("") },
	{ "the key as Ruby's mail writes it", M META "order-id: 1\n",
	  .want = "metadata: {\"order_id\":\"1\"}" },
	{ "the first of two ways to write a key",
	  M META "a-b: 1\n" META "a_b: 2\n" META "b: \"a_b\":\n",
	  .want = "metadata: {\"a_b\":\"1\",\"b\":\"\\\"a_b\\\":\"}" },
	{ "a value that looks like a key", M META "b: \"a\":\n" META "a: 1\n",
	  .want = "metadata: {\"b\":\"\\\"a\\\":\",\"a\":\"1\"}" },
	{ "a hyphen at the end of the key", M META "order-: 1\n",
	  .refusal = BAD_KEY("order-") },
	{ "a dot in the key", M META "order.id: 1\n",
	  .refusal = BAD_KEY("order.id") },
	{ "_ before the key", M META "_id: 1\n", .refusal = BAD_KEY("_id") },
	{ "_ behind the key", M META "id_: 1\n", .refusal = BAD_KEY("id_") },
	{ "a control character", M META "a: =?utf-8?Q?=07?=\n",
	  .refusal = "550 5.6.0 " META "a: holds a control character" },
	{ "a header that begins nearly so", M "X-Flexmail-Metadata: 1\n",
	  .lacks = "metadata:" },
};

static void
test_metadata(void **state)
{
	(void)state;
	DIALECT_CHECK_ROWS(&dialect_flexmail, metadata);
}

static const struct dialect_row message_ids[] = {
	{ "as original_message_id", M "Message-ID: <1.2@example.com>\n",
	  .want = "metadata: {\"original_message_id\":\"<1.2@example.com>\"}\n"
		  "message_id: <1.2@example.com>" },
	{ "nobody asks for that", M "Message-ID: <1@example.com>\n",
	  .lacks = "asks for metadata" },
	{ "beside the client's own, whichever is first",
	  M META "a: 1\nMessage-ID: <1@x>\n",
	  .want = "metadata: {\"original_message_id\":\"<1@x>\",\"a\":\"1\"}" },
	{ "the client's own key does not override it",
	  M META "original_message_id: 7\nMessage-Id: <1@x>\n",
	  .want = "metadata: {\"original_message_id\":\"<1@x>\"}" },
	{ "the client's own, without a Message-ID",
	  M META "original_message_id: 7\n",
	  .want = "metadata: {\"original_message_id\":\"7\"}" },
	{ "longer than a value may be",
	  M "Message-ID: <" X50 X50 "@example.com>\n",
	  .want = "metadata: {\"original_message_id\":"
		  "\"<" X50 X50 "@example.com>\"}" },
	{ "folded", M "Message-ID:\n <1@x>\n",
	  .want = "metadata: {\"original_message_id\":\"<1@x>\"}" },
	{ "of quotes", M "Message-ID: <\"a b\"@x>\n",
	  .want = "metadata: {\"original_message_id\":\"<\\\"a b\\\"@x>\"}" },
	{ "empty", M "Message-ID:\n", .lacks = "metadata:" },
	{ "of control characters", M "Message-ID: <\x01@x>\n",
	  .lacks = "metadata:" },
};

static void
test_message_id(void **state)
{
	(void)state;
	DIALECT_CHECK_ROWS(&dialect_flexmail, message_ids);
}

/* As many as a message may have headers. */
static void
test_much_metadata(void **state)
{
	struct dialect_row row = { .name = "900 keys" };
	DYNBUF_AUTO headers;
	DYNBUF_AUTO want;

	(void)state;
	dynbuf_init(&headers, 1000000);
	dynbuf_init(&want, 1000000);
	dynbuf_adds(&headers, M);
	dynbuf_adds(&want, "metadata: {");
	for (int i = 0; i < 900; i++) {
		dynbuf_addf(&headers, META "k%d: " E80 "\n", i);
		dynbuf_addf(&want, "%s\"k%d\":\"" E80 "\"", i > 0 ? "," : "",
			    i);
	}
	dynbuf_adds(&want, "}");
	row.headers = dynbuf_str(&headers);
	row.want = dynbuf_str(&want);
	dialect_check_rows(&dialect_flexmail, &row, 1);
}

/* --- tracking ------------------------------------------------------------ */

static const struct dialect_row tracking[] = {
	{ "off by default", M,
	  .want = "open_tracking: off\nclick_tracking: off" },
	{ "nobody asks for the default", M, .lacks = "asks for" },
	{ "opens on", M OPENS ": true\n",
	  .want = "open_tracking: on\nclick_tracking: off\n"
		  "asks for open tracking: " OPENS },
	{ "links on", M LINKS ": true\n",
	  .want = "open_tracking: off\nclick_tracking: on\n"
		  "asks for click tracking: " LINKS },
	{ "true in any case", M OPENS ": True\n" LINKS ": TRUE\n",
	  .want = "open_tracking: on\nclick_tracking: on" },
	{ "false", M OPENS ": false\n" LINKS ": False\n",
	  .want = "open_tracking: off\nclick_tracking: off" },
	{ "false asks for nothing", M OPENS ": false\n", .lacks = "asks for" },
	{ "encoded",
	  M OPENS ": =?utf-8?Q?true?=\n" LINKS ": =?utf-8?Q?true?=\n",
	  .want = "open_tracking: on\nclick_tracking: on" },
	{ "empty", M OPENS ":\n" LINKS ":\n",
	  .want = "open_tracking: off\nclick_tracking: off" },
	{ "another word", M OPENS ": yes\n",
	  .refusal = "550 5.6.0 " OPENS ": must be true or false" },
	{ "a number", M LINKS ": 1\n",
	  .refusal = "550 5.6.0 " LINKS ": must be true or false" },
	{ "the first of two", M OPENS ": true\n" OPENS ": false\n",
	  .want = "open_tracking: on" },
};

static void
test_tracking(void **state)
{
	(void)state;
	DIALECT_CHECK_ROWS(&dialect_flexmail, tracking);
}

/* --- body ---------------------------------------------------------------- */

#define CT "Content-Type: "
#define MIXED F CT "multipart/mixed; boundary=b\n"
#define HTML_PART "--b\n" CT "text/html\n\n<p>x\n"

static const struct dialect_row bodies[] = {
	{ "HTML", M, .want = "html: <p>x", .lacks = "text:" },
	{ "HTML beside text", F CT "multipart/alternative; boundary=b\n",
	  "--b\n\nplain\n" HTML_PART "--b--\n",
	  .want = "html: <p>x\ntext: plain\nasks for text part: Content-Type" },
	{ "text only", F CT "text/plain\n", "x",
	  .refusal = "550 5.6.0 Content-Type: plain text only is not "
		     "supported: the message needs an HTML part" },
	{ "text that has no type", F, "x",
	  .refusal = "550 5.6.0 Content-Type: plain text only is not "
		     "supported: the message needs an HTML part" },
	{ "text beside an attachment of HTML", MIXED,
	  "--b\n\nplain\n--b\n" CT
	  "text/html\nContent-Disposition: attachment\n\n<p>x\n--b--\n",
	  .refusal = "550 5.6.0 Content-Type: plain text only is not "
		     "supported: the message needs an HTML part" },
	{ "nothing", M, "",
	  .refusal = "550 5.6.0 The message has no HTML part to send" },
	{ "a charset nobody knows", F CT "text/html; charset=x-none\n", "\xe9",
	  .refusal = "550 5.6.0 Content-Type: unknown charset \"x-none\"" },
	{ "an attachment", MIXED,
	  HTML_PART "--b\n" CT "application/pdf\nContent-Disposition: "
		    "attachment; filename=a.pdf\n"
		    "Content-Transfer-Encoding: base64\n\nJVBERg==\n--b--\n",
	  .want = "html: <p>x\nfile a.pdf: application/pdf, 4 bytes\n"
		  "asks for attachments: Content-Disposition" },
	{ "an attachment that is not base64", MIXED,
	  HTML_PART "--b\n" CT "text/csv\nContent-Disposition: "
		    "attachment; filename=a.csv\n"
		    "Content-Transfer-Encoding: quoted-printable\n\n"
		    "a=3Db\n--b--\n",
	  .want = "file a.csv: text/csv, 3 bytes" },
	{ "an image that is an attachment", MIXED,
	  HTML_PART "--b\n" CT "image/png; name=a.png\n\nabcd\n--b--\n",
	  .want = "file a.png: image/png, 4 bytes" },
	{ "an AMP part", F CT "multipart/alternative; boundary=b\n",
	  "--b\n" CT "text/x-amp-html\n\n<html amp4email>\n" HTML_PART
	  "--b--\n",
	  .want = "html: <p>x\namp: <html amp4email>\n"
		  "asks for AMP part: Content-Type" },
	{ "an inline attachment", MIXED,
	  HTML_PART "--b\n" CT "image/png\nContent-Disposition: "
		    "inline; filename=a.png\n\nabcd\n--b--\n",
	  .refusal = "550 5.6.0 Content-Disposition: inline attachments are "
		     "not supported: a.png" },
	{ "an inline attachment with an id",
	  F CT "multipart/related; boundary=b\n",
	  HTML_PART "--b\n" CT "image/png; name=logo.png\n"
		    "Content-ID: <logo>\n\nabcd\n--b--\n",
	  .refusal = "550 5.6.0 Content-ID: inline attachments are not "
		     "supported: logo.png" },
};

static void
test_body(void **state)
{
	(void)state;
	DIALECT_CHECK_ROWS(&dialect_flexmail, bodies);
}

/* --- addresses and the rest ---------------------------------------------- */

static const struct dialect_row addresses[] = {
	{ "From", M, .want = "from_name: Shop\nfrom_email: shop@example.com" },
	{ "From is missing", "To: r@example.com\n",
	  .refusal = "550 5.6.0 From: header missing" },
	{ "From is one sender", "From: a@x.example, b@x.example\n",
	  .refusal = "550 5.6.0 From: must be one address, without a group" },
	{ "From is a verified sender", M, .senders = "shop@example.com",
	  .want = "from_email: shop@example.com" },
	{ "From is of a verified domain", M, .senders = "a@x example.com",
	  .want = "from_email: shop@example.com" },
	{ "From is not a verified sender", M, .senders = "sales@example.com",
	  .refusal = "550 5.7.1 From: this account may not send as "
		     "shop@example.com; it may send as: sales@example.com" },
	{ "the envelope sender, for reports", M,
	  .want = "return_path: bounce@example.com" },
	{ "To names the recipient, and is shown", M,
	  .want = "to: r@example.com (Joe)\nto: Joe <r@example.com>" },
	{ "CC recipients are of the envelope, and shown",
	  M "Cc: Ann <a@example.com>, b@example.com\n",
	  .rcpts = "r@example.com a@example.com",
	  .want = "to: r@example.com (Joe)\nto: a@example.com ()\n"
		  "cc: Ann <a@example.com>, b@example.com",
	  .lacks = "to: b@" },
	{ "BCC recipients are of the envelope, and not shown",
	  M "Bcc: c@example.com\n", .rcpts = "r@example.com c@example.com",
	  .want = "to: r@example.com (Joe)\nto: c@example.com ()",
	  .lacks = "header Bcc" },
	{ "Subject and Reply-To",
	  F CT "text/html\nSubject: =?utf-8?Q?=C3=A9?=\n"
	       "Reply-To: Ann <a@example.com>\n",
	  .want = "subject: \xc3\xa9\nreply_to: Ann <a@example.com>" },
	{ "a comma in an encoded name",
	  "From: =?utf-8?Q?Doe=2C_Jos=C3=A9?= <j@example.com>\n"
	  "To: =?utf-8?Q?Doe=2C_Joe?= <r@example.com>\n"
	  "Cc: =?utf-8?Q?Doe=2C_Ann?= <a@example.com>\n"
	  "Content-Type: text/html\n",
	  .want = "from_name: Doe, Jos\xc3\xa9\nto: r@example.com (Doe, Joe)\n"
		  "to: \"Doe, Joe\" <r@example.com>\n"
		  "cc: \"Doe, Ann\" <a@example.com>" },
	{ "an address in an encoded name is a name",
	  "From: =?utf-8?Q?=3Ce=40evil.example=3E?= <j@example.com>\n"
	  "To: =?utf-8?Q?=3Ce=40evil.example=3E?= <r@example.com>\n"
	  "Cc: =?utf-8?Q?=3Ce=40evil.example=3E?= <a@example.com>\n"
	  "Content-Type: text/html\n",
	  .want = "from_name: <e@evil.example>\nfrom_email: j@example.com\n"
		  "to: r@example.com (<e@evil.example>)\n"
		  "to: \"<e@evil.example>\" <r@example.com>\n"
		  "cc: \"<e@evil.example>\" <a@example.com>" },
	{ "an encoded Reply-To",
	  M "Reply-To: =?utf-8?Q?Jos=C3=A9?= <j@example.com>\n",
	  .want = "reply_to: Jos\xc3\xa9 <j@example.com>" },
	{ "an empty Subject", F CT "text/html\nSubject:\n", .want = "subject: " },
	{ "no Subject", F CT "text/html\n", .lacks = "subject:" },
	{ "other headers go along",
	  M "List-Unsubscribe: <https://x.example>\nX-Other: "
	    "=?utf-8?Q?=C3=A9?=\n",
	  .want = "header List-Unsubscribe: <https://x.example>\n"
		  "header X-Other: \xc3\xa9\n"
		  "asks for other headers: Other headers" },
	{ "control headers do not",
	  M TAG ": a\n" META "a: b\n" OPENS ": true\n" LINKS ": true\n",
	  .lacks = "header" },
	{ "nor do those of other providers",
	  M "X-Cmail-GroupName: a\nX-PM-Tag: b\nX-Auth-APIKey: c\n",
	  .lacks = "header" },
	{ "the account's route", M, .want = "route_id: r1" },
	{ "several routes and no default", M, .n_routes = 2,
	  .refusal = "550 5.7.1 This account has several routes and no "
		     "default: r1, r2" },
};

static void
test_addresses(void **state)
{
	(void)state;
	DIALECT_CHECK_ROWS(&dialect_flexmail, addresses);
}

/* --- the table ----------------------------------------------------------- */

/* User name and password are issued as a pair. */
static void
test_login(void **state)
{
	static const struct {
		const char *user, *expected;
		bool ok;
	} v[] = {
		{ "acme", "acme", true }, { "acme", NULL, true },
		{ "", NULL, true },	  { "Acme", "acme", false },
		{ "acm", "acme", false }, { "acmee", "acme", false },
		{ "", "acme", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		char subaccount[SUBACCOUNT_MAX + 1] = "x";
		const char *why =
		    dialect_login(&dialect_flexmail, v[i].user,
				  strlen(v[i].user), v[i].expected, subaccount);

		if ((why == NULL) != v[i].ok || subaccount[0] != '\0')
			fail_msg("%s, %s: %s", v[i].user, v[i].expected, why);
	}
}

static void
test_table(void **state)
{
	static const char *const control[] = { TAG, META "a", OPENS, LINKS };

	(void)state;
	assert_ptr_equal(dialect_find("flexmail"), &dialect_flexmail);
	assert_null(dialect_flexmail.key_header);
	assert_null(dialect_flexmail.route_header);
	assert_int_equal(dialect_flexmail.recipients_max, 0);
	assert_true(dialect_flexmail.keeps_others);
	assert_false(dialect_flexmail.completes_to);
	assert_false(dialect_flexmail.html_only);
	for (size_t i = 0; i < sizeof(control) / sizeof(control[0]); i++)
		assert_true(dialect_is_control(control[i]));
	assert_false(dialect_is_control("X-Flexmail-Other"));
	assert_false(dialect_is_control("Message-ID"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tag),
		cmocka_unit_test(test_metadata),
		cmocka_unit_test(test_message_id),
		cmocka_unit_test(test_much_metadata),
		cmocka_unit_test(test_tracking),
		cmocka_unit_test(test_body),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, dialect_scene_setup, NULL);
}
