/* The table of legal transitions against RFC 9293 figure 5, and closing in every order. */
#include "single.h"

static void test_state_given_each_pair_allows_figure_5(void **state)
{
	static const struct {
		enum tcp_state from, to;
	} legal[] = {
		{TCP_CLOSED, TCP_LISTEN},
		{TCP_CLOSED, TCP_SYN_SENT},
		{TCP_LISTEN, TCP_SYN_RECEIVED},
		{TCP_LISTEN, TCP_SYN_SENT},
		{TCP_LISTEN, TCP_CLOSED},
		{TCP_SYN_SENT, TCP_SYN_RECEIVED},
		{TCP_SYN_SENT, TCP_ESTABLISHED},
		{TCP_SYN_SENT, TCP_CLOSED},
		{TCP_SYN_RECEIVED, TCP_ESTABLISHED},
		{TCP_SYN_RECEIVED, TCP_LISTEN},
		{TCP_SYN_RECEIVED, TCP_CLOSED},
		{TCP_ESTABLISHED, TCP_FIN_WAIT_1},
		{TCP_ESTABLISHED, TCP_CLOSE_WAIT},
		{TCP_ESTABLISHED, TCP_CLOSED},
		{TCP_FIN_WAIT_1, TCP_FIN_WAIT_2},
		{TCP_FIN_WAIT_1, TCP_CLOSING},
		{TCP_FIN_WAIT_1, TCP_CLOSED},
		{TCP_FIN_WAIT_2, TCP_TIME_WAIT},
		{TCP_FIN_WAIT_2, TCP_CLOSED},
		{TCP_CLOSE_WAIT, TCP_LAST_ACK},
		{TCP_CLOSE_WAIT, TCP_CLOSED},
		{TCP_CLOSING, TCP_TIME_WAIT},
		{TCP_CLOSING, TCP_CLOSED},
		{TCP_LAST_ACK, TCP_CLOSED},
		{TCP_TIME_WAIT, TCP_CLOSED},
	};
	unsigned int n = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(legal) / sizeof(legal[0]); i++)
		assert_true(tcp_state_legal(legal[i].from, legal[i].to));
	for (unsigned int from = 0; from < TCP_STATE_COUNT; from++)
		for (unsigned int to = 0; to < TCP_STATE_COUNT; to++)
			n += tcp_state_legal((enum tcp_state)from, (enum tcp_state)to);
	assert_int_equal(n, sizeof(legal) / sizeof(legal[0]));
	assert_false(tcp_state_legal(TCP_STATE_COUNT, TCP_CLOSED));
}

static void test_state_given_any_value_has_name(void **state)
{
	(void)state;
	assert_string_equal(tcp_state_name(TCP_ESTABLISHED), "ESTAB");
	assert_string_equal(tcp_state_name(TCP_TIME_WAIT), "TIME-WAIT");
	assert_string_equal(tcp_state_name(TCP_STATE_COUNT), "?");
	for (unsigned int i = 0; i < TCP_STATE_COUNT; i++)
		assert_true(strlen(tcp_state_name((enum tcp_state)i)) > 4);
}

/* Figure 12 of RFC 9293: we close first. */
static void test_state_given_our_close_first_waits_two_msl(void **state)
{
	(void)state;
	host_shutdown(&h);
	assert_int_equal(h.c.state, TCP_FIN_WAIT_1);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_FIN, 1, 1, 0);
	host_events(&h);
	host_input(&h, TCP_ACK, 1, 2, 60000, 0);
	assert_int_equal(h.c.state, TCP_FIN_WAIT_2);
	assert_int_equal(host_events(&h), TCP_EV_FIN_ACKED);
	host_input(&h, TCP_ACK, 1, 2, 60000, 100); /* half closed: data still comes */
	assert_int_equal(h.c.rcv_nxt_pos, 100);
	host_fire(&h);
	host_output_one(&h);
	host_events(&h);
	host_input(&h, TCP_ACK | TCP_FIN, 101, 2, 60000, 0);
	assert_int_equal(host_events(&h), TCP_EV_FIN | TCP_EV_TIME_WAIT | TCP_EV_OUTPUT);
	assert_int_equal(h.c.state, TCP_TIME_WAIT);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 2, 102, 0);
	assert_int_equal(h.c.entry.deadline_us, h.now_us + 60 * SEC_US);
	h.now_us += 10 * SEC_US;
	host_input(&h, TCP_ACK | TCP_FIN, 101, 2, 60000, 0); /* again: our ACK was lost */
	assert_segment(&h, host_output_one(&h), TCP_ACK, 2, 102, 0);
	assert_int_equal(h.c.entry.deadline_us, h.now_us + 60 * SEC_US);
	host_input(&h, TCP_RST, 102, 0, 0, 0); /* RFC 1337 */
	assert_int_equal(h.c.state, TCP_TIME_WAIT);
	host_events(&h);
	host_fire(&h);
	assert_int_equal(host_events(&h), TCP_EV_CLOSED);
	assert_int_equal(h.c.error, 0);
}

static void test_state_given_peers_close_first_ends_in_last_ack(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK | TCP_FIN, 1, 1, 60000, 0);
	assert_int_equal(h.c.state, TCP_CLOSE_WAIT);
	host_output_one(&h);
	host_send(&h, 2000); /* half closed: we may send */
	assert_int_equal(host_output(&h), 2);
	host_shutdown(&h);
	assert_int_equal(h.c.state, TCP_LAST_ACK);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_FIN, 2001, 2, 0);
	host_input(&h, TCP_ACK, 2, 2001, 60000, 0);
	assert_int_equal(h.c.state, TCP_LAST_ACK);
	host_events(&h);
	host_input(&h, TCP_ACK, 2, 2002, 60000, 0);
	assert_int_equal(host_events(&h), TCP_EV_FIN_ACKED | TCP_EV_CLOSED);
	assert_int_equal(h.c.state, TCP_CLOSED);
	assert_int_equal(h.c.snd_una_pos, 2000);
}

/* Figure 13: both close at once. */
static void test_state_given_crossing_fins_goes_through_closing(void **state)
{
	(void)state;
	host_shutdown(&h);
	host_output_one(&h);
	host_input(&h, TCP_ACK | TCP_FIN, 1, 1, 60000, 0);
	assert_int_equal(h.c.state, TCP_CLOSING);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 2, 2, 0);
	host_events(&h);
	host_input(&h, TCP_ACK, 2, 2, 60000, 0);
	assert_int_equal(host_events(&h), TCP_EV_FIN_ACKED | TCP_EV_TIME_WAIT);
}

static void test_state_given_fin_with_ack_of_ours_skips_closing(void **state)
{
	(void)state;
	host_shutdown(&h);
	host_output_one(&h);
	host_input(&h, TCP_ACK | TCP_FIN, 1, 2, 60000, 0);
	assert_int_equal(h.c.state, TCP_TIME_WAIT);
}

static void test_state_given_closed_ignores_segments_and_calls(void **state)
{
	(void)state;
	host_input(&h, TCP_RST, 1, 0, 0, 0);
	assert_int_equal(h.c.state, TCP_CLOSED);
	host_input(&h, TCP_ACK, 1, 1, 60000, 10);
	host_input(&h, TCP_SYN, 1, 0, 60000, 0);
	assert_int_equal(h.counters.conn_closed, 2);
	host_send(&h, 10);
	host_shutdown(&h);
	assert_int_equal(tcp_consumed(&h.ctx, &h.c, h.now_us), 0);
	assert_int_equal(tcp_timer(&h.ctx, &h.c, h.now_us), 0);
	assert_int_equal(tcp_setopt(&h.ctx, &h.c, TCP_OPT_KEEPALIVE, true, h.now_us), 0);
	assert_int_equal(tcp_abort(&h.ctx, &h.c, h.now_us), TCP_EV_CLOSED);
	assert_int_equal(host_output(&h), 0);
	assert_int_equal(h.c.snd_end_pos, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, host_setup, host_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_state_given_each_pair_allows_figure_5),
		T(test_state_given_any_value_has_name),
		T(test_state_given_our_close_first_waits_two_msl),
		T(test_state_given_peers_close_first_ends_in_last_ack),
		T(test_state_given_crossing_fins_goes_through_closing),
		T(test_state_given_fin_with_ack_of_ours_skips_closing),
		T(test_state_given_closed_ignores_segments_and_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
