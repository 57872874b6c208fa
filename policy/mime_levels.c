/* SPDX-License-Identifier: MIT */
#include "mime_levels.h"

#include <stdlib.h>
#include <string.h>

#include "mime_field.h"

void
mime_levels_push(struct mime_levels *l, struct mime_type *t, bool attachment,
		 unsigned number, size_t begin, size_t content)
{
	const struct mime_level *above = mime_levels_top(l);
	bool alternative = strcmp(t->subtype, "alternative") == 0;
	bool related = strcmp(t->subtype, "related") == 0;
	bool outermost = alternative && above->alternative_above == 0;

	l->v[l->depth] = (struct mime_level){
		.boundary = t->boundary,
		.len = strlen(t->boundary),
		.digest = strcmp(t->subtype, "digest") == 0,
		.attachment = attachment,
		.related = above->related || related,
		.is_related = related,
		.place = { l->depth == 0, begin, content },
		.alternative = alternative,
		.is_signed =
		    above->is_signed || strcmp(t->subtype, "signed") == 0,
		.alternative_above =
		    outermost ? number : above->alternative_above,
	};
	l->depth++;
	t->boundary = NULL;
}

void
mime_levels_pop(struct mime_levels *l, unsigned depth)
{
	while (l->depth > depth) {
		const struct mime_level *level = &l->v[--l->depth];

		if (!level->begun && level->text)
			l->lost = "Content-Type: multipart whose boundary does "
				  "not occur";
		free(level->boundary);
	}
}

const struct mime_level *
mime_levels_top(const struct mime_levels *l)
{
	static const struct mime_level none;

	return l->depth > 0 ? &l->v[l->depth - 1] : &none;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

unsigned
mime_levels_match(const struct mime_levels *l, const char *line, size_t len,
		  bool *close_r)
{
	if (len > MIME_DELIMITER_MAX)
		return 0;
	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r' ||
			   is_blank(line[len - 1])))
		len--;
	if (len < 3 || line[0] != '-' || line[1] != '-')
		return 0;
	line += 2;
	len -= 2;
	for (unsigned i = l->depth; i > 0; i--) {
		const struct mime_level *level = &l->v[i - 1];

		*close_r = len == level->len + 2;
		if ((len == level->len || *close_r) &&
		    memcmp(line, level->boundary, level->len) == 0 &&
		    (!*close_r || memcmp(line + level->len, "--", 2) == 0))
			return i;
	}
	return 0;
}

void
mime_levels_at(struct mime_levels *l, unsigned depth, bool close)
{
	mime_levels_pop(l, depth);
	if (close)
		mime_levels_pop(l, depth - 1);
	else
		l->v[depth - 1].begun = true;
}

/* A preamble is nobody's text, unless no part follows it. */
void
mime_levels_between(struct mime_levels *l, const char *data, size_t len)
{
	struct mime_level *level;

	if (l->depth == 0)
		return;
	level = &l->v[l->depth - 1];
	for (size_t i = 0; !level->begun && !level->text && i < len; i++)
		level->text = (unsigned char)data[i] > ' ';
}
