/* SPDX-License-Identifier: MIT */
/*
 * header_text: from the bytes of a header field to the text they mean.
 *
 * The order that survives what real clients send (PHPMailer, nodemailer,
 * Python, Ruby, Symfony): unfold, each fold one space; RFC 2047, B and Q, any
 * charset iconv knows; trim. Owner of GMime's RFC 2047 decoder. Thread-safe; no
 * state.
 */
#ifndef TXM_POLICY_HEADER_TEXT_H
#define TXM_POLICY_HEADER_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* True when a header's name is `pattern`, or begins as one that ends with '*'
 * does; in any case. */
bool header_name_matches(const char *pattern, const char *name);

/* Once, before any other thread: GMime sets up its tables. */
void header_text_init(void);

enum header_text_result {
	HEADER_TEXT_OK,
	HEADER_TEXT_CONTROL, /* NUL, CR, LF or another control character */
};

/*
 * The decoded text of a raw value (folds as LF or CRLF and white space) in
 * *text_r: valid UTF-8 without control characters (a TAB becomes a space),
 * free(). When it is not OK, *text_r is NULL.
 */
enum header_text_result header_text(const char *raw, size_t len, char **text_r);

/*
 * Unfolded text as GMime 3.2.13 reads it right; free(). NULL when an encoded
 * word holds NUL, where GMime would end the text.
 *   8-bit text        becomes UTF-8: it is that already, or windows-1252
 *   base64 words      neighbours of one charset become one word, padded: PHP
 *                     and Python pad each, and GMime loses what follows a
 *                     padded word, and the end of one that is not padded
 *   iso-8859-1        in a word becomes windows-1252, as in bodies
 *   unknown charset   in a word becomes UTF-8 (see charset_is_known)
 * For whoever gives text to GMime.
 */
char *header_for_gmime(const char *text);

/* The RFC 2047 words of an unfolded text decoded, nothing else changed, but
 * that it becomes valid UTF-8; free(). NULL when a word holds NUL. */
char *header_words(const char *text);

/* A name as it stands before an address, free(): its words, quoted when they
 * must be, or as RFC 2047 words when it is not ASCII, or so long that it must
 * be folded. `name` is valid UTF-8 without control characters. Folds are LF and
 * a blank; no word is cut within a character. */
char *header_phrase(const char *name);

/* A text as the value of a header that is not read word by word, as Subject: as
 * it is, or as RFC 2047 words as above. free(). */
char *header_value(const char *text);

/* The raw value on one line: each fold one space, trimmed, nothing decoded.
 * free(). The length in *len_r, for a value may hold NUL. */
char *header_unfold(const char *raw, size_t len, size_t *len_r);

#endif
