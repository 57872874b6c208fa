/* SPDX-License-Identifier: MIT */
#include "address_lines.h"

#include <stdlib.h>
#include <string.h>

#include "header_text.h"
#include "message.h"

#define COLUMNS 76

void
address_lines_begin(struct address_lines *a, const char *header)
{
	dynbuf_init(&a->text, MESSAGE_HEADER_MAX - strlen(header) - 2);
	a->column = strlen(header) + 2;
}

static void
add_piece(struct address_lines *a, const char *piece)
{
	const char *last = strrchr(piece, '\n');
	size_t width = strcspn(piece, "\n");

	if (a->text.len > 0 && a->column + 1 + width > COLUMNS) {
		dynbuf_adds(&a->text, "\n ");
		a->column = 1;
	} else if (a->text.len > 0) {
		dynbuf_adds(&a->text, " ");
		a->column++;
	}
	dynbuf_adds(&a->text, piece);
	a->column = last != NULL ? strlen(last + 1) : a->column + width;
}

void
address_lines_add(struct address_lines *a, const char *name,
		  const char *address)
{
	char *phrase = header_phrase(name);
	DYNBUF_AUTO bracketed;

	dynbuf_init(&bracketed, MESSAGE_HEADER_MAX);
	dynbuf_addf(&bracketed, *name != '\0' ? "<%s>" : "%s", address);
	if (a->text.len > 0) {
		dynbuf_adds(&a->text, ",");
		a->column++;
	}
	if (*name != '\0')
		add_piece(a, phrase);
	add_piece(a, dynbuf_str(&bracketed));
	free(phrase);
}
