/* SPDX-License-Identifier: MIT */
/*
 * main: the command line, the process, and its stop.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "callbacks.h"
#include "config.h"
#include "daemon.h"
#include "lmtp_agent.h"
#include "log.h"
#include "policy/dialect.h"
#include "policy/header_text.h"
#include "policy/json_text.h"
#include "prompt_stop.h"
#include "resubmit.h"
#include "sent_memory.h"
#include "services.h"

#define CONFIG_FILE "/etc/txmilter/txmilter.conf"
/* Free memory that is kept for the next message, in each arena. */
#define KEEP_FREE (2 * 1024 * 1024)
/* At stop: what libmilter needs to write the last replies. */
#define LAST_REPLIES_MS 200

/* True when nothing is under way any more, within that time. */
static bool
wait_until_idle(struct services *s, unsigned most_ms)
{
	const struct timespec step = { .tv_nsec = 10 * 1000 * 1000 };
	unsigned ms = 0;

	/* A delivery goes on when Postfix, which stops too, has hung up. */
	while (!lmtp_agent_drain(s->lmtp) || atomic_load(&s->busy) > 0 ||
	       atomic_load(&s->deliveries) > 0) {
		if (ms >= most_ms)
			return false;
		(void)nanosleep(&step, NULL);
		ms += 10;
	}
	return true;
}

/* Messages in their last callback end normally, each with its own reply; new
 * ones hear 451: libmilter goes on until the process ends. What the API has not
 * answered by then goes to the queue, or stays there. False: some are still
 * there. */
static bool
drain(struct services *s)
{
	const struct timespec last = { .tv_nsec = LAST_REPLIES_MS * 1000000L };
	bool idle;

	atomic_store(&s->stopping, true);
	idle = wait_until_idle(s, s->config->shutdown_timeout_ms);
	if (!idle) {
		log_warning("main", "shutdown_timeout is over: calls end");
		api_services_end(&s->apis);
		resubmit_end(s->resubmit);
		idle = wait_until_idle(s, CONFIG_CHECK_TIMEOUT_MAX_MS + 2000);
	}
	(void)nanosleep(&last, NULL);
	return idle;
}

static int
serve(void)
{
	struct services *s = daemon_services();
	int r = prompt_stop_run(callbacks_run);

	log_info("main", "stopping busy=%u", atomic_load(&s->busy));
	if (!drain(s)) {
		/* Nothing is freed under a callback that hangs. */
		log_error("main", "stopped, messages still under way");
		(void)sent_memory_flush(s->sent, (int64_t)time(NULL));
		_exit(EX_SOFTWARE);
	}
	daemon_stop();
	log_info("main", "stopped");
	return r == 0 ? EX_OK : EX_OSERR;
}

/* Secrets are in memory: no core, no debugger of the same user. */
static void
harden_process(void)
{
	const struct rlimit none = { 0, 0 };
	struct rlimit files;

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* Descriptors 0 to 2 stay taken: a socket there would get the log. */
static void
keep_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		(void)close(fd);
}

/* libmilter ends and makes threads all the time. glibc keeps 40 MB of stacks
 * for the next thread: five of the usual 8 MB, which each touch the kernel, or
 * all that are ever needed of this size. */
#define STACK_SIZE (512 * 1024)

static void
make_stacks_small(void)
{
	pthread_attr_t attr;

	if (pthread_attr_init(&attr) != 0)
		return;
	if (pthread_attr_setstacksize(&attr, STACK_SIZE) == 0)
		(void)pthread_setattr_default_np(&attr);
	(void)pthread_attr_destroy(&attr);
}

/* No thread is interrupted by a signal: those that stop are prompt_stop's and
 * libmilter's, SIGUSR1 is the housekeeper's. */
static void
prepare_process(void)
{
	sigset_t set;

	keep_standard_files();
	harden_process();
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGUSR1);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	/* Many threads that each do little: two arenas keep memory small. */
	(void)mallopt(M_ARENA_MAX, 2);
	/* What one message frees the next one takes: memory given back to the
	 * kernel in between would be cleared for it again, page by page. */
	(void)mallopt(M_TRIM_THRESHOLD, KEEP_FREE);
	(void)mallopt(M_MMAP_THRESHOLD, KEEP_FREE);
	make_stacks_small();
	header_text_init();
	json_text_init();
}

/* Forks; the parent waits until the child serves, and exits as it did. */
static void
into_background(int *ready_fd)
{
	unsigned char status = EX_OSERR;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
		perror("txmilter: cannot go into the background");
		exit(EX_OSERR);
	}
	if (pid > 0) {
		(void)close(fds[1]);
		if (read(fds[0], &status, 1) != 1)
			status = EX_OSERR;
		_exit(status);
	}
	(void)close(fds[0]);
	(void)setsid();
	*ready_fd = fds[1];
}

static void
tell_parent(int ready_fd, unsigned char status)
{
	int null;

	if (ready_fd < 0)
		return;
	if (write(ready_fd, &status, 1) != 1)
		log_warning("main", "the starting process is gone");
	(void)close(ready_fd);
	/* Standard error belongs to who started us. */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return;
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		(void)dup2(null, fd);
	(void)close(null);
}

static int
run(struct config *config, const char *file, bool foreground)
{
	int ready = -1;

	if (!foreground)
		into_background(&ready);
	log_open(1, config->log_level);
	prepare_process();
	if (daemon_start(config, file) != 0) {
		tell_parent(ready, EX_CONFIG);
		return EX_CONFIG;
	}
	if (!foreground)
		log_open(0, config->log_level);
	tell_parent(ready, EX_OK);
	log_info("main", "started version=%s api=%s dialect=%s",
		 TXMILTER_VERSION,
		 config->n_apis > 0 ? config->apis[0]->name : "-",
		 config->dialect->name);
	return serve();
}

static int
usage(void)
{
	(void)fputs("usage: txmilter [-c FILE] [-f] [-t] [-V]\n"
		    "  -c FILE  configuration (" CONFIG_FILE ")\n"
		    "  -f       stay in the foreground, log to standard error\n"
		    "  -t       test the configuration and exit\n"
		    "  -V       print the version and exit\n",
		    stderr);
	return EX_USAGE;
}

int
main(int argc, char **argv)
{
	const char *file = CONFIG_FILE;
	bool foreground = false;
	bool test = false;
	struct config *config;
	char *error;
	int c;

	while ((c = getopt(argc, argv, "c:ftV")) != -1) {
		switch (c) {
		case 'c':
			file = optarg;
			break;
		case 'f':
			foreground = true;
			break;
		case 't':
			test = true;
			break;
		case 'V':
			(void)puts("txmilter " TXMILTER_VERSION);
			return EX_OK;
		default:
			return usage();
		}
	}
	if (optind < argc)
		return usage();
	config = config_load(file, &error);
	if (config == NULL) {
		(void)fprintf(stderr, "txmilter: %s\n", error);
		free(error);
		return EX_CONFIG;
	}
	if (!test)
		return run(config, file, foreground);
	(void)printf("%s: no errors\n", file);
	config_free(&config);
	return EX_OK;
}
