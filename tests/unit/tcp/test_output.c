/* What goes out and when: segmentation, Nagle, cork, windows, TSO (RFC 9293 section 3.8.6). */
#include "single.h"

static void test_output_given_data_cuts_at_mss(void **state)
{
	(void)state;
	host_send(&h, 3000);
	assert_int_equal(host_output(&h), 3);
	assert_segment(&h, &h.out[0], TCP_ACK, 1, 1, 1460);
	assert_segment(&h, &h.out[1], TCP_ACK, 1461, 1, 1460);
	assert_segment(&h, &h.out[2], TCP_ACK | TCP_PSH, 2921, 1, 80);
	assert_int_equal(h.out[2].pos, 2920);
	assert_int_equal(h.c.entry.deadline_us, h.now_us + h.c.rto_us);
}

static void test_output_given_tso_sends_one_multiple_of_mss(void **state)
{
	(void)state;
	h.cfg.tso_max_bytes = 10000;
	host_send(&h, 14600); /* the initial window */
	assert_int_equal(host_output(&h), 2);
	assert_segment(&h, &h.out[0], TCP_ACK, 1, 1, 6 * 1460);
	assert_segment(&h, &h.out[1], TCP_ACK | TCP_PSH, 1 + 6 * 1460, 1, 4 * 1460);
	assert_int_equal(h.out[0].mss_bytes, 1460);
	assert_int_equal(h.c.segs_out, 2 + 10);
}

static void test_output_given_initial_window_stops_at_ten_segments(void **state)
{
	(void)state;
	host_send(&h, 50000);
	assert_int_equal(host_output(&h), 10);
	assert_int_equal(tcp_conn_snd_nxt(&h.c), 14600);
	assert_true(tcp_conn_has(&h.c, TCP_F_CWND_LIMITED));
}

static void test_output_given_out_array_full_goes_on(void **state)
{
	struct tcp_out out[3];

	(void)state;
	host_send(&h, 5000);
	assert_int_equal(tcp_output(&h.ctx, &h.c, h.now_us, out, 3), 3);
	assert_int_equal(tcp_output(&h.ctx, &h.c, h.now_us, out, 3), 1);
	assert_int_equal(out[0].len, 5000 - 3 * 1460);
}

/* -- tails ------------------------------------------------------------------------------------ */

static void test_output_given_small_write_in_flight_holds_next(void **state)
{
	(void)state;
	host_send(&h, 10);
	host_output_one(&h);
	host_send(&h, 10);
	assert_int_equal(host_output(&h), 0);
	host_input(&h, TCP_ACK, 1, 11, 60000, 0);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH, 11, 1, 10);
}

static void test_output_given_full_segments_in_flight_sends_tail(void **state)
{
	(void)state;
	host_send(&h, 1460);
	host_output_one(&h);
	host_send(&h, 10);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH, 1461, 1, 10);
}

static void test_output_given_nodelay_sends_all(void **state)
{
	(void)state;
	host_send(&h, 10);
	host_output_one(&h);
	host_send(&h, 10);
	assert_int_equal(host_output(&h), 0);
	host_note(&h, tcp_setopt(&h.ctx, &h.c, TCP_OPT_NODELAY, true, h.now_us));
	host_output_one(&h);
	host_send(&h, 10);
	host_output_one(&h);
}

static void test_output_given_cork_sends_full_segments_until_200_ms(void **state)
{
	(void)state;
	host_note(&h, tcp_setopt(&h.ctx, &h.c, TCP_OPT_CORK, true, h.now_us));
	host_send(&h, 1500);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 1, 1460);
	host_input(&h, TCP_ACK, 1, 1461, 60000, 0);
	assert_int_equal(host_output(&h), 0);
	assert_int_equal(h.c.entry.deadline_us, h.now_us + 200 * MS_US);
	host_fire(&h);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH, 1461, 1, 40);
}

/* A lost segment is not held back because the user corks meanwhile. */
static void test_output_given_cork_after_loss_retransmits(void **state)
{
	(void)state;
	host_send(&h, 100);
	host_output_one(&h);
	host_note(&h, tcp_setopt(&h.ctx, &h.c, TCP_OPT_CORK, true, h.now_us));
	host_send(&h, 10);
	assert_int_equal(host_output(&h), 0);
	host_fire(&h);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH, 1, 1, 110);
}

static void test_output_given_uncork_sends_tail(void **state)
{
	(void)state;
	host_note(&h, tcp_setopt(&h.ctx, &h.c, TCP_OPT_CORK, true, h.now_us));
	host_send(&h, 100);
	assert_int_equal(host_output(&h), 0);
	host_note(&h, tcp_setopt(&h.ctx, &h.c, TCP_OPT_CORK, false, h.now_us));
	host_output_one(&h);
}

static void test_output_given_more_holds_until_last(void **state)
{
	(void)state;
	host_note(&h, tcp_send(&h.ctx, &h.c, 100, true, h.now_us));
	assert_int_equal(host_output(&h), 0);
	assert_true(h.c.entry.deadline_us != TCP_NEVER);
	host_note(&h, tcp_send(&h.ctx, &h.c, 150, false, h.now_us));
	assert_int_equal(host_output_one(&h)->len, 150);
}

static void test_output_given_close_sends_tail_with_fin(void **state)
{
	(void)state;
	host_send(&h, 10);
	host_output_one(&h);
	host_send(&h, 10);
	host_shutdown(&h);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH | TCP_FIN, 11, 1, 10);
	assert_int_equal(tcp_conn_snd_nxt(&h.c), 21);
}

/* -- the peer's window ---------------------------------------------------------------------------
 */

static void test_output_given_small_window_waits_then_uses_it(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 1, 1, 1000, 0);
	host_send(&h, 5000);
	assert_int_equal(host_output(&h), 0); /* below a segment and half of 60000 */
	assert_int_equal(h.c.entry.deadline_us, h.now_us + 200 * MS_US);
	host_fire(&h);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 1, 1000);
}

static void test_output_given_tiny_receiver_uses_half_of_its_window(void **state)
{
	(void)state;
	h.c.snd_wnd_max = 1000;
	host_input(&h, TCP_ACK, 1, 1, 600, 0);
	host_send(&h, 5000);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 1, 600);
}

static void test_output_given_closed_window_probes_with_back_off(void **state)
{
	uint64_t gap_us = h.c.rto_us;

	(void)state;
	host_input(&h, TCP_ACK, 1, 1, 0, 0);
	host_send(&h, 100);
	assert_int_equal(host_output(&h), 0);
	for (unsigned int i = 0; i < 20; i++) {
		uint64_t before_us = h.now_us;

		host_fire(&h);
		assert_int_equal(h.now_us - before_us, gap_us);
		assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 1, 1);
		host_input(&h, TCP_ACK, 1, 1, 0, 0); /* the peer lives */
		assert_int_equal(host_output(&h), 0);
		gap_us = gap_us * 2 < h.cfg.rto_max_us ? gap_us * 2 : h.cfg.rto_max_us;
	}
	assert_int_equal(h.c.error, 0);
	assert_int_equal(h.counters.window_probes, 20);
	host_input(&h, TCP_ACK, 1, 1, 5000, 0);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH, 1, 1, 100);
	assert_int_equal(h.c.backoff, 0);
	host_input(&h, TCP_ACK, 1, 101, 5000, 0);
	assert_int_equal(h.c.entry.deadline_us, TCP_NEVER);
}

static void test_output_given_accepted_probe_goes_on_behind_it(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 1, 1, 0, 0);
	host_send(&h, 100);
	host_output(&h);
	host_fire(&h);
	host_output_one(&h);
	host_input(&h, TCP_ACK, 1, 2, 3000, 0);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH, 2, 1, 99);
}

static void test_output_given_unanswered_probes_times_out(void **state)
{
	unsigned int n = 0;

	(void)state;
	host_input(&h, TCP_ACK, 1, 1, 0, 0);
	host_send(&h, 100);
	while (h.c.state != TCP_CLOSED && n++ < 30) {
		host_output(&h);
		host_fire(&h);
	}
	assert_int_equal(n, 16); /* data_retries and the one that gives up */
	assert_int_equal(h.c.error, ETIMEDOUT);
	assert_int_equal(host_output_one(&h)->flags, TCP_RST | TCP_ACK);
}

static void test_output_given_fin_behind_closed_window_probes_with_it(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 1, 1, 0, 0);
	host_shutdown(&h);
	assert_int_equal(host_output(&h), 0);
	host_fire(&h);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_FIN, 1, 1, 0);
	host_input(&h, TCP_ACK, 1, 2, 0, 0);
	assert_int_equal(h.c.state, TCP_FIN_WAIT_2);
	assert_int_equal(h.c.entry.deadline_us, TCP_NEVER);
}

static void test_output_given_shrunk_window_acks_inside_it(void **state)
{
	(void)state;
	host_send(&h, 5000);
	host_output(&h);
	host_input(&h, TCP_ACK, 1, 1, 1000, 5);
	host_fire(&h);
	host_output_one(&h);
	assert_int_equal(host_rel_seq(&h, &h.out[0]), 1001);
}

/* -- our window
 * ------------------------------------------------------------------------------------ */

static void test_output_given_slow_reader_closes_then_opens_window(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 1, 1, 60000, 60000);
	assert_int_equal(host_output_one(&h)->wnd, 5535);
	h.consumed_pos = 1000; /* less than a segment: not said */
	host_note(&h, tcp_consumed(&h.ctx, &h.c, h.now_us));
	assert_int_equal(host_output(&h), 0);
	h.consumed_pos = 5000; /* less than the peer has anyway: not worth a segment */
	host_note(&h, tcp_consumed(&h.ctx, &h.c, h.now_us));
	assert_int_equal(host_output(&h), 0);
	h.consumed_pos = 6000;
	host_note(&h, tcp_consumed(&h.ctx, &h.c, h.now_us));
	assert_int_equal(host_output_one(&h)->wnd, 5535 + 6000);
	assert_int_equal(h.counters.window_updates, 1);
}

static void test_output_given_limit_that_retreats_keeps_edge(void **state)
{
	uint64_t edge = tcp_conn_rcv_edge(&h.c);

	(void)state;
	h.rcvbuf_bytes = 10;
	host_input(&h, TCP_ACK, 1, 1, 60000, 100);
	host_fire(&h);
	host_output_one(&h);
	assert_int_equal(h.out[0].wnd, edge - 100);
	assert_int_equal(tcp_conn_rcv_edge(&h.c), edge);
}

static void test_output_given_scaled_window_never_retreats_on_the_wire(void **state)
{
	unsigned int rng = 5;
	uint32_t edge;

	(void)state;
	host_teardown(NULL);
	host_init(&h);
	h.rcvbuf_bytes = 200000;
	host_establish(&h, (struct host_open){.wnd = 60000, .wscale = true});
	assert_int_equal(h.c.rcv_wscale, 7);
	edge = h.out[0].ack + ((uint32_t)h.out[0].wnd << 7);
	for (unsigned int i = 0; i < 2000; i++) {
		uint32_t len = 1 + (uint32_t)rand_r(&rng) % 700;

		host_input(&h, TCP_ACK, 1 + (uint32_t)h.c.rcv_nxt_pos, 1, 60000,
			len < tcp_conn_rcv_wnd(&h.c) ? len : 1);
		if (rand_r(&rng) % 4 == 0)
			h.consumed_pos = h.c.rcv_nxt_pos - (h.c.rcv_nxt_pos - h.consumed_pos) / 2;
		h.c.owe |= TCP_OWE_ACK;
		host_output_one(&h);
		assert_true(tcp_seq_geq(h.out[0].ack + ((uint32_t)h.out[0].wnd << 7), edge));
		edge = h.out[0].ack + ((uint32_t)h.out[0].wnd << 7);
		assert_true(tcp_conn_rcv_edge(&h.c) < h.consumed_pos + 200000 + 4096);
	}
}

/* -- congestion window and idleness
 * ------------------------------------------------------------------ */

static void test_output_given_idle_restarts_with_initial_window(void **state)
{
	(void)state;
	h.c.cwnd = 40 * 1460;
	host_send(&h, 1460);
	host_output_one(&h);
	host_input(&h, TCP_ACK, 1, 1461, 60000, 0);
	h.now_us += 5 * SEC_US;
	host_send(&h, 58400);
	assert_int_equal(host_output(&h), 10);
}

static void test_output_given_tiny_app_writes_does_not_grow_cwnd(void **state)
{
	uint32_t cwnd = h.c.cwnd;

	(void)state;
	for (uint32_t i = 0; i < 50; i++) {
		host_send(&h, 100);
		host_output_one(&h);
		host_input(&h, TCP_ACK, 1, 1 + 100 * (i + 1), 60000, 0);
	}
	assert_int_equal(h.c.cwnd, cwnd);
}

/* RFC 7661, 2861: a window that is in use grows, whether its ACKs come one by one or, from a busy
 * port, in a burst that is answered as a whole. */
static void test_output_given_acks_in_a_burst_grows_cwnd_as_for_each(void **state)
{
	enum { ROUNDS = 8, ACKS = 5 };
	uint32_t cwnd = h.c.cwnd, mss = h.c.snd_mss_bytes, acked = 0;

	(void)state;
	tcp_cc_switch(&h.ctx, &h.c, TCP_CC_CUBIC);
	h.c.ssthresh = cwnd;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint32_t flight;

		host_send(&h, 2 * cwnd);
		host_output(&h);
		flight = (uint32_t)tcp_conn_flight(&h.c) / mss;
		h.now_us += 1000;
		for (uint32_t k = 1; k <= ACKS; k++)
			host_input(&h, TCP_ACK, 1, 1 + (acked + flight * k / ACKS) * mss, 60000, 0);
		acked += flight;
	}
	assert_in_range(h.c.cwnd, cwnd + (ROUNDS - 2) * mss, cwnd + ROUNDS * mss);
}

static void test_output_given_answer_carries_ack(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK | TCP_PSH, 1, 1, 60000, 100);
	host_send(&h, 20);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH, 1, 101, 20);
	assert_int_equal(h.c.ack_at, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, host_setup, host_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_output_given_data_cuts_at_mss),
		T(test_output_given_tso_sends_one_multiple_of_mss),
		T(test_output_given_initial_window_stops_at_ten_segments),
		T(test_output_given_out_array_full_goes_on),
		T(test_output_given_small_write_in_flight_holds_next),
		T(test_output_given_full_segments_in_flight_sends_tail),
		T(test_output_given_nodelay_sends_all),
		T(test_output_given_cork_sends_full_segments_until_200_ms),
		T(test_output_given_cork_after_loss_retransmits),
		T(test_output_given_uncork_sends_tail),
		T(test_output_given_more_holds_until_last),
		T(test_output_given_close_sends_tail_with_fin),
		T(test_output_given_small_window_waits_then_uses_it),
		T(test_output_given_tiny_receiver_uses_half_of_its_window),
		T(test_output_given_closed_window_probes_with_back_off),
		T(test_output_given_accepted_probe_goes_on_behind_it),
		T(test_output_given_unanswered_probes_times_out),
		T(test_output_given_fin_behind_closed_window_probes_with_it),
		T(test_output_given_shrunk_window_acks_inside_it),
		T(test_output_given_slow_reader_closes_then_opens_window),
		T(test_output_given_limit_that_retreats_keeps_edge),
		T(test_output_given_scaled_window_never_retreats_on_the_wire),
		T(test_output_given_idle_restarts_with_initial_window),
		T(test_output_given_tiny_app_writes_does_not_grow_cwnd),
		T(test_output_given_acks_in_a_burst_grows_cwnd_as_for_each),
		T(test_output_given_answer_carries_ack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
