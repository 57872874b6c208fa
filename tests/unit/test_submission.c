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
	MEMBER(from_name),   MEMBER(from_email),  MEMBER(return_path),
	MEMBER(subject),     MEMBER(reply_to),	  MEMBER(to),
	MEMBER(cc),	     MEMBER(message_id),  MEMBER(tag),
	MEMBER(labels),	     MEMBER(metadata),	  MEMBER(template_id),
	MEMBER(variables),   MEMBER(dkim_key),	  MEMBER(ip_pool),
	MEMBER(subaccount),  MEMBER(route_id),	  MEMBER(html),
	MEMBER(text),	     MEMBER(amp),
};

#define N_MEMBERS (sizeof(members) / sizeof(members[0]))

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
	o->text_len = o->text != NULL ? strlen(o->text) : 0;
	o->amp_len = o->amp != NULL ? strlen(o->amp) : 0;
}

static struct named
full(void)
{
	static const char *const values[N_MEMBERS] = {
		"a", "b", "c", "d", "e", "f", "g", "h", "i", "j",
		"k", "l", "m", "n", "o", "p", "q", "r", "s", "t",
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

static void
test_switches_count(void **state)
{
	(void)state;
	for (size_t i = 0; i < outgoing_n_switches; i++) {
		struct named a = full(), b = full();

		*outgoing_switch_at(&b.outgoing, i) = SWITCH_OFF;
		assert_false(same_name(&a, &b));
		*outgoing_switch_at(&a.outgoing, i) = SWITCH_ON;
		assert_false(same_name(&a, &b));
	}
}

static void
test_files_count(void **state)
{
	char name[] = "n", type[] = "t", data[] = "d", other[] = "x";
	const struct body_file file = {
		.name = name, .type = type, .data = data, .len = 1
	};
	struct body_file changed[4] = { file, file, file, file };
	struct body_file same = file;
	struct named a = full(), b = full();

	(void)state;
	changed[0].name = other;
	changed[1].type = other;
	changed[2].data = other;
	changed[3].len = 0;
	a.outgoing.files = &same;
	assert_true(same_name(&a, &b));
	a.outgoing.n_files = 1;
	assert_false(same_name(&a, &b));
	b.outgoing.n_files = 1;
	for (size_t i = 0; i < 4; i++) {
		b.outgoing.files = &changed[i];
		if (same_name(&a, &b))
			fail_msg("change %zu", i);
	}
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
	struct outgoing_recipient to = { .email = email, .name = name };
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
		cmocka_unit_test(test_switches_count),
		cmocka_unit_test(test_files_count),
		cmocka_unit_test(test_whole_body),
		cmocka_unit_test(test_what_does_not_count),
		cmocka_unit_test(test_without_message_id),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_key_of_another_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
