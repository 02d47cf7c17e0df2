/* What a host makes of neighbour discovery: addresses, routers and the interface they amount to.
 *
 * One net_nd_host serves all engines. It holds the master copy of the net_iface; an engine
 * reads a copy of its own and takes a new one when net_nd_host_generation() has changed. All
 * else happens under a lock, by whichever engine receives a message and by the one that ticks:
 *
 *	address:  TENTATIVE --1 s without an objection--> PREFERRED --> DEPRECATED --> gone
 *	             +--> DUPLICATE: another host has it, or tries it out too (RFC 4862 section 5.4)
 *	router:   made by an advertisement, ends by its lifetime, by one of 0, or when the
 *	          router says that it is none; passed over while it does not answer
 *	prefix:   the same, by an option with the L flag
 *
 * Addresses of the configuration never expire. With `slaac`, routers are solicited at the
 * start, three times at most, and their advertisements give a default router (unless the
 * configuration names one), prefixes that are on link, addresses (identifier: EUI-64), MTU
 * and hop limit. Without it no advertisement is heeded.
 *
 * Against floods and forgers: all lists are short, and what comes when they are full is counted
 * and ignored, so that nothing in use is displaced; a lifetime of an address is cut to two
 * hours at least (RFC 4862 section 5.5.3); an MTU below 1280 or above the port's and a hop
 * limit below NET_ND_HOP_LIMIT_MIN are not believed. Left out: the random delays before the
 * first messages (RFC 4862 section 5.4.2), reachable time and retransmission timer of routers.
 */
#ifndef NET_ND_HOST_H
#define NET_ND_HOST_H

#include <net/nd.h>
#include <net/neigh.h>

enum {
	NET_ND_ROUTERS_MAX = 4,
	NET_ND_PROBE_US = 1000000,  /* RetransTimer: how long a probe waits for objections */
	NET_ND_ROUTER_SOLICITS = 3, /* RFC 4861 section 10 */
	NET_ND_ROUTER_SOLICIT_US = 4000000,
	NET_ND_ROUTER_AVOID_US = 30000000, /* one that did not answer is passed over so long */
	NET_ND_HOP_LIMIT_MIN = 32,
};

struct net_nd_config {
	const struct net_iface *iface; /* MAC, MTU, IPv4, and the IPv6 that is configured; copied */
	struct net_neigh_table *neigh;
	bool slaac;
	bool probe; /* try out addresses before they are used (DAD) */
};

struct net_nd_host; /* lives in the caller's memory; nd_host.c alone looks inside */

size_t net_nd_host_size(void);

/* Makes a host in `mem`, of net_nd_host_size() bytes, aligned to 64. If the interface has any IPv6
 * address or `slaac` is on, a link-local one is added; else IPv6 is off. */
struct net_nd_host *net_nd_host_init(void *mem, const struct net_nd_config *cfg, uint64_t now_us);

/* Changes whenever the interface does. Any thread, lock-free. */
uint64_t net_nd_host_generation(const struct net_nd_host *h);

/* Copies the interface; returns the generation of what was copied. Any thread. */
uint64_t net_nd_host_iface(struct net_nd_host *h, struct net_iface *iface);

/* Acts on a parsed message. Any thread. Sets *answer_due, whatever is returned, if *answer is to
 * be sent. Returns NET_DROP_NONE or why nothing was learned. */
enum net_drop net_nd_host_input(struct net_nd_host *h, const struct net_nd *nd, uint64_t now_us,
	struct net_nd_answer *answer, bool *answer_due);

enum net_nd_act {
	NET_ND_ACT_PROBE,	   /* net_nd_build_probe(target) */
	NET_ND_ACT_ANNOUNCE,	   /* net_nd_build_advert(target) to all nodes */
	NET_ND_ACT_ROUTER_SOLICIT, /* net_nd_build_router_solicit() */
	NET_ND_ACT_JOIN,	   /* net_nd_build_mld_report() */
};
struct net_nd_todo {
	enum net_nd_act act;
	struct net_addr target;
};

enum {
	NET_ND_TODO_MAX = 2 * NET_IFACE_ADDRS6_MAX + 2, /* so many fit what a tick can want */
};

/* Lets time pass, fills out[NET_ND_TODO_MAX] with what to send now and returns how much. One
 * thread at a time, about every 100 ms. */
unsigned int net_nd_host_tick(struct net_nd_host *h, uint64_t now_us, struct net_nd_todo *out);

#endif
