/* Frames in: from the port to ARP, ICMP or a flow. IPv6 goes on in rx6.c.
 *
 * Each layer validates its header once and hands a view to the next; whatever is wrong is
 * dropped there and counted under the layer's own reason.
 *
 * TCP segments of a burst are all validated before the first is acted on, so that what they will
 * touch is fetched meanwhile, each step while others take theirs: hash -> bucket -> connection ->
 * sock. Among many connections each of these is a miss, and a turn waits for as many as fit
 * side by side rather than for one after the other. Nothing is decided on what is fetched.
 */
#include "internal.h"

#include <net/arp.h>
#include <net/icmp.h>
#include <net/ip4.h>

static void rx_arp(struct engine *e, const struct net_packet *p)
{
	uint8_t frame[NET_ARP_FRAME_LEN];
	struct net_arp arp;
	bool reply = false;
	enum net_drop why = net_arp_parse(&arp, p, e->cfg.iface);

	if (why == NET_DROP_NONE)
		why = net_arp_input(e->cfg.neigh, e->cfg.iface, &arp, e->now_us, &reply);
	net_drop_count(&e->net_counters, why);
	if (!reply)
		return;
	net_arp_build_reply(frame, e->cfg.iface, &arp);
	engine_tx_frame(e, frame, sizeof(frame));
	e->net_counters.arp_replies_sent++;
}

static void rx_echo(struct engine *e, const struct net_packet *p, const struct net_ip4 *ip)
{
	size_t len;

	if (!net_ratelimit_take(&e->icmp_limit, e->now_us)) {
		e->net_counters.icmp_rate_limited++;
		return;
	}
	len = net_icmp_build_echo_reply(e->scratch, sizeof(e->scratch), p, ip, e->ip_id++);
	if (!len) {
		e->net_counters.icmp_echo_too_long++;
		return;
	}
	engine_tx_answer(e, e->scratch, len);
	e->net_counters.icmp_echo_replies_sent++;
}

static void rx_icmp(struct engine *e, const struct net_packet *p, const struct net_ip4 *ip)
{
	struct net_icmp icmp;
	enum net_drop why = net_icmp_parse(&icmp, ip, e->cfg.iface);

	if (why != NET_DROP_NONE) {
		net_drop_count(&e->net_counters, why);
		return;
	}
	if (icmp.kind == NET_ICMP_ECHO) {
		rx_echo(e, p, ip);
		return;
	}
	rx_icmp_error(e, &icmp);
}

/* An error of either family about a segment of ours. */
void rx_icmp_error(struct engine *e, const struct net_icmp *icmp)
{
	e->net_counters.icmp_errors_received++;
	flow_icmp(e, &icmp->key, icmp->seq, icmp->error_errno,
		icmp->kind == NET_ICMP_TOO_BIG ? icmp->mtu_bytes : 0);
}

static void add_item(struct engine *e, struct rx_item *item)
{
	item->hash = tcp_table_hash(&e->table, &item->seg.key);
	item->guess = (tcp_ref)TCP_REF_NONE;
	item->frame = e->frame;
	tcp_table_prefetch(&e->table, item->hash);
	e->rx_count++;
}

/* A TCP segment whose checksum is right: acted on with the rest of its burst. */
void rx_segment(struct engine *e, const struct rx_l4 *l4)
{
	struct rx_item *item = &e->rx_items[e->rx_count];
	struct tcp_segment *seg = &item->seg;
	enum tcp_drop reason = TCP_DROP_NONE;

	if (tcp_segment_parse(seg, l4->data, l4->len_bytes, &reason)) {
		tcp_drop_count(&e->tcp_counters, reason);
		return;
	}
	seg->ecn = l4->ecn;
	seg->key.local = l4->dst;
	seg->key.remote = l4->src;
	seg->key.lport = (uint16_t)(l4->data[2] << 8 | l4->data[3]);
	seg->key.rport = (uint16_t)(l4->data[0] << 8 | l4->data[1]);
	add_item(e, item);
}

static void rx_tcp(struct engine *e, const struct net_ip4 *ip)
{
	enum net_drop why = net_ip4_tcp_check(ip);

	if (why != NET_DROP_NONE) {
		net_drop_count(&e->net_counters, why);
		return;
	}
	rx_segment(e, &(struct rx_l4){
			      .data = ip->l4,
			      .len_bytes = ip->l4_len_bytes,
			      .src = net_addr_from_ip4(ip->src_be),
			      .dst = net_addr_from_ip4(ip->dst_be),
			      .ecn = ip->tos & 3,
		      });
}

/* What the port says of a frame, for net. */
static uint32_t rx_flags(const struct nic_frame *f)
{
	uint32_t flags =
		f->checksum == NIC_CHECKSUM_GOOD ? NET_RX_IP4_CSUM_OK | NET_RX_L4_CSUM_OK : 0;

	if (f->vlan_stripped)
		flags |= net_rx_vlan(f->vlan_tci);
	if (f->origin == NIC_REASSEMBLED)
		flags |= NET_RX_REASSEMBLED;
	if (f->origin == NIC_LOOPED)
		flags |= NET_RX_LOOPED;
	return flags;
}

static void rx_packet(struct engine *e, const struct nic_frame *f)
{
	struct net_packet p;
	struct net_ip4 ip;
	enum net_drop why = net_packet_parse(&p, f->data, f->len_bytes, e->cfg.iface, rx_flags(f));

	if (why == NET_DROP_NONE && p.ethertype == NET_ETHERTYPE_ARP) {
		rx_arp(e, &p);
		return;
	}
	if (why == NET_DROP_NONE && p.ethertype == NET_ETHERTYPE_IP6) {
		rx_ip6(e, &p);
		return;
	}
	if (why == NET_DROP_NONE)
		why = net_ip4_parse(&ip, &p, e->cfg.iface);
	if (why == NET_DROP_ip4_fragment && e->frags) {
		rx_fragment4(e, &p, &ip);
		return;
	}
	if (why != NET_DROP_NONE) {
		net_drop_count(&e->net_counters, why);
		return;
	}
	if (ip.proto == NET_PROTO_TCP)
		rx_tcp(e, &ip);
	else
		rx_icmp(e, &p, &ip);
}

static void fetch_lines(const void *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += SHM_CACHE_LINE)
		__builtin_prefetch((const uint8_t *)at + i);
}

/* The connections of all items, then their socks. */
static void fetch_items(struct engine *e)
{
	struct tcp_conn *c[NIC_BURST_MAX];

	for (uint32_t i = 0; i < e->rx_count; i++) {
		tcp_ref ref = tcp_table_guess(&e->table, e->rx_items[i].hash);

		e->rx_items[i].guess = ref;
		c[i] = NULL;
		if (ref == (tcp_ref)TCP_REF_NONE || tcp_ref_kind(ref) != TCP_KIND_CONN)
			continue;
		c[i] = conn_at(e, tcp_ref_idx(ref));
		fetch_lines(c[i], sizeof(*c[i]));
	}
	for (uint32_t i = 0; i < e->rx_count; i++)
		if (c[i] && conn_sock(e, c[i]))
			fetch_lines(conn_sock(e, c[i]), sizeof(struct sock));
}

/* Acts on the segments that the frames since the last call have brought. */
static void run_items(struct engine *e)
{
	if (e->rx_count > 1)
		fetch_items(e);
	for (uint32_t i = 0; i < e->rx_count; i++) {
		const struct rx_item *item = &e->rx_items[i];

		e->frame = item->frame;
		flow_segment(e, &item->seg, item->hash, item->guess);
	}
	e->rx_count = 0;
	e->frame = NULL;
}

static void add_frame(struct engine *e, const struct nic_frame *f)
{
	e->frame = f;
	rx_packet(e, f);
}

void rx_frame(struct engine *e, const struct nic_frame *f)
{
	add_frame(e, f);
	run_items(e);
}

unsigned int engine_rx(struct engine *e)
{
	unsigned int total = 0;

	while (total < RX_FRAMES_PER_TURN) {
		unsigned int n = nic_rx_burst(e->cfg.port, e->cfg.id, e->frames, NIC_BURST_MAX);

		for (unsigned int i = 0; i < n; i++)
			add_frame(e, &e->frames[i]);
		run_items(e);
		nic_rx_release(e->cfg.port, e->cfg.id, e->frames, n);
		total += n;
		if (n < NIC_BURST_MAX)
			break;
	}
	e->counters.rx_frames += total;
	return total;
}
