/* SPDX-License-Identifier: MIT */
/*
 * log: one line an event, "QUEUEID: event key=value ...".
 *
 * To syslog (facility mail) or to standard error. Log lines are an interface:
 * words are stable, tests assert them. Text that a peer wrote goes through
 * log_quote(); secrets are never passed here at any level.
 * Thread-safe; each line is one write.
 */
#ifndef TXM_MILTER_LOG_H
#define TXM_MILTER_LOG_H

#include <stddef.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* At start: to standard error or to syslog; lines above `level` are dropped.
 * Before that, lines go to standard error. */
void log_open(int to_stderr, enum log_level level);

/* From now on. */
void log_set_level(enum log_level level);

/* -1 when there is no level of that name. */
int log_level_parse(const char *name, enum log_level *level_r);

/* id: the queue id, or a module's name ("sasl") where there is none. A line
 * over LOG_LINE_MAX bytes is cut with "...". */
#define LOG_LINE_MAX 2048
void log_error(const char *id, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void log_warning(const char *id, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void log_info(const char *id, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void log_debug(const char *id, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Peer text as a log value: printable, in double quotes, cut to LOG_QUOTE_MAX.
 * Use: char q[LOG_QUOTE_SIZE]; log_info(id, "x=%s", log_quote(q, text)); */
#define LOG_QUOTE_MAX 160
#define LOG_QUOTE_SIZE (LOG_QUOTE_MAX + 8)
const char *log_quote(char dst[LOG_QUOTE_SIZE], const char *text);

#endif
