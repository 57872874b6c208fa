/* SPDX-License-Identifier: MIT */
/*
 * charset: the bytes of a text part as UTF-8.
 *
 * Labels are read as mail is really written: us-ascii and iso-8859-1 hold
 * windows-1252, a missing label means UTF-8 where the bytes are that and
 * windows-1252 where they are not. A byte order mark is removed. Bytes that
 * are not of the charset become U+FFFD, for a cut-off character must not stop
 * a receipt. An unknown label is an error unless the text is plain ASCII.
 * Thread-safe; iconv by GLib.
 */
#ifndef TXM_POLICY_CHARSET_H
#define TXM_POLICY_CHARSET_H

#include <stdbool.h>
#include <stddef.h>

struct dynbuf;

/* More wrong characters than this, and it is another charset: iconv stops at
 * each, and 3 MB of them took it half a minute. (UTF-8 is checked here, and
 * fast.) */
#define CHARSET_REPLACED_MAX 10000

enum charset_result {
	CHARSET_OK,
	CHARSET_UNKNOWN,
	CHARSET_WRONG,	   /* over CHARSET_REPLACED_MAX */
	CHARSET_TOO_LARGE, /* grew over the buffer's maximum */
};

/* Converts the contents of `text` in place (its memory may be replaced).
 * *replaced_r says whether anything was. */
enum charset_result charset_to_utf8(struct dynbuf *text, const char *label,
				    bool *replaced_r);

/* True when a label is one that iconv knows, under that name. GMime and glibc
 * remember each name they are asked for, for ever: they are not asked for names
 * that senders make up. */
bool charset_is_known(const char *label, size_t len);

#endif
