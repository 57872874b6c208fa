/* SPDX-License-Identifier: MIT */
/*
 * milter_wire: the milter protocol's packets, as an MTA writes and reads them.
 *
 * A packet is its length in four bytes (network order, the command counted), a
 * command byte and data. Nothing here reads or writes a socket: packets are
 * appended to a buffer, and bytes that came are fed to a reader. Not
 * thread-safe; no state but the reader's.
 */
#ifndef TXM_MILTER_MILTER_WIRE_H
#define TXM_MILTER_MILTER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/dynbuf.h"

/* Data behind the command byte, as libmilter has it without the options for
 * more, which are not offered. */
#define MILTER_WIRE_DATA_MAX 65535
#define MILTER_WIRE_HEAD 5

/* What a filter answers. */
enum milter_reply {
	MILTER_REPLY_BODY = 'b', /* a piece of the new body */
	MILTER_REPLY_CONTINUE = 'c',
	MILTER_REPLY_ACCEPT = 'a',
	MILTER_REPLY_DISCARD = 'd',
	MILTER_REPLY_PROGRESS = 'p', /* wait on */
	MILTER_REPLY_REJECT = 'r',
	MILTER_REPLY_SKIP = 's',     /* no more body, please */
	MILTER_REPLY_TEMPFAIL = 't', /* try again later */
	MILTER_REPLY_TEXT = 'y',     /* refused, with a reply's text */
};

/* Each appends one packet. False, and nothing appended, when it would be over
 * MILTER_WIRE_DATA_MAX or over the buffer's maximum. */
bool milter_wire_packet(struct dynbuf *out, char command, const void *data,
			size_t len);
/* The strings, each with its NUL. */
bool milter_wire_strings(struct dynbuf *out, char command,
			 const char *const *strings, size_t n);
/* A macro for the packet `command` that follows. The name as it is on the
 * wire, with its braces. */
bool milter_wire_macro(struct dynbuf *out, char command, const char *name,
		       const char *value);
/* The first packet of a connection: version 6, all actions, all steps. */
bool milter_wire_offer(struct dynbuf *out);

struct milter_packet {
	char command;
	const char *data; /* not NUL-terminated; valid until the next feed */
	size_t len;
};

struct milter_reader {
	struct dynbuf in;
	size_t used; /* bytes of `in` that were handed out */
	bool bad;
};

void milter_reader_init(struct milter_reader *r);
void milter_reader_clear(struct milter_reader *r);

/* Adds at most MILTER_READER_FEED_MAX bytes. False when the reader holds more
 * than that and a packet already: take the packets out first. */
#define MILTER_READER_FEED_MAX 65536
bool milter_reader_feed(struct milter_reader *r, const void *data, size_t len);

/* The next packet: 1; 0 when more must come; -1 when its length is 0 or over
 * the maximum, and from then on. */
int milter_reader_next(struct milter_reader *r, struct milter_packet *packet_r);

/* The filter's answer to the offer: the steps that it does not want or does
 * not answer. False when the packet is none or asks for what was not offered.
 */
bool milter_wire_agreed(const struct milter_packet *p, uint32_t *steps_r);

enum milter_step {
	MILTER_STEP_OFF,      /* not to be sent */
	MILTER_STEP_SILENT,   /* is not answered */
	MILTER_STEP_ANSWERED, /* send it and wait */
};
enum milter_step milter_wire_step(uint32_t steps, char command);

/* True when headers are wanted with the blank behind the colon. */
bool milter_wire_keeps_blank(uint32_t steps);

#endif
