/* Fragments, in and out.
 *
 * What net/frag.h has put together is received again as a frame of its own. The port may give the
 * fragments of one packet to several engines, as its hash sees ports in the first of them only: so
 * they go to the engine that a hash of their name chooses (handover.c). That engine need not be the
 * one with the flow; handover_pass() sends what nobody there knows on to the next.
 *
 * Who sent a first fragment and not the rest is told of it. Only answers to pings are ever sent in
 * fragments: what was asked in several is answered in several.
 */
#include "internal.h"

#include <net/frag.h>
#include <net/icmp.h>
#include <net/icmp6.h>
#include <tcp/siphash.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum {
	FRAGS_TICK_US = 1000000,
	IP6_FRAGMENT_BYTES = NET_IP6_HLEN + NET_IP6_FRAGMENT_HLEN,
};

/* Anonymous memory, paid for as it is touched. */
int frags_init(struct engine *e)
{
	void *mem;

	if (!e->cfg.reassembly)
		return 0;
	mem = mmap(NULL, net_frag_size(), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		return -ENOMEM;
	e->frags = net_frag_init(mem, &e->net_counters);
	return 0;
}

void frags_fini(struct engine *e)
{
	if (e->frags)
		munmap(e->frags, net_frag_size());
}

/* Tells the source, by the limit for all answers to strangers. */
static void tell_timeout(struct engine *e, const struct net_frag_first *first)
{
	uint8_t frame[NET_ETH_HLEN + NET_IP6_MTU_MIN];
	size_t len = NET_ICMP_REASSEMBLY_FRAME_LEN;

	if (first->frame[NET_ETH_HLEN] >> 4 == 6)
		len = net_icmp6_build_reassembly_timeout(frame, first, e->cfg.iface);
	else if (!net_icmp_build_reassembly_timeout(frame, first, e->ip_id++))
		len = 0;
	if (len == 0)
		return;
	if (!net_ratelimit_take(&e->icmp_limit, e->now_us)) {
		e->net_counters.icmp_rate_limited++;
		return;
	}
	engine_tx_frame(e, frame, len);
	e->net_counters.frag_timeouts_told++;
}

static void expire(struct engine *e)
{
	struct net_frag_first first;

	while (net_frag_expire(e->frags, e->now_us, &first))
		tell_timeout(e, &first);
}

void frags_tick(struct engine *e)
{
	if (!e->frags || e->now_us < e->frags_tick_us)
		return;
	e->frags_tick_us = e->now_us + FRAGS_TICK_US;
	expire(e);
}

uint64_t frags_next_us(const struct engine *e)
{
	return e->frags && net_frag_waits(e->frags) ? e->frags_tick_us : UINT64_MAX;
}

/* -- in ---------------------------------------------------------------------------------------- */

/* What the fragments of a packet have in common. */
struct name {
	struct net_addr src, dst;
	uint32_t id;
};
static_assert(sizeof(struct name) == 36, "hashed as raw bytes: no padding");

/* True: the fragment at hand has gone to the engine that is to have it. */
static bool is_anothers(struct engine *e, const struct name *name)
{
	uint64_t hash;
	uint16_t owner;

	if (e->cfg.count == 1)
		return false;
	hash = tcp_siphash13(e->cfg.hash_key, name, sizeof(*name));
	owner = (uint16_t)(hash % e->cfg.count);
	return owner != e->cfg.id && handover_send(e, owner);
}

/* Its segment is acted on before the table is used again. */
static void receive(struct engine *e, enum net_drop why, const struct net_frag_whole *whole)
{
	struct nic_frame f = {
		.data = whole->frame,
		.len_bytes = whole->len_bytes,
		.vlan_stripped = true,
		.vlan_tci = e->cfg.iface->vlan_id,
		.origin = NIC_REASSEMBLED,
	};

	net_drop_count(&e->net_counters, why);
	if (f.data)
		rx_frame(e, &f);
}

void rx_fragment4(struct engine *e, const struct net_packet *p, const struct net_ip4 *ip)
{
	struct name name = {net_addr_from_ip4(ip->src_be), net_addr_from_ip4(ip->dst_be), ip->id};
	struct net_frag_whole whole;
	enum net_drop why;

	if (is_anothers(e, &name))
		return;
	expire(e);
	why = net_frag_input4(e->frags, p, ip, e->now_us, &whole);
	receive(e, why, &whole);
}

void rx_fragment6(struct engine *e, const struct net_packet *p, const struct net_ip6 *ip)
{
	struct name name = {ip->src, ip->dst, ip->frag_id};
	struct net_frag_whole whole;
	enum net_drop why;

	if (is_anothers(e, &name))
		return;
	expire(e);
	why = net_frag_input6(e->frags, p, ip, e->now_us, &whole);
	receive(e, why, &whole);
}

/* -- out --------------------------------------------------------------------------------------- */

static void send_fragments4(struct engine *e, const uint8_t *frame, size_t len, uint32_t mtu)
{
	const uint8_t *payload = frame + NET_ETH_HLEN + NET_IP4_HLEN;
	uint32_t total = (uint32_t)(len - NET_ETH_HLEN - NET_IP4_HLEN);
	uint32_t step = (mtu - NET_IP4_HLEN) & ~7u;
	uint8_t head[NET_ETH_HLEN + NET_IP4_HLEN];

	memcpy(head, frame, sizeof(head));
	for (uint32_t off = 0; off < total; off += step) {
		uint32_t n = total - off < step ? total - off : step;

		net_ip4_make_fragment(
			head + NET_ETH_HLEN, (uint16_t)off, (uint16_t)n, off + n < total);
		engine_tx_parts(e, head, sizeof(head), payload + off, n);
	}
}

/* The identification is not to be guessed (RFC 7739). */
static void send_fragments6(struct engine *e, const uint8_t *frame, size_t len, uint32_t mtu)
{
	const uint8_t *payload = frame + NET_ETH_HLEN + NET_IP6_HLEN;
	uint32_t total = (uint32_t)(len - NET_ETH_HLEN - NET_IP6_HLEN);
	uint32_t step = (mtu - IP6_FRAGMENT_BYTES) & ~7u;
	uint64_t number = e->ip6_id++;
	uint32_t id = (uint32_t)tcp_siphash24(e->cfg.label_key, &number, sizeof(number));
	uint8_t head[NET_ETH_HLEN + IP6_FRAGMENT_BYTES];

	for (uint32_t off = 0; off < total; off += step) {
		uint32_t n = total - off < step ? total - off : step;

		memcpy(head, frame, NET_ETH_HLEN + NET_IP6_HLEN);
		net_ip6_make_fragment(
			head + NET_ETH_HLEN, id, (uint16_t)off, (uint16_t)n, off + n < total);
		engine_tx_parts(e, head, sizeof(head), payload + off, n);
	}
}

/* A frame that may be longer than the MTU; each piece takes a token of the limit for answers. */
void engine_tx_answer(struct engine *e, const uint8_t *frame, size_t len)
{
	bool ip6 = frame[NET_ETH_HLEN] >> 4 == 6;
	uint32_t packet = (uint32_t)(len - NET_ETH_HLEN);
	uint32_t mtu = ip6 && e->cfg.iface->mtu6_bytes ? e->cfg.iface->mtu6_bytes
						       : e->cfg.iface->mtu_bytes;

	if (packet <= mtu) {
		engine_tx_frame(e, frame, len);
		return;
	}
	for (uint32_t rest = packet; rest > mtu; rest -= mtu) {
		if (net_ratelimit_take(&e->icmp_limit, e->now_us))
			continue;
		e->net_counters.icmp_rate_limited++;
		return;
	}
	if (ip6)
		send_fragments6(e, frame, len, mtu);
	else
		send_fragments4(e, frame, len, mtu);
	e->net_counters.frag_sent++;
}
