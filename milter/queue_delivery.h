/* SPDX-License-Identifier: MIT */
/*
 * queue_delivery: what the LMTP agent does with a message of Postfix's queue.
 *
 * The plan in its headers says whose it is, where it goes and what became of
 * each recipient; the body is read as it was at SMTP time. One API call, or
 * for a transport one copy (copies.h), for each recipient of the transaction
 * that is still open, then one reply for each: 250 is final, 451 comes again
 * from Postfix, 5xx becomes its bounce.
 *
 *   no plan                                   550 5.7.1
 *   one that cannot be read (was secret_file
 *   replaced? did a newer version write it?)
 *   or is another message's                   451 4.3.5
 *   a recipient that is not in the plan       550 5.7.1
 *   an API that is not configured any more    451 4.3.5
 *   a key made here that was revoked          550 5.7.8
 *   or is disabled, or its account is         451 4.7.1
 *   or whose account has no key of the API    451 4.3.5
 *   a route that is gone, or leads to an
 *   API now, or does not track any more
 *   what was accepted as tracked              451 4.3.5
 *   done, or refused, at an earlier attempt   250, or what was said then
 *   wrong key (401)                           550 5.7.8
 *   a copy that Postfix took                  250, with its queue id
 *   a copy that it refused                    copies.h
 *   a body that is none, over-long headers    what SMTP says then
 */
#ifndef TXM_MILTER_QUEUE_DELIVERY_H
#define TXM_MILTER_QUEUE_DELIVERY_H

#include "lmtp_agent.h"

/* A message and the headers of its plan. Postfix bounds what it accepts, by
 * message_size_limit; this bounds what a mistake there can do. */
#define QUEUE_DELIVERY_SIZE_MAX (256u * 1024 * 1024)

/* For all calls of one transaction. Postfix waits lmtp_data_done_timeout
 * (600 s) for the replies. */
#define QUEUE_DELIVERY_MS 300000

/* arg is a struct services. */
extern const struct lmtp_handler queue_delivery;

#endif
