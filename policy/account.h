/* SPDX-License-Identifier: MIT */
/*
 * account: who is sending, as the control plane or the local store says.
 *
 * The record is a value of the policy library so that the rules about routes
 * and dialects can be tested without any of the places it comes from.
 */
#ifndef TXM_POLICY_ACCOUNT_H
#define TXM_POLICY_ACCOUNT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "smtp_reply.h"

struct dynbuf;
struct json_object;

/* Named bounds of what a control plane may tell us about one account. */
#define ACCOUNT_ID_MAX 64
#define ACCOUNT_DIALECT_MAX 63
#define ACCOUNT_ROUTES_MAX 1000
#define ACCOUNT_ROUTE_ID_MAX 128
#define ACCOUNT_ROUTE_NAME_MAX 256
#define ACCOUNT_SENDERS_MAX 1000
#define ACCOUNT_SENDER_MAX 320
#define ACCOUNT_NETWORKS_MAX 1000
#define ACCOUNT_RATE_COUNT_MAX 1000000000u
#define ACCOUNT_RATE_SECONDS_MAX (366u * 86400)
/* A record as JSON: all of the above, each byte of text escaped. */
#define ACCOUNT_JSON_MAX (2 * 1024 * 1024 - 4096)

struct account_route {
	char *id;   /* what X-Transactional-Route names */
	char *name; /* for people; may be empty, never NULL */
};

/* So many in that time; count 0: no limit. Written "100/1m". */
struct account_rate {
	unsigned count;
	unsigned seconds;
};

/* An IPv4 or IPv6 network; IPv4 as ::ffff:0:0/96. */
struct account_network {
	unsigned char address[16];
	unsigned bits; /* 0 to 128 */
};

struct account {
	atomic_uint refs;	     /* account_share() */
	char id[ACCOUNT_ID_MAX + 1]; /* [a-z0-9._-]+ */
	bool disabled;
	char *dialect; /* NULL: the configuration's default */
	struct account_route *routes;
	size_t n_routes;
	char *default_route; /* id of one of them, or NULL */
	char **senders;	     /* "user@example.org" or "example.org" */
	size_t n_senders;    /* 0: From may be anything */
	struct account_network *networks;
	size_t n_networks; /* 0: its keys may be used from anywhere */
	struct account_rate rate, recipient_rate;
};

struct account *account_new(const char *id);

/* A copy of its own, to be changed. */
struct account *account_copy(const struct account *a);

/* Another owner of the same: from then on nobody may change it. Thread-safe. */
struct account *account_share(struct account *a);

/* Frees it when no other owner is left. */
void account_free(struct account **a);

/* True when they are the same in every respect. */
bool account_equal(const struct account *a, const struct account *b);

/* False, and nothing added, when a bound is exceeded or a string holds
 * control characters. */
bool account_add_route(struct account *a, const char *id, const char *name);

/* False, and nothing changed, when it is no address or domain, there are too
 * many, or it is no id of a route of the account. A domain is letters, digits,
 * '-', '_', '.' and whatever is not ASCII; "@example.org" is none. */
bool account_add_sender(struct account *a, const char *sender);
bool account_set_default_route(struct account *a, const char *id);

/* "192.0.2.0/24", "2001:db8::/32" or an address alone. Bits behind the
 * network's are cleared. "::/0" is every address there is, IPv4 too. False,
 * and nothing added, when it is none or there are too many. */
bool account_add_network(struct account *a, const char *text);

/* "100/1m", "5/s", "10000/1d"; units s, m, h, d. A count of 0 gives {0, 0}: no
 * limit. False, and nothing set, when it is none or over its bounds. */
bool account_parse_rate(const char *text, struct account_rate *rate_r);

/* True when its keys may be used from that address (numbers, maybe behind
 * "IPv6:"). NULL and what is no address are from nowhere: allowed only when
 * there are no networks. */
bool account_allows_address(const struct account *a, const char *address);

/* True when From may be that address. A domain stands for itself, not for
 * those below it; letters count as their lower case in the domain. */
bool account_allows_sender(const struct account *a, const char *address);

/* Makes an account id of a name for people ("Acme, Inc." -> "acme-inc"):
 * lower case, anything but letters, digits, '.' and '_' becomes one '-', none
 * at the end. What is too long is cut, and that and a name with letters that
 * are not ASCII ends with a hash of the name. False when nothing is left. */
bool account_id_from_name(const char *name, char id[ACCOUNT_ID_MAX + 1]);

/* True when it has the form of an account id. */
bool account_id_is_valid(const char *id);

/* By id; NULL when the account has none such. */
const struct account_route *account_find_route(const struct account *a,
					       const char *id);

/* The one taken when a message names none; NULL when it must name one. */
const struct account_route *account_default_route(const struct account *a);

/*
 * The route rule. `named` is the route id the message names, or NULL.
 *   named            it must be one of the account's     else 550
 *   not named        the default; else one route: that one; several: 550 that
 *                    lists them
 *   no route at all  550
 * Returns the route (owned by the account), or NULL and the refusal, which
 * names the header `header`; NULL: there is none that could name a route.
 */
const struct account_route *account_choose_route(const struct account *a,
						 const char *named,
						 const char *header,
						 struct smtp_reply *refusal);

/*
 * The record as JSON text (free()), and back; NULL when it is not one:
 *
 *	{"id":"acme","disabled":true,"dialect":"emaildelivery",
 *	 "routes":[{"id":"r1","name":"Main"}],"default_route":"r1",
 *	 "senders":["example.org"],"networks":["192.0.2.0/24"],
 *	 "rate":"100/1m","recipient_rate":"1000/1h"}
 *
 * What is as it is by default is not written, but for the routes. Members
 * that are not known are skipped.
 */
char *account_to_json(const struct account *a);
struct account *account_from_json(const char *text, size_t len);

/* The same without the braces, and out of an object that has more in it. The
 * id's member has the name `id_name`. */
bool account_add_members(const struct account *a, const char *id_name,
			 struct dynbuf *out);
struct account *account_from_object(const struct json_object *o,
				    const char *id_name);

#endif
