/* SPDX-License-Identifier: MIT */
/*
 * A connection is read only while it has nothing else to do: no message that
 * waits for its answer, no reply unsent. That bounds all it can take, whatever
 * the peer sends.
 */
#include "lmtp_agent.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "lmtp_protocol.h"
#include "log.h"
#include "loop.h"
#include "need.h"
#include "policy/dynbuf.h"
#include "policy/smtp_reply.h"

/* At a time from one connection. What is sent with a final dot and behind it
 * is kept. RCPT is 12 bytes or more, its reply at most 420: all that can be
 * said to so much fits into LMTP_OUT_MAX, with the answers to a message. */
#define READ_SIZE 16384
_Static_assert(READ_SIZE <= LMTP_KEPT_MAX, "what was read must be kept");
_Static_assert((READ_SIZE / 12 + LMTP_RECIPIENTS_MAX) * 430 < LMTP_OUT_MAX,
	       "replies must fit");
/* Who says hello; not the machine, that is Postfix. */
#define DEFAULT_HOST "txmilter"

/* Only the loop follows `connection`. */
struct lmtp_answer {
	struct mailbox_item item;	    /* first */
	struct lmtp_connection *connection; /* NULL: closed meanwhile */
	struct smtp_reply *replies;	    /* these: once answered */
	size_t n;
};

struct lmtp_connection {
	struct loop_connection io; /* first */
	struct lmtp_agent *agent;
	struct lmtp_protocol *protocol;
	void *mail; /* the handler's, from begin to end or drop */
	struct lmtp_answer *answer; /* awaited, or NULL */
	size_t sent;		    /* of the protocol's output */
	bool over;		    /* close it when all is sent */
	bool broken;		    /* close it as soon as its turn ends */
	bool busy;		    /* counted in agent->busy */
};

struct lmtp_agent {
	struct loop *loop; /* its own thread knows it from a connection */
	/* Set before the thread starts: */
	struct lmtp_agent_settings settings;
	/* The thread's: */
	char in[READ_SIZE];
	/* Any thread's: */
	atomic_uint busy; /* have a message under way, or replies unsent */
};

/* --- answers -------------------------------------------------------------- */

static struct lmtp_answer *
answer_new(struct lmtp_connection *c)
{
	struct lmtp_answer *a = need(calloc(1, sizeof(*a)));

	a->connection = c;
	mailbox_expect(loop_mailbox(c->io.loop), &a->item);
	return a;
}

static void
answer_free(void *arg)
{
	struct lmtp_answer *a = arg;

	free(a->replies);
	free(a);
}

void
lmtp_answer(struct lmtp_answer **ap, const struct smtp_reply *replies, size_t n)
{
	struct lmtp_answer *a = *ap;

	*ap = NULL;
	a->replies = need(reallocarray(NULL, n, sizeof(*replies)));
	memcpy(a->replies, replies, n * sizeof(*replies));
	a->n = n;
	mailbox_put(&a->item);
}

/* --- what the protocol says ----------------------------------------------- */

static void
on_mail(void *arg, const char *sender, const struct lmtp_mail *said)
{
	struct lmtp_connection *c = arg;
	const struct lmtp_agent_settings *s = &c->agent->settings;

	c->mail = s->handler->begin(s->arg, sender, said);
}

static void
on_recipient(void *arg, const char *address, const char *typed,
	     struct smtp_reply *reply)
{
	struct lmtp_connection *c = arg;

	c->agent->settings.handler->recipient(c->mail, address, typed, reply);
}

static void
on_data(void *arg, const char *data, size_t len)
{
	struct lmtp_connection *c = arg;

	c->agent->settings.handler->data(c->mail, data, len);
}

static void
on_end(void *arg)
{
	struct lmtp_connection *c = arg;
	void *mail = c->mail;

	c->mail = NULL;
	c->answer = answer_new(c);
	c->agent->settings.handler->end(mail, c->answer);
}

static void
on_reset(void *arg)
{
	struct lmtp_connection *c = arg;
	void *mail = c->mail;

	c->mail = NULL;
	c->agent->settings.handler->drop(mail);
}

static const struct lmtp_events protocol_events = {
	.mail = on_mail,
	.recipient = on_recipient,
	.data = on_data,
	.end = on_end,
	.reset = on_reset,
};

/* --- one connection ------------------------------------------------------- */

static void
set_busy(struct lmtp_connection *c, bool busy)
{
	if (busy && !c->busy)
		atomic_fetch_add(&c->agent->busy, 1);
	if (!busy && c->busy)
		atomic_fetch_sub(&c->agent->busy, 1);
	c->busy = busy;
}

static void
connection_close(void *arg)
{
	struct lmtp_connection *c = arg;

	if (c->answer != NULL)
		c->answer->connection = NULL;
	lmtp_protocol_free(&c->protocol);
	set_busy(c, false);
	loop_remove(&c->io);
	free(c);
}

static bool
has_unsent(const struct lmtp_connection *c)
{
	return lmtp_protocol_out(c->protocol)->len > 0;
}

static void
flush_out(struct lmtp_connection *c)
{
	struct dynbuf *out = lmtp_protocol_out(c->protocol);

	while (c->sent < out->len) {
		ssize_t n = send(c->io.fd, out->data + c->sent,
				 out->len - c->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			c->broken = true;
			return;
		}
		c->sent += (size_t)n;
		loop_start_deadline(&c->io);
	}
	dynbuf_clear(out);
	c->sent = 0;
}

static uint32_t
events_wanted(const struct lmtp_connection *c)
{
	if (has_unsent(c))
		return EPOLLOUT;
	/* That it is gone is told in any case. */
	return lmtp_protocol_waits(c->protocol) ? 0 : EPOLLIN;
}

/* The end of a connection's turn: closes it, or says what it waits for. A
 * message that waits for its answer is not the peer's being idle. */
static void
connection_settle(struct lmtp_connection *c)
{
	bool unsent = has_unsent(c);

	if (c->broken || (c->over && !unsent) ||
	    !loop_watch(&c->io, events_wanted(c))) {
		if (c->answer != NULL)
			log_warning("lmtp", "connection lost, a message was "
					    "not answered yet");
		connection_close(c);
		return;
	}
	set_busy(c, unsent || lmtp_protocol_is_under_way(c->protocol));
	if (!unsent && lmtp_protocol_waits(c->protocol))
		loop_end_deadline(&c->io);
	else if (c->io.deadline == 0)
		loop_start_deadline(&c->io);
}

static void
read_in(struct lmtp_connection *c)
{
	char *in = c->agent->in;
	ssize_t n = recv(c->io.fd, in, READ_SIZE, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		c->broken = true;
		return;
	}
	loop_start_deadline(&c->io);
	c->over = !lmtp_protocol_feed(c->protocol, in, (size_t)n);
	flush_out(c);
}

static void
connection_event(void *arg, uint32_t events)
{
	struct lmtp_connection *c = arg;

	if (events & EPOLLIN)
		read_in(c);
	else if (events & EPOLLOUT)
		flush_out(c);
	else
		c->broken = true;
	connection_settle(c);
}

static void
take_answer(void *arg)
{
	struct lmtp_answer *answer = arg;
	struct lmtp_connection *c = answer->connection;

	if (c != NULL) {
		c->answer = NULL;
		c->over = !lmtp_protocol_answer(c->protocol, answer->replies,
						answer->n);
		flush_out(c);
		connection_settle(c);
	}
	answer_free(answer);
}

static void
connection_drain(void *arg)
{
	struct lmtp_connection *c = arg;

	if (!lmtp_protocol_drain(c->protocol))
		c->over = true;
	flush_out(c);
	connection_settle(c);
}

static void
connection_open(void *arg, struct loop *loop, int fd)
{
	struct lmtp_agent *a = arg;
	const struct lmtp_settings settings = {
		.host = a->settings.host,
		.size_max = a->settings.size_max,
	};
	struct lmtp_connection *c = need(calloc(1, sizeof(*c)));

	c->agent = a;
	c->protocol = lmtp_protocol_new(&settings, &protocol_events, c);
	if (!loop_add(loop, &c->io, fd)) {
		connection_close(c);
		return;
	}
	flush_out(c);
	connection_settle(c);
}

static void
connection_late(void *arg)
{
	const struct lmtp_connection *c = arg;

	if (has_unsent(c))
		log_warning("lmtp", "connection closed, "
				    "replies are not read");
	else if (c->busy)
		log_warning("lmtp", "connection closed, "
				    "idle within a message");
	else
		log_debug("lmtp", "connection closed, idle");
}

/* --- start and stop ------------------------------------------------------- */

static const struct loop_service service = {
	.name = "lmtp",
	.refusal = "421 4.3.2 Too many connections\r\n",
	.open = connection_open,
	.event = connection_event,
	.late = connection_late,
	.close = connection_close,
	.drain = connection_drain,
	.take = take_answer,
	.drop = answer_free,
};

struct lmtp_agent *
lmtp_agent_start(int listen_fd, const struct lmtp_agent_settings *settings,
		 const char **error_r)
{
	struct lmtp_agent *a = need(calloc(1, sizeof(*a)));
	const struct loop_settings loop = {
		.service = &service,
		.arg = a,
		.timeout_ms =
		    settings->idle_ms > 0 ? settings->idle_ms : LMTP_IDLE_MS,
		.connections = settings->connections > 0 ? settings->connections
							 : LMTP_CONNECTIONS_MAX,
	};

	a->settings = *settings;
	if (a->settings.host == NULL)
		a->settings.host = DEFAULT_HOST;
	a->loop = loop_start(listen_fd, &loop, error_r);
	if (a->loop != NULL)
		return a;
	free(a);
	return NULL;
}

/* Once the loop has taken the order, what is busy can only become less. */
bool
lmtp_agent_drain(struct lmtp_agent *a)
{
	return loop_drain(a->loop) && atomic_load(&a->busy) == 0;
}

unsigned
lmtp_agent_connections(struct lmtp_agent *a)
{
	return loop_connections(a->loop);
}

void
lmtp_agent_stop(struct lmtp_agent **ap)
{
	struct lmtp_agent *a = *ap;

	if (a == NULL)
		return;
	*ap = NULL;
	loop_stop(&a->loop);
	free(a);
}
