/* SPDX-License-Identifier: MIT */
#include "plan_seal.h"

#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "need.h"
#include "policy/dynbuf.h"
#include "policy/requeue.h"

#define CONTEXT "plan"
#define COLUMNS 76
#define NAME_LEN (sizeof(REQUEUE_PLAN_HEADER ": ") - 1)
#define VALUE_MAX (PLAN_HEADER_MAX - NAME_LEN)

/* One header's share of the text; how much that is. */
static size_t
fill_header(struct dynbuf *value, const char *text, size_t len)
{
	size_t line = COLUMNS - NAME_LEN;
	size_t done = 0;

	while (done < len) {
		size_t n = len - done < line ? len - done : line;

		if (value->len + 2 + n > VALUE_MAX)
			break;
		if (done > 0)
			dynbuf_adds(value, "\n ");
		dynbuf_add(value, text + done, n);
		done += n;
		line = COLUMNS - 1;
	}
	return done;
}

static void
give_headers(const char *text, plan_header_fn *fn, void *arg)
{
	size_t len = strlen(text);
	DYNBUF_AUTO value;

	dynbuf_init(&value, VALUE_MAX);
	while (len > 0) {
		size_t n = fill_header(&value, text, len);

		fn(arg, dynbuf_str(&value));
		dynbuf_truncate(&value, 0);
		text += n;
		len -= n;
	}
}

void
plan_seal(const struct crypto_seal *s, const char *plan, size_t len,
	  plan_header_fn *fn, void *arg)
{
	size_t sealed_len = len + CRYPTO_SEAL_OVERHEAD;
	uint8_t *sealed = need(malloc(sealed_len));
	char *text = need(malloc(CRYPTO_BASE64_LEN(sealed_len) + 1));

	crypto_seal(s, CONTEXT, plan, len, sealed);
	crypto_base64(text, sealed, sealed_len);
	free(sealed);
	give_headers(text, fn, arg);
	free(text);
}

static bool
unseal(const struct crypto_seal *s, const uint8_t *sealed, size_t len,
       struct dynbuf *plan_r)
{
	size_t plain_len;
	char *room;

	if (len < CRYPTO_SEAL_OVERHEAD)
		return false;
	plain_len = len - CRYPTO_SEAL_OVERHEAD;
	room = dynbuf_room(plan_r, plain_len);
	if (room == NULL || crypto_unseal(s, CONTEXT, sealed, len, room) != 0)
		return false;
	dynbuf_grown(plan_r, plain_len);
	return true;
}

bool
plan_unseal(const struct crypto_seal *s, const char *values, size_t len,
	    struct dynbuf *plan_r)
{
	uint8_t *sealed;
	size_t sealed_len;
	bool ok;

	if (len > PLAN_HEADERS_MAX)
		return false;
	sealed = need(malloc(CRYPTO_UNBASE64_MAX(len) + 1));
	ok = crypto_unbase64(sealed, values, len, &sealed_len) &&
	     unseal(s, sealed, sealed_len, plan_r);
	free(sealed);
	return ok;
}
