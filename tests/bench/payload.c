/* SPDX-License-Identifier: MIT */
#include "payload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static char *
read_file(const char *path, size_t *len_r)
{
	FILE *f = fopen(path, "rb");
	char *data = malloc(PAYLOAD_MAX);

	if (f == NULL || data == NULL)
		die(path);
	*len_r = fread(data, 1, PAYLOAD_MAX, f);
	if (ferror(f) || *len_r == PAYLOAD_MAX) {
		fprintf(stderr, "%s: unreadable or too large\n", path);
		exit(1);
	}
	fclose(f);
	return data;
}

static void
add(struct payload *p, const char *text)
{
	size_t len = strlen(text);

	memcpy(p->data + p->len, text, len);
	p->len += len;
}

/* RFC 5321 4.5.2. */
static void
stuff_dots(struct payload *p, const char *raw, size_t len)
{
	bool line_begins = true;

	for (size_t i = 0; i < len; i++) {
		if (line_begins && raw[i] == '.')
			p->data[p->len++] = '.';
		p->data[p->len++] = raw[i];
		line_begins = raw[i] == '\n';
	}
	if (!line_begins)
		add(p, "\r\n");
	add(p, ".\r\n");
}

void
payload_load(struct payload *p, const char *path)
{
	size_t len;
	char *raw = read_file(path, &len);
	const char *mark;

	p->len = 0;
	p->data = malloc(2 * len + 8);
	if (p->data == NULL)
		die("malloc");
	stuff_dots(p, raw, len);
	free(raw);
	mark = memmem(p->data, p->len, PAYLOAD_SEQ_MARK, PAYLOAD_SEQ_LEN);
	p->has_seq = mark != NULL;
	p->seq_at = p->has_seq ? (size_t)(mark - p->data) : 0;
}

/* writev() only reads what its pieces point to, but has no const for it. */
static void *
writable(const char *data)
{
	union {
		const char *from;
		void *to;
	} u = { .from = data };

	return u.to;
}

static void
add_piece(struct iovec *v, size_t *n, const char *data, size_t len)
{
	if (len == 0)
		return;
	v[*n].iov_base = writable(data);
	v[*n].iov_len = len;
	(*n)++;
}

size_t
payload_pieces(const struct payload *p, const char *seq, size_t sent,
	       struct iovec pieces_r[3])
{
	size_t n = 0, seq_end = p->seq_at + PAYLOAD_SEQ_LEN;

	if (p->has_seq && sent < p->seq_at) {
		add_piece(pieces_r, &n, p->data + sent, p->seq_at - sent);
		sent = p->seq_at;
	}
	if (p->has_seq && sent < seq_end) {
		add_piece(pieces_r, &n, seq + (sent - p->seq_at),
			  seq_end - sent);
		sent = seq_end;
	}
	add_piece(pieces_r, &n, p->data + sent, p->len - sent);
	return n;
}
