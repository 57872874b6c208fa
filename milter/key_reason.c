/* SPDX-License-Identifier: MIT */
#include "key_reason.h"

const char *
key_reason_text(enum key_reason reason)
{
	static const char *const texts[] = {
		[KEY_REASON_NONE] = "the API key is wrong or revoked",
		[KEY_REASON_NOT_KNOWN] = "the API key is wrong or revoked",
		[KEY_REASON_MISTYPED] = "the API key has a typing error in it",
		[KEY_REASON_DISABLED] =
		    "the API key is disabled, expired or not yet good",
		[KEY_REASON_ADDRESS] =
		    "the API key may not be used from this address",
	};

	return texts[reason];
}
