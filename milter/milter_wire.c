/* SPDX-License-Identifier: MIT */
#include "milter_wire.h"

#include <string.h>

#define VERSION 6
#define VERSION_OLDEST 2
#define ALL_ACTIONS 0x1ffu
#define ALL_STEPS 0x1fffffu
#define STEP_LEADING_BLANK 0x100000u
#define OFFER_LEN 12

static const struct step {
	char command;
	uint32_t off, silent;
} steps_known[] = {
	{ 'C', 0x01, 0x1000 },	 { 'H', 0x02, 0x2000 },
	{ 'M', 0x04, 0x4000 },	 { 'R', 0x08, 0x8000 },
	{ 'B', 0x10, 0x80000 },	 { 'L', 0x20, 0x80 },
	{ 'N', 0x40, 0x40000 },	 { 'U', 0x100, 0x20000 },
	{ 'T', 0x200, 0x10000 },
};

static void
put32(char *dst, uint32_t n)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		*dst++ = (char)(n >> shift & 255);
}

static uint32_t
get32(const char *src)
{
	uint32_t n = 0;

	for (int i = 0; i < 4; i++)
		n = n << 8 | (unsigned char)src[i];
	return n;
}

/* Where the packet's data goes; NULL when it is too much. */
static char *
begin(struct dynbuf *out, char command, size_t len)
{
	char *at;

	if (len > MILTER_WIRE_DATA_MAX)
		return NULL;
	at = dynbuf_room(out, MILTER_WIRE_HEAD + len);
	if (at == NULL)
		return NULL;
	put32(at, (uint32_t)len + 1);
	at[4] = command;
	return at + MILTER_WIRE_HEAD;
}

bool
milter_wire_packet(struct dynbuf *out, char command, const void *data,
		   size_t len)
{
	char *at = begin(out, command, len);

	if (at == NULL)
		return false;
	if (len > 0)
		memcpy(at, data, len);
	dynbuf_grown(out, MILTER_WIRE_HEAD + len);
	return true;
}

bool
milter_wire_strings(struct dynbuf *out, char command,
		    const char *const *strings, size_t n)
{
	size_t len = 0;
	char *at;

	for (size_t i = 0; i < n; i++) {
		size_t one = strlen(strings[i]) + 1;

		if (one > MILTER_WIRE_DATA_MAX - len)
			return false;
		len += one;
	}
	at = begin(out, command, len);
	if (at == NULL)
		return false;
	for (size_t i = 0; i < n; i++)
		at = stpcpy(at, strings[i]) + 1;
	dynbuf_grown(out, MILTER_WIRE_HEAD + len);
	return true;
}

bool
milter_wire_macro(struct dynbuf *out, char command, const char *name,
		  const char *value)
{
	size_t name_len = strlen(name) + 1, value_len = strlen(value) + 1;
	char *at;

	if (name_len > MILTER_WIRE_DATA_MAX || value_len > MILTER_WIRE_DATA_MAX)
		return false;
	at = begin(out, 'D', 1 + name_len + value_len);
	if (at == NULL)
		return false;
	*at = command;
	memcpy(at + 1, name, name_len);
	memcpy(at + 1 + name_len, value, value_len);
	dynbuf_grown(out, MILTER_WIRE_HEAD + 1 + name_len + value_len);
	return true;
}

bool
milter_wire_offer(struct dynbuf *out)
{
	char data[OFFER_LEN];

	put32(data, VERSION);
	put32(data + 4, ALL_ACTIONS);
	put32(data + 8, ALL_STEPS);
	return milter_wire_packet(out, 'O', data, sizeof(data));
}

void
milter_reader_init(struct milter_reader *r)
{
	*r = (struct milter_reader){ 0 };
	dynbuf_init(&r->in, MILTER_WIRE_HEAD + MILTER_WIRE_DATA_MAX +
				MILTER_READER_FEED_MAX);
}

void
milter_reader_clear(struct milter_reader *r)
{
	dynbuf_clear(&r->in);
	milter_reader_init(r);
}

bool
milter_reader_feed(struct milter_reader *r, const void *data, size_t len)
{
	size_t left = r->in.len - r->used;

	if (r->used > 0) {
		memmove(r->in.data, r->in.data + r->used, left);
		dynbuf_truncate(&r->in, left);
		r->used = 0;
	}
	return dynbuf_add(&r->in, data, len);
}

int
milter_reader_next(struct milter_reader *r, struct milter_packet *packet_r)
{
	size_t have = r->in.len - r->used;
	const char *at;
	uint32_t len;

	if (r->bad)
		return -1;
	if (have < 4)
		return 0;
	at = r->in.data + r->used;
	len = get32(at);
	if (len == 0 || len > MILTER_WIRE_DATA_MAX + 1) {
		r->bad = true;
		return -1;
	}
	if (have - 4 < len)
		return 0;
	*packet_r = (struct milter_packet){
		.command = at[4],
		.data = at + MILTER_WIRE_HEAD,
		.len = len - 1,
	};
	r->used += 4 + len;
	return 1;
}

/* Behind the numbers may stand the macros that it wants. */
bool
milter_wire_agreed(const struct milter_packet *p, uint32_t *steps_r)
{
	uint32_t version;

	if (p->command != 'O' || p->len < OFFER_LEN)
		return false;
	version = get32(p->data);
	*steps_r = get32(p->data + 8);
	return version >= VERSION_OLDEST && version <= VERSION &&
	       (get32(p->data + 4) & ~ALL_ACTIONS) == 0 &&
	       (*steps_r & ~ALL_STEPS) == 0;
}

enum milter_step
milter_wire_step(uint32_t steps, char command)
{
	for (size_t i = 0; i < sizeof(steps_known) / sizeof(steps_known[0]);
	     i++) {
		const struct step *s = &steps_known[i];

		if (s->command != command)
			continue;
		if (steps & s->off)
			return MILTER_STEP_OFF;
		return steps & s->silent ? MILTER_STEP_SILENT
					 : MILTER_STEP_ANSWERED;
	}
	return MILTER_STEP_ANSWERED;
}

bool
milter_wire_keeps_blank(uint32_t steps)
{
	return (steps & STEP_LEADING_BLANK) != 0;
}
