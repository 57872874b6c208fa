/* SPDX-License-Identifier: MIT */
#include "milter/plan_seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "milter/crypto.h"
#include "policy/dynbuf.h"
#include "policy/plan.h"
#include "policy/requeue.h"

#define HEADERS_MOST 400

struct sealed {
	char *values[HEADERS_MOST];
	size_t n;
};

static struct crypto_seal *seal, *other_seal;

/* 64 times the letter. */
static struct crypto_seal *
seal_of(char letter)
{
	char path[] = "/tmp/test_plan_seal.XXXXXX";
	int fd = mkstemp(path);
	struct crypto_seal *s;
	const char *error;
	char text[64];

	memset(text, letter, sizeof(text));
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
	assert_int_equal(close(fd), 0);
	s = crypto_seal_open(path, &error);
	assert_int_equal(unlink(path), 0);
	assert_non_null(s);
	return s;
}

static void
take_header(void *arg, const char *value)
{
	struct sealed *h = arg;

	assert_true(h->n < HEADERS_MOST);
	h->values[h->n] = strdup(value);
	assert_non_null(h->values[h->n]);
	h->n++;
}

static void
clear(struct sealed *h)
{
	for (size_t i = 0; i < h->n; i++)
		free(h->values[i]);
	h->n = 0;
}

/* Each line of it, the name counted, is as wide as it may be but the last. */
static void
check_header(const char *value, bool last)
{
	size_t column = strlen(REQUEUE_PLAN_HEADER ": ");

	assert_true(strlen(value) + column <= PLAN_HEADER_MAX);
	if (!last)
		assert_true(strlen(value) + column > PLAN_HEADER_MAX - 160);
	for (const char *p = value; *p != '\0'; p++) {
		if (*p != '\n') {
			assert_true(*p > ' ' || (p > value && p[-1] == '\n'));
			column++;
			continue;
		}
		assert_int_equal(column, 76);
		assert_int_equal(p[1], ' ');
		column = 0;
	}
	assert_true(column > 1 && column <= 76);
}

static char *
make_plan(size_t len)
{
	char *plan = malloc(len + 1);

	assert_non_null(plan);
	for (size_t i = 0; i < len; i++)
		plan[i] = (char)('a' + (i * 7 + i / 251) % 26);
	return plan;
}

/* What stands between two values. */
static void
join(const struct sealed *h, const char *between, struct dynbuf *out)
{
	dynbuf_init(out, (size_t)2 * PLAN_HEADERS_MAX);
	for (size_t i = 0; i < h->n; i++) {
		dynbuf_adds(out, h->values[i]);
		dynbuf_adds(out, between);
	}
}

static bool
opens(const struct crypto_seal *s, const struct dynbuf *values,
      const char *plan, size_t len)
{
	DYNBUF_AUTO got;
	bool ok;

	dynbuf_init(&got, 2 * (size_t)PLAN_MAX);
	dynbuf_adds(&got, "x");
	ok = plan_unseal(s, dynbuf_str(values), values->len, &got);
	assert_int_equal(got.data[0], 'x');
	assert_int_equal(got.len, ok ? len + 1 : 1);
	if (ok)
		assert_memory_equal(got.data + 1, plan, len);
	return ok;
}

static void
test_round_trip(void **state)
{
	static const struct {
		size_t len, headers;
	} v[] = {
		{ 0, 1 },	   { 1, 1 },	 { 100, 1 },
		{ 36000, 1 },	   { 36600, 2 }, { 200 * 1024, 6 },
		{ PLAN_MAX, 230 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		static const char *const between[] = { "", "\n", "\r\n \t" };
		char *plan = make_plan(v[i].len);
		struct sealed h = { .n = 0 };

		plan_seal(seal, plan, v[i].len, take_header, &h);
		if (h.n != v[i].headers)
			fail_msg("%zu bytes: %zu headers", v[i].len, h.n);
		for (size_t k = 0; k < h.n; k++)
			check_header(h.values[k], k + 1 == h.n);
		for (size_t k = 0; k < 3; k++) {
			DYNBUF_AUTO values;

			join(&h, between[k], &values);
			assert_true(opens(seal, &values, plan, v[i].len));
			assert_true(values.len <= PLAN_HEADERS_MAX);
		}
		clear(&h);
		free(plan);
	}
}

/* Each length around the end of a line and of a header. */
static void
test_every_length(void **state)
{
	static const size_t from[] = { 0, 36400 };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		for (size_t len = from[i]; len < from[i] + 170; len++) {
			char *plan = make_plan(len);
			struct sealed h = { .n = 0 };
			DYNBUF_AUTO values;

			plan_seal(seal, plan, len, take_header, &h);
			for (size_t k = 0; k < h.n; k++)
				check_header(h.values[k], k + 1 == h.n);
			join(&h, "", &values);
			assert_true(opens(seal, &values, plan, len));
			clear(&h);
			free(plan);
		}
	}
}

/* As servers on the way may fold it. */
static void
test_refolded(void **state)
{
	static const char *const folds[] = {
		"\r\n\t", "\n    ", " ", "", "\r\n \r\n ",
	};
	char *plan = make_plan(40000);
	struct sealed h = { .n = 0 };

	(void)state;
	plan_seal(seal, plan, 40000, take_header, &h);
	for (size_t i = 0; i < sizeof(folds) / sizeof(folds[0]); i++) {
		DYNBUF_AUTO values, refolded;

		join(&h, "", &values);
		dynbuf_init(&refolded, PLAN_HEADERS_MAX);
		for (size_t k = 0; k < values.len; k++) {
			if (values.data[k] == '\n')
				dynbuf_adds(&refolded, folds[i]);
			else if (values.data[k] != ' ')
				dynbuf_add(&refolded, &values.data[k], 1);
		}
		assert_true(opens(seal, &refolded, plan, 40000));
	}
	clear(&h);
	free(plan);
}

/* Every byte of a short one, and some of a long one. */
static void
check_altered(size_t len, size_t step)
{
	char *plan = make_plan(len);
	struct sealed h = { .n = 0 };
	DYNBUF_AUTO values;

	plan_seal(seal, plan, len, take_header, &h);
	join(&h, "", &values);
	for (size_t i = 0; i < values.len; i += step) {
		char was = values.data[i];
		const char with[] = { was ^ 1, was ^ 2, was == 'A' ? 'B' : 'A',
				      '=',     '\0',	'\xff' };

		if (was == '\n' || was == ' ')
			continue;
		for (size_t k = 0; k < sizeof(with); k++) {
			values.data[i] = with[k];
			if (with[k] != was && opens(seal, &values, plan, len))
				fail_msg("%zu bytes: byte %zu, %zu", len, i, k);
		}
		values.data[i] = was;
	}
	assert_true(opens(seal, &values, plan, len));
	clear(&h);
	free(plan);
}

static void
test_altered(void **state)
{
	(void)state;
	for (size_t len = 0; len < 4; len++)
		check_altered(len, 1);
	check_altered(100, 1);
	check_altered(100000, 7919);
}

static void
test_cut(void **state)
{
	char *plan = make_plan(100);
	struct sealed h = { .n = 0 };
	DYNBUF_AUTO values;

	(void)state;
	plan_seal(seal, plan, 100, take_header, &h);
	join(&h, "", &values);
	while (values.len > 0) {
		dynbuf_truncate(&values, values.len - 1);
		assert_false(opens(seal, &values, plan, 100));
	}
	clear(&h);
	free(plan);
}

/* Three headers, in every way but the right one. */
static void
test_headers_altered(void **state)
{
	static const char *const orders[] = {
		"01", "12", "02", "021", "102", "210", "0112", "0120", "",
	};
	char *plan = make_plan(100000);
	struct sealed h = { .n = 0 }, again = { .n = 0 };
	DYNBUF_AUTO whole;

	(void)state;
	plan_seal(seal, plan, 100000, take_header, &h);
	plan_seal(seal, plan, 100000, take_header, &again);
	assert_int_equal(h.n, 3);
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		DYNBUF_AUTO values;

		dynbuf_init(&values, PLAN_HEADERS_MAX);
		for (const char *p = orders[i]; *p != '\0'; p++)
			dynbuf_adds(&values, h.values[*p - '0']);
		if (opens(seal, &values, plan, 100000))
			fail_msg("%s", orders[i]);
	}
	/* One of the same plan, sealed another time. */
	dynbuf_init(&whole, PLAN_HEADERS_MAX);
	dynbuf_adds(&whole, h.values[0]);
	dynbuf_adds(&whole, again.values[1]);
	dynbuf_adds(&whole, h.values[2]);
	assert_false(opens(seal, &whole, plan, 100000));
	clear(&h);
	clear(&again);
	free(plan);
}

static void
test_another_seal(void **state)
{
	uint8_t sealed[5 + CRYPTO_SEAL_OVERHEAD];
	char text[CRYPTO_BASE64_LEN(sizeof(sealed)) + 1];
	struct sealed h = { .n = 0 };
	DYNBUF_AUTO values, elsewhere;

	(void)state;
	plan_seal(seal, "hello", 5, take_header, &h);
	join(&h, "", &values);
	assert_true(opens(seal, &values, "hello", 5));
	assert_false(opens(other_seal, &values, "hello", 5));
	/* Sealed with the same secret for another purpose. */
	crypto_seal(seal, "key", "hello", 5, sealed);
	crypto_base64(text, sealed, sizeof(sealed));
	dynbuf_init(&elsewhere, 200);
	dynbuf_adds(&elsewhere, text);
	assert_false(opens(seal, &elsewhere, "hello", 5));
	clear(&h);
}

static void
test_bounds(void **state)
{
	struct sealed h = { .n = 0 };
	DYNBUF_AUTO values, small;

	(void)state;
	plan_seal(seal, "hello", 5, take_header, &h);
	join(&h, "", &values);
	dynbuf_init(&small, 4);
	assert_false(plan_unseal(seal, values.data, values.len, &small));
	assert_int_equal(small.len, 0);
	while (values.len < PLAN_HEADERS_MAX)
		dynbuf_adds(&values, " ");
	assert_true(opens(seal, &values, "hello", 5));
	dynbuf_adds(&values, " ");
	assert_false(opens(seal, &values, "hello", 5));
	clear(&h);
}

/* The secret in it is not to be read, and no two are alike. */
static void
test_sealed(void **state)
{
	struct sealed h = { .n = 0 };

	(void)state;
	plan_seal(seal, "hello hello", 11, take_header, &h);
	plan_seal(seal, "hello hello", 11, take_header, &h);
	assert_int_equal(h.n, 2);
	assert_null(strstr(h.values[0], "aGVsbG8"));
	assert_string_not_equal(h.values[0], h.values[1]);
	clear(&h);
}

static int
setup(void **state)
{
	(void)state;
	seal = seal_of('a');
	other_seal = seal_of('b');
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	crypto_seal_free(&seal);
	crypto_seal_free(&other_seal);
	return 0;
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_refolded),
		cmocka_unit_test(test_altered),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_headers_altered),
		cmocka_unit_test(test_another_seal),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_sealed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
