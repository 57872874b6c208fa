/* SPDX-License-Identifier: MIT */
/*
 * group_header: the groups that other providers' headers name.
 *
 * Campaign Monitor files a message under one group, and takes the group headers
 * of five other providers too. Each function is a rule's `read` (dialect.h,
 * RAW) that knows what the first group in such a header is; the rules' order is
 * that of precedence, for what has a group keeps it. A header that is of no use
 * refuses nothing: it names no group. Nor does a group that the way out cannot
 * take: it is only wished for.
 */
#ifndef TXM_POLICY_GROUP_HEADER_H
#define TXM_POLICY_GROUP_HEADER_H

#include <stdbool.h>
#include <stddef.h>

struct reading;

/* The rows of a dialect that takes them. X-Mailgun-Campaign-Id is what Mailgun
 * had before tags. */
/* clang-format off */
#define GROUP_HEADER_RULES \
	{ "X-Mailgun-Tag", HEADER_RAW, true, group_header_one }, \
	{ "X-Mailgun-Campaign-Id", HEADER_RAW, true, group_header_one }, \
	{ "X-Mailjet-Campaign", HEADER_RAW, true, group_header_one }, \
	{ "X-MC-Tags", HEADER_RAW, true, group_header_list }, \
	{ "X-PM-Tag", HEADER_RAW, true, group_header_one }, \
	{ "X-SMTPAPI", HEADER_RAW, true, group_header_json }
/* clang-format on */

/* True when it is one of them. */
bool group_header_is(const char *name);

/* Characters. Campaign Monitor names no bound; of the providers whose groups
 * it takes, Mailjet's is the longest. */
#define GROUP_NAME_MAX 255

/* The whole value is one. */
bool group_header_one(struct reading *r, const char *name, const char *value,
		      size_t len);

/* A list with commas. */
bool group_header_list(struct reading *r, const char *name, const char *value,
		       size_t len);

/* A JSON object; its "category" is a string or an array of strings. */
bool group_header_json(struct reading *r, const char *name, const char *value,
		       size_t len);

#endif
