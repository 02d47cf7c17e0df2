/* IPv4 (RFC 791) as a host speaks it (RFC 1122 section 3.2).
 *
 * net_ip4_parse() is the one place where the header's fields become trusted: afterwards `l4`
 * and its length lie inside the frame and link padding is cut off. A fragment is a drop of its
 * own, NET_DROP_ip4_fragment, and frag.h may put it together with others. Options
 * are walked with bounds and ignored, except that a source route is refused. The TTL is not
 * a reason to drop: RFC 1122 section 3.2.1.7 forbids it, even for 0.
 */
#ifndef NET_IP4_H
#define NET_IP4_H

#include <net/packet.h>
#include <net/route.h>

#include <stdbool.h>
#include <stdint.h>

enum {
	NET_IP4_HLEN = 20, /* without options: all we send */
	NET_IP4_HLEN_MAX = 60,
	NET_IP4_TTL = 64,

	NET_PROTO_ICMP = 1,
	NET_PROTO_TCP = 6,
};

struct net_ip4 {
	uint32_t src_be;
	uint32_t dst_be;
	const uint8_t *l4; /* inside the frame */
	uint32_t l4_len_bytes;
	uint8_t proto;
	uint8_t ttl;
	uint8_t tos; /* DSCP and, in the low two bits, ECN (RFC 3168 section 5) */
	bool l4_csum_ok;
	/* of a fragment */
	bool frag_more;
	uint16_t frag_offset; /* of l4 in what was fragmented, in bytes */
	uint16_t id;
};

/* Fills *ip from a packet of EtherType IPv4. Accepted are whole packets for one of iface's
 * addresses, of protocol TCP or ICMP. Returns NET_DROP_NONE or the reason; with
 * NET_DROP_ip4_fragment, *ip is a fragment that is in order but for that. The header
 * checksum is computed unless the packet's NET_RX_IP4_CSUM_OK is set. */
enum net_drop net_ip4_parse(
	struct net_ip4 *ip, const struct net_packet *p, const struct net_iface *iface);

/* Verifies the TCP checksum, unless the port has: NET_DROP_NONE or NET_DROP_tcp_bad_checksum. */
enum net_drop net_ip4_tcp_check(const struct net_ip4 *ip);

/* What differs from one header of ours to the next. */
struct net_ip4_out {
	uint32_t src_be;
	uint32_t dst_be;
	uint16_t payload_len_bytes; /* at most 65535 - NET_IP4_HLEN */
	uint16_t id;		    /* host order; need not be unique: DF is set (RFC 6864) */
	uint8_t proto;
	uint8_t tos;
};

/* Writes a header of NET_IP4_HLEN bytes, DF set, TTL NET_IP4_TTL, checksum filled in. */
void net_ip4_build(uint8_t *hdr20, const struct net_ip4_out *out);
/* The same with a checksum of 0, for whoever fills it in later. */
void net_ip4_build_unsummed(uint8_t *hdr20, const struct net_ip4_out *out);

/* Makes a header that net_ip4_build() has written that of a fragment: `len_bytes` of payload from
 * `offset_bytes` on, a multiple of 8. */
void net_ip4_make_fragment(uint8_t *hdr20, uint16_t offset_bytes, uint16_t len_bytes, bool more);

#endif
