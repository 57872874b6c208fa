/* SPDX-License-Identifier: MIT */
/*
 * file_name: what a file of a message may be called, whatever its sender says.
 * Thread-safe; no state.
 */
#ifndef TXM_POLICY_FILE_NAME_H
#define TXM_POLICY_FILE_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* Takes what is no UTF-8 and no character that is seen out, in place, and the
 * blanks at both ends: what turns the writing round hides an ending. Those that
 * join letters stay. */
void file_name_printable(char *s);

/* The same; '_' for each path separator; and at most `max` bytes, cut between
 * two characters and before the ending: a name must not lose what it says of
 * its content. False: nothing is left that is a name. */
bool file_name_make_safe(char *name, size_t max);

/* The ending that goes with a media type, in lower case; "bin" when none is
 * known. */
const char *file_name_ending(const char *type, const char *subtype);

#endif
