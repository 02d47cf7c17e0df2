#include <net/packet.h>

#include <net/wire.h>

const struct net_mac net_mac_broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

/* Is the frame's destination us? The link may be promiscuous, or flood unknown unicast. */
static enum net_drop check_addresses(const struct net_packet *p, const struct net_mac *our_mac)
{
	if (net_mac_is_group(&p->src))
		return NET_DROP_eth_bad_source;
	if (p->broadcast || p->multicast || net_mac_equal(&p->dst, our_mac))
		return NET_DROP_NONE;
	return net_mac_is_group(&p->dst) ? NET_DROP_eth_multicast : NET_DROP_eth_not_ours;
}

static enum net_drop check_ethertype(uint16_t ethertype)
{
	switch (ethertype) {
	case NET_ETHERTYPE_IP4:
	case NET_ETHERTYPE_IP6:
	case NET_ETHERTYPE_ARP:
		return NET_DROP_NONE;
	case NET_ETHERTYPE_VLAN:
	case NET_ETHERTYPE_QINQ:
		return NET_DROP_eth_vlan;
	default:
		return NET_DROP_eth_unknown_type;
	}
}

enum net_drop net_packet_parse(struct net_packet *p, const uint8_t *frame, size_t len_bytes,
	const struct net_mac *our_mac, uint8_t rx_flags)
{
	enum net_drop why;

	if (len_bytes < NET_ETH_HLEN || len_bytes > UINT32_MAX)
		return NET_DROP_eth_short;
	p->frame = frame;
	p->frame_len_bytes = (uint32_t)len_bytes;
	p->l3 = frame + NET_ETH_HLEN;
	p->l3_len_bytes = (uint32_t)len_bytes - NET_ETH_HLEN;
	memcpy(p->dst.b, frame, sizeof(p->dst.b));
	memcpy(p->src.b, frame + 6, sizeof(p->src.b));
	p->ethertype = net_get16(frame + 12);
	p->rx_flags = rx_flags;
	p->broadcast = net_mac_equal(&p->dst, &net_mac_broadcast);
	p->multicast =
		p->ethertype == NET_ETHERTYPE_IP6 && p->dst.b[0] == 0x33 && p->dst.b[1] == 0x33;

	why = check_addresses(p, our_mac);
	if (why != NET_DROP_NONE)
		return why;
	return check_ethertype(p->ethertype);
}

void net_eth_build(
	uint8_t *frame, const struct net_mac *dst, const struct net_mac *src, uint16_t ethertype)
{
	memcpy(frame, dst->b, sizeof(dst->b));
	memcpy(frame + 6, src->b, sizeof(src->b));
	net_put16(frame + 12, ethertype);
}
