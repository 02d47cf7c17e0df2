/* What a connection goes without when there is no memory for struct tcp_extra. */
#include "single.h"

enum {
	MSS = 1460,
};

static int setup(void **state)
{
	(void)state;
	host_init(&h);
	h.cfg.cc = TCP_CC_CUBIC;
	host_establish(&h, (struct host_open){.wnd = 60000, .sack = true});
	return 0;
}

static void test_extra_given_requests_and_responses_is_not_needed(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		host_input(&h, TCP_ACK | TCP_PSH, 1 + 64 * i, 1 + 64 * i, 60000, 64);
		host_send(&h, 64);
		host_output(&h);
		host_wait(&h, 100);
	}
	assert_false(tcp_conn_has(&h.c, TCP_F_EXTRA));
	assert_ptr_equal(tcp_extra(&h.ctx, &h.c), &tcp_extra_none);
	assert_int_equal(h.c.data_segs.in, 100);
	assert_int_equal(h.c.data_segs.out, 100);
}

/* The counts of segments with data move to the block, for whatever reason it is made. */
static void test_extra_given_many_data_segments_goes_on_counting(void **state)
{
	struct tcp_extra *x;

	(void)state;
	h.c.data_segs.in = UINT16_MAX - 1;
	h.c.data_segs.out = 7;
	host_input(&h, TCP_ACK | TCP_PSH, 1, 1, 60000, 64);
	assert_int_equal(h.c.data_segs.in, UINT16_MAX);
	h.extra_refuse = true;
	host_input(&h, TCP_ACK | TCP_PSH, 65, 1, 60000, 64);
	assert_int_equal(h.c.data_segs.in, UINT16_MAX); /* no memory: it stays */
	h.extra_refuse = false;
	host_input(&h, TCP_ACK | TCP_PSH, 129, 1, 60000, 64);
	assert_true(tcp_conn_has(&h.c, TCP_F_EXTRA));
	x = tcp_extra_have(&h.ctx, &h.c);
	assert_int_equal(x->data_segs_in, UINT16_MAX + 1);
	assert_int_equal(x->data_segs_out, 7);
	host_send(&h, 64);
	host_output(&h);
	assert_int_equal(x->data_segs_out, 8);
}

static void test_extra_given_first_use_begins_as_none(void **state)
{
	struct tcp_extra *x;

	(void)state;
	memset(&h.extra, 0xff, sizeof(h.extra));
	x = tcp_extra_make(&h.ctx, &h.c);
	assert_memory_equal(x, &tcp_extra_none, sizeof(*x));
	x->maxseg = 500;
	assert_ptr_equal(tcp_extra_make(&h.ctx, &h.c), x);
	assert_int_equal(tcp_extra(&h.ctx, &h.c)->maxseg, 500);
}

static void test_extra_given_no_memory_cubic_is_newreno(void **state)
{
	(void)state;
	h.extra_refuse = true;
	tcp_cc_acked(&h.ctx, &h.c, true, MSS, h.now_us);
	assert_int_equal(h.c.cwnd, 11 * MSS);
	tcp_cc_backoff(&h.ctx, &h.c, 10 * MSS, TCP_CC_LOSS);
	assert_int_equal(h.c.ssthresh, 5 * MSS);
	tcp_cc_undo(&h.ctx, &h.c);
	assert_int_equal(h.counters.extra_no_memory, 3);
}

static void test_extra_given_no_memory_loss_is_repaired_all_the_same(void **state)
{
	(void)state;
	h.extra_refuse = true;
	host_send(&h, 10 * MSS);
	host_output(&h);
	host_fire(&h);
	host_output(&h);
	for (unsigned int i = 0; h.out_n == 0; i++) {
		assert_true(i < 3);
		host_fire(&h);
		host_output(&h);
	}
	assert_int_equal(h.out[0].seq, h.c.iss + 1);
	host_input(&h, TCP_ACK, 1, 1 + 10 * MSS, 60000, 0);
	assert_int_equal(tcp_conn_flight(&h.c), 0);
	assert_int_equal(tcp_extra(&h.ctx, &h.c)->retrans_segs, 0);
	assert_false(h.score_used);
}

static void test_extra_given_no_memory_data_out_of_order_is_refused(void **state)
{
	(void)state;
	h.extra_refuse = true;
	host_input(&h, TCP_ACK, 1001, 1, 60000, 100);
	assert_int_equal(h.counters.reasm_no_memory, 1);
	assert_false(h.reasm_used);
	host_input(&h, TCP_ACK, 1, 1, 60000, 100);
	assert_int_equal(h.c.rcv_nxt_pos, 100);
	host_input(&h, TCP_ACK, 1, 1, 60000, 100);
	assert_false(tcp_conn_has(&h.c, TCP_F_DSACK));
	assert_int_equal(host_output(&h), 1);
}

static void test_extra_given_no_memory_options_are_refused(void **state)
{
	(void)state;
	h.extra_refuse = true;
	assert_false(tcp_setopt_room(&h.ctx, &h.c, TCP_OPT_KEEPIDLE_S));
	assert_true(tcp_setopt_room(&h.ctx, &h.c, TCP_OPT_NODELAY));
	host_note(&h, tcp_setopt(&h.ctx, &h.c, TCP_OPT_MAXSEG, 500, h.now_us));
	assert_int_equal(h.c.snd_mss_bytes, MSS);
}

static void test_extra_given_no_memory_algorithms_that_need_it_are_cubic(void **state)
{
	(void)state;
	h.extra_refuse = true;
	h.cfg.pacing = true;
	for (unsigned int id = TCP_CC_DCTCP; id <= TCP_CC_BBR; id++) {
		assert_int_equal(tcp_set_congestion(&h.ctx, &h.c, id), 0);
		assert_int_equal(h.c.cc, TCP_CC_CUBIC);
		assert_false(tcp_conn_has(&h.c, TCP_F_PACED));
	}
	assert_int_equal(h.counters.cc_no_memory, 2);
	host_send(&h, 20 * MSS);
	assert_int_equal(host_output(&h), 10);
}

static void test_extra_given_no_memory_each_mark_is_answered(void **state)
{
	(void)state;
	h.extra_refuse = true;
	h.c.flags |= TCP_F_ECN;
	host_send(&h, 10 * MSS);
	host_output(&h);
	host_input(&h, TCP_ACK | TCP_ECE, 1, 1 + MSS, 60000, 0);
	host_input(&h, TCP_ACK | TCP_ECE, 1, 1 + 2 * MSS, 60000, 0);
	assert_int_equal(h.counters.ecn_backoffs, 2);
	assert_true(h.c.cwnd >= 2 * MSS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_extra_given_requests_and_responses_is_not_needed, setup,
			host_teardown),
		cmocka_unit_test_setup_teardown(
			test_extra_given_many_data_segments_goes_on_counting, setup, host_teardown),
		cmocka_unit_test_setup_teardown(
			test_extra_given_first_use_begins_as_none, setup, host_teardown),
		cmocka_unit_test_setup_teardown(
			test_extra_given_no_memory_cubic_is_newreno, setup, host_teardown),
		cmocka_unit_test_setup_teardown(
			test_extra_given_no_memory_loss_is_repaired_all_the_same, setup,
			host_teardown),
		cmocka_unit_test_setup_teardown(
			test_extra_given_no_memory_data_out_of_order_is_refused, setup,
			host_teardown),
		cmocka_unit_test_setup_teardown(
			test_extra_given_no_memory_options_are_refused, setup, host_teardown),
		cmocka_unit_test_setup_teardown(
			test_extra_given_no_memory_algorithms_that_need_it_are_cubic, setup,
			host_teardown),
		cmocka_unit_test_setup_teardown(
			test_extra_given_no_memory_each_mark_is_answered, setup, host_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
