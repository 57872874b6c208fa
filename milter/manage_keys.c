/* SPDX-License-Identifier: MIT */
/*
 * The commands about keys, accounts and routes.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "config.h"
#include "crypto.h"
#include "handoff.h"
#include "key_check.h"
#include "keystore.h"
#include "log.h"
#include "login.h"
#include "manage.h"
#include "need.h"
#include "policy/account.h"
#include "policy/api.h"
#include "policy/dialect.h"
#include "policy/outgoing.h"
#include "policy/route.h"
#include "policy/smtp_reply.h"
#include "request.h"
#include "services.h"

/* Rows of a list unless more are asked for, and the most. */
#define LIST_ROWS 1000
#define LIST_ROWS_MAX 100000

/* An account is read, changed and written: one after the other. */
static pthread_mutex_t changing_accounts = PTHREAD_MUTEX_INITIALIZER;

static int
no_such_key(struct manage *m, const char *key_id)
{
	return manage_fail(m, EX_NOUSER,
			   "%s: no key of this machine has that "
			   "id (see key list)",
			   key_id);
}

static int
disk_failed(struct manage *m)
{
	return manage_fail(m, EX_IOERR,
			   "The store cannot be read or written; "
			   "the log says why");
}

/* The key id that is the first operand, or NULL and the error is written. */
static const char *
operand_key(struct manage *m, int *code_r)
{
	const char *id = request_operand(m->request, 0);

	*code_r = EX_OK;
	if (id == NULL)
		*code_r = manage_fail(m, EX_USAGE, "%s: which key? Give its id",
				      "key");
	else if (!key_id_is_valid(id))
		*code_r = manage_fail(m, EX_USAGE,
				      "\"%.80s\" is not a key id; those have "
				      "16 letters and digits",
				      strlen(id) > 20 ? "..." : id);
	return *code_r == EX_OK ? id : NULL;
}

/* --- accounts --- */

typedef bool set_fn(struct account *a, const char *value);

static bool
set_dialect(struct account *a, const char *value)
{
	if (dialect_find(value) == NULL)
		return false;
	free(a->dialect);
	a->dialect = need(strdup(value));
	return true;
}

/* "ID" or "ID:NAME"; the route is there already: nothing to do. */
static bool
add_route(struct account *a, const char *value)
{
	const char *colon = strchr(value, ':');
	size_t n = colon ? (size_t)(colon - value) : strlen(value);
	char *id = need(strndup(value, n));
	bool ok;

	ok = account_find_route(a, id) != NULL ||
	     account_add_route(a, id, colon ? colon + 1 : "");
	free(id);
	return ok;
}

static bool
set_rate(struct account *a, const char *value)
{
	return account_parse_rate(value, &a->rate);
}

static bool
set_recipient_rate(struct account *a, const char *value)
{
	return account_parse_rate(value, &a->recipient_rate);
}

/* In this order: a default route must be one of the routes. */
static const struct {
	const char *option;
	set_fn *set;
	const char *hint;
} account_options[] = {
	{ "dialect", set_dialect, NULL }, /* the hint: which there are */
	{ "route", add_route, "write ID or ID:NAME" },
	{ "default-route", account_set_default_route,
	  "it is none of the account's routes" },
	{ "sender", account_add_sender,
	  "write user@example.org or "
	  "example.org" },
	{ "from-ip", account_add_network,
	  "write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32" },
	{ "rate", set_rate, "write 100/1m, 5/s or 10000/1d" },
	{ "recipient-rate", set_recipient_rate,
	  "write 100/1m, 5/s or 10000/1d" },
};

#define N_ACCOUNT_OPTIONS (sizeof(account_options) / sizeof(account_options[0]))

static int
wrong_value(struct manage *m, size_t option, const char *value)
{
	const char *hint = account_options[option].hint;
	char names[DIALECT_NAMES_SIZE];

	return manage_fail(m, EX_USAGE,
			   "--%s: \"%.200s\" is not possible; %s%s",
			   account_options[option].option, value,
			   hint == NULL ? "there is " : "",
			   hint == NULL ? dialect_names(names) : hint);
}

/* Applies what the request says of the account; counts it in *n_r. */
static int
apply_account_options(struct manage *m, struct account *a, size_t *n_r)
{
	for (size_t i = 0; i < N_ACCOUNT_OPTIONS; i++) {
		const char *option = account_options[i].option;
		const char *value;

		for (size_t k = 0;
		     (value = request_option_at(m->request, option, k)) != NULL;
		     k++) {
			if (!account_options[i].set(a, value))
				return wrong_value(m, i, value);
			(*n_r)++;
		}
	}
	return EX_OK;
}

/* What a new account cannot do without. */
static int
check_new_account(struct manage *m, const struct account *a,
		  const char *api_key)
{
	if (a->n_routes == 0)
		return manage_fail(
		    m, EX_USAGE,
		    "The account \"%s\" is new: it needs --route "
		    "ID, the route its messages are sent by",
		    a->id);
	if (api_key == NULL)
		return manage_fail(m, EX_USAGE,
				   "The account \"%s\" is new: it needs "
				   "--api-key-file FILE, with the key that the "
				   "API knows it by",
				   a->id);
	return EX_OK;
}

/* Whether the API can be called with the key; what it says of it is another
 * matter. */
static bool
takes_key(const struct config_api *api, const char *key)
{
	static const struct outgoing nothing;
	struct api_head head = { .n_headers = 0 };
	bool ok = api->format->head(&api->settings, &nothing, key, &head);

	crypto_wipe(&head, sizeof(head));
	return ok;
}

/* The API of one of the account's routes that does not take the key; NULL: all
 * do. */
static const struct config_api *
find_misfit(const struct config *c, const struct account *a, const char *key,
	    const char **route_r)
{
	for (size_t i = 0; i < a->n_routes; i++) {
		const struct route *r = route_find(&c->routes, a->routes[i].id);
		const struct config_api *api =
		    r != NULL && r->api != NULL ? config_api(c, r->api) : NULL;

		*route_r = a->routes[i].id;
		if (api != NULL && !takes_key(api, key))
			return api;
	}
	return NULL;
}

/* Its messages would wait in the queue for a key that can be used. api_key
 * NULL: the one it has. */
static int
check_key_form(struct manage *m, const struct account *a, const char *api_key)
{
	const struct config *c = m->services->config;
	const struct config_api *api = NULL;
	char old[KEY_MAX + 1] = "";
	const char *route;
	bool disabled;

	if (api_key == NULL &&
	    keystore_api_key(m->services->keystore, a->id, old, &disabled) < 0)
		return disk_failed(m);
	if (api_key != NULL || old[0] != '\0')
		api =
		    find_misfit(c, a, api_key != NULL ? api_key : old, &route);
	crypto_wipe(old, sizeof(old));
	if (api == NULL)
		return EX_OK;
	return manage_fail(
	    m, EX_DATAERR,
	    "The account's key for the API is not of the form that [api %s] "
	    "takes, where the route \"%s\" leads; txmilter.conf(5) says under "
	    "\"format = %s\" how it is written",
	    api->name, route, api->format->name);
}

/* Makes or changes the account as the request says; under the lock. */
static int
put_account(struct manage *m, const char *id)
{
	struct keystore *ks = m->services->keystore;
	const char *api_key = request_option(m->request, "api-key-file");
	bool is_new, has_api_key;
	struct account *a;
	size_t changes = 0;
	int code = keystore_account(ks, id, &a, &has_api_key);

	if (code < 0)
		return disk_failed(m);
	is_new = code == 0;
	if (api_key != NULL && !key_is_plausible(api_key, strlen(api_key))) {
		account_free(&a);
		return manage_fail(m, EX_DATAERR,
				   "--api-key-file: what is in it is no key");
	}
	if (is_new)
		a = account_new(id);
	code = apply_account_options(m, a, &changes);
	if (code == EX_OK && is_new)
		code = check_new_account(m, a, api_key);
	if (code == EX_OK &&
	    (api_key != NULL || request_option(m->request, "route") != NULL))
		code = check_key_form(m, a, api_key);
	if (code == EX_OK && (is_new || changes > 0 || api_key != NULL) &&
	    keystore_put_account(ks, a, api_key) != 0)
		code = disk_failed(m);
	account_free(&a);
	return code;
}

static const char *
status_word(const struct keystore_key *k, int64_t now)
{
	if (k->status == KEYSTORE_DISABLED)
		return "disabled";
	if (k->expires != 0 && k->expires <= now)
		return "expired";
	return k->not_before > now ? "not yet" : "enabled";
}

/* --- making keys --- */

static int
read_time(struct manage *m, const char *option, int64_t *time_r)
{
	const char *text = request_option(m->request, option);

	if (text == NULL ||
	    manage_parse_time(text, (int64_t)time(NULL), time_r))
		return EX_OK;
	return manage_fail(m, EX_USAGE,
			   "--%s: \"%.80s\" is not a time; write 30d, 12h, "
			   "2026-12-31 or 2026-12-31T12:00:00Z",
			   option, text);
}

static int
read_key_options(struct manage *m, struct keystore_key *k)
{
	const char *label = request_option(m->request, "label");
	const char *login = request_option(m->request, "login");
	int code;

	if (label != NULL && !keystore_label_is_valid(label))
		return manage_fail(m, EX_USAGE,
				   "--label: at most %d bytes of printable "
				   "text",
				   KEYSTORE_LABEL_MAX);
	if (label != NULL)
		memcpy(k->label, label, strlen(label) + 1);
	if (login != NULL && !keystore_login_is_valid(login))
		return manage_fail(m, EX_USAGE,
				   "--login: at most %d bytes of printable "
				   "text",
				   KEYSTORE_LOGIN_MAX);
	if (login != NULL)
		memcpy(k->login, login, strlen(login) + 1);
	code = read_time(m, "not-before", &k->not_before);
	return code != EX_OK ? code : read_time(m, "expires", &k->expires);
}

/* Makes the key and shows it. */
static int
make_key(struct manage *m, struct keystore_key *k)
{
	char key[KEYSTORE_KEY_LEN + 1];

	if (keystore_make(m->services->keystore, k, key) != 0)
		return disk_failed(m);
	report_text(&m->report, "key", key);
	report_text(&m->report, "key_id", k->key_id);
	report_text(&m->report, "account", k->account);
	if (k->login[0] != '\0')
		report_text(&m->report, "login", k->login);
	report_note(&m->report, "This is the only time the key is shown.");
	crypto_wipe(key, sizeof(key));
	log_info("control", "key result=made key=%s account=%s", k->key_id,
		 k->account);
	return EX_OK;
}

int
manage_key_add(struct manage *m)
{
	const char *account = request_option(m->request, "account");
	struct keystore_key k = { .status = KEYSTORE_ENABLED,
				  .created = (int64_t)time(NULL) };
	int code;

	if (account == NULL)
		return manage_fail(m, EX_USAGE,
				   "key add: needs --account NAME");
	if (!account_id_is_valid(account))
		return manage_fail(m, EX_USAGE,
				   "--account: \"%.80s\" is not a name; it has "
				   "1 to %d small letters, digits, '.', '_' "
				   "and '-'",
				   account, ACCOUNT_ID_MAX);
	code = read_key_options(m, &k);
	if (code == EX_OK) {
		pthread_mutex_lock(&changing_accounts);
		code = put_account(m, account);
		pthread_mutex_unlock(&changing_accounts);
	}
	if (code != EX_OK)
		return code;
	memcpy(k.account, account, strlen(account) + 1);
	return make_key(m, &k);
}

int
manage_key_rotate(struct manage *m)
{
	struct keystore *ks = m->services->keystore;
	int64_t now = (int64_t)time(NULL);
	struct keystore_key old,
	    fresh = { .status = KEYSTORE_ENABLED, .created = now };
	int64_t until = now;
	int code, found;
	const char *id = operand_key(m, &code);

	if (id == NULL || (code = read_time(m, "grace", &until)) != EX_OK)
		return code;
	found = keystore_key(ks, id, &old);
	if (found != 1)
		return found == 0 ? no_such_key(m, id) : disk_failed(m);
	if (old.status != KEYSTORE_ENABLED ||
	    (old.expires != 0 && old.expires <= now))
		return manage_fail(m, EX_USAGE,
				   "%s: the key is %s; enable it first, or "
				   "make a new one with key add",
				   id, status_word(&old, now));
	if (old.expires != 0 && until > old.expires)
		until = old.expires;
	memcpy(fresh.account, old.account, sizeof(fresh.account));
	memcpy(fresh.label, old.label, sizeof(fresh.label));
	memcpy(fresh.login, old.login, sizeof(fresh.login));
	fresh.not_before = old.not_before;
	fresh.expires = old.expires;
	code = make_key(m, &fresh);
	if (code != EX_OK)
		return code;
	/* Not removed: what it sent may wait in Postfix's queue. */
	found = keystore_set_expires(ks, id, until);
	if (found < 0)
		return disk_failed(m);
	report_text(&m->report, "old_key_id", id);
	report_time(&m->report, "old_key_until", until);
	return EX_OK;
}

int
manage_key_import(struct manage *m)
{
	const char *first = request_operand(m->request, 0);
	unsigned long first_line = first ? strtoul(first, NULL, 10) : 1;
	char *error;
	int code;
	long n;

	pthread_mutex_lock(&changing_accounts);
	n = keystore_import(m->services->keystore, m->request->input,
			    m->request->input_len, first_line, &error);
	pthread_mutex_unlock(&changing_accounts);
	if (n >= 0) {
		report_number(&m->report, "lines", (uint64_t)n);
		return EX_OK;
	}
	code = manage_fail(m, EX_DATAERR, "%s", error);
	free(error);
	return code;
}

/* --- looking at keys --- */

struct listing {
	struct manage *m;
	const char *account; /* NULL: all */
	size_t left;
	int64_t now;
	char last[KEY_ID_LEN + 1];
	bool more;
	bool exported;
};

static void
list_key(struct listing *l, const struct keystore_key *k)
{
	char created[REPORT_TIME_SIZE], expires[REPORT_TIME_SIZE];
	char used[REPORT_TIME_SIZE];

	if (l->exported) {
		(void)keystore_export_key(k, l->m->out);
		return;
	}
	report_row(&l->m->report,
		   (const char *[]){ k->key_id, k->account,
				     status_word(k, l->now),
				     report_format_time(k->created, created),
				     report_format_time(k->expires, expires),
				     report_format_time(k->last_used, used),
				     k->login, k->label });
}

static bool
on_key(void *arg, const struct keystore_key *k)
{
	struct listing *l = arg;

	if (l->account != NULL && strcmp(l->account, k->account) != 0)
		return true;
	if (l->left == 0) {
		l->more = true;
		return false;
	}
	l->left--;
	memcpy(l->last, k->key_id, sizeof(l->last));
	list_key(l, k);
	return true;
}

static bool
on_exported_account(void *arg, const struct account *a)
{
	struct listing *l = arg;

	if (l->account == NULL || strcmp(l->account, a->id) == 0)
		(void)keystore_export_account(a, l->m->out);
	return true;
}

static int
begin_listing(struct manage *m, struct listing *l)
{
	const char *most = request_option(m->request, "most");
	const char *after = request_option(m->request, "after");
	char *end = NULL;
	bool exported = request_has(m->request, "export");
	/* An export without an end in it is whole, or an error. */
	unsigned long n = most	     ? strtoul(most, &end, 10)
			  : exported ? SIZE_MAX
				     : LIST_ROWS;

	*l = (struct listing){ .m = m,
			       .account = request_operand(m->request, 0),
			       .left = n,
			       .now = (int64_t)time(NULL),
			       .exported = exported };
	if (n == 0 || (most != NULL && n > LIST_ROWS_MAX) ||
	    (end != NULL && *end != '\0'))
		return manage_fail(m, EX_USAGE, "--most: 1 to %d",
				   LIST_ROWS_MAX);
	if (after != NULL && !key_id_is_valid(after))
		return manage_fail(m, EX_USAGE, "--after: not a key id");
	return EX_OK;
}

int
manage_key_list(struct manage *m)
{
	static const char *const columns[] = { "key_id",  "account",
					       "status",  "created",
					       "expires", "last_used",
					       "login",	  "label" };
	struct keystore *ks = m->services->keystore;
	const char *after = request_option(m->request, "after");
	struct listing l;
	int code = begin_listing(m, &l);
	bool read;

	if (code != EX_OK)
		return code;
	if (l.exported) {
		dynbuf_truncate(m->out, 0);
		read =
		    (after != NULL || keystore_each_account(
					  ks, NULL, on_exported_account, &l)) &&
		    keystore_each_key(ks, after, on_key, &l);
		return read ? EX_OK : disk_failed(m);
	}
	report_table(&m->report, "keys", columns, 8);
	read = keystore_each_key(ks, after, on_key, &l);
	report_table_end(&m->report);
	if (!read)
		return disk_failed(m);
	if (l.more && m->request->json)
		report_text(&m->report, "more_after", l.last);
	else if (l.more)
		report_note(&m->report, "There are more: --after %s", l.last);
	return EX_OK;
}

/* A key that the API told us of. */
static int
show_cached(struct manage *m, const char *id)
{
	struct key_record r;
	bool found = key_cache_get_by_id(m->services->key_cache, id, &r);
	char *account;

	if (!found || r.account == NULL) {
		key_record_clear(&r);
		return no_such_key(m, id);
	}
	account = account_to_json(r.account);
	report_text(&m->report, "key_id", id);
	report_text(&m->report, "source", "api");
	report_time(&m->report, "checked", r.checked);
	report_json(&m->report, "account", account, strlen(account));
	free(account);
	key_record_clear(&r);
	return EX_OK;
}

static void
show_key(struct manage *m, const struct keystore_key *k)
{
	struct report *r = &m->report;

	report_text(r, "key_id", k->key_id);
	report_text(r, "source", "local");
	report_text(r, "label", k->label);
	report_text(r, "login", k->login);
	report_text(r, "status", status_word(k, (int64_t)time(NULL)));
	report_time(r, "created", k->created);
	report_time(r, "not_before", k->not_before);
	report_time(r, "expires", k->expires);
	report_time(r, "last_used", k->last_used);
}

int
manage_key_show(struct manage *m)
{
	struct keystore_key k;
	struct account *a;
	bool has_api_key = false;
	int code, found;
	char *json;
	const char *id = operand_key(m, &code);

	if (id == NULL)
		return code;
	found = keystore_key(m->services->keystore, id, &k);
	if (found == 0)
		return show_cached(m, id);
	if (found != 1 || keystore_account(m->services->keystore, k.account, &a,
					   &has_api_key) != 1)
		return disk_failed(m);
	show_key(m, &k);
	json = account_to_json(a);
	report_json(&m->report, "account", json, strlen(json));
	report_switch(&m->report, "has_api_key", has_api_key);
	free(json);
	account_free(&a);
	return EX_OK;
}

/* --- changing keys --- */

static int
set_status(struct manage *m, enum keystore_status status, const char *word)
{
	int code, found;
	const char *id = operand_key(m, &code);

	if (id == NULL)
		return code;
	found = keystore_set_status(m->services->keystore, id, status);
	if (found != 1)
		return found == 0 ? no_such_key(m, id) : disk_failed(m);
	log_info("control", "key result=%s key=%s", word, id);
	report_text(&m->report, word, id);
	return EX_OK;
}

int
manage_key_disable(struct manage *m)
{
	return set_status(m, KEYSTORE_DISABLED, "disabled");
}

int
manage_key_enable(struct manage *m)
{
	return set_status(m, KEYSTORE_ENABLED, "enabled");
}

/* Of a key that was made here: whether another is good is the API's to say. */
int
manage_key_revoke(struct manage *m)
{
	int code, found;
	const char *id = operand_key(m, &code);

	if (id == NULL)
		return code;
	found = keystore_revoke(m->services->keystore, id);
	if (found != 1)
		return found == 0 ? no_such_key(m, id) : disk_failed(m);
	log_info("control", "key result=revoked key=%s", id);
	report_text(&m->report, "revoked", id);
	return EX_OK;
}

int
manage_key_flush(struct manage *m)
{
	const char *id = NULL;
	int code = EX_OK;
	int rc;

	if (request_operand(m->request, 0) != NULL) {
		id = operand_key(m, &code);
		if (id == NULL)
			return code;
		rc = key_check_forget(m->services->keys, id);
	} else {
		rc = key_check_forget_all(m->services->keys);
	}
	if (rc != 0)
		return disk_failed(m);
	log_info("control", "key result=flushed key=%s", id ? id : "all");
	report_text(&m->report, "flushed", id ? id : "all");
	return EX_OK;
}

/* --- routes --- */

static void
list_route(struct manage *m, const struct account *a,
	   const struct account_route *r)
{
	report_row(
	    &m->report,
	    (const char *[]){ a->id, r->id, r->name,
			      account_default_route(a) == r ? "yes" : "no" });
}

static bool
on_account(void *arg, const struct account *a)
{
	struct manage *m = arg;
	const char *only = request_operand(m->request, 0);

	for (size_t i = 0; i < a->n_routes; i++) {
		if (only == NULL || strcmp(only, a->id) == 0)
			list_route(m, a, &a->routes[i]);
	}
	return true;
}

static const char *const route_columns[] = { "account", "route", "name",
					     "default" };

int
manage_route_list(struct manage *m)
{
	bool read;

	report_table(&m->report, "routes", route_columns, 4);
	read =
	    keystore_each_account(m->services->keystore, NULL, on_account, m);
	report_table_end(&m->report);
	return read ? EX_OK : disk_failed(m);
}

/* The account that the first operand names (account_free()), or NULL and the
 * error is written. */
static struct account *
operand_account(struct manage *m, int *code_r)
{
	const char *id = request_operand(m->request, 0);
	struct account *a = NULL;
	bool has_api_key;
	int found;

	*code_r = EX_OK;
	if (id == NULL) {
		*code_r = manage_fail(m, EX_USAGE, "Which account?");
		return NULL;
	}
	found = keystore_account(m->services->keystore, id, &a, &has_api_key);
	if (found < 0)
		*code_r = disk_failed(m);
	else if (found == 0)
		*code_r = manage_fail(m, EX_NOUSER,
				      "%.80s: no account of this machine has "
				      "that name (see route list)",
				      id);
	return a;
}

int
manage_route_show(struct manage *m)
{
	const char *id = request_operand(m->request, 1);
	const struct account_route *route;
	int code;
	struct account *a = operand_account(m, &code);

	if (a == NULL)
		return code;
	route = id ? account_find_route(a, id) : NULL;
	if (route == NULL) {
		code = manage_fail(m, EX_NOUSER,
				   "%s: the account has no route \"%.80s\"",
				   a->id, id ? id : "");
	} else {
		report_text(&m->report, "account", a->id);
		report_text(&m->report, "route", route->id);
		report_text(&m->report, "name", route->name);
		report_switch(&m->report, "default",
			      account_default_route(a) == route);
	}
	account_free(&a);
	return code;
}

/* How a route hands over; NULL: it is not configured. */
static void
report_way(struct manage *m, const struct route *r)
{
	if (r == NULL) {
		report_text(&m->report, "handoff",
			    "none: the route is not configured");
		return;
	}
	report_text(&m->report, "handoff", handoff_name(r));
	if (r->handoff == ROUTE_TRANSPORT)
		report_text(&m->report, "transport", r->transport);
	else
		report_text(&m->report, "api", r->api);
}

int
manage_route_test(struct manage *m)
{
	const struct config *c = m->services->config;
	const char *named = request_operand(m->request, 1);
	const struct account_route *route;
	struct smtp_reply refusal;
	int code;
	struct account *a = operand_account(m, &code);

	if (a == NULL)
		return code;
	route = account_choose_route(
	    a, named, login_dialect(c, a)->route_header, &refusal);
	report_text(&m->report, "account", a->id);
	report_text(&m->report, "named", named ? named : "");
	if (route != NULL) {
		report_text(&m->report, "route", route->id);
		report_way(m, route_find(&c->routes, route->id));
	} else {
		report_number(&m->report, "code", (uint64_t)refusal.code);
		report_text(&m->report, "enhanced", refusal.enhanced);
		report_text(&m->report, "refusal", refusal.text);
	}
	account_free(&a);
	return EX_OK;
}
