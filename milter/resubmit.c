/* SPDX-License-Identifier: MIT */
#include "resubmit.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "listener.h"
#include "log.h"
#include "need.h"
#include "policy/dynbuf.h"
#include "policy/smtp_reply.h"
#include "policy/utf8.h"

#define WRITE_SIZE 65536
/* It is in a Received header that everybody sees. */
#define HELLO "EHLO localhost\r\n"
/* MAIL FROM and two addresses' worth. */
#define COMMAND_MAX 4096

struct resubmit {
	struct resubmit_settings settings;
	int stop_fd; /* readable: it is over */
	atomic_bool ending;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t work;
	STAILQ_HEAD(, resubmit_job) jobs;
	pthread_t *threads;
	unsigned n_threads, idle;
	bool stopping;
};

/* A connection. */
struct resubmit_line {
	const struct resubmit *resubmit;
	int fd;		      /* -1: there is none */
	bool dead;	      /* and never will be */
	bool used;	      /* it took mail before */
	bool eight_bit, utf8; /* what Postfix offers */
	bool size;
	int64_t deadline_ms;
	const char *problem; /* why the dialogue ended; static */
	/* The last reply. */
	int code;
	char text[SMTP_REPLY_TEXT_MAX + 1]; /* of its lines, behind the code */
	char in[RESUBMIT_LINE_MAX];
	size_t n_in;
};

/* --- bytes ---------------------------------------------------------------- */

static void
hang_up(struct resubmit_line *l)
{
	if (l->fd >= 0)
		(void)close(l->fd);
	l->fd = -1;
	l->used = false;
	l->n_in = 0;
}

static bool
fail(struct resubmit_line *l, const char *problem)
{
	l->problem = problem;
	return false;
}

/* Until the connection has these events, or the end of something. */
static bool
wait_for(struct resubmit_line *l, short events)
{
	struct pollfd fds[2] = {
		{ .fd = l->fd, .events = events },
		{ .fd = l->resubmit->stop_fd, .events = POLLIN },
	};

	for (;;) {
		int64_t left = l->deadline_ms - clock_ms();
		int n;

		if (left <= 0)
			return fail(l, "no answer in time");
		n = poll(fds, 2, (int)(left < 60000 ? left : 60000));
		if (n < 0 && errno != EINTR)
			return fail(l, "poll failed");
		if (n > 0 && fds[1].revents != 0)
			return fail(l, "txmilter is stopping");
		if (n > 0 && fds[0].revents != 0)
			return true;
	}
}

static bool
send_all(struct resubmit_line *l, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(l->fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			if (!wait_for(l, POLLOUT))
				return false;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(l, "the connection was lost");
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static bool
receive(struct resubmit_line *l)
{
	for (;;) {
		ssize_t n =
		    recv(l->fd, l->in + l->n_in, sizeof(l->in) - l->n_in, 0);

		if (n > 0) {
			l->n_in += (size_t)n;
			return true;
		}
		if (n == 0)
			return fail(l, "the connection was closed");
		if (errno == EAGAIN) {
			if (!wait_for(l, POLLIN))
				return false;
		} else if (errno != EINTR) {
			return fail(l, "the connection was lost");
		}
	}
}

/* --- replies -------------------------------------------------------------- */

/* The words of a reply's lines, one behind the other. */
static void
keep_text(struct resubmit_line *l, const char *text, size_t len)
{
	size_t n = strlen(l->text);

	if (n > 0 && n + 1 < sizeof(l->text))
		l->text[n++] = ' ';
	smtp_reply_safe_text(l->text + n, sizeof(l->text) - n, text, len);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* What EHLO tells, a line a word. */
static void
note_offer(struct resubmit_line *l, const char *word, size_t len)
{
	if (len == 8 && strncasecmp(word, "8BITMIME", 8) == 0)
		l->eight_bit = true;
	if (len == 8 && strncasecmp(word, "SMTPUTF8", 8) == 0)
		l->utf8 = true;
	if (len >= 4 && strncasecmp(word, "SIZE", 4) == 0 &&
	    (len == 4 || word[4] == ' '))
		l->size = true;
}

/* One line, without its end. False: it is none of a reply. */
static bool
read_line(struct resubmit_line *l, const char *s, size_t len, bool *last_r)
{
	if (len > 0 && s[len - 1] == '\r')
		len--;
	if (len < 3 || s[0] < '2' || s[0] > '5' || !is_digit(s[1]) ||
	    !is_digit(s[2]) || (len > 3 && s[3] != ' ' && s[3] != '-'))
		return fail(l, "the answer is not SMTP");
	l->code = (s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0');
	*last_r = len == 3 || s[3] == ' ';
	if (len > 4) {
		note_offer(l, s + 4, len - 4);
		keep_text(l, s + 4, len - 4);
	}
	return true;
}

/* A whole reply; its code is the last line's. */
static bool
read_reply(struct resubmit_line *l)
{
	bool last = false;

	l->text[0] = '\0';
	while (!last) {
		const char *lf = memchr(l->in, '\n', l->n_in);
		size_t n;

		if (lf == NULL && l->n_in == sizeof(l->in))
			return fail(l, "the answer is too long");
		if (lf == NULL) {
			if (!receive(l))
				return false;
			continue;
		}
		n = (size_t)(lf - l->in);
		if (!read_line(l, l->in, n, &last))
			return false;
		l->n_in -= n + 1;
		memmove(l->in, lf + 1, l->n_in);
	}
	return true;
}

/* True when the reply is of that hundred. */
static bool
expect(struct resubmit_line *l, int hundred)
{
	return read_reply(l) && l->code / 100 == hundred;
}

/* --- the dialogue --------------------------------------------------------- */

static bool
dial(struct resubmit_line *l)
{
	const int on = 1;
	int error = 0;
	socklen_t len = sizeof(error);

	l->fd = listener_connect(l->resubmit->settings.to);
	if (l->fd < 0)
		return fail(l, "nobody is there");
	/* A dialogue of small pieces would wait for acknowledgements; a UNIX
	 * socket knows no such thing. */
	(void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!wait_for(l, POLLOUT))
		return false;
	if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 ||
	    error != 0)
		return fail(l, "nobody is there");
	l->eight_bit = false;
	l->utf8 = false;
	l->size = false;
	return expect(l, 2) && send_all(l, HELLO, strlen(HELLO)) &&
	       expect(l, 2);
}

/* What came before is over: a reply left unread would be taken for the next
 * one's. */
static bool
is_open(struct resubmit_line *l)
{
	char c;

	return l->fd >= 0 && l->n_in == 0 &&
	       recv(l->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       (errno == EAGAIN || errno == EINTR);
}

static bool
command(struct resubmit_line *l, const char *text, const char *address,
	const char *more)
{
	DYNBUF_AUTO line;

	dynbuf_init(&line, COMMAND_MAX);
	if (strpbrk(address, "\r\n") != NULL ||
	    !dynbuf_addf(&line, "%s:<%s>%s\r\n", text, address, more))
		return fail(l, "an address is too long");
	return send_all(l, line.data, line.len);
}

static bool
is_ascii(const char *s)
{
	return utf8_is_ascii(s, strlen(s));
}

static bool
begin_mail(struct resubmit_line *l, const struct resubmit_mail *m)
{
	bool utf8 = m->utf8 || !is_ascii(m->sender) || !is_ascii(m->recipient);
	bool eight = m->eight_bit || !utf8_is_ascii(m->head, m->head_len) ||
		     !utf8_is_ascii(m->body, m->body_len);
	char size[32] = "";
	char more[64];

	if (l->size)
		(void)snprintf(size, sizeof(size), " SIZE=%zu",
			       m->head_len + m->body_len);
	(void)snprintf(more, sizeof(more), "%s%s%s", size,
		       eight && l->eight_bit ? " BODY=8BITMIME" : "",
		       utf8 && l->utf8 ? " SMTPUTF8" : "");
	return command(l, "MAIL FROM", m->sender, more) && expect(l, 2);
}

/* Dots at the begin of a line are doubled. */
static bool
send_data(struct resubmit_line *l, const char *data, size_t len)
{
	bool at_begin = true;

	while (len > 0) {
		const char *lf = memchr(data, '\n', len);
		size_t n = lf != NULL ? (size_t)(lf - data) + 1 : len;
		size_t block = n;

		if (at_begin && *data == '.' && !send_all(l, ".", 1))
			return false;
		/* As many lines at once as begin with none. */
		while (lf != NULL && block < len && block < WRITE_SIZE &&
		       data[block] != '.') {
			lf = memchr(data + block, '\n', len - block);
			block = lf != NULL ? (size_t)(lf - data) + 1 : len;
		}
		if (!send_all(l, data, block))
			return false;
		at_begin = lf != NULL;
		data += block;
		len -= block;
	}
	return true;
}

static bool
ends_line(const char *data, size_t len)
{
	return len >= 2 && memcmp(data + len - 2, "\r\n", 2) == 0;
}

static bool
send_message(struct resubmit_line *l, const struct resubmit_mail *m)
{
	bool ended = m->body_len > 0 ? ends_line(m->body, m->body_len)
				     : ends_line(m->head, m->head_len);

	return send_data(l, m->head, m->head_len) &&
	       send_data(l, m->body, m->body_len) &&
	       send_all(l, ended ? ".\r\n" : "\r\n.\r\n", ended ? 3 : 5) &&
	       expect(l, 2);
}

static bool
run_dialogue(struct resubmit_line *l, const struct resubmit_mail *m)
{
	return command(l, "RCPT TO", m->recipient, "") && expect(l, 2) &&
	       send_all(l, "DATA\r\n", 6) && expect(l, 3) && send_message(l, m);
}

/* On a connection that may have been closed since it was used: then on another
 * one. */
static bool
start_mail(struct resubmit_line *l, const struct resubmit_mail *m, bool *mail_r)
{
	*mail_r = false;
	if (l->used && is_open(l)) {
		*mail_r = true;
		l->code = 0;
		if (begin_mail(l, m))
			return true;
		/* Refused, but not by a good-bye. */
		if (l->code >= 400 && l->code != 421)
			return false;
	}
	*mail_r = false;
	hang_up(l);
	l->problem = NULL;
	l->code = 0;
	if (!dial(l))
		return false;
	*mail_r = true;
	l->code = 0;
	return begin_mail(l, m);
}

/* "5.1.1 No such user": the enhanced code, when it is one of that class. */
static const char *
take_enhanced(const char *text, int code, char enhanced_r[12])
{
	size_t n = strcspn(text, " ");

	memcpy(enhanced_r, "0.0.0", 6);
	enhanced_r[0] = (char)('0' + code / 100);
	if (n < 5 || n > 11 || text[0] != '0' + code / 100 || text[1] != '.' ||
	    strspn(text, "0123456789.") != n)
		return text;
	memcpy(enhanced_r, text, n);
	enhanced_r[n] = '\0';
	return text + n + (text[n] == ' ');
}

static void
say_why(const struct resubmit_line *l, bool in_mail, struct smtp_reply *reply_r)
{
	int code = in_mail && l->code >= 500 ? l->code : 451;
	char enhanced[12];
	const char *text;

	if (l->problem != NULL) {
		smtp_reply_set(reply_r, 451, "4.4.2",
			       "Postfix did not take the copy: %s", l->problem);
		return;
	}
	text = take_enhanced(l->text, l->code, enhanced);
	if (code == 451)
		(void)snprintf(enhanced, sizeof(enhanced), "4.3.0");
	smtp_reply_set(reply_r, code, enhanced,
		       "Postfix did not take the copy: %s", text);
}

bool
resubmit_is_ending(const struct resubmit_line *l)
{
	return l->resubmit != NULL && atomic_load(&l->resubmit->ending);
}

void
resubmit_send(struct resubmit_line *l, const struct resubmit_mail *m,
	      struct smtp_reply *reply_r)
{
	bool in_mail;

	l->deadline_ms = m->deadline_ms;
	l->problem = NULL;
	l->code = 0;
	if (l->dead) {
		smtp_reply_set(reply_r, 451, "4.3.2", "No thread for the copy");
		return;
	}
	if (start_mail(l, m, &in_mail) && run_dialogue(l, m)) {
		l->used = true;
		smtp_reply_set(reply_r, 250, "2.0.0", "Taken by Postfix");
		return;
	}
	say_why(l, in_mail, reply_r);
	hang_up(l);
}

/* --- threads -------------------------------------------------------------- */

static void
lock(struct resubmit *r)
{
	if (pthread_mutex_lock(&r->lock) != 0)
		abort();
}

static void
unlock(struct resubmit *r)
{
	if (pthread_mutex_unlock(&r->lock) != 0)
		abort();
}

/* With the lock: until there may be work, or nothing was to do for long. */
static bool
wait_for_work(struct resubmit *r, bool connected)
{
	struct timespec until;
	unsigned ms = r->settings.idle_ms;
	int rc;

	if (!connected) {
		rc = pthread_cond_wait(&r->work, &r->lock);
	} else {
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += (long)(ms % 1000) * 1000000L;
		until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
		rc = pthread_cond_clockwait(&r->work, &r->lock, CLOCK_MONOTONIC,
					    &until);
	}
	if (rc != 0 && rc != ETIMEDOUT)
		abort();
	return rc == 0;
}

static void
leave(struct resubmit_line *l)
{
	if (l->fd >= 0 && is_open(l))
		(void)send(l->fd, "QUIT\r\n", 6, MSG_NOSIGNAL | MSG_DONTWAIT);
	hang_up(l);
}

/* With the lock. NULL: it is over, and nothing is left. */
static struct resubmit_job *
next_job(struct resubmit *r, struct resubmit_line *l)
{
	struct resubmit_job *job;

	while ((job = STAILQ_FIRST(&r->jobs)) == NULL && !r->stopping) {
		r->idle++;
		if (!wait_for_work(r, l->fd >= 0) && STAILQ_EMPTY(&r->jobs)) {
			r->idle--;
			unlock(r);
			leave(l);
			lock(r);
			continue;
		}
		r->idle--;
	}
	if (job != NULL)
		STAILQ_REMOVE_HEAD(&r->jobs, next);
	return job;
}

static void *
work(void *arg)
{
	struct resubmit *r = arg;
	struct resubmit_line *l = need(calloc(1, sizeof(*l)));
	struct resubmit_job *job;

	l->resubmit = r;
	l->fd = -1;
	lock(r);
	while ((job = next_job(r, l)) != NULL) {
		unlock(r);
		job->run(job, l);
		lock(r);
	}
	unlock(r);
	leave(l);
	free(l);
	return NULL;
}

/* With the lock. Signals are main's. */
static bool
add_thread(struct resubmit *r)
{
	sigset_t all, old;

	if (r->n_threads == r->settings.connections)
		return true;
	(void)sigfillset(&all);
	if (pthread_sigmask(SIG_SETMASK, &all, &old) != 0)
		return r->n_threads > 0;
	if (pthread_create(&r->threads[r->n_threads], NULL, work, r) == 0) {
		(void)pthread_setname_np(r->threads[r->n_threads], "resubmit");
		r->n_threads++;
	}
	if (pthread_sigmask(SIG_SETMASK, &old, NULL) != 0)
		abort();
	return r->n_threads > 0;
}

struct resubmit *
resubmit_new(const struct resubmit_settings *settings)
{
	struct resubmit *r = need(calloc(1, sizeof(*r)));

	r->settings = *settings;
	if (r->settings.connections == 0)
		r->settings.connections = RESUBMIT_CONNECTIONS;
	if (r->settings.idle_ms == 0)
		r->settings.idle_ms = RESUBMIT_IDLE_MS;
	r->threads = need(calloc(r->settings.connections, sizeof(*r->threads)));
	r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	STAILQ_INIT(&r->jobs);
	if (r->stop_fd < 0 || pthread_mutex_init(&r->lock, NULL) != 0 ||
	    pthread_cond_init(&r->work, NULL) != 0)
		abort();
	return r;
}

void
resubmit_submit(struct resubmit *r, struct resubmit_job *job)
{
	struct resubmit_line none = { .fd = -1, .dead = true };
	bool served = true;

	lock(r);
	/* Each waiting job has a thread that wakes for it, or one is made. */
	if (r->idle == 0 || !STAILQ_EMPTY(&r->jobs))
		served = add_thread(r);
	if (served) {
		STAILQ_INSERT_TAIL(&r->jobs, job, next);
		if (pthread_cond_signal(&r->work) != 0)
			abort();
	}
	unlock(r);
	if (served)
		return;
	log_error("resubmit", "cannot make a thread");
	job->run(job, &none);
}

void
resubmit_end(struct resubmit *r)
{
	const uint64_t one = 1;

	atomic_store(&r->ending, true);
	if (write(r->stop_fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

void
resubmit_stop(struct resubmit **rp)
{
	struct resubmit *r = *rp;

	if (r == NULL)
		return;
	*rp = NULL;
	resubmit_end(r);
	lock(r);
	r->stopping = true;
	if (pthread_cond_broadcast(&r->work) != 0)
		abort();
	unlock(r);
	for (unsigned i = 0; i < r->n_threads; i++)
		(void)pthread_join(r->threads[i], NULL);
	(void)pthread_cond_destroy(&r->work);
	(void)pthread_mutex_destroy(&r->lock);
	(void)close(r->stop_fd);
	free(r->threads);
	free(r);
}
