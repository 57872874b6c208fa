/* SPDX-License-Identifier: MIT */
/*
 * smtpload: makes SMTP submission load and measures it.
 *
 *   smtpload [-X] [-c connections] [-k messages] [-d seconds] [-w seconds]
 *            [-n messages] [-K key] [-s first] [-a file] address:port message
 *
 *   -c  connections at the same time (1)
 *   -k  messages on one connection, then a new one; 0: no end (0)
 *   -d  measured seconds, after -w seconds that are not measured (5, 1)
 *   -n  send that many messages instead and measure all; -d is then the time
 *       after which it gives up (60)
 *   -K  API key for AUTH PLAIN; -X: no AUTH
 *   -s  first sequence number (0)
 *   -a  write the sequence number of each accepted message to that file
 *
 * The 12 bytes "@@SEQ@@@@@@@" of the message, wherever they are, become the
 * message's sequence number, so that what arrives can be compared with what
 * was accepted. Prints one line of JSON; times in milliseconds:
 *
 *   message          from MAIL sent to the reply to the final dot
 *   mail, rcpt, dot  from that sent to its reply
 *   first            from connect to the reply to the first final dot
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define CONNECTIONS_MAX 5000
#define KEY_MAX 256

struct options {
	bool auth;
	const char *key;
	const char *accepted_path;
};

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
base64(const unsigned char *s, size_t n, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno"
				     "pqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < n; i += 3) {
		unsigned v = (unsigned)s[i] << 16;

		v |= i + 1 < n ? (unsigned)s[i + 1] << 8 : 0;
		v |= i + 2 < n ? s[i + 2] : 0;
		*out++ = digits[v >> 18];
		*out++ = digits[v >> 12 & 63];
		*out++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
		*out++ = i + 2 < n ? digits[v & 63] : '=';
	}
	*out = '\0';
}

/* RFC 4616: NUL user NUL password; the user does not matter. */
static const char *
auth_line(const char *key)
{
	static char line[2 * KEY_MAX + 32];
	unsigned char plain[KEY_MAX + 8] = "\0api";
	char coded[2 * KEY_MAX];
	size_t len = strlen(key);

	if (len > KEY_MAX) {
		fprintf(stderr, "smtpload: the key is too long\n");
		exit(64);
	}
	memcpy(plain + 5, key, len);
	base64(plain, 5 + len, coded);
	snprintf(line, sizeof(line), "AUTH PLAIN %s\r\n", coded);
	return line;
}

static bool
parse_address(const char *text, struct sockaddr_in *a)
{
	char host[64];
	unsigned port;

	if (sscanf(text, "%63[0-9.]:%u", host, &port) != 2 || port > 65535)
		return false;
	a->sin_family = AF_INET;
	a->sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, host, &a->sin_addr) == 1;
}

static bool
set_option(struct load *l, struct options *o, int c)
{
	switch (c) {
	case 'X':
		o->auth = false;
		return true;
	case 'c':
		l->connections = (unsigned)strtoul(optarg, NULL, 10);
		return l->connections > 0 && l->connections <= CONNECTIONS_MAX;
	case 'k':
		l->per_connection = (unsigned)strtoul(optarg, NULL, 10);
		return true;
	case 'd':
		l->seconds = strtod(optarg, NULL);
		return l->seconds > 0;
	case 'w':
		l->warm_up = strtod(optarg, NULL);
		return l->warm_up >= 0;
	case 'n':
		l->total = strtoul(optarg, NULL, 10);
		return l->total > 0;
	case 'K':
		o->key = optarg;
		return true;
	case 's':
		l->next_seq = strtoull(optarg, NULL, 10);
		return true;
	case 'a':
		o->accepted_path = optarg;
		return true;
	default:
		return false;
	}
}

static bool
parse_options(struct load *l, struct options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "Xc:k:d:w:n:K:s:a:")) != -1) {
		if (!set_option(l, o, c))
			return false;
	}
	if (argc - optind != 2)
		return false;
	if (l->seconds == 0)
		l->seconds = l->total != 0 ? 60 : 5;
	if (o->auth)
		l->auth_line = auth_line(o->key);
	return parse_address(argv[optind], &l->address);
}

static void
raise_file_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		die("getrlimit");
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) < 0)
		die("setrlimit");
}

static void
print_latency(const char *name, const struct latency *v)
{
	printf(", \"%s\": {\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, "
	       "\"max\": %.3f}",
	       name, latency_ms(v, .5), latency_ms(v, .9), latency_ms(v, .99),
	       (double)v->max / 1000);
}

static double
own_cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
report(const struct load *l)
{
	double window = (double)(l->window_end - l->window_begin) / 1e6;

	printf("{\"window_s\": %.3f, \"rate\": %.2f", window,
	       (double)l->accepted_in_window / window);
	print_latency("message", &l->all);
	print_latency("mail", &l->mail);
	print_latency("rcpt", &l->rcpt);
	print_latency("dot", &l->dot);
	print_latency("first", &l->first);
	printf(
	    ", \"started\": %lu, \"accepted\": %lu, \"sessions\": %lu, "
	    "\"refused_4xx\": %lu, \"refused_5xx\": %lu, \"broken\": %lu, "
	    "\"unfinished\": %u, \"cpu_s\": %.3f, \"first_error\": \"%s\"}\n",
	    l->started, l->accepted, l->sessions, l->refused_4xx,
	    l->refused_5xx, l->broken, l->active, own_cpu_seconds(),
	    l->first_error);
}

int
main(int argc, char **argv)
{
	static struct load l = { .connections = 1, .warm_up = 1 };
	struct options o = { .auth = true, .key = "" };

	if (!parse_options(&l, &o, argc, argv)) {
		fprintf(stderr,
			"usage: smtpload [-X] [-c connections] [-k messages] "
			"[-d seconds] [-w seconds] [-n messages] [-K key] "
			"[-s first] [-a file] address:port message\n");
		return 64;
	}
	raise_file_limit();
	payload_load(&l.payload, argv[optind + 1]);
	if (o.accepted_path != NULL) {
		l.accepted_file = fopen(o.accepted_path, "w");
		if (l.accepted_file == NULL)
			die(o.accepted_path);
	}
	load_run(&l);
	if (l.accepted_file != NULL && fclose(l.accepted_file) != 0)
		die(o.accepted_path);
	report(&l);
	return 0;
}
