/* SPDX-License-Identifier: MIT */
/*
 * crypto: hashes, randomness and sealing. The only file that knows OpenSSL.
 * Thread-safe.
 */
#ifndef TXM_MILTER_CRYPTO_H
#define TXM_MILTER_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRYPTO_HASH_LEN 32

/* SHA-256 of the pieces, each preceded by its length (so that "a","bc" and
 * "ab","c" differ), or of one piece as it is. */
struct crypto_piece {
	const void *data;
	size_t len;
};
void crypto_hash(const void *data, size_t len, uint8_t hash_r[CRYPTO_HASH_LEN]);
void crypto_hash_pieces(const struct crypto_piece *v, size_t n,
			uint8_t hash_r[CRYPTO_HASH_LEN]);

/* HMAC-SHA256 of the pieces one after the other: where one ends does not
 * matter. */
void crypto_hmac(const void *key, size_t key_len, const struct crypto_piece *v,
		 size_t n, uint8_t mac_r[CRYPTO_HASH_LEN]);

/* Takes as long whatever differs. */
bool crypto_equal(const void *a, const void *b, size_t len);

/* Ends the process when the system has no randomness. */
void crypto_random(void *dst, size_t len);

/* Overwrites a secret; the compiler does not remove it. */
void crypto_wipe(void *data, size_t len);

/* Lower-case hexadecimal, NUL-terminated; dst has 2 * len + 1 bytes. */
void crypto_hex(char *dst, const void *data, size_t len);

/* Lower-case base32 (RFC 4648 alphabet, no padding) of len bytes, a multiple
 * of 5; dst has len / 5 * 8 + 1 bytes. */
void crypto_base32(char *dst, const uint8_t *data, size_t len);

/* Base64 (RFC 4648, padded); dst has CRYPTO_BASE64_LEN(len) + 1 bytes. */
#define CRYPTO_BASE64_LEN(len) (((len) + 2) / 3 * 4)
void crypto_base64(char *dst, const void *data, size_t len);

/* And back. White space does not matter; any other character, padding that is
 * missing or in the wrong place, and bits that nothing stands for are refused.
 * dst has CRYPTO_UNBASE64_MAX(len) bytes. */
#define CRYPTO_UNBASE64_MAX(len) ((len) / 4 * 3)
bool crypto_unbase64(uint8_t *dst, const char *text, size_t len, size_t *len_r);

/* A key for sealing, read from a file of at least CRYPTO_SECRET_MIN bytes that
 * others cannot read. */
#define CRYPTO_SECRET_MIN 32
#define CRYPTO_SECRET_MAX 4096
struct crypto_seal;
struct crypto_seal *crypto_seal_open(const char *secret_file,
				     const char **error_r);
void crypto_seal_free(struct crypto_seal **s);

/* The first line of a file that others cannot read, without its LF: min to max
 * bytes, none of them NUL. secret_r has max + 1 bytes and is NUL-terminated;
 * wipe all of it. -1 and a static text that goes on from the file's name;
 * errno is then open(2)'s (ENOENT: there is no file), or EINVAL when what is in
 * it will not do, and secret_r holds nothing of it. */
int crypto_secret_read(const char *file, size_t min, size_t max, char *secret_r,
		       size_t *len_r, const char **error_r);

/* AES-256-GCM with a random nonce. `context` is authenticated with it: what
 * was sealed for one place does not open in another. The sealed text is
 * CRYPTO_SEAL_OVERHEAD longer than the plain one. */
#define CRYPTO_SEAL_OVERHEAD 28
void crypto_seal(const struct crypto_seal *s, const char *context,
		 const void *plain, size_t len, uint8_t *sealed_r);

/* 0, or -1 when it does not verify. plain_r has len - CRYPTO_SEAL_OVERHEAD
 * bytes. */
int crypto_unseal(const struct crypto_seal *s, const char *context,
		  const uint8_t *sealed, size_t len, void *plain_r);

#endif
