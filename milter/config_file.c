/* SPDX-License-Identifier: MIT */
#include "config_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "need.h"
#include "policy/dynbuf.h"

struct config_file *
config_file_new(void)
{
	return need(calloc(1, sizeof(struct config_file)));
}

void
config_file_free(struct config_file **fp)
{
	struct config_file *f = *fp;

	if (f == NULL)
		return;
	while (f->first != NULL) {
		struct config_block *b = f->first;

		f->first = b->next;
		for (size_t i = 0; i < config_n_options; i++)
			free(b->values[i]);
		free(b->values);
		free(b->lines);
		free(b->name);
		free(b);
	}
	free(f);
	*fp = NULL;
}

struct config_block *
config_file_find(const struct config_file *f, enum config_section section,
		 const char *name)
{
	for (struct config_block *b = f->first; b != NULL; b = b->next) {
		if (b->section == section && strcmp(b->name, name) == 0)
			return b;
	}
	return NULL;
}

struct config_block *
config_file_add(struct config_file *f, enum config_section section,
		const char *name, unsigned line, void *base)
{
	struct config_block *b = need(calloc(1, sizeof(*b)));
	struct config_block **end = &f->first;

	b->section = section;
	b->name = need(strdup(name));
	b->line = line;
	b->base = base;
	b->values = need(calloc(config_n_options, sizeof(*b->values)));
	b->lines = need(calloc(config_n_options, sizeof(*b->lines)));
	while (*end != NULL)
		end = &(*end)->next;
	*end = b;
	return b;
}

const char *
config_block_value(const struct config_block *b, size_t option)
{
	return b->values[option];
}

void
config_block_keep(struct config_block *b, size_t option, const char *value,
		  unsigned line)
{
	char *old = b->values[option];
	char *both;

	b->lines[option] = line;
	if (old == NULL) {
		b->values[option] = need(strdup(value));
		return;
	}
	if (asprintf(&both, "%s\n%s", old, value) < 0)
		abort();
	free(old);
	b->values[option] = both;
}

/* --- printing ------------------------------------------------------------- */

static void
print_value(const struct config_option *o, const char *value,
	    struct dynbuf *out)
{
	while (*value != '\0') {
		size_t n = strcspn(value, "\n");

		(void)dynbuf_addf(out, "%s = %.*s\n", o->name, (int)n, value);
		value += n + (value[n] == '\n');
	}
}

/* The value to print, or NULL: this option is not printed. */
static const char *
printed_value(const struct config_block *b, size_t i,
	      enum config_print_mode mode)
{
	const char *given = b != NULL ? b->values[i] : NULL;

	if (mode == CONFIG_PRINT_SET)
		return given;
	if (mode == CONFIG_PRINT_DEFAULTS || given == NULL)
		return config_options[i].default_value;
	return given;
}

static void
print_block(const struct config_block *b, enum config_section section,
	    const char *name, enum config_print_mode mode, const char *option,
	    struct dynbuf *out)
{
	bool headed = section == SECTION_TOP;

	for (size_t i = 0; i < config_n_options; i++) {
		const struct config_option *o = &config_options[i];
		const char *value = printed_value(b, i, mode);

		if (o->section != section || value == NULL || *value == '\0' ||
		    (b != NULL && !config_option_fits(o, b->base)) ||
		    (option != NULL && strcmp(o->name, option) != 0))
			continue;
		if (!headed)
			(void)dynbuf_addf(out, "\n[%s%s%s]\n",
					  config_section_names[section],
					  *name ? " " : "", name);
		headed = true;
		print_value(o, value, out);
	}
}

static bool
option_exists(const char *name)
{
	for (size_t i = 0; i < config_n_options; i++) {
		if (strcmp(config_options[i].name, name) == 0)
			return true;
	}
	return false;
}

int
config_print(const char *name, enum config_print_mode mode, const char *option,
	     struct dynbuf *out, char **error_r)
{
	struct config *c;
	struct config_file *f = config_file_load(name, &c, error_r);

	if (f == NULL)
		return -1;
	print_block(config_file_find(f, SECTION_TOP, ""), SECTION_TOP, "", mode,
		    option, out);
	print_block(config_file_find(f, SECTION_KEYS, ""), SECTION_KEYS, "",
		    mode, option, out);
	for (const struct config_block *b = f->first; b != NULL; b = b->next) {
		if (b->section == SECTION_API || b->section == SECTION_ROUTE)
			print_block(b, b->section, b->name, mode, option, out);
	}
	config_file_free(&f);
	config_free(&c);
	if (option == NULL || option_exists(option))
		return 0;
	if (asprintf(error_r, "there is no option \"%s\"", option) < 0)
		abort();
	return -1;
}
