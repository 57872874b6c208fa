/* SPDX-License-Identifier: MIT */
/*
 * json_schema: as much of JSON Schema as man/txmilter-message.schema.json
 * needs, for tests: type, const, enum, minLength, properties, required,
 * additionalProperties (false), items. A keyword that is neither one of these
 * nor a comment makes every document wrong, so that none is forgotten.
 */
#ifndef TXM_TESTS_JSON_SCHEMA_H
#define TXM_TESTS_JSON_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>

bool json_schema_holds(json_t *schema, json_t *value);

#endif
