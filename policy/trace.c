/* SPDX-License-Identifier: MIT */
#include "trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dialect.h"
#include "header_text.h"
#include "message.h"
#include "mime.h"

struct trace *
trace_new(void)
{
	struct trace *t = calloc(1, sizeof(*t));

	if (t == NULL)
		abort();
	return t;
}

void
trace_free(struct trace **tp)
{
	struct trace *t = *tp;

	if (t == NULL)
		return;
	for (size_t i = 0; i < t->n_headers; i++) {
		free(t->headers[i].name);
		free(t->headers[i].value);
	}
	for (size_t i = 0; i < t->n_parts; i++)
		free(t->parts[i].type);
	free(t->headers);
	free(t->parts);
	free(t);
	*tp = NULL;
}

static void *
grown(void *p, size_t n, size_t size)
{
	p = realloc(p, n * size);
	if (p == NULL)
		abort();
	return p;
}

static char *
beginning(const char *s, size_t len)
{
	char *c = strndup(s, len < TRACE_TEXT_MAX ? len : TRACE_TEXT_MAX);

	if (c == NULL)
		abort();
	return c;
}

/* The header that some dialect has a key in. */
static bool
is_secret(const char *name)
{
	for (size_t i = 0; dialects[i] != NULL; i++) {
		if (dialects[i]->key_header != NULL &&
		    strcasecmp(dialects[i]->key_header, name) == 0)
			return true;
	}
	return false;
}

void
trace_header(struct trace *t, const char *name, const char *value, size_t len)
{
	size_t unfolded_len;
	char *unfolded;

	if (is_secret(name)) {
		value = "***";
		len = strlen(value);
	}
	if (t == NULL || t->n_headers >= MESSAGE_HEADERS_MAX)
		return;
	unfolded = header_unfold(value, len, &unfolded_len);
	t->headers = grown(t->headers, t->n_headers + 1, sizeof(*t->headers));
	t->headers[t->n_headers++] = (struct trace_header){
		.name = beginning(name, strlen(name)),
		.value = beginning(unfolded, unfolded_len),
		.len = len,
		.fate = "",
		.why = "",
	};
	free(unfolded);
}

void
trace_part(struct trace *t, unsigned depth, const char *type,
	   const char *subtype)
{
	char text[TRACE_TEXT_MAX];

	if (t == NULL || t->n_parts >= MIME_PARTS_MAX)
		return;
	/* Cut, when it is that long. */
	(void)snprintf(text, sizeof(text), "%s/%s", type, subtype);
	t->parts = grown(t->parts, t->n_parts + 1, sizeof(*t->parts));
	t->parts[t->n_parts++] = (struct trace_part){
		.depth = depth,
		.type = beginning(text, strlen(text)),
		.fate = "",
		.why = "",
	};
}

void
trace_fate(struct trace *t, const char *fate, const char *why)
{
	if (t == NULL || t->n_parts == 0)
		return;
	t->parts[t->n_parts - 1].fate = fate;
	t->parts[t->n_parts - 1].why = why;
}

void
trace_change_fate(struct trace *t, const char *from, const char *fate,
		  const char *why)
{
	for (size_t i = t != NULL ? t->n_parts : 0; i-- > 0;) {
		if (strcmp(t->parts[i].fate, from) != 0)
			continue;
		t->parts[i].fate = fate;
		t->parts[i].why = why;
		return;
	}
}

static bool
came_before(const struct trace *t, size_t at)
{
	for (size_t i = 0; i < at; i++) {
		if (strcasecmp(t->headers[i].name, t->headers[at].name) == 0)
			return true;
	}
	return false;
}

static bool
is_about_mime(const char *name)
{
	return strncasecmp(name, "Content-", 8) == 0 ||
	       strcasecmp(name, "MIME-Version") == 0;
}

static void
judge_header(struct trace *t, size_t at, const struct dialect *d)
{
	struct trace_header *h = &t->headers[at];
	const struct header_rule *rule = dialect_rule(d, h->name);

	h->fate = "dropped";
	if (rule != NULL && came_before(t, at)) {
		h->why = "only the first one counts";
	} else if (rule != NULL && rule->control) {
		h->fate = "read";
		h->why = "a control header; it never leaves";
	} else if (rule != NULL) {
		h->fate = "read";
		h->why = "handed over in the request's own terms";
	} else if (dialect_is_control(h->name)) {
		h->why = "a control header of another provider";
	} else if (is_about_mime(h->name)) {
		h->fate = "read";
		h->why = "says how the body is to be read";
	} else if (d->keeps_others) {
		h->fate = "kept";
		h->why = "goes along where headers can";
	} else {
		h->why = "the provider passes no such header on";
	}
}

void
trace_judge_headers(struct trace *t, const struct dialect *d)
{
	for (size_t i = 0; i < t->n_headers; i++)
		judge_header(t, i, d);
}
