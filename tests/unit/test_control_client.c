/* SPDX-License-Identifier: MIT */
/*
 * Against a daemon of our own that speaks control.h, in a thread, and that can
 * be told to do so badly.
 */
#include "milter/control_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "milter/control.h"
#include "milter/control_message.h"
#include "milter/crypto.h"
#include "milter/listener.h"
#include "policy/dynbuf.h"

#define SECRET "0123456789abcdef0123456789abcdef"
/* Long, but where waiting is what is tested. */
#define TIMEOUT_MS 20000
#define TIMEOUT_SHORT_MS 300
#define TIMEOUT_PROGRESS_MS 1000
#define SEEN_MAX (4 * 1024 * 1024)
/* As the daemon has it: no C, H, U, T; M, R, L, N not answered; skip. */
#define STEPS 0x4c783u

/* What the fake does with the requests after the first. */
enum manner {
	GOOD,
	NO_SOCKET,
	NOT_LISTENING,
	SILENT,		/* takes the connection and says nothing */
	HANGS_UP,	/* at once */
	GARBAGE,	/* not a packet */
	LENGTH_0,	/* a packet of length 0 */
	NOT_A_MILTER,	/* "c" to the offer */
	WANTS_LITTLE,	/* no body */
	NO_ADMIN,	/* hello is answered by "78" and no nonce */
	ACCEPTS,	/* knows nothing of control: continue */
	HALF_A_PACKET,	/* of its answer, then nothing */
	HALF_AND_CLOSE, /* the same, then hangs up */
	NO_FIRST_LINE,
	CODE_TOO_LARGE,
	SHORT_NONCE,
	NO_NONCE,
	NO_LF,
	BUSY,	     /* 451 to its end */
	REPLY_550,   /* with a text */
	REPLY_450,   /* with a text */
	REJECTS,     /* without */
	PROGRESSES,  /* slower than the timeout, but says so */
	TOO_LONG,    /* an answer over the bound */
	LARGE,	     /* in many pieces */
	EARLY,	     /* refuses after MAIL */
	SKIPS,	     /* has enough of the body soon */
	ANSWERS_ALL, /* every step, and wants all */
};

struct fake {
	char dir[40];
	char spec[80];
	int listener;
	pthread_t thread;
	bool started;
	enum manner manner;
	int fd;
	char nonce[CONTROL_NONCE_LEN + 1];
	unsigned requests;
	unsigned body_packets;
	char macro[200];
	struct dynbuf body; /* of the message under way */
	/* All that came, for the test to look at after the end. */
	struct dynbuf seen;
};

static bool
read_all(int fd, void *dst, size_t n)
{
	char *p = dst;

	while (n > 0) {
		ssize_t got = recv(fd, p, n, 0);

		if (got <= 0)
			return false;
		p += got;
		n -= (size_t)got;
	}
	return true;
}

static void
send_all(const struct fake *f, const void *data, size_t n)
{
	const char *p = data;

	while (n > 0) {
		ssize_t sent = send(f->fd, p, n, MSG_NOSIGNAL);

		if (sent <= 0)
			return;
		p += sent;
		n -= (size_t)sent;
	}
}

static void
send_packet(const struct fake *f, char command, const void *data, size_t n)
{
	const unsigned char head[] = { (unsigned char)((n + 1) >> 24),
				       (unsigned char)((n + 1) >> 16),
				       (unsigned char)((n + 1) >> 8),
				       (unsigned char)(n + 1),
				       (unsigned char)command };

	send_all(f, head, sizeof(head));
	send_all(f, data, n);
}

static void
pause_ms(long ms)
{
	const struct timespec t = { .tv_nsec = ms * 1000000 };

	(void)nanosleep(&t, NULL);
}

/* Until the client closes. */
static void
wait_for_close(const struct fake *f)
{
	char buf[4096];

	while (recv(f->fd, buf, sizeof(buf), 0) > 0)
		continue;
}

static void
answer_offer(const struct fake *f)
{
	uint32_t steps = f->manner == ANSWERS_ALL    ? 0
			 : f->manner == WANTS_LITTLE ? STEPS | 0x10
						     : STEPS;
	unsigned char data[16] = { 0, 0, 0, 6, 0, 0, 0, 0xff };

	for (int i = 0; i < 4; i++)
		data[8 + i] = (unsigned char)(steps >> (24 - 8 * i));
	if (f->manner == EARLY)
		data[10] &= 0xbf; /* MAIL is answered */
	send_packet(f, f->manner == NOT_A_MILTER ? 'c' : 'O', data, 12);
}

static void
make_nonce(struct fake *f)
{
	uint8_t bytes[CONTROL_NONCE_LEN / 2];

	crypto_random(bytes, sizeof(bytes));
	crypto_hex(f->nonce, bytes, sizeof(bytes));
}

static bool
mac_is_good(const struct fake *f)
{
	const struct crypto_piece v[] = { { f->nonce, CONTROL_NONCE_LEN },
					  { f->body.data, f->body.len } };
	uint8_t mac[CRYPTO_HASH_LEN];
	char hex[CONTROL_MAC_LEN + 1];

	crypto_hmac(SECRET, strlen(SECRET), v, 2, mac);
	crypto_hex(hex, mac, sizeof(mac));
	return strcmp(hex, f->macro) == 0;
}

/* In pieces of that size. */
static void
send_answer_in(const struct fake *f, const char *text, size_t len, size_t size)
{
	for (size_t at = 0; at < len; at += size)
		send_packet(f, 'b', text + at,
			    len - at < size ? len - at : size);
	send_packet(f, 'd', NULL, 0);
}

static void
send_answer(const struct fake *f, const char *text, size_t len)
{
	send_answer_in(f, text, len, 10);
}

static void
answer(struct fake *f, int code, const char *output)
{
	char text[2000];
	int n;

	make_nonce(f);
	n = snprintf(text, sizeof(text), "%d %s\n%s", code, f->nonce, output);
	send_answer(f, text, (size_t)n);
}

static void
answer_much(struct fake *f, size_t len)
{
	char *text = malloc(len);
	int n;

	make_nonce(f);
	memset(text, 'x', len);
	n = snprintf(text, len, "0 %s", f->nonce);
	text[n] = '\n';
	send_answer_in(f, text, len, 65535);
	free(text);
}

/* False when nothing more is to be said. */
static bool
answer_badly(struct fake *f)
{
	static const char text_550[] = "550 5.7.1 not you";
	static const char text_450[] = "450 4.7.1 not now";

	switch (f->manner) {
	case ACCEPTS:
		send_packet(f, 'c', NULL, 0);
		break;
	case HALF_A_PACKET:
		send_all(f, "\0\0\0\100b0 ab", 9);
		break;
	case HALF_AND_CLOSE:
		send_all(f, "\0\0\0\100b0 ab", 9);
		(void)shutdown(f->fd, SHUT_WR);
		break;
	case NO_FIRST_LINE:
		send_answer(f, "hello\n", 6);
		break;
	case CODE_TOO_LARGE:
		answer(f, 256, "");
		break;
	case SHORT_NONCE:
		send_answer(f, "0 abcdef\n", 9);
		break;
	case NO_NONCE:
		send_answer(f, "0 -\n", 4);
		break;
	case NO_LF:
		send_answer(f, "77", 2);
		break;
	case BUSY:
		send_packet(f, 't', NULL, 0);
		break;
	case REPLY_550:
		send_packet(f, 'y', text_550, sizeof(text_550));
		break;
	case REPLY_450:
		send_packet(f, 'y', text_450, sizeof(text_450));
		break;
	case REJECTS:
		send_packet(f, 'r', NULL, 0);
		break;
	case TOO_LONG:
		answer_much(f, CONTROL_ANSWER_MAX + 1);
		break;
	default:
		return false;
	}
	return true;
}

static void
answer_request(struct fake *f)
{
	if (!mac_is_good(f)) {
		send_answer(f, "77 -\nwrong secret\n", 18);
	} else if (answer_badly(f)) {
		return;
	} else if (f->manner == LARGE) {
		answer_much(f, 1000000);
	} else {
		for (int i = 0; f->manner == PROGRESSES && i < 3; i++) {
			pause_ms(TIMEOUT_PROGRESS_MS * 2 / 5);
			send_packet(f, 'p', NULL, 0);
		}
		answer(f, f->requests == 3 ? 65 : 0, "output\nof it\n");
	}
}

static void
answer_end(struct fake *f)
{
	if (f->macro[0] == '\0') {
		send_answer(f, "0 -\ntried\n", 10);
	} else if (strcmp(f->macro, CONTROL_HELLO) == 0) {
		if (f->manner == NO_ADMIN)
			send_answer(f, "78\nno admin_secret\nsee there\n", 29);
		else
			answer(f, 0, "");
	} else {
		f->requests++;
		answer_request(f);
	}
	f->macro[0] = '\0';
	dynbuf_truncate(&f->body, 0);
}

static bool
is_silent(const struct fake *f, char command)
{
	if (f->manner == ANSWERS_ALL)
		return false;
	if (f->manner == EARLY && command == 'M')
		return false;
	return strchr("MRLN", command) != NULL;
}

/* As libmilter keeps them: new macros of a step take the place of the old. */
static void
keep_macro(struct fake *f, const char *data, size_t len)
{
	const char *name = data + 1;
	const char *value = name + strlen(name) + 1;

	assert_true(value < data + len);
	assert_int_equal(data[0], 'M');
	if (strcmp(name, CONTROL_MACRO) == 0)
		(void)snprintf(f->macro, sizeof(f->macro), "%s", value);
	else
		f->macro[0] = '\0';
}

static void
answer_step(struct fake *f, char command)
{
	if (is_silent(f, command))
		return;
	if (f->manner == EARLY && command == 'M' && f->requests == 0 &&
	    strcmp(f->macro, CONTROL_HELLO) != 0)
		send_packet(f, 't', NULL, 0);
	else
		send_packet(
		    f, f->manner == SKIPS && f->body_packets == 2 ? 's' : 'c',
		    NULL, 0);
}

static void
take(struct fake *f, char command, const char *data, size_t len)
{
	dynbuf_add(&f->seen, &command, 1);
	if (command != 'D' && command != 'B' && command != 'O')
		dynbuf_add(&f->seen, data, len);
	dynbuf_add(&f->seen, "|", 1);
	if (command == 'O')
		answer_offer(f);
	else if (command == 'D')
		keep_macro(f, data, len);
	else if (command == 'E')
		answer_end(f);
	if (command == 'B') {
		f->body_packets++;
		dynbuf_add(&f->body, data, len);
		dynbuf_add(&f->seen, data, len);
	}
	if (strchr("ODE", command) == NULL)
		answer_step(f, command);
}

static void
serve(struct fake *f)
{
	unsigned char head[4];
	char *data;

	if (f->manner == HANGS_UP)
		return;
	if (f->manner == GARBAGE)
		send_all(f, "220 mx.example ESMTP\r\n", 22);
	if (f->manner == LENGTH_0)
		send_all(f, "\0\0\0\0", 4);
	if (f->manner == SILENT || f->manner == GARBAGE ||
	    f->manner == LENGTH_0) {
		wait_for_close(f);
		return;
	}
	while (read_all(f->fd, head, 4)) {
		size_t len = (size_t)head[0] << 24 | (size_t)head[1] << 16 |
			     (size_t)head[2] << 8 | head[3];

		data = malloc(len + 1);
		data[len] = '\0';
		if (read_all(f->fd, data, len))
			take(f, data[0], data + 1, len - 1);
		free(data);
	}
}

static void *
run(void *arg)
{
	struct fake *f = arg;
	struct pollfd p = { .fd = f->listener, .events = POLLIN };

	/* The listener does not wait; the connection does. */
	while (poll(&p, 1, 10000) < 0)
		continue;
	f->fd = accept(f->listener, NULL, NULL);
	if (f->fd >= 0) {
		serve(f);
		(void)close(f->fd);
	}
	return NULL;
}

static void
start(struct fake *f, enum manner manner)
{
	char *error;

	memset(f, 0, sizeof(*f));
	f->manner = manner;
	f->listener = -1;
	dynbuf_init(&f->body, SEEN_MAX);
	dynbuf_init(&f->seen, SEEN_MAX);
	strcpy(f->dir, "/tmp/test_control_client.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->spec, sizeof(f->spec), "unix:%s/socket", f->dir);
	if (manner == NO_SOCKET)
		return;
	f->listener = listener_open(f->spec, NULL, &error);
	assert_true(f->listener >= 0);
	if (manner == NOT_LISTENING) {
		(void)close(f->listener);
		f->listener = -1;
		return;
	}
	f->started = pthread_create(&f->thread, NULL, run, f) == 0;
	assert_true(f->started);
}

static void
stop(struct fake *f)
{
	if (f->started)
		assert_int_equal(pthread_join(f->thread, NULL), 0);
	if (f->listener >= 0)
		(void)close(f->listener);
	(void)unlink(f->spec + strlen("unix:"));
	assert_int_equal(rmdir(f->dir), 0);
	dynbuf_clear(&f->body);
	dynbuf_clear(&f->seen);
}

static unsigned
timeout_of(enum manner manner)
{
	switch (manner) {
	case SILENT:
	case HALF_A_PACKET:
		return TIMEOUT_SHORT_MS;
	case PROGRESSES:
		return TIMEOUT_PROGRESS_MS;
	default:
		return TIMEOUT_MS;
	}
}

static struct control_client *
open_client(const struct fake *f, struct control_failure *failure)
{
	return control_client_open(f->spec, SECRET, strlen(SECRET),
				   timeout_of(f->manner), failure);
}

static void
test_ask(void **state)
{
	static const char request[] = "command ping\nformat text\n\n";
	static const enum manner manners[] = { GOOD, ANSWERS_ALL, PROGRESSES };

	(void)state;
	for (size_t i = 0; i < sizeof(manners) / sizeof(manners[0]); i++) {
		static const int codes[] = { 0, 0, 65, 0 };
		struct fake f;
		struct control_failure failure;
		struct control_client *c;

		start(&f, manners[i]);
		c = open_client(&f, &failure);
		assert_non_null(c);
		for (size_t k = 0; k < 4; k++) {
			DYNBUF_AUTO out;

			dynbuf_init(&out, 1000);
			dynbuf_adds(&out, "> ");
			assert_int_equal(control_client_ask(c, request,
							    strlen(request),
							    &out, &failure),
					 codes[k]);
			assert_string_equal(dynbuf_str(&out),
					    "> output\nof it\n");
		}
		control_client_close(&c);
		assert_null(c);
		control_client_close(&c);
		stop(&f);
	}
}

static void
test_packets(void **state)
{
	static const char want[] = "O|D|M<>\0|R<control>\0|N|E|"
				   "D|M<>\0|R<control>\0|N|B|bodyE|";
	struct fake f;
	struct control_failure failure;
	struct control_client *c;
	DYNBUF_AUTO out;

	(void)state;
	dynbuf_init(&out, 1000);
	start(&f, GOOD);
	c = open_client(&f, &failure);
	assert_non_null(c);
	assert_int_equal(control_client_ask(c, "body", 4, &out, &failure), 0);
	control_client_close(&c);
	assert_int_equal(pthread_join(f.thread, NULL), 0);
	f.started = false;
	assert_int_equal(f.seen.len, sizeof(want) - 1);
	assert_memory_equal(f.seen.data, want, f.seen.len);
	stop(&f);
}

static void
test_open_fails(void **state)
{
	static const struct {
		enum manner manner;
		int code;
		const char *text; /* a part of it */
	} rows[] = {
		{ NO_SOCKET, EX_UNAVAILABLE,
		  "No such file or directory; is txmilter running?" },
		{ NOT_LISTENING, EX_UNAVAILABLE,
		  "Connection refused; is txmilter running?" },
		{ SILENT, EX_TEMPFAIL, "no answer within 1 s" },
		{ HANGS_UP, EX_UNAVAILABLE, "hung up" },
		{ GARBAGE, EX_PROTOCOL, "cannot be read" },
		{ LENGTH_0, EX_PROTOCOL, "cannot be read" },
		{ NOT_A_MILTER, EX_PROTOCOL, "does not negotiate" },
		{ WANTS_LITTLE, EX_PROTOCOL, "whole messages" },
		{ NO_ADMIN, EX_CONFIG, "no admin_secret" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct control_failure failure = { 0 };
		struct fake f;

		start(&f, rows[i].manner);
		assert_null(open_client(&f, &failure));
		if (failure.code != rows[i].code ||
		    strstr(failure.text, rows[i].text) == NULL ||
		    strstr(failure.text, f.spec) == NULL)
			fail_msg("row %zu: %d %s", i, failure.code,
				 failure.text);
		assert_null(strchr(failure.text, '\n'));
		free(failure.text);
		stop(&f);
	}
}

static void
test_bad_spec(void **state)
{
	struct control_failure failure;

	(void)state;
	assert_null(control_client_open("/tmp/x", SECRET, strlen(SECRET),
					TIMEOUT_MS, &failure));
	assert_int_equal(failure.code, EX_USAGE);
	assert_non_null(strstr(failure.text, "unix:/path"));
	free(failure.text);
}

static void
test_ask_fails(void **state)
{
	static const struct {
		enum manner manner;
		int code;
		const char *text; /* a part of it */
	} rows[] = {
		{ ACCEPTS, EX_PROTOCOL, "does not answer what was asked" },
		{ HALF_A_PACKET, EX_TEMPFAIL, "no answer within" },
		{ HALF_AND_CLOSE, EX_UNAVAILABLE, "hung up" },
		{ NO_FIRST_LINE, EX_PROTOCOL, "form" },
		{ CODE_TOO_LARGE, EX_PROTOCOL, "form" },
		{ SHORT_NONCE, EX_PROTOCOL, "form" },
		{ NO_NONCE, EX_PROTOCOL, "form" },
		{ NO_LF, EX_PROTOCOL, "form" },
		{ BUSY, EX_TEMPFAIL, "451" },
		{ EARLY, EX_TEMPFAIL, "451" },
		{ REPLY_550, EX_NOPERM, "550 5.7.1 not you" },
		{ REPLY_450, EX_TEMPFAIL, "450 4.7.1 not now" },
		{ REJECTS, EX_NOPERM, "refuses" },
		{ TOO_LONG, EX_PROTOCOL, "64 MB" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct control_failure failure = { 0 };
		struct control_client *c;
		struct fake f;
		DYNBUF_AUTO out;

		dynbuf_init(&out, 1000);
		start(&f, rows[i].manner);
		c = open_client(&f, &failure);
		assert_non_null(c);
		assert_int_equal(control_client_ask(c, "x", 1, &out, &failure),
				 -1);
		if (failure.code != rows[i].code ||
		    strstr(failure.text, rows[i].text) == NULL)
			fail_msg("row %zu: %d %s", i, failure.code,
				 failure.text);
		free(failure.text);
		assert_int_equal(out.len, 0);
		/* Of no more use. */
		assert_int_equal(control_client_ask(c, "x", 1, &out, &failure),
				 -1);
		assert_int_equal(failure.code, EX_UNAVAILABLE);
		free(failure.text);
		control_client_close(&c);
		stop(&f);
	}
}

static void
test_wrong_secret(void **state)
{
	struct control_failure failure = { 0 };
	struct control_client *c;
	struct fake f;
	DYNBUF_AUTO out;

	(void)state;
	dynbuf_init(&out, 1000);
	start(&f, GOOD);
	c = control_client_open(f.spec, "wrong", 5, TIMEOUT_MS, &failure);
	assert_non_null(c);
	assert_int_equal(control_client_ask(c, "x", 1, &out, &failure),
			 EX_NOPERM);
	assert_null(failure.text);
	assert_string_equal(dynbuf_str(&out), "wrong secret\n");
	assert_int_equal(control_client_ask(c, "x", 1, &out, &failure), -1);
	free(failure.text);
	control_client_close(&c);
	stop(&f);
}

static void
test_large(void **state)
{
	static char request[CONTROL_REQUEST_MAX];
	struct control_failure failure;
	struct control_client *c;
	struct fake f;
	DYNBUF_AUTO out;

	(void)state;
	memset(request, 'r', sizeof(request));
	dynbuf_init(&out, CONTROL_ANSWER_MAX);
	start(&f, LARGE);
	c = open_client(&f, &failure);
	assert_non_null(c);
	assert_int_equal(
	    control_client_ask(c, request, sizeof(request), &out, &failure), 0);
	assert_int_equal(out.len, 1000000 - 3 - CONTROL_NONCE_LEN);
	control_client_close(&c);
	stop(&f);
}

static void
test_skip(void **state)
{
	static char request[CONTROL_REQUEST_MAX];
	struct control_failure failure;
	struct control_client *c;
	struct fake f;
	DYNBUF_AUTO out;

	(void)state;
	dynbuf_init(&out, 1000);
	start(&f, SKIPS);
	c = open_client(&f, &failure);
	assert_non_null(c);
	/* What it has not read does not verify: but it answers. */
	assert_int_equal(
	    control_client_ask(c, request, sizeof(request), &out, &failure),
	    EX_NOPERM);
	control_client_close(&c);
	stop(&f);
	assert_int_equal(f.body_packets, 2);
}

static void
test_try(void **state)
{
	static const char text[] = "Subject: a\n b\nTo:x\n\nhello\n";
	static const char *const to[] = { "<b@x>", "<c@x>" };
	static const char want[] =
	    "D|M<a@x>\0|R<b@x>\0|R<c@x>\0|LSubject\0a\n b\0|LTo\0x\0|N|"
	    "B|hello\r\nE|";
	struct control_message m;
	struct control_failure failure;
	struct control_client *c;
	const char *error;
	struct fake f;
	DYNBUF_AUTO out;

	(void)state;
	dynbuf_init(&out, 1000);
	assert_true(control_message_parse(text, strlen(text), &m, &error));
	start(&f, GOOD);
	c = open_client(&f, &failure);
	assert_non_null(c);
	assert_int_equal(
	    control_client_try(c, "<a@x>", to, 2, &m, &out, &failure), 0);
	assert_string_equal(dynbuf_str(&out), "tried\n");
	/* It takes no nonce. */
	assert_int_equal(control_client_ask(c, "x", 1, &out, &failure), 0);
	control_client_close(&c);
	assert_int_equal(pthread_join(f.thread, NULL), 0);
	f.started = false;
	assert_non_null(
	    memmem(f.seen.data, f.seen.len, want, sizeof(want) - 1));
	control_message_clear(&m);
	stop(&f);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ask),
		cmocka_unit_test(test_packets),
		cmocka_unit_test(test_open_fails),
		cmocka_unit_test(test_bad_spec),
		cmocka_unit_test(test_ask_fails),
		cmocka_unit_test(test_wrong_secret),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_skip),
		cmocka_unit_test(test_try),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
