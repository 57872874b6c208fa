/* SPDX-License-Identifier: MIT */
#include "html_look.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "html_scan.h"

struct span {
	const char *s;
	size_t len;
};

/* What is asked of a style. */
enum property {
	DISPLAY,
	VISIBILITY,
	OPACITY,
	OVERFLOW,
	WIDTH,
	HEIGHT,
	MAX_HEIGHT,
	FONT_SIZE,
	FONT,
	N_PROPERTIES
};

static const char *const properties[N_PROPERTIES] = {
	[DISPLAY] = "display",
	[VISIBILITY] = "visibility",
	[OPACITY] = "opacity",
	[OVERFLOW] = "overflow",
	[WIDTH] = "width",
	[HEIGHT] = "height",
	[MAX_HEIGHT] = "max-height",
	[FONT_SIZE] = "font-size",
	[FONT] = "font",
};

struct declaration {
	struct span value;
	bool important;
};

static struct span
trim(const char *s, size_t len)
{
	while (len > 0 && html_is_space(*s)) {
		s++;
		len--;
	}
	while (len > 0 && html_is_space(s[len - 1]))
		len--;
	return (struct span){ s, len };
}

static bool
is(struct span v, const char *word)
{
	return html_is(v.s, v.len, word);
}

static bool
ends_with(struct span v, const char *word)
{
	size_t n = strlen(word);

	return v.len >= n && strncasecmp(v.s + v.len - n, word, n) == 0;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* 0, 0px, 0.0em, .0; not 0.5em, and not nothing. */
static bool
is_zero(struct span v)
{
	size_t i = 0;
	bool digits = false;

	for (; i < v.len && (is_digit(v.s[i]) || v.s[i] == '.'); i++) {
		if (v.s[i] > '0')
			return false;
		digits |= v.s[i] == '0';
	}
	return digits;
}

/* --- the style ----------------------------------------------------------- */

static void
declare(struct declaration *all, struct span name, struct span value)
{
	struct declaration d = { value, ends_with(value, "!important") };

	if (d.important)
		d.value = trim(value.s, value.len - strlen("!important"));
	for (size_t i = 0; i < N_PROPERTIES; i++) {
		if (is(name, properties[i]) &&
		    (d.important || !all[i].important)) {
			all[i] = d;
			/* The later of the two counts. */
			if (i == FONT)
				all[FONT_SIZE] = (struct declaration){ 0 };
		}
	}
}

/* Declarations are what stands between semicolons: those within a string or a
 * reference (&quot;) make pieces that are none. */
static void
read_style(struct declaration *all, const char *s, size_t len)
{
	while (len > 0) {
		const char *semicolon = memchr(s, ';', len);
		size_t n = semicolon ? (size_t)(semicolon - s) : len;
		const char *colon = memchr(s, ':', n);

		if (colon != NULL) {
			size_t at = (size_t)(colon - s);

			declare(all, trim(s, at), trim(colon + 1, n - at - 1));
		}
		n += n < len;
		s += n;
		len -= n;
	}
}

/* Of a size in em, or a word, that depends on what is around. */
static bool
is_relative(struct span v)
{
	static const char *const words[] = { "inherit", "unset", "smaller",
					     "larger" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (is(v, words[i]))
			return true;
	}
	return ends_with(v, "%") || ends_with(v, "ex") || ends_with(v, "ch") ||
	       (ends_with(v, "em") && !ends_with(v, "rem"));
}

static enum html_font
font_of_size(struct span size)
{
	if (size.len == 0)
		return HTML_FONT_SAME;
	if (is_zero(size))
		return HTML_FONT_NONE;
	return is_relative(size) ? HTML_FONT_SAME : HTML_FONT_SOME;
}

/* The size in "italic 700 14px/1.5 Arial": the first number that is 0 or has a
 * unit. */
static enum html_font
font_of_shorthand(struct span v)
{
	while (v.len > 0) {
		size_t n = 0;
		struct span word;

		while (n < v.len && !html_is_space(v.s[n]) && v.s[n] != '/')
			n++;
		word = (struct span){ v.s, n };
		if (n > 0 && (is_digit(*v.s) || *v.s == '.') &&
		    (is_zero(word) || !is_digit(v.s[n - 1])))
			return font_of_size(word);
		n += n < v.len;
		v = trim(v.s + n, v.len - n);
	}
	return HTML_FONT_SOME;
}

static void
apply_style(struct html_look *look, const struct declaration *all)
{
	/* Not max-width: a cell that is to be cut has max-width:0. */
	bool boxed = is_zero(all[WIDTH].value) || is_zero(all[HEIGHT].value) ||
		     is_zero(all[MAX_HEIGHT].value);

	look->no_width |= is_zero(all[WIDTH].value);
	look->no_height |= is_zero(all[HEIGHT].value);
	look->hidden |= is(all[DISPLAY].value, "none") ||
			is(all[VISIBILITY].value, "hidden") ||
			is_zero(all[OPACITY].value) ||
			(boxed && is(all[OVERFLOW].value, "hidden"));
	if (all[FONT_SIZE].value.len > 0)
		look->font = font_of_size(all[FONT_SIZE].value);
	else if (all[FONT].value.len > 0)
		look->font = font_of_shorthand(all[FONT].value);
}

struct html_look
html_look(const struct html_attr *hidden, const struct html_attr *style,
	  const struct html_attr *width, const struct html_attr *height)
{
	struct html_look look = { .hidden = hidden->name != NULL };

	if (width->has_value)
		look.no_width = is_zero(trim(width->value, width->value_len));
	if (height->has_value)
		look.no_height =
		    is_zero(trim(height->value, height->value_len));
	if (style->has_value) {
		struct declaration all[N_PROPERTIES] = { 0 };

		read_style(all, style->value, style->value_len);
		apply_style(&look, all);
	}
	look.hidden |= look.no_width && look.no_height;
	return look;
}
