/* Putting the control plane together; see server.h. */
#include <ctl/server.h>

#include <ctl/join.h>
#include <ctl/log.h>
#include <ctl/memory.h>
#include <ctl/msg.h>
#include <ctl/request.h>
#include <ctl/server_state.h>
#include <net/nd_host.h>
#include <ctl/show.h>
#include <engine/engine.h>
#include <shm/guard.h>

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#define CLIENT_SOCKET  "mtcpd.sock"
#define CONTROL_SOCKET "mtcpctl.sock"
#define AGENT_SOCKET   MTCP_AGENT_SOCKET

enum {
	SWEEP_US = 5000000,
};

static void on_message(struct server *s, struct engine_msg *m)
{
	switch (m->type) {
	case ENGINE_CMD_SESSION_ADD:
		join_on_added(s, m);
		free(m);
		break;
	case ENGINE_CMD_SESSION_DEL:
		ctl_session_on_deleted(s, m);
		free(m);
		break;
	case ENGINE_CMD_SEGMENT_ADD:
	case ENGINE_CMD_LISTEN_ADD:
	case ENGINE_CMD_LISTEN_DEL:
	case ENGINE_CMD_LISTEN_SET:
		op_answer(s, m);
		break;
	case ENGINE_CMD_LIST_FLOWS:
	case ENGINE_CMD_LIST_LISTENERS:
	case ENGINE_CMD_LIST_SESSIONS:
		show_on_list(s, m);
		break;
	default: /* main()'s own commands */
		free(m);
		break;
	}
}

static void on_note(struct server *s, struct engine_msg *m)
{
	struct ctl_session *c = ctl_session_find(&s->sessions, m->id.session);

	if (m->type == ENGINE_NOTE_SESSION_GONE)
		ctl_session_on_gone(s, m);
	else if (m->type == ENGINE_NOTE_NEED_UP)
		request_need_up(s, m);
	else if (c)
		ctl_session_end(c, m->id.value, proto_condemned_name(m->id.value));
	if (m->free_after)
		free(m);
}

void server_engines_posted(struct server *s)
{
	for (uint32_t e = 0; e < s->p.engine_count; e++) {
		struct engine_msg *m;

		while ((m = engine_take(s->p.engines[e]))) {
			if (m->type >= ENGINE_NOTE_CONDEMNED && m->type < ENGINE_MSG_COUNT)
				on_note(s, m);
			else
				on_message(s, m);
		}
	}
	agent_pump(s);
}

static void on_tick(void *arg, uint64_t now_us)
{
	struct server *s = arg;
	uint64_t period_us;

	ctl_session_tick(s, now_us);
	if (now_us - s->swept_us >= SWEEP_US) {
		s->swept_us = now_us;
		uid_table_sweep(s->uids, now_us);
		control_tick(s, now_us);
	}
	period_us = s->sessions.count ? SERVER_TICK_US : SERVER_IDLE_TICK_US;
	loop_timer_set(s->p.loop, &s->tick, now_us + period_us, on_tick, s);
}

void server_iface(const struct server *s, struct net_iface *iface)
{
	if (s->p.nd)
		net_nd_host_iface(s->p.nd, iface);
	else
		*iface = *s->p.iface;
}

void server_tick_soon(struct server *s)
{
	loop_timer_set(s->p.loop, &s->tick, loop_now_us() + SERVER_TICK_US, on_tick, s);
}

/* -- start ---------------------------------------------------------------------------------- */

static uint32_t count_open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint32_t n = 0;

	if (!d)
		return SERVER_FDS_RESERVE;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Raises the soft limit of descriptors and says how many sessions that is. */
static void fds_plan(struct server *s)
{
	struct proto_layout l = {.contexts = s->contexts_max, .engines = s->p.engine_count};
	struct rlimit limit = {.rlim_cur = 1024, .rlim_max = 1024};
	uint64_t taken = (uint64_t)count_open_fds() + SERVER_FDS_RESERVE, max;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		getrlimit(RLIMIT_NOFILE, &limit);
	max = limit.rlim_cur < INT32_MAX ? limit.rlim_cur : INT32_MAX;
	s->fds_max = max > taken ? (uint32_t)(max - taken) : 0;
	log_info("%u descriptors to spend: %u sessions of %u contexts fit, %u are allowed",
		s->fds_max, s->fds_max / (2 + memory_fds(&l)), s->contexts_max,
		s->p.cfg->limits.sessions);
}

static uint64_t memory_bytes(void)
{
	struct sysinfo info;

	return sysinfo(&info) ? UINT64_MAX : (uint64_t)info.totalram * info.mem_unit;
}

static int make_tables(struct server *s)
{
	const struct config_limits *limits = &s->p.cfg->limits;
	const struct uid_limits uid_limits = {
		.sessions_max = limits->sessions_per_uid,
		.pending_max = ATTACH_PENDING_PER_UID_MAX,
		.attach_rate_per_s = limits->attach_rate_per_uid,
		.memory_max_bytes = memory_bytes() / 4,
		.memory_all_max_bytes = memory_bytes() / 2,
	};
	const struct names_config names_cfg = {
		.port_owner = s->p.port_owner,
		.claims = s->p.claims,
		.port_first = s->p.port_first,
		.port_last = s->p.port_last,
		.listeners_per_session = limits->listeners_per_session,
	};
	uint32_t sessions = limits->sessions < SESSIONS_MAX ? limits->sessions : SESSIONS_MAX;
	int r = uid_table_create(&s->uids, &uid_limits);

	if (r == 0)
		r = names_create(&s->names, &names_cfg);
	if (r == 0)
		r = ctl_session_table_init(&s->sessions, sessions);
	return r;
}

static int open_sockets(struct server *s)
{
	int fd, r = runtime_open(&s->runtime, s->p.cfg->runtime_dir, s->p.cfg->group);

	if (r < 0)
		return r;
	fd = runtime_listen(&s->runtime, CLIENT_SOCKET, SOCK_SEQPACKET);
	if (fd < 0)
		return fd;
	r = attach_start(s, fd);
	if (r < 0)
		return r;
	fd = runtime_listen(&s->runtime, CONTROL_SOCKET, SOCK_STREAM);
	if (fd < 0)
		return fd;
	r = control_start(s, fd);
	if (r < 0 || !s->p.cfg->tcp.cc_agent[0])
		return r;
	fd = runtime_listen(&s->runtime, AGENT_SOCKET, SOCK_SEQPACKET);
	return fd < 0 ? fd : agent_start(s, fd);
}

static uint32_t contexts_max(const struct config *cfg)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint32_t max = cpus < 1			   ? 1
		       : cpus > PROTO_CONTEXTS_MAX ? PROTO_CONTEXTS_MAX
						   : (uint32_t)cpus;

	return max < cfg->limits.contexts ? max : cfg->limits.contexts;
}

static int guard_start(struct server *s)
{
	int r = shm_guard_init(&s->has_uffd);

	if (r == -EALREADY)
		r = 0;
	if (r == 0 && !s->has_uffd)
		log_notice("no userfaultfd: a client that punches holes can cost huge pages");
	return r;
}

int server_create(struct server **out, const struct server_params *params)
{
	struct server *s = calloc(1, sizeof(*s));
	struct timespec now;
	int r;

	if (!s)
		return -ENOMEM;
	s->p = *params;
	s->runtime.dir_fd = s->attach.fd = s->controls.fd = -1;
	s->agent.fd = s->agent.listen_fd = -1;
	s->contexts_max = contexts_max(params->cfg);
	clock_gettime(CLOCK_REALTIME, &now);
	s->epoch_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	s->started_us = s->swept_us = loop_now_us();
	r = guard_start(s);
	if (r == 0)
		r = make_tables(s);
	if (r == 0)
		r = open_sockets(s);
	if (r < 0) {
		log_error("cannot start to serve clients: %s", strerror(-r));
		server_destroy(s);
		return r;
	}
	fds_plan(s);
	server_tick_soon(s);
	*out = s;
	return 0;
}

/* -- stop ------------------------------------------------------------------------------------ */

void server_stop_accepting(struct server *s)
{
	if (s->attach.fd >= 0)
		runtime_unlink(&s->runtime, CLIENT_SOCKET);
	if (s->controls.fd >= 0)
		runtime_unlink(&s->runtime, CONTROL_SOCKET);
	if (s->agent.listen_fd >= 0)
		runtime_unlink(&s->runtime, AGENT_SOCKET);
	attach_stop(s);
	control_stop_accepting(s);
	agent_stop_accepting(s);
}

void server_destroy(struct server *s)
{
	struct ctl_session *c;
	uint32_t cursor = 0;

	if (!s)
		return;
	server_stop_accepting(s);
	loop_timer_cancel(s->p.loop, &s->tick);
	control_stop(s);
	agent_stop(s);
	while (s->sessions.capacity && (c = ctl_session_next(&s->sessions, &cursor)))
		ctl_session_release(c);
	if (s->sessions.capacity)
		ctl_session_table_fini(&s->sessions);
	names_destroy(s->names);
	uid_table_destroy(s->uids);
	runtime_close(&s->runtime);
	free(s);
}
