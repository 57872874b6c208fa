/* SPDX-License-Identifier: MIT */
#include "ctl_try.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "control_client.h"
#include "control_message.h"
#include "ctl_input.h"
#include "ctl_talk.h"
#include "need.h"
#include "policy/address.h"
#include "policy/header_text.h"

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
	r->v = need(calloc(a->n_options + 1, sizeof(*r->v)));
	for (size_t i = 0; i < a->n_options; i++) {
		const struct ctl_option *o = &a->options[i];

		if (strcmp(o->option->name, "rcpt") != 0)
			continue;
		r->v[r->n] = envelope_address(o->value, false);
		if (r->v[r->n] == NULL)
			return ctl_complain(
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
		return ctl_complain(EX_DATAERR,
				    "%s: more than %d addresses in To and Cc",
				    a->operands[0], CONTROL_RECIPIENTS_MAX);
	if (r->n > 0)
		return 0;
	return ctl_complain(EX_DATAERR,
			    "%s: no address in To and Cc; give one with --rcpt",
			    a->operands[0]);
}

static int
write_page(const char *file, const struct dynbuf *page)
{
	FILE *f = fopen(file, "we");
	bool written;

	if (f == NULL)
		return ctl_complain(EX_CANTCREAT, "%s: %m", file);
	written = fwrite(dynbuf_str(page), 1, page->len, f) == page->len;
	if (fclose(f) != 0 || !written)
		return ctl_complain(EX_IOERR, "%s: cannot write it: %m", file);
	return EX_OK;
}

static int
try_with(struct ctl *ctl, const char *from, const struct control_recipients *r,
	 const struct control_message *m)
{
	const char *html = ctl_arguments_option(&ctl->args, "html");
	struct control_failure failure;
	int code = ctl_ask(ctl);

	if (code != 0)
		return code;
	dynbuf_truncate(&ctl->output, 0);
	code = control_client_try(ctl->client, from, (const char *const *)r->v,
				  r->n, m, &ctl->output, &failure);
	if (code < 0)
		return ctl_complain_and_free(failure.code, failure.text);
	if (code > 0)
		return ctl_complain_output(code, &ctl->output);
	return html != NULL ? write_page(html, &ctl->output)
			    : ctl_print(&ctl->output);
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
		: ctl_complain(EX_USAGE, "--from: \"%s\" is no address", text);

	if (code == 0)
		code = ctl_write_request(ctl, 0);
	if (code == 0)
		code = ctl_connect(ctl);
	if (code == 0)
		code = try_with(ctl, from, &r, m);
	control_recipients_clear(&r);
	free(from);
	return code;
}

int
ctl_try(struct ctl *ctl)
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
		return ctl_complain_and_free(code, error);
	if (!control_message_parse(dynbuf_str(&text), text.len, &m, &why))
		return ctl_complain(EX_DATAERR, "%s: %s", file, why);
	code = try_parsed(ctl, &m);
	control_message_clear(&m);
	return code;
}
