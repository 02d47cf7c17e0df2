#include "pkt_world.h"

#include <ctl/engine_thread.h>
#include <ctl/log.h>
#include <ctl/loop.h>
#include <ctl/server.h>
#include <engine/claims.h>
#include <net/arp.h>
#include <net/nd.h>
#include <net/wire.h>
#include <sim/sim_check.h>
#include <sim/sim_fail.h>

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	ROUNDS_MAX = 100000, /* without the clock moving */
	/* Who waits for the server's answer: it accepts, then reads, then asks the engine. */
	IDLE_ROUNDS = 3,
	BELLS_MAX = 16,
	ARP_OP_AT = 20,
	ARP_SENDER_AT = 22,
	ARP_TARGET_AT = 32,
	ICMP6_AT = NET_ETH_HLEN + NET_IP6_HLEN,
};

/* -- what the server believes to be the engine's thread -----------------------------------------
 */

struct engine_thread {
	int bells;
	struct engine *engine;
	bool woken;
};
static struct engine_thread the_thread;

int engine_thread_watch(struct engine_thread *t, uint32_t session, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u32 = session};

	return epoll_ctl(t->bells, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

/* Its descriptor is closed next, and with that leaves the epoll set. */
void engine_thread_unwatch(struct engine_thread *t, uint32_t session)
{
	(void)t;
	(void)session;
}

bool engine_thread_is_polled(struct engine_thread *t, uint32_t session)
{
	(void)t;
	(void)session;
	return false;
}

void engine_thread_wake(struct engine_thread *t)
{
	t->woken = true;
}

void engine_thread_stats(struct engine_thread *t, struct engine_thread_stats *out)
{
	(void)t;
	*out = (struct engine_thread_stats){0};
}

/* The simulator's port has none. */
const char *nic_port_name(const struct nic_port *port)
{
	(void)port;
	return "script";
}

static unsigned int hear_bells(void)
{
	struct epoll_event ev[BELLS_MAX];
	int n = epoll_wait(the_thread.bells, ev, BELLS_MAX, 0);

	for (int i = 0; i < n; i++)
		engine_session_woken(the_thread.engine, ev[i].data.u32);
	return n > 0 ? (unsigned int)n : 0;
}

/* -- the other end of the link
 * ----------------------------------------------------------------------- */

/* Whoever is asked for, it is us. */
static void answer_arp(struct pkt_world *w, const uint8_t *request)
{
	const struct net_mac us = {{2, 0, 0, 0, 0, PKT_REMOTE + 1}};
	struct net_mac them;
	uint8_t frame[NET_ARP_FRAME_LEN];

	memcpy(them.b, request + 6, sizeof(them.b));
	memcpy(frame, request, sizeof(frame));
	net_eth_build(frame, &them, &us, NET_ETHERTYPE_ARP);
	net_put16(frame + ARP_OP_AT, NET_ARP_REPLY);
	memcpy(frame + ARP_SENDER_AT, us.b, sizeof(us.b));
	memcpy(frame + ARP_SENDER_AT + 6, request + ARP_TARGET_AT + 6, 4);
	memcpy(frame + ARP_TARGET_AT, request + ARP_SENDER_AT, 10);
	sim_link_send(&w->link, PKT_REMOTE, frame, sizeof(frame));
}

/* The script's end. */
static struct net_iface remote_iface(void)
{
	struct net_iface us = {.mac = {{2, 0, 0, 0, 0, PKT_REMOTE + 1}}};
	struct net_addr ip6 = sim_ip6(PKT_REMOTE);
	int rc = net_iface_add(&us, sim_ip_be(PKT_REMOTE), 24);

	SIM_CHECK(!rc && !net_iface_add6(&us, &ip6, 64, NET_ADDR6_PREFERRED), "addresses");
	return us;
}

/* It asks for the host, which so learns where it is: a SYN|ACK that has to wait for an answer to
 * ARP would be sent by its timer. */
static void introduce(struct pkt_world *w)
{
	const struct net_mac all = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
	struct net_iface us = remote_iface();
	struct net_addr host6 = sim_ip6(PKT_LOCAL);
	uint8_t frame[NET_ND_FRAME_MAX];

	SIM_CHECK(net_arp_build_request(frame, &us, sim_ip_be(PKT_LOCAL), &all), "ARP");
	sim_link_send(&w->link, PKT_REMOTE, frame, NET_ARP_FRAME_LEN);
	if (w->host_cfg.ip6)
		sim_link_send(&w->link, PKT_REMOTE, frame,
			(uint32_t)net_nd_build_solicit(frame, &us, &host6, &all));
}

/* The host asks, now and then, whether the script's end is still there. */
static void answer_solicit(struct pkt_world *w, const struct sim_frame *f)
{
	struct net_iface us = remote_iface();
	struct net_nd_answer answer = {.target = sim_ip6(PKT_REMOTE),
		.dst = sim_ip6(PKT_LOCAL),
		.mac = {{2, 0, 0, 0, 0, PKT_LOCAL + 1}},
		.solicited = true};
	uint8_t frame[NET_ND_FRAME_MAX];

	if (f->data[ICMP6_AT] == NET_ND_SOLICIT)
		sim_link_send(&w->link, PKT_REMOTE, frame,
			(uint32_t)net_nd_build_advert(frame, &us, &answer));
}

/* ICMPv6, behind a header with options where it is MLD: the host's own business. */
static bool is_icmp6(const struct sim_frame *f)
{
	const uint8_t *ip = f->data + NET_ETH_HLEN;

	return f->len_bytes > ICMP6_AT && net_get16(f->data + 12) == NET_ETHERTYPE_IP6 &&
	       (ip[6] == NET_PROTO_ICMP6 || ip[6] == NET_PROTO_HOP_BY_HOP);
}

static bool is_arp(const struct sim_frame *f)
{
	return f->len_bytes >= NET_ETH_HLEN + NET_ARP_LEN &&
	       net_get16(f->data + 12) == NET_ETHERTYPE_ARP;
}

static unsigned int receive(struct pkt_world *w)
{
	struct sim_frame *f;
	unsigned int n = 0;

	while ((f = sim_link_receive(&w->link, PKT_REMOTE))) {
		struct pkt_seen *s;

		n++;
		if (is_arp(f)) {
			if (net_get16(f->data + ARP_OP_AT) == NET_ARP_REQUEST)
				answer_arp(w, f->data);
			free(f);
			continue;
		}
		if (is_icmp6(f)) {
			answer_solicit(w, f);
			free(f);
			continue;
		}
		s = malloc(sizeof(*s) + f->len_bytes);
		SIM_CHECK(s, "no memory");
		s->next = NULL;
		s->at_us = f->at_us;
		s->len_bytes = f->len_bytes;
		memcpy(s->data, f->data, f->len_bytes);
		*w->seen_end = s;
		w->seen_end = &s->next;
		free(f);
	}
	return n;
}

void pkt_world_inject(struct pkt_world *w, const uint8_t *frame, uint32_t len)
{
	sim_link_send(&w->link, PKT_REMOTE, frame, len);
}

struct pkt_seen *pkt_world_take(struct pkt_world *w)
{
	struct pkt_seen *s = w->seen;

	if (!s)
		return NULL;
	w->seen = s->next;
	if (!w->seen)
		w->seen_end = &w->seen;
	return s;
}

/* -- life ----------------------------------------------------------------------------------------
 */

void pkt_world_init(struct pkt_world *w, const char *dir)
{
	struct group *g = getgrgid(getegid());

	*w = (struct pkt_world){.dir = dir, .now_us = PKT_START_US, .bells = -1};
	w->seen_end = &w->seen;
	pkt_clock_set(w->now_us);
	sim_host_config_default(&w->host_cfg, PKT_LOCAL);
	sim_wire_init(&w->wire);
	w->wire.judge = false; /* a script breaks rules on purpose */
	config_default(&w->cfg);
	w->cfg.hugepages = CONFIG_HUGEPAGES_NO;
	w->cfg.limits.segment_initial_bytes = 256 << 10;
	w->cfg.limits.contexts = 1;
	w->cfg.limits.attach_rate_per_uid = 10000;
	snprintf(w->cfg.group, sizeof(w->cfg.group), "%s", g ? g->gr_name : "");
}

static int open_server(struct pkt_world *w)
{
	static struct engine_thread *const threads[] = {&the_thread};
	static struct claims claims;
	struct server_params p = {
		.cfg = &w->cfg,
		.loop = w->loop,
		.engines = &w->host.engine,
		.threads = threads,
		.engine_count = 1,
		.port = w->host.port,
		.iface = &w->host.iface,
		.nd = w->host.nd,
		.neigh = w->host.neigh,
		.port_owner = w->host.port_owner,
		.claims = &claims,
		.port_first = 50000,
		.port_last = 50999,
		.version = "script",
	};

	the_thread = (struct engine_thread){.bells = w->bells, .engine = w->host.engine};
	return server_create(&w->server, &p);
}

int pkt_world_open(struct pkt_world *w)
{
	const struct sim_profile wire = {.spare_arp = true};
	char path[96];
	int rc;

	snprintf(w->cfg.runtime_dir, sizeof(w->cfg.runtime_dir), "%s/run", w->dir);
	snprintf(path, sizeof(path), "%s/run/mtcpd.sock", w->dir);
	setenv("MTCPD_SOCKET", path, 1);
	setenv("MTCP_SPIN_US", "0", 1);
	log_level_set(LOG_LEVEL_ERROR);
	sim_link_init(&w->link, 1, &wire);
	w->link.now_us = w->now_us;
	w->link.tap = sim_wire_tap;
	w->link.tap_arg = &w->wire;
	w->host_cfg.limits.rcvbuf_bytes = w->host_cfg.tcp.rcvbuf_bytes;
	w->host_cfg.limits.rcvbuf_max_bytes = w->host_cfg.tcp.rcvbuf_max_bytes;
	w->cfg.limits.rcvbuf_bytes = w->host_cfg.tcp.rcvbuf_bytes;
	w->cfg.limits.rcvbuf_max_bytes = w->host_cfg.tcp.rcvbuf_max_bytes;
	w->cfg.limits.sndbuf_bytes = w->host_cfg.limits.sndbuf_bytes;
	w->cfg.limits.sndbuf_max_bytes = w->host_cfg.limits.sndbuf_max_bytes;
	sim_host_init(&w->host, &w->host_cfg, &w->link, w->now_us);
	introduce(w);
	w->bells = epoll_create1(EPOLL_CLOEXEC);
	rc = w->bells < 0 ? -errno : loop_create(&w->loop);
	return rc ? rc : open_server(w);
}

void pkt_world_close(struct pkt_world *w)
{
	sim_wire_fini(&w->wire);
}

/* -- time
 * ---------------------------------------------------------------------------------------------- */

static unsigned int round_of(struct pkt_world *w)
{
	unsigned int work = engine_turn(w->host.engine, w->now_us);

	sim_check_turn(&w->host, w->now_us);
	work += receive(w);
	if (work)
		return work;
	if (engine_posted(w->host.engine)) {
		server_engines_posted(w->server);
		work++;
	}
	loop_run_once(w->loop, 0);
	work += the_thread.woken;
	the_thread.woken = false;
	return work + pkt_task_turn();
}

static bool is_awake(struct pkt_world *w)
{
	bool awake = round_of(w) > 0;

	awake |= !engine_sleep_prepare(w->host.engine);
	awake |= hear_bells() > 0;
	return awake || sim_link_next_us(&w->link) <= w->now_us;
}

void pkt_world_settle(struct pkt_world *w)
{
	unsigned int idle = 0;

	for (unsigned int n = 0; idle < (pkt_task_asleep() ? IDLE_ROUNDS : 1); n++) {
		SIM_CHECK(n < ROUNDS_MAX, "the clock stands still at %llu us",
			(unsigned long long)w->now_us);
		idle = is_awake(w) ? 0 : idle + 1;
	}
	sim_check_memory(&w->host);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

bool pkt_world_step(struct pkt_world *w, uint64_t until_us)
{
	uint64_t next;

	if (w->now_us >= until_us)
		return false;
	next = min_u64(engine_next_us(w->host.engine), sim_link_next_us(&w->link));
	next = min_u64(min_u64(next, pkt_task_next_us()), until_us);
	w->now_us = next > w->now_us ? next : w->now_us + 1;
	w->link.now_us = w->now_us;
	pkt_clock_set(w->now_us);
	pkt_world_settle(w);
	return true;
}

void pkt_world_run_until(struct pkt_world *w, uint64_t until_us)
{
	while (pkt_world_step(w, until_us))
		;
}
