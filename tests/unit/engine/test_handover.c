/* Frames for another engine's flow: copied over in bounds, in order, and never lost silently. */
#include "fixture.h"

#include "../faults.h"

#include <string.h>

enum {
	OURS = 40000, /* mod 2: engine 0's */
	THEIRS = 40001,
	DEPTH_MAX = 4096,
	PER_TURN = 64,
};

static int setup(void **state)
{
	fixture_setup_two(state);
	assert_works(f.here); /* also: each knows the other's MAC */
	memset(wakes, 0, sizeof(wakes));
	return 0;
}

/* A segment of nobody's connection, as engine 0 receives it from the port. */
static void receive(uint16_t lport, uint16_t rport)
{
	struct sim_tcp t = {.src_be = sim_ip_be(1),
		.dst_be = sim_ip_be(0),
		.sport = rport,
		.dport = lport,
		.flags = TCP_ACK,
		.seq = 1,
		.ack = 0x1000u + rport,
		.wnd = 100};
	uint8_t data[SIM_FRAME_MAX];
	struct nic_frame frame = {.data = data};

	frame.len_bytes = sim_frame_tcp(data, 1, &t);
	rx_frame(engines[0], &frame);
	memset(data, 0xee, sizeof(data)); /* the port has its buffer back */
}

/* Resets that host 0 has sent; the sequence number says which segment each is for. */
static unsigned int resets(uint32_t first_seq)
{
	struct sim_frame *frame;
	unsigned int n = 0;

	f.w.link.now_us += 1000000;
	while ((frame = sim_link_receive(&f.w.link, 1))) {
		struct sim_tcp t;

		if (sim_frame_read(&t, frame->data, frame->len_bytes) && t.flags & TCP_RST)
			assert_int_equal(t.seq, first_seq + n++);
		free(frame);
	}
	return n;
}

static void test_handover_given_port_of_another_takes_it_there_in_order(void **state)
{
	(void)state;
	for (uint16_t i = 0; i < 5; i++)
		receive(THEIRS, (uint16_t)(1000 + i));
	assert_int_equal(engines[0]->counters.handed_over, 5);
	assert_int_equal(wakes[1], 5);
	assert_int_equal(wakes[0], 0);
	assert_int_equal(resets(0), 0); /* engine 0 answers nothing itself */
	assert_false(engine_sleep_prepare(engines[1]));
	engine_turn(engines[1], f.w.now_us);
	assert_int_equal(resets(0x1000 + 1000), 5);
	assert_int_equal(engines[1]->counters.handed_over, 0); /* and none goes back */
	assert_int_equal(engines[1]->handover_depth, 0);
	assert_true(handover_empty(engines[1]));
}

static void test_handover_given_own_port_stays(void **state)
{
	(void)state;
	receive(OURS, 1000);
	assert_int_equal(engines[0]->counters.handed_over, 0);
	assert_int_equal(resets(0x1000 + 1000), 1);
}

static void test_handover_given_owner_that_lags_is_bounded(void **state)
{
	unsigned int turns = 0;

	(void)state;
	for (uint32_t i = 0; i < DEPTH_MAX + 10; i++)
		receive(THEIRS, (uint16_t)(1000 + i));
	assert_int_equal(engines[0]->counters.handed_over, DEPTH_MAX);
	assert_int_equal(engines[0]->counters.handover_full, 10);
	assert_int_equal(engines[1]->handover_depth, DEPTH_MAX);
	while (handover_run(engines[1]) == PER_TURN)
		turns++;
	assert_int_equal(turns, DEPTH_MAX / PER_TURN);
	assert_int_equal(engines[1]->handover_depth, 0);
	receive(THEIRS, 1000);
	assert_int_equal(engines[0]->counters.handed_over, DEPTH_MAX + 1);
	/* one is left for engine_destroy() */
}

static void test_handover_given_no_memory_counts_it(void **state)
{
	(void)state;
	fault_arm_only("malloc", 1);
	receive(THEIRS, 1000);
	assert_string_equal(fault_end(), "malloc");
	assert_int_equal(engines[0]->counters.handover_full, 1);
	assert_int_equal(engines[1]->handover_depth, 0);
	assert_int_equal(wakes[1], 0);
}

/* Without a table of peers (at start) the engine answers as if the port were its own. */
static void test_handover_given_no_peers_answers_itself(void **state)
{
	(void)state;
	engines[0]->cfg.peers = NULL;
	receive(THEIRS, 1000);
	assert_int_equal(engines[0]->counters.handed_over, 0);
	assert_int_equal(resets(0x1000 + 1000), 1);
}

/* A port that is bound is refused on the engine that does not own it: its answers would not
 * come here. */
static void test_connect_given_port_of_another_engine_refuses(void **state)
{
	struct sim_sock *sk;

	(void)state;
	f.w.host[0].port_owner[THEIRS] = f.here->session;
	sk = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, THEIRS);
	run_ms(20);
	assert_int_equal(sk->state, SIM_SOCK_FAILED);
	assert_int_equal(sk->error, EADDRNOTAVAIL);
	sk = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	run_ms(20);
	assert_int_equal(sk->state, SIM_SOCK_OPEN);
	assert_int_equal(sk->key.lport % 2, 0);
}

#define H(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown_two)

int main(void)
{
	const struct CMUnitTest tests[] = {
		H(test_handover_given_port_of_another_takes_it_there_in_order),
		H(test_handover_given_own_port_stays),
		H(test_handover_given_owner_that_lags_is_bounded),
		H(test_handover_given_no_memory_counts_it),
		H(test_handover_given_no_peers_answers_itself),
		H(test_connect_given_port_of_another_engine_refuses),
	};

	return cmocka_run_group_tests_name("handover", tests, NULL, NULL);
}
