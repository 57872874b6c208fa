/* SPDX-License-Identifier: MIT */
#include "address.h"

#include <glib.h>
#include <gmime/gmime.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "header_text.h"
#include "utf8.h"

static char *
copy(const char *s, size_t len)
{
	char *c = strndup(s, len);

	if (c == NULL)
		abort();
	return c;
}

static size_t
count_separators(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += *s == ',' || *s == ':' || *s == ';';
	return n;
}

/* A name as text: valid UTF-8, blanks trimmed; NULL with a control
 * character in it. */
static char *
clean(const char *s)
{
	g_autofree char *valid = g_utf8_make_valid(s, -1);

	g_strdelimit(valid, "\t", ' ');
	g_strstrip(valid);
	if (!utf8_is_printable(valid, strlen(valid)))
		return NULL;
	return copy(valid, strlen(valid));
}

static enum address_result
add_mailbox(struct mailbox_list *list, InternetAddress *address)
{
	const char *name = internet_address_get_name(address);
	const char *addr = internet_address_mailbox_get_addr(
	    INTERNET_ADDRESS_MAILBOX(address));
	struct mailbox m = { .name = clean(name ? name : ""),
			     .addr = clean(addr ? addr : "") };

	if (m.name == NULL || m.addr == NULL) {
		free(m.name);
		free(m.addr);
		return ADDRESS_CONTROL;
	}
	list->v[list->n++] = m;
	return ADDRESS_OK;
}

static void
grow(struct mailbox_list *list, size_t more)
{
	list->v = reallocarray(list->v, list->n + more, sizeof(*list->v));
	if (list->v == NULL)
		abort();
}

/* Groups do not nest (RFC 5322, section 3.4). */
static enum address_result
add_group(struct mailbox_list *list, InternetAddress *group, size_t behind)
{
	InternetAddressList *members =
	    internet_address_group_get_members(INTERNET_ADDRESS_GROUP(group));
	int n = internet_address_list_length(members);
	enum address_result result = ADDRESS_OK;

	list->groups++;
	grow(list, (n > 0 ? (size_t)n : 0) + behind);
	for (int i = 0; i < n && result == ADDRESS_OK; i++) {
		InternetAddress *a =
		    internet_address_list_get_address(members, i);

		if (INTERNET_ADDRESS_IS_MAILBOX(a))
			result = add_mailbox(list, a);
	}
	return result;
}

/* In their order; there is room for those that are in no group. */
static enum address_result
add_list(struct mailbox_list *list, InternetAddressList *from)
{
	int n = internet_address_list_length(from);
	enum address_result result = ADDRESS_OK;

	if (n <= 0)
		return ADDRESS_OK;
	grow(list, (size_t)n);
	for (int i = 0; i < n && result == ADDRESS_OK; i++) {
		InternetAddress *a = internet_address_list_get_address(from, i);

		if (INTERNET_ADDRESS_IS_MAILBOX(a))
			result = add_mailbox(list, a);
		else if (INTERNET_ADDRESS_IS_GROUP(a))
			result = add_group(list, a, (size_t)(n - i));
	}
	return result;
}

enum address_result
mailbox_list_parse(const char *raw, size_t len, struct mailbox_list *list_r)
{
	InternetAddressList *parsed;
	enum address_result result;
	size_t n;
	char *prepared;
	char *text = header_unfold(raw, len, &n);

	*list_r = (struct mailbox_list){ 0 };
	if (memchr(text, '\0', n) != NULL ||
	    count_separators(text) > ADDRESS_LIST_MAX) {
		result =
		    memchr(text, '\0', n) ? ADDRESS_CONTROL : ADDRESS_TOO_MANY;
		free(text);
		return result;
	}
	prepared = header_for_gmime(text);
	free(text);
	if (prepared == NULL)
		return ADDRESS_CONTROL;
	parsed = internet_address_list_parse(NULL, prepared);
	free(prepared);
	if (parsed == NULL)
		return ADDRESS_OK;
	result = add_list(list_r, parsed);
	g_object_unref(parsed);
	if (result != ADDRESS_OK)
		mailbox_list_clear(list_r);
	return result;
}

void
mailbox_list_clear(struct mailbox_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free(list->v[i].name);
		free(list->v[i].addr);
	}
	free(list->v);
	*list = (struct mailbox_list){ 0 };
}

static void
add_name(GString *out, const char *name)
{
	if (name[strcspn(name, "()<>[]:;@\\,.\"")] == '\0') {
		g_string_append(out, name);
		return;
	}
	g_string_append(out, "\"");
	for (; *name != '\0'; name++)
		g_string_append_printf(
		    out, "%s%c", *name == '"' || *name == '\\' ? "\\" : "",
		    *name);
	g_string_append(out, "\"");
}

char *
mailbox_list_text(const struct mailbox_list *list)
{
	GString *out = g_string_new_len("", 0);

	for (size_t i = 0; i < list->n; i++) {
		const struct mailbox *m = &list->v[i];

		g_string_append(out, i > 0 ? ", " : "");
		add_name(out, m->name);
		if (*m->addr != '\0')
			g_string_append_printf(out, *m->name ? " <%s>" : "%s",
					       m->addr);
	}
	return g_string_free(out, FALSE);
}

bool
address_equal(const char *a, const char *b)
{
	const char *at_a = strrchr(a, '@');
	const char *at_b = strrchr(b, '@');

	if (at_a == NULL || at_b == NULL)
		return strcmp(a, b) == 0;
	return at_a - a == at_b - b && memcmp(a, b, (size_t)(at_a - a)) == 0 &&
	       strcasecmp(at_a, at_b) == 0;
}

/* The next letter of a local part that ends at `end`; -1: it is over. */
static int
next_letter(const char **s, const char *end, bool quoted)
{
	if (quoted && *s < end && **s == '\\')
		(*s)++;
	return *s < end ? (unsigned char)*(*s)++ : -1;
}

/* Takes the quotes off. */
static bool
unquote(const char **s, const char **end)
{
	if (*end - *s < 2 || **s != '"' || (*end)[-1] != '"')
		return false;
	(*s)++;
	(*end)--;
	return true;
}

bool
address_same(const char *a, const char *b)
{
	const char *end_a = strrchr(a, '@'), *end_b = strrchr(b, '@');
	bool quoted_a, quoted_b;
	int letter;

	if (end_a == NULL || end_b == NULL)
		return strcmp(a, b) == 0;
	if (strcasecmp(end_a, end_b) != 0)
		return false;
	quoted_a = unquote(&a, &end_a);
	quoted_b = unquote(&b, &end_b);
	do {
		letter = next_letter(&a, end_a, quoted_a);
		if (letter != next_letter(&b, end_b, quoted_b))
			return false;
	} while (letter >= 0);
	return true;
}

bool
address_is_whole(const char *raw, size_t len, const char *addr)
{
	const char *at = memmem(raw, len, addr, strlen(addr));
	const char *end = at != NULL ? at + strlen(addr) : NULL;

	return end == NULL || end == raw + len || *end != '@';
}

bool
address_is_plain(const char *addr)
{
	size_t len = strlen(addr);
	const char *at = strrchr(addr, '@');

	return at != NULL && at != addr && at[1] != '\0' && addr[0] != '@' &&
	       utf8_valid_prefix(addr, len) == len &&
	       utf8_is_printable(addr, len);
}

/* True when the text has one of these outside of quotes. */
static bool
has_special(const char *s, const char *specials)
{
	bool quoted = false;

	for (; *s != '\0'; s++) {
		if (*s == '\\' && s[1] != '\0')
			s++;
		else if (*s == '"')
			quoted = !quoted;
		else if (!quoted && strchr(specials, *s) != NULL)
			return true;
	}
	return false;
}

/* Quotes are taken off before encoded words are decoded: those in a word are
 * letters. */
char *
address_bare_name(const char *raw, size_t len)
{
	size_t n;
	char *text = header_unfold(raw, len, &n);
	char *name = NULL;

	/* "Jane <>" is how some libraries write a name without an address. */
	if (n >= 2 && strcmp(text + n - 2, "<>") == 0)
		text[n - 2] = '\0';
	/* A group ("undisclosed-recipients:;") names nobody. */
	if (strlen(text) + 2 >= n && !has_special(text, "<>:;@")) {
		g_mime_utils_unquote_string(text);
		(void)header_text(text, strlen(text), &name);
	}
	free(text);
	if (name == NULL || strchr(name, '@') != NULL) {
		free(name);
		return copy("", 0);
	}
	return name;
}

char *
address_name_for(const struct mailbox_list *to, const char *bare_name,
		 const char *addr, bool only)
{
	const char *name = "";

	for (size_t i = 0; i < to->n; i++) {
		if (strcasecmp(to->v[i].addr, addr) == 0) {
			name = to->v[i].name;
			return copy(name, strlen(name));
		}
	}
	if (only && *bare_name != '\0')
		name = bare_name;
	else if (only && to->n == 1)
		name = to->v[0].name;
	return copy(name, strlen(name));
}
