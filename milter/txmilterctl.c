/* SPDX-License-Identifier: MIT */
/*
 * txmilterctl: manages the daemon over its milter socket.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands.h"
#include "config.h"
#include "control.h"
#include "ctl_arguments.h"
#include "ctl_help.h"
#include "ctl_input.h"
#include "ctl_talk.h"
#include "ctl_try.h"
#include "policy/dynbuf.h"

/* What a command that reads lines sends at once, besides the request's head. */
#define HEAD_MAX 4096
#define PIECE_MAX (CONTROL_REQUEST_MAX - HEAD_MAX)

static const char clear_screen[] = "\033[H\033[2J";

static int
help(const struct ctl_arguments *a)
{
	DYNBUF_AUTO text;

	dynbuf_init(&text, 65536);
	if (a->version)
		(void)dynbuf_adds(&text, "txmilterctl " TXMILTER_VERSION "\n");
	else if (a->command != NULL)
		ctl_help_command(a->command, &text);
	else
		ctl_help_program(a->group, &text);
	return ctl_print(&text);
}

static int
usage(char *error)
{
	DYNBUF_AUTO text;

	dynbuf_init(&text, 4096);
	ctl_help_usage(&text);
	(void)fputs(dynbuf_str(&text), stderr);
	return ctl_complain_and_free(EX_USAGE, error);
}

static bool
is_option(const char *name)
{
	struct config_option_info o;

	for (size_t i = 0; config_option(i, &o); i++) {
		if (strcmp(o.name, name) == 0)
			return true;
	}
	return false;
}

static int
check_conf(const struct ctl_arguments *a)
{
	if (ctl_arguments_option(a, "n") != NULL &&
	    ctl_arguments_option(a, "d") != NULL)
		return ctl_complain(EX_USAGE, "conf: -n or -d, not both");
	if (a->json)
		return ctl_complain(EX_USAGE,
				    "conf: prints the file's form only");
	for (size_t i = 0; i < a->n_operands; i++) {
		if (!is_option(a->operands[i]))
			return ctl_complain(EX_USAGE,
					    "conf: there is no option \"%s\"",
					    a->operands[i]);
	}
	return 0;
}

static int
add_conf(const struct ctl_arguments *a, const char *option, struct dynbuf *out)
{
	enum config_print_mode mode =
	    ctl_arguments_option(a, "n") != NULL   ? CONFIG_PRINT_SET
	    : ctl_arguments_option(a, "d") != NULL ? CONFIG_PRINT_DEFAULTS
						   : CONFIG_PRINT_ALL;
	char *error;

	if (config_print(a->config_file ? a->config_file : CTL_CONFIG_FILE,
			 mode, option, out, &error) == 0)
		return 0;
	return ctl_complain_and_free(EX_CONFIG, error);
}

static bool
is_named(const struct ctl_arguments *a, const char *option)
{
	for (size_t i = 0; i < a->n_operands; i++) {
		if (strcmp(a->operands[i], option) == 0)
			return true;
	}
	return false;
}

/* In the table's order, whatever that of the operands: what has no section
 * must come before the sections. */
static int
add_named_conf(const struct ctl_arguments *a, struct dynbuf *out)
{
	struct config_option_info o;
	int code = 0;

	for (size_t i = 0; code == 0 && config_option(i, &o); i++) {
		if (is_named(a, o.name))
			code = add_conf(a, o.name, out);
	}
	return code;
}

static int
print_configuration(struct ctl *ctl)
{
	const struct ctl_arguments *a = &ctl->args;
	DYNBUF_AUTO text;
	int code = check_conf(a);

	dynbuf_init(&text, CONTROL_ANSWER_MAX);
	if (code == 0 && a->n_operands == 0)
		code = add_conf(a, NULL, &text);
	else if (code == 0)
		code = add_named_conf(a, &text);
	if (code != 0)
		return code;
	/* The empty line before a section that nothing stands above. */
	(void)dynbuf_adds(&ctl->output,
			  dynbuf_str(&text) + (*dynbuf_str(&text) == '\n'));
	return ctl_print(&ctl->output);
}

static int
ask_and_print(struct ctl *ctl)
{
	int code = ctl_ask(ctl);

	return code == 0 ? ctl_print(&ctl->output) : code;
}

static int
watch(struct ctl *ctl)
{
	bool is_screen = isatty(STDOUT_FILENO) == 1;
	int code;

	for (;;) {
		code = ctl_ask(ctl);
		if (code == 0 && is_screen)
			(void)fputs(clear_screen, stdout);
		if (code == 0)
			code = ctl_print(&ctl->output);
		if (code != 0 || !is_screen)
			return code;
		(void)sleep(1);
	}
}

static int
send_piece(struct ctl *ctl, const struct ctl_piece *piece)
{
	int code = ctl_write_request(ctl, piece->first_line);

	if (code != 0)
		return code;
	if (!dynbuf_add(&ctl->request, piece->data, piece->len))
		abort();
	return ctl_ask(ctl);
}

/* Pieces go one by one, each wholly or not at all. */
static int
send_pieces(struct ctl *ctl, struct ctl_lines *lines)
{
	unsigned long total = 0;
	struct ctl_piece piece;
	char *error;
	int code;

	for (;;) {
		code = ctl_lines_next(lines, &piece, &error);
		if (code != 0)
			(void)ctl_complain_and_free(code, error);
		else if (piece.len > 0)
			code = send_piece(ctl, &piece);
		if (code != 0 && piece.first_line > 1)
			return ctl_complain(
			    code, "lines 1 to %lu were taken before that",
			    piece.first_line - 1);
		if (code != 0)
			return code;
		if (piece.len == 0)
			break;
		total += piece.n_filled;
	}
	dynbuf_truncate(&ctl->output, 0);
	(void)dynbuf_addf(&ctl->output,
			  ctl->args.json ? "{\"lines\":%lu}\n"
					 : "lines:               %lu\n",
			  total);
	return ctl_print(&ctl->output);
}

static int
send_lines(struct ctl *ctl)
{
	struct ctl_lines *lines;
	char *error;
	int code =
	    ctl_lines_open(ctl->args.operands[0], PIECE_MAX, &lines, &error);

	if (code != 0)
		return ctl_complain_and_free(code, error);
	code = ctl_connect(ctl);
	if (code == 0)
		code = send_pieces(ctl, lines);
	ctl_lines_close(&lines);
	return code;
}

static int
run_plain(struct ctl *ctl)
{
	int code = ctl_write_request(ctl, 0);

	if (code == 0)
		code = ctl_connect(ctl);
	if (code != 0)
		return code;
	return ctl_arguments_option(&ctl->args, "watch") != NULL
		   ? watch(ctl)
		   : ask_and_print(ctl);
}

static int
run(struct ctl *ctl)
{
	if (ctl->args.command->local)
		return print_configuration(ctl);
	switch (ctl->args.command->input) {
	case COMMAND_READS_LINES:
		return send_lines(ctl);
	case COMMAND_TRIES_MESSAGE:
		return ctl_try(ctl);
	case COMMAND_NO_INPUT:
		break;
	}
	return run_plain(ctl);
}

/* Secrets are in memory: no core, no debugger of the same user. */
static void
harden_process(void)
{
	const struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0);
}

int
main(int argc, char **argv)
{
	static struct ctl ctl;
	char *error;
	int code;

	harden_process();
	if (!ctl_arguments_parse(argc, argv, &ctl.args, &error))
		return usage(error);
	if (ctl.args.help || ctl.args.version)
		return help(&ctl.args);
	ctl_init(&ctl);
	code = run(&ctl);
	ctl_clear(&ctl);
	return code;
}
