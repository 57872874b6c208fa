/* SPDX-License-Identifier: MIT */
/*
 * login: by which dialect an account speaks, and what that says of the user
 * name of a login. Thread-safe; no state.
 */
#ifndef TXM_MILTER_LOGIN_H
#define TXM_MILTER_LOGIN_H

#include <stdbool.h>
#include <stddef.h>

struct account;
struct config;
struct dialect;
struct identity;
struct services;

/* The account's own, else the configuration's. a NULL: nobody is known. */
const struct dialect *login_dialect(const struct config *config,
				    const struct account *a);

/* For struct sasl_limits: as dialect_login(), by the dialect of the account and
 * the name that was issued with the key. arg is a struct services. */
const char *login_judge(void *arg, const struct identity *id, const char *user,
			size_t len, char *subaccount_r);

/* True when the dialect of somebody who may log in has a bound of its own for
 * recipients: then each of them is answered. */
bool login_bounds_recipients(const struct services *s);

#endif
