/* SPDX-License-Identifier: MIT */
/*
 * control_message: a message from a file, taken apart as Postfix gives it to a
 * milter. For "txmilterctl try". No state; thread-safe.
 */
#ifndef TXM_MILTER_CONTROL_MESSAGE_H
#define TXM_MILTER_CONTROL_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/dynbuf.h"

#define CONTROL_MESSAGE_MAX (128 * 1024 * 1024)
/* Name and value, as the daemon would have them from Postfix, and how many:
 * more than either refuses, so that its refusal can be seen. */
#define CONTROL_HEADER_MAX 65000
#define CONTROL_HEADERS_MAX 10000

struct control_header {
	char *name;
	char *value; /* with the blank behind the colon if it has one; folds as
		      * LF and white space */
};

struct control_message {
	struct control_header *headers;
	size_t n;
	struct dynbuf body; /* with CRLF */
};

/* Lines end with LF or CRLF. A first line "From ..." of a mailbox file is left
 * out; a line that is no header ends the headers and begins the body. False,
 * nothing to be cleared, and a text that goes on from the file's name (static).
 */
bool control_message_parse(const char *text, size_t len,
			   struct control_message *m_r, const char **error_r);
void control_message_clear(struct control_message *m);

/* Every address of its To and Cc headers as an envelope has it, in "<>", each
 * once, in their order; what no envelope can have is left out. False, and
 * nothing to be cleared, when they name more than CONTROL_RECIPIENTS_MAX.
 * header_text_init() goes before it. */
#define CONTROL_RECIPIENTS_MAX 1000
struct control_recipients {
	char **v;
	size_t n;
};
bool control_message_recipients(const struct control_message *m,
				struct control_recipients *r_r);
void control_recipients_clear(struct control_recipients *r);

#endif
