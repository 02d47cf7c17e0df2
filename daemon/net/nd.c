#include <net/nd.h>

#include <net/wire.h>

enum {
	ND_OPT_SOURCE_MAC = 1,
	ND_OPT_TARGET_MAC = 2,
	ND_OPT_PREFIX = 3,
	ND_OPT_MTU = 5,
	ND_OPT_MAC_LEN = 8,
	ND_OPT_PREFIX_LEN = 32,
	ND_OPT_MTU_LEN = 8,

	ND_FLAG_ROUTER = 0x80,
	ND_FLAG_SOLICITED = 0x40,
	ND_FLAG_OVERRIDE = 0x20,

	ND_PREFIX_ON_LINK = 0x80,
	ND_PREFIX_AUTONOMOUS = 0x40,

	MLD2_RECORD_LEN = 20,
	MLD2_IS_EXCLUDE = 2, /* RFC 3810 section 5.2.12; of no source: listens to all */
	MLD2_TO_EXCLUDE = 4,
	ROUTER_ALERT_LEN = 8,
};

/* -- in ------------------------------------------------------------------------------------ */

/* The fixed part of a message in bytes; 0: a type that is not acted upon. */
static size_t fixed_len(uint8_t type)
{
	switch (type) {
	case NET_ND_ROUTER_ADVERT:
		return 16;
	case NET_ND_SOLICIT:
	case NET_ND_ADVERT:
		return 24;
	default:
		return 0;
	}
}

static enum net_drop take_mac(struct net_nd *nd, const uint8_t *opt, size_t len)
{
	if (len != ND_OPT_MAC_LEN)
		return NET_DROP_nd_bad_option;
	memcpy(nd->mac.b, opt + 2, sizeof(nd->mac.b));
	if (net_mac_is_zero(&nd->mac) || net_mac_is_group(&nd->mac))
		return NET_DROP_nd_bad_mac;
	nd->has_mac = true;
	return NET_DROP_NONE;
}

static enum net_drop take_prefix(struct net_nd *nd, const uint8_t *opt, size_t len)
{
	struct net_nd_prefix *px = &nd->prefix[nd->prefix_count];

	if (len != ND_OPT_PREFIX_LEN || opt[2] > 128)
		return NET_DROP_nd_bad_option;
	if (nd->prefix_count == NET_ND_PREFIXES_MAX)
		return NET_DROP_NONE;
	*px = (struct net_nd_prefix){
		.valid_s = net_get32(opt + 4),
		.preferred_s = net_get32(opt + 8),
		.len = opt[2],
		.on_link = opt[3] & ND_PREFIX_ON_LINK,
		.autonomous = opt[3] & ND_PREFIX_AUTONOMOUS,
	};
	memcpy(px->prefix.b, opt + 16, sizeof(px->prefix.b));
	nd->prefix_count++;
	return NET_DROP_NONE;
}

static enum net_drop take_option(struct net_nd *nd, const uint8_t *opt, size_t len)
{
	bool ra = nd->type == NET_ND_ROUTER_ADVERT;

	switch (opt[0]) {
	case ND_OPT_SOURCE_MAC:
		return nd->type == NET_ND_ADVERT ? NET_DROP_NONE : take_mac(nd, opt, len);
	case ND_OPT_TARGET_MAC:
		return nd->type == NET_ND_ADVERT ? take_mac(nd, opt, len) : NET_DROP_NONE;
	case ND_OPT_PREFIX:
		return ra ? take_prefix(nd, opt, len) : NET_DROP_NONE;
	case ND_OPT_MTU:
		if (ra && len != ND_OPT_MTU_LEN)
			return NET_DROP_nd_bad_option;
		if (ra)
			nd->mtu_bytes = net_get32(opt + 4);
		return NET_DROP_NONE;
	default:
		return NET_DROP_NONE;
	}
}

/* RFC 4861 section 4.6: lengths in units of 8 bytes; one of 0 would never end. */
static enum net_drop take_options(struct net_nd *nd, const uint8_t *opt, size_t len)
{
	unsigned int count = 0;

	while (len) {
		size_t opt_len = len >= 2 ? (size_t)opt[1] * 8 : 0;
		enum net_drop why;

		if (!opt_len || opt_len > len || ++count > NET_ND_OPTIONS_MAX)
			return NET_DROP_nd_bad_option;
		why = take_option(nd, opt, opt_len);
		if (why != NET_DROP_NONE)
			return why;
		opt += opt_len;
		len -= opt_len;
	}
	return NET_DROP_NONE;
}

/* RFC 4861 section 7.1.1. */
static enum net_drop check_solicit(const struct net_nd *nd)
{
	struct net_addr group;

	if (!net_addr_is_any(&nd->src))
		return NET_DROP_NONE;
	group = net_addr6_solicited_node(&nd->target);
	if (!net_addr_equal(&nd->dst, &group))
		return NET_DROP_nd_bad_dest;
	return nd->has_mac ? NET_DROP_nd_bad_option : NET_DROP_NONE;
}

/* RFC 4861 sections 6.1.2, 7.1.1, 7.1.2. */
static enum net_drop check_addresses(const struct net_nd *nd)
{
	if (nd->type == NET_ND_ROUTER_ADVERT)
		return net_addr_is_link_local6(&nd->src) ? NET_DROP_NONE : NET_DROP_nd_bad_source;
	if (!net_ip6_is_unicast(&nd->target))
		return NET_DROP_nd_bad_target;
	if (nd->type == NET_ND_SOLICIT)
		return check_solicit(nd);
	if (net_addr_is_any(&nd->src))
		return NET_DROP_nd_bad_source;
	return nd->multicast && nd->solicited ? NET_DROP_nd_bad_dest : NET_DROP_NONE;
}

/* RFC 4191 section 2.2: the reserved value counts as medium. */
static int8_t preference_of(uint8_t flags)
{
	unsigned int bits = flags >> 3 & 3;

	return bits == 1 ? 1 : bits == 3 ? -1 : 0;
}

static void take_fixed(struct net_nd *nd, const uint8_t *msg)
{
	if (nd->type == NET_ND_ROUTER_ADVERT) {
		nd->hop_limit = msg[4];
		nd->preference = preference_of(msg[5]);
		nd->lifetime_s = net_get16(msg + 6);
		return;
	}
	memcpy(nd->target.b, msg + 8, sizeof(nd->target.b));
	if (nd->type == NET_ND_ADVERT) {
		nd->router = msg[4] & ND_FLAG_ROUTER;
		nd->solicited = msg[4] & ND_FLAG_SOLICITED;
		nd->override = msg[4] & ND_FLAG_OVERRIDE;
	}
}

enum net_drop net_nd_parse(struct net_nd *nd, const struct net_packet *p, const struct net_ip6 *ip,
	const struct net_iface *iface)
{
	const uint8_t *msg = ip->l4;
	size_t fixed = fixed_len(msg[0]);
	enum net_drop why;

	if (ip->hop_limit != NET_ND_HOP_LIMIT)
		return NET_DROP_nd_hop_limit;
	if (ip->fragmented)
		return NET_DROP_nd_fragmented;
	if (!fixed)
		return NET_DROP_icmp6_ignored;
	if (msg[1] != 0)
		return NET_DROP_nd_bad_code;
	if (ip->l4_len_bytes < fixed)
		return NET_DROP_nd_short;
	if (net_mac_equal(&p->src, &iface->mac))
		return NET_DROP_nd_own_echo;
	*nd = (struct net_nd){
		.src = ip->src,
		.dst = ip->dst,
		.eth_src = p->src,
		.multicast = ip->multicast,
		.type = msg[0],
	};
	take_fixed(nd, msg);
	why = take_options(nd, msg + fixed, ip->l4_len_bytes - fixed);
	return why == NET_DROP_NONE ? check_addresses(nd) : why;
}

/* -- out ----------------------------------------------------------------------------------- */

/* Ethernet and IPv6 headers around a message of `len` bytes; returns where it goes. */
static uint8_t *headers(uint8_t *frame, const struct net_mac *eth_src,
	const struct net_mac *eth_dst, const struct net_ip6_out *ip)
{
	net_eth_build(frame, eth_dst, eth_src, NET_ETHERTYPE_IP6);
	net_ip6_build(frame + NET_ETH_HLEN, ip);
	return frame + NET_ETH_HLEN + NET_IP6_HLEN;
}

/* A message of `len` bytes that begins at the IPv6 payload, zeroed. */
static uint8_t *begin(uint8_t *frame, const struct net_iface *iface, const struct net_mac *eth_dst,
	const struct net_addr *src, const struct net_addr *dst, size_t len)
{
	struct net_ip6_out ip = {
		.src = src,
		.dst = dst,
		.payload_len_bytes = (uint16_t)len,
		.proto = NET_PROTO_ICMP6,
		.hop_limit = NET_ND_HOP_LIMIT,
	};
	uint8_t *msg = headers(frame, &iface->mac, eth_dst, &ip);

	memset(msg, 0, len);
	return msg;
}

static void put_mac_option(uint8_t *opt, uint8_t type, const struct net_mac *mac)
{
	opt[0] = type;
	opt[1] = 1;
	memcpy(opt + 2, mac->b, sizeof(mac->b));
}

size_t net_nd_build_solicit(uint8_t *frame, const struct net_iface *iface,
	const struct net_addr *target, const struct net_mac *dst)
{
	const struct net_addr *src = net_iface_source6(iface, target);
	struct net_addr group = net_addr6_solicited_node(target);
	struct net_mac group_mac = net_mac_of_group6(&group);
	bool unicast = !net_mac_is_group(dst);
	uint8_t *msg;

	if (!src)
		return 0;
	msg = begin(frame, iface, unicast ? dst : &group_mac, src, unicast ? target : &group, 32);
	msg[0] = NET_ND_SOLICIT;
	memcpy(msg + 8, target->b, sizeof(target->b));
	put_mac_option(msg + 24, ND_OPT_SOURCE_MAC, &iface->mac);
	net_icmp6_finish(msg, 32, src, unicast ? target : &group);
	return NET_ETH_HLEN + NET_IP6_HLEN + 32;
}

size_t net_nd_build_probe(
	uint8_t *frame, const struct net_iface *iface, const struct net_addr *target)
{
	static const struct net_addr any;
	struct net_addr group = net_addr6_solicited_node(target);
	struct net_mac group_mac = net_mac_of_group6(&group);
	uint8_t *msg = begin(frame, iface, &group_mac, &any, &group, 24);

	msg[0] = NET_ND_SOLICIT;
	memcpy(msg + 8, target->b, sizeof(target->b));
	net_icmp6_finish(msg, 24, &any, &group);
	return NET_ETH_HLEN + NET_IP6_HLEN + 24;
}

size_t net_nd_build_advert(
	uint8_t *frame, const struct net_iface *iface, const struct net_nd_answer *answer)
{
	uint8_t *msg = begin(frame, iface, &answer->mac, &answer->target, &answer->dst, 32);

	msg[0] = NET_ND_ADVERT;
	msg[4] = ND_FLAG_OVERRIDE | (answer->solicited ? ND_FLAG_SOLICITED : 0);
	memcpy(msg + 8, answer->target.b, sizeof(answer->target.b));
	put_mac_option(msg + 24, ND_OPT_TARGET_MAC, &iface->mac);
	net_icmp6_finish(msg, 32, &answer->target, &answer->dst);
	return NET_ETH_HLEN + NET_IP6_HLEN + 32;
}

/* Our link-local address, or the unspecified one before we have one. */
static const struct net_addr *link_local(const struct net_iface *iface)
{
	static const struct net_addr any;

	for (unsigned int i = 0; i < iface->addr6_count; i++) {
		const struct net_addr *a = &iface->addr6[i].addr;

		if (net_addr_is_link_local6(a) && net_iface_is_local6(iface, a))
			return a;
	}
	return &any;
}

size_t net_nd_build_router_solicit(uint8_t *frame, const struct net_iface *iface)
{
	struct net_mac mac = net_mac_of_group6(&net_addr6_all_routers);
	const struct net_addr *src = link_local(iface);
	size_t len = net_addr_is_any(src) ? 8 : 16;
	uint8_t *msg = begin(frame, iface, &mac, src, &net_addr6_all_routers, len);

	msg[0] = NET_ND_ROUTER_SOLICIT;
	if (len == 16)
		put_mac_option(msg + 8, ND_OPT_SOURCE_MAC, &iface->mac);
	net_icmp6_finish(msg, len, src, &net_addr6_all_routers);
	return NET_ETH_HLEN + NET_IP6_HLEN + len;
}

/* The solicited-node groups of our addresses, each once; returns how many. All-nodes is never
 * reported (RFC 3810 section 6). */
static unsigned int groups_of(const struct net_iface *iface, struct net_addr *group)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < iface->addr6_count; i++) {
		struct net_addr g = net_addr6_solicited_node(&iface->addr6[i].addr);
		unsigned int k = 0;

		while (k < count && !net_addr_equal(&group[k], &g))
			k++;
		if (k == count)
			group[count++] = g;
	}
	return count;
}

/* RFC 3810 section 5.2: behind a hop-by-hop header with a router alert (RFC 2711), hop limit 1. */
size_t net_nd_build_mld_report(uint8_t *frame, const struct net_iface *iface, bool joining)
{
	static const uint8_t router_alert[ROUTER_ALERT_LEN] = {
		NET_PROTO_ICMP6, 0, 5, 2, 0, 0, 1, 0};
	static const struct net_addr all_mld2_routers = {
		{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16}};
	struct net_addr group[NET_IFACE_ADDRS6_MAX];
	unsigned int count = groups_of(iface, group);
	struct net_mac mac = net_mac_of_group6(&all_mld2_routers);
	size_t len = 8 + (size_t)count * MLD2_RECORD_LEN;
	struct net_ip6_out ip = {
		.src = link_local(iface),
		.dst = &all_mld2_routers,
		.payload_len_bytes = (uint16_t)(ROUTER_ALERT_LEN + len),
		.proto = NET_PROTO_HOP_BY_HOP,
		.hop_limit = 1,
	};
	uint8_t *msg;

	static_assert(NET_ETH_HLEN + NET_IP6_HLEN + ROUTER_ALERT_LEN + 8 +
				      NET_IFACE_ADDRS6_MAX * MLD2_RECORD_LEN <=
			      NET_ND_FRAME_MAX,
		"all groups fit");
	if (!count)
		return 0;
	msg = headers(frame, &iface->mac, &mac, &ip);
	memcpy(msg, router_alert, sizeof(router_alert));
	msg += ROUTER_ALERT_LEN;
	memset(msg, 0, len);
	msg[0] = NET_ICMP6_MLD2_REPORT;
	net_put16(msg + 6, (uint16_t)count);
	for (unsigned int i = 0; i < count; i++) {
		uint8_t *record = msg + 8 + i * MLD2_RECORD_LEN;

		record[0] = joining ? MLD2_TO_EXCLUDE : MLD2_IS_EXCLUDE;
		memcpy(record + 4, group[i].b, sizeof(group[i].b));
	}
	net_icmp6_finish(msg, len, ip.src, &all_mld2_routers);
	return NET_ETH_HLEN + NET_IP6_HLEN + ROUTER_ALERT_LEN + len;
}
