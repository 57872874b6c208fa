/* SPDX-License-Identifier: MIT */
#include "outgoing.h"

#include <stdlib.h>

struct outgoing *
outgoing_new(void)
{
	struct outgoing *o = calloc(1, sizeof(*o));

	if (o == NULL)
		abort();
	return o;
}

void
outgoing_free(struct outgoing **op)
{
	struct outgoing *o = *op;

	if (o == NULL)
		return;
	for (size_t i = 0; i < o->n_recipients; i++) {
		free(o->recipients[i].email);
		free(o->recipients[i].name);
	}
	free(o->recipients);
	free(o->from_name);
	free(o->from_email);
	free(o->return_path);
	free(o->subject);
	free(o->reply_to);
	free(o->message_id);
	free(o->tag);
	free(o->template_id);
	free(o->variables);
	free(o->route_id);
	free(o->html);
	free(o);
	*op = NULL;
}
