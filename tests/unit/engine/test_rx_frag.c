/* Fragments through an engine, and through several: pings, segments of a flow, floods. */
#include "fixture.h"

#include <net/checksum.h>
#include <net/frag.h>
#include <net/ip4.h>

#include <string.h>

enum {
	TCP_AT = NET_ETH_HLEN + NET_IP4_HLEN,
	HALF = 600, /* of what is cut in two, behind the IP header */
	BYTES = 1000,
};

static struct tcp_conn *conn_of(const struct sim_sock *sk)
{
	return conn_at(engine_of(0), sock_at(engine_of(0), sk->handle.idx)->conn);
}

/* BYTES of data from the other end of a connection of host 0's, as one frame. */
static uint32_t make_data(uint8_t frame[SIM_FRAME_MAX], const struct sim_sock *sk, uint8_t value)
{
	const struct tcp_conn *c = conn_of(sk);
	uint8_t payload[BYTES], options[12] = {1, 1, 8, 10};
	struct sim_tcp t = {
		.src_be = sim_ip_be(1),
		.dst_be = sim_ip_be(0),
		.sport = sk->key.rport,
		.dport = sk->key.lport,
		.seq = tcp_conn_rcv_nxt(c),
		.ack = tcp_conn_una_seq(c),
		.flags = TCP_ACK,
		.wnd = 1000,
		.payload = payload,
		.len = BYTES,
		.opt = options,
		.opt_len = sizeof(options),
	};

	memset(payload, value, sizeof(payload));
	memset(options + 4, 0xff, 4); /* below: a timestamp that is not old */
	for (int i = 0; i < 4; i++)
		options[4 + i] = (uint8_t)((c->ts_recent + 1) >> (24 - 8 * i));
	return sim_frame_tcp(frame, 1, &t);
}

/* One of the two halves of a frame. */
static void receive_half(struct engine *e, const uint8_t *whole, uint32_t len, int half)
{
	uint32_t l4 = len - TCP_AT, at = half ? HALF : 0, n = half ? l4 - HALF : HALF;
	uint8_t frame[SIM_FRAME_MAX];
	struct nic_frame in = {.data = frame, .len_bytes = TCP_AT + n};

	memcpy(frame, whole, TCP_AT);
	memcpy(frame + TCP_AT, whole + TCP_AT + at, n);
	net_ip4_make_fragment(frame + NET_ETH_HLEN, (uint16_t)at, (uint16_t)n, !half);
	rx_frame(e, &in);
	memset(frame, 0xee, sizeof(frame)); /* the port has its buffer back */
}

static void test_segment_given_fragments_reaches_its_flow(void **state)
{
	struct pair p = open_pair(f.here);
	uint8_t frame[SIM_FRAME_MAX];
	uint32_t len = make_data(frame, p.here, 0x11);

	(void)state;
	receive_half(engine_of(0), frame, len, 1);
	assert_int_equal(read_bytes(p.here, 0x11), 0);
	receive_half(engine_of(0), frame, len, 0);
	run_ms(1);
	assert_int_equal(read_bytes(p.here, 0x11), BYTES);
	assert_int_equal(engine_net_counters(engine_of(0))->frag_reassembled, 1);
}

/* Of one burst: the buffer of the first is taken again for the second. */
static void test_segments_given_fragments_in_one_burst_stay_apart(void **state)
{
	struct pair p = open_pair(f.here), q = open_pair(f.here);
	uint8_t one[SIM_FRAME_MAX], two[SIM_FRAME_MAX];
	uint32_t len = make_data(one, p.here, 0x11);

	(void)state;
	make_data(two, q.here, 0x22);
	for (int half = 0; half < 2; half++)
		receive_half(engine_of(0), one, len, half);
	for (int half = 0; half < 2; half++)
		receive_half(engine_of(0), two, len, half);
	run_ms(1);
	assert_int_equal(read_bytes(p.here, 0x11), BYTES);
	assert_int_equal(read_bytes(q.here, 0x22), BYTES);
}

static void test_segment_given_fragments_has_its_checksum_checked(void **state)
{
	struct pair p = open_pair(f.here);
	uint8_t frame[SIM_FRAME_MAX];
	uint32_t len = make_data(frame, p.here, 0x11);

	(void)state;
	frame[len - 1] ^= 1;
	receive_half(engine_of(0), frame, len, 0);
	receive_half(engine_of(0), frame, len, 1);
	run_ms(1);
	assert_int_equal(read_bytes(p.here, 0x11), 0);
	assert_int_equal(engine_net_counters(engine_of(0))->tcp_bad_checksum, 1);
}

static void test_fragments_given_reassembly_off_are_dropped(void **state)
{
	struct engine *e = engine_of(0);
	struct net_frag_table *frags = e->frags;
	struct pair p = open_pair(f.here);
	uint8_t frame[SIM_FRAME_MAX];
	uint32_t len = make_data(frame, p.here, 0x11);

	(void)state;
	e->frags = NULL;
	receive_half(e, frame, len, 0);
	receive_half(e, frame, len, 1);
	run_ms(1);
	assert_int_equal(read_bytes(p.here, 0x11), 0);
	assert_int_equal(engine_net_counters(e)->ip4_fragment, 2);
	e->frags = frags;
}

/* An engine that sleeps wakes to give up what does not become whole. */
static void test_fragment_given_silence_is_given_up_and_counted(void **state)
{
	struct pair p = open_pair(f.here);
	uint8_t frame[SIM_FRAME_MAX];
	uint32_t len = make_data(frame, p.here, 0x11);

	(void)state;
	receive_half(engine_of(0), frame, len, 0);
	run_ms(NET_FRAG_TIMEOUT4_US / 1000 + 2000);
	assert_int_equal(engine_net_counters(engine_of(0))->frag_timeout, 1);
	assert_false(net_frag_waits(engine_of(0)->frags));
	assert_int_equal(engine_net_counters(engine_of(0))->frag_timeouts_told, 1);
	/* The peer believes what quotes it; what it tells of is no longer in flight. */
	assert_int_equal(engine_of(1)->tcp_counters.icmp_ignored, 1);
}

/* A flood of firsts draws no more answers than a flood of pings. */
static void test_fragments_given_flood_told_of_within_the_limit(void **state)
{
	struct engine *e = engine_of(0);
	struct pair p = open_pair(f.here);
	uint8_t frame[SIM_FRAME_MAX];
	uint32_t len = make_data(frame, p.here, 0x11);

	(void)state;
	e->icmp_limit.credit_us = 2 * e->icmp_limit.interval_us;
	e->icmp_limit.last_us = UINT64_MAX; /* no more comes */
	for (uint8_t i = 0; i < 5; i++) {
		frame[NET_ETH_HLEN + 5] = i;
		receive_half(e, frame, len, 0);
	}
	run_ms(NET_FRAG_TIMEOUT4_US / 1000 + 2000);
	assert_int_equal(engine_net_counters(e)->frag_timeout, 5);
	assert_int_equal(engine_net_counters(e)->frag_timeouts_told, 2);
	assert_int_equal(engine_net_counters(e)->icmp_rate_limited, 3);
}

/* The port gives each half to another engine, and the flow is on whichever of the two. */
static void test_fragments_given_to_two_engines_meet_and_find_the_flow(void **state)
{
	struct pair p = open_pair(f.here);
	uint8_t frame[SIM_FRAME_MAX];

	(void)state;
	for (unsigned int round = 0; round < 16; round++) {
		uint32_t len = make_data(frame, p.here, (uint8_t)round);

		frame[NET_ETH_HLEN + 5] =
			(uint8_t)round; /* identification: decides where they meet */
		receive_half(engines[round & 1], frame, len, 0);
		receive_half(engines[~round & 1], frame, len, 1);
		for (int i = 0; i < 4; i++) {
			engine_turn(engines[1], f.w.now_us);
			run_ms(1);
		}
		assert_int_equal(read_bytes(p.here, (uint8_t)round), BYTES);
	}
	assert_true(engines[0]->net_counters.frag_reassembled > 0);
	assert_true(engines[1]->net_counters.frag_reassembled > 0);
	assert_int_equal(engines[0]->net_counters.frag_reassembled +
				 engines[1]->net_counters.frag_reassembled,
		16);
	assert_int_equal(engines[1]->counters.tx_segments, 0);
}

/* A packet that no engine knows is answered once, by the last that looked. */
static void test_fragments_given_unknown_flow_are_answered_once(void **state)
{
	struct pair p = open_pair(f.here);
	uint8_t frame[SIM_FRAME_MAX];
	uint32_t len = make_data(frame, p.here, 0x11);
	uint64_t before = engines[0]->counters.tx_segments + engines[1]->counters.tx_segments;
	uint16_t check;

	(void)state;
	frame[TCP_AT] ^= 0x40; /* another port of the peer's; and the sum of it */
	memcpy(&check, frame + TCP_AT + 16, 2);
	frame[TCP_AT + 16] = frame[TCP_AT + 17] = 0;
	check = net_checksum_fold(
		net_checksum_add(net_checksum_pseudo4(sim_ip_be(1), sim_ip_be(0), 6, len - TCP_AT),
			frame + TCP_AT, len - TCP_AT));
	memcpy(frame + TCP_AT + 16, &check, 2);
	receive_half(engines[0], frame, len, 0);
	receive_half(engines[0], frame, len, 1);
	for (int i = 0; i < 4; i++) {
		engine_turn(engines[0], f.w.now_us);
		engine_turn(engines[1], f.w.now_us);
	}
	assert_int_equal(
		engines[0]->counters.tx_segments + engines[1]->counters.tx_segments, before + 1);
}

#define T2(name) cmocka_unit_test_setup_teardown(name, fixture_setup_two, fixture_teardown_two)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_segment_given_fragments_reaches_its_flow),
		T(test_segments_given_fragments_in_one_burst_stay_apart),
		T(test_segment_given_fragments_has_its_checksum_checked),
		T(test_fragments_given_reassembly_off_are_dropped),
		T(test_fragment_given_silence_is_given_up_and_counted),
		T(test_fragments_given_flood_told_of_within_the_limit),
		T2(test_fragments_given_to_two_engines_meet_and_find_the_flow),
		T2(test_fragments_given_unknown_flow_are_answered_once),
	};

	return cmocka_run_group_tests_name("rx_frag", tests, NULL, NULL);
}
