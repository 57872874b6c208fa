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

/* In the order in which members are written: some before the routes, some
 * behind them. */
#define R1(before, behind)      \
	"{\"id\":\"a\"," before \
	",\"routes\":[{\"id\":\"r1\",\"name\":\"\"}]" behind "}"
#define MORE_MEMBERS                                                        \
	",\"default_route\":\"r1\",\"senders\":[\"a@b.example\","           \
	"\"c.example\"],\"networks\":[\"192.0.2.0/24\",\"2001:db8::/32\"]," \
	"\"rate\":\"100/1m\",\"recipient_rate\":\"5/1s\""

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
	{ "M\xc3\xbcller GmbH", "m-ller-gmbh-164de8c6" },
	{ "\xc3\x9c"
	  "ber",
	  "ber-fb7798af" },
	{ "", NULL },
	{ "-", NULL },
	{ "\xe6\x97\xa5\xe6\x9c\xac", "9f26ee51" },
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

/* The default counts only when none is named. */
static void
test_default_route(void **state)
{
	struct account *a = with_routes("r1= r2= r3=");
	struct smtp_reply refusal = { 0 };

	(void)state;
	assert_false(account_set_default_route(a, "r4"));
	assert_false(account_set_default_route(a, ""));
	assert_null(a->default_route);
	assert_true(account_set_default_route(a, "r1"));
	assert_true(account_set_default_route(a, "r2"));
	assert_true(account_set_default_route(a, a->default_route));
	assert_false(account_set_default_route(a, "r4"));
	assert_string_equal(a->default_route, "r2");
	assert_string_equal(account_choose_route(a, NULL, HEADER, &refusal)->id,
			    "r2");
	assert_string_equal(account_choose_route(a, "r3", HEADER, &refusal)->id,
			    "r3");
	assert_null(account_choose_route(a, "r4", HEADER, &refusal));
	assert_string_equal(refusal.text,
			    HEADER ": not a route of this account; it has: "
				   "r1, r2, r3");
	account_free(&a);
}

/* --- senders -------------------------------------------------------------- */

static const struct {
	const char *sender;
	bool want;
} senders[] = {
	{ "user@example.org", true },
	{ "User.Name+tag@Example.ORG", true },
	{ "example.org", true },
	{ "localhost", true },
	{ "a-b_c.example", true },
	{ "m\xc3\xbcller@b\xc3\xbc"
	  "cher.example",
	  true },
	{ "b\xc3\xbc"
	  "cher.example",
	  true },
	{ "", false },
	{ "@", false },
	{ "user@", false },
	{ "@example.org", false },
	{ "a@b@example.org", false },
	{ "user@example..org", false },
	{ "user@.example.org", false },
	{ "example.org.", false },
	{ ".", false },
	{ "us er@example.org", false },
	{ "exam ple.org", false },
	{ "*.example.org", false },
	{ "user@[192.0.2.1]", false },
	{ "user\n@example.org", false },
	{ "user@example.org\x7f", false },
	{ "us\xff"
	  "er@example.org",
	  false },
};

static void
test_add_sender(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(senders) / sizeof(senders[0]); i++) {
		struct account *a = account_new("acme");

		if (account_add_sender(a, senders[i].sender) !=
			senders[i].want ||
		    a->n_senders != senders[i].want)
			fail_msg("\"%s\"", senders[i].sender);
		account_free(&a);
	}
}

static void
test_sender_bounds(void **state)
{
	struct account *a = account_new("acme");
	char *longest = repeat('a', ACCOUNT_SENDER_MAX);
	char *longer = repeat('a', ACCOUNT_SENDER_MAX + 1);

	(void)state;
	assert_false(account_add_sender(a, longer));
	for (size_t i = 0; i < ACCOUNT_SENDERS_MAX; i++)
		assert_true(account_add_sender(a, longest));
	assert_false(account_add_sender(a, "x"));
	assert_int_equal(a->n_senders, ACCOUNT_SENDERS_MAX);
	free(longest);
	free(longer);
	account_free(&a);
}

static const struct {
	const char *senders; /* separated by blanks */
	const char *address;
	bool want;
} allowed_senders[] = {
	{ "", "anybody@example.net", true },
	{ "", "", true },
	{ "a@x.org", "a@x.org", true },
	{ "a@x.org", "a@X.ORG", true },
	{ "a@X.Org", "a@x.oRG", true },
	{ "a@x.org", "A@x.org", false },
	{ "a@x.org", "b@x.org", false },
	{ "a@x.org", "aa@x.org", false },
	{ "aa@x.org", "a@x.org", false },
	{ "a@x.org", "a@x.or", false },
	{ "a@x.org", "a@x.orgs", false },
	{ "a@x.org", "x.org", false },
	{ "a@x.org", "", false },
	{ "x.org", "a@x.org", true },
	{ "x.org", "a@X.ORG", true },
	{ "X.org", "a@x.org", true },
	{ "x.org", "a@sub.x.org", false },
	{ "x.org", "a@yx.org", false },
	{ "x.org", "a@x.org.evil.example", false },
	{ "x.org", "a@x.org@evil.example", false },
	{ "x.org", "x.org", false },
	{ "x.org", "x.org@y.org", false },
	{ "a@x.org y.org", "b@y.org", true },
	{ "y.org a@x.org", "a@x.org", true },
	{ "y.org a@x.org", "b@x.org", false },
	{ "b\xc3\xbc"
	  "cher.example",
	  "a@b\xc3\xbc"
	  "cher.EXAMPLE",
	  true },
	/* Bytes are as they are. */
	{ "b\xc3\xbc"
	  "cher.example",
	  "a@b\xc3\x9c"
	  "cher.example",
	  false },
	{ "b\xc3\xbc"
	  "cher.example",
	  "a@xn--bcher-kva.example", false },
};

static struct account *
with_list(const char *list, bool (*add)(struct account *a, const char *s))
{
	struct account *a = account_new("acme");
	char *text = strdup(list);
	char *save = NULL;

	assert_non_null(text);
	for (char *s = strtok_r(text, " ", &save); s != NULL;
	     s = strtok_r(NULL, " ", &save))
		assert_true(add(a, s));
	free(text);
	return a;
}

#define N_ELEMENTS(v) (sizeof(v) / sizeof((v)[0]))

static void
test_allows_sender(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ELEMENTS(allowed_senders); i++) {
		struct account *a =
		    with_list(allowed_senders[i].senders, account_add_sender);

		if (account_allows_sender(a, allowed_senders[i].address) !=
		    allowed_senders[i].want)
			fail_msg("%s: %s", allowed_senders[i].senders,
				 allowed_senders[i].address);
		account_free(&a);
	}
}

/* --- networks ------------------------------------------------------------- */

static const struct {
	const char *text;
	bool want;
} networks[] = {
	{ "192.0.2.0/24", true },
	{ "192.0.2.77/24", true },
	{ "192.0.2.1", true },
	{ "192.0.2.1/32", true },
	{ "0.0.0.0/0", true },
	{ "2001:db8::/32", true },
	{ "2001:db8::1", true },
	{ "2001:db8::1/128", true },
	{ "::/0", true },
	{ "::ffff:192.0.2.0/120", true },
	{ "192.0.2.0/33", false },
	{ "2001:db8::/129", false },
	{ "192.0.2.0/", false },
	{ "192.0.2.0/-1", false },
	{ "192.0.2.0/+1", false },
	{ "192.0.2.0/024", false },
	{ "192.0.2.0/24x", false },
	{ "192.0.2.0/24/24", false },
	{ "192.0.2/24", false },
	{ "192.0.2.256", false },
	{ "192.0.2.01", false },
	{ " 192.0.2.1", false },
	{ "192.0.2.1 ", false },
	{ "/24", false },
	{ "", false },
	{ "localhost", false },
	{ "fe80::1%eth0", false },
	{ "192.0.2.0/99999999999999999999", false },
	{ "192.0.2.0/4294967297", false },
	{ "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb", false },
};

static void
test_add_network(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ELEMENTS(networks); i++) {
		struct account *a = account_new("acme");

		if (account_add_network(a, networks[i].text) !=
			networks[i].want ||
		    a->n_networks != networks[i].want)
			fail_msg("\"%s\"", networks[i].text);
		account_free(&a);
	}
}

static void
test_network_count(void **state)
{
	struct account *a = account_new("acme");

	(void)state;
	for (size_t i = 0; i < ACCOUNT_NETWORKS_MAX; i++)
		assert_true(account_add_network(a, "192.0.2.0/24"));
	assert_false(account_add_network(a, "192.0.2.0/24"));
	assert_int_equal(a->n_networks, ACCOUNT_NETWORKS_MAX);
	account_free(&a);
}

static const struct {
	const char *networks;
	const char *address;
	bool want;
} allowed_addresses[] = {
	{ "", "192.0.2.1", true },
	{ "", "unknown", true },
	{ "", NULL, true },
	{ "192.0.2.0/24", NULL, false },
	{ "192.0.2.0/24", "", false },
	{ "192.0.2.0/24", "unknown", false },
	{ "192.0.2.0/24", "192.0.2.0", true },
	{ "192.0.2.0/24", "192.0.2.255", true },
	{ "192.0.2.77/24", "192.0.2.1", true },
	{ "192.0.2.0/24", "192.0.3.0", false },
	{ "192.0.2.0/24", "192.0.1.255", false },
	{ "192.0.2.0/24", "::ffff:192.0.2.1", true },
	{ "192.0.2.0/24", "IPv6:::ffff:192.0.2.1", true },
	{ "192.0.2.0/24", "::192.0.2.1", false },
	{ "192.0.2.0/24", "192.0.2.1/24", false },
	{ "192.0.2.0/24", "192.0.2.1 ", false },
	{ "192.0.2.0/23", "192.0.3.255", true },
	{ "192.0.2.0/23", "192.0.4.0", false },
	{ "192.0.2.128/25", "192.0.2.127", false },
	{ "192.0.2.128/25", "192.0.2.128", true },
	{ "192.0.2.1", "192.0.2.1", true },
	{ "192.0.2.1", "192.0.2.0", false },
	{ "192.0.2.1", "192.0.2.3", false },
	{ "0.0.0.0/0", "255.255.255.255", true },
	{ "0.0.0.0/0", "2001:db8::1", false },
	{ "::/0", "2001:db8::1", true },
	{ "::/0", "192.0.2.1", true },
	{ "::ffff:192.0.2.0/120", "192.0.2.9", true },
	{ "2001:db8::/32", "2001:db8:ffff::1", true },
	{ "2001:db8::/32", "2001:DB8:FFFF::1", true },
	{ "2001:db8::/32", "IPv6:2001:db8::1", true },
	{ "2001:db8::/32", "ipv6:2001:db8::1", true },
	{ "2001:db8::/32", "2001:db9::1", false },
	{ "2001:db8::/33", "2001:db8:8000::1", false },
	{ "2001:db8::1", "2001:db8::1", true },
	{ "2001:db8::1", "2001:db8::2", false },
	{ "2001:db8::/32 192.0.2.0/24", "192.0.2.1", true },
	{ "2001:db8::/32 192.0.2.0/24", "192.0.4.1", false },
};

static void
test_allows_address(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ELEMENTS(allowed_addresses); i++) {
		const char *address = allowed_addresses[i].address;
		struct account *a = with_list(allowed_addresses[i].networks,
					      account_add_network);

		if (account_allows_address(a, address) !=
		    allowed_addresses[i].want)
			fail_msg("%s: %s", allowed_addresses[i].networks,
				 address ? address : "(none)");
		account_free(&a);
	}
}

/* --- rates ---------------------------------------------------------------- */

static const struct {
	const char *text;
	bool want;
	unsigned count, seconds;
} rates[] = {
	{ "100/1m", true, 100, 60 },
	{ "5/s", true, 5, 1 },
	{ "5/m", true, 5, 60 },
	{ "5/h", true, 5, 3600 },
	{ "10000/1d", true, 10000, 86400 },
	{ "1/90s", true, 1, 90 },
	{ "0/1m", true, 0, 0 },
	{ "1000000000/366d", true, 1000000000, 366 * 86400 },
	{ "1000000001/1m", false, 0, 0 },
	{ "4294967297/1m", false, 0, 0 },
	{ "99999999999999999999999/1m", false, 0, 0 },
	{ "1/367d", false, 0, 0 },
	{ "1/31622401s", false, 0, 0 },
	{ "1/4294967297s", false, 0, 0 },
	{ "1/99999999999999999999999s", false, 0, 0 },
	{ "1/0s", false, 0, 0 },
	{ "1/0m", false, 0, 0 },
	{ "", false, 0, 0 },
	{ "100", false, 0, 0 },
	{ "100/", false, 0, 0 },
	{ "/m", false, 0, 0 },
	{ "100/1", false, 0, 0 },
	{ "100/1w", false, 0, 0 },
	{ "100/1mm", false, 0, 0 },
	{ "100/1m ", false, 0, 0 },
	{ " 100/1m", false, 0, 0 },
	{ "-1/1m", false, 0, 0 },
	{ "+1/1m", false, 0, 0 },
	{ "1/-1m", false, 0, 0 },
	{ "1.5/1m", false, 0, 0 },
	{ "010/1m", false, 0, 0 },
	{ "100/1M", false, 0, 0 },
	{ "100/m/m", false, 0, 0 },
};

static void
test_parse_rate(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ELEMENTS(rates); i++) {
		struct account_rate rate = { 7, 7 };

		if (account_parse_rate(rates[i].text, &rate) != rates[i].want)
			fail_msg("\"%s\"", rates[i].text);
		if (rate.count != (rates[i].want ? rates[i].count : 7) ||
		    rate.seconds != (rates[i].want ? rates[i].seconds : 7))
			fail_msg("\"%s\": %u/%u", rates[i].text, rate.count,
				 rate.seconds);
	}
}

/* --- one and another ------------------------------------------------------ */

#define FULL R1("\"disabled\":true,\"dialect\":\"d\"", MORE_MEMBERS)

/* Each is FULL but for one thing. */
static const char *const others[] = {
	"{\"id\":\"b\"}",
	R1("\"dialect\":\"d\"", MORE_MEMBERS),
	R1("\"disabled\":true,\"dialect\":\"e\"", MORE_MEMBERS),
	R1("\"disabled\":true", MORE_MEMBERS),
	R1("\"disabled\":true,\"dialect\":\"d\",\"x\":0",
	   ",\"senders\":[\"a@b.example\",\"c.example\"],"
	   "\"networks\":[\"192.0.2.0/24\",\"2001:db8::/32\"],"
	   "\"rate\":\"100/1m\",\"recipient_rate\":\"5/1s\""),
	R1("\"disabled\":true,\"dialect\":\"d\"",
	   ",\"default_route\":\"r1\",\"senders\":[\"a@b.example\","
	   "\"d.example\"],\"networks\":[\"192.0.2.0/24\",\"2001:db8::/32\"],"
	   "\"rate\":\"100/1m\",\"recipient_rate\":\"5/1s\""),
	R1("\"disabled\":true,\"dialect\":\"d\"",
	   ",\"default_route\":\"r1\",\"senders\":[\"a@b.example\","
	   "\"c.example\"],\"networks\":[\"192.0.2.0/24\",\"2001:db8::/33\"],"
	   "\"rate\":\"100/1m\",\"recipient_rate\":\"5/1s\""),
	R1("\"disabled\":true,\"dialect\":\"d\"",
	   ",\"default_route\":\"r1\",\"senders\":[\"a@b.example\","
	   "\"c.example\"],\"networks\":[\"192.0.2.0/24\",\"2001:db8::/32\"],"
	   "\"rate\":\"100/1h\",\"recipient_rate\":\"5/1s\""),
	R1("\"disabled\":true,\"dialect\":\"d\"",
	   ",\"default_route\":\"r1\",\"senders\":[\"a@b.example\","
	   "\"c.example\"],\"networks\":[\"192.0.2.0/24\",\"2001:db8::/32\"],"
	   "\"rate\":\"100/1m\",\"recipient_rate\":\"6/1s\""),
};

static void
test_copy_and_equal(void **state)
{
	struct account *a = account_from_json(FULL, strlen(FULL));
	struct account *c;

	(void)state;
	assert_non_null(a);
	c = account_copy(a);
	assert_true(account_equal(a, c));
	for (size_t i = 0; i < N_ELEMENTS(others); i++) {
		struct account *b =
		    account_from_json(others[i], strlen(others[i]));

		assert_non_null(b);
		if (account_equal(a, b) || account_equal(b, a))
			fail_msg("%s", others[i]);
		account_free(&b);
	}
	assert_true(account_add_route(c, "r2", ""));
	assert_false(account_equal(a, c));
	account_free(&a);
	assert_string_equal(c->default_route, "r1");
	account_free(&c);
}

/* It lives as long as one owner does. */
static void
test_share(void **state)
{
	struct account *a = account_from_json(FULL, strlen(FULL));
	struct account *b = account_share(a);

	(void)state;
	assert_ptr_equal(a, b);
	account_free(&a);
	assert_null(a);
	assert_string_equal(b->id, "a");
	assert_int_equal(b->n_senders, 2);
	account_free(&b);
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
	{ "no routes", "{\"id\":\"a\"}", "{\"id\":\"a\",\"routes\":[]}" },
	{ "every member",
	  R1("\"disabled\":true,\"dialect\":\"d\"", MORE_MEMBERS),
	  R1("\"disabled\":true,\"dialect\":\"d\"", MORE_MEMBERS) },
	{ "as it is by default",
	  R1("\"disabled\":false", ",\"senders\":[],\"networks\":[],"
				   "\"rate\":\"0/1m\""),
	  "{\"id\":\"a\",\"routes\":[{\"id\":\"r1\",\"name\":\"\"}]}" },
	{ "disabled is no boolean", R1("\"disabled\":1", ""), NULL },
	{ "disabled is null", R1("\"disabled\":null", ""), NULL },
	{ "dialect is no string", R1("\"dialect\":1", ""), NULL },
	{ "dialect with a control character", R1("\"dialect\":\"a\\n\"", ""),
	  NULL },
	{ "default of no route", R1("\"default_route\":\"r2\"", ""), NULL },
	{ "default is no string", R1("\"default_route\":1", ""), NULL },
	{ "default without routes", "{\"id\":\"a\",\"default_route\":\"r\"}",
	  NULL },
	{ "senders are no array", R1("\"senders\":\"x\"", ""), NULL },
	{ "a sender is no string", R1("\"senders\":[\"x\",1]", ""), NULL },
	{ "a sender is none", R1("\"senders\":[\"x@\"]", ""), NULL },
	{ "networks are no array", R1("\"networks\":{}", ""), NULL },
	{ "a network is no string", R1("\"networks\":[4]", ""), NULL },
	{ "a network is none", R1("\"networks\":[\"192.0.2.0/33\"]", ""),
	  NULL },
	{ "a rate is no string", R1("\"rate\":5", ""), NULL },
	{ "a rate is none", R1("\"rate\":\"5\"", ""), NULL },
	{ "a recipient rate is none", R1("\"recipient_rate\":\"5/x\"", ""),
	  NULL },
	{ "a member twice", "{\"id\":\"a\",\"id\":\"b\"}", NULL },
	{ "NUL in a string", "{\"id\":\"a\",\"dialect\":\"d\\u0000\"}", NULL },
	{ "host bits are masked, short forms are written out",
	  R1("\"networks\":[\"192.0.2.77/24\",\"192.0.2.1\",\"::/0\"]",
	     ",\"rate\":\"10/90m\",\"recipient_rate\":\"7/48h\""),
	  "{\"id\":\"a\",\"routes\":[{\"id\":\"r1\",\"name\":\"\"}],"
	  "\"networks\":[\"192.0.2.0/24\",\"192.0.2.1/32\",\"::/0\"],"
	  "\"rate\":\"10/90m\",\"recipient_rate\":\"7/2d\"}" },
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
	char *sender = repeat('@', ACCOUNT_SENDER_MAX);
	struct account *b;
	char *text;

	(void)state;
	sender[ACCOUNT_SENDER_MAX - 1] = 'x';
	memset(sender, '"', ACCOUNT_SENDER_MAX - 2);
	for (size_t i = 0; i < ACCOUNT_ROUTES_MAX; i++)
		assert_true(account_add_route(a, id, name));
	for (size_t i = 0; i < ACCOUNT_SENDERS_MAX; i++)
		assert_true(account_add_sender(a, sender));
	for (size_t i = 0; i < ACCOUNT_NETWORKS_MAX; i++)
		assert_true(account_add_network(
		    a, "1111:2222:3333:4444:5555:6666:7777:8888/128"));
	assert_true(account_set_default_route(a, id));
	a->dialect = repeat('"', ACCOUNT_DIALECT_MAX);
	text = account_to_json(a);
	b = account_from_json(text, strlen(text));
	assert_non_null(b);
	assert_true(account_equal(a, b));
	assert_int_equal(b->n_routes, ACCOUNT_ROUTES_MAX);
	assert_string_equal(b->routes[ACCOUNT_ROUTES_MAX - 1].id, id);
	assert_string_equal(b->routes[ACCOUNT_ROUTES_MAX - 1].name, name);
	free(text);
	free(id);
	free(name);
	free(sender);
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
		cmocka_unit_test(test_default_route),
		cmocka_unit_test(test_add_sender),
		cmocka_unit_test(test_sender_bounds),
		cmocka_unit_test(test_allows_sender),
		cmocka_unit_test(test_add_network),
		cmocka_unit_test(test_network_count),
		cmocka_unit_test(test_allows_address),
		cmocka_unit_test(test_parse_rate),
		cmocka_unit_test(test_copy_and_equal),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_json_long_dialect),
		cmocka_unit_test(test_json_largest),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
