/* SPDX-License-Identifier: MIT */
/*
 * route: how the messages of one route travel, as the operator says in
 * [route NAME]. An account's routes are names; what a name means is here.
 *
 * A value of the configuration; policy reads it. Immutable once loaded.
 */
#ifndef TXM_POLICY_ROUTE_H
#define TXM_POLICY_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

/* The name of the one for routes that have no section of their own. */
#define ROUTE_ANY "*"

/* The transport of Postfix that leads to our LMTP agent, as packaging/postfix
 * has it. */
#define ROUTE_AGENT "txmilter"

/* Where the token of a message is put in return_path. */
#define ROUTE_TOKEN "{token}"

enum route_handoff {
	ROUTE_DIRECT,	 /* to the API while the client waits */
	ROUTE_QUEUED,	 /* to the API out of Postfix's queue */
	ROUTE_TRANSPORT, /* by a transport of Postfix, as mail */
};

struct route_header {
	char *name;
	char *value; /* printable ASCII */
};

struct api_format;

struct route {
	char *name;
	enum route_handoff handoff;
	char *api; /* DIRECT, QUEUED: the name of an [api NAME] */
	const struct api_format *format; /* and its format */
	char *transport; /* TRANSPORT: "name:nexthop", as FILTER wants it */
	/* TRANSPORT only. The envelope sender with ROUTE_TOKEN in its local
	 * part, or NULL: as the client gave it. */
	char *return_path;
	/* Header names that do not leave; one may end with '*'. */
	char **strip;
	size_t n_strip;
	struct route_header *add; /* headers that are added */
	size_t n_add;
	/* TRANSPORT only. The headers in which the next hop gets these, or
	 * NULL: it does not. */
	char *tag_header, *labels_header, *metadata_header;
	/* There is a tracking host, for who asks for tracking. */
	bool tracks;
};

struct route_list {
	struct route **v;
	size_t n;
};

/* The route of that name, else ROUTE_ANY's, else NULL. */
const struct route *route_find(const struct route_list *routes,
			       const char *name);

#endif
