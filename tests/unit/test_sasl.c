/* SPDX-License-Identifier: MIT */
/*
 * The responder over a real UNIX socket. What answers instead of key_check.c
 * stands here: the key says what becomes of it. Its beginning is the answer,
 * "-late" in it means: by another thread; "-held": by another thread, when
 * the test says so.
 */
#include "milter/sasl.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "milter/key_check.h"
#include "milter/log.h"
#include "milter/metrics.h"
#include "milter/rate_limit.h"
#include "milter/sasl_protocol.h"
#include "policy/dynbuf.h"

/* A wait that takes this long has failed. */
#define PATIENCE_MS 60000

/* NUL u NUL key, in base64. */
#define GOOD "AHUAZ29vZA=="
#define GOOD_LATE "AHUAZ29vZC1sYXRl"
#define GOOD_HELD "AHUAZ29vZC1oZWxk"
#define WRONG "AHUAd3Jvbmc="
#define WRONG_LATE "AHUAd3JvbmctbGF0ZQ=="
#define UNKNOWN "AHUAdW5rbm93bg=="
#define UNKNOWN_LATE "AHUAdW5rbm93bi1sYXRl"
#define VOID "AHUAdm9pZA=="
#define NONE "AHUAbm9uZQ=="
#define LOGIN_GOOD_LATE "Z29vZC1sYXRl"

/* Without a user name, and with "secret" for one. */
#define NOBODY_GOOD "AABnb29k"
#define SECRET_GOOD "AHNlY3JldABnb29k"

#define PARAMS "service=smtp\tnologin\tlip=192.0.2.1\trip=192.0.2.7"
#define AUTH_PLAIN(id, response) \
	"AUTH\t" id "\tPLAIN\t" PARAMS "\tresp=" response "\n"
#define OK(id, key) "OK\t" id "\tuser=acct:" key "\n"
#define WRONG_PAIR                                                       \
	"the API key is wrong or revoked, or was issued with another user " \
	"name"
#define FAIL(id) "FAIL\t" id "\treason=" WRONG_PAIR "\n"

struct question {
	key_answer_fn *fn;
	void *arg;
	enum key_status status;
	struct identity *id;
	struct question *next;
};

struct key_check {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Guarded by lock: */
	struct question *late, *held;
	unsigned held_count;
	bool quit;
};

static atomic_int identities;
static atomic_uint questions;

static struct identity *
identity_for(const char *key)
{
	struct identity *id = calloc(1, sizeof(*id));

	assert_non_null(id);
	snprintf(id->key_id, sizeof(id->key_id), "%.16s", key);
	atomic_fetch_add(&identities, 1);
	return id;
}

void
identity_free(struct identity **id)
{
	if (*id != NULL)
		atomic_fetch_sub(&identities, 1);
	free(*id);
	*id = NULL;
}

void
identity_user(const struct identity *id, char user_r[IDENTITY_USER_MAX + 1])
{
	if (strcmp(id->key_id, "void") == 0)
		user_r[0] = '\0';
	else
		snprintf(user_r, IDENTITY_USER_MAX + 1, "acct:%s%s%s",
			 id->key_id, *id->subaccount ? "+" : "",
			 id->subaccount);
}

static bool
begins(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void
answer(struct question *q)
{
	q->fn(q->arg, q->status,
	      q->status == KEY_WRONG ? KEY_REASON_NOT_KNOWN : KEY_REASON_NONE,
	      q->id);
	free(q);
}

void
key_check_ask(struct key_check *kc, const char *key, size_t len,
	      const char *address, key_answer_fn *fn, void *arg)
{
	struct question *q = calloc(1, sizeof(*q)), **list = NULL;
	char text[SASL_SECRET_MAX + 1];

	(void)address;
	assert_non_null(q);
	atomic_fetch_add(&questions, 1);
	memcpy(text, key, len);
	text[len] = '\0';
	*q = (struct question){ .fn = fn, .arg = arg, .status = KEY_GOOD };
	if (begins(text, "wrong"))
		q->status = KEY_WRONG;
	else if (begins(text, "unknown"))
		q->status = KEY_UNKNOWN;
	else if (!begins(text, "none"))
		q->id = identity_for(text);
	pthread_mutex_lock(&kc->lock);
	if (strstr(text, "-late") != NULL)
		list = &kc->late;
	if (strstr(text, "-held") != NULL) {
		list = &kc->held;
		kc->held_count++;
	}
	if (list != NULL) {
		q->next = *list;
		*list = q;
		pthread_cond_broadcast(&kc->changed);
	}
	pthread_mutex_unlock(&kc->lock);
	if (list == NULL)
		answer(q);
}

static void *
answer_late(void *arg)
{
	struct key_check *kc = arg;
	struct question *q;

	pthread_mutex_lock(&kc->lock);
	while (kc->late != NULL || !kc->quit) {
		q = kc->late;
		if (q == NULL) {
			pthread_cond_wait(&kc->changed, &kc->lock);
			continue;
		}
		kc->late = q->next;
		pthread_mutex_unlock(&kc->lock);
		answer(q);
		pthread_mutex_lock(&kc->lock);
	}
	pthread_mutex_unlock(&kc->lock);
	return NULL;
}

static void
keys_start(struct key_check *kc)
{
	assert_int_equal(pthread_mutex_init(&kc->lock, NULL), 0);
	assert_int_equal(pthread_cond_init(&kc->changed, NULL), 0);
	assert_int_equal(pthread_create(&kc->thread, NULL, answer_late, kc), 0);
}

/* Has the other thread answer what is held. */
static void
keys_release(struct key_check *kc)
{
	struct question **end;

	pthread_mutex_lock(&kc->lock);
	for (end = &kc->late; *end != NULL; end = &(*end)->next)
		;
	*end = kc->held;
	kc->held = NULL;
	kc->held_count = 0;
	pthread_cond_broadcast(&kc->changed);
	pthread_mutex_unlock(&kc->lock);
}

/* Waits until n questions are held. */
static void
keys_wait_held(struct key_check *kc, unsigned n)
{
	struct timespec until;

	assert_int_equal(clock_gettime(CLOCK_REALTIME, &until), 0);
	until.tv_sec += PATIENCE_MS / 1000;
	pthread_mutex_lock(&kc->lock);
	while (kc->held_count < n)
		if (pthread_cond_timedwait(&kc->changed, &kc->lock, &until) !=
		    0)
			break;
	assert_int_equal(kc->held_count, n);
	pthread_mutex_unlock(&kc->lock);
}

/* Answers all that is left. */
static void
keys_stop(struct key_check *kc)
{
	keys_release(kc);
	pthread_mutex_lock(&kc->lock);
	kc->quit = true;
	pthread_cond_broadcast(&kc->changed);
	pthread_mutex_unlock(&kc->lock);
	assert_int_equal(pthread_join(kc->thread, NULL), 0);
	pthread_mutex_destroy(&kc->lock);
	pthread_cond_destroy(&kc->changed);
}

struct server {
	struct key_check keys;
	struct sasl *sasl;
	char dir[32];
	struct sockaddr_un address;
};

static int
listen_at(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(
	    bind(fd, (const struct sockaddr *)address, sizeof(*address)), 0);
	assert_int_equal(listen(fd, SOMAXCONN), 0);
	return fd;
}

static struct server *
server_start_with(const struct sasl_limits *limits)
{
	struct server *s = calloc(1, sizeof(*s));
	const char *error = NULL;

	assert_non_null(s);
	strcpy(s->dir, "/tmp/test_sasl.XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	s->address.sun_family = AF_UNIX;
	snprintf(s->address.sun_path, sizeof(s->address.sun_path), "%s/sock",
		 s->dir);
	keys_start(&s->keys);
	s->sasl = sasl_start(listen_at(&s->address), &s->keys, limits, &error);
	if (s->sasl == NULL)
		fail_msg("%s", error);
	return s;
}

/* 0 stands for the default. */
static struct server *
server_start(unsigned answer_ms, unsigned connections)
{
	const struct sasl_limits limits = { .answer_ms = answer_ms,
					    .connections = connections };

	return server_start_with(answer_ms || connections ? &limits : NULL);
}

/* Also checks that no answer was forgotten. */
static void
server_stop(struct server *s)
{
	sasl_stop(&s->sasl);
	assert_null(s->sasl);
	keys_stop(&s->keys);
	assert_int_equal(atomic_load(&identities), 0);
	assert_int_equal(unlink(s->address.sun_path), 0);
	assert_int_equal(rmdir(s->dir), 0);
	free(s);
}

static int
client_connect_fd(const struct server *s, int fd)
{
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&s->address,
				 sizeof(s->address)),
			 0);
	return fd;
}

static int
client_connect(const struct server *s)
{
	return client_connect_fd(
	    s, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

/* What has come, without taking it; 0 at the end of the connection. */
static size_t
client_peek(int fd, char *dst, size_t size)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, PATIENCE_MS) != 1)
		fail_msg("no answer");
	n = recv(fd, dst, size, MSG_PEEK);
	/* Closed with input unread. */
	if (n < 0 && errno == ECONNRESET)
		return 0;
	assert_true(n >= 0);
	return n > 0 ? (size_t)n : 0;
}

/* A line with its LF; false, and what there was, at the end. */
static bool
client_gets(int fd, char *line, size_t size)
{
	size_t len = 0;

	line[0] = '\0';
	while (len + 1 < size) {
		size_t n = client_peek(fd, line + len, size - 1 - len);
		const char *end = memchr(line + len, '\n', n);

		if (end != NULL)
			n = (size_t)(end + 1 - (line + len));
		if (n > 0)
			assert_int_equal(recv(fd, line + len, n, 0), n);
		len += n;
		line[len] = '\0';
		if (end != NULL || n == 0)
			return end != NULL;
	}
	return false;
}

/* `step` bytes at a time. The server may hang up meanwhile. */
static void
client_send(int fd, const char *text, size_t len, size_t step)
{
	while (len > 0) {
		size_t part = len < step ? len : step;
		ssize_t n = send(fd, text, part, MSG_NOSIGNAL);

		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return;
		assert_true(n > 0);
		text += n;
		len -= (size_t)n;
	}
}

static void
client_puts(int fd, const char *text)
{
	client_send(fd, text, strlen(text), strlen(text));
}

/* Reads the lines of want, and no more. */
static void
expect(const char *name, int fd, const char *want)
{
	char line[512];

	while (*want != '\0') {
		size_t len = strcspn(want, "\n") + 1;

		if (!client_gets(fd, line, sizeof(line)) ||
		    strlen(line) != len || memcmp(line, want, len) != 0)
			fail_msg("%s: \"%s\", wanted \"%s\"", name, line, want);
		want += len;
	}
}

static void
expect_end(const char *name, int fd)
{
	char line[512];

	if (client_gets(fd, line, sizeof(line)) || line[0] != '\0')
		fail_msg("%s: \"%s\" instead of the end", name, line);
}

/* Reads the greeting; false when there is none. */
static bool
take_hello(int fd)
{
	char line[512];

	while (client_gets(fd, line, sizeof(line)))
		if (strcmp(line, "DONE\n") == 0)
			return true;
	assert_string_equal(line, "");
	return false;
}

static int
client_open(const struct server *s)
{
	int fd = client_connect(s);

	assert_true(take_hello(fd));
	client_puts(fd, "VERSION\t1\t0\nCPID\t4711\n");
	return fd;
}

/* As client_open(), as soon as the server has room. */
static int
client_open_patiently(const struct server *s)
{
	for (;;) {
		int fd = client_connect(s);

		if (take_hello(fd))
			return fd;
		close(fd);
	}
}

/* Nothing else was sent, and the connection is good for more. */
static void
expect_alive(const char *name, int fd)
{
	client_puts(fd, "AUTH\t99\tLOGIN\n");
	expect(name, fd, "CONT\t99\tVXNlcm5hbWU6\n");
}

/* AUTH PLAIN with this key. */
static void
client_auth(int fd, unsigned id, const char *key)
{
	unsigned char message[64] = "";
	char base64[96], line[256];
	int n = snprintf((char *)message + 1, sizeof(message) - 1, "u%c%s",
			 '\0', key);

	EVP_EncodeBlock((unsigned char *)base64, message, n + 1);
	n = snprintf(line, sizeof(line),
		     "AUTH\t%u\tPLAIN\t" PARAMS "\tresp=%s\n", id, base64);
	client_send(fd, line, (size_t)n, (size_t)n);
}

static void
read_hello(int fd, unsigned long *cuid_r, char cookie_r[33])
{
	char line[512];
	unsigned spid;

	expect("hello", fd,
	       "VERSION\t1\t0\nMECH\tPLAIN\tplaintext\n"
	       "MECH\tLOGIN\tplaintext\n");
	assert_true(client_gets(fd, line, sizeof(line)));
	assert_int_equal(sscanf(line, "SPID\t%u\n", &spid), 1);
	assert_int_equal(spid, getpid());
	assert_true(client_gets(fd, line, sizeof(line)));
	assert_int_equal(sscanf(line, "CUID\t%lu\n", cuid_r), 1);
	assert_true(client_gets(fd, line, sizeof(line)));
	assert_int_equal(strlen(line), sizeof("COOKIE\t\n") - 1 + 32);
	assert_int_equal(sscanf(line, "COOKIE\t%32[0-9a-f]\n", cookie_r), 1);
	assert_int_equal(strlen(cookie_r), 32);
	expect("hello", fd, "DONE\n");
}

static void
test_hello(void **state)
{
	struct server *s = server_start(0, 0);
	unsigned long cuid[2];
	char cookie[2][33];

	(void)state;
	for (int i = 0; i < 2; i++) {
		int fd = client_connect(s);

		read_hello(fd, &cuid[i], cookie[i]);
		close(fd);
	}
	assert_int_not_equal(cuid[0], cuid[1]);
	assert_string_not_equal(cookie[0], cookie[1]);
	server_stop(s);
}

static const struct {
	const char *name;
	const char *input;
	size_t len;
	const char *want;
	bool end; /* the server hangs up then */
} talks[] = {
#define INPUT(text) text, sizeof(text) - 1
	{ "good", INPUT(AUTH_PLAIN("1", GOOD)), OK("1", "good"), false },
	{ "good, from another thread", INPUT(AUTH_PLAIN("2", GOOD_LATE)),
	  OK("2", "good-late"), false },
	{ "wrong", INPUT(AUTH_PLAIN("3", WRONG)), FAIL("3"), false },
	{ "wrong, from another thread", INPUT(AUTH_PLAIN("4", WRONG_LATE)),
	  FAIL("4"), false },
	{ "unknown", INPUT(AUTH_PLAIN("5", UNKNOWN)), "", true },
	{ "unknown, from another thread", INPUT(AUTH_PLAIN("6", UNKNOWN_LATE)),
	  "", true },
	{ "an empty user is never sent", INPUT(AUTH_PLAIN("7", VOID)), "",
	  true },
	{ "good, but nobody", INPUT(AUTH_PLAIN("8", NONE)), "", true },
	{ "refused", INPUT(AUTH_PLAIN("9", "AAAA")),
	  "FAIL\t9\treason=the password holds a control character, it must be "
	  "an API key\n",
	  false },
	{ "asked for the response",
	  INPUT("AUTH\t1\tPLAIN\t" PARAMS "\nCONT\t1\t" GOOD "\n"),
	  "CONT\t1\t\n" OK("1", "good"), false },
	{ "LOGIN",
	  INPUT("AUTH\t1\tLOGIN\t" PARAMS "\nCONT\t1\tdXNlcg==\n"
		"CONT\t1\t" LOGIN_GOOD_LATE "\n"),
	  "CONT\t1\tVXNlcm5hbWU6\nCONT\t1\tUGFzc3dvcmQ6\n" OK("1", "good-late"),
	  false },
	{ "garbage is ignored",
	  INPUT("\n\0\n\xff\xfe\t\t\nGET / HTTP/1.0\r\n\r\nauth\n" AUTH_PLAIN(
	      "1", GOOD)),
	  OK("1", "good"), false },
	{ "requests in a row are answered in order",
	  INPUT(AUTH_PLAIN("1", GOOD_LATE) AUTH_PLAIN("2", WRONG)
		    AUTH_PLAIN("3", GOOD) AUTH_PLAIN("4", WRONG_LATE)
			AUTH_PLAIN("5", GOOD_LATE)),
	  OK("1", "good-late") FAIL("2") OK("3", "good") FAIL("4")
	      OK("5", "good-late"),
	  false },
	{ "broken", INPUT("CONT\t9\t\n"), "", true },
	{ "broken after a good one",
	  INPUT(AUTH_PLAIN("1", GOOD_LATE) "AUTH\tx\n" AUTH_PLAIN("2", GOOD)),
	  OK("1", "good-late"), true },
	{ "nothing is answered after unknown",
	  INPUT(AUTH_PLAIN("1", UNKNOWN_LATE) AUTH_PLAIN("2", GOOD)), "",
	  true },
};

static void
test_talks(void **state)
{
	struct server *s = server_start(0, 0);

	(void)state;
	for (size_t i = 0; i < sizeof(talks) / sizeof(*talks); i++) {
		static const size_t steps[] = { 1, 7, 4096 };

		for (size_t j = 0; j < sizeof(steps) / sizeof(*steps); j++) {
			int fd = client_open(s);

			client_send(fd, talks[i].input, talks[i].len, steps[j]);
			expect(talks[i].name, fd, talks[i].want);
			if (talks[i].end)
				expect_end(talks[i].name, fd);
			else
				expect_alive(talks[i].name, fd);
			close(fd);
		}
	}
	server_stop(s);
}

static void
test_line_bound(void **state)
{
	struct server *s = server_start(0, 0);
	char text[SASL_LINE_MAX + 1];
	int fd = client_open(s);

	(void)state;
	memset(text, 'x', sizeof(text));
	text[SASL_LINE_MAX] = '\n';
	client_send(fd, text, sizeof(text), sizeof(text));
	expect_alive("longest line", fd);
	text[SASL_LINE_MAX] = 'x';
	client_send(fd, text, sizeof(text), sizeof(text));
	expect_end("line too long", fd);
	close(fd);
	server_stop(s);
}

/* More than the server takes in while it has something to do. */
static void
test_garbage_during_a_check(void **state)
{
	static char text[3 * SASL_LINE_MAX];
	struct server *s = server_start(0, 0);
	int fd = client_open(s);

	(void)state;
	memset(text, 'x', sizeof(text));
	client_puts(fd, AUTH_PLAIN("1", GOOD_HELD));
	client_send(fd, text, sizeof(text), sizeof(text));
	keys_wait_held(&s->keys, 1);
	keys_release(&s->keys);
	expect("garbage", fd, OK("1", "good-held"));
	expect_end("garbage", fd);
	close(fd);
	server_stop(s);
}

#define CROWD 300

static void
test_crowd(void **state)
{
	static const char *const kinds[] = { "good-late", "wrong-late", "good",
					     "wrong" };
	struct server *s = server_start(0, 0);
	int fds[CROWD];
	char key[32], want[128];

	(void)state;
	for (int i = 0; i < CROWD; i++)
		fds[i] = client_connect(s);
	for (unsigned round = 1; round <= 3; round++) {
		for (int i = 0; i < CROWD; i++) {
			snprintf(key, sizeof(key), "%s-%d",
				 kinds[(i + (int)round) % 4], i);
			client_auth(fds[i], round, key);
		}
		for (int i = 0; i < CROWD; i++) {
			const char *kind = kinds[(i + (int)round) % 4];

			if (round == 1)
				assert_true(take_hello(fds[i]));
			if (kind[0] == 'g')
				snprintf(want, sizeof(want),
					 "OK\t%u\tuser=acct:%s-%d\n", round,
					 kind, i);
			else
				snprintf(want, sizeof(want),
					 "FAIL\t%u\treason=" WRONG_PAIR "\n",
					 round);
			expect(kind, fds[i], want);
		}
	}
	for (int i = 0; i < CROWD; i++)
		close(fds[i]);
	server_stop(s);
}

/* One connection is allowed: that another is taken shows that the server has
 * closed the first. */
static void
test_closed_while_a_check_is_under_way(void **state)
{
	struct server *s = server_start(0, 1);
	int fd = client_open(s);

	(void)state;
	client_auth(fd, 1, "good-held");
	keys_wait_held(&s->keys, 1);
	close(fd);
	fd = client_open_patiently(s);
	client_auth(fd, 1, "wrong-held");
	keys_wait_held(&s->keys, 2);
	keys_release(&s->keys);
	expect("the second", fd, FAIL("1"));
	expect_alive("the second", fd);
	close(fd);
	server_stop(s);
}

static void
test_stopped_while_checks_are_under_way(void **state)
{
	struct server *s = server_start(0, 0);
	int fds[50];
	int n = sizeof(fds) / sizeof(*fds);

	(void)state;
	for (int i = 0; i < n; i++) {
		fds[i] = client_open(s);
		client_auth(fds[i], 1, i % 2 ? "good-held" : "wrong-held");
	}
	keys_wait_held(&s->keys, (unsigned)n);
	sasl_stop(&s->sasl);
	for (int i = 0; i < n; i++) {
		expect_end("stopped", fds[i]);
		close(fds[i]);
	}
	server_stop(s);
}

static void
test_stopped_while_answers_come(void **state)
{
	int fds[20];
	int n = sizeof(fds) / sizeof(*fds);

	(void)state;
	for (int round = 0; round < 20; round++) {
		struct server *s = server_start(0, 0);

		for (int i = 0; i < n; i++) {
			fds[i] = client_open(s);
			client_auth(fds[i], 1, "good-held");
		}
		keys_wait_held(&s->keys, (unsigned)n);
		keys_release(&s->keys);
		if (round % 2)
			expect("one of them", fds[0], OK("1", "good-held"));
		sasl_stop(&s->sasl);
		for (int i = 0; i < n; i++)
			close(fds[i]);
		server_stop(s);
	}
}

static void
test_stopped_without_connections(void **state)
{
	struct server *s = server_start(0, 0);
	struct sasl *none = NULL;

	(void)state;
	server_stop(s);
	sasl_stop(&none);
	assert_null(none);
}

static void
test_no_answer_in_time(void **state)
{
	struct server *s = server_start(50, 0);
	int idle = client_open(s);
	int fd = client_open(s);

	(void)state;
	client_auth(fd, 1, "good-held");
	expect_end("late", fd);
	close(fd);
	expect_alive("idle all the time", idle);
	keys_release(&s->keys);
	expect_alive("after the answer came", idle);
	close(idle);
	server_stop(s);
}

/* Sends LOGINs until nothing was taken for wait_ms, or the server hangs up. */
static unsigned
stuff(int fd, int wait_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	char line[32];
	unsigned sent = 0;
	size_t len = 0, done = 0;

	while (poll(&p, 1, wait_ms) == 1) {
		ssize_t n;

		if (done == len) {
			len = (size_t)snprintf(line, sizeof(line),
					       "AUTH\t%u\tLOGIN\n", ++sent);
			done = 0;
		}
		n = send(fd, line + done, len - done,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			break;
		assert_true(n > 0 || errno == EAGAIN);
		done += n > 0 ? (size_t)n : 0;
	}
	return sent - (done < len);
}

static void
test_slow_reader(void **state)
{
	struct server *s = server_start(0, 0);
	int fd = client_open(s);
	unsigned sent = stuff(fd, 200);
	char want[64];

	(void)state;
	assert_true(sent > 100);
	for (unsigned i = 1; i <= sent; i++) {
		snprintf(want, sizeof(want), "CONT\t%u\tVXNlcm5hbWU6\n", i);
		expect("slow reader", fd, want);
	}
	close(fd);
	server_stop(s);
}

static void
test_no_reader(void **state)
{
	struct server *s = server_start(50, 0);
	int fd = client_open(s);
	char line[64];
	unsigned replies = 0, sent = stuff(fd, PATIENCE_MS);

	(void)state;
	while (client_gets(fd, line, sizeof(line)))
		replies++;
	assert_true(replies < sent);
	close(fd);
	server_stop(s);
}

struct capture {
	int fd;
	int stderr_fd;
};

static void
capture_begin(struct capture *c)
{
	c->fd = memfd_create("log", MFD_CLOEXEC);
	c->stderr_fd = dup(STDERR_FILENO);
	assert_true(c->fd >= 0 && c->stderr_fd >= 0);
	assert_int_equal(dup2(c->fd, STDERR_FILENO), STDERR_FILENO);
	log_open(1, LOG_LEVEL_DEBUG);
}

static void
capture_text(const struct capture *c, char *text, size_t size)
{
	ssize_t n = pread(c->fd, text, size - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
}

static void
capture_end(struct capture *c, char *text, size_t size)
{
	assert_int_equal(dup2(c->stderr_fd, STDERR_FILENO), STDERR_FILENO);
	log_open(1, LOG_LEVEL_ERROR);
	capture_text(c, text, size);
	close(c->fd);
	close(c->stderr_fd);
}

/* How many lines of the log end like this. */
static unsigned
lines_with(const char *text, const char *end)
{
	unsigned n = 0;
	const char *p = text;

	while ((p = strstr(p, end)) != NULL) {
		p += strlen(end);
		n += *p == '\n';
	}
	return n;
}

#define PUBLIC "the user name must be u"

/* "u" may log in, "s" is a subaccount; of others the one that is empty breaks a
 * rule that everybody knows. */
static const char *
judge_login(void *arg, const struct identity *id, const char *user, size_t len,
	    char *subaccount_r)
{
	atomic_uint *asked = arg;

	assert_non_null(id);
	atomic_fetch_add(asked, 1);
	if (len == 1 && user[0] == 's')
		strcpy(subaccount_r, "12345678901234567890123456789012");
	if (len == 0)
		return PUBLIC;
	return len == 1 && (user[0] == 'u' || user[0] == 's')
		   ? NULL
		   : DIALECT_LOGIN_NOT_ISSUED;
}

static void
test_logins(void **state)
{
	static const struct {
		const char *input, *want;
		const char *line; /* in the log */
	} rows[] = {
		{ AUTH_PLAIN("1", GOOD), OK("1", "good"), "user=acct:good\n" },
		/* NUL s NUL good */
		{ AUTH_PLAIN("2", "AHMAZ29vZA=="),
		  OK("2", "good+12345678901234567890123456789012"),
		  "user=acct:good+1234" },
		/* NUL secret NUL good-late */
		{ AUTH_PLAIN("3", "AHNlY3JldABnb29kLWxhdGU="),
		  FAIL("3"),
		  "auth result=wrong client=192.0.2.7 mech=PLAIN tls=no "
		  "reason=\"" DIALECT_LOGIN_NOT_ISSUED "\"" },
		{ "AUTH\t4\tLOGIN\t" PARAMS "\tresp=c2VjcmV0\n"
		  "CONT\t4\tZ29vZA==\n",
		  "CONT\t4\tUGFzc3dvcmQ6\n" FAIL("4"),
		  "mech=LOGIN tls=no reason=\"" DIALECT_LOGIN_NOT_ISSUED
		  "\"" },
		{ AUTH_PLAIN("6", NOBODY_GOOD), "FAIL\t6\treason=" PUBLIC "\n",
		  "reason=\"" PUBLIC "\"" },
		/* Not asked about. */
		{ AUTH_PLAIN("5", WRONG), FAIL("5"), "auth result=wrong" },
	};
	atomic_uint asked = 0;
	const struct sasl_limits limits = { .login = judge_login,
					    .login_arg = &asked };
	struct server *s = server_start_with(&limits);
	char text[8192];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct capture c;
		int fd = client_open(s);

		capture_begin(&c);
		client_puts(fd, rows[i].input);
		expect(rows[i].line, fd, rows[i].want);
		expect_alive(rows[i].line, fd);
		capture_end(&c, text, sizeof(text));
		close(fd);
		assert_non_null(strstr(text, rows[i].line));
		assert_null(strstr(text, "secret"));
	}
	assert_int_equal(atomic_load(&asked), 5);
	server_stop(s);
}

static void
test_log(void **state)
{
	static const struct {
		const char *input, *want;
		bool end;
		const char *line;
	} rows[] = {
		{ AUTH_PLAIN("1", GOOD), OK("1", "good"), false,
		  "debug: sasl: auth result=good client=192.0.2.7 mech=PLAIN "
		  "tls=no user=acct:good" },
		{ "AUTH\t2\tplain\t" PARAMS "\tsecured\tresp=" WRONG_LATE "\n",
		  FAIL("2"), false,
		  "]: sasl: auth result=wrong client=192.0.2.7 mech=PLAIN "
		  "tls=yes reason=\"the API key is wrong or revoked\"" },
		{ "AUTH\t3\tXOAUTH2\trip=2001:db8::7\tsecured\tresp=" GOOD "\n",
		  "FAIL\t3\treason=unknown mechanism, use PLAIN or LOGIN\n",
		  false,
		  "]: sasl: auth result=refused client=2001:db8::7 "
		  "mech=unknown tls=yes "
		  "reason=\"unknown mechanism, use PLAIN or LOGIN\"" },
		{ "AUTH\t4\tPLAIN\tresp=" UNKNOWN_LATE "\n", "", true,
		  "warning: sasl: auth result=unknown client=unknown "
		  "mech=PLAIN tls=no reason=\"cannot tell now\"" },
		{ AUTH_PLAIN("5", VOID), "", true,
		  "error: sasl: a reply cannot be written" },
		{ "AUTH\t\n", "", true,
		  "warning: sasl: protocol error, connection closed" },
	};
	struct server *s = server_start(0, 0);
	char text[8192];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct capture c;
		int fd = client_open(s);

		capture_begin(&c);
		client_puts(fd, rows[i].input);
		expect(rows[i].line, fd, rows[i].want);
		if (rows[i].end)
			expect_end(rows[i].line, fd);
		capture_end(&c, text, sizeof(text));
		close(fd);
		if (lines_with(text, rows[i].line) != 1)
			fail_msg("%s: log is: %s", rows[i].line, text);
		assert_null(strstr(text, "wrong-late"));
		assert_null(strstr(text, "unknown-late"));
	}
	server_stop(s);
}

static void
test_log_of_no_answer_in_time(void **state)
{
	static const char want[] =
	    "warning: sasl: auth result=unknown client=192.0.2.7 mech=PLAIN "
	    "tls=no reason=\"no answer in time\"";
	struct server *s = server_start(50, 0);
	int fd = client_open(s);
	struct capture c;
	char text[8192];

	(void)state;
	capture_begin(&c);
	client_auth(fd, 1, "good-held");
	expect_end("late", fd);
	capture_end(&c, text, sizeof(text));
	assert_int_equal(lines_with(text, want), 1);
	assert_null(strstr(text, "held"));
	close(fd);
	server_stop(s);
}

#define FROM(address, id, response) \
	"AUTH\t" id "\tPLAIN\trip=" address "\tresp=" response "\n"
#define A "192.0.2.1"
#define B "2001:db8::1"

/* Requests on a connection of their own, which `want` is all the answer to;
 * then the server hangs up, or does not. */
static void
expect_talk(const struct server *s, const char *name, const char *requests,
	    const char *want, bool end)
{
	int fd = client_open(s);

	client_puts(fd, requests);
	expect(name, fd, want);
	if (end)
		expect_end(name, fd);
	else
		expect_alive(name, fd);
	close(fd);
}

static void
test_throttling(void **state)
{
	static const struct {
		const char *name, *request, *want;
		bool end; /* what makes Postfix say 454 */
		unsigned asked;
	} rows[] = {
		{ "good", FROM(A, "1", GOOD), OK("1", "good"), false, 1 },
		{ "good takes none", FROM(A, "1", GOOD), OK("1", "good"), false,
		  1 },
		{ "late, too", FROM(A, "1", GOOD_LATE), OK("1", "good-late"),
		  false, 1 },
		{ "unknown takes none", FROM(A, "1", UNKNOWN), "", true, 1 },
		{ "first", FROM(A, "1", WRONG), FAIL("1"), false, 1 },
		{ "second", FROM(A, "1", WRONG_LATE), FAIL("1"), false, 1 },
		{ "refused takes none", FROM(A, "1", "AAAA"),
		  "FAIL\t1\treason=the password holds a control character, it "
		  "must be an API key\n",
		  false, 0 },
		{ "third, and another", FROM(A, "1", WRONG) FROM(B, "2", WRONG),
		  FAIL("1") FAIL("2"), false, 2 },
		{ "empty", FROM(A, "1", WRONG), "", true, 0 },
		{ "empty for good ones", FROM(A, "1", GOOD), "", true, 0 },
		{ "nothing is answered then",
		  FROM(A, "1", GOOD) FROM(B, "2", GOOD), "", true, 0 },
		{ "others", FROM(B, "1", GOOD), OK("1", "good"), false, 1 },
		{ "as a part", FROM("192.0.2.10", "1", GOOD), OK("1", "good"),
		  false, 1 },
		{ "no address is one address",
		  "AUTH\t1\tPLAIN\tresp=" WRONG "\n"
		  "AUTH\t2\tPLAIN\tresp=" WRONG "\n"
		  "AUTH\t3\tPLAIN\tresp=" WRONG "\n",
		  FAIL("1") FAIL("2") FAIL("3"), false, 3 },
		{ "and it is empty", "AUTH\t1\tPLAIN\tresp=" GOOD "\n", "",
		  true, 0 },
		{ "LOGIN is asked for the key, which is not looked at",
		  "AUTH\t1\tLOGIN\trip=" A "\nCONT\t1\tdXNlcg==\n"
		  "CONT\t1\t" LOGIN_GOOD_LATE "\n",
		  "CONT\t1\tVXNlcm5hbWU6\nCONT\t1\tUGFzc3dvcmQ6\n", true, 0 },
	};
	/* One comes back each 20 seconds, which is more than this takes. */
	struct sasl_limits limits = { .failures = rate_limit_new(100),
				      .auth_failures = 3 };
	struct server *s = server_start_with(&limits);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		unsigned before = atomic_load(&questions);

		expect_talk(s, rows[i].name, rows[i].request, rows[i].want,
			    rows[i].end);
		if (atomic_load(&questions) - before != rows[i].asked)
			fail_msg("%s: asked %u times", rows[i].name,
				 atomic_load(&questions) - before);
	}
	server_stop(s);
	rate_limit_free(&limits.failures);
}

/* A user name that was not issued counts, one that breaks a rule does not. */
static void
test_user_names_throttled(void **state)
{
	atomic_uint asked = 0;
	struct sasl_limits limits = { .failures = rate_limit_new(100),
				      .auth_failures = 2,
				      .login = judge_login,
				      .login_arg = &asked };
	struct server *s = server_start_with(&limits);

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		expect_talk(s, "a rule", FROM(A, "1", NOBODY_GOOD),
			    "FAIL\t1\treason=" PUBLIC "\n", false);
	expect_talk(s, "another name", FROM(A, "1", SECRET_GOOD), FAIL("1"),
		    false);
	expect_talk(s, "good", FROM(A, "1", GOOD), OK("1", "good"), false);
	expect_talk(s, "and another", FROM(A, "1", SECRET_GOOD), FAIL("1"),
		    false);
	expect_talk(s, "throttled", FROM(A, "1", GOOD), "", true);
	assert_int_equal(atomic_load(&asked), 8);
	server_stop(s);
	rate_limit_free(&limits.failures);
}

static void
test_no_throttling(void **state)
{
	struct rate_limit *failures = rate_limit_new(100);
	const struct sasl_limits rows[] = {
		{ .auth_failures = 1 },
		{ .failures = failures },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct server *s = server_start_with(&rows[i]);

		for (unsigned j = 0; j < 10; j++)
			expect_talk(s, "wrong", FROM(A, "1", WRONG), FAIL("1"),
				    false);
		server_stop(s);
	}
	rate_limit_free(&failures);
}

/* Throttled until a token is back, here after a second. */
static void
test_throttled_for_a_while(void **state)
{
	static const struct timespec nap = { .tv_sec = 1,
					     .tv_nsec = 100000000 };
	struct sasl_limits limits = { .failures = rate_limit_new(100),
				      .auth_failures = 60 };
	struct server *s = server_start_with(&limits);
	char line[512];
	int fd = client_open(s);

	(void)state;
	do
		client_puts(fd, FROM(A, "1", WRONG));
	while (client_gets(fd, line, sizeof(line)));
	close(fd);
	nanosleep(&nap, NULL);
	expect_talk(s, "a while later", FROM(A, "1", GOOD), OK("1", "good"),
		    false);
	server_stop(s);
	rate_limit_free(&limits.failures);
}

static void
test_log_of_throttling(void **state)
{
	struct sasl_limits limits = { .failures = rate_limit_new(100),
				      .auth_failures = 1 };
	struct server *s = server_start_with(&limits);
	struct capture c;
	char text[8192];
	const char *at;
	unsigned wait = 0;

	(void)state;
	capture_begin(&c);
	expect_talk(s, "wrong", FROM(A, "1", WRONG), FAIL("1"), false);
	expect_talk(s, "throttled", FROM(A, "1", GOOD), "", true);
	capture_end(&c, text, sizeof(text));
	at = strstr(text, "]: sasl: auth result=throttled client=" A
			  " mech=PLAIN tls=no wait=");
	assert_non_null(at);
	assert_int_equal(sscanf(strstr(at, "wait="), "wait=%u\n", &wait), 1);
	assert_in_range(wait, 30, 60);
	assert_null(strstr(text, "good"));
	server_stop(s);
	rate_limit_free(&limits.failures);
}

static void
test_metrics(void **state)
{
	static const char *const want[] = {
		"{reason=\"wrong\"} 2\n",     "{reason=\"malformed\"} 3\n",
		"{reason=\"throttled\"} 3\n", "{reason=\"unknown\"} 2\n",
		"{reason=\"mistyped\"} 0\n",
	};
	struct sasl_limits limits = { .answer_ms = 50,
				      .failures = rate_limit_new(100),
				      .auth_failures = 2,
				      .metrics = metrics_new() };
	struct server *s = server_start_with(&limits);
	static const struct metrics_now now;
	static char long_line[SASL_LINE_MAX + 2];
	struct dynbuf page;

	(void)state;
	expect_talk(s, "good", FROM(A, "1", GOOD), OK("1", "good"), false);
	expect_talk(s, "unknown", FROM(A, "1", UNKNOWN), "", true);
	expect_talk(s, "no answer in time", FROM(A, "1", GOOD_HELD), "", true);
	expect_talk(s, "refused", "AUTH\t1\tXOAUTH2\n",
		    "FAIL\t1\treason=unknown mechanism, use PLAIN or LOGIN\n",
		    false);
	expect_talk(s, "broken", "CONT\t9\t\n", "", true);
	memset(long_line, 'x', sizeof(long_line) - 1);
	expect_talk(s, "line too long", long_line, "", true);
	for (int i = 0; i < 2; i++)
		expect_talk(s, "wrong", FROM(A, "1", WRONG), FAIL("1"), false);
	for (int i = 0; i < 3; i++)
		expect_talk(s, "throttled", FROM(A, "1", WRONG), "", true);
	server_stop(s);
	dynbuf_init(&page, METRICS_PAGE_MAX);
	assert_true(metrics_write(limits.metrics, &now, &page));
	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++)
		if (strstr(dynbuf_str(&page), want[i]) == NULL)
			fail_msg("not in the page: %s", want[i]);
	dynbuf_clear(&page);
	metrics_free(&limits.metrics);
	rate_limit_free(&limits.failures);
}

static void
test_too_many_connections(void **state)
{
	static const char want[] =
	    "warning: sasl: 3 connections, no more are taken";
	struct server *s = server_start(0, 3);
	int fds[3], fd;
	struct capture c;
	char text[8192];

	(void)state;
	for (int i = 0; i < 3; i++)
		fds[i] = client_open(s);
	capture_begin(&c);
	for (int i = 0; i < 5; i++) {
		fd = client_connect(s);
		assert_false(take_hello(fd));
		close(fd);
	}
	capture_end(&c, text, sizeof(text));
	assert_int_equal(lines_with(text, want), 1);
	expect_alive("one of three", fds[1]);
	close(fds[0]);
	fd = client_open_patiently(s);
	expect_alive("another", fd);
	close(fd);
	close(fds[1]);
	close(fds[2]);
	server_stop(s);
}

/* From now on no descriptor can be had. */
static void
descriptors_end(struct rlimit *old_r)
{
	struct rlimit l;
	int next = dup(STDERR_FILENO);

	assert_true(next >= 0);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, old_r), 0);
	l = *old_r;
	l.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
}

static void
wait_for_log(const struct capture *c, const char *want)
{
	static const struct timespec nap = { .tv_nsec = 5000000 };
	char text[8192];

	for (int i = 0; i < PATIENCE_MS / 5; i++) {
		capture_text(c, text, sizeof(text));
		if (strstr(text, want) != NULL)
			return;
		nanosleep(&nap, NULL);
	}
	fail_msg("never logged: %s", want);
}

static double
cpu_seconds(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A connection that cannot be accepted waits; the loop does not spin, the
 * others go on, and it is taken as soon as it can be. */
static void
test_no_descriptors_for_accept(void **state)
{
	static const struct timespec while_waiting = { .tv_nsec = 200000000 };
	static const char want[] =
	    "error: sasl: cannot accept a connection: Too many open files";
	struct server *s = server_start(0, 0);
	int old = client_open(s);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct rlimit limit;
	struct capture c;
	char text[8192];
	double cpu;

	(void)state;
	capture_begin(&c);
	descriptors_end(&limit);
	client_connect_fd(s, fd);
	wait_for_log(&c, want);
	cpu = cpu_seconds();
	nanosleep(&while_waiting, NULL);
	assert_true(cpu_seconds() - cpu < 0.1);
	expect_alive("accepted before", old);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true(take_hello(fd));
	capture_end(&c, text, sizeof(text));
	assert_in_range(lines_with(text, want), 1, 10);
	close(fd);
	close(old);
	server_stop(s);
}

/* The closing of a connection makes room. */
static void
test_descriptor_freed_for_accept(void **state)
{
	struct server *s = server_start(0, 0);
	int old = client_open(s);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct rlimit limit;
	struct capture c;
	char text[8192];

	(void)state;
	capture_begin(&c);
	descriptors_end(&limit);
	client_connect_fd(s, fd);
	wait_for_log(&c, "cannot accept");
	close(old);
	assert_true(take_hello(fd));
	expect_alive("in its place", fd);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	capture_end(&c, text, sizeof(text));
	close(fd);
	server_stop(s);
}

static void
test_no_descriptors_at_start(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *error = NULL;
	struct rlimit limit;
	int fd;

	(void)state;
	/* An abstract name: the kernel picks one. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(
	    bind(fd, (struct sockaddr *)&address, sizeof(address.sun_family)),
	    0);
	assert_int_equal(listen(fd, 1), 0);
	descriptors_end(&limit);
	assert_null(sasl_start(fd, NULL, NULL, &error));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_string_equal(error, "no descriptors left");
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* A file of a thread's directory in /proc, whole. */
static void
read_task_file(const char *tid, const char *name, char *text, size_t size)
{
	char path[300];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/self/task/%s/%s", tid, name);
	f = fopen(path, "re");
	assert_non_null(f);
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	fclose(f);
}

static void
test_thread_has_a_name_and_takes_no_signals(void **state)
{
	static const int signals[] = { SIGHUP, SIGTERM, SIGINT, SIGUSR1 };
	struct server *s = server_start(0, 0);
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *d;
	unsigned found = 0;
	char text[4096];

	(void)state;
	assert_non_null(dir);
	while ((d = readdir(dir)) != NULL) {
		unsigned long long blocked;
		const char *p;

		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		read_task_file(d->d_name, "comm", text, sizeof(text));
		if (strcmp(text, "sasl\n") != 0)
			continue;
		found++;
		read_task_file(d->d_name, "status", text, sizeof(text));
		p = strstr(text, "SigBlk:");
		assert_non_null(p);
		assert_int_equal(sscanf(p, "SigBlk: %llx", &blocked), 1);
		for (size_t i = 0; i < 4; i++)
			assert_true(blocked >> (signals[i] - 1) & 1);
	}
	closedir(dir);
	assert_int_equal(found, 1);
	server_stop(s);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_talks),
		cmocka_unit_test(test_logins),
		cmocka_unit_test(test_line_bound),
		cmocka_unit_test(test_garbage_during_a_check),
		cmocka_unit_test(test_crowd),
		cmocka_unit_test(test_closed_while_a_check_is_under_way),
		cmocka_unit_test(test_stopped_while_checks_are_under_way),
		cmocka_unit_test(test_stopped_while_answers_come),
		cmocka_unit_test(test_stopped_without_connections),
		cmocka_unit_test(test_no_answer_in_time),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_no_reader),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_log_of_no_answer_in_time),
		cmocka_unit_test(test_throttling),
		cmocka_unit_test(test_no_throttling),
		cmocka_unit_test(test_user_names_throttled),
		cmocka_unit_test(test_throttled_for_a_while),
		cmocka_unit_test(test_log_of_throttling),
		cmocka_unit_test(test_metrics),
		cmocka_unit_test(test_too_many_connections),
		cmocka_unit_test(test_no_descriptors_for_accept),
		cmocka_unit_test(test_descriptor_freed_for_accept),
		cmocka_unit_test(test_no_descriptors_at_start),
		cmocka_unit_test(test_thread_has_a_name_and_takes_no_signals),
	};

	log_open(1, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
