/* RFC 5681, RFC 6582, RFC 3042, RFC 6298 section 5: what is done about loss. */
#include "single.h"

#include <tcp/cc.h>

enum {
	MSS = 1460,
};

static void ack(uint32_t segments)
{
	host_input(&h, TCP_ACK, 1, 1 + segments * MSS, 60000, 0);
}

static void test_loss_given_three_dupacks_retransmits_first(void **state)
{
	(void)state;
	host_send(&h, 20 * MSS);
	assert_int_equal(host_output(&h), 10);
	ack(0); /* limited transmit: a new segment for each of the first two */
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1 + 10 * MSS, 1, MSS);
	ack(0);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1 + 11 * MSS, 1, MSS);
	ack(0);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 1, MSS);
	assert_int_equal(h.c.ssthresh, 5 * MSS); /* half of ten: limited transmit not counted */
	assert_int_equal(h.c.cwnd, 8 * MSS);
	assert_int_equal(h.counters.fast_retransmits, 1);
	assert_int_equal(h.extra.retrans_segs, 1);
}

static void test_loss_given_further_dupacks_inflates_and_sends_new(void **state)
{
	(void)state;
	host_send(&h, 20 * MSS);
	host_output(&h);
	for (unsigned int i = 0; i < 3; i++) {
		ack(0);
		host_output(&h);
	}
	for (unsigned int i = 0; i < 4; i++) {
		ack(0); /* cwnd 9 to 12 segments; 12 are in flight */
		assert_int_equal(host_output(&h), 0);
	}
	ack(0);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1 + 12 * MSS, 1, MSS);
}

static void test_loss_given_full_ack_leaves_recovery(void **state)
{
	(void)state;
	test_loss_given_three_dupacks_retransmits_first(state);
	ack(12);
	assert_false(tcp_conn_has(&h.c, TCP_F_RECOVERY));
	assert_int_equal(h.c.cwnd, 2 * MSS); /* min(ssthresh, max(flight, MSS) + MSS) */
	assert_int_equal(host_output(&h), 2);
	assert_int_equal(h.c.dupacks, 0);
}

static void test_loss_given_partial_ack_retransmits_next_hole(void **state)
{
	uint64_t deadline_us;

	(void)state;
	test_loss_given_three_dupacks_retransmits_first(state);
	h.now_us += 10 * MS_US;
	ack(3);
	assert_true(host_output(&h) >= 1);
	assert_segment(&h, &h.out[0], TCP_ACK, 1 + 3 * MSS, 1, MSS);
	assert_true(tcp_conn_has(&h.c, TCP_F_RECOVERY));
	deadline_us = h.c.entry.deadline_us;
	assert_int_equal(deadline_us, h.now_us + tcp_conn_rto_us(&h.ctx, &h.c));
	h.now_us += 10 * MS_US;
	ack(5);
	host_output(&h);
	assert_segment(&h, &h.out[0], TCP_ACK, 1 + 5 * MSS, 1, MSS);
	assert_int_equal(h.c.entry.deadline_us, deadline_us); /* only the first restarts it */
	assert_int_equal(h.counters.recovery_retransmits, 2);
	h.now_us += 10 * MS_US;
	ack(12); /* the full ACK does */
	host_output(&h);
	assert_int_equal(h.c.entry.deadline_us, h.now_us + tcp_conn_rto_us(&h.ctx, &h.c));
}

static void test_loss_given_dupacks_of_old_recovery_does_not_recover_again(void **state)
{
	(void)state;
	host_send(&h, 10 * MSS);
	host_output(&h);
	host_fire(&h);
	host_output_one(&h); /* the RTO's segment; recover is at 10 */
	ack(1);
	host_output(&h);
	for (unsigned int i = 0; i < 5; i++) {
		ack(1);
		host_output(&h);
	}
	assert_int_equal(h.counters.fast_retransmits, 0);
}

static void test_loss_given_window_update_counts_no_dupack(void **state)
{
	(void)state;
	host_send(&h, 10 * MSS);
	host_output(&h);
	for (uint32_t i = 0; i < 6; i++)
		host_input(&h, TCP_ACK, 1, 1, 59000 - i, 0);
	for (uint32_t i = 0; i < 6; i++)
		host_input(&h, TCP_ACK, 1 + i, 1, 59000 - 5, 1);
	assert_int_equal(h.counters.dup_acks, 0);
}

static void test_loss_given_timeout_goes_back_and_slow_starts(void **state)
{
	(void)state;
	host_send(&h, 10 * MSS);
	host_output(&h);
	assert_int_equal(h.c.entry.deadline_us, h.now_us + 200 * MS_US);
	host_fire(&h);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 1, MSS);
	assert_int_equal(h.c.cwnd, MSS);
	assert_int_equal(h.c.ssthresh, 5 * MSS);
	ack(1);
	assert_int_equal(h.c.cwnd, 2 * MSS);
	assert_int_equal(host_output(&h), 2);
	assert_segment(&h, &h.out[0], TCP_ACK, 1 + MSS, 1, MSS);
	ack(10); /* the rest had arrived */
	assert_int_equal(tcp_conn_snd_nxt(&h.c), 10 * MSS);
	assert_int_equal(host_output(&h), 0);
	assert_int_equal(h.c.entry.deadline_us, TCP_NEVER);
	assert_int_equal(h.extra.retrans_segs, 3);
}

static void test_loss_given_silence_backs_off_then_resets(void **state)
{
	uint64_t gap_us = 200 * MS_US, at_us = h.now_us;
	unsigned int n = 0;

	(void)state;
	host_send(&h, 100);
	host_output_one(&h);
	for (; n < 15; n++) {
		host_fire(&h);
		assert_int_equal(h.now_us - at_us, gap_us);
		assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH, 1, 1, 100);
		assert_int_equal(h.c.ssthresh, 2 * MSS);
		gap_us = gap_us * 2 < h.cfg.rto_max_us ? gap_us * 2 : h.cfg.rto_max_us;
		at_us = h.now_us;
	}
	host_events(&h);
	host_fire(&h);
	assert_int_equal(host_events(&h), TCP_EV_ERROR | TCP_EV_CLOSED | TCP_EV_OUTPUT);
	assert_int_equal(h.c.error, ETIMEDOUT);
	host_output_one(&h);
	assert_int_equal(h.out[0].flags, TCP_RST | TCP_ACK);
	assert_int_equal(host_rel_seq(&h, &h.out[0]), 101);
	assert_int_equal(host_output(&h), 0);
}

static void test_loss_given_orphan_gives_up_sooner(void **state)
{
	unsigned int n = 0;

	(void)state;
	host_send(&h, 100);
	host_note(&h, tcp_close(&h.ctx, &h.c, h.now_us));
	while (h.c.state != TCP_CLOSED && n++ < 30) {
		host_output(&h);
		host_fire(&h);
	}
	assert_int_equal(n, 9);
}

static void test_loss_given_lost_fin_sends_it_again(void **state)
{
	(void)state;
	host_shutdown(&h);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_FIN, 1, 1, 0);
	host_fire(&h);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_FIN, 1, 1, 0);
	host_input(&h, TCP_ACK, 1, 2, 60000, 0);
	assert_int_equal(h.c.state, TCP_FIN_WAIT_2);
}

/* A second time-out for the same data must not halve the threshold again. */
static void test_loss_given_second_timeout_keeps_threshold(void **state)
{
	(void)state;
	host_send(&h, 10 * MSS);
	host_output(&h);
	host_fire(&h);
	host_output(&h);
	assert_int_equal(h.c.ssthresh, 5 * MSS);
	host_fire(&h);
	assert_int_equal(h.c.ssthresh, 5 * MSS);
	assert_int_equal(h.c.backoff, 2);
}

static void test_loss_given_retransmitted_data_without_ts_takes_no_sample(void **state)
{
	uint32_t srtt_us = h.c.srtt_us;

	(void)state;
	host_send(&h, 100);
	host_output_one(&h);
	host_fire(&h);
	host_output_one(&h);
	h.now_us += 50 * MS_US;
	host_input(&h, TCP_ACK, 1, 101, 60000, 0);
	assert_int_equal(h.c.srtt_us, srtt_us);
	assert_int_equal(h.c.backoff, 1); /* RFC 6298 5.7: until a sample comes */
	host_send(&h, 100);
	host_output_one(&h);
	h.now_us += 50 * MS_US;
	host_input(&h, TCP_ACK, 1, 201, 60000, 0);
	assert_true(h.c.srtt_us > srtt_us);
	assert_int_equal(h.c.backoff, 0);
}

static void test_loss_given_congestion_avoidance_adds_a_segment_a_window(void **state)
{
	uint32_t acked = 0;

	(void)state;
	h.c.ssthresh = 10 * MSS;
	host_send(&h, 100 * MSS);
	host_output(&h);
	for (unsigned int i = 0; i < 10; i++) {
		ack(++acked);
		host_output(&h);
	}
	assert_int_equal(h.c.cwnd, 11 * MSS);
	for (unsigned int i = 0; i < 11; i++) {
		ack(++acked);
		host_output(&h);
	}
	assert_int_equal(h.c.cwnd, 12 * MSS);
}

/* Either control: an ACK of several segments one byte below the threshold adds that byte. */
static void test_loss_given_slow_start_stops_at_the_threshold(void **state)
{
	static const uint8_t controls[] = {TCP_CC_NEWRENO, TCP_CC_CUBIC};

	(void)state;
	for (size_t i = 0; i < sizeof(controls); i++) {
		struct tcp_conn *c = &h.c;

		c->cc = controls[i];
		c->snd_mss_bytes = 1000;
		tcp_cc_start(&h.ctx, c);
		tcp_cc_backoff(&h.ctx, c, 20000, TCP_CC_LOSS);
		c->cwnd = c->ssthresh - 1;
		tcp_cc_acked(&h.ctx, c, true, 8000, h.now_us);
		assert_int_equal(c->cwnd, c->ssthresh);
	}
}

static void test_loss_given_slow_start_doubles_a_window(void **state)
{
	uint32_t acked = 0;

	(void)state;
	host_send(&h, 100 * MSS);
	host_output(&h);
	for (unsigned int i = 0; i < 10; i++) {
		ack(++acked);
		host_output(&h);
	}
	assert_int_equal(h.c.cwnd, 20 * MSS);
}

#define T(name) cmocka_unit_test_setup_teardown(name, host_setup, host_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_loss_given_three_dupacks_retransmits_first),
		T(test_loss_given_further_dupacks_inflates_and_sends_new),
		T(test_loss_given_full_ack_leaves_recovery),
		T(test_loss_given_partial_ack_retransmits_next_hole),
		T(test_loss_given_dupacks_of_old_recovery_does_not_recover_again),
		T(test_loss_given_window_update_counts_no_dupack),
		T(test_loss_given_timeout_goes_back_and_slow_starts),
		T(test_loss_given_silence_backs_off_then_resets),
		T(test_loss_given_orphan_gives_up_sooner),
		T(test_loss_given_lost_fin_sends_it_again),
		T(test_loss_given_second_timeout_keeps_threshold),
		T(test_loss_given_retransmitted_data_without_ts_takes_no_sample),
		T(test_loss_given_congestion_avoidance_adds_a_segment_a_window),
		T(test_loss_given_slow_start_stops_at_the_threshold),
		T(test_loss_given_slow_start_doubles_a_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
