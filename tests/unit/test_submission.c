/* SPDX-License-Identifier: MIT */
#include "milter/submission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/outgoing.h"

#define MEMBER(m) offsetof(struct outgoing, m)

/* All that is text in a message. */
static const size_t members[] = {
	MEMBER(from_name), MEMBER(from_email),	MEMBER(return_path),
	MEMBER(subject),   MEMBER(reply_to),	MEMBER(message_id),
	MEMBER(tag),	   MEMBER(template_id), MEMBER(variables),
	MEMBER(route_id),  MEMBER(html),
};

#define N_MEMBERS (sizeof(members) / sizeof(members[0]))

/* What is not: route, html_len, recipients, n_recipients. */
_Static_assert(sizeof(struct outgoing) == N_MEMBERS * sizeof(char *) +
					      2 * sizeof(void *) +
					      2 * sizeof(size_t),
	       "struct outgoing has a member that no submission knows");

/* A message and what it is called. */
struct named {
	struct outgoing outgoing;
	const char *account;
	uint8_t id[SUBMISSION_ID_LEN];
};

static void
set(struct outgoing *o, size_t member, const char *value)
{
	memcpy((char *)o + member, &value, sizeof(value));
	o->html_len = o->html != NULL ? strlen(o->html) : 0;
}

static struct named
full(void)
{
	static const char *const values[N_MEMBERS] = {
		"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k",
	};
	struct named m = { .account = "acme" };

	for (size_t i = 0; i < N_MEMBERS; i++)
		set(&m.outgoing, members[i], values[i]);
	return m;
}

static void
give_name(struct named *m)
{
	submission_id(m->account, &m->outgoing, m->id);
}

static bool
same_name(struct named *a, struct named *b)
{
	give_name(a);
	give_name(b);
	return memcmp(a->id, b->id, sizeof(a->id)) == 0;
}

static void
test_same(void **state)
{
	struct named a = full(), b = full();

	(void)state;
	assert_true(same_name(&a, &b));
	/* Only a Message-ID and who sends it. */
	memset(&a.outgoing, 0, sizeof(a.outgoing));
	memset(&b.outgoing, 0, sizeof(b.outgoing));
	set(&a.outgoing, MEMBER(message_id), "<1@x>");
	set(&b.outgoing, MEMBER(message_id), "<1@x>");
	assert_true(same_name(&a, &b));
}

static void
test_each_member_counts(void **state)
{
	struct named first = full();

	(void)state;
	for (size_t i = 0; i < N_MEMBERS; i++) {
		static const char *const values[] = { "other", "", "A" };

		for (size_t k = 0; k < 3; k++) {
			struct named changed = full();

			set(&changed.outgoing, members[i], values[k]);
			if (same_name(&first, &changed))
				fail_msg("member %zu, \"%s\"", i, values[k]);
		}
		if (members[i] != MEMBER(message_id)) {
			struct named changed = full();

			set(&changed.outgoing, members[i], NULL);
			if (same_name(&first, &changed))
				fail_msg("member %zu, absent", i);
		}
	}
}

/* What moves from one member to the next is another message. */
static void
test_members_are_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i + 1 < N_MEMBERS; i++) {
		struct named a = full(), b = full();

		set(&a.outgoing, members[i], "xy");
		set(&a.outgoing, members[i + 1], "z");
		set(&b.outgoing, members[i], "x");
		set(&b.outgoing, members[i + 1], "yz");
		if (same_name(&a, &b))
			fail_msg("member %zu", i);
	}
}

static void
test_account_counts(void **state)
{
	struct named a = full(), b = full();

	(void)state;
	b.account = "acme2";
	assert_false(same_name(&a, &b));
}

/* A NUL in the body is content. */
static void
test_whole_body(void **state)
{
	static const char with[] = "k\0x", without[] = "k\0y";
	struct named a = full(), b = full();

	(void)state;
	set(&a.outgoing, MEMBER(html), with);
	set(&b.outgoing, MEMBER(html), without);
	assert_true(same_name(&a, &b));
	a.outgoing.html_len = b.outgoing.html_len = 3;
	assert_false(same_name(&a, &b));
}

/* Who gets it, and how its route travels, is not what it is. */
static void
test_what_does_not_count(void **state)
{
	static char email[] = "a@x", name[] = "A";
	struct outgoing_recipient to = { email, name };
	struct named a = full(), b = full();

	(void)state;
	b.outgoing.recipients = &to;
	b.outgoing.n_recipients = 1;
	assert_true(same_name(&a, &b));
	b.outgoing.route = (const struct route *)(const void *)&to;
	assert_true(same_name(&a, &b));
}

static void
test_without_message_id(void **state)
{
	struct named a = full(), b = full();

	(void)state;
	set(&a.outgoing, MEMBER(message_id), NULL);
	set(&b.outgoing, MEMBER(message_id), NULL);
	assert_false(same_name(&a, &b));
	memcpy(b.id, a.id, sizeof(a.id));
	give_name(&a);
	assert_memory_not_equal(a.id, b.id, sizeof(a.id));
}

static void
test_keys(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = {
		{ "r@x.example", "r@x.example", true },
		{ "r@x.example", "r@X.Example", true },
		{ "r@x.example", "R@x.example", false },
		{ "r@x.example", "r2@x.example", false },
		{ "r@x.example", "r@x.exampl", false },
		{ "r@x.example", "", false },
		{ "\"a@B\"@x.example", "\"a@B\"@X.EXAMPLE", true },
		{ "\"a@B\"@x.example", "\"a@b\"@x.example", false },
		{ "r", "R", false },
		{ "r@[IPv6:::A]", "r@[ipv6:::a]", true },
		{ "r@\xc3\x84.example", "r@\xc3\x84.Example", true },
		{ "r@\xc3\x84.example", "r@\xc3\xa4.example", false },
	};
	static const uint8_t id[SUBMISSION_ID_LEN] = { 1, 2, 3 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t a[SUBMISSION_KEY_LEN], b[SUBMISSION_KEY_LEN];

		submission_key(id, rows[i].a, a);
		submission_key(id, rows[i].b, b);
		if ((memcmp(a, b, sizeof(a)) == 0) != rows[i].same)
			fail_msg("%s, %s", rows[i].a, rows[i].b);
	}
}

static void
test_key_of_another_message(void **state)
{
	uint8_t id[SUBMISSION_ID_LEN] = { 0 };
	uint8_t first[SUBMISSION_KEY_LEN], key[SUBMISSION_KEY_LEN];

	(void)state;
	submission_key(id, "r@x.example", first);
	for (size_t i = 0; i < sizeof(id); i++) {
		id[i] ^= 1;
		submission_key(id, "r@x.example", key);
		assert_memory_not_equal(first, key, sizeof(key));
		id[i] ^= 1;
	}
	submission_key(id, "r@x.example", key);
	assert_memory_equal(first, key, sizeof(key));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_each_member_counts),
		cmocka_unit_test(test_members_are_apart),
		cmocka_unit_test(test_account_counts),
		cmocka_unit_test(test_whole_body),
		cmocka_unit_test(test_what_does_not_count),
		cmocka_unit_test(test_without_message_id),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_key_of_another_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
