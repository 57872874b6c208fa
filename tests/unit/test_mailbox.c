/* SPDX-License-Identifier: MIT */
/*
 * That nothing is lost or freed twice, and that the mailbox itself goes with
 * the last item, is seen under the sanitizers.
 */
#include "milter/mailbox.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <setjmp.h>

#include <cmocka.h>

#define THREADS 4
#define ITEMS 500 /* of each thread */
#define ALL (THREADS * ITEMS)

struct letter {
	struct mailbox_item item; /* first */
	int number;
};

static atomic_int dropped;

static void
drop(void *arg)
{
	struct letter *l = arg;

	atomic_fetch_add(&dropped, 1);
	free(l);
}

static struct mailbox *
box_new(void)
{
	struct mailbox *box = mailbox_new(drop);

	assert_non_null(box);
	atomic_store(&dropped, 0);
	return box;
}

static struct letter *
letter_new(struct mailbox *box, int number)
{
	struct letter *l = calloc(1, sizeof(*l));

	assert_non_null(l);
	l->number = number;
	mailbox_expect(box, &l->item);
	return l;
}

static bool
is_woken(const struct mailbox *box)
{
	struct pollfd p = { .fd = mailbox_fd(box), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* The number of the list's first, which is freed; -1: it is empty. */
static int
next_number(struct mailbox_list *list)
{
	struct letter *l = (struct letter *)STAILQ_FIRST(list);
	int number;

	if (l == NULL)
		return -1;
	STAILQ_REMOVE_HEAD(list, next);
	number = l->number;
	free(l);
	return number;
}

static void
test_wake(void **state)
{
	struct mailbox *box = box_new();
	struct mailbox_list list = STAILQ_HEAD_INITIALIZER(list);

	(void)state;
	assert_false(is_woken(box));
	mailbox_wake(box);
	mailbox_wake(box);
	assert_true(is_woken(box));
	mailbox_drain_fd(box);
	assert_false(is_woken(box));
	mailbox_drain_fd(box);
	mailbox_take(box, &list);
	assert_int_equal(next_number(&list), -1);
	mailbox_close(&box);
	assert_null(box);
	mailbox_close(&box);
}

static void
test_put_and_taken_in_order(void **state)
{
	struct mailbox *box = box_new();
	struct mailbox_list list = STAILQ_HEAD_INITIALIZER(list);
	struct letter *l[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		l[i] = letter_new(box, i);
	assert_false(is_woken(box));
	mailbox_put(&l[2]->item);
	assert_true(is_woken(box));
	mailbox_put(&l[0]->item);
	mailbox_take(box, &list);
	mailbox_put(&l[1]->item);
	mailbox_take(box, &list);
	assert_int_equal(next_number(&list), 2);
	assert_int_equal(next_number(&list), 0);
	assert_int_equal(next_number(&list), 1);
	assert_int_equal(next_number(&list), -1);
	assert_int_equal(atomic_load(&dropped), 0);
	mailbox_close(&box);
	assert_int_equal(atomic_load(&dropped), 0);
}

static void
test_closed_before_and_after(void **state)
{
	struct mailbox *box = box_new();
	struct letter *early = letter_new(box, 1);
	struct letter *late[2] = { letter_new(box, 2), letter_new(box, 3) };

	(void)state;
	mailbox_put(&early->item);
	mailbox_close(&box);
	assert_null(box);
	assert_int_equal(atomic_load(&dropped), 1);
	mailbox_put(&late[0]->item);
	assert_int_equal(atomic_load(&dropped), 2);
	mailbox_put(&late[1]->item);
	assert_int_equal(atomic_load(&dropped), 3);
}

static void
test_no_descriptors(void **state)
{
	struct rlimit limit, none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_null(mailbox_new(drop));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void *
put_all(void *arg)
{
	struct letter **l = arg;

	for (int i = 0; i < ITEMS; i++)
		mailbox_put(&l[i]->item);
	return NULL;
}

/* Takes until `enough` came, closes; the rest is dropped, wherever it is. */
static void
take_some(struct mailbox *box, int enough)
{
	struct mailbox_list list = STAILQ_HEAD_INITIALIZER(list);
	struct pollfd p = { .fd = mailbox_fd(box), .events = POLLIN };
	int n = 0;

	while (n < enough) {
		assert_int_equal(poll(&p, 1, -1), 1);
		mailbox_drain_fd(box);
		mailbox_take(box, &list);
		while (next_number(&list) >= 0)
			n++;
	}
	mailbox_close(&box);
	atomic_fetch_add(&dropped, n);
}

static void
test_threads(void **state)
{
	static const int enough[] = { 0, 1, ALL / 2, ALL };
	static struct letter *letters[THREADS][ITEMS];
	pthread_t threads[THREADS];

	(void)state;
	for (size_t row = 0; row < sizeof(enough) / sizeof(*enough); row++) {
		struct mailbox *box = box_new();

		for (int t = 0; t < THREADS; t++) {
			for (int i = 0; i < ITEMS; i++)
				letters[t][i] = letter_new(box, i);
		}
		for (int t = 0; t < THREADS; t++)
			assert_int_equal(pthread_create(&threads[t], NULL,
							put_all, letters[t]),
					 0);
		take_some(box, enough[row]);
		for (int t = 0; t < THREADS; t++)
			assert_int_equal(pthread_join(threads[t], NULL), 0);
		assert_int_equal(atomic_load(&dropped), ALL);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wake),
		cmocka_unit_test(test_put_and_taken_in_order),
		cmocka_unit_test(test_closed_before_and_after),
		cmocka_unit_test(test_no_descriptors),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
