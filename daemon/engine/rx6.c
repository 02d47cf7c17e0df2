/* IPv6 frames in, and what neighbour discovery wants to send.
 *
 * What ND decides on is shared by all engines (net/nd_host.h); each has a copy of the interface
 * that results, and takes a new one at the start of a turn when there is one. Without a
 * net_nd_host (simulator, fuzzers) the interface is as configured and never changes; then there
 * is no ND input, and neighbours must be static.
 */
#include "internal.h"

#include <net/icmp6.h>
#include <net/nd_host.h>

#include <string.h>

enum {
	HEADERS_BYTES = 60, /* IPv6 and TCP, without options */
	MLD_HOP_LIMIT = 1,
};

/* -- the interface ----------------------------------------------------------------------------- */

/* Takes what nd_host has published; at the start, and then at the beginning of turns. */
void engine_iface_refresh(struct engine *e)
{
	uint32_t mtu;

	if (!e->cfg.nd || net_nd_host_generation(e->cfg.nd) == e->iface_generation)
		return;
	e->iface_generation = net_nd_host_iface(e->cfg.nd, &e->iface);
	e->cfg.iface = &e->iface;
	memset(e->hops, 0, sizeof(e->hops)); /* routes may have changed */
	mtu = e->iface.mtu6_bytes ? e->iface.mtu6_bytes : e->iface.mtu_bytes;
	e->cfg.tcp.mss6_max_bytes = mtu - HEADERS_BYTES;
}

/* -- out
 * ------------------------------------------------------------------------------------------- */

void engine_nd_solicit(struct engine *e, const struct net_addr *target, const struct net_mac *dst)
{
	uint8_t frame[NET_ND_FRAME_MAX];
	size_t len = net_nd_build_solicit(frame, e->cfg.iface, target, dst);

	if (!len)
		return;
	engine_tx_frame(e, frame, len);
	e->net_counters.nd_solicits_sent++;
}

static void send_mld_report(struct engine *e, bool joining)
{
	uint8_t frame[NET_ND_FRAME_MAX];
	size_t len = net_nd_build_mld_report(frame, e->cfg.iface, joining);

	if (!len)
		return;
	engine_tx_frame(e, frame, len);
	e->net_counters.mld_reports_sent++;
}

static void send_advert(struct engine *e, const struct net_nd_answer *answer)
{
	uint8_t frame[NET_ND_FRAME_MAX];

	engine_tx_frame(e, frame, net_nd_build_advert(frame, e->cfg.iface, answer));
	e->net_counters.nd_adverts_sent++;
}

static void announce(struct engine *e, const struct net_addr *target)
{
	struct net_nd_answer all = {
		.target = *target,
		.dst = net_addr6_all_nodes,
		.mac = net_mac_of_group6(&net_addr6_all_nodes),
	};

	send_advert(e, &all);
}

static void probe(struct engine *e, const struct net_addr *target)
{
	uint8_t frame[NET_ND_FRAME_MAX];

	engine_tx_frame(e, frame, net_nd_build_probe(frame, e->cfg.iface, target));
	e->net_counters.nd_solicits_sent++;
}

static void solicit_routers(struct engine *e)
{
	uint8_t frame[NET_ND_FRAME_MAX];

	engine_tx_frame(e, frame, net_nd_build_router_solicit(frame, e->cfg.iface));
	e->net_counters.nd_router_solicits_sent++;
}

void engine_nd_tick(struct engine *e)
{
	struct net_nd_todo todo[NET_ND_TODO_MAX];
	unsigned int n = e->cfg.nd ? net_nd_host_tick(e->cfg.nd, e->now_us, todo) : 0;

	engine_iface_refresh(e);
	for (unsigned int i = 0; i < n; i++) {
		switch (todo[i].act) {
		case NET_ND_ACT_PROBE:
			probe(e, &todo[i].target);
			break;
		case NET_ND_ACT_ANNOUNCE:
			announce(e, &todo[i].target);
			break;
		case NET_ND_ACT_ROUTER_SOLICIT:
			solicit_routers(e);
			break;
		case NET_ND_ACT_JOIN:
			send_mld_report(e, true);
			break;
		}
	}
}

/* -- in ---------------------------------------------------------------------------------------- */

static void rx_nd(struct engine *e, const struct net_packet *p, const struct net_ip6 *ip)
{
	struct net_nd_answer answer;
	struct net_nd nd;
	bool answer_due = false;
	enum net_drop why = net_nd_parse(&nd, p, ip, e->cfg.iface);

	if (why == NET_DROP_NONE && e->cfg.nd)
		why = net_nd_host_input(e->cfg.nd, &nd, e->now_us, &answer, &answer_due);
	net_drop_count(&e->net_counters, why);
	if (why == NET_DROP_NONE && nd.type == NET_ND_ROUTER_ADVERT)
		e->net_counters.nd_router_adverts++;
	if (answer_due)
		send_advert(e, &answer);
}

static void rx_echo(struct engine *e, const struct net_packet *p, const struct net_ip6 *ip)
{
	size_t len =
		net_icmp6_build_echo_reply(e->scratch, sizeof(e->scratch), p, ip, e->cfg.iface);

	if (!len) {
		e->net_counters.icmp_echo_too_long++;
		return;
	}
	engine_tx_answer(e, e->scratch, len);
	e->net_counters.icmp_echo_replies_sent++;
}

/* RFC 3810 section 6.2: only a router on the link asks. */
static void rx_mld_query(struct engine *e, const struct net_ip6 *ip)
{
	if (ip->hop_limit == MLD_HOP_LIMIT && net_addr_is_link_local6(&ip->src))
		send_mld_report(e, false);
	else
		e->net_counters.icmp6_ignored++;
}

static void rx_icmp6(struct engine *e, const struct net_packet *p, const struct net_ip6 *ip)
{
	struct net_icmp icmp;
	enum net_drop why = net_icmp6_parse(&icmp, ip, e->cfg.iface);

	if (why != NET_DROP_NONE) {
		net_drop_count(&e->net_counters, why);
		return;
	}
	if (icmp.kind == NET_ICMP_ND)
		rx_nd(e, p, ip);
	else if (icmp.kind == NET_ICMP_ERROR || icmp.kind == NET_ICMP_TOO_BIG)
		rx_icmp_error(e, &icmp);
	else if (!net_ratelimit_take(&e->icmp_limit, e->now_us))
		e->net_counters.icmp_rate_limited++;
	else if (icmp.kind == NET_ICMP_ECHO)
		rx_echo(e, p, ip);
	else
		rx_mld_query(e, ip);
}

void rx_ip6(struct engine *e, const struct net_packet *p)
{
	struct net_ip6 ip;
	enum net_drop why = net_ip6_parse(&ip, p, e->cfg.iface);

	if (why == NET_DROP_ip6_fragment && e->frags) {
		rx_fragment6(e, p, &ip);
		return;
	}
	if (why == NET_DROP_NONE && ip.proto == NET_PROTO_TCP)
		why = net_ip6_tcp_check(&ip);
	if (why != NET_DROP_NONE) {
		net_drop_count(&e->net_counters, why);
		return;
	}
	if (ip.proto == NET_PROTO_ICMP6) {
		rx_icmp6(e, p, &ip);
		return;
	}
	rx_segment(e, &(struct rx_l4){
			      .data = ip.l4,
			      .len_bytes = ip.l4_len_bytes,
			      .src = ip.src,
			      .dst = ip.dst,
			      .ecn = ip.tclass & 3,
		      });
}
