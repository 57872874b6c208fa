/* SPDX-License-Identifier: MIT */
#include "prompt_stop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "listener.h"

/* Between two connections. libmilter may have looked before it was told. */
#define KNOCK_MS 10

struct serving {
	int (*serve)(void);
	int result;
	atomic_bool ended;
	pthread_t waiting; /* for a signal */
};

static void *
serve_in_thread(void *arg)
{
	struct serving *s = arg;

	s->result = s->serve();
	atomic_store(&s->ended, true);
	/* It ended by itself. Else the signal stays pending, for nobody. */
	if (pthread_kill(s->waiting, SIGTERM) != 0)
		abort();
	return NULL;
}

static int
wait_for_signal(void)
{
	sigset_t set;
	int signal;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	if (sigwait(&set, &signal) != 0)
		abort();
	return signal;
}

static void
knock(const char *spec)
{
	const struct timespec pause = { .tv_nsec = KNOCK_MS * 1000000L };
	int fd = listener_connect(spec);

	if (fd >= 0)
		(void)close(fd);
	(void)nanosleep(&pause, NULL);
}

int
prompt_stop_run(int (*serve)(void), const char *spec)
{
	struct serving s = { .serve = serve, .waiting = pthread_self() };
	pthread_t thread;
	int signal;

	if (pthread_create(&thread, NULL, serve_in_thread, &s) != 0)
		return serve();
	signal = wait_for_signal();
	if (!atomic_load(&s.ended))
		(void)kill(getpid(), signal);
	while (!atomic_load(&s.ended))
		knock(spec);
	if (pthread_join(thread, NULL) != 0)
		abort();
	return s.result;
}
