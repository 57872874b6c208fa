/* SPDX-License-Identifier: MIT */
/*
 * html_scan: HTML, cut into tokens where the standard's tokenizer does.
 *
 * The whole text is there. The tokens follow each other without a gap: written
 * one after another they are the input, whatever bytes it has. Nothing is
 * allocated or copied, nothing calls itself, and no byte is looked for twice:
 * what has no end (a comment, a quoted value, a script) is one token to the
 * end of the input, as it is in a browser. Not thread-safe; one per reader.
 *
 * Differences from the standard: a <script> ends at the first </script>, also
 * within "<!--"; scripts are off, so that <noscript> is an element like any
 * other; and <svg> and <math> are read as the rest is.
 */
#ifndef TXM_POLICY_HTML_SCAN_H
#define TXM_POLICY_HTML_SCAN_H

#include <stdbool.h>
#include <stddef.h>

enum html_kind {
	HTML_TEXT,     /* with character references */
	HTML_RAW_TEXT, /* what is in <script>, <style> and their like */
	HTML_START_TAG,
	HTML_END_TAG,
	HTML_COMMENT, /* <!-- -->, those with conditions too */
	HTML_NOTHING, /* <!doctype>, <?pi>, <![x]>, </>, a tag without end */
};

struct html_token {
	enum html_kind kind;
	const char *s; /* all of it, in the input */
	size_t len;
	const char *name; /* of a tag, as it is written */
	size_t name_len;
	bool self_closing; /* "/>" */
	bool unclosed;	   /* the input ended in it */
};

struct html_scan {
	const char *at, *end;
	const char *raw; /* name of the tag whose raw text follows, or NULL */
	size_t raw_len;
};

/* html must live as long as its tokens are used. */
void html_scan_init(struct html_scan *s, const char *html, size_t len);

/* False at the end. */
bool html_scan_next(struct html_scan *s, struct html_token *t);

/* An attribute, as it is written in the input. */
struct html_attr {
	const char *name; /* NULL: there is none */
	size_t name_len;
	const char *value; /* between its quotes; where it would be, if none */
	size_t value_len;
	char quote;	/* '"', '\'' or, without quotes, 0 */
	bool has_value; /* there was a "=" with a value behind it */
};

/* The attributes of a start tag that have one of the n names (in lower case):
 * found[i] is the first of names[i], or its name is NULL. */
void html_token_attrs(const struct html_token *t, const char *const *names,
		      size_t n, struct html_attr *found);

/* True when the len bytes at s are `name` (in lower case), in any case. */
bool html_is(const char *s, size_t len, const char *name);

/* True for an ASCII white space of HTML. */
bool html_is_space(char c);

#endif
