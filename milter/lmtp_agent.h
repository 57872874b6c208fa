/* SPDX-License-Identifier: MIT */
/*
 * lmtp_agent: the LMTP server that Postfix's transport `txmilter` delivers to.
 *
 * One thread with an epoll loop serves all connections. It knows nothing of
 * plans and APIs: a delivery is a handler's. Messages are fed to it as they
 * come; after the final dot it answers when it can, from any thread.
 *
 * A connection that neither says nor reads anything for LMTP_IDLE_MS is closed,
 * but for one whose message waits for its answer. One more than
 * LMTP_CONNECTIONS_MAX hears 421.
 */
#ifndef TXM_MILTER_LMTP_AGENT_H
#define TXM_MILTER_LMTP_AGENT_H

#include <stdbool.h>
#include <stddef.h>

#define LMTP_CONNECTIONS_MAX 1000
/* Postfix keeps a cached connection for seconds, a slow one for minutes. */
#define LMTP_IDLE_MS 300000

struct smtp_reply;
struct lmtp_agent;
struct lmtp_answer;
struct lmtp_mail;

/* What the handler does with one transaction. The loop's thread calls all of
 * them, none may wait; `mail` is what begin gave. Strings are only lent. */
struct lmtp_handler {
	void *(*begin)(void *arg, const char *sender,
		       const struct lmtp_mail *said);
	/* reply must be set: 250 takes the recipient. */
	void (*recipient)(void *mail, const char *address, const char *typed,
			  struct smtp_reply *reply);
	void (*data)(void *mail, const char *data, size_t len);
	/* The message is complete. lmtp_answer() is called exactly once for
	 * it, now or later. The mail is the handler's from now on: neither
	 * data nor drop come. */
	void (*end)(void *mail, struct lmtp_answer *answer);
	/* Instead of end: it was given up, refused, or the connection is gone.
	 * Frees the mail. */
	void (*drop)(void *mail);
};

struct lmtp_agent_settings {
	size_t size_max; /* of a message; 0: no bound */
	const struct lmtp_handler *handler;
	void *arg;
	const char *host;     /* in the greeting; NULL: "txmilter" */
	unsigned idle_ms;     /* 0: the above */
	unsigned connections; /* 0: the above */
};

/* Takes a listening, non-blocking socket (owned from now on; closed at stop,
 * or when it cannot start). settings are copied; what they point to must
 * outlive the agent. NULL and *error_r (static) when it cannot start. */
struct lmtp_agent *lmtp_agent_start(int listen_fd,
				    const struct lmtp_agent_settings *settings,
				    const char **error_r);

/* The replies of the n recipients taken, in their order, all set (copied). Any
 * thread; frees the answer. What comes after the connection is gone, or after
 * the agent is stopped, is dropped. */
void lmtp_answer(struct lmtp_answer **a, const struct smtp_reply *replies,
		 size_t n);

/* No new connection is taken (it waits in the socket) and no new message begun
 * (421, also for who is idle); what was begun may end. True when no message is
 * under way and all replies are written; else ask again. Any thread. */
bool lmtp_agent_drain(struct lmtp_agent *a);

/* Connections open now. */
unsigned lmtp_agent_connections(struct lmtp_agent *a);

/* Closes every connection and joins the thread. Answers that come later are
 * dropped. */
void lmtp_agent_stop(struct lmtp_agent **a);

#endif
