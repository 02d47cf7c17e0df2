/* Addresses and flow keys.
 *
 * An address is always 16 bytes in network order; an IPv4 address is held IPv4-mapped
 * (RFC 4291 section 2.5.5.2, ::ffff:a.b.c.d). Ports are in host order.
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

static inline bool net_tuple_equal(const struct net_tuple *a, const struct net_tuple *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

#endif
