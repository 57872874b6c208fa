/* SPDX-License-Identifier: MIT */
/*
 * api_answer: what many APIs say in the same ways. Thread-safe; no state.
 */
#ifndef TXM_POLICY_API_ANSWER_H
#define TXM_POLICY_API_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

struct json_object;

/* The reason in an error document, made safe and cut; "" when there is none:
 * {"errors":[{"message":...}]} or {"errors":["..."]}, {"error":"..."} or
 * {"error":{"message":...}}, {"message":...}, {"detail":...},
 * {"description":...}, {"title":...}. */
void api_answer_words(const char *body, size_t len, char *text_r, size_t size);

/* A string or number of an object as text, "" when it is neither or does not
 * fit. */
void api_answer_id(const struct json_object *o, const char *name, char *id_r,
		   size_t size);

#endif
