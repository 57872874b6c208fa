/* SPDX-License-Identifier: MIT */
/*
 * A connection is read only while it has nothing else to do: no check under
 * way, no reply unsent. That bounds all it can take, whatever the peer sends.
 */
#include "sasl.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth_throttle.h"
#include "crypto.h"
#include "key_check.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "need.h"
#include "policy/dialect.h"
#include "sasl_protocol.h"

#define COOKIE_LEN 16
_Static_assert(IDENTITY_USER_MAX <= 255, "a reply must hold a user");

/* A key check. Only the loop follows `connection`. */
struct ask {
	struct mailbox_item item;      /* first */
	struct connection *connection; /* NULL: closed meanwhile */
	enum key_status status;	       /* these: once answered */
	enum key_reason reason;
	struct identity *id;
};

struct connection {
	struct loop_connection io; /* first */
	struct sasl *sasl;
	bool broken; /* close it as soon as its turn ends */
	struct sasl_request request;
	struct ask *ask; /* under way, or NULL */
	size_t in_start, in_end, out_start, out_end;
	char out[SASL_REPLY_MAX];
	char in[SASL_LINE_MAX + 1];
};

struct sasl {
	struct loop *loop; /* its own thread knows it from a connection */
	/* Set before the thread starts: */
	struct key_check *keys;
	struct sasl_limits limits;
	/* The thread's: */
	unsigned long cuid;
};

/* --- key checks ----------------------------------------------------------- */

static void
ask_free(void *arg)
{
	struct ask *ask = arg;

	identity_free(&ask->id);
	free(ask);
}

/* A key_answer_fn: in any thread. */
static void
ask_answered(void *arg, enum key_status status, enum key_reason reason,
	     struct identity *id)
{
	struct ask *ask = arg;

	ask->status = status;
	ask->reason = reason;
	ask->id = id;
	mailbox_put(&ask->item);
}

static struct ask *
ask_new(struct connection *c)
{
	struct ask *ask = need(calloc(1, sizeof(*ask)));

	ask->connection = c;
	mailbox_expect(loop_mailbox(c->io.loop), &ask->item);
	return ask;
}

/* --- one connection ------------------------------------------------------- */

static void
connection_close(void *arg)
{
	struct connection *c = arg;

	if (c->ask != NULL)
		c->ask->connection = NULL;
	loop_remove(&c->io);
	explicit_bzero(c, sizeof(*c));
	free(c);
}

static bool
is_busy(const struct connection *c)
{
	return c->ask != NULL || c->out_start < c->out_end;
}

/* The end of a connection's turn: closes it, or says what it waits for. */
static void
connection_settle(struct connection *c)
{
	uint32_t events = EPOLLRDHUP;

	if (!is_busy(c))
		events |= EPOLLIN;
	else if (c->out_start < c->out_end)
		events |= EPOLLOUT;
	if (c->broken || !loop_watch(&c->io, events))
		connection_close(c);
	else if (!is_busy(c))
		loop_end_deadline(&c->io);
	else if (c->io.deadline == 0)
		loop_start_deadline(&c->io);
}

static void
flush_out(struct connection *c)
{
	ssize_t n;

	while (c->out_start < c->out_end) {
		n = send(c->io.fd, c->out + c->out_start,
			 c->out_end - c->out_start, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			c->broken = true;
			return;
		}
		c->out_start += (size_t)n;
	}
}

/* Sends what sasl_reply_*() put into c->out; len is its result. */
static void
send_reply(struct connection *c, int len)
{
	if (len < 0) {
		log_error("sasl", "a reply cannot be written");
		c->broken = true;
		return;
	}
	c->out_start = 0;
	c->out_end = (size_t)len;
	flush_out(c);
}

/* What each log line about a login says. */
#define WHO_FORMAT "client=%s mech=%s tls=%s"
#define WHO(r) (r)->client, (r)->mech, (r)->tls ? "yes" : "no"

static void
count_failure(const struct connection *c, enum metrics_auth why)
{
	if (c->sasl->limits.metrics != NULL)
		metrics_auth_failed(c->sasl->limits.metrics, why);
}

static void
start_check(struct connection *c)
{
	struct sasl_request *r = &c->request;

	c->ask = ask_new(c);
	loop_start_deadline(&c->io);
	key_check_ask(c->sasl->keys, r->secret, r->secret_len, r->client,
		      ask_answered, c->ask);
	explicit_bzero(r->secret, sizeof(r->secret));
	r->secret_len = 0;
}

static void
fail(struct connection *c, const char *reason)
{
	send_reply(
	    c, sasl_reply_fail(c->out, sizeof(c->out), c->request.id, reason));
	sasl_request_clear(&c->request);
}

static void
check_unless_throttled(struct connection *c)
{
	const struct sasl_limits *l = &c->sasl->limits;
	unsigned wait = auth_throttle_wait(l->failures, c->request.client,
					   l->auth_failures);

	if (wait == 0) {
		start_check(c);
		return;
	}
	log_info("sasl", "auth result=throttled " WHO_FORMAT " wait=%u",
		 WHO(&c->request), wait);
	count_failure(c, METRICS_AUTH_THROTTLED);
	c->broken = true;
}

static void
take_line(struct connection *c, const char *line, size_t len)
{
	struct sasl_request *r = &c->request;

	switch (sasl_line(r, line, len)) {
	case SASL_IGNORE:
		break;
	case SASL_ASK:
		send_reply(c, sasl_reply_continue(c->out, sizeof(c->out), r));
		break;
	case SASL_CHECK:
		check_unless_throttled(c);
		break;
	case SASL_REFUSE:
		log_info("sasl",
			 "auth result=refused " WHO_FORMAT " reason=\"%s\"",
			 WHO(r), r->reason);
		count_failure(c, METRICS_AUTH_MALFORMED);
		fail(c, r->reason);
		break;
	case SASL_HANGUP:
		log_warning("sasl", "protocol error, connection closed");
		count_failure(c, METRICS_AUTH_MALFORMED);
		c->broken = true;
		break;
	}
}

/* What is left of the input goes to the front; its old place is wiped. */
static void
compact_in(struct connection *c)
{
	size_t left = c->in_end - c->in_start;

	if (c->in_start == 0)
		return;
	memmove(c->in, c->in + c->in_start, left);
	explicit_bzero(c->in + left, c->in_end - left);
	c->in_start = 0;
	c->in_end = left;
}

/* Takes the lines that have come, as long as each is done at once. */
static void
take_lines(struct connection *c)
{
	while (!c->broken && !is_busy(c)) {
		const char *line = c->in + c->in_start;
		size_t left = c->in_end - c->in_start;
		const char *end = memchr(line, '\n', left);

		if (end == NULL && left == sizeof(c->in)) {
			log_warning("sasl", "line too long, "
					    "connection closed");
			count_failure(c, METRICS_AUTH_MALFORMED);
			c->broken = true;
		}
		if (end == NULL)
			break;
		c->in_start += (size_t)(end - line) + 1;
		take_line(c, line, (size_t)(end - line));
	}
	compact_in(c);
}

static void
read_in(struct connection *c)
{
	ssize_t n;

	n = recv(c->io.fd, c->in + c->in_end, sizeof(c->in) - c->in_end, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		c->broken = true;
		return;
	}
	c->in_end += (size_t)n;
	take_lines(c);
}

static void
connection_event(void *arg, uint32_t events)
{
	struct connection *c = arg;

	if (!is_busy(c)) {
		read_in(c);
	} else if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		c->broken = true;
	} else {
		flush_out(c);
		if (!is_busy(c))
			loop_end_deadline(&c->io);
		take_lines(c);
	}
	connection_settle(c);
}

static void
answer_good(struct connection *c, const struct identity *id)
{
	char user[IDENTITY_USER_MAX + 1];
	const struct sasl_request *r = &c->request;

	identity_user(id, user);
	log_debug("sasl", "auth result=good " WHO_FORMAT " user=%s", WHO(r),
		  user);
	send_reply(c, sasl_reply_ok(c->out, sizeof(c->out), r->id, user));
	sasl_request_clear(&c->request);
}

/* The reason is for the log; the client hears `text`. */
static void
answer_wrong(struct connection *c, enum metrics_auth why, const char *reason,
	     const char *text)
{
	log_info("sasl", "auth result=wrong " WHO_FORMAT " reason=\"%s\"",
		 WHO(&c->request), reason);
	count_failure(c, why);
	fail(c, text);
}

/* Of a key and the name that was issued with it, one alone must not be found
 * out: whichever is wrong counts the same and is answered the same. */
static const char wrong_pair[] =
    "the API key is wrong or revoked, or was issued with another user name";

static void
answer_wrong_key(struct connection *c, enum key_reason why)
{
	const struct sasl_limits *l = &c->sasl->limits;
	const char *reason = key_reason_text(why);

	auth_throttle_wrong(l->failures, c->request.client, l->auth_failures,
			    why);
	answer_wrong(c, metrics_auth_of(why), reason,
		     why == KEY_REASON_NOT_KNOWN ? wrong_pair : reason);
}

/* What other rules say of a user name is public. */
static void
answer_wrong_login(struct connection *c, const char *reason)
{
	const struct sasl_limits *l = &c->sasl->limits;
	bool not_issued = strcmp(reason, DIALECT_LOGIN_NOT_ISSUED) == 0;

	if (not_issued)
		auth_throttle_wrong(l->failures, c->request.client,
				    l->auth_failures, KEY_REASON_NOT_KNOWN);
	answer_wrong(c, METRICS_AUTH_LOGIN, reason,
		     not_issued ? wrong_pair : reason);
}

/* The key is good; is the user name? */
static void
answer_login(struct connection *c, struct identity *id)
{
	const struct sasl_limits *l = &c->sasl->limits;
	const struct sasl_request *r = &c->request;
	const char *why = NULL;

	if (l->login != NULL)
		why = l->login(l->login_arg, id, r->user, r->user_len,
			       id->subaccount);
	if (why == NULL)
		answer_good(c, id);
	else
		answer_wrong_login(c, why);
}

/* Nothing of what was given as the key or the user name is logged: it may be
 * somebody's password. */
static void
answer(struct connection *c, const struct ask *ask)
{
	if (ask->status == KEY_GOOD && ask->id != NULL) {
		answer_login(c, ask->id);
	} else if (ask->status == KEY_WRONG) {
		answer_wrong_key(c, ask->reason);
	} else {
		log_warning("sasl",
			    "auth result=unknown " WHO_FORMAT
			    " reason=\"cannot tell now\"",
			    WHO(&c->request));
		count_failure(c, METRICS_AUTH_UNKNOWN);
		c->broken = true;
	}
}

static void
take_answer(void *arg)
{
	struct ask *ask = arg;
	struct connection *c = ask->connection;

	if (c != NULL) {
		c->ask = NULL;
		loop_end_deadline(&c->io);
		answer(c, ask);
		take_lines(c);
		connection_settle(c);
	}
	ask_free(ask);
}

static void
send_hello(struct connection *c)
{
	uint8_t cookie[COOKIE_LEN];
	char hex[COOKIE_LEN * 2 + 1];

	crypto_random(cookie, sizeof(cookie));
	crypto_hex(hex, cookie, sizeof(cookie));
	send_reply(c,
		   sasl_reply_hello(c->out, sizeof(c->out), (unsigned)getpid(),
				    ++c->sasl->cuid, hex));
}

static void
connection_open(void *arg, struct loop *loop, int fd)
{
	struct connection *c = need(calloc(1, sizeof(*c)));

	c->sasl = arg;
	if (!loop_add(loop, &c->io, fd)) {
		connection_close(c);
		return;
	}
	send_hello(c);
	connection_settle(c);
}

/* Postfix then says 454. */
static void
connection_late(void *arg)
{
	const struct connection *c = arg;

	if (c->ask == NULL)
		return;
	log_warning("sasl",
		    "auth result=unknown " WHO_FORMAT
		    " reason=\"no answer in time\"",
		    WHO(&c->request));
	count_failure(c, METRICS_AUTH_UNKNOWN);
}

/* --- start and stop ------------------------------------------------------- */

static const struct loop_service service = {
	.name = "sasl",
	.open = connection_open,
	.event = connection_event,
	.late = connection_late,
	.close = connection_close,
	.take = take_answer,
	.drop = ask_free,
};

struct sasl *
sasl_start(int listen_fd, struct key_check *keys,
	   const struct sasl_limits *limits, const char **error_r)
{
	struct sasl *s = need(calloc(1, sizeof(*s)));
	struct loop_settings settings = { .service = &service, .arg = s };

	s->keys = keys;
	if (limits != NULL)
		s->limits = *limits;
	settings.timeout_ms =
	    s->limits.answer_ms > 0 ? s->limits.answer_ms : SASL_ANSWER_MS;
	settings.connections = s->limits.connections > 0 ? s->limits.connections
							 : SASL_CONNECTIONS_MAX;
	s->loop = loop_start(listen_fd, &settings, error_r);
	if (s->loop != NULL)
		return s;
	free(s);
	return NULL;
}

void
sasl_stop(struct sasl **sp)
{
	struct sasl *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	loop_stop(&s->loop);
	free(s);
}
