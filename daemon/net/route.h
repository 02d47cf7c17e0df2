/* The interface's addresses, and which way a packet leaves.
 *
 * There is one port and so no table of routes: a destination is either on link, inside the
 * prefix of one of our addresses (the longest wins), or behind the gateway of its family. A
 * `net_iface` is filled at start; what IPv6 learns later (addresses that are tried out, prefixes,
 * routers: nd_host.h) is published as a new copy, and each engine reads its own.
 *
 * route.c is IPv4 and what serves both families, route6.c IPv6.
 */
#ifndef NET_ROUTE_H
#define NET_ROUTE_H

#include <net/addr.h>

#include <stdbool.h>
#include <stdint.h>

enum {
	NET_IFACE_ADDRS_MAX = 16,
	NET_IP4_MTU_MIN = 68, /* RFC 791 section 3.2 */

	NET_IFACE_ADDRS6_MAX = 16,
	NET_IFACE_PREFIXES6_MAX = 8,
	NET_IP6_MTU_MIN = 1280, /* RFC 8200 section 5 */
};

struct net_prefix {
	uint32_t ip_be;	       /* the address itself */
	uint32_t mask_be;      /* from prefix_len */
	uint32_t broadcast_be; /* the same; the limited one where there is none of its own */
	uint8_t prefix_len;
};

/* RFC 4862 section 5.4: only PREFERRED and DEPRECATED ones are ours to use. */
enum net_addr6_state {
	NET_ADDR6_TENTATIVE, /* being tried out */
	NET_ADDR6_PREFERRED,
	NET_ADDR6_DEPRECATED, /* serves what it serves; not chosen for new flows */
	NET_ADDR6_DUPLICATE,  /* somebody else has it */
	NET_ADDR6_STATE_COUNT
};
/* As `ip addr` prints it: "tentative", "" for preferred, ... */
const char *net_addr6_state_name(enum net_addr6_state state);

struct net_prefix6 {
	struct net_addr addr; /* the address itself, or of a prefix alone its first one */
	uint8_t prefix_len;   /* what is on link with it; 128: nothing else */
	uint8_t state;	      /* enum net_addr6_state */
};

/* Zero it, set mac and mtu_bytes, then add addresses. */
struct net_iface {
	struct net_mac mac;
	uint16_t mtu_bytes; /* of an IP packet, Ethernet header not counted */
	uint16_t vlan_id;   /* 0: frames without a tag */
	uint8_t addr_count;
	struct net_prefix addr[NET_IFACE_ADDRS_MAX];
	uint32_t gateway_be; /* 0: none */

	uint8_t addr6_count; /* 0: IPv6 is off */
	uint8_t prefix6_count;
	uint8_t hop_limit6;  /* of what we send; 0: NET_IP6_HOP_LIMIT */
	uint16_t mtu6_bytes; /* 0: as mtu_bytes; else what the routers said, less than that */
	struct net_prefix6 addr6[NET_IFACE_ADDRS6_MAX];
	struct net_prefix6 prefix6[NET_IFACE_PREFIXES6_MAX]; /* on link besides the addresses' */
	struct net_addr gateway6;			     /* all zero: none */
};

struct net_route {
	uint32_t next_hop_be; /* resolve this one */
	uint32_t src_be;      /* of ours, for a socket that is not bound */
};

/* The same for either family. */
struct net_hop {
	struct net_addr next_hop;
	struct net_addr src;
	bool local; /* one of our own addresses: it never leaves */
};

/* What is said of the destinations in a prefix. */
struct net_prefix_rule {
	struct net_addr prefix;
	uint8_t prefix_len; /* of 128 bits: of an IPv4 prefix 96 more than it says */
	uint8_t value;
};

/* The rule with the longest prefix that holds addr, of its family; NULL: none. */
const struct net_prefix_rule *net_prefix_rule_find(
	const struct net_prefix_rule *rules, uint32_t count, const struct net_addr *addr);

/* Adds a local address. Errors: -EINVAL, not a unicast host address or prefix_len not in
 * 1..32; -EEXIST, already there; -ENOSPC, NET_IFACE_ADDRS_MAX are. */
int net_iface_add(struct net_iface *iface, uint32_t ip_be, uint8_t prefix_len);

/* Sets the default gateway. Errors: -EINVAL, not a unicast address or our own;
 * -ENETUNREACH, inside no local prefix. */
int net_iface_set_gateway(struct net_iface *iface, uint32_t ip_be);

/* Is it one of our addresses? */
bool net_iface_is_local(const struct net_iface *iface, uint32_t ip_be);

/* Is it the limited broadcast address or that of a local prefix? A prefix of 31 or 32 bits has
 * none (RFC 3021). */
bool net_iface_is_broadcast(const struct net_iface *iface, uint32_t ip_be);

/* The longest local prefix that holds the address, or NULL when it is not on link. */
const struct net_prefix *net_iface_on_link(const struct net_iface *iface, uint32_t ip_be);

/* Can it be the address of one host on a wire: not in 0/8 or 127/8, not multicast, not
 * 255.255.255.255? (RFC 1122 section 3.2.1.3) */
bool net_ip4_is_unicast(uint32_t ip_be);

/* Where a packet to dst goes. Returns 0 and fills *route, or -ENETUNREACH: no prefix holds
 * dst and there is no gateway; dst is a broadcast, multicast, loopback or zero address (as
 * connect() does on Linux); or dst is one of our own, which no wire leads to. */
int net_route_lookup(const struct net_iface *iface, uint32_t dst_be, struct net_route *route);

/* -- either family ---------------------------------------------------------------------------- */

/* net_route_lookup() or net_route_lookup6(), by the address; our own lead to ourselves. */
int net_route_find(const struct net_iface *iface, const struct net_addr *dst, struct net_hop *hop);

/* Is it one of our addresses, and usable? */
bool net_iface_has(const struct net_iface *iface, const struct net_addr *addr);

/* MTU towards an address of this family, in bytes. */
uint32_t net_iface_mtu(const struct net_iface *iface, const struct net_addr *addr);

/* -- IPv6 (route6.c) -------------------------------------------------------------------------- */

/* Can it be the address of one host on a wire: not multicast, unspecified, loopback or
 * IPv4-mapped? (RFC 4291 section 2.5, RFC 4038 section 4.2) */
bool net_ip6_is_unicast(const struct net_addr *addr);

bool net_addr6_in_prefix(
	const struct net_addr *addr, const struct net_addr *prefix, uint8_t prefix_len);

/* Adds an address. Errors as net_iface_add(), prefix_len 1..128. */
int net_iface_add6(struct net_iface *iface, const struct net_addr *addr, uint8_t prefix_len,
	enum net_addr6_state state);

/* Adds fe80:: with the identifier made of the MAC (RFC 4291 appendix A), unless some link-local
 * address is there. -ENOSPC. */
int net_iface_add_link_local(struct net_iface *iface, enum net_addr6_state state);

/* The modified EUI-64 identifier of a MAC, put into the last eight bytes. */
void net_addr6_set_eui64(struct net_addr *addr, const struct net_mac *mac);

/* Sets the default router: link-local, or inside a local prefix. Errors as
 * net_iface_set_gateway(). */
int net_iface_set_gateway6(struct net_iface *iface, const struct net_addr *addr);

/* One of ours and usable. */
bool net_iface_is_local6(const struct net_iface *iface, const struct net_addr *addr);

/* One of ours, in whatever state; NULL: none. */
const struct net_prefix6 *net_iface_find6(
	const struct net_iface *iface, const struct net_addr *addr);

/* Are we a member: all nodes, or the solicited-node group of an address (RFC 4291 section 2.8)? */
bool net_iface_in_group6(const struct net_iface *iface, const struct net_addr *group);

bool net_iface_on_link6(const struct net_iface *iface, const struct net_addr *addr);

/* Our address to speak to dst from (after RFC 6724 section 5): a preferred one before a
 * deprecated one, of the same scope, with the longest prefix in common. NULL: there is none. */
const struct net_addr *net_iface_source6(const struct net_iface *iface, const struct net_addr *dst);

/* As net_route_lookup(). */
int net_route_lookup6(
	const struct net_iface *iface, const struct net_addr *dst, struct net_hop *hop);

/* ff02::1:ffXX:XXXX (RFC 4291 section 2.7.1). */
struct net_addr net_addr6_solicited_node(const struct net_addr *addr);

/* 33:33 and the group's last four bytes (RFC 2464 section 7). */
struct net_mac net_mac_of_group6(const struct net_addr *group);

extern const struct net_addr net_addr6_all_nodes;   /* ff02::1 */
extern const struct net_addr net_addr6_all_routers; /* ff02::2 */

#endif
