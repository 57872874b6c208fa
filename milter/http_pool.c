/* SPDX-License-Identifier: MIT */
/*
 * One thread drives curl by curl_multi_socket_action and epoll, because
 * curl_multi_poll looks at every handle each time. Calls wait in our own
 * queue, not in curl's: curl 7.88 does not time out what waits for a
 * connection. Deadlines are ours too, one for waiting and running together.
 *
 * libcurl sends a request again on a fresh connection when a kept-alive one
 * ends before any byte of the answer. Two things keep it from doing so with a
 * POST: the body comes from a read function that cannot seek, so that curl
 * cannot rewind what it took (CURLE_SEND_FAIL_REWIND), and before_request()
 * refuses a second attempt. While no byte of the body was taken, the server
 * cannot have had a whole request, and a second attempt is welcome.
 */
#include "http_pool.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "clock.h"
#include "need.h"

#define EVENTS_MAX 64
#define NEVER UINT64_MAX
#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

/* Servers commonly close after 5 s without a request. A request that meets
 * that close may or may not have been read, so we leave first. */
#define IDLE_MAX_S 4L
/* A busy connection would never see that the host's address has changed. */
#define LIFETIME_MAX_S 300L

/* An easy handle, configured once, and the call it is used for. */
struct slot {
	CURL *easy; /* NULL until first used */
	struct http_pool *pool;
	struct http_call *call; /* NULL while free */
	struct slot *next_free;
	unsigned attempts;
	size_t taken;  /* bytes of the body that curl has */
	bool has_head; /* the answer's head came to its end */
	struct curl_slist headers[HTTP_HEADERS_MAX + 1];
	char error[CURL_ERROR_SIZE];
};

/* First come, first served. */
struct call_list {
	struct http_call *head;
	struct http_call **tail;
};

struct http_pool {
	unsigned connections;
	unsigned queue;
	unsigned background_queue;
	unsigned connect_timeout_ms;
	char *ca_file;
	char *user_agent;
	pthread_t thread;
	int epoll;
	int wake; /* eventfd: something was submitted, or stop */

	pthread_mutex_t lock; /* guards submitted, state,
				 background_calls, stopping */
	struct call_list submitted;
	struct http_pool_state state;
	unsigned background_calls;
	bool stopping;
	bool ended; /* of who stops it */

	/* Only the thread uses these. */
	CURLM *multi;
	struct slot *slots;
	struct slot *free;
	struct call_list waiting, background;
	unsigned turns;
	uint64_t timer_ms;    /* when curl wants to be called */
	uint64_t deadline_ms; /* no call's deadline is before */
};

static const struct {
	CURLoption option;
	long value;
} easy_options[] = {
	{ CURLOPT_NOSIGNAL, 1 },
	{ CURLOPT_FOLLOWLOCATION, 0 },
	{ CURLOPT_SSL_VERIFYPEER, 1 },
	{ CURLOPT_SSL_VERIFYHOST, 2 },
	{ CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2 },
	/* Over HTTP/2, a server that closes a connection as the protocol says
	 * (GOAWAY) ended 2 % of the requests on it without an answer, with curl
	 * 8.14 and 8.21; 7.88 also gets closed for its RST_STREAM after each
	 * answer (CVE-2023-44487). And HTTP/1.1 costs half the CPU. */
	{ CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1 },
	{ CURLOPT_TCP_NODELAY, 1 },
	/* Allocated for each call; most bodies are small, answers tiny. */
	{ CURLOPT_UPLOAD_BUFFERSIZE, 16384 },
	{ CURLOPT_BUFFERSIZE, 4096 },
	/* Do not wait for a resolver thread that nobody needs any more. */
	{ CURLOPT_QUICK_EXIT, 1 },
	{ CURLOPT_MAXAGE_CONN, IDLE_MAX_S },
	{ CURLOPT_MAXLIFETIME_CONN, LIFETIME_MAX_S },
};

/* curl's words for these are about its own trouble, not the server's. */
static const struct {
	CURLcode code;
	const char *text;
} own_words[] = {
	{ CURLE_SEND_FAIL_REWIND, "connection closed before an answer" },
	{ CURLE_ABORTED_BY_CALLBACK, "connection closed before an answer" },
	{ CURLE_WRITE_ERROR, "answer too long" },
};

static uint64_t
now_ms(void)
{
	return (uint64_t)clock_ms();
}

static void
lock(struct http_pool *pool)
{
	if (pthread_mutex_lock(&pool->lock) != 0)
		abort();
}

static void
unlock(struct http_pool *pool)
{
	if (pthread_mutex_unlock(&pool->lock) != 0)
		abort();
}

static void
wake(const struct http_pool *pool)
{
	const uint64_t one = 1;

	/* It cannot be full; EAGAIN would mean that it is awake anyway. */
	if (write(pool->wake, &one, sizeof(one)) == -1 && errno != EAGAIN)
		abort();
}

/* --- lists of calls ------------------------------------------------------- */

static void
list_init(struct call_list *list)
{
	list->head = NULL;
	list->tail = &list->head;
}

static void
list_push(struct call_list *list, struct http_call *call)
{
	call->next = NULL;
	*list->tail = call;
	list->tail = &call->next;
}

static struct http_call *
list_pop(struct call_list *list)
{
	struct http_call *call = list->head;

	if (call == NULL)
		return NULL;
	list->head = call->next;
	if (list->head == NULL)
		list->tail = &list->head;
	return call;
}

/* Moves all of `from` to the end of `to`. */
static void
list_move(struct call_list *to, struct call_list *from)
{
	if (from->head == NULL)
		return;
	*to->tail = from->head;
	to->tail = from->tail;
	list_init(from);
}

/* --- calls ---------------------------------------------------------------- */

static uint64_t
deadline_of(const struct http_call *call)
{
	if (call->wait_ms > 0)
		return call->started_ms + call->timeout_ms;
	return call->submitted_ms + call->timeout_ms;
}

/* Until when it must have found a connection. */
static uint64_t
start_by(const struct http_call *call)
{
	if (call->wait_ms > 0)
		return call->submitted_ms + call->wait_ms;
	return call->submitted_ms + call->timeout_ms / 2;
}

static size_t
body_len(const struct http_call *call)
{
	return call->body[0].len + call->body[1].len;
}

/* Curl's text can quote what the peer sent. */
static void
set_error(struct http_call *call, const char *text)
{
	size_t n = 0;

	for (; text[n] != '\0' && n < sizeof(call->error) - 1; n++)
		call->error[n] =
		    text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
	call->error[n] = '\0';
}

/* The call may be gone when this returns. */
static void
finish(struct http_pool *pool, struct http_call *call, enum http_result result)
{
	call->result = result;
	call->elapsed_ms = (unsigned)(now_ms() - call->submitted_ms);
	if (result != HTTP_ANSWERED) {
		call->status = 0;
		call->retry_after = 0;
		dynbuf_clear(&call->answer);
	}
	lock(pool);
	pool->state.calls--;
	pool->background_calls -= call->wait_ms > 0;
	pool->state.total++;
	pool->state.failed += result != HTTP_ANSWERED;
	unlock(pool);
	call->done(call);
}

static bool
is_sendable(const struct http_call *call)
{
	size_t n = 0;

	for (; call->headers != NULL && call->headers[n] != NULL; n++) {
		if (n == HTTP_HEADERS_MAX)
			return false;
		if (strpbrk(call->headers[n], "\r\n") != NULL)
			return false;
	}
	return body_len(call) >= call->body[0].len;
}

/* --- what curl calls ------------------------------------------------------ */

static int
before_request(void *arg, char *to, char *from, int to_port, int from_port)
{
	struct slot *slot = arg;

	(void)to, (void)from, (void)to_port, (void)from_port;
	if (slot->attempts++ > 0 && slot->call->post &&
	    (slot->taken > 0 || body_len(slot->call) == 0))
		return CURL_PREREQFUNC_ABORT;
	return CURL_PREREQFUNC_OK;
}

/* Copies what fits of `piece` from offset `at` on. */
static size_t
take_piece(const struct http_piece *piece, size_t at, char *dst, size_t room)
{
	size_t n;

	if (at >= piece->len)
		return 0;
	n = piece->len - at < room ? piece->len - at : room;
	memcpy(dst, piece->data + at, n);
	return n;
}

static size_t
read_body(char *dst, size_t size, size_t nitems, void *arg)
{
	struct slot *slot = arg;
	const struct http_piece *body = slot->call->body;
	size_t room = size * nitems;
	size_t n = take_piece(&body[0], slot->taken, dst, room);

	if (slot->taken + n >= body[0].len)
		n += take_piece(&body[1], slot->taken + n - body[0].len,
				dst + n, room - n);
	slot->taken += n;
	return n;
}

/* curl 8.21 takes a head that ends in the middle for an answer. */
static size_t
read_head(char *line, size_t size, size_t nitems, void *arg)
{
	struct slot *slot = arg;
	size_t n = size * nitems;

	if (n >= 5 && memcmp(line, "HTTP/", 5) == 0)
		slot->has_head = false; /* 100, or what comes after it */
	else if (n > 0 && (line[0] == '\r' || line[0] == '\n'))
		slot->has_head = true;
	return n;
}

static size_t
write_answer(char *data, size_t size, size_t nmemb, void *arg)
{
	struct slot *slot = arg;
	size_t n = size * nmemb;

	return dynbuf_add(&slot->call->answer, data, n) ? n : 0;
}

/* curl opens and closes no socket but by these, which count. */
static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct http_pool *pool = arg;
	int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);

	(void)purpose;
	if (fd == -1)
		return CURL_SOCKET_BAD;
	lock(pool);
	pool->state.connections++;
	unlock(pool);
	return fd;
}

static int
close_socket(void *arg, curl_socket_t fd)
{
	struct http_pool *pool = arg;

	lock(pool);
	pool->state.connections--;
	unlock(pool);
	return close(fd);
}

static int
set_timer(CURLM *multi, long ms, void *arg)
{
	struct http_pool *pool = arg;

	(void)multi;
	pool->timer_ms = ms < 0 ? NEVER : now_ms() + (uint64_t)ms;
	return 0;
}

/* `known` is what curl_multi_assign() left: NULL for a new socket. A failure
 * here is not told to curl, which would give up all transfers: the call ends
 * by its deadline. */
static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct http_pool *pool = arg;
	struct epoll_event ev = { .data.fd = fd };

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		(void)epoll_ctl(pool->epoll, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		ev.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		ev.events |= EPOLLOUT;
	if (known != NULL) {
		(void)epoll_ctl(pool->epoll, EPOLL_CTL_MOD, fd, &ev);
		return 0;
	}
	(void)epoll_ctl(pool->epoll, EPOLL_CTL_ADD, fd, &ev);
	(void)curl_multi_assign(pool->multi, fd, pool);
	return 0;
}

/* --- slots ---------------------------------------------------------------- */

#define SET(slot, option, value) \
	(curl_easy_setopt((slot)->easy, (option), (value)) == CURLE_OK)

/* False when libcurl lacks an option we count on. */
static bool
slot_configure(struct slot *slot)
{
	const struct http_pool *pool = slot->pool;

	for (size_t i = 0; i < N_ELEMENTS(easy_options); i++) {
		if (!SET(slot, easy_options[i].option, easy_options[i].value))
			return false;
	}
	return SET(slot, CURLOPT_PROTOCOLS_STR, "http,https") &&
	       SET(slot, CURLOPT_PROXY, "") && /* none of the environment */
	       SET(slot, CURLOPT_CONNECTTIMEOUT_MS,
		   (long)pool->connect_timeout_ms) &&
	       SET(slot, CURLOPT_USERAGENT, pool->user_agent) &&
	       (pool->ca_file == NULL ||
		SET(slot, CURLOPT_CAINFO, pool->ca_file)) &&
	       SET(slot, CURLOPT_OPENSOCKETFUNCTION, open_socket) &&
	       SET(slot, CURLOPT_OPENSOCKETDATA, pool) &&
	       SET(slot, CURLOPT_CLOSESOCKETFUNCTION, close_socket) &&
	       SET(slot, CURLOPT_CLOSESOCKETDATA, pool) &&
	       SET(slot, CURLOPT_PREREQFUNCTION, before_request) &&
	       SET(slot, CURLOPT_PREREQDATA, slot) &&
	       SET(slot, CURLOPT_READFUNCTION, read_body) &&
	       SET(slot, CURLOPT_READDATA, slot) &&
	       SET(slot, CURLOPT_HEADERFUNCTION, read_head) &&
	       SET(slot, CURLOPT_HEADERDATA, slot) &&
	       SET(slot, CURLOPT_WRITEFUNCTION, write_answer) &&
	       SET(slot, CURLOPT_WRITEDATA, slot) &&
	       SET(slot, CURLOPT_PRIVATE, slot) &&
	       SET(slot, CURLOPT_ERRORBUFFER, slot->error);
}

/* A free slot, ready for use; NULL when all are in use. */
static struct slot *
slot_take(struct http_pool *pool)
{
	struct slot *slot = pool->free;

	if (slot == NULL)
		return NULL;
	if (slot->easy == NULL) {
		slot->easy = curl_easy_init();
		if (slot->easy == NULL || !slot_configure(slot))
			abort();
	}
	pool->free = slot->next_free;
	return slot;
}

static void
slot_put_back(struct slot *slot)
{
	slot->call = NULL;
	slot->next_free = slot->pool->free;
	slot->pool->free = slot;
}

/* After a failure curl 8 can leave in a handle that the body has to be rewound,
 * and then refuses all later calls. */
static void
slot_refresh(struct slot *slot)
{
	curl_easy_cleanup(slot->easy);
	slot->easy = NULL;
}

/* The list that curl walks is made of the caller's strings; curl only reads
 * them. An empty "Expect:" keeps curl from waiting for "100 Continue". */
static struct curl_slist *
slot_headers(struct slot *slot, const struct http_call *call)
{
	static char no_expect[] = "Expect:";
	struct curl_slist *h = slot->headers;

	h->data = no_expect;
	h->next = NULL;
	for (size_t i = 0; call->headers != NULL && call->headers[i] != NULL;
	     i++) {
		h->next = h + 1;
		h++;
		h->data = (char *)(uintptr_t)call->headers[i];
		h->next = NULL;
	}
	return slot->headers;
}

static bool
slot_start(struct slot *slot, struct http_call *call)
{
	slot->call = call;
	slot->attempts = 0;
	slot->taken = 0;
	slot->has_head = false;
	slot->error[0] = '\0';
	return SET(slot, CURLOPT_URL, call->url) &&
	       SET(slot, CURLOPT_HTTPHEADER, slot_headers(slot, call)) &&
	       (call->post ? SET(slot, CURLOPT_POST, 1L)
			   : SET(slot, CURLOPT_HTTPGET, 1L)) &&
	       (!call->post || SET(slot, CURLOPT_POSTFIELDSIZE_LARGE,
				   (curl_off_t)body_len(call))) &&
	       curl_multi_add_handle(slot->pool->multi, slot->easy) == CURLM_OK;
}

/* How some APIs say it, Campaign Monitor's too: seconds. What is no number, or
 * larger than any pause, is the time of day that others mean by it. */
static unsigned
rate_limit_reset(CURL *easy)
{
	struct curl_header *h;
	unsigned long seconds;
	char *end;

	if (curl_easy_header(easy, "X-RateLimit-Reset", 0, CURLH_HEADER, -1,
			     &h) != CURLHE_OK ||
	    *h->value < '0' || *h->value > '9')
		return 0;
	errno = 0;
	seconds = strtoul(h->value, &end, 10);
	return errno == 0 && *end == '\0' && seconds <= HTTP_RETRY_AFTER_MAX
		   ? (unsigned)seconds
		   : 0;
}

/* A date is told as the time until then, which may be over. */
static unsigned
retry_after(CURL *easy, unsigned status)
{
	curl_off_t seconds = 0;

	if (curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds) !=
		CURLE_OK ||
	    seconds < 0)
		return 0;
	if (seconds == 0 && status == 429)
		return rate_limit_reset(easy);
	return seconds < HTTP_RETRY_AFTER_MAX ? (unsigned)seconds
					      : HTTP_RETRY_AFTER_MAX;
}

/* Takes the call off curl, which closes the connection unless the answer was
 * whole, and ends it. */
static void
slot_end(struct slot *slot, enum http_result result)
{
	struct http_call *call = slot->call;
	long status = 0;
	long request_size = 0;

	(void)curl_multi_remove_handle(slot->pool->multi, slot->easy);
	(void)curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(slot->easy, CURLINFO_REQUEST_SIZE,
				&request_size);
	call->status = (unsigned)status;
	call->retry_after = retry_after(slot->easy, call->status);
	/* Nobody acts on the beginning of a request. */
	call->sent =
	    request_size > 0 && (!call->post || slot->taken == body_len(call));
	/* curl counts its attempts on a handle and not on a request: after
	 * some dead connections it would give up at the next. */
	if (result != HTTP_ANSWERED || slot->attempts > 1)
		slot_refresh(slot);
	slot_put_back(slot);
	finish(slot->pool, call, result);
}

/* --- the thread ----------------------------------------------------------- */

static const char *
error_text(const struct slot *slot, CURLcode code)
{
	for (size_t i = 0; i < N_ELEMENTS(own_words); i++) {
		if (own_words[i].code == code)
			return own_words[i].text;
	}
	return slot->error[0] != '\0' ? slot->error : curl_easy_strerror(code);
}

/* curl has ended a call. A timeout of curl's is that of connecting, so it is
 * a host that cannot be reached. */
static void
retire(struct slot *slot, CURLcode code)
{
	struct http_call *call = slot->call;

	if (code == CURLE_OK && !slot->has_head)
		code = CURLE_PARTIAL_FILE;
	if (code == CURLE_OK) {
		slot_end(slot, HTTP_ANSWERED);
		return;
	}
	set_error(call, error_text(slot, code));
	slot_end(slot,
		 code == CURLE_WRITE_ERROR ? HTTP_TOO_LONG : HTTP_NO_ANSWER);
}

static void
reap(struct http_pool *pool)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(pool->multi, &left)) != NULL) {
		CURLcode code = msg->data.result;
		char *slot = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		if (curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE,
				      &slot) != CURLE_OK)
			abort();
		retire((struct slot *)(void *)slot, code);
	}
}

/* Takes what was submitted into the waiting line. False: stop. */
static bool
collect(struct http_pool *pool)
{
	struct http_call *call;
	struct call_list fresh;
	bool stopping;

	list_init(&fresh);
	lock(pool);
	list_move(&fresh, &pool->submitted);
	stopping = pool->stopping;
	unlock(pool);
	while ((call = list_pop(&fresh)) != NULL) {
		if (start_by(call) < pool->deadline_ms)
			pool->deadline_ms = start_by(call);
		list_push(call->wait_ms > 0 ? &pool->background
					    : &pool->waiting,
			  call);
	}
	return !stopping;
}

static bool
is_waited_for(const struct http_pool *pool)
{
	return pool->waiting.head != NULL || pool->background.head != NULL;
}

static struct call_list *
next_line(struct http_pool *pool)
{
	bool share = ++pool->turns % HTTP_POOL_SHARE == 0;

	if (pool->background.head != NULL &&
	    (pool->waiting.head == NULL || share))
		return &pool->background;
	return &pool->waiting;
}

static void
start_waiting(struct http_pool *pool)
{
	while (is_waited_for(pool) && pool->free != NULL) {
		struct http_call *call = list_pop(next_line(pool));
		struct slot *slot;

		if (!is_sendable(call)) {
			set_error(call, "request cannot be sent");
			finish(pool, call, HTTP_NO_ANSWER);
			continue;
		}
		slot = slot_take(pool);
		call->started_ms = now_ms();
		if (deadline_of(call) < pool->deadline_ms)
			pool->deadline_ms = deadline_of(call);
		if (!slot_start(slot, call)) {
			set_error(call, "libcurl refused the request");
			slot_refresh(slot);
			slot_put_back(slot);
			finish(pool, call, HTTP_NO_ANSWER);
		}
	}
}

static void
run_timer(struct http_pool *pool)
{
	int running;

	if (now_ms() < pool->timer_ms)
		return;
	pool->timer_ms = NEVER;
	(void)curl_multi_socket_action(pool->multi, CURL_SOCKET_TIMEOUT, 0,
				       &running);
}

/* True until the deadline. */
static bool
has_time(struct http_pool *pool, uint64_t deadline, uint64_t now)
{
	if (now >= deadline)
		return false;
	if (deadline < pool->deadline_ms)
		pool->deadline_ms = deadline;
	return true;
}

static void
expire_waiting(struct http_pool *pool, struct call_list *waiting, uint64_t now)
{
	struct call_list line;
	struct http_call *call;

	list_init(&line);
	list_move(&line, waiting);
	while ((call = list_pop(&line)) != NULL) {
		if (has_time(pool, start_by(call), now)) {
			list_push(waiting, call);
			continue;
		}
		set_error(call, "no free connection in time");
		finish(pool, call, HTTP_NO_ROOM);
	}
}

/* Ends the calls whose deadline has passed. All calls are looked at, but only
 * when the first deadline known comes, which is seldom: most calls end long
 * before theirs. */
static void
expire(struct http_pool *pool)
{
	uint64_t now = now_ms();

	if (now < pool->deadline_ms)
		return;
	pool->deadline_ms = NEVER;
	for (unsigned i = 0; i < pool->connections; i++) {
		struct slot *slot = &pool->slots[i];

		if (slot->call == NULL ||
		    has_time(pool, deadline_of(slot->call), now))
			continue;
		set_error(slot->call, "no answer in time");
		slot_end(slot, HTTP_TIMED_OUT);
	}
	expire_waiting(pool, &pool->waiting, now);
	expire_waiting(pool, &pool->background, now);
}

/* How long epoll may sleep. */
static int
sleep_ms(const struct http_pool *pool)
{
	uint64_t until = pool->timer_ms;
	uint64_t now;

	if (is_waited_for(pool) && pool->free != NULL)
		return 0;
	if (pool->deadline_ms < until)
		until = pool->deadline_ms;
	if (until == NEVER)
		return -1;
	now = now_ms();
	if (until <= now)
		return 0;
	return until - now > INT_MAX ? INT_MAX : (int)(until - now);
}

/* Errors and hang-ups go to curl as "readable and writable": it then meets
 * them in recv() or send() and can say what happened. */
static void
act_on(struct http_pool *pool, const struct epoll_event *ev)
{
	uint64_t count;
	int bits = 0;
	int running;

	if (ev->data.fd == pool->wake) {
		if (read(pool->wake, &count, sizeof(count)) == -1 &&
		    errno != EAGAIN)
			abort();
		return;
	}
	if (ev->events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		bits |= CURL_CSELECT_IN;
	if (ev->events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		bits |= CURL_CSELECT_OUT;
	(void)curl_multi_socket_action(pool->multi, ev->data.fd, bits,
				       &running);
}

static void
wait_events(struct http_pool *pool)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(pool->epoll, events, EVENTS_MAX, sleep_ms(pool));

	if (n == -1 && errno != EINTR)
		abort();
	for (int i = 0; i < n; i++)
		act_on(pool, &events[i]);
}

static void
end_all(struct http_pool *pool)
{
	struct http_call *call;

	for (unsigned i = 0; i < pool->connections; i++) {
		if (pool->slots[i].call == NULL)
			continue;
		set_error(pool->slots[i].call, "stopping");
		slot_end(&pool->slots[i], HTTP_STOPPED);
	}
	while ((call = list_pop(&pool->waiting)) != NULL ||
	       (call = list_pop(&pool->background)) != NULL) {
		set_error(call, "stopping");
		finish(pool, call, HTTP_STOPPED);
	}
}

static void *
pool_main(void *arg)
{
	struct http_pool *pool = arg;

	while (collect(pool)) {
		start_waiting(pool);
		run_timer(pool);
		reap(pool);
		expire(pool);
		wait_events(pool);
		reap(pool);
	}
	end_all(pool);
	return NULL;
}

/* --- start and stop ------------------------------------------------------- */

static void
pool_free(struct http_pool *pool)
{
	for (unsigned i = 0; i < pool->connections; i++)
		curl_easy_cleanup(pool->slots[i].easy);
	if (pool->multi != NULL)
		(void)curl_multi_cleanup(pool->multi);
	curl_global_cleanup();
	if (pool->epoll != -1)
		(void)close(pool->epoll);
	if (pool->wake != -1)
		(void)close(pool->wake);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool->slots);
	free(pool->ca_file);
	free(pool->user_agent);
	free(pool);
}

static char *
copy_string(const char *s)
{
	return s != NULL ? need(strdup(s)) : NULL;
}

static struct http_pool *
pool_new(const struct http_pool_settings *settings)
{
	struct http_pool *pool = need(calloc(1, sizeof(*pool)));
	struct slot *slots =
	    need(calloc(settings->connections, sizeof(*slots)));

	pool->connections = settings->connections;
	pool->queue = settings->queue;
	pool->background_queue = settings->background;
	pool->connect_timeout_ms = settings->connect_timeout_ms;
	pool->ca_file = copy_string(settings->ca_file);
	pool->user_agent = copy_string(settings->user_agent);
	pool->timer_ms = NEVER;
	pool->deadline_ms = NEVER;
	pool->slots = slots;
	for (unsigned i = settings->connections; i-- > 0;) {
		slots[i].pool = pool;
		slot_put_back(&slots[i]);
	}
	list_init(&pool->submitted);
	list_init(&pool->waiting);
	list_init(&pool->background);
	if (pthread_mutex_init(&pool->lock, NULL) != 0)
		abort();
	return pool;
}

#define SETM(pool, option, value) \
	(curl_multi_setopt((pool)->multi, (option), (value)) == CURLM_OK)

static bool
open_multi(struct http_pool *pool)
{
	long connections = (long)pool->connections;

	pool->multi = curl_multi_init();
	return pool->multi != NULL &&
	       SETM(pool, CURLMOPT_SOCKETFUNCTION, watch_socket) &&
	       SETM(pool, CURLMOPT_SOCKETDATA, pool) &&
	       SETM(pool, CURLMOPT_TIMERFUNCTION, set_timer) &&
	       SETM(pool, CURLMOPT_TIMERDATA, pool) &&
	       SETM(pool, CURLMOPT_MAX_TOTAL_CONNECTIONS, connections) &&
	       SETM(pool, CURLMOPT_MAXCONNECTS, connections);
}

static bool
open_epoll(struct http_pool *pool)
{
	struct epoll_event ev = { .events = EPOLLIN };

	pool->epoll = epoll_create1(EPOLL_CLOEXEC);
	pool->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ev.data.fd = pool->wake;
	return pool->epoll != -1 && pool->wake != -1 &&
	       epoll_ctl(pool->epoll, EPOLL_CTL_ADD, pool->wake, &ev) == 0;
}

/* The first slot is made now, to learn whether libcurl can do what we need. */
static bool
try_slot(struct http_pool *pool)
{
	struct slot *slot = pool->free;

	slot->easy = curl_easy_init();
	return slot->easy != NULL && slot_configure(slot);
}

/* Signals are the main thread's; those threads that curl starts to resolve
 * names inherit the mask. */
static bool
start_thread(struct http_pool *pool)
{
	sigset_t all, old;
	int err;

	(void)sigfillset(&all);
	if (pthread_sigmask(SIG_SETMASK, &all, &old) != 0)
		abort();
	err = pthread_create(&pool->thread, NULL, pool_main, pool);
	if (pthread_sigmask(SIG_SETMASK, &old, NULL) != 0)
		abort();
	if (err != 0)
		return false;
	(void)pthread_setname_np(pool->thread, "http_pool");
	return true;
}

static const char *
pool_open(struct http_pool *pool)
{
	if (!open_epoll(pool))
		return "cannot make an epoll descriptor";
	if (!open_multi(pool) || !try_slot(pool))
		return "libcurl lacks an option that is needed";
	if (pool->ca_file != NULL && access(pool->ca_file, R_OK) == -1)
		return "cannot read the CA file";
	if (!start_thread(pool))
		return "cannot start a thread";
	return NULL;
}

struct http_pool *
http_pool_start(const struct http_pool_settings *settings, const char **error_r)
{
	struct http_pool *pool;

	if (settings->connections == 0 || settings->queue == 0) {
		*error_r = "needs a connection and a place in the queue";
		return NULL;
	}
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		*error_r = "cannot initialise libcurl";
		return NULL;
	}
	pool = pool_new(settings);
	*error_r = pool_open(pool);
	if (*error_r != NULL) {
		pool_free(pool);
		return NULL;
	}
	return pool;
}

void
http_pool_end(struct http_pool *pool)
{
	lock(pool);
	pool->stopping = true;
	unlock(pool);
	wake(pool);
	if (pthread_join(pool->thread, NULL) != 0)
		abort();
	pool->ended = true;
}

void
http_pool_stop(struct http_pool **pool)
{
	if (*pool == NULL)
		return;
	if (!(*pool)->ended)
		http_pool_end(*pool);
	pool_free(*pool);
	*pool = NULL;
}

/* --- for callers ---------------------------------------------------------- */

static void
call_init(struct http_call *call)
{
	call->status = 0;
	call->retry_after = 0;
	call->error[0] = '\0';
	call->sent = false;
	call->elapsed_ms = 0;
	call->submitted_ms = now_ms();
	dynbuf_init(&call->answer, call->answer_max);
}

static int
refuse(struct http_call *call, bool stopping)
{
	call->result = stopping ? HTTP_STOPPED : HTTP_QUEUE_FULL;
	set_error(call, stopping ? "stopping" : "too many HTTP calls waiting");
	return -1;
}

/* Under the lock. */
static bool
is_full(const struct http_pool *pool, const struct http_call *call)
{
	unsigned others = pool->state.calls - pool->background_calls;

	return call->wait_ms > 0
		   ? pool->background_calls >= pool->background_queue
		   : others >= pool->queue;
}

int
http_pool_submit(struct http_pool *pool, struct http_call *call)
{
	bool stopping, full, asleep;

	call_init(call);
	lock(pool);
	stopping = pool->stopping;
	full = is_full(pool, call);
	asleep = pool->submitted.head == NULL;
	if (!stopping && !full) {
		pool->state.calls++;
		pool->background_calls += call->wait_ms > 0;
		list_push(&pool->submitted, call);
	}
	unlock(pool);
	if (stopping || full)
		return refuse(call, stopping);
	if (asleep)
		wake(pool);
	return 0;
}

static void
wake_caller(struct http_call *call)
{
	if (sem_post(call->arg) == -1)
		abort();
}

void
http_pool_perform(struct http_pool *pool, struct http_call *call)
{
	void (*done)(struct http_call *) = call->done;
	void *arg = call->arg;
	sem_t ended;

	if (sem_init(&ended, 0, 0) == -1)
		abort();
	call->done = wake_caller;
	call->arg = &ended;
	if (http_pool_submit(pool, call) == 0) {
		while (sem_wait(&ended) == -1) {
			if (errno != EINTR)
				abort();
		}
	}
	call->done = done;
	call->arg = arg;
	(void)sem_destroy(&ended);
}

void
http_call_clear(struct http_call *call)
{
	dynbuf_clear(&call->answer);
}

void
http_pool_state(struct http_pool *pool, struct http_pool_state *state_r)
{
	lock(pool);
	*state_r = pool->state;
	unlock(pool);
}
