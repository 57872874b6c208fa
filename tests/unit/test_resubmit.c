/* SPDX-License-Identifier: MIT */
/*
 * Mails to a scripted Postfix: each row is what it answers, and what is made of
 * that. What it read is compared byte by byte.
 */
#include "milter/resubmit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "milter/clock.h"
#include "milter/listener.h"
#include "policy/dynbuf.h"
#include "policy/smtp_reply.h"

#define READ_MAX (8 * 1024 * 1024)
#define SILENCE ""

/* --- the server ----------------------------------------------------------- */

/* By what they answer; NULL: the usual; SILENCE: nothing; "-": it hangs up. */
struct script {
	const char *greeting, *hello, *mail, *rcpt, *data, *dot;
	/* After so many mails the connection is closed; 0: never. */
	unsigned mails;
};

struct server {
	char path[64], spec[80];
	int fd;
	pthread_t thread;
	pthread_mutex_t lock; /* guards all below */
	struct script script;
	struct dynbuf read; /* all that came */
	unsigned connections;
	unsigned open;
};

static bool
say(int fd, const char *answer, const char *usual)
{
	if (answer == NULL)
		answer = usual;
	if (*answer == '-')
		return false;
	if (*answer != '\0' &&
	    (send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0 ||
	     send(fd, "\r\n", 2, MSG_NOSIGNAL) < 0))
		return false;
	return true;
}

static bool
get_line(struct server *s, FILE *in, char *line, size_t size)
{
	if (fgets(line, (int)size, in) == NULL)
		return false;
	pthread_mutex_lock(&s->lock);
	dynbuf_adds(&s->read, line);
	pthread_mutex_unlock(&s->lock);
	return true;
}

static bool
take_message(struct server *s, FILE *in)
{
	static _Thread_local char line[1 << 20];

	while (get_line(s, in, line, sizeof(line))) {
		if (strcmp(line, ".\r\n") == 0)
			return true;
	}
	return false;
}

static bool
answer_line(struct server *s, FILE *in, int fd, const char *line,
	    const struct script *t)
{
	if (strncmp(line, "EHLO ", 5) == 0)
		return say(fd, t->hello,
			   "250-here\r\n250-8BITMIME\r\n250 SMTPUTF8");
	if (strncmp(line, "MAIL ", 5) == 0)
		return say(fd, t->mail, "250 2.1.0 Ok");
	if (strncmp(line, "RCPT ", 5) == 0)
		return say(fd, t->rcpt, "250 2.1.5 Ok");
	if (strcmp(line, "DATA\r\n") != 0)
		return false;
	if (!say(fd, t->data, "354 go on"))
		return false;
	if (t->data != NULL && t->data[0] != '3')
		return true;
	return take_message(s, in) &&
	       say(fd, t->dot, "250 2.0.0 Ok: queued as X");
}

static void
serve(struct server *s, int fd)
{
	FILE *in = fdopen(fd, "r");
	struct script t;
	unsigned mails = 0;
	char line[8192];
	bool goes_on;

	if (in == NULL)
		abort();
	pthread_mutex_lock(&s->lock);
	t = s->script;
	s->connections++;
	s->open++;
	pthread_mutex_unlock(&s->lock);
	goes_on = say(fd, t.greeting, "220 here");
	while (goes_on && get_line(s, in, line, sizeof(line))) {
		goes_on = answer_line(s, in, fd, line, &t);
		mails += strcmp(line, "DATA\r\n") == 0;
		goes_on = goes_on && (t.mails == 0 || mails < t.mails);
	}
	(void)fclose(in);
	pthread_mutex_lock(&s->lock);
	s->open--;
	pthread_mutex_unlock(&s->lock);
}

static void *
serve_one(void *arg)
{
	void **args = arg;

	serve(args[0], (int)(intptr_t)args[1]);
	free(args);
	return NULL;
}

static void *
accept_all(void *arg)
{
	struct server *s = arg;
	int fd;

	while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
		void **args = calloc(2, sizeof(*args));
		pthread_t thread;

		if (args == NULL)
			abort();
		args[0] = s;
		args[1] = (void *)(intptr_t)fd;
		if (pthread_create(&thread, NULL, serve_one, args) != 0)
			abort();
		(void)pthread_detach(thread);
	}
	return NULL;
}

static struct server server;

static void
play(const struct script *t)
{
	static const struct script usual;

	pthread_mutex_lock(&server.lock);
	server.script = t != NULL ? *t : usual;
	server.connections = 0;
	dynbuf_truncate(&server.read, 0);
	pthread_mutex_unlock(&server.lock);
}

static unsigned
connections(void)
{
	unsigned n;

	pthread_mutex_lock(&server.lock);
	n = server.connections;
	pthread_mutex_unlock(&server.lock);
	return n;
}

static int
start_server(void **state)
{
	char *error;
	int flags;

	(void)state;
	(void)snprintf(server.path, sizeof(server.path),
		       "/tmp/test_resubmit.%d.sock", (int)getpid());
	(void)snprintf(server.spec, sizeof(server.spec), "unix:%s",
		       server.path);
	dynbuf_init(&server.read, READ_MAX);
	assert_int_equal(pthread_mutex_init(&server.lock, NULL), 0);
	server.fd = listener_open(server.spec, NULL, &error);
	assert_true(server.fd >= 0);
	/* It is to wait. */
	flags = fcntl(server.fd, F_GETFL);
	assert_int_equal(fcntl(server.fd, F_SETFL, flags & ~O_NONBLOCK), 0);
	return pthread_create(&server.thread, NULL, accept_all, &server);
}

static bool
is_idle(void)
{
	bool idle;

	pthread_mutex_lock(&server.lock);
	idle = server.open == 0;
	pthread_mutex_unlock(&server.lock);
	return idle;
}

static int
stop_server(void **state)
{
	(void)state;
	/* accept() says so then. */
	(void)shutdown(server.fd, SHUT_RDWR);
	assert_int_equal(pthread_join(server.thread, NULL), 0);
	while (!is_idle())
		(void)usleep(1000);
	(void)close(server.fd);
	(void)unlink(server.path);
	dynbuf_clear(&server.read);
	return 0;
}

/* --- a job ---------------------------------------------------------------- */

#define MAILS_MAX 8

struct task {
	struct resubmit_job job; /* first */
	struct resubmit_mail mails[MAILS_MAX];
	struct smtp_reply replies[MAILS_MAX];
	size_t n;
	unsigned runs;
	bool ending;
	sem_t done;
};

static void
run(struct resubmit_job *job, struct resubmit_line *line)
{
	struct task *t = (struct task *)(void *)job;

	t->runs++;
	for (size_t i = 0; i < t->n; i++)
		resubmit_send(line, &t->mails[i], &t->replies[i]);
	t->ending = resubmit_is_ending(line);
	if (sem_post(&t->done) != 0)
		abort();
}

static void
add_mail(struct task *t, const char *sender, const char *rcpt, const char *data,
	 unsigned ms)
{
	const char *end = strstr(data, "\r\n");
	size_t head = end != NULL ? (size_t)(end - data) + 2 : 0;

	t->mails[t->n++] = (struct resubmit_mail){
		.sender = sender,
		.recipient = rcpt,
		.head = data,
		.head_len = head,
		.body = data + head,
		.body_len = strlen(data) - head,
		.deadline_ms = clock_ms() + ms,
	};
}

static void
begin_task(struct task *t)
{
	*t = (struct task){ .job.run = run };
	assert_int_equal(sem_init(&t->done, 0, 0), 0);
}

static void
finish(struct task *t)
{
	while (sem_wait(&t->done) != 0)
		assert_int_equal(errno, EINTR);
	assert_int_equal(t->runs, 1);
	assert_int_equal(sem_destroy(&t->done), 0);
}

static struct resubmit *
start(unsigned threads, unsigned idle_ms)
{
	const struct resubmit_settings settings = {
		.to = server.spec,
		.connections = threads,
		.idle_ms = idle_ms,
	};

	return resubmit_new(&settings);
}

static void
assert_reply(const char *what, const struct smtp_reply *r, const char *want)
{
	char got[SMTP_REPLY_TEXT_MAX + 32];

	(void)snprintf(got, sizeof(got), "%d %s %s", r->code, r->enhanced,
		       r->text);
	if (strncmp(got, want, strlen(want)) != 0)
		fail_msg("%s: %s", what, got);
}

#define NOT "Postfix did not take the copy: "

static const struct {
	const char *name;
	struct script script;
	const char *want;
	unsigned ms; /* 0: enough */
} rows[] = {
	{ "taken", { .greeting = NULL }, "250 2.0.0 ", 0 },
	{ "replies of several lines",
	  { .greeting = "220-a\r\n220 b",
	    .mail = "250-2.1.0 a\r\n250 2.1.0 b",
	    .dot = "250" },
	  "250 2.0.0 ",
	  0 },
	{ "greeting says no",
	  { .greeting = "554 5.7.1 not you" },
	  "451 4.3.0 " NOT "not you",
	  0 },
	{ "EHLO says no",
	  { .hello = "502 5.5.1 what" },
	  "451 4.3.0 " NOT "what",
	  0 },
	{ "MAIL later",
	  { .mail = "452 4.3.1 disk full" },
	  "451 4.3.0 " NOT "disk full",
	  0 },
	{ "MAIL never",
	  { .mail = "553 5.1.7 bad sender" },
	  "553 5.1.7 " NOT "bad sender",
	  0 },
	{ "RCPT later",
	  { .rcpt = "450 4.1.1 wait" },
	  "451 4.3.0 " NOT "wait",
	  0 },
	{ "RCPT never",
	  { .rcpt = "550 5.1.1 nobody" },
	  "550 5.1.1 " NOT "nobody",
	  0 },
	{ "DATA never",
	  { .data = "554 no valid recipients" },
	  "554 5.0.0 " NOT "no valid recipients",
	  0 },
	{ "DATA says 250",
	  { .data = "250 2.0.0 what" },
	  "451 4.3.0 " NOT "what",
	  0 },
	{ "refused at the end",
	  { .dot = "550-5.7.1 first\r\n550 5.7.1 second" },
	  "550 5.7.1 " NOT "first 5.7.1 second",
	  0 },
	{ "later at the end",
	  { .dot = "451 4.7.1 try again" },
	  "451 4.3.0 " NOT "try again",
	  0 },
	{ "an enhanced code of another class",
	  { .dot = "550 4.7.1 x" },
	  "550 5.0.0 " NOT "4.7.1 x",
	  0 },
	{ "an over-long enhanced code",
	  { .dot = "550 5.7.123456789 x" },
	  "550 5.0.0 " NOT "5.7.123456789 x",
	  0 },
	{ "no text", { .dot = "550" }, "550 5.0.0 Postfix did not", 0 },
	{ "closed at once",
	  { .greeting = "-" },
	  "451 4.4.2 " NOT "the conn",
	  0 },
	{ "closed at RCPT", { .rcpt = "-" }, "451 4.4.2 " NOT "the conn", 0 },
	{ "closed behind the dot",
	  { .dot = "-" },
	  "451 4.4.2 " NOT "the conn",
	  0 },
	{ "421 at RCPT",
	  { .rcpt = "421 4.3.2 bye" },
	  "451 4.3.0 " NOT "bye",
	  0 },
	{ "silence",
	  { .greeting = SILENCE },
	  "451 4.4.2 " NOT "no answer in",
	  100 },
	{ "silence behind the dot",
	  { .dot = SILENCE },
	  "451 4.4.2 " NOT "no answer in",
	  100 },
	{ "no SMTP",
	  { .greeting = "HTTP/1.1 400" },
	  "451 4.4.2 " NOT "the answer is not SMTP",
	  0 },
	{ "a code without end",
	  { .mail = "2500 x" },
	  "451 4.4.2 " NOT "the answer is not SMTP",
	  0 },
	{ "an empty line",
	  { .mail = "\r\n" },
	  "451 4.4.2 " NOT "the answer is not SMTP",
	  0 },
};

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct resubmit *r = start(1, 0);
		struct task t;

		play(&rows[i].script);
		begin_task(&t);
		add_mail(&t, "a@x", "b@y", "S: x\r\n\r\nhi\r\n",
			 rows[i].ms > 0 ? rows[i].ms : 20000);
		resubmit_submit(r, &t.job);
		finish(&t);
		assert_reply(rows[i].name, &t.replies[0], rows[i].want);
		resubmit_stop(&r);
		assert_null(r);
	}
}

static void
test_long_answer(void **state)
{
	static char longer[RESUBMIT_LINE_MAX + 10];
	struct script script = { .mail = longer };
	struct resubmit *r = start(1, 0);
	struct task t;

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	memcpy(longer, "250 ", 4);
	play(&script);
	begin_task(&t);
	add_mail(&t, "a@x", "b@y", "x\r\n", 20000);
	resubmit_submit(r, &t.job);
	finish(&t);
	assert_reply("long", &t.replies[0],
		     "451 4.4.2 " NOT "the answer is too long");
	resubmit_stop(&r);
}

static void
test_nobody_there(void **state)
{
	const struct resubmit_settings settings = {
		.to = "unix:/nonexistent/socket"
	};
	struct resubmit *r = resubmit_new(&settings);
	struct task t;

	(void)state;
	begin_task(&t);
	add_mail(&t, "a@x", "b@y", "x\r\n", 20000);
	resubmit_submit(r, &t.job);
	finish(&t);
	assert_reply("nobody", &t.replies[0],
		     "451 4.4.2 " NOT "nobody is there");
	resubmit_stop(&r);
	resubmit_stop(&r);
}

/* What is read on the other side. */
static const struct {
	const char *name, *sender, *recipient, *data, *want;
} dialogues[] = {
	{ "plain", "a@x", "b@y", "S: x\r\n\r\nhi\r\n",
	  "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nS: "
	  "x\r\n\r\nhi\r\n.\r\n" },
	{ "null sender, no last line end", "", "\"a b\"@y", "S: x",
	  "MAIL FROM:<>\r\nRCPT TO:<\"a b\"@y>\r\nDATA\r\nS: x\r\n.\r\n" },
	{ "dots", "a@x", "b@y", ".\r\n..\r\na.\r\n.b\r\n\r\n.",
	  "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n"
	  "..\r\n...\r\na.\r\n..b\r\n\r\n..\r\n.\r\n" },
	{ "8 bits", "a@x", "b@y", "S: \xc3\xa9\r\n",
	  "MAIL FROM:<a@x> BODY=8BITMIME\r\nRCPT TO:<b@y>\r\nDATA\r\n"
	  "S: \xc3\xa9\r\n.\r\n" },
	{ "UTF-8 recipient", "a@x", "\xc3\xa9@y", "S: x\r\n",
	  "MAIL FROM:<a@x> SMTPUTF8\r\nRCPT TO:<\xc3\xa9@y>\r\nDATA\r\n"
	  "S: x\r\n.\r\n" },
	{ "UTF-8 all over", "\xc3\xa9@x", "\xc3\xa9@y", "\xc3\xa9\r\n",
	  "MAIL FROM:<\xc3\xa9@x> BODY=8BITMIME SMTPUTF8\r\n"
	  "RCPT TO:<\xc3\xa9@y>\r\nDATA\r\n\xc3\xa9\r\n.\r\n" },
	{ "nothing", "a@x", "b@y", "",
	  "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n\r\n.\r\n" },
};

#define N_DIALOGUES (sizeof(dialogues) / sizeof(dialogues[0]))

/* All on one connection. */
static void
test_dialogues(void **state)
{
	struct resubmit *r = start(1, 0);
	DYNBUF_AUTO want;
	struct task t;

	(void)state;
	assert_true(N_DIALOGUES <= MAILS_MAX);
	play(NULL);
	begin_task(&t);
	dynbuf_init(&want, READ_MAX);
	dynbuf_adds(&want, "EHLO localhost\r\n");
	for (size_t i = 0; i < N_DIALOGUES; i++) {
		add_mail(&t, dialogues[i].sender, dialogues[i].recipient,
			 dialogues[i].data, 20000);
		dynbuf_adds(&want, dialogues[i].want);
	}
	resubmit_submit(r, &t.job);
	finish(&t);
	for (size_t i = 0; i < N_DIALOGUES; i++)
		assert_reply(dialogues[i].name, &t.replies[i], "250 ");
	pthread_mutex_lock(&server.lock);
	assert_string_equal(dynbuf_str(&server.read), dynbuf_str(&want));
	pthread_mutex_unlock(&server.lock);
	assert_int_equal(connections(), 1);
	resubmit_stop(&r);
}

/* What Postfix does not offer is not asked for. */
static void
test_offers_nothing(void **state)
{
	const struct script script = { .hello = "250 here" };
	struct resubmit *r = start(1, 0);
	struct task t;

	(void)state;
	play(&script);
	begin_task(&t);
	add_mail(&t, "\xc3\xa9@x", "b@y", "\xc3\xa9\r\n", 20000);
	resubmit_submit(r, &t.job);
	finish(&t);
	assert_reply("nothing", &t.replies[0], "250 ");
	pthread_mutex_lock(&server.lock);
	assert_non_null(
	    strstr(dynbuf_str(&server.read), "MAIL FROM:<\xc3\xa9@x>\r\n"));
	pthread_mutex_unlock(&server.lock);
	resubmit_stop(&r);
}

/* What was said of the message before is said again, and how long it is. */
static void
test_parameters(void **state)
{
	const struct script script = {
		.hello = "250-here\r\n250-SIZE 1000\r\n250-8BITMIME\r\n"
			 "250 SMTPUTF8"
	};
	struct resubmit *r = start(1, 0);
	struct task t;

	(void)state;
	play(&script);
	begin_task(&t);
	for (int i = 0; i < 3; i++)
		add_mail(&t, "a@x", "b@y", "S: x\r\n\r\n.\r\n", 20000);
	t.mails[1].eight_bit = true;
	t.mails[2].utf8 = true;
	resubmit_submit(r, &t.job);
	finish(&t);
	for (int i = 0; i < 3; i++)
		assert_reply("parameters", &t.replies[i], "250 ");
	pthread_mutex_lock(&server.lock);
	assert_non_null(
	    strstr(dynbuf_str(&server.read), "MAIL FROM:<a@x> SIZE=11\r\n"));
	assert_non_null(strstr(dynbuf_str(&server.read),
			       "MAIL FROM:<a@x> SIZE=11 BODY=8BITMIME\r\n"));
	assert_non_null(strstr(dynbuf_str(&server.read),
			       "MAIL FROM:<a@x> SIZE=11 SMTPUTF8\r\n"));
	pthread_mutex_unlock(&server.lock);
	resubmit_stop(&r);
}

static void
test_bad_addresses(void **state)
{
	static char huge[5000];
	struct resubmit *r = start(1, 0);
	struct task t;

	(void)state;
	memset(huge, 'x', sizeof(huge) - 1);
	play(NULL);
	begin_task(&t);
	add_mail(&t, "a@x", "b@y>\r\nRCPT TO:<c@z", "x\r\n", 20000);
	add_mail(&t, huge, "b@y", "x\r\n", 20000);
	add_mail(&t, "a@x", "b@y", "x\r\n", 20000);
	resubmit_submit(r, &t.job);
	finish(&t);
	assert_reply("CRLF", &t.replies[0], "451 4.4.2 ");
	assert_reply("huge", &t.replies[1], "451 4.4.2 ");
	assert_reply("after them", &t.replies[2], "250 ");
	resubmit_stop(&r);
}

/* Larger than what is written at once, with dots everywhere. */
static void
test_large(void **state)
{
	struct resubmit *r = start(1, 0);
	DYNBUF_AUTO data, want;
	struct task t;

	(void)state;
	dynbuf_init(&data, READ_MAX);
	dynbuf_init(&want, READ_MAX);
	dynbuf_adds(&want, "DATA\r\n");
	for (unsigned i = 0; i < 40000; i++) {
		const char *line = i % 7 == 0 ? ".dot\r\n" : "line of text\r\n";

		dynbuf_adds(&data, line);
		dynbuf_adds(&want, i % 7 == 0 ? "..dot\r\n" : line);
	}
	dynbuf_adds(&want, ".\r\n");
	play(NULL);
	begin_task(&t);
	add_mail(&t, "a@x", "b@y", dynbuf_str(&data), 60000);
	resubmit_submit(r, &t.job);
	finish(&t);
	assert_reply("large", &t.replies[0], "250 ");
	pthread_mutex_lock(&server.lock);
	assert_string_equal(strstr(dynbuf_str(&server.read), "DATA\r\n"),
			    dynbuf_str(&want));
	pthread_mutex_unlock(&server.lock);
	resubmit_stop(&r);
}

/* A kept connection that Postfix closed meanwhile is no reason to say later. */
static void
test_closed_between(void **state)
{
	const struct script script = { .mails = 1 };
	struct resubmit *r = start(1, 0);
	struct task t;

	(void)state;
	play(&script);
	begin_task(&t);
	for (int i = 0; i < 4; i++)
		add_mail(&t, "a@x", "b@y", "x\r\n", 20000);
	resubmit_submit(r, &t.job);
	finish(&t);
	for (int i = 0; i < 4; i++)
		assert_reply("closed", &t.replies[i], "250 ");
	assert_int_equal(connections(), 4);
	resubmit_stop(&r);
}

/* After a refusal the next mail has a connection of its own. */
static void
test_after_a_refusal(void **state)
{
	const struct script script = { .rcpt = "550 5.1.1 nobody" };
	struct resubmit *r = start(1, 0);
	struct task t;

	(void)state;
	play(&script);
	begin_task(&t);
	for (int i = 0; i < 3; i++)
		add_mail(&t, "a@x", "b@y", "x\r\n", 20000);
	resubmit_submit(r, &t.job);
	finish(&t);
	for (int i = 0; i < 3; i++)
		assert_reply("refused", &t.replies[i], "550 5.1.1 ");
	assert_int_equal(connections(), 3);
	resubmit_stop(&r);
}

/* --- threads -------------------------------------------------------------- */

#define TASKS 60

static void
test_many(void **state)
{
	static struct task tasks[TASKS];
	struct resubmit *r = start(4, 5);

	(void)state;
	play(NULL);
	for (size_t i = 0; i < TASKS; i++) {
		begin_task(&tasks[i]);
		add_mail(&tasks[i], "a@x", "b@y", "x\r\n", 20000);
		add_mail(&tasks[i], "a@x", "b@y", "x\r\n", 20000);
		resubmit_submit(r, &tasks[i].job);
		/* Some come when the connections were closed again. */
		if (i % 20 == 19)
			(void)usleep(20000);
	}
	for (size_t i = 0; i < TASKS; i++) {
		finish(&tasks[i]);
		assert_reply("many", &tasks[i].replies[0], "250 ");
		assert_reply("many", &tasks[i].replies[1], "250 ");
	}
	assert_true(connections() >= 1 && connections() <= 4 * TASKS);
	resubmit_stop(&r);
}

/* Whoever waits in the queue, or for an answer, hears that it is over. */
static void
test_stop(void **state)
{
	const struct script script = { .dot = SILENCE };
	static struct task tasks[10];
	struct resubmit *r = start(2, 0);

	(void)state;
	play(&script);
	for (size_t i = 0; i < 10; i++) {
		begin_task(&tasks[i]);
		add_mail(&tasks[i], "a@x", "b@y", "x\r\n", 600000);
		resubmit_submit(r, &tasks[i].job);
	}
	(void)usleep(50000);
	resubmit_stop(&r);
	for (size_t i = 0; i < 10; i++) {
		finish(&tasks[i]);
		assert_reply("stopped", &tasks[i].replies[0],
			     "451 4.4.2 " NOT "txmilter is stopping");
	}
}

/* The stop may have to wait for others then. */
static void
test_end(void **state)
{
	const struct script script = { .dot = SILENCE };
	struct resubmit *r = start(1, 0);
	struct task tasks[2];

	(void)state;
	play(&script);
	for (size_t i = 0; i < 2; i++) {
		begin_task(&tasks[i]);
		add_mail(&tasks[i], "a@x", "b@y", "x\r\n", 600000);
	}
	resubmit_submit(r, &tasks[0].job);
	(void)usleep(50000);
	resubmit_end(r);
	finish(&tasks[0]);
	resubmit_submit(r, &tasks[1].job);
	finish(&tasks[1]);
	for (size_t i = 0; i < 2; i++) {
		assert_reply("ended", &tasks[i].replies[0],
			     "451 4.4.2 " NOT "txmilter is stopping");
		assert_int_equal(tasks[i].ending, 1);
	}
	resubmit_stop(&r);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_long_answer),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_offers_nothing),
		cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_bad_addresses),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_closed_between),
		cmocka_unit_test(test_after_a_refusal),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_end),
	};

	return cmocka_run_group_tests(tests, start_server, stop_server);
}
