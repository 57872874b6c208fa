/* SPDX-License-Identifier: MIT */
#include "link_text.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "dynbuf.h"
#include "html_entity.h"
#include "text_char.h"
#include "utf8.h"

#define REPLACEMENT 0xfffd

/* White space in it becomes %20: it must stay in one piece. */
static bool
add_shown(struct dynbuf *shown, const char *s, size_t len)
{
	while (len > 0) {
		size_t n = utf8_char_len(s, len);
		uint32_t c = n > 0 ? utf8_code(s, n) : REPLACEMENT;
		char bytes[4];
		bool ok = true;

		if (text_char_is_blank(c))
			ok = dynbuf_adds(shown, "%20");
		else if (!text_char_is_invisible(c))
			ok = dynbuf_add(shown, bytes, utf8_put(c, bytes));
		if (!ok)
			return false;
		n += n == 0;
		s += n;
		len -= n;
	}
	return true;
}

static bool
begins_with(const char *s, size_t len, const char *prefix)
{
	return len >= strlen(prefix) &&
	       strncasecmp(s, prefix, strlen(prefix)) == 0;
}

/* What a person could do something with, elsewhere. */
static bool
is_address(const char *url, size_t len)
{
	static const char *const schemes[] = {
		"http://", "https://", "mailto:", "tel:",
		"sms:",	   "ftp://",   "webcal:", "geo:",
	};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (begins_with(url, len, schemes[i]) &&
		    len > strlen(schemes[i]))
			return true;
	}
	return false;
}

/* What people leave out of it. */
static size_t
scheme_len(const char *url, size_t len)
{
	static const char *const schemes[] = { "http://", "https://",
					       "mailto:", "tel:" };

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (begins_with(url, len, schemes[i]))
			return strlen(schemes[i]);
	}
	return 0;
}

static size_t
trim_slashes(const char *url, size_t len)
{
	while (len > 0 && url[len - 1] == '/')
		len--;
	return len;
}

bool
link_text(struct dynbuf *out, const char *href, size_t len)
{
	DYNBUF_AUTO url;
	const char *s, *query;

	dynbuf_init(&url, LINK_TEXT_MAX);
	if (!html_decode_url(&url, href, len) ||
	    !is_address(dynbuf_str(&url), url.len))
		return false;
	s = url.data;
	len = url.len;
	if (begins_with(s, len, "mailto:") || begins_with(s, len, "tel:")) {
		s += scheme_len(url.data, url.len);
		len -= scheme_len(url.data, url.len);
		query = memchr(s, '?', len);
		len = query != NULL ? (size_t)(query - s) : len;
	}
	return len > 0 && add_shown(out, s, len);
}

bool
link_text_same(const char *text, size_t text_len, const char *url,
	       size_t url_len)
{
	size_t skip = scheme_len(text, text_len);

	text_len = trim_slashes(text + skip, text_len - skip);
	text += skip;
	skip = scheme_len(url, url_len);
	url_len = trim_slashes(url + skip, url_len - skip);
	url += skip;
	return text_len == url_len && strncasecmp(text, url, url_len) == 0;
}
