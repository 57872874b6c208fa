/* SPDX-License-Identifier: MIT */
/*
 * txmilterctl: manages the daemon over its milter socket.
 */
#include <errno.h>
#include <stdarg.h>
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
#include "control_client.h"
#include "control_message.h"
#include "crypto.h"
#include "ctl_arguments.h"
#include "ctl_help.h"
#include "ctl_input.h"
#include "ctl_request.h"
#include "policy/address.h"
#include "policy/dynbuf.h"
#include "policy/header_text.h"

#define CONFIG_FILE "/etc/txmilter/txmilter.conf"
#define TIMEOUT_MS 30000
/* What a command that reads lines sends at once, besides the request's head. */
#define HEAD_MAX 4096
#define PIECE_MAX (CONTROL_REQUEST_MAX - HEAD_MAX)

static const char clear_screen[] = "\033[H\033[2J";

struct ctl {
	struct ctl_arguments args;
	struct control_client *client;
	struct dynbuf request; /* never grows: keys may be in it */
	struct dynbuf output;
};

static int complain(int code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The code, for the caller to return. */
static int
complain(int code, const char *fmt, ...)
{
	va_list ap;

	(void)fputs("txmilterctl: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	return code;
}

static int
complain_and_free(int code, char *text)
{
	(void)complain(code, "%s", text);
	free(text);
	return code;
}

/* The text may have a line end already. */
static int
complain_output(int code, const struct dynbuf *text)
{
	const char *s = dynbuf_str(text);
	size_t len = text->len;

	while (len > 0 && s[len - 1] == '\n')
		len--;
	return complain(code, "%.*s", (int)len, len > 0 ? s : "it failed");
}

static int
print(const struct dynbuf *text)
{
	if (fwrite(dynbuf_str(text), 1, text->len, stdout) != text->len ||
	    fflush(stdout) != 0)
		return complain(EX_IOERR, "cannot write the output: %m");
	return EX_OK;
}

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
	return print(&text);
}

static int
usage(char *error)
{
	DYNBUF_AUTO text;

	dynbuf_init(&text, 4096);
	ctl_help_usage(&text);
	(void)fputs(dynbuf_str(&text), stderr);
	return complain_and_free(EX_USAGE, error);
}

/* What config.c is to have:
 *
 *	int config_print(const char *file, enum config_print_mode mode,
 *			 const char *option, struct dynbuf *out,
 *			 char **error_r);
 *
 * with CONFIG_PRINT_SET for -n, CONFIG_PRINT_DEFAULTS for -d, else
 * CONFIG_PRINT_ALL; once for each operand, or once with NULL. */
static int
print_configuration(const struct ctl_arguments *a)
{
	return complain(EX_UNAVAILABLE, "%s is not built in", a->command->name);
}

static const char *
default_of(const char *name)
{
	struct config_option_info o;

	for (size_t i = 0; config_option(i, &o); i++) {
		if (*o.section == '\0' && strcmp(o.name, name) == 0)
			return o.default_value;
	}
	abort();
}

static char *
copy(const char *s)
{
	char *c = strdup(s);

	if (c == NULL)
		abort();
	return c;
}

/* Where the daemon is, and the file of the secret. To manage one on another
 * machine it takes no configuration on this. */
static int
find_daemon(const struct ctl_arguments *a, char **socket_r, char **secret_r)
{
	const char *file = a->config_file ? a->config_file : CONFIG_FILE;
	struct config *config;
	char *error;

	if (a->socket != NULL && a->config_file == NULL &&
	    access(file, F_OK) != 0 && errno == ENOENT) {
		*socket_r = copy(a->socket);
		*secret_r = copy(default_of("admin_secret"));
		return 0;
	}
	config = config_load(file, &error);
	if (config == NULL)
		return complain_and_free(EX_CONFIG, error);
	*socket_r = copy(a->socket ? a->socket : config->milter_socket);
	*secret_r = copy(config->admin_secret);
	config_free(&config);
	return 0;
}

static int
connect_with(struct ctl *ctl, const char *socket, const char *secret_file)
{
	char secret[CONTROL_SECRET_MAX + 1];
	struct control_failure failure;
	const char *why;
	size_t len;

	if (crypto_secret_read(secret_file, CONTROL_SECRET_MIN,
			       CONTROL_SECRET_MAX, secret, &len, &why) != 0)
		return complain(EX_NOPERM, "%s: %s", secret_file, why);
	ctl->client =
	    control_client_open(socket, secret, len, TIMEOUT_MS, &failure);
	crypto_wipe(secret, sizeof(secret));
	return ctl->client != NULL
		   ? 0
		   : complain_and_free(failure.code, failure.text);
}

static int
connect_to_daemon(struct ctl *ctl)
{
	char *socket, *secret;
	int code = find_daemon(&ctl->args, &socket, &secret);

	if (code != 0)
		return code;
	code = connect_with(ctl, socket, secret);
	free(socket);
	free(secret);
	return code;
}

/* Asks, and tells on standard error what went wrong. The output of a command
 * that went well is in ctl->output. */
static int
ask(struct ctl *ctl)
{
	struct control_failure failure;
	int code;

	dynbuf_truncate(&ctl->output, 0);
	code = control_client_ask(ctl->client, ctl->request.data,
				  ctl->request.len, &ctl->output, &failure);
	if (code < 0)
		return complain_and_free(failure.code, failure.text);
	return code == 0 ? 0 : complain_output(code, &ctl->output);
}

static int
ask_and_print(struct ctl *ctl)
{
	int code = ask(ctl);

	return code == 0 ? print(&ctl->output) : code;
}

static int
watch(struct ctl *ctl)
{
	bool is_screen = isatty(STDOUT_FILENO) == 1;
	int code;

	for (;;) {
		code = ask(ctl);
		if (code == 0 && is_screen)
			(void)fputs(clear_screen, stdout);
		if (code == 0)
			code = print(&ctl->output);
		if (code != 0 || !is_screen)
			return code;
		(void)sleep(1);
	}
}

static int
write_request(struct ctl *ctl, unsigned long first_line)
{
	char *error;
	int code;

	dynbuf_truncate(&ctl->request, 0);
	code = ctl_request_write(&ctl->args, first_line, &ctl->request, &error);
	return code == 0 ? 0 : complain_and_free(code, error);
}

static int
send_piece(struct ctl *ctl, const struct ctl_piece *piece)
{
	int code = write_request(ctl, piece->first_line);

	if (code != 0)
		return code;
	if (!dynbuf_add(&ctl->request, piece->data, piece->len))
		abort();
	return ask(ctl);
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
			(void)complain_and_free(code, error);
		else if (piece.len > 0)
			code = send_piece(ctl, &piece);
		if (code != 0 && piece.first_line > 1)
			return complain(code,
					"lines 1 to %lu were taken before that",
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
	return print(&ctl->output);
}

static int
send_lines(struct ctl *ctl)
{
	struct ctl_lines *lines;
	char *error;
	int code =
	    ctl_lines_open(ctl->args.operands[0], PIECE_MAX, &lines, &error);

	if (code != 0)
		return complain_and_free(code, error);
	code = connect_to_daemon(ctl);
	if (code == 0)
		code = send_pieces(ctl, lines);
	ctl_lines_close(&lines);
	return code;
}

/* "<address>", whether it was written so or not; NULL when it is none. */
static char *
envelope_address(const char *text, bool may_be_empty)
{
	size_t n = strlen(text);
	bool has = n >= 2 && text[0] == '<' && text[n - 1] == '>';
	char *address;

	if (asprintf(&address, has ? "%s" : "<%s>", text) < 0)
		abort();
	n = strlen(address);
	address[n - 1] = '\0';
	if ((n == 2 && may_be_empty) || address_is_plain(address + 1)) {
		address[n - 1] = '>';
		return address;
	}
	free(address);
	return NULL;
}

static int
recipients_of_options(const struct ctl_arguments *a,
		      struct control_recipients *r)
{
	*r = (struct control_recipients){ 0 };
	r->v = calloc(a->n_options + 1, sizeof(*r->v));
	if (r->v == NULL)
		abort();
	for (size_t i = 0; i < a->n_options; i++) {
		const struct ctl_option *o = &a->options[i];

		if (strcmp(o->option->name, "rcpt") != 0)
			continue;
		r->v[r->n] = envelope_address(o->value, false);
		if (r->v[r->n] == NULL)
			return complain(
			    EX_USAGE, "--rcpt: \"%s\" is no address", o->value);
		r->n++;
	}
	return 0;
}

/* Sets *r, which is to be cleared either way. */
static int
find_recipients(const struct ctl_arguments *a, const struct control_message *m,
		struct control_recipients *r)
{
	int code = recipients_of_options(a, r);

	if (code != 0 || r->n > 0)
		return code;
	control_recipients_clear(r);
	if (!control_message_recipients(m, r))
		return complain(EX_DATAERR,
				"%s: more than %d addresses in To and Cc",
				a->operands[0], CONTROL_RECIPIENTS_MAX);
	if (r->n > 0)
		return 0;
	return complain(EX_DATAERR,
			"%s: no address in To and Cc; give one with --rcpt",
			a->operands[0]);
}

static int
write_page(const char *file, const struct dynbuf *page)
{
	FILE *f = fopen(file, "we");
	bool written;

	if (f == NULL)
		return complain(EX_CANTCREAT, "%s: %m", file);
	written = fwrite(dynbuf_str(page), 1, page->len, f) == page->len;
	if (fclose(f) != 0 || !written)
		return complain(EX_IOERR, "%s: cannot write it: %m", file);
	return EX_OK;
}

static int
try_with(struct ctl *ctl, const char *from, const struct control_recipients *r,
	 const struct control_message *m)
{
	const char *html = ctl_arguments_option(&ctl->args, "html");
	struct control_failure failure;
	int code = ask(ctl);

	if (code != 0)
		return code;
	dynbuf_truncate(&ctl->output, 0);
	code = control_client_try(ctl->client, from, (const char *const *)r->v,
				  r->n, m, &ctl->output, &failure);
	if (code < 0)
		return complain_and_free(failure.code, failure.text);
	if (code > 0)
		return complain_output(code, &ctl->output);
	return html != NULL ? write_page(html, &ctl->output)
			    : print(&ctl->output);
}

static int
try_parsed(struct ctl *ctl, const struct control_message *m)
{
	const char *text = ctl_arguments_option(&ctl->args, "from");
	char *from = envelope_address(text ? text : "", true);
	struct control_recipients r = { 0 };
	int code =
	    from != NULL
		? find_recipients(&ctl->args, m, &r)
		: complain(EX_USAGE, "--from: \"%s\" is no address", text);

	if (code == 0)
		code = write_request(ctl, 0);
	if (code == 0)
		code = connect_to_daemon(ctl);
	if (code == 0)
		code = try_with(ctl, from, &r, m);
	control_recipients_clear(&r);
	free(from);
	return code;
}

static int
try_message(struct ctl *ctl)
{
	const char *file = ctl->args.operands[0];
	struct control_message m;
	DYNBUF_AUTO text;
	const char *why;
	char *error;
	int code;

	dynbuf_init(&text, CONTROL_MESSAGE_MAX);
	header_text_init();
	code = ctl_input_whole(file, &text, &error);
	if (code != 0)
		return complain_and_free(code, error);
	if (!control_message_parse(dynbuf_str(&text), text.len, &m, &why))
		return complain(EX_DATAERR, "%s: %s", file, why);
	code = try_parsed(ctl, &m);
	control_message_clear(&m);
	return code;
}

static int
run_plain(struct ctl *ctl)
{
	int code = write_request(ctl, 0);

	if (code == 0)
		code = connect_to_daemon(ctl);
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
		return print_configuration(&ctl->args);
	switch (ctl->args.command->input) {
	case COMMAND_READS_LINES:
		return send_lines(ctl);
	case COMMAND_TRIES_MESSAGE:
		return try_message(ctl);
	case COMMAND_NO_INPUT:
		break;
	}
	return run_plain(ctl);
}

static void
wipe(struct dynbuf *b)
{
	if (b->data != NULL)
		crypto_wipe(b->data, b->cap);
	dynbuf_clear(b);
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
	dynbuf_init(&ctl.request, CONTROL_REQUEST_MAX);
	(void)dynbuf_room(&ctl.request, CONTROL_REQUEST_MAX);
	dynbuf_init(&ctl.output, CONTROL_ANSWER_MAX);
	code = run(&ctl);
	control_client_close(&ctl.client);
	wipe(&ctl.request);
	wipe(&ctl.output);
	return code;
}
