/* SPDX-License-Identifier: MIT */
#include "milter/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

struct place {
	char dir[32];
	char path[64];
};

static int
set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->dir, "/tmp/test_crypto.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->path, sizeof(p->path), "%s/secret", p->dir);
	*state = p;
	return 0;
}

static int
tear_down(void **state)
{
	struct place *p = *state;

	unlink(p->path);
	assert_int_equal(rmdir(p->dir), 0);
	free(p);
	return 0;
}

static void
write_file(const char *path, const void *data, size_t len, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

/* 64 times the same letter: a secret. */
static struct crypto_seal *
seal_of(const struct place *p, char letter)
{
	struct crypto_seal *s;
	const char *error;
	char text[64];

	memset(text, letter, sizeof(text));
	write_file(p->path, text, sizeof(text), 0600);
	s = crypto_seal_open(p->path, &error);
	assert_non_null(s);
	assert_null(error);
	return s;
}

static void
test_hash(void **state)
{
	/* FIPS 180-2 appendix B. */
	static const struct {
		const char *text;
		const char *hash;
	} rows[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb924"
		      "27ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223"
			 "b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039"
		  "a33ce45964ff2167f6ecedd419db06c1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t hash[CRYPTO_HASH_LEN];
		char hex[2 * CRYPTO_HASH_LEN + 1];

		crypto_hash(rows[i].text, strlen(rows[i].text), hash);
		crypto_hex(hex, hash, sizeof(hash));
		if (strcmp(hex, rows[i].hash) != 0)
			print_error("row \"%s\"\n", rows[i].text);
		assert_string_equal(hex, rows[i].hash);
	}
}

static void
test_hash_pieces(void **state)
{
	/* Made with Python's hashlib: eight bytes of length, little-endian,
	 * before each piece. */
	static const struct {
		const char *name;
		struct crypto_piece v[2];
		size_t n;
		const char *hash;
	} rows[] = {
		{ "none",
		  { { NULL, 0 } },
		  0,
		  "e3b0c44298fc1c149afbf4c8996fb924"
		  "27ae41e4649b934ca495991b7852b855" },
		{ "a, bc",
		  { { "a", 1 }, { "bc", 2 } },
		  2,
		  "9a8acca1b6c6c0befd3fbc756aed625d"
		  "a998c998f7252e738c4ef061906b9b21" },
		{ "ab, c",
		  { { "ab", 2 }, { "c", 1 } },
		  2,
		  "43ee655579de01ca739b3f95c1c2d3f4"
		  "6d353b2c0df818064ea594506cdb2617" },
		{ "abc",
		  { { "abc", 3 } },
		  1,
		  "ce91dc5eec0139adf091900d225971d6"
		  "ad246a845bad791b5693a9d0d55dd391" },
		{ "abc, empty",
		  { { "abc", 3 }, { NULL, 0 } },
		  2,
		  "3e2f8940c3a0e0fd6f6e07bbf07f015d"
		  "d7c147431e5fa14bf3f225d782641540" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t hash[CRYPTO_HASH_LEN];
		char hex[2 * CRYPTO_HASH_LEN + 1];

		crypto_hash_pieces(rows[i].v, rows[i].n, hash);
		crypto_hex(hex, hash, sizeof(hash));
		if (strcmp(hex, rows[i].hash) != 0)
			print_error("row %s\n", rows[i].name);
		assert_string_equal(hex, rows[i].hash);
	}
}

static void
test_hmac(void **state)
{
	/* RFC 4231 test cases 1, 2 and 6; the last with Python's hmac. */
	static const char key_131[131 + 1] =
	    "\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa"
	    "\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa"
	    "\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa"
	    "\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa"
	    "\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa"
	    "\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa"
	    "\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa"
	    "\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa"
	    "\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa";
	static const struct {
		struct crypto_piece key;
		struct crypto_piece v[3];
		const char *mac;
	} rows[] = {
		{ { "\v\v\v\v\v\v\v\v\v\v\v\v\v\v\v\v\v\v\v\v", 20 },
		  { { "Hi There", 8 } },
		  "b0344c61d8db38535ca8afceaf0bf12b"
		  "881dc200c9833da726e9376c2e32cff7" },
		{ { "Jefe", 4 },
		  { { "what do ya want ", 16 }, { "for nothing?", 12 } },
		  "5bdcc146bf60754e6a042426089575c7"
		  "5a003f089d2739839dec58b964ec3843" },
		{ { "Jefe", 4 },
		  { { "what", 4 },
		    { NULL, 0 },
		    { " do ya want for nothing?", 24 } },
		  "5bdcc146bf60754e6a042426089575c7"
		  "5a003f089d2739839dec58b964ec3843" },
		{ { key_131, 131 },
		  { { "Test Using Larger Than Block-Size Key - Hash Key First",
		      54 } },
		  "60e431591ee0b67f0d8a26aacbf5b77f"
		  "8e0bc6213728c5140546040f0ee37f54" },
		{ { NULL, 0 },
		  { { NULL, 0 } },
		  "b613679a0814d9ec772f95d778c35fc5"
		  "ff1697c493715653c6c712144292c5ad" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t mac[CRYPTO_HASH_LEN];
		char hex[2 * CRYPTO_HASH_LEN + 1];

		crypto_hmac(rows[i].key.data, rows[i].key.len, rows[i].v, 3,
			    mac);
		crypto_hex(hex, mac, sizeof(mac));
		assert_string_equal(hex, rows[i].mac);
	}
}

static void
test_equal(void **state)
{
	(void)state;
	assert_true(crypto_equal("abc", "abd", 2));
	assert_true(crypto_equal("abc", "xyz", 0));
	assert_false(crypto_equal("abc", "abd", 3));
	assert_false(crypto_equal("abc", "xbc", 3));
}

static void
test_base32(void **state)
{
	/* RFC 4648 section 10, and all digits. */
	static const struct {
		const char *data;
		size_t len;
		const char *text;
	} rows[] = {
		{ "", 0, "" },
		{ "fooba", 5, "mzxw6ytb" },
		{ "foobafooba", 10, "mzxw6ytbmzxw6ytb" },
		{ "\x00\x44\x32\x14\xc7\x42\x54\xb6\x35\xcf"
		  "\x84\x65\x3a\x56\xd7\xc6\x75\xbe\x77\xdf",
		  20, "abcdefghijklmnopqrstuvwxyz234567" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[40];

		crypto_base32(text, (const uint8_t *)rows[i].data, rows[i].len);
		assert_string_equal(text, rows[i].text);
	}
}

/* RFC 4648, section 10, and all digits. */
static const struct {
	const char *plain;
	const char *text;
} base64[] = {
	{ "", "" },
	{ "f", "Zg==" },
	{ "fo", "Zm8=" },
	{ "foo", "Zm9v" },
	{ "foob", "Zm9vYg==" },
	{ "fooba", "Zm9vYmE=" },
	{ "foobar", "Zm9vYmFy" },
	{ "\xfb\xff\xfe", "+//+" },
};

static void
test_base64(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(base64) / sizeof(base64[0]); i++) {
		size_t len = strlen(base64[i].plain);
		uint8_t back[16];
		char text[16];
		size_t n;

		crypto_base64(text, base64[i].plain, len);
		assert_string_equal(text, base64[i].text);
		assert_int_equal(strlen(text), CRYPTO_BASE64_LEN(len));
		assert_true(crypto_unbase64(back, text, strlen(text), &n));
		assert_int_equal(n, len);
		assert_memory_equal(back, base64[i].plain, len);
	}
}

static void
test_unbase64(void **state)
{
	static const struct {
		const char *text;
		const char *want; /* NULL: refused */
	} v[] = {
		{ " Z\tm\r\n8 = \n", "fo" },
		{ " \n", "" },
		{ "Zg==\n", "f" },
		{ "Zg=\n =", "f" },
		{ "Z", NULL },
		{ "Zg", NULL },
		{ "Zm8", NULL },
		{ "Zg=", NULL },
		{ "Zg===", NULL },
		{ "Zg====", NULL },
		{ "=", NULL },
		{ "====", NULL },
		{ "Z===", NULL },
		{ "Zm8==", NULL },
		{ "Zm9v=", NULL },
		{ "Zg=a", NULL },
		{ "Zg==Zg==", NULL },
		{ "Zm8=Zm9v", NULL },
		{ "Zh==", NULL }, /* four bits that mean nothing */
		{ "Zm9=", NULL }, /* two of them */
		{ "Zm9-", NULL },
		{ "Zm9_", NULL },
		{ "Zm9\x80", NULL },
		{ "Zm9\v", NULL },
		{ "Zm.9v", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		uint8_t back[16];
		size_t n;
		bool ok =
		    crypto_unbase64(back, v[i].text, strlen(v[i].text), &n);

		if (ok != (v[i].want != NULL) ||
		    (ok && (n != strlen(v[i].want) ||
			    memcmp(back, v[i].want, n) != 0)))
			fail_msg("%s", v[i].text);
	}
	assert_false(
	    crypto_unbase64((uint8_t[3]){ 0 }, "Zm\0v", 4, &(size_t){ 0 }));
}

static void
test_long_base64(void **state)
{
	const size_t len = 7 * 1024 * 1024 + 1;
	uint8_t *data = malloc(len);
	char *text = malloc(CRYPTO_BASE64_LEN(len) + 1);
	uint8_t *back;
	size_t n;

	(void)state;
	assert_non_null(data);
	assert_non_null(text);
	crypto_random(data, len);
	crypto_base64(text, data, len);
	assert_int_equal(strlen(text), CRYPTO_BASE64_LEN(len));
	back = malloc(CRYPTO_UNBASE64_MAX(strlen(text)));
	assert_non_null(back);
	assert_true(crypto_unbase64(back, text, strlen(text), &n));
	assert_int_equal(n, len);
	assert_memory_equal(back, data, len);
	free(back);
	free(text);
	free(data);
}

static void
test_random(void **state)
{
	static uint8_t a[100000], b[100000];
	size_t zeros = 0;

	(void)state;
	crypto_random(a, sizeof(a));
	crypto_random(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	/* To its end: it is filled in pieces. */
	for (size_t i = sizeof(a) - 16; i < sizeof(a); i++)
		zeros += a[i] == 0 && b[i] == 0;
	assert_true(zeros < 16);
}

static void
test_wipe(void **state)
{
	char secret[8] = "secret!";
	static const char nothing[8];

	(void)state;
	crypto_wipe(secret, sizeof(secret));
	assert_memory_equal(secret, nothing, sizeof(secret));
}

static void
test_seal_lengths(void **state)
{
	static const size_t rows[] = { 0, 1, 15, 16, 17, 256, 100000 };
	struct crypto_seal *s = seal_of(*state, 'k');

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = rows[i];
		uint8_t *plain = malloc(len + 1);
		uint8_t *sealed = malloc(len + CRYPTO_SEAL_OVERHEAD);
		uint8_t *again = malloc(len + CRYPTO_SEAL_OVERHEAD);
		uint8_t *back = malloc(len + 1);

		assert_true(plain && sealed && again && back);
		crypto_random(plain, len);
		crypto_seal(s, "test", plain, len, sealed);
		crypto_seal(s, "test", plain, len, again);
		assert_memory_not_equal(sealed, again,
					len + CRYPTO_SEAL_OVERHEAD);
		assert_int_equal(crypto_unseal(s, "test", sealed,
					       len + CRYPTO_SEAL_OVERHEAD,
					       back),
				 0);
		assert_memory_equal(plain, back, len);
		free(plain);
		free(sealed);
		free(again);
		free(back);
	}
	crypto_seal_free(&s);
	assert_null(s);
	crypto_seal_free(&s);
}

/* What is on disk must open after an update: a text that an independent
 * AES-GCM sealed. */
static void
test_seal_format(void **state)
{
	static const uint8_t sealed[] = { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05,
					  0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
					  0x6e, 0xa7, 0x88, 0xe1, 0xf7, 0x7e,
					  0x0f, 0xcf, 0xd3, 0xd9, 0x68, 0x4c,
					  0xd7, 0xd6, 0xf4, 0x39, 0x23, 0x4e,
					  0xec, 0xbb, 0x05, 0xe1 };
	struct crypto_seal *s = seal_of(*state, 'k');
	char plain[sizeof(sealed)];

	assert_int_equal(crypto_unseal(s, "key", sealed, sizeof(sealed), plain),
			 0);
	assert_memory_equal(plain, "Sesame", 6);
	assert_int_equal(sizeof(sealed), 6 + CRYPTO_SEAL_OVERHEAD);
	crypto_seal_free(&s);
}

static void
test_unseal_refuses(void **state)
{
	enum { LEN = 6 + CRYPTO_SEAL_OVERHEAD };
	struct crypto_seal *s = seal_of(*state, 'k');
	struct crypto_seal *other = seal_of(*state, 'o');
	uint8_t sealed[LEN + 1] = { 0 };
	uint8_t plain[LEN];
	static const uint8_t nothing[6];

	crypto_seal(s, "key", "Sesame", 6, sealed);
	for (size_t i = 0; i < LEN; i++) {
		sealed[i] ^= 1;
		if (crypto_unseal(s, "key", sealed, LEN, plain) != -1)
			fail_msg("byte %zu may be changed", i);
		sealed[i] ^= 1;
		assert_memory_equal(plain, nothing, 6);
	}
	for (size_t len = 0; len < LEN; len++) {
		if (crypto_unseal(s, "key", sealed, len, plain) != -1)
			fail_msg("cut to %zu it opens", len);
	}
	assert_int_equal(crypto_unseal(s, "key", sealed, LEN + 1, plain), -1);
	assert_int_equal(crypto_unseal(s, "plan", sealed, LEN, plain), -1);
	assert_int_equal(crypto_unseal(s, "", sealed, LEN, plain), -1);
	assert_int_equal(crypto_unseal(other, "key", sealed, LEN, plain), -1);
	assert_int_equal(crypto_unseal(s, "key", sealed, LEN, plain), 0);
	assert_memory_equal(plain, "Sesame", 6);
	crypto_seal_free(&s);
	crypto_seal_free(&other);
}

static void
test_secret_file(void **state)
{
	static const struct {
		const char *name;
		size_t len;
		mode_t mode;
		const char *error; /* a part of it; NULL: it is good */
	} rows[] = {
		{ "shortest", CRYPTO_SECRET_MIN, 0600, NULL },
		{ "longest", CRYPTO_SECRET_MAX, 0600, NULL },
		{ "group may read", 48, 0640, NULL },
		{ "read only", 48, 0400, NULL },
		{ "empty", 0, 0600, "shorter than 32" },
		{ "too short", CRYPTO_SECRET_MIN - 1, 0600, "openssl rand" },
		{ "too long", CRYPTO_SECRET_MAX + 1, 0600, "longer than 4096" },
		{ "others may read", 48, 0644, "chmod o=" },
		{ "others may write", 48, 0602, "chmod o=" },
		{ "others may search", 48, 0601, "chmod o=" },
	};
	const struct place *p = *state;
	static char text[CRYPTO_SECRET_MAX + 1];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct crypto_seal *s;
		const char *error = "";

		unlink(p->path);
		write_file(p->path, text, rows[i].len, rows[i].mode);
		s = crypto_seal_open(p->path, &error);
		if ((s == NULL) != (rows[i].error != NULL))
			print_error("row %s\n", rows[i].name);
		if (rows[i].error == NULL) {
			assert_non_null(s);
			assert_null(error);
		} else {
			assert_null(s);
			assert_non_null(strstr(error, rows[i].error));
		}
		crypto_seal_free(&s);
	}
}

static void
test_secret_not_a_file(void **state)
{
	const struct place *p = *state;
	const char *error = "";

	assert_null(crypto_seal_open(p->path, &error));
	assert_non_null(strstr(error, "does not exist"));
	assert_null(crypto_seal_open(p->dir, &error));
	assert_non_null(strstr(error, "not a regular file"));
	/* Does not wait for somebody to write into it. */
	assert_int_equal(mkfifo(p->path, 0600), 0);
	assert_null(crypto_seal_open(p->path, &error));
	assert_non_null(strstr(error, "not a regular file"));
}

static void
test_secret_line(void **state)
{
	enum { MIN = 4, MAX = 8 };
	static const struct {
		const char *name;
		struct crypto_piece text;
		mode_t mode;
		const char *secret; /* NULL: refused */
		const char *error;  /* a part of it */
	} rows[] = {
		{ "shortest", { "1234\n", 5 }, 0600, "1234", NULL },
		{ "no line end", { "1234", 4 }, 0640, "1234", NULL },
		{ "longest", { "12345678\n", 9 }, 0600, "12345678", NULL },
		{ "longest, no end",
		  { "12345678", 8 },
		  0600,
		  "12345678",
		  NULL },
		{ "more lines", { "12345\n789\n\0", 11 }, 0600, "12345", NULL },
		{ "too short", { "123\n5678\n", 9 }, 0600, NULL, "too short" },
		{ "empty", { "", 0 }, 0600, NULL, "openssl rand" },
		{ "too long", { "123456789\n", 10 }, 0600, NULL, "too long" },
		{ "far too long",
		  { "1234567890123456\n", 17 },
		  0600,
		  NULL,
		  "too long" },
		{ "NUL", { "12\0005\n", 6 }, 0600, NULL, "not a text" },
		{ "open to others", { "12345\n", 6 }, 0644, NULL, "chmod o=" },
	};
	const struct place *p = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static const char nothing[MAX + 1];
		char secret[MAX + 1] = "########";
		const char *error = "";
		size_t len = 0;
		int rc;

		unlink(p->path);
		write_file(p->path, rows[i].text.data, rows[i].text.len,
			   rows[i].mode);
		errno = 0;
		rc =
		    crypto_secret_read(p->path, MIN, MAX, secret, &len, &error);
		if (rc != (rows[i].secret ? 0 : -1))
			fail_msg("row %s", rows[i].name);
		if (rows[i].secret != NULL) {
			assert_string_equal(secret, rows[i].secret);
			assert_int_equal(len, strlen(secret));
			continue;
		}
		assert_int_equal(errno, EINVAL);
		assert_non_null(strstr(error, rows[i].error));
		assert_memory_equal(secret, nothing, sizeof(secret));
	}
}

static void
test_secret_line_not_a_file(void **state)
{
	const struct place *p = *state;
	const char *error = "";
	char secret[9];
	size_t len;

	assert_int_equal(
	    crypto_secret_read(p->path, 4, 8, secret, &len, &error), -1);
	assert_int_equal(errno, ENOENT);
	assert_non_null(strstr(error, "does not exist"));
	assert_int_equal(crypto_secret_read(p->dir, 4, 8, secret, &len, &error),
			 -1);
	assert_int_equal(errno, EINVAL);
	assert_non_null(strstr(error, "not a regular file"));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_hash_pieces),
		cmocka_unit_test(test_hmac),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_base32),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_unbase64),
		cmocka_unit_test(test_long_base64),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_wipe),
		cmocka_unit_test_setup_teardown(test_seal_lengths, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_seal_format, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_unseal_refuses, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_secret_file, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_secret_not_a_file, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_secret_line, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_secret_line_not_a_file,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
