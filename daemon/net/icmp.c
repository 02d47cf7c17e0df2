#include <net/icmp.h>

#include <net/checksum.h>
#include <net/wire.h>

#include <errno.h>

enum {
	ICMP_HLEN = 8,
	ICMP_QUOTE_L4_LEN = 8, /* what RFC 792 promises: ports and sequence number */

	ICMP_ECHO_REPLY = 0,
	ICMP_UNREACHABLE = 3,
	ICMP_ECHO = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETER_PROBLEM = 12,

	ICMP_CODE_FRAG_NEEDED = 4,
	ICMP_CODE_REASSEMBLY = 1, /* of time exceeded */
};

/* Destination unreachable by code, as Linux maps it (net/ipv4/icmp.c, icmp_err_convert). */
static const int unreachable_errno[] = {
	ENETUNREACH,  /* 0 net */
	EHOSTUNREACH, /* 1 host */
	ENOPROTOOPT,  /* 2 protocol */
	ECONNREFUSED, /* 3 port */
	EMSGSIZE,     /* 4 fragmentation needed: reported as TOO_BIG */
	EOPNOTSUPP,   /* 5 source route failed */
	ENETUNREACH,  /* 6 net unknown */
	EHOSTDOWN,    /* 7 host unknown */
	ENONET,	      /* 8 source host isolated */
	ENETUNREACH,  /* 9 net prohibited */
	EHOSTUNREACH, /* 10 host prohibited */
	ENETUNREACH,  /* 11 net, for this TOS */
	EHOSTUNREACH, /* 12 host, for this TOS */
	EHOSTUNREACH, /* 13 filtered */
	EHOSTUNREACH, /* 14 precedence violation */
	EHOSTUNREACH, /* 15 precedence cut-off */
};

/* What a type and code mean to TCP; false: nothing. */
static bool classify(struct net_icmp *icmp)
{
	unsigned int codes = sizeof(unreachable_errno) / sizeof(unreachable_errno[0]);

	icmp->kind = NET_ICMP_ERROR;
	switch (icmp->type) {
	case ICMP_ECHO:
		icmp->kind = NET_ICMP_ECHO;
		return icmp->code == 0;
	case ICMP_UNREACHABLE:
		if (icmp->code >= codes)
			return false;
		icmp->error_errno = unreachable_errno[icmp->code];
		if (icmp->code == ICMP_CODE_FRAG_NEEDED)
			icmp->kind = NET_ICMP_TOO_BIG;
		return true;
	case ICMP_TIME_EXCEEDED:
		icmp->error_errno = EHOSTUNREACH;
		return true;
	case ICMP_PARAMETER_PROBLEM:
		icmp->error_errno = EPROTO;
		return true;
	default:
		return false;
	}
}

/* The packet that an error quotes (RFC 792; RFC 1122 section 3.2.2): ours, TCP, its beginning.
 * Its checksums may have been changed under way and are not looked at. */
static enum net_drop parse_quote(
	struct net_icmp *icmp, const uint8_t *q, size_t len, const struct net_iface *iface)
{
	uint32_t src_be, dst_be;
	size_t hlen;

	if (len < NET_IP4_HLEN + ICMP_QUOTE_L4_LEN)
		return NET_DROP_icmp_quote_short;
	hlen = (size_t)(q[0] & 0xf) * 4;
	if (q[0] >> 4 != 4 || hlen < NET_IP4_HLEN || (net_get16(q + 6) & 0x1fff) != 0)
		return NET_DROP_icmp_quote_bad;
	if (len - ICMP_QUOTE_L4_LEN < hlen)
		return NET_DROP_icmp_quote_short;
	if (net_get16(q + 2) < hlen + ICMP_QUOTE_L4_LEN)
		return NET_DROP_icmp_quote_bad;
	src_be = net_get_ip4(q + 12);
	dst_be = net_get_ip4(q + 16);
	if (!net_iface_is_local(iface, src_be) || !net_ip4_is_unicast(dst_be))
		return NET_DROP_icmp_quote_not_ours;
	if (q[9] != NET_PROTO_TCP)
		return NET_DROP_icmp_quote_not_tcp;
	icmp->key =
		net_tuple_from_ip4(src_be, net_get16(q + hlen), dst_be, net_get16(q + hlen + 2));
	icmp->seq = net_get32(q + hlen + 4);
	return NET_DROP_NONE;
}

/* RFC 1191 section 7.1: routers from before it name no MTU; the next plateau below the packet
 * is a good guess. */
static uint32_t plateau_below(uint32_t len)
{
	static const uint16_t plateau[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296};

	for (size_t i = 0; i < sizeof(plateau) / sizeof(plateau[0]); i++)
		if (plateau[i] < len)
			return plateau[i];
	return NET_IP4_MTU_MIN;
}

/* RFC 1191 section 4: the next hop's MTU, in the low half of the second word. */
static enum net_drop parse_mtu(struct net_icmp *icmp, const uint8_t *msg)
{
	uint32_t total = net_get16(msg + ICMP_HLEN + 2);
	uint32_t mtu = net_get16(msg + 6);

	if (mtu == 0)
		mtu = plateau_below(total);
	if (mtu < NET_IP4_MTU_MIN || mtu >= total)
		return NET_DROP_icmp_bad_mtu;
	icmp->mtu_bytes = mtu;
	return NET_DROP_NONE;
}

enum net_drop net_icmp_parse(
	struct net_icmp *icmp, const struct net_ip4 *ip, const struct net_iface *iface)
{
	const uint8_t *msg = ip->l4;
	enum net_drop why;

	if (ip->l4_len_bytes < ICMP_HLEN)
		return NET_DROP_icmp_short;
	if (net_checksum_fold(net_checksum_add(0, msg, ip->l4_len_bytes)) != 0)
		return NET_DROP_icmp_bad_checksum;
	*icmp = (struct net_icmp){.type = msg[0], .code = msg[1]};
	if (!classify(icmp))
		return NET_DROP_icmp_ignored;
	if (icmp->kind == NET_ICMP_ECHO)
		return NET_DROP_NONE;
	why = parse_quote(icmp, msg + ICMP_HLEN, ip->l4_len_bytes - ICMP_HLEN, iface);
	if (why != NET_DROP_NONE || icmp->kind != NET_ICMP_TOO_BIG)
		return why;
	return parse_mtu(icmp, msg);
}

size_t net_icmp_build_echo_reply(uint8_t *frame, size_t cap_bytes, const struct net_packet *p,
	const struct net_ip4 *ip, uint16_t ip_id)
{
	size_t len = NET_ETH_HLEN + NET_IP4_HLEN + (size_t)ip->l4_len_bytes;
	uint8_t *msg = frame + NET_ETH_HLEN + NET_IP4_HLEN;
	uint16_t check;

	assert(ip->l4_len_bytes >= ICMP_HLEN); /* net_icmp_parse() */
	if (len > cap_bytes || ip->l4_len_bytes > UINT16_MAX - NET_IP4_HLEN)
		return 0;
	net_eth_build(frame, &p->src, &p->dst, NET_ETHERTYPE_IP4);
	net_ip4_build(frame + NET_ETH_HLEN, &(struct net_ip4_out){
						    .src_be = ip->dst_be,
						    .dst_be = ip->src_be,
						    .payload_len_bytes = (uint16_t)ip->l4_len_bytes,
						    .id = ip_id,
						    .proto = NET_PROTO_ICMP,
						    .tos = ip->tos & 0xfc, /* ECN is not echoed */
					    });
	net_put32(msg, (uint32_t)ICMP_ECHO_REPLY << 24);
	check = net_checksum_fold(net_checksum_copy(msg + 4, ip->l4 + 4, ip->l4_len_bytes - 4));
	memcpy(msg + 2, &check, sizeof(check));
	return len;
}

bool net_icmp_build_reassembly_timeout(uint8_t frame[NET_ICMP_REASSEMBLY_FRAME_LEN],
	const struct net_frag_first *first, uint16_t ip_id)
{
	enum { QUOTE = NET_IP4_HLEN + ICMP_QUOTE_L4_LEN };
	const uint8_t *ip = first->frame + NET_ETH_HLEN;
	uint8_t *msg = frame + NET_ETH_HLEN + NET_IP4_HLEN;
	struct net_mac us, them;
	uint16_t check;

	static_assert(
		NET_ETH_HLEN + NET_IP4_HLEN + ICMP_HLEN + QUOTE == NET_ICMP_REASSEMBLY_FRAME_LEN,
		"the whole");
	if (ip[9] == NET_PROTO_ICMP && ip[NET_IP4_HLEN] != ICMP_ECHO)
		return false;
	memcpy(us.b, first->frame, sizeof(us.b));
	memcpy(them.b, first->frame + sizeof(us.b), sizeof(them.b));
	net_eth_build(frame, &them, &us, NET_ETHERTYPE_IP4);
	net_ip4_build(frame + NET_ETH_HLEN, &(struct net_ip4_out){
						    .src_be = net_get_ip4(ip + 16),
						    .dst_be = net_get_ip4(ip + 12),
						    .payload_len_bytes = ICMP_HLEN + QUOTE,
						    .id = ip_id,
						    .proto = NET_PROTO_ICMP,
					    });
	memset(msg, 0, ICMP_HLEN);
	msg[0] = ICMP_TIME_EXCEEDED;
	msg[1] = ICMP_CODE_REASSEMBLY;
	memcpy(msg + ICMP_HLEN, ip, QUOTE);
	check = net_checksum_fold(net_checksum_add(0, msg, ICMP_HLEN + QUOTE));
	memcpy(msg + 2, &check, sizeof(check));
	return true;
}
