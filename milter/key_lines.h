/* SPDX-License-Identifier: MIT */
/*
 * key_lines: accounts and keys as JSON lines, as keystore_import() takes and
 * keystore_export_*() write them. No state.
 */
#ifndef TXM_MILTER_KEY_LINES_H
#define TXM_MILTER_KEY_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "keystore.h"

/* One of the two. */
struct key_line {
	struct account *account;   /* NULL: a key */
	char api_key[KEY_MAX + 1]; /* of an account */
	bool has_api_key;	   /* false: it has not said so */
	struct keystore_key key;
};

/* NULL, or what is wrong with the line, without any of it: a constant. line_r
 * is set either way: key_line_clear() it. */
const char *key_line_read(const char *text, size_t len,
			  struct key_line *line_r);
void key_line_clear(struct key_line *line);

#endif
