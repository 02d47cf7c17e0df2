/* RFC 9438 and RFC 9406: the window over time, against the formulas in floating point. */
#include "single.h"

enum {
	MSS = 1448,
	RTT_MS = 50,
};

static struct tcp_conn *c = &h.c;

static int setup(void **state)
{
	(void)state;
	host_init(&h);
	memset(c, 0, sizeof(*c));
	c->cc = TCP_CC_CUBIC;
	c->snd_mss_bytes = MSS;
	c->srtt_us = RTT_MS * 1000;
	tcp_cc_start(&h.ctx, c);
	return 0;
}

/* A loss with the whole window in flight; recovery ends with cwnd = ssthresh. */
static void lose(uint32_t cwnd_segments, enum tcp_cc_why why)
{
	c->cwnd = cwnd_segments * MSS;
	tcp_cc_backoff(&h.ctx, c, c->cwnd, why);
	c->cwnd = c->ssthresh;
}

/* A round trip: a window's worth of ACKs, one for two segments, spread over it. */
static void round_trip(uint64_t rtt_us)
{
	uint32_t acks = c->cwnd / (2 * MSS) + 1;
	uint32_t each = c->cwnd / acks;

	for (uint32_t i = 0; i < acks; i++) {
		h.now_us += rtt_us / acks;
		c->snd_una_pos += each;
		tcp_cc_acked(&h.ctx, c, true, each, h.now_us);
	}
}

static double cube_root(double v)
{
	double r = v > 1 ? v : 1;

	for (int i = 0; i < 200; i++)
		r -= (r * r * r - v) / (3 * r * r);
	return v <= 0 ? 0 : r;
}

/* RFC 9438 figure 1, in segments and seconds. */
static double formula(double w_max, double w_epoch, double t)
{
	double k = cube_root((w_max - w_epoch) / 0.4);

	return 0.4 * (t - k) * (t - k) * (t - k) + w_max;
}

static void assert_near(double is, double want, double relative)
{
	double off = is > want ? is - want : want - is;

	if (off > relative * want + 2)
		fail_msg("%f is not near %f", is, want);
}

static void test_cubic_given_loss_follows_the_curve_beyond_w_max(void **state)
{
	uint64_t start_us;
	double t, last = 0;

	(void)state;
	lose(1000, TCP_CC_LOSS);
	assert_int_equal(c->ssthresh, 1000ull * MSS * 7 / 10);
	start_us = h.now_us;
	for (int i = 0; i < 300; i++) { /* 15 s; K = cbrt(300 / 0.4) = 9.1 s */
		round_trip(RTT_MS * 1000);
		t = (double)(h.now_us - start_us) / 1e6;
		assert_near((double)c->cwnd / MSS, formula(1000, 700, t), 0.01);
		assert_true(c->cwnd >= last);
		last = c->cwnd;
	}
	assert_true(c->cwnd > 1000u * MSS);
}

static void test_cubic_given_any_round_trip_grows_alike(void **state)
{
	static const uint64_t rtt_us[] = {20000, 80000, 200000};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		uint64_t start_us = h.now_us;

		tcp_cc_start(&h.ctx, c);
		c->srtt_us = (uint32_t)rtt_us[i];
		lose(4000, TCP_CC_LOSS);
		while (h.now_us < start_us + 8 * SEC_US)
			round_trip(rtt_us[i]);
		assert_near((double)c->cwnd / MSS,
			formula(4000, 2800, (double)(h.now_us - start_us) / 1e6), 0.02);
	}
}

static void test_cubic_given_huge_window_does_not_overflow(void **state)
{
	uint32_t last;

	(void)state;
	c->snd_mss_bytes = 48;
	c->cwnd = TCP_CWND_MAX_BYTES;
	tcp_cc_backoff(&h.ctx, c, c->cwnd, TCP_CC_LOSS);
	last = c->cwnd = c->ssthresh;
	for (int i = 0; i < 4000; i++) {
		h.now_us += 500 * MS_US;
		tcp_cc_acked(&h.ctx, c, true, c->cwnd, h.now_us);
		assert_true(c->cwnd >= last && c->cwnd <= TCP_CWND_MAX_BYTES);
		last = c->cwnd;
	}
	assert_int_equal(c->cwnd, TCP_CWND_MAX_BYTES);
}

/* Section 4.3: alpha = 9 / 17 of a segment for each window, and one above cwnd_prior. */
static void test_cubic_given_short_round_trip_grows_as_reno_would(void **state)
{
	uint32_t start;

	(void)state;
	c->srtt_us = 1000;
	lose(20, TCP_CC_LOSS);
	start = c->cwnd;
	for (int i = 0; i < 12; i++)
		round_trip(1000); /* the cubic has moved by nothing in 12 ms */
	assert_near((double)(c->cwnd - start) / MSS, 12 * 9. / 17, 0.2);
	while (c->cwnd < 21 * MSS)
		round_trip(1000);
	start = c->cwnd;
	for (int i = 0; i < 10; i++)
		round_trip(1000);
	assert_near((double)(c->cwnd - start) / MSS, 10, 0.1);
}

static void test_cubic_given_loss_below_w_max_converges_fast(void **state)
{
	(void)state;
	lose(1000, TCP_CC_LOSS);
	assert_int_equal(h.extra.cc_state.cubic.avoid.w_max, 1000 * MSS);
	lose(800, TCP_CC_LOSS);
	assert_int_equal(h.extra.cc_state.cubic.avoid.w_max, 800u * MSS * 17 / 20);
	lose(900, TCP_CC_LOSS);
	assert_int_equal(h.extra.cc_state.cubic.avoid.w_max, 900 * MSS);
}

static void test_cubic_given_timeout_begins_with_k_zero(void **state)
{
	(void)state;
	lose(1000, TCP_CC_TIMEOUT);
	c->cwnd = MSS;
	while (c->cwnd < c->ssthresh)
		round_trip(RTT_MS * 1000);
	round_trip(RTT_MS * 1000);
	assert_int_equal(h.extra.cc_state.cubic.avoid.k_ms, 0);
	assert_near(h.extra.cc_state.cubic.avoid.w_max, c->ssthresh, 0.02);
}

static void test_cubic_given_spurious_loss_goes_on_along_the_old_curve(void **state)
{
	struct tcp_cubic_avoid before;
	uint32_t cwnd, ssthresh;

	(void)state;
	lose(1000, TCP_CC_LOSS);
	for (int i = 0; i < 40; i++)
		round_trip(RTT_MS * 1000);
	before = h.extra.cc_state.cubic.avoid;
	cwnd = c->cwnd;
	ssthresh = c->ssthresh;
	tcp_cc_backoff(&h.ctx, c, c->cwnd, TCP_CC_LOSS);
	assert_memory_not_equal(&before, &h.extra.cc_state.cubic.avoid, sizeof(before));
	tcp_cc_undo(&h.ctx, c);
	c->cwnd = cwnd;
	c->ssthresh = ssthresh;
	assert_memory_equal(&before, &h.extra.cc_state.cubic.avoid, sizeof(before));
}

/* Section 4.2: a pause of the application is no part of t. */
static void test_cubic_given_pause_does_not_jump(void **state)
{
	uint32_t before;

	(void)state;
	lose(1000, TCP_CC_LOSS);
	for (int i = 0; i < 40; i++)
		round_trip(RTT_MS * 1000);
	before = c->cwnd;
	tcp_cc_acked(&h.ctx, c, false, MSS, h.now_us);
	h.now_us += 60 * SEC_US;
	round_trip(RTT_MS * 1000);
	assert_near((double)c->cwnd, (double)before, 0.02);
	for (int i = 0; i < 100; i++)
		round_trip(RTT_MS * 1000);
	assert_true(c->cwnd > before);
}

static void test_cubic_given_tiny_flight_keeps_two_segments(void **state)
{
	(void)state;
	c->cwnd = 2 * MSS;
	tcp_cc_backoff(&h.ctx, c, MSS, TCP_CC_LOSS);
	assert_int_equal(c->ssthresh, 2 * MSS);
}

/* -- slow start ----------------------------------------------------------------------------- */

/* A round of slow start in which each ACK measures rtt_us; the next flight goes out at once. */
static void slow_round(uint32_t rtt_us)
{
	uint32_t flight = c->cwnd / MSS * MSS;

	c->snd_max_low = c->snd_nxt_low = (uint32_t)c->snd_una_pos + flight;
	for (uint32_t left = flight; left > 0 && c->cwnd < c->ssthresh; left -= 2 * MSS) {
		uint32_t n = left < 2 * MSS ? left : 2 * MSS;

		h.now_us += 100;
		c->snd_una_pos += n;
		c->snd_max_low += 2 * n; /* what the ACK lets out */
		h.ctx.rtt_last_us = rtt_us;
		tcp_cc_acked(&h.ctx, c, true, n, h.now_us);
		if (n == left)
			break;
	}
}

static void test_hystart_given_steady_delay_doubles(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++)
		slow_round(40000);
	assert_int_equal(c->cwnd, 640 * MSS); /* ten, doubled six times */
	assert_true(c->cwnd < c->ssthresh);
	assert_int_equal(h.counters.hystart_exits, 0);
}

static void test_hystart_given_growing_delay_slows_down_then_leaves(void **state)
{
	uint32_t before;

	(void)state;
	for (int i = 0; i < 3; i++)
		slow_round(40000);
	slow_round(46000); /* an eighth of 40 ms is 5 ms */
	before = c->cwnd;
	slow_round(60000);
	assert_near(c->cwnd, before * 1.25, 0.05);
	for (int i = 0; i < 6 && c->cwnd < c->ssthresh; i++)
		slow_round(60000);
	assert_int_equal(h.counters.hystart_exits, 1);
	assert_int_equal(c->ssthresh, c->cwnd);
	round_trip(RTT_MS * 1000);
	assert_int_equal(h.extra.cc_state.cubic.avoid.k_ms, 0); /* section 4.10 of RFC 9438 */
}

static void test_hystart_given_false_alarm_doubles_again(void **state)
{
	uint32_t before;

	(void)state;
	for (int i = 0; i < 3; i++)
		slow_round(40000);
	slow_round(50000);
	slow_round(40000);
	assert_int_equal(h.counters.hystart_resumed, 1);
	before = c->cwnd;
	slow_round(40000);
	assert_near(c->cwnd, 2.0 * before, 0.01);
}

static void test_hystart_given_few_samples_judges_nothing(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++) {
		uint32_t flight = c->cwnd;

		for (int k = 0; k < 7; k++) { /* one below N_RTT_SAMPLE */
			c->snd_una_pos += MSS;
			h.ctx.rtt_last_us = 40000 + (uint32_t)i * 20000;
			tcp_cc_acked(&h.ctx, c, true, MSS, h.now_us);
		}
		c->snd_una_pos += flight;
		c->snd_max_low = (uint32_t)c->snd_una_pos;
	}
	assert_true(c->cwnd < c->ssthresh);
	assert_int_equal(h.extra.cc_state.cubic.first.css_rounds, 0);
}

static void test_hystart_given_loss_never_comes_back(void **state)
{
	(void)state;
	slow_round(40000);
	lose(200, TCP_CC_TIMEOUT);
	c->cwnd = MSS;
	for (int i = 0; i < 12 && c->cwnd < c->ssthresh; i++)
		slow_round(40000 + (uint32_t)i * 20000);
	assert_true(c->cwnd >= c->ssthresh);
	assert_int_equal(c->ssthresh, 140 * MSS);
	assert_int_equal(h.counters.hystart_exits, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
		T(test_cubic_given_loss_follows_the_curve_beyond_w_max),
		T(test_cubic_given_any_round_trip_grows_alike),
		T(test_cubic_given_huge_window_does_not_overflow),
		T(test_cubic_given_short_round_trip_grows_as_reno_would),
		T(test_cubic_given_loss_below_w_max_converges_fast),
		T(test_cubic_given_timeout_begins_with_k_zero),
		T(test_cubic_given_spurious_loss_goes_on_along_the_old_curve),
		T(test_cubic_given_pause_does_not_jump),
		T(test_cubic_given_tiny_flight_keeps_two_segments),
		T(test_hystart_given_steady_delay_doubles),
		T(test_hystart_given_growing_delay_slows_down_then_leaves),
		T(test_hystart_given_false_alarm_doubles_again),
		T(test_hystart_given_few_samples_judges_nothing),
		T(test_hystart_given_loss_never_comes_back),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
