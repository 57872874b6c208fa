/* SPDX-License-Identifier: MIT */
/*
 * config_option: the table of options and what their values may be; used by
 * config.c alone and by what prints a configuration. Thread-safe; no state.
 */
#ifndef TXM_MILTER_CONFIG_OPTION_H
#define TXM_MILTER_CONFIG_OPTION_H

#include <stdbool.h>
#include <stddef.h>

enum config_section {
	SECTION_TOP,
	SECTION_KEYS,
	SECTION_API,   /* named; any number */
	SECTION_ROUTE, /* the same */
	SECTIONS
};

extern const char *const config_section_names[SECTIONS];

enum config_type {
	TYPE_TEXT,
	TYPE_SOCKET,
	TYPE_RESUBMIT, /* text, a socket of Postfix's on this machine */
	TYPE_PATH,
	TYPE_URL,
	TYPE_TRACKING_URL, /* text, an URL to be put into HTML */
	TYPE_TRANSPORT,	   /* text, "name:nexthop" */
	TYPE_RETURN_PATH,  /* text, an address with a token in it */
	TYPE_HEADER,	   /* text, the name of a header */
	TYPE_COUNT,	   /* unsigned */
	TYPE_MILLISECONDS, /* unsigned, written 500ms, 20s, 10m, 24h */
	TYPE_SECONDS,	   /* the same in seconds */
	TYPE_SIZE,	   /* size_t, written 64K, 256M, 1G */
	TYPE_WORD,	   /* bool: one of two words, the first is true */
	TYPE_LOG_LEVEL,
	TYPE_DIALECT,
	TYPE_FORMAT,
	TYPE_CONSENT, /* of campaignmonitor: one of api_consents */
	TYPE_FIELD,   /* of flexmail: "NAME PATH"; may be given again */
	TYPE_STRIP,   /* of a route: names of headers; may be given again */
	TYPE_ADD,     /* of a route: a header; may be given again */
};

struct config_option {
	enum config_section section;
	const char *name;
	enum config_type type;
	size_t offset; /* in struct config, config_api or config_route */
	const char *default_value; /* NULL: must be given; "": may be absent */
	unsigned long min, max;
	bool fixed; /* until the next start: a reload cannot change it */
	const char *words[2]; /* WORD */
};

extern const struct config_option config_options[];
extern const size_t config_n_options;

/* Sets the option in `base`, the struct of its section. NULL, or what is wrong
 * (free()). */
char *config_option_set(const struct config_option *o, const char *value,
			void *base);

/* False: the format of the API in `base` has no such option. */
bool config_option_fits(const struct config_option *o, const void *base);

/* Frees what the option owns in base. */
void config_option_clear(const struct config_option *o, void *base);

bool config_option_equal(const struct config_option *o, const void *a,
			 const void *b);

#endif
