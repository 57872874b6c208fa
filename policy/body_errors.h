/* SPDX-License-Identifier: MIT */
/*
 * body_errors: what is wrong with a body, and to whom it matters: a bad
 * attachment is nothing to who only needs the text. Private to body*.c. Not
 * thread-safe.
 */
#ifndef TXM_POLICY_BODY_ERRORS_H
#define TXM_POLICY_BODY_ERRORS_H

#include <stdbool.h>

/* To everybody; else a set of enum body_want: to who needs one of them. */
#define BODY_ALL 0u

/* One for all, one for each want, one for several. */
#define BODY_ERRORS_MAX 6

struct body_error {
	unsigned concerns;
	bool too_large;
	char text[200];
};

/* Starts zeroed. */
struct body_errors {
	struct body_error v[BODY_ERRORS_MAX];
	unsigned n;
};

/* Of those that concern the same, the first stays. */
void body_errors_add(struct body_errors *e, unsigned concerns, const char *why);
void body_errors_too_large(struct body_errors *e, unsigned concerns,
			   const char *what, int most);

/* The first that concerns who needs these; NULL: there is none. */
const struct body_error *body_errors_of(const struct body_errors *e,
					unsigned needs);

/* The first that concerns all; NULL: there is none. */
const struct body_error *body_errors_of_all(const struct body_errors *e);

#endif
