/* SPDX-License-Identifier: MIT */
#include "account.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dynbuf.h"
#include "json_text.h"
#include "utf8.h"

/* A record as JSON: routes of bounded lengths, escapes included. */
#define ACCOUNT_JSON_MAX (4 * 1024 * 1024)

static char *
copy(const char *s)
{
	char *c = strdup(s);

	if (c == NULL)
		abort();
	return c;
}

struct account *
account_new(const char *id)
{
	struct account *a = calloc(1, sizeof(*a));
	int n;

	if (a == NULL)
		abort();
	n = snprintf(a->id, sizeof(a->id), "%s", id);
	assert(n >= 0 && (size_t)n < sizeof(a->id));
	return a;
}

struct account *
account_copy(const struct account *a)
{
	struct account *c = account_new(a->id);

	if (a->dialect != NULL)
		c->dialect = copy(a->dialect);
	for (size_t i = 0; i < a->n_routes; i++)
		(void)account_add_route(c, a->routes[i].id, a->routes[i].name);
	return c;
}

void
account_free(struct account **ap)
{
	struct account *a = *ap;

	if (a == NULL)
		return;
	for (size_t i = 0; i < a->n_routes; i++) {
		free(a->routes[i].id);
		free(a->routes[i].name);
	}
	free(a->routes);
	free(a->dialect);
	free(a);
	*ap = NULL;
}

static bool
is_good(const char *s, size_t max)
{
	size_t len = strlen(s);

	return len <= max && utf8_valid_prefix(s, len) == len &&
	       utf8_is_printable(s, len);
}

bool
account_add_route(struct account *a, const char *id, const char *name)
{
	struct account_route *routes;

	if (a->n_routes >= ACCOUNT_ROUTES_MAX || *id == '\0' ||
	    !is_good(id, ACCOUNT_ROUTE_ID_MAX) ||
	    !is_good(name, ACCOUNT_ROUTE_NAME_MAX))
		return false;
	routes = realloc(a->routes, (a->n_routes + 1) * sizeof(*routes));
	if (routes == NULL)
		abort();
	a->routes = routes;
	a->routes[a->n_routes++] =
	    (struct account_route){ .id = copy(id), .name = copy(name) };
	return true;
}

/* FNV-1a, 32 bits: tells names apart that begin with the same 55 letters. */
static uint32_t
name_hash(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name != '\0'; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return h;
}

static bool
is_id_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
	       c == '_' || c == '-';
}

/* Room for "-" and eight digits. */
#define ID_CUT (ACCOUNT_ID_MAX - 9)

bool
account_id_from_name(const char *name, char id[ACCOUNT_ID_MAX + 1])
{
	const char *s = name;
	size_t n = 0;

	for (; *s != '\0' && n < ACCOUNT_ID_MAX; s++) {
		char c = *s >= 'A' && *s <= 'Z' ? (char)(*s - 'A' + 'a') : *s;

		if (is_id_char(c) && c != '-')
			id[n++] = c;
		else if (n > 0 && id[n - 1] != '-')
			id[n++] = '-';
	}
	if (*s != '\0')
		return snprintf(id + ID_CUT, ACCOUNT_ID_MAX + 1 - ID_CUT,
				"-%08x", (unsigned)name_hash(name)) == 9;
	while (n > 0 && (id[n - 1] == '-' || id[n - 1] == '.'))
		n--;
	id[n] = '\0';
	return n > 0;
}

bool
account_id_is_valid(const char *id)
{
	size_t n = 0;

	while (is_id_char(id[n]))
		n++;
	return n > 0 && n <= ACCOUNT_ID_MAX && id[n] == '\0';
}

/* "r1 (Main), r2" for as many routes as a reply has room for. */
static void
list_routes(const struct account *a, char *dst, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n_routes && n < size - 1; i++) {
		const struct account_route *r = &a->routes[i];
		bool named = r->name[0] != '\0';
		int k = snprintf(dst + n, size - n, "%s%s%s%s%s", i ? ", " : "",
				 r->id, named ? " (" : "", r->name,
				 named ? ")" : "");

		n += k > 0 ? (size_t)k : 0;
	}
}

const struct account_route *
account_choose_route(const struct account *a, const char *named,
		     const char *header, struct smtp_reply *refusal)
{
	char list[SMTP_REPLY_TEXT_MAX] = "";

	if (a->n_routes == 0) {
		smtp_reply_set(refusal, 550, "5.7.1",
			       "This account has no route to send by");
		return NULL;
	}
	if (named == NULL && a->n_routes == 1)
		return &a->routes[0];
	for (size_t i = 0; named != NULL && i < a->n_routes; i++) {
		if (strcmp(a->routes[i].id, named) == 0)
			return &a->routes[i];
	}
	list_routes(a, list, sizeof(list));
	if (named == NULL)
		smtp_reply_set(refusal, 550, "5.6.0",
			       "%s: this account has several routes, name "
			       "one: %s",
			       header, list);
	else
		smtp_reply_set(refusal, 550, "5.6.0",
			       "%s: not a route of this account; it has: %s",
			       header, list);
	return NULL;
}

static bool
add_route_json(struct dynbuf *out, const struct account_route *r)
{
	return dynbuf_adds(out, "{") && json_add_member(out, "id", r->id) &&
	       json_add_member(out, "name", r->name) && dynbuf_adds(out, "}");
}

char *
account_to_json(const struct account *a)
{
	DYNBUF_AUTO out;
	size_t len;

	dynbuf_init(&out, ACCOUNT_JSON_MAX);
	dynbuf_adds(&out, "{");
	json_add_member(&out, "id", a->id);
	if (a->dialect != NULL)
		json_add_member(&out, "dialect", a->dialect);
	dynbuf_adds(&out, ",\"routes\":[");
	for (size_t i = 0; i < a->n_routes; i++) {
		if (i > 0)
			dynbuf_adds(&out, ",");
		add_route_json(&out, &a->routes[i]);
	}
	dynbuf_adds(&out, "]}");
	/* The bounds of a record are far below the buffer's. */
	assert(!out.overflow);
	return dynbuf_steal(&out, &len);
}

static bool
read_route(void *arg, const char *id, const char *name)
{
	return id != NULL && account_add_route(arg, id, name ? name : "");
}

struct account *
account_from_json(const char *text, size_t len)
{
	char id[ACCOUNT_ID_MAX + 1];
	char dialect[ACCOUNT_DIALECT_MAX + 1];
	struct account *a;

	if (!json_get_string(text, len, "id", id, sizeof(id)) ||
	    !account_id_is_valid(id))
		return NULL;
	a = account_new(id);
	if (json_get_string(text, len, "dialect", dialect, sizeof(dialect)))
		a->dialect = copy(dialect);
	if (!json_each(text, len, "routes", "id", "name", read_route, a) ||
	    (a->dialect == NULL && json_has(text, len, "dialect")))
		account_free(&a);
	return a;
}
