/* SPDX-License-Identifier: MIT */
#include "html_to_text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "dynbuf.h"
#include "html_element.h"
#include "html_entity.h"
#include "html_look.h"
#include "html_scan.h"
#include "link_text.h"
#include "text_char.h"
#include "text_fill.h"
#include "utf8.h"

#define REPLACEMENT 0xfffd

/* "start" of a list that is taken for a number. */
#define LIST_START_MAX 100000

/* --- sets of kinds ------------------------------------------------------- */

#define TABLE_PARTS \
	(ELEMENT_ROWS | ELEMENT_ROW | ELEMENT_CELL | ELEMENT_CAPTION)
/* Elements outside of these are out of reach. */
#define SCOPE (ELEMENT_CELL | ELEMENT_CAPTION | ELEMENT_TABLE)
/* Those that HTML lets be closed by what follows. */
#define OPTIONAL_END                                                        \
	(ELEMENT_PARAGRAPH | ELEMENT_ITEM | ELEMENT_TERM | ELEMENT_DETAIL | \
	 ELEMENT_ROWS | ELEMENT_ROW | ELEMENT_CELL)
/* Those that close an open <p>. */
#define CLOSE_PARAGRAPH                                                       \
	(ELEMENT_BLOCK | ELEMENT_PARAGRAPH | ELEMENT_HEADING | ELEMENT_LIST | \
	 ELEMENT_ITEM | ELEMENT_TERM | ELEMENT_DETAIL | ELEMENT_QUOTE |       \
	 ELEMENT_PRE | ELEMENT_TABLE | ELEMENT_RULE)

/* --- reading ------------------------------------------------------------- */

enum attribute {
	A_HIDDEN,
	A_STYLE,
	A_WIDTH,
	A_HEIGHT,
	A_CLASS,
	A_HREF,
	A_ALT,
	A_START,
	A_SIZE,
	N_ATTRIBUTES
};

static const char *const attribute_names[N_ATTRIBUTES] = {
	[A_HIDDEN] = "hidden", [A_STYLE] = "style", [A_WIDTH] = "width",
	[A_HEIGHT] = "height", [A_CLASS] = "class", [A_HREF] = "href",
	[A_ALT] = "alt",       [A_START] = "start", [A_SIZE] = "size",
};

struct open_element {
	const struct html_element *e;
	const char *name; /* as it is written */
	size_t name_len;
	unsigned number; /* a list: of the next item; a row: of cells */
	bool hides;
	bool hidden;   /* by itself, or in what hides: it does nothing */
	bool was_tiny; /* around it */
	bool indents;
	bool ordered;
	bool alone; /* a cell that never shares a line */
	bool grid;  /* a table whose last row had cells that shared a line */
};

struct reader {
	struct text_fill fill;
	struct open_element open[HTML_DEPTH_MAX];
	size_t depth;
	size_t beyond;	     /* open elements that found no place */
	unsigned hidden;     /* open elements that hide */
	unsigned pre, lists; /* open ones that are not hidden */
	bool tiny;	     /* in a font of size 0 */
	bool skip_text;	     /* the next token, if it is text */
	bool drop_newline;   /* the first of a <pre> */
	bool last_is_ascii;
	uint32_t joiner; /* waits for a character to join */
	struct {
		const char *href; /* NULL: no link is open */
		size_t len;
		bool image; /* with a picture in it */
	} link;
	struct {
		bool fresh;	 /* has no word yet */
		bool joined;	 /* the one before shares its line, so far */
		size_t newlines; /* that were to follow that one */
		unsigned line;	 /* of the first word */
		size_t column;
	} cell;
};

/* --- characters ---------------------------------------------------------- */

static void
put_word(struct reader *r, const char *s, size_t n, size_t columns)
{
	text_fill_put(&r->fill, s, n, columns);
	r->joiner = 0;
	r->cell.joined = false;
	if (r->cell.fresh) {
		r->cell.fresh = false;
		r->cell.line = r->fill.lines;
		r->cell.column = r->fill.word_column;
	}
}

static void
blank(struct reader *r)
{
	r->joiner = 0;
	r->last_is_ascii = true;
	text_fill_gap(&r->fill, 1);
}

static void
put_code(struct reader *r, uint32_t c)
{
	char bytes[8];
	size_t n = 0;
	bool split =
	    text_char_is_wide(c) && r->pre == 0 && !text_char_is_closing(c);

	if (r->joiner != 0 && !r->last_is_ascii && c >= 0x80)
		n = utf8_put(r->joiner, bytes);
	if (split && n == 0)
		text_fill_gap(&r->fill, 0);
	n += utf8_put(c, bytes + n);
	put_word(r, bytes, n, text_char_is_wide(c) ? 2 : 1);
	r->last_is_ascii = c < 0x80;
}

static void
newline_of_pre(struct reader *r)
{
	if (!r->drop_newline)
		text_fill_break(&r->fill);
	r->drop_newline = false;
}

static void
put_character(struct reader *r, uint32_t c)
{
	bool first = r->drop_newline;

	if (r->pre > 0 && c == '\n') {
		newline_of_pre(r);
		return;
	}
	r->drop_newline = first && c == '\r';
	if (r->pre > 0 && (c == ' ' || c == '\t' || c == 0xa0))
		put_word(r, c == '\t' ? "\t" : " ", 1, 1);
	else if (r->pre > 0 && c == '\r')
		return;
	else if (text_char_is_blank(c))
		blank(r);
	else if (text_char_is_joiner(c))
		r->joiner = c;
	else if (!text_char_is_invisible(c))
		put_code(r, c);
}

static size_t
blanks_len(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && html_is_space(s[n]))
		n++;
	return n;
}

/* Letters that are themselves, from the start. */
static size_t
plain_len(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && s[n] > ' ' && s[n] < 0x7f && s[n] != '&')
		n++;
	return n;
}

enum references { REFERENCES_NONE, REFERENCES_TEXT, REFERENCES_ATTRIBUTE };

/* The character at s; how many bytes it has. */
static size_t
next_code(const char *s, size_t len, enum references refs, uint32_t *code_r)
{
	size_t n = 0;

	if (*s == '&') {
		if (refs != REFERENCES_NONE)
			n = html_reference(s, len, refs == REFERENCES_ATTRIBUTE,
					   code_r);
		if (n == 0)
			*code_r = '&';
		return n > 0 ? n : 1;
	}
	n = utf8_char_len(s, len);
	*code_r = n > 0 ? utf8_code(s, n) : REPLACEMENT;
	return n > 0 ? n : 1;
}

static void
put_text(struct reader *r, const char *s, size_t len, enum references refs)
{
	while (len > 0) {
		size_t n = plain_len(s, len);
		uint32_t code;

		if (n > 0) {
			put_word(r, s, n, n);
			r->last_is_ascii = true;
			r->drop_newline = false;
		} else if (r->pre == 0 && (n = blanks_len(s, len)) > 0) {
			blank(r);
		} else {
			n = next_code(s, len, refs, &code);
			put_character(r, code);
		}
		s += n;
		len -= n;
	}
}

/* --- links --------------------------------------------------------------- */

static void
begin_link(struct reader *r, const struct html_attr *href)
{
	if (!href->has_value)
		return;
	r->link.href = href->value;
	r->link.len = href->value_len;
	r->link.image = false;
	text_fill_mark(&r->fill);
}

/* The URL in parentheses; false: there is nothing to show. */
static bool
shown_url(const struct reader *r, struct dynbuf *shown, bool has_text)
{
	const struct dynbuf *out = r->fill.out;
	size_t mark = r->fill.mark;

	(void)dynbuf_adds(shown, "(");
	if (!link_text(shown, r->link.href, r->link.len) ||
	    (has_text && link_text_same(out->data + mark, out->len - mark,
					shown->data + 1, shown->len - 1)))
		return false;
	return dynbuf_adds(shown, ")");
}

/* A link without text and picture leads nowhere that anybody could see. */
static void
end_link(struct reader *r)
{
	bool has_text = text_fill_marked(&r->fill);
	DYNBUF_AUTO shown;
	size_t columns;

	dynbuf_init(&shown, LINK_TEXT_ROOM + 2);
	if (r->link.href != NULL && (has_text || r->link.image) &&
	    shown_url(r, &shown, has_text)) {
		columns = utf8_count(shown.data, shown.len);
		if (has_text)
			text_fill_attach(&r->fill, shown.data, shown.len,
					 columns);
		else
			put_word(r, shown.data, shown.len, columns);
		r->last_is_ascii = true;
	}
	r->link.href = NULL;
}

/* --- what elements do ---------------------------------------------------- */

/* On lines of its own. At the begin of a cell that stands beside another, a
 * paragraph is only what some editors put into every cell. */
static void
separate(struct reader *r, const struct html_element *e)
{
	size_t lines = e->kind == ELEMENT_LIST && r->lists > 0 ? 1 : e->lines;
	bool beside = r->cell.joined &&
		      (e->kind & (ELEMENT_BLOCK | ELEMENT_PARAGRAPH)) != 0;

	if (lines > 0 && !beside)
		text_fill_block(&r->fill, lines);
}

/* The innermost open element of these kinds below the depth, but none outside
 * of one of `within`; NULL. */
static struct open_element *
innermost_below(struct reader *r, size_t depth, unsigned kinds, unsigned within)
{
	for (size_t i = depth; i > 0; i--) {
		struct open_element *o = &r->open[i - 1];

		if (o->e->kind & kinds)
			return o;
		if (o->e->kind & within)
			break;
	}
	return NULL;
}

static struct open_element *
innermost(struct reader *r, unsigned kinds, unsigned within)
{
	return innermost_below(r, r->depth, kinds, within);
}

static void
begin_item(struct reader *r, struct open_element *o)
{
	struct open_element *list = innermost(r, ELEMENT_LIST, SCOPE);
	char first[TEXT_FILL_MARK] = "* ", rest[TEXT_FILL_MARK] = "";

	if (list != NULL && list->ordered)
		snprintf(first, sizeof(first), "%u. ", list->number++);
	memset(rest, ' ', strlen(first));
	o->indents = text_fill_push(&r->fill, first, rest);
}

static void
begin_list(struct reader *r, struct open_element *o,
	   const struct html_attr *start)
{
	struct open_element *around;
	unsigned number = 0;

	/* In no item of the list around it: the list itself is the top. */
	around = innermost_below(r, r->depth - 1, ELEMENT_LIST | ELEMENT_ITEM,
				 SCOPE);
	if (around != NULL && around->e->kind == ELEMENT_LIST)
		o->indents = text_fill_push(&r->fill, "  ", "  ");
	r->lists++;
	o->ordered = html_is(o->name, o->name_len, "ol");
	o->number = 1;
	for (size_t i = 0; i < start->value_len; i++) {
		char c = start->value[i];

		if (c < '0' || c > '9' || number > LIST_START_MAX)
			return;
		number = number * 10 + (unsigned)(c - '0');
		o->number = number;
	}
}

/* The first of a row in what is a table indeed follows the row above. */
static void
begin_cell(struct reader *r)
{
	struct open_element *row = innermost(r, ELEMENT_ROW, ELEMENT_TABLE);
	struct open_element *table = innermost(r, ELEMENT_TABLE, 0);

	if (row == NULL || row->number++ == 0)
		r->cell.joined = table != NULL && table->grid;
	r->cell.fresh = true;
}

/* The next stands beside a short one, which gives its line ends up for it. */
static void
end_cell(struct reader *r, const struct open_element *o)
{
	struct text_fill *f = &r->fill;

	text_fill_gap(f, 0);
	if (r->cell.fresh)
		return;
	r->cell.joined = f->lines == r->cell.line && !o->alone &&
			 f->column <= r->cell.column + HTML_CELL_COLUMNS;
	if (!r->cell.joined) {
		text_fill_block(f, 1);
		return;
	}
	r->cell.newlines = f->newlines;
	f->newlines = 0;
	text_fill_gap(f, 2);
}

/* One cell is no row: it stands as if there were no table. */
static void
end_row(struct reader *r, const struct open_element *o)
{
	struct open_element *table = innermost(r, ELEMENT_TABLE, 0);

	if (r->cell.joined && o->number == 1)
		text_fill_block(&r->fill, r->cell.newlines);
	if (table != NULL)
		table->grid = r->cell.joined && o->number > 1;
	r->cell.joined = false;
	r->cell.fresh = false;
}

static void
begin(struct reader *r, struct open_element *o, const struct html_attr *attrs)
{
	if (o->e->kind & (ELEMENT_TABLE | ELEMENT_LIST | ELEMENT_HEADING |
			  ELEMENT_QUOTE | ELEMENT_PRE)) {
		struct open_element *cell = innermost(r, ELEMENT_CELL, 0);

		if (cell != NULL)
			cell->alone = true;
	}
	separate(r, o->e);
	switch (o->e->kind) {
	case ELEMENT_LINK:
		begin_link(r, &attrs[A_HREF]);
		break;
	case ELEMENT_HEADING:
		text_fill_widest(&r->fill);
		break;
	case ELEMENT_LIST:
		begin_list(r, o, &attrs[A_START]);
		break;
	case ELEMENT_ITEM:
		begin_item(r, o);
		break;
	case ELEMENT_DETAIL:
		o->indents = text_fill_push(&r->fill, "  ", "  ");
		break;
	case ELEMENT_QUOTE:
		o->indents = text_fill_push(&r->fill, "> ", "> ");
		break;
	case ELEMENT_PRE:
		r->pre++;
		r->drop_newline = true;
		text_fill_verbatim(&r->fill, true);
		break;
	case ELEMENT_CELL:
		begin_cell(r);
		break;
	default:
		break;
	}
}

static void
underline(struct reader *r, char level)
{
	if (level == '1' || level == '2')
		text_fill_underline(&r->fill, level == '1' ? '=' : '-');
}

static void
end(struct reader *r, const struct open_element *o)
{
	switch (o->e->kind) {
	case ELEMENT_LINK:
		end_link(r);
		break;
	case ELEMENT_HEADING:
		underline(r, o->e->name[1]);
		break;
	case ELEMENT_LIST:
		r->lists--;
		break;
	case ELEMENT_PRE:
		r->drop_newline = false;
		if (--r->pre == 0)
			text_fill_verbatim(&r->fill, false);
		break;
	case ELEMENT_CELL:
		end_cell(r, o);
		break;
	case ELEMENT_ROW:
		end_row(r, o);
		break;
	default:
		break;
	}
	separate(r, o->e);
	if (o->indents)
		text_fill_pop(&r->fill);
}

static void
put_image(struct reader *r, const struct html_attr *attrs,
	  struct html_look look)
{
	if (look.hidden || look.no_width || look.no_height)
		return;
	r->link.image = true;
	if (!attrs[A_ALT].has_value)
		return;
	blank(r);
	put_text(r, attrs[A_ALT].value, attrs[A_ALT].value_len,
		 REFERENCES_ATTRIBUTE);
	blank(r);
}

/* --- open elements ------------------------------------------------------- */

static void
close_top(struct reader *r)
{
	struct open_element *o = &r->open[--r->depth];

	r->hidden -= o->hides;
	r->tiny = o->was_tiny;
	if (!o->hidden)
		end(r, o);
}

static void
close_through(struct reader *r, const struct open_element *o)
{
	size_t depth = (size_t)(o - r->open);

	while (r->depth > depth)
		close_top(r);
}

/* Closes the outermost open element of these kinds, and what is in it, but
 * none outside of one of `within`. */
static void
close_kinds(struct reader *r, unsigned kinds, unsigned within)
{
	struct open_element *found = NULL;

	for (size_t i = r->depth; i > 0; i--) {
		struct open_element *o = &r->open[i - 1];

		if (o->e->kind & kinds)
			found = o;
		else if (o->e->kind & within)
			break;
	}
	if (found != NULL)
		close_through(r, found);
}

/* What the standard closes before a start tag. A link stays open in what would
 * close the paragraph that it is in: it is opened again there. */
static void
close_before(struct reader *r, unsigned kind)
{
	if (kind & CLOSE_PARAGRAPH)
		close_kinds(r, ELEMENT_PARAGRAPH, SCOPE | ELEMENT_LINK);
	if (kind & ELEMENT_ITEM)
		close_kinds(r, ELEMENT_ITEM, ELEMENT_LIST | SCOPE);
	if (kind & (ELEMENT_TERM | ELEMENT_DETAIL))
		close_kinds(r, ELEMENT_TERM | ELEMENT_DETAIL,
			    ELEMENT_LIST | SCOPE);
	if (kind & ELEMENT_LINK)
		close_kinds(r, ELEMENT_LINK, SCOPE);
	if (kind & ELEMENT_HEADING)
		close_kinds(r, ELEMENT_HEADING,
			    ~(unsigned)(ELEMENT_INLINE | ELEMENT_LINK |
					ELEMENT_PARAGRAPH));
	if (kind & (ELEMENT_CELL | ELEMENT_CAPTION))
		close_kinds(r, ELEMENT_CELL | ELEMENT_CAPTION, ELEMENT_TABLE);
	if (kind & ELEMENT_ROW)
		close_kinds(r, ELEMENT_ROW | ELEMENT_CELL | ELEMENT_CAPTION,
			    ELEMENT_TABLE);
	if (kind & ELEMENT_ROWS)
		close_kinds(r, TABLE_PARTS, ELEMENT_TABLE);
}

/* A class may give a size, too: better a word too much than one that is lost.
 */
static bool
is_tiny(const struct reader *r, enum html_font font,
	const struct html_attr *attrs)
{
	if (font == HTML_FONT_SAME && r->tiny)
		return attrs[A_CLASS].name == NULL &&
		       attrs[A_SIZE].name == NULL;
	return font == HTML_FONT_NONE;
}

static void
open_element(struct reader *r, const struct html_token *t,
	     const struct html_element *e, const struct html_attr *attrs,
	     struct html_look look)
{
	struct open_element *o = &r->open[r->depth];

	if (r->depth == HTML_DEPTH_MAX) {
		r->beyond += (e->kind & OPTIONAL_END) == 0;
		if (r->hidden == 0)
			separate(r, e);
		return;
	}
	r->depth++;
	*o = (struct open_element){
		.e = e,
		.name = t->name,
		.name_len = t->name_len,
		.hides = look.hidden || e->kind == ELEMENT_HIDDEN,
		.was_tiny = r->tiny,
	};
	r->hidden += o->hides;
	r->tiny = is_tiny(r, look.font, attrs);
	o->hidden = r->hidden > 0;
	if (!o->hidden)
		begin(r, o, attrs);
}

static bool
is_same(const struct open_element *o, const struct html_element *e,
	const struct html_token *t)
{
	if (e->kind == ELEMENT_HEADING)
		return o->e->kind == ELEMENT_HEADING;
	return o->e == e && o->name_len == t->name_len &&
	       (e != &html_element_other ||
		strncasecmp(o->name, t->name, t->name_len) == 0);
}

/* The open element that this end tag is for; NULL. */
static struct open_element *
find_open(struct reader *r, const struct html_element *e,
	  const struct html_token *t)
{
	unsigned within = e->kind == ELEMENT_TABLE ? 0
			  : e->kind & TABLE_PARTS  ? ELEMENT_TABLE
						   : SCOPE;

	if (e->kind == ELEMENT_ITEM)
		within |= ELEMENT_LIST;
	for (size_t i = r->depth; i > 0; i--) {
		struct open_element *o = &r->open[i - 1];

		if (is_same(o, e, t))
			return o;
		if (o->e->kind & within)
			break;
	}
	return NULL;
}

/* --- tags ---------------------------------------------------------------- */

static void
start_tag(struct reader *r, const struct html_token *t)
{
	const struct html_element *e = html_element_find(t->name, t->name_len);
	struct html_attr attrs[N_ATTRIBUTES];
	struct html_look look;

	if (e->kind & (ELEMENT_SINGLE | ELEMENT_DOCUMENT))
		return;
	html_token_attrs(t, attribute_names, N_ATTRIBUTES, attrs);
	look = html_look(&attrs[A_HIDDEN], &attrs[A_STYLE], &attrs[A_WIDTH],
			 &attrs[A_HEIGHT]);
	close_before(r, e->kind);
	r->skip_text = e->kind == ELEMENT_HIDDEN;
	if ((e->kind & ELEMENT_NEVER_OPEN) == 0)
		open_element(r, t, e, attrs, look);
	else if (r->hidden > 0)
		return;
	else if (e->kind == ELEMENT_LINE_BREAK)
		text_fill_break(&r->fill);
	else if (e->kind == ELEMENT_RULE && !look.hidden)
		text_fill_rule(&r->fill);
	else if (e->kind == ELEMENT_IMAGE)
		put_image(r, attrs, look);
}

static void
end_tag(struct reader *r, const struct html_token *t)
{
	const struct html_element *e = html_element_find(t->name, t->name_len);
	struct open_element *o;

	if (e->kind == ELEMENT_LINE_BREAK && r->hidden == 0)
		text_fill_break(&r->fill); /* </br> is one, too */
	if ((e->kind & ELEMENT_NEVER_OPEN) != 0)
		return;
	if (r->beyond > 0) {
		r->beyond -= (e->kind & OPTIONAL_END) == 0;
		if (r->hidden == 0)
			separate(r, e);
		return;
	}
	o = find_open(r, e, t);
	if (o != NULL)
		close_through(r, o);
	else if (e->kind == ELEMENT_PARAGRAPH && r->hidden == 0)
		separate(r, e);
}

static void
token(struct reader *r, const struct html_token *t)
{
	bool skip = r->skip_text;

	r->skip_text = false;
	if (t->kind == HTML_START_TAG)
		start_tag(r, t);
	else if (t->kind == HTML_END_TAG)
		end_tag(r, t);
	else if (skip || r->hidden > 0 || r->tiny)
		return;
	else if (t->kind == HTML_TEXT)
		put_text(r, t->s, t->len, REFERENCES_TEXT);
	else if (t->kind == HTML_RAW_TEXT)
		put_text(r, t->s, t->len, REFERENCES_NONE);
}

bool
html_to_text(struct dynbuf *out, const char *html, size_t len)
{
	struct reader r = { .last_is_ascii = true };
	struct html_scan scan;
	struct html_token t;

	text_fill_init(&r.fill, out);
	html_scan_init(&scan, html, len);
	while (!out->overflow && html_scan_next(&scan, &t)) {
		size_t read = (size_t)(scan.at - html);

		text_fill_allow(&r.fill, 2 * read + 256);
		token(&r, &t);
	}
	while (r.depth > 0)
		close_top(&r);
	text_fill_end(&r.fill);
	return !out->overflow;
}
