/* SPDX-License-Identifier: MIT */
/*
 * reload: a new snapshot of the configuration while the daemon runs. The old
 * one stays in force when there is an error in the file, or when an option
 * differs that only a start can change. Old snapshots are kept until the stop:
 * a message reads the one that was there when it began. Thread-safe.
 */
#ifndef TXM_MILTER_RELOAD_H
#define TXM_MILTER_RELOAD_H

struct config;
struct key_check_settings;
struct services;

/* 0, or -1 and what is wrong, "file:line: what" (free()). */
int reload(struct services *s, char **error_r);

/* At the stop, when nobody reads any more: frees all snapshots. */
void reload_free(struct services *s);

/* What key_check is told of a configuration. */
void reload_key_settings(const struct services *s, const struct config *c,
			 struct key_check_settings *settings_r);

#endif
