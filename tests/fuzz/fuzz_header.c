/* SPDX-License-Identifier: MIT */
/*
 * One header value, read by each of the functions that read header values.
 * What comes out is valid UTF-8 without control characters.
 */
#include <assert.h>
#include <gmime/gmime.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/address.h"
#include "policy/header_text.h"
#include "policy/json_text.h"
#include "policy/smtp_reply.h"
#include "policy/utf8.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_text(const char *s)
{
	size_t len = strlen(s);

	assert(utf8_valid_prefix(s, len) == len);
	assert(utf8_is_printable(s, len));
}

static void
check_trimmed(const char *s, size_t len)
{
	assert(len == 0 || (s[0] != ' ' && s[0] != '\t'));
	assert(len == 0 || (s[len - 1] != ' ' && s[len - 1] != '\t'));
}

static void
check_unfold(const char *raw, size_t len)
{
	size_t n;
	char *text = header_unfold(raw, len, &n);

	assert(n <= len && text[n] == '\0');
	check_trimmed(text, n);
	free(text);
}

static void
check_decoded(const char *raw, size_t len)
{
	char *text;

	switch (header_text(raw, len, &text)) {
	case HEADER_TEXT_OK:
		check_text(text);
		check_trimmed(text, strlen(text));
		free(text);
		break;
	case HEADER_TEXT_CONTROL:
		assert(text == NULL);
		break;
	default:
		abort();
	}
}

static void
check_names(const struct mailbox_list *list, const char *bare)
{
	static const char *const addrs[] = { "r@example.com", "", "x" };

	for (size_t i = 0; i < sizeof(addrs) / sizeof(addrs[0]); i++) {
		char *name = address_name_for(list, bare, addrs[i], i > 0);

		check_text(name);
		free(name);
	}
}

static void
check_mailboxes(const char *raw, size_t len)
{
	struct mailbox_list list;
	char *bare = address_bare_name(raw, len);

	check_text(bare);
	switch (mailbox_list_parse(raw, len, &list)) {
	case ADDRESS_OK:
		for (size_t i = 0; i < list.n; i++) {
			check_text(list.v[i].name);
			check_text(list.v[i].addr);
			assert(address_equal(list.v[i].addr, list.v[i].addr));
			(void)address_is_plain(list.v[i].addr);
		}
		check_names(&list, bare);
		break;
	case ADDRESS_TOO_MANY:
	case ADDRESS_CONTROL:
		assert(list.n == 0 && list.v == NULL);
		break;
	default:
		abort();
	}
	mailbox_list_clear(&list);
	assert(list.n == 0 && list.v == NULL);
	free(bare);
}

static void
check_json(const char *text, size_t len)
{
	char error[128] = "unset";
	const char *why = json_check_object(text, len, error, sizeof(error));
	json_t *root = json_loadb(text, len, JSON_DECODE_INT_AS_REAL, NULL);

	if (why == NULL)
		assert(json_is_object(root));
	else
		check_text(why);
	/* The other way round, but for the bound. */
	if (why != NULL && strstr(why, "deeper") == NULL)
		assert(!json_is_object(root));
	json_decref(root);
}

static void
check_reply_text(const char *text, size_t len)
{
	char small[9];
	char large[SMTP_REPLY_TEXT_MAX + 1];

	smtp_reply_safe_text(small, sizeof(small), text, len);
	check_text(small);
	smtp_reply_safe_text(large, sizeof(large), text, len);
	check_text(large);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	g_mime_init();
	json_text_init();
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Exact, so that a byte read behind it is seen. */
	char *raw = malloc(size != 0 ? size : 1);

	assert(raw != NULL);
	memcpy(raw, data, size);
	check_unfold(raw, size);
	check_decoded(raw, size);
	check_mailboxes(raw, size);
	check_json(raw, size);
	check_reply_text(raw, size);
	free(raw);
	return 0;
}
