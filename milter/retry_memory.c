/* SPDX-License-Identifier: MIT */
#include "retry_memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "policy/outgoing.h"
#include "store.h"

/* A record on disk: version, time (little-endian), submission id, the hashes
 * of the recipients that are done, sorted. Eight bytes of hash are enough to
 * tell a few thousand addresses apart. */
#define RECORD_VERSION 1
#define RECORD_HEAD (1 + 8 + SUBMISSION_ID_LEN)
#define RCPT_LEN 8
_Static_assert(RECORD_HEAD + RETRY_RECORD_MAX * RCPT_LEN <= STORE_VALUE_MAX,
	       "a full record fits in the store");

#define SWEEP_RECORDS 500

struct retry_memory {
	struct store *store;
	/* False only while the table is surely empty, as it is nearly always:
	 * then recall needs neither hash nor disk. Set under `lock`. */
	atomic_bool may_have;
	/* Guards the table on disk: reading, merging and writing a record is
	 * one step. Held while the disk is written (and a failure logged), for
	 * which only other writers wait. */
	pthread_mutex_t lock;
};

struct rcpt {
	uint8_t hash[RCPT_LEN];
};

struct record {
	int64_t time;
	uint8_t submission[SUBMISSION_ID_LEN];
	struct rcpt *done; /* sorted, each once; owned */
	size_t n;
};

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

static int
compare(const void *a, const void *b)
{
	return memcmp(a, b, RCPT_LEN);
}

static struct crypto_piece
piece(const char *text)
{
	return (struct crypto_piece){ text, text ? strlen(text) : 0 };
}

/* Neither recipients, which may be fewer when it comes again, nor Date and
 * Received, which a client may write anew. */
static void
hash_message(const char *account, const struct outgoing *o,
	     uint8_t hash_r[CRYPTO_HASH_LEN])
{
	const struct crypto_piece v[] = {
		piece(account),	       piece(o->message_id),
		piece(o->return_path), piece(o->from_name),
		piece(o->from_email),  piece(o->subject),
		piece(o->reply_to),    piece(o->tag),
		piece(o->template_id), piece(o->variables),
		piece(o->route_id),    { o->html, o->html ? o->html_len : 0 },
	};

	crypto_hash_pieces(v, sizeof(v) / sizeof(v[0]), hash_r);
}

/* The domain is the same in either case (RFC 5321 section 2.4), the local part
 * may not be. */
static struct rcpt
hash_recipient(const char *email)
{
	char *copy = need(strdup(email));
	char *at = strrchr(copy, '@');
	uint8_t hash[CRYPTO_HASH_LEN];
	struct rcpt r;

	for (char *p = at; p != NULL && *p != '\0'; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p += 'a' - 'A';
	}
	crypto_hash(copy, strlen(copy), hash);
	memcpy(r.hash, hash, RCPT_LEN);
	free(copy);
	return r;
}

static bool
record_decode(const uint8_t *value, size_t len, struct record *r)
{
	size_t list;
	uint64_t when = 0;

	if (len < RECORD_HEAD || value[0] != RECORD_VERSION)
		return false;
	list = len - RECORD_HEAD;
	if (list % RCPT_LEN != 0 || list / RCPT_LEN > RETRY_RECORD_MAX)
		return false;
	for (int i = 8; i >= 1; i--)
		when = when << 8 | value[i];
	r->time = (int64_t)when;
	memcpy(r->submission, value + 9, SUBMISSION_ID_LEN);
	r->n = list / RCPT_LEN;
	r->done = need(malloc(list + 1));
	memcpy(r->done, value + RECORD_HEAD, list);
	return true;
}

/* The caller frees. */
static uint8_t *
record_encode(const struct record *r, size_t *len_r)
{
	size_t list = r->n * RCPT_LEN;
	uint8_t *value = need(malloc(RECORD_HEAD + list));

	value[0] = RECORD_VERSION;
	for (int i = 1; i <= 8; i++)
		value[i] = (uint8_t)((uint64_t)r->time >> (8 * (i - 1)));
	memcpy(value + 9, r->submission, SUBMISSION_ID_LEN);
	if (list > 0)
		memcpy(value + RECORD_HEAD, r->done, list);
	*len_r = RECORD_HEAD + list;
	return value;
}

static bool
is_too_old(int64_t when, int64_t now)
{
	return when <= now - RETRY_MEMORY_SECONDS;
}

/* 1 found, r->done to be freed; 0 nothing that counts; -1 the disk failed
 * (logged). */
static int
read_record(struct retry_memory *m, const uint8_t message[CRYPTO_HASH_LEN],
	    int64_t now, struct record *r)
{
	size_t len;
	char *value;
	int rc = store_get(m->store, STORE_RETRY, message, CRYPTO_HASH_LEN,
			   &value, &len);

	if (rc != 1)
		return rc;
	if (!record_decode((const uint8_t *)value, len, r)) {
		log_warning("retry", "a record on disk is unreadable: ignored");
		rc = 0;
	} else if (is_too_old(r->time, now)) {
		free(r->done);
		rc = 0;
	}
	free(value);
	return rc;
}

static void
mark_done(struct retry_entry *e, const struct outgoing *o,
	  const struct record *r)
{
	for (size_t i = 0; i < e->n; i++) {
		struct rcpt h = hash_recipient(o->recipients[i].email);

		e->done[i] =
		    bsearch(&h, r->done, r->n, RCPT_LEN, compare) != NULL;
	}
}

struct retry_memory *
retry_memory_new(struct store *store)
{
	struct retry_memory *m = need(calloc(1, sizeof(*m)));

	m->store = store;
	atomic_init(&m->may_have, store_count(store, STORE_RETRY) > 0);
	if (pthread_mutex_init(&m->lock, NULL) != 0)
		abort();
	return m;
}

void
retry_memory_free(struct retry_memory **m)
{
	if (*m == NULL)
		return;
	pthread_mutex_destroy(&(*m)->lock);
	free(*m);
	*m = NULL;
}

void
retry_memory_recall(struct retry_memory *m, const char *account,
		    const struct outgoing *o, int64_t now,
		    struct retry_entry *entry_r)
{
	struct retry_entry *e = entry_r;
	struct record r;

	memset(e, 0, sizeof(*e));
	e->n = o->n_recipients;
	e->done = need(calloc(e->n + 1, sizeof(*e->done)));
	e->account = need(strdup(account));
	if (atomic_load(&m->may_have)) {
		hash_message(account, o, e->message);
		e->hashed = true;
		e->known = read_record(m, e->message, now, &r) == 1;
	}
	if (!e->known) {
		crypto_random(e->submission, sizeof(e->submission));
		return;
	}
	memcpy(e->submission, r.submission, sizeof(e->submission));
	mark_done(e, o, &r);
	free(r.done);
}

void
retry_entry_clear(struct retry_entry *e)
{
	free(e->done);
	free(e->account);
	memset(e, 0, sizeof(*e));
}

static void
message_of(const struct retry_entry *e, const struct outgoing *o,
	   uint8_t hash_r[CRYPTO_HASH_LEN])
{
	if (e->hashed)
		memcpy(hash_r, e->message, CRYPTO_HASH_LEN);
	else
		hash_message(e->account, o, hash_r);
}

/* Sorts, and leaves each once. */
static void
tidy(struct record *r)
{
	size_t n = 0;

	if (r->n > 1)
		qsort(r->done, r->n, RCPT_LEN, compare);
	for (size_t i = 0; i < r->n; i++) {
		if (n == 0 || compare(&r->done[n - 1], &r->done[i]) != 0)
			r->done[n++] = r->done[i];
	}
	r->n = n;
}

/* Adds those done now to the record. False when there are too many. */
static bool
merge(struct record *r, const struct outgoing *o, const struct retry_entry *e)
{
	if (e->n > RETRY_RECIPIENTS_MAX)
		return false;
	r->done = need(realloc(r->done, (r->n + e->n + 1) * RCPT_LEN));
	for (size_t i = 0; i < e->n; i++) {
		if (e->done[i])
			r->done[r->n++] =
			    hash_recipient(o->recipients[i].email);
	}
	tidy(r);
	return r->n <= RETRY_RECORD_MAX;
}

static int
write_record(struct retry_memory *m, const uint8_t message[CRYPTO_HASH_LEN],
	     const struct record *r)
{
	size_t len;
	uint8_t *value = record_encode(r, &len);
	const struct store_write w = {
		.table = STORE_RETRY,
		.key = message,
		.key_len = CRYPTO_HASH_LEN,
		.value = value,
		.len = len,
	};
	int rc;

	/* Before it is there, so that nobody overlooks it. */
	atomic_store(&m->may_have, true);
	rc = store_write(m->store, &w, 1);
	free(value);
	return rc;
}

static int
merge_on_disk(struct retry_memory *m, const struct outgoing *o,
	      const struct retry_entry *e, int64_t now,
	      const uint8_t message[CRYPTO_HASH_LEN])
{
	struct record r = { 0 };
	int rc = read_record(m, message, now, &r);

	if (rc < 0)
		return -1;
	if (rc == 0) {
		r = (struct record){ 0 };
		memcpy(r.submission, e->submission, sizeof(r.submission));
	}
	r.time = now;
	if (merge(&r, o, e)) {
		rc = write_record(m, message, &r);
	} else {
		log_error("retry",
			  "more than %d recipients of a message, or "
			  "%d of all that look the same: not kept",
			  RETRY_RECIPIENTS_MAX, RETRY_RECORD_MAX);
		rc = -1;
	}
	free(r.done);
	return rc;
}

int
retry_memory_keep(struct retry_memory *m, const struct outgoing *o,
		  const struct retry_entry *e, int64_t now)
{
	uint8_t message[CRYPTO_HASH_LEN];
	int rc;

	message_of(e, o, message);
	pthread_mutex_lock(&m->lock);
	rc = merge_on_disk(m, o, e, now, message);
	pthread_mutex_unlock(&m->lock);
	return rc == 0 ? 0 : -1;
}

int
retry_memory_forget(struct retry_memory *m, const struct outgoing *o,
		    const struct retry_entry *e)
{
	uint8_t message[CRYPTO_HASH_LEN];
	const struct store_write w = {
		.table = STORE_RETRY,
		.key = message,
		.key_len = CRYPTO_HASH_LEN,
	};
	int rc;

	/* Not known at recall and kept since by another thread is another
	 * sending of it, which may not be done. */
	if (!e->known)
		return 0;
	message_of(e, o, message);
	pthread_mutex_lock(&m->lock);
	rc = store_write(m->store, &w, 1);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

/* Here what cannot be read goes too. */
static bool
record_is_old(void *arg, const void *value, size_t len)
{
	const int64_t *now = arg;
	struct record r;
	bool old;

	if (!record_decode(value, len, &r))
		return true;
	old = is_too_old(r.time, *now);
	free(r.done);
	return old;
}

void
retry_memory_sweep(struct retry_memory *m, int64_t now)
{
	if (!atomic_load(&m->may_have))
		return;
	pthread_mutex_lock(&m->lock);
	if (store_sweep(m->store, STORE_RETRY, record_is_old, &now,
			SWEEP_RECORDS) >= 0)
		atomic_store(&m->may_have,
			     store_count(m->store, STORE_RETRY) > 0);
	pthread_mutex_unlock(&m->lock);
}
