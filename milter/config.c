/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config_file.h"
#include "config_option.h"
#include "listener.h"
#include "need.h"

/* inih cuts longer section names without a word. */
#define SECTION_NAME_MAX 49

static const char not_a_line[] =
    "not \"option = value\", \"[section]\" or a comment";

/* The file while it is read. */
struct loading {
	const char *name;
	FILE *stream;
	struct config *config;
	struct config_file *file;
	unsigned line;
	char *text; /* the line, for getline() */
	size_t text_size;
	char *error; /* the first one */
};

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
	if (asprintf(&l->error, "%s:%u: %s", l->name, l->line, what) < 0)
		abort();
	free(what);
	return 0;
}

static int
fail_at(struct loading *l, unsigned line, const char *what, const char *section)
{
	l->line = line;
	return fail(l, "[route %s] %s", section, what);
}

/* The same of an API, about one of its options. */
static int
fail_of_api(struct loading *l, const struct config_block *b, const char *why,
	    const char *option)
{
	l->line = b->line;
	return fail(l, "[api %s] %s: \"%s\"", b->name, why, option);
}

/* --- sections ------------------------------------------------------------- */

static void
set_defaults(enum config_section section, void *base)
{
	for (size_t i = 0; i < config_n_options; i++) {
		const struct config_option *o = &config_options[i];

		if (o->section == section && o->default_value != NULL &&
		    o->default_value[0] != '\0' &&
		    config_option_set(o, o->default_value, base) != NULL)
			abort(); /* the table is wrong */
	}
}

static struct config_api *
new_api(struct config *c, const char *name)
{
	struct config_api *api = need(calloc(1, sizeof(*api)));

	api->name = need(strdup(name));
	c->apis = need(realloc(c->apis, (c->n_apis + 1) * sizeof(*c->apis)));
	c->apis[c->n_apis++] = api;
	return api;
}

static struct config_route *
new_route(struct config *c, const char *name)
{
	struct route_list *list = &c->routes;
	struct config_route *r = need(calloc(1, sizeof(*r)));

	r->route.name = need(strdup(name));
	list->v = need(realloc(list->v, (list->n + 1) * sizeof(*list->v)));
	list->v[list->n++] = &r->route;
	return r;
}

static void *
new_section(struct config *c, enum config_section section, const char *name)
{
	void *base = section == SECTION_API	? (void *)new_api(c, name)
		     : section == SECTION_ROUTE ? (void *)new_route(c, name)
						: (void *)c;

	if (base != c)
		set_defaults(section, base);
	return base;
}

/* What an API and a route may be called: it is in logs and metrics. */
static bool
is_name(enum config_section section, const char *name)
{
	if (section == SECTION_ROUTE && strcmp(name, ROUTE_ANY) == 0)
		return true;
	for (const char *p = name; *p != '\0'; p++) {
		bool good =
		    (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
		    (*p >= '0' && *p <= '9') || strchr("._-", *p) != NULL;

		if (!good)
			return false;
	}
	return *name != '\0';
}

/* The section's block, made when it is not there yet. NULL: error set. */
static struct config_block *
find_section(struct loading *l, const char *text)
{
	const char *blank = strchr(text, ' ');
	size_t n = blank ? (size_t)(blank - text) : strlen(text);
	const char *name = blank ? blank + 1 : "";
	struct config_block *b;

	for (int s = 0; s < SECTIONS; s++) {
		const char *word = config_section_names[s];
		bool named = s == SECTION_API || s == SECTION_ROUTE;

		if (strlen(word) != n || memcmp(word, text, n) != 0 ||
		    (!named && blank != NULL))
			continue;
		if (named && !is_name((enum config_section)s, name)) {
			(void)fail(l,
				   "[%s]: write [%s NAME]; a name has letters, "
				   "digits, '.', '_' and '-'",
				   text, word);
			return NULL;
		}
		b = config_file_find(l->file, (enum config_section)s, name);
		if (b != NULL)
			return b;
		return config_file_add(
		    l->file, (enum config_section)s, name, l->line,
		    new_section(l->config, (enum config_section)s, name));
	}
	(void)fail(l,
		   "unknown section [%s]; there are [keys], [api NAME] and "
		   "[route NAME]",
		   text);
	return NULL;
}

/* --- lines ---------------------------------------------------------------- */

static int
take(struct loading *l, struct config_block *b, size_t option,
     const char *value)
{
	const struct config_option *o = &config_options[option];
	bool again = o->type == TYPE_STRIP || o->type == TYPE_ADD ||
		     o->type == TYPE_FIELD;
	char *why;

	if (!again && config_block_value(b, option) != NULL)
		return fail(l,
			    "%s: given twice (a line that begins with a blank "
			    "goes on with the one above)",
			    o->name);
	why = config_option_set(o, value, b->base);
	if (why != NULL) {
		(void)fail(l, "%s", why);
		free(why);
		return 0;
	}
	config_block_keep(b, option, value, l->line);
	return 1;
}

static int
handle(void *arg, const char *section_text, const char *name, const char *value)
{
	struct loading *l = arg;
	struct config_block *b;

	if (l->error != NULL)
		return 0;
	b = find_section(l, section_text);
	if (b == NULL)
		return 0;
	for (size_t i = 0; i < config_n_options; i++) {
		if (config_options[i].section == b->section &&
		    strcmp(config_options[i].name, name) == 0)
			return take(l, b, i, value);
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
		(void)find_section(l, name);
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

/* --- the whole ------------------------------------------------------------ */

static size_t
option_named(enum config_section section, const char *name)
{
	for (size_t i = 0; i < config_n_options; i++) {
		if (config_options[i].section == section &&
		    strcmp(config_options[i].name, name) == 0)
			return i;
	}
	abort();
}

/* 0: it is not given. */
static unsigned
line_of(const struct config_block *b, enum config_section section,
	const char *name)
{
	return b != NULL ? b->lines[option_named(section, name)] : 0;
}

/* An option that means nothing for this kind of route would be a mistake that
 * nobody notices. */
static bool
goes_with(struct loading *l, const struct config_block *b, bool by_transport)
{
	static const char *const of_transport[] = {
		"transport",	   "return_path", "tag_header", "labels_header",
		"metadata_header", "strip",	  "add",	NULL
	};
	static const char *const of_api[] = { "mode", "api", NULL };
	const char *const *names = by_transport ? of_api : of_transport;
	char what[100];

	for (; *names != NULL; names++) {
		if (config_block_value(
			b, option_named(SECTION_ROUTE, *names)) == NULL)
			continue;
		(void)snprintf(what, sizeof(what),
			       "hands over to %s: \"%s\" does not go with that",
			       by_transport ? "a transport" : "an API", *names);
		(void)fail_at(l, b->line, what, b->name);
		return false;
	}
	return true;
}

/* The same for what only one format has. */
static void
finish_api(struct loading *l, const struct config_block *b,
	   const struct config_api *api)
{
	const char *clash = api_flexmail_clash(&api->settings);
	char why[100];

	for (size_t i = 0; i < config_n_options; i++) {
		const struct config_option *o = &config_options[i];

		if (config_block_value(b, i) == NULL ||
		    config_option_fits(o, b->base))
			continue;
		(void)snprintf(why, sizeof(why),
			       "the format %s has no such option",
			       api->format->name);
		(void)fail_of_api(l, b, why, o->name);
		return;
	}
	if (clash != NULL)
		(void)fail_of_api(
		    l, b, "field: its place in the request is taken", clash);
}

/* Two options that name one header: the later line is the mistake. */
static void
fail_of_header(struct loading *l, const struct config_block *b,
	       const char *option, const char *other, const char *name)
{
	unsigned line = line_of(b, SECTION_ROUTE, option);
	unsigned other_line = line_of(b, SECTION_ROUTE, other);

	l->line = line > other_line ? line : other_line;
	(void)fail(l,
		   "[route %s] %s and %s: both are the header %s; write "
		   "another for one of them",
		   b->name, option, other, name);
}

/* What the next hop gets of a message has a header each. */
static void
check_headers(struct loading *l, const struct config_block *b,
	      const struct route *r)
{
	const struct {
		const char *option, *name;
	} headers[] = {
		{ "tag_header", r->tag_header },
		{ "labels_header", r->labels_header },
		{ "metadata_header", r->metadata_header },
	};
	size_t n = sizeof(headers) / sizeof(headers[0]);

	for (size_t i = 0; i < n; i++) {
		const char *name = headers[i].name;

		for (size_t k = i + 1; name != NULL && k < n; k++) {
			if (headers[k].name != NULL &&
			    strcasecmp(name, headers[k].name) == 0)
				fail_of_header(l, b, headers[i].option,
					       headers[k].option, name);
		}
		for (size_t k = 0; name != NULL && k < r->n_add; k++) {
			if (strcasecmp(name, r->add[k].name) == 0)
				fail_of_header(l, b, headers[i].option, "add",
					       name);
		}
	}
}

static void
finish_route(struct loading *l, const struct config_block *b,
	     struct config_route *r)
{
	const struct config *c = l->config;
	const struct config_api *api;
	char what[160];

	r->route.handoff = r->by_transport ? ROUTE_TRANSPORT
			   : r->queued	   ? ROUTE_QUEUED
					   : ROUTE_DIRECT;
	r->route.tracks = r->by_transport && c->tracking_url != NULL;
	if (b != NULL && !goes_with(l, b, r->by_transport))
		return;
	if (r->by_transport && r->route.transport == NULL) {
		(void)fail_at(l, b->line, "needs \"transport = ...\"", b->name);
		return;
	}
	if (r->by_transport) {
		check_headers(l, b, &r->route);
		return;
	}
	if (r->route.api == NULL && c->n_apis > 0)
		r->route.api = need(strdup(c->apis[0]->name));
	api = r->route.api != NULL ? config_api(c, r->route.api) : NULL;
	if (api != NULL) {
		r->route.format = api->format;
		return;
	}
	(void)snprintf(what, sizeof(what), "needs a section [api %s]",
		       r->route.api ? r->route.api : "NAME");
	(void)fail_at(l, b->line, what, b->name);
}

/* What a route without a section means: to the first API, directly. */
static void
add_any_route(struct loading *l)
{
	struct config_route *r;

	if (l->config->n_apis == 0 ||
	    route_find(&l->config->routes, ROUTE_ANY) != NULL)
		return;
	r = new_section(l->config, SECTION_ROUTE, ROUTE_ANY);
	finish_route(l, NULL, r);
}

static void
check_required(struct loading *l, const struct config_block *b)
{
	for (size_t i = 0; i < config_n_options; i++) {
		if (config_options[i].section == b->section &&
		    config_options[i].default_value == NULL &&
		    config_block_value(b, i) == NULL)
			(void)fail(l, "[%s %s] needs \"%s = ...\"",
				   config_section_names[b->section], b->name,
				   config_options[i].name);
	}
}

/* Postfix is told where the agent is by a header, which a table checks. */
static void
check_agent_path(struct loading *l)
{
	const char *path = listener_path(l->config->lmtp_socket);
	const char *p = path;

	while (p != NULL &&
	       ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
		(*p >= '0' && *p <= '9') ||
		(*p != '\0' && strchr("_./-", *p) != NULL)))
		p++;
	if (p != NULL && *p != '\0')
		(void)fail(l, "lmtp_socket: the path may have letters, digits "
			      "and _ . / - only");
}

/* A copy that came to us and not to Postfix would wait for ever. */
static void
check_resubmit(struct loading *l)
{
	const struct config *c = l->config;
	const struct config_block *b =
	    config_file_find(l->file, SECTION_TOP, "");
	const struct {
		const char *option, *socket;
	} ours[] = {
		{ "milter_socket", c->milter_socket },
		{ "sasl_socket", c->sasl_socket },
		{ "lmtp_socket", c->lmtp_socket },
		{ "metrics_listen", c->metrics_listen },
	};

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		unsigned line = line_of(b, SECTION_TOP, "resubmit");
		unsigned other = line_of(b, SECTION_TOP, ours[i].option);

		if (ours[i].socket == NULL ||
		    !listener_meets(c->resubmit, ours[i].socket))
			continue;
		l->line = line > other ? line : other;
		(void)fail(l,
			   "resubmit: is %s, where txmilter listens; it is for "
			   "the service txresubmit of Postfix",
			   ours[i].option);
	}
}

/* What only the whole file can tell. */
static void
finish(struct loading *l)
{
	const struct config *c = l->config;

	l->line++;
	if (c->n_apis == 0 && (c->routes.n == 0 || c->ask_api)) {
		(void)fail(l, "there is no [api NAME] section; it says where "
			      "messages go");
		return;
	}
	if (c->ask_api && c->apis[0]->format->keys == NULL) {
		(void)fail(l,
			   "[keys] check = api: keys cannot be checked with an "
			   "API of the format %s",
			   c->apis[0]->format->name);
		return;
	}
	check_agent_path(l);
	check_resubmit(l);
	for (struct config_block *b = l->file->first; b != NULL; b = b->next)
		check_required(l, b);
	for (struct config_block *b = l->file->first; b != NULL; b = b->next) {
		if (b->section == SECTION_API)
			finish_api(l, b, b->base);
	}
	for (struct config_block *b = l->file->first; b != NULL; b = b->next) {
		if (b->section == SECTION_ROUTE)
			finish_route(l, b, b->base);
	}
	add_any_route(l);
}

/* Reads the file into l->config, or sets l->error. */
static void
load(struct loading *l)
{
	int first_bad;

	l->stream = fopen(l->name, "re");
	if (l->stream == NULL) {
		if (asprintf(&l->error, "%s: %s", l->name, strerror(errno)) < 0)
			abort();
		return;
	}
	l->config = need(calloc(1, sizeof(*l->config)));
	set_defaults(SECTION_TOP, l->config);
	set_defaults(SECTION_KEYS, l->config);
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
		finish(l);
	else if (l->error == NULL &&
		 asprintf(&l->error, "%s: %s", l->name, strerror(errno)) < 0)
		abort();
	(void)fclose(l->stream);
}

struct config_file *
config_file_load(const char *name, struct config **config_r, char **error_r)
{
	struct loading l = { .name = name, .file = config_file_new() };

	load(&l);
	free(l.text);
	*error_r = l.error;
	*config_r = l.config;
	if (l.error == NULL)
		return l.file;
	config_free(config_r);
	config_file_free(&l.file);
	return NULL;
}

struct config *
config_load(const char *name, char **error_r)
{
	struct config *c;
	struct config_file *f = config_file_load(name, &c, error_r);

	config_file_free(&f);
	return c;
}

const struct config_api *
config_api(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->n_apis; i++) {
		if (strcmp(c->apis[i]->name, name) == 0)
			return c->apis[i];
	}
	return NULL;
}

const struct config_api *
config_main_api(const struct config *c)
{
	return c->n_apis > 0 ? c->apis[0] : NULL;
}

/* --- what a reload may change --------------------------------------------- */

static const char *
fixed_change(enum config_section section, const void *a, const void *b)
{
	for (size_t i = 0; i < config_n_options; i++) {
		const struct config_option *o = &config_options[i];

		if (o->section == section && o->fixed &&
		    !config_option_equal(o, a, b))
			return o->name;
	}
	return NULL;
}

const char *
config_fixed_change(const struct config *a, const struct config *b)
{
	const char *name = fixed_change(SECTION_TOP, a, b);

	if (name == NULL)
		name = fixed_change(SECTION_KEYS, a, b);
	if (name == NULL && a->n_apis != b->n_apis)
		name = "[api NAME]";
	for (size_t i = 0; name == NULL && i < a->n_apis; i++) {
		name = strcmp(a->apis[i]->name, b->apis[i]->name) != 0
			   ? "[api NAME]"
			   : fixed_change(SECTION_API, a->apis[i], b->apis[i]);
	}
	return name;
}

/* --- freeing -------------------------------------------------------------- */

static void
clear_options(enum config_section section, void *base)
{
	for (size_t i = 0; i < config_n_options; i++) {
		if (config_options[i].section == section)
			config_option_clear(&config_options[i], base);
	}
}

void
config_free(struct config **cp)
{
	struct config *c = *cp;

	if (c == NULL)
		return;
	for (size_t i = 0; i < c->n_apis; i++) {
		clear_options(SECTION_API, c->apis[i]);
		free(c->apis[i]->name);
		free(c->apis[i]);
	}
	free(c->apis);
	for (size_t i = 0; i < c->routes.n; i++) {
		char *name = c->routes.v[i]->name;

		clear_options(SECTION_ROUTE, c->routes.v[i]);
		free(c->routes.v[i]);
		free(name);
	}
	free(c->routes.v);
	clear_options(SECTION_TOP, c);
	clear_options(SECTION_KEYS, c);
	free(c);
	*cp = NULL;
}
