/* What one client may cost the others: work per turn, and what all share. */
#include "fixture.h"

#include <string.h>

enum {
	CROWD = 40,
};

static struct sim_sock *connect_to(uint32_t ip_be)
{
	return sim_client_connect(f.here, 0, ip_be, PORT, 0);
}

/* An address of the link that nobody has: connections to it wait for a neighbour. */
static uint32_t nobody_ip(void)
{
	const uint8_t b[4] = {10, 0, 0, 99};
	uint32_t ip_be;

	memcpy(&ip_be, b, sizeof(ip_be));
	return ip_be;
}

static uint32_t waiters_of(const struct engine *e)
{
	uint32_t n = 0, last = NONE;

	for (uint32_t i = e->neigh_waiters.head; i != NONE; n++) {
		const struct tcp_conn *c = shm_arena_at(&e->conns, i);

		assert_int_equal(e->waiter_prev[i], last);
		last = i;
		i = c->due_next;
	}
	assert_int_equal(e->neigh_waiters.tail, last);
	return n;
}

static void test_waiters_given_close_in_any_order_stay_linked(void **state)
{
	static const uint32_t order[CROWD] = {39, 0, 20, 19, 21, 1, 38};
	struct sim_sock *sk[CROWD];

	(void)state;
	for (uint32_t i = 0; i < CROWD; i++)
		sk[i] = connect_to(nobody_ip());
	run_ms(5);
	assert_int_equal(waiters_of(engine_of(0)), CROWD);
	for (uint32_t i = 0; i < 7; i++) {
		assert_true(sim_sock_close(sk[order[i]], true));
		run_ms(2);
		assert_int_equal(waiters_of(engine_of(0)), CROWD - 1 - i);
	}
	sim_client_crash(f.here);
	run_ms(2);
	assert_int_equal(waiters_of(engine_of(0)), 0);
	assert_int_equal(engine_of(0)->neigh_waiters.tail, NONE);
	assert_int_equal(gauges(0).conns, 0);
}

/* The due list is linked one way: what is released while it is in it is freed by the next output,
 * and until then nobody sees it. */
static void test_due_list_given_released_in_any_order_frees_them_at_output(void **state)
{
	static const uint32_t order[] = {39, 0, 20, 19, 21, 1, 38};
	struct sim_sock *sk[CROWD];
	struct engine *e = engine_of(0);
	uint32_t released = 0;

	(void)state;
	for (uint32_t i = 0; i < CROWD; i++)
		sk[i] = connect_to(nobody_ip());
	run_ms(5);
	for (uint32_t i = 0; i < CROWD; i++) { /* as when their neighbour is found */
		struct tcp_conn *c = conn_at(e, sock_at(e, sk[i]->handle.idx)->conn);

		engine_neigh_unwait(e, c);
		flow_due(e, c);
	}
	for (uint32_t i = 0; i < 7; i++)
		assert_true(sim_sock_close(sk[order[i]], true));
	gate_poll(e);
	for (uint32_t i = 0; i < e->conns.grown; i++)
		released += shm_arena_is_used(&e->conns, i) && !conn_is_used(e, i);
	assert_int_equal(released, 7);
	assert_int_equal(e->conns.used, CROWD);
	run_ms(2);
	assert_int_equal(e->conns.used, CROWD - 7);
	assert_int_equal(waiters_of(e), CROWD - 7);
	assert_int_equal(e->due.head, NONE);
	assert_int_equal(e->due.tail, NONE);
	sim_client_crash(f.here);
	run_ms(2);
	assert_int_equal(gauges(0).conns, 0);
}

/* Each byte its own descriptor: the session that takes more than its share goes, and those of
 * the others are left. */
static void test_txq_given_session_over_its_share_condemns_it(void **state)
{
	struct engine *e = engine_of(0);
	struct sim_sock *sk = connect_to(nobody_ip());
	const uint8_t byte = 1;

	(void)state;
	run_ms(5);
	assert_int_equal(sim_sock_send(sk, &byte, 1, false), 1);
	run_ms(1);
	assert_int_equal(e->sessions[0]->tx_descs, 1);
	e->sessions[0]->tx_descs += TXQ_DESCRIPTORS_SESSION + TXQ_DESCRIPTORS_PER_CONN;
	assert_int_equal(sim_sock_send(sk, &byte, 1, false), 1);
	engine_turn(e, f.w.now_us);
	assert_int_equal(e->counters.send_descriptors_full, 1);
	assert_int_equal(e->descs.used, 1);
	e->sessions[0]->tx_descs -= TXQ_DESCRIPTORS_SESSION + TXQ_DESCRIPTORS_PER_CONN;
	run_ms(1);
	assert_int_equal(f.here->condemned, PROTO_CONDEMNED_LIMIT);
	assert_int_equal(e->descs.used, 0);
}

static void submit_nothings(struct sim_client *c, uint32_t ctx, unsigned int n)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_OP_CONSUMED, 0)};

	while (n-- > 0)
		assert_int_equal(sim_client_submit(c, ctx, &slot), 0);
}

static void test_poll_given_many_rings_of_a_session_shares_its_turn(void **state)
{
	struct engine *e = engine_of(0);
	uint64_t before = engine_counters(e)->slots;

	(void)state;
	for (uint32_t ctx = 0; ctx < 8; ctx++)
		submit_nothings(f.here, ctx, 32);
	engine_turn(e, f.w.now_us);
	assert_int_equal(engine_counters(e)->slots - before, f.cfg.host[0].limits.slots_per_turn);
}

static int setup_rings(void **state)
{
	(void)state;
	fixture_prepare();
	f.client_cfg.contexts = 8;
	fixture_start();
	return 0;
}

/* The whole ephemeral range in use towards one peer: refused after a bounded search. */
static void test_connect_given_no_free_port_refuses(void **state)
{
	struct sim_sock *sk;

	(void)state;
	for (uint32_t port = SIM_PORT_FIRST; port <= SIM_PORT_LAST; port++)
		f.w.host[0].port_owner[port] = 4711;
	sk = connect_to(sim_ip_be(1));
	run_ms(2);
	assert_int_equal(sk->state, SIM_SOCK_FAILED);
	assert_int_equal(sk->error, EADDRNOTAVAIL);
	f.w.host[0].port_owner[SIM_PORT_LAST] = 0;
	sk = connect_to(sim_ip_be(1));
	run_ms(20);
	assert_int_equal(sk->state, SIM_SOCK_OPEN);
	assert_int_equal(sk->key.lport, SIM_PORT_LAST);
}

/* Events alone, no answers: a lie about the index is found there too. */
static void test_publish_given_impossible_index_condemns(void **state)
{
	struct sim_sock *sk = connect_to(sim_ip_be(1));
	struct shm_ring_prod *ring;

	(void)state;
	run_ms(20);
	assert_int_equal(sk->state, SIM_SOCK_OPEN);
	f.here->deaf = true;
	ring = &engine_of(0)->sessions[0]->rings[0].completions;
	ring->cons_cached = ring->head - ring->mask - 1; /* full, so that the index is read */
	*proto_layout_completion_idx(&f.here->layout, f.here->down[0].client, 0, 0) =
		ring->head + 5;
	sock_mark(engine_of(0), sock_at(engine_of(0), sk->handle.idx));
	run_ms(2);
	assert_int_equal(f.here->condemned, PROTO_CONDEMNED_INDEX);
	assert_int_equal(engine_counters(engine_of(0))->sessions_condemned, 1);
}

#define A(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		A(test_waiters_given_close_in_any_order_stay_linked),
		A(test_due_list_given_released_in_any_order_frees_them_at_output),
		A(test_txq_given_session_over_its_share_condemns_it),
		cmocka_unit_test_setup_teardown(
			test_poll_given_many_rings_of_a_session_shares_its_turn, setup_rings,
			fixture_teardown),
		A(test_connect_given_no_free_port_refuses),
		A(test_publish_given_impossible_index_condemns),
	};

	return cmocka_run_group_tests_name("attack", tests, NULL, NULL);
}
