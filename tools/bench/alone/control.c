/* The daemon's main thread, as far as one client needs it: its control socket.
 *
 * The client library attaches, binds and listens by blocking calls, so this is a thread of its own.
 * It posts to the engines what daemon/ctl would, answers at once, and sleeps in poll(): an engine
 * takes its message in its next turn. The session's first segments are made large enough not to
 * grow, and requests to grow are refused as at the session's limit.
 */
#include "alone.h"

#include <engine/engine.h>
#include <proto/attach.h>
#include <proto/layout.h>
#include <shm/doorbell.h>
#include <shm/segment.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	SESSION = 1,
	RING_ORDER = 8,		  /* 256 slots, the daemon's default */
	SEGMENT_BYTES = 32 << 20, /* each way */
	BACKLOG = 4096,
};

struct control {
	struct engine *const *engines;
	struct alone_config cfg;
	char dir[64], path[96];
	int listen_fd, fd;
	pthread_t thread;
	struct proto_layout layout;
	struct shm_segment up, down;
	int bell[2], event_fds[ALONE_ENGINES_MAX];
	_Atomic bool condemned; /* by the SIGBUS guard, which is not installed here */
	uint32_t next_gen;
};

static struct engine_msg *message(enum engine_msg_type type)
{
	struct engine_msg *m = calloc(1, sizeof(*m));

	if (!m)
		alone_fail("no memory");
	m->type = type;
	return m;
}

static void send_answer(const struct control *c, const void *m, size_t len, const int *fds, int n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE((3 + ALONE_ENGINES_MAX) * sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)m, len};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n) {
		struct cmsghdr *cm;

		h.msg_control = &control;
		h.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
		cm = CMSG_FIRSTHDR(&h);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, (size_t)n * sizeof(int));
	}
	if (sendmsg(c->fd, &h, MSG_NOSIGNAL) < 0)
		alone_fail("control socket: %m");
}

static void make_session(struct control *c)
{
	struct proto_up_header *up;
	bool huge = c->cfg.huge;

	if (proto_layout_init(&c->layout, 1, c->cfg.engines, RING_ORDER) ||
		shm_segment_create(&c->up, SHM_UP, c->layout.up_payload + SEGMENT_BYTES, huge) ||
		shm_segment_create(
			&c->down, SHM_DOWN, c->layout.down_payload + SEGMENT_BYTES, huge) ||
		shm_doorbell_pipe(c->bell))
		alone_fail("no shared memory");
	for (uint32_t i = 0; i < c->cfg.engines; i++)
		c->event_fds[i] = shm_doorbell_event();
	up = (struct proto_up_header *)c->up.base;
	up->version = PROTO_VERSION;
	up->session = SESSION;
}

static void post_session(struct control *c, uint32_t engine)
{
	struct engine_msg *m = message(ENGINE_CMD_SESSION_ADD);
	uint64_t share =
		((c->up.len_bytes - c->layout.up_payload) / c->cfg.engines) & ~UINT64_C(4095);

	m->session = (struct engine_session_desc){
		.session = SESSION,
		.uid = getuid(),
		.pid = getpid(),
		.name = "bench",
		.layout = c->layout,
		.up_base = c->up.base,
		.down_base = c->down.base,
		.up_bytes = c->up.len_bytes,
		.down_bytes = c->down.len_bytes,
		.up_part_first = c->layout.up_payload + share * engine,
		.up_part_bytes = share,
		.down_max_bytes = c->down.len_bytes,
		.up_max_bytes = c->up.len_bytes,
		.condemned = &c->condemned,
	};
	m->session.doorbell_fds[0] = c->bell[1];
	engine_post(c->engines[engine], m);
}

static void on_attach(struct control *c, const union proto_msg *req)
{
	struct proto_msg_attached a = {
		.h = req->h,
		.session = SESSION,
		.contexts = 1,
		.engines = c->cfg.engines,
		.ring_order_log2 = RING_ORDER,
		.sndbuf_bytes = 256 << 10,
		.rcvbuf_bytes = 128 << 10,
		.sockets_max = c->cfg.conns + c->cfg.fresh_max + 1024,
		.addr_count = 1,
		.mtu_bytes = c->cfg.mtu_bytes,
	};
	int fds[3 + ALONE_ENGINES_MAX];

	make_session(c);
	for (uint32_t i = 0; i < c->cfg.engines; i++)
		post_session(c, i);
	a.down_bytes = c->down.len_bytes;
	a.up_bytes = c->up.len_bytes;
	a.down_max_bytes = c->down.len_bytes;
	a.addr[0] = (struct proto_local_addr){
		.addr = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1},
		.prefix_bits = 120,
	};
	fds[0] = shm_segment_export(&c->down);
	fds[1] = shm_segment_export(&c->up);
	fds[2] = c->bell[0];
	memcpy(fds + 3, c->event_fds, c->cfg.engines * sizeof(*fds));
	send_answer(c, &a, sizeof(a), fds, 3 + (int)c->cfg.engines);
	close(fds[0]);
	close(fds[1]);
}

static void on_listen(struct control *c, const union proto_msg *req)
{
	union proto_msg a = *req;

	a.name.listener = (struct proto_handle){.idx = 0, .gen = ++c->next_gen};
	for (uint32_t i = 0; i < c->cfg.engines; i++) {
		struct engine_msg *m = message(ENGINE_CMD_LISTEN_ADD);

		m->listen = (struct engine_listen_desc){
			.session = SESSION,
			.handle = a.name.listener,
			.port = req->name.port,
			.backlog = BACKLOG,
			.cookie = req->name.cookie,
			.context = req->name.context,
		};
		memcpy(m->listen.addr.b, req->name.addr, sizeof(m->listen.addr.b));
		engine_post(c->engines[i], m);
	}
	send_answer(c, &a.name, sizeof(a.name), NULL, 0);
}

static void on_request(struct control *c, union proto_msg *req)
{
	switch (req->h.type) {
	case PROTO_MSG_ATTACH:
		on_attach(c, req);
		break;
	case PROTO_MSG_LISTEN:
		on_listen(c, req);
		break;
	case PROTO_MSG_GROW:
		req->h.result = -ENOMEM;
		/* fallthrough */
	default:
		send_answer(c, req, proto_msg_request_size(req->h.type), NULL, 0);
		break;
	}
}

static void *run(void *arg)
{
	struct control *c = arg;
	union proto_msg req;
	ssize_t n;

	c->fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	unlink(c->path);
	rmdir(c->dir);
	while (c->fd >= 0 && (n = recv(c->fd, &req, sizeof(req), 0)) > 0) {
		if (proto_msg_request_check(&req, (size_t)n))
			alone_fail("malformed request on the control socket");
		on_request(c, &req);
	}
	return NULL;
}

struct control *control_new(struct engine *const *engines, const struct alone_config *cfg)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct control *c = calloc(1, sizeof(*c));

	if (!c)
		alone_fail("no memory");
	c->engines = engines;
	c->cfg = *cfg;
	strcpy(c->dir, "/tmp/mtcpd-bench-engine.XXXXXX");
	if (!mkdtemp(c->dir))
		alone_fail("%s: %m", c->dir);
	snprintf(c->path, sizeof(c->path), "%s/sock", c->dir);
	strcpy(sa.sun_path, c->path);
	c->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (c->listen_fd < 0 || bind(c->listen_fd, (struct sockaddr *)&sa, sizeof(sa)) ||
		listen(c->listen_fd, 1) || pthread_create(&c->thread, NULL, run, c))
		alone_fail("%s: %m", c->path);
	return c;
}

const char *control_path(const struct control *c)
{
	return c->path;
}
