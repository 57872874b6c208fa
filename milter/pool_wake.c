/* SPDX-License-Identifier: MIT */
#include "pool_wake.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "listener.h"
#include "log.h"
#include "need.h"

/* Option negotiation as an MTA of version 6 offers it: with fewer protocol
 * flags than the filter insists on, libmilter hangs up. Length, 'O', version,
 * actions, protocol steps. */
static const unsigned char hello[] = {
	0, 0, 0, 13, 'O', 0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff,
};

static const unsigned char abort_packet[] = { 0, 0, 0, 1, 'A' };

struct pool_wake {
	char *spec;
	pthread_mutex_t lock; /* guards fd */
	int fd;		      /* -1: not connected */
	/* Moving average of the waits, in sixteenths of a millisecond; two
	 * threads may lose each other's share. */
	atomic_uint usual;
};

struct pool_wake *
pool_wake_new(const char *spec)
{
	struct pool_wake *w = need(calloc(1, sizeof(*w)));

	w->spec = need(strdup(spec));
	if (pthread_mutex_init(&w->lock, NULL) != 0)
		abort();
	w->fd = -1;
	return w;
}

static void
drop(struct pool_wake *w)
{
	if (w->fd >= 0)
		(void)close(w->fd);
	w->fd = -1;
}

void
pool_wake_free(struct pool_wake **wp)
{
	struct pool_wake *w = *wp;

	if (w == NULL)
		return;
	drop(w);
	(void)pthread_mutex_destroy(&w->lock);
	free(w->spec);
	free(w);
	*wp = NULL;
}

/* The socket's buffer is empty or nearly so: a packet goes whole or not. When
 * it is full, enough are on their way. */
static void
send_packet(struct pool_wake *w, const unsigned char *packet, size_t len)
{
	if (w->fd >= 0 &&
	    send(w->fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
	    errno != EAGAIN)
		drop(w);
}

void
pool_wake_connect(struct pool_wake *w)
{
	int failed;

	pthread_mutex_lock(&w->lock);
	failed = 0;
	if (w->fd < 0) {
		w->fd = listener_connect(w->spec);
		failed = w->fd < 0 ? errno : 0;
		send_packet(w, hello, sizeof(hello));
	}
	pthread_mutex_unlock(&w->lock);
	if (failed != 0)
		log_warning("milter", "cannot connect to our own socket: %s",
			    strerror(failed));
}

unsigned
pool_wake_patience(const struct pool_wake *w)
{
	unsigned ms =
	    atomic_load_explicit(&w->usual, memory_order_relaxed) / 16;

	return ms < POOL_WAKE_FAST_MS ? POOL_WAKE_FAST_MS : POOL_WAKE_SLOW_MS;
}

void
pool_wake_waited(struct pool_wake *w, unsigned ms)
{
	unsigned usual = atomic_load_explicit(&w->usual, memory_order_relaxed);
	unsigned share = (ms < 60000 ? ms : 60000) * 2; /* an eighth */

	atomic_store_explicit(&w->usual, usual - usual / 8 + share,
			      memory_order_relaxed);
}

void
pool_wake_send(struct pool_wake *w)
{
	pthread_mutex_lock(&w->lock);
	send_packet(w, abort_packet, sizeof(abort_packet));
	pthread_mutex_unlock(&w->lock);
}
