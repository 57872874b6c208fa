/* SPDX-License-Identifier: MIT */
#include "ctl_input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "crypto.h"
#include "need.h"
#include "policy/dynbuf.h"

#define READ_SIZE 65536

struct ctl_lines {
	char *name;
	int fd;
	char *buf; /* of size + 1 bytes, to see whether more comes */
	size_t size;
	size_t len;  /* bytes in buf */
	size_t used; /* of them handed out */
	bool ended;
	unsigned long line; /* number of the next one */
};

static int fail(char **error_r, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int
fail(char **error_r, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(error_r, fmt, ap) < 0)
		abort();
	va_end(ap);
	return code;
}

static const char *
name_of(const char *file)
{
	return strcmp(file, "-") == 0 ? "standard input" : file;
}

static int
open_file(const char *file, int *fd_r, char **error_r)
{
	*fd_r = strcmp(file, "-") == 0
		    ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
		    : open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return *fd_r >= 0 ? 0
			  : fail(error_r, EX_NOINPUT, "%s: %m", name_of(file));
}

static ssize_t
read_some(int fd, char *dst, size_t size)
{
	ssize_t n;

	do
		n = read(fd, dst, size);
	while (n < 0 && errno == EINTR);
	return n;
}

static int
read_whole(int fd, const char *name, struct dynbuf *out, char **error_r)
{
	static char buf[READ_SIZE];
	ssize_t n;

	while ((n = read_some(fd, buf, sizeof(buf))) > 0) {
		if (!dynbuf_add(out, buf, (size_t)n))
			return fail(error_r, EX_DATAERR,
				    "%s: is longer than %zu MB", name,
				    out->max / (1024 * 1024));
	}
	return n == 0 ? 0 : fail(error_r, EX_NOINPUT, "%s: %m", name);
}

int
ctl_input_whole(const char *file, struct dynbuf *out, char **error_r)
{
	int fd;
	int code = open_file(file, &fd, error_r);

	if (code != 0)
		return code;
	code = read_whole(fd, name_of(file), out, error_r);
	(void)close(fd);
	return code;
}

/* Up to a LF, the end or size. -1 with errno. */
static ssize_t
read_line(int fd, char *dst, size_t size)
{
	size_t len = 0;

	while (len < size && memchr(dst, '\n', len) == NULL) {
		ssize_t n = read_some(fd, dst + len, size - len);

		if (n < 0)
			return -1;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

static int
check_line(const char *name, char *dst, size_t got, size_t max, char **error_r)
{
	char *lf = memchr(dst, '\n', got);
	size_t len = lf != NULL ? (size_t)(lf - dst) : got;

	if (lf != NULL && len > 0 && dst[len - 1] == '\r')
		len--;
	if (len == 0)
		return fail(error_r, EX_DATAERR, "%s: the first line is empty",
			    name);
	if (len > max)
		return fail(error_r, EX_DATAERR,
			    "%s: the first line is longer than %zu bytes", name,
			    max);
	if (memchr(dst, '\0', len) != NULL)
		return fail(error_r, EX_DATAERR, "%s: is not a text", name);
	crypto_wipe(dst + len, max + 1 - len);
	return 0;
}

int
ctl_input_first_line(const char *file, char *dst, size_t max, char **error_r)
{
	/* Its end may be two bytes. */
	char *buf = need(calloc(1, max + 2));
	ssize_t n;
	int fd;
	int code = open_file(file, &fd, error_r);

	if (code == 0) {
		n = read_line(fd, buf, max + 2);
		code = n < 0
			   ? fail(error_r, EX_NOINPUT, "%s: %m", name_of(file))
			   : check_line(name_of(file), buf, (size_t)n, max,
					error_r);
		(void)close(fd);
	}
	if (code == 0)
		memcpy(dst, buf, max + 1);
	crypto_wipe(buf, max + 2);
	free(buf);
	return code;
}

int
ctl_lines_open(const char *file, size_t piece_max, struct ctl_lines **l_r,
	       char **error_r)
{
	struct ctl_lines *l;
	int fd;
	int code = open_file(file, &fd, error_r);

	*l_r = NULL;
	if (code != 0)
		return code;
	l = need(calloc(1, sizeof(*l)));
	l->name = need(strdup(name_of(file)));
	l->buf = need(malloc(piece_max + 1));
	l->fd = fd;
	l->size = piece_max;
	l->line = 1;
	*l_r = l;
	return 0;
}

void
ctl_lines_close(struct ctl_lines **lp)
{
	struct ctl_lines *l = *lp;

	if (l == NULL)
		return;
	(void)close(l->fd);
	crypto_wipe(l->buf, l->size + 1);
	free(l->buf);
	free(l->name);
	free(l);
	*lp = NULL;
}

/* Until it is full or the file ends. */
static int
fill(struct ctl_lines *l, char **error_r)
{
	memmove(l->buf, l->buf + l->used, l->len - l->used);
	l->len -= l->used;
	l->used = 0;
	while (!l->ended && l->len <= l->size) {
		ssize_t n =
		    read_some(l->fd, l->buf + l->len, l->size + 1 - l->len);

		if (n < 0)
			return fail(error_r, EX_NOINPUT, "%s: %m", l->name);
		l->ended = n == 0;
		l->len += (size_t)n;
	}
	return 0;
}

/* Counts the lines of a piece: those with something in them, and all. */
static void
count(struct ctl_lines *l, struct ctl_piece *piece)
{
	bool filled = false;

	for (size_t i = 0; i < piece->len; i++) {
		bool ends = piece->data[i] == '\n';

		filled |= strchr(" \t\r\n", piece->data[i]) == NULL;
		if (ends || i + 1 == piece->len) {
			piece->n_filled += filled;
			filled = false;
			l->line++;
		}
	}
}

int
ctl_lines_next(struct ctl_lines *l, struct ctl_piece *piece_r, char **error_r)
{
	const char *last;
	int code = fill(l, error_r);

	*piece_r = (struct ctl_piece){ .data = l->buf, .first_line = l->line };
	if (code != 0)
		return code;
	piece_r->len = l->len;
	if (l->len > l->size) {
		last = memrchr(l->buf, '\n', l->size);
		if (last == NULL)
			return fail(error_r, EX_DATAERR,
				    "%s: line %lu is longer than %zu bytes",
				    l->name, l->line, l->size);
		piece_r->len = (size_t)(last + 1 - l->buf);
	}
	l->used = piece_r->len;
	count(l, piece_r);
	return 0;
}
