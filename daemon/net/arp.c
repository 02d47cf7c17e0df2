#include <net/arp.h>

#include <net/wire.h>

enum {
	ARP_HTYPE_ETHERNET = 1,
};

static bool format_ok(const uint8_t *a)
{
	uint16_t op = net_get16(a + 6);

	return net_get16(a) == ARP_HTYPE_ETHERNET && net_get16(a + 2) == NET_ETHERTYPE_IP4 &&
	       a[4] == 6 && a[5] == 4 && (op == NET_ARP_REQUEST || op == NET_ARP_REPLY);
}

/* The sender is what we may learn: it must be able to be one other host. */
static enum net_drop check_sender(const struct net_arp *arp, const struct net_iface *iface)
{
	uint32_t ip_be = arp->sender_ip_be;

	if (net_mac_is_zero(&arp->sender_mac) || net_mac_is_group(&arp->sender_mac))
		return NET_DROP_arp_bad_mac;
	if (net_mac_equal(&arp->sender_mac, &iface->mac))
		return NET_DROP_arp_own_echo;
	if (net_iface_is_local(iface, ip_be))
		return NET_DROP_arp_conflict;
	if (ip_be != 0 && (!net_ip4_is_unicast(ip_be) || net_iface_is_broadcast(iface, ip_be)))
		return NET_DROP_arp_bad_ip;
	return NET_DROP_NONE;
}

enum net_drop net_arp_parse(
	struct net_arp *arp, const struct net_packet *p, const struct net_iface *iface)
{
	const uint8_t *a = p->l3;

	if (p->l3_len_bytes < NET_ARP_LEN)
		return NET_DROP_arp_short;
	if (!format_ok(a))
		return NET_DROP_arp_bad_format;
	arp->op = net_get16(a + 6);
	memcpy(arp->sender_mac.b, a + 8, sizeof(arp->sender_mac.b));
	arp->sender_ip_be = net_get_ip4(a + 14);
	arp->target_ip_be = net_get_ip4(a + 24);
	arp->broadcast = p->broadcast;
	return check_sender(arp, iface);
}

static enum net_neigh_source source_of(const struct net_arp *arp, bool for_us)
{
	if (!for_us)
		return NET_NEIGH_FROM_OTHER;
	if (arp->op == NET_ARP_REQUEST)
		return NET_NEIGH_FROM_REQUEST;
	return arp->broadcast ? NET_NEIGH_FROM_OTHER : NET_NEIGH_FROM_REPLY;
}

enum net_drop net_arp_input(struct net_neigh_table *t, const struct net_iface *iface,
	const struct net_arp *arp, uint64_t now_us, bool *reply_due)
{
	bool for_us = net_iface_is_local(iface, arp->target_ip_be);
	struct net_addr sender = net_addr_from_ip4(arp->sender_ip_be);

	*reply_due = for_us && arp->op == NET_ARP_REQUEST;
	if (arp->sender_ip_be == 0)
		return for_us ? NET_DROP_NONE : NET_DROP_arp_not_ours;
	if (!net_iface_on_link(iface, arp->sender_ip_be))
		return NET_DROP_arp_off_link;
	return net_neigh_update(t, &sender, &arp->sender_mac, source_of(arp, for_us), now_us);
}

/* One end of the exchange; the padding is zeroed, nothing of ours leaks in it. */
struct arp_end {
	struct net_mac mac;
	uint32_t ip_be;
};

static void build(uint8_t *frame, uint16_t op, const struct net_mac *eth_dst,
	const struct arp_end *sender, const struct arp_end *target)
{
	uint8_t *a = frame + NET_ETH_HLEN;

	memset(frame, 0, NET_ARP_FRAME_LEN);
	net_eth_build(frame, eth_dst, &sender->mac, NET_ETHERTYPE_ARP);
	net_put16(a, ARP_HTYPE_ETHERNET);
	net_put16(a + 2, NET_ETHERTYPE_IP4);
	a[4] = 6;
	a[5] = 4;
	net_put16(a + 6, op);
	memcpy(a + 8, sender->mac.b, 6);
	net_put_ip4(a + 14, sender->ip_be);
	memcpy(a + 18, target->mac.b, 6);
	net_put_ip4(a + 24, target->ip_be);
}

void net_arp_build_reply(
	uint8_t *frame, const struct net_iface *iface, const struct net_arp *request)
{
	struct arp_end sender = {iface->mac, request->target_ip_be};
	struct arp_end target = {request->sender_mac, request->sender_ip_be};

	build(frame, NET_ARP_REPLY, &target.mac, &sender, &target);
}

bool net_arp_build_request(uint8_t *frame, const struct net_iface *iface, uint32_t target_ip_be,
	const struct net_mac *dst)
{
	const struct net_prefix *px = net_iface_on_link(iface, target_ip_be);
	struct arp_end target = {.ip_be = target_ip_be};
	struct arp_end sender = {.mac = iface->mac};

	if (!px)
		return false;
	sender.ip_be = px->ip_be;
	build(frame, NET_ARP_REQUEST, dst, &sender, &target);
	return true;
}

void net_arp_build_gratuitous(uint8_t *frame, const struct net_iface *iface, uint32_t our_ip_be)
{
	struct arp_end sender = {iface->mac, our_ip_be};
	struct arp_end target = {.ip_be = our_ip_be};

	build(frame, NET_ARP_REQUEST, &net_mac_broadcast, &sender, &target);
}
