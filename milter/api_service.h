/* SPDX-License-Identifier: MIT */
/*
 * api_service: what all calls to one API share: its connections and how it
 * does. One HTTP pool for each API, so that one that hangs takes no connection
 * and no place in a queue from another. Made at the start for each [api NAME],
 * gone at the stop. Thread-safe.
 */
#ifndef TXM_MILTER_API_SERVICE_H
#define TXM_MILTER_API_SERVICE_H

#include <stddef.h>

struct api_health;
struct config;
struct http_pool;
struct http_pool_state;

struct api_service {
	char *name;
	struct http_pool *http;
	struct api_health *health;
};

struct api_services {
	struct api_service *v;
	size_t n;
};

/* 0, or -1 and *error_r (static). */
int api_services_start(struct api_services *s, const struct config *c,
		       const char **error_r);

/* NULL when there is none of that name. */
const struct api_service *api_service_find(const struct api_services *s,
					   const char *name);

/* Of all of them together. */
void api_services_state(const struct api_services *s,
			struct http_pool_state *state_r);

/* Calls under way end (HTTP_STOPPED), and later ones at once. */
void api_services_end(struct api_services *s);
void api_services_stop(struct api_services *s);

#endif
