/* SPDX-License-Identifier: MIT */
/*
 * trial_page: what a trial found, as a page for a browser: the report, and the
 * body as it would be read. The body is a stranger's HTML: it stands in a
 * sandboxed frame that runs no script and loads nothing.
 */
#ifndef TXM_MILTER_TRIAL_PAGE_H
#define TXM_MILTER_TRIAL_PAGE_H

struct dynbuf;
struct outgoing;

/* Appends the page. o: NULL when the message is refused. */
void trial_page(struct dynbuf *out, const struct dynbuf *report,
		const struct outgoing *o);

#endif
