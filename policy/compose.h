/* SPDX-License-Identifier: MIT */
/*
 * compose: mail that we write. Of what a client sent, all bytes but those that
 * must be others stay as they are.
 *
 * A body in which the HTML part is another one; where there is no text part
 * beside it, one may come too. The message that is HTML itself becomes it, or a
 * multipart/alternative; a part is replaced in its place, or gets its text part
 * before it in the multipart/alternative it is in, or becomes such a one. Its
 * other header fields (Content-ID, ...) stay. A multipart/related above it that
 * says it is text/html (RFC 2387, section 3.1) says then what it is.
 *
 * And a whole message: its headers after the edits, and its body. Thread-safe;
 * no state.
 */
#ifndef TXM_POLICY_COMPOSE_H
#define TXM_POLICY_COMPOSE_H

#include <stdbool.h>
#include <stddef.h>

struct body_place;
struct dynbuf;
struct edits;
struct message;

/* What stands in a boundary of ours; quoted-printable cannot hold it. */
#define COMPOSE_BOUNDARY "=_txm_"
/* Of the token behind that: RFC 2046 has 70 in all. */
#define COMPOSE_TOKEN_MAX 64

/* Of a body that is one part, or has one that is new. UTF-8. */
struct compose_parts {
	const char *html;
	size_t html_len;
	const char *text; /* NULL: none is added */
	size_t text_len;
	const char *token; /* for a boundary */
};

/* The new headers of a message that is HTML itself: Content-Type, to be
 * free()d, and Content-Transfer-Encoding. And its body, appended. False when
 * out is full. */
char *compose_type(const struct compose_parts *p);
const char *compose_encoding(const struct compose_parts *p);
bool compose_leaf(struct dynbuf *out, const struct compose_parts *p);

/* The body with another part at that place (which is not the message). */
bool compose_body(struct dynbuf *out, const char *raw, size_t len,
		  const struct body_place *place,
		  const struct compose_parts *p);

/* That multipart/related is the message: its Content-Type, which then is
 * another; free(). NULL: it stays. */
char *compose_related_type(const char *type, size_t len,
			   const struct body_place *place,
			   const struct compose_parts *p);

/* The most that these add to a body. */
size_t compose_room(const struct compose_parts *p);

/* The message with the edits of its headers: line ends are CRLF, and it has
 * the body of the edits, or else this. False when out is full. */
bool compose_message(struct dynbuf *out, const struct message *m,
		     const struct edits *e, const char *body, size_t len);

#endif
