/* The session: attach, detach, the daemon's death, fork and exit.
 *
 * There is at most one, in `ses`. It becomes LIVE when everything is mapped, and DEAD when the
 * control socket ends or the daemon condemns it. Its memory stays mapped while DEAD, since
 * threads may be in the middle of it; it goes when the last socket of it is closed and somebody
 * attaches again, or with mtcp_detach(), whose caller promises that no call is under way.
 *
 * A forked child shares nothing with the session: segments are MADV_DONTFORK, and the handler
 * closes the inherited descriptors and starts the library anew, with an empty table. It takes
 * no lock and frees nothing: another thread of the parent may have been anywhere.
 */
#include <libclient/client.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	FD_FLOOR = 512, /* our descriptors stay out of the way of select() and of low numbers */
	FD_TRACKED_MAX = 1 << 20,
	ATTACH_FDS_MAX = 2 + PROTO_CONTEXTS_MAX + PROTO_ENGINES_MAX,
};

struct session ses = {.control_fd = FD_NONE};
struct counters counters;

static pthread_mutex_t attach_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t process_once = PTHREAD_ONCE_INIT;
static _Atomic uint64_t owned[FD_TRACKED_MAX / 64];

/* -- descriptors of our own ---------------------------------------------------------------- */

void mtcpi_own_fd(int fd, bool yes)
{
	uint64_t bit = UINT64_C(1) << (fd % 64);

	if (fd < 0 || fd >= FD_TRACKED_MAX)
		return;
	if (yes)
		atomic_fetch_or(&owned[fd / 64], bit);
	else
		atomic_fetch_and(&owned[fd / 64], ~bit);
}

bool mtcpi_owns_fd(int fd)
{
	return fd >= 0 && fd < FD_TRACKED_MAX && atomic_load(&owned[fd / 64]) >> (fd % 64) & 1;
}

/* Takes fd (or -1), returns the number it has now; -1 stays -1. */
int session_keep_fd(int fd)
{
	int high;

	if (fd < 0)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, FD_FLOOR);
	if (high >= 0) {
		close(fd);
		fd = high;
	}
	mtcpi_own_fd(fd, true);
	return fd;
}

void session_forget_fd(int fd)
{
	if (fd < 0)
		return;
	mtcpi_own_fd(fd, false);
	close(fd);
}

/* -- fork and exit ------------------------------------------------------------------------- */

static void fork_child(void)
{
	for (int fd = 0; fd < FD_TRACKED_MAX; fd++) {
		if (!atomic_load(&owned[fd / 64])) {
			fd |= 63;
			continue;
		}
		if (mtcpi_owns_fd(fd))
			session_forget_fd(fd);
	}
	pthread_mutex_init(&attach_lock, NULL);
	atomic_store(&ses.state, SESSION_NONE);
	ses.control_fd = FD_NONE;
	ses.contexts = 0;
	memset(ses.seg, 0, sizeof(ses.seg));
	for (int i = 0; i < PROTO_CONTEXTS_MAX; i++) {
		ses.ctx[i].live = false;
		ses.ctx[i].stash = NULL; /* leaked */
		ses.ctx[i].stashed = ses.ctx[i].stash_room = 0;
		atomic_store(&ses.ctx[i].drainer, NULL);
		ses.ctx[i].cons_lock = ses.ctx[i].prod_lock = (struct lock){0};
	}
	ses.generation++;
	control_fork_child();
	wait_fork_child();
	pool_fork_child();
	sock_fork_child();
	rx_fork_child();
}

/* So that what was read counts as read: the daemon closes our sockets as Linux would, and
 * unread data would turn that into a reset. */
static void process_exit(void)
{
	if (!session_live())
		return;
	for (uint32_t i = 0; i < SOCKS_MAX; i++) {
		struct sock *s = sock_at(i);

		if (!s)
			return;
		if (!lock_try(&s->lock))
			continue;
		if (s->kind == KIND_TCP)
			rx_flush(s);
		lock_drop(&s->lock);
	}
}

static void process_setup(void)
{
	pthread_atfork(NULL, NULL, fork_child);
	atexit(process_exit);
}

/* -- life and death ------------------------------------------------------------------------ */

/* Unmaps everything. attach_lock held; no socket of the session is left. */
static void teardown(void)
{
	atomic_store(&ses.state, SESSION_NONE);
	for (uint32_t i = 0; i < ses.contexts; i++) {
		ctx_close(&ses.ctx[i]);
		session_forget_fd(ses.ctx[i].pipe_fd);
	}
	for (uint32_t i = 0; i < ses.engines; i++)
		session_forget_fd(ses.engine_fd[i]);
	ses.contexts = ses.engines = 0;
	pool_fini();
	for (int dir = 0; dir < 2; dir++) {
		for (int i = 0; i < PROTO_SEGMENTS_MAX; i++) {
			struct segment_map *m = &ses.seg[dir][i];
			struct shm_segment seg = {.base = m->base, .len_bytes = m->bytes, .fd = -1};

			atomic_store(&m->base, NULL);
			shm_segment_destroy(&seg);
		}
	}
	session_forget_fd(ses.control_fd);
	ses.control_fd = FD_NONE;
	ses.up_header = NULL;
	ses.generation++;
}

void session_lost(void)
{
	uint32_t live = SESSION_LIVE;

	if (!atomic_compare_exchange_strong(&ses.state, &live, SESSION_DEAD))
		return;
	sock_fail_all();
	mtcpi_wake_all();
}

bool session_check(void)
{
	union proto_msg m;
	ssize_t n;

	if (!session_live())
		return false;
	n = recv(ses.control_fd, &m, sizeof(m), MSG_PEEK | MSG_DONTWAIT);
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		if (!atomic_load_explicit(&ses.up_header->condemned, memory_order_relaxed))
			return true;
	session_lost();
	return false;
}

static int map_segments(const struct proto_msg_attached *a, const int *fds)
{
	const uint64_t bytes[2] = {[SHM_UP] = a->up_bytes, [SHM_DOWN] = a->down_bytes};
	struct shm_segment seg;
	int err = 0;

	for (int dir = 0; dir < 2; dir++) {
		int fd = fds[dir == SHM_DOWN ? 0 : 1];

		if (err) {
			close(fd);
			continue;
		}
		err = shm_segment_map(&seg, (enum shm_direction)dir, fd, bytes[dir]);
		if (err)
			continue;
		ses.seg[dir][0].bytes = seg.len_bytes;
		atomic_store(&ses.seg[dir][0].base, seg.base);
	}
	return err;
}

/* Takes over the descriptors, whatever happens. */
static int open_session(const struct proto_msg_attached *a, const int *fds, unsigned int fd_count)
{
	int err = proto_layout_init(&ses.layout, a->contexts, a->engines, a->ring_order_log2);

	if (err || fd_count != 2 + a->contexts + a->engines || !a->up_bytes ||
		ses.layout.up_payload > a->up_bytes || ses.layout.down_payload > a->down_bytes) {
		for (unsigned int i = 0; i < fd_count; i++)
			close(fds[i]);
		return -EPROTO;
	}
	ses.info = *a;
	if (ses.info.addr_count > PROTO_ADDRS_MAX)
		ses.info.addr_count = PROTO_ADDRS_MAX;
	ses.engines = a->engines;
	err = map_segments(a, fds);
	for (uint32_t i = 0; i < a->engines; i++)
		ses.engine_fd[i] = session_keep_fd(fds[2 + a->contexts + i]);
	for (uint32_t i = 0; i < a->contexts; i++) {
		int fd = session_keep_fd(fds[2 + i]);

		if (!err)
			err = ctx_open(&ses.ctx[i], i, fd);
		if (err) {
			session_forget_fd(fd);
			continue;
		}
		ses.contexts = i + 1;
	}
	if (err)
		return err;
	ses.up_header = (const struct proto_up_header *)ses.seg[SHM_UP][0].base;
	return pool_add(0, ses.seg[SHM_DOWN][0].base, a->down_bytes, ses.layout.down_payload);
}

static int attach_locked(int fd)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint32_t contexts = cpus < 1			? 1
			    : cpus > PROTO_CONTEXTS_MAX ? PROTO_CONTEXTS_MAX
							: (uint32_t)cpus;
	struct proto_msg_attached a;
	int fds[ATTACH_FDS_MAX];
	unsigned int fd_count;
	int err;

	pthread_once(&process_once, process_setup);
	ses.control_fd = session_keep_fd(fd);
	err = control_attach(ses.control_fd, contexts, &a, fds, ATTACH_FDS_MAX, &fd_count);
	if (!err)
		err = open_session(&a, fds, fd_count);
	if (err) {
		teardown();
		return err;
	}
	atomic_store_explicit(&ses.state, SESSION_LIVE, memory_order_release);
	mtcpi_wake_all(); /* whoever sleeps without a leader */
	return 0;
}

/* Makes room for a new session. 0, -EISCONN (one lives), -ENETDOWN (sockets are left). */
static int make_room(void)
{
	switch (atomic_load(&ses.state)) {
	case SESSION_LIVE:
		return -EISCONN;
	case SESSION_DEAD:
		if (sock_count())
			return -ENETDOWN;
		sock_discard_all();
		teardown();
		return 0;
	default:
		return 0;
	}
}

static int attach_path(const char *path)
{
	int err, fd;

	if (!path || !*path)
		path = secure_getenv(PROTO_SOCKET_ENV);
	if (!path || !*path)
		path = PROTO_SOCKET_DEFAULT;
	pthread_mutex_lock(&attach_lock);
	err = make_room();
	if (!err) {
		fd = control_connect(path);
		err = fd < 0 ? fd : attach_locked(fd);
	}
	pthread_mutex_unlock(&attach_lock);
	return err == -EISCONN ? 0 : err;
}

int session_ensure(void)
{
	return session_live() ? 0 : attach_path(NULL);
}

int mtcp_attach(const char *path)
{
	return ret_errno(session_live() ? 0 : attach_path(path));
}

int mtcpi_attach_fd(int fd)
{
	int err;

	pthread_mutex_lock(&attach_lock);
	err = make_room();
	if (!err)
		err = attach_locked(fd);
	else
		close(fd);
	pthread_mutex_unlock(&attach_lock);
	return ret_errno(err);
}

bool mtcpi_attached(void)
{
	return session_live();
}

int mtcp_detach(void)
{
	pthread_mutex_lock(&attach_lock);
	if (atomic_load(&ses.state) != SESSION_NONE) {
		sock_discard_all();
		teardown();
		mtcpi_wake_all();
	}
	pthread_mutex_unlock(&attach_lock);
	return 0;
}

/* -- looking things up --------------------------------------------------------------------- */

uint8_t *session_at(enum shm_direction dir, proto_ref ref)
{
	uint32_t idx = proto_ref_segment(ref);
	uint64_t offset = proto_ref_offset(ref);
	struct segment_map *m;
	uint8_t *base;

	if (idx >= PROTO_SEGMENTS_MAX)
		goto out_nonsense;
	m = &ses.seg[dir][idx];
	/* pairs with the release in add_segment() */
	base = atomic_load_explicit(&m->base, memory_order_acquire);
	if (!base && idx && !control_need_segment(dir, idx))
		base = atomic_load_explicit(&m->base, memory_order_acquire);
	if (base && offset < m->bytes)
		return base + offset;
out_nonsense:
	session_lost();
	return NULL;
}

static bool prefix_matches(const struct proto_local_addr *a, const uint8_t addr[16], uint32_t bits)
{
	uint32_t bytes = bits / 8, rest = bits % 8;

	if (bits > 128 || memcmp(a->addr, addr, bytes))
		return false;
	return !rest || !((a->addr[bytes] ^ addr[bytes]) >> (8 - rest));
}

/* Loopback, multicast, broadcast and the wildcards are no addresses of the wire. */
static bool on_no_wire(const struct in6_addr *addr)
{
	uint32_t ip = ntohl(addr->s6_addr32[3]);

	if (!IN6_IS_ADDR_V4MAPPED(addr))
		return IN6_IS_ADDR_UNSPECIFIED(addr) || IN6_IS_ADDR_LOOPBACK(addr) ||
		       IN6_IS_ADDR_MULTICAST(addr);
	return ip >> 24 == 127 || ip >> 24 == 0 || ip >> 28 >= 0xe;
}

enum mtcpi_addr mtcpi_classify(const struct in6_addr *addr)
{
	uint32_t route = IN6_IS_ADDR_V4MAPPED(addr)    ? PROTO_DEFAULT_ROUTE_IP4
			 : IN6_IS_ADDR_LINKLOCAL(addr) ? 0
						       : PROTO_DEFAULT_ROUTE_IP6;
	const uint8_t *key = addr->s6_addr;
	enum mtcpi_addr found;

	if (!session_live() || on_no_wire(addr))
		return MTCPI_ADDR_NONE;
	found = ses.info.default_routes & route ? MTCPI_ADDR_ROUTED : MTCPI_ADDR_NONE;
	for (uint32_t i = 0; i < ses.info.addr_count; i++) {
		const struct proto_local_addr *a = &ses.info.addr[i];

		if (!(a->flags & PROTO_ADDR_PREFIX) && prefix_matches(a, key, 128))
			return MTCPI_ADDR_LOCAL;
		if (prefix_matches(a, key, a->prefix_bits))
			found = MTCPI_ADDR_ONLINK;
	}
	return found;
}

bool mtcpi_serves_ip6(void)
{
	for (uint32_t i = 0; session_live() && i < ses.info.addr_count; i++)
		if (!addr_is_ip4(ses.info.addr[i].addr))
			return true;
	return false;
}

void mtcp_stats(struct mtcp_stats *out)
{
	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < PROTO_CONTEXTS_MAX; i++) {
		struct ctx *c = &ses.ctx[i];

		lock_take(&c->cons_lock);
		out->events += c->events;
		out->events_stale += c->stale;
		lock_drop(&c->cons_lock);
		lock_take(&c->prod_lock);
		out->operations += c->operations;
		lock_drop(&c->prod_lock);
	}
	out->doorbells = atomic_load(&counters.doorbells);
	out->sleeps = atomic_load(&counters.sleeps);
	out->handovers = atomic_load(&counters.handovers);
	out->ring_full_waits = atomic_load(&counters.ring_full_waits);
	out->pool_empty = atomic_load(&counters.pool_empty);
	out->sockopt_unknown = atomic_load(&counters.sockopt_unknown);
}
