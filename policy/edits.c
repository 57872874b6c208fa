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
	for (size_t i = 0; i < e->n_recipients; i++)
		free(e->recipients[i]);
	free(e->recipients);
	free(e->sender);
	free(e->body);
	free(e->route);
	free(e);
	*ep = NULL;
}

/* For one more than n. A power of two: there is no room left behind it. */
static void *
grow(void *v, size_t n, size_t size)
{
	if ((n & (n - 1)) != 0)
		return v;
	v = reallocarray(v, n > 0 ? 2 * n : 1, size);
	if (v == NULL)
		abort();
	return v;
}

static void
append(struct edits *e, enum edit_kind kind, const char *name, unsigned index,
       const char *value)
{
	e->headers = grow(e->headers, e->n_headers, sizeof(*e->headers));
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

void
edits_add_recipient(struct edits *e, const char *address)
{
	e->recipients =
	    grow(e->recipients, e->n_recipients, sizeof(*e->recipients));
	e->recipients[e->n_recipients++] = copy(address);
}
