/* SPDX-License-Identifier: MIT */
/*
 * utf8: is it UTF-8, without C1 or other control characters?
 *
 * Strict: no overlong forms, no surrogates, nothing above U+10FFFF (RFC 3629).
 * Thread-safe; no state.
 */
#ifndef TXM_POLICY_UTF8_H
#define TXM_POLICY_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the valid character at s; 0 when there is none. */
size_t utf8_char_len(const char *s, size_t len);

/* How many bytes from the start are valid. */
size_t utf8_valid_prefix(const char *s, size_t len);

/* The code point of the valid character of n bytes at s. */
uint32_t utf8_code(const char *s, size_t n);

/* Writes the code point, which must be one of Unicode's and no surrogate; how
 * many bytes. */
size_t utf8_put(uint32_t code, char dst[4]);

/* True when s has no byte above 0x7f. */
bool utf8_is_ascii(const char *s, size_t len);

/* True when s has no control character (C0, DEL, or C1 as U+0080 to U+009F). */
bool utf8_is_printable(const char *s, size_t len);

/* Characters of valid UTF-8. */
size_t utf8_count(const char *s, size_t len);

#endif
