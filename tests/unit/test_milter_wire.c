/* SPDX-License-Identifier: MIT */
#include "milter/milter_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What an encoder wrote, against a literal. */
#define assert_wire(out, literal)                                      \
	do {                                                           \
		assert_int_equal((out)->len, sizeof(literal) - 1);     \
		assert_memory_equal((out)->data, literal, (out)->len); \
		dynbuf_truncate(out, 0);                               \
	} while (0)

static void
test_encode(void **state)
{
	static const char *const strings[] = { "<a@b>", "SIZE=1" };
	DYNBUF_AUTO out;

	(void)state;
	dynbuf_init(&out, 1000);
	assert_true(milter_wire_offer(&out));
	assert_wire(&out, "\0\0\0\15O\0\0\0\6\0\0\1\377\0\37\377\377");
	assert_true(milter_wire_packet(&out, 'N', NULL, 0));
	assert_wire(&out, "\0\0\0\1N");
	assert_true(milter_wire_packet(&out, 'B', "a\0b", 3));
	assert_wire(&out, "\0\0\0\4Ba\0b");
	assert_true(milter_wire_strings(&out, 'M', strings, 1));
	assert_wire(&out, "\0\0\0\7M<a@b>\0");
	assert_true(milter_wire_strings(&out, 'M', strings, 2));
	assert_wire(&out, "\0\0\0\16M<a@b>\0SIZE=1\0");
	assert_true(milter_wire_macro(&out, 'E', "i", "QID"));
	assert_wire(&out, "\0\0\0\10DEi\0QID\0");
}

static void
test_encode_bounds(void **state)
{
	char *text = calloc(1, MILTER_WIRE_DATA_MAX + 2);
	const char *strings[] = { text, "" };
	DYNBUF_AUTO out;
	DYNBUF_AUTO small;

	(void)state;
	dynbuf_init(&out, 1000000);
	dynbuf_init(&small, 7);
	assert_non_null(text);
	memset(text, 'x', MILTER_WIRE_DATA_MAX + 1);
	assert_false(
	    milter_wire_packet(&out, 'B', text, MILTER_WIRE_DATA_MAX + 1));
	assert_false(milter_wire_strings(&out, 'M', strings, 1));
	assert_false(milter_wire_macro(&out, 'M', text, ""));
	assert_false(milter_wire_macro(&out, 'M', "", text));
	text[MILTER_WIRE_DATA_MAX - 1] = '\0';
	assert_false(milter_wire_strings(&out, 'M', strings, 2));
	assert_false(milter_wire_macro(&out, 'M', text, ""));
	assert_int_equal(out.len, 0);
	assert_true(milter_wire_strings(&out, 'M', strings, 1));
	assert_int_equal(out.len, MILTER_WIRE_HEAD + MILTER_WIRE_DATA_MAX);
	assert_memory_equal(out.data, "\0\1\0\0M", 5);
	dynbuf_truncate(&out, 0);
	assert_true(milter_wire_packet(&out, 'B', text, MILTER_WIRE_DATA_MAX));

	/* A buffer that is full takes nothing of it. */
	assert_false(milter_wire_packet(&small, 'B', "abc", 3));
	assert_false(milter_wire_strings(&small, 'B', strings, 1));
	assert_false(milter_wire_macro(&small, 'M', "a", "b"));
	assert_int_equal(small.len, 0);
	assert_true(milter_wire_packet(&small, 'B', "ab", 2));
	free(text);
}

static const char stream[] = "\0\0\0\1c"
			     "\0\0\0\7babcdef"
			     "\0\0\0\3y\0\n"
			     "\0\0\0\1d";

/* Takes what there is, as "c b:abcdef ...". */
static int
take(struct milter_reader *r, struct dynbuf *seen)
{
	struct milter_packet p;
	int rc;

	while ((rc = milter_reader_next(r, &p)) > 0) {
		dynbuf_add(seen, &p.command, 1);
		dynbuf_add(seen, p.data, p.len);
		dynbuf_add(seen, " ", 1);
	}
	return rc;
}

static void
test_decode_in_pieces(void **state)
{
	static const char want[] = "c babcdef y\0\n d ";

	(void)state;
	for (size_t step = 1; step < sizeof(stream); step++) {
		struct milter_reader r;
		DYNBUF_AUTO seen;

		milter_reader_init(&r);
		dynbuf_init(&seen, 1000);
		for (size_t at = 0; at < sizeof(stream) - 1; at += step) {
			size_t left = sizeof(stream) - 1 - at;

			assert_true(milter_reader_feed(
			    &r, stream + at, left < step ? left : step));
			assert_int_equal(take(&r, &seen), 0);
		}
		assert_int_equal(seen.len, sizeof(want) - 1);
		assert_memory_equal(seen.data, want, seen.len);
		milter_reader_clear(&r);
	}
}

static void
test_decode_lengths(void **state)
{
	static const struct {
		const char *name;
		const char *bytes;
		size_t len;
		int rc;
	} rows[] = {
		{ "nothing", "", 0, 0 },
		{ "half a length", "\377\377\377", 3, 0 },
		{ "length 0", "\0\0\0\0", 4, -1 },
		{ "length 1, nothing yet", "\0\0\0\1", 4, 0 },
		{ "longest", "\0\1\0\0", 4, 0 },
		{ "over the longest", "\0\1\0\1", 4, -1 },
		{ "enormous", "\377\377\377\377b", 5, -1 },
		{ "behind a good one", "\0\0\0\1c\0\0\0\0", 9, -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct milter_reader r;
		DYNBUF_AUTO seen;

		milter_reader_init(&r);
		dynbuf_init(&seen, 1000);
		assert_true(milter_reader_feed(&r, rows[i].bytes, rows[i].len));
		if (take(&r, &seen) != rows[i].rc)
			fail_msg("row %s", rows[i].name);
		/* An error stays one. */
		assert_true(milter_reader_feed(&r, "\0\0\0\1c", 5));
		if (rows[i].rc < 0)
			assert_int_equal(take(&r, &seen), -1);
		milter_reader_clear(&r);
	}
}

static void
test_reader_is_bounded(void **state)
{
	static const char chunk[MILTER_READER_FEED_MAX] = "\0\1\0\0b";
	struct milter_reader r;
	struct milter_packet p;

	(void)state;
	milter_reader_init(&r);
	assert_true(milter_reader_feed(&r, chunk, sizeof(chunk)));
	assert_int_equal(milter_reader_next(&r, &p), 0);
	assert_true(milter_reader_feed(&r, chunk, sizeof(chunk)));
	assert_false(milter_reader_feed(&r, chunk, sizeof(chunk)));
	assert_int_equal(milter_reader_next(&r, &p), 1);
	assert_int_equal(p.len, MILTER_WIRE_DATA_MAX);
	assert_true(milter_reader_feed(&r, chunk, 4));
	milter_reader_clear(&r);
}

static void
test_agreed(void **state)
{
	static const struct {
		const char *name;
		struct milter_packet p;
		bool agreed;
	} rows[] = {
		{ "as offered",
		  { 'O', "\0\0\0\6\0\0\1\377\0\37\377\377", 12 },
		  true },
		{ "nothing wanted",
		  { 'O', "\0\0\0\2\0\0\0\0\0\0\0\0", 12 },
		  true },
		{ "with macros",
		  { 'O', "\0\0\0\6\0\0\0\0\0\0\0\0\0\0\0\3i\0", 18 },
		  true },
		{ "not an offer",
		  { 'c', "\0\0\0\6\0\0\0\0\0\0\0\0", 12 },
		  false },
		{ "cut", { 'O', "\0\0\0\6\0\0\0\0\0\0\0\0", 11 }, false },
		{ "newer", { 'O', "\0\0\0\7\0\0\0\0\0\0\0\0", 12 }, false },
		{ "too old", { 'O', "\0\0\0\1\0\0\0\0\0\0\0\0", 12 }, false },
		{ "more actions",
		  { 'O', "\0\0\0\6\0\0\2\0\0\0\0\0", 12 },
		  false },
		{ "more steps",
		  { 'O', "\0\0\0\6\0\0\0\0\20\0\0\0", 12 },
		  false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t steps;

		if (milter_wire_agreed(&rows[i].p, &steps) != rows[i].agreed)
			fail_msg("row %s", rows[i].name);
	}
}

/* The bits as libmilter's mfdef.h has them. */
static void
test_steps(void **state)
{
	static const struct {
		char command;
		uint32_t off, silent;
	} rows[] = {
		{ 'C', 0x1, 0x1000 },	 { 'H', 0x2, 0x2000 },
		{ 'M', 0x4, 0x4000 },	 { 'R', 0x8, 0x8000 },
		{ 'B', 0x10, 0x80000 },	 { 'L', 0x20, 0x80 },
		{ 'N', 0x40, 0x40000 },	 { 'U', 0x100, 0x20000 },
		{ 'T', 0x200, 0x10000 }, { 'E', 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t both = rows[i].off | rows[i].silent;
		char c = rows[i].command;

		assert_int_equal(milter_wire_step(~both, c),
				 MILTER_STEP_ANSWERED);
		if (both == 0)
			continue;
		assert_int_equal(milter_wire_step(rows[i].silent, c),
				 MILTER_STEP_SILENT);
		assert_int_equal(milter_wire_step(both, c), MILTER_STEP_OFF);
	}
	assert_true(milter_wire_keeps_blank(0x100000));
	assert_false(milter_wire_keeps_blank(0xfffff));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_encode),
		cmocka_unit_test(test_encode_bounds),
		cmocka_unit_test(test_decode_in_pieces),
		cmocka_unit_test(test_decode_lengths),
		cmocka_unit_test(test_reader_is_bounded),
		cmocka_unit_test(test_agreed),
		cmocka_unit_test(test_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
