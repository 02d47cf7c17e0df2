/* Connections of one host to itself, by its own address: both ends on one engine. */
#include "fixture.h"

#include "../faults.h"

#include <string.h>

enum {
	BIG = 1 << 20,
	FRAMES_MAX = 4096,
	PER_TURN = 64,
};

static struct sim_listener *own_listener;

/* A second client of host 0's, which listens. */
static struct sim_client *own_server(void)
{
	struct sim_client *c = sim_client_new(&f.w.host[0], &f.client_cfg);

	own_listener = sim_client_listen(c, 0, PORT, 16);
	run_ms(10);
	return c;
}

static struct pair open_own(void)
{
	struct pair p = {.here = sim_client_connect(f.here, 0, sim_ip_be(0), PORT, 0)};

	run_ms(50);
	assert_int_equal(p.here->state, SIM_SOCK_OPEN);
	assert_true(p.here->flags & PROTO_FLOW_ESTABLISHED);
	p.there = sim_client_accept(own_listener, 0);
	run_ms(50);
	assert_int_equal(p.there->state, SIM_SOCK_OPEN);
	return p;
}

static void test_own_given_two_clients_exchange_in_both_directions(void **state)
{
	struct pair p;
	uint64_t sent;

	(void)state;
	own_server();
	sent = f.w.link.stats.sent;
	p = open_own();
	send_bytes(p.here, 1, 5000);
	send_bytes(p.there, 2, 7000);
	run_ms(50);
	assert_int_equal(read_bytes(p.there, 1), 5000);
	assert_int_equal(read_bytes(p.here, 2), 7000);
	close_pair(p);
	assert_int_equal(f.w.link.stats.sent, sent); /* and nothing of it left */
	assert_true(engine_of(0)->counters.looped > 10);
	assert_true(own_empty(engine_of(0)));
	assert_works(f.here); /* the other host is there as ever */
}

static void test_own_given_much_data_delivers_it_all(void **state)
{
	struct pair p;
	uint32_t done = 0;

	(void)state;
	own_server();
	p = open_own();
	for (uint32_t sent = 0; sent < BIG; sent += 65536) {
		send_bytes(p.here, 3, 65536);
		run_ms(5);
		done += read_bytes(p.there, 3);
	}
	run_ms(500);
	done += read_bytes(p.there, 3);
	assert_int_equal(done, BIG);
	assert_int_equal(engine_of(0)->counters.loop_full, 0);
}

static void test_own_given_nobody_listens_is_refused(void **state)
{
	struct sim_sock *sk = sim_client_connect(f.here, 0, sim_ip_be(0), PORT, 0);

	(void)state;
	run_ms(20);
	assert_true(sk->flags & PROTO_FLOW_CLOSED);
	assert_int_equal(sk->error, ECONNREFUSED);
}

/* What its one port would lead to is the socket itself. */
static void test_own_given_own_port_as_well_refuses(void **state)
{
	struct sim_sock *sk;

	(void)state;
	f.w.host[0].port_owner[PORT] = f.here->session;
	sk = sim_client_connect(f.here, 0, sim_ip_be(0), PORT, PORT);
	run_ms(20);
	assert_int_equal(sk->state, SIM_SOCK_FAILED);
	assert_int_equal(sk->error, EADDRNOTAVAIL);
}

/* From the wire our own address is still a forger's. */
static void test_own_given_forged_source_on_the_wire_drops(void **state)
{
	struct sim_tcp t = {.src_be = sim_ip_be(0),
		.dst_be = sim_ip_be(0),
		.sport = 1,
		.dport = PORT,
		.flags = TCP_SYN};
	uint8_t data[SIM_FRAME_MAX];
	struct nic_frame in = {.data = data};

	(void)state;
	own_server();
	in.len_bytes = sim_frame_tcp(data, 1, &t);
	rx_frame(engine_of(0), &in);
	in.origin = NIC_REASSEMBLED;
	rx_frame(engine_of(0), &in);
	assert_int_equal(engine_of(0)->net_counters.ip4_own_source, 2);
	assert_int_equal(gauges(0).halves, 0);
}

static struct nic_tx_frame any_frame(void)
{
	static uint8_t headers[60];

	return (struct nic_tx_frame){.headers = headers, .headers_len = sizeof(headers)};
}

static void test_own_given_too_many_drops_and_counts(void **state)
{
	struct engine *e = engine_of(0);
	struct nic_tx_frame frame = any_frame();
	unsigned int turns = 0;

	(void)state;
	for (unsigned int i = 0; i < FRAMES_MAX; i++)
		assert_true(own_send(e, &frame));
	assert_false(own_send(e, &frame));
	assert_int_equal(e->counters.loop_full, 1);
	while (own_run(e) == PER_TURN)
		turns++;
	assert_int_equal(turns, FRAMES_MAX / PER_TURN);
	assert_true(own_empty(e));
	assert_true(own_send(e, &frame)); /* left for engine_destroy() */
}

static void test_own_given_no_memory_drops_and_counts(void **state)
{
	struct engine *e = engine_of(0);
	struct nic_tx_frame frame = any_frame();

	(void)state;
	fault_arm_only("malloc", 1);
	assert_false(own_send(e, &frame));
	assert_string_equal(fault_end(), "malloc");
	assert_int_equal(e->counters.loop_full, 1);
	assert_true(own_empty(e));
}

/* An engine with something for itself does not sleep. */
static void test_own_given_waiting_segment_does_not_sleep(void **state)
{
	struct engine *e = engine_of(0);
	struct nic_tx_frame frame = any_frame();

	(void)state;
	assert_true(own_send(e, &frame));
	assert_false(engine_sleep_prepare(e));
	assert_true(engine_next_us(e) <= e->now_us);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_own_given_two_clients_exchange_in_both_directions),
		T(test_own_given_much_data_delivers_it_all),
		T(test_own_given_nobody_listens_is_refused),
		T(test_own_given_own_port_as_well_refuses),
		T(test_own_given_forged_source_on_the_wire_drops),
		T(test_own_given_too_many_drops_and_counts),
		T(test_own_given_no_memory_drops_and_counts),
		T(test_own_given_waiting_segment_does_not_sleep),
	};

	return cmocka_run_group_tests_name("own", tests, NULL, NULL);
}
