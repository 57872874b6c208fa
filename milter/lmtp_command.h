/* SPDX-License-Identifier: MIT */
/*
 * lmtp_command: what stands behind MAIL and RCPT, as RFC 5321 section 4.1.2
 * writes it, with the parameters of SIZE (RFC 1870), 8BITMIME (RFC 6152),
 * SMTPUTF8 (RFC 6531) and DSN (RFC 3461, RFC 6533).
 *
 *   MAIL FROM:<path> [SIZE=n] [BODY=7BIT|8BITMIME] [SMTPUTF8] [RET=] [ENVID=]
 *   RCPT TO:<path> [ORCPT=type;text] [NOTIFY=]
 *
 * RET, ENVID and NOTIFY are Postfix's own business: not looked at. A source
 * route is left out (RFC 5321, appendix C). A quoted local part stays quoted;
 * a domain may be missing. Bytes above 0x7f must be printable UTF-8.
 * Thread-safe; no state.
 */
#ifndef TXM_MILTER_LMTP_COMMAND_H
#define TXM_MILTER_LMTP_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dynbuf;

/* NULL: good. Else a reply without its line end: 501 5.1.7 or 5.1.3 for an
 * address, 501 5.5.4 for a parameter, 555 5.5.4 for one that is unknown. args:
 * what follows "MAIL " or "RCPT ", without control characters. */

/* What MAIL says of the message. */
struct lmtp_mail {
	uint64_t size;	/* 0 when it is not said; UINT64_MAX: no less */
	bool eight_bit; /* BODY=8BITMIME */
	bool utf8;	/* SMTPUTF8 */
};

const char *lmtp_command_mail(const char *args, size_t len,
			      struct dynbuf *sender, struct lmtp_mail *mail_r);

/* typed: the text of ORCPT, decoded; empty when there is none, when it is of
 * another type than rfc822 and utf-8, or cannot be printed. */
const char *lmtp_command_rcpt(const char *args, size_t len,
			      struct dynbuf *address, struct dynbuf *typed);

#endif
