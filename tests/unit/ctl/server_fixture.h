/* A server in this process, on sockets in a directory of its own, with fake engines; and a
 * client's side of the attach protocol. Included once per test program. */
#ifndef TESTS_SERVER_FIXTURE_H
#define TESTS_SERVER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <ctl/config.h>
#include <ctl/log.h>
#include <ctl/loop.h>
#include <ctl/server.h>
#include <ctl/server_state.h>
#include <engine/claims.h>
#include <net/neigh.h>
#include <net/route.h>
#include <proto/attach.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_engine.h"

enum {
	PATIENCE_US = 300000000, /* with a sanitizer on a busy machine */
	TURNS_MIN = 20,
	STRANGER = 65534, /* uid and gid of "nobody", for what an unprivileged client may do */
};

struct fixture {
	struct config cfg;
	struct loop *loop;
	struct server *server;
	struct net_iface iface;
	struct net_neigh_table *neigh;
	void *neigh_mem;
	_Atomic uint32_t port_owner[65536];
	struct claims claims;
	char dir[64];
};

static struct fixture fx;
static const char *fixture_agent = ""; /* [tcp] congestion_agent of the next setup() */
/* What the process's first server found and set up; cmocka takes SIGBUS for each test anew. */
static bool fixture_uffd;
static struct sigaction fixture_sigbus;

static void fixture_params(struct server_params *p)
{
	static struct engine *const engines[FAKE_ENGINES] = {&fake_engine[0], &fake_engine[1]};
	static struct engine_thread *const threads[FAKE_ENGINES] = {
		&fake_thread[0], &fake_thread[1]};

	*p = (struct server_params){
		.cfg = &fx.cfg,
		.loop = fx.loop,
		.engines = engines,
		.threads = threads,
		.engine_count = FAKE_ENGINES,
		.iface = &fx.iface,
		.neigh = fx.neigh,
		.port_owner = fx.port_owner,
		.claims = &fx.claims,
		.port_first = 50000,
		.port_last = 50009,
		.version = "1.2.3",
	};
}

static void fixture_config(void)
{
	struct group *g = getgrgid(STRANGER);

	config_default(&fx.cfg);
	snprintf(fx.cfg.runtime_dir, sizeof(fx.cfg.runtime_dir), "%s/run", fx.dir);
	snprintf(fx.cfg.group, sizeof(fx.cfg.group), "%s", g ? g->gr_name : "");
	fx.cfg.hugepages = CONFIG_HUGEPAGES_NO;
	fx.cfg.limits.attach_rate_per_uid = 10000;
	fx.cfg.limits.session_down_bytes = 6 << 20;
	fx.cfg.limits.session_up_bytes = 4 << 20;
	fx.cfg.limits.contexts = 2;
	snprintf(fx.cfg.tcp.cc_agent, sizeof(fx.cfg.tcp.cc_agent), "%s", fixture_agent);
	fx.iface.mtu_bytes = 1500;
	assert_int_equal(net_iface_add(&fx.iface, inet_addr("192.0.2.2"), 24), 0);
}

static int setup(void **state)
{
	struct server_params p;
	size_t size = net_neigh_size(64);

	(void)state;
	memset(&fx, 0, sizeof(fx));
	memset(fake_engine, 0, sizeof(fake_engine));
	memset(fake_thread, 0, sizeof(fake_thread));
	snprintf(fx.dir, sizeof(fx.dir), "/tmp/mtcpd-test-XXXXXX");
	assert_non_null(mkdtemp(fx.dir));
	assert_int_equal(chmod(fx.dir, 0755), 0);
	fixture_config();
	log_level_set(LOG_LEVEL_ERROR);
	assert_int_equal(posix_memalign(&fx.neigh_mem, NET_NEIGH_ALIGN, size), 0);
	fx.neigh = net_neigh_init(fx.neigh_mem, 64, 1);
	assert_int_equal(loop_create(&fx.loop), 0);
	fixture_params(&p);
	assert_int_equal(server_create(&fx.server, &p), 0);
	if (fx.server->has_uffd) {
		fixture_uffd = true;
		sigaction(SIGBUS, NULL, &fixture_sigbus);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	server_destroy(fx.server);
	loop_destroy(fx.loop);
	free(fx.neigh_mem);
	for (unsigned int i = 0; i < FAKE_ENGINES; i++) {
		struct engine_msg *m;

		while ((m = fake_pop(&fake_engine[i].inbox)) ||
			(m = fake_pop(&fake_engine[i].outbox)))
			free(m);
	}
	assert_int_equal(rmdir(fx.dir), 0); /* also: the runtime directory is gone */
	return 0;
}

/* One turn of everything. */
static void turn(void)
{
	assert_int_equal(loop_run_once(fx.loop, 1000), 0);
	fake_turn();
	server_engines_posted(fx.server);
}

/* For so long; at least so many turns, however few a busy machine lets us have meanwhile. */
static void run_us(uint64_t us)
{
	uint64_t end_us = loop_now_us() + us;

	for (unsigned int turns = 0; turns < TURNS_MIN || loop_now_us() < end_us; turns++)
		turn();
}

/* Serves until it is so, which only a mistake prevents for PATIENCE_US. */
#define run_until(condition)                                                                       \
	do {                                                                                       \
		uint64_t end_us_ = loop_now_us() + PATIENCE_US;                                    \
                                                                                                   \
		while (!(condition) && loop_now_us() < end_us_)                                    \
			turn();                                                                    \
		assert_true(condition);                                                            \
	} while (0)

/* Serves until the child has exited, which only a hang prevents for PATIENCE_US; its exit code. */
static inline int run_child(pid_t pid)
{
	uint64_t end_us = loop_now_us() + PATIENCE_US;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		assert_true(loop_now_us() < end_us);
		turn();
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* -- the client's side ---------------------------------------------------------------------- */

static int client_connect(const char *name, int type)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/run/%s", fx.dir, name);
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun))) {
		close(fd);
		return -errno;
	}
	return fd;
}

static union proto_msg client_msg(uint16_t type)
{
	union proto_msg m;

	memset(&m, 0, sizeof(m));
	m.h.magic = PROTO_MAGIC;
	m.h.version = PROTO_VERSION;
	m.h.type = type;
	m.h.request_id = 77;
	if (type == PROTO_MSG_ATTACH) {
		m.attach.contexts = 1;
		strcpy(m.attach.name, "tester");
	}
	return m;
}

struct received {
	union proto_msg m;
	ssize_t len;
	int fds[160];
	unsigned int nfds;
};

static inline void client_close(struct received *r)
{
	while (r->nfds)
		close(r->fds[--r->nfds]);
}

/* Takes a message if one is there; len is -errno if not. */
static void client_receive(int fd, struct received *r, int flags)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(160 * sizeof(int))];
	} control;
	struct iovec iov = {&r->m, sizeof(r->m)};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;

	h.msg_control = &control;
	h.msg_controllen = sizeof(control);
	r->nfds = 0;
	r->len = recvmsg(fd, &h, flags | MSG_CMSG_CLOEXEC);
	if (r->len < 0) {
		r->len = -errno;
		return;
	}
	c = CMSG_FIRSTHDR(&h);
	if (!c)
		return;
	r->nfds = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(r->fds, CMSG_DATA(c), r->nfds * sizeof(int));
}

/* Sends and serves until the answer (or any message) is here, at most PATIENCE_US. */
static void client_call(int fd, const union proto_msg *m, size_t len, struct received *r)
{
	uint64_t end_us = loop_now_us() + PATIENCE_US;

	r->len = -EAGAIN;
	r->nfds = 0;
	if (m && send(fd, m, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		r->len = -errno;
	while (r->len == -EAGAIN && loop_now_us() < end_us) {
		turn();
		client_receive(fd, r, MSG_DONTWAIT);
	}
}

static inline int client_request(int fd, const union proto_msg *m, struct received *r)
{
	client_call(fd, m, proto_msg_request_size(m->h.type), r);
	assert_int_equal(r->len, proto_msg_request_size(m->h.type));
	assert_int_equal(r->m.h.type, m->h.type);
	assert_int_equal(r->m.h.request_id, 77);
	return r->m.h.result;
}

/* A session of this very process. The result of the attach; *fd is connected. */
static inline int client_attach(int *fd, struct received *r)
{
	union proto_msg m = client_msg(PROTO_MSG_ATTACH);

	*fd = client_connect("mtcpd.sock", SOCK_SEQPACKET);
	assert_true(*fd >= 0);
	client_call(*fd, &m, sizeof(m.attach), r);
	if (r->len < (ssize_t)sizeof(r->m.h))
		return -EIO;
	assert_int_equal(r->m.h.type, PROTO_MSG_ATTACH);
	return r->m.h.result;
}

static inline unsigned int open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

#endif
