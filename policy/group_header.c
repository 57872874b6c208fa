/* SPDX-License-Identifier: MIT */
#include "group_header.h"

#include <stdlib.h>
#include <string.h>

#include "dialect.h"
#include "header_text.h"
#include "json_text.h"
#include "outgoing.h"
#include "utf8.h"

static const struct header_rule rules[] = { GROUP_HEADER_RULES };

bool
group_header_is(const char *name)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (header_name_matches(rules[i].name, name))
			return true;
	}
	return false;
}

static void
set_group(struct outgoing *o, const char *name, const char *text, size_t len)
{
	while (len > 0 && *text == ' ') {
		text++;
		len--;
	}
	while (len > 0 && text[len - 1] == ' ')
		len--;
	if (len == 0 || !utf8_is_printable(text, len) ||
	    utf8_count(text, len) > GROUP_NAME_MAX)
		return;
	o->tag = strndup(text, len);
	if (o->tag == NULL)
		abort();
	o->asked[FEATURE_TAG] = name;
	o->wished[FEATURE_TAG] = true;
}

/* The decoded value, free(); NULL: there is none, or it does not matter. */
static char *
text_of(const struct reading *r, const char *value, size_t len)
{
	char *text = NULL;

	if (value != NULL && r->outgoing->tag == NULL)
		(void)header_text(value, len, &text);
	return text;
}

bool
group_header_one(struct reading *r, const char *name, const char *value,
		 size_t len)
{
	char *text = text_of(r, value, len);

	if (text != NULL)
		set_group(r->outgoing, name, text, strlen(text));
	free(text);
	return true;
}

bool
group_header_list(struct reading *r, const char *name, const char *value,
		  size_t len)
{
	char *text = text_of(r, value, len);

	if (text != NULL)
		set_group(r->outgoing, name, text, strcspn(text, ","));
	free(text);
	return true;
}

/* Whatever it is, there is no other to look at. */
static bool
take_first(void *arg, const char *s, const struct json_object *item)
{
	const char **first = arg;

	(void)item;
	*first = s;
	return false;
}

bool
group_header_json(struct reading *r, const char *name, const char *value,
		  size_t len)
{
	char *text = text_of(r, value, len);
	struct json_object *o = NULL;
	const char *first = NULL;
	char error[64];

	if (text != NULL)
		o = json_object_parse(text, strlen(text), error, sizeof(error));
	if (o != NULL &&
	    json_object_string(o, "category", &first) == JSON_OTHER_TYPE)
		(void)json_object_array(o, "category", take_first, &first);
	if (first != NULL)
		set_group(r->outgoing, name, first, strlen(first));
	json_object_free(&o);
	free(text);
	return true;
}
