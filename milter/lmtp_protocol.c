/* SPDX-License-Identifier: MIT */
#include "lmtp_protocol.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lmtp_command.h"
#include "need.h"
#include "policy/dynbuf.h"
#include "policy/smtp_reply.h"

enum state {
	STATE_COMMAND,
	STATE_SKIP, /* the rest of a line that is too long */
	STATE_DATA,
	STATE_WAIT, /* for lmtp_protocol_answer() */
	STATE_OVER,
};

/* Where in a line of the message. */
enum place {
	PLACE_START,
	PLACE_WITHIN,
	PLACE_CR,     /* behind a CR, which was given away */
	PLACE_DOT,    /* behind a dot that began the line, which was not */
	PLACE_DOT_CR, /* behind a dot and a CR, which were not */
};

struct lmtp_protocol {
	const struct lmtp_events *events;
	void *arg;
	struct dynbuf greeting; /* of LHLO */
	size_t size_max;
	enum state state;
	enum place place;
	struct dynbuf line; /* a command that is not complete */
	struct dynbuf kept; /* came while in STATE_WAIT */
	struct dynbuf out;
	bool greeted;
	bool mail;	/* a transaction is open */
	bool attempted; /* there was a MAIL, taken or not */
	bool draining;
	size_t recipients; /* taken */
	size_t size;	   /* of the message, so far */
	bool too_large;
	unsigned errors;
};

/* --- what is said --------------------------------------------------------- */

/* The transaction is over, without a message. */
static void
reset(struct lmtp_protocol *p)
{
	p->recipients = 0;
	p->attempted = false;
	if (!p->mail)
		return;
	p->mail = false;
	p->events->reset(p->arg);
}

static void
end(struct lmtp_protocol *p)
{
	p->state = STATE_OVER;
	reset(p);
}

/* A peer that lets so much lie unread is none of ours. */
static void
say(struct lmtp_protocol *p, const char *line)
{
	if (!dynbuf_addf(&p->out, "%s\r\n", line))
		end(p);
}

static void
say_reply(struct lmtp_protocol *p, const struct smtp_reply *r)
{
	assert(smtp_reply_is_set(r));
	if (!dynbuf_addf(&p->out, "%d %s %s\r\n", r->code, r->enhanced,
			 r->text))
		end(p);
}

/* The peer's fault: as many are borne as the bound says. */
static void
say_error(struct lmtp_protocol *p, const char *line)
{
	if (++p->errors <= LMTP_ERRORS_MAX) {
		say(p, line);
		return;
	}
	say(p, "421 4.7.0 Too many errors");
	end(p);
}

/* A command that cannot follow what came before. What was sent on the chance
 * that MAIL and RCPT would be taken is no fault. */
static void
say_out_of_order(struct lmtp_protocol *p, const char *line)
{
	if (p->attempted)
		say(p, line);
	else
		say_error(p, line);
}

/* --- commands ------------------------------------------------------------- */

struct args {
	const char *p;
	size_t len;
};

static void
do_lhlo(struct lmtp_protocol *p, struct args args)
{
	if (args.len == 0) {
		say_error(p, "501 5.5.4 LHLO wants a name");
		return;
	}
	reset(p);
	p->greeted = true;
	say(p, dynbuf_str(&p->greeting));
}

static void
do_helo(struct lmtp_protocol *p, struct args args)
{
	(void)args;
	say_error(p, "500 5.5.1 This is LMTP, say LHLO");
}

static void
say_shutting_down(struct lmtp_protocol *p)
{
	say(p, "421 4.3.2 Shutting down");
	end(p);
}

static void
do_mail(struct lmtp_protocol *p, struct args args)
{
	DYNBUF_AUTO sender;
	const char *error;
	struct lmtp_mail said;

	dynbuf_init(&sender, LMTP_LINE_MAX);
	if (!p->greeted) {
		say_error(p, "503 5.5.1 Say LHLO first");
		return;
	}
	if (p->mail) {
		say_error(p, "503 5.5.1 Nested MAIL");
		return;
	}
	p->attempted = true;
	error = lmtp_command_mail(args.p, args.len, &sender, &said);
	if (error != NULL) {
		say(p, error);
	} else if (p->draining) {
		say_shutting_down(p);
	} else if (said.size > p->size_max) {
		say(p, "552 5.3.4 Message too large");
	} else {
		p->mail = true;
		p->events->mail(p->arg, dynbuf_str(&sender), &said);
		say(p, "250 2.1.0 Ok");
	}
}

static void
take_recipient(struct lmtp_protocol *p, const char *address, const char *typed)
{
	struct smtp_reply reply = { .code = 0 };

	if (p->recipients == LMTP_RECIPIENTS_MAX) {
		say(p, "452 4.5.3 Too many recipients");
		return;
	}
	p->events->recipient(p->arg, address, typed, &reply);
	if (reply.code == 250)
		p->recipients++;
	say_reply(p, &reply);
}

static void
do_rcpt(struct lmtp_protocol *p, struct args args)
{
	DYNBUF_AUTO address;
	DYNBUF_AUTO typed;
	const char *error;

	dynbuf_init(&address, LMTP_LINE_MAX);
	dynbuf_init(&typed, LMTP_LINE_MAX);
	if (!p->mail) {
		say_out_of_order(p, "503 5.5.1 Need MAIL first");
		return;
	}
	error = lmtp_command_rcpt(args.p, args.len, &address, &typed);
	if (error != NULL)
		say(p, error);
	else
		take_recipient(p, dynbuf_str(&address),
			       typed.len > 0 ? dynbuf_str(&typed) : NULL);
}

/* 503 also when all recipients were refused: RFC 2033, section 4.2. */
static void
do_data(struct lmtp_protocol *p, struct args args)
{
	(void)args;
	if (p->recipients == 0) {
		say_out_of_order(p, "503 5.5.1 No recipient was taken");
		return;
	}
	p->state = STATE_DATA;
	p->place = PLACE_START;
	p->size = 0;
	p->too_large = false;
	say(p, "354 End with CRLF.CRLF");
}

static void
do_rset(struct lmtp_protocol *p, struct args args)
{
	(void)args;
	reset(p);
	say(p, "250 2.0.0 Ok");
}

static void
do_noop(struct lmtp_protocol *p, struct args args)
{
	(void)args;
	say(p, "250 2.0.0 Ok");
}

/* RFC 5321 section 3.5.3 wants a code other than 250 when it is not known. */
static void
do_vrfy(struct lmtp_protocol *p, struct args args)
{
	(void)args;
	say(p, "252 2.0.0 Send a message and see");
}

static void
do_quit(struct lmtp_protocol *p, struct args args)
{
	(void)args;
	say(p, "221 2.0.0 Bye");
	end(p);
}

static const struct command {
	const char *name;
	void (*run)(struct lmtp_protocol *p, struct args args);
	bool plain; /* has no arguments */
} commands[] = {
	{ "LHLO", do_lhlo, false }, { "HELO", do_helo, false },
	{ "EHLO", do_helo, false }, { "MAIL", do_mail, false },
	{ "RCPT", do_rcpt, false }, { "DATA", do_data, true },
	{ "RSET", do_rset, true },  { "NOOP", do_noop, false },
	{ "VRFY", do_vrfy, false }, { "QUIT", do_quit, true },
};

static const struct command *
find_command(const char *word, size_t len)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (strlen(commands[i].name) == len &&
		    strncasecmp(word, commands[i].name, len) == 0)
			return &commands[i];
	return NULL;
}

static bool
has_control(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < ' ' || c == 0x7f)
			return true;
	}
	return false;
}

/* A command line without its end. */
static void
take_command(struct lmtp_protocol *p, const char *line, size_t len)
{
	const struct command *c;
	const char *blank;
	struct args args = { line + len, 0 };
	size_t word;

	if (has_control(line, len)) {
		say_error(p, "500 5.5.2 Control character in a command");
		return;
	}
	while (len > 0 && line[len - 1] == ' ')
		len--;
	blank = len > 0 ? memchr(line, ' ', len) : NULL;
	word = blank != NULL ? (size_t)(blank - line) : len;
	if (blank != NULL)
		args = (struct args){ blank + 1, len - word - 1 };
	c = find_command(line, word);
	if (c == NULL)
		say_error(p, "500 5.5.1 Unknown command");
	else if (c->plain && args.len > 0)
		say_error(p, "501 5.5.4 No arguments allowed");
	else
		c->run(p, args);
}

/* --- lines ---------------------------------------------------------------- */

static void
say_line_too_long(struct lmtp_protocol *p)
{
	say_error(p, "500 5.5.2 Line too long");
}

/* The line is complete. */
static void
end_line(struct lmtp_protocol *p)
{
	struct dynbuf *line = &p->line;

	if (line->len > 0 && line->data[line->len - 1] == '\r')
		dynbuf_truncate(line, line->len - 1);
	if (line->len > LMTP_LINE_MAX)
		say_line_too_long(p);
	else
		take_command(p, dynbuf_str(line), line->len);
	dynbuf_truncate(line, 0);
}

/* How many bytes of it were taken. */
static size_t
take_line(struct lmtp_protocol *p, const char *data, size_t len)
{
	const char *lf = memchr(data, '\n', len);
	size_t n = lf != NULL ? (size_t)(lf - data) : len;

	if (!dynbuf_add(&p->line, data, n)) {
		dynbuf_truncate(&p->line, 0);
		p->state = STATE_SKIP;
		say_line_too_long(p);
		return 0;
	}
	if (lf == NULL)
		return n;
	end_line(p);
	return n + 1;
}

static size_t
skip_line(struct lmtp_protocol *p, const char *data, size_t len)
{
	const char *lf = memchr(data, '\n', len);

	if (lf == NULL)
		return len;
	p->state = STATE_COMMAND;
	return (size_t)(lf - data) + 1;
}

/* --- the message ---------------------------------------------------------- */

/* Only as much as is allowed: what is too large is not given to its end. */
static void
give(struct lmtp_protocol *p, const char *data, size_t len)
{
	size_t room = p->size_max - p->size;

	if (len > room) {
		p->too_large = true;
		len = room;
	}
	p->size += len;
	if (len > 0)
		p->events->data(p->arg, data, len);
}

static void
refuse_large(struct lmtp_protocol *p)
{
	size_t n = p->recipients;

	p->state = STATE_COMMAND;
	reset(p);
	for (size_t i = 0; i < n; i++)
		say(p, "552 5.3.4 Message too large");
}

/* The final dot. */
static void
end_data(struct lmtp_protocol *p)
{
	p->errors = 0;
	if (p->too_large) {
		refuse_large(p);
		return;
	}
	p->state = STATE_WAIT;
	p->mail = false;
	p->attempted = false;
	p->events->end(p->arg);
}

static enum place
place_after(const char *data, size_t len)
{
	if (data[len - 1] == '\r')
		return PLACE_CR;
	return len > 1 && memcmp(data + len - 2, "\r\n", 2) == 0 ? PLACE_START
								 : PLACE_WITHIN;
}

/* Bytes up to a line that begins with a dot; not at the start of a line. */
static size_t
take_lines(struct lmtp_protocol *p, const char *data, size_t len)
{
	const char *dot = memmem(data, len, "\r\n.", 3);
	size_t n = dot != NULL ? (size_t)(dot - data) + 2 : len;

	p->place = place_after(data, n);
	give(p, data, n);
	return n;
}

static size_t
take_after_dot_cr(struct lmtp_protocol *p, char c)
{
	if (c == '\n') {
		end_data(p);
		return 1;
	}
	p->place = PLACE_WITHIN;
	give(p, "\r", 1);
	return 0;
}

/* How many bytes of the message were taken; none, when only the place has
 * changed. */
static size_t
take_data(struct lmtp_protocol *p, const char *data, size_t len)
{
	switch (p->place) {
	case PLACE_START:
		p->place = *data == '.' ? PLACE_DOT : PLACE_WITHIN;
		return *data == '.';
	case PLACE_DOT:
		p->place = *data == '\r' ? PLACE_DOT_CR : PLACE_WITHIN;
		return *data == '\r';
	case PLACE_DOT_CR:
		return take_after_dot_cr(p, *data);
	case PLACE_CR:
		if (*data != '\n')
			break;
		give(p, data, 1);
		p->place = PLACE_START;
		return 1;
	case PLACE_WITHIN:
		break;
	}
	return take_lines(p, data, len);
}

/* --- in and out ----------------------------------------------------------- */

static size_t
take(struct lmtp_protocol *p, const char *data, size_t len)
{
	switch (p->state) {
	case STATE_COMMAND:
		return take_line(p, data, len);
	case STATE_SKIP:
		return skip_line(p, data, len);
	case STATE_DATA:
		return take_data(p, data, len);
	case STATE_WAIT:
		if (!dynbuf_add(&p->kept, data, len))
			end(p);
		return len;
	case STATE_OVER:
		break;
	}
	return len;
}

bool
lmtp_protocol_is_under_way(const struct lmtp_protocol *p)
{
	return p->mail || p->state == STATE_WAIT;
}

bool
lmtp_protocol_feed(struct lmtp_protocol *p, const char *data, size_t len)
{
	while (len > 0) {
		size_t n = take(p, data, len);

		data += n;
		len -= n;
	}
	if (p->draining && !lmtp_protocol_is_under_way(p) &&
	    p->state != STATE_OVER)
		say_shutting_down(p);
	return p->state != STATE_OVER;
}

bool
lmtp_protocol_answer(struct lmtp_protocol *p, const struct smtp_reply *replies,
		     size_t n)
{
	DYNBUF_AUTO kept;

	dynbuf_init(&kept, LMTP_KEPT_MAX);
	if (p->state == STATE_OVER)
		return false;
	assert(p->state == STATE_WAIT && n == p->recipients);
	kept = p->kept;
	dynbuf_init(&p->kept, LMTP_KEPT_MAX);
	p->state = STATE_COMMAND;
	p->recipients = 0;
	/* No reply may stand where another one did not fit. */
	for (size_t i = 0; i < n && p->state != STATE_OVER; i++)
		say_reply(p, &replies[i]);
	return lmtp_protocol_feed(p, dynbuf_str(&kept), kept.len);
}

bool
lmtp_protocol_drain(struct lmtp_protocol *p)
{
	p->draining = true;
	return lmtp_protocol_feed(p, NULL, 0);
}

struct dynbuf *
lmtp_protocol_out(struct lmtp_protocol *p)
{
	return &p->out;
}

bool
lmtp_protocol_waits(const struct lmtp_protocol *p)
{
	return p->state == STATE_WAIT;
}

static void
write_greeting(struct dynbuf *b, const struct lmtp_settings *settings)
{
	dynbuf_init(b, LMTP_OUT_MAX);
	if (!dynbuf_addf(b,
			 "250-%s\r\n"
			 "250-PIPELINING\r\n"
			 "250-8BITMIME\r\n"
			 "250-SIZE %zu\r\n"
			 "250-SMTPUTF8\r\n"
			 "250-ENHANCEDSTATUSCODES\r\n"
			 "250 DSN",
			 settings->host, settings->size_max))
		abort();
}

struct lmtp_protocol *
lmtp_protocol_new(const struct lmtp_settings *settings,
		  const struct lmtp_events *events, void *arg)
{
	struct lmtp_protocol *p = need(calloc(1, sizeof(*p)));

	p->events = events;
	p->arg = arg;
	p->size_max = settings->size_max > 0 ? settings->size_max : SIZE_MAX;
	/* The CR of a line end is in it for a moment. */
	dynbuf_init(&p->line, LMTP_LINE_MAX + 1);
	dynbuf_init(&p->kept, LMTP_KEPT_MAX);
	dynbuf_init(&p->out, LMTP_OUT_MAX);
	write_greeting(&p->greeting, settings);
	if (!dynbuf_addf(&p->out, "220 %s LMTP\r\n", settings->host))
		abort();
	return p;
}

void
lmtp_protocol_free(struct lmtp_protocol **pp)
{
	struct lmtp_protocol *p = *pp;

	if (p == NULL)
		return;
	*pp = NULL;
	end(p);
	dynbuf_clear(&p->greeting);
	dynbuf_clear(&p->line);
	dynbuf_clear(&p->kept);
	dynbuf_clear(&p->out);
	free(p);
}
