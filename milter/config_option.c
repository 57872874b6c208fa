/* SPDX-License-Identifier: MIT */
#include "config_option.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config.h"
#include "config_value.h"
#include "listener.h"
#include "need.h"
#include "policy/api.h"
#include "policy/dialect.h"

const char *const config_section_names[SECTIONS] = { "", "keys", "api",
						     "route" };

#define AT(member) offsetof(struct config, member)
#define API(member) offsetof(struct config_api, member)
#define ROUTE(member) offsetof(struct config_route, member)
#define NO_WORDS           \
	{                  \
		NULL, NULL \
	}

const struct config_option config_options[] = {
	{ SECTION_TOP, "milter_socket", TYPE_SOCKET, AT(milter_socket),
	  "unix:/var/spool/postfix/txmilter/milter.sock", 0, 0, true,
	  NO_WORDS },
	{ SECTION_TOP, "sasl_socket", TYPE_SOCKET, AT(sasl_socket),
	  "unix:/var/spool/postfix/txmilter/sasl.sock", 0, 0, true, NO_WORDS },
	{ SECTION_TOP, "lmtp_socket", TYPE_SOCKET, AT(lmtp_socket),
	  "unix:/var/spool/postfix/txmilter/lmtp.sock", 0, 0, true, NO_WORDS },
	{ SECTION_TOP, "socket_group", TYPE_TEXT, AT(socket_group), "postfix",
	  0, 0, true, NO_WORDS },
	{ SECTION_TOP, "state_directory", TYPE_PATH, AT(state_directory),
	  "/var/lib/txmilter", 0, 0, true, NO_WORDS },
	{ SECTION_TOP, "secret_file", TYPE_PATH, AT(secret_file),
	  "/etc/txmilter/secret", 0, 0, true, NO_WORDS },
	{ SECTION_TOP, "admin_secret", TYPE_PATH, AT(admin_secret),
	  "/etc/txmilter/admin.secret", 0, 0, true, NO_WORDS },
	{ SECTION_TOP, "metrics_listen", TYPE_SOCKET, AT(metrics_listen), "", 0,
	  0, true, NO_WORDS },
	{ SECTION_TOP, "auth_failures", TYPE_COUNT, AT(auth_failures), "30", 0,
	  1000000, true, NO_WORDS },
	{ SECTION_TOP, "dialect", TYPE_DIALECT, AT(dialect), "emaildelivery", 0,
	  0, false, NO_WORDS },
	{ SECTION_TOP, "direct_timeout", TYPE_MILLISECONDS,
	  AT(direct_timeout_ms), "20s", 100, CONFIG_DIRECT_TIMEOUT_MAX_MS,
	  false, NO_WORDS },
	{ SECTION_TOP, "direct_limit", TYPE_COUNT, AT(direct_limit), "500", 1,
	  100000, true, NO_WORDS },
	{ SECTION_TOP, "shutdown_timeout", TYPE_MILLISECONDS,
	  AT(shutdown_timeout_ms), "30s", 0, CONFIG_SHUTDOWN_TIMEOUT_MAX_MS,
	  false, NO_WORDS },
	{ SECTION_TOP, "remember_sent", TYPE_SECONDS, AT(remember_sent), "1h",
	  0, 604800, false, NO_WORDS },
	{ SECTION_TOP, "log_level", TYPE_LOG_LEVEL, AT(log_level), "info", 0, 0,
	  false, NO_WORDS },
	{ SECTION_TOP, "resubmit", TYPE_RESUBMIT, AT(resubmit),
	  "inet:10027@127.0.0.1", 0, 0, true, NO_WORDS },
	{ SECTION_TOP, "tracking_url", TYPE_TRACKING_URL, AT(tracking_url), "",
	  0, 0, true, NO_WORDS },
	{ SECTION_TOP, "tracking_secret", TYPE_PATH, AT(tracking_secret),
	  "/etc/txmilter/tracking.secret", 0, 0, true, NO_WORDS },
	{ SECTION_TOP, "store_size", TYPE_SIZE, AT(store_size), "256M", 1048576,
	  1099511627776, true, NO_WORDS },
	{ SECTION_KEYS,
	  "check",
	  TYPE_WORD,
	  AT(ask_api),
	  "none",
	  0,
	  0,
	  false,
	  { "api", "none" } },
	{ SECTION_KEYS,
	  "account",
	  TYPE_WORD,
	  AT(ask_account),
	  "key",
	  0,
	  0,
	  false,
	  { "api", "key" } },
	{ SECTION_KEYS, "check_timeout", TYPE_MILLISECONDS,
	  AT(check_timeout_ms), "7s", 100, CONFIG_CHECK_TIMEOUT_MAX_MS, false,
	  NO_WORDS },
	{ SECTION_KEYS, "ttl", TYPE_SECONDS, AT(ttl), "10m", 1, 604800, false,
	  NO_WORDS },
	{ SECTION_KEYS, "negative_ttl", TYPE_SECONDS, AT(negative_ttl), "30s",
	  1, 86400, false, NO_WORDS },
	{ SECTION_KEYS, "stale", TYPE_SECONDS, AT(stale), "24h", 0, 2592000,
	  false, NO_WORDS },
	{ SECTION_KEYS, "cache_size", TYPE_COUNT, AT(cache_size), "100000", 16,
	  100000000, true, NO_WORDS },
	{ SECTION_API, "format", TYPE_FORMAT, API(format), "emaildelivery", 0,
	  0, false, NO_WORDS },
	{ SECTION_API, "url", TYPE_URL, API(url), NULL, 0, 0, false, NO_WORDS },
	{ SECTION_API, "ca_file", TYPE_PATH, API(ca_file), "", 0, 0, true,
	  NO_WORDS },
	{ SECTION_API, "connections", TYPE_COUNT, API(connections), "200", 1,
	  10000, true, NO_WORDS },
	{ SECTION_API, "connect_timeout", TYPE_MILLISECONDS,
	  API(connect_timeout_ms), "5s", 100, 20000, true, NO_WORDS },
	{ SECTION_API,
	  "on_ambiguous",
	  TYPE_WORD,
	  API(accept_ambiguous),
	  "retry",
	  0,
	  0,
	  false,
	  { "accept", "retry" } },
	{ SECTION_API, "consent_to_track", TYPE_CONSENT,
	  API(settings.consent_to_track), "Unchanged", 0, 0, false, NO_WORDS },
	{ SECTION_API, "field", TYPE_FIELD, API(settings), "", 0, 0, false,
	  NO_WORDS },
	{ SECTION_ROUTE,
	  "handoff",
	  TYPE_WORD,
	  ROUTE(by_transport),
	  "api",
	  0,
	  0,
	  false,
	  { "transport", "api" } },
	{ SECTION_ROUTE,
	  "mode",
	  TYPE_WORD,
	  ROUTE(queued),
	  "direct",
	  0,
	  0,
	  false,
	  { "queued", "direct" } },
	{ SECTION_ROUTE, "api", TYPE_TEXT, ROUTE(route.api), "", 0, 0, false,
	  NO_WORDS },
	{ SECTION_ROUTE, "transport", TYPE_TRANSPORT, ROUTE(route.transport),
	  "", 0, 0, false, NO_WORDS },
	{ SECTION_ROUTE, "return_path", TYPE_RETURN_PATH,
	  ROUTE(route.return_path), "", 0, 0, false, NO_WORDS },
	{ SECTION_ROUTE, "tag_header", TYPE_HEADER, ROUTE(route.tag_header), "",
	  0, 0, false, NO_WORDS },
	{ SECTION_ROUTE, "labels_header", TYPE_HEADER,
	  ROUTE(route.labels_header), "", 0, 0, false, NO_WORDS },
	{ SECTION_ROUTE, "metadata_header", TYPE_HEADER,
	  ROUTE(route.metadata_header), "", 0, 0, false, NO_WORDS },
	{ SECTION_ROUTE, "strip", TYPE_STRIP, ROUTE(route), "", 0, 0, false,
	  NO_WORDS },
	{ SECTION_ROUTE, "add", TYPE_ADD, ROUTE(route), "", 0, 0, false,
	  NO_WORDS },
};

const size_t config_n_options =
    sizeof(config_options) / sizeof(config_options[0]);

bool
config_option(size_t i, struct config_option_info *info_r)
{
	if (i >= config_n_options)
		return false;
	*info_r = (struct config_option_info){
		.section = config_section_names[config_options[i].section],
		.name = config_options[i].name,
		.default_value = config_options[i].default_value,
	};
	return true;
}

static char *wrong(const struct config_option *o, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* "option: what", free(). */
static char *
wrong(const struct config_option *o, const char *fmt, ...)
{
	char *what, *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&what, fmt, ap) < 0)
		abort();
	va_end(ap);
	if (asprintf(&text, "%s: %s", o->name, what) < 0)
		abort();
	free(what);
	return text;
}

/* --- numbers -------------------------------------------------------------- */

struct unit {
	const char *name;
	unsigned long factor;
};

static const struct unit time_units[] = {
	{ "ms", 1 },	  { "s", 1000 },     { "m", 60000 },
	{ "h", 3600000 }, { "d", 86400000 }, { NULL, 0 },
};

static const struct unit size_units[] = {
	{ "", 1 },	     { "K", 1024 }, { "M", 1048576 },
	{ "G", 1073741824 }, { NULL, 0 },
};

static const struct unit no_units[] = { { "", 1 }, { NULL, 0 } };

static bool
parse_number(const char *text, const struct unit *units, unsigned long *n_r)
{
	char *end;
	unsigned long n;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtoul(text, &end, 10);
	for (; units->name != NULL; units++) {
		if (strcasecmp(units->name, end) == 0)
			return errno == 0 &&
			       !__builtin_mul_overflow(n, units->factor, n_r);
	}
	return false;
}

static char *
set_number(const struct config_option *o, const char *value, void *at)
{
	bool is_time = o->type == TYPE_MILLISECONDS || o->type == TYPE_SECONDS;
	const struct unit *units = is_time		  ? time_units
				   : o->type == TYPE_SIZE ? size_units
							  : no_units;
	unsigned long n = 0;

	if (!parse_number(value, units, &n))
		return wrong(o, "\"%s\" is not %s", value,
			     is_time ? "a time; write 500ms, 20s, 10m or 24h"
			     : o->type == TYPE_SIZE
				 ? "a size; write 64K, 256M or 1G"
				 : "a number");
	if (o->type == TYPE_SECONDS && n % 1000 != 0)
		return wrong(o, "must be whole seconds");
	if (o->type == TYPE_SECONDS)
		n /= 1000;
	if (n < o->min || n > o->max)
		return wrong(o, "%s is out of bounds; it may be %lu to %lu%s",
			     value, o->min, o->max,
			     o->type == TYPE_MILLISECONDS ? "ms"
			     : o->type == TYPE_SECONDS	  ? "s"
							  : "");
	if (o->type == TYPE_SIZE)
		*(size_t *)at = n;
	else
		*(unsigned *)at = (unsigned)n;
	return NULL;
}

/* --- text ----------------------------------------------------------------- */

static bool
is_url(const struct config_option *o)
{
	return o->type == TYPE_URL || o->type == TYPE_TRACKING_URL;
}

/* What is wrong with a text of that type; NULL: nothing. */
static const char *
check_text(const struct config_option *o, const char *value)
{
	bool optional = o->default_value != NULL && *o->default_value == '\0';
	const char *why = NULL;

	if (*value == '\0')
		return optional ? NULL : "needs a value";
	if (o->type == TYPE_SOCKET && !listener_check(value, &why))
		return why;
	if (o->type == TYPE_PATH && *value != '/')
		return "is not an absolute path";
	switch (o->type) {
	case TYPE_RESUBMIT:
		return config_value_resubmit(value);
	case TYPE_URL:
		return config_value_url(value);
	case TYPE_TRACKING_URL:
		return config_value_tracking_url(value);
	case TYPE_TRANSPORT:
		return config_value_transport(value);
	case TYPE_RETURN_PATH:
		return config_value_return_path(value);
	case TYPE_HEADER:
		return config_value_header(value);
	default:
		return NULL;
	}
}

static char *
set_text(const struct config_option *o, const char *value, char **at)
{
	const char *why = check_text(o, value);
	size_t n = strlen(value);

	if (why != NULL && o->type == TYPE_PATH && *value != '\0')
		return wrong(o, "\"%s\" %s", value, why);
	if (why != NULL)
		return wrong(o, "%s", why);
	while (is_url(o) && n > 0 && value[n - 1] == '/')
		n--;
	free(*at);
	*at = n > 0 ? need(strndup(value, n)) : NULL;
	return NULL;
}

/* --- headers of a route --------------------------------------------------- */

static char *
add_strip(const struct config_option *o, const char *value, struct route *r)
{
	while (*value != '\0') {
		size_t n = strcspn(value, ", \t");

		if (n > 0 && (config_value_name_len(value) < n ||
			      memchr(value, '*', n - 1) != NULL))
			return wrong(o, "\"%.*s\" is not a header's name",
				     (int)n, value);
		if (n > 0) {
			r->strip = need(realloc(
			    r->strip, (r->n_strip + 1) * sizeof(*r->strip)));
			r->strip[r->n_strip++] = need(strndup(value, n));
		}
		value += n + strspn(value + n, ", \t");
	}
	return NULL;
}

static char *
add_header(const struct config_option *o, const char *value, struct route *r)
{
	size_t n = config_value_name_len(value);
	const char *text = value + n + 1;
	const char *why;

	if (*value == '\0')
		return NULL;
	if (n == 0 || value[n] != ':')
		return wrong(o, "must be \"Name: value\"");
	why = config_value_added(value, n);
	if (why != NULL)
		return wrong(o, "%.*s: %s", (int)n, value, why);
	text += strspn(text, " \t");
	for (const char *p = text; *p != '\0'; p++) {
		if (*p < ' ' || *p > '~')
			return wrong(o, "%.*s: must be printable ASCII", (int)n,
				     value);
	}
	r->add = need(realloc(r->add, (r->n_add + 1) * sizeof(*r->add)));
	r->add[r->n_add++] = (struct route_header){
		.name = need(strndup(value, n)),
		.value = need(strdup(text)),
	};
	return NULL;
}

static void
clear_strip(struct route *r)
{
	for (size_t i = 0; i < r->n_strip; i++)
		free(r->strip[i]);
	free(r->strip);
	r->strip = NULL;
	r->n_strip = 0;
}

static void
clear_add(struct route *r)
{
	for (size_t i = 0; i < r->n_add; i++) {
		free(r->add[i].name);
		free(r->add[i].value);
	}
	free(r->add);
	r->add = NULL;
	r->n_add = 0;
}

/* --- words ---------------------------------------------------------------- */

static char *
set_word(const struct config_option *o, const char *value, bool *at)
{
	*at = strcmp(value, o->words[0]) == 0;
	if (*at || strcmp(value, o->words[1]) == 0)
		return NULL;
	return wrong(o, "must be \"%s\" or \"%s\"", o->words[1], o->words[0]);
}

static char *
set_log_level(const struct config_option *o, const char *value,
	      enum log_level *at)
{
	return log_level_parse(value, at) == 0
		   ? NULL
		   : wrong(o, "must be error, warning, info or debug");
}

static char *
set_dialect(const struct config_option *o, const char *value,
	    const struct dialect **at)
{
	char names[DIALECT_NAMES_SIZE];

	*at = dialect_find(value);
	return *at != NULL
		   ? NULL
		   : wrong(o, "no dialect is called \"%s\"; there is %s", value,
			   dialect_names(names));
}

static char *
set_format(const struct config_option *o, const char *value,
	   const struct api_format **at)
{
	char names[API_NAMES_SIZE];

	*at = api_find(value);
	return *at != NULL
		   ? NULL
		   : wrong(o, "no API format is called \"%s\"; there is %s",
			   value, api_names(names));
}

/* --- what a format has of its own ----------------------------------------- */

static char *
set_consent(const struct config_option *o, const char *value, const char **at)
{
	for (const char *const *c = api_consents; *c != NULL; c++) {
		if (strcmp(*c, value) == 0) {
			*at = *c;
			return NULL;
		}
	}
	return wrong(o, "must be \"%s\", \"%s\" or \"%s\"", api_consents[0],
		     api_consents[1], api_consents[2]);
}

static const struct api_field_row *
find_field(const char *name, size_t len)
{
	for (size_t i = 0; i < api_flexmail_n_fields; i++) {
		if (strlen(api_flexmail_fields[i].name) == len &&
		    memcmp(api_flexmail_fields[i].name, name, len) == 0)
			return &api_flexmail_fields[i];
	}
	return NULL;
}

static char *
check_field(const struct config_option *o, const char *value, size_t n,
	    const char *path, const struct api_settings *s)
{
	const struct api_field_row *row = find_field(value, n);

	if (n == 0 || *path == '\0')
		return wrong(o, "must be \"NAME PATH\", as in \"tag tag\"");
	if (row == NULL)
		return wrong(o, "there is no field \"%.*s\"", (int)n, value);
	if (!api_field_is_path(path) ||
	    (row->is_member && strchr(path, '.') != NULL))
		return wrong(o, "%s: \"%s\" cannot be %s", row->name, path,
			     row->is_member ? "a name"
					    : "a path of names with dots");
	for (size_t i = 0; i < s->n_fields; i++) {
		if (strcmp(s->fields[i].name, row->name) == 0)
			return wrong(o, "%s: given twice", row->name);
	}
	return NULL;
}

static char *
add_field(const struct config_option *o, const char *value,
	  struct api_settings *s)
{
	size_t n = strcspn(value, " \t");
	const char *path = value + n + strspn(value + n, " \t");
	char *why;

	if (*value == '\0')
		return NULL;
	why = check_field(o, value, n, path, s);
	if (why != NULL)
		return why;
	s->fields =
	    need(realloc(s->fields, (s->n_fields + 1) * sizeof(*s->fields)));
	s->fields[s->n_fields++] = (struct api_field){
		.name = need(strndup(value, n)),
		.path = need(strdup(path)),
	};
	return NULL;
}

static void
clear_fields(struct api_settings *s)
{
	for (size_t i = 0; i < s->n_fields; i++) {
		free(s->fields[i].name);
		free(s->fields[i].path);
	}
	free(s->fields);
	s->fields = NULL;
	s->n_fields = 0;
}

/* --- one option ----------------------------------------------------------- */

char *
config_option_set(const struct config_option *o, const char *value, void *base)
{
	void *at = (char *)base + o->offset;

	switch (o->type) {
	case TYPE_TEXT:
	case TYPE_SOCKET:
	case TYPE_RESUBMIT:
	case TYPE_PATH:
	case TYPE_URL:
	case TYPE_TRACKING_URL:
	case TYPE_TRANSPORT:
	case TYPE_RETURN_PATH:
	case TYPE_HEADER:
		return set_text(o, value, at);
	case TYPE_COUNT:
	case TYPE_MILLISECONDS:
	case TYPE_SECONDS:
	case TYPE_SIZE:
		return set_number(o, value, at);
	case TYPE_WORD:
		return set_word(o, value, at);
	case TYPE_LOG_LEVEL:
		return set_log_level(o, value, at);
	case TYPE_DIALECT:
		return set_dialect(o, value, at);
	case TYPE_FORMAT:
		return set_format(o, value, at);
	case TYPE_CONSENT:
		return set_consent(o, value, at);
	case TYPE_FIELD:
		return add_field(o, value, at);
	case TYPE_STRIP:
		return add_strip(o, value, at);
	case TYPE_ADD:
		return add_header(o, value, at);
	}
	return NULL;
}

bool
config_option_fits(const struct config_option *o, const void *base)
{
	const struct config_api *api = base;

	return o->type == TYPE_CONSENT ? api->format == &api_campaignmonitor
	       : o->type == TYPE_FIELD ? api->format == &api_flexmail
				       : true;
}

void
config_option_clear(const struct config_option *o, void *base)
{
	void *at = (char *)base + o->offset;

	switch (o->type) {
	case TYPE_TEXT:
	case TYPE_SOCKET:
	case TYPE_RESUBMIT:
	case TYPE_PATH:
	case TYPE_URL:
	case TYPE_TRACKING_URL:
	case TYPE_TRANSPORT:
	case TYPE_RETURN_PATH:
	case TYPE_HEADER:
		free(*(char **)at);
		*(char **)at = NULL;
		break;
	case TYPE_FIELD:
		clear_fields(at);
		break;
	case TYPE_STRIP:
		clear_strip(at);
		break;
	case TYPE_ADD:
		clear_add(at);
		break;
	default:
		break;
	}
}

static bool
same_text(const char *s, const char *t)
{
	return s == t || (s != NULL && t != NULL && strcmp(s, t) == 0);
}

bool
config_option_equal(const struct config_option *o, const void *a, const void *b)
{
	const void *x = (const char *)a + o->offset;
	const void *y = (const char *)b + o->offset;

	switch (o->type) {
	case TYPE_TEXT:
	case TYPE_SOCKET:
	case TYPE_RESUBMIT:
	case TYPE_PATH:
	case TYPE_URL:
	case TYPE_TRACKING_URL:
	case TYPE_TRANSPORT:
	case TYPE_RETURN_PATH:
	case TYPE_HEADER:
		return same_text(*(char *const *)x, *(char *const *)y);
	case TYPE_COUNT:
	case TYPE_MILLISECONDS:
	case TYPE_SECONDS:
		return *(const unsigned *)x == *(const unsigned *)y;
	case TYPE_SIZE:
		return *(const size_t *)x == *(const size_t *)y;
	case TYPE_WORD:
		return *(const bool *)x == *(const bool *)y;
	case TYPE_LOG_LEVEL:
		return *(const enum log_level *)x == *(const enum log_level *)y;
	case TYPE_DIALECT:
	case TYPE_FORMAT:
		return *(const void *const *)x == *(const void *const *)y;
	case TYPE_CONSENT:
	case TYPE_FIELD:
	case TYPE_STRIP:
	case TYPE_ADD:
		break; /* none of them is fixed */
	}
	return false;
}
