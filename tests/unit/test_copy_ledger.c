/* SPDX-License-Identifier: MIT */
/*
 * Copies that are awaited, and taken in by many threads at once: each once.
 */
#include "milter/copy_ledger.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COPIES 200
#define THREADS 4

static void
test_once(void **state)
{
	struct copy_ledger *l = copy_ledger_new();
	struct copy_attempt v[3];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		copy_ledger_open(l, &v[i]);
	assert_string_not_equal(v[0].id, v[1].id);
	assert_int_equal(strlen(v[0].id), COPY_ID_LEN);
	assert_false(copy_ledger_arrive(l, "", "Q"));
	assert_true(copy_ledger_arrive(l, v[1].id, "Q1"));
	assert_false(copy_ledger_arrive(l, v[1].id, "Q2"));
	assert_string_equal(v[1].queue_id, "Q1");
	copy_ledger_close(l, &v[1]);
	assert_false(copy_ledger_arrive(l, v[1].id, "Q3"));
	assert_true(copy_ledger_arrive(l, v[0].id, "Q4"));
	assert_false(v[2].arrived);
	copy_ledger_close(l, &v[2]);
	assert_false(copy_ledger_arrive(l, v[2].id, "Q5"));
	copy_ledger_close(l, &v[0]);
	copy_ledger_free(&l);
	assert_null(l);
	copy_ledger_free(&l);
}

static void
test_lost(void **state)
{
	struct copy_ledger *l = copy_ledger_new();

	(void)state;
	assert_false(copy_ledger_has_lost(l));
	copy_ledger_lose(l);
	assert_true(copy_ledger_has_lost(l));
	copy_ledger_free(&l);
}

struct crowd {
	struct copy_ledger *ledger;
	char ids[COPIES][COPY_ID_LEN + 1];
	atomic_uint taken;
};

static void *
arrive(void *arg)
{
	struct crowd *c = arg;

	for (size_t i = 0; i < COPIES; i++) {
		struct copy_attempt own;

		copy_ledger_open(c->ledger, &own);
		if (copy_ledger_arrive(c->ledger, c->ids[i], "Q"))
			atomic_fetch_add(&c->taken, 1);
		copy_ledger_close(c->ledger, &own);
	}
	return NULL;
}

static void
test_threads(void **state)
{
	static struct copy_attempt v[COPIES];
	static struct crowd crowd;
	pthread_t threads[THREADS];

	(void)state;
	crowd.ledger = copy_ledger_new();
	for (size_t i = 0; i < COPIES; i++) {
		copy_ledger_open(crowd.ledger, &v[i]);
		memcpy(crowd.ids[i], v[i].id, sizeof(v[i].id));
	}
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, arrive, &crowd), 0);
	for (size_t i = 0; i < COPIES; i++) {
		copy_ledger_close(crowd.ledger, &v[i]);
		atomic_fetch_sub(&crowd.taken, v[i].arrived);
	}
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(crowd.taken, 0);
	copy_ledger_free(&crowd.ledger);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
