/* ARP for IPv4 over Ethernet (RFC 826).
 *
 *	net_arp_parse()   the packet's fields, validated
 *	net_arp_input()   what follows from it: the neighbour table learns, a reply may be due
 *	net_arp_build_*() whole frames of NET_ARP_FRAME_LEN bytes, padded with zeroes
 *
 * A host that claims an address of ours is counted, never learned; the active defence of RFC
 * 5227 section 2.4 is left out (a daemon that is configured with an address keeps it). A
 * probe (sender IP 0, RFC 5227 section 2.1) is answered but teaches nothing.
 */
#ifndef NET_ARP_H
#define NET_ARP_H

#include <net/neigh.h>
#include <net/packet.h>
#include <net/route.h>

#include <stdbool.h>
#include <stdint.h>

enum {
	NET_ARP_LEN = 28,
	NET_ARP_FRAME_LEN = NET_ETH_MIN_LEN,
	NET_ARP_REQUEST = 1,
	NET_ARP_REPLY = 2,
};

struct net_arp {
	uint16_t op;
	uint32_t sender_ip_be;
	uint32_t target_ip_be;
	struct net_mac sender_mac;
	bool broadcast; /* the frame was */
};

/* Fills *arp from a packet of EtherType ARP. Returns NET_DROP_NONE or the reason. */
enum net_drop net_arp_parse(
	struct net_arp *arp, const struct net_packet *p, const struct net_iface *iface);

/* Acts on a parsed packet. Sets *reply_due if it is to be answered by net_arp_build_reply();
 * that holds whatever is returned: NET_DROP_NONE or why nothing was learned. */
enum net_drop net_arp_input(struct net_neigh_table *t, const struct net_iface *iface,
	const struct net_arp *arp, uint64_t now_us, bool *reply_due);

/* Answers `request`. */
void net_arp_build_reply(
	uint8_t *frame, const struct net_iface *iface, const struct net_arp *request);

/* Asks for target_ip_be. The sender address is ours on the prefix of the target. `dst` is the
 * broadcast address, or the neighbour's for a unicast probe (RFC 1122 section 2.3.2.1).
 * Returns false, and writes nothing, if the target is on no prefix of ours. */
bool net_arp_build_request(uint8_t *frame, const struct net_iface *iface, uint32_t target_ip_be,
	const struct net_mac *dst);

/* Announces an address of ours (RFC 5227 section 3): a broadcast request for ourselves. */
void net_arp_build_gratuitous(uint8_t *frame, const struct net_iface *iface, uint32_t our_ip_be);

#endif
