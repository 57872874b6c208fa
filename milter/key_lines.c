/* SPDX-License-Identifier: MIT */
#include "key_lines.h"

#include <stdio.h>
#include <string.h>

#include "policy/account.h"
#include "policy/dynbuf.h"
#include "policy/hex_digit.h"
#include "policy/json_text.h"
#include "policy/utf8.h"

#define HEX_LEN (2 * CRYPTO_HASH_LEN)
/* The end of the year 9999. */
#define TIME_MAX INT64_C(253402300799)

#define N_ELEMENTS(v) (sizeof(v) / sizeof((v)[0]))

static const char *const status_words[] = {
	[KEYSTORE_ENABLED] = "enabled",
	[KEYSTORE_DISABLED] = "disabled",
};

static const char *
read_account(const struct json_object *o, struct key_line *line)
{
	static const char *const names[] = { "account",	       "disabled",
					     "dialect",	       "routes",
					     "default_route",  "senders",
					     "networks",       "rate",
					     "recipient_rate", "api_key" };
	const char *api_key = NULL;

	if (!json_object_has_only(o, names, N_ELEMENTS(names)))
		return "a member that an account does not have";
	line->account = account_from_object(o, "account");
	if (line->account == NULL)
		return "not a valid account";
	if (json_object_string(o, "api_key", &api_key) == JSON_OTHER_TYPE)
		return "api_key is not a string";
	if (api_key == NULL)
		return NULL;
	if (*api_key != '\0' && !key_is_plausible(api_key, strlen(api_key)))
		return "api_key is not 1 to 256 printable ASCII characters";
	line->has_api_key = true;
	(void)snprintf(line->api_key, sizeof(line->api_key), "%s", api_key);
	return NULL;
}

static bool
read_hex(const char *text, uint8_t hash_r[CRYPTO_HASH_LEN])
{
	if (strlen(text) != HEX_LEN)
		return false;
	for (size_t i = 0; i < CRYPTO_HASH_LEN; i++) {
		int high = hex_digit(text[2 * i]);
		int low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		hash_r[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static const char *
read_hash(const struct json_object *o, struct keystore_key *k)
{
	const char *key = NULL, *hash = NULL;

	if (json_object_string(o, "key", &key) == JSON_OTHER_TYPE ||
	    json_object_string(o, "sha256", &hash) == JSON_OTHER_TYPE ||
	    (key == NULL) == (hash == NULL))
		return "neither account, nor key, nor sha256, or two of them";
	if (hash != NULL && !read_hex(hash, k->hash))
		return "sha256 is not 64 hexadecimal digits";
	if (key != NULL && !key_is_plausible(key, strlen(key)))
		return "key is not 1 to 256 printable ASCII characters";
	if (key != NULL)
		crypto_hash(key, strlen(key), k->hash);
	crypto_base32(k->key_id, k->hash, KEY_ID_BYTES);
	return NULL;
}

static bool
read_time(const struct json_object *o, const char *name, int64_t *time_r)
{
	return json_object_int(o, name, time_r) != JSON_OTHER_TYPE &&
	       *time_r >= 0 && *time_r <= TIME_MAX;
}

static const char *
read_words(const struct json_object *o, struct keystore_key *k)
{
	const char *of = NULL, *label = "", *login = "";
	const char *status = status_words[0];

	if (json_object_string(o, "of", &of) != JSON_FOUND ||
	    !account_id_is_valid(of))
		return "of is not an account's id";
	(void)snprintf(k->account, sizeof(k->account), "%s", of);
	if (json_object_string(o, "label", &label) == JSON_OTHER_TYPE ||
	    !keystore_label_is_valid(label))
		return "label is not at most 128 bytes of printable text";
	(void)snprintf(k->label, sizeof(k->label), "%s", label);
	if (json_object_string(o, "login", &login) == JSON_OTHER_TYPE ||
	    !keystore_login_is_valid(login))
		return "login is not at most 128 bytes of printable text";
	(void)snprintf(k->login, sizeof(k->login), "%s", login);
	if (json_object_string(o, "status", &status) == JSON_OTHER_TYPE)
		return "status is not a string";
	for (size_t i = 0; i < N_ELEMENTS(status_words); i++) {
		k->status = (enum keystore_status)i;
		if (strcmp(status, status_words[i]) == 0)
			return NULL;
	}
	return "status is neither enabled nor disabled";
}

static const char *
read_key(const struct json_object *o, struct keystore_key *k)
{
	static const char *const names[] = {
		"key",	  "sha256",  "of",	   "label",  "login",
		"status", "created", "not_before", "expires"
	};
	const char *error = read_hash(o, k);

	if (error == NULL && !json_object_has_only(o, names, N_ELEMENTS(names)))
		error = "a member that a key does not have";
	if (error == NULL)
		error = read_words(o, k);
	if (error == NULL && !(read_time(o, "created", &k->created) &&
			       read_time(o, "not_before", &k->not_before) &&
			       read_time(o, "expires", &k->expires)))
		error = "a time is not a number of seconds since 1970";
	return error;
}

const char *
key_line_read(const char *text, size_t len, struct key_line *line_r)
{
	struct json_object *o = json_object_read(text, len);
	const char *error, *id = NULL;

	memset(line_r, 0, sizeof(*line_r));
	if (o == NULL)
		return "not a JSON object";
	if (json_object_string(o, "account", &id) == JSON_ABSENT)
		error = read_key(o, &line_r->key);
	else
		error = read_account(o, line_r);
	json_object_free(&o);
	return error;
}

void
key_line_clear(struct key_line *line)
{
	account_free(&line->account);
	crypto_wipe(line, sizeof(*line));
}

static bool
is_printable_text(const char *text, size_t max)
{
	size_t len = strlen(text);

	return len <= max && utf8_valid_prefix(text, len) == len &&
	       utf8_is_printable(text, len);
}

bool
keystore_label_is_valid(const char *label)
{
	return is_printable_text(label, KEYSTORE_LABEL_MAX);
}

bool
keystore_login_is_valid(const char *login)
{
	return is_printable_text(login, KEYSTORE_LOGIN_MAX);
}

static bool
add_time(struct dynbuf *out, const char *name, int64_t time)
{
	return time == 0 ||
	       dynbuf_addf(out, ",\"%s\":%lld", name, (long long)time);
}

bool
keystore_export_key(const struct keystore_key *k, struct dynbuf *out)
{
	char hash[HEX_LEN + 1];

	crypto_hex(hash, k->hash, CRYPTO_HASH_LEN);
	return dynbuf_adds(out, "{") && json_add_member(out, "sha256", hash) &&
	       json_add_member(out, "of", k->account) &&
	       (k->label[0] == '\0' ||
		json_add_member(out, "label", k->label)) &&
	       (k->login[0] == '\0' ||
		json_add_member(out, "login", k->login)) &&
	       json_add_member(out, "status", status_words[k->status]) &&
	       add_time(out, "created", k->created) &&
	       add_time(out, "not_before", k->not_before) &&
	       add_time(out, "expires", k->expires) && dynbuf_adds(out, "}\n");
}

bool
keystore_export_account(const struct account *a, struct dynbuf *out)
{
	return dynbuf_adds(out, "{") &&
	       account_add_members(a, "account", out) &&
	       dynbuf_adds(out, "}\n");
}
