/* A host: one engine on one end of the link, and what the daemon's main thread would do for it.
 *
 * The main thread's part is small: sessions and listeners are announced by messages, notes are
 * answered (more `up` memory, the end of a session). Memory of a session has two mappings, as
 * between processes: the engine can only read `down`, its client can only read `up`; a write
 * to the wrong side is a fault. It is unmapped when the engine says that nothing refers to it,
 * so that a later use is a fault too.
 */
#ifndef SIM_HOST_H
#define SIM_HOST_H

#include "sim_agent.h"
#include "sim_nic.h"

#include <engine/engine.h>
#include <net/neigh.h>
#include <net/route.h>

enum {
	SIM_SESSIONS_MAX = 4096,
	SIM_PORT_FIRST = 40000,
	SIM_PORT_LAST = 40999,
	SIM_PROBE6_US = 1500000,
};

struct sim_client;

struct sim_host_config {
	int side; /* 0 or 1: address 10.0.0.1 or 10.0.0.2, fd00::1 or fd00::2 */
	bool ip4, ip6;
	bool probe6; /* addresses of IPv6 are tried out first, for SIM_PROBE6_US at most */
	uint16_t mtu_bytes;
	struct tcp_config tcp;
	struct engine_limits limits;
	enum sim_agent_kind agent; /* takes a tcp.cc_agent */
	uint64_t seed;
};
/* Defaults that a test or a scenario changes. */
void sim_host_config_default(struct sim_host_config *cfg, int side);

struct sim_host {
	struct engine *engine;
	struct nic_port *port;
	struct net_iface iface;
	struct net_neigh_table *neigh;
	struct net_nd_host *nd;
	_Atomic uint32_t *port_owner;
	uint32_t ip_be;
	uint32_t last_session;
	uint32_t last_listener;
	struct sim_client *clients[SIM_SESSIONS_MAX]; /* by session id, NULL when gone */
	struct engine_msg *done;		      /* the last command that somebody waits for */
	uint64_t notes, condemned;		      /* sessions that the engine complained of */
	struct sim_agent agent;
};

struct sim_link;
void sim_host_init(struct sim_host *h, const struct sim_host_config *cfg, struct sim_link *link,
	uint64_t now_us);
/* Frees the engine and what sessions are left. */
void sim_host_fini(struct sim_host *h);

/* A zeroed message of that type, posted by sim_host_post(); freed when its answer comes unless
 * `tag` is set, in which case it ends in h->done and is the caller's. */
struct engine_msg *sim_host_msg(enum engine_msg_type type);
void sim_host_post(struct sim_host *h, struct engine_msg *m);
/* Takes what the engine has posted; returns how many messages. */
unsigned int sim_host_messages(struct sim_host *h);

static inline uint32_t sim_ip_be(int side)
{
	const uint8_t b[4] = {10, 0, 0, (uint8_t)(side + 1)};
	uint32_t ip_be;

	memcpy(&ip_be, b, sizeof(ip_be));
	return ip_be;
}

static inline struct net_addr sim_ip6(int side)
{
	struct net_addr a = {{0xfd}};

	a.b[15] = (uint8_t)(side + 1);
	return a;
}

#endif
