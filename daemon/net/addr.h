/* Addresses and flow keys.
 *
 * An address is always 16 bytes in network order; an IPv4 address is held IPv4-mapped
 * (RFC 4291 section 2.5.5.2, ::ffff:a.b.c.d). Ports are in host order. Where a plain IPv4
 * address is enough it is a uint32_t in network order and its name ends in `_be`.
 */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct net_addr {
	uint8_t b[16];
};

/* An Ethernet address. */
struct net_mac {
	uint8_t b[6];
};
static_assert(sizeof(struct net_mac) == 6, "net_mac is as on the wire");

/* The key of a flow as its local end sees it. Compared and hashed as raw bytes: no padding. */
struct net_tuple {
	struct net_addr local;
	struct net_addr remote;
	uint16_t lport;
	uint16_t rport;
};
static_assert(sizeof(struct net_tuple) == 36, "net_tuple has no padding");

static inline struct net_addr net_addr_from_ip4(uint32_t ip_be)
{
	struct net_addr a = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}};

	memcpy(a.b + 12, &ip_be, sizeof(ip_be));
	return a;
}

/* The IPv4 address inside, in network order; meaningful only if net_addr_is_ip4(). */
static inline uint32_t net_addr_to_ip4(const struct net_addr *a)
{
	uint32_t ip_be;

	memcpy(&ip_be, a->b + 12, sizeof(ip_be));
	return ip_be;
}

static inline bool net_addr_is_ip4(const struct net_addr *a)
{
	static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	return memcmp(a->b, prefix, sizeof(prefix)) == 0;
}

static inline bool net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

/* All zero: the unspecified address of IPv6, and nobody's name where an address is optional. */
static inline bool net_addr_is_any(const struct net_addr *a)
{
	static const struct net_addr any;

	return net_addr_equal(a, &any);
}

/* 0.0.0.0, mapped: any address of IPv4. */
static inline bool net_addr_is_any4(const struct net_addr *a)
{
	return net_addr_is_ip4(a) && net_addr_to_ip4(a) == 0;
}

/* IPv6 multicast, ff00::/8 (RFC 4291 section 2.7). */
static inline bool net_addr_is_group6(const struct net_addr *a)
{
	return a->b[0] == 0xff;
}

/* fe80::/10 (RFC 4291 section 2.5.6). */
static inline bool net_addr_is_link_local6(const struct net_addr *a)
{
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

static inline bool net_mac_equal(const struct net_mac *a, const struct net_mac *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

/* Multicast, of which broadcast is one (IEEE 802 group bit). */
static inline bool net_mac_is_group(const struct net_mac *m)
{
	return (m->b[0] & 1) != 0;
}

static inline bool net_mac_is_zero(const struct net_mac *m)
{
	static const struct net_mac zero;

	return net_mac_equal(m, &zero);
}

/* The key of a flow between two IPv4 addresses in network order; ports in host order. */
static inline struct net_tuple net_tuple_from_ip4(
	uint32_t local_be, uint16_t lport, uint32_t remote_be, uint16_t rport)
{
	return (struct net_tuple){
		.local = net_addr_from_ip4(local_be),
		.remote = net_addr_from_ip4(remote_be),
		.lport = lport,
		.rport = rport,
	};
}

/* Both addresses are of IPv4; then the two below and this tell all of the tuple. */
static inline bool net_tuple_is_ip4(const struct net_tuple *t)
{
	return net_addr_is_ip4(&t->local) && net_addr_is_ip4(&t->remote);
}

static inline uint64_t net_tuple_ip4_addrs(const struct net_tuple *t)
{
	return net_addr_to_ip4(&t->local) | (uint64_t)net_addr_to_ip4(&t->remote) << 32;
}

static inline uint32_t net_tuple_ports(const struct net_tuple *t)
{
	return (uint32_t)t->lport << 16 | t->rport;
}

/* In full whatever differs: no call, no branch. */
static inline bool net_tuple_equal(const struct net_tuple *a, const struct net_tuple *b)
{
	uint64_t x[4], y[4];
	uint32_t p, q;

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	memcpy(&p, &a->lport, sizeof(p));
	memcpy(&q, &b->lport, sizeof(q));
	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (p ^ q));
}

#endif
