/* Requests on the control socket: one at a time, each with a time-out.
 *
 * Answers are matched by id, so that one which comes after its time-out harms nobody. Between a
 * request and its answer the daemon may announce new segments; they are mapped as they come.
 * Nothing else reads the socket: a chunk in a segment that is not known yet means that its
 * announcement waits there (control_need_segment()).
 */
#include <libclient/client.h>

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	ANSWER_TIMEOUT_MS = 5000,
	SEGMENT_TIMEOUT_MS = 2000,
	FDS_MAX = 2 + PROTO_CONTEXTS_MAX + PROTO_ENGINES_MAX,
};

static pthread_mutex_t rpc_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t last_id;

struct message {
	union proto_msg m;
	size_t len;
	int fds[FDS_MAX];
	unsigned int fd_count;
};

void control_fork_child(void)
{
	pthread_mutex_init(&rpc_lock, NULL);
}

int control_connect(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd, err;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Non-blocking: a full queue of connections is an error (EAGAIN), not a hang. */
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static void message_drop_fds(struct message *msg)
{
	for (unsigned int i = 0; i < msg->fd_count; i++)
		if (msg->fds[i] >= 0)
			close(msg->fds[i]);
	msg->fd_count = 0;
}

static int wait_io(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		uint64_t now = wait_now_ns();
		int left_ms = now < deadline_ns ? (int)((deadline_ns - now + 999999) / 1000000) : 0;
		int rc = poll(&p, 1, left_ms);

		if (rc > 0)
			return 0;
		if (rc == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static void take_fds(struct message *msg, struct msghdr *h)
{
	msg->fd_count = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		size_t bytes = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		if (bytes > sizeof(msg->fds))
			bytes = sizeof(msg->fds);
		memcpy(msg->fds, CMSG_DATA(c), bytes);
		msg->fd_count = (unsigned int)(bytes / sizeof(int));
	}
}

/* One message, with its descriptors in msg->fds, which the caller owns. */
static int receive(int fd, struct message *msg, uint64_t deadline_ns)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} control;
	struct iovec iov = {&msg->m, sizeof(msg->m)};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;
	int err;

	for (;;) {
		h.msg_control = control.buf;
		h.msg_controllen = sizeof(control.buf);
		n = recvmsg(fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n >= 0)
			break;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		err = wait_io(fd, POLLIN, deadline_ns);
		if (err)
			return err;
	}
	take_fds(msg, &h);
	msg->len = (size_t)n;
	if (n == 0)
		return -ECONNRESET;
	if (msg->len < sizeof(msg->m.h) || h.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ||
		msg->m.h.magic != PROTO_MAGIC || msg->m.h.version != PROTO_VERSION) {
		message_drop_fds(msg);
		return -EPROTO;
	}
	return 0;
}

static int transmit(int fd, union proto_msg *m, uint16_t type)
{
	uint64_t deadline = wait_deadline_ms(ANSWER_TIMEOUT_MS);
	int err = 0;

	m->h = (struct proto_msg_header){.magic = PROTO_MAGIC,
		.version = PROTO_VERSION,
		.type = type,
		.request_id = ++last_id};
	while (!err && send(fd, m, proto_msg_request_size(type), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		if (errno == EAGAIN)
			err = wait_io(fd, POLLOUT, deadline);
		else if (errno != EINTR)
			err = -errno;
	}
	return err;
}

static int add_segment(struct message *msg)
{
	const struct proto_msg_segment *m = &msg->m.segment;
	struct segment_map *map;
	struct shm_segment seg;
	int err;

	if (msg->len < sizeof(*m) || msg->fd_count != 1 || m->direction > SHM_DOWN ||
		m->index == 0 || m->index >= PROTO_SEGMENTS_MAX)
		return -EPROTO;
	map = &ses.seg[m->direction][m->index];
	if (atomic_load(&map->base))
		return -EPROTO;
	msg->fd_count = 0; /* taken, whatever happens */
	err = shm_segment_map(&seg, m->direction, msg->fds[0], m->bytes);
	if (err)
		return err;
	map->bytes = m->bytes;
	/* pairs with the acquire in session_at() */
	atomic_store_explicit(&map->base, seg.base, memory_order_release);
	return m->direction == SHM_DOWN ? pool_add(m->index, seg.base, m->bytes, 0) : 0;
}

/* Reads until the answer to request `id` is in *msg; its descriptors are the caller's. */
static int await(int fd, struct message *msg, uint32_t id)
{
	uint64_t deadline = wait_deadline_ms(ANSWER_TIMEOUT_MS);

	for (;;) {
		int err = receive(fd, msg, deadline);

		if (err)
			return err;
		if (msg->m.h.type != PROTO_MSG_SEGMENT && msg->m.h.request_id == id)
			return 0;
		if (msg->m.h.type == PROTO_MSG_SEGMENT)
			err = add_segment(msg);
		message_drop_fds(msg);
		if (err)
			return err;
	}
}

int control_attach(int fd, uint32_t contexts, struct proto_msg_attached *out, int *fds,
	unsigned int fds_max, unsigned int *fd_count)
{
	union proto_msg req = {.attach = {.contexts = contexts}};
	struct message msg;
	int err;

	strncpy(req.attach.name, program_invocation_short_name, sizeof(req.attach.name) - 1);
	for (char *p = req.attach.name; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	pthread_mutex_lock(&rpc_lock);
	err = transmit(fd, &req, PROTO_MSG_ATTACH);
	if (!err)
		err = await(fd, &msg, last_id);
	pthread_mutex_unlock(&rpc_lock);
	if (err)
		return err;
	if (msg.m.h.result < 0)
		err = msg.m.h.result;
	else if (msg.m.h.type != PROTO_MSG_ATTACH || msg.len < sizeof(*out) ||
		 msg.fd_count > fds_max)
		err = -EPROTO;
	if (err) {
		message_drop_fds(&msg);
		return err;
	}
	*out = msg.m.attached;
	memcpy(fds, msg.fds, msg.fd_count * sizeof(*fds));
	*fd_count = msg.fd_count;
	return 0;
}

/* A request of an attached session. The socket's failure is the session's end. */
static int call(union proto_msg *m, uint16_t type, struct message *msg)
{
	int err;

	if (!session_live())
		return -ENETDOWN;
	pthread_mutex_lock(&rpc_lock);
	err = transmit(ses.control_fd, m, type);
	if (!err)
		err = await(ses.control_fd, msg, last_id);
	pthread_mutex_unlock(&rpc_lock);
	if (err == -ETIMEDOUT)
		return err;
	if (err) {
		session_lost();
		return -ENETDOWN;
	}
	message_drop_fds(msg);
	return msg->m.h.result < 0 ? msg->m.h.result : 0;
}

int control_name(struct proto_msg_name *m, uint16_t type)
{
	union proto_msg req = {.name = *m};
	struct message msg;
	int err = call(&req, type, &msg);

	if (!err && msg.len < sizeof(*m))
		return -EPROTO;
	if (!err)
		*m = msg.m.name;
	return err;
}

int control_grow(uint64_t bytes)
{
	union proto_msg req = {.grow = {.bytes = bytes}};
	struct message msg;

	return call(&req, PROTO_MSG_GROW, &msg);
}

int control_need_segment(enum shm_direction dir, uint32_t idx)
{
	uint64_t deadline = wait_deadline_ms(SEGMENT_TIMEOUT_MS);
	struct message msg;
	int err = 0;

	pthread_mutex_lock(&rpc_lock);
	while (!err && !atomic_load(&ses.seg[dir][idx].base)) {
		err = session_live() ? receive(ses.control_fd, &msg, deadline) : -ENETDOWN;
		if (err)
			break;
		if (msg.m.h.type == PROTO_MSG_SEGMENT)
			err = add_segment(&msg);
		message_drop_fds(&msg);
	}
	pthread_mutex_unlock(&rpc_lock);
	return err;
}
