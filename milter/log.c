/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>
#include <unistd.h>

#include "policy/smtp_reply.h"

static const struct {
	const char *name;
	int priority;
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", LOG_ERR },
	[LOG_LEVEL_WARNING] = { "warning", LOG_WARNING },
	[LOG_LEVEL_INFO] = { "info", LOG_INFO },
	[LOG_LEVEL_DEBUG] = { "debug", LOG_DEBUG },
};

static atomic_int process_id; /* kept: getpid() is a system call */
static atomic_bool to_syslog;
static atomic_int threshold = LOG_LEVEL_INFO;

void
log_open(int to_stderr, enum log_level level)
{
	atomic_store(&process_id, (int)getpid());
	if (!to_stderr)
		openlog("txmilter", LOG_PID | LOG_NDELAY, LOG_MAIL);
	atomic_store(&to_syslog, !to_stderr);
	atomic_store(&threshold, (int)level);
}

void
log_set_level(enum log_level level)
{
	atomic_store(&threshold, (int)level);
}

int
log_level_parse(const char *name, enum log_level *level_r)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcasecmp(levels[i].name, name) == 0) {
			*level_r = (enum log_level)i;
			return 0;
		}
	}
	return -1;
}

const char *
log_quote(char dst[LOG_QUOTE_SIZE], const char *text)
{
	size_t n;

	dst[0] = '"';
	smtp_reply_safe_text(dst + 1, LOG_QUOTE_MAX, text, strlen(text));
	for (char *p = dst + 1; *p != '\0'; p++) {
		if (*p == '"')
			*p = '\'';
	}
	n = strlen(dst);
	dst[n] = '"';
	dst[n + 1] = '\0';
	return dst;
}

/* One write per line, so that lines of threads do not mix. */
static void
write_stderr(const char *name, const char *id, const char *text)
{
	char line[LOG_LINE_MAX + 64];
	int n =
	    snprintf(line, sizeof(line), "txmilter[%d]: %s%s%s: %s\n",
		     atomic_load_explicit(&process_id, memory_order_relaxed),
		     name, *name ? ": " : "", id, text);

	if (n < 0)
		return;
	if ((size_t)n >= sizeof(line)) {
		n = (int)sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	/* Nobody to tell when standard error is gone. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

/* Ends a text that did not fit with "...", not within a character. */
static void
cut(char *text, size_t size)
{
	size_t n = size - 4;

	while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	memcpy(text + n, "...", 4);
}

static void
log_line(enum log_level level, const char *id, const char *fmt, va_list ap)
{
	char text[LOG_LINE_MAX + 1];
	int saved = errno;
	int n;

	if ((int)level > atomic_load_explicit(&threshold, memory_order_relaxed))
		return;
	n = vsnprintf(text, sizeof(text), fmt, ap);
	if (n >= (int)sizeof(text))
		cut(text, sizeof(text));
	if (n >= 0 && atomic_load_explicit(&to_syslog, memory_order_relaxed))
		syslog(levels[level].priority, "%s: %s", id, text);
	else if (n >= 0)
		write_stderr(level == LOG_LEVEL_INFO ? "" : levels[level].name,
			     id, text);
	errno = saved;
}

#define LOG_FUNCTION(name, level)                       \
	void name(const char *id, const char *fmt, ...) \
	{                                               \
		va_list ap;                             \
                                                        \
		va_start(ap, fmt);                      \
		log_line(level, id, fmt, ap);           \
		va_end(ap);                             \
	}

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warning, LOG_LEVEL_WARNING)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
