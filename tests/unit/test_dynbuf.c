/* SPDX-License-Identifier: MIT */
#include "policy/dynbuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
check(const struct dynbuf *b, const char *want, size_t len, bool overflow)
{
	assert_int_equal(b->len, len);
	assert_memory_equal(dynbuf_str(b), want, len + 1);
	assert_true(b->cap == 0 || b->cap > b->len);
	assert_int_equal(b->overflow, overflow);
}

static void
test_empty(void **state)
{
	struct dynbuf b;

	(void)state;
	dynbuf_init(&b, 10);
	assert_null(b.data);
	assert_int_equal(b.max, 10);
	check(&b, "", 0, false);
	dynbuf_truncate(&b, 0);
	dynbuf_truncate(&b, 5);
	check(&b, "", 0, false);
	assert_true(dynbuf_add(&b, NULL, 0));
	check(&b, "", 0, false);
	dynbuf_clear(&b);
	assert_null(b.data);
}

static void
test_add(void **state)
{
	DYNBUF_AUTO b;

	(void)state;
	dynbuf_init(&b, 100);
	assert_true(dynbuf_add(&b, "a\0b", 3));
	assert_true(dynbuf_adds(&b, "cd"));
	assert_true(dynbuf_adds(&b, ""));
	assert_true(dynbuf_addf(&b, "%d-%s", 42, "x"));
	check(&b, "a\0bcd42-x", 9, false);
	dynbuf_truncate(&b, 100);
	check(&b, "a\0bcd42-x", 9, false);
	dynbuf_truncate(&b, 2);
	check(&b, "a\0", 2, false);
	assert_true(dynbuf_adds(&b, "z"));
	check(&b, "a\0z", 3, false);
}

enum way { ADD, ADDS, ADDF, ROOM };

static const struct {
	const char *name;
	enum way way;
	size_t max;
	const char *before;
	const char *text;
	bool fits;
} bounds[] = {
	{ "add, exactly", ADD, 5, "abc", "de", true },
	{ "add, one more", ADD, 5, "abc", "def", false },
	{ "add, far more", ADD, 5, "abc", "defghi", false },
	{ "add to an empty one", ADD, 2, "", "abc", false },
	{ "add nothing to a full one", ADD, 3, "abc", "", true },
	{ "adds, exactly", ADDS, 5, "abc", "de", true },
	{ "adds, one more", ADDS, 5, "abc", "def", false },
	{ "addf, exactly", ADDF, 5, "abc", "de", true },
	{ "addf, one more", ADDF, 5, "abc", "def", false },
	{ "room, exactly", ROOM, 5, "abc", "de", true },
	{ "room, one more", ROOM, 5, "abc", "def", false },
	{ "nothing may be in it", ADD, 0, "", "a", false },
};

static bool
add_by(struct dynbuf *b, enum way way, const char *text)
{
	size_t len = strlen(text);
	char *room;

	switch (way) {
	case ADD:
		return dynbuf_add(b, text, len);
	case ADDS:
		return dynbuf_adds(b, text);
	case ADDF:
		return dynbuf_addf(b, "%s", text);
	case ROOM:
		room = dynbuf_room(b, len);
		if (room == NULL)
			return false;
		memcpy(room, text, len);
		dynbuf_grown(b, len);
		return true;
	}
	return false;
}

static void
test_bounds(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		DYNBUF_AUTO b;
		char want[32];

		dynbuf_init(&b, bounds[i].max);
		assert_true(dynbuf_adds(&b, bounds[i].before));
		if (add_by(&b, bounds[i].way, bounds[i].text) != bounds[i].fits)
			fail_msg("%s: wrong result", bounds[i].name);
		strcpy(want, bounds[i].before);
		if (bounds[i].fits)
			strcat(want, bounds[i].text);
		if (strcmp(dynbuf_str(&b), want) != 0 || b.len != strlen(want))
			fail_msg("%s: \"%s\"", bounds[i].name, dynbuf_str(&b));
		if (b.overflow == bounds[i].fits)
			fail_msg("%s: overflow %d", bounds[i].name, b.overflow);
	}
}

/* What came too late is missing: the buffer must not look well again. */
static void
test_overflow_sticks(void **state)
{
	DYNBUF_AUTO b;

	(void)state;
	dynbuf_init(&b, 3);
	assert_false(dynbuf_adds(&b, "abcd"));
	assert_true(dynbuf_adds(&b, "ab"));
	check(&b, "ab", 2, true);
	dynbuf_truncate(&b, 1);
	check(&b, "a", 1, true);
	dynbuf_clear(&b);
	check(&b, "", 0, false);
	assert_int_equal(b.max, 3);
}

/* Lengths that wrap around when they are added to what is there. */
static void
test_huge(void **state)
{
	DYNBUF_AUTO b;

	(void)state;
	dynbuf_init(&b, 100);
	assert_true(dynbuf_adds(&b, "abc"));
	assert_null(dynbuf_room(&b, SIZE_MAX));
	assert_null(dynbuf_room(&b, SIZE_MAX - 2));
	assert_false(dynbuf_add(&b, "x", SIZE_MAX - 3));
	check(&b, "abc", 3, true);
}

/* Less may be written than there is room for. */
static void
test_room(void **state)
{
	DYNBUF_AUTO b;
	char *room;

	(void)state;
	dynbuf_init(&b, 10000);
	assert_true(dynbuf_adds(&b, "abc"));
	room = dynbuf_room(&b, 5000);
	assert_non_null(room);
	memset(room, 'x', 5000);
	dynbuf_grown(&b, 1);
	check(&b, "abcx", 4, false);
	assert_non_null(dynbuf_room(&b, 10));
	dynbuf_grown(&b, 0);
	check(&b, "abcx", 4, false);
}

static void
test_growth(void **state)
{
	DYNBUF_AUTO b;

	(void)state;
	dynbuf_init(&b, 100000);
	for (size_t i = 0; i < 100000; i++) {
		char c = (char)('a' + i % 26);

		assert_true(dynbuf_add(&b, &c, 1));
		assert_int_equal(b.data[b.len], '\0');
	}
	for (size_t i = 0; i < 100000; i++)
		assert_int_equal(b.data[i], (char)('a' + i % 26));
	assert_false(dynbuf_add(&b, "x", 1));
	assert_int_equal(b.len, 100000);
}

static void
test_steal(void **state)
{
	struct dynbuf b;
	size_t len = 77;
	char *s;

	(void)state;
	dynbuf_init(&b, 4);
	s = dynbuf_steal(&b, &len);
	assert_string_equal(s, "");
	assert_int_equal(len, 0);
	free(s);

	assert_false(dynbuf_adds(&b, "abcde"));
	assert_true(dynbuf_add(&b, "a\0c", 3));
	s = dynbuf_steal(&b, &len);
	assert_memory_equal(s, "a\0c", 4);
	assert_int_equal(len, 3);
	free(s);
	check(&b, "", 0, false);
	assert_int_equal(b.max, 4);
	assert_true(dynbuf_adds(&b, "abcd"));
	check(&b, "abcd", 4, false);
	dynbuf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_overflow_sticks),
		cmocka_unit_test(test_huge),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_steal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
