/* SPDX-License-Identifier: MIT */
#include "api_service.h"

#include <stdlib.h>
#include <string.h>

#include "api_batch.h"
#include "api_health.h"
#include "config.h"
#include "http_pool.h"
#include "lmtp_agent.h"
#include "need.h"

static int
start_one(struct api_service *s, const struct config *c,
	  const struct config_api *api, const char **error_r)
{
	const struct http_pool_settings settings = {
		.connections = api->connections,
		.queue = 2 * c->direct_limit + api->connections,
		.background = LMTP_CONNECTIONS_MAX * API_BATCH_PARALLEL,
		.connect_timeout_ms = api->connect_timeout_ms,
		.ca_file = api->ca_file,
		.user_agent = "txmilter/" TXMILTER_VERSION,
	};

	s->name = need(strdup(api->name));
	s->health = api_health_new(api->name);
	s->http = http_pool_start(&settings, error_r);
	return s->http != NULL ? 0 : -1;
}

int
api_services_start(struct api_services *s, const struct config *c,
		   const char **error_r)
{
	s->v = need(calloc(c->n_apis + 1, sizeof(*s->v)));
	for (s->n = 0; s->n < c->n_apis; s->n++) {
		if (start_one(&s->v[s->n], c, c->apis[s->n], error_r) == 0)
			continue;
		s->n++;
		api_services_stop(s);
		return -1;
	}
	return 0;
}

const struct api_service *
api_service_find(const struct api_services *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->v[i].name, name) == 0)
			return &s->v[i];
	}
	return NULL;
}

void
api_services_state(const struct api_services *s,
		   struct http_pool_state *state_r)
{
	*state_r = (struct http_pool_state){ 0 };
	for (size_t i = 0; i < s->n; i++) {
		struct http_pool_state one;

		http_pool_state(s->v[i].http, &one);
		state_r->calls += one.calls;
		state_r->total += one.total;
		state_r->failed += one.failed;
		state_r->connections += one.connections;
	}
}

void
api_services_end(struct api_services *s)
{
	for (size_t i = 0; i < s->n; i++)
		http_pool_end(s->v[i].http);
}

void
api_services_stop(struct api_services *s)
{
	for (size_t i = 0; i < s->n; i++) {
		http_pool_stop(&s->v[i].http);
		api_health_free(&s->v[i].health);
		free(s->v[i].name);
	}
	free(s->v);
	*s = (struct api_services){ 0 };
}
