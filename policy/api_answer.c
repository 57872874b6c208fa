/* SPDX-License-Identifier: MIT */
#include "api_answer.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "json_text.h"
#include "smtp_reply.h"

struct words {
	char *text;
	size_t size;
};

static bool
take(struct words *w, const char *s)
{
	if (*s == '\0')
		return false;
	smtp_reply_safe_text(w->text, w->size, s, strlen(s));
	return true;
}

static bool
take_member(struct words *w, const struct json_object *o, const char *name)
{
	const char *s = "";

	return json_object_string(o, name, &s) == JSON_FOUND && take(w, s);
}

/* The first that has any. */
static bool
take_any(struct words *w, const struct json_object *o)
{
	return take_member(w, o, "message") || take_member(w, o, "detail") ||
	       take_member(w, o, "description") || take_member(w, o, "title");
}

static bool
take_error(void *arg, const struct json_object *item)
{
	struct words *w = arg;

	if (*w->text == '\0')
		(void)take_any(w, item);
	return true;
}

static bool
take_string(void *arg, const char *s)
{
	struct words *w = arg;

	if (*w->text == '\0')
		(void)take(w, s);
	return true;
}

void
api_answer_words(const char *body, size_t len, char *text_r, size_t size)
{
	struct words w = { text_r, size };
	struct json_object *o = json_object_read(body, len);
	const struct json_object *error;

	text_r[0] = '\0';
	if (o == NULL)
		return;
	(void)json_object_items(o, "errors", take_error, &w);
	if (*text_r == '\0')
		(void)json_object_strings(o, "errors", take_string, &w);
	if (*text_r == '\0' &&
	    json_object_object(o, "error", &error) == JSON_FOUND)
		(void)take_any(&w, error);
	if (*text_r == '\0' && !take_member(&w, o, "error"))
		(void)take_any(&w, o);
	json_object_free(&o);
}

void
api_answer_id(const struct json_object *o, const char *name, char *id_r,
	      size_t size)
{
	const char *s = "";
	int64_t n;
	int len = 0;

	if (json_object_string(o, name, &s) == JSON_FOUND)
		len = snprintf(id_r, size, "%s", s);
	else if (json_object_int(o, name, &n) == JSON_FOUND)
		len = snprintf(id_r, size, "%" PRId64, n);
	if (len <= 0 || (size_t)len >= size)
		id_r[0] = '\0';
}
