/* SPDX-License-Identifier: MIT */
/*
 * main: the command line, and the list of what is started in order and
 * stopped in reverse.
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
#include "crypto.h"
#include "housekeeper.h"
#include "http_pool.h"
#include "key_cache.h"
#include "key_check.h"
#include "listener.h"
#include "log.h"
#include "policy/dialect.h"
#include "policy/header_text.h"
#include "policy/json_text.h"
#include "pool_wake.h"
#include "retry_memory.h"
#include "sasl.h"
#include "services.h"
#include "store.h"

#define CONFIG_FILE "/etc/txmilter/txmilter.conf"
/* Free memory that is kept for the next message, in each arena. */
#define KEEP_FREE (2 * 1024 * 1024)
/* At stop: what libmilter needs to write the last replies. */
#define LAST_REPLIES_MS 200

struct daemon {
	struct services services;
	struct config *config;
	struct crypto_seal *seal;
	struct store *store;
	struct sasl *sasl;
	struct housekeeper *housekeeper;
	char *error; /* why the last start failed */
};

static int
fail(struct daemon *d, const char *what)
{
	d->error = strdup(what);
	if (d->error == NULL)
		abort();
	return -1;
}

static int
start_seal(struct daemon *d)
{
	const char *why;

	d->seal = crypto_seal_open(d->config->secret_file, &why);
	if (d->seal != NULL)
		return 0;
	if (asprintf(&d->error, "%s: %s", d->config->secret_file, why) < 0)
		abort();
	return -1;
}

static void
stop_seal(struct daemon *d)
{
	crypto_seal_free(&d->seal);
}

static int
start_store(struct daemon *d)
{
	d->store = store_open(d->config->state_directory, d->config->store_size,
			      &d->error);
	return d->store != NULL ? 0 : -1;
}

static void
stop_store(struct daemon *d)
{
	store_close(&d->store);
}

static int
start_key_cache(struct daemon *d)
{
	d->services.key_cache =
	    key_cache_new(d->store, d->seal, d->config->cache_size);
	return 0;
}

static void
stop_key_cache(struct daemon *d)
{
	key_cache_free(&d->services.key_cache);
}

static int
start_retries(struct daemon *d)
{
	d->services.retries = retry_memory_new(d->store);
	return 0;
}

static void
stop_retries(struct daemon *d)
{
	retry_memory_free(&d->services.retries);
}

static int
start_http(struct daemon *d)
{
	const struct config_api *api = &d->config->api;
	const struct http_pool_settings settings = {
		.connections = api->connections,
		.queue = 2 * d->config->direct_limit + api->connections,
		.connect_timeout_ms = api->connect_timeout_ms,
		.ca_file = api->ca_file,
		.user_agent = "txmilter/" TXMILTER_VERSION,
	};
	const char *why;

	d->services.http = http_pool_start(&settings, &why);
	return d->services.http != NULL ? 0 : fail(d, why);
}

static int
start_keys(struct daemon *d)
{
	const struct config *c = d->config;
	const struct key_check_settings settings = {
		.url = c->api.url,
		.format = c->api.format,
		.ask_account = c->ask_account,
		.timeout_ms = c->check_timeout_ms,
		.ttl = c->ttl,
		.negative_ttl = c->negative_ttl,
		.stale = c->stale,
	};

	d->services.keys =
	    key_check_new(&settings, d->services.key_cache, d->services.http);
	return 0;
}

/* A check under way ends in the pool, so the pool goes first. */
static void
stop_http_and_keys(struct daemon *d)
{
	http_pool_stop(&d->services.http);
	key_check_free(&d->services.keys);
}

static int
start_housekeeper(struct daemon *d)
{
	d->housekeeper = housekeeper_start(&d->services);
	return d->housekeeper != NULL ? 0 : fail(d, "cannot make a thread");
}

static void
stop_housekeeper(struct daemon *d)
{
	housekeeper_stop(&d->housekeeper);
}

static int
start_sasl(struct daemon *d)
{
	const char *why;
	int fd = listener_open(d->config->sasl_socket, d->config->socket_group,
			       &d->error);

	if (fd < 0)
		return -1;
	d->sasl = sasl_start(fd, d->services.keys, NULL, &why);
	return d->sasl != NULL ? 0 : fail(d, why);
}

static void
stop_sasl(struct daemon *d)
{
	sasl_stop(&d->sasl);
}

static int
start_milter(struct daemon *d)
{
	return callbacks_open(&d->services, d->config->milter_socket,
			      d->config->socket_group, &d->error);
}

static int
start_pool_wake(struct daemon *d)
{
	d->services.pool = pool_wake_new(d->config->milter_socket);
	return 0;
}

static void
stop_pool_wake(struct daemon *d)
{
	pool_wake_free(&d->services.pool);
}

/* In this order; the sockets last, so that who connects is served. */
static const struct part {
	const char *name;
	int (*start)(struct daemon *d); /* 0, or -1 and d->error */
	void (*stop)(struct daemon *d);
} parts[] = {
	{ "secret", start_seal, stop_seal },
	{ "store", start_store, stop_store },
	{ "key cache", start_key_cache, stop_key_cache },
	{ "retry memory", start_retries, stop_retries },
	{ "HTTP", start_http, NULL },
	{ "key check", start_keys, stop_http_and_keys },
	{ "worker pool", start_pool_wake, stop_pool_wake },
	{ "housekeeper", start_housekeeper, stop_housekeeper },
	{ "SASL socket", start_sasl, stop_sasl },
	{ "milter socket", start_milter, NULL },
};

#define N_PARTS (sizeof(parts) / sizeof(parts[0]))

static void
stop_parts(struct daemon *d, size_t n)
{
	while (n-- > 0) {
		if (parts[n].stop != NULL)
			parts[n].stop(d);
	}
}

static int
start_parts(struct daemon *d)
{
	for (size_t i = 0; i < N_PARTS; i++) {
		if (parts[i].start(d) == 0)
			continue;
		log_error("main", "%s: %s", parts[i].name,
			  d->error ? d->error : "cannot start");
		stop_parts(d, i);
		return -1;
	}
	return 0;
}

/* Messages in their last callback end normally, each with its own reply; new
 * ones hear 451. False: some are still there. */
static bool
drain(struct daemon *d)
{
	const struct timespec step = { .tv_nsec = 10 * 1000 * 1000 };
	const struct timespec last = { .tv_nsec = LAST_REPLIES_MS * 1000000L };
	unsigned most =
	    d->config->check_timeout_ms + d->config->direct_timeout_ms + 2000;

	atomic_store(&d->services.stopping, true);
	for (unsigned ms = 0; ms < most; ms += 10) {
		if (atomic_load(&d->services.busy) == 0)
			break;
		(void)nanosleep(&step, NULL);
	}
	(void)nanosleep(&last, NULL);
	return atomic_load(&d->services.busy) == 0;
}

static int
serve(struct daemon *d)
{
	int r = callbacks_run();

	log_info("main", "stopping busy=%u", atomic_load(&d->services.busy));
	if (!drain(d)) {
		/* Nothing is freed under a callback that hangs. */
		log_error("main", "stopped, messages still under way");
		_exit(EX_SOFTWARE);
	}
	stop_parts(d, N_PARTS);
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

/* libmilter has a thread of its own for SIGTERM, SIGINT and SIGHUP. */
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
run(struct config *config, bool foreground)
{
	static struct daemon d;
	int ready = -1;

	if (!foreground)
		into_background(&ready);
	log_open(1, config->log_level);
	prepare_process();
	d.config = config;
	d.services.config = config;
	if (start_parts(&d) != 0) {
		tell_parent(ready, EX_CONFIG);
		return EX_CONFIG;
	}
	if (!foreground)
		log_open(0, config->log_level);
	tell_parent(ready, EX_OK);
	log_info("main", "started version=%s api=%s dialect=%s",
		 TXMILTER_VERSION, config->api.name, config->dialect->name);
	return serve(&d);
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
		return run(config, foreground);
	(void)printf("%s: no errors\n", file);
	config_free(&config);
	return EX_OK;
}
