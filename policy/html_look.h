/* SPDX-License-Identifier: MIT */
/*
 * html_look: what the attributes of a tag say about whether it is seen.
 *
 * Hidden: the attribute "hidden"; a style with display:none,
 * visibility:hidden, opacity:0, or overflow:hidden with no width or height;
 * no width and no height as attributes. Not hidden: mso-hide:all, which hides
 * from one client what all others show (usually a button).
 *
 * A font of no size is another matter: what is in it may have a size of its
 * own, and templates do that everywhere to close gaps. Thread-safe; no state.
 */
#ifndef TXM_POLICY_HTML_LOOK_H
#define TXM_POLICY_HTML_LOOK_H

#include <stdbool.h>

struct html_attr;

enum html_font {
	HTML_FONT_SAME, /* as around it */
	HTML_FONT_NONE, /* size 0 */
	HTML_FONT_SOME, /* a size, whatever is around it */
};

struct html_look {
	bool hidden;
	bool no_width, no_height; /* 0 */
	enum html_font font;
};

/* The attributes that matter; the name of one that is not there is NULL. */
struct html_look html_look(const struct html_attr *hidden,
			   const struct html_attr *style,
			   const struct html_attr *width,
			   const struct html_attr *height);

#endif
