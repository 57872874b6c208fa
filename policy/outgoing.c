/* SPDX-License-Identifier: MIT */
#include "outgoing.h"

#include <stdlib.h>
#include <string.h>

#define STRING(member)                                     \
	{                                                  \
#member, offsetof(struct outgoing, member) \
	}

const struct outgoing_string outgoing_strings[] = {
	STRING(from_name),  STRING(from_email), STRING(return_path),
	STRING(subject),    STRING(reply_to),	STRING(to),
	STRING(cc),	    STRING(message_id), STRING(tag),
	STRING(labels),	    STRING(metadata),	STRING(template_id),
	STRING(variables),  STRING(dkim_key),	STRING(ip_pool),
	STRING(subaccount), STRING(route_id),
};

const size_t outgoing_n_strings =
    sizeof(outgoing_strings) / sizeof(outgoing_strings[0]);

const struct outgoing_switch_row outgoing_switches[] = {
	STRING(open_tracking), STRING(click_tracking),	 STRING(inline_css),
	STRING(transactional), STRING(skip_suppression),
};

/* They stand together in the struct: none of them is without a row. */
_Static_assert(sizeof(outgoing_strings) / sizeof(outgoing_strings[0]) ==
		   (offsetof(struct outgoing, route_id) -
		    offsetof(struct outgoing, from_name)) /
			   sizeof(char *) +
		       1,
	       "a string of outgoing has no row");
_Static_assert(sizeof(outgoing_switches) / sizeof(outgoing_switches[0]) ==
		   (offsetof(struct outgoing, skip_suppression) -
		    offsetof(struct outgoing, open_tracking)) /
			   sizeof(enum outgoing_switch) +
		       1,
	       "a switch of outgoing has no row");

const size_t outgoing_n_switches =
    sizeof(outgoing_switches) / sizeof(outgoing_switches[0]);

const char *const outgoing_kinds[OUTGOING_KINDS] = {
	[OUTGOING_TO] = "to",
	[OUTGOING_CC] = "cc",
	[OUTGOING_BCC] = "bcc",
	[OUTGOING_ARCHIVE] = "archive",
};

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

struct outgoing *
outgoing_new(void)
{
	return need(calloc(1, sizeof(struct outgoing)));
}

void
outgoing_free(struct outgoing **op)
{
	struct outgoing *o = *op;

	if (o == NULL)
		return;
	for (size_t i = 0; i < outgoing_n_strings; i++)
		free(*outgoing_string_at(o, i));
	for (size_t i = 0; i < o->n_recipients; i++) {
		free(o->recipients[i].email);
		free(o->recipients[i].name);
	}
	free(o->recipients);
	for (size_t i = 0; i < o->n_headers; i++) {
		free(o->headers[i].name);
		free(o->headers[i].value);
	}
	free(o->headers);
	free(o->html);
	free(o->text);
	free(o->amp);
	body_files_free(&o->files, o->n_files);
	free(o);
	*op = NULL;
}

/* Room for one more than n; it doubles at each power of two. */
static void *
grow(void *v, size_t n, size_t size)
{
	if ((n & (n - 1)) != 0)
		return v;
	return need(reallocarray(v, n > 0 ? 2 * n : 1, size));
}

void
outgoing_add_recipient(struct outgoing *o, const char *email, const char *name,
		       enum outgoing_kind kind)
{
	o->recipients =
	    grow(o->recipients, o->n_recipients, sizeof(*o->recipients));
	o->recipients[o->n_recipients++] = (struct outgoing_recipient){
		.email = need(strdup(email)),
		.name = need(strdup(name)),
		.kind = kind,
	};
}

void
outgoing_add_header(struct outgoing *o, const char *name, const char *value)
{
	o->headers = grow(o->headers, o->n_headers, sizeof(*o->headers));
	o->headers[o->n_headers++] = (struct outgoing_header){
		.name = need(strdup(name)),
		.value = need(strdup(value)),
	};
}

char **
outgoing_string_at(struct outgoing *o, size_t row)
{
	return (char **)(void *)((char *)o + outgoing_strings[row].offset);
}

const char *
outgoing_string(const struct outgoing *o, size_t row)
{
	return *(char *const *)(const void *)((const char *)o +
					      outgoing_strings[row].offset);
}

enum outgoing_switch *
outgoing_switch_at(struct outgoing *o, size_t row)
{
	return (enum outgoing_switch *)(void *)((char *)o +
						outgoing_switches[row].offset);
}

enum outgoing_switch
outgoing_switch_is(const struct outgoing *o, size_t row)
{
	return *(const enum outgoing_switch
		     *)(const void *)((const char *)o +
				      outgoing_switches[row].offset);
}
