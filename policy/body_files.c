/* SPDX-License-Identifier: MIT */
#include "body_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "body.h"
#include "body_decoder.h"
#include "body_text.h"
#include "dynbuf.h"
#include "file_name.h"
#include "mime.h"

struct body_files {
	struct body_file *files;
	size_t n, room;
	size_t bytes;	    /* of all that are complete */
	struct dynbuf data; /* of the open one */
	bool may_be_blank;  /* the open one is dropped then */
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

static char *
name_for(const struct mime_part *part, size_t number)
{
	char *name = mime_file_name(part);
	char made_up[64];

	if (name != NULL && file_name_make_safe(name, BODY_FILE_NAME_MAX))
		return name;
	free(name);
	(void)snprintf(made_up, sizeof(made_up), "attachment-%zu.%s", number,
		       file_name_ending(part->type, part->subtype));
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
	file_name_printable(id);
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

/* The rest of its header would be read as the file. */
static bool
is_broken(const struct mime_part *part)
{
	return part->broken &&
	       (part->type_field != NULL || part->disposition_field != NULL ||
		part->encoding != MIME_IDENTITY);
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
	if (is_broken(part)) {
		*why_r = "A part's header has a line that is no header";
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

static bool
end_file(struct body_files *f)
{
	struct body_file *file = &f->files[f->n - 1];

	if (f->may_be_blank && body_text_is_blank(&f->data)) {
		dynbuf_clear(&f->data);
		file_clear(file);
		f->n--;
		return false;
	}
	f->bytes += f->data.len;
	file->data = dynbuf_steal(&f->data, &file->len);
	return true;
}

bool
body_files_end(struct body_files *f, struct body_decoder *decoder, bool *kept_r)
{
	if (!body_decoder_end(decoder, &f->data))
		return false;
	*kept_r = end_file(f);
	return true;
}

bool
body_files_put(struct body_files *f, const char *data, size_t len, bool *kept_r)
{
	if (len > BODY_FILES_MAX - f->bytes || !dynbuf_add(&f->data, data, len))
		return false;
	*kept_r = end_file(f);
	return true;
}

size_t
body_files_last(const struct body_files *f)
{
	return f->n - 1;
}

void
body_files_remove(struct body_files *f, size_t i)
{
	f->bytes -= f->files[i].len;
	file_clear(&f->files[i]);
	f->n--;
	memmove(&f->files[i], &f->files[i + 1],
		(f->n - i) * sizeof(f->files[0]));
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
