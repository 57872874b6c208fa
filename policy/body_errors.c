/* SPDX-License-Identifier: MIT */
#include "body_errors.h"

#include <stddef.h>
#include <stdio.h>

/* NULL: there is one for the same already. */
static struct body_error *
add(struct body_errors *e, unsigned concerns)
{
	for (unsigned i = 0; i < e->n; i++) {
		if (e->v[i].concerns == concerns)
			return NULL;
	}
	if (e->n == BODY_ERRORS_MAX)
		return NULL;
	e->v[e->n].concerns = concerns;
	return &e->v[e->n++];
}

void
body_errors_add(struct body_errors *e, unsigned concerns, const char *why)
{
	struct body_error *error = add(e, concerns);

	if (error != NULL)
		(void)snprintf(error->text, sizeof(error->text), "%s", why);
}

void
body_errors_too_large(struct body_errors *e, unsigned concerns,
		      const char *what, int most)
{
	struct body_error *error = add(e, concerns);

	if (error == NULL)
		return;
	error->too_large = true;
	(void)snprintf(error->text, sizeof(error->text),
		       "%s larger than %d bytes", what, most);
}

const struct body_error *
body_errors_of(const struct body_errors *e, unsigned needs)
{
	for (unsigned i = 0; i < e->n; i++) {
		if (e->v[i].concerns == BODY_ALL ||
		    (e->v[i].concerns & needs) != 0)
			return &e->v[i];
	}
	return NULL;
}

const struct body_error *
body_errors_of_all(const struct body_errors *e)
{
	return body_errors_of(e, 0);
}
