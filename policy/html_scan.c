/* SPDX-License-Identifier: MIT */
#include "html_scan.h"

#include <string.h>
#include <strings.h>

#define COMMENT_BEGIN "<!--"

bool
html_is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f';
}

bool
html_is(const char *s, size_t len, const char *name)
{
	/* Most are told apart by their first letter. */
	return len > 0 && (s[0] | 0x20) == name[0] && strlen(name) == len &&
	       strncasecmp(s, name, len) == 0;
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

void
html_scan_init(struct html_scan *s, const char *html, size_t len)
{
	*s = (struct html_scan){ .at = html, .end = html + len };
}

/* --- attributes ---------------------------------------------------------- */

/* Over white space and slashes; *slash_r: the last of them was a slash. */
static const char *
skip_between(const char *p, const char *end, bool *slash_r)
{
	*slash_r = false;
	for (; p < end && (html_is_space(*p) || *p == '/'); p++)
		*slash_r = *p == '/';
	return p;
}

static const char *
skip_space(const char *p, const char *end)
{
	while (p < end && html_is_space(*p))
		p++;
	return p;
}

static const char *
read_quoted(const char *p, const char *end, struct html_attr *a)
{
	const char *close = memchr(p + 1, *p, (size_t)(end - p - 1));

	a->quote = *p;
	a->value = p + 1;
	a->value_len = (size_t)((close ? close : end) - a->value);
	return close ? close + 1 : end;
}

/* What stands behind the "=". */
static const char *
read_value(const char *p, const char *end, struct html_attr *a)
{
	p = skip_space(p, end);
	a->value = p;
	if (p == end || *p == '>')
		return p;
	a->has_value = true;
	if (*p == '"' || *p == '\'')
		return read_quoted(p, end, a);
	while (p < end && !html_is_space(*p) && *p != '>')
		p++;
	a->value_len = (size_t)(p - a->value);
	return p;
}

/* The attribute at p, which is no white space, slash or ">"; where it ends. */
static const char *
read_attr(const char *p, const char *end, struct html_attr *a)
{
	const char *behind;

	*a = (struct html_attr){ .name = p };
	/* A "=" at the beginning is a letter of the name. */
	for (p++; p < end; p++) {
		if (html_is_space(*p) || *p == '/' || *p == '>' || *p == '=')
			break;
	}
	a->name_len = (size_t)(p - a->name);
	a->value = p;
	behind = skip_space(p, end);
	if (behind < end && *behind == '=')
		return read_value(behind + 1, end, a);
	return p;
}

static void
keep_first(const struct html_attr *a, const char *const *names, size_t n,
	   struct html_attr *found)
{
	for (size_t i = 0; i < n; i++) {
		if (html_is(a->name, a->name_len, names[i])) {
			if (found[i].name == NULL)
				found[i] = *a;
			return;
		}
	}
}

void
html_token_attrs(const struct html_token *t, const char *const *names, size_t n,
		 struct html_attr *found)
{
	const char *end = t->s + t->len - 1; /* its ">" */
	const char *p = t->name + t->name_len;
	bool slash;

	memset(found, 0, n * sizeof(*found));
	while ((p = skip_between(p, end, &slash)) < end) {
		struct html_attr a;

		p = read_attr(p, end, &a);
		keep_first(&a, names, n, found);
	}
}

/* --- tokens -------------------------------------------------------------- */

static void
take(struct html_scan *s, struct html_token *t, enum html_kind kind,
     const char *to)
{
	t->kind = kind;
	t->len = (size_t)(to - t->s);
	s->at = to;
}

static void
take_rest(struct html_scan *s, struct html_token *t, enum html_kind kind)
{
	t->unclosed = true;
	take(s, t, kind, s->end);
}

/* Elements with text in which there are no tags; with references in two. */
static const struct raw {
	const char *name;
	bool references;
} raws[] = {
	{ "style", false },   { "script", false },   { "title", true },
	{ "textarea", true }, { "xmp", false },	     { "iframe", false },
	{ "noembed", false }, { "noframes", false }, { "plaintext", false },
};

static const struct raw *
find_raw(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(raws) / sizeof(raws[0]); i++) {
		if (html_is(name, len, raws[i].name))
			return &raws[i];
	}
	return NULL;
}

/* Is it the end tag of the element whose raw text this is? */
static bool
ends_raw(const struct html_scan *s, const char *p)
{
	size_t left = (size_t)(s->end - p);
	const char *behind = p + 2 + s->raw_len;

	if (left < s->raw_len + 3 || p[1] != '/' ||
	    strncasecmp(p + 2, s->raw, s->raw_len) != 0)
		return false;
	return html_is_space(*behind) || *behind == '/' || *behind == '>';
}

static const char *
raw_end(const struct html_scan *s)
{
	const char *p = s->at;

	if (html_is(s->raw, s->raw_len, "plaintext"))
		return NULL;
	while ((p = memchr(p, '<', (size_t)(s->end - p))) != NULL &&
	       !ends_raw(s, p))
		p++;
	return p;
}

/* The text up to the end tag, which may be none. */
static void
take_raw(struct html_scan *s, struct html_token *t)
{
	const struct raw *raw = find_raw(s->raw, s->raw_len);
	enum html_kind kind = raw->references ? HTML_TEXT : HTML_RAW_TEXT;
	const char *to = raw_end(s);

	s->raw = NULL;
	if (to == NULL)
		take_rest(s, t, kind);
	else
		take(s, t, kind, to);
}

/* Is the "<" at p the beginning of anything but text? */
static bool
begins_markup(const char *p, const char *end)
{
	if (end - p < 2)
		return false;
	return is_letter(p[1]) || p[1] == '!' || p[1] == '?' ||
	       (p[1] == '/' && end - p > 2);
}

static void
take_text(struct html_scan *s, struct html_token *t)
{
	const char *p = s->at;

	while ((p = memchr(p, '<', (size_t)(s->end - p))) != NULL &&
	       !begins_markup(p, s->end))
		p++;
	take(s, t, HTML_TEXT, p != NULL ? p : s->end);
}

/* Behind the next ">". */
static void
take_bogus(struct html_scan *s, struct html_token *t)
{
	const char *close = memchr(s->at, '>', (size_t)(s->end - s->at));

	if (close == NULL)
		take_rest(s, t, HTML_NOTHING);
	else
		take(s, t, HTML_NOTHING, close + 1);
}

/* Bytes of the end of a comment at p, which is a dash; 0: it is none. */
static size_t
comment_end_len(const char *p, const char *end)
{
	size_t left = (size_t)(end - p);

	if (left >= 3 && memcmp(p, "-->", 3) == 0)
		return 3;
	return left >= 4 && memcmp(p, "--!>", 4) == 0 ? 4 : 0;
}

/* Where a comment ends whose text begins at p; NULL: nowhere. */
static const char *
comment_end(const char *p, const char *end)
{
	if (p < end && *p == '>')
		return p + 1;
	if (end - p > 1 && p[0] == '-' && p[1] == '>')
		return p + 2;
	for (; (p = memchr(p, '-', (size_t)(end - p))) != NULL; p++) {
		size_t n = comment_end_len(p, end);

		if (n > 0)
			return p + n;
	}
	return NULL;
}

static void
take_comment(struct html_scan *s, struct html_token *t)
{
	const char *to = comment_end(s->at + strlen(COMMENT_BEGIN), s->end);

	if (to == NULL)
		take_rest(s, t, HTML_COMMENT);
	else
		take(s, t, HTML_COMMENT, to);
}

static bool
is_name_end(char c)
{
	return html_is_space(c) || c == '/' || c == '>';
}

/* A tag whose name begins at p. */
static void
take_tag(struct html_scan *s, struct html_token *t, enum html_kind kind,
	 const char *p)
{
	t->name = p;
	while (p < s->end && !is_name_end(*p))
		p++;
	t->name_len = (size_t)(p - t->name);
	while ((p = skip_between(p, s->end, &t->self_closing)) < s->end &&
	       *p != '>') {
		struct html_attr a;

		p = read_attr(p, s->end, &a);
	}
	if (p == s->end) {
		take_rest(s, t, HTML_NOTHING);
		return;
	}
	take(s, t, kind, p + 1);
	if (kind == HTML_START_TAG && find_raw(t->name, t->name_len) != NULL) {
		s->raw = t->name;
		s->raw_len = t->name_len;
	}
}

static void
take_markup(struct html_scan *s, struct html_token *t)
{
	const char *p = s->at;
	size_t left = (size_t)(s->end - p);

	if (is_letter(p[1]))
		take_tag(s, t, HTML_START_TAG, p + 1);
	else if (p[1] == '/' && is_letter(p[2]))
		take_tag(s, t, HTML_END_TAG, p + 2);
	else if (left >= strlen(COMMENT_BEGIN) &&
		 memcmp(p, COMMENT_BEGIN, strlen(COMMENT_BEGIN)) == 0)
		take_comment(s, t);
	else
		take_bogus(s, t);
}

bool
html_scan_next(struct html_scan *s, struct html_token *t)
{
	if (s->at == s->end)
		return false;
	*t = (struct html_token){ .s = s->at };
	/* A raw text may be empty: then there is no token of it. */
	if (s->raw != NULL && !ends_raw(s, s->at)) {
		take_raw(s, t);
		return true;
	}
	s->raw = NULL;
	if (*s->at == '<' && begins_markup(s->at, s->end))
		take_markup(s, t);
	else
		take_text(s, t);
	return true;
}
