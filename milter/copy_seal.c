/* SPDX-License-Identifier: MIT */
#include "copy_seal.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "need.h"
#include "policy/dynbuf.h"
#include "policy/json_text.h"

#define CONTEXT "copy"
#define COLUMNS 76

static char *
fold(const char *text)
{
	struct dynbuf value;
	size_t len = strlen(text);
	size_t unused;

	dynbuf_init(&value, 2 * len + 1);
	for (size_t at = 0; at < len; at += COLUMNS) {
		size_t n = len - at < COLUMNS ? len - at : COLUMNS;

		dynbuf_adds(&value, "\n ");
		dynbuf_add(&value, text + at, n);
	}
	return dynbuf_steal(&value, &unused);
}

/* Each byte of an address may be escaped; who reads it has COPY_SEAL_MAX. */
char *
copy_seal(const struct crypto_seal *seal, const struct copy_ticket *t)
{
	DYNBUF_AUTO json;
	uint8_t *sealed;
	size_t len;
	char *text, *value;

	dynbuf_init(&json, COPY_SEAL_MAX);
	dynbuf_adds(&json, "{");
	(void)json_add_member(&json, "transport", t->transport);
	(void)json_add_member(&json, "sender", t->sender);
	(void)json_add_member(&json, "recipient", t->recipient);
	(void)json_add_member(&json, "key", t->key);
	(void)json_add_member(&json, "id", t->id);
	(void)dynbuf_addf(&json, ",\"made\":%lld}", (long long)t->made);
	len = json.len + CRYPTO_SEAL_OVERHEAD;
	sealed = need(malloc(len));
	text = need(malloc(CRYPTO_BASE64_LEN(len) + 1));
	crypto_seal(seal, CONTEXT, dynbuf_str(&json), json.len, sealed);
	crypto_base64(text, sealed, len);
	value = fold(text);
	free(text);
	free(sealed);
	return value;
}

static bool
open_seal(const struct crypto_seal *seal, const char *value, size_t len,
	  struct dynbuf *json)
{
	uint8_t *sealed = need(malloc(CRYPTO_UNBASE64_MAX(len) + 1));
	size_t n;
	bool ok =
	    crypto_unbase64(sealed, value, len, &n) && n > CRYPTO_SEAL_OVERHEAD;
	char *room = ok ? dynbuf_room(json, n - CRYPTO_SEAL_OVERHEAD) : NULL;

	ok = room != NULL && crypto_unseal(seal, CONTEXT, sealed, n, room) == 0;
	if (ok)
		dynbuf_grown(json, n - CRYPTO_SEAL_OVERHEAD);
	free(sealed);
	return ok;
}

static bool
read_string(const struct json_object *json, const char *name, char **at)
{
	const char *value;

	if (json_object_string(json, name, &value) != JSON_FOUND)
		return false;
	*at = need(strdup(value));
	return true;
}

static bool
read_ticket(const struct json_object *json, struct copy_ticket *t)
{
	const char *key, *id;

	if (!read_string(json, "transport", &t->transport) ||
	    !read_string(json, "sender", &t->sender) ||
	    !read_string(json, "recipient", &t->recipient) ||
	    json_object_int(json, "made", &t->made) != JSON_FOUND ||
	    json_object_string(json, "key", &key) != JSON_FOUND ||
	    json_object_string(json, "id", &id) != JSON_FOUND)
		return false;
	(void)snprintf(t->key, sizeof(t->key), "%s", key);
	(void)snprintf(t->id, sizeof(t->id), "%s", id);
	return true;
}

/* The clock may have gone back a little since. */
static bool
is_of_now(const struct copy_ticket *t, int64_t now)
{
	return t->made <= now + COPY_SEAL_VALID &&
	       t->made >= now - COPY_SEAL_VALID;
}

const char *
copy_unseal(const struct crypto_seal *seal, const char *value, size_t len,
	    int64_t now, struct copy_ticket *t_r)
{
	struct json_object *object;
	const char *why = NULL;
	DYNBUF_AUTO json;

	*t_r = (struct copy_ticket){ 0 };
	dynbuf_init(&json, COPY_SEAL_MAX);
	if (len > COPY_SEAL_MAX || !open_seal(seal, value, len, &json))
		return "its seal is not ours";
	object = json_object_read(json.data, json.len);
	if (object == NULL || !read_ticket(object, t_r))
		why = "it cannot be read";
	else if (!is_of_now(t_r, now))
		why = "it is too old";
	json_object_free(&object);
	if (why != NULL)
		copy_ticket_clear(t_r);
	return why;
}

void
copy_ticket_clear(struct copy_ticket *t)
{
	free(t->transport);
	free(t->sender);
	free(t->recipient);
	*t = (struct copy_ticket){ 0 };
}
