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
	d->quoted = (struct quoted_printable){ 0 };
	g_mime_encoding_init_decode(&d->base64, GMIME_CONTENT_ENCODING_BASE64);
}

static size_t
decode(struct body_decoder *d, const char *data, size_t len, char *dst)
{
	if (d->encoding == MIME_BASE64)
		return g_mime_encoding_step(&d->base64, data, len, dst);
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
	if (d->encoding != MIME_BASE64)
		return true;
	for (int i = 0; i < 3 && d->base64.state != 0; i++) {
		if (!body_decoder_add(d, "=", 1, out))
			return false;
	}
	return true;
}
