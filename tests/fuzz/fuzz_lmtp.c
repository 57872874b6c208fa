/* SPDX-License-Identifier: MIT */
/*
 * What a peer says to the LMTP server, whole, in odd pieces and byte by byte:
 * the replies and the events must be the same. Messages are answered as soon
 * as a piece was taken; what a recipient's address begins with is its reply.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "milter/lmtp_command.h"
#include "milter/lmtp_protocol.h"
#include "policy/dynbuf.h"
#include "policy/smtp_reply.h"
#include "policy/utf8.h"

#define EVENTS_MAX (8 * 1024 * 1024)
#define SIZE_ALLOWED 2000
/* Byte by byte is slow: only for inputs that are not larger. */
#define SINGLE_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum phase { IDLE, MAIL, DATA, WAITING };

struct run {
	struct dynbuf events;
	struct lmtp_protocol *p;
	struct smtp_reply replies[LMTP_RECIPIENTS_MAX];
	size_t n;
	size_t bytes; /* of this message */
	enum phase phase;
};

static void
check_text(const char *s)
{
	size_t len = strlen(s);

	assert(len <= LMTP_LINE_MAX);
	assert(utf8_valid_prefix(s, len) == len && utf8_is_printable(s, len));
}

static void
on_mail(void *arg, const char *sender, const struct lmtp_mail *said)
{
	struct run *r = arg;

	assert(r->phase == IDLE);
	r->phase = MAIL;
	r->n = 0;
	r->bytes = 0;
	check_text(sender);
	assert(dynbuf_addf(&r->events, "M%s %d%d\n", sender, said->eight_bit,
			   said->utf8));
}

static void
on_recipient(void *arg, const char *address, const char *typed,
	     struct smtp_reply *reply)
{
	struct run *r = arg;

	assert(r->phase == MAIL && address[0] != '\0');
	check_text(address);
	if (typed != NULL)
		check_text(typed);
	assert(dynbuf_addf(&r->events, "R%s;%s\n", address,
			   typed != NULL ? typed : "-"));
	if (address[0] == 'n') {
		smtp_reply_set(reply, 550, "5.1.1", "No");
		return;
	}
	smtp_reply_set(reply, 250, "2.1.5", "Ok");
	assert(r->n < LMTP_RECIPIENTS_MAX);
	if (address[0] == 'l')
		smtp_reply_set(&r->replies[r->n++], 451, "4.4.0", "Later");
	else
		smtp_reply_set(&r->replies[r->n++], 250, "2.0.0", "Sent");
}

static void
on_data(void *arg, const char *data, size_t len)
{
	struct run *r = arg;

	assert((r->phase == MAIL || r->phase == DATA) && r->n > 0 && len > 0);
	r->phase = DATA;
	r->bytes += len;
	assert(r->bytes <= SIZE_ALLOWED);
	assert(dynbuf_add(&r->events, data, len));
}

static void
on_end(void *arg)
{
	struct run *r = arg;

	assert((r->phase == MAIL || r->phase == DATA) && r->n > 0);
	r->phase = WAITING;
	assert(dynbuf_adds(&r->events, "\nE\n"));
}

static void
on_reset(void *arg)
{
	struct run *r = arg;

	assert(r->phase == MAIL || r->phase == DATA);
	r->phase = IDLE;
	assert(dynbuf_adds(&r->events, "\nX\n"));
}

static const struct lmtp_events events = {
	.mail = on_mail,
	.recipient = on_recipient,
	.data = on_data,
	.end = on_end,
	.reset = on_reset,
};

/* False: over. */
static bool
feed(struct run *r, const uint8_t *data, size_t len)
{
	char *piece = malloc(len != 0 ? len : 1);
	bool go_on;

	assert(piece != NULL);
	if (len > 0)
		memcpy(piece, data, len);
	go_on = lmtp_protocol_feed(r->p, piece, len);
	free(piece);
	while (go_on && lmtp_protocol_waits(r->p)) {
		assert(r->phase == WAITING);
		r->phase = IDLE;
		go_on = lmtp_protocol_answer(r->p, r->replies, r->n);
	}
	if (go_on)
		assert(lmtp_protocol_is_under_way(r->p) == (r->phase != IDLE));
	return go_on;
}

/* Lines, each with a code in front. */
static void
check_replies(const struct dynbuf *out)
{
	const char *p = dynbuf_str(out);

	assert(strlen(p) == out->len && out->len <= LMTP_OUT_MAX);
	while (*p != '\0') {
		const char *end = strstr(p, "\r\n");

		assert(end != NULL && p[0] >= '2' && p[0] <= '5');
		assert(p[3] == ' ' || p[3] == '-');
		p = end + 2;
	}
}

/* step 0: pieces of 1 to 7 bytes. */
static bool
run(struct run *r, const uint8_t *data, size_t size, size_t step,
    struct dynbuf *out)
{
	static const struct lmtp_settings settings = { .host = "mx.test",
						       .size_max =
							   SIZE_ALLOWED };
	bool go_on = true;

	r->phase = IDLE;
	dynbuf_init(&r->events, EVENTS_MAX);
	r->p = lmtp_protocol_new(&settings, &events, r);
	for (size_t at = 0; at < size;) {
		size_t n = step > 0 ? step : at % 7 + 1;

		if (n > size - at)
			n = size - at;
		go_on = feed(r, data + at, n);
		at += n;
	}
	check_replies(lmtp_protocol_out(r->p));
	dynbuf_init(out, LMTP_OUT_MAX);
	assert(dynbuf_adds(out, dynbuf_str(lmtp_protocol_out(r->p))));
	lmtp_protocol_free(&r->p);
	assert(r->phase == IDLE || r->phase == WAITING);
	return go_on;
}

static void
check_same(const struct dynbuf *a, const struct dynbuf *b)
{
	assert(a->len == b->len);
	assert(memcmp(dynbuf_str(a), dynbuf_str(b), a->len) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t steps[] = { 0, 1 };
	static struct run whole, other;
	struct dynbuf whole_out, other_out;
	bool go_on = run(&whole, data, size, size, &whole_out);

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		if (steps[i] == 1 && size > SINGLE_MAX)
			continue;
		assert(run(&other, data, size, steps[i], &other_out) == go_on);
		check_same(&other.events, &whole.events);
		check_same(&other_out, &whole_out);
		dynbuf_clear(&other.events);
		dynbuf_clear(&other_out);
	}
	dynbuf_clear(&whole.events);
	dynbuf_clear(&whole_out);
	return 0;
}
