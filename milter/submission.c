/* SPDX-License-Identifier: MIT */
#include "submission.h"

#include <stdlib.h>
#include <string.h>

#include "need.h"
#include "policy/outgoing.h"

#define STRINGS_MAX 64
#define BODIES 3

static struct crypto_piece
piece(const char *text)
{
	return (struct crypto_piece){ text, text ? strlen(text) : 0 };
}

void
submission_id(const char *account, const struct outgoing *o,
	      uint8_t id_r[SUBMISSION_ID_LEN])
{
	uint8_t content[CRYPTO_HASH_LEN];
	unsigned char switches[STRINGS_MAX];
	struct crypto_piece v[STRINGS_MAX + 3];
	uint8_t hash[CRYPTO_HASH_LEN];
	size_t n = 0;

	if (o->message_id == NULL) {
		crypto_random(id_r, SUBMISSION_ID_LEN);
		return;
	}
	submission_content(o, content);
	v[n++] = piece(account);
	v[n++] = (struct crypto_piece){ content, sizeof(content) };
	for (size_t i = 0; i < outgoing_n_strings && i < STRINGS_MAX; i++)
		v[n++] = piece(outgoing_string(o, i));
	for (size_t i = 0; i < outgoing_n_switches && i < STRINGS_MAX; i++)
		switches[i] = (unsigned char)outgoing_switch_is(o, i);
	v[n++] = (struct crypto_piece){ switches, outgoing_n_switches };
	crypto_hash_pieces(v, n, hash);
	memcpy(id_r, hash, SUBMISSION_ID_LEN);
}

void
submission_key(const uint8_t id[SUBMISSION_ID_LEN], const char *email,
	       uint8_t key_r[SUBMISSION_KEY_LEN])
{
	char *lower = need(strdup(email));
	const struct crypto_piece v[] = {
		{ id, SUBMISSION_ID_LEN },
		{ lower, strlen(email) },
	};
	uint8_t hash[CRYPTO_HASH_LEN];

	for (char *p = strrchr(lower, '@'); p != NULL && *p != '\0'; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p += 'a' - 'A';
	}
	crypto_hash_pieces(v, 2, hash);
	memcpy(key_r, hash, SUBMISSION_KEY_LEN);
	free(lower);
}

void
submission_content(const struct outgoing *o, uint8_t hash_r[CRYPTO_HASH_LEN])
{
	size_t room = BODIES + 3 * o->n_files;
	struct crypto_piece *v = need(calloc(room, sizeof(*v)));
	size_t n = 0;

	v[n++] = (struct crypto_piece){ o->html, o->html_len };
	v[n++] = (struct crypto_piece){ o->text, o->text_len };
	v[n++] = (struct crypto_piece){ o->amp, o->amp_len };
	for (size_t i = 0; i < o->n_files; i++) {
		v[n++] = piece(o->files[i].name);
		v[n++] = piece(o->files[i].type);
		v[n++] =
		    (struct crypto_piece){ o->files[i].data, o->files[i].len };
	}
	crypto_hash_pieces(v, n, hash_r);
	free(v);
}
