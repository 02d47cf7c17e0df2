/* The daemon's life, from a configuration to the end.
 *
 * Order of start: signals, DPDK, the port, the engines, their threads, the server, then
 * READY=1. stop_all() undoes it in reverse, from wherever a start failed or from the end of
 * a full life.
 *
 * Order of stop, on SIGTERM or SIGINT: no new clients (server_stop_accepting()), every engine
 * closes its connections in order (ENGINE_CMD_DRAIN), until none is left or
 * shutdown_timeout_s has passed; then what is left is reset (ENGINE_CMD_ABORT), and when the
 * resets are out or ABORT_US have passed, all is taken down. A second signal skips the
 * waiting.
 */
#include "daemon.h"

#include <ctl/config.h>
#include <ctl/engine_thread.h>
#include <ctl/log.h>
#include <ctl/loop.h>
#include <ctl/notify.h>
#include <ctl/plugin.h>
#include <ctl/server.h>
#include <engine/claims.h>
#include <engine/engine.h>
#include <engine/ringer.h>
#include <net/nd_host.h>
#include <net/neigh.h>
#include <net/route.h>
#include <nic/eal.h>
#include <nic/nic.h>
#include <shm/doorbell.h>
#include <tcp/mtcp_cc_plugin.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
	STOP_CHECK_US = 10000,
	ABORT_US = 200000,
	PORTS = 65536,
};

enum stop_phase {
	STOP_NOT_ASKED,
	STOP_DRAINING,
	STOP_ABORTING,
};

struct daemon {
	struct config cfg;
	const char *version;
	struct loop *loop;
	bool eal_started;
	struct nic_port *port;
	struct net_iface iface;
	struct net_neigh_table *neigh;
	struct net_nd_host *nd;
	_Atomic uint32_t port_owner[PORTS];
	struct claims claims;
	struct ringer *ringer;
	struct engine *engines[CONFIG_ENGINES_MAX];
	struct engine_thread *threads[CONFIG_ENGINES_MAX];
	struct nic_queue_ref {
		struct nic_port *port;
		uint16_t queue;
	} queues[CONFIG_ENGINES_MAX];
	struct server *server;
	int posted_fd; /* rung by engines */
	int signal_fd;
	struct loop_watch posted_watch, signal_watch;
	struct loop_timer stop_timer, watchdog_timer;
	enum stop_phase stop;
	uint64_t stop_deadline_us;
	uint64_t watchdog_us;
	uint64_t progress[CONFIG_ENGINES_MAX];
};

/* -- the end --------------------------------------------------------------------------------- */

static void post_all(struct daemon *d, enum engine_msg_type type)
{
	for (uint32_t i = 0; i < d->cfg.engine_count; i++) {
		struct engine_msg *m = calloc(1, sizeof(*m));

		if (m == NULL)
			continue;
		m->type = type;
		m->engine = (uint16_t)i;
		engine_post(d->engines[i], m); /* comes back to the server, which frees it */
		engine_thread_wake(d->threads[i]);
	}
}

static uint32_t connections(const struct daemon *d)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < d->cfg.engine_count; i++) {
		struct engine_gauges gauges;

		engine_gauges(d->engines[i], &gauges);
		sum += gauges.conns;
	}
	return sum;
}

static void on_stop_timer(void *arg, uint64_t now_us)
{
	struct daemon *d = arg;
	uint32_t left = connections(d);

	if (left > 0 && d->stop == STOP_DRAINING && now_us >= d->stop_deadline_us) {
		log_notice("%u connections are left: resetting them", left);
		d->stop = STOP_ABORTING;
		d->stop_deadline_us = now_us + ABORT_US;
		post_all(d, ENGINE_CMD_ABORT);
	} else if (left == 0 || now_us >= d->stop_deadline_us) {
		loop_stop(d->loop);
		return;
	}
	loop_timer_set(d->loop, &d->stop_timer, now_us + STOP_CHECK_US, on_stop_timer, d);
}

static void begin_stop(struct daemon *d)
{
	uint64_t now_us = loop_now_us();

	if (d->stop != STOP_NOT_ASKED) {
		d->stop_deadline_us = now_us;
		return;
	}
	log_notice("stopping: %u connections to close", connections(d));
	notify_send("STOPPING=1");
	d->stop = STOP_DRAINING;
	d->stop_deadline_us = now_us + (uint64_t)d->cfg.shutdown_timeout_s * 1000000;
	server_stop_accepting(d->server);
	post_all(d, ENGINE_CMD_DRAIN);
	loop_timer_set(d->loop, &d->stop_timer, now_us + STOP_CHECK_US, on_stop_timer, d);
}

static void stop_all(struct daemon *d)
{
	for (uint32_t i = 0; i < d->cfg.engine_count; i++)
		engine_thread_stop(d->threads[i]);
	for (uint32_t i = 0; i < d->cfg.engine_count; i++) {
		if (d->engines[i] != NULL)
			engine_destroy(d->engines[i]);
	}
	ringer_stop(d->ringer);
	server_destroy(d->server);
	nic_port_close(d->port);
	if (d->eal_started)
		eal_stop();
	free(d->nd);
	free(d->neigh);
	loop_destroy(d->loop);
	if (d->posted_fd >= 0)
		close(d->posted_fd);
	if (d->signal_fd >= 0)
		close(d->signal_fd);
}

/* -- what happens meanwhile ------------------------------------------------------------------ */

static void on_signal(void *arg, uint32_t events)
{
	struct daemon *d = arg;
	struct signalfd_siginfo info;

	(void)events;
	while (read(d->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			log_notice("SIGHUP: the configuration is read at start only");
		else
			begin_stop(d);
	}
}

static void on_posted(void *arg, uint32_t events)
{
	struct daemon *d = arg;
	uint64_t count;

	(void)events;
	if (read(d->posted_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_error("reading an eventfd: %s", strerror(errno));
	server_engines_posted(d->server);
}

/* Tells the manager that all is well only if each engine has turned since the last time; then
 * wakes them all, so that a sleeping one turns until the next. */
static void on_watchdog(void *arg, uint64_t now_us)
{
	struct daemon *d = arg;
	bool alive = true;

	for (uint32_t i = 0; i < d->cfg.engine_count; i++) {
		uint64_t progress = engine_thread_progress(d->threads[i]);

		if (progress == d->progress[i]) {
			log_error("engine %u makes no progress", i);
			alive = false;
		}
		d->progress[i] = progress;
		engine_thread_wake(d->threads[i]);
	}
	if (alive)
		notify_send("WATCHDOG=1");
	loop_timer_set(d->loop, &d->watchdog_timer, now_us + d->watchdog_us / 2, on_watchdog, d);
}

/* -- the beginning --------------------------------------------------------------------------- */

static void log_line(int level, const char *line)
{
	static struct log_site sites[LOG_LEVEL_DEBUG + 1];

	if (level < LOG_LEVEL_ERROR)
		level = LOG_LEVEL_ERROR;
	if (level > LOG_LEVEL_DEBUG)
		level = LOG_LEVEL_DEBUG;
	log_write(&sites[level], (enum log_level)level, "%s", line);
}

/* Before any thread is made: all inherit the mask. */
static int start_signals(struct daemon *d)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaction(SIGPIPE, &ignore, NULL);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
		return -EINVAL;
	d->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return d->signal_fd < 0 ? -errno : 0;
}

static int start_loop(struct daemon *d)
{
	int err = loop_create(&d->loop);

	if (err == 0)
		err = loop_watch_add(
			d->loop, &d->signal_watch, d->signal_fd, EPOLLIN, on_signal, d);
	if (err < 0)
		return err;
	d->posted_fd = shm_doorbell_event();
	if (d->posted_fd < 0)
		return d->posted_fd;
	return loop_watch_add(d->loop, &d->posted_watch, d->posted_fd, EPOLLIN, on_posted, d);
}

static int start_port(struct daemon *d)
{
	const struct config *c = &d->cfg;
	struct eal_config eal = {
		.device = c->port.device,
		.instance = c->runtime_dir,
		.hugepages = (enum eal_hugepages)c->hugepages,
		.mbufs = c->port.mbufs,
		.mtu_bytes = c->port.mtu_bytes,
		.memory_mib = c->memory_mib,
		.verbose = c->log_level == LOG_LEVEL_DEBUG,
		.log = log_line,
	};
	const uint8_t *mac;
	bool huge;
	int err = eal_start(&eal, &huge);

	if (err < 0)
		return err;
	d->eal_started = true;
	err = nic_port_open(&d->port, &c->port);
	if (err < 0)
		return err;
	err = config_iface(c, &d->iface);
	mac = nic_port_caps(d->port)->mac;
	memcpy(&d->iface.mac, mac, sizeof(d->iface.mac));
	log_info("port %s: %02x:%02x:%02x:%02x:%02x:%02x, MTU %u, buffers in %s pages",
		nic_port_name(d->port), mac[0], mac[1], mac[2], mac[3], mac[4], mac[5],
		c->port.mtu_bytes, huge ? "huge" : "plain");
	return err;
}

static int start_tables(struct daemon *d)
{
	size_t size = net_neigh_size(d->cfg.limits.neighbours);
	uint64_t key;
	void *nd;

	if (getrandom(&key, sizeof(key), 0) != (ssize_t)sizeof(key))
		return -EIO;
	size = (size + NET_NEIGH_ALIGN - 1) / NET_NEIGH_ALIGN * NET_NEIGH_ALIGN;
	d->neigh = aligned_alloc(NET_NEIGH_ALIGN, size);
	if (d->neigh == NULL)
		return -ENOMEM;
	d->neigh = net_neigh_init(d->neigh, d->cfg.limits.neighbours, key);
	size = (net_nd_host_size() + NET_NEIGH_ALIGN - 1) / NET_NEIGH_ALIGN * NET_NEIGH_ALIGN;
	nd = aligned_alloc(NET_NEIGH_ALIGN, size);
	if (nd == NULL)
		return -ENOMEM;
	d->nd = net_nd_host_init(nd,
		&(struct net_nd_config){
			.iface = &d->iface,
			.neigh = d->neigh,
			.slaac = d->cfg.slaac,
			.probe = d->cfg.dad,
		},
		loop_now_us());
	return 0;
}

static uint32_t share(const struct daemon *d, uint32_t whole)
{
	return (whole + d->cfg.engine_count - 1) / d->cfg.engine_count;
}

static struct engine_limits engine_share(const struct daemon *d)
{
	const struct config_limits *l = &d->cfg.limits;

	return (struct engine_limits){
		.conns_max = share(d, l->connections),
		.halves_max = share(d, l->half_open),
		.tws_max = share(d, l->time_wait),
		.sessions_max = l->sessions,
		.session_conns_max = share(d, l->connections_per_session),
		.uid_orphans_max = share(d, l->orphans_per_uid),
		.orphan_timeout_s = l->orphan_timeout_s,
		.sndbuf_bytes = l->sndbuf_bytes,
		.sndbuf_max_bytes = l->sndbuf_max_bytes,
		.rcvbuf_bytes = l->rcvbuf_bytes,
		.rcvbuf_max_bytes = l->rcvbuf_max_bytes,
		.tune_buffers = l->tune_buffers,
		.slots_per_turn = l->slots_per_turn,
	};
}

/* Any engine's thread: another one has a frame handed over. */
static void wake_engine(void *arg, uint16_t engine)
{
	struct daemon *d = arg;

	if (d->threads[engine])
		engine_thread_wake(d->threads[engine]);
}

static int start_engines(struct daemon *d)
{
	struct engine_config ec = {
		.count = (uint16_t)d->cfg.engine_count,
		.numa_node = -1,
		.port = d->port,
		.iface = &d->iface,
		.neigh = d->neigh,
		.nd = d->nd,
		.tcp = d->cfg.tcp,
		.limits = engine_share(d),
		.reassembly = d->cfg.reassembly,
		.cc_rules = d->cfg.routes,
		.cc_rule_count = d->cfg.route_count,
		.flow_labels = d->cfg.flow_labels,
		.port_owner = d->port_owner,
		.claims = &d->claims,
		.peers = d->engines,
		.wake = wake_engine,
		.wake_arg = d,
		.ringer = d->ringer,
	};
	uint16_t main_last;
	int err = 0;

	/* Engines share all slices but the main thread's, which is the last. */
	config_port_slice(&d->cfg, d->cfg.engine_count, &ec.port_last, &main_last);
	ec.port_first = d->cfg.port_first;
	ec.port_last--;
	/* IP and TCP headers without options: RFC 9293 section 3.7.1. */
	ec.tcp.mss_max_bytes = nic_port_caps(d->port)->mtu_bytes - 40u;
	ec.tcp.mss6_max_bytes = nic_port_caps(d->port)->mtu_bytes - 60u;
	ec.tcp.tso_max_bytes = nic_port_caps(d->port)->tso_max_bytes;
	if (ec.tcp.tso_max_bytes == 0)
		ec.tcp.tso_max_bytes = d->cfg.gso_max_bytes;
	if (getrandom(ec.secret, sizeof(ec.secret), 0) != (ssize_t)sizeof(ec.secret) ||
		getrandom(ec.hash_key, sizeof(ec.hash_key), 0) != (ssize_t)sizeof(ec.hash_key) ||
		getrandom(ec.label_key, sizeof(ec.label_key), 0) != (ssize_t)sizeof(ec.label_key) ||
		getrandom(d->claims.key, sizeof(d->claims.key), 0) !=
			(ssize_t)sizeof(d->claims.key))
		return -EIO;
	for (uint32_t i = 0; err == 0 && i < d->cfg.engine_count; i++) {
		ec.id = (uint16_t)i;
		if (getrandom(&ec.rng_seed, sizeof(ec.rng_seed), 0) != (ssize_t)sizeof(ec.rng_seed))
			return -EIO;
		err = engine_create(&d->engines[i], &ec, loop_now_us());
	}
	if (err < 0)
		log_error("engines cannot be made: %s", strerror(-err));
	return err;
}

/* Spinning takes a core that others may need: only where there are more than engines. */
static uint32_t spin_us(const struct daemon *d)
{
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0 ||
		(uint32_t)CPU_COUNT(&cpus) <= d->cfg.engine_count)
		return 0;
	return d->cfg.spin_us;
}

static bool drain_queue(void *arg)
{
	const struct nic_queue_ref *ref = arg;

	return nic_tx_drain(ref->port, ref->queue);
}

static bool arm_queue(void *arg)
{
	const struct nic_queue_ref *ref = arg;

	return nic_queue_arm(ref->port, ref->queue);
}

static void disarm_queue(void *arg)
{
	const struct nic_queue_ref *ref = arg;

	nic_queue_disarm(ref->port, ref->queue);
}

static int start_thread(struct daemon *d, uint32_t i)
{
	struct engine_thread_config tc = {
		.engine = d->engines[i],
		.id = (uint16_t)i,
		.queue_fd = nic_queue_fd(d->port, (uint16_t)i),
		.core = d->cfg.cores[i],
		.spin_us = spin_us(d),
		.poll_us = d->cfg.poll_us,
		.main_fd = d->posted_fd,
		.enter = eal_thread_enter,
		.leave = eal_thread_leave,
		.drain = drain_queue,
		.queue_arg = &d->queues[i],
	};
	int err;

	if (nic_queue_must_arm(d->port)) {
		tc.arm = arm_queue;
		tc.disarm = disarm_queue;
	}
	d->queues[i] = (struct nic_queue_ref){.port = d->port, .queue = (uint16_t)i};
	err = engine_thread_start(&d->threads[i], &tc);
	if (err < 0) {
		log_error("engine %u cannot run on CPU %d: %s", i, tc.core, strerror(-err));
		return err;
	}
	if (tc.queue_fd < 0)
		log_notice("engine %u: the port cannot wake it, asleep it polls every %u us", i,
			tc.poll_us);
	return 0;
}

static int start_server(struct daemon *d)
{
	struct server_params params = {
		.cfg = &d->cfg,
		.loop = d->loop,
		.engines = d->engines,
		.threads = d->threads,
		.engine_count = d->cfg.engine_count,
		.port = d->port,
		.iface = &d->iface,
		.neigh = d->neigh,
		.nd = d->nd,
		.port_owner = d->port_owner,
		.claims = &d->claims,
		.version = d->version,
	};

	config_port_slice(&d->cfg, d->cfg.engine_count, &params.port_first, &params.port_last);
	return server_create(&d->server, &params);
}

static int start_plugin(struct daemon *d)
{
	const char *path = d->cfg.congestion_plugin, *why;
	int err;

	if (path[0] == '\0')
		return 0;
	err = plugin_load(path, &d->cfg.tcp.cc_plugin, &why);
	if (err < 0)
		log_error("[tcp] congestion_plugin %s: %s (%s)", path, why, strerror(-err));
	else
		log_notice("congestion control %s is %s", d->cfg.tcp.cc_plugin->name, path);
	return err;
}

static int start_all(struct daemon *d)
{
	int err = start_signals(d);

	if (err == 0)
		err = start_plugin(d);
	if (err == 0)
		err = start_loop(d);
	if (err == 0)
		err = start_port(d);
	if (err == 0)
		err = start_tables(d);
	if (err == 0)
		err = ringer_start(&d->ringer);
	if (err == 0)
		err = start_engines(d);
	for (uint32_t i = 0; err == 0 && i < d->cfg.engine_count; i++)
		err = start_thread(d, i);
	if (err == 0)
		err = start_server(d);
	if (err < 0)
		return err;
	d->watchdog_us = notify_watchdog_us();
	if (d->watchdog_us > 0)
		loop_timer_set(d->loop, &d->watchdog_timer, loop_now_us() + d->watchdog_us / 4,
			on_watchdog, d);
	log_notice("mtcpd %s serves %s with %u engine%s", d->version, d->cfg.runtime_dir,
		d->cfg.engine_count, d->cfg.engine_count == 1 ? "" : "s");
	notify_send("READY=1");
	return 0;
}

int daemon_run(const struct config *cfg, const char *version)
{
	static struct daemon d; /* large; and there is one */
	int err;

	d.cfg = *cfg;
	d.version = version;
	d.posted_fd = d.signal_fd = -1;
	log_level_set((enum log_level)cfg->log_level);
	err = start_all(&d);
	if (err == 0)
		err = loop_run(d.loop);
	if (err < 0)
		log_error("mtcpd ends: %s", strerror(-err));
	stop_all(&d);
	if (err == 0)
		log_notice("stopped");
	return err;
}
