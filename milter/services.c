/* SPDX-License-Identifier: MIT */
#include "services.h"

#include <stdlib.h>
#include <time.h>

#include "api_health.h"
#include "clock.h"
#include "http_pool.h"
#include "key_cache.h"
#include "keystore.h"
#include "lmtp_agent.h"
#include "metrics.h"
#include "rate_limit.h"

static size_t
state_of_apis(struct services *s, struct metrics_api *apis)
{
	int64_t now = clock_ms();
	size_t n = 0;

	for (; n < s->apis.n && n < METRICS_APIS_MAX; n++) {
		struct api_health_state state;

		api_health_state(s->apis.v[n].health, now, &state);
		apis[n] =
		    (struct metrics_api){ s->apis.v[n].name, !state.open };
	}
	return n;
}

bool
services_write_metrics(void *arg, struct dynbuf *out)
{
	struct services *s = arg;
	struct key_cache_state cache;
	struct http_pool_state http;
	struct metrics_api apis[METRICS_APIS_MAX];
	size_t n_apis = state_of_apis(s, apis);
	struct metrics_now now;

	key_cache_state(s->key_cache, &cache);
	api_services_state(&s->apis, &http);
	now = (struct metrics_now){
		.started = s->started,
		.sessions = atomic_load(&s->sessions),
		.handoffs = atomic_load(&s->handoffs),
		.http_connections = http.connections,
		.http_calls = http.calls,
		.http_total = http.total,
		.http_failed = http.failed,
		.cached_keys = cache.entries,
		.local_keys = keystore_count(s->keystore),
		.limited_names = rate_limit_count(s->limits, clock_ms()),
		.cache_hits = cache.hits,
		.cache_misses = cache.misses,
		.lmtp_connections = lmtp_agent_connections(s->lmtp),
		.apis = apis,
		.n_apis = n_apis,
		.draining = atomic_load(&s->draining),
	};
	return metrics_write(s->metrics, &now, out);
}
