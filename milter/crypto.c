/* SPDX-License-Identifier: MIT */
/*
 * OpenSSL 3 looks an algorithm up by name whenever it is not told one it
 * already fetched, which costs several times a small hash: both are fetched
 * once, and each thread keeps a digest context. Contexts that hold a sealing
 * key live for one call, since freeing them is what wipes it.
 */
#include "crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "need.h"

#define AES_KEY_LEN 32
#define NONCE_LEN 12
#define TAG_LEN 16
_Static_assert(NONCE_LEN + TAG_LEN == CRYPTO_SEAL_OVERHEAD, "sealed layout");

/* The sealing key is the hash of this and the file, so that the same file can
 * serve another purpose or a later format without sharing a key. */
#define SEAL_LABEL "txmilter seal v1"
#define SEAL_LABEL_LEN (sizeof(SEAL_LABEL) - 1)

struct crypto_seal {
	uint8_t key[AES_KEY_LEN];
};

static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;
static EVP_CIPHER *aes_gcm;
static EVP_MAC *hmac;
static pthread_key_t digest_key; /* each thread's EVP_MD_CTX */

static void
free_digest(void *ctx)
{
	EVP_MD_CTX_free(ctx);
}

static void
fetch(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	aes_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	if (sha256 == NULL || aes_gcm == NULL || hmac == NULL ||
	    pthread_key_create(&digest_key, free_digest) != 0)
		abort();
}

/* Nothing that OpenSSL does here fails but for want of memory. */
static void
must(int ok)
{
	if (ok != 1)
		abort();
}

static EVP_MD_CTX *
begin_hash(void)
{
	EVP_MD_CTX *ctx;

	if (pthread_once(&fetched, fetch) != 0)
		abort();
	ctx = pthread_getspecific(digest_key);
	if (ctx == NULL) {
		ctx = need(EVP_MD_CTX_new());
		if (pthread_setspecific(digest_key, ctx) != 0)
			abort();
	}
	must(EVP_DigestInit_ex2(ctx, sha256, NULL));
	return ctx;
}

void
crypto_hash(const void *data, size_t len, uint8_t hash_r[CRYPTO_HASH_LEN])
{
	EVP_MD_CTX *ctx = begin_hash();

	must(EVP_DigestUpdate(ctx, data, len));
	must(EVP_DigestFinal_ex(ctx, hash_r, NULL));
}

void
crypto_hash_pieces(const struct crypto_piece *v, size_t n,
		   uint8_t hash_r[CRYPTO_HASH_LEN])
{
	EVP_MD_CTX *ctx = begin_hash();

	for (size_t i = 0; i < n; i++) {
		uint8_t prefix[8];

		for (size_t b = 0; b < sizeof(prefix); b++)
			prefix[b] = (uint8_t)((uint64_t)v[i].len >> (8 * b));
		must(EVP_DigestUpdate(ctx, prefix, sizeof(prefix)));
		must(EVP_DigestUpdate(ctx, v[i].data, v[i].len));
	}
	must(EVP_DigestFinal_ex(ctx, hash_r, NULL));
}

void
crypto_hmac(const void *key, size_t key_len, const struct crypto_piece *v,
	    size_t n, uint8_t mac_r[CRYPTO_HASH_LEN])
{
	char digest[] = "SHA256";
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest,
						 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC_CTX *ctx;
	size_t len;

	if (pthread_once(&fetched, fetch) != 0)
		abort();
	ctx = need(EVP_MAC_CTX_new(hmac));
	/* No key at all would mean the one that was set before. */
	must(EVP_MAC_init(ctx, key_len > 0 ? key : "", key_len, params));
	for (size_t i = 0; i < n; i++) {
		if (v[i].len > 0)
			must(EVP_MAC_update(ctx, v[i].data, v[i].len));
	}
	must(EVP_MAC_final(ctx, mac_r, &len, CRYPTO_HASH_LEN));
	EVP_MAC_CTX_free(ctx);
}

bool
crypto_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

/* The kernel's: OpenSSL seeds a generator of 6 kB for each thread that asks,
 * and libmilter's threads come and go. */
void
crypto_random(void *dst, size_t len)
{
	uint8_t *p = dst;

	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			abort();
		p += n;
		len -= (size_t)n;
	}
}

void
crypto_wipe(void *data, size_t len)
{
	OPENSSL_cleanse(data, len);
}

void
crypto_hex(char *dst, const void *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++) {
		*dst++ = digits[p[i] >> 4];
		*dst++ = digits[p[i] & 15];
	}
	*dst = '\0';
}

void
crypto_base32(char *dst, const uint8_t *data, size_t len)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";

	for (size_t i = 0; i + 5 <= len; i += 5) {
		uint64_t five = 0;

		for (size_t b = 0; b < 5; b++)
			five = five << 8 | data[i + b];
		for (int shift = 35; shift >= 0; shift -= 5)
			*dst++ = digits[five >> shift & 31];
	}
	*dst = '\0';
}

/* In pieces, for OpenSSL's lengths are int. */
void
crypto_base64(char *dst, const void *data, size_t len)
{
	const size_t piece = 3 * 1024 * 1024;
	const uint8_t *p = data;

	*dst = '\0';
	while (len > 0) {
		size_t n = len < piece ? len : piece;

		dst += EVP_EncodeBlock((unsigned char *)dst, p, (int)n);
		p += n;
		len -= n;
	}
}

static int
base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* OpenSSL's own takes padding anywhere and bits that mean nothing: then one
 * value would have many texts. */
bool
crypto_unbase64(uint8_t *dst, const char *text, size_t len, size_t *len_r)
{
	uint8_t *out = dst;
	uint32_t group = 0;
	unsigned digits = 0, padding = 0;

	for (size_t i = 0; i < len; i++) {
		int digit = base64_digit(text[i]);

		if (is_space(text[i]))
			continue;
		if (text[i] == '=' && digits >= 2)
			padding++;
		else if (digit < 0 || padding > 0)
			return false;
		group = group << 6 | (digit >= 0 ? (uint32_t)digit : 0);
		if (++digits < 4)
			continue;
		if ((group & ((1u << 8 * padding) - 1)) != 0)
			return false;
		for (unsigned k = 0; k < 3 - padding; k++)
			*out++ = (uint8_t)(group >> (16 - 8 * k));
		group = 0;
		digits = 0;
	}
	*len_r = (size_t)(out - dst);
	return digits == 0;
}

/* Reads what there is up to size; -1 with errno. */
static ssize_t
read_whole(int fd, uint8_t *dst, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, dst + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

static const char *
secret_file_trouble(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return "cannot be examined";
	if (!S_ISREG(st.st_mode))
		return "is not a regular file";
	if (st.st_mode & 007)
		return "is open to others: run chmod o= on it";
	return NULL;
}

static const char *
derive_key(int fd, uint8_t key_r[AES_KEY_LEN])
{
	/* One byte more, to see that there is too much. */
	uint8_t text[SEAL_LABEL_LEN + CRYPTO_SECRET_MAX + 1];
	const char *error = secret_file_trouble(fd);
	ssize_t n;

	if (error != NULL)
		return error;
	memcpy(text, SEAL_LABEL, SEAL_LABEL_LEN);
	n = read_whole(fd, text + SEAL_LABEL_LEN, CRYPTO_SECRET_MAX + 1);
	if (n < 0)
		error = "cannot be read";
	else if (n < CRYPTO_SECRET_MIN)
		error = "is shorter than 32 bytes: fill it with "
			"openssl rand -base64 48";
	else if (n > CRYPTO_SECRET_MAX)
		error = "is longer than 4096 bytes";
	else
		crypto_hash(text, SEAL_LABEL_LEN + (size_t)n, key_r);
	crypto_wipe(text, sizeof(text));
	return error;
}

static const char *
open_trouble(int error)
{
	switch (error) {
	case ENOENT:
		return "does not exist: make it with "
		       "openssl rand -base64 48, mode 0640";
	case EACCES:
		return "may not be read by this user";
	default:
		return "cannot be opened";
	}
}

/* -1 with errno and the error. */
static int
open_secret(const char *file, const char **error_r)
{
	/* Opening a FIFO must not wait for a writer. */
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		*error_r = open_trouble(errno);
	return fd;
}

struct crypto_seal *
crypto_seal_open(const char *secret_file, const char **error_r)
{
	struct crypto_seal *s;
	int fd = open_secret(secret_file, error_r);

	if (fd < 0)
		return NULL;
	s = need(calloc(1, sizeof(*s)));
	*error_r = derive_key(fd, s->key);
	close(fd);
	if (*error_r != NULL)
		crypto_seal_free(&s);
	return s;
}

void
crypto_seal_free(struct crypto_seal **s)
{
	if (*s == NULL)
		return;
	crypto_wipe(*s, sizeof(**s));
	free(*s);
	*s = NULL;
}

/* Of the n bytes at text, more than max of which are too many. */
static const char *
check_line(const char *text, size_t n, size_t min, size_t max, size_t *len_r)
{
	const char *end = memchr(text, '\n', n);

	*len_r = end != NULL ? (size_t)(end - text) : n;
	if (*len_r > max)
		return "has too long a first line";
	if (*len_r < min)
		return "has too short a first line: fill it with "
		       "openssl rand -base64 48";
	return memchr(text, '\0', *len_r) != NULL ? "is not a text" : NULL;
}

static const char *
read_line(int fd, size_t min, size_t max, char *secret_r, size_t *len_r)
{
	const char *error = secret_file_trouble(fd);
	ssize_t n;

	if (error != NULL)
		return error;
	/* One byte more: the line's end, or that there is too much. */
	n = read_whole(fd, (uint8_t *)secret_r, max + 1);
	if (n < 0)
		return "cannot be read";
	error = check_line(secret_r, (size_t)n, min, max, len_r);
	if (error == NULL)
		crypto_wipe(secret_r + *len_r, max + 1 - *len_r);
	return error;
}

int
crypto_secret_read(const char *file, size_t min, size_t max, char *secret_r,
		   size_t *len_r, const char **error_r)
{
	int fd = open_secret(file, error_r);

	if (fd < 0)
		return -1;
	*error_r = read_line(fd, min, max, secret_r, len_r);
	(void)close(fd);
	if (*error_r == NULL)
		return 0;
	crypto_wipe(secret_r, max + 1);
	errno = EINVAL;
	return -1;
}

/* Lengths of OpenSSL's ciphers are int. */
static int
as_int(size_t len)
{
	if (len > INT32_MAX)
		abort();
	return (int)len;
}

static EVP_CIPHER_CTX *
begin_cipher(const struct crypto_seal *s, const char *context,
	     const uint8_t *nonce, int encrypt)
{
	EVP_CIPHER_CTX *ctx;
	int n;

	if (pthread_once(&fetched, fetch) != 0)
		abort();
	ctx = need(EVP_CIPHER_CTX_new());
	must(EVP_CipherInit_ex2(ctx, aes_gcm, s->key, nonce, encrypt, NULL));
	must(EVP_CipherUpdate(ctx, NULL, &n, (const uint8_t *)context,
			      as_int(strlen(context))));
	return ctx;
}

/* Sealed text: nonce, cipher text, tag. */
void
crypto_seal(const struct crypto_seal *s, const char *context, const void *plain,
	    size_t len, uint8_t *sealed_r)
{
	uint8_t *text = sealed_r + NONCE_LEN, *tag = text + len;
	EVP_CIPHER_CTX *ctx;
	int n;

	crypto_random(sealed_r, NONCE_LEN);
	ctx = begin_cipher(s, context, sealed_r, 1);
	must(EVP_CipherUpdate(ctx, text, &n, plain, as_int(len)));
	must(EVP_CipherFinal_ex(ctx, tag, &n));
	must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, tag));
	EVP_CIPHER_CTX_free(ctx);
}

int
crypto_unseal(const struct crypto_seal *s, const char *context,
	      const uint8_t *sealed, size_t len, void *plain_r)
{
	uint8_t tag[TAG_LEN], none[TAG_LEN];
	EVP_CIPHER_CTX *ctx;
	size_t plain_len;
	int n, ok;

	if (len < CRYPTO_SEAL_OVERHEAD)
		return -1;
	plain_len = len - CRYPTO_SEAL_OVERHEAD;
	memcpy(tag, sealed + len - TAG_LEN, TAG_LEN);
	ctx = begin_cipher(s, context, sealed, 0);
	must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag));
	must(EVP_CipherUpdate(ctx, plain_r, &n, sealed + NONCE_LEN,
			      as_int(plain_len)));
	ok = EVP_CipherFinal_ex(ctx, none, &n);
	EVP_CIPHER_CTX_free(ctx);
	if (ok == 1)
		return 0;
	/* What did not verify is nobody's to see. */
	crypto_wipe(plain_r, plain_len);
	return -1;
}
