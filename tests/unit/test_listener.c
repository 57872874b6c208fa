/* SPDX-License-Identifier: MIT */
#include "milter/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#define FORM "must be unix:/path or inet:port@address"
#define PORT "the port must be a number from 1 to 65535"
#define HOST "the address must be an IPv4 or IPv6 address in numbers"
#define SLASH "the path of a socket must begin with /"
#define LONG_PATH "the path of a socket can have 107 bytes"

/* 107 bytes, the most that sun_path holds beside its NUL. */
#define TEN "/123456789"
#define PATH_107 TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "/123456"

struct place {
	char dir[32];
	char path[64];
	char spec[80];
};

static int
set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->dir, "/tmp/test_listener.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->path, sizeof(p->path), "%s/sock", p->dir);
	snprintf(p->spec, sizeof(p->spec), "unix:%s", p->path);
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
test_local(void **state)
{
	static const struct {
		const char *spec;
		bool local;
	} rows[] = {
		{ "unix:/run/x", true },
		{ "inet:1@127.0.0.1", true },
		{ "inet:1@127.255.0.9", true },
		{ "inet:1@[::1]", true },
		{ "inet:1@126.0.0.1", false },
		{ "inet:1@128.0.0.1", false },
		{ "inet:1@0.0.0.0", false },
		{ "inet:1@::", false },
		{ "inet:1@::2", false },
		{ "inet:1@::ffff:127.0.0.1", false },
		{ "nothing", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (listener_is_local(rows[i].spec) != rows[i].local)
			fail_msg("%s", rows[i].spec);
	}
}

static void
test_meets(void **state)
{
	static const struct {
		const char *a, *b;
		bool meet;
	} rows[] = {
		{ "unix:/run/x", "local:/run/x", true },
		{ "unix:/run/x", "unix:/run/xy", false },
		{ "unix:/run/x", "inet:1@127.0.0.1", false },
		{ "inet:1@127.0.0.1", "inet:1@127.0.0.1", true },
		{ "inet:1@127.0.0.1", "inet:2@127.0.0.1", false },
		{ "inet:257@127.0.0.1", "inet:1@127.0.0.1", false },
		{ "inet:1@127.0.0.1", "inet:1@127.0.0.2", false },
		{ "inet:1@127.0.0.1", "inet:1@0.0.0.0", true },
		{ "inet:1@127.0.0.1", "inet:1@::", false },
		{ "inet:1@::1", "inet:1@[::1]", true },
		{ "inet:1@::1", "inet:1@::", true },
		{ "inet:1@::1", "inet:2@::", false },
		{ "inet:1@::1", "inet:1@::2", false },
		{ "nothing", "nothing", false },
		{ "unix:/run/x", "nothing", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (listener_meets(rows[i].a, rows[i].b) != rows[i].meet ||
		    listener_meets(rows[i].b, rows[i].a) != rows[i].meet)
			fail_msg("%s %s", rows[i].a, rows[i].b);
	}
}

static void
test_check(void **state)
{
	static const struct {
		const char *spec;
		const char *error; /* NULL: it is one */
	} rows[] = {
		{ "unix:/run/txmilter/milter.sock", NULL },
		{ "local:/run/txmilter/milter.sock", NULL },
		{ "unix:" PATH_107, NULL },
		{ "inet:8891@127.0.0.1", NULL },
		{ "inet:1@0.0.0.0", NULL },
		{ "inet:65535@::1", NULL },
		{ "inet:8891@[::1]", NULL },
		{ "inet:8891@[127.0.0.1]", NULL },
		{ "inet:8891@2001:db8::7", NULL },
		{ "inet:8891@::ffff:192.0.2.1", NULL },
		{ "", FORM },
		{ "/run/txmilter/milter.sock", FORM },
		{ "UNIX:/run/x", FORM },
		{ "unix", FORM },
		{ "tcp:8891@127.0.0.1", FORM },
		{ "inet:8891", FORM },
		{ "inet:127.0.0.1:8891", FORM },
		{ "8891@127.0.0.1", FORM },
		{ "inet6:8891@::1", FORM },
		{ "unix:", SLASH },
		{ "local:run/x", SLASH },
		{ "unix:milter.sock", SLASH },
		{ "unix:" PATH_107 "x", LONG_PATH },
		{ "local:" PATH_107 "x", LONG_PATH },
		{ "inet:@127.0.0.1", PORT },
		{ "inet:0@127.0.0.1", PORT },
		{ "inet:65536@127.0.0.1", PORT },
		{ "inet:99999999999@127.0.0.1", PORT },
		{ "inet:-1@127.0.0.1", PORT },
		{ "inet: 25@127.0.0.1", PORT },
		{ "inet:0x19@127.0.0.1", PORT },
		{ "inet:smtp@127.0.0.1", PORT },
		{ "inet:25@", HOST },
		{ "inet:25@localhost", HOST },
		{ "inet:25@127.0.0.1 ", HOST },
		{ "inet:25@127.0.0", HOST },
		{ "inet:25@127.0.0.256", HOST },
		{ "inet:25@@127.0.0.1", HOST },
		{ "inet:25@[::1", HOST },
		{ "inet:25@::1]", HOST },
		{ "inet:25@[]", HOST },
		{ "inet:25@[[::1]]", HOST },
		{ "inet:25@fe80::1%lo", HOST },
		{ "inet:25@1111:2222:3333:4444:5555:6666:7777:8888:9999",
		  HOST },
		{ "inet:25@0000000000000000000000000000000000000000000000001",
		  HOST },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *error = NULL;
		bool good = listener_check(rows[i].spec, &error);

		if (good != (rows[i].error == NULL))
			fail_msg("\"%s\": %d", rows[i].spec, good);
		if (!good && strcmp(error, rows[i].error) != 0)
			fail_msg("\"%s\": %s", rows[i].spec, error);
	}
}

static void
test_path(void **state)
{
	(void)state;
	assert_string_equal(listener_path("unix:/a/b"), "/a/b");
	assert_string_equal(listener_path("local:/a/b"), "/a/b");
	assert_null(listener_path("inet:25@127.0.0.1"));
	assert_null(listener_path("/a/b"));
}

/* The text of a failure, without what is different each time. */
static void
assert_fails(const char *spec, const char *group, const char *want)
{
	char *error = NULL;

	assert_int_equal(listener_open(spec, group, &error), -1);
	assert_non_null(error);
	if (strstr(error, want) == NULL)
		fail_msg("%s: \"%s\", wanted \"%s\"", spec, error, want);
	free(error);
}

static int
must_open(const char *spec, const char *group)
{
	char *error = NULL;
	int fd = listener_open(spec, group, &error);

	if (fd < 0)
		fail_msg("%s", error);
	assert_null(error);
	return fd;
}

/* Whether somebody takes a connection at path; errno if not. */
static int
try_connect(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc;

	assert_true(fd >= 0);
	strcpy(un.sun_path, path);
	rc = connect(fd, (struct sockaddr *)&un, sizeof(un));
	rc = rc == 0 ? 0 : errno;
	close(fd);
	return rc;
}

static void
assert_listens(int fd)
{
	socklen_t len = sizeof(int);
	int on = 0;

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len),
			 0);
	assert_int_equal(on, 1);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(accept(fd, NULL, NULL), -1);
	assert_int_equal(errno, EAGAIN);
}

static void
test_unix_socket(void **state)
{
	static const mode_t masks[] = { 0, 022, 077, 0777 };
	struct place *p = *state;

	for (size_t i = 0; i < sizeof(masks) / sizeof(*masks); i++) {
		mode_t old = umask(masks[i]);
		int fd = must_open(p->spec, NULL);
		struct stat st;

		assert_int_equal(umask(old), masks[i]);
		assert_listens(fd);
		assert_int_equal(lstat(p->path, &st), 0);
		assert_int_equal(st.st_mode, S_IFSOCK | 0660);
		assert_int_equal(try_connect(p->path), 0);
		close(fd);
	}
}

static void
test_stale_socket_is_replaced(void **state)
{
	struct place *p = *state;
	int fd = must_open(p->spec, NULL);

	close(fd);
	assert_int_equal(try_connect(p->path), ECONNREFUSED);
	fd = must_open(p->spec, NULL);
	assert_int_equal(try_connect(p->path), 0);
	close(fd);
}

static void
test_socket_in_use(void **state)
{
	struct place *p = *state;
	int fd = must_open(p->spec, NULL);

	assert_fails(p->spec, NULL, "/sock: is in use");
	assert_int_equal(try_connect(p->path), 0);
	close(fd);
}

/* connect() says EAGAIN then, not that nobody is there. */
static void
test_socket_in_use_with_full_backlog(void **state)
{
	struct place *p = *state;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int waiting[8];
	int fd = must_open(p->spec, NULL);
	size_t n = 0;

	assert_int_equal(listen(fd, 0), 0);
	strcpy(un.sun_path, p->path);
	for (; n < sizeof(waiting) / sizeof(*waiting); n++) {
		waiting[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		assert_true(waiting[n] >= 0);
		if (connect(waiting[n], (struct sockaddr *)&un, sizeof(un)) !=
		    0)
			break;
	}
	assert_in_range(n, 1, 7);
	assert_int_equal(errno, EAGAIN);
	assert_fails(p->spec, NULL, "/sock: is in use");
	for (size_t i = 0; i <= n; i++)
		close(waiting[i]);
	close(fd);
}

static void
test_other_files_are_left_alone(void **state)
{
	struct place *p = *state;
	struct stat st;
	char target[80];
	int fd;

	fd = open(p->path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_fails(p->spec, NULL, "/sock: exists and is not a socket");
	assert_int_equal(lstat(p->path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	unlink(p->path);

	snprintf(target, sizeof(target), "%s/target", p->dir);
	assert_int_equal(symlink(target, p->path), 0);
	assert_fails(p->spec, NULL, "/sock: exists and is not a socket");
	assert_int_equal(lstat(p->path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

static void
test_socket_of_another_kind(void **state)
{
	struct place *p = *state;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(un.sun_path, p->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_fails(p->spec, NULL, "Protocol wrong type for socket");
	assert_int_equal(access(p->path, F_OK), 0);
	close(fd);
}

static void
test_what_cannot_be_opened(void **state)
{
	static const struct {
		const char *spec, *group, *error;
	} rows[] = {
		{ "inet:25", NULL, "inet:25: " FORM },
		{ "unix:relative", NULL, "unix:relative: " SLASH },
		{ "unix:/nonexistent-dir/sock", NULL,
		  "/nonexistent-dir/sock: cannot bind: No such file" },
		{ "unix:/nonexistent-dir/sock", "no-such-group",
		  "no group no-such-group" },
		{ "inet:25@192.0.2.1", NULL,
		  "inet:25@192.0.2.1: cannot bind: " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_fails(rows[i].spec, rows[i].group, rows[i].error);
}

/* A group we may give files to: any for root, else our own. */
static const struct group *
some_group(void)
{
	const struct group *g = getgrnam("mail");

	if (geteuid() != 0 || g == NULL)
		g = getgrgid(getegid());
	assert_non_null(g);
	return g;
}

static void
test_group(void **state)
{
	struct place *p = *state;
	const struct group *g = some_group();
	int fd = must_open(p->spec, g->gr_name);
	struct stat st;

	assert_int_equal(lstat(p->path, &st), 0);
	assert_int_equal(st.st_gid, g->gr_gid);
	assert_int_equal(st.st_mode, S_IFSOCK | 0660);
	close(fd);
}

static void
test_unknown_group_makes_no_socket(void **state)
{
	struct place *p = *state;

	assert_fails(p->spec, "no-such-group", "no group no-such-group");
	assert_int_equal(access(p->path, F_OK), -1);
}

static void
assert_permit_fails(const char *spec, const char *group, const char *want)
{
	char *error = NULL;

	assert_int_equal(listener_permit(spec, group, &error), -1);
	assert_non_null(error);
	if (strstr(error, want) == NULL)
		fail_msg("%s: \"%s\", wanted \"%s\"", spec, error, want);
	free(error);
}

static void
test_permit(void **state)
{
	struct place *p = *state;
	const struct group *g = some_group();
	char *error = NULL;
	struct stat st;
	int fd;

	assert_permit_fails(p->spec, NULL, "/sock: No such file");
	fd = must_open(p->spec, NULL);
	assert_int_equal(chmod(p->path, 0600), 0);
	assert_permit_fails(p->spec, "no-such-group", "no group");
	assert_int_equal(listener_permit(p->spec, g->gr_name, &error), 0);
	assert_int_equal(lstat(p->path, &st), 0);
	assert_int_equal(st.st_gid, g->gr_gid);
	assert_int_equal(st.st_mode, S_IFSOCK | 0660);
	assert_int_equal(
	    listener_permit("inet:25@127.0.0.1", g->gr_name, &error), 0);
	assert_null(error);
	close(fd);
}

static void
test_permit_is_for_sockets(void **state)
{
	struct place *p = *state;
	int fd = open(p->path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	assert_permit_fails(p->spec, NULL, "/sock: is not a socket");
	close(fd);
}

/* A port that is free now. */
static in_port_t
free_port(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	close(fd);
	return ntohs(in.sin_port);
}

/* Others may take the port between free_port() and here: some tries. */
static int
open_free_port(const char *host, char *spec, size_t size)
{
	char *error = NULL;

	for (int i = 0; i < 20; i++) {
		int fd;

		snprintf(spec, size, "inet:%u@%s", free_port(), host);
		fd = listener_open(spec, "ignored-group", &error);
		if (fd >= 0)
			return fd;
		free(error);
	}
	return -1;
}

static void
test_inet(void **state)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);
	char spec[64], want[96];
	int fd = open_free_port("127.0.0.1", spec, sizeof(spec));
	int client, peer;

	(void)state;
	assert_true(fd >= 0);
	assert_listens(fd);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	assert_int_equal(in.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	snprintf(want, sizeof(want), "inet:%u@127.0.0.1", ntohs(in.sin_port));
	assert_string_equal(spec, want);
	snprintf(want, sizeof(want), "%s: is in use", spec);
	assert_fails(spec, NULL, want);

	/* The server's end in TIME_WAIT does not stop a restart. */
	client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&in, sizeof(in)),
			 0);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	peer = accept(fd, NULL, NULL);
	assert_true(peer >= 0);
	close(peer);
	close(client);
	close(fd);
	fd = must_open(spec, NULL);
	close(fd);
}

static void
test_inet6(void **state)
{
	struct sockaddr_in6 in6;
	socklen_t len = sizeof(in6);
	char spec[64];
	int on = 0;
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	(void)state;
	in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
				     .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	if (fd < 0 || bind(fd, (struct sockaddr *)&in6, sizeof(in6)) != 0) {
		if (fd >= 0)
			close(fd);
		skip();
	}
	close(fd);
	fd = open_free_port("[::1]", spec, sizeof(spec));
	assert_true(fd >= 0);
	assert_listens(fd);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in6, &len), 0);
	assert_int_equal(in6.sin6_family, AF_INET6);
	assert_true(IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr));
	len = sizeof(on);
	assert_int_equal(getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, &len),
			 0);
	assert_int_equal(on, 1);
	close(fd);
}

/* Sockets as systemd passes them, from descriptor 3 on: a UNIX one, an inet
 * one, one that does not listen. */
struct passed {
	int fds[3];
	char inet[64], idle[96];
};

static void
pass_sockets(const struct place *p, struct passed *s)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	s->fds[0] = must_open(p->spec, NULL);
	assert_int_equal(chmod(p->path, 0600), 0);
	s->fds[1] = open_free_port("127.0.0.1", s->inet, sizeof(s->inet));
	assert_true(s->fds[1] >= 0);
	snprintf(s->idle, sizeof(s->idle), "unix:%s.idle", p->path);
	strcpy(un.sun_path, s->idle + 5);
	s->fds[2] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->fds[2], (struct sockaddr *)&un, sizeof(un)),
			 0);
}

/* In a process of its own, whose descriptors these become. The descriptor that
 * listener_open() gave, or 0 when it failed, or 99 when it is not as it should
 * be. */
static int
open_passed(const struct passed *s, bool is_me, const char *n, const char *spec)
{
	char pid[16], *error;
	int fds[3], fd;

	/* Out of the way first. */
	for (int i = 0; i < 3; i++)
		fds[i] = fcntl(s->fds[i], F_DUPFD, 100);
	for (int i = 0; i < 3; i++) {
		if (dup2(fds[i], 3 + i) < 0 || fcntl(3 + i, F_SETFL, 0) != 0)
			return 99;
		close(fds[i]);
	}
	snprintf(pid, sizeof(pid), "%d",
		 is_me ? (int)getpid() : (int)getppid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", n, 1);
	fd = listener_open(spec, NULL, &error);
	if (fd < 0)
		return 0;
	if (!(fcntl(fd, F_GETFL) & O_NONBLOCK) ||
	    fcntl(fd, F_GETFD) != FD_CLOEXEC)
		return 99;
	return fd;
}

static int
in_a_process(const struct passed *s, bool is_me, const char *n,
	     const char *spec)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(open_passed(s, is_me, n, spec));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
test_passed_sockets(void **state)
{
	enum { SOCK, INET, IDLE, FREE };
	static const struct {
		const char *name;
		int spec;
		bool is_me;
		const char *n;
		int fd; /* 0: the address is in use; -1: one of its own */
	} rows[] = {
		{ "the first", SOCK, true, "3", 3 },
		{ "the second", INET, true, "3", 4 },
		{ "the only one", SOCK, true, "1", 3 },
		{ "not one of them", FREE, true, "3", -1 },
		{ "behind the last", INET, true, "1", 0 },
		{ "one that does not listen", IDLE, true, "3", -1 },
		{ "of another process", SOCK, false, "3", 0 },
		{ "none", SOCK, true, "0", 0 },
		{ "fewer than none", SOCK, true, "-1", 0 },
		{ "no number", SOCK, true, "3x", 0 },
		{ "no number at all", SOCK, true, "", 0 },
		{ "more than there are", INET, true, "999999999", 4 },
		{ "too many", INET, true, "99999999999999999999", 0 },
	};
	struct place *p = *state;
	char other[96];
	struct passed s;
	struct stat st;

	pass_sockets(p, &s);
	/* A longer path, which begins in the same way. */
	snprintf(other, sizeof(other), "%s.free", p->spec);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *specs[] = { p->spec, s.inet, s.idle, other };
		int fd = in_a_process(&s, rows[i].is_me, rows[i].n,
				      specs[rows[i].spec]);

		if (rows[i].fd >= 0 ? fd != rows[i].fd : fd < 6 || fd == 99)
			fail_msg("%s: %d", rows[i].name, fd);
	}
	/* Its file is systemd's. */
	assert_int_equal(lstat(p->path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0600);
	for (int i = 0; i < 3; i++)
		close(s.fds[i]);
	unlink(s.idle + 5);
	unlink(other + 5);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_local),
		cmocka_unit_test(test_meets),
		cmocka_unit_test(test_path),
#define AT_PLACE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		AT_PLACE(test_unix_socket),
		AT_PLACE(test_stale_socket_is_replaced),
		AT_PLACE(test_socket_in_use),
		AT_PLACE(test_socket_in_use_with_full_backlog),
		AT_PLACE(test_other_files_are_left_alone),
		AT_PLACE(test_socket_of_another_kind),
		AT_PLACE(test_group),
		AT_PLACE(test_unknown_group_makes_no_socket),
		AT_PLACE(test_permit),
		AT_PLACE(test_permit_is_for_sockets),
		cmocka_unit_test(test_what_cannot_be_opened),
		cmocka_unit_test(test_inet),
		cmocka_unit_test(test_inet6),
		AT_PLACE(test_passed_sockets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
