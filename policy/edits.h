/* SPDX-License-Identifier: MIT */
/*
 * edits: what shall be changed in a message that stays with Postfix, as a
 * value. The milter does them in the order in which they are.
 *
 * Deletions of headers of one name go from the highest index down: Postfix
 * counts anew after each, Sendmail does not. Owns everything in it.
 */
#ifndef TXM_POLICY_EDITS_H
#define TXM_POLICY_EDITS_H

#include <stdbool.h>
#include <stddef.h>

enum edit_kind { EDIT_DELETE, EDIT_CHANGE, EDIT_ADD };

struct header_edit {
	enum edit_kind kind;
	char *name;
	unsigned index; /* DELETE, CHANGE: which of that name, from 1 */
	char *value;	/* CHANGE, ADD: folds are LF and white space */
};

struct edits {
	struct header_edit *headers;
	size_t n_headers;
	char *sender; /* the new envelope sender, no brackets; NULL: stays */
	char **recipients; /* more of the envelope, without brackets */
	size_t n_recipients;
	bool new_body; /* else it stays as it is, byte by byte */
	char *body;    /* with CRLF line ends */
	size_t body_len;
	char *route; /* "transport:nexthop" */
};

struct edits *edits_new(void);
void edits_free(struct edits **e);

/* Copies of the strings. */
void edits_delete(struct edits *e, const char *name, unsigned index);
void edits_change(struct edits *e, const char *name, unsigned index,
		  const char *value);
void edits_add(struct edits *e, const char *name, const char *value);
void edits_add_recipient(struct edits *e, const char *address);

#endif
