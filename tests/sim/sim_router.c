#include "sim_router.h"

#include <net/checksum.h>
#include <net/icmp.h>
#include <net/ip4.h>
#include <net/ip6.h>
#include <net/packet.h>
#include <net/wire.h>

#include <string.h>

enum {
	ETHERTYPE_AT = 12,
	IP4_CHECKSUM_AT = 10,
	ICMP_HLEN = 8,
	ICMP4_UNREACHABLE = 3,
	ICMP4_FRAG_NEEDED = 4,
	ICMP4_QUOTE = NET_IP4_HLEN + 8, /* RFC 792 */
	ICMP6_TOO_BIG = 2,
	ICMP6_QUOTE_MAX = NET_IP6_MTU_MIN - NET_IP6_HLEN - ICMP_HLEN,
	ICMP6_ND_FIRST = 133,
	ICMP6_ND_LAST = 137,
	ECN_CE = 3,
};
static_assert(NET_ETH_HLEN + NET_IP6_MTU_MIN <= SIM_ROUTER_ERROR_MAX, "the error fits");

static bool is_type(const uint8_t *frame, uint32_t len, uint16_t type, uint32_t hlen)
{
	return len >= NET_ETH_HLEN + hlen && net_get16(frame + ETHERTYPE_AT) == type;
}

static bool is_ip4(const uint8_t *frame, uint32_t len)
{
	return is_type(frame, len, NET_ETHERTYPE_IP4, NET_IP4_HLEN);
}

static bool is_ip6(const uint8_t *frame, uint32_t len)
{
	return is_type(frame, len, NET_ETHERTYPE_IP6, NET_IP6_HLEN);
}

bool sim_router_is_neighbour(const uint8_t *frame, uint32_t len)
{
	const uint8_t *ip = frame + NET_ETH_HLEN;

	if (is_type(frame, len, NET_ETHERTYPE_ARP, 0))
		return true;
	return is_ip6(frame, len) && ip[6] == NET_PROTO_ICMP6 &&
	       len > NET_ETH_HLEN + NET_IP6_HLEN && ip[NET_IP6_HLEN] >= ICMP6_ND_FIRST &&
	       ip[NET_IP6_HLEN] <= ICMP6_ND_LAST;
}

uint32_t sim_router_packet_len(const uint8_t *frame, uint32_t len)
{
	if (is_ip4(frame, len))
		return net_get16(frame + NET_ETH_HLEN + 2);
	if (is_ip6(frame, len))
		return NET_IP6_HLEN + net_get16(frame + NET_ETH_HLEN + 4);
	return 0;
}

/* -- marks ---------------------------------------------------------------------------------------
 */

static bool is_ect(uint32_t ecn)
{
	return ecn != 0 && ecn != ECN_CE;
}

/* RFC 1624: the word of version, length and TOS grows by what is set. */
static bool mark4(uint8_t *ip)
{
	uint32_t sum;

	if (!is_ect(ip[1] & 3))
		return false;
	sum = (uint32_t)(uint16_t)~net_get16(ip + IP4_CHECKSUM_AT) +
	      (uint32_t)(ECN_CE - (ip[1] & 3));
	sum = (sum & 0xffff) + (sum >> 16);
	ip[1] |= ECN_CE;
	net_put16(ip + IP4_CHECKSUM_AT, (uint16_t)~sum);
	return true;
}

static bool mark6(uint8_t *ip)
{
	if (!is_ect(ip[1] >> 4 & 3))
		return false;
	ip[1] |= ECN_CE << 4;
	return true;
}

bool sim_router_mark(uint8_t *frame, uint32_t len)
{
	if (is_ip4(frame, len))
		return mark4(frame + NET_ETH_HLEN);
	return is_ip6(frame, len) && mark6(frame + NET_ETH_HLEN);
}

/* -- errors -------------------------------------------------------------------------------------
 */

/* The router has the MAC address of the host behind it, to whom the frame was sent. */
static void turn_ethernet(uint8_t *out, const uint8_t *frame)
{
	memcpy(out, frame + 6, 6);
	memcpy(out + 6, frame, 6);
	memcpy(out + ETHERTYPE_AT, frame + ETHERTYPE_AT, 2);
}

static void checksum(uint8_t *icmp, uint32_t len, uint32_t pseudo)
{
	uint16_t check = net_checksum_fold(net_checksum_add(pseudo, icmp, len));

	memcpy(icmp + 2, &check, sizeof(check));
}

static uint32_t too_big4(uint8_t *out, const uint8_t *frame, uint32_t mtu)
{
	const uint8_t *ip = frame + NET_ETH_HLEN;
	uint8_t *icmp = out + NET_ETH_HLEN + NET_IP4_HLEN;
	struct net_ip4_out head = {
		.payload_len_bytes = ICMP_HLEN + ICMP4_QUOTE,
		.proto = NET_PROTO_ICMP,
	};

	memcpy(&head.src_be, ip + 16, 4);
	memcpy(&head.dst_be, ip + 12, 4);
	net_ip4_build(out + NET_ETH_HLEN, &head);
	memset(icmp, 0, ICMP_HLEN);
	icmp[0] = ICMP4_UNREACHABLE;
	icmp[1] = ICMP4_FRAG_NEEDED;
	net_put16(icmp + 6, (uint16_t)mtu);
	memcpy(icmp + ICMP_HLEN, ip, ICMP4_QUOTE);
	checksum(icmp, ICMP_HLEN + ICMP4_QUOTE, 0);
	return NET_ETH_HLEN + NET_IP4_HLEN + ICMP_HLEN + ICMP4_QUOTE;
}

static uint32_t too_big6(uint8_t *out, const uint8_t *frame, uint32_t len, uint32_t mtu)
{
	const uint8_t *ip = frame + NET_ETH_HLEN;
	uint8_t *icmp = out + NET_ETH_HLEN + NET_IP6_HLEN;
	uint32_t quote = len - NET_ETH_HLEN < ICMP6_QUOTE_MAX ? len - NET_ETH_HLEN
							      : (uint32_t)ICMP6_QUOTE_MAX;
	struct net_addr src, dst;
	struct net_ip6_out head = {
		.src = &src,
		.dst = &dst,
		.payload_len_bytes = (uint16_t)(ICMP_HLEN + quote),
		.proto = NET_PROTO_ICMP6,
		.hop_limit = NET_IP6_HOP_LIMIT,
	};

	memcpy(src.b, ip + 24, 16);
	memcpy(dst.b, ip + 8, 16);
	net_ip6_build(out + NET_ETH_HLEN, &head);
	memset(icmp, 0, ICMP_HLEN);
	icmp[0] = ICMP6_TOO_BIG;
	net_put32(icmp + 4, mtu);
	memcpy(icmp + ICMP_HLEN, ip, quote);
	checksum(icmp, ICMP_HLEN + quote,
		net_checksum_pseudo6(src.b, dst.b, NET_PROTO_ICMP6, ICMP_HLEN + quote));
	return NET_ETH_HLEN + NET_IP6_HLEN + ICMP_HLEN + quote;
}

uint32_t sim_router_too_big(
	uint8_t out[SIM_ROUTER_ERROR_MAX], const uint8_t *frame, uint32_t len, uint32_t mtu)
{
	turn_ethernet(out, frame);
	return is_ip4(frame, len) ? too_big4(out, frame, mtu) : too_big6(out, frame, len, mtu);
}
