/* SPDX-License-Identifier: MIT */
#include "login.h"

#include "config.h"
#include "key_check.h"
#include "keystore.h"
#include "policy/account.h"
#include "policy/dialect.h"
#include "services.h"

const struct dialect *
login_dialect(const struct config *config, const struct account *a)
{
	const struct dialect *d = NULL;

	if (a != NULL && a->dialect != NULL)
		d = dialect_find(a->dialect);
	return d != NULL ? d : config->dialect;
}

const char *
login_judge(void *arg, const struct identity *id, const char *user, size_t len,
	    char *subaccount_r)
{
	const struct services *s = arg;
	const struct dialect *d = login_dialect(s->config, id->account);

	return dialect_login(d, user, len,
			     id->login[0] != '\0' ? id->login : NULL,
			     subaccount_r);
}

bool
login_bounds_recipients(const struct services *s)
{
	const struct config *c = s->config;

	return c->dialect->recipients_max > 0 ||
	       keystore_bounds_recipients(s->keystore);
}
