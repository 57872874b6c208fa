/* SPDX-License-Identifier: MIT */
/*
 * floor: the least that a milter with an HTTP hand-off can do, to tell what
 * libmilter and libcurl cost from what txmilter costs.
 *
 *   floor SOCKET URL     prints "ready" once it listens
 *
 * Negotiates what txmilter negotiates. Keeps the first 40 KB of each message
 * as they are, skips the rest, sends them by a blocking POST on a kept-alive
 * connection of a pool, and discards the message. No key, no parsing, no JSON,
 * no deadline, no log. For benchmarks only.
 */
#include <libmilter/mfapi.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <curl/curl.h>

#define KEPT_MAX 40960
#define STEPS                                                              \
	(SMFIP_NOCONNECT | SMFIP_NOHELO | SMFIP_NOUNKNOWN | SMFIP_NODATA | \
	 SMFIP_NR_MAIL | SMFIP_NR_RCPT | SMFIP_NR_HDR | SMFIP_NR_EOH |     \
	 SMFIP_SKIP)

struct session {
	size_t len;
	char kept[KEPT_MAX];
};

/* A curl handle and with it a connection; free ones are a list. */
struct handle {
	struct handle *next;
	CURL *curl;
};

static const char *url;
static struct curl_slist *headers;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct handle *unused;

static struct handle *
take_handle(void)
{
	struct handle *h;

	pthread_mutex_lock(&lock);
	h = unused;
	if (h != NULL)
		unused = h->next;
	pthread_mutex_unlock(&lock);
	if (h != NULL)
		return h;
	h = calloc(1, sizeof(*h));
	if (h == NULL || (h->curl = curl_easy_init()) == NULL)
		abort();
	(void)curl_easy_setopt(h->curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);
	(void)curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
	return h;
}

static void
put_handle(struct handle *h)
{
	pthread_mutex_lock(&lock);
	h->next = unused;
	unused = h;
	pthread_mutex_unlock(&lock);
}

static size_t
ignore_answer(char *data, size_t size, size_t n, void *arg)
{
	(void)data, (void)arg;
	return size * n;
}

static bool
post(const struct session *s)
{
	struct handle *h = take_handle();
	long status = 0;

	(void)curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, ignore_answer);
	(void)curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, s->kept);
	(void)curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE, (long)s->len);
	if (curl_easy_perform(h->curl) == CURLE_OK)
		(void)curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE,
					&status);
	put_handle(h);
	return status == 200;
}

static struct session *
session_of(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);

	if (s != NULL)
		return s;
	s = calloc(1, sizeof(*s));
	if (s == NULL || smfi_setpriv(ctx, s) != MI_SUCCESS)
		abort();
	return s;
}

static void
keep(struct session *s, const char *data, size_t len)
{
	size_t n = len < KEPT_MAX - s->len ? len : KEPT_MAX - s->len;

	memcpy(s->kept + s->len, data, n);
	s->len += n;
}

static sfsistat
on_negotiate(SMFICTX *ctx, unsigned long actions, unsigned long steps,
	     unsigned long f2, unsigned long f3, unsigned long *actions_r,
	     unsigned long *steps_r, unsigned long *f2_r, unsigned long *f3_r)
{
	(void)ctx, (void)actions, (void)f2, (void)f3;
	*actions_r = *f2_r = *f3_r = 0;
	*steps_r = STEPS;
	return (steps & STEPS) == STEPS ? SMFIS_CONTINUE : SMFIS_REJECT;
}

static sfsistat
on_mail(SMFICTX *ctx, char **argv)
{
	(void)argv;
	session_of(ctx)->len = 0;
	return SMFIS_NOREPLY;
}

static sfsistat
on_recipient(SMFICTX *ctx, char **argv)
{
	(void)ctx, (void)argv;
	return SMFIS_NOREPLY;
}

/* apistub finds the sequence number behind this name. */
static sfsistat
on_header(SMFICTX *ctx, char *name, char *value)
{
	struct session *s = session_of(ctx);
	bool subject = strcmp(name, "Subject") == 0;

	keep(s, subject ? "\"subject\"" : name, subject ? 9 : strlen(name));
	keep(s, ": ", 2);
	keep(s, value, strlen(value));
	keep(s, "\r\n", 2);
	return SMFIS_NOREPLY;
}

static sfsistat
on_headers_done(SMFICTX *ctx)
{
	keep(session_of(ctx), "\r\n", 2);
	return SMFIS_NOREPLY;
}

static sfsistat
on_body(SMFICTX *ctx, unsigned char *data, size_t len)
{
	struct session *s = session_of(ctx);

	keep(s, (const char *)data, len);
	return s->len == KEPT_MAX ? SMFIS_SKIP : SMFIS_CONTINUE;
}

static sfsistat
on_end(SMFICTX *ctx)
{
	return post(session_of(ctx)) ? SMFIS_DISCARD : SMFIS_TEMPFAIL;
}

static sfsistat
on_close(SMFICTX *ctx)
{
	free(smfi_getpriv(ctx));
	(void)smfi_setpriv(ctx, NULL);
	return SMFIS_CONTINUE;
}

static char filter_name[] = "floor";

static struct smfiDesc description = {
	.xxfi_name = filter_name,
	.xxfi_version = SMFI_VERSION,
	.xxfi_envfrom = on_mail,
	.xxfi_envrcpt = on_recipient,
	.xxfi_header = on_header,
	.xxfi_eoh = on_headers_done,
	.xxfi_body = on_body,
	.xxfi_eom = on_end,
	.xxfi_close = on_close,
	.xxfi_negotiate = on_negotiate,
};

int
main(int argc, char **argv)
{
	if (argc != 3) {
		(void)fprintf(stderr, "usage: floor SOCKET URL\n");
		return 64;
	}
	url = argv[2];
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return 1;
	headers =
	    curl_slist_append(NULL, "Content-Type: application/octet-stream");
	headers = curl_slist_append(headers, "Expect:");
	(void)umask(0);
	if (smfi_register(description) != MI_SUCCESS ||
	    smfi_setconn(argv[1]) != MI_SUCCESS ||
	    smfi_opensocket(1) != MI_SUCCESS) {
		(void)fprintf(stderr, "floor: cannot listen at %s\n", argv[1]);
		return 1;
	}
	(void)printf("ready\n");
	(void)fflush(stdout);
	return smfi_main() == MI_SUCCESS ? 0 : 1;
}
