/* SPDX-License-Identifier: MIT */
#include "daemon.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "callbacks.h"
#include "config.h"
#include "control.h"
#include "copy_ledger.h"
#include "crypto.h"
#include "housekeeper.h"
#include "http_pool.h"
#include "key_cache.h"
#include "key_check.h"
#include "keystore.h"
#include "listener.h"
#include "lmtp_agent.h"
#include "log.h"
#include "login.h"
#include "metrics.h"
#include "metrics_http.h"
#include "need.h"
#include "pool_wake.h"
#include "queue_delivery.h"
#include "rate_limit.h"
#include "reload.h"
#include "resubmit.h"
#include "sasl.h"
#include "sent_memory.h"
#include "services.h"
#include "store.h"

/* Names whose rates are counted at once; a bucket is some 64 bytes. */
#define LIMITED_NAMES_MAX 1000000

struct daemon {
	struct services services;
	const struct config *config; /* at the start */
	struct crypto_seal *seal;
	struct store *store;
	struct sasl *sasl;
	struct metrics_http *metrics_http;
	struct housekeeper *housekeeper;
	char *error; /* why the last start failed */
};

/* One: libmilter has one, too. */
static struct daemon daemon;

static int
fail(struct daemon *d, const char *what)
{
	d->error = need(strdup(what));
	return -1;
}

static int
start_seal(struct daemon *d)
{
	const char *why;

	d->seal = crypto_seal_open(d->config->secret_file, &why);
	d->services.seal = d->seal;
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
start_keystore(struct daemon *d)
{
	d->services.keystore = keystore_new(d->store, d->seal);
	return 0;
}

static void
stop_keystore(struct daemon *d)
{
	keystore_free(&d->services.keystore);
}

/* Without it nobody can manage the daemon, but mail goes on. */
static int
start_admin(struct daemon *d)
{
	struct services *s = &d->services;
	const char *file = d->config->admin_secret;
	const char *why;

	if (crypto_secret_read(file, CONTROL_SECRET_MIN, CONTROL_SECRET_MAX,
			       s->admin_secret, &s->admin_secret_len,
			       &why) == 0)
		return 0;
	s->admin_secret_len = 0;
	if (errno == ENOENT) {
		log_warning("main",
			    "no %s: txmilterctl cannot manage this "
			    "daemon",
			    file);
		return 0;
	}
	if (asprintf(&d->error, "%s: %s", file, why) < 0)
		abort();
	return -1;
}

static void
stop_admin(struct daemon *d)
{
	crypto_wipe(d->services.admin_secret, CONTROL_SECRET_MAX);
}

static int
start_counters(struct daemon *d)
{
	d->services.metrics = metrics_new();
	d->services.limits = rate_limit_new(LIMITED_NAMES_MAX);
	return 0;
}

static void
stop_counters(struct daemon *d)
{
	metrics_free(&d->services.metrics);
	rate_limit_free(&d->services.limits);
}

static int
start_metrics_http(struct daemon *d)
{
	if (d->config->metrics_listen == NULL)
		return 0;
	d->metrics_http =
	    metrics_http_start(d->config->metrics_listen, 0,
			       services_write_metrics, &d->services, &d->error);
	return d->metrics_http != NULL ? 0 : -1;
}

static void
stop_metrics_http(struct daemon *d)
{
	metrics_http_stop(&d->metrics_http);
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
start_sent(struct daemon *d)
{
	d->services.sent = sent_memory_new(d->store);
	sent_memory_keep_for(d->services.sent, d->config->remember_sent);
	return 0;
}

/* The last calls have ended by now. */
static void
stop_sent(struct daemon *d)
{
	(void)sent_memory_flush(d->services.sent, (int64_t)time(NULL));
	sent_memory_free(&d->services.sent);
}

static int
start_apis(struct daemon *d)
{
	const char *why;

	if (api_services_start(&d->services.apis, d->config, &why) == 0)
		return 0;
	return fail(d, why);
}

static int
start_keys(struct daemon *d)
{
	struct key_check_settings settings;

	reload_key_settings(&d->services, d->config, &settings);
	d->services.keys = key_check_new(
	    &settings, d->services.key_cache,
	    d->services.apis.n > 0 ? d->services.apis.v[0].http : NULL);
	return 0;
}

/* A check under way ends in the pool, so the pool goes first. */
static void
stop_apis_and_keys(struct daemon *d)
{
	api_services_stop(&d->services.apis);
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
	const struct sasl_limits limits = {
		.failures = d->services.limits,
		.auth_failures = d->config->auth_failures,
		.metrics = d->services.metrics,
		.login = login_judge,
		.login_arg = &d->services,
	};
	const char *why;
	int fd = listener_open(d->config->sasl_socket, d->config->socket_group,
			       &d->error);

	if (fd < 0)
		return -1;
	d->sasl = sasl_start(fd, d->services.keys, &limits, &why);
	return d->sasl != NULL ? 0 : fail(d, why);
}

static void
stop_sasl(struct daemon *d)
{
	sasl_stop(&d->sasl);
}

static int
start_lmtp(struct daemon *d)
{
	const struct lmtp_agent_settings settings = {
		.size_max = QUEUE_DELIVERY_SIZE_MAX,
		.handler = &queue_delivery,
		.arg = &d->services,
	};
	const char *why;
	int fd = listener_open(d->config->lmtp_socket, d->config->socket_group,
			       &d->error);

	if (fd < 0)
		return -1;
	d->services.lmtp = lmtp_agent_start(fd, &settings, &why);
	return d->services.lmtp != NULL ? 0 : fail(d, why);
}

static void
stop_lmtp(struct daemon *d)
{
	lmtp_agent_stop(&d->services.lmtp);
}

/* Only for who tracks. */
static int
start_tracking(struct daemon *d)
{
	struct services *s = &d->services;
	const char *file = d->config->tracking_secret;
	const char *why;

	if (d->config->tracking_url == NULL ||
	    crypto_secret_read(file, CRYPTO_SECRET_MIN, CRYPTO_SECRET_MAX,
			       (char *)s->tracking_key, &s->tracking_key_len,
			       &why) == 0)
		return 0;
	if (asprintf(&d->error, "%s: %s", file, why) < 0)
		abort();
	return -1;
}

static void
stop_tracking(struct daemon *d)
{
	crypto_wipe(d->services.tracking_key, sizeof(d->services.tracking_key));
}

static int
start_resubmit(struct daemon *d)
{
	const struct resubmit_settings settings = { .to = d->config->resubmit };

	d->services.copy_ledger = copy_ledger_new();
	d->services.resubmit = resubmit_new(&settings);
	return 0;
}

static void
stop_resubmit(struct daemon *d)
{
	resubmit_stop(&d->services.resubmit);
	copy_ledger_free(&d->services.copy_ledger);
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
	{ "admin secret", start_admin, stop_admin },
	{ "tracking secret", start_tracking, stop_tracking },
	{ "store", start_store, stop_store },
	{ "key store", start_keystore, stop_keystore },
	{ "metrics and limits", start_counters, stop_counters },
	{ "key cache", start_key_cache, stop_key_cache },
	{ "memory of what was sent", start_sent, stop_sent },
	{ "HTTP", start_apis, NULL },
	{ "key check", start_keys, stop_apis_and_keys },
	{ "worker pool", start_pool_wake, stop_pool_wake },
	{ "housekeeper", start_housekeeper, stop_housekeeper },
	{ "copies", start_resubmit, stop_resubmit },
	{ "LMTP socket", start_lmtp, stop_lmtp },
	{ "metrics socket", start_metrics_http, stop_metrics_http },
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

int
daemon_start(struct config *config, const char *config_file)
{
	struct daemon *d = &daemon;

	d->config = config;
	d->services.config = config;
	d->services.config_file = config_file;
	d->services.started = (int64_t)time(NULL);
	return start_parts(d);
}

struct services *
daemon_services(void)
{
	return &daemon.services;
}

void
daemon_stop(void)
{
	stop_parts(&daemon, N_PARTS);
	reload_free(&daemon.services);
}
