/* SPDX-License-Identifier: MIT */
#include "json_schema.h"

#include <stddef.h>
#include <string.h>

static const char *
type_of(const json_t *v)
{
	static const struct {
		json_type type;
		const char *name;
	} names[] = {
		{ JSON_OBJECT, "object" }, { JSON_ARRAY, "array" },
		{ JSON_STRING, "string" }, { JSON_TRUE, "boolean" },
		{ JSON_FALSE, "boolean" }, { JSON_INTEGER, "number" },
		{ JSON_REAL, "number" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (json_typeof(v) == names[i].type)
			return names[i].name;
	}
	return "null";
}

static bool
is_in(const json_t *array, const json_t *v)
{
	size_t i;
	json_t *item;

	json_array_foreach(array, i, item)
	{
		if (json_equal(item, v))
			return true;
	}
	return false;
}

static bool
has_all(const json_t *names, const json_t *v)
{
	size_t i;
	json_t *name;

	json_array_foreach(names, i, name)
	{
		if (json_object_get(v, json_string_value(name)) == NULL)
			return false;
	}
	return true;
}

static bool
members_hold(const json_t *schemas, bool others, json_t *v)
{
	const char *name;
	json_t *member;

	json_object_foreach(v, name, member)
	{
		json_t *schema = json_object_get(schemas, name);

		if (schema == NULL ? !others
				   : !json_schema_holds(schema, member))
			return false;
	}
	return true;
}

static bool
items_hold(json_t *schema, json_t *v)
{
	size_t i;
	json_t *item;

	json_array_foreach(v, i, item)
	{
		if (!json_schema_holds(schema, item))
			return false;
	}
	return true;
}

static bool
keyword_holds(const char *key, json_t *rule, json_t *schema, json_t *v)
{
	if (strcmp(key, "type") == 0)
		return strcmp(json_string_value(rule), type_of(v)) == 0;
	if (strcmp(key, "const") == 0)
		return json_equal(rule, v);
	if (strcmp(key, "enum") == 0)
		return is_in(rule, v);
	if (strcmp(key, "minLength") == 0)
		return (json_int_t)json_string_length(v) >=
		       json_integer_value(rule);
	if (strcmp(key, "required") == 0)
		return has_all(rule, v);
	if (strcmp(key, "properties") == 0)
		return members_hold(
		    rule,
		    json_object_get(schema, "additionalProperties") == NULL, v);
	if (strcmp(key, "items") == 0)
		return items_hold(rule, v);
	return strcmp(key, "additionalProperties") == 0
		   ? json_is_false(rule)
		   : strcmp(key, "description") == 0 ||
			 strcmp(key, "title") == 0 ||
			 strcmp(key, "$schema") == 0 ||
			 strcmp(key, "contentEncoding") == 0;
}

bool
json_schema_holds(json_t *schema, json_t *value)
{
	const char *key;
	json_t *rule;

	json_object_foreach(schema, key, rule)
	{
		if (!keyword_holds(key, rule, schema, value))
			return false;
	}
	return true;
}
