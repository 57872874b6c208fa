/* SPDX-License-Identifier: MIT */
#include "callbacks.h"

#include <libmilter/mfapi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "listener.h"
#include "log.h"
#include "services.h"
#include "session.h"

/* Sessions that wait to be accepted; the kernel cuts it to somaxconn. */
#define BACKLOG 4096
/* A chain of replies would be lost: libmilter's limit is 980 bytes. */
#define REPLY_TEXT_MAX 900

/* Steps that are not asked for, and steps that are not answered: each answer
 * is a round trip through libmilter's pool. A body chunk is answered, for that
 * is how SKIP is said. */
#define STEPS_OFF \
	(SMFIP_NOCONNECT | SMFIP_NOHELO | SMFIP_NOUNKNOWN | SMFIP_NODATA)
#define STEPS_SILENT \
	(SMFIP_NR_MAIL | SMFIP_NR_RCPT | SMFIP_NR_HDR | SMFIP_NR_EOH)

static struct services *services;

/* The macros that are used; Postfix sends the others' names for nothing. */
static const struct {
	int stage;
	const char *names;
} macros[] = {
	{ SMFIM_ENVFROM, "{auth_authen}" },
	{ SMFIM_EOM, "i" },
};

static sfsistat
on_negotiate(SMFICTX *ctx, unsigned long actions, unsigned long steps,
	     unsigned long f2, unsigned long f3, unsigned long *actions_r,
	     unsigned long *steps_r, unsigned long *f2_r, unsigned long *f3_r)
{
	unsigned long wanted = STEPS_OFF | STEPS_SILENT | SMFIP_SKIP;

	(void)actions;
	(void)f2;
	(void)f3;
	if ((steps & wanted) != wanted) {
		log_error("milter", "the MTA does not speak milter protocol 6; "
				    "set protocol=6");
		return SMFIS_REJECT;
	}
	for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++) {
		char names[32];

		(void)snprintf(names, sizeof(names), "%s", macros[i].names);
		(void)smfi_setsymlist(ctx, macros[i].stage, names);
	}
	*actions_r = 0;
	*steps_r = wanted;
	*f2_r = 0;
	*f3_r = 0;
	return SMFIS_CONTINUE;
}

static struct session *
session_of(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);

	if (s == NULL) {
		s = session_new(services);
		if (smfi_setpriv(ctx, s) != MI_SUCCESS)
			session_free(&s);
	}
	return s;
}

static sfsistat
on_mail(SMFICTX *ctx, char **argv)
{
	struct session *s = session_of(ctx);
	char name[] = "{auth_authen}";

	if (s != NULL)
		session_mail(s, argv[0], smfi_getsymval(ctx, name));
	return SMFIS_NOREPLY;
}

static sfsistat
on_recipient(SMFICTX *ctx, char **argv)
{
	struct session *s = session_of(ctx);

	if (s != NULL)
		session_recipient(s, argv[0]);
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
	struct session *s = session_of(ctx);

	if (s != NULL && session_body(s, (const char *)data, len))
		return SMFIS_SKIP;
	return SMFIS_CONTINUE;
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
on_end(SMFICTX *ctx)
{
	struct session *s = session_of(ctx);
	char name[] = "i";
	const char *queue_id = smfi_getsymval(ctx, name);
	struct smtp_reply reply;

	if (s == NULL)
		return SMFIS_TEMPFAIL;
	if (queue_id == NULL)
		queue_id = "NOQUEUE";
	if (enter_services())
		session_end(s, queue_id, &reply);
	else
		smtp_reply_set(&reply, 451, "4.3.2", "The relay is stopping");
	leave_services();
	return send_reply(ctx, queue_id, &reply);
}

static sfsistat
on_abort(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);

	if (s != NULL)
		session_reset(s);
	return SMFIS_CONTINUE;
}

static sfsistat
on_close(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);

	(void)smfi_setpriv(ctx, NULL);
	session_free(&s);
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

void
callbacks_stop(void)
{
	(void)smfi_stop();
}
