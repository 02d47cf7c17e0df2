/* BBR over a modelled path, and pacing. */
#include "path.h"
#include "single.h"

#include <tcp/cc_bbr.h>

static struct path p;

static int setup(void **state)
{
	(void)state;
	host_init(&h);
	memset(&p, 0, sizeof(p));
	p.h = &h;
	p.rng = 1;
	p.rate = 5000000;
	p.rtt_us = 20000;
	p.buffer_bytes = 1 << 20;
	return 0;
}

static void open_with(uint32_t cc)
{
	h.cfg.cc = cc;
	h.cfg.mtu_probing = TCP_MTU_OFF; /* the path has one packet size */
	host_establish(
		&h, (struct host_open){.wnd = 65535, .wscale = true, .rtt_us = (uint32_t)p.rtt_us});
	host_input(&h, TCP_ACK, 1, 1, 65535, 0); /* with the scale: 8 MiB */
}

static struct tcp_bbr *bbr(void)
{
	return (struct tcp_bbr *)(void *)h.cc_block;
}

static void assert_within(uint64_t is, uint64_t want, uint64_t percent)
{
	if (is * 100 < want * (100 - percent) || is * 100 > want * (100 + percent))
		fail_msg("%llu is not within %llu%% of %llu", (unsigned long long)is,
			(unsigned long long)percent, (unsigned long long)want);
}

static void test_bbr_given_steady_path_finds_rate_and_round_trip(void **state)
{
	(void)state;
	open_with(TCP_CC_BBR);
	path_run(&p, 3 * SEC_US);
	assert_true(bbr()->full_bw_reached);
	assert_within(bbr()->max_bw[0] > bbr()->max_bw[1] ? bbr()->max_bw[0] : bbr()->max_bw[1],
		p.rate, 5);
	assert_within(bbr()->min_rtt_us, p.rtt_us, 15);
	p.delivered_bytes = 0;
	path_run(&p, 10 * SEC_US);
	assert_within(p.delivered_bytes, 10 * p.rate, 5);
	assert_int_equal(p.dropped, 0);
}

static void test_bbr_given_deep_buffer_does_not_fill_it(void **state)
{
	(void)state;
	p.buffer_bytes = 8 << 20; /* 1.7 s */
	open_with(TCP_CC_BBR);
	path_run(&p, 3 * SEC_US);
	p.queue_max_us = 0;
	path_run(&p, 10 * SEC_US);
	assert_true(p.queue_max_us < 2 * p.rtt_us);
}

static void test_bbr_given_random_loss_keeps_the_rate(void **state)
{
	uint64_t bbr_bytes;

	(void)state;
	p.loss_ppm = 5000;
	open_with(TCP_CC_BBR);
	path_run(&p, 20 * SEC_US);
	bbr_bytes = h.c.snd_una_pos;
	host_teardown(NULL);
	setup(NULL);
	p.loss_ppm = 5000;
	open_with(TCP_CC_NEWRENO);
	path_run(&p, 20 * SEC_US);
	if (bbr_bytes < 2 * h.c.snd_una_pos)
		fail_msg("%llu against %llu", (unsigned long long)bbr_bytes,
			(unsigned long long)h.c.snd_una_pos);
}

static void test_bbr_given_slower_path_follows(void **state)
{
	(void)state;
	open_with(TCP_CC_BBR);
	path_run(&p, 3 * SEC_US);
	p.rate /= 4;
	path_run(&p, 10 * SEC_US);
	p.queue_max_us = 0;
	p.delivered_bytes = 0;
	path_run(&p, 5 * SEC_US);
	assert_within(p.delivered_bytes, 5 * p.rate, 10);
	p.rate *= 8;
	path_run(&p, 15 * SEC_US);
	p.delivered_bytes = 0;
	path_run(&p, 5 * SEC_US);
	assert_within(p.delivered_bytes, 5 * p.rate, 15);
}

static void test_bbr_given_ten_seconds_probes_the_round_trip(void **state)
{
	bool seen = false;
	uint32_t least = UINT32_MAX;

	(void)state;
	open_with(TCP_CC_BBR);
	for (int i = 0; i < 1200; i++) {
		path_run(&p, 10 * MS_US);
		if (bbr()->state != TCP_BBR_PROBE_RTT)
			continue;
		seen = true;
		if (h.c.cwnd < least)
			least = h.c.cwnd;
	}
	assert_true(seen);
	assert_true(least <= p.rate * p.rtt_us / 1000000 * 6 / 10);
	assert_int_not_equal(bbr()->state, TCP_BBR_PROBE_RTT);
}

static void test_bbr_given_phases_goes_through_all_of_them(void **state)
{
	uint32_t seen = 0;

	(void)state;
	open_with(TCP_CC_BBR);
	for (int i = 0; i < 6000; i++) {
		path_run(&p, 2 * MS_US);
		seen |= 1u << bbr()->state;
	}
	assert_int_equal(seen, (1u << (TCP_BBR_PROBE_RTT + 1)) - 1);
}

static void test_bbr_given_silence_times_out_and_comes_back(void **state)
{
	(void)state;
	open_with(TCP_CC_BBR);
	path_run(&p, 2 * SEC_US);
	p.loss_ppm = 1000000;
	path_run(&p, 3 * SEC_US);
	assert_true(h.counters.rto_timeouts > 0);
	p.loss_ppm = 0;
	path_run(&p, 5 * SEC_US);
	p.delivered_bytes = 0;
	path_run(&p, 3 * SEC_US);
	assert_within(p.delivered_bytes, 3 * p.rate, 10);
}

static void test_bbr_given_mark_backs_off(void **state)
{
	uint32_t before;

	(void)state;
	open_with(TCP_CC_BBR);
	path_run(&p, 2 * SEC_US);
	before = bbr()->cwnd;
	tcp_cc_backoff(&h.ctx, &h.c, before, TCP_CC_ECN);
	assert_int_equal(h.c.ssthresh, before * 70ull / 100);
}

static void test_bbr_given_no_block_falls_back_to_cubic(void **state)
{
	(void)state;
	h.cc_refuse = true;
	open_with(TCP_CC_BBR);
	assert_int_equal(h.c.cc, TCP_CC_CUBIC);
	assert_int_equal(h.counters.cc_no_memory, 1);
	path_run(&p, SEC_US);
	assert_true(h.c.snd_una_pos > 0);
}

static void test_bbr_given_switch_and_close_gives_the_block_back(void **state)
{
	(void)state;
	open_with(TCP_CC_CUBIC);
	assert_false(h.cc_used);
	assert_int_equal(tcp_set_congestion(&h.ctx, &h.c, TCP_CC_BBR), 0);
	assert_true(h.cc_used);
	path_run(&p, SEC_US);
	assert_int_equal(tcp_set_congestion(&h.ctx, &h.c, TCP_CC_NEWRENO), 0);
	assert_false(h.cc_used);
	assert_false(tcp_conn_has(&h.c, TCP_F_PACED));
	path_run(&p, SEC_US);
	assert_int_equal(tcp_set_congestion(&h.ctx, &h.c, TCP_CC_BBR), 0);
	path_run(&p, SEC_US);
	tcp_abort(&h.ctx, &h.c, h.now_us);
	assert_false(h.cc_used);
}

/* -- pacing --------------------------------------------------------------------------------- */

static void test_pace_given_cubic_spreads_the_window(void **state)
{
	(void)state;
	h.cfg.pacing = true;
	p.rtt_us = 50000;
	open_with(TCP_CC_CUBIC);
	h.c.srtt_us = 50000;
	path_run(&p, SEC_US);
	p.burst_max = 0;
	path_run(&p, SEC_US);
	assert_true(p.burst_max > 0);
	assert_true(p.burst_max < 40); /* the window is some 170 segments */
	assert_true(h.c.cwnd > 100 * PATH_MSS);
}

static void test_pace_given_rate_holds_until_its_time(void **state)
{
	uint64_t sent = 0, start_us;

	(void)state;
	h.cfg.pacing = true;
	open_with(TCP_CC_CUBIC);
	h.c.srtt_us = 100000;
	h.c.cwnd = h.c.ssthresh = 200 * PATH_MSS; /* 1.2 * 2.92 MB/s */
	host_send(&h, 1000 * PATH_MSS);
	start_us = h.now_us;
	host_output(&h);
	for (unsigned int i = 0; i < h.out_n; i++)
		sent += h.out[i].len;
	assert_true(tcp_conn_has(&h.c, TCP_F_PACE_HOLD));
	assert_true(sent < 20 * PATH_MSS);
	while (h.now_us < start_us + 50000) {
		assert_true(h.c.entry.deadline_us <= h.now_us + 3000);
		host_fire(&h);
		host_output(&h);
		for (unsigned int i = 0; i < h.out_n; i++)
			sent += h.out[i].len;
	}
	assert_within(sent, 200 * PATH_MSS * 12 / 10 / 2, 10);
}

static void test_pace_given_long_idle_sends_no_more_than_a_credit(void **state)
{
	(void)state;
	h.cfg.pacing = true;
	open_with(TCP_CC_CUBIC);
	h.c.srtt_us = 100000;
	for (int i = 0; i < 3; i++) {
		h.c.cwnd = h.c.ssthresh = 200 * PATH_MSS;
		h.now_us += i * 2500 * SEC_US; /* the 32 bits of the clock wrap */
		h.c.last_tx_ms = h.extra.validate.valid_ms = tcp_ms(h.now_us);
		host_send(&h, 10 * PATH_MSS);
		host_output(&h);
		assert_true(h.out_n >= 3 && h.out_n <= 10);
		host_input(&h, TCP_ACK, 1, 1 + (uint32_t)tcp_conn_snd_max(&h.c), 65535, 0);
		host_wait(&h, 10 * MS_US);
		host_output(&h);
		host_input(&h, TCP_ACK, 1, 1 + (uint32_t)tcp_conn_snd_max(&h.c), 65535, 0);
		assert_int_equal(h.c.snd_una_pos, h.c.snd_end_pos);
	}
}

/* After 71 minutes the 32 bits say that what was sent last is still to leave. */
static void test_pace_given_idle_of_its_clock_s_period_does_not_hold(void **state)
{
	(void)state;
	h.cfg.pacing = true;
	open_with(TCP_CC_CUBIC);
	for (int i = 0; i < 2; i++) {
		h.c.srtt_us = 100000;
		h.c.cwnd = h.c.ssthresh = 200 * PATH_MSS;
		host_send(&h, 3 * PATH_MSS);
		host_output(&h);
		assert_int_equal(h.out_n, 3);
		host_input(&h, TCP_ACK, 1, 1 + (uint32_t)tcp_conn_snd_max(&h.c), 65535, 0);
		h.now_us += (UINT64_C(1) << 32) - SEC_US;
		h.extra.validate.valid_ms = tcp_ms(h.now_us);
	}
}

static void test_pace_given_retransmission_does_not_hold_it(void **state)
{
	(void)state;
	h.cfg.pacing = true;
	open_with(TCP_CC_CUBIC);
	h.c.srtt_us = 1000000;
	host_send(&h, 100 * PATH_MSS);
	host_output(&h);
	assert_true(tcp_conn_has(&h.c, TCP_F_PACE_HOLD));
	h.c.owe |= TCP_OWE_REXMIT;
	assert_true(tcp_output_due(&h.ctx, &h.c));
	assert_int_equal(host_output_one(&h)->pos, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
		T(test_bbr_given_steady_path_finds_rate_and_round_trip),
		T(test_bbr_given_deep_buffer_does_not_fill_it),
		T(test_bbr_given_random_loss_keeps_the_rate),
		T(test_bbr_given_slower_path_follows),
		T(test_bbr_given_ten_seconds_probes_the_round_trip),
		T(test_bbr_given_phases_goes_through_all_of_them),
		T(test_bbr_given_silence_times_out_and_comes_back),
		T(test_bbr_given_mark_backs_off),
		T(test_bbr_given_no_block_falls_back_to_cubic),
		T(test_bbr_given_switch_and_close_gives_the_block_back),
		T(test_pace_given_cubic_spreads_the_window),
		T(test_pace_given_rate_holds_until_its_time),
		T(test_pace_given_long_idle_sends_no_more_than_a_credit),
		T(test_pace_given_idle_of_its_clock_s_period_does_not_hold),
		T(test_pace_given_retransmission_does_not_hold_it),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
