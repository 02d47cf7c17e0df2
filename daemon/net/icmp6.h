/* ICMPv6 (RFC 4443) as a TCP host needs it: icmp.h says what is believed of an error, and that none
 * is sent. Ignored and counted: all replies and informational messages but echo request,
 * neighbour discovery and the multicast listener query (RFC 3810), which are told apart here
 * and acted upon elsewhere.
 */
#ifndef NET_ICMP6_H
#define NET_ICMP6_H

#include <net/frag.h>
#include <net/icmp.h>
#include <net/ip6.h>

#include <stddef.h>

enum {
	NET_ICMP6_ECHO = 128,
	NET_ICMP6_ECHO_REPLY = 129,
	NET_ICMP6_MLD_QUERY = 130,
	NET_ICMP6_ND_FIRST = 133, /* router solicitation ... */
	NET_ICMP6_ND_LAST = 137,  /* ... redirect: nd.h */
	NET_ICMP6_MLD2_REPORT = 143,
};

/* Fills *icmp from a packet of protocol ICMPv6. Returns NET_DROP_NONE or the reason. */
enum net_drop net_icmp6_parse(
	struct net_icmp *icmp, const struct net_ip6 *ip, const struct net_iface *iface);

/* As net_icmp_build_echo_reply(); a request to a group is answered from our own address (RFC 4443
 * section 4.2). Also 0 when there is no such address. */
size_t net_icmp6_build_echo_reply(uint8_t *frame, size_t cap_bytes, const struct net_packet *p,
	const struct net_ip6 *ip, const struct net_iface *iface);

/* Fills the checksum of a message of ours, whose field is zero. */
void net_icmp6_finish(
	uint8_t *msg, size_t len_bytes, const struct net_addr *src, const struct net_addr *dst);

/* "Fragment reassembly time exceeded" (RFC 4443 section 3.3), to the MAC that the fragment came
 * from: as much of it as fits in the least MTU of all, with a fragment header as it had one. The
 * frame's length in bytes; 0: nothing is said of ICMPv6's own messages but a request, nor of what
 * went to a group (section 2.4 (e)). */
size_t net_icmp6_build_reassembly_timeout(uint8_t frame[NET_ETH_HLEN + NET_IP6_MTU_MIN],
	const struct net_frag_first *first, const struct net_iface *iface);

#endif
