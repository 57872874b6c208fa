/* SPDX-License-Identifier: MIT */
#include "policy/json_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/dynbuf.h"

/* --- writing -------------------------------------------------------------- */

static const struct {
	const char *name;
	const char *text;
	size_t len;
	const char *want;
} strings[] = {
	{ "nothing", "", 0, "\"\"" },
	{ "letters", "abc", 3, "\"abc\"" },
	{ "quote", "a\"b", 3, "\"a\\\"b\"" },
	{ "backslash", "a\\b", 3, "\"a\\\\b\"" },
	{ "slash is left alone", "</p>", 4, "\"</p>\"" },
	{ "line ends and TAB", "\n\r\t", 3, "\"\\n\\r\\t\"" },
	{ "first and last of C0", "\x01\x1f", 2, "\"\\u0001\\u001f\"" },
	{ "BS and FF", "\b\f", 2, "\"\\u0008\\u000c\"" },
	{ "NUL", "a\0b", 3, "\"a\\u0000b\"" },
	{ "DEL needs none", "\x7f", 1, "\"\x7f\"" },
	{ "UTF-8", "\xc3\xa9\xe2\x80\xa8", 5, "\"\xc3\xa9\xe2\x80\xa8\"" },
	{ "only what needs it", "\"\"", 2, "\"\\\"\\\"\"" },
};

static void
test_add_string(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		size_t needs = strlen(strings[i].want);

		for (size_t max = 0; max <= needs; max++) {
			DYNBUF_AUTO out;
			bool ok;

			dynbuf_init(&out, max);
			ok = json_add_string(&out, strings[i].text,
					     strings[i].len);
			if (ok != (max == needs))
				fail_msg("%s: %d in %zu bytes", strings[i].name,
					 ok, max);
			if (ok &&
			    strcmp(dynbuf_str(&out), strings[i].want) != 0)
				fail_msg("%s: %s", strings[i].name,
					 dynbuf_str(&out));
		}
	}
}

/* Bytes are looked at together: whichever of them needs an escape gets one,
 * and no other. */
static void
test_add_string_anywhere(void **state)
{
	static const unsigned char bytes[] = { 0x00, 0x01, 0x1f, 0x20, 0x21,
					       0x22, 0x23, 0x5b, 0x5c, 0x5d,
					       0x7f, 0x80, 0xa2, 0xdc, 0xff };

	(void)state;
	for (size_t i = 0; i < 27 * 27 * sizeof(bytes); i++) {
		unsigned char c = bytes[i / (27 * 27)];
		size_t len = i % 27 + 1;
		size_t at = i / 27 % 27;
		bool escaped = c < 0x20 || c == '"' || c == '\\';
		DYNBUF_AUTO got, want;
		char *s = malloc(len);

		assert_non_null(s);
		memset(s, 'a', len);
		if (at < len)
			s[at] = (char)c;
		dynbuf_init(&got, 100);
		dynbuf_init(&want, 100);
		dynbuf_addf(&want, "\"%.*s", (int)(at < len ? at : len), s);
		if (at < len && escaped)
			dynbuf_addf(&want, c < 0x20 ? "\\u%04x" : "\\%c", c);
		else if (at < len)
			dynbuf_add(&want, &c, 1);
		for (size_t k = at + 1; k < len; k++)
			dynbuf_adds(&want, "a");
		dynbuf_adds(&want, "\"");
		assert_true(json_add_string(&got, s, len));
		if (got.len != want.len ||
		    memcmp(got.data, want.data, want.len) != 0)
			fail_msg("%02x at %zu of %zu: %s", c, at, len,
				 dynbuf_str(&got));
		free(s);
	}
}

static void
test_add_member(void **state)
{
	DYNBUF_AUTO out;
	DYNBUF_AUTO alone;

	(void)state;
	dynbuf_init(&out, 1000);
	dynbuf_adds(&out, "{");
	assert_true(json_add_member(&out, "a", "1"));
	assert_true(json_add_member(&out, "b", "x\"y"));
	dynbuf_adds(&out, ",\"c\":[{");
	assert_true(json_add_member(&out, "d", ""));
	dynbuf_adds(&out, "}]");
	assert_true(json_add_member(&out, "e", "{"));
	assert_true(json_add_member(&out, "f", ","));
	dynbuf_adds(&out, ",");
	assert_true(json_add_member(&out, "g", ""));
	dynbuf_adds(&out, "}");
	assert_string_equal(dynbuf_str(&out),
			    "{\"a\":\"1\",\"b\":\"x\\\"y\",\"c\":[{\"d\":\"\"}]"
			    ",\"e\":\"{\",\"f\":\",\",\"g\":\"\"}");

	dynbuf_init(&alone, 8);
	assert_false(json_add_member(&alone, "name", "value"));
	dynbuf_clear(&alone);
	assert_true(json_add_member(&alone, "a", "bc"));
	assert_string_equal(dynbuf_str(&alone), "\"a\":\"bc\"");
}

/* --- reading -------------------------------------------------------------- */

struct pairs {
	struct dynbuf text;
	size_t stop_after;
	size_t n;
};

static bool
on_pair(void *arg, const char *a, const char *b)
{
	struct pairs *p = arg;

	dynbuf_addf(&p->text, "%s=%s ", a ? a : "NULL", b ? b : "NULL");
	return ++p->n != p->stop_after;
}

static const struct {
	const char *name;
	const char *text;
	const char *member;
	const char *b;
	size_t stop_after;
	bool want;
	const char *pairs;
} walks[] = {
	{ "an array", "[{\"i\":\"1\",\"n\":\"a\"},{\"n\":\"b\",\"i\":\"2\"}]",
	  NULL, "n", 0, true, "1=a 2=b " },
	{ "an empty array", "[]", NULL, "n", 0, true, "" },
	{ "one member only", "[{\"i\":\"1\",\"n\":\"a\"}]", NULL, NULL, 0, true,
	  "1=NULL " },
	{ "members missing", "[{\"x\":1},{\"i\":\"2\"}]", NULL, "n", 0, true,
	  "NULL=NULL 2=NULL " },
	{ "members are no strings", "[{\"i\":1,\"n\":null}]", NULL, "n", 0,
	  true, "NULL=NULL " },
	{ "numbers too large for an integer",
	  "[{\"i\":\"1\",\"x\":12345678901234567890}]", NULL, "n", 0, true,
	  "1=NULL " },
	{ "within an object", "{\"r\":[{\"i\":\"1\"}]}", "r", "n", 0, true,
	  "1=NULL " },
	{ "the function stops it", "[{\"i\":\"1\"},{\"i\":\"2\"}]", NULL, "n",
	  1, false, "1=NULL " },
	{ "an item is no object", "[{\"i\":\"1\"},[],{\"i\":\"2\"}]", NULL, "n",
	  0, false, "1=NULL " },
	{ "an object", "{\"i\":\"1\"}", NULL, "n", 0, false, "" },
	{ "no such member", "{\"x\":[]}", "r", "n", 0, false, "" },
	{ "the member is no array", "{\"r\":{}}", "r", "n", 0, false, "" },
	{ "an array instead of an object", "[]", "r", "n", 0, false, "" },
	{ "a string", "\"x\"", NULL, "n", 0, false, "" },
	{ "not JSON", "[{\"i\":\"1\"},", NULL, "n", 0, false, "" },
	{ "more behind it", "[] x", NULL, "n", 0, false, "" },
	{ "nothing", "", NULL, "n", 0, false, "" },
};

static void
test_each(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(walks) / sizeof(walks[0]); i++) {
		struct pairs p = { .stop_after = walks[i].stop_after };
		bool ok;

		dynbuf_init(&p.text, 1000);
		ok = json_each(walks[i].text, strlen(walks[i].text),
			       walks[i].member, "i", walks[i].b, on_pair, &p);
		if (ok != walks[i].want ||
		    strcmp(dynbuf_str(&p.text), walks[i].pairs) != 0)
			fail_msg("%s: %d %s", walks[i].name, ok,
				 dynbuf_str(&p.text));
		dynbuf_clear(&p.text);
	}
}

static const struct {
	const char *name;
	const char *text;
	const char *want; /* in 6 bytes; NULL: none */
} members[] = {
	{ "there", "{\"a\":\"xyz\"}", "xyz" },
	{ "empty", "{\"a\":\"\"}", "" },
	{ "as long as fits", "{\"a\":\"12345\"}", "12345" },
	{ "one too long", "{\"a\":\"123456\"}", NULL },
	{ "escapes", "{\"a\":\"\\u00e9\\n\"}", "\xc3\xa9\n" },
	{ "a number", "{\"a\":1}", NULL },
	{ "null", "{\"a\":null}", NULL },
	{ "missing", "{\"b\":\"x\"}", NULL },
	{ "an array", "[\"a\"]", NULL },
	{ "NUL in it", "{\"a\":\"x\\u0000y\"}", NULL },
	{ "not JSON", "{\"a\":\"x\"", NULL },
	{ "not UTF-8", "{\"a\":\"\xff\"}", NULL },
	{ "nothing", "", NULL },
};

static void
test_get_string(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		char *dst = malloc(6);
		bool ok;

		assert_non_null(dst);
		ok = json_get_string(members[i].text, strlen(members[i].text),
				     "a", dst, 6);
		if (ok != (members[i].want != NULL) ||
		    (ok && strcmp(dst, members[i].want) != 0))
			fail_msg("%s: %d", members[i].name, ok);
		free(dst);
	}
}

static const struct {
	const char *name;
	const char *text;
	const char *want; /* in 12 bytes; NULL: none */
} words[] = {
	{ "there", "{\"a\":\"xyz\"}", "xyz" },
	{ "empty is none", "{\"a\":\"\"}", NULL },
	{ "too long is cut", "{\"a\":\"1234567890abc\"}", "12345678..." },
	{ "line ends", "{\"a\":\"x\\r\\ny\"}", "x y" },
	{ "control characters", "{\"a\":\"x\\u001by\"}", "x?y" },
	{ "NUL", "{\"a\":\"x\\u0000y\"}", "x?y" },
	{ "a number", "{\"a\":1}", NULL },
	{ "missing", "{\"b\":\"x\"}", NULL },
	{ "not JSON", "<html>", NULL },
};

static void
test_get_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		char *dst = malloc(12);
		bool ok;

		assert_non_null(dst);
		ok = json_get_words(words[i].text, strlen(words[i].text), "a",
				    dst, 12);
		if (ok != (words[i].want != NULL) ||
		    (ok && strcmp(dst, words[i].want) != 0))
			fail_msg("%s: %d %s", words[i].name, ok, ok ? dst : "");
		free(dst);
	}
}

/* --- checking ------------------------------------------------------------- */

static const struct {
	const char *name;
	const char *text;
	const char *error; /* NULL: it is an object */
} objects[] = {
	{ "empty object", "{}", NULL },
	{ "blanks around", " \n{ } \t", NULL },
	{ "all kinds", "{\"a\":[1,-2.5e+3,true,false,null,\"x\",{}]}", NULL },
	{ "large and long numbers",
	  "{\"a\":12345678901234567890,\"b\":1.0,\"c\":-0,"
	  "\"d\":0.1000000000000000000000000001}",
	  NULL },
	{ "a key twice", "{\"a\":1,\"a\":2}", NULL },
	{ "an empty key", "{\"\":1}", NULL },
	{ "UTF-8", "{\"\xc3\xa9\":\"\xf0\x9f\x98\x80\"}", NULL },
	{ "escapes", "{\"a\":\"\\u00e9\\ud83d\\ude00\\/\"}", NULL },
	{ "brackets in a string",
	  "{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
	  "\\\"[{\"}",
	  NULL },
	{ "nothing", "", "it ends too early" },
	{ "blanks", "  ", "it ends too early" },
	{ "an array", "[1,2]", "not a JSON object" },
	{ "a string", "\"a\"", "not a JSON object" },
	{ "a number", "12", "not a JSON object" },
	{ "null", "null", "not a JSON object" },
	{ "a word", "hello", "syntax error" },
	{ "trailing comma", "{\"a\":1,}", "syntax error" },
	{ "trailing comma in an array", "{\"a\":[1,]}", "syntax error" },
	{ "missing comma", "{\"a\":1 \"b\":2}", "syntax error" },
	{ "single quotes", "{'a':1}", "syntax error" },
	{ "no quotes", "{a:1}", "syntax error" },
	{ "a comment", "{\"a\":1/*x*/}", "syntax error" },
	{ "NaN", "{\"a\":NaN}", "syntax error" },
	{ "a leading zero", "{\"a\":01}", "syntax error" },
	{ "a plus sign", "{\"a\":+1}", "syntax error" },
	{ "no digits behind the dot", "{\"a\":1.}", "syntax error" },
	{ "a line end in a string", "{\"a\":\"x\ny\"}", "syntax error" },
	{ "half a surrogate", "{\"a\":\"\\ud800\"}", "syntax error" },
	{ "an unknown escape", "{\"a\":\"\\x\"}", "syntax error" },
	{ "not closed", "{\"a\":1", "it ends too early" },
	{ "string not closed", "{\"a", "it ends too early" },
	{ "two objects", "{}{}", "something follows the JSON text" },
	{ "a word behind it", "{} x", "something follows the JSON text" },
	{ "NUL escaped", "{\"a\":\"\\u0000\"}", "a NUL character" },
	{ "NUL escaped in a key", "{\"\\u0000\":1}", "a NUL character" },
	{ "not UTF-8", "{\"a\":\"\xff\"}", "invalid UTF-8" },
	{ "a surrogate as UTF-8", "{\"a\":\"\xed\xa0\x80\"}", "invalid UTF-8" },
	{ "a number beyond all", "{\"a\":1e999}", "a number out of range" },
	{ "a byte order mark", "\xef\xbb\xbf{}", "syntax error" },
};

static void
test_check_object(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
		size_t len = strlen(objects[i].text);
		char *text = malloc(len != 0 ? len : 1);
		char error[128];
		const char *got;

		assert_non_null(text);
		memcpy(text, objects[i].text, len);
		got = json_check_object(text, len, error, sizeof(error));
		free(text);
		if ((got == NULL) != (objects[i].error == NULL) ||
		    (got != NULL && strstr(got, objects[i].error) == NULL)) {
			printf("%s: %s\n", objects[i].name, got ? got : "good");
			bad++;
		}
	}
	assert_int_equal(bad, 0);
}

static void
test_check_nul(void **state)
{
	char error[128];

	(void)state;
	assert_non_null(
	    json_check_object("{\"a\":1}\0", 8, error, sizeof(error)));
	assert_non_null(
	    json_check_object("{\"a\0\":1}", 8, error, sizeof(error)));
	assert_null(json_check_object("{\"a\":1}x", 7, error, sizeof(error)));
}

/* The place of a fault is told, the text around it never. */
static void
test_check_keeps_secrets(void **state)
{
	static const char text[] = "{\"card\": 4111222233334444 secret}";
	char error[128];
	const char *got;

	(void)state;
	got = json_check_object(text, strlen(text), error, sizeof(error));
	assert_ptr_equal(got, error);
	assert_null(strstr(got, "4111"));
	assert_null(strstr(got, "secret"));
	assert_non_null(strstr(got, "column 3"));
}

static const char *
check_nested(size_t depth, char open, char close, char *error, size_t size)
{
	DYNBUF_AUTO text;
	const char *got;

	dynbuf_init(&text, 1 << 20);
	dynbuf_adds(&text, "{\"a\":");
	for (size_t i = 1; i < depth; i++)
		dynbuf_addf(&text,
			    open == '{' && i + 1 < depth ? "{\"a\":" : "%c",
			    open);
	for (size_t i = 1; i < depth; i++)
		dynbuf_add(&text, &close, 1);
	dynbuf_adds(&text, "}");
	got = json_check_object(text.data, text.len, error, size);
	return got;
}

static void
test_depth(void **state)
{
	char error[128];

	(void)state;
	assert_int_equal(JSON_DEPTH_MAX, 32);
	assert_null(check_nested(32, '[', ']', error, sizeof(error)));
	assert_null(check_nested(32, '{', '}', error, sizeof(error)));
	assert_string_equal(check_nested(33, '[', ']', error, sizeof(error)),
			    "nested deeper than 32 levels");
	assert_string_equal(check_nested(33, '{', '}', error, sizeof(error)),
			    "nested deeper than 32 levels");
	assert_string_equal(
	    check_nested(100000, '[', ']', error, sizeof(error)),
	    "nested deeper than 32 levels");
}

/* Next to each other is not deeper. */
static void
test_wide(void **state)
{
	DYNBUF_AUTO text;
	char error[128];

	(void)state;
	dynbuf_init(&text, 1 << 20);
	dynbuf_adds(&text, "{\"a\":[[]");
	for (int i = 0; i < 1000; i++)
		dynbuf_adds(&text, ",[{\"x\":[]}]");
	dynbuf_adds(&text, "]}");
	assert_null(
	    json_check_object(text.data, text.len, error, sizeof(error)));
}

/* --- an object that is read once ------------------------------------------ */

static const struct {
	const char *text;
	bool want;
} to_read[] = {
	{ "{}", true },
	{ " {\"a\":1} ", true },
	{ "{\"a\":9223372036854775807}", true },
	{ "{\"a\":9223372036854775808}", false },
	{ "{\"a\":1,\"a\":1}", false },
	{ "{\"a\":\"\\u0000\"}", false },
	{ "[]", false },
	{ "1", false },
	{ "{", false },
	{ "{}{}", false },
	{ "", false },
};

static void
test_object_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(to_read) / sizeof(to_read[0]); i++) {
		struct json_object *o =
		    json_object_read(to_read[i].text, strlen(to_read[i].text));

		if ((o != NULL) != to_read[i].want)
			fail_msg("%s", to_read[i].text);
		json_object_free(&o);
		assert_null(o);
	}
}

static bool
join_string(void *arg, const char *s)
{
	dynbuf_adds(arg, s);
	return strcmp(s, "stop") != 0;
}

static bool
join_pair(void *arg, const char *a, const char *b)
{
	dynbuf_addf(arg, "%s=%s;", a ? a : "-", b ? b : "-");
	return true;
}

static void
test_object_members(void **state)
{
	static const char text[] =
	    "{\"s\":\"x\",\"t\":true,\"f\":false,\"i\":-5,\"r\":1.0,"
	    "\"v\":[\"a\",\"b\"],\"w\":[\"a\",1],\"y\":[\"stop\",\"b\"],"
	    "\"p\":[{\"k\":\"1\",\"l\":\"2\"},{}],\"n\":null}";
	struct json_object *o = json_object_read(text, strlen(text));
	const char *s = "old";
	int64_t i = 77;
	bool b = true;

	(void)state;
	assert_non_null(o);
	assert_int_equal(json_object_string(o, "none", &s), JSON_ABSENT);
	assert_int_equal(json_object_string(o, "i", &s), JSON_OTHER_TYPE);
	assert_int_equal(json_object_string(o, "n", &s), JSON_OTHER_TYPE);
	assert_true(json_object_is_null(o, "n"));
	assert_false(json_object_is_null(o, "s"));
	assert_false(json_object_is_null(o, "none"));
	assert_string_equal(s, "old");
	assert_int_equal(json_object_string(o, "s", &s), JSON_FOUND);
	assert_string_equal(s, "x");
	assert_int_equal(json_object_bool(o, "none", &b), JSON_ABSENT);
	assert_int_equal(json_object_bool(o, "i", &b), JSON_OTHER_TYPE);
	assert_true(b);
	assert_int_equal(json_object_bool(o, "f", &b), JSON_FOUND);
	assert_false(b);
	assert_int_equal(json_object_bool(o, "t", &b), JSON_FOUND);
	assert_true(b);
	assert_int_equal(json_object_int(o, "none", &i), JSON_ABSENT);
	assert_int_equal(json_object_int(o, "s", &i), JSON_OTHER_TYPE);
	assert_int_equal(json_object_int(o, "r", &i), JSON_OTHER_TYPE);
	assert_int_equal(i, 77);
	assert_int_equal(json_object_int(o, "i", &i), JSON_FOUND);
	assert_int_equal(i, -5);
	json_object_free(&o);
}

static void
test_object_arrays(void **state)
{
	static const char text[] =
	    "{\"v\":[\"a\",\"b\"],\"w\":[\"a\",1],\"y\":[\"stop\",\"b\"],"
	    "\"p\":[{\"k\":\"1\",\"l\":\"2\"},{}],\"e\":[]}";
	static const struct {
		const char *name;
		bool pairs;
		enum json_found found;
		const char *want;
	} rows[] = {
		{ "none", false, JSON_ABSENT, "" },
		{ "v", false, JSON_FOUND, "ab" },
		{ "e", false, JSON_FOUND, "" },
		{ "w", false, JSON_OTHER_TYPE, "a" },
		{ "y", false, JSON_OTHER_TYPE, "stop" },
		{ "p", false, JSON_OTHER_TYPE, "" },
		{ "none", true, JSON_ABSENT, "" },
		{ "p", true, JSON_FOUND, "1=2;-=-;" },
		{ "v", true, JSON_OTHER_TYPE, "" },
	};
	struct json_object *o = json_object_read(text, strlen(text));

	(void)state;
	assert_non_null(o);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		DYNBUF_AUTO got;
		enum json_found found;

		dynbuf_init(&got, 100);
		found = rows[i].pairs ? json_object_pairs(o, rows[i].name, "k",
							  "l", join_pair, &got)
				      : json_object_strings(o, rows[i].name,
							    join_string, &got);
		if (found != rows[i].found ||
		    strcmp(dynbuf_str(&got), rows[i].want) != 0)
			fail_msg("%s: %d %s", rows[i].name, found,
				 dynbuf_str(&got));
	}
	json_object_free(&o);
}

/* The member "k" of each; "stop" ends the walk. */
static bool
join_item(void *arg, const struct json_object *item)
{
	const char *s = "-";

	(void)json_object_string(item, "k", &s);
	(void)dynbuf_adds(arg, s);
	return strcmp(s, "stop") != 0;
}

static void
test_object_inside(void **state)
{
	static const char text[] =
	    "{\"o\":{\"k\":\"v\",\"o\":{}},\"s\":\"x\",\"e\":[],"
	    "\"a\":[{\"k\":\"1\"},{\"j\":\"2\"},{\"k\":\"3\"}],"
	    "\"b\":[{\"k\":\"1\"},\"x\"],"
	    "\"c\":[{\"k\":\"stop\"},{\"k\":\"2\"}]}";
	static const struct {
		const char *name;
		enum json_found found;
		const char *want;
	} rows[] = {
		{ "none", JSON_ABSENT, "" },	  { "s", JSON_OTHER_TYPE, "" },
		{ "o", JSON_OTHER_TYPE, "" },	  { "e", JSON_FOUND, "" },
		{ "a", JSON_FOUND, "1-3" },	  { "b", JSON_OTHER_TYPE, "1" },
		{ "c", JSON_OTHER_TYPE, "stop" },
	};
	struct json_object *o = json_object_read(text, strlen(text));
	const struct json_object *inner = NULL;
	const char *s = NULL;

	(void)state;
	assert_non_null(o);
	assert_int_equal(json_object_object(o, "none", &inner), JSON_ABSENT);
	assert_int_equal(json_object_object(o, "a", &inner), JSON_OTHER_TYPE);
	assert_null(inner);
	assert_int_equal(json_object_object(o, "o", &inner), JSON_FOUND);
	assert_int_equal(json_object_string(inner, "k", &s), JSON_FOUND);
	assert_string_equal(s, "v");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		DYNBUF_AUTO got;

		dynbuf_init(&got, 100);
		if (json_object_items(o, rows[i].name, join_item, &got) !=
			rows[i].found ||
		    strcmp(dynbuf_str(&got), rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, dynbuf_str(&got));
	}
	json_object_free(&o);
}

static bool
join_value(void *arg, const char *name, const char *value, size_t len)
{
	struct dynbuf *got = arg;

	if (value != NULL)
		assert_true(len <= strlen(value));
	dynbuf_addf(got, "[%s:%.*s]", name, value ? (int)len : 1,
		    value ? value : "?");
	return strcmp(name, "stop") != 0;
}

static void
test_object_each(void **state)
{
	static const struct {
		const char *text;
		bool all;
		const char *got;
	} rows[] = {
		{ "{}", true, "" },
		{ "{\"a\":\"x\\n\",\"b\": true ,\"c\":1.0}", true,
		  "[a:x\n][b:true][c:1.0]" },
		{ "{\"a\":12345678901234567890,\"b\":null,\"c\":[1],\"d\":{}}",
		  true, "[a:12345678901234567890][b:?][c:?][d:?]" },
		{ "{\"a\":\"\",\"stop\":1,\"b\":1}", false, "[a:][stop:1]" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *text = rows[i].text;
		char error[64];
		struct json_object *o =
		    json_object_parse(text, strlen(text), error, sizeof(error));
		DYNBUF_AUTO got;

		assert_non_null(o);
		dynbuf_init(&got, 200);
		assert_int_equal(
		    json_object_each(o, text, strlen(text), join_value, &got),
		    rows[i].all);
		assert_string_equal(dynbuf_str(&got), rows[i].got);
		json_object_free(&o);
	}
}

static void
test_object_has_only(void **state)
{
	static const char *const names[] = { "a", "b", "c" };
	static const char text[] = "{\"a\":1,\"b\":null}";
	struct json_object *o = json_object_read(text, strlen(text));

	(void)state;
	assert_true(json_object_has_only(o, names, 3));
	assert_true(json_object_has_only(o, names, 2));
	assert_false(json_object_has_only(o, names, 1));
	assert_false(json_object_has_only(o, names + 1, 2));
	json_object_free(&o);
}

static int
setup(void **state)
{
	(void)state;
	json_text_init();
	return 0;
}

/* --- what a client wrote ---------------------------------------------------
 */

static const struct {
	const char *name;
	const char *text;
	const char *error; /* NULL: it is an object */
} to_parse[] = {
	{ "an object", "{\"a\":1}", NULL },
	{ "an integer of any length", "{\"a\":12345678901234567890123}", NULL },
	{ "an array", "[1]", "not a JSON object" },
	{ "a comma too many", "{\"a\":1,}", "syntax error at column 8" },
	{ "a comma too few", "{\"a\":1 \"b\":2}", "syntax error at column 10" },
	{ "cut", "{\"a\":", "it ends too early at column 5" },
	{ "nothing", "", "it ends too early at column 0" },
	{ "twice", "{\"a\":1,\"a\":2}",
	  "a name that is there twice at column 10" },
	{ "twice, escaped", "{\"a\":1,\"\\u0061\":2}",
	  "a name that is there twice at column 15" },
	{ "twice, inside", "{\"o\":{\"a\":1,\"a\":2}}",
	  "a name that is there twice at column 15" },
};

static void
test_object_parse(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(to_parse) / sizeof(to_parse[0]); i++) {
		char error[100] = "";
		struct json_object *o = json_object_parse(
		    to_parse[i].text, strlen(to_parse[i].text), error,
		    sizeof(error));
		const char *want = to_parse[i].error ? to_parse[i].error : "";

		if ((o == NULL) != (to_parse[i].error != NULL) ||
		    strcmp(error, want) != 0) {
			printf("%s: \"%s\"\n", to_parse[i].name, error);
			bad++;
		}
		json_object_free(&o);
	}
	assert_int_equal(bad, 0);
}

static void
test_object_truth(void **state)
{
	static const struct {
		const char *text;
		enum json_found found;
		bool value;
	} rows[] = {
		{ "{\"x\":true}", JSON_FOUND, true },
		{ "{\"x\":false}", JSON_FOUND, false },
		{ "{\"x\":\"true\"}", JSON_FOUND, true },
		{ "{\"x\":\"false\"}", JSON_FOUND, false },
		{ "{\"x\":\"1\"}", JSON_FOUND, true },
		{ "{\"x\":\"0\"}", JSON_FOUND, false },
		{ "{\"x\":1}", JSON_FOUND, true },
		{ "{\"x\":0}", JSON_FOUND, false },
		{ "{\"x\":2}", JSON_OTHER_TYPE, false },
		{ "{\"x\":-1}", JSON_OTHER_TYPE, false },
		{ "{\"x\":0.5}", JSON_OTHER_TYPE, false },
		{ "{\"x\":\"yes\"}", JSON_OTHER_TYPE, false },
		{ "{\"x\":\"\"}", JSON_OTHER_TYPE, false },
		{ "{\"x\":null}", JSON_OTHER_TYPE, false },
		{ "{\"x\":[true]}", JSON_OTHER_TYPE, false },
		{ "{\"y\":true}", JSON_ABSENT, false },
	};
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char error[100];
		struct json_object *o = json_object_parse(
		    rows[i].text, strlen(rows[i].text), error, sizeof(error));
		bool value = false;

		assert_non_null(o);
		if (json_object_truth(o, "x", &value) != rows[i].found ||
		    value != rows[i].value) {
			printf("%s\n", rows[i].text);
			bad++;
		}
		json_object_free(&o);
	}
	assert_int_equal(bad, 0);
}

static bool
join_any(void *arg, const char *s, const struct json_object *item)
{
	struct dynbuf *out = arg;
	const char *k = "";

	if (item != NULL)
		(void)json_object_string(item, "k", &k);
	return dynbuf_addf(out, "[%s%s]",
			   s	  ? s
			   : item ? "o:"
				  : "?",
			   k) &&
	       (s == NULL || strcmp(s, "stop") != 0);
}

static void
test_object_array(void **state)
{
	static const char text[] =
	    "{\"a\":[\"x\",{\"k\":\"y\"},1,null],\"e\":[],\"s\":\"x\","
	    "\"stop\":[\"a\",\"stop\",\"b\"]}";
	static const struct {
		const char *name;
		enum json_found found;
		const char *got;
	} rows[] = {
		{ "a", JSON_FOUND, "[x][o:y][?][?]" },
		{ "e", JSON_FOUND, "" },
		{ "s", JSON_OTHER_TYPE, "" },
		{ "none", JSON_ABSENT, "" },
		{ "stop", JSON_OTHER_TYPE, "[a][stop]" },
	};
	struct json_object *o = json_object_read(text, strlen(text));

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		DYNBUF_AUTO got;

		dynbuf_init(&got, 100);
		assert_int_equal(
		    json_object_array(o, rows[i].name, join_any, &got),
		    rows[i].found);
		assert_string_equal(dynbuf_str(&got), rows[i].got);
	}
	json_object_free(&o);
}

static const struct {
	const char *text;
	const char *member;
	const char *want; /* NULL: there is none */
} written[] = {
	{ "{\"m\":1.0}", "m", "1.0" },
	{ "{\"m\":12345678901234567890}", "m", "12345678901234567890" },
	{ " { \"m\" : \t{ \"a\" :1 , \"b\":[ ] }\n , \"n\":2}", "m",
	  "{ \"a\" :1 , \"b\":[ ] }" },
	{ "{\"n\":{\"m\":1},\"m\":2}", "m", "2" },
	{ "{\"n\":[1,{\"m\":3},\"],:\"],\"m\":2 }", "m", "2" },
	{ "{\"a\":\"{\\\"m\\\":1,\",\"b,:\":1,\"m\":\"\\\\\",\"c\":1}", "m",
	  "\"\\\\\"" },
	{ "{\"\\u006d\":\"x\"}", "m", "\"x\"" },
	{ "{\"m\":\"\\u0022,\"}", "m", "\"\\u0022,\"" },
	{ "{\"a\":1,\"m\":{}}", "m", "{}" },
	{ "{\"a\":1}", "m", NULL },
	{ "{}", "m", NULL },
	{ "{\"a\":{\"m\":1}}", "m", NULL },
};

static void
test_object_member_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++) {
		const char *text = written[i].text, *value = NULL;
		char error[100];
		struct json_object *o =
		    json_object_parse(text, strlen(text), error, sizeof(error));
		size_t len = 0;
		bool found;

		assert_non_null(o);
		found = json_object_member_text(o, written[i].member, text,
						strlen(text), &value, &len);
		assert_int_equal(found, written[i].want != NULL);
		if (found) {
			assert_int_equal(len, strlen(written[i].want));
			assert_memory_equal(value, written[i].want, len);
		}
		json_object_free(&o);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add_string),
		cmocka_unit_test(test_add_string_anywhere),
		cmocka_unit_test(test_add_member),
		cmocka_unit_test(test_each),
		cmocka_unit_test(test_get_string),
		cmocka_unit_test(test_get_words),
		cmocka_unit_test(test_check_object),
		cmocka_unit_test(test_check_nul),
		cmocka_unit_test(test_check_keeps_secrets),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_wide),
		cmocka_unit_test(test_object_read),
		cmocka_unit_test(test_object_members),
		cmocka_unit_test(test_object_arrays),
		cmocka_unit_test(test_object_inside),
		cmocka_unit_test(test_object_each),
		cmocka_unit_test(test_object_has_only),
		cmocka_unit_test(test_object_parse),
		cmocka_unit_test(test_object_truth),
		cmocka_unit_test(test_object_array),
		cmocka_unit_test(test_object_member_text),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
