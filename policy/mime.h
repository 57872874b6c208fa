/* SPDX-License-Identifier: MIT */
/*
 * mime: a push parser for the structure of a message body.
 *
 * It is fed the body in chunks of any size as the milter protocol brings
 * them, follows boundaries, part headers and depth, and tells a sink about
 * each leaf part. It stores nothing but the part header being read and one
 * possible boundary line; what a part holds goes to the sink, still encoded,
 * and only when the sink asked for it. Cost is linear in the input.
 *
 * Outcomes for odd input (each a row of tests/unit/test_mime.c):
 *   no end boundary               the part ends with the message
 *   text before or after parts    ignored (preamble, epilogue)
 *   multipart without boundary    no parts in it; mime_problem() says so
 *   its boundary does not occur   no parts in it; mime_lost() says so
 *   boundary given twice,         MIME_ERROR: what is an attachment and what
 *   two different Content-Types   is not would depend on the reader
 *   boundary of a parent inside   ends the inner parts (RFC 2046 5.1.2)
 *   a parent's boundary used      belongs to the inner multipart (Outlook
 *   again inside                  Express for Mac wrote such mail)
 *   message/rfc822                a leaf: an attached message, not looked into
 *   multipart/signed              its first part is followed, as in mixed
 *   multipart/digest              its parts are message/rfc822 by default
 *   part without Content-Type     text/plain; charset=us-ascii (RFC 2045 5.2)
 *   NUL, bare CR, bare LF         data; a bare LF ends a line, a bare CR does
 *                                 not
 *   over a bound below            MIME_ERROR
 *
 * Not thread-safe; one parser per message. Content-Type and
 * Content-Disposition values are read by GMime (mime_field.c).
 */
#ifndef TXM_POLICY_MIME_H
#define TXM_POLICY_MIME_H

#include <stdbool.h>
#include <stddef.h>

#define MIME_DEPTH_MAX 64
#define MIME_PARTS_MAX 1000
/* RFC 2046 allows 70; Postfix takes 2048. */
#define MIME_BOUNDARY_MAX 256
/* One header block of a part, unfolded or not. */
#define MIME_PART_HEADER_MAX 65536
/* Content-Type, Content-Disposition or Content-Transfer-Encoding: GMime's cost
 * for the words in their parameters grows with the square. */
#define MIME_FIELD_MAX 4096

/* A multipart/related: where its header block is in the bytes fed, and what it
 * holds. */
struct mime_related {
	bool is_message; /* it has the message's headers, and no block */
	size_t begin;
	size_t content;
};

enum mime_encoding {
	MIME_IDENTITY, /* 7bit, 8bit, binary, or none given */
	MIME_BASE64,
	MIME_QUOTED_PRINTABLE,
	MIME_UNKNOWN_ENCODING,
};

struct mime_part {
	const char *type;    /* lower case: "text" */
	const char *subtype; /* lower case: "html" */
	const char *charset; /* as given; NULL when none */
	bool attachment;     /* a Content-Disposition other than inline */
	bool flowed;	     /* format=flowed (RFC 3676) */
	enum mime_encoding encoding;
	unsigned depth; /* 0: the message itself */
	bool broken;	/* its header ends at a line that is no header */

	/* Where it stands. */
	bool related;	     /* below a multipart/related */
	bool in_alternative; /* right below a multipart/alternative */
	bool in_related;     /* right below this one: */
	struct mime_related related_above;
	unsigned alternative; /* the outermost multipart/alternative above
				 it, a number of its own; 0: none */
	bool is_signed;	      /* below a multipart/signed */
	/* In the bytes fed: of its header block (behind the delimiter line),
	 * and of what it holds. What its data() calls give follows from there
	 * without a gap. */
	size_t begin;
	size_t content;

	/* The fields as they came, unfolded; NULL: not given. For
	 * mime_file_name() and the like, until begin() returns. */
	const char *type_field;
	const char *disposition_field;
	const char *id_field;
};

/* The file name that a part has: of its Content-Disposition, else the name of
 * its Content-Type. RFC 2231, RFC 2047, UTF-8 and windows-1252 as UTF-8,
 * otherwise as it came: it may hold any character but NUL. free(); NULL: none.
 * Within begin(). */
char *mime_file_name(const struct mime_part *part);

/* The iTIP method of a text/calendar part, free(); NULL: none. Within
 * begin(). */
char *mime_method(const struct mime_part *part);

/* Its disposition says inline; one without a disposition does not. Within
 * begin(). */
bool mime_is_inline(const struct mime_part *part);

enum mime_want { MIME_WANT_NOT, MIME_WANT_BODY };

/* All are called from within mime_feed() and mime_end(). The part lives until
 * its `end` returns. */
struct mime_sink {
	/* A leaf begins; says whether its bytes are wanted. */
	enum mime_want (*begin)(void *arg, const struct mime_part *part);
	/* Bytes of a wanted part, still encoded. */
	void (*data)(void *arg, const char *data, size_t len);
	/* A leaf is over. True when nothing that follows can matter. */
	bool (*end)(void *arg, const struct mime_part *part);
};

enum mime_status {
	MIME_MORE,  /* go on */
	MIME_DONE,  /* nothing later can matter */
	MIME_ERROR, /* see mime_error() */
};

struct mime;

struct mime *mime_new(const struct mime_sink *sink, void *arg);
void mime_free(struct mime **m);

/* Takes the message's own MIME header fields, raw, in any order, before the
 * first mime_feed(): Content-Type, Content-Transfer-Encoding,
 * Content-Disposition, Content-ID. Others are ignored. */
void mime_header(struct mime *m, const char *name, const char *value,
		 size_t len);

/* Takes the next bytes of the body. After DONE or ERROR it ignores them and
 * says the same again. */
enum mime_status mime_feed(struct mime *m, const char *data, size_t len);

/* The body is over: ends the open part. */
enum mime_status mime_end(struct mime *m);

/* After MIME_ERROR: what is wrong, naming the header ("Content-Type: two
 * boundary parameters"). */
const char *mime_error(const struct mime *m);

/* The first thing that was odd and may explain why nothing usable was found;
 * NULL when nothing was. */
const char *mime_problem(const struct mime *m);

/* After mime_end(): why bytes that look like content belong to no part (a
 * multipart without a boundary, or whose boundary does not occur); NULL when
 * there are none such. */
const char *mime_lost(const struct mime *m);

/* Parts seen so far, multiparts not counted. */
unsigned mime_parts(const struct mime *m);

#endif
