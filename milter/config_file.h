/* SPDX-License-Identifier: MIT */
/*
 * config_file: what a configuration file says, section by section, as it is
 * written: for the loader, which asks what was given already, and for printing.
 * Not thread-safe.
 */
#ifndef TXM_MILTER_CONFIG_FILE_H
#define TXM_MILTER_CONFIG_FILE_H

#include <stddef.h>

#include "config_option.h"

struct config;

/* One section. */
struct config_block {
	enum config_section section;
	char *name;	 /* "" when it has none */
	unsigned line;	 /* where it begins */
	void *base;	 /* what its options are set in; not owned */
	char **values;	 /* by place in config_options: as given, several lines
			  * joined by LF; NULL: not given */
	unsigned *lines; /* where they are; the last of several */
	struct config_block *next;
};

struct config_file {
	struct config_block *first;
};

struct config_file *config_file_new(void);
void config_file_free(struct config_file **f);

/* NULL when there is no such section. */
struct config_block *config_file_find(const struct config_file *f,
				      enum config_section section,
				      const char *name);
struct config_block *config_file_add(struct config_file *f,
				     enum config_section section,
				     const char *name, unsigned line,
				     void *base);

/* As given; NULL when it was not. */
const char *config_block_value(const struct config_block *b, size_t option);
void config_block_keep(struct config_block *b, size_t option, const char *value,
		       unsigned line);

/* Reads a file (see config_load()). NULL and an error text (free()). */
struct config_file *config_file_load(const char *name, struct config **config_r,
				     char **error_r);

#endif
