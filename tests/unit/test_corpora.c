/* SPDX-License-Identifier: MIT */
/*
 * GMime's tree is the oracle: over every message of other people's test mail,
 * the part our push parser chooses must be the one that the same rule finds in
 * the tree GMime builds, with the same bytes. Messages we refuse must be
 * refused for a reason that is in them. The files that are kept beside it must
 * be leaves of that tree, with the same names. Where the two may differ, the
 * file stands in a table below with the reason.
 * The directory is named by CORPORA; without it the test says so and passes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <gmime/gmime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "policy/body.h"
#include "policy/charset.h"
#include "policy/dynbuf.h"

#define FILE_MAX (32 * 1024 * 1024)

/* Where GMime and we read a broken message differently, on purpose. */
static const struct {
	const char *file;
	const char *why;
} differences[] = {
	{ "python-email/test_email/data/msg_35.txt",
	  "no empty line after the header: Postfix begins the body there" },
	{ "python-email/test_email/data/msg_47.txt",
	  "parts without an empty line after the header: the body begins with "
	  "the first line that is no header" },
	{ "enmime/testdata/mail/qp-utf8-header-no-break.raw",
	  "no empty line after the header, as above" },
	{ "ruby-mail/spec/fixtures/emails/rfc2822/example13.eml",
	  "a line in the header that is no header: the body begins there" },
	{ "error_emails/content_transfer_encoding_text-html.eml",
	  "unknown encoding: not to be understood (RFC 2045, 6.4)" },
	{ "error_emails/content_transfer_encoding_with_8bits.eml",
	  "unknown encoding, as above" },
	{ "error_emails/content_transfer_encoding_plain.eml",
	  "unknown encoding, as above" },
	{ "error_emails/content_transfer_encoding_spam.eml",
	  "unknown encoding, as above" },
	{ "kmime/autotests/data/big-allocation.mbox",
	  "parts without an empty line after the header, as above" },
};

static const struct {
	const char *file;
	const char *why;
} file_differences[] = {
	{ "parts/multi-malformed.raw", "a part without a header" },
	{ "mail/mime-", "base64 that is cut off: GMime loses the last bytes" },
	{ "parts/barren-content-type.raw", "a name that is empty" },
	{ "attachment_with_encoded_name.eml", "GMime's name is not UTF-8" },
	{ "emails/raw_email8.eml", "the same" },
	{ "test_email/data/msg_38.txt",
	  "a part that holds the outer boundary ends there" },
	{ "test_email/data/msg_39.txt", "a boundary used again inside" },
	{ "data/big-allocation.mbox", "see above" },
};

struct found {
	enum body_kind kind;
	struct dynbuf text;
};

static unsigned compared, refused, different;
static size_t files_compared;

/* --- the oracle ----------------------------------------------------------- */

static bool
is_attachment(GMimeObject *o)
{
	const char *d = g_mime_object_get_disposition(o);

	return d != NULL && *d != '\0' && g_ascii_strcasecmp(d, "inline") != 0;
}

static void
read_part(GMimeObject *o, struct dynbuf *out)
{
	GMimeStream *mem = g_mime_stream_mem_new();
	GMimeDataWrapper *w = g_mime_part_get_content((GMimePart *)o);
	GByteArray *bytes;
	bool replaced;

	dynbuf_init(out, BODY_KEPT_MAX);
	if (w != NULL)
		g_mime_data_wrapper_write_to_stream(w, mem);
	bytes = g_mime_stream_mem_get_byte_array((GMimeStreamMem *)mem);
	dynbuf_add(out, bytes->data, bytes->len);
	(void)charset_to_utf8(
	    out, g_mime_object_get_content_type_parameter(o, "charset"),
	    &replaced);
	g_object_unref(mem);
}

static bool
is_blank(const struct dynbuf *b)
{
	for (size_t i = 0; i < b->len; i++) {
		if ((unsigned char)b->data[i] > ' ')
			return false;
	}
	return true;
}

/* The first leaf text/SUBTYPE that is not attached and not blank. */
static bool
find(GMimeObject *o, const char *subtype, bool attached, struct dynbuf *out)
{
	attached = attached || is_attachment(o);
	if (GMIME_IS_MULTIPART(o)) {
		int n = g_mime_multipart_get_count((GMimeMultipart *)o);

		for (int i = 0; i < n; i++) {
			if (find(g_mime_multipart_get_part((GMimeMultipart *)o,
							   i),
				 subtype, attached, out))
				return true;
		}
		return false;
	}
	if (attached || !GMIME_IS_PART(o) ||
	    !g_mime_content_type_is_type(g_mime_object_get_content_type(o),
					 "text", subtype))
		return false;
	read_part(o, out);
	if (!is_blank(out))
		return true;
	dynbuf_clear(out);
	return false;
}

static void
oracle(const char *data, size_t len, struct found *found_r)
{
	GMimeStream *s = g_mime_stream_mem_new_with_buffer(data, len);
	GMimeParser *p = g_mime_parser_new_with_stream(s);
	GMimeMessage *m = g_mime_parser_construct_message(p, NULL);
	GMimeObject *root = m ? g_mime_message_get_mime_part(m) : NULL;

	found_r->kind = BODY_NONE;
	dynbuf_init(&found_r->text, BODY_KEPT_MAX);
	if (root != NULL && find(root, "html", false, &found_r->text))
		found_r->kind = BODY_HTML;
	else if (root != NULL && find(root, "plain", false, &found_r->text))
		found_r->kind = BODY_TEXT;
	if (m != NULL)
		g_object_unref(m);
	g_object_unref(p);
	g_object_unref(s);
}

/* --- ours ----------------------------------------------------------------- */

/* Feeds the header as an MTA would: fields until the empty line. */
static size_t
feed_header(struct body *b, const char *data, size_t len)
{
	size_t at = 0;

	while (at < len && data[at] != '\n' && data[at] != '\r') {
		size_t end = at;
		const char *colon;

		do {
			const char *lf = memchr(data + end, '\n', len - end);

			end = lf ? (size_t)(lf - data) + 1 : len;
		} while (end < len && (data[end] == ' ' || data[end] == '\t'));
		colon = memchr(data + at, ':', end - at);
		/* mbox's "From " line is what GMime skips, too. */
		if (colon == NULL && at > 0)
			return at;
		if (colon != NULL) {
			char *name =
			    strndup(data + at, (size_t)(colon - data) - at);
			size_t value = (size_t)(colon - data) + 1;
			size_t stop = end;

			while (stop > value && (data[stop - 1] == '\n' ||
						data[stop - 1] == '\r'))
				stop--;
			g_strchomp(name);
			body_header(b, name, data + value, stop - value);
			free(name);
		}
		at = end;
	}
	if (at < len && data[at] == '\r')
		at++;
	return at < len ? at + 1 : at;
}

static struct body *
ours(const char *data, size_t len, size_t step, struct found *found_r)
{
	struct body *b = body_new();
	size_t at = feed_header(b, data, len);
	char *text;
	size_t n;

	for (; at < len; at += step)
		(void)body_feed(b, data + at,
				len - at < step ? len - at : step);
	found_r->kind = body_end(b, &text, &n);
	dynbuf_init(&found_r->text, 3 * BODY_KEPT_MAX);
	if (text != NULL)
		dynbuf_add(&found_r->text, text, n);
	free(text);
	return b;
}

/* Not every file of a test suite is mail: the first line must be a header
 * field, or mbox's "From ". */
static bool
is_message(const char *data, size_t len)
{
	size_t n = 0;

	if (len > 5 && memcmp(data, "From ", 5) == 0)
		return true;
	while (n < len && data[n] > ' ' && data[n] != ':')
		n++;
	while (n < len && data[n] == ' ')
		n++;
	return n > 0 && n < len && data[n] == ':';
}

/* --- files ---------------------------------------------------------------- */

static void
list_leaves(GMimeObject *o, GPtrArray *leaves)
{
	int n;

	if (!GMIME_IS_MULTIPART(o)) {
		g_ptr_array_add(leaves, o);
		return;
	}
	n = g_mime_multipart_get_count((GMimeMultipart *)o);
	for (int i = 0; i < n; i++)
		list_leaves(g_mime_multipart_get_part((GMimeMultipart *)o, i),
			    leaves);
}

/* Without CR and the line ends at the end, which GMime counts otherwise. */
static gchar *
normal_bytes(const char *data, size_t len, size_t *len_r)
{
	GString *s = g_string_new(NULL);

	for (size_t i = 0; i < len; i++) {
		if (data[i] != '\r')
			g_string_append_c(s, data[i]);
	}
	while (s->len > 0 && s->str[s->len - 1] == '\n')
		g_string_truncate(s, s->len - 1);
	*len_r = s->len;
	return g_string_free(s, FALSE);
}

static bool
has_bytes(GMimePart *part, const struct body_file *f)
{
	GMimeStream *mem = g_mime_stream_mem_new();
	GMimeDataWrapper *w = g_mime_part_get_content(part);
	GByteArray *bytes;
	gchar *a, *b;
	size_t n, k;
	bool equal;

	if (w != NULL)
		g_mime_data_wrapper_write_to_stream(w, mem);
	bytes = g_mime_stream_mem_get_byte_array((GMimeStreamMem *)mem);
	a = normal_bytes((const char *)bytes->data, bytes->len, &n);
	b = normal_bytes(f->data, f->len, &k);
	equal = n == k && memcmp(a, b, n) == 0;
	g_free(a);
	g_free(b);
	g_object_unref(mem);
	return equal;
}

static bool
has_type(GMimeObject *o, const struct body_file *f)
{
	GMimeContentType *ct = g_mime_object_get_content_type(o);
	gchar *type = g_mime_content_type_get_mime_type(ct);
	size_t n = strcspn(f->type, ";");
	bool equal =
	    strlen(type) == n && g_ascii_strncasecmp(type, f->type, n) == 0;

	g_free(type);
	return equal;
}

static bool
has_name(GMimePart *part, const struct body_file *f)
{
	const char *name = g_mime_part_get_filename(part);

	return name != NULL ? strcmp(name, f->name) == 0
			    : g_str_has_prefix(f->name, "attachment-");
}

static bool
is_leaf(GMimeObject *o, const struct body_file *f)
{
	if (!has_type(o, f))
		return false;
	return !GMIME_IS_PART(o) ||
	       (has_bytes((GMimePart *)o, f) && has_name((GMimePart *)o, f));
}

/* Each file is a leaf, in the tree's order. */
static bool
are_leaves(GMimeObject *root, const struct body_file *files, size_t n)
{
	GPtrArray *leaves = g_ptr_array_new();
	size_t found = 0;

	if (root != NULL)
		list_leaves(root, leaves);
	for (guint i = 0; i < leaves->len && found < n; i++)
		found += is_leaf(leaves->pdata[i], &files[found]);
	if (found < n)
		printf("    no such leaf: %s, %s, %zu bytes\n",
		       files[found].name, files[found].type, files[found].len);
	g_ptr_array_unref(leaves);
	return found == n;
}

static bool
may_differ_in_files(const char *path)
{
	for (size_t i = 0;
	     i < sizeof(file_differences) / sizeof(file_differences[0]); i++) {
		if (strstr(path, file_differences[i].file) != NULL)
			return true;
	}
	return false;
}

static void
check_files(const char *path, const char *data, size_t len)
{
	GMimeStream *s = g_mime_stream_mem_new_with_buffer(data, len);
	GMimeParser *p = g_mime_parser_new_with_stream(s);
	GMimeMessage *m = g_mime_parser_construct_message(p, NULL);
	struct body *b = body_new();
	size_t at = feed_header(b, data, len);
	struct body_file *files;
	char *text;
	size_t n;

	body_want(b, BODY_WANT_TEXT | BODY_WANT_AMP | BODY_WANT_FILES);
	(void)body_feed(b, data + at, len - at);
	(void)body_end(b, &text, &n);
	free(text);
	n = body_take_files(b, &files);
	if (body_error(b) == NULL) {
		files_compared += n;
		if (!may_differ_in_files(path) &&
		    !are_leaves(m ? g_mime_message_get_mime_part(m) : NULL,
				files, n)) {
			printf("  DIFFERENT files %s\n", path);
			different++;
		}
	}
	body_files_free(&files, n);
	body_free(&b);
	if (m != NULL)
		g_object_unref(m);
	g_object_unref(p);
	g_object_unref(s);
}

/* --- comparing ------------------------------------------------------------ */

/* Line ends as LF, none at the end, U+FFFD for NUL: GMime keeps the file's. */
static char *
normal(const struct dynbuf *b)
{
	GString *s = g_string_new(NULL);

	for (size_t i = 0; i < b->len; i++) {
		if (b->data[i] == '\0')
			g_string_append(s, "\xef\xbf\xbd");
		else if (b->data[i] != '\r')
			g_string_append_c(s, b->data[i]);
	}
	return g_strchomp(g_string_free(s, FALSE));
}

static bool
same(const struct found *a, const struct found *b)
{
	char *x = normal(&a->text);
	char *y = normal(&b->text);
	bool equal = a->kind == b->kind && strcmp(x, y) == 0;

	g_free(x);
	g_free(y);
	return equal;
}

static bool
may_differ(const char *path)
{
	for (size_t i = 0; i < sizeof(differences) / sizeof(differences[0]);
	     i++) {
		if (differences[i].file[0] != '\0' &&
		    strstr(path, differences[i].file) != NULL)
			return true;
	}
	return false;
}

static void
show(const char *who, const struct found *f)
{
	printf("    %s: kind %d, %zu bytes: %.300s\n", who, (int)f->kind,
	       f->text.len, dynbuf_str(&f->text));
}

static void
check_file(const char *path, const char *data, size_t len)
{
	static const size_t steps[] = { 65535, 1, 77 };
	struct found want;

	if (!is_message(data, len))
		return;
	oracle(data, len, &want);
	for (size_t i = 0; i < 3; i++) {
		struct found got;
		struct body *b = ours(data, len, steps[i], &got);

		if (body_error(b) != NULL) {
			refused += i == 0;
			if (i == 0)
				printf("  refused %s: %s\n", path,
				       body_error(b));
		} else if (!same(&want, &got) && !may_differ(path)) {
			printf("  DIFFERENT %s (step %zu)\n", path, steps[i]);
			show("oracle", &want);
			show("ours", &got);
			different += i == 0;
		}
		compared += i == 0;
		dynbuf_clear(&got.text);
		body_free(&b);
	}
	dynbuf_clear(&want.text);
	check_files(path, data, len);
}

static void
check_tree(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		char path[4096];
		struct stat st;
		gchar *data;
		gsize len;

		if (e->d_name[0] == '.' || strstr(e->d_name, "README") ||
		    strcmp(e->d_name, "SOURCE") == 0)
			continue;
		assert_true(snprintf(path, sizeof(path), "%s/%s", dir,
				     e->d_name) < (int)sizeof(path));
		assert_int_equal(stat(path, &st), 0);
		if (S_ISDIR(st.st_mode)) {
			check_tree(path);
		} else if (st.st_size < FILE_MAX &&
			   !g_str_has_suffix(path, ".json") &&
			   g_file_get_contents(path, &data, &len, NULL)) {
			check_file(path, data, len);
			g_free(data);
		}
	}
	(void)closedir(d);
}

static void
test_corpora(void **state)
{
	const char *dir = getenv("CORPORA");
	struct stat st;

	(void)state;
	if (dir == NULL || stat(dir, &st) != 0) {
		printf("CORPORA names no directory: nothing to compare with\n");
		return;
	}
	check_tree(dir);
	printf("%u messages compared, %u refused, %zu files\n", compared,
	       refused, files_compared);
	assert_int_equal(different, 0);
	assert_true(compared > 0);
}

static void
test_own_corpus(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat("tests/corpus", &st), 0);
	check_tree("tests/corpus");
	assert_int_equal(different, 0);
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
		cmocka_unit_test(test_corpora),
		cmocka_unit_test(test_own_corpus),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
