/* SPDX-License-Identifier: MIT */
#include "message.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "address.h"
#include "dialect.h"
#include "trace.h"

struct message {
	char *sender;
	GPtrArray *recipients; /* of char * */
	GHashTable *seen;      /* recipients, in lower case */
	GArray *headers;       /* of struct message_header */
	size_t header_bytes;
	char subaccount[SUBACCOUNT_MAX + 1];
	struct body *body;
	size_t body_bytes;
	struct smtp_reply refusal;
	struct trace *trace; /* or NULL */
};

static void
clear_header(void *p)
{
	struct message_header *h = p;

	/* The value is in the same piece of memory. */
	g_free(h->name);
}

struct message *
message_new(const char *sender)
{
	struct message *m = g_new0(struct message, 1);

	m->sender = g_strdup(sender);
	m->recipients = g_ptr_array_new_with_free_func(g_free);
	m->headers = g_array_new(FALSE, FALSE, sizeof(struct message_header));
	g_array_set_clear_func(m->headers, clear_header);
	m->body = body_new();
	if (*sender != '\0' && !address_is_plain(sender))
		smtp_reply_set(&m->refusal, 550, "5.1.7",
			       "The sender address cannot be handed on");
	return m;
}

void
message_free(struct message **mp)
{
	struct message *m = *mp;

	if (m == NULL)
		return;
	g_free(m->sender);
	g_ptr_array_unref(m->recipients);
	if (m->seen != NULL)
		g_hash_table_unref(m->seen);
	g_array_unref(m->headers);
	body_free(&m->body);
	g_free(m);
	*mp = NULL;
}

void
message_trace(struct message *m, struct trace *t)
{
	m->trace = t;
	body_trace(m->body, t);
}

/* The first reason counts: it is what the client can act on. */
static bool
is_refused(const struct message *m)
{
	return smtp_reply_is_set(&m->refusal);
}

static char *
recipient_key(const char *addr)
{
	return g_ascii_strdown(addr, -1);
}

/* The set is made with the second recipient: most messages have one. */
static bool
is_duplicate(struct message *m, const char *addr)
{
	if (m->recipients->len == 0)
		return false;
	if (m->seen == NULL) {
		m->seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
						NULL);
		g_hash_table_add(m->seen,
				 recipient_key(m->recipients->pdata[0]));
	}
	return !g_hash_table_add(m->seen, recipient_key(addr));
}

void
message_recipient(struct message *m, const char *addr)
{
	if (is_refused(m) || is_duplicate(m, addr))
		return;
	if (!address_is_plain(addr)) {
		smtp_reply_set(&m->refusal, 550, "5.1.3",
			       "A recipient address cannot be handed on");
		return;
	}
	if (m->recipients->len >= MESSAGE_RECIPIENTS_MAX) {
		smtp_reply_set(&m->refusal, 550, "5.5.3",
			       "More than %d recipients",
			       MESSAGE_RECIPIENTS_MAX);
		return;
	}
	g_ptr_array_add(m->recipients, g_strdup(addr));
}

/* True when the header may be stored; else the refusal is set. */
static bool
within_bounds(struct message *m, const char *name, size_t len)
{
	char safe[64];

	if (m->headers->len >= MESSAGE_HEADERS_MAX) {
		smtp_reply_set(&m->refusal, 550, "5.6.0",
			       "More than %d headers", MESSAGE_HEADERS_MAX);
		return false;
	}
	if (strlen(name) + len >= MESSAGE_HEADER_MAX) {
		smtp_reply_safe_text(safe, sizeof(safe), name, strlen(name));
		smtp_reply_set(&m->refusal, 550, "5.6.0",
			       "%s: header longer than %d bytes", safe,
			       MESSAGE_HEADER_MAX);
		return false;
	}
	return true;
}

/* Counts bytes that are kept. False: refusal set. */
static bool
may_keep(struct message *m, size_t len)
{
	m->header_bytes += len;
	if (m->header_bytes <= MESSAGE_HEADERS_KEPT_MAX)
		return true;
	smtp_reply_set(&m->refusal, 550, "5.6.0",
		       "The headers are longer than %d bytes",
		       MESSAGE_HEADERS_KEPT_MAX);
	return false;
}

void
message_header(struct message *m, const char *name, const char *value,
	       size_t len)
{
	size_t n = strlen(name) + 1;
	struct message_header h;

	trace_header(m->trace, name, value, len);
	if (is_refused(m) || !within_bounds(m, name, len) ||
	    !may_keep(m, n + len))
		return;
	body_header(m->body, name, value, len);
	h.name = g_malloc(n + len + 1);
	memcpy(h.name, name, n);
	h.value = h.name + n;
	memcpy(h.value, value, len);
	h.value[len] = '\0';
	h.value_len = len;
	g_array_append_val(m->headers, h);
}

void
message_want(struct message *m, unsigned wants)
{
	body_want(m->body, wants);
}

void
message_need(struct message *m, unsigned needs)
{
	body_need(m->body, needs);
}

bool
message_body(struct message *m, const char *data, size_t len)
{
	m->body_bytes += len;
	if (is_refused(m))
		return true;
	return body_feed(m->body, data, len) != BODY_MORE;
}

const char *
message_sender(const struct message *m)
{
	return m->sender;
}

size_t
message_n_recipients(const struct message *m)
{
	return m->recipients->len;
}

const char *
message_recipient_at(const struct message *m, size_t i)
{
	return m->recipients->pdata[i];
}

const struct message_header *
message_find(const struct message *m, const char *name)
{
	for (guint i = 0; i < m->headers->len; i++) {
		const struct message_header *h =
		    &g_array_index(m->headers, struct message_header, i);

		if (strcasecmp(h->name, name) == 0)
			return h;
	}
	return NULL;
}

size_t
message_n_headers(const struct message *m)
{
	return m->headers->len;
}

const struct message_header *
message_header_at(const struct message *m, size_t i)
{
	return &g_array_index(m->headers, struct message_header, (guint)i);
}

void
message_set_subaccount(struct message *m, const char *subaccount)
{
	size_t n = strlen(subaccount);

	if (n > SUBACCOUNT_MAX)
		abort(); /* session.c has seen to it */
	memcpy(m->subaccount, subaccount, n + 1);
}

const char *
message_subaccount(const struct message *m)
{
	return m->subaccount;
}

const struct smtp_reply *
message_refusal(const struct message *m)
{
	return is_refused(m) ? &m->refusal : NULL;
}

enum body_kind
message_take_body(struct message *m, char **text_r, size_t *len_r)
{
	return body_end(m->body, text_r, len_r);
}

struct body *
message_body_state(const struct message *m)
{
	return m->body;
}

size_t
message_bytes(const struct message *m)
{
	return m->body_bytes;
}
