#include <net/packet.h>

#include <net/wire.h>

const struct net_mac net_mac_broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

/* Is the frame's destination us? The link may be promiscuous, or flood unknown unicast. */
static enum net_drop check_addresses(struct net_packet *p, const struct net_mac *our_mac)
{
	if (net_mac_is_group(&p->src))
		return NET_DROP_eth_bad_source;
	p->broadcast = p->multicast = false;
	if (net_mac_equal(&p->dst, our_mac))
		return NET_DROP_NONE;
	p->broadcast = net_mac_equal(&p->dst, &net_mac_broadcast);
	p->multicast =
		p->ethertype == NET_ETHERTYPE_IP6 && p->dst.b[0] == 0x33 && p->dst.b[1] == 0x33;
	if (p->broadcast || p->multicast)
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
		return NET_DROP_eth_vlan_double;
	default:
		return NET_DROP_eth_unknown_type;
	}
}

/* Steps over the tag that the frame has, if the port has not taken one off. False: cut short. */
static bool read_tag(struct net_packet *p, bool *tagged, uint16_t *tci)
{
	if (*tagged || p->ethertype != NET_ETHERTYPE_VLAN)
		return true;
	if (p->l3_len_bytes < NET_VLAN_HLEN)
		return false;
	*tagged = true;
	*tci = net_get16(p->l3);
	p->ethertype = net_get16(p->l3 + 2);
	p->l3 += NET_VLAN_HLEN;
	p->l3_len_bytes -= NET_VLAN_HLEN;
	return true;
}

static enum net_drop check_vlan(bool tagged, uint16_t tci, const struct net_iface *iface)
{
	uint16_t id = tagged ? tci & NET_VLAN_ID_MASK : 0;

	if (id == iface->vlan_id)
		return NET_DROP_NONE;
	return id ? NET_DROP_eth_vlan : NET_DROP_eth_untagged;
}

enum net_drop net_packet_parse(struct net_packet *p, const uint8_t *frame, size_t len_bytes,
	const struct net_iface *iface, uint32_t rx_flags)
{
	bool tagged = (rx_flags & NET_RX_VLAN) != 0;
	uint16_t tci = (uint16_t)(rx_flags >> 16);
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
	p->rx_flags = (uint8_t)rx_flags;
	if (!read_tag(p, &tagged, &tci))
		return NET_DROP_eth_short;
	why = check_addresses(p, &iface->mac);
	if (why == NET_DROP_NONE)
		why = check_ethertype(p->ethertype);
	return why == NET_DROP_NONE ? check_vlan(tagged, tci, iface) : why;
}

void net_eth_build(
	uint8_t *frame, const struct net_mac *dst, const struct net_mac *src, uint16_t ethertype)
{
	memcpy(frame, dst->b, sizeof(dst->b));
	memcpy(frame + 6, src->b, sizeof(src->b));
	net_put16(frame + 12, ethertype);
}
