/* SPDX-License-Identifier: MIT */
/*
 * A set of a few places for each value of a name's hash, as in a processor's
 * cache: no lists, no growth, the cost of a call is bounded whatever the names.
 *
 * Time comes in milliseconds, and a token takes seconds/count of a second. So
 * that nothing is ever rounded away, what has come of the next token is kept
 * in parts, of which a token has `seconds * 1000` and a millisecond brings
 * `count`. Each product below fits 64 bits by the bounds in the header.
 */
#include "rate_limit.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "need.h"

#define NAME_LEN 16
#define SECRET_LEN 16
#define LOCKS 64

struct rule {
	unsigned count, seconds;
};

struct bucket {
	uint8_t name[NAME_LEN];
	int64_t at;	  /* when `tokens` and `parts` were true */
	uint64_t parts;	  /* of the next token */
	struct rule rule; /* count 0: an empty place */
	unsigned tokens;  /* below rule.count: a full one is forgotten */
};

struct rate_limit {
	uint8_t secret[SECRET_LEN];
	size_t sets, ways;
	struct bucket
	    *buckets; /* set by set; set i guarded by lock i % LOCKS */
	pthread_mutex_t locks[LOCKS];
};

/* A name's place, and what its bucket there is looked up for. */
struct call {
	uint8_t name[NAME_LEN];
	struct rule rule;
	int64_t now;
	struct bucket *set;
	pthread_mutex_t *lock;
};

struct rate_limit *
rate_limit_new(size_t max_buckets)
{
	struct rate_limit *r = need(calloc(1, sizeof(*r)));

	r->ways = RATE_LIMIT_WAYS;
	if (max_buckets < r->ways)
		r->ways = max_buckets > 0 ? max_buckets : 1;
	r->sets = max_buckets > r->ways ? max_buckets / r->ways : 1;
	r->buckets = need(calloc(r->sets * r->ways, sizeof(*r->buckets)));
	crypto_random(r->secret, sizeof(r->secret));
	for (size_t i = 0; i < LOCKS; i++) {
		if (pthread_mutex_init(&r->locks[i], NULL) != 0)
			abort();
	}
	return r;
}

void
rate_limit_free(struct rate_limit **r)
{
	if (*r == NULL)
		return;
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&(*r)->locks[i]);
	free((*r)->buckets);
	free(*r);
	*r = NULL;
}

static unsigned
at_most(unsigned n, unsigned max)
{
	return n < max ? n : max;
}

/* Ends with the set's lock held. */
static struct call
begin(struct rate_limit *r, const char *kind, const char *name,
      struct rule rule, int64_t now)
{
	const struct crypto_piece v[] = {
		{ r->secret, sizeof(r->secret) },
		{ kind, strlen(kind) },
		{ name, strlen(name) },
	};
	uint8_t hash[CRYPTO_HASH_LEN];
	struct call c = { .rule = rule, .now = now };
	uint64_t place;
	size_t i;

	crypto_hash_pieces(v, sizeof(v) / sizeof(v[0]), hash);
	memcpy(c.name, hash, sizeof(c.name));
	memcpy(&place, hash + sizeof(c.name), sizeof(place));
	i = (size_t)(place % r->sets);
	c.set = r->buckets + i * r->ways;
	c.lock = &r->locks[i % LOCKS];
	pthread_mutex_lock(c.lock);
	return c;
}

static bool
is_none(struct rule rule)
{
	return rule.count == 0 || rule.seconds == 0;
}

static struct rule
bounded(unsigned count, unsigned seconds)
{
	return (struct rule){ at_most(count, RATE_LIMIT_COUNT_MAX),
			      at_most(seconds, RATE_LIMIT_SECONDS_MAX) };
}

static void
forget(struct bucket *b)
{
	memset(b, 0, sizeof(*b));
}

/* What has come since it was last looked at; forgets a bucket that is full. */
static void
refill(struct bucket *b, int64_t now)
{
	const uint64_t count = b->rule.count, seconds = b->rule.seconds;
	uint64_t ms, whole, parts, came;

	if (count == 0 || now <= b->at)
		return;
	ms = (uint64_t)now - (uint64_t)b->at;
	if (ms >= seconds * 1000) {
		forget(b);
		return;
	}
	whole = ms / 1000 * count;
	parts = whole % seconds * 1000 + ms % 1000 * count + b->parts;
	came = whole / seconds + parts / (seconds * 1000);
	if (came >= count - b->tokens) {
		forget(b);
		return;
	}
	b->tokens += (unsigned)came;
	b->parts = parts % (seconds * 1000);
	b->at = now;
}

/* Parts are of another size under another rule: they are few, and dropped. */
static void
set_rule(struct bucket *b, struct rule rule)
{
	if (b->rule.count == rule.count && b->rule.seconds == rule.seconds)
		return;
	b->rule = rule;
	b->parts = 0;
	if (b->tokens >= rule.count)
		forget(b);
}

/* The name's bucket as it is now; NULL when it is full. */
static struct bucket *
find(const struct rate_limit *r, const struct call *c)
{
	for (size_t i = 0; i < r->ways; i++) {
		struct bucket *b = &c->set[i];

		if (b->rule.count == 0 ||
		    memcmp(b->name, c->name, NAME_LEN) != 0)
			continue;
		refill(b, c->now);
		if (b->rule.count != 0)
			set_rule(b, c->rule);
		return b->rule.count != 0 ? b : NULL;
	}
	return NULL;
}

static bool
is_fuller(const struct bucket *a, const struct bucket *b)
{
	return (uint64_t)a->tokens * b->rule.count >
	       (uint64_t)b->tokens * a->rule.count;
}

/* A full bucket for the name, in an empty place or that of the fullest. */
static struct bucket *
add(const struct rate_limit *r, const struct call *c)
{
	struct bucket *best = &c->set[0];

	for (size_t i = 0; i < r->ways; i++) {
		struct bucket *b = &c->set[i];

		refill(b, c->now);
		if (b->rule.count == 0) {
			best = b;
			break;
		}
		if (is_fuller(b, best))
			best = b;
	}
	forget(best);
	memcpy(best->name, c->name, NAME_LEN);
	best->at = c->now;
	best->rule = c->rule;
	best->tokens = c->rule.count;
	return best;
}

/* Whole seconds until the bucket has n tokens, which it has not now. At least
 * 1: a token that is not whole lacks a part of it. */
static unsigned
time_until(const struct bucket *b, unsigned n)
{
	uint64_t lacking = (uint64_t)(n - b->tokens) * b->rule.seconds;

	lacking -= b->parts / 1000;
	return (unsigned)((lacking + b->rule.count - 1) / b->rule.count);
}

static unsigned
ask(struct rate_limit *r, const char *kind, const char *name, unsigned n,
    struct rule rule, int64_t now, bool take)
{
	struct call c;
	struct bucket *b;
	unsigned wait = 0;

	if (is_none(rule) || n == 0)
		return 0;
	n = at_most(n, rule.count);
	c = begin(r, kind, name, rule, now);
	b = find(r, &c);
	if (b != NULL && b->tokens < n)
		wait = time_until(b, n);
	if (take && wait == 0) {
		if (b == NULL)
			b = add(r, &c);
		b->tokens -= n;
	}
	pthread_mutex_unlock(c.lock);
	return wait;
}

unsigned
rate_limit_take(struct rate_limit *r, const char *kind, const char *name,
		unsigned n, unsigned count, unsigned seconds, int64_t now_ms)
{
	return ask(r, kind, name, n, bounded(count, seconds), now_ms, true);
}

unsigned
rate_limit_ask(struct rate_limit *r, const char *kind, const char *name,
	       unsigned n, unsigned count, unsigned seconds, int64_t now_ms)
{
	return ask(r, kind, name, n, bounded(count, seconds), now_ms, false);
}

void
rate_limit_return(struct rate_limit *r, const char *kind, const char *name,
		  unsigned n, unsigned count, unsigned seconds, int64_t now_ms)
{
	struct rule rule = bounded(count, seconds);
	struct call c;
	struct bucket *b;

	if (is_none(rule))
		return;
	c = begin(r, kind, name, rule, now_ms);
	b = find(r, &c);
	if (b != NULL && n >= b->rule.count - b->tokens)
		forget(b);
	else if (b != NULL)
		b->tokens += n;
	pthread_mutex_unlock(c.lock);
}

size_t
rate_limit_count(struct rate_limit *r, int64_t now_ms)
{
	size_t n = 0;

	for (size_t i = 0; i < r->sets; i++) {
		pthread_mutex_lock(&r->locks[i % LOCKS]);
		for (size_t j = 0; j < r->ways; j++) {
			struct bucket *b = &r->buckets[i * r->ways + j];

			refill(b, now_ms);
			n += b->rule.count != 0;
		}
		pthread_mutex_unlock(&r->locks[i % LOCKS]);
	}
	return n;
}
