/* SPDX-License-Identifier: MIT */
#include "reload.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "config.h"
#include "key_check.h"
#include "log.h"
#include "metrics.h"
#include "need.h"
#include "sent_memory.h"
#include "services.h"

/* What a reload keeps for the stop: memory that can grow without bound must
 * not; so many reloads are a fault somewhere. */
#define OLD_MAX 100000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Guarded by lock. */
static struct config **old;
static size_t n_old;

static void
on_key_check(void *arg, double seconds)
{
	metrics_time(arg, METRICS_KEY_CHECK, seconds);
}

void
reload_key_settings(const struct services *s, const struct config *c,
		    struct key_check_settings *settings_r)
{
	const struct config_api *api = config_main_api(c);

	*settings_r = (struct key_check_settings){
		.url = api ? api->url : "",
		.format = api ? api->format : NULL,
		.local = s->keystore,
		.ask_api = c->ask_api,
		.ask_account = c->ask_account,
		.timeout_ms = c->check_timeout_ms,
		.ttl = c->ttl,
		.negative_ttl = c->negative_ttl,
		.stale = c->stale,
		.timed = on_key_check,
		.timed_arg = s->metrics,
	};
}

/* Under the lock. */
static void
keep(const struct config *c)
{
	old = need(realloc(old, (n_old + 1) * sizeof(*old)));
	old[n_old++] = (struct config *)(uintptr_t)c;
}

static void
put_in_force(struct services *s, struct config *fresh)
{
	struct key_check_settings settings;

	const struct config *before = s->config;

	keep(before);
	atomic_store(&s->config, fresh);
	reload_key_settings(s, fresh, &settings);
	sent_memory_keep_for(s->sent, fresh->remember_sent);
	key_check_reconfigure(s->keys, &settings);
	/* What txmilterctl log-level set stays, unless the file changed. */
	if (fresh->log_level != before->log_level)
		log_set_level(fresh->log_level);
}

/* NULL, or why it cannot be put in force (free()). */
static char *
obstacle(const struct services *s, const struct config *fresh)
{
	const char *option = config_fixed_change(s->config, fresh);
	char *error = NULL;
	int n = 0;

	if (option != NULL)
		n = asprintf(&error,
			     "%s: %s differs, which needs a restart; nothing "
			     "was changed",
			     s->config_file, option);
	else if (n_old >= OLD_MAX)
		n = asprintf(&error, "reloaded too often; restart");
	if (n < 0)
		abort();
	return error;
}

int
reload(struct services *s, char **error_r)
{
	struct config *fresh;

	pthread_mutex_lock(&lock);
	fresh = config_load(s->config_file, error_r);
	if (fresh != NULL) {
		*error_r = obstacle(s, fresh);
		if (*error_r == NULL)
			put_in_force(s, fresh);
		else
			config_free(&fresh);
	}
	pthread_mutex_unlock(&lock);
	if (*error_r == NULL)
		log_info("main", "reload result=ok");
	else
		log_error("main", "reload result=failed error=\"%s\"",
			  *error_r);
	return *error_r == NULL ? 0 : -1;
}

void
reload_free(struct services *s)
{
	struct config *last = (struct config *)(uintptr_t)s->config;

	for (size_t i = 0; i < n_old; i++)
		config_free(&old[i]);
	free(old);
	old = NULL;
	n_old = 0;
	config_free(&last);
	atomic_store(&s->config, NULL);
}
