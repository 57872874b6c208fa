/* SPDX-License-Identifier: MIT */
#include "html_element.h"

#include <string.h>
#include <strings.h>

const struct html_element html_element_other = { "", ELEMENT_INLINE, 0 };

/* In the order of their names. What is not here is inline. */
static const struct html_element elements[] = {
	{ "a", ELEMENT_LINK, 0 },	   { "address", ELEMENT_BLOCK, 1 },
	{ "area", ELEMENT_SINGLE, 0 },	   { "article", ELEMENT_BLOCK, 2 },
	{ "aside", ELEMENT_BLOCK, 2 },	   { "audio", ELEMENT_HIDDEN, 0 },
	{ "base", ELEMENT_SINGLE, 0 },	   { "blockquote", ELEMENT_QUOTE, 2 },
	{ "body", ELEMENT_DOCUMENT, 0 },   { "br", ELEMENT_LINE_BREAK, 0 },
	{ "caption", ELEMENT_CAPTION, 1 }, { "center", ELEMENT_BLOCK, 1 },
	{ "col", ELEMENT_SINGLE, 0 },	   { "dd", ELEMENT_DETAIL, 1 },
	{ "details", ELEMENT_BLOCK, 1 },   { "dir", ELEMENT_LIST, 2 },
	{ "div", ELEMENT_BLOCK, 1 },	   { "dl", ELEMENT_LIST, 2 },
	{ "dt", ELEMENT_TERM, 1 },	   { "embed", ELEMENT_SINGLE, 0 },
	{ "fieldset", ELEMENT_BLOCK, 2 },  { "figcaption", ELEMENT_BLOCK, 1 },
	{ "figure", ELEMENT_BLOCK, 2 },	   { "footer", ELEMENT_BLOCK, 2 },
	{ "form", ELEMENT_BLOCK, 1 },	   { "h1", ELEMENT_HEADING, 2 },
	{ "h2", ELEMENT_HEADING, 2 },	   { "h3", ELEMENT_HEADING, 2 },
	{ "h4", ELEMENT_HEADING, 2 },	   { "h5", ELEMENT_HEADING, 2 },
	{ "h6", ELEMENT_HEADING, 2 },	   { "head", ELEMENT_DOCUMENT, 0 },
	{ "header", ELEMENT_BLOCK, 2 },	   { "hr", ELEMENT_RULE, 0 },
	{ "html", ELEMENT_DOCUMENT, 0 },   { "iframe", ELEMENT_HIDDEN, 0 },
	{ "img", ELEMENT_IMAGE, 0 },	   { "input", ELEMENT_SINGLE, 0 },
	{ "legend", ELEMENT_BLOCK, 1 },	   { "li", ELEMENT_ITEM, 1 },
	{ "link", ELEMENT_SINGLE, 0 },	   { "listing", ELEMENT_PRE, 2 },
	{ "main", ELEMENT_BLOCK, 2 },	   { "menu", ELEMENT_LIST, 2 },
	{ "meta", ELEMENT_SINGLE, 0 },	   { "nav", ELEMENT_BLOCK, 2 },
	{ "noembed", ELEMENT_HIDDEN, 0 },  { "noframes", ELEMENT_HIDDEN, 0 },
	{ "ol", ELEMENT_LIST, 2 },	   { "option", ELEMENT_BLOCK, 1 },
	{ "p", ELEMENT_PARAGRAPH, 2 },	   { "param", ELEMENT_SINGLE, 0 },
	{ "plaintext", ELEMENT_PRE, 2 },   { "pre", ELEMENT_PRE, 2 },
	{ "script", ELEMENT_HIDDEN, 0 },   { "section", ELEMENT_BLOCK, 2 },
	{ "source", ELEMENT_SINGLE, 0 },   { "style", ELEMENT_HIDDEN, 0 },
	{ "summary", ELEMENT_BLOCK, 1 },   { "svg", ELEMENT_HIDDEN, 0 },
	{ "table", ELEMENT_TABLE, 2 },	   { "tbody", ELEMENT_ROWS, 1 },
	{ "td", ELEMENT_CELL, 0 },	   { "template", ELEMENT_HIDDEN, 0 },
	{ "textarea", ELEMENT_PRE, 1 },	   { "tfoot", ELEMENT_ROWS, 1 },
	{ "th", ELEMENT_CELL, 0 },	   { "thead", ELEMENT_ROWS, 1 },
	{ "title", ELEMENT_HIDDEN, 0 },	   { "tr", ELEMENT_ROW, 1 },
	{ "track", ELEMENT_SINGLE, 0 },	   { "ul", ELEMENT_LIST, 2 },
	{ "wbr", ELEMENT_SINGLE, 0 },	   { "xmp", ELEMENT_PRE, 2 },
};

/* By bytes, in any case; a NUL is one that no name has. */
static int
compare(const char *s, size_t len, const char *name)
{
	size_t n = strlen(name);
	int c = strncasecmp(s, name, len < n ? len : n);

	return c != 0 ? c : (len > n) - (len < n);
}

const struct html_element *
html_element_find(const char *name, size_t len)
{
	size_t low = 0, high = sizeof(elements) / sizeof(elements[0]);

	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = compare(name, len, elements[mid].name);

		if (c == 0)
			return &elements[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return &html_element_other;
}
