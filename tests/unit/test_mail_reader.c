/* SPDX-License-Identifier: MIT */
/*
 * What the reader says is written down as a text: "H name|value|" and LF for
 * each field, "E" and LF for the end of the header, then the body. Each input
 * is fed whole, byte by byte, and in pieces of all sorts.
 */
#include "policy/mail_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/dynbuf.h"

#define SAID_MAX (4 * MAIL_READER_FIELD_MAX)
#define RANDOM_ROUNDS 20

static const struct {
	const char *name;
	const char *input;
	size_t len;
	const char *want;
	size_t want_len;
} rows[] = {
#define ROW(name, input, want)                                         \
	{                                                              \
		name, input, sizeof(input) - 1, want, sizeof(want) - 1 \
	}
	ROW("nothing", "", "E\n"),
	ROW("an ordinary message",
	    "From: a@b.example\r\nSubject: hello\r\n\r\nbody\r\n",
	    "H From|a@b.example|\nH Subject|hello|\nE\nbody\r\n"),
	ROW("LF", "From: a@b.example\nSubject: hello\n\nbody\n",
	    "H From|a@b.example|\nH Subject|hello|\nE\nbody\n"),
	ROW("no body", "A: b\r\n\r\n", "H A|b|\nE\n"),
	ROW("no empty line", "A: b\r\n", "H A|b|\nE\n"),
	ROW("no line end", "A: b", "H A|b|\nE\n"),
	ROW("no header", "\r\nA: b\r\n", "E\nA: b\r\n"),
	ROW("no header, LF", "\nA: b\n", "E\nA: b\n"),
	ROW("the body's empty lines are its own", "A: b\r\n\r\n\r\n\nx",
	    "H A|b|\nE\n\r\n\nx"),
	ROW("the body is left alone", "A: b\n\nx\r\r\n\0\xff\n y: z\n",
	    "H A|b|\nE\nx\r\r\n\0\xff\n y: z\n"),

	ROW("no blank behind the colon", "A:b\n", "H A|b|\nE\n"),
	ROW("one blank is gone", "A:  b \n", "H A| b |\nE\n"),
	ROW("a tab is not", "A:\tb\n", "H A|\tb|\nE\n"),
	ROW("white space before the colon", "A \t : b\n", "H A|b|\nE\n"),
	ROW("empty", "A:\r\nB: \r\nC:\nD:", "H A||\nH B||\nH C||\nH D||\nE\n"),
	ROW("more colons", "A: b:c: d\n", "H A|b:c: d|\nE\n"),
	ROW("strange names", "!#$%&'*+-.^_`{|}~\"(),;<>@[]/?=\\1: b\n",
	    "H !#$%&'*+-.^_`{|}~\"(),;<>@[]/?=\\1|b|\nE\n"),
	ROW("twice", "A: 1\nA: 2\n", "H A|1|\nH A|2|\nE\n"),
	ROW("raw bytes in a value", "A: \0\x01\x7f\xff\n",
	    "H A|\0\x01\x7f\xff|\nE\n"),

	ROW("folds", "A: b\r\n c\r\n\td\r\nB: e\r\n\r\n",
	    "H A|b\n c\n\td|\nH B|e|\nE\n"),
	ROW("folds, LF", "A: b\n c\n\td\n", "H A|b\n c\n\td|\nE\n"),
	ROW("an empty first line", "A:\r\n b\r\n", "H A|\n b|\nE\n"),
	ROW("a blank first line", "A: \r\n b\r\n", "H A|\n b|\nE\n"),
	ROW("a fold of white space", "A: b\r\n \t\r\n c\r\n",
	    "H A|b\n \t\n c|\nE\n"),
	ROW("a fold of one blank ends it", "A: b\r\n \r\n\r\nx",
	    "H A|b\n |\nE\nx"),
	ROW("a fold at the end", "A: b\n ", "H A|b\n |\nE\n"),

	ROW("one CR belongs to the line end", "A: b\r\r\n", "H A|b\r|\nE\n"),
	ROW("CR within", "A: b\rc\r\n", "H A|b\rc|\nE\n"),
	ROW("CR at the end of it all", "A: b\r", "H A|b\r|\nE\n"),
	ROW("CR alone is the value", "A:\r\r\n", "H A|\r|\nE\n"),
	ROW("CR that begins a line", "A: b\r\n\rB: c\n", "H A|b|\nE\n\rB: c\n"),
	ROW("CR CR LF is no empty line", "A: b\n\r\r\nx", "H A|b|\nE\n\r\r\nx"),
	ROW("CR is all there is", "\r", "E\n\r"),
	ROW("CR is the last line", "A: b\n\r", "H A|b|\nE\n\r"),

	ROW("no colon", "A: b\r\nhello\r\nC: d\r\n",
	    "H A|b|\nE\nhello\r\nC: d\r\n"),
	ROW("no colon, no line end", "A: b\r\nhello", "H A|b|\nE\nhello"),
	ROW("a blank, no colon", "A: b\nhello  ", "H A|b|\nE\nhello  "),
	ROW("two words", "A: b\nC d: e\n", "H A|b|\nE\nC d: e\n"),
	ROW("a mailbox's first line", "From a@b.example now\nA: b\n",
	    "E\nFrom a@b.example now\nA: b\n"),
	ROW("no name", "A: b\n: c\n", "H A|b|\nE\n: c\n"),
	ROW("white space at the start", " A: b\nC: d\n", "E\n A: b\nC: d\n"),
	ROW("a name with a control character", "A\x01: b\n", "E\nA\x01: b\n"),
	ROW("a name with DEL", "A\x7f: b\n", "E\nA\x7f: b\n"),
	ROW("a name with NUL", "A\0: b\n", "E\nA\0: b\n"),
	ROW("a name with 8 bit", "\xc3\xa4: b\n", "E\n\xc3\xa4: b\n"),
	ROW("a name with CR", "A\r\n: b\n", "E\nA\r\n: b\n"),
};

/* --- what was said -------------------------------------------------------- */

struct said {
	struct dynbuf text;
	bool done, broken;
};

static void
on_header(void *arg, const char *name, const char *value, size_t len)
{
	struct said *s = arg;

	s->broken |= s->done || value[len] != '\0';
	assert_true(dynbuf_addf(&s->text, "H %s|", name));
	assert_true(dynbuf_add(&s->text, value, len));
	assert_true(dynbuf_adds(&s->text, "|\n"));
}

static void
on_headers_done(void *arg)
{
	struct said *s = arg;

	s->broken |= s->done;
	s->done = true;
	assert_true(dynbuf_adds(&s->text, "E\n"));
}

static void
on_body(void *arg, const char *data, size_t len)
{
	struct said *s = arg;

	s->broken |= !s->done || len == 0;
	assert_true(dynbuf_add(&s->text, data, len));
}

static const struct mail_sink sink = { on_header, on_headers_done, on_body };

/* Deterministic, so that a failure can be seen again. */
static size_t
next_random(uint32_t *seed, size_t below)
{
	*seed = *seed * 1664525 + 1013904223;
	return (*seed >> 8) % below;
}

/* step: bytes at a time; 0: any number, by seed. Each piece is an exact copy:
 * a byte read behind it is seen. */
static bool
read_mail(struct said *s, const char *input, size_t len, size_t step,
	  uint32_t seed)
{
	struct mail_reader *r = mail_reader_new(&sink, s);
	bool ok = true, ended;

	while (len > 0) {
		size_t n = step > 0 ? step : next_random(&seed, 9);
		char *piece;

		if (n > len)
			n = len;
		piece = malloc(n > 0 ? n : 1);
		assert_non_null(piece);
		memcpy(piece, input, n);
		if (!mail_reader_feed(r, piece, n))
			ok = false;
		else
			assert_true(ok);
		free(piece);
		input += n;
		len -= n;
	}
	ended = mail_reader_end(r);
	assert_true(ok || !ended);
	mail_reader_free(&r);
	assert_null(r);
	return ended;
}

static void
expect(const char *name, const char *input, size_t len, const char *want,
       size_t want_len, bool ok, size_t step, uint32_t seed)
{
	struct said s = { .done = false };

	dynbuf_init(&s.text, SAID_MAX);
	if (read_mail(&s, input, len, step, seed) != ok)
		fail_msg("%s, step %zu: %s", name, step,
			 ok ? "failed" : "did not fail");
	if (s.broken || s.text.len != want_len ||
	    memcmp(dynbuf_str(&s.text), want, want_len) != 0)
		fail_msg("%s, step %zu, seed %u: \"%.200s\", wanted \"%.200s\"",
			 name, step, (unsigned)seed, dynbuf_str(&s.text), want);
	dynbuf_clear(&s.text);
}

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		static const size_t steps[] = { SIZE_MAX, 1, 2, 3 };

		for (size_t j = 0; j < sizeof(steps) / sizeof(*steps); j++)
			expect(rows[i].name, rows[i].input, rows[i].len,
			       rows[i].want, rows[i].want_len, true, steps[j],
			       0);
		for (uint32_t seed = 0; seed < RANDOM_ROUNDS; seed++)
			expect(rows[i].name, rows[i].input, rows[i].len,
			       rows[i].want, rows[i].want_len, true, 0, seed);
	}
}

/* --- the bound ------------------------------------------------------------ */

static const struct {
	const char *name;
	const char *before; /* the long thing */
	size_t n;	    /* 'x' */
	const char *after;
	bool ok;
	const char *want; /* when it failed: all that was said */
} bounds[] = {
	{ "the longest field", "A:", MAIL_READER_FIELD_MAX - 2, "\nB: c\n",
	  true, NULL },
	{ "the longest field, CRLF", "A:", MAIL_READER_FIELD_MAX - 2,
	  "\r\nB: c\r\n", true, NULL },
	{ "the longest field, at the end", "A:", MAIL_READER_FIELD_MAX - 2, "",
	  true, NULL },
	{ "one too many", "A:", MAIL_READER_FIELD_MAX - 1, "\nB: c\n", false,
	  "" },
	{ "one too many, CRLF", "A:", MAIL_READER_FIELD_MAX - 1, "\r\nB: c\r\n",
	  false, "" },
	{ "one too many, at the end", "A:", MAIL_READER_FIELD_MAX - 1, "",
	  false, "" },
	{ "one too many, a CR at the end", "A:", MAIL_READER_FIELD_MAX - 2,
	  "\r", false, "" },
	{ "two too many", "A:", MAIL_READER_FIELD_MAX, "\r\n", false, "" },
	{ "what came before is said", "B: c\nA:", MAIL_READER_FIELD_MAX,
	  "\n\nbody", false, "H B|c|\n" },
	{ "folds count", "A: b\r\n c\r\n d", MAIL_READER_FIELD_MAX - 8,
	  "\r\n\r\n", false, "" },
	{ "a name too long", "", MAIL_READER_FIELD_MAX, ":\n", false, "" },
	{ "a name too long, without a colon", "", MAIL_READER_FIELD_MAX + 2,
	  "\n", false, "" },
	{ "a name too long, at the end", "", MAIL_READER_FIELD_MAX + 1, "",
	  false, "" },
	{ "the longest name", "", MAIL_READER_FIELD_MAX - 1, ":", true, NULL },
	{ "a long line that is no field", "", MAIL_READER_FIELD_MAX, " y\n",
	  true, NULL },
	{ "a long line of the body", "\n", 2 * MAIL_READER_FIELD_MAX, "", true,
	  NULL },
};

static void
test_bounds(void **state)
{
	static const size_t steps[] = { SIZE_MAX, 1, 4096 };
	DYNBUF_AUTO input;

	(void)state;
	dynbuf_init(&input, SAID_MAX);
	for (size_t i = 0; i < sizeof(bounds) / sizeof(*bounds); i++) {
		struct said whole = { .done = false };

		dynbuf_truncate(&input, 0);
		dynbuf_adds(&input, bounds[i].before);
		memset(dynbuf_room(&input, bounds[i].n), 'x', bounds[i].n);
		dynbuf_grown(&input, bounds[i].n);
		assert_true(dynbuf_adds(&input, bounds[i].after));
		dynbuf_init(&whole.text, SAID_MAX);
		(void)read_mail(&whole, input.data, input.len, SIZE_MAX, 0);
		if (bounds[i].want != NULL)
			assert_string_equal(dynbuf_str(&whole.text),
					    bounds[i].want);
		else
			assert_true(whole.text.len > bounds[i].n);
		for (size_t j = 0; j < sizeof(steps) / sizeof(*steps); j++)
			expect(bounds[i].name, input.data, input.len,
			       dynbuf_str(&whole.text), whole.text.len,
			       bounds[i].ok, steps[j], 0);
		dynbuf_clear(&whole.text);
	}
}

static void
test_freed_half_way(void **state)
{
	struct said s = { .done = false };
	struct mail_reader *r = mail_reader_new(&sink, &s);

	(void)state;
	dynbuf_init(&s.text, SAID_MAX);
	assert_true(mail_reader_feed(r, "A: b\r\nC", 7));
	mail_reader_free(&r);
	mail_reader_free(&r);
	assert_string_equal(dynbuf_str(&s.text), "H A|b|\n");
	dynbuf_clear(&s.text);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_freed_half_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
