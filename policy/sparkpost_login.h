/* SPDX-License-Identifier: MIT */
/*
 * sparkpost_login: what the user name of a SparkPost login says.
 *
 * "SMTP_Injection", or "SMTP_Injection:X-MSYS-SUBACCOUNT=123" to send as that
 * subaccount; the words in any case. A name that was issued with the key stands
 * in the place of SMTP_Injection, exactly as it was issued.
 * Thread-safe; no state.
 */
#ifndef TXM_POLICY_SPARKPOST_LOGIN_H
#define TXM_POLICY_SPARKPOST_LOGIN_H

#include "dialect.h"

dialect_login_fn sparkpost_login;

/* Any name will do, unless one was issued; but one that names a subaccount is
 * as above. */
dialect_login_fn sparkpost_login_or_any;

#endif
