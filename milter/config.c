/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "listener.h"
#include "policy/api.h"
#include "policy/dialect.h"
#include "policy/dynbuf.h"

/* inih cuts longer section names without a word. */
#define SECTION_NAME_MAX 49

enum section { SECTION_TOP, SECTION_KEYS, SECTION_API, SECTIONS };

static const char *const section_names[SECTIONS] = { "", "keys", "api" };

enum type {
	TYPE_TEXT,
	TYPE_SOCKET,
	TYPE_PATH,
	TYPE_URL,
	TYPE_COUNT,	   /* unsigned */
	TYPE_MILLISECONDS, /* unsigned, written 500ms, 20s, 10m, 24h */
	TYPE_SECONDS,	   /* the same in seconds */
	TYPE_SIZE,	   /* size_t, written 64K, 256M, 1G */
	TYPE_LOG_LEVEL,
	TYPE_DIALECT,
	TYPE_FORMAT,
	TYPE_ACCOUNT_SOURCE, /* bool */
	TYPE_KEY_SOURCE,     /* bool */
};

struct option {
	enum section section;
	const char *name;
	enum type type;
	size_t offset;
	const char *default_value; /* NULL: must be given; "": may be absent */
	unsigned long min, max;
	bool fixed; /* until the next start: a reload cannot change it */
};

#define AT(member) offsetof(struct config, member)

static const struct option options[] = {
	{ SECTION_TOP, "milter_socket", TYPE_SOCKET, AT(milter_socket),
	  "unix:/var/spool/postfix/txmilter/milter.sock", 0, 0, true },
	{ SECTION_TOP, "sasl_socket", TYPE_SOCKET, AT(sasl_socket),
	  "unix:/var/spool/postfix/txmilter/sasl.sock", 0, 0, true },
	{ SECTION_TOP, "socket_group", TYPE_TEXT, AT(socket_group), "postfix",
	  0, 0, true },
	{ SECTION_TOP, "state_directory", TYPE_PATH, AT(state_directory),
	  "/var/lib/txmilter", 0, 0, true },
	{ SECTION_TOP, "secret_file", TYPE_PATH, AT(secret_file),
	  "/etc/txmilter/secret", 0, 0, true },
	{ SECTION_TOP, "admin_secret", TYPE_PATH, AT(admin_secret),
	  "/etc/txmilter/admin.secret", 0, 0, true },
	{ SECTION_TOP, "metrics_listen", TYPE_SOCKET, AT(metrics_listen), "", 0,
	  0, true },
	{ SECTION_TOP, "auth_failures", TYPE_COUNT, AT(auth_failures), "30", 0,
	  1000000, true },
	{ SECTION_TOP, "dialect", TYPE_DIALECT, AT(dialect), "emaildelivery", 0,
	  0, false },
	{ SECTION_TOP, "direct_timeout", TYPE_MILLISECONDS,
	  AT(direct_timeout_ms), "20s", 100, CONFIG_DIRECT_TIMEOUT_MAX_MS,
	  false },
	{ SECTION_TOP, "direct_limit", TYPE_COUNT, AT(direct_limit), "500", 1,
	  100000, true },
	{ SECTION_TOP, "log_level", TYPE_LOG_LEVEL, AT(log_level), "info", 0, 0,
	  false },
	{ SECTION_TOP, "store_size", TYPE_SIZE, AT(store_size), "256M", 1048576,
	  1099511627776, true },
	{ SECTION_KEYS, "check", TYPE_KEY_SOURCE, AT(ask_api), "none", 0, 0,
	  false },
	{ SECTION_KEYS, "account", TYPE_ACCOUNT_SOURCE, AT(ask_account), "key",
	  0, 0, false },
	{ SECTION_KEYS, "check_timeout", TYPE_MILLISECONDS,
	  AT(check_timeout_ms), "7s", 100, CONFIG_CHECK_TIMEOUT_MAX_MS, false },
	{ SECTION_KEYS, "ttl", TYPE_SECONDS, AT(ttl), "10m", 1, 604800, false },
	{ SECTION_KEYS, "negative_ttl", TYPE_SECONDS, AT(negative_ttl), "30s",
	  1, 86400, false },
	{ SECTION_KEYS, "stale", TYPE_SECONDS, AT(stale), "24h", 0, 2592000,
	  false },
	{ SECTION_KEYS, "cache_size", TYPE_COUNT, AT(cache_size), "100000", 16,
	  100000000, true },
	{ SECTION_API, "format", TYPE_FORMAT, AT(api.format), "emaildelivery",
	  0, 0, false },
	{ SECTION_API, "url", TYPE_URL, AT(api.url), NULL, 0, 0, false },
	{ SECTION_API, "ca_file", TYPE_PATH, AT(api.ca_file), "", 0, 0, true },
	{ SECTION_API, "connections", TYPE_COUNT, AT(api.connections), "200", 1,
	  10000, true },
	{ SECTION_API, "connect_timeout", TYPE_MILLISECONDS,
	  AT(api.connect_timeout_ms), "5s", 100, 20000, true },
};

#define N_OPTIONS (sizeof(options) / sizeof(options[0]))

static const char not_a_line[] =
    "not \"option = value\", \"[section]\" or a comment";

struct loading {
	const char *file;
	FILE *stream;
	struct config *config;
	unsigned line;
	char *text; /* the line, for getline() */
	size_t text_size;
	char *given[N_OPTIONS]; /* the values in the file; NULL: not there */
	char *error;		/* the first one */
};

bool
config_option(size_t i, struct config_option_info *info_r)
{
	if (i >= N_OPTIONS)
		return false;
	*info_r = (struct config_option_info){
		.section = section_names[options[i].section],
		.name = options[i].name,
		.default_value = options[i].default_value,
	};
	return true;
}

/* Remembers the first error; returns 0, which is inih's word for one. */
static int fail(struct loading *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int
fail(struct loading *l, const char *fmt, ...)
{
	char *what;
	va_list ap;

	if (l->error != NULL)
		return 0;
	va_start(ap, fmt);
	if (vasprintf(&what, fmt, ap) < 0)
		abort();
	va_end(ap);
	if (asprintf(&l->error, "%s:%u: %s", l->file, l->line, what) < 0)
		abort();
	free(what);
	return 0;
}

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

static int
set_number(struct loading *l, const struct option *o, const char *value,
	   void *at)
{
	bool is_time = o->type == TYPE_MILLISECONDS || o->type == TYPE_SECONDS;
	const struct unit *units = is_time		  ? time_units
				   : o->type == TYPE_SIZE ? size_units
							  : no_units;
	unsigned long n = 0;

	if (!parse_number(value, units, &n))
		return fail(l, "%s: \"%s\" is not %s", o->name, value,
			    is_time ? "a time; write 500ms, 20s, 10m or 24h"
			    : o->type == TYPE_SIZE
				? "a size; write 64K, 256M or 1G"
				: "a number");
	if (o->type == TYPE_SECONDS && n % 1000 != 0)
		return fail(l, "%s: must be whole seconds", o->name);
	if (o->type == TYPE_SECONDS)
		n /= 1000;
	if (n < o->min || n > o->max)
		return fail(l,
			    "%s: %s is out of bounds; it may be %lu to %lu%s",
			    o->name, value, o->min, o->max,
			    o->type == TYPE_MILLISECONDS ? "ms"
			    : o->type == TYPE_SECONDS	 ? "s"
							 : "");
	if (o->type == TYPE_SIZE)
		*(size_t *)at = n;
	else
		*(unsigned *)at = (unsigned)n;
	return 1;
}

/* What is wrong with a text of that type; NULL: nothing. */
static const char *
check_text(const struct option *o, const char *value)
{
	bool optional = o->default_value != NULL && *o->default_value == '\0';
	const char *why = NULL;
	const char *host;

	if (*value == '\0')
		return optional ? NULL : "needs a value";
	if (o->type == TYPE_SOCKET && !listener_check(value, &why))
		return why;
	if (o->type == TYPE_PATH && *value != '/')
		return "is not an absolute path";
	if (o->type != TYPE_URL)
		return NULL;
	if (strncmp(value, "https://", 8) != 0 &&
	    strncmp(value, "http://", 7) != 0)
		return "must begin with https:// (or http://)";
	host = strchr(value, '/') + 2;
	if (*host == '\0' || *host == '/')
		return "has no host";
	return strpbrk(value, " \t\"<>") != NULL
		   ? "has a blank or a quote in it"
		   : NULL;
}

static int
set_text(struct loading *l, const struct option *o, const char *value,
	 char **at)
{
	const char *why = check_text(o, value);
	size_t n = strlen(value);

	if (why != NULL && o->type == TYPE_PATH && *value != '\0')
		return fail(l, "%s: \"%s\" %s", o->name, value, why);
	if (why != NULL)
		return fail(l, "%s: %s", o->name, why);
	while (o->type == TYPE_URL && n > 0 && value[n - 1] == '/')
		n--;
	free(*at);
	*at = strndup(value, n);
	if (*at == NULL)
		abort();
	return 1;
}

static int
set_dialect(struct loading *l, const struct option *o, const char *value,
	    const struct dialect **at)
{
	*at = dialect_find(value);
	if (*at == NULL)
		return fail(l,
			    "%s: no dialect is called \"%s\"; there is "
			    "emaildelivery",
			    o->name, value);
	return 1;
}

static int
set_format(struct loading *l, const struct option *o, const char *value,
	   const struct api_format **at)
{
	*at = api_find(value);
	if (*at == NULL)
		return fail(l,
			    "%s: no API format is called \"%s\"; there is "
			    "emaildelivery",
			    o->name, value);
	return 1;
}

/* One of two words; true is "api". */
static int
set_source(struct loading *l, const struct option *o, const char *value,
	   const char *other, bool *at)
{
	*at = strcmp(value, "api") == 0;
	if (!*at && strcmp(value, other) != 0)
		return fail(l, "%s: must be \"%s\" or \"api\"", o->name, other);
	return 1;
}

static int
set_log_level(struct loading *l, const struct option *o, const char *value,
	      enum log_level *at)
{
	if (log_level_parse(value, at) != 0)
		return fail(l, "%s: must be error, warning, info or debug",
			    o->name);
	return 1;
}

static int
set_option(struct loading *l, const struct option *o, const char *value)
{
	void *at = (char *)l->config + o->offset;

	switch (o->type) {
	case TYPE_TEXT:
	case TYPE_SOCKET:
	case TYPE_PATH:
	case TYPE_URL:
		return set_text(l, o, value, at);
	case TYPE_COUNT:
	case TYPE_MILLISECONDS:
	case TYPE_SECONDS:
	case TYPE_SIZE:
		return set_number(l, o, value, at);
	case TYPE_LOG_LEVEL:
		return set_log_level(l, o, value, at);
	case TYPE_DIALECT:
		return set_dialect(l, o, value, at);
	case TYPE_FORMAT:
		return set_format(l, o, value, at);
	case TYPE_ACCOUNT_SOURCE:
		return set_source(l, o, value, "key", at);
	case TYPE_KEY_SOURCE:
		return set_source(l, o, value, "none", at);
	}
	return 0;
}

/* "api NAME": there is one API for now; a second one has nobody to use it. */
static int
open_api(struct loading *l, const char *name)
{
	struct config_api *api = &l->config->api;

	if (*name == '\0')
		return fail(l, "[api] needs a name: [api NAME]");
	if (api->name != NULL && strcmp(api->name, name) != 0)
		return fail(l,
			    "[api %s]: there can be one API, and it is "
			    "[api %s]",
			    name, api->name);
	if (api->name == NULL)
		api->name = strdup(name);
	if (api->name == NULL)
		abort();
	return 1;
}

static int
find_section(struct loading *l, const char *text, enum section *section_r)
{
	const char *blank = strchr(text, ' ');
	size_t n = blank ? (size_t)(blank - text) : strlen(text);

	for (int s = 0; s < SECTIONS; s++) {
		if (strlen(section_names[s]) != n ||
		    memcmp(section_names[s], text, n) != 0)
			continue;
		*section_r = (enum section)s;
		if (s == SECTION_API)
			return open_api(l, blank ? blank + 1 : "");
		if (blank == NULL)
			return 1;
	}
	return fail(l, "unknown section [%s]; there are [keys] and [api NAME]",
		    text);
}

static int
handle(void *arg, const char *section_text, const char *name, const char *value)
{
	struct loading *l = arg;
	enum section section = SECTION_TOP;

	if (l->error != NULL || !find_section(l, section_text, &section))
		return 0;
	for (size_t i = 0; i < N_OPTIONS; i++) {
		if (options[i].section != section ||
		    strcmp(options[i].name, name) != 0)
			continue;
		if (l->given[i] != NULL)
			return fail(l,
				    "%s: given twice (a line that begins "
				    "with a blank goes on with the one "
				    "above)",
				    name);
		l->given[i] = strdup(value);
		if (l->given[i] == NULL)
			abort();
		return set_option(l, &options[i], value);
	}
	return fail(l, "unknown option \"%s\"%s%s%s", name,
		    *section_text ? " in [" : "", section_text,
		    *section_text ? "]" : "");
}

/* A section's line is checked when it is read: inih tells of a section only
 * when it has an option. */
static void
check_section_line(struct loading *l, const char *line)
{
	char name[SECTION_NAME_MAX + 1];
	enum section section;
	size_t n;

	if (l->line == 1 && strncmp(line, "\xef\xbb\xbf", 3) == 0)
		line += 3;
	line += strspn(line, " \t");
	if (*line != '[')
		return;
	n = strcspn(++line, "]");
	if (line[n] != ']' ||
	    line[n + 1 + strspn(line + n + 1, " \t\r\n")] != '\0') {
		(void)fail(l, "%s", not_a_line);
	} else if (n == 0) {
		(void)fail(l, "a section needs a name");
	} else if (n > SECTION_NAME_MAX) {
		(void)fail(l, "the section's name is too long");
	} else {
		memcpy(name, line, n);
		name[n] = '\0';
		(void)find_section(l, name, &section);
	}
}

/* inih would take the rest of such a line for another, or cut it off. */
static const char *
check_line(const char *line, size_t n)
{
	if (memchr(line, '\0', n) != NULL)
		return "a NUL character";
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)line[i];

		if ((c < 0x20 && c != '\t' && c != '\r' && c != '\n') ||
		    c == 0x7f)
			return "a control character";
	}
	line += strspn(line, " \t");
	if (*line != '#' && *line != ';' &&
	    (strstr(line, " ;") != NULL || strstr(line, "\t;") != NULL))
		return "a comment must have a line of its own";
	return NULL;
}

/* As fgets(), but a line that does not fit is an error and not two lines. */
static char *
read_line(char *dst, int size, void *arg)
{
	struct loading *l = arg;
	const char *why;
	ssize_t n;

	if (l->error != NULL)
		return NULL;
	n = getline(&l->text, &l->text_size, l->stream);
	if (n < 0)
		return NULL;
	l->line++;
	why = check_line(l->text, (size_t)n);
	if (why != NULL)
		(void)fail(l, "%s", why);
	else if (n >= size)
		(void)fail(l, "the line is longer than %d bytes", size - 2);
	else
		check_section_line(l, l->text);
	if (l->error != NULL)
		return NULL;
	memcpy(dst, l->text, (size_t)n + 1);
	return dst;
}

static void
set_defaults(struct loading *l)
{
	for (size_t i = 0; i < N_OPTIONS; i++) {
		if (options[i].default_value != NULL &&
		    options[i].default_value[0] != '\0')
			(void)set_option(l, &options[i],
					 options[i].default_value);
	}
}

static void
check_required(struct loading *l)
{
	l->line++;
	if (l->config->api.name == NULL) {
		(void)fail(l, "there is no [api NAME] section; it says where "
			      "messages go");
		return;
	}
	for (size_t i = 0; i < N_OPTIONS; i++) {
		if (options[i].default_value == NULL && l->given[i] == NULL)
			(void)fail(l, "[%s %s] needs \"%s = ...\"",
				   section_names[options[i].section],
				   l->config->api.name, options[i].name);
	}
}

/* Reads the file into l->config, or sets l->error. */
static void
load(struct loading *l)
{
	int first_bad;

	l->stream = fopen(l->file, "re");
	if (l->stream == NULL) {
		if (asprintf(&l->error, "%s: %s", l->file, strerror(errno)) < 0)
			abort();
		return;
	}
	l->config = calloc(1, sizeof(*l->config));
	if (l->config == NULL)
		abort();
	set_defaults(l);
	first_bad = ini_parse_stream(read_line, l, handle, l);
	/* What inih does not understand it skips, and says so at the end. */
	if (first_bad > 0 &&
	    (l->error == NULL || (unsigned)first_bad < l->line)) {
		free(l->error);
		l->error = NULL;
		l->line = (unsigned)first_bad;
		(void)fail(l, "%s", not_a_line);
	}
	if (l->error == NULL && ferror(l->stream) == 0)
		check_required(l);
	else if (l->error == NULL &&
		 asprintf(&l->error, "%s: %s", l->file, strerror(errno)) < 0)
		abort();
	(void)fclose(l->stream);
}

/* All but the configuration and the error. */
static void
loading_clear(struct loading *l)
{
	free(l->text);
	for (size_t i = 0; i < N_OPTIONS; i++)
		free(l->given[i]);
}

struct config *
config_load(const char *file, char **error_r)
{
	struct loading l = { .file = file };

	load(&l);
	loading_clear(&l);
	*error_r = l.error;
	if (l.error != NULL)
		config_free(&l.config);
	return l.config;
}

/* --- looking at it ----------------------------------------------------------
 */

static bool
same_value(const struct option *o, const struct config *a,
	   const struct config *b)
{
	const void *x = (const char *)a + o->offset;
	const void *y = (const char *)b + o->offset;
	const char *s, *t;

	switch (o->type) {
	case TYPE_TEXT:
	case TYPE_SOCKET:
	case TYPE_PATH:
	case TYPE_URL:
		s = *(char *const *)x;
		t = *(char *const *)y;
		return s == t || (s != NULL && t != NULL && strcmp(s, t) == 0);
	case TYPE_COUNT:
	case TYPE_MILLISECONDS:
	case TYPE_SECONDS:
		return *(const unsigned *)x == *(const unsigned *)y;
	case TYPE_SIZE:
		return *(const size_t *)x == *(const size_t *)y;
	case TYPE_LOG_LEVEL:
		return *(const enum log_level *)x == *(const enum log_level *)y;
	case TYPE_DIALECT:
	case TYPE_FORMAT:
		return *(const void *const *)x == *(const void *const *)y;
	case TYPE_ACCOUNT_SOURCE:
	case TYPE_KEY_SOURCE:
		return *(const bool *)x == *(const bool *)y;
	}
	return false;
}

const char *
config_fixed_change(const struct config *a, const struct config *b)
{
	for (size_t i = 0; i < N_OPTIONS; i++) {
		if (options[i].fixed && !same_value(&options[i], a, b))
			return options[i].name;
	}
	return NULL;
}

/* The value to print, or NULL: this option is not printed. */
static const char *
printed_value(const struct loading *l, size_t i, enum config_print_mode mode)
{
	const char *set = l->given[i];

	if (mode == CONFIG_PRINT_SET || set == NULL ||
	    mode == CONFIG_PRINT_DEFAULTS)
		return mode == CONFIG_PRINT_SET ? set
						: options[i].default_value;
	return set;
}

static void
print_option(const struct loading *l, size_t i, enum config_print_mode mode,
	     enum section *section, struct dynbuf *out)
{
	const struct option *o = &options[i];
	const char *value = printed_value(l, i, mode);

	if (value == NULL || *value == '\0')
		return;
	if (o->section != *section)
		(void)dynbuf_addf(
		    out, "\n[%s%s%s]\n", section_names[o->section],
		    o->section == SECTION_API ? " " : "",
		    o->section == SECTION_API ? l->config->api.name : "");
	*section = o->section;
	(void)dynbuf_addf(out, "%s = %s\n", o->name, value);
}

int
config_print(const char *file, enum config_print_mode mode, const char *option,
	     struct dynbuf *out, char **error_r)
{
	struct loading l = { .file = file };
	enum section section = SECTION_TOP;
	bool found = option == NULL;

	load(&l);
	*error_r = l.error;
	for (size_t i = 0; l.error == NULL && i < N_OPTIONS; i++) {
		if (option != NULL && strcmp(options[i].name, option) != 0)
			continue;
		found = true;
		print_option(&l, i, mode, &section, out);
	}
	loading_clear(&l);
	config_free(&l.config);
	if (*error_r != NULL || found)
		return *error_r == NULL ? 0 : -1;
	if (asprintf(error_r, "there is no option \"%s\"", option) < 0)
		abort();
	return -1;
}

void
config_free(struct config **cp)
{
	struct config *c = *cp;

	if (c == NULL)
		return;
	free(c->milter_socket);
	free(c->sasl_socket);
	free(c->socket_group);
	free(c->state_directory);
	free(c->secret_file);
	free(c->admin_secret);
	free(c->metrics_listen);
	free(c->api.name);
	free(c->api.url);
	free(c->api.ca_file);
	free(c);
	*cp = NULL;
}
