/* SPDX-License-Identifier: MIT */
#include "policy/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <gmime/gmime.h>

#include "policy/dynbuf.h"

#define E_ACUTE "\xc3\xa9"

/* --- lists ---------------------------------------------------------------- */

/* The list as "name|addr" one after the other, with "+1" for a group. */
static const struct {
	const char *name;
	const char *raw;
	const char *want;
	enum address_result result;
} lists[] = {
	{ "nothing", "", "", ADDRESS_OK },
	{ "an address", "joe@x.com", "|joe@x.com", ADDRESS_OK },
	{ "in brackets", "<joe@x.com>", "|joe@x.com", ADDRESS_OK },
	{ "with a name", "Joe User <joe@x.com>", "Joe User|joe@x.com",
	  ADDRESS_OK },
	{ "case is kept", "<R@Example.com>", "|R@Example.com", ADDRESS_OK },
	{ "quoted name with a comma", "\"Doe, Joe\" <r@x>", "Doe, Joe|r@x",
	  ADDRESS_OK },
	{ "quoted name with quotes", "\"a \\\"b\\\" c\" <r@x>", "a \"b\" c|r@x",
	  ADDRESS_OK },
	{ "encoded name with a comma", "=?utf-8?Q?Doe=2C_Jos=C3=A9?= <r@x>",
	  "Doe, Jos" E_ACUTE "|r@x", ADDRESS_OK },
	{ "encoded name in two B words with padding",
	  "=?utf-8?B?RG9l?=\n =?utf-8?B?LA==?= =?utf-8?B?IEpvc8Op?= <r@x>",
	  "Doe, Jos" E_ACUTE "|r@x", ADDRESS_OK },
	{ "encoded name in quotes", "\"=?utf-8?Q?Jos=C3=A9?=\" <r@x>",
	  "Jos" E_ACUTE "|r@x", ADDRESS_OK },
	{ "another charset", "=?iso-2022-jp?B?GyRCRnxLXBsoQg==?= <r@x>",
	  "\xe6\x97\xa5\xe6\x9c\xac|r@x", ADDRESS_OK },
	{ "windows-1252 labelled iso-8859-1", "=?iso-8859-1?Q?It=92s?= <r@x>",
	  "It\xe2\x80\x99s|r@x", ADDRESS_OK },
	{ "UTF-8 as it is", "Jos" E_ACUTE " <r@x>", "Jos" E_ACUTE "|r@x",
	  ADDRESS_OK },
	{ "8-bit name that is not UTF-8", "Jos\xe9 <r@x>", "Jos" E_ACUTE "|r@x",
	  ADDRESS_OK },
	{ "name in a comment", "joe@x.com (Joe User)", "Joe User|joe@x.com",
	  ADDRESS_OK },
	{ "folded", "Joe\n User <joe@x.com>,\r\n\tb@y.com",
	  "Joe User|joe@x.com |b@y.com", ADDRESS_OK },
	{ "TAB in a name", "\"a\tb\" <r@x>", "a b|r@x", ADDRESS_OK },
	{ "blanks around an encoded name", "=?utf-8?q?_Joe=20?= <r@x>",
	  "Joe|r@x", ADDRESS_OK },
	{ "blanks around a name", "\" Joe \" <r@x>", "Joe|r@x", ADDRESS_OK },
	{ "several", "a@x.com, B <b@y.com>,c@z.com",
	  "|a@x.com B|b@y.com |c@z.com", ADDRESS_OK },
	{ "commas too many", ",a@x.com,,", "|a@x.com", ADDRESS_OK },
	{ "two without a comma", "a@x.com b@y.com", "|a@x.com |b@y.com",
	  ADDRESS_OK },
	{ "an empty group", "undisclosed-recipients:;", "+1", ADDRESS_OK },
	{ "a group", "Friends: Joe <j@x>, b@y;", "Joe|j@x |b@y +1",
	  ADDRESS_OK },
	{ "a group and more", "a@x, G: b@y, d@y;, c@z", "|a@x |b@y |d@y |c@z +1",
	  ADDRESS_OK },
	{ "two groups", "G: a@x; H: b@y;", "|a@x |b@y +2", ADDRESS_OK },
	{ "a source route", "<@a.com,@b.com:joe@c.com>", "|joe@c.com",
	  ADDRESS_OK },
	{ "an address literal", "<joe@[192.0.2.1]>", "|joe@[192.0.2.1]",
	  ADDRESS_OK },
	{ "a quoted local part", "\"a b\"@x.com", "|\"a b\"@x.com",
	  ADDRESS_OK },
	{ "a UTF-8 domain",
	  "joe@b\xc3\xbc"
	  "cher.example",
	  "|joe@b\xc3\xbc"
	  "cher.example",
	  ADDRESS_OK },
	{ "a name without an address", "Joe User", "", ADDRESS_OK },
	{ "a name with empty brackets", "Joe User <>", "", ADDRESS_OK },
	{ "not an address", "a b@x.com", "", ADDRESS_OK },
	{ "an address that ends wrong", "<joe@x..com>", "", ADDRESS_OK },
	{ "LF in a name", "Joe\nX <r@x>", "", ADDRESS_CONTROL },
	{ "control character in a name",
	  "\"a\x01"
	  "b\" <r@x>",
	  "", ADDRESS_CONTROL },
	{ "ESC in a name", "\"\x1b[0mJoe\" <r@x>", "", ADDRESS_CONTROL },
	{ "ESC outside of quotes", "\x1b[0mJoe <r@x>", "", ADDRESS_OK },
	{ "C1 in a name", "Joe\xc2\x9b <r@x>", "", ADDRESS_CONTROL },
	{ "CR LF in an encoded name", "=?utf-8?q?J=0D=0Ax?= <r@x>", "",
	  ADDRESS_CONTROL },
	{ "NUL in an encoded name", "=?utf-8?q?J=00x?= <r@x>", "",
	  ADDRESS_CONTROL },
	{ "NUL in an encoded name of another charset",
	  "=?iso-8859-1?q?J=00x?= <r@x>", "", ADDRESS_CONTROL },
	{ "a good one before a bad one", "a@x, \"b\x7f\" <b@y>", "",
	  ADDRESS_CONTROL },
};

static void
write_list(struct dynbuf *out, const struct mailbox_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		dynbuf_addf(out, "%s%s|%s", i ? " " : "", list->v[i].name,
			    list->v[i].addr);
	if (list->groups > 0)
		dynbuf_addf(out, "%s+%zu", out->len ? " " : "", list->groups);
}

static void
test_lists(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		DYNBUF_AUTO got;
		struct mailbox_list list;
		size_t len = strlen(lists[i].raw);
		char *raw = malloc(len != 0 ? len : 1);
		enum address_result r;

		assert_non_null(raw);
		memcpy(raw, lists[i].raw, len);
		dynbuf_init(&got, 4096);
		r = mailbox_list_parse(raw, len, &list);
		free(raw);
		write_list(&got, &list);
		if (r != lists[i].result ||
		    strcmp(dynbuf_str(&got), lists[i].want) != 0) {
			printf("%s: %d \"%s\"\n", lists[i].name, (int)r,
			       dynbuf_str(&got));
			bad++;
		}
		mailbox_list_clear(&list);
		assert_null(list.v);
		assert_int_equal(list.n, 0);
		assert_int_equal(list.groups, 0);
	}
	assert_int_equal(bad, 0);
}

static void
test_list_nul(void **state)
{
	struct mailbox_list list;

	(void)state;
	assert_int_equal(mailbox_list_parse("a@x\0, b@y", 9, &list),
			 ADDRESS_CONTROL);
	assert_null(list.v);
	/* Cleared by an error, and may be again. */
	mailbox_list_clear(&list);
}

static void
test_list_bound(void **state)
{
	static const char separators[] = ",:;";

	(void)state;
	for (const char *sep = separators; *sep != '\0'; sep++) {
		for (int more = 0; more < 2; more++) {
			struct mailbox_list list;
			DYNBUF_AUTO raw;
			enum address_result r;

			dynbuf_init(&raw, 60000);
			dynbuf_adds(&raw, "a@x");
			for (int i = 0; i < ADDRESS_LIST_MAX + more; i++)
				dynbuf_add(&raw, sep, 1);
			r = mailbox_list_parse(raw.data, raw.len, &list);
			if (r != (more ? ADDRESS_TOO_MANY : ADDRESS_OK))
				fail_msg("%c, %d more: %d", *sep, more, r);
			mailbox_list_clear(&list);
		}
	}
}

static void
test_long_list(void **state)
{
	struct mailbox_list list;
	DYNBUF_AUTO raw;

	(void)state;
	dynbuf_init(&raw, 60000);
	for (int i = 0; i < ADDRESS_LIST_MAX; i++)
		dynbuf_addf(&raw, "%sN%d <a%d@x.com>", i ? "," : "", i, i);
	assert_int_equal(mailbox_list_parse(raw.data, raw.len, &list),
			 ADDRESS_OK);
	assert_int_equal(list.n, ADDRESS_LIST_MAX);
	assert_string_equal(list.v[ADDRESS_LIST_MAX - 1].name, "N1999");
	assert_string_equal(list.v[ADDRESS_LIST_MAX - 1].addr, "a1999@x.com");
	mailbox_list_clear(&list);
}

/* --- addresses ------------------------------------------------------------ */

static const struct {
	const char *a, *b;
	bool want;
} pairs[] = {
	{ "joe@x.com", "joe@x.com", true },
	{ "joe@x.com", "joe@X.COM", true },
	{ "joe@x.com", "Joe@x.com", false },
	{ "joe@x.com", "joe@y.com", false },
	{ "joe@x.com", "jo@x.com", false },
	{ "joe@x.com", "joe@x.com.", false },
	{ "joe@x.com", "joe", false },
	{ "joe", "joe@x.com", false },
	{ "joe", "joe", true },
	{ "joe", "Joe", false },
	{ "", "", true },
	{ "\"a@b\"@x.com", "\"a@b\"@X.com", true },
	{ "\"a@b\"@x.com", "\"a@B\"@x.com", false },
};

static void
test_equal(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		if (address_equal(pairs[i].a, pairs[i].b) != pairs[i].want)
			fail_msg("%s and %s", pairs[i].a, pairs[i].b);
	}
}

static const struct {
	const char *a, *b;
	bool want;
} quoted_pairs[] = {
	{ "\"joe\"@x.com", "joe@X.com", true },
	{ "joe@x.com", "\"jo\\e\"@x.com", true },
	{ "\"a b\"@x.com", "a b@x.com", true },
	{ "\"a\\\"b\"@x.com", "a\"b@x.com", true },
	{ "\"joe\"@x.com", "Joe@x.com", false },
	{ "\"joe\"@x.com", "joe@y.com", false },
	{ "\"joe\"@x.com", "jo@x.com", false },
	{ "\"jo\"@x.com", "joe@x.com", false },
	{ "\"joe@x.com", "joe@x.com", false },
	{ "joe\"@x.com", "joe@x.com", false },
	{ "jo\\e@x.com", "joe@x.com", false },
	{ "\"@x.com", "@x.com", false },
	{ "\"\"@x.com", "@x.com", true },
	{ "\"joe\\\"@x.com", "joe@x.com", true },
	{ "\"joe\"", "joe", false },
};

/* Whatever is equal is the same, and quotes make no difference. */
static void
test_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		if (address_same(pairs[i].a, pairs[i].b) != pairs[i].want)
			fail_msg("%s and %s", pairs[i].a, pairs[i].b);
	}
	for (size_t i = 0; i < sizeof(quoted_pairs) / sizeof(quoted_pairs[0]);
	     i++) {
		const char *a = quoted_pairs[i].a, *b = quoted_pairs[i].b;

		if (address_same(a, b) != quoted_pairs[i].want ||
		    address_same(b, a) != quoted_pairs[i].want)
			fail_msg("%s and %s", a, b);
	}
}

static const struct {
	const char *name;
	const char *addr;
	bool want;
} plain[] = {
	{ "an address", "joe@example.com", true },
	{ "a quoted local part", "\"a b\"@example.com", true },
	{ "an at sign in the local part", "\"a@b\"@example.com", true },
	{ "UTF-8",
	  "jos\xc3\xa9@b\xc3\xbc"
	  "cher.example",
	  true },
	{ "an address literal", "joe@[IPv6:::1]", true },
	{ "nothing", "", false },
	{ "no domain", "joe", false },
	{ "an empty domain", "joe@", false },
	{ "an empty local part", "@example.com", false },
	{ "only an at sign", "@", false },
	{ "a source route", "@a.com,@b.com:joe@c.com", false },
	{ "a short source route", "@a.com:joe@c.com", false },
	{ "invalid UTF-8", "jos\xe9@example.com", false },
	{ "invalid UTF-8 in the domain",
	  "joe@b\xfc"
	  "cher.example",
	  false },
	{ "a cut-off character", "joe@example.com\xc3", false },
	{ "LF", "joe@example.com\nx", false },
	{ "CR", "joe\r@example.com", false },
	{ "TAB", "\"a\tb\"@example.com", false },
	{ "DEL", "joe\x7f@example.com", false },
	{ "C1", "joe\xc2\x85@example.com", false },
};

static void
test_plain(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		if (address_is_plain(plain[i].addr) != plain[i].want)
			fail_msg("%s", plain[i].name);
	}
}

static void
test_whole(void **state)
{
	static const struct {
		const char *raw;
		const char *addr;
		bool want;
	} v[] = {
		{ "a@b", "a@b", true },
		{ "Joe <a@b>", "a@b", true },
		{ "a@b, c@d", "a@b", true },
		{ "a@b@c", "a@b", false },
		{ "Joe <a@b@c>", "a@b", false },
		{ "a (c) @ b", "a@b", true },
		{ "", "a@b", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		size_t len = strlen(v[i].raw);
		char *raw = malloc(len != 0 ? len : 1);

		assert_non_null(raw);
		memcpy(raw, v[i].raw, len);
		if (address_is_whole(raw, len, v[i].addr) != v[i].want)
			fail_msg("%s", v[i].raw);
		free(raw);
	}
}

/* --- names ---------------------------------------------------------------- */

static const struct {
	const char *name;
	const char *raw;
	const char *want;
} bare[] = {
	{ "nothing", "", "" },
	{ "blanks", "  \t", "" },
	{ "a name", "Joe User", "Joe User" },
	{ "one word", "Joe", "Joe" },
	{ "blanks around", "  Joe User ", "Joe User" },
	{ "folded", "Joe\r\n User", "Joe User" },
	{ "quoted", "\"Joe User\"", "Joe User" },
	{ "quoted, with a comma", "\"Doe, Joe\"", "Doe, Joe" },
	{ "a comma", "Doe, Joe", "Doe, Joe" },
	{ "specials in quotes", "\"Doe: Joe; <x>\"", "Doe: Joe; <x>" },
	{ "specials behind a quoted quote", "\"a\\\" <b\"", "a\" <b" },
	{ "a backslash before a special", "\"a\\\\\" <b", "" },
	{ "quotes within", "\"Joe \\\"X\\\" User\"", "Joe \"X\" User" },
	{ "encoded", "=?utf-8?Q?Jos=C3=A9?= Doe", "Jos" E_ACUTE " Doe" },
	{ "encoded quotes are letters",
	  "=?utf-8?Q?Joe_=22X=22_User?=", "Joe \"X\" User" },
	{ "UTF-8", "Jos" E_ACUTE, "Jos" E_ACUTE },
	{ "8-bit", "Jos\xe9", "Jos" E_ACUTE },
	{ "empty brackets", "Joe User <>", "Joe User" },
	{ "only empty brackets", "<>", "" },
	{ "quoted, empty brackets", "\"Joe User\" <>", "Joe User" },
	{ "an address", "joe@x.com", "" },
	{ "a name and an address", "Joe <joe@x.com>", "" },
	{ "a name and an address without domain", "Joe <joe>", "" },
	{ "a name and an encoded address", "Joe <=?utf-8?q?joe=40x.com?=>",
	  "" },
	{ "a group", "undisclosed-recipients:;", "" },
	{ "a group with a name", "Friends: Joe, Bob;", "" },
	{ "a group without its end", "Undisclosed recipients:", "" },
	{ "a control character", "Joe\x01", "" },
	{ "LF", "Joe\nUser", "" },
	{ "a control character in a word", "=?utf-8?q?Joe=1B?=", "" },
};

static void
test_bare_name(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bare) / sizeof(bare[0]); i++) {
		size_t len = strlen(bare[i].raw);
		char *raw = malloc(len != 0 ? len : 1);
		char *got;

		assert_non_null(raw);
		memcpy(raw, bare[i].raw, len);
		got = address_bare_name(raw, len);
		if (strcmp(got, bare[i].want) != 0) {
			printf("%s: \"%s\"\n", bare[i].name, got);
			bad++;
		}
		free(raw);
		free(got);
	}
	assert_int_equal(bad, 0);
}

static const struct {
	const char *name;
	const char *to;
	const char *bare;
	const char *addr;
	bool only;
	const char *want;
} named[] = {
	{ "its own mailbox", "A <a@x>, B <b@x>", "", "b@x", false, "B" },
	{ "but for case", "A <A@Example.com>", "", "a@example.COM", false,
	  "A" },
	{ "not in the list", "A <a@x>, B <b@x>", "", "c@x", false, "" },
	{ "not in the list, the only recipient", "A <a@x>, B <b@x>", "", "c@x",
	  true, "" },
	{ "a single mailbox, another address", "A <a@x>", "", "c@x", true,
	  "A" },
	{ "a single mailbox, several recipients", "A <a@x>", "", "c@x", false,
	  "" },
	{ "a bare name", "", "Joe User", "c@x", true, "Joe User" },
	{ "a bare name, several recipients", "", "Joe User", "c@x", false, "" },
	{ "without a name", "a@x", "", "a@x", true, "" },
	{ "no To", "", "", "a@x", true, "" },
	{ "its own before a bare name", "A <a@x>", "Joe", "a@x", true, "A" },
	{ "a member of a group", "G: A <a@x>, B <b@x>;", "", "b@x", false,
	  "B" },
	{ "the first of two", "A <a@x>, B <a@x>", "", "a@x", false, "A" },
};

static void
test_name_for(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
		struct mailbox_list list;
		char *got;

		assert_int_equal(
		    mailbox_list_parse(named[i].to, strlen(named[i].to), &list),
		    ADDRESS_OK);
		got = address_name_for(&list, named[i].bare, named[i].addr,
				       named[i].only);
		if (strcmp(got, named[i].want) != 0)
			fail_msg("%s: \"%s\"", named[i].name, got);
		free(got);
		mailbox_list_clear(&list);
	}
}

static int
setup(void **state)
{
	(void)state;
	g_mime_init();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_list_nul),
		cmocka_unit_test(test_list_bound),
		cmocka_unit_test(test_long_list),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_bare_name),
		cmocka_unit_test(test_name_for),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
