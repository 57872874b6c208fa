/* SPDX-License-Identifier: MIT */
#include "body_decoder.h"

#include <gmime/gmime.h>
#include <stdlib.h>
#include <string.h>

#include "dynbuf.h"
#include "quoted_printable.h"

/* Nothing grows when it is decoded, but for a few bytes that were held back. */
#define STEP (BODY_DECODER_ROOM / 2)

struct body_decoder {
	enum mime_encoding encoding;
	GMimeEncoding base64;
	bool padded; /* base64: behind a padding, */
	bool over;   /* and what follows is none */
	struct quoted_printable quoted;
};

struct body_decoder *
body_decoder_new(void)
{
	struct body_decoder *d = calloc(1, sizeof(*d));

	if (d == NULL)
		abort();
	return d;
}

void
body_decoder_free(struct body_decoder **d)
{
	free(*d);
	*d = NULL;
}

void
body_decoder_begin(struct body_decoder *d, enum mime_encoding encoding)
{
	d->encoding = encoding;
	d->padded = false;
	d->over = false;
	d->quoted = (struct quoted_printable){ 0 };
	g_mime_encoding_init_decode(&d->base64, GMIME_CONTENT_ENCODING_BASE64);
}

static bool
is_base64(char c)
{
	return g_ascii_isalnum(c) || c == '+' || c == '/';
}

/* What is held back, as if the padding were complete; how many bytes. */
static size_t
flush_base64(struct body_decoder *d, char *dst)
{
	size_t n = 0;

	for (int i = 0; i < 3 && d->base64.state != 0; i++)
		n += g_mime_encoding_step(&d->base64, "=", 1, dst + n);
	d->padded = true;
	return n;
}

/* Where base64 begins again behind a padding, or the end. */
static const char *
skip_padding(struct body_decoder *d, const char *data, const char *end)
{
	while (data < end && (*data == '=' || g_ascii_isspace(*data)))
		data++;
	if (data < end && is_base64(*data)) {
		g_mime_encoding_init_decode(&d->base64,
					    GMIME_CONTENT_ENCODING_BASE64);
		d->padded = false;
	}
	d->over = data < end && d->padded;
	return data;
}

/* GMime's decoder ends at the first padding. Who encodes a file in pieces and
 * joins them has one in the middle; but what else may stand there, a footer or
 * a broken delimiter, is not of the file. */
static size_t
decode_base64(struct body_decoder *d, const char *data, size_t len, char *dst)
{
	const char *end = data + len;
	char *out = dst;

	while (data < end && !d->over) {
		const char *padding, *stop;

		if (d->padded) {
			data = skip_padding(d, data, end);
			continue;
		}
		padding = memchr(data, '=', (size_t)(end - data));
		stop = padding != NULL ? padding : end;
		out += g_mime_encoding_step(&d->base64, data,
					    (size_t)(stop - data), out);
		if (padding != NULL)
			out += flush_base64(d, out);
		data = stop;
	}
	return (size_t)(out - dst);
}

static size_t
decode(struct body_decoder *d, const char *data, size_t len, char *dst)
{
	if (d->encoding == MIME_BASE64)
		return decode_base64(d, data, len, dst);
	if (d->encoding == MIME_QUOTED_PRINTABLE)
		return quoted_printable_decode(&d->quoted, data, len, dst);
	memcpy(dst, data, len);
	return len;
}

bool
body_decoder_add(struct body_decoder *d, const char *data, size_t len,
		 struct dynbuf *out)
{
	while (len > 0) {
		size_t n = len < STEP ? len : STEP;
		char *room = dynbuf_room(out, n + 4);

		if (room == NULL)
			return false;
		dynbuf_grown(out, decode(d, data, n, room));
		if (out->len > out->max - BODY_DECODER_ROOM)
			return false;
		data += n;
		len -= n;
	}
	return true;
}

/* Base64 that ends without its padding. */
bool
body_decoder_end(struct body_decoder *d, struct dynbuf *out)
{
	return d->encoding != MIME_BASE64 || body_decoder_add(d, "=", 1, out);
}
