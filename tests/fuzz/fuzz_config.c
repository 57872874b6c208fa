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
check_api(const struct config_api *api)
{
	assert(api->name != NULL && api->name[0] != '\0');
	assert(api->format != NULL && api->url != NULL);
	assert(strncmp(api->url, "http", 4) == 0);
	assert(strstr(api->url, "://") != NULL);
	assert(api->url[strlen(api->url) - 1] != '/');
	assert(api->connections >= 1 && api->connections <= 10000);
	assert(api->connect_timeout_ms >= 100 &&
	       api->connect_timeout_ms <= 20000);
	assert(api->settings.consent_to_track != NULL);
	assert(api_flexmail_clash(&api->settings) == NULL);
	for (size_t i = 0; i < api->settings.n_fields; i++)
		assert(api_field_is_path(api->settings.fields[i].path));
}

/* Everything a hand-off follows is there. */
static void
check_route(const struct config *c, const struct route *r)
{
	assert(r->name != NULL && r->name[0] != '\0');
	if (r->handoff != ROUTE_TRANSPORT) {
		assert(r->api != NULL && config_api(c, r->api) != NULL);
		assert(r->transport == NULL && r->return_path == NULL);
		assert(r->n_strip == 0 && r->n_add == 0);
		return;
	}
	assert(r->transport != NULL && strchr(r->transport, ':') != NULL);
	assert(r->api == NULL);
	if (r->return_path != NULL)
		assert(strstr(r->return_path, ROUTE_TOKEN) <
		       strchr(r->return_path, '@'));
	for (size_t i = 0; i < r->n_strip; i++)
		assert(r->strip[i][0] != '\0');
	for (size_t i = 0; i < r->n_add; i++)
		assert(r->add[i].name[0] != '\0' &&
		       strpbrk(r->add[i].value, "\r\n") == NULL);
}

static void
check_config(const struct config *c)
{
	const char *why;

	assert(listener_check(c->lmtp_socket, &why));
	assert(c->n_apis > 0 || c->routes.n > 0);
	assert(c->n_apis > 0 || !c->ask_api);
	for (size_t i = 0; i < c->n_apis; i++)
		check_api(c->apis[i]);
	for (size_t i = 0; i < c->routes.n; i++)
		check_route(c, c->routes.v[i]);
	assert(c->n_apis == 0 || route_find(&c->routes, "x") != NULL);

	assert(listener_check(c->milter_socket, &why));
	assert(listener_check(c->sasl_socket, &why));
	check_path(c->state_directory);
	check_path(c->secret_file);
	assert(c->socket_group != NULL && c->dialect != NULL);
	assert(c->direct_timeout_ms >= 100 && c->direct_timeout_ms <= 50000);
	assert(c->direct_limit >= 1 && c->direct_limit <= 100000);
	assert(c->store_size >= 1048576);
	assert(c->check_timeout_ms >= 100 && c->check_timeout_ms <= 8000);
	assert(c->ttl >= 1 && c->ttl <= 604800);
	assert(c->negative_ttl >= 1 && c->negative_ttl <= 86400);
	assert(c->stale <= 2592000);
	assert(c->cache_size >= 16 && c->cache_size <= 100000000);
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
