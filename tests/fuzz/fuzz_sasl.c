/* SPDX-License-Identifier: MIT */
/*
 * Lines of the auth protocol, as many as the input has, to one connection.
 * A check ends at once, well or badly by turns.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "milter/sasl_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A reply is one line: only its last byte is a LF, no NUL before its end. */
static void
check_reply(const char *dst, int n)
{
	assert(n > 0 && n < SASL_REPLY_MAX);
	assert(strlen(dst) == (size_t)n);
	assert(strchr(dst, '\n') == dst + n - 1);
}

static void
check_secret(const struct sasl_request *r)
{
	assert(r->step == SASL_CHECKING);
	assert(r->secret_len > 0 && r->secret_len <= SASL_SECRET_MAX);
	assert(strlen(r->secret) == r->secret_len);
	for (size_t i = 0; i < r->secret_len; i++)
		assert((unsigned char)r->secret[i] >= ' ' &&
		       r->secret[i] != 0x7f);
}

static void
check_no_secret(const struct sasl_request *r)
{
	assert(r->secret_len == 0);
	for (size_t i = 0; i < sizeof(r->secret); i++)
		assert(r->secret[i] == '\0');
}

/* What an AUTH line leaves for the log. */
static void
check_client(const struct sasl_request *r)
{
	assert(r->mech != NULL);
	assert(memchr(r->client, '\0', sizeof(r->client)) != NULL);
	assert(r->client[0] != '\0');
	assert(strpbrk(r->client, " \t\r\n\"=") == NULL);
}

static void
check_line(struct sasl_request *r, const char *line, size_t len, int *good)
{
	char dst[SASL_REPLY_MAX];

	switch (sasl_line(r, line, len)) {
	case SASL_IGNORE:
		check_no_secret(r);
		break;
	case SASL_ASK:
		check_client(r);
		check_no_secret(r);
		check_reply(dst, sasl_reply_continue(dst, sizeof(dst), r));
		break;
	case SASL_CHECK:
		check_client(r);
		check_secret(r);
		*good = !*good;
		if (*good)
			check_reply(dst, sasl_reply_ok(dst, sizeof(dst), r->id,
						       "account:key"));
		else
			check_reply(dst, sasl_reply_fail(dst, sizeof(dst),
							 r->id, "wrong"));
		sasl_request_clear(r);
		break;
	case SASL_REFUSE:
		check_client(r);
		check_no_secret(r);
		assert(r->step == SASL_IDLE);
		check_reply(
		    dst, sasl_reply_fail(dst, sizeof(dst), r->id, r->reason));
		break;
	case SASL_HANGUP:
		check_no_secret(r);
		assert(r->step == SASL_IDLE);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sasl_request r = { 0 };
	int good = 0;

	while (size > 0) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end != NULL ? (size_t)(end - data) : size;
		char *line = malloc(len != 0 ? len : 1);

		assert(line != NULL);
		memcpy(line, data, len);
		check_line(&r, line, len, &good);
		free(line);
		data += len;
		size -= len;
		if (size > 0) {
			data++;
			size--;
		}
	}
	sasl_request_clear(&r);
	return 0;
}
