/* SPDX-License-Identifier: MIT */
/*
 * text_fill: words, breaks and indents become lines of plain text.
 *
 * Words come in pieces; a blank, a gap or a break ends one. Lines are broken
 * between words before TEXT_FILL_COLUMNS; a longer word stands on a line of
 * its own. Breaks wait until there is a word behind them, so that none stands
 * at the begin or at the end, and no line ends with a blank. Lines end with LF.
 *
 * Each byte is written once and moved at most once. What was not in the words
 * (indents, rules, underlines) is left out while the text is longer than
 * text_fill_allow() said. When the buffer is full its `overflow` tells; calls
 * after that do no harm. Not thread-safe.
 */
#ifndef TXM_POLICY_TEXT_FILL_H
#define TXM_POLICY_TEXT_FILL_H

#include <stdbool.h>
#include <stddef.h>

struct dynbuf;

#define TEXT_FILL_COLUMNS 78
/* Indents within each other, and the columns that they take together. */
#define TEXT_FILL_LEVELS 8
#define TEXT_FILL_INDENT 32
#define TEXT_FILL_MARK 16 /* "* ", "12. ", "> ", with NUL */

/* An offset that is not known: not asked for; when there is a next word. */
#define TEXT_FILL_UNMARKED ((size_t)-1)
#define TEXT_FILL_MARKING ((size_t)-2)

struct text_fill {
	struct dynbuf *out;
	size_t begin;	/* of the text, in out */
	size_t allowed; /* up to here in out there are indents and lines */
	size_t column;
	size_t widest; /* of the lines since text_fill_widest(); or unmarked */
	size_t gap_at; /* in out: of what is before the word */
	size_t word_at;
	size_t word_column;
	size_t mark;	 /* in out: see text_fill_mark() */
	size_t newlines; /* that wait for a word */
	size_t gap;
	unsigned lines; /* begun */
	bool rule;
	bool in_word;
	bool begun; /* the line has a word */
	bool verbatim;
	struct text_fill_level {
		char first[TEXT_FILL_MARK]; /* on its first line */
		char rest[TEXT_FILL_MARK];
		bool used;
	} levels[TEXT_FILL_LEVELS];
	size_t n_levels;
	size_t old_levels; /* of them, those the last word was in */
};

/* Text is appended to out. */
void text_fill_init(struct text_fill *f, struct dynbuf *out);

/* How many bytes the text may have before indents and lines are left out. */
void text_fill_allow(struct text_fill *f, size_t bytes);

/* A piece of a word: n bytes, in that many columns. */
void text_fill_put(struct text_fill *f, const char *s, size_t n,
		   size_t columns);

/* Ends the word. The gap before the next is as wide as the widest that was
 * asked for: a line may be broken there. */
void text_fill_gap(struct text_fill *f, size_t blanks);

/* At least n line ends before what follows (2: an empty line); one more; a
 * line of dashes. */
void text_fill_block(struct text_fill *f, size_t n);
void text_fill_break(struct text_fill *f);
void text_fill_rule(struct text_fill *f);

/* Until it is set to false again, blanks are letters, lines are not broken,
 * and text_fill_break() counts without a bound. */
void text_fill_verbatim(struct text_fill *f, bool verbatim);

/* A word behind the last one, before what breaks wait. */
void text_fill_attach(struct text_fill *f, const char *s, size_t n,
		      size_t columns);

/* Lines begin with `first`, then with `rest`, both of the same width, until
 * text_fill_pop(). False, and nothing done, when there are too many. */
bool text_fill_push(struct text_fill *f, const char *first, const char *rest);
void text_fill_pop(struct text_fill *f);

/* Where the next piece of a word begins in out is f->mark, also when it is
 * moved; until there is one, it is not marked. */
void text_fill_mark(struct text_fill *f);
bool text_fill_marked(const struct text_fill *f);

/* Ends the word; the widest line is one from here on. */
void text_fill_widest(struct text_fill *f);

/* The widest line again, as one of c; nothing when there was no word. */
void text_fill_underline(struct text_fill *f, char c);

/* Ends the text, with a line end when there is any. */
void text_fill_end(struct text_fill *f);

#endif
