/* Fuzzes what reads frames below TCP: Ethernet, ARP, IPv4, fragments, ICMP, IPv6, ICMPv6, ND.
 *
 * The input's first byte gives the port's checksum verdict, whether it took a VLAN tag off and
 * whether we are in that VLAN; the rest is the frame, or several, each in a block of exactly its
 * size, so that a sanitizer sees a read past it. Since no mutation finds a checksum, a set bit
 * makes the ICMP checksum right before it is parsed. Beyond not crashing, each view must lie inside
 * the frame and each accepted value must keep its promise.
 */
#include <net/arp.h>
#include <net/checksum.h>
#include <net/frag.h>
#include <net/icmp.h>
#include <net/ip4.h>
#include <net/nd_host.h>
#include <net/packet.h>
#include <net/route.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	CAPACITY = 64,
	REPLY_CAP = NET_ETH_HLEN + 1500,
	VLAN = 5,
	IN_VLAN = 1 << 3, /* beside enum net_rx_flag */
	SEVERAL = 1 << 4, /* frames, each behind its length */
	FRAMES_MAX = 200,
	FIX_ICMP = 1 << 7,
};

/* Not assert(): a fuzzer must notice in every kind of build. */
static void require(bool holds)
{
	if (!holds)
		abort();
}

static void require_inside(const struct net_packet *p, const uint8_t *at, size_t len)
{
	require(at >= p->frame && at <= p->frame + p->frame_len_bytes);
	require(len <= (size_t)(p->frame + p->frame_len_bytes - at));
}

static struct net_iface make_iface(void)
{
	static const uint8_t ours[4] = {10, 0, 0, 1};
	struct net_iface iface = {.mac = {{2, 0, 0, 0, 0, 1}}, .mtu_bytes = 1500};
	static const struct net_addr own6 = {{0x20, 1, 0xd, 0xb8, [15] = 1}};
	uint32_t ip_be;

	memcpy(&ip_be, ours, sizeof(ip_be));
	require(net_iface_add(&iface, ip_be, 24) == 0);
	require(net_iface_add6(&iface, &own6, 64, NET_ADDR6_PREFERRED) == 0);
	return iface;
}

static void fuzz_arp(const struct net_packet *p, const struct net_iface *iface)
{
	static struct net_neigh_table *table;
	static uint64_t now_us;
	uint8_t reply[NET_ARP_FRAME_LEN];
	struct net_neigh_usage usage;
	struct net_arp arp;
	bool reply_due;

	if (!table)
		table = net_neigh_init(
			aligned_alloc(NET_NEIGH_ALIGN, net_neigh_size(CAPACITY)), CAPACITY, 7);
	if (net_arp_parse(&arp, p, iface) != NET_DROP_NONE)
		return;
	require(p->l3_len_bytes >= NET_ARP_LEN);
	require(!net_mac_is_group(&arp.sender_mac));
	require(!net_iface_is_local(iface, arp.sender_ip_be));
	net_arp_input(table, iface, &arp, now_us += 1000, &reply_due);
	require(!reply_due || net_iface_is_local(iface, arp.target_ip_be));
	if (reply_due)
		net_arp_build_reply(reply, iface, &arp);
	net_neigh_usage_get(table, &usage);
	require(usage.count <= usage.learned_max && usage.learned == usage.count);
}

static void fuzz_icmp(
	const struct net_packet *p, const struct net_ip4 *ip, const struct net_iface *iface)
{
	uint8_t reply[REPLY_CAP];
	struct net_icmp icmp;
	size_t len;

	if (net_icmp_parse(&icmp, ip, iface) != NET_DROP_NONE)
		return;
	if (icmp.kind == NET_ICMP_ECHO) {
		len = net_icmp_build_echo_reply(reply, sizeof(reply), p, ip, 1);
		require(len <= sizeof(reply));
		require(len == 0 || len == NET_ETH_HLEN + NET_IP4_HLEN + ip->l4_len_bytes);
		return;
	}
	require(net_iface_is_local(iface, net_addr_to_ip4(&icmp.key.local)));
	require(icmp.error_errno > 0);
	if (icmp.kind == NET_ICMP_TOO_BIG)
		require(icmp.mtu_bytes >= NET_IP4_MTU_MIN && icmp.mtu_bytes < 65535);
}

static void fix_icmp(uint8_t *frame, const struct net_packet *p, const struct net_ip4 *ip)
{
	uint8_t *msg = frame + (ip->l4 - p->frame);
	uint16_t check;

	if (ip->l4_len_bytes < 4)
		return;
	memset(msg + 2, 0, sizeof(check));
	check = net_checksum_fold(net_checksum_add(0, msg, ip->l4_len_bytes));
	memcpy(msg + 2, &check, sizeof(check));
}

static struct net_frag_table *frags(void)
{
	static struct net_frag_table *table;
	static struct net_counters c;
	size_t size = (net_frag_size() + NET_FRAG_ALIGN - 1) / NET_FRAG_ALIGN * NET_FRAG_ALIGN;

	if (!table) {
		void *mem = aligned_alloc(NET_FRAG_ALIGN, size);

		require(mem != NULL);
		memset(mem, 0, size);
		table = net_frag_init(mem, &c);
	}
	return table;
}

/* What is whole is no fragment, and a packet as if it had come in one. */
static void check_whole(const struct net_frag_whole *whole, const struct net_iface *iface)
{
	struct net_iface plain = *iface;
	struct net_packet p;
	struct net_ip4 ip4;
	struct net_ip6 ip6;

	if (!whole->frame)
		return;
	plain.vlan_id = 0;
	require(net_packet_parse(&p, whole->frame, whole->len_bytes, &plain, 0) == NET_DROP_NONE);
	if (p.ethertype == NET_ETHERTYPE_IP4) {
		require(net_ip4_parse(&ip4, &p, &plain) == NET_DROP_NONE);
		require(ip4.l4 + ip4.l4_len_bytes == whole->frame + whole->len_bytes);
	} else if (net_ip6_parse(&ip6, &p, &plain) == NET_DROP_NONE) {
		require(ip6.l4 + ip6.l4_len_bytes == whole->frame + whole->len_bytes);
	}
}

static uint64_t frag_now_us;

/* What is said of fragments without end is no longer than the path to anybody may be. */
static void expire_fragments(const struct net_iface *iface)
{
	uint8_t frame[NET_ETH_HLEN + NET_IP6_MTU_MIN];
	struct net_frag_first first;

	while (net_frag_expire(frags(), frag_now_us, &first)) {
		require(first.data_bytes >= 8);
		if (first.frame[NET_ETH_HLEN] >> 4 == 6)
			require(net_icmp6_build_reassembly_timeout(frame, &first, iface) <=
				sizeof(frame));
		else
			net_icmp_build_reassembly_timeout(frame, &first, 1);
	}
}

static void forget_fragments(void)
{
	struct net_iface iface = make_iface();

	frag_now_us += NET_FRAG_TIMEOUT6_US + 1;
	expire_fragments(&iface);
	require(!net_frag_waits(frags()));
}

static void fuzz_fragment4(
	const struct net_packet *p, const struct net_ip4 *ip, const struct net_iface *iface)
{
	struct net_frag_whole whole;
	enum net_drop why;

	frag_now_us += 100000;
	expire_fragments(iface);
	why = net_frag_input4(frags(), p, ip, frag_now_us, &whole);
	require(why == NET_DROP_NONE || !whole.frame);
	check_whole(&whole, iface);
}

static void fuzz_fragment6(
	const struct net_packet *p, const struct net_ip6 *ip, const struct net_iface *iface)
{
	struct net_frag_whole whole;
	enum net_drop why;

	frag_now_us += 100000;
	expire_fragments(iface);
	why = net_frag_input6(frags(), p, ip, frag_now_us, &whole);
	require(why == NET_DROP_NONE || !whole.frame);
	check_whole(&whole, iface);
}

static void fuzz_ip4(
	uint8_t *frame, const struct net_packet *p, const struct net_iface *iface, bool fix)
{
	struct net_ip4 ip;
	enum net_drop why = net_ip4_parse(&ip, p, iface);

	if (why == NET_DROP_ip4_fragment) {
		require_inside(p, ip.l4, ip.l4_len_bytes);
		fuzz_fragment4(p, &ip, iface);
	}
	if (why != NET_DROP_NONE)
		return;
	require_inside(p, ip.l4, ip.l4_len_bytes);
	require(net_iface_is_local(iface, ip.dst_be) && !net_iface_is_local(iface, ip.src_be));
	if (ip.proto == NET_PROTO_TCP) {
		net_ip4_tcp_check(&ip);
		return;
	}
	if (fix)
		fix_icmp(frame, p, &ip);
	fuzz_icmp(p, &ip, iface);
}

/* What a host makes of any number of messages stays bounded, and our address stays ours. */
static void fuzz_nd(
	const struct net_packet *p, const struct net_ip6 *ip, const struct net_iface *iface)
{
	static struct net_neigh_table *table;
	static struct net_nd_host *host;
	static uint64_t now_us;
	struct net_nd_todo todo[NET_ND_TODO_MAX];
	uint8_t reply[NET_ND_FRAME_MAX];
	struct net_nd_answer answer;
	struct net_iface now;
	struct net_nd nd;
	bool due;

	if (!host) {
		table = net_neigh_init(
			aligned_alloc(NET_NEIGH_ALIGN, net_neigh_size(CAPACITY)), CAPACITY, 7);
		host = net_nd_host_init(aligned_alloc(64, (net_nd_host_size() + 63) / 64 * 64),
			&(struct net_nd_config){.iface = iface, .neigh = table, .slaac = true}, 0);
	}
	if (net_nd_parse(&nd, p, ip, iface) != NET_DROP_NONE)
		return;
	require(ip->hop_limit == NET_ND_HOP_LIMIT && !net_mac_equal(&nd.eth_src, &iface->mac));
	net_nd_host_input(host, &nd, now_us += 1000000, &answer, &due);
	if (due)
		require(net_nd_build_advert(reply, iface, &answer) <= sizeof(reply));
	require(net_nd_host_tick(host, now_us, todo) <= NET_ND_TODO_MAX);
	net_nd_host_iface(host, &now);
	require(now.addr6_count <= NET_IFACE_ADDRS6_MAX &&
		now.prefix6_count <= NET_IFACE_PREFIXES6_MAX);
	require(net_iface_is_local6(&now, &iface->addr6[0].addr));
	require(!now.mtu6_bytes ||
		(now.mtu6_bytes >= NET_IP6_MTU_MIN && now.mtu6_bytes <= now.mtu_bytes));
}

static void fuzz_icmp6(
	const struct net_packet *p, const struct net_ip6 *ip, const struct net_iface *iface)
{
	uint8_t reply[REPLY_CAP];
	struct net_icmp icmp;
	size_t len;

	if (net_icmp6_parse(&icmp, ip, iface) != NET_DROP_NONE)
		return;
	if (icmp.kind == NET_ICMP_ND) {
		fuzz_nd(p, ip, iface);
	} else if (icmp.kind == NET_ICMP_ECHO) {
		len = net_icmp6_build_echo_reply(reply, sizeof(reply), p, ip, iface);
		require(len == 0 || len == NET_ETH_HLEN + NET_IP6_HLEN + ip->l4_len_bytes);
	} else if (icmp.kind != NET_ICMP_MLD_QUERY) {
		require(net_iface_is_local6(iface, &icmp.key.local) && icmp.error_errno > 0);
		require(icmp.kind != NET_ICMP_TOO_BIG || icmp.mtu_bytes >= NET_IP6_MTU_MIN);
	}
}

static void fuzz_ip6(
	uint8_t *frame, const struct net_packet *p, const struct net_iface *iface, bool fix)
{
	struct net_ip6 ip;
	enum net_drop why = net_ip6_parse(&ip, p, iface);

	if (why == NET_DROP_ip6_fragment) {
		require_inside(p, ip.l4, ip.l4_len_bytes);
		fuzz_fragment6(p, &ip, iface);
	}
	if (why != NET_DROP_NONE)
		return;
	require_inside(p, ip.l4, ip.l4_len_bytes);
	require(!net_addr_is_ip4(&ip.src) && !net_iface_is_local6(iface, &ip.src));
	require(ip.multicast || net_iface_is_local6(iface, &ip.dst));
	if (ip.proto == NET_PROTO_TCP) {
		require(!ip.multicast);
		net_ip6_tcp_check(&ip);
		return;
	}
	if (fix && ip.l4_len_bytes >= 4) {
		uint8_t *msg = frame + (ip.l4 - p->frame);

		memset(msg + 2, 0, 2);
		net_icmp6_finish(msg, ip.l4_len_bytes, &ip.src, &ip.dst);
	}
	fuzz_icmp6(p, &ip, iface);
}

static void fuzz_frame(const uint8_t *data, size_t size, uint8_t how)
{
	struct net_iface iface = make_iface();
	uint32_t rx_flags = (how & 7) | (how & NET_RX_VLAN ? net_rx_vlan(VLAN) : 0);
	struct net_packet p;
	uint8_t *frame = malloc(size ? size : 1);

	require(frame != NULL);
	memcpy(frame, data, size);
	iface.vlan_id = how & IN_VLAN ? VLAN : 0;
	if (net_packet_parse(&p, frame, size, &iface, rx_flags) == NET_DROP_NONE) {
		require_inside(&p, p.l3, p.l3_len_bytes);
		if (p.ethertype == NET_ETHERTYPE_ARP)
			fuzz_arp(&p, &iface);
		else if (p.ethertype == NET_ETHERTYPE_IP6)
			fuzz_ip6(frame, &p, &iface, (how & FIX_ICMP) != 0);
		else
			fuzz_ip4(frame, &p, &iface, (how & FIX_ICMP) != 0);
	}
	free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t how = size ? data[0] : 0;

	if (size < 1)
		return 0;
	data++;
	size--;
	for (unsigned int i = 0; how & SEVERAL && i < FRAMES_MAX && size > 2; i++) {
		size_t len = (size_t)data[0] << 8 | data[1];

		len = len < size - 2 ? len : size - 2;
		fuzz_frame(data + 2, len, how);
		data += 2 + len;
		size -= 2 + len;
	}
	fuzz_frame(data, size, how);
	/* So that an input that fails does so alone, too. */
	forget_fragments();
	return 0;
}
