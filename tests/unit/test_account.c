/* SPDX-License-Identifier: MIT */
#include "policy/account.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/json_text.h"

#define HEADER "X-Transactional-Route"
#define TEN "0123456789"
#define SIXTY TEN TEN TEN TEN TEN TEN

/* n bytes of c, free(). */
static char *
repeat(char c, size_t n)
{
	char *s = malloc(n + 1);

	assert_non_null(s);
	memset(s, c, n);
	s[n] = '\0';
	return s;
}

static void
test_new(void **state)
{
	struct account *a = account_new("acme-inc");

	(void)state;
	assert_string_equal(a->id, "acme-inc");
	assert_null(a->dialect);
	assert_int_equal(a->n_routes, 0);
	account_free(&a);
	assert_null(a);
	account_free(&a);

	a = account_new(SIXTY "abcd");
	assert_string_equal(a->id, SIXTY "abcd");
	account_free(&a);
}

static void
test_copy(void **state)
{
	struct account *a = account_new("acme");
	struct account *c;

	(void)state;
	a->dialect = strdup("emaildelivery");
	assert_true(account_add_route(a, "r1", "Main"));
	assert_true(account_add_route(a, "r2", ""));
	c = account_copy(a);
	account_free(&a);
	assert_string_equal(c->id, "acme");
	assert_string_equal(c->dialect, "emaildelivery");
	assert_int_equal(c->n_routes, 2);
	assert_string_equal(c->routes[0].id, "r1");
	assert_string_equal(c->routes[0].name, "Main");
	assert_string_equal(c->routes[1].id, "r2");
	assert_string_equal(c->routes[1].name, "");
	account_free(&c);
}

/* --- bounds of a route ---------------------------------------------------- */

static const struct {
	const char *name;
	const char *id;
	const char *route_name;
	bool want;
} routes[] = {
	{ "both", "r1", "Main", true },
	{ "no name", "r1", "", true },
	{ "no id", "", "Main", false },
	{ "UTF-8", "r\xc3\xa9",
	  "Stra\xc3\x9f"
	  "e",
	  true },
	{ "LF in the id", "r\n1", "Main", false },
	{ "TAB in the name", "r1", "a\tb", false },
	{ "DEL in the name", "r1", "a\x7f", false },
	{ "C1 in the name", "r1",
	  "a\xc2\x9b"
	  "b",
	  false },
	{ "invalid UTF-8 in the id", "r\xff", "Main", false },
	{ "invalid UTF-8 in the name", "r1", "\xc3", false },
};

static void
test_add_route(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		struct account *a = account_new("acme");

		if (account_add_route(a, routes[i].id, routes[i].route_name) !=
		    routes[i].want)
			fail_msg("%s", routes[i].name);
		if (a->n_routes != routes[i].want)
			fail_msg("%s: %zu routes", routes[i].name, a->n_routes);
		account_free(&a);
	}
}

static void
test_add_route_lengths(void **state)
{
	static const struct {
		size_t id, name;
		bool want;
	} v[] = {
		{ ACCOUNT_ROUTE_ID_MAX, 1, true },
		{ ACCOUNT_ROUTE_ID_MAX + 1, 1, false },
		{ 1, ACCOUNT_ROUTE_NAME_MAX, true },
		{ 1, ACCOUNT_ROUTE_NAME_MAX + 1, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct account *a = account_new("acme");
		char *id = repeat('i', v[i].id);
		char *name = repeat('n', v[i].name);

		assert_int_equal(account_add_route(a, id, name), v[i].want);
		assert_int_equal(a->n_routes, v[i].want);
		free(id);
		free(name);
		account_free(&a);
	}
}

static void
test_add_route_count(void **state)
{
	struct account *a = account_new("acme");

	(void)state;
	for (size_t i = 0; i < ACCOUNT_ROUTES_MAX; i++)
		assert_true(account_add_route(a, "r", "n"));
	assert_false(account_add_route(a, "r", "n"));
	assert_int_equal(a->n_routes, ACCOUNT_ROUTES_MAX);
	account_free(&a);
}

/* --- ids from names ------------------------------------------------------- */

static const struct {
	const char *name;
	const char *want; /* NULL: none */
} names[] = {
	{ "Acme, Inc.", "acme-inc" },
	{ "a.b.-.", "a.b" },
	{ "._.", "._" },
	{ "...", NULL },
	{ "acme", "acme" },
	{ "A.B_c-9", "a.b_c-9" },
	{ "AZ az 09", "az-az-09" },
	{ "  Acme  &  Sons  ", "acme-sons" },
	{ "a---b", "a-b" },
	{ "-a-", "a" },
	{ "M\xc3\xbcller GmbH", "m-ller-gmbh" },
	{ "\xc3\x9c"
	  "ber",
	  "ber" },
	{ "", NULL },
	{ "-", NULL },
	{ "\xe6\x97\xa5\xe6\x9c\xac", NULL },
	{ " ,;!", NULL },
	{ SIXTY "abcd", SIXTY "abcd" },
};

static void
test_id_from_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char id[ACCOUNT_ID_MAX + 1];
		bool ok = account_id_from_name(names[i].name, id);

		if (ok != (names[i].want != NULL) ||
		    (ok && strcmp(id, names[i].want) != 0))
			fail_msg("\"%s\": %d \"%s\"", names[i].name, ok, id);
	}
}

/* Cut to one length, two customers would be one account. */
static void
test_long_names_differ(void **state)
{
	static const char begin[] = TEN TEN TEN TEN TEN "01234-";
	char a[ACCOUNT_ID_MAX + 1];
	char b[ACCOUNT_ID_MAX + 1];

	(void)state;
	assert_true(account_id_from_name(SIXTY "abcde", a));
	assert_true(account_id_from_name(SIXTY "abcdf", b));
	assert_string_not_equal(a, b);
	assert_int_equal(strlen(a), ACCOUNT_ID_MAX);
	assert_memory_equal(a, begin, strlen(begin));
	assert_true(account_id_is_valid(a));
	/* The same name is the same account. */
	assert_true(account_id_from_name(SIXTY "abcde", b));
	assert_string_equal(a, b);
}

static void
test_id_is_valid(void **state)
{
	static const struct {
		const char *id;
		bool want;
	} v[] = {
		{ "a", true },	  { "az09._-", true },
		{ "-", true },	  { SIXTY "abcd", true },
		{ "", false },	  { SIXTY "abcde", false },
		{ "A", false },	  { "Ab", false },
		{ "aB", false },  { "a b", false },
		{ "a/", false },  { "a:", false },
		{ "a`", false },  { "a{", false },
		{ "a\n", false }, { "\xc3\xa9", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		if (account_id_is_valid(v[i].id) != v[i].want)
			fail_msg("\"%s\"", v[i].id);
	}
}

/* --- the route rule ------------------------------------------------------- */

static const struct {
	const char *name;
	const char *routes; /* "id=name ..." */
	const char *named;
	const char *want; /* an id; NULL: refused */
	const char *enhanced;
	const char *text;
} choices[] = {
	{ "one, none named", "r1=Main", NULL, "r1", NULL, NULL },
	{ "one, named", "r1=Main", "r1", "r1", NULL, NULL },
	{ "one, another named", "r1=Main", "r2", NULL, "5.6.0",
	  HEADER ": not a route of this account; it has: r1 (Main)" },
	{ "several, none named", "r1=Main r2=", NULL, NULL, "5.6.0",
	  HEADER ": this account has several routes, name one: "
		 "r1 (Main), r2" },
	{ "several, the first named", "r1=Main r2=", "r1", "r1", NULL, NULL },
	{ "several, the last named", "r1=Main r2= r3=x", "r3", "r3", NULL,
	  NULL },
	{ "several, another named", "r1= r2=Two", "r3", NULL, "5.6.0",
	  HEADER ": not a route of this account; it has: r1, r2 (Two)" },
	{ "the id counts, not the name", "r1=Main r2=", "Main", NULL, "5.6.0",
	  HEADER ": not a route of this account; it has: r1 (Main), r2" },
	{ "ids are as they are written", "Ab=", "ab", NULL, "5.6.0",
	  HEADER ": not a route of this account; it has: Ab" },
	{ "a part of an id is none", "r12=", "r1", NULL, "5.6.0",
	  HEADER ": not a route of this account; it has: r12" },
	{ "none at all", "", NULL, NULL, "5.7.1",
	  "This account has no route to send by" },
	{ "none at all, one named", "", "r1", NULL, "5.7.1",
	  "This account has no route to send by" },
};

static struct account *
with_routes(const char *list)
{
	struct account *a = account_new("acme");
	char *copy = strdup(list);
	char *save = NULL;

	assert_non_null(copy);
	for (char *r = strtok_r(copy, " ", &save); r != NULL;
	     r = strtok_r(NULL, " ", &save)) {
		char *eq = strchr(r, '=');

		assert_non_null(eq);
		*eq = '\0';
		assert_true(account_add_route(a, r, eq + 1));
	}
	free(copy);
	return a;
}

static void
test_choose_route(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
		struct account *a = with_routes(choices[i].routes);
		struct smtp_reply refusal = { 0 };
		const struct account_route *r =
		    account_choose_route(a, choices[i].named, HEADER, &refusal);

		if ((r == NULL) != (choices[i].want == NULL) ||
		    (r != NULL && strcmp(r->id, choices[i].want) != 0))
			fail_msg("%s: %s", choices[i].name, r ? r->id : "none");
		if (smtp_reply_is_set(&refusal) != (r == NULL))
			fail_msg("%s: refusal", choices[i].name);
		if (r == NULL &&
		    (refusal.code != 550 ||
		     strcmp(refusal.enhanced, choices[i].enhanced) != 0 ||
		     strcmp(refusal.text, choices[i].text) != 0))
			fail_msg("%s: %d %s %s", choices[i].name, refusal.code,
				 refusal.enhanced, refusal.text);
		account_free(&a);
	}
}

/* More routes than a reply has room for: as many as fit, then "...". */
static void
test_choose_among_many(void **state)
{
	struct account *a = account_new("acme");
	char *name = repeat('n', ACCOUNT_ROUTE_NAME_MAX);
	struct smtp_reply refusal;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		char id[16];

		assert_true(snprintf(id, sizeof(id), "r%d", i) > 0);
		assert_true(account_add_route(a, id, i % 2 ? name : "x"));
	}
	assert_null(account_choose_route(a, NULL, HEADER, &refusal));
	assert_non_null(strstr(refusal.text, "r0 (x), r1 (nnn"));
	assert_string_equal(refusal.text + strlen(refusal.text) - 3, "...");
	assert_string_equal(
	    account_choose_route(a, "r999", HEADER, &refusal)->id, "r999");
	free(name);
	account_free(&a);
}

/* --- JSON ----------------------------------------------------------------- */

static const struct {
	const char *name;
	const char *text;
	const char *want; /* as account_to_json() writes it; NULL: refused */
} records[] = {
	{ "least", "{\"id\":\"a\",\"routes\":[]}",
	  "{\"id\":\"a\",\"routes\":[]}" },
	{ "all",
	  "{\"id\":\"a\",\"dialect\":\"d\",\"routes\":[{\"id\":\"r\","
	  "\"name\":\"n\"},{\"id\":\"s\",\"name\":\"\"}]}",
	  "{\"id\":\"a\",\"dialect\":\"d\",\"routes\":[{\"id\":\"r\","
	  "\"name\":\"n\"},{\"id\":\"s\",\"name\":\"\"}]}" },
	{ "order, blanks and more members",
	  " { \"routes\" : [ {\"name\":\"n\",\"x\":1,\"id\":\"r\"} ] , "
	  "\"new\" : {} , \"id\" : \"a\" } ",
	  "{\"id\":\"a\",\"routes\":[{\"id\":\"r\",\"name\":\"n\"}]}" },
	{ "a route without name", "{\"id\":\"a\",\"routes\":[{\"id\":\"r\"}]}",
	  "{\"id\":\"a\",\"routes\":[{\"id\":\"r\",\"name\":\"\"}]}" },
	{ "escapes",
	  "{\"id\":\"a\",\"routes\":[{\"id\":\"\\\"\\\\\",\"name\":"
	  "\"\\u00e9\"}]}",
	  "{\"id\":\"a\",\"routes\":[{\"id\":\"\\\"\\\\\",\"name\":"
	  "\"\xc3\xa9\"}]}" },
	{ "no id", "{\"routes\":[]}", NULL },
	{ "id is no string", "{\"id\":1,\"routes\":[]}", NULL },
	{ "id is empty", "{\"id\":\"\",\"routes\":[]}", NULL },
	{ "id of other letters", "{\"id\":\"A B\",\"routes\":[]}", NULL },
	{ "id with a line end", "{\"id\":\"a\\nb\",\"routes\":[]}", NULL },
	{ "id of 64", "{\"id\":\"" SIXTY "abcd\",\"routes\":[]}",
	  "{\"id\":\"" SIXTY "abcd\",\"routes\":[]}" },
	{ "id of 65", "{\"id\":\"" SIXTY "abcde\",\"routes\":[]}", NULL },
	{ "no routes", "{\"id\":\"a\"}", NULL },
	{ "routes are no array", "{\"id\":\"a\",\"routes\":{}}", NULL },
	{ "a route is no object", "{\"id\":\"a\",\"routes\":[1]}", NULL },
	{ "a route without id", "{\"id\":\"a\",\"routes\":[{\"name\":\"\"}]}",
	  NULL },
	{ "a route with an empty id",
	  "{\"id\":\"a\",\"routes\":[{\"id\":\"\"}]}", NULL },
	{ "a route with a control character",
	  "{\"id\":\"a\",\"routes\":[{\"id\":\"r\\u0001\"}]}", NULL },
	{ "an array", "[]", NULL },
	{ "not JSON", "{\"id\":\"a\",\"routes\":[]", NULL },
	{ "something behind it", "{\"id\":\"a\",\"routes\":[]} x", NULL },
	{ "nothing", "", NULL },
};

static void
test_json(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		struct account *a =
		    account_from_json(records[i].text, strlen(records[i].text));
		char *text = a != NULL ? account_to_json(a) : NULL;

		if ((text == NULL) != (records[i].want == NULL) ||
		    (text != NULL && strcmp(text, records[i].want) != 0)) {
			printf("%s: %s\n", records[i].name,
			       text ? text : "refused");
			bad++;
		}
		free(text);
		account_free(&a);
	}
	assert_int_equal(bad, 0);
}

/* A dialect that does not fit is not the default one. */
static void
test_json_long_dialect(void **state)
{
	(void)state;
	for (size_t more = 0; more < 2; more++) {
		struct account *a = account_new("acme");
		struct account *b;
		char *text;

		a->dialect = repeat('d', ACCOUNT_DIALECT_MAX + more);
		text = account_to_json(a);
		b = account_from_json(text, strlen(text));
		assert_int_equal(b == NULL, more);
		if (b != NULL)
			assert_string_equal(b->dialect, a->dialect);
		free(text);
		account_free(&a);
		account_free(&b);
	}
}

/* The largest record there can be comes back whole. */
static void
test_json_largest(void **state)
{
	struct account *a = account_new(SIXTY "abcd");
	char *id = repeat('"', ACCOUNT_ROUTE_ID_MAX);
	char *name = repeat('\\', ACCOUNT_ROUTE_NAME_MAX);
	struct account *b;
	char *text;

	(void)state;
	for (size_t i = 0; i < ACCOUNT_ROUTES_MAX; i++)
		assert_true(account_add_route(a, id, name));
	text = account_to_json(a);
	b = account_from_json(text, strlen(text));
	assert_non_null(b);
	assert_int_equal(b->n_routes, ACCOUNT_ROUTES_MAX);
	assert_string_equal(b->routes[ACCOUNT_ROUTES_MAX - 1].id, id);
	assert_string_equal(b->routes[ACCOUNT_ROUTES_MAX - 1].name, name);
	free(text);
	free(id);
	free(name);
	account_free(&a);
	account_free(&b);
}

static int
setup(void **state)
{
	(void)state;
	json_text_init();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_add_route),
		cmocka_unit_test(test_add_route_lengths),
		cmocka_unit_test(test_add_route_count),
		cmocka_unit_test(test_id_from_name),
		cmocka_unit_test(test_long_names_differ),
		cmocka_unit_test(test_id_is_valid),
		cmocka_unit_test(test_choose_route),
		cmocka_unit_test(test_choose_among_many),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_json_long_dialect),
		cmocka_unit_test(test_json_largest),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
