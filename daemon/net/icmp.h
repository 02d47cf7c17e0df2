/* ICMP (RFC 792) as a TCP host needs it: echo, and errors about our segments.
 *
 * net_icmp_parse() verifies the checksum and, for an error, the packet it quotes; nothing an
 * error says is believed beyond that. TCP still checks that the quoted sequence number is in
 * flight (RFC 5927 section 4.1). Ignored and counted: redirects (one gateway), source
 * quench (RFC 6633), timestamp, address mask, and all replies (we ask nothing). One error
 * is ever sent, about fragments whose rest does not come: a port that nobody listens on is answered
 * by TCP's RST.
 */
#ifndef NET_ICMP_H
#define NET_ICMP_H

#include <net/frag.h>
#include <net/ip4.h>

#include <stddef.h>
#include <stdint.h>

enum net_icmp_kind {
	NET_ICMP_ECHO,	    /* answer it */
	NET_ICMP_ERROR,	    /* error_errno, for tcp_icmp_error() */
	NET_ICMP_TOO_BIG,   /* mtu_bytes, for tcp_icmp_too_big() */
	NET_ICMP_ND,	    /* of ICMPv6: nd.h goes on */
	NET_ICMP_MLD_QUERY, /* of ICMPv6: report our groups */
};

struct net_icmp {
	enum net_icmp_kind kind;
	uint8_t type; /* as on the wire */
	uint8_t code;

	/* ERROR and TOO_BIG: our segment that caused it */
	struct net_tuple key;
	uint32_t seq;
	int error_errno;    /* positive; what Linux reports for type and code */
	uint32_t mtu_bytes; /* TOO_BIG: at least NET_IP4_MTU_MIN (NET_IP6_MTU_MIN), below the quoted
			       packet */
};

/* Fills *icmp from a packet of protocol ICMP. Returns NET_DROP_NONE or the reason. */
enum net_drop net_icmp_parse(
	struct net_icmp *icmp, const struct net_ip4 *ip, const struct net_iface *iface);

/* Builds in `frame`, of `cap_bytes`, the whole frame that answers an echo request: to the MAC it
 * came from, so that a ping never costs a neighbour entry. The request's data is returned
 * unchanged (RFC 1122 section 3.2.2.6). cap_bytes is NET_ETH_HLEN + MTU, or less.
 * Returns the frame's length in bytes, or 0 if it does not fit (NET_DROP_icmp_echo_too_long). */
size_t net_icmp_build_echo_reply(uint8_t *frame, size_t cap_bytes, const struct net_packet *p,
	const struct net_ip4 *ip, uint16_t ip_id);

enum {
	/* Ethernet, IP, ICMP, and what is quoted: header and eight bytes. */
	NET_ICMP_REASSEMBLY_FRAME_LEN = NET_ETH_HLEN + 2 * NET_IP4_HLEN + 16,
};

/* "Reassembly time exceeded" (RFC 792; RFC 1122 section 3.2.2.4), to the MAC that the fragment came
 * from. False: nothing is said of ICMP's own messages but a request (section 3.2.2). */
bool net_icmp_build_reassembly_timeout(uint8_t frame[NET_ICMP_REASSEMBLY_FRAME_LEN],
	const struct net_frag_first *first, uint16_t ip_id);

#endif
