#include <net/ip6.h>

#include <net/checksum.h>
#include <net/wire.h>

enum {
	IP6_OPT_PAD1 = 0,
	IP6_OPT_JUMBO = 0xc2, /* RFC 2675 */
	IP6_OPT_ACT_MASK = 0xc0,

	IP6_FRAGMENT_MF = 1,
	IP6_FRAGMENT_OFFSET_MASK = 0xfff8,
};

/* RFC 8200 section 3. Leaves the trusted length of what follows the header in *payload. */
static enum net_drop check_header(const struct net_packet *p, uint32_t *payload)
{
	const uint8_t *h = p->l3;

	if (p->l3_len_bytes < NET_IP6_HLEN)
		return NET_DROP_ip6_short;
	if (h[0] >> 4 != 6)
		return NET_DROP_ip6_bad_version;
	*payload = net_get16(h + 4);
	if (*payload == 0)
		return h[6] == NET_PROTO_HOP_BY_HOP ? NET_DROP_ip6_jumbogram
						    : NET_DROP_ip6_bad_length;
	if (*payload > p->l3_len_bytes - NET_IP6_HLEN)
		return NET_DROP_ip6_bad_length;
	return NET_DROP_NONE;
}

/* RFC 4291 sections 2.5.2 to 2.7: none of these is ever a source on the wire. The unspecified
 * address is one only while a host tries out its own (RFC 4862): what ICMPv6 carries it in is
 * checked there. */
static enum net_drop check_source(
	const struct net_ip6 *ip, const struct net_packet *p, const struct net_iface *iface)
{
	if (net_addr_is_any(&ip->src))
		return NET_DROP_NONE;
	if (!net_ip6_is_unicast(&ip->src))
		return NET_DROP_ip6_bad_source;
	if (net_iface_is_local6(iface, &ip->src) && !(p->rx_flags & NET_RX_LOOPED))
		return NET_DROP_ip6_own_source;
	return NET_DROP_NONE;
}

static enum net_drop check_destination(
	struct net_ip6 *ip, const struct net_packet *p, const struct net_iface *iface)
{
	if (net_iface_is_local6(iface, &ip->dst))
		return p->broadcast || p->multicast ? NET_DROP_ip6_l2_multicast : NET_DROP_NONE;
	if (net_addr_is_group6(&ip->dst)) {
		ip->multicast = net_iface_in_group6(iface, &ip->dst);
		return ip->multicast ? NET_DROP_NONE : NET_DROP_ip6_multicast;
	}
	if (!net_ip6_is_unicast(&ip->dst))
		return NET_DROP_ip6_bad_dest;
	return NET_DROP_ip6_not_ours;
}

/* RFC 8200 section 4.2: options not understood are skipped if their top bits say so. The error
 * message that some of them ask for is not sent, as none is. */
static enum net_drop check_options(const uint8_t *opt, size_t len)
{
	size_t at = 0;

	while (at < len) {
		if (opt[at] == IP6_OPT_PAD1) {
			at++;
			continue;
		}
		if (len - at < 2 || (size_t)opt[at + 1] + 2 > len - at)
			return NET_DROP_ip6_bad_option;
		if (opt[at] == IP6_OPT_JUMBO)
			return NET_DROP_ip6_jumbogram;
		if (opt[at] & IP6_OPT_ACT_MASK)
			return NET_DROP_ip6_bad_option;
		at += (size_t)opt[at + 1] + 2;
	}
	return NET_DROP_NONE;
}

/* RFC 8200 section 4.5, RFC 6946: a fragment that is all of its packet. */
static enum net_drop check_fragment(struct net_ip6 *ip)
{
	uint16_t word = net_get16(ip->l4 + 2);

	ip->fragmented = true;
	if (!(word & (IP6_FRAGMENT_OFFSET_MASK | IP6_FRAGMENT_MF)))
		return NET_DROP_NONE;
	ip->frag_more = (word & IP6_FRAGMENT_MF) != 0;
	ip->frag_offset = word & IP6_FRAGMENT_OFFSET_MASK;
	ip->frag_id = net_get32(ip->l4 + 4);
	return NET_DROP_ip6_fragment;
}

static bool is_extension(uint8_t proto)
{
	return proto == NET_PROTO_HOP_BY_HOP || proto == NET_PROTO_ROUTING ||
	       proto == NET_PROTO_FRAGMENT || proto == NET_PROTO_DEST_OPTIONS;
}

/* Checks the extension header at ip->l4 and steps over it. */
static enum net_drop skip_one(struct net_ip6 *ip, bool first)
{
	const uint8_t *h = ip->l4;
	enum net_drop why = NET_DROP_NONE;
	size_t len;

	if (ip->l4_len_bytes < 8)
		return NET_DROP_ip6_bad_ext;
	len = ip->proto == NET_PROTO_FRAGMENT ? NET_IP6_FRAGMENT_HLEN : ((size_t)h[1] + 1) * 8;
	if (len > ip->l4_len_bytes)
		return NET_DROP_ip6_bad_ext;
	switch (ip->proto) {
	case NET_PROTO_HOP_BY_HOP:
		why = first ? check_options(h + 2, len - 2) : NET_DROP_ip6_bad_ext;
		break;
	case NET_PROTO_DEST_OPTIONS:
		why = check_options(h + 2, len - 2);
		break;
	case NET_PROTO_ROUTING:
		why = h[3] ? NET_DROP_ip6_source_route : NET_DROP_NONE;
		break;
	default:
		why = check_fragment(ip);
	}
	ip->proto = h[0];
	ip->l4 += len;
	ip->l4_len_bytes -= (uint32_t)len;
	return why;
}

static enum net_drop skip_extensions(struct net_ip6 *ip)
{
	for (unsigned int i = 0; is_extension(ip->proto); i++) {
		enum net_drop why =
			i < NET_IP6_EXT_MAX ? skip_one(ip, i == 0) : NET_DROP_ip6_many_ext;

		if (why != NET_DROP_NONE)
			return why;
	}
	return NET_DROP_NONE;
}

static enum net_drop check_proto(const struct net_ip6 *ip)
{
	if (ip->proto == NET_PROTO_ICMP6)
		return NET_DROP_NONE;
	if (ip->proto != NET_PROTO_TCP)
		return NET_DROP_ip6_unknown_proto;
	if (ip->multicast)
		return NET_DROP_ip6_multicast;
	return net_addr_is_any(&ip->src) ? NET_DROP_ip6_bad_source : NET_DROP_NONE;
}

enum net_drop net_ip6_parse(
	struct net_ip6 *ip, const struct net_packet *p, const struct net_iface *iface)
{
	const uint8_t *h = p->l3;
	enum net_drop why;
	uint32_t payload;

	why = check_header(p, &payload);
	if (why != NET_DROP_NONE)
		return why;
	*ip = (struct net_ip6){
		.l4 = h + NET_IP6_HLEN,
		.l4_len_bytes = payload,
		.flow_label = net_get32(h) & NET_IP6_LABEL_MASK,
		.proto = h[6],
		.hop_limit = h[7],
		.tclass = (uint8_t)(net_get16(h) >> 4),
		.l4_csum_ok = (p->rx_flags & NET_RX_L4_CSUM_OK) != 0,
		.fragmented = (p->rx_flags & NET_RX_REASSEMBLED) != 0,
	};
	memcpy(ip->src.b, h + 8, sizeof(ip->src.b));
	memcpy(ip->dst.b, h + 24, sizeof(ip->dst.b));
	why = check_destination(ip, p, iface);
	if (why == NET_DROP_NONE)
		why = check_source(ip, p, iface);
	if (why == NET_DROP_NONE)
		why = skip_extensions(ip);
	return why == NET_DROP_NONE ? check_proto(ip) : why;
}

enum net_drop net_ip6_tcp_check(const struct net_ip6 *ip)
{
	uint32_t sum;

	if (ip->l4_csum_ok)
		return NET_DROP_NONE;
	sum = net_checksum_pseudo6(ip->src.b, ip->dst.b, ip->proto, ip->l4_len_bytes);
	sum = net_checksum_add(sum, ip->l4, ip->l4_len_bytes);
	return net_checksum_fold(sum) ? NET_DROP_tcp_bad_checksum : NET_DROP_NONE;
}

void net_ip6_build(uint8_t *hdr40, const struct net_ip6_out *out)
{
	net_put32(hdr40,
		6u << 28 | (uint32_t)out->tclass << 20 | (out->flow_label & NET_IP6_LABEL_MASK));
	net_put16(hdr40 + 4, out->payload_len_bytes);
	hdr40[6] = out->proto;
	hdr40[7] = out->hop_limit;
	memcpy(hdr40 + 8, out->src->b, sizeof(out->src->b));
	memcpy(hdr40 + 24, out->dst->b, sizeof(out->dst->b));
}

void net_ip6_make_fragment(
	uint8_t *hdr48, uint32_t id, uint16_t offset_bytes, uint16_t len_bytes, bool more)
{
	uint8_t *fragment = hdr48 + NET_IP6_HLEN;

	fragment[0] = hdr48[6];
	fragment[1] = 0;
	net_put16(fragment + 2, (uint16_t)(offset_bytes | (more ? IP6_FRAGMENT_MF : 0)));
	net_put32(fragment + 4, id);
	hdr48[6] = NET_PROTO_FRAGMENT;
	net_put16(hdr48 + 4, (uint16_t)(NET_IP6_FRAGMENT_HLEN + len_bytes));
}
