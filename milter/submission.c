/* SPDX-License-Identifier: MIT */
#include "submission.h"

#include <stdlib.h>
#include <string.h>

#include "need.h"
#include "policy/outgoing.h"

static struct crypto_piece
piece(const char *text)
{
	return (struct crypto_piece){ text, text ? strlen(text) : 0 };
}

void
submission_id(const char *account, const struct outgoing *o,
	      uint8_t id_r[SUBMISSION_ID_LEN])
{
	const struct crypto_piece v[] = {
		piece(account),	       piece(o->message_id),
		piece(o->return_path), piece(o->from_name),
		piece(o->from_email),  piece(o->subject),
		piece(o->reply_to),    piece(o->tag),
		piece(o->template_id), piece(o->variables),
		piece(o->route_id),    { o->html, o->html ? o->html_len : 0 },
	};
	uint8_t hash[CRYPTO_HASH_LEN];

	if (o->message_id == NULL) {
		crypto_random(id_r, SUBMISSION_ID_LEN);
		return;
	}
	crypto_hash_pieces(v, sizeof(v) / sizeof(v[0]), hash);
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
	crypto_hash(o->html != NULL ? o->html : "", o->html_len, hash_r);
}
