#include <net/icmp6.h>

#include <net/checksum.h>
#include <net/wire.h>

#include <errno.h>

enum {
	ICMP6_HLEN = 8,
	ICMP6_QUOTE_L4_LEN = 8, /* ports and sequence number */

	ICMP6_UNREACHABLE = 1,
	ICMP6_TOO_BIG = 2,
	ICMP6_TIME_EXCEEDED = 3,
	ICMP6_PARAMETER_PROBLEM = 4,

	ICMP6_CODE_REASSEMBLY = 1, /* of time exceeded */
};

/* Destination unreachable by code, as Linux maps it (net/ipv6/icmp.c, tab_unreach). */
static const int unreachable_errno[] = {
	ENETUNREACH,  /* 0 no route */
	EACCES,	      /* 1 prohibited */
	EHOSTUNREACH, /* 2 beyond the scope of the source */
	EHOSTUNREACH, /* 3 address */
	ECONNREFUSED, /* 4 port */
	EACCES,	      /* 5 source address failed policy */
	EACCES,	      /* 6 reject route */
};

/* What a type and code mean; false: nothing. */
static bool classify(struct net_icmp *icmp)
{
	unsigned int codes = sizeof(unreachable_errno) / sizeof(unreachable_errno[0]);

	icmp->kind = NET_ICMP_ERROR;
	switch (icmp->type) {
	case NET_ICMP6_ECHO:
		icmp->kind = NET_ICMP_ECHO;
		return icmp->code == 0;
	case NET_ICMP6_MLD_QUERY:
		icmp->kind = NET_ICMP_MLD_QUERY;
		return true;
	case ICMP6_UNREACHABLE:
		if (icmp->code >= codes)
			return false;
		icmp->error_errno = unreachable_errno[icmp->code];
		return true;
	case ICMP6_TOO_BIG:
		icmp->kind = NET_ICMP_TOO_BIG;
		icmp->error_errno = EMSGSIZE;
		return true;
	case ICMP6_TIME_EXCEEDED:
		icmp->error_errno = EHOSTUNREACH;
		return true;
	case ICMP6_PARAMETER_PROBLEM:
		icmp->error_errno = EPROTO;
		return true;
	default:
		icmp->kind = NET_ICMP_ND;
		return icmp->type >= NET_ICMP6_ND_FIRST && icmp->type <= NET_ICMP6_ND_LAST;
	}
}

/* The packet that an error quotes: ours, TCP right behind the header, as we send it. */
static enum net_drop parse_quote(
	struct net_icmp *icmp, const uint8_t *q, size_t len, const struct net_iface *iface)
{
	const uint8_t *l4 = q + NET_IP6_HLEN;

	if (len < NET_IP6_HLEN + ICMP6_QUOTE_L4_LEN)
		return NET_DROP_icmp6_quote_short;
	if (q[0] >> 4 != 6 || net_get16(q + 4) < ICMP6_QUOTE_L4_LEN)
		return NET_DROP_icmp6_quote_bad;
	memcpy(icmp->key.local.b, q + 8, sizeof(icmp->key.local.b));
	memcpy(icmp->key.remote.b, q + 24, sizeof(icmp->key.remote.b));
	if (!net_iface_is_local6(iface, &icmp->key.local) || !net_ip6_is_unicast(&icmp->key.remote))
		return NET_DROP_icmp6_quote_not_ours;
	if (q[6] != NET_PROTO_TCP)
		return NET_DROP_icmp6_quote_not_tcp;
	icmp->key.lport = net_get16(l4);
	icmp->key.rport = net_get16(l4 + 2);
	icmp->seq = net_get32(l4 + 4);
	return NET_DROP_NONE;
}

/* RFC 8201 section 4: an MTU below 1280 is a forger's or a translator's, and ignored. */
static enum net_drop parse_mtu(struct net_icmp *icmp, const uint8_t *msg)
{
	uint32_t total = NET_IP6_HLEN + (uint32_t)net_get16(msg + ICMP6_HLEN + 4);
	uint32_t mtu = net_get32(msg + 4);

	if (mtu < NET_IP6_MTU_MIN || mtu >= total)
		return NET_DROP_icmp6_bad_mtu;
	icmp->mtu_bytes = mtu;
	return NET_DROP_NONE;
}

enum net_drop net_icmp6_parse(
	struct net_icmp *icmp, const struct net_ip6 *ip, const struct net_iface *iface)
{
	const uint8_t *msg = ip->l4;
	enum net_drop why;
	uint32_t sum;

	if (ip->l4_len_bytes < ICMP6_HLEN)
		return NET_DROP_icmp6_short;
	sum = net_checksum_pseudo6(ip->src.b, ip->dst.b, ip->proto, ip->l4_len_bytes);
	if (net_checksum_fold(net_checksum_add(sum, msg, ip->l4_len_bytes)) != 0)
		return NET_DROP_icmp6_bad_checksum;
	*icmp = (struct net_icmp){.type = msg[0], .code = msg[1]};
	if (!classify(icmp))
		return NET_DROP_icmp6_ignored;
	if (icmp->kind == NET_ICMP_ND)
		return NET_DROP_NONE;
	if (net_addr_is_any(&ip->src)) /* nobody to answer or to believe */
		return NET_DROP_ip6_bad_source;
	if (icmp->kind == NET_ICMP_ECHO || icmp->kind == NET_ICMP_MLD_QUERY)
		return NET_DROP_NONE;
	why = parse_quote(icmp, msg + ICMP6_HLEN, ip->l4_len_bytes - ICMP6_HLEN, iface);
	if (why != NET_DROP_NONE || icmp->kind != NET_ICMP_TOO_BIG)
		return why;
	return parse_mtu(icmp, msg);
}

void net_icmp6_finish(
	uint8_t *msg, size_t len_bytes, const struct net_addr *src, const struct net_addr *dst)
{
	uint32_t sum = net_checksum_pseudo6(src->b, dst->b, NET_PROTO_ICMP6, (uint32_t)len_bytes);
	uint16_t check = net_checksum_fold(net_checksum_add(sum, msg, len_bytes));

	memcpy(msg + 2, &check, sizeof(check));
}

size_t net_icmp6_build_echo_reply(uint8_t *frame, size_t cap_bytes, const struct net_packet *p,
	const struct net_ip6 *ip, const struct net_iface *iface)
{
	const struct net_addr *src = ip->multicast ? net_iface_source6(iface, &ip->src) : &ip->dst;
	size_t len = NET_ETH_HLEN + NET_IP6_HLEN + (size_t)ip->l4_len_bytes;
	uint8_t *msg = frame + NET_ETH_HLEN + NET_IP6_HLEN;

	assert(ip->l4_len_bytes >= ICMP6_HLEN); /* net_icmp6_parse() */
	if (!src || len > cap_bytes || ip->l4_len_bytes > UINT16_MAX)
		return 0;
	net_eth_build(frame, &p->src, &iface->mac, NET_ETHERTYPE_IP6);
	net_ip6_build(frame + NET_ETH_HLEN,
		&(struct net_ip6_out){
			.src = src,
			.dst = &ip->src,
			.payload_len_bytes = (uint16_t)ip->l4_len_bytes,
			.proto = NET_PROTO_ICMP6,
			.hop_limit = iface->hop_limit6 ? iface->hop_limit6 : NET_IP6_HOP_LIMIT,
			.tclass = ip->tclass & 0xfc, /* ECN is not echoed */
		});
	memcpy(msg, ip->l4, ip->l4_len_bytes);
	net_put32(msg, (uint32_t)NET_ICMP6_ECHO_REPLY << 24);
	net_icmp6_finish(msg, ip->l4_len_bytes, src, &ip->src);
	return len;
}

/* The packet that the fragment was, up to `max` bytes; returns how many. */
static size_t quote_fragment(uint8_t *out, size_t max, const struct net_frag_first *first)
{
	const uint8_t *ip = first->frame + NET_ETH_HLEN;
	size_t head = NET_IP6_HLEN + NET_IP6_FRAGMENT_HLEN;
	size_t len = first->data_bytes < max - head ? first->data_bytes : max - head;

	memcpy(out, ip, NET_IP6_HLEN);
	net_ip6_make_fragment(out, first->id, 0, (uint16_t)first->data_bytes, true);
	memcpy(out + head, ip + NET_IP6_HLEN, len);
	return head + len;
}

size_t net_icmp6_build_reassembly_timeout(uint8_t frame[NET_ETH_HLEN + NET_IP6_MTU_MIN],
	const struct net_frag_first *first, const struct net_iface *iface)
{
	const uint8_t *ip = first->frame + NET_ETH_HLEN;
	uint8_t *msg = frame + NET_ETH_HLEN + NET_IP6_HLEN;
	struct net_addr src, dst;
	struct net_mac them;
	size_t len;

	memcpy(dst.b, ip + 8, sizeof(dst.b));
	memcpy(src.b, ip + 24, sizeof(src.b));
	memcpy(them.b, first->frame + sizeof(them.b), sizeof(them.b));
	if (!net_iface_is_local6(iface, &src) ||
		(ip[6] == NET_PROTO_ICMP6 && ip[NET_IP6_HLEN] != NET_ICMP6_ECHO))
		return 0;
	memset(msg, 0, ICMP6_HLEN);
	msg[0] = ICMP6_TIME_EXCEEDED;
	msg[1] = ICMP6_CODE_REASSEMBLY;
	len = ICMP6_HLEN +
	      quote_fragment(msg + ICMP6_HLEN, NET_IP6_MTU_MIN - NET_IP6_HLEN - ICMP6_HLEN, first);
	net_eth_build(frame, &them, &iface->mac, NET_ETHERTYPE_IP6);
	net_ip6_build(frame + NET_ETH_HLEN,
		&(struct net_ip6_out){
			.src = &src,
			.dst = &dst,
			.payload_len_bytes = (uint16_t)len,
			.proto = NET_PROTO_ICMP6,
			.hop_limit = iface->hop_limit6 ? iface->hop_limit6 : NET_IP6_HOP_LIMIT,
		});
	net_icmp6_finish(msg, len, &src, &dst);
	return NET_ETH_HLEN + NET_IP6_HLEN + len;
}
