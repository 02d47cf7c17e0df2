/* RFC 6298 section 2, RFC 7323 section 4. */
#include "single.h"

static int setup(void **state)
{
	(void)state;
	host_init(&h);
	h.cfg.rto_min_us = 1000;
	tcp_rtt_init(&h.ctx, &h.c);
	h.c.snd_mss_bytes = 1000;
	return 0;
}

static void test_rtt_given_no_sample_waits_a_second(void **state)
{
	(void)state;
	assert_int_equal(tcp_conn_rto_us(&h.ctx, &h.c), 1000000);
	h.c.backoff = 3;
	assert_int_equal(tcp_conn_rto_us(&h.ctx, &h.c), 8000000);
	h.c.backoff = 255;
	assert_int_equal(tcp_conn_rto_us(&h.ctx, &h.c), 60000000);
}

static void test_rtt_given_samples_follows_rfc(void **state)
{
	(void)state;
	tcp_rtt_sample(&h.ctx, &h.c, 100000, 1);
	assert_int_equal(h.c.srtt_us, 100000);
	assert_int_equal(h.c.rttvar_us, 50000);
	assert_int_equal(h.c.rto_us, 300000);
	tcp_rtt_sample(&h.ctx, &h.c, 180000, 1); /* var: 3/4 * 50 + 1/4 * 80; srtt: + 80/8 */
	assert_int_equal(h.c.rttvar_us, 57500);
	assert_int_equal(h.c.srtt_us, 110000);
	assert_int_equal(h.c.rto_us, 340000);
	assert_int_equal(h.c.rtt_min_us, 100000);
}

static void test_rtt_given_steady_samples_keeps_granularity(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 200; i++)
		tcp_rtt_sample(&h.ctx, &h.c, 5000, 1);
	assert_in_range(h.c.rto_us, 6000, 6100); /* srtt + G */
	h.cfg.rto_min_us = 200000;
	tcp_rtt_sample(&h.ctx, &h.c, 5000, 1);
	assert_int_equal(h.c.rto_us, 200000);
}

static void test_rtt_given_absurd_sample_is_bounded(void **state)
{
	(void)state;
	tcp_rtt_sample(&h.ctx, &h.c, UINT64_MAX, 1);
	assert_int_equal(h.c.rto_us, 60000000);
	tcp_rtt_sample(&h.ctx, &h.c, 0, 1);
	assert_true(h.c.srtt_us > 0);
	assert_int_equal(h.c.rtt_min_us, 1);
}

static void test_rtt_given_many_samples_a_round_trip_weighs_less(void **state)
{
	(void)state;
	tcp_rtt_sample(&h.ctx, &h.c, 100000, 1);
	tcp_rtt_sample(&h.ctx, &h.c, 180000, 10);
	assert_int_equal(h.c.srtt_us, 101000);
}

static void test_rtt_given_timestamp_of_retransmission_samples(void **state)
{
	struct tcp_segment s;

	(void)state;
	h.cfg.rto_min_us = 200000;
	host_establish(&h, (struct host_open){.wnd = 60000, .ts = true});
	host_send(&h, 100);
	host_output_one(&h);
	host_fire(&h);
	host_output_one(&h);
	assert_int_equal(h.c.backoff, 1);
	s = host_segment(&h, TCP_ACK, 1, 101, 60000, 0);
	h.now_us += 40 * MS_US;
	host_deliver(&h, &s); /* echoes the second sending */
	assert_int_equal(h.c.backoff, 0);
	assert_in_range(h.c.srtt_us, 1000 + 39000 / 8 - 200, 1000 + 39000 / 8 + 200);
}

static void test_rtt_given_forged_echo_ignores_it(void **state)
{
	struct tcp_segment s;
	uint32_t srtt_us;

	(void)state;
	host_establish(&h, (struct host_open){.wnd = 60000, .ts = true});
	srtt_us = h.c.srtt_us;
	host_send(&h, 100);
	host_output_one(&h);
	host_fire(&h);
	host_output_one(&h);
	s = host_segment(&h, TCP_ACK, 1, 101, 60000, 0);
	s.opt.ts_ecr += 5000; /* from the future */
	host_deliver(&h, &s);
	assert_int_equal(h.c.srtt_us, srtt_us);
	assert_int_equal(h.c.snd_una_pos, 100);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_rtt_given_no_sample_waits_a_second),
		T(test_rtt_given_samples_follows_rfc),
		T(test_rtt_given_steady_samples_keeps_granularity),
		T(test_rtt_given_absurd_sample_is_bounded),
		T(test_rtt_given_many_samples_a_round_trip_weighs_less),
		T(test_rtt_given_timestamp_of_retransmission_samples),
		T(test_rtt_given_forged_echo_ignores_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
