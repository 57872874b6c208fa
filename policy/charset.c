/* SPDX-License-Identifier: MIT */
#include "charset.h"

#include <errno.h>
#include <glib.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "dynbuf.h"
#include "utf8.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Labels that hold something else in practice, as browsers know (WHATWG
 * Encoding Standard, section 4.2); read with what windows-1252 adds. */
static const char *const read_as_1252[] = { "us-ascii",	    "ascii",
					    "iso-8859-1",   "iso8859-1",
					    "latin1",	    "l1",
					    "windows-1252", "cp1252" };

static const char *const utf8_labels[] = { "utf-8", "utf8", "unicode-1-1-utf-8",
					   "utf-8;" };

/* Names that mail uses and iconv does not know. */
static const struct {
	const char *label;
	const char *name;
} aliases[] = {
	{ "ks_c_5601-1987", "CP949" },
	{ "ks_c_5601", "CP949" },
	{ "iso-8859-8-i", "ISO-8859-8" },
	{ "iso-8859-6-i", "ISO-8859-6" },
	{ "x-sjis", "CP932" },
	{ "windows-31j", "CP932" },
	{ "x-euc-jp", "EUC-JP" },
	{ "x-gbk", "GBK" },
	{ "x-mac-roman", "MACINTOSH" },
	{ "cp-850", "CP850" },
	{ "unicode-1-1-utf-7", "UTF-7" },
	{ "ansi-x3.4-1968", "US-ASCII" },
};

/* iconv's own names are shorter. */
#define LABEL_MAX 40

static bool
is_one_of(const char *label, const char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcasecmp(label, v[i]) == 0)
			return true;
	}
	return false;
}

#define IS_ONE_OF(label, v) is_one_of(label, v, sizeof(v) / sizeof((v)[0]))

static void
drop_bom(struct dynbuf *text)
{
	if (text->len < 3 || memcmp(text->data, "\xef\xbb\xbf", 3) != 0)
		return;
	memmove(text->data, text->data + 3, text->len - 3);
	dynbuf_truncate(text, text->len - 3);
}

/* Copies to `out`, with U+FFFD where the bytes are not UTF-8. */
static bool
repair_utf8(struct dynbuf *out, const char *s, size_t len, bool *replaced_r)
{
	while (len > 0) {
		size_t n = utf8_valid_prefix(s, len);

		if (!dynbuf_add(out, s, n))
			return false;
		if (n == len)
			break;
		*replaced_r = true;
		if (!dynbuf_add(out, replacement, 3))
			return false;
		s += n + 1;
		len -= n + 1;
	}
	return true;
}

static enum charset_result
from_utf8(struct dynbuf *text, bool *replaced_r)
{
	struct dynbuf out;

	drop_bom(text);
	if (utf8_valid_prefix(dynbuf_str(text), text->len) == text->len)
		return CHARSET_OK;
	dynbuf_init(&out, text->max);
	if (!repair_utf8(&out, text->data, text->len, replaced_r)) {
		dynbuf_clear(&out);
		return CHARSET_TOO_LARGE;
	}
	dynbuf_clear(text);
	*text = out;
	return CHARSET_OK;
}

/* One call of iconv: what fits into the next 4 kB of out. */
#define STEP 4096

static enum charset_result
convert(GIConv cd, struct dynbuf *out, char *s, size_t len, bool *replaced_r)
{
	unsigned wrong = 0;
	bool flushed = false;

	while (len > 0 || !flushed) {
		char *dst = dynbuf_room(out, STEP);
		gsize room = STEP;
		gsize r;

		if (dst == NULL)
			return CHARSET_TOO_LARGE;
		/* Some charsets keep a letter back for an accent to come. */
		flushed = len == 0;
		r = g_iconv(cd, flushed ? NULL : &s, flushed ? NULL : &len,
			    &dst, &room);
		dynbuf_grown(out, STEP - room);
		if (r != (gsize)-1 || errno == E2BIG || flushed)
			continue;
		/* EILSEQ, or EINVAL: the text ends within a character. */
		if (++wrong > CHARSET_REPLACED_MAX)
			return CHARSET_WRONG;
		*replaced_r = true;
		if (!dynbuf_add(out, replacement, 3))
			return CHARSET_TOO_LARGE;
		s++;
		len--;
	}
	return CHARSET_OK;
}

static enum charset_result
from_iconv(GIConv cd, struct dynbuf *text, bool *replaced_r)
{
	enum charset_result result;
	struct dynbuf out;

	/* A step's room is asked for whole, so the bound has one more. */
	dynbuf_init(&out, text->max + STEP);
	result = convert(cd, &out, text->data, text->len, replaced_r);
	g_iconv_close(cd);
	if (result == CHARSET_OK && out.len > text->max)
		result = CHARSET_TOO_LARGE;
	if (result != CHARSET_OK) {
		dynbuf_clear(&out);
		return result;
	}
	out.max = text->max;
	dynbuf_clear(text);
	*text = out;
	/* iconv may say what no UTF-8 is allowed to (surrogates, a BOM). */
	return from_utf8(text, replaced_r);
}

static bool
is_utf8(const struct dynbuf *text)
{
	return utf8_valid_prefix(dynbuf_str(text), text->len) == text->len;
}

/* Glibc takes "" for the locale's charset, and "//" begins its options. */
static bool
is_label(const char *label, size_t len)
{
	if (len == 0 || len > LABEL_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!g_ascii_isalnum(label[i]) &&
		    memchr("-_.:+()", label[i], 7) == NULL)
			return false;
	}
	return true;
}

static GIConv
open_label(const char *label, size_t len)
{
	char name[LABEL_MAX + 1];

	if (!is_label(label, len))
		return (GIConv)-1;
	memcpy(name, label, len);
	name[len] = '\0';
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
		if (strcasecmp(name, aliases[i].label) == 0)
			return g_iconv_open("UTF-8", aliases[i].name);
	}
	return g_iconv_open("UTF-8", name);
}

bool
charset_is_known(const char *label, size_t len)
{
	GIConv cd = open_label(label, len);

	if (cd == (GIConv)-1)
		return false;
	g_iconv_close(cd);
	return true;
}

enum charset_result
charset_to_utf8(struct dynbuf *text, const char *label, bool *replaced_r)
{
	bool missing = label == NULL || *label == '\0';
	GIConv cd;

	*replaced_r = false;
	if (text->len == 0)
		return CHARSET_OK;
	if (!missing && IS_ONE_OF(label, utf8_labels))
		return from_utf8(text, replaced_r);
	if (missing || IS_ONE_OF(label, read_as_1252)) {
		if (utf8_is_ascii(text->data, text->len))
			return CHARSET_OK;
		if ((missing || strcasecmp(label, "us-ascii") == 0) &&
		    is_utf8(text))
			return from_utf8(text, replaced_r);
		label = "windows-1252";
	}
	cd = open_label(label, strlen(label));
	if (cd == (GIConv)-1)
		return utf8_is_ascii(text->data, text->len) ? CHARSET_OK
							    : CHARSET_UNKNOWN;
	return from_iconv(cd, text, replaced_r);
}
