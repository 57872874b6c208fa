/* SPDX-License-Identifier: MIT */
/*
 * A filter's bytes, in pieces whose sizes the input chooses: what comes out
 * must be what is written again, and the same as when all of it comes at once.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "milter/milter_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes the packets that are there, and writes them again. */
static int
take(struct milter_reader *r, struct dynbuf *again)
{
	struct milter_packet p;
	uint32_t steps;
	int rc;

	while ((rc = milter_reader_next(r, &p)) > 0) {
		assert(p.len <= MILTER_WIRE_DATA_MAX);
		assert(milter_wire_packet(again, p.command, p.data, p.len));
		if (milter_wire_agreed(&p, &steps))
			assert(p.command == 'O' && steps <= 0x1fffff);
	}
	return rc;
}

static int
decode(const uint8_t *data, size_t size, size_t step, struct dynbuf *again)
{
	struct milter_reader r;
	int rc = 0;

	milter_reader_init(&r);
	while (size > 0 && rc == 0) {
		size_t n = size < step ? size : step;
		/* A copy of its own size, so that nothing reads beyond. */
		char *piece = malloc(n);

		assert(piece != NULL);
		memcpy(piece, data, n);
		assert(milter_reader_feed(&r, piece, n));
		free(piece);
		rc = take(&r, again);
		data += n;
		size -= n;
	}
	assert(rc <= 0);
	assert(take(&r, again) == rc);
	milter_reader_clear(&r);
	return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DYNBUF_AUTO whole, pieces;
	size_t step;

	dynbuf_init(&whole, size + MILTER_READER_FEED_MAX);
	dynbuf_init(&pieces, size + MILTER_READER_FEED_MAX);
	if (size == 0)
		return 0;
	step = data[0] + 1u;
	data++;
	size--;
	assert(decode(data, size, MILTER_READER_FEED_MAX, &whole) ==
	       decode(data, size, step, &pieces));
	assert(whole.len == pieces.len && whole.len <= size);
	assert(whole.len == 0 || memcmp(whole.data, data, whole.len) == 0);
	assert(strcmp(dynbuf_str(&whole), dynbuf_str(&pieces)) == 0);
	return 0;
}
