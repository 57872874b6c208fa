/* SPDX-License-Identifier: MIT */
/*
 * payload: a message file as SMTP's DATA sends it, with a hole for the
 * sequence number. Read-only once loaded.
 */
#ifndef TXM_BENCH_PAYLOAD_H
#define TXM_BENCH_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#define PAYLOAD_MAX (64 * 1024 * 1024)
#define PAYLOAD_SEQ_MARK "@@SEQ@@@@@@@"
#define PAYLOAD_SEQ_LEN 12

struct payload {
	char *data; /* dot-stuffed, with the final dot */
	size_t len;
	size_t seq_at; /* where the sequence number goes, if has_seq */
	bool has_seq;
};

/* Reads a file whose lines end with CRLF. Prints and exits when it cannot. */
void payload_load(struct payload *p, const char *path);

/* What is left to send after `sent` bytes, with the sequence number in its
 * place, in at most three pieces. Returns how many. */
size_t payload_pieces(const struct payload *p, const char *seq, size_t sent,
		      struct iovec pieces_r[3]);

#endif
