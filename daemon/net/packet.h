/* A received frame, and the Ethernet layer.
 *
 * The frame is one contiguous byte range that belongs to the caller and outlives every view
 * on it. net_packet_parse() decides whether the frame is for us at all, and leaves a view
 * of what the link layer carried; ip4.h, ip6.h and arp.h go on from there. Nothing here copies
 * payload. Padding behind a short packet is still part of l3 here: only the length field of
 * the network layer tells it.
 *
 * Accepted are frames to our MAC or to broadcast, and IPv6 frames to a multicast MAC of RFC 2464
 * section 7 (whether we are a member is decided by ip6.h), from a unicast source, of the VLAN that
 * the interface is in: passing others would let a host leap between VLANs. A tag of VLAN 0 gives a
 * priority only and counts as none (IEEE 802.1Q section 6.8). The tag may be in the frame, or the
 * port may have taken it off; a second one is never ours. What is sent is built without a tag: nic
 * puts it in.
 */
#ifndef NET_PACKET_H
#define NET_PACKET_H

#include <net/addr.h>
#include <net/counters.h>
#include <net/route.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	NET_ETH_HLEN = 14,
	NET_ETH_MIN_LEN = 60, /* without FCS */
	NET_VLAN_HLEN = 4,
	NET_VLAN_ID_MASK = 0xfff, /* of the tag's control information */

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
	NET_RX_VLAN = 1 << 2, /* it took a tag off: net_rx_vlan() */
	/* and what we know ourselves */
	NET_RX_REASSEMBLED = 1 << 3, /* frag.h made it */
	NET_RX_LOOPED = 1 << 4,	     /* we sent it, to one of our own addresses */
};

/* The flag for a frame whose tag the port has taken off, and what the tag said. */
static inline uint32_t net_rx_vlan(uint16_t tci)
{
	return NET_RX_VLAN | (uint32_t)tci << 16;
}

struct net_packet {
	const uint8_t *frame;
	const uint8_t *l3; /* behind the Ethernet header and tag, inside the frame */
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

/* Fills *p from `len_bytes` at `frame`. Of the interface only its MAC and VLAN matter. `rx_flags`:
 * enum net_rx_flag and net_rx_vlan().
 * Returns NET_DROP_NONE, or why the frame is to be dropped (*p is then undefined). */
enum net_drop net_packet_parse(struct net_packet *p, const uint8_t *frame, size_t len_bytes,
	const struct net_iface *iface, uint32_t rx_flags);

/* Writes the NET_ETH_HLEN bytes of an Ethernet header; `ethertype` in host order. */
void net_eth_build(
	uint8_t *frame, const struct net_mac *dst, const struct net_mac *src, uint16_t ethertype);

#endif
