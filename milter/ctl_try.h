/* SPDX-License-Identifier: MIT */
/*
 * ctl_try: "txmilterctl try": a message from a file, as if Postfix had it.
 */
#ifndef TXM_MILTER_CTL_TRY_H
#define TXM_MILTER_CTL_TRY_H

struct ctl;

/* Sends the request and the message, and prints what would become of it, or
 * writes the page. Sets GMime up. 0 or an exit code, as ctl_talk.h has it. */
int ctl_try(struct ctl *ctl);

#endif
