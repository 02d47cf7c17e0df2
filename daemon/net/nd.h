/* Neighbour discovery messages (RFC 4861), in and out; what follows from them is nd_host.h's.
 *
 * net_nd_parse() makes every check that RFC 4861 sections 6.1 and 7.1 name: hop limit 255, so
 * that no router forwarded it; no fragment header (RFC 6980); lengths; options of length 0;
 * which addresses may send what to whom. A redirect is ignored: there is one router.
 *
 * The net_nd_build functions write whole frames of at most NET_ND_FRAME_MAX bytes and return
 * their length. MLDv2 reports (RFC 3810), which a switch wants to hear before it forwards a
 * group, are here too.
 */
#ifndef NET_ND_H
#define NET_ND_H

#include <net/icmp6.h>
#include <net/packet.h>
#include <net/route.h>

enum {
	NET_ND_ROUTER_SOLICIT = 133,
	NET_ND_ROUTER_ADVERT = 134,
	NET_ND_SOLICIT = 135,
	NET_ND_ADVERT = 136,
	NET_ND_REDIRECT = 137,

	NET_ND_HOP_LIMIT = 255,
	NET_ND_PREFIXES_MAX = 8, /* of one advertisement; more are not looked at */
	NET_ND_OPTIONS_MAX = 64,
	NET_ND_FRAME_MAX = 512,
};

struct net_nd_prefix {
	struct net_addr prefix;
	uint32_t valid_s; /* UINT32_MAX: for ever */
	uint32_t preferred_s;
	uint8_t len;
	bool on_link;
	bool autonomous;
};

struct net_nd {
	struct net_addr src;
	struct net_addr dst;
	struct net_addr target; /* SOLICIT, ADVERT */
	struct net_mac eth_src;
	struct net_mac mac; /* of the link-layer address option, if has_mac */
	bool has_mac;
	bool multicast; /* dst is a group */
	uint8_t type;
	/* ADVERT */
	bool router;
	bool solicited;
	bool override;
	/* ROUTER_ADVERT */
	uint8_t hop_limit;   /* 0: not said */
	int8_t preference;   /* RFC 4191: 1 high, 0 medium, -1 low */
	uint16_t lifetime_s; /* as a default router; 0: it is none */
	uint32_t mtu_bytes;  /* 0: not said */
	uint8_t prefix_count;
	struct net_nd_prefix prefix[NET_ND_PREFIXES_MAX];
};

/* Fills *nd from a packet that net_icmp6_parse() found to be NET_ICMP_ND. Returns NET_DROP_NONE
 * for solicitations and advertisements of neighbours and advertisements of routers, or why it is
 * dropped. */
enum net_drop net_nd_parse(struct net_nd *nd, const struct net_packet *p, const struct net_ip6 *ip,
	const struct net_iface *iface);

/* Asks for the MAC of target. `dst` is the neighbour's for a unicast probe, or the broadcast
 * address, which stands for the solicited-node group. 0 if we have no address to ask from. */
size_t net_nd_build_solicit(uint8_t *frame, const struct net_iface *iface,
	const struct net_addr *target, const struct net_mac *dst);

/* Asks whether anybody has the address that we mean to take (RFC 4862 section 5.4.2). */
size_t net_nd_build_probe(
	uint8_t *frame, const struct net_iface *iface, const struct net_addr *target);

/* Says that target is ours: in answer to a solicitation (dst unicast), or to all nodes. */
struct net_nd_answer {
	struct net_addr target;
	struct net_addr dst;
	struct net_mac mac; /* of dst */
	bool solicited;
};
size_t net_nd_build_advert(
	uint8_t *frame, const struct net_iface *iface, const struct net_nd_answer *answer);

size_t net_nd_build_router_solicit(uint8_t *frame, const struct net_iface *iface);

/* All groups of ours, because we have joined some or were asked. 0 if there is none. */
size_t net_nd_build_mld_report(uint8_t *frame, const struct net_iface *iface, bool joining);

#endif
