/* Frames out: from a tcp_out to a frame that the port takes.
 *
 * Output runs once per due connection per turn. The next hop is resolved before tcp_output()
 * is asked, so that a segment is not made only to be dropped: a connection whose neighbour is
 * being resolved waits in a list of its own until the neighbour table changes. A neighbour
 * that does not answer fails an active open; an established connection sends into the void
 * and lets its retransmission timer decide.
 *
 * An answer that belongs to no connection (SYN|ACK, RST) cannot be made again, so it is held
 * itself until the neighbour is known, else whoever missed it would wait a second to repeat
 * itself. A few are held, and few of those for one neighbour: with SYNs from invented addresses
 * on link anybody can fill these places, and then it is as if there were none. The sender's MAC in
 * the SYN's frame would be there at once, but is what an ARP spoofer writes there: believing it
 * would let a host on the link divert answers meant for its neighbour without the neighbour's
 * having a say, which the request gives it.
 */
#include "internal.h"

#include <net/arp.h>
#include <net/ip6.h>
#include <net/wire.h>
#include <tcp/siphash.h>

#include <errno.h>
#include <string.h>

enum {
	TCP_HLEN = 20,
	GATHER_MAX = 2048,
	HOP_REMEMBERED_US = 500000, /* net_neigh_generation() asks for less than a second */
};

/* A whole frame without TCP payload. */
void engine_tx_frame(struct engine *e, const uint8_t *frame, size_t len)
{
	size_t head = len < NIC_HEADERS_MAX ? len : NIC_HEADERS_MAX;

	engine_tx_parts(e, frame, head, frame + head, len - head);
}

/* The same in two pieces, the first of at most NIC_HEADERS_MAX. */
void engine_tx_parts(struct engine *e, const uint8_t *head, size_t head_len, const uint8_t *rest,
	size_t rest_len)
{
	struct nic_gather gather = {.data = rest, .len_bytes = (uint32_t)rest_len};
	struct nic_tx_frame f = {
		.headers = head,
		.headers_len = (uint16_t)head_len,
		.gather = &gather,
		.gather_count = rest_len ? 1 : 0,
		.payload_len = (uint32_t)rest_len,
	};

	if (nic_tx(e->cfg.port, e->cfg.id, &f))
		e->counters.tx_no_buffer++;
}

/* Asks for the MAC of addr, by ARP or ND; `dst` is the broadcast address or the MAC to confirm. */
static void send_request(struct engine *e, const struct net_addr *addr, const struct net_mac *dst)
{
	uint8_t frame[NET_ARP_FRAME_LEN];

	if (!net_addr_is_ip4(addr)) {
		engine_nd_solicit(e, addr, dst);
		return;
	}
	if (!net_arp_build_request(frame, e->cfg.iface, net_addr_to_ip4(addr), dst))
		return;
	engine_tx_frame(e, frame, sizeof(frame));
	e->net_counters.arp_requests_sent++;
}

void engine_neigh_tick(struct engine *e)
{
	struct net_neigh_request req[64];
	unsigned int n = net_neigh_tick(e->cfg.neigh, e->now_us, req, 64);

	for (unsigned int i = 0; i < n; i++)
		send_request(e, &req[i].addr, &req[i].dst);
}

/* Tells the wire about our addresses, once, at the start. */
void engine_announce(struct engine *e)
{
	uint8_t frame[NET_ARP_FRAME_LEN];

	for (unsigned int i = 0; i < e->cfg.iface->addr_count; i++) {
		net_arp_build_gratuitous(frame, e->cfg.iface, e->cfg.iface->addr[i].ip_be);
		engine_tx_frame(e, frame, sizeof(frame));
	}
}

/* The MAC of the next hop towards key->remote: FOUND, NEED_RESOLVE (under way), FAILED. Our own
 * MAC, which no neighbour can have, leads to ourselves.
 * `stranger`: the answer is to somebody who is not our connection, and who shall not use up
 * the table's incomplete entries. */
static enum net_neigh_result next_hop(struct engine *e, const struct net_tuple *key, bool stranger,
	struct net_hop *hop, struct net_mac *mac)
{
	enum net_neigh_result r;
	int rc;

	if (net_route_find(e->cfg.iface, &key->remote, hop)) {
		e->net_counters.route_unreachable++;
		return NET_NEIGH_FAILED;
	}
	if (hop->local) {
		*mac = e->cfg.iface->mac;
		return NET_NEIGH_FOUND;
	}
	r = net_neigh_lookup(e->cfg.neigh, &hop->next_hop, e->now_us, mac);
	if (r != NET_NEIGH_NEED_RESOLVE)
		return r;
	rc = stranger ? net_neigh_resolve_stranger(e->cfg.neigh, &hop->next_hop, e->now_us)
		      : net_neigh_resolve(e->cfg.neigh, &hop->next_hop, e->now_us);
	if (rc == -ENOBUFS)
		e->net_counters.neigh_full++;
	if (rc > 0)
		send_request(e, &hop->next_hop, &net_mac_broadcast);
	return rc < 0 ? NET_NEIGH_FAILED : NET_NEIGH_NEED_RESOLVE;
}

static struct hop *hop_of(struct engine *e, const struct net_addr *remote)
{
	return &e->hops[net_addr_to_ip4(remote) * UINT32_C(2654435761) >> (32 - HOPS_LOG2)];
}

/* Whether *h is what was found for that address a moment ago. */
static bool hop_holds(const struct engine *e, const struct hop *h, const struct net_addr *remote,
	uint64_t generation)
{
	return h->generation == generation && e->now_us < h->until_us &&
	       net_addr_equal(&h->remote, remote);
}

/* next_hop() for a connection, by what is remembered; only connections have it remembered. */
static enum net_neigh_result remembered_hop(
	struct engine *e, const struct net_tuple *key, struct net_mac *mac)
{
	uint64_t generation = net_neigh_generation(e->cfg.neigh);
	struct hop *h = hop_of(e, &key->remote);
	enum net_neigh_result r;
	struct net_hop hop;

	if (hop_holds(e, h, &key->remote, generation)) {
		*mac = h->mac;
		return NET_NEIGH_FOUND;
	}
	r = next_hop(e, key, false, &hop, mac);
	if (r == NET_NEIGH_FOUND)
		*h = (struct hop){.remote = key->remote,
			.generation = generation,
			.until_us = e->now_us + HOP_REMEMBERED_US,
			.mac = *mac};
	return r;
}

static void build_ip4(struct engine *e, const struct tcp_out *out, uint16_t l4_len, uint8_t *h)
{
	struct net_ip4_out ip = {
		.src_be = net_addr_to_ip4(&out->key.local),
		.dst_be = net_addr_to_ip4(&out->key.remote),
		.payload_len_bytes = l4_len,
		.id = e->ip_id++,
		.proto = NET_PROTO_TCP,
		.tos = out->ecn,
	};

	net_ip4_build_unsummed(h, &ip);
}

/* RFC 6437: the same in all packets of a flow, whichever entry stands for it, and not to be
 * guessed. It does not change with a retransmission time-out, by which Linux looks for another
 * path. */
static uint32_t flow_label(const struct engine *e, const struct net_tuple *key)
{
	if (!e->cfg.flow_labels)
		return 0;
	return (uint32_t)tcp_siphash24(e->cfg.label_key, key, sizeof(*key)) & NET_IP6_LABEL_MASK;
}

static void build_ip6(struct engine *e, const struct tcp_out *out, uint16_t l4_len, uint8_t *h)
{
	uint8_t hop_limit = e->cfg.iface->hop_limit6;
	struct net_ip6_out ip = {
		.src = &out->key.local,
		.dst = &out->key.remote,
		.payload_len_bytes = l4_len,
		.proto = NET_PROTO_TCP,
		.flow_label = flow_label(e, &out->key),
		.hop_limit = hop_limit ? hop_limit : NET_IP6_HOP_LIMIT,
		.tclass = out->ecn,
	};

	net_ip6_build(h, &ip);
}

/* Ethernet, IP and TCP headers of one segment, the last at f->l4_offset. Checksums are left to
 * the port (nic.h). */
static void build_headers(struct engine *e, const struct tcp_out *out, const struct net_mac *dst,
	uint8_t *h, struct nic_tx_frame *f)
{
	bool ip4 = net_addr_is_ip4(&out->key.remote);
	uint16_t tcp_hlen = TCP_HLEN + out->opt_len;
	uint16_t l4_len = (uint16_t)(tcp_hlen + out->len);
	uint8_t *tcp;

	f->l3_offset = NET_ETH_HLEN;
	f->l4_offset = (uint16_t)(NET_ETH_HLEN + (ip4 ? NET_IP4_HLEN : NET_IP6_HLEN));
	f->headers_len = f->l4_offset + tcp_hlen;
	tcp = h + f->l4_offset;
	net_eth_build(h, dst, &e->cfg.iface->mac, ip4 ? NET_ETHERTYPE_IP4 : NET_ETHERTYPE_IP6);
	if (ip4)
		build_ip4(e, out, l4_len, h + NET_ETH_HLEN);
	else
		build_ip6(e, out, l4_len, h + NET_ETH_HLEN);
	net_put16(tcp, out->key.lport);
	net_put16(tcp + 2, out->key.rport);
	net_put32(tcp + 4, out->seq);
	net_put32(tcp + 8, out->ack);
	tcp[12] = (uint8_t)(tcp_hlen / 4 << 4);
	tcp[13] = out->flags;
	net_put16(tcp + 14, out->wnd);
	net_put32(tcp + 16, 0);
	memcpy(tcp + TCP_HLEN, out->opt, sizeof(out->opt)); /* all of them: a length costs more */
}

static void send_segment(
	struct engine *e, struct tcp_conn *c, const struct tcp_out *out, const struct net_mac *mac)
{
	struct nic_gather gather[GATHER_MAX];
	uint8_t headers[NIC_HEADERS_MAX];
	struct nic_tx_frame f = {
		.headers = headers,
		.mss_bytes = out->len > out->mss_bytes ? out->mss_bytes : 0,
		.payload_len = out->len,
		.gather = gather,
	};

	if (out->len) {
		f.gather_count = (uint16_t)txq_gather(e, c, out->pos, out->len, gather, GATHER_MAX);
		if (!f.gather_count) {
			e->counters.tx_payload_missing++;
			return;
		}
	}
	build_headers(e, out, mac, headers, &f);
	if (net_mac_equal(mac, &e->cfg.iface->mac)) {
		own_send(e, &f);
		return;
	}
	if (nic_tx(e->cfg.port, e->cfg.id, &f))
		e->counters.tx_no_buffer++;
	else
		e->counters.tx_segments++;
}

/* A place for a reply to `via`: NULL if that neighbour or all of them have their share. */
static struct held_reply *held_place(struct engine *e, const struct net_addr *via)
{
	struct held_reply *place = NULL;
	unsigned int same = 0;

	for (unsigned int i = 0; i < HELD_REPLIES_MAX; i++) {
		struct held_reply *h = &e->held[i];

		if (e->now_us >= h->until_us)
			place = h;
		else if (net_addr_equal(&h->via, via))
			same++;
	}
	return same < HELD_REPLIES_PER_NEIGH ? place : NULL;
}

static void hold_reply(struct engine *e, const struct tcp_out *out, const struct net_addr *via)
{
	struct held_reply *h = held_place(e, via);

	if (!h) {
		e->counters.tx_no_neighbour++;
		return;
	}
	*h = (struct held_reply){
		.out = *out, .via = *via, .until_us = e->now_us + HELD_REPLY_LIFE_US};
	e->held_until_us = h->until_us;
	e->counters.replies_held++;
}

/* The neighbour table has changed: some may go now, and those whose neighbour is silent are over.
 */
static void send_held(struct engine *e)
{
	struct net_mac mac;

	for (unsigned int i = 0; i < HELD_REPLIES_MAX; i++) {
		struct held_reply *h = &e->held[i];
		enum net_neigh_result r;

		if (e->now_us >= h->until_us)
			continue;
		r = net_neigh_lookup(e->cfg.neigh, &h->via, e->now_us, &mac);
		if (r == NET_NEIGH_NEED_RESOLVE)
			continue;
		h->until_us = 0;
		if (r == NET_NEIGH_FOUND)
			send_segment(e, NULL, &h->out, &mac);
		else
			e->counters.tx_no_neighbour++;
	}
}

/* A segment that belongs to no connection. */
void engine_tx_reply(struct engine *e, const struct tcp_out *out)
{
	const struct hop *h = hop_of(e, &out->key.remote);
	struct net_mac mac;
	struct net_hop hop;

	if (hop_holds(e, h, &out->key.remote, net_neigh_generation(e->cfg.neigh))) {
		send_segment(e, NULL, out, &h->mac);
		return;
	}
	switch (next_hop(e, &out->key, true, &hop, &mac)) {
	case NET_NEIGH_FOUND:
		send_segment(e, NULL, out, &mac);
		break;
	case NET_NEIGH_NEED_RESOLVE:
		hold_reply(e, out, &hop.next_hop);
		break;
	default:
		e->counters.tx_no_neighbour++;
	}
}

/* Segments that are cut here count by the frames they become: a connection's share of a turn is the
 * same on any port. */
unsigned int engine_segments_per_output(const struct engine *e)
{
	uint32_t cut_bytes = e->cfg.tcp.tso_max_bytes, mss = e->cfg.tcp.mss_max_bytes;
	uint32_t frames = cut_bytes / mss;

	if (frames <= 1 || cut_bytes <= nic_port_caps(e->cfg.port)->tso_max_bytes)
		return SEGMENTS_PER_OUTPUT;
	return (SEGMENTS_PER_OUTPUT + frames - 1) / frames;
}

static void neigh_wait(struct engine *e, struct tcp_conn *c)
{
	struct conn_list *l = &e->neigh_waiters;

	c->due_flags |= CONN_WAITS_NEIGH;
	e->waiter_prev[conn_idx(e, c)] = l->tail;
	conn_list_push(e, l, c);
}

/* From the midst of the list, of which one client may fill a lot. */
void engine_neigh_unwait(struct engine *e, struct tcp_conn *c)
{
	struct conn_list *l = &e->neigh_waiters;
	uint32_t prev = e->waiter_prev[conn_idx(e, c)];

	c->due_flags &= (uint16_t)~CONN_WAITS_NEIGH;
	if (prev == NONE)
		l->head = c->due_next;
	else
		conn_at(e, prev)->due_next = c->due_next;
	if (c->due_next == NONE)
		l->tail = prev;
	else
		e->waiter_prev[c->due_next] = prev;
}

static void output_conn(struct engine *e, struct tcp_conn *c)
{
	struct tcp_out out[SEGMENTS_PER_OUTPUT];
	struct net_mac mac;
	enum net_neigh_result hop = remembered_hop(e, &c->entry.key, &mac);
	unsigned int n;

	if (hop == NET_NEIGH_NEED_RESOLVE && c->state != TCP_CLOSED) {
		neigh_wait(e, c);
		flow_output_waits(e, c);
		return;
	}
	if (hop == NET_NEIGH_FAILED && c->state == TCP_SYN_SENT) {
		flow_events(e, c, tcp_icmp_error(&e->tcp, c, c->iss, EHOSTUNREACH, e->now_us));
		return;
	}
	n = tcp_output(&e->tcp, c, e->now_us, out, e->segments_per_output);
	for (unsigned int i = 0; i < n; i++) {
		if (hop == NET_NEIGH_FOUND)
			send_segment(e, c, &out[i], &mac);
		else
			e->counters.tx_no_neighbour++;
	}
	if (n == e->segments_per_output && c->state != TCP_CLOSED)
		flow_due(e, c);
	flow_after_output(e, c);
}

static void wake_waiters(struct engine *e)
{
	uint64_t generation = net_neigh_generation(e->cfg.neigh);
	struct tcp_conn *c;

	if (generation == e->neigh_generation)
		return;
	e->neigh_generation = generation;
	if (e->now_us < e->held_until_us)
		send_held(e);
	while (e->neigh_waiters.head != NONE) {
		c = conn_at(e, e->neigh_waiters.head);
		engine_neigh_unwait(e, c);
		flow_due(e, c);
	}
}

/* Runs output for the connections that are due, each once; returns how many. */
unsigned int engine_output(struct engine *e)
{
	unsigned int n = 0;
	uint32_t last;
	struct tcp_conn *c;

	wake_waiters(e);
	last = e->due.tail;
	while (last != NONE && n < OUTPUTS_PER_TURN && (c = conn_list_pop(e, &e->due))) {
		bool stop = conn_idx(e, c) == last;

		c->due_flags &= (uint16_t)~CONN_DUE;
		n++;
		if (c->due_flags & CONN_RELEASED)
			shm_arena_free(&e->conns, conn_idx(e, c));
		else
			output_conn(e, c);
		if (stop)
			break;
	}
	return n;
}
