/* SPDX-License-Identifier: MIT */
/*
 * The agent over real sockets. The handler of the test answers by what the
 * sender begins with: "now" from within, "late" by another thread, "held" by
 * another thread when the test says so. With "stuck" the beginning takes until
 * then. Each recipient's reply says what the message was.
 */
#include "milter/lmtp_agent.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
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

#include "milter/clock.h"
#include "milter/lmtp_command.h"
#include "milter/lmtp_protocol.h"
#include "milter/log.h"
#include "policy/dynbuf.h"
#include "policy/smtp_reply.h"

/* A wait that takes this long has failed. */
#define PATIENCE_MS 60000
#define SIZE_ALLOWED 1000000

#define LHLO "LHLO client\r\n"
#define MAIL(s) "MAIL FROM:<" s ">\r\n"
#define RCPT(a) "RCPT TO:<" a ">\r\n"
#define OK "250 2.0.0 Ok\r\n"
#define OK_MAIL "250 2.1.0 Ok\r\n"
#define OK_RCPT "250 2.1.5 Ok\r\n"
#define GO_ON "354 End with CRLF.CRLF\r\n"
#define BYE "221 2.0.0 Bye\r\n"
#define DRAINED "421 4.3.2 Shutting down\r\n"
/* One message of 3 bytes, and what is said until its dot. */
#define MESSAGE(s) MAIL(s) RCPT("r@x") "DATA\r\nx\r\n.\r\n"
#define BEGUN OK_MAIL OK_RCPT GO_ON
#define SENT(s) "250 2.0.0 from " s " to r@x, 3 bytes\r\n"

/* --- the handler ---------------------------------------------------------- */

struct mail {
	struct handler *handler;
	char sender[64];
	char recipients[LMTP_RECIPIENTS_MAX][40];
	size_t n;
	size_t bytes;
	struct lmtp_answer *answer;
	struct mail *next;
};

struct handler {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Guarded by lock: */
	struct mail *late, *held;
	unsigned held_count;
	bool quit;
	bool loose;	   /* what is stuck shall go on */
	atomic_uint mails; /* in memory */
	atomic_uint begun, ended, dropped;
};

static void
mail_free(struct mail *m)
{
	atomic_fetch_sub(&m->handler->mails, 1);
	free(m);
}

static void *
begin(void *arg, const char *sender, const struct lmtp_mail *said)
{
	struct mail *m = calloc(1, sizeof(*m));

	(void)said;
	assert_non_null(m);
	m->handler = arg;
	atomic_fetch_add(&m->handler->mails, 1);
	atomic_fetch_add(&m->handler->begun, 1);
	snprintf(m->sender, sizeof(m->sender), "%s", sender);
	pthread_mutex_lock(&m->handler->lock);
	while (strncmp(sender, "stuck", 5) == 0 && !m->handler->loose)
		pthread_cond_wait(&m->handler->changed, &m->handler->lock);
	pthread_mutex_unlock(&m->handler->lock);
	return m;
}

static void
recipient(void *arg, const char *address, const char *typed,
	  struct smtp_reply *reply)
{
	struct mail *m = arg;

	if (strncmp(address, "no", 2) == 0) {
		smtp_reply_set(reply, 550, "5.1.1", "No %s",
			       typed != NULL ? typed : "");
		return;
	}
	smtp_reply_set(reply, 250, "2.1.5", "Ok");
	snprintf(m->recipients[m->n++], sizeof(*m->recipients), "%s", address);
}

static void
take_data(void *arg, const char *data, size_t len)
{
	struct mail *m = arg;

	assert_int_equal(strnlen(data, len), len);
	m->bytes += len;
}

/* The mail is gone then. "long": as long as a reply can be. */
static void
answer(struct mail *m)
{
	struct smtp_reply *replies = calloc(m->n, sizeof(*replies));
	bool is_long = strstr(m->sender, "long") != NULL;

	assert_non_null(replies);
	for (size_t i = 0; i < m->n; i++) {
		bool later = strncmp(m->recipients[i], "later", 5) == 0;

		smtp_reply_set(&replies[i], later ? 451 : 250,
			       later ? "4.4.0" : "2.0.0",
			       "from %s to %s, %zu bytes", m->sender,
			       m->recipients[i], m->bytes);
		if (is_long)
			smtp_reply_set(&replies[i], 250, "2.0.0", "%0*zu",
				       SMTP_REPLY_TEXT_MAX, i);
	}
	lmtp_answer(&m->answer, replies, m->n);
	assert_null(m->answer);
	free(replies);
	mail_free(m);
}

static void
end(void *arg, struct lmtp_answer *a)
{
	struct mail *m = arg, **list = NULL;
	struct handler *h = m->handler;

	m->answer = a;
	atomic_fetch_add(&h->ended, 1);
	pthread_mutex_lock(&h->lock);
	if (strncmp(m->sender, "late", 4) == 0)
		list = &h->late;
	if (strncmp(m->sender, "held", 4) == 0) {
		list = &h->held;
		h->held_count++;
	}
	if (list != NULL) {
		m->next = *list;
		*list = m;
		pthread_cond_broadcast(&h->changed);
	}
	pthread_mutex_unlock(&h->lock);
	if (list == NULL)
		answer(m);
}

static void
drop(void *arg)
{
	struct mail *m = arg;

	atomic_fetch_add(&m->handler->dropped, 1);
	mail_free(m);
}

static const struct lmtp_handler handler = {
	.begin = begin,
	.recipient = recipient,
	.data = take_data,
	.end = end,
	.drop = drop,
};

static void *
answer_late(void *arg)
{
	struct handler *h = arg;
	struct mail *m;

	pthread_mutex_lock(&h->lock);
	while (h->late != NULL || !h->quit) {
		m = h->late;
		if (m == NULL) {
			pthread_cond_wait(&h->changed, &h->lock);
			continue;
		}
		h->late = m->next;
		pthread_mutex_unlock(&h->lock);
		answer(m);
		pthread_mutex_lock(&h->lock);
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

static void
handler_start(struct handler *h)
{
	assert_int_equal(pthread_mutex_init(&h->lock, NULL), 0);
	assert_int_equal(pthread_cond_init(&h->changed, NULL), 0);
	assert_int_equal(pthread_create(&h->thread, NULL, answer_late, h), 0);
}

/* Has the other thread answer what is held. */
static void
handler_release(struct handler *h)
{
	struct mail **last;

	pthread_mutex_lock(&h->lock);
	for (last = &h->late; *last != NULL; last = &(*last)->next)
		;
	*last = h->held;
	h->held = NULL;
	h->held_count = 0;
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->lock);
}

/* Waits until n messages are held. */
static void
handler_wait_held(struct handler *h, unsigned n)
{
	struct timespec until;

	assert_int_equal(clock_gettime(CLOCK_REALTIME, &until), 0);
	until.tv_sec += PATIENCE_MS / 1000;
	pthread_mutex_lock(&h->lock);
	while (h->held_count < n)
		if (pthread_cond_timedwait(&h->changed, &h->lock, &until) != 0)
			break;
	assert_int_equal(h->held_count, n);
	pthread_mutex_unlock(&h->lock);
}

/* Answers all that is left, and checks that nothing was forgotten. */
static void
handler_stop(struct handler *h)
{
	handler_release(h);
	pthread_mutex_lock(&h->lock);
	h->quit = true;
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->lock);
	assert_int_equal(pthread_join(h->thread, NULL), 0);
	pthread_mutex_destroy(&h->lock);
	pthread_cond_destroy(&h->changed);
	assert_int_equal(atomic_load(&h->mails), 0);
	assert_int_equal(atomic_load(&h->begun),
			 atomic_load(&h->ended) + atomic_load(&h->dropped));
}

/* --- the server ----------------------------------------------------------- */

struct server {
	struct handler handler;
	struct lmtp_agent *agent;
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

/* Takes listen_fd. 0 stands for the default. */
static struct server *
server_start_on(int listen_fd, unsigned idle_ms, unsigned connections)
{
	struct server *s = calloc(1, sizeof(*s));
	struct lmtp_agent_settings settings = {
		.size_max = SIZE_ALLOWED,
		.handler = &handler,
		.idle_ms = idle_ms,
		.connections = connections,
	};
	const char *error = NULL;

	assert_non_null(s);
	settings.arg = &s->handler;
	handler_start(&s->handler);
	s->agent = lmtp_agent_start(listen_fd, &settings, &error);
	if (s->agent == NULL)
		fail_msg("%s", error);
	return s;
}

static struct server *
server_start(unsigned idle_ms, unsigned connections)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char dir[] = "/tmp/test_lmtp.XXXXXX";
	struct server *s;

	assert_non_null(mkdtemp(dir));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", dir);
	s = server_start_on(listen_at(&address), idle_ms, connections);
	memcpy(s->dir, dir, sizeof(dir));
	s->address = address;
	return s;
}

static void
server_stop(struct server *s)
{
	lmtp_agent_stop(&s->agent);
	assert_null(s->agent);
	handler_stop(&s->handler);
	if (s->dir[0] != '\0') {
		assert_int_equal(unlink(s->address.sun_path), 0);
		assert_int_equal(rmdir(s->dir), 0);
	}
	free(s);
}

static void
nap(void)
{
	static const struct timespec t = { .tv_nsec = 2000000 };

	nanosleep(&t, NULL);
}

static void
wait_connections(const struct server *s, unsigned n)
{
	for (int i = 0; i < PATIENCE_MS / 2; i++) {
		if (lmtp_agent_connections(s->agent) == n)
			return;
		nap();
	}
	fail_msg("%u connections", lmtp_agent_connections(s->agent));
}

/* --- a client ------------------------------------------------------------- */

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
		const char *lf = memchr(line + len, '\n', n);

		if (lf != NULL)
			n = (size_t)(lf + 1 - (line + len));
		if (n > 0)
			assert_int_equal(recv(fd, line + len, n, 0), n);
		len += n;
		line[len] = '\0';
		if (lf != NULL || n == 0)
			return lf != NULL;
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
	char line[1024];

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
	char line[1024];

	if (client_gets(fd, line, sizeof(line)) || line[0] != '\0')
		fail_msg("%s: \"%s\" instead of the end", name, line);
}

static void
expect_silence(const char *name, int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, ms) != 0)
		fail_msg("%s: not silent", name);
}

/* Nothing else was sent, and the connection is good for more. */
static void
expect_alive(const char *name, int fd)
{
	client_puts(fd, "NOOP\r\n");
	expect(name, fd, OK);
}

static void
client_hello(int fd)
{
	char line[256];

	expect("greeting", fd, "220 txmilter LMTP\r\n");
	client_puts(fd, LHLO);
	do
		assert_true(client_gets(fd, line, sizeof(line)));
	while (line[3] == '-');
	assert_string_equal(line, "250 DSN\r\n");
}

static int
client_open(const struct server *s)
{
	int fd = client_connect(s);

	client_hello(fd);
	return fd;
}

/* --- talks ---------------------------------------------------------------- */

static const struct {
	const char *name, *input, *want;
	bool end; /* the server hangs up then */
} talks[] = {
	{ "answered at once", MESSAGE("now@x"), BEGUN SENT("now@x"), false },
	{ "answered by another thread", MESSAGE("late@x"), BEGUN SENT("late@x"),
	  false },
	{ "Postfix's last one", MESSAGE("late@x") "QUIT\r\n",
	  BEGUN SENT("late@x") BYE, true },
	{ "several in one go",
	  MESSAGE("late1@x") MESSAGE("now2@x") MESSAGE("late3@x") "QUIT\r\n",
	  BEGUN SENT("late1@x") BEGUN SENT("now2@x") BEGUN SENT("late3@x") BYE,
	  true },
	{ "each recipient has its own reply",
	  MAIL("late@x") RCPT(
	      "a@x") "RCPT TO:<no@x> ORCPT=rfc822;typed\r\n" RCPT("later@x")
	      RCPT("b@x") "DATA\r\n.\r\n",
	  OK_MAIL OK_RCPT "550 5.1.1 No typed\r\n" OK_RCPT OK_RCPT GO_ON
			  "250 2.0.0 from late@x to a@x, 0 bytes\r\n"
			  "451 4.4.0 from late@x to later@x, 0 bytes\r\n"
			  "250 2.0.0 from late@x to b@x, 0 bytes\r\n",
	  false },
	{ "given up", MAIL("late@x") "RSET\r\n" MESSAGE("now@x"),
	  OK_MAIL OK BEGUN SENT("now@x"), false },
	{ "too large", "MAIL FROM:<now@x> SIZE=1000001\r\n",
	  "552 5.3.4 Message too large\r\n", false },
};

static void
test_talks(void **state)
{
	static const size_t steps[] = { 1, 7, 4096 };
	struct server *s = server_start(0, 0);

	(void)state;
	for (size_t i = 0; i < sizeof(talks) / sizeof(*talks); i++) {
		for (size_t j = 0; j < sizeof(steps) / sizeof(*steps); j++) {
			int fd = client_open(s);

			client_send(fd, talks[i].input, strlen(talks[i].input),
				    steps[j]);
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

#define CROWD 100

static void
test_crowd(void **state)
{
	static const char *const kinds[] = { "now", "late" };
	struct server *s = server_start(0, 0);
	int fds[CROWD];
	char text[256];

	(void)state;
	for (int i = 0; i < CROWD; i++)
		fds[i] = client_open(s);
	assert_int_equal(lmtp_agent_connections(s->agent), CROWD);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < CROWD; i++) {
			snprintf(text, sizeof(text),
				 "MAIL FROM:<%s%d>\r\n" RCPT(
				     "r@x") "DATA\r\nx\r\n.\r\n",
				 kinds[(i + round) % 2], i);
			client_puts(fds[i], text);
		}
		for (int i = 0; i < CROWD; i++) {
			snprintf(text, sizeof(text), BEGUN SENT("%s%d"),
				 kinds[(i + round) % 2], i);
			expect("crowd", fds[i], text);
		}
	}
	for (int i = 0; i < CROWD; i++)
		close(fds[i]);
	wait_connections(s, 0);
	assert_int_equal(atomic_load(&s->handler.ended), 3 * CROWD);
	server_stop(s);
}

static void
test_large_message(void **state)
{
	static char data[SIZE_ALLOWED];
	struct server *s = server_start(0, 0);
	int fd = client_open(s);

	(void)state;
	memset(data, 'x', sizeof(data));
	for (size_t i = 0; i + 1 < sizeof(data); i += 1000)
		memcpy(data + i, "\r\n", 2);
	client_puts(fd, MAIL("late@x") RCPT("r@x") "DATA\r\n");
	expect("large", fd, BEGUN);
	client_send(fd, data, sizeof(data) - 2, 50000);
	client_puts(fd, "\r\n.\r\n");
	expect("large", fd, "250 2.0.0 from late@x to r@x, 1000000 bytes\r\n");
	client_puts(fd, MAIL("late@x") RCPT("r@x") "DATA\r\n");
	expect("too large", fd, BEGUN);
	client_send(fd, data, sizeof(data) - 1, 50000);
	client_puts(fd, "\r\n.\r\n");
	expect("too large", fd, "552 5.3.4 Message too large\r\n");
	expect_alive("too large", fd);
	assert_int_equal(atomic_load(&s->handler.dropped), 1);
	close(fd);
	server_stop(s);
}

/* --- connections that go -------------------------------------------------- */

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
lines_with(const char *text, const char *line_end)
{
	unsigned n = 0;
	const char *p = text;

	while ((p = strstr(p, line_end)) != NULL) {
		p += strlen(line_end);
		n += *p == '\n';
	}
	return n;
}

static void
test_lost_at_any_time(void **state)
{
	static const struct {
		const char *name, *input;
		const char *want; /* is read before it goes */
		unsigned dropped;
	} rows[] = {
		{ "at once", "", "", 0 },
		{ "within a command", "MAIL FR", "", 0 },
		{ "after MAIL", MAIL("now@x"), "", 1 },
		{ "after RCPT", MAIL("now@x") RCPT("r@x"), "", 1 },
		{ "within the message",
		  MAIL("now@x") RCPT("r@x") "DATA\r\nx\r\n.", "", 1 },
		{ "without reading the answer", MESSAGE("now@x"), "", 0 },
		{ "in the next message", MESSAGE("now@x") MAIL("now@x"),
		  BEGUN SENT("now@x") OK_MAIL, 1 },
	};
	struct server *s = server_start(0, 0);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		unsigned before = atomic_load(&s->handler.dropped);
		int fd = client_open(s);

		client_puts(fd, rows[i].input);
		expect(rows[i].name, fd, rows[i].want);
		close(fd);
		wait_connections(s, 0);
		if (atomic_load(&s->handler.dropped) !=
		    before + rows[i].dropped)
			fail_msg("%s", rows[i].name);
	}
	server_stop(s);
}

static void
test_lost_while_an_answer_is_awaited(void **state)
{
	struct server *s = server_start(0, 0);
	int fd = client_open(s), other;
	struct capture c;
	char text[8192];

	(void)state;
	capture_begin(&c);
	client_puts(fd, MESSAGE("held@x"));
	handler_wait_held(&s->handler, 1);
	close(fd);
	wait_connections(s, 0);
	other = client_open(s);
	client_puts(other, MESSAGE("held2@x"));
	handler_wait_held(&s->handler, 2);
	handler_release(&s->handler);
	expect("the other", other, BEGUN SENT("held2@x"));
	expect_alive("the other", other);
	capture_end(&c, text, sizeof(text));
	assert_int_equal(lines_with(text, "warning: lmtp: connection lost, a "
					  "message was not answered yet"),
			 1);
	close(other);
	server_stop(s);
}

/* Who has nothing more to say may still listen. */
static void
test_half_closed(void **state)
{
	struct server *s = server_start(0, 0);
	int fd = client_open(s);

	(void)state;
	client_puts(fd, MESSAGE("held@x"));
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	handler_wait_held(&s->handler, 1);
	expect("before", fd, BEGUN);
	expect_silence("waiting", fd, 50);
	handler_release(&s->handler);
	expect("half closed", fd, SENT("held@x"));
	expect_end("half closed", fd);
	close(fd);
	server_stop(s);
}

static void
test_stopped_while_answers_are_awaited(void **state)
{
	struct server *s = server_start(0, 0);
	int fds[50];
	int n = sizeof(fds) / sizeof(*fds);

	(void)state;
	for (int i = 0; i < n; i++) {
		fds[i] = client_open(s);
		client_puts(fds[i], MESSAGE("held@x"));
		expect("stopped", fds[i], BEGUN);
	}
	handler_wait_held(&s->handler, (unsigned)n);
	lmtp_agent_stop(&s->agent);
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
			client_puts(fds[i],
				    i % 5 ? MESSAGE("held@x") : MAIL("now@x"));
		}
		handler_wait_held(&s->handler, (unsigned)(n - n / 5));
		handler_release(&s->handler);
		if (round % 2)
			expect("one of them", fds[1], BEGUN SENT("held@x"));
		lmtp_agent_stop(&s->agent);
		for (int i = 0; i < n; i++)
			close(fds[i]);
		server_stop(s);
	}
}

static void
test_stopped_without_connections(void **state)
{
	struct server *s = server_start(0, 0);
	struct lmtp_agent *none = NULL;

	(void)state;
	server_stop(s);
	lmtp_agent_stop(&none);
	assert_null(none);
}

/* --- drain ---------------------------------------------------------------- */

static void
wait_drained(const struct server *s)
{
	for (int i = 0; i < PATIENCE_MS / 2; i++) {
		if (lmtp_agent_drain(s->agent))
			return;
		nap();
	}
	fail_msg("never drained");
}

static void
test_drain(void **state)
{
	struct server *s = server_start(0, 0);
	int idle = client_open(s), begun = client_open(s);
	int waiting = client_open(s), late;

	(void)state;
	client_puts(begun, MAIL("now@x"));
	expect("begun", begun, OK_MAIL);
	client_puts(waiting, MESSAGE("held@x"));
	expect("waiting", waiting, BEGUN);
	handler_wait_held(&s->handler, 1);
	assert_false(lmtp_agent_drain(s->agent));
	expect("idle", idle, DRAINED);
	expect_end("idle", idle);
	late = client_connect(s);
	client_puts(begun, RCPT("r@x") "DATA\r\nx\r\n.\r\n");
	expect("begun", begun, OK_RCPT GO_ON SENT("now@x") DRAINED);
	expect_end("begun", begun);
	expect_silence("waiting", waiting, 50);
	assert_false(lmtp_agent_drain(s->agent));
	handler_release(&s->handler);
	wait_drained(s);
	/* It was written before that was said. */
	expect_silence("late", late, 0);
	expect("waiting", waiting, SENT("held@x") DRAINED);
	expect_end("waiting", waiting);
	wait_connections(s, 0);
	expect_silence("late", late, 50);
	assert_true(lmtp_agent_drain(s->agent));
	close(idle);
	close(begun);
	close(waiting);
	lmtp_agent_stop(&s->agent);
	expect_end("late", late);
	close(late);
	server_stop(s);
}

/* The loop has not heard of it yet. */
static void
test_drain_while_a_message_begins(void **state)
{
	struct server *s = server_start(0, 0);
	int fd = client_open(s);

	(void)state;
	client_puts(fd, MAIL("stuck@x"));
	while (atomic_load(&s->handler.begun) == 0)
		nap();
	for (int i = 0; i < 10; i++) {
		assert_false(lmtp_agent_drain(s->agent));
		nap();
	}
	pthread_mutex_lock(&s->handler.lock);
	s->handler.loose = true;
	pthread_cond_broadcast(&s->handler.changed);
	pthread_mutex_unlock(&s->handler.lock);
	expect("begun", fd, OK_MAIL);
	assert_false(lmtp_agent_drain(s->agent));
	client_puts(fd, "RSET\r\n");
	expect("given up", fd, OK DRAINED);
	expect_end("given up", fd);
	wait_drained(s);
	close(fd);
	server_stop(s);
}

static void
test_drain_of_nothing(void **state)
{
	struct server *s = server_start(0, 0);

	(void)state;
	wait_drained(s);
	server_stop(s);
}

/* --- bounds --------------------------------------------------------------- */

static void
test_idle(void **state)
{
	struct server *s = server_start(300, 0);
	int idle, begun, waiting;
	struct capture c;
	char text[8192];

	(void)state;
	capture_begin(&c);
	waiting = client_open(s);
	client_puts(waiting, MESSAGE("held@x"));
	expect("waiting", waiting, BEGUN);
	idle = client_open(s);
	begun = client_open(s);
	client_puts(begun, MAIL("now@x"));
	expect("begun", begun, OK_MAIL);
	expect_end("idle", idle);
	expect_end("begun", begun);
	assert_int_equal(atomic_load(&s->handler.dropped), 1);
	/* That one is not the peer's fault. */
	expect_silence("waiting", waiting, 20);
	handler_release(&s->handler);
	expect("waiting", waiting, SENT("held@x"));
	expect_end("waiting", waiting);
	capture_end(&c, text, sizeof(text));
	assert_int_equal(
	    lines_with(text, "debug: lmtp: connection closed, idle"), 2);
	assert_int_equal(lines_with(text, "warning: lmtp: connection closed, "
					  "idle within a message"),
			 1);
	close(idle);
	close(begun);
	close(waiting);
	server_stop(s);
}

/* A byte now and then is enough. */
static void
test_slow_is_not_idle(void **state)
{
	static const char input[] = MESSAGE("now@x");
	struct server *s = server_start(300, 0);
	int fd = client_open(s);

	(void)state;
	for (size_t i = 0; i < sizeof(input) - 1; i++) {
		static const struct timespec t = { .tv_nsec = 20000000 };

		client_send(fd, input + i, 1, 1);
		nanosleep(&t, NULL);
	}
	expect("slow", fd, BEGUN SENT("now@x"));
	close(fd);
	server_stop(s);
}

static void
test_too_many_connections(void **state)
{
	static const char want[] =
	    "warning: lmtp: 3 connections, no more are taken";
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
		expect("too many", fd, "421 4.3.2 Too many connections\r\n");
		expect_end("too many", fd);
		close(fd);
	}
	capture_end(&c, text, sizeof(text));
	assert_int_equal(lines_with(text, want), 1);
	expect_alive("one of three", fds[1]);
	close(fds[0]);
	wait_connections(s, 2);
	fd = client_open(s);
	expect_alive("another", fd);
	close(fd);
	close(fds[1]);
	close(fds[2]);
	server_stop(s);
}

/* What is sent behind a message waits where it is. */
static void
test_flood_while_an_answer_is_awaited(void **state)
{
	struct server *s = server_start(0, 0);
	int fd = client_open(s);
	unsigned n = 0;
	char line[64];

	(void)state;
	client_puts(fd, MESSAGE("held@x"));
	expect("before", fd, BEGUN);
	handler_wait_held(&s->handler, 1);
	/* Many more than are kept. */
	while (send(fd, "NOOP\r\n", 6, MSG_NOSIGNAL | MSG_DONTWAIT) == 6)
		n++;
	assert_true(n > 100);
	expect_silence("flood", fd, 20);
	handler_release(&s->handler);
	expect("flood", fd, SENT("held@x"));
	while (n-- > 0)
		expect("flood", fd, OK);
	/* The last one may have been cut. */
	client_puts(fd, "\r\nQUIT\r\n");
	while (client_gets(fd, line, sizeof(line)))
		;
	close(fd);
	server_stop(s);
}

/* Sends NOOPs until nothing was taken for wait_ms, or the server hangs up. */
static unsigned
stuff(int fd, int wait_ms)
{
	static const char line[] = "NOOP\r\n";
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	unsigned sent = 0;
	size_t done = 0;

	while (poll(&p, 1, wait_ms) == 1) {
		ssize_t n = send(fd, line + done, sizeof(line) - 1 - done,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			break;
		assert_true(n > 0 || errno == EAGAIN);
		done += n > 0 ? (size_t)n : 0;
		sent += done == sizeof(line) - 1;
		done %= sizeof(line) - 1;
	}
	return sent;
}

static void
test_slow_reader(void **state)
{
	struct server *s = server_start(0, 0);
	int fd = client_open(s);
	unsigned sent = stuff(fd, 200);

	(void)state;
	assert_true(sent > 100);
	for (unsigned i = 0; i < sent; i++)
		expect("slow reader", fd, OK);
	close(fd);
	server_stop(s);
}

static void
test_no_reader(void **state)
{
	struct server *s = server_start(300, 0);
	int fd = client_open(s);
	unsigned replies = 0, sent;
	struct capture c;
	char line[64], text[8192];

	(void)state;
	capture_begin(&c);
	sent = stuff(fd, PATIENCE_MS);
	wait_connections(s, 0);
	capture_end(&c, text, sizeof(text));
	while (client_gets(fd, line, sizeof(line)))
		replies++;
	assert_true(replies < sent);
	assert_int_equal(lines_with(text, "warning: lmtp: connection closed, "
					  "replies are not read"),
			 1);
	close(fd);
	server_stop(s);
}

static void
send_to_many(int fd, const char *sender)
{
	char line[64];

	snprintf(line, sizeof(line), "MAIL FROM:<%s>\r\n", sender);
	client_puts(fd, line);
	expect("many", fd, OK_MAIL);
	for (int i = 0; i < LMTP_RECIPIENTS_MAX; i++) {
		snprintf(line, sizeof(line), RCPT("r%d@x"), i);
		client_puts(fd, line);
	}
	client_puts(fd, "DATA\r\n.\r\nQUIT\r\n");
	for (int i = 0; i < LMTP_RECIPIENTS_MAX; i++)
		expect("many", fd, OK_RCPT);
	expect("many", fd, GO_ON);
}

static void
expect_long_answers(int fd, int first, int end_at)
{
	char want[1024];

	for (int i = first; i < end_at; i++) {
		snprintf(want, sizeof(want), "250 2.0.0 %0*d\r\n",
			 SMTP_REPLY_TEXT_MAX, i);
		expect("many", fd, want);
	}
}

/* The largest answer there can be, and Postfix's QUIT behind it. */
static void
test_largest_answer(void **state)
{
	struct server *s = server_start(0, 0);
	int fd = client_open(s);

	(void)state;
	send_to_many(fd, "late-long@x");
	expect_long_answers(fd, 0, LMTP_RECIPIENTS_MAX);
	expect("many", fd, BYE);
	expect_end("many", fd);
	close(fd);
	server_stop(s);
}

static void
shrink(int fd, int option)
{
	static const int size = 4096;

	assert_int_equal(
	    setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size)), 0);
}

/* A server and a connection to it whose buffers hold little. */
static struct server *
server_start_narrow(unsigned idle_ms, int *fd_r)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct server *s;

	*fd_r = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0 && *fd_r >= 0);
	shrink(fd, SO_SNDBUF);
	shrink(*fd_r, SO_RCVBUF);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	s = server_start_on(fd, idle_ms, 0);
	assert_int_equal(connect(*fd_r, (struct sockaddr *)&address, len), 0);
	client_hello(*fd_r);
	return s;
}

/* Who reads at all is not idle. */
static void
test_slow_reader_is_not_idle(void **state)
{
	int fd;
	struct server *s = server_start_narrow(300, &fd);

	(void)state;
	send_to_many(fd, "late-long@x");
	for (int i = 0; i < LMTP_RECIPIENTS_MAX; i += 10) {
		for (int n = 0; n < 5; n++)
			nap();
		expect_long_answers(fd, i, i + 10);
	}
	expect("slow", fd, BYE);
	expect_end("slow", fd);
	close(fd);
	server_stop(s);
}

/* The message is done, but its client does not know yet. */
static void
test_drain_waits_for_replies(void **state)
{
	int fd;
	struct server *s = server_start_narrow(0, &fd);

	(void)state;
	send_to_many(fd, "late-long@x");
	while (atomic_load(&s->handler.mails) > 0)
		nap();
	for (int i = 0; i < 50; i++) {
		assert_false(lmtp_agent_drain(s->agent));
		nap();
	}
	expect_long_answers(fd, 0, LMTP_RECIPIENTS_MAX);
	expect("drained", fd, BYE);
	expect_end("drained", fd);
	wait_drained(s);
	close(fd);
	server_stop(s);
}

/* --- descriptors and the thread ------------------------------------------- */

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
	char text[8192];

	for (int i = 0; i < PATIENCE_MS / 2; i++) {
		capture_text(c, text, sizeof(text));
		if (strstr(text, want) != NULL)
			return;
		nap();
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
 * others go on. By turns it is taken when it can be, and when one closes. */
static void
test_no_descriptors_for_accept(void **state)
{
	static const struct timespec while_waiting = { .tv_nsec = 200000000 };
	static const char want[] =
	    "error: lmtp: cannot accept a connection: Too many open files";

	(void)state;
	for (int round = 0; round < 2; round++) {
		struct server *s = server_start(0, 0);
		int old = client_open(s);
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		struct rlimit limit;
		struct capture c;
		char text[8192];
		int64_t began;
		double cpu;

		capture_begin(&c);
		descriptors_end(&limit);
		client_connect_fd(s, fd);
		wait_for_log(&c, want);
		cpu = cpu_seconds();
		nanosleep(&while_waiting, NULL);
		assert_true(cpu_seconds() - cpu < 0.1);
		expect_alive("accepted before", old);
		began = clock_ms();
		if (round == 0)
			assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
		else
			close(old);
		expect("accepted", fd, "220 txmilter LMTP\r\n");
		/* It did not wait for the end of the pause. */
		if (round == 1)
			assert_true(clock_ms() - began < 600);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
		capture_end(&c, text, sizeof(text));
		assert_in_range(lines_with(text, want), 1, 10);
		close(fd);
		if (round == 0)
			close(old);
		server_stop(s);
	}
}

/* Also while it is the drain that ends the waiting. */
static void
test_drain_without_descriptors(void **state)
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
	wait_drained(s);
	expect("drained", old, DRAINED);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	capture_end(&c, text, sizeof(text));
	expect_silence("not accepted", fd, 50);
	close(old);
	close(fd);
	server_stop(s);
}

static void
test_no_descriptors_at_start(void **state)
{
	static const struct lmtp_agent_settings settings = {
		.handler = &handler,
	};
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
	assert_null(lmtp_agent_start(fd, &settings, &error));
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
		if (strcmp(text, "lmtp\n") != 0)
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
		cmocka_unit_test(test_talks),
		cmocka_unit_test(test_crowd),
		cmocka_unit_test(test_large_message),
		cmocka_unit_test(test_lost_at_any_time),
		cmocka_unit_test(test_lost_while_an_answer_is_awaited),
		cmocka_unit_test(test_half_closed),
		cmocka_unit_test(test_stopped_while_answers_are_awaited),
		cmocka_unit_test(test_stopped_while_answers_come),
		cmocka_unit_test(test_stopped_without_connections),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_drain_while_a_message_begins),
		cmocka_unit_test(test_drain_of_nothing),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_slow_is_not_idle),
		cmocka_unit_test(test_too_many_connections),
		cmocka_unit_test(test_flood_while_an_answer_is_awaited),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_no_reader),
		cmocka_unit_test(test_largest_answer),
		cmocka_unit_test(test_slow_reader_is_not_idle),
		cmocka_unit_test(test_drain_waits_for_replies),
		cmocka_unit_test(test_no_descriptors_for_accept),
		cmocka_unit_test(test_drain_without_descriptors),
		cmocka_unit_test(test_no_descriptors_at_start),
		cmocka_unit_test(test_thread_has_a_name_and_takes_no_signals),
	};

	log_open(1, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
