/* Arenas that cannot grow: whatever does not fit is refused or tried again, and nothing is lost
 * for good. The n-th growth fails, for every n that one exchange needs. */
#include "fixture.h"

#include "../faults.h"

#include <string.h>

enum {
	BYTES = 200000,
	SWEEP_MAX = 64,
};

/* A connection with data out of order, closed from both ends; what is refused is refused. */
static void exchange(void)
{
	struct sim_sock *here = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0), *there;
	uint8_t data[SIM_BLOCK_BYTES];

	memset(data, 3, sizeof(data));
	run_ms(5000);
	if (here->state == SIM_SOCK_FAILED) {
		assert_true(here->error == ENOBUFS || here->error == ENFILE);
		return;
	}
	if (f.listener->pending == 0) {
		assert_true(sim_sock_close(here, true));
		return;
	}
	there = sim_client_accept(f.listener, 0);
	run_ms(1000);
	if (there->state == SIM_SOCK_FAILED) { /* it waits on, for the next one to accept it */
		assert_int_equal(there->error, ENFILE);
		there = sim_client_accept(f.listener, 0);
		run_ms(1000);
		assert_int_equal(there->state, SIM_SOCK_OPEN);
	}
	for (uint32_t sent = 0; sent < BYTES;) {
		if (here->flags & PROTO_FLOW_CLOSED || there->state != SIM_SOCK_OPEN)
			break;
		sent += sim_sock_send(here, data, sizeof(data), false);
		run_ms(5);
		read_bytes(there, 3);
	}
	run_ms(5000);
	read_bytes(there, 3);
	if (here->state == SIM_SOCK_OPEN)
		assert_true(sim_sock_close(here, false));
	if (there->state == SIM_SOCK_OPEN)
		assert_true(sim_sock_close(there, false));
}

static int setup_lossy(void **state)
{
	(void)state;
	fixture_prepare();
	f.cfg.profile.loss_ppm = 20000;
	fixture_start();
	return 0;
}

static const char *sweep_one(unsigned int n)
{
	const char *fired;

	setup_lossy(NULL);
	fault_arm_only("fallocate", n);
	exchange();
	run_ms(1000);
	fired = fault_end();
	run_ms(200000); /* TIME-WAIT and every retry are over */
	f.w.link.way[0].profile.loss_ppm = f.w.link.way[1].profile.loss_ppm = 0;
	assert_works(f.here);
	run_ms(200000);
	for (int side = 0; side < 2; side++) {
		assert_int_equal(gauges(side).conns, 0);
		assert_int_equal(gauges(side).halves, 0);
		assert_int_equal(gauges(side).tws, 0);
		assert_int_equal(gauges(side).chunks_used, 0);
		assert_int_equal(engine_of(side)->descs.used, 0);
		assert_int_equal(engine_of(side)->reasms.used, 0);
		assert_int_equal(engine_counters(engine_of(side))->sessions_condemned, 0);
	}
	fixture_teardown(NULL);
	return fired;
}

static void test_engine_given_any_growth_failing_serves_on(void **state)
{
	unsigned int n = 1;

	(void)state;
	while (sweep_one(n))
		assert_true(++n < SWEEP_MAX);
	assert_true(n > 8); /* connections, sockets, descriptors, chunks, at both ends */
}

/* The first refusals have a name: connect(2) says which. */
static void test_connect_given_no_memory_says_so(void **state)
{
	struct sim_sock *sk;

	(void)state;
	fault_arm_only("fallocate", 1);
	sk = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	run_ms(20);
	assert_string_equal(fault_end(), "fallocate");
	assert_int_equal(sk->state, SIM_SOCK_FAILED);
	assert_int_equal(sk->error, ENOBUFS);
	assert_int_equal(engine_counters(engine_of(0))->conns_full, 1);
	fault_arm_only("fallocate", 2);
	sk = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	run_ms(20);
	assert_string_equal(fault_end(), "fallocate");
	assert_int_equal(sk->state, SIM_SOCK_FAILED);
	assert_int_equal(sk->error, ENFILE);
	assert_int_equal(gauges(0).conns, 0);
	assert_works(f.here);
}

/* No place for a half-open connection: a cookie does without. */
static void test_listener_given_no_memory_for_half_open_sends_a_cookie(void **state)
{
	struct sim_sock *sk = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);

	(void)state;
	fault_arm_only("fallocate", 3); /* after the connection and the socket of this side */
	run_ms(50);
	assert_string_equal(fault_end(), "fallocate");
	assert_int_equal(engine_counters(engine_of(1))->halves_full, 1);
	assert_int_equal(engine_tcp_counters(engine_of(1))->cookies_accepted, 1);
	assert_true(sk->flags & PROTO_FLOW_ESTABLISHED);
}

/* Not the session's fault: the connection goes, its others stay. */
static void test_send_given_no_memory_resets_that_connection_alone(void **state)
{
	struct pair p = open_pair(f.here), other = open_pair(f.here);

	(void)state;
	fault_arm_only("fallocate", 1);
	send_bytes(p.here, 1, 1000);
	run_ms(10);
	assert_string_equal(fault_end(), "fallocate");
	assert_true(p.here->flags & PROTO_FLOW_CLOSED);
	assert_true(p.there->flags & PROTO_FLOW_CLOSED);
	assert_int_equal(p.there->error, ECONNRESET);
	assert_int_equal(engine_counters(engine_of(0))->send_descriptors_empty, 1);
	send_bytes(p.here, 1, 1000); /* what is under way meanwhile is no crime */
	send_bytes(other.here, 2, 1000);
	run_ms(50);
	assert_int_equal(read_bytes(other.there, 2), 1000);
	assert_int_equal(f.here->condemned, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_engine_given_any_growth_failing_serves_on),
		T(test_connect_given_no_memory_says_so),
		T(test_send_given_no_memory_resets_that_connection_alone),
		T(test_listener_given_no_memory_for_half_open_sends_a_cookie),
	};

	return cmocka_run_group_tests_name("growth", tests, NULL, NULL);
}
