/* SPDX-License-Identifier: MIT */
/*
 * need: memory that there must be.
 *
 * All we allocate is bounded, so there is none only on a machine that is about
 * to end us anyway, and what a path without it does no test would see. That we
 * crash is survived by design: Postfix tempfails and keeps its queue.
 */
#ifndef TXM_MILTER_NEED_H
#define TXM_MILTER_NEED_H

#include <stdlib.h>

/* p, just allocated: x = need(calloc(1, sizeof(*x))). */
static inline void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

#endif
