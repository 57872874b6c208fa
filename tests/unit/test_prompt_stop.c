/* SPDX-License-Identifier: MIT */
/*
 * serve() here is as slow to hear as libmilter. Each row is a process of its
 * own: what is pending in one is not in the next.
 */
#include "milter/prompt_stop.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define RESULT 7
/* Ends a process that hangs. */
#define LONG_S 30

static void
three_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

static void
rest(unsigned ms)
{
	const struct timespec t = { .tv_sec = ms / 1000,
				    .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

/* A thread that waits for the signals too, like libmilter's. */
static void *
take_signal(void *arg)
{
	sigset_t set;
	int signal;

	three_signals(&set);
	if (sigwait(&set, &signal) != 0)
		abort();
	atomic_store((atomic_bool *)arg, true);
	return NULL;
}

static atomic_bool taken;

static int
serve(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, take_signal, &taken) != 0)
		abort();
	rest(LONG_S * 2000);
	return RESULT;
}

static int
serve_a_moment(void)
{
	rest(50);
	return RESULT;
}

static int
serve_not(void)
{
	return RESULT;
}

static void *
send_signal(void *arg)
{
	rest(200);
	kill(getpid(), *(const int *)arg);
	return NULL;
}

struct row {
	const char *name;
	int (*serve)(void);
	int signal; /* 0: none */
	bool early; /* before it serves */
	int result;
};

/* 0 when all is well. */
static int
run_row(const struct row *row)
{
	pthread_t thread;
	sigset_t set;

	alarm(LONG_S);
	three_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (row->early)
		kill(getpid(), row->signal);
	else if (row->signal != 0 &&
		 (pthread_create(&thread, NULL, send_signal,
				 (void *)(uintptr_t)&row->signal) != 0 ||
		  pthread_detach(thread) != 0))
		return 1;
	if (prompt_stop_run(row->serve) != row->result)
		return 2;
	return atomic_load(&taken) ? 3 : 0;
}

static void
test_rows(void **state)
{
	static const struct row rows[] = {
		{ "SIGTERM", serve, SIGTERM, false, 0 },
		{ "SIGINT", serve, SIGINT, false, 0 },
		{ "SIGHUP", serve, SIGHUP, false, 0 },
		{ "before it serves", serve, SIGTERM, true, 0 },
		{ "it ends by itself", serve_a_moment, 0, false, RESULT },
		{ "it ends at once", serve_not, 0, false, RESULT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			_exit(run_row(&rows[i]));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			fail_msg("%s: status %d", rows[i].name, status);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
