/* SPDX-License-Identifier: MIT */
#include "prompt_stop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

/* Static, for the thread may outlive the call. */
static struct serving {
	int (*serve)(void);
	int result;
	atomic_bool ended;
	pthread_t waiting; /* for a signal */
} serving;

static void *
serve_in_thread(void *arg)
{
	struct serving *s = arg;

	s->result = s->serve();
	atomic_store(&s->ended, true);
	/* Nobody takes it when a signal came before. */
	if (pthread_kill(s->waiting, SIGTERM) != 0)
		abort();
	return NULL;
}

static void
signals_that_stop(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGHUP);
}

int
prompt_stop_run(int (*serve)(void))
{
	const struct timespec now = { 0 };
	pthread_t thread;
	sigset_t set;
	int signal;

	signals_that_stop(&set);
	/* Before libmilter's thread can have it. */
	if (sigtimedwait(&set, NULL, &now) > 0)
		return 0;
	serving.serve = serve;
	serving.waiting = pthread_self();
	if (pthread_create(&thread, NULL, serve_in_thread, &serving) != 0)
		return serve();
	(void)pthread_detach(thread);
	if (sigwait(&set, &signal) != 0)
		abort();
	return atomic_load(&serving.ended) ? serving.result : 0;
}
