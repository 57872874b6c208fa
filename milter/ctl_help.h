/* SPDX-License-Identifier: MIT */
/*
 * ctl_help: what txmilterctl says of itself, from the table of commands. No
 * I/O.
 */
#ifndef TXM_MILTER_CTL_HELP_H
#define TXM_MILTER_CTL_HELP_H

struct command;
struct dynbuf;

/* One line: how the program is called. */
void ctl_help_usage(struct dynbuf *out);

/* The program, with every command in a line; group: only those whose name
 * begins with this word, NULL: all. */
void ctl_help_program(const char *group, struct dynbuf *out);

/* A command, with its options. */
void ctl_help_command(const struct command *c, struct dynbuf *out);

#endif
