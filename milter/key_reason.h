/* SPDX-License-Identifier: MIT */
/*
 * key_reason: why a key is wrong, for the client, the log and the metrics.
 */
#ifndef TXM_MILTER_KEY_REASON_H
#define TXM_MILTER_KEY_REASON_H

/* Of a key that is good or cannot be told it is NONE. */
enum key_reason {
	KEY_REASON_NONE,
	KEY_REASON_NOT_KNOWN, /* unknown, revoked, or not a key at all */
	KEY_REASON_MISTYPED,  /* one of ours but for a typing error */
	KEY_REASON_DISABLED,  /* it or its account; not yet or no more good */
	KEY_REASON_ADDRESS,   /* good, but not from there */
};

/* In words for whoever has the key; static. */
const char *key_reason_text(enum key_reason reason);

#endif
