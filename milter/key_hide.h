/* SPDX-License-Identifier: MIT */
/*
 * key_hide: a key out of what a peer said. Thread-safe; no state.
 */
#ifndef TXM_MILTER_KEY_HIDE_H
#define TXM_MILTER_KEY_HIDE_H

#include <stddef.h>

/* Overwrites each occurrence of a key with '*', in text as it came or as it was
 * decoded: the key; of "account:token" that of the token alone, too; and
 * `basic`, what HTTP's Basic makes of the key, with or without its padding
 * (NULL or "": nothing). Each character may be written as JSON escapes it:
 * whoever decodes the text later finds no key in it, and JSON stays JSON.
 * data may be NULL when len is 0. */
void key_hide(char *data, size_t len, const char *key, const char *basic);

#endif
