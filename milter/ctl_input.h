/* SPDX-License-Identifier: MIT */
/*
 * ctl_input: what txmilterctl reads from files; "-" is standard input. Pipes
 * will do. Each returns 0, or an exit code of sysexits(3) and an error text
 * with the file's name (free()).
 */
#ifndef TXM_MILTER_CTL_INPUT_H
#define TXM_MILTER_CTL_INPUT_H

#include <stddef.h>

struct dynbuf;

/* Appends all of it; more than the buffer's maximum is an error. */
int ctl_input_whole(const char *file, struct dynbuf *out, char **error_r);

/* The first line without its end (LF or CRLF), 1 to max bytes, no NUL.
 * NUL-terminated: dst has max + 1 bytes; wipe it. */
int ctl_input_first_line(const char *file, char *dst, size_t max,
			 char **error_r);

/* A file in pieces that end where a line does. */
struct ctl_lines;
int ctl_lines_open(const char *file, size_t piece_max, struct ctl_lines **l_r,
		   char **error_r);
/* Wipes what was read. */
void ctl_lines_close(struct ctl_lines **l);

struct ctl_piece {
	const char *data;	  /* valid until the next call */
	size_t len;		  /* 0: that was all */
	unsigned long first_line; /* its number, from 1 */
	unsigned long n_filled;	  /* lines that are not blank */
};
/* A line longer than piece_max is an error that names its number. */
int ctl_lines_next(struct ctl_lines *l, struct ctl_piece *piece_r,
		   char **error_r);

#endif
