/* SPDX-License-Identifier: MIT */
/*
 * smtp_reply: what an SMTP client (or Postfix, over LMTP) is told.
 *
 * A plain value. The text is made safe when it is set, so that everything
 * behind this wall can rely on it: printable UTF-8, no CR or LF, never empty,
 * at most SMTP_REPLY_TEXT_MAX bytes. Doubling '%' is libmilter's business and
 * is done where libmilter is called.
 */
#ifndef TXM_POLICY_SMTP_REPLY_H
#define TXM_POLICY_SMTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>

/* libmilter refuses lines of more than 980 bytes; '%' may double. */
#define SMTP_REPLY_TEXT_MAX 400

struct smtp_reply {
	int code;	   /* 250, 4xx or 5xx; 0: not set */
	char enhanced[12]; /* "5.6.0": its class is the code's first digit */
	char text[SMTP_REPLY_TEXT_MAX + 1];
};

/* Sets code, enhanced status code and text (printf-style; made safe, and cut
 * with "..." when too long: a text is for people, its end is not data). A
 * class that does not agree with the code is a programmer's error: assert. */
void smtp_reply_set(struct smtp_reply *r, int code, const char *enhanced,
		    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

bool smtp_reply_is_set(const struct smtp_reply *r);

/* Copies text into dst: control characters and invalid UTF-8 become '?', runs
 * of white space one space; cut at a character with "..." when it does not
 * fit. For anything a peer wrote that goes into a reply or a log line. */
void smtp_reply_safe_text(char *dst, size_t size, const char *text, size_t len);

#endif
