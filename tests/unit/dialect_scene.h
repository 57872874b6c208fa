/* SPDX-License-Identifier: MIT */
/*
 * dialect_scene: rows that show a dialect through its door, judge(): a message,
 * and what is handed over of it, or the refusal.
 *
 * What is handed over is compared as lines:
 *
 *	tag: order_confirmation		a string of outgoing, by its name
 *	open_tracking: on		a switch: on or off; none when unset
 *	to: r@example.com (Joe)		a recipient; or cc:, bcc:, archive:
 *	header X-Other: 1		a header that goes along
 *	html: <p>x			the same for text and amp
 *	text is made: yes
 *	text is flowed: yes
 *	file a.pdf: application/pdf, 4 bytes
 *	file a.png: image/png, 4 bytes, inline a@x
 *	asks for tag: X-Flexmail-Tag	who asks for the feature
 */
#ifndef TXM_TESTS_UNIT_DIALECT_SCENE_H
#define TXM_TESTS_UNIT_DIALECT_SCENE_H

#include <stddef.h>

struct dialect;

/* Headers of a message that is good for every dialect. */
#define DIALECT_SCENE_GOOD                \
	"From: Shop <shop@example.com>\n" \
	"To: Joe <r@example.com>\n"       \
	"Subject: S\n"                    \
	"Content-Type: text/html; charset=utf-8\n"

struct dialect_row {
	const char *name;
	/* As a client writes them, each field ends with LF. */
	const char *headers;
	const char *body;  /* LF is CRLF; NULL: "<p>x" */
	const char *want;  /* lines that are there, with LF between */
	const char *lacks; /* no line begins with this, or NULL */
	/* Refused: "550 5.6.0 text", the whole of it. */
	const char *refusal;
	const char *rcpts;   /* with blanks between; NULL: r@example.com */
	const char *senders; /* the account's, with blanks between, or NULL */
	size_t n_routes;     /* r1, r2, ...; 0: one */
};

/* Prints what is not as it should be, and fails. */
void dialect_check_rows(const struct dialect *d, const struct dialect_row *rows,
			size_t n);

#define DIALECT_CHECK_ROWS(d, rows) \
	dialect_check_rows(d, rows, sizeof(rows) / sizeof((rows)[0]))

/* A setup of cmocka, for the group. */
int dialect_scene_setup(void **state);

#endif
