/* SPDX-License-Identifier: MIT */
/*
 * The Campaign Monitor dialect: each rule of its page about sending with SMTP.
 * "V11" to "V15" are headers as real clients were seen to send them.
 */
#include "dialect_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "policy/dialect.h"

#define M DIALECT_SCENE_GOOD
#define F "From: Shop <shop@example.com>\n"
#define GROUP "X-Cmail-GroupName"
#define OPENS "X-Cmail-TrackOpens"
#define CLICKS "X-Cmail-TrackClicks"
#define CSS "X-Cmail-InlineCSS"
#define MAILGUN "X-Mailgun-Tag"
#define MAILJET "X-Mailjet-Campaign"
#define MANDRILL "X-MC-Tags"
#define POSTMARK "X-PM-Tag"
#define SENDGRID "X-SMTPAPI"
#define X10 "0123456789"
#define X50 X10 X10 X10 X10 X10
#define X255 X50 X50 X50 X50 X50 "01234"
#define E10                                        \
	"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9" \
	"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
#define E50 E10 E10 E10 E10 E10
#define E255 E50 E50 E50 E50 E50 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"

/* --- group --------------------------------------------------------------- */

#define LONG_GROUP \
	"550 5.6.0 " GROUP ": a group name has at most 255 characters"

static const struct dialect_row groups[] = {
	{ "a group", M GROUP ": Password reset\n",
	  .want = "tag: Password reset\nasks for tag: " GROUP },
	{ "none", M, .lacks = "tag:" },
	{ "none asks for nothing", M, .lacks = "asks for" },
	{ "empty", M GROUP ":\n", .lacks = "tag:" },
	{ "blank", M GROUP ":  \n", .lacks = "tag:" },
	{ "as Django sends it", M GROUP ": LaborHub - Digest\n",
	  .want = "tag: LaborHub - Digest" },
	{ "V11, as Symfony sends it",
	  M GROUP ": =?utf-8?Q?R=C3=A9initialisation?= du mot de passe\n",
	  .want = "tag: R\xc3\xa9initialisation du mot de passe" },
	{ "the name as Bamboo writes it", M "X-CMail-GroupName: Sign In\n",
	  .want = "tag: Sign In" },
	{ "the name as nodemailer writes it", M "X-Cmail-Groupname: a\n",
	  .want = "tag: a" },
	{ "the name in small letters", M "x-cmail-groupname: a\n",
	  .want = "tag: a" },
	{ "any character", M GROUP ": a, b; \"c\" <d>\n",
	  .want = "tag: a, b; \"c\" <d>" },
	{ "folded", M GROUP ": a\n b\n", .want = "tag: a b" },
	{ "255 characters", M GROUP ": " X255 "\n", .want = "tag: " X255 },
	{ "255 characters, not bytes", M GROUP ": " E255 "\n",
	  .want = "tag: " E255 },
	{ "256 characters", M GROUP ": " X255 "5\n", .refusal = LONG_GROUP },
	{ "the first of two", M GROUP ": a\n" GROUP ": b\n", .want = "tag: a" },
	{ "a control character", M GROUP ": =?utf-8?Q?=0A?=\n",
	  .refusal = "550 5.6.0 " GROUP ": holds a control character" },
};

static void
test_group(void **state)
{
	(void)state;
	DIALECT_CHECK_ROWS(&dialect_campaignmonitor, groups);
}

static const struct dialect_row foreign[] = {
	{ "Mailgun", M MAILGUN ": welcome\n",
	  .want = "tag: welcome\nwishes for tag: " MAILGUN },
	{ "V12, Mailgun: the first of several, as nodemailer sends them",
	  M MAILGUN ": a\n" MAILGUN ": b\n", .want = "tag: a" },
	{ "Mailgun: a comma is part of it", M MAILGUN ": a, b\n",
	  .want = "tag: a, b" },
	{ "Mailgun's campaign, as it was before tags",
	  M "X-Mailgun-Campaign-Id: c1\n",
	  .want = "tag: c1\nwishes for tag: X-Mailgun-Campaign-Id" },
	{ "Mailgun's tag before its campaign",
	  M "X-Mailgun-Campaign-Id: c1\n" MAILGUN ": a\n", .want = "tag: a" },
	{ "Mailjet", M MAILJET ": Resident Registration\n",
	  .want = "tag: Resident Registration\nwishes for tag: " MAILJET },
	{ "V15, Mailjet: a number", M MAILJET ": 2\n", .want = "tag: 2" },
	{ "Mandrill", M MANDRILL ": welcome\n",
	  .want = "tag: welcome\nwishes for tag: " MANDRILL },
	{ "V14, Mandrill: before the first comma",
	  M MANDRILL ": customer,login_details,acme-ltd\n",
	  .want = "tag: customer" },
	{ "Mandrill: blanks around", M MANDRILL ":  Member Message , b\n",
	  .want = "tag: Member Message" },
	{ "Mandrill: nothing before the comma", M MANDRILL ": ,b\n",
	  .lacks = "tag:" },
	{ "Postmark", M POSTMARK ": password-reset\n",
	  .want = "tag: password-reset\nwishes for tag: " POSTMARK },
	{ "Postmark: a comma is part of it", M POSTMARK ": a,b\n",
	  .want = "tag: a,b" },
	{ "V13, SendGrid: a string",
	  M SENDGRID ": {\"category\":\"bulk-campaign\",\"unique_args\":"
		     "{\"id\":12345678901234567890}}\n",
	  .want = "tag: bulk-campaign\nwishes for tag: " SENDGRID },
	{ "V13, SendGrid: the first of an array",
	  M SENDGRID ": {\"category\":[\"welcome_email\",\"new_account\"]}\n",
	  .want = "tag: welcome_email" },
	{ "V13, SendGrid: none", M SENDGRID ": {\"unique_args\":{\"m\":1}}\n",
	  .lacks = "tag:" },
	{ "SendGrid: folded",
	  M SENDGRID ": {\"unique_args\": {\"a\": 1},\n "
		     "\"category\": \"x y\"}\n",
	  .want = "tag: x y" },
	{ "SendGrid: escapes", M SENDGRID ": {\"category\":\"caf\\u00e9\"}\n",
	  .want = "tag: caf\xc3\xa9" },
	{ "SendGrid: encoded",
	  M SENDGRID ": =?utf-8?Q?{=22category=22:=22=C3=A9=22}?=\n",
	  .want = "tag: \xc3\xa9" },
	{ "encoded", M POSTMARK ": =?utf-8?Q?=C3=A9?=\n",
	  .want = "tag: \xc3\xa9" },
	{ "the name as nodemailer writes it",
	  M "X-Smtpapi: {\"category\":"
	    "\"a\"}\n",
	  .want = "tag: a" },
	{ "the name in small letters", M "x-mc-tags: a\n", .want = "tag: a" },
	{ "255 characters", M POSTMARK ": " X255 "\n", .want = "tag: " X255 },
};

static void
test_foreign_groups(void **state)
{
	(void)state;
	DIALECT_CHECK_ROWS(&dialect_campaignmonitor, foreign);
}

/* It names no group, and that is all. */
static const struct dialect_row useless[] = {
	{ "empty", M MAILGUN ":\n", .lacks = "tag:" },
	{ "the first one counts, though it is empty",
	  M MAILGUN ":\n" MAILGUN ": b\n", .lacks = "tag:" },
	{ "a control character", M MAILGUN ": =?utf-8?Q?=01?=\n",
	  .lacks = "tag:" },
	{ "a control character, in each of the others",
	  M "X-Mailgun-Campaign-Id: =?utf-8?Q?=01?=\n" MAILJET
	    ": =?utf-8?Q?=01?=\n" MANDRILL ": =?utf-8?Q?=01?=\n" POSTMARK
	    ": =?utf-8?Q?=01?=\n" SENDGRID ": =?utf-8?Q?=01?=\n",
	  .lacks = "tag:" },
	{ "256 characters", M POSTMARK ": " X255 "5\n", .lacks = "tag:" },
	{ "no JSON", M SENDGRID ": category=a\n", .lacks = "tag:" },
	{ "broken JSON", M SENDGRID ": {\"category\":\"a\",}\n",
	  .lacks = "tag:" },
	{ "no object", M SENDGRID ": [\"a\"]\n", .lacks = "tag:" },
	{ "an empty array", M SENDGRID ": {\"category\":[]}\n",
	  .lacks = "tag:" },
	{ "a number", M SENDGRID ": {\"category\":1}\n", .lacks = "tag:" },
	{ "an array whose first is a number",
	  M SENDGRID ": {\"category\":[1,\"a\"]}\n", .lacks = "tag:" },
	{ "an array whose second is a number",
	  M SENDGRID ": {\"category\":[\"a\",1]}\n", .want = "tag: a" },
	{ "an object", M SENDGRID ": {\"category\":{\"a\":\"b\"}}\n",
	  .lacks = "tag:" },
	{ "an empty string", M SENDGRID ": {\"category\":\"\"}\n",
	  .lacks = "tag:" },
	{ "an escaped line end", M SENDGRID ": {\"category\":\"a\\nb\"}\n",
	  .lacks = "tag:" },
	{ "an escaped NUL", M SENDGRID ": {\"category\":\"a\\u0000b\"}\n",
	  .lacks = "tag:" },
	{ "one that names none leaves it to the next",
	  M SENDGRID ": {\"category\":\"a\"}\n" MAILGUN ": =?utf-8?Q?=01?=\n",
	  .want = "tag: a" },
	{ "Mailjet's headers that are no group",
	  M "X-MJ-CustomID: a\nX-Mailjet-DeduplicateCampaign: 1\n",
	  .lacks = "tag:" },
	{ "a campaign id that is nobody's", M "X-Campaign-Id: a\n",
	  .lacks = "tag:" },
};

static void
test_useless_groups(void **state)
{
	(void)state;
	DIALECT_CHECK_ROWS(&dialect_campaignmonitor, useless);
}

/* Whatever their order in the message is. */
static const struct dialect_row precedence[] = {
	{ "its own before all others",
	  M MAILGUN ": 1\n" MAILJET ": 2\n" MANDRILL ": 3\n" POSTMARK
		    ": 4\n" SENDGRID ": {\"category\":\"5\"}\n" GROUP ": 0\n",
	  .want = "tag: 0" },
	{ "its own is empty", M GROUP ":\n" MANDRILL ": 3\n",
	  .want = "tag: 3\nwishes for tag: " MANDRILL },
	{ "Mailgun",
	  M SENDGRID ": {\"category\":\"5\"}\n" POSTMARK ": 4\n" MANDRILL
		     ": 3\n" MAILJET ": 2\n" MAILGUN ": 1\n",
	  .want = "tag: 1" },
	{ "Mailjet",
	  M SENDGRID ": {\"category\":\"5\"}\n" POSTMARK ": 4\n" MANDRILL
		     ": 3\n" MAILJET ": 2\n",
	  .want = "tag: 2" },
	{ "Mandrill",
	  M SENDGRID ": {\"category\":\"5\"}\n" POSTMARK ": 4\n" MANDRILL
		     ": 3\n",
	  .want = "tag: 3" },
	{ "Postmark", M SENDGRID ": {\"category\":\"5\"}\n" POSTMARK ": 4\n",
	  .want = "tag: 4" },
	{ "as Symfony sends it, in both",
	  M GROUP ": Member Message\n" MANDRILL ": Member Message\n",
	  .want = "tag: Member Message\nasks for tag: " GROUP },
};

static void
test_precedence(void **state)
{
	(void)state;
	DIALECT_CHECK_ROWS(&dialect_campaignmonitor, precedence);
}

/* --- switches ------------------------------------------------------------ */

static const struct dialect_row switches[] = {
	{ "on by default", M,
	  .want = "open_tracking: on\nclick_tracking: on\ninline_css: on" },
	{ "nobody asks for the default", M,
	  .want = "wishes for open tracking: " OPENS
		  "\nwishes for click tracking: " CLICKS
		  "\nwishes for CSS inlining: " CSS,
	  .lacks = "asks for" },
	{ "opens off", M OPENS ": false\n",
	  .want = "open_tracking: off\nclick_tracking: on\ninline_css: on" },
	{ "clicks off", M CLICKS ": false\n",
	  .want = "open_tracking: on\nclick_tracking: off\ninline_css: on" },
	{ "CSS off", M CSS ": false\n",
	  .want = "open_tracking: on\nclick_tracking: on\ninline_css: off" },
	{ "false asks for nothing",
	  M OPENS ": false\n" CLICKS ": false\n" CSS ": false\n",
	  .lacks = "asks for" },
	{ "nor does it wish for any",
	  M OPENS ": false\n" CLICKS ": false\n" CSS ": false\n",
	  .lacks = "wishes for" },
	{ "true", M OPENS ": true\n" CLICKS ": true\n" CSS ": true\n",
	  .want = "open_tracking: on\nclick_tracking: on\ninline_css: on\n"
		  "asks for open tracking: " OPENS
		  "\nasks for click tracking: " CLICKS
		  "\nasks for CSS inlining: " CSS },
	{ "in any case", M OPENS ": False\n" CLICKS ": FALSE\n",
	  .want = "open_tracking: off\nclick_tracking: off" },
	{ "the name as nodemailer writes it", M "X-Cmail-Trackopens: false\n",
	  .want = "open_tracking: off" },
	{ "empty", M OPENS ":\n" CLICKS ":\n" CSS ":\n",
	  .want = "open_tracking: on\nclick_tracking: on\ninline_css: on" },
	{ "encoded",
	  M OPENS ": =?utf-8?Q?false?=\n" CLICKS ": =?utf-8?Q?false?=\n" CSS
		  ": =?utf-8?Q?false?=\n",
	  .want = "open_tracking: off\nclick_tracking: off\n"
		  "inline_css: off" },
	{ "opens, a number", M OPENS ": 0\n",
	  .refusal = "550 5.6.0 " OPENS ": must be true or false" },
	{ "clicks, a word", M CLICKS ": no\n",
	  .refusal = "550 5.6.0 " CLICKS ": must be true or false" },
	{ "CSS, quoted", M CSS ": 'false'\n",
	  .refusal = "550 5.6.0 " CSS ": must be true or false" },
	{ "the first of two", M OPENS ": false\n" OPENS ": true\n",
	  .want = "open_tracking: off" },
};

static void
test_switches(void **state)
{
	(void)state;
	DIALECT_CHECK_ROWS(&dialect_campaignmonitor, switches);
}

/* --- body ---------------------------------------------------------------- */

#define CT "Content-Type: "
#define MIXED F CT "multipart/mixed; boundary=b\n"
#define HTML_PART "--b\n" CT "text/html\n\n<p>x\n"

static const struct dialect_row bodies[] = {
	{ "HTML beside text", F CT "multipart/alternative; boundary=b\n",
	  "--b\n\nplain\n" HTML_PART "--b--\n",
	  .want = "html: <p>x\ntext: plain\nasks for text part: Content-Type",
	  .lacks = "text is made" },
	{ "text made of the HTML", F CT "text/html\n", "<p>Hello <b>you</b>",
	  .want = "html: <p>Hello <b>you</b>\ntext: Hello you\n"
		  "text is made: yes" },
	{ "nobody asks for that", M, .lacks = "asks for" },
	{ "text made where the client's is blank",
	  F CT "multipart/alternative; boundary=b\n",
	  "--b\n\n \n" HTML_PART "--b--\n",
	  .want = "text: x\ntext is made: yes" },
	{ "HTML in which is nothing to read", F CT "text/html\n",
	  "<img src=\"https://x.example/a.png\">",
	  .want = "html: <img src=\"https://x.example/a.png\">",
	  .lacks = "text" },
	{ "text only", F CT "text/plain\n", "x",
	  .want = "text: x\nasks for text only: Content-Type",
	  .lacks = "html:" },
	{ "nothing", M, "",
	  .refusal = "550 5.6.0 The message has no HTML or text part to send" },
	{ "a charset nobody knows", F CT "text/html; charset=x-none\n", "\xe9",
	  .refusal = "550 5.6.0 Content-Type: unknown charset \"x-none\"" },
	{ "an attachment", MIXED,
	  HTML_PART "--b\n" CT "application/pdf\nContent-Disposition: "
		    "attachment; filename=a.pdf\n"
		    "Content-Transfer-Encoding: base64\n\nJVBERg==\n--b--\n",
	  .want = "html: <p>x\nfile a.pdf: application/pdf, 4 bytes\n"
		  "asks for attachments: Content-Disposition" },
	{ "an AMP part", F CT "multipart/alternative; boundary=b\n",
	  "--b\n" CT "text/x-amp-html\n\n<html amp4email>\n" HTML_PART
	  "--b--\n",
	  .want = "html: <p>x\namp: <html amp4email>\n"
		  "asks for AMP part: Content-Type" },
	{ "flowed text", F CT "text/plain; format=flowed\n", "a \nb",
	  .want = "text: a \r\nb\ntext is flowed: yes" },
	{ "an image with an id, as Django sends it",
	  F CT "multipart/related; boundary=b\n",
	  "--b\n" CT "text/html\n\n<img src=\"cid:labor_hub_logo\">\n"
	  "--b\n" CT "image/png; name=logo.png\nContent-ID: <labor_hub_logo>\n"
	  "Content-Disposition: inline; filename=logo.png\n\nabcd\n--b--\n",
	  .want = "html: <img src=\"cid:labor_hub_logo\">\n"
		  "file logo.png: image/png, 4 bytes, inline "
		  "labor_hub_logo\n"
		  "asks for inline images: Content-Disposition" },
};

static void
test_body(void **state)
{
	(void)state;
	DIALECT_CHECK_ROWS(&dialect_campaignmonitor, bodies);
}

/* --- addresses and the rest ---------------------------------------------- */

#define R5(x) x "1@x " x "2@x " x "3@x " x "4@x " x "5@x "
#define R24 R5("a") R5("b") R5("c") R5("d") "e1@x e2@x e3@x e4@x"

static const struct dialect_row addresses[] = {
	{ "25 recipients over To, CC and BCC; one more", M,
	  .rcpts = R24 " e5@x e6@x",
	  .refusal = "550 5.5.3 More than 25 recipients; a message can have so "
		     "many" },
	{ "From with a name", M,
	  .want = "from_name: Shop\nfrom_email: shop@example.com" },
	{ "From without a name", "From: shop@example.com\n",
	  .want = "from_name: \nfrom_email: shop@example.com" },
	{ "From, a name in words",
	  "From: =?utf-8?Q?Jos=C3=A9?= <j@example.com>\n",
	  .want = "from_name: Jos\xc3\xa9" },
	{ "From is missing", "To: r@example.com\n",
	  .refusal = "550 5.6.0 From: header missing" },
	{ "From is two", "From: a@x.example, b@x.example\n",
	  .refusal = "550 5.6.0 From: must be one address, without a group" },
	{ "From is not the account's", M, .senders = "other.example",
	  .refusal = "550 5.7.1 From: this account may not send as "
		     "shop@example.com; it may send as: other.example" },
	{ "To with a name", M,
	  .want = "to: r@example.com (Joe)\nto: Joe <r@example.com>" },
	{ "To without a name", F "To: r@example.com\n",
	  .want = "to: r@example.com ()\nto: r@example.com" },
	{ "recipients of To, CC and BCC are of the envelope",
	  F "To: Joe <r@example.com>\nCc: Ann <a@example.com>\n"
	    "Bcc: c@example.com\n",
	  .rcpts = "r@example.com a@example.com c@example.com",
	  .want = "to: r@example.com (Joe)\nto: a@example.com ()\n"
		  "to: c@example.com ()\ncc: Ann <a@example.com>",
	  .lacks = "header Bcc" },
	{ "To that is the one recipient shows nobody else",
	  F "To: Joe <R@example.com>\n", .lacks = "asks for To" },
	{ "nor does a name", F "To: Joe\n", .lacks = "asks for To" },
	{ "nor nobody", F "To: undisclosed-recipients:;\n",
	  .lacks = "asks for To" },
	{ "To shows another", F "To: all@example.com\n",
	  .want = "asks for To and Cc shown: To" },
	{ "To shows two", F "To: r@example.com, a@example.com\n",
	  .want = "asks for To and Cc shown: To" },
	{ "To shows the one to the other", F "To: r@example.com\n",
	  .rcpts = "r@example.com a@example.com",
	  .want = "asks for To and Cc shown: To" },
	{ "Cc is shown", M "Cc: a@example.com\n",
	  .want = "asks for To and Cc shown: Cc" },
	{ "25 recipients", M, .rcpts = R24 " e5@x",
	  .want = "to: a1@x ()\nto: e5@x ()" },
	{ "Subject and Reply-To",
	  F "Subject: =?utf-8?Q?=C3=A9?=\nReply-To: Ann <a@example.com>\n",
	  .want = "subject: \xc3\xa9\nreply_to: Ann <a@example.com>" },
	{ "Message-ID", M "Message-ID: <1@x>\n", .want = "message_id: <1@x>" },
	{ "a Message-ID is not decoded", M "Message-ID: <=?utf-8?Q?1?=@x>\n",
	  .want = "message_id: <=?utf-8?Q?1?=@x>" },
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
	{ "a comma in the name of Reply-To",
	  M "Reply-To: =?utf-8?Q?Doe=2C_Jos=C3=A9?= <j@example.com>\n",
	  .want = "reply_to: \"Doe, Jos\xc3\xa9\" <j@example.com>" },
	{ "Reply-To of several",
	  M "Reply-To: a@example.com,\n B <b@example.com>\n",
	  .want = "reply_to: a@example.com, B <b@example.com>" },
	{ "Reply-To of nobody", M "Reply-To: us:;\n", .want = "reply_to: us:;" },
	{ "Reply-To is empty", M "Reply-To:\n", .lacks = "reply_to" },
	{ "Reply-To, a control character",
	  M "Reply-To: =?utf-8?Q?=01?= <j@example.com>\n",
	  .refusal = "550 5.6.0 Reply-To: holds a control character" },
	{ "other addresses, a comma in their names",
	  M "Sender: =?utf-8?Q?Doe=2C_J=C3=B6?= <d@x>\n"
	    "Resent-From: =?utf-8?Q?Doe=2C_J=C3=B6?= <d@x>\n"
	    "Disposition-Notification-To: =?utf-8?Q?Doe=2C_J=C3=B6?= <d@x>\n",
	  .want = "header Sender: \"Doe, J\xc3\xb6\" <d@x>\n"
		  "header Resent-From: \"Doe, J\xc3\xb6\" <d@x>\n"
		  "header Disposition-Notification-To: \"Doe, J\xc3\xb6\" "
		  "<d@x>" },
	{ "the second of a name is decoded only",
	  M "Resent-To: A <a@x>\n"
	    "Resent-To: =?utf-8?Q?Doe=2C_J=C3=B6?= <d@x>\n",
	  .want = "header Resent-To: A <a@x>\n"
		  "header Resent-To: Doe, J\xc3\xb6 <d@x>" },
	{ "a header that is no text once decoded is as it came",
	  M "X-Bin: =?utf-8?B?AQI=?=\n",
	  .want = "header X-Bin: =?utf-8?B?AQI=?=\n"
		  "asks for other headers: Other headers",
	  .lacks = "asks for odd" },
	{ "a header that is no text at all", M "X-Bin: a\x01z\n",
	  .want = "asks for odd headers: Other headers",
	  .lacks = "header X-Bin" },
	{ "a name that is a template to some", M "X-{{u}}: a\n",
	  .want = "asks for odd headers: Other headers",
	  .lacks = "header X-{" },
	{ "other headers go along", M "X-Other: a\n",
	  .want = "header X-Other: a\n"
		  "asks for other headers: Other headers" },
	{ "control headers do not, foreign ones neither",
	  M GROUP ": a\n" OPENS ": true\n" CLICKS ": true\n" CSS
		  ": true\n" MAILGUN ": a\nX-Mailgun-Campaign-Id: a\n" MAILJET
		  ": a\n" MANDRILL ": a\n" POSTMARK ": a\n" SENDGRID ": {}\n"
		  "X-Flexmail-Tag: a\n",
	  .lacks = "header" },
	{ "the account's route", M, .want = "route_id: r1" },
};

static void
test_addresses(void **state)
{
	(void)state;
	DIALECT_CHECK_ROWS(&dialect_campaignmonitor, addresses);
}

/* --- the table ----------------------------------------------------------- */

static void
test_table(void **state)
{
	static const char *const control[] = {
		GROUP,	 OPENS,	   CLICKS,   CSS,      MAILGUN,
		MAILJET, MANDRILL, POSTMARK, SENDGRID, "X-Mailgun-Campaign-Id",
	};

	(void)state;
	assert_ptr_equal(dialect_find("campaignmonitor"),
			 &dialect_campaignmonitor);
	assert_null(dialect_campaignmonitor.key_header);
	assert_null(dialect_campaignmonitor.route_header);
	assert_int_equal(dialect_campaignmonitor.recipients_max, 25);
	assert_true(dialect_campaignmonitor.keeps_others);
	assert_false(dialect_campaignmonitor.completes_to);
	assert_false(dialect_campaignmonitor.html_only);
	/* The password is enough. */
	assert_null(dialect_campaignmonitor.login);
	for (size_t i = 0; i < sizeof(control) / sizeof(control[0]); i++)
		assert_true(dialect_is_control(control[i]));
	assert_false(dialect_is_control("X-Mailjet-DeduplicateCampaign"));
	assert_false(dialect_is_control("X-PM-Message-Stream"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_group),
		cmocka_unit_test(test_foreign_groups),
		cmocka_unit_test(test_useless_groups),
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_switches),
		cmocka_unit_test(test_body),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, dialect_scene_setup, NULL);
}
