/* SPDX-License-Identifier: MIT */
#include "milter/sasl_protocol.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

/* What Postfix 3.7 writes between the mechanism and resp=. */
#define PARAMS "service=smtp\tnologin\tlip=192.0.2.1\trip=192.0.2.7"

#define EMPTY "the password is empty, it must be an API key"
#define CONTROL "the password holds a control character, it must be an API key"
#define NOT_BASE64 "the response is not base64"
#define NOT_PLAIN                                 \
	"the response is not one of AUTH PLAIN, " \
	"it must hold a user name and an API key"
#define NO_MECHANISM "unknown mechanism, use PLAIN or LOGIN"

/* want: ASK and REFUSE: the reply to the byte; CHECK: the secret. */
struct step {
	const char *line;
	size_t len;
	enum sasl_verb verb;
	const char *want;
};

#define LINE(text) text, sizeof(text) - 1
#define IGNORED(text)                       \
	{                                   \
		LINE(text), SASL_IGNORE, "" \
	}
#define ASKS(text, reply)                   \
	{                                   \
		LINE(text), SASL_ASK, reply \
	}
#define CHECKS(text, secret)                   \
	{                                      \
		LINE(text), SASL_CHECK, secret \
	}
#define REFUSES(text, id, reason)                                            \
	{                                                                    \
		LINE(text), SASL_REFUSE, "FAIL\t" id "\treason=" reason "\n" \
	}
#define HANGS_UP(text)                      \
	{                                   \
		LINE(text), SASL_HANGUP, "" \
	}

static const struct dialogue {
	const char *name;
	struct step steps[6];
} dialogues[] = {
	/* Good ones. */
	{ "Postfix's greeting",
	  { IGNORED("VERSION\t1\t0"), IGNORED("CPID\t11283") } },
	{ "PLAIN with initial response",
	  { CHECKS("AUTH\t1\tPLAIN\t" PARAMS "\tresp=AHVzZXIAa2V5LTEyMw==",
		   "key-123") } },
	{ "PLAIN over TLS",
	  { CHECKS("AUTH\t2\tPLAIN\t" PARAMS
		   "\tsecured\tresp=AHVzZXIAa2V5LTEyMw==",
		   "key-123") } },
	{ "PLAIN, asked for the response",
	  { ASKS("AUTH\t2\tPLAIN\t" PARAMS, "CONT\t2\t\n"),
	    CHECKS("CONT\t2\tAHVzZXIAa2V5LTEyMw==", "key-123") } },
	{ "PLAIN without parameters",
	  { ASKS("AUTH\t7\tPLAIN", "CONT\t7\t\n"),
	    CHECKS("CONT\t7\tAHVzZXIAa2V5LTEyMw==", "key-123") } },
	{ "PLAIN with an authorization identity",
	  { CHECKS("AUTH\t1\tPLAIN\tresp=YXV0aHoAdXNlcgBrZXktMTIz",
		   "key-123") } },
	{ "PLAIN without a user",
	  { CHECKS("AUTH\t1\tPLAIN\tresp=AABrZXktMTIz", "key-123") } },
	{ "PLAIN with a user full of signs",
	  { CHECKS("AUTH\t1\tPLAIN\tresp=AFNNVFBfSW5qZWN0aW9uOlgtTVNZUy1TVUJBQ0"
		   "NPVU5UPTMAa2V5LTEyMw==",
		   "key-123") } },
	{ "PLAIN, UTF-8 in the password is for the key check",
	  { CHECKS("AUTH\t1\tPLAIN\tresp=AHUAc2NobMO8c3NlbA==",
		   "schl\xc3\xbcssel") } },
	{ "PLAIN, a blank in the password is for the key check",
	  { CHECKS("AUTH\t1\tPLAIN\tresp=AHUAayB5", "k y") } },
	{ "mechanism as the client typed it",
	  { CHECKS("AUTH\t1\tpLain\tresp=AHUAaw==", "k") } },
	{ "LOGIN, both asked",
	  { ASKS("AUTH\t3\tLOGIN\t" PARAMS, "CONT\t3\tVXNlcm5hbWU6\n"),
	    ASKS("CONT\t3\tdXNlcg==", "CONT\t3\tUGFzc3dvcmQ6\n"),
	    CHECKS("CONT\t3\ta2V5LTEyMw==", "key-123") } },
	{ "LOGIN, user given",
	  { ASKS("AUTH\t4\tlogin\t" PARAMS "\tresp=dXNlcg==",
		 "CONT\t4\tUGFzc3dvcmQ6\n"),
	    CHECKS("CONT\t4\ta2V5LTEyMw==", "key-123") } },
	{ "LOGIN, empty user given",
	  { ASKS("AUTH\t4\tLOGIN\tresp==", "CONT\t4\tUGFzc3dvcmQ6\n"),
	    CHECKS("CONT\t4\ta2V5LTEyMw==", "key-123") } },
	{ "LOGIN, empty user answered",
	  { ASKS("AUTH\t3\tLOGIN", "CONT\t3\tVXNlcm5hbWU6\n"),
	    ASKS("CONT\t3\t", "CONT\t3\tUGFzc3dvcmQ6\n"),
	    CHECKS("CONT\t3\ta2V5LTEyMw==", "key-123") } },
	{ "unknown parameters are skipped",
	  { CHECKS("AUTH\t1\tPLAIN\tlport=25\t\tresponse\tx=y\tresp=AHUAaw==",
		   "k") } },
	{ "client gave up, tries again",
	  { ASKS("AUTH\t1\tLOGIN", "CONT\t1\tVXNlcm5hbWU6\n"),
	    ASKS("AUTH\t2\tLOGIN", "CONT\t2\tVXNlcm5hbWU6\n"),
	    ASKS("CONT\t2\tdXNlcg==", "CONT\t2\tUGFzc3dvcmQ6\n"),
	    CHECKS("CONT\t2\ta2V5LTEyMw==", "key-123") } },
	{ "refused, tries again",
	  { REFUSES("AUTH\t1\tCRAM-MD5", "1", NO_MECHANISM),
	    CHECKS("AUTH\t2\tPLAIN\tresp=AHUAaw==", "k") } },
	{ "greatest id",
	  { ASKS("AUTH\t4294967295\tPLAIN", "CONT\t4294967295\t\n"),
	    CHECKS("CONT\t4294967295\tAHUAaw==", "k") } },
	{ "id 0, after Postfix's counter came round",
	  { ASKS("AUTH\t0\tPLAIN", "CONT\t0\t\n"),
	    CHECKS("CONT\t0\tAHUAaw==", "k") } },

	/* Nothing to do. */
	{ "empty line", { IGNORED("") } },
	{ "unknown verbs",
	  { IGNORED("HELLO\tworld"), IGNORED("auth\t1\tPLAIN"),
	    IGNORED("AUTHX\t1\tPLAIN"), IGNORED("AUT"), IGNORED("\t"),
	    IGNORED("AUTH\0\t1\tPLAIN") } },
	{ "unknown verb in a dialogue",
	  { ASKS("AUTH\t2\tPLAIN", "CONT\t2\t\n"), IGNORED("NOOP"),
	    CHECKS("CONT\t2\tAHUAaw==", "k") } },
	{ "CANCEL of nothing", { IGNORED("CANCEL\t1") } },
	{ "CANCEL of another",
	  { ASKS("AUTH\t2\tPLAIN", "CONT\t2\t\n"), IGNORED("CANCEL\t1"),
	    CHECKS("CONT\t2\tAHUAaw==", "k") } },
	{ "CANCEL ends the dialogue",
	  { ASKS("AUTH\t2\tPLAIN", "CONT\t2\t\n"), IGNORED("CANCEL\t2"),
	    HANGS_UP("CONT\t2\tAHUAaw==") } },

	/* Refused: the client hears why. */
	{ "unknown mechanism",
	  { REFUSES("AUTH\t5\tSCRAM-SHA-256\t" PARAMS "\tresp=AHUAaw==", "5",
		    NO_MECHANISM) } },
	{ "empty mechanism", { REFUSES("AUTH\t5\t", "5", NO_MECHANISM) } },
	{ "beginning of a mechanism",
	  { REFUSES("AUTH\t5\tPLAI", "5", NO_MECHANISM) } },
	{ "mechanism with a NUL",
	  { REFUSES("AUTH\t5\tPLAIN\0", "5", NO_MECHANISM) } },
	{ "PLAIN, empty password",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=AHVzZXIA", "1", EMPTY) } },
	{ "PLAIN, empty initial response",
	  { REFUSES("AUTH\t1\tPLAIN\tresp==", "1", EMPTY) } },
	{ "PLAIN, nothing after resp=",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=", "1", EMPTY) } },
	{ "PLAIN, empty answer",
	  { ASKS("AUTH\t1\tPLAIN", "CONT\t1\t\n"),
	    REFUSES("CONT\t1\t", "1", EMPTY) } },
	{ "PLAIN, no NUL",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=a2V5LTEyMw==", "1", NOT_PLAIN) } },
	{ "PLAIN, one NUL",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=dXNlcgBrZXktMTIz", "1",
		    NOT_PLAIN) } },
	{ "PLAIN, three NULs",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=AHVzZXIAa2V5AHg=", "1", CONTROL) } },
	{ "PLAIN, line feed in the password",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=AHVzZXIAa2V5LTEyMwo=", "1",
		    CONTROL) } },
	{ "PLAIN, DEL in the password",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=AHUAa38=", "1", CONTROL) } },
	{ "LOGIN, empty password",
	  { ASKS("AUTH\t1\tLOGIN\tresp=dXNlcg==", "CONT\t1\tUGFzc3dvcmQ6\n"),
	    REFUSES("CONT\t1\t", "1", EMPTY) } },
	{ "LOGIN, NUL in the password",
	  { ASKS("AUTH\t1\tLOGIN\tresp=dXNlcg==", "CONT\t1\tUGFzc3dvcmQ6\n"),
	    REFUSES("CONT\t1\ta2V5AA==", "1", CONTROL) } },
	{ "LOGIN, CRLF in the password",
	  { ASKS("AUTH\t1\tLOGIN\tresp=dXNlcg==", "CONT\t1\tUGFzc3dvcmQ6\n"),
	    REFUSES("CONT\t1\ta2V5LTEyMw0K", "1", CONTROL) } },
	{ "LOGIN, TAB in the password",
	  { ASKS("AUTH\t1\tLOGIN\tresp=dXNlcg==", "CONT\t1\tUGFzc3dvcmQ6\n"),
	    REFUSES("CONT\t1\tCQ==", "1", CONTROL) } },
	{ "LOGIN, user not base64",
	  { REFUSES("AUTH\t1\tLOGIN\tresp=jane@doe", "1", NOT_BASE64) } },
	{ "base64 cut short",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=AHUAaw=", "1", NOT_BASE64) } },
	{ "base64 without padding",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=AHUAaw", "1", NOT_BASE64) } },
	{ "base64 of padding only",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=====", "1", NOT_BASE64) } },
	{ "base64 with three pads",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=AHUAa===", "1", NOT_BASE64) } },
	{ "base64 padded in the middle",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=AHU=AHUA", "1", NOT_BASE64) } },
	{ "base64 with bits left over",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=AHUAax==", "1", NOT_BASE64) } },
	{ "base64 with four bits left over",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=AHUAa39=", "1", NOT_BASE64) } },
	{ "base64url",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=AHUAa_-_", "1", NOT_BASE64) } },
	{ "blank in base64",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=AHUA aw=", "1", NOT_BASE64) } },
	{ "NUL in base64",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=AHU\0aw==", "1", NOT_BASE64) } },
	{ "8-bit in base64",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=AHU\xff"
		    "aw==",
		    "1", NOT_BASE64) } },
	{ "a field after resp= is part of it",
	  { REFUSES("AUTH\t1\tPLAIN\tresp=AHUAaw==\tsecured", "1",
		    NOT_BASE64) } },
	{ "a field after the answer is part of it",
	  { ASKS("AUTH\t1\tPLAIN", "CONT\t1\t\n"),
	    REFUSES("CONT\t1\tAHUAaw==\t", "1", NOT_BASE64) } },

	/* Broken. */
	{ "another major version", { HANGS_UP("VERSION\t2\t0") } },
	{ "no version", { HANGS_UP("VERSION") } },
	{ "AUTH alone", { HANGS_UP("AUTH") } },
	{ "AUTH with an empty id", { HANGS_UP("AUTH\t\tPLAIN") } },
	{ "AUTH without mechanism", { HANGS_UP("AUTH\t1") } },
	{ "id is no number", { HANGS_UP("AUTH\tx1\tPLAIN") } },
	{ "id with a sign", { HANGS_UP("AUTH\t+1\tPLAIN") } },
	{ "negative id", { HANGS_UP("AUTH\t-1\tPLAIN") } },
	{ "id with a blank", { HANGS_UP("AUTH\t 1\tPLAIN") } },
	{ "id with a leading zero", { HANGS_UP("AUTH\t01\tPLAIN") } },
	{ "hexadecimal id", { HANGS_UP("AUTH\t0x1\tPLAIN") } },
	{ "id with a NUL", { HANGS_UP("AUTH\t1\0\tPLAIN") } },
	{ "id over 32 bits", { HANGS_UP("AUTH\t4294967296\tPLAIN") } },
	{ "id over 64 bits",
	  { HANGS_UP("AUTH\t18446744073709551617\tPLAIN") } },
	{ "CONT of nothing", { HANGS_UP("CONT\t1\tAHUAaw==") } },
	{ "CONT with another id",
	  { ASKS("AUTH\t1\tPLAIN", "CONT\t1\t\n"),
	    HANGS_UP("CONT\t2\tAHUAaw==") } },
	{ "CONT with the id written otherwise",
	  { ASKS("AUTH\t1\tPLAIN", "CONT\t1\t\n"),
	    HANGS_UP("CONT\t01\tAHUAaw==") } },
	{ "CONT with an id equal modulo 2^32",
	  { ASKS("AUTH\t1\tPLAIN", "CONT\t1\t\n"),
	    HANGS_UP("CONT\t4294967297\tAHUAaw==") } },
	{ "CONT of the dialogue before",
	  { ASKS("AUTH\t1\tPLAIN", "CONT\t1\t\n"),
	    ASKS("AUTH\t2\tPLAIN", "CONT\t2\t\n"),
	    HANGS_UP("CONT\t1\tAHUAaw==") } },
	{ "CONT without an answer",
	  { ASKS("AUTH\t1\tPLAIN", "CONT\t1\t\n"), HANGS_UP("CONT\t1") } },
	{ "CONT without id",
	  { ASKS("AUTH\t1\tPLAIN", "CONT\t1\t\n"), HANGS_UP("CONT") } },
	{ "CONT after a refusal",
	  { REFUSES("AUTH\t1\tPLAIN\tresp==", "1", EMPTY),
	    HANGS_UP("CONT\t1\tAHUAaw==") } },
	{ "CANCEL without id", { HANGS_UP("CANCEL") } },
	{ "AUTH during a check",
	  { CHECKS("AUTH\t1\tPLAIN\tresp=AHUAaw==", "k"),
	    HANGS_UP("AUTH\t2\tPLAIN\tresp=AHUAaw==") } },
	{ "CONT during a check",
	  { CHECKS("AUTH\t1\tPLAIN\tresp=AHUAaw==", "k"),
	    HANGS_UP("CONT\t1\tAHUAaw==") } },
	{ "CANCEL during a check",
	  { CHECKS("AUTH\t1\tPLAIN\tresp=AHUAaw==", "k"),
	    HANGS_UP("CANCEL\t1") } },
	{ "address with a quote",
	  { HANGS_UP("AUTH\t1\tPLAIN\trip=192.0.2.7\"\tresp=AHUAaw==") } },
	{ "address with a NUL",
	  { HANGS_UP("AUTH\t1\tPLAIN\trip=192.0.2.7\0\tresp=AHUAaw==") } },
	{ "address too long",
	  { HANGS_UP("AUTH\t1\tPLAIN\trip=1234567890123456789012345678901234567"
		     "890123456789012345678901234\tresp=AHUAaw==") } },
};

/* A copy without NUL at the end, so that one byte too far is noticed. */
static enum sasl_verb
feed(struct sasl_request *r, const char *line, size_t len)
{
	char *copy = malloc(len != 0 ? len : 1);
	enum sasl_verb verb;

	assert_non_null(copy);
	memcpy(copy, line, len);
	verb = sasl_line(r, copy, len);
	free(copy);
	return verb;
}

/* What of the request shows in a reply or is handed on. */
static void
outcome(const struct sasl_request *r, enum sasl_verb verb, char *dst,
	size_t size)
{
	int n = 0;

	dst[0] = '\0';
	if (verb == SASL_ASK)
		n = sasl_reply_continue(dst, size, r);
	else if (verb == SASL_REFUSE)
		n = sasl_reply_fail(dst, size, r->id, r->reason);
	else if (verb == SASL_CHECK)
		n = snprintf(dst, size, "%s", r->secret);
	assert_in_range(n, 0, size - 1);
	assert_int_equal(strlen(dst), n);
}

/* Whether nothing is left of a secret that was not to be kept. */
static bool
is_wiped(const struct sasl_request *r)
{
	static const char zeros[sizeof(r->secret)];

	return r->secret_len == 0 &&
	       memcmp(r->secret, zeros, sizeof(zeros)) == 0;
}

static void
run(const struct dialogue *d)
{
	struct sasl_request r = { 0 };

	for (size_t i = 0; i < sizeof(d->steps) / sizeof(*d->steps); i++) {
		const struct step *s = &d->steps[i];
		char got[SASL_SECRET_MAX + 1];
		enum sasl_verb verb;

		if (s->line == NULL)
			break;
		verb = feed(&r, s->line, s->len);
		outcome(&r, verb, got, sizeof(got));
		if (verb != s->verb || strcmp(got, s->want) != 0)
			fail_msg("%s, step %zu: verb %d \"%s\", wanted %d "
				 "\"%s\"",
				 d->name, i + 1, verb, got, s->verb, s->want);
		if (verb == SASL_CHECK && r.secret_len != strlen(s->want))
			fail_msg("%s: secret_len %zu", d->name, r.secret_len);
		if (verb != SASL_CHECK && !is_wiped(&r))
			fail_msg("%s, step %zu: not wiped", d->name, i + 1);
		if ((verb == SASL_REFUSE || verb == SASL_HANGUP) &&
		    r.step != SASL_IDLE)
			fail_msg("%s, step %zu: not idle", d->name, i + 1);
	}
}

static void
test_dialogues(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(dialogues) / sizeof(*dialogues); i++)
		run(&dialogues[i]);
}

static void
test_what_is_known_of_the_client(void **state)
{
	static const struct {
		const char *name, *line, *client, *mech;
		bool tls;
	} rows[] = {
		{ "as Postfix writes it", "AUTH\t1\tPLAIN\t" PARAMS,
		  "192.0.2.7", "PLAIN", false },
		{ "TLS", "AUTH\t1\tLOGIN\t" PARAMS "\tsecured", "192.0.2.7",
		  "LOGIN", true },
		{ "TLS as Dovecot 2.4 writes it",
		  "AUTH\t1\tlogin\t" PARAMS "\tsecured=tls", "192.0.2.7",
		  "LOGIN", true },
		{ "IPv6", "AUTH\t1\tPLAIN\trip=2001:db8::7", "2001:db8::7",
		  "PLAIN", false },
		{ "link-local", "AUTH\t1\tPLAIN\trip=fe80::1%eth0",
		  "fe80::1%eth0", "PLAIN", false },
		{ "no address", "AUTH\t1\tPLAIN\tlip=192.0.2.1", "unknown",
		  "PLAIN", false },
		{ "empty address", "AUTH\t1\tPLAIN\trip=", "unknown", "PLAIN",
		  false },
		{ "longest address",
		  "AUTH\t1\tPLAIN\trip=12345678901234567890123456789012345678"
		  "9012345678901234567890123",
		  "123456789012345678901234567890123456789012345678901234567"
		  "890123",
		  "PLAIN", false },
		{ "refused", "AUTH\t1\tX\t" PARAMS "\tsecured", "192.0.2.7",
		  "unknown", true },
		{ "not secured", "AUTH\t1\tPLAIN\tunsecured\tsecuredx",
		  "unknown", "PLAIN", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct sasl_request r = { 0 };

		feed(&r, rows[i].line, strlen(rows[i].line));
		if (strcmp(r.client, rows[i].client) != 0 ||
		    strcmp(r.mech, rows[i].mech) != 0 || r.tls != rows[i].tls)
			fail_msg("%s: client %s mech %s tls %d", rows[i].name,
				 r.client, r.mech, r.tls);
	}
}

/* Appends the base64 of n bytes. */
static void
add_base64(char *dst, const char *src, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";

	dst += strlen(dst);
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)(unsigned char)src[i] << 16;

		if (i + 1 < n)
			v |= (uint32_t)(unsigned char)src[i + 1] << 8;
		if (i + 2 < n)
			v |= (unsigned char)src[i + 2];
		*dst++ = digits[v >> 18];
		*dst++ = digits[v >> 12 & 63];
		*dst++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
		*dst++ = i + 2 < n ? digits[v & 63] : '=';
	}
	*dst = '\0';
}

/* An AUTH PLAIN line with names and password of these lengths. */
static void
plain_line(char *line, size_t authzid, size_t authcid, size_t password)
{
	char message[SASL_LINE_MAX];
	size_t n = authzid + 1 + authcid + 1 + password;

	memset(message, 'k', n);
	message[authzid] = '\0';
	message[authzid + 1 + authcid] = '\0';
	strcpy(line, "AUTH\t1\tPLAIN\tresp=");
	add_base64(line, message, n);
}

#define TOO_LONG "the response is too long"
#define USER_TOO_LONG "the user name is too long"
#define PASSWORD_TOO_LONG "the password is too long, it must be an API key"

static void
test_plain_bounds(void **state)
{
	static const struct {
		const char *name;
		size_t authzid, authcid, password;
		const char *reason; /* NULL: good */
	} rows[] = {
		{ "longest password", 0, 1, SASL_SECRET_MAX, NULL },
		{ "password too long", 0, 1, SASL_SECRET_MAX + 1,
		  PASSWORD_TOO_LONG },
		{ "longest user", 0, SASL_USER_MAX, 1, NULL },
		{ "user too long", 0, SASL_USER_MAX + 1, 1, USER_TOO_LONG },
		{ "longest authorization identity", SASL_USER_MAX, 1, 1, NULL },
		{ "authorization identity too long", SASL_USER_MAX + 1, 1, 1,
		  USER_TOO_LONG },
		{ "all the longest", SASL_USER_MAX, SASL_USER_MAX,
		  SASL_SECRET_MAX, NULL },
		{ "all the longest and one", SASL_USER_MAX, SASL_USER_MAX,
		  SASL_SECRET_MAX + 1, PASSWORD_TOO_LONG },
		{ "all the longest and two", SASL_USER_MAX, SASL_USER_MAX,
		  SASL_SECRET_MAX + 2, TOO_LONG },
		{ "as long as Postfix lets pass", 0, 1, 9000, TOO_LONG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct sasl_request r = { 0 };
		char line[SASL_LINE_MAX];
		enum sasl_verb verb;

		plain_line(line, rows[i].authzid, rows[i].authcid,
			   rows[i].password);
		verb = feed(&r, line, strlen(line));
		if (rows[i].reason == NULL &&
		    (verb != SASL_CHECK || r.secret_len != rows[i].password))
			fail_msg("%s: verb %d, %zu bytes", rows[i].name, verb,
				 r.secret_len);
		if (rows[i].reason != NULL &&
		    (verb != SASL_REFUSE ||
		     strcmp(r.reason, rows[i].reason) != 0 || !is_wiped(&r)))
			fail_msg("%s: verb %d", rows[i].name, verb);
	}
}

static void
test_login_bounds(void **state)
{
	static const struct {
		const char *name;
		size_t user, password; /* 0: not reached */
		const char *reason;
	} rows[] = {
		{ "both the longest", SASL_USER_MAX, SASL_SECRET_MAX, NULL },
		{ "user too long", SASL_USER_MAX + 1, 0, USER_TOO_LONG },
		{ "user far too long", 9000, 0, TOO_LONG },
		{ "password too long", 1, SASL_SECRET_MAX + 1,
		  PASSWORD_TOO_LONG },
		{ "password far too long", 1, 9000, TOO_LONG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct sasl_request r = { 0 };
		char line[SASL_LINE_MAX], text[9000];
		enum sasl_verb verb;

		memset(text, 'k', sizeof(text));
		strcpy(line, "AUTH\t1\tLOGIN\tresp=");
		add_base64(line, text, rows[i].user);
		verb = feed(&r, line, strlen(line));
		if (rows[i].password != 0) {
			assert_int_equal(verb, SASL_ASK);
			strcpy(line, "CONT\t1\t");
			add_base64(line, text, rows[i].password);
			verb = feed(&r, line, strlen(line));
		}
		if (rows[i].reason == NULL &&
		    (verb != SASL_CHECK || r.secret_len != rows[i].password))
			fail_msg("%s: verb %d", rows[i].name, verb);
		if (rows[i].reason != NULL &&
		    (verb != SASL_REFUSE ||
		     strcmp(r.reason, rows[i].reason) != 0))
			fail_msg("%s: verb %d", rows[i].name, verb);
	}
}

static void
test_line_bound(void **state)
{
	struct sasl_request r = { 0 };
	char line[SASL_LINE_MAX + 1];

	(void)state;
	memset(line, 'x', sizeof(line));
	assert_int_equal(feed(&r, line, SASL_LINE_MAX), SASL_IGNORE);
	assert_int_equal(feed(&r, line, SASL_LINE_MAX + 1), SASL_HANGUP);
	assert_int_equal(sasl_line(&r, NULL, 0), SASL_IGNORE);
}

static void
test_clear_wipes(void **state)
{
	static const struct sasl_request zero;
	static const char line[] = "AUTH\t1\tPLAIN\t" PARAMS "\tresp=AHUAaw==";
	struct sasl_request r = { 0 };

	(void)state;
	assert_int_equal(feed(&r, line, sizeof(line) - 1), SASL_CHECK);
	sasl_request_clear(&r);
	assert_memory_equal(&r, &zero, sizeof(r));
}

/* Whose name it is that comes with the key. */
static void
test_users(void **state)
{
	static const struct {
		const char *lines[2];
		const char *user;
		size_t len;
	} rows[] = {
		{ { "AUTH\t1\tPLAIN\tresp=AHVzZXIAaw==", NULL }, "user", 4 },
		{ { "AUTH\t1\tPLAIN\tresp=YXV0aHoAdXNlcgBr", NULL },
		  "user",
		  4 },
		{ { "AUTH\t1\tPLAIN\tresp=AABr", NULL }, "", 0 },
		{ { "AUTH\t1\tLOGIN\tresp=dXNlcg==", "CONT\t1\taw==" },
		  "user",
		  4 },
		{ { "AUTH\t1\tLOGIN\tresp==", "CONT\t1\taw==" }, "", 0 },
		/* A name may hold anything. */
		{ { "AUTH\t1\tLOGIN\tresp=YQBi", "CONT\t1\taw==" }, "a\0b", 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct sasl_request r = { 0 };
		enum sasl_verb verb = SASL_IGNORE;

		for (size_t k = 0; k < 2 && rows[i].lines[k] != NULL; k++)
			verb = feed(&r, rows[i].lines[k],
				    strlen(rows[i].lines[k]));
		assert_int_equal(verb, SASL_CHECK);
		assert_int_equal(r.user_len, rows[i].len);
		assert_memory_equal(r.user, rows[i].user, rows[i].len + 1);
		sasl_request_clear(&r);
	}
}

/* It may be a key in the wrong place. */
static void
test_refused_user_is_wiped(void **state)
{
	static const char user[] = "AUTH\t1\tLOGIN\tresp=dXNlcg==";
	static const char bad[] = "CONT\t1\t!";
	static const char nothing[SASL_USER_MAX + 1];
	struct sasl_request r = { 0 };

	(void)state;
	assert_int_equal(feed(&r, user, sizeof(user) - 1), SASL_ASK);
	assert_int_equal(feed(&r, bad, sizeof(bad) - 1), SASL_REFUSE);
	assert_int_equal(r.user_len, 0);
	assert_memory_equal(r.user, nothing, sizeof(nothing));
	sasl_request_clear(&r);
}

static void
test_hello(void **state)
{
	static const char want[] = "VERSION\t1\t0\n"
				   "MECH\tPLAIN\tplaintext\n"
				   "MECH\tLOGIN\tplaintext\n"
				   "SPID\t4294967295\n"
				   "CUID\t18446744073709551615\n"
				   "COOKIE\t0123456789abcdef0123456789abcdef\n"
				   "DONE\n";
	static const char cookie[] = "0123456789abcdef0123456789abcdef";
	char dst[SASL_REPLY_MAX];

	(void)state;
	assert_int_equal(sasl_reply_hello(dst, sizeof(dst), 4294967295U,
					  18446744073709551615UL, cookie),
			 sizeof(want) - 1);
	assert_string_equal(dst, want);
	assert_int_equal(sasl_reply_hello(dst, sizeof(want) - 1, 4294967295U,
					  18446744073709551615UL, cookie),
			 -1);
}

static void
test_replies(void **state)
{
	static const struct {
		const char *name;
		int (*write)(char *dst, size_t size, unsigned long id,
			     const char *text);
		unsigned long id;
		const char *text;
		const char *want; /* NULL: -1 */
	} rows[] = {
		{ "OK", sasl_reply_ok, 1, "acct-42:abcdefghijklmnop",
		  "OK\t1\tuser=acct-42:abcdefghijklmnop\n" },
		{ "OK, greatest id", sasl_reply_ok, 4294967295, "u",
		  "OK\t4294967295\tuser=u\n" },
		{ "OK for nobody", sasl_reply_ok, 1, "", NULL },
		{ "OK, TAB in the user", sasl_reply_ok, 1, "u\tuser=v", NULL },
		{ "OK, LF in the user", sasl_reply_ok, 1, "u\nOK\t2", NULL },
		{ "OK, CR in the user", sasl_reply_ok, 1, "u\r", NULL },
		{ "FAIL", sasl_reply_fail, 2, "the API key is wrong",
		  "FAIL\t2\treason=the API key is wrong\n" },
		{ "FAIL without a reason", sasl_reply_fail, 2, "", NULL },
		{ "FAIL, TAB in the reason", sasl_reply_fail, 2, "a\tb", NULL },
		{ "FAIL, LF in the reason", sasl_reply_fail, 2, "a\nb", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *want = rows[i].want;
		int len = want != NULL ? (int)strlen(want) : -1;
		char dst[SASL_REPLY_MAX];
		int n =
		    rows[i].write(dst, sizeof(dst), rows[i].id, rows[i].text);

		if (n != len || (len >= 0 && strcmp(dst, want) != 0))
			fail_msg("%s: %d", rows[i].name, n);
		if (len >= 0 && rows[i].write(dst, (size_t)len, rows[i].id,
					      rows[i].text) != -1)
			fail_msg("%s: no room for the NUL", rows[i].name);
	}
}

static void
test_reply_max_holds_a_user_of_255(void **state)
{
	char user[256], dst[SASL_REPLY_MAX];

	(void)state;
	memset(user, 'u', 255);
	user[255] = '\0';
	assert_int_equal(sasl_reply_ok(dst, sizeof(dst), UINT32_MAX, user),
			 255 + sizeof("OK\t4294967295\tuser=\n") - 1);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_what_is_known_of_the_client),
		cmocka_unit_test(test_plain_bounds),
		cmocka_unit_test(test_login_bounds),
		cmocka_unit_test(test_line_bound),
		cmocka_unit_test(test_clear_wipes),
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_refused_user_is_wiped),
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_reply_max_holds_a_user_of_255),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
