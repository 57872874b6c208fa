/* SPDX-License-Identifier: MIT */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "dynbuf.h"
#include "json_text.h"
#include "message.h"
#include "outgoing.h"
#include "utf8.h"

static const struct {
	const char *name;
	size_t offset;
	size_t size;
} ids[] = {
#define ID(member)                                        \
	{                                                 \
#member, offsetof(struct plan, member),   \
		    sizeof(((struct plan *)NULL)->member) \
	}
	ID(queue_id), ID(account), ID(key_id), ID(api), ID(dialect), ID(key),
#undef ID
};

#define N_IDS (sizeof(ids) / sizeof(ids[0]))
/* All of them as JSON: each byte may be escaped. */
#define IDS_ROOM (6 * sizeof(struct plan) + 32 * N_IDS)

static const char *const states[] = {
	[PLAN_OPEN] = "open",
	[PLAN_DONE] = "done",
	[PLAN_REFUSED] = "refused",
};

#define N_STATES (sizeof(states) / sizeof(states[0]))

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

struct plan *
plan_new(struct outgoing *outgoing)
{
	struct plan *p = need(calloc(1, sizeof(*p)));

	p->outgoing = outgoing;
	p->recipients =
	    need(calloc(outgoing->n_recipients + 1, sizeof(*p->recipients)));
	return p;
}

void
plan_free(struct plan **pp)
{
	struct plan *p = *pp;

	if (p == NULL)
		return;
	outgoing_free(&p->outgoing);
	free(p->recipients);
	explicit_bzero(p, sizeof(*p));
	free(p);
	*pp = NULL;
}

/* --- writing -------------------------------------------------------------- */

static bool
add_text(struct dynbuf *out, const char *name, const char *value)
{
	size_t len = strlen(value);

	return utf8_valid_prefix(value, len) == len &&
	       json_add_member(out, name, value);
}

#define BYTES_MAX PLAN_CONTENT_LEN

static bool
add_bytes(struct dynbuf *out, const char *name, const unsigned char *bytes,
	  size_t n)
{
	static const char digits[] = "0123456789abcdef";
	char hex[2 * BYTES_MAX + 1] = "";

	for (size_t i = 0; i < n; i++) {
		hex[2 * i] = digits[bytes[i] >> 4];
		hex[2 * i + 1] = digits[bytes[i] & 15];
	}
	return json_add_member(out, name, hex);
}

static bool
add_outgoing(struct dynbuf *out, const struct outgoing *o)
{
	if (!dynbuf_adds(out, ",\"outgoing\":{"))
		return false;
	for (size_t i = 0; i < outgoing_n_strings; i++) {
		const char *value = outgoing_string(o, i);

		if (value != NULL &&
		    !add_text(out, outgoing_strings[i].name, value))
			return false;
	}
	for (size_t i = 0; i < outgoing_n_switches; i++) {
		enum outgoing_switch is = outgoing_switch_is(o, i);

		if (is != SWITCH_UNSET &&
		    !json_add_member(out, outgoing_switches[i].name,
				     is == SWITCH_ON ? "on" : "off"))
			return false;
	}
	return dynbuf_adds(out, "}");
}

static bool
add_headers(struct dynbuf *out, const struct outgoing *o)
{
	if (!dynbuf_adds(out, ",\"headers\":["))
		return false;
	for (size_t i = 0; i < o->n_headers; i++) {
		if (!dynbuf_adds(out, i > 0 ? ",{" : "{") ||
		    !add_text(out, "name", o->headers[i].name) ||
		    !add_text(out, "value", o->headers[i].value) ||
		    !dynbuf_adds(out, "}"))
			return false;
	}
	return dynbuf_adds(out, "]");
}

static bool
add_reply(struct dynbuf *out, const struct smtp_reply *r)
{
	return dynbuf_addf(out, ",\"code\":%d", r->code) &&
	       add_text(out, "enhanced", r->enhanced) &&
	       add_text(out, "text", r->text);
}

static bool
add_recipient(struct dynbuf *out, const struct outgoing_recipient *to,
	      const struct plan_recipient *r)
{
	return add_text(out, "email", to->email) &&
	       add_text(out, "name", to->name) &&
	       (to->kind == OUTGOING_TO ||
		json_add_member(out, "kind", outgoing_kinds[to->kind])) &&
	       json_add_member(out, "state", states[r->state]) &&
	       (!smtp_reply_is_set(&r->reply) || add_reply(out, &r->reply)) &&
	       dynbuf_adds(out, "}");
}

static bool
add_recipients(struct dynbuf *out, const struct plan *p)
{
	const struct outgoing *o = p->outgoing;

	if (!dynbuf_adds(out, ",\"recipients\":["))
		return false;
	for (size_t i = 0; i < o->n_recipients; i++) {
		if (!dynbuf_adds(out, i > 0 ? ",{" : "{") ||
		    !add_recipient(out, &o->recipients[i], &p->recipients[i]))
			return false;
	}
	return dynbuf_adds(out, "]");
}

/* The key is the last of them: a buffer that grows leaves what it held in
 * memory that is not wiped, so there is room before the key comes. */
static bool
add_ids(struct dynbuf *out, const struct plan *p)
{
	if (dynbuf_room(out, IDS_ROOM) == NULL)
		return false;
	for (size_t i = 0; i < N_IDS; i++) {
		if (!add_text(out, ids[i].name,
			      (const char *)p + ids[i].offset))
			return false;
	}
	return true;
}

bool
plan_write(const struct plan *p, struct dynbuf *out)
{
	return dynbuf_addf(out,
			   "{\"version\":%d,\"body_version\":%lld,"
			   "\"accepted\":%lld,\"local\":%s,\"tracked\":%s",
			   PLAN_VERSION, (long long)p->body_version,
			   (long long)p->accepted, p->local ? "true" : "false",
			   p->tracked ? "true" : "false") &&
	       add_bytes(out, "submission", p->submission,
			 PLAN_SUBMISSION_LEN) &&
	       add_bytes(out, "content", p->content, PLAN_CONTENT_LEN) &&
	       add_outgoing(out, p->outgoing) &&
	       add_headers(out, p->outgoing) && add_recipients(out, p) &&
	       add_ids(out, p) && dynbuf_adds(out, "}");
}

/* --- reading -------------------------------------------------------------- */

static int
hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c != '\0' ? strchr(digits, c) : NULL;

	return at != NULL ? (int)(at - digits) : -1;
}

static bool
read_bytes(const struct json_object *json, const char *name,
	   unsigned char *bytes, size_t n)
{
	const char *hex;

	if (json_object_string(json, name, &hex) != JSON_FOUND ||
	    strlen(hex) != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int high = hex_digit(hex[2 * i]);
		int low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		bytes[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

static bool
read_ids(struct plan *p, const struct json_object *json)
{
	for (size_t i = 0; i < N_IDS; i++) {
		const char *value;

		if (json_object_string(json, ids[i].name, &value) !=
			JSON_FOUND ||
		    strlen(value) >= ids[i].size)
			return false;
		memcpy((char *)p + ids[i].offset, value, strlen(value) + 1);
	}
	return true;
}

static bool
read_switches(struct outgoing *o, const struct json_object *members)
{
	for (size_t i = 0; i < outgoing_n_switches; i++) {
		const char *value = NULL;

		if (json_object_string(members, outgoing_switches[i].name,
				       &value) == JSON_OTHER_TYPE)
			return false;
		if (value == NULL)
			continue;
		if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
			return false;
		*outgoing_switch_at(o, i) =
		    value[1] == 'n' ? SWITCH_ON : SWITCH_OFF;
	}
	return true;
}

static bool
read_strings(struct outgoing *o, const struct json_object *json)
{
	const struct json_object *members;

	if (json_object_object(json, "outgoing", &members) != JSON_FOUND)
		return false;
	for (size_t i = 0; i < outgoing_n_strings; i++) {
		const char *value = NULL;

		if (json_object_string(members, outgoing_strings[i].name,
				       &value) == JSON_OTHER_TYPE)
			return false;
		if (value != NULL)
			*outgoing_string_at(o, i) = need(strdup(value));
	}
	return read_switches(o, members);
}

static bool
read_header(void *arg, const struct json_object *json)
{
	struct outgoing *o = arg;
	const char *name, *value;

	if (o->n_headers == MESSAGE_HEADERS_MAX ||
	    json_object_string(json, "name", &name) != JSON_FOUND ||
	    json_object_string(json, "value", &value) != JSON_FOUND)
		return false;
	outgoing_add_header(o, name, value);
	return true;
}

/* What smtp_reply_set() takes for granted. */
static bool
is_reply(int64_t code, const char *enhanced)
{
	return (code == 250 || (code >= 400 && code <= 599)) &&
	       enhanced[0] == '0' + code / 100 && enhanced[1] == '.' &&
	       strlen(enhanced) < sizeof(((struct smtp_reply *)NULL)->enhanced);
}

/* One that was refused has a reply; the others may. */
static bool
read_reply(struct plan_recipient *r, const struct json_object *json)
{
	const char *enhanced, *text;
	int64_t code;

	switch (json_object_int(json, "code", &code)) {
	case JSON_ABSENT:
		return r->state != PLAN_REFUSED;
	case JSON_FOUND:
		break;
	case JSON_OTHER_TYPE:
	default:
		return false;
	}
	if (json_object_string(json, "enhanced", &enhanced) != JSON_FOUND ||
	    json_object_string(json, "text", &text) != JSON_FOUND ||
	    !is_reply(code, enhanced))
		return false;
	smtp_reply_set(&r->reply, (int)code, enhanced, "%s", text);
	return true;
}

static bool
read_state(struct plan_recipient *r, const struct json_object *json)
{
	const char *state;

	if (json_object_string(json, "state", &state) != JSON_FOUND)
		return false;
	for (size_t i = 0; i < N_STATES; i++) {
		if (strcmp(states[i], state) == 0) {
			r->state = (enum plan_state)i;
			return true;
		}
	}
	return false;
}

static void
append(struct plan *p, const char *email, const char *name,
       enum outgoing_kind kind, const struct plan_recipient *r)
{
	size_t n = p->outgoing->n_recipients;

	/* A power of two: there is no room left behind it. */
	if ((n & (n - 1)) == 0)
		p->recipients = need(reallocarray(
		    p->recipients, n > 0 ? 2 * n : 1, sizeof(*p->recipients)));
	p->recipients[n] = *r;
	outgoing_add_recipient(p->outgoing, email, name, kind);
}

static bool
read_kind(const struct json_object *json, enum outgoing_kind *kind_r)
{
	const char *kind = outgoing_kinds[OUTGOING_TO];

	if (json_object_string(json, "kind", &kind) == JSON_OTHER_TYPE)
		return false;
	for (int i = 0; i < OUTGOING_KINDS; i++) {
		if (strcmp(outgoing_kinds[i], kind) == 0) {
			*kind_r = (enum outgoing_kind)i;
			return true;
		}
	}
	return false;
}

static bool
read_recipient(void *arg, const struct json_object *json)
{
	struct plan *p = arg;
	struct plan_recipient r = { 0 };
	enum outgoing_kind kind;
	const char *email, *name;

	if (p->outgoing->n_recipients == OUTGOING_RECIPIENTS_MAX ||
	    json_object_string(json, "email", &email) != JSON_FOUND ||
	    json_object_string(json, "name", &name) != JSON_FOUND ||
	    !read_kind(json, &kind) || !read_state(&r, json) ||
	    !read_reply(&r, json))
		return false;
	append(p, email, name, kind, &r);
	return true;
}

static bool
read_headers(struct plan *p, const struct json_object *json, int64_t version)
{
	enum json_found found =
	    json_object_items(json, "headers", read_header, p->outgoing);

	return found == JSON_FOUND ||
	       (found == JSON_ABSENT && version == PLAN_VERSION_OLD);
}

static bool
read_all(struct plan *p, const struct json_object *json)
{
	int64_t version;

	return json_object_int(json, "version", &version) == JSON_FOUND &&
	       (version == PLAN_VERSION || version == PLAN_VERSION_OLD) &&
	       json_object_int(json, "body_version", &p->body_version) ==
		   JSON_FOUND &&
	       json_object_int(json, "accepted", &p->accepted) == JSON_FOUND &&
	       json_object_bool(json, "local", &p->local) == JSON_FOUND &&
	       json_object_bool(json, "tracked", &p->tracked) !=
		   JSON_OTHER_TYPE &&
	       read_bytes(json, "submission", p->submission,
			  PLAN_SUBMISSION_LEN) &&
	       read_bytes(json, "content", p->content, PLAN_CONTENT_LEN) &&
	       read_ids(p, json) && read_strings(p->outgoing, json) &&
	       read_headers(p, json, version) &&
	       json_object_items(json, "recipients", read_recipient, p) ==
		   JSON_FOUND;
}

struct plan *
plan_read(const char *text, size_t len)
{
	struct json_object *json;
	struct plan *p;

	if (len > PLAN_MAX)
		return NULL;
	json = json_object_read(text, len);
	if (json == NULL)
		return NULL;
	p = plan_new(outgoing_new());
	if (!read_all(p, json))
		plan_free(&p);
	json_object_free(&json);
	return p;
}

size_t
plan_find(const struct plan *p, const char *address)
{
	const struct outgoing *o = p->outgoing;

	for (size_t i = 0; i < o->n_recipients; i++) {
		if (address_equal(o->recipients[i].email, address))
			return i;
	}
	/* Only then: a client may have named "a"@x and a@x. */
	for (size_t i = 0; i < o->n_recipients; i++) {
		if (address_same(o->recipients[i].email, address))
			return i;
	}
	return SIZE_MAX;
}
