/* The echo client: each thread drives its share of the connections from one epoll instance.
 *
 * A connection sends a message, waits until all of it has come back, compares each byte, and
 * sends the next. Events are edge-triggered: whoever gets one reads and writes until EAGAIN, and
 * nothing needs to be changed in the epoll set between messages. Only so many connects are under
 * way at a time, for no backlog is endless.
 */
#include "echo.h"

#include <mtcp_client.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	EVENTS = 256,
	CONNECTING_MAX = 256, /* of a thread */
	PERIOD = 65521,	      /* of the pattern; a prime, so that no buffer size hides a shift */
	PIECE_BYTES = 65536,
};

struct conn {
	int sd; /* -1: closed */
	uint32_t id;
	bool connected, finished;
	uint32_t messages;	 /* done */
	uint64_t sent, received; /* bytes, of all messages */
	uint64_t start_ns;	 /* of the message under way */
};

struct worker {
	const struct echo_options *o;
	pthread_t thread;
	struct conn *conns;
	uint32_t count, next, connecting, open; /* open: not finished yet */
	int epd;
	struct echo_result result;
	uint8_t buffer[PIECE_BYTES];
};

static uint8_t pattern[PERIOD + PIECE_BYTES];

static void pattern_init(void)
{
	uint32_t x = 1;

	for (uint32_t i = 0; i < sizeof(pattern); i++) {
		x = x * 1664525 + 1013904223;
		pattern[i] = i < PERIOD ? (uint8_t)(x >> 24) : pattern[i - PERIOD];
	}
}

/* PIECE_BYTES bytes of connection c's stream from position pos on. */
static const uint8_t *pattern_at(const struct conn *c, uint64_t pos)
{
	return pattern + (pos + (uint64_t)c->id * 257) % PERIOD;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static size_t min_size(uint64_t a, uint64_t b)
{
	return (size_t)(a < b ? a : b);
}

/* -- one connection ------------------------------------------------------------------------ */

static void finish(struct worker *w, struct conn *c, const char *failure)
{
	if (failure && !w->result.failed++)
		fprintf(stderr, "mtcp-echo: connection %u: %s\n", c->id, failure);
	if (!c->connected)
		w->connecting--;
	c->finished = true;
	w->open--;
	if (w->o->hold && !failure)
		return;
	mtcp_close(c->sd);
	c->sd = -1;
}

/* Sends what is left of the message under way. NULL or why not. */
static const char *send_message(struct worker *w, struct conn *c)
{
	uint64_t end = (uint64_t)(c->messages + 1) * w->o->size_bytes;

	while (c->sent < end) {
		size_t len = min_size(end - c->sent, PIECE_BYTES);
		ssize_t n = mtcp_send(c->sd, pattern_at(c, c->sent), len, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN ? NULL : strerror(errno);
		c->sent += (uint64_t)n;
	}
	return NULL;
}

/* Takes in what has come of the echo, and sends the next message when it is complete. */
static const char *receive(struct worker *w, struct conn *c)
{
	uint64_t end = (uint64_t)(c->messages + 1) * w->o->size_bytes;
	const char *failure = NULL;

	while (!failure && c->messages < w->o->messages) {
		size_t len = min_size(end - c->received, PIECE_BYTES);
		ssize_t n = mtcp_read(c->sd, w->buffer, len);

		if (n < 0)
			return errno == EAGAIN ? NULL : strerror(errno);
		if (n == 0)
			return "closed by the server";
		if (memcmp(w->buffer, pattern_at(c, c->received), (size_t)n) != 0)
			return "bytes differ";
		c->received += (uint64_t)n;
		if (c->received < end)
			continue;
		latency_add(&w->result.latency, now_ns() - c->start_ns);
		w->result.messages++;
		end += w->o->size_bytes;
		if (++c->messages == w->o->messages)
			break;
		c->start_ns = now_ns();
		failure = send_message(w, c);
	}
	return failure;
}

static const char *check_connected(struct worker *w, struct conn *c)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (mtcp_getsockopt(c->sd, SOL_SOCKET, SO_ERROR, &error, &len))
		return strerror(errno);
	if (error)
		return strerror(error);
	c->connected = true;
	w->connecting--;
	c->start_ns = now_ns();
	return NULL;
}

static void progress(struct worker *w, struct conn *c)
{
	const char *failure = c->connected ? NULL : check_connected(w, c);

	if (c->finished)
		return; /* held open */
	if (!failure && w->o->messages)
		failure = send_message(w, c);
	if (!failure && w->o->messages)
		failure = receive(w, c);
	if (failure || c->messages == w->o->messages)
		finish(w, c, failure);
}

static const char *open_conn(struct worker *w, struct conn *c)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
	struct sockaddr_in sa = {.sin_family = AF_INET};

	sa.sin_addr = w->o->address;
	sa.sin_port = htons((uint16_t)(w->o->port_first + c->id % echo_ports(w->o)));
	c->sd = mtcp_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (c->sd < 0)
		return strerror(errno);
	if (mtcp_connect(c->sd, (struct sockaddr *)&sa, sizeof(sa)) && errno != EINPROGRESS)
		return strerror(errno);
	return mtcp_epoll_ctl(w->epd, EPOLL_CTL_ADD, c->sd, &ev) ? strerror(errno) : NULL;
}

/* -- a thread and its connections ---------------------------------------------------------- */

static void open_some(struct worker *w)
{
	while (w->next < w->count && w->connecting < CONNECTING_MAX) {
		struct conn *c = &w->conns[w->next++];
		const char *failure;

		w->connecting++;
		failure = open_conn(w, c);
		if (failure)
			finish(w, c, failure);
	}
}

static void *drive(void *arg)
{
	struct worker *w = arg;
	struct epoll_event ev[EVENTS];
	int n;

	for (open_some(w); w->open; open_some(w)) {
		n = mtcp_epoll_wait(w->epd, ev, EVENTS, -1);
		if (n < 0 && errno != EINTR) {
			perror("mtcp-echo: epoll");
			exit(1);
		}
		for (int i = 0; i < n; i++)
			progress(w, ev[i].data.ptr);
	}
	return NULL;
}

static int start_worker(struct worker *w, const struct echo_options *o, uint32_t number)
{
	w->o = o;
	w->count = o->connections / o->threads + (number < o->connections % o->threads);
	w->open = w->count;
	w->conns = calloc(w->count ? w->count : 1, sizeof(*w->conns));
	w->epd = mtcp_epoll_create1(0);
	if (!w->conns || w->epd < 0)
		return -1;
	for (uint32_t i = 0; i < w->count; i++)
		w->conns[i].id = number + i * o->threads;
	errno = pthread_create(&w->thread, NULL, drive, w);
	return errno ? -1 : 0;
}

/* Closes what is held open. */
static void stop_worker(struct worker *w)
{
	for (uint32_t i = 0; i < w->count; i++)
		if (w->conns[i].sd >= 0)
			mtcp_close(w->conns[i].sd);
	mtcp_close(w->epd);
	free(w->conns);
}

/* -- all ----------------------------------------------------------------------------------- */

static void report(const struct echo_options *o, const struct echo_result *r, double seconds)
{
	static const char text[] =
		"%u connections, %llu messages of %u bytes, %llu connections failed; %.3f s, "
		"%.0f messages/s; latency p50 %.1f us, p99 %.1f us, max %.1f us\n";
	static const char json[] =
		"{\"connections\": %u, \"messages\": %llu, \"size_bytes\": %u, \"failed\": %llu, "
		"\"seconds\": %.3f, \"messages_per_s\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
		"\"max_us\": %.1f}\n";

	printf(o->json ? json : text, o->connections, (unsigned long long)r->messages,
		o->size_bytes, (unsigned long long)r->failed, seconds,
		seconds > 0 ? (double)r->messages / seconds : 0,
		latency_percentile_us(&r->latency, 50), latency_percentile_us(&r->latency, 99),
		(double)r->latency.max_ns / 1000);
	fflush(stdout);
}

int echo_client(const struct echo_options *o)
{
	struct worker *w = calloc(o->threads, sizeof(*w));
	static struct echo_result all;
	uint64_t start_ns = now_ns();

	pattern_init();
	for (uint32_t i = 0; i < o->threads; i++) {
		if (!w || start_worker(&w[i], o, i)) {
			perror("mtcp-echo: no thread");
			return 1;
		}
	}
	for (uint32_t i = 0; i < o->threads; i++) {
		pthread_join(w[i].thread, NULL);
		all.messages += w[i].result.messages;
		all.failed += w[i].result.failed;
		latency_merge(&all.latency, &w[i].result.latency);
	}
	echo_block_signals();
	report(o, &all, (double)(now_ns() - start_ns) / 1e9);
	if (o->hold)
		echo_wait_signal();
	for (uint32_t i = 0; i < o->threads; i++)
		stop_worker(&w[i]);
	free(w);
	return all.failed != 0;
}
