/* SPDX-License-Identifier: MIT */
/*
 * metrics_http: GET /metrics, for Prometheus. The only file that knows
 * libmicrohttpd. A thread of its own, at most METRICS_HTTP_CLIENTS at once
 * (more wait to be accepted), one request for each connection, which is closed
 * after METRICS_HTTP_TIMEOUT_S whatever was said by then. Anything but GET or
 * HEAD of /metrics is 404 or 405, a page over METRICS_PAGE_MAX 500, a request
 * over some 16 kB is refused.
 */
#ifndef TXM_MILTER_METRICS_HTTP_H
#define TXM_MILTER_METRICS_HTTP_H

#include <stdbool.h>

#define METRICS_HTTP_CLIENTS 16
#define METRICS_HTTP_TIMEOUT_S 10

struct dynbuf;
struct metrics_http;

/* Writes the page; runs in the server's thread. False: there is none. */
typedef bool metrics_http_fn(void *arg, struct dynbuf *out);

/* spec: as listener.h has it ("inet:9418@127.0.0.1"). timeout_ms: 0 for the
 * above. NULL and an error text (free()). */
struct metrics_http *metrics_http_start(const char *spec, unsigned timeout_ms,
					metrics_http_fn *fn, void *arg,
					char **error_r);

/* Closes every connection and joins the thread; a UNIX socket's file stays. */
void metrics_http_stop(struct metrics_http **h);

#endif
