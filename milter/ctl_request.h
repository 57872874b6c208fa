/* SPDX-License-Identifier: MIT */
/*
 * ctl_request: the command line as a request (control.h), up to and with the
 * empty line.
 *
 * An option whose value is called FILE in the table goes as the first line of
 * that file; one called OUT, without a value, for the file is ours. The
 * operand FILE, and what is only for us, is not sent.
 */
#ifndef TXM_MILTER_CTL_REQUEST_H
#define TXM_MILTER_CTL_REQUEST_H

struct ctl_arguments;
struct dynbuf;

/* The first line of a file named by an option. */
#define CTL_FILE_LINE_MAX 1024

/* first_line: the number of the first line that follows, for a command that
 * reads lines. 0, or an exit code and an error text (free()). Secrets may be in
 * it: wipe. */
int ctl_request_write(const struct ctl_arguments *a, unsigned long first_line,
		      struct dynbuf *out, char **error_r);

#endif
