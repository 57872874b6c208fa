/* SPDX-License-Identifier: MIT */
#include "policy/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char shop[] = "shop", upper[] = "Shop", any[] = ROUTE_ANY;
static struct route r_shop = { .name = shop };
static struct route r_upper = { .name = upper };
static struct route r_any = { .name = any };

static void
test_find(void **state)
{
	static const struct {
		struct route *routes[3];
		size_t n;
		const char *name;
		const struct route *want;
	} v[] = {
		{ { 0 }, 0, "shop", NULL },
		{ { &r_shop }, 1, "shop", &r_shop },
		{ { &r_shop }, 1, "other", NULL },
		{ { &r_shop }, 1, "", NULL },
		{ { &r_shop }, 1, "Shop", NULL },
		{ { &r_upper, &r_shop }, 2, "shop", &r_shop },
		{ { &r_any, &r_shop }, 2, "shop", &r_shop },
		{ { &r_any, &r_shop }, 2, "other", &r_any },
		{ { &r_shop, &r_any }, 2, "*", &r_any },
		{ { &r_shop, &r_any, &r_upper }, 3, "Shop", &r_upper },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct route *routes[3] = { v[i].routes[0], v[i].routes[1],
					    v[i].routes[2] };
		const struct route_list list = { routes, v[i].n };

		if (route_find(&list, v[i].name) != v[i].want)
			fail_msg("row %zu: %s", i, v[i].name);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
