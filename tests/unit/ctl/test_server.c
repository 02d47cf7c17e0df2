/* The attach server against fake engines: who may attach, what a client gets and can do with
 * it, and that whatever it does, everything comes back. Tests that need another user fork a
 * child with the uid of nobody; they are skipped unless run by root. */
#include "server_fixture.h"

#include <ctl/memory.h>

#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define OPTIONAL_ROOT()                                                                            \
	do {                                                                                       \
		if (geteuid() != 0)                                                                \
			skip();                                                                    \
	} while (0)

enum {
	HANG_S = 300, /* what takes so long hangs: a sanitizer on a busy machine needs 50 */
};

static uint32_t sessions(void)
{
	return fx.server->sessions.count;
}

/* A child of the stranger's uid that runs `body` and exits with what it returns. */
static pid_t stranger(int (*body)(void))
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (setgroups(0, NULL) || setgid(STRANGER) || setuid(STRANGER))
		_exit(200);
	alarm(HANG_S);
	_exit(body());
}

/* Blocking, for children: the parent serves. */
static int child_attach(struct received *r, uint32_t contexts)
{
	union proto_msg m = client_msg(PROTO_MSG_ATTACH);
	int fd = client_connect("mtcpd.sock", SOCK_SEQPACKET);

	if (fd < 0)
		return fd;
	m.attach.contexts = contexts;
	if (send(fd, &m, sizeof(m.attach), 0) < 0)
		return -errno;
	client_receive(fd, r, 0);
	return fd;
}

static int child_request(int fd, const union proto_msg *m, struct received *r)
{
	if (send(fd, m, proto_msg_request_size(m->h.type), 0) < 0)
		return -errno;
	client_receive(fd, r, 0);
	return r->len < (ssize_t)sizeof(r->m.h) ? -EIO : r->m.h.result;
}

/* -- attach ----------------------------------------------------------------------------------- */

#define CHECK(n, condition)                                                                        \
	do {                                                                                       \
		if (!(condition))                                                                  \
			return n;                                                                  \
	} while (0)

static int body_maps(void)
{
	struct proto_up_header *up;
	struct proto_layout l;
	struct received r;
	uint64_t beat;
	uint8_t *down;
	char path[64];

	CHECK(1, child_attach(&r, 9) >= 0);
	CHECK(2, r.len == sizeof(r.m.attached) && r.m.h.result == 0);
	CHECK(3, r.m.attached.contexts >= 1 && r.m.attached.contexts <= 2);
	CHECK(4, r.m.attached.engines == FAKE_ENGINES);
	CHECK(5, r.nfds == 2 + r.m.attached.contexts + FAKE_ENGINES);
	CHECK(6, proto_layout_init(&l, r.m.attached.contexts, r.m.attached.engines,
			 r.m.attached.ring_order_log2) == 0);
	CHECK(7, l.up_payload < r.m.attached.up_bytes && l.down_payload < r.m.attached.down_bytes);
	CHECK(8, mmap(NULL, r.m.attached.up_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r.fds[1],
			 0) == MAP_FAILED);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", r.fds[1]);
	CHECK(9, open(path, O_RDWR) < 0);
	up = mmap(NULL, r.m.attached.up_bytes, PROT_READ, MAP_SHARED, r.fds[1], 0);
	down = mmap(NULL, r.m.attached.down_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r.fds[0], 0);
	CHECK(10, up != MAP_FAILED && down != MAP_FAILED);
	CHECK(11, up->version == PROTO_VERSION && up->session == r.m.attached.session);
	down[r.m.attached.down_bytes - 1] = 42;
	beat = atomic_load(&up->heartbeat_us);
	while (atomic_load(&up->heartbeat_us) <= beat) /* until the alarm */
		usleep(1000);
	CHECK(13, atomic_load(&up->condemned) == 0 && atomic_load(&up->epoch) != 0);
	CHECK(14, r.m.attached.addr_count == 1 && r.m.attached.addr[0].prefix_bits == 120);
	CHECK(15, r.m.attached.mtu_bytes == 1500 && r.m.attached.default_routes == 0);
	return 0;
}

static void test_attach_by_stranger_gives_one_writer_segments(void **state)
{
	(void)state;
	OPTIONAL_ROOT();
	assert_int_equal(run_child(stranger(body_maps)), 0);
	assert_int_equal(fx.server->counters.attaches, 1);
	run_until(!sessions());
	assert_int_equal(fx.server->fds_used, 0);
	assert_int_equal(fx.server->fds_used, 0);
	assert_int_equal(fake_engine[0].sessions + fake_engine[1].sessions, 0);
	assert_int_equal(fake_thread[0].watched, 0);
}

static void test_attach_engines_get_disjoint_parts_of_up(void **state)
{
	const struct engine_session_desc *d0, *d1;
	struct received r;
	int fd;

	(void)state;
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	d0 = fake_session(&fake_engine[0], r.m.attached.session);
	d1 = fake_session(&fake_engine[1], r.m.attached.session);
	assert_non_null(d0);
	assert_non_null(d1);
	assert_int_equal(d0->uid, geteuid());
	assert_int_equal(d0->pid, getpid());
	assert_string_equal(d0->name, "tester");
	assert_true(d0->up_part_first >= d0->layout.up_payload);
	assert_true(d0->up_part_first + d0->up_part_bytes <= d1->up_part_first);
	assert_true(d1->up_part_first + d1->up_part_bytes <= d1->up_bytes);
	assert_true(d0->up_part_bytes >= (256 << 10));
	close(fd);
	run_us(20000);
	assert_int_equal(sessions(), 0);
}

static void expect_refused(const void *msg, size_t len)
{
	int fd = client_connect("mtcpd.sock", SOCK_SEQPACKET);
	struct received r;

	assert_true(fd >= 0);
	client_call(fd, msg, len, &r);
	assert_int_equal(r.len, sizeof(r.m.h));
	assert_int_equal(r.m.h.result, -EPROTO);
	client_call(fd, NULL, 0, &r);
	assert_int_equal(r.len, 0);
	close(fd);
}

static void test_attach_malformed_is_refused_and_closed(void **state)
{
	union proto_msg good = client_msg(PROTO_MSG_ATTACH), m;
	static char big[sizeof(union proto_msg) + 100];

	(void)state;
	expect_refused(&good, sizeof(good.attach) - 1);
	expect_refused(&good, 3);
	memcpy(big, &good, sizeof(good));
	expect_refused((union proto_msg *)(void *)big, sizeof(big));
	m = good;
	m.h.magic++;
	expect_refused(&m, sizeof(m.attach));
	m = good;
	m.h.version++;
	expect_refused(&m, sizeof(m.attach));
	m = good;
	memset(m.attach.name, 'x', sizeof(m.attach.name));
	expect_refused(&m, sizeof(m.attach));
	m = good;
	m.attach.contexts = 0;
	expect_refused(&m, sizeof(m.attach));
	m = client_msg(PROTO_MSG_BIND);
	expect_refused(&m, sizeof(m.name));
	assert_int_equal(fx.server->counters.attach_malformed, 8);
	assert_int_equal(fx.server->attach.pending_count, 0);
	assert_int_equal(fx.server->fds_used, 0);
}

static void test_attach_with_descriptors_sent_along_keeps_none(void **state)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control = {0};
	union proto_msg m = client_msg(PROTO_MSG_ATTACH);
	struct iovec iov = {&m, sizeof(m.attach)};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_controllen = sizeof(control)};
	unsigned int before, held;
	struct received r;
	struct cmsghdr *c;
	int fd = client_connect("mtcpd.sock", SOCK_SEQPACKET);

	(void)state;
	h.msg_control = &control;
	c = CMSG_FIRSTHDR(&h);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(8 * sizeof(int));
	for (int i = 0; i < 8; i++)
		((int *)(void *)CMSG_DATA(c))[i] = fd;
	before = open_fds();
	assert_true(sendmsg(fd, &h, 0) > 0);
	client_call(fd, NULL, 0, &r);
	assert_int_equal(r.m.h.result, 0);
	client_close(&r);
	held = fx.server->fds_used;
	assert_int_equal(open_fds(), before + held);
	close(fd);
	run_us(20000);
	assert_int_equal(open_fds(), before - 1);
}

static void test_attach_silent_connection_is_closed_after_deadline(void **state)
{
	uint64_t start_us = loop_now_us();
	int fd = client_connect("mtcpd.sock", SOCK_SEQPACKET);
	struct received r;

	(void)state;
	run_until(fx.server->counters.attach_timeouts == 1);
	assert_true(loop_now_us() - start_us >= ATTACH_DEADLINE_US);
	client_receive(fd, &r, MSG_DONTWAIT);
	assert_int_equal(r.len, 0);
	assert_int_equal(fx.server->fds_used, 0);
	close(fd);
}

static void test_attach_pending_of_one_user_is_bounded(void **state)
{
	int fd[ATTACH_PENDING_PER_UID_MAX + 5];
	struct received r;

	(void)state;
	for (int i = 0; i < ATTACH_PENDING_PER_UID_MAX + 5; i++)
		fd[i] = client_connect("mtcpd.sock", SOCK_SEQPACKET);
	run_us(30000);
	assert_int_equal(fx.server->attach.pending_count, ATTACH_PENDING_PER_UID_MAX);
	assert_int_equal(fx.server->counters.attach_refused_pending, 5);
	client_receive(fd[ATTACH_PENDING_PER_UID_MAX + 4], &r, MSG_DONTWAIT);
	assert_int_equal(r.m.h.result, -EAGAIN);
	for (int i = 0; i < ATTACH_PENDING_PER_UID_MAX + 5; i++)
		close(fd[i]);
	run_us(20000);
	assert_int_equal(fx.server->attach.pending_count, 0);
}

/* -- limits -------------------------------------------------------------------------------------
 */

static int setup_strict(void **state)
{
	struct server_params p;

	assert_int_equal(setup(state), 0);
	server_destroy(fx.server);
	fx.cfg.limits.attach_rate_per_uid = 3;
	fx.cfg.limits.sessions_per_uid = 2;
	fixture_params(&p);
	return server_create(&fx.server, &p);
}

static void test_attach_too_fast_is_refused_until_time_passes(void **state)
{
	uint64_t start_us = loop_now_us(), attaches = 0;
	struct received r;
	int fd, result;

	(void)state;
	while ((result = client_attach(&fd, &r)) == 0 && attaches < 100) {
		attaches++;
		client_close(&r);
		close(fd);
		run_us(5000);
	}
	close(fd);
	assert_int_equal(result, -EAGAIN);
	/* three at once, and three more for each second that a busy machine took */
	assert_in_range(attaches, 3, 4 + (loop_now_us() - start_us) * 3 / 1000000);
	assert_int_equal(fx.server->counters.attach_refused_rate, 1);
	run_us(400000);
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	close(fd);
}

static void test_attach_beyond_user_limit_is_refused(void **state)
{
	struct received r;
	int fd[3];

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(client_attach(&fd[i], &r), 0);
		client_close(&r);
	}
	assert_int_equal(client_attach(&fd[2], &r), -EDQUOT);
	assert_int_equal(fx.server->counters.attach_refused_uid, 1);
	assert_int_equal(sessions(), 2);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
	run_us(20000);
	assert_int_equal(fx.server->fds_used, 0);
}

static void test_attach_beyond_fd_budget_is_refused_cleanly(void **state)
{
	struct received r;
	uint32_t used;
	int fd[2];

	(void)state;
	assert_int_equal(client_attach(&fd[0], &r), 0);
	client_close(&r);
	used = fx.server->fds_used;
	fx.server->fds_max = used + 3; /* a connection fits, a session does not */
	assert_int_equal(client_attach(&fd[1], &r), -EMFILE);
	assert_int_equal(fx.server->counters.attach_refused_fds, 1);
	assert_int_equal(fx.server->fds_used, used);
	close(fd[1]);
	close(fd[0]);
	run_us(20000);
	fx.server->fds_max = 100;
	assert_int_equal(client_attach(&fd[0], &r), 0);
	client_close(&r);
	close(fd[0]);
}

static void test_attach_refused_by_an_engine_takes_it_back_everywhere(void **state)
{
	struct received r;
	int fd;

	(void)state;
	fake_engine[1].add_result = -EMFILE;
	assert_int_equal(client_attach(&fd, &r), -EMFILE);
	close(fd);
	run_us(10000);
	assert_int_equal(sessions(), 0);
	assert_int_equal(fake_engine[0].sessions, 0);
	assert_int_equal(fx.server->fds_used, 0);
	assert_int_equal(fake_thread[0].watched + fake_thread[1].watched, 0);
}

/* -- death ----------------------------------------------------------------------------------------
 */

static int shared_pipe[2];

/* Attaches and dies, but its child lives on with the socket. */
static int body_forks(void)
{
	struct received r;
	int fd = child_attach(&r, 1);
	char c;

	CHECK(1, fd >= 0 && r.m.h.result == 0);
	if (fork())
		return 0;
	alarm(HANG_S);
	close(shared_pipe[1]);
	(void)!read(shared_pipe[0], &c, 1);
	_exit(0);
}

static void test_death_while_a_grandchild_keeps_the_socket_is_noticed(void **state)
{
	(void)state;
	OPTIONAL_ROOT();
	assert_int_equal(pipe(shared_pipe), 0);
	assert_int_equal(run_child(stranger(body_forks)), 0);
	run_until(!sessions());
	assert_int_equal(fx.server->counters.sessions_exited, 1);
	assert_int_equal(fx.server->fds_used, 0);
	close(shared_pipe[0]);
	close(shared_pipe[1]); /* lets the grandchild go */
}

static void test_death_with_orphans_pins_only_down(void **state)
{
	struct ctl_session *c;
	struct received r;
	uint32_t id;
	int fd;

	(void)state;
	fake_engine[0].hold_gone = true;
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	id = r.m.attached.session;
	close(fd);
	run_us(20000);
	c = ctl_session_find(&fx.server->sessions, id);
	assert_non_null(c);
	assert_int_equal(c->state, SESSION_PINNED);
	assert_int_equal(c->up[0].fd, -1);
	assert_int_equal(c->bell_fds[0], -1);
	assert_int_equal(c->event_fds[0], -1);
	assert_int_equal(c->down[0].base[0], 0); /* still mapped */
	c->up[0].base[0] = 1;			 /* and `up` harmless */
	fake_gone(&fake_engine[0], id);
	run_us(5000);
	assert_null(ctl_session_find(&fx.server->sessions, id));
	assert_int_equal(fx.server->fds_used, 0);
}

static void test_condemned_by_an_engine_is_told_and_closed(void **state)
{
	struct proto_up_header *up;
	struct received r;
	int fd;

	(void)state;
	assert_int_equal(client_attach(&fd, &r), 0);
	up = mmap(NULL, r.m.attached.up_bytes, PROT_READ, MAP_SHARED, r.fds[1], 0);
	assert_ptr_not_equal(up, MAP_FAILED);
	client_close(&r);
	fake_note(&fake_engine[0], ENGINE_NOTE_CONDEMNED, r.m.attached.session,
		PROTO_CONDEMNED_RANGE);
	fake_note(&fake_engine[1], ENGINE_NOTE_CONDEMNED, r.m.attached.session, PROTO_CONDEMNED_OP);
	run_us(20000);
	assert_int_equal(atomic_load(&up->condemned), PROTO_CONDEMNED_RANGE);
	client_call(fd, NULL, 0, &r);
	assert_int_equal(r.len, 0);
	assert_int_equal(sessions(), 0);
	assert_int_equal(fx.server->counters.sessions_condemned, 1);
	munmap(up, r.m.attached.up_bytes);
	close(fd);
}

static void test_malformed_request_ends_the_session(void **state)
{
	union proto_msg m = client_msg(PROTO_MSG_GROW);
	struct received r;
	int fd;

	(void)state;
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	client_call(fd, &m, sizeof(m.grow), &r); /* grow by nothing */
	assert_int_equal(r.len, 0);
	assert_int_equal(fx.server->counters.messages_malformed, 1);
	assert_int_equal(fx.server->counters.sessions_condemned, 1);
	close(fd);
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	m = client_msg(PROTO_MSG_ATTACH); /* twice */
	client_call(fd, &m, sizeof(m.attach), &r);
	assert_int_equal(r.len, 0);
	close(fd);
	run_us(10000);
	assert_int_equal(sessions(), 0);
}

static void test_client_that_does_not_read_is_ended(void **state)
{
	union proto_msg m = client_msg(PROTO_MSG_UNBIND);
	struct received r;
	int fd;

	(void)state;
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	m.name.port = 1;
	for (int i = 0; i < 100000 && sessions(); i++) {
		(void)!send(fd, &m, sizeof(m.name), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (i % 8 == 7)
			turn();
	}
	assert_int_equal(sessions(), 0);
	assert_int_equal(fx.server->counters.sessions_stalled, 1);
	close(fd);
}

static int body_punches(void)
{
	struct received r;
	int fd = child_attach(&r, 1);
	char c;

	CHECK(1, fd >= 0 && r.m.h.result == 0);
	CHECK(2, fallocate(r.fds[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			 (off_t)r.m.attached.down_bytes) == 0);
	CHECK(3, send(fd, "", 0, 0) == 0 || errno); /* nothing: waits for the end */
	while (recv(fd, &c, 1, 0) > 0)
		;
	return 0;
}

static void test_hole_in_down_ends_the_session_and_hurts_nobody(void **state)
{
	pid_t pid;
	uint64_t end_us = loop_now_us() + PATIENCE_US;

	(void)state;
	OPTIONAL_ROOT();
	if (!fixture_uffd)
		skip();
	sigaction(SIGBUS, &fixture_sigbus, NULL);
	pid = stranger(body_punches);
	while (fx.server->counters.sessions_exited + fx.server->counters.sessions_condemned == 0 &&
		loop_now_us() < end_us) {
		turn();
		for (uint32_t i = 0; i < FAKE_SESSIONS && i < 8; i++) {
			const struct engine_session_desc *d = &fake_engine[0].session[i];

			if (d->session) /* as an engine reads a ring */
				assert_int_equal(*(volatile const uint8_t *)d->down_base, 0);
		}
	}
	assert_int_equal(run_child(pid), 0);
	run_us(20000);
	assert_int_equal(sessions(), 0);
	assert_int_equal(fx.server->fds_used, 0);
}

static int body_crashes(void)
{
	struct received r;

	for (int i = 0; i < 250; i++) {
		int fd = child_attach(&r, 1);

		CHECK(1, fd >= 0 && r.len > 0);
		CHECK(2, r.m.h.result == 0 || r.m.h.result == -EDQUOT || r.m.h.result == -EMFILE);
		client_close(&r);
		close(fd);
	}
	kill(getpid(), SIGKILL);
	return 3;
}

static void test_thousand_attaches_and_crashes_leave_nothing(void **state)
{
	unsigned int before = open_fds();

	(void)state;
	OPTIONAL_ROOT();
	for (int i = 0; i < 4; i++)
		assert_int_equal(run_child(stranger(body_crashes)), 128 + SIGKILL);
	run_us(50000);
	assert_int_equal(sessions(), 0);
	assert_int_equal(fx.server->fds_used, 0);
	assert_int_equal(open_fds(), before);
	assert_int_equal(fake_engine[0].sessions + fake_engine[1].sessions, 0);
	assert_true(fx.server->counters.attaches > 900);
}

static void test_session_ids_are_not_reused_soon(void **state)
{
	uint32_t seen[64];
	struct received r;
	int fd;

	(void)state;
	for (int i = 0; i < 64; i++) {
		assert_int_equal(client_attach(&fd, &r), 0);
		client_close(&r);
		seen[i] = r.m.attached.session;
		assert_true(seen[i] > 0);
		for (int k = 0; k < i; k++)
			assert_int_not_equal(seen[k], seen[i]);
		close(fd);
		run_us(2000);
	}
}

/* -- names
 * ------------------------------------------------------------------------------------------ */

static union proto_msg name_msg(uint16_t type, uint16_t port)
{
	union proto_msg m = client_msg(type);

	m.name.port = port;
	m.name.backlog = 16;
	m.name.cookie = 4711;
	return m;
}

static void test_bind_and_listen_reach_engines_and_go_with_the_session(void **state)
{
	union proto_msg m = name_msg(PROTO_MSG_BIND, 8080);
	struct received r;
	int one, two;

	(void)state;
	assert_int_equal(client_attach(&one, &r), 0);
	client_close(&r);
	assert_int_equal(client_attach(&two, &r), 0);
	client_close(&r);
	assert_int_equal(client_request(one, &m, &r), 0);
	assert_int_equal(client_request(two, &m, &r), -EADDRINUSE);
	assert_int_equal(fx.server->counters.binds_refused, 1);
	m = name_msg(PROTO_MSG_LISTEN, 8080);
	assert_int_equal(client_request(two, &m, &r), -EADDRINUSE);
	assert_int_equal(client_request(one, &m, &r), 0);
	assert_int_not_equal(r.m.name.listener.gen, 0);
	for (int e = 0; e < FAKE_ENGINES; e++) {
		assert_int_equal(fake_engine[e].listeners, 1);
		assert_int_equal(fake_engine[e].last_listen.port, 8080);
		assert_int_equal(fake_engine[e].last_listen.cookie, 4711);
		assert_int_equal(fake_engine[e].last_listen.backlog, 16);
		assert_int_equal(fake_engine[e].last_listen.handle.gen, r.m.name.listener.gen);
	}
	close(one);
	run_us(20000);
	assert_int_equal(fx.port_owner[8080], 0);
	assert_int_equal(client_request(two, &m, &r), 0);
	m.h.type = PROTO_MSG_UNLISTEN;
	m.name.listener = r.m.name.listener;
	assert_int_equal(client_request(two, &m, &r), 0);
	assert_int_equal(client_request(two, &m, &r), -ENOENT);
	assert_int_equal(fx.port_owner[8080], 0);
	close(two);
}

/* Each engine hears of it, and says whether it has such a listener. */
static void test_relisten_tells_every_engine(void **state)
{
	union proto_msg m = name_msg(PROTO_MSG_LISTEN, 8080);
	struct received r;
	int fd;

	(void)state;
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	assert_int_equal(client_request(fd, &m, &r), 0);
	m = r.m;
	m.h.type = PROTO_MSG_RELISTEN;
	m.name.defer_accept_s = 7;
	assert_int_equal(client_request(fd, &m, &r), 0);
	for (int e = 0; e < 2; e++)
		assert_int_equal(fake_engine[e].last_listen.defer_accept_us, 7000000);
	m.name.listener.gen++;
	assert_int_equal(client_request(fd, &m, &r), -ENOENT);
	close(fd);
}

static void test_listen_refused_by_an_engine_is_undone(void **state)
{
	union proto_msg m = name_msg(PROTO_MSG_LISTEN, 8080);
	struct received r;
	int fd;

	(void)state;
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	fake_engine[1].listen_result = -ENOMEM;
	assert_int_equal(client_request(fd, &m, &r), -ENOMEM);
	assert_int_equal(fake_engine[0].listeners, 0);
	assert_int_equal(fx.port_owner[8080], 0);
	fake_engine[1].listen_result = 0;
	assert_int_equal(client_request(fd, &m, &r), 0);
	m.name.context = 5;
	m.name.port = 8081;
	assert_int_equal(client_request(fd, &m, &r), -EINVAL);
	close(fd);
}

static void test_bind_address_not_ours_is_not_available(void **state)
{
	union proto_msg m = name_msg(PROTO_MSG_BIND, 0);
	struct net_addr a = net_addr_from_ip4(inet_addr("192.0.2.3"));
	struct received r;
	int fd;

	(void)state;
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	memcpy(m.name.addr, a.b, 16);
	assert_int_equal(client_request(fd, &m, &r), -EADDRNOTAVAIL);
	a = net_addr_from_ip4(inet_addr("192.0.2.2"));
	memcpy(m.name.addr, a.b, 16);
	assert_int_equal(client_request(fd, &m, &r), 0);
	assert_in_range(r.m.name.port, 50000, 50009);
	a = net_addr_from_ip4(0);
	memcpy(m.name.addr, a.b, 16);
	assert_int_equal(client_request(fd, &m, &r), 0);
	memset(m.name.addr, 0x20, 16);
	assert_int_equal(client_request(fd, &m, &r), -EADDRNOTAVAIL);
	close(fd);
}

/* In a user namespace of its own anybody has every capability: it must not count here. */
static int body_low_port_in_own_namespace(void)
{
	union proto_msg m = name_msg(PROTO_MSG_BIND, 80);
	struct received r;
	int fd;

	if (unshare(CLONE_NEWUSER))
		return 0; /* not allowed here: nothing to fear */
	fd = child_attach(&r, 1);
	CHECK(1, fd >= 0 && r.m.h.result == 0);
	CHECK(2, child_request(fd, &m, &r) == -EACCES);
	return 0;
}

/* Nobody, but with CAP_NET_BIND_SERVICE. */
static int body_low_port_with_capability(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};
	union proto_msg m = name_msg(PROTO_MSG_BIND, 80);
	struct received r;
	int fd;

	CHECK(1, prctl(PR_SET_KEEPCAPS, 1) == 0 && setgid(STRANGER) == 0 && setuid(STRANGER) == 0);
	data[0].effective = data[0].permitted = 1u << CAP_NET_BIND_SERVICE;
	CHECK(2, syscall(SYS_capset, &head, data) == 0);
	fd = child_attach(&r, 1);
	CHECK(3, fd >= 0 && r.m.h.result == 0);
	CHECK(4, child_request(fd, &m, &r) == 0);
	return 0;
}

static int body_low_port(void)
{
	union proto_msg m = name_msg(PROTO_MSG_BIND, 80);
	struct received r;
	int fd = child_attach(&r, 1);

	CHECK(1, fd >= 0 && r.m.h.result == 0);
	CHECK(2, child_request(fd, &m, &r) == -EACCES);
	m.h.type = PROTO_MSG_LISTEN;
	CHECK(3, child_request(fd, &m, &r) == -EACCES);
	m = name_msg(PROTO_MSG_BIND, 1024);
	CHECK(4, child_request(fd, &m, &r) == 0);
	return 0;
}

static void test_bind_reserved_port_takes_privilege(void **state)
{
	union proto_msg m = name_msg(PROTO_MSG_BIND, 80);
	struct received r;
	pid_t pid;
	int fd;

	(void)state;
	OPTIONAL_ROOT();
	assert_int_equal(run_child(stranger(body_low_port)), 0);
	assert_int_equal(run_child(stranger(body_low_port_in_own_namespace)), 0);
	pid = fork();
	if (pid == 0)
		_exit(body_low_port_with_capability());
	assert_int_equal(run_child(pid), 0);
	run_us(20000); /* they are gone, and the port is free */
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	assert_int_equal(client_request(fd, &m, &r), 0); /* root may */
	close(fd);
}

static void test_request_that_waits_for_engines_holds_back_the_next(void **state)
{
	union proto_msg m = name_msg(PROTO_MSG_LISTEN, 8080);
	struct received r;
	int fd;

	(void)state;
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	assert_int_equal(send(fd, &m, sizeof(m.name), 0), sizeof(m.name));
	m.name.port = 8081;
	assert_int_equal(send(fd, &m, sizeof(m.name), 0), sizeof(m.name));
	loop_run_once(fx.loop, 1000);
	loop_run_once(fx.loop, 1000);
	assert_int_equal(fake_engine[0].inbox.last - fake_engine[0].inbox.first, 1);
	client_call(fd, NULL, 0, &r);
	assert_int_equal(r.m.name.port, 8080);
	client_call(fd, NULL, 0, &r);
	assert_int_equal(r.m.name.port, 8081);
	assert_int_equal(r.m.h.result, 0);
	/* and an end in between harms nobody */
	m.name.port = 8082;
	assert_int_equal(send(fd, &m, sizeof(m.name), 0), sizeof(m.name));
	loop_run_once(fx.loop, 1000);
	close(fd);
	loop_run_once(fx.loop, 1000);
	assert_int_equal(fx.port_owner[8082], 0);
	run_us(10000);
	assert_int_equal(sessions(), 0);
}

/* -- memory
 * ----------------------------------------------------------------------------------------- */

static void test_grow_gives_a_segment_that_engines_know_already(void **state)
{
	union proto_msg m = client_msg(PROTO_MSG_GROW);
	struct shm_segment seg;
	struct received r;
	int fd;

	(void)state;
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	m.grow.bytes = 1;
	client_call(fd, &m, sizeof(m.grow), &r);
	assert_int_equal(r.m.h.type, PROTO_MSG_SEGMENT);
	assert_int_equal(r.m.segment.direction, SHM_DOWN);
	assert_int_equal(r.m.segment.index, 1);
	assert_int_equal(r.nfds, 1);
	assert_int_equal(fake_engine[0].last_segment.index, 1);
	assert_int_equal(fake_engine[1].last_segment.bytes, r.m.segment.bytes);
	assert_int_equal(shm_segment_map(&seg, SHM_DOWN, r.fds[0], r.m.segment.bytes), 0);
	seg.base[5] = 99;
	assert_int_equal(fake_engine[1].last_segment.base[5], 99);
	shm_segment_destroy(&seg);
	client_call(fd, NULL, 0, &r);
	assert_int_equal(r.m.h.type, PROTO_MSG_GROW);
	assert_int_equal(r.m.h.result, 0);
	close(fd);
	run_us(20000);
	assert_int_equal(fx.server->fds_used, 0);
}

static void test_grow_beyond_the_limit_is_refused(void **state)
{
	union proto_msg m = client_msg(PROTO_MSG_GROW);
	struct ctl_session *c;
	struct received r;
	uint32_t cursor = 0;
	int fd;

	(void)state;
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	m.grow.bytes = 1ull << 39;
	do {
		client_call(fd, &m, sizeof(m.grow), &r);
		if (r.m.h.type != PROTO_MSG_SEGMENT)
			break;
		client_close(&r);
		client_call(fd, NULL, 0, &r);
		assert_int_equal(r.m.h.result, 0);
	} while (1);
	assert_int_equal(r.m.h.result, -ENOMEM);
	c = ctl_session_next(&fx.server->sessions, &cursor);
	assert_true(c->down_bytes <= fx.cfg.limits.session_down_bytes);
	assert_int_equal(fx.server->counters.grows_refused, 1);
	close(fd);
}

static void test_need_up_goes_to_the_client_first_and_to_that_engine_alone(void **state)
{
	struct received r;
	int fd;

	(void)state;
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	fake_note(&fake_engine[1], ENGINE_NOTE_NEED_UP, r.m.attached.session, 4096);
	server_engines_posted(fx.server);
	assert_int_equal(fake_engine[1].last_segment.bytes, 0); /* posted, not yet executed */
	client_receive(fd, &r, MSG_DONTWAIT);
	assert_int_equal(r.m.h.type, PROTO_MSG_SEGMENT);
	assert_int_equal(r.m.segment.direction, SHM_UP);
	assert_int_equal(r.nfds, 1);
	assert_ptr_equal(
		mmap(NULL, r.m.segment.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r.fds[0], 0),
		MAP_FAILED);
	client_close(&r);
	run_us(5000);
	assert_int_equal(fake_engine[1].last_segment.direction, SHM_UP);
	assert_int_equal(fake_engine[1].last_segment.bytes, r.m.segment.bytes);
	assert_int_equal(fake_engine[0].last_segment.bytes, 0);
	/* the limit of 4 MiB is reached now */
	fake_note(&fake_engine[1], ENGINE_NOTE_NEED_UP, 12345, 4096); /* nobody's */
	fake_note(&fake_engine[0], ENGINE_NOTE_NEED_UP,
		fx.server->sessions.at[0] ? fx.server->sessions.at[0]->id : 0, 1 << 20);
	run_us(5000);
	assert_int_equal(fake_engine[0].last_segment.bytes, 0);
	assert_int_equal(fx.server->counters.grows_refused, 1);
	close(fd);
}

/* -- sockets
 * ------------------------------------------------------------------------------------------ */

static void test_second_server_on_the_same_directory_is_refused(void **state)
{
	struct server *second = NULL;
	struct server_params p;
	struct received r;
	int fd;

	(void)state;
	log_fd_set(open("/dev/null", O_WRONLY | O_CLOEXEC));
	fixture_params(&p);
	assert_int_equal(server_create(&second, &p), -EADDRINUSE);
	log_fd_set(2);
	assert_int_equal(client_attach(&fd, &r), 0); /* the first one is unharmed */
	client_close(&r);
	close(fd);
}

static void test_stale_socket_is_replaced(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct server_params p;
	struct received r;
	int fd;

	(void)state;
	server_destroy(fx.server);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/run", fx.dir);
	assert_int_equal(mkdir(sun.sun_path, 0755), 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/run/mtcpd.sock", fx.dir);
	fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	fixture_params(&p);
	assert_int_equal(server_create(&fx.server, &p), 0);
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	close(fd);
	server_destroy(fx.server);
	fx.server = NULL;
	assert_int_not_equal(access(sun.sun_path, F_OK), 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/run", fx.dir);
	assert_int_equal(rmdir(sun.sun_path), 0); /* ours: the server had not made it */
}

static void test_stop_accepting_leaves_sessions_alone(void **state)
{
	union proto_msg m = name_msg(PROTO_MSG_BIND, 8080);
	struct received r;
	int fd;

	(void)state;
	assert_int_equal(client_attach(&fd, &r), 0);
	client_close(&r);
	server_stop_accepting(fx.server);
	assert_int_equal(client_connect("mtcpd.sock", SOCK_SEQPACKET), -ENOENT);
	assert_int_equal(client_connect("mtcpctl.sock", SOCK_STREAM), -ENOENT);
	assert_int_equal(client_request(fd, &m, &r), 0);
	close(fd);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define S(f) cmocka_unit_test_setup_teardown(f, setup_strict, teardown)
	const struct CMUnitTest tests[] = {
		T(test_attach_by_stranger_gives_one_writer_segments),
		T(test_attach_engines_get_disjoint_parts_of_up),
		T(test_attach_malformed_is_refused_and_closed),
		T(test_attach_with_descriptors_sent_along_keeps_none),
		T(test_attach_silent_connection_is_closed_after_deadline),
		T(test_attach_pending_of_one_user_is_bounded),
		S(test_attach_too_fast_is_refused_until_time_passes),
		S(test_attach_beyond_user_limit_is_refused),
		T(test_attach_beyond_fd_budget_is_refused_cleanly),
		T(test_attach_refused_by_an_engine_takes_it_back_everywhere),
		T(test_death_while_a_grandchild_keeps_the_socket_is_noticed),
		T(test_death_with_orphans_pins_only_down),
		T(test_condemned_by_an_engine_is_told_and_closed),
		T(test_malformed_request_ends_the_session),
		T(test_client_that_does_not_read_is_ended),
		T(test_hole_in_down_ends_the_session_and_hurts_nobody),
		T(test_thousand_attaches_and_crashes_leave_nothing),
		T(test_session_ids_are_not_reused_soon),
		T(test_bind_and_listen_reach_engines_and_go_with_the_session),
		T(test_listen_refused_by_an_engine_is_undone),
		T(test_relisten_tells_every_engine),
		T(test_bind_address_not_ours_is_not_available),
		T(test_bind_reserved_port_takes_privilege),
		T(test_request_that_waits_for_engines_holds_back_the_next),
		T(test_grow_gives_a_segment_that_engines_know_already),
		T(test_grow_beyond_the_limit_is_refused),
		T(test_need_up_goes_to_the_client_first_and_to_that_engine_alone),
		T(test_second_server_on_the_same_directory_is_refused),
		T(test_stale_socket_is_replaced),
		T(test_stop_accepting_leaves_sessions_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
