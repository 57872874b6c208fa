/* SPDX-License-Identifier: MIT */
#include "mime_field.h"

#include <gmime/gmime.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "charset.h"
#include "header_text.h"
#include "mime_parameter.h"

static const struct {
	const char *name;
	enum mime_encoding encoding;
} encodings[] = {
	{ "", MIME_IDENTITY },
	{ "7bit", MIME_IDENTITY },
	{ "7-bit", MIME_IDENTITY },
	{ "8bit", MIME_IDENTITY },
	{ "8-bit", MIME_IDENTITY },
	{ "binary", MIME_IDENTITY },
	{ "base64", MIME_BASE64 },
	{ "quoted-printable", MIME_QUOTED_PRINTABLE },
};

static char *
copy(const char *s)
{
	char *c = strdup(s);

	if (c == NULL)
		abort();
	return c;
}

static char *
lower(const char *s)
{
	char *c = copy(s ? s : "");

	for (char *p = c; *p != '\0'; p++)
		*p = g_ascii_tolower(*p);
	return c;
}

static void
read_boundary(struct mime_type *t, const char *value)
{
	size_t n = strlen(value);

	/* A delimiter line is compared without trailing blanks. */
	while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
		n--;
	if (t->boundary != NULL &&
	    (strlen(t->boundary) != n || memcmp(t->boundary, value, n) != 0))
		t->boundaries_differ = true;
	if (t->boundary == NULL && n > 0) {
		t->boundary = strndup(value, n);
		if (t->boundary == NULL)
			abort();
	}
}

static void
read_parameter(struct mime_type *t, const char *name, const char *value)
{
	if (strcasecmp(name, "boundary") == 0)
		read_boundary(t, value);
	else if (strcasecmp(name, "charset") == 0 && t->charset == NULL)
		t->charset = copy(value);
	else if (strcasecmp(name, "format") == 0)
		t->flowed = strcasecmp(value, "flowed") == 0;
}

/* An extended parameter (RFC 2231) begins with a charset: name*=utf-8'en'x. */
static bool
has_good_charset(const char *parameter)
{
	size_t name = strcspn(parameter, "=");
	const char *charset = parameter + name + (parameter[name] == '=');
	size_t len;

	if (memchr(parameter, '*', name) == NULL)
		return true;
	charset += strspn(charset, " \t\"");
	len = strcspn(charset, "'");
	return charset[len] == '\0' || len == 0 ||
	       charset_is_known(charset, len);
}

static void
add_parameter(GString *out, const char *s, size_t len)
{
	static const char *const used[] = { "boundary", "charset", "format" };
	char *parameter = g_strndup(s, len);
	char *prepared = NULL;

	g_strstrip(parameter);
	for (size_t i = 0; i < sizeof(used) / sizeof(used[0]); i++) {
		if (g_ascii_strncasecmp(parameter, used[i], strlen(used[i])) ==
		    0)
			prepared = header_for_gmime(parameter);
	}
	if (prepared != NULL && has_good_charset(prepared))
		g_string_append_printf(out, "; %s", prepared);
	g_free(prepared);
	g_free(parameter);
}

/* Only the parameters that are used: what GMime does for the others (a name in
 * made-up charsets) costs time and memory that it never gives back. */
static char *
useful_parameters(const char *value)
{
	const char *end = mime_parameter_end(value);
	GString *out = g_string_new_len(value, end - value);

	while (*end == ';') {
		const char *s = end + 1;

		end = mime_parameter_end(s);
		add_parameter(out, s, (size_t)(end - s));
	}
	return g_string_free(out, FALSE);
}

void
mime_type_parse(const char *value, struct mime_type *type_r)
{
	char *useful = useful_parameters(value);
	GMimeContentType *ct = g_mime_content_type_parse(NULL, useful);
	GMimeParamList *params = g_mime_content_type_get_parameters(ct);
	int n = g_mime_param_list_length(params);

	*type_r = (struct mime_type){
		.type = lower(g_mime_content_type_get_media_type(ct)),
		.subtype = lower(g_mime_content_type_get_media_subtype(ct)),
	};
	for (int i = 0; i < n; i++) {
		GMimeParam *p = g_mime_param_list_get_parameter_at(params, i);
		const char *v = g_mime_param_get_value(p);

		read_parameter(type_r, g_mime_param_get_name(p), v ? v : "");
	}
	g_object_unref(ct);
	g_free(useful);
}

void
mime_type_clear(struct mime_type *t)
{
	free(t->type);
	free(t->subtype);
	free(t->charset);
	free(t->boundary);
	*t = (struct mime_type){ 0 };
}

/* The word of a disposition, free(); "" when there is none. */
static char *
disposition(const char *value)
{
	char *first = g_strndup(value, strcspn(value, ";"));
	GMimeContentDisposition *d =
	    g_mime_content_disposition_parse(NULL, first);
	char *word = lower(g_mime_content_disposition_get_disposition(d));

	g_object_unref(d);
	g_free(first);
	return word;
}

bool
mime_disposition_is_attachment(const char *value)
{
	char *word = disposition(value);
	bool attachment = *word != '\0' && strcmp(word, "inline") != 0;

	free(word);
	return attachment;
}

bool
mime_disposition_is_inline(const char *value)
{
	char *word = disposition(value);
	bool is_inline = strcmp(word, "inline") == 0;

	free(word);
	return is_inline;
}

/* Some mailers end the word with a semicolon or a comment. */
enum mime_encoding
mime_encoding_parse(const char *value)
{
	size_t n = strcspn(value, " \t;(");

	for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++) {
		if (strlen(encodings[i].name) == n &&
		    strncasecmp(value, encodings[i].name, n) == 0)
			return encodings[i].encoding;
	}
	return MIME_UNKNOWN_ENCODING;
}
