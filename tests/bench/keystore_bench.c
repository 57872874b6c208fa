/* SPDX-License-Identifier: MIT */
/*
 * usage: keystore_bench [KEYS [DIRECTORY]]
 *
 * Imports so many keys (1,000,000) of a hundredth as many accounts, in pieces
 * of at most 1 MB as txmilterctl sends them, then looks up random ones and
 * times each lookup: with an account that has a key of the API, which is
 * unsealed, and without. Prints a row each.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "milter/keystore.h"
#include "milter/store.h"
#include "policy/dynbuf.h"
#include "policy/json_text.h"

#define PIECE_MAX (1024 * 1024)
#define LINE_MAX_LEN 300
#define LOOKUPS 1000000u
#define KEYS_PER_ACCOUNT 100
#define MAP_SIZE ((size_t)4 * 1024 * 1024 * 1024)
#define NOW 1700000000

struct bench {
	unsigned long keys;
	char dir[200];
	struct store *store;
	struct crypto_seal *seal;
	struct keystore *ks;
	uint32_t *ns; /* of each lookup */
};

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "keystore_bench: %s: %s\n", what, why);
	exit(1);
}

static uint64_t
now_ns(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
		die("clock", "cannot be read");
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* As long as those that are made here. */
static int
key_text(char *dst, size_t size, unsigned long i)
{
	return snprintf(dst, size, "key_%058lx", i * 2654435761u);
}

/* Every other account has a key of the API. */
static void
add_account(struct dynbuf *out, unsigned long i)
{
	(void)dynbuf_addf(out,
			  "{\"account\":\"account-%lu\",\"dialect\":"
			  "\"emaildelivery\",\"routes\":[{\"id\":\"r1\","
			  "\"name\":\"Main\"}],\"senders\":[\"c%lu.example\"]",
			  i, i);
	if (i % 2 == 0)
		(void)dynbuf_addf(out, ",\"api_key\":\"api-key-%032lu\"", i);
	(void)dynbuf_adds(out, "}\n");
}

static void
add_key(struct dynbuf *out, unsigned long i)
{
	char key[80];

	(void)key_text(key, sizeof(key), i);
	(void)dynbuf_addf(out,
			  "{\"key\":\"%s\",\"of\":\"account-%lu\",\"label\":"
			  "\"server %lu\",\"status\":\"enabled\",\"created\":"
			  "%d}\n",
			  key, i / KEYS_PER_ACCOUNT, i, NOW);
}

static void
import_piece(struct bench *b, struct dynbuf *text)
{
	char *error;

	if (keystore_import(b->ks, dynbuf_str(text), text->len, 1, &error) < 0)
		die("import", error);
	dynbuf_truncate(text, 0);
}

/* Seconds in the store; making the text is not counted. */
static double
import_all(struct bench *b)
{
	uint64_t spent = 0, begin;
	DYNBUF_AUTO text;

	dynbuf_init(&text, PIECE_MAX);
	for (unsigned long i = 0; i < b->keys; i++) {
		if (i % KEYS_PER_ACCOUNT == 0)
			add_account(&text, i / KEYS_PER_ACCOUNT);
		add_key(&text, i);
		if (text.len < PIECE_MAX - 2 * LINE_MAX_LEN && i + 1 < b->keys)
			continue;
		begin = now_ns();
		import_piece(b, &text);
		spent += now_ns() - begin;
	}
	return (double)spent / 1e9;
}

static uint64_t
next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void
look_up(struct bench *b, bool with_api_key, uint64_t seed)
{
	struct keystore_found f;
	char key[80];

	for (size_t n = 0; n < LOOKUPS; n++) {
		unsigned long i = next_random(&seed) % b->keys;
		uint64_t begin;
		int len;

		i = i / (2 * KEYS_PER_ACCOUNT) * (2 * KEYS_PER_ACCOUNT) +
		    i % KEYS_PER_ACCOUNT +
		    (with_api_key ? 0 : KEYS_PER_ACCOUNT);
		len = key_text(key, sizeof(key), i % b->keys);
		begin = now_ns();
		if (keystore_find(b->ks, key, (size_t)len, NOW, &f) !=
		    KEYSTORE_GOOD)
			die(key, "not found");
		keystore_found_clear(&f);
		b->ns[n] = (uint32_t)(now_ns() - begin);
	}
}

static int
compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* A number of the kernel's, in kB: VmRSS has the pages of the map in it,
 * RssAnon is what is really the process's. */
static unsigned long
memory_kb(const char *name)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long kb = 0;
	char line[200];

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, name, strlen(name)) == 0)
			kb = strtoul(line + strlen(name) + 1, NULL, 10);
	}
	if (f != NULL)
		fclose(f);
	return kb;
}

static double
file_mb(const struct bench *b)
{
	struct stat st;
	char path[240];

	(void)snprintf(path, sizeof(path), "%s/txmilter.mdb", b->dir);
	if (stat(path, &st) < 0)
		die(path, "cannot be examined");
	return (double)st.st_blocks * 512 / 1e6;
}

static void
report(struct bench *b, const char *what, bool with_api_key, double import_s)
{
	/* Once to warm up. */
	look_up(b, with_api_key, 88172645463325252u);
	look_up(b, with_api_key, 1234567890123u);
	qsort(b->ns, LOOKUPS, sizeof(b->ns[0]), compare);
	printf("| %7lu | %-7s | %8.1f | %6.2f | %6.2f | %7.1f | %7.1f | %7.1f "
	       "| %7.1f |\n",
	       b->keys, what, import_s, b->ns[LOOKUPS / 2] / 1e3,
	       b->ns[LOOKUPS / 100 * 99] / 1e3, b->ns[LOOKUPS - 1] / 1e3,
	       (double)memory_kb("VmRSS:") / 1e3,
	       (double)memory_kb("RssAnon:") / 1e3, file_mb(b));
}

static void
write_secret(const char *path)
{
	static const char secret[] = "0123456789abcdef0123456789abcdef";
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, secret, sizeof(secret)) != sizeof(secret) ||
	    close(fd) < 0)
		die(path, "cannot be written");
}

static void
open_all(struct bench *b, const char *parent)
{
	const char *why;
	char path[240], *error;

	(void)snprintf(b->dir, sizeof(b->dir), "%s/keystore_bench.XXXXXX",
		       parent);
	if (mkdtemp(b->dir) == NULL)
		die(b->dir, "cannot be made");
	(void)snprintf(path, sizeof(path), "%s/secret", b->dir);
	write_secret(path);
	b->seal = crypto_seal_open(path, &why);
	if (b->seal == NULL)
		die(path, why);
	b->store = store_open(b->dir, MAP_SIZE, &error);
	if (b->store == NULL)
		die(b->dir, error);
	b->ks = keystore_new(b->store, b->seal);
	b->ns = calloc(LOOKUPS, sizeof(b->ns[0]));
	if (b->ns == NULL)
		die("lookups", "no memory");
}

static void
remove_all(const struct bench *b)
{
	static const char *const files[] = { "secret", "txmilter.mdb",
					     "txmilter.mdb-lock" };
	char path[240];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", b->dir, files[i]);
		(void)unlink(path);
	}
	(void)rmdir(b->dir);
}

int
main(int argc, char **argv)
{
	struct bench b = { .keys = 1000000 };
	uint64_t begin;
	double import_s;

	if (argc > 1)
		b.keys = strtoul(argv[1], NULL, 10) / (2 * KEYS_PER_ACCOUNT) *
			 (2 * KEYS_PER_ACCOUNT);
	if (b.keys == 0)
		die("KEYS", "at least 200");
	json_text_init();
	open_all(&b, argc > 2 ? argv[2] : "/tmp");
	import_s = import_all(&b);
	printf(
	    "| keys | account | import s | p50 us | p99 us | max us | RSS MB "
	    "| anonymous MB | file MB |\n|---|---|---|---|---|---|---|---|---"
	    "|\n");
	report(&b, "no key", false, import_s);
	report(&b, "API key", true, import_s);
	begin = now_ns();
	keystore_flush(b.ks);
	printf("last use of %zu keys written in %.1f s\n",
	       store_count(b.store, STORE_LAST_USED),
	       (double)(now_ns() - begin) / 1e9);
	keystore_free(&b.ks);
	crypto_seal_free(&b.seal);
	store_close(&b.store);
	free(b.ns);
	remove_all(&b);
	return 0;
}
