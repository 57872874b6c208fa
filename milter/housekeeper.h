/* SPDX-License-Identifier: MIT */
/*
 * housekeeper: a thread for what nobody should wait for: the key cache's
 * writing behind and the pool's wake-up connection, once a second, and
 * forgetting what is too old.
 */
#ifndef TXM_MILTER_HOUSEKEEPER_H
#define TXM_MILTER_HOUSEKEEPER_H

struct housekeeper;
struct services;

/* NULL when the thread cannot be made. */
struct housekeeper *housekeeper_start(struct services *services);

/* Joins the thread, after a last writing. */
void housekeeper_stop(struct housekeeper **h);

#endif
