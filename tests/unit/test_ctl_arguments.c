/* SPDX-License-Identifier: MIT */
/*
 * txmilterctl's command line, from argv to the request that is sent, and what
 * it reads from files.
 */
#include "milter/ctl_arguments.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "milter/ctl_help.h"
#include "milter/ctl_input.h"
#include "milter/ctl_request.h"
#include "policy/dynbuf.h"

#define WORDS_MAX 700
#define PIECE 16

struct place {
	char dir[40];
	char path[80];
};

static int
set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->dir, "/tmp/test_ctl_arguments.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	(void)snprintf(p->path, sizeof(p->path), "%s/file", p->dir);
	*state = p;
	return 0;
}

static int
tear_down(void **state)
{
	struct place *p = *state;

	(void)unlink(p->path);
	assert_int_equal(rmdir(p->dir), 0);
	free(p);
	return 0;
}

static void
write_file(const struct place *p, const void *data, size_t len)
{
	int fd = open(p->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	(void)close(fd);
}

/* Words of a line, parted by one blank; "~" is an empty one. The arguments
 * point into `line`. */
static bool
parse(char *line, struct ctl_arguments *a, char **error)
{
	static char name[] = "txmilterctl", empty[] = "";
	char *argv[WORDS_MAX] = { name };
	int argc = 1;
	char *word;

	while ((word = strsep(&line, " ")) != NULL && argc < WORDS_MAX) {
		if (*word != '\0')
			argv[argc++] = strcmp(word, "~") == 0 ? empty : word;
	}
	*error = NULL;
	return ctl_arguments_parse(argc, argv, a, error);
}

/* "c=FILE s=SOCKET json help version | command | name=value ... | operand ..."
 */
static void
describe(const struct ctl_arguments *a, struct dynbuf *out)
{
	if (a->config_file != NULL)
		dynbuf_addf(out, "c=%s ", a->config_file);
	if (a->socket != NULL)
		dynbuf_addf(out, "s=%s ", a->socket);
	dynbuf_addf(out, "%s%s%s| %s%s |", a->json ? "json " : "",
		    a->help ? "help " : "", a->version ? "version " : "",
		    a->command ? a->command->name : "",
		    a->group ? a->group : "");
	for (size_t i = 0; i < a->n_options; i++)
		dynbuf_addf(out, " %s=%s", a->options[i].option->name,
			    a->options[i].value);
	dynbuf_adds(out, " |");
	for (size_t i = 0; i < a->n_operands; i++)
		dynbuf_addf(out, " %s", a->operands[i]);
}

static void
test_good(void **state)
{
	static const struct {
		const char *line;
		const char *want;
	} rows[] = {
		{ "ping", "| ping | |" },
		{ "-c /f -s unix:/x --json ping",
		  "c=/f s=unix:/x json | ping | |" },
		{ "ping -c/f -sunix:/x --json",
		  "c=/f s=unix:/x json | ping | |" },
		{ "key add --account acme", "| key add | account=acme |" },
		{ "key add --account=acme", "| key add | account=acme |" },
		{ "key add --account=a=b", "| key add | account=a=b |" },
		{ "key add --label ~", "| key add | label= |" },
		{ "key add --label=", "| key add | label= |" },
		{ "key add --label --json", "| key add | label=--json |" },
		{ "key add --route 1 --route=2:x --sender a@b",
		  "| key add | route=1 route=2:x sender=a@b |" },
		{ "key list", "| key list | |" },
		{ "key list acme --export", "| key list | export= | acme" },
		{ "key list --export acme", "| key list | export= | acme" },
		{ "key list --most 5 -- -x", "| key list | most=5 | -x" },
		{ "key import -", "| key import | | -" },
		{ "drain on", "| drain | | on" },
		{ "log-level debug", "| log-level | | debug" },
		{ "conf -n", "| conf | n= |" },
		{ "conf --n", "| conf | n= |" },
		{ "conf -d a b c", "| conf | d= | a b c" },
		{ "route show acme r1", "| route show | | acme r1" },
		{ "route test acme", "| route test | | acme" },
		{ "try m.eml --rcpt a@b --rcpt c@d --from ~",
		  "| try | rcpt=a@b rcpt=c@d from= | m.eml" },
		{ "--help", "help |  | |" },
		{ "-h", "help |  | |" },
		{ "-V", "version |  | |" },
		{ "--version", "version |  | |" },
		{ "key --help", "help | key | |" },
		{ "key -h", "help | key | |" },
		{ "key add --help", "help | key add | |" },
		{ "--help drain", "help | drain | |" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static struct ctl_arguments a;
		char *line = strdup(rows[i].line), *error;
		DYNBUF_AUTO seen;

		dynbuf_init(&seen, 1000);
		if (!parse(line, &a, &error))
			fail_msg("row \"%s\": %s", rows[i].line, error);
		describe(&a, &seen);
		if (strcmp(dynbuf_str(&seen), rows[i].want) != 0)
			fail_msg("row \"%s\": \"%s\"", rows[i].line,
				 dynbuf_str(&seen));
		free(line);
	}
}

static void
test_bad(void **state)
{
	static const struct {
		const char *line;
		const char *error; /* a part of it */
	} rows[] = {
		{ "", "which command?; see txmilterctl --help" },
		{ "--json", "which command?" },
		{ "pong", "there is no command \"pong\"" },
		{ "key", "followed by one of: add, import, list, show" },
		{ "key make", "followed by one of: add, import" },
		{ "ke add", "there is no command \"ke\"" },
		{ "add key", "there is no command \"add\"" },
		{ "ping --prometheus", "ping has no option --prometheus; see "
				       "txmilterctl ping --help" },
		{ "--account x key add", "--account is no option of the "
					 "program; those of a command stand" },
		{ "ping -x", "ping has no option -x" },
		{ "ping --=x", "there is no option --=x" },
		{ "key add --account", "--account needs a value, NAME" },
		{ "-c", "-c needs a value, FILE" },
		{ "stats --watch=1", "--watch takes no value" },
		{ "ping --json=1", "--json takes no value" },
		{ "key add --account a --account b",
		  "--account is given twice" },
		{ "stats --watch --watch", "--watch is given twice" },
		{ "ping x", "ping takes no operand: \"x\"" },
		{ "key show", "key show needs KEYID" },
		{ "key show a b", "one operand too many: \"b\"" },
		{ "route show acme", "route show needs ACCOUNT ROUTE" },
		{ "route test", "route test needs ACCOUNT [ROUTE]" },
		{ "route test a b c", "one operand too many: \"c\"" },
		{ "drain", "drain needs on|off" },
		{ "drain maybe", "\"maybe\" is not one of on|off" },
		{ "drain o", "\"o\" is not one of on|off" },
		{ "drain on|off", "is not one of on|off" },
		{ "log-level ~", "\"\" is not one of" },
		{ "try", "try needs FILE" },
		{ "key import", "key import needs FILE" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static struct ctl_arguments a;
		char *line = strdup(rows[i].line), *error;

		if (parse(line, &a, &error))
			fail_msg("row \"%s\" is taken", rows[i].line);
		if (strstr(error, rows[i].error) == NULL ||
		    strstr(error, "; see txmilterctl") == NULL)
			fail_msg("row \"%s\": %s", rows[i].line, error);
		free(error);
		free(line);
	}
}

static void
test_too_many(void **state)
{
	static const struct {
		const char *command, *word, *error;
	} rows[] = {
		{ "key add", " --route=1", "more than 256 options" },
		{ "conf", " ttl", "more than 256 operands" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int n = CONTROL_ARGS_MAX; n <= CONTROL_ARGS_MAX + 1; n++) {
			static struct ctl_arguments a;
			char *error;
			DYNBUF_AUTO line;

			dynbuf_init(&line, 10000);
			dynbuf_adds(&line, rows[i].command);
			for (int k = 0; k < n; k++)
				dynbuf_adds(&line, rows[i].word);
			assert_int_equal(parse(line.data, &a, &error),
					 n == CONTROL_ARGS_MAX);
			if (error != NULL)
				assert_non_null(strstr(error, rows[i].error));
			free(error);
		}
	}
}

static int
request_of(const char *text, unsigned long first_line, struct dynbuf *out,
	   char **error)
{
	static struct ctl_arguments a;
	char *line = strdup(text);
	int code;

	assert_true(parse(line, &a, error));
	code = ctl_request_write(&a, first_line, out, error);
	free(line);
	return code;
}

static void
test_request(void **state)
{
	static const struct {
		const char *line;
		const char *want;
	} rows[] = {
		{ "ping", "command ping\nformat text\n\n" },
		{ "--json status", "command status\nformat json\n\n" },
		{ "drain on", "command drain\nformat text\narg =on\n\n" },
		{ "key list acme --export --most=5",
		  "command key list\nformat text\narg export=\narg most=5\n"
		  "arg =acme\n\n" },
		{ "key add --route 1 --route 2:a=b",
		  "command key add\nformat text\narg route=1\n"
		  "arg route=2:a=b\n\n" },
		/* Not the daemon's business. */
		{ "stats --watch", "command stats\nformat text\n\n" },
		{ "try FILE --account a --from b@c --rcpt d@e --html OUT",
		  "command try\nformat text\narg account=a\narg html=\n\n" },
		{ "key import FILE",
		  "command key import\nformat text\narg =7\n\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		DYNBUF_AUTO out;
		char *error;

		dynbuf_init(&out, 1000);
		assert_int_equal(request_of(rows[i].line, 7, &out, &error), 0);
		if (strcmp(dynbuf_str(&out), rows[i].want) != 0)
			fail_msg("row \"%s\": %s", rows[i].line,
				 dynbuf_str(&out));
	}
}

static void
test_request_key_file(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *key; /* NULL: refused */
		const char *error;
	} rows[] = {
		{ "sesame\n", 7, "sesame", NULL },
		{ "sesame", 6, "sesame", NULL },
		{ "sesame\r\nmore\n", 13, "sesame", NULL },
		{ "", 0, NULL, "the first line is empty" },
		{ "\nsesame\n", 8, NULL, "the first line is empty" },
		{ "ses\0ame\n", 8, NULL, "is not a text" },
	};
	const struct place *p = *state;
	char line[200];

	(void)snprintf(line, sizeof(line),
		       "key add --account a --api-key-file %s", p->path);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		DYNBUF_AUTO out;
		char want[200], *error;
		int code;

		dynbuf_init(&out, 1000);
		write_file(p, rows[i].text, rows[i].len);
		code = request_of(line, 0, &out, &error);
		if (rows[i].key == NULL) {
			assert_int_equal(code, EX_DATAERR);
			assert_non_null(strstr(error, rows[i].error));
			assert_non_null(strstr(error, p->path));
			free(error);
			continue;
		}
		assert_int_equal(code, 0);
		(void)snprintf(want, sizeof(want),
			       "command key add\nformat text\narg account=a\n"
			       "arg api-key-file=%s\n\n",
			       rows[i].key);
		assert_string_equal(dynbuf_str(&out), want);
	}
}

static void
test_request_refused(void **state)
{
	const struct place *p = *state;
	char line[200], *error;
	DYNBUF_AUTO out;

	dynbuf_init(&out, 100);
	assert_int_equal(request_of("key show a\nb", 0, &out, &error),
			 EX_USAGE);
	assert_non_null(strstr(error, "more than one line"));
	free(error);
	dynbuf_truncate(&out, 0);
	assert_int_equal(request_of("key add --label a\narg", 0, &out, &error),
			 EX_USAGE);
	assert_non_null(strstr(error, "--label"));
	free(error);
	(void)snprintf(line, sizeof(line), "try m --key-file %s", p->path);
	assert_int_equal(request_of(line, 0, &out, &error), EX_NOINPUT);
	assert_non_null(strstr(error, "No such file"));
	free(error);
	dynbuf_clear(&out);
	dynbuf_init(&out, 20);
	assert_int_equal(request_of("key show a", 0, &out, &error), EX_USAGE);
	assert_non_null(strstr(error, "too long"));
	free(error);
}

static void
test_first_line_bounds(void **state)
{
	enum { MAX = 4 };
	static const struct {
		const char *text;
		const char *line; /* NULL: too long */
	} rows[] = {
		{ "1234", "1234" },	{ "1234\n", "1234" },
		{ "1234\r\n", "1234" }, { "12345", NULL },
		{ "12345\n", NULL },	{ "12345\r\n", NULL },
		{ "1234567890", NULL },
	};
	const struct place *p = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char line[MAX + 1] = "####", *error;
		int code;

		write_file(p, rows[i].text, strlen(rows[i].text));
		code = ctl_input_first_line(p->path, line, MAX, &error);
		if (code != (rows[i].line ? 0 : EX_DATAERR))
			fail_msg("row \"%s\"", rows[i].text);
		if (rows[i].line != NULL) {
			assert_string_equal(line, rows[i].line);
			continue;
		}
		assert_string_equal(line, "####");
		assert_non_null(strstr(error, "longer than 4 bytes"));
		free(error);
	}
}

static void
test_whole(void **state)
{
	const struct place *p = *state;
	DYNBUF_AUTO out;
	char *error;

	dynbuf_init(&out, 3);
	assert_int_equal(ctl_input_whole(p->path, &out, &error), EX_NOINPUT);
	free(error);
	write_file(p, "a\0b", 3);
	assert_int_equal(ctl_input_whole(p->path, &out, &error), 0);
	assert_int_equal(out.len, 3);
	assert_memory_equal(out.data, "a\0b", 3);
	dynbuf_truncate(&out, 0);
	write_file(p, "abcd", 4);
	assert_int_equal(ctl_input_whole(p->path, &out, &error), EX_DATAERR);
	assert_non_null(strstr(error, "longer"));
	free(error);
	dynbuf_truncate(&out, 0);
	assert_int_equal(ctl_input_whole(p->dir, &out, &error), EX_NOINPUT);
	assert_non_null(strstr(error, "Is a directory"));
	free(error);
}

static void
test_lines(void **state)
{
	/* "first line:filled lines:bytes|", in pieces of at most 16 bytes. */
	static const struct {
		const char *text;
		const char *want;
	} rows[] = {
		{ "", "" },
		{ "a\n", "1:1:2|" },
		{ "a", "1:1:1|" },
		{ "\n \t\r\n", "1:0:5|" },
		{ "123456789012345\n", "1:1:16|" },
		{ "123456789012345\na\n", "1:1:16|2:1:2|" },
		{ "1234567\n1234567\n1234567\n", "1:2:16|3:1:8|" },
		{ "12\n\n34\n1234567890\nab", "1:2:7|4:2:13|" },
		{ "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1:8:16|9:1:2|" },
		{ "1234567890123456", "1:1:16|" },
		{ "12345678901234567", "line 1 is longer" },
		{ "1234567890123456\n", "line 1 is longer" },
		{ "a\n1234567890123456", "1:1:2|2:1:16|" },
		{ "1\n2\n12345678901234567\n", "1:2:4|line 3 is longer" },
	};
	const struct place *p = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ctl_lines *l;
		struct ctl_piece piece;
		char *error = NULL;
		DYNBUF_AUTO seen;
		size_t at = 0;

		dynbuf_init(&seen, 1000);
		write_file(p, rows[i].text, strlen(rows[i].text));
		assert_int_equal(ctl_lines_open(p->path, PIECE, &l, &error), 0);
		while (ctl_lines_next(l, &piece, &error) == 0 &&
		       piece.len > 0) {
			dynbuf_addf(&seen, "%lu:%lu:%zu|", piece.first_line,
				    piece.n_filled, piece.len);
			assert_memory_equal(piece.data, rows[i].text + at,
					    piece.len);
			at += piece.len;
		}
		if (error != NULL)
			dynbuf_adds(&seen, strstr(error, "line "));
		else
			assert_int_equal(at, strlen(rows[i].text));
		free(error);
		if (strncmp(dynbuf_str(&seen), rows[i].want,
			    strlen(rows[i].want)) != 0 ||
		    (seen.len > 0) != (*rows[i].want != '\0'))
			fail_msg("row %zu: %s", i, dynbuf_str(&seen));
		ctl_lines_close(&l);
		ctl_lines_close(&l);
	}
}

/* Who reads the help of a command learns of all its options. */
static void
test_help(void **state)
{
	const struct command *c;
	DYNBUF_AUTO all;
	DYNBUF_AUTO group;

	(void)state;
	dynbuf_init(&all, 65536);
	dynbuf_init(&group, 65536);
	ctl_help_program(NULL, &all);
	ctl_help_program("key", &group);
	assert_null(strstr(dynbuf_str(&group), "  ping"));
	for (size_t i = 0; (c = command_at(i)) != NULL; i++) {
		DYNBUF_AUTO one;

		dynbuf_init(&one, 4096);
		ctl_help_command(c, &one);
		assert_non_null(strstr(dynbuf_str(&all), c->name));
		assert_non_null(strstr(dynbuf_str(&all), c->summary));
		assert_int_equal(strstr(dynbuf_str(&group), c->summary) != NULL,
				 strncmp(c->name, "key ", 4) == 0);
		for (size_t k = 0; k < COMMAND_OPTIONS_MAX; k++) {
			if (c->options[k].name != NULL)
				assert_non_null(strstr(dynbuf_str(&one),
						       c->options[k].help));
		}
		assert_false(one.overflow);
	}
	assert_false(all.overflow);
}

/* What parsing takes for granted. */
static void
test_table(void **state)
{
	const struct command *c;

	(void)state;
	for (size_t i = 0; (c = command_at(i)) != NULL; i++) {
		if (c->input != COMMAND_NO_INPUT)
			assert_string_equal(c->operands, "FILE");
		for (size_t k = 0; k < COMMAND_OPTIONS_MAX; k++) {
			const struct command_option *o = &c->options[k];

			if (o->name == NULL)
				continue;
			assert_ptr_equal(command_option(c, o->name), o);
			for (size_t n = 0; ctl_own_option(n) != NULL; n++)
				assert_string_not_equal(
				    o->name, ctl_own_option(n)->name);
		}
	}
}

int
main(void)
{
#define WITH_FILE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_request),
		WITH_FILE(test_request_key_file),
		WITH_FILE(test_request_refused),
		WITH_FILE(test_first_line_bounds),
		WITH_FILE(test_whole),
		WITH_FILE(test_lines),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
