/* The user's calls, keepalive, orphans and ICMP. */
#include "single.h"

/* -- abort ------------------------------------------------------------------------------------- */

static void test_user_given_abort_sends_rst_once(void **state)
{
	(void)state;
	host_send(&h, 100);
	host_output_one(&h);
	host_note(&h, tcp_abort(&h.ctx, &h.c, h.now_us));
	assert_int_equal(host_events(&h) & ~(uint32_t)TCP_EV_OUTPUT, TCP_EV_CLOSED);
	assert_segment(&h, host_output_one(&h), TCP_RST | TCP_ACK, 101, 1, 0);
	assert_int_equal(host_output(&h), 0);
	assert_int_equal(h.counters.reset_out, 1);
}

static void test_user_given_abort_in_syn_sent_sends_nothing(void **state)
{
	(void)state;
	host_connect(&h);
	host_output_one(&h);
	assert_int_equal(tcp_abort(&h.ctx, &h.c, h.now_us), TCP_EV_CLOSED);
	assert_int_equal(host_output(&h), 0);
}

static void test_user_given_abort_with_gap_frees_reassembly(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 101, 1, 60000, 10);
	assert_true(h.reasm_used);
	tcp_abort(&h.ctx, &h.c, h.now_us);
	assert_false(h.reasm_used);
}

/* -- send, shutdown ------------------------------------------------------------------------------
 */

static void test_user_given_send_after_shutdown_ignores_it(void **state)
{
	(void)state;
	host_send(&h, 10);
	host_shutdown(&h);
	assert_int_equal(tcp_send(&h.ctx, &h.c, 50, false, h.now_us), 0);
	assert_int_equal(h.c.snd_end_pos, 10);
	assert_int_equal(tcp_shutdown(&h.ctx, &h.c, h.now_us), 0);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH | TCP_FIN, 1, 1, 10);
}

static void test_user_given_send_that_goes_back_ignores_it(void **state)
{
	(void)state;
	host_send(&h, 10);
	assert_int_equal(tcp_send(&h.ctx, &h.c, 5, false, h.now_us), 0);
	assert_int_equal(h.c.snd_end_pos, 10);
}

/* -- orphans --------------------------------------------------------------------------------------
 */

static void test_user_given_orphan_in_fin_wait_2_times_out(void **state)
{
	(void)state;
	host_note(&h, tcp_close(&h.ctx, &h.c, h.now_us));
	host_output_one(&h);
	host_input(&h, TCP_ACK, 1, 2, 60000, 0);
	assert_int_equal(h.c.entry.deadline_us, h.now_us + 60 * SEC_US);
	host_events(&h);
	host_fire(&h);
	assert_int_equal(host_events(&h), TCP_EV_CLOSED);
	assert_int_equal(h.counters.fin_wait_2_timed_out, 1);
}

static void test_user_given_held_fin_wait_2_waits_for_ever(void **state)
{
	(void)state;
	host_shutdown(&h);
	host_output_one(&h);
	host_input(&h, TCP_ACK, 1, 2, 60000, 0);
	assert_int_equal(h.c.entry.deadline_us, TCP_NEVER);
	host_note(&h, tcp_close(&h.ctx, &h.c, h.now_us));
	assert_int_equal(h.c.entry.deadline_us, h.now_us + 60 * SEC_US);
}

static void test_user_given_data_for_orphan_resets(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 1, 1, 60000, 50);
	host_note(&h, tcp_close(&h.ctx, &h.c, h.now_us));
	host_output_one(&h);
	host_input(&h, TCP_ACK, 1, 1, 60000, 50); /* old data: no harm */
	host_output_one(&h);
	assert_int_equal(h.c.state, TCP_FIN_WAIT_1);
	host_events(&h);
	host_input(&h, TCP_ACK, 51, 2, 60000, 10);
	assert_int_equal(h.c.state, TCP_CLOSED);
	assert_int_equal(host_output_one(&h)->flags, TCP_RST | TCP_ACK);
	assert_int_equal(h.counters.data_after_close, 1);
}

static void test_user_given_orphan_in_syn_sent_closes(void **state)
{
	(void)state;
	host_connect(&h);
	host_output_one(&h);
	host_note(&h, tcp_close(&h.ctx, &h.c, h.now_us));
	assert_int_equal(h.c.state, TCP_CLOSED);
	assert_int_equal(host_output(&h), 0);
}

/* A peer that answers every probe but never opens its window cannot hold an orphan. */
static void test_user_given_orphan_behind_closed_window_ends(void **state)
{
	unsigned int n = 0;

	(void)state;
	host_input(&h, TCP_ACK, 1, 1, 0, 0);
	host_send(&h, 100);
	host_note(&h, tcp_close(&h.ctx, &h.c, h.now_us));
	while (h.c.state != TCP_CLOSED && n++ < 30) {
		host_output(&h);
		host_fire(&h);
		if (h.c.state != TCP_CLOSED) {
			host_output(&h);
			host_input(&h, TCP_ACK, 1, 1, 0, 0);
		}
	}
	assert_int_equal(n, 9);
}

/* -- keepalive
 * -------------------------------------------------------------------------------------- */

static void keepalive_on(void)
{
	host_note(&h, tcp_setopt(&h.ctx, &h.c, TCP_OPT_KEEPALIVE, true, h.now_us));
}

static void test_user_given_keepalive_probes_and_gives_up(void **state)
{
	(void)state;
	keepalive_on();
	assert_int_equal(h.c.entry.deadline_us, h.now_us + 7200 * SEC_US);
	for (unsigned int i = 0; i < 9; i++) {
		host_fire(&h);
		assert_segment(&h, host_output_one(&h), TCP_ACK, 0, 1, 0);
		assert_int_equal(h.c.entry.deadline_us, h.now_us + 75 * SEC_US);
	}
	host_fire(&h);
	assert_int_equal(h.c.error, ETIMEDOUT);
	assert_int_equal(host_output_one(&h)->flags, TCP_RST | TCP_ACK);
	assert_int_equal(h.counters.keepalive_timed_out, 1);
}

static void test_user_given_keepalive_answer_starts_over(void **state)
{
	uint64_t answered_us;

	(void)state;
	keepalive_on();
	host_fire(&h);
	host_output_one(&h);
	host_input(&h, TCP_ACK, 1, 1, 60000, 0);
	assert_int_equal(h.c.keepalive_probes, 0);
	answered_us = h.now_us;
	while (h.counters.keepalive_probes == 1) {
		host_fire(&h);
		host_output(&h);
	}
	assert_in_range(h.now_us - answered_us, 7199 * SEC_US, 7276 * SEC_US);
}

static void test_user_given_keepalive_with_traffic_does_not_probe(void **state)
{
	(void)state;
	keepalive_on();
	h.now_us += 7000 * SEC_US;
	host_input(&h, TCP_ACK, 1, 1, 60000, 10);
	host_fire(&h); /* the delayed ACK */
	host_output_one(&h);
	host_fire(&h);
	assert_int_equal(host_output(&h), 0);
	assert_in_range(h.c.entry.deadline_us, h.now_us + 6999 * SEC_US, h.now_us + 7001 * SEC_US);
	host_note(&h, tcp_setopt(&h.ctx, &h.c, TCP_OPT_KEEPALIVE, false, h.now_us));
	assert_int_equal(h.c.entry.deadline_us, TCP_NEVER);
}

/* -- ICMP
 * --------------------------------------------------------------------------------------------- */

static void test_user_given_icmp_in_syn_sent_fails_open(void **state)
{
	(void)state;
	host_connect(&h);
	host_output_one(&h);
	assert_int_equal(tcp_icmp_error(&h.ctx, &h.c, h.c.iss + 5, EHOSTUNREACH, h.now_us), 0);
	assert_int_equal(tcp_icmp_error(&h.ctx, &h.c, h.c.iss, EHOSTUNREACH, h.now_us),
		TCP_EV_ERROR | TCP_EV_CLOSED);
	assert_int_equal(h.c.error, EHOSTUNREACH);
}

static void test_user_given_icmp_later_explains_the_timeout(void **state)
{
	unsigned int n = 0;

	(void)state;
	host_send(&h, 100);
	host_output_one(&h);
	assert_int_equal(tcp_icmp_error(&h.ctx, &h.c, h.c.iss + 101, EHOSTUNREACH, h.now_us), 0);
	assert_int_equal(h.counters.icmp_ignored, 1);
	assert_int_equal(tcp_icmp_error(&h.ctx, &h.c, h.c.iss + 1, EHOSTUNREACH, h.now_us), 0);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
	while (h.c.state != TCP_CLOSED && n++ < 30) {
		host_output(&h);
		host_fire(&h);
	}
	assert_int_equal(h.c.error, EHOSTUNREACH);
}

static void test_user_given_too_big_sends_again_smaller(void **state)
{
	uint32_t cwnd = h.c.cwnd;

	(void)state;
	host_send(&h, 2920);
	assert_int_equal(host_output(&h), 2);
	tcp_icmp_too_big(&h.ctx, &h.c, h.c.iss + 9999, 1000, h.now_us);
	assert_int_equal(h.c.snd_mss_bytes, 1460);
	host_note(&h, tcp_icmp_too_big(&h.ctx, &h.c, h.c.iss + 1, 1000, h.now_us));
	assert_int_equal(host_output(&h), 4);
	assert_segment(&h, &h.out[0], TCP_ACK, 1, 1, 960);
	assert_int_equal(h.c.cwnd, cwnd);
	host_note(&h, tcp_icmp_too_big(&h.ctx, &h.c, h.c.iss + 1, 0, h.now_us));
	assert_int_equal(h.c.snd_mss_bytes, 512); /* not below 552 */
	host_output(&h);
	tcp_icmp_too_big(&h.ctx, &h.c, h.c.iss + 1, 1500, h.now_us);
	assert_int_equal(h.c.snd_mss_bytes, 512); /* never up */
}

/* During recovery cwnd is what is in flight and a little more; without a flight the little must do.
 */
static void test_user_given_too_big_in_recovery_still_sends(void **state)
{
	(void)state;
	host_send(&h, 2920);
	assert_int_equal(host_output(&h), 2);
	h.c.cwnd = 317;
	host_note(&h, tcp_icmp_too_big(&h.ctx, &h.c, h.c.iss + 1, 1000, h.now_us));
	assert_int_equal(h.c.cwnd, 960);
	assert_int_equal(host_output(&h), 1);
	assert_segment(&h, &h.out[0], TCP_ACK, 1, 1, 960);
}

#define T(name) cmocka_unit_test_setup_teardown(name, host_setup, host_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_user_given_abort_sends_rst_once),
		T(test_user_given_abort_in_syn_sent_sends_nothing),
		T(test_user_given_abort_with_gap_frees_reassembly),
		T(test_user_given_send_after_shutdown_ignores_it),
		T(test_user_given_send_that_goes_back_ignores_it),
		T(test_user_given_orphan_in_fin_wait_2_times_out),
		T(test_user_given_held_fin_wait_2_waits_for_ever),
		T(test_user_given_data_for_orphan_resets),
		T(test_user_given_orphan_in_syn_sent_closes),
		T(test_user_given_orphan_behind_closed_window_ends),
		T(test_user_given_keepalive_probes_and_gives_up),
		T(test_user_given_keepalive_answer_starts_over),
		T(test_user_given_keepalive_with_traffic_does_not_probe),
		T(test_user_given_icmp_in_syn_sent_fails_open),
		T(test_user_given_icmp_later_explains_the_timeout),
		T(test_user_given_too_big_sends_again_smaller),
		T(test_user_given_too_big_in_recovery_still_sends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
