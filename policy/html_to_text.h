/* SPDX-License-Identifier: MIT */
/*
 * html_to_text: the text of an HTML mail, as its text/plain alternative.
 *
 * For people to read, in lines of at most 78 columns (an URL is never broken):
 *
 *   blocks       on lines of their own; paragraphs, lists, tables, headings and
 *                quotations between empty lines, of which there is never more
 *                than one; <br> is a line end, <hr> a line of dashes
 *   <h1>, <h2>   underlined with "=" and "-"
 *   lists        "* " and "1. ", indented within each other
 *   tables       a line for a row, two blanks between cells; a cell that is
 *                more than a line stands alone, so that layouts read as text
 *   links        "text (URL)"; the text alone when it is the URL, and when
 *                there is no address that another place could know ("#top")
 *   images       their alt text
 *   <blockquote> "> "; <pre> stays as it is
 *
 * Left out: what is not shown (html_look), <title>, <style>, <script> and
 * comments; characters without a width. White space, no-break spaces too, is
 * one blank. Lines end with LF; nothing shown is no text at all.
 *
 * The HTML should be UTF-8; of anything else each byte becomes U+FFFD. Time is
 * linear in len, and state is of a fixed size: what is nested deeper than
 * HTML_DEPTH_MAX is text without form. Thread-safe; no state.
 */
#ifndef TXM_POLICY_HTML_TO_TEXT_H
#define TXM_POLICY_HTML_TO_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct dynbuf;

/* Open elements. Newsletters have up to 60 of them. */
#define HTML_DEPTH_MAX 256

/* Columns of a cell that still share a line with the next. */
#define HTML_CELL_COLUMNS 40

/* The most that HTML of len bytes becomes. */
#define HTML_TO_TEXT_MAX(len) (3 * (len) + 1024)

/* Appends the text. False when out is full. */
bool html_to_text(struct dynbuf *out, const char *html, size_t len);

#endif
