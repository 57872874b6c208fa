/* SPDX-License-Identifier: MIT */
#include "edits.h"

#include <stdlib.h>
#include <string.h>

static char *
copy(const char *s)
{
	char *c = strdup(s);

	if (c == NULL)
		abort();
	return c;
}

struct edits *
edits_new(void)
{
	struct edits *e = calloc(1, sizeof(*e));

	if (e == NULL)
		abort();
	return e;
}

void
edits_free(struct edits **ep)
{
	struct edits *e = *ep;

	if (e == NULL)
		return;
	for (size_t i = 0; i < e->n_headers; i++) {
		free(e->headers[i].name);
		free(e->headers[i].value);
	}
	free(e->headers);
	free(e->sender);
	free(e->body);
	free(e->route);
	free(e);
	*ep = NULL;
}

static void
append(struct edits *e, enum edit_kind kind, const char *name, unsigned index,
       const char *value)
{
	/* A power of two: there is no room left behind it. */
	if ((e->n_headers & (e->n_headers - 1)) == 0) {
		size_t room = e->n_headers > 0 ? 2 * e->n_headers : 1;

		e->headers =
		    reallocarray(e->headers, room, sizeof(*e->headers));
		if (e->headers == NULL)
			abort();
	}
	e->headers[e->n_headers++] = (struct header_edit){
		.kind = kind,
		.name = copy(name),
		.index = index,
		.value = value != NULL ? copy(value) : NULL,
	};
}

void
edits_delete(struct edits *e, const char *name, unsigned index)
{
	append(e, EDIT_DELETE, name, index, NULL);
}

void
edits_change(struct edits *e, const char *name, unsigned index,
	     const char *value)
{
	append(e, EDIT_CHANGE, name, index, value);
}

void
edits_add(struct edits *e, const char *name, const char *value)
{
	append(e, EDIT_ADD, name, 0, value);
}
