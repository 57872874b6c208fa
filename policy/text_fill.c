/* SPDX-License-Identifier: MIT */
#include "text_fill.h"

#include <string.h>

#include "dynbuf.h"

#define GAP "    " /* the largest */
#define RULE "----------------------------------------"

void
text_fill_init(struct text_fill *f, struct dynbuf *out)
{
	*f = (struct text_fill){ .out = out, .begin = out->len };
	f->mark = TEXT_FILL_UNMARKED;
	text_fill_allow(f, 0);
}

void
text_fill_allow(struct text_fill *f, size_t bytes)
{
	f->allowed = f->begin + bytes;
}

static bool
is_allowed(const struct text_fill *f)
{
	return f->out->len < f->allowed;
}

/* --- lines --------------------------------------------------------------- */

static void
add(struct text_fill *f, const char *s, size_t n)
{
	(void)dynbuf_add(f->out, s, n);
}

/* Where the blanks before `at` begin. */
static size_t
skip_blanks_back(const struct text_fill *f, size_t at)
{
	const char *data = f->out->data;

	while (at > f->begin && (data[at - 1] == ' ' || data[at - 1] == '\t'))
		at--;
	return at;
}

static void
trim(struct text_fill *f)
{
	dynbuf_truncate(f->out, skip_blanks_back(f, f->out->len));
}

/* What the next line begins with: of the first n levels. */
static void
indent(struct text_fill *f, size_t n)
{
	bool allowed = is_allowed(f);

	for (size_t i = 0; i < n; i++) {
		struct text_fill_level *l = &f->levels[i];
		const char *s = l->used ? l->rest : l->first;

		l->used = true;
		if (!allowed)
			continue;
		add(f, s, strlen(s));
		f->column += strlen(s);
	}
}

static void
note_width(struct text_fill *f, size_t column)
{
	if (f->widest != TEXT_FILL_UNMARKED && column > f->widest)
		f->widest = column;
}

static void
end_line(struct text_fill *f)
{
	trim(f);
	note_width(f, f->column);
	f->column = 0;
	f->begun = false;
	if (f->out->len == f->begin)
		return;
	add(f, "\n", 1);
	f->lines++;
}

/* Quotation marks go through an empty line when it is within the quotation:
 * its level was there before and still is. */
static void
end_lines(struct text_fill *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		end_line(f);
		if (i + 1 < n)
			indent(f, f->old_levels);
	}
	indent(f, f->n_levels);
}

static void
begin_word(struct text_fill *f)
{
	if (f->out->len == f->begin) {
		indent(f, f->n_levels);
	} else if (f->rule && is_allowed(f)) {
		end_lines(f, 2);
		add(f, RULE, strlen(RULE));
		end_lines(f, 2);
	} else if (f->newlines > 0) {
		end_lines(f, f->newlines);
	}
	f->gap_at = f->out->len;
	if (f->begun) {
		add(f, GAP, f->gap);
		f->column += f->gap;
	}
	f->rule = false;
	f->newlines = 0;
	f->gap = 0;
	f->old_levels = f->n_levels;
	if (f->widest == TEXT_FILL_UNMARKED)
		f->widest = 0;
	f->in_word = true;
	f->word_at = f->out->len;
	f->word_column = f->column;
}

/* --- words --------------------------------------------------------------- */

/* Instead of the gap before the word: a line end, and what a line begins with.
 */
static void
move_down(struct text_fill *f)
{
	char lead[1 + TEXT_FILL_INDENT + 1] = "\n";
	size_t word = f->out->len - f->word_at, n = 1;

	for (size_t i = 0; i < f->n_levels && is_allowed(f); i++) {
		size_t len = strlen(f->levels[i].rest);

		memcpy(lead + n, f->levels[i].rest, len);
		n += len;
	}
	if (dynbuf_room(f->out, n) == NULL)
		return;
	f->gap_at = skip_blanks_back(f, f->gap_at);
	memmove(f->out->data + f->gap_at + n, f->out->data + f->word_at, word);
	memcpy(f->out->data + f->gap_at, lead, n);
	f->out->len = f->gap_at + n + word;
	f->out->data[f->out->len] = '\0';
	if (text_fill_marked(f) && f->mark >= f->word_at)
		f->mark = f->mark - f->word_at + f->gap_at + n;
	f->column = n - 1 + (f->column - f->word_column);
	f->lines++;
}

static void
end_word(struct text_fill *f)
{
	if (!f->in_word)
		return;
	f->in_word = false;
	if (f->begun && f->column > TEXT_FILL_COLUMNS && !f->verbatim) {
		note_width(f, f->word_column - (f->word_at - f->gap_at));
		move_down(f);
	}
	f->begun = true;
}

void
text_fill_put(struct text_fill *f, const char *s, size_t n, size_t columns)
{
	if (!f->in_word)
		begin_word(f);
	if (f->mark == TEXT_FILL_MARKING)
		f->mark = f->out->len;
	add(f, s, n);
	f->column += columns;
}

void
text_fill_gap(struct text_fill *f, size_t blanks)
{
	end_word(f);
	if (blanks > strlen(GAP))
		blanks = strlen(GAP);
	if (f->gap < blanks)
		f->gap = blanks;
}

void
text_fill_block(struct text_fill *f, size_t n)
{
	end_word(f);
	if (f->newlines < n)
		f->newlines = n;
}

void
text_fill_break(struct text_fill *f)
{
	end_word(f);
	if (f->verbatim || f->newlines < 2)
		f->newlines++;
}

void
text_fill_rule(struct text_fill *f)
{
	text_fill_block(f, 2);
	f->rule = true;
}

void
text_fill_verbatim(struct text_fill *f, bool verbatim)
{
	end_word(f);
	f->verbatim = verbatim;
}

void
text_fill_attach(struct text_fill *f, const char *s, size_t n, size_t columns)
{
	size_t newlines = f->newlines, gap = f->gap;
	bool rule = f->rule;

	end_word(f);
	f->newlines = 0;
	f->gap = 1;
	f->rule = false;
	text_fill_put(f, s, n, columns);
	if (newlines == 0 && gap == 0)
		return;
	end_word(f);
	f->newlines = newlines;
	f->gap = gap;
	f->rule = rule;
}

/* --- indents ------------------------------------------------------------- */

static size_t
indent_width(const struct text_fill *f)
{
	size_t width = 0;

	for (size_t i = 0; i < f->n_levels; i++)
		width += strlen(f->levels[i].rest);
	return width;
}

bool
text_fill_push(struct text_fill *f, const char *first, const char *rest)
{
	struct text_fill_level *l;
	size_t n = strlen(rest);

	if (f->n_levels == TEXT_FILL_LEVELS || n >= TEXT_FILL_MARK ||
	    indent_width(f) + n > TEXT_FILL_INDENT)
		return false;
	end_word(f);
	l = &f->levels[f->n_levels++];
	memcpy(l->first, first, n + 1);
	memcpy(l->rest, rest, n + 1);
	l->used = false;
	return true;
}

void
text_fill_pop(struct text_fill *f)
{
	end_word(f);
	f->n_levels--;
	if (f->old_levels > f->n_levels)
		f->old_levels = f->n_levels;
}

/* --- what was written ---------------------------------------------------- */

void
text_fill_mark(struct text_fill *f)
{
	f->mark = TEXT_FILL_MARKING;
}

bool
text_fill_marked(const struct text_fill *f)
{
	return f->mark < TEXT_FILL_MARKING;
}

void
text_fill_widest(struct text_fill *f)
{
	end_word(f);
	f->widest = TEXT_FILL_UNMARKED;
}

void
text_fill_underline(struct text_fill *f, char c)
{
	char line[TEXT_FILL_COLUMNS];
	size_t width, indented = indent_width(f);

	end_word(f);
	if (f->widest == TEXT_FILL_UNMARKED || !is_allowed(f))
		return;
	note_width(f, f->column);
	width = f->widest > indented ? f->widest - indented : 1;
	if (width + indented > sizeof(line))
		width = sizeof(line) - indented;
	memset(line, c, width);
	f->newlines = 1;
	f->gap = 0;
	text_fill_put(f, line, width, width);
	end_word(f);
}

void
text_fill_end(struct text_fill *f)
{
	end_word(f);
	trim(f);
	if (f->out->len > f->begin)
		add(f, "\n", 1);
}
