/* SPDX-License-Identifier: MIT */
#include "control_client.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "control.h"
#include "control_message.h"
#include "crypto.h"
#include "listener.h"
#include "milter_wire.h"
#include "need.h"

/* Packets are sent together, up to this much. */
#define SEND_AT 65536
#define OUT_MAX (SEND_AT + MILTER_WIRE_HEAD + MILTER_WIRE_DATA_MAX)
/* A listener whose backlog is full: how long until the next attempt. */
#define RETRY_MS 20
/* The answer's first line: exit code, blank, nonce. */
#define EXIT_CODE_DIGITS 3

struct control_client {
	char *spec;
	int fd;
	unsigned timeout_ms;
	int64_t deadline; /* of the call, by clock_ms() */
	uint32_t steps;
	struct milter_reader reader;
	/* This and the reader's never grow, for a copy left behind could hold
	 * a key. */
	struct dynbuf out;
	char secret[CONTROL_SECRET_MAX];
	size_t secret_len;
	char nonce[CONTROL_NONCE_LEN + 1]; /* "": of no more use */
	struct control_failure *failure;   /* of the call */
};

/* A message, or a request in the form of one. */
struct transaction {
	const char *macro; /* NULL: none */
	const char *from;
	const char *const *recipients;
	size_t n_recipients;
	const struct control_header *headers;
	size_t n_headers;
	const char *body;
	size_t len;
};

static int fail(struct control_client *c, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* -1, for the caller to return. */
static int
fail(struct control_client *c, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&c->failure->text, fmt, ap) < 0)
		abort();
	va_end(ap);
	c->failure->code = code;
	c->nonce[0] = '\0';
	return -1;
}

static int
fail_timeout(struct control_client *c)
{
	return fail(c, EX_TEMPFAIL, "%s: no answer within %u s", c->spec,
		    (c->timeout_ms + 999) / 1000);
}

static int
fail_protocol(struct control_client *c, const char *what)
{
	return fail(c, EX_PROTOCOL,
		    "%s: %s; is it the milter socket of a txmilter of this "
		    "version?",
		    c->spec, what);
}

static void
begin_call(struct control_client *c, struct control_failure *failure_r)
{
	c->failure = failure_r;
	*failure_r = (struct control_failure){ 0 };
	c->deadline = clock_ms() + c->timeout_ms;
}

static int
wait_for(struct control_client *c, short events)
{
	struct pollfd p = { .fd = c->fd, .events = events };

	for (;;) {
		int64_t left = c->deadline - clock_ms();
		int n = left > 0 ? poll(&p, 1, (int)left) : 0;

		if (n > 0)
			return 0;
		if (n == 0)
			return fail_timeout(c);
		if (errno != EINTR)
			return fail(c, EX_OSERR, "poll: %m");
	}
}

static int
fail_connect(struct control_client *c, int error)
{
	bool gone = error == ENOENT || error == ECONNREFUSED;
	bool denied = error == EACCES || error == EPERM;

	return fail(c, denied ? EX_NOPERM : EX_UNAVAILABLE,
		    "cannot connect to %s: %s%s", c->spec, strerror(error),
		    gone     ? "; is txmilter running?"
		    : denied ? "; root and the group of the socket may"
			     : "");
}

/* A UNIX socket whose backlog is full cannot be waited for. */
static int
start_connecting(struct control_client *c)
{
	const struct timespec pause = { .tv_nsec = RETRY_MS * 1000000L };

	for (;;) {
		c->fd = listener_connect(c->spec);
		if (c->fd >= 0)
			return 0;
		if (errno != EAGAIN)
			return fail_connect(c, errno);
		if (clock_ms() >= c->deadline)
			return fail_timeout(c);
		(void)nanosleep(&pause, NULL);
	}
}

static int
connect_to(struct control_client *c)
{
	const char *why;
	int error = 0;
	socklen_t len = sizeof(error);

	if (!listener_check(c->spec, &why))
		return fail(c, EX_USAGE, "%s: %s", c->spec, why);
	if (start_connecting(c) != 0 || wait_for(c, POLLOUT) != 0)
		return -1;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	return error == 0 ? 0 : fail_connect(c, error);
}

static int
fail_socket(struct control_client *c, int error)
{
	if (error == EPIPE || error == ECONNRESET)
		return fail(c, EX_UNAVAILABLE, "%s: it hung up", c->spec);
	return fail(c, EX_OSERR, "%s: %s", c->spec, strerror(error));
}

static int
flush(struct control_client *c)
{
	size_t sent = 0;

	while (sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + sent, c->out.len - sent,
				 MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return fail_socket(c, errno);
		if (n < 0 && wait_for(c, POLLOUT) != 0)
			return -1;
		if (n > 0)
			sent += (size_t)n;
	}
	dynbuf_truncate(&c->out, 0);
	return 0;
}

static int
receive(struct control_client *c)
{
	char buf[MILTER_READER_FEED_MAX];
	ssize_t n;
	bool fed;

	do {
		if (wait_for(c, POLLIN) != 0)
			return -1;
		n = recv(c->fd, buf, sizeof(buf), 0);
	} while (n < 0 && (errno == EAGAIN || errno == EINTR));
	if (n <= 0)
		return fail_socket(c, n == 0 ? EPIPE : errno);
	fed = milter_reader_feed(&c->reader, buf, (size_t)n);
	crypto_wipe(buf, (size_t)n);
	if (!fed)
		return fail_protocol(c, "its answers cannot be read");
	return 0;
}

/* The next packet that is no news of progress. */
static int
next_packet(struct control_client *c, struct milter_packet *p_r)
{
	for (;;) {
		int rc = milter_reader_next(&c->reader, p_r);

		if (rc < 0)
			return fail_protocol(c, "its answers cannot be read");
		if (rc == 0 && receive(c) != 0)
			return -1;
		if (rc > 0 && p_r->command != MILTER_REPLY_PROGRESS)
			return 0;
		if (rc > 0)
			c->deadline = clock_ms() + c->timeout_ms;
	}
}

/* Any answer that is none to what was asked. */
static int
fail_answer(struct control_client *c, const struct milter_packet *p)
{
	int text = (int)strnlen(p->data, p->len < 900 ? p->len : 900);

	switch ((enum milter_reply)p->command) {
	case MILTER_REPLY_TEMPFAIL:
		return fail(c, EX_TEMPFAIL, "%s: it answers 451; try later",
			    c->spec);
	case MILTER_REPLY_REJECT:
		return fail(c, EX_NOPERM, "%s: it refuses", c->spec);
	case MILTER_REPLY_TEXT:
		return fail(
		    c, text > 0 && p->data[0] == '4' ? EX_TEMPFAIL : EX_NOPERM,
		    "%s: it answers %.*s", c->spec, text, p->data);
	default:
		return fail_protocol(c, "it does not answer what was asked");
	}
}

/* Sends the step in c->out if it is wanted, and takes its answer if it has
 * one. skip_r: set when no more of it is wanted; may be NULL. */
static int
end_step(struct control_client *c, bool encoded, char command, bool *skip_r)
{
	enum milter_step step = milter_wire_step(c->steps, command);
	struct milter_packet p;

	if (!encoded)
		return fail(c, EX_DATAERR, "too long for the milter protocol");
	if (step == MILTER_STEP_SILENT)
		return c->out.len >= SEND_AT ? flush(c) : 0;
	if (flush(c) != 0 || next_packet(c, &p) != 0)
		return -1;
	if (skip_r != NULL && p.command == MILTER_REPLY_SKIP) {
		*skip_r = true;
		return 0;
	}
	return p.command == MILTER_REPLY_CONTINUE ? 0 : fail_answer(c, &p);
}

static bool
is_off(const struct control_client *c, char command)
{
	return milter_wire_step(c->steps, command) == MILTER_STEP_OFF;
}

static int
send_strings(struct control_client *c, char command, const char *const *v,
	     size_t n)
{
	if (is_off(c, command))
		return 0;
	return end_step(c, milter_wire_strings(&c->out, command, v, n), command,
			NULL);
}

static int
send_header(struct control_client *c, const struct control_header *h)
{
	const char *v[] = { h->name, h->value };

	if (!milter_wire_keeps_blank(c->steps) &&
	    (*v[1] == ' ' || *v[1] == '\t'))
		v[1]++;
	return send_strings(c, 'L', v, 2);
}

static int
send_body(struct control_client *c, const char *body, size_t len)
{
	bool enough = is_off(c, 'B');

	while (len > 0 && !enough) {
		size_t n =
		    len < MILTER_WIRE_DATA_MAX ? len : MILTER_WIRE_DATA_MAX;

		if (end_step(c, milter_wire_packet(&c->out, 'B', body, n), 'B',
			     &enough) != 0)
			return -1;
		body += n;
		len -= n;
	}
	return 0;
}

/* A message that is tried has macros, too, as every message of an MTA: those
 * of the request before it would go on to count. */
static int
send_envelope(struct control_client *c, const struct transaction *t)
{
	if (!milter_wire_macro(&c->out, 'M',
			       t->macro ? CONTROL_MACRO : "{auth_authen}",
			       t->macro ? t->macro : ""))
		abort();
	if (send_strings(c, 'M', &t->from, 1) != 0)
		return -1;
	for (size_t i = 0; i < t->n_recipients; i++) {
		if (send_strings(c, 'R', &t->recipients[i], 1) != 0)
			return -1;
	}
	return send_strings(c, 'T', NULL, 0);
}

static int
send_message(struct control_client *c, const struct transaction *t)
{
	if (send_envelope(c, t) != 0)
		return -1;
	for (size_t i = 0; i < t->n_headers; i++) {
		if (send_header(c, &t->headers[i]) != 0)
			return -1;
	}
	if (send_strings(c, 'N', NULL, 0) != 0 ||
	    send_body(c, t->body, t->len) != 0)
		return -1;
	/* Room for it is what SEND_AT leaves. */
	if (!milter_wire_packet(&c->out, 'E', NULL, 0))
		abort();
	return flush(c);
}

/* The new body, to `answer`. */
static int
take_answer(struct control_client *c, struct dynbuf *answer)
{
	struct milter_packet p;

	for (;;) {
		if (next_packet(c, &p) != 0)
			return -1;
		if (p.command != MILTER_REPLY_BODY)
			break;
		if (!dynbuf_add(answer, p.data, p.len))
			return fail_protocol(c, "its answer is over 64 MB");
	}
	if (p.command == MILTER_REPLY_DISCARD && answer->len > 0)
		return 0;
	return fail_answer(c, &p);
}

/* Takes a nonce, or "-" for none, off *at. False when it is neither. */
static bool
take_nonce(struct control_client *c, const char **at)
{
	size_t hex = strspn(*at, "0123456789abcdef");

	if (**at == '-') {
		(*at)++;
		return true;
	}
	if (hex != CONTROL_NONCE_LEN)
		return false;
	memcpy(c->nonce, *at, hex);
	*at += hex;
	return true;
}

/* Its first line, up to where the output begins. -1 when it is none, and when
 * a request that went well is not answered by a nonce for the next. */
static int
parse_first_line(struct control_client *c, const struct dynbuf *answer,
		 bool is_request, size_t *output_r)
{
	const char *s = answer->data;
	size_t digits = strspn(s, "0123456789");
	int code;

	if (digits == 0 || digits > EXIT_CODE_DIGITS)
		return -1;
	code = atoi(s);
	s += digits;
	if (*s == ' ') {
		s++;
		if (!take_nonce(c, &s))
			return -1;
	}
	*output_r = (size_t)(s - answer->data) + 1;
	if (*s != '\n' || code > 255)
		return -1;
	return is_request && code == 0 && c->nonce[0] == '\0' ? -1 : code;
}

/* What was sent or came may have keys in it. */
static void
wipe(struct dynbuf *b)
{
	if (b->data != NULL)
		crypto_wipe(b->data, b->cap);
}

static int
transact(struct control_client *c, const struct transaction *t,
	 struct dynbuf *output)
{
	DYNBUF_AUTO answer;
	size_t from = 0;
	int code = -1;

	dynbuf_init(&answer, CONTROL_ANSWER_MAX);
	if (send_message(c, t) == 0 && take_answer(c, &answer) == 0) {
		code = parse_first_line(c, &answer, t->macro != NULL, &from);
		if (code < 0)
			(void)fail_protocol(c, "its answer is not of the form "
					       "it should be");
		else if (!dynbuf_add(output, answer.data + from,
				     answer.len - from))
			code = fail(c, EX_SOFTWARE, "the answer is too long");
	}
	wipe(&answer);
	wipe(&c->out);
	dynbuf_truncate(&c->out, 0);
	return code;
}

static int
request(struct control_client *c, const char *macro, const char *body,
	size_t len, struct dynbuf *output)
{
	static const char *const recipient = CONTROL_RECIPIENT;
	const struct transaction t = {
		.macro = macro,
		.from = "<>",
		.recipients = &recipient,
		.n_recipients = 1,
		.body = body,
		.len = len,
	};

	c->nonce[0] = '\0';
	return transact(c, &t, output);
}

static int
negotiate(struct control_client *c)
{
	struct milter_packet p;

	if (!milter_wire_offer(&c->out))
		abort();
	if (flush(c) != 0 || next_packet(c, &p) != 0)
		return -1;
	if (!milter_wire_agreed(&p, &c->steps))
		return fail_protocol(c, "it does not negotiate as a milter");
	if (is_off(c, 'M') || is_off(c, 'R') || is_off(c, 'B'))
		return fail_protocol(c, "it does not want whole messages");
	return 0;
}

/* What the daemon has to say at once is why it cannot be managed. */
static int
hello(struct control_client *c)
{
	DYNBUF_AUTO output;
	int code;

	dynbuf_init(&output, CONTROL_ANSWER_MAX);
	code = request(c, CONTROL_HELLO, NULL, 0, &output);
	if (code <= 0)
		return code;
	return fail(c, code, "%s: %.*s", c->spec,
		    (int)strcspn(dynbuf_str(&output), "\n"),
		    dynbuf_str(&output));
}

struct control_client *
control_client_open(const char *spec, const char *secret, size_t len,
		    unsigned timeout_ms, struct control_failure *failure_r)
{
	struct control_client *c = need(calloc(1, sizeof(*c)));

	if (len > sizeof(c->secret))
		abort();
	c->spec = need(strdup(spec));
	c->fd = -1;
	c->timeout_ms = timeout_ms;
	memcpy(c->secret, secret, len);
	c->secret_len = len;
	milter_reader_init(&c->reader);
	dynbuf_init(&c->out, OUT_MAX);
	(void)dynbuf_room(&c->out, c->out.max);
	(void)dynbuf_room(&c->reader.in, c->reader.in.max);
	begin_call(c, failure_r);
	if (connect_to(c) != 0 || negotiate(c) != 0 || hello(c) != 0)
		control_client_close(&c);
	return c;
}

void
control_client_close(struct control_client **cp)
{
	struct control_client *c = *cp;

	if (c == NULL)
		return;
	if (c->fd >= 0)
		(void)close(c->fd);
	wipe(&c->out);
	wipe(&c->reader.in);
	dynbuf_clear(&c->out);
	milter_reader_clear(&c->reader);
	free(c->spec);
	crypto_wipe(c, sizeof(*c));
	free(c);
	*cp = NULL;
}

static bool
is_usable(struct control_client *c)
{
	if (c->nonce[0] == '\0')
		(void)fail(c, EX_UNAVAILABLE, "%s: the connection is over",
			   c->spec);
	return c->nonce[0] != '\0';
}

int
control_client_ask(struct control_client *c, const char *body, size_t len,
		   struct dynbuf *output, struct control_failure *failure_r)
{
	const struct crypto_piece v[] = { { c->nonce, CONTROL_NONCE_LEN },
					  { body, len } };
	uint8_t mac[CRYPTO_HASH_LEN];
	char hex[CONTROL_MAC_LEN + 1];

	begin_call(c, failure_r);
	if (!is_usable(c))
		return -1;
	crypto_hmac(c->secret, c->secret_len, v, 2, mac);
	crypto_hex(hex, mac, sizeof(mac));
	return request(c, hex, body, len, output);
}

int
control_client_try(struct control_client *c, const char *from,
		   const char *const *recipients, size_t n_recipients,
		   const struct control_message *message, struct dynbuf *output,
		   struct control_failure *failure_r)
{
	const struct transaction t = {
		.from = from,
		.recipients = recipients,
		.n_recipients = n_recipients,
		.headers = message->headers,
		.n_headers = message->n,
		.body = message->body.data,
		.len = message->body.len,
	};

	begin_call(c, failure_r);
	return is_usable(c) ? transact(c, &t, output) : -1;
}
