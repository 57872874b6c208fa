/* SPDX-License-Identifier: MIT */
/*
 * daemon: what the daemon is made of, as a list: started in its order, stopped
 * in reverse. There is one. The main thread's.
 */
#ifndef TXM_MILTER_DAEMON_H
#define TXM_MILTER_DAEMON_H

struct config;
struct services;

/* Takes the configuration (freed by daemon_stop()); the file's name must
 * outlive it. 0, or -1 when a part cannot start (logged; those before it are
 * stopped). */
int daemon_start(struct config *config, const char *config_file);

struct services *daemon_services(void);

/* When no callback runs any more. */
void daemon_stop(void);

#endif
