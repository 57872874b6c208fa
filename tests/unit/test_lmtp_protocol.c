/* SPDX-License-Identifier: MIT */
/*
 * Conversations: what the peer sends, what it hears, and what the handler is
 * told, as text:
 *
 *   M sender    R address typed    D bytes    E (the dot)    X (reset)
 *
 * The handler refuses recipients that begin with "no". Its answer to a message
 * is 451 for those that begin with "later", 550 for "bad", 250 for the rest,
 * as soon as a piece of input was taken. Each conversation is fed whole, byte
 * by byte, and in pieces of all sorts.
 */
#include "milter/lmtp_command.h"
#include "milter/lmtp_protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/dynbuf.h"
#include "policy/smtp_reply.h"

#define SIZE_ALLOWED 1000
#define TEXT_MAX (4 * 1024 * 1024)
#define RANDOM_ROUNDS 10

#define GREETING "220 mx.test LMTP\r\n"
#define HELLO                         \
	"250-mx.test\r\n"             \
	"250-PIPELINING\r\n"          \
	"250-8BITMIME\r\n"            \
	"250-SIZE 1000\r\n"           \
	"250-SMTPUTF8\r\n"            \
	"250-ENHANCEDSTATUSCODES\r\n" \
	"250 DSN\r\n"
#define LHLO "LHLO client\r\n"
#define MAIL "MAIL FROM:<s@x>\r\n"
#define RCPT(a) "RCPT TO:<" a ">\r\n"
#define OK_MAIL "250 2.1.0 Ok\r\n"
#define OK_RCPT "250 2.1.5 Ok\r\n"
#define OK "250 2.0.0 Ok\r\n"
#define GO_ON "354 End with CRLF.CRLF\r\n"
#define SENT "250 2.0.0 Sent\r\n"
#define BYE "221 2.0.0 Bye\r\n"
#define REFUSED "550 5.1.1 No such recipient\r\n"
#define LATER "451 4.4.0 Later\r\n"
#define BAD "550 5.6.0 Bad\r\n"
#define UNKNOWN "500 5.5.1 Unknown command\r\n"
#define CONTROL "500 5.5.2 Control character in a command\r\n"
#define FIRST_LHLO "503 5.5.1 Say LHLO first\r\n"
#define NEED_MAIL "503 5.5.1 Need MAIL first\r\n"
#define NO_RCPT "503 5.5.1 No recipient was taken\r\n"
#define NO_ARGS "501 5.5.4 No arguments allowed\r\n"
#define LARGE "552 5.3.4 Message too large\r\n"
#define BAD_SENDER "501 5.1.7 Bad sender address syntax\r\n"
#define BAD_RCPT "501 5.1.3 Bad recipient address syntax\r\n"
#define BAD_SIZE "501 5.5.4 SIZE must be a number\r\n"
#define BAD_BODY "501 5.5.4 BODY must be 7BIT or 8BITMIME\r\n"
#define BAD_ORCPT \
	"501 5.5.4 ORCPT must be a type, \";\" and an encoded address\r\n"
#define BAD_PARAM "555 5.5.4 Unknown parameter\r\n"
#define TOO_MANY "421 4.7.0 Too many errors\r\n"
#define X4(s) s s s s
#define X20(s) X4(s) X4(s) X4(s) X4(s) X4(s)

struct conversation {
	const char *name;
	const char *input;
	size_t len;
	const char *want; /* after the greeting */
	const char *events;
	size_t events_len;
	bool over;
};

#define TALK(name, input, want, events)                       \
	{                                                     \
		name, input, sizeof(input) - 1, want, events, \
		    sizeof(events) - 1, false                 \
	}
#define LAST(name, input, want, events)                       \
	{                                                     \
		name, input, sizeof(input) - 1, want, events, \
		    sizeof(events) - 1, true                  \
	}
/* LHLO, and one transaction's beginning. */
#define MAILED(name, args, reply, events) \
	TALK(name, LHLO "MAIL FROM:" args "\r\n", HELLO reply, events)
#define RCPTED(name, args, reply, events)                                 \
	TALK(name, LHLO MAIL "RCPT TO:" args "\r\n", HELLO OK_MAIL reply, \
	     "M s@x\n" events)
/* One message to one recipient. */
#define MESSAGE(name, input, data)                         \
	TALK(name, LHLO MAIL RCPT("r@x") "DATA\r\n" input, \
	     HELLO OK_MAIL OK_RCPT GO_ON SENT, "M s@x\nR r@x\n" data "E\n")

static const struct conversation conversations[] = {
	TALK("nothing", "", "", ""),
	TALK("hello", LHLO, HELLO, ""),
	TALK("hello, in any case", "lHlO client  \r\n", HELLO, ""),
	LAST("an ordinary message",
	     LHLO MAIL RCPT("r@x") "DATA\r\nA: b\r\n\r\nc\r\n.\r\nQUIT\r\n",
	     HELLO OK_MAIL OK_RCPT GO_ON SENT BYE,
	     "M s@x\nR r@x\nD A: b\r\n\r\nc\r\nE\n"),
	LAST("as Postfix says it",
	     "LHLO mail.example\r\n"
	     "MAIL FROM:<s@x> SIZE=330 BODY=8BITMIME ENVID=AA+2BB RET=HDRS "
	     "SMTPUTF8\r\n"
	     "RCPT TO:<r@x> ORCPT=rfc822;R@x NOTIFY=SUCCESS,FAILURE\r\n"
	     "DATA\r\nx\r\n.\r\nQUIT\r\n",
	     HELLO OK_MAIL OK_RCPT GO_ON SENT BYE,
	     "M s@x 8BIT UTF8\nR r@x R@x\nD x\r\nE\n"),
	LAST("LF at the end of commands",
	     "LHLO client\nMAIL FROM:<s@x>\nRCPT TO:<r@x>\nDATA\n"
	     "x\r\n.\r\nQUIT\n",
	     HELLO OK_MAIL OK_RCPT GO_ON SENT BYE, "M s@x\nR r@x\nD x\r\nE\n"),
	LAST("each recipient has its own reply",
	     LHLO MAIL RCPT("a@x") RCPT("later@x") RCPT("no@x") RCPT("bad@x")
		 RCPT("b@x") "DATA\r\n.\r\nQUIT\r\n",
	     HELLO OK_MAIL OK_RCPT OK_RCPT REFUSED OK_RCPT OK_RCPT GO_ON SENT
		 LATER BAD SENT BYE,
	     "M s@x\nR a@x\nR later@x\nR no@x\nR bad@x\nR b@x\nE\n"),
	TALK("message after message, in one go",
	     LHLO MAIL RCPT("a@x") "DATA\r\n1\r\n.\r\n" MAIL RCPT("bad@x")
		 RCPT("b@x") "DATA\r\n2\r\n.\r\n" MAIL RCPT(
		     "c@x") "DATA\r\n3\r\n.\r\nNOOP\r\n",
	     HELLO OK_MAIL OK_RCPT GO_ON SENT OK_MAIL OK_RCPT OK_RCPT GO_ON BAD
		 SENT OK_MAIL OK_RCPT GO_ON SENT OK,
	     "M s@x\nR a@x\nD 1\r\nE\nM s@x\nR bad@x\nR b@x\nD 2\r\nE\n"
	     "M s@x\nR c@x\nD 3\r\nE\n"),
	LAST("nothing after QUIT", "QUIT\r\nNOOP\r\n" LHLO, BYE, ""),

	/* What MAIL says. */
	MAILED("null sender", "<>", OK_MAIL, "M \n"),
	MAILED("in any case", "<a@b> size=1 body=8bitmime smtputf8", OK_MAIL,
	       "M a@b 8BIT UTF8\n"),
	MAILED("a blank behind the colon", " <a@b>", OK_MAIL, "M a@b\n"),
	MAILED("blanks between", "<a@b>   BODY=7BIT   RET=FULL", OK_MAIL,
	       "M a@b\n"),
	MAILED("no domain", "<postmaster>", OK_MAIL, "M postmaster\n"),
	MAILED("domain literal", "<a@[IPv6:::1]>", OK_MAIL, "M a@[IPv6:::1]\n"),
	MAILED("odd signs", "<a+b=c!d#e$f%g&h'i*j/k?l^m_n`o{p|q}r~s@x>",
	       OK_MAIL, "M a+b=c!d#e$f%g&h'i*j/k?l^m_n`o{p|q}r~s@x\n"),
	MAILED("quoted", "<\"a> b\\\"@\\\\\"@x>", OK_MAIL,
	       "M \"a> b\\\"@\\\\\"@x\n"),
	MAILED("source route", "<@one,@two:a@b>", OK_MAIL, "M a@b\n"),
	MAILED("source route with a literal", "<@[IPv6:::1]:a@b>", OK_MAIL,
	       "M a@b\n"),
	MAILED("UTF-8", "<\xc3\xa4@\xc3\xb6.x> SMTPUTF8", OK_MAIL,
	       "M \xc3\xa4@\xc3\xb6.x UTF8\n"),
	MAILED("7 bits", "<a@b> BODY=7BIT", OK_MAIL, "M a@b\n"),
	MAILED("8 bits", "<a@b> body=8bitmime", OK_MAIL, "M a@b 8BIT\n"),
	MAILED("UTF-8, not said", "<\xc3\xa4@x>", OK_MAIL, "M \xc3\xa4@x\n"),
	MAILED("no brackets", "a@b", BAD_SENDER, ""),
	MAILED("nothing", "", BAD_SENDER, ""),
	MAILED("not closed", "<a@b", BAD_SENDER, ""),
	MAILED("not closed, a parameter", "<a@b SIZE=1>", BAD_SENDER, ""),
	MAILED("something behind it", "<a@b>x", BAD_SENDER, ""),
	MAILED("no local part", "<@b>", BAD_SENDER, ""),
	MAILED("no domain behind the sign", "<a@>", BAD_SENDER, ""),
	MAILED("two signs", "<a@b@c>", BAD_SENDER, ""),
	MAILED("a blank in it", "<a b@c>", BAD_SENDER, ""),
	MAILED("a backslash", "<a\\b@c>", BAD_SENDER, ""),
	MAILED("a quote within", "<a\"b\"@c>", BAD_SENDER, ""),
	MAILED("quotes that do not end", "<\"a@b>", BAD_SENDER, ""),
	MAILED("an escape at the end", "<\"a\\", BAD_SENDER, ""),
	MAILED("something behind the quotes", "<\"a\"b@c>", BAD_SENDER, ""),
	MAILED("source route without an end", "<@one,@two>", BAD_SENDER, ""),
	MAILED("source route to nobody", "<@one:>", BAD_SENDER, ""),
	MAILED("source route with a blank", "<@one @two:a@b>", BAD_SENDER, ""),
	MAILED("8 bit, no UTF-8", "<\xe4@x>", BAD_SENDER, ""),
	MAILED("a C1 control character", "<\xc2\x85@x>", BAD_SENDER, ""),
	TALK("MAIL alone", LHLO "MAIL\r\n", HELLO BAD_SENDER, ""),
	TALK("MAIL TO", LHLO "MAIL TO:<a@b>\r\n", HELLO BAD_SENDER, ""),
	MAILED("as large as it may be", "<a@b> SIZE=1000", OK_MAIL, "M a@b\n"),
	MAILED("too large", "<a@b> SIZE=1001", LARGE, ""),
	MAILED("far too large", "<a@b> SIZE=18446744073709551617", LARGE, ""),
	MAILED("no size", "<a@b> SIZE=", BAD_SIZE, ""),
	MAILED("no size at all", "<a@b> SIZE", BAD_SIZE, ""),
	MAILED("a size that is none", "<a@b> SIZE=1k", BAD_SIZE, ""),
	MAILED("a size below zero", "<a@b> SIZE=-1", BAD_SIZE, ""),
	MAILED("a body that was not offered", "<a@b> BODY=BINARYMIME", BAD_BODY,
	       ""),
	MAILED("no body", "<a@b> BODY", BAD_BODY, ""),
	MAILED("SMTPUTF8 with a value", "<a@b> SMTPUTF8=1",
	       "501 5.5.4 Syntax error in the arguments\r\n", ""),
	MAILED("unknown parameter", "<a@b> SIZE=1 AUTH=<>", BAD_PARAM, ""),
	MAILED("parameter without a name", "<a@b> =x", BAD_PARAM, ""),
	MAILED("RCPT's parameter", "<a@b> NOTIFY=NEVER", BAD_PARAM, ""),

	/* What RCPT says. */
	RCPTED("recipient", "<a@b>", OK_RCPT, "R a@b\n"),
	RCPTED("recipient, quoted and routed", "<@c:\"a b\"@b>", OK_RCPT,
	       "R \"a b\"@b\n"),
	RCPTED("recipient, UTF-8", "<\xe2\x82\xac@b>", OK_RCPT,
	       "R \xe2\x82\xac@b\n"),
	RCPTED("null recipient", "<>", BAD_RCPT, ""),
	RCPTED("recipient, no brackets", "a@b", BAD_RCPT, ""),
	RCPTED("recipient, 8 bit", "<\xff@b>", BAD_RCPT, ""),
	TALK("RCPT alone", LHLO MAIL "RCPT\r\n", HELLO OK_MAIL BAD_RCPT,
	     "M s@x\n"),
	RCPTED("refused by the handler", "<no@b>", REFUSED, "R no@b\n"),
	RCPTED("typed", "<a@b> ORCPT=rfc822;A+2BC@b", OK_RCPT, "R a@b A+C@b\n"),
	RCPTED("typed, small letters", "<a@b> orcpt=RFC822;a+3d+3D", OK_RCPT,
	       "R a@b a==\n"),
	RCPTED("typed, an equals sign", "<a@b> ORCPT=rfc822;a=b", OK_RCPT,
	       "R a@b a=b\n"),
	RCPTED("typed in UTF-8, escaped",
	       "<a@b> ORCPT=utf-8;\\x{E4}\\x{20AC}\\x{1F600}\\x{2B}@b", OK_RCPT,
	       "R a@b \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80+@b\n"),
	RCPTED("typed in UTF-8, as it is", "<a@b> ORCPT=UTF-8;\xc3\xa4@b",
	       OK_RCPT, "R a@b \xc3\xa4@b\n"),
	RCPTED("typed, escaped bytes", "<a@b> ORCPT=rfc822;+C3+A4", OK_RCPT,
	       "R a@b \xc3\xa4\n"),
	RCPTED("typed, twice", "<a@b> ORCPT=rfc822;x ORCPT=rfc822;y", OK_RCPT,
	       "R a@b y\n"),
	RCPTED("typed, empty", "<a@b> ORCPT=rfc822;", OK_RCPT, "R a@b\n"),
	RCPTED("another type", "<a@b> ORCPT=x400;a+zz", OK_RCPT, "R a@b\n"),
	RCPTED("not printable", "<a@b> ORCPT=rfc822;a+0Ab", OK_RCPT, "R a@b\n"),
	RCPTED("NUL", "<a@b> ORCPT=rfc822;a+00b", OK_RCPT, "R a@b\n"),
	RCPTED("no UTF-8", "<a@b> ORCPT=rfc822;a+E4", OK_RCPT, "R a@b\n"),
	RCPTED("a surrogate", "<a@b> ORCPT=utf-8;\\x{D800}", OK_RCPT,
	       "R a@b\n"),
	RCPTED("NUL in UTF-8", "<a@b> ORCPT=utf-8;a\\x{00}", OK_RCPT,
	       "R a@b\n"),
	RCPTED("no type", "<a@b> ORCPT=a@b", BAD_ORCPT, ""),
	RCPTED("an empty type", "<a@b> ORCPT=;a@b", BAD_ORCPT, ""),
	RCPTED("ORCPT alone", "<a@b> ORCPT", BAD_ORCPT, ""),
	RCPTED("xtext with no digits", "<a@b> ORCPT=rfc822;a+", BAD_ORCPT, ""),
	RCPTED("xtext with one digit", "<a@b> ORCPT=rfc822;a+4", BAD_ORCPT, ""),
	RCPTED("xtext with a wrong digit", "<a@b> ORCPT=rfc822;a+4G", BAD_ORCPT,
	       ""),
	RCPTED("no escape", "<a@b> ORCPT=utf-8;a\\b{41}", BAD_ORCPT, ""),
	RCPTED("an empty escape", "<a@b> ORCPT=utf-8;a\\x{}b", BAD_ORCPT, ""),
	RCPTED("an escape that does not end", "<a@b> ORCPT=utf-8;a\\x{41",
	       BAD_ORCPT, ""),
	RCPTED("an escape too long", "<a@b> ORCPT=utf-8;a\\x{0000041}",
	       BAD_ORCPT, ""),
	RCPTED("an escape too large", "<a@b> ORCPT=utf-8;\\x{110000}",
	       BAD_ORCPT, ""),
	RCPTED("a backslash at the end", "<a@b> ORCPT=utf-8;a\\", BAD_ORCPT,
	       ""),
	RCPTED("unknown parameter of RCPT", "<a@b> SIZE=1", BAD_PARAM, ""),
	RCPTED("ignored", "<a@b> NOTIFY=NEVER", OK_RCPT, "R a@b\n"),

	/* Order. */
	TALK("MAIL first", MAIL, FIRST_LHLO, ""),
	TALK("RCPT first", RCPT("a@b"), NEED_MAIL, ""),
	TALK("DATA first", LHLO "DATA\r\n", HELLO NO_RCPT, ""),
	TALK("LHLO without a name", "LHLO\r\n" MAIL,
	     "501 5.5.4 LHLO wants a name\r\n" FIRST_LHLO, ""),
	TALK("this is LMTP", "EHLO a\r\nHELO a\r\n",
	     "500 5.5.1 This is LMTP, say LHLO\r\n"
	     "500 5.5.1 This is LMTP, say LHLO\r\n",
	     ""),
	TALK("nested MAIL", LHLO MAIL MAIL,
	     HELLO OK_MAIL "503 5.5.1 Nested MAIL\r\n", "M s@x\n"),
	TALK("RCPT after a refused MAIL",
	     LHLO "MAIL FROM:<a@b> SIZE=2000\r\n" RCPT("a@b") "DATA\r\n" MAIL,
	     HELLO LARGE NEED_MAIL NO_RCPT OK_MAIL, "M s@x\n"),
	TALK("DATA when all were refused",
	     LHLO MAIL RCPT("no@a") RCPT("no@b") "DATA\r\nRSET\r\n",
	     HELLO OK_MAIL REFUSED REFUSED NO_RCPT OK,
	     "M s@x\nR no@a\nR no@b\nX\n"),
	TALK("RCPT after the message",
	     LHLO MAIL RCPT("a@b") "DATA\r\n.\r\n" RCPT("a@b"),
	     HELLO OK_MAIL OK_RCPT GO_ON SENT NEED_MAIL, "M s@x\nR a@b\nE\n"),
	TALK("RSET", LHLO "RSET\r\n" MAIL RCPT("a@b") "RSET\r\nDATA\r\n" MAIL,
	     HELLO OK OK_MAIL OK_RCPT OK NO_RCPT OK_MAIL,
	     "M s@x\nR a@b\nX\nM s@x\n"),
	TALK("LHLO again", LHLO MAIL RCPT("a@b") LHLO RCPT("a@b"),
	     HELLO OK_MAIL OK_RCPT HELLO NEED_MAIL, "M s@x\nR a@b\nX\n"),
	LAST("QUIT in a transaction", LHLO MAIL RCPT("a@b") "QUIT\r\n",
	     HELLO OK_MAIL OK_RCPT BYE, "M s@x\nR a@b\nX\n"),

	/* Other commands. */
	TALK("NOOP and VRFY", "noop\r\nNOOP x y\r\nVRFY a\r\n",
	     OK OK "252 2.0.0 Send a message and see\r\n", ""),
	TALK("unknown",
	     "\r\n\n \r\nSTARTTLS\r\nMAILX\r\nMAI\r\nMAIL:\r\n LHLO x\r\n",
	     X4(UNKNOWN) X4(UNKNOWN), ""),
	TALK("arguments where there are none",
	     LHLO "RSET x\r\nDATA x\r\n"
		  "QUIT x\r\n",
	     HELLO NO_ARGS NO_ARGS NO_ARGS, ""),
	TALK("blanks at the end are none", "RSET  \r\n", OK, ""),
	TALK("control characters",
	     "NO\0OP\r\nNOOP\t\r\nNOOP \x7f\r\nNOOP\r\r\n\x1bNOOP\r\n",
	     X4(CONTROL) CONTROL, ""),
	TALK("NUL in an address", LHLO "MAIL FROM:<a\0@b>\r\n", HELLO CONTROL,
	     ""),
	TALK("twenty errors are borne", X20("x\r\n") LHLO, X20(UNKNOWN) HELLO,
	     ""),
	LAST("one more is not", X20("x\r\n") "\0\r\n" LHLO,
	     X20(UNKNOWN) TOO_MANY, ""),
	LAST("and the transaction is gone",
	     LHLO MAIL X20("x\r\n") "x\r\n" RCPT("a@b"),
	     HELLO OK_MAIL X20(UNKNOWN) TOO_MANY, "M s@x\nX\n"),
	LAST("a message forgives",
	     LHLO X20("x\r\n")
		 MAIL RCPT("a@b") "DATA\r\n.\r\n" X20("x\r\n") "x\r\n",
	     HELLO X20(UNKNOWN) OK_MAIL OK_RCPT GO_ON SENT X20(UNKNOWN)
		 TOO_MANY,
	     "M s@x\nR a@b\nE\n"),
	TALK("what is not the peer's fault",
	     LHLO MAIL X20(RCPT("no@b")) X20(RCPT(""))
		 X20("DATA\r\n") "NOOP\r\n",
	     HELLO OK_MAIL X20(REFUSED) X20(BAD_RCPT) X20(NO_RCPT) OK,
	     "M s@x\n" X20("R no@b\n")),
	LAST("nor after a refused MAIL, until RSET",
	     LHLO "MAIL FROM:<>x\r\n" X20(RCPT("a@b")) "DATA\r\nRSET\r\n" X20(
		 RCPT("a@b")) "DATA\r\n",
	     HELLO BAD_SENDER X20(NEED_MAIL) NO_RCPT OK X20(NEED_MAIL) TOO_MANY,
	     ""),
	LAST("nor until the message was sent",
	     LHLO MAIL RCPT("a@b") "DATA\r\n.\r\n" X20(RCPT("a@b")) "DATA\r\n",
	     HELLO OK_MAIL OK_RCPT GO_ON SENT X20(NEED_MAIL) TOO_MANY,
	     "M s@x\nR a@b\nE\n"),
	LAST("but commands at random are", X20(RCPT("a@b")) "DATA\r\n",
	     X20(NEED_MAIL) TOO_MANY, ""),

	/* The message. */
	MESSAGE("empty", ".\r\n", ""),
	MESSAGE("one empty line", "\r\n.\r\n", "D \r\n"),
	MESSAGE("dots", "..\r\n...\r\n.a\r\na.\r\n..b\r\n.\r\n",
		"D .\r\n..\r\na\r\na.\r\n.b\r\n"),
	MESSAGE("bytes", "\0\xff\x01\r\n.\r\n", "D \0\xff\x01\r\n"),
	MESSAGE("LF is no line end", "a\n.\nb\n.\r\nc\r\n.\r\n",
		"D a\n.\nb\n.\r\nc\r\n"),
	MESSAGE("LF dot LF", "a\r\n.\n.\r\nb\r\n.\r\n", "D a\r\n\n.\r\nb\r\n"),
	MESSAGE("CR is no line end", "a\r.\rb\r.\r\nc\r\n.\r\n",
		"D a\r.\rb\r.\r\nc\r\n"),
	MESSAGE("CRLF dot CR", "a\r\n.\rb\r\n.\r\n", "D a\r\n\rb\r\n"),
	MESSAGE("CRLF dot CR CRLF", "a\r\n.\r\r\n.\r\n", "D a\r\n\r\r\n"),
	MESSAGE("CR CRLF dot", "a\r\r\n.\r\n", "D a\r\r\n"),
	MESSAGE("dot CR dot", ".\r.\r\n.\r\n", "D \r.\r\n"),
	MESSAGE("dot LF at the start", ".\nx\r\n.\r\n", "D \nx\r\n"),
	MESSAGE("commands in it", "QUIT\r\nRSET\r\n.\r\n",
		"D QUIT\r\nRSET\r\n"),
};

/* --- one conversation ----------------------------------------------------- */

struct peer {
	struct dynbuf events;
	struct lmtp_protocol *p;
	struct smtp_reply replies[LMTP_RECIPIENTS_MAX];
	size_t n;
	bool in_data;
	bool held; /* answers are not given by themselves */
};

static void
on_mail(void *arg, const char *sender, const struct lmtp_mail *said)
{
	struct peer *e = arg;

	e->n = 0;
	assert_true(dynbuf_addf(&e->events, "M %s%s%s\n", sender,
				said->eight_bit ? " 8BIT" : "",
				said->utf8 ? " UTF8" : ""));
}

static bool
begins(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static void
on_recipient(void *arg, const char *address, const char *typed,
	     struct smtp_reply *reply)
{
	struct peer *e = arg;

	assert_false(smtp_reply_is_set(reply));
	assert_true(dynbuf_addf(&e->events, "R %s%s%s\n", address,
				typed != NULL ? " " : "",
				typed != NULL ? typed : ""));
	if (begins(address, "no")) {
		smtp_reply_set(reply, 550, "5.1.1", "No such recipient");
		return;
	}
	smtp_reply_set(reply, 250, "2.1.5", "Ok");
	assert_true(e->n < LMTP_RECIPIENTS_MAX);
	if (begins(address, "later"))
		smtp_reply_set(&e->replies[e->n++], 451, "4.4.0", "Later");
	else if (begins(address, "bad"))
		smtp_reply_set(&e->replies[e->n++], 550, "5.6.0", "Bad");
	else
		smtp_reply_set(&e->replies[e->n++], 250, "2.0.0", "Sent");
}

static void
on_data(void *arg, const char *data, size_t len)
{
	struct peer *e = arg;

	assert_true(len > 0);
	if (!e->in_data)
		assert_true(dynbuf_adds(&e->events, "D "));
	e->in_data = true;
	assert_true(dynbuf_add(&e->events, data, len));
}

static void
on_end(void *arg)
{
	struct peer *e = arg;

	assert_true(dynbuf_adds(&e->events, "E\n"));
	e->in_data = false;
}

static void
on_reset(void *arg)
{
	struct peer *e = arg;

	assert_true(dynbuf_adds(&e->events, "X\n"));
	e->in_data = false;
}

static const struct lmtp_events events = {
	.mail = on_mail,
	.recipient = on_recipient,
	.data = on_data,
	.end = on_end,
	.reset = on_reset,
};

static struct peer *
peer_new_with(size_t size_max)
{
	struct lmtp_settings settings = { .host = "mx.test",
					  .size_max = size_max };
	struct peer *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	dynbuf_init(&e->events, TEXT_MAX);
	e->p = lmtp_protocol_new(&settings, &events, e);
	assert_string_equal(dynbuf_str(lmtp_protocol_out(e->p)), GREETING);
	dynbuf_truncate(lmtp_protocol_out(e->p), 0);
	return e;
}

static struct peer *
peer_new(void)
{
	return peer_new_with(SIZE_ALLOWED);
}

static void
peer_free(struct peer *e)
{
	lmtp_protocol_free(&e->p);
	assert_null(e->p);
	dynbuf_clear(&e->events);
	free(e);
}

/* Answers what waits. */
static bool
settle(struct peer *e, bool go_on)
{
	while (go_on && !e->held && lmtp_protocol_waits(e->p)) {
		assert_true(lmtp_protocol_is_under_way(e->p));
		go_on = lmtp_protocol_answer(e->p, e->replies, e->n);
	}
	return go_on;
}

/* An exact copy is given: a byte read behind it is seen. */
static bool
feed(struct peer *e, const char *input, size_t len)
{
	char *piece = malloc(len > 0 ? len : 1);
	bool go_on;

	assert_non_null(piece);
	memcpy(piece, input, len);
	go_on = lmtp_protocol_feed(e->p, piece, len);
	free(piece);
	return settle(e, go_on);
}

static bool
feed_text(struct peer *e, const char *input)
{
	return feed(e, input, strlen(input));
}

/* Deterministic, so that a failure can be seen again. */
static size_t
next_random(uint32_t *seed, size_t below)
{
	*seed = *seed * 1664525 + 1013904223;
	return (*seed >> 8) % below;
}

/* step: bytes at a time; 0: any number, by seed. */
static bool
feed_in_steps(struct peer *e, const char *input, size_t len, size_t step,
	      uint32_t seed)
{
	bool go_on = true;

	while (len > 0) {
		size_t n = step > 0 ? step : next_random(&seed, 20);

		if (n > len)
			n = len;
		go_on = feed(e, input, n);
		input += n;
		len -= n;
	}
	return go_on;
}

static void
expect_out(const char *name, struct peer *e, const char *want)
{
	struct dynbuf *out = lmtp_protocol_out(e->p);

	if (out->len != strlen(want) || strcmp(dynbuf_str(out), want) != 0)
		fail_msg("%s: said \"%s\", wanted \"%s\"", name,
			 dynbuf_str(out), want);
	dynbuf_truncate(out, 0);
}

static void
expect_events(const char *name, struct peer *e, const char *want, size_t len)
{
	if (e->events.len != len ||
	    memcmp(dynbuf_str(&e->events), want, len) != 0)
		fail_msg("%s: events \"%s\", wanted \"%s\"", name,
			 dynbuf_str(&e->events), want);
	dynbuf_truncate(&e->events, 0);
}

static void
converse(const struct conversation *c, size_t step, uint32_t seed)
{
	struct peer *e = peer_new();

	if (feed_in_steps(e, c->input, c->len, step, seed) == c->over)
		fail_msg("%s: %s", c->name, c->over ? "goes on" : "is over");
	expect_out(c->name, e, c->want);
	expect_events(c->name, e, c->events, c->events_len);
	peer_free(e);
}

static void
test_conversations(void **state)
{
	static const size_t steps[] = { SIZE_MAX, 1, 2, 3, 7 };

	(void)state;
	for (size_t i = 0; i < sizeof(conversations) / sizeof(*conversations);
	     i++) {
		for (size_t j = 0; j < sizeof(steps) / sizeof(*steps); j++)
			converse(&conversations[i], steps[j], 0);
		for (uint32_t seed = 0; seed < RANDOM_ROUNDS; seed++)
			converse(&conversations[i], 0, seed);
	}
}

/* --- bounds --------------------------------------------------------------- */

static void
expect_talk(const char *name, const char *input, size_t len, const char *want)
{
	static const size_t steps[] = { SIZE_MAX, 1, 4096 };

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		struct peer *e = peer_new();

		assert_true(feed_in_steps(e, input, len, steps[i], 0));
		expect_out(name, e, want);
		peer_free(e);
	}
}

static void
test_line_bound(void **state)
{
	static const struct {
		const char *name;
		size_t len; /* of the line */
		const char *end;
		const char *want;
	} rows[] = {
		{ "longest", LMTP_LINE_MAX, "\r\nNOOP\r\n", OK OK },
		{ "longest, LF", LMTP_LINE_MAX, "\nNOOP\r\n", OK OK },
		{ "one too many", LMTP_LINE_MAX + 1, "\r\nNOOP\r\n",
		  "500 5.5.2 Line too long\r\n" OK },
		{ "one too many, LF", LMTP_LINE_MAX + 1, "\nNOOP\r\n",
		  "500 5.5.2 Line too long\r\n" OK },
		{ "two too many", LMTP_LINE_MAX + 2, "\nNOOP\r\n",
		  "500 5.5.2 Line too long\r\n" OK },
		{ "once for a line", 5 * LMTP_LINE_MAX, "\r\nNOOP\r\n",
		  "500 5.5.2 Line too long\r\n" OK },
		{ "no end", 5 * LMTP_LINE_MAX, "",
		  "500 5.5.2 Line too long\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		DYNBUF_AUTO input;
		size_t xs = rows[i].len - 5;

		dynbuf_init(&input, TEXT_MAX);
		dynbuf_adds(&input, "NOOP ");
		memset(dynbuf_room(&input, xs), 'x', xs);
		dynbuf_grown(&input, xs);
		dynbuf_adds(&input, rows[i].end);
		expect_talk(rows[i].name, input.data, input.len, rows[i].want);
	}
}

/* A message of n bytes with its last line end. */
static void
add_message(struct dynbuf *input, size_t n)
{
	assert_true(dynbuf_adds(input, "DATA\r\n."));
	memset(dynbuf_room(input, n), '.', n - 2);
	dynbuf_grown(input, n - 2);
	assert_true(dynbuf_adds(input, "\r\n.\r\n"));
}

/* The dot that was stuffed is none of the message's bytes. */
static void
test_size_bound(void **state)
{
	DYNBUF_AUTO input;

	(void)state;
	dynbuf_init(&input, TEXT_MAX);
	dynbuf_adds(&input, LHLO MAIL RCPT("a@b"));
	add_message(&input, SIZE_ALLOWED);
	expect_talk("largest", input.data, input.len,
		    HELLO OK_MAIL OK_RCPT GO_ON SENT);
	dynbuf_truncate(&input, 0);
	dynbuf_adds(&input, LHLO MAIL RCPT("a@b") RCPT("no@b") RCPT("bad@b"));
	add_message(&input, SIZE_ALLOWED + 1);
	dynbuf_adds(&input, "RCPT TO:<a@b>\r\n" MAIL);
	expect_talk("too large", input.data, input.len,
		    HELLO OK_MAIL OK_RCPT REFUSED OK_RCPT GO_ON LARGE LARGE
			NEED_MAIL OK_MAIL);
	dynbuf_adds(&input, RCPT("a@b"));
	add_message(&input, SIZE_ALLOWED);
	dynbuf_adds(&input, MAIL RCPT("a@b"));
	add_message(&input, SIZE_ALLOWED);
	expect_talk(
	    "each on its own", input.data, input.len,
	    HELLO OK_MAIL OK_RCPT REFUSED OK_RCPT GO_ON LARGE LARGE NEED_MAIL
		OK_MAIL OK_RCPT GO_ON SENT OK_MAIL OK_RCPT GO_ON SENT);
}

static void
test_too_large_is_reset(void **state)
{
	static const size_t steps[] = { SIZE_MAX, 1, 7 };
	DYNBUF_AUTO input, want;

	(void)state;
	dynbuf_init(&input, TEXT_MAX);
	dynbuf_init(&want, TEXT_MAX);
	dynbuf_adds(&input, LHLO MAIL RCPT("a@b"));
	add_message(&input, 3 * SIZE_ALLOWED);
	dynbuf_adds(&want, "M s@x\nR a@b\nD ");
	memset(dynbuf_room(&want, SIZE_ALLOWED), '.', SIZE_ALLOWED);
	dynbuf_grown(&want, SIZE_ALLOWED);
	dynbuf_adds(&want, "X\n");
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		struct peer *e = peer_new();

		assert_true(
		    feed_in_steps(e, input.data, input.len, steps[i], 0));
		expect_events("too large", e, want.data, want.len);
		assert_false(lmtp_protocol_is_under_way(e->p));
		peer_free(e);
	}
}

static void
test_no_size_bound(void **state)
{
	struct peer *e = peer_new_with(0);
	DYNBUF_AUTO input;

	(void)state;
	dynbuf_init(&input, TEXT_MAX);
	dynbuf_adds(&input, "LHLO x\r\nMAIL FROM:<> "
			    "SIZE=18446744073709551615\r\n" RCPT("a@b"));
	add_message(&input, 1000000);
	assert_true(feed(e, input.data, input.len));
	assert_non_null(
	    strstr(dynbuf_str(lmtp_protocol_out(e->p)), "250-SIZE 0\r\n"));
	assert_non_null(strstr(dynbuf_str(lmtp_protocol_out(e->p)),
			       OK_MAIL OK_RCPT GO_ON SENT));
	peer_free(e);
}

static void
test_recipients_bound(void **state)
{
	struct peer *e = peer_new();
	char line[64];

	(void)state;
	assert_true(feed_text(e, LHLO MAIL RCPT("no@x")));
	for (int i = 0; i < LMTP_RECIPIENTS_MAX; i++) {
		dynbuf_truncate(lmtp_protocol_out(e->p), 0);
		snprintf(line, sizeof(line), "RCPT TO:<%s%d@x>\r\n",
			 i % 100 == 7 ? "bad" : "a", i);
		assert_true(feed_text(e, line));
		expect_out(line, e, OK_RCPT);
	}
	dynbuf_truncate(&e->events, 0);
	assert_true(feed_text(e, RCPT("one@more") RCPT("no@x")));
	expect_out("too many", e,
		   "452 4.5.3 Too many recipients\r\n"
		   "452 4.5.3 Too many recipients\r\n");
	expect_events("too many", e, "", 0);
	assert_true(feed_text(e, "DATA\r\n.\r\n"));
	for (size_t i = 0, at = strlen(GO_ON); i < LMTP_RECIPIENTS_MAX; i++) {
		const char *want = i % 100 == 7 ? BAD : SENT;

		assert_true(
		    begins(dynbuf_str(lmtp_protocol_out(e->p)) + at, want));
		at += strlen(want);
	}
	peer_free(e);
}

/* --- answers that take their time ----------------------------------------- */

static void
test_kept_until_answered(void **state)
{
	static const char rest[] =
	    MAIL RCPT("b@x") "DATA\r\n.x\r\n.\r\nNOOP\r\n";
	struct peer *e = peer_new();

	(void)state;
	e->held = true;
	assert_true(feed_text(e, LHLO MAIL RCPT("a@x") "DATA\r\n.\r\n"));
	expect_out("before", e, HELLO OK_MAIL OK_RCPT GO_ON);
	expect_events("before", e, "M s@x\nR a@x\nE\n", 14);
	assert_true(feed_in_steps(e, rest, sizeof(rest) - 1, 5, 0));
	assert_true(lmtp_protocol_waits(e->p));
	expect_out("waiting", e, "");
	expect_events("waiting", e, "", 0);
	assert_true(lmtp_protocol_answer(e->p, e->replies, 1));
	expect_out("answered", e, SENT OK_MAIL OK_RCPT GO_ON);
	expect_events("answered", e, "M s@x\nR b@x\nD x\r\nE\n", 19);
	assert_true(lmtp_protocol_waits(e->p));
	assert_true(lmtp_protocol_answer(e->p, e->replies, 1));
	expect_out("answered again", e, SENT OK);
	assert_false(lmtp_protocol_waits(e->p));
	assert_false(lmtp_protocol_is_under_way(e->p));
	peer_free(e);
}

static void
test_kept_bound(void **state)
{
	static const size_t steps[] = { SIZE_MAX, 1, 1000 };
	static char text[LMTP_KEPT_MAX];

	(void)state;
	memset(text, '\n', sizeof(text));
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		struct peer *e = peer_new();

		e->held = true;
		assert_true(
		    feed_text(e, LHLO MAIL RCPT("a@x") "DATA\r\n.\r\n"));
		dynbuf_truncate(&e->events, 0);
		assert_true(feed_in_steps(e, text, sizeof(text), steps[i], 0));
		assert_false(feed(e, "x", 1));
		expect_out("too much", e, HELLO OK_MAIL OK_RCPT GO_ON);
		/* The answer is too late. */
		assert_false(lmtp_protocol_answer(e->p, e->replies, 1));
		expect_out("too late", e, "");
		expect_events("too late", e, "", 0);
		peer_free(e);
	}
}

/* Replies that are not taken. */
static void
test_out_bound(void **state)
{
	struct peer *e = peer_new();
	const struct dynbuf *out = lmtp_protocol_out(e->p);
	bool go_on = feed_text(e, LHLO MAIL);
	size_t n = 0;

	(void)state;
	assert_true(go_on);
	while (go_on && n++ < LMTP_OUT_MAX)
		go_on = feed_text(e, "VRFY x\r\n");
	assert_false(go_on);
	assert_true(out->len <= LMTP_OUT_MAX);
	assert_true(out->len > LMTP_OUT_MAX - 100);
	expect_events("too much", e, "M s@x\nX\n", 8);
	n = out->len;
	assert_false(feed_text(e, "NOOP\r\n"));
	assert_int_equal(out->len, n);
	peer_free(e);
}

/* The second reply would fit where the first one did not. */
static void
test_nothing_after_a_lost_reply(void **state)
{
	struct peer *e = peer_new();
	const struct dynbuf *out = lmtp_protocol_out(e->p);
	struct smtp_reply replies[2] = { { .code = 0 } };
	size_t len;

	(void)state;
	e->held = true;
	assert_true(feed_text(e, LHLO));
	while (out->len < LMTP_OUT_MAX - 300)
		assert_true(feed_text(e, "VRFY\r\n"));
	assert_true(feed_text(e, MAIL RCPT("a@x") RCPT("b@x") "DATA\r\n.\r\n"));
	len = out->len;
	smtp_reply_set(&replies[0], 250, "2.0.0", "%0*d", SMTP_REPLY_TEXT_MAX,
		       1);
	smtp_reply_set(&replies[1], 250, "2.0.0", "2");
	assert_false(lmtp_protocol_answer(e->p, replies, 2));
	assert_int_equal(out->len, len);
	peer_free(e);
}

/* --- the end -------------------------------------------------------------- */

#define DRAINED "421 4.3.2 Shutting down\r\n"

static void
test_drain(void **state)
{
	static const struct {
		const char *name, *before, *after, *want, *events;
		bool at_once; /* it is over as soon as it is drained */
	} rows[] = {
		{ "nothing said", "", "", DRAINED, "", true },
		{ "idle", LHLO, MAIL, HELLO DRAINED, "", true },
		{ "half a command", LHLO "MAIL FRO", "M:<>\r\n", HELLO DRAINED,
		  "", true },
		{ "after a message", LHLO MAIL RCPT("a@x") "DATA\r\n.\r\n", "",
		  HELLO OK_MAIL OK_RCPT GO_ON SENT DRAINED, "M s@x\nR a@x\nE\n",
		  true },
		{ "in a transaction", LHLO MAIL, RCPT("a@x") "DATA\r\n.\r\n",
		  HELLO OK_MAIL OK_RCPT GO_ON SENT DRAINED, "M s@x\nR a@x\nE\n",
		  false },
		{ "in the message", LHLO MAIL RCPT("a@x") "DATA\r\nx\r\n",
		  ".\r\nQUIT\r\n", HELLO OK_MAIL OK_RCPT GO_ON SENT BYE,
		  "M s@x\nR a@x\nD x\r\nE\n", false },
		{ "given up", LHLO MAIL, "RSET\r\n", HELLO OK_MAIL OK DRAINED,
		  "M s@x\nX\n", false },
		{ "another in one go", LHLO MAIL, "RSET\r\n" MAIL "NOOP\r\n",
		  HELLO OK_MAIL OK DRAINED, "M s@x\nX\n", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct peer *e = peer_new();

		assert_true(feed_text(e, rows[i].before));
		assert_int_equal(lmtp_protocol_drain(e->p), !rows[i].at_once);
		assert_false(feed_text(e, rows[i].after));
		expect_out(rows[i].name, e, rows[i].want);
		expect_events(rows[i].name, e, rows[i].events,
			      strlen(rows[i].events));
		assert_false(lmtp_protocol_drain(e->p));
		expect_out(rows[i].name, e, "");
		peer_free(e);
	}
}

static void
test_drain_while_waiting(void **state)
{
	struct peer *e = peer_new();

	(void)state;
	e->held = true;
	assert_true(feed_text(e, LHLO MAIL RCPT("a@x") "DATA\r\n.\r\n"));
	assert_true(lmtp_protocol_drain(e->p));
	assert_true(feed_text(e, "RSET\r\n"));
	assert_true(lmtp_protocol_is_under_way(e->p));
	assert_false(lmtp_protocol_answer(e->p, e->replies, 1));
	assert_false(lmtp_protocol_is_under_way(e->p));
	expect_out("drained", e, HELLO OK_MAIL OK_RCPT GO_ON SENT OK DRAINED);
	peer_free(e);
}

/* The connection is lost. */
static void
test_freed_at_any_time(void **state)
{
	static const struct {
		const char *name, *input, *events;
	} rows[] = {
		{ "nothing", LHLO, "" },
		{ "MAIL", LHLO MAIL, "M s@x\nX\n" },
		{ "RCPT", LHLO MAIL RCPT("a@x"), "M s@x\nR a@x\nX\n" },
		{ "DATA", LHLO MAIL RCPT("a@x") "DATA\r\na\r\n.",
		  "M s@x\nR a@x\nD a\r\nX\n" },
		{ "waiting", LHLO MAIL RCPT("a@x") "DATA\r\n.\r\nNOO",
		  "M s@x\nR a@x\nE\n" },
		{ "QUIT", LHLO MAIL "QUIT\r\n", "M s@x\nX\n" },
	};
	struct lmtp_protocol *none = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct peer *e = peer_new();

		e->held = true;
		(void)feed_text(e, rows[i].input);
		lmtp_protocol_free(&e->p);
		expect_events(rows[i].name, e, rows[i].events,
			      strlen(rows[i].events));
		peer_free(e);
	}
	lmtp_protocol_free(&none);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conversations),
		cmocka_unit_test(test_line_bound),
		cmocka_unit_test(test_size_bound),
		cmocka_unit_test(test_too_large_is_reset),
		cmocka_unit_test(test_no_size_bound),
		cmocka_unit_test(test_recipients_bound),
		cmocka_unit_test(test_kept_until_answered),
		cmocka_unit_test(test_kept_bound),
		cmocka_unit_test(test_out_bound),
		cmocka_unit_test(test_nothing_after_a_lost_reply),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_drain_while_waiting),
		cmocka_unit_test(test_freed_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
