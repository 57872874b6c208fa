/* SPDX-License-Identifier: MIT */
#include "ctl_talk.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"
#include "control.h"
#include "control_client.h"
#include "crypto.h"
#include "ctl_request.h"
#include "need.h"

#define TIMEOUT_MS 30000

int
ctl_complain(int code, const char *fmt, ...)
{
	va_list ap;

	(void)fputs("txmilterctl: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	return code;
}

int
ctl_complain_and_free(int code, char *text)
{
	(void)ctl_complain(code, "%s", text);
	free(text);
	return code;
}

int
ctl_complain_output(int code, const struct dynbuf *text)
{
	const char *s = dynbuf_str(text);
	size_t len = text->len;

	while (len > 0 && s[len - 1] == '\n')
		len--;
	if (len == 0)
		return ctl_complain(code, "the daemon answers %d", code);
	return ctl_complain(code, "%.*s", (int)len, s);
}

int
ctl_print(const struct dynbuf *text)
{
	if (fwrite(dynbuf_str(text), 1, text->len, stdout) != text->len ||
	    fflush(stdout) != 0)
		return ctl_complain(EX_IOERR, "cannot write the output: %m");
	return EX_OK;
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

/* Where the daemon is, and the file of the secret. To manage one on another
 * machine it takes no configuration on this. */
static int
find_daemon(const struct ctl_arguments *a, char **socket_r, char **secret_r)
{
	const char *file = a->config_file ? a->config_file : CTL_CONFIG_FILE;
	struct config *config;
	char *error;

	if (a->socket != NULL && a->config_file == NULL &&
	    access(file, F_OK) != 0 && errno == ENOENT) {
		*socket_r = need(strdup(a->socket));
		*secret_r = need(strdup(default_of("admin_secret")));
		return 0;
	}
	config = config_load(file, &error);
	if (config == NULL)
		return ctl_complain_and_free(EX_CONFIG, error);
	*socket_r = need(strdup(a->socket ? a->socket : config->milter_socket));
	*secret_r = need(strdup(config->admin_secret));
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
		return ctl_complain(EX_NOPERM, "%s: %s", secret_file, why);
	ctl->client =
	    control_client_open(socket, secret, len, TIMEOUT_MS, &failure);
	crypto_wipe(secret, sizeof(secret));
	return ctl->client != NULL
		   ? 0
		   : ctl_complain_and_free(failure.code, failure.text);
}

int
ctl_connect(struct ctl *ctl)
{
	char *socket = NULL, *secret = NULL;
	int code = find_daemon(&ctl->args, &socket, &secret);

	if (code != 0)
		return code;
	code = connect_with(ctl, socket, secret);
	free(socket);
	free(secret);
	return code;
}

int
ctl_ask(struct ctl *ctl)
{
	struct control_failure failure;
	int code;

	dynbuf_truncate(&ctl->output, 0);
	code = control_client_ask(ctl->client, ctl->request.data,
				  ctl->request.len, &ctl->output, &failure);
	if (code < 0)
		return ctl_complain_and_free(failure.code, failure.text);
	return code == 0 ? 0 : ctl_complain_output(code, &ctl->output);
}

int
ctl_write_request(struct ctl *ctl, unsigned long first_line)
{
	char *error;
	int code;

	dynbuf_truncate(&ctl->request, 0);
	code = ctl_request_write(&ctl->args, first_line, &ctl->request, &error);
	return code == 0 ? 0 : ctl_complain_and_free(code, error);
}

static void
wipe(struct dynbuf *b)
{
	if (b->data != NULL)
		crypto_wipe(b->data, b->cap);
	dynbuf_clear(b);
}

void
ctl_init(struct ctl *ctl)
{
	dynbuf_init(&ctl->request, CONTROL_REQUEST_MAX);
	(void)dynbuf_room(&ctl->request, CONTROL_REQUEST_MAX);
	dynbuf_init(&ctl->output, CONTROL_ANSWER_MAX);
}

void
ctl_clear(struct ctl *ctl)
{
	control_client_close(&ctl->client);
	wipe(&ctl->request);
	wipe(&ctl->output);
}
