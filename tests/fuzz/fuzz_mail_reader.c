/* SPDX-License-Identifier: MIT */
/*
 * A message, whole, in odd pieces and byte by byte: what is said must be the
 * same. And it must be what the message holds: no more bytes than came in,
 * the body its end.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/dynbuf.h"
#include "policy/mail_reader.h"

/* Each byte is said once, with a few of ours for each field. */
#define SAID_MAX (8 * 1024 * 1024)
/* Byte by byte is slow: only for inputs that are not larger. */
#define SINGLE_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct said {
	struct dynbuf text;
	size_t body; /* its length */
	bool done;
};

static void
on_header(void *arg, const char *name, const char *value, size_t len)
{
	struct said *s = arg;

	assert(!s->done && name[0] != '\0' && value[len] == '\0');
	assert(strpbrk(name, ": \t\r\n") == NULL);
	assert(strlen(name) + 1 + len <= MAIL_READER_FIELD_MAX);
	for (size_t i = 0; i < len; i++)
		assert(value[i] != '\n' || value[i + 1] == ' ' ||
		       value[i + 1] == '\t');
	assert(dynbuf_addf(&s->text, "H%s:", name));
	assert(dynbuf_add(&s->text, value, len));
}

static void
on_headers_done(void *arg)
{
	struct said *s = arg;

	assert(!s->done);
	s->done = true;
	assert(dynbuf_adds(&s->text, "\nE\n"));
}

static void
on_body(void *arg, const char *data, size_t len)
{
	struct said *s = arg;

	assert(s->done && len > 0);
	assert(dynbuf_add(&s->text, data, len));
	s->body += len;
}

static const struct mail_sink sink = { on_header, on_headers_done, on_body };

/* step 0: pieces of 1 to 7 bytes. */
static bool
read_mail(struct said *s, const uint8_t *data, size_t size, size_t step)
{
	struct mail_reader *r = mail_reader_new(&sink, s);
	bool ok;

	*s = (struct said){ .done = false };
	dynbuf_init(&s->text, SAID_MAX);
	for (size_t at = 0; at < size;) {
		size_t n = step > 0 ? step : at % 7 + 1;
		char *piece;

		if (n > size - at)
			n = size - at;
		piece = malloc(n);
		assert(piece != NULL);
		memcpy(piece, data + at, n);
		(void)mail_reader_feed(r, piece, n);
		free(piece);
		at += n;
	}
	ok = mail_reader_end(r);
	mail_reader_free(&r);
	return ok;
}

static void
check_body(const struct said *s, const uint8_t *data, size_t size)
{
	assert(s->done && s->body <= size);
	if (s->body > 0)
		assert(memcmp(s->text.data + s->text.len - s->body,
			      data + size - s->body, s->body) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t steps[] = { 0, 1 };
	struct said whole, other;
	bool ok = read_mail(&whole, data, size, size);

	if (ok)
		check_body(&whole, data, size);
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		if (steps[i] == 1 && size > SINGLE_MAX)
			continue;
		assert(read_mail(&other, data, size, steps[i]) == ok);
		assert(other.text.len == whole.text.len);
		assert(memcmp(dynbuf_str(&other.text), dynbuf_str(&whole.text),
			      whole.text.len) == 0);
		dynbuf_clear(&other.text);
	}
	dynbuf_clear(&whole.text);
	return 0;
}
