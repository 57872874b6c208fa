/* SPDX-License-Identifier: MIT */
#include "callbacks.h"

#include <libmilter/mfapi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "control.h"
#include "control_server.h"
#include "copy_arrival.h"
#include "crypto.h"
#include "listener.h"
#include "log.h"
#include "login.h"
#include "need.h"
#include "policy/dynbuf.h"
#include "policy/edits.h"
#include "policy/requeue.h"
#include "services.h"
#include "session.h"

/* Sessions that wait to be accepted; the kernel cuts it to somaxconn. */
#define BACKLOG 4096
/* A chain of replies would be lost: libmilter's limit is 980 bytes. */
#define REPLY_TEXT_MAX 900
/* An address of RFC 5321 has 254 bytes; dialects have their bounds. */
#define RECIPIENT_MAX 4096

/* Steps that are not asked for, and steps that are not answered: each answer
 * is a round trip through libmilter's pool. A body chunk is answered, for that
 * is how SKIP is said, and a recipient where it may be one too many. */
#define STEPS_OFF \
	(SMFIP_NOCONNECT | SMFIP_NOHELO | SMFIP_NOUNKNOWN | SMFIP_NODATA)
#define STEPS_SILENT \
	(SMFIP_NR_MAIL | SMFIP_NR_RCPT | SMFIP_NR_HDR | SMFIP_NR_EOH)

/* For what goes into the queue; a new body also for answers to management. */
#define ACTIONS                                                          \
	(SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_CHGBODY | SMFIF_CHGFROM | \
	 SMFIF_ADDRCPT | SMFIF_ADDRCPT_PAR)

static struct services *services;

/* The macros that are used; Postfix sends the others' names for nothing. */
static const struct {
	int stage;
	const char *names;
} macros[] = {
	{ SMFIM_ENVFROM, "{auth_authen} {client_addr} {daemon_name}" },
	{ SMFIM_EOM, "i" },
};

/* False: the daemon is stopping and what sessions share is going. */
static bool
enter_services(void)
{
	atomic_fetch_add(&services->busy, 1);
	return !atomic_load(&services->stopping);
}

static void
leave_services(void)
{
	atomic_fetch_sub(&services->busy, 1);
}

/* A connection of Postfix, or of txmilterctl. */
struct connection {
	struct session *session;
	struct control_server *control; /* NULL: it never asked for anything */
	bool is_request;		/* the message that comes is one */
	bool answers_recipients;
};

static struct connection *
connection_of(SMFICTX *ctx)
{
	struct connection *c = smfi_getpriv(ctx);

	if (c != NULL)
		return c;
	c = need(calloc(1, sizeof(*c)));
	if (smfi_setpriv(ctx, c) != MI_SUCCESS) {
		free(c);
		return NULL;
	}
	c->session = session_new(services);
	atomic_fetch_add(&services->sessions, 1);
	return c;
}

/* For this connection, to its end. */
static unsigned long
silent_steps(SMFICTX *ctx)
{
	bool bounded = enter_services() && login_bounds_recipients(services);
	struct connection *c;

	leave_services();
	c = bounded ? connection_of(ctx) : NULL;
	if (c == NULL)
		return STEPS_SILENT;
	c->answers_recipients = true;
	return STEPS_SILENT & ~(unsigned long)SMFIP_NR_RCPT;
}

static sfsistat
on_negotiate(SMFICTX *ctx, unsigned long actions, unsigned long steps,
	     unsigned long f2, unsigned long f3, unsigned long *actions_r,
	     unsigned long *steps_r, unsigned long *f2_r, unsigned long *f3_r)
{
	unsigned long wanted = STEPS_OFF | STEPS_SILENT | SMFIP_SKIP;

	(void)f2;
	(void)f3;
	if ((steps & wanted) != wanted) {
		log_error("milter", "the MTA does not speak milter protocol 6; "
				    "set protocol=6");
		return SMFIS_REJECT;
	}
	for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++) {
		char names[64];

		(void)snprintf(names, sizeof(names), "%s", macros[i].names);
		(void)smfi_setsymlist(ctx, macros[i].stage, names);
	}
	if ((actions & ACTIONS) != ACTIONS) {
		log_error("milter", "the MTA does not let us change messages");
		return SMFIS_REJECT;
	}
	*actions_r = ACTIONS;
	*steps_r = STEPS_OFF | SMFIP_SKIP | silent_steps(ctx);
	*f2_r = 0;
	*f3_r = 0;
	return SMFIS_CONTINUE;
}

/* NULL while a request comes: it is no message. */
static struct session *
session_of(SMFICTX *ctx)
{
	struct connection *c = connection_of(ctx);

	return c != NULL && !c->is_request ? c->session : NULL;
}

static const char *
macro(SMFICTX *ctx, const char *name)
{
	return smfi_getsymval(ctx, (char *)(uintptr_t)name);
}

static void
begin_request(struct connection *c, const char *proof)
{
	session_reset(c->session);
	if (c->control == NULL)
		c->control = control_server_new(services);
	control_server_begin(c->control, proof);
}

static void
begin_message(SMFICTX *ctx, struct connection *c, const char *sender)
{
	const char *service = macro(ctx, "{daemon_name}");
	struct trial *trial =
	    c->control ? control_server_take_trial(c->control) : NULL;

	session_mail(c->session, sender, macro(ctx, "{auth_authen}"),
		     macro(ctx, "{client_addr}"));
	if (trial != NULL)
		session_try(c->session, trial);
	else if (service != NULL && strcmp(service, COPY_SERVICE) == 0)
		session_expect_copy(c->session);
	if (enter_services())
		session_ask_login(c->session);
	leave_services();
}

static sfsistat
on_mail(SMFICTX *ctx, char **argv)
{
	struct connection *c = connection_of(ctx);
	const char *proof = macro(ctx, CONTROL_MACRO);

	if (c == NULL)
		return SMFIS_NOREPLY;
	c->is_request = proof != NULL;
	if (c->is_request)
		begin_request(c, proof);
	else
		begin_message(ctx, c, argv[0]);
	return SMFIS_NOREPLY;
}

/* libmilter swallows a single '%'. */
static void
double_percent(char *dst, size_t size, const char *src)
{
	size_t n = 0;

	for (; *src != '\0' && n + 2 < size; src++) {
		if (*src == '%')
			dst[n++] = '%';
		dst[n++] = *src;
	}
	dst[n] = '\0';
}

static sfsistat
send_reply(SMFICTX *ctx, const char *queue_id, const struct smtp_reply *r)
{
	char text[REPLY_TEXT_MAX];
	char enhanced[sizeof(r->enhanced)];
	char code[16];

	if (r->code == 250)
		return SMFIS_DISCARD;
	(void)snprintf(code, sizeof(code), "%d", r->code);
	(void)snprintf(enhanced, sizeof(enhanced), "%s", r->enhanced);
	double_percent(text, sizeof(text), r->text);
	if (smfi_setreply(ctx, code, enhanced, text) != MI_SUCCESS)
		log_error(queue_id, "libmilter does not take the reply %s %s",
			  code, enhanced);
	return r->code >= 500 ? SMFIS_REJECT : SMFIS_TEMPFAIL;
}

static sfsistat
answer_recipient(SMFICTX *ctx, struct session *s, const char *addr)
{
	bool open = enter_services();
	struct smtp_reply reply;
	bool taken = session_recipient(s, addr, open, &reply);

	leave_services();
	return taken ? SMFIS_CONTINUE : send_reply(ctx, "NOQUEUE", &reply);
}

static sfsistat
on_recipient(SMFICTX *ctx, char **argv)
{
	struct connection *c = connection_of(ctx);

	if (c == NULL)
		return SMFIS_NOREPLY;
	if (c->answers_recipients)
		return c->is_request
			   ? SMFIS_CONTINUE
			   : answer_recipient(ctx, c->session, argv[0]);
	if (!c->is_request)
		(void)session_recipient(c->session, argv[0], false, NULL);
	return SMFIS_NOREPLY;
}

static sfsistat
on_header(SMFICTX *ctx, char *name, char *value)
{
	struct session *s = session_of(ctx);

	if (s != NULL)
		session_header(s, name, value);
	return SMFIS_NOREPLY;
}

static sfsistat
on_headers_done(SMFICTX *ctx)
{
	struct session *s = session_of(ctx);

	if (s != NULL && enter_services())
		session_headers_done(s);
	if (s != NULL)
		leave_services();
	return SMFIS_NOREPLY;
}

static sfsistat
on_body(SMFICTX *ctx, unsigned char *data, size_t len)
{
	struct connection *c = connection_of(ctx);

	if (c == NULL)
		return SMFIS_CONTINUE;
	if (c->is_request)
		control_server_body(c->control, (const char *)data, len);
	else if (session_body(c->session, (const char *)data, len))
		return SMFIS_SKIP;
	return SMFIS_CONTINUE;
}

/* libmilter takes what it does not change for changeable. */
static char *
text(const char *s)
{
	return (char *)(uintptr_t)s;
}

static bool
edit_header(SMFICTX *ctx, const struct header_edit *h)
{
	switch (h->kind) {
	case EDIT_DELETE:
		return smfi_chgheader(ctx, text(h->name), (int)h->index,
				      NULL) == MI_SUCCESS;
	case EDIT_CHANGE:
		return smfi_chgheader(ctx, text(h->name), (int)h->index,
				      text(h->value)) == MI_SUCCESS;
	case EDIT_ADD:
		return smfi_addheader(ctx, text(h->name), text(h->value)) ==
		       MI_SUCCESS;
	}
	return false;
}

/* RFC 3461, section 4: what is not printable ASCII, or means something, as
 * "+HH". */
static bool
add_xtext(struct dynbuf *out, const char *s)
{
	bool ok = true;

	for (; *s != '\0' && ok; s++) {
		unsigned char c = (unsigned char)*s;

		ok = c > ' ' && c < 0x7f && c != '+' && c != '='
			 ? dynbuf_add(out, s, 1)
			 : dynbuf_addf(out, "+%02X", c);
	}
	return ok;
}

/* Postfix completes and rewrites what is added: the agent knows it by ORCPT,
 * as what the client gave. */
static bool
add_recipient(SMFICTX *ctx, const char *address)
{
	DYNBUF_AUTO bracketed, orcpt;

	dynbuf_init(&bracketed, RECIPIENT_MAX);
	dynbuf_init(&orcpt, 3 * RECIPIENT_MAX);
	return dynbuf_addf(&bracketed, "<%s>", address) &&
	       dynbuf_adds(&orcpt, "ORCPT=rfc822;") &&
	       add_xtext(&orcpt, address) &&
	       smfi_addrcpt_par(ctx, text(dynbuf_str(&bracketed)),
				text(dynbuf_str(&orcpt))) == MI_SUCCESS;
}

static bool
add_recipients(SMFICTX *ctx, const struct edits *e)
{
	for (size_t i = 0; i < e->n_recipients; i++) {
		if (!add_recipient(ctx, e->recipients[i]))
			return false;
	}
	return true;
}

/* The header takes effect when it is added (FILTER), and has no more business
 * in the message after that. */
static bool
set_route(SMFICTX *ctx, const char *route)
{
	char *name = text(REQUEUE_ROUTE_HEADER);

	return smfi_addheader(ctx, name, text(route)) == MI_SUCCESS &&
	       smfi_chgheader(ctx, name, 1, NULL) == MI_SUCCESS;
}

static bool
edit_message(SMFICTX *ctx, const struct edits *e)
{
	for (size_t i = 0; i < e->n_headers; i++) {
		if (!edit_header(ctx, &e->headers[i]))
			return false;
	}
	if (e->sender != NULL &&
	    smfi_chgfrom(ctx, e->sender, NULL) != MI_SUCCESS)
		return false;
	if (!add_recipients(ctx, e))
		return false;
	if (e->new_body && smfi_replacebody(ctx, (unsigned char *)e->body,
					    (int)e->body_len) != MI_SUCCESS)
		return false;
	return set_route(ctx, e->route);
}

/* Without each of the edits it must not be queued. */
static sfsistat
queue_message(SMFICTX *ctx, const char *queue_id, const struct edits *e)
{
	if (edit_message(ctx, e))
		return SMFIS_ACCEPT;
	log_error(queue_id, "libmilter does not take the edits");
	return SMFIS_TEMPFAIL;
}

static sfsistat
end_message(SMFICTX *ctx, struct session *s)
{
	const char *queue_id = macro(ctx, "i");
	struct session_outcome o = { 0 };
	sfsistat status;

	if (queue_id == NULL)
		queue_id = "NOQUEUE";
	if (enter_services())
		session_end(s, queue_id, &o);
	else
		smtp_reply_set(&o.reply, 451, "4.3.2", "The relay is stopping");
	status = o.edits != NULL ? queue_message(ctx, queue_id, o.edits)
				 : send_reply(ctx, queue_id, &o.reply);
	/* A stop waits until the edits are written, too. */
	leave_services();
	edits_free(&o.edits);
	return status;
}

/* libmilter cuts it into packets. Discarded: it was no mail. */
static sfsistat
send_answer(SMFICTX *ctx, struct dynbuf *out)
{
	int sent = smfi_replacebody(
	    ctx, (unsigned char *)(uintptr_t)dynbuf_str(out), (int)out->len);

	if (out->data != NULL)
		crypto_wipe(out->data, out->cap);
	if (sent != MI_SUCCESS)
		log_warning("control", "the answer cannot be sent");
	return SMFIS_DISCARD;
}

/* A request, or a message that is only tried: true, and its answer. */
static bool
end_request(struct connection *c, struct dynbuf *out)
{
	bool is_one = false;

	if (!enter_services())
		control_server_stopping(out);
	else if (c->is_request)
		control_server_end(c->control, out);
	else
		is_one = session_end_trial(c->session, out);
	leave_services();
	return is_one || c->is_request;
}

static sfsistat
on_end(SMFICTX *ctx)
{
	struct connection *c = connection_of(ctx);
	DYNBUF_AUTO out;

	if (c == NULL)
		return SMFIS_TEMPFAIL;
	/* An answer and its first line. */
	dynbuf_init(&out, CONTROL_ANSWER_MAX + 256);
	if (c->control != NULL)
		(void)dynbuf_room(&out, CONTROL_SECRETS_FIT);
	if (c->control != NULL && end_request(c, &out))
		return send_answer(ctx, &out);
	return end_message(ctx, c->session);
}

static sfsistat
on_abort(SMFICTX *ctx)
{
	struct connection *c = smfi_getpriv(ctx);

	if (c != NULL)
		session_reset(c->session);
	return SMFIS_CONTINUE;
}

static sfsistat
on_close(SMFICTX *ctx)
{
	struct connection *c = smfi_getpriv(ctx);

	(void)smfi_setpriv(ctx, NULL);
	if (c == NULL)
		return SMFIS_CONTINUE;
	session_free(&c->session);
	control_server_free(&c->control);
	free(c);
	atomic_fetch_sub(&services->sessions, 1);
	return SMFIS_CONTINUE;
}

static char filter_name[] = "txmilter";

static struct smfiDesc description = {
	.xxfi_name = filter_name,
	.xxfi_version = SMFI_VERSION,
	.xxfi_envfrom = on_mail,
	.xxfi_envrcpt = on_recipient,
	.xxfi_header = on_header,
	.xxfi_eoh = on_headers_done,
	.xxfi_body = on_body,
	.xxfi_eom = on_end,
	.xxfi_abort = on_abort,
	.xxfi_close = on_close,
	.xxfi_negotiate = on_negotiate,
};

static int
fail(char **error_r, const char *what, const char *spec)
{
	if (asprintf(error_r, "%s: %s", spec, what) < 0)
		abort();
	return -1;
}

/* libmilter has a word of its own for IPv6; free(). */
static char *
libmilter_spec(const char *spec)
{
	const char *at = strchr(spec, '@');
	bool six = strncmp(spec, "inet:", 5) == 0 && at != NULL &&
		   strchr(at, ':') != NULL;
	char *conn;

	if (asprintf(&conn, "%s%s", six ? "inet6:" : "",
		     six ? spec + 5 : spec) < 0)
		abort();
	return conn;
}

int
callbacks_open(struct services *shared, const char *spec, const char *group,
	       char **error_r)
{
	char *conn = libmilter_spec(spec);
	mode_t old;
	int opened;

	services = shared;
	if (smfi_register(description) != MI_SUCCESS ||
	    smfi_setconn(conn) != MI_SUCCESS ||
	    smfi_setbacklog(BACKLOG) != MI_SUCCESS) {
		free(conn);
		return fail(error_r, "libmilter does not take the socket",
			    spec);
	}
	free(conn);
	/* The socket's mode follows the umask: nobody but us and the group. */
	old = umask(0117);
	opened = smfi_opensocket(1);
	(void)umask(old);
	if (opened != MI_SUCCESS)
		return fail(error_r,
			    "the socket cannot be opened (is another "
			    "txmilter running?)",
			    spec);
	return listener_permit(spec, group, error_r);
}

int
callbacks_run(void)
{
	return smfi_main() == MI_SUCCESS ? 0 : -1;
}
