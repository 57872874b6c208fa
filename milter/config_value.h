/* SPDX-License-Identifier: MIT */
/*
 * config_value: what the text of an option may be; used by config_option.c
 * alone. Each says what is wrong with a value (static), or NULL: nothing.
 * Thread-safe; no state.
 */
#ifndef TXM_MILTER_CONFIG_VALUE_H
#define TXM_MILTER_CONFIG_VALUE_H

#include <stddef.h>

const char *config_value_url(const char *value);

/* Its links stand in HTML as they are, whatever quotes are around them, and end
 * with what is added: it has no query, and nobody's password. */
const char *config_value_tracking_url(const char *value);

/* A socket (listener.h) that nobody else's machine can be behind. */
const char *config_value_resubmit(const char *value);

/* What the table of packaging/postfix lets through to FILTER, but for the LMTP
 * agent: what is sent there has a plan. */
const char *config_value_transport(const char *value);

/* An address with ROUTE_TOKEN before the @. */
const char *config_value_return_path(const char *value);

/* How many bytes of it can be a header's name (RFC 5322, 2.2). */
size_t config_value_name_len(const char *value);

/* The name of a header that has no meaning yet. */
const char *config_value_header(const char *value);

/* The name (len bytes) of a header that a route adds: not one that means
 * something to us, to mail systems or to who shows a message. */
const char *config_value_added(const char *name, size_t len);

#endif
