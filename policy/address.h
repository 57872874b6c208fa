/* SPDX-License-Identifier: MIT */
/*
 * address: mailboxes in headers, and the names they give to envelope
 * recipients. Owner of GMime's address parser. Thread-safe; no state.
 *
 * Recipients always come from the envelope; a header only gives names.
 */
#ifndef TXM_POLICY_ADDRESS_H
#define TXM_POLICY_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

/* More separators (commas, colons, semicolons) than this in one header are an
 * error: GMime's cost grows with their square where no address is between
 * them (30,000 commas took 4.6 s, 2,000 take 0.02 s; CVE-2024-23184). */
#define ADDRESS_LIST_MAX 2000

struct mailbox {
	char *name; /* decoded UTF-8, "" when there is none */
	char *addr; /* local@domain; "" for a bare name */
};

struct mailbox_list {
	struct mailbox *v;
	size_t n;
	size_t groups; /* RFC 5322 groups seen; their members are in v, where
			* they stand */
};

enum address_result {
	ADDRESS_OK,
	ADDRESS_TOO_MANY,
	ADDRESS_CONTROL, /* a decoded name or address with a control character
			  */
};

/* Parses a raw header value. What cannot be parsed is not in the list. */
enum address_result mailbox_list_parse(const char *raw, size_t len,
				       struct mailbox_list *list_r);
void mailbox_list_clear(struct mailbox_list *list);

/* The list as a reader writes it: Name <local@domain>, "Doe, Joe" <...>; UTF-8,
 * nothing encoded, no group. free(). */
char *mailbox_list_text(const struct mailbox_list *list);

/* Two addresses are one mailbox: local parts equal, domains equal but for
 * case. */
bool address_equal(const char *a, const char *b);

/* The same, and quotes around a local part are no part of it: "a b"@x is
 * a b@x, as mail servers know it. */
bool address_same(const char *a, const char *b);

/* False when the parser took only the front of it: "a@b@c" is read as a@b. */
bool address_is_whole(const char *raw, size_t len, const char *addr);

/* An envelope recipient we can hand on: local@domain, valid UTF-8, no control
 * character, no source route. */
bool address_is_plain(const char *addr);

/*
 * The name that the To header `raw` gives to the envelope recipient `addr`,
 * free(); "" when it gives none. A mailbox of the list that is `addr` (but for
 * case) names it; with one recipient in all (`only`), so does a bare name
 * ("To: Jane Smith"), and a single mailbox whatever its address.
 */
char *address_name_for(const struct mailbox_list *to, const char *bare_name,
		       const char *addr, bool only);

/* The whole value as a bare name: decoded, unquoted, when it has no address
 * in it; "" otherwise. free(). */
char *address_bare_name(const char *raw, size_t len);

#endif
