/* SPDX-License-Identifier: MIT */
#include "milter/retry_memory.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "milter/store.h"
#include "policy/outgoing.h"

#define MAP_SIZE (16 * 1024 * 1024)
#define NOW 1700000000

struct place {
	char dir[40];
	struct store *store;
	struct retry_memory *memory;
};

static void
start(struct place *p, size_t map_size)
{
	char *error;

	p->store = store_open(p->dir, map_size, &error);
	assert_non_null(p->store);
	p->memory = retry_memory_new(p->store);
}

static void
stop(struct place *p)
{
	retry_memory_free(&p->memory);
	assert_null(p->memory);
	retry_memory_free(&p->memory);
	store_close(&p->store);
}

static int
set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->dir, "/tmp/test_retry_memory.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	start(p, MAP_SIZE);
	*state = p;
	return 0;
}

static int
tear_down(void **state)
{
	static const char *const files[] = { "txmilter.mdb",
					     "txmilter.mdb-lock" };
	struct place *p = *state;
	char path[64];

	stop(p);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", p->dir, files[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(p->dir), 0);
	free(p);
	return 0;
}

static char *
copy(const char *s)
{
	char *c = strdup(s);

	assert_non_null(c);
	return c;
}

/* A message to the addresses, separated by blanks. */
static struct outgoing *
message_to(const char *addresses)
{
	struct outgoing *o = outgoing_new();
	char *list = copy(addresses), *at = list, *email;

	o->from_name = copy("Acme");
	o->from_email = copy("shop@acme.example");
	o->return_path = copy("bounce@acme.example");
	o->subject = copy("Your order");
	o->message_id = copy("<1@acme.example>");
	o->html = copy("<p>Thank you</p>");
	o->html_len = strlen(o->html);
	o->recipients = calloc(strlen(list) + 1, sizeof(*o->recipients));
	assert_non_null(o->recipients);
	while ((email = strsep(&at, " ")) != NULL) {
		o->recipients[o->n_recipients].email = copy(email);
		o->recipients[o->n_recipients++].name = copy("");
	}
	free(list);
	return o;
}

static struct outgoing *
message_to_many(unsigned first, unsigned n)
{
	struct outgoing *o = message_to("");
	char email[32];

	free(o->recipients[0].email);
	free(o->recipients[0].name);
	free(o->recipients);
	o->recipients = calloc(n, sizeof(*o->recipients));
	assert_non_null(o->recipients);
	o->n_recipients = n;
	for (unsigned i = 0; i < n; i++) {
		snprintf(email, sizeof(email), "u%u@example.com", first + i);
		o->recipients[i].email = copy(email);
		o->recipients[i].name = copy("");
	}
	return o;
}

static void
set_done(struct retry_entry *e, const char *done)
{
	assert_int_equal(strlen(done), e->n);
	for (size_t i = 0; i < e->n; i++)
		e->done[i] = done[i] == '1';
}

/* Recalls, marks what is done, keeps; returns what keep says. */
static int
remember(const struct place *p, const struct outgoing *o, const char *done,
	 int64_t now)
{
	struct retry_entry e;
	int rc;

	retry_memory_recall(p->memory, "acme", o, now, &e);
	set_done(&e, done);
	rc = retry_memory_keep(p->memory, o, &e, now);
	retry_entry_clear(&e);
	return rc;
}

/* What is done, as remembered; "?" when it is not known. */
static const char *
recalled(const struct place *p, const struct outgoing *o, int64_t now)
{
	static char done[32];
	struct retry_entry e;

	retry_memory_recall(p->memory, "acme", o, now, &e);
	assert_int_equal(e.n, o->n_recipients);
	assert_true(e.n < sizeof(done));
	for (size_t i = 0; i < e.n; i++)
		done[i] = e.done[i] ? '1' : '0';
	done[e.n] = '\0';
	if (!e.known) {
		assert_null(strchr(done, '1'));
		strcpy(done, "?");
	}
	retry_entry_clear(&e);
	return done;
}

static void
test_recall_and_keep(void **state)
{
	struct place *p = *state;
	struct outgoing *o = message_to("a@x.example b@x.example c@x.example");
	struct retry_entry first, second, third;

	retry_memory_recall(p->memory, "acme", o, NOW, &first);
	assert_false(first.known);
	assert_int_equal(first.n, 3);
	set_done(&first, "101");
	assert_int_equal(retry_memory_keep(p->memory, o, &first, NOW), 0);

	retry_memory_recall(p->memory, "acme", o, NOW + 60, &second);
	assert_true(second.known);
	assert_memory_equal(first.submission, second.submission,
			    SUBMISSION_ID_LEN);
	assert_string_equal(recalled(p, o, NOW + 60), "101");
	retry_memory_recall(p->memory, "other", o, NOW + 60, &third);
	assert_false(third.known);
	assert_memory_not_equal(first.submission, third.submission,
				SUBMISSION_ID_LEN);

	retry_entry_clear(&first);
	assert_null(first.done);
	retry_entry_clear(&first);
	retry_entry_clear(&second);
	retry_entry_clear(&third);
	outgoing_free(&o);
}

static void
test_restart(void **state)
{
	struct place *p = *state;
	struct outgoing *o = message_to("a@x.example b@x.example");

	assert_int_equal(remember(p, o, "01", NOW), 0);
	stop(p);
	start(p, MAP_SIZE);
	assert_string_equal(recalled(p, o, NOW + 1), "01");
	outgoing_free(&o);
}

static void
replace(char **field, const char *text)
{
	free(*field);
	*field = text ? copy(text) : NULL;
}

/* Which message it is: everything counts but the recipients. */
static void
test_identity(void **state)
{
	static const struct {
		const char *name;
		size_t field; /* of struct outgoing */
		const char *text;
		bool same;
	} rows[] = {
#define FIELD(f) #f, offsetof(struct outgoing, f)
		{ FIELD(subject), "Your order", true },
		{ FIELD(subject), "Your orde", false },
		{ FIELD(subject), NULL, false },
		{ FIELD(from_name), "Ac", false },
		{ FIELD(from_email), "sales@acme.example", false },
		{ FIELD(return_path), "", false },
		{ FIELD(reply_to), "shop@acme.example", false },
		{ FIELD(message_id), "<2@acme.example>", false },
		{ FIELD(message_id), NULL, false },
		{ FIELD(tag), "order", false },
		{ FIELD(template_id), "t1", false },
		{ FIELD(variables), "{}", false },
		{ FIELD(route_id), "r1", false },
		/* The same length: only content tells them apart. */
		{ FIELD(html), "<p>Thank yoU</p>", false },
#undef FIELD
	};
	struct place *p = *state;
	struct outgoing *o = message_to("a@x.example");

	assert_int_equal(remember(p, o, "1", NOW), 0);
	outgoing_free(&o);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		o = message_to("a@x.example");
		replace((char **)(void *)((char *)o + rows[i].field),
			rows[i].text);
		if (strcmp(recalled(p, o, NOW), rows[i].same ? "1" : "?") != 0)
			fail_msg("row %s \"%s\"", rows[i].name,
				 rows[i].text ? rows[i].text : "(none)");
		outgoing_free(&o);
	}
	/* A part of the body that moves to another field. */
	o = message_to("a@x.example");
	replace(&o->tag, "x");
	assert_int_equal(remember(p, o, "1", NOW), 0);
	replace(&o->tag, NULL);
	replace(&o->template_id, "x");
	assert_string_equal(recalled(p, o, NOW), "?");
	outgoing_free(&o);
}

static void
test_no_message_id(void **state)
{
	struct place *p = *state;
	struct outgoing *o = message_to("a@x.example b@x.example");

	replace(&o->message_id, NULL);
	assert_int_equal(remember(p, o, "10", NOW), 0);
	assert_string_equal(recalled(p, o, NOW), "10");
	outgoing_free(&o);
}

static void
test_recipients(void **state)
{
	static const struct {
		const char *name;
		const char *kept, *done;
		const char *asked, *known;
	} rows[] = {
		{ "the rest only", "a@x b@x c@x", "110", "c@x", "0" },
		{ "other order", "a@x b@x c@x", "100", "c@x b@x a@x", "001" },
		{ "one more", "a@x", "1", "b@x a@x", "01" },
		{ "domain in capitals", "a@x.Example", "1", "a@X.eXAMPLE",
		  "1" },
		{ "local part in capitals", "a@x", "1", "A@x", "0" },
		{ "quoted at-sign", "\"a@B\"@X", "1", "\"a@B\"@x \"a@b\"@x",
		  "10" },
		{ "no domain", "root", "1", "root ROOT", "10" },
		{ "twice, both done", "a@x a@x", "11", "a@x a@x", "11" },
		{ "twice, one done", "a@x a@x", "10", "a@x a@x", "11" },
		{ "nobody done", "a@x b@x", "00", "a@x b@x", "00" },
		{ "nobody asked for twice", "a@x b@x a@x", "010", "a@x b@x a@x",
		  "010" },
	};
	struct place *p = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct outgoing *kept = message_to(rows[i].kept);
		struct outgoing *asked = message_to(rows[i].asked);

		replace(&kept->subject, rows[i].name);
		replace(&asked->subject, rows[i].name);
		assert_int_equal(remember(p, kept, rows[i].done, NOW), 0);
		if (strcmp(recalled(p, asked, NOW), rows[i].known) != 0)
			fail_msg("row %s: %s", rows[i].name,
				 recalled(p, asked, NOW));
		outgoing_free(&kept);
		outgoing_free(&asked);
	}
	assert_int_equal(store_count(p->store, STORE_RETRY),
			 sizeof(rows) / sizeof(rows[0]));
}

static void
test_merge(void **state)
{
	struct place *p = *state;
	struct outgoing *o = message_to("a@x b@x c@x");
	struct outgoing *rest = message_to("c@x");
	struct retry_entry one, two, now;

	/* Two transactions at the same time, neither knows of the other. */
	retry_memory_recall(p->memory, "acme", o, NOW, &one);
	retry_memory_recall(p->memory, "acme", o, NOW, &two);
	assert_memory_not_equal(one.submission, two.submission,
				SUBMISSION_ID_LEN);
	set_done(&one, "100");
	set_done(&two, "010");
	assert_int_equal(retry_memory_keep(p->memory, o, &one, NOW), 0);
	assert_int_equal(retry_memory_keep(p->memory, o, &two, NOW), 0);
	assert_string_equal(recalled(p, o, NOW), "110");
	/* The first one's idempotency keys may have arrived: they stay. */
	retry_memory_recall(p->memory, "acme", o, NOW, &now);
	assert_memory_equal(now.submission, one.submission, SUBMISSION_ID_LEN);
	retry_entry_clear(&now);

	/* What is done is not undone. */
	set_done(&one, "000");
	assert_int_equal(retry_memory_keep(p->memory, o, &one, NOW), 0);
	assert_string_equal(recalled(p, o, NOW), "110");
	assert_int_equal(remember(p, rest, "1", NOW), 0);
	assert_string_equal(recalled(p, o, NOW), "111");
	assert_int_equal(store_count(p->store, STORE_RETRY), 1);

	retry_entry_clear(&one);
	retry_entry_clear(&two);
	outgoing_free(&o);
	outgoing_free(&rest);
}

static void
test_expiry(void **state)
{
	static const struct {
		const char *name;
		int64_t later;
		const char *known;
	} rows[] = {
		{ "at once", 0, "10" },
		{ "the last second", RETRY_MEMORY_SECONDS - 1, "10" },
		{ "too late", RETRY_MEMORY_SECONDS, "?" },
		{ "far too late", 100 * RETRY_MEMORY_SECONDS, "?" },
		{ "the clock was set back", -3600, "10" },
	};
	struct place *p = *state;
	struct outgoing *o = message_to("a@x b@x");
	struct retry_entry old, fresh;

	assert_int_equal(remember(p, o, "10", NOW), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strcmp(recalled(p, o, NOW + rows[i].later),
			   rows[i].known) != 0)
			fail_msg("row %s", rows[i].name);
	}
	/* Nothing is merged with what is too old. */
	retry_memory_recall(p->memory, "acme", o, NOW, &old);
	retry_memory_recall(p->memory, "acme", o, NOW + RETRY_MEMORY_SECONDS,
			    &fresh);
	assert_memory_not_equal(old.submission, fresh.submission,
				SUBMISSION_ID_LEN);
	set_done(&fresh, "01");
	assert_int_equal(
	    retry_memory_keep(p->memory, o, &fresh, NOW + RETRY_MEMORY_SECONDS),
	    0);
	/* And its time runs anew. */
	assert_string_equal(recalled(p, o, NOW + 2 * RETRY_MEMORY_SECONDS - 1),
			    "01");
	retry_entry_clear(&old);
	retry_entry_clear(&fresh);
	outgoing_free(&o);
}

static void
test_sweep(void **state)
{
	struct place *p = *state;
	struct outgoing *o = message_to("a@x");
	const struct store_write junk = { STORE_RETRY, "k", 1, "?", 1 };

	assert_int_equal(remember(p, o, "1", NOW), 0);
	replace(&o->subject, "younger");
	assert_int_equal(remember(p, o, "1", NOW + 10), 0);
	assert_int_equal(store_write(p->store, &junk, 1), 0);
	retry_memory_sweep(p->memory, NOW + RETRY_MEMORY_SECONDS - 1);
	assert_int_equal(store_count(p->store, STORE_RETRY), 2);
	retry_memory_sweep(p->memory, NOW + RETRY_MEMORY_SECONDS);
	assert_int_equal(store_count(p->store, STORE_RETRY), 1);
	assert_string_equal(recalled(p, o, NOW + 11), "1");
	retry_memory_sweep(p->memory, NOW + 2 * RETRY_MEMORY_SECONDS);
	assert_int_equal(store_count(p->store, STORE_RETRY), 0);
	assert_string_equal(recalled(p, o, NOW + 11), "?");
	outgoing_free(&o);
}

static void
test_forget(void **state)
{
	struct place *p = *state;
	struct outgoing *o = message_to("a@x b@x");
	struct retry_entry e, unknown;

	retry_memory_recall(p->memory, "acme", o, NOW, &unknown);
	assert_int_equal(remember(p, o, "10", NOW), 0);
	/* Not what another transaction remembers. */
	assert_int_equal(retry_memory_forget(p->memory, o, &unknown), 0);
	assert_string_equal(recalled(p, o, NOW), "10");

	retry_memory_recall(p->memory, "acme", o, NOW, &e);
	assert_int_equal(retry_memory_forget(p->memory, o, &e), 0);
	assert_string_equal(recalled(p, o, NOW), "?");
	assert_int_equal(store_count(p->store, STORE_RETRY), 0);
	assert_int_equal(retry_memory_forget(p->memory, o, &e), 0);
	retry_entry_clear(&e);
	retry_entry_clear(&unknown);
	outgoing_free(&o);
}

static void
test_unreadable_record(void **state)
{
	static const uint8_t good[] = { 1,  0,	0xf1, 0x53, 0x65, 0,  0, 0, 0,
					1,  2,	3,    4,    5,	  6,  7, 8, 9,
					10, 11, 12,   13,   14,	  15, 16 };
	static const struct {
		const char *name;
		size_t len;
		uint8_t version;
		const char *known;
	} rows[] = {
		{ "good", sizeof(good), 1, "00" },
		{ "empty", 0, 1, "?" },
		{ "cut", sizeof(good) - 1, 1, "?" },
		{ "half a recipient", sizeof(good) + 4, 1, "?" },
		{ "a recipient", sizeof(good) + 8, 1, "00" },
		{ "as many as can be", sizeof(good) + 8 * RETRY_RECORD_MAX, 1,
		  "00" },
		{ "too many", sizeof(good) + 8 * RETRY_RECORD_MAX + 8, 1, "?" },
		{ "another version", sizeof(good), 2, "?" },
	};
	static uint8_t value[sizeof(good) + 8 * RETRY_RECORD_MAX + 8];
	struct place *p = *state;
	struct outgoing *o = message_to("a@x b@x");
	struct retry_entry e;

	assert_int_equal(remember(p, o, "00", NOW), 0);
	retry_memory_recall(p->memory, "acme", o, NOW, &e);
	assert_true(e.hashed);
	memcpy(value, good, sizeof(good));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct store_write w = { STORE_RETRY, e.message,
					       sizeof(e.message), value,
					       rows[i].len };

		value[0] = rows[i].version;
		assert_int_equal(store_write(p->store, &w, 1), 0);
		if (strcmp(recalled(p, o, NOW), rows[i].known) != 0)
			fail_msg("row %s", rows[i].name);
	}
	/* It is replaced. */
	assert_int_equal(remember(p, o, "01", NOW), 0);
	assert_string_equal(recalled(p, o, NOW), "01");
	retry_entry_clear(&e);
	outgoing_free(&o);
}

static int
remember_all(const struct place *p, const struct outgoing *o)
{
	struct retry_entry e;
	int rc;

	retry_memory_recall(p->memory, "acme", o, NOW, &e);
	for (size_t i = 0; i < e.n; i++)
		e.done[i] = true;
	rc = retry_memory_keep(p->memory, o, &e, NOW);
	retry_entry_clear(&e);
	return rc;
}

static void
test_bounds(void **state)
{
	struct place *p = *state;
	struct outgoing *o = message_to_many(0, RETRY_RECIPIENTS_MAX + 1);
	struct retry_entry e;

	assert_int_equal(remember_all(p, o), -1);
	assert_int_equal(store_count(p->store, STORE_RETRY), 0);
	outgoing_free(&o);

	/* One message in many transactions, up to the bound of the record. */
	for (unsigned i = 0; i < RETRY_RECORD_MAX; i += RETRY_RECIPIENTS_MAX) {
		o = message_to_many(i, RETRY_RECIPIENTS_MAX);
		assert_int_equal(remember_all(p, o), 0);
		outgoing_free(&o);
	}
	o = message_to_many(RETRY_RECORD_MAX, 1);
	assert_int_equal(remember_all(p, o), -1);
	outgoing_free(&o);
	o = message_to_many(RETRY_RECORD_MAX - RETRY_RECIPIENTS_MAX,
			    RETRY_RECIPIENTS_MAX);
	assert_int_equal(remember_all(p, o), 0);
	retry_memory_recall(p->memory, "acme", o, NOW, &e);
	for (size_t i = 0; i < e.n; i++)
		assert_true(e.done[i]);
	retry_entry_clear(&e);
	outgoing_free(&o);
}

/* While nothing is remembered, a message costs neither hash nor disk: here
 * both would end the process. */
static void
test_fast_path(void **state)
{
	struct place *p = *state;
	struct outgoing *o = message_to("a@x b@x");
	char *html = o->html;
	struct retry_entry e;

	o->html_len = 65536;
	o->html = mmap(NULL, o->html_len, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(o->html, MAP_FAILED);
	store_close(&p->store);
	retry_memory_recall(p->memory, "acme", o, NOW, &e);
	assert_false(e.known);
	assert_false(e.hashed);
	retry_memory_sweep(p->memory, NOW);
	assert_int_equal(retry_memory_forget(p->memory, o, &e), 0);
	assert_int_equal(munmap(o->html, o->html_len), 0);
	retry_entry_clear(&e);

	/* The hash is made by keep. */
	o->html = html;
	o->html_len = strlen(html);
	stop(p);
	start(p, MAP_SIZE);
	retry_memory_recall(p->memory, "acme", o, NOW, &e);
	assert_false(e.hashed);
	set_done(&e, "01");
	assert_int_equal(retry_memory_keep(p->memory, o, &e, NOW), 0);
	assert_string_equal(recalled(p, o, NOW), "01");
	retry_entry_clear(&e);

	/* Empty again: fast again. */
	retry_memory_sweep(p->memory, NOW + RETRY_MEMORY_SECONDS);
	retry_memory_recall(p->memory, "acme", o, NOW, &e);
	assert_false(e.hashed);
	retry_entry_clear(&e);
	outgoing_free(&o);
}

static void
test_disk_full(void **state)
{
	struct place *p = *state;
	static char value[16384];
	uint32_t n = 0;
	struct store_write w = { STORE_KEYS, &n, sizeof(n), value, 0 };
	struct outgoing *o = message_to("a@x b@x");

	stop(p);
	start(p, 1024 * 1024);
	for (w.len = sizeof(value); w.len > 0; w.len /= 4) {
		while (store_write(p->store, &w, 1) == 0)
			n++;
	}
	assert_int_equal(remember(p, o, "10", NOW), -1);
	assert_string_equal(recalled(p, o, NOW), "?");
	outgoing_free(&o);
}

struct shared {
	struct place *p;
	atomic_uint next, failed;
};

/* Each thread has one recipient done, of a message that all of them send. */
static void *
send(void *arg)
{
	struct shared *s = arg;
	unsigned number = atomic_fetch_add(&s->next, 1);

	for (unsigned i = 0; i < 10; i++) {
		struct outgoing *o = message_to("0@x 1@x 2@x 3@x 4@x 5@x 6@x "
						"7@x");
		struct retry_entry e;

		o->subject[0] = (char)('A' + i);
		retry_memory_recall(s->p->memory, "acme", o, NOW, &e);
		e.done[number] = true;
		if (retry_memory_keep(s->p->memory, o, &e, NOW) != 0)
			atomic_fetch_add(&s->failed, 1);
		retry_entry_clear(&e);
		retry_memory_recall(s->p->memory, "acme", o, NOW, &e);
		if (!e.known || !e.done[number])
			atomic_fetch_add(&s->failed, 1);
		retry_entry_clear(&e);
		retry_memory_sweep(s->p->memory, NOW);
		outgoing_free(&o);
	}
	return NULL;
}

static void
test_threads(void **state)
{
	struct shared s = { .p = *state };
	pthread_t threads[8];
	struct outgoing *o = message_to("0@x 1@x 2@x 3@x 4@x 5@x 6@x 7@x");

	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, send, &s),
				 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(s.failed, 0);
	for (unsigned i = 0; i < 10; i++) {
		o->subject[0] = (char)('A' + i);
		assert_string_equal(recalled(s.p, o, NOW), "11111111");
	}
	outgoing_free(&o);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		TEST(test_recall_and_keep), TEST(test_restart),
		TEST(test_identity),	    TEST(test_no_message_id),
		TEST(test_recipients),	    TEST(test_merge),
		TEST(test_expiry),	    TEST(test_sweep),
		TEST(test_forget),	    TEST(test_unreadable_record),
		TEST(test_bounds),	    TEST(test_fast_path),
		TEST(test_disk_full),	    TEST(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
