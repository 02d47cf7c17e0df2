/* The daemon without its threads: EAL, a port over rings, engines.
 *
 * rte_eth_from_rings() makes a port that sends into one ring and receives from another; daemon/nic
 * opens it by name like any other and does with it what it does with a port without offloads:
 * checksums in software, one mbuf a frame, a copy each way. Limits are the daemon's defaults
 * except where the number of connections asks for more.
 */
#include "alone.h"

#include <engine/counters.h>
#include <engine/engine.h>
#include <net/counters.h>
#include <net/neigh.h>
#include <net/route.h>
#include <nic/eal.h>
#include <nic/nic.h>
#include <tcp/counters.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <rte_eth_ring.h>
#include <rte_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	NEIGHBOURS = 64,
	EAL_EXTRA_MIB = 48,
	TURN_US_MAX = 1000,
	CALLGRIND_SLOW = 500, /* how much slower everything is there, or time-outs would run out */
	FRAME_BYTES = 2500,   /* what an mbuf of the usual MTU takes, about */
};

struct host {
	struct alone_config cfg;
	struct rte_ring *to[ALONE_ENGINES_MAX], *from[ALONE_ENGINES_MAX]; /* the engines */
	struct nic_port *port;
	struct net_iface iface;
	struct net_neigh_table *neigh;
	_Atomic uint32_t *port_owner;
	struct engine *engines[ALONE_ENGINES_MAX];
	struct control *control;
	bool huge;
	uint32_t slow;
	uint64_t clock_us; /* at the last turn */
	uint64_t now_us;   /* of the engine */
	uint64_t part_us;  /* passed by the clock, not yet by the engine's */
};

static uint64_t clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void log_line(int level, const char *line)
{
	if (level <= 4)
		fprintf(stderr, "%s\n", line);
}

static void log_nothing(int level, const char *line)
{
	(void)level;
	(void)line;
}

static struct rte_ring *make_ring(const char *direction, uint32_t engine)
{
	char name[32];
	struct rte_ring *r;

	snprintf(name, sizeof(name), "%s%u", direction, engine);
	r = rte_ring_create(name, ALONE_RING_FRAMES, -1, RING_F_SP_ENQ | RING_F_SC_DEQ);
	if (!r)
		alone_fail("no ring");
	return r;
}

static void open_port(struct host *h)
{
	uint32_t frame = h->cfg.mtu_bytes > 2000 ? h->cfg.mtu_bytes + 4096u : FRAME_BYTES;
	struct eal_config eal = {
		.device = "net_ring_alone",
		.instance = "bench-engine",
		.hugepages = h->cfg.huge ? EAL_HUGEPAGES_AUTO : EAL_HUGEPAGES_NO,
		.mtu_bytes = h->cfg.mtu_bytes,
		.memory_mib = 2 * (ALONE_MBUFS * frame >> 20) + EAL_EXTRA_MIB,
		.verbose = h->cfg.verbose,
		.log = h->cfg.verbose ? log_line : log_nothing,
	};
	struct nic_port_config port = {
		.device = "net_ring_alone",
		.mtu_bytes = h->cfg.mtu_bytes,
		.queues = (uint16_t)h->cfg.engines,
		.mbufs = ALONE_MBUFS,
		.numa_node = -1,
	};

	if (eal_start(&eal, &h->huge))
		alone_fail("DPDK does not start");
	for (uint32_t i = 0; i < h->cfg.engines; i++) {
		h->to[i] = make_ring("to", i);
		h->from[i] = make_ring("from", i);
	}
	if (rte_eth_from_rings("alone", h->to, h->cfg.engines, h->from, h->cfg.engines, 0) < 0)
		alone_fail("no port over rings");
	if (nic_port_open(&h->port, &port))
		alone_fail("the port does not open");
}

static void set_address(struct host *h)
{
	const struct net_mac peer = {{2, 0, 0, 0, 0, 2}};
	const struct net_addr peer_ip = net_addr_from_ip4(inet_addr("10.0.0.2"));
	size_t size = (net_neigh_size(NEIGHBOURS) + NET_NEIGH_ALIGN - 1) / NET_NEIGH_ALIGN *
		      NET_NEIGH_ALIGN;
	void *mem = aligned_alloc(NET_NEIGH_ALIGN, size);

	memcpy(h->iface.mac.b, nic_port_caps(h->port)->mac, sizeof(h->iface.mac.b));
	h->iface.mtu_bytes = h->cfg.mtu_bytes;
	if (!mem || net_iface_add(&h->iface, inet_addr("10.0.0.1"), 24) ||
		net_iface_set_gateway(&h->iface, inet_addr("10.0.0.2")))
		alone_fail("no address");
	h->neigh = net_neigh_init(mem, NEIGHBOURS, 1);
	if (!h->neigh || net_neigh_set_static(h->neigh, &peer_ip, &peer, clock_us()))
		alone_fail("no neighbour");
}

static void wake_nobody(void *arg, uint16_t engine)
{
	(void)arg; /* all have their turn in the next step anyway */
	(void)engine;
}

static void make_engine(struct host *h, uint16_t id)
{
	uint32_t conns = h->cfg.conns + h->cfg.fresh_max + 1024;
	struct engine_config ec = {
		.id = id,
		.count = (uint16_t)h->cfg.engines,
		.peers = h->engines,
		.wake = wake_nobody,
		.numa_node = -1,
		.port = h->port,
		.iface = &h->iface,
		.neigh = h->neigh,
		.port_owner = h->port_owner,
		.port_first = 32768,
		.port_last = 60999,
		.limits =
			{
				.conns_max = conns < 1 << 20 ? 1 << 20 : conns,
				.halves_max = 65536,
				.tws_max = 262144,
				.sessions_max = 1024,
				.session_conns_max = conns,
				.uid_orphans_max = 4096,
				.orphan_timeout_s = 60,
				.sndbuf_bytes = 256 << 10,
				.sndbuf_max_bytes = 4 << 20,
				.rcvbuf_bytes = 128 << 10,
				.rcvbuf_max_bytes = 6 << 20,
				.tune_buffers = true,
				.slots_per_turn = 64,
			},
	};

	tcp_config_default(&ec.tcp);
	ec.tcp.mss_max_bytes = h->cfg.mtu_bytes - 40u;
	ec.tcp.tso_max_bytes = h->cfg.gso_max_bytes;
	ec.tcp.timestamps = h->cfg.timestamps;
	for (size_t i = 0; i < sizeof(ec.secret); i++)
		ec.secret[i] = (uint8_t)(i * 37 + 11);
	for (size_t i = 0; i < sizeof(ec.hash_key); i++)
		ec.hash_key[i] = (uint8_t)(i * 59 + 3);
	if (engine_create(&h->engines[id], &ec, clock_us()))
		alone_fail("no engine");
}

struct host *host_new(const struct alone_config *cfg)
{
	struct host *h = calloc(1, sizeof(*h));

	if (!h)
		alone_fail("no memory");
	h->cfg = *cfg;
	h->slow = callgrind_running() ? CALLGRIND_SLOW : 1;
	h->now_us = h->clock_us = clock_us();
	h->port_owner = calloc(65536, sizeof(*h->port_owner));
	if (!h->port_owner)
		alone_fail("no memory");
	open_port(h);
	set_address(h);
	for (uint32_t i = 0; i < cfg->engines; i++)
		make_engine(h, (uint16_t)i);
	h->control = control_new(h->engines, cfg);
	return h;
}

unsigned int host_turn(struct host *h)
{
	uint64_t now_us = clock_us();
	uint64_t passed_us = now_us - h->clock_us;
	unsigned int work = 0;

	/* A turn takes microseconds; if it seems to have taken far longer, somebody else had the
	 * core, and the engine shall not think that its peers fell silent. */
	if (passed_us > TURN_US_MAX)
		passed_us = TURN_US_MAX;
	h->clock_us = now_us;
	h->part_us += passed_us;
	h->now_us += h->part_us / h->slow;
	h->part_us %= h->slow;
	for (uint32_t i = 0; i < h->cfg.engines; i++)
		work += engine_turn(h->engines[i], h->now_us);
	return work;
}

void host_closed(struct host *h, uint64_t conns)
{
	struct tcp_config tcp;

	tcp_config_default(&tcp);
	h->now_us += conns * 2 * tcp.msl_us / h->cfg.waiting;
}

uint32_t host_waiting(const struct host *h)
{
	struct engine_gauges g;
	uint32_t sum = 0;

	for (uint32_t i = 0; i < h->cfg.engines; i++) {
		engine_gauges(h->engines[i], &g);
		sum += g.tws;
	}
	return sum;
}

uint64_t host_now_us(const struct host *h)
{
	return h->now_us;
}

static void take_messages(struct engine *e)
{
	struct engine_msg *m;

	engine_posted(e);
	while ((m = engine_take(e))) {
		if (m->type == ENGINE_NOTE_CONDEMNED)
			alone_fail("the engine condemned its client: %s",
				proto_condemned_name(m->id.value));
		if (m->result < 0)
			alone_fail("command %d: %s", m->type, strerror(-m->result));
		free(m);
	}
}

void host_messages(struct host *h)
{
	for (uint32_t i = 0; i < h->cfg.engines; i++)
		take_messages(h->engines[i]);
}

struct rte_ring *host_ring_to(struct host *h, uint32_t engine)
{
	return h->to[engine];
}

struct rte_ring *host_ring_from(struct host *h, uint32_t engine)
{
	return h->from[engine];
}

const uint8_t *host_mac(const struct host *h)
{
	return h->iface.mac.b;
}

const char *host_socket_path(const struct host *h)
{
	return control_path(h->control);
}

bool host_huge(const struct host *h)
{
	return h->huge;
}

/* What must not happen while we measure. Retransmissions would mean that time-outs ran out. */
uint64_t host_drops(const struct host *h, const char **first)
{
	struct nic_stats nic;
	uint64_t sum = 0;

	*first = NULL;
	nic_port_stats(h->port, &nic);
	for (uint32_t i = 0; i < h->cfg.engines; i++) {
		const struct engine_counters *e = engine_counters(h->engines[i]);
		const struct tcp_counters *t = engine_tcp_counters(h->engines[i]);
		const struct {
			const char *name;
			uint64_t n;
		} row[] = {
			{"tx_no_buffer", e->tx_no_buffer},
			{"tx_no_neighbour", e->tx_no_neighbour},
			{"tx_payload_missing", e->tx_payload_missing},
			{"rx_chunks_empty", e->rx_chunks_empty},
			{"accept_queue_full", e->accept_queue_full},
			{"halves_full", e->halves_full},
			{"conns_full", e->conns_full},
			{"stale_handles", e->stale_handles},
			{"handed_over", e->handed_over},
			{"retransmitted_segments", t->retransmitted_segs},
			{"rx_no_mbuf", i ? 0 : nic.rx_no_mbuf},
			{"tx_no_mbuf", i ? 0 : nic.tx_no_mbuf},
			{"tx_queue_full", i ? 0 : nic.tx_queue_full},
		};

		for (size_t k = 0; k < sizeof(row) / sizeof(row[0]); k++) {
			sum += row[k].n;
			if (row[k].n && !*first)
				*first = row[k].name;
		}
	}
	return sum;
}
