/* Hostile clients: whatever one submits, it loses at most its own session, for the right reason,
 * and a second session goes on. */
#include "fixture.h"

#include <tcp/cc.h>

static struct sim_client *other; /* the honest one, on the same engine as `here` */

static int setup(void **state)
{
	fixture_setup(state);
	other = sim_client_new(&f.w.host[0], &f.client_cfg);
	run_ms(1);
	return 0;
}

static void submit(struct sim_client *c, const struct proto_slot *slot)
{
	assert_int_equal(sim_client_submit(c, 0, slot), 0);
	run_ms(2);
}

static void assert_condemned(enum proto_condemned reason)
{
	run_ms(2);
	assert_int_equal(f.here->condemned, reason);
	assert_int_equal(f.w.host[0].condemned, 1);
	assert_false(other->condemned);
	assert_works(other);
	run_ms(2000);
	assert_true(f.here->gone);
}

static void assert_tolerated(void)
{
	run_ms(2);
	assert_int_equal(f.w.host[0].condemned, 0);
	assert_works(f.here);
	assert_works(other);
}

static struct proto_slot send_slot(
	const struct sim_sock *sk, uint64_t pos, proto_ref ref, uint32_t len)
{
	struct proto_slot s = {.head = proto_head_make(PROTO_OP_SEND, 0)};

	s.body.send =
		(struct proto_send){.handle = sk->handle, .pos = pos, .ref = ref, .len_bytes = len};
	return s;
}

static proto_ref good_ref(void)
{
	return proto_ref_make(0, f.here->layout.down_payload);
}

static void test_gate_given_unknown_operation_condemns(void **state)
{
	struct proto_slot s = {.head = proto_head_make(PROTO_OP_COUNT, 7)};

	(void)state;
	submit(f.here, &s);
	assert_condemned(PROTO_CONDEMNED_OP);
}

static void test_gate_given_reserved_bits_condemns(void **state)
{
	struct proto_slot s = {.head = proto_head_make(PROTO_OP_CLOSE, 7)};

	(void)state;
	s.body.close.reserved[4] = 1;
	submit(f.here, &s);
	assert_condemned(PROTO_CONDEMNED_OP);
}

static void test_gate_given_ref_behind_segment_condemns(void **state)
{
	struct pair p = open_pair(f.here);
	struct proto_slot s =
		send_slot(p.here, 0, proto_ref_make(0, f.here->down[0].bytes - 10), 11);

	(void)state;
	submit(f.here, &s);
	assert_condemned(PROTO_CONDEMNED_RANGE);
}

static void test_gate_given_ref_into_rings_condemns(void **state)
{
	struct pair p = open_pair(f.here);
	struct proto_slot s =
		send_slot(p.here, 0, proto_ref_make(0, f.here->layout.down_payload - 1), 10);

	(void)state;
	submit(f.here, &s);
	assert_condemned(PROTO_CONDEMNED_RANGE);
}

static void test_gate_given_ref_into_missing_segment_condemns(void **state)
{
	struct pair p = open_pair(f.here);
	struct proto_slot s = send_slot(p.here, 0, proto_ref_make(5, 0), 10);

	(void)state;
	submit(f.here, &s);
	assert_condemned(PROTO_CONDEMNED_RANGE);
}

static void test_gate_given_send_position_ahead_condemns(void **state)
{
	struct pair p = open_pair(f.here);
	struct proto_slot s = send_slot(p.here, 1, good_ref(), 10);

	(void)state;
	submit(f.here, &s);
	assert_condemned(PROTO_CONDEMNED_POSITION);
}

static void test_gate_given_send_past_every_buffer_condemns(void **state)
{
	struct pair p;
	struct proto_slot s;
	uint64_t pos = 0;

	(void)state;
	p = open_pair(f.here);
	sim_nic_refuse(f.w.host[0].port, true); /* nothing gets acknowledged */
	while (!f.here->condemned && pos < 64u << 20) {
		s = send_slot(p.here, pos, good_ref(), 512 << 10);
		if (sim_client_submit(f.here, 0, &s))
			break;
		pos += 512 << 10;
		run_ms(1);
	}
	sim_nic_refuse(f.w.host[0].port, false);
	assert_condemned(PROTO_CONDEMNED_LIMIT);
	assert_true(pos <= 2 * (uint64_t)f.cfg.host[0].limits.sndbuf_max_bytes + (1 << 20));
}

static void test_gate_given_send_repeated_changes_nothing(void **state)
{
	struct pair p = open_pair(f.here);
	struct proto_slot s;

	(void)state;
	send_bytes(p.here, 0x11, 1000);
	run_ms(50);
	s = send_slot(p.here, 0, p.here->block_count ? p.here->blocks[0].ref : good_ref(), 1000);
	submit(f.here, &s);
	run_ms(50);
	assert_int_equal(p.there->received_pos, 1000);
	assert_int_equal(read_bytes(p.there, 0x11), 1000);
	assert_tolerated();
}

static void test_gate_given_consumed_ahead_condemns(void **state)
{
	struct pair p = open_pair(f.here);
	struct proto_slot s = {.head = proto_head_make(PROTO_OP_CONSUMED, 0)};

	(void)state;
	s.body.consumed = (struct proto_consumed){.handle = p.here->handle, .pos = 1};
	submit(f.here, &s);
	assert_condemned(PROTO_CONDEMNED_POSITION);
}

static void test_gate_given_send_that_consumed_ahead_condemns(void **state)
{
	struct pair p = open_pair(f.here);
	struct proto_slot s = send_slot(p.here, 0, good_ref(), 10);

	(void)state;
	s.body.send.consumed_pos = 1;
	submit(f.here, &s);
	assert_condemned(PROTO_CONDEMNED_POSITION);
}

static void test_gate_given_send_that_consumed_frees_chunks_once(void **state)
{
	struct pair p = open_pair(f.here);
	struct proto_slot s;

	(void)state;
	send_bytes(p.there, 0x22, 100);
	run_ms(50);
	assert_int_equal(p.here->received_pos, 100);
	assert_int_equal(gauges(0).chunks_used, 1);
	sim_sock_take(p.here, 100);
	send_bytes(p.here, 0x11, 10);
	run_ms(50);
	assert_int_equal(gauges(0).chunks_used, 0);
	s = send_slot(p.here, 0, good_ref(), 10);
	s.body.send.consumed_pos = 100;
	submit(f.here, &s);
	run_ms(50);
	assert_int_equal(p.there->received_pos, 10);
	assert_tolerated();
}

/* A send that goes out tells the window by the way; one that is held back must not hold it. */
static void test_gate_given_send_held_back_that_consumed_tells_the_window(void **state)
{
	struct pair p = open_pair(f.here);
	const struct tcp_counters *t = engine_tcp_counters(engine_of(0));
	static const uint8_t block[4096];
	const uint8_t *data;
	uint64_t before, acked_pos;
	uint32_t n;

	(void)state;
	for (int i = 0; i < 200; i++) { /* until its window is shut */
		sim_sock_send(p.there, block, sizeof(block), false);
		run_ms(5);
	}
	assert_true(p.there->acked_pos < p.there->sent_pos);
	while ((n = sim_sock_peek(p.here, &data)))
		sim_sock_take(p.here, n);
	before = t->window_updates;
	acked_pos = p.there->acked_pos;
	assert_int_equal(sim_sock_send(p.here, (const uint8_t *)"held", 4, true), 4);
	run_ms(10);
	assert_int_equal(p.there->received_pos, 0);
	assert_true(t->window_updates > before);
	assert_true(p.there->acked_pos > acked_pos);
	assert_tolerated();
}

static void test_gate_given_consumed_back_is_repetition(void **state)
{
	struct pair p = open_pair(f.here);
	struct proto_slot s = {.head = proto_head_make(PROTO_OP_CONSUMED, 0)};

	(void)state;
	send_bytes(p.there, 0x22, 5000);
	run_ms(50);
	assert_int_equal(read_bytes(p.here, 0x22), 5000);
	s.body.consumed = (struct proto_consumed){.handle = p.here->handle, .pos = 10};
	submit(f.here, &s);
	assert_tolerated();
}

static void test_gate_given_shutdown_position_wrong_condemns(void **state)
{
	struct pair p = open_pair(f.here);
	struct proto_slot s = {.head = proto_head_make(PROTO_OP_SHUTDOWN, 0)};

	(void)state;
	s.body.shutdown = (struct proto_shutdown){.handle = p.here->handle, .pos = 5};
	submit(f.here, &s);
	assert_condemned(PROTO_CONDEMNED_POSITION);
}

static void test_gate_given_send_after_shutdown_condemns(void **state)
{
	struct pair p = open_pair(f.here);
	struct proto_slot s;

	(void)state;
	assert_true(sim_sock_shutdown(p.here));
	s = send_slot(p.here, 0, good_ref(), 10);
	submit(f.here, &s);
	assert_condemned(PROTO_CONDEMNED_POSITION);
}

/* What a correct client may do before it has heard of the reset. */
static void test_gate_given_shutdown_after_reset_is_ignored(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	assert_true(sim_sock_close(p.there, true));
	run_ms(50);
	assert_int_equal(p.here->error, ECONNRESET);
	send_bytes(p.here, 0x33, 100);
	assert_true(sim_sock_shutdown(p.here));
	run_ms(2);
	assert_true(sim_sock_close(p.here, false));
	run_ms(2);
	assert_int_equal(p.here->state, SIM_SOCK_GONE);
	assert_tolerated();
}

static void test_gate_given_stale_handle_counts(void **state)
{
	struct pair p = open_pair(f.here);
	struct proto_slot s = {.head = proto_head_make(PROTO_OP_CLOSE, 0)};

	(void)state;
	s.body.close.handle = p.here->handle;
	s.body.close.handle.gen++;
	submit(f.here, &s);
	assert_int_equal(engine_counters(engine_of(0))->stale_handles, 1);
	assert_int_equal(p.here->state, SIM_SOCK_OPEN);
	s.body.close.handle.idx = UINT32_MAX;
	submit(f.here, &s);
	assert_int_equal(engine_counters(engine_of(0))->stale_handles, 2);
	assert_tolerated();
}

static void test_gate_given_strangers_handle_leaves_it_alone(void **state)
{
	struct pair p = open_pair(other);
	struct proto_slot s = {.head = proto_head_make(PROTO_OP_CLOSE, 0)};

	(void)state;
	s.body.close.handle = p.here->handle;
	s.body.close.flags = PROTO_CLOSE_ABORT;
	submit(f.here, &s);
	s = send_slot(p.here, 0, good_ref(), 100);
	submit(f.here, &s);
	assert_int_equal(engine_counters(engine_of(0))->stale_handles, 2);
	send_bytes(p.here, 0x44, 500);
	run_ms(50);
	assert_int_equal(read_bytes(p.there, 0x44), 500);
	assert_tolerated();
}

static void test_gate_given_strangers_listener_refuses_accept(void **state)
{
	struct sim_client *thief = sim_client_new(&f.w.host[1], &f.client_cfg);
	struct sim_listener stolen = *f.listener;
	struct sim_sock *sk;

	(void)state;
	run_ms(1);
	assert_non_null(sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0));
	run_ms(50);
	assert_non_null(sim_client_listen(thief, 0, 81, 1)); /* so that requests can name it */
	stolen.client = thief;
	sk = sim_client_accept(&stolen, 0);
	run_ms(5);
	assert_int_equal(sk->state, SIM_SOCK_FAILED);
	assert_int_equal(sk->error, EBADF);
	assert_int_equal(f.listener->pending, 1);
}

static void lie_about_index(uint32_t idx)
{
	atomic_store(
		proto_layout_completion_idx(&f.here->layout, f.here->down[0].client, 0, 0), idx);
}

/* Answers until the engine has to look at the consumer's index. */
static void make_engine_look(void)
{
	struct proto_slot s = {.head = proto_head_make(PROTO_OP_SETOPT, 0)};

	f.here->deaf = true;
	for (int i = 0; i < 200 && !f.here->condemned; i++) {
		sim_client_submit(f.here, 0, &s);
		run_ms(1);
	}
}

static void test_gate_given_consumer_index_ahead_condemns(void **state)
{
	(void)state;
	lie_about_index(1000);
	make_engine_look();
	assert_condemned(PROTO_CONDEMNED_INDEX);
}

static void test_gate_given_consumer_index_back_condemns(void **state)
{
	(void)state;
	open_pair(f.here);
	lie_about_index(UINT32_MAX);
	make_engine_look();
	assert_condemned(PROTO_CONDEMNED_INDEX);
}

/* A client that never reads is not heard any more; nobody else notices, and it goes on where it
 * was once it reads. */
static void test_gate_given_client_that_never_reads_harms_nobody(void **state)
{
	struct pair p = open_pair(f.here);
	struct sim_sock *sk = p.here;
	unsigned int submitted = 0;

	(void)state;
	f.here->deaf = true;
	for (int i = 0; i < 2000; i++) {
		submitted += sim_sock_setopt(sk, PROTO_SET_NODELAY, 1);
		if (i % 20 == 0)
			run_ms(1);
	}
	assert_true(submitted >= 64 && submitted < 300);
	assert_works(other);
	f.here->deaf = false;
	run_ms(200);
	send_bytes(sk, 0x66, 1000);
	run_ms(50);
	assert_int_equal(read_bytes(p.there, 0x66), 1000);
	assert_tolerated();
}

/* A number out of its bounds is refused, whatever the library should have seen to. */
static void test_gate_given_option_out_of_bounds_refuses_it(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	for (uint32_t option = 0; option < PROTO_SET_COUNT + 2; option++) {
		sim_sock_setopt(p.here, option, UINT64_MAX);
		run_ms(1);
	}
	sim_sock_setopt(p.here, PROTO_SET_KEEPCNT, 0);
	sim_sock_setopt(p.here, PROTO_SET_MAXSEG, 0);
	assert_tolerated();
	send_bytes(p.here, 0x66, 1000);
	run_ms(50);
	assert_int_equal(read_bytes(p.there, 0x66), 1000);
}

static int setup_small_rings(void **state)
{
	(void)state;
	fixture_prepare();
	f.client_cfg.ring_order_log2 = PROTO_RING_ORDER_MIN;
	fixture_start();
	return 0;
}

/* A full ring is tried ever more seldom, but only as long as its client takes nothing. */
static void test_gate_given_client_that_reads_again_catches_up_at_once(void **state)
{
	struct pair p[100];

	(void)state;
	for (int i = 0; i < 100; i++)
		p[i] = open_pair(f.here);
	f.here->deaf = true;
	for (int i = 0; i < 100; i++) {
		send_bytes(p[i].there, 0x33, 1);
		run_ms(1);
	}
	run_ms(500);
	f.here->deaf = false;
	run_ms(PUBLISH_RETRY_MAX_US / 1000 + 10); /* several rings full */
	for (int i = 0; i < 100; i++)
		assert_int_equal(p[i].here->received_pos, 1);
}

/* The engine takes a bounded number of slots from a flooded ring in a turn. */
static void test_gate_given_flood_of_submissions_bounds_the_turn(void **state)
{
	struct proto_slot s = {.head = proto_head_make(PROTO_OP_CLOSE, 0)};
	uint64_t before = engine_counters(engine_of(0))->slots;
	unsigned int n = 0;

	(void)state;
	while (!sim_client_submit(f.here, 0, &s))
		n++;
	assert_int_equal(n, 1 << f.client_cfg.ring_order_log2);
	engine_of(0)->cfg.limits.slots_per_turn = 10;
	engine_turn(engine_of(0), f.w.now_us);
	assert_int_equal(engine_counters(engine_of(0))->slots - before, 10);
	engine_turn(engine_of(0), f.w.now_us);
	assert_int_equal(engine_counters(engine_of(0))->slots - before, 20);
	run_ms(1);
	assert_tolerated();
}

static void test_gate_given_hole_in_down_condemns(void **state)
{
	(void)state;
	open_pair(f.here);
	atomic_store(&f.here->hole, true);
	send_bytes(f.here->socks[0], 1, 10);
	run_ms(5);
	assert_condemned(PROTO_CONDEMNED_HOLE);
}

static void test_gate_given_unknown_option_answers(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	assert_true(sim_sock_setopt(p.here, 999, 1));
	run_ms(5);
	assert_tolerated();
}

static void test_gate_given_congestion_control_switches_if_there_is_one(void **state)
{
	struct pair p = open_pair(f.here);
	struct tcp_conn *c = conn_at(engine_of(0), 0);

	(void)state;
	assert_int_equal(c->cc, TCP_CC_CUBIC);
	assert_true(sim_sock_setopt(p.here, PROTO_SET_CONGESTION, TCP_CC_NEWRENO));
	run_ms(5);
	assert_int_equal(c->cc, TCP_CC_NEWRENO);
	assert_true(sim_sock_setopt(p.here, PROTO_SET_CONGESTION, TCP_CC_COUNT));
	assert_true(sim_sock_setopt(p.here, PROTO_SET_CONGESTION, UINT64_MAX));
	run_ms(5);
	assert_int_equal(c->cc, TCP_CC_NEWRENO);
	assert_tolerated();
}

static void test_gate_given_info_tells_all_parts(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	assert_true(sim_sock_info(p.here));
	run_ms(5);
	assert_true(p.here->info_result > 0);
	assert_int_equal(p.here->info_state, 1); /* Linux's TCP_ESTABLISHED */
	assert_tolerated();
}

#define G(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

#define S(name, setup) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		G(test_gate_given_unknown_operation_condemns),
		G(test_gate_given_reserved_bits_condemns),
		G(test_gate_given_ref_behind_segment_condemns),
		G(test_gate_given_ref_into_rings_condemns),
		G(test_gate_given_ref_into_missing_segment_condemns),
		G(test_gate_given_send_position_ahead_condemns),
		G(test_gate_given_send_past_every_buffer_condemns),
		G(test_gate_given_send_repeated_changes_nothing),
		G(test_gate_given_consumed_ahead_condemns),
		G(test_gate_given_send_that_consumed_ahead_condemns),
		G(test_gate_given_send_that_consumed_frees_chunks_once),
		G(test_gate_given_send_held_back_that_consumed_tells_the_window),
		G(test_gate_given_consumed_back_is_repetition),
		G(test_gate_given_shutdown_position_wrong_condemns),
		G(test_gate_given_send_after_shutdown_condemns),
		G(test_gate_given_shutdown_after_reset_is_ignored),
		G(test_gate_given_stale_handle_counts),
		G(test_gate_given_strangers_handle_leaves_it_alone),
		G(test_gate_given_strangers_listener_refuses_accept),
		G(test_gate_given_consumer_index_ahead_condemns),
		G(test_gate_given_consumer_index_back_condemns),
		G(test_gate_given_client_that_never_reads_harms_nobody),
		G(test_gate_given_option_out_of_bounds_refuses_it),
		S(test_gate_given_client_that_reads_again_catches_up_at_once, setup_small_rings),
		G(test_gate_given_flood_of_submissions_bounds_the_turn),
		G(test_gate_given_hole_in_down_condemns),
		G(test_gate_given_unknown_option_answers),
		G(test_gate_given_congestion_control_switches_if_there_is_one),
		G(test_gate_given_info_tells_all_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
