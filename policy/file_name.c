/* SPDX-License-Identifier: MIT */
#include "file_name.h"

#include <string.h>

#include "text_char.h"
#include "utf8.h"

/* What is longer behind the last dot is no ending. */
#define ENDING_MAX 16

static const struct {
	const char *type;
	const char *ending;
} endings[] = {
	{ "application/gzip", "gz" },
	{ "application/json", "json" },
	{ "application/msword", "doc" },
	{ "application/pdf", "pdf" },
	{ "application/pgp-signature", "asc" },
	{ "application/pkcs7-mime", "p7m" },
	{ "application/pkcs7-signature", "p7s" },
	{ "application/rtf", "rtf" },
	{ "application/vnd.ms-excel", "xls" },
	{ "application/vnd.ms-powerpoint", "ppt" },
	{ "application/vnd.openxmlformats-officedocument."
	  "presentationml.presentation",
	  "pptx" },
	{ "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	  "xlsx" },
	{ "application/vnd.openxmlformats-officedocument."
	  "wordprocessingml.document",
	  "docx" },
	{ "application/x-pkcs7-mime", "p7m" },
	{ "application/x-pkcs7-signature", "p7s" },
	{ "application/xml", "xml" },
	{ "application/zip", "zip" },
	{ "audio/mpeg", "mp3" },
	{ "image/bmp", "bmp" },
	{ "image/gif", "gif" },
	{ "image/jpeg", "jpg" },
	{ "image/jpg", "jpg" },
	{ "image/png", "png" },
	{ "image/svg+xml", "svg" },
	{ "image/tiff", "tif" },
	{ "image/webp", "webp" },
	{ "message/delivery-status", "txt" },
	{ "message/global", "eml" },
	{ "message/rfc822", "eml" },
	{ "text/calendar", "ics" },
	{ "text/csv", "csv" },
	{ "text/html", "html" },
	{ "text/plain", "txt" },
	{ "text/rtf", "rtf" },
	{ "text/vcard", "vcf" },
	{ "text/x-amp-html", "html" },
	{ "text/x-vcard", "vcf" },
	{ "text/xml", "xml" },
	{ "video/mp4", "mp4" },
};

/* Bytes of the character at s, and whether it may stand in a name. */
static size_t
char_at(const char *s, size_t len, bool *good_r)
{
	size_t n = utf8_char_len(s, len);

	*good_r = n > 0 && utf8_is_printable(s, n) &&
		  !text_char_is_invisible(utf8_code(s, n));
	return n > 0 ? n : 1;
}

void
file_name_printable(char *s)
{
	size_t len = strlen(s);
	size_t n = 0;

	for (size_t i = 0, k; i < len; i += k) {
		bool good;

		if (s[i] == '\t')
			s[i] = ' ';
		k = char_at(s + i, len - i, &good);
		if (!good || (n == 0 && s[i] == ' '))
			continue;
		memmove(s + n, s + i, k);
		n += k;
	}
	while (n > 0 && s[n - 1] == ' ')
		n--;
	s[n] = '\0';
}

/* Where a cut at n falls between two characters. */
static size_t
whole_chars(const char *s, size_t n)
{
	while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
		n--;
	return n;
}

static void
cut(char *s, size_t max)
{
	size_t len = strlen(s);
	const char *dot = strrchr(s, '.');
	size_t ending = dot != NULL ? len - (size_t)(dot - s) : 0;
	size_t stem;

	if (len <= max)
		return;
	if (ending > ENDING_MAX)
		ending = 0;
	stem = whole_chars(s, max - ending);
	memmove(s + stem, s + len - ending, ending + 1);
}

/* "." and ".." are directories. */
static bool
is_name(const char *s)
{
	return s[strspn(s, ".")] != '\0';
}

bool
file_name_make_safe(char *name, size_t max)
{
	file_name_printable(name);
	for (char *p = name; *p != '\0'; p++) {
		if (*p == '/' || *p == '\\')
			*p = '_';
	}
	cut(name, max);
	return is_name(name);
}

const char *
file_name_ending(const char *type, const char *subtype)
{
	size_t n = strlen(type);

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		const char *known = endings[i].type;

		if (strncmp(known, type, n) == 0 && known[n] == '/' &&
		    strcmp(known + n + 1, subtype) == 0)
			return endings[i].ending;
	}
	return strcmp(type, "text") == 0 ? "txt" : "bin";
}
