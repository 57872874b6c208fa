/* SPDX-License-Identifier: MIT */
/*
 * header_json: JSON as the value of a header.
 *
 * ASCII, the rest as \u escapes; one blank behind each comma and colon and no
 * other between the tokens, of which some are folds. So a reader that unfolds
 * as RFC 5322 says has the same JSON, and one that takes a fold for nothing,
 * too. Numbers stay as they were written. Thread-safe; no state.
 */
#ifndef TXM_POLICY_HEADER_JSON_H
#define TXM_POLICY_HEADER_JSON_H

#include <stddef.h>

/* A token is not folded, and a line may have 998 bytes (RFC 5322, section
 * 2.1.1). */
#define HEADER_JSON_TOKEN_MAX 900

/* json: valid JSON text, valid UTF-8. name: of the header, for its first line.
 * free(). NULL: a token of it is too long, or all of it (MESSAGE_HEADER_MAX).
 */
char *header_json(const char *name, const char *json);

#endif
