/* SPDX-License-Identifier: MIT */
/*
 * api_health: whether it makes sense to call an API now: a circuit breaker,
 * and pauses an API asked for.
 *
 * After HEALTH_FAILURES calls in a row without an answer, or with a 5xx (who
 * calls tells one of each message), the circuit is open: a direct hand-off goes
 * to the queue without waiting, and a delivery out of the queue is put off
 * without a call. One call at a time is let through as a probe, the first after
 * HEALTH_RETRY_MIN_MS, each later one after twice the time, HEALTH_RETRY_MAX_MS
 * at most. The first call that is answered closes it. Probes are for who can
 * wait (the queue); who cannot may probe only when nobody did for
 * HEALTH_LONELY_MS.
 *
 * 429 and 420 are no failures. With Retry-After, calls with the same key pause
 * until then (HEALTH_PAUSE_MAX_S at most); others go on.
 *
 * Times are of the monotonic clock, in milliseconds. Thread-safe.
 */
#ifndef TXM_MILTER_API_HEALTH_H
#define TXM_MILTER_API_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEALTH_FAILURES 5
#define HEALTH_RETRY_MIN_MS 1000
#define HEALTH_RETRY_MAX_MS 30000
#define HEALTH_LONELY_MS 60000
#define HEALTH_PAUSE_MAX_S 3600
/* Keys that pause at once; one more does not. */
#define HEALTH_PAUSES_MAX 10000

struct api_health;

enum health_advice {
	HEALTH_GO,
	HEALTH_PROBE, /* go; the result must be told */
	HEALTH_DOWN,  /* the circuit is open */
	HEALTH_PAUSE, /* the API asked for a pause */
};

/* name: of the API, for the log; copied. */
struct api_health *api_health_new(const char *name);
void api_health_free(struct api_health **h);

/* Before a call. key_id: whose; may_wait: nobody's client waits for it. */
enum health_advice api_health_ask(struct api_health *h, const char *key_id,
				  bool may_wait, int64_t now);

/* After each call that says something new. status 0: no answer; retry_after:
 * seconds, 0 when the API said none. A change of state is logged. */
void api_health_told(struct api_health *h, const char *key_id,
		     enum health_advice advice, unsigned status,
		     unsigned retry_after, int64_t now);

/* A call was not made after all, or says nothing new: a probe is given back. */
void api_health_no_news(struct api_health *h, enum health_advice advice);

struct api_health_state {
	bool open;
	unsigned failures;    /* in a row */
	unsigned paused;      /* keys */
	unsigned long opened; /* times since start */
};
void api_health_state(struct api_health *h, int64_t now,
		      struct api_health_state *state_r);

#endif
