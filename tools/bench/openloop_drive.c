/* The generator. Message i is due at begin + i / rate, whatever became of those before it, and
 * goes out on connection i modulo their number; its latency counts from when it was due. So a
 * stall of the stack, the server or this program itself is paid by every message that was due
 * while it lasted (no coordinated omission). How late the program itself was is told beside.
 *
 *   due:      |  |  |  |  |  |  |  |  |       each line a message
 *   given:    |  |        stall     ||||||    the socket is never waited for: what it does not
 *                         <--------->         take is owed, and sent when it takes more
 *
 * A message that was not answered when the time is over counts with the time until then.
 */
#include "openloop.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	EVENTS = 256,
	SENDS_MAX = 64,	     /* before answers are looked at again */
	PIECE_BYTES = 65536, /* given to or taken from a socket at a time */
	DRAIN_NS = 1000000000,
};

/* Messages under way: when each was due, oldest first, in a ring that grows. */
struct conn {
	int fd;
	bool waits;	     /* for room to send */
	uint64_t owed_bytes; /* due but not taken by the socket */
	uint64_t back_bytes; /* of the oldest message */
	uint32_t first, count, room;
	uint64_t *due_ns;
};

struct drive {
	const struct openloop_options *o;
	struct openloop_result *result;
	struct conn *conns;
	int epoll_fd;
	uint64_t begin_ns, warm_ns, end_ns;
	uint64_t next, total; /* messages: the next one that is due, and all */
	uint64_t open;	      /* due and not answered */
};

static const char payload[PIECE_BYTES];
static char answers[PIECE_BYTES];

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t due_ns(const struct drive *d, uint64_t message)
{
	return d->begin_ns + (uint64_t)((double)message / d->o->rate * 1e9);
}

/* -- the ring of a connection --------------------------------------------------------------- */

static int grow(struct conn *c)
{
	uint32_t room = c->room ? c->room * 2 : 64;
	uint64_t *due = malloc(room * sizeof(*due));

	if (due == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->count; i++)
		due[i] = c->due_ns[(c->first + i) & (c->room - 1)];
	free(c->due_ns);
	c->due_ns = due;
	c->first = 0;
	c->room = room;
	return 0;
}

static int push(struct conn *c, uint64_t due)
{
	int err = c->count == c->room ? grow(c) : 0;

	if (err == 0)
		c->due_ns[(c->first + c->count++) & (c->room - 1)] = due;
	return err;
}

static uint64_t pop(struct conn *c)
{
	uint64_t due = c->due_ns[c->first];

	c->first = (c->first + 1) & (c->room - 1);
	c->count--;
	return due;
}

/* -- one connection ------------------------------------------------------------------------- */

static int ask(struct drive *d, struct conn *c, int operation)
{
	struct epoll_event ev = {.events = c->waits ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};

	return epoll_ctl(d->epoll_fd, operation, c->fd, &ev) < 0 ? -errno : 0;
}

static int give(struct drive *d, struct conn *c)
{
	bool waits = false;

	while (c->owed_bytes > 0 && !waits) {
		size_t len = c->owed_bytes < PIECE_BYTES ? c->owed_bytes : PIECE_BYTES;
		ssize_t n = send(c->fd, payload, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return -errno;
		waits = n < 0;
		c->owed_bytes -= n < 0 ? 0 : (size_t)n;
	}
	if (waits == c->waits)
		return 0;
	c->waits = waits;
	return ask(d, c, EPOLL_CTL_MOD);
}

static void record(struct drive *d, uint64_t due, uint64_t now_ns)
{
	if (due >= d->warm_ns)
		histogram_add(&d->result->latency_ns, now_ns - due);
}

static int take(struct drive *d, struct conn *c)
{
	ssize_t n = recv(c->fd, answers, sizeof(answers), 0);
	uint64_t due, now_ns;

	if (n <= 0)
		return n < 0 && errno == EAGAIN ? 0 : n < 0 ? -errno : -ECONNRESET;
	c->back_bytes += (size_t)n;
	now_ns = clock_ns();
	for (; c->back_bytes >= d->o->size_bytes; c->back_bytes -= d->o->size_bytes) {
		if (c->count == 0)
			return -EPROTO;
		due = pop(c);
		d->open--;
		d->result->answered += due >= d->warm_ns;
		d->result->in_time += now_ns >= d->warm_ns && now_ns < d->end_ns;
		record(d, due, now_ns);
	}
	return 0;
}

/* -- all of them ---------------------------------------------------------------------------- */

static int send_due(struct drive *d)
{
	int err = 0;

	for (int i = 0; err == 0 && i < SENDS_MAX && d->next < d->total; i++) {
		struct conn *c = &d->conns[d->next % d->o->connections];
		uint64_t due = due_ns(d, d->next), now_ns = clock_ns();

		if (now_ns < due)
			break;
		d->next++;
		d->open++;
		err = push(c, due);
		c->owed_bytes += d->o->size_bytes;
		if (err == 0 && !c->waits)
			err = give(d, c);
		if (due >= d->warm_ns)
			histogram_add(&d->result->late_ns, now_ns - due);
	}
	return err;
}

static uint64_t wait_ns(const struct drive *d)
{
	uint64_t until = d->next < d->total ? due_ns(d, d->next) : d->end_ns + DRAIN_NS;
	uint64_t now_ns = clock_ns();

	return d->o->spin || until <= now_ns ? 0 : until - now_ns;
}

static int take_events(struct drive *d)
{
	struct epoll_event events[EVENTS];
	uint64_t ns = wait_ns(d);
	struct timespec timeout = {
		.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
	int n = epoll_pwait2(d->epoll_fd, events, EVENTS, &timeout, NULL), err = 0;

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; err == 0 && i < n; i++) {
		struct conn *c = events[i].data.ptr;

		if (events[i].events & ~(unsigned int)EPOLLOUT)
			err = take(d, c);
		if (err == 0 && (events[i].events & EPOLLOUT))
			err = give(d, c);
	}
	return err;
}

/* And those that the program itself did not come to. */
static void count_unanswered(struct drive *d)
{
	uint64_t now_ns = clock_ns();

	for (; d->next < d->total; d->next++)
		record(d, due_ns(d, d->next), now_ns);
	for (unsigned int i = 0; i < d->o->connections; i++) {
		while (d->conns[i].count > 0)
			record(d, pop(&d->conns[i]), now_ns);
	}
}

static int run(struct drive *d)
{
	int err = 0;

	d->begin_ns = clock_ns();
	d->warm_ns = d->begin_ns + (uint64_t)(d->o->warmup_s * 1e9);
	d->end_ns = d->warm_ns + (uint64_t)(d->o->seconds * 1e9);
	d->total = (uint64_t)((d->o->warmup_s + d->o->seconds) * d->o->rate);
	while (err == 0 && (d->next < d->total || d->open > 0) &&
		clock_ns() < d->end_ns + DRAIN_NS) {
		err = send_due(d);
		if (err == 0)
			err = take_events(d);
	}
	count_unanswered(d);
	return err;
}

static int connect_one(struct drive *d, struct conn *c)
{
	const struct sockaddr_in *to = &d->o->address;
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)to, sizeof(*to)) < 0 ||
		fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0 ||
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		return -errno;
	return ask(d, c, EPOLL_CTL_ADD);
}

int openloop_drive(const struct openloop_options *o, struct openloop_result *result)
{
	struct drive d = {.o = o, .result = result};
	int err = 0;

	memset(result, 0, sizeof(*result));
	prctl(PR_SET_TIMERSLACK, 1); /* or each wait is 50 us longer than was asked for */
	d.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	d.conns = calloc(o->connections, sizeof(*d.conns));
	if (d.epoll_fd < 0 || d.conns == NULL)
		return d.epoll_fd < 0 ? -errno : -ENOMEM;
	for (unsigned int i = 0; err == 0 && i < o->connections; i++)
		err = connect_one(&d, &d.conns[i]);
	return err == 0 ? run(&d) : err;
}
