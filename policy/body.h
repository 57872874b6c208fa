/* SPDX-License-Identifier: MIT */
/*
 * body: chooses the part of a message that is its body, while it arrives.
 *
 * The rule "HTML, else text": the first text/html leaf that is not an
 * attachment and not blank is the body; until one was seen, the first such
 * text/plain leaf is kept in case there is none. Everything else is dropped
 * without being stored or decoded, and counted. As soon as the HTML part is
 * complete nothing later can matter, so the milter may stop reading.
 *
 * That is all a dialect may need (EmailDelivery). Others want more of the body:
 * the text part beside the HTML part, the AMP part, attachments and images as
 * files, and the bytes as they came, so that another HTML part can be put in
 * the place of the old one. What is wanted is said before the body (body_want);
 * then it is read to its end, and every leaf that is none of the bodies is a
 * file: nothing is dropped but text, HTML and AMP leaves that are blank and not
 * attached. What would be lost all the same is an error: an unknown
 * Content-Transfer-Encoding, a multipart whose boundary is missing or does not
 * occur, a file whose header has a line that is none. Who may be it that needs
 * less is not known before the body when the sender is not (body_need).
 *
 * With BODY_WANT_FILES a text that has a file's name and is below no
 * multipart/alternative or multipart/related is a file ("log.txt", shown
 * inline), and the body only when there is no other.
 *
 * The text beside the HTML part is the first text/plain leaf before it, or
 * behind it within the same multipart/alternative; elsewhere text behind the
 * HTML is a footer or the like, and a file. Without BODY_WANT_TEXT what stands
 * beside the HTML is dropped, for it says the same; without BODY_WANT_AMP an
 * AMP leaf is a file.
 *
 * Bytes are decoded as they come (base64, quoted-printable), so what is kept
 * is the content and not its encoding; the charset is converted at the end.
 * Not thread-safe; one per message.
 */
#ifndef TXM_POLICY_BODY_H
#define TXM_POLICY_BODY_H

#include <stdbool.h>
#include <stddef.h>

/* The decoded part that is kept. As large as EmailDelivery takes a whole
 * message (facts: 10,240,000 bytes). */
#define BODY_KEPT_MAX 10240000

/* Of all files together, decoded. SparkPost takes messages below 20 MB; no
 * other provider names a bound. */
#define BODY_FILES_MAX (20 * 1024 * 1024)
/* The body as it came. Postfix takes 10,240,000 bytes unless told otherwise. */
#define BODY_RAW_MAX (50 * 1024 * 1024)
/* A file's name in UTF-8: SparkPost's bound, and that of file systems. */
#define BODY_FILE_NAME_MAX 255
/* SparkPost takes the Content-ID of an image as its name. */
#define BODY_CONTENT_ID_MAX 255

/* What is kept beside "HTML, else text"; each costs memory. */
enum body_want {
	BODY_WANT_TEXT = 1,  /* the text part beside the HTML part */
	BODY_WANT_AMP = 2,   /* text/x-amp-html */
	BODY_WANT_FILES = 4, /* all other leaves, decoded */
	BODY_WANT_RAW = 8,   /* the bytes as they came, to the last */
};

/* BODY_DONE: nothing later can matter. With BODY_WANT_RAW it is never said.
 * BODY_ERROR: neither, for it is an error to all, or to some who want more than
 * the HTML part, which is complete. What is wrong before that to those who want
 * files is known at the end. */
enum body_status { BODY_MORE, BODY_DONE, BODY_ERROR };

struct body;

struct body *body_new(void);
void body_free(struct body **b);

struct trace;
/* See message_trace(). */
void body_trace(struct body *b, struct trace *t);

/* The message's own header fields (see mime_header). */
void body_header(struct body *b, const char *name, const char *value,
		 size_t len);

/* Before the first byte; a set of enum body_want. */
void body_want(struct body *b, unsigned wants);

/* Before body_end(): what of it is needed, now that it is known. What comes out
 * then, and whether there is an error, is as if no more had been wanted; but
 * the raw bytes are there still, if they are. Files need AMP as it was wanted,
 * for else that is a file. */
void body_need(struct body *b, unsigned needs);

enum body_status body_feed(struct body *b, const char *data, size_t len);

enum body_kind { BODY_NONE, BODY_HTML, BODY_TEXT };

/* The message is over. The body as valid UTF-8 in *text_r and *len_r (free();
 * NULL for BODY_NONE), and which it was. BODY_NONE with body_error() set: the
 * message is refused for that reason; not set: there was nothing usable. */
enum body_kind body_end(struct body *b, char **text_r, size_t *len_r);

/* The rest is asked for after body_end() gave no error. */

/* The text part beside the HTML part as UTF-8, free(); NULL: there is none, it
 * was not wanted, or it was the body (BODY_TEXT). Once. The same for AMP. */
char *body_take_text(struct body *b, size_t *len_r);
char *body_take_amp(struct body *b, size_t *len_r);

/* An AMP part that is not where its specification has it: below a
 * multipart/alternative, beside a text/html or text/plain part of that. */
bool body_amp_misplaced(const struct body *b);

/* An attachment, an image, or any other leaf. */
struct body_file {
	/* As its headers say (RFC 2231, RFC 2047, UTF-8, windows-1252), without
	 * control characters, '_' for path separators, and cut to
	 * BODY_FILE_NAME_MAX before its ending; else "attachment-N" with an
	 * ending that goes with its type. UTF-8, never empty. */
	char *name;
	/* "text/csv; charset=utf-8": charset and method stay. ASCII. */
	char *type;
	/* Without its brackets, UTF-8 without control characters; longer than
	 * BODY_CONTENT_ID_MAX is an error. NULL: none. */
	char *content_id;
	/* Shown within the message: it has a Content-ID and is below a
	 * multipart/related, or its disposition says inline and it is no
	 * text. */
	bool is_inline;
	char *data; /* decoded, in the charset it came in; a NUL behind it */
	size_t len;
};

/* In the order of the message. Theirs who asks: body_files_free(). Once. */
size_t body_take_files(struct body *b, struct body_file **files_r);
void body_files_free(struct body_file **files, size_t n);

/* BODY_WANT_RAW: the bytes as they came; live as long as b. NULL: they were
 * over BODY_RAW_MAX, or not read to the end (BODY_ERROR). */
const char *body_raw(const struct body *b, size_t *len_r);

/* Where the HTML body (or the text body, when there is no HTML) is in these
 * bytes, after body_end(). False: there is none. bytes[0, begin), a header
 * block, an empty line and other HTML, and bytes[end, len) are the message with
 * that in its place. */
struct body_place {
	/* Of its header block, right behind the delimiter line; 0 when it is
	 * the message. */
	size_t begin;
	size_t content; /* of what it holds, still encoded */
	size_t end;	/* behind it; the line end before the boundary is not in
			   it */
	bool is_message; /* it is no part: its headers are the message's */
	/* It has a multipart/alternative right above it. */
	bool in_alternative;
	/* It has a multipart/related right above it, which is the message
	 * or has a header block there. */
	bool in_related;
	bool related_is_message;
	size_t related_begin;
	size_t related_content;
	/* Below a multipart/signed: who changes a byte of it breaks a
	 * signature. */
	bool is_signed;
};
bool body_place(const struct body *b, struct body_place *place_r);

/* BODY_HTML: it is the whole body of the message, and none of its bytes was
 * replaced: sent on as it came it says the same. */
bool body_is_whole(const struct body *b);

/* The same, of body_place(). */
bool body_is_signed(const struct body *b);

/* BODY_TEXT: its line breaks may be soft (RFC 3676). */
bool body_is_flowed(const struct body *b);

/* Why the message cannot be taken, naming the header; NULL when it can. Only
 * what concerns the needs. */
const char *body_error(const struct body *b);

/* True when the error is that something is larger than BODY_KEPT_MAX,
 * BODY_FILES_MAX or BODY_RAW_MAX. */
bool body_too_large(const struct body *b);

/* What may explain BODY_NONE (mime_problem, or what was dropped). */
const char *body_problem(const struct body *b);

struct body_counts {
	unsigned parts;	      /* leaves seen until reading stopped */
	unsigned images;      /* dropped: image parts, attached or not */
	unsigned attachments; /* dropped: other parts that are attached */
	unsigned other;	      /* dropped: any other leaf */
	unsigned files;	      /* kept as files */
	bool replaced;	      /* bytes that were not of the charset: U+FFFD */
	bool rest_unread;     /* reading stopped before the end */
};

void body_counts(const struct body *b, struct body_counts *counts_r);

#endif
