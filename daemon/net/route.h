/* The interface's addresses, and which way a packet leaves.
 *
 * There is one port and so no table of routes: a destination is either on link, inside the
 * prefix of one of our addresses (the longest wins), or behind the gateway. A `net_iface` is
 * filled at start and read by every engine; whoever changes it later publishes a new copy.
 */
#ifndef NET_ROUTE_H
#define NET_ROUTE_H

#include <net/addr.h>

#include <stdbool.h>
#include <stdint.h>

enum {
	NET_IFACE_ADDRS_MAX = 16,
	NET_IP4_MTU_MIN = 68, /* RFC 791 section 3.2 */
};

struct net_prefix {
	uint32_t ip_be;	  /* the address itself */
	uint32_t mask_be; /* from prefix_len */
	uint8_t prefix_len;
};

/* Zero it, set mac and mtu_bytes, then add addresses. */
struct net_iface {
	struct net_mac mac;
	uint16_t mtu_bytes; /* of an IP packet, Ethernet header not counted */
	uint8_t addr_count;
	struct net_prefix addr[NET_IFACE_ADDRS_MAX];
	uint32_t gateway_be; /* 0: none */
};

struct net_route {
	uint32_t next_hop_be; /* resolve this one */
	uint32_t src_be;      /* of ours, for a socket that is not bound */
};

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

#endif
