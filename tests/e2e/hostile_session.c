/* Attaching, rings and one connection; see hostile.h. */
#include "hostile.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct hostile_args hostile_args;

void hostile_die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(2);
}

uint64_t hostile_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint32_t hostile_random(void)
{
	static uint64_t x = UINT64_C(0x2545f4914f6cdd1d);

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	return (uint32_t)(x * UINT64_C(0x2545f4914f6cdd1d) >> 32);
}

/* -- attaching -----------------------------------------------------------------------------------
 */

int hostile_dial(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	const struct timeval patience = {.tv_sec = HOSTILE_PATIENCE_MS / 1000};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", hostile_args.socket);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		hostile_die(hostile_args.socket);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* Length, or -1. Descriptors are added to h. */
static ssize_t receive(struct hostile *h, void *buf, size_t size)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(HOSTILE_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = buf, .iov_len = size};
	struct msghdr m = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(h->sock, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&m);

	if (c && c->cmsg_type == SCM_RIGHTS) {
		unsigned int count = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		memcpy(h->fds + h->fd_count, CMSG_DATA(c), count * sizeof(int));
		h->fd_count += count;
	}
	return n;
}

/* The mapping takes a descriptor for itself, so that the ones that came stay. */
static void map(struct shm_segment *s, enum shm_direction direction, int fd, uint64_t bytes)
{
	if (shm_segment_map(s, direction, dup(fd), bytes))
		hostile_die("map");
}

static void open_rings(struct hostile *h)
{
	const struct proto_layout *l = &h->layout;

	shm_ring_prod_init(&h->subs, proto_layout_submission_slots(l, h->down.base, 0, 0),
		&proto_layout_submission_line(l, h->up.base, 0, 0)->cons_idx, l->ring_order_log2);
	shm_ring_cons_init(&h->comps, proto_layout_completion_slots(l, h->up.base, 0, 0),
		hostile_cons_idx(h), l->ring_order_log2);
}

int hostile_try_attach(struct hostile *h)
{
	struct proto_msg_attach m = {
		.h = {.magic = PROTO_MAGIC, .version = PROTO_VERSION, .type = PROTO_MSG_ATTACH},
		.contexts = 1,
		.name = "hostile",
	};

	memset(h, 0, sizeof(*h));
	h->sock = hostile_dial();
	if (send(h->sock, &m, sizeof(m), MSG_NOSIGNAL) != sizeof(m) ||
		receive(h, &h->a, sizeof(h->a)) < (ssize_t)sizeof(h->a.h) || h->a.h.result < 0) {
		int err = h->a.h.result < 0 ? h->a.h.result : errno ? -errno : -EPIPE;

		close(h->sock);
		return err;
	}
	if (h->fd_count != 2 + h->a.contexts + h->a.engines ||
		proto_layout_init(&h->layout, h->a.contexts, h->a.engines, h->a.ring_order_log2))
		hostile_die("attach answer");
	map(&h->down, SHM_DOWN, h->fds[0], h->a.down_bytes);
	map(&h->up, SHM_UP, h->fds[1], h->a.up_bytes);
	open_rings(h);
	return 0;
}

void hostile_attach(struct hostile *h)
{
	int r = hostile_try_attach(h);

	errno = -r;
	if (r)
		hostile_die("attach");
}

void hostile_detach(struct hostile *h)
{
	close(h->sock);
	for (unsigned int i = 0; i < h->fd_count; i++)
		close(h->fds[i]);
	shm_segment_destroy(&h->down);
	shm_segment_destroy(&h->up);
}

int hostile_grow(struct hostile *h, proto_ref *ref, uint64_t *bytes)
{
	struct proto_msg_grow m = {
		.h = {.magic = PROTO_MAGIC, .version = PROTO_VERSION, .type = PROTO_MSG_GROW},
		.bytes = 4 << 20,
	};
	union proto_msg answer = {0};

	send(h->sock, &m, sizeof(m), MSG_NOSIGNAL);
	if (receive(h, &answer, sizeof(answer)) < 0 || answer.h.type != PROTO_MSG_SEGMENT) {
		errno = ENOMEM;
		hostile_die("grow");
	}
	*ref = proto_ref_make(answer.segment.index, 0);
	*bytes = answer.segment.bytes;
	return h->fds[--h->fd_count];
}

int hostile_bell_fd(const struct hostile *h)
{
	return h->fds[2];
}

int hostile_event_fd(const struct hostile *h)
{
	return h->fds[2 + h->a.contexts];
}

_Atomic uint32_t *hostile_sleeping(const struct hostile *h)
{
	return &proto_layout_ctx_line(&h->layout, h->down.base, 0)->sleeping;
}

_Atomic uint32_t *hostile_cons_idx(const struct hostile *h)
{
	return proto_layout_completion_idx(&h->layout, h->down.base, 0, 0);
}

uint8_t *hostile_payload(const struct hostile *h, proto_ref *ref)
{
	*ref = proto_ref_make(0, h->layout.down_payload);
	return h->down.base + h->layout.down_payload;
}

/* -- rings
 * ----------------------------------------------------------------------------------------- */

static bool is_over(const struct hostile *h)
{
	const struct proto_up_header *up = (const struct proto_up_header *)h->up.base;

	return atomic_load_explicit(&up->condemned, memory_order_acquire) != PROTO_OK;
}

void hostile_wake(const struct hostile *h)
{
	if (shm_sleep_check(&proto_layout_submission_line(&h->layout, h->up.base, 0, 0)->unwatched))
		shm_doorbell_event_ring(hostile_event_fd(h));
}

bool hostile_try_push(struct hostile *h, const struct proto_slot *s)
{
	struct shm_slot_copy raw;

	memcpy(raw.word, s, sizeof(*s));
	if (shm_ring_prod_push(&h->subs, &raw))
		return false;
	hostile_wake(h);
	return true;
}

bool hostile_push(struct hostile *h, const struct proto_slot *s)
{
	uint64_t end_us = hostile_now_us() + HOSTILE_PATIENCE_MS * UINT64_C(1000);

	while (!hostile_try_push(h, s)) {
		if (is_over(h) || hostile_now_us() > end_us)
			return false;
		usleep(50);
	}
	return true;
}

bool hostile_pop(struct hostile *h, struct proto_slot *out, unsigned int timeout_ms)
{
	uint64_t end_us = hostile_now_us() + timeout_ms * UINT64_C(1000);
	struct shm_slot_copy raw;

	while (!shm_ring_cons_pop(&h->comps, &raw)) {
		if (is_over(h) || hostile_now_us() >= end_us)
			return false;
		usleep(50);
	}
	shm_ring_cons_publish(&h->comps);
	memcpy(out, raw.word, sizeof(*out));
	return true;
}

bool hostile_await(struct hostile *h, uint8_t event, struct proto_slot *out)
{
	while (hostile_pop(h, out, HOSTILE_PATIENCE_MS))
		if (proto_head_op(out->head) == event)
			return true;
	return false;
}

/* -- a connection
 * ------------------------------------------------------------------------------------ */

/* The answer to this request, whatever else comes before it. */
static bool await_result(struct hostile *h, uint32_t request, struct proto_slot *out)
{
	while (hostile_await(h, PROTO_EV_RESULT, out))
		if (proto_head_request(out->head) == request)
			return true;
	return false;
}

static bool await_established(struct hostile *h, struct proto_handle sk)
{
	struct proto_slot s;

	while (hostile_await(h, PROTO_EV_FLOW, &s))
		if (s.body.flow.gen == sk.gen && (s.body.flow.flags || s.body.flow.error))
			return s.body.flow.flags & PROTO_FLOW_ESTABLISHED;
	return false;
}

struct proto_handle hostile_connect(struct hostile *h)
{
	struct proto_slot s = {.head = proto_head_make(PROTO_OP_CONNECT, ++h->request)};
	struct proto_handle sk;

	memcpy(s.body.connect.raddr, hostile_args.target, 16);
	s.body.connect.rport = hostile_args.target_port;
	s.body.connect.cookie = h->request;
	errno = ECONNABORTED;
	if (!hostile_push(h, &s) || !await_result(h, h->request, &s) || s.body.result.result)
		hostile_die("connect");
	sk = s.body.result.handle;
	if (!await_established(h, sk))
		hostile_die("connect");
	return sk;
}

bool hostile_send(struct hostile *h, struct proto_handle sk, uint64_t pos, uint32_t len)
{
	struct proto_slot s = {.head = proto_head_make(PROTO_OP_SEND, 0)};

	s.body.send.handle = sk;
	s.body.send.pos = pos;
	s.body.send.len_bytes = len;
	hostile_payload(h, &s.body.send.ref);
	return hostile_push(h, &s);
}

/* -- verdicts
 * ------------------------------------------------------------------------------------------ */

enum proto_condemned hostile_ended(struct hostile *h)
{
	const struct proto_up_header *up = (const struct proto_up_header *)h->up.base;
	struct pollfd p = {.fd = h->sock, .events = POLLRDHUP};
	int n;

	while ((n = poll(&p, 1, HOSTILE_PATIENCE_MS)) < 0 && errno == EINTR)
		;
	return n > 0 ? atomic_load_explicit(&up->condemned, memory_order_acquire) : PROTO_OK;
}

int hostile_expect(struct hostile *h, enum proto_condemned reason, const char *what)
{
	enum proto_condemned seen = hostile_ended(h);

	printf("%s: %s\n", what, proto_condemned_name(seen));
	hostile_detach(h);
	return seen == reason ? 0 : 1;
}

/* Asks for what does not exist: the answer is an error, but an answer. Whatever was not read
 * before is read first, since it keeps the daemon from answering. */
static bool answers(struct hostile *h)
{
	uint64_t end_us = hostile_now_us() + HOSTILE_PATIENCE_MS * UINT64_C(1000);
	struct proto_slot ask = {.head = proto_head_make(PROTO_OP_INFO, 0xfeed)}, s;
	bool pushed = false;

	while (!is_over(h) && hostile_now_us() < end_us) {
		pushed = pushed || hostile_try_push(h, &ask);
		if (hostile_pop(h, &s, 1) && proto_head_op(s.head) == PROTO_EV_RESULT &&
			proto_head_request(s.head) == 0xfeed)
			return true;
	}
	return false;
}

int hostile_expect_alive(struct hostile *h, const char *what)
{
	bool alive = answers(h);

	printf("%s: %s\n", what, alive ? "borne" : "does not answer");
	hostile_detach(h);
	return alive ? 0 : 1;
}
