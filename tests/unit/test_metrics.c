/* SPDX-License-Identifier: MIT */
/*
 * Every page goes through a strict reader of the exposition format, and
 * through promtool where that is installed.
 */
#include "milter/metrics.h"

#include <ctype.h>
#include <glib.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy/dynbuf.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* What has been read of a page. */
struct reader {
	GHashTable *values;   /* series as written: its value as written */
	GHashTable *families; /* names */
	char *family, *type;
	/* Of the histogram being read: */
	double le, bucket;
	bool inf, summed, counted;
};

static bool
is_name(const char *s, size_t len)
{
	if (len == 0 || isdigit((unsigned char)s[0]))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)s[i]) && s[i] != '_')
			return false;
	}
	return true;
}

/* The rest after a quoted value; NULL when it is not one. */
static const char *
skip_value(const char *s)
{
	if (*s++ != '"')
		return NULL;
	for (; *s != '"'; s++) {
		if (*s == '\\' && strchr("\\\"n", *++s) == NULL)
			return NULL;
		if (*s == '\0')
			return NULL;
	}
	return s + 1;
}

/* The rest after {a="b",c="d"}; NULL when it is not that. */
static const char *
skip_labels(const char *s)
{
	do {
		size_t n = strcspn(++s, "=");

		if (!is_name(s, n) || s[n] == '\0')
			return NULL;
		s = skip_value(s + n + 1);
	} while (s != NULL && *s == ',');
	return s != NULL && *s == '}' ? s + 1 : NULL;
}

static bool
is_number(const char *s)
{
	size_t n = strspn(s, "0123456789");

	if (n == 0)
		return false;
	if (s[n] == '.' && isdigit((unsigned char)s[n + 1]))
		n += 1 + strspn(s + n + 1, "0123456789");
	return s[n] == '\0';
}

static void
end_family(const struct reader *r)
{
	if (r->type != NULL && strcmp(r->type, "histogram") == 0)
		assert_true(r->inf && r->summed && r->counted);
}

static void
read_help(struct reader *r, const char *line)
{
	size_t n = strcspn(line, " ");

	end_family(r);
	assert_true(is_name(line, n));
	assert_true(line[n] == ' ' && line[n + 1] != '\0');
	assert_null(strchr(line, '\\'));
	g_free(r->family);
	g_free(r->type);
	r->family = g_strndup(line, n);
	r->type = NULL;
	r->bucket = 0;
	r->le = -1;
	r->inf = r->summed = r->counted = false;
	assert_true(g_hash_table_add(r->families, g_strdup(r->family)));
}

static void
read_type(struct reader *r, const char *line)
{
	size_t n = strcspn(line, " ");

	assert_null(r->type);
	assert_non_null(r->family);
	assert_int_equal(n, strlen(r->family));
	assert_memory_equal(line, r->family, n);
	r->type = g_strdup(line + n + 1);
	if (strcmp(r->type, "counter") == 0)
		assert_true(g_str_has_suffix(r->family, "_total"));
	else
		assert_true(strcmp(r->type, "gauge") == 0 ||
			    strcmp(r->type, "histogram") == 0);
}

static void
read_histogram(struct reader *r, const char *suffix, const char *labels,
	       double value)
{
	if (strcmp(suffix, "_bucket") == 0) {
		char le[16];

		assert_int_equal(sscanf(labels, "{le=\"%15[^\"]\"}", le), 1);
		assert_false(r->inf);
		assert_true(g_ascii_strtod(le, NULL) > r->le);
		assert_true(value >= r->bucket);
		r->le = g_ascii_strtod(le, NULL);
		r->inf = strcmp(le, "+Inf") == 0;
		r->bucket = value;
	} else if (strcmp(suffix, "_sum") == 0) {
		assert_false(r->summed);
		r->summed = true;
	} else {
		assert_string_equal(suffix, "_count");
		assert_false(r->counted);
		assert_true(r->inf && value == r->bucket);
		r->counted = true;
	}
}

static void
read_sample(struct reader *r, const char *line)
{
	size_t n = strcspn(line, "{ ");
	const char *end = line[n] == '{' ? skip_labels(line + n) : line + n;
	g_autofree char *name = g_strndup(line, n);

	if (end == NULL || *end != ' ' || !is_number(end + 1))
		fail_msg("bad line: %s", line);
	assert_non_null(r->type);
	if (strcmp(r->type, "histogram") == 0) {
		assert_true(g_str_has_prefix(name, r->family));
		read_histogram(r, name + strlen(r->family), line + n,
			       g_ascii_strtod(end + 1, NULL));
	} else {
		assert_string_equal(name, r->family);
	}
	if (!g_hash_table_insert(r->values,
				 g_strndup(line, (gsize)(end - line)),
				 g_strdup(end + 1)))
		fail_msg("twice: %s", line);
}

static void
read_page(const char *page, struct reader *r)
{
	g_auto(GStrv) lines = g_strsplit(page, "\n", -1);
	guint n = g_strv_length(lines);

	*r = (struct reader){ 0 };
	r->values =
	    g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	r->families =
	    g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	assert_true(n > 1 && lines[n - 1][0] == '\0');
	assert_true(g_utf8_validate(page, -1, NULL));
	for (guint i = 0; i < n - 1; i++) {
		if (g_str_has_prefix(lines[i], "# HELP "))
			read_help(r, lines[i] + 7);
		else if (g_str_has_prefix(lines[i], "# TYPE "))
			read_type(r, lines[i] + 7);
		else
			read_sample(r, lines[i]);
	}
	end_family(r);
}

static void
reader_clear(struct reader *r)
{
	g_hash_table_destroy(r->values);
	g_hash_table_destroy(r->families);
	g_free(r->family);
	g_free(r->type);
}

static const struct metrics_now nothing;

static char *
page_of(struct metrics *m, const struct metrics_now *now)
{
	struct dynbuf out;
	size_t len;

	dynbuf_init(&out, METRICS_PAGE_MAX);
	assert_true(metrics_write(m, now, &out));
	return dynbuf_steal(&out, &len);
}

static void
read_metrics(struct metrics *m, const struct metrics_now *now, struct reader *r)
{
	char *page = page_of(m, now);

	read_page(page, r);
	free(page);
}

static void
expect(const struct reader *r, const char *series, const char *want)
{
	const char *value = g_hash_table_lookup(r->values, series);

	if (g_strcmp0(value, want) != 0)
		fail_msg("%s is %s, wanted %s", series,
			 value ? value : "not there", want ? want : "nothing");
}

/* The sum of the series that begin so. */
static double
sum_of(const struct reader *r, const char *prefix)
{
	GHashTableIter i;
	gpointer key, value;
	double sum = 0;

	g_hash_table_iter_init(&i, r->values);
	while (g_hash_table_iter_next(&i, &key, &value)) {
		if (g_str_has_prefix(key, prefix))
			sum += g_ascii_strtod(value, NULL);
	}
	return sum;
}

static guint
series_of(const struct reader *r, const char *prefix)
{
	GHashTableIter i;
	gpointer key;
	guint n = 0;

	g_hash_table_iter_init(&i, r->values);
	while (g_hash_table_iter_next(&i, &key, NULL))
		n += g_str_has_prefix(key, prefix);
	return n;
}

static void
test_the_table(void **state)
{
	struct metrics *m = metrics_new();
	struct reader r;
	guint n = 0;

	(void)state;
	read_metrics(m, &nothing, &r);
	for (; metrics_name(n) != NULL; n++)
		assert_true(g_hash_table_contains(r.families, metrics_name(n)));
	assert_int_equal(g_hash_table_size(r.families), n);
	assert_null(metrics_name(n + 1));
	reader_clear(&r);
	metrics_free(&m);
	assert_null(m);
	metrics_free(&m);
}

static void
test_what_others_tell(void **state)
{
	static const struct metrics_now now = {
		.started = 1763647200,
		.sessions = 11,
		.handoffs = 12,
		.http_connections = 12,
		.http_calls = 13,
		.http_total = 1000,
		.http_failed = 14,
		.cached_keys = 15,
		.local_keys = 16,
		.limited_names = 17,
		.cache_hits = 18,
		.cache_misses = 19,
		.draining = true,
	};
	static const struct {
		const char *series, *value, *at_first;
	} rows[] = {
		{ "process_start_time_seconds", "1763647200", "0" },
		{ "txmilter_sessions", "11", "0" },
		{ "txmilter_handoffs", "12", "0" },
		{ "txmilter_http_connections", "12", "0" },
		{ "txmilter_http_calls", "13", "0" },
		{ "txmilter_http_calls_total{result=\"answered\"}", "986",
		  "0" },
		{ "txmilter_http_calls_total{result=\"failed\"}", "14", "0" },
		{ "txmilter_cached_keys", "15", "0" },
		{ "txmilter_local_keys", "16", "0" },
		{ "txmilter_rate_limited_names", "17", "0" },
		{ "txmilter_key_cache_lookups_total{result=\"hit\"}", "18",
		  "0" },
		{ "txmilter_key_cache_lookups_total{result=\"miss\"}", "19",
		  "0" },
		{ "txmilter_draining", "1", "0" },
		{ "txmilter_build_info{version=\"" TXMILTER_VERSION "\"}", "1",
		  "1" },
	};
	struct metrics *m = metrics_new();
	struct reader r, first;

	(void)state;
	read_metrics(m, &now, &r);
	read_metrics(m, &nothing, &first);
	for (size_t i = 0; i < COUNT(rows); i++) {
		expect(&r, rows[i].series, rows[i].value);
		expect(&first, rows[i].series, rows[i].at_first);
	}
	reader_clear(&r);
	reader_clear(&first);
	metrics_free(&m);
}

#define MESSAGES(dialect, route, result)                                 \
	"txmilter_messages_total{dialect=\"" dialect "\",route=\"" route \
	"\",result=\"" result "\"}"

static void
test_messages(void **state)
{
	static const struct metrics_message messages[] = {
		{ "ed", "r1", "sent", 1000, 1, 2, 3 },
		{ "ed", "r1", "sent", 500, 0, 0, 0 },
		{ "ed", "r1", "deferred", 20, 0, 1, 0 },
		{ "ed", "", "refused", 3, 0, 0, 0 },
		{ "sp", "r1", "lost", 7, 0, 0, 0 },
		{ "sp", "a\\b\"c", "sent", 0, 0, 0, 0 },
		{ "sp", "\"\\", "sent", 0, 0, 0, 0 },
		{ "sp", "\xc3\xa9", "sent", 0, 0, 0, 0 },
		{ "sp", "x\ny", "sent", 0, 0, 0, 0 },
		{ "sp", "x\xff", "sent", 0, 0, 0, 0 },
	};
	static const struct {
		const char *series, *value;
	} rows[] = {
		{ MESSAGES("ed", "r1", "sent"), "2" },
		{ MESSAGES("ed", "r1", "deferred"), "1" },
		{ MESSAGES("ed", "r1", "refused"), "0" },
		{ MESSAGES("ed", "r1", "other"), NULL },
		{ MESSAGES("ed", "", "refused"), "1" },
		{ MESSAGES("sp", "r1", "sent"), "0" },
		{ MESSAGES("sp", "r1", "other"), "1" },
		{ MESSAGES("sp", "a\\\\b\\\"c", "sent"), "1" },
		{ MESSAGES("sp", "\\\"\\\\", "sent"), "1" },
		{ MESSAGES("sp", "\xc3\xa9", "sent"), "1" },
		{ MESSAGES("sp", "other", "sent"), "2" },
		{ "txmilter_message_bytes_total{dialect=\"ed\"}", "1523" },
		{ "txmilter_message_bytes_total{dialect=\"sp\"}", "7" },
		{ "txmilter_parts_dropped_total{kind=\"image\"}", "1" },
		{ "txmilter_parts_dropped_total{kind=\"attachment\"}", "3" },
		{ "txmilter_parts_dropped_total{kind=\"other\"}", "3" },
	};
	struct metrics *m = metrics_new();
	struct reader r;

	(void)state;
	read_metrics(m, &nothing, &r);
	assert_int_equal(series_of(&r, "txmilter_messages_total"), 0);
	reader_clear(&r);
	for (size_t i = 0; i < COUNT(messages); i++)
		metrics_message(m, &messages[i]);
	read_metrics(m, &nothing, &r);
	for (size_t i = 0; i < COUNT(rows); i++)
		expect(&r, rows[i].series, rows[i].value);
	assert_true(sum_of(&r, "txmilter_messages_total") == COUNT(messages));
	reader_clear(&r);
	metrics_free(&m);
}

static void
test_auth_failures(void **state)
{
	static const char *const reasons[METRICS_AUTH_REASONS] = {
		[METRICS_AUTH_WRONG] = "wrong",
		[METRICS_AUTH_MISTYPED] = "mistyped",
		[METRICS_AUTH_DISABLED] = "disabled",
		[METRICS_AUTH_ADDRESS] = "address",
		[METRICS_AUTH_LOGIN] = "login",
		[METRICS_AUTH_MALFORMED] = "malformed",
		[METRICS_AUTH_THROTTLED] = "throttled",
		[METRICS_AUTH_UNKNOWN] = "unknown",
	};
	struct metrics *m = metrics_new();
	struct reader r;

	(void)state;
	for (unsigned i = 0; i < METRICS_AUTH_REASONS; i++)
		for (unsigned j = 0; j <= i; j++)
			metrics_auth_failed(m, i);
	read_metrics(m, &nothing, &r);
	for (unsigned i = 0; i < METRICS_AUTH_REASONS; i++) {
		g_autofree char *series = g_strdup_printf(
		    "txmilter_auth_failures_total{reason=\"%s\"}", reasons[i]);
		g_autofree char *value = g_strdup_printf("%u", i + 1);

		expect(&r, series, value);
	}
	reader_clear(&r);
	metrics_free(&m);
}

static void
test_histograms(void **state)
{
	static const struct {
		double seconds;
		const char *below, *in; /* the last step without it, its own */
		const char *sum;
	} rows[] = {
		{ 0, NULL, "0.001", "0.000000000" },
		{ -1, NULL, "0.001", "0.000000000" },
		{ NAN, NULL, "0.001", "0.000000000" },
		{ 0.001, NULL, "0.001", "0.001000000" },
		{ 0.00100001, "0.001", "0.0025", "0.001000010" },
		{ 0.7, "0.5", "1", "0.700000000" },
		{ 20, "10", "20", "20.000000000" },
		{ 30, "20", "30", "30.000000000" },
		{ 31.5, "30", "+Inf", "31.500000000" },
		{ 1e300, "30", "+Inf", "1000000000.000000000" },
		{ INFINITY, "30", "+Inf", "1000000000.000000000" },
	};
	static const char *const names[] = { "txmilter_handoff_seconds",
					     "txmilter_key_check_seconds" };

	(void)state;
	for (size_t i = 0; i < 2 * COUNT(rows); i++) {
		const char *name = names[i % 2];
		const char *below = rows[i / 2].below, *in = rows[i / 2].in;
		g_autofree char *b =
		    g_strdup_printf("%s_bucket{le=\"%s\"}", name, below);
		g_autofree char *at =
		    g_strdup_printf("%s_bucket{le=\"%s\"}", name, in);
		g_autofree char *sum = g_strdup_printf("%s_sum", name);
		g_autofree char *count = g_strdup_printf("%s_count", name);
		struct metrics *m = metrics_new();
		struct reader r;

		metrics_time(m, i % 2 ? METRICS_KEY_CHECK : METRICS_HANDOFF,
			     rows[i / 2].seconds);
		read_metrics(m, &nothing, &r);
		if (below != NULL)
			expect(&r, b, "0");
		expect(&r, at, "1");
		expect(&r, sum, rows[i / 2].sum);
		expect(&r, count, "1");
		assert_true(sum_of(&r, names[(i + 1) % 2]) == 0);
		reader_clear(&r);
		metrics_free(&m);
	}
}

static void
count_message(struct metrics *m, unsigned dialect, unsigned route)
{
	char d[METRICS_LABEL_MAX + 1], name[METRICS_LABEL_MAX + 1];
	struct metrics_message what = { d, name, "sent", 1, 0, 0, 0 };
	size_t n;

	/* As long as a page can get: each byte is two, all results. */
	memset(d, '"', sizeof(d));
	memset(name, '\\', sizeof(name));
	n = (size_t)snprintf(NULL, 0, "%u", dialect);
	snprintf(d + METRICS_LABEL_MAX - n, n + 1, "%u", dialect);
	n = (size_t)snprintf(NULL, 0, "%u", route);
	snprintf(name + METRICS_LABEL_MAX - n, n + 1, "%u", route);
	metrics_message(m, &what);
	what.result = "?";
	metrics_message(m, &what);
}

static void
test_bounds(void **state)
{
	struct metrics *m = metrics_new();
	struct dynbuf out;
	struct reader r;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		count_message(m, i % 25, i);
	read_metrics(m, &nothing, &r);
	assert_int_equal(series_of(&r, "txmilter_message_bytes_total"),
			 METRICS_DIALECTS_MAX + 1);
	/* Nine dialects' are in "other"; its route of that name was made
	 * before the bound, or at it. */
	assert_int_equal(series_of(&r, "txmilter_messages_total"),
			 5 * (METRICS_ROUTES_MAX + METRICS_DIALECTS_MAX + 1));
	assert_true(sum_of(&r, "txmilter_messages_total") == 2000);
	assert_true(sum_of(&r, "txmilter_message_bytes_total") == 2000);
	reader_clear(&r);

	/* A page that has no room is no page. */
	dynbuf_init(&out, METRICS_PAGE_MAX);
	assert_true(metrics_write(m, &nothing, &out));
	out.max = out.len - 1;
	dynbuf_truncate(&out, 0);
	assert_false(metrics_write(m, &nothing, &out));
	dynbuf_clear(&out);
	metrics_free(&m);
}

/* The dialect is as long as a label may be, the route longer by one. */
static void
test_label_length(void **state)
{
	char longest[METRICS_LABEL_MAX + 1], over[METRICS_LABEL_MAX + 2];
	struct metrics_message what = { longest, over, "sent", 1, 0, 0, 0 };
	struct metrics *m = metrics_new();
	g_autofree char *series = NULL;
	struct reader r;

	(void)state;
	memset(longest, 'd', sizeof(longest));
	longest[METRICS_LABEL_MAX] = '\0';
	memset(over, 'r', sizeof(over));
	over[METRICS_LABEL_MAX + 1] = '\0';
	metrics_message(m, &what);
	read_metrics(m, &nothing, &r);
	series = g_strdup_printf("txmilter_messages_total{dialect=\"%s\","
				 "route=\"other\",result=\"sent\"}",
				 longest);
	expect(&r, series, "1");
	reader_clear(&r);
	metrics_free(&m);
}

/* Where the decimal point is a comma, if such a locale is there. */
static void
test_locale(void **state)
{
	struct metrics *m = metrics_new();
	struct reader r;

	(void)state;
	(void)setlocale(LC_ALL, "de_DE.UTF-8");
	metrics_time(m, METRICS_HANDOFF, 0.25);
	read_metrics(m, &nothing, &r);
	expect(&r, "txmilter_handoff_seconds_sum", "0.250000000");
	(void)setlocale(LC_ALL, "C");
	reader_clear(&r);
	metrics_free(&m);
}

static void
test_promtool(void **state)
{
	static const char *const routes[] = { "a\\b\"c", "\xc3\xa9", "", "r" };
	g_autofree char *tool = g_find_program_in_path("promtool");
	struct metrics *m = metrics_new();
	char *page;
	FILE *f;

	(void)state;
	for (size_t i = 0; i < COUNT(routes); i++) {
		struct metrics_message what = { "ed", routes[i], "sent", 1,
						1,    1,	 1 };

		metrics_message(m, &what);
	}
	metrics_time(m, METRICS_HANDOFF, 0.3);
	page = page_of(m, &nothing);
	metrics_free(&m);
	if (tool != NULL) {
		f = popen("promtool check metrics", "w");
		assert_non_null(f);
		assert_int_equal(fwrite(page, strlen(page), 1, f), 1);
		assert_int_equal(pclose(f), 0);
	}
	free(page);
}

#define THREADS 8
#define TRIES 2000

struct shared {
	struct metrics *m;
	atomic_uint started;
	atomic_bool over;
};

static void *
count_in_thread(void *arg)
{
	struct shared *s = arg;
	unsigned me = atomic_fetch_add(&s->started, 1);

	for (unsigned i = 0; i < TRIES; i++) {
		char dialect[16], route[16];
		const struct metrics_message what = {
			dialect, route, i % 2 ? "sent" : "refused", 3, 1, 1, 1,
		};

		snprintf(dialect, sizeof(dialect), "d%u", i % 3);
		snprintf(route, sizeof(route), "r%u", (i * 7 + me) % 300);
		metrics_message(s->m, &what);
		metrics_time(s->m, METRICS_HANDOFF, 0.25);
		metrics_auth_failed(s->m, METRICS_AUTH_WRONG);
	}
	return NULL;
}

static void *
read_in_thread(void *arg)
{
	struct shared *s = arg;
	double last = 0;

	while (!atomic_load(&s->over)) {
		struct reader r;
		double sum;

		read_metrics(s->m, &nothing, &r);
		sum = sum_of(&r, "txmilter_messages_total");
		assert_true(sum >= last);
		last = sum;
		reader_clear(&r);
	}
	return NULL;
}

/* Pages can be read at any time, and in the end nothing was lost. */
static void
test_threads(void **state)
{
	struct shared s = { .m = metrics_new() };
	pthread_t threads[THREADS], reading;
	struct reader r;
	const double all = THREADS * TRIES;

	(void)state;
	assert_int_equal(pthread_create(&reading, NULL, read_in_thread, &s), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, count_in_thread, &s), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	atomic_store(&s.over, true);
	assert_int_equal(pthread_join(reading, NULL), 0);
	read_metrics(s.m, &nothing, &r);
	assert_true(sum_of(&r, "txmilter_messages_total") == all);
	assert_true(sum_of(&r, "txmilter_message_bytes_total") == 3 * all);
	assert_true(sum_of(&r, "txmilter_parts_dropped_total") == 3 * all);
	assert_true(sum_of(&r, "txmilter_auth_failures_total") == all);
	assert_true(sum_of(&r, "txmilter_handoff_seconds_sum") == all / 4);
	assert_true(sum_of(&r, "txmilter_handoff_seconds_count") == all);
	reader_clear(&r);
	metrics_free(&s.m);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_table),
		cmocka_unit_test(test_what_others_tell),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_auth_failures),
		cmocka_unit_test(test_histograms),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_label_length),
		cmocka_unit_test(test_locale),
		cmocka_unit_test(test_promtool),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
