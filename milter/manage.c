/* SPDX-License-Identifier: MIT */
#include "manage.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "api_health.h"
#include "clock.h"
#include "commands.h"
#include "config.h"
#include "http_pool.h"
#include "key_cache.h"
#include "keystore.h"
#include "log.h"
#include "metrics.h"
#include "reload.h"
#include "request.h"
#include "services.h"
#include "trial.h"

int
manage_fail(struct manage *m, int code, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dynbuf_truncate(m->out, 0);
	(void)dynbuf_addf(m->out, "%s\n", text);
	return code;
}

static bool
parse_span(const char *text, int64_t *seconds_r)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (*text < '0' || *text > '9' || errno != 0 || n > 1000000000L ||
	    end[0] == '\0' || end[1] != '\0')
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (units[i].unit == *end) {
			*seconds_r = n * units[i].seconds;
			return true;
		}
	}
	return false;
}

bool
manage_parse_time(const char *text, int64_t now, int64_t *time_r)
{
	static const char *const forms[] = { "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d" };
	int64_t span;

	if (parse_span(text, &span)) {
		*time_r = now + span;
		return true;
	}
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct tm tm = { 0 };
		const char *end = strptime(text, forms[i], &tm);

		if (end == NULL || *end != '\0')
			continue;
		*time_r = (int64_t)timegm(&tm);
		return *time_r > 0;
	}
	return false;
}

static int
ping(struct manage *m)
{
	report_text(&m->report, "version", TXMILTER_VERSION);
	report_number(&m->report, "pid", (uint64_t)getpid());
	return EX_OK;
}

static void
status_of_sessions(struct manage *m)
{
	struct services *s = m->services;
	const struct config *c = s->config;

	report_switch(&m->report, "draining", atomic_load(&s->draining));
	report_number(&m->report, "sessions", atomic_load(&s->sessions));
	report_number(&m->report, "handoffs", atomic_load(&s->handoffs));
	report_number(&m->report, "handoffs_limit", c->direct_limit);
}

static const char *const api_columns[] = {
	"api",	 "url",	  "connections_max", "connections",
	"calls", "ended", "failed",	     "health",
};

static void
status_of_one_api(struct manage *m, const struct config_api *api,
		  const struct api_service *s)
{
	struct api_health_state health;
	struct http_pool_state http;
	char n[5][24];

	http_pool_state(s->http, &http);
	api_health_state(s->health, clock_ms(), &health);
	(void)snprintf(n[0], sizeof(n[0]), "%u", api->connections);
	(void)snprintf(n[1], sizeof(n[1]), "%u", http.connections);
	(void)snprintf(n[2], sizeof(n[2]), "%u", http.calls);
	(void)snprintf(n[3], sizeof(n[3]), "%lu", http.total);
	(void)snprintf(n[4], sizeof(n[4]), "%lu", http.failed);
	report_row(&m->report,
		   (const char *[]){ api->name, api->url, n[0], n[1], n[2],
				     n[3], n[4],
				     health.open	   ? "down"
				     : health.failures > 0 ? "failing"
							   : "answers" });
}

static void
status_of_apis(struct manage *m)
{
	struct services *s = m->services;

	report_table(&m->report, "apis", api_columns,
		     sizeof(api_columns) / sizeof(api_columns[0]));
	for (size_t i = 0; i < s->apis.n; i++)
		status_of_one_api(m, s->config->apis[i], &s->apis.v[i]);
	report_table_end(&m->report);
}

static void
status_of_keys(struct manage *m)
{
	struct services *s = m->services;
	const struct config *c = s->config;
	struct key_cache_state cache;

	key_cache_state(s->key_cache, &cache);
	report_number(&m->report, "local_keys", keystore_count(s->keystore));
	report_text(&m->report, "other_keys_check",
		    c->ask_api ? "api" : "none");
	report_number(&m->report, "cached_keys", cache.entries);
	report_number(&m->report, "cache_hits", cache.hits);
	report_number(&m->report, "cache_misses", cache.misses);
}

static int
status(struct manage *m)
{
	(void)ping(m);
	report_text(&m->report, "configuration", m->services->config_file);
	report_time(&m->report, "started", m->services->started);
	report_number(&m->report, "uptime_seconds",
		      (uint64_t)(time(NULL) - m->services->started));
	status_of_sessions(m);
	status_of_apis(m);
	status_of_keys(m);
	return EX_OK;
}

/* Nobody reads a histogram's steps on a screen. */
static bool
is_for_programs(const char *line)
{
	return strstr(line, "_bucket{") != NULL;
}

/* "name{labels} value" lines as a table; comments are left out. */
static void
report_samples(struct manage *m, char *text)
{
	static const char *const columns[] = { "value", "metric" };
	char *rest = text;
	char *line;

	report_table(&m->report, "metrics", columns, 2);
	while ((line = strsep(&rest, "\n")) != NULL) {
		char *blank = strrchr(line, ' ');

		if (*line == '#' || blank == NULL ||
		    (!m->request->json && is_for_programs(line)))
			continue;
		*blank = '\0';
		report_row(&m->report, (const char *[]){ blank + 1, line });
	}
	report_table_end(&m->report);
}

static int
stats(struct manage *m)
{
	bool as_it_is = request_has(m->request, "prometheus");
	DYNBUF_AUTO text;

	dynbuf_init(&text, METRICS_PAGE_MAX);
	if (!services_write_metrics(m->services, &text))
		return manage_fail(m, EX_SOFTWARE, "Too many metrics");
	if (as_it_is) {
		dynbuf_truncate(m->out, 0);
		(void)dynbuf_add(m->out, text.data, text.len);
		return EX_OK;
	}
	report_samples(m, text.data);
	return EX_OK;
}

static int
reload_configuration(struct manage *m)
{
	char *error;
	int code;

	if (reload(m->services, &error) == 0) {
		report_text(&m->report, "reloaded", m->services->config_file);
		return EX_OK;
	}
	code = manage_fail(m, EX_CONFIG, "%s", error);
	free(error);
	return code;
}

static int
drain(struct manage *m)
{
	const char *word = request_operand(m->request, 0);
	bool on = word != NULL && strcmp(word, "on") == 0;

	if (word == NULL || (!on && strcmp(word, "off") != 0))
		return manage_fail(m, EX_USAGE, "drain: say on or off");
	if (atomic_exchange(&m->services->draining, on) != on)
		log_info("control", "drain state=%s", word);
	status_of_sessions(m);
	return EX_OK;
}

static int
set_log_level(struct manage *m)
{
	const char *word = request_operand(m->request, 0);
	enum log_level level;

	if (word == NULL || log_level_parse(word, &level) != 0)
		return manage_fail(m, EX_USAGE,
				   "log-level: say error, warning, info or "
				   "debug");
	log_set_level(level);
	report_text(&m->report, "log_level", word);
	return EX_OK;
}

static int
try_message(struct manage *m)
{
	char *error;
	int code;

	m->trial = trial_new(m->services, m->request, &error);
	if (m->trial != NULL)
		return EX_OK;
	code = manage_fail(m, EX_NOUSER, "%s", error);
	free(error);
	return code;
}

static const struct {
	const char *command;
	int (*run)(struct manage *m);
} handlers[] = {
	{ "ping", ping },
	{ "status", status },
	{ "stats", stats },
	{ "reload", reload_configuration },
	{ "drain", drain },
	{ "log-level", set_log_level },
	{ "try", try_message },
	{ "key add", manage_key_add },
	{ "key import", manage_key_import },
	{ "key list", manage_key_list },
	{ "key show", manage_key_show },
	{ "key disable", manage_key_disable },
	{ "key enable", manage_key_enable },
	{ "key revoke", manage_key_revoke },
	{ "key rotate", manage_key_rotate },
	{ "key flush", manage_key_flush },
	{ "route list", manage_route_list },
	{ "route show", manage_route_show },
	{ "route test", manage_route_test },
};

/* Output that is not a report's has no report around it. */
static bool
is_plain(const struct request *r)
{
	return request_has(r, "prometheus") || request_has(r, "export");
}

int
manage_run(struct services *services, const struct request *request,
	   struct dynbuf *out, struct trial **trial_r)
{
	struct manage m = { .services = services,
			    .request = request,
			    .out = out };
	int code = EX_UNAVAILABLE;

	report_begin(&m.report, request->json, out);
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
		if (strcmp(handlers[i].command, request->command->name) == 0)
			code = handlers[i].run(&m);
	}
	if (code == EX_OK && !is_plain(request))
		report_end(&m.report);
	*trial_r = m.trial;
	log_info("control", "request command=\"%s\" code=%d",
		 request->command->name, code);
	return code;
}
