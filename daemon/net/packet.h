/* A received frame, and the Ethernet layer.
 *
 * The frame is one contiguous byte range that belongs to the caller and outlives every view
 * on it. net_packet_parse() decides whether the frame is for us at all, and leaves a view
 * of what the link layer carried; ip4.h, ip6.h and arp.h go on from there. Nothing here copies
 * payload. Padding behind a short packet is still part of l3 here: only the length field of
 * the network layer tells it.
 *
 * Accepted are untagged frames to our MAC or to broadcast, and IPv6 frames to a multicast MAC of
 * RFC 2464 section 7 (whether we are a member is decided by ip6.h), from a unicast source. A VLAN
 * tag is recognised and the frame dropped: no VLAN can be configured yet, and passing it as
 * untagged would let a host leap between VLANs.
 */
#ifndef NET_PACKET_H
#define NET_PACKET_H

#include <net/addr.h>
#include <net/counters.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	NET_ETH_HLEN = 14,
	NET_ETH_MIN_LEN = 60, /* without FCS */

	NET_ETHERTYPE_IP4 = 0x0800,
	NET_ETHERTYPE_ARP = 0x0806,
	NET_ETHERTYPE_VLAN = 0x8100, /* IEEE 802.1Q */
	NET_ETHERTYPE_IP6 = 0x86dd,
	NET_ETHERTYPE_QINQ = 0x88a8, /* IEEE 802.1ad */
};

/* What the port vouches for. A port that found a checksum bad drops the frame itself. */
enum net_rx_flag {
	NET_RX_IP4_CSUM_OK = 1 << 0,
	NET_RX_L4_CSUM_OK = 1 << 1,
};

struct net_packet {
	const uint8_t *frame;
	const uint8_t *l3; /* behind the Ethernet header, inside the frame */
	uint32_t frame_len_bytes;
	uint32_t l3_len_bytes; /* padding included */
	struct net_mac dst;
	struct net_mac src;
	uint16_t ethertype; /* host order: ARP, IPv4 or IPv6 */
	uint8_t rx_flags;   /* enum net_rx_flag */
	bool broadcast;	    /* sent to ff:ff:ff:ff:ff:ff */
	bool multicast;	    /* sent to 33:33:..., and of IPv6 */
};

extern const struct net_mac net_mac_broadcast;

/* Fills *p from `len_bytes` at `frame`. `our_mac` is the port's address.
 * Returns NET_DROP_NONE, or why the frame is to be dropped (*p is then undefined). */
enum net_drop net_packet_parse(struct net_packet *p, const uint8_t *frame, size_t len_bytes,
	const struct net_mac *our_mac, uint8_t rx_flags);

/* Writes the NET_ETH_HLEN bytes of an Ethernet header; `ethertype` in host order. */
void net_eth_build(
	uint8_t *frame, const struct net_mac *dst, const struct net_mac *src, uint16_t ethertype);

#endif
