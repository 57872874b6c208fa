/* SPDX-License-Identifier: MIT */
#include "milter/api_health.h"

#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MIN HEALTH_RETRY_MIN_MS
#define MAX HEALTH_RETRY_MAX_MS
#define LONELY HEALTH_LONELY_MS
#define HOUR_MS (HEALTH_PAUSE_MAX_S * INT64_C(1000))

/* One event at a time of the clock. Keys are "a", but for those that say "b".
 */
struct step {
	int64_t now;
	enum {
		END,
		QUEUE,	/* asks, and can wait; advice is wanted */
		DIRECT, /* asks, and cannot */
		OTHER,	/* asks with key b, and can wait */
		GO,	/* what was let through is told: status, retry_after */
		PROBE,
		NOT, /* the probe was not made */
		STATE,
	} what;
	unsigned a; /* advice, status, or open */
	unsigned b; /* retry_after, failures */
	unsigned c; /* paused */
	unsigned d; /* opened */
};

#define ASK(...)                     \
	{                            \
		__VA_ARGS__, 0, 0, 0 \
	}
#define TOLD(...)                 \
	{                         \
		__VA_ARGS__, 0, 0 \
	}
#define NOT_CALLED(now, advice)           \
	{                                 \
		now, NOT, advice, 0, 0, 0 \
	}
#define IS(now, ...)                    \
	{                               \
		now, STATE, __VA_ARGS__ \
	}
#define FAIL(now) TOLD(now, GO, 0, 0)
/* As many as it takes. */
#define DOWN_AT_0 FAIL(0), FAIL(0), FAIL(0), FAIL(0), FAIL(0)

static const struct {
	const char *name;
	struct step steps[40];
} rows[] = {
	{ "closed at first",
	  { ASK(0, DIRECT, HEALTH_GO), ASK(0, QUEUE, HEALTH_GO),
	    IS(0, 0, 0, 0, 0) } },
	{ "open after so many",
	  { FAIL(0), FAIL(0), FAIL(0), FAIL(0), ASK(0, DIRECT, HEALTH_GO),
	    IS(0, 0, 4, 0, 0), FAIL(0), ASK(0, DIRECT, HEALTH_DOWN),
	    ASK(0, QUEUE, HEALTH_DOWN), IS(0, 1, 5, 0, 1) } },
	{ "in a row",
	  { FAIL(0), FAIL(0), FAIL(0), FAIL(0), TOLD(0, GO, 200, 0), FAIL(0),
	    IS(0, 0, 1, 0, 0), ASK(0, QUEUE, HEALTH_GO) } },
	{ "a 5xx is a failure, each of them",
	  { TOLD(0, GO, 500, 0), TOLD(0, GO, 502, 0), TOLD(0, GO, 503, 10),
	    TOLD(0, GO, 504, 0), IS(0, 0, 4, 0, 0), TOLD(0, GO, 599, 0),
	    IS(0, 1, 5, 0, 1) } },
	{ "other answers are none",
	  { FAIL(0), FAIL(0), FAIL(0), FAIL(0), TOLD(0, GO, 499, 0),
	    IS(0, 0, 0, 0, 0), FAIL(0), TOLD(0, GO, 429, 0), IS(0, 0, 0, 0, 0),
	    FAIL(0), TOLD(0, GO, 420, 0), IS(0, 0, 0, 0, 0), FAIL(0),
	    TOLD(0, GO, 302, 0), IS(0, 0, 0, 0, 0) } },
	{ "one probe, and only from the queue",
	  { DOWN_AT_0, ASK(MIN - 1, QUEUE, HEALTH_DOWN),
	    ASK(MIN, DIRECT, HEALTH_DOWN), ASK(MIN, QUEUE, HEALTH_PROBE),
	    ASK(MIN, QUEUE, HEALTH_DOWN), ASK(MIN + MAX, QUEUE, HEALTH_DOWN),
	    ASK(MIN + 10 * LONELY, DIRECT, HEALTH_DOWN) } },
	{ "a probe that is answered closes",
	  { DOWN_AT_0, ASK(MIN, QUEUE, HEALTH_PROBE), TOLD(MIN, PROBE, 200, 0),
	    ASK(MIN, DIRECT, HEALTH_GO), ASK(MIN, QUEUE, HEALTH_GO),
	    IS(MIN, 0, 0, 0, 1) } },
	{ "a refusal is an answer",
	  { DOWN_AT_0, ASK(MIN, QUEUE, HEALTH_PROBE), TOLD(MIN, PROBE, 401, 0),
	    IS(MIN, 0, 0, 0, 1) } },
	{ "too many requests is an answer, and a pause",
	  { DOWN_AT_0, ASK(MIN, QUEUE, HEALTH_PROBE), TOLD(MIN, PROBE, 429, 2),
	    IS(MIN, 0, 0, 1, 1), ASK(MIN, QUEUE, HEALTH_PAUSE),
	    ASK(MIN, OTHER, HEALTH_GO) } },
	{ "the second probe after twice the time, from the end of the first",
	  { DOWN_AT_0, ASK(MIN, QUEUE, HEALTH_PROBE), TOLD(5000, PROBE, 0, 0),
	    ASK(5000 + 2 * MIN - 1, QUEUE, HEALTH_DOWN),
	    ASK(5000 + 2 * MIN, QUEUE, HEALTH_PROBE), TOLD(9000, PROBE, 500, 0),
	    ASK(9000 + 4 * MIN - 1, QUEUE, HEALTH_DOWN),
	    ASK(9000 + 4 * MIN, QUEUE, HEALTH_PROBE),
	    IS(9000 + 4 * MIN, 1, 7, 0, 1) } },
	{ "never longer than that",
	  { DOWN_AT_0, ASK(100000, QUEUE, HEALTH_PROBE),
	    TOLD(100000, PROBE, 0, 0), ASK(200000, QUEUE, HEALTH_PROBE),
	    TOLD(200000, PROBE, 0, 0), ASK(300000, QUEUE, HEALTH_PROBE),
	    TOLD(300000, PROBE, 0, 0), ASK(400000, QUEUE, HEALTH_PROBE),
	    TOLD(400000, PROBE, 0, 0),
	    ASK(400000 + 16 * MIN - 1, QUEUE, HEALTH_DOWN),
	    ASK(500000, QUEUE, HEALTH_PROBE), TOLD(500000, PROBE, 0, 0),
	    ASK(500000 + MAX - 1, QUEUE, HEALTH_DOWN),
	    ASK(600000, QUEUE, HEALTH_PROBE), TOLD(600000, PROBE, 0, 0),
	    ASK(600000 + MAX - 1, QUEUE, HEALTH_DOWN),
	    ASK(600000 + MAX, QUEUE, HEALTH_PROBE) } },
	{ "times begin anew with the next failure",
	  { DOWN_AT_0, ASK(MIN, QUEUE, HEALTH_PROBE), TOLD(MIN, PROBE, 0, 0),
	    ASK(10000, QUEUE, HEALTH_PROBE), TOLD(10000, PROBE, 200, 0),
	    FAIL(20000), FAIL(20000), FAIL(20000), FAIL(20000),
	    ASK(20000, QUEUE, HEALTH_GO), FAIL(20000), IS(20000, 1, 5, 0, 2),
	    ASK(20000 + MIN - 1, QUEUE, HEALTH_DOWN),
	    ASK(20000 + MIN, QUEUE, HEALTH_PROBE) } },
	{ "a probe that was not made is another's",
	  { DOWN_AT_0, ASK(MIN, QUEUE, HEALTH_PROBE),
	    NOT_CALLED(MIN, HEALTH_PROBE), ASK(MIN, QUEUE, HEALTH_PROBE),
	    NOT_CALLED(MIN, HEALTH_GO), NOT_CALLED(MIN, HEALTH_DOWN),
	    ASK(MIN, QUEUE, HEALTH_DOWN), TOLD(MIN, PROBE, 200, 0),
	    ASK(MIN, QUEUE, HEALTH_GO) } },
	{ "one that was under way when it opened",
	  { DOWN_AT_0, TOLD(10, GO, 200, 0), ASK(10, QUEUE, HEALTH_GO),
	    IS(10, 0, 0, 0, 1) } },
	{ "one more failure puts no probe off",
	  { DOWN_AT_0, FAIL(MIN - 1), IS(MIN, 1, 6, 0, 1),
	    ASK(MIN, QUEUE, HEALTH_PROBE), FAIL(MIN + 1),
	    ASK(MIN + 1, QUEUE, HEALTH_DOWN), TOLD(MIN + 1, PROBE, 200, 0),
	    ASK(MIN + 1, QUEUE, HEALTH_GO) } },
	{ "who cannot wait probes when nobody did for long",
	  { DOWN_AT_0, ASK(LONELY - 1, DIRECT, HEALTH_DOWN),
	    ASK(LONELY, DIRECT, HEALTH_PROBE), ASK(LONELY, DIRECT, HEALTH_DOWN),
	    ASK(LONELY, QUEUE, HEALTH_DOWN), TOLD(LONELY + 9, PROBE, 0, 0),
	    ASK(2 * LONELY + 8, DIRECT, HEALTH_DOWN),
	    ASK(2 * LONELY + 9, DIRECT, HEALTH_PROBE),
	    TOLD(2 * LONELY + 9, PROBE, 200, 0),
	    ASK(2 * LONELY + 9, DIRECT, HEALTH_GO) } },
	{ "and not when somebody did",
	  { DOWN_AT_0, ASK(LONELY - 1, QUEUE, HEALTH_PROBE),
	    TOLD(LONELY - 1, PROBE, 0, 0), ASK(LONELY, DIRECT, HEALTH_DOWN),
	    ASK(2 * LONELY - 2, DIRECT, HEALTH_DOWN),
	    ASK(2 * LONELY - 1, DIRECT, HEALTH_PROBE) } },
	{ "a probe that was not made is nobody's",
	  { DOWN_AT_0, ASK(LONELY - 1, QUEUE, HEALTH_PROBE),
	    NOT_CALLED(LONELY - 1, HEALTH_PROBE),
	    ASK(LONELY, DIRECT, HEALTH_PROBE) } },
	{ "a pause",
	  { TOLD(0, GO, 429, 2), ASK(0, QUEUE, HEALTH_PAUSE),
	    ASK(0, DIRECT, HEALTH_PAUSE), ASK(0, OTHER, HEALTH_GO),
	    IS(0, 0, 0, 1, 0), ASK(1999, DIRECT, HEALTH_PAUSE),
	    ASK(2000, DIRECT, HEALTH_GO), IS(2000, 0, 0, 0, 0) } },
	{ "the other word for it",
	  { TOLD(0, GO, 420, 2), ASK(0, QUEUE, HEALTH_PAUSE) } },
	{ "none without a time",
	  { TOLD(0, GO, 429, 0), ASK(0, QUEUE, HEALTH_GO),
	    IS(0, 0, 0, 0, 0) } },
	{ "none for other answers",
	  { TOLD(0, GO, 200, 9), TOLD(0, GO, 503, 9), TOLD(0, GO, 0, 9),
	    TOLD(0, GO, 430, 9), TOLD(0, GO, 428, 9), IS(0, 0, 0, 0, 0) } },
	{ "the longer pause counts",
	  { TOLD(0, GO, 429, 5), TOLD(0, GO, 429, 2),
	    ASK(4999, QUEUE, HEALTH_PAUSE), TOLD(4999, GO, 429, 3),
	    ASK(7998, QUEUE, HEALTH_PAUSE), IS(7998, 0, 0, 1, 0),
	    ASK(7999, QUEUE, HEALTH_GO) } },
	{ "never longer than an hour",
	  { TOLD(0, GO, 429, UINT_MAX), ASK(HOUR_MS - 1, QUEUE, HEALTH_PAUSE),
	    ASK(HOUR_MS, QUEUE, HEALTH_GO) } },
	{ "a success does not end it",
	  { TOLD(0, GO, 429, 5), TOLD(1, GO, 200, 0),
	    ASK(1, QUEUE, HEALTH_PAUSE) } },
	{ "a key that pauses takes no probe",
	  { TOLD(0, GO, 429, 5), DOWN_AT_0, ASK(MIN, QUEUE, HEALTH_PAUSE),
	    ASK(MIN, OTHER, HEALTH_PROBE) } },
};

static const char *const advices[] = { "go", "probe", "down", "pause" };

static void
check(const char *row, size_t n, const char *what, unsigned long got,
      unsigned long wanted)
{
	if (got != wanted)
		fail_msg("%s: step %zu: %s %lu, wanted %lu", row, n, what, got,
			 wanted);
}

static void
check_state(struct api_health *h, const char *row, size_t n,
	    const struct step *s)
{
	struct api_health_state state;

	api_health_state(h, s->now, &state);
	check(row, n, "open", state.open, s->a);
	check(row, n, "failures", state.failures, s->b);
	check(row, n, "paused", state.paused, s->c);
	check(row, n, "opened", state.opened, s->d);
}

static void
check_advice(struct api_health *h, const char *row, size_t n,
	     const struct step *s)
{
	enum health_advice got = api_health_ask(h, s->what == OTHER ? "b" : "a",
						s->what != DIRECT, s->now);

	if (got != s->a)
		fail_msg("%s: step %zu: %s, wanted %s", row, n, advices[got],
			 advices[s->a]);
}

static void
do_step(struct api_health *h, const char *row, size_t n, const struct step *s)
{
	switch (s->what) {
	case GO:
		api_health_told(h, "a", HEALTH_GO, s->a, s->b, s->now);
		break;
	case PROBE:
		api_health_told(h, "a", HEALTH_PROBE, s->a, s->b, s->now);
		break;
	case NOT:
		api_health_no_news(h, (enum health_advice)s->a);
		break;
	case STATE:
		check_state(h, row, n, s);
		break;
	default:
		check_advice(h, row, n, s);
	}
}

static void
test_rows(void **state)
{
	/* The clock may have any value. */
	static const int64_t epochs[] = { 0, 86400000 };

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(*rows); i++) {
		struct api_health *h = api_health_new("main");

		for (size_t n = 0; rows[i / 2].steps[n].what != END; n++) {
			struct step s = rows[i / 2].steps[n];

			s.now += epochs[i % 2];
			do_step(h, rows[i / 2].name, n, &s);
		}
		api_health_free(&h);
		assert_null(h);
		api_health_free(&h);
	}
}

static unsigned
count_paused(struct api_health *h, int64_t now)
{
	struct api_health_state state;

	api_health_state(h, now, &state);
	return state.paused;
}

static void
test_many_pauses(void **state)
{
	struct api_health *h = api_health_new("main");
	char key[16];

	(void)state;
	for (unsigned i = 0; i < HEALTH_PAUSES_MAX + 10; i++) {
		snprintf(key, sizeof(key), "key%u", i);
		api_health_told(h, key, HEALTH_GO, 429, 1 + i % 2, 0);
	}
	assert_int_equal(count_paused(h, 0), HEALTH_PAUSES_MAX);
	for (unsigned i = 0; i < HEALTH_PAUSES_MAX + 10; i++) {
		snprintf(key, sizeof(key), "key%u", i);
		assert_int_equal(api_health_ask(h, key, true, 0),
				 i < HEALTH_PAUSES_MAX ? HEALTH_PAUSE
						       : HEALTH_GO);
	}
	/* Those that pause already may be told a later time. */
	api_health_told(h, "key1", HEALTH_GO, 429, 9, 0);
	/* What is over makes room. */
	api_health_told(h, "one more", HEALTH_GO, 429, 9, 1000);
	assert_int_equal(api_health_ask(h, "one more", true, 1000),
			 HEALTH_PAUSE);
	assert_int_equal(count_paused(h, 1000), HEALTH_PAUSES_MAX / 2 + 1);
	assert_int_equal(count_paused(h, 2000), 2);
	assert_int_equal(api_health_ask(h, "key1", true, 8999), HEALTH_PAUSE);
	api_health_free(&h);
}

struct shared {
	struct api_health *h;
	atomic_uint started, probes, wrong, clock;
};

#define THREADS 6
#define CALLS 5000

/* However many ask, one probe at a time. */
static void *
call(void *arg)
{
	struct shared *s = arg;
	unsigned me = atomic_fetch_add(&s->started, 1);
	char key[16];

	snprintf(key, sizeof(key), "key%u", me);
	for (unsigned i = 0; i < CALLS; i++) {
		int64_t now = atomic_fetch_add(&s->clock, 100);
		enum health_advice advice =
		    api_health_ask(s->h, key, me % 2 == 0, now);

		if (advice == HEALTH_PROBE &&
		    atomic_fetch_add(&s->probes, 1) != 0)
			atomic_fetch_add(&s->wrong, 1);
		if (advice == HEALTH_PROBE)
			atomic_fetch_sub(&s->probes, 1);
		if (advice == HEALTH_PROBE && i % 5 == 0)
			api_health_no_news(s->h, advice);
		else if (advice == HEALTH_GO || advice == HEALTH_PROBE)
			api_health_told(s->h, key, advice,
					i % 7 == 0     ? 429
					: i % 100 < 50 ? 0
						       : 200,
					i % 3, now);
		if (i % 100 == 0)
			(void)count_paused(s->h, now);
	}
	return NULL;
}

static void
test_threads(void **state)
{
	struct shared s = { .h = api_health_new("main") };
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call, &s),
				 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(s.wrong, 0);
	api_health_free(&s.h);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_many_pauses),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
