/* SPDX-License-Identifier: MIT */
/*
 * mail_reader: cuts a message that comes as bytes (CRLF or LF line ends, dots
 * not stuffed) into what the milter protocol would have given: header fields,
 * their end, and the body. A push parser: chunks of any size, linear cost.
 *
 *   field       name (printable ASCII) without the white space before its
 *               colon; value as libmilter gives it: one blank behind the colon
 *               is gone, folds are LF and white space
 *   end         an empty line, which is gone, or a line that is no field: that
 *               begins the body
 *   body        as it is, line ends too, in whatever pieces
 *   over MAIL_READER_FIELD_MAX   an error that sticks; what follows is ignored
 *
 * Not thread-safe; one per message.
 */
#ifndef TXM_POLICY_MAIL_READER_H
#define TXM_POLICY_MAIL_READER_H

#include <stdbool.h>
#include <stddef.h>

/* One field: name, colon, and value with its folds. */
#define MAIL_READER_FIELD_MAX 102400

struct mail_reader;

/* Called from within feed and end. value is NUL-terminated and may hold NUL.
 * headers_done comes once, before the first body, also for a message without
 * any. */
struct mail_sink {
	void (*header)(void *arg, const char *name, const char *value,
		       size_t len);
	void (*headers_done)(void *arg);
	void (*body)(void *arg, const char *data, size_t len);
};

struct mail_reader *mail_reader_new(const struct mail_sink *sink, void *arg);
void mail_reader_free(struct mail_reader **r);

/* False: a field is too long, or what may become the name of one is. Postfix
 * says MAIL_READER_FIELD_MAX too, as header_size_limit. */
bool mail_reader_feed(struct mail_reader *r, const char *data, size_t len);
/* The message is complete: what is held back is given. False as above. */
bool mail_reader_end(struct mail_reader *r);

#endif
