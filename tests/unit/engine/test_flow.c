/* Flows: opens that fail, drain and abort, TIME-WAIT, ports. */
#include "fixture.h"

#include <tcp/cc.h>

#include <sim/sim_frame.h>

static void post(int side, enum engine_msg_type type)
{
	sim_host_post(&f.w.host[side], sim_host_msg(type));
	run_ms(1);
}

static void test_flow_given_no_neighbour_fails_with_unreachable(void **state)
{
	const uint8_t nobody[4] = {10, 0, 0, 99};
	struct sim_sock *c;
	uint32_t ip_be;

	(void)state;
	memcpy(&ip_be, nobody, 4);
	c = sim_client_connect(f.here, 0, ip_be, PORT, 0);
	run_ms(6000);
	assert_int_equal(c->error, EHOSTUNREACH);
	assert_true(sim_sock_close(c, false));
	run_ms(5);
	assert_int_equal(c->state, SIM_SOCK_GONE);
	assert_works(f.here);
}

static void test_flow_given_no_route_fails_at_once(void **state)
{
	struct sim_sock *c = sim_client_connect(f.here, 0, htonl(0x08080808), PORT, 0);

	(void)state;
	run_ms(1);
	assert_int_equal(c->state, SIM_SOCK_FAILED);
	assert_int_equal(c->error, ENETUNREACH);
}

static void test_flow_given_port_of_another_refuses(void **state)
{
	struct sim_client *other = sim_client_new(&f.w.host[0], &f.client_cfg);
	struct sim_sock *c;

	(void)state;
	run_ms(1);
	c = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 7000);
	f.w.host[0].port_owner[7000] = other->session;
	run_ms(1);
	assert_int_equal(c->error, EADDRNOTAVAIL);
}

static void test_flow_given_port_in_use_refuses(void **state)
{
	struct sim_sock *a = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 7000);
	struct sim_sock *b = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 7000);

	(void)state;
	run_ms(50);
	assert_int_equal(a->state, SIM_SOCK_OPEN);
	assert_int_equal(b->state, SIM_SOCK_FAILED);
	assert_int_equal(b->error, EADDRNOTAVAIL);
	assert_int_equal(gauges(0).socks, 1);
}

static int setup_few_conns(void **state)
{
	(void)state;
	fixture_prepare();
	f.cfg.host[0].limits.session_conns_max = 3;
	fixture_start();
	return 0;
}

static void test_flow_given_too_many_connections_refuses(void **state)
{
	struct sim_sock *c[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		c[i] = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	run_ms(50);
	assert_int_equal(c[2]->state, SIM_SOCK_OPEN);
	assert_int_equal(c[3]->error, EMFILE);
}

/* A compact entry takes over, and is gone after 2 MSL. */
static void test_flow_given_active_close_waits_compactly(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	assert_true(sim_sock_close(p.here, false));
	run_ms(50);
	assert_true(sim_sock_close(p.there, false));
	run_ms(50);
	assert_int_equal(p.here->state, SIM_SOCK_GONE);
	assert_int_equal(gauges(0).conns, 0);
	assert_int_equal(gauges(0).tws, 1);
	assert_int_equal(gauges(1).conns, 0);
	run_ms(2 * f.cfg.host[0].tcp.msl_us / 1000);
	assert_int_equal(gauges(0).tws, 0);
}

static int setup_one_timewait(void **state)
{
	(void)state;
	fixture_prepare();
	f.cfg.host[0].limits.tws_max = 1;
	fixture_start();
	return 0;
}

/* Whether or not there is an entry to wait, the FIN is acknowledged, once. */
static void test_flow_given_no_timewait_left_acknowledges_the_fin(void **state)
{
	struct pair p[2];

	(void)state;
	for (int i = 0; i < 2; i++)
		p[i] = open_pair(f.here);
	for (int i = 0; i < 2; i++)
		assert_true(sim_sock_close(p[i].here, false));
	run_ms(50);
	for (int i = 0; i < 2; i++)
		assert_true(sim_sock_close(p[i].there, false));
	run_ms(2000);
	assert_int_equal(gauges(0).conns, 0);
	assert_int_equal(gauges(1).conns, 0);
	assert_int_equal(engine_of(0)->tws.max, 1);
	assert_int_equal(engine_counters(engine_of(0))->timewait_full, 1);
	assert_int_equal(engine_tcp_counters(engine_of(1))->rto_timeouts, 0);
	/* of each: SYN, ACK, FIN, ACK of the FIN */
	assert_int_equal(engine_tcp_counters(engine_of(0))->segs_out, 8);
}

/* FIN and close in the same turn: the ACK of the FIN still goes out, nothing is sent again. */
static void test_flow_given_close_in_the_turn_of_the_fin_acknowledges_it(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	assert_true(sim_sock_shutdown(p.here));
	run_ms(50);
	assert_true(sim_sock_close(p.there, false)); /* its FIN is on the way */
	sim_world_settle(&f.w);
	assert_true(sim_sock_close(p.here, false)); /* lies in the ring ... */
	engine_of(0)->cfg.limits.slots_per_turn = 0;
	run_ms(1);
	engine_of(0)->cfg.limits.slots_per_turn = 64; /* ... until the FIN has come */
	run_ms(2000);
	assert_int_equal(gauges(1).conns, 0);
	assert_int_equal(engine_tcp_counters(engine_of(1))->rto_timeouts, 0);
	assert_int_equal(gauges(0).tws, 1);
}

static void test_flow_given_drain_closes_in_order_and_opens_nothing(void **state)
{
	struct pair p = open_pair(f.here);
	struct sim_sock *late;

	(void)state;
	send_bytes(p.here, 0x51, 1000);
	run_ms(50);
	post(0, ENGINE_CMD_DRAIN);
	run_ms(50);
	assert_int_equal(read_bytes(p.there, 0x51), 1000);
	assert_true(p.there->flags & PROTO_FLOW_FIN);
	assert_int_equal(p.there->error, 0);
	late = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	run_ms(5);
	assert_int_equal(late->error, ENETDOWN);
	/* Who does not know of it yet is not punished. */
	send_bytes(p.here, 0x51, 100);
	send_bytes(p.here, 0x51, 100);
	assert_true(sim_sock_shutdown(p.here));
	run_ms(5);
	assert_int_equal(f.here->condemned, 0);
	assert_true(sim_sock_close(p.here, false));
	assert_true(sim_sock_close(p.there, false));
	run_ms(100);
	assert_int_equal(gauges(0).conns, 0);
}

static void test_flow_given_abort_resets_what_is_left(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	post(0, ENGINE_CMD_ABORT);
	run_ms(50);
	assert_int_equal(p.there->error, ECONNRESET);
	assert_true(p.here->flags & PROTO_FLOW_CLOSED);
}

static void test_flow_given_full_port_sends_again(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	sim_nic_refuse(f.w.host[0].port, true);
	send_bytes(p.here, 0x52, 5000);
	run_ms(10);
	assert_true(engine_counters(engine_of(0))->tx_no_buffer > 0);
	sim_nic_refuse(f.w.host[0].port, false);
	run_ms(3000);
	assert_int_equal(read_bytes(p.there, 0x52), 5000);
}

/* An ACK without a cookie while cookies are out may be honest: no RST, and the repetition of
 * the first segment opens the connection. */
static void test_flow_given_lost_cookie_ack_still_opens(void **state)
{
	struct sim_sock *c;

	(void)state;
	engine_of(1)->halves.max = 0; /* no half-open entry will be had */
	c = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	while (!(c->flags & PROTO_FLOW_ESTABLISHED))
		sim_world_step(&f.w, f.w.now_us + 100);
	sim_link_fini(&f.w.link); /* the ACK is lost */
	for (int side = 0; side < 2; side++)
		f.w.link.way[side] = (struct sim_way){.profile = f.w.link.way[side].profile};
	send_bytes(c, 0x53, 1);
	f.w.link.way[0].cut = true; /* and the first data */
	sim_world_settle(&f.w);
	f.w.link.way[0].cut = false;
	send_bytes(c, 0x53, 5000);
	run_ms(3000);
	assert_int_equal(c->error, 0);
	assert_int_equal(f.listener->pending, 1);
	assert_int_equal(c->acked_pos, 5001);
}

/* The SYN of side 0's only connection once more. */
static void repeat_syn(void)
{
	const struct tcp_conn *c = shm_arena_at(&engine_of(0)->conns, 0);
	const uint8_t opt[16] = {4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, c->rcv_wscale};
	const struct sim_tcp syn = {
		.src_be = sim_ip_be(0),
		.dst_be = sim_ip_be(1),
		.sport = c->entry.key.lport,
		.dport = PORT,
		.seq = c->iss,
		.flags = TCP_SYN,
		.wnd = 60000,
		.opt = opt,
		.opt_len = sizeof(opt),
	};
	uint8_t frame[SIM_FRAME_MAX];

	sim_link_send(&f.w.link, 0, frame, sim_frame_tcp(frame, 0, &syn));
	run_ms(50);
}

/* A SYN again, when there is room for an entry: it must not stand in the cookie's way. */
static void test_flow_given_entry_behind_a_cookie_still_opens(void **state)
{
	uint32_t halves_max = engine_of(1)->halves.max;
	struct sim_sock *c;

	(void)state;
	engine_of(1)->halves.max = 0;
	c = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	while (!(c->flags & PROTO_FLOW_ESTABLISHED))
		sim_world_step(&f.w, f.w.now_us + 100);
	sim_link_fini(&f.w.link); /* the ACK is lost */
	for (int side = 0; side < 2; side++)
		f.w.link.way[side] = (struct sim_way){.profile = f.w.link.way[side].profile};
	engine_of(1)->halves.max = halves_max;
	repeat_syn(); /* the client's answer to the new SYN|ACK is the cookie's ACK again */
	send_bytes(c, 0x54, 5000);
	run_ms(3000);
	assert_int_equal(c->error, 0);
	assert_int_equal(gauges(1).halves, 0);
	assert_int_equal(f.listener->pending, 1);
	assert_int_equal(c->acked_pos, 5000);
}

/* A SYN from an address on link that was never heard of. */
static void send_syn_from(uint32_t src_be, uint16_t sport)
{
	const struct sim_tcp syn = {
		.src_be = src_be,
		.dst_be = sim_ip_be(1),
		.sport = sport,
		.dport = PORT,
		.flags = TCP_SYN,
		.wnd = 60000,
	};
	uint8_t frame[SIM_FRAME_MAX];

	sim_link_send(&f.w.link, 0, frame, sim_frame_tcp(frame, 0, &syn));
}

static uint64_t counter_of(int side, size_t offset)
{
	return *(const uint64_t *)(const void *)((const uint8_t *)engine_counters(engine_of(side)) +
						 offset);
}
#define COUNTER(name) counter_of(1, offsetof(struct engine_counters, name))

/* The SYN|ACK to a host that we have to ask for first goes out when it answers, not a second
 * later: here its engine knows no such connection, and resets it. */
static void test_flow_given_unknown_neighbour_reply_waits_for_it(void **state)
{
	(void)state;
	send_syn_from(sim_ip_be(0), 7777);
	run_ms(5);
	assert_int_equal(COUNTER(replies_held), 1);
	assert_int_equal(COUNTER(tx_no_neighbour), 0);
	assert_int_equal(engine_tcp_counters(engine_of(1))->half_reset, 1);
	assert_int_equal(gauges(1).halves, 0);
}

static void test_flow_given_invented_neighbours_holds_few_replies(void **state)
{
	(void)state;
	for (uint16_t i = 0; i < 2 * HELD_REPLIES_PER_NEIGH; i++)
		send_syn_from(htonl(0x0a000063), (uint16_t)(7000 + i));
	run_ms(5);
	assert_int_equal(COUNTER(replies_held), HELD_REPLIES_PER_NEIGH);
	assert_int_equal(COUNTER(tx_no_neighbour), HELD_REPLIES_PER_NEIGH);
	for (uint32_t i = 0; i < 2 * HELD_REPLIES_MAX; i++)
		send_syn_from(htonl(0x0a000064 + i), 7000);
	run_ms(5);
	assert_true(COUNTER(replies_held) <= HELD_REPLIES_MAX);
	assert_works(f.here);
}

#define S(name, setup) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

/* Of what is opened and of what comes in; what a socket says comes later and goes before. */
static void test_flow_given_route_with_congestion_control_uses_it(void **state)
{
	struct net_prefix_rule rule = {.prefix = net_addr_from_ip4(sim_ip_be(0) & sim_ip_be(1)),
		.prefix_len = 96 + 24,
		.value = TCP_CC_DCTCP};
	struct pair p;

	(void)state;
	for (int side = 0; side < 2; side++) {
		engine_of(side)->cfg.cc_rules = &rule;
		engine_of(side)->cfg.cc_rule_count = 1;
	}
	p = open_pair(f.here);
	for (int side = 0; side < 2; side++) {
		struct engine *e = engine_of(side);
		const struct sim_sock *sk = side ? p.there : p.here;
		struct tcp_conn *c = conn_at(e, sock_at(e, sk->handle.idx)->conn);

		assert_int_equal(c->cc, TCP_CC_DCTCP);
		assert_int_equal(tcp_set_congestion(&e->tcp, c, TCP_CC_NEWRENO), 0);
		assert_int_equal(c->cc, TCP_CC_NEWRENO);
	}
	rule.prefix_len = 128; /* somebody else's */
	p = open_pair(f.here);
	assert_int_equal(conn_at(engine_of(0), sock_at(engine_of(0), p.here->handle.idx)->conn)->cc,
		TCP_CC_CUBIC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_flow_given_route_with_congestion_control_uses_it),
		T(test_flow_given_no_neighbour_fails_with_unreachable),
		T(test_flow_given_no_route_fails_at_once),
		T(test_flow_given_port_of_another_refuses),
		T(test_flow_given_port_in_use_refuses),
		S(test_flow_given_too_many_connections_refuses, setup_few_conns),
		T(test_flow_given_active_close_waits_compactly),
		S(test_flow_given_no_timewait_left_acknowledges_the_fin, setup_one_timewait),
		T(test_flow_given_close_in_the_turn_of_the_fin_acknowledges_it),
		T(test_flow_given_drain_closes_in_order_and_opens_nothing),
		T(test_flow_given_abort_resets_what_is_left),
		T(test_flow_given_full_port_sends_again),
		T(test_flow_given_unknown_neighbour_reply_waits_for_it),
		T(test_flow_given_invented_neighbours_holds_few_replies),
		T(test_flow_given_lost_cookie_ack_still_opens),
		T(test_flow_given_entry_behind_a_cookie_still_opens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
