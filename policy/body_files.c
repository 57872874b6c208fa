/* SPDX-License-Identifier: MIT */
#include "body_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "body.h"
#include "body_decoder.h"
#include "body_text.h"
#include "dynbuf.h"
#include "mime.h"
#include "utf8.h"

/* An ending as long as this is kept when a name is cut. */
#define ENDING_MAX 16

struct body_files {
	struct body_file *files;
	size_t n, room;
	size_t bytes;	    /* of all that are complete */
	struct dynbuf data; /* of the open one */
	bool may_be_blank;  /* the open one is dropped then */
};

/* What a file without a name is called, by its type. */
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

struct body_files *
body_files_new(void)
{
	struct body_files *f = calloc(1, sizeof(*f));

	if (f == NULL)
		abort();
	return f;
}

static void
file_clear(struct body_file *f)
{
	free(f->name);
	free(f->type);
	free(f->content_id);
	free(f->data);
}

void
body_files_free(struct body_file **files, size_t n)
{
	for (size_t i = 0; i < n; i++)
		file_clear(&(*files)[i]);
	free(*files);
	*files = NULL;
}

void
body_files_delete(struct body_files **fp)
{
	struct body_files *f = *fp;

	if (f == NULL)
		return;
	body_files_free(&f->files, f->n);
	dynbuf_clear(&f->data);
	free(f);
	*fp = NULL;
}

/* --- what a file is called -------------------------------------------------
 */

static char *
must(char *s)
{
	if (s == NULL)
		abort();
	return s;
}

static bool
is_separator(char c)
{
	return c == '/' || c == '\\';
}

/* Bytes of the character at s, and whether it may stand in a name. */
static size_t
char_at(const char *s, size_t len, bool *good_r)
{
	size_t n = utf8_char_len(s, len);

	*good_r = n > 0 && utf8_is_printable(s, n);
	return n > 0 ? n : 1;
}

/* In place: without control characters, a low line for a path separator, no
 * blanks at its ends. */
static void
clean(char *s)
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
		if (is_separator(s[n]))
			s[n] = '_';
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

/* Its end stays: a name must not lose the ending that says what it is. */
static void
cut(char *s)
{
	size_t len = strlen(s);
	const char *dot = strrchr(s, '.');
	size_t ending = dot != NULL ? len - (size_t)(dot - s) : 0;
	size_t stem;

	if (len <= BODY_FILE_NAME_MAX)
		return;
	if (ending > ENDING_MAX)
		ending = 0;
	stem = whole_chars(s, BODY_FILE_NAME_MAX - ending);
	memmove(s + stem, s + len - ending, ending + 1);
}

/* "." and ".." are directories. */
static bool
is_name(const char *s)
{
	return s[strspn(s, ".")] != '\0';
}

static const char *
ending_for(const struct mime_part *part)
{
	size_t n = strlen(part->type);

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		const char *type = endings[i].type;

		if (strncmp(type, part->type, n) == 0 && type[n] == '/' &&
		    strcmp(type + n + 1, part->subtype) == 0)
			return endings[i].ending;
	}
	return strcmp(part->type, "text") == 0 ? "txt" : "bin";
}

static char *
name_for(const struct mime_part *part, size_t number)
{
	char *name = mime_file_name(part);
	char made_up[64];

	if (name != NULL) {
		clean(name);
		cut(name);
		if (is_name(name))
			return name;
		free(name);
	}
	(void)snprintf(made_up, sizeof(made_up), "attachment-%zu.%s", number,
		       ending_for(part));
	return must(strdup(made_up));
}

/* --- its type --------------------------------------------------------------
 */

/* RFC 2045, section 5.1. */
static bool
is_token(const char *s)
{
	static const char token[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789!#$%&'*+-.^_`{|}~";

	return *s != '\0' && s[strspn(s, token)] == '\0';
}

/* A value that is no token is no charset and no method either. */
static void
add_parameter(struct dynbuf *out, const char *name, const char *value)
{
	if (value != NULL && is_token(value))
		(void)dynbuf_addf(out, "; %s=%s", name, value);
}

static char *
type_for(const struct mime_part *part)
{
	DYNBUF_AUTO out;
	size_t len;

	dynbuf_init(&out, 2 * MIME_FIELD_MAX);
	if (is_token(part->type) && is_token(part->subtype)) {
		char *method = mime_method(part);

		(void)dynbuf_addf(&out, "%s/%s", part->type, part->subtype);
		add_parameter(&out, "charset", part->charset);
		add_parameter(&out, "method", method);
		free(method);
	} else {
		(void)dynbuf_adds(&out, "application/octet-stream");
	}
	return dynbuf_steal(&out, &len);
}

/* --- its Content-ID --------------------------------------------------------
 */

/* "<id>" (RFC 2045, section 7), and what is written instead. */
static char *
id_for(const struct mime_part *part)
{
	const char *s = part->id_field;
	char *id;

	if (s == NULL)
		return NULL;
	s += strspn(s, " \t<");
	id = must(strndup(s, strcspn(s, ">")));
	clean(id);
	if (*id != '\0')
		return id;
	free(id);
	return NULL;
}

/* --- parts -----------------------------------------------------------------
 */

static bool
is_text(const struct mime_part *part)
{
	return strcmp(part->type, "text") == 0;
}

/* The kinds that are bodies when there is something to read in them. */
static bool
is_body_text(const struct mime_part *part)
{
	return is_text(part) && !part->attachment &&
	       (strcmp(part->subtype, "plain") == 0 ||
		strcmp(part->subtype, "html") == 0 ||
		strcmp(part->subtype, "x-amp-html") == 0);
}

static struct body_file *
grow(struct body_files *f)
{
	if (f->n == f->room) {
		f->room = f->room != 0 ? 2 * f->room : 4;
		f->files = reallocarray(f->files, f->room, sizeof(f->files[0]));
		if (f->files == NULL)
			abort();
	}
	return &f->files[f->n++];
}

bool
body_files_begin(struct body_files *f, const struct mime_part *part,
		 const char **why_r)
{
	struct body_file *file;

	if (part->encoding == MIME_UNKNOWN_ENCODING) {
		*why_r = "Content-Transfer-Encoding: not a known encoding";
		return false;
	}
	file = grow(f);
	*file = (struct body_file){
		.name = name_for(part, f->n),
		.type = type_for(part),
		.content_id = id_for(part),
	};
	file->is_inline = (file->content_id != NULL && part->related) ||
			  (mime_is_inline(part) && !is_text(part));
	f->may_be_blank = is_body_text(part);
	dynbuf_init(&f->data, BODY_FILES_MAX - f->bytes + BODY_DECODER_ROOM);
	if (file->content_id == NULL ||
	    strlen(file->content_id) <= BODY_CONTENT_ID_MAX)
		return true;
	*why_r = "Content-ID: longer than 255 bytes";
	return false;
}

bool
body_files_add(struct body_files *f, struct body_decoder *decoder,
	       const char *data, size_t len)
{
	return body_decoder_add(decoder, data, len, &f->data);
}

bool
body_files_end(struct body_files *f, struct body_decoder *decoder, bool *kept_r)
{
	struct body_file *file = &f->files[f->n - 1];

	*kept_r = true;
	if (!body_decoder_end(decoder, &f->data))
		return false;
	if (f->may_be_blank && body_text_is_blank(&f->data)) {
		dynbuf_clear(&f->data);
		file_clear(file);
		f->n--;
		*kept_r = false;
		return true;
	}
	f->bytes += f->data.len;
	file->data = dynbuf_steal(&f->data, &file->len);
	return true;
}

size_t
body_files_take(struct body_files *f, struct body_file **files_r)
{
	size_t n = f->n;

	*files_r = f->files;
	f->files = NULL;
	f->n = 0;
	f->room = 0;
	return n;
}
