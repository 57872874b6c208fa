/* SPDX-License-Identifier: MIT */
#include "control_server.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "control.h"
#include "crypto.h"
#include "log.h"
#include "manage.h"
#include "need.h"
#include "policy/dynbuf.h"
#include "request.h"
#include "services.h"
#include "trial.h"

struct control_server {
	struct services *services;
	char nonce[CONTROL_NONCE_LEN + 1]; /* "": none was given, or used up */
	char proof[CONTROL_MAC_LEN + 1];   /* of the request that comes */
	bool refused;			   /* a proof was wrong */
	struct dynbuf body;
	struct trial *trial;
};

struct control_server *
control_server_new(struct services *services)
{
	struct control_server *c = need(calloc(1, sizeof(*c)));

	c->services = services;
	dynbuf_init(&c->body, CONTROL_REQUEST_MAX);
	return c;
}

/* Keys may be in a request. */
static void
forget_body(struct control_server *c)
{
	if (c->body.data != NULL)
		crypto_wipe(c->body.data, c->body.cap);
	dynbuf_clear(&c->body);
}

void
control_server_free(struct control_server **cp)
{
	struct control_server *c = *cp;

	if (c == NULL)
		return;
	forget_body(c);
	trial_free(&c->trial);
	crypto_wipe(c, sizeof(*c));
	free(c);
	*cp = NULL;
}

void
control_server_begin(struct control_server *c, const char *proof)
{
	size_t len = strlen(proof);

	forget_body(c);
	trial_free(&c->trial);
	memset(c->proof, 0, sizeof(c->proof));
	/* What is too long is wrong, and so is what is left of it. */
	memcpy(c->proof, proof, len <= CONTROL_MAC_LEN ? len : 0);
}

/* What cannot be authentic is not stored: a hello has no body. */
void
control_server_body(struct control_server *c, const char *data, size_t len)
{
	if (c->nonce[0] == '\0' || c->refused)
		return;
	if (c->body.data == NULL)
		(void)dynbuf_room(&c->body, CONTROL_SECRETS_FIT);
	(void)dynbuf_add(&c->body, data, len);
}

static void
new_nonce(struct control_server *c)
{
	uint8_t bytes[CONTROL_NONCE_LEN / 2];

	crypto_random(bytes, sizeof(bytes));
	crypto_hex(c->nonce, bytes, sizeof(bytes));
}

/* Uses the nonce up. */
static bool
proof_is_right(struct control_server *c)
{
	const struct services *s = c->services;
	const struct crypto_piece pieces[] = {
		{ c->nonce, strlen(c->nonce) },
		{ dynbuf_str(&c->body), c->body.len },
	};
	uint8_t mac[CRYPTO_HASH_LEN];
	char hex[CONTROL_MAC_LEN + 1];
	bool right;

	crypto_hmac(s->admin_secret, s->admin_secret_len, pieces, 2, mac);
	crypto_hex(hex, mac, sizeof(mac));
	right =
	    c->nonce[0] != '\0' && crypto_equal(hex, c->proof, CONTROL_MAC_LEN);
	c->nonce[0] = '\0';
	crypto_wipe(hex, sizeof(hex));
	return right;
}

static void
answer(struct dynbuf *out, int code, const char *nonce, const char *text)
{
	(void)dynbuf_addf(out, "%d %s\n%s", code, *nonce ? nonce : "-", text);
}

static void
run_request(struct control_server *c, struct dynbuf *out)
{
	struct dynbuf output;
	struct request r;
	const char *why;
	int code = EX_PROTOCOL;

	dynbuf_init(&output, CONTROL_ANSWER_MAX);
	(void)dynbuf_room(&output, CONTROL_SECRETS_FIT);
	if (request_parse(&r, dynbuf_str(&c->body), c->body.len, &why))
		code = manage_run(c->services, &r, &output, &c->trial);
	else
		(void)dynbuf_addf(&output, "The request cannot be read: %s\n",
				  why);
	request_clear(&r);
	new_nonce(c);
	answer(out, output.overflow ? EX_SOFTWARE : code, c->nonce,
	       output.overflow ? "The answer is too long\n"
			       : dynbuf_str(&output));
	/* A new key may be in it. */
	crypto_wipe(output.data, output.cap);
	dynbuf_clear(&output);
}

/* After a wrong proof every further one is refused without a look. */
static void
refuse(struct control_server *c, struct dynbuf *out)
{
	if (!c->refused)
		log_warning("control", "request result=refused reason=\"wrong "
				       "admin secret\"");
	c->refused = true;
	answer(out, EX_NOPERM, "", "The admin secret is wrong\n");
}

void
control_server_end(struct control_server *c, struct dynbuf *out)
{
	if (c->services->admin_secret_len == 0) {
		answer(out, EX_NOPERM, "",
		       "Management is off: the daemon found no admin_secret "
		       "when it started\n");
	} else if (!c->refused && strcmp(c->proof, CONTROL_HELLO) == 0) {
		new_nonce(c);
		answer(out, EX_OK, c->nonce, "");
	} else if (!c->refused && c->body.overflow) {
		/* Not all of it is there to be proved. */
		new_nonce(c);
		answer(out, EX_DATAERR, c->nonce, "The request is too long\n");
	} else if (c->refused || !proof_is_right(c)) {
		refuse(c, out);
	} else {
		run_request(c, out);
	}
	forget_body(c);
}

void
control_server_stopping(struct dynbuf *out)
{
	answer(out, EX_TEMPFAIL, "", "The daemon is stopping\n");
}

struct trial *
control_server_take_trial(struct control_server *c)
{
	struct trial *t = c->trial;

	c->trial = NULL;
	return t;
}
