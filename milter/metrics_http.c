/* SPDX-License-Identifier: MIT */
/*
 * libmicrohttpd reads requests and writes responses. Accepting and deadlines
 * are done here: it measures only how long a client was silent, so that one
 * who sends a byte now and then would keep his place for ever, and its loop
 * spins while no descriptor is left to accept with.
 */
#include "metrics_http.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "listener.h"
#include "log.h"
#include "metrics.h"
#include "need.h"
#include "policy/dynbuf.h"

#define PAGE_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Of a connection: the request, and what it needs to answer it. */
#define REQUEST_MEMORY (16 * 1024)

/* After accept() failed for want of something. */
#define ACCEPT_PAUSE_MS 1000
/* What libmicrohttpd has to see that a connection was shut down. */
#define CLOSE_MS 1000

struct client {
	int fd; /* libmicrohttpd's; -1: a free place */
	int64_t deadline;
};

/* All of it is the thread's, but for what is set before it starts. */
struct metrics_http {
	pthread_t thread;
	metrics_http_fn *fn;
	void *arg;
	unsigned timeout_ms;
	int listen_fd, stop_fd, mhd_fd;
	struct MHD_Daemon *mhd;
	int64_t accept_again;
	unsigned n_clients;
	struct client clients[METRICS_HTTP_CLIENTS];
};

/* Takes data. NULL, or no header, only for want of memory: the connection is
 * closed then. */
static enum MHD_Result
respond(struct MHD_Connection *c, unsigned status, const char *type, char *data,
	size_t len)
{
	struct MHD_Response *r =
	    MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result rc = MHD_NO;

	if (r == NULL) {
		free(data);
		return MHD_NO;
	}
	/* A connection is good for one request: so its deadline never falls
	 * into another. */
	if (MHD_add_response_header(r, "Connection", "close") == MHD_YES &&
	    MHD_add_response_header(r, "Content-Type", type) == MHD_YES &&
	    (status != MHD_HTTP_METHOD_NOT_ALLOWED ||
	     MHD_add_response_header(r, "Allow", "GET, HEAD") == MHD_YES))
		rc = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return rc;
}

static enum MHD_Result
respond_text(struct MHD_Connection *c, unsigned status, const char *text)
{
	char *copy = need(strdup(text));

	return respond(c, status, "text/plain", copy, strlen(copy));
}

static enum MHD_Result
respond_page(struct metrics_http *h, struct MHD_Connection *c)
{
	DYNBUF_AUTO out;
	char *page;
	size_t len;

	dynbuf_init(&out, METRICS_PAGE_MAX);
	if (!h->fn(h->arg, &out) || out.overflow) {
		log_error("metrics", "the page cannot be written");
		return respond_text(c, MHD_HTTP_INTERNAL_SERVER_ERROR,
				    "no page\n");
	}
	page = dynbuf_steal(&out, &len);
	return respond(c, MHD_HTTP_OK, PAGE_TYPE, page, len);
}

/* Called as soon as the headers are there; answering then is what keeps a
 * body from being read. */
static enum MHD_Result
handle(void *arg, struct MHD_Connection *c, const char *url, const char *method,
       const char *version, const char *upload, size_t *upload_len,
       void **request)
{
	(void)version;
	(void)upload;
	(void)upload_len;
	(void)request;
	if (strcmp(url, "/metrics") != 0)
		return respond_text(c, MHD_HTTP_NOT_FOUND,
				    "only /metrics is here\n");
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
	    strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return respond_text(c, MHD_HTTP_METHOD_NOT_ALLOWED,
				    "GET or HEAD\n");
	return respond_page(arg, c);
}

static void
client_opened(struct metrics_http *h, int fd, void **place)
{
	struct client *k = h->clients;

	while (k->fd >= 0)
		k++;
	k->fd = fd;
	k->deadline = clock_ms() + h->timeout_ms;
	h->n_clients++;
	*place = k;
}

static void
notify(void *arg, struct MHD_Connection *c, void **place,
       enum MHD_ConnectionNotificationCode what)
{
	struct metrics_http *h = arg;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		    c, MHD_CONNECTION_INFO_CONNECTION_FD);

		client_opened(h, info->connect_fd, place);
	} else if (*place != NULL) {
		((struct client *)*place)->fd = -1;
		h->n_clients--;
	}
}

/* One at a time: the others keep the socket readable. */
static void
accept_client(struct metrics_http *h)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	int fd = accept4(h->listen_fd, (struct sockaddr *)&a, &len,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0 &&
	    (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR))
		return;
	if (fd < 0) {
		log_error("metrics", "cannot accept a connection: %m");
		h->accept_again = clock_ms() + ACCEPT_PAUSE_MS;
		return;
	}
	/* It closes fd when it fails, which is for want of memory. */
	if (MHD_add_connection(h->mhd, fd, (struct sockaddr *)&a, len) !=
	    MHD_YES)
		log_error("metrics", "cannot take a connection");
}

static void
close_late(struct metrics_http *h, int64_t now)
{
	for (size_t i = 0; i < METRICS_HTTP_CLIENTS; i++) {
		struct client *k = &h->clients[i];

		if (k->fd < 0 || k->deadline > now)
			continue;
		/* ENOTCONN: it is closed already. */
		(void)shutdown(k->fd, SHUT_RDWR);
		k->deadline = now + CLOSE_MS;
	}
}

/* Milliseconds until something is to be done without an event. */
static int
time_to_wait(const struct metrics_http *h, int64_t now)
{
	int64_t next = INT64_MAX;
	MHD_UNSIGNED_LONG_LONG ms;

	for (size_t i = 0; i < METRICS_HTTP_CLIENTS; i++) {
		if (h->clients[i].fd >= 0 && h->clients[i].deadline < next)
			next = h->clients[i].deadline;
	}
	if (h->accept_again > now && h->accept_again < next)
		next = h->accept_again;
	next = next == INT64_MAX ? -1 : next > now ? next - now : 0;
	if (MHD_get_timeout(h->mhd, &ms) == MHD_YES &&
	    (next < 0 || ms < (uint64_t)next))
		next = (int64_t)ms;
	return (int)next;
}

/* False when the thread shall end. */
static bool
turn(struct metrics_http *h)
{
	struct pollfd fds[] = {
		{ .fd = h->stop_fd, .events = POLLIN },
		{ .fd = h->mhd_fd, .events = POLLIN },
		{ .fd = h->listen_fd, .events = POLLIN },
	};
	int64_t now = clock_ms();

	/* poll() passes over what is negative. */
	if (h->n_clients >= METRICS_HTTP_CLIENTS || h->accept_again > now)
		fds[2].fd = -1;
	if (poll(fds, 3, time_to_wait(h, now)) < 0 && errno != EINTR)
		abort();
	if (fds[0].revents != 0)
		return false;
	if (fds[2].revents != 0)
		accept_client(h);
	close_late(h, clock_ms());
	if (MHD_run(h->mhd) != MHD_YES)
		abort();
	return true;
}

static void *
run(void *arg)
{
	struct metrics_http *h = arg;

	while (turn(h))
		;
	return NULL;
}

/* What libmicrohttpd would say goes nowhere: clients could fill the log. */
static struct MHD_Daemon *
start_mhd(struct metrics_http *h)
{
	return MHD_start_daemon(
	    MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, handle, h,
	    MHD_OPTION_CONNECTION_LIMIT, (unsigned)METRICS_HTTP_CLIENTS,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_MEMORY,
	    MHD_OPTION_NOTIFY_CONNECTION, notify, h,
	    MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

/* Signals are main's alone: the thread begins with all of them blocked. */
static bool
start_thread(struct metrics_http *h)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	if (pthread_sigmask(SIG_SETMASK, &all, &old) != 0)
		abort();
	error = pthread_create(&h->thread, NULL, run, h);
	if (pthread_sigmask(SIG_SETMASK, &old, NULL) != 0)
		abort();
	if (error != 0)
		return false;
	/* Only a name in ps(1). */
	(void)pthread_setname_np(h->thread, "metrics");
	return true;
}

/* Frees what start got; the thread does not run. */
static void
release(struct metrics_http *h)
{
	if (h->mhd != NULL)
		MHD_stop_daemon(h->mhd);
	if (h->stop_fd >= 0)
		close(h->stop_fd);
	if (h->listen_fd >= 0)
		close(h->listen_fd);
	free(h);
}

static bool
start(struct metrics_http *h, const char *spec, char **error_r)
{
	const union MHD_DaemonInfo *info;

	h->listen_fd = listener_open(spec, NULL, error_r);
	if (h->listen_fd < 0)
		return false;
	h->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	h->mhd = start_mhd(h);
	if (h->stop_fd >= 0 && h->mhd != NULL) {
		info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD);
		h->mhd_fd = info->epoll_fd;
		if (start_thread(h))
			return true;
	}
	*error_r = need(strdup("cannot start the metrics server"));
	return false;
}

struct metrics_http *
metrics_http_start(const char *spec, unsigned timeout_ms, metrics_http_fn *fn,
		   void *arg, char **error_r)
{
	struct metrics_http *h = need(calloc(1, sizeof(*h)));

	h->fn = fn;
	h->arg = arg;
	h->timeout_ms =
	    timeout_ms > 0 ? timeout_ms : METRICS_HTTP_TIMEOUT_S * 1000;
	h->stop_fd = -1;
	for (size_t i = 0; i < METRICS_HTTP_CLIENTS; i++)
		h->clients[i].fd = -1;
	if (start(h, spec, error_r))
		return h;
	release(h);
	return NULL;
}

void
metrics_http_stop(struct metrics_http **hp)
{
	static const uint64_t one = 1;
	struct metrics_http *h = *hp;

	if (h == NULL)
		return;
	*hp = NULL;
	if (write(h->stop_fd, &one, sizeof(one)) != sizeof(one) ||
	    pthread_join(h->thread, NULL) != 0)
		abort();
	release(h);
}
