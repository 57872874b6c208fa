/* SPDX-License-Identifier: MIT */
/*
 * html_scene: what the tests of HTML share: copies that show an overread, and
 * HTML that was written to take long.
 */
#ifndef TXM_TESTS_UNIT_HTML_SCENE_H
#define TXM_TESTS_UNIT_HTML_SCENE_H

#include <stddef.h>

/* A copy without a byte behind it; free(). */
char *scene_exact(const char *s, size_t len);

/* Hostile inputs: `unit` again and again behind `head`. */
struct scene_hostile {
	const char *name, *head, *unit;
};
extern const struct scene_hostile scene_hostile[];
extern const size_t scene_n_hostile;

/* One of about len bytes; free(). */
char *scene_make_hostile(const struct scene_hostile *h, size_t len,
			 size_t *len_r);

/* Each hostile input in two sizes: what fn needs for the larger must be about
 * as many times more as it is larger. Fails the test. */
void scene_check_linear(size_t (*fn)(const char *html, size_t len));

#endif
