#include "sim_host.h"

#include "sim_client.h"
#include "sim_mem.h"

#include <net/nd_host.h>
#include <shm/segment.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	NEIGH_ENTRIES = 64,
};

void sim_host_config_default(struct sim_host_config *cfg, int side)
{
	*cfg = (struct sim_host_config){
		.side = side,
		.ip4 = true,
		.mtu_bytes = 1500,
		.limits =
			{
				.conns_max = 512,
				.halves_max = 64,
				.tws_max = 512,
				.sessions_max = 64,
				.session_conns_max = 256,
				.uid_orphans_max = 64,
				.orphan_timeout_s = 60,
				.sndbuf_bytes = 256 << 10,
				.sndbuf_max_bytes = 4 << 20,
				.rcvbuf_bytes = 128 << 10,
				.rcvbuf_max_bytes = 6 << 20,
				.tune_buffers = true,
				.slots_per_turn = 64,
			},
		.seed = 1,
	};
	tcp_config_default(&cfg->tcp);
}

static void *table_memory(size_t bytes)
{
	void *mem = aligned_alloc(
		NET_NEIGH_ALIGN, (bytes + NET_NEIGH_ALIGN - 1) / NET_NEIGH_ALIGN * NET_NEIGH_ALIGN);

	assert(mem);
	return mem;
}

static void init_addresses(struct sim_host *h, const struct sim_host_config *cfg)
{
	struct net_addr ip6 = sim_ip6(cfg->side);
	int rc = 0;

	if (cfg->ip4)
		rc = net_iface_add(&h->iface, h->ip_be, 24);
	if (!rc && cfg->ip6)
		rc = net_iface_add6(&h->iface, &ip6, 64, NET_ADDR6_PREFERRED);
	assert(!rc);
}

static void init_tables(struct sim_host *h, const struct sim_host_config *cfg, uint64_t now_us)
{
	h->neigh = net_neigh_init(
		table_memory(net_neigh_size(NEIGH_ENTRIES)), NEIGH_ENTRIES, cfg->seed);
	assert(h->neigh);
	if (!cfg->ip6)
		return;
	h->nd = net_nd_host_init(table_memory(net_nd_host_size()),
		&(struct net_nd_config){
			.iface = &h->iface,
			.neigh = h->neigh,
			.probe = cfg->probe6,
		},
		now_us);
	assert(h->nd);
}

static void fill_keys(struct engine_config *cfg, uint64_t seed)
{
	struct sim_rng rng = {.state = seed};

	for (size_t i = 0; i < sizeof(cfg->secret); i++)
		cfg->secret[i] = (uint8_t)sim_rng_next(&rng);
	memcpy(&cfg->rng_seed, cfg->secret + 40, sizeof(cfg->rng_seed)); /* as old seeds have it */
	for (size_t i = 0; i < sizeof(cfg->hash_key); i++)
		cfg->hash_key[i] = (uint8_t)sim_rng_next(&rng);
	for (size_t i = 0; i < sizeof(cfg->label_key); i++)
		cfg->label_key[i] = (uint8_t)sim_rng_next(&rng);
}

void sim_host_init(struct sim_host *h, const struct sim_host_config *cfg, struct sim_link *link,
	uint64_t now_us)
{
	const uint8_t mac[6] = {2, 0, 0, 0, 0, (uint8_t)(cfg->side + 1)};
	struct engine_config ec = {
		.count = 1,
		.numa_node = -1,
		.tcp = cfg->tcp,
		.limits = cfg->limits,
		.reassembly = true,
		.flow_labels = true,
		.port_first = SIM_PORT_FIRST,
		.port_last = SIM_PORT_LAST,
	};
	int rc;

	*h = (struct sim_host){.ip_be = sim_ip_be(cfg->side)};
	memcpy(h->iface.mac.b, mac, sizeof(mac));
	h->iface.mtu_bytes = cfg->mtu_bytes;
	init_addresses(h, cfg);
	init_tables(h, cfg, now_us);
	h->port = sim_nic_new(link, cfg->side, mac, cfg->mtu_bytes);
	h->port_owner = calloc(65536, sizeof(*h->port_owner));
	assert(h->port_owner);
	ec.port = h->port;
	ec.iface = &h->iface;
	ec.neigh = h->neigh;
	ec.nd = h->nd;
	ec.port_owner = h->port_owner;
	fill_keys(&ec, cfg->seed);
	rc = engine_create(&h->engine, &ec, now_us);
	assert(!rc);
	sim_agent_init(&h->agent, cfg->agent, cfg->seed);
}

void sim_host_fini(struct sim_host *h)
{
	sim_host_messages(h);
	engine_destroy(h->engine);
	for (uint32_t i = 1; i <= h->last_session; i++)
		if (h->clients[i])
			sim_client_free(h->clients[i]);
	sim_agent_fini(&h->agent);
	sim_nic_free(h->port);
	free(h->neigh);
	free(h->nd);
	free((void *)(uintptr_t)h->port_owner);
	sim_mem_recycle();
}

/* -- messages ------------------------------------------------------------------------------------
 */

struct engine_msg *sim_host_msg(enum engine_msg_type type)
{
	struct engine_msg *m = calloc(1, sizeof(*m));

	assert(m);
	m->type = type;
	return m;
}

void sim_host_post(struct sim_host *h, struct engine_msg *m)
{
	engine_post(h->engine, m);
}

static void handle(struct sim_host *h, struct engine_msg *m)
{
	uint32_t id = m->id.session;

	switch (m->type) {
	case ENGINE_NOTE_CONDEMNED:
		assert(id <= h->last_session && h->clients[id]);
		h->condemned++;
		sim_client_condemned(h->clients[id], (int)m->id.value);
		break;
	case ENGINE_NOTE_NEED_UP:
		assert(id <= h->last_session && h->clients[id]);
		sim_client_grow_up(h->clients[id]);
		break;
	case ENGINE_NOTE_SESSION_GONE:
		assert(id <= h->last_session && h->clients[id]);
		sim_client_gone(h->clients[id]);
		break;
	case ENGINE_CMD_SEGMENT_ADD:
		assert(m->result == 0 || m->tag);
		if (m->segment.direction == SHM_DOWN && !m->tag)
			sim_client_grown_down(h->clients[m->segment.session]);
		break;
	case ENGINE_CMD_SESSION_ADD:
		assert(m->result == 0 || m->tag);
		id = m->session.session;
		if (m->result == 0 && id <= h->last_session && h->clients[id])
			h->clients[id]->attached = true;
		break;
	case ENGINE_CMD_LISTEN_ADD:
		assert(m->result == 0 || m->tag);
		break;
	default:
		break;
	}
}

unsigned int sim_host_messages(struct sim_host *h)
{
	unsigned int n = 0;
	struct engine_msg *m;

	while ((m = engine_take(h->engine))) {
		n++;
		handle(h, m);
		if (m->tag) {
			free(h->done);
			h->done = m;
		} else {
			free(m);
		}
	}
	h->notes += n;
	return n + sim_agent_turn(&h->agent, h->engine);
}
