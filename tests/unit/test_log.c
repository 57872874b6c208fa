/* SPDX-License-Identifier: MIT */
/*
 * Standard error is a pipe while a line is written; openlog() and syslog() are
 * this file's own.
 */
#include "milter/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/utf8.h"

#define QUEUE_ID "4XYZ12"
#define FIFTY "0123456789 123456789 123456789 123456789 123456789"

/* --- the system log ------------------------------------------------------- */

static struct {
	unsigned lines;
	int priority;
	char text[8192];
	char ident[64];
	int option;
	int facility;
} sys;

void __syslog_chk(int priority, int flag, const char *fmt, ...);

void
openlog(const char *ident, int option, int facility)
{
	assert_true(snprintf(sys.ident, sizeof(sys.ident), "%s", ident) > 0);
	sys.option = option;
	sys.facility = facility;
}

static void
take(int priority, const char *fmt, va_list ap)
{
	sys.lines++;
	sys.priority = priority;
	(void)vsnprintf(sys.text, sizeof(sys.text), fmt, ap);
	/* As the real one may. */
	errno = EPIPE;
}

void
syslog(int priority, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	take(priority, fmt, ap);
	va_end(ap);
}

void
__syslog_chk(int priority, int flag, const char *fmt, ...)
{
	va_list ap;

	(void)flag;
	va_start(ap, fmt);
	take(priority, fmt, ap);
	va_end(ap);
}

/* --- standard error ------------------------------------------------------- */

static int saved_stderr = -1;
static int pipe_end = -1;

static void
catch_stderr(void)
{
	int fds[2];

	(void)fflush(stderr);
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	saved_stderr = dup(STDERR_FILENO);
	assert_true(saved_stderr >= 0);
	assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
	assert_int_equal(close(fds[1]), 0);
	pipe_end = fds[0];
}

/* What was written: at most size - 1 bytes. */
static void
release_stderr(char *text, size_t size)
{
	ssize_t n = read(pipe_end, text, size - 1);

	assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
	assert_int_equal(close(saved_stderr), 0);
	assert_int_equal(close(pipe_end), 0);
	text[n > 0 ? n : 0] = '\0';
}

/* --- levels --------------------------------------------------------------- */

static const struct {
	const char *name;
	enum log_level level;
	int priority;
	const char *prefix; /* on standard error */
	void (*log)(const char *id, const char *fmt, ...)
	    __attribute__((format(printf, 2, 3)));
} levels[] = {
	{ "error", LOG_LEVEL_ERROR, LOG_ERR, "error: ", log_error },
	{ "warning", LOG_LEVEL_WARNING, LOG_WARNING, "warning: ", log_warning },
	{ "info", LOG_LEVEL_INFO, LOG_INFO, "", log_info },
	{ "debug", LOG_LEVEL_DEBUG, LOG_DEBUG, "debug: ", log_debug },
};

#define N_LEVELS (sizeof(levels) / sizeof(levels[0]))

static void
test_level_names(void **state)
{
	enum log_level level;

	(void)state;
	for (size_t i = 0; i < N_LEVELS; i++) {
		level = (enum log_level)77;
		assert_int_equal(log_level_parse(levels[i].name, &level), 0);
		assert_int_equal(level, levels[i].level);
	}
	assert_int_equal(log_level_parse("DEBUG", &level), 0);
	assert_int_equal(log_level_parse("loud", &level), -1);
	assert_int_equal(log_level_parse("", &level), -1);
	assert_int_equal(log_level_parse("inf", &level), -1);
	assert_int_equal(log_level_parse("info ", &level), -1);
}

/* Must be the first that writes: nothing was opened. */
static void
test_before_open(void **state)
{
	char text[1000];

	(void)state;
	catch_stderr();
	log_info("start", "hello");
	log_debug("start", "not told");
	release_stderr(text, sizeof(text));
	assert_non_null(strstr(text, ": start: hello\n"));
	assert_null(strstr(text, "not told"));
	assert_int_equal(sys.lines, 0);
}

static void
test_stderr_lines(void **state)
{
	char text[1000];
	char want[1000];

	(void)state;
	log_open(1, LOG_LEVEL_DEBUG);
	for (size_t i = 0; i < N_LEVELS; i++) {
		catch_stderr();
		levels[i].log(QUEUE_ID, "event n=%d s=%s", 7, "x");
		release_stderr(text, sizeof(text));
		assert_true(snprintf(want, sizeof(want),
				     "txmilter[%d]: %s" QUEUE_ID
				     ": event n=7 s=x\n",
				     (int)getpid(), levels[i].prefix) > 0);
		assert_string_equal(text, want);
	}
	assert_int_equal(sys.lines, 0);
}

static void
test_syslog_lines(void **state)
{
	char text[1000];

	(void)state;
	/* Not before it is wanted. */
	assert_string_equal(sys.ident, "");
	log_open(0, LOG_LEVEL_DEBUG);
	assert_string_equal(sys.ident, "txmilter");
	assert_int_equal(sys.facility, LOG_MAIL);
	assert_true(sys.option & LOG_PID);
	for (size_t i = 0; i < N_LEVELS; i++) {
		sys.lines = 0;
		catch_stderr();
		levels[i].log(QUEUE_ID, "event n=%d s=%s", 7, "%s%n");
		release_stderr(text, sizeof(text));
		assert_int_equal(sys.lines, 1);
		assert_int_equal(sys.priority, levels[i].priority);
		assert_string_equal(sys.text, QUEUE_ID ": event n=7 s=%s%n");
		assert_string_equal(text, "");
	}
}

static void
test_threshold(void **state)
{
	(void)state;
	for (int to_stderr = 0; to_stderr < 2; to_stderr++) {
		for (size_t i = 0; i < N_LEVELS * N_LEVELS; i++) {
			size_t of = i / N_LEVELS;
			size_t line = i % N_LEVELS;
			char text[1000];
			bool told;

			log_open(to_stderr, levels[of].level);
			sys.lines = 0;
			catch_stderr();
			levels[line].log("x", "y");
			release_stderr(text, sizeof(text));
			told = to_stderr ? text[0] != '\0' : sys.lines > 0;
			if (told != (line <= of))
				fail_msg("%s at level %s: %d",
					 levels[line].name, levels[of].name,
					 told);
		}
	}
}

/* --- long lines ----------------------------------------------------------- */

static void
log_long(size_t len, char *text, size_t size)
{
	char *value = malloc(len + 1);

	assert_non_null(value);
	memset(value, 'v', len);
	value[len] = '\0';
	catch_stderr();
	log_info(QUEUE_ID, "%s", value);
	release_stderr(text, size);
	free(value);
}

static void
test_long_lines(void **state)
{
	static const size_t lens[] = { LOG_LINE_MAX, LOG_LINE_MAX + 1, 3000,
				       100000 };
	char text[8192];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		const char *end = i == 0 ? "vvvv" : "v...";
		const char *start;

		log_open(0, LOG_LEVEL_INFO);
		log_long(lens[i], text, sizeof(text));
		assert_int_equal(strlen(sys.text),
				 strlen(QUEUE_ID ": ") + LOG_LINE_MAX);
		assert_string_equal(sys.text + strlen(sys.text) - 4, end);

		log_open(1, LOG_LEVEL_INFO);
		log_long(lens[i], text, sizeof(text));
		start = strstr(text, QUEUE_ID ": ");
		assert_non_null(start);
		assert_int_equal(strlen(start),
				 strlen(QUEUE_ID ": ") + LOG_LINE_MAX + 1);
		assert_memory_equal(start + strlen(start) - 5, end, 4);
		assert_string_equal(start + strlen(start) - 1, "\n");
	}
}

/* A character is not cut in two. */
static void
test_long_utf8(void **state)
{
	char text[8192];

	(void)state;
	log_open(1, LOG_LEVEL_INFO);
	for (size_t shift = 0; shift < 3; shift++) {
		char value[3 * LOG_LINE_MAX];
		size_t n = shift;

		memset(value, 'x', n);
		for (; n + 4 < sizeof(value); n += 3)
			memcpy(value + n, "\xe2\x82\xac", 3);
		value[n] = '\0';
		catch_stderr();
		log_info(QUEUE_ID, "%s", value);
		release_stderr(text, sizeof(text));
		if (utf8_valid_prefix(text, strlen(text)) != strlen(text))
			fail_msg("cut within a character (%zu)", shift);
	}
}

/* However long the id is: one line, and its end is one. */
static void
test_long_id(void **state)
{
	char text[8192];
	char id[3000];

	(void)state;
	log_open(1, LOG_LEVEL_INFO);
	memset(id, 'i', sizeof(id) - 1);
	id[sizeof(id) - 1] = '\0';
	catch_stderr();
	log_info(id, "event");
	release_stderr(text, sizeof(text));
	assert_true(strlen(text) <= LOG_LINE_MAX + 64);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

/* A caller may log before it looks at errno. */
static void
test_errno(void **state)
{
	char text[1000];

	(void)state;
	log_open(0, LOG_LEVEL_INFO);
	errno = EAGAIN;
	log_info("x", "y");
	assert_int_equal(errno, EAGAIN);

	log_open(1, LOG_LEVEL_INFO);
	catch_stderr();
	assert_int_equal(close(STDERR_FILENO), 0);
	errno = EAGAIN;
	log_info("x", "y");
	assert_int_equal(errno, EAGAIN);
	release_stderr(text, sizeof(text));
}

/* --- peer text ------------------------------------------------------------ */

static const struct {
	const char *name;
	const char *text;
	const char *want;
} quotes[] = {
	{ "nothing", "", "\"\"" },
	{ "plain", "hello world", "\"hello world\"" },
	{ "quotes", "say \"x\"", "\"say 'x'\"" },
	{ "line ends", "a\r\nb", "\"a b\"" },
	{ "control characters", "\x1b[0m\x01\x7f", "\"?[0m??\"" },
	{ "C1 control characters",
	  "a\xc2\x9b"
	  "0m",
	  "\"a?0m\"" },
	{ "UTF-8", "caf\xc3\xa9", "\"caf\xc3\xa9\"" },
	{ "invalid UTF-8", "caf\xe9", "\"caf?\"" },
	{ "percent", "%s%n", "\"%s%n\"" },
	{ "an end like a value's", "x\" status=sent y=\"",
	  "\"x' status=sent y='\"" },
};

static void
test_quote(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(quotes) / sizeof(quotes[0]); i++) {
		char dst[LOG_QUOTE_SIZE];

		assert_ptr_equal(log_quote(dst, quotes[i].text), dst);
		if (strcmp(dst, quotes[i].want) != 0) {
			printf("%s: %s\n", quotes[i].name, dst);
			bad++;
		}
	}
	assert_int_equal(bad, 0);
}

static void
test_long_quote(void **state)
{
	static const char text[] = FIFTY FIFTY FIFTY FIFTY;
	char *dst = malloc(LOG_QUOTE_SIZE);
	char whole[LOG_QUOTE_MAX];

	(void)state;
	assert_non_null(dst);
	log_quote(dst, text);
	assert_true(strlen(dst) <= LOG_QUOTE_MAX + 2);
	assert_string_equal(dst + strlen(dst) - 4, "...\"");
	assert_memory_equal(dst, "\"" FIFTY FIFTY, 101);

	memset(whole, 'w', sizeof(whole));
	whole[sizeof(whole) - 1] = '\0';
	log_quote(dst, whole);
	assert_int_equal(strlen(dst), sizeof(whole) - 1 + 2);
	assert_string_equal(dst + strlen(dst) - 3, "ww\"");
	free(dst);
}

/* --- threads -------------------------------------------------------------- */

#define THREADS 4
#define LINES 100

static void *
write_lines(void *arg)
{
	for (int i = 0; i < LINES; i++)
		log_info(arg, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	return NULL;
}

/* Lines are not mixed: each is one write. */
static void
test_threads(void **state)
{
	static char ids[THREADS][4] = { "T0", "T1", "T2", "T3" };
	static char text[65536];
	pthread_t threads[THREADS];
	unsigned lines = 0;

	(void)state;
	log_open(1, LOG_LEVEL_INFO);
	catch_stderr();
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, write_lines, ids[i]), 0);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	release_stderr(text, sizeof(text));
	for (char *s = text; *s != '\0'; lines++) {
		char *end = strchr(s, '\n');

		assert_non_null(end);
		*end = '\0';
		assert_int_equal(strncmp(s, "txmilter[", 9), 0);
		assert_non_null(strstr(s, "]: T"));
		assert_int_equal(strlen(strstr(s, ": a")), 48);
		s = end + 1;
	}
	assert_int_equal(lines, THREADS * LINES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_open),
		cmocka_unit_test(test_level_names),
		cmocka_unit_test(test_stderr_lines),
		cmocka_unit_test(test_syslog_lines),
		cmocka_unit_test(test_threshold),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_long_utf8),
		cmocka_unit_test(test_long_id),
		cmocka_unit_test(test_errno),
		cmocka_unit_test(test_quote),
		cmocka_unit_test(test_long_quote),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
