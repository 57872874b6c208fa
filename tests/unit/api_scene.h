/* SPDX-License-Identifier: MIT */
/*
 * api_scene: what tests of the hand-off stand on. The services around it with
 * a real store, memory of what was sent, seal, metrics and circuit breaker;
 * http_pool, log and what is wanted of key_check are stand-ins, so a test that
 * links this links none of those.
 *
 * Recipients are r0@x.example, r1@x.example, ...; the script says by a letter
 * for each what its calls get, the last one for all behind it:
 *
 *   a  200, taken            r  400 "No r0"        f  http_pool_submit() says
 * -1 o  500                   m  404                s  the pool stops, not sent
 *   p  429, wait 100 s       k  401                n  no answer, not sent
 *   *  scene.special                               t  no answer in time, sent
 */
#ifndef TXM_TESTS_UNIT_API_SCENE_H
#define TXM_TESTS_UNIT_API_SCENE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "milter/config.h"
#include "milter/http_pool.h"
#include "milter/services.h"
#include "milter/submission.h"

#define SCENE_CALLS_MAX 4000
#define SCENE_KEY "the-key-of-acme"
#define SCENE_URL "http://api.example"

struct outgoing;
struct store;

struct scene_answer {
	enum http_result result;
	unsigned status;
	const char *body;
	unsigned retry_after;
	bool sent;
};

struct scene {
	char dir[40];
	struct store *store;
	struct config config;
	struct config_api api, *apis[1]; /* "main" */
	struct services services;
	struct scene_answer special;
};

/* One at a time. */
void scene_start(struct scene *s);
void scene_stop(struct scene *s);

/* To n recipients, with a Message-ID and HTML. */
struct outgoing *scene_outgoing(size_t n);

/* Its request is over API_REQUEST_MAX from now on. */
void scene_make_too_large(struct outgoing *o);

/* Of another secret than the services' ('s'), when the letter is another. */
struct crypto_seal *scene_seal(const struct scene *s, char letter);

/* --- http_pool ------------------------------------------------------------ */

/* From now on; forgets the calls made so far. */
void scene_script(const char *letters);

/* A call that was made. */
struct scene_call {
	size_t recipient;
	char *url;
	char *headers; /* one a line */
	char *body;
	unsigned timeout_ms;
	bool background;
};
size_t scene_calls(void);
const struct scene_call *scene_call(size_t i);
/* How often that recipient was called. */
size_t scene_called(size_t recipient);
/* "02": recipients 0 and 2 were called, once each, in any order. */
void scene_assert_called(const char *what, const char *recipients);
/* Under way now, and at most. */
size_t scene_waiting(void);
size_t scene_most(void);

/* Answers one of those under way, by its place, in the caller's thread. */
void scene_answer(size_t i);
/* All, those begun meanwhile too; each time the first, the last, or any. */
enum scene_order { SCENE_FIRST, SCENE_LAST, SCENE_ANY };
void scene_answer_all(enum scene_order order);
/* The same, from now on, in a thread, which scene_stop() ends too. */
void scene_answer_in_thread(enum scene_order order);
void scene_stop_thread(void);

/* --- the circuit breaker -------------------------------------------------- */

enum scene_health {
	SCENE_UP,
	SCENE_DOWN,    /* calls are not made */
	SCENE_PROBE,   /* one call of who can wait is let through */
	SCENE_LONELY,  /* one call is */
	SCENE_PAUSING, /* the key "k1" pauses */
};
/* As if it had just been found out. */
void scene_health(struct scene *s, enum scene_health health);
bool scene_is_open(const struct scene *s);
/* A probe was let through and nobody said what became of it. */
bool scene_is_probing(const struct scene *s);

/* --- what was said -------------------------------------------------------- */

/* A line of the log has it. */
bool scene_logged(const char *text);
void scene_forget_log(void);

/* "txmilter_calls_total{result=\"known\"}" */
unsigned long scene_metric(const struct scene *s, const char *name);

/* key_check_refused() was called so often; the last time with these. */
struct scene_refused {
	unsigned n;
	char account[65];
	char key[257];
	bool local;
};
extern struct scene_refused scene_refused;

/* The API has taken that already (SENT_KEY_LEN bytes). */
void scene_remember(struct scene *s, const uint8_t *key);

#endif
