/* IPv6 (RFC 8200) as a host speaks it.
 *
 * net_ip6_parse() is the one place where the header's fields become trusted: afterwards `l4`
 * and its length lie inside the frame and link padding is cut off. Extension headers are
 * walked with bounds, at most NET_IP6_EXT_MAX of them, and skipped; a routing header is ignored
 * when no segments are left and refused otherwise, whatever its type (RFC 8200 section 4.4,
 * RFC 5095). A fragment is a drop of its own, as in ip4.h, but for "atomic" ones, which are whole
 * packets (RFC 6946). The hop limit is not a reason to drop, except to ND.
 *
 * An IPv4-mapped address never comes from or goes to a wire (RFC 4038 section 4.2): it
 * would name an IPv4 flow.
 */
#ifndef NET_IP6_H
#define NET_IP6_H

#include <net/ip4.h>
#include <net/packet.h>
#include <net/route.h>

#include <stdbool.h>
#include <stdint.h>

enum {
	NET_IP6_HLEN = 40, /* without extension headers: all we send */
	NET_IP6_HOP_LIMIT = 64,
	NET_IP6_EXT_MAX = 8,
	NET_IP6_LABEL_MASK = 0xfffff,
	NET_IP6_FRAGMENT_HLEN = 8,

	NET_PROTO_HOP_BY_HOP = 0,
	NET_PROTO_ROUTING = 43,
	NET_PROTO_FRAGMENT = 44,
	NET_PROTO_ICMP6 = 58,
	NET_PROTO_DEST_OPTIONS = 60,
};

struct net_ip6 {
	struct net_addr src;
	struct net_addr dst;
	const uint8_t *l4; /* inside the frame */
	uint32_t l4_len_bytes;
	uint32_t flow_label; /* 20 bits */
	uint8_t proto;	     /* TCP or ICMPv6 */
	uint8_t hop_limit;
	uint8_t tclass;	 /* DSCP and, in the low two bits, ECN */
	bool multicast;	 /* dst is a group that we are a member of */
	bool fragmented; /* had a fragment header, though it is whole */
	bool l4_csum_ok;
	/* of a fragment */
	bool frag_more;
	uint16_t frag_offset; /* of l4 in what was fragmented, in bytes */
	uint32_t frag_id;
};

/* Fills *ip from a packet of EtherType IPv6. Accepted are whole packets for one of iface's
 * addresses, of protocol TCP or ICMPv6, and of ICMPv6 also those for a group of ours. Returns
 * NET_DROP_NONE or the reason; with NET_DROP_ip6_fragment, *ip is a fragment that is in order but
 * for that, and `proto` what its first fragment says is behind. */
enum net_drop net_ip6_parse(
	struct net_ip6 *ip, const struct net_packet *p, const struct net_iface *iface);

/* Verifies the TCP checksum, unless the port has: NET_DROP_NONE or NET_DROP_tcp_bad_checksum. */
enum net_drop net_ip6_tcp_check(const struct net_ip6 *ip);

/* What differs from one header of ours to the next. */
struct net_ip6_out {
	const struct net_addr *src;
	const struct net_addr *dst;
	uint16_t payload_len_bytes;
	uint32_t flow_label; /* 20 bits */
	uint8_t proto;
	uint8_t hop_limit;
	uint8_t tclass;
};

/* Writes a header of NET_IP6_HLEN bytes. */
void net_ip6_build(uint8_t *hdr40, const struct net_ip6_out *out);

/* Makes a header that net_ip6_build() has written that of a fragment, NET_IP6_FRAGMENT_HLEN bytes
 * longer; the rest as net_ip4_make_fragment(). */
void net_ip6_make_fragment(
	uint8_t *hdr48, uint32_t id, uint16_t offset_bytes, uint16_t len_bytes, bool more);

#endif
