/* The program: an event loop over the client library, as servers have one.
 *
 * mtcp_accept() waits for the engine's answer, which on one thread would never come. Before it
 * sleeps the library spins, and looks at the clock between two looks at its rings: that is
 * where the engine takes its turn here, in the place of its own core. The clock stands still
 * meanwhile, so that the library goes on spinning.
 */
#include "alone.h"

#include <libclient/mtcp_client.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	EVENTS_MAX = 256,
	CHUNK_BYTES = 65536, /* of a stream */
	TURNS_MAX = 10000,   /* while accept waits */
};

struct app {
	struct alone_config cfg;
	struct host *host;
	int epd, listener, stream;
	bool closes; /* after the response */
	struct app_counts counts;
	struct epoll_event events[EVENTS_MAX];
	uint8_t buf[ALONE_MESSAGE_BYTES_MAX];
};

static struct {
	int (*real)(clockid_t id, struct timespec *ts);
	struct host *host; /* non-NULL: a call waits for the engine */
	struct timespec stopped;
	uint32_t turns;
} waiting;

__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *ts);
int clock_gettime(clockid_t id, struct timespec *ts)
{
	struct host *h = waiting.host;
	enum stage before;

	if (!waiting.real)
		*(void **)&waiting.real = dlsym(RTLD_NEXT, "clock_gettime");
	if (!h)
		return waiting.real(id, ts);
	if (++waiting.turns == TURNS_MAX)
		alone_fail("no answer from the engine");
	waiting.host = NULL; /* the turn looks at the clock itself */
	before = stages_on ? stage_enter(STAGE_NONE) : STAGE_NONE;
	host_turn(h);
	if (stages_on)
		stage_leave(before);
	waiting.host = h;
	*ts = waiting.stopped;
	return 0;
}

static int accept_with_engine(struct app *a)
{
	int sd;

	clock_gettime(CLOCK_MONOTONIC, &waiting.stopped);
	waiting.turns = 0;
	waiting.host = a->host;
	sd = mtcp_accept4(a->listener, NULL, NULL, SOCK_NONBLOCK);
	waiting.host = NULL;
	return sd;
}

static void watch(struct app *a, int op, int sd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.fd = sd};

	if (mtcp_epoll_ctl(a->epd, op, sd, &ev))
		alone_fail("epoll_ctl: %m");
}

struct app *app_new(const struct alone_config *cfg, struct host *h)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(ALONE_PORT)};
	struct app *a = calloc(1, sizeof(*a));

	if (!a)
		alone_fail("no memory");
	a->cfg = *cfg;
	a->host = h;
	a->stream = -1;
	setenv("MTCP_SPIN_US", "10000", 1);
	if (mtcp_attach(host_socket_path(h)))
		alone_fail("attach: %m");
	host_turn(h);
	a->listener = mtcp_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	a->epd = mtcp_epoll_create1(0);
	if (a->listener < 0 || a->epd < 0 ||
		mtcp_bind(a->listener, (struct sockaddr *)&sin, sizeof(sin)) ||
		mtcp_listen(a->listener, 4096))
		alone_fail("listen: %m");
	watch(a, EPOLL_CTL_ADD, a->listener, EPOLLIN);
	host_turn(h);
	return a;
}

static void on_accept(struct app *a)
{
	uint32_t events = EPOLLIN | (a->cfg.edge ? EPOLLET : 0u);
	int sd;

	if (a->cfg.work == WORK_OUT)
		events = EPOLLIN | EPOLLOUT | EPOLLET;
	while ((sd = accept_with_engine(a)) >= 0) {
		watch(a, EPOLL_CTL_ADD, sd, events);
		a->stream = sd;
		a->counts.accepted++;
	}
	if (errno != EAGAIN)
		alone_fail("accept: %m");
}

static void close_it(struct app *a, int sd)
{
	if (mtcp_close(sd))
		alone_fail("close: %m");
	a->counts.closed++;
}

static void on_request(struct app *a, int sd)
{
	ssize_t n = mtcp_read(sd, a->buf, sizeof(a->buf));

	if (n == 0) {
		close_it(a, sd);
		return;
	}
	if (n < 0 || n % a->cfg.request_bytes)
		alone_fail("read: %zd (%m)", n);
	a->counts.bytes_in += (uint64_t)n;
	a->counts.requests += (uint64_t)n / a->cfg.request_bytes;
	if (mtcp_write(sd, a->buf, (size_t)n) != n)
		alone_fail("write: %m");
	a->counts.bytes_out += (uint64_t)n;
	if (a->cfg.work == WORK_CONN)
		close_it(a, sd);
}

static void on_stream_in(struct app *a, int sd)
{
	ssize_t n;

	while ((n = mtcp_read(sd, a->buf, CHUNK_BYTES)) > 0)
		a->counts.bytes_in += (uint64_t)n;
	if (n == 0 || errno != EAGAIN)
		alone_fail("read of a stream: %zd (%m)", n);
}

static void on_stream_out(struct app *a, int sd)
{
	ssize_t n;

	while ((n = mtcp_write(sd, a->buf, CHUNK_BYTES)) > 0)
		a->counts.bytes_out += (uint64_t)n;
	if (n == 0 || errno != EAGAIN)
		alone_fail("write of a stream: %zd (%m)", n);
}

bool app_poll(struct app *a)
{
	int n = mtcp_epoll_wait(a->epd, a->events, EVENTS_MAX, 0);

	if (n < 0)
		alone_fail("epoll_wait: %m");
	for (int i = 0; i < n; i++) {
		int sd = a->events[i].data.fd;

		if (sd == a->listener)
			on_accept(a);
		else if (a->cfg.work == WORK_OUT)
			on_stream_out(a, sd);
		else if (a->cfg.work == WORK_IN)
			on_stream_in(a, sd);
		else
			on_request(a, sd);
	}
	return n > 0;
}

const struct app_counts *app_counts(const struct app *a)
{
	return &a->counts;
}
