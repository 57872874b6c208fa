/* SPDX-License-Identifier: MIT */
/*
 * All counters are atomic. Only finding the place of a dialect and a route
 * takes a lock: places are filled once, in order, and never change or go, so
 * that whoever knows how many there are may read them without.
 *
 * Numbers are printed without floating point, whose decimal point is the
 * locale's.
 */
#include "metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "need.h"
#include "policy/dynbuf.h"
#include "policy/utf8.h"

#define OTHER "other"

#define NS_PER_S 1000000000ull
/* More is taken as this: a sum of nanoseconds has room for 18 such. */
#define SECONDS_MAX 1e9

enum result { SENT, QUEUED, DEFERRED, REFUSED, OTHERWISE, RESULTS };
static const char *const result_names[RESULTS] = { "sent", "queued", "deferred",
						   "refused", OTHER };

enum part { IMAGE, ATTACHMENT, OTHER_PART, PARTS };
static const char *const part_names[PARTS] = { "image", "attachment", OTHER };

static const char *const call_names[METRICS_CALLS] = {
	[METRICS_CALL_ACCEPTED] = "accepted",
	[METRICS_CALL_REFUSED] = "refused",
	[METRICS_CALL_KEY_WRONG] = "key-wrong",
	[METRICS_CALL_LATER] = "later",
	[METRICS_CALL_MISFIT] = "misfit",
	[METRICS_CALL_KNOWN] = "known",
	[METRICS_CALL_ASSUMED] = "assumed",
};

enum delivery { ACCEPTED, BOUNCED, LATER, DELIVERIES };
static const char *const delivery_names[DELIVERIES] = { "accepted", "refused",
							"later" };

static const char *const auth_names[METRICS_AUTH_REASONS] = {
	[METRICS_AUTH_WRONG] = "wrong",
	[METRICS_AUTH_MISTYPED] = "mistyped",
	[METRICS_AUTH_DISABLED] = "disabled",
	[METRICS_AUTH_ADDRESS] = "address",
	[METRICS_AUTH_LOGIN] = "login",
	[METRICS_AUTH_MALFORMED] = "malformed",
	[METRICS_AUTH_THROTTLED] = "throttled",
	[METRICS_AUTH_UNKNOWN] = "unknown",
};

/* Upper bounds, inclusive. The last is over direct_timeout's default. */
static const struct {
	const char *label;
	uint64_t ns;
} steps[] = {
	{ "0.001", 1000000 },	 { "0.0025", 2500000 },
	{ "0.005", 5000000 },	 { "0.01", 10000000 },
	{ "0.025", 25000000 },	 { "0.05", 50000000 },
	{ "0.1", 100000000 },	 { "0.25", 250000000 },
	{ "0.5", 500000000 },	 { "1", NS_PER_S },
	{ "2.5", 2500000000 },	 { "5", 5 * NS_PER_S },
	{ "10", 10 * NS_PER_S }, { "20", 20 * NS_PER_S },
	{ "30", 30 * NS_PER_S }, { "+Inf", UINT64_MAX },
};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

struct histogram {
	atomic_ullong in[STEPS]; /* of each step alone */
	atomic_ullong sum_ns;
};

struct dialect_figures {
	char *name;
	atomic_ullong bytes;
};

struct route_figures {
	size_t dialect; /* index */
	char *name;
	atomic_ullong messages[RESULTS];
};

/* Those past the bound are "other", one for each dialect, "other" too. */
#define DIALECTS (METRICS_DIALECTS_MAX + 1)
#define ROUTES (METRICS_ROUTES_MAX + DIALECTS)

struct metrics {
	struct histogram times[METRICS_TIMES];
	atomic_ullong auth_failures[METRICS_AUTH_REASONS];
	atomic_ullong parts_dropped[PARTS];
	atomic_ullong calls[METRICS_CALLS];
	atomic_ullong deliveries[DELIVERIES];
	pthread_mutex_t lock;
	/* Guarded by lock: */
	size_t n_dialects, n_routes;
	/* Written once under lock; then only their counters: */
	struct dialect_figures dialects[DIALECTS];
	struct route_figures routes[ROUTES];
};

/* What a page is written of. */
struct page {
	struct metrics *m;
	const struct metrics_now *now;
	size_t n_dialects, n_routes;
	struct dynbuf *out;
};

struct metrics *
metrics_new(void)
{
	struct metrics *m = need(calloc(1, sizeof(*m)));

	if (pthread_mutex_init(&m->lock, NULL) != 0)
		abort();
	return m;
}

void
metrics_free(struct metrics **mp)
{
	struct metrics *m = *mp;

	if (m == NULL)
		return;
	for (size_t i = 0; i < m->n_dialects; i++)
		free(m->dialects[i].name);
	for (size_t i = 0; i < m->n_routes; i++)
		free(m->routes[i].name);
	pthread_mutex_destroy(&m->lock);
	free(m);
	*mp = NULL;
}

static void
add(atomic_ullong *counter, unsigned long long n)
{
	if (n > 0)
		atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static unsigned long long
get(const atomic_ullong *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static const char *
label_of(const char *text)
{
	size_t len = strnlen(text, METRICS_LABEL_MAX + 1);

	if (len > METRICS_LABEL_MAX || utf8_valid_prefix(text, len) != len ||
	    !utf8_is_printable(text, len))
		return OTHER;
	return text;
}

/* The last place is kept for "other". */
static size_t
dialect_index(struct metrics *m, const char *name)
{
	size_t i = 0;

	while (i < m->n_dialects && strcmp(m->dialects[i].name, name) != 0)
		i++;
	if (i < m->n_dialects)
		return i;
	if (i >= METRICS_DIALECTS_MAX && strcmp(name, OTHER) != 0)
		return dialect_index(m, OTHER);
	m->dialects[m->n_dialects++].name = need(strdup(name));
	return i;
}

/* A scan: there are a few routes, and 200 at most. The last places are kept
 * for the "other" of each dialect. */
static struct route_figures *
route_at(struct metrics *m, size_t dialect, const char *name)
{
	struct route_figures *r = m->routes;
	const struct route_figures *end = r + m->n_routes;

	while (r < end && (r->dialect != dialect || strcmp(r->name, name) != 0))
		r++;
	if (r < end)
		return r;
	if (m->n_routes >= METRICS_ROUTES_MAX && strcmp(name, OTHER) != 0)
		return route_at(m, dialect, OTHER);
	m->n_routes++;
	r->dialect = dialect;
	r->name = need(strdup(name));
	return r;
}

static enum result
result_of(const char *name)
{
	enum result r = SENT;

	while (r < OTHERWISE && strcmp(result_names[r], name) != 0)
		r++;
	return r;
}

void
metrics_message(struct metrics *m, const struct metrics_message *what)
{
	const char *dialect = label_of(what->dialect);
	const char *route = label_of(what->route);
	struct route_figures *r;

	pthread_mutex_lock(&m->lock);
	r = route_at(m, dialect_index(m, dialect), route);
	pthread_mutex_unlock(&m->lock);
	add(&r->messages[result_of(what->result)], 1);
	add(&m->dialects[r->dialect].bytes, what->bytes);
	add(&m->parts_dropped[IMAGE], what->images);
	add(&m->parts_dropped[ATTACHMENT], what->attachments);
	add(&m->parts_dropped[OTHER_PART], what->other);
}

/* Not a number is 0, too. */
static uint64_t
nanoseconds(double seconds)
{
	if (!(seconds > 0))
		return 0;
	if (seconds > SECONDS_MAX)
		seconds = SECONDS_MAX;
	return (uint64_t)(seconds * (double)NS_PER_S);
}

void
metrics_time(struct metrics *m, enum metrics_time which, double seconds)
{
	struct histogram *h = &m->times[which];
	uint64_t ns = nanoseconds(seconds);
	size_t i = 0;

	while (ns > steps[i].ns)
		i++;
	add(&h->in[i], 1);
	add(&h->sum_ns, ns);
}

enum metrics_auth
metrics_auth_of(enum key_reason reason)
{
	switch (reason) {
	case KEY_REASON_MISTYPED:
		return METRICS_AUTH_MISTYPED;
	case KEY_REASON_DISABLED:
		return METRICS_AUTH_DISABLED;
	case KEY_REASON_ADDRESS:
		return METRICS_AUTH_ADDRESS;
	case KEY_REASON_NONE:
	case KEY_REASON_NOT_KNOWN:
		break;
	}
	return METRICS_AUTH_WRONG;
}

void
metrics_auth_failed(struct metrics *m, enum metrics_auth why)
{
	add(&m->auth_failures[why], 1);
}

void
metrics_call(struct metrics *m, enum metrics_call what)
{
	add(&m->calls[what], 1);
}

void
metrics_delivery(struct metrics *m, size_t accepted, size_t refused,
		 size_t later)
{
	add(&m->deliveries[ACCEPTED], accepted);
	add(&m->deliveries[BOUNCED], refused);
	add(&m->deliveries[LATER], later);
}

enum figure {
	LMTP_CONNECTIONS,
	SESSIONS,
	HANDOFFS,
	HTTP_CONNECTIONS,
	HTTP_CALLS,
	CACHED_KEYS,
	LOCAL_KEYS,
	LIMITED_NAMES,
	DRAINING,
	STARTED,
};

struct metric {
	const char *name, *type, *help;
	void (*write)(const struct page *p, const struct metric *self);
	unsigned which; /* of those that its writer writes */
};

/* Backslash, quote and line feed are what the format has escapes for. No
 * label has a control character. */
static void
write_label(struct dynbuf *out, const char *name, const char *value)
{
	dynbuf_addf(out, "%s=\"", name);
	for (; *value != '\0'; value++) {
		if (*value == '\\' || *value == '"')
			dynbuf_add(out, "\\", 1);
		dynbuf_add(out, value, 1);
	}
	dynbuf_add(out, "\"", 1);
}

static void
write_with_label(const struct page *p, const struct metric *self,
		 const char *label, const char *value, unsigned long long n)
{
	dynbuf_addf(p->out, "%s{", self->name);
	write_label(p->out, label, value);
	dynbuf_addf(p->out, "} %llu\n", n);
}

static void
write_route(const struct page *p, const struct metric *self,
	    const struct route_figures *r)
{
	for (enum result i = 0; i < RESULTS; i++) {
		unsigned long long n = get(&r->messages[i]);

		if (i == OTHERWISE && n == 0)
			continue;
		dynbuf_addf(p->out, "%s{", self->name);
		write_label(p->out, "dialect", p->m->dialects[r->dialect].name);
		dynbuf_adds(p->out, ",");
		write_label(p->out, "route", r->name);
		dynbuf_adds(p->out, ",");
		write_label(p->out, "result", result_names[i]);
		dynbuf_addf(p->out, "} %llu\n", n);
	}
}

static void
write_messages(const struct page *p, const struct metric *self)
{
	for (size_t i = 0; i < p->n_routes; i++)
		write_route(p, self, &p->m->routes[i]);
}

static void
write_bytes(const struct page *p, const struct metric *self)
{
	for (size_t i = 0; i < p->n_dialects; i++)
		write_with_label(p, self, "dialect", p->m->dialects[i].name,
				 get(&p->m->dialects[i].bytes));
}

static void
write_parts(const struct page *p, const struct metric *self)
{
	for (size_t i = 0; i < PARTS; i++)
		write_with_label(p, self, "kind", part_names[i],
				 get(&p->m->parts_dropped[i]));
}

static void
write_auth_failures(const struct page *p, const struct metric *self)
{
	for (size_t i = 0; i < METRICS_AUTH_REASONS; i++)
		write_with_label(p, self, "reason", auth_names[i],
				 get(&p->m->auth_failures[i]));
}

/* The count is the last step's, whatever is counted meanwhile. */
static void
write_histogram(const struct page *p, const struct metric *self)
{
	const struct histogram *h = &p->m->times[self->which];
	unsigned long long count = 0, sum;

	for (size_t i = 0; i < STEPS; i++) {
		count += get(&h->in[i]);
		dynbuf_addf(p->out, "%s_bucket{le=\"%s\"} %llu\n", self->name,
			    steps[i].label, count);
	}
	sum = get(&h->sum_ns);
	dynbuf_addf(p->out, "%s_sum %llu.%09llu\n", self->name, sum / NS_PER_S,
		    sum % NS_PER_S);
	dynbuf_addf(p->out, "%s_count %llu\n", self->name, count);
}

static void
write_calls(const struct page *p, const struct metric *self)
{
	for (size_t i = 0; i < METRICS_CALLS; i++)
		write_with_label(p, self, "result", call_names[i],
				 get(&p->m->calls[i]));
}

static void
write_deliveries(const struct page *p, const struct metric *self)
{
	for (size_t i = 0; i < DELIVERIES; i++)
		write_with_label(p, self, "result", delivery_names[i],
				 get(&p->m->deliveries[i]));
}

static void
write_apis(const struct page *p, const struct metric *self)
{
	for (size_t i = 0; i < p->now->n_apis; i++)
		write_with_label(p, self, "api", p->now->apis[i].name,
				 p->now->apis[i].up);
}

static void
write_http_calls(const struct page *p, const struct metric *self)
{
	unsigned long total = p->now->http_total, failed = p->now->http_failed;

	write_with_label(p, self, "result", "answered",
			 total > failed ? total - failed : 0);
	write_with_label(p, self, "result", "failed", failed);
}

static void
write_lookups(const struct page *p, const struct metric *self)
{
	write_with_label(p, self, "result", "hit", p->now->cache_hits);
	write_with_label(p, self, "result", "miss", p->now->cache_misses);
}

static long long
figure(const struct metrics_now *now, enum figure which)
{
	switch (which) {
	case LMTP_CONNECTIONS:
		return now->lmtp_connections;
	case SESSIONS:
		return now->sessions;
	case HANDOFFS:
		return now->handoffs;
	case HTTP_CONNECTIONS:
		return now->http_connections;
	case HTTP_CALLS:
		return now->http_calls;
	case CACHED_KEYS:
		return (long long)now->cached_keys;
	case LOCAL_KEYS:
		return (long long)now->local_keys;
	case LIMITED_NAMES:
		return (long long)now->limited_names;
	case DRAINING:
		return now->draining;
	case STARTED:
		return now->started;
	}
	return 0;
}

static void
write_figure(const struct page *p, const struct metric *self)
{
	dynbuf_addf(p->out, "%s %lld\n", self->name,
		    figure(p->now, self->which));
}

static void
write_build(const struct page *p, const struct metric *self)
{
	write_with_label(p, self, "version", TXMILTER_VERSION, 1);
}

static const struct metric metrics[] = {
	{ "txmilter_messages_total", "counter",
	  "Messages that are over, by what became of them.", write_messages,
	  0 },
	{ "txmilter_message_bytes_total", "counter",
	  "Bytes of the messages that are over, as they came.", write_bytes,
	  0 },
	{ "txmilter_parts_dropped_total", "counter",
	  "MIME parts that were not sent on.", write_parts, 0 },
	{ "txmilter_handoff_seconds", "histogram",
	  "Time until a hand-off was over.", write_histogram, METRICS_HANDOFF },
	{ "txmilter_key_check_seconds", "histogram",
	  "Time until a key check was answered.", write_histogram,
	  METRICS_KEY_CHECK },
	{ "txmilter_auth_failures_total", "counter",
	  "Logins and header keys that were not accepted.", write_auth_failures,
	  0 },
	{ "txmilter_calls_total", "counter",
	  "Recipients the API was to be called for, by what came of it.",
	  write_calls, 0 },
	{ "txmilter_deliveries_total", "counter",
	  "Recipients out of the queue, by what Postfix was told.",
	  write_deliveries, 0 },
	{ "txmilter_api_up", "gauge",
	  "0 while calls to the API are held back, for it does not answer.",
	  write_apis, 0 },
	{ "txmilter_lmtp_connections", "gauge",
	  "Connections of Postfix that deliver its queue, now.", write_figure,
	  LMTP_CONNECTIONS },
	{ "txmilter_sessions", "gauge", "SMTP sessions now.", write_figure,
	  SESSIONS },
	{ "txmilter_handoffs", "gauge", "Hand-offs waiting for an API now.",
	  write_figure, HANDOFFS },
	{ "txmilter_http_connections", "gauge",
	  "Connections to the API that are open.", write_figure,
	  HTTP_CONNECTIONS },
	{ "txmilter_http_calls", "gauge", "HTTP calls under way now.",
	  write_figure, HTTP_CALLS },
	{ "txmilter_http_calls_total", "counter",
	  "HTTP calls that are over; failed ones had no answer.",
	  write_http_calls, 0 },
	{ "txmilter_cached_keys", "gauge", "Keys in the memory cache.",
	  write_figure, CACHED_KEYS },
	{ "txmilter_local_keys", "gauge", "Keys in the local key store.",
	  write_figure, LOCAL_KEYS },
	{ "txmilter_key_cache_lookups_total", "counter",
	  "Lookups in the key cache.", write_lookups, 0 },
	{ "txmilter_rate_limited_names", "gauge",
	  "Names that have used some of their rate limit now.", write_figure,
	  LIMITED_NAMES },
	{ "txmilter_draining", "gauge",
	  "1 while no new messages are taken, else 0.", write_figure,
	  DRAINING },
	{ "process_start_time_seconds", "gauge",
	  "When the daemon was started, in seconds since 1970.", write_figure,
	  STARTED },
	{ "txmilter_build_info", "gauge", "1, with the version.", write_build,
	  0 },
};

bool
metrics_write(struct metrics *m, const struct metrics_now *now,
	      struct dynbuf *out)
{
	struct page p = { .m = m, .now = now, .out = out };

	pthread_mutex_lock(&m->lock);
	p.n_dialects = m->n_dialects;
	p.n_routes = m->n_routes;
	pthread_mutex_unlock(&m->lock);
	for (size_t i = 0; metrics_name(i) != NULL; i++) {
		const struct metric *self = &metrics[i];

		dynbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", self->name,
			    self->help, self->name, self->type);
		self->write(&p, self);
	}
	return !out->overflow;
}

const char *
metrics_name(size_t i)
{
	return i < sizeof(metrics) / sizeof(metrics[0]) ? metrics[i].name
							: NULL;
}
