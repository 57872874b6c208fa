/* SPDX-License-Identifier: MIT */
/*
 * What is kept beside the body. Each row is a message and all that comes out of
 * it, as one line:
 *   html[..] or body[..] (text that is the body), text[..], amp[..] with "!"
 *   where it is misplaced, and {name|type|content-id|inline}[..] for each file.
 * Each is fed whole and in pieces of 7, 2 and 1 bytes.
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
#include <dirent.h>
#include <gmime/gmime.h>

#include "policy/dynbuf.h"
#include "policy/trace.h"

#define E_ACUTE "\xc3\xa9"
#define CT "Content-Type: "
#define CTE "Content-Transfer-Encoding: "
#define CD "Content-Disposition: "
#define CI "Content-ID: "
#define NL "\r\n"
#define MIXED CT "multipart/mixed; boundary=b\n"
#define ALTERNATIVE CT "multipart/alternative; boundary=b\n"
#define RELATED CT "multipart/related; boundary=b\n"
/* A part of boundary b, of boundary r, with only a type and with more. */
#define P(type) "--b" NL CT type NL NL
#define R(type) "--r" NL CT type NL NL
#define PH(type, header) "--b" NL CT type NL header NL NL
#define RH(type, header) "--r" NL CT type NL header NL NL
#define END NL "--b--" NL
#define END_R NL "--r--" NL
#define ATTACHED CD "attachment"
#define NAMED(name) CD "attachment; filename=" name

#define ALL (BODY_WANT_TEXT | BODY_WANT_AMP | BODY_WANT_FILES)
#define TEXT BODY_WANT_TEXT
#define AMP BODY_WANT_AMP
#define FILES BODY_WANT_FILES
#define RAW BODY_WANT_RAW

static const size_t steps[] = { 1 << 26, 7, 2, 1 };
#define STEPS (sizeof(steps) / sizeof(steps[0]))

struct row {
	const char *name;
	unsigned wants;
	const char *header; /* "Name: value\n" */
	const char *body;
	const char *want; /* "error: " and a part of body_error() */
};

static const struct row rows[] = {
	/* text beside HTML */
	{ "alternative", ALL, ALTERNATIVE,
	  P("text/plain") "a" NL P("text/html") "<a>" END,
	  "html[<a>] text[a]" },
	{ "alternative, HTML first", ALL, ALTERNATIVE,
	  P("text/html") "<a>" NL P("text/plain") "a" END,
	  "html[<a>] text[a]" },
	{ "text is not wanted", AMP | FILES, ALTERNATIVE,
	  P("text/plain") "a" NL P("text/html") "<a>" END, "html[<a>]" },
	{ "text behind the HTML is not wanted", FILES, ALTERNATIVE,
	  P("text/html") "<a>" NL P("text/plain") "a" END, "html[<a>]" },
	{ "text is all that is wanted", TEXT, ALTERNATIVE,
	  P("text/plain") "a" NL P("text/html") "<a>" NL P(
	      "application/pdf") "z" END,
	  "html[<a>] text[a]" },
	{ "text alone is the body", ALL, CT "text/plain\n", "a", "body[a]" },
	{ "HTML alone", ALL, CT "text/html\n", "<a>", "html[<a>]" },
	{ "nothing", ALL, CT "text/html\n", "", "" },
	{ "blank text", ALL, ALTERNATIVE,
	  P("text/plain") " " NL P("text/html") "<a>" END, "html[<a>]" },
	{ "blank HTML", ALL, ALTERNATIVE,
	  P("text/plain") "a" NL P("text/html") "&" NL P("text/html") " " END,
	  "html[&] text[a]" },
	{ "mixed where alternative is meant", ALL, MIXED,
	  P("text/plain") "a" NL P("text/html") "<a>" END,
	  "html[<a>] text[a]" },
	{ "a footer behind the HTML", ALL, MIXED,
	  P("text/html") "<a>" NL P("text/plain") "-- " NL "list" END,
	  "html[<a>] {attachment-1.txt|text/plain||}[-- " NL "list]" },
	{ "text in another alternative", ALL, MIXED,
	  P("multipart/alternative; boundary=r")
	      R("text/html") "<a>" END_R P("multipart/alternative; boundary=r")
		  R("text/plain") "a" END_R "--b--",
	  "html[<a>] {attachment-1.txt|text/plain||}[a]" },
	{ "text deeper in the alternative", ALL, ALTERNATIVE,
	  P("text/html") "<a>" NL P("multipart/related; boundary=r")
	      R("text/plain") "a" END_R "--b--",
	  "html[<a>] text[a]" },
	{ "the second text", ALL, MIXED,
	  P("text/plain") "a" NL P("text/plain") "b" NL P(
	      "text/html") "<a>" END,
	  "html[<a>] text[a] {attachment-1.txt|text/plain||}[b]" },
	{ "the second HTML", ALL, MIXED,
	  P("text/html") "<a>" NL P("text/html; charset=utf-8") "<b>" END,
	  "html[<a>] {attachment-1.html|text/html; charset=utf-8||}[<b>]" },
	{ "a second text that is blank", ALL, MIXED,
	  P("text/plain") "a" NL P("image/png") "z" NL P("text/plain") NL END,
	  "body[a] {attachment-1.png|image/png||}[z]" },
	{ "an attached text that is blank", ALL, MIXED,
	  P("text/plain") "a" NL PH("text/plain", NAMED("e.txt")) END,
	  "body[a] {e.txt|text/plain||}[]" },
	{ "Apple: text, image, text", ALL, MIXED,
	  P("text/plain") "a" NL PH(
	      "image/png",
	      CD "inline; filename=i.png") "z" NL P("text/plain") "b" END,
	  "body[a] {i.png|image/png||inline}[z] "
	  "{attachment-2.txt|text/plain||}[b]" },
	{ "charsets of both", ALL, ALTERNATIVE,
	  P("text/plain; charset=iso-8859-1") "\xe9" NL P(
	      "text/html; charset=windows-1252") "\x80" END,
	  "html[\xe2\x82\xac] text[" E_ACUTE "]" },
	{ "unknown charset of the text", ALL, ALTERNATIVE,
	  P("text/plain; charset=x-none") "\xe9" NL P("text/html") "<a>" END,
	  "error: Content-Type: unknown charset \"x-none\"" },
	{ "unknown charset of a text that is not wanted", FILES, ALTERNATIVE,
	  P("text/plain; charset=x-none") "\xe9" NL P("text/html") "<a>" END,
	  "html[<a>]" },
	{ "each has its own encoding", ALL, ALTERNATIVE,
	  PH("text/plain", CTE "base64") "YWI" NL PH(
	      "text/html",
	      CTE "quoted-printable") "=3Ca>" NL PH("image/gif",
						    CTE "base64") "enp6" END,
	  "html[<a>] text[ab] {attachment-1.gif|image/gif||}[zzz]" },
	{ "an error behind the HTML matters", ALL, MIXED,
	  P("text/html") "<a>" NL "--b" NL CT "a/b" NL CT "c/d" NL NL "z" END,
	  "error: Content-Type: given twice" },
	{ "and when text is wanted", TEXT, MIXED,
	  P("text/html") "<a>" NL "--b" NL CT "a/b" NL CT "c/d" NL NL "z" END,
	  "error: Content-Type: given twice" },
	{ "but not to the raw bytes", RAW, MIXED,
	  P("text/html") "<a>" NL "--b" NL CT "a/b" NL CT "c/d" NL NL "z" END,
	  "html[<a>]" },

	/* AMP */
	{ "AMP as it must be", ALL, ALTERNATIVE,
	  P("text/plain") "a" NL P("text/x-amp-html") "<amp>" NL P(
	      "text/html") "<a>" END,
	  "html[<a>] text[a] amp[<amp>]" },
	{ "AMP first", ALL, ALTERNATIVE,
	  P("text/x-amp-html") "<amp>" NL P("text/html") "<a>" END,
	  "html[<a>] amp[<amp>]" },
	{ "AMP last, with text only", ALL, ALTERNATIVE,
	  P("text/plain") "a" NL P("text/x-amp-html") "<amp>" END,
	  "body[a] amp[<amp>]" },
	{ "AMP deeper", ALL, ALTERNATIVE,
	  P("text/plain") "a" NL P("multipart/related; boundary=r")
	      R("text/x-amp-html") "<amp>" END_R "--b--",
	  "body[a] amp[<amp>]" },
	{ "AMP beside HTML that is deeper", ALL, ALTERNATIVE,
	  P("text/x-amp-html") "<amp>" NL P("multipart/related; boundary=r")
	      R("text/html") "<a>" END_R "--b--",
	  "html[<a>] amp[<amp>]" },
	{ "AMP in mixed", ALL, MIXED,
	  P("text/x-amp-html") "<amp>" NL P("text/html") "<a>" END,
	  "html[<a>] amp[<amp>]!" },
	{ "AMP alone", ALL, CT "text/x-amp-html\n", "<amp>", "amp[<amp>]!" },
	{ "AMP alone in its alternative", ALL, MIXED,
	  P("multipart/alternative; boundary=r")
	      R("text/x-amp-html") "<amp>" END_R P("text/html") "<a>" END,
	  "html[<a>] amp[<amp>]!" },
	{ "AMP in the alternative after that of the HTML", ALL, MIXED,
	  P("multipart/alternative; boundary=r")
	      R("text/html") "<a>" END_R P("multipart/alternative; boundary=r")
		  R("text/x-amp-html") "<amp>" END_R "--b--",
	  "html[<a>] amp[<amp>]!" },
	{ "attached text is nothing beside AMP", ALL, ALTERNATIVE,
	  P("text/x-amp-html") "<amp>" NL PH("text/plain", NAMED("x")) "a" END,
	  "amp[<amp>]! {x|text/plain||}[a]" },
	{ "blank AMP", ALL, ALTERNATIVE,
	  P("text/x-amp-html") " " NL P("text/html") "<a>" END, "html[<a>]" },
	{ "the second AMP", ALL, ALTERNATIVE,
	  P("text/html") "<a>" NL P("text/x-amp-html") "1" NL P(
	      "text/x-amp-html") "2" END,
	  "html[<a>] amp[1] {attachment-1.html|text/x-amp-html||}[2]" },
	{ "a second AMP that is blank", ALL, ALTERNATIVE,
	  P("text/html") "<a>" NL P("text/x-amp-html") "1" NL P(
	      "text/x-amp-html") " " END,
	  "html[<a>] amp[1]" },
	{ "attached AMP", ALL, ALTERNATIVE,
	  P("text/html") "<a>" NL PH("text/x-amp-html", NAMED("x")) "1" END,
	  "html[<a>] {x|text/x-amp-html||}[1]" },
	{ "AMP is not wanted", FILES, ALTERNATIVE,
	  P("text/html") "<a>" NL P("text/x-amp-html") "1" END,
	  "html[<a>] {attachment-1.html|text/x-amp-html||}[1]" },
	{ "AMP is not wanted, nor files", TEXT, ALTERNATIVE,
	  P("text/html") "<a>" NL P("text/x-amp-html") "1" END, "html[<a>]" },
	{ "charset of AMP", ALL, ALTERNATIVE,
	  P("text/html") "<a>" NL P(
	      "text/x-amp-html; charset=iso-8859-1") "\xe9" END,
	  "html[<a>] amp[" E_ACUTE "]" },
	{ "unknown charset of AMP", ALL, ALTERNATIVE,
	  P("text/html") "<a>" NL P(
	      "text/x-amp-html; charset=x-none") "\xe9" END,
	  "error: Content-Type: unknown charset \"x-none\"" },

	/* files */
	{ "attachments", ALL, MIXED,
	  P("text/plain") "a" NL PH("application/pdf", NAMED("a.pdf")) "%PDF" NL
	      PH("text/html", NAMED("b.html")) "<b>" END,
	  "body[a] {a.pdf|application/pdf||}[%PDF] {b.html|text/html||}[<b>]" },
	{ "files are not wanted", TEXT | AMP, MIXED,
	  P("text/html") "<a>" NL PH("application/pdf",
				     NAMED("a.pdf")) "%PDF" END,
	  "html[<a>]" },
	{ "the message is a file", ALL,
	  CT "application/pdf; name=a.pdf\n" CTE "base64\n", "JVBERg==" NL,
	  "{a.pdf|application/pdf||}[%PDF]" },
	{ "the message is attached", ALL, CT "text/html\n" ATTACHED "\n", "<a>",
	  "{attachment-1.html|text/html||}[<a>]" },
	{ "all that is in an attached multipart", ALL, MIXED,
	  P("text/plain") "a" NL PH("multipart/alternative; boundary=r",
				    ATTACHED)
	      R("text/plain") "b" NL R("text/html") "<b>" END_R "--b--",
	  "body[a] {attachment-1.txt|text/plain||}[b] "
	  "{attachment-2.html|text/html||}[<b>]" },
	{ "an attached message", ALL, MIXED,
	  P("text/plain") "a" NL P(
	      "message/rfc822") "Subject: x" NL CT "text/html" NL NL "<b>" END,
	  "body[a] {attachment-1.eml|message/rfc822||}[Subject: x" NL CT
	  "text/html" NL NL "<b>]" },
	{ "an attached multipart message", ALL, MIXED,
	  P("message/rfc822") CT "multipart/mixed; boundary=r" NL NL R(
	      "text/html") "<b>" END_R P("text/plain") "a" END,
	  "body[a] {attachment-1.eml|message/rfc822||}[" CT
	  "multipart/mixed; boundary=r" NL NL R("text/html") "<b>" NL
							     "--r--]" },
	{ "a digest", ALL, CT "multipart/digest; boundary=b\n",
	  "--b" NL NL "Subject: x" NL NL "a" END,
	  "{attachment-1.eml|message/rfc822||}[Subject: x" NL NL "a]" },
	{ "a calendar", ALL, ALTERNATIVE,
	  P("text/plain") "a" NL P("text/calendar; method=REQUEST; "
				   "charset=utf-8") "BEGIN:VCALENDAR" END,
	  "body[a] {attachment-1.ics|text/calendar; charset=utf-8; "
	  "method=REQUEST||}[BEGIN:VCALENDAR]" },
	{ "text of a file stays in its charset", ALL, MIXED,
	  P("text/html") "<a>" NL PH("text/csv; charset=iso-8859-1",
				     NAMED("a.csv")) "\xe9" END,
	  "html[<a>] {a.csv|text/csv; charset=iso-8859-1||}[\xe9]" },
	{ "a charset that is no token", ALL, MIXED,
	  P("text/csv; charset=\"x y\"") "1" END,
	  "{attachment-1.csv|text/csv||}[1]" },
	{ "a type that is none", ALL, MIXED, P("pdf") "1" END,
	  "{attachment-1.bin|application/octet-stream||}[1]" },
	{ "a type with 8-bit letters", ALL, MIXED, P("a\xe9/b\xe9") "1" END,
	  "{attachment-1.bin|application/octet-stream||}[1]" },
	{ "an unknown type", ALL, MIXED, P("x/Y") "1" END,
	  "{attachment-1.bin|x/y||}[1]" },
	{ "an unknown text", ALL, MIXED, P("text/css") "1" END,
	  "{attachment-1.txt|text/css||}[1]" },
	{ "numbers are those of the files", ALL, MIXED,
	  PH("image/png", NAMED("x.png")) "1" NL P("image/png") "2" NL P(
	      "image/jpeg") "3" END,
	  "{x.png|image/png||}[1] {attachment-2.png|image/png||}[2] "
	  "{attachment-3.jpg|image/jpeg||}[3]" },
	{ "signed", ALL, CT "multipart/signed; boundary=b; protocol=x\n",
	  P("text/plain") "a" NL P("application/pgp-signature") "z" END,
	  "body[a] {attachment-1.asc|application/pgp-signature||}[z]" },
	{ "base64 without its padding, and what follows", ALL, MIXED,
	  PH("a/b", CTE "base64") "YWI" NL PH("a/b", CTE "base64") "YWI=" END,
	  "{attachment-1.bin|a/b||}[ab] {attachment-2.bin|a/b||}[ab]" },
	{ "base64 in pieces, each padded", ALL, MIXED,
	  PH("a/b", CTE "base64") "YQ==YmM=" NL "==" NL "ZGVmZw==" END,
	  "{attachment-1.bin|a/b||}[abcdefg]" },
	{ "base64, half a padding in the middle", ALL, MIXED,
	  PH("a/b", CTE "base64") "YQ=" NL "ZGVm" END,
	  "{attachment-1.bin|a/b||}[adef]" },
	{ "base64, and then something else", ALL, MIXED,
	  PH("a/b", CTE "base64") "YQ==" NL NL "-- " NL "a footer ZGVm" END,
	  "{attachment-1.bin|a/b||}[a]" },
	{ "and the next part is read from its beginning", ALL, MIXED,
	  PH("a/b", CTE "base64") "YQ== #" NL PH(
	      "a/b", CTE "base64") "!YWI=" NL PH("a/b",
						 CTE "base64") "#YWJj" END,
	  "{attachment-1.bin|a/b||}[a] {attachment-2.bin|a/b||}[ab] "
	  "{attachment-3.bin|a/b||}[abc]" },
	{ "base64 with garbage in it", ALL, MIXED,
	  PH("a/b", CTE "base64") "Y!WJ-j" NL "_ZGVm" END,
	  "{attachment-1.bin|a/b||}[abcdef]" },
	{ "base64 with a letter too many", ALL, MIXED,
	  PH("a/b", CTE "base64") "YWJjZ" END,
	  "{attachment-1.bin|a/b||}[abc]" },
	{ "only padding", ALL, MIXED, PH("a/b", CTE "base64") "====" END,
	  "{attachment-1.bin|a/b||}[]" },
	{ "a line in the header that is none", ALL, MIXED,
	  P("text/html") "<a>" NL "--b" NL CT "a/b;" NL "name=x" NL CTE
			 "base64" NL NL "YWJj" END,
	  "error: header has a line that is no header" },
	{ "no header, only text", ALL, MIXED,
	  P("text/html") "<a>" NL "--b" NL "hello you" END,
	  "html[<a>] {attachment-1.txt|text/plain||}[hello you]" },
	{ "8 bit", ALL, MIXED, PH("a/b", CTE "binary") "\xff\x01\r\r" NL END,
	  "{attachment-1.bin|a/b||}[\xff\x01\r\r\r\n]" },
	{ "no end", ALL, MIXED, P("a/b") "1" NL,
	  "{attachment-1.bin|a/b||}[1" NL "]" },
	{ "an unknown encoding", ALL, MIXED,
	  P("text/html") "<a>" NL PH("a/b", CTE "x-uuencode") "1" END,
	  "error: Content-Transfer-Encoding: not a known encoding" },
	{ "an unknown encoding of the text", ALL, ALTERNATIVE,
	  PH("text/plain", CTE "x-uuencode") "1" NL P("text/html") "<a>" END,
	  "error: Content-Transfer-Encoding: not a known encoding" },
	{ "an unknown encoding where no files are wanted", TEXT, ALTERNATIVE,
	  PH("text/plain", CTE "x-uuencode") "1" NL P("text/html") "<a>" END,
	  "html[<a>]" },
	{ "a multipart without a boundary", ALL, MIXED,
	  P("text/html") "<a>" NL P("multipart/mixed") "1" END,
	  "error: multipart without a boundary" },
	{ "a multipart without a boundary, no files", TEXT, MIXED,
	  P("text/html") "<a>" NL P("multipart/mixed") "1" END, "html[<a>]" },
	{ "a boundary that does not occur", ALL, MIXED,
	  P("text/html") "<a>" NL P("multipart/mixed; boundary=q") "1" END,
	  "error: boundary does not occur" },
	{ "and in the message", ALL, MIXED, "hello" NL,
	  "error: boundary does not occur" },
	{ "an empty multipart", ALL, MIXED,
	  P("text/html") "<a>" NL P("multipart/mixed; boundary=q") NL END,
	  "html[<a>]" },
	{ "preamble and epilogue", ALL, MIXED,
	  "hello" NL P("text/html") "<a>" END "bye" NL "--b" NL NL "x",
	  "html[<a>]" },

	/* texts that have a name */
	{ "a log before the HTML, inline", ALL, MIXED,
	  PH("text/plain",
	     CD "inline; filename=log.txt") "1" NL P("text/html") "<a>" END,
	  "html[<a>] {log.txt|text/plain||}[1]" },
	{ "a named HTML behind the text", ALL, MIXED,
	  P("text/plain") "a" NL P("text/html; name=r.html") "<r>" END,
	  "body[a] {r.html|text/html||}[<r>]" },
	{ "a named HTML before the HTML", ALL, MIXED,
	  P("text/html; name=r.html") "<r>" NL P("text/html") "<a>" END,
	  "html[<a>] {r.html|text/html||}[<r>]" },
	{ "all have a name: HTML", ALL, MIXED,
	  P("text/plain; name=a.txt") "a" NL
	      P("text/html; name=b.html") "<b>" NL P(
		  "image/png; name=c.png") "c" END,
	  "html[<b>] {a.txt|text/plain||}[a] {c.png|image/png||}[c]" },
	{ "all have a name: the first text", ALL, MIXED,
	  P("text/plain; name=a.txt") "a" NL P(
	      "text/plain; name=b.txt") "b" END,
	  "body[a] {b.txt|text/plain||}[b]" },
	{ "a message with a name", ALL, CT "text/html; name=a.html\n", "<a>",
	  "html[<a>]" },
	{ "beside a blank one", ALL, MIXED,
	  P("text/plain") " " NL P("text/html; name=a.html") "<a>" END,
	  "html[<a>]" },
	{ "a named one that is blank", ALL, MIXED,
	  P("text/plain; name=a.txt") " " NL P("text/html; name=b") "<b>" END,
	  "html[<b>]" },
	{ "names within an alternative", ALL, ALTERNATIVE,
	  P("text/plain; name=a.txt") "a" NL P(
	      "text/html; name=b.html") "<b>" END,
	  "html[<b>] text[a]" },
	{ "names within related", ALL, RELATED,
	  P("text/html; name=b.html") "<b>" NL PH("image/png",
						  CI "<1>") "1" END,
	  "html[<b>] {attachment-1.png|image/png|1|inline}[1]" },
	{ "without files a name says nothing", TEXT, MIXED,
	  P("text/plain") "a" NL P("text/html; name=r.html") "<r>" END,
	  "html[<r>] text[a]" },
	{ "a named text, its charset and its encoding", ALL, MIXED,
	  PH("text/plain; charset=iso-8859-1; name=a", CTE "base64") "6Q==" END,
	  "body[" E_ACUTE "]" },
	{ "an unknown charset of a named text that is a file", ALL, MIXED,
	  P("text/plain; charset=x-none; name=a") "\xe9" NL P(
	      "text/html") "<a>" END,
	  "html[<a>] {a|text/plain; charset=x-none||}[\xe9]" },
	{ "and of one that is the body", ALL, MIXED,
	  P("text/html; charset=x-none; name=a") "\xe9" END,
	  "error: Content-Type: unknown charset \"x-none\"" },

	/* shown within the message */
	{ "related", ALL, RELATED,
	  P("text/html") "<a>" NL PH("image/png", CI "<i@x>") "1" END,
	  "html[<a>] {attachment-1.png|image/png|i@x|inline}[1]" },
	{ "related, attached", ALL, RELATED,
	  P("text/html") "<a>" NL PH("image/png",
				     CI "<i@x>" NL NAMED("i.png")) "1" END,
	  "html[<a>] {i.png|image/png|i@x|inline}[1]" },
	{ "related, without an id", ALL, RELATED,
	  P("text/html") "<a>" NL P("image/png") "1" END,
	  "html[<a>] {attachment-1.png|image/png||}[1]" },
	{ "related is further up", ALL, RELATED,
	  P("multipart/mixed; boundary=r") R("text/html") "<a>" NL RH(
	      "image/png", CI "<i@x>") "1" END_R "--b--",
	  "html[<a>] {attachment-1.png|image/png|i@x|inline}[1]" },
	{ "beside related", ALL, MIXED,
	  P("multipart/related; boundary=r")
	      R("text/html") "<a>" END_R PH("image/png", CI "<i@x>") "1" END,
	  "html[<a>] {attachment-1.png|image/png|i@x|}[1]" },
	{ "disposition inline", ALL, MIXED,
	  P("text/html") "<a>" NL PH("image/png",
				     CD "INLINE; filename=i.png") "1" END,
	  "html[<a>] {i.png|image/png||inline}[1]" },
	{ "disposition inline, text", ALL, MIXED,
	  P("text/html") "<a>" NL PH("text/csv",
				     CD "inline; filename=i.csv") "1" END,
	  "html[<a>] {i.csv|text/csv||}[1]" },
	{ "disposition inline within an attached multipart", ALL, MIXED,
	  P("text/html") "<a>" NL PH("multipart/mixed; boundary=r", ATTACHED)
	      RH("image/png", CD "inline") "1" END_R "--b--",
	  "html[<a>] {attachment-1.png|image/png||inline}[1]" },
	{ "an id without brackets", ALL, RELATED,
	  PH("image/png", CI "i@x ") "1" END,
	  "{attachment-1.png|image/png|i@x|inline}[1]" },
	{ "an id with separators", ALL, RELATED,
	  PH("image/png", CI "<a/b\\c@x>") "1" END,
	  "{attachment-1.png|image/png|a/b\\c@x|inline}[1]" },
	{ "an empty id", ALL, RELATED, PH("image/png", CI "<>") "1" END,
	  "{attachment-1.png|image/png||}[1]" },
	{ "an id with control characters", ALL, RELATED,
	  PH("image/png", CI "<i\x01@\xffx>") "1" END,
	  "{attachment-1.png|image/png|i@x|inline}[1]" },
	{ "two ids: the first", ALL, RELATED,
	  PH("image/png", CI "<1>" NL CI "<2>") "1" END,
	  "{attachment-1.png|image/png|1|inline}[1]" },
	{ "a folded id", ALL, RELATED, PH("image/png", CI NL " <1>") "1" END,
	  "{attachment-1.png|image/png|1|inline}[1]" },

	/* names; how they are decoded is test_mime_parameter's */
	{ "filename before name", ALL, MIXED,
	  PH("a/b; name=n", CD "attachment; filename=f") "1" END,
	  "{f|a/b||}[1]" },
	{ "name", ALL, MIXED, PH("a/b; name=\"n m\"", ATTACHED) "1" END,
	  "{n m|a/b||}[1]" },
	{ "an empty filename", ALL, MIXED,
	  PH("a/b; name=n", CD "attachment; filename=\"\"") "1" END,
	  "{n|a/b||}[1]" },
	{ "nodemailer", ALL, MIXED,
	  "--b" NL CT "application/pdf; name=\"=?UTF-8?Q?=C3=A9=2Epdf?=\"" NL CD
	  "attachment; filename*0*=utf-8''%C3%A9;" NL
	  " filename*1*=%2Epdf" NL NL "1" END,
	  "{" E_ACUTE ".pdf|application/pdf||}[1]" },
	{ "a path", ALL, MIXED, PH("a/b", NAMED("../../etc/passwd")) "1" END,
	  "{.._.._etc_passwd|a/b||}[1]" },
	{ "a path of the other kind", ALL, MIXED,
	  PH("a/b", NAMED("\"C:\\dir\\x\"")) "1" END, "{C:_dir_x|a/b||}[1]" },
	{ "a directory", ALL, MIXED, PH("a/b", NAMED("..")) "1" END,
	  "{attachment-1.bin|a/b||}[1]" },
	{ "control characters", ALL, MIXED,
	  PH("a/b",
	     CD "attachment; filename*=utf-8''a%0D%0Ab%7F%C2%85%09c") "1" END,
	  "{ab c|a/b||}[1]" },
	{ "what turns the writing round, and what is not seen", ALL, MIXED,
	  PH("a/b", CD "attachment; filename*=utf-8''%E2%80%AEfdp.exe%E2%80%8B"
		       "%E2%81%A6x%E2%80%AA") "1" END,
	  "{fdp.exex|a/b||}[1]" },
	{ "what joins letters stays", ALL, MIXED,
	  PH("a/b", CD "attachment; filename*=utf-8''a%E2%80%8Db") "1" END,
	  "{a\xe2\x80\x8d"
	  "b|a/b||}[1]" },
	{ "only control characters", ALL, MIXED,
	  PH("a/b", CD "attachment; filename*=utf-8''%0D%0A%20") "1" END,
	  "{attachment-1.bin|a/b||}[1]" },
	{ "blanks around it", ALL, MIXED, PH("a/b", NAMED("\"  a \"")) "1" END,
	  "{a|a/b||}[1]" },

	/* structure */
	{ "related in alternative in mixed", ALL, MIXED,
	  P("multipart/alternative; boundary=a") "--a" NL CT "text/plain" NL
	      NL "t" NL "--a" NL CT "multipart/related; boundary=r" NL NL R(
		  "text/html") "<h>" NL RH("image/png",
					   CI "<1>" NL CTE
					      "base64") "enp6" END_R "--a--" NL
		  PH("application/pdf", NAMED("a.pdf")) "p" END,
	  "html[<h>] text[t] {attachment-1.png|image/png|1|inline}[zzz] "
	  "{a.pdf|application/pdf||}[p]" },
	{ "bare LF", ALL, MIXED,
	  "--b\n" CT "text/html\n\n<a>\n<b>\n--b\n" CT "a/b\n\n1\n2\n\n--b--\n",
	  "html[<a>\n<b>] {attachment-1.bin|a/b||}[1\n2\n]" },
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

		assert_non_null(n);
		body_header(b, n, value, len);
		free(n);
		header = value + len + 1;
	}
}

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

static void
show_part(struct dynbuf *out, const char *what, char *text, size_t len)
{
	if (text == NULL)
		return;
	dynbuf_addf(out, "%s%s[", out->len > 0 ? " " : "", what);
	dynbuf_add(out, text, len);
	dynbuf_adds(out, "]");
	free(text);
}

static void
show_files(struct dynbuf *out, struct body *b)
{
	struct body_file *files;
	struct body_counts c;
	size_t n = body_take_files(b, &files);

	body_counts(b, &c);
	assert_int_equal(c.files, n);
	for (size_t i = 0; i < n; i++) {
		const struct body_file *f = &files[i];

		dynbuf_addf(out, "%s{%s|%s|%s|%s}[", out->len > 0 ? " " : "",
			    f->name, f->type,
			    f->content_id != NULL ? f->content_id : "",
			    f->is_inline ? "inline" : "");
		dynbuf_add(out, f->data, f->len);
		dynbuf_adds(out, "]");
		assert_int_equal(f->data[f->len], '\0');
	}
	body_files_free(&files, n);
	assert_null(files);
	assert_int_equal(body_take_files(b, &files), 0);
	free(files);
}

/* All that comes out of it, after body_end(). */
static void
show(struct dynbuf *out, struct body *b)
{
	char *text;
	size_t len;
	enum body_kind kind = body_end(b, &text, &len);

	if (body_error(b) != NULL) {
		assert_int_equal(kind, BODY_NONE);
		return;
	}
	show_part(out, kind == BODY_HTML ? "html" : "body", text, len);
	text = body_take_text(b, &len);
	show_part(out, "text", text, len);
	text = body_take_amp(b, &len);
	show_part(out, "amp", text, len);
	if (body_amp_misplaced(b))
		dynbuf_adds(out, "!");
	assert_null(body_take_text(b, &len));
	assert_null(body_take_amp(b, &len));
	show_files(out, b);
}

static struct body *
open_body(unsigned wants, const char *header)
{
	struct body *b = body_new();

	give_header(b, header);
	body_want(b, wants);
	return b;
}

static bool
check_row(const struct row *r, size_t step, unsigned more)
{
	struct body *b = open_body(r->wants | more, r->header);
	DYNBUF_AUTO out;
	const char *error;
	bool ok;

	dynbuf_init(&out, 1 << 20);
	(void)feed(b, r->body, strlen(r->body), step);
	show(&out, b);
	error = body_error(b);
	if (strncmp(r->want, "error: ", 7) == 0)
		ok = error != NULL && strstr(error, r->want + 7) != NULL;
	else
		ok = error == NULL && strcmp(dynbuf_str(&out), r->want) == 0;
	if (!ok || body_too_large(b))
		printf("%s (step %zu): %s, error %s\n", r->name, step,
		       dynbuf_str(&out), error);
	body_free(&b);
	return ok;
}

static void
test_rows(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool ok = true;

		for (size_t k = 0; k < STEPS && ok; k++)
			ok = check_row(&rows[i], steps[k], 0) &&
			     check_row(&rows[i], steps[k], RAW);
		bad += !ok;
	}
	assert_int_equal(bad, 0);
}

/* --- what is needed in the end -------------------------------------------- */

static void
show_all(const struct row *r, unsigned wants, unsigned needs, size_t step,
	 struct dynbuf *out)
{
	struct body *b = open_body(wants, r->header);
	struct body_place place;

	dynbuf_init(out, 1 << 20);
	(void)feed(b, r->body, strlen(r->body), step);
	body_need(b, needs);
	show(out, b);
	if (body_error(b) != NULL)
		dynbuf_addf(out, " error %s", body_error(b));
	else if (body_place(b, &place))
		dynbuf_addf(out, " at %zu %zu %zu, whole %d", place.begin,
			    place.content, place.end, body_is_whole(b));
	body_free(&b);
}

/* Whoever needs less gets what he would have got. */
static void
test_needs(void **state)
{
	static const unsigned needs[] = { 0, TEXT, ALL, RAW };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t k = 0; k < 4 * STEPS; k++) {
			DYNBUF_AUTO all;
			DYNBUF_AUTO only;

			show_all(&rows[i], ALL | RAW, needs[k / STEPS],
				 steps[k % STEPS], &all);
			show_all(&rows[i], needs[k / STEPS], needs[k / STEPS],
				 steps[k % STEPS], &only);
			if (strcmp(dynbuf_str(&all), dynbuf_str(&only)) != 0)
				fail_msg("%s, needs %u: %s; not %s",
					 rows[i].name, needs[k / STEPS],
					 dynbuf_str(&all), dynbuf_str(&only));
		}
	}
}

/* --- when reading may stop ------------------------------------------------ */

static void
test_status(void **state)
{
	static const char html_over[] = P("text/html") "<a>" NL "--b" NL;
	static const char all_over[] = P("text/html") "<a>" END;
	static const char bad[] =
	    P("text/html") "<a>" NL PH("a/b", CTE "x") "1";
	/* The HTML part may come yet, and be all that is needed. */
	static const char bad_first[] = PH("a/b", CTE "x") "1";
	static const struct {
		unsigned wants;
		const char *body;
		enum body_status want;
	} v[] = {
		{ 0, html_over, BODY_DONE },
		{ TEXT, html_over, BODY_MORE },
		{ AMP, html_over, BODY_MORE },
		{ FILES, html_over, BODY_MORE },
		{ RAW, html_over, BODY_MORE },
		{ ALL, all_over, BODY_DONE },
		{ RAW, all_over, BODY_MORE },
		{ ALL | RAW, all_over, BODY_MORE },
		{ FILES, bad, BODY_ERROR },
		{ RAW | FILES, bad, BODY_ERROR },
		{ RAW, bad, BODY_MORE },
		{ FILES, bad_first, BODY_MORE },
		{ RAW | FILES, bad_first, BODY_MORE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct body *b = open_body(v[i].wants, MIXED);
		enum body_status got =
		    feed(b, v[i].body, strlen(v[i].body), 100);

		if (got != v[i].want)
			fail_msg("row %zu: %d", i, (int)got);
		if (body_feed(b, "x\r\n", 3) != v[i].want)
			fail_msg("row %zu: changed its mind", i);
		body_free(&b);
	}
}

/* --- names and ids that are too long -------------------------------------- */

static void
name_of(const char *name, size_t len, char *name_r, const char *ending)
{
	struct body *b = open_body(FILES, CT "a/b\n");
	struct body_file *files;
	DYNBUF_AUTO header;
	char *text;
	size_t n;

	dynbuf_init(&header, 4096);
	dynbuf_adds(&header, CD "attachment; filename*=utf-8''");
	while (len-- > 0)
		dynbuf_adds(&header, name);
	dynbuf_addf(&header, "%s\n", ending);
	give_header(b, header.data);
	assert_int_equal(body_end(b, &text, &n), BODY_NONE);
	assert_null(body_error(b));
	assert_int_equal(body_take_files(b, &files), 1);
	assert_true(strlen(files[0].name) <= BODY_FILE_NAME_MAX);
	(void)snprintf(name_r, BODY_FILE_NAME_MAX + 1, "%s", files[0].name);
	body_files_free(&files, 1);
	body_free(&b);
}

static void
test_long_names(void **state)
{
	static const struct {
		const char *name;
		size_t times;
		const char *ending;
		size_t want;
		const char *want_end;
	} v[] = {
		{ "a", 255, "", 255, "aaa" },
		{ "a", 256, "", 255, "aaa" },
		{ "a", 251, ".pdf", 255, "a.pdf" },
		{ "a", 252, ".pdf", 255, "a.pdf" },
		{ "a", 900, ".exe", 255, "a.exe" },
		/* No character is cut. */
		{ "%C3%A9", 128, "", 254, E_ACUTE },
		{ "%C3%A9", 128, ".pdf", 254, E_ACUTE ".pdf" },
		{ "%F0%9F%93%8E", 64, "", 252, "\xf0\x9f\x93\x8e" },
		/* An ending of that length is none. */
		{ "a", 250, ".bbbbbbbbbbbbbbbbbbbb", 255, ".bbbb" },
		{ "a", 260, ".bbbbbbbbbbbbbbbbbbbb", 255, "aaaa" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		char got[BODY_FILE_NAME_MAX + 1];
		size_t len;

		name_of(v[i].name, v[i].times, got, v[i].ending);
		len = strlen(got);
		if (len != v[i].want ||
		    strcmp(got + len - strlen(v[i].want_end), v[i].want_end))
			fail_msg("row %zu: %zu bytes, %s", i, len, got);
	}
}

static void
test_long_ids(void **state)
{
	(void)state;
	for (size_t len = BODY_CONTENT_ID_MAX; len <= BODY_CONTENT_ID_MAX + 1;
	     len++) {
		struct body *b = open_body(FILES, CT "a/b\n");
		char header[BODY_CONTENT_ID_MAX + 64];
		char *text;
		size_t n;

		(void)snprintf(header, sizeof(header), CI "<%0*d>\n", (int)len,
			       1);
		give_header(b, header);
		(void)body_end(b, &text, &n);
		assert_int_equal(body_error(b) != NULL,
				 len > BODY_CONTENT_ID_MAX);
		if (body_error(b) != NULL)
			assert_string_equal(
			    body_error(b), "Content-ID: longer than 255 bytes");
		assert_false(body_too_large(b));
		body_free(&b);
	}
}

/* --- bounds --------------------------------------------------------------- */

static void
feed_many(struct body *b, const char *unit, size_t n)
{
	static char chunk[65536];
	size_t len = strlen(unit);
	size_t at = 0;

	while (at + len <= sizeof(chunk)) {
		memcpy(chunk + at, unit, len);
		at += len;
	}
	for (n *= len; n > 0; n -= at) {
		at = n < at ? n : at;
		(void)body_feed(b, chunk, at);
	}
}

static void
check_bound(struct body *b, bool over, const char *error)
{
	char *text;
	size_t len;

	(void)body_end(b, &text, &len);
	free(text);
	if (over != body_too_large(b) || over != (body_error(b) != NULL) ||
	    (over && strcmp(body_error(b), error) != 0))
		fail_msg("over %d: %s", over, body_error(b));
	body_free(&b);
}

static void
test_files_bound(void **state)
{
	static const char error[] =
	    "The attachments together are larger than 20971520 bytes";
	static const char first[] = PH("a/b", CTE "base64");
	static const char next[] = NL P("a/b");

	(void)state;
	for (size_t over = 0; over <= 1; over++) {
		struct body *b = open_body(FILES, MIXED);

		(void)feed(b, first, strlen(first), 100);
		feed_many(b, "YWFh", BODY_FILES_MAX / 6);
		(void)feed(b, next, strlen(next), 100);
		feed_many(b, "a",
			  BODY_FILES_MAX - BODY_FILES_MAX / 6 * 3 + over);
		check_bound(b, over, error);
	}
}

/* Who needs neither files nor the bytes gets the text all the same. */
static void
test_bounds_that_do_not_matter(void **state)
{
	static const char head[] = P("a/b");
	static const char tail[] = NL P("text/html") "<a>" END;
	static const size_t sizes[] = { BODY_FILES_MAX + 1, BODY_RAW_MAX };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct body *b = open_body(ALL | RAW, MIXED);
		char *text;
		size_t len;

		(void)feed(b, head, strlen(head), 100);
		feed_many(b, "a", sizes[i]);
		(void)feed(b, tail, strlen(tail), 100);
		assert_true(body_too_large(b));
		body_need(b, 0);
		assert_false(body_too_large(b));
		assert_int_equal(body_end(b, &text, &len), BODY_HTML);
		assert_string_equal(text, "<a>");
		assert_null(body_error(b));
		assert_null(body_raw(b, &len));
		assert_int_equal(len, 0);
		free(text);
		body_free(&b);
	}
}

/* Files are all there: only the bytes are not. */
static void
test_only_the_bytes_are_too_many(void **state)
{
	static const char first[] = P("text/html") "<a>" NL;
	static const char last[] = NL P("c/d") "z" END;
	struct body *b = open_body(ALL | RAW, MIXED);
	struct body_file *files;
	char *text;
	size_t len;

	(void)state;
	feed_many(b, "preamble\r\n", BODY_RAW_MAX / 10 + 1);
	assert_int_equal(feed(b, first, strlen(first), 100), BODY_MORE);
	assert_int_equal(feed(b, last, strlen(last), 100), BODY_MORE);
	body_need(b, ALL);
	assert_int_equal(body_end(b, &text, &len), BODY_HTML);
	assert_int_equal(body_take_files(b, &files), 1);
	assert_null(body_raw(b, &len));
	body_files_free(&files, 1);
	free(text);
	body_free(&b);
}

static void
test_text_bounds(void **state)
{
	static const char *const types[] = { "text/plain", "text/x-amp-html" };
	static const char error[] =
	    "The message text is larger than 10240000 bytes";

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct body *b = open_body(ALL, ALTERNATIVE);
		char part[200];

		(void)snprintf(part, sizeof(part),
			       P("text/html") "<a>" NL "%s"
					      "%s" NL NL,
			       "--b" NL CT, types[i / 2]);
		(void)feed(b, part, strlen(part), 100);
		feed_many(b, "a", BODY_KEPT_MAX + i % 2);
		check_bound(b, i % 2 == 1, error);
	}
}

/* Neither files nor raw bytes are kept where only one is wanted. */
static void
test_raw_bound(void **state)
{
	static const char error[] =
	    "The message body is larger than 52428800 bytes";

	(void)state;
	for (size_t over = 0; over <= 1; over++) {
		struct body *b = open_body(RAW, CT "application/pdf\n");
		size_t len;

		feed_many(b, "a", BODY_RAW_MAX + over);
		(void)body_raw(b, &len);
		assert_int_equal(over == 0 ? len : BODY_RAW_MAX, BODY_RAW_MAX);
		check_bound(b, over, error);
	}
}

/* --- places --------------------------------------------------------------- */

static const struct {
	const char *name;
	const char *header;
	const char *body;
	/* The header block and what it holds; NULL: there is no such place. */
	const char *block;
	const char *content;
	bool is_message;
	bool in_alternative;
} places[] = {
	{ "the message", CT "text/html\n", "<a>" NL, "", "<a>" NL, true,
	  false },
	{ "the message, text", CT "text/plain\n", "a" NL "--b--", "",
	  "a" NL "--b--", true, false },
	{ "in mixed", MIXED, "pre" NL P("text/html") "<a>" NL END,
	  CT "text/html" NL NL, "<a>" NL, false, false },
	{ "in alternative", ALTERNATIVE,
	  P("text/plain") "a" NL P("text/html") "<a>" NL P("a/b") "1" END,
	  CT "text/html" NL NL, "<a>", false, true },
	{ "text, where there is no HTML", MIXED,
	  P("a/b") "1" NL P("text/plain") "a" NL P("a/b") "1" END,
	  CT "text/plain" NL NL, "a", false, false },
	{ "HTML, where text is first", MIXED,
	  P("text/plain") "a" NL P("text/html") "<a>" END, CT "text/html" NL NL,
	  "<a>", false, false },
	{ "behind blank HTML", MIXED,
	  P("text/html") NL NL P("text/html; x=y") "<a>" END,
	  CT "text/html; x=y" NL NL, "<a>", false, false },
	{ "bare LF", MIXED, "--b\n" CT "text/html\n\n<a>\n\n--b--\n",
	  CT "text/html\n\n", "<a>\n", false, false },
	{ "no end", MIXED, P("text/html") "<a>" NL, CT "text/html" NL NL,
	  "<a>" NL, false, false },
	{ "ended by the outer boundary", MIXED,
	  P("multipart/alternative; boundary=r") R("text/html") "<a>" END,
	  CT "text/html" NL NL, "<a>", false, true },
	{ "nested", MIXED,
	  P("multipart/related; boundary=r") "x" NL R("text/html") "<a>" NL R(
	      "image/png") "1" END_R P("a/b") "1" END,
	  CT "text/html" NL NL, "<a>", false, false },
	{ "below related in alternative", ALTERNATIVE,
	  P("multipart/related; boundary=r") R("text/html") "<a>" END_R "--b--",
	  CT "text/html" NL NL, "<a>", false, false },
	{ "no header", MIXED, "--b" NL NL "a" END, NL, "a", false, false },
	{ "a header without its empty line", MIXED,
	  "--b" NL CT "text/html" NL "<a>" NL "b" END, CT "text/html" NL,
	  "<a>" NL "b", false, false },
	{ "a folded header", MIXED,
	  "--b \t" NL CT NL " text/html;" NL "\tx=y" NL "X: y" NL NL "<a>" END,
	  CT NL " text/html;" NL "\tx=y" NL "X: y" NL NL, "<a>", false, false },
	{ "encoded", MIXED,
	  PH("text/html", CTE "base64") "PGE+" NL "PGE+" NL END,
	  CT "text/html" NL CTE "base64" NL NL, "PGE+" NL "PGE+" NL, false,
	  false },
	{ "lines that look like delimiters", MIXED,
	  P("text/html") "--" NL "--bb" NL "-" NL "--b-" END,
	  CT "text/html" NL NL, "--" NL "--bb" NL "-" NL "--b-", false, false },
	{ "the delimiter is the last line", MIXED,
	  P("text/html") "<a>" NL "--b", CT "text/html" NL NL, "<a>", false,
	  false },
	{ "none", MIXED, P("a/b") "1" END, NULL, NULL, false, false },
};

static void
check_place(size_t i, size_t step, unsigned wants)
{
	const char *body = places[i].body;
	struct body *b = open_body(wants, places[i].header);
	struct body_place p;
	const char *raw;
	char *text;
	size_t len;

	(void)feed(b, body, strlen(body), step);
	(void)body_end(b, &text, &len);
	free(text);
	raw = body_raw(b, &len);
	if ((wants & RAW) != 0 &&
	    (len != strlen(body) || memcmp(raw, body, len) != 0))
		fail_msg("%s: raw is %.*s", places[i].name, (int)len, raw);
	if (body_place(b, &p) != (places[i].block != NULL))
		fail_msg("%s: it is%s there", places[i].name,
			 places[i].block != NULL ? " not" : "");
	if (places[i].block != NULL &&
	    (p.content - p.begin != strlen(places[i].block) ||
	     p.end - p.content != strlen(places[i].content) ||
	     memcmp(body + p.begin, places[i].block, p.content - p.begin) ||
	     memcmp(body + p.content, places[i].content, p.end - p.content) ||
	     p.is_message != places[i].is_message ||
	     p.in_alternative != places[i].in_alternative))
		fail_msg("%s (step %zu): %zu, %zu, %zu", places[i].name, step,
			 p.begin, p.content, p.end);
	body_free(&b);
}

static void
test_places(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		for (size_t k = 0; k < STEPS; k++) {
			check_place(i, steps[k], 0);
			check_place(i, steps[k], ALL);
			check_place(i, steps[k], ALL | RAW);
		}
	}
}

/* --- another HTML in its place -------------------------------------------- */

static unsigned spliced_count;

static struct body *
read_mail(const char *header, size_t header_len, const char *body, size_t len,
	  size_t step)
{
	struct body *b = body_new();
	size_t at = 0;

	body_want(b, ALL | RAW);
	while (at < header_len) {
		size_t end = at;
		const char *colon;

		do {
			const char *lf =
			    memchr(header + end, '\n', header_len - end);

			end = lf ? (size_t)(lf - header) + 1 : header_len;
		} while (end < header_len &&
			 (header[end] == ' ' || header[end] == '\t'));
		colon = memchr(header + at, ':', end - at);
		if (colon != NULL) {
			char *name =
			    strndup(header + at, (size_t)(colon - header) - at);
			size_t value = (size_t)(colon - header) + 1;
			size_t stop = end;

			while (stop > value && (header[stop - 1] == '\n' ||
						header[stop - 1] == '\r'))
				stop--;
			body_header(b, name, header + value, stop - value);
			free(name);
		}
		at = end;
	}
	(void)feed(b, body, len, step);
	return b;
}

/* What is behind the body, "" when that is all. */
static const char *
behind_body(const struct dynbuf *shown)
{
	const char *s = strstr(dynbuf_str(shown), "] ");

	return s != NULL ? s : "";
}

/* Puts another HTML in and reads it again: all else is as before. */
static void
check_splice(const char *name, const char *header, size_t header_len,
	     const char *body, size_t len, size_t step)
{
	static const char with[] = CT "text/html\n\nNEW";
	struct body *b = read_mail(header, header_len, body, len, step);
	DYNBUF_AUTO before, after, spliced;
	struct body_place p;
	const char *raw;
	size_t raw_len;

	dynbuf_init(&before, 1 << 24);
	dynbuf_init(&after, 1 << 24);
	dynbuf_init(&spliced, 1 << 24);
	show(&before, b);
	raw = body_raw(b, &raw_len);
	if (strncmp(dynbuf_str(&before), "html[", 5) == 0) {
		assert_int_equal(raw_len, len);
		assert_true(body_place(b, &p));
		assert_true(!p.is_message || (p.begin == 0 && p.end == len));
		dynbuf_add(&spliced, raw, p.begin);
		dynbuf_adds(&spliced, with);
		dynbuf_add(&spliced, raw + p.end, raw_len - p.end);
	}
	body_free(&b);
	if (spliced.len == 0 || p.is_message)
		return;
	b = read_mail(header, header_len, spliced.data, spliced.len, step);
	show(&after, b);
	body_free(&b);
	if (strncmp(dynbuf_str(&after), "html[NEW]", 9) != 0 ||
	    strcmp(behind_body(&after), behind_body(&before)) != 0)
		fail_msg("%s (step %zu): %s\nwas %s", name, step,
			 dynbuf_str(&after), dynbuf_str(&before));
	spliced_count++;
}

static void
test_splice_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t k = 0; k < STEPS; k++)
			check_splice(rows[i].name, rows[i].header,
				     strlen(rows[i].header), rows[i].body,
				     strlen(rows[i].body), steps[k]);
	}
	assert_true(spliced_count > 100);
}

/* Behind the empty line. */
static size_t
header_end(const char *data)
{
	const char *lf = strstr(data, "\n\n");
	const char *crlf = strstr(data, "\r\n\r\n");

	assert_true(lf != NULL || crlf != NULL);
	if (lf != NULL && (crlf == NULL || lf < crlf))
		return (size_t)(lf + 2 - data);
	return (size_t)(crlf + 4 - data);
}

static const struct {
	const char *file;
	const char *want; /* what comes out of it but the body itself */
} corpus[] = {
	{ "amp",
	  "] text[Choose on our page] amp[<!doctype html><html amp4email><body>"
	  "Choose</body></html>]" },
	{ "attached-message",
	  "] {Hello.eml|message/rfc822||}[From: Joe User <joe@example.net>\n"
	  "Subject: Hello\nMIME-Version: 1.0\nContent-Type: "
	  "multipart/alternative; boundary=\"a4\"\n\n--a4\nContent-Type: "
	  "text/plain\n\nnot the body\n--a4\nContent-Type: text/html\n\n<p>not "
	  "the body</p>\n--a4--\n]" },
	{ "attachment-names",
	  "] {Rechnung M\xc3\xa4rz.pdf|application/pdf||}[%PDF-1.4\n1] "
	  "{Rechnung M\xc3\xa4rz.pdf|application/pdf||}[%PDF-1.4\n2] "
	  "{Rechnung M\xc3\xa4rz.pdf|application/pdf||}[%PDF-1.4\n3] "
	  "{a;b.csv|text/csv; charset=iso-8859-1||}[Stra\xdf"
	  "e;1] {attachment-5.bin|application/octet-stream||}[no name]" },
	{ "html-with-footer", "] {attachment-1.txt|text/plain; "
			      "charset=us-ascii||}[-- \nTo leave the "
			      "list, write to list-request@example.com]" },
	{ "pdf-only", "" },
};

static gchar *
read_corpus(const char *name, size_t *len_r)
{
	char path[512];
	gchar *data;

	(void)snprintf(path, sizeof(path), "tests/corpus/%s", name);
	assert_true(g_file_get_contents(path, &data, len_r, NULL));
	return data;
}

static void
test_corpus(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(corpus) / sizeof(corpus[0]); i++) {
		char name[100];
		size_t len, body;
		gchar *data;
		struct body *b;
		DYNBUF_AUTO out;

		(void)snprintf(name, sizeof(name), "%s.eml", corpus[i].file);
		data = read_corpus(name, &len);
		body = header_end(data);
		b = read_mail(data, body, data + body, len - body, 7);
		dynbuf_init(&out, 1 << 20);
		show(&out, b);
		if (strcmp(behind_body(&out), corpus[i].want) != 0)
			fail_msg("%s: %s", name, dynbuf_str(&out));
		body_free(&b);
		g_free(data);
	}
}

static void
test_splice_corpus(void **state)
{
	DIR *d = opendir("tests/corpus");
	const struct dirent *e;
	unsigned n = 0;

	(void)state;
	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		size_t len, body;
		gchar *data;

		if (e->d_name[0] == '.')
			continue;
		data = read_corpus(e->d_name, &len);
		body = header_end(data);
		for (size_t k = 0; k < STEPS; k++)
			check_splice(e->d_name, data, body, data + body,
				     len - body, steps[k]);
		g_free(data);
		n++;
	}
	(void)closedir(d);
	assert_true(n > 10);
}

/* --- what is said of the parts -------------------------------------------- */

static void
test_fates(void **state)
{
	static const char body[] =
	    P("text/plain") "a" NL P("text/x-amp-html") "<amp>" NL
		P("text/html") "<a>" NL P("text/html") "<b>" NL P(
		    "text/html") " " NL PH("a/b", ATTACHED) "1" END;
	static const struct {
		unsigned wants;
		const char *fates[6];
	} v[] = {
		{ 0,
		  { "dropped: there is an HTML part",
		    "dropped: neither HTML nor plain text",
		    "the body: the first HTML part",
		    "dropped: the body was complete before it",
		    "dropped: the body was complete before it",
		    "dropped: an attachment" } },
		{ ALL,
		  { "the text: a text part before the HTML part",
		    "the AMP part: the first AMP part",
		    "the body: the first HTML part",
		    "a file: there is an HTML part before it",
		    "dropped: nothing to read in it",
		    "a file: an attachment" } },
		{ FILES,
		  { "dropped: there is an HTML part",
		    "a file: neither HTML nor plain text",
		    "the body: the first HTML part",
		    "a file: there is an HTML part before it",
		    "dropped: nothing to read in it",
		    "a file: an attachment" } },
		{ TEXT,
		  { "the text: a text part before the HTML part",
		    "dropped: neither HTML nor plain text",
		    "the body: the first HTML part",
		    "dropped: there is an HTML part before it",
		    "dropped: there is an HTML part before it",
		    "dropped: an attachment" } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct body *b = open_body(v[i].wants, ALTERNATIVE);
		struct trace *t = trace_new();
		char *text;
		size_t len;

		body_trace(b, t);
		(void)feed(b, body, strlen(body), 7);
		assert_int_equal(body_end(b, &text, &len), BODY_HTML);
		free(text);
		assert_int_equal(t->n_parts, 6);
		for (size_t k = 0; k < 6; k++) {
			char got[200];

			(void)snprintf(got, sizeof(got), "%s: %s",
				       t->parts[k].fate, t->parts[k].why);
			if (strcmp(got, v[i].fates[k]) != 0)
				fail_msg("wants %u, part %zu: %s", v[i].wants,
					 k, got);
		}
		trace_free(&t);
		body_free(&b);
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
		cmocka_unit_test(test_needs),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_long_ids),
		cmocka_unit_test(test_files_bound),
		cmocka_unit_test(test_text_bounds),
		cmocka_unit_test(test_bounds_that_do_not_matter),
		cmocka_unit_test(test_only_the_bytes_are_too_many),
		cmocka_unit_test(test_raw_bound),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_splice_rows),
		cmocka_unit_test(test_corpus),
		cmocka_unit_test(test_splice_corpus),
		cmocka_unit_test(test_fates),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
