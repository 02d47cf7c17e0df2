#include <net/ip4.h>

#include <net/checksum.h>
#include <net/wire.h>

enum {
	IP4_DF = 0x4000,
	IP4_MF = 0x2000,
	IP4_OFFSET_MASK = 0x1fff,

	IP4_OPT_END = 0,
	IP4_OPT_NOP = 1,
	IP4_OPT_LSRR = 131,
	IP4_OPT_SSRR = 137,
};

/* RFC 1122 section 3.2.1.8: options not understood are ignored; a source route we refuse, as
 * Linux does unless told otherwise. */
static enum net_drop check_options(const uint8_t *opt, size_t len)
{
	size_t at = 0;

	while (at < len && opt[at] != IP4_OPT_END) {
		if (opt[at] == IP4_OPT_NOP) {
			at++;
			continue;
		}
		if (len - at < 2 || opt[at + 1] < 2 || opt[at + 1] > len - at)
			return NET_DROP_ip4_bad_option;
		if (opt[at] == IP4_OPT_LSRR || opt[at] == IP4_OPT_SSRR)
			return NET_DROP_ip4_source_route;
		at += opt[at + 1];
	}
	return NET_DROP_NONE;
}

/* RFC 791 section 3.1. Leaves the trusted lengths in *hlen and *total. */
static enum net_drop check_header(const struct net_packet *p, size_t *hlen, size_t *total)
{
	const uint8_t *h = p->l3;

	if (p->l3_len_bytes < NET_IP4_HLEN)
		return NET_DROP_ip4_short;
	if (h[0] >> 4 != 4)
		return NET_DROP_ip4_bad_version;
	*hlen = (size_t)(h[0] & 0xf) * 4;
	if (*hlen < NET_IP4_HLEN)
		return NET_DROP_ip4_bad_ihl;
	if (*hlen > p->l3_len_bytes)
		return NET_DROP_ip4_short;
	*total = net_get16(h + 2);
	if (*total < *hlen || *total > p->l3_len_bytes)
		return NET_DROP_ip4_bad_length;
	if (!(p->rx_flags & NET_RX_IP4_CSUM_OK) &&
		net_checksum_fold(*hlen == NET_IP4_HLEN ? net_checksum_add_ip4(0, h)
							: net_checksum_add(0, h, *hlen)) != 0)
		return NET_DROP_ip4_bad_checksum;
	return check_options(h + NET_IP4_HLEN, *hlen - NET_IP4_HLEN);
}

/* RFC 1122 sections 3.2.1.3 and 3.3.6. Ours first: the common case ends there. */
static enum net_drop check_destination(
	const struct net_ip4 *ip, const struct net_packet *p, const struct net_iface *iface)
{
	if (net_iface_is_local(iface, ip->dst_be))
		return p->broadcast ? NET_DROP_ip4_l2_broadcast : NET_DROP_NONE;
	if (net_iface_is_broadcast(iface, ip->dst_be) ||
		(*(const uint8_t *)&ip->dst_be >> 4) == 0xe)
		return NET_DROP_ip4_broadcast;
	return NET_DROP_ip4_not_ours;
}

/* RFC 1122 section 3.2.1.3: none of these is ever a source on the wire. */
static enum net_drop check_source(
	const struct net_ip4 *ip, const struct net_packet *p, const struct net_iface *iface)
{
	if (!net_ip4_is_unicast(ip->src_be) || net_iface_is_broadcast(iface, ip->src_be))
		return NET_DROP_ip4_bad_source;
	if (net_iface_is_local(iface, ip->src_be) && !(p->rx_flags & NET_RX_LOOPED))
		return NET_DROP_ip4_own_source;
	return NET_DROP_NONE;
}

static enum net_drop check_fragment(struct net_ip4 *ip, const uint8_t *h)
{
	uint16_t word = net_get16(h + 6);

	if (!(word & (IP4_MF | IP4_OFFSET_MASK)))
		return NET_DROP_NONE;
	ip->frag_more = (word & IP4_MF) != 0;
	ip->frag_offset = (uint16_t)((word & IP4_OFFSET_MASK) * 8);
	ip->id = net_get16(h + 4);
	return NET_DROP_ip4_fragment;
}

enum net_drop net_ip4_parse(
	struct net_ip4 *ip, const struct net_packet *p, const struct net_iface *iface)
{
	const uint8_t *h = p->l3;
	enum net_drop why;
	size_t hlen, total;

	why = check_header(p, &hlen, &total);
	if (why != NET_DROP_NONE)
		return why;
	*ip = (struct net_ip4){
		.src_be = net_get_ip4(h + 12),
		.dst_be = net_get_ip4(h + 16),
		.l4 = h + hlen,
		.l4_len_bytes = (uint32_t)(total - hlen),
		.proto = h[9],
		.ttl = h[8],
		.tos = h[1],
		.l4_csum_ok = (p->rx_flags & NET_RX_L4_CSUM_OK) != 0,
	};
	why = check_destination(ip, p, iface);
	if (why != NET_DROP_NONE)
		return why;
	why = check_source(ip, p, iface);
	if (why != NET_DROP_NONE)
		return why;
	if (ip->proto != NET_PROTO_TCP && ip->proto != NET_PROTO_ICMP)
		return NET_DROP_ip4_unknown_proto;
	return check_fragment(ip, h);
}

enum net_drop net_ip4_tcp_check(const struct net_ip4 *ip)
{
	uint32_t sum;

	if (ip->l4_csum_ok)
		return NET_DROP_NONE;
	sum = net_checksum_pseudo4(ip->src_be, ip->dst_be, ip->proto, ip->l4_len_bytes);
	sum = net_checksum_add(sum, ip->l4, ip->l4_len_bytes);
	return net_checksum_fold(sum) ? NET_DROP_tcp_bad_checksum : NET_DROP_NONE;
}

void net_ip4_build_unsummed(uint8_t *hdr20, const struct net_ip4_out *out)
{
	hdr20[0] = 4 << 4 | NET_IP4_HLEN / 4;
	hdr20[1] = out->tos;
	net_put16(hdr20 + 2, (uint16_t)(NET_IP4_HLEN + out->payload_len_bytes));
	net_put16(hdr20 + 4, out->id);
	net_put16(hdr20 + 6, IP4_DF);
	hdr20[8] = NET_IP4_TTL;
	hdr20[9] = out->proto;
	net_put16(hdr20 + 10, 0);
	net_put_ip4(hdr20 + 12, out->src_be);
	net_put_ip4(hdr20 + 16, out->dst_be);
}

void net_ip4_build(uint8_t *hdr20, const struct net_ip4_out *out)
{
	uint16_t check;

	net_ip4_build_unsummed(hdr20, out);
	check = net_checksum_fold(net_checksum_add_ip4(0, hdr20));
	memcpy(hdr20 + 10, &check, sizeof(check));
}

void net_ip4_make_fragment(uint8_t *hdr20, uint16_t offset_bytes, uint16_t len_bytes, bool more)
{
	uint16_t check;

	net_put16(hdr20 + 2, (uint16_t)(NET_IP4_HLEN + len_bytes));
	net_put16(hdr20 + 6, (uint16_t)(offset_bytes / 8 | (more ? IP4_MF : 0)));
	net_put16(hdr20 + 10, 0);
	check = net_checksum_fold(net_checksum_add_ip4(0, hdr20));
	memcpy(hdr20 + 10, &check, sizeof(check));
}
