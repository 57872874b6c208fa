/* SPDX-License-Identifier: MIT */
/*
 * policy_bench: what the policy library costs for a message, without Postfix,
 * and what GMime costs for the same one.
 *
 *   policy_bench message.eml ...
 *
 * "policy" is all the daemon does between the milter's events and the HTTP
 * request: headers, body in chunks of 64 kB until it says that the rest cannot
 * matter (then the milter answers SKIP), verdict, JSON. "GMime" parses the
 * message from memory, finds the first text/html part and decodes it and the
 * subject to UTF-8; it decides nothing and writes no JSON. "files" is what a
 * dialect costs more that passes everything on: the body read to its end, the
 * text beside the HTML, each attachment decoded, and the bytes as they came.
 * The median of ROUNDS rounds. MB/s counts the whole message.
 */
#include <gmime/gmime.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/account.h"
#include "policy/api.h"
#include "policy/body.h"
#include "policy/dialect.h"
#include "policy/dynbuf.h"
#include "policy/judge.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/route.h"

static const struct route_list no_routes = { 0 };

#define MESSAGE_SIZE_MAX (64 * 1024 * 1024)
#define FIELDS_MAX 100
#define CHUNK 65535 /* as the milter protocol brings it */
#define ROUNDS 9
#define ROUND_SECONDS 0.1

struct field {
	char *name;
	char *value; /* folds are LF and white space */
	size_t value_len;
};

/* A message, ready to be fed: as Postfix gives it to a milter. */
struct sample {
	const char *path;
	char *data;
	size_t len;
	struct field fields[FIELDS_MAX];
	size_t n_fields;
	const char *body;
	size_t body_len;
};

struct bench {
	const char *name;
	/* Handles the message once; returns how many bytes it took. */
	size_t (*once)(const struct sample *s);
};

static const struct account *account;

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "policy_bench: %s: %s\n", what, why);
	exit(1);
}

static double
now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
read_file(struct sample *s, const char *path)
{
	FILE *f = fopen(path, "rb");

	s->path = path;
	s->data = malloc(MESSAGE_SIZE_MAX);
	if (f == NULL || s->data == NULL)
		die(path, "cannot be read");
	s->len = fread(s->data, 1, MESSAGE_SIZE_MAX - 1, f);
	fclose(f);
}

/* Where the line that holds p ends: at its CR LF. */
static char *
line_end(char *p)
{
	char *end = strstr(p, "\r\n");

	if (end == NULL)
		die("message", "a header line has no CR LF");
	return end;
}

/* One field at p, unfolded lines joined with LF. Returns what follows it. */
static char *
read_field(struct sample *s, char *p)
{
	struct field *f = &s->fields[s->n_fields++];
	char *colon = strchr(p, ':'), *end = line_end(p);
	struct dynbuf value;

	if (colon == NULL || colon > end || s->n_fields == FIELDS_MAX)
		die(s->path, "bad header");
	dynbuf_init(&value, MESSAGE_HEADER_MAX);
	f->name = strndup(p, (size_t)(colon - p));
	p = colon + (colon[1] == ' ' ? 2 : 1);
	dynbuf_add(&value, p, (size_t)(end - p));
	while (end[2] == ' ' || end[2] == '\t') {
		p = end + 2;
		end = line_end(p);
		dynbuf_adds(&value, "\n");
		dynbuf_add(&value, p, (size_t)(end - p));
	}
	f->value = dynbuf_steal(&value, &f->value_len);
	return end + 2;
}

static void
sample_load(struct sample *s, const char *path)
{
	char *p;

	read_file(s, path);
	s->data[s->len] = '\0';
	for (p = s->data; strncmp(p, "\r\n", 2) != 0; p = read_field(s, p))
		;
	s->body = p + 2;
	s->body_len = s->len - (size_t)(s->body - s->data);
}

/* Until it says that the rest cannot matter; returns how much it wanted. */
static size_t
feed_body(struct message *m, const struct sample *s)
{
	size_t at = 0;
	bool enough = false;

	while (at < s->body_len && !enough) {
		size_t n = s->body_len - at < CHUNK ? s->body_len - at : CHUNK;

		enough = message_body(m, s->body + at, n);
		at += n;
	}
	return at;
}

static void
write_request(const struct outgoing *o)
{
	DYNBUF_AUTO one, shared;

	dynbuf_init(&one, API_REQUEST_MAX);
	dynbuf_init(&shared, API_REQUEST_MAX);
	if (!api_emaildelivery.recipient_piece(NULL, o,
		&o->recipients[0], &one) ||
	    !api_emaildelivery.shared_piece(NULL, o, &shared) ||
	    shared.len < o->html_len)
		die("request", "not written");
}

static size_t
policy(const struct sample *s)
{
	struct message *m = message_new("app@sender.example");
	struct verdict v;
	size_t taken;

	message_recipient(m, "user@rcpt.example");
	for (size_t i = 0; i < s->n_fields; i++)
		message_header(m, s->fields[i].name, s->fields[i].value,
			       s->fields[i].value_len);
	taken = feed_body(m, s);
	judge(m, account, &dialect_emaildelivery, &no_routes, &v);
	if (v.kind != VERDICT_HAND_OVER)
		die(s->path, v.reply.text);
	write_request(v.outgoing);
	verdict_clear(&v);
	message_free(&m);
	return taken + (s->len - s->body_len);
}

static size_t
everything(const struct sample *s)
{
	struct body *b = body_new();
	struct body_file *files;
	size_t n, len;
	char *text;

	for (size_t i = 0; i < s->n_fields; i++)
		body_header(b, s->fields[i].name, s->fields[i].value,
			    s->fields[i].value_len);
	body_want(b, BODY_WANT_TEXT | BODY_WANT_AMP | BODY_WANT_FILES |
			 BODY_WANT_RAW);
	for (size_t at = 0; at < s->body_len; at += n) {
		n = s->body_len - at < CHUNK ? s->body_len - at : CHUNK;
		(void)body_feed(b, s->body + at, n);
	}
	if (body_end(b, &text, &len) == BODY_NONE)
		die(s->path, body_error(b) ? body_error(b) : "no body");
	free(text);
	free(body_take_text(b, &len));
	n = body_take_files(b, &files);
	body_files_free(&files, n);
	body_free(&b);
	return s->len;
}

static GMimeObject *
find_html(GMimeObject *o)
{
	if (GMIME_IS_MULTIPART(o)) {
		GMimeMultipart *mp = GMIME_MULTIPART(o);

		for (int i = 0; i < g_mime_multipart_get_count(mp); i++) {
			GMimeObject *found =
			    find_html(g_mime_multipart_get_part(mp, i));

			if (found != NULL)
				return found;
		}
		return NULL;
	}
	if (GMIME_IS_TEXT_PART(o) &&
	    g_mime_content_type_is_type(g_mime_object_get_content_type(o),
					"text", "html"))
		return o;
	return NULL;
}

/* The stream copies the message, as a milter that had GMime parse it whole
 * would have to. */
static size_t
gmime(const struct sample *s)
{
	GMimeStream *stream =
	    g_mime_stream_mem_new_with_buffer(s->data, s->len);
	GMimeParser *parser = g_mime_parser_new_with_stream(stream);
	GMimeMessage *m = g_mime_parser_construct_message(parser, NULL);
	GMimeObject *html;
	char *text;

	html = m == NULL ? NULL : find_html(g_mime_message_get_mime_part(m));
	if (html == NULL || g_mime_message_get_subject(m) == NULL)
		die(s->path, "GMime finds no HTML or no subject");
	text = g_mime_text_part_get_text(GMIME_TEXT_PART(html));
	if (text == NULL || *text == '\0')
		die(s->path, "GMime decodes nothing");
	g_free(text);
	g_object_unref(m);
	g_object_unref(parser);
	g_object_unref(stream);
	return s->len;
}

static int
compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Seconds for one message: the median round. */
static double
measure(const struct bench *b, const struct sample *s, size_t *taken_r)
{
	double rounds[ROUNDS];

	for (size_t i = 0; i < ROUNDS; i++) {
		double begin = now_s(), end;
		unsigned long n = 0;

		do {
			*taken_r = b->once(s);
			n++;
			end = now_s();
		} while (end - begin < ROUND_SECONDS);
		rounds[i] = (end - begin) / (double)n;
	}
	qsort(rounds, ROUNDS, sizeof(rounds[0]), compare);
	return rounds[ROUNDS / 2];
}

static void
bench_message(const char *path)
{
	static const struct bench benches[] = {
		{ "policy", policy },
		{ "files", everything },
		{ "GMime", gmime },
	};
	struct sample *s = calloc(1, sizeof(*s));
	const char *name = strrchr(path, '/');

	if (s == NULL)
		die(path, "no memory");
	sample_load(s, path);
	for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++) {
		size_t taken = 0;
		double seconds = measure(&benches[i], s, &taken);

		printf("| %-7s | %7zu | %-6s | %10.1f | %7.0f | %7zu |\n",
		       name != NULL ? name + 1 : path, s->len, benches[i].name,
		       seconds * 1e6, (double)s->len / 1e6 / seconds, taken);
	}
	/* The process ends soon: the sample's memory is left to it. */
}

int
main(int argc, char **argv)
{
	struct account *a = account_new("bench");

	if (argc < 2) {
		fprintf(stderr, "usage: policy_bench message.eml ...\n");
		return 64;
	}
	g_mime_init();
	if (!account_add_route(a, "r1", "Main"))
		die("account", "route refused");
	account = a;
	printf(
	    "| message |   bytes | what   | us/message |    MB/s |   taken |\n"
	    "|---|---|---|---|---|---|\n");
	for (int i = 1; i < argc; i++)
		bench_message(argv[i]);
	return 0;
}
