/* Fuzzes a whole engine from the wire, with an honest client behind it.
 *
 * The engine is host 0 of the simulator; the input plays the other side of the link. It is a
 * sequence of operations: raw frames; TCP segments for one of eight flows (four of IPv4 and four of
 * IPv6: two each to the listener, two in answer to active opens), whose numbers lie at or near what
 * the engine expects and whose checksums are right; ARP, neighbour discovery and ICMP; steps of the
 * clock; what the client does; commands of the main thread, and of an agent of congestion control.
 * After each turn the engine is audited (fuzz_support.h) and the simulator's own invariants are
 * checked. Payload is a function of the sequence number, so what the client reads can be told
 * wrong, and so can what the engine sends. In the end the client dies, time runs, and nothing may
 * be left.
 */
#include "fuzz_support.h"

#include <engine/internal.h>
#include <net/arp.h>
#include <net/checksum.h>
#include <net/icmp6.h>
#include <net/ip4.h>
#include <net/ip6.h>
#include <net/nd.h>
#include <net/wire.h>
#include <sim/sim_check.h>
#include <tcp/cc.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	START_US = 1000000000,
	FLOWS = 8,
	FLOW6 = 4, /* the first of IPv6 */
	FLOW_PORT = 1000,
	ACTIVE_FLOW = 2, /* the first that the client opens, of its family */
	LISTEN_PORT = 80,
	OPS_MAX = 400,
	TURNS_PER_STEP_MAX = 2000, /* without the clock moving */
	END_STEPS_MAX = 1000,
	PAYLOAD_MAX = 1460,
	SALT_OUT = 7,
	SALT_IN = 9,
};

/* One flow as the wire shows it to the peer. */
struct flow {
	uint16_t port; /* the engine's */
	uint32_t isn;
	uint32_t expected; /* the engine's last acknowledgement */
	uint32_t seen;	   /* behind what the engine has sent */
	uint32_t iss;
	uint32_t ts;
	bool iss_valid;
};

struct world {
	struct sim_link link;
	struct sim_host host;
	struct sim_client *client;
	struct sim_listener *listener;
	struct flow flow[FLOWS];
	uint64_t now_us;
	bool tainted; /* raw frames may have carried any payload */
	bool no_arp;
	bool refused;
	struct mtcp_agent_report report; /* the last that an agent was told */
};

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

static void send_frame(struct world *w, const uint8_t *frame, size_t len)
{
	sim_link_send(&w->link, 1, frame, (uint32_t)len);
}

/* -- what the engine sends ------------------------------------------------------------------- */

static void answer_arp(struct world *w, const uint8_t *frame)
{
	uint8_t reply[NET_ETH_MIN_LEN] = {0};

	if (w->no_arp || net_get16(frame + 20) != 1 || memcmp(frame + 38, "\x0a\0\0\2", 4))
		return;
	memcpy(reply, frame + 6, 6);
	memcpy(reply + 6, peer_mac, 6);
	memcpy(reply + 12, frame + 12, 8);
	net_put16(reply + 20, 2);
	memcpy(reply + 22, peer_mac, 6);
	memcpy(reply + 28, frame + 38, 4);
	memcpy(reply + 32, frame + 22, 10);
	send_frame(w, reply, sizeof(reply));
}

static void see_data(const struct flow *f, uint32_t seq, const uint8_t *payload, uint32_t len)
{
	uint32_t pos = seq - f->iss - 1;

	if (!f->iss_valid || pos >= INT32_MAX)
		return;
	for (uint32_t i = 0; i < len; i++)
		SIM_CHECK(payload[i] == fuzz_pattern(SALT_OUT, pos + i),
			"byte %u of port %u is wrong on the wire", pos + i, f->port);
}

static void see_tcp(struct world *w, const uint8_t *tcp, uint32_t tcp_len)
{
	uint32_t number = net_get16(tcp + 2) - FLOW_PORT;
	uint32_t hlen = (tcp[12] >> 4) * 4u;
	uint32_t len = tcp_len - hlen;
	uint32_t seq = net_get32(tcp + 4);
	struct flow *f;

	if (number >= FLOWS)
		return;
	f = &w->flow[number];
	if (tcp[13] & TCP_SYN) {
		f->port = net_get16(tcp);
		f->iss = seq;
		f->iss_valid = true;
	}
	if (f->port != net_get16(tcp))
		return; /* one that another active open has followed */
	if (tcp[13] & TCP_ACK)
		f->expected = net_get32(tcp + 8);
	f->seen = seq + len + !!(tcp[13] & TCP_SYN) + !!(tcp[13] & TCP_FIN);
	if (hlen == 32 && tcp[22] == 8)
		f->ts = net_get32(tcp + 24);
	see_data(f, seq + !!(tcp[13] & TCP_SYN), tcp + hlen, len);
}

/* What asks for our address of IPv6. */
static void answer_nd(struct world *w, const uint8_t *ip)
{
	struct net_iface peer = {.mtu_bytes = 1500};
	struct net_nd_answer answer = {.target = sim_ip6(1), .solicited = true};
	uint8_t frame[NET_ND_FRAME_MAX];

	if (w->no_arp || ip[NET_IP6_HLEN] != NET_ND_SOLICIT ||
		memcmp(ip + NET_IP6_HLEN + 8, answer.target.b, 16))
		return;
	memcpy(peer.mac.b, peer_mac, 6);
	memcpy(answer.dst.b, ip + 8, 16);
	memcpy(answer.mac.b, our_mac, 6);
	send_frame(w, frame, net_nd_build_advert(frame, &peer, &answer));
}

static void peer_receive(struct world *w)
{
	struct sim_frame *f;

	while ((f = sim_link_receive(&w->link, 1))) {
		uint16_t type = net_get16(f->data + 12);
		const uint8_t *ip = f->data + NET_ETH_HLEN;

		if (type == NET_ETHERTYPE_ARP)
			answer_arp(w, f->data);
		else if (type == NET_ETHERTYPE_IP4 && ip[9] == NET_PROTO_TCP)
			see_tcp(w, ip + 20, net_get16(ip + 2) - 20u);
		else if (type == NET_ETHERTYPE_IP6 && ip[6] == NET_PROTO_TCP)
			see_tcp(w, ip + NET_IP6_HLEN, net_get16(ip + 4));
		else if (type == NET_ETHERTYPE_IP6 && ip[6] == NET_PROTO_ICMP6)
			answer_nd(w, ip);
		free(f);
	}
}

/* -- turns ----------------------------------------------------------------------------------- */

static unsigned int turn(struct world *w)
{
	unsigned int work = engine_turn(w->host.engine, w->now_us);

	work += sim_host_messages(&w->host);
	fuzz_audit(w->host.engine);
	sim_check_turn(&w->host, w->now_us);
	peer_receive(w);
	return work + sim_client_poll(w->client);
}

static void settle(struct world *w)
{
	unsigned int n = 0;

	while (turn(w) || !engine_sleep_prepare(w->host.engine))
		SIM_CHECK(n++ < TURNS_PER_STEP_MAX, "the engine finds work for ever");
}

static void advance(struct world *w, uint64_t us)
{
	w->now_us += us;
	w->link.now_us = w->now_us;
}

/* -- what the peer sends ----------------------------------------------------------------------- */

static uint32_t near32(struct fuzz_input *in, uint32_t base)
{
	return base + (uint32_t)fuzz_delta(in);
}

/* Blocks near what the engine has sent, mostly in flight. */
static uint8_t fill_sack(struct fuzz_input *in, const struct flow *f, uint8_t *o)
{
	uint8_t blocks = (uint8_t)(fuzz_u8(in) % 4 + 1), len = (uint8_t)(2 + 8 * blocks);
	uint32_t at = f->seen;

	memcpy(o, "\1\1\5", 3);
	o[3] = len;
	for (uint8_t i = 0; i < blocks; i++) {
		uint32_t end = at - fuzz_u8(in) * 64u;
		uint32_t start = end - fuzz_u16(in) % 4096;

		net_put32(o + 4 + 8 * i, start);
		net_put32(o + 8 + 8 * i, end);
		at = i ? at : start;
	}
	return (uint8_t)(2 + len);
}

/* The peer's fast open cookie, as it could have got it. */
static uint8_t fill_cookie(const struct world *w, uint8_t *o)
{
	struct net_tuple key;

	memset(&key, 0, sizeof(key));
	key.local = net_addr_from_ip4(sim_ip_be(0));
	key.remote = net_addr_from_ip4(sim_ip_be(1));
	memcpy(o, "\1\1\42\12", 4);
	tcp_fastopen_make(&w->host.engine->tcp, &key, w->now_us, o + 4);
	return 12;
}

static uint8_t fill_options(const struct world *w, struct fuzz_input *in, const struct flow *f,
	uint8_t kind, bool is_syn, uint8_t *o)
{
	static const uint8_t syn[12] = {2, 4, 5, 180, 1, 3, 3, 4, 4, 2, 1, 0};
	const uint8_t *raw;
	size_t n;

	switch (kind) {
	case 1:
		if (!is_syn)
			return fill_sack(in, f, o);
		memcpy(o, syn, sizeof(syn));
		return sizeof(syn);
	case 2:
		memcpy(o, "\1\1\10\12", 4);
		net_put32(o + 4, fuzz_u16(in));
		net_put32(o + 8, f->ts);
		return is_syn && o[7] & 1 ? (uint8_t)(12 + fill_cookie(w, o + 12)) : 12;
	case 3:
		n = fuzz_bytes(in, fuzz_u8(in) % 41, &raw) & ~(size_t)3;
		memcpy(o, raw, n);
		return (uint8_t)n;
	default:
		return 0;
	}
}

/* Headers of a packet from the peer; returns where what it carries goes. */
static uint8_t *put_ip4(uint8_t *frame, uint32_t payload_len, uint8_t proto)
{
	uint8_t *ip = frame + NET_ETH_HLEN;
	uint16_t sum;

	net_put16(frame + 12, NET_ETHERTYPE_IP4);
	memset(ip, 0, 20);
	ip[0] = 0x45;
	net_put16(ip + 2, (uint16_t)(20 + payload_len));
	ip[8] = 64;
	ip[9] = proto;
	memcpy(ip + 12, "\x0a\0\0\2\x0a\0\0\1", 8);
	sum = net_checksum_fold(net_checksum_add(0, ip, 20));
	memcpy(ip + 10, &sum, 2);
	return ip + 20;
}

static uint8_t *put_ip6(uint8_t *frame, uint32_t payload_len, uint8_t proto)
{
	struct net_addr src = sim_ip6(1), dst = sim_ip6(0);
	struct net_ip6_out out = {
		.src = &src,
		.dst = &dst,
		.payload_len_bytes = (uint16_t)payload_len,
		.proto = proto,
		.hop_limit = 64,
	};

	net_put16(frame + 12, NET_ETHERTYPE_IP6);
	net_ip6_build(frame + NET_ETH_HLEN, &out);
	return frame + NET_ETH_HLEN + NET_IP6_HLEN;
}

static uint8_t *put_ip(uint8_t *frame, bool ip6, uint32_t payload_len, uint8_t proto)
{
	memcpy(frame, our_mac, 6);
	memcpy(frame + 6, peer_mac, 6);
	return ip6 ? put_ip6(frame, payload_len, proto) : put_ip4(frame, payload_len, proto);
}

/* Of TCP and ICMPv6; `at`: where in the header it lies. */
static void put_checksum(const uint8_t *frame, bool ip6, uint8_t *l4, uint32_t len, uint32_t at)
{
	const uint8_t *ip = frame + NET_ETH_HLEN;
	uint32_t src, dst, pseudo;
	uint16_t sum;

	memcpy(&src, ip + 12, 4);
	memcpy(&dst, ip + 16, 4);
	pseudo = ip6 ? net_checksum_pseudo6(ip + 8, ip + 24, ip[6], len)
		     : net_checksum_pseudo4(src, dst, ip[9], len);
	sum = net_checksum_fold(net_checksum_add(pseudo, l4, len));
	memcpy(l4 + at, &sum, 2);
}

/* A byte of flags chooses the flow, the options and the damage; then the fields. */
static void op_segment(struct world *w, struct fuzz_input *in, bool ip6)
{
	static const uint8_t common[8] = {TCP_ACK, TCP_SYN, TCP_ACK | TCP_PSH, TCP_SYN | TCP_ACK,
		TCP_FIN | TCP_ACK, TCP_RST, TCP_RST | TCP_ACK, TCP_ACK};
	uint8_t how = fuzz_u8(in), flags = fuzz_u8(in);
	uint32_t number = (how & 3) + (ip6 ? FLOW6 : 0u);
	struct flow *f = &w->flow[number];
	uint8_t frame[NET_ETH_HLEN + NET_IP6_HLEN + 60 + PAYLOAD_MAX];
	uint8_t *tcp = put_ip(frame, ip6, 0, NET_PROTO_TCP);
	uint32_t hlen, len, seq;

	flags = flags & 0x80 ? flags & 0x7f : common[flags & 7];
	memset(tcp, 0, 60);
	net_put16(tcp, (uint16_t)(FLOW_PORT + number));
	net_put16(tcp + 2, f->port);
	seq = near32(in, flags & TCP_SYN ? f->isn : f->expected);
	net_put32(tcp + 4, seq);
	net_put32(tcp + 8, near32(in, f->seen));
	hlen = 20u + fill_options(w, in, f, how >> 2 & 3, flags & TCP_SYN, tcp + 20);
	tcp[12] = (uint8_t)(hlen / 4 << 4);
	tcp[13] = flags;
	net_put16(tcp + 14, how & 0x40 ? fuzz_u16(in) : 65535);
	len = how & 0x80 ? fuzz_u16(in) % (PAYLOAD_MAX + 1) : 0;
	for (uint32_t i = 0; i < len; i++)
		tcp[hlen + i] = fuzz_pattern(SALT_IN, seq + !!(flags & TCP_SYN) + i);
	put_ip(frame, ip6, hlen + len, NET_PROTO_TCP);
	put_checksum(frame, ip6, tcp, hlen + len, 16);
	tcp[16] ^= (how & 0x30) == 0x30;
	send_frame(w, frame, (size_t)(tcp - frame) + hlen + len);
}

static void op_raw(struct world *w, struct fuzz_input *in)
{
	uint8_t frame[1600];
	const uint8_t *raw;
	size_t n = fuzz_bytes(in, fuzz_u16(in) % sizeof(frame), &raw);

	w->tainted = true;
	if (!n)
		return;
	memcpy(frame, raw, n);
	memcpy(frame, our_mac, n < 6 ? n : 6);
	send_frame(w, frame, n);
}

/* What an error quotes of flow f: the headers as the engine sent them. */
static uint32_t put_quote(uint8_t *inner, const struct flow *f, uint16_t peer_port, uint32_t seq)
{
	bool ip6 = peer_port >= FLOW_PORT + FLOW6;
	uint8_t frame[NET_ETH_HLEN + NET_IP6_HLEN + 20];
	uint8_t *tcp = put_ip(frame, ip6, 20, NET_PROTO_TCP);
	uint8_t *ip = frame + NET_ETH_HLEN, swap[16];
	uint32_t addr_len = ip6 ? 16 : 4;
	uint8_t *src = ip + (ip6 ? 8 : 12);

	memcpy(swap, src, addr_len);
	memcpy(src, src + addr_len, addr_len);
	memcpy(src + addr_len, swap, addr_len);
	memset(tcp, 0, 20);
	net_put16(tcp, f->port);
	net_put16(tcp + 2, peer_port);
	net_put32(tcp + 4, seq);
	memcpy(inner, ip, (size_t)(tcp - ip) + 8);
	return (uint32_t)(tcp - ip) + 8;
}

/* An ICMP error about a flow: type, code and MTU from the input. */
static void op_icmp(struct world *w, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	bool ip6 = how & 8;
	uint32_t number = (how & 3) + (ip6 ? FLOW6 : 0u);
	const struct flow *f = &w->flow[number];
	uint8_t frame[NET_ETH_HLEN + 2 * NET_IP6_HLEN + 16];
	uint8_t proto = ip6 ? NET_PROTO_ICMP6 : NET_PROTO_ICMP;
	uint8_t *icmp = put_ip(frame, ip6, 0, proto);
	uint32_t len;
	uint16_t sum;

	memset(icmp, 0, 8);
	icmp[0] = !(how & 4) ? fuzz_u8(in) : ip6 ? 2 : 3;
	icmp[1] = fuzz_u8(in);
	net_put16(icmp + 6, fuzz_u16(in));
	len = 8 + put_quote(icmp + 8, f, (uint16_t)(FLOW_PORT + number), near32(in, f->seen - 1));
	put_ip(frame, ip6, len, proto);
	if (ip6) {
		put_checksum(frame, true, icmp, len, 2);
	} else {
		sum = net_checksum_fold(net_checksum_add(0, icmp, len));
		memcpy(icmp + 2, &sum, 2);
	}
	send_frame(w, frame, (size_t)(icmp - frame) + len);
}

static void op_arp(struct world *w, struct fuzz_input *in)
{
	uint8_t frame[NET_ETH_MIN_LEN] = {0};

	w->no_arp = fuzz_u8(in) & 1;
	memcpy(frame, our_mac, 6);
	memcpy(frame + 6, peer_mac, 6);
	net_put16(frame + 12, NET_ETHERTYPE_ARP);
	memcpy(frame + 14, "\0\1\x08\0\6\4", 6);
	net_put16(frame + 20, fuzz_u8(in) & 3);
	memcpy(frame + 22, peer_mac, 6);
	memcpy(frame + 28, "\x0a\0\0", 3);
	frame[31] = fuzz_u8(in);
	memcpy(frame + 38, "\x0a\0\0\1", 4);
	send_frame(w, frame, sizeof(frame));
}

/* -- what the client does ------------------------------------------------------------------------
 */

static const struct tcp_conn *conn_of(const struct world *w, const struct sim_sock *sk)
{
	const struct engine *e = w->host.engine;
	const struct sock *s = shm_arena_at(&e->socks, sk->handle.idx);

	if (!shm_arena_is_used(&e->socks, sk->handle.idx) || s->gen != sk->handle.gen ||
		s->conn == NONE)
		return NULL;
	return shm_arena_at(&e->conns, s->conn);
}

static void client_read(struct world *w, struct sim_sock *sk, uint32_t max)
{
	const struct tcp_conn *c = conn_of(w, sk);
	const uint8_t *data;
	uint32_t n;

	while (max && (n = sim_sock_peek(sk, &data))) {
		n = n < max ? n : max;
		for (uint32_t i = 0; c && !w->tainted && i < n; i++)
			SIM_CHECK(data[i] == fuzz_pattern(SALT_IN,
						     (uint32_t)(c->irs + 1 + sk->read_pos + i)),
				"byte %llu received is wrong",
				(unsigned long long)(sk->read_pos + i));
		sim_sock_take(sk, n);
		max -= n;
	}
	sim_sock_consumed(sk);
}

static void client_send(struct sim_sock *sk, uint32_t len, bool more)
{
	uint8_t data[SIM_BLOCK_BYTES];

	if (sk->shut || !(sk->flags & PROTO_FLOW_ESTABLISHED))
		return;
	while (len) {
		uint32_t n = len < sizeof(data) ? len : sizeof(data);

		for (uint32_t i = 0; i < n; i++)
			data[i] = fuzz_pattern(SALT_OUT, sk->sent_pos + i);
		n = sim_sock_send(sk, data, n, more);
		if (!n)
			return;
		len -= n;
	}
}

static void sock_op(struct world *w, struct sim_sock *sk, uint8_t what, uint32_t number)
{
	if (sk->state != SIM_SOCK_OPEN || sk->closed)
		return;
	switch (what) {
	case 0:
		client_read(w, sk, number);
		break;
	case 1:
		client_send(sk, number, number & 1);
		break;
	case 2:
		if (!sk->shut)
			sim_sock_shutdown(sk);
		break;
	case 3:
		sim_sock_close(sk, number & 1);
		break;
	case 4:
		sim_sock_setopt(sk, number % 8, number >> 3);
		break;
	default:
		sim_sock_info(sk);
		break;
	}
}

static void client_connect(struct sim_client *c, bool ip6, uint32_t which, uint16_t lport)
{
	struct net_addr peer = ip6 ? sim_ip6(1) : net_addr_from_ip4(sim_ip_be(1));
	uint32_t number = ACTIVE_FLOW + which + (ip6 ? FLOW6 : 0u);

	sim_client_connect_to(c, 0, &peer, (uint16_t)(FLOW_PORT + number), lport);
}

static void op_client(struct world *w, struct fuzz_input *in)
{
	struct sim_client *c = w->client;
	uint8_t what = fuzz_u8(in);
	uint32_t which = fuzz_u8(in), number = fuzz_u16(in);

	if (c->dead)
		return;
	switch (what & 15) {
	case 6:
		if (w->listener->handle.gen && w->listener->accepting < 8)
			sim_client_accept(w->listener, 0);
		break;
	case 7:
		if (c->sock_count < 200)
			client_connect(c, which & 2, which % 2,
				number & 1 ? (uint16_t)(20000 + number % 8) : 0);
		break;
	case 8:
		c->deaf = number & 1;
		break;
	case 9:
		if (number == 0x1234 && w->listener->handle.gen)
			sim_client_unlisten(w->listener);
		break;
	case 10:
		if (number == 0x1234)
			sim_client_crash(c);
		break;
	default:
		if (c->sock_count)
			sock_op(w, c->socks[which % c->sock_count], what % 6, number);
		break;
	}
}

/* An order for what was reported last, or near it. */
static void op_order(struct world *w, struct fuzz_input *in)
{
	struct engine *e = w->host.engine;
	struct mtcp_agent_report *r = &w->report;
	uint32_t epoch = fuzz_u8(in) & 3;
	struct mtcp_agent_order o = {.type = MTCP_AGENT_ORDER};

	while (engine_agent_reports(e, epoch, r, 1))
		SIM_CHECK(r->type == MTCP_AGENT_CLOSE || (r->mss_bytes && r->cwnd_bytes),
			"a report without a window");
	o.seq = near32(in, r->seq);
	o.flow = fuzz_u8(in) & 7 ? r->flow : r->flow ^ fuzz_u64(in);
	o.flags = fuzz_u8(in);
	o.cwnd_bytes = (uint32_t)fuzz_u16(in) << (fuzz_u8(in) & 31);
	o.pacing_rate = fuzz_u8(in) & 1 ? fuzz_u64(in) : 0;
	engine_agent_order(e, epoch, &o);
}

static void op_main(struct world *w, struct fuzz_input *in)
{
	static const enum engine_msg_type lists[3] = {
		ENGINE_CMD_LIST_FLOWS, ENGINE_CMD_LIST_LISTENERS, ENGINE_CMD_LIST_SESSIONS};
	uint8_t what = fuzz_u8(in);

	if (what < 3) {
		struct engine_msg *m = sim_host_msg(lists[what]);

		m->list.cursor = fuzz_u64(in);
		sim_host_post(&w->host, m);
	} else if (what < 8) {
		w->refused = !w->refused;
		sim_nic_refuse(w->host.port, w->refused);
	} else if (what < 12) {
		engine_agent_set(w->host.engine, fuzz_u8(in) & 3);
	} else if (what < 64) {
		op_order(w, in);
	} else if (what == 0xd0) {
		sim_host_post(&w->host, sim_host_msg(ENGINE_CMD_DRAIN));
	} else if (what == 0xd1) {
		sim_host_post(&w->host, sim_host_msg(ENGINE_CMD_ABORT));
	}
}

static void op_time(struct world *w, struct fuzz_input *in)
{
	static const uint64_t step_us[8] = {
		1, 100, 1000, 50000, 210000, 1100000, 12000000, 130000000};
	uint8_t how = fuzz_u8(in);
	uint64_t next = engine_next_us(w->host.engine);

	if (how & 0x40 && next != UINT64_MAX && next > w->now_us)
		advance(w, next - w->now_us);
	else
		advance(w, step_us[how & 7]);
}

static void run_op(struct world *w, struct fuzz_input *in)
{
	switch (fuzz_u8(in) % 16) {
	case 0:
		op_raw(w, in);
		break;
	case 1:
		op_icmp(w, in);
		break;
	case 2:
		op_arp(w, in);
		break;
	case 3:
	case 4:
		op_time(w, in);
		settle(w);
		break;
	case 5:
		op_main(w, in);
		break;
	case 6:
	case 7:
	case 8:
	case 9:
		op_client(w, in);
		break;
	case 10:
		turn(w);
		break;
	case 14:
	case 15:
		op_segment(w, in, true);
		break;
	default:
		op_segment(w, in, false);
		break;
	}
}

/* -- life
 * ------------------------------------------------------------------------------------------ */

static void init(struct world *w)
{
	const struct sim_profile profile = {0};
	struct sim_host_config hc;
	struct sim_client_config cc;

	w->now_us = START_US;
	sim_link_init(&w->link, 1, &profile);
	w->link.now_us = w->now_us;
	sim_host_config_default(&hc, 0);
	hc.ip6 = true;
	hc.limits.conns_max = 24;
	hc.limits.halves_max = 3;
	hc.limits.tws_max = 4;
	hc.limits.sessions_max = 2;
	hc.limits.session_conns_max = 16;
	hc.limits.uid_orphans_max = 2;
	strcpy(hc.tcp.cc_agent, "fuzz"); /* CUBIC, until one comes */
	hc.tcp.cc = TCP_CC_AGENT;
	hc.tcp.fastopen = TCP_FASTOPEN_CLIENT | TCP_FASTOPEN_SERVER;
	sim_host_init(&w->host, &hc, &w->link, w->now_us);
	sim_client_config_default(&cc);
	cc.fastopen = true;
	cc.fastopen_max = 4;
	cc.ring_order_log2 = 4;
	cc.up_bytes = cc.down_bytes = 256 << 10;
	cc.up_max_bytes = cc.down_max_bytes = 1 << 20;
	w->client = sim_client_new(&w->host, &cc);
	w->listener = sim_client_listen(w->client, 0, LISTEN_PORT, 4);
	for (uint32_t i = 0; i < FLOWS; i++)
		w->flow[i] = (struct flow){.port = LISTEN_PORT,
			.isn = 0xfffff000u + i * 0x20000000u,
			.expected = 0xfffff001u + i * 0x20000000u};
	settle(w);
}

static void finish(struct world *w)
{
	w->no_arp = false;
	sim_nic_refuse(w->host.port, false);
	sim_client_crash(w->client);
	settle(w);
	for (uint32_t n = 0; n < END_STEPS_MAX; n++) {
		const struct engine *e = w->host.engine;

		if (!e->conns.used && !e->halves.used && !e->tws.used && !e->session_count)
			break;
		advance(w, n < 100 ? 1000000 : 10000000);
		settle(w);
	}
	fuzz_expect_empty(w->host.engine);
	SIM_CHECK(!w->host.engine->session_count && !w->host.engine->listener_count &&
			  w->client->gone,
		"the session is not gone");
	SIM_CHECK(!w->host.condemned, "an honest client was condemned");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {.at = data, .left = size};
	struct world w = {0};

	init(&w);
	for (uint32_t n = 0; in.left && n < OPS_MAX; n++)
		run_op(&w, &in);
	finish(&w);
	sim_host_fini(&w.host);
	sim_link_fini(&w.link);
	return 0;
}
