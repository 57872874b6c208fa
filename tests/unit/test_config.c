/* SPDX-License-Identifier: MIT */
/*
 * Each row is a configuration file; "FILE" in an error stands for its path.
 */
#include "milter/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/api.h"
#include "policy/dialect.h"
#include "policy/dynbuf.h"

#define API "[api esp]\nurl = https://esp.example/api\n"
#define TEN "1234567890"
#define THE_DIALECTS "auto, emaildelivery, flexmail, campaignmonitor, sparkpost"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static char path[64];

/* Loads a file with these contents, which has no name in any directory. */
static struct config *
load(const char *text, size_t len, char **error_r)
{
	int fd = memfd_create("test_config", MFD_CLOEXEC);
	struct config *c;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	assert_true(snprintf(path, sizeof(path), "/proc/self/fd/%d", fd) > 0);
	*error_r = (char *)1;
	c = config_load(path, error_r);
	assert_int_equal(close(fd), 0);
	assert_true((c == NULL) == (*error_r != NULL));
	return c;
}

/* --- defaults ------------------------------------------------------------- */

static void
test_defaults(void **state)
{
	char *error;
	struct config *c = load(API, strlen(API), &error);

	(void)state;
	assert_non_null(c);
	assert_string_equal(c->milter_socket,
			    "unix:/var/spool/postfix/txmilter/milter.sock");
	assert_string_equal(c->sasl_socket,
			    "unix:/var/spool/postfix/txmilter/sasl.sock");
	assert_string_equal(c->socket_group, "postfix");
	assert_string_equal(c->state_directory, "/var/lib/txmilter");
	assert_string_equal(c->secret_file, "/etc/txmilter/secret");
	assert_ptr_equal(c->dialect, &dialect_emaildelivery);
	assert_int_equal(c->direct_timeout_ms, 20000);
	assert_int_equal(c->direct_limit, 500);
	assert_int_equal(c->shutdown_timeout_ms, 30000);
	assert_int_equal(c->remember_sent, 3600);
	assert_string_equal(c->lmtp_socket,
			    "unix:/var/spool/postfix/txmilter/lmtp.sock");
	assert_false(c->apis[0]->accept_ambiguous);
	assert_int_equal(c->log_level, LOG_LEVEL_INFO);
	assert_int_equal(c->store_size, 268435456);
	assert_string_equal(c->admin_secret, "/etc/txmilter/admin.secret");
	assert_null(c->metrics_listen);
	assert_string_equal(c->resubmit, "inet:10027@127.0.0.1");
	assert_null(c->tracking_url);
	assert_string_equal(c->tracking_secret,
			    "/etc/txmilter/tracking.secret");
	assert_int_equal(c->auth_failures, 30);
	assert_false(c->ask_api);
	assert_false(c->ask_account);
	assert_int_equal(c->check_timeout_ms, 7000);
	assert_int_equal(c->ttl, 600);
	assert_int_equal(c->negative_ttl, 30);
	assert_int_equal(c->stale, 86400);
	assert_int_equal(c->cache_size, 100000);
	assert_string_equal(c->apis[0]->name, "esp");
	assert_ptr_equal(c->apis[0]->format, &api_emaildelivery);
	assert_string_equal(c->apis[0]->url, "https://esp.example/api");
	assert_null(c->apis[0]->ca_file);
	assert_int_equal(c->apis[0]->connections, 200);
	assert_int_equal(c->apis[0]->connect_timeout_ms, 5000);
	config_free(&c);
	assert_null(c);
	config_free(&c);
}

/* --- values --------------------------------------------------------------- */

enum kind { STRING, UNSIGNED, SIZE, BOOL, LEVEL };

#define AT(member) offsetof(struct config, member)
#define AT_API(member) offsetof(struct config_api, member)
#define AT_ROUTE(member) offsetof(struct config_route, member)

#define NOT_HERE                                                        \
	"must be on this machine: unix:/path, or inet:port@127.0.0.1 (" \
	"or ::1)"
#define IN_HTML                                                          \
	"may have letters, digits and - . _ ~ / : % [ ] only, as in "    \
	"https://click.example.org/t"
#define CONTROL                                                          \
	"is a header that says what to do with a message, and never leaves"
#define ALREADY                                                          \
	"is the message's, or of the systems it came through; write "    \
	"another, as X-Pool: bulk"

/* Every option, with its bounds from both sides; a value that is not taken
 * has the error's text. */
static const struct {
	const char *section; /* what stands before it */
	const char *option;
	const char *value;
	enum kind kind;
	size_t offset;
	const char *string;
	size_t number;
	const char *error; /* behind "FILE:LINE: " */
} values[] = {
#define T(o, v, want)                                   \
	{                                               \
		"", #o, v, STRING, AT(o), want, 0, NULL \
	}
#define E(section, o, v, error)                              \
	{                                                    \
		section, #o, v, 0, 0, NULL, 0, #o ": " error \
	}
#define NA(o, at, v, want)                                         \
	{                                                          \
		ESP, #o, v, UNSIGNED, AT_API(at), NULL, want, NULL \
	}
#define N(section, o, at, v, want)                                 \
	{                                                          \
		section, #o, v, UNSIGNED, AT(at), NULL, want, NULL \
	}
	T(milter_socket, "unix:/run/m.sock", "unix:/run/m.sock"),
	T(milter_socket, "local:/run/m.sock", "local:/run/m.sock"),
	T(milter_socket, "inet:8891@127.0.0.1", "inet:8891@127.0.0.1"),
	T(milter_socket, "inet:8891@[::1]", "inet:8891@[::1]"),
	E("", milter_socket, "/run/m.sock",
	  "must be unix:/path or inet:port@address"),
	E("", milter_socket, "", "needs a value"),
	E("", milter_socket, "unix:m.sock",
	  "the path of a socket must begin with /"),
	E("", milter_socket, "inet:0@127.0.0.1",
	  "the port must be a number from 1 to 65535"),
	T(sasl_socket, "unix:/run/s.sock", "unix:/run/s.sock"),
	E("", sasl_socket, "x", "must be unix:/path or inet:port@address"),
	T(socket_group, "mail", "mail"),
	T(state_directory, "/srv/x", "/srv/x"),
	E("", state_directory, "srv", "\"srv\" is not an absolute path"),
	E("", state_directory, "", "needs a value"),
	T(secret_file, "/srv/secret", "/srv/secret"),
	E("", secret_file, "secret", "\"secret\" is not an absolute path"),
	E("", secret_file, "", "needs a value"),
	T(admin_secret, "/srv/admin", "/srv/admin"),
	E("", admin_secret, "admin", "\"admin\" is not an absolute path"),
	T(resubmit, "inet:10028@127.0.0.1", "inet:10028@127.0.0.1"),
	T(resubmit, "unix:/run/r.sock", "unix:/run/r.sock"),
	E("", resubmit, "10027", "must be unix:/path or inet:port@address"),
	E("", resubmit, "", "needs a value"),
	T(resubmit, "inet:10027@127.8.0.1", "inet:10027@127.8.0.1"),
	T(resubmit, "inet:10027@[::1]", "inet:10027@[::1]"),
	E("", resubmit, "inet:25@192.0.2.1", NOT_HERE),
	E("", resubmit, "inet:10027@0.0.0.0", NOT_HERE),
	E("", resubmit, "inet:10027@2001:db8::1", NOT_HERE),
	E("", resubmit, "inet:10027@::", NOT_HERE),
	T(tracking_url, "https://t.example/x/", "https://t.example/x"),
	E("", tracking_url, "t.example",
	  "must begin with https:// (or http://)"),
	T(tracking_url, "http://[2001:db8::1]:80/~a/B%20-_.",
	  "http://[2001:db8::1]:80/~a/B%20-_."),
	E("", tracking_url, "https:///x", "has no host"),
	E("", tracking_url, "https://t.example/?a", IN_HTML),
	E("", tracking_url, "https://t.example/#a", IN_HTML),
	E("", tracking_url, "https://me:secret@t.example", IN_HTML),
	E("", tracking_url, "https://t.example/'", IN_HTML),
	E("", tracking_url, "https://t.example/`", IN_HTML),
	E("", tracking_url, "https://t.example/&amp", IN_HTML),
	E("", tracking_url, "https://t.example/\\", IN_HTML),
	E("", tracking_url, "https://t\xc3\xa9.example", IN_HTML),
	T(tracking_secret, "/srv/tracking", "/srv/tracking"),
	E("", tracking_secret, "tracking",
	  "\"tracking\" is not an absolute path"),
	T(metrics_listen, "inet:9418@127.0.0.1", "inet:9418@127.0.0.1"),
	E("", metrics_listen, "9418",
	  "must be unix:/path or inet:port@address"),
	N("", auth_failures, auth_failures, "0", 0),
	N("", auth_failures, auth_failures, "1000000", 1000000),
	E("", auth_failures, "1000001",
	  "1000001 is out of bounds; it may be 0 to 1000000"),
	{ "", "dialect", "emaildelivery", BOOL, AT(ask_account), NULL, 0,
	  NULL },
	E("", dialect, "nosuch",
	  "no dialect is called \"nosuch\"; there is " THE_DIALECTS),
	E("", dialect, "", "no dialect is called \"\"; there is " THE_DIALECTS),

#define NOT_A_TIME(v) "\"" v "\" is not a time; write 500ms, 20s, 10m or 24h"
	N("", direct_timeout, direct_timeout_ms, "100ms", 100),
	N("", direct_timeout, direct_timeout_ms, "50s", 50000),
	N("", direct_timeout, direct_timeout_ms, "50000ms", 50000),
	E("", direct_timeout, "99ms",
	  "99ms is out of bounds; it may be 100 to 50000ms"),
	E("", direct_timeout, "50001ms",
	  "50001ms is out of bounds; it may be 100 to 50000ms"),
	E("", direct_timeout, "20", NOT_A_TIME("20")),
	E("", direct_timeout, "", NOT_A_TIME("")),
	E("", direct_timeout, "s", NOT_A_TIME("s")),
	E("", direct_timeout, "-1s", NOT_A_TIME("-1s")),
	E("", direct_timeout, "+1s", NOT_A_TIME("+1s")),
	E("", direct_timeout, "1 s", NOT_A_TIME("1 s")),
	E("", direct_timeout, "1.5s", NOT_A_TIME("1.5s")),
	E("", direct_timeout, "0x10s", NOT_A_TIME("0x10s")),
	E("", direct_timeout, "1sec", NOT_A_TIME("1sec")),
	E("", direct_timeout, "1M1", NOT_A_TIME("1M1")),
	E("", direct_timeout, "99999999999999999999s",
	  NOT_A_TIME("99999999999999999999s")),
	E("", direct_timeout, "18446744073709551615h",
	  NOT_A_TIME("18446744073709551615h")),
	/* 2^64 / 1000 + 1 s: it must not wrap around to a small one. */
	E("", direct_timeout, "18446744073709552s",
	  NOT_A_TIME("18446744073709552s")),
	T(lmtp_socket, "inet:2424@127.0.0.1", "inet:2424@127.0.0.1"),
	E("", lmtp_socket, "lmtp", "must be unix:/path or inet:port@address"),
	N("", shutdown_timeout, shutdown_timeout_ms, "0s", 0),
	N("", shutdown_timeout, shutdown_timeout_ms, "5m", 300000),
	E("", shutdown_timeout, "301s",
	  "301s is out of bounds; it may be 0 to 300000ms"),
	N("", remember_sent, remember_sent, "0s", 0),
	N("", remember_sent, remember_sent, "7d", 604800),
	E("", remember_sent, "8d",
	  "8d is out of bounds; it may be 0 to 604800s"),
	N("", direct_limit, direct_limit, "1", 1),
	N("", direct_limit, direct_limit, "100000", 100000),
	E("", direct_limit, "0", "0 is out of bounds; it may be 1 to 100000"),
	E("", direct_limit, "100001",
	  "100001 is out of bounds; it may be 1 to 100000"),
	E("", direct_limit, "4294967297",
	  "4294967297 is out of bounds; it may be 1 to 100000"),
	E("", direct_limit, "many", "\"many\" is not a number"),
	E("", direct_limit, "10K", "\"10K\" is not a number"),
	E("", direct_limit, "10s", "\"10s\" is not a number"),
	E("", direct_limit, "", "\"\" is not a number"),
	{ "", "log_level", "error", LEVEL, AT(log_level), NULL, LOG_LEVEL_ERROR,
	  NULL },
	{ "", "log_level", "warning", LEVEL, AT(log_level), NULL,
	  LOG_LEVEL_WARNING, NULL },
	{ "", "log_level", "info", LEVEL, AT(log_level), NULL, LOG_LEVEL_INFO,
	  NULL },
	{ "", "log_level", "debug", LEVEL, AT(log_level), NULL, LOG_LEVEL_DEBUG,
	  NULL },
	E("", log_level, "loud", "must be error, warning, info or debug"),
	E("", log_level, "", "must be error, warning, info or debug"),
	{ "", "store_size", "1M", SIZE, AT(store_size), NULL, 1048576, NULL },
	{ "", "store_size", "1048576", SIZE, AT(store_size), NULL, 1048576,
	  NULL },
	{ "", "store_size", "2048k", SIZE, AT(store_size), NULL, 2097152,
	  NULL },
	{ "", "store_size", "1024G", SIZE, AT(store_size), NULL, 1099511627776,
	  NULL },
	E("", store_size, "1048575",
	  "1048575 is out of bounds; it may be 1048576 to 1099511627776"),
	E("", store_size, "1025G",
	  "1025G is out of bounds; it may be 1048576 to 1099511627776"),
	E("", store_size, "1T", "\"1T\" is not a size; write 64K, 256M or 1G"),
	E("", store_size, "1MB",
	  "\"1MB\" is not a size; write 64K, 256M or 1G"),
	E("", store_size, "17179869185G",
	  "\"17179869185G\" is not a size; write 64K, 256M or 1G"),
	E("", store_size, "", "\"\" is not a size; write 64K, 256M or 1G"),

#define KEYS "[keys]\n"
	{ KEYS, "check", "api", BOOL, AT(ask_api), NULL, true, NULL },
	{ KEYS, "check", "none", BOOL, AT(ask_api), NULL, false, NULL },
	E(KEYS, check, "yes", "must be \"none\" or \"api\""),
	{ KEYS, "account", "api", BOOL, AT(ask_account), NULL, true, NULL },
	{ KEYS, "account", "key", BOOL, AT(ask_account), NULL, false, NULL },
	E(KEYS, account, "API", "must be \"key\" or \"api\""),
	E(KEYS, account, "", "must be \"key\" or \"api\""),
	N(KEYS, check_timeout, check_timeout_ms, "100ms", 100),
	N(KEYS, check_timeout, check_timeout_ms, "8s", 8000),
	E(KEYS, check_timeout, "99ms",
	  "99ms is out of bounds; it may be 100 to 8000ms"),
	E(KEYS, check_timeout, "9s",
	  "9s is out of bounds; it may be 100 to 8000ms"),
	N(KEYS, ttl, ttl, "1s", 1),
	N(KEYS, ttl, ttl, "1000ms", 1),
	N(KEYS, ttl, ttl, "7d", 604800),
	N(KEYS, ttl, ttl, "168h", 604800),
	E(KEYS, ttl, "0s", "0s is out of bounds; it may be 1 to 604800s"),
	E(KEYS, ttl, "999ms", "must be whole seconds"),
	E(KEYS, ttl, "604801s",
	  "604801s is out of bounds; it may be 1 to 604800s"),
	E(KEYS, ttl, "600", NOT_A_TIME("600")),
	N(KEYS, negative_ttl, negative_ttl, "1s", 1),
	N(KEYS, negative_ttl, negative_ttl, "1d", 86400),
	E(KEYS, negative_ttl, "0s",
	  "0s is out of bounds; it may be 1 to 86400s"),
	E(KEYS, negative_ttl, "25h",
	  "25h is out of bounds; it may be 1 to 86400s"),
	N(KEYS, stale, stale, "0s", 0),
	N(KEYS, stale, stale, "30d", 2592000),
	E(KEYS, stale, "31d", "31d is out of bounds; it may be 0 to 2592000s"),
	N(KEYS, cache_size, cache_size, "16", 16),
	N(KEYS, cache_size, cache_size, "100000000", 100000000),
	E(KEYS, cache_size, "15",
	  "15 is out of bounds; it may be 16 to 100000000"),
	E(KEYS, cache_size, "100000001",
	  "100000001 is out of bounds; it may be 16 to 100000000"),

#define ESP "[api x]\nurl = http://h\n"
#define U(v, want)                                                        \
	{                                                                 \
		"[api x]\n", "url", v, STRING, AT_API(url), want, 0, NULL \
	}
	U("https://h", "https://h"),
	U("http://127.0.0.1:8080/api", "http://127.0.0.1:8080/api"),
	U("https://h/api/", "https://h/api"),
	U("https://h///", "https://h"),
	E("[api x]\n", url, "ftp://h", "must begin with https:// (or http://)"),
	E("[api x]\n", url, "h/api", "must begin with https:// (or http://)"),
	E("[api x]\n", url, "", "needs a value"),
	{ ESP, "format", "emaildelivery", STRING, AT_API(url), "http://h", 0,
	  NULL },
	E(ESP, format, "soap",
	  "no API format is called \"soap\"; there is emaildelivery, "
	  "sparkpost, "
	  "campaignmonitor, flexmail, generic"),
	{ ESP, "ca_file", "/etc/ca.pem", STRING, AT_API(ca_file), "/etc/ca.pem",
	  0, NULL },
	E(ESP, ca_file, "ca.pem", "\"ca.pem\" is not an absolute path"),
	NA(connections, connections, "1", 1),
	NA(connections, connections, "10000", 10000),
	E(ESP, connections, "0", "0 is out of bounds; it may be 1 to 10000"),
	E(ESP, connections, "10001",
	  "10001 is out of bounds; it may be 1 to 10000"),
	NA(connect_timeout, connect_timeout_ms, "100ms", 100),
	NA(connect_timeout, connect_timeout_ms, "20s", 20000),
	E(ESP, connect_timeout, "99ms",
	  "99ms is out of bounds; it may be 100 to 20000ms"),
	E(ESP, connect_timeout, "21s",
	  "21s is out of bounds; it may be 100 to 20000ms"),
	{ ESP, "on_ambiguous", "retry", BOOL, AT_API(accept_ambiguous), NULL,
	  false, NULL },
	{ ESP, "on_ambiguous", "accept", BOOL, AT_API(accept_ambiguous), NULL,
	  true, NULL },
	E(ESP, on_ambiguous, "maybe", "must be \"retry\" or \"accept\""),
#define CM ESP "format = campaignmonitor\n"
#define CONSENT(word)                                                \
	{                                                            \
		CM, "consent_to_track", word, STRING,                \
		    AT_API(settings.consent_to_track), word, 0, NULL \
	}
	CONSENT("Yes"),
	CONSENT("No"),
	CONSENT("Unchanged"),
	E(CM, consent_to_track, "yes",
	  "must be \"Unchanged\", \"Yes\" or \"No\""),
	E(CM, consent_to_track, "", "must be \"Unchanged\", \"Yes\" or \"No\""),
#define FX ESP "format = flexmail\n"
	E(FX, field, "tag", "must be \"NAME PATH\", as in \"tag tag\""),
	E(FX, field, "nosuch a.b", "there is no field \"nosuch\""),
	E(FX, field, "Tag a", "there is no field \"Tag\""),
	E(FX, field, "tag a..b",
	  "tag: \"a..b\" cannot be a path of names with dots"),
	E(FX, field, "tag a b",
	  "tag: \"a b\" cannot be a path of names with dots"),
	E(FX, field, "attachment_name a.b",
	  "attachment_name: \"a.b\" cannot be a name"),

#define R "[route r]\n"
#define MAIL R "handoff = transport\n"
#define RM(o, v, want)                                                        \
	{                                                                     \
		MAIL "transport = smtp:\n", #o, v, STRING, AT_ROUTE(route.o), \
		    want, 0, NULL                                             \
	}
	{ R, "handoff", "api", BOOL, AT_ROUTE(by_transport), NULL, false,
	  NULL },
	E(R, handoff, "lmtp", "must be \"api\" or \"transport\""),
	{ R, "mode", "queued", BOOL, AT_ROUTE(queued), NULL, true, NULL },
	{ R, "mode", "direct", BOOL, AT_ROUTE(queued), NULL, false, NULL },
	E(R, mode, "later", "must be \"direct\" or \"queued\""),
	{ R, "api", "esp", STRING, AT_ROUTE(route.api), "esp", 0, NULL },
	{ MAIL, "transport", "smtp:", STRING, AT_ROUTE(route.transport),
	  "smtp:", 0, NULL },
	{ MAIL, "transport", "out-1:[mx.example.org]:25", STRING,
	  AT_ROUTE(route.transport), "out-1:[mx.example.org]:25", 0, NULL },
	{ MAIL, "transport", "lmtp:unix:private/x", STRING,
	  AT_ROUTE(route.transport), "lmtp:unix:private/x", 0, NULL },
	E(MAIL, transport, "smtp",
	  "must be NAME:NEXTHOP, as in smtp:[mx.example.org]:25"),
	E(MAIL, transport, ":x",
	  "must be NAME:NEXTHOP, as in smtp:[mx.example.org]:25"),
	E(MAIL, transport, "Smtp:x",
	  "must be NAME:NEXTHOP, as in smtp:[mx.example.org]:25"),
	E(MAIL, transport, "smtp:a b",
	  "a next hop has lower case letters, digits and _ . / : [ ] - only"),
	E(MAIL, transport, "txmilter:unix:/run/lmtp.sock",
	  "is txmilter itself; write one that leads on, as in "
	  "smtp:[mx.example.org]:25"),
	E(MAIL, transport, "txmilter:",
	  "is txmilter itself; write one that leads on, as in "
	  "smtp:[mx.example.org]:25"),
	{ MAIL, "transport", "txmilter2:", STRING, AT_ROUTE(route.transport),
	  "txmilter2:", 0, NULL },
	{ MAIL, "transport", "tx:", STRING, AT_ROUTE(route.transport), "tx:", 0,
	  NULL },
	RM(return_path, "b+{token}@b.example", "b+{token}@b.example"),
	RM(return_path, "{token}@b.example", "{token}@b.example"),
	RM(return_path, "12345678901234567890123456789012{token}@b",
	   "12345678901234567890123456789012{token}@b"),
#define BOUNCES MAIL "transport = smtp:\n"
	E(BOUNCES, return_path, "123456789012345678901234567890123{token}@b",
	  "is too long before the @"),
	E(BOUNCES, return_path, "b@b.example",
	  "must have {token} once before the @"),
	E(BOUNCES, return_path, "{token}{token}@b.example",
	  "must have {token} once before the @"),
	E(BOUNCES, return_path, "b@{token}.example",
	  "must have {token} once before the @"),
	E(BOUNCES, return_path, "{token}",
	  "must be an address, as in bounce+{token}@example.org"),
	E(BOUNCES, return_path, "{token}@a@b",
	  "must be an address, as in bounce+{token}@example.org"),
	RM(tag_header, "X-Tag", "X-Tag"),
	RM(tag_header, "X-PM-Tag", "X-PM-Tag"),
	RM(labels_header, "x-labels", "x-labels"),
	RM(metadata_header, "X-Meta-Data", "X-Meta-Data"),
	E(BOUNCES, tag_header, "X-Tag:", "is not a header's name"),
	E(BOUNCES, tag_header, "X Tag", "is not a header's name"),
	E(BOUNCES, labels_header, "Subject",
	  "must begin with X-, as headers without a meaning do"),
	E(BOUNCES, metadata_header, "x-txmilter-Meta",
	  "is a header of txmilter's own"),
	E(BOUNCES, tag_header, "X-Cmail-GroupName", CONTROL),
	E(BOUNCES, labels_header, "x-msys-api", CONTROL),
	E(BOUNCES, metadata_header, "X-Flexmail-Metadata-Any", CONTROL),
	E(BOUNCES, metadata_header, "X-Auth-APIKey", CONTROL),
	E(BOUNCES, return_path, "<{token}@b>",
	  "has a character in it that an address should not have"),
	E(BOUNCES, strip, "X-A, X*B", "\"X*B\" is not a header's name"),
	E(BOUNCES, strip, "X:", "\"X:\" is not a header's name"),
	E(BOUNCES, add, "X-A", "must be \"Name: value\""),
	E(BOUNCES, add, ": x", "must be \"Name: value\""),
	E(BOUNCES, add, "x-txmilter-Route: smtp:",
	  "x-txmilter-Route: is a header of txmilter's own"),
	E(BOUNCES, add, "X-Transactional-Tag: a",
	  "X-Transactional-Tag: " CONTROL),
	E(BOUNCES, add, "X-Flexmail-Metadata-A: a",
	  "X-Flexmail-Metadata-A: " CONTROL),
	E(BOUNCES, add, "bcc: x@y.example", "bcc: " ALREADY),
	E(BOUNCES, add, "Resent-Bcc: x@y.example", "Resent-Bcc: " ALREADY),
	E(BOUNCES, add, "From: x@y.example", "From: " ALREADY),
	E(BOUNCES, add, "Sender: x@y.example", "Sender: " ALREADY),
	E(BOUNCES, add, "Reply-To: x@y.example", "Reply-To: " ALREADY),
	E(BOUNCES, add, "To: x@y.example", "To: " ALREADY),
	E(BOUNCES, add, "Cc: x@y.example", "Cc: " ALREADY),
	E(BOUNCES, add, "Subject: x", "Subject: " ALREADY),
	E(BOUNCES, add, "Date: x", "Date: " ALREADY),
	E(BOUNCES, add, "Message-Id: <x@y>", "Message-Id: " ALREADY),
	E(BOUNCES, add, "In-Reply-To: <x@y>", "In-Reply-To: " ALREADY),
	E(BOUNCES, add, "References: <x@y>", "References: " ALREADY),
	E(BOUNCES, add, "content-type: text/plain", "content-type: " ALREADY),
	E(BOUNCES, add, "Content-X: y", "Content-X: " ALREADY),
	E(BOUNCES, add, "MIME-Version: 1.0", "MIME-Version: " ALREADY),
	E(BOUNCES, add, "Received: x", "Received: " ALREADY),
	E(BOUNCES, add, "Return-Path: <x>", "Return-Path: " ALREADY),
	E(BOUNCES, add, "Delivered-To: x", "Delivered-To: " ALREADY),
	E(BOUNCES, add, "Apparently-To: x", "Apparently-To: " ALREADY),
	E(BOUNCES, add, "X-A: \xc3\xa9", "X-A: must be printable ASCII"),
};

static bool
is_set(const struct config *c, size_t i)
{
	bool in_api = strncmp(values[i].section, "[api", 4) == 0;
	bool in_route = strncmp(values[i].section, "[route", 6) == 0;
	const void *base = in_api     ? (const void *)c->apis[0]
			   : in_route ? (const void *)c->routes.v[0]
				      : (const void *)c;
	const void *at = (const char *)base + values[i].offset;

	switch (values[i].kind) {
	case STRING:
		return strcmp(*(char *const *)at, values[i].string) == 0;
	case UNSIGNED:
		return *(const unsigned *)at == values[i].number;
	case SIZE:
		return *(const size_t *)at == values[i].number;
	case BOOL:
		return *(const bool *)at == values[i].number;
	case LEVEL:
		return *(const enum log_level *)at == values[i].number;
	}
	return false;
}

static bool
check_value(size_t i)
{
	bool in_api = strncmp(values[i].section, "[api", 4) == 0;
	unsigned line = 1;
	char text[1000];
	char want[300];
	struct config *c;
	char *error;
	bool ok;

	for (const char *s = values[i].section; *s != '\0'; s++)
		line += *s == '\n';
	assert_true(snprintf(text, sizeof(text), "%s%s = %s\n%s",
			     values[i].section, values[i].option,
			     values[i].value, in_api ? "" : API) > 0);
	c = load(text, strlen(text), &error);
	assert_true(snprintf(want, sizeof(want), "%s:%u: %s", path, line,
			     values[i].error ? values[i].error : "") > 0);
	if (values[i].error != NULL)
		ok = error != NULL && strcmp(error, want) == 0;
	else
		ok = c != NULL && is_set(c, i);
	if (!ok)
		printf("%s = %s: %s\n", values[i].option, values[i].value,
		       error ? error : "taken");
	config_free(&c);
	free(error);
	return ok;
}

static void
test_values(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		bad += !check_value(i);
	assert_int_equal(bad, 0);
}

/* --- files ---------------------------------------------------------------- */

#define GIVEN_TWICE                                                          \
	"given twice (a line that begins with a blank goes on with the one " \
	"above)"
#define NO_API "there is no [api NAME] section; it says where messages go"
#define NO_SECTION(name)                                            \
	"unknown section [" name "]; there are [keys], [api NAME] " \
	"and [route NAME]"
#define BAD_NAME(section, word)                                              \
	"[" section "]: write [" word " NAME]; a name has letters, digits, " \
	"'.', '_' and '-'"
#define FLEXMAIL "[api a]\nurl = https://h\nformat = flexmail\n"
#define OURS(option)                                                          \
	"resubmit: is " option ", where txmilter listens; it is for the " \
	"service txresubmit of Postfix"
#define MAIL_ROUTE "[route out]\nhandoff = transport\ntransport = smtp:\n"
#define REST "not \"option = value\", \"[section]\" or a comment"

static const struct {
	const char *name;
	const char *text;
	unsigned line;	   /* of the error; 0: the file is good */
	const char *error; /* NULL: any */
} files[] = {
	{ "least", API, 0, NULL },
	{ "comments and empty lines",
	  "# one\n\n  # two\n;three\n\t\n" API "# end", 0, NULL },
	{ "no blanks", "dialect=emaildelivery\n[api x]\nurl=https://h\n", 0,
	  NULL },
	{ "many blanks", "dialect \t = \t emaildelivery \t\n" API, 0, NULL },
	{ "CR LF", "dialect = emaildelivery\r\n[api x]\r\nurl = https://h\r\n",
	  0, NULL },
	{ "no line end at the end", "[api x]\nurl = https://h", 0, NULL },
	{ "the section again",
	  API "[keys]\nttl = 1s\n[api esp]\n"
	      "connections = 5\n",
	  0, NULL },
	{ "a byte order mark", "\xef\xbb\xbf" API, 0, NULL },
	{ "a line of 198 bytes",
	  "#" HUNDRED "12345678901234567890123456789012"
	  "34567890123456789012345678901234567890123456789012345678901234567"
	  "\n" API,
	  0, NULL },

	{ "empty", "", 1, NO_API },
	{ "only a comment", "# x\n", 2, NO_API },
	{ "no api", "[keys]\nttl = 1m\n", 3, NO_API },
	{ "api without url", "[api x]\nformat = emaildelivery\n", 3,
	  "[api x] needs \"url = ...\"" },
	{ "api without a name", "[api]\nurl = https://h\n", 1,
	  BAD_NAME("api", "api") },
	{ "api with a blank name", "[api ]\nurl = https://h\n", 1,
	  BAD_NAME("api ", "api") },
	{ "two apis", API "[api two]\nurl = https://h\n", 0, NULL },
	{ "a second api without url", API "[api two]\nconnections = 5\n", 5,
	  "[api two] needs \"url = ...\"" },
	{ "an api with a name in two words", "[api a b]\nurl = https://h\n", 1,
	  BAD_NAME("api a b", "api") },
	{ "routes", API MAIL_ROUTE "[route *]\nmode = queued\n", 0, NULL },
	{ "a route without a name", API "[route]\nmode = queued\n", 3,
	  BAD_NAME("route", "route") },
	{ "an api for any", "[api *]\nurl = https://h\n", 1,
	  BAD_NAME("api *", "api") },
	{ "routes by transport need no api", MAIL_ROUTE, 0, NULL },
	{ "but keys do", MAIL_ROUTE "[keys]\ncheck = api\n", 6, NO_API },
	{ "and so does a route to one", MAIL_ROUTE "[route a]\nmode = direct\n",
	  4, "[route a] needs a section [api NAME]" },
	{ "a route to an api that is not there", API "[route a]\napi = other\n",
	  3, "[route a] needs a section [api other]" },
	{ "the api of a route may come later", "[route a]\napi = esp\n" API, 0,
	  NULL },
	{ "a transport route without one",
	  API "[route a]\nhandoff = transport\n", 3,
	  "[route a] needs \"transport = ...\"" },
	{ "a transport for an api route", API "[route a]\ntransport = smtp:\n",
	  3,
	  "[route a] hands over to an API: \"transport\" does not go with "
	  "that" },
	{ "a return path for an api route",
	  API "[route a]\nreturn_path = {token}@b\n", 3,
	  "[route a] hands over to an API: \"return_path\" does not go with "
	  "that" },
	{ "strip for an api route", API "[route a]\nstrip = X\n", 3,
	  "[route a] hands over to an API: \"strip\" does not go with that" },
	{ "add for an api route", API "[route a]\nadd = X: y\n", 3,
	  "[route a] hands over to an API: \"add\" does not go with that" },
	{ "a mode for a transport route", MAIL_ROUTE "mode = queued\n", 1,
	  "[route out] hands over to a transport: \"mode\" does not go with "
	  "that" },
	{ "an api for a transport route", API MAIL_ROUTE "api = esp\n", 3,
	  "[route out] hands over to a transport: \"api\" does not go with "
	  "that" },
	{ "one header for two things",
	  MAIL_ROUTE "labels_header = X-A\n\ntag_header = x-a\nstrip = X\n",
	  6,
	  "[route out] tag_header and labels_header: both are the header x-a; "
	  "write another for one of them" },
	{ "one header for two other things",
	  MAIL_ROUTE "labels_header = X-A\nmetadata_header = X-A\n", 5,
	  "[route out] labels_header and metadata_header: both are the header "
	  "X-A; write another for one of them" },
	{ "a header that is added, too",
	  MAIL_ROUTE "metadata_header = X-A\nadd = X-B: 1\nadd = X-a: 1\n", 6,
	  "[route out] metadata_header and add: both are the header X-A; "
	  "write another for one of them" },
	{ "headers that do not get in each other's way",
	  MAIL_ROUTE "tag_header = X-A\nlabels_header = X-B\n"
		     "metadata_header = X-C\nadd = X-D: 1\nadd = X-D: 2\n"
		     "add = List-Unsubscribe: <https://h>\nstrip = X-D\n",
	  0, NULL },
	{ "copies to the LMTP agent",
	  "lmtp_socket = unix:/run/a\nresubmit = local:/run/a\n" API, 2,
	  OURS("lmtp_socket") },
	{ "copies to the milter, the other way round",
	  "resubmit = inet:99@127.0.0.1\n\nmilter_socket = inet:99@0.0.0.0\n"
	  API, 3, OURS("milter_socket") },
	{ "copies to the logins",
	  "sasl_socket = unix:/run/a\nresubmit = unix:/run/a\n" API, 2,
	  OURS("sasl_socket") },
	{ "copies to the metrics, by default",
	  "metrics_listen = inet:10027@127.0.0.1\n" API, 1,
	  OURS("metrics_listen") },
	{ "copies to the port beside",
	  "metrics_listen = inet:10026@127.0.0.1\n" API, 0, NULL },
	{ "consent for another format", API "consent_to_track = No\n", 1,
	  "[api esp] the format emaildelivery has no such option: "
	  "\"consent_to_track\"" },
	{ "a field for another format",
	  "# x\n[api a]\nurl = https://h\nfield = tag x\nformat = generic\n", 2,
	  "[api a] the format generic has no such option: \"field\"" },
	{ "the format may come after its options",
	  "[api a]\nurl = https://h\nfield = tag x\nformat = flexmail\n", 0,
	  NULL },
	{ "a field given twice", FLEXMAIL "field = tag a\nfield = tag b\n", 5,
	  "field: tag: given twice" },
	{ "a field where another is", FLEXMAIL "field = tag subject\n", 1,
	  "[api a] field: its place in the request is taken: \"tag\"" },
	{ "unknown option", "# x\nnosuch = 1\n" API, 2,
	  "unknown option \"nosuch\"" },
	{ "an option in another case", "Dialect = emaildelivery\n" API, 1,
	  "unknown option \"Dialect\"" },
	{ "an option of a section at the top", "ttl = 1m\n" API, 1,
	  "unknown option \"ttl\"" },
	{ "an option of the top in a section",
	  "[keys]\ndialect = emaildelivery\n" API, 2,
	  "unknown option \"dialect\" in [keys]" },
	{ "an option of keys in api", API "ttl = 1m\n", 3,
	  "unknown option \"ttl\" in [api esp]" },
	{ "given twice",
	  "dialect = emaildelivery\ndialect = emaildelivery\n" API, 2,
	  "dialect: " GIVEN_TWICE },
	{ "given twice, the section again",
	  API "[keys]\nttl = 1s\n[api esp]\nurl = https://h\n", 6,
	  "url: " GIVEN_TWICE },
	{ "an indented option", "[api x]\nurl = https://h\n  connections = 5\n",
	  3, "url: " GIVEN_TWICE },
	{ "unknown section", "[nosuch]\nx = 1\n", 1, NO_SECTION("nosuch") },
	{ "unknown section without options", API "[nosuch]\n", 3,
	  NO_SECTION("nosuch") },
	{ "a section in another case", "[Keys]\nttl = 1s\n" API, 1,
	  NO_SECTION("Keys") },
	{ "a section that begins like one", "[keysx]\nttl = 1s\n" API, 1,
	  NO_SECTION("keysx") },
	{ "a section with a name it has not", "[keys x]\nttl = 1s\n" API, 1,
	  NO_SECTION("keys x") },
	{ "a section with a blank before it", "[ keys]\nttl = 1s\n" API, 1,
	  NO_SECTION(" keys") },
	{ "a section without a name", "[]\nx = 1\n" API, 1,
	  "a section needs a name" },
	{ "a line of words", API "hello world\n", 3, REST },
	{ "a section not closed", "[keys\nttl = 1s\n" API, 1, REST },
	{ "the first error counts", "hello\nnosuch = 1\n" API, 1, REST },
	{ "the first error counts, the other way round",
	  "nosuch = 1\nhello\n" API, 1, "unknown option \"nosuch\"" },
	{ "no name", "= 1\n" API, 1, "unknown option \"\"" },
	{ "a line of 199 bytes",
	  "#" HUNDRED "12345678901234567890123456789012"
	  "345678901234567890123456789012345678901234567890123456789012345678"
	  "\n" API,
	  1, "the line is longer than 198 bytes" },
	{ "a long value", "# x\nsecret_file = /" HUNDRED HUNDRED "\n" API, 2,
	  "the line is longer than 198 bytes" },
	{ "a long line at the end", API "ca_file = /" HUNDRED HUNDRED, 3,
	  "the line is longer than 198 bytes" },
	{ "a long section name", "[api " HUNDRED "]\nurl = https://h\n", 1,
	  "the section's name is too long" },
	{ "a long section name behind a blank",
	  "  [api " HUNDRED "]\nurl = https://h\n", 1,
	  "the section's name is too long" },
	/* What is cut off is not what somebody wanted. */
	{ "a value with a semicolon", "secret_file = /etc/a ;b\n" API, 1,
	  "a comment must have a line of its own" },
	{ "a value with a semicolon behind a TAB",
	  "secret_file = /etc/a\t;b\n" API, 1,
	  "a comment must have a line of its own" },
	{ "a semicolon without a blank is a value's",
	  "secret_file = /etc/a;b\n" API, 0, NULL },
	{ "a comment behind a section", API "[keys] ttl = 1m\n", 3, NULL },
	{ "an indented comment with a semicolon", "  # a ;b\n ; c ;d\n" API, 0,
	  NULL },
	{ "a long section name behind a byte order mark",
	  "\xef\xbb\xbf[api " HUNDRED "]\nurl = https://h\n", 1,
	  "the section's name is too long" },
	{ "the longest section name",
	  "[api " TEN TEN TEN TEN "12345]\nurl = https://h\n", 0, NULL },
	{ "a longer section name",
	  "[api " TEN TEN TEN TEN "123456]\nurl = https://h\n", 1,
	  "the section's name is too long" },
	{ "a url without a host", "[api x]\nurl = https://\n", 2,
	  "url: has no host" },
	{ "a url of slashes", "[api x]\nurl = http:////\n", 2,
	  "url: has no host" },
	{ "a url with a blank", "[api x]\nurl = https://h/a b\n", 2,
	  "url: has a blank or a quote in it" },
	{ "a url in quotes", "[api x]\nurl = https://h/\"a\"\n", 2,
	  "url: has a blank or a quote in it" },
	{ "a url in brackets", "[api x]\nurl = https://h/a>\n", 2,
	  "url: has a blank or a quote in it" },
	{ "a time that is not whole seconds", "[keys]\nttl = 1500ms\n" API, 2,
	  "ttl: must be whole seconds" },
	{ "an LMTP socket that a header cannot name",
	  "lmtp_socket = unix:/run/a b\n" API, 4,
	  "lmtp_socket: the path may have letters, digits and _ . / - only" },
	{ "an empty group", "socket_group =\n" API, 1,
	  "socket_group: needs a value" },
	{ "a control character", "secret_file = /etc/a\x01\n" API, 1,
	  "a control character" },
	{ "DEL", "secret_file = /etc/a\x7f\n" API, 1, "a control character" },
	{ "a control character at once", "\x01\n" API, 1,
	  "a control character" },
};

static bool
check_file(size_t i)
{
	char want[400];
	char *error;
	struct config *c = load(files[i].text, strlen(files[i].text), &error);
	bool ok = (c != NULL) == (files[i].line == 0);
	int n;

	n = snprintf(want, sizeof(want), "%s:%u: %s", path, files[i].line,
		     files[i].error ? files[i].error : "");
	assert_true(n > 0 && n < (int)sizeof(want));
	if (error != NULL && files[i].error != NULL)
		ok = ok && strcmp(error, want) == 0;
	else if (error != NULL)
		ok = ok && strncmp(error, want, strlen(want)) == 0;
	if (!ok)
		printf("%s: %s\n", files[i].name, error ? error : "taken");
	config_free(&c);
	free(error);
	return ok;
}

static void
test_files(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		bad += !check_file(i);
	assert_int_equal(bad, 0);
}

static void
test_routes(void **state)
{
	static const char text[] =
	    API "[api two]\nurl = https://h\n"
		"[route out]\nhandoff = transport\ntransport = smtp:\n"
		"strip = X-A, X-B*\nstrip = X-C\n  X-D\nadd = X-E: f: g\n"
		"add = X-H:\n"
		"[route q]\nmode = queued\napi = two\n[route d]\n";
	const struct route *r;
	struct config *c;
	char *error;

	(void)state;
	c = load(text, sizeof(text) - 1, &error);
	if (c == NULL)
		fail_msg("%s", error);
	r = route_find(&c->routes, "out");
	assert_int_equal(r->handoff, ROUTE_TRANSPORT);
	assert_int_equal(r->n_strip, 4);
	assert_string_equal(r->strip[1], "X-B*");
	assert_string_equal(r->strip[3], "X-D");
	assert_int_equal(r->n_add, 2);
	assert_string_equal(r->add[0].name, "X-E");
	assert_string_equal(r->add[0].value, "f: g");
	assert_string_equal(r->add[1].value, "");
	r = route_find(&c->routes, "q");
	assert_int_equal(r->handoff, ROUTE_QUEUED);
	assert_string_equal(r->api, "two");
	r = route_find(&c->routes, "d");
	assert_int_equal(r->handoff, ROUTE_DIRECT);
	assert_string_equal(r->api, "esp");
	/* A route without a section. */
	r = route_find(&c->routes, "nosuch");
	assert_string_equal(r->name, ROUTE_ANY);
	assert_int_equal(r->handoff, ROUTE_DIRECT);
	assert_string_equal(r->api, "esp");
	assert_string_equal(config_main_api(c)->name, "esp");
	assert_null(config_api(c, "three"));
	config_free(&c);
	c = load("tracking_url = https://t\n" MAIL_ROUTE,
		 strlen("tracking_url = https://t\n" MAIL_ROUTE), &error);
	assert_true(route_find(&c->routes, "out")->tracks);
	config_free(&c);
	c = load(MAIL_ROUTE, strlen(MAIL_ROUTE), &error);
	assert_false(route_find(&c->routes, "out")->tracks);
	assert_null(route_find(&c->routes, "nosuch"));
	assert_null(config_main_api(c));
	config_free(&c);
}

static void
test_nul(void **state)
{
	static const char cut[] = "secret_file = /etc/a\0bc\n" API;
	static const char long_[] = "# x\0" HUNDRED HUNDRED "\n" API;
	char *error;
	struct config *c = load(cut, sizeof(cut) - 1, &error);

	(void)state;
	if (c != NULL)
		fail_msg("taken: \"%s\"", c->secret_file);
	assert_non_null(strstr(error, ":1: a NUL character"));
	free(error);
	c = load(long_, sizeof(long_) - 1, &error);
	assert_null(c);
	assert_non_null(strstr(error, ":1: "));
	free(error);
}

static void
test_no_file(void **state)
{
	char *error = NULL;

	(void)state;
	assert_null(config_load("/nonexistent/txmilter.conf", &error));
	assert_string_equal(error, "/nonexistent/txmilter.conf: No such file "
				   "or directory");
	free(error);
	/* It can be opened, but not be read. */
	assert_null(config_load("/proc/self", &error));
	if (strcmp(error, "/proc/self: Is a directory") != 0)
		fail_msg("%s", error);
	free(error);
}

/* --- fields of an API ----------------------------------------------------- */

static void
test_fields(void **state)
{
	static const char text[] =
	    FLEXMAIL "field = tag a.b\nfield = \nfield = text \t body-2.t\n"
		     "[api b]\nurl = https://h\nformat = flexmail\n";
	const struct api_settings *s;
	struct config *c;
	char *error;

	(void)state;
	c = load(text, strlen(text), &error);
	assert_non_null(c);
	s = &c->apis[0]->settings;
	assert_int_equal(s->n_fields, 2);
	assert_string_equal(s->fields[0].name, "tag");
	assert_string_equal(s->fields[0].path, "a.b");
	assert_string_equal(s->fields[1].name, "text");
	assert_string_equal(s->fields[1].path, "body-2.t");
	assert_int_equal(c->apis[1]->settings.n_fields, 0);
	assert_string_equal(s->consent_to_track, "Unchanged");
	config_free(&c);
}

/* --- the table ------------------------------------------------------------ */

static void
test_option_table(void **state)
{
	static const char *const required[] = { "api", "url" };
	struct config_option_info info;
	size_t n = 0;
	size_t n_required = 0;

	(void)state;
	for (; config_option(n, &info); n++) {
		assert_non_null(info.section);
		assert_non_null(info.name);
		if (info.default_value != NULL)
			continue;
		assert_string_equal(info.section, required[0]);
		assert_string_equal(info.name, required[1]);
		n_required++;
	}
	assert_int_equal(n_required, 1);
	assert_int_equal(n, 44);
	assert_false(config_option(n, &info));
	assert_false(config_option(SIZE_MAX, &info));
}

/* Each option of the table has a row above: that it can be set. */
static void
test_every_option_has_a_row(void **state)
{
	struct config_option_info info;

	(void)state;
	for (size_t n = 0; config_option(n, &info); n++) {
		/* test_routes() and test_fields() have these. */
		bool good = strcmp(info.name, "strip") == 0 ||
			    strcmp(info.name, "add") == 0 ||
			    strcmp(info.name, "field") == 0;
		/* Any text will do, or what is wrong is the file's. */
		bool bad = strcmp(info.name, "socket_group") == 0 ||
			   strcmp(info.name, "api") == 0;

		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]);
		     i++) {
			if (strcmp(values[i].option, info.name) != 0)
				continue;
			good = good || values[i].error == NULL;
			bad = bad || values[i].error != NULL;
		}
		if (!good || !bad)
			fail_msg("%s has no row", info.name);
	}
}

/* --- looking at it -------------------------------------------------------- */

static const struct {
	const char *before, *after;
	const char *option; /* that needs a restart; NULL: none */
} changes[] = {
	{ API, API, NULL },
	{ API, "direct_timeout = 5s\nlog_level = debug\n" API, NULL },
	{ API, "[keys]\nttl = 1m\nstale = 1h\ncheck = api\n" API, NULL },
	{ API, "[api esp]\nurl = https://other.example\n", NULL },
	{ API, "milter_socket = unix:/x\n" API, "milter_socket" },
	{ API, "secret_file = /x\n" API, "secret_file" },
	{ API, "metrics_listen = inet:1@127.0.0.1\n" API, "metrics_listen" },
	{ "metrics_listen = inet:1@127.0.0.1\n" API, API, "metrics_listen" },
	{ API, "resubmit = inet:1@127.0.0.1\n" API, "resubmit" },
	{ API, "tracking_url = https://t.example\n" API, "tracking_url" },
	{ API, "tracking_secret = /srv/t\n" API, "tracking_secret" },
	{ API, "direct_limit = 7\n" API, "direct_limit" },
	{ API, "store_size = 1G\n" API, "store_size" },
	{ API, "[keys]\ncache_size = 77\n" API, "cache_size" },
	{ API, API "connections = 3\n", "connections" },
};

static void
test_fixed_changes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		char *error;
		struct config *a =
		    load(changes[i].before, strlen(changes[i].before), &error);
		struct config *b =
		    load(changes[i].after, strlen(changes[i].after), &error);
		const char *option = config_fixed_change(a, b);

		if ((option == NULL) != (changes[i].option == NULL) ||
		    (option != NULL && strcmp(option, changes[i].option) != 0))
			fail_msg("%s: %s", changes[i].after,
				 option ? option : "none");
		config_free(&a);
		config_free(&b);
	}
}

static const struct {
	const char *text;
	enum config_print_mode mode;
	const char *option;
	const char *want; /* NULL: error */
	const char *error;
} prints[] = {
	{ "direct_timeout = 5s\n" API, CONFIG_PRINT_SET, NULL,
	  "direct_timeout = 5s\n\n[api esp]\nurl = https://esp.example/api\n",
	  NULL },
	{ API, CONFIG_PRINT_ALL, "direct_timeout", "direct_timeout = 20s\n",
	  NULL },
	{ "direct_timeout = 5s\n" API, CONFIG_PRINT_ALL, "direct_timeout",
	  "direct_timeout = 5s\n", NULL },
	{ "direct_timeout = 5s\n" API, CONFIG_PRINT_DEFAULTS, "direct_timeout",
	  "direct_timeout = 20s\n", NULL },
	{ "direct_timeout = 5s\n" API, CONFIG_PRINT_SET, "ttl", "", NULL },
	{ API, CONFIG_PRINT_ALL, "ttl", "\n[keys]\nttl = 10m\n", NULL },
	/* What is printed can be read: only a format's own options. */
	{ API, CONFIG_PRINT_ALL, "consent_to_track", "", NULL },
	{ "[api a]\nurl = https://h\nformat = campaignmonitor\n",
	  CONFIG_PRINT_ALL, "consent_to_track",
	  "\n[api a]\nconsent_to_track = Unchanged\n", NULL },
	{ FLEXMAIL "field = tag a\nfield =  text\tb.c \n", CONFIG_PRINT_ALL,
	  "field", "\n[api a]\nfield = tag a\nfield = text\tb.c\n", NULL },
	{ API, CONFIG_PRINT_ALL, "nosuch", NULL,
	  "there is no option \"nosuch\"" },
};

static void
test_print(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(prints) / sizeof(prints[0]); i++) {
		char name[64];
		char *error;
		struct dynbuf out;
		int fd = memfd_create("test_config", MFD_CLOEXEC);
		int rc;

		assert_int_equal(
		    write(fd, prints[i].text, strlen(prints[i].text)),
		    (ssize_t)strlen(prints[i].text));
		(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		dynbuf_init(&out, 65536);
		rc = config_print(name, prints[i].mode, prints[i].option, &out,
				  &error);
		assert_int_equal(rc, prints[i].want ? 0 : -1);
		if (prints[i].want != NULL)
			assert_string_equal(dynbuf_str(&out), prints[i].want);
		else
			assert_string_equal(error, prints[i].error);
		free(error);
		dynbuf_clear(&out);
		assert_int_equal(close(fd), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_fixed_changes),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_option_table),
		cmocka_unit_test(test_every_option_has_a_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
