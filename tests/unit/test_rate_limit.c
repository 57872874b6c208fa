/* SPDX-License-Identifier: MIT */
#include "milter/rate_limit.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define YEAR RATE_LIMIT_SECONDS_MAX
#define MOST RATE_LIMIT_COUNT_MAX

/* One call at a time of the clock. */
struct step {
	int64_t now;
	enum { END, TAKE, ASK, RETURN } what;
	unsigned n;
	unsigned wait; /* wanted */
};

static const struct {
	const char *name;
	unsigned count, seconds;
	struct step steps[16];
} rows[] = {
	{ "as many as it holds",
	  3,
	  60,
	  { { 0, TAKE, 1, 0 },
	    { 0, TAKE, 1, 0 },
	    { 0, TAKE, 1, 0 },
	    { 0, TAKE, 1, 20 } } },
	{ "evenly back",
	  3,
	  60,
	  { { 0, TAKE, 3, 0 },
	    { 1, TAKE, 1, 20 },
	    { 1000, TAKE, 1, 19 },
	    { 19000, TAKE, 1, 1 },
	    { 19001, TAKE, 1, 1 },
	    { 19999, TAKE, 1, 1 },
	    { 20000, TAKE, 1, 0 },
	    { 20000, TAKE, 1, 20 },
	    { 59999, TAKE, 2, 1 },
	    { 60000, TAKE, 2, 0 },
	    { 60000, ASK, 3, 60 } } },
	{ "never more than it holds",
	  3,
	  60,
	  { { 0, TAKE, 3, 0 },
	    { 1000000, TAKE, 3, 0 },
	    { 1000000, TAKE, 1, 20 } } },
	{ "all or none",
	  3,
	  60,
	  { { 0, TAKE, 2, 0 },
	    { 0, TAKE, 2, 20 },
	    { 0, TAKE, 1, 0 },
	    { 0, ASK, 1, 20 } } },
	{ "more than it holds is all of it",
	  3,
	  60,
	  { { 0, TAKE, 4000000000u, 0 },
	    { 0, TAKE, 1, 20 },
	    { 0, TAKE, 4000000000u, 60 } } },
	{ "asking takes nothing",
	  1,
	  10,
	  { { 0, ASK, 1, 0 },
	    { 0, ASK, 1, 0 },
	    { 0, TAKE, 1, 0 },
	    { 0, ASK, 1, 10 },
	    { 9000, ASK, 1, 1 },
	    { 10000, ASK, 1, 0 } } },
	{ "given back",
	  2,
	  10,
	  { { 0, RETURN, 1, 0 },
	    { 0, TAKE, 2, 0 },
	    { 0, RETURN, 1, 0 },
	    { 0, TAKE, 1, 0 },
	    { 0, RETURN, 2, 0 },
	    { 0, TAKE, 2, 0 },
	    { 0, RETURN, 4000000000u, 0 },
	    { 0, TAKE, 2, 0 },
	    { 0, TAKE, 1, 5 } } },
	{ "none wanted", 1, 10, { { 0, TAKE, 1, 0 }, { 0, TAKE, 0, 0 } } },
	{ "no count is no limit",
	  0,
	  60,
	  { { 0, TAKE, 5, 0 }, { 0, TAKE, 5, 0 }, { 0, RETURN, 5, 0 } } },
	{ "no time is no limit",
	  5,
	  0,
	  { { 0, TAKE, 5, 0 }, { 0, TAKE, 5, 0 }, { 1, TAKE, 5, 0 } } },
	{ "a clock that stands, goes back and on",
	  1,
	  10,
	  { { 50000, TAKE, 1, 0 },
	    { 50000, ASK, 1, 10 },
	    { 0, ASK, 1, 10 },
	    { INT64_MIN, ASK, 1, 10 },
	    { 55000, ASK, 1, 5 },
	    { 60000, TAKE, 1, 0 } } },
	{ "a clock that jumps as far as it can",
	  2,
	  10,
	  { { INT64_MIN, TAKE, 2, 0 },
	    { INT64_MIN, TAKE, 1, 5 },
	    { INT64_MAX, TAKE, 2, 0 },
	    { INT64_MAX, TAKE, 1, 5 } } },
	{ "thirds are not lost",
	  3,
	  1,
	  { { 0, TAKE, 3, 0 },
	    { 333, ASK, 1, 1 },
	    { 334, TAKE, 1, 0 },
	    { 666, ASK, 1, 1 },
	    { 667, TAKE, 1, 0 },
	    { 999, ASK, 1, 1 },
	    { 1000, TAKE, 1, 0 },
	    { 1000, TAKE, 1, 1 } } },
	{ "the largest, all of it",
	  MOST,
	  YEAR,
	  { { 0, TAKE, MOST, 0 },
	    { 0, ASK, MOST, YEAR },
	    { 0, ASK, 1, 1 },
	    { 31, ASK, 1, 1 },
	    { 32, TAKE, 1, 0 },
	    { YEAR * INT64_C(500), ASK, MOST / 2 - 1, 0 },
	    { YEAR * INT64_C(500), ASK, MOST / 2, 1 },
	    { YEAR * INT64_C(1000) - 1, ASK, MOST - 1, 1 },
	    { YEAR * INT64_C(1000) - 1, ASK, MOST - 2, 0 },
	    { YEAR * INT64_C(1000), ASK, MOST, 1 },
	    { YEAR * INT64_C(1000) + 31, ASK, MOST, 1 },
	    { YEAR * INT64_C(1000) + 32, TAKE, MOST, 0 } } },
	{ "many in a second",
	  MOST,
	  1,
	  { { 0, TAKE, MOST, 0 },
	    { 1, ASK, 1000000, 0 },
	    { 1, ASK, 1000001, 1 },
	    { 999, ASK, MOST, 1 },
	    { 1000, ASK, MOST, 0 } } },
	{ "one in a year",
	  1,
	  YEAR,
	  { { 0, TAKE, 1, 0 },
	    { 0, ASK, 1, YEAR },
	    { 1, ASK, 1, YEAR },
	    { 1000, ASK, 1, YEAR - 1 },
	    { YEAR * INT64_C(1000) - 1, ASK, 1, 1 },
	    { YEAR * INT64_C(1000), TAKE, 1, 0 } } },
	{ "over the bounds is at the bounds",
	  4000000000u,
	  YEAR + 1,
	  { { 0, TAKE, 4000000000u, 0 }, { 0, ASK, MOST, YEAR } } },
};

static unsigned
do_step(struct rate_limit *r, const struct step *s, unsigned count,
	unsigned seconds)
{
	if (s->what == TAKE)
		return rate_limit_take(r, "test", "name", s->n, count, seconds,
				       s->now);
	if (s->what == ASK)
		return rate_limit_ask(r, "test", "name", s->n, count, seconds,
				      s->now);
	rate_limit_return(r, "test", "name", s->n, count, seconds, s->now);
	return 0;
}

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct rate_limit *r = rate_limit_new(100);
		const struct step *s = rows[i].steps;

		for (; s->what != END; s++) {
			unsigned wait =
			    do_step(r, s, rows[i].count, rows[i].seconds);

			if (wait != s->wait)
				fail_msg("%s: step %zu: %u, wanted %u",
					 rows[i].name, s - rows[i].steps, wait,
					 s->wait);
		}
		rate_limit_free(&r);
		assert_null(r);
	}
}

/* Whatever the steps of the clock: what it says to wait is enough and not a
 * second too much, and while it never fills no part of a token is lost. */
static void
test_waits_and_sums_are_exact(void **state)
{
	static const unsigned rules[][2] = { { 7, 3 },	  { 3, 7 },
					     { 1000, 7 }, { 2, 1 },
					     { 60, 60 },  { 999983, 86399 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		unsigned count = rules[i][0], seconds = rules[i][1];
		struct rate_limit *r = rate_limit_new(1);
		int64_t now = 12345;
		uint64_t taken = 0;

		assert_int_equal(
		    rate_limit_take(r, "k", "n", count, count, seconds, now),
		    0);
		for (int64_t step = 1; step < 3000; step += 7) {
			unsigned wait;

			now += step % 101;
			while (rate_limit_take(r, "k", "n", 1, count, seconds,
					       now) == 0)
				taken++;
			wait =
			    rate_limit_ask(r, "k", "n", 1, count, seconds, now);
			assert_in_range(wait, 1, seconds);
			assert_int_equal(taken, (uint64_t)(now - 12345) *
						    count /
						    (seconds * 1000ull));
			assert_true((taken + 1) * seconds * 1000 <=
				    (uint64_t)(now - 12345 + wait * 1000) *
					count);
			assert_true(
			    (taken + 1) * seconds * 1000 >
			    (uint64_t)(now - 12345 + (wait - 1) * 1000) *
				count);
		}
		rate_limit_free(&r);
	}
}

static void
test_names_and_kinds(void **state)
{
	static const struct {
		const char *kind, *name;
	} names[] = { { "auth", "192.0.2.1" }, { "auth", "192.0.2.2" },
		      { "auth", "" },	       { "key", "192.0.2.1" },
		      { "aut", "h192.0.2.1" }, { "", "auth192.0.2.1" } };
	struct rate_limit *r = rate_limit_new(1000);

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
			assert_int_equal(rate_limit_take(r, names[i].kind,
							 names[i].name, 1, 1,
							 10, 0),
					 round * 10);
	}
	rate_limit_free(&r);
	rate_limit_free(&r);
}

static void
test_rule_changes(void **state)
{
	struct rate_limit *r = rate_limit_new(1000);

	(void)state;
	assert_int_equal(rate_limit_take(r, "k", "n", 8, 10, 10, 0), 0);
	/* More room: it stays at 2, and fills faster. */
	assert_int_equal(rate_limit_ask(r, "k", "n", 3, 100, 10, 0), 1);
	assert_int_equal(rate_limit_ask(r, "k", "n", 12, 100, 10, 1000), 0);
	assert_int_equal(rate_limit_ask(r, "k", "n", 13, 100, 10, 1000), 1);
	/* Less room than it has tokens: full. */
	assert_int_equal(rate_limit_ask(r, "k", "n", 5, 5, 10, 1000), 0);
	assert_int_equal(rate_limit_count(r, 1000), 0);
	/* Another time. */
	assert_int_equal(rate_limit_take(r, "k", "n", 5, 5, 10, 1000), 0);
	assert_int_equal(rate_limit_ask(r, "k", "n", 5, 5, 50, 1000), 50);
	rate_limit_free(&r);
}

static void
take_from_many(struct rate_limit *r, unsigned names, int64_t now)
{
	for (unsigned i = 0; i < names; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(
		    rate_limit_take(r, "flood", name, 1, 10, 60, now), 0);
	}
}

static void
test_full_ones_are_forgotten(void **state)
{
	struct rate_limit *r = rate_limit_new(8000);

	(void)state;
	assert_int_equal(rate_limit_count(r, 0), 0);
	(void)rate_limit_ask(r, "k", "asked only", 1, 1, 10, 0);
	assert_int_equal(rate_limit_count(r, 0), 0);
	take_from_many(r, 100, 0);
	(void)rate_limit_take(r, "k", "longer", 1, 1, 10, 0);
	assert_int_equal(rate_limit_count(r, 0), 101);
	assert_int_equal(rate_limit_count(r, 5999), 101);
	assert_int_equal(rate_limit_count(r, 6000), 1);
	rate_limit_return(r, "k", "longer", 1, 1, 10, 6000);
	assert_int_equal(rate_limit_count(r, 6000), 0);
	rate_limit_free(&r);
}

/* New names, each with one token taken, leave those alone that have none. */
static void
test_flood_frees_nobody(void **state)
{
	static const size_t sizes[] = { 1, 5, 8, 9, 500 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct rate_limit *r = rate_limit_new(sizes[i]);

		if (sizes[i] > 1) {
			assert_int_equal(
			    rate_limit_take(r, "k", "throttled", 5, 5, 60, 0),
			    0);
			take_from_many(r, 20000, 1000);
			assert_int_equal(
			    rate_limit_ask(r, "k", "throttled", 1, 5, 60, 1000),
			    11);
		}
		take_from_many(r, 20000, 2000);
		assert_in_range(rate_limit_count(r, 2000), 1, sizes[i]);
		rate_limit_free(&r);
	}
}

struct shared {
	struct rate_limit *r;
	atomic_uint started, taken;
};

#define THREADS 8
#define TRIES 20000

static void *
take_in_thread(void *arg)
{
	struct shared *s = arg;
	unsigned me = atomic_fetch_add(&s->started, 1);
	char own[16];

	snprintf(own, sizeof(own), "%u", me);
	for (unsigned i = 0; i < TRIES; i++) {
		int64_t now = i / 100;

		if (rate_limit_take(s->r, "k", "shared", 1, TRIES, YEAR, 0) ==
		    0)
			atomic_fetch_add(&s->taken, 1);
		(void)rate_limit_take(s->r, "k", own, 1, 10, 1, now);
		rate_limit_return(s->r, "k", own, 1, 10, 1, now);
		if (i % 1000 == 0)
			(void)rate_limit_count(s->r, 0);
	}
	return NULL;
}

/* However many ask, no token is taken twice. */
static void
test_threads(void **state)
{
	struct shared s = { .r = rate_limit_new(64) };
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, take_in_thread, &s), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(s.taken, TRIES);
	rate_limit_free(&s.r);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_waits_and_sums_are_exact),
		cmocka_unit_test(test_names_and_kinds),
		cmocka_unit_test(test_rule_changes),
		cmocka_unit_test(test_full_ones_are_forgotten),
		cmocka_unit_test(test_flood_frees_nobody),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
