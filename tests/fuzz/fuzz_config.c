/* SPDX-License-Identifier: MIT */
/*
 * A configuration file made from the input: it is taken whole, or refused
 * with an error that names a line. What is taken is within the bounds.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "milter/config.h"
#include "milter/listener.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_path(const char *s)
{
	assert(s != NULL && s[0] == '/');
}

static void
check_config(const struct config *c)
{
	const char *why;

	assert(listener_check(c->milter_socket, &why));
	assert(listener_check(c->sasl_socket, &why));
	check_path(c->state_directory);
	check_path(c->secret_file);
	assert(c->socket_group != NULL && c->dialect != NULL);
	assert(c->api.name != NULL && c->api.name[0] != '\0');
	assert(c->api.format != NULL && c->api.url != NULL);
	assert(strncmp(c->api.url, "http", 4) == 0);
	assert(strstr(c->api.url, "://") != NULL);
	assert(c->api.url[strlen(c->api.url) - 1] != '/');
	assert(c->direct_timeout_ms >= 100 && c->direct_timeout_ms <= 50000);
	assert(c->direct_limit >= 1 && c->direct_limit <= 100000);
	assert(c->store_size >= 1048576);
	assert(c->check_timeout_ms >= 100 && c->check_timeout_ms <= 8000);
	assert(c->ttl >= 1 && c->ttl <= 604800);
	assert(c->negative_ttl >= 1 && c->negative_ttl <= 86400);
	assert(c->stale <= 2592000);
	assert(c->cache_size >= 16 && c->cache_size <= 100000000);
	assert(c->api.connections >= 1 && c->api.connections <= 10000);
	assert(c->api.connect_timeout_ms >= 100 &&
	       c->api.connect_timeout_ms <= 20000);
}

/* "file:line: what" with a line the file has, or the one behind its last. */
static void
check_error(const char *error, const char *file, const uint8_t *data,
	    size_t size)
{
	size_t n = strlen(file);
	unsigned long lines = 1;
	unsigned long line;
	char *end;

	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	assert(strncmp(error, file, n) == 0 && error[n] == ':');
	line = strtoul(error + n + 1, &end, 10);
	assert(end > error + n + 1 && strncmp(end, ": ", 2) == 0);
	assert(line >= 1 && line <= lines + 1);
	assert(end[2] != '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz_config", MFD_CLOEXEC);
	struct config *c;
	char *error;
	char path[64];

	assert(fd >= 0);
	assert(write(fd, data, size) == (ssize_t)size);
	assert(snprintf(path, sizeof(path), "/proc/self/fd/%d", fd) > 0);
	c = config_load(path, &error);
	assert((c == NULL) == (error != NULL));
	if (c != NULL)
		check_config(c);
	else
		check_error(error, path, data, size);
	config_free(&c);
	assert(c == NULL);
	free(error);
	(void)close(fd);
	return 0;
}
