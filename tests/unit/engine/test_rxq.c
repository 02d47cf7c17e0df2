/* Receive chunks: order, exhaustion, early data, and that all of it comes back. */
#include "fixture.h"

static void assert_stream(struct sim_sock *sk, uint32_t len)
{
	uint32_t got = 0;

	for (int i = 0; i < 200 && got < len; i++) {
		run_ms(100);
		got += read_bytes(sk, 0x77);
	}
	run_ms(5); /* for the engine to hear of it */
	assert_int_equal(got, len);
}

static int setup_reordering(void **state)
{
	(void)state;
	fixture_prepare();
	f.cfg.profile.reorder_ppm = 300000;
	f.cfg.profile.reorder_us = 5000;
	fixture_start();
	return 0;
}

static void test_rxq_given_reordered_segments_delivers_in_order(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	send_bytes(p.here, 0x77, 100000);
	assert_stream(p.there, 100000);
	assert_true(engine_tcp_counters(engine_of(1))->out_of_order > 0);
	assert_int_equal(gauges(1).chunks_used, 0);
}

static void test_rxq_given_idle_connection_holds_no_chunk(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	send_bytes(p.here, 0x77, 100);
	run_ms(50);
	assert_int_equal(gauges(1).chunks_used, 1);
	assert_int_equal(read_bytes(p.there, 0x77), 100);
	run_ms(5);
	assert_int_equal(gauges(1).chunks_used, 0);
}

/* One segment of 5 slabs, and no more to be had. */
static int setup_scarce(void **state)
{
	(void)state;
	fixture_prepare();
	f.client_cfg.up_bytes = 5 * SLAB_BYTES;
	f.client_cfg.up_max_bytes = f.client_cfg.up_bytes;
	fixture_start();
	return 0;
}

static void test_rxq_given_no_chunks_left_loses_nothing(void **state)
{
	struct pair a = open_pair(f.here), b = open_pair(f.here);

	(void)state;
	send_bytes(a.here, 0x77, 200000);
	send_bytes(b.here, 0x77, 200000);
	run_ms(3000); /* nobody reads */
	assert_true(a.there->received_pos > 0 && a.there->received_pos < 200000);
	assert_true(b.there->received_pos > 0);
	assert_int_equal(a.there->error, 0);
	assert_stream(a.there, 200000);
	assert_stream(b.there, 200000);
	assert_int_equal(gauges(1).chunks_used, 0);
}

/* One segment of 32 slabs for connections that want it several times over. */
static int setup_crowded(void **state)
{
	(void)state;
	fixture_prepare();
	f.client_cfg.up_bytes = 32 * SLAB_BYTES;
	f.client_cfg.up_max_bytes = f.client_cfg.up_bytes;
	fixture_start();
	return 0;
}

/* Their windows close before memory is used up; whichever a program reads first gets on, though
 * all others hold what was sent to them. */
static void test_rxq_given_many_unread_connections_each_gets_on(void **state)
{
	struct pair p[8];
	uint64_t held = 0;

	(void)state;
	for (int i = 0; i < 8; i++) {
		p[i] = open_pair(f.here);
		send_bytes(p[i].here, 0x77, 200000);
	}
	run_ms(5000);
	for (int i = 0; i < 8; i++) {
		assert_true(p[i].there->received_pos > 0);
		held += p[i].there->received_pos;
	}
	assert_true(held > 8 * SLAB_BYTES && held < 32 * SLAB_BYTES);
	assert_int_equal(engine_counters(engine_of(1))->rx_chunks_empty, 0);
	for (int i = 7; i >= 0; i--)
		assert_stream(p[i].there, 200000);
	assert_int_equal(gauges(1).chunks_used, 0);
}

static int setup_growing(void **state)
{
	(void)state;
	fixture_prepare();
	f.client_cfg.up_bytes = 5 * SLAB_BYTES;
	f.client_cfg.up_max_bytes = 4 << 20;
	fixture_start();
	return 0;
}

static void test_rxq_given_scarce_chunks_asks_for_a_segment(void **state)
{
	struct pair a = open_pair(f.here), b = open_pair(f.here);

	(void)state;
	send_bytes(a.here, 0x77, 120000);
	send_bytes(b.here, 0x77, 120000);
	run_ms(1000);
	assert_true(f.there->up_count > 1);
	assert_int_equal(a.there->received_pos, 120000);
	assert_int_equal(b.there->received_pos, 120000);
	assert_stream(a.there, 120000);
	assert_stream(b.there, 120000);
}

/* What comes before accept waits in the engine's own memory and is adopted. */
static void test_rxq_given_early_data_adopts_it_at_accept(void **state)
{
	struct sim_sock *c = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	struct sim_sock *s;

	(void)state;
	run_ms(50);
	send_bytes(c, 0x77, 40000);
	assert_true(sim_sock_shutdown(c));
	run_ms(100);
	assert_true(engine_of(1)->pending_chunks.chunks_used > 1);
	s = sim_client_accept(f.listener, 0);
	run_ms(50);
	assert_int_equal(engine_of(1)->pending_chunks.chunks_used, 0);
	assert_true(s->flags & PROTO_FLOW_FIN);
	assert_stream(s, 40000);
}

/* Early data that finds no room waits, and the listener speaks up when there is room. */
static void test_rxq_given_no_room_at_accept_keeps_waiting(void **state)
{
	struct sim_sock *c[2], *first, *second;

	(void)state;
	for (int i = 0; i < 2; i++) {
		c[i] = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
		run_ms(50);
		send_bytes(c[i], 0x77, 60000);
	}
	run_ms(200);
	first = sim_client_accept(f.listener, 0); /* takes all slabs */
	run_ms(10);
	assert_int_equal(first->state, SIM_SOCK_OPEN);
	second = sim_client_accept(f.listener, 0);
	run_ms(10);
	assert_int_equal(second->state, SIM_SOCK_FAILED);
	assert_int_equal(second->error, EAGAIN);
	assert_int_equal(f.listener->pending, 0);
	assert_stream(first, 60000);
	assert_int_equal(f.listener->pending, 1);
	second = sim_client_accept(f.listener, 0);
	run_ms(10);
	assert_stream(second, 60000);
	assert_int_equal(c[1]->error, 0);
}

static int setup_three_slabs(void **state)
{
	(void)state;
	fixture_prepare();
	f.client_cfg.up_bytes = 3 * SLAB_BYTES;
	f.client_cfg.up_max_bytes = f.client_cfg.up_bytes;
	fixture_start();
	return 0;
}

static int setup_three_slabs_reordering(void **state)
{
	(void)state;
	fixture_prepare();
	f.client_cfg.up_bytes = 3 * SLAB_BYTES;
	f.client_cfg.up_max_bytes = f.client_cfg.up_bytes;
	f.cfg.profile.reorder_ppm = 500000;
	f.cfg.profile.reorder_us = 5000;
	fixture_start();
	return 0;
}

/* Pieces that came out of order lie in chunks of their own: more than the session has slabs. */
static void test_rxq_given_scattered_early_data_adopts_it_at_accept(void **state)
{
	struct sim_sock *c = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	struct sim_sock *s;

	(void)state;
	run_ms(50);
	send_bytes(c, 0x77, 60000);
	run_ms(500);
	assert_true(engine_of(1)->pending_chunks.chunks_used > 6);
	s = sim_client_accept(f.listener, 0);
	run_ms(50);
	assert_int_equal(s->error, 0);
	assert_true(gauges(1).chunks_used <= 3);
	assert_stream(s, 60000);
}

static int setup_one_slab(void **state)
{
	(void)state;
	fixture_prepare();
	f.client_cfg.up_bytes = SLAB_BYTES;
	f.client_cfg.up_max_bytes = f.client_cfg.up_bytes;
	fixture_start();
	return 0;
}

/* What does not fit even an empty session is reset, and leaves nothing behind. */
static void test_rxq_given_early_data_past_all_memory_resets(void **state)
{
	struct sim_sock *c = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	struct sim_sock *s;

	(void)state;
	run_ms(50);
	send_bytes(c, 0x77, 60000);
	run_ms(200);
	s = sim_client_accept(f.listener, 0);
	run_ms(50);
	assert_int_equal(s->state, SIM_SOCK_OPEN);
	assert_int_equal(s->error, ECONNRESET);
	assert_int_equal(s->received_pos, 0);
	assert_int_equal(c->error, ECONNRESET);
	assert_true(sim_sock_close(s, false));
	run_ms(5);
	assert_int_equal(gauges(1).chunks_used, 0);
	assert_int_equal(engine_of(1)->pending_chunks.chunks_used, 0);
	assert_works(f.here);
}

static int setup_tiny_buffer(void **state)
{
	(void)state;
	fixture_prepare();
	for (int side = 0; side < 2; side++) {
		f.cfg.host[side].mtu_bytes = 9000;
		f.cfg.host[side].tcp.mss_max_bytes = 8960;
		f.cfg.host[side].limits.rcvbuf_bytes = 4096;
	}
	fixture_start();
	return 0;
}

static void test_rxq_given_buffer_below_segment_still_opens_window(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	send_bytes(p.here, 0x77, 150000);
	assert_stream(p.there, 150000);
}

static void test_rxq_given_close_with_unread_data_resets(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	send_bytes(p.here, 0x77, 1000);
	run_ms(50);
	assert_true(sim_sock_close(p.there, false));
	run_ms(50);
	assert_int_equal(p.here->error, ECONNRESET);
	assert_int_equal(p.there->state, SIM_SOCK_GONE);
	assert_int_equal(gauges(1).chunks_used, 0);
}

/* -- many that begin at once ------------------------------------------------------------------ */

enum {
	CROWD_MAX = 1000,
	CROWD_UP_BYTES = 1 << 20, /* to begin with, and by how much it grows */
	CROWD_UP_MAX_BYTES = 16 << 20,
};

static struct {
	struct pair p[CROWD_MAX];
	uint32_t count;
	uint32_t bytes; /* for each */
	uint32_t sent[CROWD_MAX];
	bool back; /* those that connected receive, else those that accepted */
} crowd;

static int setup_crowd(void **state)
{
	(void)state;
	fixture_prepare();
	f.client_cfg.up_bytes = CROWD_UP_BYTES;
	f.client_cfg.up_max_bytes = CROWD_UP_MAX_BYTES;
	f.client_cfg.down_bytes = 16 << 20;
	f.client_cfg.down_max_bytes = 256 << 20;
	f.client_cfg.ring_order_log2 = 10;
	for (int side = 0; side < 2; side++) {
		f.cfg.host[side].limits.conns_max = 2048;
		f.cfg.host[side].limits.session_conns_max = 2048;
	}
	fixture_start();
	return 0;
}

static struct sim_sock *crowd_sender(uint32_t i)
{
	return crowd.back ? crowd.p[i].there : crowd.p[i].here;
}

static struct sim_sock *crowd_reader(uint32_t i)
{
	return crowd.back ? crowd.p[i].here : crowd.p[i].there;
}

static void crowd_open(uint32_t count, uint32_t bytes, bool back)
{
	memset(&crowd, 0, sizeof(crowd));
	crowd.count = count;
	crowd.bytes = bytes;
	crowd.back = back;
	for (uint32_t i = 0; i < count; i++) {
		crowd.p[i] = open_pair(f.here);
	}
}

/* Each sends what goes. */
static void crowd_send(void)
{
	static uint8_t data[SIM_BLOCK_BYTES];

	memset(data, 0x77, sizeof(data));
	for (uint32_t i = 0; i < crowd.count; i++)
		for (uint32_t left; (left = crowd.bytes - crowd.sent[i]);) {
			uint32_t n = left < sizeof(data) ? left : sizeof(data);

			n = sim_sock_send(crowd_sender(i), data, n, false);
			crowd.sent[i] += n;
			if (!n)
				break;
		}
}

/* Reads all there is; of every `step`th only. */
static bool crowd_read(uint32_t step)
{
	bool all = true;

	for (uint32_t i = 0; i < crowd.count; i += step) {
		read_bytes(crowd_reader(i), 0x77);
		all = all && crowd_reader(i)->read_pos == crowd.bytes;
	}
	return all;
}

static void crowd_run(uint32_t ms, uint32_t step)
{
	for (uint32_t i = 0; i < ms; i++) {
		crowd_send();
		run_ms(1);
		if (step)
			crowd_read(step);
	}
}

/* Every `step`th is read as it comes, or none; after two seconds all are, and soon all is read.
 * Nothing was dropped for want of memory. */
static void crowd_expect_room(uint32_t step)
{
	const struct engine *e = engine_of(crowd.back ? 0 : 1);
	uint32_t ms = 0;

	crowd_run(2000, step);
	while (!crowd_read(1)) {
		assert_true(ms++ < 500);
		crowd_run(1, 0);
	}
	assert_int_equal(engine_counters(e)->rx_chunks_empty, 0);
	assert_int_equal(engine_counters(e)->rx_ooo_refused, 0);
}

/* Four times what the session may have; each may send before it is known how many will. */
static void test_rxq_given_300_begin_at_once_and_no_reader_keeps_promises(void **state)
{
	(void)state;
	crowd_open(300, 200000, false);
	crowd_expect_room(0);
}

static void test_rxq_given_300_connected_and_no_reader_keeps_promises(void **state)
{
	(void)state;
	crowd_open(300, 200000, true);
	crowd_expect_room(0);
}

static void test_rxq_given_300_begin_at_once_and_slow_readers_keeps_promises(void **state)
{
	(void)state;
	crowd_open(300, 200000, false);
	crowd_expect_room(2);
}

static void test_rxq_given_300_begin_at_once_and_all_read_keeps_promises(void **state)
{
	(void)state;
	crowd_open(300, 200000, false);
	crowd_expect_room(1);
}

static void test_rxq_given_1000_connected_and_slow_readers_keeps_promises(void **state)
{
	(void)state;
	crowd_open(1000, 60000, true);
	crowd_expect_room(2);
}

/* Windows that nobody uses leave others a part of the memory all the same. */
static void test_rxq_given_idle_promises_of_all_memory_lets_one_stream(void **state)
{
	struct sock *sk;

	(void)state;
	crowd_open(600, 400000, false);
	crowd.count = 1; /* all others idle */
	crowd_expect_room(1);
	sk = sock_at(engine_of(1), crowd.p[0].there->handle.idx);
	assert_true(engine_of(1)->sessions[sk->session]->promised_bytes > CROWD_UP_MAX_BYTES);
	assert_true(tcp_conn_rcv_wnd(conn_at(engine_of(1), sk->conn)) >= 128 << 10);
}

#define S(name, setup) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		S(test_rxq_given_reordered_segments_delivers_in_order, setup_reordering),
		T(test_rxq_given_idle_connection_holds_no_chunk),
		S(test_rxq_given_no_chunks_left_loses_nothing, setup_scarce),
		S(test_rxq_given_many_unread_connections_each_gets_on, setup_crowded),
		S(test_rxq_given_scarce_chunks_asks_for_a_segment, setup_growing),
		T(test_rxq_given_early_data_adopts_it_at_accept),
		S(test_rxq_given_no_room_at_accept_keeps_waiting, setup_three_slabs),
		S(test_rxq_given_scattered_early_data_adopts_it_at_accept,
			setup_three_slabs_reordering),
		S(test_rxq_given_early_data_past_all_memory_resets, setup_one_slab),
		S(test_rxq_given_buffer_below_segment_still_opens_window, setup_tiny_buffer),
		T(test_rxq_given_close_with_unread_data_resets),
		S(test_rxq_given_300_begin_at_once_and_no_reader_keeps_promises, setup_crowd),
		S(test_rxq_given_300_connected_and_no_reader_keeps_promises, setup_crowd),
		S(test_rxq_given_300_begin_at_once_and_slow_readers_keeps_promises, setup_crowd),
		S(test_rxq_given_300_begin_at_once_and_all_read_keeps_promises, setup_crowd),
		S(test_rxq_given_1000_connected_and_slow_readers_keeps_promises, setup_crowd),
		S(test_rxq_given_idle_promises_of_all_memory_lets_one_stream, setup_crowd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
