/* SPDX-License-Identifier: MIT */
/*
 * listener: socket addresses as the configuration writes them, in libmilter's
 * words: "unix:/path" (or "local:/path") or "inet:port@address". The address
 * is an IPv4 or IPv6 address in numbers, which may stand in []; an IPv6 one
 * means IPv6 only. Thread-safe.
 */
#ifndef TXM_MILTER_LISTENER_H
#define TXM_MILTER_LISTENER_H

#include <stdbool.h>

/* True when spec is one; else *error_r (static) says why not. */
bool listener_check(const char *spec, const char **error_r);

/* A non-blocking listening socket. A UNIX socket replaces a stale one and is
 * 0660, group `group` (NULL: as it is); one that somebody listens on is "in
 * use". inet has no group. A socket of that address that systemd passed to
 * this process (LISTEN_PID, LISTEN_FDS) is used instead, and its file left
 * alone: to be called once for an address. -1 and an error text (free()). */
int listener_open(const char *spec, const char *group, char **error_r);

/* A non-blocking connection to a socket that somebody listens on; never waits.
 * -1 and errno. */
int listener_connect(const char *spec);

/* Sets mode and group of a UNIX socket that somebody else made; nothing for
 * inet. -1 and an error text (free()). */
int listener_permit(const char *spec, const char *group, char **error_r);

/* Nobody but this machine can listen there: unix, or a loopback address. spec
 * is one. */
bool listener_is_local(const char *spec);

/* Whoever listens on one of them may get who connects to the other: they are
 * the same, or one has no address of its own. Both are specs. */
bool listener_meets(const char *spec, const char *other);

/* The path of a unix spec, or NULL. */
const char *listener_path(const char *spec);

#endif
