/* SPDX-License-Identifier: MIT */
#include "sasl_protocol.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* authzid NUL authcid NUL password (RFC 4616), the longest response. */
#define RESPONSE_MAX (SASL_USER_MAX + 1 + SASL_USER_MAX + 1 + SASL_SECRET_MAX)
/* What base64 of that may decode to: whole groups of three. */
#define RESPONSE_SIZE ((RESPONSE_MAX + 2) / 3 * 3)

/* A piece of the line; p is NULL where there is none. */
struct span {
	const char *p;
	size_t len;
};

/* Postfix passes the mechanism as the client typed it, in any case. */
static const struct mechanism {
	const char *name;
	const char *prompt;
	int step;
} mechanisms[] = {
	{ "PLAIN", "", SASL_PLAIN },
	{ "LOGIN", "VXNlcm5hbWU6", SASL_LOGIN_USER }, /* "Username:" */
};
static const char password_prompt[] = "UGFzc3dvcmQ6"; /* "Password:" */

/* Cuts the field before the next TAB off; false when the line is at its end. */
static bool
take_field(struct span *rest, struct span *field_r)
{
	const char *tab;

	if (rest->p == NULL)
		return false;
	*field_r = *rest;
	tab = memchr(rest->p, '\t', rest->len);
	if (tab == NULL) {
		*rest = (struct span){ NULL, 0 };
		return true;
	}
	field_r->len = (size_t)(tab - rest->p);
	rest->p = tab + 1;
	rest->len -= field_r->len + 1;
	return true;
}

static bool
span_is(struct span s, const char *word)
{
	return s.len == strlen(word) && memcmp(s.p, word, s.len) == 0;
}

/* True when s begins with prefix; then *value_r is what follows. */
static bool
span_after(struct span s, const char *prefix, struct span *value_r)
{
	size_t len = strlen(prefix);

	if (s.len < len || memcmp(s.p, prefix, len) != 0)
		return false;
	*value_r = (struct span){ s.p + len, s.len - len };
	return true;
}

/* A number as Postfix prints it (%u): no sign, blank or leading zero, so that
 * what is sent back is the same text. */
static bool
take_number(struct span *rest, unsigned long *n_r)
{
	struct span f;
	uint64_t n = 0;

	if (!take_field(rest, &f) || f.len == 0 || f.len > 10)
		return false;
	if (f.p[0] == '0' && f.len > 1)
		return false;
	for (size_t i = 0; i < f.len; i++) {
		if (f.p[i] < '0' || f.p[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(f.p[i] - '0');
	}
	if (n > UINT32_MAX)
		return false;
	*n_r = (unsigned long)n;
	return true;
}

static int
base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/* Strict (RFC 4648 section 3): padded, no other characters, the unused bits
 * zero. dst has room for in.len / 4 * 3 bytes. */
static bool
base64_decode(struct span in, char *dst, size_t *len_r)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t len = 0;

	if (in.len % 4 != 0)
		return false;
	for (int pad = 0; pad < 2 && in.len > 0 && in.p[in.len - 1] == '=';
	     pad++)
		in.len--;
	for (size_t i = 0; i < in.len; i++) {
		int v = base64_value(in.p[i]);

		if (v < 0)
			return false;
		bits = bits << 6 | (uint32_t)v;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		dst[len++] = (char)(bits >> have & 0xff);
	}
	*len_r = len;
	return (bits & ((1U << have) - 1)) == 0;
}

static enum sasl_verb
refuse(struct sasl_request *r, const char *reason)
{
	explicit_bzero(r->user, sizeof(r->user));
	r->user_len = 0;
	explicit_bzero(r->secret, sizeof(r->secret));
	r->secret_len = 0;
	r->step = SASL_IDLE;
	r->prompt = NULL;
	r->reason = reason;
	return SASL_REFUSE;
}

static bool
has_control(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < ' ' || c == 0x7f)
			return true;
	}
	return false;
}

static enum sasl_verb
take_password(struct sasl_request *r, struct span password)
{
	if (password.len == 0)
		return refuse(r,
			      "the password is empty, it must be an API key");
	if (password.len > SASL_SECRET_MAX)
		return refuse(
		    r, "the password is too long, it must be an API key");
	if (has_control(password))
		return refuse(r, "the password holds a control character, "
				 "it must be an API key");
	memcpy(r->secret, password.p, password.len);
	r->secret[password.len] = '\0';
	r->secret_len = password.len;
	r->step = SASL_CHECKING;
	r->prompt = NULL;
	return SASL_CHECK;
}

/* False: it is too long. */
static bool
take_user(struct sasl_request *r, struct span user)
{
	if (user.len > SASL_USER_MAX)
		return false;
	memcpy(r->user, user.p, user.len);
	r->user[user.len] = '\0';
	r->user_len = user.len;
	return true;
}

/* An empty authcid is let pass, although RFC 4616 wants one: clients that
 * have only a key leave it out. */
static enum sasl_verb
take_plain(struct sasl_request *r, struct span message)
{
	const char *end = message.p + message.len;
	const char *nul1 = memchr(message.p, '\0', message.len);
	const char *nul2 = NULL;

	if (message.len == 0)
		return take_password(r, message);
	if (nul1 != NULL)
		nul2 = memchr(nul1 + 1, '\0', (size_t)(end - nul1 - 1));
	if (nul2 == NULL)
		return refuse(r, "the response is not one of AUTH PLAIN, "
				 "it must hold a user name and an API key");
	if (nul1 - message.p > SASL_USER_MAX ||
	    !take_user(r, (struct span){ nul1 + 1, (size_t)(nul2 - nul1 - 1) }))
		return refuse(r, "the user name is too long");
	return take_password(
	    r, (struct span){ nul2 + 1, (size_t)(end - nul2 - 1) });
}

static enum sasl_verb
take_login_user(struct sasl_request *r, struct span user)
{
	if (!take_user(r, user))
		return refuse(r, "the user name is too long");
	r->step = SASL_LOGIN_PASSWORD;
	r->prompt = password_prompt;
	return SASL_ASK;
}

static enum sasl_verb
take_decoded(struct sasl_request *r, struct span response)
{
	switch (r->step) {
	case SASL_PLAIN:
		return take_plain(r, response);
	case SASL_LOGIN_USER:
		return take_login_user(r, response);
	case SASL_LOGIN_PASSWORD:
		return take_password(r, response);
	default:
		return SASL_HANGUP;
	}
}

static enum sasl_verb
take_response(struct sasl_request *r, struct span base64)
{
	char buf[RESPONSE_SIZE];
	enum sasl_verb verb;
	size_t len;

	if (base64.len / 4 * 3 > sizeof(buf))
		return refuse(r, "the response is too long");
	if (base64_decode(base64, buf, &len))
		verb = take_decoded(r, (struct span){ buf, len });
	else
		verb = refuse(r, "the response is not base64");
	explicit_bzero(buf, sizeof(buf));
	return verb;
}

/* The address goes to the log as it is: only what can stand in an address or
 * in Postfix's "unknown". */
static bool
take_client(struct sasl_request *r, struct span address)
{
	static const char fit[] = "0123456789abcdefghijklmnopqrstuvwxyz"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ.:%_-[]";

	if (address.len >= sizeof(r->client))
		return false;
	for (size_t i = 0; i < address.len; i++)
		if (memchr(fit, address.p[i], sizeof(fit) - 1) == NULL)
			return false;
	if (address.len == 0)
		return true;
	memcpy(r->client, address.p, address.len);
	r->client[address.len] = '\0';
	return true;
}

/* resp= is the last one and takes the rest of the line. Unknown parameters,
 * and those that decide nothing here (service, lip, nologin), are skipped. */
static bool
take_parameters(struct sasl_request *r, struct span rest,
		struct span *response_r)
{
	struct span f, value;

	*response_r = (struct span){ NULL, 0 };
	for (;;) {
		if (rest.p != NULL && span_after(rest, "resp=", response_r))
			return true;
		if (!take_field(&rest, &f))
			return true;
		if (span_is(f, "secured") || span_after(f, "secured=", &value))
			r->tls = true;
		else if (span_after(f, "rip=", &value) &&
			 !take_client(r, value))
			return false;
	}
}

static const struct mechanism *
find_mechanism(struct span name)
{
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(*mechanisms); i++) {
		const struct mechanism *m = &mechanisms[i];

		if (name.len == strlen(m->name) &&
		    strncasecmp(name.p, m->name, name.len) == 0)
			return m;
	}
	return NULL;
}

/* AUTH id mechanism [parameters] [resp=base64] */
static enum sasl_verb
take_auth(struct sasl_request *r, struct span rest)
{
	const struct mechanism *m;
	struct span name, response;

	if (r->step == SASL_CHECKING)
		return SASL_HANGUP;
	sasl_request_clear(r);
	memcpy(r->client, "unknown", sizeof("unknown"));
	r->mech = "unknown";
	if (!take_number(&rest, &r->id) || !take_field(&rest, &name) ||
	    !take_parameters(r, rest, &response))
		return SASL_HANGUP;
	m = find_mechanism(name);
	if (m == NULL)
		return refuse(r, "unknown mechanism, use PLAIN or LOGIN");
	r->mech = m->name;
	r->step = m->step;
	r->prompt = m->prompt;
	if (response.p == NULL)
		return SASL_ASK;
	/* RFC 4954 section 4: "=" is an empty initial response. */
	if (span_is(response, "="))
		response.len = 0;
	return take_response(r, response);
}

/* CONT id base64 */
static enum sasl_verb
take_cont(struct sasl_request *r, struct span rest)
{
	unsigned long id;

	if (r->step == SASL_IDLE || r->step == SASL_CHECKING)
		return SASL_HANGUP;
	if (!take_number(&rest, &id) || id != r->id || rest.p == NULL)
		return SASL_HANGUP;
	return take_response(r, rest);
}

/* CANCEL id. Postfix never sends it; others that speak the protocol do. */
static enum sasl_verb
take_cancel(struct sasl_request *r, struct span rest)
{
	unsigned long id;

	if (r->step == SASL_CHECKING || !take_number(&rest, &id))
		return SASL_HANGUP;
	if (r->step != SASL_IDLE && id == r->id)
		sasl_request_clear(r);
	return SASL_IGNORE;
}

/* VERSION major minor: another major is another protocol. */
static enum sasl_verb
take_version(struct sasl_request *r, struct span rest)
{
	unsigned long major;

	(void)r;
	if (!take_number(&rest, &major) || major != 1)
		return SASL_HANGUP;
	return SASL_IGNORE;
}

static const struct {
	const char *name;
	enum sasl_verb (*take)(struct sasl_request *r, struct span rest);
} verbs[] = {
	{ "AUTH", take_auth },
	{ "CONT", take_cont },
	{ "CANCEL", take_cancel },
	{ "VERSION", take_version },
};

static enum sasl_verb
take_line(struct sasl_request *r, struct span rest)
{
	struct span name;

	if (rest.len > SASL_LINE_MAX)
		return SASL_HANGUP;
	if (!take_field(&rest, &name))
		return SASL_IGNORE;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		if (span_is(name, verbs[i].name))
			return verbs[i].take(r, rest);
	return SASL_IGNORE;
}

enum sasl_verb
sasl_line(struct sasl_request *r, const char *line, size_t len)
{
	enum sasl_verb verb = take_line(r, (struct span){ line, len });

	if (verb == SASL_HANGUP)
		sasl_request_clear(r);
	return verb;
}

void
sasl_request_clear(struct sasl_request *r)
{
	explicit_bzero(r, sizeof(*r));
}

static int reply(char *dst, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int
reply(char *dst, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(dst, size, fmt, ap);
	va_end(ap);
	return n < 0 || (size_t)n >= size ? -1 : n;
}

/* A TAB or LF would begin another field or line. */
static bool
can_be_sent(const char *text)
{
	return *text != '\0' &&
	       !has_control((struct span){ text, strlen(text) });
}

/* Postfix wants a MECH line before SPID, else it takes us for Dovecot's
 * master socket. */
int
sasl_reply_hello(char *dst, size_t size, unsigned pid, unsigned long cuid,
		 const char cookie_hex[33])
{
	return reply(dst, size,
		     "VERSION\t1\t0\n"
		     "MECH\tPLAIN\tplaintext\n"
		     "MECH\tLOGIN\tplaintext\n"
		     "SPID\t%u\n"
		     "CUID\t%lu\n"
		     "COOKIE\t%s\n"
		     "DONE\n",
		     pid, cuid, cookie_hex);
}

/* The second TAB stands before an empty prompt too, else Postfix refuses the
 * login with "Authentication backend error". */
int
sasl_reply_continue(char *dst, size_t size, const struct sasl_request *r)
{
	return reply(dst, size, "CONT\t%lu\t%s\n", r->id,
		     r->prompt != NULL ? r->prompt : "");
}

/* An empty user would pass permit_sasl_authenticated and be nobody. */
int
sasl_reply_ok(char *dst, size_t size, unsigned long id, const char *user)
{
	if (!can_be_sent(user))
		return -1;
	return reply(dst, size, "OK\t%lu\tuser=%s\n", id, user);
}

int
sasl_reply_fail(char *dst, size_t size, unsigned long id, const char *reason)
{
	if (!can_be_sent(reason))
		return -1;
	return reply(dst, size, "FAIL\t%lu\treason=%s\n", id, reason);
}
