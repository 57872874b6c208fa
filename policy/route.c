/* SPDX-License-Identifier: MIT */
#include "route.h"

#include <string.h>

static const struct route *
named(const struct route_list *routes, const char *name)
{
	for (size_t i = 0; i < routes->n; i++) {
		if (strcmp(routes->v[i]->name, name) == 0)
			return routes->v[i];
	}
	return NULL;
}

const struct route *
route_find(const struct route_list *routes, const char *name)
{
	const struct route *route = named(routes, name);

	return route != NULL ? route : named(routes, ROUTE_ANY);
}
