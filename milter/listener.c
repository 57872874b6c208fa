/* SPDX-License-Identifier: MIT */
#include "listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "need.h"

#define SOCKET_MODE 0660
#define GROUP_BUFFER_MAX (1024 * 1024)

/* Descriptors that systemd passes; more than anybody needs. */
#define PASSED_FIRST 3
#define PASSED_MAX 64

static const char form[] = "must be unix:/path or inet:port@address";

union socket_name {
	struct sockaddr any;
	struct sockaddr_un un;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_storage most;
};

/* A spec, understood. */
struct address {
	union socket_name u;
	socklen_t len;
	const char *path; /* in the spec; NULL for inet */
};

static int fail(char **error_r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* -1, for the caller to return. */
static int
fail(char **error_r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(error_r, fmt, ap) < 0)
		abort();
	va_end(ap);
	return -1;
}

const char *
listener_path(const char *spec)
{
	if (strncmp(spec, "unix:", 5) == 0)
		return spec + 5;
	if (strncmp(spec, "local:", 6) == 0)
		return spec + 6;
	return NULL;
}

static bool
parse_path(const char *path, struct address *a, const char **error_r)
{
	size_t len = strlen(path);

	if (path[0] != '/') {
		*error_r = "the path of a socket must begin with /";
		return false;
	}
	if (len >= sizeof(a->u.un.sun_path)) {
		*error_r = "the path of a socket can have 107 bytes";
		return false;
	}
	a->u.un.sun_family = AF_UNIX;
	memcpy(a->u.un.sun_path, path, len + 1);
	a->len = sizeof(a->u.un);
	a->path = path;
	return true;
}

/* The port before the '@'; 0 when it is none. */
static in_port_t
parse_port(const char *s, const char *end)
{
	unsigned long n = 0;

	if (end == s || end - s > 5)
		return 0;
	for (; s < end; s++) {
		if (*s < '0' || *s > '9')
			return 0;
		n = n * 10 + (unsigned long)(*s - '0');
	}
	return n <= UINT16_MAX ? (in_port_t)n : 0;
}

/* An address in numbers, as it is or in []. No names: what a name means may
 * change, and this decides who can connect. */
static bool
parse_host(const char *host, in_port_t port, struct address *a)
{
	char text[INET6_ADDRSTRLEN];
	size_t len = strlen(host);

	if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	}
	if (len >= sizeof(text))
		return false;
	memcpy(text, host, len);
	text[len] = '\0';
	if (inet_pton(AF_INET, text, &a->u.in.sin_addr) == 1) {
		a->u.in.sin_family = AF_INET;
		a->u.in.sin_port = htons(port);
		a->len = sizeof(a->u.in);
		return true;
	}
	if (inet_pton(AF_INET6, text, &a->u.in6.sin6_addr) == 1) {
		a->u.in6.sin6_family = AF_INET6;
		a->u.in6.sin6_port = htons(port);
		a->len = sizeof(a->u.in6);
		return true;
	}
	return false;
}

static bool
parse_inet(const char *s, struct address *a, const char **error_r)
{
	const char *at = strchr(s, '@');
	in_port_t port;

	if (at == NULL) {
		*error_r = form;
		return false;
	}
	port = parse_port(s, at);
	if (port == 0) {
		*error_r = "the port must be a number from 1 to 65535";
		return false;
	}
	if (!parse_host(at + 1, port, a)) {
		*error_r = "the address must be an IPv4 or IPv6 address "
			   "in numbers";
		return false;
	}
	return true;
}

static bool
parse(const char *spec, struct address *a_r, const char **error_r)
{
	const char *path = listener_path(spec);

	memset(a_r, 0, sizeof(*a_r));
	if (path != NULL)
		return parse_path(path, a_r, error_r);
	if (strncmp(spec, "inet:", 5) == 0)
		return parse_inet(spec + 5, a_r, error_r);
	*error_r = form;
	return false;
}

bool
listener_check(const char *spec, const char **error_r)
{
	struct address a;

	return parse(spec, &a, error_r);
}

static bool
is_loopback(const struct address *a)
{
	switch (a->u.any.sa_family) {
	case AF_INET: /* 127.0.0.0/8 */
		return ntohl(a->u.in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	case AF_INET6:
		return IN6_IS_ADDR_LOOPBACK(&a->u.in6.sin6_addr);
	default:
		return true;
	}
}

bool
listener_is_local(const char *spec)
{
	const char *error;
	struct address a;

	return parse(spec, &a, &error) && is_loopback(&a);
}

static bool
is_any(const struct address *a)
{
	return a->u.any.sa_family == AF_INET
		   ? a->u.in.sin_addr.s_addr == htonl(INADDR_ANY)
		   : IN6_IS_ADDR_UNSPECIFIED(&a->u.in6.sin6_addr);
}

static bool
meet(const struct address *a, const struct address *b)
{
	if (a->u.any.sa_family != b->u.any.sa_family)
		return false;
	if (a->path != NULL)
		return strcmp(a->path, b->path) == 0;
	/* in and in6 have the port at the same place. */
	return a->u.in.sin_port == b->u.in.sin_port &&
	       (is_any(a) || is_any(b) || memcmp(&a->u, &b->u, a->len) == 0);
}

bool
listener_meets(const char *spec, const char *other)
{
	const char *error;
	struct address a, b;

	return parse(spec, &a, &error) && parse(other, &b, &error) &&
	       meet(&a, &b);
}

/* (gid_t)-1 for no group: chown() leaves it then. */
static int
find_group(const char *name, gid_t *gid_r, char **error_r)
{
	struct group g, *found = NULL;
	size_t size = 4096;
	char *buf = NULL;
	int error;

	*gid_r = (gid_t)-1;
	if (name == NULL)
		return 0;
	do {
		free(buf);
		buf = need(malloc(size));
		error = getgrnam_r(name, &g, buf, size, &found);
		size *= 2;
	} while (error == ERANGE && size <= GROUP_BUFFER_MAX);
	if (found != NULL)
		*gid_r = found->gr_gid;
	free(buf);
	return found != NULL ? 0 : fail(error_r, "no group %s", name);
}

static int
permit(const char *path, const char *group, gid_t gid, char **error_r)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return fail(error_r, "%s: %m", path);
	if (!S_ISSOCK(st.st_mode))
		return fail(error_r, "%s: is not a socket", path);
	/* Where the directory gave the group already, no right is needed. */
	if (gid != (gid_t)-1 && st.st_gid != gid &&
	    lchown(path, (uid_t)-1, gid) != 0)
		return fail(error_r, "%s: cannot give it to group %s: %m", path,
			    group);
	if (chmod(path, SOCKET_MODE) != 0)
		return fail(error_r, "%s: cannot set its mode: %m", path);
	return 0;
}

int
listener_permit(const char *spec, const char *group, char **error_r)
{
	const char *path = listener_path(spec);
	gid_t gid;

	if (path == NULL)
		return 0;
	if (find_group(group, &gid, error_r) != 0)
		return -1;
	return permit(path, group, gid, error_r);
}

static int
new_socket(int family, char **error_r)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd >= 0 ? fd : fail(error_r, "cannot make a socket: %m");
}

/* 0 when the file is a socket on which nobody listens. EAGAIN: somebody does,
 * with a full backlog. */
static int
check_stale(const struct address *a, char **error_r)
{
	int fd = new_socket(AF_UNIX, error_r);
	int rc, error;

	if (fd < 0)
		return -1;
	rc = connect(fd, &a->u.any, a->len);
	error = errno;
	close(fd);
	errno = error;
	if (rc == 0 || error == EAGAIN)
		return fail(error_r, "%s: is in use", a->path);
	if (error != ECONNREFUSED)
		return fail(error_r, "%s: %m", a->path);
	return 0;
}

/* Removes the socket of a daemon that is gone; never any other file. */
static int
remove_stale(const struct address *a, char **error_r)
{
	struct stat st;

	if (lstat(a->path, &st) != 0)
		return errno == ENOENT ? 0 : fail(error_r, "%s: %m", a->path);
	if (!S_ISSOCK(st.st_mode))
		return fail(error_r, "%s: exists and is not a socket", a->path);
	if (check_stale(a, error_r) != 0)
		return -1;
	if (unlink(a->path) != 0 && errno != ENOENT)
		return fail(error_r, "%s: cannot remove it: %m", a->path);
	return 0;
}

/* Takes fd when it fails. */
static int
start_listening(int fd, const char *spec, char **error_r)
{
	if (listen(fd, SOMAXCONN) == 0)
		return fd;
	fail(error_r, "%s: cannot listen: %m", spec);
	close(fd);
	return -1;
}

static int
bind_to(int fd, const struct address *a, const char *spec, char **error_r)
{
	if (bind(fd, &a->u.any, a->len) == 0)
		return 0;
	if (errno == EADDRINUSE)
		return fail(error_r, "%s: is in use", spec);
	return fail(error_r, "%s: cannot bind: %m", spec);
}

/* Nobody can connect before listen(), so what mode bind() gave the file does
 * not matter; the umask, which belongs to all threads, is left alone. */
static int
open_unix(const struct address *a, const char *group, char **error_r)
{
	gid_t gid;
	int fd;

	if (find_group(group, &gid, error_r) != 0 ||
	    remove_stale(a, error_r) != 0)
		return -1;
	fd = new_socket(AF_UNIX, error_r);
	if (fd < 0)
		return -1;
	if (bind_to(fd, a, a->path, error_r) != 0) {
		close(fd);
		return -1;
	}
	if (permit(a->path, group, gid, error_r) != 0) {
		unlink(a->path);
		close(fd);
		return -1;
	}
	return start_listening(fd, a->path, error_r);
}

static int
open_inet(const struct address *a, const char *spec, char **error_r)
{
	static const int on = 1;
	int fd = new_socket(a->u.any.sa_family, error_r);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    (a->u.any.sa_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0)) {
		fail(error_r, "%s: cannot set an option: %m", spec);
		close(fd);
		return -1;
	}
	if (bind_to(fd, a, spec, error_r) != 0) {
		close(fd);
		return -1;
	}
	return start_listening(fd, spec, error_r);
}

/* The value of an environment variable; -1 when it is no number. */
static long
number_of(const char *name)
{
	const char *text = getenv(name);
	char *end;
	long n;

	if (text == NULL || text[0] < '0' || text[0] > '9')
		return -1;
	errno = 0;
	n = strtol(text, &end, 10);
	return errno == 0 && *end == '\0' ? n : -1;
}

static bool
is_same(const union socket_name *a, const union socket_name *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (a->any.sa_family == AF_UNIX)
		return strcmp(a->un.sun_path, b->un.sun_path) == 0;
	if (a->any.sa_family == AF_INET)
		return a->in.sin_port == b->in.sin_port &&
		       a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	return a->in6.sin6_port == b->in6.sin6_port &&
	       IN6_ARE_ADDR_EQUAL(&a->in6.sin6_addr, &b->in6.sin6_addr);
}

static bool
listens_on(int fd, const union socket_name *wanted)
{
	/* Longer than a path can be: the path ends in a NUL. */
	union socket_name name = { .most = { 0 } };
	socklen_t len = sizeof(name), flag_len = sizeof(int),
		  type_len = sizeof(int);
	int listens, type;

	return getsockname(fd, &name.any, &len) == 0 &&
	       is_same(&name, wanted) &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 &&
	       type == SOCK_STREAM &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &flag_len) ==
		   0 &&
	       listens;
}

/* As sd_listen_fds(3) says it: descriptors from 3 on, for the process that
 * systemd started and not for one that it forked. What is not asked for stays
 * open, as systemd's own stays. -1 when there is none. */
static int
find_passed(const struct address *a)
{
	long n = number_of("LISTEN_FDS");

	if (number_of("LISTEN_PID") != (long)getpid())
		return -1;
	for (int fd = PASSED_FIRST; fd < PASSED_FIRST + PASSED_MAX && n-- > 0;
	     fd++) {
		if (listens_on(fd, &a->u))
			return fd;
	}
	return -1;
}

static int
take_passed(int fd, const char *spec, char **error_r)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return fail(error_r, "%s: cannot use the socket passed: %m",
			    spec);
	return fd;
}

int
listener_open(const char *spec, const char *group, char **error_r)
{
	struct address a;
	const char *error;
	int fd;

	if (!parse(spec, &a, &error))
		return fail(error_r, "%s: %s", spec, error);
	fd = find_passed(&a);
	if (fd >= 0)
		return take_passed(fd, spec, error_r);
	if (a.path != NULL)
		return open_unix(&a, group, error_r);
	return open_inet(&a, spec, error_r);
}

int
listener_connect(const char *spec)
{
	struct address a;
	const char *error;
	int fd, saved;

	if (!parse(spec, &a, &error)) {
		errno = EINVAL;
		return -1;
	}
	fd = socket(a.u.any.sa_family,
		    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, &a.u.any, a.len) == 0 || errno == EINPROGRESS)
		return fd;
	saved = errno;
	(void)close(fd);
	errno = saved;
	return -1;
}
