/* SPDX-License-Identifier: MIT */
/*
 * config: the configuration file, read once into an immutable value.
 *
 * `key = value` lines, `#` comments, and sections `[keys]`, `[api NAME]` and
 * `[route NAME]`. The options are one table in config_option.c: name, type,
 * bounds and default; the manual is checked against it. Unknown and repeated
 * keys, values out of bounds, what does not go together and over-long lines
 * are errors with file, line and a hint. config.c is the only file that knows
 * inih.
 */
#ifndef TXM_MILTER_CONFIG_H
#define TXM_MILTER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "log.h"
#include "policy/api.h"
#include "policy/route.h"

/* What no snapshot exceeds. Postfix gives up on its SASL server after 10 s. */
#define CONFIG_CHECK_TIMEOUT_MAX_MS 8000
#define CONFIG_DIRECT_TIMEOUT_MAX_MS 50000
#define CONFIG_SHUTDOWN_TIMEOUT_MAX_MS 300000

struct dialect;

/* [api NAME] */
struct config_api {
	char *name;
	const struct api_format *format;
	char *url; /* without a slash at its end */
	char *ca_file;
	unsigned connections;
	unsigned connect_timeout_ms;
	struct api_settings settings;
	/* Of a call that may have had effect and was not answered: it is
	 * taken for accepted. Else it is made again. */
	bool accept_ambiguous;
};

/* [route NAME] */
struct config_route {
	struct route route; /* its handoff is made of these two: */
	bool by_transport;
	bool queued;
};

struct config {
	char *milter_socket;
	char *sasl_socket;
	char *lmtp_socket;
	char *socket_group;
	char *state_directory;
	char *secret_file;
	char *admin_secret;
	char *resubmit;	    /* where Postfix takes copies */
	char *tracking_url; /* NULL: nothing is tracked */
	char *tracking_secret;
	char *metrics_listen;	/* NULL: nowhere */
	unsigned auth_failures; /* a minute, for each address; 0: no limit */
	const struct dialect *dialect;
	unsigned direct_timeout_ms;
	unsigned direct_limit; /* hand-offs waiting for an API at once */
	unsigned shutdown_timeout_ms;
	unsigned remember_sent; /* seconds; 0: not at all */
	enum log_level log_level;
	size_t store_size;

	/* [keys] */
	bool ask_api; /* about keys that are not in the local store */
	bool ask_account;
	unsigned check_timeout_ms;
	unsigned ttl, negative_ttl, stale; /* seconds */
	unsigned cache_size;

	struct config_api **apis; /* the first is asked about keys */
	size_t n_apis;
	/* Of struct config_route; ROUTE_ANY is always there when there is an
	 * API. */
	struct route_list routes;
};

/* NULL and an error text "file:line: what; hint" (free()). */
struct config *config_load(const char *file, char **error_r);
void config_free(struct config **c);

/* NULL when there is none of that name. */
const struct config_api *config_api(const struct config *c, const char *name);

/* Which keys are asked about; NULL when there is no API. */
const struct config_api *config_main_api(const struct config *c);

/* The name of an option that differs and that only a start can change; NULL
 * when there is none. */
const char *config_fixed_change(const struct config *a, const struct config *b);

/* The file as "option = value" lines: what is in force, only what the file
 * sets, or the defaults. option: only that one; NULL: all. 0, or -1 and an
 * error text (free()). */
enum config_print_mode {
	CONFIG_PRINT_ALL,
	CONFIG_PRINT_SET,
	CONFIG_PRINT_DEFAULTS,
};
struct dynbuf;
int config_print(const char *file, enum config_print_mode mode,
		 const char *option, struct dynbuf *out, char **error_r);

/* One option of the table, for the check against the manual. */
struct config_option_info {
	const char *section; /* "", "keys", "api", "route" */
	const char *name;
	const char *default_value; /* NULL: must be given */
};

/* The i-th option; false when there are no more. */
bool config_option(size_t i, struct config_option_info *info_r);

#endif
