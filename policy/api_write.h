/* SPDX-License-Identifier: MIT */
/*
 * api_write: what the API formats write alike: members of JSON objects, files
 * as base64, mailboxes, tags.
 *
 * A comma is put before a member where one is needed. What is absent (NULL,
 * SWITCH_UNSET) writes nothing, so null is never sent. What does not fit is
 * left out and sticks in out->overflow: a piece is written to its end, and
 * then looked at. Thread-safe; no state.
 */
#ifndef TXM_POLICY_API_WRITE_H
#define TXM_POLICY_API_WRITE_H

#include <stdbool.h>
#include <stddef.h>

#include "outgoing.h"

struct dynbuf;
struct smtp_reply;

/* `"name":`, for a value that the caller writes. */
void api_write_name(struct dynbuf *out, const char *name);
void api_write_string(struct dynbuf *out, const char *name, const char *value);
/* The same, but "" is absent, too. */
void api_write_filled(struct dynbuf *out, const char *name, const char *value);
void api_write_text(struct dynbuf *out, const char *name, const char *text,
		    size_t len);
void api_write_bool(struct dynbuf *out, const char *name, bool value);
void api_write_switch(struct dynbuf *out, const char *name,
		      enum outgoing_switch value);
/* JSON, as it was written. */
void api_write_json(struct dynbuf *out, const char *name, const char *json);

/* "{" or "[" with a comma before it where one is needed; it is closed with
 * dynbuf_adds(). */
void api_write_item(struct dynbuf *out, const char *bracket);
void api_write_open(struct dynbuf *out, const char *name, const char *bracket);

/* Standard base64 with its padding, in one line, written into `out` itself. */
void api_write_base64(struct dynbuf *out, const char *name, const char *data,
		      size_t len);

/* An array of those of o's files that the API knows as the one or the other
 * kind, an object for each; nothing when there are none. An inline file without
 * a Content-ID cannot be pointed at, so it is an attachment. */
struct api_file_names {
	const char *name, *type, *data;
	bool by_content_id; /* `name` is the Content-ID */
};
void api_write_files(struct dynbuf *out, const char *name,
		     const struct outgoing *o, bool is_inline,
		     const struct api_file_names *names);

/* `Name <local@domain>`, the name in quotes where it needs them; free(). And
 * the same as a JSON string. */
char *api_mailbox(const char *name, const char *addr);
void api_write_mailbox(struct dynbuf *out, const char *name, const char *addr);

/* The tag of any dialect in the letters of an API: ASCII lower case letters,
 * digits and `others`; anything between those is one `joint`, and none is at an
 * end or beside another. "" when nothing is left. False: it is longer than max.
 * dst: max + 1 bytes. */
bool api_tag(char *dst, size_t max, const char *tag, const char *others,
	     char joint);

/* For `fits`. False: refusal set. A template may have what is missing. */
bool api_fits_content(const struct outgoing *o, struct smtp_reply *refusal);
/* For a tag that is longer than max: 550 5.6.0, naming the header that asked.
 * True: it is only wished for, and left out. */
bool api_long_tag(const struct outgoing *o, struct smtp_reply *refusal,
		  size_t max, const char *unit);

#endif
