/* SPDX-License-Identifier: MIT */
/*
 * body_files: the leaves of a message that are files: attachments, images, and
 * what else is none of its bodies. Private to body*.c; struct body_file and the
 * bounds are in body.h. Not thread-safe; one per message.
 */
#ifndef TXM_POLICY_BODY_FILES_H
#define TXM_POLICY_BODY_FILES_H

#include <stdbool.h>
#include <stddef.h>

struct body_decoder;
struct body_file;
struct mime_part;

struct body_files;

struct body_files *body_files_new(void);
void body_files_delete(struct body_files **files);

/* A part begins that is a file. Within mime's begin(). False: it is refused,
 * for *why_r, naming the header. */
bool body_files_begin(struct body_files *files, const struct mime_part *part,
		      const char **why_r);

/* What it holds. False: all together are over BODY_FILES_MAX. */
bool body_files_add(struct body_files *files, struct body_decoder *decoder,
		    const char *data, size_t len);

/* It is over; the same. *kept_r: not so when it is text that is not attached
 * and has nothing to read. */
bool body_files_end(struct body_files *files, struct body_decoder *decoder,
		    bool *kept_r);

/* All of what it holds, decoded, instead of these two; the same. */
bool body_files_put(struct body_files *files, const char *data, size_t len,
		    bool *kept_r);

/* Which one is open; and takes one out again that is complete. */
size_t body_files_last(const struct body_files *files);
void body_files_remove(struct body_files *files, size_t i);

/* See body_take_files(). */
size_t body_files_take(struct body_files *files, struct body_file **files_r);

#endif
