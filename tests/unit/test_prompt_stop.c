/* SPDX-License-Identifier: MIT */
/*
 * serve() here is what libmilter is: a thread that takes the signal, and a loop
 * that looks only when somebody connects, or for this test never else. Each row
 * is a process of its own: what is pending in one is not in the next.
 */
#include "milter/prompt_stop.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "milter/listener.h"

#define RESULT 7
/* Longer than it may take; ends a process that hangs. */
#define LONG_S 30

static int listening;
static atomic_int told;

static void
three_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

/* As slow to hear as can be. */
static void *
take_signal(void *arg)
{
	const struct timespec pause = { .tv_nsec = 100 * 1000000L };
	sigset_t set;
	int signal;

	(void)arg;
	three_signals(&set);
	if (sigwait(&set, &signal) != 0)
		abort();
	nanosleep(&pause, NULL);
	atomic_store(&told, signal);
	return NULL;
}

static int
serve(void)
{
	struct pollfd p = { .fd = listening, .events = POLLIN };
	pthread_t thread;
	int fd;

	if (pthread_create(&thread, NULL, take_signal, NULL) != 0)
		abort();
	while (atomic_load(&told) == 0) {
		if (poll(&p, 1, -1) != 1)
			abort();
		fd = accept(listening, NULL, NULL);
		if (fd >= 0)
			close(fd);
	}
	pthread_join(thread, NULL);
	return RESULT;
}

static int
serve_and_fail(void)
{
	return RESULT;
}

static void *
send_signal(void *arg)
{
	const struct timespec pause = { .tv_nsec = 200 * 1000000L };

	nanosleep(&pause, NULL);
	kill(getpid(), *(const int *)arg);
	return NULL;
}

struct row {
	const char *name;
	int signal; /* 0: none, it ends by itself */
	bool early; /* before it serves */
};

/* 0 when all is well. */
static int
run_row(const struct row *row, const char *spec)
{
	pthread_t thread;
	sigset_t set;

	alarm(LONG_S);
	three_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (row->signal == 0)
		return prompt_stop_run(serve_and_fail, spec) == RESULT ? 0 : 1;
	if (row->early)
		kill(getpid(), row->signal);
	else if (pthread_create(&thread, NULL, send_signal,
				(void *)(uintptr_t)&row->signal) != 0)
		return 2;
	if (prompt_stop_run(serve, spec) != RESULT)
		return 3;
	if (!row->early)
		pthread_join(thread, NULL);
	return atomic_load(&told) == row->signal ? 0 : 4;
}

static void
test_rows(void **state)
{
	static const struct row rows[] = {
		{ "SIGTERM", SIGTERM, false },
		{ "SIGINT", SIGINT, false },
		{ "SIGHUP", SIGHUP, false },
		{ "before it serves", SIGTERM, true },
		{ "it ends by itself", 0, false },
	};
	char dir[] = "/tmp/test_prompt_stop.XXXXXX";
	char spec[64], *error;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(spec, sizeof(spec), "unix:%s/sock", dir);
	listening = listener_open(spec, NULL, &error);
	assert_true(listening >= 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			_exit(run_row(&rows[i], spec));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			fail_msg("%s: status %d", rows[i].name, status);
	}
	close(listening);
	unlink(spec + 5);
	assert_int_equal(rmdir(dir), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
