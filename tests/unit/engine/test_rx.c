/* Frames in: pings, errors about our segments, and headers that lie. */
#include "fixture.h"

#include <net/bytes.h>
#include <net/checksum.h>
#include <net/ip4.h>
#include <net/packet.h>

#include <string.h>

enum {
	ECHO = 8,
	UNREACHABLE = 3,
	CODE_HOST = 1,
	CODE_PORT = 3,
	CODE_FRAG_NEEDED = 4,
	ICMP_AT = NET_ETH_HLEN + NET_IP4_HLEN,
	QUOTE_AT = ICMP_AT + 8,
	BURST_PINGS = 5000,
};

/* An ICMP message of `len` bytes that lies at ICMP_AT, from host 1 to host 0: headers and checksum
 * are added, the engine takes it. */
static void receive_icmp(uint8_t *frame, uint32_t len)
{
	const struct net_mac from = {{2, 0, 0, 0, 0, 2}}, to = {{2, 0, 0, 0, 0, 1}};
	struct net_ip4_out ip = {.src_be = sim_ip_be(1),
		.dst_be = sim_ip_be(0),
		.payload_len_bytes = (uint16_t)len,
		.proto = NET_PROTO_ICMP};
	struct nic_frame in = {.data = frame, .len_bytes = ICMP_AT + len};
	uint16_t check;

	net_eth_build(frame, &to, &from, NET_ETHERTYPE_IP4);
	net_ip4_build(frame + NET_ETH_HLEN, &ip);
	net_put16(frame + ICMP_AT + 2, 0);
	check = net_checksum_fold(net_checksum_add(0, frame + ICMP_AT, len));
	memcpy(frame + ICMP_AT + 2, &check, sizeof(check));
	rx_frame(engine_of(0), &in);
}

/* An error of this code about the segment `seq` of connection sk. */
static void receive_error(const struct sim_sock *sk, uint32_t seq, uint8_t code, uint32_t mtu)
{
	uint8_t frame[128] = {0}, *quote = frame + QUOTE_AT;
	struct net_ip4_out ip = {.src_be = net_addr_to_ip4(&sk->key.local),
		.dst_be = net_addr_to_ip4(&sk->key.remote),
		.payload_len_bytes = 1400,
		.proto = NET_PROTO_TCP};

	frame[ICMP_AT] = UNREACHABLE;
	frame[ICMP_AT + 1] = code;
	net_put16(frame + ICMP_AT + 6, mtu);
	net_ip4_build(quote, &ip);
	net_put16(quote + NET_IP4_HLEN, sk->key.lport);
	net_put16(quote + NET_IP4_HLEN + 2, sk->key.rport);
	net_put32(quote + NET_IP4_HLEN + 4, seq);
	receive_icmp(frame, 8 + NET_IP4_HLEN + 8);
}

static struct tcp_conn *conn_of(const struct sim_sock *sk)
{
	return conn_at(engine_of(0), sock_at(engine_of(0), sk->handle.idx)->conn);
}

/* The next frame that host 0 has sent to the other end, NULL if there is none. */
static struct sim_frame *sent(void)
{
	f.w.link.now_us += 100000;
	return sim_link_receive(&f.w.link, 1);
}

static void test_echo_given_request_returns_its_data(void **state)
{
	uint8_t frame[ICMP_AT + 64] = {0};
	struct sim_frame *reply;

	(void)state;
	frame[ICMP_AT] = ECHO;
	for (int i = 4; i < 64; i++)
		frame[ICMP_AT + i] = (uint8_t)i;
	receive_icmp(frame, 64);
	reply = sent();
	assert_non_null(reply);
	assert_int_equal(reply->len_bytes, sizeof(frame));
	assert_int_equal(reply->data[ICMP_AT], 0); /* echo reply */
	assert_memory_equal(reply->data + ICMP_AT + 4, frame + ICMP_AT + 4, 60);
	assert_int_equal(net_checksum_fold(net_checksum_add(0, reply->data + ICMP_AT, 64)), 0);
	assert_int_equal(engine_net_counters(engine_of(0))->icmp_echo_replies_sent, 1);
	free(reply);
}

static void test_echo_given_flood_answers_a_bounded_rate(void **state)
{
	const struct net_counters *c = engine_net_counters(engine_of(0));
	uint8_t frame[ICMP_AT + 64] = {[ICMP_AT] = ECHO};
	struct sim_frame *reply;
	uint64_t answered;

	(void)state;
	for (int i = 0; i < BURST_PINGS; i++)
		receive_icmp(frame, 64);
	answered = c->icmp_echo_replies_sent;
	assert_in_range(answered, 1, BURST_PINGS / 2);
	assert_int_equal(c->icmp_rate_limited, BURST_PINGS - answered);
	while ((reply = sent())) {
		answered--;
		free(reply);
	}
	assert_int_equal(answered, 0);
	run_ms(1000); /* and a second later there is an answer again */
	receive_icmp(frame, 64);
	assert_int_equal(c->icmp_rate_limited, BURST_PINGS - (c->icmp_echo_replies_sent - 1));
}

/* What came in a frame of the peer's larger MTU goes back in two of ours. */
static void test_echo_given_more_than_fits_answers_in_fragments(void **state)
{
	static uint8_t frame[ICMP_AT + 2000];
	struct sim_frame *first, *second;

	(void)state;
	frame[ICMP_AT] = ECHO;
	for (int i = 4; i < 2000; i++)
		frame[ICMP_AT + i] = (uint8_t)(i * 7);
	receive_icmp(frame, 2000);
	first = sent();
	second = sent();
	assert_non_null(first);
	assert_non_null(second);
	assert_int_equal(first->len_bytes, ICMP_AT + 1480);
	assert_int_equal(second->len_bytes, ICMP_AT + 520);
	assert_int_equal(first->data[NET_ETH_HLEN + 6], 0x20); /* more, no DF */
	assert_int_equal(second->data[NET_ETH_HLEN + 6], 0);
	assert_int_equal(second->data[NET_ETH_HLEN + 7], 1480 / 8);
	assert_memory_equal(first->data + NET_ETH_HLEN + 4, second->data + NET_ETH_HLEN + 4, 2);
	assert_memory_equal(first->data + ICMP_AT + 4, frame + ICMP_AT + 4, 1476);
	assert_memory_equal(second->data + ICMP_AT, frame + ICMP_AT + 1480, 520);
	assert_int_equal(net_checksum_fold(net_checksum_add(0, first->data + NET_ETH_HLEN, 20)), 0);
	assert_int_equal(
		net_checksum_fold(net_checksum_add(0, second->data + NET_ETH_HLEN, 20)), 0);
	assert_int_equal(engine_net_counters(engine_of(0))->frag_sent, 1);
	free(first);
	free(second);
}

static void test_error_given_port_unreachable_ends_an_open(void **state)
{
	struct sim_sock *sk;

	(void)state;
	f.w.link.way[0].cut = true; /* the SYN is lost */
	sk = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	run_ms(5);
	assert_int_equal(sk->state, SIM_SOCK_OPEN);
	receive_error(sk, conn_of(sk)->iss + 1, CODE_PORT, 0); /* a guess that is wrong */
	run_ms(1);
	assert_false(sk->flags & PROTO_FLOW_CLOSED);
	assert_int_equal(engine_tcp_counters(engine_of(0))->icmp_ignored, 1);
	receive_error(sk, conn_of(sk)->iss, CODE_PORT, 0);
	run_ms(1);
	assert_true(sk->flags & PROTO_FLOW_CLOSED);
	assert_int_equal(sk->error, ECONNREFUSED);
	assert_int_equal(engine_net_counters(engine_of(0))->icmp_errors_received, 2);
}

static void test_error_given_established_connection_ends_nothing(void **state)
{
	struct pair p = open_pair(f.here);
	const struct tcp_conn *c = conn_of(p.here);

	(void)state;
	f.w.link.way[1].cut = true; /* no acknowledgement: it stays in flight */
	send_bytes(p.here, 1, 1000);
	run_ms(2);
	receive_error(p.here, tcp_conn_una_seq(c), CODE_HOST, 0);
	assert_int_equal(c->soft_error, EHOSTUNREACH); /* would explain a time-out */
	f.w.link.way[1].cut = false;
	run_ms(3000);
	assert_int_equal(read_bytes(p.there, 1), 1000);
	assert_false(p.here->flags & PROTO_FLOW_CLOSED);
}

static void test_error_given_too_big_sends_smaller_segments(void **state)
{
	struct pair p = open_pair(f.here);
	const struct tcp_conn *c = conn_of(p.here);
	uint16_t mss = c->snd_mss_bytes;

	(void)state;
	f.w.link.way[0].cut = true; /* as the router with the small MTU does */
	send_bytes(p.here, 2, 20000);
	run_ms(2);
	receive_error(p.here, tcp_conn_una_seq(c) - 1, CODE_FRAG_NEEDED, 1000); /* not in flight */
	assert_int_equal(c->snd_mss_bytes, mss);
	receive_error(p.here, tcp_conn_una_seq(c), CODE_FRAG_NEEDED, 1000);
	assert_in_range(c->snd_mss_bytes, 900, 960);
	f.w.link.way[0].cut = false;
	run_ms(5000);
	assert_int_equal(read_bytes(p.there, 2), 20000);
}

/* An error about no connection of ours, or about a listener, touches nothing. */
static void test_error_given_strangers_connection_is_ignored(void **state)
{
	struct pair p = open_pair(f.here);
	struct sim_sock stranger = {.key = p.here->key};

	(void)state;
	stranger.key.lport ^= 1;
	receive_error(&stranger, 1, CODE_PORT, 0);
	receive_error(&stranger, 1, CODE_FRAG_NEEDED, 600);
	stranger.key.local = net_addr_from_ip4(sim_ip_be(1));
	receive_error(&stranger, 1, CODE_PORT, 0);
	assert_int_equal(engine_net_counters(engine_of(0))->icmp_quote_not_ours, 1);
	send_bytes(p.here, 3, 1000);
	run_ms(50);
	assert_int_equal(read_bytes(p.there, 3), 1000);
}

static void test_icmp_given_bad_checksum_or_length_is_dropped(void **state)
{
	const struct net_counters *c = engine_net_counters(engine_of(0));
	uint8_t frame[ICMP_AT + 64] = {[ICMP_AT] = ECHO};
	struct nic_frame in = {.data = frame, .len_bytes = sizeof(frame)};

	(void)state;
	receive_icmp(frame, 4);
	assert_int_equal(c->icmp_short, 1);
	receive_icmp(frame, 64);
	frame[ICMP_AT + 20] ^= 1;
	rx_frame(engine_of(0), &in);
	assert_int_equal(c->icmp_bad_checksum, 1);
	assert_int_equal(c->icmp_echo_replies_sent, 1);
}

/* A TCP header whose data offset lies, under a good checksum. */
static void test_tcp_given_lying_offset_is_dropped(void **state)
{
	struct sim_tcp t = {.src_be = sim_ip_be(1),
		.dst_be = sim_ip_be(0),
		.sport = 1,
		.dport = 2,
		.flags = TCP_SYN};
	uint8_t data[SIM_FRAME_MAX], *tcp = data + ICMP_AT;
	struct nic_frame in = {.data = data, .checksum = NIC_CHECKSUM_GOOD};
	const struct tcp_counters *c = engine_tcp_counters(engine_of(0));
	struct tcp_counters before = *c;

	(void)state;
	in.len_bytes = sim_frame_tcp(data, 1, &t);
	tcp[12] = 4 << 4;
	rx_frame(engine_of(0), &in);
	tcp[12] = 15 << 4;
	rx_frame(engine_of(0), &in);
	assert_null(sent());
	assert_int_not_equal(memcmp(c, &before, sizeof(before)), 0);
	in.checksum = NIC_CHECKSUM_UNKNOWN; /* the same, whose checksum nobody vouches for */
	rx_frame(engine_of(0), &in);
	assert_null(sent());
}

/* Two segments of one burst: the first ends the connection that was guessed for both. */
static void test_segment_given_guess_that_is_gone_finds_nobody(void **state)
{
	struct pair p = open_pair(f.here);
	struct engine *e = engine_of(0);
	struct tcp_conn *c = conn_of(p.here);
	tcp_ref guess = tcp_ref_make(TCP_KIND_CONN, conn_idx(e, c));
	struct tcp_segment seg = {
		.key = c->entry.key, .seq = tcp_conn_rcv_nxt(c), .flags = TCP_RST};
	uint64_t hash = tcp_table_hash(&e->table, &seg.key);
	uint32_t segs_in = c->segs_in;

	(void)state;
	seg.opt.has_ts = true;
	flow_segment(e, &seg, hash, guess);
	assert_int_equal(c->state, TCP_CLOSED);
	assert_int_equal(c->segs_in, segs_in + 1);
	seg.flags = TCP_ACK;
	flow_segment(e, &seg, hash, guess);
	assert_int_equal(c->segs_in, segs_in + 1);
	assert_int_equal(engine_tcp_counters(e)->closed_stray, 1);
}

/* A tag of 16 bits may name a stranger. */
static void test_segment_given_guess_of_a_stranger_finds_its_own(void **state)
{
	struct pair p = open_pair(f.here), q = open_pair(f.here);
	struct engine *e = engine_of(0);
	struct tcp_conn *c = conn_of(p.here), *other = conn_of(q.here);
	struct tcp_segment seg = {
		.key = c->entry.key, .seq = tcp_conn_rcv_nxt(c), .flags = TCP_RST};

	(void)state;
	flow_segment(e, &seg, tcp_table_hash(&e->table, &seg.key),
		tcp_ref_make(TCP_KIND_CONN, conn_idx(e, other)));
	assert_int_equal(c->state, TCP_CLOSED);
	assert_int_equal(other->state, TCP_ESTABLISHED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_echo_given_request_returns_its_data),
		T(test_echo_given_flood_answers_a_bounded_rate),
		T(test_echo_given_more_than_fits_answers_in_fragments),
		T(test_error_given_port_unreachable_ends_an_open),
		T(test_error_given_established_connection_ends_nothing),
		T(test_error_given_too_big_sends_smaller_segments),
		T(test_error_given_strangers_connection_is_ignored),
		T(test_icmp_given_bad_checksum_or_length_is_dropped),
		T(test_tcp_given_lying_offset_is_dropped),
		T(test_segment_given_guess_that_is_gone_finds_nobody),
		T(test_segment_given_guess_of_a_stranger_finds_its_own),
	};

	return cmocka_run_group_tests_name("rx", tests, NULL, NULL);
}
