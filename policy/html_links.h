/* SPDX-License-Identifier: MIT */
/*
 * html_links: changes the links of an HTML mail and nothing else.
 *
 * Everything is copied byte by byte but the value of "href" in <a> and <area>
 * where it is an http: or https: URL. What looks like a link in a comment
 * (those with conditions too), a script or a style is none. Linear in len, no
 * recursion. Thread-safe; no state.
 */
#ifndef TXM_POLICY_HTML_LINKS_H
#define TXM_POLICY_HTML_LINKS_H

#include <stdbool.h>
#include <stddef.h>

struct dynbuf;

/* A link with a longer URL is left as it is: no server takes it. */
#define HTML_LINK_MAX 16384

/* The link's URL as a browser takes it: decoded, without white space around
 * it; `new_url` is empty and takes what it becomes (which is then escaped).
 * False: the link stays as it is. */
typedef bool html_link_fn(void *arg, const char *url, size_t len,
			  struct dynbuf *new_url);

/* Appends html with the links that fn gave. Not asked for those whose tag says
 * that they are not to be tracked: data-msys-clicktrack="0" (SparkPost),
 * clicktracking="off" (SendGrid). A value gets double quotes if it had none.
 * False when out is full. */
bool html_links(struct dynbuf *out, const char *html, size_t len,
		html_link_fn *fn, void *arg);

/* Appends html with an invisible image: before the last </body>, else before
 * the last </html>, else at the end (before what a browser would not show
 * there, as a comment without an end). False when out is full. */
bool html_add_pixel(struct dynbuf *out, const char *html, size_t len,
		    const char *url);

/* True when there is a <style> with anything in it: rules that clients may
 * want in the tags. */
bool html_has_style(const char *html, size_t len);

#endif
