/* SPDX-License-Identifier: MIT */
#include "account.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "dynbuf.h"
#include "json_text.h"
#include "utf8.h"

/* An address with its bits, as text. */
#define NETWORK_TEXT_SIZE (INET6_ADDRSTRLEN + 4)
#define RATE_TEXT_SIZE 32

static char *
copy(const char *s)
{
	char *c = strdup(s);

	if (c == NULL)
		abort();
	return c;
}

/* Room for one more element. */
static void *
grow(void *v, size_t n, size_t size)
{
	void *bigger = reallocarray(v, n + 1, size);

	if (bigger == NULL)
		abort();
	return bigger;
}

struct account *
account_new(const char *id)
{
	struct account *a = calloc(1, sizeof(*a));
	int n;

	if (a == NULL)
		abort();
	n = snprintf(a->id, sizeof(a->id), "%s", id);
	assert(n >= 0 && (size_t)n < sizeof(a->id));
	atomic_init(&a->refs, 1);
	return a;
}

static void
copy_lists(struct account *c, const struct account *a)
{
	for (size_t i = 0; i < a->n_routes; i++)
		(void)account_add_route(c, a->routes[i].id, a->routes[i].name);
	for (size_t i = 0; i < a->n_senders; i++)
		(void)account_add_sender(c, a->senders[i]);
	for (size_t i = 0; i < a->n_networks; i++) {
		c->networks =
		    grow(c->networks, c->n_networks, sizeof(*c->networks));
		c->networks[c->n_networks++] = a->networks[i];
	}
}

struct account *
account_copy(const struct account *a)
{
	struct account *c = account_new(a->id);

	c->disabled = a->disabled;
	if (a->dialect != NULL)
		c->dialect = copy(a->dialect);
	copy_lists(c, a);
	if (a->default_route != NULL)
		c->default_route = copy(a->default_route);
	c->rate = a->rate;
	c->recipient_rate = a->recipient_rate;
	return c;
}

struct account *
account_share(struct account *a)
{
	(void)atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
	return a;
}

static void
destroy(struct account *a)
{
	for (size_t i = 0; i < a->n_routes; i++) {
		free(a->routes[i].id);
		free(a->routes[i].name);
	}
	for (size_t i = 0; i < a->n_senders; i++)
		free(a->senders[i]);
	free(a->routes);
	free(a->senders);
	free(a->networks);
	free(a->dialect);
	free(a->default_route);
	free(a);
}

void
account_free(struct account **ap)
{
	struct account *a = *ap;

	*ap = NULL;
	if (a != NULL &&
	    atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) == 1)
		destroy(a);
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
same_rate(const struct account_rate *a, const struct account_rate *b)
{
	return a->count == b->count && a->seconds == b->seconds;
}

static bool
same_lists(const struct account *a, const struct account *b)
{
	if (a->n_routes != b->n_routes || a->n_senders != b->n_senders ||
	    a->n_networks != b->n_networks)
		return false;
	for (size_t i = 0; i < a->n_routes; i++) {
		if (strcmp(a->routes[i].id, b->routes[i].id) != 0 ||
		    strcmp(a->routes[i].name, b->routes[i].name) != 0)
			return false;
	}
	for (size_t i = 0; i < a->n_senders; i++) {
		if (strcmp(a->senders[i], b->senders[i]) != 0)
			return false;
	}
	for (size_t i = 0; i < a->n_networks; i++) {
		const struct account_network *x = &a->networks[i];
		const struct account_network *y = &b->networks[i];

		if (x->bits != y->bits ||
		    memcmp(x->address, y->address, sizeof(x->address)) != 0)
			return false;
	}
	return true;
}

bool
account_equal(const struct account *a, const struct account *b)
{
	return strcmp(a->id, b->id) == 0 && a->disabled == b->disabled &&
	       same_text(a->dialect, b->dialect) &&
	       same_text(a->default_route, b->default_route) &&
	       same_rate(&a->rate, &b->rate) &&
	       same_rate(&a->recipient_rate, &b->recipient_rate) &&
	       same_lists(a, b);
}

static bool
is_good(const char *s, size_t max)
{
	size_t len = strlen(s);

	return len <= max && utf8_valid_prefix(s, len) == len &&
	       utf8_is_printable(s, len);
}

bool
account_add_route(struct account *a, const char *id, const char *name)
{
	if (a->n_routes >= ACCOUNT_ROUTES_MAX || *id == '\0' ||
	    !is_good(id, ACCOUNT_ROUTE_ID_MAX) ||
	    !is_good(name, ACCOUNT_ROUTE_NAME_MAX))
		return false;
	a->routes = grow(a->routes, a->n_routes, sizeof(*a->routes));
	a->routes[a->n_routes++] =
	    (struct account_route){ .id = copy(id), .name = copy(name) };
	return true;
}

const struct account_route *
account_find_route(const struct account *a, const char *id)
{
	for (size_t i = 0; i < a->n_routes; i++) {
		if (strcmp(a->routes[i].id, id) == 0)
			return &a->routes[i];
	}
	return NULL;
}

bool
account_set_default_route(struct account *a, const char *id)
{
	char *chosen;

	if (account_find_route(a, id) == NULL)
		return false;
	/* id may be the one that is there. */
	chosen = copy(id);
	free(a->default_route);
	a->default_route = chosen;
	return true;
}

/* --- senders ---------------------------------------------------------------
 */

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool
same_domain(const char *a, const char *b)
{
	while (*a != '\0' && lower(*a) == lower(*b)) {
		a++;
		b++;
	}
	return *a == *b;
}

static bool
is_domain_char(char c)
{
	return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || (unsigned char)c >= 0x80;
}

/* Labels with single dots between them. */
static bool
is_domain(const char *s)
{
	bool label = false;

	for (; *s != '\0'; s++) {
		if (*s == '.' && !label)
			return false;
		if (*s != '.' && !is_domain_char(*s))
			return false;
		label = *s != '.';
	}
	return label;
}

static bool
is_sender(const char *s)
{
	const char *at = strchr(s, '@');

	if (!is_good(s, ACCOUNT_SENDER_MAX) || strchr(s, ' ') != NULL)
		return false;
	return at != s && is_domain(at != NULL ? at + 1 : s);
}

bool
account_add_sender(struct account *a, const char *sender)
{
	if (a->n_senders >= ACCOUNT_SENDERS_MAX || !is_sender(sender))
		return false;
	a->senders = grow(a->senders, a->n_senders, sizeof(*a->senders));
	a->senders[a->n_senders++] = copy(sender);
	return true;
}

/* at: the '@' of the address. */
static bool
sender_covers(const char *sender, const char *address, const char *at)
{
	const char *own = strchr(sender, '@');
	size_t local = (size_t)(at - address);

	if (own == NULL)
		return same_domain(sender, at + 1);
	return (size_t)(own - sender) == local &&
	       memcmp(sender, address, local) == 0 &&
	       same_domain(own + 1, at + 1);
}

bool
account_allows_sender(const struct account *a, const char *address)
{
	const char *at = strrchr(address, '@');

	if (a->n_senders == 0)
		return true;
	for (size_t i = 0; at != NULL && i < a->n_senders; i++) {
		if (sender_covers(a->senders[i], address, at))
			return true;
	}
	return false;
}

/* --- networks --------------------------------------------------------------
 */

#define ADDRESS_BYTES sizeof(((struct account_network *)0)->address)
#define ADDRESS_BITS 128u
/* ::ffff:0:0/96 is IPv4. */
#define MAPPED_BYTES 12
#define MAPPED_BITS 96u

static const unsigned char mapped[MAPPED_BYTES] = { [10] = 0xff, [11] = 0xff };

/* first_r: how many bits stand before those that the text counts. */
static bool
parse_address(const char *text, unsigned char *bytes_r, unsigned *first_r)
{
	*first_r = 0;
	if (inet_pton(AF_INET6, text, bytes_r) == 1)
		return true;
	*first_r = MAPPED_BITS;
	memcpy(bytes_r, mapped, MAPPED_BYTES);
	return inet_pton(AF_INET, text, bytes_r + MAPPED_BYTES) == 1;
}

/* Digits without a leading zero, at most `most`; what is behind them in
 * *rest_r. */
static bool
parse_number(const char *s, unsigned most, unsigned *value_r,
	     const char **rest_r)
{
	uint64_t value = 0;
	size_t n = 0;

	for (; s[n] >= '0' && s[n] <= '9' && value <= most; n++)
		value = value * 10 + (unsigned long)(s[n] - '0');
	*rest_r = s + n;
	*value_r = (unsigned)value;
	return n > 0 && value <= most && (n == 1 || s[0] != '0');
}

static void
clear_host_bits(struct account_network *net)
{
	for (size_t i = 0; i < ADDRESS_BYTES; i++) {
		unsigned from = (unsigned)i * 8;

		if (net->bits <= from)
			net->address[i] = 0;
		else if (net->bits < from + 8)
			net->address[i] &=
			    (unsigned char)(0xff << (from + 8 - net->bits));
	}
}

static bool
parse_network(const char *text, struct account_network *net)
{
	const char *slash = strchr(text, '/'), *rest;
	char address[INET6_ADDRSTRLEN];
	size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
	unsigned first;

	if (len >= sizeof(address))
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	if (!parse_address(address, net->address, &first))
		return false;
	net->bits = ADDRESS_BITS;
	if (slash == NULL)
		return true;
	if (!parse_number(slash + 1, ADDRESS_BITS - first, &net->bits, &rest) ||
	    *rest != '\0')
		return false;
	net->bits += first;
	clear_host_bits(net);
	return true;
}

bool
account_add_network(struct account *a, const char *text)
{
	struct account_network net;

	if (a->n_networks >= ACCOUNT_NETWORKS_MAX || !parse_network(text, &net))
		return false;
	a->networks = grow(a->networks, a->n_networks, sizeof(*a->networks));
	a->networks[a->n_networks++] = net;
	return true;
}

static bool
network_has(const struct account_network *net, const unsigned char *address)
{
	unsigned bytes = net->bits / 8, bits = net->bits % 8;

	if (memcmp(net->address, address, bytes) != 0)
		return false;
	return bits == 0 ||
	       (net->address[bytes] ^ address[bytes]) >> (8 - bits) == 0;
}

bool
account_allows_address(const struct account *a, const char *address)
{
	unsigned char bytes[ADDRESS_BYTES];
	unsigned first;

	if (a->n_networks == 0)
		return true;
	if (address == NULL)
		return false;
	/* As Postfix writes it to milters (RFC 5321, section 4.1.3). */
	if (strncasecmp(address, "IPv6:", 5) == 0)
		address += 5;
	if (!parse_address(address, bytes, &first))
		return false;
	for (size_t i = 0; i < a->n_networks; i++) {
		if (network_has(&a->networks[i], bytes))
			return true;
	}
	return false;
}

static void
network_text(const struct account_network *net, char *dst, size_t size)
{
	bool v4 = net->bits >= MAPPED_BITS &&
		  memcmp(net->address, mapped, MAPPED_BYTES) == 0;
	char address[INET6_ADDRSTRLEN] = "";
	const char *ok = inet_ntop(v4 ? AF_INET : AF_INET6,
				   net->address + (v4 ? MAPPED_BYTES : 0),
				   address, sizeof(address));
	int n = snprintf(dst, size, "%s/%u", address,
			 net->bits - (v4 ? MAPPED_BITS : 0));

	assert(ok != NULL && n > 0 && (size_t)n < size);
}

/* --- rates -----------------------------------------------------------------
 */

/* The longest first: a rate is written in the longest that fits. */
static const struct {
	char letter;
	unsigned seconds;
} units[] = {
	{ 'd', 86400 },
	{ 'h', 3600 },
	{ 'm', 60 },
	{ 's', 1 },
};
#define N_UNITS (sizeof(units) / sizeof(units[0]))

bool
account_parse_rate(const char *text, struct account_rate *rate_r)
{
	unsigned count, n = 1, unit = 0;

	if (!parse_number(text, ACCOUNT_RATE_COUNT_MAX, &count, &text) ||
	    *text++ != '/')
		return false;
	if (*text >= '0' && *text <= '9' &&
	    !parse_number(text, ACCOUNT_RATE_SECONDS_MAX, &n, &text))
		return false;
	for (size_t i = 0; i < N_UNITS; i++) {
		if (*text == units[i].letter)
			unit = units[i].seconds;
	}
	if (unit == 0 || text[1] != '\0' || n == 0 ||
	    n > ACCOUNT_RATE_SECONDS_MAX / unit)
		return false;
	*rate_r = (struct account_rate){ 0 };
	if (count > 0)
		*rate_r = (struct account_rate){ count, n * unit };
	return true;
}

static void
rate_text(const struct account_rate *rate, char *dst, size_t size)
{
	size_t i = 0;
	int n;

	while (i + 1 < N_UNITS && rate->seconds % units[i].seconds != 0)
		i++;
	n = snprintf(dst, size, "%u/%u%c", rate->count,
		     rate->seconds / units[i].seconds, units[i].letter);
	assert(n > 0 && (size_t)n < size);
}

/* --- ids and routes --------------------------------------------------------
 */

/* FNV-1a, 32 bits: tells names apart that begin with the same 55 letters. */
static uint32_t
name_hash(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name != '\0'; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return h;
}

static bool
is_id_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
	       c == '_' || c == '-';
}

/* Room for "-" and eight digits. */
#define ID_CUT (ACCOUNT_ID_MAX - 9)

static size_t
without_end(const char *id, size_t n)
{
	while (n > 0 && (id[n - 1] == '-' || id[n - 1] == '.'))
		n--;
	return n;
}

static bool
add_hash(char id[ACCOUNT_ID_MAX + 1], size_t n, const char *name)
{
	int len = snprintf(id + n, ACCOUNT_ID_MAX + 1 - n, "%s%08x",
			   n > 0 ? "-" : "", (unsigned)name_hash(name));

	return len > 0 && (size_t)len <= ACCOUNT_ID_MAX - n;
}

bool
account_id_from_name(const char *name, char id[ACCOUNT_ID_MAX + 1])
{
	const char *s = name;
	bool lossy = false;
	size_t n = 0;

	for (; *s != '\0' && n < ACCOUNT_ID_MAX; s++) {
		char c = *s >= 'A' && *s <= 'Z' ? (char)(*s - 'A' + 'a') : *s;

		if (is_id_char(c) && c != '-')
			id[n++] = c;
		else if (n > 0 && id[n - 1] != '-')
			id[n++] = '-';
		lossy = lossy || (unsigned char)c > 0x7f;
	}
	if (*s != '\0')
		n = ID_CUT;
	else
		n = without_end(id, n);
	if (*s != '\0' || lossy)
		return add_hash(id, n < ID_CUT ? n : ID_CUT, name);
	id[n] = '\0';
	return n > 0;
}

bool
account_id_is_valid(const char *id)
{
	size_t n = 0;

	while (is_id_char(id[n]))
		n++;
	return n > 0 && n <= ACCOUNT_ID_MAX && id[n] == '\0';
}

/* "r1 (Main), r2" for as many routes as a reply has room for. */
static void
list_routes(const struct account *a, char *dst, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n_routes && n < size - 1; i++) {
		const struct account_route *r = &a->routes[i];
		bool named = r->name[0] != '\0';
		int k = snprintf(dst + n, size - n, "%s%s%s%s%s", i ? ", " : "",
				 r->id, named ? " (" : "", r->name,
				 named ? ")" : "");

		n += k > 0 ? (size_t)k : 0;
	}
}

const struct account_route *
account_default_route(const struct account *a)
{
	if (a->default_route != NULL)
		return account_find_route(a, a->default_route);
	return a->n_routes == 1 ? &a->routes[0] : NULL;
}

const struct account_route *
account_choose_route(const struct account *a, const char *named,
		     const char *header, struct smtp_reply *refusal)
{
	const struct account_route *route;
	char list[SMTP_REPLY_TEXT_MAX] = "";

	if (a->n_routes == 0) {
		smtp_reply_set(refusal, 550, "5.7.1",
			       "This account has no route to send by");
		return NULL;
	}
	route = named != NULL ? account_find_route(a, named)
			      : account_default_route(a);
	if (route != NULL)
		return route;
	list_routes(a, list, sizeof(list));
	if (header == NULL)
		smtp_reply_set(refusal, 550, "5.7.1",
			       "This account has several routes and no "
			       "default: %s",
			       list);
	else if (named == NULL)
		smtp_reply_set(refusal, 550, "5.6.0",
			       "%s: this account has several routes, name "
			       "one: %s",
			       header, list);
	else
		smtp_reply_set(refusal, 550, "5.6.0",
			       "%s: not a route of this account; it has: %s",
			       header, list);
	return NULL;
}

/* --- JSON ------------------------------------------------------------------
 */

static void
add_routes(struct dynbuf *out, const struct account *a)
{
	(void)dynbuf_adds(out, ",\"routes\":[");
	for (size_t i = 0; i < a->n_routes; i++) {
		(void)dynbuf_adds(out, i > 0 ? ",{" : "{");
		(void)json_add_member(out, "id", a->routes[i].id);
		(void)json_add_member(out, "name", a->routes[i].name);
		(void)dynbuf_adds(out, "}");
	}
	(void)dynbuf_adds(out, "]");
	if (a->default_route != NULL)
		(void)json_add_member(out, "default_route", a->default_route);
}

static void
add_senders(struct dynbuf *out, const struct account *a)
{
	if (a->n_senders == 0)
		return;
	(void)dynbuf_adds(out, ",\"senders\":[");
	for (size_t i = 0; i < a->n_senders; i++) {
		(void)dynbuf_adds(out, i > 0 ? "," : "");
		(void)json_add_string(out, a->senders[i],
				      strlen(a->senders[i]));
	}
	(void)dynbuf_adds(out, "]");
}

static void
add_networks(struct dynbuf *out, const struct account *a)
{
	char text[NETWORK_TEXT_SIZE];

	if (a->n_networks == 0)
		return;
	(void)dynbuf_adds(out, ",\"networks\":[");
	for (size_t i = 0; i < a->n_networks; i++) {
		network_text(&a->networks[i], text, sizeof(text));
		(void)dynbuf_addf(out, "%s\"%s\"", i > 0 ? "," : "", text);
	}
	(void)dynbuf_adds(out, "]");
}

static void
add_rate(struct dynbuf *out, const char *name, const struct account_rate *rate)
{
	char text[RATE_TEXT_SIZE];

	if (rate->count == 0)
		return;
	rate_text(rate, text, sizeof(text));
	(void)json_add_member(out, name, text);
}

bool
account_add_members(const struct account *a, const char *id_name,
		    struct dynbuf *out)
{
	(void)json_add_member(out, id_name, a->id);
	if (a->disabled)
		(void)dynbuf_adds(out, ",\"disabled\":true");
	if (a->dialect != NULL)
		(void)json_add_member(out, "dialect", a->dialect);
	add_routes(out, a);
	add_senders(out, a);
	add_networks(out, a);
	add_rate(out, "rate", &a->rate);
	add_rate(out, "recipient_rate", &a->recipient_rate);
	return !out->overflow;
}

char *
account_to_json(const struct account *a)
{
	DYNBUF_AUTO out;
	size_t len;

	dynbuf_init(&out, ACCOUNT_JSON_MAX);
	(void)dynbuf_adds(&out, "{");
	(void)account_add_members(a, "id", &out);
	(void)dynbuf_adds(&out, "}");
	/* The bounds of a record are below the buffer's. */
	assert(!out.overflow);
	return dynbuf_steal(&out, &len);
}

static bool
read_route(void *arg, const char *id, const char *name)
{
	return id != NULL && account_add_route(arg, id, name ? name : "");
}

static bool
read_sender(void *arg, const char *s)
{
	return account_add_sender(arg, s);
}

static bool
read_network(void *arg, const char *s)
{
	return account_add_network(arg, s);
}

static bool
read_dialect(const struct json_object *o, struct account *a)
{
	const char *text;
	enum json_found found = json_object_string(o, "dialect", &text);

	if (found == JSON_FOUND && is_good(text, ACCOUNT_DIALECT_MAX))
		a->dialect = copy(text);
	return found == JSON_ABSENT || a->dialect != NULL;
}

static bool
read_default_route(const struct json_object *o, struct account *a)
{
	const char *text;
	enum json_found found = json_object_string(o, "default_route", &text);

	return found == JSON_ABSENT ||
	       (found == JSON_FOUND && account_set_default_route(a, text));
}

static bool
read_rate(const struct json_object *o, const char *name,
	  struct account_rate *rate)
{
	const char *text;
	enum json_found found = json_object_string(o, name, &text);

	return found == JSON_ABSENT ||
	       (found == JSON_FOUND && account_parse_rate(text, rate));
}

static bool
read_members(const struct json_object *o, struct account *a)
{
	return json_object_bool(o, "disabled", &a->disabled) !=
		   JSON_OTHER_TYPE &&
	       read_dialect(o, a) &&
	       json_object_pairs(o, "routes", "id", "name", read_route, a) !=
		   JSON_OTHER_TYPE &&
	       read_default_route(o, a) &&
	       json_object_strings(o, "senders", read_sender, a) !=
		   JSON_OTHER_TYPE &&
	       json_object_strings(o, "networks", read_network, a) !=
		   JSON_OTHER_TYPE &&
	       read_rate(o, "rate", &a->rate) &&
	       read_rate(o, "recipient_rate", &a->recipient_rate);
}

struct account *
account_from_object(const struct json_object *o, const char *id_name)
{
	struct account *a;
	const char *id;

	if (json_object_string(o, id_name, &id) != JSON_FOUND ||
	    !account_id_is_valid(id))
		return NULL;
	a = account_new(id);
	if (!read_members(o, a))
		account_free(&a);
	return a;
}

struct account *
account_from_json(const char *text, size_t len)
{
	struct json_object *o = json_object_read(text, len);
	struct account *a;

	if (o == NULL)
		return NULL;
	a = account_from_object(o, "id");
	json_object_free(&o);
	return a;
}
