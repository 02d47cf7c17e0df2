/* Frames for the tests of daemon/net, written byte by byte rather than with the code under
 * test, and a checksum that is as slow and plain as RFC 1071 states it.
 *
 * The host under test is 10.0.0.1/24 with MAC 02:00:00:00:00:01; its peer is 10.0.0.2.
 */
#ifndef TEST_NET_FRAMES_H
#define TEST_NET_FRAMES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <net/bytes.h>
#include <net/packet.h>
#include <net/route.h>

static const struct net_mac our_mac = {{2, 0, 0, 0, 0, 1}};
static const struct net_mac peer_mac = {{2, 0, 0, 0, 0, 2}};
/* What the Ethernet layer looks at. */
static const struct net_iface our_link = {.mac = {{2, 0, 0, 0, 0, 1}}};

static inline uint32_t ip4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	const uint8_t bytes[4] = {a, b, c, d};
	uint32_t ip_be;

	memcpy(&ip_be, bytes, 4);
	return ip_be;
}

static inline struct net_iface test_iface(void)
{
	struct net_iface iface = {.mac = our_mac, .mtu_bytes = 1500};

	assert_int_equal(net_iface_add(&iface, ip4(10, 0, 0, 1), 24), 0);
	assert_int_equal(net_iface_set_gateway(&iface, ip4(10, 0, 0, 254)), 0);
	return iface;
}

/* The one's complement sum of big-endian words, complemented; in host order. */
static inline uint16_t naive_checksum(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)~sum;
}

/* An Ethernet header; returns its length. */
static inline size_t put_eth(uint8_t *f, const struct net_mac *dst, unsigned int ethertype)
{
	memcpy(f, dst->b, 6);
	memcpy(f + 6, peer_mac.b, 6);
	net_put16(f + 12, ethertype);
	return 14;
}

/* Sets the header checksum after a test changed a field. */
static inline void fix_ip4(uint8_t *ip)
{
	net_put16(ip + 10, 0);
	net_put16(ip + 10, naive_checksum(0, ip, (size_t)(ip[0] & 15) * 4));
}

/* Ethernet and IPv4 headers for `len` bytes of `proto` that the caller writes behind them;
 * returns where. From the peer to us. */
static inline size_t put_ip4(uint8_t *f, uint8_t proto, size_t len)
{
	uint8_t *ip = f + put_eth(f, &our_mac, 0x0800);
	const uint8_t addrs[8] = {10, 0, 0, 2, 10, 0, 0, 1};

	memset(ip, 0, 20);
	ip[0] = 0x45;
	net_put16(ip + 2, (unsigned int)(20 + len));
	ip[8] = 64;
	ip[9] = proto;
	memcpy(ip + 12, addrs, 8);
	fix_ip4(ip);
	return 34;
}

/* -- IPv6: we are fe80::1 and 2001:db8::1/64, the peer is 2001:db8::2 or fe80::2 -------------- */

static const struct net_addr our_ip6 = {{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
static const struct net_addr peer_ip6 = {{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};
static const struct net_addr our_ll6 = {{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
static const struct net_addr peer_ll6 = {{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};
static const struct net_addr no_ip6;

static inline struct net_iface test_iface6(void)
{
	struct net_iface iface = test_iface();

	assert_int_equal(net_iface_add6(&iface, &our_ip6, 64, NET_ADDR6_PREFERRED), 0);
	assert_int_equal(net_iface_add6(&iface, &our_ll6, 64, NET_ADDR6_PREFERRED), 0);
	return iface;
}

/* Ethernet and IPv6 headers for `len` bytes; returns where these go. */
static inline size_t put_ip6(uint8_t *f, const struct net_addr *src, const struct net_addr *dst,
	uint8_t next, size_t len)
{
	struct net_mac mac = our_mac;
	uint8_t *ip;

	if (dst->b[0] == 0xff) {
		mac.b[0] = mac.b[1] = 0x33;
		memcpy(mac.b + 2, dst->b + 12, 4);
	}
	ip = f + put_eth(f, &mac, 0x86dd);
	memset(ip, 0, 8);
	ip[0] = 0x60;
	net_put16(ip + 4, (unsigned int)len);
	ip[6] = next;
	ip[7] = 64;
	memcpy(ip + 8, src->b, 16);
	memcpy(ip + 24, dst->b, 16);
	return 54;
}

/* The plain sum over pseudo header and message; 0 in the end if the checksum is right. */
static inline uint16_t naive_checksum6(
	const uint8_t *ip, uint8_t proto, const uint8_t *msg, size_t len)
{
	uint32_t sum = (uint32_t)len + proto;

	for (size_t i = 8; i < 40; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	return naive_checksum((sum & 0xffff) + (sum >> 16), msg, len);
}

/* Sets the checksum of an ICMPv6 message right behind the IPv6 header. */
static inline void fix_icmp6(uint8_t *f, size_t len)
{
	net_put16(f + 56, 0);
	net_put16(f + 56, naive_checksum6(f + 14, 58, f + 54, len));
}

/* An ARP packet to the given Ethernet destination; returns the frame's length. */
static inline size_t put_arp(uint8_t *f, const struct net_mac *dst, unsigned int op,
	const struct net_mac *mac, uint32_t sender_be, uint32_t target_be)
{
	static const uint8_t head[6] = {0, 1, 8, 0, 6, 4};
	uint8_t *a = f + put_eth(f, dst, 0x0806);

	memcpy(a, head, sizeof(head));
	net_put16(a + 6, op);
	memcpy(a + 8, mac->b, 6);
	memcpy(a + 14, &sender_be, 4);
	memset(a + 18, 0, 6);
	memcpy(a + 24, &target_be, 4);
	return 42;
}

/* A copy of exactly len bytes, so that a sanitizer sees a read behind them. */
static inline uint8_t *exact(const uint8_t *f, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, f, len);
	return copy;
}

/* A small generator, so that a failure repeats. */
static inline uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

#endif
