/* SPDX-License-Identifier: MIT */
#include "body_text.h"

#include <stdlib.h>
#include <string.h>

#include "body_decoder.h"
#include "charset.h"
#include "mime.h"

void
body_text_init(struct body_text *t, size_t max)
{
	*t = (struct body_text){ 0 };
	dynbuf_init(&t->data, max + BODY_DECODER_ROOM);
}

void
body_text_clear(struct body_text *t)
{
	dynbuf_clear(&t->data);
	free(t->charset);
	t->charset = NULL;
	t->full = false;
}

void
body_text_begin(struct body_text *t, const struct mime_part *part)
{
	body_text_clear(t);
	t->flowed = part->flowed;
	t->alternative = part->alternative;
	t->place = (struct body_place){
		.begin = part->begin,
		.content = part->content,
		.end = part->content,
		.is_message = part->depth == 0,
		.in_alternative = part->in_alternative,
		.in_related = part->in_related,
		.related_is_message = part->related_above.is_message,
		.related_begin = part->related_above.begin,
		.related_content = part->related_above.content,
		.is_signed = part->is_signed,
	};
	if (part->charset == NULL)
		return;
	t->charset = strdup(part->charset);
	if (t->charset == NULL)
		abort();
}

bool
body_text_is_blank(const struct dynbuf *data)
{
	const char *p = dynbuf_str(data);
	size_t bom = strncmp(p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

	for (size_t i = bom; i < data->len; i++) {
		if ((unsigned char)p[i] > ' ')
			return false;
	}
	return true;
}

enum body_text_result
body_text_to_utf8(struct body_text *t, bool *replaced_r)
{
	switch (charset_to_utf8(&t->data, t->charset, replaced_r)) {
	case CHARSET_OK:
		return t->data.len <= BODY_KEPT_MAX ? BODY_TEXT_OK
						    : BODY_TEXT_TOO_LARGE;
	case CHARSET_UNKNOWN:
		return BODY_TEXT_UNKNOWN_CHARSET;
	case CHARSET_WRONG:
		return BODY_TEXT_WRONG_CHARSET;
	case CHARSET_TOO_LARGE:
	default:
		return BODY_TEXT_TOO_LARGE;
	}
}

/* APIs keep text in databases that take no NUL. */
static void
add_without_nul(struct dynbuf *out, const char *s, size_t len)
{
	while (len > 0) {
		const char *nul = memchr(s, '\0', len);
		size_t n = nul ? (size_t)(nul - s) : len;

		(void)dynbuf_add(out, s, n);
		if (nul == NULL)
			break;
		(void)dynbuf_adds(out, "\xef\xbf\xbd");
		s += n + 1;
		len -= n + 1;
	}
}

char *
body_text_take(struct body_text *t, size_t *len_r)
{
	struct dynbuf out;

	if (memchr(dynbuf_str(&t->data), '\0', t->data.len) == NULL)
		return dynbuf_steal(&t->data, len_r);
	dynbuf_init(&out, 3 * t->data.max);
	add_without_nul(&out, t->data.data, t->data.len);
	dynbuf_clear(&t->data);
	t->changed = true;
	return dynbuf_steal(&out, len_r);
}
