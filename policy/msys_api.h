/* SPDX-License-Identifier: MIT */
/*
 * msys_api: the X-MSYS-API header of SparkPost's SMTP API, read into outgoing.
 *
 * Strict JSON, as documented, with SparkPost's own words where they are known
 * and the like of them where they are not. Members that are not documented are
 * skipped, and so are substitution_data and whatever is null. A name that is
 * there twice is refused: which of the two counts nobody says. Thread-safe; no
 * state.
 */
#ifndef TXM_POLICY_MSYS_API_H
#define TXM_POLICY_MSYS_API_H

#include <stdbool.h>
#include <stddef.h>

struct reading;

#define MSYS_API_HEADER "X-MSYS-API"

/* Bounds of the provider. */
#define MSYS_API_CAMPAIGN_MAX 64 /* bytes */
#define MSYS_API_TAGS_MAX 10	 /* more are ignored */
#define MSYS_API_COPIES_MAX 1000 /* in cc, bcc and archive together */
/* RFC 5321, section 4.5.3.1: 64 bytes, '@', 255 bytes. */
#define MSYS_API_ADDRESS_MAX 320
/* Not documented; names of DKIM keys are words. */
#define MSYS_API_DKIM_KEY_MAX 64

/*
 * A rule's `read` (DECODED); outgoing has the recipients of the envelope by
 * then. Absent and empty are the same: all is as it is by default, which for
 * each of the options is off.
 *
 * Who is in cc, bcc and archive gets a copy, once: as what he is named first,
 * and none when he is of the envelope. The Cc header that all see is the
 * client's own and behind it those of cc whom it has not.
 */
bool msys_api_read(struct reading *r, const char *name, const char *value,
		   size_t len);

#endif
